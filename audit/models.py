"""The append-only chain of audit entries, and its signed heads."""

from collections.abc import Iterator
from typing import Any, ClassVar, NoReturn, Self

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import models
from django.db.models import Value
from django.db.models.functions import Now

from access.actors import Actor
from audit.chain import Link

SEALED_COLUMNS = (
    "at",
    "event",
    "actor_kind",
    "actor_id",
    "actor_label",
    "subject_kind",
    "subject_id",
    "subject_label",
    "detail",
)


class AppendOnly(Exception):
    """Audit entries are never changed or removed."""


class AuditEntryQuerySet(models.QuerySet["AuditEntry"]):
    def visible_to(self, actor: Actor) -> Self:
        """Everything for those who may read the estate; an owner reads what they did themselves."""
        if actor.sees_everything:
            return self
        return self.filter(actor_kind=actor.kind, actor_id=actor.id)

    def about(self, subject: models.Model) -> Self:
        return self.filter(subject_kind=subject._meta.model_name, subject_id=str(subject.pk))

    def links(self) -> Iterator[Link]:
        """The chain in order, in bounded memory."""
        rows = self.order_by("seq").values_list("seq", "text", "hash", *SEALED_COLUMNS)
        for seq, text, digest, *columns in rows.iterator(chunk_size=5_000):
            yield Link(seq, text, bytes(digest), dict(zip(SEALED_COLUMNS, columns, strict=True)))

    def update(self, **_values: Any) -> NoReturn:
        raise AppendOnly(AppendOnly.__doc__)

    def delete(self) -> NoReturn:
        raise AppendOnly(AppendOnly.__doc__)


class AuditEntry(models.Model):
    """One thing that happened. The database assigns `seq`, `at`, `text` and `hash` and refuses every later change."""

    seq = models.BigIntegerField(primary_key=True, db_default=Value(0))
    at = models.DateTimeField(db_default=Now())
    event = models.TextField()
    actor_kind = models.TextField()
    actor_id = models.TextField(blank=True)
    actor_label = models.TextField()
    subject_kind = models.TextField(blank=True)
    subject_id = models.TextField(blank=True)
    subject_label = models.TextField(blank=True)
    detail = models.JSONField(default=dict)
    text = models.TextField(db_default=Value(""))
    hash = models.BinaryField(db_default=Value(b""))

    objects = AuditEntryQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-seq"]
        verbose_name_plural = "audit entries"
        indexes: ClassVar = [
            models.Index(fields=["subject_kind", "subject_id", "-seq"], name="audit_entry_by_subject"),
            models.Index(fields=["event", "-seq"], name="audit_entry_by_event"),
            models.Index(fields=["actor_kind", "actor_id", "-seq"], name="audit_entry_by_actor"),
            models.Index(fields=["at"], name="audit_entry_by_time"),
            GinIndex(SearchVector("subject_label", "actor_label", config="simple"), name="audit_entry_by_words"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.event}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly(AppendOnly.__doc__)
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise AppendOnly(AppendOnly.__doc__)


class ChainHead(models.Model):
    """The chain's last link at one moment, signed with Ed25519 and exported, so that a cut or a rewrite shows."""

    seq = models.BigIntegerField(unique=True)
    hash = models.BinaryField()
    signed_at = models.DateTimeField()
    signature = models.BinaryField()
    public_key = models.BinaryField()

    class Meta:
        ordering: ClassVar = ["-seq"]

    def __str__(self) -> str:
        return f"head {self.seq}"
