"""Ends tokens (RFC 7009) and replaces client secrets (RFC 7591 and 7592) at an authorization server, and sees it done.

What a server says of a revocation proves nothing: it answers 200 for tokens it never knew. So a token is looked up
afterwards (RFC 7662), or looked for in the server's own listing. No verb of a standard gives a client a new secret,
and where a server does so on an update the old one dies at once; so a further client is registered with the same
metadata, consumers move to it, and the old registration is deleted.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from providers.addresses import split
from providers.base import (
    Basis,
    Capability,
    CredentialRef,
    DiscoveredVersion,
    Issued,
    Liveness,
    Secret,
    Seen,
    Status,
)
from providers.errors import Denied, Permanent, ProviderError, Refused
from providers.fetch import Fetcher
from providers.oauth import (
    ACCESS_TOKEN,
    KINDS,
    REFRESH_TOKEN,
    AuthorizationServer,
    HeldToken,
    Introspector,
    Presented,
    authority,
    claims_of,
    document_of,
    endpoint_of,
    moment,
    post_as,
    refuse,
    text_of,
)
from providers.observations import Exchange
from providers.references import is_bound

T = TypeVar("T")
CLIENT_SECRET = "oauth_client_secret"
TOKEN_TYPES = {kind: token_type for token_type, kind in KINDS.items()}
CONFIDENTIAL = frozenset({"client_secret_basic", "client_secret_post", "client_secret_jwt"})
LONGEST_ID = 200
# Semantic versioning calls what follows a plus build metadata, which says nothing of what the software is.
MARK = "+keyreeve."
# Of one client, in an answer or a listing; the rest of it is metadata that another client is registered with.
_OF_ONE_CLIENT = frozenset(
    {
        "client_id",
        "client_secret",
        "client_id_issued_at",
        "client_secret_expires_at",
        "registration_client_uri",
        "registration_access_token",
        "registration_type",
        "last_used_at",
        "software_statement",
    }
)
# What a token endpoint answers once it knows who asks (RFC 6749 §5.2).
_KNOWN_CLIENT = frozenset({"invalid_grant", "unauthorized_client", "invalid_scope", "invalid_target"})

Clock = Callable[[], datetime]
Metadata = Callable[[Fetcher], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """A client as which the server is spoken to; one without a secret is public."""

    client_id: str
    secret: Presented | None = None
    auth_method: str = "client_secret_basic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Where one registration is managed, and what gives the token for that."""

    uri: str
    token: Presented


class Registrations(Protocol):
    """Where the registration tokens of clients are kept: by reference, never by us."""

    def of(self, client_id: str) -> Registration | None: ...

    def check(self) -> None:
        """Raise `ProviderError` where the token of a further registration could not be kept."""

    def keep(self, client_id: str, uri: str, token: Secret) -> None:
        """Keep the token before anything else is done. Raises `ProviderError` where that cannot be."""

    def forget(self, client_id: str) -> None:
        """The registration is gone, and so is what its token is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What may be asked of one authorization server, and as whom.

    `are_tokens_managed` and `are_clients_managed` say that each row of a listing has an address of its own, the
    listing's and its id, which answers GET and DELETE. `endpoints` are those that the settings name.
    """

    issuer: str
    clients_url: str = ""
    tokens_url: str = ""
    manager: Presented | None = None
    introspector: Introspector | None = None
    revokers: Mapping[str, Speaker] = field(default_factory=dict)
    are_tokens_managed: bool = False
    are_clients_managed: bool = False
    endpoints: Mapping[str, str] = field(default_factory=dict)
    bound_to: str = ""  # the one host that values of tokens may be sent to; empty for the issuer's
    registrar: Presented | None = None  # gives the initial access token (RFC 7591 §3)


