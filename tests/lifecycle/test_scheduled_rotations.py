"""What falls due becomes an operation: as policies say, within windows, freezes and limits, the smallest first."""

from datetime import time, timedelta
from typing import Any

import pytest
from django.db import connection as database

from access.actors import Actor
from audit.models import AuditEntry
from inventory.models import Credential
from inventory.states import ConnectionKind, CredentialStatus
from lifecycle.actions import schedule
from lifecycle.actions.requests import approve, cancel, decline, request_revocation
from lifecycle.actions.schedule import begin_due
from lifecycle.actions.windows import lift_freeze, resume_schedule, set_freeze, set_window
from lifecycle.errors import HaltResumed
from lifecycle.models import Delivery, Obligation, OperatingLimits, Operation, Policy, ScheduleHalt
from lifecycle.states import Automation, OperationState, Proof, Trigger
from tests import factories
from tests.factories import NOW
from tests.lifecycle.rotating import DAY, account, deliverable, due, policy

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def falling_due(under: Policy, environment: str = "dev", at: Any = NOW - DAY, **values: Any) -> Credential:
    """A credential with a known consumer that its policy wants rotated by then."""
    made = deliverable(environment=factories.environment(environment), **values)
    factories.use(made)
    due(made, under, at)
    return made


def begun() -> list[Credential]:
    rows = Operation.objects.filter(trigger=Trigger.SCHEDULE).exclude(state=OperationState.PROPOSED)
    return [each.credential for each in rows.select_related("credential").order_by("id")]


def proposed() -> list[Credential]:
    rows = Operation.objects.filter(trigger=Trigger.SCHEDULE, state=OperationState.PROPOSED)
    return [each.credential for each in rows.select_related("credential").order_by("id")]


def ended(of: Credential, state: OperationState = OperationState.COMPLETED, now: Any = NOW) -> None:
    Operation.objects.filter(credential=of, closed_at=None).update(
        state=state, closed_at=now, due_at=None, stalled_at=None, proof=Proof.VERIFIED, proof_reason="Seen refused."
    )


def stalled(*credentials: Credential, now: Any = NOW) -> None:
    Operation.objects.filter(credential__in=credentials, closed_at=None).update(
        state=OperationState.STALLED, stalled_at=now, due_at=None
    )


def limited(**values: int) -> None:
    OperatingLimits.objects.update_or_create(id=True, defaults=values)


def run(now: Any = NOW) -> dict[str, int]:
    found = begin_due(now)
    assert found is not None
    return {name: number for name, number in found.counts().items() if number}


# ── What the policy says ───────────────────────────────────────────────────────────────────────


def test_off_does_nothing_propose_waits_for_a_person_and_automatic_begins(operator: Actor) -> None:
    falling_due(policy(Automation.OFF))
    waits, goes = falling_due(policy(Automation.PROPOSE)), falling_due(policy(Automation.AUTOMATIC))
    assert run() == {"begun": 1, "proposed": 1, "left: under way already": 2}
    assert (begun(), proposed()) == ([goes], [waits])
    of = Operation.objects.get(credential=goes)
    assert (of.overlap, of.trigger, of.requested_by) == (DAY, "schedule", "schedule")
    assert "Due for rotation on 2026-05-31 under" in of.reason
    approve(Operation.objects.get(credential=waits), actor=operator, now=NOW)


def test_a_rotation_begins_within_reach_of_its_date_and_not_before() -> None:
    under = policy()
    near = falling_due(under, at=NOW + 7 * DAY)
    falling_due(under, at=NOW + 8 * DAY)
    assert run()["begun"] == 1
    assert begun() == [near]


def test_whom_nobody_is_known_to_use_is_only_proposed() -> None:
    lonely = deliverable(environment=factories.environment("dev"))
    due(lonely, policy(Automation.AUTOMATIC))
    switched_off = deliverable(environment=factories.environment("dev"))
    factories.use(switched_off, is_disabled=True)
    due(switched_off, policy(Automation.AUTOMATIC))
    reads = deliverable(environment=factories.environment("dev"))
    Delivery.objects.filter(credential=reads).update(location="aws-sm://team/key")
    factories.use(factories.credential(identity_key="ref:aws-sm://team/key"))
    due(reads, policy(Automation.AUTOMATIC))
    run()
    assert set(proposed()) == {lonely, switched_off}
    assert begun() == [reads]
    assert "nobody is known to use it" in Operation.objects.get(credential=lonely).reason


