"""Rotating access keys over the wire: what AWS does differently from everybody's promises."""

from collections.abc import Iterator

import pytest

from demo.cloud import HOME_ACCOUNT, add_key, add_secret, iam_of
from providers.aws import Reach, Role
from providers.aws_keys import KIND, AccessKeys
from providers.aws_staging import StagedSecrets, parse_location
from providers.base import Basis, CredentialRef, Delivered, Liveness, Secret
from providers.errors import NoRoom, Permanent, Transient
from tests.clouds import MADE, Cloud, served

OTHER, REGION = "528341096722", "eu-north-1"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as cloud:
        yield cloud


def ref(key_id: str, *, user: str = "etl", account: str = HOME_ACCOUNT, kind: str = KIND) -> CredentialRef:
    return CredentialRef(
        identity=f"aws:{key_id}", kind=kind, external_id=key_id, details={"account": account, "user": user}
    )


def test_a_user_with_two_keys_is_told_with_what_each_is_good_for(cloud: Cloud) -> None:
    used = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE, used=(MADE, "s3", REGION)).access_key_id
    idle = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE, is_active=False).access_key_id
    with pytest.raises(NoRoom) as full:
        AccessKeys(Reach(cloud.aws())).issue(ref(used), request_key="1")
    said = str(full.value)
    assert f"AKIA…{used[-4:]} (active, last used on 2026-01-05)" in said
    assert f"AKIA…{idle[-4:]} (suspended, not known to be used)" in said
    assert said.endswith("Revoke the one that nobody needs, then resume.")


def test_a_key_is_asked_for_once_whatever_the_answer(cloud: Cloud) -> None:
    old = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE).access_key_id
    cloud.fail("CreateAccessKey", 503, "ServiceFailure")
    with pytest.raises(Transient):
        AccessKeys(Reach(cloud.aws(attempts=4))).issue(ref(old), request_key="1")
    assert cloud.calls["CreateAccessKey"] == 1


def test_a_key_that_iam_lists_and_no_call_is_answered_for_is_unknown_and_not_refused(cloud: Cloud) -> None:
    key = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE)
    keys = AccessKeys(Reach(cloud.aws(attempts=1)))
    cloud.fail("GetCallerIdentity", 403, "InvalidClientTokenId", after=1)  # the first call is our own
    seen = keys.verify(ref(key.access_key_id), key.access_key_id, Secret(key.secret_access_key))
    assert (seen.liveness, seen.basis) == (Liveness.UNKNOWN, Basis.PRESENTED)
    assert seen.sentence.endswith("IAM lists the key as active: a change takes a while to arrive everywhere.")
    cloud.faults.clear()
    keys.destroy(ref(key.access_key_id), key.access_key_id)
    # moto takes any key here, as AWS itself does for some seconds after one was destroyed
    seen = keys.verify(ref(key.access_key_id), key.access_key_id, Secret(key.secret_access_key))
    assert seen.liveness is Liveness.UNKNOWN


def test_what_may_not_be_listed_is_proved_by_the_call_alone(cloud: Cloud) -> None:
    key = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE)
    cloud.fail("ListAccessKeys", 403, "AccessDenied")
    seen = AccessKeys(Reach(cloud.aws())).verify(
        ref(key.access_key_id), key.access_key_id, Secret(key.secret_access_key)
    )
    assert (seen.liveness, seen.basis) == (Liveness.ALIVE, Basis.PRESENTED)


def test_the_key_that_the_connection_signs_with_is_spared(cloud: Cloud) -> None:
    keys, own = AccessKeys(Reach(cloud.aws())), cloud.key.access_key_id
    for verb in (keys.suspend, keys.destroy):
        with pytest.raises(Permanent, match="would lock itself out"):
            verb(ref(own, user="keyreeve"), own)
    assert [key.status for key in iam_of(HOME_ACCOUNT).users["keyreeve"].access_keys] == ["Active"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (ref("ACCA1", kind="api_key"), "only access keys of IAM users"),
        (ref("", user="root"), "Only the root user itself"),
        (CredentialRef(identity="aws:AKIA", kind=KIND), "Nobody knows which IAM user"),
        (ref("AKIA", account=OTHER), f"has no role in {OTHER}"),
    ],
)
def test_what_cannot_be_rotated_from_here_says_why(cloud: Cloud, given: CredentialRef, said: str) -> None:
    with pytest.raises(Permanent, match=said):
        AccessKeys(Reach(cloud.aws())).issue(given, request_key="1")


