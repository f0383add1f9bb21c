"""The hash chain, pure: what an entry's hash covers, and where a chain breaks first.

`hash = sha256(previous hash ‖ text)`, the text being what the database stored when it accepted the entry.
Nobody serialises anything again: verifiers hash the stored text and compare its content with the columns.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class Link:
    """One stored entry: its columns, its text and its hash."""

    seq: int
    text: str
    hash: bytes
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where a chain does not hold, in words."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """How far a chain holds: entries read, the last link, and the first break if there is one."""

    count: int
    seq: int
    hash: bytes
    broken: Break | None


def digest(previous: bytes, text: str) -> bytes:
    return sha256(previous + text.encode()).digest()


def disagreement(link: Link) -> str | None:
    """The name of the first column that says something else than the text, or None."""
    try:
        stored = json.loads(link.text)
    except ValueError:
        return "text"
    if not isinstance(stored, dict):
        return "text"
    if stored.get("seq") != link.seq:
        return "seq"
    for name, value in link.columns.items():
        said = stored.get(name)
        if isinstance(value, datetime):
            value = value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")  # noqa: PLW2901
        if said != value:
            return name
    return None


def verify(links: Iterable[Link], *, previous: bytes = GENESIS, after: int = 0) -> Verified:
    """Walk `links` in order of seq, from the entry after `after`, whose hash is `previous`; stop at the first break."""
    count, seq = 0, after
    for link in links:
        if link.seq != seq + 1:
            return Verified(count, seq, previous, Break(link.seq, f"entry {seq + 1} is missing"))
        if digest(previous, link.text) != link.hash:
            return Verified(
                count, seq, previous, Break(link.seq, f"entry {link.seq} does not follow from the one before")
            )
        wrong = disagreement(link)
        if wrong:
            return Verified(
                count, seq, previous, Break(link.seq, f"entry {link.seq}: {wrong} differs from what was sealed")
            )
        count, seq, previous = count + 1, link.seq, link.hash
    return Verified(count, seq, previous, None)
