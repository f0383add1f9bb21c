"""Keep what live places answered: verdicts of the checklist, tools, what they publish, how that differs from before.

Everything here is set-based and part of the action that ends a look, so it records no audit entry of its own: the
run's entry has the counts. What differs in nothing is not written.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db.backends.utils import CursorWrapper

from inventory.discovery.listing import NAME, fit, seen
from inventory.models import MetadataSnapshot
from inventory.posture.model import CheckResult, Target
from providers.observations import ObservedTool

MOST_DIFFERENCES = 50
DESCRIPTION, SCOPE = 2_000, 200
# A server that offers other tools, or publishes something else, each time it is asked must not fill the disk.
GONE_TOOLS = 500
SNAPSHOTS, SNAPSHOT_BYTES = 50, 8 << 20


def record_checks(target: Target, results: Iterable[tuple[UUID, CheckResult]], *, now: datetime) -> int:
    """Keep verdicts by subject and check; how many rows were added or say something else now."""
    rows = [
        {
            "subject": str(subject),
            "check_id": result.check.id,
            "verdict": result.verdict,
            "severity": result.severity,
            "evidence": result.evidence,
            "specification": result.check.section[:100],
        }
        for subject, result in results
    ]
    subjects = ", ".join(f"{'r.subject' if each is target else 'NULL'}" for each in Target)
    said = "verdict, severity, evidence, specification"
    with database.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO inventory_posturecheck
              (server_id, authorization_server_id, client_id, check_id, {said}, checked_at, changed_at)
            SELECT {subjects}, r.check_id, r.verdict, r.severity, r.evidence, r.specification, %(now)s, %(now)s
            FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(subject uuid, check_id text, verdict text, severity smallint,
              evidence jsonb, specification text)
            ON CONFLICT (server_id, authorization_server_id, client_id, check_id) DO UPDATE
            SET verdict = excluded.verdict, severity = excluded.severity, evidence = excluded.evidence,
                specification = excluded.specification, checked_at = excluded.checked_at,
                changed_at = CASE WHEN inventory_posturecheck.verdict = excluded.verdict
                  THEN inventory_posturecheck.changed_at ELSE excluded.changed_at END
            WHERE (inventory_posturecheck.verdict, inventory_posturecheck.severity, inventory_posturecheck.evidence,
                   inventory_posturecheck.specification)
              IS DISTINCT FROM (excluded.verdict, excluded.severity, excluded.evidence, excluded.specification)
            """,
            {"rows": _json(rows), "now": now},
        )
        return int(cursor.rowcount)


