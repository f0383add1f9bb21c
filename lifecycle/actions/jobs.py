"""The timetable as rows, and the ledger of its runs.

A beat writes no audit entry: the ledger is its evidence. A job that is declared, changed, retired, begins to fail or
recovers leaves one.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection as database

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from lifecycle.models import JobHour, JobRun, ScheduledJob
from lifecycle.states import RunOutcome

KEPT_RUNS = 1_000  # of a job, the newest; the hours keep the totals of all others
KEPT_FOR = timedelta(days=90)
LONGEST_ERROR = 500
MOST_COUNTS = 20  # kinds of work that one job can name


class Beat(NamedTuple):
    """A line of the timetable."""

    name: str
    task: str
    cadence: timedelta


@action
def declare(timetable: Iterable[Beat], *, now: datetime, actor: Actor) -> None:
    """Make the rows say what the release plans. Declaring the same again changes nothing, whoever does it at once."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('keyreeve timetable', 0))")
    known = {job.name: job for job in ScheduledJob.objects.all()}
    for beat in timetable:
        job = known.pop(beat.name, None)
        if job is None:
            job = ScheduledJob(name=beat.name)
        elif (job.task, job.cadence, job.retired_at) == (beat.task, beat.cadence, None):
            continue
        before = job.cadence
        job.task, job.cadence, job.declared_at, job.retired_at = beat.task, beat.cadence, now, None
        job.save()
        detail = {"task": beat.task, "seconds": beat.cadence.total_seconds()}
        if before and before != beat.cadence:
            detail["seconds_before"] = before.total_seconds()
        record(Event.JOB_DECLARED, actor=actor, subject=job, detail=detail)
    for job in known.values():
        if job.retired_at is None:
            job.retired_at = now
            job.save(update_fields=["retired_at"])
            record(Event.JOB_RETIRED, actor=actor, subject=job)


@action
def begin(task: str, *, worker: str, now: datetime) -> UUID | None:
    """Write that a run of the job has begun; its key, or None where the timetable has no such job."""
    job = ScheduledJob.objects.current().filter(task=task).first()
    if job is None:
        return None
    ScheduledJob.objects.filter(pk=job.pk).update(begun_at=now)
    run = JobRun(job=job, begun_at=now, worker=worker[:200])
    run.save(force_insert=True)
    _count(job, _hour(now), begun=1)
    return run.pk


@action
def end(run_id: UUID, work: Mapping[str, int] | None, *, now: datetime, actor: Actor) -> None:
    """Write that the run ended well and what it did. Without `work` it gave way to another run, which is no beat."""
    run, job = _locked(run_id)
    hour = _hour(run.begun_at)
    seconds = _since(run.begun_at, now).total_seconds()
    if work is None:
        _count(job, hour, passed=1, seconds=seconds)
        run.delete()
        return
    done = {name[:40]: int(number) for name, number in list(work.items())[:MOST_COUNTS] if number}
    _count(job, hour, ended=1, seconds=seconds, gap=_since(job.due_since, now), ended_at=now, work=done)
    if job.failures:
        record(
            Event.JOB_RECOVERED,
            actor=actor,
            subject=job,
            detail={"failures": job.failures, "failed_at": job.failed_at and job.failed_at.isoformat()},
        )
    job.ended_at, job.failures, job.error = now, 0, ""
    job.save(update_fields=["ended_at", "failures", "error"])
    if done:
        run.ended_at, run.outcome, run.work = now, RunOutcome.ENDED, done
        run.save(update_fields=["ended_at", "outcome", "work"])
    else:
        run.delete()


@action
def fail(run_id: UUID, error: str, *, now: datetime, actor: Actor) -> None:
    """Write that the run failed. `error` holds no secret; the first failure in a row leaves an audit entry."""
    run, job = _locked(run_id)
    error = error[:LONGEST_ERROR]
    _count(job, _hour(run.begun_at), failed=1, seconds=_since(run.begun_at, now).total_seconds())
    if not job.failures:
        record(Event.JOB_FAILED, actor=actor, subject=job, detail={"error": error})
    job.failed_at, job.failures, job.error = now, job.failures + 1, error
    job.save(update_fields=["failed_at", "failures", "error"])
    run.ended_at, run.outcome, run.error = now, RunOutcome.FAILED, error
    run.save(update_fields=["ended_at", "outcome", "error"])


def _locked(run_id: UUID) -> tuple[JobRun, ScheduledJob]:
    """The job before its hour, in every action: two runs of one job then wait for each other and not for ever."""
    run = JobRun.objects.get(pk=run_id)
    return run, ScheduledJob.objects.select_for_update(no_key=True).get(pk=run.job_id)


def _since(then: datetime, now: datetime) -> timedelta:
    """A clock that was set back makes no time pass."""
    return max(now - then, timedelta(0))


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _count(
    job: ScheduledJob,
    at: datetime,
    *,
    begun: int = 0,
    ended: int = 0,
    failed: int = 0,
    passed: int = 0,
    seconds: float = 0,
    gap: timedelta | None = None,
    ended_at: datetime | None = None,
    work: Mapping[str, int] | None = None,
) -> None:
    """Add to the hour's row. The first run of an hour also lets go of the job's runs that are too old or too many."""
    hour, is_new = JobHour.objects.get_or_create(job=job, hour=at)
    hour = JobHour.objects.select_for_update(no_key=True).get(pk=hour.pk)
    hour.begun, hour.ended = hour.begun + begun, hour.ended + ended
    hour.failed, hour.passed = hour.failed + failed, hour.passed + passed
    hour.seconds += seconds
    if gap is not None:
        hour.longest_gap = max(gap, hour.longest_gap or gap)
        hour.last_ended_at = ended_at
    for name, number in (work or {}).items():
        if name in hour.work or len(hour.work) < MOST_COUNTS:
            hour.work[name] = hour.work.get(name, 0) + number
    hour.save()
    if is_new:
        _let_go(job, at)


def _let_go(job: ScheduledJob, now: datetime) -> None:
    runs = JobRun.objects.filter(job=job)
    runs.filter(begun_at__lt=now - KEPT_FOR).delete()
    oldest_kept = runs.order_by("-id").values_list("pk", flat=True)[KEPT_RUNS - 1 : KEPT_RUNS].first()
    if oldest_kept is not None:
        runs.filter(pk__lt=oldest_kept).delete()
