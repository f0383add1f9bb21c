"""Asking an authorization server: what is sent, what is kept, and that nothing of ours stays behind."""

import asyncio
import json
from urllib.parse import parse_qsl, urlsplit

import anyio
import pytest

from providers.authorization import CLIENT_NAME, metadata_addresses, observe_issuer
from providers.fetch import Fetcher, Guard, Limits
from providers.observations import IssuerObservation, SafetyClass
from providers.questions import IssuerQuestion as Question
from tests.providers.issuers import AGENT, ALL, NOW, REDIRECT, Issuer, observed, rsa_key, said
from tests.providers.peers import Asked, Peer, redirecting, response, serving

MODIFYING = frozenset({SafetyClass.MODIFYING})
CREDENTIALED = frozenset({SafetyClass.CREDENTIALED})
OAUTH = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


def paths(peer: Peer) -> list[str]:
    return [urlsplit(asked.path).path for asked in peer.asked]


# ── Looking for metadata ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("issuer", "addresses"),
    [
        ("https://as.example", [f"https://as.example{OAUTH}", f"https://as.example{OPENID}"]),
        ("https://as.example/", [f"https://as.example{OAUTH}", f"https://as.example{OPENID}"]),
        (
            "https://as.example/a/b",
            [f"https://as.example{OAUTH}/a/b", f"https://as.example{OPENID}/a/b", f"https://as.example/a/b{OPENID}"],
        ),
        ("javascript:alert(1)", []),
        ("https://[::1", []),
        ("", []),
    ],
)
def test_metadata_is_looked_for_in_the_order_of_the_specification(issuer, addresses):
    assert list(metadata_addresses(issuer).values()) == addresses


@pytest.mark.parametrize(
    ("path", "found_at"), [("", OPENID), ("/tenant", f"{OPENID}/tenant"), ("/tenant", f"/tenant{OPENID}")]
)
def test_openid_discovery_is_found_where_the_first_place_is_empty(path, found_at):
    first = f"{OAUTH}{path}"
    issuer = Issuer(path=path, answers={first: response(404), found_at: said({"issuer": "x"})})
    observation, peer = observed(issuer)
    assert observation.metadata == {"issuer": "x"}
    assert observation.metadata_url == issuer.base + found_at
    assert paths(peer)[0] == first


def test_the_search_ends_with_the_first_document():
    _, peer = observed(Issuer(path="/tenant"))
    assert [path for path in paths(peer) if "well-known" in path] == [f"{OAUTH}/tenant"]


