"""Secrets are planted as `test_canary` plants them, and searched where things leave: mails, webhooks, streams, packs,
backups, tracebacks, the answers of providers and the logs of live workers. None may come out."""

import json
import logging
import os
import socketserver
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connection as database
from django.utils import timezone
from psycopg.conninfo import make_conninfo

import inventory.connection_forms
import notifications.forms
from access.roles import Role
from config.backup import DUMP, MANIFEST, back_up, tool
from inventory.actions.connections import create_connection
from inventory.connection_forms import FORMS
from inventory.engine import sync
from inventory.models import Connection, Credential, SyncRun
from inventory.states import ConnectionKind, Severity
from lifecycle.actions.evaluation import evaluate
from lifecycle.actions.notices import compose_digests, tell_severe
from lifecycle.models import Finding
from notifications import translating
from notifications.actions.outbox import Message, post
from notifications.actions.recipients import keep_recipients
from notifications.mail import rendered
from notifications.models import Endpoint, EventStream, Notice, Recipient
from notifications.sets import jti_of
from notifications.sets import payload as claims
from notifications.states import SignalType
from notifications.webhooks import payload
from reviews.actions.evidence import request_pack
from reviews.packing.building import build, place_of
from tests import factories
from tests.journeys.test_canary import ACTOR, Canaries, canaries, estate, random_text, synced, whole_database
from tests.journeys.test_workers import process, until
from tests.people import browser

__all__ = ["canaries", "estate", "synced"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)


# ── What is told ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def told(synced: Connection, settings) -> list[str]:
    """Everything that people and programs are told of the estate, as it leaves."""
    settings.MAIL_SERVER = object()
    settings.PUBLIC_URL = "https://keyreeve.halden.example"
    settings.DEFAULT_FROM_EMAIL = "keyreeve@halden.example"
    now = timezone.now()
    Credential.objects.update(owner=factories.owner(name="Ana Duarte", email="ana@halden.example"))
    evaluate(now, actor=ACTOR, full=True)
    Endpoint.objects.create(
        name="Desk", url="https://desk.example/", kinds=["findings.severe"], least_severity=Severity.HIGH,
        secret="env://DESK", bound_to="desk.example", listens_since=now.replace(year=2020), created_at=now,
    )  # fmt: skip
    keep_recipients(now)
    Finding.objects.update(severity=Severity.CRITICAL)
    tell_severe(now)
    Recipient.objects.update(digest_due_at=now)
    compose_digests(now)
    return list(leaving())


def leaving() -> Iterator[str]:
    for notice in Notice.objects.select_related("recipient__owner__user", "recipient__user"):
        yield rendered(notice).message().as_string() if notice.recipient else payload(notice).decode()


def test_no_secret_is_in_a_mail_or_a_webhook(told: list[str], canaries: Canaries) -> None:
    assert sum(each.startswith("{") for each in told) > 0
    assert sum("Message-ID" in each for each in told) > 1
    assert {door for each in told for door in canaries.found_in(each)} == set()


def streamed() -> Iterator[str]:
    """Every event of OCSF and every token, as a stream from the beginning would send them."""
    stream = EventStream(name="SIEM", kind="ocsf_file", file="events", signals=SignalType.values)
    tokens, _ = translating.next_tokens(stream) or ([], 0)
    for token in tokens:
        jti = jti_of(token.digest, token.signal)
        yield json.dumps(claims(token.signal, jti=jti, issuer="i", audience="a", now=timezone.now()))
    while taken := translating.next_events(stream, 500):
        yield json.dumps(taken.events, ensure_ascii=False)
        stream.seq, stream.within = taken.seq, taken.within


def test_no_secret_is_in_a_stream_of_events(synced: Connection, canaries: Canaries) -> None:
    browser(Role.AUDITOR).logout()  # a session that ends is a signal
    said = "\n".join(streamed())
    assert said.count('"class_uid": 200') > len(canaries.planted) / 2
    assert "session-revoked" in said
    assert canaries.found_in(said) == []


# ── What is taken along ────────────────────────────────────────────────────────────────────────


def test_no_secret_is_in_an_evidence_pack(synced: Connection, canaries: Canaries, settings, tmp_path: Path) -> None:
    settings.EVIDENCE_DIR, settings.CHAIN_KEY = tmp_path / "evidence", tmp_path / "chain.key"
    pack = request_pack(purpose="The half-year", actor=ACTOR, now=timezone.now())
    assert build(pack.pk, clock=timezone.now)
    pack.refresh_from_db()
    with zipfile.ZipFile(place_of(pack)) as archive:
        content = {name: archive.read(name).decode(errors="replace") for name in archive.namelist()}
    assert len(content) > 10
    assert {(name, door) for name, text in content.items() for door in canaries.found_in(text)} == set()


