"""Tokens and client secrets at a real authorization server, ended by operations and seen to be."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.utils import timezone
from pytest_django import Settings

from audit.events import Event
from audit.models import AuditEntry
from inventory.actions.connections import create_connection
from inventory.models import Connection, Credential, Exposure, Grant, McpClient
from inventory.states import Admission, ConnectionKind, CredentialStatus
from lifecycle.actions.requests import request_revocation, request_rotation
from lifecycle.engine.runner import advance
from lifecycle.models import Delivery, Operation, StepAttempt
from lifecycle.states import OperationState, Proof
from providers import memory
from tests import factories
from tests.authorization_server import AuthorizationServer as Demo
from tests.syncs import ACTOR, synced

pytestmark = pytest.mark.django_db
MACHINE = {
    "client_name": "Leaky loader",
    "grant_types": ["client_credentials"],
    "redirect_uris": [],
    "token_endpoint_auth_method": "client_secret_basic",
    "scope": "billing:read",
}


class World:
    """A client of the demo server with a token, and the places where a company keeps what belongs to it."""

    def __init__(self, server: Demo, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.client = server.register(**MACHINE)
        answer = httpx2.post(
            f"{server.issuer}/token/",
            data={"grant_type": "client_credentials", "scope": "billing:read"},
            auth=(self.client["client_id"], self.client["client_secret"]),
        )
        self.token = str(answer.json()["access_token"])
        (folder / "repository").mkdir()
        self.held = self.write("token", self.token)
        self.client_secret = self.write("client-secret", self.client["client_secret"])

    def write(self, name: str, value: str) -> Path:
        path = self.folder / name
        path.write_text(value)
        return path

    def leak(self) -> Path:
        """Somebody writes the token into the configuration of a client, which a sync of files sees."""
        entry = {
            "type": "http",
            "url": "https://mcp.halden.example/billing",
            "headers": {"Authorization": f"Bearer {self.token}"},
        }
        path = self.folder / "repository" / ".mcp.json"
        path.write_text(json.dumps({"mcpServers": {"billing": entry}}))
        synced(connected(ConnectionKind.MCP_CONFIG, {"paths": [str(path.parent)]}))
        return path

    def at_the_issuer(self, **changed: Any) -> Connection:
        files = self.server.places["files"]
        settings = {
            "issuer": self.server.issuer,
            "client_id": "keyreeve",
            "client_secret": f"file://{files['introspection_secret']}",
            "tokens": [f"file://{self.held}"],
            "revoke_as": [{"client_id": self.client["client_id"], "client_secret": f"file://{self.client_secret}"}],
            **changed,
        }
        connection = connected(ConnectionKind.OAUTH, {name: value for name, value in settings.items() if value})
        synced(connection)
        return connection

    @property
    def listings(self) -> dict[str, Any]:
        places = self.server.places
        return {
            "tokens_url": places["tokens_url"],
            "management_token": f"file://{places['files']['management_token']}",
        }

    def is_active(self) -> bool:
        who = ("keyreeve", self.server.secret("introspection_secret"))
        answer = httpx2.post(f"{self.server.issuer}/introspect/", data={"token": self.token}, auth=who)
        return bool(answer.json()["active"])


def connected(kind: ConnectionKind, settings: dict[str, Any]) -> Connection:
    name = f"Place {Connection.objects.count()}"
    return create_connection(kind=kind, name=name, settings=settings, actor=ACTOR, now=timezone.now())


@pytest.fixture
def world(authorization_server: Demo, settings: Settings, tmp_path: Path) -> Iterator[World]:
    settings.ALLOW_LOOPBACK = True
    settings.REFERENCE_FOLDERS = (authorization_server.folder, tmp_path)
    made = World(authorization_server, tmp_path)
    yield made
    bearer = {"Authorization": f"Bearer {made.client['registration_access_token']}"}
    httpx2.delete(made.client["registration_client_uri"], headers=bearer)


def finished(operation: Operation) -> Operation:
    """Whatever is due is done, at the time that it is due, until it ends or waits for a person."""
    now = timezone.now()
    for _ in range(60):
        operation.refresh_from_db()
        if operation.closed_at is not None or operation.due_at is None:
            return operation
        now = max(now, operation.due_at, operation.lease_until or now) + timedelta(seconds=1)
        advance(operation.pk, clock=lambda now=now: now, jitter=lambda: 0.5)
    raise AssertionError(f"It does not come to an end: {operation.step}, {operation.error}, {operation.waits_for}")


def revoked(credential: Credential) -> Operation:
    asked = request_revocation(credential, actor=ACTOR, now=timezone.now(), reason="It leaked", is_urgent=True)
    return finished(asked)


def test_a_token_that_leaked_into_a_file_is_revoked_and_introspection_says_inactive(world: World) -> None:
    world.leak()
    world.at_the_issuer()
    credential = Credential.objects.get(principal=world.client["client_id"], kind="oauth_access_token")
    assert Exposure.objects.present().filter(credential=credential).count() == 1
    world.held.unlink()  # so that nobody but the file in which it leaked still has it
    assert world.is_active()

    operation = revoked(credential)

    assert (operation.state, operation.proof, operation.error) == (OperationState.COMPLETED, Proof.VERIFIED, "")
    assert "says that it is inactive" in operation.proof_reason
    assert not world.is_active()
    credential.refresh_from_db()
    assert credential.status == CredentialStatus.DESTROYED
    journal = json.dumps(list(StepAttempt.objects.values("intent", "said", "result")), default=str)
    assert world.token not in journal + operation.proof_reason


def test_a_token_that_nobody_can_show_is_ended_by_its_address_and_the_listing_is_the_proof(world: World) -> None:
    world.at_the_issuer(tokens=[], manage_tokens=True, **world.listings)
    credential = Credential.objects.get(principal=world.client["client_id"], kind="oauth_access_token")
    assert credential.fingerprint == ""

    operation = revoked(credential)

    assert (operation.state, operation.proof) == (OperationState.COMPLETED, Proof.VERIFIED)
    assert "no longer lists the token" in operation.proof_reason
    assert not world.is_active()


def test_a_token_that_nobody_can_show_or_look_for_stays_unverifiable_and_says_why(world: World) -> None:
    path = world.leak()
    world.at_the_issuer()
    credential = Credential.objects.get(principal=world.client["client_id"], kind="oauth_access_token")
    world.held.unlink()
    path.unlink()

    operation = revoked(credential)

    assert (operation.state, operation.proof) == (OperationState.COMPLETED, Proof.UNVERIFIABLE)
    assert "held nowhere that can be read" in operation.proof_reason
    assert operation.verify_by is not None
    assert world.is_active()  # which is why nothing says that it is revoked


def test_a_client_secret_is_rotated_by_a_further_client_and_the_first_one_is_refused(world: World) -> None:
    registrations = world.folder / "registrations"
    registrations.mkdir()
    places = world.server.places
    connection = world.at_the_issuer(
        tokens=[],
        revoke_as=[],
        clients_url=places["clients_url"],
        manage_clients=True,
        registrations=f"file://{registrations}",
        management_token=world.listings["management_token"],
    )
    client_id = world.client["client_id"]
    credential = Credential.objects.get(connection=connection, external_id=client_id, kind="oauth_client_secret")
    first = McpClient.objects.get(client_id=client_id)
    McpClient.objects.filter(pk=first.pk).update(
        owner=factories.owner(), admission=Admission.ADMITTED, admission_changed_at=timezone.now()
    )
    granted = {"drafted_by": "Mira", "approved_by": "Otto", "tools": ["invoices"]}
    began = timezone.now()
    times = {"drafted_at": began, "approved_at": began, "ends_at": began + timedelta(days=90)}
    Grant.objects.create(client=first, server=factories.server(), **granted, **times)
    cloud = factories.connection(kind=ConnectionKind.PLUG_IN, name="m", settings={"provider": "memory", "cloud": "m"})
    Delivery.objects.create(
        credential=credential,
        sink="memory",
        location="memory://m",
        connection=cloud,
        quiet=timedelta(0),
        set_by="somebody",
        set_at=timezone.now(),
    )

    operation = finished(request_rotation(credential, actor=ACTOR, now=timezone.now(), reason="It is old"))

    assert (operation.state, operation.error) == (OperationState.COMPLETED, "")
    current = memory.cloud("m").place("memory://m").current
    assert current is not None
    assert current.external_id != client_id

    def asks(client: str, secret: str) -> int:
        form = {"grant_type": "client_credentials", "scope": "billing:read"}
        return httpx2.post(f"{world.server.issuer}/token/", data=form, auth=(client, secret)).status_code

    assert asks(current.external_id, current.secret.reveal()) == 200
    assert asks(client_id, world.client["client_secret"]) == 401
    (kept,) = registrations.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    credential.refresh_from_db()
    assert credential.identity_key.endswith(f":client:{current.external_id}:secret")
    first.refresh_from_db()
    assert first.admission == Admission.REMOVED
    assert synced(connection).counts.get("credentials_added", 0) == 0  # it is the same credential as before
    further = McpClient.objects.get(client_id=current.external_id)
    assert (further.owner, further.admission, further.gone_at) == (first.owner, Admission.ADMITTED, None)
    (grant,) = Grant.objects.in_force(timezone.now()).filter(client=further)
    assert (grant.tools, grant.ends_at, grant.approved_by) == (["invoices"], times["ends_at"], "Otto")
    told_of = AuditEntry.objects.get(event=Event.CLIENT_SUCCEEDED.value).detail
    assert (told_of["from"], told_of["to"], told_of["grants"]) == (client_id, current.external_id, 1)
    first.refresh_from_db()
    assert (first.admission, first.gone_at is None) == (Admission.REMOVED, False)
    told = json.loads(kept.read_text())
    bearer = {"Authorization": f"Bearer {told['registration_access_token']}"}
    assert httpx2.delete(told["registration_client_uri"], headers=bearer).status_code == 204
