"""What Prometheus asks: how far behind the work is, how it ended, and how the trail is kept.

Each family is one set-based statement over indexes; nothing is counted row by row in Python, and no answer grows with
the estate. An answer is kept for some seconds, so that several scrapers cost as much as one.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from threading import Lock
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, connection, transaction
from django.http import HttpResponse
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.views import APIView

from access.actors import Actor, ActorKind
from access.authentication import ApiTokenAuthentication, PageSessionAuthentication
from access.rights import Right
from access.roles import Role
from config.broker import broker_answers, waiting
from web.api import ByHeader, check_parameters

MOST = 10_000  # due rows that are counted; more are as alarming
PATIENCE = 5_000  # milliseconds for a statement
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SCRAPER = Actor(ActorKind.TOKEN, "metrics", "metrics", frozenset({Role.AUDITOR}))


@dataclass(frozen=True)
class Family:
    """Metrics of one name. The statement's last column is the value, the columns before it are the labels."""

    name: str
    says: str
    sql: str
    kind: str = "gauge"


def _due(work: str, table: str, at: str, where: str) -> str:
    return (
        f"SELECT '{work}' AS work, count(*) AS n, coalesce(extract(epoch FROM now() - min(d.at)), 0) AS late"
        f" FROM (SELECT {at} AS at FROM {table} WHERE {at} <= now() AND {where} ORDER BY {at} LIMIT {MOST}) d"
    )


OWNERSHIP = "(SELECT * FROM inventory_ownershipday ORDER BY taken_on DESC LIMIT 1) d"
DUE = " UNION ALL ".join(
    (
        _due(
            "operations",
            "lifecycle_operation",
            "due_at",
            "closed_at IS NULL AND (lease_until IS NULL OR lease_until <= now())",
        ),
        _due(
            "connections",
            "inventory_connection",
            "due_at",
            "is_enabled AND kind <> 'feed' AND (lease_until IS NULL OR lease_until <= now())",
        ),
        _due(
            "removals",
            "inventory_clientremoval",
            "next_at",
            "ended_at IS NULL AND (lease_until IS NULL OR lease_until <= now())",
        ),
        _due("notices", "notifications_delivery", "due_at", "state = 'waiting'"),
    )
)
# The entries of the last hour, by their number: times are in its order, give or take a transaction.
HOUR = "(SELECT seq FROM audit_auditentry WHERE at >= now() - interval '1 hour' ORDER BY at LIMIT 1)"
JOBS = "lifecycle_scheduledjob WHERE retired_at IS NULL"
VERIFIED = "audit_auditentry WHERE event IN ('chain.verified', 'chain.found_broken') ORDER BY seq DESC LIMIT 1"

