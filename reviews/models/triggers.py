"""What small reviews begin with by themselves: occasions that are switched on, and what occurred on each."""

from datetime import timedelta
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from access.actors import Actor
from inventory.models import Owner
from inventory.models.base import AnyOf, Row
from reviews.models.campaigns import Campaign
from reviews.states import CAMPAIGN_FINAL, NoAnswer, Occasion, Reviewed

ANSWER_WITHIN = timedelta(days=14)


class TriggerQuerySet(models.QuerySet["Trigger"]):
    def visible_to(self, actor: Actor) -> Self:
        """How reviews begin is the whole installation's: for those who see all of it."""
        return self if actor.sees_everything else self.none()

    def on(self) -> Self:
        return self.filter(is_on=True)


class Trigger(Row):
    """That something which occurs is reviewed, by whom it is led, and by when. One of each occasion."""

    occasion = models.CharField(max_length=30, choices=Occasion, unique=True)
    is_on = models.BooleanField(default=True)
    lead = models.ForeignKey(Owner, models.SET_NULL, null=True, blank=True, related_name="+")
    no_answer = models.CharField(max_length=20, choices=NoAnswer, default=NoAnswer.ESCALATE)
    answer_within = models.DurationField(default=ANSWER_WITHIN)
    begins_at = models.DateTimeField(help_text="When it was switched on last; what occurred before is not reviewed.")
    looked_at = models.DateTimeField(help_text="Until when it was looked.")
    set_by = models.CharField(max_length=200)

    objects = TriggerQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(occasion__in=Occasion.values), name="trigger_occasion_is_known"),
            models.CheckConstraint(condition=Q(no_answer__in=NoAnswer.values), name="trigger_no_answer_is_known"),
            models.CheckConstraint(
                condition=Q(answer_within__gte=timedelta(days=1)), name="trigger_gives_a_day_to_answer"
            ),
        ]

    def __str__(self) -> str:
        return str(self.get_occasion_display())


class OccurrenceQuerySet(models.QuerySet["Occurrence"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(AnyOf("campaign_id", Campaign.objects.visible_to(actor)))

    def waiting(self) -> Self:
        """Gathered, and part of no review yet."""
        return self.filter(campaign=None, settled_at=None)

    def under_way(self) -> Self:
        """Part of a review that has not ended."""
        return self.filter(campaign__isnull=False).exclude(campaign__state__in=CAMPAIGN_FINAL)


class Occurrence(models.Model):
    """That something occurred to one thing, and in which campaign it is reviewed. Each once."""

    id = models.BigAutoField(primary_key=True)
    trigger = models.ForeignKey(Trigger, models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=20, choices=Reviewed)
    subject_id = models.UUIDField(help_text="Of the credential, client or server.")
    happened_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    campaign = models.ForeignKey(Campaign, models.SET_NULL, null=True, blank=True, related_name="+")
    settled_at = models.DateTimeField(
        null=True, blank=True, help_text="When there was nothing to review: it was gone, or open in another campaign."
    )

    objects = OccurrenceQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["trigger", "kind", "subject_id", "happened_at"], name="occurrence_is_taken_once"
            ),
            models.CheckConstraint(condition=Q(kind__in=Reviewed.values), name="occurrence_kind_is_known"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["trigger", "id"], condition=Q(campaign=None, settled_at=None), name="occurrence_waiting"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.subject_id}"
