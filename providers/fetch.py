"""The one way by which Keyreeve requests a URL that came from a target: guarded, bounded and without credentials.

`Fetcher` answers with an `Exchange`, whatever the target does. `client` is the same guard for sessions of an SDK.
"""

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Self
from urllib.parse import urljoin

import httpcore2
import httpx2

from providers.bodies import Events, Unreadable, looks_like_json, parsed
from providers.errors import Permanent, ProviderError, Refused
from providers.guard import MAX_URL, Guard, Resolver, Target, parse_target, resolve
from providers.observations import Exchange
from providers.sessions import client
from providers.wire import (
    Headers,
    Limits,
    Line,
    Lines,
    Origin,
    body_of,
    headers_of,
    media_type_of,
    message,
    reason_of,
    sendable,
)

__all__ = ["Fetcher", "Guard", "Limits", "client", "fetch"]

AT_ONCE = 256
AT_ONCE_PER_ORIGIN = 32

# The only headers that follow a redirect to another origin: none of them is a credential.
_HARMLESS = frozenset(
    {"accept", "accept-language", "content-type", "mcp-protocol-version", "mcp-method", "mcp-name", "origin"}
)
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_METHOD = re.compile(r"[A-Z]{1,20}")
_USER = re.compile(r"//[^/?#]*@")


@dataclass(slots=True, kw_only=True)
class _Request:
    """One request on its way through redirects, with what came of it so far: cut short, that is still worth having."""

    method: str
    target: Target
    headers: list[tuple[str, str]]
    content: bytes
    limits: Limits
    json_only: bool
    exchange: Exchange | None = None
    body: bytearray = field(default_factory=bytearray)

    def redirect(self, status: int, location: str) -> None:
        """Go on to where an answer points. Raises `Refused` for what may not be followed."""
        try:
            target = parse_target(urljoin(self.target.url, location))
        except ValueError as exc:
            raise Refused("It redirects to what is no address.") from exc
        except Refused as exc:
            raise Refused(f"It redirects to what may not be followed. {exc}") from exc
        if (status == 303 and self.method != "HEAD") or (status in {301, 302} and self.method == "POST"):
            self.method, self.content = "GET", b""
            self.headers = [each for each in self.headers if each[0].lower() != "content-type"]
        if target.origin != self.target.origin:
            if self.content:
                raise Refused("It redirects the request's body to another origin, which it was not meant for.")
            self.headers = [each for each in self.headers if each[0].lower() in _HARMLESS]
        self.target, self.exchange, self.body = target, None, bytearray()

    def cut_short(self, sentence: str) -> Exchange:
        """What a request leaves that ended early: a truncated answer once one began, else the reason alone."""
        if self.exchange is None:
            return Exchange(method=self.method, url=self.target.url, error=sentence)
        return replace(self.exchange, body=bytes(self.body), is_truncated=True, error=sentence)


