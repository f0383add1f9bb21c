"""Authorization servers: what they publish, whom they know, how they answer the checklist, and what changed."""

import json
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import IntegerField, Max, OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.rights import Right
from access.roles import Role
from audit.models import AuditEntry
from inventory.actions.answers import ANSWERABLE, answer_check, answerable
from inventory.filters import AuthorizationServerFilter
from inventory.models import (
    AuthorizationServer,
    Connection,
    McpClient,
    McpServer,
    MetadataSnapshot,
    PostureCheck,
)
from inventory.posture.authorization_servers import CHECKS
from inventory.states import Admission, ConnectionKind, Registration, Verdict
from inventory.views.checklist import checklist
from inventory.views.counts import CappedCount
from inventory.views.presence import suited
from inventory.views.questions import Question, ask, go, is_decided
from web.lists import Column, Empty, ListPage, View
from web.paging import Ordering, capped_counts
from web.wording import without_scheme

SHOWN = 20  # servers behind it; the list of servers has the rest
SNAPSHOTS = 20
HISTORY = 20
LAYER = "KR-DL-"

# What a server can do, in the order in which people ask.
ABILITIES = {
    "pkce": "PKCE with S256",
    "revocation": "Revocation",
    "introspection": "Introspection",
    "cimd": "Client ID metadata documents",
    "dcr": "Dynamic registration",
    "iss_parameter": "Issuer in its answers",
    "device_flow": "Device flow",
    "client_credentials": "Client credentials",
    "refresh_token": "Refresh tokens",
    "private_key_jwt": "Keys instead of secrets",
    "dpop": "DPoP",
    "mtls": "Mutual TLS",
    "par": "Pushed requests",
    "token_exchange": "Token exchange",
    "jwt_bearer": "JWT grants",
    "id_jag": "Identity assertions",
}
# The ones that tell servers apart, short enough for a row.
AT_A_GLANCE = {
    "pkce": "PKCE",
    "revocation": "revocation",
    "introspection": "introspection",
    "cimd": "CIMD",
    "dcr": "DCR",
    "device_flow": "device flow",
}
EXPECTED = ("pkce", "revocation", "introspection", "cimd", "iss_parameter")  # their absence is worth a word


def within_sentence(words: str) -> str:
    """As it is written after another word; what begins with an abbreviation keeps its capitals."""
    return words if words[:2].isupper() else words[:1].lower() + words[1:]


def glance(server: AuthorizationServer) -> str:
    return ", ".join(words for name, words in AT_A_GLANCE.items() if name in server.capabilities)


def role_of(server: AuthorizationServer) -> str:
    words = {True: "Identity provider", False: "Delegated layer"}
    return words.get(server.is_external, "not known")  # type: ignore[arg-type]


AUTHORIZATION_SERVERS = ListPage(
    name="authorization-servers",
    title="Authorization servers",
    noun="authorization server",
    columns=(
        Column("issuer", "Issuer", value=attrgetter("issuer"), sort="issuer"),
        Column("role", "Role", value=role_of, priority=3),
        Column("abilities", "Can", value=glance, priority=3),
        Column("servers", "Servers", value=attrgetter("server_count"), priority=2, is_numeric=True),
        Column("clients", "Clients", value=attrgetter("client_count"), priority=2, is_numeric=True),
        Column("quarantined", "Quarantined", value=attrgetter("quarantined_count"), priority=3, is_numeric=True),
        Column("violated", "Violated", value=attrgetter("violated_count")),
        Column("changed", "Changed", value=attrgetter("changed_at"), priority=4, is_numeric=True),
        Column("checked", "Looked at", value=attrgetter("checked_at"), priority=2, is_numeric=True),
    ),
    orderings=(
        Ordering("issuer", ("issuer",), False, "by issuer", "by issuer, backwards"),
        Ordering("seen", (), True, "first seen first", "newest first"),
    ),
    filterset=AuthorizationServerFilter,
    row_template="inventory/_authorization_server_row.html",
    views=(
        View("All"),
        View("Identity providers", "is_external=true"),
        View("Delegated layers", "is_external=false"),
        View("Dynamic registration", "capability=dcr"),
    ),
    empty=Empty(
        "No authorization servers yet",
        "They appear when a live MCP server names one, or when a connection reads one: its metadata, its clients and "
        "its tokens.",
        "/connections/new/",
        "Add a connection",
    ),
    csv=(
        ("id", attrgetter("pk")),
        ("issuer", attrgetter("issuer")),
        ("is_external", attrgetter("is_external")),
        ("capabilities", lambda server: " ".join(server.capabilities)),
        ("servers", attrgetter("server_count")),
        ("clients", attrgetter("client_count")),
        ("quarantined_clients", attrgetter("quarantined_count")),
        ("violated_checks", attrgetter("violated_count")),
        ("first_seen_at", attrgetter("first_seen_at")),
        ("changed_at", attrgetter("changed_at")),
        ("checked_at", attrgetter("checked_at")),
    ),
)


