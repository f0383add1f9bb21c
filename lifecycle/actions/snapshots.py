"""The estate's posture on one day, counted."""

from datetime import datetime

from django.db import connection as database

from access.actors import Actor
from audit.actions import action
from inventory.models import Credential, Exposure, McpClient, McpServer
from inventory.states import ENDED, Severity
from lifecycle.models import Finding, Obligation, Snapshot
from lifecycle.models.breakdowns import breakdown, by_policy
from lifecycle.rules import RULES
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
       count(*) FILTER (WHERE rule = 'stale')
FROM lifecycle_finding WHERE resolved_at IS NULL
"""

# The limits as the rules declare them, over the columns that they read, which costs a fraction of all facts. What no
# evaluation has bound yet may be under a policy or not: nobody knows.
_POLICY = """
SELECT count(*) FILTER (WHERE v.policy_id IS NOT NULL AND NOT v.violated AND NOT v.unknown),
       count(*) FILTER (WHERE v.violated),
       count(*) FILTER (WHERE NOT v.violated AND (v.unknown OR v.unbound))
FROM (
  SELECT v.policy_id, v.unbound, {violated} AS violated, {unknown} AS unknown
  FROM (
    SELECT c.storage, c.issued_at, c.known_since, c.last_used_at, c.expires_at, o.credential_id IS NULL AS unbound,
           o.policy_id, o.rotate_by, o.stale_at, p.max_age, p.max_idle, p.max_lifetime, p.requires_expiry
    FROM inventory_credential c
    LEFT JOIN lifecycle_obligation o ON o.credential_id = c.id
    LEFT JOIN lifecycle_policy p ON p.id = o.policy_id
    WHERE {live}
  ) v
) v
""".format(
    violated=" OR ".join(f"(({RULES[slug].applies}) AND ({RULES[slug].violated})) IS TRUE" for slug in LIMITS),
    unknown=" OR ".join(f"(({RULES[slug].applies}) AND ({RULES[slug].unknown})) IS TRUE" for slug in LIMITS),
    live="c.gone_at IS NULL AND c.status <> ALL (%(ended)s)",
)
_RULE_DAYS = """
INSERT INTO lifecycle_ruleday (rule, taken_on, counted_at, met, violated, unknown)
SELECT s.rule, (s.evaluated_at AT TIME ZONE 'UTC')::date, s.evaluated_at, s.met, s.violated, s.unknown
FROM lifecycle_rulestate s
ON CONFLICT (rule, taken_on) DO UPDATE
SET counted_at = excluded.counted_at, met = excluded.met, violated = excluded.violated, unknown = excluded.unknown
WHERE lifecycle_ruleday.counted_at < excluded.counted_at
"""
_NAMES = ("critical", "high", "medium", "low", "overdue", "waived", "unrotated", "stale")


@action
def take_snapshot(now: datetime) -> Snapshot:
    """Write today's row, or bring it up to `now`. Counts of what is recorded elsewhere; no audit entry of their own.

    What the rules said is kept under the day on which it was counted, which may be yesterday.
    """
    with database.cursor() as cursor:
        cursor.execute(_FINDINGS, {"counted": list(COUNTED), "now": now})
        numbers = cursor.fetchone()
        cursor.execute(_POLICY, {"ended": list(ENDED), "now": now})
        in_policy, out_of_policy, policy_unknown = cursor.fetchone()
        cursor.execute(_RULE_DAYS)
    live = Credential.objects.live()
    snapshot, _ = Snapshot.objects.update_or_create(
        taken_on=now.date(),
        defaults={
            "taken_at": now,
            "credentials": live.count(),
            "servers": McpServer.objects.present().count(),
            "clients": McpClient.objects.present().count(),
            "exposures": Exposure.objects.present().count(),
            "orphans": live.unowned().count(),
            "in_policy": in_policy,
            "out_of_policy": out_of_policy,
            "policy_unknown": policy_unknown,
            "breakdown": {
                **breakdown(Actor.system("snapshot"), now),
                "policies": by_policy(Obligation.objects.all(), Finding.objects.all()),
            },
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