def test_what_cannot_be_rotated_is_left_and_counted_with_its_reason(operator: Actor) -> None:
    under = policy()
    falling_due(under, connection=account(kind=ConnectionKind.MCP_CONFIG))
    falling_due(under, connection=account(is_enabled=False))
    Delivery.objects.filter(credential=falling_due(under)).delete()
    falling_due(under, status=CredentialStatus.DESTROYED)
    request_revocation(falling_due(under), actor=operator, now=NOW, reason="It leaked")
    assert run() == {"left: no provider to ask": 2, "left: no place of delivery": 1, "left: under way already": 1}
    assert begun() == []


def test_what_a_person_declined_is_not_asked_for_again_until_its_next_date(operator: Actor) -> None:
    of = falling_due(policy(Automation.PROPOSE))
    run()
    decline(Operation.objects.get(credential=of), actor=operator, now=NOW, reason="Not this one")
    assert run(NOW + DAY) == {"left: decided by a person": 1}
    Obligation.objects.filter(credential=of).update(rotate_by=NOW + 2 * DAY)
    assert run(NOW + DAY)["proposed"] == 1


# ── Windows and freezes ────────────────────────────────────────────────────────────────────────


def test_a_freeze_begins_nothing_and_revocations_go_on(operator: Actor) -> None:
    under = policy()
    frozen, free = falling_due(under, "prod"), falling_due(under, "dev", connection=account())
    freeze = set_freeze(
        environment=factories.environment("prod"), begins_at=NOW, ends_at=None, reason="Peak", actor=operator, now=NOW
    )
    assert run() == {"begun": 1, "left: frozen or no window open": 1, "left: under way already": 1}
    assert begun() == [free]
    assert request_revocation(frozen, actor=operator, now=NOW, reason="It leaked").state == OperationState.PENDING
    cancel(Operation.objects.get(credential=frozen), actor=operator, now=NOW, reason="It did not")
    lift_freeze(freeze, actor=operator, now=NOW)
    assert run()["begun"] == 1


def test_outside_its_window_nothing_begins_in_an_environment(operator: Actor) -> None:
    under = policy()
    falling_due(under, "staging")
    staging = factories.environment("staging")
    set_window(
        environment=staging, weekdays=[1], begins=time(22), length=HOUR, timezone="Europe/Berlin", actor=operator
    )
    assert run() == {"left: frozen or no window open": 1}
    assert run(NOW + 8 * HOUR) == {"begun": 1, "left: under way already": 1}  # 20:00 UTC is 22:00 there


# ── Limits ─────────────────────────────────────────────────────────────────────────────────────


def test_no_more_begin_than_the_limits_allow_and_proposals_do_not_wait_for_them() -> None:
    limited(begun_a_day=3, open_at_once=2)
    under, asks = policy(), policy(Automation.PROPOSE)
    first, second, third, fourth = (falling_due(under, at=NOW - n * DAY) for n in (4, 3, 2, 1))
    falling_due(asks)
    assert run() == {"begun": 2, "proposed": 1, "left: under way already": 3, "left: over the limits": 2}
    assert begun() == [first, second]
    ended(first)
    ended(second)
    Operation.objects.filter(credential__in=[first, second]).update(requested_at=NOW)
    Obligation.objects.filter(credential__in=[first, second]).delete()
    assert run(NOW + HOUR)["begun"] == 1, "three a day"
    assert run(NOW + 2 * HOUR).get("begun") is None
    assert run(NOW + 25 * HOUR)["begun"] == 1
    assert begun() == [first, second, third, fourth]


def test_the_smallest_and_the_longest_overdue_come_first() -> None:
    under = policy()
    personal = falling_due(under, "personal", NOW - DAY)
    late, later = falling_due(under, "dev", NOW - 3 * DAY), falling_due(under, "dev", NOW - 2 * DAY)
    staging = falling_due(under, "staging", NOW - 9 * DAY)
    run()
    assert begun() == [personal, late, later, staging]


