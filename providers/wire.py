"""Connections and messages of HTTP under a guard: what the fetcher and the sessions of an SDK have in common."""

import contextlib
import functools
import os
import re
import ssl
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import anyio
import httpcore2

from providers.base import Secret
from providers.bodies import Decoder, Unreadable
from providers.errors import Permanent, Refused
from providers.guard import Address, Guard, Resolver, Target, plain

Origin = tuple[str, str, int]
Headers = Iterable[tuple[str, str | Secret]]

IDLE_SECONDS = 2.0
IDLE_LINES = 256
ADDRESSES_TRIED = 4
HEADER_BYTES = 64 * 1024
HEADER_LINES = 200
# What framing may add to a body (chunk sizes, trailers), and in how many pieces one may come.
FRAMING = 128 * 1024
PIECES = 10_000

_OURS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "cookie", "user-agent", "te"}
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?|")
_UNREACHED = (httpcore2.NetworkError, httpcore2.TimeoutException)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost: seconds in all, bytes of body after decompression, redirects followed."""

    seconds: float = 10
    body: int = 1 << 20
    redirects: int = 3


class CountedStream(httpcore2.AsyncNetworkStream):
    """A connection's bytes, counted: headers and framing can cost as much as a body."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left = 0
        self._sentence = ""
        self.received = 0

    def begin(self) -> None:
        """An answer is to come: its headers first."""
        self._left, self.received = HEADER_BYTES, 0
        self._sentence = "The answer has more headers than one needs."

    def allow_body(self, size: int) -> None:
        self._left = size + FRAMING
        self._sentence = "The answer wraps its body in too much else."

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._left:
            raise Unreadable(self._sentence)
        with _tls_broken(httpcore2.ReadError):
            received = await self._stream.read(min(max_bytes, self._left), timeout)
        self.received += len(received)
        self._left -= len(received)
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _tls_broken(httpcore2.WriteError):
            await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@contextlib.contextmanager
def _tls_broken(error: type[httpcore2.NetworkError]) -> Iterator[None]:
    """A record that is none in the middle of a connection: the library maps such only while TLS is agreed on."""
    try:
        yield
    except ssl.SSLError as exc:
        raise error("TLS broke") from exc


@dataclass(slots=True, eq=False)
class Line:
    """One open connection to one origin."""

    origin: Origin
    connection: httpcore2.AsyncHTTP11Connection
    stream: CountedStream
    tls_version: str
    is_reused: bool = False

    async def close(self) -> None:
        # A closing that waits for the other side would wait outside every time limit.
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await self.connection.aclose()