def test_a_key_of_another_account_is_rotated_by_the_role_that_is_there(cloud: Cloud) -> None:
    old = add_key(OTHER, "etl", forge=cloud.forge, made=MADE).access_key_id
    keys = AccessKeys(Reach(cloud.aws(), roles=[Role(arn=f"arn:aws:iam::{OTHER}:role/rotator")], with_own=False))
    issued = keys.issue(ref(old, account=OTHER), request_key="1")
    assert (issued.identity, issued.hint) == (
        f"aws:{issued.external_id}",
        f"{issued.external_id[:4]}…{issued.external_id[-4:]}",
    )
    assert {key.access_key_id for key in iam_of(OTHER).users["etl"].access_keys} == {old, issued.external_id}
    assert cloud.calls["AssumeRole"] == 1


# ── Secrets Manager ──
def delivered(text: str) -> Delivered:
    return Delivered(secret=Secret(text))


def both(sink: StagedSecrets) -> tuple[str, str]:
    found = [sink.read(f"aws-sm://app/both#{member}") for member in ("one", "two")]
    return tuple(each.secret.reveal() if each else "" for each in found)  # type: ignore[return-value]


def test_two_rotations_of_one_entry_do_not_undo_each_other(cloud: Cloud) -> None:
    value = '{"one": "1a", "two": "2a", "host": "db"}'
    add_secret(HOME_ACCOUNT, REGION, "app/both", made=MADE, value=value, forge=cloud.forge)
    sink, one, two = StagedSecrets(Reach(cloud.aws())), "aws-sm://app/both#one", "aws-sm://app/both#two"
    sink.store(one, delivered("1b"), request_key="first")
    sink.store(two, delivered("2b"), request_key="second")
    sink.promote(one, request_key="first")
    sink.promote(two, request_key="second")  # stored before the first one came up, and takes it over
    assert both(sink) == ("1b", "2b")
    sink.promote(one, request_key="first")
    assert both(sink) == ("1b", "2b")
    sink.roll_back(one, request_key="first")
    assert both(sink) == ("1a", "2b")
    sink.settle(two, request_key="second")
    sink.roll_back(two, request_key="second")
    assert both(sink) == ("1a", "2b")


def test_a_settled_rotation_leaves_no_label_but_the_current_one_and_its_key(cloud: Cloud) -> None:
    secret = add_secret(HOME_ACCOUNT, REGION, "app/one", made=MADE, value="a", forge=cloud.forge)
    sink = StagedSecrets(Reach(cloud.aws()))
    for text in "bcd":
        sink.store("aws-sm://app/one", delivered(text), request_key=text)
        sink.promote("aws-sm://app/one", request_key=text)
        sink.settle("aws-sm://app/one", request_key=text)
    labels = sorted(label for version in secret.versions.values() for label in version["version_stages"])
    assert labels[0] == "AWSCURRENT"
    assert [label.startswith("keyreeve-") for label in labels] == [False, True]


def test_a_key_whose_secret_was_dropped_takes_another(cloud: Cloud) -> None:
    add_secret(HOME_ACCOUNT, REGION, "app/one", made=MADE, value="a", forge=cloud.forge)
    sink, location = StagedSecrets(Reach(cloud.aws())), "aws-sm://app/one"
    sink.store(location, delivered("died with its worker"), request_key="k")
    sink.roll_back(location, request_key="k")
    sink.store(location, delivered("b"), request_key="k")
    sink.promote(location, request_key="k")
    found = sink.read(location)
    assert found is not None
    assert found.secret.reveal() == "b"


@pytest.mark.parametrize(
    "text", ["app/one", "aws-sm://", "aws-sm://a#", "aws-sm://a#b,c,d", "aws-sm://a#b,b", "env://A"]
)
def test_a_location_that_is_none_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(Permanent, match="A location in Secrets Manager is"):
        parse_location(text)
