"""Connections: where Keyreeve looks, how the last look went, and looking again."""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import psycopg
from django.contrib import messages
from django.db.models import Func, IntegerField, OuterRef, QuerySet, Subquery
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from kombu.exceptions import OperationalError

from access.permissions import requires, requires_reader
from access.rights import Right
from access.roles import Role
from audit.models import AuditEntry
from inventory.actions.connections import (
    change_connection,
    create_connection,
    has_history,
    remove_connection,
    request_sync,
    set_enabled,
)
from inventory.actions.syncs import KEPT_PROBLEMS
from inventory.checks import can_check, check
from inventory.connection_forms import FORMS, ConnectionForm, offered
from inventory.connection_kinds import KINDS, changes, described
from inventory.errors import HasHistory, NameTaken
from inventory.filters import ConnectionFilter
from inventory.listings import LISTINGS
from inventory.models import Connection, SyncRun
from inventory.states import RunState
from inventory.tasks import ring
from inventory.views.presence import suited
from inventory.views.questions import REFUSED, Question, ask, go, is_decided
from web.lists import Column, Empty, ListPage, View
from web.pages import render_page_or_fragment, wants_fragment
from web.paging import BadCursor, Ordering, Page, page

# The broker is away, the queues in the database were never installed, or somebody else declares them this very moment.
NO_QUEUE = (OperationalError, psycopg.Error)

RUNS = 10
READ_ALL = (RunState.COMPLETE, RunState.PARTIAL)
HISTORY = 20
RUNS_IN_ORDER = Ordering("id", (), descending=True)  # keys are UUIDv7: in the order of their making


CONNECTIONS = ListPage(
    name="connections",
    title="Connections",
    noun="connection",
    columns=(
        Column("name", "Connection", value=attrgetter("name"), sort="name"),
        Column("kind", "Kind", value=lambda connection: connection.get_kind_display(), priority=3),
        Column("state", "Last run", value=attrgetter("run_state")),
        Column("changes", "It changed", value=lambda connection: changes(connection.run_counts), priority=3),
        Column("problems", "Problems", value=attrgetter("run_problems"), priority=2, is_numeric=True),
        Column("complete", "Last complete", value=attrgetter("last_complete_at"), priority=2, is_numeric=True),
        Column("due", "Next", value=attrgetter("due_at"), priority=3, is_numeric=True),
    ),
    orderings=(Ordering("name", ("name",), ascending_words="by name", descending_words="by name, backwards"),),
    filterset=ConnectionFilter,
    row_template="inventory/_connection_row.html",
    template="inventory/connection_list.html",
    row_css=lambda connection: "" if connection.is_enabled else "ended",
    views=(View("All"), View("Switched off", "is_enabled=false")),
    empty=Empty(
        "Nothing is looked at",
        "A connection is one place to look: configuration files, MCP servers, an authorization server, an AWS account, "
        "a database. From the command line, manage.py sync reads the MCP clients of this machine.",
        "/connections/new/",
        "Add a connection",
    ),
    csv=(
        ("id", attrgetter("pk")),
        ("name", attrgetter("name")),
        ("kind", attrgetter("kind")),
        ("is_enabled", attrgetter("is_enabled")),
        ("last_run", attrgetter("run_state")),
        ("problems", attrgetter("run_problems")),
        ("last_complete_at", attrgetter("last_complete_at")),
        ("due_at", attrgetter("due_at")),
    ),
)


def listed(connections: QuerySet[Connection]) -> QuerySet[Any]:
    runs = SyncRun.objects.filter(connection=OuterRef("pk")).order_by("-id")
    length = Func("problems", function="jsonb_array_length", output_field=IntegerField())
    return connections.select_related("environment").annotate(
        run_state=Subquery(runs.values("state")[:1]),
        run_counts=Subquery(runs.values("counts")[:1]),
        run_problems=Subquery(runs.annotate(problem_count=length).values("problem_count")[:1]),
    )


@require_safe
@requires_reader
def connection_list(request: HttpRequest) -> HttpResponseBase:
    actor = request.actor  # type: ignore[attr-defined]
    visible = Connection.objects.visible_to(actor)
    context = {"now": timezone.now(), "may_change": actor.may(Right.CONNECT), "sees_everything": actor.sees_everything}
    return suited(CONNECTIONS, actor, Role.OPERATOR).respond(request, listed(visible), context=context)


