"""A rotation at a real AWS of moto's, taken by a real worker that is killed again and again.

The cloud itself kills: just before it does what a call asks, or after it did and before it answers. A worker dies at
every boundary between its provider, its sink and its database that way, without a line of the product knowing of it.
"""

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone
from moto.moto_api._internal.models import moto_api_backend
from moto.secretsmanager import secretsmanager_backends

from access.actors import Actor
from audit.chain import verify
from audit.models import AuditEntry
from demo.cloud import HOME_ACCOUNT, Answer, Environ, Server, add_key, add_secret, iam_of
from inventory.actions.connections import create_connection
from inventory.fingerprints import fingerprint
from inventory.models import Connection, Credential, CredentialVersion
from inventory.states import ConnectionKind
from lifecycle.actions.requests import request_rotation
from lifecycle.models import Delivery, Operation, StepAttempt
from lifecycle.states import AttemptOutcome, OperationState, Proof
from tests.clouds import MADE, Cloud, strict
from tests.journeys.killing import Killer, carried_through, whole_database
from tests.journeys.test_workers import BROKERS

pytestmark = pytest.mark.django_db(transaction=True)

ACTOR = Actor.system("tests")
REGION, ENTRY = "eu-north-1", "apps/billing"
# What leaves a mark. A worker is killed before and after each; with a night's time, around every other call as well.
MARKS = {"CreateAccessKey", "PutSecretValue", "UpdateSecretVersionStage", "UpdateAccessKey", "DeleteAccessKey"}
IS_NIGHT = os.environ.get("KEYREEVE_NIGHT") == "1"


class Deadly(Cloud):
    """A cloud that kills whoever asks it."""

    def __init__(self, killer: Killer) -> None:
        super().__init__()
        self.killer = killer

    def answer(self, action: str, asked: dict[str, str], environ: Environ) -> Answer:
        if self.killer.worker is None or not (IS_NIGHT or action in MARKS):
            return super().answer(action, asked, environ)
        step, lease = self.killer.held()
        if self.killer.kills((step, action, "before"), lease):
            return Answer("503 gone")
        given = super().answer(action, asked, environ)
        self.killer.kills((step, action, "after"), lease)
        return given


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deadly]:
    moto_api_backend.reset()
    deadly = Deadly(Killer())
    server = Server(deadly)
    server.start()
    deadly.url = server.url
    everything = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    iam_of(HOME_ACCOUNT).put_user_policy("keyreeve", "everything", json.dumps(everything))
    # The worker is a process of its own and reads its settings from the environment.
    monkeypatch.setenv("KEYREEVE_ALLOW_LOOPBACK", "1")
    monkeypatch.setenv("KEYREEVE_REFERENCE_VARIABLES", "AWS_OF_THE_TEST")
    monkeypatch.setenv("AWS_OF_THE_TEST", deadly.key.secret_access_key)
    monkeypatch.setenv("KEYREEVE_FINGERPRINT_KEY", (settings.FINGERPRINT_KEY or b"").decode())
    try:
        with strict():
            yield deadly
    finally:
        server.stop()
        moto_api_backend.reset()


@pytest.fixture
def connection(cloud: Deadly) -> Connection:
    host = cloud.url.removeprefix("http://")
    return create_connection(
        kind=ConnectionKind.AWS,
        name="home",
        settings={
            "endpoint": cloud.url,
            "access_key_id": cloud.key.access_key_id,
            "secret_access_key": "env://AWS_OF_THE_TEST",
            "bound_to": host,
            "regions": [REGION],
        },
        actor=ACTOR,
        now=timezone.now(),
    )


