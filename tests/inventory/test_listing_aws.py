"""Whole syncs of AWS accounts over the wire: what a look adds, changes, leaves alone and takes for gone."""

import json
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from moto.iam.models import AccessKey
from pytest_django import Settings

from demo.cloud import HOME_ACCOUNT, add_key, add_secret, iam_of
from inventory.actions.connections import create_connection
from inventory.listings.aws import connect
from inventory.models import Connection, Credential, CredentialVersion, Exposure, SyncRun
from inventory.outside import references
from inventory.states import ConnectionKind, CredentialStatus, RunState, Storage
from providers.errors import Permanent, Refused
from tests.clouds import MADE, Cloud, served
from tests.syncs import ACTOR, synced

OTHER, THIRD = "528341096722", "639452107833"
DAY = timedelta(days=1)
pytestmark = pytest.mark.django_db


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Cloud]:
    with served() as cloud:
        monkeypatch.setenv("ESTATE_AWS_SECRET", cloud.key.secret_access_key)
        settings.REFERENCE_VARIABLES = ("ESTATE_*",)
        settings.ALLOW_LOOPBACK = True
        yield cloud


def known(cloud: Cloud, **more: Any) -> dict[str, Any]:
    return {
        "access_key_id": cloud.key.access_key_id,
        "secret_access_key": "env://ESTATE_AWS_SECRET",
        "bound_to": cloud.url.removeprefix("http://"),
        "endpoint": cloud.url,
        "regions": ["eu-north-1"],
        **more,
    }


def connected(cloud: Cloud, **more: Any) -> Connection:
    return create_connection(
        kind=ConnectionKind.AWS, name="estate", settings=known(cloud, **more), actor=ACTOR, now=timezone.now()
    )


def holding(key: AccessKey, folder: Path) -> Connection:
    """Configuration files with this key in them."""
    held = {"AWS_ACCESS_KEY_ID": key.access_key_id, "AWS_SECRET_ACCESS_KEY": key.secret_access_key}
    (folder / ".mcp.json").write_text(json.dumps({"mcpServers": {"ops": {"command": "aws-mcp", "env": held}}}))
    return create_connection(
        kind=ConnectionKind.MCP_CONFIG,
        name="files",
        settings={"paths": [str(folder)]},
        actor=ACTOR,
        now=timezone.now(),
    )


def role(account: str) -> str:
    return f"arn:aws:iam::{account}:role/reader"


def test_a_first_look_adds_every_key_with_the_dates_that_aws_gives(cloud: Cloud) -> None:
    key = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE, used=(MADE + 90 * DAY, "s3", "eu-west-1"))
    run = synced(connected(cloud))
    credential = Credential.objects.get(external_id=key.access_key_id)
    assert (run.state, run.counts["credentials_added"]) == (RunState.COMPLETE, 2)
    assert (credential.issued_at, credential.last_used_at) == (MADE, MADE + 90 * DAY)
    assert (credential.status, credential.storage) == (CredentialStatus.ACTIVE, Storage.PROVIDER)
    assert credential.details["last_used_service"] == "s3"
    assert credential.principal == f"arn:aws:iam::{HOME_ACCOUNT}:user/etl"


def test_a_second_look_at_the_same_writes_nothing(cloud: Cloud) -> None:
    for n in range(40):
        add_key(OTHER, f"user-{n}", forge=cloud.forge, made=MADE, used=(MADE + DAY, "s3", "eu-west-1"))
    add_secret(OTHER, "eu-north-1", "app/db", made=MADE, value=secrets.token_urlsafe(9), forge=cloud.forge)
    connection = connected(cloud, roles=[role(OTHER)])  # its own key is used by every look
    synced(connection)
    before = sorted(Credential.objects.values_list(), key=str)
    run = synced(connection)
    assert (run.state, run.counts) == (RunState.COMPLETE, {})
    assert sorted(Credential.objects.values_list(), key=str) == before


