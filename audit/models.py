"""The append-only chain of audit entries, and its signed heads."""

from collections.abc import Iterator
from typing import Any, ClassVar, NoReturn, Self

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import models, transaction
from django.db.models import Func, TextField, Value
from django.db.models.functions import Cast, Now

from access.actors import Actor
from audit.chain import SEALED_COLUMNS, Link
from audit.signing import Head, Key, fingerprint
from history.kept import appended


class AppendOnly(Exception):
    """Audit entries are never changed or removed."""


class AtAsWritten(Func):
    """A time as the database writes it into an entry's text; whatever it was changed to is a text too."""

    template = """to_char(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
    output_field = TextField()


class AuditEntryQuerySet(models.QuerySet["AuditEntry"]):
    def visible_to(self, actor: Actor) -> Self:
        """Everything for those who may read the estate; an owner reads what they did themselves."""
        if actor.sees_everything:
            return self
        return self.filter(actor_kind=actor.kind, actor_id=actor.id)

    def about(self, subject: models.Model) -> Self:
        return self.filter(subject_kind=subject._meta.model_name, subject_id=str(subject.pk))

    def links(self) -> Iterator[Link]:
        """The chain in order, as of one moment and in bounded memory, each column as it was written into the text."""
        written: list[Any] = list(SEALED_COLUMNS)
        written[written.index("at")] = AtAsWritten("at")
        written[written.index("detail")] = Cast("detail", TextField())
        rows = self.order_by("seq").values_list("seq", "text", "hash", *written)
        with transaction.atomic():  # outside of one the server would copy all of it before the first row
            for seq, text, digest, *columns in rows.iterator(chunk_size=2_000):
                yield Link(seq, text, digest, dict(zip(SEALED_COLUMNS, columns)))  # noqa: B905  takes a tenth longer

    def update(self, **_values: Any) -> NoReturn:
        raise AppendOnly(AppendOnly.__doc__)

    def delete(self) -> NoReturn:
        raise AppendOnly(AppendOnly.__doc__)


@appended("at")
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


class PublishedQuerySet(models.QuerySet[Any]):
    """Of what is published: whoever may read at all reads all of it."""

    def visible_to(self, actor: Actor) -> Self:
        return self


class ChainKeyQuerySet(PublishedQuerySet):
    def published(self) -> dict[str, Any]:
        """What everybody may know of the keys, the first one first; `current` is the one that signs now."""
        rows = [row.signed() for row in self.order_by("id")]
        ends = [each.after for each in rows[1:]]
        keys = [
            {
                "public_key": key.public_key.hex(),
                "fingerprint": fingerprint(key.public_key),
                "signer": key.signer.hex(),
                "signature": key.signature.hex(),
                "began_at": key.began_at.isoformat(),
                "after": key.after,
                "until": until,
                "is_vouched_for": key.is_vouched_for,
            }
            for key, until in zip(rows, [*ends, None], strict=False)
        ]
        return {"current": keys[-1]["public_key"] if keys else None, "keys": keys}


class ChainHead(models.Model):
    """The chain's last link at one moment, signed with Ed25519 and exported, so that a cut or a rewrite shows."""

    seq = models.BigIntegerField(unique=True)
    hash = models.BinaryField()
    signed_at = models.DateTimeField()
    signature = models.BinaryField()
    public_key = models.BinaryField()

    objects = PublishedQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-seq"]

    def __str__(self) -> str:
        return f"head {self.seq}"

    @property
    def hash_start(self) -> str:
        return bytes(self.hash).hex()[:12]

    def signed(self) -> Head:
        return Head(self.seq, bytes(self.hash), self.signed_at, bytes(self.public_key), bytes(self.signature))


class ChainKey(models.Model):
    """A key that signs heads, from its beginning until the next one begins; public, and never changed."""

    public_key = models.BinaryField(unique=True)
    signer = models.BinaryField(help_text="The key that vouches for it: the one before, else itself.")
    after = models.BigIntegerField(help_text="It signs heads of entries behind this one.")
    began_at = models.DateTimeField()
    signature = models.BinaryField()

    objects = ChainKeyQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            # Whom one key vouched for is settled once; itself does not count.
            models.UniqueConstraint(
                fields=["signer"],
                condition=~models.Q(signer=models.F("public_key")),
                name="chain_key_vouches_for_one",
            ),
        ]

    def __str__(self) -> str:
        return f"chain key {fingerprint(bytes(self.public_key))[:16]}"

    def signed(self) -> Key:
        return Key(bytes(self.public_key), bytes(self.signer), self.after, self.began_at, bytes(self.signature))


class ExportPlace(models.Model):
    """A place that heads and keys are exported to, and how that goes."""

    address = models.TextField(unique=True)
    exported_at = models.DateTimeField(null=True, help_text="When everything signed by then was last seen there.")
    failing_since = models.DateTimeField(null=True)
    error = models.TextField(blank=True, help_text="Why, without secrets.")
    retired_at = models.DateTimeField(null=True, help_text="Since the settings no longer name it.")

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.address


class Export(models.Model):
    """A head or a key that a place has taken."""

    place = models.ForeignKey(ExportPlace, models.CASCADE, related_name="+", db_index=False)
    head = models.ForeignKey(ChainHead, models.CASCADE, related_name="+", null=True)
    key = models.ForeignKey(ChainKey, models.CASCADE, related_name="+", null=True, db_index=False)
    exported_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["place", "head"], name="export_of_a_head_once"),
            models.UniqueConstraint(fields=["place", "key"], name="export_of_a_key_once"),
            models.CheckConstraint(
                condition=models.Q(head=None) ^ models.Q(key=None), name="export_is_of_a_head_or_a_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.head or self.key} at {self.place}"
