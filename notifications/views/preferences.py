"""What a person is told, and when: their own choice."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from access.actors import Actor
from access.permissions import requires
from access.rights import Right
from inventory.views.questions import REFUSED
from notifications.actions.recipients import choose, recipient_of
from notifications.forms import PreferencesForm
from notifications.mail import is_on


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.PREFER)
def preferences(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    recipient = recipient_of(actor, now=now)
    if recipient is None:
        raise Http404
    form = PreferencesForm(request.POST if request.method == "POST" else None, recipient=recipient, actor=actor)
    if request.method == "POST" and form.is_valid():
        if choose(recipient, form.chosen(), actor=actor, now=now):
            messages.success(request, "What you are told is changed.")
        return redirect("preferences")
    context = {"form": form, "recipient": recipient, "is_mail_on": is_on(), "now": now}
    return render(request, "notifications/preferences.html", context, status=REFUSED if form.errors else 200)
