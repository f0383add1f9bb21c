"""Connections: where Keyreeve looks, how the last look went, and looking again."""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Func, IntegerField, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from kombu.exceptions import OperationalError
from psycopg.errors import InvalidSchemaName

from access.permissions import requires, requires_reader
from access.roles import Role
from audit.models import AuditEntry
from inventory.actions.connections import create_connection, request_sync, set_enabled
from inventory.filters import ConnectionFilter
from inventory.forms import ConnectionForm
from inventory.models import Connection, SyncRun
from inventory.states import ConnectionKind, RunState
from inventory.tasks import sync_connection
from inventory.views.presence import suited
from inventory.views.questions import Question, ask, go, is_decided, way_back
from web.lists import Column, Empty, ListPage, View
from web.pages import render_page_or_fragment
from web.paging import Ordering

# The broker is away, or the queues in the database were never installed.
NO_QUEUE = (OperationalError, InvalidSchemaName)

RUNS = 10
READ_ALL = (RunState.COMPLETE, RunState.PARTIAL)
HISTORY = 20

# What of a connection's settings is shown, and how it is called. Anything else is named without its value.
SHOWN_SETTINGS = {
    "paths": "Paths",
    "host": "Host label",
    "url": "Address",
    "issuer": "Issuer",
    "account": "Account",
    "region": "Region",
    "database": "Database",
}


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
        "A connection is one place to look: a folder, a repository or this machine's own client configuration. "
        "From the command line: manage.py sync reads this machine, manage.py sync --add PATH another place.",
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


def changes(counts: dict[str, int] | None) -> str:
    """`3 credentials added, 1 server gone`; nothing where nothing changed."""
    parts = []
    for name, count in sorted((counts or {}).items()):
        noun, _, verb = name.rpartition("_")
        words = noun.replace("_", " ")
        parts.append(f"{count} {words[:-1] if count == 1 and words.endswith('s') else words} {verb}")
    return ", ".join(parts)


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
    context = {"now": timezone.now(), "may_change": actor.has(Role.OPERATOR), "sees_everything": actor.sees_everything}
    return suited(CONNECTIONS, actor, Role.OPERATOR).respond(request, listed(visible), context=context)


@require_safe
@requires_reader
def connection_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The page; the fragment is its runs, which ask for themselves anew while a sync is under way."""
    actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    connections = Connection.objects.visible_to(actor).select_related("environment")
    connection = get_object_or_404(connections, pk=pk)
    runs = list(SyncRun.objects.filter(connection=connection).order_by("-id")[:RUNS])
    context = {
        "connection": connection,
        "now": now,
        "runs": [(run, changes(run.counts)) for run in runs],
        "latest": runs[0] if runs else None,
        "progress": progress(connection, runs, now),
        "may_change": actor.has(Role.OPERATOR),
    }
    if not request.htmx:  # type: ignore[attr-defined]
        known, others = _settings(connection)
        context |= {
            "settings": known,
            "other_settings": others,
            "history": list(AuditEntry.objects.visible_to(actor).about(connection)[:HISTORY]),
        }
    return render_page_or_fragment(
        request, "inventory/connection_detail.html", "inventory/_connection_runs.html", context
    )


def progress(connection: Connection, runs: Sequence[SyncRun], now: datetime) -> dict[str, Any] | None:
    """How far a sync is that is under way or waits for a worker; None when there is none to watch.

    How many files there are is known at the end only, so the bar measures against what was read the last time.
    """
    running = next((run for run in runs if run.state == RunState.RUNNING), None)
    if running is not None:
        is_held = connection.lease_until is not None and connection.lease_until > now
        before = next((run.done for run in runs if run.state in READ_ALL and run.done), 0)
        expected = max(before, running.done) if before else None
        return {"state": "running" if is_held else "lost", "done": running.done, "expected": expected}
    if connection.is_enabled and connection.due_at and connection.due_at <= now:
        return {"state": "waiting", "done": 0, "expected": None}
    return None


def _settings(connection: Connection) -> tuple[list[tuple[str, list[str]]], list[str]]:
    known: list[tuple[str, list[str]]] = []
    others = []
    for name, value in connection.settings.items():
        if name == "this_machine":
            if value:
                known.append(("Looks at", ["the client configuration of this machine"]))
        elif name in SHOWN_SETTINGS and value:
            known.append(
                (SHOWN_SETTINGS[name], [str(each) for each in (value if isinstance(value, list) else [value])])
            )
        elif value:
            others.append(name.replace("_", " "))
    return known, others


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Role.OPERATOR)
def connection_create(request: HttpRequest) -> HttpResponse:
    form = ConnectionForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        given = form.cleaned_data
        connection = create_connection(
            kind=ConnectionKind.MCP_CONFIG,
            name=given["name"],
            settings={"paths": [given["path"]], "host": given["host"]},
            environment=given["environment"],
            interval=given["interval"],
            actor=request.actor,  # type: ignore[attr-defined]
            now=timezone.now(),
        )
        messages.success(request, f"{connection.name} {_when(connection)}.")
        return go(request, reverse("connection_detail", args=[connection.pk]))
    question = Question(
        title="Add a connection",
        text="Keyreeve reads the MCP client configuration it finds there: which servers are named, and which "
        "credentials stand in clear or are referred to. It changes nothing, and keeps no secret.",
        form=form,
        submit="Add and read it",
        back=way_back(request, reverse("connection_list")),
    )
    return ask(request, question)


def _when(connection: Connection) -> str:
    """Ring the worker's bell. When the broker does not answer, the sweep finds the due row by itself."""
    try:
        sync_connection.delay(str(connection.pk))
    except NO_QUEUE:
        return "will start within 30 seconds: the message queue does not answer, but what is due is found without it"
    return "is read now"


@require_POST
@requires(Role.OPERATOR)
def connection_sync(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor = request.actor  # type: ignore[attr-defined]
    connection = get_object_or_404(Connection.objects.visible_to(actor), pk=pk)
    if not connection.is_enabled:
        messages.warning(request, f"{connection.name} is switched off. Switch it on to read it.")
    else:
        request_sync(connection, actor=actor, now=timezone.now())
        messages.success(request, f"{connection.name} {_when(connection)}.")
    return go(request, reverse("connection_detail", args=[pk]))


@require_POST
@requires(Role.OPERATOR)
def connection_enable(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor = request.actor  # type: ignore[attr-defined]
    connection = get_object_or_404(Connection.objects.visible_to(actor), pk=pk)
    is_enabled = request.POST.get("is_enabled") == "true"
    if is_enabled != connection.is_enabled:
        set_enabled(connection, is_enabled, actor=actor, now=timezone.now())
        if is_enabled:
            messages.success(request, f"{connection.name} is switched on and {_when(connection)}.")
        else:
            messages.success(request, f"{connection.name} is switched off. What was found stays.")
    return go(request, reverse("connection_detail", args=[pk]))
