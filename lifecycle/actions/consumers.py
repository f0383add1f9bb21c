"""Consumers of a rotation say that they use the new version; people extend the overlap, or end it all the same.

Whoever calls one of these rings the worker afterwards.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Q

from access.actors import Actor
from access.rights import Right
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.models import McpClient
from lifecycle.actions.findings import as_seen, refuse_secrets, why_of
from lifecycle.actions.requests import may_operate
from lifecycle.errors import (
    ConsumerUnknown,
    ExtendedTooFar,
    NotAnOperator,
    NothingToAcknowledge,
    OperationClosed,
    OverlapEnded,
)
from lifecycle.models import Acknowledgement, Operation
from lifecycle.models.consumers import Consumer, consumers_of, promoted_at
from lifecycle.states import Acknowledged, OperationState, Step

__all__ = ["acknowledge", "consumers_of", "extend", "note_seen", "retire_anyway"]

LONGEST_NAME = 300
LONGEST_EXTENSION = timedelta(days=90)


@action
def acknowledge(
    operation: Operation,
    consumer: McpClient | str,
    *,
    how: Acknowledged = Acknowledged.PERSON,
    actor: Actor,
    now: datetime,
) -> Acknowledgement:
    """Say that a consumer uses the new version. Saying it again changes nothing.

    A name that a known consumer has means that one. Operators and automation say it of anybody, an owner of what is
    theirs: the credential, or the client.
    """
    row = _locked(operation)
    client = consumer if isinstance(consumer, McpClient) else None
    name = client.name if client is not None else as_seen(str(consumer))[:LONGEST_NAME]
    if client is None:
        refuse_secrets(name)
        if not name:
            raise ConsumerUnknown
        client = _known_as(row, name)
        name = client.name if client is not None else name
    if not may_operate(row.credential, actor) and not (
        client is not None and McpClient.objects.answered_for_by(actor).filter(pk=client.pk).exists()
    ):
        raise NotAnOperator
    if row.is_rolling_back or promoted_at(row) is None:
        raise NothingToAcknowledge
    which = Q(client=client) if client is not None else Q(client=None, consumer=name)
    known = Acknowledgement.objects.filter(which, operation=row).first()
    if known is not None:
        return known
    said = Acknowledgement(
        operation=row,
        client=client,
        consumer=name,
        how=how,
        said_by=actor.label[:200],
        acknowledged_at=now,
    )
    said.save(force_insert=True)
    record(Event.OPERATION_ACKNOWLEDGED, actor=actor, subject=row, detail={"consumer": name, "how": str(how)})
    _look_again(row, now)
    return said


@action
def note_seen(operation: Operation, consumers: Iterable[Consumer], *, now: datetime) -> None:
    """Write down who was seen to have moved, so that it stays known whatever their configuration says later."""
    seen = [each for each in consumers if each.how == Acknowledged.SEEN and each.client_id is not None]
    if not seen:
        return
    clients = {each.client_id for each in seen}
    known = set(
        Acknowledgement.objects.filter(operation=operation, client__in=clients).values_list("client", flat=True)
    )
    for each in seen:
        if each.client_id in known:
            continue
        _, is_new = Acknowledgement.objects.get_or_create(
            operation=operation,
            client_id=each.client_id,
            defaults={
                "consumer": each.name[:LONGEST_NAME],
                "how": Acknowledged.SEEN,
                "said_by": each.evidence[:200],
                "acknowledged_at": each.at or now,
            },
        )
        if is_new:
            detail = {"consumer": each.name, "how": Acknowledged.SEEN.value, "seen": each.evidence}
            record(Event.OPERATION_ACKNOWLEDGED, actor=Actor.system("operations"), subject=operation, detail=detail)


@action
def extend(operation: Operation, until: datetime, *, actor: Actor, now: datetime, reason: str) -> None:
    """Give consumers more time: before `until` silence alone ends the overlap no more, and nobody is asked again."""
    reason = why_of(reason)
    row = _in_overlap(operation, actor)
    if not now < until <= now + LONGEST_EXTENSION:
        raise ExtendedTooFar
    before = row.extended_until
    _go_on(row, now, extended_until=until)
    detail = {"from": before.isoformat() if before else None, "to": until.isoformat(), "reason": reason}
    record(Event.OPERATION_EXTENDED, actor=actor, subject=row, detail=detail)


@action
def retire_anyway(operation: Operation, *, actor: Actor, now: datetime, reason: str) -> None:
    """End the overlap though not every consumer is known to have moved. An operator answers for it by name."""
    reason = why_of(reason)
    if not actor.may(Right.DECIDE_OPERATION):
        raise NotAnOperator
    row = _in_overlap(operation, actor)
    missing = [each.name for each in consumers_of(row) if not each.has_moved]
    _go_on(row, now, step=Step.SUSPEND_OLD, step_at=now, waits_for="")
    record(
        Event.OPERATION_OVERLAP_ENDED, actor=actor, subject=row, detail={"not_moved": missing[:50], "reason": reason}
    )


# ── Rows ───────────────────────────────────────────────────────────────────────────────────────


def _locked(operation: Operation) -> Operation:
    (row,) = in_order(Operation.objects.select_related("credential").filter(pk=operation.pk))
    if row.closed_at is not None:
        raise OperationClosed
    return row


def _in_overlap(operation: Operation, actor: Actor) -> Operation:
    row = _locked(operation)
    if not may_operate(row.credential, actor):
        raise NotAnOperator
    if row.step != Step.OVERLAP or row.is_rolling_back:
        raise OverlapEnded
    return row


def _known_as(row: Operation, name: str) -> McpClient | None:
    called = {each.name.casefold(): each.client_id for each in consumers_of(row) if each.client_id is not None}
    client_id = called.get(name.casefold())
    return McpClient.objects.filter(pk=client_id).first() if client_id is not None else None


def _look_again(row: Operation, now: datetime) -> None:
    """Have a worker judge anew. A stalled one goes on only when nobody is waited for any more."""
    if row.step != Step.OVERLAP or row.is_rolling_back:
        return
    if row.state in {OperationState.WAITING, OperationState.PENDING}:
        Operation.objects.filter(pk=row.pk).update(due_at=now)  # a worker that is at it goes on
    elif row.state == OperationState.STALLED and all(each.has_moved for each in consumers_of(row)):
        _go_on(row, now)


def _go_on(row: Operation, now: datetime, **values: object) -> None:
    """The next worker takes it up at once; one that is at it is fenced off."""
    Operation.objects.filter(pk=row.pk).update(
        **{
            "state": OperationState.PENDING,
            "due_at": now,
            "stalled_at": None,
            "attempts": 0,
            "error": "",
            "lease_token": None,
            "lease_until": None,
            **values,
        }
    )
