"""Grants: the matrix of clients and servers, the list, and one pair with its three scopes side by side."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from uuid import UUID

from django.db.models import Exists, F, Func, IntegerField, OuterRef, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from access.actors import Actor
from access.permissions import requires_reader
from access.rights import Right
from history.past import now as clock
from inventory.filters import GrantPageFilter, MatrixFilter
from inventory.models import Credential, Grant, McpClient, McpServer, Tool, Use
from inventory.models.reach import Cell, cells
from inventory.scopes import Granted, Named, Offered, Scopes, of_scopes, of_tools
from inventory.states import ENDED, GrantState, Mismatch, Reach, Registration
from inventory.views.counts import CappedCount
from inventory.views.histories import history_of
from inventory.views.tools import rows_of
from web.lists import Bulk, Column, Empty, Listing, ListPage, View
from web.pages import render_page_or_fragment
from web.paging import Ordering
from web.past import answers_past

CLIENTS_AT_ONCE = 30
SERVERS_AT_ONCE = 20
PATHS = 50  # credentials of one pair that are compared
HISTORY = 20

# A shape and a word for each state, so that the matrix reads without colour.
SHAPES = {
    Reach.EXCEEDS: "g-over",
    Reach.NONE: "g-none",
    Reach.ENDED: "clock",
    Reach.DRAFT: "g-draft",
    Reach.UNKNOWN: "unknown",
    Reach.APPROVED: "g-used",
    Reach.UNUSED: "g-unused",
}
TROUBLE = (Reach.EXCEEDS, Reach.NONE, Reach.ENDED)


@dataclass(frozen=True)
class Shown:
    """One cell of the matrix as it is drawn."""

    url: str
    icon: str
    label: str
    is_trouble: bool


# ── The matrix ─────────────────────────────────────────────────────────────────────────────────

MATRIX = ListPage(
    name="grants",
    title="Grants",
    noun="client",
    columns=(Column("name", "Client"),),
    orderings=(Ordering("name", ("name",), False, "by name", "by name, backwards"),),
    filterset=MatrixFilter,
    views=(
        View("Everything", is_counted=False),
        View("Beyond the grant", "reach=exceeds", is_counted=False),
        View("Without a grant", "reach=none&reach=ended", is_counted=False),
        View("Drafts", "reach=draft", is_counted=False),
    ),
    empty=Empty(
        "Nobody reaches anything yet",
        "A grant says what one client may use on one server. It is drafted from what configuration and sessions show.",
        "/connections/",
        "Open connections",
    ),
    size=CLIENTS_AT_ONCE,
    template="inventory/grant_matrix.html",
    fragment="inventory/_grant_matrix.html",
)


@require_safe
@requires_reader
@answers_past
def grant_matrix(request: HttpRequest) -> HttpResponseBase:
    """Clients down, the servers that they reach across; a few of each at a time."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = clock()
    listing = Listing(MATRIX, request, reaching(actor, in_some_state="reach" in request.GET))
    found = _cells(actor, [client.pk for client in listing.rows], now)
    servers, after = _columns(request, {cell.server_id for cell in found})
    shown = _drawn(found, {client.pk: client for client in listing.rows}, {server.pk: server for server in servers})
    context = {
        "list": listing,
        "servers": servers,
        "after": after,
        "has_earlier": "servers" in request.GET,
        "rows": [(client, [shown.get((client.pk, server.pk)) for server in servers]) for client in listing.rows],
        "servers_first_url": _at(request, ""),
        "servers_next_url": _at(request, after),
        "legend": [(SHAPES[state], state.label, state in TROUBLE) for state in Reach],
        "may_draft": actor.may(Right.GRANT),
        "has_drafts": Grant.objects.approvable_by(actor).current().filter(approved_at=None).exists(),
        "now": now,
    }
    return render_page_or_fragment(
        request, MATRIX.template, MATRIX.fragment, context, status=400 if listing.faults else 200
    )


def _at(request: HttpRequest, servers: str) -> str:
    """The same part of the list with other servers across."""
    params = request.GET.copy()
    params.pop("servers", None)
    if servers:
        params["servers"] = servers
    query = params.urlencode()
    return f"{request.path}?{query}" if query else request.path


