"""What is told, written with what it tells, and what became of it by each channel."""

from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from access.actors import Actor
from inventory.models.base import Row
from notifications.kinds import name_of
from notifications.models.endpoints import Endpoint
from notifications.models.recipients import Recipient
from notifications.states import FINAL, Channel, DeliveryState
from notifications.texts import LONGEST_ERROR, LONGEST_SUBJECT

MOST_ATTEMPTS = 12  # with the pauses between them about a day


class Notice(Row):
    """One thing told to one receiver. Its id is what a receiver recognises a repetition by."""

    kind = models.CharField(max_length=60)
    key = models.CharField(max_length=200, unique=True, help_text="What is never told twice.")
    recipient = models.ForeignKey(Recipient, models.CASCADE, null=True, blank=True, related_name="+")
    subject = models.CharField(max_length=LONGEST_SUBJECT)
    data = models.JSONField(default=dict, help_text="Plain values for templates and payloads, without secrets.")
    created_at = models.DateTimeField()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(subject__regex=r"[[:cntrl:]]"), name="notice_subject_is_one_line"),
            models.CheckConstraint(condition=~Q(subject="") & ~Q(key=""), name="notice_has_subject_and_key"),
        ]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="notice_by_age")]

    def __str__(self) -> str:
        return self.subject

    @property
    def kind_name(self) -> str:
        return name_of(self.kind)


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        mine = Recipient.objects.being(actor)
        return self.filter(notice__recipient__in=mine.values("pk"))

    def waiting(self) -> Self:
        return self.filter(state=DeliveryState.WAITING)

    def due(self, now: datetime) -> Self:
        """To be sent now: not held by a live worker, and not to an endpoint that is paused or left in quiet."""
        free = Q(lease_until=None) | Q(lease_until__lte=now)
        heard = Q(endpoint=None) | Q(endpoint__paused_at=None) & (
            Q(endpoint__quiet_until=None) | Q(endpoint__quiet_until__lte=now)
        )
        return self.waiting().filter(free, heard, due_at__lte=now, attempts__lt=MOST_ATTEMPTS)

    def exhausted(self, now: datetime) -> Self:
        """Whose last try began and never ended."""
        return self.waiting().filter(attempts__gte=MOST_ATTEMPTS, lease_until__lte=now)

    def outdated(self, now: datetime, patience: timedelta) -> Self:
        """Waiting so long that it says nothing new."""
        return self.waiting().filter(created_at__lte=now - patience)


class Delivery(Row):
    """A notice on its way by one channel. A receiver may get it twice, never in two different ids."""

    notice = models.ForeignKey(Notice, models.CASCADE, related_name="+")
    channel = models.CharField(max_length=10, choices=Channel)
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, null=True, blank=True, related_name="+")
    state = models.CharField(max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=LONGEST_ERROR, blank=True, help_text="Of the last try, without secrets.")

    objects = DeliveryQuerySet.as_manager()

    class Meta(Row.Meta):
        verbose_name_plural = "deliveries"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["notice"], condition=Q(endpoint=None), name="delivery_one_mail_per_notice"),
            models.UniqueConstraint(
                fields=["notice", "endpoint"],
                condition=Q(endpoint__isnull=False),
                name="delivery_one_per_notice_and_endpoint",
            ),
            models.CheckConstraint(
                condition=Q(channel=Channel.EMAIL, endpoint=None) | Q(channel=Channel.WEBHOOK, endpoint__isnull=False),
                name="delivery_to_an_endpoint_exactly_by_webhook",
            ),
            models.CheckConstraint(
                condition=Q(state__in=FINAL, ended_at__isnull=False) | ~Q(state__in=FINAL) & Q(ended_at=None),
                name="delivery_ended_exactly_when_final",
            ),
            models.CheckConstraint(condition=Q(state__in=DeliveryState.values), name="delivery_state_is_known"),
            models.CheckConstraint(
                condition=Q(lease_token=None, lease_until=None)
                | Q(lease_token__isnull=False, lease_until__isnull=False),
                name="delivery_lease_has_token_and_end",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["channel", "endpoint", "due_at"], condition=Q(state=DeliveryState.WAITING), name="delivery_due"
            ),
            models.Index(fields=["state", "-id"], name="delivery_by_state"),
        ]

    def __str__(self) -> str:
        return str(self.notice)