@pytest.fixture
def credential(cloud: Deadly, connection: Connection) -> Credential:
    """A key of a user whose consumers read it from Secrets Manager."""
    held = add_key(HOME_ACCOUNT, "billing", forge=cloud.forge, made=MADE)
    add_secret(HOME_ACCOUNT, REGION, ENTRY, made=MADE, value=held.secret_access_key, forge=cloud.forge)
    digest = fingerprint(held.secret_access_key, key=settings.FINGERPRINT_KEY or b"")
    row = Credential.objects.create(
        identity_key=f"aws:{held.access_key_id}",
        connection=connection,
        name="billing",
        kind="aws_access_key",
        issuer="AWS",
        principal=f"arn:aws:iam::{HOME_ACCOUNT}:user/billing",
        external_id=held.access_key_id,
        fingerprint=digest,
        storage="provider",
        status="active",
        details={"account": HOME_ACCOUNT, "user": "billing"},
        issued_at=MADE,
        first_seen_at=MADE,
    )
    CredentialVersion.objects.create(
        credential=row, external_id=held.access_key_id, fingerprint=digest, issued_at=MADE, first_seen_at=MADE
    )
    Delivery.objects.create(
        credential=row,
        sink="aws_secrets",
        location=f"aws-sm://{ENTRY}",
        connection=connection,
        quiet=timedelta(0),
        set_by="somebody",
        set_at=timezone.now(),
    )
    return row


def keys_of(user: str) -> dict[str, str]:
    """The secrets of a user's usable keys by id."""
    iam = iam_of(HOME_ACCOUNT)
    held = [key for key in iam.access_keys.values() if key.user_name == user and key.status == "Active"]
    return {key.access_key_id: key.secret_access_key for key in held}


def read_by_consumers() -> str:
    entries = secretsmanager_backends[HOME_ACCOUNT][REGION]
    return str(entries.get_secret_value(ENTRY, "", "AWSCURRENT")["SecretString"])


def is_whole(operation: Operation, old_secret: str, folder: Path) -> None:
    """One usable secret, which consumers read and the inventory names; no orphan beside it, and none written down."""
    assert (operation.state, operation.proof) == (OperationState.COMPLETED, Proof.VERIFIED)
    ((key_id, secret),) = keys_of("billing").items()
    assert len([key for key in iam_of(HOME_ACCOUNT).access_keys.values() if key.user_name == "billing"]) == 1
    assert secret != old_secret
    assert read_by_consumers() == secret
    credential = Credential.objects.get(pk=operation.credential_id)
    assert credential.external_id == key_id
    assert credential.fingerprint == fingerprint(secret, key=settings.FINGERPRINT_KEY or b"")
    assert verify(AuditEntry.objects.links()).broken is None
    written = whole_database() + "".join(log.read_text(errors="replace") for log in folder.glob("*.log"))
    assert secret not in written
    assert old_secret not in written


def asked_for(credential: Credential) -> Operation:
    operation = request_rotation(credential, actor=ACTOR, now=timezone.now(), reason="It is old")
    Operation.objects.filter(pk=operation.pk).update(overlap=timedelta(0))
    return operation


@pytest.mark.long
def test_a_rotation_survives_a_worker_killed_at_every_call(
    cloud: Deadly, credential: Credential, tmp_path: Path
) -> None:
    (old_secret,) = keys_of("billing").values()
    operation = carried_through(asked_for(credential), cloud.killer, tmp_path)
    is_whole(operation, old_secret, tmp_path)
    assert len(cloud.killer.killed) >= 12, cloud.killer.killed
    assert StepAttempt.objects.filter(operation=operation, outcome=AttemptOutcome.LOST).count() >= 6


@pytest.mark.long
@pytest.mark.parametrize("name", ["Redis", "RabbitMQ"])
def test_a_rotation_goes_through_over_another_broker(name: str, credential: Credential, tmp_path: Path) -> None:
    (old_secret,) = keys_of("billing").values()
    with BROKERS[name](tmp_path) as broker:
        operation = carried_through(asked_for(credential), Killer(), tmp_path, broker=broker)
    is_whole(operation, old_secret, tmp_path)
