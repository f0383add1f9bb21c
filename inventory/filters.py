"""Filters of the inventory's lists, for pages and the REST API. A parameter is named after its field."""

from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django_filters import CharFilter, ChoiceFilter, FilterSet, NumberFilter, UUIDFilter

from history.past import now as clock
from inventory.models import (
    AuthorizationServer,
    Connection,
    Credential,
    Environment,
    Exposure,
    Grant,
    McpClient,
    McpServer,
    Owner,
    OwnershipQuestion,
    PostureCheck,
    Use,
)
from inventory.models.reach import FINDABLE, has_cell
from inventory.states import (
    Admission,
    Authentication,
    ConnectionKind,
    CredentialKind,
    CredentialStatus,
    GrantState,
    Hygiene,
    Logged,
    OwnerKind,
    Part,
    QuestionState,
    Registration,
    RemovalStage,
    RunState,
    ServerRole,
    Severity,
    Stage,
    Storage,
    Transport,
    TrustModel,
    Verdict,
)
from web.narrowing import (
    ChoicesFilter,
    FlagFilter,
    LevelFilter,
    MomentFilter,
    RowFilter,
    SearchFilter,
    SetFilter,
    after,
    before,
)

Rows = QuerySet[Any]
CRITICALITY = [("3", "Production"), ("2", "Staging"), ("1", "Development"), ("0", "Personal")]


def gone() -> SetFilter:
    return SetFilter(field_name="gone_at", label="Gone")


def used(rows: Rows, by: str, **where: Any) -> Rows:
    """Rows that are named by a present use; `by` is the use's key to them."""
    return rows.filter(Exists(Use.objects.present().filter(**{by: OuterRef("pk")}, **where)))


class OwnerFilter(FilterSet):  # type: ignore[misc]
    q = SearchFilter()
    kind = ChoicesFilter(choices=OwnerKind.choices, label="Kind")
    is_active = FlagFilter(field_name="is_active", label="Active")
    email = CharFilter(field_name="email", lookup_expr="iexact", label="E-mail", max_length=254)
    external_id = CharFilter(field_name="external_id", label="External id", max_length=200)
    manager = RowFilter(Owner, offered=True, field_name="manager", label="Manager")
    deputy = RowFilter(Owner, field_name="deputy", label="Deputy")


class OwnershipQuestionFilter(FilterSet):  # type: ignore[misc]
    state = ChoicesFilter(choices=QuestionState.choices, label="State")
    stage = ChoicesFilter(choices=Stage.choices, label="Asked as")
    mine = FlagFilter(method="of_mine", label="Asked of me")
    owner = RowFilter(Owner, offered=True, field_name="owner", label="In the name of")
    asked = RowFilter(Owner, field_name="asked", label="Asked of")
    is_again = FlagFilter(field_name="is_again", label="Accepted before")
    follows = RowFilter(OwnershipQuestion, field_name="follows", label="Handed over from")
    answer_after = after("answer_by", "Answer due from")
    answer_before = before("answer_by", "Answer due before")

    def of_mine(self, rows: Rows, name: str, value: bool) -> Rows:
        mine = OwnershipQuestion.objects.asked_of(self.request.actor).order_by().values("pk")
        return rows.filter(pk__in=mine) if value else rows.exclude(pk__in=mine)


class TenureFilter(FilterSet):  # type: ignore[misc]
    part = ChoicesFilter(choices=Part.choices, label="Part")
    subject_id = UUIDFilter(field_name="subject_id", label="Id of the thing")
    owner = RowFilter(Owner, offered=True, field_name="owner", label="Owner")
    has_owner = SetFilter(field_name="owner", label="Has an owner")
    accepted = SetFilter(field_name="accepted_at", label="Accepted")
    question = RowFilter(OwnershipQuestion, field_name="question", label="Question")
    ended = SetFilter(field_name="ended_at", label="Ended")
    gap_after = after("gap_since", "Without an accepted owner from")
    gap_before = before("gap_since", "Without an accepted owner before")


class OwnershipDayFilter(FilterSet):  # type: ignore[misc]
    counted_after = after("counted_at", "Counted from")
    counted_before = before("counted_at", "Counted before")


class EnvironmentFilter(FilterSet):  # type: ignore[misc]
    name = CharFilter(field_name="name", label="Name", max_length=50)
    criticality = ChoicesFilter(field_name="criticality", choices=CRITICALITY, label="Criticality")