@require_safe
@requires_reader
def connection_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The page; the fragment is its runs, which ask for themselves anew while a sync is under way."""
    connection = _visible(request, pk)
    return _detail(request, connection)


def _visible(request: HttpRequest, pk: UUID) -> Connection:
    actor = request.actor  # type: ignore[attr-defined]
    return get_object_or_404(Connection.objects.visible_to(actor).select_related("environment"), pk=pk)


def _detail(request: HttpRequest, connection: Connection, **more: Any) -> HttpResponse:
    actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    all_runs = SyncRun.objects.filter(connection=connection)
    newest = list(all_runs.order_by("-id")[:RUNS])
    cursor = request.GET.get("runs", "")
    shown = _page_of_runs(all_runs, cursor)
    under_way = progress(connection, newest, now)
    told = _told(all_runs, request.GET.get("run", ""), newest)
    known, others = described(connection.kind, connection.settings)
    context = {
        "connection": connection,
        "about": KINDS[connection.kind],
        "now": now,
        "runs": [(run, changes(run.counts)) for run in shown.rows],
        "page": shown,
        "cursor": cursor if shown.previous else "",
        "latest": newest[0] if newest else None,
        "told": told,
        "kept_problems": KEPT_PROBLEMS,
        "progress": under_way,
        "may_change": actor.may(Right.CONNECT),
        "may_remove": not any(run.state != RunState.FAILED for run in newest) and not has_history(connection),
        "can_check": can_check(connection.kind),
        "can_list": connection.kind in LISTINGS,
        "can_edit": connection.kind in FORMS,
        "settings": known,
        "other_settings": others,
        "history": list(AuditEntry.objects.visible_to(actor).about(connection)[:HISTORY]),
        # While a run is watched, only its part of the page is sent; with the last look all that it changed comes along.
        "has_ended": under_way is None,
        **more,
    }
    return render_page_or_fragment(
        request, "inventory/connection_detail.html", "inventory/_connection_watched.html", context
    )


def _page_of_runs(runs: QuerySet[SyncRun], cursor: str) -> Page[SyncRun]:
    """Newest first. A damaged cursor shows the first page: whoever follows it wants the runs, not an error."""
    try:
        return page(runs, RUNS_IN_ORDER, cursor or None, RUNS)
    except BadCursor:
        return page(runs, RUNS_IN_ORDER, None, RUNS)


def _told(runs: QuerySet[SyncRun], wanted: str, newest: Sequence[SyncRun]) -> SyncRun | None:
    """The run whose problems are shown: the one that was asked for, else the last that ended."""
    try:
        chosen = runs.filter(pk=UUID(wanted)).first() if wanted else None
    except ValueError:
        chosen = None
    return chosen or next((run for run in newest if run.finished_at), None)


def progress(connection: Connection, runs: Sequence[SyncRun], now: datetime) -> dict[str, Any] | None:
    """How far a sync is that is under way or waits for a worker; None when there is none to watch.

    Where a listing cannot say how many there are, the bar measures against what was read the last time.
    """
    running = next((run for run in runs if run.state == RunState.RUNNING), None)
    if running is not None:
        is_held = connection.lease_until is not None and connection.lease_until > now
        before = next((run.done for run in runs if run.state in READ_ALL and run.done), 0)
        guessed = max(before, running.done) if before else None
        return {
            "state": "running" if is_held else "lost",
            "done": running.done,
            "expected": running.expected or guessed,
            "is_known": bool(running.expected),
            "since": running.started_at,
        }
    if connection.is_enabled and connection.due_at and connection.due_at <= now and connection.kind in LISTINGS:
        return {"state": "waiting", "done": 0, "expected": None, "is_known": False, "since": connection.due_at}
    return None


@require_safe
@requires(Right.CONNECT)
def connection_choose(request: HttpRequest) -> HttpResponse:
    """Which kind of place is to be looked at."""
    return render(request, "inventory/connection_kinds.html", {"kinds": [KINDS[kind] for kind in offered()]})


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.CONNECT)
def connection_create(request: HttpRequest, kind: str) -> HttpResponse:
    made = FORMS.get(kind)
    if made is None:
        raise Http404
    form = made(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid() and not _is_test(request):
        given = form.cleaned_data
        try:
            connection = create_connection(
                kind=made.kind,
                name=given["name"],
                settings=form.settings(),
                environment=given["environment"],
                interval=given["interval"],
                actor=request.actor,  # type: ignore[attr-defined]
                now=timezone.now(),
            )
        except NameTaken as exc:
            form.add_error("name", str(exc))
        else:
            messages.success(request, f"{connection.name} {_when(connection)}.")
            return redirect("connection_detail", pk=connection.pk)
    return _form(request, form)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.CONNECT)
def connection_edit(request: HttpRequest, pk: UUID) -> HttpResponse:
    connection = _visible(request, pk)
    made = FORMS.get(connection.kind)
    if made is None:
        raise Http404
    form = made(request.POST if request.method == "POST" else None, connection=connection)
    if request.method == "POST" and form.is_valid() and not _is_test(request):
        given = form.cleaned_data
        was_due = connection.due_at
        try:
            has_changed = change_connection(
                connection,
                name=given["name"],
                settings=form.settings(),
                environment=given["environment"],
                interval=given["interval"],
                actor=request.actor,  # type: ignore[attr-defined]
                now=timezone.now(),
            )
        except NameTaken as exc:
            form.add_error("name", str(exc))
        else:
            is_due = connection.due_at != was_due and connection.due_at and connection.due_at <= timezone.now()
            if has_changed:
                messages.success(
                    request, f"{connection.name} is changed{f' and {_when(connection)}' if is_due else ''}."
                )
            return redirect("connection_detail", pk=pk)
    return _form(request, form)


def _is_test(request: HttpRequest) -> bool:
    return "test" in request.POST


def _form(request: HttpRequest, form: ConnectionForm) -> HttpResponse:
    """The form, with what came of a test that was asked for. What was typed stays, but for what looks like a secret."""
    said = None
    if form.is_bound and not form.errors and _is_test(request):
        said = check(form.kind, form.settings(), clock=timezone.now)
    context = {
        "form": form,
        "about": form.about,
        "connection": form.connection,
        "said": said,
        "can_check": can_check(form.kind),
        "can_list": form.kind in LISTINGS,
    }
    return render(request, "inventory/connection_form.html", context, status=REFUSED if form.errors else 200)


@require_POST
@requires(Right.CONNECT)
def connection_test(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Ask the place who we are there; nothing is listed. The answer stands on the connection's page."""
    connection = _visible(request, pk)
    if not can_check(connection.kind):
        raise Http404
    said = check(connection.kind, connection.settings, clock=timezone.now)
    if wants_fragment(request):
        return render(request, "inventory/_connection_said.html", {"said": said})
    return _detail(request, connection, said=said)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.CONNECT)
