"""Credentials by risk, and everything known about one of them."""

from datetime import UTC, date, datetime, time, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.rights import Right
from history.past import instant
from history.past import now as clock
from inventory.actions.dates import record_dates
from inventory.models import Credential, CredentialVersion, Exposure, McpServer, MetadataSnapshot, PostureCheck, Use
from inventory.posture.servers import SERVER_CHECKS
from inventory.states import ENDED
from inventory.views import logged, tools
from inventory.views.checklist import checklist
from inventory.views.declared import comparison
from inventory.views.delegation import delegation
from inventory.views.presence import PresentUnlessAsked
from lifecycle.actions.requests import may_operate
from lifecycle.filters import CredentialPageFilter
from lifecycle.forms import DatesForm
from lifecycle.models import Delivery, Finding, Obligation, Operation
from lifecycle.models.readiness import readiness
from lifecycle.models.scores import scores_of
from lifecycle.views import timeline
from lifecycle.views.operations import dressed
from web.lists import Bulk, Column, Empty, ListPage, View
from web.paging import Ordering
from web.past import answers_past
from web.pictures import SHOWN_FROM, Life

SHOWN = 15  # rows of a table on a server's page; lists have the rest
SNAPSHOTS = 20
MOST = 200  # rows of one kind on a detail page
LIVES = 6  # versions in the picture
FALLS_DUE = timedelta(days=90)  # as far ahead as upcoming rotations are shown


class CredentialsOnPage(PresentUnlessAsked, CredentialPageFilter):
    """As people want it: what is gone only when asked for."""


CREDENTIALS = ListPage(
    name="credentials",
    title="Credentials",
    noun="credential",
    columns=(
        Column("name", "Credential", value=attrgetter("name"), sort="name"),
        Column("hint", "Hint", value=attrgetter("hint"), priority=2),
        Column("kind", "Kind", value=lambda row: row.get_kind_display(), priority=4, css="muted"),
        Column("servers", "Server", value=attrgetter("servers"), priority=4),
        Column("environment", "Env", value=attrgetter("environment"), priority=3, css="muted"),
        Column("owner", "Owner", value=attrgetter("owner"), priority=2),
        Column("age", "Age", value=attrgetter("known_since"), sort="age"),
        Column("last_used", "Last used", value=attrgetter("last_used_at"), priority=3, is_numeric=True),
        Column("expires", "Expires", value=attrgetter("expires_at"), priority=3),
        Column("findings", "Findings", value=attrgetter("open_findings"), sort="risk"),
        Column("score", "Score", value=attrgetter("score"), priority=3, is_numeric=True),
        Column("status", "Status", value=attrgetter("status"), priority=2),
        Column("storage", "Held as", value=lambda row: row.get_storage_display(), is_shown=False, priority=3),
        Column("issuer", "Issuer", value=attrgetter("issuer"), is_shown=False, priority=3),
        Column("trust_model", "Trust model", value=lambda row: row.get_trust_model_display(), is_shown=False),
        Column("tags", "Tags", value=attrgetter("tags"), is_shown=False, priority=4),
        Column("seen", "First seen", value=attrgetter("first_seen_at"), is_shown=False, sort="seen", priority=3),
    ),
    orderings=(
        Ordering("risk", ("risk", "score"), True, "least at risk first", "most severe first"),
        Ordering("name", ("name",), False, "by name", "by name, backwards"),
        Ordering("age", ("known_since",), False, "oldest first", "youngest first"),
        Ordering("seen", (), True, "first seen first", "newest first"),
    ),
    filterset=CredentialsOnPage,
    row_template="lifecycle/_credential_cells.html",
    views=(
        View("Present", is_counted=False),
        View("Unrotated", "finding=unrotated"),
        View("Orphans", "has_owner=false"),
        View("Stale", "finding=stale"),
        View("Exposed", "exposed=true"),
        View("Gone", "gone=true"),
    ),
    row_css=lambda row: "ended" if row.gone_at or row.status in ENDED else "",
    empty=Empty(
        "No credentials yet",
        "Keyreeve finds them in the configuration of MCP clients. Add a place to look, or sync one that is there.",
        "/connections/",
        "Open connections",
    ),
)


def listed(actor: Actor) -> QuerySet[Credential]:
    """Credentials with what a row shows; the subqueries run for the rows of one page only."""
    servers = (
        McpServer.objects.filter(
            pk__in=Use.objects.present().filter(credential=OuterRef(OuterRef("pk"))).values("server")
        )
        .order_by()
        .values("connection__kind")
    )
    obligation = Obligation.objects.filter(credential=OuterRef("pk"))
    return (
        Credential.objects.visible_to(actor)
        .select_related("owner", "environment")
        .annotate(
            max_age=Subquery(obligation.values("policy__max_age")[:1]),
            servers=Subquery(servers.annotate(names=ArrayAgg("name", distinct=True)).values("names")[:1]),
        )
    )


