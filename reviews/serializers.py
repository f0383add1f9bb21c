"""Shapes of reviews in the REST API, and what its writes take."""

from typing import Any

from django.db.models import Case, F, Q, TextField, Value, When
from django.db.models.functions import Coalesce, NullIf
from rest_framework import serializers

from inventory.states import CredentialKind, ServerRole, Severity, TrustModel
from lifecycle.serializers import OptionalReasonBody, Reason, ReasonBody, operation_name
from reviews.models import (
    Approval,
    Attestation,
    Campaign,
    Decision,
    Delegation,
    Exclusion,
    Occurrence,
    ReviewItem,
    Trigger,
)
from reviews.states import CHOICES, DECOYS_AT_MOST, UNDECIDED, NoAnswer, Occasion, Reviewed, Seat, What
from web.shapes import Flag, Joined, Length, Level, Link, Shape, Text, TextFromMap, Url

WHAT = {each.value: each.label for each in What}
MOST = 1_000
WITHHELD = "Null of an undecided item where the campaign has decoys."
DECIDABLE = [(each.value, each.label) for each in CHOICES]
SEATS = [(each.value, each.label) for each in (Seat.FIRST, Seat.SECOND)]


def texts(help_text: str = "") -> serializers.ListField:
    return serializers.ListField(child=serializers.CharField(), help_text=help_text)


def keys(help_text: str = "") -> serializers.ListField:
    return serializers.ListField(child=serializers.UUIDField(), help_text=help_text)


def grant_name(prefix: str = "") -> Joined:
    return Joined(F(f"{prefix}client__name"), Value(" on "), F(f"{prefix}server__name"))


class Withheld(Link):
    """A link of an item that would tell a decoy from the rest: where there are any it is told once that is decided."""

    TOLD = Q(campaign__planted=0) | ~Q(state__in=UNDECIDED)

    def sql(self, root: str, noun: str) -> Any:
        return Case(When(self.TOLD, then=super().sql(root, noun)), output_field=TextField())

    def parts(self) -> tuple[Any, Any]:
        display, key = (Case(When(self.TOLD, then=each)) for each in super().parts())
        return display, key


class CampaignSerializer(Shape):
    """One access review over a frozen scope. Its selectors are those of policies."""

    noun = "campaigns"
    url = Url()
    display = Text(F("name"))
    lead = Link("owners", "lead", allow_null=True)
    follows = Link("campaigns", "follows", allow_null=True, help_text="The one that it repeats.")
    reviewed = texts("What is reviewed.")
    kinds = texts("Kinds of credentials; none means all.")
    trust_models = texts("None means all.")
    environments = keys("None means all.")
    providers = texts("None means all.")
    owners = keys("None means all.")
    tags = texts("None means all.")
    server_roles = texts("None means all.")
    connections = keys("None means all.")
    ids = keys("Only these, of all that fits.")
    reminders = serializers.ListField(child=serializers.IntegerField(), help_text="Days before the date.")
    escalate_after = Length("escalate_after", help_text="Seconds that the next in line has.")
    fresh_within = Length("fresh_within", help_text="Seconds after which a connection is stale.")
    repeats_every = Length("repeats_every", allow_null=True, help_text="Seconds.")

    class Meta:
        model = Campaign
        fields: tuple[str, ...] = (
            "id", "url", "display", "name", "description", "state", "origin", "lead", "reviewed", "kinds",
            "trust_models", "environments", "providers", "owners", "tags", "server_roles", "connections", "ids",
            "left_out", "due_at", "no_answer", "escalate_after", "reminders", "fresh_within", "second_on_outliers",
            "decoys", "repeats_every", "repeat_at", "follows", "created_by", "created_at", "launched_by",
            "launched_at", "launch_error", "size", "planted", "completeness_digest", "scope_digest", "ended_at",
            "ended_reason", "signed_by", "statement", "digest",
        )  # fmt: skip


class CampaignObjectSerializer(CampaignSerializer):
    """One campaign, with what it rests on and how it goes; a draft with what it would be."""

    completeness = serializers.JSONField(help_text="By connection: what it holds and what of it became an item.")
    preview = serializers.JSONField(help_text="Of a draft: size, reviewers and what is not fresh; else null.")
    progress = serializers.JSONField(help_text="How many items stand how, and how they ended.")
    waiting_on = serializers.JSONField(help_text="Of whom it waits, for how many items.")
    pace = serializers.JSONField(
        help_text="By reviewer: how many, how fast, how many at once and keeps in a row; of decoys how many were found."
    )

    class Meta(CampaignSerializer.Meta):
        fields = (
            *CampaignSerializer.Meta.fields, "completeness", "preview", "progress", "waiting_on", "pace",
        )  # fmt: skip


