"""Asks an authorization server what the checklist wants to know of it, and leaves it as it was.

Without consent only reads and requests without lasting effect are sent. What registers clients (M) or uses a client of
the owner (C) is opted into, and whatever was made is removed again at once, also when something fails in between.
What an observation keeps holds no secret: tokens are reduced to what they say of themselves, keys to their public half.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import re
import secrets
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote_plus, urlencode

from providers.addresses import AUTHORIZATION_SERVER, OPENID_CONFIGURATION, inserted, is_safe, origin, split
from providers.base import Secret
from providers.errors import Permanent, Transient
from providers.fetch import Fetcher
from providers.observations import ClientObservation, Exchange, IssuerObservation, Leftover, SafetyClass
from providers.questions import IssuerQuestion as Q

CLIENT_DOCUMENT = 5 * 1024  # bytes
CLIENT_NAME = "Keyreeve posture check"  # what an administrator finds, should a client of ours stay behind
WITHHELD = "withheld"

# Reserved names (RFC 6761): nobody can own them, so nothing sent there arrives.
_NOBODY = "https://keyreeve.invalid/callback"
_NO_RESOURCE = "https://keyreeve.invalid/mcp"
_BAD_REDIRECTS = {
    Q.REGISTRATION_JAVASCRIPT: "javascript:alert(1)",
    Q.REGISTRATION_PLAIN_HTTP: "http://keyreeve.invalid/callback",
    Q.REGISTRATION_WILDCARD: "https://*.keyreeve.invalid/callback",
    Q.REGISTRATION_FRAGMENT: "https://keyreeve.invalid/callback#fragment",
}
_CONFIDENTIAL = frozenset({"access_token", "refresh_token", "client_secret", "registration_access_token"})
# What of an endpoint's answer is kept. The rest is nobody's business: introspection names people, for one.
_TOLD = _CONFIDENTIAL | {
    *("error", "token_type", "expires_in", "scope", "active", "aud", "client_id", "client_secret_expires_at"),
    *("registration_client_uri", "token_endpoint_auth_method", "application_type"),
}
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CLAIMS = ("iss", "aud", "exp", "iat", "scope", "client_id")
_IN_ADDRESS = re.compile(r"(?<=[?&#])(code|access_token|id_token|refresh_token)=[^&#]*")
_REGISTERED = (200, 201)
_GONE = (200, 202, 204, 404, 410)
_LONGEST_TOKEN = 20_000
_LONGEST_VALUE = 2_000
_MOST_VALUES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeClient:
    """A client that is registered at an authorization server, lent for its checks.

    Its id and redirect address alone let the authorization endpoint be checked. `secret` and `refresh_token` are used
    only when class C is opted into, and sent only to the issuer's own origin and to `origins`. A refresh token is used
    up by its check. `resource` is the address of the MCP server that tokens are asked for.
    """

    client_id: str
    redirect_uri: str = ""
    secret: Secret | None = None
    auth_method: str = "client_secret_basic"  # or client_secret_post
    refresh_token: Secret | None = None
    scope: str = ""
    resource: str = ""
    origins: frozenset[str] = frozenset()


async def observe_issuer(
    issuer: str,
    *,
    fetcher: Fetcher,
    now: datetime,
    opted_in: frozenset[SafetyClass] = frozenset(),
    test_client: ProbeClient | None = None,
    registration_token: Secret | None = None,
    gently: bool = False,
    seconds: float | None = None,
) -> IssuerObservation:
    """Ask an authorization server everything it may be asked. Raises nothing for what it does.

    `registration_token` is an initial access token (RFC 7591 §3), for class M at a guarded registration endpoint.
    `gently` is for one that kept a client which a check made: it is shown nothing that it could make one of. After
    `seconds` no more is asked, and what was made until then is removed all the same.
    """
    asking = _Asking(issuer, fetcher, is_gentle=gently)
    # When time is up, what it answered so far is worth having, and what it kept has to be told.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asking.everything(opted_in, test_client, registration_token)
    return IssuerObservation(
        issuer=issuer,
        observed_at=now,
        metadata=asking.metadata,
        metadata_url=asking.metadata_url,
        exchanges={str(question): exchange for question, exchange in asking.exchanges.items()},
        leftovers=tuple(asking.leftovers),
    )


async def metadata_of(issuer: str, fetcher: Fetcher) -> Mapping[str, Any]:
    """What an issuer says of itself where clients look for it, and nothing else asked. Raises `ProviderError`."""
    asking = _Asking(issuer, fetcher)
    await asking.find_metadata()
    if asking.metadata is not None:
        return asking.metadata
    if not any(exchange.is_answered for exchange in asking.exchanges.values()):
        raise Transient(f"{issuer} does not answer.")
    for exchange in asking.exchanges.values():
        if exchange.status == 429 or (exchange.status or 0) >= 500:
            raise Transient(f"{issuer} answers {exchange.status} where its metadata should be.")
    raise Permanent(f"{issuer} publishes no metadata where clients look for it.")


async def observe_client_document(client_id: str, *, fetcher: Fetcher, now: datetime) -> ClientObservation:
    """Fetch a client's metadata document as an authorization server has to: no redirects, and no more than 5 KB."""
    limits = replace(fetcher.limits, body=CLIENT_DOCUMENT, redirects=0)
    exchange = await fetcher.request("GET", client_id, headers=_ACCEPT, limits=limits)
    is_too_large = exchange.is_truncated and len(exchange.body) >= CLIENT_DOCUMENT
    return ClientObservation(
        client_id=client_id,
        observed_at=now,
        exchange=_kept(exchange, _public(exchange.document)),
        is_too_large=is_too_large,
    )


