"""Tokens and client secrets ended at the demo authorization server, and at servers that answer as none should."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import httpx2
import pytest

from providers.authorization import metadata_of
from providers.base import Basis, Capability, CredentialRef, Liveness, Secret
from providers.errors import Denied, Permanent, Refused, Transient
from providers.fetch import Fetcher, Guard
from providers.oauth import Introspector
from providers.oauth_lifecycle import ClientSecrets, Registration, Rights, Speaker, Tokens
from tests.authorization_server import AuthorizationServer as Demo
from tests.providers.peers import Asked, json_answer, response, serving

NOW = datetime.now(UTC)
MACHINE = {
    "client_name": "Batch loader",
    "grant_types": ["client_credentials"],
    "redirect_uris": [],
    "token_endpoint_auth_method": "client_secret_basic",
    "scope": "billing:read",
    "software_id": "example.loader",
    "software_version": "4.2",
}


def given(secret: str) -> Callable[[str], Secret]:
    return lambda _host: Secret(secret)


def fetcher() -> Fetcher:
    return Fetcher(Guard(allow_loopback=True), user_agent="Keyreeve/test")


def rights(server: Demo, **changed: Any) -> Rights:
    """All that an operator may open there, but for the addresses of single rows."""
    settings: dict[str, Any] = {
        "issuer": server.issuer,
        "clients_url": server.places["clients_url"],
        "tokens_url": server.places["tokens_url"],
        "manager": given(server.secret("management_token")),
        "introspector": Introspector(client_id="keyreeve", secret=given(server.secret("introspection_secret"))),
        **changed,
    }
    return Rights(**settings)


async def its_metadata(asking: Fetcher, issuer: str) -> Mapping[str, Any]:
    return await metadata_of(issuer, asking)


def common(issuer: str) -> dict[str, Any]:
    return {
        "fetcher": fetcher,
        "metadata": lambda asking: its_metadata(asking, issuer),
        "clock": lambda: datetime.now(UTC),
    }


def tokens(server: Demo, **changed: Any) -> Tokens:
    return Tokens(rights(server, **changed), **common(server.issuer))


class Kept:
    """Registration tokens in a dictionary."""

    def __init__(self, *registered: Mapping[str, Any]) -> None:
        self.held = {
            str(each["client_id"]): (each["registration_client_uri"], each["registration_access_token"])
            for each in registered
        }

    def of(self, client_id: str) -> Registration | None:
        uri, token = self.held.get(client_id, ("", ""))
        return Registration(uri=uri, token=given(token)) if uri else None

    def check(self) -> None:
        return None

    def keep(self, client_id: str, uri: str, token: Secret) -> None:
        self.held[client_id] = uri, token.reveal()

    def forget(self, client_id: str) -> None:
        self.held.pop(client_id, None)


class Full(Kept):
    def keep(self, client_id: str, uri: str, token: Secret) -> None:
        raise Permanent("The disk is full.")


def client_secrets(server: Demo, kept: Kept, **changed: Any) -> ClientSecrets:
    return ClientSecrets(rights(server, **changed), registrations=kept, **common(server.issuer))


@pytest.fixture
def machine(authorization_server: Demo) -> Iterator[dict[str, Any]]:
    """A client that registered itself and may ask for tokens of its own."""
    made = authorization_server.register(**MACHINE)
    yield made
    bearer = {"Authorization": f"Bearer {made['registration_access_token']}"}
    httpx2.delete(made["registration_client_uri"], headers=bearer)


def issued_to(server: Demo, client: Mapping[str, Any]) -> str:
    answer = httpx2.post(
        f"{server.issuer}/token/",
        data={"grant_type": "client_credentials", "scope": "billing:read"},
        auth=(client["client_id"], client["client_secret"]),
    )
    assert answer.status_code == 200
    return str(answer.json()["access_token"])


def is_active(server: Demo, token: str) -> bool:
    answer = httpx2.post(
        f"{server.issuer}/introspect/", data={"token": token}, auth=("keyreeve", server.secret("introspection_secret"))
    )
    return bool(answer.json()["active"])


def listed_id(server: Demo, client_id: str, kind: str = "access_token") -> str:
    bearer = {"Authorization": f"Bearer {server.secret('management_token')}"}
    url = f"{server.places['tokens_url']}?page_size=500" + ("&kind=refresh" if kind == "refresh_token" else "")
    rows = httpx2.get(url, headers=bearer).json()["tokens"]
    return str(next(row["id"] for row in reversed(rows) if row["client_id"] == client_id))


def of_token(client_id: str, external_id: str = "", kind: str = "oauth_access_token", **details: Any) -> CredentialRef:
    return CredentialRef(identity="fp:kf1:0", kind=kind, principal=client_id, external_id=external_id, details=details)


def of_secret(client_id: str) -> CredentialRef:
    return CredentialRef(
        identity=f"oauth:client:{client_id}:secret",
        kind="oauth_client_secret",
        principal=client_id,
        external_id=client_id,
    )


# ── Tokens at the demo server ──────────────────────────────────────────────────────────────────────


def test_a_token_is_revoked_as_its_own_client_and_introspection_says_inactive(authorization_server, machine):
    value = issued_to(authorization_server, machine)
    own = Speaker(client_id=machine["client_id"], secret=given(machine["client_secret"]))
    place = tokens(authorization_server, revokers={machine["client_id"]: own})
    ref, secret = of_token(machine["client_id"]), Secret(value)
    assert place.verify(ref, "", secret).liveness is Liveness.ALIVE
    place.destroy(ref, "", secret)
    seen = place.verify(ref, "", secret)
    assert (seen.liveness, seen.basis) == (Liveness.REFUSED, Basis.PRESENTED)
    assert not is_active(authorization_server, value)
    place.destroy(ref, "", secret)  # which is said to have worked as well


def test_a_servers_yes_to_another_clients_revocation_is_not_believed(authorization_server, machine):
    value = issued_to(authorization_server, machine)
    place = tokens(authorization_server)
    place.destroy(of_token("keyreeve"), "", Secret(value))  # it says 200 and does nothing
    seen = place.verify(of_token(machine["client_id"]), "", Secret(value))
    assert (seen.liveness, seen.basis) == (Liveness.ALIVE, Basis.PRESENTED)
    assert machine["client_id"] in seen.sentence


def test_a_token_of_a_public_client_is_revoked_by_saying_whose_it_is(authorization_server):
    place = tokens(authorization_server)
    value = Secret(authorization_server.token("omar-laptop"))
    ref = of_token("claude-desktop-managed")
    place.destroy(ref, "", value)
    assert place.verify(ref, "", value).liveness is Liveness.REFUSED


def test_a_token_whose_value_nobody_has_is_ended_by_its_address_and_the_listing_proves_it(
    authorization_server, machine
):
    value = issued_to(authorization_server, machine)
    place = tokens(authorization_server, are_tokens_managed=True)
    assert Capability.NEEDS_VALUE not in place.capabilities
    ref = of_token(machine["client_id"], listed_id(authorization_server, machine["client_id"]))
    assert [version.external_id for version in place.versions(ref)] == [ref.external_id]
    assert place.verify(ref, ref.external_id, None).liveness is Liveness.ALIVE
    place.destroy(ref, ref.external_id)
    place.destroy(ref, ref.external_id)
    seen = place.verify(ref, ref.external_id, None)
    assert (seen.liveness, seen.basis) == (Liveness.REFUSED, Basis.RECORD)
    assert place.versions(ref) == []
    assert not is_active(authorization_server, value)


def test_without_value_and_address_nobody_can_revoke_or_tell(authorization_server):
    place = tokens(authorization_server, tokens_url="")
    assert Capability.NEEDS_VALUE in place.capabilities
    with pytest.raises(Permanent, match="nobody can present its value"):
        place.destroy(of_token("ci-runner"), "")
    seen = place.verify(of_token("ci-runner"), "", None)
    assert (seen.liveness, seen.basis) == (Liveness.UNKNOWN, Basis.NOTHING)
    assert seen.sentence.startswith("Nobody can present its value.")


def test_a_refresh_token_takes_the_access_tokens_of_its_grant_along(authorization_server):
    place = tokens(authorization_server)
    value = Secret(authorization_server.token("lena-laptop-refresh"))
    number = listed_id(authorization_server, "claude-desktop-managed", "refresh_token")
    bearer = {"Authorization": f"Bearer {authorization_server.secret('management_token')}"}
    row = httpx2.get(f"{authorization_server.places['tokens_url']}/{number}", headers=bearer).json()
    ref = of_token("claude-desktop-managed", number, "oauth_refresh_token", grant=row["grant_id"])
    place.destroy(ref, number, value)
    seen = place.verify(ref, number, value)
    assert (seen.liveness, seen.basis) == (Liveness.REFUSED, Basis.PRESENTED)
    assert seen.sentence.endswith("No access token of its grant is left.")


def test_inactive_is_not_believed_of_a_token_that_is_still_listed(authorization_server, machine):
    value = issued_to(authorization_server, machine)
    nobody = Introspector(client_id="ci-runner", secret=given(_secret_of(authorization_server, "ci-runner")))
    place = tokens(authorization_server, introspector=nobody)
    number = listed_id(authorization_server, machine["client_id"])
    seen = place.verify(of_token(machine["client_id"], number), number, Secret(value))
    assert (seen.liveness, seen.basis) == (Liveness.UNKNOWN, Basis.NOTHING)
    assert is_active(authorization_server, value)


def _secret_of(server: Demo, client_id: str) -> str:
    return Path(server.places["client_secrets"][client_id]).read_text()


# ── Client secrets at the demo server ──────────────────────────────────────────────────────────────


def test_a_client_secret_is_replaced_by_a_further_client_and_both_work_until_the_first_is_deleted(
    authorization_server, machine
):
    kept = Kept(machine)
    place = client_secrets(authorization_server, kept)
    ref, old = of_secret(machine["client_id"]), Secret(machine["client_secret"])
    assert Capability.REPLACES not in place.capabilities
    issued = place.issue(ref, request_key="r-1")
    assert issued.external_id != machine["client_id"]
    assert issued.identity.endswith(f":client:{issued.external_id}:secret")
    versions = {version.external_id: version.mark for version in place.versions(ref)}
    assert versions == {machine["client_id"]: "", issued.external_id: "r-1"}
    assert place.verify(ref, issued.external_id, issued.secret).liveness is Liveness.ALIVE
    assert place.verify(ref, machine["client_id"], old).liveness is Liveness.ALIVE
    place.destroy(ref, machine["client_id"])
    gone = place.verify(ref, machine["client_id"], old)
    assert (gone.liveness, gone.basis) == (Liveness.REFUSED, Basis.PRESENTED)
    by_record = place.verify(ref, machine["client_id"], None)
    assert (by_record.liveness, by_record.basis) == (Liveness.REFUSED, Basis.RECORD)
    # The next rotation knows the new client by the token that was kept, and ends what this one made.
    successor = of_secret(issued.external_id)
    further = place.issue(successor, request_key="r-2")
    place.destroy(successor, issued.external_id)
    place.destroy(of_secret(further.external_id), further.external_id)
    assert place.versions(of_secret(further.external_id)) == []
    assert kept.held == {}


def test_a_further_client_is_registered_with_what_the_first_one_has(authorization_server, machine):
    kept = Kept(machine)
    place = client_secrets(authorization_server, kept)
    issued = place.issue(of_secret(machine["client_id"]), request_key="r-3")
    uri, token = kept.held[issued.external_id]
    told = httpx2.get(uri, headers={"Authorization": f"Bearer {token}"}).json()
    place.destroy(of_secret(issued.external_id), issued.external_id)
    same = ("client_name", "grant_types", "scope", "software_id", "token_endpoint_auth_method")
    assert {name: told[name] for name in same} == {name: MACHINE[name] for name in same}
    assert told["software_version"].startswith("4.2+keyreeve.")


def test_a_client_whose_registration_token_cannot_be_kept_is_taken_back_at_once(authorization_server, machine):
    place = client_secrets(authorization_server, Full(machine))
    with pytest.raises(Permanent, match="The disk is full"):
        place.issue(of_secret(machine["client_id"]), request_key="r-4")
    assert [each.external_id for each in place.versions(of_secret(machine["client_id"]))] == [machine["client_id"]]


def test_no_further_client_is_made_where_the_first_could_not_be_deleted(authorization_server, machine):
    place = client_secrets(authorization_server, Kept())
    with pytest.raises(Permanent, match="could not be deleted"):
        place.issue(of_secret(machine["client_id"]), request_key="r-5")
    assert len(place.versions(of_secret(machine["client_id"]))) == 1


def test_a_wrong_secret_of_a_client_is_refused(authorization_server, machine):
    place = client_secrets(authorization_server, Kept(machine))
    seen = place.verify(of_secret(machine["client_id"]), machine["client_id"], Secret(token_urlsafe(16)))
    assert (seen.liveness, seen.basis) == (Liveness.REFUSED, Basis.PRESENTED)


def test_a_client_that_was_deleted_elsewhere_counts_as_destroyed(authorization_server):
    made = authorization_server.register(**MACHINE)
    authorization_server.deregister(made)
    client_secrets(authorization_server, Kept(made)).destroy(of_secret(made["client_id"]), made["client_id"])


# ── Servers that answer as none should ─────────────────────────────────────────────────────────────


def met(answers: Mapping[str, bytes], work: Callable[[Rights], Any], **changed: Any) -> tuple[Any, list[Asked]]:
    """What a verb answers or raises at a server that says these things by path, and what that was asked."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.get(asked.path.split("?")[0], response(404)))

    async def scenario() -> tuple[Any, list[Asked]]:
        async with serving(answer) as peer:
            issuer = peer.url("").rstrip("/")
            settings = {
                "issuer": issuer,
                "introspector": Introspector(
                    client_id="keyreeve", secret=given("s-1"), endpoint=peer.url("/introspect")
                ),
                "endpoints": {
                    "revocation_endpoint": peer.url("/revoke"),
                    "token_endpoint": peer.url("/token"),
                },
                **changed,
            }
            try:
                return await asyncio.to_thread(work, Rights(**settings)), peer.asked
            except (Transient, Permanent) as exc:
                return exc, peer.asked

    return asyncio.run(scenario())


