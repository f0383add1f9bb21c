"""Shapes of evidence packs in the REST API, and what one is asked for with."""

from typing import Any

from django.db.models import Case, F, TextField, Value, When
from django_filters import FilterSet
from rest_framework import serializers

from reviews.models import Approval, EvidencePack
from reviews.packs import EVERYTHING_PRESENT, LARGEST_SAMPLE, PackState
from web.narrowing import ChoicesFilter, FlagFilter, after, before
from web.shapes import Concatenated, Link, Shape, Sql, Text, Url, address

USUAL_PURPOSE = "Evidence for NIST CSF 2.0"


class Download(serializers.URLField):
    """Where its file is, once there is one."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, **{"allow_null": True, **kwargs})

    def sql(self, root: str, noun: str) -> Sql:
        file = Concatenated(address(root, noun, "pk"), Value("download/"))
        return Case(When(state=PackState.READY, then=file), output_field=TextField())


class EvidencePackSerializer(Shape):
    noun = "evidence-packs"
    url = Url()
    display = Text(F("purpose"))
    download = Download()

    class Meta:
        model = EvidencePack
        fields = (
            "id", "url", "display", "purpose", "state", "step", "done", "total", "error", "begins_at", "ends_at",
            "taken_at", "sample_size", "sample_seed", "sample_filter", "requested_by", "requested_at", "built_at",
            "removed_at", "size", "sha256", "manifest_sha256", "download",
        )  # fmt: skip


class EvidencePackObjectSerializer(EvidencePackSerializer):
    """One pack, with its figures and the digests of its files once it is ready."""

    summary = serializers.DictField()

    class Meta(EvidencePackSerializer.Meta):
        fields = (*EvidencePackSerializer.Meta.fields, "summary")  # type: ignore[assignment]


class PackedApprovalSerializer(Shape):
    """An approval as the REST API gives it, as it stood at one instant, of which `ApprovalQuerySet.as_at` knows."""

    noun = "approvals"
    url = Url()
    display = Text(F("name"))
    item = Link("review-items", "item", allow_null=True)
    ended_at = serializers.DateTimeField(source="ended_then", allow_null=True)
    is_lapsed = serializers.BooleanField(source="lapsed_then")
    difference = serializers.JSONField(source="difference_then")

    class Meta:
        model = Approval
        fields = (
            "id", "url", "display", "item", "kind", "subject_id", "digest", "bound", "approved_by", "approved_at",
            "ended_at", "is_lapsed", "difference",
        )  # fmt: skip


class EvidencePackBody(serializers.Serializer[Any]):
    """What a pack is to hold."""

    purpose = serializers.CharField(max_length=200, default=USUAL_PURPOSE, help_text="What it is for.")
    begins_at = serializers.DateTimeField(
        default=None,
        allow_null=True,
        help_text="Of what has happened, since when; else 90 days before its end.",
    )
    ends_at = serializers.DateTimeField(
        default=None, allow_null=True, help_text="The past instant as of which it is; where nothing is said, now."
    )
    sample_size = serializers.IntegerField(default=0, min_value=0, max_value=LARGEST_SAMPLE)
    sample_seed = serializers.CharField(default="", allow_blank=True, max_length=100)
    sample_filter = serializers.CharField(
        default=EVERYTHING_PRESENT,
        allow_blank=True,
        max_length=2_000,
        help_text="The population of the sample, as the query string of `credentials` has it.",
    )


class EvidencePackFilter(FilterSet):  # type: ignore[misc]
    state = ChoicesFilter(choices=PackState.choices, label="State")
    is_open = FlagFilter(method="still_open", label="Open")
    requested_after = after("requested_at", "Asked for from")
    requested_before = before("requested_at", "Asked for before")

    def still_open(self, rows: Any, name: str, value: bool) -> Any:
        open_states = [PackState.REQUESTED, PackState.BUILDING]
        return rows.filter(state__in=open_states) if value else rows.exclude(state__in=open_states)
