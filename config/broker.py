"""The broker as seen from outside: whether it answers, and what waits in it."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection
from kombu import Connection as BrokerConnection
from kombu.exceptions import OperationalError

from config.queues import QUEUES

PATIENCE = 2  # seconds


@dataclass(frozen=True, slots=True)
class Waiting:
    """One queue: its messages, and how many seconds the oldest has waited where the broker can tell."""

    queue: str
    count: int
    oldest: float | None


def broker_answers() -> bool:
    """Whether messages can be sent now. The queue in the database is there when its schema is."""
    if not settings.BROKER_URL:
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regtype('pgmq.message_record') IS NOT NULL")
            return bool(cursor.fetchone()[0])
    with BrokerConnection(settings.BROKER_URL, connect_timeout=PATIENCE) as broker:
        try:
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=PATIENCE)
        except _refusals(broker):
            return False
    return True


def _refusals(broker: BrokerConnection) -> tuple[type[BaseException], ...]:
    return (OperationalError, OSError, *broker.connection_errors, *broker.channel_errors)


def waiting() -> list[Waiting]:
    """The queues that there are; nothing where the broker does not answer."""
    if not broker_answers():
        return []
    if not settings.BROKER_URL:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT queue_name, queue_length, coalesce(oldest_msg_age_sec, 0) FROM pgmq.metrics_all()"
                " WHERE queue_name = ANY(%s) ORDER BY 1",
                [list(QUEUES)],
            )
            return [Waiting(*row) for row in cursor.fetchall()]
    found = []
    with BrokerConnection(settings.BROKER_URL, connect_timeout=PATIENCE) as broker:
        for queue in QUEUES:
            # A queue that no worker has declared yet does not exist; asking for it ends the channel.
            with suppress(*_refusals(broker)):
                channel: Any = broker.channel()  # each transport has its own
                found.append(Waiting(queue, channel.queue_declare(queue, passive=True).message_count, None))
    return found
