"""An HTTP client for the sessions of an SDK, under the same guard and limits as the fetcher."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpcore2
import httpx2

from providers.base import Secret
from providers.bodies import Unreadable
from providers.errors import ProviderError
from providers.guard import Guard, Resolver, parse_target, resolve
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

# A body arrives decoded, and a cookie that is not seen is not kept.
_HIDDEN = frozenset({"content-encoding", "content-length", "set-cookie"})


def client(
    guard: Guard,
    *,
    user_agent: str,
    limits: Limits | None = None,
    bound_to: str = "",
    headers: Headers = (),
    tls: ssl.SSLContext | None = None,
    resolver: Resolver = resolve,
) -> httpx2.AsyncClient:
    """A client for an SDK's sessions; use it as an async context manager.

    `headers` are sent to the origin of the URL `bound_to` and to no other. Each answer's body has the limit of
    `limits.body`, and its time, with the connecting before it, that of `limits.seconds`; only the event stream that a
    GET opens may last longer, as long as something comes in that time. It follows no redirect and keeps no cookie.
    Raises `Refused` when `bound_to` is no address, and `ValueError` for headers that are bound to nothing.
    """
    bound = tuple(headers)
    if bound and not bound_to:
        raise ValueError("Headers for a session need the one origin that they are meant for")
    limits = limits or Limits()
    transport = _Transport(
        lines=Lines(guard, tls=tls, resolver=resolver),
        limits=limits,
        user_agent=user_agent,
        bound_to=parse_target(bound_to).origin if bound_to else None,
        bound=bound,
    )
    return httpx2.AsyncClient(
        transport=transport, trust_env=False, follow_redirects=False, timeout=httpx2.Timeout(limits.seconds)
    )


@dataclass(kw_only=True, eq=False)
class _Transport(httpx2.AsyncBaseTransport):
    lines: Lines
    limits: Limits
    user_agent: str
    bound_to: Origin | None
    bound: tuple[tuple[str, str | Secret], ...]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        deadline = asyncio.get_running_loop().time() + self.limits.seconds
        content = await request.aread()
        with _as_httpx(request):
            target = parse_target(str(request.url))
            headers: list[tuple[str, str | Secret]] = [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
            ]
            if target.origin == self.bound_to:
                headers += self.bound
            asked = message(
                request.method, target, headers=sendable(headers), content=content, user_agent=self.user_agent
            )
            async with asyncio.timeout_at(deadline):
                line = await self.lines.take(target)
                try:
                    line.stream.begin()
                    response = await line.connection.handle_async_request(asked)
                    received = headers_of(response)
                except BaseException:
                    await self.lines.give_back(line)
                    raise
        is_standing = request.method == "GET" and media_type_of(received) == "text/event-stream"
        return httpx2.Response(
            response.status,
            headers=[each for each in received if each[0] not in _HIDDEN],
            stream=_Body(
                lines=self.lines,
                line=line,
                limits=self.limits,
                request=request,
                response=response,
                deadline=None if is_standing else deadline,
            ),
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        await self.lines.close()


@dataclass(kw_only=True, eq=False)
class _Body(httpx2.AsyncByteStream):
    """A body that a session reads as it comes. Without a deadline it may last; the wait for each piece may not."""

    lines: Lines
    line: Line
    limits: Limits
    request: httpx2.Request
    response: httpcore2.Response
    deadline: float | None
    is_released: bool = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        now = asyncio.get_running_loop().time
        with _as_httpx(self.request):
            async with body_of(self.response, self.line, self.limits) as pieces:
                while True:
                    async with asyncio.timeout_at(self.deadline or now() + self.limits.seconds):
                        piece = await anext(pieces, None)
                    if piece is None:
                        break
                    yield piece

    async def aclose(self) -> None:
        if not self.is_released:
            self.is_released = True
            await self.response.aclose()
            await self.lines.give_back(self.line)


@contextlib.contextmanager
def _as_httpx(request: httpx2.Request) -> Iterator[None]:
    """Our errors and those of the connection, in the words that an SDK over httpx2 handles."""
    try:
        yield
    except ProviderError as exc:
        raise httpx2.ConnectError(str(exc), request=request) from exc
    except Unreadable as exc:
        raise httpx2.ReadError(str(exc), request=request) from exc
    except (TimeoutError, httpcore2.TimeoutException) as exc:
        raise httpx2.ReadTimeout("It took too long.", request=request) from exc
    except httpcore2.NetworkError as exc:
        raise httpx2.ReadError(f"The connection broke: {reason_of(exc)}.", request=request) from exc
    except httpcore2.ProtocolError as exc:
        raise httpx2.RemoteProtocolError("It does not answer in HTTP as it should.", request=request) from exc
