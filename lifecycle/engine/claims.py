"""Who works on an operation: a lease with a token, taken by one conditional update, repeated in every later write."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.db import connection as database
from django.db import transaction
from django.db.models import Exists, OuterRef, Subquery

from lifecycle.models import Operation, ProviderLoad

# Longer than any provider takes to show what was done to it, so that whoever takes over sees all that was done.
LEASE = timedelta(minutes=5)
RENEWED_AFTER = LEASE / 3
AT_A_TIME = 20  # operations of one connection that one sweep rings for
IN_ALL = 400


class LeaseLost(Exception):
    """Somebody else has this operation now, or it has ended; whatever this worker would still write is refused."""


@dataclass(slots=True)
class Lease:
    operation_id: UUID
    token: UUID
    until: datetime


@dataclass(frozen=True, slots=True)
class Load:
    """What a connection bore when it was claimed."""

    failures: int
    is_slow: bool


@dataclass(frozen=True, slots=True)
class Due:
    operation_id: UUID
    is_slow: bool


def claim(operation_id: UUID, *, now: datetime) -> tuple[Lease, Load] | None:
    """The lease, if the operation is due, nobody has it, and its connection bears one more.

    The connection's row is locked first, and what is under way is counted by the statement after: two workers never
    both count what the other has not written yet.
    """
    lease = Lease(operation_id, uuid4(), now + LEASE)
    with transaction.atomic(), database.cursor() as cursor:
        row = _load(cursor, operation_id)
        if row is None:
            cursor.execute(
                "INSERT INTO lifecycle_providerload (connection_id, at_once, failures, is_slow, error)"
                " SELECT connection_id, %s, 0, false, '' FROM lifecycle_operation WHERE id = %s ON CONFLICT DO NOTHING",
                [ProviderLoad._meta.get_field("at_once").default, operation_id],
            )
            row = _load(cursor, operation_id)
        if row is None:
            return None  # there is no such operation
        connection, at_once, failures, is_slow, paused_until = row
        if paused_until is not None and paused_until > now:
            return None
        cursor.execute(
            """
            UPDATE lifecycle_operation SET lease_token = %(token)s, lease_until = %(until)s
            WHERE id = %(id)s AND closed_at IS NULL AND due_at <= %(now)s
              AND (lease_until IS NULL OR lease_until <= %(now)s)
              AND (SELECT count(*) FROM lifecycle_operation r
                   WHERE r.connection_id = %(connection)s AND r.closed_at IS NULL AND r.lease_until > %(now)s)
                < %(at_once)s
            """,
            {
                "token": lease.token,
                "until": lease.until,
                "id": operation_id,
                "now": now,
                "connection": connection,
                "at_once": at_once,
            },
        )
        return (lease, Load(failures, is_slow)) if cursor.rowcount else None


def _load(cursor: object, operation_id: UUID) -> tuple[UUID, int, int, bool, datetime | None] | None:
    cursor.execute(  # type: ignore[attr-defined]
        """
        SELECT l.connection_id, l.at_once, l.failures, l.is_slow, l.paused_until
        FROM lifecycle_providerload l JOIN lifecycle_operation o ON o.connection_id = l.connection_id
        WHERE o.id = %s FOR NO KEY UPDATE OF l
        """,
        [operation_id],
    )
    found: tuple[UUID, int, int, bool, datetime | None] | None = cursor.fetchone()  # type: ignore[attr-defined]
    return found


def renew(lease: Lease, *, now: datetime) -> None:
    """Keep it while a step takes long. Raises LeaseLost."""
    until = now + LEASE
    mine = Operation.objects.open().filter(pk=lease.operation_id, lease_token=lease.token)
    if not mine.update(lease_until=until):
        raise LeaseLost
    lease.until = until


def due_beside(operation_id: UUID, now: datetime) -> Sequence[Due]:
    """The next one of the same connection that is due and free; at most one, for the place that became free."""
    rows = Operation.objects.due(now).filter(
        connection=Operation.objects.filter(pk=operation_id).values("connection_id")[:1]
    )
    load = ProviderLoad.objects.filter(connection=OuterRef("connection"))
    found = rows.exclude(Exists(load.filter(paused_until__gt=now))).order_by("-is_urgent", "due_at")
    return [Due(*row) for row in found.values_list("pk", Subquery(load.values("is_slow")[:1]))[:1]]


def due(now: datetime, *, most: int = IN_ALL, of_each: int = AT_A_TIME) -> Sequence[Due]:
    """What is due and free: of each connection its most urgent, and of all connections in turn. One statement.

    A connection with a long queue, or one that is left in peace, takes no place of another's.
    """
    with database.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE asked (connection_id) AS (
              (SELECT connection_id FROM lifecycle_operation WHERE due_at IS NOT NULL ORDER BY connection_id LIMIT 1)
              UNION ALL
              SELECT (SELECT o.connection_id FROM lifecycle_operation o
                      WHERE o.due_at IS NOT NULL AND o.connection_id > asked.connection_id
                      ORDER BY o.connection_id LIMIT 1)
              FROM asked WHERE asked.connection_id IS NOT NULL
            )
            SELECT d.id, coalesce(l.is_slow, false)
            FROM asked
            LEFT JOIN lifecycle_providerload l ON l.connection_id = asked.connection_id
            CROSS JOIN LATERAL (
              SELECT o.id, o.is_urgent, o.due_at, row_number() OVER (ORDER BY o.is_urgent DESC, o.due_at) AS place
              FROM lifecycle_operation o
              WHERE o.connection_id = asked.connection_id AND o.due_at <= %(now)s
                AND (o.lease_until IS NULL OR o.lease_until <= %(now)s)
              ORDER BY o.is_urgent DESC, o.due_at LIMIT %(of_each)s
            ) d
            WHERE l.paused_until IS NULL OR l.paused_until <= %(now)s
            ORDER BY d.is_urgent DESC, d.place, d.due_at LIMIT %(most)s
            """,
            {"now": now, "of_each": of_each, "most": most},
        )
        return [Due(*row) for row in cursor.fetchall()]
