"""Review items as their reviewers saw them, what was decided about them, and who signed for that."""

from typing import Any, ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q

from access.actors import Actor
from inventory.models import Connection, Credential, Environment, Grant, McpClient, McpServer, Owner
from inventory.models.base import AnyOf, Row, prefix_query, words
from inventory.states import Severity
from lifecycle.models import Operation
from reviews.models.campaigns import Campaign
from reviews.states import ITEM_FINAL, UNDECIDED, Ending, ItemState, Passed, Reviewed, Seat, What

SUBJECTS = ("credential", "client", "grant", "server")


def _about_exactly_one() -> Q:
    condition = Q()
    for kind in SUBJECTS:
        condition |= Q(kind=kind, decoy=None, **{f"{other}__isnull": other != kind for other in SUBJECTS})
    return condition | Q(decoy__isnull=False)


def _decoy_is_about_nothing() -> Q:
    """Nothing can be done to what is not there, and nothing that came of an item is a decoy's."""
    planted = Q(kind=Reviewed.CREDENTIAL, operation=None, by_clock=False, **dict.fromkeys(SUBJECTS))
    reached = Q(state__in=[ItemState.OPEN, ItemState.CLOSED, ItemState.CANCELLED], ending__in=["", Ending.DECOY])
    return Q(decoy=None) & ~Q(ending=Ending.DECOY) | Q(decoy__isnull=False) & planted & reached


class ReviewItemQuerySet(models.QuerySet["ReviewItem"]):
    def visible_to(self, actor: Actor) -> Self:
        """What somebody reviews, or leads; an owner sees no more of what is theirs than that."""
        if actor.sees_everything:
            return self
        me = Owner.objects.being(actor)
        led = Campaign.objects.filter(lead__in=me.values("pk"))
        return self.filter(Q(AnyOf("reviewer_id", me)) | Q(AnyOf("second_id", me)) | Q(AnyOf("campaign_id", led)))

    def seated(self, actor: Actor) -> Self:
        """In which this person has a part."""
        me = Owner.objects.being(actor)
        return self.filter(Q(AnyOf("reviewer_id", me)) | Q(AnyOf("second_id", me)))

    def undecided(self) -> Self:
        return self.filter(state__in=UNDECIDED)

    def open(self) -> Self:
        return self.exclude(state__in=ITEM_FINAL)

    def waiting_for(self, actor: Actor) -> Self:
        """Undecided, and this person's own part of it has nothing submitted."""
        mine = Q()
        me = Owner.objects.being(actor)
        for seat, column in ((Seat.FIRST, "reviewer_id"), (Seat.SECOND, "second_id")):
            said = Decision.with_decoys.current().filter(
                item=models.OuterRef("pk"), seat=seat, submitted_at__isnull=False, round=models.OuterRef("round")
            )
            mine |= Q(AnyOf(column, me)) & ~Q(models.Exists(said))
        return self.undecided().filter(mine)

    def matching(self, text: str) -> Self:
        query = prefix_query(text)
        return self.annotate(_words=words("name")).filter(_words=query) if query else self.none()


class WithDecoysQuerySet(ReviewItemQuerySet):
    """What somebody decides about: decoys too, but only those in which they have a part, whatever else they see."""

    def visible_to(self, actor: Actor) -> Self:
        me = Owner.objects.being(actor)
        mine = Q(AnyOf("reviewer_id", me)) | Q(AnyOf("second_id", me))
        if actor.sees_everything:
            return self.filter(Q(decoy=None) | mine)
        led = Campaign.objects.filter(lead__in=me.values("pk"))
        return self.filter(mine | Q(AnyOf("campaign_id", led), decoy=None))

    def told(self) -> Self:
        """Decoys that were decided and submitted, newest first. Nobody is told of the others, whatever their role."""
        return self.filter(decoy__isnull=False, ending=Ending.DECOY).order_by("-closed_at", "-id")


class _WithoutDecoys(models.Manager["ReviewItem"]):
    def get_queryset(self) -> ReviewItemQuerySet:
        return ReviewItemQuerySet(self.model, using=self._db).filter(decoy=None)


