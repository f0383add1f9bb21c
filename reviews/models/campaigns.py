"""Campaigns: what is reviewed, by when, what becomes of what nobody answers, and what was left out and why."""

from datetime import timedelta
from typing import ClassVar, Self

from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from access.actors import Actor
from inventory.models import Connection, Owner
from inventory.models.base import Row
from inventory.states import CredentialKind, ServerRole, TrustModel
from lifecycle.models.policies import SELECTORS
from reviews.states import (
    CAMPAIGN_FINAL,
    ESCALATE_AFTER,
    FRESH_WITHIN,
    REMINDERS,
    RUNNING,
    CampaignState,
    LeftOut,
    NoAnswer,
    Origin,
    Reviewed,
)

# What a person chooses before the launch, and a campaign that comes back takes from the one before.
CHOSEN = (
    "name", "description", "reviewed", *SELECTORS, "connections", "ids", "left_out", "no_answer", "reminders",
    "escalate_after", "fresh_within", "second_on_outliers", "decoys", "repeats_every",
)  # fmt: skip


def usual_reminders() -> list[int]:
    return list(REMINDERS)


class CampaignQuerySet(models.QuerySet["Campaign"]):
    def visible_to(self, actor: Actor) -> Self:
        """An owner sees those they lead, or in which something is theirs to review."""
        if actor.sees_everything:
            return self
        me = Owner.objects.being(actor)
        item, reviewed = apps.get_model("reviews", "ReviewItem"), Q()  # which knows its campaign
        for part in ("reviewer", "second"):
            items = item.with_decoys.filter(**{f"{part}__in": me.values("pk")}, campaign=models.OuterRef("pk"))
            reviewed |= Q(models.Exists(items))
        return self.filter(Q(lead__in=me.values("pk")) | reviewed)

    def running(self) -> Self:
        return self.filter(state__in=RUNNING)


