"""The list of MCP servers. Their own page belongs to lifecycle, which knows their findings."""

from operator import attrgetter
from typing import Any

from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import JSONObject
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_safe

from access.permissions import requires_reader
from access.rights import Right
from access.roles import Role
from inventory.filters import McpServerFilter
from inventory.models import McpServer, PostureCheck, Use
from inventory.states import ServerRole, Verdict
from inventory.views.counts import CappedCount
from inventory.views.presence import PresentUnlessAsked, seen_at, suited
from web.lists import Bulk, Column, Empty, ListPage, View
from web.paging import Ordering
from web.past import answers_past


class ServersOnPage(PresentUnlessAsked, McpServerFilter):
    pass


def posture_in_words(server: Any) -> str:
    """`4 violated, 3 unknown, 7 met`, without what there is none of; empty for a server that was never judged."""
    counts = server.posture or {}
    return ", ".join(f"{counts[name]} {name}" for name in ("violated", "unknown", "met") if counts.get(name))


SERVERS = ListPage(
    name="servers",
    title="Servers",
    noun="server",
    columns=(
        Column("name", "Server", value=attrgetter("name"), sort="name"),
        Column("transport", "Transport", value=lambda server: server.get_transport_display(), priority=3),
        Column("authentication", "Asks for", value=attrgetter("authentication"), priority=3),
        Column("posture", "Posture", value=posture_in_words, priority=2),
        Column("environment", "Environment", value=attrgetter("environment"), priority=2),
        Column("role", "Role", value=lambda server: server.get_role_display(), priority=4),
        Column("owners", "Owners", priority=2),
        Column("clients", "Clients", value=attrgetter("client_count"), priority=4, is_numeric=True),
        Column("risk", "Risk", value=lambda server: server.get_risk_display(), sort="risk"),
        Column("first_seen", "First seen", value=attrgetter("first_seen_at"), sort="seen", is_shown=False, priority=3),
        Column("seen", "Seen", value=seen_at, priority=3, is_numeric=True),
    ),
    orderings=(
        Ordering("risk", ("risk",), True, "least at risk first", "most severe first"),
        Ordering("name", ("name",), False, "by name", "by name, backwards"),
        Ordering("seen", (), True, "first seen first", "newest first"),
    ),
    filterset=ServersOnPage,
    row_template="inventory/_server_row.html",
    template="inventory/server_list.html",
    row_css=lambda server: "ended" if server.gone_at else "",
    views=(
        View("Present", is_counted=False),
        View("An owner missing", "has_owners=false"),
        View("Unclassified", "role=unclassified"),
        View("Anonymous", "authentication=anonymous"),
        View("Posture violated", "posture=violated", is_counted=False),
        View("Floating version", "is_pinned=false"),
        View("Gone", "gone=true"),
    ),
    empty=Empty(
        "No servers yet",
        "Keyreeve looks for MCP servers in the client configuration of this machine and in the folders it was shown. "
        "To show it another one now: manage.py sync --add PATH.",
        "/connections/new/",
        "Add a connection",
    ),
    csv=(
        ("id", attrgetter("pk")),
        ("name", attrgetter("name")),
        ("transport", attrgetter("transport")),
        ("url", attrgetter("url")),
        ("package", attrgetter("package")),
        ("package_version", attrgetter("package_version")),
        ("is_pinned", attrgetter("is_pinned")),
        ("environment", attrgetter("environment")),
        ("role", attrgetter("role")),
        ("authentication", attrgetter("authentication")),
        ("posture", posture_in_words),
        ("probed_at", attrgetter("probed_at")),
        ("iam_owner", attrgetter("iam_owner")),
        ("platform_owner", attrgetter("platform_owner")),
        ("application_owner", attrgetter("application_owner")),
        ("clients", attrgetter("client_count")),
        ("risk", lambda server: server.get_risk_display()),
        ("open_findings", attrgetter("open_findings")),
        ("first_seen_at", attrgetter("first_seen_at")),
        ("gone_at", attrgetter("gone_at")),
    ),
)


VERDICTS_OF_ONE = (
    PostureCheck.objects.filter(server=OuterRef("pk"))
    .order_by()
    .values("server")
    .annotate(
        said=JSONObject(
            violated=Count("pk", filter=Q(verdict=Verdict.VIOLATED)),
            unknown=Count("pk", filter=Q(verdict=Verdict.UNKNOWN)),
            met=Count("pk", filter=Q(verdict=Verdict.MET)),
            worst=Max("severity", filter=Q(verdict=Verdict.VIOLATED)),
        )
    )
    .values("said")
)


def listed(servers: QuerySet[McpServer]) -> QuerySet[Any]:
    uses = Use.objects.present().filter(server=OuterRef("pk"))
    return servers.select_related(
        "connection", "environment", "iam_owner", "platform_owner", "application_owner"
    ).annotate(client_count=CappedCount(uses, "client"), posture=Subquery(VERDICTS_OF_ONE))


@require_safe
@requires_reader
@answers_past
def server_list(request: HttpRequest) -> HttpResponseBase:
    actor = request.actor  # type: ignore[attr-defined]
    bulk = []
    if actor.may(Right.ASSIGN_OWNER):
        bulk.append(Bulk("Assign owner…", reverse("server_assign_owner"), icon="person", key="o", tone="primary"))
    if actor.may(Right.CLASSIFY):
        bulk.append(Bulk("Set environment…", reverse("server_assign_environment")))
        bulk.append(Bulk("Classify…", reverse("server_classify")))
    return suited(SERVERS, actor, Role.OPERATOR).respond(
        request,
        listed(McpServer.objects.visible_to(actor)),
        bulk=bulk,
        context={"may_connect": actor.may(Right.CONNECT), "unclassified": ServerRole.UNCLASSIFIED},
    )