def metadata_addresses(issuer: str) -> dict[Q, str]:
    """Where an issuer's metadata may be, in the order in which clients look."""
    parts = split(issuer)
    if parts is None:
        return {}
    bare = f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/')}"
    found = {Q.METADATA_OAUTH: inserted(bare, AUTHORIZATION_SERVER)}
    if parts.path.strip("/"):
        found[Q.METADATA_OPENID_INSERTED] = inserted(bare, OPENID_CONFIGURATION)
    found[Q.METADATA_OPENID] = bare + OPENID_CONFIGURATION
    return found


_ACCEPT = (("Accept", "application/json"),)
_FORM = (*_ACCEPT, ("Content-Type", "application/x-www-form-urlencoded"))
_JSON = (*_ACCEPT, ("Content-Type", "application/json"))


@dataclass(slots=True)
class _Asking:
    """One authorization server being asked. What was answered is kept without anything confidential."""

    issuer: str
    fetcher: Fetcher
    is_gentle: bool = False
    metadata: Mapping[str, Any] | None = None
    metadata_url: str = ""
    exchanges: dict[Q, Exchange] = field(default_factory=dict)
    leftovers: list[Leftover] = field(default_factory=list)
    _answering: set[str] = field(default_factory=set)  # origins that answered anything

    async def everything(
        self, opted_in: frozenset[SafetyClass], client: ProbeClient | None, registration_token: Secret | None
    ) -> None:
        await self.find_metadata()
        if self.metadata is None:
            return
        await self.without_effect(client)
        if SafetyClass.MODIFYING in opted_in and not self.is_gentle:
            await self.by_registering(registration_token)
        if SafetyClass.CREDENTIALED in opted_in and client is not None:
            await self.by_tokens(client)

    async def find_metadata(self) -> None:
        for question, address in metadata_addresses(self.issuer).items():
            exchange = await self.fetcher.request("GET", address, headers=_ACCEPT, follow=True)
            found = _public(exchange.document)
            self._keep_whole(question, exchange, found)
            if exchange.status == 200 and isinstance(found, dict):
                self.metadata, self.metadata_url = found, exchange.url
                return
            if not exchange.is_answered:
                return  # the others are on the same host, and its silence would only be waited for again

    async def without_effect(self, client: ProbeClient | None) -> None:
        asked = [
            self._read_keys(),
            self._ask_to_register(),
            self._post(Q.REVOCATION_ANONYMOUS, "revocation_endpoint", {"token": _made_up()}),
            self._post(Q.INTROSPECTION_ANONYMOUS, "introspection_endpoint", {"token": _made_up()}),
            self._ask_as_nobody(),
        ]
        if client is not None and client.redirect_uri:
            asked += self._authorizations(client)
        # Not `gather`: cancelled, it would return while a registration is still being taken back.
        async with asyncio.TaskGroup() as group:
            for each in asked:
                group.create_task(each)

    async def by_registering(self, token: Secret | None) -> None:
        """Register what must be refused and what may be accepted, one after another, each removed before the next."""
        public = {"token_endpoint_auth_method": "none"}
        for question, address in _BAD_REDIRECTS.items():
            await self._register(question, {"redirect_uris": [address], **public}, token)
        confidential = {"redirect_uris": [_NOBODY], "token_endpoint_auth_method": "client_secret_basic"}
        await self._register(Q.REGISTRATION_CONFIDENTIAL, confidential, token)
        native = {"redirect_uris": ["http://127.0.0.1/callback"], "application_type": "native", **public}
        await self._register(Q.REGISTRATION_PUBLIC, native, token)

    async def by_tokens(self, client: ProbeClient) -> None:
        await _to_the_end(self._try_tokens(client))

    # ── Without effect ─────────────────────────────────────────────────────────────────────────

    async def _read_keys(self) -> None:
        if address := self._endpoint("jwks_uri"):
            exchange = await self.fetcher.request("GET", address, headers=_ACCEPT, follow=True)
            self._keep_whole(Q.JWKS, exchange, _public(exchange.document))

    async def _ask_to_register(self) -> None:
        address = self._endpoint("registration_endpoint")
        if not self.is_gentle:
            await self._register(Q.REGISTRATION_INVALID, {"redirect_uris": ["not a uri"]})
        elif address:
            # Half a document: nothing can be made of it, and who is asked for credentials first still shows.
            exchange = await self.fetcher.request("POST", address, headers=_JSON, content=b"{")
            self._keep(Q.REGISTRATION_INVALID, exchange)

    async def _post(
        self, question: Q, endpoint: str, form: Mapping[str, str], headers: Iterable[tuple[str, str | Secret]] = ()
    ) -> None:
        if address := self._endpoint(endpoint):
            exchange = await self.fetcher.request(
                "POST", address, headers=(*_FORM, *headers), content=urlencode(form).encode()
            )
            self._keep(question, exchange)

    async def _ask_as_nobody(self) -> None:
        nobody = _basic(_made_up(), Secret(_made_up()))
        await self._post(Q.TOKEN_UNKNOWN_CLIENT, "token_endpoint", {"grant_type": "client_credentials"}, nobody)

    def _authorizations(self, client: ProbeClient) -> list[Coroutine[Any, Any, None]]:
        """Requests as a browser would make them, without a session: nobody is signed in and nothing is granted."""
        address = self._endpoint("authorization_endpoint")
        if not address:
            return []
        challenge = base64.urlsafe_b64encode(sha256(_made_up().encode()).digest()).rstrip(b"=").decode()
        well_formed = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": client.redirect_uri,
            "state": _made_up(),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if client.scope:
            well_formed["scope"] = client.scope
        if client.resource:
            well_formed["resource"] = client.resource
        unprotected = {name: value for name, value in well_formed.items() if not name.startswith("code_challenge")}
        variants = {
            Q.AUTHORIZE_WELL_FORMED: well_formed,
            Q.AUTHORIZE_OTHER_HOST: {**well_formed, "redirect_uri": _NOBODY},
            Q.AUTHORIZE_OTHER_PATH: {**well_formed, "redirect_uri": _longer(client.redirect_uri)},
            Q.AUTHORIZE_WITHOUT_CHALLENGE: unprotected,
            Q.AUTHORIZE_UNKNOWN_TYPE: {**well_formed, "response_type": "keyreeve_unknown"},
        }
        return [self._authorize(question, address, query) for question, query in variants.items()]

    async def _authorize(self, question: Q, address: str, query: Mapping[str, str]) -> None:
        joint = "&" if "?" in address else "?"
        exchange = await self.fetcher.request("GET", f"{address}{joint}{urlencode(query)}", json_only=True)
        if exchange.is_answered and not exchange.is_truncated:
            exchange = replace(exchange, error="")  # a page for people is as good an answer, and not read
        self._keep(question, exchange)

    # ── Registration ───────────────────────────────────────────────────────────────────────────

    async def _register(self, question: Q, body: Mapping[str, Any], token: Secret | None = None) -> None:
        address = self._endpoint("registration_endpoint")
        if not address:
            return
        headers: list[tuple[str, str | Secret]] = list(_JSON)
        if token is not None:
            if refusal := self._refusal(address, frozenset()):
                self._keep(question, Exchange(method="POST", url=address, error=refusal))
                return
            headers.append(("Authorization", Secret(f"Bearer {token.reveal()}")))
        await _to_the_end(self._make_and_remove(question, address, headers, {"client_name": CLIENT_NAME, **body}))

    async def _make_and_remove(
        self, question: Q, address: str, headers: Iterable[tuple[str, str | Secret]], body: Mapping[str, Any]
    ) -> None:
        exchange = await self.fetcher.request("POST", address, headers=headers, content=json.dumps(body).encode())
        self._keep(question, exchange)
        registered = exchange.document if isinstance(exchange.document, dict) else {}
        client_id = registered.get("client_id")
        if exchange.status in _REGISTERED and isinstance(client_id, str):
            if reason := await self._remove(address, registered):
                self._leave(client_id, registered.get("registration_client_uri"), reason)
        elif exchange.status == 201 or (exchange.status in _REGISTERED and exchange.is_truncated):
            self._leave("", "", f"It may be named “{CLIENT_NAME}”: the answer that made it could not be read.")
        elif not exchange.is_answered and origin(address) in self._answering:
            self._leave("", "", f"Whether “{CLIENT_NAME}” was registered is not known: {exchange.error}")

    async def _remove(self, endpoint: str, registered: Mapping[str, Any]) -> str:
        """Delete a client by RFC 7592. Why it is still there; empty when it is not."""
        address, token = registered.get("registration_client_uri"), registered.get("registration_access_token")
        if not isinstance(address, str) or not isinstance(token, str) or not address or not token:
            return "It came without an address and a token to manage it."
        if origin(address) not in {origin(endpoint), origin(self.issuer)} or not is_safe(address):
            return "The address to manage it is on another host, which its token is not shown to."
        headers = (("Authorization", Secret(f"Bearer {token}")),)
        exchange = await self.fetcher.request("DELETE", address, headers=headers)
        if exchange.error or (exchange.status or 0) >= 500 or exchange.status == 429:
            exchange = await self.fetcher.request("DELETE", address, headers=headers)
        if exchange.status in _GONE:
            return ""
        return exchange.error or f"Its removal was answered with {exchange.status}."

    def _leave(self, client_id: str, address: Any, reason: str) -> None:
        address = address if isinstance(address, str) else ""
        self.leftovers.append(Leftover(client_id=client_id[:300], registration_uri=address[:2000], reason=reason))

    # ── Tokens ─────────────────────────────────────────────────────────────────────────────────

    async def _try_tokens(self, client: ProbeClient) -> None:
        """Get tokens, look at them and revoke them."""
        made: list[str] = []
        try:
            if client.secret is not None:
                wanted = {"grant_type": "client_credentials"}
                document = await self._token(Q.TOKEN, client, _with_resource(wanted, client, client.resource), made)
                await self._look_up(client, document)
                await self._token(
                    Q.TOKEN_UNREGISTERED_RESOURCE, client, _with_resource(wanted, client, _NO_RESOURCE), made
                )
            if client.refresh_token is not None:
                await self._refresh(client, client.refresh_token.reveal(), made)
        finally:
            await self._revoke(client, made)

    async def _token(
        self, question: Q, client: ProbeClient, form: Mapping[str, str], made: list[str]
    ) -> Mapping[str, Any]:
        """Ask for a token. Returns the answer as it came: it is not kept."""
        address = self._endpoint("token_endpoint")
        if not address:
            return {}
        if refusal := self._refusal(address, client.origins):
            self._keep(question, Exchange(method="POST", url=address, error=refusal))
            return {}
        headers, parameters = _authenticated(client, form)
        exchange = await self.fetcher.request("POST", address, headers=headers, content=urlencode(parameters).encode())
        document = exchange.document if isinstance(exchange.document, dict) else {}
        made += [value for name in ("access_token", "refresh_token") if isinstance(value := document.get(name), str)]
        sent = document.get("refresh_token")
        self._keep(
            question,
            exchange,
            requested_resource=form.get("resource", ""),
            is_confidential=client.secret is not None,
            is_same_refresh_token=sent is not None and sent == form.get("refresh_token"),
        )
        return document

    async def _look_up(self, client: ProbeClient, issued: Mapping[str, Any]) -> None:
        """Ask what a token is good for, where it does not say so itself."""
        token, address = issued.get("access_token"), self._endpoint("introspection_endpoint")
        if not isinstance(token, str) or _claims(token) or not address or self._refusal(address, client.origins):
            return
        headers, parameters = _authenticated(client, {"token": token})
        exchange = await self.fetcher.request("POST", address, headers=headers, content=urlencode(parameters).encode())
        self._keep(Q.INTROSPECTION, exchange)

    async def _refresh(self, client: ProbeClient, first: str, made: list[str]) -> None:
        form = _with_resource({"grant_type": "refresh_token"}, client, client.resource)
        answer = await self._token(Q.REFRESH, client, {**form, "refresh_token": first}, made)
        if client.secret is None and Q.REFRESH in self.exchanges:
            self.exchanges[Q.TOKEN] = self.exchanges[Q.REFRESH]  # the only token such a client can be asked about
        second = answer.get("refresh_token")
        if not isinstance(second, str) or second == first:
            return
        await self._token(Q.REFRESH_AGAIN, client, {**form, "refresh_token": first}, made)
        await self._token(Q.REFRESH_NEWEST, client, {**form, "refresh_token": second}, made)

    async def _revoke(self, client: ProbeClient, made: Iterable[str]) -> None:
        address = self._endpoint("revocation_endpoint")
        if not address or self._refusal(address, client.origins):
            return  # they end when they expire
        for token in made:
            headers, parameters = _authenticated(client, {"token": token})
            await self.fetcher.request("POST", address, headers=headers, content=urlencode(parameters).encode())

    # ── What all of them need ──────────────────────────────────────────────────────────────────

    def _endpoint(self, name: str) -> str:
        """An address that the metadata names; empty when it names none. The fetcher refuses what is no place to go."""
        value = (self.metadata or {}).get(name)
        return value if isinstance(value, str) else ""

    def _refusal(self, address: str, origins: frozenset[str]) -> str:
        """Why a credential is not sent there; empty when it may be. Metadata is the target's word, not the owner's."""
        if (self.metadata or {}).get("issuer") != self.issuer:
            return "The metadata names another issuer, so no credential is sent where it says."
        if not is_safe(address):
            return "The address is not https, so no credential is sent there."
        if origin(address) not in {origin(self.issuer), *origins}:
            return f"A credential for {origin(self.issuer)} is not sent to {origin(address)}."
        return ""

    def _keep(self, question: Q, exchange: Exchange, **told: Any) -> None:
        """Keep what an endpoint answered, and what we know of it besides."""
        document = _told(exchange.document)
        self._keep_whole(question, exchange, document | told if document is not None else None)

    def _keep_whole(self, question: Q, exchange: Exchange, document: Any) -> None:
        if exchange.is_answered:
            self._answering.add(origin(exchange.url))
        self.exchanges[question] = _kept(exchange, document)


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Do work that must not stop half-way: what it makes, it also removes. A cancellation is passed on afterwards.

    The time limits of the fetcher bound how long that can be.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as exc:
            if task.cancelled():
                raise
            cancelled = exc
    if cancelled is not None:
        raise cancelled
    task.result()


