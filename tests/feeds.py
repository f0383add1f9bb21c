"""A feed for tests, and deliveries to it through the code that the command and the API use."""

import gzip
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from access.actors import Actor
from inventory.actions.connections import create_connection
from inventory.feeds.rows import NDJSON
from inventory.intake import Receipt, take
from inventory.models import Connection
from inventory.states import ConnectionKind

ACTOR = Actor.system("tests")
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def feed(**settings: Any) -> Connection:
    return create_connection(kind=ConnectionKind.FEED, name="CMDB", settings=settings, actor=ACTOR, now=NOW)


def lines(*rows: Any) -> bytes:
    """Rows as NDJSON; a text stands for itself."""
    return b"".join((row if isinstance(row, str) else json.dumps(row)).encode() + b"\n" for row in rows)


def in_pieces(body: bytes, size: int = 100) -> Iterator[bytes]:
    source = io.BytesIO(body)
    while piece := source.read(size):
        yield piece


def deliver(to: Connection, *rows: Any, at: datetime = NOW, format_: str = NDJSON, key: str = "") -> Receipt:
    body = rows[0] if len(rows) == 1 and isinstance(rows[0], bytes) else lines(*rows)
    to.refresh_from_db()
    return take(to, in_pieces(body), format_=format_, clock=lambda: at, actor=ACTOR, key=key)


def packed(body: bytes) -> bytes:
    return gzip.compress(body)


def key_of(n: int, **more: Any) -> dict[str, Any]:
    """A credential as a feed describes it."""
    return {"name": f"service {n}", "issuer": "Example", "external_id": f"id-{n}", "status": "active", **more}
