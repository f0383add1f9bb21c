"""Many operations asked for at once: a kill switch, a leaver, a choice by hand; or a drill of one, without effect."""

from datetime import timedelta
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from access.actors import Actor
from inventory.models import Environment
from inventory.models.base import Row
from lifecycle.states import BATCH_CLOSED, BatchKind, BatchState, OperationKind


class BatchQuerySet(models.QuerySet["Batch"]):
    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_everything else self.filter(requested_by_key=f"{actor.kind}:{actor.id}")

    def open(self) -> Self:
        return self.filter(ended_at=None)


class Batch(Row):
    """What was asked for, over which scope, who approved it, and what came of it."""

    kind = models.CharField(max_length=20, choices=BatchKind)
    state = models.CharField(max_length=20, choices=BatchState)
    operation_kind = models.CharField(max_length=20, choices=OperationKind, default=OperationKind.REVOCATION)
    is_drill = models.BooleanField(default=False, help_text="Rehearsed: nothing is asked of any provider.")
    is_urgent = models.BooleanField(default=False)
    scope = models.JSONField(help_text='What it reaches: {"kind": "server", "id": …, "label": …}.')
    preview = models.JSONField(default=dict, help_text="What it was expected to reach, when it was asked for.")
    report = models.JSONField(default=dict, help_text="What came of it.")
    reason = models.TextField()
    requested_by = models.CharField(max_length=200)
    requested_by_key = models.CharField(max_length=200)
    requested_at = models.DateTimeField()
    decided_by = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.TextField(blank=True)
    begun_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    halted_reason = models.TextField(blank=True)

    objects = BatchQuerySet.as_manager()

    class Meta(Row.Meta):
        verbose_name_plural = "batches"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(kind__in=BatchKind.values), name="batch_kind_is_known"),
            models.CheckConstraint(condition=Q(state__in=BatchState.values), name="batch_state_is_known"),
            models.CheckConstraint(
                condition=Q(state__in=BATCH_CLOSED, ended_at__isnull=False)
                | ~Q(state__in=BATCH_CLOSED) & Q(ended_at=None),
                name="batch_ended_exactly_when_closed",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="batch_has_a_reason"),
        ]
        indexes: ClassVar = [models.Index(fields=["id"], condition=Q(ended_at=None), name="batch_open")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} over {self.scope.get('label') or 'what was chosen'}"


class ChangeFreeze(Row):
    """A time in which the schedule begins nothing: everywhere, or in one environment. Revocations go on."""

    environment = models.ForeignKey(Environment, models.CASCADE, null=True, blank=True, related_name="+")
    begins_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True, help_text="None: until it is lifted.")
    reason = models.TextField()
    set_by = models.CharField(max_length=200)
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.CharField(max_length=200, blank=True)

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(ends_at=None) | Q(ends_at__gt=models.F("begins_at")), name="freeze_ends_after_it_begins"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="freeze_has_a_reason"),
        ]
        indexes: ClassVar = [models.Index(fields=["begins_at"], condition=Q(lifted_at=None), name="freeze_in_force")]

    def __str__(self) -> str:
        return f"change freeze in {self.environment or 'every environment'}"


class MaintenanceWindow(Row):
    """When the schedule may begin rotations in an environment. Without any, it may at all times."""

    environment = models.ForeignKey(Environment, models.CASCADE, null=True, blank=True, related_name="+")
    weekdays = models.JSONField(default=list, help_text="1 is Monday, as in ISO 8601; none: every day.")
    begins = models.TimeField(help_text="In its time zone.")
    length = models.DurationField()
    timezone = models.CharField(max_length=60, default="UTC")
    set_by = models.CharField(max_length=200)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(length__gt=timedelta(0)), name="window_length_is_positive"),
        ]

    def __str__(self) -> str:
        return f"window at {self.begins:%H:%M} {self.timezone}"


class OperatingLimits(models.Model):
    """One row: how much may happen by itself, and from how many credentials on a second person approves."""

    id = models.BooleanField(primary_key=True, default=True)
    begun_a_day = models.PositiveIntegerField(default=200, help_text="Rotations that the schedule begins in 24 hours.")
    open_at_once = models.PositiveIntegerField(default=50, help_text="Scheduled rotations that are open at once.")
    halted_after = models.PositiveIntegerField(default=3, help_text="Stalled operations in a batch that halt it.")
    second_person_from = models.PositiveIntegerField(
        null=True, blank=True, default=25, help_text="Credentials in a batch; none: nobody need approve."
    )
    changed_by = models.CharField(max_length=200, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(id=True), name="operating_limits_are_one_row")]

    def __str__(self) -> str:
        return "operating limits"
