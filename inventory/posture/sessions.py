"""How hard session ids are to guess, judged from a few of them."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from itertools import pairwise

SAMPLES = 3
MINIMUM_BITS = 128
# What the alike positions of a good id may cost: the six fixed bits of a random UUID, and chance.
_TOLERANCE_BITS = 16
_SEQUENTIAL_WITHIN = 2**32

_ALPHABETS = (
    (string.digits, 10),
    (string.hexdigits, 16),
    (string.ascii_lowercase + string.digits, 36),
    (string.ascii_uppercase + string.digits, 36),
    (string.ascii_letters + string.digits, 62),
    (string.ascii_letters + string.digits + "-_+/=.", 64),
)


def weakness(ids: Sequence[str]) -> str:
    """Why these ids are guessable, in a sentence; empty when nothing speaks for it.

    Three ids cannot prove randomness. They can show its absence: too short, the same twice, counted up, or with a
    long part that never changes.
    """
    if len(set(ids)) < len(ids):
        return "Two sessions got the same id."
    size = _size(ids)
    bits = min(len(_bare(each)) for each in ids) * math.log2(size)
    if bits < MINIMUM_BITS:
        return f"A session id has {round(bits)} bits at most, which is less than {MINIMUM_BITS}."
    if len(ids) == 1:
        return ""
    numbers = [_number(each, size) for each in ids]
    steps = [later - earlier for earlier, later in pairwise(numbers)]
    if all(abs(step) < _SEQUENTIAL_WITHIN for step in steps):
        return "Session ids follow one another, so the next can be guessed."
    changing = _changing(ids) * math.log2(size)
    if changing < MINIMUM_BITS - _TOLERANCE_BITS:
        return f"Of a session id only about {round(changing)} bits change from one to the next."
    return ""


def _bare(session_id: str) -> str:
    return session_id.replace("-", "")


def _size(ids: Sequence[str]) -> int:
    used = set("".join(map(_bare, ids)))
    return next((size for alphabet, size in _ALPHABETS if used <= set(alphabet)), 94)


def _number(session_id: str, size: int) -> int:
    """The id as a number: hexadecimal and decimal ones as such, others byte by byte."""
    bare = _bare(session_id)
    return int(bare, size) if size in (10, 16) else int.from_bytes(session_id.encode(), "big")


def _changing(ids: Sequence[str]) -> int:
    """How many positions differ between at least two ids; ids of unequal length are compared from their end."""
    reversed_ids = [_bare(each)[::-1] for each in ids]
    longest = max(map(len, reversed_ids))
    return sum(1 for at in range(longest) if len({each[at : at + 1] for each in reversed_ids}) > 1)
