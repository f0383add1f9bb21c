"""Many operations at once: a kill switch, a choice by hand, what a leaver leaves; and rehearsals without effect.

What is asked for is written down first, one item for each credential. Items become operations in small transactions
of their own, so whoever goes on after a crash finds exactly those that are left. Whoever calls one of these rings the
worker afterwards; the sweeper finds what was not rung for.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db import connection as database
from django.db.models import F, Q, Sum

from access.actors import Actor, ActorKind
from access.models import User
from access.rights import Right
from access.roles import Role
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.models import Credential, CredentialVersion, Owner
from inventory.models.base import new_keys
from lifecycle import plans
from lifecycle.actions.findings import refuse_secrets
from lifecycle.actions.requests import closed, say_why, supersede
from lifecycle.errors import (
    BatchByRequester,
    BatchEnded,
    BatchNotHalted,
    BatchNotRunning,
    BatchNotWaiting,
    BatchTooLarge,
    KeyOfAnotherRequest,
    LateNeedsAnother,
    NotAnOperator,
    NothingBehind,
)
from lifecycle.models import Batch, BatchItem, Delivery, Operation
from lifecycle.models.reports import is_done, items_of, keys_in, open_stalled, progress, report_of
from lifecycle.models.scopes import MOST, Scope, behind, limits, preview
from lifecycle.states import (
    BATCH_CLOSED,
    ITEM_OPEN,
    OPERABLE,
    BatchKind,
    BatchState,
    ItemState,
    OperationKind,
    OperationState,
    ScopeKind,
    Step,
    Trigger,
)

AT_ONCE = 500  # items that become operations in one transaction
WAVE = 20  # of a batch that is not urgent: so many are open at one time, the least critical environment first
# What one person asked for within a day without approval counts together, so nobody halves a scope to be alone with it.
COUNTED_TOGETHER = timedelta(days=1)
TRIGGERS = {
    BatchKind.BULK: Trigger.PERSON,
    BatchKind.KILL_SWITCH: Trigger.KILL_SWITCH,
    BatchKind.LEAVER: Trigger.LEAVER,
}
LOOKS = (Step.SNAPSHOT, Step.SUSPEND, Step.ISSUE)  # at these an operation that had no attempt has done nothing


# ── Asking ─────────────────────────────────────────────────────────────────────────────────────


@action
def request_batch(
    scope: Scope,
    *,
    actor: Actor,
    now: datetime,
    reason: str,
    kind: BatchKind = BatchKind.KILL_SWITCH,
    operation_kind: OperationKind = OperationKind.REVOCATION,
    is_urgent: bool = True,
    idempotency_key: str = "",
    parent: Batch | None = None,
) -> Batch:
    """Ask for the end, or the rotation, of what lies behind a scope. It begins at once unless a second person approves.

    An operator and automation ask for anything, an owner for chosen credentials of theirs. Raises NothingBehind,
    BatchTooLarge, KeyOfAnotherRequest. The same key of the same actor gives the batch that it gave before.
    """
    known = _known(actor, idempotency_key, scope)
    if known is not None:
        return known
    say_why(reason)
    keys = _asked_for(scope, actor)
    seen = preview(keys, now=now)
    why = why_approval(seen, actor=actor, now=now)
    batch = Batch(
        kind=kind,
        state=BatchState.REQUESTED if why else BatchState.RUNNING,
        operation_kind=operation_kind,
        is_urgent=is_urgent and operation_kind == OperationKind.REVOCATION,
        scope=scope.as_json(),
        scope_key="" if parent is not None else scope.key,
        size=len(keys),
        parent=parent,
        preview=seen,
        needs_approval=bool(why),
        approval_reason=why,
        reason=reason,
        requested_by=actor.label[:200],
        requested_by_key=actor.key,
        requested_at=now,
        begun_at=None if why else now,
        idempotency_key=idempotency_key,
    )
    try:
        with transaction.atomic():
            batch.save(force_insert=True)
    except IntegrityError as exc:
        if "batch_one_per_idempotency_key" not in str(exc):
            raise
        return _known(actor, idempotency_key, scope) or batch
    _add_items(batch, keys)
    detail = {**_scope_said(scope), "credentials": len(keys), "kind": operation_kind.value, "urgent": batch.is_urgent}
    record(Event.BATCH_REQUESTED, actor=actor, subject=batch, detail={**detail, "approval": why, "reason": reason})
    return batch


def _scope_said(scope: Scope) -> dict[str, Any]:
    return {"scope": scope.kind.value, "of": scope.label or scope.id}


def _known(actor: Actor, key: str, scope: Scope) -> Batch | None:
    if not key:
        return None
    found = Batch.objects.filter(requested_by_key=actor.key, idempotency_key=key).first()
    if found is not None and Scope.of(found.scope).key != scope.key:
        raise KeyOfAnotherRequest
    return found


def _asked_for(scope: Scope, actor: Actor) -> list[UUID]:
    keys = reachable(scope, actor)
    if not keys:
        raise NothingBehind
    return keys


def reachable(scope: Scope, actor: Actor) -> list[UUID]:
    """The keys of what this actor may ask for behind a scope. Raises NotAnOperator and BatchTooLarge."""
    keys = behind(scope, actor)
    if len(keys) > MOST:
        raise BatchTooLarge
    if not actor.may_everywhere(Right.REVOKE_MANY):
        own = Credential.objects.filter(pk__in=keys, owner__in=Owner.objects.being(actor).values("pk"))
        if scope.kind is not ScopeKind.CREDENTIALS or own.count() != len(keys):
            raise NotAnOperator
    return keys


def why_approval(seen: Mapping[str, Any], *, actor: Actor, now: datetime) -> str:
    """Why a second person approves this, in a sentence; empty where one is enough."""
    most = limits()
    if most.second_person_in_production and seen["in_production"]:
        return f"{seen['in_production']} of them serve production."
    if most.second_person_from is None:
        return ""
    before = _alone_before(actor, now)
    if seen["credentials"] >= most.second_person_from:
        return f"It is about {seen['credentials']} credentials; from {most.second_person_from} on two people decide."
    if seen["credentials"] + before >= most.second_person_from:
        return (
            f"With the {before} that you asked for within a day it is about {seen['credentials'] + before} "
            f"credentials; from {most.second_person_from} on two people decide."
        )
    return ""


def _alone_before(actor: Actor, now: datetime) -> int:
    own = Batch.objects.filter(
        requested_by_key=actor.key,
        requested_at__gt=now - COUNTED_TOGETHER,
        needs_approval=False,
        is_drill=False,
        begun_at__isnull=False,
    )
    return int(own.exclude(kind=BatchKind.LEAVER, parent=None).aggregate(all=Sum("size"))["all"] or 0)


def _add_items(batch: Batch, keys: Collection[UUID], *, is_late: bool = False) -> int:
    with database.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO lifecycle_batchitem (batch_id, credential_id, part, state, rank, is_late, suggestion, said,
              decided_by)
            SELECT %(batch)s, c.id, '', %(state)s, coalesce(e.criticality, 1), %(late)s, '', '', ''
            FROM inventory_credential c LEFT JOIN inventory_environment e ON e.id = c.environment_id
            WHERE c.id = ANY (%(keys)s) ORDER BY c.id
            ON CONFLICT DO NOTHING""",
            {"batch": batch.pk, "state": ItemState.WAITING.value, "late": is_late, "keys": list(keys)},
        )
        added: int = cursor.rowcount
        return added