@require_GET
@requires_reader
@answers_past
def credential_list(request: HttpRequest) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    bulk = []
    if actor.may(Right.ASSIGN_OWNER):
        bulk.append(Bulk("Assign owner…", reverse("credential_assign_owner"), "person", "o"))
        bulk.append(Bulk("Confirm…", reverse("credential_confirm"), "check"))
        bulk.append(Bulk("Tag…", reverse("credential_tag"), "tag"))
    if actor.may(Right.CLASSIFY):
        bulk.append(Bulk("Set environment…", reverse("credential_assign_environment"), "server"))
    if actor.may(Right.OPERATE):
        bulk.append(Bulk("Rotate…", reverse("credential_rotate"), "operation", "r"))
        bulk.append(Bulk("Revoke…", reverse("credential_revoke"), "stop", "v", "danger"))
    return CREDENTIALS.respond(request, listed(actor), bulk=bulk, context={"now": clock()})


@require_GET
@requires_reader
@answers_past
def credential_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = clock()
    related = ("owner", "custodian", "environment", "connection")
    credential = get_object_or_404(Credential.objects.visible_to(actor).select_related(*related), pk=pk)
    uses = list(
        Use.objects.filter(credential=credential).select_related("client", "server__environment").order_by("-id")[:MOST]
    )
    for use in uses:
        use.credential = credential
    present = [use for use in uses if use.gone_at is None]
    versions = list(CredentialVersion.objects.filter(credential=credential).order_by("-id")[:20])
    lives = [life_of(version, credential) for version in versions[:LIVES]]
    has_history = any(now - life.start >= SHOWN_FROM for life in lives)
    exposures = list(Exposure.objects.filter(credential=credential).order_by("gone_at", "-id")[:MOST])
    findings = list(
        Finding.objects.for_credential(credential).order_by(
            F("resolved_at").desc(nulls_first=True), "-severity", "due_at"
        )[:MOST]
    )
    unresolved = [finding for finding in findings if finding.resolved_at is None]
    for finding in findings:
        finding.credential = credential
    obligation = Obligation.objects.filter(credential=credential).select_related("policy").first()
    rotate_by = obligation.rotate_by if obligation is not None and credential.is_live else None
    is_ahead = rotate_by is not None and rotate_by < now + FALLS_DUE
    return render(
        request,
        "lifecycle/credential_detail.html",
        {
            "credential": credential,
            "obligation": obligation,
            "readiness": readiness([pk], now).get(pk) if is_ahead and instant() is None else None,
            "versions": versions,
            "lives": [life for life in lives if has_history],
            "uses": present,
            "exposures": exposures,
            "present_exposures": [exposure for exposure in exposures if exposure.gone_at is None],
            "findings": [(finding, finding.title_now(now)) for finding in unresolved],
            "controls": violated_controls(unresolved),
            "delegation": delegation(
                Use.objects.filter(credential=credential), actor, about=f"Who acts with {credential}", subject=pk
            ),
            "reach": reach(present),
            "score": scores_of([pk], now).get(pk),
            "happenings": timeline.of_credential(
                credential, findings=findings, exposures=exposures, uses=uses, now=now
            ),
            "can_assign": actor.may(Right.ASSIGN_OWNER),
            "can_record": actor.may(Right.RECORD_FACT),
            "can_place": actor.may(Right.CLASSIFY),
            "can_operate": instant() is None and credential.is_live and may_operate(credential, actor),
            "delivery": Delivery.objects.filter(credential=credential).first(),
            "operations": []
            if instant() is not None  # they keep no past but their journal
            else [dressed(row, now) for row in Operation.objects.filter(credential=credential)[:5]],
            "now": now,
        },
    )


def life_of(version: CredentialVersion, credential: Credential) -> Life:
    issued = version.issued_at or (credential.issued_at if version.is_current else None)
    return Life(
        label="Current" if version.is_current else "Earlier",
        hint=version.hint,
        start=issued or version.first_seen_at,
        end=version.destroyed_at or version.suspended_at or credential.gone_at,
        is_start_known=issued is not None,
        is_current=version.is_current,
    )


