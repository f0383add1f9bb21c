"""Programs that are told by signed webhooks."""

from typing import ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from access.actors import Actor
from inventory.models.base import Row
from inventory.states import Severity

LONGEST_URL, LONGEST_REFERENCE = 2_000, 2_000


class EndpointQuerySet(models.QuerySet["Endpoint"]):
    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_everything else self.none()

    def listening(self, kind: str) -> Self:
        """Those that asked for a kind, paused ones too: what they miss meanwhile waits for them."""
        return self.filter(kinds__contains=[kind])


class Endpoint(Row):
    """One address that is told. It holds references to its secrets, never a secret."""

    name = models.CharField(max_length=100, unique=True)
    url = models.CharField("address", max_length=LONGEST_URL)
    kinds = ArrayField(models.CharField(max_length=60), default=list)
    least_severity = models.PositiveSmallIntegerField(choices=Severity, default=Severity.CRITICAL)
    secret = models.CharField(max_length=LONGEST_REFERENCE, help_text="A reference.")
    previous_secret = models.CharField(
        max_length=LONGEST_REFERENCE, blank=True, help_text="A reference; signs as well while a secret is replaced."
    )
    bound_to = models.CharField(max_length=300, help_text="The host for which the secrets may be used.")
    listens_since = models.DateTimeField(help_text="It is told what happens from then on.")
    created_at = models.DateTimeField()
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_because = models.CharField(max_length=300, blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="Tries that failed since the last that did not.")
    quiet_until = models.DateTimeField(null=True, blank=True, help_text="Nothing is tried before then.")
    delivered_at = models.DateTimeField(null=True, blank=True, help_text="When it last took something.")

    objects = EndpointQuerySet.as_manager()

    class Meta(Row.Meta):
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(name=""), name="endpoint_has_a_name"),
            models.CheckConstraint(condition=~Q(secret=""), name="endpoint_names_its_secret"),
            models.CheckConstraint(
                condition=Q(paused_at=None, paused_because="") | Q(paused_at__isnull=False) & ~Q(paused_because=""),
                name="endpoint_paused_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None
