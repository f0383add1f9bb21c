"""What is scheduled, and when it ran."""

from datetime import timedelta
from typing import ClassVar

from django.db import models

from inventory.models.base import Row
from inventory.states import Severity


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

    class Meta(Row.Meta):
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(cadence__gt=timedelta(0)), name="job_cadence_is_positive"),
        ]

    def __str__(self) -> str:
        return self.name