class ReviewItemSerializer(Shape):
    """One thing as its reviewers saw it, what was decided about it and what came of that."""

    noun = "review-items"
    url = Url()
    display = Text(F("name"))
    campaign = Link("campaigns", "campaign")
    credential = Withheld("credentials", "credential", allow_null=True, help_text=WITHHELD)
    client = Withheld("clients", "client", allow_null=True, help_text=WITHHELD)
    grant = Withheld("grants", "grant", grant_name("grant__"), allow_null=True, help_text=WITHHELD)
    server = Withheld("servers", "server", allow_null=True, help_text=WITHHELD)
    connection = Link("connections", "connection")
    owner = Link("owners", "owner", allow_null=True, help_text="Who answered for it when it was frozen.")
    environment = Link("environments", "environment", allow_null=True)
    reviewer = Link("owners", "reviewer", allow_null=True, help_text="Null: whoever is a reviewer.")
    second = Link("owners", "second", allow_null=True)
    last_item = Withheld("review-items", "last_item", allow_null=True, help_text=f"Of its last review. {WITHHELD}")
    operation = Link("operations", "operation", operation_name("operation__"), allow_null=True)
    risk = Level(Severity, "risk")
    reasons = texts("What speaks for the recommendation.")
    recommendation = Text(
        NullIf(F("recommendation"), Value("", TextField())), allow_null=True, help_text="Null: nothing can be."
    )

    class Meta:
        model = ReviewItem
        fields: tuple[str, ...] = (
            "id", "url", "display", "campaign", "kind", "credential", "client", "grant", "server", "connection",
            "owner", "environment", "criticality", "variety", "trust_model", "known_since", "last_used_at",
            "exposures", "open_findings", "reach", "risk", "score", "bound_digest", "changes", "last_item",
            "recommendation", "reasons", "is_outlier", "alike", "frozen_at", "state", "version", "round", "due_at",
            "reviewer", "second", "needs_second", "escalations", "drift", "drift_at", "returned_reason", "what",
            "first_by", "second_by", "by_clock", "decided_at", "operation", "ending", "proof", "closed_at",
        )  # fmt: skip


class ReviewItemObjectSerializer(ReviewItemSerializer):
    """One item, with all that was frozen, what was said about it and through whose hands it went."""

    decisions = serializers.JSONField(help_text="Newest first, also those that were taken back.")
    delegations = serializers.JSONField(help_text="Newest first.")
    reasons_in_words = serializers.JSONField()
    cuts = serializers.JSONField(
        help_text="Each hop of its present ways from a person to a scope: which decision about it cuts there, if any, "
        "how many ways stop and how many go on by another credential, and who is met. A person's `id` is that of an "
        "owner, or what tokens call them, as the scope `person` of a batch takes it; null where nobody is known. "
        "`ways_of_others` end along where what a person shares with others is revoked."
    )

    class Meta(ReviewItemSerializer.Meta):
        fields = (
            *ReviewItemSerializer.Meta.fields, "facts", "path", "bound", "decisions", "delegations",
            "reasons_in_words", "cuts",
        )  # fmt: skip


class DecisionSerializer(Shape):
    noun = "review-decisions"
    url = Url()
    display = Text(Joined(TextFromMap(F("what"), WHAT), Value(": "), F("item__name")))
    item = Link("review-items", "item")
    campaign = Link("campaigns", "campaign")
    to_owner = Link("owners", "to_owner", allow_null=True)
    took = Length("took", allow_null=True, help_text="Seconds since the same person's decision before.")
    is_submitted = Flag(Q(submitted_at__isnull=False))
    is_current = Flag(Q(withdrawn_at__isnull=True), help_text="Neither taken back nor replaced.")

    class Meta:
        model = Decision
        fields = (
            "id", "url", "display", "item", "campaign", "seat", "round", "what", "reason", "to_owner", "detail",
            "seen_digest", "is_against", "group", "took", "decided_by", "decided_at", "submitted_at", "withdrawn_at",
            "is_submitted", "is_current",
        )  # fmt: skip

    @classmethod
    def of(cls, row: Decision) -> dict[str, Any]:
        return {
            "id": str(row.pk),
            "seat": row.seat,
            "round": row.round,
            "what": row.what,
            "reason": row.reason,
            "to": row.to_owner.name if row.to_owner else None,
            "detail": row.detail,
            "is_against": row.is_against,
            "decided_by": row.decided_by,
            "decided_at": row.decided_at.isoformat(),
            "submitted_at": row.submitted_at.isoformat() if row.submitted_at else None,
            "withdrawn_at": row.withdrawn_at.isoformat() if row.withdrawn_at else None,
        }


