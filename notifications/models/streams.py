"""Streams of events to one receiver each, where each has got to in the audit chain, and the keys that sign tokens."""

from datetime import datetime
from typing import Any, ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from access.actors import Actor
from inventory.models.base import Row
from notifications.models.endpoints import LONGEST_REFERENCE, LONGEST_URL
from notifications.states import OCSF, SignalType, StreamKind, StreamStatus
from notifications.texts import LONGEST_ERROR


class EventStreamQuerySet(models.QuerySet["EventStream"]):
    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_everything else self.none()

    def due(self, now: datetime) -> Self:
        """To go on with now: enabled, not left in quiet, and not held by a live worker."""
        free = Q(lease_until=None) | Q(lease_until__lte=now)
        heard = Q(quiet_until=None) | Q(quiet_until__lte=now)
        return self.filter(free, heard, status=StreamStatus.ENABLED)


class EventStream(Row):
    """One receiver of everything that happens, in the order in which it happened.

    The audit chain is its queue: `seq` is the last entry of which everything was taken, `within` how far it has got in
    the one after it. Only what a receiver took moves them, so that nothing is lost however long it is away.
    """

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=20, choices=StreamKind)
    url = models.CharField("address", max_length=LONGEST_URL, blank=True)
    file = models.CharField(max_length=100, blank=True, help_text="Its name, in the folder of streams.")
    secret = models.CharField(
        max_length=LONGEST_REFERENCE, blank=True, help_text="A reference: signs webhooks, or lets in where tokens go."
    )
    previous_secret = models.CharField(
        max_length=LONGEST_REFERENCE, blank=True, help_text="A reference; signs as well while a secret is replaced."
    )
    bound_to = models.CharField(max_length=300, blank=True, help_text="The host for which the secrets may be used.")
    audience = models.CharField(max_length=500, blank=True, help_text="Whom tokens are for, as their `aud`.")
    signals = ArrayField(models.CharField(max_length=40, choices=SignalType), default=list, blank=True)
    status = models.CharField(max_length=10, choices=StreamStatus, default=StreamStatus.ENABLED)
    status_reason = models.CharField(max_length=LONGEST_ERROR, blank=True)
    created_at = models.DateTimeField()
    seq = models.BigIntegerField(default=0)
    within = models.CharField(max_length=100, blank=True)
    sent = models.BigIntegerField(default=0, help_text="Events that were taken.")
    refused = models.BigIntegerField(default=0, help_text="Tokens that the receiver will never take.")
    sent_at = models.DateTimeField(null=True, blank=True, help_text="When it last took something.")
    failures = models.PositiveIntegerField(default=0, help_text="Tries that failed since the last that did not.")
    failing_since = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=LONGEST_ERROR, blank=True, help_text="Of the last try, without secrets.")
    quiet_until = models.DateTimeField(null=True, blank=True, help_text="Nothing is tried before then.")
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    written = models.JSONField(default=dict, blank=True, help_text="Of a file: which one, and how much of it is ours.")

    objects = EventStreamQuerySet.as_manager()

    class Meta(Row.Meta):
        ordering: ClassVar = ["name"]
        verbose_name = "stream"
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(name=""), name="stream_has_a_name"),
            models.CheckConstraint(condition=Q(kind__in=StreamKind.values), name="stream_kind_is_known"),
            models.CheckConstraint(condition=Q(status__in=StreamStatus.values), name="stream_status_is_known"),
            models.CheckConstraint(
                condition=Q(kind=StreamKind.OCSF_WEBHOOK) & ~Q(url="") & ~Q(secret="") & Q(file="", audience="")
                | Q(kind=StreamKind.OCSF_FILE, url="", secret="", audience="") & ~Q(file="")
                | Q(kind=StreamKind.SET_PUSH, file="") & ~Q(url="") & ~Q(audience=""),
                name="stream_has_what_its_kind_needs",
            ),
            models.UniqueConstraint(fields=["file"], condition=~Q(file=""), name="stream_has_its_file_alone"),
            models.CheckConstraint(
                condition=Q(lease_token=None, lease_until=None)
                | Q(lease_token__isnull=False, lease_until__isnull=False),
                name="stream_lease_has_token_and_end",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_ocsf(self) -> bool:
        return self.kind in OCSF

    @property
    def target(self) -> str:
        """Where it leads, as lists say it."""
        return self.file or self.url


class SignalKeyQuerySet(models.QuerySet["SignalKey"]):
    def visible_to(self, actor: Actor) -> Self:
        return self  # public keys

    def published(self, now: datetime) -> Self:
        return self.filter(Q(retired_at=None) | Q(retired_at__gt=now))

    def signing(self, now: datetime) -> "SignalKey | None":
        """The newest key whose time has come; the only one from the first moment on."""
        known = self.published(now)
        return known.filter(signs_from__lte=now).order_by("-signs_from", "-id").first()


class SignalKey(Row):
    """The public half of a key that signs tokens. The private one is a file, named after `kid`."""

    kid = models.CharField(max_length=60, unique=True)
    jwk = models.JSONField(help_text="As `jwks_uri` gives it.")
    created_at = models.DateTimeField()
    signs_from = models.DateTimeField(help_text="Published before it signs, so that receivers know it by then.")
    retired_at = models.DateTimeField(null=True, blank=True, help_text="Published until then.")

    objects = SignalKeyQuerySet.as_manager()

    class Meta(Row.Meta):
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"key {self.kid[:12]}"

    def published(self) -> dict[str, Any]:
        return dict(self.jwk)