def _made_up() -> str:
    """A value that nobody issued."""
    return f"keyreeve-{secrets.token_urlsafe(16)}"


def _longer(address: str) -> str:
    """The same address one path segment deeper: what comparing by prefix lets pass."""
    before, mark, query = address.partition("?")
    return f"{before.rstrip('/')}/keyreeve{mark}{query}"


def _with_resource(form: Mapping[str, str], client: ProbeClient, resource: str) -> dict[str, str]:
    wanted = dict(form)
    if client.scope:
        wanted["scope"] = client.scope
    if resource:
        wanted["resource"] = resource
    return wanted


def _authenticated(
    client: ProbeClient, form: Mapping[str, str]
) -> tuple[list[tuple[str, str | Secret]], dict[str, str]]:
    headers: list[tuple[str, str | Secret]] = list(_FORM)
    parameters = dict(form)
    if client.secret is not None and client.auth_method != "client_secret_post":
        headers += _basic(client.client_id, client.secret)
        return headers, parameters
    parameters["client_id"] = client.client_id
    if client.secret is not None:
        parameters["client_secret"] = client.secret.reveal()
    return headers, parameters


def _basic(client_id: str, secret: Secret) -> tuple[tuple[str, Secret]]:
    # Both halves are form-encoded first (RFC 6749 §2.3.1), so that a colon in the id is none.
    pair = f"{quote_plus(client_id)}:{quote_plus(secret.reveal())}"
    return (("Authorization", Secret(f"Basic {base64.b64encode(pair.encode()).decode()}")),)


