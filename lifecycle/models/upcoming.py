"""Which rotations are due, which of them the schedule may begin, and what stands in the way: set-based, by the date.

`CANDIDATES` is the one description of what the schedule takes: live, of a provider that can be asked, with a place of
delivery, under a policy that automates, and without an open operation.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from inventory.states import ENDED
from lifecycle.states import OPERABLE, Automation

# So long before the date a rotation may begin: every window that opens once a week opens before the date then.
REACH = timedelta(days=7)
# A rotation outside production proves the way for so long; what is in no known environment counts as production.
PROVEN_FOR = timedelta(days=30)
PRODUCTION = 3
COUNTED = 10_000  # of what is left where it is, and why

KNOWN_CONSUMER = """
EXISTS (
  SELECT 1 FROM inventory_use u JOIN inventory_mcpclient m ON m.id = u.client_id
  WHERE u.gone_at IS NULL AND NOT u.is_disabled AND m.gone_at IS NULL AND m.admission <> 'removed'
    AND (u.credential_id = c.id
         OR u.credential_id = (SELECT t.id FROM inventory_credential t WHERE t.identity_key = 'ref:' || d.location))
)"""
# Named so that a decision about one date is made once: what was declined or cancelled is not asked for again.
_IDEMPOTENCY = "'rotation of ' || c.id || ' by ' || to_char(o.rotate_by AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS')"

_DUE = """
FROM lifecycle_obligation o
JOIN lifecycle_policy p ON p.id = o.policy_id AND p.automation <> %(off)s
JOIN inventory_credential c ON c.id = o.credential_id AND c.gone_at IS NULL AND c.status <> ALL (%(ended)s)
JOIN inventory_connection k ON k.id = c.connection_id
LEFT JOIN inventory_environment e ON e.id = coalesce(c.environment_id, k.environment_id)
LEFT JOIN lifecycle_delivery d ON d.credential_id = c.id
WHERE o.rotate_by <= %(reach)s
"""
_OPERABLE = "k.kind = ANY (%(operable)s) AND k.is_enabled"
_OPEN = "EXISTS (SELECT 1 FROM lifecycle_operation x WHERE x.credential_id = c.id AND x.closed_at IS NULL)"
_DECIDED = f"""EXISTS (
  SELECT 1 FROM lifecycle_operation x
  WHERE x.requested_by_key = %(schedule)s AND x.idempotency_key = {_IDEMPOTENCY}
)"""
CANDIDATES = f"{_DUE} AND {_OPERABLE} AND d.id IS NOT NULL AND NOT {_OPEN} AND NOT {_DECIDED}"
SCHEDULE_KEY = "system:schedule"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A credential that the schedule could rotate now."""

    credential: UUID
    connection: UUID
    policy: UUID
    environment: UUID | None
    criticality: int
    rotate_by: datetime
    is_automatic: bool
    has_known_consumers: bool
    idempotency_key: str


def _parameters(now: datetime) -> dict[str, Any]:
    return {
        "off": Automation.OFF.value,
        "automatic": Automation.AUTOMATIC.value,
        "ended": [status.value for status in ENDED],
        "operable": [kind.value for kind in OPERABLE],
        "reach": now + REACH,
        "schedule": SCHEDULE_KEY,
        "production": PRODUCTION,
        "proven": now - PROVEN_FOR,
        "counted": COUNTED,
    }


def candidates(
    now: datetime,
    *,
    closed: Collection[UUID | None],
    halted: Collection[UUID],
    waiting: Collection[tuple[UUID, UUID]],
    begins: bool,
    most: int,
) -> list[Candidate]:
    """What may be begun, or only proposed, in canary order: lowest criticality first, then the longest overdue.

    A rotation begins by itself where the policy says so and somebody is known to use the credential: consumers whom
    nobody knows would be cut off unseen, so a person looks first. `closed` are the environments in which nothing may
    begin now (None: what is in none), `halted` the connections that are left in peace, `waiting` the policies and
    connections whose production waits for something smaller.
    """
    barred = [str(key) for key in closed if key is not None]
    statement = f"""
        SELECT c.id, c.connection_id, p.id, e.id, coalesce(e.criticality, %(production)s), o.rotate_by,
               p.automation = %(automatic)s, {KNOWN_CONSUMER}, {_IDEMPOTENCY}
        {CANDIDATES}
          AND (p.automation = %(automatic)s AND {KNOWN_CONSUMER}) = %(begins)s
          AND NOT (e.id IS NOT NULL AND e.id = ANY (%(closed)s::uuid[]))
          AND NOT (e.id IS NULL AND %(none_closed)s)
          AND NOT (c.connection_id = ANY (%(halted)s::uuid[]))
          AND NOT (coalesce(e.criticality, %(production)s) >= %(production)s
                   AND (p.id, c.connection_id) IN (SELECT * FROM unnest(%(policies)s::uuid[], %(connections)s::uuid[])))
        ORDER BY coalesce(e.criticality, %(production)s), o.rotate_by, c.id LIMIT %(most)s
    """
    with connection.cursor() as cursor:
        cursor.execute(
            statement,
            {
                **_parameters(now),
                "closed": barred,
                "none_closed": None in closed,
                "halted": [str(key) for key in halted],
                "policies": [str(policy) for policy, _ in waiting],
                "connections": [str(connection_id) for _, connection_id in waiting],
                "begins": begins,
                "most": most,
            },
        )
        return [Candidate(*row) for row in cursor.fetchall()]