def test_no_secret_is_in_a_backup(synced: Connection, canaries: Canaries, tmp_path: Path) -> None:
    known = database.settings_dict
    conninfo = make_conninfo(host=known["HOST"], dbname=known["NAME"], user="postgres")
    folder = tmp_path / "backup"
    backup = back_up(conninfo, folder, home=tmp_path, version="1", now=timezone.now(), with_keys=True)
    dumped = [tool("pg_restore", backup.server), "--file=-", folder / DUMP]
    text = subprocess.run(dumped, capture_output=True, text=True, check=True).stdout
    assert "COPY public.inventory_exposure" in text
    assert canaries.found_in(text + (folder / MANIFEST).read_text()) == []


# ── What goes wrong ────────────────────────────────────────────────────────────────────────────

PAGES = {
    **{f"/connections/new/{kind}/": inventory.connection_forms for kind in FORMS},
    "/notifications/endpoints/new/": notifications.forms,
    "/notifications/streams/new/webhook/": notifications.forms,
    "/notifications/streams/new/push/": notifications.forms,
}
FIELDS = ("name", "url", "secret", "previous_secret", "audience", "password", "token", "reference", "next")


@pytest.mark.parametrize("is_debug", [False, True])
def test_no_secret_is_in_a_traceback(
    canaries: Canaries, settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, is_debug: bool
) -> None:
    """Something of ours breaks while a form is shown again in which somebody had pasted a secret everywhere."""

    def breaks() -> str:
        held = canaries.plant("a local variable", random_text(40))
        raise RuntimeError(f"broken with {len(held)} characters at hand")

    settings.DEBUG = is_debug
    person = browser(Role.ADMINISTRATOR)
    person.raise_request_exception = False
    said, broken = "", 0
    with caplog.at_level(logging.DEBUG):
        for address, module in PAGES.items():
            monkeypatch.setattr(module, "readable_places", breaks)
            asked = [*FIELDS, *(FORMS[address.split("/")[3]].base_fields if "connections" in address else ())]
            form = {name: canaries.plant(f"{name} at {address}", "ghp_" + random_text(36)) for name in asked}
            bearer = canaries.plant(f"header at {address}", "kr_" + random_text(40))
            answer = person.post(address, form, headers={"X-Api-Key": bearer, "Cookie2": bearer})
            said += answer.content.decode() + str(answer.headers)
            broken += answer.status_code == 500
    assert broken > len(PAGES) / 2
    assert ("RuntimeError" in said) == is_debug
    assert "RuntimeError" in caplog.text
    assert canaries.found_in(said) == []
    assert canaries.found_in(caplog.text) == []


@contextmanager
def serving(server: Any) -> Iterator[Any]:
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def looked_at(connection: Connection, canaries: Canaries, caplog: pytest.LogCaptureFixture) -> SyncRun:
    """A look that fails; what was said of it anywhere holds nothing of what the other side answered."""
    with caplog.at_level(logging.DEBUG):
        sync(connection.pk, clock=timezone.now, actor=ACTOR)
    reader = browser(Role.ADMINISTRATOR)
    pages = [f"/connections/{connection.pk}/", "/connections/", "/api/v1/sync-runs/", "/api/v1/audit-entries/"]
    said = "".join(reader.get(page).content.decode() for page in pages)
    assert canaries.found_in(said + caplog.text + "".join(streamed())) == []
    assert {(table, door) for table, row in whole_database() for door in canaries.found_in(row)} == set()
    return SyncRun.objects.get(connection=connection)


def test_no_secret_that_aws_answers_with_is_kept_said_or_logged(
    canaries: Canaries, settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = canaries.plant("the key that asks", random_text(40))
    echoed = canaries.plant("a body of an error", random_text(40))

    class Aws(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            error = f"<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{echoed} {secret}</Message></Error>"
            body = f"<ErrorResponse>{error}<RequestId>{echoed}</RequestId></ErrorResponse>".encode()
            self.send_response(403, f"no {echoed}")
            self.send_header("Content-Type", "text/xml")
            self.send_header("x-amzn-RequestId", echoed)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    monkeypatch.setenv("CANARY_AWS", secret)
    settings.REFERENCE_VARIABLES, settings.ALLOW_LOOPBACK = ("CANARY_*",), True
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Aws)) as server:
        host = f"127.0.0.1:{server.server_address[1]}"
        given = {
            "access_key_id": "AKIA" + random_text(16).upper(), "secret_access_key": "env://CANARY_AWS",
            "bound_to": host, "endpoint": f"http://{host}", "regions": ["eu-north-1"],
        }  # fmt: skip
        place = create_connection(kind=ConnectionKind.AWS, name="aws", settings=given, actor=ACTOR, now=timezone.now())
        run = looked_at(place, canaries, caplog)
    assert run.problems or run.error


