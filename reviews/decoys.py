"""Decoys are modelled on what stands beside them, so that neither name nor key tells them apart: pure, with its chance.

A secret's hint, a name and a key are made up here; what is said of a decoy otherwise is said of something real too.
"""

import re
from collections.abc import Collection, Sequence
from random import Random
from uuid import UUID

TRIES = 40
LONGEST = 620
BETWEEN = " / "  # a place and what is there, in most names
SPARE = ("batch", "export", "import", "mirror", "nightly", "relay", "report", "sync")
_LOW, _MIDDLE = (1 << 62) - 1, (1 << 12) - 1
_MILLISECOND = 1 << 74  # of a key without its fixed bits


def named(like: str, beside: Sequence[str], taken: Collection[str], chance: Random, *, keeps_end: bool = False) -> str:
    """A name in the manner of `like` and of those beside it, which nothing has. `keeps_end`: only its place differs."""
    for _ in range(TRIES):
        made = _made(like, chance.choice(beside), chance, keeps_end) if beside else ""
        if made and made not in taken:
            return made
    place, separator, end = like.rpartition(BETWEEN) if keeps_end else (like, "", "")
    joint = next(iter(re.findall(r"[-_./ ]", place)), "-")
    words = [f"{place}{joint}{word}" for word in chance.sample(SPARE, len(SPARE))]
    numbered = [f"{word}{joint}{number}" for number in range(2, TRIES) for word in words]
    return next(made for word in (*words, *numbered) if (made := f"{word}{separator}{end}"[-LONGEST:]) not in taken)


def _made(like: str, other: str, chance: Random, keeps_end: bool) -> str:
    place, separator, end = like.rpartition(BETWEEN)
    beside, _, other_end = other.rpartition(BETWEEN)
    if not separator or not beside:
        return "" if keeps_end else chance.choice((_recombined, _renumbered))(like, other, chance)
    ways = [(beside, end), (_recombined(place, beside, chance) or _renumbered(place, beside, chance), end)]
    if not keeps_end:
        ways += [(place, other_end), (place, _recombined(end, other_end, chance) or _renumbered(end, other, chance))]
    first, last = chance.choice(ways)
    return f"{first}{separator}{last}"[:LONGEST] if first and last else ""


def _recombined(one: str, other: str, chance: Random) -> str:
    """The beginning of one and the end of the other, where both have several words."""
    first, second = (re.split(r"([^A-Za-z0-9]+)", name) for name in (one, other))
    if len(first) < 3 or len(second) < 3:
        return ""
    return "".join([*first[:-1], second[-1]] if chance.random() < 0.5 else [second[0], *first[1:]])


def _renumbered(name: str, _: str, chance: Random) -> str:
    """The same with another number at its end."""
    found = re.search(r"\d+(?=\D*$)", name)
    if found is None:
        return ""
    digits = "".join(chance.choice("0123456789" if place else "123456789") for place in range(len(found[0])))
    return name[: found.start()] + digits + name[found.end() :]


def hinted(like: str, chance: Random) -> str:
    """Such a hint of another secret: the last four characters differ, each one of its own kind."""
    made = list(like)
    for place in [place for place, each in enumerate(like) if each.isalnum()][-4:]:
        for letters in ("0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"):
            if like[place] in letters:
                made[place] = chance.choice(letters)
    return "".join(made)


# ── Keys ───────────────────────────────────────────────────────────────────────────────────────


def key_between(before: UUID | None, after: UUID | None, chance: Random) -> UUID:
    """A key in the order of arrival between two, or beside the one that there is."""
    low = _narrow(before) if before else _narrow(after or UUID(int=0)) - 2 * _MILLISECOND
    high = _narrow(after) if after else low + _MILLISECOND
    return _wide(chance.randrange(low + 1, max(high, low + 2)))


def _narrow(key: UUID) -> int:
    """Without the bits that say which kind of key it is."""
    return (key.int >> 80) << 74 | (key.int >> 64 & _MIDDLE) << 62 | key.int & _LOW


def _wide(number: int) -> UUID:
    return UUID(int=(number >> 74) << 80 | 7 << 76 | (number >> 62 & _MIDDLE) << 64 | 2 << 62 | number & _LOW)