def test_a_host_that_does_not_answer_is_waited_for_once():
    async def silent(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    observation, peer = observed(Issuer(path="/t", answers={f"{OAUTH}/t": silent}), limits=Limits(seconds=0.2))
    assert len(peer.asked) == 1
    assert observation.metadata is None
    assert "took longer than" in observation.exchanges[Question.METADATA_OAUTH].error


@pytest.mark.parametrize("issuer", ["javascript:alert(1)", "file:///etc/passwd", "", "https://", "a b"])
def test_what_is_no_address_is_not_asked(issuer):
    async def scenario() -> IssuerObservation:
        async with Fetcher(Guard(allow_loopback=True), user_agent=AGENT) as fetcher:
            return await observe_issuer(issuer, fetcher=fetcher, now=NOW)

    observation = asyncio.run(scenario())
    assert observation.metadata is None
    assert all(not exchange.is_answered for exchange in observation.exchanges.values())


# ── What is sent ───────────────────────────────────────────────────────────────────────────────


def test_without_consent_nothing_is_sent_that_has_an_effect():
    issuer = Issuer(faults=frozenset({"open_revocation"}))
    observation, peer = observed(issuer)
    assert sorted(paths(peer)[1:]) == ["/introspect", "/jwks", "/register", "/revoke", "/token"]
    assert not issuer.registered
    assert all(token.startswith("keyreeve-") for token in issuer.revoked)
    assert not observation.leftovers


def test_a_client_that_is_lent_is_not_used_without_consent():
    issuer = Issuer()
    _, peer = observed(issuer, client=issuer.client())
    sent = [asked.body.decode() + (asked.header("authorization") or "") for asked in peer.asked]
    assert paths(peer).count("/authorize") == 5
    assert paths(peer).count("/token") == 1
    assert not [one for one in sent if issuer.client_secret in one or issuer.refresh in one]


def test_an_authorization_request_differs_from_a_good_one_in_one_thing():
    issuer = Issuer()
    observation, _ = observed(issuer, client=issuer.client())
    queries = {
        question: dict(parse_qsl(urlsplit(observation.exchanges[question].url).query))
        for question in Question
        if question.startswith("authorize_")
    }
    good = queries.pop(Question.AUTHORIZE_WELL_FORMED)
    changed = {
        question: {name for name in good if query.get(name) != good[name]} for question, query in queries.items()
    }
    assert changed == {
        Question.AUTHORIZE_OTHER_HOST: {"redirect_uri"},
        Question.AUTHORIZE_OTHER_PATH: {"redirect_uri"},
        Question.AUTHORIZE_WITHOUT_CHALLENGE: {"code_challenge", "code_challenge_method"},
        Question.AUTHORIZE_UNKNOWN_TYPE: {"response_type"},
    }
    assert queries[Question.AUTHORIZE_OTHER_PATH]["redirect_uri"] == f"{REDIRECT}/keyreeve"


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://10.0.0.1/", 7]
)
def test_an_endpoint_that_is_no_place_to_go_is_not_visited(address):
    names = ("jwks_uri", "registration_endpoint", "revocation_endpoint", "introspection_endpoint", "token_endpoint")
    observation, peer = observed(Issuer(metadata=dict.fromkeys(names, address)), opted_in=ALL)
    assert paths(peer) == [OAUTH]
    assert not observation.leftovers


@pytest.mark.parametrize(
    "metadata",
    [{"token_endpoint": "http://127.0.0.2:9/token"}, {"issuer": "https://other.example"}],
    ids=["another origin", "another issuer"],
)
def test_a_secret_is_sent_only_where_it_belongs(metadata):
    issuer = Issuer(metadata=metadata)
    observation, peer = observed(issuer, client=issuer.client(), opted_in=CREDENTIALED)
    assert not [asked for asked in peer.asked if issuer.client_secret in str(asked) or issuer.refresh in str(asked)]
    assert (
        "no credential is sent" in (error := observation.exchanges[Question.TOKEN].error) or "is not sent to" in error
    )


def test_a_secret_may_be_sent_to_an_origin_that_its_owner_names():
    token_server = Issuer()

    async def scenario() -> tuple[IssuerObservation, Peer]:
        async with (
            serving(token_server.answer) as other,
            serving((issuer := Issuer()).answer) as peer,
            Fetcher(Guard(allow_loopback=True), user_agent=AGENT) as fetcher,
        ):
            issuer.base, token_server.base = peer.url(""), other.url("")
            issuer.metadata = {"token_endpoint": other.url("/token")}
            client = token_server.client(origins=frozenset({other.url("")}), refresh_token=None)
            observation = await observe_issuer(
                issuer.base, fetcher=fetcher, now=NOW, opted_in=CREDENTIALED, test_client=client
            )
        return observation, other

    observation, other = asyncio.run(scenario())
    assert observation.exchanges[Question.TOKEN].status == 200
    assert "/token" in paths(other)


# ── What is kept ───────────────────────────────────────────────────────────────────────────────