class DelegationSerializer(Shape):
    noun = "review-delegations"
    url = Url()
    display = Text(
        Joined(F("item__name"), Value(": "), Coalesce(F("to_owner__name"), Value("any reviewer", TextField())))
    )
    item = Link("review-items", "item")
    from_owner = Link("owners", "from_owner", allow_null=True)
    to_owner = Link("owners", "to_owner", allow_null=True, help_text="Null: whoever is a reviewer.")

    class Meta:
        model = Delegation
        fields = (
            "id", "url", "display", "item", "seat", "why", "from_owner", "to_owner", "reason", "passed_by", "passed_at",
        )  # fmt: skip

    @classmethod
    def of(cls, row: Delegation) -> dict[str, Any]:
        return {
            "id": str(row.pk),
            "seat": row.seat,
            "why": row.why,
            "from": row.from_owner.name if row.from_owner else None,
            "to": row.to_owner.name if row.to_owner else None,
            "reason": row.reason,
            "passed_by": row.passed_by,
            "passed_at": row.passed_at.isoformat(),
        }


class AttestationSerializer(Shape):
    noun = "attestations"
    url = Url()
    display = Text(Joined(F("signed_by"), Value(" on "), F("campaign__name")))
    campaign = Link("campaigns", "campaign")

    class Meta:
        model = Attestation
        fields = ("id", "url", "display", "campaign", "statement", "decisions", "digest", "signed_by", "signed_at")


class ExclusionSerializer(Shape):
    """Something alive that fits the scope of a campaign and is no item of it."""

    noun = "campaign-exclusions"
    url = Url()
    display = Text(F("name"))
    campaign = Link("campaigns", "campaign")
    connection = Link("connections", "connection", allow_null=True)

    class Meta:
        model = Exclusion
        fields = ("id", "url", "display", "campaign", "kind", "subject_id", "connection", "reason", "said")


class ApprovalSerializer(Shape):
    """What was kept, granted or admitted, exactly: it lapses once that changes."""

    noun = "approvals"
    url = Url()
    display = Text(F("name"))
    item = Link("review-items", "item", allow_null=True, help_text="Null: a grant's own approval, or an admission.")

    class Meta:
        model = Approval
        fields = (
            "id", "url", "display", "item", "kind", "subject_id", "digest", "bound", "approved_by", "approved_at",
            "ended_at", "is_lapsed", "difference",
        )  # fmt: skip


class TriggerSerializer(Shape):
    """Whether something that occurs is reviewed by itself, who leads that, and how long reviewers have."""

    noun = "review-triggers"
    url = Url()
    display = Text(TextFromMap(F("occasion"), {each.value: each.label for each in Occasion}))
    lead = Link("owners", "lead", allow_null=True)
    answer_within = Length("answer_within")

    class Meta:
        model = Trigger
        fields = (
            "id", "url", "display", "occasion", "is_on", "lead", "no_answer", "answer_within", "begins_at",
            "looked_at", "set_by",
        )  # fmt: skip


class OccurrenceSerializer(Shape):
    """That something occurred to one thing, and in which campaign it is reviewed."""

    noun = "review-occurrences"
    url = Url()
    display = Text(Joined(F("kind"), Value(" "), F("subject_id")))
    trigger = Link(
        "review-triggers", "trigger", TextFromMap(F("trigger__occasion"), {each.value: each.label for each in Occasion})
    )
    campaign = Link("campaigns", "campaign", allow_null=True)

    class Meta:
        model = Occurrence
        fields = (
            "id", "url", "display", "trigger", "kind", "subject_id", "happened_at", "seen_at", "campaign", "settled_at",
        )  # fmt: skip


# ── What a write takes ─────────────────────────────────────────────────────────────────────────


def some_keys(**kwargs: Any) -> serializers.ListField:
    """Needed where it is said that they are; else none are given."""
    usual = {} if kwargs.get("required") else {"default": list}
    return serializers.ListField(child=serializers.UUIDField(), **{"max_length": 10_000, **usual, **kwargs})


