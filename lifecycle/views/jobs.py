"""The schedule: what runs by itself, when it last did, and the ledger of its runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_GET

from access.actors import Actor
from access.permissions import requires_reader
from lifecycle.models import JobHour, JobRun, ScheduledJob
from lifecycle.models.jobs import EVALUATION_TASK, LONGEST_RUN
from lifecycle.rules.jobs import late_after
from lifecycle.rules.wording import exact_length, length
from lifecycle.states import RunOutcome
from web.csvfiles import CHUNK, csv_response
from web.paging import BadCursor, Ordering, Page, page
from web.pictures import Part
from web.wording import plural, some, thousands

HOUR = timedelta(hours=1)
SHOWN_HOURS = 48
LEDGER_PAGE = 24
RUNS = 20
BY_HOUR = Ordering("hour", ("hour",), descending=True)

# What an hour of a job was, the worst first: its word, its tone, and its sentence for one hour.
HOUR_STATES: dict[str, tuple[str, str]] = {
    "missed": ("Missed", "missed"),
    "failed": ("Failed", "crit"),
    "lost": ("Never ended", "med"),
    "late": ("Ran late", "high"),
    "ran": ("Ran", "ink"),
    "quiet": ("Not due", "faint"),
    "unknown": ("Not planned", "none"),
}
LEDGER_CSV = (
    ("hour", attrgetter("hour")),
    ("begun", attrgetter("begun")),
    ("ended", attrgetter("ended")),
    ("failed", attrgetter("failed")),
    ("gave_way", attrgetter("passed")),
    ("never_ended", attrgetter("unended")),
    ("seconds", lambda row: round(row.seconds, 3)),
    ("longest_gap_seconds", lambda row: row.longest_gap.total_seconds() if row.longest_gap is not None else None),
    ("last_ended_at", attrgetter("last_ended_at")),
    ("work", lambda row: done_in(row.work)),
)


@dataclass(frozen=True)
class HourOfJob:
    """One hour of a job in the picture."""

    start: datetime
    state: str

    @property
    def title(self) -> str:
        return f"{self.start:%d %b %H}:00 UTC: {HOUR_STATES[self.state][0].lower()}"


def hour_state(
    job: ScheduledJob, start: datetime, row: JobHour | None, ended_at: datetime | None, now: datetime
) -> str:
    """What the hour from `start` was; `ended_at` is the last good end before it."""
    end = min(start + HOUR, now)
    late = late_after(job.cadence)
    if row is not None:
        if row.failed:
            return "failed"
        if row.unended and start + HOUR + LONGEST_RUN <= now:
            return "lost"
        if row.longest_gap is not None and row.longest_gap > late:
            return "late"
        if row.ended:
            return "ran"
    if end <= job.declared_at or (job.retired_at is not None and job.retired_at <= start):
        return "unknown"
    waited_since = max(ended_at or job.declared_at, job.declared_at)
    return "missed" if waited_since + late <= end else "quiet"


def hours_of(
    job: ScheduledJob, rows: Mapping[datetime, JobHour], ended_at: datetime | None, now: datetime
) -> list[HourOfJob]:
    """The last hours up to the present one, the earliest first; `ended_at` is the last good end before them."""
    first = first_hour(now)
    hours = []
    for start in (first + i * HOUR for i in range(SHOWN_HOURS)):
        row = rows.get(start)
        hours.append(HourOfJob(start, hour_state(job, start, row, ended_at, now)))
        ended_at = row.last_ended_at if row is not None and row.last_ended_at else ended_at
    return hours


def first_hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0) - (SHOWN_HOURS - 1) * HOUR


def parts_of(hours: Sequence[HourOfJob]) -> list[Part]:
    """How many hours were of each kind, for the legend and for who does not see the picture."""
    states = [hour.state for hour in hours]
    return [Part(tone, states.count(state), word) for state, (word, tone) in HOUR_STATES.items() if state in states]


def strips(jobs: Sequence[ScheduledJob], now: datetime) -> dict[UUID, list[HourOfJob]]:
    """The last hours of each job, in two statements."""
    first = first_hour(now)
    of_jobs = JobHour.objects.filter(job__in=jobs)
    rows: dict[UUID, dict[datetime, JobHour]] = {}
    for row in of_jobs.filter(hour__gte=first):
        rows.setdefault(row.job_id, {})[row.hour] = row
    before = of_jobs.filter(hour__lt=first, last_ended_at__isnull=False).order_by("job", "-hour").distinct("job")
    ended = dict(before.values_list("job", "last_ended_at"))
    return {job.pk: hours_of(job, rows.get(job.pk, {}), ended.get(job.pk), now) for job in jobs}


def how_it_stands(job: ScheduledJob, now: datetime) -> tuple[str, str]:
    """State and word of the job's last run."""
    if job.retired_at is not None:
        return "removed", "No longer planned"
    if job.failures:
        return "failed", "Failed" if job.failures == 1 else f"Failed, {job.failures} in a row"
    if job.is_missed(now):
        return "stalled", "Beats missed"
    if job.begun_at is not None and job.begun_at > (job.ended_at or job.declared_at):
        return ("stalled", "Never ended") if job.begun_at + LONGEST_RUN <= now else ("running", "Running")
    return ("complete", "Ended") if job.ended_at is not None else ("unknown", "Not run yet")


