"""Streams of events: set one up, try it, pause and remove it, and begin another key for tokens."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from access.permissions import requires
from access.rights import Right
from inventory.views.questions import REFUSED, Question, ask, go, is_decided
from notifications import streaming
from notifications.actions.streams import (
    add_stream,
    begin_signal_key,
    change_stream,
    note_test,
    remove_stream,
    set_stream_status,
)
from notifications.errors import StreamNameTaken
from notifications.forms import StreamForm
from notifications.models import EventStream, SignalKey
from notifications.states import StreamKind, StreamStatus
from notifications.tasks import ring, tell_stream_status
from notifications.translating import lags

BY_HAND = "Set by {}."


def _visible(request: HttpRequest, pk: UUID) -> EventStream:
    actor = request.actor  # type: ignore[attr-defined]
    return get_object_or_404(EventStream.objects.visible_to(actor), pk=pk)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.STREAM)
def stream_add(request: HttpRequest, kind: StreamKind) -> HttpResponse:
    form = StreamForm(request.POST if request.method == "POST" else None, kind=kind)
    if request.method == "POST" and form.is_valid():
        actor, now = request.actor, timezone.now()  # type: ignore[attr-defined]
        try:
            stream = add_stream(form.setup(), actor=actor, now=now, keys=settings.SIGNAL_KEYS_DIR)
        except StreamNameTaken as exc:
            form.add_error("name", str(exc))
        else:
            messages.success(request, f"{stream.name} is sent what happens from now on. Send it a test.")
            return redirect("stream_edit", stream.pk)
    return _form(request, form)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.STREAM)
def stream_edit(request: HttpRequest, pk: UUID) -> HttpResponse:
    stream = _visible(request, pk)
    form = StreamForm(request.POST if request.method == "POST" else None, kind=StreamKind(stream.kind), stream=stream)
    if request.method == "POST" and form.is_valid():
        try:
            has_changed = change_stream(stream, form.setup(), actor=request.actor)  # type: ignore[attr-defined]
        except StreamNameTaken as exc:
            form.add_error("name", str(exc))
        else:
            if has_changed:
                messages.success(request, f"{form.cleaned_data['name']} is changed.")
            return redirect("notice_list")
    return _form(request, form)


def _form(request: HttpRequest, form: StreamForm) -> HttpResponse:
    now, stream = timezone.now(), form.stream
    context: dict[str, Any] = {"form": form, "stream": stream, "kind": form.kind, "label": form.kind.label, "now": now}
    if stream is not None:
        context["lag"] = lags([stream])[stream.pk]
    if form.kind == StreamKind.SET_PUSH:
        context |= {
            "issuer": settings.PUBLIC_URL,
            "keys": SignalKey.objects.published(now),
            "signing": SignalKey.objects.signing(now),
        }
    return render(request, "notifications/stream_form.html", context, status=REFUSED if form.errors else 200)


@require_POST
@requires(Right.STREAM)
def stream_status(request: HttpRequest, pk: UUID) -> HttpResponse:
    stream, actor = _visible(request, pk), request.actor  # type: ignore[attr-defined]
    try:
        status = StreamStatus(request.POST.get("status", ""))
    except ValueError as exc:
        raise Http404 from exc
    if set_stream_status(stream, status, actor=actor, reason=BY_HAND.format(actor.label)):
        ring(tell_stream_status, str(stream.pk))
        said = {
            StreamStatus.ENABLED: "is sent what happens again",
            StreamStatus.PAUSED: "is paused. What happens waits for it, however long",
            StreamStatus.DISABLED: "is disabled. It misses what happens until it is enabled",
        }
        messages.success(request, f"{stream.name} {said[status]}.")
    return go(request, reverse("stream_edit", args=[stream.pk]))


@require_POST
@requires(Right.STREAM)
def stream_test(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Send a test now, to a paused stream too, and say what came of it."""
    stream, actor = _visible(request, pk), request.actor  # type: ignore[attr-defined]
    note_test(stream, actor=actor)
    fault = streaming.send_test(stream, asked_by=actor.label, clock=timezone.now)
    if fault:
        messages.error(request, f"{stream.name} did not take the test. {fault}")
    elif stream.file:
        messages.success(request, f"The file of {stream.name} can be written.")
    else:
        messages.success(request, f"{stream.name} took the test.")
    return go(request, reverse("stream_edit", args=[stream.pk]))


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.STREAM)
def stream_remove(request: HttpRequest, pk: UUID) -> HttpResponse:
    stream = _visible(request, pk)
    if is_decided(request):
        remove_stream(stream, actor=request.actor)  # type: ignore[attr-defined]
        messages.success(request, f"{stream.name} is removed and sent nothing more.")
        return go(request, reverse("notice_list"))
    question = Question(
        title=f"Remove {stream.name}",
        text="It is sent nothing more, and where it had got to is forgotten. To stop for a while, pause it instead.",
        form=Form(),
        submit="Remove it",
        back=reverse("stream_edit", args=[stream.pk]),
    )
    return ask(request, question)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.STREAM)
def signal_key_begin(request: HttpRequest) -> HttpResponse:
    if is_decided(request):
        actor, now = request.actor, timezone.now()  # type: ignore[attr-defined]
        key = begin_signal_key(settings.SIGNAL_KEYS_DIR, actor=actor, now=now, reason=BY_HAND.format(actor.label))
        when = "signs at once" if key.signs_from <= now else "is published, and signs in an hour"
        messages.success(request, f"A new key {when}.")
        return go(request, reverse("notice_list"))
    question = Question(
        title="Begin another key",
        text="Receivers find it at once where the keys are published. It signs in an hour; the key before it stays "
        "published for a week after that, so that tokens on their way can be verified.",
        form=Form(),
        submit="Begin another key",
        back=reverse("notice_list"),
    )
    return ask(request, question)