class Lines:
    """Connections opened under a guard, the idle ones kept for a moment and never many."""

    def __init__(self, guard: Guard, *, tls: ssl.SSLContext | None, resolver: Resolver) -> None:
        self._guard = guard
        self._resolver = resolver
        self._tls = tls or _system_tls()
        self._tls.set_alpn_protocols(["http/1.1"])
        self._backend = httpcore2.AnyIOBackend()
        self._all: set[Line] = set()
        self._idle: OrderedDict[Line, None] = OrderedDict()
        self._by_origin: dict[Origin, list[Line]] = {}

    async def take(self, target: Target) -> Line:
        """An idle connection to the target's origin, else a new one.

        Raises `ProviderError`; it is `Refused` for an address that is not open.
        """
        while lines := self._by_origin.get(target.origin):
            line = lines[-1]
            self._forget(line)
            if not line.connection.has_expired():
                line.is_reused = True
                return line
            await self._end(line)
        return await self._open(target)

    async def give_back(self, line: Line) -> None:
        if line not in self._all or not line.connection.is_idle():
            await self._end(line)
            return
        self._idle[line] = None
        self._by_origin.setdefault(line.origin, []).append(line)
        while len(self._idle) > IDLE_LINES or (self._idle and next(iter(self._idle)).connection.has_expired()):
            oldest = next(iter(self._idle))
            self._forget(oldest)
            await self._end(oldest)

    async def close(self) -> None:
        """End every connection, those in use too."""
        self._idle.clear()
        self._by_origin.clear()
        while self._all:
            await self._end(next(iter(self._all)))

    async def _end(self, line: Line) -> None:
        self._all.discard(line)
        await line.close()

    def _forget(self, line: Line) -> None:
        del self._idle[line]
        lines = self._by_origin[line.origin]
        lines.remove(line)
        if not lines:
            del self._by_origin[line.origin]

    async def _open(self, target: Target) -> Line:
        stream = await self._connect(target, await self._addresses(target))
        tls_version = ""
        if target.scheme == "https":
            try:
                stream = await stream.start_tls(self._tls, server_hostname=target.host)
            except httpcore2.NetworkError as exc:
                raise Permanent(_tls_sentence(target, exc)) from exc
            tls_version = stream.get_extra_info("ssl_object").version() or ""
        counted = CountedStream(stream)
        scheme, host, port = target.origin
        connection = httpcore2.AsyncHTTP11Connection(
            origin=httpcore2.Origin(scheme.encode(), host.encode(), port),
            stream=counted,
            keepalive_expiry=IDLE_SECONDS,
        )
        line = Line(target.origin, connection, counted, tls_version)
        self._all.add(line)
        return line

    async def _addresses(self, target: Target) -> list[Address]:
        """What the target's host is now, judged. The connection goes to these and the name is not looked up again."""
        if target.address:
            found = [target.address]
        else:
            try:
                found = list(await self._resolver(target.host, target.port))
            except OSError as exc:
                reason = exc.strerror or "it could not be looked up"
                raise Permanent(f"{target.host} has no address: {reason}.") from exc
        if not found:
            raise Permanent(f"{target.host} has no address.")
        self._guard.check(target, found)
        return [plain(each) for each in found]

    async def _connect(self, target: Target, addresses: list[Address]) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers, both families taking turns; only the last may take its time."""
        families = ([each for each in addresses if each.version == version] for version in (6, 4))
        turns = [each for each in chain.from_iterable(zip_longest(*families)) if each][:ADDRESSES_TRIED]
        for each in turns[:-1]:
            with contextlib.suppress(*_UNREACHED):
                return await self._backend.connect_tcp(str(each), target.port, timeout=2)
        try:
            return await self._backend.connect_tcp(str(turns[-1]), target.port)
        except _UNREACHED as exc:
            raise Permanent(f"{target.authority} could not be connected to: {reason_of(exc)}.") from exc


@functools.cache
def _system_tls() -> ssl.SSLContext:
    """Loading every authority of the system takes 50 ms, too long for each of a thousand sessions."""
    return httpcore2.default_ssl_context()


def reason_of(exc: BaseException) -> str:
    """Why a connection failed, in the words of the system."""
    cause: BaseException | None = exc
    while cause:
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return cause.reason.lower().replace("_", " ")
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
        cause = cause.__cause__ or cause.__context__
    return "it ended without an answer"


def _tls_sentence(target: Target, exc: BaseException) -> str:
    cause: BaseException | None = exc
    while cause:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"The certificate of {target.authority} was not accepted: {cause.verify_message.rstrip('.')}."
        cause = cause.__cause__ or cause.__context__
    return f"{target.authority} does not speak TLS as it should: {reason_of(exc)}."


def sendable(headers: Headers) -> list[tuple[str, str]]:
    """Headers as they may be sent, without those that are ours to set.

    Raises `Refused`, whose sentence holds no value: it may be a secret.
    """
    checked = []
    for name, value in headers:
        text = value.reveal() if isinstance(value, Secret) else value
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(text):
            raise Refused("A header that was to be sent has a name or a value that HTTP cannot carry.")
        if name.lower() not in _OURS:
            checked.append((name, text))
    return checked


def message(
    method: str, target: Target, *, headers: list[tuple[str, str]], content: bytes, user_agent: str
) -> httpcore2.Request:
    lines = [
        ("Host", target.authority),
        ("User-Agent", user_agent),
        # A compressed body would only be a body to be careful with.
        ("Accept-Encoding", "identity"),
        *headers,
    ]
    if content or method in {"POST", "PUT", "PATCH"}:
        lines.append(("Content-Length", str(len(content))))
    scheme, host, path = (part.encode("ascii") for part in (target.scheme, target.host, target.path))
    return httpcore2.Request(
        method,
        httpcore2.URL(scheme=scheme, host=host, port=target.port, target=path),
        headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in lines],
        content=content,
    )


def headers_of(response: httpcore2.Response) -> tuple[tuple[str, str], ...]:
    """Names in lower case, in their order. Raises `Unreadable` for too many."""
    if len(response.headers) > HEADER_LINES:
        raise Unreadable("The answer has more headers than one needs.")
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers)


def media_type_of(headers: Iterable[tuple[str, str]]) -> str:
    found = next((value for name, value in headers if name == "content-type"), "")
    return found.partition(";")[0].strip().lower()


@contextlib.asynccontextmanager
async def body_of(response: httpcore2.Response, line: Line, limits: Limits) -> AsyncIterator[AsyncIterator[bytes]]:
    """The answer's body, decoded, in pieces and within the limits: more of it raises `Unreadable`.

    What is not read by the end of the block is not waited for: the connection is closed then.
    """
    line.stream.allow_body(limits.body)

    async def pieces() -> AsyncGenerator[bytes, None]:
        decoder = Decoder(value for name, value in headers_of(response) if name == "content-encoding")
        size = count = 0
        async for received in raw:
            count += 1
            if count > PIECES:
                raise Unreadable("The answer's body comes in too many pieces.")
            piece = decoder.decode(received, limits.body - size + 1)
            if size + len(piece) > limits.body:
                yield piece[: limits.body - size]
                raise Unreadable(f"The answer's body is larger than {_size(limits.body)}.")
            size += len(piece)
            yield piece
        decoder.end(is_empty=not count)

    try:
        async with contextlib.aclosing(response.aiter_stream()) as raw, contextlib.aclosing(pieces()) as decoded:
            yield decoded
    finally:
        await response.aclose()


def _size(number: int) -> str:
    return f"{number >> 20} MiB" if number >= 1 << 20 and not number % (1 << 20) else f"{number} bytes"
