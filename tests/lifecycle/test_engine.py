from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from access.actors import Actor, ActorKind
from access.roles import Role, held
from inventory.fingerprints import fingerprint
from inventory.models import CredentialVersion
from inventory.states import CredentialStatus
from lifecycle.actions import by_hand, requests
from lifecycle.engine import claims
from lifecycle.engine.runner import advance
from lifecycle.errors import NotByHand
from lifecycle.models import ProviderMinute, StepAttempt
from lifecycle.plans import REVOCATION, ROTATION
from lifecycle.states import AttemptOutcome, OperationState, Proof
from providers.errors import Transient
from providers.memory import NoFaults
from tests import factories
from tests.lifecycle.operations import OPERATOR, Estate

pytestmark = pytest.mark.django_db


@pytest.fixture
def estate() -> Estate:
    return Estate()


@pytest.fixture
def person() -> Actor:
    return Actor(ActorKind.USER, "7", "Ada", held(frozenset({Role.OPERATOR})))


def steps_done(operation) -> list[str]:
    done = StepAttempt.objects.filter(operation=operation, outcome=AttemptOutcome.DONE)
    return list(done.order_by("number").values_list("step", flat=True))


def test_a_rotation_goes_through_its_plan(estate):
    old = estate.delivered()
    operation = estate.go_on(estate.rotate())

    assert (operation.state, operation.proof, operation.error) == (OperationState.COMPLETED, Proof.VERIFIED, "")
    assert steps_done(operation) == list(ROTATION)
    assert estate.usable() == [estate.delivered()] != [old]
    estate.credential.refresh_from_db()
    assert estate.credential.status == CredentialStatus.ACTIVE
    assert estate.credential.fingerprint == fingerprint(estate.delivered(), key=settings.FINGERPRINT_KEY)
    current = CredentialVersion.objects.get(credential=estate.credential, is_current=True)
    assert (current.external_id, current.fingerprint) == (
        estate.credential.external_id,
        estate.credential.fingerprint,
    )
    assert operation.old_version.destroyed_at is not None


def test_consumers_keep_working_with_the_old_version_through_the_overlap(estate):
    old = estate.delivered()
    operation = estate.advance(estate.rotate())

    assert (operation.state, operation.step) == (OperationState.WAITING, "overlap")
    assert set(estate.usable()) == {old, estate.delivered()}
    estate.credential.refresh_from_db()
    assert estate.credential.status == CredentialStatus.ROTATING
    assert estate.clock() < operation.due_at <= estate.clock() + operation.overlap


def test_a_revocation_goes_through_its_plan(estate):
    operation = estate.go_on(estate.revoke())

    assert (operation.state, operation.proof, operation.error) == (OperationState.COMPLETED, Proof.VERIFIED, "")
    assert steps_done(operation) == list(REVOCATION)
    assert estate.usable() == []
    estate.credential.refresh_from_db()
    assert estate.credential.status == CredentialStatus.DESTROYED
    assert operation.refused_at is not None


def test_an_urgent_revocation_waits_for_nothing(estate):
    operation = estate.advance(estate.revoke(is_urgent=True))

    assert operation.state == OperationState.COMPLETED
    assert operation.closed_at - operation.requested_at < timedelta(seconds=1)


def test_a_rotation_that_is_cancelled_goes_the_way_back(estate):
    old = estate.delivered()
    operation = estate.advance(estate.rotate())
    assert estate.delivered() != old
    requests.cancel(operation, actor=OPERATOR, now=estate.clock(), reason="Not today")
    operation = estate.go_on(operation)

    assert operation.state == OperationState.CANCELLED
    assert estate.usable() == [estate.delivered()] == [old]
    estate.credential.refresh_from_db()
    assert estate.credential.fingerprint == fingerprint(old, key=settings.FINGERPRINT_KEY)


