"""What Celery says of a task becomes a line of the ledger."""

from datetime import timedelta

import pytest
from celery import shared_task
from django.db import OperationalError

from config import heartbeats
from config.celery import BEATS, app
from lifecycle.actions.jobs import Beat
from lifecycle.models import Finding, JobHour, JobRun, ScheduledJob
from lifecycle.states import RunOutcome
from lifecycle.tasks import evaluate_findings
from tests import factories

pytestmark = pytest.mark.django_db


@shared_task
def unplanned() -> None:
    """A task that the timetable does not name."""


@shared_task
def failing() -> None:
    raise ValueError("postgres://somebody:hunter2@db")


def test_every_beat_is_a_task_that_exists():
    app.loader.import_default_modules()
    assert {task for _, task, _ in BEATS} <= set(app.tasks)


def test_a_run_is_recorded_with_what_it_did_even_before_anything_was_declared():
    factories.credential()
    evaluate_findings.apply()
    run = JobRun.objects.get()
    assert (run.job.name, run.outcome, run.work["opened"]) == (
        "evaluation of findings",
        RunOutcome.ENDED,
        Finding.objects.count(),
    )
    assert ScheduledJob.objects.count() == len(BEATS)


def test_a_task_that_is_not_planned_leaves_nothing():
    unplanned.apply()
    assert not ScheduledJob.objects.exists()


def test_a_failure_is_recorded_without_what_it_said(monkeypatch):
    monkeypatch.setattr(heartbeats, "TIMETABLE", [Beat("failing", failing.name, timedelta(hours=1))])
    monkeypatch.setattr(heartbeats, "TASKS", {failing.name})
    failing.apply()
    run = JobRun.objects.get()
    assert (run.outcome, run.error) == (RunOutcome.FAILED, "ValueError; the worker's log says more.")
    assert JobHour.objects.get().failed == 1


def test_a_database_s_refusal_is_named_by_its_state():
    refusal = OperationalError("server closed the connection unexpectedly")
    refusal.__cause__ = type("Refusal", (Exception,), {"sqlstate": "57P01"})()
    assert heartbeats.said(refusal) == "OperationalError (57P01); the worker's log says more."
