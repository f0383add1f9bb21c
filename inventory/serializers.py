"""Shapes of the inventory in the REST API. Of a secret there is the hint and the fingerprint, never more."""

from typing import Any

from django.db.models import Case, DateField, F, Q, TextField, Value, When
from django.db.models.functions import Cast, Coalesce
from rest_framework import serializers

from inventory.connection_kinds import SHOWN
from inventory.models import (
    AuthorizationServer,
    ClientRemoval,
    Connection,
    Credential,
    Environment,
    Exposure,
    Grant,
    LoggingRecord,
    Manifest,
    McpClient,
    McpServer,
    MetadataSnapshot,
    Owner,
    OwnershipDay,
    OwnershipQuestion,
    PostureCheck,
    SyncRun,
    Tenure,
    Tool,
    Use,
)
from inventory.states import SERVER_PARTS, Part, Severity
from web.shapes import Flag, Joined, Length, Level, Link, Members, Shape, Text, Texts, Url, address

SEEN = ("first_seen_at", "last_seen_at", "gone_at")
PLACE = Joined(F("file"), Value("#"), F("pointer"))


class OwnerSerializer(Shape):
    noun = "owners"
    url = Url()
    display = Text(F("name"))
    email = serializers.CharField()
    manager = Link("owners", "manager", allow_null=True)
    deputy = Link("owners", "deputy", "name", allow_null=True, help_text="Who stands in for them.")

    class Meta:
        model = Owner
        fields = ("id", "url", "display", "kind", "name", "email", "external_id", "manager", "deputy", "is_active")


class OwnershipQuestionSerializer(Shape):
    """Whether somebody answers for what is in an owner's name. Each in line has until `answer_by`."""

    noun = "ownership-questions"
    url = Url()
    display = Text(Joined(Value("Ownership of what is in the name of "), F("owner__name")))
    owner = Link("owners", "owner", help_text="In whose name it is.")
    asked = Link("owners", "asked", help_text="Who is asked now, or was last.")
    follows = Link(
        "ownership-questions",
        "follows",
        Joined(Value("Ownership of what is in the name of "), F("follows__owner__name")),
        allow_null=True,
        help_text="From which it was handed over.",
    )

    class Meta:
        model = OwnershipQuestion
        fields = (
            "id", "url", "display", "owner", "asked", "stage", "state", "is_again", "size", "opened_at", "asked_at",
            "answer_by", "passes", "ended_at", "answered_by", "reason", "follows", "hand_overs",
        )  # fmt: skip


