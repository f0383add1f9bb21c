"""The estate's posture on one day, counted."""

from datetime import datetime

from django.db import connection as database

from access.actors import Actor
from audit.actions import action
from inventory.models import Credential, Exposure, McpClient, McpServer
from inventory.states import Severity
from lifecycle.models import Snapshot
from lifecycle.models.breakdowns import breakdown
from lifecycle.states import COUNTED

# Rules that compare a credential with its policy's limits.
LIMITS = ("unrotated", "stale", "no-expiry", "lifetime-too-long")
_FINDINGS = """
SELECT count(*) FILTER (WHERE severity = 4 AND state = ANY (%(counted)s)),
       count(*) FILTER (WHERE severity = 3 AND state = ANY (%(counted)s)),
       count(*) FILTER (WHERE severity = 2 AND state = ANY (%(counted)s)),
       count(*) FILTER (WHERE severity = 1 AND state = ANY (%(counted)s)),
       count(*) FILTER (WHERE due_at < %(now)s AND state = ANY (%(counted)s)),
       count(*) FILTER (WHERE state = 'waived'),
       count(*) FILTER (WHERE rule = 'unrotated'),
       count(*) FILTER (WHERE rule = 'stale'),
       count(DISTINCT credential_id) FILTER (WHERE rule = ANY (%(limits)s))
FROM lifecycle_finding WHERE resolved_at IS NULL
"""
_NAMES = ("critical", "high", "medium", "low", "overdue", "waived", "unrotated", "stale")


@action
def take_snapshot(now: datetime) -> Snapshot:
    """Write today's row, or bring it up to `now`. Counts of what is recorded elsewhere; no audit entry of their own."""
    with database.cursor() as cursor:
        cursor.execute(_FINDINGS, {"counted": list(COUNTED), "limits": list(LIMITS), "now": now})
        *numbers, out_of_policy = cursor.fetchone()
    live = Credential.objects.live()
    credentials = live.count()
    snapshot, _ = Snapshot.objects.update_or_create(
        taken_on=now.date(),
        defaults={
            "taken_at": now,
            "credentials": credentials,
            "servers": McpServer.objects.present().count(),
            "clients": McpClient.objects.present().count(),
            "exposures": Exposure.objects.present().count(),
            "orphans": live.unowned().count(),
            "in_policy": max(credentials - out_of_policy, 0),
            "breakdown": breakdown(Actor.system("snapshot"), now),
            **dict(zip(_NAMES, numbers, strict=True)),
        },
    )
    return snapshot


def severities(snapshot: Snapshot) -> dict[Severity, int]:
    """Open findings by severity, worst first."""
    return {
        Severity.CRITICAL: snapshot.critical,
        Severity.HIGH: snapshot.high,
        Severity.MEDIUM: snapshot.medium,
        Severity.LOW: snapshot.low,
    }