class Campaign(Row):
    """One access review over a frozen scope with a date.

    Its selectors are those of policies: an empty one fits everything, of one any value will do, and all that are not
    empty must fit. Those that are about credentials alone (kinds, trust models, providers, tags) narrow nothing else.
    """

    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    state = models.CharField(max_length=20, choices=CampaignState, default=CampaignState.DRAFT)
    origin = models.CharField(max_length=20, choices=Origin, default=Origin.PERSON)
    lead = models.ForeignKey(
        Owner, models.SET_NULL, null=True, blank=True, related_name="+", help_text="Who sees it through."
    )
    reviewed = ArrayField(models.CharField(max_length=20, choices=Reviewed), help_text="What is reviewed.")
    kinds = ArrayField(models.CharField(max_length=30, choices=CredentialKind), default=list, blank=True)
    trust_models = ArrayField(models.CharField(max_length=20, choices=TrustModel), default=list, blank=True)
    environments = ArrayField(models.UUIDField(), default=list, blank=True)
    providers = ArrayField(models.CharField(max_length=100), default=list, blank=True, help_text="As `issuer` has it.")
    owners = ArrayField(models.UUIDField(), default=list, blank=True)
    tags = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    server_roles = ArrayField(models.CharField(max_length=20, choices=ServerRole), default=list, blank=True)
    connections = ArrayField(models.UUIDField(), default=list, blank=True)
    ids = ArrayField(models.UUIDField(), default=list, blank=True, help_text="Only these, of all that fits.")
    left_out = models.JSONField(
        default=dict, blank=True, help_text="By the id of what is left out by name, the reason."
    )
    due_at = models.DateTimeField()
    no_answer = models.CharField(max_length=20, choices=NoAnswer, default=NoAnswer.ESCALATE)
    escalate_after = models.DurationField(
        default=ESCALATE_AFTER, help_text="How long the next in line has, each time nobody answers."
    )
    reminders = ArrayField(
        models.PositiveSmallIntegerField(), default=usual_reminders, blank=True, help_text="Days before the date."
    )
    fresh_within = models.DurationField(
        default=FRESH_WITHIN, help_text="A connection that was not looked at for longer is stale."
    )
    second_on_outliers = models.BooleanField(
        default=False, help_text="What stands out takes two reviewers, whoever answers for it."
    )
    decoys = models.PositiveSmallIntegerField(
        default=0, help_text="Planted among the credentials of each reviewer at most: one for each five."
    )
    repeats_every = models.DurationField(null=True, blank=True)
    repeat_at = models.DateTimeField(null=True, blank=True, help_text="When the next one of it begins.")
    follows = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="+")
    created_by = models.CharField(max_length=200)
    created_by_key = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    launched_by = models.CharField(max_length=200, blank=True)
    launched_by_key = models.CharField(max_length=200, blank=True)
    launched_at = models.DateTimeField(null=True, blank=True)
    launch_error = models.TextField(blank=True, help_text="Why one that begins by itself has not.")
    size = models.PositiveIntegerField(default=0, help_text="How many items it has.")
    planted = models.PositiveIntegerField(
        default=0, help_text="How many decoys were planted. No other number counts them."
    )
    completeness = models.JSONField(
        default=list, blank=True, help_text="By connection: what it holds, what became an item, what did not and why."
    )
    completeness_digest = models.CharField(max_length=64, blank=True)
    scope_digest = models.CharField(max_length=64, blank=True, help_text="Over every item as it was frozen.")
    reminded = models.PositiveSmallIntegerField(
        null=True, blank=True, editable=False, help_text="Of how many days before the date reviewers were reminded."
    )
    reminded_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When somebody last reminded its reviewers by hand."
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_reason = models.TextField(blank=True)
    signed_by = models.CharField(max_length=200, blank=True)
    signed_by_key = models.CharField(max_length=200, blank=True)
    statement = models.TextField(blank=True, help_text="What whoever signed it stated.")
    digest = models.CharField(max_length=64, blank=True, help_text="Over every item and decision, once signed.")

    objects = CampaignQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(name=""), name="campaign_has_a_name"),
            models.CheckConstraint(
                condition=Q(reviewed__contained_by=Reviewed.values) & ~Q(reviewed=[]), name="campaign_reviews_something"
            ),
            *(
                models.CheckConstraint(condition=Q((f"{field}__in", known.values)), name=f"campaign_{field}_is_known")
                for field, known in (("state", CampaignState), ("origin", Origin), ("no_answer", NoAnswer))
            ),
            models.CheckConstraint(
                condition=Q(state=CampaignState.DRAFT, launched_at=None)
                | Q(state=CampaignState.CANCELLED)
                | ~Q(state=CampaignState.DRAFT) & Q(launched_at__isnull=False),
                name="campaign_draft_was_not_launched",
            ),
            models.CheckConstraint(
                condition=Q(state__in=CAMPAIGN_FINAL, ended_at__isnull=False)
                | ~Q(state__in=CAMPAIGN_FINAL) & Q(ended_at=None),
                name="campaign_ended_exactly_when_final",
            ),
            models.CheckConstraint(
                condition=Q(state=CampaignState.SIGNED) & ~Q(digest="") & ~Q(signed_by_key="")
                | ~Q(state=CampaignState.SIGNED) & Q(digest="", signed_by_key=""),
                name="campaign_signed_exactly_with_a_digest_and_a_name",
            ),
            models.CheckConstraint(
                condition=Q(repeats_every=None) | Q(repeats_every__gte=timedelta(days=1)),
                name="campaign_repeats_daily_at_most",
            ),
            models.CheckConstraint(
                condition=Q(escalate_after__gt=timedelta(0), fresh_within__gt=timedelta(0)),
                name="campaign_times_are_positive",
            ),
            models.UniqueConstraint(fields=["follows"], name="campaign_followed_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at", "id"], name="campaign_by_due"),
            models.Index(fields=["id"], condition=Q(state__in=RUNNING), name="campaign_running"),
            models.Index(fields=["repeat_at"], condition=Q(repeat_at__isnull=False), name="campaign_repeats"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING


class OfCampaignQuerySet(models.QuerySet["Exclusion"]):
    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_everything else self.filter(campaign__in=_led_by(actor))


class Exclusion(Row):
    """Something alive that fits a campaign's scope and is no item of it, with the reason. Written at the launch."""

    campaign = models.ForeignKey(Campaign, models.CASCADE, related_name="+", db_index=False)
    kind = models.CharField(max_length=20, choices=Reviewed)
    subject_id = models.UUIDField(help_text="Of the credential, client, grant or server.")
    name = models.CharField(max_length=300)
    connection = models.ForeignKey(Connection, models.PROTECT, null=True, related_name="+")
    reason = models.CharField(max_length=20, choices=LeftOut)
    said = models.TextField(blank=True)

    objects = OfCampaignQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["campaign", "kind", "subject_id"], name="exclusion_is_unique"),
            models.CheckConstraint(condition=Q(reason__in=LeftOut.values), name="exclusion_reason_is_known"),
            models.CheckConstraint(
                condition=~Q(reason=LeftOut.LEFT_OUT) | ~Q(said=""), name="exclusion_by_name_says_why"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["campaign", "id"], name="exclusion_by_campaign")]

    def __str__(self) -> str:
        return self.name


class StaleApproval(Row):
    """That a person signed for what a connection last said, though it was not looked at lately."""

    campaign = models.ForeignKey(Campaign, models.CASCADE, related_name="+", db_index=False)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+")
    looked_at = models.DateTimeField(null=True, help_text="When all that is there was last seen; null: never.")
    approved_by = models.CharField(max_length=200)
    approved_by_key = models.CharField(max_length=200)
    approved_at = models.DateTimeField()
    reason = models.TextField()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["campaign", "connection"], name="stale_approval_one_per_connection"),
            models.CheckConstraint(condition=~Q(reason=""), name="stale_approval_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.connection} as it was last seen"


def _led_by(actor: Actor) -> models.QuerySet[Campaign]:
    return Campaign.objects.filter(lead__in=Owner.objects.being(actor).values("pk")).order_by().values("pk")  # type: ignore[return-value]