# ── Two people ─────────────────────────────────────────────────────────────────────────────────


@action
def approve_batch(batch: Batch, *, actor: Actor, now: datetime, reason: str = "") -> None:
    """Let it begin. Whoever asked for it does not approve it; a token and a scheduled job approve nothing."""
    refuse_secrets(reason)
    row = _to_decide(batch, actor)
    _decide(row, BatchState.RUNNING, actor=actor, now=now, reason=reason, begun_at=now)
    record(Event.BATCH_APPROVED, actor=actor, subject=row, detail={"credentials": row.size, "reason": reason})


@action
def decline_batch(batch: Batch, *, actor: Actor, now: datetime, reason: str) -> None:
    say_why(reason)
    row = _to_decide(batch, actor)
    _decide(row, BatchState.DECLINED, actor=actor, now=now, reason=reason, ended_at=now)
    _cancel_waiting(row)
    record(Event.BATCH_DECLINED, actor=actor, subject=row, detail={"reason": reason})


def _to_decide(batch: Batch, actor: Actor) -> Batch:
    if not actor.may(Right.DECIDE_MANY) or actor.kind is not ActorKind.USER:
        raise NotAnOperator
    row = locked(batch)
    if row.state != BatchState.REQUESTED:
        raise BatchNotWaiting
    if row.requested_by_key == actor.key:
        raise BatchByRequester
    return row


