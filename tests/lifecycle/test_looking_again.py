"""Asking once more about what has ended and nobody could tell of."""

from datetime import timedelta
from typing import Any

import pytest

from access.actors import Actor, ActorKind
from access.roles import Role
from audit.models import AuditEntry
from inventory.models import CredentialVersion
from lifecycle import tasks
from lifecycle.actions import requests
from lifecycle.engine import afterwards
from lifecycle.errors import NothingOperable, NothingUnverified
from lifecycle.models import Operation, StepAttempt
from lifecycle.states import OperationState, Proof
from providers import memory
from providers.base import Status
from providers.errors import Transient
from tests.lifecycle.operations import OPERATOR, Estate

pytestmark = pytest.mark.django_db
WHY = "Nobody can tell whether it is refused: it did not say."


@pytest.fixture
def estate() -> Estate:
    return Estate()


def ended(operation: Operation, estate: Estate) -> Operation:
    """An operation that ran to its end, as it is where its provider could not tell."""
    assert estate.go_on(operation).state == OperationState.COMPLETED, operation.error
    Operation.objects.filter(pk=operation.pk).update(
        proof=Proof.UNVERIFIABLE, proof_reason=WHY, refused_at=None, verify_by=estate.clock() + timedelta(days=7)
    )
    CredentialVersion.objects.filter(credential=operation.credential).exclude(is_current=True).update(destroyed_at=None)
    operation.refresh_from_db()
    return operation


def looked(operation: Operation, estate: Estate) -> Operation:
    assert afterwards.look(operation.pk, clock=estate.clock)
    operation.refresh_from_db()
    return operation


class Silent:
    """A place that does not answer."""

    def before(self, call: memory.Call) -> None:
        raise Transient("It does not answer.")

    def after(self, call: memory.Call) -> None:
        pass


@pytest.mark.parametrize("kind", ["rotation", "revocation"])
def test_what_is_seen_refused_by_now_is_verified(kind: str, estate: Estate) -> None:
    operation = ended(estate.rotate() if kind == "rotation" else estate.revoke(), estate)
    requests.look_again(operation, actor=OPERATOR, now=estate.clock(), reason="The console says so")
    looked(operation, estate)
    assert (operation.proof, operation.verify_by, operation.look_at) == (Proof.VERIFIED, None, None)
    assert operation.refused_at == estate.clock()
    assert operation.lease_until is None
    events = AuditEntry.objects.filter(subject_id=str(operation.pk)).order_by("seq").values_list("event", flat=True)
    assert list(events)[-2:] == ["operation.look_requested", "operation.verified"]
    assert StepAttempt.objects.filter(operation=operation).latest("number").said == operation.proof_reason
    assert not afterwards.look(operation.pk, clock=estate.clock)


def test_what_is_still_taken_stays_unverifiable_and_says_so(estate: Estate) -> None:
    operation = ended(estate.rotate(), estate)
    for held in estate.cloud.versions(estate.slot):
        held.become(Status.ACTIVE, estate.clock() - timedelta(hours=1))
    requests.look_again(operation, actor=OPERATOR, now=estate.clock())
    looked(operation, estate)
    assert (operation.proof, operation.look_at) == (Proof.UNVERIFIABLE, None)
    assert operation.verify_by is not None
    assert "still taken" in operation.proof_reason


def test_a_place_that_does_not_answer_is_asked_again_a_few_times(estate: Estate) -> None:
    operation = ended(estate.rotate(), estate)
    requests.look_again(operation, actor=OPERATOR, now=estate.clock())
    faults, estate.cloud.faults = estate.cloud.faults, Silent()
    looks = 0
    while operation.look_at is not None or not looks:
        estate.clock.now = operation.look_at or estate.clock()
        looks += looked(operation, estate) is not None
    assert looks == afterwards.MOST_LOOKS
    assert (operation.proof, operation.proof_reason) == (Proof.UNVERIFIABLE, WHY)
    estate.cloud.faults = faults
    requests.look_again(operation, actor=OPERATOR, now=estate.clock())
    assert looked(operation, estate).proof == Proof.VERIFIED


def test_a_look_whose_worker_died_is_taken_up_by_the_sweep_and_one_at_a_time(estate: Estate, monkeypatch: Any) -> None:
    operation = ended(estate.rotate(), estate)
    requests.look_again(operation, actor=OPERATOR, now=estate.clock())
    assert [each.operation_id for each in afterwards.due(estate.clock())] == [operation.pk]
    until = estate.clock() + timedelta(minutes=5)
    Operation.objects.filter(pk=operation.pk).update(lease_token=operation.pk, lease_until=until)
    assert not afterwards.look(operation.pk, clock=estate.clock)
    assert not afterwards.due(estate.clock())
    estate.clock.now = until
    rung: list[Any] = []
    monkeypatch.setattr(tasks.look_at_operation, "apply_async", lambda args, **_queue: rung.append(args))
    monkeypatch.setattr("lifecycle.tasks.timezone.now", estate.clock)
    assert tasks.sweep_due_operations() == {"operations": 1}
    assert rung == [(str(operation.pk),)]
    assert looked(operation, estate).proof == Proof.VERIFIED


def test_only_what_ended_and_was_not_seen_refused_is_looked_at_again(estate: Estate) -> None:
    operation, now = estate.rotate(), estate.clock()
    with pytest.raises(NothingUnverified):
        requests.look_again(operation, actor=OPERATOR, now=now)
    ended(operation, estate)
    Operation.objects.filter(pk=operation.pk).update(by_hand=True)
    with pytest.raises(NothingOperable, match="Say what you saw"):
        requests.look_again(operation, actor=OPERATOR, now=now)


def test_what_a_person_said_meanwhile_stands(estate: Estate) -> None:
    operation, now = ended(estate.rotate(), estate), estate.clock()
    requests.look_again(operation, actor=OPERATOR, now=now)
    person = Actor(kind=ActorKind.USER, id="7", label="Mira Okafor", roles=frozenset({Role.OPERATOR}))
    requests.seen_refused(operation, actor=person, now=now, reason="A call with it was refused")
    assert not afterwards.look(operation.pk, clock=estate.clock)
    operation.refresh_from_db()
    assert (operation.proof, operation.look_at) == (Proof.VERIFIED, None)
    assert operation.proof_reason.startswith("Mira Okafor saw it refused")
