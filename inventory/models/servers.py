"""MCP servers, the authorization servers in front of them, their tools, and how they answer the checklist."""

from typing import Any, ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Coalesce

from access.actors import Actor
from history.kept import kept
from history.past import by_present_rights, instant
from inventory.models.base import AnyOf, Row, prefix_query, words
from inventory.models.connections import Connection
from inventory.models.owners import Environment, Owner
from inventory.states import Authentication, ServerRole, Severity, Transport


class AuthorizationServerQuerySet(models.QuerySet["AuthorizationServer"]):
    def visible_to(self, actor: Actor) -> Self:
        """An owner sees those that stand before a server of theirs."""
        if actor.sees_everything:
            return self
        behind = McpServer.objects.visible_to(actor).filter(authorization_server=models.OuterRef("pk"))
        return self.filter(models.Exists(behind))

    def matching(self, text: str) -> Self:
        """Anywhere in the issuer: there are few of these, and nobody remembers how an address begins."""
        return self.filter(issuer__icontains=text)


@kept(by_day=("checked_at",))
class AuthorizationServer(Row):
    """Who issues tokens for a server, as its metadata says (RFC 8414)."""

    issuer = models.TextField(unique=True)
    metadata = models.JSONField(default=dict)
    capabilities = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    is_external = models.BooleanField(null=True, blank=True)
    first_seen_at = models.DateTimeField()
    checked_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True, help_text="When its metadata last changed.")

    objects = AuthorizationServerQuerySet.as_manager()

    def __str__(self) -> str:
        return self.issuer


class McpServerQuerySet(models.QuerySet["McpServer"]):
    @by_present_rights
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self._owned_by(Owner.objects.visible_to(actor))

    def answered_for_by(self, actor: Actor) -> Self:
        """Servers of which this person is one of the three owners."""
        if instant() is not None:
            return self.none()  # of the past there is nothing to decide
        return self._owned_by(Owner.objects.being(actor))

    def _owned_by(self, owners: models.QuerySet[Owner]) -> Self:
        mine = models.Q()
        for column in ("iam_owner_id", "platform_owner_id", "application_owner_id"):
            mine |= models.Q(AnyOf(column, owners))
        return self.filter(mine)

    def present(self) -> Self:
        return self.filter(gone_at=None)

    def matching(self, text: str) -> Self:
        query = prefix_query(text)
        return self.annotate(_words=words("name", "package", "url")).filter(_words=query) if query else self.none()


