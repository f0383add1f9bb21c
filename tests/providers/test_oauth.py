"""The OAuth adapter against the demo authorization server, and against servers that answer as none should."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from secrets import token_urlsafe
from typing import Any

import httpx2
import pytest

from providers.authorization import observe_issuer
from providers.base import DiscoveredCredential, Problem, Secret, Status
from providers.errors import Denied, Permanent, Refused, Transient
from providers.fetch import Fetcher, Guard
from providers.oauth import AuthorizationServer, HeldToken, Introspector, ListedClient, moment
from tests.authorization_server import AuthorizationServer as Demo
from tests.providers.peers import Answer, Asked, Peer, json_answer, pathwise, response, saying, serving

NOW = datetime.now(UTC)
LOOPBACK = Guard(allow_loopback=True)


def given(secret: str) -> Callable[[str], Secret]:
    return lambda _host: Secret(secret)


def mark(secret: Secret) -> tuple[str, str]:
    return f"kf1:{len(secret.reveal())}", "…"


def asking(server: Demo, **options: Any) -> Callable[[Fetcher], AuthorizationServer]:
    """The adapter as an operator would set it up for the demo server."""
    introspector = Introspector(client_id="keyreeve", secret=given(server.secret("introspection_secret")))
    settings = {
        "clients_url": server.places["clients_url"],
        "tokens_url": server.places["tokens_url"],
        "manager": given(server.secret("management_token")),
        "introspector": introspector,
        **options,
    }
    return lambda fetcher: AuthorizationServer(server.issuer, fetcher=fetcher, **settings)


def run(make: Callable[[Fetcher], AuthorizationServer], work: Callable[[AuthorizationServer], Awaitable[Any]]) -> Any:
    async def scenario() -> Any:
        async with Fetcher(LOOPBACK, user_agent="Keyreeve/test") as fetcher:
            return await work(make(fetcher))

    return asyncio.run(scenario())


async def clients(server: AuthorizationServer) -> list[ListedClient | Problem]:
    return [row async for page in server.clients() for row in page]


async def tokens(server: AuthorizationServer) -> list[DiscoveredCredential | Problem]:
    return [row async for page in server.tokens(now=NOW) for row in page]


def metadata_of(server: Demo) -> dict[str, Any]:
    return dict(httpx2.get(f"{server.issuer}/.well-known/oauth-authorization-server").json())


def introspected(server: Demo, name: str, kind: str = "access_token", **options: Any) -> DiscoveredCredential:
    held = HeldToken(reference=f"file:///tokens/{name}", value=given(server.token(name)), kind=kind)
    metadata = metadata_of(server)
    make = asking(server, **options)
    return run(make, lambda s: s.introspect(held, metadata=metadata, mark=mark, now=NOW))


# ── The demo server ────────────────────────────────────────────────────────────────────────────


def test_clients_are_listed_with_what_they_registered(authorization_server):
    listed = {row.client_id: row for row in run(asking(authorization_server), clients)}
    desktop = listed["claude-desktop-managed"]
    assert (desktop.name, desktop.registration) == ("Claude Desktop (managed)", "pre_registered")
    assert desktop.redirect_uris == ("http://127.0.0.1/oauth/callback",)
    assert desktop.grant_types == ("authorization_code", "refresh_token")
    assert desktop.scopes == ("mcp:tools", "tickets:read", "tickets:write")
    assert desktop.issued_at < desktop.last_used_at
    assert sum(row.registration == "dynamic" for row in listed.values()) >= 39
    assert listed["https://desk.example/oauth/client.json"].registration == "cimd"


def test_a_client_registered_a_moment_ago_is_listed_as_dynamic(authorization_server):
    made = authorization_server.register(client_name="Late comer", software_id="example.late")
    listed = {row.client_id: row for row in run(asking(authorization_server), clients)}
    authorization_server.deregister(made)
    late = listed[made["client_id"]]
    assert (late.registration, late.software_id, late.last_used_at) == ("dynamic", "example.late", None)


def test_every_page_is_read(authorization_server):
    short = asking(authorization_server, clients_url=f"{authorization_server.places['clients_url']}?page_size=5")
    assert len(run(short, clients)) == len(run(asking(authorization_server), clients)) > 50


def test_tokens_are_listed_with_whose_they_are(authorization_server):
    listed = run(asking(authorization_server), tokens)
    mine = [row for row in listed if row.principal == "claude-desktop-managed" and row.subject == "mira"]
    assert {row.kind for row in mine} == {"oauth_access_token", "oauth_refresh_token"}
    assert {row.trust_model for row in mine} == {"user_consented"}
    machine = next(row for row in listed if row.principal == "ci-runner")
    assert (machine.trust_model, machine.subject) == ("static_service", "")
    assert {row.status for row in listed} == {Status.ACTIVE, Status.EXPIRED}


def test_a_token_held_by_reference_is_looked_up(authorization_server):
    found = introspected(authorization_server, "mira-desktop")
    assert (found.kind, found.status, found.principal) == (
        "oauth_access_token",
        Status.ACTIVE,
        "claude-desktop-managed",
    )
    assert (found.trust_model, found.subject) == ("user_consented", "mira")
    assert found.scopes == ("mcp:tools", "tickets:read")
    assert found.details["audiences"] == ["https://mcp.halden.example/tickets"]
    assert found.reference == "file:///tokens/mira-desktop"
    assert found.identity == f"fp:{found.fingerprint}"
    assert found.issued_at < NOW < found.expires_at


def test_a_refresh_token_is_told_apart(authorization_server):
    found = introspected(authorization_server, "mira-desktop-refresh", kind="refresh_token")
    assert (found.kind, found.status) == ("oauth_refresh_token", Status.ACTIVE)


def test_a_machines_token_has_no_person_behind_it(authorization_server):
    found = introspected(authorization_server, "nightly-reports")
    assert (found.trust_model, found.subject, found.principal) == ("static_service", "", "nightly-reports")


def test_a_listed_token_and_a_looked_up_one_bear_the_same_id(authorization_server):
    found = introspected(authorization_server, "nightly-reports")
    assert found.external_id in {row.external_id for row in run(asking(authorization_server), tokens)}


def test_an_inactive_token_is_unknown_with_the_reason(authorization_server):
    found = introspected(authorization_server, "legacy-export")
    assert found.status is Status.UNKNOWN
    assert "expired, revoked" in found.details["reason"]


def test_who_may_not_introspect_is_denied(authorization_server):
    wrong = Introspector(client_id="keyreeve", secret=given("guessed"))
    with pytest.raises(Denied):
        introspected(authorization_server, "mira-desktop", introspector=wrong)


def test_the_listing_with_a_wrong_token_is_denied(authorization_server):
    with pytest.raises(Denied, match=r"^The listing of clients refuses the credential that it was shown \(401\)\.$"):
        run(asking(authorization_server, manager=given("guessed")), clients)


def test_a_registration_is_read_and_deleted(authorization_server):
    made = authorization_server.register(client_name="Short lived", scope="mcp:tools")
    uri, token = made["registration_client_uri"], given(made["registration_access_token"])
    read = run(asking(authorization_server), lambda s: s.registration(uri, token))
    assert (read.client_id, read.name) == (made["client_id"], "Short lived")
    run(asking(authorization_server), lambda s: s.delete_registration(uri, token))
    assert made["client_id"] not in {row.client_id for row in run(asking(authorization_server), clients)}


def test_a_registration_token_of_another_client_deletes_nothing(authorization_server):
    one, other = authorization_server.register(), authorization_server.register()
    token = given(other["registration_access_token"])
    with pytest.raises(Denied):
        run(asking(authorization_server), lambda s: s.delete_registration(one["registration_client_uri"], token))
    authorization_server.deregister(one)
    authorization_server.deregister(other)


def test_the_check_says_what_may_be_asked(authorization_server):
    metadata = metadata_of(authorization_server)
    said = run(asking(authorization_server), lambda s: s.check(metadata))
    assert said == (
        f"{authorization_server.issuer} answers: its clients can be listed, its tokens can be listed, "
        "tokens can be looked up as keyreeve."
    )


def test_its_metadata_is_observed_whole(authorization_server):
    async def observed() -> Any:
        async with Fetcher(LOOPBACK, user_agent="Keyreeve/test") as fetcher:
            return await observe_issuer(authorization_server.issuer, fetcher=fetcher, now=NOW)

    assert asyncio.run(observed()).metadata == metadata_of(authorization_server)


# ── Servers that answer as none should ─────────────────────────────────────────────────────────


def meet(
    answer: Answer, work: Callable[[AuthorizationServer], Awaitable[Any]], path: str = "/clients", **options: Any
) -> tuple[Any, Peer]:
    """Work with a server that answers so. What it raises is returned beside what the server was asked."""

    async def scenario() -> tuple[Any, Peer]:
        async with serving(answer) as peer, Fetcher(LOOPBACK, user_agent="Keyreeve/test") as fetcher:
            settings = {"clients_url": peer.url(path), "manager": given("m-secret"), **options}
            issuer = peer.url("").rstrip("/")
            try:
                return await work(AuthorizationServer(issuer, fetcher=fetcher, **settings)), peer
            except (Transient, Permanent) as exc:
                return exc, peer

    return asyncio.run(scenario())


def listing(document: Any, *headers: tuple[str, str], status: int = 200) -> Answer:
    return saying(json_answer(json.dumps(document).encode(), *headers, status=status))


def test_too_many_requests_says_how_long_to_wait():
    raised, _ = meet(listing({}, ("Retry-After", "17"), status=429), clients)
    assert isinstance(raised, Transient)
    assert raised.retry_after == timedelta(seconds=17)


def test_a_date_to_retry_after_is_measured_by_the_servers_own_clock():
    date = ("Date", "Fri, 27 Nov 2026 10:00:00 GMT"), ("Retry-After", "Fri, 27 Nov 2026 10:01:30 GMT")
    raised, _ = meet(listing({}, *date, status=503), clients)
    assert raised.retry_after == timedelta(seconds=90)


@pytest.mark.parametrize("value", ["soon", "-5", "", "9" * 400])
def test_a_strange_wait_is_no_wait_or_a_day(value):
    raised, _ = meet(listing({}, ("Retry-After", value), status=429), clients)
    assert raised.retry_after in {None, timedelta(days=1)}


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Denied), (403, Denied), (404, Permanent), (500, Transient), (503, Transient)]
)
def test_a_status_has_one_meaning(status, kind):
    raised, _ = meet(listing({"secret": "in the body"}, status=status), clients)
    assert type(raised) is kind
    assert "in the body" not in str(raised)


@pytest.mark.parametrize(
    "document",
    [[], {}, {"clients": {}}, {"clients": [], "next": 7}, {"clients": [{}] * 5_001, "next": None}],
)
def test_an_answer_of_another_shape_is_refused(document):
    raised, _ = meet(listing(document), clients)
    assert isinstance(raised, Permanent)


def test_an_answer_that_is_no_json_is_refused():
    raised, _ = meet(saying(response(200, (("Content-Type", "text/html"),), b"<p>Sign in")), clients)
    assert isinstance(raised, Permanent)


def test_a_silent_server_may_answer_later(free_tcp_port):
    url = f"http://127.0.0.1:{free_tcp_port}/clients"
    with pytest.raises(Transient):
        run(lambda f: AuthorizationServer(url, fetcher=f, clients_url=url, manager=given("m")), clients)


def test_the_management_token_is_not_carried_to_another_host():
    raised, peer = meet(listing({"clients": [], "next": "http://127.0.0.2:9/clients"}), clients)
    assert isinstance(raised, Refused)
    assert len(peer.asked) == 1


def test_pages_in_a_circle_end():
    async def circle(asked: Asked, writer: asyncio.StreamWriter) -> None:
        following = f"http://{asked.header('host')}/clients?page={'1' if asked.path.endswith('2') else '2'}"
        writer.write(json_answer(json.dumps({"clients": [], "next": following}).encode()))

    raised, peer = meet(circle, clients, "/clients?page=1")
    assert isinstance(raised, Permanent)
    assert len(peer.asked) == 2


@pytest.mark.parametrize("row", [None, 7, {}, {"client_id": ""}, {"client_id": ["x"]}, {"client_id": "x" * 3_000}])
def test_a_client_without_an_id_is_a_problem_among_the_rest(row):
    rows, _ = meet(listing({"clients": [row, {"client_id": "good"}], "next": None}), clients)
    assert isinstance(rows[0], Problem)
    assert rows[1].client_id == "good"


def test_strange_values_of_a_client_are_left_out():
    strange = {
        "client_id": "odd",
        "client_name": "line\nbreak",
        "redirect_uris": "https://one.example/cb",
        "grant_types": [1, None, "refresh_token"],
        "scope": 5,
        "registration_type": "stolen",
        "client_id_issued_at": 1e30,
        "last_used_at": "yesterday",
        "client_secret_expires_at": 0,
    }
    (row,), _ = meet(listing({"clients": [strange], "next": None}), clients)
    assert row == ListedClient(
        client_id="odd", redirect_uris=("https://one.example/cb",), grant_types=("refresh_token",)
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_795_800_000, datetime(2026, 11, 27, 17, 20, tzinfo=UTC)),
        ("2026-11-27T17:20:00Z", datetime(2026, 11, 27, 17, 20, tzinfo=UTC)),
        ("2026-11-27T17:20:00", None),
        (0, None),
        (True, None),
        (10**30, None),
        (-(10**30), None),
        ({}, None),
    ],
)
def test_a_time_is_read_or_unknown(value, expected):
    assert moment(value) == expected


def introspection(document: Any, *, token: str = "t", **options: Any) -> tuple[Any, Peer]:
    held = HeldToken(reference="env://T", value=given(token))
    introspector = Introspector(client_id="k:r", secret=given("s/ecret"), **options)

    async def work(server: AuthorizationServer) -> DiscoveredCredential:
        metadata = {"issuer": server.issuer, "introspection_endpoint": f"{server.issuer}/introspect"}
        return await server.introspect(held, metadata=metadata, mark=mark, now=NOW)

    return meet(pathwise(introspect=listing(document)), work, introspector=introspector)


def test_the_client_authenticates_with_both_halves_encoded():
    _, peer = introspection({"active": True})
    sent = base64.b64decode(str(peer.asked[0].header("authorization")).removeprefix("Basic "))
    assert sent == b"k%3Ar:s%2Fecret"


def test_the_client_may_authenticate_in_the_form():
    _, peer = introspection({"active": True}, auth_method="client_secret_post")
    assert b"client_secret=s%2Fecret" in peer.asked[0].body
    assert peer.asked[0].header("authorization") is None


def test_an_expired_jwt_that_is_inactive_is_expired():
    claims = {"exp": int((NOW - timedelta(days=3)).timestamp()), "client_id": "c", "sub": "mira"}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    found, _ = introspection({"active": False}, token=f"e30.{payload}.x")
    assert (found.status, found.subject, found.details) == (Status.EXPIRED, "mira", {})


@pytest.mark.parametrize("document", [{}, {"active": "yes"}, {"active": None}, []])
def test_an_introspection_that_does_not_say_is_refused(document):
    raised, _ = introspection(document)
    assert isinstance(raised, Permanent)


def test_without_a_subject_nobody_knows_whose_consent_it_was():
    found, _ = introspection({"active": True, "client_id": "c"})
    assert (found.trust_model, found.subject) == ("unknown", "")


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "http://other.example", "introspection_endpoint": "{issuer}/introspect"},
        {"issuer": "{issuer}", "introspection_endpoint": "http://127.0.0.2:9/introspect"},
    ],
)
def test_metadata_cannot_lead_a_token_elsewhere(metadata):
    held = HeldToken(reference="env://T", value=given("t"))

    async def work(server: AuthorizationServer) -> DiscoveredCredential:
        said = {name: value.format(issuer=server.issuer) for name, value in metadata.items()}
        return await server.introspect(held, metadata=said, mark=mark, now=NOW)

    introspector = Introspector(client_id="k", secret=given("s"))
    raised, peer = meet(listing({"active": True}), work, introspector=introspector)
    assert isinstance(raised, Refused)
    assert not peer.asked


def test_a_registration_elsewhere_is_not_managed():
    raised, _ = meet(listing({}), lambda s: s.delete_registration("http://127.0.0.2:9/register/x", given("t")))
    assert isinstance(raised, Refused)


@pytest.mark.parametrize(("status", "is_deleted"), [(204, True), (200, True), (404, False), (410, False)])
def test_a_registration_that_is_gone_already_is_told_from_one_that_was_deleted(status, is_deleted):
    async def work(server: AuthorizationServer) -> None:
        assert await server.delete_registration(f"{server.issuer}/r/x", given("t")) is is_deleted

    raised, peer = meet(saying(response(status)), work)
    assert (raised, [asked.method for asked in peer.asked]) == (None, ["DELETE"])


def test_no_error_shows_a_secret():
    raised, _ = meet(listing({"error": "m-secret"}, status=401), clients)
    assert "m-secret" not in f"{raised} {raised!r}"


def test_a_token_that_an_introspection_sends_back_is_taken_out():
    token = token_urlsafe(32)
    echo = {"active": True, "jti": token, "sub": f"user of {token}", "client_id": token, "scope": f"a {token}"}
    found, _ = introspection({**echo, "aud": [token]}, token=token)
    assert token not in repr(found)
    assert found.external_id == "[removed]"