class ConnectionFilter(FilterSet):  # type: ignore[misc]
    kind = ChoicesFilter(choices=ConnectionKind.choices, label="Kind")
    name = CharFilter(field_name="name", label="Name", max_length=200)
    environment = RowFilter(Environment, offered=True, field_name="environment", label="Environment")
    is_enabled = FlagFilter(field_name="is_enabled", label="Enabled")
    risk = LevelFilter(Severity, label="Risk")
    last_complete_after = after("last_complete_at", "Last complete from")
    last_complete_before = before("last_complete_at", "Last complete before")


class SyncRunFilter(FilterSet):  # type: ignore[misc]
    connection = RowFilter(Connection, offered=True, field_name="connection", label="Connection")
    state = ChoicesFilter(choices=RunState.choices, label="State")
    started_after = after("started_at", "Started from")
    started_before = before("started_at", "Started before")


class AuthorizationServerFilter(FilterSet):  # type: ignore[misc]
    q = SearchFilter()
    issuer = CharFilter(field_name="issuer", label="Issuer", max_length=2000)
    is_external = FlagFilter(field_name="is_external", label="External identity provider")
    capability = CharFilter(method="with_capability", label="Capability", max_length=40)
    checked_after = after("checked_at", "Checked from")
    checked_before = before("checked_at", "Checked before")
    changed_after = after("changed_at", "Changed from")
    changed_before = before("changed_at", "Changed before")

    def with_capability(self, rows: Rows, name: str, value: str) -> Rows:
        return rows.filter(capabilities__contains=[value])


