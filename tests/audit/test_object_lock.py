"""Chain heads in S3 with Object Lock, against moto over HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from moto.moto_api._internal.models import moto_api_backend

from access.actors import Actor
from audit.errors import NotExported, PlaceInvalid, PlaceRefuses
from audit.exports import compare, export_due
from audit.heads import rotate_key, sign_head, signing_key
from audit.models import ExportPlace
from audit.object_lock import Bucket, opened
from audit.places import Address, place_at
from audit.signing import public
from demo.cloud import Endpoint, Server

ACTOR = Actor.system("tests")
KEY = "AKIAEXAMPLE:not-a-secret"


@pytest.fixture
def store() -> Iterator[str]:
    """The endpoint of an S3 with a bucket that locks and one that does not."""
    moto_api_backend.reset()
    server = Server(Endpoint())
    server.start()
    client = opened(f"s3://heads?endpoint={server.url}&region=eu-north-1", key=KEY).client
    there = {"LocationConstraint": "eu-north-1"}
    client.create_bucket(Bucket="heads", ObjectLockEnabledForBucket=True, CreateBucketConfiguration=there)
    client.create_bucket(Bucket="plain", CreateBucketConfiguration=there)
    yield server.url
    server.stop()
    moto_api_backend.reset()


def bucket(store: str, name: str = "heads/keyreeve", more: str = "") -> Bucket:
    place = place_at(f"s3://{name}?endpoint={store}&region=eu-north-1{more}", key=KEY)
    assert isinstance(place, Bucket)
    return place


def test_a_document_is_locked_in_compliance_mode_for_the_days_that_were_asked_for(store: str) -> None:
    place = bucket(store, more="&days=30")
    place.put("1.json", b"one")
    kept = place.client.head_object(Bucket="heads", Key="keyreeve/1.json")
    assert kept["ObjectLockMode"] == "COMPLIANCE"
    assert timedelta(days=29) < kept["ObjectLockRetainUntilDate"] - datetime.now(UTC) <= timedelta(days=30)
    with pytest.raises(ClientError, match="AccessDenied"):
        place.client.delete_object(Bucket="heads", Key="keyreeve/1.json", VersionId=kept["VersionId"])


def test_governance_is_for_who_asks_for_it(store: str) -> None:
    place = bucket(store, more="&mode=governance")
    place.put("1.json", b"one")
    assert place.client.head_object(Bucket="heads", Key="keyreeve/1.json")["ObjectLockMode"] == "GOVERNANCE"


def test_nothing_is_written_over(store: str) -> None:
    place = bucket(store)
    place.put("1.json", b"one")
    place.put("1.json", b"one")
    with pytest.raises(PlaceRefuses, match="there with another content"):
        place.put("1.json", b"two")
    assert list(place.documents()) == [("1.json", b"one")]


def test_what_others_write_or_delete_later_does_not_count_and_is_told(store: str) -> None:
    place = bucket(store)
    for name in ("1.json", "2.json", "3.json"):
        place.put(name, name.encode())
    place.client.put_object(Bucket="heads", Key="keyreeve/1.json", Body=b"forged")
    place.client.delete_object(Bucket="heads", Key="keyreeve/2.json")
    place.client.put_object(Bucket="heads", Key="keyreeve/2.json", Body=b"forged")
    assert dict(place.documents()) == {name: name.encode() for name in ("1.json", "2.json", "3.json")}
    assert [line.partition(";")[0] for line in place.warnings()] == ["1.json was written again", "2.json was deleted"]
    with pytest.raises(PlaceRefuses, match="another content"):
        place.put("1.json", b"forged")


def test_a_bucket_without_object_lock_is_refused(store: str) -> None:
    with pytest.raises(PlaceRefuses, match="s3:PutObject"):
        bucket(store, "plain").put("1.json", b"one")


def test_a_bucket_that_is_not_there_is_said_to_refuse(store: str) -> None:
    with pytest.raises(PlaceRefuses, match="NoSuchBucket"):
        list(bucket(store, "nothing").documents())


def test_nobody_answering_is_no_answer() -> None:
    with pytest.raises(PlaceRefuses, match="gave no answer"):
        bucket("http://127.0.0.1:9").put("1.json", b"one")


@pytest.mark.django_db
def test_the_chain_is_verified_against_a_bucket_across_a_rotation(store: str, tmp_path, settings, capsys) -> None:
    place, clock = bucket(store), lambda: datetime.now(UTC)
    path = tmp_path / "chain.key"
    first = signing_key(path, now=clock(), actor=ACTOR)
    sign_head(first, now=clock(), actor=ACTOR)
    rotate_key(path, clock=clock, actor=ACTOR, reason="yearly")
    sign_head(signing_key(path, now=clock(), actor=ACTOR), now=clock(), actor=ACTOR)
    assert export_due([place], clock=clock, actor=ACTOR) == 4
    found = compare(place, trusted=[public(first)])
    assert (found.problem, found.documents.by_given_keys, found.warnings) == (None, 2, [])
    assert ExportPlace.objects.get().address == "s3://heads/keyreeve/"


@pytest.mark.django_db
def test_a_bucket_that_was_away_gets_everything_later(store: str, tmp_path) -> None:
    clock = lambda: datetime.now(UTC)  # noqa: E731
    sign_head(signing_key(tmp_path / "chain.key", now=clock(), actor=ACTOR), now=clock(), actor=ACTOR)
    with pytest.raises(NotExported, match=r"s3://later/: The bucket refuses s3:PutObject \(NoSuchBucket\)"):
        export_due([bucket(store, "later")], clock=clock, actor=ACTOR)
    place = bucket(store, "later")
    place.client.create_bucket(
        Bucket="later",
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": "eu-north-1"},
    )
    assert export_due([place], clock=clock, actor=ACTOR) == 2
    assert ExportPlace.objects.get().failing_since is None


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3:///heads", "names a bucket"),
        ("s3://heads?mode=none", "compliance or governance"),
        ("s3://heads?days=0", "whole number"),
        ("s3://heads?day=3", "has no 'day'"),
        ("s3://heads?endpoint=http://store.example", "https address"),
        ("s3://heads?endpoint=https://user:x@store.example", "https address"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_a_sentence(address: str, words: str) -> None:
    with pytest.raises(PlaceInvalid, match=words):
        Address.read(address)


def test_a_key_that_is_none_is_refused_without_being_said() -> None:
    with pytest.raises(PlaceInvalid) as refused:
        opened("s3://heads", key="hunter2")
    assert "hunter2" not in str(refused.value)