class _Asking:
    """One conversation with the server."""

    def __init__(self, rights: Rights, fetcher: Fetcher, metadata: Metadata) -> None:
        self.rights = rights
        self.fetcher = fetcher
        self.server = AuthorizationServer(
            rights.issuer,
            fetcher=fetcher,
            clients_url=rights.clients_url,
            tokens_url=rights.tokens_url,
            manager=rights.manager,
            introspector=rights.introspector,
        )
        self._metadata = metadata
        self._known: Mapping[str, Any] | None = None

    async def metadata(self) -> Mapping[str, Any]:
        if self._known is None:
            self._known = await self._metadata(self.fetcher)
        return self._known

    async def endpoint(self, name: str) -> str:
        named = self.rights.endpoints.get(name)
        return named or endpoint_of(await self.metadata(), name, issuer=self.rights.issuer)

    # ── The listings of ours, one row at a time ────────────────────────────────────────────────

    async def row(self, noun: str, number: str) -> Mapping[str, Any] | None:
        """What a listing says of one token or client; None where the server has it no more."""
        found = [row async for row in self.rows(noun, {number})]
        return found[0] if found else None

    async def rows(self, noun: str, wanted: set[str] | None = None) -> AsyncIterator[Mapping[str, Any]]:
        """Rows of a listing; of those `wanted` each by its own address, where they have one."""
        url, key = self._listing(noun)
        if wanted is not None and self._is_managed(noun):
            for number in wanted:
                exchange = await self._one("GET", noun, number)
                if exchange.status not in {404, 410}:
                    yield document_of(exchange, f"The listing of {noun}")
            return
        async for page in self.server.pages(url, noun):
            for row in page:
                if isinstance(row, dict) and (wanted is None or row.get(key) in wanted):
                    yield row

    async def remove(self, noun: str, number: str) -> None:
        exchange = await self._one("DELETE", noun, number)
        if exchange.status not in {200, 202, 204, 404, 410}:
            refuse(exchange, f"The removal from the listing of {noun}")

    def _listing(self, noun: str) -> tuple[str, str]:
        return (self.rights.tokens_url, "id") if noun == "tokens" else (self.rights.clients_url, "client_id")

    def _is_managed(self, noun: str) -> bool:
        return self.rights.are_tokens_managed if noun == "tokens" else self.rights.are_clients_managed

    async def _one(self, method: str, noun: str, number: str) -> Exchange:
        parts = split(self._listing(noun)[0])
        if self.rights.manager is None or parts is None:
            raise Permanent(f"No reference to a token is given for the listing of {noun}.")
        address = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/{quote(number, safe='')}"
        bearer = Secret(f"Bearer {self.rights.manager(authority(address)).reveal()}")
        headers = (("Accept", "application/json"), ("Authorization", bearer))
        return await self.fetcher.request(method, address, headers=headers)


