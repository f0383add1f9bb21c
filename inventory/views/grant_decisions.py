"""The questions before a grant is drafted, changed, approved or withdrawn: for one pair, or for many picked ones."""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from access.actors import Actor
from access.permissions import requires
from access.rights import Right
from inventory.actions.grants import (
    LONGEST,
    MOST_AT_ONCE,
    USUAL,
    approve_grants,
    change_grant,
    definitions_of,
    draft_grants,
    seen,
    withdraw_grants,
)
from inventory.errors import InventoryError
from inventory.forms import ApproveGrantsForm, ChangeGrantForm, ReasonForm
from inventory.models import Grant, McpClient, McpServer, Tool, Use
from inventory.views.questions import Question, ask, chosen, go, is_decided, nothing_picked, way_back
from web.wording import plural, some

METHODS = ["GET", "HEAD", "POST"]
NAMED = 3
NOTHING_TO_DRAFT = "Nothing to draft: no client reaches a server without a grant."


def _which(rows: Sequence[Any]) -> str:
    return some([str(row) for row in rows], NAMED)


def _summed(values: Sequence[Sequence[str]], none: str) -> str:
    """What several grants name together, the first few by name."""
    names = sorted({name for each in values for name in each})
    return some(names, 12) or none


@require_http_methods(METHODS)
@requires(Right.GRANT)
def grant_approve(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("grant_list"))
    ids, rows = chosen(request, Grant.objects.visible_to(actor).current().approvable_by(actor))
    if not ids:
        return nothing_picked(request, back, "grants")
    now = timezone.now()
    grants = list(rows.select_related("client", "server").order_by("pk"))
    definitions = definitions_of({grant.server_id for grant in grants})
    as_seen = seen(grants, definitions)
    initial = {"as_seen": as_seen, "ends_on": (now + USUAL).date()}
    form = ApproveGrantsForm(request.POST if is_decided(request) else None, initial=initial)
    if is_decided(request) and form.is_valid():
        given = form.cleaned_data
        try:
            count = approve_grants(
                rows,
                as_seen=given["as_seen"],
                ends_at=datetime.combine(given["ends_on"], time(), tzinfo=UTC),
                actor=actor,
                now=now,
                reason=given["reason"],
            )
        except InventoryError as exc:
            form = ApproveGrantsForm({**request.POST.dict(), "as_seen": as_seen})
            form.full_clean()
            form.add_error(None, str(exc))
        else:
            messages.success(request, f"{plural(count, 'grant')} approved until {given['ends_on']:%-d %b %Y}.")
            return go(request, back)
    destructive = Tool.objects.present().filter(server__in={grant.server_id for grant in grants}, is_destructive=True)
    named = {(grant.server_id, name) for grant in grants for name in grant.tools}
    risky = sorted({tool.name for tool in destructive if (tool.server_id, tool.name) in named})
    unlisted = [grant for grant in grants if not grant.tools]
    facts = [
        ("Grant" if len(grants) == 1 else "Grants", _which(grants)),
        ("Tools", _summed([grant.tools for grant in grants], "none by name")),
        ("Scopes", _summed([grant.scopes for grant in grants], "none")),
        ("Resources", _summed([grant.resources for grant in grants], "none named")),
    ]
    if risky:
        facts.insert(2, ("Destructive", _summed([risky], "")))
    if unlisted:
        said = "its tools" if len(unlisted) == 1 else f"the tools of {len(unlisted)} of them"
        facts.append(
            ("Unknown", f"{said} were not listed, so none is granted; the client still reaches what is there.")
        )
    question = Question(
        title=f"Approve {plural(len(grants), 'grant')}",
        text=f"It says what may be used, and until when: {LONGEST.days} days at most. Definitions nobody has approved "
        "yet are approved with it.",
        facts=facts,
        form=form,
        submit=f"Approve {plural(len(grants), 'grant')}",
        back=back,
        ids=ids,
    )
    return ask(request, question)


@require_http_methods(METHODS)
@requires(Right.GRANT)
def grant_withdraw(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("grant_list"))
    ids, rows = chosen(request, Grant.objects.visible_to(actor).current().changeable_by(actor))
    if not ids:
        return nothing_picked(request, back, "grants")
    form = ReasonForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        count = withdraw_grants(rows, actor=actor, now=timezone.now(), reason=form.cleaned_data["reason"])
        messages.success(request, f"{plural(count, 'grant')} withdrawn.")
        return go(request, back)
    grants = list(rows.select_related("client", "server").order_by("pk"))
    in_use = Use.objects.present().filter(
        client__in={grant.client_id for grant in grants}, server__in={grant.server_id for grant in grants}
    )
    pairs = {(grant.client_id, grant.server_id) for grant in grants}
    reached = sum(pair in pairs for pair in in_use.order_by().values_list("client_id", "server_id").distinct())
    question = Question(
        title=f"Withdraw {plural(len(grants), 'grant')}",
        text="Nothing is switched off by it: a client that is configured goes on reaching, without a grant.",
        facts=[
            ("Grant" if len(grants) == 1 else "Grants", _which(grants)),
            ("Still reached", "nothing of it" if not reached else f"{plural(reached, 'pair')} of client and server"),
        ],
        form=form,
        submit=f"Withdraw {plural(len(grants), 'grant')}",
        back=back,
        ids=ids,
    )
    return ask(request, question)


