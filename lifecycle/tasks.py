"""Doorbells of the lifecycle. What one did it returns as counts, for the ledger of runs; Celery keeps no result."""

import logging
from typing import Any

import psycopg
from celery import shared_task
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from access.actors import Actor
from audit.actions import despite_deadlocks
from lifecycle.actions import evaluation, notices, snapshots, waivers
from lifecycle.errors import EvaluationUnderWay
from notifications.actions.recipients import keep_recipients

logger = logging.getLogger(__name__)


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
