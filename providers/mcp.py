"""Look at a live MCP server: what it speaks, whom it lets in, what it says of itself and which tools it lists.

A probe never calls a tool and changes nothing. It sends the credential it was given to that server alone, says who it
is, ends every session that it opened, and gives up on a host that does not answer. Verdicts are made elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urljoin

import anyio

from providers.addresses import AUTHORIZATION_SERVER, is_issuer, origin, protected_resource_addresses, split
from providers.base import Secret
from providers.bodies import without
from providers.challenges import for_tokens
from providers.errors import ProviderError
from providers.fetch import Fetcher
from providers.mcp_requests import (
    FOREIGN_ORIGIN,
    LISTING_METHODS,
    MODERN,
    NEWEST_LEGACY,
    NO_TOKEN,
    UNHEARD,
    Request,
    bearer,
    document,
    ending,
    events,
    forged_tokens,
    initialize,
    initialized,
    legacy,
    modern,
)
from providers.mcp_tools import LISTING_SECONDS, Listing, list_launched, list_over_events, list_over_http
from providers.observations import Exchange, SafetyClass, ServerObservation
from providers.questions import Question
from providers.wire import Limits

HARMLESS = frozenset({SafetyClass.PASSIVE, SafetyClass.SAFE})
AT_ONCE = 100
MOST_VERSIONS = 20
MOST_BODY = 512 * 1024
KEPT_BODY = 4096

# Header mismatch, missing capability, unsupported version; and a method that is not there.
_MODERN_ERRORS = {400: (-32020, -32021, -32022), 404: (-32601,)}
_VERSION = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]")

_NO_CREDENTIAL = "That needs a test credential, and none was given."
_NOT_OPTED_IN = "That needs a test credential to be used, which was not opted in."
_ANONYMOUS = (Question.DISCOVER, Question.INITIALIZE, Question.TOOLS)
_HANDSHAKES = (Question.DISCOVER, Question.INITIALIZE, Question.AUTHORIZED_DISCOVER, Question.AUTHORIZED_INITIALIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a probe may cost: seconds for one request, for the whole probe, and for listing the tools."""

    request: float = 10
    stream: float = 2
    whole: float = 60
    listing: float = LISTING_SECONDS
    revocation: float = 60
    pause: float = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocable:
    """A token made for being revoked, and what its authorization server wants for that (RFC 7009)."""

    token: Secret
    endpoint: str
    client_id: str
    client_secret: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCredentials:
    """What an owner lends for the checks that need it. Each is sent to the probed server and nowhere else.

    `low_scope_method` is a method that only lists, and that the scope of `low_scope` does not cover.
    """

    __test__ = False  # its name is no order to pytest

    expired: Secret | None = None
    other_audience: Secret | None = None
    low_scope: Secret | None = None
    low_scope_method: str = "tools/list"
    revocable: Revocable | None = None

    def __post_init__(self) -> None:
        if self.low_scope_method not in LISTING_METHODS:
            raise ValueError(f"{self.low_scope_method!r} is not one of the methods that only list something.")


async def observe(
    url: str,
    *,
    fetcher: Fetcher,
    now: datetime,
    token: Secret | None = None,
    credentials: TestCredentials | None = None,
    opted_in: frozenset[SafetyClass] = frozenset(),
    budget: Budget | None = None,
) -> ServerObservation:
    """Ask one server everything that is allowed, and say what was seen. Raises nothing for what the server does.

    Passive and safe questions are always asked. `token` is used for the handshake and for listing the tools; trying it
    in wrong places, and the test `credentials`, need `SafetyClass.CREDENTIALED` in `opted_in`.
    """
    probe = _Probe(
        url=url,
        fetcher=fetcher,
        now=now,
        token=token,
        credentials=credentials or TestCredentials(),
        opted_in=opted_in | HARMLESS,
        budget=budget or Budget(),
    )
    return await probe.run()