FAMILIES: Sequence[Family] = (
    Family("due", f"Work that is due and that no worker has, at most {MOST}.", f"SELECT work, n FROM ({DUE}) d"),
    Family("overdue_seconds", "How long the oldest of it has waited.", f"SELECT work, late FROM ({DUE}) d"),
    Family(
        "operations_open",
        "Operations that have not ended.",
        "SELECT kind, state, count(*) FROM lifecycle_operation WHERE closed_at IS NULL GROUP BY 1, 2",
    ),
    Family(
        "operations_ended_last_hour",
        "How operations went: completed with which proof, stalled, cancelled, superseded.",
        "SELECT coalesce(detail->>'kind', '') AS kind, split_part(event, '.', 2) AS outcome,"
        " coalesce(detail->>'proof', '') AS proof, count(*) FROM audit_auditentry"
        " WHERE event IN ('operation.completed', 'operation.stalled', 'operation.cancelled', 'operation.superseded')"
        f" AND seq >= {HOUR} GROUP BY 1, 2, 3",
    ),
    Family(
        "connections",
        "Connections that are switched on.",
        "SELECT kind, count(*) FROM inventory_connection WHERE is_enabled GROUP BY 1",
    ),
    Family(
        "sync_age_seconds",
        "Since the last complete look at the connection of a kind that has waited longest.",
        "SELECT kind, max(extract(epoch FROM now() - coalesce(last_complete_at, created_at)))"
        " FROM inventory_connection WHERE is_enabled AND interval IS NOT NULL GROUP BY 1",
    ),
    Family(
        "job_age_seconds",
        "Since a job of the timetable last ended well.",
        f"SELECT name AS job, extract(epoch FROM now() - coalesce(ended_at, declared_at)) FROM {JOBS}",
    ),
    Family(
        "job_cadence_seconds",
        "How often it is planned.",
        f"SELECT name AS job, extract(epoch FROM cadence) FROM {JOBS}",
    ),
    Family("job_failures", "Its failures in a row.", f"SELECT name AS job, failures FROM {JOBS}"),
    Family(
        "job_run_seconds",
        "How long its runs took on average, in this hour and the one before.",
        "SELECT j.name AS job, sum(h.seconds) / nullif(sum(h.ended + h.failed + h.passed), 0)"
        " FROM lifecycle_jobhour h JOIN lifecycle_scheduledjob j ON j.id = h.job_id"
        " WHERE h.hour >= date_trunc('hour', now()) - interval '1 hour' AND j.retired_at IS NULL"
        " GROUP BY 1 HAVING sum(h.ended + h.failed + h.passed) > 0",
    ),
    Family(
        "rule_subjects",
        "What each rule said of everything it applies to, as the last full evaluation counted it.",
        "SELECT rule, v.verdict, v.n FROM lifecycle_rulestate r CROSS JOIN LATERAL"
        " (VALUES ('met', r.met), ('violated', r.violated), ('unknown', r.unknown)) v (verdict, n)",
    ),
    Family(
        "stream_behind_entries",
        "Audit entries that a stream of events has not sent.",
        "SELECT name AS stream, status, greatest((SELECT coalesce(max(seq), 0) FROM audit_auditentry) - seq, 0)"
        " FROM notifications_eventstream",
    ),
    Family(
        "stream_behind_seconds",
        "How old the first of them is; 0 when it has sent everything.",
        "SELECT s.name AS stream, s.status, coalesce(extract(epoch FROM now() - e.at), 0)"
        " FROM notifications_eventstream s LEFT JOIN audit_auditentry e ON e.seq = s.seq + 1",
    ),
    Family(
        "stream_failing_seconds",
        "How long the receiver of a stream has taken nothing; 0 while it does.",
        "SELECT name AS stream, coalesce(extract(epoch FROM now() - failing_since), 0) FROM notifications_eventstream",
    ),
    Family(
        "ownership_things",
        "Credentials, clients and sides of servers, by whether their owner accepted them, as counted last.",
        f"SELECT v.state, v.n FROM {OWNERSHIP} CROSS JOIN LATERAL (VALUES ('accepted', d.accepted),"
        " ('asked', d.asked), ('ownerless', d.ownerless)) v (state, n)",
    ),
    Family(
        "ownerless_seconds",
        "How long things stand without an owner who accepted them, now (open) and until one did (closed, 90 days).",
        f"SELECT v.interval, v.quantile, extract(epoch FROM v.length) FROM {OWNERSHIP} CROSS JOIN LATERAL (VALUES"
        " ('open', '0.5', d.open_median), ('open', '0.9', d.open_p90),"
        " ('closed', '0.5', d.closed_median), ('closed', '0.9', d.closed_p90)) v (interval, quantile, length)"
        " WHERE v.length IS NOT NULL",
    ),
    Family(
        "audit_entries_total",
        "Entries of the audit chain.",
        "SELECT coalesce(max(seq), 0) FROM audit_auditentry",
        "counter",
    ),
    Family(
        "audit_head_age_seconds",
        "Since a chain head was last signed.",
        "SELECT extract(epoch FROM now() - signed_at) FROM audit_chainhead ORDER BY seq DESC LIMIT 1",
    ),
    Family(
        "audit_uncovered_entries",
        "Entries behind the last head.",
        "SELECT coalesce((SELECT max(seq) FROM audit_auditentry), 0)"
        " - coalesce((SELECT max(seq) FROM audit_chainhead), 0)",
    ),
    Family(
        "audit_unexported_heads",
        "Signed heads that a place does not have.",
        "SELECT p.address AS place, (SELECT count(*) FROM audit_chainhead h WHERE NOT EXISTS"
        " (SELECT 1 FROM audit_export e WHERE e.head_id = h.id AND e.place_id = p.id))"
        " FROM audit_exportplace p WHERE p.retired_at IS NULL",
    ),
    Family(
        "audit_export_failing_seconds",
        "How long a place has refused heads; 0 while it takes them.",
        "SELECT address AS place, coalesce(extract(epoch FROM now() - failing_since), 0)"
        " FROM audit_exportplace WHERE retired_at IS NULL",
    ),
    Family(
        "audit_chain_holds",
        "1 when the last verification found that the chain holds, else 0.",
        f"SELECT (event = 'chain.verified')::int FROM {VERIFIED}",
    ),
    Family(
        "audit_verified_age_seconds",
        "Since that verification.",
        f"SELECT extract(epoch FROM now() - at) FROM {VERIFIED}",
    ),
)