class Fetcher:
    """Requests URLs that targets chose: one pool of connections for many tasks, each request with its own limits.

    Use it as an async context manager, within one event loop. No cookies, no proxies of the environment, no netrc,
    no redirects unless asked for. `user_agent` says who asks.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        user_agent: str,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        resolver: Resolver = resolve,
    ) -> None:
        self._guard = guard
        self._tls = tls or httpcore2.default_ssl_context()
        self._resolver = resolver
        self._lines = Lines(guard, tls=self._tls, resolver=resolver)
        self._user_agent = user_agent
        self.limits = limits or Limits()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._origins: dict[Origin, tuple[asyncio.Semaphore, int]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._lines.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        content: bytes = b"",
        limits: Limits | None = None,
        follow: bool = False,
        json_only: bool = False,
    ) -> Exchange:
        """Send one request and say what came of it. Raises nothing for what the target does.

        The time limit begins when it is this request's turn and covers everything after it, redirects too. An answer
        that was cut short keeps its status, its headers and what came of its body, is truncated and has an `error`.
        With `json_only` the body of any other type is not read, which is an `error` beside the status. Reading an
        event stream ends with its first JSON-RPC answer. The exchange's `url` is the one that answered. With `follow`,
        another origin that a redirect leads to is sent neither credentials nor a body.
        """
        limits = limits or self.limits
        method = method.upper()
        try:
            if not _METHOD.fullmatch(method) or method == "CONNECT":
                raise Refused("The request has no method that may be sent.")
            request = _Request(
                method=method,
                target=parse_target(url),
                headers=sendable(headers),
                content=content,
                limits=limits,
                json_only=json_only,
            )
        except Refused as exc:
            return Exchange(method=method, url=_USER.sub("//", url[:MAX_URL]), error=str(exc))
        async with self._place(request.target.origin):
            began = time.monotonic()
            exchange = await self._within_limits(request, follow=follow)
            return replace(exchange, seconds=time.monotonic() - began)

    async def ask_plainly(self, url: str) -> Exchange:
        """GET an address over plain http, on the public internet too: whether it answers at all is the question.

        Nothing goes with it that could matter to whoever listens, and no redirect is followed.
        """
        guard = replace(self._guard, allow_plain_http=True)
        async with Fetcher(
            guard, user_agent=self._user_agent, limits=self.limits, tls=self._tls, resolver=self._resolver
        ) as plain:
            return await plain.request("GET", url)

    def client(self, *, bound_to: str = "", headers: Headers = (), limits: Limits | None = None) -> httpx2.AsyncClient:
        """A client for one session of an SDK, under this fetcher's guard; see `providers.sessions.client`."""
        return client(
            self._guard,
            user_agent=self._user_agent,
            limits=limits or self.limits,
            bound_to=bound_to,
            headers=headers,
            tls=self._tls,
            resolver=self._resolver,
        )

    @contextlib.asynccontextmanager
    async def _place(self, origin: Origin) -> AsyncIterator[None]:
        """Wait for a place: first among the requests to this origin, so that a slow one fills no other's places."""
        semaphore, users = self._origins.get(origin, (asyncio.Semaphore(AT_ONCE_PER_ORIGIN), 0))
        self._origins[origin] = semaphore, users + 1
        try:
            async with semaphore, self._places:
                yield
        finally:
            semaphore, users = self._origins.pop(origin)
            if users > 1:
                self._origins[origin] = semaphore, users - 1

    async def _within_limits(self, request: _Request, *, follow: bool) -> Exchange:
        try:
            async with asyncio.timeout(request.limits.seconds):
                return await self._followed(request) if follow else await self._answered(request)
        except TimeoutError:
            return request.cut_short(f"{request.target.authority} took longer than {request.limits.seconds:g} s.")
        except Unreadable as exc:
            return request.cut_short(str(exc))
        except ProviderError as exc:
            return Exchange(method=request.method, url=request.target.url, error=str(exc))
        except httpcore2.ProtocolError:
            return request.cut_short(f"{request.target.authority} does not answer in HTTP as it should.")
        except (httpcore2.NetworkError, httpcore2.TimeoutException) as exc:
            return request.cut_short(f"{request.target.authority} broke the connection: {reason_of(exc)}.")

    async def _followed(self, request: _Request) -> Exchange:
        seen = set()
        for _ in range(request.limits.redirects + 1):
            exchange = await self._answered(request)
            location = exchange.header("location")
            if exchange.status not in _REDIRECTS or not location:
                return exchange
            seen.add((request.method, request.target))
            request.redirect(exchange.status, location)
            if (request.method, request.target) in seen:
                raise Permanent(f"{request.target.authority} redirects in a circle.")
        raise Permanent(f"It redirects more than {request.limits.redirects} times.")

    async def _answered(self, request: _Request) -> Exchange:
        while True:
            line = await self._lines.take(request.target)
            try:
                return await self._exchange(line, request)
            except (httpcore2.NetworkError, httpcore2.RemoteProtocolError):
                # The other side may close a kept connection in the very moment in which it is used again. Only
                # what can be repeated is: a POST may have been served before the connection ended.
                if not line.is_reused or line.stream.received or request.method not in _REPEATABLE:
                    raise
            finally:
                await self._lines.give_back(line)

    async def _exchange(self, line: Line, request: _Request) -> Exchange:
        line.stream.begin()
        response = await line.connection.handle_async_request(
            message(
                request.method,
                request.target,
                headers=request.headers,
                content=request.content,
                user_agent=self._user_agent,
            )
        )
        async with body_of(response, line, request.limits) as pieces:
            received = headers_of(response)
            media_type = media_type_of(received)
            request.exchange = exchange = Exchange(
                method=request.method,
                url=request.target.url,
                status=response.status,
                headers=received,
                tls_version=line.tls_version,
            )
            if request.json_only and response.status not in _REDIRECTS and not _is_json(media_type):
                return replace(exchange, error="The answer is not JSON by its content type.")
            events = Events() if media_type == "text/event-stream" else None
            async for piece in pieces:
                request.body += piece
                if events:
                    events.feed(piece)
                    if events.is_complete:
                        break
        body = bytes(request.body)
        if events:
            return replace(exchange, body=body, document=events.document)
        is_json = _is_json(media_type)
        document = parsed(body) if is_json or looks_like_json(body) else None
        is_broken = request.json_only and is_json and document is None and body.strip() != b"null"
        error = "The answer says that it is JSON and is not, or is nested too deeply." if is_broken else ""
        return replace(exchange, body=body, document=document, error=error)


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def fetch(
    guard: Guard,
    method: str,
    url: str,
    *,
    user_agent: str,
) -> Exchange:
    """One plain request from where no event loop runs; see `Fetcher.request`."""

    async def once() -> Exchange:
        async with Fetcher(guard, user_agent=user_agent) as fetcher:
            return await fetcher.request(method, url)

    return asyncio.run(once())
