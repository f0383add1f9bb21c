"""What clients can do on servers, held against what was granted: one row for each pair, of many pairs in one statement.

MCP has no gate at single tools: who reaches a server reaches every tool that it lists.
"""

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


def has_cell(states: Collection[str], now: datetime) -> RawSQL:
    """Whether a row of McpClient has a pair in one of `states`: a condition for its querysets."""
    cells_of_one = _CELLS.format(of="x.client_id = inventory_mcpclient.id")
    positional = cells_of_one.replace("%(now)s", "%s", 1).replace("%(ended)s", "%s", 1)
    return RawSQL(  # noqa: S611 - the text is ours
        f"EXISTS (SELECT 1 FROM ({positional}) cells WHERE cells.state = ANY (%s))",
        [now, _ENDED, list(states)],
        output_field=BooleanField(),
    )
