"""The queue in the database: its schema and its tables, made in advance by the role that owns them.

A worker or a web process then has nothing to create: `config.transport` uses what is there.
"""

import psycopg
from pgmq import PGMQInstallError, install_pgmq_from_sql

from config.errors import CannotStart

SCHEMA = "pgmq"
QUEUES = ("default", "sync", "files", "evaluate", "operate", "operate_slow")
THROTTLE = 50  # milliseconds between two notifications of one queue
QUEUE_LOCK = 7_260_551_443  # any number, ours alone


def install_queues(conninfo: str) -> None:
    """Make what is missing of it, once, whoever comes first."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [QUEUE_LOCK])
        row = connection.execute("SELECT to_regtype('pgmq.message_record') IS NULL").fetchone()
        if row == (True,):
            try:
                install_pgmq_from_sql(conn=connection)
            except PGMQInstallError as exc:
                raise CannotStart(
                    "The message queue's schema pgmq cannot be created in the database. Grant the role CREATE there, "
                    "or name another broker in KEYREEVE_BROKER_URL."
                ) from exc
        notifying = {
            name
            for (name,) in connection.execute(
                "SELECT t.tgrelid::regclass::text FROM pg_trigger t"
                " WHERE t.tgname = 'trigger_notify_queue_insert_listeners'"
            )
        }
        for queue in QUEUES:
            if f"{SCHEMA}.q_{queue}" not in notifying:
                connection.execute("SELECT pgmq.create(%s)", [queue])
                connection.execute("SELECT pgmq.enable_notify_insert(%s, %s)", [queue, THROTTLE])
