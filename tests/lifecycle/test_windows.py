"""When the schedule may begin: windows keep to the wall clock of their place, freezes come before them."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.actors import Actor, ActorKind
from access.roles import Role
from audit.models import AuditEntry
from lifecycle.actions.windows import lift_freeze, retire_window, set_freeze, set_limits, set_window
from lifecycle.errors import (
    FreezeLifted,
    FreezeRefused,
    LimitsRefused,
    NotAnAdministrator,
    NotAnOperator,
    NothingWouldChange,
    ReasonMissing,
    WindowRefused,
    WindowRetired,
)
from lifecycle.models import ChangeFreeze, MaintenanceWindow, OperatingLimits
from lifecycle.models.windows import Openness
from tests import factories
from tests.factories import NOW

HOUR = timedelta(hours=1)
BERLIN = "Europe/Berlin"


def window(begins: str = "02:30", timezone: str = BERLIN, weekdays: tuple[int, ...] = (), length: timedelta = HOUR):
    return MaintenanceWindow(begins=time.fromisoformat(begins), length=length, timezone=timezone, weekdays=weekdays)


def openings(of: MaintenanceWindow, day: datetime) -> list[str]:
    return [f"{begins:%d %H:%M}" for begins, _ in of.openings(day, day + timedelta(hours=23))]


def test_a_window_keeps_its_wall_clock_across_the_change_of_the_clocks() -> None:
    night = window("01:00")
    assert openings(night, datetime(2026, 3, 27, 23, 30, tzinfo=UTC)) == ["28 00:00"]
    assert openings(night, datetime(2026, 3, 29, 12, tzinfo=UTC)) == ["29 23:00"], "an hour earlier by UTC in summer"


def test_where_the_clocks_skip_its_time_it_opens_as_much_later_and_where_they_repeat_it_once() -> None:
    skipped = window()
    assert openings(skipped, datetime(2026, 3, 29, tzinfo=UTC)) == ["29 01:30"]  # 03:30 there
    assert openings(skipped, datetime(2026, 10, 25, tzinfo=UTC)) == ["25 00:30"]  # the first 02:30 of two
    assert not skipped.is_open(datetime(2026, 10, 25, 1, 45, tzinfo=UTC))


@given(
    st.integers(0, 3 * 365 * 24 * 60).map(
        lambda minutes: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    ),
    st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    st.sampled_from([BERLIN, "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]),
    st.timedeltas(timedelta(minutes=1), timedelta(hours=20)),
)
def test_every_day_has_one_opening_of_the_full_length(at: datetime, begins: time, zone: str, length: timedelta) -> None:
    of = MaintenanceWindow(begins=begins, length=length, timezone=zone, weekdays=[])
    found = list(of.openings(at, at + timedelta(days=6)))
    days = [opening.astimezone(ZoneInfo(zone)).date() for opening, _ in found]
    assert len(days) == len(set(days)) >= 6
    assert all(ends - opening == length for opening, ends in found)
    assert found == sorted(found)


def test_weekdays_are_those_of_its_place_and_a_long_one_reaches_into_the_next_day() -> None:
    friday = window("23:00", "America/New_York", (5,), timedelta(hours=10))
    assert friday.is_open(datetime(2026, 6, 6, 12, tzinfo=UTC))  # Saturday there by now
    assert not friday.is_open(datetime(2026, 6, 6, 13, tzinfo=UTC))
    assert not friday.is_open(datetime(2026, 6, 5, 12, tzinfo=UTC))


@pytest.mark.django_db
def test_an_environments_own_windows_go_before_those_of_every_environment(operator: Actor) -> None:
    prod, dev = factories.environment("prod"), factories.environment("dev")
    said = {"length": HOUR, "timezone": "UTC", "actor": operator}
    set_window(environment=None, weekdays=[], begins=time(12), **said)  # type: ignore[arg-type]
    own = set_window(environment=prod, weekdays=[7, 7, 6], begins=time(3), **said)  # type: ignore[arg-type]
    assert own.weekdays == [6, 7]
    openness = Openness.at(NOW)  # Monday noon
    assert openness.may_begin(dev.pk, NOW)
    assert openness.may_begin(None, NOW)
    assert not openness.may_begin(prod.pk, NOW)
    assert openness.next_opening(prod.pk, NOW, NOW + timedelta(days=9)) == datetime(2026, 6, 6, 3, tzinfo=UTC)
    assert openness.next_opening(prod.pk, NOW, NOW + timedelta(days=3)) is None
    retire_window(own, actor=operator, now=NOW)
    assert Openness.at(NOW).may_begin(prod.pk, NOW)
    with pytest.raises(WindowRetired):
        retire_window(own, actor=operator, now=NOW)


@pytest.mark.django_db
def test_a_freeze_closes_what_it_names_until_it_ends_or_is_lifted(operator: Actor) -> None:
    prod, dev = factories.environment("prod"), factories.environment("dev")
    until = NOW + 5 * HOUR
    freeze = set_freeze(
        environment=prod, begins_at=NOW, ends_at=until, reason="The turn of the year", actor=operator, now=NOW
    )
    openness = Openness.at(NOW)
    assert not openness.may_begin(prod.pk, NOW)
    assert not openness.may_begin(None, NOW), "it may well be production"
    assert openness.may_begin(dev.pk, NOW)
    assert openness.may_begin(prod.pk, until)
    assert openness.next_opening(prod.pk, NOW, NOW + timedelta(days=1)) == until
    lift_freeze(freeze, actor=operator, now=NOW + HOUR)
    assert Openness.at(NOW + HOUR).may_begin(prod.pk, NOW + HOUR)
    with pytest.raises(FreezeLifted):
        lift_freeze(freeze, actor=operator, now=NOW + HOUR)
    assert list(AuditEntry.objects.order_by("seq").values_list("event", flat=True)) == ["freeze.set", "freeze.lifted"]


@pytest.mark.django_db
def test_what_makes_no_sense_is_refused(operator: Actor) -> None:
    said = {"environment": None, "begins_at": NOW, "actor": operator, "now": NOW}
    with pytest.raises(FreezeRefused):
        set_freeze(ends_at=NOW, reason="Over before it began", **said)  # type: ignore[arg-type]
    with pytest.raises(ReasonMissing):
        set_freeze(ends_at=None, reason=" ", **said)  # type: ignore[arg-type]
    reviewer = Actor(ActorKind.USER, "8", "Rhea", frozenset({Role.REVIEWER}))
    with pytest.raises(NotAnOperator):
        set_freeze(ends_at=None, reason="Quiet", **{**said, "actor": reviewer})  # type: ignore[arg-type]
    for wrong in (
        {"timezone": "Mars/Olympus"},
        {"timezone": "../etc/passwd"},
        {"weekdays": [0]},
        {"length": 8 * 24 * HOUR},
    ):
        given = {"environment": None, "weekdays": [], "begins": time(1), "length": HOUR, "timezone": "UTC", **wrong}
        with pytest.raises(WindowRefused):
            set_window(actor=operator, **given)  # type: ignore[arg-type]
    assert not ChangeFreeze.objects.exists()


@pytest.mark.django_db
def test_limits_are_an_administrators_and_keep_what_they_were(operator: Actor) -> None:
    admin = Actor(ActorKind.USER, "1", "Ada", frozenset({Role.ADMINISTRATOR}))
    said = {"begun_a_day": 5, "open_at_once": 2, "halted_after": 3, "second_person_from": None, "now": NOW}
    said["second_person_in_production"] = False
    with pytest.raises(NotAnAdministrator):
        set_limits(**said, reason="Slower", actor=operator)  # type: ignore[arg-type]
    for wrong in ({"halted_after": 0}, {"second_person_from": 0}, {"begun_a_day": -1}):
        with pytest.raises(LimitsRefused):
            set_limits(**{**said, **wrong}, reason="Slower", actor=admin)  # type: ignore[arg-type]
    set_limits(**said, reason="Slower", actor=admin)  # type: ignore[arg-type]
    assert OperatingLimits.current().open_at_once == 2
    entry = AuditEntry.objects.get(event="operating_limits.set")
    assert entry.detail["before"] == {"begun_a_day": 200, "open_at_once": 50, "second_person_from": 25}
    with pytest.raises(NothingWouldChange):
        set_limits(**said, reason="Slower", actor=admin)  # type: ignore[arg-type]
