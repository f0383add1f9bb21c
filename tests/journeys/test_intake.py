"""Deliveries to a real server process: larger than its memory would take, cut off, and killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import settings
from django.db import connection as database

from access.actors import Actor
from access.roles import Role
from config.actions import issue_token
from inventory.models import Connection, Credential, CredentialVersion, SyncRun
from inventory.states import RunState
from tests.feeds import feed, key_of, lines
from tests.ports import free_port

PATIENCE = 60  # seconds
PAD = "x" * 250  # so that a body is large and its rows are few
MIB = 2**20
pytestmark = pytest.mark.django_db(transaction=True)


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)


def environment() -> dict[str, str]:
    known = database.settings_dict
    return {**os.environ, "DATABASE_URL": f"postgresql://postgres@/{known['NAME']}?host={known['HOST']}"}


class Server:
    """The web server as `up` starts it, in processes of its own."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--no-ws"]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), "config.wsgi:application"],
                cwd=settings.BASE_DIR,
                env=environment(),
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        until(self.answers, "the web server answers")

    def answers(self) -> bool:
        try:
            with closing(HTTPConnection("127.0.0.1", self.port, timeout=5)) as asked:
                asked.request("GET", "/healthz")
                return asked.getresponse().status == 200
        except (OSError, HTTPException):
            return False

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def memory(self) -> int:
        return max(each.memory_info().rss for each in self.workers())

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "web.log")
    yield running
    if running.process.poll() is None:
        running.kill()


@pytest.fixture
def token(db: None) -> str:
    return issue_token("robot", Role.AUTOMATION, life=timedelta(days=1), actor=Actor.system("tests"))


@contextmanager
def post(server: Server, token: str, length: int, key: str = "") -> Iterator[HTTPConnection]:
    """A request whose head is sent; the body is sent by who asks for it."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)) as asked:
        asked.putrequest("POST", "/api/v1/intake/?connection=CMDB")
        head = {"Authorization": f"Token {token}", "Content-Type": "application/x-ndjson"}
        for name, value in {**head, "Content-Length": str(length), **({"Idempotency-Key": key} if key else {})}.items():
            asked.putheader(name, value)
        asked.endheaders()
        yield asked


def answer(asked: HTTPConnection) -> dict[str, Any]:
    said = asked.getresponse()
    content = said.read()
    assert said.status == 200, content
    found: dict[str, Any] = json.loads(content)
    return found


@pytest.mark.long
def test_a_body_that_is_larger_than_memory_is_taken_in_constant_memory(server: Server, token: str) -> None:
    feed()
    # A few things, each described again and again: the body is large and what it leaves in the database is not.
    piece = lines(*(key_of(n, principal=PAD, subject=PAD[:190]) for n in range(1_000)))
    times = 200 * MIB // len(piece)
    with post(server, token, len(piece)) as asked:  # warms what is imported on first use
        asked.send(piece)
        answer(asked)
    before = most = server.memory()
    with post(server, token, times * len(piece)) as asked:
        for _ in range(times):
            asked.send(piece)
            most = max(most, server.memory())
        said = answer(asked)
    assert said["rows"]["read"] == times * 1_000
    assert said["rows"]["repeated"] == (times - 1) * 1_000
    assert most - before < 64 * MIB


def test_a_delivery_that_is_cut_off_changes_nothing(server: Server, token: str) -> None:
    to = feed()
    body = lines(*(key_of(n) for n in range(5_000)))
    with post(server, token, len(body) + 1, key="monday") as asked:
        asked.send(body)
    until(lambda: SyncRun.objects.filter(connection=to, state=RunState.FAILED).exists(), "the run ends as failed")
    assert not Credential.objects.exists()


@pytest.mark.long
def test_a_delivery_killed_in_the_middle_is_carried_to_its_end_by_sending_it_again(
    server: Server, token: str, tmp_path: Path
) -> None:
    to = feed(complete=True)
    body = lines(*(key_of(n) for n in range(20_000)))
    with post(server, token, len(body), key="monday") as asked:
        asked.send(body[: len(body) // 2])
        until(lambda: SyncRun.objects.filter(connection=to, state=RunState.RUNNING).exists(), "the run is under way")
        killed = SyncRun.objects.get()
        server.kill()
    assert not Credential.objects.exists()
    assert Connection.objects.get().lease_until is not None  # nobody was left to give it back
    second = Server(tmp_path / "again.log")
    try:
        with post(second, token, len(body), key="monday") as asked:
            asked.send(body)
            said = answer(asked)
        with post(second, token, len(body), key="monday") as asked:
            asked.send(body)
            again = answer(asked)
    finally:
        second.kill()
    assert (said["replayed"], said["changes"]) == (False, {"credentials_added": 20_000, "versions_added": 20_000})
    assert again == {**said, "replayed": True}
    assert SyncRun.objects.get().pk == killed.pk
    assert Credential.objects.count() == CredentialVersion.objects.count() == 20_000


@pytest.mark.long
def test_a_command_killed_while_it_applies_leaves_nothing_half_done(tmp_path: Path) -> None:
    to = feed()
    file = tmp_path / "rows"
    file.write_bytes(lines(*(key_of(n) for n in range(20_000))))
    command = [sys.executable, "manage.py", "intake", str(file), "--key", "monday"]
    other = database.copy()
    with other.cursor() as cursor:
        # The audit entry is the last statement of the run's transaction: held up there, everything else is written.
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE audit_auditentry IN SHARE MODE")
        child = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment(), stdout=subprocess.DEVNULL)
        waits = "SELECT count(*) FROM pg_locks WHERE relation = 'audit_auditentry'::regclass AND NOT granted"

        def is_held_up() -> bool:
            with database.cursor() as look:
                look.execute(waits)
                return bool(look.fetchone()[0])

        until(is_held_up, "everything but the audit entry is written")
        child.kill()
        child.wait()
        cursor.execute("ROLLBACK")
    other.close()
    subprocess.run(command, cwd=settings.BASE_DIR, env=environment(), check=True, stdout=subprocess.DEVNULL)
    assert SyncRun.objects.get(connection=to).state == RunState.COMPLETE
    assert Credential.objects.count() == CredentialVersion.objects.count() == 20_000
