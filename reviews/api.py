"""Access reviews over REST: campaigns and their items, with everything that people do to them.

Programs may draft, launch and read; a person decides, delegates, attests and signs by name.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar
from uuid import UUID

from django.utils import timezone
from rest_framework.exceptions import ValidationError

from access.actors import Actor
from access.rights import Right
from inventory.models import Owner
from lifecycle.api import named
from lifecycle.errors import HoldsSecret, LifecycleError, ReasonMissing
from lifecycle.serializers import ReasonBody
from reviews import filters, serializers
from reviews.actions import campaigns, decisions, signing
from reviews.actions.reminding import remind_by_hand
from reviews.actions.triggers import set_trigger
from reviews.errors import (
    CampaignRefused,
    ItemNotVisible,
    NotAPerson,
    NotAReviewer,
    NotTheLead,
    NotYourItem,
    OwnDelegate,
    OwnItem,
    ReasonNeeded,
    ReviewError,
    SameChain,
    ScopesMissing,
    StaleByLauncher,
    StatementMissing,
    TakerMissing,
    TriggerRefused,
)
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
from reviews.models.cuts import cuts_of
from reviews.models.figures import pace, standing
from reviews.models.preview import preview
from reviews.recommendations import in_words
from reviews.states import CampaignState, NoAnswer, Occasion, Seat, What
from reviews.tasks import ring_decided
from web.api import ARRIVAL, ReadOnlyViewSet
from web.paging import Ordering
from web.writes import CREATED, WritingViewSet, writes

REFUSALS: Mapping[type[Exception], int] = {
    NotAReviewer: 403,
    NotAPerson: 403,
    NotYourItem: 403,
    NotTheLead: 403,
    OwnItem: 403,
    OwnDelegate: 403,
    SameChain: 403,
    StaleByLauncher: 403,
    ItemNotVisible: 404,
    CampaignRefused: 400,
    ReasonNeeded: 400,
    ReasonMissing: 400,
    HoldsSecret: 400,
    TakerMissing: 400,
    TriggerRefused: 400,
    ScopesMissing: 400,
    StatementMissing: 400,
    ReviewError: 409,
    LifecycleError: 409,
}
SAID = 100  # decisions and delegations that one item tells of itself; their own nouns have all of them
LENGTHS = ("escalate_after", "fresh_within", "repeats_every")


class CampaignViewSet(WritingViewSet):
    """Access reviews. A draft says what it would be; a launch freezes it."""

    queryset = Campaign.objects.all()
    serializer_class = serializers.CampaignSerializer
    object_class = serializers.CampaignObjectSerializer
    filterset_class = filters.CampaignFilter
    orderings = (ARRIVAL, Ordering("due_at", ("due_at",)))
    rights: ClassVar = {
        "*": Right.RUN_CAMPAIGN,
        **dict.fromkeys(("decide", "submit", "attest", "sign", "remind"), Right.REVIEW),
    }
    refusals = REFUSALS
    verbs: ClassVar = {
        "change": "change",
        "leave-out": "leave_out",
        "accept-stale": "accept_stale",
        "launch": "launch",
        "due": "due",
        "remind": "remind",
        "cancel": "cancel",
        "decide": "decide",
        "submit": "submit",
        "attest": "attest",
        "sign": "sign",
    }

    def _preview(self, pk: UUID) -> dict[str, Any] | None:
        campaign = Campaign.objects.get(pk=pk)
        return preview(campaign, now=timezone.now()) if campaign.state == CampaignState.DRAFT else None

    parts: ClassVar = {
        "preview": _preview,
        "progress": lambda _, pk: standing(pk)[0],
        "waiting_on": lambda _, pk: standing(pk)[1],
        "pace": lambda _, pk: pace(pk),
    }

    @writes(serializers.CampaignBody, "Draft a campaign.", status=CREATED)
    def create(self, given: Mapping[str, Any]) -> Campaign:
        return campaigns.create_campaign(actor=self.actor, now=timezone.now(), **self._values(given))

    @writes(serializers.CampaignBody, "Change a draft; what is left out of the body is as in a new one.")
    def change(self, row: Campaign, given: Mapping[str, Any]) -> Campaign:
        return campaigns.change_campaign(row, actor=self.actor, now=timezone.now(), **self._values(given))

    def _values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        values = dict(given)
        for name in LENGTHS:
            values[name] = timedelta(seconds=given[name]) if given[name] is not None else None
        values["lead"] = named(Owner.objects.visible_to(self.actor), given["lead"], "lead", "owner")
        return values

    @writes(serializers.LeaveOutBody, "Leave things out of a draft by name, with the reason.")
    def leave_out(self, row: Campaign, given: Mapping[str, Any]) -> Campaign:
        asked = {"actor": self.actor, "now": timezone.now(), "reason": given["reason"]}
        return campaigns.leave_out(row, given["ids"], **asked)

    @writes(ReasonBody, "Sign for what stale connections last said. Somebody else launches it then.")
    def accept_stale(self, row: Campaign, given: Mapping[str, Any]) -> Campaign:
        campaigns.accept_stale(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(serializers.NoBody, "Launch a draft: its scope is frozen as items.")
    def launch(self, row: Campaign, given: Mapping[str, Any]) -> Campaign:
        return campaigns.launch(row, actor=self.actor, now=timezone.now())

    @writes(serializers.DueBody, "Move the date of a campaign.")
    def due(self, row: Campaign, given: Mapping[str, Any]) -> Campaign:
        asked = {"actor": self.actor, "now": timezone.now(), "reason": given["reason"]}
        campaigns.change_due(row, given["due_at"], **asked)
        return row

    @writes(serializers.NoBody, "Tell whom a campaign waits for, once a day; for its lead and for reviewers.")
    def remind(self, row: Campaign, given: Mapping[str, Any]) -> Campaign:
        remind_by_hand(row, actor=self.actor, now=timezone.now())
        return row

    @writes(ReasonBody, "End a campaign unsigned.")
    def cancel(self, row: Campaign, given: Mapping[str, Any]) -> Campaign:
        campaigns.cancel_campaign(row, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(
        serializers.DecideManyBody, "Decide about items that are alike. Nothing comes of it before it is submitted."
    )
    def decide(self, row: Campaign, given: Mapping[str, Any]) -> Campaign:
        inside = ReviewItem.with_decoys.filter(campaign=row, pk__in=given["items"]).count()
        if inside != len(set(given["items"])):
            raise ValidationError({"items": ["Some of these are no items of this campaign."]})
        decisions.decide(given["items"], What(given["what"]), **decided(self.actor, given))
        return row

    @writes(serializers.SubmitBody, "Stand by one's decisions; what is kept closes, the rest is carried out.")
    def submit(self, row: Campaign, given: Mapping[str, Any]) -> Campaign:
        decisions.submit(row, actor=self.actor, now=timezone.now(), items=given["items"] or None)
        ring_decided()
        return row

    @writes(serializers.StatementBody, "Sign for everything that one decided.")
    def attest(self, row: Campaign, given: Mapping[str, Any]) -> Campaign:
        signing.attest(row, actor=self.actor, now=timezone.now(), statement=given["statement"])
        return row

    @writes(serializers.StatementBody, "Sign a campaign whose every item is closed and attested.")
    def sign(self, row: Campaign, given: Mapping[str, Any]) -> Campaign:
        return signing.sign(row, actor=self.actor, now=timezone.now(), statement=given["statement"])


def decided(actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a body says of a decision, as the action takes it."""
    to = named(Owner.objects.all(), given["to"], "to", "owner")
    detail = {name: given[name] for name in ("role", "scopes", "tools") if given[name] not in (None, "")}
    return {"actor": actor, "now": timezone.now(), "reason": given["reason"], "to": to, "detail": detail}