def _decide(row: Batch, state: BatchState, *, actor: Actor, now: datetime, reason: str, **values: Any) -> None:
    Batch.objects.filter(pk=row.pk).update(
        state=state,
        decided_by=actor.label[:200],
        decided_by_key=actor.key,
        decided_at=now,
        decision_reason=reason,
        **values,
    )


def approvers(batch: Batch) -> int:
    """How many people other than whoever asked could approve it."""
    may = User.objects.filter(is_active=True, groups__name__in=[Role.OPERATOR, Role.ADMINISTRATOR]).distinct()
    kind, _, own = batch.requested_by_key.partition(":")
    return may.exclude(pk=own).count() if kind == ActorKind.USER and own.isdecimal() else may.count()


# ── Running ────────────────────────────────────────────────────────────────────────────────────


@action
def open_next(batch: Batch, *, actor: Actor, now: datetime) -> list[UUID] | None:
    """Turn the next items of a running batch into operations; their keys, to ring for. None: there is nothing to do.

    Two workers at it wait for each other at the first credential, and the second one finds those items done.
    """
    state, is_urgent = Batch.objects.values_list("state", "is_urgent").get(pk=batch.pk)
    if state != BatchState.RUNNING:
        return None
    room = AT_ONCE if is_urgent else min(AT_ONCE, max(0, WAVE - open_stalled(batch)[0]))
    waiting = items_of(batch).filter(state=ItemState.WAITING).order_by("rank", "pk")[:room]
    named = dict(waiting.values_list("pk", "credential_id"))
    if not named:
        return None
    credentials = {
        row.pk: row for row in in_order(Credential.objects.select_related("connection").filter(pk__in=named.values()))
    }
    open_ones = {
        row.credential_id: row for row in in_order(Operation.objects.open().filter(credential__in=credentials))
    }
    row = locked(batch)
    if row.state != BatchState.RUNNING:
        return None
    still = in_order(items_of(row).filter(pk__in=named, state=ItemState.WAITING))
    return _Opening(row, credentials, open_ones, actor=actor, now=now).of(still)


