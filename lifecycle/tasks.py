"""Doorbells of the lifecycle. What one did it returns as counts, for the ledger of runs; Celery keeps no result."""

import logging
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import psycopg
from celery import shared_task
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from access.actors import Actor
from audit.actions import despite_deadlocks
from lifecycle import batching
from lifecycle.actions import evaluation, notices, schedule, snapshots, waivers
from lifecycle.engine import afterwards, claims, runner
from lifecycle.errors import EvaluationUnderWay
from lifecycle.models import Batch, Operation, ProviderLoad
from notifications.actions.recipients import keep_recipients

logger = logging.getLogger(__name__)
OPERATE, OPERATE_SLOW = "operate", "operate_slow"  # queues


@shared_task
def evaluate_findings() -> dict[str, int] | None:
    try:
        # Should it meet somebody the other way round all the same, it is the evaluation that begins again.
        done = despite_deadlocks(lambda: evaluation.evaluate(timezone.now(), actor=Actor.system("evaluation")))
    except EvaluationUnderWay:
        logger.info("another evaluation is under way")  # what it overlooks the next one finds
        return None
    return {"subjects": done.subjects, "opened": done.opened, "refreshed": done.refreshed, "resolved": done.resolved}


@shared_task
def expire_waivers() -> dict[str, int]:
    ended = waivers.expire_waivers(timezone.now(), actor=Actor.system("evaluation"))
    return {"waivers": ended}


@shared_task
def begin_due_rotations() -> dict[str, int] | None:
    """What is due becomes operations; the sweep of operations takes up what was begun."""
    run = schedule.begin_due(timezone.now())
    return run.counts() if run is not None else None


@shared_task
def take_snapshot() -> dict[str, int]:
    snapshots.take_snapshot(timezone.now())
    return {"snapshots": 1}


@shared_task
def compose_notices() -> dict[str, int]:
    now = timezone.now()
    keep_recipients(now)
    told = notices.tell_severe(now) + notices.tell_figures(now)
    looked_at = notices.RECIPIENTS
    while looked_at == notices.RECIPIENTS:  # each hundred in a transaction of its own
        looked_at, made = notices.compose_digests(now)
        told += made
    return {"notices": told}


# ── Batches ────────────────────────────────────────────────────────────────────────────────────
BATCHES_AT_ONCE = 100


@shared_task
def advance_batch(batch_id: str) -> None:
    batching.carry_on(Batch.objects.get(pk=batch_id), clock=timezone.now, ring=ring_operations)


@shared_task
def sweep_batches() -> dict[str, int]:
    """What was not rung for, what a worker that died left half begun, and who left meanwhile."""
    opened = batching.open_leavers(clock=timezone.now)
    begun = 0
    for batch in Batch.objects.open().order_by("id")[:BATCHES_AT_ONCE]:
        begun += batching.carry_on(batch, clock=timezone.now, ring=ring_operations)
    return {"leavers": opened, "operations": begun}


def ring_batch(batch: Batch) -> None:
    """Ring for a batch once it is committed. Without a broker the sweeper finds it."""
    key = str(batch.pk)
    transaction.on_commit(lambda: tell(lambda: advance_batch.delay(key)))


def ring_operations(keys: Sequence[UUID]) -> None:
    """Ring for operations that were just committed, as many as their connections bear. The sweep finds the rest."""
    for each in claims.due(timezone.now()) if keys else ():
        _ring_quietly(each)


def tell(ring: Callable[[], object]) -> None:
    """Ring, or leave it to the sweep where the broker takes nothing."""
    try:
        ring()
    except (OperationalError, psycopg.Error):
        logger.warning("the broker cannot be reached or takes nothing; the sweep will find what is due")


def after_sync(**_arguments: Any) -> None:
    """Ring for an evaluation once the sync is committed. Without a broker the timetable finds the change."""
    transaction.on_commit(_ring)


def after_decision() -> None:
    """The same once somebody has changed what is asked."""
    transaction.on_commit(_ring)


def _ring() -> None:
    try:
        evaluate_findings.delay()
    except (OperationalError, psycopg.Error):
        # The queue in the database is declared by everybody who first uses it, and of two who do so at one moment
        # PostgreSQL refuses one.
        logger.warning(
            "the broker cannot be reached or takes nothing; the regular evaluation will find what has changed"
        )


# ── Operations ─────────────────────────────────────────────────────────────────────────────────
@shared_task(acks_late=True, ignore_result=True)
def advance_operation(operation_id: str) -> None:
    if not runner.advance(UUID(operation_id), clock=timezone.now):
        return
    # Its connection bears another one now. Without this ring a long queue would move on only with the sweep.
    for each in claims.due_beside(UUID(operation_id), timezone.now()):
        _ring_for(each)


@shared_task(acks_late=True, ignore_result=True)
def look_at_operation(operation_id: str) -> None:
    afterwards.look(UUID(operation_id), clock=timezone.now)


@shared_task(ignore_result=True)
def sweep_due_operations() -> dict[str, int]:
    now = timezone.now()
    due, ended = claims.due(now), afterwards.due(now)
    for each in due:
        _ring_for(each)
    for each in ended:
        _ring_for(each, look_at_operation)
    return {"operations": len(due) + len(ended)}


def ring(operation: Operation) -> None:
    """Ask a worker to go on with an operation once what was written is committed, or to look at one that has ended.

    Without a broker the sweep does.
    """
    is_slow = ProviderLoad.objects.filter(connection=operation.connection_id, is_slow=True).exists()
    due = claims.Due(operation.pk, is_slow)
    task = advance_operation if operation.closed_at is None else look_at_operation
    transaction.on_commit(lambda: _ring_quietly(due, task))


def _ring_for(due: claims.Due, task: Any = advance_operation) -> None:
    """A connection that answers slowly has workers of its own, so that it delays only itself."""
    task.apply_async((str(due.operation_id),), queue=OPERATE_SLOW if due.is_slow else OPERATE)


def _ring_quietly(due: claims.Due, task: Any = advance_operation) -> None:
    tell(lambda: _ring_for(due, task))
