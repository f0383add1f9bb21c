"""Every plan, every boundary, every fault: whatever happens on the way, the end is the same.

A worker dies where `boundary` or a call of the provider says so, calls fail before and after their effect, other
workers with other clocks come between, messages come twice and late. The world is a cloud in memory and a clock that
is moved; all else is the product as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from audit.chain import verify
from audit.models import AuditEntry
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
from tests.examples import IS_NIGHT, examples
from tests.lifecycle.operations import OPERATOR, Estate

PLANS = ("rotation", "revocation", "urgent revocation", "rolled back", "superseded")
FAULTS = ("time-out", "500", "429", "429 for a while", "crash", "unforeseen", "other worker")
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
Fault = tuple[str, str]  # before or after a call, and what
AT_EVERY_CALL: list[Fault] = [
    ("before", "crash"),
    ("after", "crash"),
    ("after", "time-out"),
    ("before", "other worker"),
]
MOST_TURNS = 400
# With what is tried at random and at boundaries elsewhere, more than five hundred schedules at every change.
FEWEST = {"rotation": 100, "revocation": 50, "urgent revocation": 50, "rolled back": 70, "superseded": 130}


class Crash(BaseException):
    """The worker is gone: nothing of it runs any more."""


class Play:
    """An operation of a plan on its way, from worker to worker, and what happens at which call and which boundary.

    Calls of the cloud and boundaries are numbered in the order in which they come.
    """

    def __init__(self, plan: str, cloud: str, *, turns_at: int = 4) -> None:
        self.plan, self.turns_at = plan, turns_at
        self.estate = Estate(overlap=timedelta(seconds=5))
        for name, value in CLOUDS[cloud].items():
            setattr(self.estate.cloud, name, value)
        self.calls: dict[int, Fault] = {}
        self.boundaries: frozenset[int] = frozenset()
        self.called = self.passed = self.turns = 0
        self.told: list[str] = [f"{plan}, {cloud}"]
        self.is_inside = False
        self.goes_straight = plan not in {"rolled back", "superseded"}
        self.estate.cloud.faults = self
        if "revocation" in plan:
            self.operation = self.estate.revoke(is_urgent=plan.startswith("urgent"))
        else:
            self.operation = self.estate.rotate()

    # ── What happens on the way ────────────────────────────────────────────────────────────────
    def before(self, call: Call) -> None:
        if not self.is_inside:
            self.called += 1
            self._at("before", call)

    def after(self, call: Call) -> None:
        if not self.is_inside:
            self._at("after", call)

    def _at(self, when: str, call: Call) -> None:
        if self.calls.get(self.called, ("", ""))[0] != when:
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

    # ── From worker to worker ──────────────────────────────────────────────────────────────────
    def goes_on(self) -> bool:
        """One more worker takes it as far as it goes; False once it has ended.

        A person resumes it whenever it has given up.
        """
        self.operation.refresh_from_db()
        if not self.goes_straight and (self.turns >= self.turns_at or self.operation.closed_at is not None):
            self._turn()
        operation, estate = self.operation, self.estate
        if operation.closed_at is not None:
            return False
        assert self.turns < MOST_TURNS, f"It never ends: {operation.step} {operation.error}; {self.told}"
        if operation.due_at is None:
            go_on = retire_anyway if operation.step == Step.OVERLAP else requests.resume
            go_on(operation, actor=OPERATOR, now=estate.clock(), reason="It is looked after")
            operation.refresh_from_db()
        load = estate.load()
        wake = [operation.due_at, operation.lease_until, load.paused_until if load is not None else None]
        estate.clock.now = max(estate.clock(), *filter(None, wake))
        try:
            advance(operation.pk, clock=estate.clock, jitter=lambda: 0.5, at=self.boundary)
        except (Crash, ZeroDivisionError):
            estate.clock.pass_by(timedelta(seconds=1))
        # The same message again, early: it finds nothing to do, or what is due.
        if self.turns % 3 == 0:
            advance(operation.pk, clock=estate.clock, jitter=lambda: 0.5)
        self.turns += 1
        return True

    def _turn(self) -> None:
        """Somebody wants something else of it."""
        self.goes_straight = True
        if self.operation.closed_at is not None:
            return
        if self.plan == "superseded":
            self.operation = self.estate.revoke()
            return
        self.estate.clock.pass_by(LEASE)
        try:
            requests.cancel(self.operation, actor=OPERATOR, now=self.estate.clock(), reason="Not today")
        except LifecycleError:
            self.told.append("no way back")
        self.operation.refresh_from_db()

    def ends(self) -> None:
        while self.goes_on():
            pass
        holds(self)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What is done within is undone after it: in the database, in the cloud, and on the clock."""
        kept = {**vars(self), "told": list(self.told)}
        cloud, now = self.estate.cloud, self.estate.clock.now
        held = {slot: [replace(each) for each in versions] for slot, versions in cloud.held.items()}
        places = {
            location: replace(place, pending=dict(place.pending), previous=dict(place.previous))
            for location, place in cloud.places.items()
        }
        try:
            with transaction.atomic():
                yield
                transaction.set_rollback(True)
        finally:
            vars(self).update(kept)
            cloud.held, cloud.places, self.estate.clock.now = held, places, now


def secrets_of(estate: Estate) -> list[str]:
    return [each.secret for each in estate.cloud.versions(estate.slot)]


