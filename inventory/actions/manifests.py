"""Keep what servers publish about themselves, as far as a connection sees it. Part of the action that ends its run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import connection as database

from inventory.actions.reconcile import WHOLE
from inventory.discovery.listing import fit
from inventory.discovery.manifests import ADDRESS, KEY, NAME, TITLE, VERSION
from inventory.discovery.model import FoundManifest
from inventory.models import Connection

_LISTED = """jsonb_to_recordset(%(rows)s::jsonb)
  AS r(file text, name text, version text, packages varchar[], urls varchar[], inputs jsonb)"""
_SAID = "name, version, packages, urls, inputs"


def record_manifests(
    connection: Connection, manifests: Mapping[str, FoundManifest], *, unread: Sequence[str], now: datetime
) -> dict[str, int]:
    """Make the rows of `connection` say what was found, by file; what could not be read is not taken for gone."""
    said = [f"r.{column}" for column in _SAID.split(", ")]
    given: dict[str, Any] = {
        "rows": json.dumps([_row(file, manifest) for file, manifest in manifests.items()]),
        "connection": connection.pk,
        "now": now,
        "seen": connection.last_complete_at or now,
        "unread": list(unread),
        "whole": WHOLE,
    }
    with database.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO inventory_manifest (connection_id, file, {_SAID}, first_seen_at)
            SELECT %(connection)s, r.file, {", ".join(said)}, %(now)s FROM {_LISTED}
            WHERE NOT EXISTS (SELECT 1 FROM inventory_manifest m
              WHERE m.connection_id = %(connection)s AND m.file = r.file AND m.gone_at IS NULL)
            """,
            given,
        )
        added = cursor.rowcount
        cursor.execute(
            f"""
            UPDATE inventory_manifest m SET ({_SAID}) = ({", ".join(said)}) FROM {_LISTED}
            WHERE m.connection_id = %(connection)s AND m.file = r.file AND m.gone_at IS NULL
              AND (m.name, m.version, m.packages, m.urls, m.inputs) IS DISTINCT FROM ({", ".join(said)})
            """,
            given,
        )
        changed = cursor.rowcount
        cursor.execute(
            f"""
            UPDATE inventory_manifest m SET gone_at = %(now)s, last_seen_at = greatest(m.first_seen_at, %(seen)s)
            WHERE m.connection_id = %(connection)s AND m.gone_at IS NULL
              AND NOT EXISTS (SELECT 1 FROM {_LISTED} WHERE r.file = m.file)
              AND NOT EXISTS (SELECT 1 FROM unnest(%(unread)s::text[]) AS missed(path)
                WHERE m.file = missed.path OR starts_with(m.file, left(rtrim(missed.path, '/') || '/', %(whole)s)))
            """,
            given,
        )
        return {"manifests_added": added, "manifests_changed": changed, "manifests_gone": cursor.rowcount}


def _row(file: str, manifest: FoundManifest) -> dict[str, object]:
    return {
        "file": file,
        "name": fit(manifest.name, TITLE),
        "version": fit(manifest.version, VERSION),
        "packages": [fit(key, KEY) for key in manifest.packages],
        "urls": [fit(url, ADDRESS) for url in manifest.urls],
        "inputs": [{**asdict(each), "name": fit(each.name, NAME)} for each in manifest.inputs],
    }