def reaching(actor: Actor, *, in_some_state: bool = False) -> QuerySet[McpClient]:
    """Clients with a pair that the actor may see: their own, or one with a server of theirs.

    Whoever asks for a state of the pair (`in_some_state`) narrows to clients that have one anyway. Otherwise those that
    reach anything: to ask for grants as well would have the database gather every use before it gives the first rows.
    """
    uses = Use.objects.present().filter(client=OuterRef("pk"))
    clients = McpClient.objects.present()
    if actor.sees_everything:
        return clients if in_some_state else clients.filter(Exists(uses))
    grants = Grant.objects.current().filter(client=OuterRef("pk"))
    mine = McpServer.objects.visible_to(actor).values("pk")
    own = Q(pk__in=McpClient.objects.visible_to(actor).values("pk")) & (Exists(uses) | Exists(grants))
    return clients.filter(own | Exists(uses.filter(server__in=mine)) | Exists(grants.filter(server__in=mine)))


def _cells(actor: Actor, clients: Sequence[UUID], now: datetime) -> list[Cell]:
    found = cells(now, clients=clients)
    if actor.sees_everything:
        return found
    own = set(McpClient.objects.visible_to(actor).filter(pk__in=clients).values_list("pk", flat=True))
    servers = {cell.server_id for cell in found}
    mine = set(McpServer.objects.visible_to(actor).filter(pk__in=servers).values_list("pk", flat=True))
    return [cell for cell in found if cell.client_id in own or cell.server_id in mine]


def _columns(request: HttpRequest, named: set[UUID]) -> tuple[list[McpServer], str]:
    """The servers across, those with this name or a part of it where one is given, and where the next ones begin."""
    servers = McpServer.objects.filter(pk__in=named)
    asked = request.GET.get("server", "")
    if asked:
        servers = servers.filter(pk=asked) if _is_id(asked) else servers.none()
    begin = request.GET.get("servers", "0")
    start = int(begin) if begin.isdecimal() and len(begin) < 6 else 0
    rows = list(servers.order_by("name", "pk")[start : start + SERVERS_AT_ONCE + 1])
    if not rows and start:
        return _first(servers)
    return rows[:SERVERS_AT_ONCE], str(start + SERVERS_AT_ONCE) if len(rows) > SERVERS_AT_ONCE else ""


def _first(servers: QuerySet[McpServer]) -> tuple[list[McpServer], str]:
    rows = list(servers.order_by("name", "pk")[: SERVERS_AT_ONCE + 1])
    return rows[:SERVERS_AT_ONCE], str(SERVERS_AT_ONCE) if len(rows) > SERVERS_AT_ONCE else ""


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _drawn(
    found: Sequence[Cell], clients: Mapping[UUID, McpClient], servers: Mapping[UUID, McpServer]
) -> dict[tuple[UUID, UUID], Shown]:
    return {
        (cell.client_id, cell.server_id): Shown(
            url=reverse("grant_pair", args=[cell.client_id, cell.server_id]),
            icon=SHAPES[cell.state],
            label=f"{clients[cell.client_id].name} on {servers[cell.server_id].name}: {in_words(cell)}",
            is_trouble=cell.state in TROUBLE,
        )
        for cell in found
        if cell.server_id in servers
    }


def in_words(cell: Cell) -> str:
    """The state of a pair and what makes it so."""
    parts = []
    if cell.state is Reach.EXCEEDS:
        if cell.ungranted:
            parts.append(f"{cell.ungranted} of {cell.tools} tools beyond the grant")
        if cell.changed:
            parts.append(f"{cell.changed} changed after approval")
        if cell.scopes_beyond:
            parts.append(f"carries {', '.join(cell.scopes_beyond[:3])}")
    elif cell.state in {Reach.NONE, Reach.DRAFT, Reach.ENDED}:
        if not cell.are_tools_known:
            parts.append("its tools are unknown")
        elif cell.tools:
            parts.append(f"{cell.tools} tools reachable")
        if cell.destructive:
            parts.append(f"{cell.destructive} of them destructive")
    words = cell.state.label.lower()
    return f"{words}: {', '.join(parts)}" if parts else words


# ── The list ───────────────────────────────────────────────────────────────────────────────────