def said(document: Any, *headers: tuple[str, str], status: int = 200) -> bytes:
    return json_answer(json.dumps(document).encode(), *headers, status=status)


def destroying(value: str = "t-1", client_id: str = "") -> Callable[[Rights], Any]:
    return lambda rights: Tokens(rights, **common(rights.issuer)).destroy(of_token(client_id), "", Secret(value))


def looking(value: str = "t-1") -> Callable[[Rights], Any]:
    return lambda rights: Tokens(rights, **common(rights.issuer)).verify(of_token(""), "", Secret(value))


def test_a_server_that_is_busy_says_when_to_come_back():
    raised, _ = met({"/revoke": said({}, ("Retry-After", "40"), status=503)}, destroying())
    assert isinstance(raised, Transient)
    assert raised.retry_after == timedelta(seconds=40)


def test_a_type_of_token_that_is_never_revoked_is_said_to_live_until_it_expires():
    raised, _ = met({"/revoke": said({"error": "unsupported_token_type"}, status=400)}, destroying())
    assert isinstance(raised, Permanent)
    assert "until it expires" in str(raised)


@pytest.mark.parametrize("status", [400, 401])
def test_a_client_that_may_not_revoke_is_denied_whatever_the_status(status):
    raised, _ = met({"/revoke": said({"error": "invalid_client"}, status=status)}, destroying())
    assert type(raised) is Denied