@require_http_methods(METHODS)
@requires(Right.GRANT)
def grant_change(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    ids, rows = chosen(request, Grant.objects.visible_to(actor).current().changeable_by(actor))
    if len(ids) != 1:
        raise Http404
    now = timezone.now()
    grant = rows.select_related("client", "server").get()
    back = way_back(request, reverse("grant_pair", args=[grant.client_id, grant.server_id]))
    form = ChangeGrantForm(
        request.POST if is_decided(request) else None,
        tools=_offered(grant),
        initial={
            "tools": grant.tools,
            "scopes": "\n".join(grant.scopes),
            "resources": "\n".join(grant.resources),
        },
    )
    if is_decided(request) and form.is_valid():
        given = form.cleaned_data
        try:
            is_changed = change_grant(
                grant,
                tools=given.get("tools", []),
                scopes=given["scopes"],
                resources=given["resources"],
                actor=actor,
                now=now,
                reason=given["reason"],
            )
        except InventoryError as exc:
            form.add_error(None, str(exc))
        else:
            grant.refresh_from_db()
            if not is_changed:
                messages.info(request, "Nothing changed.")
            elif grant.approved_at is None:
                messages.success(request, f"{grant} is a draft now. It allows nothing until somebody approves it.")
            else:
                messages.success(request, f"{grant} allows less now; its approval stands.")
            return go(request, back)
    question = Question(
        title="Change a grant",
        text="To take something away keeps the approval. To add something makes it a draft, for somebody to approve.",
        facts=[("Grant", str(grant))],
        form=form,
        submit="Change",
        back=back,
        ids=ids,
    )
    return ask(request, question)


def _offered(grant: Grant) -> list[tuple[str, str]]:
    """The tools to choose from: those that are listed, and those that were granted and are listed no more."""
    listed = {tool.name: tool for tool in Tool.objects.present().filter(server=grant.server_id).order_by("name")}
    choices = []
    for name in sorted({*listed, *grant.tools}):
        tool = listed.get(name)
        words = "no longer listed" if tool is None else "destructive" if tool.is_destructive else ""
        choices.append((name, f"{name} ({words})" if words else name))
    return choices


@require_http_methods(METHODS)
@requires(Right.GRANT)
def grant_draft(request: HttpRequest) -> HttpResponse:
    """Draft from what is observed: for one pair where a client and a server are given, else for all without a grant."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("grant_list"))
    given = {name: request.POST.get(name) or request.GET.get(name, "") for name in ("client", "server")}
    try:
        narrowed = {name: UUID(value) for name, value in given.items() if value}
    except ValueError as exc:
        raise Http404 from exc
    uses = draftable(actor).filter(**narrowed)
    if narrowed and not uses.exists():
        raise Http404
    form = ReasonForm(request.POST if is_decided(request) else None)
    form.fields["reason"].required = False
    if is_decided(request) and form.is_valid():
        count = draft_grants(uses, actor=actor, now=timezone.now(), reason=form.cleaned_data["reason"])
        if count:
            more = " There are more: draft again." if count == MOST_AT_ONCE else ""
            messages.success(request, f"{plural(count, 'grant')} drafted. Look at each before it is approved.{more}")
        else:
            messages.info(request, NOTHING_TO_DRAFT)
        return go(request, back)
    number = _undrafted(uses)
    if not number:
        messages.info(request, NOTHING_TO_DRAFT)
        return go(request, back)
    question = Question(
        title="Draft grants from what is observed",
        text="A draft names the tools that the server lists and the scopes that the session carries today. "
        "It allows nothing until somebody approves it.",
        facts=[("Without a grant", f"{plural(number, 'pair')} of client and server")],
        form=form,
        submit="Draft",
        back=back,
        hidden=[(name, str(value)) for name, value in narrowed.items()],
    )
    return ask(request, question)


def draftable(actor: Actor) -> QuerySet[Use]:
    """Uses for which the actor may draft a grant: everything for reviewers, else of what they answer for."""
    uses = Use.objects.present()
    if actor.may_everywhere(Right.GRANT):
        return uses
    return uses.filter(
        Q(server__in=McpServer.objects.answered_for_by(actor).values("pk"))
        | Q(client__in=McpClient.objects.answered_for_by(actor).values("pk"))
    )


def _undrafted(uses: QuerySet[Use]) -> int:
    granted = Grant.objects.current().values_list("client_id", "server_id")
    pairs = uses.order_by().values_list("client_id", "server_id").distinct()
    return pairs.difference(granted).count()
