"""Reading what a target answered, without trusting it: decompression, event streams and JSON within bounds."""

import json
import math
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

DEPTH = 64
REMOVED, SHORTEST = "[removed]", 8

# A string that does not end takes the rest: trying again at each quote in it would take quadratic time.
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


class Unreadable(Exception):
    """An answer goes over a limit or is not what it says; the sentence tells which."""


class Decoder:
    """Undoes one content coding and never makes more than it is asked for."""

    def __init__(self, codings: Iterable[str]) -> None:
        parts = [part.strip().lower() for coding in codings for part in coding.split(",")]
        named = [part for part in parts if part not in {"", "identity"}]
        if len(named) > 1:
            raise Unreadable("The answer's body is encoded more than once.")
        coding = named[0] if named else ""
        if coding not in {"", "gzip", "x-gzip", "deflate"}:
            raise Unreadable("The answer's body has an encoding that was not asked for.")
        self._may_be_raw = coding == "deflate"
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 32) if coding else None

    def decode(self, data: bytes, most: int) -> bytes:
        """At most `most` bytes; what `data` holds beyond them is lost. Raises `Unreadable` for a broken stream."""
        if not self._inflater:
            return data[:most]
        try:
            decoded = self._inflater.decompress(data, most)
        except zlib.error as exc:
            if not self._may_be_raw:
                raise Unreadable("The answer's body is not encoded as it says.") from exc
            # "deflate" means a zlib stream, and some servers that use the word send a raw one.
            self._may_be_raw = False
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            return self.decode(data, most)
        self._may_be_raw = False
        return decoded

    def end(self, *, is_empty: bool) -> None:
        """Say that the body has ended. Raises `Unreadable` where its encoding says that more was to come."""
        if self._inflater and not self._inflater.eof and not is_empty:
            raise Unreadable("The answer's body ends before its encoding does.")


class Events:
    """Finds the first answer in an event stream, piece by piece."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._event = ""
        self._data: list[bytes] = []
        self.document: Any = None
        self.is_complete = False

    def feed(self, piece: bytes) -> None:
        """Look at more of the stream. Complete once a JSON-RPC answer came, or the address of the older transport."""
        # Search what is new alone: a stream of one long line in small pieces would take quadratic time.
        start, searched = 0, max(len(self._buffer) - 1, 0)
        self._buffer += piece
        while not self.is_complete and (end := _LINE_END.search(self._buffer, searched)):
            self._read(bytes(self._buffer[start : end.start()]))
            start = searched = end.end()
        del self._buffer[:start]

    def _read(self, line: bytes) -> None:
        if not line:
            document = parsed(b"\n".join(self._data)) if self._data else None
            if isinstance(document, dict) and "jsonrpc" in document and ("result" in document or "error" in document):
                self.document = document
                self.is_complete = True
            elif self._event == "endpoint":
                self.is_complete = True
            self._event, self._data = "", []
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value[:100].decode("utf-8", "replace")


def parsed(body: bytes) -> Any:
    """The JSON document in `body`; None when it is no JSON, or deeper than `DEPTH`.

    What no database keeps is replaced: a NUL and half of a surrogate pair, which JSON can escape.
    """
    depth = 0
    for found in _BRACKETS.finditer(body):
        depth += (found.lastindex == 1) - (found.lastindex == 2)
        if depth > DEPTH:
            return None
    try:
        document = json.loads(body.decode("utf-8-sig"), parse_constant=_finite, parse_float=_finite)
    except ValueError:
        return None
    return _storable(document) if b"\\u" in body else document


def without(secret: str, value: Any) -> Any:
    """What came back, without the secret that was sent: whoever received one can put it anywhere in an answer.

    One of a few characters is left, as it would stand in every other word.
    """
    if len(secret) < SHORTEST:
        return value
    if isinstance(value, str):
        return value.replace(secret, REMOVED)
    if isinstance(value, bytes):
        return value.replace(secret.encode(), REMOVED.encode())
    if isinstance(value, Mapping):
        return {without(secret, name): without(secret, part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(without(secret, part) for part in value)
    return value


def looks_like_json(body: bytes) -> bool:
    return body[:100].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(number)
    return value


def _storable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
        case list():
            return [_storable(each) for each in value]
        case dict():
            return {_storable(name): _storable(each) for name, each in value.items()}
    return value