@require_http_methods(["GET", "POST"])
@requires(Right.RECORD_FACT)
def credential_dates(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Dates that a person vouches for, where no provider tells them."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    credential = get_object_or_404(Credential.objects.visible_to(actor), pk=pk)
    form = DatesForm(request.POST if request.method == "POST" else None, today=timezone.now().date())
    if form.is_valid():
        given = form.cleaned_data
        changed = record_dates(
            credential,
            issued_at=at_midnight(given["issued_on"]),
            last_used_at=at_midnight(given["last_used_on"]),
            expires_at=at_midnight(given["expires_on"]),
            actor=actor,
            reason=given["reason"],
        )
        words = (
            "You recorded its dates; the next evaluation uses them." if changed else "Those dates were known already."
        )
        messages.success(request, words)
        return redirect("credential_detail", pk)
    context = {"form": form, "credential": credential}
    return render(request, "lifecycle/credential_dates.html", context, status=422 if form.errors else 200)


def at_midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), tzinfo=UTC) if day else None


def reach(uses: list[Use]) -> dict[str, int]:
    """How many clients, servers and environments share the credential."""
    placed = {use.environment_id or use.server.environment_id for use in uses}
    return {
        "clients": len({use.client_id for use in uses}),
        "servers": len({use.server_id for use in uses}),
        "environments": len(placed - {None}),
    }


def violated_controls(findings: list[Finding]) -> list[tuple[str, list[Any]]]:
    """The NIST CSF subcategories that open findings speak against, each with those findings."""
    found: dict[str, list[Any]] = {}
    for finding in findings:
        for control in finding.controls:
            if "." in control and "-" in control:
                found.setdefault(control, []).append(finding)
    return sorted(found.items())


def asked_of(server: McpServer) -> QuerySet[Any, Any]:
    """Trust model, name and happenings of each policy that binds a credential used on `server` and asks for logs."""
    used = Use.objects.present().filter(server=server, credential__isnull=False).values("credential")
    binding = Obligation.objects.filter(credential__in=used, policy__isnull=False).exclude(policy__logging=[])
    asked = binding.values_list("credential__trust_model", "policy__name", "policy__logging")
    return asked.order_by("policy__name").distinct()


@require_GET
@requires_reader
@answers_past
def server_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = clock()
    related = ("environment", "connection", "iam_owner", "platform_owner", "application_owner", "authorization_server")
    server = get_object_or_404(McpServer.objects.visible_to(actor).select_related(*related), pk=pk)
    uses = list(Use.objects.filter(server=server).select_related("client", "credential__owner").order_by("-id")[:MOST])
    for use in uses:
        use.server = server
    present = [use for use in uses if use.gone_at is None]
    visible = set(
        Credential.objects.visible_to(actor)
        .filter(pk__in=[use.credential_id for use in present if use.credential_id])
        .values_list("pk", flat=True)
    )
    credentials = {use.credential_id: use.credential for use in present if use.credential_id in visible}
    of_either = Q(server=server) | Q(credential__in=list(visible))
    findings = list(
        Finding.objects.visible_to(actor)
        .filter(of_either)
        .select_related("credential", "server")
        .order_by(F("resolved_at").desc(nulls_first=True), "-severity", "due_at")[:MOST]
    )
    unresolved = [finding for finding in findings if finding.resolved_at is None]
    own = [finding for finding in findings if finding.server_id == server.pk]
    shown = [use for use in present if use.credential_id is None or use.credential_id in visible]
    return render(
        request,
        "lifecycle/server_detail.html",
        {
            "server": server,
            "owners": [
                ("iam_owner", "IAM owner", server.iam_owner),
                ("platform_owner", "Platform owner", server.platform_owner),
                ("application_owner", "Application owner", server.application_owner),
            ],
            "uses": shown[:SHOWN],
            "uses_left": max(len(shown) - SHOWN, 0),
            "use_count": len(shown),
            "credentials": list(credentials.values())[:SHOWN],
            "credential_count": len(credentials),
            "credentials_left": max(len(credentials) - SHOWN, 0),
            "findings": [(finding, finding.title_now(now)) for finding in unresolved[:SHOWN]],
            "findings_left": max(len(unresolved) - SHOWN, 0),
            "finding_count": len(unresolved),
            "checks": checklist(PostureCheck.objects.filter(server=server), SERVER_CHECKS.values()),
            "snapshots": [
                snapshot
                for snapshot in MetadataSnapshot.objects.filter(server=server).order_by("-id")[:SNAPSHOTS]
                if snapshot.differences
            ],
            "tools": tools.panel(server, actor),
            "logging": logged.panel(server, logged.asked_by(asked_of(server))),
            "may_record_logging": actor.may(Right.RECORD_FACT),
            "declared": comparison(server),
            "delegation": delegation(
                Use.objects.filter(server=server), actor, about=f"Who reaches {server}, and with what", subject=pk
            ),
            "happenings": timeline.of_server(server, findings=own, uses=uses, now=now),
            "can_assign": actor.may(Right.ASSIGN_OWNER),
            "can_classify": actor.may(Right.CLASSIFY),
            "now": now,
        },
    )
