"""What the application's role is refused in the database, what it needs, and how an older database is divided."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings
from django.db import connection as database
from kombu import Connection as BrokerConnection
from kombu import Queue
from psycopg.conninfo import make_conninfo

from config.embedded import SUPERUSER
from config.errors import CannotStart
from config.queues import QUEUES, THROTTLE
from config.roles import APPLICATION, MAINTAIN_SINCE, OWNER, SCHEMAS, divide, grant, may

pytestmark = pytest.mark.django_db

FORBIDDEN = [
    "UPDATE audit_auditentry SET event = 'another'",
    "DELETE FROM audit_auditentry",
    "TRUNCATE audit_auditentry",
    "UPDATE audit_chainhead SET seq = 1",
    "DELETE FROM audit_chainhead",
    "DELETE FROM audit_chainkey",
    "ALTER TABLE audit_auditentry DISABLE TRIGGER ALL",
    "DROP TRIGGER audit_entry_seal ON audit_auditentry",
    "CREATE OR REPLACE FUNCTION audit_entry_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
    "ALTER FUNCTION audit_entry_seal() RENAME TO another",
    "SET session_replication_role = replica",
    "DROP TABLE audit_auditentry",
    "UPDATE history.inventory_credential SET history_until = 'infinity'",
    "ALTER TABLE inventory_credential DISABLE TRIGGER history_keep_changed",
    "TRUNCATE inventory_credential",
    "ALTER TABLE inventory_credential ADD COLUMN another text",
    "INSERT INTO django_migrations (app, name, applied) VALUES ('audit', '0099_another', now())",
    "UPDATE auth_group SET name = 'another'",
    "CREATE TABLE public.another (n int)",
    "CREATE FUNCTION public.another() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA another",
    "CREATE ROLE another",
    f"SET ROLE {OWNER}",
    "COPY inventory_owner (name) FROM PROGRAM 'id'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pgmq.create('another')",
]


def conninfo(user: str, name: str | None = None) -> str:
    known = database.settings_dict
    return make_conninfo(host=known["HOST"], dbname=name or known["NAME"], user=user)


@pytest.fixture
def undivided() -> Iterator[str]:
    """A database of a release that had one role for everything."""
    name = f"undivided_{uuid4().hex[:8]}"
    with psycopg.connect(conninfo(SUPERUSER, "postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {settings.DATABASES['default']['TEST']['TEMPLATE']}")
        with psycopg.connect(conninfo(SUPERUSER, name)) as inside:
            inside.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA {', '.join(SCHEMAS)} FROM {APPLICATION}")
            inside.execute(f"REVOKE ALL ON SCHEMA {', '.join(SCHEMAS)} FROM {APPLICATION}")
        yield name
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_application_role_is_refused(statement: str) -> None:
    with psycopg.connect(conninfo(APPLICATION)) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(statement)


def test_the_application_role_may_do_with_each_table_what_the_rules_say() -> None:
    with psycopg.connect(conninfo(SUPERUSER)) as session:
        tables = session.execute(
            "SELECT n.nspname, c.relname, array_agg(p.name) FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) p (name)"
            " WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p', 'v')"
            " AND has_table_privilege(%s, c.oid, p.name) GROUP BY 1, 2",
            [list(SCHEMAS), APPLICATION],
        ).fetchall()
    assert len(tables) > 100
    assert [(schema, name, held) for schema, name, held in tables if set(held) != may(schema, name)] == []


def test_the_application_tidies_up_what_it_writes_very_much_of_and_nothing_else() -> None:
    held = "SELECT relname FROM pg_class WHERE relkind = 'r' AND has_table_privilege(%s, oid, 'MAINTAIN')"
    with psycopg.connect(conninfo(SUPERUSER)) as session:
        if session.info.server_version >= MAINTAIN_SINCE:
            assert session.execute(held, [APPLICATION]).fetchall() == [("reviews_reviewitem",)]


def test_a_database_with_one_role_is_divided_and_a_second_time_nothing_is_left_to_do(undivided: str) -> None:
    with psycopg.connect(conninfo(APPLICATION, undivided)) as session, pytest.raises(psycopg.Error):
        session.execute("SELECT FROM public.audit_auditentry")
    for _ in range(2):
        divide(conninfo(SUPERUSER, undivided))
        grant(conninfo(OWNER, undivided), APPLICATION)
    with psycopg.connect(conninfo(APPLICATION, undivided)) as session:
        session.execute("SELECT FROM audit_auditentry")
        foreign = session.execute(
            "SELECT relname FROM pg_class WHERE relnamespace::regnamespace::text = ANY(%s)"
            " AND relowner <> to_regrole(%s)",
            [list(SCHEMAS), OWNER],
        ).fetchall()
        owner = session.execute(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert (foreign, owner) == ([], (OWNER,))


def test_a_role_that_is_not_there_is_named_before_anything_else_happens() -> None:
    with pytest.raises(CannotStart, match="no role keyreeve_missing"):
        grant(conninfo(SUPERUSER), "keyreeve_missing")


def test_whoever_owns_the_tables_is_granted_nothing() -> None:
    grant(conninfo(SUPERUSER), SUPERUSER)


@pytest.mark.django_db(transaction=True)
def test_a_process_that_declares_a_queue_needs_no_more_than_its_tables() -> None:
    options = {**settings.CELERY_BROKER_TRANSPORT_OPTIONS, "conn_string": conninfo(APPLICATION)}
    with psycopg.connect(conninfo(SUPERUSER), autocommit=True) as server:
        server.execute("TRUNCATE pgmq.notify_insert_throttle")  # as a crash of the server does
        with BrokerConnection(
            "pgmq://localhost", transport="config.transport:Transport", transport_options=options
        ) as broker:
            for queue in QUEUES:
                Queue(queue, channel=broker.default_channel).declare()
            with broker.SimpleQueue("default") as queue:
                queue.put({"said": "hello"})
                message = queue.get(timeout=5)
                message.ack()
        rows = server.execute("SELECT queue_name, throttle_interval_ms FROM pgmq.notify_insert_throttle").fetchall()
    assert message.payload == {"said": "hello"}
    assert sorted(rows) == sorted((queue, THROTTLE) for queue in QUEUES)
