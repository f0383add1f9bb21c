"""Pages that no app owns alone: the overview, and finding anything by name."""

import logging
import secrets
from collections.abc import Callable
from datetime import timedelta
from operator import attrgetter
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseServerError
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from access.actors import Actor
from access.models import SavedView
from access.permissions import requires, requires_reader
from access.rights import Right
from audit.models import AuditEntry
from config import overview as parts
from config.actions import forget_view, save_view
from config.forms import SavedViewForm
from config.refusals import without_database
from inventory.models import (
    AuthorizationServer,
    Connection,
    Credential,
    Exposure,
    McpClient,
    McpServer,
    Owner,
    SyncRun,
    Tool,
)
from inventory.views.authorization_servers import role_of
from lifecycle.models.breakdowns import DAYS_AHEAD
from lifecycle.views.timeline import from_audit
from web.pages import render_page_or_fragment

logger = logging.getLogger(__name__)

FOUND = 6  # results of each kind in the palette
QUIET = (
    "connection.synced",
    "findings.evaluated",
    "chain_head.signed",
    "chain.verified",
    "user.signed_in",
    "user.signed_out",
)


@require_GET
@requires_reader
def overview(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    snapshots = parts.recent(actor, now)
    figures, overdue, operations = parts.figures(actor, now, snapshots)
    if not any(figure.value for figure in figures) and not parts.has_estate():
        return render(request, "overview_empty.html", {"runs": last_runs(), "now": now})
    job, evaluated_at = parts.evaluation()
    facts, counted_at = parts.facts(
        actor, now, is_large=any(figure.value.more for figure in figures), snapshots=snapshots
    )
    heat_rows = parts.heat(facts["findings_by_age"], now)
    exposures = Exposure.objects.visible_to(actor).present().select_related("credential").order_by("-id")[:6]
    upcoming = parts.upcoming(facts["due_by_day"], now)
    changes = AuditEntry.objects.visible_to(actor).exclude(event__in=QUIET)[:8]
    return render(
        request,
        "overview.html",
        {
            "figures": figures,
            "counted_at": counted_at,
            "queue": parts.queue(actor, now),
            "operations": operations,
            "lede": parts.lede(heat_rows, overdue),
            "heat_rows": heat_rows,
            "is_late": any(cell["is_late"] for row in heat_rows for cell in row["cells"]),
            "heat_ages": parts.AGES,
            "upcoming": upcoming,
            "due": parts.due_in_all(upcoming),
            "due_until": now + timedelta(days=DAYS_AHEAD),
            "rotations": parts.rotations(facts["rotation_by_kind"]),
            "exposures": sorted(exposures, key=lambda exposure: -exposure.credential.risk),
            "changes": list(from_audit(list(changes), with_subject=True)),
            "posture": snapshots[-1] if snapshots else None,
            "evaluation": job,
            "evaluated_at": evaluated_at,
            "now": now,
        },
    )


def last_runs() -> list[tuple[Connection, SyncRun | None]]:
    """Each connection with its last run: where a machine without configuration was looked at."""
    connections = list(Connection.objects.order_by("name")[:10])
    runs = {run.connection_id: run for run in SyncRun.objects.filter(connection__in=connections).order_by("id")}
    return [(connection, runs.get(connection.pk)) for connection in connections]


@require_GET
@requires_reader
def search(request: HttpRequest) -> HttpResponse:
    """Everything called like `q`, a few of each kind. The palette asks for the fragment."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    text = request.GET.get("q", "").replace("\x00", "").strip()[:200]  # which no text of a database holds
    groups = []
    if text:
        nouns: list[tuple[str, str, str, str, Any, Callable[[Any], str]]] = [
            ("Credentials", "key", "credential_detail", "credential_list", Credential.objects, known_by),
            ("Servers", "server", "server_detail", "server_list", McpServer.objects, run_as),
            ("Tools", "settings", "server_detail", "", Tool.objects.present().select_related("server"), on_server),
            ("Clients", "client", "client_detail", "client_list", McpClient.objects, told_apart_by),
            (
                "Authorization servers",
                "lock",
                "authorization_server_detail",
                "authorization_server_list",
                AuthorizationServer.objects,
                role_of,
            ),
            ("Owners", "person", "owner_detail", "owner_list", Owner.objects, attrgetter("email")),
        ]
        for label, icon, detail, listing, manager, note in nouns:
            rows = list(manager.visible_to(actor).matching(text)[: FOUND + 1])
            if rows:
                groups.append(
                    {
                        "label": label,
                        "icon": icon,
                        "rows": [
                            {"url": page_of(row, detail), "text": named(row), "note": note(row)} for row in rows[:FOUND]
                        ],
                        "more": f"{reverse(listing)}?{urlencode({'q': text})}" if listing and len(rows) > FOUND else "",
                    }
                )
    return render_page_or_fragment(request, "search.html", "_search_results.html", {"q": text, "groups": groups})


def page_of(row: Any, detail: str) -> str:
    """Where a row is shown. A tool has no page of its own: it stands on that of its server."""
    return f"{reverse(detail, args=[row.server_id])}#tools" if isinstance(row, Tool) else reverse(detail, args=[row.pk])


def named(row: Any) -> str:
    return row.name if isinstance(row, Tool) else str(row)


def on_server(tool: Tool) -> str:
    return f"on {tool.server.name}"


def known_by(credential: Credential) -> str:
    return credential.hint or credential.reference


def told_apart_by(client: McpClient) -> str:
    """What tells clients of one name apart: where it runs, or under which id it is registered."""
    return client.host or client.client_id


def run_as(server: McpServer) -> str:
    """What tells servers of one name apart."""
    version = f"@{server.package_version}" if server.package and server.package_version else ""
    return server.url or f"{server.package}{version}" or server.command


@require_POST
@requires(Right.PREFER)
def view_save(request: HttpRequest) -> HttpResponse:
    """Keep how a list is narrowed and sorted under a name of one's own."""
    form = SavedViewForm(request.POST)
    if not form.is_valid():
        messages.error(request, str(next(iter(form.errors.values()))[0]))
        path = str(form.data.get("path", ""))
        return redirect(path if form.is_list(path) else "overview")
    given = form.cleaned_data
    view = save_view(request.user, **given, actor=request.actor)  # type: ignore[arg-type, attr-defined]
    messages.success(request, f"You saved this view as “{view.label}”.")
    return redirect(f"{view.path}?{view.query}")


@require_POST
@requires(Right.PREFER)
def view_forget(request: HttpRequest, pk: int) -> HttpResponse:
    view = get_object_or_404(SavedView.objects.select_related("user"), pk=pk, user=request.user)
    forget_view(view, actor=request.actor)  # type: ignore[attr-defined]
    messages.success(request, f"The view “{view.label}” is gone; the list is not.")
    return redirect(view.path)


def not_offered(request: HttpRequest, **_: Any) -> HttpResponse:
    """What the packages for signing in have, and a closed installation has not."""
    raise Http404


def broken(request: HttpRequest) -> HttpResponse:
    """The page of an unforeseen error. The reference stands in the log beside the traceback, never on the page."""
    if (answer := without_database(request)) is not None:
        return answer
    reference = secrets.token_hex(4)
    logger.error("unforeseen error, reference %s, %s", reference, request.path)
    return HttpResponseServerError(render_to_string("500.html", {"reference": reference}))
