"""Secrets Manager over the wire: how each entry's rotation stands, and values only by reference."""

import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from demo.cloud import HOME_ACCOUNT, add_secret
from providers.aws import Account, Accounts
from providers.aws_secrets import SecretReader, stored_secrets
from providers.base import DiscoveredCredential, Problem, Status
from providers.errors import Denied, Permanent, Refused, Transient
from tests.clouds import MADE, Cloud, served

REGION, ELSEWHERE = "eu-north-1", "eu-west-1"
DAY = timedelta(days=1)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as cloud:
        yield cloud


def put(cloud: Cloud, name: str = "app/db", *, region: str = REGION, value: str = "", made: datetime = MADE):
    value = value or secrets.token_urlsafe(20)
    return add_secret(HOME_ACCOUNT, region, name, made=made, value=value, forge=cloud.forge)


def listed(cloud: Cloud, *regions: str, attempts: int = 2) -> tuple[dict[str, DiscoveredCredential], list[Problem]]:
    def lister(account: Account) -> Iterator[DiscoveredCredential | Problem]:
        return stored_secrets(account, regions=regions or (REGION,))

    found = list(Accounts(cloud.aws(attempts=attempts), listers=[lister]).discover())
    problems = [each for each in found if isinstance(each, Problem)]
    return {each.name: each for each in found if isinstance(each, DiscoveredCredential)}, problems


def test_an_entry_is_identified_and_referred_to_by_its_arn(cloud: Cloud) -> None:
    arn = put(cloud).arn
    found = listed(cloud)[0]["app/db"]
    assert (found.identity, found.reference) == (f"ref:aws-sm://{arn}", f"aws-sm://{arn}")
    assert (found.kind, found.status) == ("other", Status.ACTIVE)


def test_an_entry_that_never_changed_is_as_old_as_its_creation(cloud: Cloud) -> None:
    put(cloud)
    assert listed(cloud)[0]["app/db"].issued_at == MADE
    assert cloud.calls["ListSecretVersionIds"] == 0


def test_a_rotated_value_is_as_old_as_its_rotation(cloud: Cloud) -> None:
    secret = put(cloud)
    secret.rotation_requested = secret.rotation_enabled = True
    secret.auto_rotate_after_days = 30
    secret.last_rotation_date = secret.last_changed_date = int((MADE + 40 * DAY).timestamp())
    secret.next_rotation_date = int((MADE + 70 * DAY).timestamp())
    found = listed(cloud)[0]["app/db"]
    assert found.issued_at == MADE + 40 * DAY
    assert (found.details["rotation"], found.details["rotation_rule"]) == ("on", "every 30 days")
    assert found.details["last_rotated"] == (MADE + 40 * DAY).isoformat()
    assert found.details["next_rotation"] == (MADE + 70 * DAY).isoformat()


def test_a_value_that_changed_otherwise_is_dated_by_its_version(cloud: Cloud) -> None:
    put(cloud).last_changed_date = int((MADE + 40 * DAY).timestamp())
    before = datetime.now(tz=UTC) - DAY
    issued = listed(cloud)[0]["app/db"].issued_at
    assert cloud.calls["ListSecretVersionIds"] == 1
    assert issued is not None
    assert issued > before  # moto makes every version today


def test_a_version_that_may_not_be_listed_has_an_unknown_age_with_the_reason(cloud: Cloud) -> None:
    put(cloud).last_changed_date = int((MADE + 40 * DAY).timestamp())
    cloud.fail("ListSecretVersionIds", 400, "AccessDeniedException")
    found = listed(cloud)[0]["app/db"]
    assert found.issued_at is None
    assert found.details["issued"].startswith("unknown: AWS refuses secretsmanager:ListSecretVersionIds")


def test_staging_labels_and_the_current_version_are_told(cloud: Cloud) -> None:
    secret = put(cloud)
    (current,) = secret.versions
    secret.versions["old"] = {"version_stages": ["AWSPREVIOUS"]}
    found = listed(cloud)[0]["app/db"]
    assert found.external_id == current
    assert found.details["staging_labels"] == {current: ["AWSCURRENT"], "old": ["AWSPREVIOUS"]}