def test_nothing_that_is_kept_holds_a_secret():
    private = rsa_key(d="AQAB-private-exponent", p="private-prime")
    faults = {"open", "any_redirect", "any_resource", "reusable", "no_pkce", "instant_code", "undeletable"}
    issuer = Issuer(faults=frozenset(faults), keys={"keys": [private]})
    observation, _ = observed(issuer, client=issuer.client(), opted_in=ALL)
    kept = repr(observation)
    secrets = [issuer.client_secret, issuer.refresh, "private-exponent", "private-prime", "private-person"]
    secrets += issuer.handed_out
    assert len(issuer.handed_out) > 10
    assert not [secret for secret in secrets if secret in kept]


def test_cookies_of_a_sign_in_are_not_kept():
    answers = {"/authorize": response(302, (("Location", "/login"), ("Set-Cookie", "session=kept-by-nobody")))}
    issuer = Issuer(answers=answers)
    observation, _ = observed(issuer, client=issuer.client())
    assert observation.exchanges[Question.AUTHORIZE_WELL_FORMED].header("location") == "/login"
    assert "kept-by-nobody" not in repr(observation)


def test_tokens_are_reduced_to_what_they_say_and_revoked():
    issuer = Issuer()
    observation, _ = observed(issuer, client=issuer.client(), opted_in=CREDENTIALED)
    token = observation.exchanges[Question.TOKEN].document["access_token"]
    assert set(token["claims"]) == {"iss", "aud", "exp", "iat"}
    assert set(issuer.handed_out) <= {*issuer.revoked, issuer.refresh}


# ── Nothing stays behind ───────────────────────────────────────────────────────────────────────


def test_what_was_registered_is_removed_again():
    issuer = Issuer(faults=frozenset({"any_redirect"}))
    observation, peer = observed(issuer, opted_in=MODIFYING, registration_token=issuer.initial_token)
    assert len(issuer.registered) == 6
    assert not issuer.clients
    assert not observation.leftovers
    ours = [asked for asked in peer.asked if urlsplit(asked.path).path.startswith("/register")]
    order = [asked.method for asked in ours if asked.header("authorization") is not None]
    assert order == ["POST", "DELETE"] * 6


def test_a_client_made_of_an_impossible_request_is_removed_though_nobody_opted_in():
    issuer = Issuer(faults=frozenset({"open", "any_redirect"}))
    observation, _ = observed(issuer)
    assert len(issuer.registered) == 1
    assert not issuer.clients
    assert not observation.leftovers


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("undeletable", "Its removal was answered with 405."),
        ("unmanaged", "It came without an address and a token to manage it."),
        ("managed_elsewhere", "The address to manage it is on another host, which its token is not shown to."),
    ],
)
def test_a_client_that_cannot_be_removed_is_reported_for_a_person_to_remove(fault, reason):
    issuer = Issuer(faults=frozenset({"open", "any_redirect", fault}))
    observation, peer = observed(issuer)
    (leftover,) = observation.leftovers
    assert leftover.client_id == issuer.registered[0]
    assert leftover.reason == reason
    assert leftover.registration_uri == issuer.clients[leftover.client_id].get("registration_client_uri", "")
    (body,) = [asked.body for asked in peer.asked if asked.path == "/register"]
    assert json.loads(body)["client_name"] == CLIENT_NAME


