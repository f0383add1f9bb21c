"""The list of MCP clients; the page of one of them is the lifecycle's, which knows its findings."""

from operator import attrgetter
from typing import Any

from django.db.models import OuterRef, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_safe

from access.permissions import requires_reader
from access.rights import Right
from access.roles import Role
from inventory.filters import McpClientFilter
from inventory.models import McpClient, Use
from inventory.states import Admission
from inventory.views.counts import CappedCount
from inventory.views.presence import PresentUnlessAsked, seen_at, suited
from web.lists import Bulk, Column, Empty, ListPage, View
from web.paging import Ordering
from web.past import answers_past


class ClientsOnPage(PresentUnlessAsked, McpClientFilter):
    pass


CLIENTS = ListPage(
    name="clients",
    title="Clients",
    noun="client",
    columns=(
        Column("name", "Client", value=attrgetter("name"), sort="name"),
        Column("host", "Host", value=attrgetter("host"), priority=3),
        Column("servers", "Servers", value=attrgetter("server_count"), priority=2, is_numeric=True),
        Column("credentials", "Credentials", value=attrgetter("credential_count"), priority=2, is_numeric=True),
        Column("owner", "Owner", value=attrgetter("owner"), priority=2),
        Column("registration", "Registration", value=lambda client: client.get_registration_display(), is_shown=False),
        Column("risk", "Risk", value=lambda client: client.get_risk_display(), sort="risk"),
        Column("admission", "Admission", value=lambda client: client.get_admission_display(), priority=3),
        Column("hygiene", "Hygiene", value=lambda client: client.get_hygiene_display(), is_shown=False, priority=3),
        Column("first_seen", "First seen", value=attrgetter("first_seen_at"), sort="seen", is_shown=False, priority=3),
        Column("seen", "Seen", value=seen_at, priority=3, is_numeric=True),
    ),
    orderings=(
        Ordering("name", ("name",), False, "by name", "by name, backwards"),
        Ordering("risk", ("risk",), True, "least at risk first", "most severe first"),
        Ordering("seen", (), True, "first seen first", "newest first"),
    ),
    filterset=ClientsOnPage,
    row_template="inventory/_client_row.html",
    row_css=lambda client: "ended" if client.gone_at else "",
    views=(
        View("Present", is_counted=False),
        View("Without an owner", "has_owner=false"),
        View("Quarantined", "admission=quarantined"),
        View("Duplicate or dead", "hygiene=duplicate&hygiene=dead"),
        View("Gone", "gone=true"),
    ),
    empty=Empty(
        "No clients yet",
        "A client is a program whose configuration names MCP servers, or one that registered at an authorization "
        "server. To show Keyreeve a folder now: manage.py sync --add PATH.",
        "/connections/new/",
        "Add a connection",
    ),
    csv=(
        ("id", attrgetter("pk")),
        ("name", attrgetter("name")),
        ("product", attrgetter("product")),
        ("host", attrgetter("host")),
        ("client_id", attrgetter("client_id")),
        ("registration", attrgetter("registration")),
        ("admission", attrgetter("admission")),
        ("hygiene", attrgetter("hygiene")),
        ("owner", attrgetter("owner")),
        ("servers", attrgetter("server_count")),
        ("credentials", attrgetter("credential_count")),
        ("risk", lambda client: client.get_risk_display()),
        ("open_findings", attrgetter("open_findings")),
        ("first_seen_at", attrgetter("first_seen_at")),
        ("gone_at", attrgetter("gone_at")),
    ),
)


def listed(clients: QuerySet[McpClient]) -> QuerySet[Any]:
    uses = Use.objects.present().filter(client=OuterRef("pk"))
    return clients.select_related("connection", "owner").annotate(
        server_count=CappedCount(uses, "server"),
        credential_count=CappedCount(uses.exclude(credential=None), "credential"),
    )


@require_safe
@requires_reader
@answers_past
def client_list(request: HttpRequest) -> HttpResponseBase:
    actor = request.actor  # type: ignore[attr-defined]
    bulk = []
    if actor.may(Right.ASSIGN_OWNER):
        bulk.append(Bulk("Assign owner…", reverse("client_assign_owner"), icon="person", key="o", tone="primary"))
    rows = listed(McpClient.objects.visible_to(actor))
    return suited(CLIENTS, actor, Role.OPERATOR).respond(
        request, rows, bulk=bulk, context={"admitted": Admission.ADMITTED}
    )
