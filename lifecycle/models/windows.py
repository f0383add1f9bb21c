"""When the schedule may begin rotations, how many, and whether it was stopped: freezes, windows, limits, halts."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import ClassVar, Self
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import Q

from access.actors import Actor
from inventory.models import Connection, Environment
from inventory.models.base import Row

LONGEST_WINDOW = timedelta(days=7)
# No combination of weekdays has a longer pause between two beginnings.
WEEK = timedelta(days=7)


class ChangeFreezeQuerySet(models.QuerySet["ChangeFreeze"]):
    def visible_to(self, actor: Actor) -> Self:
        """Whoever answers for a credential may know why it is not rotated."""
        return self

    def standing(self, now: datetime) -> Self:
        """Neither lifted nor over: in force, or to come."""
        return self.filter(Q(ends_at=None) | Q(ends_at__gt=now), lifted_at=None)

    def in_force(self, now: datetime) -> Self:
        return self.standing(now).filter(begins_at__lte=now)


class MaintenanceWindowQuerySet(models.QuerySet["MaintenanceWindow"]):
    def visible_to(self, actor: Actor) -> Self:
        return self

    def current(self) -> Self:
        return self.filter(retired_at=None)


class ScheduleHaltQuerySet(models.QuerySet["ScheduleHalt"]):
    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_everything else self.none()

    def standing(self) -> Self:
        return self.filter(resumed_at=None)


class ChangeFreeze(Row):
    """A time in which the schedule begins nothing: everywhere, or in one environment. Revocations go on."""

    environment = models.ForeignKey(Environment, models.CASCADE, null=True, blank=True, related_name="+")
    begins_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True, help_text="None: until it is lifted.")
    reason = models.TextField()
    set_by = models.CharField(max_length=200)
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.CharField(max_length=200, blank=True)

    objects = ChangeFreezeQuerySet.as_manager()

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

    def covers(self, at: datetime) -> bool:
        return (
            self.begins_at <= at
            and (self.ends_at is None or at < self.ends_at)
            and (self.lifted_at is None or at < self.lifted_at)
        )


class MaintenanceWindow(Row):
    """When the schedule may begin rotations in an environment. Without any, it may at all times."""

    environment = models.ForeignKey(Environment, models.CASCADE, null=True, blank=True, related_name="+")
    weekdays = models.JSONField(default=list, help_text="1 is Monday, as in ISO 8601; none: every day.")
    begins = models.TimeField(help_text="In its time zone.")
    length = models.DurationField()
    timezone = models.CharField(max_length=60, default="UTC")
    set_by = models.CharField(max_length=200)
    retired_at = models.DateTimeField(null=True, blank=True)

    objects = MaintenanceWindowQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(length__gt=timedelta(0)), name="window_length_is_positive"),
        ]

    def __str__(self) -> str:
        return f"window at {self.begins:%H:%M} {self.timezone}"

    def openings(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Beginning and end of each opening that touches this time, in order.

        A day's opening begins once at its wall-clock time and lasts its length, whatever the clocks do: where they
        skip that time it begins as much later, and where they show it twice, at the first.
        """
        zone = ZoneInfo(self.timezone)
        day = (since - self.length).astimezone(zone).date() - timedelta(days=1)
        last = until.astimezone(zone).date() + timedelta(days=1)
        while day <= last:
            if not self.weekdays or day.isoweekday() in self.weekdays:
                # To UTC first: within one zone Python reckons by the wall clock.
                begins = datetime.combine(day, self.begins, zone).astimezone(since.tzinfo)
                ends = begins + self.length
                if ends > since and begins <= until:
                    yield begins, ends
            day += timedelta(days=1)

    def is_open(self, at: datetime) -> bool:
        return any(begins <= at < ends for begins, ends in self.openings(at, at))


