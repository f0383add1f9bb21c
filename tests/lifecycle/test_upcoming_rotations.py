"""Upcoming rotations: what falls due when, whether it can be rotated then, and the switches that hold it back."""

from datetime import datetime, time, timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from inventory.models import Credential
from inventory.states import ConnectionKind, Verdict
from lifecycle.actions.windows import set_freeze, set_window
from lifecycle.models import ChangeFreeze, Delivery, MaintenanceWindow, OperatingLimits, Operation, ScheduleHalt
from lifecycle.models.readiness import readiness
from lifecycle.states import Automation, OperationState
from tests import factories
from tests.factories import NOW
from tests.lifecycle.rotating import DAY, account, deliverable, due, in_overlap, policy
from tests.people import browser, owners_browser, text

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def wanting(of: Credential, now: datetime = NOW) -> dict[str, str]:
    return {fact.check: fact.words for fact in readiness([of.pk], now)[of.pk].wanting}


def fit(**values: object) -> Credential:
    made = deliverable(owner=factories.owner(), environment=factories.environment("dev"), **values)
    factories.use(made)
    due(made, policy(), NOW + 3 * DAY)
    return made


# ── Readiness ──────────────────────────────────────────────────────────────────────────────────


def test_what_was_rotated_before_and_lacks_nothing_is_ready() -> None:
    of = fit()
    assert wanting(of) == {"last_time": "It was never rotated by Keyreeve."}
    done = in_overlap(of)
    Operation.objects.filter(pk=done.pk).update(
        state=OperationState.COMPLETED, closed_at=NOW - DAY, due_at=None, proof="verified", proof_reason="Refused."
    )
    found = readiness([of.pk], NOW)[of.pk]
    assert (found.verdict, found.words) == (Verdict.MET, "Ready.")


def test_everything_that_stands_in_the_way_is_named_before_the_date() -> None:
    of = factories.credential(connection=account(kind=ConnectionKind.MCP_CONFIG, name="laptops"))
    due(of, policy(Automation.OFF), NOW + DAY)
    said = wanting(of)
    assert set(said) == {"provider", "delivery", "owner", "consumers", "last_time", "automation"}
    assert said["provider"] == "laptops cannot be asked to issue and destroy: rotate it by hand."
    stalled = in_overlap(of)
    Operation.objects.filter(pk=stalled.pk).update(state=OperationState.STALLED, stalled_at=NOW, due_at=None)
    assert wanting(of)["last_time"] == "Its last rotation, asked for on 1 Jun 2026, has stalled."
    ScheduleHalt.objects.create(connection=of.connection, stalled=3, reason="3 have stalled.", halted_at=NOW)
    assert "halt" in wanting(of)


def test_a_freeze_or_no_window_before_the_date_is_said_now(operator: Actor) -> None:
    of = fit()
    window = {"weekdays": [5], "begins": time(3), "length": HOUR, "timezone": "UTC", "actor": operator}
    set_window(environment=of.environment, **window)  # type: ignore[arg-type]
    assert wanting(of)["opening"] == "No maintenance window opens before it is due."  # Friday is a day too late
    MaintenanceWindow.objects.update(weekdays=[3])
    assert "opening" not in wanting(of)
    set_freeze(environment=None, begins_at=NOW, ends_at=None, reason="Year end", actor=operator, now=NOW)
    assert "opening" in wanting(of)
    MaintenanceWindow.objects.all().delete()
    assert wanting(of)["opening"] == "A change freeze holds it back until it is due: Year end"


def test_readiness_costs_four_queries_however_many_there_are() -> None:
    keys = [fit().pk for _ in range(4)]
    with CaptureQueriesContext(database) as asked:
        assert len(readiness(keys, NOW)) == 4
    assert len(asked) == 4


# ── The page ───────────────────────────────────────────────────────────────────────────────────


def test_the_page_shows_days_weeks_and_what_holds_each_back() -> None:
    now = timezone.now()
    under = policy(name="Quarterly")
    late, soon = deliverable(name="late"), deliverable(name="soon")
    due(late, under, now - 3 * DAY)
    due(soon, under, now + 2 * DAY)
    due(deliverable(name="next year"), under, now + 300 * DAY)
    Delivery.objects.filter(credential=soon).delete()
    ScheduleHalt.objects.create(connection=soon.connection, stalled=3, reason="3 have stalled.", halted_at=now)
    operator = browser(Role.OPERATOR)
    with CaptureQueriesContext(database) as asked:
        page = text(operator.get("/upcoming-rotations/"))
    assert len(asked) <= 12 + 3  # session, person and groups
    for words in ("late", "soon", "3 d late", "Quarterly", "3 have stalled.", "Resume…", "1 rotation"):
        assert words in page
    assert "next year" not in page
    overdue = text(operator.get("/upcoming-rotations/?overdue=true"))
    assert ">late<" in overdue
    assert ">soon<" not in overdue