def test_no_secret_that_a_database_answers_with_is_kept_said_or_logged(
    canaries: Canaries, settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It asks for the password in clear and repeats it in its refusal, as a hostile or careless one does."""
    password = canaries.plant("the password", random_text(40))
    heard: list[str] = []

    class Postgres(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            length = int.from_bytes(self.request.recv(4), "big")
            while length == 8:  # it asks for TLS, or GSS
                self.request.recv(4)
                self.request.sendall(b"N")
                length = int.from_bytes(self.request.recv(4), "big")
            self.request.recv(length - 4)
            self.request.sendall(b"R" + (8).to_bytes(4, "big") + (3).to_bytes(4, "big"))
            self.request.recv(1)
            length = int.from_bytes(self.request.recv(4), "big")
            heard.append(self.request.recv(length - 4).rstrip(b"\0").decode())
            fields = f"SFATAL\0VFATAL\0C28P01\0M{password} is wrong\0D{password}\0H{password}\0\0".encode()
            self.request.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)

    monkeypatch.setenv("CANARY_DB", password)
    settings.REFERENCE_VARIABLES, settings.ALLOW_LOOPBACK = ("CANARY_*",), True
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Postgres)) as server:
        given = {
            "host": "127.0.0.1", "port": server.server_address[1], "user": "reader", "database": "billing",
            "password": "env://CANARY_DB", "bound_to": "127.0.0.1",
        }  # fmt: skip
        place = create_connection(
            kind=ConnectionKind.POSTGRES, name="db", settings=given, actor=ACTOR, now=timezone.now()
        )
        run = looked_at(place, canaries, caplog)
    assert run.problems or run.error


# ── Who works ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
def test_no_secret_is_in_the_log_of_a_live_worker(estate: Path, canaries: Canaries, tmp_path: Path) -> None:
    """At its most talkative, while it reads the estate, evaluates it and writes it into a stream."""
    place = create_connection(
        kind=ConnectionKind.MCP_CONFIG, name="repo", settings={"paths": [str(estate)]}, actor=ACTOR, now=timezone.now()
    )
    EventStream.objects.create(name="Collector", kind="ocsf_file", file="events", created_at=timezone.now())
    known, log = database.settings_dict, tmp_path / "worker.log"
    environment = {
        "DATABASE_URL": f"postgresql://keyreeve_app@/{known['NAME']}?host={known['HOST']}",
        "KEYREEVE_SCANNER_CACHE": str(configured.SCANNER_CACHE_DIR),
        "KEYREEVE_STREAMS": str(tmp_path / "streams"),
    }
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", "-Q", "default,files,sync,evaluate,operate"]
    written = tmp_path / "streams" / "events.ndjson"
    ringing = (
        "import django; django.setup(); from inventory.tasks import sweep_due_connections as a;"
        "from lifecycle.tasks import evaluate_findings as b; from notifications.tasks import sweep_due_streams as c;"
        "[each.delay() for each in (a, b, c)]"
    )
    with process([*command, "-c", "1", "-n", "canary@tests", "-l", "DEBUG"], log, **environment):

        def ring() -> bool:
            process_environment = {**os.environ, **environment, "DJANGO_SETTINGS_MODULE": "config.settings"}
            subprocess.run(
                [sys.executable, "-W", "ignore", "-c", ringing], cwd=configured.BASE_DIR, env=process_environment,
                check=True,
            )  # fmt: skip
            return Finding.objects.exists() and written.exists() and "hard-coded" in written.read_text()

        until(ring, "the worker has written the findings into the stream")
        queued = [row for table, row in whole_database() if table.startswith("pgmq")]
    assert SyncRun.objects.filter(connection=place).exists()
    said = log.read_text(errors="replace")
    assert "sync_connection" in said
    assert canaries.found_in(said + written.read_text() + "".join(queued)) == []


# ── Whether these tests see anything ───────────────────────────────────────────────────────────


def test_a_leak_into_any_of_these_exits_would_be_seen(told: list[str], canaries: Canaries, synced: Connection) -> None:
    leak = next(iter(canaries.planted.values()))
    Finding.objects.update(evidence={"note": leak})
    recipient = Recipient.objects.first()
    post([Message(kind="test", key="leak", subject=leak[:60], data={"asked_by": leak}, recipient=recipient)],
         now=timezone.now())  # fmt: skip
    assert any(canaries.found_in(each) for each in leaving())
    assert any(canaries.found_in(row) for _, row in whole_database())
    Credential.objects.update(name=leak)
    assert canaries.found_in("\n".join(streamed()))
    assert canaries.found_in(browser(Role.ADMINISTRATOR).get("/credentials/").content.decode())
