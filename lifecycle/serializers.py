"""Shapes of policies, rules, findings, waivers and operations in the REST API."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Case, DateField, F, OuterRef, Q, Subquery, TextField, Value, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, Now
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inventory.serializers import CredentialSerializer
from inventory.states import Severity, Verdict
from lifecycle.models import (
    Acknowledgement,
    Batch,
    BatchItem,
    ChangeFreeze,
    Delivery,
    Finding,
    FindingChange,
    FindingComment,
    FindingLink,
    JobHour,
    JobRun,
    MaintenanceWindow,
    Operation,
    Policy,
    PolicyVersion,
    RuleDay,
    RuleSetting,
    RuleState,
    ScheduledJob,
    Snapshot,
    StepAttempt,
    Waiver,
)
from lifecycle.models.readiness import Readiness
from lifecycle.models.reports import TOOK
from lifecycle.progress import RUNNING, Part
from lifecycle.rules import RULES, Rule, Subject
from lifecycle.rules.score import PARTS, Score
from lifecycle.states import BatchKind, OperationKind, OperationState, ScopeKind, Step, Suggestion, WaiverState
from web.shapes import (
    Flag,
    FromMap,
    Joined,
    JsonObject,
    Length,
    Level,
    Link,
    LinkSerializer,
    Shape,
    Sql,
    Text,
    TextFromMap,
    Texts,
    Url,
    address,
)

SEVERITIES = [severity for severity in Severity if severity is not Severity.NONE]
NAMES = {slug: rule.name for slug, rule in RULES.items()}
CONTROLS = {slug: list(rule.controls) for slug, rule in RULES.items()}


def rule_name(column: str) -> Sql:
    """The rule's name; of a rule that is no longer shipped, its slug."""
    return Coalesce(TextFromMap(F(column), NAMES), F(column), output_field=TextField())


@extend_schema_field(LinkSerializer)
class RuleLink(serializers.Field[Any, Any, Any, Any]):
    """A rule as `{"id", "url", "display"}`."""

    def sql(self, root: str, noun: str) -> Sql:
        return JsonObject(("id", F("rule")), ("url", address(root, "rules", "rule")), ("display", rule_name("rule")))


class ScorePartSerializer(serializers.Serializer[Any]):
    """One of the six parts of a credential's score."""

    part = serializers.ChoiceField([(part.key, part.name) for part in PARTS])
    points = serializers.IntegerField()
    most = serializers.IntegerField(help_text="What this part can weigh.")
    step = serializers.CharField(help_text="The step that holds.")
    fact = serializers.CharField(help_text="What of this credential gave the points; empty where the step says all.")
    lower = serializers.CharField(help_text="What would lower them; empty where there are none.")

    @staticmethod
    def of(score: Score) -> list[dict[str, Any]]:
        return [
            {
                "part": each.part.key,
                "points": each.points,
                "most": each.most,
                "step": each.step.words,
                "fact": each.fact,
                "lower": each.step.lower,
            }
            for each in score.parts
        ]


class ReadinessFactSerializer(serializers.Serializer[Any]):
    """One thing that must be so for a rotation to go through."""

    check = serializers.CharField(
        help_text="provider, delivery, owner, consumers, last_time, automation, halt or opening."
    )
    verdict = serializers.ChoiceField(Verdict.choices)
    words = serializers.CharField()

    class Meta:
        ref_name = "ReadinessFact"


class ReadinessSerializer(serializers.Serializer[Any]):
    """Whether a credential can be rotated when it falls due: the worst of its facts."""

    verdict = serializers.ChoiceField(Verdict.choices)
    words = serializers.CharField(help_text="What stands in the way first, or that nothing does.")
    facts = ReadinessFactSerializer(many=True)

    class Meta:
        ref_name = "Readiness"

    @staticmethod
    def of(found: Readiness) -> dict[str, Any]:
        facts = [{"check": each.check, "verdict": each.verdict.value, "words": each.words} for each in found.facts]
        return {"verdict": found.verdict.value, "words": found.words, "facts": facts}