class ReviewItem(Row):
    """One credential, client, grant or ownership as its reviewers saw it. What is frozen at the launch never changes.

    `bound` is what a keep is bound to, `drift` what has changed in it since. Two parts are taken by two people where
    one may not decide alone: `interested` are those who answer for it and whoever acts for them. Nobody is in
    both chains.

    A decoy is about nothing. `objects` has none, so that whatever counts, closes, acts, signs or packs never meets one;
    `with_decoys` is for what a reviewer is shown and decides.
    """

    campaign = models.ForeignKey(Campaign, models.CASCADE, related_name="+", db_index=False)
    kind = models.CharField(max_length=20, choices=Reviewed)
    credential = models.ForeignKey(Credential, models.PROTECT, null=True, related_name="+", db_index=False)
    client = models.ForeignKey(McpClient, models.PROTECT, null=True, related_name="+", db_index=False)
    grant = models.ForeignKey(Grant, models.PROTECT, null=True, related_name="+", db_index=False)
    server = models.ForeignKey(McpServer, models.PROTECT, null=True, related_name="+", db_index=False)
    decoy = models.UUIDField(
        null=True, editable=False, help_text="Of a decoy, what stands where the key of a thing would; else null."
    )
    # ── Frozen ──
    name = models.CharField(max_length=620)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+", db_index=False)
    owner = models.ForeignKey(Owner, models.SET_NULL, null=True, related_name="+", db_index=False)
    environment = models.ForeignKey(Environment, models.SET_NULL, null=True, related_name="+", db_index=False)
    criticality = models.PositiveSmallIntegerField(default=1)
    variety = models.CharField(max_length=30, blank=True, help_text="Kind of credential, registration, role.")
    trust_model = models.CharField(max_length=20, blank=True)
    known_since = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    exposures = models.PositiveIntegerField(default=0)
    open_findings = models.PositiveIntegerField(default=0)
    reach = models.PositiveIntegerField(default=0, help_text="How many clients and servers it joins.")
    risk = models.PositiveSmallIntegerField(choices=Severity, default=Severity.NONE)
    score = models.PositiveSmallIntegerField(default=0)
    facts = models.JSONField(default=dict)
    path = models.JSONField(default=list, help_text="On whose behalf, by which client, at which server, with what.")
    bound = models.JSONField(default=dict)
    bound_digest = models.CharField(max_length=64)
    changes = models.JSONField(default=dict, help_text="What differs from the last review: before and after.")
    last_item = models.ForeignKey("self", models.SET_NULL, null=True, related_name="+", db_index=False)
    recommendation = models.CharField(max_length=20, choices=What, blank=True)
    reasons = ArrayField(models.CharField(max_length=30), default=list)
    is_outlier = models.BooleanField(default=False)
    alike = models.CharField(max_length=200, help_text="The same for items that may be decided in one go.")
    frozen_at = models.DateTimeField()
    # ── As it goes ──
    state = models.CharField(max_length=20, choices=ItemState, default=ItemState.OPEN)
    version = models.PositiveIntegerField(default=1, help_text="Counts whatever happened to it.")
    round = models.PositiveIntegerField(default=1, help_text="Begins anew when it comes back to its reviewers.")
    due_at = models.DateTimeField()
    reviewer = models.ForeignKey(
        Owner, models.SET_NULL, null=True, related_name="+", db_index=False, help_text="Null: whoever is a reviewer."
    )
    second = models.ForeignKey(Owner, models.SET_NULL, null=True, related_name="+", db_index=False)
    needs_second = models.BooleanField(default=False)
    interested = ArrayField(models.UUIDField(), default=list)
    first_chain = ArrayField(models.UUIDField(), default=list, help_text="Who had or has the first part.")
    second_chain = ArrayField(models.UUIDField(), default=list)
    escalations = models.PositiveSmallIntegerField(default=0)
    drift = models.JSONField(default=dict, help_text="What changed since it was frozen: before and after.")
    drift_digest = models.CharField(max_length=64, blank=True, help_text="Of what it was bound to when last looked at.")
    drift_at = models.DateTimeField(null=True)
    returned_reason = models.TextField(blank=True)
    what = models.CharField(max_length=20, choices=What, blank=True, help_text="What was decided.")
    first_by = models.CharField(max_length=200, blank=True)
    first_by_key = models.CharField(max_length=200, blank=True)
    second_by = models.CharField(max_length=200, blank=True)
    second_by_key = models.CharField(max_length=200, blank=True)
    by_clock = models.BooleanField(default=False, help_text="Nobody answered, so the campaign did what it says.")
    decided_at = models.DateTimeField(null=True)
    operation = models.ForeignKey(Operation, models.PROTECT, null=True, related_name="+", db_index=False)
    acted_at = models.DateTimeField(null=True, help_text="When what was decided was begun.")
    ending = models.CharField(max_length=20, choices=Ending, blank=True)
    proof = models.TextField(blank=True, help_text="How it is known, once it is closed.")
    closed_at = models.DateTimeField(null=True)

    objects = _WithoutDecoys.from_queryset(ReviewItemQuerySet)()
    with_decoys = WithDecoysQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=_about_exactly_one(), name="review_item_is_of_one_thing"),
            models.CheckConstraint(condition=_decoy_is_about_nothing(), name="review_item_decoy_is_about_nothing"),
            *(
                models.UniqueConstraint(
                    fields=["campaign", kind],
                    condition=Q(**{f"{kind}__isnull": False}),
                    name=f"review_item_one_per_{kind}",
                )
                for kind in SUBJECTS
            ),
            models.CheckConstraint(condition=Q(state__in=ItemState.values), name="review_item_state_is_known"),
            models.CheckConstraint(
                condition=Q(recommendation="") | Q(recommendation__in=What.values),
                name="review_item_recommendation_is_known",
            ),
            models.CheckConstraint(condition=Q(what="") | Q(what__in=What.values), name="review_item_what_is_known"),
            models.CheckConstraint(
                condition=Q(state__in=ITEM_FINAL, closed_at__isnull=False)
                | ~Q(state__in=ITEM_FINAL) & Q(closed_at=None),
                name="review_item_closed_exactly_when_final",
            ),
            models.CheckConstraint(
                condition=Q(state=ItemState.CLOSED, ending__in=Ending.values) & ~Q(proof="")
                | ~Q(state=ItemState.CLOSED) & Q(ending=""),
                name="review_item_closed_says_how_and_how_it_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=[ItemState.ACTING, ItemState.CLOSED])
                | Q(by_clock=True)
                | Q(ending=Ending.GONE)
                | ~Q(first_by_key="")
                | ~Q(second_by_key=""),
                name="review_item_decided_by_somebody",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=[ItemState.ACTING, ItemState.CLOSED])
                | Q(by_clock=True)
                | Q(ending=Ending.GONE)
                | Q(needs_second=False)
                | Q(decoy__isnull=False)
                | ~Q(first_by_key="") & ~Q(second_by_key="") & ~Q(first_by_key=F("second_by_key")),
                name="review_item_of_two_decided_by_two",
            ),
            models.CheckConstraint(
                condition=~Q(reviewer=F("second")), name="review_item_parts_are_of_different_people"
            ),
            models.CheckConstraint(
                condition=~Q(first_chain__overlap=F("second_chain")), name="review_item_chains_are_apart"
            ),
            models.CheckConstraint(
                condition=~Q(interested__overlap=F("second_chain")), name="review_item_second_is_not_interested"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["campaign", "id"], name="review_item_by_campaign"),
            models.Index(fields=["campaign", "state", "id"], name="review_item_by_state"),
            # All that the figures of a campaign read: an item's row is wide, and there are a hundred thousand of them.
            models.Index(
                fields=["campaign", "state", "ending"],
                include=["id", "what", "recommendation", "reviewer", "second", "needs_second", "due_at", "round"],
                condition=Q(decoy=None),
                name="review_item_figures",
            ),
            models.Index(fields=["campaign", "risk", "score", "id"], name="review_item_by_risk"),
            models.Index(fields=["campaign", "alike", "id"], name="review_item_by_likeness"),
            models.Index(fields=["reviewer", "id"], name="review_item_by_reviewer"),
            models.Index(fields=["second", "id"], condition=Q(second__isnull=False), name="review_item_by_second"),
            models.Index(fields=["due_at", "id"], condition=Q(state__in=UNDECIDED), name="review_item_due"),
            models.Index(fields=["id"], condition=Q(state=ItemState.ACTING), name="review_item_acting"),
            models.Index(fields=["campaign", "id"], condition=Q(decoy__isnull=False), name="review_item_decoys"),
            models.Index(fields=["operation"], condition=Q(operation__isnull=False), name="review_item_by_operation"),
            *(
                models.Index(
                    fields=[kind, "-id"], condition=Q(**{f"{kind}__isnull": False}), name=f"review_item_by_{kind}"
                )
                for kind in SUBJECTS
            ),
            GinIndex(words("name"), name="review_item_by_words"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def subject(self) -> Credential | McpClient | Grant | McpServer:
        found: Any = getattr(self, self.kind)
        return found  # type: ignore[no-any-return]

    @property
    def subject_id(self) -> Any:
        return self.decoy or getattr(self, f"{self.kind}_id")

    @property
    def is_told(self) -> bool:
        """Whether it says what it is about: where there are decoys among its like, once it is decided."""
        return self.decoy is None and not (self.campaign.planted and self.is_undecided)

    @property
    def is_undecided(self) -> bool:
        return self.state in UNDECIDED

    @property
    def seen_digest(self) -> str:
        """Of what it was bound to when its reviewers last saw it."""
        return self.drift_digest or self.bound_digest

    @property
    def seen_facts(self) -> dict[str, Any]:
        """The facts as its reviewers last saw them: as frozen, but for what they took note of since."""
        return {**self.facts, **{name: after for name, (_, after) in self.drift.items()}}

    @property
    def deciders(self) -> str:
        """Who decided it, by name; empty where nobody has."""
        return " and ".join(name for name in (self.first_by, self.second_by) if name)


def _of_decoys() -> models.QuerySet[ReviewItem]:
    return ReviewItem.with_decoys.filter(pk=models.OuterRef("item"), decoy__isnull=False)


class OfItemQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(AnyOf("item_id", ReviewItem.objects.visible_to(actor)))

    def current(self) -> Self:
        """Not taken back, and not replaced."""
        return self.filter(withdrawn_at=None)


class OfItemWithDecoysQuerySet(OfItemQuerySet):
    def visible_to(self, actor: Actor) -> Self:
        if not actor.sees_everything:
            return self.filter(AnyOf("item_id", ReviewItem.with_decoys.visible_to(actor)))
        me = Owner.objects.being(actor)
        mine = _of_decoys().filter(Q(AnyOf("reviewer_id", me)) | Q(AnyOf("second_id", me)))
        return self.filter(~models.Exists(_of_decoys()) | models.Exists(mine))


class _NotOfDecoys(models.Manager[Any]):
    def get_queryset(self) -> OfItemQuerySet:
        return OfItemQuerySet(self.model, using=self._db).filter(~models.Exists(_of_decoys()))


class Decision(Row):
    """What one person decided about one item, in one part. Until it is submitted it can be taken back."""

    item = models.ForeignKey(ReviewItem, models.CASCADE, related_name="+", db_index=False)
    campaign = models.ForeignKey(Campaign, models.CASCADE, related_name="+", db_index=False)
    seat = models.CharField(max_length=20, choices=Seat)
    round = models.PositiveIntegerField(default=1)
    what = models.CharField(max_length=20, choices=What)
    reason = models.TextField(blank=True)
    to_owner = models.ForeignKey(Owner, models.PROTECT, null=True, blank=True, related_name="+")
    detail = models.JSONField(default=dict, blank=True, help_text="As which owner; which scopes and tools remain.")
    seen_digest = models.CharField(max_length=64, help_text="Of what the item was bound to when it was decided.")
    is_against = models.BooleanField(default=False, help_text="Another decision was recommended, or none.")
    group = models.UUIDField(null=True, blank=True, help_text="The same for what was decided in one go.")
    took = models.DurationField(null=True, blank=True, help_text="Since the same person's decision before.")
    decided_by = models.CharField(max_length=200)
    decided_by_key = models.CharField(max_length=200)
    decided_at = models.DateTimeField()
    submitted_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    objects = _NotOfDecoys.from_queryset(OfItemQuerySet)()
    with_decoys = OfItemWithDecoysQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["item", "round", "seat"], condition=Q(withdrawn_at=None), name="decision_one_per_part"
            ),
            models.UniqueConstraint(
                fields=["item", "round", "decided_by_key"],
                condition=Q(withdrawn_at=None),
                name="decision_one_per_person",
            ),
            models.CheckConstraint(condition=Q(seat__in=Seat.values), name="decision_seat_is_known"),
            models.CheckConstraint(condition=Q(what__in=What.values), name="decision_what_is_known"),
            models.CheckConstraint(
                condition=Q(is_against=False) | ~Q(reason=""), name="decision_against_the_recommendation_says_why"
            ),
            models.CheckConstraint(
                condition=~Q(what=What.REASSIGN) | Q(to_owner__isnull=False), name="decision_reassigns_to_somebody"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["item", "-id"], name="decision_by_item"),
            models.Index(fields=["campaign", "decided_by_key", "decided_at"], name="decision_by_person"),
            models.Index(
                fields=["decided_by_key", "campaign"],
                condition=Q(submitted_at=None, withdrawn_at=None),
                name="decision_not_submitted",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_what_display()}: {self.item}"