class _Opening:
    """One chunk of items, with everything that it touches locked."""

    def __init__(
        self,
        batch: Batch,
        credentials: Mapping[Any, Credential],
        open_ones: Mapping[Any, Operation],
        *,
        actor: Actor,
        now: datetime,
    ) -> None:
        self.batch, self.credentials, self.open_ones = batch, credentials, open_ones
        self.actor, self.now = actor, now
        self.said = {"batch": str(batch.pk), "reason": batch.reason, "asked_by": batch.requested_by}

    def of(self, items: Sequence[BatchItem]) -> list[UUID]:
        delivered = self._delivered()
        versions = self._versions()
        skipped: list[tuple[UUID, str]] = []
        taken: list[tuple[UUID, UUID]] = []  # item, operation that is open already
        superseded: list[Operation] = []
        hurried: list[Operation] = []
        fresh: list[tuple[UUID, Operation]] = []
        for item in items:
            credential = self.credentials[item.credential_id]
            open_one = self.open_ones.get(credential.pk)
            why_not = self._why_not(credential, open_one, delivered)
            if why_not:
                skipped.append((item.pk, why_not))
            elif open_one is not None and open_one.kind == OperationKind.REVOCATION:
                taken.append((item.pk, open_one.pk))
                hurried.append(open_one)
            else:
                if open_one is not None:
                    superseded.append(open_one)
                fresh.append((item.pk, self._operation(credential, open_one, versions.get(credential.pk), delivered)))
        supersede(superseded, actor=self.actor, now=self.now, reason=self.batch.reason, said=self.said)
        self._hurry(hurried)
        # A bulk insert does not give back the keys that the database makes, so they are made before it.
        for (_, operation), key in zip(fresh, new_keys(len(fresh)), strict=True):
            operation.pk = key
        for operation in Operation.objects.bulk_create([operation for _, operation in fresh]):
            record(Event.OPERATION_REQUESTED, actor=self.actor, subject=operation, detail=self._detail(operation))
        opened = [(item, operation.pk) for item, operation in fresh]
        _set_opened([*opened, *taken])
        _set_skipped(skipped)
        return [key for _, key in (*opened, *taken)]

    def _delivered(self) -> dict[Any, Delivery]:
        if self.batch.operation_kind != OperationKind.ROTATION:
            return {}
        return {row.credential_id: row for row in Delivery.objects.filter(credential__in=self.credentials)}

    def _versions(self) -> dict[Any, CredentialVersion]:
        current = CredentialVersion.objects.filter(credential__in=self.credentials, is_current=True)
        return {row.credential_id: row for row in current}

    def _why_not(self, credential: Credential, open_one: Operation | None, delivered: Mapping[Any, Delivery]) -> str:
        if not credential.is_live:
            return "It had ended before its turn came."
        if self.batch.operation_kind == OperationKind.REVOCATION:
            return ""
        if open_one is not None:
            return f"Another operation on it was open: {open_one.get_kind_display().lower()}."
        if credential.connection.kind not in OPERABLE:
            return "No provider can be asked to rotate it; it is rotated by hand."
        return "" if credential.pk in delivered else "Nobody has said where its new secret goes."

    def _operation(
        self,
        credential: Credential,
        instead_of: Operation | None,
        version: CredentialVersion | None,
        delivered: Mapping[Any, Delivery],
    ) -> Operation:
        batch, now = self.batch, self.now
        is_rotation = batch.operation_kind == OperationKind.ROTATION
        quiet = settings.REVOCATION_SETTLES_FOR if not batch.is_urgent else timedelta(0)
        if is_rotation:
            chosen = delivered[credential.pk].quiet
            quiet = chosen if chosen is not None else plans.QUIET
        return Operation(
            kind=batch.operation_kind,
            credential=credential,
            connection=credential.connection,
            state=OperationState.PENDING,
            step=plans.PLANS[batch.operation_kind][0],
            is_urgent=batch.is_urgent,
            by_hand=credential.connection.kind not in OPERABLE,
            trigger=TRIGGERS[BatchKind(batch.kind)],
            reason=batch.reason,
            requested_by=batch.requested_by,
            requested_by_key=batch.requested_by_key,
            requested_at=now,
            batch=batch,
            supersedes=instead_of,
            old_version=version,
            overlap=plans.OVERLAP if is_rotation else timedelta(0),
            quiet=quiet,
            step_at=now,
            due_at=now,
        )

    def _detail(self, operation: Operation) -> dict[str, Any]:
        return {
            "kind": operation.kind,
            "credential": operation.credential.name,
            "trigger": operation.trigger,
            **self.said,
        }

    def _hurry(self, rows: Sequence[Operation]) -> None:
        """Revocations that are open go on: a proposed or stalled one begins again, and all are urgent if this is."""
        if self.batch.is_urgent:
            slow = [row for row in rows if not row.is_urgent]
            Operation.objects.filter(pk__in=[row.pk for row in slow]).update(is_urgent=True, quiet=timedelta(0))
            waits = [row.pk for row in slow if row.state == OperationState.WAITING and not row.is_running(self.now)]
            Operation.objects.filter(pk__in=waits).update(due_at=self.now, waits_for="")
            for row in slow:
                record(Event.OPERATION_REQUESTED, actor=self.actor, subject=row, detail={"urgent": True, **self.said})
        held = [row for row in rows if row.state in {OperationState.PROPOSED, OperationState.STALLED}]
        Operation.objects.filter(pk__in=[row.pk for row in held]).update(
            state=OperationState.PENDING,
            due_at=self.now,
            stalled_at=None,
            attempts=0,
            error="",
            lease_token=None,
            lease_until=None,
        )
        for row in held:
            record(Event.OPERATION_RESUMED, actor=self.actor, subject=row, detail={"step": row.step, **self.said})