class CredentialObjectSerializer(CredentialSerializer):
    """One credential, with the parts of its score and its readiness as they are now; of one that has ended neither."""

    score_parts = ScorePartSerializer(many=True)
    readiness = ReadinessSerializer(allow_null=True)

    class Meta(CredentialSerializer.Meta):
        fields = (*CredentialSerializer.Meta.fields, "score_parts", "readiness")


_NEWEST_SENTENCE = Coalesce(
    Subquery(PolicyVersion.objects.filter(policy=OuterRef("pk")).order_by("-number").values("sentence")[:1]),
    Value(""),
    output_field=TextField(),
)


class PolicySerializer(Shape):
    noun = "policies"
    kinds = serializers.ListField(child=serializers.CharField(), help_text="Kinds of credentials; none means all.")
    trust_models = serializers.ListField(child=serializers.CharField(), help_text="None means all.")
    server_roles = serializers.ListField(child=serializers.CharField(), help_text="Of a server that it serves.")
    url = Url()
    display = Text(F("name"))
    max_age = Length("max_age", allow_null=True, help_text="Seconds until a secret must be rotated.")
    max_idle = Length("max_idle", allow_null=True, help_text="Seconds without use until a credential is stale.")
    max_lifetime = Length("max_lifetime", allow_null=True, help_text="Seconds from issue to expiry, at most.")
    overlap = Length("overlap", allow_null=True, help_text="Seconds for which old and new version both work.")
    review_interval = Length("review_interval", allow_null=True, help_text="Seconds from one review to the next.")
    logging = serializers.ListField(child=serializers.CharField(), help_text="What servers that take them must log.")
    sentence = Text(
        _NEWEST_SENTENCE,
        help_text="Whom it binds and what it asks, as its newest version says it; empty where it would name others.",
    )

    class Meta:
        model = Policy
        fields = (
            "id", "url", "display", "name", "description", "sentence", "priority", "kinds", "trust_models",
            "environments", "providers", "owners", "tags", "server_roles", "max_age", "max_idle", "max_lifetime",
            "overlap", "review_interval", "requires_owner", "requires_expiry", "requires_reference", "allowed_scopes",
            "logging", "automation", "overrides", "version", "is_shipped", "retired_at",
        )  # fmt: skip


class PolicyWithoutNamesSerializer(PolicySerializer):
    """The same without the sentence where that names owners."""

    sentence = Text(
        Case(When(owners=[], then=_NEWEST_SENTENCE), default=Value(""), output_field=TextField()),
        help_text="As its newest version says it; empty where that would name others.",
    )


@extend_schema_field({"type": ["object", "null"]})
class Tried(serializers.Field[Any, Any, Any, Any]):
    """What a trial said, as the version keeps it; null where none was shown."""

    def __init__(self, column: str, **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)
        self.column = column

    def sql(self, root: str, noun: str) -> Sql:
        return F(self.column)


class PolicyVersionSerializer(Shape):
    """A policy as it stood from one change to the next."""

    noun = "policy-versions"
    url = Url()
    display = Text(Joined(F("policy__name"), Value(", version "), F("number")))
    policy = Link("policies", "policy")
    dry_run = Tried("dry_run", help_text="What the change was expected to do.")
    back_test = Tried("back_test", help_text="What it would have done in the recorded past.")

    class Meta:
        model = PolicyVersion
        fields = (
            "id", "url", "display", "policy", "number", "sentence", "asked", "reason", "changed_by", "changed_at",
            "is_retirement", "dry_run", "back_test",
        )  # fmt: skip


