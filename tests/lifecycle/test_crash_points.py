"""Every plan, every boundary, every fault: whatever happens on the way, the end is the same.

A worker dies where `boundary` or a call of the provider says so, calls fail before and after their effect, other
workers with other clocks come between, messages come twice and late. The world is a cloud in memory and a clock that
is moved; all else is the product as it is.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from inventory.fingerprints import fingerprint
from inventory.models import CredentialVersion
from lifecycle.actions import requests
from lifecycle.actions.consumers import retire_anyway
from lifecycle.engine import journal
from lifecycle.engine.claims import LEASE
from lifecycle.engine.runner import advance
from lifecycle.errors import LifecycleError
from lifecycle.models import Operation, StepAttempt
from lifecycle.states import OperationKind, OperationState, Proof, Step
from providers.base import Capability
from providers.errors import Transient
from providers.memory import EVERYTHING, Call
from tests.examples import examples
from tests.lifecycle.operations import OPERATOR, Estate

PLANS = ("rotation", "revocation", "urgent revocation", "rolled back", "superseded")
FAULTS = ("time-out", "500", "429", "429 for a while", "crash", "unforeseen", "other worker")
BOUNDARIES = ("before intent", "after intent", "before outcome", "after outcome")
CLOUDS = {
    "everything": {},
    "two at most": {"room": 2},
    "lagging": {"lag": timedelta(seconds=45)},
    "lagging without marks": {"lag": timedelta(seconds=45), "marks": False},
    "without marks": {"marks": False},
    "ahead": {"ahead": timedelta(hours=1)},
    "behind": {"ahead": timedelta(hours=-1)},
    "identity of its version": {"identity_follows_version": True},
    "without suspension": {"capabilities": EVERYTHING - {Capability.SUSPEND}},
    "record only": {"capabilities": EVERYTHING - {Capability.PRESENTS}},
    "chosen secrets": {"capabilities": EVERYTHING | {Capability.CALLER_CHOOSES_SECRET}},
    "replacing": {"capabilities": EVERYTHING - {Capability.SUSPEND} | {Capability.REPLACES}},
}
CALLS = {"rotation": 20, "revocation": 12, "urgent revocation": 12, "rolled back": 20, "superseded": 20}


class Crash(BaseException):
    """The worker is gone: nothing of it runs any more."""


@dataclass
class Schedule:
    """What happens at which call of the cloud and at which boundary, in the order in which they come."""

    estate: Estate
    calls: dict[int, tuple[str, str]]  # number of the call: when, and what
    boundaries: frozenset[int]
    called: int = 0
    passed: int = 0
    told: list[str] = field(default_factory=list)
    operation: Operation | None = None
    is_inside: bool = False

    def before(self, call: Call) -> None:
        self.called += 1
        self._at("before", call)

    def after(self, call: Call) -> None:
        self._at("after", call)

    def _at(self, when: str, call: Call) -> None:
        if self.is_inside or self.calls.get(self.called, ("", ""))[0] != when:
            return
        what = self.calls[self.called][1]
        self.told.append(f"{what} {when} {call.verb}")
        self.estate.clock.pass_by(timedelta(seconds=1))
        match what:
            case "crash":
                raise Crash
            case "time-out":
                self.estate.clock.pass_by(timedelta(seconds=30))
                raise Transient("It did not answer in time.")
            case "500":
                raise Transient("It answered 500.")
            case "429":
                raise Transient("It answered 429.")
            case "429 for a while":
                raise Transient("It answered 429.", retry_after=timedelta(minutes=3))
            case "unforeseen":
                raise ZeroDivisionError
            case "other worker":
                self.other_worker()

    def other_worker(self) -> None:
        """Somebody whose clock is an hour ahead takes the lease for one that has run out."""
        assert self.operation is not None
        self.is_inside = True
        try:
            advance(self.operation.pk, clock=lambda: self.estate.clock() + timedelta(hours=1), jitter=lambda: 0.5)
        finally:
            self.is_inside = False

    def boundary(self, name: str, step: str) -> None:
        if self.is_inside:
            return
        self.passed += 1
        if self.passed in self.boundaries:
            self.told.append(f"crash {name} of {step}")
            raise Crash


def run(schedule: Schedule, operation: Operation, *, until: int = 400, stop_after: int | None = None) -> Operation:
    """Workers come and go until the operation has ended. A person resumes it whenever it has given up."""
    estate, schedule.operation = schedule.estate, operation
    for turn in range(until):
        operation.refresh_from_db()
        if operation.closed_at is not None or (stop_after is not None and turn >= stop_after):
            return operation
        if operation.due_at is None:
            go_on = retire_anyway if operation.step == Step.OVERLAP else requests.resume
            go_on(operation, actor=OPERATOR, now=estate.clock(), reason="It is looked after")
            operation.refresh_from_db()
        load = estate.load()
        wake = [operation.due_at, estate.clock()]
        if operation.lease_until is not None:
            wake.append(operation.lease_until)
        if load is not None and load.paused_until is not None:
            wake.append(load.paused_until)
        estate.clock.now = max(wake)
        try:
            advance(operation.pk, clock=estate.clock, jitter=lambda: 0.5, at=schedule.boundary)
        except (Crash, ZeroDivisionError):
            estate.clock.pass_by(timedelta(seconds=1))
        # The same message again, early: it finds nothing to do, or what is due.
        if turn % 3 == 0:
            advance(operation.pk, clock=estate.clock, jitter=lambda: 0.5)
    raise AssertionError(f"It never ends: {operation.state} {operation.step} {operation.error}; {schedule.told}")


def secrets_of(estate: Estate) -> list[str]:
    return [each.secret for each in estate.cloud.versions(estate.slot)]


def holds(estate: Estate, operation: Operation, told: list[str]) -> None:
    """What is so at every end."""
    operation.refresh_from_db()
    estate.credential.refresh_from_db()
    usable, delivered = estate.usable(), estate.delivered()
    current = CredentialVersion.objects.filter(credential=estate.credential, is_current=True).first()
    open_ones = Operation.objects.open().filter(credential=estate.credential).count()
    under_way = StepAttempt.objects.filter(operation__credential=estate.credential, ended_at=None).count()
    assert (open_ones, under_way) == (0, 0), told
    if operation.kind == OperationKind.REVOCATION:
        assert usable == [], told
        assert operation.proof == Proof.VERIFIED, told
        assert not current, told
    else:
        assert usable == [delivered], told
        assert current is not None
        digest = fingerprint(delivered, key=settings.FINGERPRINT_KEY)
        assert (current.fingerprint, estate.credential.fingerprint) == (digest, digest), told
        assert estate.credential.status == "active", told
    if operation.state == OperationState.COMPLETED:
        assert operation.proof in {Proof.VERIFIED, Proof.UNVERIFIABLE}, told
        assert estate.held_at_first not in usable, told
    keep_no_secret(estate)


def keep_no_secret(estate: Estate) -> None:
    wanted = [f"%{secret}%" for secret in secrets_of(estate)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT 'operation' FROM lifecycle_operation o
              WHERE o.credential_id = %(credential)s AND to_jsonb(o)::text LIKE ANY (%(wanted)s)
            UNION ALL
            SELECT 'attempt' FROM lifecycle_stepattempt a JOIN lifecycle_operation o ON o.id = a.operation_id
              WHERE o.credential_id = %(credential)s AND to_jsonb(a)::text LIKE ANY (%(wanted)s)
            UNION ALL
            SELECT 'entry' FROM audit_auditentry e JOIN lifecycle_operation o ON o.id::text = e.subject_id
              WHERE o.credential_id = %(credential)s AND to_jsonb(e)::text LIKE ANY (%(wanted)s)
            UNION ALL
            SELECT 'version' FROM inventory_credentialversion v
              WHERE v.credential_id = %(credential)s AND to_jsonb(v)::text LIKE ANY (%(wanted)s)
            UNION ALL
            SELECT 'credential' FROM inventory_credential c
              WHERE c.id = %(credential)s AND to_jsonb(c)::text LIKE ANY (%(wanted)s)
            UNION ALL
            SELECT 'load' FROM lifecycle_providerload l
              WHERE l.connection_id = %(connection)s AND to_jsonb(l)::text LIKE ANY (%(wanted)s)
            """,
            {"credential": estate.credential.pk, "connection": estate.connection.pk, "wanted": wanted},
        )
        assert cursor.fetchall() == []


