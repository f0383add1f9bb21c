"""A leaked token at a real authorization server, ended by a real worker that is killed again and again.

Between the two stands a door that kills: before it lets a request through, or after it was answered and before the
worker hears of it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx2
import pytest
from django.conf import settings as ours
from django.utils import timezone
from pytest_django import Settings

from audit.chain import verify
from audit.models import AuditEntry
from inventory.models import Credential
from inventory.states import CredentialStatus
from lifecycle.actions.requests import request_revocation
from lifecycle.states import OperationState, Proof
from tests.authorization_server import AuthorizationServer
from tests.journeys.killing import Killer, carried_through, whole_database
from tests.lifecycle.test_oauth_operations import World
from tests.syncs import ACTOR

pytestmark = pytest.mark.django_db(transaction=True)
HOP_BY_HOP = {"connection", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding"}


@contextmanager
def door(behind: str, killer: Killer) -> Iterator[str]:
    """The address at which everything behind is reached, and calls itself so."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            lease = None
            if killer.worker is not None:
                step, lease = killer.held()
                call = f"{self.command} {self.path}"
                if killer.kills((step, call, "before"), lease):
                    return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            given = httpx2.request(self.command, behind + self.path, content=body, headers=headers)
            if lease is not None and killer.kills((step, call, "after"), lease):
                return
            said = given.content.replace(behind.encode(), here.encode())
            self.send_response(given.status_code)
            for name, value in given.headers.items():
                if name.lower() not in {*HOP_BY_HOP, "content-encoding"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Addresses are nobody's business."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    here = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.long
def test_a_leaked_token_is_ended_by_workers_that_are_killed_at_every_request(
    authorization_server: AuthorizationServer, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.ALLOW_LOOPBACK = True
    settings.REFERENCE_FOLDERS = folders = (authorization_server.folder, tmp_path)
    # The worker is a process of its own and reads its settings from the environment.
    monkeypatch.setenv("KEYREEVE_ALLOW_LOOPBACK", "1")
    monkeypatch.setenv("KEYREEVE_REFERENCE_FOLDERS", ",".join(map(str, folders)))
    monkeypatch.setenv("KEYREEVE_FINGERPRINT_KEY", (ours.FINGERPRINT_KEY or b"").decode())
    killer = Killer()
    behind = authorization_server.issuer.rstrip("/")
    with door(behind, killer) as here:
        places = json.loads(json.dumps(authorization_server.places).replace(behind, here))
        world = World(AuthorizationServer(authorization_server.folder, places), tmp_path)
        world.at_the_issuer()
        credential = Credential.objects.get(principal=world.client["client_id"], kind="oauth_access_token")
        assert world.is_active()
        asked = request_revocation(credential, actor=ACTOR, now=timezone.now(), reason="It leaked", is_urgent=True)

        operation = carried_through(asked, killer, tmp_path)

        assert (operation.state, operation.proof) == (OperationState.COMPLETED, Proof.VERIFIED)
        assert not world.is_active()
        authorization_server.deregister(world.client)
    assert len(killer.killed) >= 4, killer.killed
    assert {when for _, call, when in killer.killed if "revoke" in call} == {"before", "after"}
    credential.refresh_from_db()
    assert credential.status == CredentialStatus.DESTROYED
    assert verify(AuditEntry.objects.links()).broken is None
    assert world.token not in whole_database() + "".join(log.read_text() for log in tmp_path.glob("*.log"))