GRANTS = ListPage(
    name="grant-list",
    title="Grants as a list",
    noun="grant",
    columns=(
        Column("pair", "Client on server", value=str),
        Column("state", "State", value=lambda grant: GrantState(grant.state).label),
        Column("tools", "Tools", value=lambda grant: len(grant.tools), priority=2, is_numeric=True),
        Column("beyond", "Not in it", value=attrgetter("ungranted"), priority=3, is_numeric=True),
        Column("scopes", "Scopes", value=lambda grant: " ".join(grant.scopes), priority=3),
        Column("drafted", "Drafted", value=attrgetter("drafted_at"), sort="drafted", priority=3),
        Column("approved", "Approved by", value=attrgetter("approved_by"), priority=2),
        Column("ends", "Ends", value=attrgetter("ends_at"), priority=2),
    ),
    orderings=(Ordering("drafted", (), True, "oldest draft first", "newest first"),),
    filterset=GrantPageFilter,
    row_template="inventory/_grant_row.html",
    row_css=lambda grant: "ended" if grant.state == GrantState.WITHDRAWN else "",
    views=(
        View("Current", is_counted=False),
        View("Drafts", "state=draft"),
        View("In force", "state=approved"),
        View("Ended", "state=ended"),
        View("Withdrawn", "state=withdrawn"),
    ),
    empty=Empty(
        "No grants yet",
        "Draft them from what is observed: one for each client and server, with the tools that are listed and the "
        "scopes that are carried today.",
        "/grants/draft/",
        "Draft from what is observed",
    ),
    template="inventory/grant_list.html",
)


@require_safe
@requires_reader
@answers_past
def grant_list(request: HttpRequest) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = clock()
    bulk = []
    if actor.may(Right.GRANT):
        bulk.append(Bulk("Approve…", reverse("grant_approve"), icon="check", tone="primary"))
        bulk.append(Bulk("Withdraw…", reverse("grant_withdraw"), tone="danger"))
    beyond = (
        Tool.objects.present()
        .filter(server=OuterRef("server"))
        .annotate(place=Func(OuterRef("tools"), F("name"), function="array_position", output_field=IntegerField()))
        .filter(place__isnull=True)
    )
    rows = (
        Grant.objects.visible_to(actor)
        .with_state(now)
        .select_related("client", "server")
        .annotate(ungranted=CappedCount(beyond))
    )
    return GRANTS.respond(request, rows, bulk=bulk, context={"now": now})


# ── One pair ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class PathScopes:
    """The three scopes of one credential path, and how they differ."""

    credential: Credential | None
    is_foreign: bool
    asked: list[str] | None
    carried: list[str] | None
    registered: list[str] | None
    mismatches: list[Named]
    places: int
    is_disabled: bool