def _set_opened(pairs: Sequence[tuple[UUID, UUID]]) -> None:
    with database.cursor() as cursor:
        cursor.execute(
            """
            UPDATE lifecycle_batchitem i SET state = %(state)s, operation_id = n.operation
            FROM unnest(%(items)s::uuid[], %(operations)s::uuid[]) AS n (item, operation) WHERE i.id = n.item""",
            {
                "state": ItemState.OPENED.value,
                "items": [item for item, _ in pairs],
                "operations": [operation for _, operation in pairs],
            },
        )


def _set_skipped(pairs: Sequence[tuple[UUID, str]]) -> None:
    with database.cursor() as cursor:
        cursor.execute(
            """
            UPDATE lifecycle_batchitem i SET state = %(state)s, said = n.said
            FROM unnest(%(items)s::uuid[], %(said)s::text[]) AS n (item, said) WHERE i.id = n.item""",
            {
                "state": ItemState.SKIPPED.value,
                "items": [item for item, _ in pairs],
                "said": [said for _, said in pairs],
            },
        )


@action
def settle(batch: Batch, *, actor: Actor, now: datetime) -> bool:
    """Halt a batch whose operations give up, or close one whose last operation has ended; whether anything changed."""
    row = locked(batch, may_be_closed=True)
    if row.state not in {BatchState.RUNNING, BatchState.HALTED, BatchState.DECIDING} or row.is_drill:
        return False
    counts = progress(row)
    if row.state == BatchState.RUNNING and not row.is_urgent:
        most = limits().halted_after
        if counts.get("stalled", 0) >= most and counts.get("waiting"):
            why = f"{counts['stalled']} of its operations have stalled; {most} are enough to stop and look."
            Batch.objects.filter(pk=row.pk).update(state=BatchState.HALTED, halted_reason=why)
            record(Event.BATCH_HALTED, actor=actor, subject=row, detail={"reason": why})
            return True
    if not is_done(counts) or Batch.objects.open().filter(parent=row).exists():
        return False
    only_cancelled = bool(counts) and set(counts) <= {"cancelled"}
    _close(row, BatchState.CANCELLED if only_cancelled else BatchState.COMPLETED, actor=actor, now=now)
    return True


def _close(row: Batch, state: BatchState, *, actor: Actor, now: datetime) -> None:
    report = report_of(row, now=now)
    digest = digest_of(report)
    Batch.objects.filter(pk=row.pk).update(state=state, ended_at=now, report=report, digest=digest)
    event = Event.BATCH_CANCELLED if state == BatchState.CANCELLED else Event.BATCH_COMPLETED
    detail = {**report["counts"], "longest_seconds": report["seconds_to_refused"]["longest"], "digest": digest}
    record(event, actor=actor, subject=row, detail=detail)