class FindingSerializer(Shape):
    noun = "findings"
    url = Url()
    display = Text(rule_name("rule"))
    rule = RuleLink()
    credential = Link("credentials", "credential", allow_null=True)
    server = Link("servers", "server", allow_null=True)
    client = Link("clients", "client", allow_null=True)
    connection = Link("connections", "connection", allow_null=True)
    job = Link("jobs", "job", allow_null=True)
    owner = Link("owners", "owner", allow_null=True, help_text="Who answers for the subject.")
    at_server = Link("servers", "at_server", allow_null=True)
    assigned_to = Link("owners", "assigned_to", allow_null=True, help_text="Who works on it.")
    severity = Level(SEVERITIES, "severity")
    controls = Texts(FromMap(F("rule"), CONTROLS), help_text="The controls that the rule supports.")

    class Meta:
        model = Finding
        fields = (
            "id", "url", "display", "rule", "credential", "server", "client", "connection", "job", "owner",
            "at_server", "assigned_to", "severity", "raised_by", "state", "controls", "evidence", "opened_at",
            "refreshed_at", "due_at", "escalates_at", "escalated_at", "acknowledged_at", "acknowledged_by",
            "resolved_at", "resolution",
        )  # fmt: skip


def until(root: str = "") -> Sql:
    """A waiver as people call it; `root` leads to it."""
    day = Cast(f"{root}ends_at", DateField())
    return Joined(rule_name(f"{root}finding__rule"), Value(", until "), day)


class WaiverSerializer(Shape):
    noun = "waivers"
    url = Url()
    display = Text(until())
    finding = Link("findings", "finding", rule_name("finding__rule"))
    extends = Link("waivers", "extends", until("extends__"), allow_null=True, help_text="It begins when that one ends.")
    severity = Level(SEVERITIES, "severity", help_text="Of the finding, when it was decided.")
    is_active = Flag(Q(state=WaiverState.ACTIVE))

    class Meta:
        model = Waiver
        fields = (
            "id", "url", "display", "finding", "state", "is_active", "extends", "reason", "compensating_control",
            "severity", "requested_by", "requested_at", "approved_by", "granted_at", "declined_by", "declined_at",
            "decision", "is_single_handed", "begins_at", "ends_at", "withdrawn_at", "withdrawn_by", "expired_at",
        )  # fmt: skip


class JobSerializer(Shape):
    noun = "jobs"
    url = Url()
    display = Text(F("name"))
    cadence = Length("cadence", help_text="Seconds between two beats, as declared.")
    risk = Level(Severity, "risk")

    class Meta:
        model = ScheduledJob
        fields = (
            "id", "url", "display", "name", "task", "cadence", "declared_at", "begun_at", "ended_at", "failed_at",
            "failures", "error", "retired_at", "risk", "open_findings",
        )  # fmt: skip


class JobRunSerializer(Shape):
    noun = "job-runs"
    url = Url()
    display = Text(Joined(F("job__name"), Value(" "), Cast("begun_at", DateField())))
    job = Link("jobs", "job")

    class Meta:
        model = JobRun
        fields = ("id", "url", "display", "job", "begun_at", "ended_at", "outcome", "worker", "error", "work")


class JobHourSerializer(Shape):
    noun = "job-hours"
    url = Url()
    display = Text(Joined(F("job__name"), Value(" "), Cast("hour", DateField())))
    job = Link("jobs", "job")
    longest_gap = Length("longest_gap", allow_null=True, help_text="Seconds without a good end before one of its runs.")

    class Meta:
        model = JobHour
        fields = (
            "id", "url", "display", "job", "hour", "begun", "ended", "failed", "passed", "seconds", "longest_gap",
            "last_ended_at", "work",
        )  # fmt: skip


class SnapshotSerializer(Shape):
    noun = "snapshots"
    id = Text(Cast("taken_on", TextField()), help_text="The day.")
    url = Url()
    display = Text(Cast("taken_on", TextField()))

    class Meta:
        model = Snapshot
        fields = (
            "id", "url", "display", "taken_at", "credentials", "servers", "clients", "exposures", "orphans",
            "unrotated", "stale", "in_policy", "out_of_policy", "policy_unknown", "critical", "high", "medium", "low",
            "overdue", "waived",
        )  # fmt: skip


class RuleDaySerializer(Shape):
    noun = "rule-days"
    url = Url()
    display = Text(Joined(rule_name("rule"), Value(" "), F("taken_on")))
    rule = RuleLink()

    class Meta:
        model = RuleDay
        fields = ("id", "url", "display", "rule", "taken_on", "counted_at", "met", "violated", "unknown")


