"""How lengths of time are said in sentences. Pure."""

from datetime import timedelta

from web.wording import plural


def length(time: timedelta | None) -> str:
    """`90 days`, `24 hours`, `15 minutes`: the largest unit of which there are two; below a minute `30 seconds`."""
    seconds = int(abs(time).total_seconds()) if time is not None else 0
    if seconds >= 2 * 86_400:
        return plural(seconds // 86_400, "day")
    if seconds >= 2 * 3_600:
        return plural(seconds // 3_600, "hour")
    if 0 < seconds < 60:
        return plural(seconds, "second")
    return plural(seconds // 60, "minute")


def exact_length(time: timedelta) -> str:
    """The same without rounding, for what is asked: a limit of 2½ days is `60 hours`, and nothing is lost."""
    seconds = int(time.total_seconds())
    for unit, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds % unit == 0 and seconds >= 2 * unit:
            return plural(seconds // unit, word)
    return plural(seconds // 60, "minute") if seconds % 60 == 0 else plural(seconds, "second")
