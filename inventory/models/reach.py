"""What clients can do on servers, held against what was granted: one row for each pair, of many pairs in one statement.

MCP has no gate at single tools: who reaches a server reaches every tool that it lists.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from inventory.states import ENDED, Reach

# `{of}` narrows uses and grants `x` before anything is joined, so that a few pairs cost a few look-ups.
_CELLS = """
SELECT p.client_id, p.server_id, p.is_used, g.id AS grant_id, g.ends_at, t.tools, t.ungranted, t.destructive, t.changed,
  coalesce(c.beyond, '{{}}') AS scopes_beyond,
  (s.tools_listed_at IS NOT NULL AND s.tools_error = '') AS are_tools_known,
  CASE
    WHEN g.id IS NULL THEN 'none'
    WHEN g.approved_at IS NULL THEN 'draft'
    WHEN g.ends_at <= %(now)s THEN 'ended'
    WHEN NOT p.is_used THEN 'unused'
    WHEN t.ungranted > 0 OR t.changed > 0 OR cardinality(c.beyond) > 0 THEN 'exceeds'
    WHEN s.tools_listed_at IS NULL OR s.tools_error <> '' THEN 'unknown'
    ELSE 'approved'
  END AS state
FROM (
  SELECT client_id, server_id, bool_or(is_used) AS is_used FROM (
    SELECT x.client_id, x.server_id, true AS is_used FROM inventory_use x WHERE x.gone_at IS NULL AND {of}
    UNION ALL
    SELECT x.client_id, x.server_id, false FROM inventory_grant x WHERE x.withdrawn_at IS NULL AND {of}
  ) named GROUP BY client_id, server_id
) p
JOIN inventory_mcpserver s ON s.id = p.server_id
LEFT JOIN inventory_grant g
  ON g.client_id = p.client_id AND g.server_id = p.server_id AND g.withdrawn_at IS NULL
CROSS JOIN LATERAL (
  SELECT count(*) AS tools,
    count(*) FILTER (WHERE t.name = ANY (g.tools) IS NOT TRUE) AS ungranted,
    count(*) FILTER (WHERE t.is_destructive AND t.name = ANY (g.tools) IS NOT TRUE) AS destructive,
    count(*) FILTER (WHERE t.name = ANY (g.tools) AND t.approved_digest NOT IN ('', t.schema_digest)) AS changed
  FROM inventory_tool t WHERE t.server_id = p.server_id AND t.gone_at IS NULL
) t
CROSS JOIN LATERAL (
  SELECT array_agg(DISTINCT carried.scope ORDER BY carried.scope) AS beyond
  FROM inventory_use u JOIN inventory_credential c ON c.id = u.credential_id
  CROSS JOIN LATERAL unnest(c.scopes) AS carried (scope)
  WHERE u.client_id = p.client_id AND u.server_id = p.server_id AND u.gone_at IS NULL AND c.gone_at IS NULL
    AND NOT c.status = ANY (%(ended)s) AND g.id IS NOT NULL AND NOT carried.scope = ANY (g.scopes)
) c
"""
_ENDED = [status.value for status in ENDED]


@dataclass(frozen=True, slots=True)
class Cell:
    """One client on one server. The counts of tools beyond the grant say something only where the tools are known."""

    client_id: UUID
    server_id: UUID
    is_used: bool
    grant_id: UUID | None
    ends_at: datetime | None
    tools: int
    ungranted: int
    destructive: int
    changed: int
    scopes_beyond: list[str]
    are_tools_known: bool
    state: Reach


def cells(
    now: datetime, *, clients: Collection[UUID] | None = None, servers: Collection[UUID] | None = None
) -> list[Cell]:
    """The pairs of these clients, of these servers, or of both, by id."""
    of = ["true"]
    values: dict[str, Any] = {"now": now, "ended": _ENDED}
    for column, ids in (("client_id", clients), ("server_id", servers)):
        if ids is not None:
            of.append(f"x.{column} = ANY (%({column})s)")
            values[column] = list(ids)
    with database.cursor() as cursor:
        cursor.execute(_CELLS.format(of=" AND ".join(of)) + "ORDER BY p.client_id, p.server_id", values)
        return [Cell(*(*facts, Reach(state))) for *facts, state in cursor.fetchall()]


# By state, the clients that have such a pair: whole tables hashed once, for a walk over clients would ask each of them.
# Most grants name exactly what is offered, and to see that two sorted lists are the same is cheap.
_IN_FORCE = "g.withdrawn_at IS NULL AND g.approved_at IS NOT NULL AND g.ends_at > %(now)s"
_USE_OF_PAIR = "u.client_id = g.client_id AND u.server_id = g.server_id AND u.gone_at IS NULL"
_CLIENTS = {
    Reach.NONE: """
        SELECT u.client_id FROM inventory_use u WHERE u.gone_at IS NULL AND NOT EXISTS (
          SELECT 1 FROM inventory_grant g
          WHERE g.client_id = u.client_id AND g.server_id = u.server_id AND g.withdrawn_at IS NULL)""",
    Reach.DRAFT: "SELECT g.client_id FROM inventory_grant g WHERE g.withdrawn_at IS NULL AND g.approved_at IS NULL",
    Reach.ENDED: """
        SELECT g.client_id FROM inventory_grant g
        WHERE g.withdrawn_at IS NULL AND g.approved_at IS NOT NULL AND g.ends_at <= %(now)s""",
    Reach.UNUSED: f"""
        SELECT g.client_id FROM inventory_grant g
        WHERE {_IN_FORCE} AND NOT EXISTS (SELECT 1 FROM inventory_use u WHERE {_USE_OF_PAIR})""",
    Reach.EXCEEDS: f"""
        SELECT g.client_id FROM (
          SELECT g.client_id, g.server_id FROM inventory_grant g
          JOIN (SELECT t.server_id, array_agg(t.name ORDER BY t.name COLLATE "C") AS names,
              array_agg(t.name) FILTER (WHERE t.approved_digest NOT IN ('', t.schema_digest)) AS moved
            FROM inventory_tool t WHERE t.gone_at IS NULL GROUP BY t.server_id) o ON o.server_id = g.server_id
          WHERE {_IN_FORCE} AND (g.tools && o.moved OR (o.names <> g.tools AND NOT o.names <@ g.tools))
          OFFSET 0  -- first the few whose tools differ, then their uses: the planner would do it the other way about
        ) g WHERE EXISTS (SELECT 1 FROM inventory_use u WHERE {_USE_OF_PAIR})
        UNION ALL
        SELECT g.client_id FROM inventory_grant g JOIN inventory_use u ON {_USE_OF_PAIR}
        JOIN inventory_credential c ON c.id = u.credential_id
        WHERE {_IN_FORCE} AND c.gone_at IS NULL AND NOT c.status = ANY (%(ended)s) AND NOT c.scopes <@ g.scopes""",
}
FINDABLE = tuple(_CLIENTS)


def has_cell(states: Collection[str], now: datetime) -> RawSQL:
    """Whether a row of McpClient has a pair in one of `states`, of FINDABLE: a condition for its querysets."""
    named = " UNION ALL ".join(_CLIENTS[Reach(state)] for state in states)
    known = {"now": now, "ended": _ENDED}
    names = re.compile(r"%\((\w+)\)s")  # beside what Django binds itself, values are bound by place
    positional = names.sub("%s", named)
    return RawSQL(  # nosec B611  # noqa: S611 - the text is ours
        f"inventory_mcpclient.id IN ({positional})",
        [known[name] for name in names.findall(named)],
        output_field=BooleanField(),
    )