def holds(play: Play) -> None:
    """What is so at every end."""
    operation, estate, told = play.operation, play.estate, play.told
    operation.refresh_from_db()
    estate.credential.refresh_from_db()
    usable, delivered = estate.usable(), estate.delivered()
    current = CredentialVersion.objects.filter(credential=estate.credential, is_current=True).first()
    open_ones = Operation.objects.open().filter(credential=estate.credential).count()
    under_way = StepAttempt.objects.filter(operation__credential=estate.credential, ended_at=None).count()
    assert (open_ones, under_way) == (0, 0), told
    if operation.kind == OperationKind.REVOCATION:
        assert operation.state == OperationState.COMPLETED, told
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
    chain = verify(AuditEntry.objects.links())
    assert chain.broken is None, (chain.broken, told)
    assert chain.count > 0
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


def keep_no_secret_anywhere(estate: Estate) -> None:
    """Every row of every table, as text."""
    wanted = [f"%{secret}%" for secret in secrets_of(estate)]
    assert wanted
    with connection.cursor() as cursor:
        tables = [table for table in connection.introspection.table_names(cursor) if "_" in table]
        of_each = " UNION ALL ".join(
            f"SELECT '{table}' FROM \"{table}\" t WHERE t::text LIKE ANY (%s)" for table in tables
        )
        cursor.execute(of_each, [wanted] * len(tables))
        assert cursor.fetchall() == []


def branched(play: Play, faults: Sequence[Fault], *, more: int = 1, takes: Callable[[], bool] = lambda: True) -> int:
    """Play to the end; and as often, from each moment on, with one more fault at the call or the boundary that comes.

    What led there is played once for all of them. How many schedules came to their end.
    """
    ended = 1
    is_on = True
    last_call, last_boundary = max(play.calls, default=0), max(play.boundaries, default=0)
    while is_on:
        called, passed = play.called, play.passed
        with play.undone():
            play.goes_on()
            calls = range(max(called, last_call) + 1, play.called + 1)
            boundaries = range(max(passed, last_boundary) + 1, play.passed + 1)
        if more:
            for number, fault in product(calls, faults):
                if takes():
                    with play.undone():
                        play.calls = {**play.calls, number: fault}
                        ended += branched(play, faults, more=more - 1, takes=takes)
            for number in boundaries:
                if takes():
                    with play.undone():
                        play.boundaries |= {number}
                        ended += branched(play, faults, more=more - 1, takes=takes)
            is_on = play.goes_on()
        else:
            play.ends()
            return ended
    holds(play)
    return ended


moments = st.tuples(st.sampled_from(("before", "after")), st.sampled_from(FAULTS))
schedules = {
    "plan": st.sampled_from(PLANS),
    "cloud": st.sampled_from(sorted(CLOUDS)),
    "calls": st.dictionaries(st.integers(1, 24), moments, max_size=4),
    "boundaries": st.frozensets(st.integers(1, 24), max_size=3),
    "turn": st.integers(1, 8),
}


def played(plan: str, cloud: str, calls: dict[int, Fault], boundaries: frozenset[int], turn: int) -> None:
    play = Play(plan, cloud, turns_at=turn)
    play.calls, play.boundaries = calls, boundaries
    play.ends()


@pytest.mark.django_db
def test_a_rotation_without_a_way_back_goes_on_where_nobody_knows_whether_it_replaced_the_secret():
    faults = {15: ("before", "500"), 17: ("after", "unforeseen"), 20: ("before", "time-out")}
    played("rolled back", "replacing", faults, frozenset({3, 5, 10}), 1)
    played("rolled back", "replacing", {}, frozenset({3}), 1)


@pytest.mark.django_db
@pytest.mark.parametrize("cloud", ["everything", "ahead", "without marks"])
def test_what_another_worker_issued_meanwhile_is_not_taken_for_a_stray(cloud: str):
    faults = {1: ("before", "time-out"), 3: ("before", "time-out"), 5: ("before", "other worker")}
    played("rotation", cloud, faults, frozenset({5}), 1)


@pytest.mark.django_db
@profile(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(**schedules)
def test_whatever_happens_on_the_way_the_end_is_the_same(**values: Any):
    with transaction.atomic():
        played(**values)
        transaction.set_rollback(True)


@pytest.mark.django_db
@pytest.mark.parametrize("plan", PLANS)
def test_every_call_and_every_boundary_of_every_plan_may_be_the_last_one(plan: str) -> None:
    """One fault at each in turn."""
    play = Play(plan, "everything", turns_at=1)
    assert branched(play, AT_EVERY_CALL) >= FEWEST[plan]
    keep_no_secret_anywhere(play.estate)


@pytest.mark.long
@pytest.mark.django_db
@pytest.mark.parametrize("plan", PLANS)
def test_every_boundary_of_every_plan_may_be_the_last_one_where_effects_show_late(plan: str) -> None:
    play = Play(plan, "lagging without marks", turns_at=1)
    assert branched(play, []) > play.passed


if IS_NIGHT:  # it takes the better part of an hour

    @pytest.mark.django_db
    @pytest.mark.parametrize("cloud", CLOUDS)
    @pytest.mark.parametrize("plan", PLANS)
    def test_every_fault_at_every_call_of_every_plan_at_every_kind_of_cloud(plan: str, cloud: str) -> None:
        play = Play(plan, cloud, turns_at=1)
        assert branched(play, list(product(("before", "after"), FAULTS))) > play.called
        keep_no_secret_anywhere(play.estate)


def test_the_pauses_of_a_connection_are_shorter_than_a_worker_waits():
    assert journal.FIRST_PEACE < journal.LONGEST_PEACE