@kept(by_day=("probed_at", "tools_listed_at"))
class McpServer(Row):
    """A server that some client is configured to reach, or that was seen live."""

    identity_key = models.TextField(editable=False)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+")
    name = models.CharField(max_length=300)
    transport = models.CharField(max_length=10, choices=Transport)
    url = models.TextField(blank=True)
    launcher = models.CharField(max_length=40, blank=True)
    package = models.TextField(blank=True)
    package_version = models.CharField(max_length=200, blank=True)
    is_pinned = models.BooleanField(null=True, blank=True)
    command = models.TextField(blank=True)
    environment = models.ForeignKey(Environment, models.SET_NULL, null=True, blank=True, related_name="+")
    role = models.CharField(max_length=20, choices=ServerRole, default=ServerRole.UNCLASSIFIED)
    iam_owner = models.ForeignKey(Owner, models.SET_NULL, null=True, blank=True, related_name="+")
    platform_owner = models.ForeignKey(Owner, models.SET_NULL, null=True, blank=True, related_name="+")
    application_owner = models.ForeignKey(Owner, models.SET_NULL, null=True, blank=True, related_name="+")
    vendor = models.CharField(max_length=200, blank=True)
    protocol_versions = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    authentication = models.CharField(max_length=40, choices=Authentication, blank=True)
    scopes = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    probed_at = models.DateTimeField(null=True, blank=True, help_text="When the live server last answered a probe.")
    probe_error = models.TextField(blank=True, help_text="Why the last probe got no answer.")
    tools_listed_at = models.DateTimeField(null=True, blank=True)
    tools_error = models.TextField(blank=True, help_text="Why the tools could not be listed.")
    authorization_server = models.ForeignKey(
        AuthorizationServer, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(null=True, blank=True)
    gone_at = models.DateTimeField(null=True, blank=True)
    risk = models.PositiveSmallIntegerField(choices=Severity, default=Severity.NONE, editable=False)
    open_findings = models.PositiveIntegerField(default=0, editable=False)

    objects = McpServerQuerySet.as_manager()

    class Meta(Row.Meta):
        verbose_name = "MCP server"
        constraints: ClassVar = [
            # Not `unique=True`, which would bring a second index along, for a search by beginnings that nobody makes.
            models.UniqueConstraint(fields=["identity_key"], name="server_identity_is_unique"),
            models.CheckConstraint(
                condition=models.Q(transport__in=Transport.values), name="server_transport_is_known"
            ),
            models.CheckConstraint(condition=models.Q(role__in=ServerRole.values), name="server_role_is_known"),
            models.CheckConstraint(
                condition=models.Q(gone_at=None) | models.Q(last_seen_at__isnull=False),
                name="server_gone_was_last_seen_some_time",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["name", "id"], name="server_by_name"),
            models.Index(fields=["risk", "id"], name="server_by_risk"),
            models.Index(fields=["environment", "id"], name="server_by_environment"),
            models.Index(
                Coalesce("probed_at", "first_seen_at"),
                condition=models.Q(transport__in=[Transport.HTTP, Transport.SSE]),
                name="server_by_last_answer",
            ),
            models.Index(fields=["id"], condition=models.Q(gone_at__isnull=False), name="server_gone"),
            GinIndex(words("name", "package", "url"), name="server_by_words"),
        ]

    def __str__(self) -> str:
        return self.name


class ToolQuerySet(models.QuerySet["Tool"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(server__in=McpServer.objects.visible_to(actor).values("pk"))

    def matching(self, text: str) -> Self:
        query = prefix_query(text)
        return self.annotate(_words=words("name")).filter(_words=query) if query else self.none()

    def present(self) -> Self:
        return self.filter(gone_at=None)

    def changed(self) -> Self:
        """No longer defined as they were approved."""
        return self.exclude(approved_digest="").exclude(approved_digest=models.F("schema_digest"))


@kept()
class Tool(Row):
    """A tool a server offers. A definition that changed after its approval is marked, not overwritten."""

    server = models.ForeignKey(McpServer, models.CASCADE, related_name="+")
    name = models.CharField(max_length=300)
    is_read_only = models.BooleanField(null=True, blank=True)
    is_destructive = models.BooleanField(null=True, blank=True)
    is_open_world = models.BooleanField(null=True, blank=True)
    description = models.TextField(blank=True)
    scopes = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    schema_digest = models.CharField(max_length=64)
    approved_digest = models.CharField(max_length=64, blank=True)
    approved_by = models.CharField(max_length=200, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    approved_definition = models.JSONField(
        null=True, blank=True, help_text="Description, annotations and scopes as they were approved."
    )
    first_seen_at = models.DateTimeField()
    changed_at = models.DateTimeField(null=True, blank=True, help_text="When its definition last changed.")
    gone_at = models.DateTimeField(null=True, blank=True)

    objects = ToolQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["server", "name"], name="tool_name_is_unique_per_server"),
        ]
        indexes: ClassVar = [GinIndex(words("name"), name="tool_by_words")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_changed(self) -> bool:
        return bool(self.approved_digest) and self.approved_digest != self.schema_digest

    @property
    def definition(self) -> dict[str, Any]:
        """What a person can compare: all of the definition but its schema, of which there is the digest."""
        return {
            "description": self.description,
            "is_read_only": self.is_read_only,
            "is_destructive": self.is_destructive,
            "is_open_world": self.is_open_world,
            "scopes": self.scopes,
        }