def some_texts(choices: Any = None) -> serializers.ListField:
    child = serializers.ChoiceField(choices) if choices else serializers.CharField(max_length=100)
    return serializers.ListField(child=child, required=False, default=list, max_length=200)


class CampaignBody(serializers.Serializer[Any]):
    """A draft. Lengths of time are whole seconds."""

    name = serializers.CharField(max_length=120)
    description = serializers.CharField(required=False, default="", allow_blank=True, max_length=2_000)
    reviewed = serializers.ListField(child=serializers.ChoiceField(Reviewed.choices), min_length=1, max_length=4)
    lead = serializers.UUIDField(required=False, allow_null=True, default=None)
    due_at = serializers.DateTimeField()
    kinds = some_texts(CredentialKind.choices)
    trust_models = some_texts(TrustModel.choices)
    environments = some_keys()
    providers = some_texts()
    owners = some_keys()
    tags = some_texts()
    server_roles = some_texts(ServerRole.choices)
    connections = some_keys()
    ids = some_keys(help_text="Only these, of all that fits.")
    no_answer = serializers.ChoiceField(NoAnswer.choices, required=False, default=NoAnswer.ESCALATE.value)
    escalate_after = serializers.IntegerField(required=False, min_value=60, default=7 * 86_400)
    fresh_within = serializers.IntegerField(required=False, min_value=60, default=3 * 86_400)
    reminders = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=365), required=False, default=[7, 3, 1], max_length=10
    )
    second_on_outliers = serializers.BooleanField(required=False, default=False)
    decoys = serializers.IntegerField(
        required=False, default=0, min_value=0, max_value=DECOYS_AT_MOST,
        help_text="Planted among the credentials of each reviewer at most: one for each five.",
    )  # fmt: skip
    repeats_every = serializers.IntegerField(required=False, allow_null=True, default=None, min_value=86_400)


class NoBody(serializers.Serializer[Any]):
    """Nothing more is said than what is asked for."""

    class Meta:
        ref_name = "NothingMore"


class TriggerBody(serializers.Serializer[Any]):
    occasion = serializers.ChoiceField(Occasion.choices)
    is_on = serializers.BooleanField()
    lead = serializers.UUIDField(required=False, allow_null=True, default=None, help_text="The owner who leads it.")
    no_answer = serializers.ChoiceField(NoAnswer.choices, required=False, default=NoAnswer.ESCALATE)
    answer_within = serializers.IntegerField(
        required=False, default=14 * 86_400, min_value=86_400, max_value=365 * 86_400, help_text="Seconds."
    )


class DueBody(ReasonBody):
    due_at = serializers.DateTimeField()


class LeaveOutBody(ReasonBody):
    ids = some_keys(required=True, min_length=1, max_length=1_000)


class DecideBody(OptionalReasonBody):
    """`version` is that of the item when it was looked at; with it, nobody decides over another one's head."""

    what = serializers.ChoiceField(DECIDABLE)
    to = serializers.UUIDField(required=False, allow_null=True, default=None, help_text="Who takes it over.")
    role = serializers.CharField(required=False, default="", help_text="As which owner of a server.")
    scopes = serializers.ListField(
        child=serializers.CharField(max_length=200), required=False, allow_null=True, default=None, max_length=1_000,
        help_text="Which remain.",
    )  # fmt: skip
    tools = serializers.ListField(
        child=serializers.CharField(max_length=300), required=False, allow_null=True, default=None, max_length=5_000,
        help_text="Which remain, of a grant.",
    )  # fmt: skip
    version = serializers.IntegerField(required=False, allow_null=True, default=None)


class DecideManyBody(DecideBody):
    items = some_keys(required=True, min_length=1, max_length=MOST)
    version = None  # type: ignore[assignment]


class SubmitBody(serializers.Serializer[Any]):
    items = some_keys(max_length=MOST, help_text="None: everything that one has decided, a thousand at most.")


class DelegateBody(serializers.Serializer[Any]):
    to = serializers.UUIDField(help_text="The owner who takes one's part.")
    reason = Reason()


class ReassignBody(DelegateBody):
    seat = serializers.ChoiceField(SEATS)


class StatementBody(serializers.Serializer[Any]):
    statement = serializers.CharField(max_length=2_000, help_text="What is attested, in one's own words.")
