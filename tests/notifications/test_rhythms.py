"""When a digest is due, and when a try is repeated."""

from datetime import UTC, datetime, timedelta

import pytest

from notifications.rhythms import LONGEST_ASKED, LONGEST_PAUSE, next_digest, pause, retry_after
from notifications.states import Rhythm

MONDAY = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rhythm", "hour", "expected"),
    [
        (Rhythm.DAILY, 13, datetime(2026, 6, 1, 13, tzinfo=UTC)),
        (Rhythm.DAILY, 12, datetime(2026, 6, 2, 12, tzinfo=UTC)),
        (Rhythm.DAILY, 0, datetime(2026, 6, 2, tzinfo=UTC)),
        (Rhythm.WEEKLY, 13, datetime(2026, 6, 1, 13, tzinfo=UTC)),
        (Rhythm.WEEKLY, 7, datetime(2026, 6, 8, 7, tzinfo=UTC)),
        (Rhythm.OFF, 7, None),
    ],
)
def test_a_digest_is_due_at_the_next_such_hour(rhythm, hour, expected):
    assert next_digest(rhythm, hour, MONDAY) == expected


def test_pauses_grow_to_a_bound_and_differ_by_chance():
    assert timedelta(seconds=30) <= pause(1) <= timedelta(minutes=1)
    assert LONGEST_PAUSE / 2 <= pause(12) <= LONGEST_PAUSE
    assert len({pause(5) for _ in range(20)}) > 1


def test_a_receiver_is_waited_for_as_long_as_it_asks_up_to_a_day():
    assert pause(1, timedelta(hours=2)) == timedelta(hours=2)
    assert pause(1, timedelta(days=400)) == LONGEST_ASKED
    assert pause(8, timedelta(0)) >= timedelta(hours=1)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("120", timedelta(minutes=2)),
        ("Mon, 01 Jun 2026 12:05:00 GMT", timedelta(minutes=5)),
        ("Mon, 01 Jun 2026 11:00:00 GMT", timedelta(0)),
        ("", None),
        ("soon", None),
        ("9" * 30, None),
        ("-5", None),
    ],
)
def test_a_retry_after_is_read_as_seconds_or_a_date(header, expected):
    assert retry_after(header, MONDAY) == expected
