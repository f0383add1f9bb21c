"""What people, the schedule and reviews ask of operations: request, approve, resume, hand over, roll back, cancel.

Whoever calls one of these rings the worker afterwards; the sweeper finds what was not rung for.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from access.actors import Actor, ActorKind
from access.rights import Right
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.models import Credential, CredentialVersion, Owner
from inventory.states import CredentialStatus
from lifecycle import plans
from lifecycle.actions.findings import LONGEST_REASON, refuse_secrets
from lifecycle.errors import (
    CredentialEnded,
    NoDelivery,
    NotAnOperator,
    NotAPerson,
    NothingOperable,
    NothingUnverified,
    OperationAlreadyOpen,
    OperationClosed,
    OperationNotProposed,
    OperationNotStalled,
    OperationRunning,
    PastTheWayBack,
    ProposedByRequester,
    ReasonMissing,
)
from lifecycle.models import Batch, Delivery, Obligation, Operation, Policy, StepAttempt
from lifecycle.states import OPERABLE, AttemptOutcome, OperationKind, OperationState, Proof, Step, Trigger


def may_operate(credential: Credential, actor: Actor) -> bool:
    """An operator and a part of Keyreeve anything, automation too; an owner what is theirs."""
    if actor.may_everywhere(Right.OPERATE):
        return True
    owner = credential.owner_id
    return owner is not None and Owner.objects.being(actor).filter(pk=owner).exists()


@action
def request_rotation(
    credential: Credential,
    *,
    actor: Actor,
    now: datetime,
    reason: str,
    trigger: Trigger = Trigger.PERSON,
    is_proposal: bool = False,
    policy: Policy | None = None,
    batch: Batch | None = None,
    idempotency_key: str = "",
) -> Operation:
    """Ask for a new version of a credential, delivered where its consumers read it.

    Raises NoDelivery where nobody said where that is, OperationAlreadyOpen, CredentialEnded, NothingOperable.
    A request that repeats an idempotency key of the same actor gives the operation that it gave before.
    """
    known = _known(actor, idempotency_key)
    if known is not None:
        return known
    row = _asked_of(credential, actor=actor, reason=reason)
    if row.connection.kind not in OPERABLE:
        raise NothingOperable
    delivery = Delivery.objects.filter(credential=row).first()
    if delivery is None:
        raise NoDelivery
    if policy is None:
        bound = Obligation.objects.filter(credential=row).select_related("policy").first()
        policy = bound.policy if bound is not None else None
    return _open(
        Operation(
            kind=OperationKind.ROTATION,
            state=OperationState.PROPOSED if is_proposal else OperationState.PENDING,
            step=plans.ROTATION[0],
            trigger=trigger,
            policy=policy,
            batch=batch,
            idempotency_key=idempotency_key,
            overlap=policy.overlap if policy is not None and policy.overlap is not None else plans.OVERLAP,
            quiet=delivery.quiet if delivery.quiet is not None else plans.QUIET,
        ),
        row,
        actor=actor,
        now=now,
        reason=reason,
    )


@action
def request_revocation(
    credential: Credential,
    *,
    actor: Actor,
    now: datetime,
    reason: str,
    is_urgent: bool = False,
    trigger: Trigger = Trigger.PERSON,
    is_proposal: bool = False,
    quiet: timedelta | None = None,
    batch: Batch | None = None,
    idempotency_key: str = "",
) -> Operation:
    """Ask for the end of a credential. Takes the place of a rotation that is open, and of a stalled or proposed one.

    Where no provider can be asked, it is by hand: a person does the steps and says so. Raises OperationAlreadyOpen
    for another revocation, unless this one is urgent and the other is not: then that one becomes urgent. `quiet` is how
    long it is suspended before it is destroyed, in place of the usual time.
    """
    known = _known(actor, idempotency_key)
    if known is not None:
        return known
    row = _asked_of(credential, actor=actor, reason=reason)
    open_one = Operation.objects.select_for_update(no_key=True).filter(credential=row, closed_at=None).first()
    if open_one is not None and open_one.kind == OperationKind.REVOCATION:
        if open_one.state != OperationState.PROPOSED and (open_one.is_urgent or not is_urgent):
            raise OperationAlreadyOpen
        return _hurry(open_one, actor=actor, now=now, reason=reason)
    if open_one is not None:
        supersede([open_one], actor=actor, now=now, reason=reason)
    return _open(
        Operation(
            kind=OperationKind.REVOCATION,
            state=OperationState.PROPOSED if is_proposal else OperationState.PENDING,
            step=plans.REVOCATION[0],
            is_urgent=is_urgent,
            by_hand=row.connection.kind not in OPERABLE,
            trigger=trigger,
            batch=batch,
            supersedes=open_one,
            idempotency_key=idempotency_key,
            overlap=timedelta(0),
            quiet=timedelta(0) if is_urgent else settings.REVOCATION_SETTLES_FOR if quiet is None else quiet,
        ),
        row,
        actor=actor,
        now=now,
        reason=reason,
    )


@action
def approve(operation: Operation, *, actor: Actor, now: datetime, reason: str = "") -> None:
    """Let a proposed operation begin. Whoever asked for it does not approve it; a token approves nothing."""
    refuse_secrets(reason)
    if not actor.may(Right.DECIDE_OPERATION) or actor.kind is ActorKind.TOKEN:
        raise NotAnOperator
    row = _locked(operation)
    if row.state != OperationState.PROPOSED:
        raise OperationNotProposed
    if row.requested_by_key == actor.key:
        raise ProposedByRequester
    _change(row, state=OperationState.PENDING, due_at=now, decided_by=actor.label[:200], decided_at=now)
    record(Event.OPERATION_APPROVED, actor=actor, subject=row, detail={"reason": reason})


@action
def decline(operation: Operation, *, actor: Actor, now: datetime, reason: str) -> None:
    say_why(reason)
    if not actor.may(Right.DECIDE_OPERATION):
        raise NotAnOperator
    row = _locked(operation)
    if row.state != OperationState.PROPOSED:
        raise OperationNotProposed
    _close(row, OperationState.CANCELLED, f"Declined: {reason}", now=now)
    Operation.objects.filter(pk=row.pk).update(decided_by=actor.label[:200], decided_at=now)
    record(Event.OPERATION_DECLINED, actor=actor, subject=row, detail={"reason": reason})


@action
def resume(operation: Operation, *, actor: Actor, now: datetime, reason: str) -> None:
    """Try the step of a stalled operation again, with as many attempts as a new one has."""
    say_why(reason)
    row = _locked(operation)
    _permitted(row, actor)
    if row.state != OperationState.STALLED:
        raise OperationNotStalled
    _change(row, state=OperationState.PENDING, due_at=now, stalled_at=None, attempts=0, error="")
    record(Event.OPERATION_RESUMED, actor=actor, subject=row, detail={"step": row.step, "reason": reason})


@action
def hand_over(operation: Operation, to: Owner | None, *, actor: Actor, now: datetime, reason: str = "") -> None:
    """Say who sees to an operation. It goes on as it did."""
    refuse_secrets(reason)
    row = _locked(operation)
    _permitted(row, actor)
    previous = row.assigned_to
    Operation.objects.filter(pk=row.pk).update(assigned_to=to)  # a worker that is at it goes on
    detail = {"from": str(previous) if previous else None, "to": str(to) if to else None, "reason": reason}
    record(Event.OPERATION_ASSIGNED, actor=actor, subject=row, detail=detail)


@action
def cancel(operation: Operation, *, actor: Actor, now: datetime, reason: str) -> None:
    """End an operation that has not done anything yet; a rotation that has issued something goes the way back.

    Raises PastTheWayBack once something was done that cannot be undone, and OperationRunning while a worker is at it.
    """
    say_why(reason)
    row = _locked(operation)
    _permitted(row, actor)
    if row.is_running(now):
        raise OperationRunning
    if row.step in plans.FINAL_STEPS or row.is_rolling_back or row.proof != Proof.NONE:
        raise PastTheWayBack
    begun = StepAttempt.objects.filter(operation=row).exclude(intent={})
    if row.kind == OperationKind.ROTATION and (row.step != Step.ISSUE or begun.exists()):
        # What was issued, also by an attempt that nobody knows the end of, is looked for on the way back.
        _turn_back(row, actor=actor, now=now, reason=reason)
        return
    if row.kind == OperationKind.REVOCATION and (row.step not in {Step.SNAPSHOT, Step.SUSPEND} or begun.exists()):
        raise PastTheWayBack
    _close(row, OperationState.CANCELLED, reason, now=now)
    record(Event.OPERATION_CANCELLED, actor=actor, subject=row, detail={"step": row.step, "reason": reason})


@action
def look_again(operation: Operation, *, actor: Actor, now: datetime, reason: str = "") -> None:
    """Have a worker ask the provider once more whether what nobody could tell of is refused.

    Raises NothingUnverified for what is not so, and NothingOperable where no provider can be asked.
    """
    (row,) = in_order(Operation.objects.select_related("credential").filter(pk=operation.pk))
    _permitted(row, actor)
    if row.state != OperationState.COMPLETED or row.proof != Proof.UNVERIFIABLE:
        raise NothingUnverified
    if row.by_hand:
        raise NothingOperable("No provider can be asked about it. Say what you saw where it is used.")
    Operation.objects.filter(pk=row.pk).update(look_at=now, attempts=0)
    record(Event.OPERATION_LOOK_REQUESTED, actor=actor, subject=row, detail={"reason": reason})


@action
def seen_refused(operation: Operation, *, actor: Actor, now: datetime, reason: str) -> None:
    """Say how somebody saw refused what Keyreeve itself could not see. `reason` is what was seen, by name."""
    say_why(reason)
    (row,) = in_order(Credential.objects.filter(pk=operation.credential_id))
    (found,) = in_order(Operation.objects.select_related("credential").filter(pk=operation.pk))
    if not may_operate(row, actor):
        raise NotAnOperator
    if actor.kind is not ActorKind.USER:
        raise NotAPerson
    if found.state != OperationState.COMPLETED or found.proof != Proof.UNVERIFIABLE:
        raise NothingUnverified
    said = f"{actor.label} saw it refused: {reason}"
    Operation.objects.filter(pk=found.pk).update(
        proof=Proof.VERIFIED,
        proof_reason=said,
        verify_by=None,
        look_at=None,
        refused_at=found.refused_at or now,
        lease_token=None,
        lease_until=None,
    )
    if found.kind == OperationKind.REVOCATION:
        CredentialVersion.objects.filter(credential=row, destroyed_at=None).update(destroyed_at=now, is_current=False)
        Credential.objects.filter(pk=row.pk).update(status=CredentialStatus.DESTROYED)
    elif found.old_version_id is not None:
        old = CredentialVersion.objects.filter(pk=found.old_version_id, destroyed_at=None, is_current=False)
        old.update(destroyed_at=now)
    record(Event.OPERATION_VERIFIED, actor=actor, subject=found, detail={"said": said})


def supersede(
    rows: Sequence[Operation], *, actor: Actor, now: datetime, reason: str, said: Mapping[str, Any] | None = None
) -> None:
    """Part of the action that puts revocations in the place of these operations. `said` is what else is recorded."""
    keys = [row.pk for row in rows]
    why = f"A revocation takes its place: {reason}"
    Operation.objects.filter(pk__in=keys).update(**closed(OperationState.SUPERSEDED, why, now=now))
    StepAttempt.objects.filter(operation__in=keys, ended_at=None).update(
        ended_at=now,
        outcome=AttemptOutcome.LOST,
        said="A revocation takes its place, and looks for what this had done.",
    )
    for row in rows:
        record(Event.OPERATION_SUPERSEDED, actor=actor, subject=row, detail={**(said or {}), "reason": reason})


def _turn_back(row: Operation, *, actor: Actor, now: datetime, reason: str) -> None:
    if row.is_rolling_back:
        raise PastTheWayBack
    _change(
        row,
        is_rolling_back=True,
        step=plans.ROLL_BACK[0],
        step_at=now,
        state=OperationState.PENDING,
        due_at=now,
        stalled_at=None,
        attempts=0,
        error="",
        waits_for="",
        closed_reason=reason,
    )
    record(Event.OPERATION_ROLLED_BACK, actor=actor, subject=row, detail={"step": row.step, "reason": reason})


# ── Rows ───────────────────────────────────────────────────────────────────────────────────────


def _known(actor: Actor, idempotency_key: str) -> Operation | None:
    if not idempotency_key:
        return None
    return Operation.objects.filter(requested_by_key=actor.key, idempotency_key=idempotency_key).first()


def say_why(reason: str) -> None:
    """Raises ReasonMissing, and HoldsSecret: people read a reason, and the audit trail keeps it."""
    if not reason.strip() or len(reason) > LONGEST_REASON:
        raise ReasonMissing
    refuse_secrets(reason)


def _asked_of(credential: Credential, *, actor: Actor, reason: str) -> Credential:
    """The credential, locked, once it is known that this may be asked of it."""
    say_why(reason)
    (row,) = in_order(Credential.objects.select_related("connection").filter(pk=credential.pk))
    if not may_operate(row, actor):
        raise NotAnOperator
    if not row.is_live:
        raise CredentialEnded
    return row


def _open(operation: Operation, row: Credential, *, actor: Actor, now: datetime, reason: str) -> Operation:
    operation.credential, operation.connection = row, row.connection
    operation.reason, operation.requested_by, operation.requested_by_key = reason, actor.label[:200], actor.key
    operation.requested_at = operation.step_at = now
    operation.due_at = now if operation.state == OperationState.PENDING else None
    operation.old_version = CredentialVersion.objects.filter(credential=row, is_current=True).first()
    try:
        with transaction.atomic():
            operation.save(force_insert=True)
    except IntegrityError as exc:
        if "operation_one_open_per_credential" not in str(exc):
            raise
        raise OperationAlreadyOpen from exc
    event = Event.OPERATION_PROPOSED if operation.state == OperationState.PROPOSED else Event.OPERATION_REQUESTED
    detail = {"kind": operation.kind, "credential": row.name, "trigger": operation.trigger, "reason": reason}
    record(event, actor=actor, subject=operation, detail=detail)
    return operation


def _hurry(row: Operation, *, actor: Actor, now: datetime, reason: str) -> Operation:
    """An open revocation becomes urgent, or a proposed one begins; its journal stays."""
    free = not row.is_running(now)
    changes = {"is_urgent": True, "quiet": timedelta(0)}
    if free and row.state != OperationState.STALLED:
        changes |= {"state": OperationState.PENDING, "due_at": now, "waits_for": ""}
    Operation.objects.filter(pk=row.pk).update(**changes)
    record(Event.OPERATION_REQUESTED, actor=actor, subject=row, detail={"urgent": True, "reason": reason})
    row.refresh_from_db()
    return row


def _locked(operation: Operation) -> Operation:
    (row,) = in_order(Operation.objects.select_related("credential", "assigned_to").filter(pk=operation.pk))
    if row.closed_at is not None:
        raise OperationClosed
    return row


def _permitted(row: Operation, actor: Actor) -> None:
    if not may_operate(row.credential, actor):
        raise NotAnOperator


def _change(row: Operation, **values: object) -> None:
    """What a person changes fences a worker off: its lease no longer fits."""
    Operation.objects.filter(pk=row.pk).update(**{"lease_token": None, "lease_until": None, **values})


def closed(state: OperationState, why: str, *, now: datetime) -> dict[str, Any]:
    """What an operation that ends so is from now on. No lease fits it, so what its worker still writes is refused."""
    return {
        "state": state,
        "closed_at": now,
        "closed_reason": why,
        "due_at": None,
        "stalled_at": None,
        "lease_token": None,
        "lease_until": None,
    }


def _close(row: Operation, state: OperationState, why: str, *, now: datetime, **values: object) -> None:
    _change(row, **closed(state, why, now=now), **values)
