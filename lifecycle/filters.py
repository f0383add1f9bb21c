"""Filters of findings, waivers, policies and rules, and what the lifecycle adds to those of credentials."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django_filters import CharFilter, FilterSet

from history.past import now as clock
from inventory.filters import CredentialFilter
from inventory.models import Connection, Credential, Environment, McpClient, McpServer, Owner
from inventory.models.base import AnyOf
from inventory.states import ENDED, CredentialKind, Severity, TrustModel
from lifecycle.models import Batch, ChangeFreeze, Finding, Obligation, Operation, Policy, ScheduledJob, Waiver
from lifecycle.models.findings import named_like, placed_in
from lifecycle.rules import RULES, Subject
from lifecycle.states import (
    CLOSED,
    ENDS_SOON,
    FINAL,
    AttemptOutcome,
    Automation,
    BatchKind,
    BatchState,
    Change,
    FindingState,
    ItemState,
    LinkKind,
    OperationKind,
    OperationState,
    Proof,
    Raised,
    Resolution,
    RunOutcome,
    Step,
    Trigger,
    WaiverState,
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
    once,
)

Rows = QuerySet[Any]
RULE_CHOICES = sorted(((slug, rule.name) for slug, rule in RULES.items()), key=lambda choice: choice[1])
SUBJECT_CHOICES = [(subject.value, subject.value.capitalize()) for subject in Subject]
CONTROL_CHOICES = [(control, control) for control in sorted({c for rule in RULES.values() for c in rule.controls})]
WAIVER_CHOICES = [
    ("requested", "Requested"), ("active", "Active"), ("ending", "Ends within 14 days"),
    ("outgrown", "Granted when it was less severe"),
]  # fmt: skip
IS_OWNER = "is an owner"  # known of the asker, by this name
SEVERITIES = [severity for severity in Severity if severity is not Severity.NONE]


class CredentialPageFilter(CredentialFilter):
    """Credentials by what is asked of them and by what they violate."""

    finding = ChoicesFilter(choices=RULE_CHOICES, method="with_finding", label="Finding")
    policy = RowFilter(Policy, offered=True, method="under_policy", label="Policy")
    rotate_by_after = MomentFilter(method="due_from", label="Rotation due from")
    rotate_by_before = MomentFilter(method="due_before", label="Rotation due before")
    due_on = MomentFilter(method="due_within", label="Rotation or expiry on")

    def with_finding(self, rows: Rows, name: str, value: list[str]) -> Rows:
        violated = Finding.objects.unresolved().filter(credential=OuterRef("pk"), rule__in=value)
        return rows.filter(Exists(violated)) if value else rows

    def under_policy(self, rows: Rows, name: str, value: Policy) -> Rows:
        return rows.filter(Exists(Obligation.objects.filter(credential=OuterRef("pk"), policy=value)))

    def due_from(self, rows: Rows, name: str, value: Any) -> Rows:
        return rows.filter(Exists(Obligation.objects.filter(credential=OuterRef("pk"), rotate_by__gte=value)))

    def due_before(self, rows: Rows, name: str, value: Any) -> Rows:
        return rows.filter(Exists(Obligation.objects.filter(credential=OuterRef("pk"), rotate_by__lt=value)))

    def due_within(self, rows: Rows, name: str, value: datetime) -> Rows:
        """Either of the two within the day that begins then; what has ended is due no more."""
        within = {"gte": value, "lt": value + timedelta(days=1)}
        rotations = Obligation.objects.filter(**{f"rotate_by__{lookup}": at for lookup, at in within.items()})
        expiring = Q(**{f"expires_at__{lookup}": at for lookup, at in within.items()})
        return rows.exclude(status__in=ENDED).filter(expiring | Q(pk__in=rotations.values("credential")))


class FindingFilter(FilterSet):  # type: ignore[misc]
    q = SearchFilter(method="called")
    rule = ChoicesFilter(choices=RULE_CHOICES, label="Rule")
    control = ChoicesFilter(choices=CONTROL_CHOICES, method="of_control", label="Control")
    severity = LevelFilter(SEVERITIES, label="Severity")
    state = ChoicesFilter(choices=FindingState.choices, method="in_state", label="State")
    resolution = ChoicesFilter(choices=Resolution.choices, label="Resolved because")
    unresolved = FlagFilter(method="still_unresolved", label="Unresolved")
    overdue = FlagFilter(method="past_due", label="Past due")
    subject = ChoicesFilter(choices=SUBJECT_CHOICES, method="about", label="Subject")
    credential = RowFilter(Credential, field_name="credential", label="Credential")
    server = RowFilter(McpServer, field_name="server", label="Server")
    client = RowFilter(McpClient, field_name="client", label="Client")
    connection = RowFilter(Connection, field_name="connection", label="Connection")
    job = RowFilter(ScheduledJob, field_name="job", label="Scheduled job")
    owner = RowFilter(Owner, offered=True, method="owned_by", label="Owner")
    has_owner = FlagFilter(method="with_owner", label="Has an owner")
    assigned_to = RowFilter(Owner, field_name="assigned_to", label="Assigned to")
    is_assigned = SetFilter(field_name="assigned_to", label="Assigned")
    mine = FlagFilter(method="of_mine", label="Mine")
    at_server = RowFilter(McpServer, method="at", label="At server")
    has_server = FlagFilter(method="with_server", label="Has a server")
    environment = RowFilter(Environment, offered=True, method="in_environment", label="Environment")
    raised_by = ChoicesFilter(choices=Raised.choices, method="raised_because", label="More severe because")
    escalated = SetFilter(field_name="escalated_at", label="Escalated")
    waiver = ChoicesFilter(choices=WAIVER_CHOICES, method="with_waiver", label="Waiver")
    due_after = after("due_at", "Due from")
    due_before = before("due_at", "Due before")
    opened_after = after("opened_at", "Opened from")
    opened_before = before("opened_at", "Opened before")
    resolved_after = after("resolved_at", "Resolved from")
    resolved_before = before("resolved_at", "Resolved before")

    def called(self, rows: Rows, name: str, value: str) -> Rows:
        return rows.filter(once(self.request, (named_like, value), lambda: named_like(value))) if value else rows

    def of_control(self, rows: Rows, name: str, value: list[str]) -> Rows:
        wanted = set(value)
        supporting = [slug for slug, rule in RULES.items() if wanted & set(rule.controls)]
        return rows.filter(rule__in=supporting) if value else rows

    def in_state(self, rows: Rows, name: str, value: list[str]) -> Rows:
        """Says too what the states imply of `resolved_at`: the indexes are over unresolved and over resolved rows."""
        if not value:
            return rows
        is_final = {state in FINAL for state in value}
        if len(is_final) == 1:
            rows = rows.filter(resolved_at__isnull=not is_final.pop())
        return rows.filter(state__in=value)

    def still_unresolved(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(resolved_at__isnull=value)

    def past_due(self, rows: Rows, name: str, value: bool) -> Rows:
        overdue = Finding.objects.overdue(clock()).filter(pk=OuterRef("pk"))
        return rows.overdue(clock()) if value else rows.exclude(Exists(overdue))  # type: ignore[attr-defined]

    def about(self, rows: Rows, name: str, value: list[str]) -> Rows:
        if not value:
            return rows
        # One condition for each kind left out: an OR over those asked for would read every finding.
        others = [subject for subject in Subject if subject.value not in value]
        if len(value) == 1:
            return rows.filter(**{f"{value[0]}__isnull": False})
        return rows.filter(**{f"{subject.value}__isnull": True for subject in others})

    def owned_by(self, rows: Rows, name: str, value: Owner) -> Rows:
        return rows.owned_by(value)  # type: ignore[attr-defined,no-any-return]

    def with_owner(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.exclude(owner=None) if value else rows.owned_by(None)  # type: ignore[attr-defined]

    def of_mine(self, rows: Rows, name: str, value: bool) -> Rows:
        """What the asker answers for or works on. Nobody's, where it is not asked by a person."""
        actor = getattr(self.request, "actor", None)
        if actor is None:
            return rows.none()
        # Of nobody's findings the planner would think that a page of them is soon found along the queue.
        if value and not once(self.request, IS_OWNER, Owner.objects.being(actor).exists):
            return rows.none()
        mine: Rows = rows.mine(actor)  # type: ignore[attr-defined]
        return mine if value else rows.exclude(pk__in=mine.order_by().values("pk"))

    def at(self, rows: Rows, name: str, value: McpServer) -> Rows:
        return rows.at(value)  # type: ignore[attr-defined,no-any-return]

    def with_server(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.exclude(at_server=None) if value else rows.at(None)  # type: ignore[attr-defined]

    def raised_because(self, rows: Rows, name: str, value: list[str]) -> Rows:
        return rows.filter(raised_by__overlap=value) if value else rows

    def with_waiver(self, rows: Rows, name: str, value: list[str]) -> Rows:
        """By what their waivers are like. There are few waivers, so they are found first, then findings by key."""
        if not value:
            return rows
        soon = clock() + ENDS_SOON
        asked = {
            "requested": Waiver.objects.requested(),
            "active": Waiver.objects.active(),
            "ending": Waiver.objects.ending_before(soon),
            "outgrown": Waiver.objects.outgrown(),
        }
        wanted = Q()
        for each in value:
            wanted |= Q(AnyOf("id", asked[each], "finding_id"))
        return rows.filter(wanted)

    def in_environment(self, rows: Rows, name: str, value: Environment) -> Rows:
        return rows.filter(once(self.request, (placed_in, value.pk), lambda: placed_in(value)))


class WaiverFilter(FilterSet):  # type: ignore[misc]
    state = ChoicesFilter(choices=WaiverState.choices, field_name="state", label="State")
    finding = RowFilter(Finding, field_name="finding", label="Finding")
    rule = ChoicesFilter(choices=RULE_CHOICES, field_name="finding__rule", label="Rule")
    owner = RowFilter(Owner, offered=True, field_name="finding__owner", label="Team")
    severity = LevelFilter(SEVERITIES, label="Severity")
    is_active = FlagFilter(method="active", label="Active")
    ending_soon = FlagFilter(method="ends_soon", label="Ends within 14 days")
    outgrown = FlagFilter(method="more_severe", label="Finding got more severe")
    is_single_handed = FlagFilter(field_name="is_single_handed", label="Granted by one person")
    granted_after = after("granted_at", "Granted from")
    granted_before = before("granted_at", "Granted before")
    ends_after = after("ends_at", "Ends from")
    ends_before = before("ends_at", "Ends before")

    def active(self, rows: Rows, name: str, value: bool) -> Rows:
        return self._among(rows, Waiver.objects.active(), value)

    def ends_soon(self, rows: Rows, name: str, value: bool) -> Rows:
        return self._among(rows, Waiver.objects.ending_before(clock() + ENDS_SOON), value)

    def more_severe(self, rows: Rows, name: str, value: bool) -> Rows:
        return self._among(rows, Waiver.objects.outgrown(), value)

    def _among(self, rows: Rows, some: Rows, value: bool) -> Rows:
        among = Q(pk__in=some.order_by().values("pk"))
        return rows.filter(among if value else ~among)


class UpcomingFilter(FilterSet):  # type: ignore[misc]
    """Obligations by their date and by what their credential is."""

    environment = RowFilter(Environment, offered=True, field_name="credential__environment", label="Environment")
    owner = RowFilter(Owner, offered=True, field_name="credential__owner", label="Owner")
    policy = RowFilter(Policy, offered=True, field_name="policy", label="Policy")
    connection = RowFilter(Connection, offered=True, field_name="credential__connection", label="Connection")
    automation = ChoicesFilter(choices=Automation.choices, field_name="policy__automation", label="When due")
    overdue = FlagFilter(method="is_overdue", label="Overdue")
    due_after = after("rotate_by", "Due from")
    due_before = before("rotate_by", "Due before")

    def is_overdue(self, rows: Rows, name: str, value: bool) -> Rows:
        now = clock()
        return rows.filter(rotate_by__lt=now) if value else rows.filter(rotate_by__gte=now)


class OfFindingFilter(FilterSet):  # type: ignore[misc]
    finding = RowFilter(Finding, field_name="finding", label="Finding")


class FindingCommentFilter(OfFindingFilter):
    written_after = after("written_at", "Written from")
    written_before = before("written_at", "Written before")


class FindingLinkFilter(OfFindingFilter):
    kind = ChoicesFilter(choices=LinkKind.choices, label="Kind")
    reference = CharFilter(field_name="reference", label="Reference", max_length=200)
    is_removed = FlagFilter(method="removed", label="Removed")

    def removed(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(removed_at__isnull=not value)


class FindingChangeFilter(OfFindingFilter):
    kind = ChoicesFilter(choices=Change.choices, label="Kind")
    changed_after = after("changed_at", "Changed from")
    changed_before = before("changed_at", "Changed before")


class PolicyFilter(FilterSet):  # type: ignore[misc]
    name = CharFilter(field_name="name", label="Name", max_length=100)
    kind = ChoicesFilter(choices=CredentialKind.choices, method="of_kind", label="Fits kind")
    trust_model = ChoicesFilter(choices=TrustModel.choices, method="of_trust_model", label="Fits trust model")
    environment = RowFilter(Environment, offered=True, method="of_environment", label="Fits environment")
    is_shipped = FlagFilter(field_name="is_shipped", label="Shipped")
    in_force = FlagFilter(method="still_in_force", label="In force")

    def of_kind(self, rows: Rows, name: str, value: list[str]) -> Rows:
        return rows.filter(kinds__overlap=value) if value else rows

    def of_trust_model(self, rows: Rows, name: str, value: list[str]) -> Rows:
        return rows.filter(trust_models__overlap=value) if value else rows

    def of_environment(self, rows: Rows, name: str, value: Environment) -> Rows:
        return rows.filter(environments__contains=[value.pk])

    def still_in_force(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(retired_at__isnull=value)


class PolicyVersionFilter(FilterSet):  # type: ignore[misc]
    policy = RowFilter(Policy, field_name="policy", offered=True, label="Policy")
    is_retirement = FlagFilter(field_name="is_retirement", label="Retirement")
    changed_after = after("changed_at", "Changed from")
    changed_before = before("changed_at", "Changed before")


class RuleFilter(FilterSet):  # type: ignore[misc]
    """Of what a release declares, so it narrows no table; the view reads its values."""

    subject = ChoicesFilter(choices=SUBJECT_CHOICES, label="Subject")
    severity = LevelFilter(SEVERITIES, label="Severity")
    is_on = FlagFilter(label="Switched on")
    control = ChoicesFilter(choices=CONTROL_CHOICES, label="Control")


class JobFilter(FilterSet):  # type: ignore[misc]
    is_retired = FlagFilter(method="retired", label="Retired")
    is_failing = FlagFilter(method="failing", label="Its last run failed")

    def retired(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(retired_at__isnull=not value)

    def failing(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(failures__gt=0) if value else rows.filter(failures=0)


class JobRunFilter(FilterSet):  # type: ignore[misc]
    job = RowFilter(ScheduledJob, field_name="job", label="Scheduled job")
    outcome = ChoicesFilter(choices=RunOutcome.choices, label="Outcome")
    begun_after = after("begun_at", "Begun from")
    begun_before = before("begun_at", "Begun before")


class JobHourFilter(FilterSet):  # type: ignore[misc]
    job = RowFilter(ScheduledJob, field_name="job", label="Scheduled job")
    hour_after = after("hour", "From")
    hour_before = before("hour", "Before")


class SnapshotFilter(FilterSet):  # type: ignore[misc]
    taken_after = after("taken_at", "Taken from")
    taken_before = before("taken_at", "Taken before")


class RuleDayFilter(FilterSet):  # type: ignore[misc]
    rule = ChoicesFilter(choices=RULE_CHOICES, label="Rule")
    counted_after = after("counted_at", "Counted from")
    counted_before = before("counted_at", "Counted before")


class OperationFilter(FilterSet):  # type: ignore[misc]
    q = SearchFilter(method="called")
    kind = ChoicesFilter(choices=OperationKind.choices, label="Kind")
    state = ChoicesFilter(choices=[("running", "Running"), *OperationState.choices], method="in_state", label="State")
    is_open = FlagFilter(method="still_open", label="Open")
    needs_somebody = FlagFilter(method="needing", label="Needs somebody")
    step = ChoicesFilter(choices=Step.choices, label="Step")
    proof = ChoicesFilter(choices=Proof.choices, label="Proof")
    is_urgent = FlagFilter(field_name="is_urgent", label="Urgent")
    by_hand = FlagFilter(field_name="by_hand", label="By hand")
    trigger = ChoicesFilter(choices=Trigger.choices, label="Asked for by")
    connection = RowFilter(Connection, offered=True, field_name="connection", label="Connection")
    environment = RowFilter(Environment, offered=True, field_name="credential__environment", label="Environment")
    owner = RowFilter(Owner, offered=True, field_name="credential__owner", label="Owner")
    assigned_to = RowFilter(Owner, field_name="assigned_to", label="Seen to by")
    credential = RowFilter(Credential, field_name="credential", label="Credential")
    batch = RowFilter(Batch, field_name="batch", label="Batch")
    requested_after = after("requested_at", "Asked for from")
    requested_before = before("requested_at", "Asked for before")
    closed_after = after("closed_at", "Ended from")
    closed_before = before("closed_at", "Ended before")

    def called(self, rows: Rows, name: str, value: str) -> Rows:
        return rows.filter(AnyOf("credential_id", Credential.objects.matching(value))) if value else rows

    def in_state(self, rows: Rows, name: str, value: list[str]) -> Rows:
        """`running` is a live lease whatever is stored; the stored state alone is of what no worker holds."""
        if not value:
            return rows
        running = Operation.objects.running(clock()).order_by().values("pk")
        stored = [state for state in value if state != "running"]
        if not set(stored) - set(CLOSED) and "running" not in value:
            return rows.filter(state__in=stored)
        wanted = Q(state__in=stored) & ~Q(pk__in=running)
        if "running" in value:
            wanted |= Q(pk__in=running)
        return rows.filter(wanted)

    def still_open(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(closed_at__isnull=value)

    def needing(self, rows: Rows, name: str, value: bool) -> Rows:
        needy = Operation.objects.needing_somebody()
        return rows & needy if value else rows.exclude(pk__in=needy.order_by().values("pk"))


class StepAttemptFilter(FilterSet):  # type: ignore[misc]
    operation = RowFilter(Operation, field_name="operation", label="Operation")
    step = ChoicesFilter(choices=Step.choices, label="Step")
    outcome = ChoicesFilter(choices=AttemptOutcome.choices, label="Outcome")
    begun_after = after("begun_at", "Begun from")
    begun_before = before("begun_at", "Begun before")


class DeliveryFilter(FilterSet):  # type: ignore[misc]
    credential = RowFilter(Credential, field_name="credential", label="Credential")
    sink = CharFilter(field_name="sink", label="Sink", max_length=60)
    connection = RowFilter(Connection, offered=True, field_name="connection", label="Connection")


class BatchFilter(FilterSet):  # type: ignore[misc]
    kind = ChoicesFilter(choices=BatchKind.choices, field_name="kind", label="Kind")
    state = ChoicesFilter(choices=BatchState.choices, field_name="state", label="State")
    scope = CharFilter(field_name="scope_key", label="Scope", max_length=200)
    is_drill = FlagFilter(field_name="is_drill", label="Drill")
    is_open = FlagFilter(method="open", label="Open")
    requested_after = after("requested_at", "Asked for from")
    requested_before = before("requested_at", "Asked for before")

    def open(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(ended_at__isnull=value)


class BatchItemFilter(FilterSet):  # type: ignore[misc]
    batch = RowFilter(Batch, field_name="batch", label="Batch")
    credential = RowFilter(Credential, field_name="credential", label="Credential")
    state = ChoicesFilter(choices=ItemState.choices, field_name="state", label="State")


class FreezeFilter(FilterSet):  # type: ignore[misc]
    environment = RowFilter(Environment, offered=True, field_name="environment", label="Environment")
    is_standing = FlagFilter(method="standing", label="In force, or to come")
    begins_after = after("begins_at", "Begins from")
    begins_before = before("begins_at", "Begins before")

    def standing(self, rows: Rows, name: str, value: bool) -> Rows:
        standing = ChangeFreeze.objects.standing(clock()).order_by().values("pk")
        return rows.filter(pk__in=standing) if value else rows.exclude(pk__in=standing)


class WindowFilter(FilterSet):  # type: ignore[misc]
    environment = RowFilter(Environment, offered=True, field_name="environment", label="Environment")
    is_retired = FlagFilter(method="retired", label="Retired")

    def retired(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(retired_at__isnull=not value)
