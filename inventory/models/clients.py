"""MCP clients, what they use and what they may use."""

from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Coalesce, Now

from access.actors import Actor
from access.rights import Right
from history.kept import kept
from history.past import by_present_rights, instant
from inventory.models.base import Row, prefix_query, words
from inventory.models.connections import Connection
from inventory.models.credentials import Credential
from inventory.models.owners import Environment, Owner
from inventory.models.servers import AuthorizationServer, McpServer
from inventory.states import (
    REMOVAL_ENDED,
    REMOVAL_TIMED,
    Admission,
    GrantState,
    Hygiene,
    Registration,
    RemovalStage,
    Severity,
    Storage,
)


class McpClientQuerySet(models.QuerySet["McpClient"]):
    @by_present_rights
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(owner__in=Owner.objects.visible_to(actor).values("pk"))

    def answered_for_by(self, actor: Actor) -> Self:
        """Clients of which this person is the owner."""
        if instant() is not None:
            return self.none()  # of the past there is nothing to decide
        return self.filter(owner__in=Owner.objects.being(actor).values("pk"))

    def narrowable_by(self, actor: Actor) -> Self:
        """An owner may take away from what is theirs; a reviewer from everything."""
        return self if actor.may_everywhere(Right.NARROW) else self.answered_for_by(actor)

    def present(self) -> Self:
        return self.filter(gone_at=None)

    def registered(self) -> Self:
        """Known to an authorization server. One that only a file names is a program that nobody registered."""
        return self.exclude(registration=Registration.CONFIG_FILE)

    def matching(self, text: str) -> Self:
        query = prefix_query(text)
        return self.annotate(_words=words("name", "client_id", "host")).filter(_words=query) if query else self.none()