class _Operated:
    """What tokens and client secrets have in common: each verb is one conversation."""

    capabilities: frozenset[Capability]

    def __init__(
        self, rights: Rights, *, fetcher: Callable[[], Fetcher], metadata: Metadata, clock: Clock, label: str = ""
    ) -> None:
        """`metadata` reads the server's own (RFC 8414); `label` names the place in sentences."""
        self.rights = rights
        self._fetcher = fetcher
        self._metadata = metadata
        self._clock = clock
        self._label = label or rights.issuer

    def _ask(self, work: Callable[[_Asking], Awaitable[T]]) -> T:
        async def conversation() -> T:
            async with self._fetcher() as fetcher:
                return await work(_Asking(self.rights, fetcher, self._metadata))

        return asyncio.run(conversation())

    def suspend(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        raise Permanent("No standard lets an authorization server suspend it.")

    def resume(self, ref: CredentialRef, external_id: str) -> None:
        raise Permanent("No standard lets an authorization server suspend it, so nothing is resumed.")


# ── Tokens ─────────────────────────────────────────────────────────────────────────────────────────


class Tokens(_Operated):
    """Access and refresh tokens. Nobody makes one by asking for it, so they are revoked and never rotated."""

    def __init__(
        self, rights: Rights, *, fetcher: Callable[[], Fetcher], metadata: Metadata, clock: Clock, label: str = ""
    ) -> None:
        super().__init__(rights, fetcher=fetcher, metadata=metadata, clock=clock, label=label)
        able = {Capability.DESTROY}
        if rights.introspector is not None:
            able.add(Capability.PRESENTS)
        if rights.tokens_url and rights.manager is not None:
            able.add(Capability.LISTS_VERSIONS)
        if not rights.are_tokens_managed:
            able.add(Capability.NEEDS_VALUE)
        self.capabilities = frozenset(able)

    def versions(self, ref: CredentialRef) -> Sequence[DiscoveredVersion]:
        """The token itself, as long as the server lists it; a token without an id there is one nobody can look for."""
        if Capability.LISTS_VERSIONS not in self.capabilities:
            return []
        if not ref.external_id:
            return [DiscoveredVersion(external_id="")]
        row = self._ask(lambda asking: asking.row("tokens", ref.external_id))
        return [] if row is None else [self._version(row, ref.external_id)]

    def _version(self, row: Mapping[str, Any], external_id: str) -> DiscoveredVersion:
        return DiscoveredVersion(
            external_id=external_id,
            status=Status.EXPIRED if self._is_over(row) else Status.ACTIVE,
            issued_at=moment(row.get("issued_at")),
            last_used_at=moment(row.get("last_used_at")),
        )

    def _is_over(self, row: Mapping[str, Any]) -> bool:
        ends = moment(row.get("expires_at"))
        return ends is not None and ends <= self._clock()

    def issue(self, ref: CredentialRef, *, request_key: str) -> Issued:
        raise Permanent("A token is issued to who signs in, so nobody can be asked for another.")

    # ── Whether it is taken ────────────────────────────────────────────────────────────────────

    def verify(self, ref: CredentialRef, external_id: str, secret: Secret | None) -> Seen:
        return self._ask(lambda asking: self._seen(asking, ref, external_id, secret))

    async def _seen(self, asking: _Asking, ref: CredentialRef, external_id: str, secret: Secret | None) -> Seen:
        why = "Nobody can present its value."
        if secret is not None and self.rights.introspector is None:
            why = "No client is given as which tokens can be looked up."
        elif secret is not None:
            try:
                return await self._presented(asking, ref, external_id, secret)
            except Permanent as exc:
                why = str(exc)
        return await self._recorded(asking, ref, external_id, why)

    async def _presented(self, asking: _Asking, ref: CredentialRef, external_id: str, secret: Secret) -> Seen:
        def shown(host: str) -> Secret:
            self._may_show(f"https://{host}")
            return secret

        held = HeldToken(reference="", value=shown, kind=TOKEN_TYPES.get(ref.kind, ACCESS_TOKEN))
        metadata = {} if self.rights.introspector and self.rights.introspector.endpoint else await asking.metadata()
        now = self._clock()
        found = await asking.server.introspect(held, metadata=metadata, mark=lambda _secret: ("", ""), now=now)
        if found.status is Status.ACTIVE:
            said = f"Introspection at {self._label} says that it is active."
            if ref.principal and ref.principal not in self.rights.revokers:
                said += f" A server may take a revocation from {ref.principal} alone, which it was issued to."
            return Seen(liveness=Liveness.ALIVE, basis=Basis.PRESENTED, sentence=said)
        number = external_id or ref.external_id
        if number and Capability.LISTS_VERSIONS in self.capabilities:
            row = await asking.row("tokens", number)
            if row is not None and not self._is_over(row):
                # RFC 7662 §2.2: "inactive" is also what a server tells those who may not know.
                said = "Introspection says inactive, yet the server still lists it: it may not be ours to look up."
                return Seen(liveness=Liveness.UNKNOWN, basis=Basis.NOTHING, sentence=said)
        said = f"Introspection at {self._label} says that it is inactive.{self._offline(secret)}"
        said += await self._grant(asking, ref)
        return Seen(liveness=Liveness.REFUSED, basis=Basis.PRESENTED, sentence=said)

    def _offline(self, secret: Secret) -> str:
        ends = moment(claims_of(secret).get("exp"))
        if ends is None or ends <= self._clock():
            return ""
        return f" It is a JWT: whoever checks it without asking takes it until {ends:%Y-%m-%d %H:%M} UTC."

    async def _recorded(self, asking: _Asking, ref: CredentialRef, external_id: str, why: str) -> Seen:
        number = external_id or ref.external_id
        if Capability.LISTS_VERSIONS not in self.capabilities:
            said = f"{why} {self._label} has no listing of tokens to look into."
            return Seen(liveness=Liveness.UNKNOWN, basis=Basis.NOTHING, sentence=said)
        if not number:
            said = f"{why} The listing of tokens names it by an id that is not known."
            return Seen(liveness=Liveness.UNKNOWN, basis=Basis.NOTHING, sentence=said)
        row = await asking.row("tokens", number)
        if row is None:
            said = f"{self._label} no longer lists the token." + await self._grant(asking, ref)
            return Seen(liveness=Liveness.REFUSED, basis=Basis.RECORD, sentence=said)
        if self._is_over(row):
            return Seen(liveness=Liveness.REFUSED, basis=Basis.RECORD, sentence=f"{self._label} lists it as expired.")
        return Seen(liveness=Liveness.ALIVE, basis=Basis.RECORD, sentence=f"{self._label} still lists the token.")

    async def _grant(self, asking: _Asking, ref: CredentialRef) -> str:
        """What became of the access tokens that came of a refresh token, where the listing names their grant."""
        grant = ref.details.get("grant")
        if ref.kind != KINDS[REFRESH_TOKEN] or not grant or Capability.LISTS_VERSIONS not in self.capabilities:
            return ""
        left = 0
        async for row in asking.rows("tokens"):
            is_access = row.get("token_type") != REFRESH_TOKEN
            left += is_access and row.get("grant_id") == grant and not self._is_over(row)
        if not left:
            return " No access token of its grant is left."
        noun = "1 access token of its grant is" if left == 1 else f"{left} access tokens of its grant are"
        return f" {noun} still listed and must be revoked too."

    # ── Ending it ──────────────────────────────────────────────────────────────────────────────

    def destroy(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        self._ask(lambda asking: self._end(asking, ref, external_id or ref.external_id, secret))

    async def _end(self, asking: _Asking, ref: CredentialRef, number: str, secret: Secret | None) -> None:
        """By the standard where somebody can show it, and by its own address where it has one: neither is proof."""
        has_address = self.rights.are_tokens_managed and bool(number)
        if secret is None and not has_address:
            if self.rights.are_tokens_managed:
                raise Permanent("The listing names the token by an id that is not known, and nobody has its value.")
            raise Permanent("A token is revoked by showing it, and nobody can present its value.")
        if secret is not None:
            try:
                await self._revoke(asking, ref, secret)
            except Permanent:
                if not has_address:
                    raise
        if has_address:
            await asking.remove("tokens", number)

    def _may_show(self, endpoint: str) -> None:
        """Raise `Refused` where an endpoint is not at the host that tokens are for."""
        if not is_bound(authority(endpoint), self.rights.bound_to or authority(self.rights.issuer)):
            raise Refused("The token is bound to another host than the one it was to be sent to.")

    async def _revoke(self, asking: _Asking, ref: CredentialRef, secret: Secret) -> None:
        """RFC 7009, as the client that the token was issued to where it is known, else as ourselves."""
        speakers = list(self._speakers(ref))
        if not speakers:
            raise Permanent("No client is given as which tokens can be revoked.")
        endpoint = await asking.endpoint("revocation_endpoint")
        self._may_show(endpoint)
        refused: Denied | None = None
        is_taken = False
        for speaker in speakers:
            try:
                await self._revoke_as(asking, endpoint, speaker, ref, secret)
                is_taken = True
            except Denied as exc:
                refused = refused or exc
        if refused is not None and not is_taken:
            raise refused

    def _speakers(self, ref: CredentialRef) -> Iterator[Speaker]:
        if own := self.rights.revokers.get(ref.principal):
            yield own
            return
        if (mine := self.rights.introspector) is not None:
            yield Speaker(client_id=mine.client_id, secret=mine.secret, auth_method=mine.auth_method)
        if ref.principal and (mine is None or mine.client_id != ref.principal):
            yield Speaker(client_id=ref.principal)  # which is enough where it is a public client

    async def _revoke_as(
        self, asking: _Asking, endpoint: str, speaker: Speaker, ref: CredentialRef, secret: Secret
    ) -> None:
        exchange = await post_as(
            asking.fetcher,
            endpoint,
            {"token": secret.reveal(), "token_type_hint": TOKEN_TYPES.get(ref.kind, ACCESS_TOKEN)},
            client_id=speaker.client_id,
            secret=None if speaker.secret is None else speaker.secret(authority(endpoint)),
            auth_method=speaker.auth_method,
        )
        if exchange.status == 200:
            return  # which a server says of tokens too that it does not know (RFC 7009 §2.2)
        error = _error_of(exchange)
        if error == "unsupported_token_type":
            raise Permanent("The server revokes no token of this type: it is taken until it expires.")
        if error in {"invalid_client", "unauthorized_client"}:
            raise Denied(f"The revocation endpoint does not take {speaker.client_id} for the client that it should be.")
        refuse(exchange, "The revocation endpoint")


# ── Client secrets ─────────────────────────────────────────────────────────────────────────────────


class ClientSecrets(_Operated):
    """Secrets of confidential clients. A version is a registration: its external id is the client's id.

    A further client bears, as build metadata of its software version, the first client of its line and the request that
    it was made for, so that one whose secret died with a worker is found again in the listing.
    """

    def __init__(
        self,
        rights: Rights,
        *,
        registrations: Registrations,
        fetcher: Callable[[], Fetcher],
        metadata: Metadata,
        clock: Clock,
        label: str = "",
    ) -> None:
        super().__init__(rights, fetcher=fetcher, metadata=metadata, clock=clock, label=label)
        self._registrations = registrations
        able = {Capability.DESTROY, Capability.PRESENTS}
        if rights.clients_url and rights.manager is not None:
            able |= {Capability.LISTS_VERSIONS, Capability.ISSUE, Capability.LAST_USED}
        self.capabilities = frozenset(able)

    def versions(self, ref: CredentialRef) -> Sequence[DiscoveredVersion]:
        """The client, and all that stand in one line with it: what it replaced, and what was to replace it."""
        if Capability.LISTS_VERSIONS not in self.capabilities:
            return []
        return self._ask(lambda asking: self._family(asking, ref))

    async def _family(self, asking: _Asking, ref: CredentialRef) -> list[DiscoveredVersion]:
        return [
            DiscoveredVersion(
                external_id=str(row["client_id"]),
                status=Status.ACTIVE,
                issued_at=moment(row.get("client_id_issued_at")),
                last_used_at=moment(row.get("last_used_at")),
                mark=mark_of(row)[1],
            )
            for row in await self._rows(asking, ref)
        ]

    async def _rows(self, asking: _Asking, ref: CredentialRef) -> list[Mapping[str, Any]]:
        """What the listing has of the client and of all that are of one line with it."""
        ids = _ids(ref)
        ours = {each: row async for each, row in self._listed(asking) if each in ids or mark_of(row)[0]}
        roots = {_digest(each) for each in ids} | {mark_of(ours[each])[0] for each in ids if each in ours} - {""}
        line = {each: row for each, row in ours.items() if each in ids or mark_of(row)[0] in roots}
        if roots - {_digest(each) for each in ids}:  # the first of the line bears no mark
            line |= {each: row async for each, row in self._listed(asking) if _digest(each) in roots}
        return list(line.values())

    async def _listed(self, asking: _Asking) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        async for row in asking.rows("clients"):
            if client_id := text_of(row.get("client_id"), LONGEST_ID):
                yield client_id, row

    # ── A further one ──────────────────────────────────────────────────────────────────────────

    def issue(self, ref: CredentialRef, *, request_key: str) -> Issued:
        if Capability.ISSUE not in self.capabilities:
            raise Permanent("A further client is registered as the listing of clients describes the first; name it.")
        row = self._ask(lambda asking: self._standing(asking, ref))
        client_id = str(row["client_id"])
        if not self.rights.are_clients_managed:
            self._registrations.check()
            if self._registrations.of(client_id) is None:
                raise Permanent(
                    f"No reference to the registration token of {client_id} is held, so its registration could not be "
                    "deleted once a further one has taken its place."
                )
        return self._ask(lambda asking: self._register(asking, row, request_key))

    async def _standing(self, asking: _Asking, ref: CredentialRef) -> Mapping[str, Any]:
        """The client as its listing has it, or the newest of its line once it is gone itself.

        Its registration is not read for that: a server may end the secret in use on the way (RFC 7592 §2.1).
        """
        row = await asking.row("clients", _current(ref))
        if row is not None:
            return row
        line = await self._rows(asking, ref)
        if not line:
            raise Permanent(f"{self._label} lists no client {_current(ref)}.")
        return max(line, key=lambda each: moment(each.get("client_id_issued_at")) or datetime.min.replace(tzinfo=UTC))

    async def _register(self, asking: _Asking, row: Mapping[str, Any], request_key: str) -> Issued:
        body = {name: value for name, value in row.items() if name not in _OF_ONE_CLIENT and value not in (None, "")}
        version = text_of(row.get("software_version"), LONGEST_ID).partition(MARK)[0] or "0"
        root = mark_of(row)[0] or _digest(str(row["client_id"]))
        body["software_version"] = f"{version}{MARK}{root}.{request_key}"
        headers: list[tuple[str, str | Secret]] = [("Accept", "application/json"), ("Content-Type", "application/json")]
        endpoint = await asking.endpoint("registration_endpoint")
        if self.rights.registrar is not None:
            headers.append(("Authorization", Secret(f"Bearer {self.rights.registrar(authority(endpoint)).reveal()}")))
        exchange = await asking.fetcher.request("POST", endpoint, headers=headers, content=json.dumps(body).encode())
        if exchange.status not in {200, 201} or not isinstance(exchange.document, dict):
            refuse(exchange, "The registration endpoint")
        return await self._kept(asking, exchange.document)

    async def _kept(self, asking: _Asking, said: Mapping[str, Any]) -> Issued:
        """Keep the registration token before anything else: without it nobody could end what was just made."""
        client_id = text_of(said.get("client_id"), LONGEST_ID)
        uri = text_of(said.get("registration_client_uri"), 2_000)
        token = Secret(text) if (text := text_of(said.get("registration_access_token"), 20_000)) else None
        value = text_of(said.get("client_secret"), 20_000)
        if not client_id:
            raise Permanent("The registration endpoint answers without a client_id.")
        try:
            if not value:
                raise Permanent("The registration endpoint gives the client no secret.")
            if token is not None and uri:
                self._registrations.keep(client_id, uri, token)
            elif not self.rights.are_clients_managed:
                raise Permanent("The server gives no registration token, so nobody could end the registration again.")
        except ProviderError:
            with suppress(ProviderError):
                await self._delete(asking, client_id, Registration(uri=uri, token=lambda _: token) if token else None)
            raise
        return Issued(
            external_id=client_id,
            secret=Secret(value),
            identity=f"oauth:{self.rights.issuer}:client:{client_id}:secret",
            issued_at=moment(said.get("client_id_issued_at")),
            expires_at=moment(said.get("client_secret_expires_at")),
        )

    # ── Whether it is taken ────────────────────────────────────────────────────────────────────

    def verify(self, ref: CredentialRef, external_id: str, secret: Secret | None) -> Seen:
        client_id = external_id or _current(ref)
        if secret is None:
            return self._ask(lambda asking: self._recorded(asking, client_id, "Nobody can present it."))
        return self._ask(lambda asking: self._presented(asking, client_id, secret))

    async def _presented(self, asking: _Asking, client_id: str, secret: Secret) -> Seen:
        """Ask for a token by a refresh token that never was: whoever is refused as a client hears so first."""
        endpoint = await asking.endpoint("token_endpoint")
        form = {"grant_type": "refresh_token", "refresh_token": f"keyreeve-{token_urlsafe(24)}"}
        error = ""
        # A server may take one way alone and refuse the right secret in the other.
        for method in ("client_secret_basic", "client_secret_post"):
            exchange = await post_as(
                asking.fetcher, endpoint, form, client_id=client_id, secret=secret, auth_method=method
            )
            error = _error_of(exchange)
            if error in _KNOWN_CLIENT or exchange.status == 200:
                said = f"The token endpoint of {self._label} takes the secret of {client_id}."
                return Seen(liveness=Liveness.ALIVE, basis=Basis.PRESENTED, sentence=said)
            if error != "invalid_client":
                if exchange.status is None or exchange.status == 429 or exchange.status >= 500:
                    refuse(exchange, "The token endpoint")
                break
        if error == "invalid_client":
            said = f"The token endpoint of {self._label} refuses the secret of {client_id}."
            return Seen(liveness=Liveness.REFUSED, basis=Basis.PRESENTED, sentence=said)
        return await self._recorded(asking, client_id, "The token endpoint does not say whether it takes the secret.")

    async def _recorded(self, asking: _Asking, client_id: str, why: str) -> Seen:
        if Capability.LISTS_VERSIONS not in self.capabilities:
            said = f"{why} {self._label} has no listing of clients to look into."
            return Seen(liveness=Liveness.UNKNOWN, basis=Basis.NOTHING, sentence=said)
        if await asking.row("clients", client_id) is None:
            said = f"{self._label} no longer lists the client {client_id}."
            return Seen(liveness=Liveness.REFUSED, basis=Basis.RECORD, sentence=said)
        said = f"{self._label} still lists the client {client_id}."
        return Seen(liveness=Liveness.ALIVE, basis=Basis.RECORD, sentence=said)

    # ── Ending it ──────────────────────────────────────────────────────────────────────────────

    def destroy(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        client_id = external_id or _current(ref)
        held = self._registrations.of(client_id)
        self._ask(lambda asking: self._delete(asking, client_id, held))
        with suppress(ProviderError):  # the token of a registration that is gone opens nothing
            self._registrations.forget(client_id)

    async def _delete(self, asking: _Asking, client_id: str, held: Registration | None) -> None:
        if self.rights.are_clients_managed:
            await asking.remove("clients", client_id)
            return
        if held is None or not held.uri:
            if await self._is_gone(asking, client_id):
                return
            raise Permanent(
                f"No reference to the registration token of {client_id} is held: delete the client at {self._label}."
            )
        try:
            await asking.server.delete_registration(held.uri, held.token)
        except Denied:
            # A server says the same of a wrong token and of a client that it no longer has (RFC 7592 §2.3).
            if not await self._is_gone(asking, client_id):
                raise

    async def _is_gone(self, asking: _Asking, client_id: str) -> bool:
        return Capability.LISTS_VERSIONS in self.capabilities and await asking.row("clients", client_id) is None


def mark_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """Of whose line a client is, as a digest, and the request it was made for; empty for one that we did not make."""
    _, is_marked, mark = text_of(row.get("software_version"), 300).partition(MARK)
    root, _, request_key = mark.partition(".")
    return (root, request_key) if is_marked else ("", "")


def _ids(ref: CredentialRef) -> set[str]:
    return {each for each in (ref.external_id, ref.principal) if each}


def _current(ref: CredentialRef) -> str:
    return ref.external_id or ref.principal


def _digest(client_id: str) -> str:
    return sha256(client_id.encode()).hexdigest()[:12]


def _error_of(exchange: Exchange) -> str:
    """The error code of RFC 6749 in an answer; empty for anything else, which may be anything."""
    document = exchange.document
    said = document.get("error") if isinstance(document, dict) else None
    return said if isinstance(said, str) and said.isascii() and len(said) <= 60 else ""
