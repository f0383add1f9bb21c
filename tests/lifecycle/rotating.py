"""Rotations for tests, as far along as a test wants them, and credentials that the schedule may rotate."""

from datetime import datetime, timedelta
from itertools import count
from typing import Any

from inventory.models import Connection, Credential, CredentialVersion
from inventory.states import ConnectionKind
from lifecycle.models import Delivery, Obligation, Operation, Policy, StepAttempt
from lifecycle.states import AttemptOutcome, Automation, OperationKind, OperationState, Step, Trigger
from tests import factories
from tests.factories import NOW

DAY = timedelta(days=1)
_numbers = count(1)


def deliverable(**values: Any) -> Credential:
    """A credential that its provider can be asked to rotate, and that has a place of delivery."""
    if "connection" not in values:
        values["connection"] = account()
    made = factories.credential(**values)
    Delivery.objects.create(
        credential=made, sink="file", location=f"/run/{next(_numbers)}", set_by="Mira", set_at=NOW - DAY
    )
    return made


def account(**values: Any) -> Connection:
    return factories.connection(**{"kind": ConnectionKind.AWS, **values})


def policy(automation: Automation = Automation.AUTOMATIC, **values: Any) -> Policy:
    n = next(_numbers)
    return Policy.objects.create(**{"name": f"Policy {n}", "automation": automation, "overlap": DAY, **values})


def due(of: Credential, under: Policy, at: datetime = NOW - DAY) -> Obligation:
    """By `at` it must be rotated, as the evaluation says it."""
    return Obligation.objects.create(credential=of, policy=under, rotate_by=at)


def version(of: Credential, **values: Any) -> CredentialVersion:
    n = next(_numbers)
    said = {"external_id": f"AKIA{n:08}", "fingerprint": f"fp{n}", "is_current": False, "first_seen_at": NOW - 90 * DAY}
    return CredentialVersion.objects.create(credential=of, **{**said, **values})


def in_overlap(of: Credential | None = None, *, promoted: datetime = NOW, **values: Any) -> Operation:
    """A rotation whose new version consumers can read since `promoted`, while the old one works still."""
    of = of or deliverable()
    said = {
        "kind": OperationKind.ROTATION,
        "state": OperationState.WAITING,
        "step": Step.OVERLAP,
        "trigger": Trigger.PERSON,
        "reason": "It is old",
        "requested_by": "Mira Okafor",
        "requested_by_key": "user:7",
        "requested_at": promoted,
        "step_at": promoted,
        "due_at": promoted + DAY,
        "overlap": DAY,
        "quiet": DAY,
        "old_version": version(of),
        "new_version": version(of, is_current=True),
    }
    operation = Operation.objects.create(credential=of, connection=of.connection, **{**said, **values})
    StepAttempt.objects.create(
        operation=operation,
        step=Step.PROMOTE,
        number=3,
        lease_token="00000000-0000-7000-8000-000000000001",
        begun_at=promoted,
        ended_at=promoted,
        outcome=AttemptOutcome.DONE,
    )
    return operation