class Delegation(Row):
    """That one part of an item went from one person to another: who passed it on, and why."""

    item = models.ForeignKey(ReviewItem, models.CASCADE, related_name="+", db_index=False)
    seat = models.CharField(max_length=20, choices=Seat)
    why = models.CharField(max_length=20, choices=Passed)
    from_owner = models.ForeignKey(Owner, models.SET_NULL, null=True, related_name="+")
    to_owner = models.ForeignKey(
        Owner, models.SET_NULL, null=True, related_name="+", help_text="Null: whoever is a reviewer."
    )
    reason = models.TextField(blank=True)
    passed_by = models.CharField(max_length=200)
    passed_by_key = models.CharField(max_length=200)
    passed_at = models.DateTimeField()

    objects = _NotOfDecoys.from_queryset(OfItemQuerySet)()
    with_decoys = OfItemWithDecoysQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(why__in=Passed.values), name="delegation_why_is_known"),
            models.CheckConstraint(condition=~Q(from_owner=F("to_owner")), name="delegation_changes_hands"),
        ]
        indexes: ClassVar = [models.Index(fields=["item", "-id"], name="delegation_by_item")]

    def __str__(self) -> str:
        return f"{self.item}: {self.from_owner or 'nobody'} to {self.to_owner or 'any reviewer'}"


class AttestationQuerySet(models.QuerySet["Attestation"]):
    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_everything else self.filter(signed_by_key=actor.key)


class Attestation(Row):
    """A reviewer's signed statement over everything that they decided in a campaign."""

    campaign = models.ForeignKey(Campaign, models.CASCADE, related_name="+", db_index=False)
    statement = models.TextField()
    decisions = models.PositiveIntegerField()
    digest = models.CharField(max_length=64, help_text="Over those decisions.")
    signed_by = models.CharField(max_length=200)
    signed_by_key = models.CharField(max_length=200)
    signed_at = models.DateTimeField()

    objects = AttestationQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(statement=""), name="attestation_states_something"),
            models.UniqueConstraint(
                fields=["campaign", "signed_by_key", "digest"], name="attestation_one_per_person_and_digest"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["campaign", "id"], name="attestation_by_campaign")]

    def __str__(self) -> str:
        return f"{self.signed_by} on {self.campaign}"
