"""What is under way when a part is asked to end: it is finished, or found again, within the time that is documented."""

import http.client
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection as database
from django.test import Client

from access.roles import Role
from config.management.commands.up import WEB_ENDS, WORK_ENDS, parts
from config.roles import APPLICATION
from inventory.models import Credential
from lifecycle.models import JobHour, JobRun
from tests import factories
from tests.journeys.test_workers import answers, process, ring, until, worker
from tests.people import person
from tests.ports import free_port

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 20_000  # more than what lies in buffers on the way


def many() -> None:
    """A credential, and thousands like it."""
    made = factories.credential()
    columns = [field.column for field in Credential._meta.concrete_fields if not field.generated]
    own = {"id": "keyreeve_uuid7()", "identity_key": "'like:' || n"}
    picked = ", ".join(own.get(column, f'"{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    with database.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO inventory_credential ({names}) SELECT {picked} FROM inventory_credential,"
            " generate_series(2, %s) n WHERE id = %s",
            [ROWS, made.pk],
        )


def test_a_streamed_answer_is_finished_after_the_web_server_was_asked_to_end(tmp_path: Path) -> None:
    many()
    client, port, known = Client(), free_port(), database.settings_dict
    client.force_login(person(Role.AUDITOR))
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    url = f"postgresql://{APPLICATION}@/{known['NAME']}?host={known['HOST']}"
    with process(list(parts(port)[0].command), tmp_path / "web.log", DATABASE_URL=url) as web:
        until(lambda: answers(port), "the web server answers")
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        asked.request("GET", "/api/v1/export/credentials.ndjson", headers={"Cookie": cookie})
        answer = asked.getresponse()
        first = answer.read(10_000)
        web.send_signal(signal.SIGTERM)
        until(lambda: not answers(port), "nobody else is let in")
        lines = (first + answer.read()).splitlines()
        assert web.wait(WEB_ENDS) == 0
    assert (answer.status, len(lines)) == (200, ROWS)


@pytest.mark.long
def test_a_task_is_finished_after_its_worker_was_asked_to_end(tmp_path: Path) -> None:
    known = database.settings_dict
    conninfo = psycopg.conninfo.make_conninfo(host=known["HOST"], dbname=known["NAME"], user=known["USER"])
    with worker(tmp_path, "", "default") as child, psycopg.connect(conninfo) as other:
        other.execute("LOCK TABLE inventory_connection IN ACCESS EXCLUSIVE MODE")
        ring("")
        until(JobRun.objects.filter(job__name="connections that are due").exists, "the task has begun")
        child.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(3)
        other.rollback()  # and with it what the task waits for
        assert child.wait(WORK_ENDS) == 0
    hour = JobHour.objects.get(job__name="connections that are due")
    assert (hour.begun, hour.ended) == (1, 1)
