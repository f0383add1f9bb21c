"""What a load balancer asks."""

import pytest
from django.db import connection

from tests.ports import free_port


def test_the_process_answers_without_asking_the_database(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


@pytest.mark.django_db
def test_it_is_ready_when_the_database_is_of_this_release_and_the_broker_answers(client, broker):
    assert client.get("/readyz").status_code == 200


def test_it_is_not_ready_when_the_database_does_not_answer(client, django_db_blocker, monkeypatch):
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "HOST", "/nowhere")
    with django_db_blocker.unblock():
        answer = client.get("/readyz")
        assert (answer.status_code, answer.content) == (503, b"the database does not answer\n")
    connection.close()


@pytest.mark.django_db
def test_it_is_not_ready_while_its_host_is_drained(client, broker, settings, tmp_path):
    settings.DRAIN_FILE = tmp_path / "draining"
    settings.DRAIN_FILE.touch()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.content) == (503, b"this host is being drained\n")
    assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_it_is_not_ready_before_the_migrations_of_this_release(client, broker):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'audit' AND name LIKE '0002%'")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.content) == (503, b"the database lacks 1 migration, audit.0002_chain first\n")


@pytest.mark.django_db
def test_a_database_of_a_newer_release_is_no_harm(client, broker):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('audit', '0999_later', now())")
    assert client.get("/readyz").status_code == 200


@pytest.mark.django_db
def test_it_is_not_ready_when_the_broker_does_not_answer_unless_that_is_left_out(client, settings):
    settings.BROKER_URL = f"redis://127.0.0.1:{free_port()}/0"
    answer = client.get("/readyz")
    assert (answer.status_code, answer.content) == (503, b"the broker does not answer\n")
    assert client.get("/readyz?except=broker").status_code == 200


@pytest.fixture
def broker(settings):
    """The queue of the database, as `manage.py up` makes it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regtype('pgmq.message_record') IS NULL")
        if cursor.fetchone()[0]:
            cursor.execute("CREATE SCHEMA IF NOT EXISTS pgmq")
            cursor.execute("CREATE TYPE pgmq.message_record AS (msg_id bigint)")
