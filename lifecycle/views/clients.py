"""One MCP client: what it reaches, what of it is exposed, and what is wrong with it."""

from typing import Any
from uuid import UUID

from django.db.models import F, OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from access.actors import Actor
from access.permissions import requires_reader
from access.rights import Right
from history.past import instant
from history.past import now as clock
from inventory.models import (
    ClientRemoval,
    Credential,
    Exposure,
    McpClient,
    McpServer,
    MetadataSnapshot,
    PostureCheck,
    Tenure,
    Use,
)
from inventory.posture.clients import CHECKS
from inventory.states import Registration
from inventory.views.checklist import checklist
from inventory.views.delegation import delegation
from inventory.views.histories import history_of
from inventory.views.presence import seen_at
from lifecycle.models import Finding
from web.paging import capped_count
from web.past import answers_past

SHOWN = 100  # uses and exposures
HISTORY = 20
SNAPSHOTS = 10


@require_safe
@requires_reader
@answers_past
def client_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor = request.actor  # type: ignore[attr-defined]
    clients = McpClient.objects.visible_to(actor).select_related("connection", "owner", "authorization_server")
    if not instant():  # of the past nobody knows who had accepted it
        tenure = Tenure.objects.open().filter(subject_id=OuterRef("pk"))
        clients = clients.annotate(
            accepted_at=Subquery(tenure.values("accepted_at")[:1]),
            asked_in=Subquery(tenure.values("question")[:1]),
            asked_state=Subquery(tenure.values("question__state")[:1]),
        )
    client = get_object_or_404(clients, pk=pk)
    uses = Use.objects.filter(client=client)
    files = uses.order_by().values("file")
    exposures = (
        Exposure.objects.visible_to(actor)
        .present()
        .filter(connection=client.connection_id, file__in=files)
        .select_related("credential")
        .order_by("-id")
    )
    shown = list(
        uses.select_related("server", "server__environment", "environment", "credential").order_by(
            F("gone_at").desc(nulls_first=True), "server__name", "file", "pk"
        )[: SHOWN + 1]
    )
    now = clock()
    findings = Finding.objects.visible_to(actor).for_client(client).unresolved().order_by("-severity", "due_at")
    context = {
        "client": client,
        "findings": [(finding, finding.title_now(now)) for finding in findings[:SHOWN]],
        "now": now,
        "seen_at": seen_at(client),
        "uses": shown[:SHOWN],
        "has_more_uses": len(shown) > SHOWN,
        "known": _known(actor, shown),
        "delegation": delegation(
            Use.objects.filter(client=client), actor, about=f"What {client} reaches, and on whose behalf", subject=pk
        ),
        **_registration(client, actor),
        "exposures": list(exposures[:SHOWN]),
        "history": history_of(client, actor)[:HISTORY],
        "sees_everything": actor.sees_everything,
        "may_assign": actor.may(Right.ASSIGN_OWNER),
    }
    return render(request, "lifecycle/client_detail.html", context)


def _known(actor: Actor, uses: list[Use]) -> set[UUID]:
    """Which servers and credentials of these uses the actor may open. An owner reads the names of the others only."""
    servers = {use.server_id for use in uses}
    credentials = {use.credential_id for use in uses if use.credential_id}
    if actor.sees_everything:
        return servers | credentials
    own_servers = McpServer.objects.visible_to(actor).filter(pk__in=servers).values_list("pk", flat=True)
    own_credentials = Credential.objects.visible_to(actor).filter(pk__in=credentials).values_list("pk", flat=True)
    return {*own_servers, *own_credentials}


def _registration(client: McpClient, actor: Actor) -> dict[str, Any]:
    """What is decided and known about it as a registered client, and what the actor may decide."""
    is_registered = client.registration != Registration.CONFIG_FILE
    checks = list(PostureCheck.objects.filter(client=client))
    may_decide = is_registered and client.gone_at is None
    removals = ClientRemoval.objects.filter(client=client).order_by("-id")
    removal = removals.first() if is_registered else None
    is_own = McpClient.objects.answered_for_by(actor).filter(pk=client.pk).exists() if may_decide else False
    alike = McpClient.objects.visible_to(actor).present().filter(hygiene_key=client.hygiene_key).exclude(pk=client.pk)
    documents = MetadataSnapshot.objects.filter(client=client).order_by("-id")
    return {
        "is_registered": is_registered,
        "removal": removal,
        "alike_count": capped_count(alike) if client.hygiene_key else None,
        "checks": checklist(checks, CHECKS),
        "documents": list(documents[:SNAPSHOTS]) if client.client_id.startswith("https://") else [],
        "may_let_in": may_decide and actor.may(Right.ADMIT),
        "may_narrow": may_decide and (actor.may_everywhere(Right.NARROW) or is_own),
        "may_refer": may_decide and actor.may(Right.DELIVER),
        "may_withdraw": removal is not None
        and removal.ended_at is None
        and ClientRemoval.objects.filter(pk=removal.pk).withdrawable_by(actor).exists(),
    }