def test_production_waits_for_something_smaller_of_its_policy_and_connection() -> None:
    under, same = policy(), account()
    canary = falling_due(under, "dev", connection=same)
    production = falling_due(under, "prod", connection=same)
    nowhere = deliverable(connection=same)
    factories.use(nowhere)
    due(nowhere, under)
    elsewhere = falling_due(under, "prod")
    assert run()["left: waits for a smaller one"] == 2
    assert begun() == [canary, elsewhere], "where nothing is smaller, production need not wait"
    stalled(canary)
    assert "begun" not in run(), "nor may it go on while the canary has not come through"
    ended(canary, OperationState.CANCELLED)
    assert run(NOW + HOUR)["begun"] == 2, "there is no canary any more"
    assert set(begun()) == {canary, elsewhere, production, nowhere}


def test_production_follows_once_something_smaller_came_through() -> None:
    under, same = policy(), account()
    first, second = (falling_due(under, "dev", NOW - n * DAY, connection=same) for n in (3, 2))
    production = falling_due(under, "prod", connection=same)
    run()
    assert begun() == [first, second]
    ended(first, now=NOW + HOUR)
    run(NOW + 2 * HOUR)
    assert begun() == [first, second, production]


# ── The circuit breaker ────────────────────────────────────────────────────────────────────────


def test_stalled_ones_halt_their_connection_until_a_person_resumes(operator: Actor) -> None:
    limited(halted_after=2)
    under, broken = policy(), account(name="broken")
    stuck = [falling_due(under, connection=broken) for _ in range(2)]
    run()
    stalled(*stuck)
    falling_due(under, connection=broken)
    other = falling_due(under)
    assert run(NOW + HOUR)["halts"] == 1
    assert begun()[2:] == [other]
    halt = ScheduleHalt.objects.get()
    assert halt.connection == broken
    assert "2 scheduled rotations of broken have stalled" in halt.reason
    assert run(NOW + 2 * HOUR)["left: connection halted"] == 1
    resume_schedule(halt, actor=operator, now=NOW + 3 * HOUR, reason="The account has rights again")
    assert run(NOW + 4 * HOUR)["begun"] == 1, "what had stalled by then is not counted again"
    with pytest.raises(HaltResumed):
        resume_schedule(halt, actor=operator, now=NOW, reason="Again")
    events = AuditEntry.objects.filter(event__startswith="schedule.").order_by("seq").values_list("event", flat=True)
    assert list(events) == ["schedule.halted", "schedule.resumed"]


def test_stalls_in_many_places_halt_everything() -> None:
    limited(halted_after=3)
    under = policy()
    stuck = [falling_due(under) for _ in range(3)]
    run()
    stalled(*stuck)
    falling_due(under)
    assert run(NOW + HOUR)["halts"] == 1
    assert ScheduleHalt.objects.get().connection is None
    assert len(begun()) == 3


# ── Again, and in pieces ───────────────────────────────────────────────────────────────────────


def test_a_second_beat_begins_nothing_twice() -> None:
    for _ in range(3):
        falling_due(policy())
    assert run()["begun"] == 3
    assert "begun" not in run()
    assert Operation.objects.count() == 3


def test_a_run_that_dies_between_two_transactions_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    under = policy()
    for _ in range(5):
        falling_due(under)
    monkeypatch.setattr(schedule, "AT_ONCE", 2)
    asked = schedule.candidates
    calls = iter(range(99))

    def dying(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == 2:  # each transaction that has room for both asks twice
            raise SystemExit
        return asked(*args, **kwargs)

    monkeypatch.setattr(schedule, "candidates", dying)
    with pytest.raises(SystemExit):
        begin_due(NOW)
    left_over = 5 - len(begun())
    assert 0 < left_over < 5
    monkeypatch.setattr(schedule, "candidates", asked)
    assert run()["begun"] == left_over
    assert Operation.objects.count() == 5


@pytest.mark.django_db(transaction=True)
def test_of_two_beats_at_once_one_gives_way() -> None:
    falling_due(policy())
    other = database.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(hashtextextended('keyreeve scheduled rotations', 0))")
            assert begin_due(NOW) is None
            cursor.execute("SELECT pg_advisory_unlock_all()")
    finally:
        other.close()
    assert run()["begun"] == 1