def unproven(now: datetime) -> set[tuple[UUID, UUID]]:
    """Policies and connections whose production waits: something smaller of theirs is due or under way, and none of it
    was rotated lately."""
    statement = f"""
        WITH smaller AS (
          SELECT DISTINCT p.id AS policy_id, c.connection_id
          {CANDIDATES} AND e.criticality < %(production)s
          UNION
          SELECT DISTINCT x.policy_id, x.connection_id
          FROM lifecycle_operation x JOIN inventory_credential c ON c.id = x.credential_id
          JOIN inventory_connection k ON k.id = c.connection_id
          JOIN inventory_environment e ON e.id = coalesce(c.environment_id, k.environment_id)
          WHERE x.closed_at IS NULL AND x.kind = 'rotation' AND x.policy_id IS NOT NULL
            AND x.trigger = 'schedule' AND e.criticality < %(production)s
        )
        SELECT s.policy_id, s.connection_id FROM smaller s
        WHERE NOT EXISTS (
          SELECT 1 FROM lifecycle_operation x JOIN inventory_credential c ON c.id = x.credential_id
          JOIN inventory_connection k ON k.id = c.connection_id
          JOIN inventory_environment e ON e.id = coalesce(c.environment_id, k.environment_id)
          WHERE x.policy_id = s.policy_id AND x.connection_id = s.connection_id AND x.kind = 'rotation'
            AND x.state = 'completed' AND NOT x.is_rolling_back AND x.closed_at > %(proven)s
            AND e.criticality < %(production)s
        )
    """
    with connection.cursor() as cursor:
        cursor.execute(statement, _parameters(now))
        return set(cursor.fetchall())


def left(
    now: datetime,
    *,
    closed: Collection[UUID | None],
    halted: Collection[UUID],
    waiting: Collection[tuple[UUID, UUID]],
) -> dict[str, int]:
    """Why what is within reach is not begun, counted by the first reason, of the longest overdue ones."""
    statement = f"""
        SELECT why, count(*) FROM (
          SELECT CASE
            WHEN {_OPEN} THEN 'under way already'
            WHEN NOT ({_OPERABLE}) THEN 'no provider to ask'
            WHEN d.id IS NULL THEN 'no place of delivery'
            WHEN {_DECIDED} THEN 'decided by a person'
            WHEN c.connection_id = ANY (%(halted)s::uuid[]) THEN 'connection halted'
            WHEN e.id = ANY (%(closed)s::uuid[]) OR e.id IS NULL AND %(none_closed)s THEN 'frozen or no window open'
            WHEN coalesce(e.criticality, %(production)s) >= %(production)s
              AND (p.id, c.connection_id) IN (SELECT * FROM unnest(%(policies)s::uuid[], %(connections)s::uuid[]))
              THEN 'waits for a smaller one'
            ELSE 'over the limits'
          END AS why
          {_DUE} ORDER BY o.rotate_by LIMIT %(counted)s
        ) w GROUP BY why
    """
    with connection.cursor() as cursor:
        cursor.execute(
            statement,
            {
                **_parameters(now),
                "closed": [str(key) for key in closed if key is not None],
                "none_closed": None in closed,
                "halted": [str(key) for key in halted],
                "policies": [str(policy) for policy, _ in waiting],
                "connections": [str(connection_id) for _, connection_id in waiting],
            },
        )
        return dict(cursor.fetchall())


MOST_A_DAY = 999  # counted of one day; more is said to be more


def counts_by_day(first: datetime, days: int, visible: Collection[UUID] | None = None) -> dict[str, int]:
    """How many rotations fall due on each of these days (UTC). `visible`, where given, are the owners they are of."""
    statement = """
        SELECT to_char(day.at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), due.number
        FROM generate_series(%(first)s::timestamptz, %(last)s::timestamptz, interval '1 day') AS day (at),
        LATERAL (SELECT count(*) AS number FROM (
          SELECT 1 FROM lifecycle_obligation o
          WHERE o.rotate_by >= day.at AND o.rotate_by < day.at + interval '1 day'
            AND (%(everything)s OR EXISTS (
              SELECT 1 FROM inventory_credential c
              WHERE c.id = o.credential_id
                AND (c.owner_id = ANY (%(owners)s::uuid[]) OR c.custodian_id = ANY (%(owners)s::uuid[]))))
          LIMIT %(most)s) counted) AS due
        WHERE due.number > 0
    """
    with connection.cursor() as cursor:
        cursor.execute(
            statement,
            {
                "first": first,
                "last": first + timedelta(days=days - 1),
                "everything": visible is None,
                "owners": [str(key) for key in visible or ()],
                "most": MOST_A_DAY + 1,
            },
        )
        return dict(cursor.fetchall())