def listed(servers: QuerySet[AuthorizationServer], actor: Actor) -> QuerySet[Any]:
    this = OuterRef("pk")
    clients = McpClient.objects.visible_to(actor).present().filter(authorization_server=this)
    violated = PostureCheck.objects.filter(authorization_server=this, verdict=Verdict.VIOLATED)
    worst = violated.order_by().values("authorization_server").annotate(worst=Max("severity")).values("worst")
    return servers.annotate(
        server_count=CappedCount(McpServer.objects.visible_to(actor).present().filter(authorization_server=this)),
        client_count=CappedCount(clients),
        quarantined_count=CappedCount(clients.filter(admission=Admission.QUARANTINED)),
        violated_count=CappedCount(violated),
        worst=Subquery(worst, output_field=IntegerField()),
    )


@require_safe
@requires_reader
def authorization_server_list(request: HttpRequest) -> HttpResponseBase:
    actor = request.actor  # type: ignore[attr-defined]
    rows = listed(AuthorizationServer.objects.visible_to(actor), actor)
    return suited(AUTHORIZATION_SERVERS, actor, Role.OPERATOR).respond(request, rows)


@require_safe
@requires_reader
def authorization_server_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor = request.actor  # type: ignore[attr-defined]
    server = get_object_or_404(AuthorizationServer.objects.visible_to(actor), pk=pk)
    servers = McpServer.objects.visible_to(actor).present().filter(authorization_server=server)
    clients = McpClient.objects.visible_to(actor).present().filter(authorization_server=server)
    server_count, *client_counts = capped_counts(
        [
            servers,
            clients,
            clients.filter(admission=Admission.QUARANTINED),
            *(clients.filter(registration=registration) for registration in Registration),
            *(
                clients.filter(registration=registration, admission=Admission.QUARANTINED)
                for registration in Registration
            ),
        ]
    )
    kinds = list(Registration)
    rows = list(PostureCheck.objects.filter(authorization_server=server))
    checks = [row for row in rows if not row.check_id.startswith(LAYER)]
    layer = [row for row in rows if row.check_id.startswith(LAYER)]
    context = {
        "server": server,
        "host": without_scheme(server.issuer),
        "role": role_of(server),
        "can": [words for name, words in ABILITIES.items() if name in server.capabilities],
        "cannot": [within_sentence(ABILITIES[name]) for name in EXPECTED if name not in server.capabilities],
        "servers": list(servers.select_related("environment").order_by("-risk", "-id")[:SHOWN]),
        "server_count": server_count,
        "client_count": client_counts[0],
        "quarantined_count": client_counts[1],
        "registrations": [
            (kind, count, waiting)
            for kind, count, waiting in zip(
                kinds, client_counts[2 : 2 + len(kinds)], client_counts[2 + len(kinds) :], strict=True
            )
            if count
        ],
        "checks": checklist(checks, CHECKS),
        "layer": checklist(layer, CHECKS),
        "worst": checklist(rows, CHECKS).worst,
        "all_in_words": checklist(rows, CHECKS).in_words,
        "snapshots": list(MetadataSnapshot.objects.filter(authorization_server=server).order_by("-id")[:SNAPSHOTS]),
        "document": json.dumps(server.metadata, indent=2, sort_keys=True, ensure_ascii=False)
        if server.metadata
        else "",
        "connections": list(Connection.objects.visible_to(actor).filter(**_reading(server)).order_by("name", "id")),
        "history": list(AuditEntry.objects.visible_to(actor).about(server)[:HISTORY]),
        "answers": _answers(server),
        "answerable": answerable(server) if actor.may(Right.CLASSIFY) and server.is_external is not True else (),
        "may_connect": actor.may(Right.CONNECT),
    }
    return render(request, "inventory/authorization_server_detail.html", context)


def _answers(server: AuthorizationServer) -> str:
    """The address under which each check of a delegated layer is answered by its id."""
    return reverse("authorization_server_answer", args=[server.pk, "x"]).removesuffix("x/")


def _reading(server: AuthorizationServer) -> dict[str, Any]:
    return {"kind": ConnectionKind.OAUTH, "settings__issuer": server.issuer}


class AnswerForm(forms.Form):
    """A person's word on one check."""

    is_so = forms.TypedChoiceField(
        label="It is",
        choices=(("yes", "so"), ("no", "not so")),
        coerce=lambda value: value == "yes",
        widget=forms.RadioSelect,
    )
    reason = forms.CharField(
        label="How do you know?",
        max_length=2_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Kept in the audit.",
    )


@require_http_methods(["GET", "POST"])
@requires(Right.CLASSIFY)
def authorization_server_answer(request: HttpRequest, pk: UUID, check_id: str) -> HttpResponse:
    """Say what no request can tell. It is shown with the name of who said it."""
    actor = request.actor  # type: ignore[attr-defined]
    server = get_object_or_404(AuthorizationServer.objects.visible_to(actor).exclude(is_external=True), pk=pk)
    if check_id not in answerable(server):
        raise Http404
    check = ANSWERABLE[check_id]
    back = reverse("authorization_server_detail", args=[server.pk])
    form = AnswerForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        given = form.cleaned_data
        now: datetime = timezone.now()
        answer_check(server, check, is_so=given["is_so"], reason=given["reason"], actor=actor, now=now)
        messages.success(request, "Recorded, with your name.")
        return go(request, back)
    question = Question(
        title=f"{check.title}?",
        text=f"No request can tell, so {without_scheme(server.issuer)} is shown with what you say. {check.remediation}",
        form=form,
        submit="Record the answer",
        back=back,
    )
    return ask(request, question)