def play(plan: str, cloud: str, calls: dict[int, tuple[str, str]], boundaries: frozenset[int], turn: int) -> None:
    estate = Estate(overlap=timedelta(seconds=15))
    for name, value in CLOUDS[cloud].items():
        setattr(estate.cloud, name, value)
    schedule = Schedule(estate, calls, boundaries)
    estate.cloud.faults = schedule
    if "revocation" in plan:
        operation = run(schedule, estate.revoke(is_urgent=plan.startswith("urgent")))
        assert operation.state == OperationState.COMPLETED, schedule.told
    else:
        operation = estate.rotate()
        if plan in {"rolled back", "superseded"}:
            operation = run(schedule, operation, stop_after=turn)
        if plan == "rolled back" and operation.closed_at is None:
            estate.clock.pass_by(LEASE)
            try:
                requests.cancel(operation, actor=OPERATOR, now=estate.clock(), reason="Not today")
            except LifecycleError:
                schedule.told.append("no way back")
        if plan == "superseded" and operation.closed_at is None:
            operation = estate.revoke()
        operation = run(schedule, operation)
    holds(estate, operation, schedule.told)


moments = st.tuples(st.sampled_from(("before", "after")), st.sampled_from(FAULTS))
schedules = {
    "plan": st.sampled_from(PLANS),
    "cloud": st.sampled_from(sorted(CLOUDS)),
    "calls": st.dictionaries(st.integers(1, 24), moments, max_size=4),
    "boundaries": st.frozensets(st.integers(1, 24), max_size=3),
    "turn": st.integers(1, 8),
}


