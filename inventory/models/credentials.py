"""Credentials as slots, their versions as metadata, and the places where a literal secret was seen."""

from datetime import datetime
from typing import ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Coalesce, Lower

from access.actors import Actor
from access.rights import Right
from history.kept import kept
from history.past import by_present_rights
from inventory.models.base import AnyOf, Row, prefix_query, words
from inventory.models.connections import Connection
from inventory.models.owners import Environment, Owner
from inventory.states import ENDED, CredentialKind, CredentialStatus, Severity, Storage, TrustModel


class CredentialQuerySet(models.QuerySet["Credential"]):
    @by_present_rights
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        mine = Owner.objects.visible_to(actor)
        return self.filter(models.Q(AnyOf("owner_id", mine)) | models.Q(AnyOf("custodian_id", mine)))

    def confirmable_by(self, actor: Actor) -> Self:
        """Of which this person may say that it is still needed: a reviewer of any, an owner of what is theirs."""
        if actor.may_everywhere(Right.KEEP):
            return self
        return self.filter(owner__in=Owner.objects.being(actor).values("pk"))

    def present(self) -> Self:
        return self.filter(gone_at=None)

    def live(self) -> Self:
        """Still seen somewhere and not known to have ended."""
        return self.present().exclude(status__in=ENDED)

    def unowned(self) -> Self:
        return self.filter(models.Q(owner=None) | models.Q(owner__is_active=False))

    def exposed(self) -> Self:
        return self.filter(models.Exists(Exposure.objects.present().filter(credential=models.OuterRef("pk"))))

    def expiring_before(self, horizon: datetime) -> Self:
        return self.filter(expires_at__lt=horizon)

    def matching(self, text: str) -> Self:
        query = prefix_query(text)
        return self.annotate(_words=words("name", "issuer", "hint")).filter(_words=query) if query else self.none()


@kept(by_day=("last_used_at",))
class Credential(Row):
    """The slot an identity authenticates with: purpose, owner, dates. Holds no secret.

    Issue date, fingerprint, hint and external id are copied from the current version, and `risk` and
    `open_findings` are written by the evaluation, so that rules and lists need no join.
    """

    identity_key = models.TextField(editable=False)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+")
    name = models.CharField(max_length=300)
    kind = models.CharField(max_length=30, choices=CredentialKind)
    issuer = models.CharField(max_length=100, blank=True)
    principal = models.CharField(max_length=300, blank=True, help_text="The provider's own name for the identity.")
    trust_model = models.CharField(max_length=20, choices=TrustModel, default=TrustModel.UNKNOWN)
    subject = models.CharField("on behalf of", max_length=200, blank=True)
    owner = models.ForeignKey(
        Owner, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )  # credential_by_owner
    custodian = models.ForeignKey(Owner, models.SET_NULL, null=True, blank=True, related_name="+")
    environment = models.ForeignKey(Environment, models.SET_NULL, null=True, blank=True, related_name="+")
    storage = models.CharField(max_length=20, choices=Storage)
    reference = models.TextField(blank=True)
    scopes = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    tags = ArrayField(models.CharField(max_length=60), default=list, db_default=[], blank=True)
    status = models.CharField(max_length=20, choices=CredentialStatus, default=CredentialStatus.UNKNOWN)
    external_id = models.CharField(max_length=200, blank=True)
    fingerprint = models.CharField(max_length=80, blank=True)
    hint = models.CharField(max_length=40, blank=True)
    details = models.JSONField(default=dict, blank=True, help_text="What else the provider says of it, for people.")
    issued_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(null=True, blank=True)
    gone_at = models.DateTimeField(null=True, blank=True)
    operated_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="An operation changed it then; older listings do not know."
    )
    # The secret is at least as old as this; exactly as old when the issue date is known.
    known_since = models.GeneratedField(
        expression=Coalesce("issued_at", "first_seen_at"), output_field=models.DateTimeField(), db_persist=True
    )
    risk = models.PositiveSmallIntegerField(choices=Severity, default=Severity.NONE, editable=False)
    open_findings = models.PositiveIntegerField(default=0, editable=False)
    score = models.PositiveSmallIntegerField(
        default=0, db_default=0, editable=False, help_text="Risk order within one severity, 0 to 100."
    )
    reviewed_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When somebody last confirmed that it is needed."
    )
    reviewed_by = models.CharField(max_length=200, blank=True, db_default="", editable=False)

    objects = CredentialQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            # Not `unique=True`, which would bring a second index along, for a search by beginnings that nobody makes.
            models.UniqueConstraint(fields=["identity_key"], name="credential_identity_is_unique"),
            models.CheckConstraint(condition=models.Q(kind__in=CredentialKind.values), name="credential_kind_is_known"),
            models.CheckConstraint(
                condition=models.Q(status__in=CredentialStatus.values), name="credential_status_is_known"
            ),
            models.CheckConstraint(condition=models.Q(storage__in=Storage.values), name="credential_storage_is_known"),
            models.CheckConstraint(
                condition=models.Q(trust_model__in=TrustModel.values), name="credential_trust_model_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(gone_at=None) | models.Q(last_seen_at__isnull=False),
                name="credential_gone_was_last_seen_some_time",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["risk", "score", "id"], name="credential_by_risk"),
            models.Index(fields=["name", "id"], name="credential_by_name"),
            models.Index(fields=["known_since", "id"], name="credential_by_age"),
            models.Index(fields=["owner", "id"], name="credential_by_owner"),
            models.Index(fields=["fingerprint"], condition=~models.Q(fingerprint=""), name="credential_by_fingerprint"),
            models.Index(fields=["external_id"], condition=~models.Q(external_id=""), name="credential_by_external_id"),
            models.Index(fields=["id"], condition=models.Q(status__in=ENDED), name="credential_ended"),
            models.Index(
                fields=["operated_at"], condition=models.Q(operated_at__isnull=False), name="credential_operated"
            ),
            models.Index(fields=["principal"], condition=~models.Q(principal=""), name="credential_by_principal"),
            models.Index(Lower("subject"), condition=~models.Q(subject=""), name="credential_by_subject"),
            GinIndex(words("name", "issuer", "hint"), name="credential_by_words"),
            GinIndex(fields=["tags"], condition=~models.Q(tags=[]), name="credential_by_tags"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_live(self) -> bool:
        return self.gone_at is None and self.status not in ENDED


@kept(by_day=("last_used_at",))
class CredentialVersion(Row):
    """One issued value of a credential, as metadata.

    Where a rotation changes what listings call the credential, `identity_key` is what they call this version; it is
    empty where they call it as the credential. `revived_at` is when one that was destroyed was listed as alive again,
    for as long as it is. Both, and `last_used_at`, are of versions beside the current one.
    """

    credential = models.ForeignKey(
        Credential, models.CASCADE, related_name="+", db_index=False
    )  # version_by_credential
    external_id = models.CharField(max_length=200, blank=True)
    fingerprint = models.CharField(max_length=80, blank=True)
    hint = models.CharField(max_length=40, blank=True)
    identity_key = models.TextField(editable=False, blank=True, default="", db_default="")
    issued_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    first_seen_at = models.DateTimeField()
    suspended_at = models.DateTimeField(null=True, blank=True)
    destroyed_at = models.DateTimeField(null=True, blank=True)
    revived_at = models.DateTimeField(null=True, blank=True)
    is_current = models.BooleanField(default=True)

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["credential"], condition=models.Q(is_current=True), name="version_at_most_one_current"
            ),
            models.CheckConstraint(
                condition=models.Q(is_current=False) | models.Q(destroyed_at=None),
                name="version_current_is_not_destroyed",
            ),
            models.CheckConstraint(
                condition=models.Q(revived_at=None) | models.Q(destroyed_at__isnull=False),
                name="version_revived_was_destroyed",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["credential", "-id"], name="version_by_credential"),
            models.Index(
                fields=["credential"], condition=models.Q(destroyed_at__isnull=False), name="version_destroyed"
            ),
            models.Index(
                fields=["suspended_at"],
                condition=models.Q(suspended_at__isnull=False, is_current=True),
                name="version_suspended",
            ),
            models.Index(
                fields=["identity_key", "-id"], condition=~models.Q(identity_key=""), name="version_by_identity"
            ),
        ]

    def __str__(self) -> str:
        return self.hint or self.external_id or str(self.pk)


