"""The hash chain, pure: what an entry's hash covers, and where a chain breaks first.

`hash = sha256(previous hash ‖ text)`, the text being what the database stored when it accepted the entry.
Nobody serialises anything again: verifiers hash the stored text and compare its content with the columns.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from json.encoder import encode_basestring as quoted
from typing import Any, NamedTuple

GENESIS = bytes(32)
# As the database writes them into the text, in this order. `detail` is JSON, the others are texts.
SEALED_COLUMNS = (
    "at",
    "event",
    "actor_kind",
    "actor_id",
    "actor_label",
    "subject_kind",
    "subject_id",
    "subject_label",
    "detail",
)


class Link(NamedTuple):
    """One stored entry: its columns as the database writes them, its text and its hash."""

    seq: int
    text: str
    hash: bytes
    columns: Mapping[str, str | None]


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
    if _is_written_so(link):
        return None
    try:
        stored = json.loads(link.text, parse_int=_Written, parse_float=_Written)
    except ValueError:
        return "text"
    if not isinstance(stored, dict):
        return "text"
    if stored.get("seq") != str(link.seq) or not isinstance(stored["seq"], _Written):
        return "seq"
    for name, value in link.columns.items():
        said = stored.get(name)
        if name == "detail":
            if value is None or not _same(said, json.loads(value, parse_int=_Written, parse_float=_Written)):
                return name
        elif said != value or isinstance(said, _Written):
            return name
    return None


class _Written(str):
    """A number as it is written: 1 and 1.0 are one number and two texts, and no float holds every digit."""

    __slots__ = ()


def _same(one: Any, other: Any) -> bool:
    """Equal in type too, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _is_written_so(link: Link) -> bool:
    """Whether the text is, byte for byte, what the columns give. Where it is not, only reading it tells."""
    try:
        at, *texts, detail = (link.columns[name] for name in SEALED_COLUMNS)
        event, actor_kind, actor_id, actor_label, subject_kind, subject_id, subject_label = map(quoted, texts)  # type: ignore[arg-type]
    except (KeyError, TypeError):
        return False
    return link.text == (
        f'{{"seq" : {link.seq}, "at" : "{at}", "event" : {event}, "actor_kind" : {actor_kind}, '
        f'"actor_id" : {actor_id}, "actor_label" : {actor_label}, "subject_kind" : {subject_kind}, '
        f'"subject_id" : {subject_id}, "subject_label" : {subject_label}, "detail" : {detail}}}'
    )


def verify(
    links: Iterable[Link], *, previous: bytes = GENESIS, after: int = 0, signed: Mapping[int, bytes] | None = None
) -> Verified:
    """Walk `links` in order of seq, from the entry after `after`, whose hash is `previous`; stop at the first break.

    `signed` are the hashes that were signed as heads, by seq: the entries there must have them, and must be there.
    """
    count, seq = 0, after
    heads = signed or {}

    def broken(at: int, reason: str) -> Verified:
        return Verified(count, seq, previous, Break(at, reason))

    for link in links:
        if link.seq != seq + 1:
            return broken(
                link.seq, f"entry {seq + 1} is missing" if link.seq > seq else f"entry {link.seq} is twice there"
            )
        found = sha256(previous + link.text.encode()).digest()
        if found != link.hash:
            return broken(link.seq, f"entry {link.seq} does not follow from the one before")
        wrong = disagreement(link)
        if wrong:
            return broken(link.seq, f"entry {link.seq}: {wrong} differs from what was sealed")
        if link.seq in heads and heads[link.seq] != found:
            return broken(link.seq, f"entry {link.seq} is not the one that was signed as a head")
        count, seq, previous = count + 1, link.seq, found
    cut = min((head for head in heads if head > seq), default=None)
    if cut is not None:
        return broken(cut, f"entry {cut} was signed as a head and is gone")
    return Verified(count, seq, previous, None)
