"""Streams of events over REST: read by auditors, set up by administrators."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.db.models import Case, F, TextField, When
from django.http import QueryDict
from django.utils import timezone
from django_filters import FilterSet
from rest_framework import serializers

from access.rights import Right
from notifications.actions.streams import add_stream, change_stream, note_test, remove_stream, set_stream_status
from notifications.errors import StreamNameTaken
from notifications.forms import ASKED, StreamForm
from notifications.models import EventStream
from notifications.states import SignalType, StreamKind, StreamStatus
from notifications.tasks import ring, send_stream_test, tell_stream_status
from web.api import ARRIVAL
from web.narrowing import ChoicesFilter
from web.paging import Ordering
from web.schema import NO_CONTENT
from web.shapes import Shape, Text, Url
from web.writes import CREATED, WritingViewSet, writes


class StreamSerializer(Shape):
    noun = "event-streams"
    url = Url()
    display = Text(F("name"))
    target = Text(
        Case(When(file="", then=F("url")), default=F("file"), output_field=TextField()),
        help_text="Its address, or the name of its file.",
    )

    class Meta:
        model = EventStream
        fields = (
            "id", "url", "display", "name", "kind", "target", "audience", "signals", "status", "status_reason",
            "created_at", "seq", "sent", "refused", "sent_at", "failures", "failing_since", "error",
        )  # fmt: skip


class StreamFilter(FilterSet):  # type: ignore[misc]
    kind = ChoicesFilter(choices=StreamKind.choices, label="Kind")
    status = ChoicesFilter(choices=StreamStatus.choices, label="Status")


class StreamBody(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    url = serializers.CharField(required=False, help_text="Of a webhook, or where tokens are pushed to.")
    file = serializers.CharField(required=False, help_text="Of a file: its name without .ndjson.")
    secret = serializers.CharField(required=False, help_text="A reference such as file:///run/secrets/siem.")
    previous_secret = serializers.CharField(required=False, help_text="A reference; of webhooks, while it is replaced.")
    audience = serializers.CharField(required=False, help_text="Of tokens: what stands in aud.")
    signals = serializers.ListField(
        child=serializers.ChoiceField(SignalType.choices), required=False, help_text="Of tokens: all, unless said."
    )


class NewStreamBody(StreamBody):
    kind = serializers.ChoiceField(StreamKind.choices)


class StatusBody(serializers.Serializer[Any]):
    status = serializers.ChoiceField(StreamStatus.choices)
    reason = serializers.CharField(max_length=300)


class NothingMore(serializers.Serializer[Any]):
    """Nothing more is said than what is asked for."""


class StreamViewSet(WritingViewSet):
    """Receivers of everything that happens: a SIEM, or another system that takes security event tokens."""

    queryset = EventStream.objects.all()
    serializer_class = StreamSerializer
    filterset_class = StreamFilter
    orderings = (ARRIVAL, Ordering("name", ("name",)))
    rights: ClassVar = {"*": Right.STREAM}
    verbs: ClassVar = {"change": "change", "status": "set_status", "test": "test", "remove": "remove"}
    refusals: ClassVar = {StreamNameTaken: 409}

    @writes(NewStreamBody, "Set up a stream, which is sent what happens from then on.", status=CREATED)
    def create(self, given: Mapping[str, Any]) -> EventStream:
        form = checked(StreamKind(given["kind"]), given)
        return add_stream(form.setup(), actor=self.actor, now=timezone.now(), keys=settings.SIGNAL_KEYS_DIR)

    @writes(StreamBody, "Change where a stream leads. What is left out is taken away.")
    def change(self, row: EventStream, given: Mapping[str, Any]) -> EventStream:
        change_stream(row, checked(StreamKind(row.kind), given, row).setup(), actor=self.actor)
        return row

    @writes(StatusBody, "Enable, pause or disable a stream. Of a paused one nothing is lost.")
    def set_status(self, row: EventStream, given: Mapping[str, Any]) -> EventStream:
        if set_stream_status(row, StreamStatus(given["status"]), actor=self.actor, reason=given["reason"]):
            ring(tell_stream_status, str(row.pk))
        return row

    @writes(NothingMore, "Send a test soon; `verification` where it takes tokens.")
    def test(self, row: EventStream, given: Mapping[str, Any]) -> EventStream:
        note_test(row, actor=self.actor)
        ring(send_stream_test, str(row.pk), self.actor.label)
        return row

    @writes(NothingMore, "Forget a stream. A file that it wrote stays.", status=NO_CONTENT)
    def remove(self, row: EventStream, given: Mapping[str, Any]) -> EventStream:
        remove_stream(row, actor=self.actor)
        return row


def checked(kind: StreamKind, given: Mapping[str, Any], row: EventStream | None = None) -> StreamForm:
    """By the form that the page has. What its kind does not ask for is refused."""
    asked = ASKED[kind]
    if strange := [name for name in given if name not in (*asked, "kind")]:
        raise serializers.ValidationError({name: [f"A stream of the kind {kind.value} has none."] for name in strange})
    said = QueryDict(mutable=True)
    for name in asked:
        value = given.get(name, SignalType.values if name == "signals" else "")
        said.setlist(name, value if isinstance(value, list) else [value])
    form = StreamForm(said, kind=kind, stream=row)
    if not form.is_valid():
        raise serializers.ValidationError(
            {name: [str(each) for each in errors] for name, errors in form.errors.items()}
        )
    return form