class ExposureQuerySet(models.QuerySet["Exposure"]):
    def visible_to(self, actor: Actor) -> Self:
        if actor.sees_everything:
            return self
        return self.filter(credential__in=Credential.objects.visible_to(actor).values("pk"))

    def present(self) -> Self:
        return self.filter(gone_at=None)

    def matching(self, text: str) -> Self:
        query = prefix_query(text)
        return self.annotate(_words=words("file")).filter(_words=query) if query else self.none()


@kept()
class Exposure(Row):
    """A literal secret seen at a place. The secret itself is never kept."""

    credential = models.ForeignKey(
        Credential, models.CASCADE, related_name="+", db_index=False
    )  # exposure_by_credential
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+")
    host = models.CharField(max_length=200, blank=True)
    file = models.TextField()
    pointer = models.TextField()
    is_readable_by_others = models.BooleanField(null=True, blank=True)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(null=True, blank=True)
    gone_at = models.DateTimeField(null=True, blank=True)

    objects = ExposureQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["connection", "file", "pointer", "credential"],
                condition=models.Q(gone_at=None),
                name="exposure_one_open_per_place_and_credential",
            ),
            models.CheckConstraint(
                condition=models.Q(gone_at=None) | models.Q(last_seen_at__isnull=False),
                name="exposure_gone_was_last_seen_some_time",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["credential", "-id"], name="exposure_by_credential"),
            models.Index(fields=["credential"], condition=models.Q(gone_at=None), name="exposure_present"),
            models.Index(fields=["file", "id"], name="exposure_by_file"),
            models.Index(fields=["id"], condition=models.Q(gone_at__isnull=False), name="exposure_gone"),
            models.Index(
                fields=["id"],
                condition=models.Q(gone_at=None, is_readable_by_others=True),
                name="exposure_readable_by_others",
            ),
            GinIndex(words("file"), name="exposure_by_words"),
        ]

    def __str__(self) -> str:
        return f"{self.file}#{self.pointer}"