def test_a_revocation_covers_what_the_rotation_issued_whose_place_it_takes(estate):
    rotation = estate.advance(estate.rotate())
    assert len(estate.usable()) == 2
    revocation = estate.advance(estate.revoke(is_urgent=True))
    rotation.refresh_from_db()

    assert (rotation.state, revocation.state) == (OperationState.SUPERSEDED, OperationState.COMPLETED)
    assert estate.usable() == []


class Answering500:
    def before(self, call):
        raise Transient("It answered 500.")

    def after(self, call):
        pass


def test_a_provider_that_fails_for_an_hour_is_left_in_peace_and_its_operations_finish_afterwards(estate):
    other = Estate(clock=estate.clock)
    failing, fine = estate.rotate(), other.rotate()
    estate.cloud.faults = Answering500()
    until = estate.clock() + timedelta(hours=1)
    while estate.clock() < until:
        for each in claims.due(estate.clock()):
            advance(each.operation_id, clock=estate.clock, jitter=lambda: 0.5)
        estate.clock.pass_by(timedelta(seconds=5))
    fine.refresh_from_db()
    failing.refresh_from_db()
    asked = ProviderMinute.objects.filter(connection=estate.connection)

    assert fine.step == "overlap"
    assert (failing.state, failing.step) == (OperationState.WAITING, "issue")
    assert sum(asked.values_list("calls", flat=True)) < 30
    assert max(asked.values_list("calls", flat=True)) <= 5

    estate.cloud.faults = NoFaults()
    assert estate.go_on(failing).state == OperationState.COMPLETED


def test_workers_hold_no_more_operations_of_a_connection_than_it_bears(estate):
    keys = [estate.rotate().pk]
    for number in range(3):
        credential = estate.add(f"more-{number}", f"memory://more-{number}")
        keys.append(estate.rotate(credential=credential).pk)

    assert [claims.claim(key, now=estate.clock()) is not None for key in keys] == [True, True, False, False]


def test_what_nobody_can_be_asked_about_is_ended_by_a_person_who_says_so_by_name(person):
    credential = factories.credential()
    now = factories.NOW
    operation = requests.request_revocation(credential, actor=person, now=now, reason="It leaked", is_urgent=True)
    advance(operation.pk, clock=lambda: now)
    operation.refresh_from_db()
    assert (operation.state, operation.due_at) == (OperationState.WAITING, None)

    by_hand.done_by_hand(operation, actor=person, now=now, reason="Removed in the console")
    operation.refresh_from_db()
    assert (operation.state, operation.proof) == (OperationState.COMPLETED, Proof.UNVERIFIABLE)
    assert operation.verify_by is not None
    credential.refresh_from_db()
    assert credential.is_live

    requests.seen_refused(operation, actor=person, now=now, reason="A call with it was refused")
    operation.refresh_from_db()
    credential.refresh_from_db()
    assert (operation.proof, operation.verify_by) == (Proof.VERIFIED, None)
    assert not credential.is_live


def test_a_person_ends_by_hand_what_a_worker_gave_up_on_and_nothing_else(estate, person):
    estate.cloud.capabilities = frozenset()
    operation = estate.revoke()
    with pytest.raises(NotByHand):
        by_hand.done_by_hand(operation, actor=person, now=estate.clock(), reason="Removed in the console")
    operation = estate.advance(operation)
    assert operation.state == OperationState.STALLED

    by_hand.done_by_hand(operation, actor=person, now=estate.clock(), reason="Removed in the console")
    operation.refresh_from_db()
    assert (operation.state, operation.proof) == (OperationState.COMPLETED, Proof.UNVERIFIABLE)
    assert (operation.stalled_at, operation.error) == (None, "")
    assert operation.proof_reason == "Its provider did not do it. Ada says that it was ended: Removed in the console"


def test_the_sweep_finds_what_is_due_by_an_index_however_long_the_queues_are(estate):
    estate.revoke()
    with CaptureQueriesContext(database) as asked:
        assert len(claims.due(estate.clock())) == 1
    with database.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {asked[-1]['sql']}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "using operation_due_there on lifecycle_operation o " in plan
    assert "Seq Scan on lifecycle_operation" not in plan