class OperatingLimits(models.Model):
    """One row: how much may happen by itself, and from how many credentials on a second person approves."""

    id = models.BooleanField(primary_key=True, default=True)
    begun_a_day = models.PositiveIntegerField(default=200, help_text="Rotations that the schedule begins in 24 hours.")
    open_at_once = models.PositiveIntegerField(default=50, help_text="Scheduled rotations that are open at once.")
    halted_after = models.PositiveIntegerField(default=3, help_text="Stalled operations in a batch that halt it.")
    second_person_from = models.PositiveIntegerField(
        null=True, blank=True, default=25, help_text="Credentials in a batch; none: nobody need approve."
    )
    second_person_in_production = models.BooleanField(
        default=False, help_text="A kill switch that reaches production is approved by a second person at any size."
    )
    changed_by = models.CharField(max_length=200, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(id=True), name="operating_limits_are_one_row")]

    def __str__(self) -> str:
        return "operating limits"

    @classmethod
    def current(cls) -> "OperatingLimits":
        return cls.objects.filter(id=True).first() or cls()


class ScheduleHalt(Row):
    """The circuit breaker: the schedule stopped itself, for one connection or altogether, until a person resumes it."""

    connection = models.ForeignKey(
        Connection, models.CASCADE, null=True, blank=True, related_name="+", help_text="None: everything."
    )
    stalled = models.PositiveIntegerField(help_text="How many scheduled rotations had stalled then.")
    reason = models.TextField()
    halted_at = models.DateTimeField()
    resumed_at = models.DateTimeField(null=True, blank=True)
    resumed_by = models.CharField(max_length=200, blank=True)
    resumed_reason = models.TextField(blank=True)

    objects = ScheduleHaltQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["connection"],
                condition=Q(resumed_at=None),
                nulls_distinct=False,
                name="halt_one_standing_per_connection",
            ),
        ]

    def __str__(self) -> str:
        return f"halt of {self.connection or 'every scheduled rotation'}"


class Openness:
    """What may begin when, by the freezes and windows as they stand. A value: a page asks once for all its rows."""

    def __init__(self, freezes: Iterable[ChangeFreeze], windows: Iterable[MaintenanceWindow]) -> None:
        self.freezes = list(freezes)
        self.windows = list(windows)

    @classmethod
    def at(cls, now: datetime) -> "Openness":
        return cls(
            ChangeFreeze.objects.standing(now).select_related("environment").order_by("begins_at", "id"),
            MaintenanceWindow.objects.current().select_related("environment").order_by("id"),
        )

    def frozen_by(self, environment: object, at: datetime) -> ChangeFreeze | None:
        """The freeze that holds there then. What is in no known environment is held by each of them."""
        return next((each for each in self.freezes if self._concerns(each, environment) and each.covers(at)), None)

    def windows_of(self, environment: object) -> list[MaintenanceWindow]:
        """Its own windows; without any, those of every environment. What is in none known has all of them to keep."""
        own = [each for each in self.windows if each.environment_id is not None and each.environment_id == environment]
        return own or [each for each in self.windows if each.environment_id is None]

    def is_open(self, environment: object, at: datetime) -> bool:
        windows = self.windows_of(environment)
        return not windows or any(each.is_open(at) for each in windows)

    def may_begin(self, environment: object, at: datetime) -> bool:
        return self.frozen_by(environment, at) is None and self.is_open(environment, at)

    def next_opening(self, environment: object, since: datetime, until: datetime) -> datetime | None:
        """The first moment from `since` up to `until` at which a rotation may begin there."""
        windows = self.windows_of(environment)
        spans = (
            sorted(opening for window in windows for opening in window.openings(since, until))
            if windows
            else [(since, max(until, since) + timedelta(seconds=1))]
        )
        for begins, ends in spans:
            at = max(begins, since)
            while at < ends and at <= until:
                freeze = self.frozen_by(environment, at)
                if freeze is None:
                    return at
                if freeze.ends_at is None:
                    break
                at = freeze.ends_at
        return None

    @staticmethod
    def _concerns(freeze: ChangeFreeze, environment: object) -> bool:
        return freeze.environment_id is None or environment is None or freeze.environment_id == environment
