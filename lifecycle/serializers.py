"""Shapes of policies, rules, findings and waivers in the REST API."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import DateField, F, Q, Value
from django.db.models.functions import Cast, Coalesce
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inventory.serializers import CredentialSerializer
from inventory.states import Severity
from lifecycle.models import Finding, Policy, RuleState, Waiver
from lifecycle.rules import RULES, Rule, Subject
from lifecycle.rules.score import PARTS, Score
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
    return Coalesce(TextFromMap(F(column), NAMES), F(column))


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


class CredentialObjectSerializer(CredentialSerializer):
    """One credential, with the parts of its score as they are now; of one that has ended none."""

    score_parts = ScorePartSerializer(many=True)

    class Meta(CredentialSerializer.Meta):
        fields = (*CredentialSerializer.Meta.fields, "score_parts")


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

    class Meta:
        model = Policy
        fields = (
            "id", "url", "display", "name", "description", "priority", "kinds", "trust_models", "environments",
            "providers", "owners", "tags", "server_roles", "max_age", "max_idle", "max_lifetime", "requires_expiry",
            "version", "is_shipped", "retired_at",
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
    severity = Level(SEVERITIES, "severity")
    controls = Texts(FromMap(F("rule"), CONTROLS), help_text="The controls that the rule supports.")

    class Meta:
        model = Finding
        fields = (
            "id", "url", "display", "rule", "credential", "server", "client", "connection", "severity", "state",
            "controls", "evidence", "opened_at", "refreshed_at", "due_at", "acknowledged_at", "acknowledged_by",
            "resolved_at", "resolution",
        )  # fmt: skip


class WaiverSerializer(Shape):
    noun = "waivers"
    url = Url()
    display = Text(Joined(rule_name("finding__rule"), Value(", until "), Cast("ends_at", DateField())))
    finding = Link("findings", "finding", rule_name("finding__rule"))
    severity = Level(SEVERITIES, "severity", help_text="Of the finding, when it was waived.")
    is_active = Flag(Q(withdrawn_at=None, expired_at=None))

    class Meta:
        model = Waiver
        fields = (
            "id", "url", "display", "finding", "reason", "severity", "requested_by", "approved_by", "granted_at",
            "ends_at", "is_active", "withdrawn_at", "withdrawn_by", "expired_at",
        )  # fmt: skip


class RuleSerializer(Shape):
    """A rule is declared in the release; the database only knows what its last full evaluation counted."""

    noun = "rules"
    id = serializers.SlugField()
    url = Url()
    display = serializers.CharField()
    name = serializers.CharField()
    subject = serializers.ChoiceField([(subject.value, subject.value.capitalize()) for subject in Subject])
    severity = Level(SEVERITIES, "severity", help_text="Raised by one step where the rule says so.")
    controls = serializers.ListField(child=serializers.CharField())
    why = serializers.CharField()
    remediation = serializers.CharField()
    met = serializers.IntegerField(allow_null=True)
    violated = serializers.IntegerField(allow_null=True)
    unknown = serializers.IntegerField(allow_null=True)
    evaluated_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        model = RuleState
        fields = (
            "id", "url", "display", "name", "subject", "severity", "controls", "why", "remediation", "met", "violated",
            "unknown", "evaluated_at",
        )  # fmt: skip

    @classmethod
    def of(cls, rule: Rule, state: RuleState | None, root: str, names: Sequence[str]) -> Mapping[str, Any]:
        everything = {
            "id": rule.slug,
            "url": f"{root}rules/{rule.slug}/",
            "display": rule.name,
            "name": rule.name,
            "subject": rule.subject.value,
            "severity": rule.severity.name.lower(),
            "controls": list(rule.controls),
            "why": rule.why,
            "remediation": rule.remediation,
            "met": state and state.met,
            "violated": state and state.violated,
            "unknown": state and state.unknown,
            "evaluated_at": state and state.evaluated_at.isoformat(),
        }
        return {name: everything[name] for name in names}
