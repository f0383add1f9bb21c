"""How lengths of time and counts are said in sentences. Pure."""

from collections.abc import Sequence
from datetime import timedelta


def counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}".replace(",", "\u202f")


def length(time: timedelta | None) -> str:
    """`90 days`, `24 hours`, `15 minutes`: the largest unit of which there are two."""
    seconds = int(abs(time).total_seconds()) if time is not None else 0
    if seconds >= 2 * 86_400:
        return counted(seconds // 86_400, "day")
    if seconds >= 2 * 3_600:
        return counted(seconds // 3_600, "hour")
    return counted(seconds // 60, "minute")


def some(names: Sequence[str], number: int, most: int = 2) -> str:
    """`a, b and 3 more`: the first names of `number`."""
    shown = list(names[:most])
    more = number - len(shown)
    said = ", ".join(shown)
    return f"{said} and {more} more" if more > 0 else said
