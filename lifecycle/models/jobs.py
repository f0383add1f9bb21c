"""What is scheduled, when it ran, and the ledger of its runs."""

from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.db import models
from django.db.models import F, Q

from access.actors import Actor
from inventory.models.base import Row
from inventory.states import Severity
from lifecycle.rules.jobs import late_after
from lifecycle.states import RunOutcome

# The task by which findings are kept up to date.
EVALUATION_TASK = "lifecycle.tasks.evaluate_findings"
# A run that has said nothing for so long has died: no job of the timetable takes as long.
LONGEST_RUN = timedelta(hours=1)


class JobQuerySet(models.QuerySet["ScheduledJob"]):
    def visible_to(self, actor: Actor) -> Self:
        """The timetable is the whole installation's: for those who see all of it."""
        return self if actor.sees_everything else self.none()

    def current(self) -> Self:
        return self.filter(retired_at=None)


class ScheduledJob(Row):
    """A job of the timetable with its declared cadence, and its last beats."""

    name = models.CharField(max_length=100, unique=True)
    task = models.CharField(max_length=200)
    cadence = models.DurationField()
    declared_at = models.DateTimeField()
    begun_at = models.DateTimeField(null=True, blank=True, help_text="When it last began.")
    ended_at = models.DateTimeField(null=True, blank=True, help_text="When it last ended without a failure.")
    failed_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    error = models.TextField(blank=True, help_text="What the last failure said, without secrets.")
    retired_at = models.DateTimeField(null=True, blank=True, help_text="Since a release no longer declares it.")
    risk = models.PositiveSmallIntegerField(choices=Severity, default=Severity.NONE, editable=False)
    open_findings = models.PositiveIntegerField(default=0, editable=False)

    objects = JobQuerySet.as_manager()

    class Meta(Row.Meta):
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(cadence__gt=timedelta(0)), name="job_cadence_is_positive"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def due_since(self) -> datetime:
        """From when on its next beat is waited for."""
        return max(self.ended_at or self.declared_at, self.declared_at)

    @property
    def missed_at(self) -> datetime:
        return self.due_since + late_after(self.cadence)

    def is_missed(self, now: datetime) -> bool:
        return self.retired_at is None and self.missed_at <= now


class JobHour(models.Model):
    """What a job did in the runs that it began within one hour (UTC). Kept for ever, and small whatever the cadence.

    More runs begun than ended, failed and passed means that some never ended: a worker died in them.
    """

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(ScheduledJob, models.CASCADE, related_name="+", db_index=False)
    hour = models.DateTimeField()
    begun = models.PositiveIntegerField(default=0)
    ended = models.PositiveIntegerField(default=0, help_text="Without a failure.")
    failed = models.PositiveIntegerField(default=0)
    passed = models.PositiveIntegerField(default=0, help_text="Gave way to another run of the same work.")
    seconds = models.FloatField(default=0, help_text="All its runs together.")
    longest_gap = models.DurationField(
        null=True, help_text="The longest time without a good end before one of its runs ended well."
    )
    last_ended_at = models.DateTimeField(null=True, help_text="The last good end of a run that began in this hour.")
    work = models.JSONField(default=dict, help_text="What its runs did, counted.")

    class Meta:
        ordering: ClassVar = ["-hour"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job", "hour"], name="job_hour_one_per_job_and_hour"),
            models.CheckConstraint(
                condition=Q(begun__gte=F("ended") + F("failed") + F("passed")), name="job_hour_ends_only_what_began"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} at {self.hour:%Y-%m-%d %H}:00"

    @property
    def unended(self) -> int:
        """Begun and neither ended nor failed: under way, or died with its worker."""
        return self.begun - self.ended - self.failed - self.passed


class JobRun(Row):
    """A run that did something, failed, or never ended; one that found nothing to do is counted in its hour alone."""

    job = models.ForeignKey(ScheduledJob, models.CASCADE, related_name="+", db_index=False)
    begun_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, choices=RunOutcome, default=RunOutcome.BEGUN)
    worker = models.CharField(max_length=200, blank=True)
    error = models.CharField(max_length=500, blank=True, help_text="Without secrets.")
    work = models.JSONField(default=dict)

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(outcome__in=RunOutcome.values), name="job_run_outcome_is_known"),
            models.CheckConstraint(
                condition=Q(outcome=RunOutcome.BEGUN, ended_at=None)
                | ~Q(outcome=RunOutcome.BEGUN) & Q(ended_at__isnull=False),
                name="job_run_ended_exactly_when_it_says_how",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["job", "-id"], name="job_run_by_job")]

    def __str__(self) -> str:
        return f"{self.job} {self.begun_at:%Y-%m-%d %H:%M:%S}"

    def is_lost(self, now: datetime) -> bool:
        """Begun and never ended: its worker died."""
        return self.ended_at is None and self.begun_at + LONGEST_RUN <= now
