"""The bytes of a delivery as they come: counted, unpacked, and never more than a piece of them at once."""

import zlib
from collections.abc import Callable, Iterator

from inventory.feeds.rows import Malformed

PIECE = 256 * 1024  # bytes
LARGEST_BODY = 4 * 2**30  # bytes, unpacked
IDENTITY, GZIP = "identity", "gzip"


class CutShort(Exception):
    """The delivery broke off before its end, so nothing of it was taken. Send it again."""

    def __init__(self) -> None:
        super().__init__(CutShort.__doc__)


def pieces(read: Callable[[int], bytes], *, length: int | None, encoding: str = IDENTITY) -> Iterator[bytes]:
    """What `read` gives, unpacked. `length` is what was announced; None where the end itself says that it is whole.

    Raises CutShort when fewer bytes come than were announced, and Malformed for what is too large or badly packed.
    """
    raw = _announced(read, length)
    total = 0
    for piece in _unpacked(raw) if encoding == GZIP else raw:
        total += len(piece)
        if total > LARGEST_BODY:
            raise Malformed(f"It is larger than {LARGEST_BODY // 2**30} GiB. Send it in parts.")
        yield piece


def _announced(read: Callable[[int], bytes], length: int | None) -> Iterator[bytes]:
    left = length
    while left is None or left > 0:
        try:
            piece = read(PIECE if left is None else min(PIECE, left))
        except OSError as exc:
            raise CutShort from exc
        if not piece:
            break
        left = left if left is None else left - len(piece)
        yield piece
    if left:
        raise CutShort


def _unpacked(raw: Iterator[bytes]) -> Iterator[bytes]:
    """Gzip, of one member or several. However tightly it is packed, no more than a piece is unpacked at once."""
    unpacker = zlib.decompressobj(wbits=31)
    is_fresh = True
    for piece in raw:
        waiting = piece
        while waiting:
            is_fresh = False
            try:
                found = unpacker.decompress(waiting, PIECE)
            except zlib.error as exc:
                raise Malformed("It says that it is gzip, and is not.") from exc
            if found:
                yield found
            waiting = unpacker.unconsumed_tail
            if unpacker.eof:
                waiting = unpacker.unused_data
                unpacker, is_fresh = zlib.decompressobj(wbits=31), True
    # What is still in the unpacker comes out without new input.
    while not is_fresh and not unpacker.eof:
        found = unpacker.decompress(b"", PIECE)
        if not found:
            raise CutShort
        yield found
