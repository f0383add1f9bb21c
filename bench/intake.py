"""Intake: a feed lists a million credentials, and then the same million again."""

import json
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.db import connection
from django.utils import timezone
from psycopg.types.array import ListDumper

from access.actors import Actor
from bench.measure import Row, timed
from bench.scratch import scratch_database
from config.celery import app
from inventory.actions.connections import create_connection
from inventory.actions.reconcile import TYPES
from inventory.discovery.listing import COLUMNS, Discovered
from inventory.feeds.bodies import pieces
from inventory.feeds.rows import NDJSON
from inventory.intake import take
from inventory.models import Connection
from inventory.states import ConnectionKind

ACTOR = Actor.system("benchmark")
FLOOR = 25_000  # rows per second
BATCH = 50_000
SETTINGS: dict[str, Any] = {"identity": ["issuer", "external_id"], "complete": True}
KINDS = ("api_key", "aws_access_key", "personal_access_token", "database_password", "oauth_client_secret")
EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
VALUES = attrgetter(*COLUMNS)
TABLES = ("credential", "credentialversion", "exposure", "mcpclient", "mcpserver", "use")


def run(sizes: tuple[int, ...] | int = (1_000_000,)) -> list[Row]:
    return [row for size in (sizes if isinstance(sizes, tuple) else (sizes,)) for row in _run(size)]


def listed(first: int, last: int) -> Iterator[Discovered]:
    """What a feed says of its credentials. The fingerprints are numbers and come from no secret."""
    for n in range(first, last):
        yield Discovered(
            file="feed",
            pointer=f"/{n}",
            credential_key=f"feed:{n}",
            credential_name=f"service-{n % 5_000} / token {n}",
            kind=KINDS[n % len(KINDS)],
            issuer=f"issuer-{n % 40}",
            trust_model="static_service",
            storage="provider",
            status="active",
            external_id=f"id-{n:09d}",
            fingerprint=f"kf1:{n:032x}",
            hint=f"…{n % 10_000:04d}",
            issued_at=EPOCH + timedelta(minutes=n % 700_000),
        )


def _run(size: int) -> Iterator[Row]:
    app.conf.broker_url = "memory://"  # who would evaluate afterwards is told, and nobody listens
    with scratch_database(), TemporaryDirectory() as folder:
        body = Path(folder) / "rows.ndjson"
        with body.open("wb") as out:
            out.writelines(map(as_line, listed(0, size)))
        feed = create_connection(
            kind=ConnectionKind.FEED, name="Feed", settings=SETTINGS, actor=ACTOR, now=timezone.now()
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        first = _intake(feed, body)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        second = _intake(feed, body)
        limit = _bare_copy(size)  # last, for it holds its rows in memory
        if first.written != 2 * size:  # each credential and its version
            raise AssertionError(f"{first.written} rows were written for {size} credentials")
    for name, seconds, budget in (
        ("intake of a file", first.seconds, FLOOR),
        ("its reconciliation alone", first.applied, None),
        ("second identical intake", second.seconds, FLOOR),
    ):
        rate = size / seconds
        yield Row(
            name=name,
            size=size,
            value=round(rate),
            unit="rows/s",
            limit=round(limit),
            ratio=round(rate / limit, 3),
            budget=f"≥ {budget} rows/s" if budget else "",
            ok=budget is None or rate >= budget,
        )
    yield Row(
        name="rows written by the second identical intake",
        size=size,
        value=second.written,
        unit="rows",
        limit=None,
        ratio=None,
        budget="0",
        ok=second.written == 0,
    )
    grown = (after - before) / 1024
    yield Row(
        name="memory that the intake adds",
        size=size,
        value=round(grown, 1),
        unit="MiB",
        limit=None,
        ratio=None,
        budget="≤ 64 MiB at any size",
        ok=grown <= 64,
    )


def as_line(row: Discovered) -> bytes:
    """What a sender would write of it."""
    said = {
        "name": row.credential_name,
        "kind": row.kind,
        "issuer": row.issuer,
        "trust_model": row.trust_model,
        "status": row.status,
        "external_id": row.external_id,
        "fingerprint": row.fingerprint,
        "issued_at": row.issued_at.isoformat() if row.issued_at else None,
    }
    return json.dumps(said).encode() + b"\n"


@dataclass(frozen=True)
class Taken:
    """What one delivery took: seconds from its first byte, of which `applied` after the last row was staged."""

    seconds: float
    applied: float
    written: int


def _intake(feed: Connection, body: Path) -> Taken:
    """One delivery as the command makes it; how many rows the database says it wrote."""
    staged_at = 0.0

    def show(_read: int) -> None:
        nonlocal staged_at
        staged_at = time.perf_counter()

    before = _written()
    with body.open("rb") as source, timed() as watch:
        begun = time.perf_counter()
        take(
            feed,
            pieces(source.read, length=None),
            format_=NDJSON,
            clock=timezone.now,
            actor=ACTOR,
            progress=show,
        )
    return Taken(watch.seconds, begun + watch.seconds - staged_at, _written() - before)


def _written() -> int:
    """What was done to the tables of the inventory so far, as PostgreSQL counted it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables"
            " WHERE schemaname = 'public' AND relname = ANY(%s)",
            [[f"inventory_{table}" for table in TABLES]],
        )
        return int(cursor.fetchone()[0])


def _bare_copy(size: int) -> float:
    """Rows per second of COPY alone: the same rows, ready as tuples, into a table of the same columns without index."""
    columns = ", ".join(f"{name} {TYPES.get(name, 'text')}" for name in COLUMNS)
    seconds = 0.0
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE bare (n bigint GENERATED ALWAYS AS IDENTITY, {columns})")
        for first in range(0, size, BATCH):
            rows = [VALUES(row) for row in listed(first, min(size, first + BATCH))]
            cursor.adapters.register_dumper(tuple, ListDumper)
            with timed() as watch, cursor.copy(f"COPY bare ({', '.join(COLUMNS)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            seconds += watch.seconds
        cursor.execute("DROP TABLE bare")
    return size / seconds