def connection_remove(request: HttpRequest, pk: UUID) -> HttpResponse:
    connection = _visible(request, pk)
    if is_decided(request):
        try:
            remove_connection(connection, actor=request.actor)  # type: ignore[attr-defined]
        except HasHistory as exc:
            messages.warning(request, str(exc))
            return go(request, reverse("connection_detail", args=[pk]))
        messages.success(request, f"{connection.name} is removed.")
        return go(request, reverse("connection_list"))
    question = Question(
        title=f"Remove {connection.name}",
        text="It has never listed anything, so nothing else is lost. The audit trail keeps that it was here.",
        form=Form(),
        submit="Remove it",
        back=reverse("connection_detail", args=[pk]),
    )
    return ask(request, question)


def _when(connection: Connection) -> str:
    """Ring the worker's bell. When the broker does not answer, the sweep finds the due row by itself."""
    if connection.kind not in LISTINGS:
        return "takes what it is sent"
    try:
        ring(connection.pk, connection.kind)
    except NO_QUEUE:
        return "will start within 30 seconds: the message queue does not answer, but what is due is found without it"
    return "is read now"


@require_POST
@requires(Right.CONNECT)
def connection_sync(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor = request.actor  # type: ignore[attr-defined]
    connection = _visible(request, pk)
    if not connection.is_enabled:
        messages.warning(request, f"{connection.name} is switched off. Switch it on to read it.")
    elif connection.kind not in LISTINGS:
        messages.warning(request, f"{connection.name} is sent what it holds; there is nothing to look at.")
    else:
        request_sync(connection, actor=actor, now=timezone.now())
        messages.success(request, f"{connection.name} {_when(connection)}.")
    return go(request, reverse("connection_detail", args=[pk]))


@require_POST
@requires(Right.CONNECT)
def connection_enable(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor = request.actor  # type: ignore[attr-defined]
    connection = _visible(request, pk)
    is_enabled = request.POST.get("is_enabled") == "true"
    if is_enabled != connection.is_enabled:
        set_enabled(connection, is_enabled, actor=actor, now=timezone.now())
        if is_enabled:
            messages.success(request, f"{connection.name} is switched on and {_when(connection)}.")
        else:
            messages.success(request, f"{connection.name} is switched off. What was found stays.")
    return go(request, reverse("connection_detail", args=[pk]))