class FindingCommentSerializer(Shape):
    noun = "finding-comments"
    url = Url()
    display = Text(Joined(F("author"), Value(" on "), rule_name("finding__rule")))
    finding = Link("findings", "finding", rule_name("finding__rule"))

    class Meta:
        model = FindingComment
        fields = ("id", "url", "display", "finding", "author", "text", "written_at")


class FindingLinkSerializer(Shape):
    noun = "finding-links"
    url = Url()
    display = Text(F("reference"))
    finding = Link("findings", "finding", rule_name("finding__rule"))
    leads_to = Text(F("url"), help_text="Where it leads: https, a path of Keyreeve, or nowhere.")

    class Meta:
        model = FindingLink
        fields = (
            "id", "url", "display", "finding", "kind", "reference", "leads_to", "label", "added_at", "added_by",
            "removed_at", "removed_by",
        )  # fmt: skip


class FindingChangeSerializer(Shape):
    noun = "finding-changes"
    url = Url()
    display = Text(Joined(F("kind"), Value(": "), rule_name("finding__rule")))
    finding = Link("findings", "finding", rule_name("finding__rule"))
    severity_before = Level(SEVERITIES, "severity_before")
    severity = Level(SEVERITIES, "severity")

    class Meta:
        model = FindingChange
        fields = ("id", "url", "display", "finding", "kind", "changed_at", "severity_before", "severity", "raised_by")


def severity_of(rule: Rule, setting: RuleSetting | None) -> Severity:
    """What a rule counts as for the whole estate."""
    return rule.severity if setting is None or setting.severity is None else Severity(setting.severity)


class RuleSerializer(Shape):
    """A rule is declared in the release; the database only knows what its last full evaluation counted."""

    noun = "rules"
    id = serializers.SlugField()
    url = Url()
    display = serializers.CharField()
    name = serializers.CharField()
    subject = serializers.ChoiceField([(subject.value, subject.value.capitalize()) for subject in Subject])
    is_on = serializers.BooleanField(help_text="A policy may say otherwise of what it binds.")
    severity = Level(SEVERITIES, "severity", help_text="In force, before what raises it; a policy may say otherwise.")
    declared_severity = Level(SEVERITIES, "severity", help_text="As the release has it.")
    controls = serializers.ListField(child=serializers.CharField())
    why = serializers.CharField()
    remediation = serializers.CharField()
    met = serializers.IntegerField(allow_null=True)
    violated = serializers.IntegerField(allow_null=True)
    unknown = serializers.IntegerField(allow_null=True)
    seen_share = serializers.FloatField(allow_null=True, help_text="Of the subjects, those that it could tell about.")
    evaluated_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        model = RuleState
        fields = (
            "id", "url", "display", "name", "subject", "is_on", "severity", "declared_severity",
            "controls", "why", "remediation", "met", "violated", "unknown", "seen_share", "evaluated_at",
        )  # fmt: skip

    @classmethod
    def of(
        cls, rule: Rule, state: RuleState | None, setting: RuleSetting | None, root: str, names: Sequence[str]
    ) -> Mapping[str, Any]:
        everything = {
            "id": rule.slug,
            "url": f"{root}rules/{rule.slug}/",
            "display": rule.name,
            "name": rule.name,
            "subject": rule.subject.value,
            "is_on": setting.is_on if setting else True,
            "severity": severity_of(rule, setting).name.lower(),
            "declared_severity": rule.severity.name.lower(),
            "controls": list(rule.controls),
            "why": rule.why,
            "remediation": rule.remediation,
            "met": state and state.met,
            "violated": state and state.violated,
            "unknown": state and state.unknown,
            "seen_share": state and state.seen_share,
            "evaluated_at": state and state.evaluated_at.isoformat(),
        }
        return {name: everything[name] for name in names}


# ── Operations ─────────────────────────────────────────────────────────────────────────────────

STATES = [(RUNNING, "Running"), *OperationState.choices]
KINDS = {kind.value: kind.label for kind in OperationKind}