@kept(by_day=("last_used_at",))
class McpClient(Row):
    """A host program or registered OAuth client that reaches MCP servers."""

    identity_key = models.TextField(editable=False)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+")
    name = models.CharField(max_length=300)
    product = models.CharField(max_length=60, blank=True)
    host = models.CharField(max_length=200, blank=True)
    client_id = models.CharField(max_length=300, blank=True)
    authorization_server = models.ForeignKey(
        AuthorizationServer, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    registration = models.CharField(max_length=20, choices=Registration, default=Registration.CONFIG_FILE)
    redirect_uris = ArrayField(models.TextField(), default=list, blank=True)
    grant_types = ArrayField(models.CharField(max_length=80), default=list, blank=True)
    software_id = models.CharField(max_length=200, blank=True)
    application_type = models.CharField(max_length=20, blank=True)
    scopes = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    issued_at = models.DateTimeField("registered at", null=True, blank=True)
    secret_expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    registration_uri = models.TextField(blank=True, help_text="Where the registration is managed (RFC 7592).")
    registration_reference = models.TextField(
        blank=True, help_text="Where the registration access token is kept: a reference, never the token."
    )
    hygiene = models.CharField(max_length=10, choices=Hygiene, default=Hygiene.UNKNOWN, editable=False)
    hygiene_key = models.CharField(max_length=400, blank=True, editable=False)
    hygiene_reason = models.CharField(max_length=300, blank=True, editable=False)
    owner = models.ForeignKey(Owner, models.SET_NULL, null=True, blank=True, related_name="+")
    admission = models.CharField(max_length=20, choices=Admission, default=Admission.ADMITTED)
    admission_changed_at = models.DateTimeField(null=True, blank=True)
    admission_reason = models.TextField(blank=True)
    risk = models.PositiveSmallIntegerField(choices=Severity, default=Severity.NONE, editable=False)
    open_findings = models.PositiveIntegerField(default=0, editable=False)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(null=True, blank=True)
    gone_at = models.DateTimeField(null=True, blank=True)

    objects = McpClientQuerySet.as_manager()

    class Meta(Row.Meta):
        verbose_name = "MCP client"
        constraints: ClassVar = [
            # Not `unique=True`, which would bring a second index along, for a search by beginnings that nobody makes.
            models.UniqueConstraint(fields=["identity_key"], name="client_identity_is_unique"),
            models.CheckConstraint(
                condition=models.Q(admission__in=Admission.values), name="client_admission_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(registration__in=Registration.values), name="client_registration_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(gone_at=None) | models.Q(last_seen_at__isnull=False),
                name="client_gone_was_last_seen_some_time",
            ),
            models.CheckConstraint(condition=models.Q(hygiene__in=Hygiene.values), name="client_hygiene_is_known"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["name", "id"], name="client_by_name"),
            models.Index(fields=["id"], condition=models.Q(gone_at__isnull=False), name="client_gone"),
            models.Index(
                fields=["admission", "id"],
                condition=~models.Q(admission=Admission.ADMITTED),
                name="client_not_admitted",
            ),
            models.Index(
                fields=["hygiene_key", "id"], condition=~models.Q(hygiene_key=""), name="client_by_hygiene_key"
            ),
            models.Index(
                fields=["hygiene_key"],
                condition=models.Q(hygiene__in=["duplicate", "dead"], gone_at=None),
                name="client_needless",
            ),
            models.Index(
                fields=["authorization_server", "id"],
                condition=models.Q(gone_at=None, authorization_server__isnull=False),
                name="client_present_by_issuer",
            ),
            models.Index(fields=["risk", "id"], name="client_by_risk"),
            models.Index(
                Coalesce("admission_changed_at", "first_seen_at"),
                condition=models.Q(admission=Admission.QUARANTINED),
                name="client_by_quarantine",
            ),
            models.Index(
                Coalesce("issued_at", "first_seen_at"),
                "id",
                condition=models.Q(admission=Admission.QUARANTINED, gone_at=None),
                name="client_waiting_by_age",
            ),
            GinIndex(words("name", "client_id", "host"), name="client_by_words"),
        ]

    def __str__(self) -> str:
        return self.name


class ClientRemovalQuerySet(models.QuerySet["ClientRemoval"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(client__in=McpClient.objects.visible_to(actor).values("pk"))

    def withdrawable_by(self, actor: Actor) -> Self:
        """Whoever answers for a client may keep it, unless a reviewer wants it gone though it is used."""
        if actor.may_everywhere(Right.NARROW):
            return self
        own = McpClient.objects.answered_for_by(actor).values("pk")
        return self.filter(client__in=own, is_despite_use=False)

    def open(self) -> Self:
        return self.filter(ended_at=None)

    def due(self, now: datetime) -> Self:
        """Their next step is due, and no worker is taking it."""
        return self.open().filter(next_at__lte=now).exclude(lease_until__gt=now)


@kept()
class ClientRemoval(Row):
    """A client on its way out: its owner is told, it is suspended, after a quiet time its registration is deleted."""

    client = models.ForeignKey(McpClient, models.CASCADE, related_name="+")
    stage = models.CharField(max_length=20, choices=RemovalStage, default=RemovalStage.ANNOUNCED)
    reason = models.TextField()
    requested_by = models.CharField(max_length=200)
    announced_at = models.DateTimeField()
    stage_at = models.DateTimeField("in this stage since", db_default=Now())
    suspended_at = models.DateTimeField(null=True, blank=True)
    quiet = models.DurationField(default=timedelta(days=14), help_text="Between suspension and deletion.")
    known_use_at = models.DateTimeField(
        "last use known then", null=True, blank=True, help_text="A later use stops the removal."
    )
    is_despite_use = models.BooleanField("even while it is used", default=False)
    admission_before = models.CharField(
        max_length=20, choices=Admission, blank=True, help_text="What the suspension replaced."
    )
    attempts = models.PositiveIntegerField(default=0, help_text="Deletions begun, whatever became of them.")
    next_at = models.DateTimeField(null=True, blank=True, help_text="When the next step is due.")
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_reason = models.TextField(blank=True, help_text="How it is known to be removed, or why it is not.")
    error = models.TextField(blank=True, help_text="Why the last step could not be taken.")
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ClientRemovalQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["client"], condition=models.Q(ended_at=None), name="client_removal_one_open_per_client"
            ),
            models.CheckConstraint(
                condition=models.Q(stage__in=REMOVAL_ENDED, ended_at__isnull=False)
                | ~models.Q(stage__in=REMOVAL_ENDED) & models.Q(ended_at=None),
                name="client_removal_ended_exactly_when_final",
            ),
            models.CheckConstraint(
                condition=models.Q(stage__in=RemovalStage.values), name="client_removal_stage_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(stage__in=REMOVAL_TIMED, next_at__isnull=False)
                | ~models.Q(stage__in=REMOVAL_TIMED) & models.Q(next_at=None),
                name="client_removal_timed_exactly_when_by_itself",
            ),
            models.CheckConstraint(
                condition=~models.Q(stage__in=REMOVAL_ENDED) | ~models.Q(ended_reason=""),
                name="client_removal_ended_says_why",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["next_at"], condition=models.Q(ended_at=None), name="client_removal_due"),
        ]

    def __str__(self) -> str:
        return f"removal of {self.client}"

    @property
    def is_open(self) -> bool:
        return self.ended_at is None


class UseQuerySet(models.QuerySet["Use"]):
    def present(self) -> Self:
        return self.filter(gone_at=None)


@kept()
class Use(Row):
    """Which client reaches which server with which credential, and where that is written down.

    `environment` is set only where it differs from the server's own.
    """

    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+")
    client = models.ForeignKey(McpClient, models.CASCADE, related_name="+")
    server = models.ForeignKey(McpServer, models.CASCADE, related_name="+", db_index=False)  # use_by_server_and_client
    credential = models.ForeignKey(Credential, models.CASCADE, null=True, blank=True, related_name="+")
    environment = models.ForeignKey(Environment, models.SET_NULL, null=True, blank=True, related_name="+")
    file = models.TextField()
    pointer = models.TextField()
    held_as = models.CharField(max_length=20, choices=Storage, blank=True)
    is_disabled = models.BooleanField(default=False)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(null=True, blank=True)
    gone_at = models.DateTimeField(null=True, blank=True)

    objects = UseQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["connection", "file", "pointer", "client", "server", "credential"],
                condition=models.Q(gone_at=None),
                nulls_distinct=False,
                name="use_one_open_per_place",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["credential"], condition=models.Q(gone_at=None), name="use_present_by_credential"),
            # All that a count of different clients reads, in their order: the first are then found without the rest.
            models.Index(fields=["server", "client", "gone_at"], name="use_by_server_and_client"),
            models.Index(fields=["client"], condition=models.Q(gone_at=None), name="use_present_by_client"),
        ]

    def __str__(self) -> str:
        return f"{self.file}#{self.pointer}"