class OfPart(Text):
    """The address of the thing that a tenure is about."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(Value(""), **kwargs)

    def sql(self, root: str, noun: str) -> Any:
        nouns = {Part.CREDENTIAL: "credentials", Part.CLIENT: "clients", **dict.fromkeys(SERVER_PARTS, "servers")}
        return Case(
            *(When(part=part, then=address(root, name, "subject_id")) for part, name in nouns.items()),
            output_field=TextField(),
        )


class TenureSerializer(Shape):
    """That one owner, or nobody, stands for one thing, since when, and whether they accepted it."""

    noun = "tenures"
    url = Url()
    display = Text(Joined(F("part"), Value(" "), F("subject_id")))
    subject_url = OfPart(help_text="The credential, client or server.")
    owner = Link("owners", "owner", allow_null=True)
    question = Link(
        "ownership-questions",
        "question",
        Joined(Value("Ownership of what is in the name of "), F("question__owner__name")),
        allow_null=True,
        help_text="By which they are being asked, or which ended without anybody who accepts.",
    )

    class Meta:
        model = Tenure
        fields = (
            "id", "url", "display", "part", "subject_id", "subject_url", "owner", "begun_at", "gap_since",
            "accepted_at", "ask_at", "question", "ended_at",
        )  # fmt: skip


class OwnershipDaySerializer(Shape):
    noun = "ownership-days"
    url = Url()
    display = Text(Joined(Value("Ownership on "), F("taken_on")))
    open_median = Length("open_median", allow_null=True, help_text="Seconds that open intervals last, at the median.")
    open_p90 = Length("open_p90", allow_null=True, help_text="Seconds that 90 of 100 open intervals do not exceed.")
    closed_median = Length("closed_median", allow_null=True, help_text="Seconds that closed ones lasted, likewise.")
    closed_p90 = Length("closed_p90", allow_null=True)

    class Meta:
        model = OwnershipDay
        fields = (
            "id", "url", "display", "taken_on", "counted_at", "accepted", "asked", "ownerless", "quarantined",
            "open_median", "open_p90", "closed", "closed_median", "closed_p90",
        )  # fmt: skip


class AnswerBody(serializers.Serializer[Any]):
    reason = serializers.CharField(
        max_length=500, required=False, default="", allow_blank=True,
        help_text="What a reviewer who records it for somebody else was told.",
    )  # fmt: skip


class DeclineBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, help_text="Why: kept with what was done.")


class HandOverBody(DeclineBody):
    to = serializers.UUIDField(help_text="The owner who answers for it.")

    class Meta:
        ref_name = "HandOverOwnership"


class EnvironmentSerializer(Shape):
    noun = "environments"
    url = Url()
    display = Text(F("name"))

    class Meta:
        model = Environment
        fields = ("id", "url", "display", "name", "criticality")


class ConnectionSerializer(Shape):
    noun = "connections"
    url = Url()
    display = Text(F("name"))
    environment = Link("environments", "environment", allow_null=True)
    settings = Members("settings", SHOWN, help_text="Where it looks, and references to secrets; never a secret.")
    interval = Length("interval", allow_null=True, help_text="Seconds between two syncs; null where it is only asked.")
    risk = Level(Severity, "risk")

    class Meta:
        model = Connection
        fields = (
            "id", "url", "display", "kind", "name", "settings", "environment", "interval", "is_enabled", "due_at",
            "last_complete_at", "created_at", "risk", "open_findings",
        )  # fmt: skip


class SyncRunSerializer(Shape):
    noun = "sync-runs"
    url = Url()
    display = Text(Joined(F("connection__name"), Value(" "), Cast("started_at", DateField())))
    connection = Link("connections", "connection")

    class Meta:
        model = SyncRun
        fields = (
            "id", "url", "display", "connection", "state", "requested_by", "started_at", "finished_at", "done",
            "expected", "received", "counts", "problems", "error", "digest",
        )  # fmt: skip


class AuthorizationServerSerializer(Shape):
    noun = "authorization-servers"
    url = Url()
    display = Text(F("issuer"))

    class Meta:
        model = AuthorizationServer
        fields = (
            "id", "url", "display", "issuer", "is_external", "capabilities", "metadata", "first_seen_at", "checked_at",
            "changed_at",
        )  # fmt: skip


class ServerSerializer(Shape):
    noun = "servers"
    url = Url()
    display = Text(F("name"))
    endpoint = Text(F("url"), help_text="Where a remote server answers; empty for one that is launched.")
    environment = Link("environments", "environment", allow_null=True)
    connection = Link("connections", "connection")
    iam_owner = Link("owners", "iam_owner", allow_null=True)
    platform_owner = Link("owners", "platform_owner", allow_null=True)
    application_owner = Link("owners", "application_owner", allow_null=True)
    authorization_server = Link("authorization-servers", "authorization_server", "issuer", allow_null=True)
    risk = Level(Severity, "risk")

    class Meta:
        model = McpServer
        fields = (
            "id", "url", "display", "name", "transport", "endpoint", "launcher", "package", "package_version",
            "is_pinned", "command", "environment", "role", "iam_owner", "platform_owner", "application_owner", "vendor",
            "protocol_versions", "authentication", "authorization_server", "scopes", "probed_at", "probe_error",
            "tools_listed_at", "tools_error", "connection", "risk", "open_findings", *SEEN,
        )  # fmt: skip


class ToolSerializer(Shape):
    noun = "tools"
    url = Url()
    display = Text(F("name"))
    server = Link("servers", "server")
    is_changed = Flag(
        Q(approved_digest__gt="") & ~Q(approved_digest=F("schema_digest")),
        help_text="The definition is no longer the one that was approved.",
    )

    class Meta:
        model = Tool
        fields = (
            "id", "url", "display", "server", "name", "description", "is_read_only", "is_destructive",
            "is_open_world", "scopes", "is_changed", "schema_digest", "approved_digest", "approved_by", "approved_at",
            "first_seen_at", "changed_at", "gone_at",
        )  # fmt: skip


class PostureCheckSerializer(Shape):
    noun = "posture-checks"
    url = Url()
    display = Text(Joined(F("check_id"), Value(" "), F("verdict")))
    server = Link("servers", "server", allow_null=True)
    authorization_server = Link("authorization-servers", "authorization_server", "issuer", allow_null=True)
    client = Link("clients", "client", allow_null=True)
    severity = Level(Severity, "severity")

    class Meta:
        model = PostureCheck
        fields = (
            "id", "url", "display", "server", "authorization_server", "client", "check_id", "verdict", "severity",
            "evidence", "specification", "checked_at", "changed_at",
        )  # fmt: skip


class LoggingRecordSerializer(Shape):
    noun = "logging-records"
    url = Url()
    display = Text(Joined(F("server__name"), Value(" "), F("happening")))
    server = Link("servers", "server")

    class Meta:
        model = LoggingRecord
        fields = (
            "id", "url", "display", "server", "trust_model", "happening", "is_logged", "evidence", "recorded_by",
            "recorded_at",
        )  # fmt: skip


class MetadataSnapshotSerializer(Shape):
    noun = "metadata-snapshots"
    url = Url()
    display = Text(
        Joined(
            Coalesce(F("server__name"), F("authorization_server__issuer"), F("client__name")),
            Value(" "),
            Cast("first_seen_at", DateField()),
        )
    )
    server = Link("servers", "server", allow_null=True)
    authorization_server = Link("authorization-servers", "authorization_server", "issuer", allow_null=True)
    client = Link("clients", "client", allow_null=True)
    differences = Texts(F("differences"), help_text="From the snapshot before, in sentences; none in the first.")

    class Meta:
        model = MetadataSnapshot
        fields = (
            "id", "url", "display", "server", "authorization_server", "client", "digest", "differences", "document",
            "first_seen_at",
        )  # fmt: skip


class ClientSerializer(Shape):
    noun = "clients"
    url = Url()
    display = Text(F("name"))
    authorization_server = Link("authorization-servers", "authorization_server", "issuer", allow_null=True)
    owner = Link("owners", "owner", allow_null=True)
    connection = Link("connections", "connection")
    risk = Level(Severity, "risk")

    class Meta:
        model = McpClient
        fields = (
            "id", "url", "display", "name", "product", "host", "client_id", "authorization_server", "registration",
            "redirect_uris", "grant_types", "software_id", "application_type", "scopes", "issued_at",
            "secret_expires_at", "last_used_at", "registration_uri", "registration_reference", "hygiene",
            "hygiene_key", "hygiene_reason", "owner", "admission", "admission_changed_at", "admission_reason",
            "connection", "risk", "open_findings", *SEEN,
        )  # fmt: skip


class ClientRemovalSerializer(Shape):
    noun = "client-removals"
    url = Url()
    display = Text(Joined(Value("removal of "), F("client__name")))
    client = Link("clients", "client")
    quiet = Length("quiet", help_text="Seconds between suspension and deletion.")

    class Meta:
        model = ClientRemoval
        fields = (
            "id", "url", "display", "client", "stage", "stage_at", "reason", "requested_by", "announced_at",
            "suspended_at", "quiet", "is_despite_use", "known_use_at", "attempts", "next_at", "error", "ended_at",
            "ended_reason",
        )  # fmt: skip


class GrantSerializer(Shape):
    noun = "grants"
    url = Url()
    display = Text(Joined(F("client__name"), Value(" on "), F("server__name")))
    client = Link("clients", "client")
    server = Link("servers", "server")

    class Meta:
        model = Grant
        fields = (
            "id", "url", "display", "client", "server", "tools", "tool_digests", "scopes", "resources", "drafted_by",
            "drafted_at", "approved_by", "approved_at", "ends_at", "reason", "withdrawn_by", "withdrawn_at",
        )  # fmt: skip


class ManifestSerializer(Shape):
    noun = "manifests"
    url = Url()
    display = Text(F("name"))
    connection = Link("connections", "connection")

    class Meta:
        model = Manifest
        fields = ("id", "url", "display", "connection", "file", "name", "version", "packages", "urls", "inputs", *SEEN)


class CredentialSerializer(Shape):
    noun = "credentials"
    url = Url()
    display = Text(F("name"))
    owner = Link("owners", "owner", allow_null=True)
    custodian = Link("owners", "custodian", allow_null=True)
    environment = Link("environments", "environment", allow_null=True)
    connection = Link("connections", "connection")
    known_since = serializers.DateTimeField(
        help_text="The secret is at least as old as this; exactly as old where `issued_at` is known."
    )
    risk = Level(Severity, "risk", help_text="The worst severity among its open findings.")
    score = serializers.IntegerField(
        min_value=0, max_value=100, help_text="Its place among credentials of one risk: 0 to 100, the higher the worse."
    )

    class Meta:
        model = Credential
        fields: tuple[str, ...] = (
            "id", "url", "display", "name", "kind", "issuer", "principal", "trust_model", "subject", "owner",
            "custodian", "environment", "connection", "storage", "reference", "scopes", "status", "external_id",
            "fingerprint", "hint", "details", "tags", "issued_at", "known_since", "last_used_at", "expires_at",
            "reviewed_at", "reviewed_by", "risk", "score", "open_findings", *SEEN,
        )  # fmt: skip


class ExposureSerializer(Shape):
    noun = "exposures"
    url = Url()
    display = Text(PLACE)
    credential = Link("credentials", "credential")
    connection = Link("connections", "connection")

    class Meta:
        model = Exposure
        fields = (
            "id", "url", "display", "credential", "connection", "host", "file", "pointer", "is_readable_by_others",
            *SEEN,
        )  # fmt: skip


class UseSerializer(Shape):
    noun = "uses"
    held_as = serializers.CharField(help_text="As a credential's `storage`; empty where there is no credential.")
    url = Url()
    display = Text(PLACE)
    client = Link("clients", "client")
    server = Link("servers", "server")
    credential = Link("credentials", "credential", allow_null=True)
    environment = Link("environments", "environment", allow_null=True)
    connection = Link("connections", "connection")

    class Meta:
        model = Use
        fields = (
            "id", "url", "display", "client", "server", "credential", "environment", "connection", "file", "pointer",
            "held_as", "is_disabled", *SEEN,
        )  # fmt: skip
