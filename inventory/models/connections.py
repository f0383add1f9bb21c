"""Configured places to look, and what each look brought."""

from datetime import datetime
from typing import ClassVar, Self

from django.db import models

from access.actors import Actor
from history.kept import kept
from inventory.models.base import Row
from inventory.models.owners import Environment
from inventory.states import ConnectionKind, RunState, Severity


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_everything else self.none()

    def due(self, now: datetime) -> Self:
        """Enabled, due, and not held by a live worker. A feed is told, not asked."""
        free = models.Q(lease_until=None) | models.Q(lease_until__lte=now)
        return self.filter(free, is_enabled=True, due_at__lte=now).exclude(kind=ConnectionKind.FEED)


@kept(by_day=("last_complete_at",), ignored=("due_at", "lease_token", "lease_until"))
class Connection(Row):
    """One configured account or place to look. Holds settings and references, never a secret."""

    kind = models.CharField(max_length=20, choices=ConnectionKind)
    name = models.CharField(max_length=200, unique=True)
    settings = models.JSONField(default=dict, blank=True)
    environment = models.ForeignKey(Environment, models.SET_NULL, null=True, blank=True, related_name="+")
    interval = models.DurationField(null=True, blank=True, help_text="Time between two syncs; none when only asked.")
    is_enabled = models.BooleanField(default=True)
    due_at = models.DateTimeField(null=True, blank=True)
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    last_complete_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    risk = models.PositiveSmallIntegerField(choices=Severity, default=Severity.NONE, editable=False)
    open_findings = models.PositiveIntegerField(default=0, editable=False)

    objects = ConnectionQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(kind__in=ConnectionKind.values), name="connection_kind_is_known"),
            models.CheckConstraint(
                condition=models.Q(lease_token=None, lease_until=None)
                | models.Q(lease_token__isnull=False, lease_until__isnull=False),
                name="connection_lease_has_token_and_end",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], condition=models.Q(is_enabled=True), name="connection_due"),
            models.Index(fields=["name", "id"], name="connection_by_name"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def last_whole_look_at(self) -> datetime | None:
        """When all that is there was last seen. A feed that sends only parts says nothing of what it leaves out."""
        is_partial = self.kind == ConnectionKind.FEED and not self.settings.get("complete")
        return None if is_partial else self.last_complete_at


class SyncRun(Row):
    """One look at a connection: how far it got, what it changed, what it could not read."""

    connection = models.ForeignKey(Connection, models.CASCADE, related_name="+")
    state = models.CharField(max_length=10, choices=RunState, default=RunState.RUNNING)
    requested_by = models.CharField(max_length=200)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    done = models.PositiveIntegerField(default=0)
    expected = models.PositiveIntegerField(null=True, blank=True, help_text="How many there are, when that is known.")
    idempotency_key = models.CharField(max_length=200, blank=True, editable=False)
    body_digest = models.CharField(max_length=64, blank=True, editable=False, help_text="Of what was sent.")
    received = models.JSONField(
        default=dict, help_text="Of what was sent: how many rows were read, taken, refused and repeated."
    )
    counts = models.JSONField(default=dict)
    problems = models.JSONField(default=list)
    error = models.TextField(blank=True)
    digest = models.CharField(max_length=64, blank=True)

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["connection"], condition=models.Q(finished_at=None), name="sync_run_one_running_per_connection"
            ),
            models.UniqueConstraint(
                fields=["connection", "idempotency_key"],
                condition=~models.Q(idempotency_key=""),
                name="sync_run_one_per_idempotency_key",
            ),
            models.CheckConstraint(
                condition=models.Q(state=RunState.RUNNING, finished_at=None)
                | ~models.Q(state=RunState.RUNNING) & models.Q(finished_at__isnull=False),
                name="sync_run_finished_exactly_when_not_running",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["connection", "-id"], name="sync_run_by_connection")]

    def __str__(self) -> str:
        return f"{self.connection} {self.started_at:%Y-%m-%d %H:%M}"
