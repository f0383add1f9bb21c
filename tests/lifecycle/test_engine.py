from datetime import timedelta

import pytest
from django.conf import settings

from inventory.fingerprints import fingerprint
from inventory.models import CredentialVersion
from inventory.states import CredentialStatus
from lifecycle.models import StepAttempt
from lifecycle.plans import REVOCATION, ROTATION
from lifecycle.states import AttemptOutcome, OperationState, Proof
from tests.lifecycle.operations import Estate

pytestmark = pytest.mark.django_db


@pytest.fixture
def estate() -> Estate:
    return Estate()


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
