"""An access key at AWS, rotated into Secrets Manager and revoked by operations, over the wire."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from demo.cloud import HOME_ACCOUNT, add_key, add_secret, iam_of
from inventory.actions.connections import create_connection
from inventory.models import Connection, Credential
from inventory.states import ConnectionKind
from lifecycle.actions.requests import request_revocation, request_rotation
from lifecycle.actions.schedule import begin_due
from lifecycle.engine.runner import advance
from lifecycle.models import Delivery, Operation
from lifecycle.states import Automation, OperationState, Proof, Trigger
from tests import factories
from tests.clouds import MADE, Cloud, served, strict
from tests.lifecycle.rotating import due, policy
from tests.syncs import ACTOR, synced

pytestmark = pytest.mark.django_db
REGION, USER, ENTRY = "eu-north-1", "invoice-export", "app/invoice-export"
LOCATION = f"aws-sm://{ENTRY}#secret,key_id"


@pytest.fixture
def cloud(settings: Settings, tmp_path: Path) -> Iterator[Cloud]:
    settings.ALLOW_LOOPBACK = True
    settings.REFERENCE_FOLDERS = (tmp_path,)
    with served() as cloud:
        every = {"Effect": "Allow", "Action": ["iam:*", "secretsmanager:*"], "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [every]})
        iam_of(HOME_ACCOUNT).put_user_policy("keyreeve", "all", policy)
        (tmp_path / "key").write_text(cloud.key.secret_access_key)
        with strict():
            yield cloud


@pytest.fixture
def credential(cloud: Cloud, tmp_path: Path) -> Credential:
    key = add_key(HOME_ACCOUNT, USER, forge=cloud.forge, made=MADE)
    value = json.dumps({"secret": key.secret_access_key, "key_id": key.access_key_id, "host": "s3"})
    add_secret(HOME_ACCOUNT, REGION, ENTRY, made=MADE, value=value, forge=cloud.forge)
    settings = {
        "access_key_id": cloud.key.access_key_id,
        "secret_access_key": f"file://{tmp_path / 'key'}",
        "endpoint": cloud.url,
        "bound_to": cloud.url.partition("://")[2],
        "regions": [REGION],
        "secrets": False,
    }
    connection: Connection = create_connection(
        kind=ConnectionKind.AWS, name="AWS", settings=settings, actor=ACTOR, now=timezone.now()
    )
    synced(connection)
    found = Credential.objects.get(external_id=key.access_key_id)
    Delivery.objects.create(
        credential=found,
        sink="aws_secrets",
        location=LOCATION,
        connection=connection,
        set_by="somebody",
        set_at=timezone.now(),
    )
    return found


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


def keys_of_the_user() -> dict[str, str]:
    return {key.access_key_id: key.secret_access_key for key in iam_of(HOME_ACCOUNT).users[USER].access_keys}


def test_a_key_is_rotated_and_its_consumers_read_the_next_one(cloud: Cloud, credential: Credential) -> None:
    old = credential.external_id
    operation = finished(request_rotation(credential, actor=ACTOR, now=timezone.now(), reason="It is old"))
    assert (operation.state, operation.proof, operation.error) == (OperationState.COMPLETED, Proof.VERIFIED, "")
    held = json.loads(
        cloud.aws().client("secretsmanager").get_secret_value(SecretId=ENTRY, VersionStage="AWSCURRENT")["SecretString"]
    )
    assert keys_of_the_user() == {held["key_id"]: held["secret"]}
    assert held["key_id"] != old
    assert held["host"] == "s3"


def test_a_key_past_its_date_is_rotated_by_the_schedule_once_its_consumers_are_silent(
    cloud: Cloud, credential: Credential
) -> None:
    old, now = credential.external_id, timezone.now()
    factories.use(factories.credential(identity_key=f"ref:{LOCATION}"))  # a configuration names where it is delivered
    due(credential, policy(automation=Automation.AUTOMATIC, overlap=timedelta(hours=2)), now - timedelta(days=1))
    run = begin_due(now)
    assert run is not None
    operation = Operation.objects.get(pk__in=run.begun)
    assert (operation.credential, operation.trigger) == (credential, Trigger.SCHEDULE)
    seen = []
    while operation.closed_at is None:
        assert operation.due_at is not None, operation.error
        now = max(now, operation.due_at) + timedelta(seconds=1)
        advance(operation.pk, clock=lambda now=now: now, jitter=lambda: 0.5)  # type: ignore[misc]
        operation.refresh_from_db()
        keys = iam_of(HOME_ACCOUNT).users[USER].access_keys
        seen.append((str(operation.step), "".join(key.status[0] for key in keys if key.access_key_id == old)))
    steps = list(dict.fromkeys(seen))
    assert steps == [("overlap", "A"), ("quiet", "I"), ("verify_gone", "")]
    assert (operation.state, operation.proof) == (OperationState.COMPLETED, Proof.VERIFIED)
    entry = cloud.aws().client("secretsmanager").get_secret_value(SecretId=ENTRY)["SecretString"]
    assert {json.loads(entry)["key_id"]: json.loads(entry)["secret"]} == keys_of_the_user()


def test_a_key_is_revoked_and_seen_gone(cloud: Cloud, credential: Credential) -> None:
    asked = request_revocation(credential, actor=ACTOR, now=timezone.now(), reason="It leaked", is_urgent=True)
    operation = finished(asked)
    assert (operation.state, operation.proof, operation.error) == (OperationState.COMPLETED, Proof.VERIFIED, "")
    assert keys_of_the_user() == {}
