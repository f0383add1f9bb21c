"""The burn-down of dynamic registration: who depends on it still, who could do without, and until when it lasts."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, TruncMonth
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from access.actors import Actor
from access.permissions import requires_reader
from inventory.models import AuthorizationServer, McpClient, McpServer
from inventory.posture.authorization_servers import REGISTRATION_DEPRECATED_IN
from inventory.posture.issuer_metadata import REGISTRATION_ENDS_ON
from inventory.states import Admission, Registration
from web.paging import capped_counts
from web.pictures import BURN_MONTHS, Month, Part, burn_down
from web.wording import without_scheme

SHOWN = 50
LATEST_MONTHS = 12  # in the table beside the picture

READY, ASKS_MAKER, WAITS_FOR_SERVER, UNKNOWN = "ready", "maker", "server", "unknown"
WORDS = {
    READY: "Ready",
    ASKS_MAKER: "Its maker must publish a document",
    WAITS_FOR_SERVER: "Its authorization server takes no documents",
    UNKNOWN: "Unknown what its authorization server takes",
}
TONES = {READY: "ok", ASKS_MAKER: "med", WAITS_FOR_SERVER: "crit", UNKNOWN: "none"}


@dataclass(frozen=True)
class Dependent:
    """Clients of one name at one server that registered themselves."""

    name: str
    issuer: str
    count: int
    readiness: str

    @property
    def words(self) -> str:
        return WORDS[self.readiness]


@require_safe
@requires_reader
def client_registration(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    visible = McpClient.objects.visible_to(actor).registered()
    clients = visible.present().exclude(admission=Admission.REMOVED)
    dynamic = clients.filter(registration=Registration.DYNAMIC)
    ends_at = datetime.combine(REGISTRATION_ENDS_ON, time(), UTC)
    months = _months(visible, now)
    readiness = _readiness(dynamic, clients)
    dependent_servers = McpServer.objects.visible_to(actor).present().filter(_needs_registration())
    server_count, cimd_count = capped_counts([dependent_servers, clients.filter(registration=Registration.CIMD)])
    context = {
        "now": now,
        "here": "client_registration",
        "ends_at": ends_at,
        "days_left": (REGISTRATION_ENDS_ON - now.date()).days,
        "deprecated_in": REGISTRATION_DEPRECATED_IN,
        "dynamic_count": sum(readiness.values()),
        "cimd_count": cimd_count,
        "ready_count": readiness[READY],
        "server_count": server_count,
        "parts": [Part(TONES[each], readiness[each], WORDS[each]) for each in TONES],
        "in_words": ", ".join(f"{readiness[each]} {WORDS[each].lower()}" for each in TONES if readiness[each]),
        "issuers": _issuers(actor, clients),
        "dependents": _dependents(dynamic, clients),
        "servers": dependent_servers.select_related("authorization_server").order_by("-risk", "-id")[:SHOWN],
        "picture": burn_down(months, now=now, ends_at=ends_at),
        "trend_label": _trend(months),
        "months": months[-LATEST_MONTHS:][::-1],
        "known_since": visible.aggregate(first=Min("first_seen_at"))["first"],
    }
    return render(request, "inventory/client_registration.html", context)


def _needs_registration() -> Q:
    """Servers whose authorization server offers dynamic registration, and no other way in for unknown clients."""
    return Q(authorization_server__capabilities__contains=["dcr"]) & ~Q(
        authorization_server__capabilities__contains=["cimd"]
    )


def _same_name(clients: QuerySet[McpClient]) -> QuerySet[Any]:
    """Names under which a client is known by its document, here at any authorization server."""
    return clients.filter(registration=Registration.CIMD).order_by().values("name")


def _readiness(dynamic: QuerySet[McpClient], clients: QuerySet[McpClient]) -> Counter[str]:
    takes = Q(authorization_server__capabilities__contains=["cimd"])
    known = Q(authorization_server__isnull=False) & ~Q(authorization_server__metadata={})
    has_document = Q(name__in=_same_name(clients))
    counts = dynamic.aggregate(
        total=Count("pk"),
        ready=Count("pk", filter=takes & has_document),
        maker=Count("pk", filter=takes & ~has_document),
        server=Count("pk", filter=known & ~takes),
    )
    found = Counter({READY: counts["ready"], ASKS_MAKER: counts["maker"], WAITS_FOR_SERVER: counts["server"]})
    found[UNKNOWN] = counts["total"] - found.total()
    return found


def _dependents(dynamic: QuerySet[McpClient], clients: QuerySet[McpClient]) -> list[Dependent]:
    rows: list[Any] = list(
        dynamic.order_by()
        .values("name", "authorization_server")
        .annotate(count=Count("pk"))
        .order_by("-count", "name", "authorization_server")[:SHOWN]
    )
    issuers = AuthorizationServer.objects.in_bulk({row["authorization_server"] for row in rows} - {None})
    names = {row["name"] for row in rows}
    documented = set(_same_name(clients).filter(name__in=names).values_list("name", flat=True))

    def readiness(row: dict[str, Any]) -> str:
        issuer = issuers.get(row["authorization_server"])
        if issuer is None or not issuer.metadata:
            return UNKNOWN
        if "cimd" not in issuer.capabilities:
            return WAITS_FOR_SERVER
        return READY if row["name"] in documented else ASKS_MAKER

    return [
        Dependent(row["name"], _host(issuers.get(row["authorization_server"])), row["count"], readiness(row))
        for row in rows
    ]


def _host(issuer: AuthorizationServer | None) -> str:
    return "" if issuer is None else without_scheme(issuer.issuer)


def _issuers(actor: Actor, clients: QuerySet[McpClient]) -> list[tuple[AuthorizationServer, dict[str, int], str]]:
    """Authorization servers that offer dynamic registration or have clients that used it."""
    counted: Any = (
        clients.filter(authorization_server__isnull=False)
        .order_by()
        .values("authorization_server")
        .annotate(**{each.value: Count("pk", filter=Q(registration=each)) for each in Registration})
    )
    rows = {row["authorization_server"]: row for row in counted}
    offers = Q(capabilities__contains=["dcr"]) | Exists(
        clients.filter(authorization_server=OuterRef("pk"), registration=Registration.DYNAMIC)
    )
    issuers = AuthorizationServer.objects.visible_to(actor).filter(offers).order_by("issuer")[:SHOWN]
    nothing = dict.fromkeys([each.value for each in Registration], 0)
    found = [(issuer, rows.get(issuer.pk, nothing), _way(issuer)) for issuer in issuers]
    return sorted(found, key=lambda it: -it[1]["dynamic"])


def _way(issuer: AuthorizationServer) -> str:
    if not issuer.metadata:
        return "Unknown what it takes: nobody has read its metadata."
    if "cimd" in issuer.capabilities:
        return "Takes documents. Dynamic registration can go once its clients have moved."
    return "Takes no documents. Ask who runs it when it will."


def _months(clients: QuerySet[McpClient], now: datetime) -> list[Month]:
    """How many registrations there were at the end of each month, as far as is known.

    What was deleted before anybody looked was never seen, so months before that say at least how many there were.
    """
    kinds = (Registration.DYNAMIC, Registration.CIMD)
    dated = clients.filter(registration__in=kinds).annotate(began=Coalesce("issued_at", "first_seen_at"))
    began = dated.annotate(month=TruncMonth("began")).order_by().values_list("month", "registration")
    ended = dated.filter(gone_at__isnull=False).annotate(month=TruncMonth("gone_at")).order_by()
    changes: Counter[tuple[datetime, str]] = Counter()
    for month, kind, count in began.annotate(count=Count("pk")):
        changes[month, kind] += count
    for month, kind, count in ended.values_list("month", "registration").annotate(count=Count("pk")):
        changes[month, kind] -= count
    if not changes:
        return []
    known_since = clients.aggregate(first=Min("first_seen_at"))["first"]
    first = min(month for month, _ in changes)
    standing = Counter[str]()
    months = []
    at = first
    while at <= now:
        for kind in kinds:
            standing[kind] += changes[at, kind]
        following = (at + timedelta(days=32)).replace(day=1)
        leaving, arriving = standing[Registration.DYNAMIC], standing[Registration.CIMD]
        months.append(Month(at, leaving, arriving, is_known=following > known_since))
        at = following
    return months[-BURN_MONTHS:]


def _trend(months: list[Month]) -> str:
    if not months:
        return ""
    first, last = months[0], months[-1]
    return (
        f"{last.leaving} dynamic registrations now, {first.leaving} in {first.start:%B %Y}; "
        f"{last.arriving} clients are known by a document"
    )
