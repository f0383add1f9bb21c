"""Evidence packs as rows: what one was asked to hold, how far it is, and by which digest it is recognised."""

from datetime import datetime
from typing import ClassVar, Self

from django.db import models
from django.db.models import F, Q

from access.actors import Actor
from inventory.models.base import Row
from reviews.packs import EVERYTHING_PRESENT, PACK_BUILT, PACK_OPEN, PackState


class EvidencePackQuerySet(models.QuerySet["EvidencePack"]):
    def visible_to(self, actor: Actor) -> Self:
        """A pack holds the whole estate: for those who see all of it."""
        return self if actor.sees_everything else self.none()

    def due(self, now: datetime) -> Self:
        """Asked for, and no worker is at it."""
        return self.filter(state__in=PACK_OPEN).exclude(lease_until__gt=now)

    def built_before(self, moment: datetime) -> Self:
        """Whose file is there and older than that."""
        return self.filter(state=PackState.READY, built_at__lt=moment)


class EvidencePack(Row):
    """One pack: a ZIP that is kept beside the database, and what it takes to know it again."""

    purpose = models.CharField(max_length=200)
    begins_at = models.DateTimeField(help_text="Of what has happened it holds what was since then.")
    ends_at = models.DateTimeField(
        null=True, blank=True, help_text="The past instant as of which it is; null: the time at which it is built."
    )
    sample_size = models.PositiveIntegerField(default=0)
    sample_seed = models.CharField(max_length=100, blank=True)
    sample_filter = models.TextField(
        default=EVERYTHING_PRESENT, blank=True, help_text="As a list of credentials has it."
    )
    state = models.CharField(max_length=20, choices=PackState, default=PackState.REQUESTED)
    requested_by = models.CharField(max_length=200)
    requested_by_key = models.CharField(max_length=200)
    requested_at = models.DateTimeField()
    step = models.CharField(max_length=200, blank=True, help_text="What is being written.")
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    error = models.TextField(blank=True)
    taken_at = models.DateTimeField(null=True, blank=True, help_text="Everything in it is as it stood then.")
    built_at = models.DateTimeField(null=True, blank=True)
    size = models.BigIntegerField(null=True, blank=True, help_text="Bytes.")
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of the file.")
    manifest_sha256 = models.CharField(max_length=64, blank=True, help_text="Of the manifest, which is signed.")
    removed_at = models.DateTimeField(null=True, blank=True, help_text="Since when its file is gone, being old.")
    summary = models.JSONField(default=dict, blank=True, help_text="Its files and figures, as its page shows them.")

    objects = EvidencePackQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(state__in=PackState.values), name="evidence_pack_state_is_known"),
            models.CheckConstraint(condition=~Q(purpose=""), name="evidence_pack_says_what_for"),
            models.CheckConstraint(
                condition=Q(state__in=PACK_BUILT, built_at__isnull=False, size__isnull=False) & ~Q(sha256="")
                | ~Q(state__in=PACK_BUILT) & Q(built_at=None, size=None, sha256=""),
                name="evidence_pack_ready_exactly_with_a_digest",
            ),
            models.CheckConstraint(
                condition=Q(state=PackState.REMOVED, removed_at__isnull=False)
                | ~Q(state=PackState.REMOVED) & Q(removed_at=None),
                name="evidence_pack_removed_exactly_with_a_date",
            ),
            models.CheckConstraint(
                condition=Q(ends_at=None) | Q(ends_at__gt=F("begins_at")), name="evidence_pack_ends_after_it_begins"
            ),
            models.CheckConstraint(
                condition=Q(lease_token=None, lease_until=None)
                | Q(lease_token__isnull=False, lease_until__isnull=False, state=PackState.BUILDING),
                name="evidence_pack_lease_has_token_and_end",
            ),
            models.CheckConstraint(
                condition=~Q(state=PackState.FAILED) | ~Q(error=""), name="evidence_pack_failed_says_why"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["id"], condition=Q(state__in=PACK_OPEN), name="evidence_pack_open"),
            models.Index(fields=["built_at"], condition=Q(state=PackState.READY), name="evidence_pack_by_age"),
        ]

    def __str__(self) -> str:
        return self.purpose

    @property
    def is_open(self) -> bool:
        return self.state in PACK_OPEN

    @property
    def is_built(self) -> bool:
        return self.state in PACK_BUILT

    @property
    def file_name(self) -> str:
        return f"{self.pk}.zip"

    @property
    def download_name(self) -> str:
        at = self.taken_at or self.requested_at
        return f"keyreeve-evidence-{at:%Y-%m-%d}-{str(self.pk)[-8:]}.zip"
