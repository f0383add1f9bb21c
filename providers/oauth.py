"""What an authorization server tells those who may ask: its clients, its tokens, one registration, one token.

Registrations are read and deleted by RFC 7592 and tokens looked up by RFC 7662. No standard lists clients or tokens, so
those two listings are a contract of ours, which `docs/connections.md` describes. Metadata is read by
`providers.authorization`. Secrets are sent to the origins that they are meant for and to no other.
"""

import base64
import binascii
import json
import math
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import quote_plus, urlencode

from providers.addresses import origin, split
from providers.base import DiscoveredCredential, Problem, Secret, Status
from providers.bodies import without
from providers.errors import Denied, Permanent, Refused, Transient
from providers.fetch import Fetcher, Limits
from providers.observations import Exchange

PAGE = Limits(seconds=30, body=8 << 20)
MAX_PAGES = 10_000
MAX_ROWS_IN_PAGE = 5_000
LONGEST_WAIT = timedelta(days=1)
LONGEST_TOKEN = 20_000

ACCESS_TOKEN, REFRESH_TOKEN = "access_token", "refresh_token"
KINDS = {ACCESS_TOKEN: "oauth_access_token", REFRESH_TOKEN: "oauth_refresh_token"}
REGISTRATIONS = frozenset({"dynamic", "pre_registered", "cimd"})

_ACCEPT = (("Accept", "application/json"),)
_FORM = (*_ACCEPT, ("Content-Type", "application/x-www-form-urlencoded"))
# Longer than any honest value and short enough for a million rows.
_LONG, _SHORT, _MANY = 2_000, 300, 100