async def observe_all(
    urls: Iterable[str],
    *,
    fetcher: Fetcher,
    clock: Callable[[], datetime],
    tokens: Mapping[str, Secret] | None = None,
    at_once: int = AT_ONCE,
    budget: Budget | None = None,
) -> AsyncIterator[ServerObservation]:
    """Observe many servers, some at once, each as it is done. What waits to be taken is bounded, and so is memory.

    `tokens` are looked up by the very URL that they were given for.
    """
    given = tokens or {}
    waiting = iter(urls)
    running: set[asyncio.Task[ServerObservation]] = set()

    def begin(number: int) -> None:
        for url in itertools.islice(waiting, number):
            probe = observe(url, fetcher=fetcher, now=clock(), token=given.get(url), budget=budget)
            running.add(asyncio.create_task(probe))

    try:
        begin(at_once)
        while running:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            running -= done
            begin(len(done))
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def observe_launched(
    command: Sequence[str], *, now: datetime, seconds: float = LISTING_SECONDS
) -> ServerObservation:
    """Launch a server on pipes and list its tools. Only ever because somebody asked for this very command.

    Its address is the name of the program alone: arguments may hold what should not be repeated.
    """
    listing = await list_launched(command, seconds=seconds)
    return ServerObservation(
        url=f"stdio:{command[0].rpartition('/')[2]}",
        observed_at=now,
        transport="stdio",
        era=listing.version,
        protocol_versions=(listing.version,) if listing.version else (),
        server_name=listing.server_name,
        server_version=listing.server_version,
        tools=listing.tools,
        tools_error=listing.error,
        is_listed_anonymously=listing.tools is not None,
        stopped=listing.error if listing.tools is None else "",
    )


class _Silence(Exception):
    """The server does not answer, or asks to be left alone. Whatever else there is to ask stays unasked."""


