"""Who stands for what since when, whether they accepted it, and whom that is being asked of."""

from datetime import datetime
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from access.actors import Actor
from inventory.models.base import Row
from inventory.models.owners import Owner
from inventory.states import Part, QuestionState, Stage


class QuestionQuerySet(models.QuerySet["OwnershipQuestion"]):
    def visible_to(self, actor: Actor) -> Self:
        """An owner sees what they are asked, and what is asked about what they answered for."""
        return self if actor.sees_everything else self.about(actor)

    def about(self, actor: Actor) -> Self:
        """Those that this person is asked, or that are about what was theirs."""
        me = Owner.objects.being(actor).values("pk")
        return self.filter(Q(asked__in=me) | Q(owner__in=me))

    def open(self) -> Self:
        return self.filter(state=QuestionState.OPEN)

    def asked_of(self, actor: Actor) -> Self:
        """Those that wait for this person."""
        return self.open().filter(asked__in=Owner.objects.being(actor).values("pk"))

    def due(self, now: datetime) -> Self:
        """Nobody answered by the date, or whoever is asked has left."""
        return self.open().filter(Q(answer_by__lte=now) | Q(asked__is_active=False))


class OwnershipQuestion(Row):
    """Whether somebody answers for what is in an owner's name: one question about all of it, not one for each thing.

    It goes from the owner to their deputy and their manager, each with time of their own. Where nobody accepts, what it
    is about is quarantined: nobody answers for it then, and that is what lists and findings say.
    """

    owner = models.ForeignKey(Owner, models.PROTECT, related_name="+", help_text="In whose name it is.")
    asked = models.ForeignKey(Owner, models.PROTECT, related_name="+", help_text="Who is asked now, or was last.")
    stage = models.CharField(max_length=10, choices=Stage, default=Stage.OWNER)
    state = models.CharField(max_length=20, choices=QuestionState, default=QuestionState.OPEN)
    is_again = models.BooleanField(default=False, help_text="They accepted it before, and that has run out.")
    size = models.PositiveIntegerField(default=0, help_text="About how many things it was when it was asked last.")
    opened_at = models.DateTimeField()
    asked_at = models.DateTimeField(help_text="When whoever is asked now was asked.")
    answer_by = models.DateTimeField()
    passes = models.JSONField(default=list, blank=True, help_text="Whom it passed or passed over, when and why.")
    ended_at = models.DateTimeField(null=True, blank=True)
    answered_by = models.CharField(max_length=200, blank=True)
    answered_by_key = models.CharField(max_length=200, blank=True)
    reason = models.TextField(blank=True, help_text="What whoever answered said.")
    follows = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="+", help_text="From which it was handed over."
    )
    hand_overs = models.PositiveSmallIntegerField(default=0, help_text="How often it was handed over until here.")

    objects = QuestionQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(stage__in=Stage.values), name="ownership_stage_is_known"),
            models.CheckConstraint(condition=Q(state__in=QuestionState.values), name="ownership_state_is_known"),
            models.CheckConstraint(
                condition=Q(state=QuestionState.OPEN, ended_at=None)
                | ~Q(state=QuestionState.OPEN) & Q(ended_at__isnull=False),
                name="ownership_ended_exactly_when_not_open",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=[QuestionState.ACCEPTED, QuestionState.HANDED_OVER]) | ~Q(answered_by_key=""),
                name="ownership_answered_by_somebody",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["answer_by", "id"], condition=Q(state=QuestionState.OPEN), name="ownership_due"),
            models.Index(fields=["asked"], condition=Q(state=QuestionState.OPEN), name="ownership_by_asked"),
            models.Index(fields=["owner", "-id"], name="ownership_by_owner"),
        ]

    def __str__(self) -> str:
        return f"Ownership of what is in the name of {self.owner}"

    @property
    def is_open(self) -> bool:
        return self.state == QuestionState.OPEN


class TenureQuerySet(models.QuerySet["Tenure"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        questions = OwnershipQuestion.objects.about(actor).values("pk")
        return self.filter(Q(owner__in=Owner.objects.being(actor).values("pk")) | Q(question__in=questions))

    def open(self) -> Self:
        return self.filter(ended_at=None)


class Tenure(models.Model):
    """That one owner, or nobody, stands for one thing: since when, and whether they accepted it. One is open of each.

    `gap_since` is since when nobody who had accepted answered for it. It is carried on from one owner to the next and
    ends when one of them accepts, so `accepted_at - gap_since` is how long the thing stood without an accepted owner.
    """

    id = models.BigAutoField(primary_key=True)
    part = models.CharField(max_length=20, choices=Part, help_text="What of which kind of thing the owner stands for.")
    subject_id = models.UUIDField(help_text="Of the credential, client or server.")
    owner = models.ForeignKey(Owner, models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    begun_at = models.DateTimeField(help_text="When that was first seen to be so.")
    gap_since = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True, help_text="When they accepted it first.")
    ask_at = models.DateTimeField(help_text="From when on they are to be asked, again where they accepted it.")
    question = models.ForeignKey(
        OwnershipQuestion, models.PROTECT, null=True, blank=True, related_name="+", db_index=False,
        help_text="By which they are being asked, or which ended without anybody who accepts.",
    )  # fmt: skip
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = TenureQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["subject_id", "part"], condition=Q(ended_at=None), name="tenure_one_open_of_each_thing"
            ),
            models.CheckConstraint(condition=Q(part__in=Part.values), name="tenure_part_is_known"),
            models.CheckConstraint(
                condition=Q(accepted_at=None) | Q(owner__isnull=False), name="tenure_accepted_by_an_owner"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["owner", "id"], condition=Q(ended_at=None), name="tenure_by_owner"),
            models.Index(fields=["question"], condition=Q(question__isnull=False), name="tenure_by_question"),
            models.Index(
                fields=["ask_at"],
                condition=Q(ended_at=None, question=None, owner__isnull=False),
                name="tenure_to_ask",
            ),
            models.Index(fields=["accepted_at"], condition=Q(accepted_at__isnull=False), name="tenure_by_acceptance"),
        ]

    def __str__(self) -> str:
        return f"{self.get_part_display()} {self.subject_id}"


class OwnershipDayQuerySet(models.QuerySet["OwnershipDay"]):
    def visible_to(self, actor: Actor) -> Self:
        """Figures of the whole estate: for those who see all of it."""
        return self if actor.sees_everything else self.none()


class OwnershipDay(models.Model):
    """How the estate was owned on one day (UTC): what is accepted, and how long things stand without who accepted."""

    id = models.BigAutoField(primary_key=True)
    taken_on = models.DateField(unique=True)
    counted_at = models.DateTimeField()
    accepted = models.PositiveIntegerField(help_text="Things whose owner accepted them.")
    asked = models.PositiveIntegerField(help_text="Things whose owner is being asked.")
    ownerless = models.PositiveIntegerField(help_text="Things for which nobody stands.")
    quarantined = models.PositiveIntegerField(help_text="Of those, what was taken from an owner who did not answer.")
    open_median = models.DurationField(null=True, blank=True, help_text="Of intervals that go on. Null: there is none.")
    open_p90 = models.DurationField(null=True, blank=True)
    closed = models.PositiveIntegerField(help_text="Intervals that ended within 90 days, because somebody accepted.")
    closed_median = models.DurationField(null=True, blank=True)
    closed_p90 = models.DurationField(null=True, blank=True)

    objects = OwnershipDayQuerySet.as_manager()

    def __str__(self) -> str:
        return f"Ownership on {self.taken_on:%Y-%m-%d}"