def operation_name(root: str = "") -> Sql:
    """`Rotation of github / token`; `root` leads to the operation."""
    return Joined(TextFromMap(F(f"{root}kind"), KINDS), Value(" of "), F(f"{root}credential__name"))


class StateField(serializers.ChoiceField):
    """The stored state; `running` while a worker holds the operation."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(STATES, read_only=True, **kwargs)

    def sql(self, root: str, noun: str) -> Sql:
        is_running = Q(closed_at=None, lease_until__gt=Now())
        return Case(When(is_running, then=Value(RUNNING)), default=F("state"), output_field=TextField())


class OperationSerializer(Shape):
    noun = "operations"
    url = Url()
    display = Text(operation_name())
    credential = Link("credentials", "credential")
    connection = Link("connections", "connection")
    state = StateField()
    assigned_to = Link("owners", "assigned_to", allow_null=True, help_text="Who sees to it.")
    policy = Link("policies", "policy", allow_null=True)
    supersedes = Link("operations", "supersedes", operation_name("supersedes__"), allow_null=True)
    batch_id = serializers.UUIDField(allow_null=True, help_text="What it is a part of.")
    old_hint = Text(Coalesce(F("old_version__hint"), Value("")), help_text="Of the version that ends.")
    new_hint = Text(Coalesce(F("new_version__hint"), Value("")), help_text="Of the version that was issued.")
    overlap = Length("overlap", help_text="Seconds for which both versions work.")
    quiet = Length("quiet", help_text="Seconds from suspending the old version to destroying it.")

    class Meta:
        model = Operation
        fields = (
            "id", "url", "display", "kind", "credential", "connection", "state", "step", "is_rolling_back", "proof",
            "proof_reason", "verify_by", "look_at", "is_urgent", "by_hand", "trigger", "reason", "requested_by",
            "requested_at", "decided_by", "decided_at", "assigned_to", "policy", "batch_id", "supersedes", "old_hint",
            "new_hint", "overlap", "quiet", "step_at", "due_at", "waits_for", "attempts", "error", "blast_radius",
            "refused_at", "stalled_at", "closed_at", "closed_reason",
        )  # fmt: skip


def moment(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


class OperationStepSerializer(serializers.Serializer[Any]):
    """A step of the plan."""

    step = serializers.ChoiceField(Step.choices)
    title = serializers.CharField()
    state = serializers.ChoiceField(["done", "running", "waits", "stalled", "skipped", "to_come"])

    class Meta:
        ref_name = "OperationStep"

    @staticmethod
    def of(part: Part) -> dict[str, Any]:
        return {"step": part.step.value, "title": part.title, "state": part.standing}


class JournalEntrySerializer(serializers.Serializer[Any]):
    """One try at a step. Without an end its worker is at it, or died."""

    number = serializers.IntegerField()
    step = serializers.ChoiceField(Step.choices)
    begun_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    outcome = serializers.CharField(help_text="done, waits, retries, stalled or lost; empty without an end.")
    said = serializers.CharField()
    worker = serializers.CharField()

    @staticmethod
    def of(attempt: StepAttempt) -> dict[str, Any]:
        return {
            "number": attempt.number,
            "step": attempt.step,
            "begun_at": moment(attempt.begun_at),
            "ended_at": moment(attempt.ended_at),
            "outcome": attempt.outcome,
            "said": attempt.said,
            "worker": attempt.worker,
        }


class AcknowledgementSerializer(serializers.Serializer[Any]):
    """A consumer that uses the new version, and how that is known."""

    consumer = serializers.CharField()
    how = serializers.CharField(help_text="api, seen or person.")
    said_by = serializers.CharField()
    acknowledged_at = serializers.DateTimeField()

    @staticmethod
    def of(row: Acknowledgement) -> dict[str, Any]:
        return {
            "consumer": row.consumer,
            "how": row.how,
            "said_by": row.said_by,
            "acknowledged_at": moment(row.acknowledged_at),
        }


class OperationObjectSerializer(OperationSerializer):
    """One operation, with its steps, the newest of its journal, and who acknowledged the new version."""

    steps = OperationStepSerializer(many=True)
    journal = JournalEntrySerializer(many=True)
    acknowledgements = AcknowledgementSerializer(many=True)

    class Meta(OperationSerializer.Meta):
        fields = (*OperationSerializer.Meta.fields, "steps", "journal", "acknowledgements")  # type: ignore[assignment]


class StepAttemptSerializer(Shape):
    noun = "step-attempts"
    url = Url()
    display = Text(Joined(operation_name("operation__"), Value(", attempt "), Cast("number", TextField())))
    operation = Link("operations", "operation", operation_name("operation__"))

    class Meta:
        model = StepAttempt
        fields = (
            "id", "url", "display", "operation", "number", "step", "begun_at", "ended_at", "outcome", "said", "worker",
        )  # fmt: skip


class DeliverySerializer(Shape):
    noun = "deliveries"
    url = Url()
    display = Text(F("location"))
    credential = Link("credentials", "credential")
    connection = Link("connections", "connection", allow_null=True, help_text="By whose rights it is written.")
    quiet = Length("quiet", allow_null=True, help_text="Seconds, in place of the usual quiet period.")

    class Meta:
        model = Delivery
        fields = (
            "id", "url", "display", "credential", "sink", "location", "connection", "quiet", "set_by", "set_at",
        )  # fmt: skip


# ── What a write takes ──


class Reason(serializers.CharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_length": 1_000, "help_text": "Why: kept with what was done.", **kwargs})


class OperationBody(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(OperationKind.choices)
    credential = serializers.UUIDField()
    reason = Reason()
    urgent = serializers.BooleanField(default=False, help_text="Of a revocation: skip every wait.")


class ReasonBody(serializers.Serializer[Any]):
    reason = Reason()


class NoBody(serializers.Serializer[Any]):
    """Nothing more is said than what is asked for."""


class OptionalReasonBody(serializers.Serializer[Any]):
    reason = Reason(required=False, default="", allow_blank=True)


class HandOverBody(OptionalReasonBody):
    to = serializers.UUIDField(allow_null=True, help_text="The owner who sees to it; null: nobody in particular.")


class AcknowledgementBody(serializers.Serializer[Any]):
    client = serializers.UUIDField(required=False, allow_null=True, default=None)
    consumer = serializers.CharField(
        required=False, default="", max_length=300, help_text="What it calls itself, where it is no known client."
    )


class ExtensionBody(ReasonBody):
    until = serializers.DateTimeField()


class DeliveryBody(serializers.Serializer[Any]):
    credential = serializers.UUIDField()
    sink = serializers.CharField(max_length=60)
    location = serializers.CharField(max_length=2_000, help_text="A reference, in the sink's own form.")
    connection = serializers.UUIDField(required=False, allow_null=True, default=None)
    quiet = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=0, max_value=366 * 86_400,
        help_text="Seconds, in place of the usual quiet period.",
    )  # fmt: skip
    reason = Reason(required=False, default="", allow_blank=True)


# ── Batches ────────────────────────────────────────────────────────────────────────────────────


def batch_name(prefix: str = "") -> Sql:
    kinds = {kind.value: kind.label for kind in BatchKind}
    label = Cast(KeyTextTransform("label", f"{prefix}scope"), TextField())
    return Joined(TextFromMap(F(f"{prefix}kind"), kinds), Value(" over "), label)


class BatchSerializer(Shape):
    """Many operations asked for at once, or a drill of them."""

    noun = "batches"
    url = Url()
    display = Text(batch_name())
    leaver = Link("batches", "parent", batch_name("parent__"), allow_null=True, help_text="Where it was decided.")

    class Meta:
        model = Batch
        fields = (
            "id", "url", "display", "kind", "state", "operation_kind", "is_drill", "is_urgent", "scope", "scope_key",
            "size", "leaver", "needs_approval", "approval_reason", "reason", "requested_by", "requested_at",
            "decided_by", "decided_at", "begun_at", "ended_at", "halted_reason", "decide_by", "escalated_at", "digest",
        )  # fmt: skip


class BatchObjectSerializer(BatchSerializer):
    """One batch, with what it was expected to reach and what came of it; while it runs, as it stands."""

    counts = serializers.JSONField(help_text="How many things stand how.")

    class Meta(BatchSerializer.Meta):
        fields = (*BatchSerializer.Meta.fields, "preview", "counts", "report")  # type: ignore[assignment]


class BatchItemSerializer(Shape):
    """One credential of a batch, or one thing that a leaver answered for, with the operation that came of it."""

    noun = "batch-items"
    url = Url()
    display = Text(Coalesce(F("credential__name"), F("server__name"), F("client__name")))
    batch = Link("batches", "batch", batch_name("batch__"))
    credential = Link("credentials", "credential", allow_null=True)
    server = Link("servers", "server", allow_null=True)
    client = Link("clients", "client", allow_null=True)
    suggested_owner = Link("owners", "suggested_owner", allow_null=True)
    operation = Link("operations", "operation", operation_name("operation__"), allow_null=True)
    asked_in = Link("batches", "asked_in", batch_name("asked_in__"), allow_null=True)
    seconds_to_refused = Length(
        TOOK, allow_null=True, help_text="From the beginning of its batch to the first moment it was seen refused."
    )

    class Meta:
        model = BatchItem
        fields = (
            "id", "url", "display", "batch", "credential", "server", "client", "part", "state", "is_late",
            "suggestion", "suggested_owner", "operation", "seconds_to_refused", "asked_in", "said", "decided_by",
            "decided_at",
        )  # fmt: skip


class BatchBody(serializers.Serializer[Any]):
    """What a kill switch is pulled over. Of a leaked value only its keyed fingerprint is kept."""

    scope = serializers.ChoiceField([kind.value for kind in ScopeKind], required=False, default="")
    id = serializers.CharField(
        max_length=200,
        required=False,
        default="",
        help_text="Of the server, client, …; of a person who is no owner, what their tokens call them.",
    )
    ids = serializers.ListField(child=serializers.UUIDField(), required=False, default=list, max_length=10_000)
    value = serializers.CharField(required=False, default="", write_only=True, help_text="A leaked value, once.")
    reason = serializers.CharField(max_length=1_000)
    urgent = serializers.BooleanField(required=False, default=True)
    drill = serializers.BooleanField(required=False, default=False)


class DecisionBody(ReasonBody):
    items = serializers.ListField(child=serializers.UUIDField(), min_length=1, max_length=1_000)
    what = serializers.ChoiceField(
        Suggestion.choices, required=False, allow_null=True, default=None, help_text="null: as each is suggested."
    )
    to = serializers.UUIDField(
        required=False, allow_null=True, default=None, help_text="Who takes over; null: as each is suggested."
    )


# ── When rotations may begin ───────────────────────────────────────────────────────────────────


class FreezeSerializer(Shape):
    noun = "freezes"
    url = Url()
    display = Text(Joined(Value("Change freeze in "), Coalesce(F("environment__name"), Value("every environment"))))
    environment = Link("environments", "environment", allow_null=True, help_text="Null: every environment.")

    class Meta:
        model = ChangeFreeze
        fields = (
            "id", "url", "display", "environment", "begins_at", "ends_at", "reason", "set_by", "lifted_at", "lifted_by",
        )  # fmt: skip


class WindowSerializer(Shape):
    noun = "windows"
    url = Url()
    display = Text(Joined(Value("Window at "), Cast("begins", TextField()), Value(" "), F("timezone")))
    environment = Link("environments", "environment", allow_null=True, help_text="Null: every environment.")
    weekdays = serializers.ListField(
        child=serializers.IntegerField(), help_text="1 is Monday, as in ISO 8601; none: every day."
    )
    begins = Text(Cast("begins", TextField()), help_text="Hours, minutes and seconds, in its time zone.")
    length = Length("length", help_text="Seconds for which it is open.")

    class Meta:
        model = MaintenanceWindow
        fields = (
            "id", "url", "display", "environment", "weekdays", "begins", "length", "timezone", "set_by", "retired_at",
        )  # fmt: skip