def test_the_tags_of_an_entry_come_with_the_listing_but_for_those_that_aws_sets(cloud: Cloud) -> None:
    put(cloud).tags = [
        {"Key": "Team", "Value": "Payments"},
        {"Key": "aws:cloudformation:stack-name", "Value": "one"},
    ]
    assert listed(cloud)[0]["app/db"].labels == (("Team", "Payments"),)


def test_an_entry_that_is_to_be_deleted_is_suspended(cloud: Cloud) -> None:
    put(cloud).delete((MADE + 9 * DAY).timestamp())
    found = listed(cloud)[0]["app/db"]
    assert found.status is Status.SUSPENDED
    assert found.details["deletion_planned"] == (MADE + 9 * DAY).isoformat()


def test_no_value_is_read_while_listing(cloud: Cloud) -> None:
    value = secrets.token_urlsafe(20)
    put(cloud, value=value)
    assert value not in repr(listed(cloud))
    assert set(cloud.calls) == {"GetCallerIdentity", "ListSecrets"}


def test_entries_of_many_pages_and_regions_are_listed(cloud: Cloud) -> None:
    for n in range(230):
        put(cloud, f"app/{n}")
    put(cloud, "elsewhere", region=ELSEWHERE)
    found, problems = listed(cloud, REGION, ELSEWHERE)
    assert (len(found), problems) == (231, [])
    assert cloud.calls["ListSecrets"] == 4


def test_a_region_that_fails_is_a_problem_and_stops_no_other(cloud: Cloud) -> None:
    put(cloud, "elsewhere", region=ELSEWHERE)
    cloud.fail("ListSecrets", 400, "AccessDeniedException", times=1)
    found, problems = listed(cloud, REGION, ELSEWHERE)
    assert set(found) == {"elsewhere"}
    assert [problem.place for problem in problems] == [f"aws:{HOME_ACCOUNT}/secretsmanager/{REGION}"]


def test_a_failure_half_way_leaves_what_was_listed_and_a_problem(cloud: Cloud) -> None:
    for n in range(150):
        put(cloud, f"app/{n}")
    cloud.fail("ListSecrets", 500, "InternalServiceError", after=1)
    found, problems = listed(cloud, attempts=1)
    assert (len(found), len(problems)) == (100, 1)


def test_a_reference_reads_the_value_it_names(cloud: Cloud) -> None:
    value = secrets.token_urlsafe(20)
    secret = put(cloud, value=value)
    read = SecretReader(cloud.aws())
    assert read("app/db").reveal() == read(secret.arn).reveal() == value


def test_a_reference_reads_one_member_of_a_document(cloud: Cloud) -> None:
    value = secrets.token_urlsafe(20)
    put(cloud, value=json.dumps({"username": "app", "password": value}))
    assert SecretReader(cloud.aws())("app/db", "password").reveal() == value


@pytest.mark.parametrize("document", ['{"password": 5}', "{}", "[1]", "no document", '{"password": ""}'])
def test_a_member_that_is_not_there_is_an_error_that_shows_nothing(cloud: Cloud, document: str) -> None:
    put(cloud, value=document)
    with pytest.raises(Permanent) as refused:
        SecretReader(cloud.aws())("app/db", "password")
    assert document not in str(refused.value)


def test_a_secret_that_is_not_there_is_named(cloud: Cloud) -> None:
    with pytest.raises(Permanent, match=r"app/none \(ResourceNotFoundException\)"):
        SecretReader(cloud.aws())("app/none")


def test_a_secret_that_may_not_be_read_is_denied(cloud: Cloud) -> None:
    cloud.fail("GetSecretValue", 400, "AccessDeniedException")
    with pytest.raises(Denied):
        SecretReader(cloud.aws())("app/db")


def test_a_secret_store_that_is_busy_may_be_asked_again(cloud: Cloud) -> None:
    cloud.fail("GetSecretValue", 400, "ThrottlingException")
    with pytest.raises(Transient):
        SecretReader(cloud.aws(attempts=1))("app/db")


@pytest.mark.parametrize("name", ["", "x" * 3_000])
def test_a_name_is_bounded(cloud: Cloud, name: str) -> None:
    with pytest.raises(Refused):
        SecretReader(cloud.aws())(name)
