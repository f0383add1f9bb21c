"""What a load balancer asks."""

import pytest
from django.db import connection


def test_the_process_answers_without_asking_the_database(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


@pytest.mark.django_db
def test_it_is_ready_when_the_database_answers(client):
    assert client.get("/readyz").status_code == 200


def test_it_is_not_ready_when_the_database_does_not(client, django_db_blocker, monkeypatch):
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "HOST", "/nowhere")
    with django_db_blocker.unblock():
        assert client.get("/readyz").status_code == 503
    connection.close()
