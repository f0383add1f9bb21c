"""The demo company's AWS accounts, served by a process of their own that checks signatures and permissions."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from demo.cloud import ACCOUNTS, EXPORTER, REGIONS, exporter_location, exporter_pair, identity, roles
from demo.estate import AWS_ACCOUNT, aws_pair, write
from inventory.discovery.formats import aws_account
from providers.aws import Accounts, Aws, Key, Reach, Role
from providers.aws_iam import access_keys, service_credentials
from providers.aws_keys import KIND, AccessKeys
from providers.aws_secrets import stored_secrets
from providers.aws_staging import StagedSecrets
from providers.base import Basis, CredentialRef, Delivered, DiscoveredCredential, Liveness, Secret, Status
from providers.errors import Denied
from tests.clouds import MADE


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    command = [sys.executable, "-m", "demo.cloud", "--endpoint", "http://127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = re.fullmatch(r"ready (http://127\.0\.0\.1:\d+)\n", process.stdout.readline())
        assert said
        yield said[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def aws(endpoint: str) -> Aws:
    key_id, secret = identity()
    return Aws(Key(access_key_id=key_id, secret_access_key=Secret(secret)), region=REGIONS[0], endpoint=endpoint)


def test_hundreds_of_keys_of_all_ages_are_listed_with_the_least_rights(endpoint: str) -> None:
    listers = [access_keys, service_credentials, partial(stored_secrets, regions=REGIONS)]
    estate = Accounts(aws(endpoint), listers=listers, roles=[Role(arn=arn) for arn in roles()], with_own=False)
    found = list(estate.discover())
    credentials = [each for each in found if isinstance(each, DiscoveredCredential)]
    keys = [each for each in credentials if each.kind == "aws_access_key"]
    assert len(credentials) == len(found)  # and no problem
    assert len(keys) > 250
    assert {each.details["account"] for each in keys} == set(ACCOUNTS)
    ages = sorted(each.issued_at for each in keys if each.issued_at)
    assert ages[-1] - ages[0] > timedelta(days=1_000)
    assert {each.status for each in keys} == {Status.ACTIVE, Status.SUSPENDED}
    assert {each.details["rotation"] for each in credentials if each.reference} == {"on", "off"}


def test_the_key_of_the_configuration_files_works_there(endpoint: str, tmp_path: Path) -> None:
    write(tmp_path, now=MADE)
    held = (tmp_path / "src/ops-runbooks/.vscode/mcp.json").read_text()
    key_id, secret = aws_pair()
    assert re.findall(r"AKIA[A-Z2-7]{16}", held) == [key_id]
    assert aws_account(key_id) == AWS_ACCOUNT
    caller = Aws(Key(access_key_id=key_id, secret_access_key=Secret(secret)), endpoint=endpoint).caller()
    assert (caller.account, caller.arn.rpartition("/")[2]) == (AWS_ACCOUNT, "mcp-aws-ops")


def test_a_key_past_its_date_is_rotated_with_the_rights_of_the_demo_and_its_consumers_read_the_next(
    endpoint: str,
) -> None:
    reach = Reach(aws(endpoint), roles=[Role(arn=arn) for arn in roles()], with_own=False)
    keys, sink, location, key = AccessKeys(reach), StagedSecrets(reach), exporter_location(), "7f3c-rotation"
    old, old_secret = exporter_pair()
    ref = CredentialRef(
        identity=f"aws:{old}", kind=KIND, external_id=old, details={"account": AWS_ACCOUNT, "user": EXPORTER}
    )
    assert [version.external_id for version in keys.versions(ref)] == [old]
    issued = keys.issue(ref, request_key=key)
    sink.store(location, Delivered(secret=issued.secret, external_id=issued.external_id), request_key=key)
    kept = sink.read(location, request_key=key)
    assert kept is not None
    assert keys.verify(ref, kept.external_id, kept.secret).liveness is Liveness.ALIVE
    sink.promote(location, request_key=key)
    keys.suspend(ref, old)
    assert keys.verify(ref, old, None).sentence.endswith("as inactive.")
    assert keys.verify(ref, old, Secret(old_secret)).basis is Basis.PRESENTED
    keys.destroy(ref, old)
    assert keys.verify(ref, old, Secret(old_secret)).liveness is Liveness.REFUSED
    sink.settle(location, request_key=key)
    read = sink.read(location)
    assert read is not None
    assert (read.external_id, read.secret.reveal()) == (issued.external_id, issued.secret.reveal())
    assert [version.external_id for version in keys.versions(ref)] == [issued.external_id]
    # A consumer asks for the entry and for nothing of it in particular.
    entry = location.removeprefix("aws-sm://").partition("#")[0]
    consumer = reach.into(AWS_ACCOUNT).client("secretsmanager", REGIONS[0])
    assert issued.external_id in consumer.get_secret_value(SecretId=entry)["SecretString"]


def test_the_identity_that_looks_may_look_and_no_more(endpoint: str) -> None:
    with pytest.raises(Denied, match="iam:ListUsers"):
        list(access_keys_of_its_own(endpoint))


def access_keys_of_its_own(endpoint: str) -> Iterator[object]:
    return Accounts(aws(endpoint), listers=[access_keys]).discover()