class ReviewItemViewSet(WritingViewSet):
    """What is reviewed, as it was frozen, and what was decided about it."""

    queryset = ReviewItem.with_decoys.all()
    serializer_class = serializers.ReviewItemSerializer
    object_class = serializers.ReviewItemObjectSerializer
    filterset_class = filters.ReviewItemFilter
    orderings = (ARRIVAL, Ordering("risk", ("risk", "score")), Ordering("due_at", ("due_at",)))
    rights: ClassVar = {"*": Right.REVIEW}
    refusals = REFUSALS
    verbs: ClassVar = {
        "decide": "decide",
        "undo": "undo",
        "submit": "submit",
        "delegate": "delegate",
        "reassign": "reassign",
        "look-again": "look_again",
    }

    def _decisions(self, pk: UUID) -> list[dict[str, Any]]:
        rows = Decision.with_decoys.select_related("to_owner").filter(item=pk).order_by("-id")[:SAID]
        return [serializers.DecisionSerializer.of(row) for row in rows]

    def _delegations(self, pk: UUID) -> list[dict[str, Any]]:
        rows = Delegation.with_decoys.select_related("from_owner", "to_owner").filter(item=pk).order_by("-id")[:SAID]
        return [serializers.DelegationSerializer.of(row) for row in rows]

    @cached_property
    def _frozen(self) -> Mapping[str, Any]:
        """What was frozen whole. PostgreSQL makes an object of fifty members at most, so it is read beside the row."""
        return ReviewItem.with_decoys.values("reasons", "facts", "path", "bound").get(pk=self.kwargs["id"])

    def _cuts(self, pk: UUID) -> list[dict[str, Any]]:
        row = ReviewItem.with_decoys.select_related("campaign").get(pk=pk)
        if row.decoy and row.closed_at:
            return []
        own = None if row.is_told else str(row.subject_id)
        return [
            {**said, "id": None} if said["id"] == own else said for said in (each.as_json() for each in cuts_of(row))
        ]

    parts: ClassVar = {
        "cuts": _cuts,
        "facts": lambda self, _: self._frozen["facts"],
        "path": lambda self, _: self._frozen["path"],
        "bound": lambda self, _: self._frozen["bound"],
        "decisions": _decisions,
        "delegations": _delegations,
        "reasons_in_words": lambda self, _: in_words(self._frozen["reasons"]),
    }

    @writes(serializers.DecideBody, "Decide about one item. Nothing comes of it before it is submitted.")
    def decide(self, row: ReviewItem, given: Mapping[str, Any]) -> ReviewItem:
        seen = None if given["version"] is None else {row.pk: given["version"]}
        decisions.decide([row.pk], What(given["what"]), seen=seen, **decided(self.actor, given))
        return row

    @writes(serializers.NoBody, "Take back one's decision that was not submitted.")
    def undo(self, row: ReviewItem, given: Mapping[str, Any]) -> ReviewItem:
        decisions.undo([row.pk], actor=self.actor, now=timezone.now())
        return row

    @writes(serializers.NoBody, "Stand by one's decision about one item.")
    def submit(self, row: ReviewItem, given: Mapping[str, Any]) -> ReviewItem:
        decisions.submit(row.campaign, actor=self.actor, now=timezone.now(), items=[row.pk])
        ring_decided()
        return row

    @writes(serializers.DelegateBody, "Hand one's part to somebody else, who acts for oneself from then on.")
    def delegate(self, row: ReviewItem, given: Mapping[str, Any]) -> ReviewItem:
        to = named(Owner.objects.all(), given["to"], "to", "owner")
        decisions.delegate([row.pk], to, actor=self.actor, now=timezone.now(), reason=given["reason"])
        return row

    @writes(serializers.ReassignBody, "Give one part to somebody else; for the lead and for reviewers.")
    def reassign(self, row: ReviewItem, given: Mapping[str, Any]) -> ReviewItem:
        to = named(Owner.objects.all(), given["to"], "to", "owner")
        asked = {"actor": self.actor, "now": timezone.now(), "reason": given["reason"]}
        decisions.reassign([row.pk], Seat(given["seat"]), to, **asked)
        return row

    @writes(serializers.NoBody, "Take note of what has changed since it was frozen.")
    def look_again(self, row: ReviewItem, given: Mapping[str, Any]) -> ReviewItem:
        decisions.look_again([row.pk], actor=self.actor, now=timezone.now())
        return row