@pytest.mark.django_db
def test_a_rotation_without_a_way_back_goes_on_where_nobody_knows_whether_it_replaced_the_secret():
    faults = {15: ("before", "500"), 17: ("after", "unforeseen"), 20: ("before", "time-out")}
    play("rolled back", "replacing", faults, frozenset({3, 5, 10}), 1)
    play("rolled back", "replacing", {}, frozenset({3}), 1)


@pytest.mark.django_db
@profile(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(**schedules)
def test_whatever_happens_on_the_way_the_end_is_the_same(**values: Any):
    played = transaction.savepoint()
    try:
        play(**values)
    finally:
        transaction.savepoint_rollback(played)


FIRST_FAULTS = [("before", "crash"), ("after", "crash"), ("after", "time-out"), ("before", "other worker")]


@pytest.mark.django_db
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("fault", FIRST_FAULTS)
def test_every_call_of_every_plan_may_be_the_last_one(plan, fault):
    """One fault at each call in turn."""
    for number in range(1, CALLS[plan] + 1):
        with transaction.atomic():
            play(plan, "everything", {number: fault}, frozenset(), turn=4)
            transaction.set_rollback(True)


@pytest.mark.django_db
@pytest.mark.parametrize("plan", PLANS)
def test_every_boundary_of_every_plan_may_be_the_last_one(plan):
    for number in range(1, CALLS[plan] + 1):
        with transaction.atomic():
            play(plan, "lagging without marks", {}, frozenset({number}), turn=4)
            transaction.set_rollback(True)


def test_the_pauses_of_a_connection_are_shorter_than_a_worker_waits():
    assert journal.FIRST_PEACE < journal.LONGEST_PEACE