def test_a_credential_that_falls_due_says_on_its_page_whether_it_can_be_rotated_then() -> None:
    now = timezone.now()
    soon, later = deliverable(name="soon", owner=factories.owner()), deliverable(name="later")
    due(soon, policy(), now + 2 * DAY)
    due(later, policy(), now + 300 * DAY)
    auditor = browser(Role.AUDITOR)
    with CaptureQueriesContext(database) as apart:
        assert "Readiness" not in text(auditor.get(f"/credentials/{later.pk}/"))
    with CaptureQueriesContext(database) as asked:
        page = text(auditor.get(f"/credentials/{soon.pk}/"))
    assert "Nobody is known to use it, so its rotation is only proposed." in page
    assert "and 1 more" in page
    assert len(asked) <= len(apart) + 4 + 2  # and the name of its owner, and whether that is who looks


def test_who_asks_for_a_rotation_is_told_what_stands_in_its_way(operator: Actor) -> None:
    of, other = fit(name="one"), fit(name="two")
    stalled = in_overlap(other)
    Operation.objects.filter(pk=stalled.pk).update(state=OperationState.STALLED, stalled_at=NOW, due_at=None)
    set_freeze(
        environment=None, begins_at=timezone.now() - DAY, ends_at=None, reason="Year end", actor=operator,
        now=timezone.now(),
    )  # fmt: skip
    asking = browser(Role.OPERATOR)
    page = text(asking.get(f"/credentials/rotate/?id={of.pk}"))
    assert "It was never rotated by Keyreeve." in page
    assert "Year end: the schedule waits, what a person asks for does not" in page
    with CaptureQueriesContext(database) as asked:
        page = text(asking.get(f"/credentials/rotate/?id={of.pk}&id={other.pk}"))
    assert "two: Its last rotation, asked for on 1 Jun 2026, has stalled." in page
    assert "never rotated" not in page
    assert len(asked) <= 12


def test_owners_see_theirs_alone() -> None:
    now = timezone.now()
    person, owner = owners_browser()
    due(deliverable(name="mine", owner=owner), policy(), now + DAY)
    due(deliverable(name="theirs"), policy(), now + DAY)
    page = text(person.get("/upcoming-rotations/"))
    assert "mine" in page
    assert "theirs" not in page
    assert "Freeze changes" not in page


def test_an_operator_freezes_and_lifts_and_an_administrator_sets_limits() -> None:
    operator = browser(Role.OPERATOR)
    assert operator.post("/freezes/set/", {"decided": "1", "reason": ""}).status_code == 422
    operator.post("/freezes/set/", {"decided": "1", "reason": "Year end"})
    freeze = ChangeFreeze.objects.get()
    assert "A change freeze holds the schedule back." in text(operator.get("/upcoming-rotations/"))
    operator.post(f"/freezes/{freeze.pk}/lift/", {"decided": "1"})
    freeze.refresh_from_db()
    assert freeze.lifted_at is not None
    said = {"decided": "1", "weekdays": ["6", "7"], "begins": "02:00", "minutes": "180", "timezone": "Europe/Berlin"}
    assert operator.post("/windows/add/", {**said, "timezone": "Nowhere"}).status_code == 422
    operator.post("/windows/add/", said)
    assert "Saturday, Sunday at 02:00 for 3 h (Europe/Berlin)" in text(operator.get("/upcoming-rotations/"))
    operator.post(f"/windows/{MaintenanceWindow.objects.get().pk}/retire/", {"decided": "1"})
    assert MaintenanceWindow.objects.current().count() == 0
    admin = browser(Role.ADMINISTRATOR)
    limits = {"decided": "1", "begun_a_day": "7", "open_at_once": "3", "halted_after": "2", "reason": "Slower"}
    admin.post("/operating-limits/", limits)
    assert (OperatingLimits.current().begun_a_day, OperatingLimits.current().second_person_from) == (7, None)
    halt = ScheduleHalt.objects.create(stalled=2, reason="2 have stalled.", halted_at=NOW)
    operator.post(f"/schedule/halts/{halt.pk}/resume/", {"decided": "1", "reason": "Mended"})
    assert not ScheduleHalt.objects.standing().exists()
