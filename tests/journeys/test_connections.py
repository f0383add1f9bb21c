"""Connections from the form to the facts: through the pages, a real worker, real servers, and a kill in the middle."""

import json
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from access.actors import Actor
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from inventory.engine import sync
from inventory.models import Connection, McpServer, SyncRun
from inventory.states import RunState
from tests.journeys.test_workers import ring, until, worker
from tests.people import HTMX, browser, text

ACTOR = Actor.system("tests")
pytestmark = pytest.mark.django_db(transaction=True)


class Slow(ThreadingHTTPServer):
    """Answers nothing until it is released; then everything with 404. `asked` is set by the first request."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked, self.released = threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/mcp"


class Answer(BaseHTTPRequestHandler):
    server: Slow

    def do_GET(self) -> None:
        self.server.asked.set()
        self.server.released.wait(60)
        body = json.dumps({"error": "nothing here"}).encode()
        self.send_response(404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815  the name that the base class calls

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # whoever asked was killed meanwhile
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Say nothing: the test's output is its own."""


@contextmanager
def slow_server() -> Iterator[Slow]:
    server = Slow()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of these tests may reach servers on this machine."""
    monkeypatch.setenv("KEYREEVE_ALLOW_LOOPBACK", "1")


def added(**form: str) -> Connection:
    """Made by an operator, by the form."""
    kind = form.pop("kind")
    answer = browser(Role.OPERATOR).post(f"/connections/new/{kind}/", {"interval": "3600", **form})
    assert answer.status_code == 302, text(answer)
    return Connection.objects.get()


def ended(state: RunState) -> bool:
    return SyncRun.objects.filter(state=state).exists()


def test_a_folder_is_named_in_a_form_read_by_a_worker_and_shown_on_its_page(tmp_path: Path) -> None:
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"ledger": {"command": "npx", "args": ["-y", "one"]}}}')
    connection = added(kind="mcp_config", paths=str(tmp_path), host="build-07")
    auditor, address = browser(Role.AUDITOR), f"/connections/{connection.pk}/"
    assert 'hx-trigger="every 2s"' in text(auditor.get(address, headers=HTMX))
    with worker(tmp_path, ""):
        ring("")
        until(lambda: ended(RunState.COMPLETE), "the folder is read")
    fragment = text(auditor.get(address, headers=HTMX))
    assert "hx-trigger" not in fragment
    assert "1 server added" in fragment
    assert 'id="connection-facts"' in fragment
    assert McpServer.objects.get().name == "ledger"
    events = set(AuditEntry.objects.values_list("event", flat=True))
    assert {Event.CONNECTION_CREATED, Event.CONNECTION_SYNCED} <= events


@pytest.mark.long
def test_a_slow_look_is_watched_is_never_doubled_and_is_taken_over_when_its_worker_is_killed(tmp_path: Path) -> None:
    with slow_server() as server:
        connection = added(kind="mcp_server", urls=server.url)
        page = f"/connections/{connection.pk}/"
        with worker(tmp_path, "") as first:
            ring("")
            assert server.asked.wait(60)
            assert "0 of 1 server" in text(browser(Role.AUDITOR).get(page, headers=HTMX))
            assert sync(connection.pk, clock=timezone.now, actor=ACTOR) is None
            assert SyncRun.objects.count() == 1
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
        assert SyncRun.objects.get().state == RunState.RUNNING
        assert not McpServer.objects.exists()
        Connection.objects.update(lease_until=timezone.now() - timedelta(seconds=1))  # five minutes later
        assert "The worker that read it is gone." in text(browser(Role.AUDITOR).get(page, headers=HTMX))
        server.released.set()
        with worker(tmp_path, ""):
            ring("")
            until(lambda: not SyncRun.objects.filter(finished_at=None).exists(), "the second run ends")
    first_run, second_run = SyncRun.objects.order_by("id")
    assert (first_run.state, first_run.error) == (RunState.FAILED, "The worker died before the run ended.")
    assert second_run.state in {RunState.COMPLETE, RunState.PARTIAL}
    assert McpServer.objects.get().url == server.url


@pytest.mark.long
def test_a_look_that_hangs_holds_up_no_files(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for another machine has a queue of its own, and so its own workers. AWS is waited for a minute."""
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"ledger": {"command": "npx", "args": ["-y", "one"]}}}')
    settings.REFERENCE_VARIABLES = ("TEST_AWS_SECRET",)
    monkeypatch.setenv("KEYREEVE_REFERENCE_VARIABLES", "TEST_AWS_SECRET")
    monkeypatch.setenv("TEST_AWS_SECRET", secrets.token_urlsafe(30))
    with slow_server() as server:
        account = {
            "access_key_id": "AKIA" + "Q" * 16,
            "secret_access_key": "env://TEST_AWS_SECRET",
            "own_account": "on",
            "endpoint": server.url.removesuffix("/mcp"),
        }
        added(kind="aws", **account)
        with worker(tmp_path, "", queues="sync"), worker(tmp_path, "", queues="default,files,evaluate"):
            ring("")
            assert server.asked.wait(60)
            form = {"interval": "3600", "paths": str(tmp_path), "host": "build-07"}
            browser(Role.OPERATOR).post("/connections/new/mcp_config/", form)
            ring("")
            until(lambda: ended(RunState.COMPLETE), "the folder is read")
            server.released.set()
            until(lambda: not SyncRun.objects.filter(finished_at=None).exists(), "the look at AWS ends")
    files, remote = (SyncRun.objects.get(connection__kind=kind) for kind in ("mcp_config", "aws"))
    assert remote.started_at < files.started_at < files.finished_at < remote.finished_at
    assert remote.state == RunState.FAILED
