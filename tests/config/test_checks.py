"""What is looked at before a start."""

import socket

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from config import checks
from config.errors import CannotStart


def test_a_taken_port_is_named_with_another_one():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotStart, match=rf"Port {port} .* KEYREEVE_PORT=\d+"):
            checks.check_port(port)


@pytest.mark.django_db
def test_a_database_of_this_version_is_up_to_date():
    assert checks.is_up_to_date() is True


@pytest.mark.django_db
def test_a_database_of_a_newer_version_is_refused():
    MigrationRecorder(connection).record_applied("access", "9999_from_the_future")
    with pytest.raises(CannotStart, match=r"newer Keyreeve: .*9999_from_the_future"):
        checks.is_up_to_date()


@pytest.mark.parametrize("url", ["redis://:plainly-fake@127.0.0.1:9/0", "amqp://reeve:plainly-fake@127.0.0.1:9//"])
def test_a_broker_that_does_not_answer_is_named_without_its_password(settings, url):
    settings.BROKER_URL = url
    with pytest.raises(CannotStart, match=r"127\.0\.0\.1:9") as refused:
        checks.check_broker()
    assert "plainly-fake" not in str(refused.value)
