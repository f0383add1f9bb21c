"""The page of API tokens: what there is, issuing one, and ending one."""

from datetime import timedelta
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from access.actors import Actor
from access.models import ApiToken, User
from access.permissions import requires, requires_reader
from access.rights import Right
from access.roles import Role
from config.forms import TokenForm
from config.tokens import grantable, issue, revoke, tell_inventory
from inventory.views.questions import REFUSED, Question, ask, go, is_decided

SHOWN = 200


@require_safe
@requires_reader
def token_list(request: HttpRequest) -> HttpResponse:
    """Those that work first, then those that ended; an owner sees what they issued."""
    return _listed(request)


def _listed(request: HttpRequest, *, value: str = "", token: ApiToken | None = None) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    rows = ApiToken.objects.visible_to(actor).select_related("issued_by")
    live = list(rows.live(now).order_by("expiry", "name")[:SHOWN])
    ended = list(rows.ended(now).order_by("-created")[:SHOWN])
    mine = set(
        ApiToken.objects.revocable_by(actor).filter(pk__in=[row.pk for row in live]).values_list("pk", flat=True)
    )
    context = {
        "live": [(row, row.pk in mine) for row in live],
        "ended": [(row, row.state_at(now)) for row in ended],
        "now": now,
        "soon": now + timedelta(days=14),
        "value": value,
        "issued": token,
        "sees_everything": actor.sees_everything,
    }
    return render(request, "tokens/token_list.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.ISSUE_TOKEN)
def token_issue(request: HttpRequest) -> HttpResponse:
    """The value is on the page that answers, and on no other ever after."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form = TokenForm(request.POST if request.method == "POST" else None, roles=grantable(actor))
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        person = request.user if isinstance(request.user, User) else None
        token, value = issue(
            given["name"], Role(given["role"]), life=timedelta(days=given["days"]), actor=actor, now=timezone.now(),
            issuer=person,
        )  # fmt: skip
        tell_inventory(clock=timezone.now)
        return _listed(request, value=value, token=token)
    return render(request, "tokens/token_issue.html", {"form": form}, status=REFUSED if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.ISSUE_TOKEN)
def token_revoke(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    token = get_object_or_404(ApiToken.objects.revocable_by(actor), pk=pk)
    back = reverse("token_list")
    if is_decided(request):
        if revoke(token, actor=actor, now=timezone.now()):
            tell_inventory(clock=timezone.now)
            messages.success(request, f"{token.name} is revoked. Keyreeve refuses it from now on.")
        return go(request, back)
    question = Question(
        title=f"Revoke {token.name}",
        text="Keyreeve refuses it at once. Whatever program holds it needs another one.",
        facts=[("Role", token.role), ("Begins with", f"{token.token_key}…")],
        form=forms.Form(),
        submit="Revoke it",
        back=back,
        tone="danger solid",
    )
    return ask(request, question)