class McpServerFilter(FilterSet):  # type: ignore[misc]
    q = SearchFilter()
    transport = ChoicesFilter(choices=Transport.choices, label="Transport")
    role = ChoicesFilter(choices=ServerRole.choices, label="Role")
    risk = LevelFilter(Severity, label="Risk")
    environment = RowFilter(Environment, offered=True, field_name="environment", label="Environment")
    owner = RowFilter(Owner, offered=True, method="owned_by", label="Owner")
    has_owners = FlagFilter(method="fully_owned", label="Has all three owners")
    connection = RowFilter(Connection, offered=True, field_name="connection", label="Connection")
    authorization_server = RowFilter(
        AuthorizationServer, field_name="authorization_server", label="Authorization server"
    )
    authentication = ChoicesFilter(choices=Authentication.choices, label="Asks for")
    posture = ChoiceFilter(
        method="judged", choices=[*Verdict.choices[:3], ("unjudged", "Never judged")], label="Has a check that is"
    )
    vendor = CharFilter(field_name="vendor", label="Vendor", max_length=200)
    is_pinned = FlagFilter(field_name="is_pinned", label="Pinned to a version")
    client = RowFilter(McpClient, method="used_by", label="Client")
    credential = RowFilter(Credential, method="used_with", label="Credential")
    gone = gone()
    probe_failed = FlagFilter(method="asked_in_vain", label="Last probe failed")
    probed_after = after("probed_at", "Probed from")
    probed_before = before("probed_at", "Probed before")
    first_seen_after = after("first_seen_at", "First seen from")
    first_seen_before = before("first_seen_at", "First seen before")

    def asked_in_vain(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.exclude(probe_error="") if value else rows.filter(probe_error="")

    def judged(self, rows: Rows, name: str, value: str) -> Rows:
        checks = PostureCheck.objects.filter(server=OuterRef("pk"))
        if value == "unjudged":
            return rows.filter(~Exists(checks))
        # Said together with the condition of the partial index over what is violated, which else would not serve.
        return rows.filter(Exists(checks.filter(verdict=value, server__isnull=False)))

    def owned_by(self, rows: Rows, name: str, value: Owner) -> Rows:
        return rows.filter(Q(iam_owner=value) | Q(platform_owner=value) | Q(application_owner=value))

    def fully_owned(self, rows: Rows, name: str, value: bool) -> Rows:
        owned = Q(iam_owner__is_active=True, platform_owner__is_active=True, application_owner__is_active=True)
        if value:
            return rows.filter(owned)
        active = Owner.objects.filter(is_active=True)
        roles = ("iam_owner", "platform_owner", "application_owner")
        lacking = (~Exists(active.filter(pk=OuterRef(role))) for role in roles)
        return rows.filter(reduce(or_, (Q(one) for one in lacking)))

    def used_by(self, rows: Rows, name: str, value: McpClient) -> Rows:
        return used(rows, "server", client=value)

    def used_with(self, rows: Rows, name: str, value: Credential) -> Rows:
        return used(rows, "server", credential=value)


class ToolFilter(FilterSet):  # type: ignore[misc]
    server = RowFilter(McpServer, field_name="server", label="Server")
    name = CharFilter(field_name="name", label="Name", max_length=300)
    is_read_only = FlagFilter(field_name="is_read_only", label="Read-only")
    is_destructive = FlagFilter(field_name="is_destructive", label="Destructive")
    is_open_world = FlagFilter(field_name="is_open_world", label="Open world")
    is_changed = FlagFilter(method="changed", label="Changed after approval")
    approved = SetFilter(field_name="approved_at", label="Approved")
    gone = gone()
    changed_after = after("changed_at", "Changed from")
    changed_before = before("changed_at", "Changed before")
    first_seen_after = after("first_seen_at", "First seen from")
    first_seen_before = before("first_seen_at", "First seen before")

    def changed(self, rows: Rows, name: str, value: bool) -> Rows:
        changed = ~Q(approved_digest="") & ~Q(approved_digest=F("schema_digest"))
        return rows.filter(changed if value else ~changed)


class PostureCheckFilter(FilterSet):  # type: ignore[misc]
    server = RowFilter(McpServer, field_name="server", label="Server")
    authorization_server = RowFilter(
        AuthorizationServer, field_name="authorization_server", label="Authorization server"
    )
    client = RowFilter(McpClient, field_name="client", label="Client")
    check_id = CharFilter(field_name="check_id", label="Check", max_length=40)
    verdict = ChoicesFilter(choices=Verdict.choices, label="Verdict")
    severity = LevelFilter(Severity, label="Severity")
    checked_after = after("checked_at", "Checked from")
    checked_before = before("checked_at", "Checked before")
    changed_after = after("changed_at", "Changed from")
    changed_before = before("changed_at", "Changed before")


class LoggingRecordFilter(FilterSet):  # type: ignore[misc]
    server = RowFilter(McpServer, field_name="server", label="Server")
    trust_model = ChoicesFilter(choices=TrustModel.choices, label="Trust model")
    happening = ChoicesFilter(choices=Logged.choices, label="Happening")
    is_logged = FlagFilter(field_name="is_logged", label="Logged")
    recorded_after = after("recorded_at", "Recorded from")
    recorded_before = before("recorded_at", "Recorded before")


class MetadataSnapshotFilter(FilterSet):  # type: ignore[misc]
    server = RowFilter(McpServer, field_name="server", label="Server")
    authorization_server = RowFilter(
        AuthorizationServer, field_name="authorization_server", label="Authorization server"
    )
    client = RowFilter(McpClient, field_name="client", label="Client")
    is_change = FlagFilter(method="changing", label="Says something else than the one before")
    first_seen_after = after("first_seen_at", "First seen from")
    first_seen_before = before("first_seen_at", "First seen before")

    def changing(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.changes() if value else rows.filter(differences=[])  # type: ignore[attr-defined]


class McpClientFilter(FilterSet):  # type: ignore[misc]
    q = SearchFilter()
    product = CharFilter(field_name="product", label="Product", max_length=60)
    host = CharFilter(field_name="host", label="Host", max_length=200)
    client_id = CharFilter(field_name="client_id", label="Client id", max_length=300)
    risk = LevelFilter(Severity, label="Risk")
    registration = ChoicesFilter(choices=Registration.choices, label="Registration")
    admission = ChoicesFilter(choices=Admission.choices, label="Admission")
    hygiene = ChoicesFilter(choices=Hygiene.choices, label="Hygiene")
    hygiene_key = CharFilter(field_name="hygiene_key", label="Looks like", max_length=400)
    owner = RowFilter(Owner, offered=True, field_name="owner", label="Owner")
    has_owner = FlagFilter(method="owned", label="Has an active owner")
    authorization_server = RowFilter(
        AuthorizationServer, field_name="authorization_server", label="Authorization server"
    )
    connection = RowFilter(Connection, offered=True, field_name="connection", label="Connection")
    server = RowFilter(McpServer, method="using_server", label="Server")
    credential = RowFilter(Credential, method="using_credential", label="Credential")
    gone = gone()
    issued_after = after("issued_at", "Registered from")
    issued_before = before("issued_at", "Registered before")
    last_used_after = after("last_used_at", "Last used from")
    last_used_before = before("last_used_at", "Last used before")
    secret_expires_after = after("secret_expires_at", "Secret expires from")
    secret_expires_before = before("secret_expires_at", "Secret expires before")
    first_seen_after = after("first_seen_at", "First seen from")
    first_seen_before = before("first_seen_at", "First seen before")

    def owned(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(owner__is_active=True) if value else rows.exclude(owner__is_active=True)

    def using_server(self, rows: Rows, name: str, value: McpServer) -> Rows:
        return used(rows, "client", server=value)

    def using_credential(self, rows: Rows, name: str, value: Credential) -> Rows:
        return used(rows, "client", credential=value)


class QueueFilter(McpClientFilter):
    """Of clients that wait for a decision; what all of them share is not asked again."""

    admission = None  # type: ignore[assignment]  # how django-filter takes an inherited filter away
    gone = None  # type: ignore[assignment]


class ClientRemovalFilter(FilterSet):  # type: ignore[misc]
    client = RowFilter(McpClient, field_name="client", label="Client")
    stage = ChoicesFilter(choices=RemovalStage.choices, label="Stage")
    ended = SetFilter(field_name="ended_at", label="Ended")
    due_before = before("next_at", "Next step before")


class GrantFilter(FilterSet):  # type: ignore[misc]
    client = RowFilter(McpClient, field_name="client", label="Client")
    server = RowFilter(McpServer, field_name="server", label="Server")
    approved = SetFilter(field_name="approved_at", label="Approved")
    withdrawn = SetFilter(field_name="withdrawn_at", label="Withdrawn")
    approved_after = after("approved_at", "Approved from")
    approved_before = before("approved_at", "Approved before")
    ends_after = after("ends_at", "Ends from")
    ends_before = before("ends_at", "Ends before")


class ManifestFilter(FilterSet):  # type: ignore[misc]
    connection = RowFilter(Connection, offered=True, field_name="connection", label="Connection")
    name = CharFilter(field_name="name", label="Name", max_length=300)
    version = CharFilter(field_name="version", label="Version", max_length=200)
    file = CharFilter(field_name="file", label="File", max_length=4000)
    package = CharFilter(method="with_package", label="Package", max_length=400)
    gone = gone()

    def with_package(self, rows: Rows, name: str, value: str) -> Rows:
        return rows.filter(packages__contains=[value])


class GrantPageFilter(GrantFilter):
    """As people want it: what was withdrawn only when asked for."""

    state = ChoicesFilter(method="in_state", choices=GrantState.choices, label="State")

    def in_state(self, rows: Rows, name: str, value: list[str]) -> Rows:
        return rows.filter(state__in=value) if value else rows

    def filter_queryset(self, queryset: Rows) -> Rows:
        found: Rows = super().filter_queryset(queryset)
        given = self.form.cleaned_data
        return found if given.get("state") or given.get("withdrawn") is not None else found.filter(withdrawn_at=None)


class MatrixFilter(FilterSet):  # type: ignore[misc]
    """Of the clients down the matrix; the server narrows the columns too."""

    q = SearchFilter()
    server = RowFilter(McpServer, offered=True, method="reaching", label="Server")
    owner = RowFilter(Owner, offered=True, field_name="owner", label="Client's owner")
    reach = ChoicesFilter(
        method="having", choices=[(state.value, state.label) for state in FINDABLE], label="Has a pair with"
    )

    def reaching(self, rows: Rows, name: str, value: McpServer) -> Rows:
        """From the server to its clients: two conditions with an "or" between them would be asked of every client."""
        uses = Use.objects.present().filter(server=value).order_by().values("client")
        grants = Grant.objects.current().filter(server=value).order_by().values("client")
        return rows.filter(pk__in=uses.union(grants))

    def having(self, rows: Rows, name: str, value: list[str]) -> Rows:
        return rows.filter(has_cell(value, clock())) if value else rows


class CredentialFilter(FilterSet):  # type: ignore[misc]
    q = SearchFilter()
    kind = ChoicesFilter(choices=CredentialKind.choices, label="Kind")
    status = ChoicesFilter(choices=CredentialStatus.choices, label="Status")
    risk = LevelFilter(Severity, label="Risk")
    score_min = NumberFilter(
        field_name="score", lookup_expr="gte", min_value=0, max_value=100, decimal_places=0, label="Score from"
    )
    trust_model = ChoicesFilter(choices=TrustModel.choices, label="Trust model")
    storage = ChoicesFilter(choices=Storage.choices, label="Held as")
    issuer = CharFilter(field_name="issuer", label="Issuer", max_length=100)
    owner = RowFilter(Owner, offered=True, field_name="owner", label="Owner")
    has_owner = FlagFilter(method="owned", label="Has an active owner")
    environment = RowFilter(Environment, offered=True, field_name="environment", label="Environment")
    connection = RowFilter(Connection, offered=True, field_name="connection", label="Connection")
    server = RowFilter(McpServer, method="used_on", label="Server")
    client = RowFilter(McpClient, method="used_by", label="Client")
    exposed = FlagFilter(method="seen_exposed", label="Exposed")
    gone = gone()
    tag = CharFilter(method="with_tag", label="Tag", max_length=60)
    fingerprint = CharFilter(method="with_fingerprint", label="Fingerprint", max_length=80)
    external_id = CharFilter(method="with_external_id", label="External id", max_length=200)
    issued_after = MomentFilter(method="issued_from", label="Issued from")
    issued_before = MomentFilter(method="issued_until", label="Issued before")
    expires_after = after("expires_at", "Expires from")
    expires_before = before("expires_at", "Expires before")
    last_used_after = after("last_used_at", "Last used from")
    last_used_before = before("last_used_at", "Last used before")
    first_seen_after = after("first_seen_at", "First seen from")
    first_seen_before = before("first_seen_at", "First seen before")

    def owned(self, rows: Rows, name: str, value: bool) -> Rows:
        """An owner who has left answers for nothing: without an active one it is an orphan."""
        return rows.filter(owner__is_active=True) if value else rows.unowned()  # type: ignore[attr-defined]

    def used_on(self, rows: Rows, name: str, value: McpServer) -> Rows:
        return used(rows, "credential", server=value)

    def used_by(self, rows: Rows, name: str, value: McpClient) -> Rows:
        return used(rows, "credential", client=value)

    def seen_exposed(self, rows: Rows, name: str, value: bool) -> Rows:
        seen = Exists(Exposure.objects.present().filter(credential=OuterRef("pk")))
        return rows.filter(seen if value else ~seen)

    # What was issued before a moment is known since before it: the index is over `known_since`.
    def issued_from(self, rows: Rows, name: str, value: datetime) -> Rows:
        return rows.filter(issued_at__gte=value, known_since__gte=value)

    def issued_until(self, rows: Rows, name: str, value: datetime) -> Rows:
        return rows.filter(issued_at__lt=value, known_since__lt=value)

    # Said together with the condition of their partial indexes, which else would not serve.
    def with_fingerprint(self, rows: Rows, name: str, value: str) -> Rows:
        return rows.filter(~Q(fingerprint=""), fingerprint=value)

    def with_tag(self, rows: Rows, name: str, value: str) -> Rows:
        return rows.filter(~Q(tags=[]), tags__contains=[value.lower()])

    def with_external_id(self, rows: Rows, name: str, value: str) -> Rows:
        return rows.filter(~Q(external_id=""), external_id=value)


class ExposureFilter(FilterSet):  # type: ignore[misc]
    q = SearchFilter()
    credential = RowFilter(Credential, field_name="credential", label="Credential")
    owner = RowFilter(Owner, offered=True, method="owned_by", label="Owner")
    connection = RowFilter(Connection, offered=True, field_name="connection", label="Connection")
    host = CharFilter(field_name="host", label="Host", max_length=200)
    file = CharFilter(field_name="file", label="File", max_length=4000)
    is_readable_by_others = FlagFilter(field_name="is_readable_by_others", label="Readable by others")
    gone = gone()
    first_seen_after = after("first_seen_at", "First seen from")
    first_seen_before = before("first_seen_at", "First seen before")

    def owned_by(self, rows: Rows, name: str, value: Owner) -> Rows:
        return rows.filter(credential__in=Credential.objects.filter(owner=value).values("pk"))


class UseFilter(FilterSet):  # type: ignore[misc]
    client = RowFilter(McpClient, field_name="client", label="Client")
    server = RowFilter(McpServer, field_name="server", label="Server")
    credential = RowFilter(Credential, field_name="credential", label="Credential")
    environment = RowFilter(Environment, offered=True, field_name="environment", label="Environment")
    connection = RowFilter(Connection, offered=True, field_name="connection", label="Connection")
    held_as = ChoicesFilter(choices=Storage.choices, label="Held as")
    is_disabled = FlagFilter(field_name="is_disabled", label="Disabled")
    gone = gone()
    first_seen_after = after("first_seen_at", "First seen from")
    first_seen_before = before("first_seen_at", "First seen before")