def digest_of(report: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(report, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


# ── What people do with one that runs ──────────────────────────────────────────────────────────


@action
def halt_batch(batch: Batch, *, actor: Actor, now: datetime, reason: str) -> None:
    """Begin no more of it. What has begun goes on."""
    say_why(reason)
    row = _steered(batch, actor)
    if row.state != BatchState.RUNNING:
        raise BatchNotRunning
    Batch.objects.filter(pk=row.pk).update(state=BatchState.HALTED, halted_reason=reason)
    record(Event.BATCH_HALTED, actor=actor, subject=row, detail={"reason": reason})


@action
def resume_batch(batch: Batch, *, actor: Actor, now: datetime, reason: str) -> None:
    """Go on, and try again what has stalled: else the same ones would halt it at once."""
    say_why(reason)
    items = BatchItem.objects.filter(batch=batch, operation__state=OperationState.STALLED)
    held = in_order(Operation.objects.filter(pk__in=items.values("operation")))
    row = _steered(batch, actor)
    if row.state != BatchState.HALTED:
        raise BatchNotHalted
    Operation.objects.filter(pk__in=[each.pk for each in held]).update(
        state=OperationState.PENDING, due_at=now, stalled_at=None, attempts=0, error=""
    )
    for each in held:
        record(Event.OPERATION_RESUMED, actor=actor, subject=each, detail={"step": each.step, "reason": reason})
    Batch.objects.filter(pk=row.pk).update(state=BatchState.RUNNING, halted_reason="")
    record(Event.BATCH_RESUMED, actor=actor, subject=row, detail={"resumed": len(held), "reason": reason})


@action
def cancel_rest(batch: Batch, *, actor: Actor, now: datetime, reason: str) -> int:
    """Cancel what has done nothing yet; how many. What has begun goes on to its end, and the batch ends with it."""
    say_why(reason)
    mine = BatchItem.objects.filter(batch=batch, state=ItemState.OPENED).values("operation")
    untouched = Operation.objects.open().filter(
        Q(lease_until=None) | Q(lease_until__lte=now), pk__in=mine, batch=batch, attempts=0, step__in=LOOKS
    )
    found = in_order(untouched)
    row = _steered(batch, actor)
    ended = closed(OperationState.CANCELLED, reason, now=now)
    Operation.objects.filter(pk__in=[each.pk for each in found]).update(**ended)
    for each in found:
        record(Event.OPERATION_CANCELLED, actor=actor, subject=each, detail={"step": each.step, "reason": reason})
    number = _cancel_waiting(row) + len(found)
    record(Event.BATCH_CANCELLED, actor=actor, subject=row, detail={"cancelled": number, "reason": reason})
    if row.state == BatchState.REQUESTED:
        Batch.objects.filter(pk=row.pk).update(state=BatchState.CANCELLED, ended_at=now, halted_reason=reason)
    elif is_done(progress(row)):
        _close(
            row, BatchState.COMPLETED if progress(row).get("verified") else BatchState.CANCELLED, actor=actor, now=now
        )
    return number


def _cancel_waiting(row: Batch) -> int:
    return items_of(row).filter(state__in=ITEM_OPEN).update(state=ItemState.CANCELLED)


def late(batch: Batch, actor: Actor) -> list[UUID]:
    """What lies behind the scope now and is not in the batch."""
    scope = Scope.of(batch.scope)
    if batch.ended_at is not None or batch.state == BatchState.DECIDING or scope.kind is ScopeKind.CREDENTIALS:
        return []
    return sorted(set(behind(scope, actor)) - keys_in(batch))


@action
def include_late(batch: Batch, *, actor: Actor, now: datetime) -> int:
    """Take in what appeared behind the scope meanwhile; how many. Raises LateNeedsAnother past what one may decide."""
    row = _steered(batch, actor)
    if row.state not in {BatchState.RUNNING, BatchState.HALTED}:
        raise BatchNotRunning
    keys = late(row, actor)
    most = limits().second_person_from
    is_alone = not row.needs_approval or row.requested_by_key == actor.key
    if is_alone and most is not None and row.size + len(keys) >= most:
        raise LateNeedsAnother
    added = _add_items(row, keys, is_late=True)
    Batch.objects.filter(pk=row.pk).update(size=F("size") + added)
    record(Event.BATCH_EXTENDED, actor=actor, subject=row, detail={"credentials": added})
    return added


# ── Drills ─────────────────────────────────────────────────────────────────────────────────────


@action
def request_drill(scope: Scope, *, actor: Actor, now: datetime, reason: str) -> Batch:
    """Ask for a rehearsal: what a kill switch over this scope would reach, without any effect."""
    say_why(reason)
    keys = _asked_for(scope, actor)
    batch = Batch.objects.create(
        kind=BatchKind.KILL_SWITCH,
        state=BatchState.RUNNING,
        is_drill=True,
        is_urgent=True,
        scope=scope.as_json(),
        scope_key=scope.key,
        size=len(keys),
        preview=preview(keys, now=now),
        reason=reason,
        requested_by=actor.label[:200],
        requested_by_key=actor.key,
        requested_at=now,
        begun_at=now,
    )
    detail = {**_scope_said(scope), "credentials": len(keys), "drill": True, "reason": reason}
    record(Event.BATCH_REQUESTED, actor=actor, subject=batch, detail=detail)
    return batch


@action
def conclude_drill(batch: Batch, looks: Mapping[str, Mapping[str, Any]], *, actor: Actor, now: datetime) -> None:
    """Keep what a rehearsal found, with its digest. `looks` has what each connection answered, by its key."""
    row = locked(batch, may_be_closed=True)
    if not row.is_drill or row.ended_at is not None:
        return
    hops = [{**hop, **looks.get(hop["connection"], {})} for hop in row.preview["hops"]]
    last = last_drill(row.scope_key, before=row)
    report = {
        "at": now.isoformat(),
        "scope": {key: value for key, value in row.scope.items() if key != "ids"},
        "preview": row.preview,
        "hops": hops,
        "gaps": _gaps(row, hops),
        "compared_with": compared(row.preview, last) if last is not None else None,
    }
    digest = digest_of(report)
    Batch.objects.filter(pk=row.pk).update(state=BatchState.COMPLETED, ended_at=now, report=report, digest=digest)
    detail = {"credentials": row.size, "gaps": len(report["gaps"]), "digest": digest}
    record(Event.BATCH_REHEARSED, actor=actor, subject=row, detail=detail)


def last_drill(scope_key: str, *, before: Batch | None = None) -> Batch | None:
    """The newest drill of a scope that has ended."""
    ended = Batch.objects.filter(scope_key=scope_key, is_drill=True, ended_at__isnull=False).exclude(scope_key="")
    return (ended.exclude(pk=before.pk) if before is not None else ended).order_by("-id").first()


def _gaps(row: Batch, hops: Sequence[Mapping[str, Any]]) -> list[str]:
    """What would keep a real one from ending well, in sentences."""
    seen = row.preview
    found = [f"{hop['name']}: {hop['answer']}" for hop in hops if hop.get("answered") is False]
    if seen["by_hand"]:
        found.append(f"{seen['by_hand']} can only be revoked by hand: no provider can be asked.")
    nothing = seen["credentials"] - seen["presentable"]
    if nothing:
        found.append(f"Of {nothing} nobody keeps the value, so none can be presented; the provider's record must do.")
    if seen["without_owner"]:
        found.append(f"{seen['without_owner']} have no owner who could be told.")
    most = limits().second_person_from
    if most is not None and seen["credentials"] >= most and not approvers(row):
        found.append("A second person would have to approve it, and nobody else holds the role operator.")
    if seen["still_in_files"]:
        found.append(f"Values still lie open in {seen['still_in_files']} places; revoking removes none of them.")
    return list(dict.fromkeys(found))


def compared(seen: Mapping[str, Any], last: Batch) -> dict[str, Any]:
    """What is otherwise than at the last drill."""
    before = last.preview

    def longest(hops: Sequence[Mapping[str, Any]]) -> int | None:
        times = [hop["last_refused_in"] for hop in hops if hop["last_refused_in"] is not None]
        return max(times) if times else None

    return {
        "drill": str(last.pk),
        "at": last.ended_at.isoformat() if last.ended_at else None,
        "credentials": [before["credentials"], seen["credentials"]],
        "by_hand": [before["by_hand"], seen["by_hand"]],
        "last_refused_in": [longest(before["hops"]), longest(seen["hops"])],
        "gaps": len(last.report.get("gaps", [])),
    }


# ── Rows ───────────────────────────────────────────────────────────────────────────────────────


def locked(batch: Batch, *, may_be_closed: bool = False) -> Batch:
    (row,) = in_order(Batch.objects.filter(pk=batch.pk))
    if row.state in BATCH_CLOSED and not may_be_closed:
        raise BatchEnded
    return row


def _steered(batch: Batch, actor: Actor) -> Batch:
    """The row, locked, for an operator or whoever asked for it."""
    row = locked(batch)
    if not actor.may(Right.DECIDE_MANY) and row.requested_by_key != actor.key:
        raise NotAnOperator
    return row