def lines() -> Iterator[str]:
    """All metrics in the text format. Raises DatabaseError."""
    begun = time.perf_counter()
    yield from _family("info", "Which Keyreeve answers.", "gauge", [((("version", settings.VERSION),), 1)])
    yield from _family("broker_up", "Whether the broker answers.", "gauge", [((), int(broker_answers()))])
    queues = waiting()
    yield from _family(
        "queue_messages", "Messages that wait.", "gauge", [((("queue", each.queue),), each.count) for each in queues]
    )
    ages = [((("queue", each.queue),), each.oldest) for each in queues if each.oldest is not None]
    yield from _family("queue_oldest_seconds", "How long the oldest message has waited.", "gauge", ages)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {PATIENCE}")
        for family in FAMILIES:
            cursor.execute(family.sql)
            names = [column.name for column in cursor.description[:-1]]
            rows = [(tuple(zip(names, row, strict=False)), row[-1]) for row in cursor.fetchall()]
            yield from _family(family.name, family.says, family.kind, rows)
    taken = time.perf_counter() - begun
    yield from _family("scrape_seconds", "How long this answer took.", "gauge", [((), taken)])


def _family(name: str, says: str, kind: str, rows: Sequence[tuple[Sequence[tuple[str, Any]], Any]]) -> Iterator[str]:
    yield f"# HELP keyreeve_{name} {says}"
    yield f"# TYPE keyreeve_{name} {kind}"
    for labels, value in rows:
        inside = ",".join(f'{label}="{_escaped(str(text))}"' for label, text in labels)
        yield f"keyreeve_{name}{{{inside}}} {float(value):g}" if inside else f"keyreeve_{name} {float(value):.17g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


_lock = Lock()
_kept: tuple[float, bytes] | None = None


def answer() -> bytes:
    """The metrics as they were some seconds ago at most; of several askers one counts."""
    global _kept  # noqa: PLW0603  one answer for the process
    with _lock:
        if _kept is None or time.monotonic() - _kept[0] > settings.METRICS_KEPT_FOR:
            text = "\n".join(lines()) + "\n"
            _kept = (time.monotonic(), text.encode())
        return _kept[1]


class MetricsToken(BaseAuthentication):
    """`Authorization: Bearer …` with the token of the settings: for a scraper that has no API token."""

    def authenticate(self, request: Request) -> tuple[Any, str] | None:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        known = settings.METRICS_TOKEN
        if scheme != "Bearer" or not known or not compare_digest(value.strip().encode(), known.encode()):
            return None
        request._request.actor = SCRAPER  # type: ignore[attr-defined]
        return AnonymousUser(), "metrics"

    def authenticate_header(self, request: Request) -> str:
        return "Token"


class Metrics(APIView):
    """`/metrics`, for Prometheus."""

    schema = None
    authentication_classes = (MetricsToken, ApiTokenAuthentication, PageSessionAuthentication)
    throttle_classes = ()  # it answers where the database does not
    content_negotiation_class = ByHeader
    rights: ClassVar = {"get": Right.MONITOR}

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        return super().perform_content_negotiation(request, force=True)  # a scraper asks for formats of its own

    def get(self, request: Request) -> HttpResponse:
        check_parameters(request.query_params, ())
        try:
            response = HttpResponse(answer(), content_type=MEDIA_TYPE)
        except DatabaseError:
            response = HttpResponse("the database does not answer\n", status=503, content_type="text/plain")
        response["Cache-Control"] = "private, no-store"
        return response