class GrantQuerySet(models.QuerySet["Grant"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(
            models.Q(server__in=McpServer.objects.visible_to(actor).values("pk"))
            | models.Q(client__in=McpClient.objects.visible_to(actor).values("pk"))
        )

    def approvable_by(self, actor: Actor) -> Self:
        """What a server may be used for is its owners' to say, and a reviewer's."""
        if actor.may_everywhere(Right.GRANT):
            return self
        return self.filter(server__in=McpServer.objects.answered_for_by(actor).values("pk"))

    def changeable_by(self, actor: Actor) -> Self:
        """The owner of a client may ask for something else, and give back what is not needed."""
        if actor.may_everywhere(Right.GRANT):
            return self
        return self.filter(
            models.Q(server__in=McpServer.objects.answered_for_by(actor).values("pk"))
            | models.Q(client__in=McpClient.objects.answered_for_by(actor).values("pk"))
        )

    def with_state(self, now: datetime) -> Self:
        """Annotated with `state`, a GrantState."""
        return self.annotate(
            state=models.Case(
                models.When(withdrawn_at__isnull=False, then=models.Value(GrantState.WITHDRAWN.value)),
                models.When(approved_at=None, then=models.Value(GrantState.DRAFT.value)),
                models.When(ends_at__lte=now, then=models.Value(GrantState.ENDED.value)),
                default=models.Value(GrantState.APPROVED.value),
                output_field=models.CharField(),
            )
        )

    def current(self) -> Self:
        """Not withdrawn: drafts, approved ones, and those that have run out."""
        return self.filter(withdrawn_at=None)

    def in_force(self, now: datetime) -> Self:
        return self.current().filter(approved_at__lte=now, ends_at__gt=now)


@kept()
class Grant(Row):
    """Which tools, scopes and resources one client may reach on one server, and who approved it until when.

    Without an approval it is a draft and allows nothing.
    """

    client = models.ForeignKey(McpClient, models.CASCADE, related_name="+")
    server = models.ForeignKey(McpServer, models.CASCADE, related_name="+")
    tools = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    scopes = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    resources = ArrayField(models.TextField(), default=list, blank=True)
    tool_digests = models.JSONField(
        default=dict, blank=True, help_text="By name, the definition of each tool as it was when this was approved."
    )
    drafted_by = models.CharField(max_length=200)
    drafted_at = models.DateTimeField()
    approved_by = models.CharField(max_length=200, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)
    withdrawn_by = models.CharField(max_length=200, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    objects = GrantQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["client", "server"],
                condition=models.Q(withdrawn_at=None),
                name="grant_one_per_client_and_server",
            ),
            models.CheckConstraint(
                condition=models.Q(approved_at=None) | models.Q(ends_at__gt=models.F("approved_at")),
                name="grant_approved_ends_after_it_begins",
            ),
            models.CheckConstraint(
                condition=models.Q(approved_at=None, approved_by="")
                | models.Q(approved_at__isnull=False) & ~models.Q(approved_by=""),
                name="grant_approved_by_somebody",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["server"], condition=models.Q(withdrawn_at=None), name="grant_current_by_server"),
            models.Index(fields=["ends_at"], condition=models.Q(withdrawn_at=None), name="grant_current_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.client} on {self.server}"

    def state_at(self, now: datetime) -> GrantState:
        if self.withdrawn_at:
            return GrantState.WITHDRAWN
        if self.approved_at is None or self.ends_at is None:
            return GrantState.DRAFT
        return GrantState.ENDED if self.ends_at <= now else GrantState.APPROVED