def test_an_answer_that_repeats_a_token_shows_it_nowhere():
    raised, _ = met({"/revoke": said({"error": "t-1 is no token"}, status=400)}, destroying())
    assert "t-1" not in str(raised)


def test_a_jwt_is_said_to_be_taken_offline_until_it_expires():
    claims = {"exp": int((NOW + timedelta(hours=2)).timestamp())}
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    seen, _ = met({"/introspect": said({"active": False})}, looking(f"e30.{middle}.c2ln"))
    assert seen.liveness is Liveness.REFUSED
    assert "without asking takes it until" in seen.sentence


def test_a_refused_look_up_leaves_the_question_open():
    seen, _ = met({"/introspect": said({"error": "invalid_client"}, status=401)}, looking())
    assert (seen.liveness, seen.basis) == (Liveness.UNKNOWN, Basis.NOTHING)


def test_metadata_leads_no_token_to_another_host():
    document = {"issuer": "…", "revocation_endpoint": "https://evil.example/revoke"}

    def work(rights: Rights) -> Any:
        async def metadata(asking: Fetcher) -> Mapping[str, Any]:
            return {**document, "issuer": rights.issuer}

        place = Tokens(rights, fetcher=fetcher, metadata=metadata, clock=lambda: NOW)
        place.destroy(of_token(""), "", Secret("t-1"))

    raised, asked = met({}, work, endpoints={})
    assert type(raised) is Refused
    assert asked == []


@pytest.mark.parametrize(
    ("error", "liveness"),
    [
        ("invalid_grant", Liveness.ALIVE),
        ("unauthorized_client", Liveness.ALIVE),
        ("invalid_client", Liveness.REFUSED),
        ("unsupported_grant_type", Liveness.UNKNOWN),
    ],
)
def test_only_what_a_server_says_after_it_knows_the_client_tells_of_its_secret(error, liveness):
    def work(rights: Rights) -> Any:
        place = ClientSecrets(rights, registrations=Kept(), **common(rights.issuer))
        return place.verify(of_secret("batch"), "batch", Secret("s-2"))

    seen, asked = met({"/token": said({"error": error}, status=400)}, work)
    assert seen.liveness is liveness
    assert len(asked) == (2 if error == "invalid_client" else 1)  # in both ways that a secret is sent
