"""The audit chain: entries appended one by one and many at once, and how fast all of it is verified."""

import time
from collections.abc import Callable

from django.db import connection, transaction

from access.actors import Actor
from audit.actions import action, record
from audit.chain import verify
from audit.events import Event
from audit.models import AuditEntry
from bench.measure import Row, timed
from bench.scratch import scratch_database

ACTOR = Actor.system("benchmark")
SECONDS = 2.0
ONE_BY_ONE = 0.5  # of what the database commits in a second
AT_ONCE, VERIFIED = 50_000, 100_000  # entries a second


def run(size: int = 100_000) -> list[Row]:
    with scratch_database():
        return [_one_by_one(), _at_once(size), _verified()]


@action
def _write(count: int) -> None:
    for number in range(count):
        record(
            Event.CREDENTIAL_OWNER_ASSIGNED,
            actor=ACTOR,
            detail={"from": None, "to": "Mira Okafor", "n": number, "reason": "the team moved"},
        )


def _one_by_one() -> Row:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bare (n bigint)")
    bare, written = _rate(_bare), _rate(lambda: _write(1))
    return Row(
        name="append by one connection, against bare commits",
        size=int(written * SECONDS),
        value=round(written),
        unit="entries/s",
        limit=round(bare),
        ratio=round(written / bare, 2),
        budget=f"ratio at least {ONE_BY_ONE}",
        ok=written / bare >= ONE_BY_ONE,
    )


def _bare() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO bare VALUES (1)")


def _rate(work: Callable[[], None]) -> float:
    done, until = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        work()
        done += 1
    return done / SECONDS


def _at_once(size: int) -> Row:
    """Against the same rows and indexes without the chain: no trigger, and a text and a hash that are given."""
    with timed() as took:
        _write(size)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("CREATE TABLE bare_entry (LIKE audit_auditentry INCLUDING ALL)")
        with timed() as bare:
            cursor.execute("INSERT INTO bare_entry SELECT * FROM audit_auditentry ORDER BY seq DESC LIMIT %s", [size])
        cursor.execute("DROP TABLE bare_entry")
    written, limit = size / took.seconds, size / bare.seconds
    return Row(
        name="append within one transaction, against rows without a chain",
        size=size,
        value=round(written),
        unit="entries/s",
        limit=round(limit),
        ratio=round(written / limit, 2),
        budget=f"at least {AT_ONCE:,} entries/s",
        ok=written >= AT_ONCE,
    )


def _verified() -> Row:
    with timed() as read:
        for _ in AuditEntry.objects.links():
            pass
    with timed() as took:
        found = verify(AuditEntry.objects.links())
    rate = found.count / took.seconds
    return Row(
        name="verification, against reading alone",
        size=found.count,
        value=round(rate),
        unit="entries/s",
        limit=round(found.count / read.seconds),
        ratio=round(read.seconds / took.seconds, 2),
        budget=f"at least {VERIFIED:,} entries/s",
        ok=found.broken is None and rate >= VERIFIED,
    )