@require_safe
@requires_reader
@answers_past
def grant_pair(request: HttpRequest, client_id: UUID, server_id: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = clock()
    client, server = pair(actor, client_id, server_id)
    grant = Grant.objects.current().filter(client=client, server=server).first()
    uses = list(
        Use.objects.present()
        .filter(client=client, server=server)
        .select_related("credential")
        .order_by("credential__name", "pk")[:500]
    )
    if grant is None and not uses:
        raise Http404
    tools = rows_of(server)
    granted = granted_of(grant, now)
    offered = [Offered(row.tool.name, row.tool.is_destructive, row.tool.is_changed) for row in tools]
    are_known = server.tools_listed_at is not None and not server.tools_error
    of_the_tools = list(of_tools(granted, offered if are_known or offered else None, why_unknown=why_unknown(server)))
    if not uses:  # nothing can be done with it today
        of_the_tools = [each for each in of_the_tools if each.kind is Mismatch.TOOL_NOT_OFFERED]
    elif offered and not are_known:
        said = f"The tools below may not be all. {why_unknown(server)}"
        of_the_tools.append(Named(Mismatch.TOOLS_UNKNOWN, said))
    paths = _paths(actor, client, server, uses, granted)
    found = cells(now, clients=[client.pk], servers=[server.pk])
    own_grants = Grant.objects.filter(pk=grant.pk) if grant else Grant.objects.none()
    context = {
        "client": client,
        "server": server,
        "grant": grant,
        "state": found[0].state if found else Reach.NONE,
        "state_icon": SHAPES[found[0].state] if found else "",
        "is_trouble": bool(found) and found[0].state in TROUBLE,
        "grant_state": granted.state,
        "tools": [(row, row.tool.name in granted.tools) for row in tools],
        "are_tools_known": are_known,
        "not_offered": sorted(granted.tools - {row.tool.name for row in tools}),
        "paths": paths,
        "more_paths": max(len(_by_credential(uses)) - PATHS, 0),
        "mismatches": of_the_tools,
        "troubles": sum(not each.is_idle and not each.is_unknown for each in _all(of_the_tools, paths)),
        "uses": uses,
        "opens_client": actor.sees_everything or McpClient.objects.visible_to(actor).filter(pk=client.pk).exists(),
        "opens_server": actor.sees_everything or McpServer.objects.visible_to(actor).filter(pk=server.pk).exists(),
        "may_approve": own_grants.approvable_by(actor).exists(),
        "may_change": own_grants.changeable_by(actor).exists(),
        "may_draft": actor.may(Right.GRANT),
        "history": history_of(grant, actor)[:HISTORY] if grant else [],
        "now": now,
    }
    return render(request, "inventory/grant_pair.html", context)


def pair(actor: Actor, client_id: UUID, server_id: UUID) -> tuple[McpClient, McpServer]:
    """A client and a server of which the actor may see one at least: what is theirs is about both."""
    client = get_object_or_404(McpClient.objects.select_related("authorization_server", "owner"), pk=client_id)
    server = get_object_or_404(McpServer.objects.select_related("authorization_server"), pk=server_id)
    if not actor.sees_everything:
        sees_client = McpClient.objects.visible_to(actor).filter(pk=client_id).exists()
        if not sees_client and not McpServer.objects.visible_to(actor).filter(pk=server_id).exists():
            raise Http404
    return client, server


def granted_of(grant: Grant | None, now: datetime) -> Granted:
    if grant is None:
        return Granted(state=None)
    return Granted(state=grant.state_at(now), tools=frozenset(grant.tools), scopes=frozenset(grant.scopes))


def why_unknown(server: McpServer) -> str:
    if server.tools_error:
        return server.tools_error
    if server.probe_error:
        return server.probe_error
    return "Nobody has asked the live server." if server.tools_listed_at is None else ""


def _all(mismatches: Sequence[Named], paths: Sequence[PathScopes]) -> list[Named]:
    return [*mismatches, *(each for path in paths for each in path.mismatches)]


def _by_credential(uses: Sequence[Use]) -> dict[UUID | None, list[Use]]:
    grouped: dict[UUID | None, list[Use]] = defaultdict(list)
    for use in uses:
        grouped[use.credential_id].append(use)
    return grouped


def _paths(
    actor: Actor, client: McpClient, server: McpServer, uses: Sequence[Use], granted: Granted
) -> list[PathScopes]:
    """Each credential with which the client reaches the server. Of a foreign one an owner reads no more than that."""
    grouped = dict(list(_by_credential(uses).items())[:PATHS])
    known = {key for key in grouped if key is not None}
    if not actor.sees_everything:
        known = set(Credential.objects.visible_to(actor).filter(pk__in=known).values_list("pk", flat=True))
    asked = frozenset(server.scopes) if server.scopes or server.probed_at else None
    registered = frozenset(client.scopes) if client.scopes and client.registration != Registration.CONFIG_FILE else None
    paths = []
    for key, places in grouped.items():
        credential = places[0].credential
        is_foreign = key is not None and key not in known
        is_alive = credential is None or credential.status not in ENDED
        carried = frozenset(credential.scopes) if credential and credential.scopes and not is_foreign else None
        mismatches: list[Named] = []
        if credential is not None and not is_foreign and is_alive:
            mismatches = list(of_scopes(granted, asked=asked, carried=carried, registered=registered))
        paths.append(
            PathScopes(
                credential=None if is_foreign else credential,
                is_foreign=is_foreign,
                asked=_sorted(asked),
                carried=_sorted(carried),
                registered=_sorted(registered),
                mismatches=mismatches,
                places=len(places),
                is_disabled=all(use.is_disabled for use in places),
            )
        )
    return paths


def _sorted(scopes: Scopes) -> list[str] | None:
    return None if scopes is None else sorted(scopes)