@dataclass(slots=True, kw_only=True)
class _Probe:
    url: str
    fetcher: Fetcher
    now: datetime
    token: Secret | None
    credentials: TestCredentials
    opted_in: frozenset[SafetyClass]
    budget: Budget
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    sessions: list[Request] = field(default_factory=list)
    stopped: str = ""
    transport: str = "http"
    issuers: tuple[str, ...] = ()
    listing: Listing = field(default_factory=Listing)
    is_listed_anonymously: bool = False

    async def run(self) -> ServerObservation:
        # Whoever lends a token to revoke wants to know how long it goes on working.
        seconds = self.budget.whole + (self.budget.revocation if self.credentials.revocable else 0)
        try:
            with anyio.fail_after(seconds):
                await self._ask_everything()
        except _Silence as silence:
            self.stopped = str(silence)
        except TimeoutError:
            self.stopped = f"The probe was ended after {seconds:g} s."
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(self.budget.request):
                await self._end_sessions()
        return self._observation()

    async def _ask_everything(self) -> None:
        await self._shake_hands()
        await self._read_metadata()
        await self._shake_hands_with_token()
        await self._look_for_event_streams()
        await self._ask_plainly()
        await self._list_tools()
        await self._try_made_up_tokens()
        await self._try_foreign_origin()
        await self._try_versions()
        await self._try_sessions()
        await self._try_test_credentials()

    # ── Asking ─────────────────────────────────────────────────────────────────────────────────

    async def _ask(
        self, question: Question, request: Request, *, url: str = "", seconds: float = 0, follow: bool = False
    ) -> Exchange:
        """Ask once and remember the answer. A server that does not answer its own address is asked nothing more."""
        exchange = await self._send(request, url=url, seconds=seconds, follow=follow)
        self.exchanges[question] = kept(exchange)
        self.requests[question] = request
        if exchange.status == 429 and origin(url or self.url) == origin(self.url):
            raise _Silence("The server asked to be asked less often (429).")
        if not exchange.is_answered and not url and request.method == "POST":
            raise _Silence(exchange.error)
        return exchange

    async def _send(self, request: Request, *, url: str = "", seconds: float = 0, follow: bool = False) -> Exchange:
        exchange = await self.fetcher.request(
            request.method,
            url or self.url,
            headers=request.headers,
            content=request.content,
            limits=Limits(seconds=seconds or self.budget.request, body=MOST_BODY),
            follow=follow,
        )
        session_id = exchange.header("mcp-session-id")
        if session_id and request.method == "POST" and b'"initialize"' in request.content:
            with_token = [header for header in request.headers if header[0] == "Authorization"]
            self.sessions.append(ending(_version(exchange) or NEWEST_LEGACY, session_id).having(*with_token))
        return exchange

    async def _end_sessions(self) -> None:
        for request in self.sessions:
            await self._send(request)

    def _is_lent(self, question: Question, credential: object) -> bool:
        """Whether a credential was lent for a question, and its use opted in; where not, the reason is kept."""
        if credential and SafetyClass.CREDENTIALED in self.opted_in:
            return True
        self.skipped[question] = _NOT_OPTED_IN if credential else _NO_CREDENTIAL
        return False

    # ── Handshakes and what is public ──────────────────────────────────────────────────────────

    async def _shake_hands(self) -> None:
        await self._ask(Question.DISCOVER, modern("server/discover"))
        greeted = await self._ask(Question.INITIALIZE, initialize())
        if _result(greeted) is not None:
            version, session_id = _version(greeted), greeted.header("mcp-session-id")
            await self._send(initialized(version, session_id))
            await self._ask(Question.TOOLS, legacy("tools/list", version, session_id))
        else:
            await self._ask(Question.TOOLS, modern("tools/list"))

    async def _shake_hands_with_token(self) -> None:
        questions = (Question.AUTHORIZED_DISCOVER, Question.AUTHORIZED_INITIALIZE)
        if self.token is None:
            self.skipped.update(dict.fromkeys(questions, "No credential was given for this server."))
        elif not self._is_closed():
            self.skipped.update(dict.fromkeys(questions, "The server asks for no credential, so none was sent."))
        else:
            await self._ask(Question.AUTHORIZED_DISCOVER, modern("server/discover").having(bearer(self.token)))
            greeted = await self._ask(Question.AUTHORIZED_INITIALIZE, initialize().having(bearer(self.token)))
            if _result(greeted) is not None:
                told = initialized(_version(greeted), greeted.header("mcp-session-id"))
                await self._send(told.having(bearer(self.token)))

    async def _read_metadata(self) -> None:
        """In the order of clients: where the challenge says, at the server's path, at its host; the first counts."""
        places = dict(
            zip(
                (Question.METADATA_AT_PATH, Question.METADATA_AT_ROOT),
                protected_resource_addresses(self.url),
                strict=False,
            )
        )
        gate = self._gate()
        challenge = for_tokens(self.exchanges[gate].all("www-authenticate")) if gate else None
        named = challenge.parameters.get("resource_metadata", "") if challenge else ""
        if named:
            places = {Question.METADATA_NAMED: _joined(self.url, named), **places}
        for question, place in places.items():
            exchange = await self._ask(question, document(), url=place, follow=True)
            if exchange.status == 200 and isinstance(exchange.document, Mapping):
                listed = exchange.document.get("authorization_servers")
                named_issuers = listed if isinstance(listed, list) else []
                issuers = (each for each in named_issuers if isinstance(each, str) and is_issuer(each))
                self.issuers = tuple(dict.fromkeys(issuers))[:10]
                return
        if gate:
            # 2025-03-26 knew no such metadata: the host itself is the authorization server.
            host = origin(self.url)
            exchange = await self._ask(
                Question.OWN_ISSUER, document(), url=f"{host}{AUTHORIZATION_SERVER}", follow=True
            )
            if exchange.status == 200 and isinstance(exchange.document, Mapping) and "issuer" in exchange.document:
                self.issuers = (host,)

    async def _look_for_event_streams(self) -> None:
        is_served = any(self._served(question) for question in _HANDSHAKES)
        stream = await self._ask(Question.EVENTS, events(), seconds=self.budget.stream)
        if self.token and stream.status in (401, 403) and not is_served:
            asked = events().having(bearer(self.token))
            stream = await self._ask(Question.AUTHORIZED_EVENTS, asked, seconds=self.budget.stream)
        if stream.announces_endpoint and not is_served:
            self.transport = "sse"
        parts = split(self.url)
        if parts is None or parts.path.rstrip("/").endswith("/sse"):
            self.skipped[Question.EVENTS_BESIDE] = "The address is where HTTP+SSE usually stands."
            return
        beside = parts._replace(path=f"{parts.path.rstrip('/').rpartition('/')[0]}/sse", query="", fragment="").geturl()
        await self._ask(Question.EVENTS_BESIDE, events(), url=beside, seconds=self.budget.stream)

    async def _ask_plainly(self) -> None:
        parts = split(self.url)
        if parts is None or parts.scheme != "https":
            self.skipped[Question.PLAIN_HTTP] = "The address itself is one of plain http."
            return
        host = parts.netloc.removesuffix(":443")  # where TLS has its usual port, plain http is looked for at its own
        plain = parts._replace(scheme="http", netloc=host, fragment="").geturl()
        self.exchanges[Question.PLAIN_HTTP] = await self.fetcher.ask_plainly(plain)

    # ── Tools ──────────────────────────────────────────────────────────────────────────────────

    async def _list_tools(self) -> None:
        token = self.token if self._is_closed() else None
        if token is None and self._is_closed() and not self._served(Question.TOOLS):
            self.listing = Listing(error="Its tools are listed only to who has a credential, and none was given.")
            return
        versions = self._versions()
        if self.transport == "http" and not versions:
            said = "The credential was not accepted." if token else "Nothing at this address speaks MCP."
            self.listing = Listing(error=said)
            return
        try:
            client = self.fetcher.client(
                bound_to=self.url if token else "",
                headers=(bearer(token),) if token else (),
                limits=Limits(seconds=self.budget.request),
            )
        except ProviderError as error:
            self.listing = Listing(error=str(error))
            return
        if self.transport == "sse":
            self.listing = await list_over_events(self.url, client, seconds=self.budget.listing)
        else:
            async with client:
                self.listing = await list_over_http(
                    self.url, client, is_modern=MODERN in versions, seconds=self.budget.listing
                )
        self.is_listed_anonymously = token is None and self.listing.tools is not None

    # ── Safe questions ─────────────────────────────────────────────────────────────────────────

    async def _try_made_up_tokens(self) -> None:
        if self._gate() is None:
            return
        await self._show(Question.INVALID_TOKEN, NO_TOKEN)
        metadata = self._metadata()
        resource, scopes = metadata.get("resource"), metadata.get("scopes_supported")
        unsigned, forged = forged_tokens(
            self.issuers[0] if self.issuers else origin(self.url),
            resource[:2000] if isinstance(resource, str) else self.url,
            [scope[:200] for scope in scopes if isinstance(scope, str)][:10] if isinstance(scopes, list) else [],
            now=self.now,
        )
        await self._show(Question.UNSIGNED_TOKEN, unsigned)
        await self._show(Question.FORGED_TOKEN, forged)

    async def _show(self, question: Question, token: Secret | str) -> None:
        """Show a token where a request without one was refused.

        A gate stands before the methods of both eras. A server that lets the token in and then does not know the method
        has not refused it: it is asked again in the words of the other era, and that answer counts.
        """
        exchange = await self._ask(question, self._refused().having(bearer(token)))
        if self._is_let_in(exchange):
            await self._ask(question, initialize().having(bearer(token)))

    def _refused(self) -> Request:
        """The request that was refused with 401; of two that were, the one that the server is known to understand."""
        gate = self._gate()
        if gate is None:
            raise RuntimeError("nothing was refused with 401")
        is_old = bool(self._versions()) and MODERN not in self._versions()
        return self.requests[Question.INITIALIZE if is_old and self._has_old_gate() else gate]

    def _has_old_gate(self) -> bool:
        greeted = self.exchanges.get(Question.INITIALIZE)
        return greeted is not None and greeted.status == 401

    def _is_let_in(self, exchange: Exchange) -> bool:
        """Whether a handshake that was refused without a token passed with it, and only then was not understood."""
        status = exchange.status or 0
        is_answer = 200 <= status < 300 or (400 <= status < 500 and status not in (401, 403, 408, 429))
        is_modern = self._gate() is Question.DISCOVER and self._refused() is self.requests[Question.DISCOVER]
        return is_answer and is_modern and self._has_old_gate() and _result(exchange) is None

    async def _try_foreign_origin(self) -> None:
        if self.transport == "sse":
            await self._ask(
                Question.FOREIGN_ORIGIN, events().having(("Origin", FOREIGN_ORIGIN)), seconds=self.budget.stream
            )
            return
        served = next((question for question in _HANDSHAKES[:2] if self._served(question)), None)
        if served is None and SafetyClass.CREDENTIALED in self.opted_in:
            served = next((question for question in _HANDSHAKES[2:] if self._served(question)), None)
        request = self.requests[served or self._gate() or Question.DISCOVER]
        await self._ask(Question.FOREIGN_ORIGIN, request.having(("Origin", FOREIGN_ORIGIN)))

    async def _try_versions(self) -> None:
        """A version that never was, and two that differ; behind a gate only with a credential that was lent for it."""
        if self.transport == "sse":
            self.skipped[Question.VERSION_UNHEARD] = "HTTP+SSE has no header for a version."
            return
        versions = self._versions()
        is_open = any(self._served(question) for question in _HANDSHAKES[:2])
        lent = self.token if not is_open and SafetyClass.CREDENTIALED in self.opted_in else None
        with_token = (bearer(lent),) if lent else ()
        greeting = Question.AUTHORIZED_INITIALIZE if lent else Question.INITIALIZE
        if MODERN in versions or not self._served(greeting):
            unheard = modern("server/discover", header=UNHEARD, body=UNHEARD)
        else:
            unheard = legacy("tools/list", UNHEARD, self.exchanges[greeting].header("mcp-session-id"))
        await self._ask(Question.VERSION_UNHEARD, unheard.having(*with_token))
        if MODERN in versions or not versions:
            differing = modern("server/discover", header=MODERN, body=NEWEST_LEGACY)
            await self._ask(Question.VERSION_MISMATCH, differing.having(*with_token))

    async def _try_sessions(self) -> None:
        if self._session_of(Question.INITIALIZE):
            opening = initialize()
        elif (session_id := self._session_of(Question.AUTHORIZED_INITIALIZE)) and self.token:
            version = _version(self.exchanges[Question.AUTHORIZED_INITIALIZE])
            await self._ask(Question.SESSION_ALONE, legacy("tools/list", version, session_id))
            if not self._is_lent(Question.ANOTHER_SESSION, self.token):
                return
            opening = initialize().having(bearer(self.token))
        else:
            if set(self._versions()) == {MODERN}:
                await self._ask(Question.DELETE, Request(method="DELETE"))
            return
        await self._ask(Question.ANOTHER_SESSION, opening)
        await self._ask(Question.THIRD_SESSION, opening)

    # ── With credentials lent for it ───────────────────────────────────────────────────────────

    async def _try_test_credentials(self) -> None:
        lent = self.credentials
        if self._gate() is None:
            return
        if lent.expired and self._is_lent(Question.EXPIRED_TOKEN, lent.expired):
            await self._show(Question.EXPIRED_TOKEN, lent.expired)
        if lent.other_audience and self._is_lent(Question.OTHER_AUDIENCE, lent.other_audience):
            await self._show(Question.OTHER_AUDIENCE, lent.other_audience)
        if self.token and self._is_lent(Question.QUERY_TOKEN, self.token):
            await self._ask_with_token_in_query(self._refused(), self.token)
        if lent.low_scope and self._is_lent(Question.LOW_SCOPE, lent.low_scope):
            listing = await self._listing_request(lent.low_scope_method, lent.low_scope)
            await self._ask(Question.LOW_SCOPE, listing)
        if lent.revocable and self._is_lent(Question.REVOKED_TOKEN, lent.revocable):
            await self._revoke_and_watch(lent.revocable)

    async def _ask_with_token_in_query(self, refused: Request, token: Secret) -> None:
        joint = "&" if "?" in self.url else "?"
        place = f"{self.url.partition('#')[0]}{joint}access_token={quote(token.reveal(), safe='')}"
        exchange = await self._send(refused, url=place)
        # Only the status and the headers stay: address, body and error could repeat the token.
        error = "" if exchange.is_answered else "The server did not answer."
        self.exchanges[Question.QUERY_TOKEN] = replace(exchange, url=self.url, body=b"", document=None, error=error)

    async def _listing_request(self, method: str, token: Secret) -> Request:
        """A request that only lists, as the server speaks, in a session of this token where it has sessions."""
        if MODERN in self._versions() or not self._versions():
            return modern(method).having(bearer(token))
        greeted = await self._send(initialize().having(bearer(token)))
        request = legacy(method, _version(greeted) or NEWEST_LEGACY, greeted.header("mcp-session-id"))
        return request.having(bearer(token))

    async def _revoke_and_watch(self, revocable: Revocable) -> None:
        """Revoke a token made for it and ask until it is refused, or until policy's time is over."""
        with_token = self._refused().having(bearer(revocable.token))
        before = await self._send(with_token)
        if self._is_let_in(before):
            with_token = initialize().having(bearer(revocable.token))
            before = await self._send(with_token)
        if before.status is None or not 200 <= before.status < 300:
            self.skipped[Question.REVOKED_TOKEN] = "The token to revoke did not work to begin with."
            return
        revoked = await self.fetcher.request(
            "POST", revocable.endpoint, headers=_client_headers(revocable), content=_revocation(revocable)
        )
        if revoked.status != 200:
            said = revoked.error or f"It answered {revoked.status}."
            self.skipped[Question.REVOKED_TOKEN] = f"The token could not be revoked. {said}"
            return
        begun = anyio.current_time()
        while True:
            exchange = await self._send(with_token)
            waited = anyio.current_time() - begun
            is_over = exchange.status is None or exchange.status >= 300 or waited >= self.budget.revocation
            if is_over:
                self.exchanges[Question.REVOKED_TOKEN] = replace(exchange, seconds=waited)
                return
            await asyncio.sleep(self.budget.pause)

    # ── What follows from the answers ──────────────────────────────────────────────────────────

    def _gate(self) -> Question | None:
        """The first anonymous question that was refused with 401."""
        return next((q for q in _ANONYMOUS if (e := self.exchanges.get(q)) is not None and e.status == 401), None)

    def _is_closed(self) -> bool:
        """Whether any anonymous question was refused; 403 is the wrong way to say so, and is said all the same."""
        statuses = {exchange.status for q in (*_ANONYMOUS, Question.EVENTS) if (exchange := self.exchanges.get(q))}
        return bool(statuses & {401, 403})

    def _served(self, question: Question) -> bool:
        exchange = self.exchanges.get(question)
        return exchange is not None and _result(exchange) is not None

    def _session_of(self, question: Question) -> str:
        exchange = self.exchanges.get(question)
        return exchange.header("mcp-session-id") if exchange is not None and self._served(question) else ""

    def _metadata(self) -> Mapping[str, Any]:
        for question in (Question.METADATA_NAMED, Question.METADATA_AT_PATH, Question.METADATA_AT_ROOT):
            exchange = self.exchanges.get(question)
            if exchange is not None and exchange.status == 200 and isinstance(exchange.document, Mapping):
                return exchange.document
        return {}

    def _versions(self) -> tuple[str, ...]:
        """Every version that the server was seen to speak, or said that it speaks; oldest first."""
        found: set[str] = set()
        for question in (Question.DISCOVER, Question.AUTHORIZED_DISCOVER):
            exchange = self.exchanges.get(question)
            answer = _result(exchange) if exchange else None
            supported = answer.get("supportedVersions") if answer else None
            error = _error_data(exchange) if exchange else {}
            listed = supported if isinstance(supported, list) else error.get("supported")
            texts = [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
            found |= {each for each in texts if _VERSION.fullmatch(each)}
            if (answer is not None and "supportedVersions" in answer) or (
                exchange and not texts and _is_modern(exchange)
            ):
                found.add(MODERN)
        for question in (Question.INITIALIZE, Question.AUTHORIZED_INITIALIZE):
            exchange = self.exchanges.get(question)
            if exchange is not None and (version := _version(exchange)):
                found.add(version)
        if _VERSION.fullmatch(self.listing.version):
            found.add(self.listing.version)
        return tuple(sorted(found)[-MOST_VERSIONS:])

    def _keep_no_echo(self, secret: str) -> None:
        """Take the token out of what the server sent back. Where it repeats it, people would read it as its words."""
        self.exchanges = {
            question: replace(
                exchange,
                headers=without(secret, exchange.headers),
                body=without(secret, exchange.body),
                document=without(secret, exchange.document),
            )
            for question, exchange in self.exchanges.items()
        }
        self.issuers = without(secret, self.issuers)
        told = self.listing
        self.listing = replace(
            told,
            server_name=without(secret, told.server_name),
            server_version=without(secret, told.server_version),
            tools=told.tools
            and tuple(
                replace(
                    tool,
                    name=without(secret, tool.name),
                    description=without(secret, tool.description),
                    scopes=without(secret, tool.scopes),
                )
                for tool in told.tools
            ),
        )

    def _observation(self) -> ServerObservation:
        if self.token is not None:
            self._keep_no_echo(self.token.reveal())
        versions = self._versions()
        name, version = self._identity()
        needing = (Question.EXPIRED_TOKEN, Question.OTHER_AUDIENCE, Question.QUERY_TOKEN, Question.LOW_SCOPE)
        reasons: dict[str, str] = dict.fromkeys((*needing, Question.REVOKED_TOKEN), _NO_CREDENTIAL) | self.skipped
        return ServerObservation(
            url=self.url,
            observed_at=self.now,
            transport=self.transport,
            era=versions[-1] if versions else "",
            protocol_versions=versions,
            server_name=name,
            server_version=version,
            exchanges=dict(self.exchanges),
            tools=self.listing.tools,
            tools_error=self.listing.error or (self.stopped if self.listing.tools is None else ""),
            is_listed_anonymously=self.is_listed_anonymously,
            issuers=self.issuers,
            stopped=self.stopped,
            skipped={question: said for question, said in reasons.items() if question not in self.exchanges},
        )

    def _identity(self) -> tuple[str, str]:
        for question in reversed(_HANDSHAKES):
            exchange = self.exchanges.get(question)
            answer = _result(exchange) if exchange else None
            if answer is None:
                continue
            meta = answer.get("_meta")
            found = meta.get("io.modelcontextprotocol/serverInfo") if isinstance(meta, Mapping) else None
            info = answer.get("serverInfo", found)
            if isinstance(info, Mapping):
                return str(info.get("name", ""))[:300], str(info.get("version", ""))[:200]
        return self.listing.server_name, self.listing.server_version


def _result(exchange: Exchange) -> Mapping[str, Any] | None:
    if exchange.status != 200 or not isinstance(exchange.document, Mapping):
        return None
    found = exchange.document.get("result")
    return found if isinstance(found, Mapping) else None


def _is_modern(exchange: Exchange) -> bool:
    """Whether an error is one that only 2026-07-28 knows: it gives them with these statuses, and no version before."""
    error = exchange.document.get("error") if isinstance(exchange.document, Mapping) else None
    code = error.get("code") if isinstance(error, Mapping) else None
    return code in _MODERN_ERRORS.get(exchange.status or 0, ())


def _error_data(exchange: Exchange) -> Mapping[str, Any]:
    """The data of the error that says which versions are supported (-32022)."""
    error = exchange.document.get("error") if isinstance(exchange.document, Mapping) else None
    data = error.get("data") if isinstance(error, Mapping) and error.get("code") == -32022 else None
    return data if isinstance(data, Mapping) else {}


def _version(exchange: Exchange) -> str:
    answer = _result(exchange)
    version = answer.get("protocolVersion") if answer else None
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else ""


def kept(exchange: Exchange) -> Exchange:
    """An exchange without what nobody looks at: many are held at once, and a server may answer with much.

    Of a list of tools the names stay; their definitions come by a session of the SDK.
    """
    document = exchange.document
    found = _result(exchange)
    if found is not None and isinstance(found.get("tools"), list):
        names = [
            {"name": str(tool["name"])[:300]} for tool in found["tools"] if isinstance(tool, dict) and "name" in tool
        ]
        document = {"result": {"tools": names, "nextCursor": bool(found.get("nextCursor"))}}
    return replace(exchange, body=exchange.body[:KEPT_BODY], document=document)


def _joined(url: str, reference: str) -> str:
    """Where a reference leads from an address. What cannot be joined stays as it is, for the fetcher to refuse."""
    try:
        return urljoin(url, reference)
    except ValueError:
        return reference


def _client_headers(revocable: Revocable) -> list[tuple[str, str | Secret]]:
    headers: list[tuple[str, str | Secret]] = [("Content-Type", "application/x-www-form-urlencoded")]
    if revocable.client_secret:
        pair = f"{quote(revocable.client_id, safe='')}:{quote(revocable.client_secret.reveal(), safe='')}"
        headers.append(("Authorization", Secret(f"Basic {base64.b64encode(pair.encode()).decode()}")))
    return headers


def _revocation(revocable: Revocable) -> bytes:
    fields = {"token": revocable.token.reveal(), "token_type_hint": "access_token"}
    if not revocable.client_secret:
        fields["client_id"] = revocable.client_id
    return urlencode(fields).encode()