def test_a_deleted_key_is_destroyed_and_gone_after_a_complete_look(cloud: Cloud) -> None:
    key = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE)
    connection = connected(cloud)
    synced(connection)
    iam_of(HOME_ACCOUNT).delete_access_key(key.access_key_id, "etl")
    run = synced(connection)
    credential = Credential.objects.get(external_id=key.access_key_id)
    assert run.state == RunState.COMPLETE
    assert credential.status == CredentialStatus.DESTROYED
    assert credential.gone_at is not None


def test_a_key_that_is_switched_off_becomes_suspended(cloud: Cloud) -> None:
    key = add_key(OTHER, "etl", forge=cloud.forge, made=MADE)
    connection = connected(cloud, roles=[role(OTHER)])
    synced(connection)
    iam_of(OTHER).update_access_key("etl", key.access_key_id, "Inactive")
    assert synced(connection).counts == {"credentials_changed": 1, "versions_suspended": 1}
    assert Credential.objects.get(external_id=key.access_key_id).status == CredentialStatus.SUSPENDED


def test_a_failure_half_way_marks_nothing_gone_and_makes_the_run_partial(cloud: Cloud) -> None:
    for account in (OTHER, THIRD):
        for n in range(20):
            add_key(account, f"user-{n:02}", forge=cloud.forge, made=MADE)
    connection = connected(cloud, roles=[role(OTHER), role(THIRD)])
    synced(connection)
    deleted = iam_of(THIRD).list_access_keys("user-03")[0]
    iam_of(THIRD).delete_access_key(deleted.access_key_id, "user-03")
    cloud.fail("ListAccessKeys", 500, "ServiceFailure", after=5, account=OTHER)
    run = synced(connection)
    assert run.state == RunState.PARTIAL
    assert [problem["file"] for problem in run.problems] == [f"aws:{OTHER}"]
    assert not Credential.objects.exclude(gone_at=None).exists()
    assert not Credential.objects.filter(status=CredentialStatus.DESTROYED).exists()


def test_what_a_partial_look_did_see_is_kept(cloud: Cloud) -> None:
    add_key(THIRD, "etl", forge=cloud.forge, made=MADE)
    cloud.fail("AssumeRole", 403, "AccessDenied", times=1)
    run = synced(connected(cloud, roles=[role(OTHER), role(THIRD)]))
    assert (run.state, run.counts["credentials_added"]) == (RunState.PARTIAL, 1)


def test_a_look_that_is_denied_fails_with_a_sentence_and_touches_nothing(cloud: Cloud) -> None:
    connection = connected(cloud)
    synced(connection)
    cloud.fail("GetCallerIdentity", 403, "AccessDenied")
    run = synced(connection)
    assert (run.state, run.error) == (RunState.FAILED, "AWS refuses sts:GetCallerIdentity (AccessDenied).")
    assert not Credential.objects.exclude(gone_at=None).exists()


def test_a_key_in_a_configuration_file_is_the_same_credential_and_takes_the_dates_of_aws(
    cloud: Cloud, tmp_path: Path
) -> None:
    key = add_key(HOME_ACCOUNT, "mcp", forge=cloud.forge, made=MADE, used=(MADE + DAY, "s3", "eu-west-1"))
    files = holding(key, tmp_path)
    synced(files)
    found = Credential.objects.get()
    assert found.issued_at is None
    estate = connected(cloud)
    synced(estate)
    synced(files)
    credential = Credential.objects.get(external_id=key.access_key_id)
    assert (credential.pk, credential.connection_id) == (found.pk, estate.pk)
    assert (credential.issued_at, credential.last_used_at) == (MADE, MADE + DAY)
    assert Exposure.objects.get().credential_id == credential.pk


def test_a_key_that_aws_no_longer_knows_is_destroyed_though_a_file_still_holds_it(cloud: Cloud, tmp_path: Path) -> None:
    key = add_key(HOME_ACCOUNT, "mcp", forge=cloud.forge, made=MADE)
    files = holding(key, tmp_path)
    synced(files)
    estate = connected(cloud)
    synced(estate)
    iam_of(HOME_ACCOUNT).delete_access_key(key.access_key_id, "mcp")
    synced(estate)
    credential = Credential.objects.get(external_id=key.access_key_id)
    assert (credential.status, credential.gone_at) == (CredentialStatus.DESTROYED, None)


