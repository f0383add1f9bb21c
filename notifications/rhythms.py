"""When things are due: digests by the hour that a person chose, and tries after one that failed. Pure."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from notifications.states import Rhythm

FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=6)
LONGEST_ASKED = timedelta(hours=24)  # that a receiver may ask us to wait
MONDAY = 0


def next_digest(rhythm: str, hour: int, now: datetime) -> datetime | None:
    """The first such hour (UTC) after `now`; None for who wants no digest."""
    if rhythm == Rhythm.OFF:
        return None
    at = now.astimezone(UTC).replace(hour=hour, minute=0, second=0, microsecond=0)
    if at <= now:
        at += timedelta(days=1)
    if rhythm == Rhythm.WEEKLY:
        at += timedelta(days=(MONDAY - at.weekday()) % 7)
    return at


def pause(attempts: int, asked: timedelta | None = None) -> timedelta:
    """How long to wait after so many tries: longer each time, and never the same for two that failed together.

    A receiver that says how long is believed, up to a day.
    """
    longest = min(FIRST_PAUSE * 2 ** min(max(attempts - 1, 0), 16), LONGEST_PAUSE)
    own: timedelta = longest * random.uniform(0.5, 1.0)  # nosec B311  # noqa: S311  spreads load, keeps no secret
    return own if asked is None else max(own, min(asked, LONGEST_ASKED))


def retry_after(header: str, now: datetime) -> timedelta | None:
    """What a Retry-After header asks for, in seconds or as a date; None for what is neither."""
    text = header.strip()
    if text.isdecimal() and len(text) <= 9:
        return timedelta(seconds=int(text))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((at if at.tzinfo else at.replace(tzinfo=UTC)) - now, timedelta(0))
