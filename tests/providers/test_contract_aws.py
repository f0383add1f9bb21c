"""What AWS promises as a provider and as a sink, over the wire."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from demo.cloud import HOME_ACCOUNT, add_key, add_secret, iam_of
from providers.aws import Reach
from providers.aws_keys import KIND, AccessKeys
from providers.aws_staging import StagedSecrets
from providers.base import CredentialRef, Delivered, Secret
from providers.contract import RETRY_AFTER, Outage, ProviderContract, ProviderPlace, SinkContract, SinkPlace
from tests.clouds import MADE, Cloud, served, strict

REGION = "eu-north-1"
USER = "etl"
FAULTS = {
    Outage.UNAVAILABLE: (503, "ServiceFailure", ()),
    Outage.THROTTLED: (429, "Throttling", (("Retry-After", str(int(RETRY_AFTER.total_seconds()))),)),
    Outage.DENIED: (403, "AccessDenied", ()),
}
IAM = ("ListAccessKeys", "GetAccessKeyLastUsed", "CreateAccessKey", "UpdateAccessKey", "DeleteAccessKey")
SECRETS = ("DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage")


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as cloud:
        yield cloud


def failing(cloud: Cloud, *actions: str):
    @contextmanager
    def fail(outage: Outage) -> Iterator[None]:
        status, code, headers = FAULTS[outage]
        for action in actions:
            cloud.fail(action, status, code, headers=headers)
        yield
        cloud.faults.clear()

    return fail


class TestAccessKeys(ProviderContract):
    @pytest.fixture(autouse=True)
    def signatures(self, cloud: Cloud) -> Iterator[None]:
        every = {"Effect": "Allow", "Action": "iam:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [every]})
        iam_of(HOME_ACCOUNT).put_user_policy("keyreeve", "all", policy)
        with strict():
            yield

    @pytest.fixture
    def place(self, cloud: Cloud) -> ProviderPlace:
        key = add_key(HOME_ACCOUNT, USER, forge=cloud.forge, made=MADE)

        def connect() -> AccessKeys:
            return AccessKeys(Reach(cloud.aws(attempts=1)))

        def usable() -> set[str]:
            return {
                each.access_key_id for each in iam_of(HOME_ACCOUNT).users[USER].access_keys if each.status == "Active"
            }

        return ProviderPlace(
            provider=connect(),
            ref=CredentialRef(
                identity=f"aws:{key.access_key_id}",
                kind=KIND,
                principal=f"arn:aws:iam::{HOME_ACCOUNT}:user/{USER}",
                external_id=key.access_key_id,
                issuer="AWS",
                details={"account": HOME_ACCOUNT, "user": USER},
            ),
            external_id=key.access_key_id,
            secret=Secret(key.secret_access_key),
            usable=usable,
            again=connect,
            room=1,
            failing=failing(cloud, *IAM),
            unknown_external_id="AKIAIOSFODNN7EXAMPLE",
        )


def consumer(cloud: Cloud, name: str, *members: str) -> Delivered | None:
    client = cloud.aws().client("secretsmanager")
    text = client.get_secret_value(SecretId=name)["SecretString"]
    if not members:
        return Delivered(secret=Secret(text))
    held = json.loads(text)
    assert held["host"] == "db.example"
    return Delivered(secret=Secret(held[members[0]]), external_id=held[members[1]] if len(members) > 1 else "")


class StagedSecretsContract(SinkContract):
    members: tuple[str, ...] = ()

    @pytest.fixture
    def place(self, cloud: Cloud) -> SinkPlace:
        before = Delivered(secret=Secret("before-4711"), external_id="AKIABEFORE")
        held = dict(zip(self.members, (before.secret.reveal(), before.external_id), strict=False))
        value = json.dumps({"host": "db.example", **held}) if self.members else before.secret.reveal()
        add_secret(HOME_ACCOUNT, REGION, "app/etl", made=MADE, value=value, forge=cloud.forge)
        suffix = f"#{','.join(self.members)}" if self.members else ""

        def connect() -> StagedSecrets:
            return StagedSecrets(Reach(cloud.aws(attempts=1)))

        return SinkPlace(
            sink=connect(),
            location=f"aws-sm://app/etl{suffix}",
            reading=lambda: consumer(cloud, "app/etl", *self.members),
            before=before,
            again=connect,
            keeps_external_id=len(self.members) > 1,
            missing=f"aws-sm://app/nothing{suffix}",
            failing=failing(cloud, *SECRETS),
        )


class TestWholeEntries(StagedSecretsContract):
    pass


class TestMembersOfEntries(StagedSecretsContract):
    members = ("secret", "key_id")