def test_a_date_of_use_never_moves_back(cloud: Cloud) -> None:
    key = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE, used=(MADE + 9 * DAY, "s3", "eu-west-1"))
    connection = connected(cloud)
    synced(connection)
    key.last_used = None
    synced(connection)
    assert Credential.objects.get(external_id=key.access_key_id).last_used_at == MADE + 9 * DAY


def test_a_stored_secret_that_rotates_begins_a_new_version(cloud: Cloud) -> None:
    value = secrets.token_urlsafe(9)
    secret = add_secret(HOME_ACCOUNT, "eu-north-1", "app/db", made=MADE, value=value, forge=cloud.forge)
    connection = connected(cloud)
    synced(connection)
    (first,) = secret.versions
    secret.reset_default_version({"version_stages": ["AWSCURRENT"]}, "v2")
    secret.last_changed_date = int((MADE + DAY).timestamp())
    synced(connection)
    credential = Credential.objects.get(name="app/db")
    assert (credential.external_id, credential.kind) == ("v2", "other")
    versions = CredentialVersion.objects.filter(credential=credential).order_by("id")
    assert list(versions.values_list("external_id", "is_current")) == [(first, False), ("v2", True)]


def test_the_secret_of_the_identity_is_kept_nowhere(cloud: Cloud) -> None:
    run = synced(connected(cloud))
    rows = [*Credential.objects.values(), *Connection.objects.values(), *SyncRun.objects.filter(pk=run.pk).values()]
    assert cloud.key.secret_access_key not in repr(rows)


def test_a_check_of_the_settings_names_the_account(cloud: Cloud) -> None:
    assert f"AWS account {HOME_ACCOUNT}" in connect(known(cloud)).check()


def test_a_changed_endpoint_gets_no_signature(cloud: Cloud) -> None:
    with pytest.raises(Refused, match="bound to another host"):
        connect(known(cloud, endpoint="https://elsewhere.example"))


def test_a_secret_instead_of_a_reference_is_refused_and_not_repeated(cloud: Cloud) -> None:
    pasted = secrets.token_urlsafe(30)
    with pytest.raises(Permanent) as refused:
        connect(known(cloud, secret_access_key=pasted))
    assert pasted not in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"role": []}, "no setting role"),
        ({"roles": "arn"}, "roles is a list"),
        ({"roles": [5]}, "A role is its ARN"),
        ({"roles": [{"arn": "arn:aws:iam::1:user/x"}]}, "named by its ARN"),
        ({"regions": [5]}, "region"),
        ({"regions": ["evil.example/"]}, "region"),
        ({"secrets": "yes"}, "secrets is true or false"),
        ({"use_machine_identity": True}, "not both"),
        ({"secret_access_key": ""}, "Name access_key_id"),
        ({"own_account": False}, "no account to look at"),
        ({"access_key_id": 5}, "access_key_id is a text"),
    ],
)
def test_a_setting_that_is_wrong_is_named(cloud: Cloud, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(Permanent, match=said):
        connect(known(cloud, **wrong))


def test_a_reference_to_secrets_manager_is_read_as_this_machine_where_the_operator_opened_that(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    value = secrets.token_urlsafe(9)
    document = json.dumps({"password": value})
    add_secret(HOME_ACCOUNT, "eu-north-1", "app/db", made=MADE, value=document, forge=cloud.forge)
    with pytest.raises(Refused):
        references().resolve("aws-sm://app/db#password", bound_to="db.example", host="db.example")
    settings.REFERENCE_AWS_REGION = "eu-north-1"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", cloud.key.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", cloud.key.secret_access_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
    found = references().resolve("aws-sm://app/db#password", bound_to="db.example", host="db.example")
    assert found.reveal() == value
