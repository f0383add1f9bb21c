"""Ownership: who is asked whether they answer for what, and what they say."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.rights import Right
from audit.models import AuditEntry
from inventory.actions import answering
from inventory.actions.terms import terms
from inventory.errors import InventoryError
from inventory.filters import OwnershipQuestionFilter
from inventory.forms import HandOverForm, ReasonForm
from inventory.models import Credential, McpClient, McpServer, Owner, OwnershipQuestion, Tenure
from inventory.states import SERVER_PARTS, Part, QuestionState
from inventory.views.questions import Question, ask, go, is_decided
from web.lists import Column, Empty, ListPage, View
from web.paging import BadCursor, Ordering, page
from web.wording import plural

METHODS = ["GET", "HEAD", "POST"]
THINGS = 50
PAGES = {
    Part.CREDENTIAL: (Credential, "credential_detail"),
    Part.CLIENT: (McpClient, "client_detail"),
    **dict.fromkeys(SERVER_PARTS, (McpServer, "server_detail")),
}
QUESTIONS = ListPage(
    name="ownership",
    title="Ownership",
    noun="question",
    columns=(
        Column("owner", "In the name of", value=attrgetter("owner")),
        Column("state", "State", value=lambda row: row.get_state_display()),
        Column("asked", "Asked", value=attrgetter("asked"), priority=2),
        Column("stage", "As", value=lambda row: row.get_stage_display(), priority=2),
        Column("size", "Things", value=attrgetter("size"), is_numeric=True, priority=2),
        Column("due", "Answer due", value=attrgetter("answer_by"), sort="due", is_numeric=True),
    ),
    orderings=(
        Ordering("asked", (), True, "first asked first", "last asked first"),
        Ordering("due", ("answer_by",), False, "first due first", "last due first"),
    ),
    filterset=OwnershipQuestionFilter,
    row_template="inventory/_ownership_cells.html",
    template="inventory/ownership_list.html",
    views=(
        View("All"),
        View("Asked of me", "mine=true"),
        View("Asked", "state=open"),
        View("Quarantined", "state=quarantined"),
    ),
    empty=Empty(
        "Nobody is asked",
        "Once mail is set up, owners are asked whether they answer for what is in their name, and again in time.",
    ),
)


@require_safe
@requires_reader
def ownership_list(request: HttpRequest) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    rows = OwnershipQuestion.objects.visible_to(actor).select_related("owner", "asked")
    return QUESTIONS.respond(request, rows)


def _question(request: HttpRequest, pk: UUID) -> OwnershipQuestion:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    rows: QuerySet[OwnershipQuestion] = OwnershipQuestion.objects.visible_to(actor)
    return get_object_or_404(rows.select_related("owner__deputy", "owner__manager", "asked", "follows__owner"), pk=pk)


@require_safe
@requires_reader
def ownership_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    question = _question(request, pk)
    person = answering.answerer(question, actor) if actor.may(Right.ANSWER_FOR) else None
    by_arrival = Ordering("id", ())
    left = Tenure.objects.open().filter(question=question)
    try:
        things = page(left, by_arrival, request.GET.get("cursor") or None, THINGS)
    except BadCursor:
        things = page(left, by_arrival, None, THINGS)
    context = {
        "question": question,
        "is_late": question.is_open and question.answer_by <= timezone.now(),
        "person": person,
        "is_me": person is not None and person.user_id is not None,
        "things": _named(things.rows),
        "pages": things,
        "history": list(AuditEntry.objects.visible_to(actor).about(question)[:THINGS]),
    }
    return render(request, "inventory/ownership_detail.html", context)


def _named(rows: list[Tenure]) -> list[dict[str, Any]]:
    """Each with its name and its page: one statement for each kind of thing."""
    names: dict[Any, str] = {}
    for part, (model, _) in {Part(row.part): PAGES[Part(row.part)] for row in rows}.items():
        keys = [row.subject_id for row in rows if row.part == part]
        found: Any = model._default_manager
        names |= dict(found.filter(pk__in=keys).values_list("pk", "name"))
    return [
        {
            "name": names.get(row.subject_id, "what is gone"),
            "url": reverse(PAGES[Part(row.part)][1], args=[row.subject_id]),
            "part": row.get_part_display(),
            "gap_since": row.gap_since,
            "accepted_at": row.accepted_at,
        }
        for row in rows
    ]


def _answered(
    request: HttpRequest,
    pk: UUID,
    form_of: Callable[[Any], forms.Form],
    act: Callable[[OwnershipQuestion, dict[str, Any]], str],
    *,
    title: str,
    text: Callable[[OwnershipQuestion, Owner | None], str],
    submit: str,
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    question = _question(request, pk)
    person = answering.answerer(question, actor)
    form = form_of(request.POST if is_decided(request) else None)
    # To record what somebody else said takes what they said; to answer for oneself says enough.
    if "reason" in form.fields and isinstance(form, AcceptForm):
        form.fields["reason"].required = person is not None and person.user_id is None
    back = reverse("ownership_detail", args=[pk])
    if is_decided(request) and form.is_valid():
        try:
            said = act(question, form.cleaned_data)
        except InventoryError as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(request, said)
            return go(request, back)
    asked = Question(title=title, text=text(question, person), form=form, submit=submit, back=back)
    return ask(request, asked)


class AcceptForm(ReasonForm):
    """Something may be said with it."""


def _now(request: HttpRequest) -> dict[str, Any]:
    return {"actor": request.actor, "now": timezone.now(), "terms": terms()}  # type: ignore[attr-defined]


@require_http_methods(METHODS)
@requires(Right.ANSWER_FOR)
def ownership_accept(request: HttpRequest, pk: UUID) -> HttpResponse:
    def act(question: OwnershipQuestion, given: dict[str, Any]) -> str:
        number = answering.accept(question, reason=given["reason"], **_now(request))
        return f"{plural(number, 'thing')} accepted."

    def text(question: OwnershipQuestion, person: Owner | None) -> str:
        who = person.name if person is not None and person.user_id is None else "You"
        verb = "answers" if who != "You" else "answer"
        if question.state == QuestionState.QUARANTINED:
            return f"{who} {verb} for what nobody else has taken from now on. It leaves quarantine."
        return f"{who} {verb} for all of it from now on: keeps it needed, rotated and in the right hands."

    return _answered(request, pk, AcceptForm, act, title="Accept it", text=text, submit="Accept")


@require_http_methods(METHODS)
@requires(Right.ANSWER_FOR)
def ownership_hand_over(request: HttpRequest, pk: UUID) -> HttpResponse:
    def act(question: OwnershipQuestion, given: dict[str, Any]) -> str:
        answering.hand_over(question, given["to"], reason=given["reason"], **_now(request))
        return f"It is in the name of {given['to']} now, who is asked."

    def text(question: OwnershipQuestion, person: Owner | None) -> str:
        return "All of it goes into their name at once, and they are asked to accept it."

    return _answered(request, pk, HandOverForm, act, title="Hand it over", text=text, submit="Hand it over")


@require_http_methods(METHODS)
@requires(Right.ANSWER_FOR)
def ownership_decline(request: HttpRequest, pk: UUID) -> HttpResponse:
    def act(question: OwnershipQuestion, given: dict[str, Any]) -> str:
        became = answering.decline(question, reason=given["reason"], **_now(request))
        return "The next in line is asked." if became == "passed_on" else "Nobody is left to ask: it is quarantined."

    def text(question: OwnershipQuestion, person: Owner | None) -> str:
        return "The next in line is asked: the deputy, then the manager. Where nobody accepts, it is quarantined."

    return _answered(request, pk, ReasonForm, act, title="Decline it", text=text, submit="Decline")