def test_a_removal_that_fails_once_is_tried_again():
    issuer = Issuer(faults=frozenset({"open", "any_redirect"}))
    refusals = iter([response(503)])

    async def busy_at_first(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(next(refusals, None) or issuer.manage(asked, asked.path))

    issuer.answers = {"/register/*": busy_at_first}
    observation, _ = observed(issuer)
    assert not issuer.clients
    assert not observation.leftovers


def test_a_registration_whose_answer_got_lost_is_reported():
    async def lost(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    observation, _ = observed(Issuer(answers={"/register": lost}))
    (leftover,) = observation.leftovers
    assert leftover.client_id == ""
    assert CLIENT_NAME in leftover.reason


@pytest.mark.parametrize("at", ["POST", "DELETE"])
def test_a_probe_that_is_cancelled_removes_what_it_made_first(at):
    issuer = Issuer(faults=frozenset({"open", "any_redirect"}))

    async def scenario() -> None:
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
            if asked.method == at and asked.path.startswith("/register"):
                reached.set()
                await go_on.wait()
            await issuer.answer(asked, writer)

        async with serving(answer) as peer, Fetcher(Guard(allow_loopback=True), user_agent=AGENT) as fetcher:
            issuer.base = peer.url("")
            task = asyncio.ensure_future(observe_issuer(issuer.base, fetcher=fetcher, now=NOW))
            await reached.wait()
            task.cancel()
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not issuer.clients

    asyncio.run(scenario())
    assert len(issuer.registered) == 1


def test_what_was_made_is_removed_though_later_requests_fail():
    calls: list[str] = []
    issuer = Issuer(faults=frozenset({"any_redirect"}))

    async def failing(asked: Asked, writer: asyncio.StreamWriter) -> None:
        calls.append(asked.method)
        if len(calls) > 2:
            writer.transport.abort()
        else:
            writer.write(issuer.reply(asked, urlsplit(asked.path).path))

    issuer.answers = {"/register": failing}
    observed(issuer, opted_in=MODIFYING, registration_token=issuer.initial_token)
    assert len(issuer.registered) == 1
    assert not issuer.clients


def test_a_document_of_an_issuer_may_be_moved_but_its_answers_stay_ours():
    issuer = Issuer(answers={OAUTH: redirecting("/moved"), "/moved": said({"issuer": "x"})})
    observation, _ = observed(issuer)
    assert observation.metadata_url == f"{issuer.base}/moved"


def test_a_probe_that_runs_out_of_time_removes_what_it_made_first():
    issuer = Issuer(faults=frozenset({"open", "any_redirect"}))

    async def scenario() -> bool:
        async def slowly(asked: Asked, writer: asyncio.StreamWriter) -> None:
            if asked.path.startswith("/register"):
                await asyncio.sleep(0.2)
            await issuer.answer(asked, writer)

        async with serving(slowly) as peer, Fetcher(Guard(allow_loopback=True), user_agent=AGENT) as fetcher:
            issuer.base = peer.url("")
            # A scope of anyio cancels again and again, where a task is cancelled once.
            with anyio.move_on_after(0.1) as scope:
                await observe_issuer(issuer.base, fetcher=fetcher, now=NOW)
            return scope.cancelled_caught and not issuer.clients

    assert asyncio.run(scenario())
    assert len(issuer.registered) == 1


def test_what_introspection_says_of_a_person_is_not_kept():
    answers = {"/introspect": said({"active": True, "aud": "x", "username": "a-person", "sub": "a-person"})}
    issuer = Issuer(faults=frozenset({"opaque"}), answers=answers)
    observation, _ = observed(issuer, client=issuer.client(), opted_in=CREDENTIALED)
    assert observation.exchanges[Question.INTROSPECTION].document == {"active": True, "aud": "x"}
    assert "a-person" not in repr(observation)


@pytest.mark.parametrize(("faults", "status"), [(set(), 401), ({"open", "any_redirect"}, 400)])
def test_a_server_is_asked_gently_with_what_nothing_can_be_made_of(faults, status):
    issuer = Issuer(faults=frozenset(faults))
    observation, peer = observed(issuer, gently=True, opted_in=MODIFYING, registration_token=issuer.initial_token)
    assert not issuer.registered
    assert paths(peer).count("/register") == 1
    assert observation.exchanges[Question.REGISTRATION_INVALID].status == status


def test_when_time_is_up_what_was_seen_and_what_stayed_behind_is_told():
    issuer = Issuer(faults=frozenset({"open", "any_redirect", "unmanaged"}))

    async def silent(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    issuer.answers = {"/introspect": silent}
    observation, _ = observed(issuer, seconds=0.3)
    assert observation.metadata is not None
    assert [leftover.client_id for leftover in observation.leftovers] == issuer.registered
    assert Question.INTROSPECTION_ANONYMOUS not in observation.exchanges
