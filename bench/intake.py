"""Intake: a feed lists a million credentials, and then the same million again."""

import resource
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from operator import attrgetter

from django.db import connection, transaction
from django.utils import timezone
from psycopg.types.array import ListDumper

from access.actors import Actor
from bench.measure import Row, timed
from bench.scratch import scratch_database
from inventory.actions.connections import create_connection
from inventory.actions.reconcile import TYPES, Reconciliation
from inventory.actions.syncs import claim, complete
from inventory.discovery.listing import COLUMNS, Discovered
from inventory.models import Connection
from inventory.states import ConnectionKind

ACTOR = Actor.system("benchmark")
FLOOR = 25_000  # rows per second
BATCH = 50_000
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
    with scratch_database():
        feed = create_connection(kind=ConnectionKind.FEED, name="Feed", settings={}, actor=ACTOR, now=timezone.now())
        limit = _bare_copy(size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        first, written = _intake(feed, size)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        second, rewritten = _intake(feed, size)
        if written != 2 * size:  # each credential and its version
            raise AssertionError(f"{written} rows were written for {size} credentials")
    for name, seconds in (("intake", first), ("second identical intake", second)):
        rate = size / seconds
        yield Row(
            name=name,
            size=size,
            value=round(rate),
            unit="rows/s",
            limit=round(limit),
            ratio=round(rate / limit, 3),
            budget=f"≥ {FLOOR} rows/s",
            ok=rate >= FLOOR,
        )
    yield Row(
        name="rows written by the second identical intake",
        size=size,
        value=rewritten,
        unit="rows",
        limit=None,
        ratio=None,
        budget="0",
        ok=rewritten == 0,
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


def _intake(feed: Connection, size: int) -> tuple[float, int]:
    """One run as a worker makes it; how long it took, and how many rows the database says it wrote."""
    with timed() as watch:
        lease = claim(feed.pk, now=timezone.now(), actor=ACTOR)
        assert lease is not None
        listing = Reconciliation(lease.connection, now=timezone.now())
        listing.open()
        for first in range(0, size, BATCH):
            listing.stage(listed(first, min(size, first + BATCH)))
        with transaction.atomic():
            complete(lease, listing, now=timezone.now(), done=size, problems=[], unread=[], actor=ACTOR)
            written = _written()
        listing.close()
    return watch.seconds, written


def _written() -> int:
    """What this transaction did to the tables of the inventory, as PostgreSQL counted it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_xact_user_tables"
            " WHERE relname = ANY(%s)",
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