class DecisionViewSet(ReadOnlyViewSet):
    queryset = Decision.with_decoys.all()
    serializer_class = serializers.DecisionSerializer
    filterset_class = filters.DecisionFilter


class DelegationViewSet(ReadOnlyViewSet):
    queryset = Delegation.with_decoys.all()
    serializer_class = serializers.DelegationSerializer
    filterset_class = filters.DelegationFilter


class AttestationViewSet(ReadOnlyViewSet):
    queryset = Attestation.objects.all()
    serializer_class = serializers.AttestationSerializer
    filterset_class = filters.AttestationFilter


class ExclusionViewSet(ReadOnlyViewSet):
    queryset = Exclusion.objects.all()
    serializer_class = serializers.ExclusionSerializer
    filterset_class = filters.ExclusionFilter


class ApprovalViewSet(ReadOnlyViewSet):
    queryset = Approval.objects.all()
    serializer_class = serializers.ApprovalSerializer
    filterset_class = filters.ApprovalFilter


class TriggerViewSet(WritingViewSet):
    """What small reviews begin with by themselves. One of each occasion; to set it again changes it."""

    queryset = Trigger.objects.all()
    serializer_class = serializers.TriggerSerializer
    filterset_class = filters.TriggerFilter
    rights: ClassVar = {"*": Right.RUN_CAMPAIGN}
    refusals = REFUSALS

    @writes(serializers.TriggerBody, "Say whether something that occurs is reviewed by itself.", status=CREATED)
    def create(self, given: Mapping[str, Any]) -> Trigger:
        lead = named(Owner.objects.visible_to(self.actor), given["lead"], "lead", "owner")
        return set_trigger(
            Occasion(given["occasion"]),
            is_on=given["is_on"],
            lead=lead,
            no_answer=NoAnswer(given["no_answer"]),
            answer_within=timedelta(seconds=given["answer_within"]),
            actor=self.actor,
            now=timezone.now(),
        )


class OccurrenceViewSet(ReadOnlyViewSet):
    """What occurred and is reviewed because of that, or waits to be."""

    queryset = Occurrence.objects.all()
    serializer_class = serializers.OccurrenceSerializer
    filterset_class = filters.OccurrenceFilter
    lookup_value_converter = "int"


VIEWSETS: tuple[type[ReadOnlyViewSet], ...] = (
    CampaignViewSet,
    ReviewItemViewSet,
    DecisionViewSet,
    DelegationViewSet,
    AttestationViewSet,
    ExclusionViewSet,
    ApprovalViewSet,
    TriggerViewSet,
    OccurrenceViewSet,
)