def _kept(exchange: Exchange, document: Any) -> Exchange:
    """What of an exchange may be kept: no body, no cookie, nothing confidential in its addresses."""
    headers = tuple(
        (name, _IN_ADDRESS.sub(rf"\1={WITHHELD}", value) if name == "location" else value)
        for name, value in exchange.headers
        if name != "set-cookie"
    )
    return replace(exchange, headers=headers, body=b"", document=document)


def _public(document: Any) -> Any:
    """A published document without what should not be in it; that it was there still shows."""
    if not isinstance(document, dict):
        return document
    shown = {name: _withheld(name, value) if name in _CONFIDENTIAL else value for name, value in document.items()}
    if isinstance(keys := shown.get("keys"), list):
        shown["keys"] = [_public_key(key) for key in keys]
    if isinstance(key_set := shown.get("jwks"), dict) and isinstance(keys := key_set.get("keys"), list):
        shown["jwks"] = key_set | {"keys": [_public_key(key) for key in keys]}
    return shown


def _told(document: Any) -> Any:
    """Of an endpoint's answer, the few members that checks look at, each of them short."""
    if not isinstance(document, dict):
        return None
    told = {name: value for name, value in document.items() if name in _TOLD}
    return {name: _withheld(name, value) if name in _CONFIDENTIAL else _short(value) for name, value in told.items()}


def _short(value: Any) -> Any:
    match value:
        case str():
            return value[:_LONGEST_VALUE]
        case list():
            return [_short(item) for item in value[:_MOST_VALUES] if isinstance(item, str)]
        case dict():
            return {}
        case _:
            return value


def _public_key(key: Any) -> Any:
    if not isinstance(key, dict):
        return key
    return {name: WITHHELD if name in _PRIVATE_MEMBERS and value else value for name, value in key.items()}


def _withheld(name: str, value: Any) -> Any:
    if value is None:
        return None
    return {"claims": _claims(value)} if name == "access_token" and isinstance(value, str) else WITHHELD


def _claims(token: str) -> dict[str, Any]:
    """What a JWT says of itself, unverified; empty for any other token."""
    parts = token.split(".") if len(token) <= _LONGEST_TOKEN else []
    if len(parts) != 3:
        return {}
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return {name: payload[name] for name in _CLAIMS if name in payload} if isinstance(payload, dict) else {}
