"""The shape of an audit entry in the REST API: with `text` and `hash`, so that a listing can be verified offline."""

from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import F, Func, OuterRef, TextField, Value
from rest_framework import serializers

from audit.models import AuditEntry, ChainHead, Export
from web.shapes import Joined, Shape, Text, Texts, Url


class Hex(Func):
    template = "encode(%(expressions)s, 'hex')"
    output_field = TextField()


class AuditEntrySerializer(Shape):
    noun = "audit-entries"
    id = serializers.IntegerField(source="seq", help_text="Its place in the chain.")
    url = Url()
    display = Text(Joined(F("event"), Value(" "), F("subject_label")))
    hash = Text(Hex("hash"), help_text="SHA-256 over the previous entry's hash and this `text`, as hexadecimal.")
    text = serializers.CharField(help_text="What was hashed, as it was hashed.")

    class Meta:
        model = AuditEntry
        fields = (
            "id", "url", "display", "at", "event", "actor_kind", "actor_id", "actor_label", "subject_kind",
            "subject_id", "subject_label", "detail", "text", "hash",
        )  # fmt: skip


PLACES: Any = ArraySubquery(Export.objects.filter(head=OuterRef("pk")).order_by("place_id").values("place__address"))


class ChainHeadSerializer(Shape):
    noun = "chain-heads"
    id = serializers.IntegerField()
    url = Url()
    display = Text(Joined(Value("head of entry "), F("seq")))
    hash = Text(Hex("hash"), help_text="The hash of that entry, as hexadecimal.")
    signature = Text(Hex("signature"), help_text="Ed25519, as hexadecimal; over what, docs/audit.md says.")
    public_key = Text(
        Hex("public_key"), help_text="The key that signed it. Trust the one that you hold from elsewhere."
    )
    exported_to = Texts(PLACES)

    class Meta:
        model = ChainHead
        fields = ("id", "url", "display", "seq", "hash", "signed_at", "signature", "public_key", "exported_to")
