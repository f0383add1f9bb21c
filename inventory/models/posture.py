"""How servers, authorization servers and clients answer the checklist, and what their metadata said over time."""

from typing import ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models

from access.actors import Actor
from history.kept import appended, kept
from inventory.models.base import Row
from inventory.models.clients import McpClient
from inventory.models.connections import Connection
from inventory.models.servers import AuthorizationServer, McpServer
from inventory.states import Severity, Verdict

ONE_SUBJECT = (
    models.Q(server__isnull=False, authorization_server=None, client=None)
    | models.Q(server=None, authorization_server__isnull=False, client=None)
    | models.Q(server=None, authorization_server=None, client__isnull=False)
)


class PostureCheckQuerySet(models.QuerySet["PostureCheck"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(
            models.Q(server__in=McpServer.objects.visible_to(actor).values("pk"))
            | models.Q(authorization_server__in=AuthorizationServer.objects.visible_to(actor).values("pk"))
            | models.Q(client__in=McpClient.objects.visible_to(actor).values("pk"))
        )


@kept(by_day=("checked_at",))
class PostureCheck(Row):
    """What one check of the authorization checklist last said about one subject."""

    server = models.ForeignKey(McpServer, models.CASCADE, null=True, blank=True, related_name="+")
    authorization_server = models.ForeignKey(
        AuthorizationServer, models.CASCADE, null=True, blank=True, related_name="+"
    )
    client = models.ForeignKey(McpClient, models.CASCADE, null=True, blank=True, related_name="+")
    check_id = models.CharField(max_length=40)
    verdict = models.CharField(max_length=20, choices=Verdict)
    severity = models.PositiveSmallIntegerField(choices=Severity, default=Severity.NONE)
    evidence = models.JSONField(default=dict)
    specification = models.CharField(max_length=100, blank=True)
    checked_at = models.DateTimeField()
    changed_at = models.DateTimeField(null=True, blank=True, help_text="When the verdict last changed.")

    objects = PostureCheckQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=ONE_SUBJECT, name="posture_check_has_one_subject"),
            models.UniqueConstraint(
                fields=["server", "authorization_server", "client", "check_id"],
                nulls_distinct=False,
                name="posture_check_one_per_subject_and_check",
            ),
            models.CheckConstraint(condition=models.Q(verdict__in=Verdict.values), name="posture_verdict_is_known"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["check_id", "id"], condition=models.Q(verdict=Verdict.VIOLATED), name="posture_violated"
            ),
            models.Index(
                fields=["server"],
                condition=models.Q(verdict=Verdict.VIOLATED, server__isnull=False),
                name="posture_violated_by_server",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.check_id} {self.verdict}"


class MetadataSnapshotQuerySet(models.QuerySet["MetadataSnapshot"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(
            models.Q(server__in=McpServer.objects.visible_to(actor).values("pk"))
            | models.Q(authorization_server__in=AuthorizationServer.objects.visible_to(actor).values("pk"))
            | models.Q(client__in=McpClient.objects.visible_to(actor).values("pk"))
        )

    def changes(self) -> Self:
        """Those that say something else than the one before; the first of a subject has nothing before it."""
        return self.exclude(differences=[])


@appended("first_seen_at")
class MetadataSnapshot(Row):
    """What a subject of the checklist published at one time. A new row only when it said something else."""

    server = models.ForeignKey(McpServer, models.CASCADE, null=True, blank=True, related_name="+")
    authorization_server = models.ForeignKey(
        AuthorizationServer, models.CASCADE, null=True, blank=True, related_name="+"
    )
    client = models.ForeignKey(McpClient, models.CASCADE, null=True, blank=True, related_name="+")
    digest = models.CharField(max_length=64)
    document = models.JSONField(default=dict)
    differences = models.JSONField(default=list, help_text="From the snapshot before, in sentences.")
    first_seen_at = models.DateTimeField()

    objects = MetadataSnapshotQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=ONE_SUBJECT, name="metadata_snapshot_has_one_subject"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["server", "-id"], name="metadata_by_server"),
            models.Index(fields=["authorization_server", "-id"], name="metadata_by_issuer"),
            models.Index(fields=["client", "-id"], condition=models.Q(client__isnull=False), name="metadata_by_client"),
        ]

    def __str__(self) -> str:
        return f"{self.digest[:12]} {self.first_seen_at:%Y-%m-%d}"


class ManifestQuerySet(models.QuerySet["Manifest"]):
    def present(self) -> Self:
        return self.filter(gone_at=None)


@kept()
class Manifest(Row):
    """What a server's published manifest (`server.json`) says it needs: names of inputs, never values."""

    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+")
    file = models.TextField()
    name = models.CharField(max_length=300)
    version = models.CharField(max_length=200, blank=True)
    packages = ArrayField(models.CharField(max_length=400), default=list, blank=True)
    urls = ArrayField(models.CharField(max_length=2_000), default=list, blank=True)
    inputs = models.JSONField(default=list, help_text="Each with name, place, is_required and is_secret.")
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(null=True, blank=True)
    gone_at = models.DateTimeField(null=True, blank=True)

    objects = ManifestQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["connection", "file"], condition=models.Q(gone_at=None), name="manifest_one_present_per_file"
            ),
        ]

    def __str__(self) -> str:
        return self.name