def cadence_of(job: ScheduledJob) -> str:
    return "1 hour" if job.cadence == HOUR else exact_length(job.cadence)


def done_in(work: Mapping[str, int]) -> str:
    """`3 connections`, `opened 2, resolved 1`: what runs did."""
    return ", ".join(f"{name} {thousands(number)}" for name, number in work.items())


def says(jobs: Sequence[ScheduledJob], now: datetime) -> str:
    """The first sentence of the schedule."""
    planned = [job for job in jobs if job.retired_at is None]
    if not planned:
        return "Nothing is planned yet. The first start of the beat or of a worker declares what runs by itself."
    wrong = [job.name for job in planned if job.failures or job.is_missed(now)]
    if wrong:
        return f"Of {plural(len(planned), 'job')} {len(wrong)} miss their beats or fail: {some(wrong, 3)}."
    waiting = [job for job in planned if job.ended_at is None]
    if waiting:
        return f"Of {plural(len(planned), 'job')} {len(waiting)} have not run yet, and are not late."
    return f"{plural(len(planned), 'job')} run by themselves, and none has missed its beat."


@require_GET
@requires_reader
def job_list(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    jobs = sorted(ScheduledJob.objects.visible_to(actor), key=lambda job: (job.retired_at is not None, job.cadence))
    drawn = strips(jobs, now)
    context = {
        "jobs": [(job, how_it_stands(job, now), drawn[job.pk], cadence_of(job)) for job in jobs],
        "hours": SHOWN_HOURS,
        "kinds": parts_of([hour for hours in drawn.values() for hour in hours]),
        "lede": says(jobs, now) if actor.sees_everything else "",
        "sees_everything": actor.sees_everything,
        "now": now,
    }
    return render(request, "lifecycle/job_list.html", context)


@require_GET
@requires_reader
def job_detail(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """One job with its ledger; `?format=csv` gives the whole ledger."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    job = get_object_or_404(ScheduledJob.objects.visible_to(actor), pk=pk)
    now = timezone.now()
    ledger = JobHour.objects.filter(job=job)
    if request.GET.get("format") == "csv":
        rows = ledger.order_by("hour").iterator(chunk_size=CHUNK)
        return csv_response(rows, LEDGER_CSV, f"keyreeve-ledger-{job.pk}-{now:%Y-%m-%d}.csv")
    hours = strips([job], now)[job.pk]
    shown = _page_of(ledger, request.GET.get("hours", ""))
    state, word = how_it_stands(job, now)
    context = {
        "job": job,
        "state": state,
        "word": word,
        "cadence": cadence_of(job),
        "late_after": length(late_after(job.cadence)),
        "strip": hours,
        "parts": parts_of(hours),
        "page": shown,
        "ledger": [(row, _gap(row), done_in(row.work)) for row in shown.rows],
        "runs": [_run(run, now) for run in JobRun.objects.filter(job=job).order_by("-id")[:RUNS]],
        "now": now,
    }
    return render(request, "lifecycle/job_detail.html", context)


def _page_of(ledger: Any, cursor: str) -> Page[JobHour]:
    try:
        return page(ledger, BY_HOUR, cursor or None, LEDGER_PAGE)
    except BadCursor:
        return page(ledger, BY_HOUR, None, LEDGER_PAGE)


def _gap(row: JobHour) -> str:
    return length(row.longest_gap) if row.longest_gap is not None else ""


def _run(run: JobRun, now: datetime) -> dict[str, Any]:
    states = {
        RunOutcome.ENDED: ("complete", "Ended"),
        RunOutcome.FAILED: ("failed", "Failed"),
        RunOutcome.BEGUN: ("stalled", "Never ended") if run.is_lost(now) else ("running", "Running"),
    }
    state, word = states[RunOutcome(run.outcome)]
    took = max(run.ended_at - run.begun_at, timedelta(0)).total_seconds() if run.ended_at else None
    return {"run": run, "state": state, "word": word, "took": took, "did": run.error or done_in(run.work)}


def the_evaluation() -> ScheduledJob | None:
    return ScheduledJob.objects.current().filter(task=EVALUATION_TASK).first()


def evaluation_stands_still(job: ScheduledJob | None, now: datetime) -> dict[str, Any] | None:
    """What a page says at reading time when the evaluation misses its beats, which cannot open a finding by itself."""
    if job is None or not (job.is_missed(now) or job.failures):
        return None
    return {"job": job, "cadence": cadence_of(job)}
