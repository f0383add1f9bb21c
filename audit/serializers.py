"""The shape of an audit entry in the REST API: with `text` and `hash`, so that a listing can be verified offline."""

from django.db.models import F, Func, TextField, Value
from rest_framework import serializers

from audit.models import AuditEntry
from web.shapes import Joined, Shape, Text, Url


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
