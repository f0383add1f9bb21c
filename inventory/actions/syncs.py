"""Claim a connection, journal the run, and end it: the bookkeeping around a reconciliation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import connection as database
from django.db import transaction

from access.actors import Actor
from audit.actions import action, despite_deadlocks, record
from audit.events import Event
from inventory.actions.order import among_syncs
from inventory.actions.reconcile import Reconciliation
from inventory.errors import LeaseLost
from inventory.models import Connection, SyncRun
from inventory.states import ConnectionKind, RunState

LEASE = timedelta(minutes=5)
KEPT_PROBLEMS = 200
KEPT_RUNS = timedelta(days=400)  # a year and the days until somebody asks; the audit trail keeps what each changed


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's time-limited claim on a connection; every later write repeats the token."""

    connection: Connection
    run: SyncRun
    token: UUID


def claim(
    connection_id: UUID,
    *,
    now: datetime,
    actor: Actor,
    due_only: bool = False,
    take_over: bool = False,
    idempotency_key: str = "",
) -> Lease | None:
    """Claim a connection and begin its run. None when another worker holds it, or when it is not due after all.

    `take_over` is for who knows that the holder of a lease is dead before the lease has run out. A run of the same
    idempotency key that failed is begun again as the same run.
    """
    token = uuid4()
    with transaction.atomic():
        free = Connection.objects.filter(pk=connection_id)
        if not take_over:
            free = free.exclude(lease_until__gt=now)
        if due_only:
            free = free.filter(is_enabled=True, due_at__lte=now)
        if not free.update(lease_token=token, lease_until=now + LEASE):
            return None
        connection = Connection.objects.get(pk=connection_id)
        # A run that is still open under a lease that has run out belonged to a worker that died.
        SyncRun.objects.filter(connection=connection, finished_at=None).update(
            state=RunState.FAILED, finished_at=now, error="The worker died before the run ended."
        )
        run = SyncRun(
            connection=connection, started_at=now, requested_by=actor.label[:200], idempotency_key=idempotency_key
        )
        again = SyncRun.objects.filter(connection=connection, idempotency_key=idempotency_key, state=RunState.FAILED)
        if idempotency_key and (failed := again.first()):
            run.pk = failed.pk
            run.save(force_update=True)
        else:
            run.save(force_insert=True)
    return Lease(connection, run, token)


def renew(lease: Lease, *, now: datetime, done: int, expected: int | None = None) -> None:
    """Show how far the run is, of how much where known, and keep the claim. Raises LeaseLost when it is lost."""
    held = Connection.objects.filter(pk=lease.connection.pk, lease_token=lease.token)
    if not held.update(lease_until=now + LEASE):
        raise LeaseLost
    known = {} if expected is None else {"expected": expected}
    SyncRun.objects.filter(pk=lease.run.pk).update(done=done, **known)


def _release(lease: Lease, *, now: datetime, **values: Any) -> None:
    held = Connection.objects.filter(pk=lease.connection.pk, lease_token=lease.token)
    is_asked = lease.connection.kind != ConnectionKind.FEED
    due = now + lease.connection.interval if lease.connection.interval and is_asked else None
    if not held.update(lease_token=None, lease_until=None, due_at=due, **values):
        raise LeaseLost


def _forget_runs(run: SyncRun, *, now: datetime) -> None:
    """Those of its connection that are too old to be kept.

    By key, which begins with the time of its making: that is a range of an index, however many runs are kept.
    """
    oldest = UUID(int=int((now - KEPT_RUNS).timestamp() * 1_000) << 80)
    old = SyncRun.objects.filter(connection=run.connection, pk__lt=oldest, finished_at__isnull=False)
    old.exclude(pk=run.pk).delete()


@action
def complete(
    lease: Lease,
    listing: Reconciliation,
    *,
    now: datetime,
    done: int,
    problems: list[dict[str, Any]],
    unread: list[str] | None,
    actor: Actor,
    error: str = "",
    further: Sequence[Callable[[], Mapping[str, int]]] = (),
    is_part: bool = False,
    received: Mapping[str, int] | None = None,
    body_digest: str = "",
) -> SyncRun:
    """Apply the listing and end the run, in one transaction with its single audit entry.

    `unread` names what could not be read; None when the listing was cut short, which `error` explains. `further` are
    writes that belong to the same look, each of which answers with what it counted. Where `is_part`, the listing says
    nothing of what it leaves out. `received` counts the rows of a delivery; what came of them here is added to it.
    """
    with database.cursor() as cursor:
        among_syncs(cursor)
    _release(lease, now=now)
    is_complete = despite_deadlocks(
        lambda: _applied(lease, listing, now=now, unread=unread, further=further, is_part=is_part)
    )
    run = lease.run
    run.state = RunState.COMPLETE if is_complete else RunState.PARTIAL
    run.finished_at = now
    run.done = done
    run.counts = listing.counts
    run.problems = [*problems, *listing.problems][:KEPT_PROBLEMS]
    run.error = error or ("" if is_complete or listing.unresolved else _unread_in_words(unread))
    if listing.unresolved:
        run.error = f"{run.error} {_unresolved_in_words(listing.unresolved)}".strip()
    if received is not None:
        run.received = {**received, "repeated": listing.repeated, "unresolved": listing.unresolved}
        run.body_digest = body_digest
    run.digest = listing.digest
    outcome = ["state", "finished_at", "done", "counts", "problems", "error", "digest", "received", "body_digest"]
    run.save(update_fields=outcome)
    _forget_runs(run, now=now)
    record(
        Event.CONNECTION_SYNCED,
        actor=actor,
        subject=lease.connection,
        detail={
            "run": str(run.pk),
            "state": run.state,
            "read": done,
            "unread": None if unread is None else len(unread),
            "changes": run.counts,
            "digest": run.digest,
            **({"received": run.received} if received is not None else {}),
        },
    )
    return run


def _applied(
    lease: Lease,
    listing: Reconciliation,
    *,
    now: datetime,
    unread: list[str] | None,
    further: Sequence[Callable[[], Mapping[str, int]]],
    is_part: bool,
) -> bool:
    """Whether everything was seen. May run again from its start, once nothing of it is left."""
    listing.apply(unread=None if is_part else unread)
    is_complete = unread is not None and not unread and not listing.unresolved
    if is_complete or is_part:
        # What could not be read was not seen, so a partial run is no later sight of anything.
        Connection.objects.filter(pk=lease.connection.pk).update(last_complete_at=now)
    for write in further:
        listing.note(write())
    return is_complete


def _unresolved_in_words(count: int) -> str:
    rows = "One row names" if count == 1 else f"{count} rows name"
    return f"{rows} something that the inventory does not have."


def _unread_in_words(unread: list[str] | None) -> str:
    if unread is None:
        return "A part of it could not be listed."
    return "One of them could not be read." if len(unread) == 1 else f"{len(unread)} of them could not be read."


@action
def fail(lease: Lease, *, now: datetime, error: str, actor: Actor, problems: Sequence[dict[str, Any]] = ()) -> SyncRun:
    """End the run without touching the inventory."""
    _release(lease, now=now)
    run = lease.run
    run.state = RunState.FAILED
    run.finished_at = now
    run.error = error
    run.problems = list(problems[:KEPT_PROBLEMS])
    run.save(update_fields=["state", "finished_at", "error", "problems"])
    _forget_runs(run, now=now)
    record(
        Event.CONNECTION_SYNCED,
        actor=actor,
        subject=lease.connection,
        detail={"run": str(run.pk), "state": run.state, "error": error},
    )
    return run
