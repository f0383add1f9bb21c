"""How numbers and times are worded on a page. Pure: whoever asks says what time it is."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

NARROW_SPACE = "\u202f"
SOON = timedelta(days=4)


def thousands(number: int | float) -> str:
    """12 345, with a space that does not break."""
    return f"{number:,}".replace(",", NARROW_SPACE)


def plural(count: object, words: str) -> str:
    """`3 credentials`; an irregular plural is given after a comma: `entry,entries`. Takes a capped count too."""
    one, _, many = words.partition(",")
    exactly_one = str(count) == "1"
    shown = thousands(count) if isinstance(count, int) else str(count)
    return f"{shown} {one if exactly_one else many or one + 's'}"


def some(names: Sequence[str], most: int, number: int | None = None) -> str:
    """`a, b and 3 more`: the first of the names, or of `number` of which these are some."""
    shown = names[:most]
    more = (len(names) if number is None else number) - len(shown)
    said = ", ".join(shown)
    return f"{said} and {more} more" if more > 0 else said


def initials(name: str) -> str:
    """At most two letters: the first of the first and of the last word."""
    words = [word for word in name.replace("-", " ").replace("@", " ").split() if word[0].isalnum()]
    if not words:
        return "?"
    return (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper()


def short_path(path: str, parts: int = 3) -> str:
    """A path by its end, where the meaning is: `…/Claude/claude_desktop_config.json`. The page's title has it whole."""
    mark = "\\" if "\\" in path and "/" not in path else "/"
    names = [name for name in path.split(mark) if name]
    return f"…{mark}{mark.join(names[-parts:])}" if len(names) > parts else path


def without_scheme(address: str) -> str:
    """An address as people call it; what has no scheme stays as it is."""
    return address.partition("://")[2] or address


def span(length: timedelta) -> str:
    """One unit is enough: `4 min`, `3 h`, `71 d`; below a minute the empty string."""
    seconds = int(abs(length).total_seconds())
    if seconds < 60:
        return ""
    if seconds < 3_600:
        return f"{seconds // 60} min"
    if seconds < 86_400:
        return f"{seconds // 3_600} h"
    return f"{thousands(seconds // 86_400)} d"


def since(then: datetime, now: datetime) -> str:
    """How long ago, as lists say it."""
    words = span(now - then)
    if not words:
        return "now"
    return f"in {words}" if then > now else words


def due(at: datetime, now: datetime) -> tuple[str, str]:
    """`in 4 d` or `41 d late`, and its tone: `crit` when late, `high` when soon, else nothing."""
    words = span(at - now)
    if at < now:
        return (f"{words} late" if words else "due now"), "crit"
    return (f"in {words}" if words else "due now"), "high" if at - now < SOON else ""


def day(at: date, now: datetime) -> str:
    """`23 Nov`, with the year when it is not this one."""
    return f"{at.day} {at:%b}" if at.year == now.year else f"{at.day} {at:%b %Y}"


def instant(at: datetime) -> str:
    """The whole truth, for titles and records."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