# Gives the secret that may be sent to one host, and raises where it may not be.
Presented = Callable[[str], Secret]
# The fingerprint and the public hint of a secret.
Marked = Callable[[Secret], tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Introspector:
    """As whom tokens are looked up. `endpoint` only where it is not the one of the server's metadata."""

    client_id: str
    secret: Presented
    auth_method: str = "client_secret_basic"  # or client_secret_post
    endpoint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldToken:
    """A token that somebody keeps at a place that Keyreeve may read. `reference` names the place."""

    reference: str
    value: Presented
    kind: str = ACCESS_TOKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedClient:
    """One client as its server describes it. What was not said is empty or None."""

    client_id: str
    name: str = ""
    registration: str = ""  # dynamic, pre_registered or cimd
    redirect_uris: tuple[str, ...] = ()
    grant_types: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    software_id: str = ""
    software_version: str = ""
    application_type: str = ""
    auth_method: str = ""
    registration_uri: str = ""
    issued_at: datetime | None = None
    last_used_at: datetime | None = None
    secret_expires_at: datetime | None = None  # None also when it never does


class AuthorizationServer:
    """One authorization server, asked by those who govern it. Every verb is safe to repeat."""

    def __init__(
        self,
        issuer: str,
        *,
        fetcher: Fetcher,
        clients_url: str = "",
        tokens_url: str = "",
        manager: Presented | None = None,
        introspector: Introspector | None = None,
    ) -> None:
        """`manager` gives the bearer token of the two listings."""
        self.issuer = issuer
        self._fetcher = fetcher
        self._clients_url = clients_url
        self._tokens_url = tokens_url
        self._manager = manager
        self._introspector = introspector

    # ── Listings ───────────────────────────────────────────────────────────────────────────────

    async def clients(self) -> AsyncIterator[Sequence[ListedClient | Problem]]:
        """Every client, page by page. Raises `ProviderError` when nothing can be listed, or nothing more."""
        async for page in self.pages(self._clients_url, "clients"):
            yield [_client(row, self._clients_url) for row in page]

    async def tokens(self, *, now: datetime) -> AsyncIterator[Sequence[DiscoveredCredential | Problem]]:
        """What the server says of every token, page by page; their values stay there."""
        async for page in self.pages(self._tokens_url, "tokens"):
            yield [self._token(row, now) for row in page]

    async def pages(self, url: str, noun: str) -> AsyncIterator[list[Any]]:
        """A listing as it is answered, page by page."""
        seen: set[str] = set()
        address: str | None = url
        while address:
            if len(seen) >= MAX_PAGES:
                raise Permanent(f"The listing of {noun} has more than {MAX_PAGES} pages.")
            seen.add(address)
            document = await self._page(address, noun)
            rows, following = document.get(noun), document.get("next")
            if not isinstance(rows, list):
                raise Permanent(f"The listing of {noun} answers without a list of {noun}.")
            if len(rows) > MAX_ROWS_IN_PAGE:
                raise Permanent(f"A page of the listing of {noun} holds more than {MAX_ROWS_IN_PAGE}.")
            yield rows
            if following is not None and not isinstance(following, str):
                raise Permanent(f"The listing of {noun} names a next page that is no address.")
            if following and origin(following) != origin(url):
                raise Refused(f"The listing of {noun} goes on at another host, which its token is not shown to.")
            if following in seen:
                raise Permanent(f"The listing of {noun} goes on in a circle.")
            address = following

    async def _page(self, address: str, noun: str) -> Mapping[str, Any]:
        if self._manager is None:
            raise Permanent(f"No reference to a token is given for the listing of {noun}.")
        token = self._manager(authority(address))
        headers = (*_ACCEPT, ("Authorization", Secret(f"Bearer {token.reveal()}")))
        exchange = await self._fetcher.request("GET", address, headers=headers, limits=PAGE, json_only=True)
        return document_of(exchange, f"The listing of {noun}")

    def _token(self, row: Any, now: datetime) -> DiscoveredCredential | Problem:
        number = text_of(row.get("id"), _SHORT) if isinstance(row, dict) else ""
        if not number:
            return Problem(place=self._tokens_url, reason="A token is listed without an id.")
        kind = REFRESH_TOKEN if row.get("token_type") == REFRESH_TOKEN else ACCESS_TOKEN
        expires_at = moment(row.get("expires_at"))
        is_over = expires_at is not None and expires_at <= now
        return self._described(
            row,
            kind=kind,
            identity=f"oauth:{self.issuer}:token:{number}",
            external_id=number,
            status=Status.EXPIRED if is_over else Status.ACTIVE,
            issued_at=moment(row.get("issued_at")),
            expires_at=expires_at,
            last_used_at=moment(row.get("last_used_at")),
        )

    # ── One registration (RFC 7592) ────────────────────────────────────────────────────────────

    async def registration(self, uri: str, token: Presented) -> ListedClient:
        """Read one registration. A server may answer with a new token; it is not kept, and the old one may end."""
        exchange = await self._manage("GET", uri, token)
        found = _client(document_of(exchange, "The registration"), uri)
        if isinstance(found, Problem):
            raise Permanent(found.reason)
        return found

    async def delete_registration(self, uri: str, token: Presented) -> bool:
        """Delete one registration; False where the server knows none there, which is a success too.

        A server may say 401 of a client that it no longer has (RFC 7592 §2.3), as it does of a wrong token: that is
        `Denied`, because it proves neither.
        """
        exchange = await self._manage("DELETE", uri, token)
        if exchange.status not in {200, 202, 204, 404, 410}:
            refuse(exchange, "The removal of the registration")
        return exchange.status not in {404, 410}

    async def _manage(self, method: str, uri: str, token: Presented) -> Exchange:
        if origin(uri) not in {origin(self.issuer), origin(self._clients_url)} - {""}:
            raise Refused("The registration is managed at another host than the issuer's, which its token is not for.")
        headers = (*_ACCEPT, ("Authorization", Secret(f"Bearer {token(authority(uri)).reveal()}")))
        return await self._fetcher.request(method, uri, headers=headers)

    # ── Tokens by value (RFC 7662) ─────────────────────────────────────────────────────────────

    async def introspect(
        self, held: HeldToken, *, metadata: Mapping[str, Any], mark: Marked, now: datetime
    ) -> DiscoveredCredential:
        """Look up a token that is held by reference. Raises `ProviderError` when nothing can be learnt of it."""
        endpoint = self._introspection_endpoint(metadata)
        value = held.value(authority(endpoint))
        document = await self._look_up(endpoint, value, hint=held.kind)
        is_active = document.get("active")
        if not isinstance(is_active, bool):
            raise Permanent("The introspection endpoint does not say whether the token is active.")
        fingerprint, hint = mark(value)
        claims = document if is_active else claims_of(value)
        expires_at = moment(claims.get("exp"))
        status, reason = Status.ACTIVE, ""
        if not is_active:
            is_over = expires_at is not None and expires_at <= now
            status = Status.EXPIRED if is_over else Status.UNKNOWN
            # RFC 7662 §2.2 answers alike for expired, revoked and made-up tokens, and for those not ours to know.
            reason = "" if is_over else "Not active, says its server: expired, revoked, or not ours to know about."
        return self._described(
            claims,
            kind=REFRESH_TOKEN if document.get("token_type") == REFRESH_TOKEN else held.kind,
            identity=f"fp:{fingerprint}",  # as a file names it that holds the same token
            external_id=text_of(document.get("jti"), _SHORT),
            status=status,
            reference=held.reference,
            fingerprint=fingerprint,
            hint=hint,
            issued_at=moment(claims.get("iat")),
            expires_at=expires_at,
            reason=reason,
        )

    def _introspection_endpoint(self, metadata: Mapping[str, Any]) -> str:
        if self._introspector is None:
            raise Permanent("No client is given as which tokens can be looked up.")
        if self._introspector.endpoint:
            return self._introspector.endpoint
        return endpoint_of(metadata, "introspection_endpoint", issuer=self.issuer)

    async def _look_up(self, endpoint: str, value: Secret, *, hint: str) -> Mapping[str, Any]:
        asking = self._introspector
        if asking is None:
            raise Permanent("No client is given as which tokens can be looked up.")
        secret = asking.secret(authority(endpoint))
        form = {"token": value.reveal(), "token_type_hint": hint}
        exchange = await post_as(
            self._fetcher, endpoint, form, client_id=asking.client_id, secret=secret, auth_method=asking.auth_method
        )
        said = document_of(exchange, "The introspection endpoint")
        for sent in (value, secret):
            said = without(sent.reveal(), said)
        return said

    # ── Who we are there ───────────────────────────────────────────────────────────────────────

    async def check(self, metadata: Mapping[str, Any] | None) -> str:
        """Say in a sentence what we may ask there, after asking. Raises `ProviderError`."""
        if metadata is None:
            raise Permanent(f"{self.issuer} publishes no metadata where clients look for it.")
        said = []
        if self._clients_url:
            document = await self._page(self._clients_url, "clients")
            if not isinstance(document.get("clients"), list):
                raise Permanent("The listing of clients answers without a list of clients.")
            said.append("its clients can be listed")
        if self._tokens_url:
            document = await self._page(self._tokens_url, "tokens")
            if not isinstance(document.get("tokens"), list):
                raise Permanent("The listing of tokens answers without a list of tokens.")
            said.append("its tokens can be listed")
        if self._introspector is not None:
            nobody = Secret(f"keyreeve-{secrets.token_urlsafe(16)}")
            await self._look_up(self._introspection_endpoint(metadata), nobody, hint=ACCESS_TOKEN)
            said.append(f"tokens can be looked up as {self._introspector.client_id}")
        return f"{self.issuer} answers: {', '.join(said or ['its metadata can be read'])}."

    # ── Words ──────────────────────────────────────────────────────────────────────────────────

    def _described(self, row: Mapping[str, Any], *, kind: str, reason: str = "", **known: Any) -> DiscoveredCredential:
        """A token with what its claims say, whether a listing or an introspection said it."""
        client = text_of(row.get("client_id"), _SHORT)
        subject = text_of(row.get("sub"), _SHORT) or text_of(row.get("username"), _SHORT)
        audiences = _texts(row.get("aud") or row.get("resource"))
        noun = "access token" if kind == ACCESS_TOKEN else "refresh token"
        is_consented = bool(subject) and subject != client
        trust_model = "user_consented" if is_consented else "static_service" if subject else "unknown"
        details: dict[str, Any] = {"audiences": list(audiences)} if audiences else {}
        if grant := text_of(row.get("grant_id"), _SHORT):
            details["grant"] = grant
        if reason:
            details["reason"] = reason
        return DiscoveredCredential(
            name=f"{client or 'Unknown client'} / {noun}" + (f" of {subject}" if is_consented else ""),
            kind=KINDS[kind],
            principal=client,
            issuer=self.issuer,
            trust_model=trust_model,
            subject=subject if is_consented else "",
            scopes=tuple(text_of(row.get("scope"), _LONG).split())[:_MANY],
            details=details,
            **known,
        )


async def post_as(
    fetcher: Fetcher,
    endpoint: str,
    form: Mapping[str, str],
    *,
    client_id: str,
    secret: Secret | None,
    auth_method: str = "client_secret_basic",
) -> Exchange:
    """Send a form as a client; one without a secret says its id alone, as public clients do."""
    headers: list[tuple[str, str | Secret]] = list(_FORM)
    sent = dict(form)
    if secret is None:
        sent["client_id"] = client_id
    elif auth_method == "client_secret_post":
        sent |= {"client_id": client_id, "client_secret": secret.reveal()}
    else:
        # Both halves are form-encoded first (RFC 6749 §2.3.1), so that a colon in the id is none.
        pair = f"{quote_plus(client_id)}:{quote_plus(secret.reveal())}"
        headers.append(("Authorization", Secret(f"Basic {base64.b64encode(pair.encode()).decode()}")))
    return await fetcher.request("POST", endpoint, headers=headers, content=urlencode(sent).encode())


def _client(row: Any, place: str) -> ListedClient | Problem:
    client_id = text_of(row.get("client_id"), _LONG) if isinstance(row, dict) else ""
    if not client_id:
        return Problem(place=place, reason="A client is listed without a client_id.")
    said = text_of(row.get("registration_type"), _SHORT)
    return ListedClient(
        client_id=client_id,
        name=text_of(row.get("client_name"), _SHORT),
        registration=said if said in REGISTRATIONS else "",
        redirect_uris=_texts(row.get("redirect_uris")),
        grant_types=_texts(row.get("grant_types")),
        scopes=tuple(text_of(row.get("scope"), _LONG).split())[:_MANY],
        software_id=text_of(row.get("software_id"), _SHORT),
        software_version=text_of(row.get("software_version"), _SHORT),
        application_type=text_of(row.get("application_type"), _SHORT),
        auth_method=text_of(row.get("token_endpoint_auth_method"), _SHORT),
        registration_uri=text_of(row.get("registration_client_uri"), _LONG),
        issued_at=moment(row.get("client_id_issued_at")),
        last_used_at=moment(row.get("last_used_at")),
        secret_expires_at=moment(row.get("client_secret_expires_at")),
    )


def endpoint_of(metadata: Mapping[str, Any], name: str, *, issuer: str) -> str:
    """An endpoint that the server's own metadata names, on the issuer's own host. Raises `Permanent`."""
    noun = f"{name.removesuffix('_endpoint')} endpoint"
    found = metadata.get(name)
    if not isinstance(found, str) or split(found) is None:
        raise Permanent(f"The server's metadata names no {noun}.")
    if metadata.get("issuer") != issuer or origin(found) != origin(issuer):
        raise Refused(f"The metadata names the {noun} elsewhere, where no secret is sent unasked.")
    return found


def authority(url: str) -> str:
    """The host of an address, with its port where one is written, as references are bound to it."""
    parts = split(url)
    if parts is None:
        raise Permanent("An address of the authorization server is no address.")
    return parts.netloc.rpartition("@")[2]


def document_of(exchange: Exchange, asked: str) -> Mapping[str, Any]:
    """The JSON object that was asked for. Raises `ProviderError` in words that hold nothing of the answer."""
    if exchange.status != 200 or exchange.error:
        refuse(exchange, asked)
    if not isinstance(exchange.document, dict):
        raise Permanent(f"{asked} does not answer with a JSON object.")
    return exchange.document


def refuse(exchange: Exchange, asked: str) -> NoReturn:
    """Raise what an answer that was not hoped for means."""
    status = exchange.status
    if status is None:
        raise Transient(f"{asked} could not be reached: {exchange.error}")
    if status in {401, 403}:
        raise Denied(f"{asked} refuses the credential that it was shown ({status}).")
    if status == 429 or status >= 500:
        after = retry_after(exchange)
        wait = f" It asks to wait {int(after.total_seconds())} s." if after else ""
        raise Transient(f"{asked} answers {status} for now.{wait}", retry_after=after)
    if status != 200:
        raise Permanent(f"{asked} answers {status}.")
    raise Permanent(f"{asked} gives an answer that cannot be read: {exchange.error}")


def retry_after(exchange: Exchange) -> timedelta | None:
    """How long an answer asks to wait (RFC 9110 §10.2.3), a day at most; None when it does not say."""
    value = exchange.header("retry-after").strip()
    if value.isascii() and value.isdecimal():
        return min(timedelta(seconds=int(value[:9])), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(value)
        sent = parsedate_to_datetime(exchange.header("date"))
        return min(max(until - sent, timedelta()), LONGEST_WAIT)
    except (ValueError, TypeError, OverflowError):
        return None


def moment(value: Any) -> datetime | None:
    """A time as seconds since 1970 or in ISO 8601; None for none, for 0, which means never, and for what is no time."""
    try:
        if isinstance(value, bool) or not value:
            return None
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC) if math.isfinite(value) else None
        if isinstance(value, str) and len(value) <= 40:
            found = datetime.fromisoformat(value)
            return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError, OSError):
        return None
    return None


def text_of(value: Any, longest: int) -> str:
    """A text in one line, or nothing: what is too long is no value of this kind, and cut it would name another."""
    if not isinstance(value, str) or len(value) > longest:
        return ""
    return value.strip() if value.isprintable() else ""


def _texts(value: Any) -> tuple[str, ...]:
    found: Iterable[Any] = value if isinstance(value, list) else [value] if isinstance(value, str) else []
    texts = (text_of(each, _LONG) for each in list(found)[:_MANY])
    return tuple(each for each in texts if each)


def claims_of(value: Secret) -> Mapping[str, Any]:
    """What a JWT says of itself, unverified; empty for any other token."""
    parts = value.reveal().split(".") if len(value.reveal()) <= LONGEST_TOKEN else []
    if len(parts) != 3:
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