def record_tools(listed: Mapping[UUID, Sequence[ObservedTool]], *, now: datetime) -> dict[str, int]:
    """Keep the tools of servers that listed all of theirs; one that is no longer listed is gone."""
    rows = [
        {
            "server": str(server),
            "name": fit(tool.name, NAME),
            "is_read_only": tool.is_read_only,
            "is_destructive": tool.is_destructive,
            "is_open_world": tool.is_open_world,
            "description": fit(tool.description, DESCRIPTION),
            "scopes": [fit(scope, SCOPE) for scope in tool.scopes],
            "schema_digest": tool.schema_digest,
        }
        for server, tools in listed.items()
        for tool in tools
    ]
    described = "is_read_only, is_destructive, is_open_world, description, scopes, schema_digest"
    listing = """jsonb_to_recordset(%(rows)s::jsonb) AS r(server uuid, name text, is_read_only boolean,
        is_destructive boolean, is_open_world boolean, description text, scopes varchar[], schema_digest text)"""
    given: dict[str, Any] = {"rows": _json(rows), "now": now, "servers": list(listed)}
    with database.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO inventory_tool (server_id, name, {described}, approved_digest, approved_by, first_seen_at)
            SELECT r.server, r.name, {", ".join(f"r.{column}" for column in described.split(", "))}, '', '', %(now)s
            FROM {listing}
            ON CONFLICT (server_id, name) DO NOTHING
            """,
            given,
        )
        added = cursor.rowcount
        cursor.execute(
            f"""
            UPDATE inventory_tool t
            SET ({described}) = ({", ".join(f"r.{column}" for column in described.split(", "))}), gone_at = NULL,
                changed_at = CASE WHEN t.schema_digest = r.schema_digest THEN t.changed_at ELSE %(now)s END
            FROM {listing}
            WHERE t.server_id = r.server AND t.name = r.name AND (t.gone_at IS NOT NULL OR
              (t.is_read_only, t.is_destructive, t.is_open_world, t.description, t.scopes, t.schema_digest)
              IS DISTINCT FROM ({", ".join(f"r.{column}" for column in described.split(", "))}))
            """,
            given,
        )
        changed = cursor.rowcount
        cursor.execute(
            f"""
            UPDATE inventory_tool t SET gone_at = %(now)s
            WHERE t.server_id = ANY (%(servers)s) AND t.gone_at IS NULL
              AND NOT EXISTS (SELECT 1 FROM {listing} WHERE r.server = t.server_id AND r.name = t.name)
            """,
            given,
        )
        gone = cursor.rowcount
        if gone:
            _forget_tools(cursor, list(listed))
        return {"tools_added": added, "tools_changed": changed, "tools_gone": gone}


def _forget_tools(cursor: CursorWrapper, servers: list[UUID]) -> None:
    """Of the tools that are gone keep the latest of each server, and all that somebody approved."""
    cursor.execute(
        """
        DELETE FROM inventory_tool WHERE id IN (
          SELECT id FROM (
            SELECT id, row_number() OVER (PARTITION BY server_id ORDER BY gone_at DESC, id DESC) AS place
            FROM inventory_tool
            WHERE server_id = ANY (%(servers)s) AND gone_at IS NOT NULL AND approved_digest = ''
          ) gone WHERE place > %(kept)s)
        """,
        {"servers": servers, "kept": GONE_TOOLS},
    )


def latest_documents(target: Target, subjects: Iterable[UUID]) -> dict[UUID, dict[str, Any]]:
    """What each subject published when it was last looked at; nothing for one that was never looked at."""
    column = f"{target.value}_id"
    rows = (
        MetadataSnapshot.objects.filter(**{f"{column}__in": list(subjects)})
        .order_by(column, "-id")
        .distinct(column)
        .values_list(column, "document")
    )
    return dict(rows)


def record_documents(
    target: Target,
    documents: Mapping[UUID, Mapping[str, Any]],
    *,
    differences: Mapping[UUID, Sequence[str]],
    now: datetime,
) -> int:
    """Keep what subjects publish where it is not what they published before; how many say something new.

    `differences` says in sentences how each differs from the document before; the first has none.
    """
    clean: dict[UUID, dict[str, Any]] = {subject: _clean(document) for subject, document in documents.items()}
    before = latest_documents(target, clean)
    new = [
        MetadataSnapshot(
            **{f"{target.value}_id": subject},
            digest=sha256(_json(document).encode()).hexdigest(),
            document=document,
            differences=list(differences.get(subject, ()))[:MOST_DIFFERENCES],
            first_seen_at=now,
        )
        for subject, document in clean.items()
        if before.get(subject) != document
    ]
    MetadataSnapshot.objects.bulk_create(new, batch_size=1_000)
    if new:
        _thin_out(target, [getattr(row, f"{target.value}_id") for row in new])
    return len(new)


def _thin_out(target: Target, subjects: list[UUID]) -> None:
    """Keep of each subject the latest documents, and of those before them the first of each month.

    What a client published when somebody decided about it stays too: it is what the decision was about.
    """
    column = f"{target.value}_id"
    decided = "c.admission_changed_at" if target is Target.CLIENT else "NULL::timestamptz"
    with database.cursor() as cursor:
        cursor.execute(
            f"""
            DELETE FROM inventory_metadatasnapshot WHERE id IN (
              SELECT id FROM (
                SELECT s.id, s.first_seen_at, {decided} AS decided_at,
                  row_number() OVER latest AS place,
                  sum(pg_column_size(s.document)) OVER latest AS size,
                  lag(s.first_seen_at) OVER latest AS replaced_at,
                  row_number() OVER (PARTITION BY s.{column}, date_trunc('month', s.first_seen_at) ORDER BY s.id)
                    AS place_in_month
                FROM inventory_metadatasnapshot s LEFT JOIN inventory_mcpclient c ON c.id = s.client_id
                WHERE s.{column} = ANY (%(subjects)s)
                WINDOW latest AS (PARTITION BY s.{column} ORDER BY s.id DESC)
              ) kept
              WHERE place > 2 AND (place > %(most)s OR size > %(bytes)s) AND place_in_month > 1
                AND (decided_at >= first_seen_at AND decided_at < replaced_at) IS NOT TRUE)
            """,
            {"subjects": subjects, "most": SNAPSHOTS, "bytes": SNAPSHOT_BYTES},
        )


def _json(value: Any) -> str:
    return json.dumps(_clean(value), sort_keys=True)


def _clean(value: Any) -> Any:
    """JSON that a column takes: a NUL or half a surrogate pair from outside would end the whole statement."""
    if isinstance(value, str):
        return seen(value)
    if isinstance(value, Mapping):
        return {_clean(str(key)): _clean(part) for key, part in value.items()}
    return [_clean(part) for part in value] if isinstance(value, list | tuple) else value
