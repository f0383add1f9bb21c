"""The endpoints of webhooks: add, change, try, pause, remove."""

from uuid import UUID

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from access.permissions import requires
from access.rights import Right
from inventory.views.questions import REFUSED, Question, ask, go, is_decided
from notifications import sending
from notifications.actions.endpoints import (
    add_endpoint,
    change_endpoint,
    pause_endpoint,
    post_test,
    remove_endpoint,
    resume_endpoint,
)
from notifications.errors import NameTaken
from notifications.forms import EndpointForm
from notifications.models import Endpoint
from notifications.views.notices import say_outcome


def _visible(request: HttpRequest, pk: UUID) -> Endpoint:
    actor = request.actor  # type: ignore[attr-defined]
    return get_object_or_404(Endpoint.objects.visible_to(actor), pk=pk)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.NOTIFY)
def endpoint_add(request: HttpRequest) -> HttpResponse:
    form = EndpointForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            endpoint = add_endpoint(form.setup(), actor=request.actor, now=timezone.now())  # type: ignore[attr-defined]
        except NameTaken as exc:
            form.add_error("name", str(exc))
        else:
            messages.success(request, f"{endpoint.name} is told from now on. Send it a test.")
            return redirect("notice_list")
    return _form(request, form)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.NOTIFY)
def endpoint_edit(request: HttpRequest, pk: UUID) -> HttpResponse:
    endpoint = _visible(request, pk)
    form = EndpointForm(request.POST if request.method == "POST" else None, endpoint=endpoint)
    if request.method == "POST" and form.is_valid():
        actor = request.actor  # type: ignore[attr-defined]
        try:
            has_changed = change_endpoint(endpoint, form.setup(), actor=actor, now=timezone.now())
        except NameTaken as exc:
            form.add_error("name", str(exc))
        else:
            if has_changed:
                messages.success(request, f"{form.cleaned_data['name']} is changed.")
            return redirect("notice_list")
    return _form(request, form)


def _form(request: HttpRequest, form: EndpointForm) -> HttpResponse:
    context = {"form": form, "endpoint": form.endpoint}
    return render(request, "notifications/endpoint_form.html", context, status=REFUSED if form.errors else 200)


@require_POST
@requires(Right.NOTIFY)
def endpoint_pause(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor = request.actor  # type: ignore[attr-defined]
    endpoint = _visible(request, pk)
    if request.POST.get("is_paused") == "true":
        pause_endpoint(endpoint, actor=actor, now=timezone.now())
        messages.success(request, f"{endpoint.name} is paused. What it is to be told waits for a week.")
    else:
        resume_endpoint(endpoint, actor=actor)
        messages.success(request, f"{endpoint.name} is told again; what waited goes within a minute.")
    return go(request, reverse("notice_list"))


@require_POST
@requires(Right.NOTIFY)
def endpoint_test(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Send a test now, to a paused endpoint too, and say what came of it."""
    endpoint = _visible(request, pk)
    delivery = post_test(endpoint=endpoint, actor=request.actor, now=timezone.now())  # type: ignore[attr-defined]
    say_outcome(request, sending.send_now(delivery.pk, clock=timezone.now), endpoint.name)
    return go(request, reverse("notice_list"))


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.NOTIFY)
def endpoint_remove(request: HttpRequest, pk: UUID) -> HttpResponse:
    endpoint = _visible(request, pk)
    if is_decided(request):
        remove_endpoint(endpoint, actor=request.actor)  # type: ignore[attr-defined]
        messages.success(request, f"{endpoint.name} is removed and told nothing more.")
        return go(request, reverse("notice_list"))
    question = Question(
        title=f"Remove {endpoint.name}",
        text="It is told nothing more, and the list of what it was told goes with it. The audit trail keeps that it "
        "was here. To stop for a while, pause it instead.",
        form=Form(),
        submit="Remove it",
        back=reverse("notice_list"),
    )
    return ask(request, question)
