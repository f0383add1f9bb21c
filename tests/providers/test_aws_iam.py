"""Access keys as IAM lists them over the wire: every one, with its real age and last use, or a reason why not."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from demo.cloud import HOME_ACCOUNT, add_key, iam_of
from providers.aws import Account, Accounts, Lister, Role
from providers.aws_iam import Slot, Usage, access_keys, parse_report, service_credentials, told_apart
from providers.base import DiscoveredCredential, Problem, Status
from providers.errors import Denied, Permanent, Transient
from tests.clouds import MADE, Cloud, served, strict

OTHER, THIRD = "528341096722", "639452107833"
DAY = timedelta(days=1)
REPORT_HEAD = ",".join(
    [
        "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation",
        "mfa_active",
        *(
            f"access_key_{n}_{column}"
            for n in (1, 2)
            for column in ("active", "last_rotated", "last_used_date", "last_used_region", "last_used_service")
        ),
    ]
)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as cloud:
        yield cloud


def unhurried(_seconds: float) -> None:
    """The report of a test is ready at once; a wait would wait for nothing."""


def keys(account: Account) -> Iterator[DiscoveredCredential | Problem]:
    return access_keys(account, sleep=unhurried)


def role(account: str) -> Role:
    return Role(arn=f"arn:aws:iam::{account}:role/reader")


def discovered(
    cloud: Cloud, *accounts: str, listers: tuple[Lister, ...] = (keys,), attempts: int = 2
) -> tuple[dict[str, DiscoveredCredential], list[Problem]]:
    """What a whole discovery lists of the cloud, by identity, and what it could not."""
    found: dict[str, DiscoveredCredential] = {}
    problems: list[Problem] = []
    estate = Accounts(
        cloud.aws(attempts=attempts),
        listers=listers,
        roles=[role(account) for account in accounts],
        with_own=not accounts,
    )
    for each in estate.discover():
        if isinstance(each, Problem):
            problems.append(each)
        else:
            assert each.identity not in found
            found[each.identity] = each
    return found, problems


def crowd(cloud: Cloud, account: str, count: int) -> list[str]:
    """Users with a key each, made on as many different days; the identities of the keys."""
    return [
        f"aws:{add_key(account, f'user-{n:04}', forge=cloud.forge, made=MADE - n * DAY).access_key_id}"
        for n in range(count)
    ]


def test_a_key_has_the_dates_that_aws_gives(cloud: Cloud) -> None:
    used = (MADE + 90 * DAY, "s3", "eu-west-1")
    key = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE, used=used)
    found, problems = discovered(cloud)
    described = found[f"aws:{key.access_key_id}"]
    assert problems == []
    assert (described.issued_at, described.last_used_at) == (MADE, MADE + 90 * DAY)
    assert (described.details["last_used_service"], described.details["last_used_region"]) == ("s3", "eu-west-1")


def test_a_key_is_named_after_its_user_and_shows_only_its_ends(cloud: Cloud) -> None:
    key_id = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE).access_key_id
    described = discovered(cloud)[0][f"aws:{key_id}"]
    assert described.name == f"etl / {described.hint}"
    assert described.hint == f"AKIA…{key_id[-4:]}"
    assert described.principal == f"arn:aws:iam::{HOME_ACCOUNT}:user/etl"


def test_a_key_that_is_switched_off_is_suspended(cloud: Cloud) -> None:
    key = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE, is_active=False)
    assert discovered(cloud)[0][f"aws:{key.access_key_id}"].status is Status.SUSPENDED


def test_a_key_that_was_never_used_has_no_date_and_says_so(cloud: Cloud) -> None:
    key = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE)
    described = discovered(cloud)[0][f"aws:{key.access_key_id}"]
    assert described.last_used_at is None
    assert described.details["last_used"].startswith("never")


def test_no_secret_of_a_key_is_listed(cloud: Cloud) -> None:
    key = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE)
    assert key.secret_access_key not in repr(discovered(cloud))


def test_users_of_many_pages_are_listed_once_and_completely() -> None:
    with served(page=40) as cloud:
        made = crowd(cloud, HOME_ACCOUNT, 330)
        found, problems = discovered(cloud)
        assert problems == []
        assert set(made) < set(found)
        assert len({key.issued_at for key in found.values()}) == 330
        assert cloud.calls["ListUsers"] == 9  # 331 users, forty at a time


def test_the_report_spares_a_question_about_every_key(cloud: Cloud) -> None:
    crowd(cloud, HOME_ACCOUNT, 50)
    used = (MADE, "s3", "eu-west-1")
    for n in range(50):
        add_key(HOME_ACCOUNT, f"user-{n:04}", forge=cloud.forge, made=MADE - n * DAY - timedelta(hours=1), used=used)
    discovered(cloud)
    assert cloud.calls["ListAccessKeys"] == 51
    assert cloud.calls["GetAccessKeyLastUsed"] == 0


def test_two_keys_that_the_report_cannot_tell_apart_are_asked_about(cloud: Cloud) -> None:
    first = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE, used=(MADE + DAY, "s3", "eu-west-1"))
    second = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE, used=(MADE + 2 * DAY, "sqs", "eu-west-1"))
    found, _ = discovered(cloud)
    assert cloud.calls["GetAccessKeyLastUsed"] == 2
    assert found[f"aws:{first.access_key_id}"].last_used_at == MADE + DAY
    assert found[f"aws:{second.access_key_id}"].details["last_used_service"] == "sqs"


def test_without_the_report_every_key_is_asked_about_and_the_root_user_is_unknown(cloud: Cloud) -> None:
    key = add_key(HOME_ACCOUNT, "etl", forge=cloud.forge, made=MADE, used=(MADE + DAY, "s3", "eu-west-1"))
    cloud.fail("GenerateCredentialReport", 403, "AccessDenied")
    found, problems = discovered(cloud)
    assert found[f"aws:{key.access_key_id}"].last_used_at == MADE + DAY
    (problem,) = problems
    assert problem.place == f"aws:{HOME_ACCOUNT}/root"
    assert "iam:GenerateCredentialReport (AccessDenied)" in problem.reason


def test_a_report_that_is_never_ready_is_not_waited_for_for_ever(cloud: Cloud) -> None:
    body = b"<GenerateCredentialReportResponse><GenerateCredentialReportResult><State>INPROGRESS</State>"
    body += b"</GenerateCredentialReportResult></GenerateCredentialReportResponse>"
    cloud.fail("GenerateCredentialReport", 200, "", body=body)
    found, problems = discovered(cloud)
    assert len(found) == 1
    assert "not ready" in problems[0].reason
    assert cloud.calls["GenerateCredentialReport"] == 12


def test_a_key_whose_use_may_not_be_asked_has_an_unknown_use_with_the_reason(cloud: Cloud) -> None:
    cloud.fail("GenerateCredentialReport", 403, "AccessDenied")
    cloud.fail("GetAccessKeyLastUsed", 403, "AccessDenied")
    (described,) = discovered(cloud)[0].values()
    assert described.details["last_used"] == "unknown: AWS refuses iam:GetAccessKeyLastUsed (AccessDenied)."


def test_a_user_that_is_deleted_while_it_is_listed_has_no_keys(cloud: Cloud) -> None:
    crowd(cloud, HOME_ACCOUNT, 3)
    cloud.fail("ListAccessKeys", 404, "NoSuchEntity", times=1)
    found, problems = discovered(cloud)
    assert (len(found), problems) == (3, [])


def test_throttling_is_waited_out(cloud: Cloud) -> None:
    made = crowd(cloud, HOME_ACCOUNT, 20)
    cloud.fail("ListAccessKeys", 429, "Throttling", after=5, times=2, headers=(("x-amz-retry-after", "20"),))
    found, problems = discovered(cloud, attempts=4)
    assert problems == []
    assert set(made) < set(found)


def test_throttling_that_does_not_end_cuts_the_listing_short_and_says_how_long_to_stay_away(cloud: Cloud) -> None:
    cloud.fail("ListAccessKeys", 429, "Throttling", headers=(("retry-after", "7"),))
    with pytest.raises(Transient, match="throttles iam:ListAccessKeys") as cut:
        discovered(cloud, attempts=1)
    assert cut.value.retry_after == timedelta(seconds=7)


def test_a_failure_half_way_is_a_problem_of_that_account_and_stops_no_other(cloud: Cloud) -> None:
    crowd(cloud, OTHER, 30)
    third = crowd(cloud, THIRD, 5)
    cloud.fail("ListAccessKeys", 500, "ServiceFailure", after=10, account=OTHER)
    found, problems = discovered(cloud, OTHER, THIRD)
    assert set(third) <= set(found)
    assert [(problem.place, "HTTP 500" in problem.reason) for problem in problems] == [(f"aws:{OTHER}", True)]


@pytest.mark.parametrize(
    ("action", "lister"),
    [
        ("ListUsers", keys),
        ("ListAccessKeys", keys),
        ("GetAccessKeyLastUsed", keys),
        ("ListServiceSpecificCredentials", service_credentials),
    ],
)
@pytest.mark.parametrize("how", [{"hangs_up": True}, {"body": b"no document"}, {"body": b"<cut><off>"}])
def test_an_answer_that_breaks_off_or_is_none_ends_the_listing_as_one_of_our_errors(
    cloud: Cloud, action: str, lister: Lister, how: dict[str, object]
) -> None:
    cloud.fail("GenerateCredentialReport", 403, "AccessDenied")
    cloud.fail(action, 200, "", **how)
    with pytest.raises(Transient, match=action):
        discovered(cloud, listers=(lister,), attempts=1)


def test_a_single_failure_is_asked_again(cloud: Cloud) -> None:
    made = crowd(cloud, HOME_ACCOUNT, 30)
    cloud.fail("ListAccessKeys", 500, "ServiceFailure", after=10, times=1)
    found, problems = discovered(cloud)
    assert problems == []
    assert set(made) < set(found)


def test_an_answer_that_is_no_document_of_aws_is_named_and_not_repeated(cloud: Cloud) -> None:
    said = secrets.token_urlsafe(12)
    cloud.fail("ListUsers", 502, "", body=f"<html>{said}".encode())
    with pytest.raises(Transient) as cut:
        discovered(cloud)
    assert said not in str(cut.value)


def test_several_accounts_are_listed_by_their_roles(cloud: Cloud) -> None:
    other, third = crowd(cloud, OTHER, 3), crowd(cloud, THIRD, 4)
    found, problems = discovered(cloud, OTHER, THIRD)
    assert problems == []
    assert set(found) == {*other, *third}
    assert {key.details["account"] for key in found.values()} == {OTHER, THIRD}


def test_an_account_is_listed_once_however_many_roles_lead_there(cloud: Cloud) -> None:
    crowd(cloud, OTHER, 3)
    assert len(discovered(cloud, OTHER, OTHER)[0]) == 3


def test_a_role_that_may_not_be_assumed_is_a_problem_and_the_others_are_listed(cloud: Cloud) -> None:
    third = crowd(cloud, THIRD, 2)
    cloud.fail("AssumeRole", 403, "AccessDenied", times=1)
    found, problems = discovered(cloud, OTHER, THIRD)
    assert set(found) == set(third)
    assert [problem.place for problem in problems] == [f"aws:{OTHER}"]


def test_when_no_account_can_be_listed_the_discovery_fails(cloud: Cloud) -> None:
    cloud.fail("AssumeRole", 403, "AccessDenied")
    with pytest.raises(Denied, match="sts:AssumeRole"):
        discovered(cloud, OTHER, THIRD)


def test_an_identity_without_rights_is_denied_by_a_cloud_that_checks(cloud: Cloud) -> None:
    with strict(), pytest.raises(Denied, match=r"iam:ListUsers \(AccessDenied\)"):
        discovered(cloud)


def test_what_is_issued_for_one_service_is_listed_with_its_expiry(cloud: Cloud) -> None:
    entry = {
        "UserName": "agent",
        "Status": "Active",
        "CreateDate": "2026-02-01T00:00:00Z",
        "ExpirationDate": "2027-02-01T00:00:00Z",
        "ServiceSpecificCredentialId": "ACCAEXAMPLEEXAMPLE222",
        "ServiceName": "bedrock.amazonaws.com",
    }
    cloud.service_credentials[HOME_ACCOUNT] = [entry, {**entry, "ServiceSpecificCredentialId": "ACCAEXAMPLEEXAMPLE333"}]
    found, problems = discovered(cloud, listers=(service_credentials,))
    described = found["aws:ACCAEXAMPLEEXAMPLE222"]
    assert problems == []
    assert described.expires_at == datetime(2027, 2, 1, tzinfo=UTC)
    assert (described.kind, described.hint) == ("api_key", "ACCA…E222")


@pytest.mark.parametrize(("status", "code"), [(400, "InvalidAction"), (501, "NotImplemented")])
def test_a_place_that_knows_no_service_credentials_has_none(cloud: Cloud, status: int, code: str) -> None:
    cloud.fail("ListServiceSpecificCredentials", status, code)
    assert discovered(cloud, listers=(service_credentials,)) == ({}, [])


# ── The credential report ──────────────────────────────────────────────────────────────────────────
def line(user: str, *columns: str) -> str:
    return ",".join([user, f"arn:aws:iam::1:{user}", MADE.isoformat(), "false", *["N/A"] * 3, "false", *columns])


def report(*lines: str) -> bytes:
    return "\n".join([REPORT_HEAD, *lines]).encode()


NO_KEY = ("false", "N/A", "N/A", "N/A", "N/A")


def test_keys_of_the_root_user_are_found_in_the_report(cloud: Cloud) -> None:
    used = "2026-03-01T10:00:00+00:00"
    content = report(line("<root_account>", "true", MADE.isoformat(), used, "us-east-1", "iam", *NO_KEY))
    reported = parse_report(content)["<root_account>"]
    assert reported.slots == (Slot(True, MADE, Usage(True, datetime(2026, 3, 1, 10, tzinfo=UTC), "iam", "us-east-1")),)


def test_a_user_without_keys_has_no_slots_and_a_key_that_is_off_has_one() -> None:
    read = parse_report(
        report(line("a", *NO_KEY, *NO_KEY), line("b", "false", MADE.isoformat(), *["N/A"] * 3, *NO_KEY))
    )
    assert [len(row.slots) for row in read.values()] == [0, 1]


@pytest.mark.parametrize("content", [b"user,arn\nx,y\n", b"a\nb\n", report(line("c"))])
def test_what_is_no_report_is_refused(content: bytes) -> None:
    with pytest.raises(Permanent, match="not one that AWS makes"):
        parse_report(content)


def slot(day: int, *, used: int | None = None, is_active: bool = True, place: str = "eu-west-1") -> Slot:
    at = MADE + used * DAY if used is not None else None
    return Slot(is_active, MADE + day * DAY, Usage(True, at, "s3" if at else "", place if at else ""))


def key(name: str, day: int, *, status: str = "Active") -> dict[str, object]:
    return {"AccessKeyId": name, "CreateDate": MADE + day * DAY, "Status": status}


@pytest.mark.parametrize(
    ("listed", "slots", "told"),
    [
        ([key("A", 1)], [slot(1, used=5)], {"A": 5}),
        ([key("A", 1)], [slot(3, used=5)], {"A": 5}),  # switched off and on since
        ([key("A", 9)], [slot(1, used=5)], {}),  # replaced since the report was made
        ([key("A", 1)], [slot(1), slot(2)], {}),  # one was deleted since
        ([key("A", 1), key("B", 2)], [slot(1)], {}),  # one was added since
        ([key("A", 1), key("B", 2)], [slot(1, used=5), slot(2, used=6)], {"A": 5, "B": 6}),
        ([key("B", 2), key("A", 1)], [slot(1, used=5), slot(2, used=6)], {"A": 5, "B": 6}),
        ([key("A", 1), key("B", 2)], [slot(3, used=5), slot(3, used=6)], {}),  # either could be either
        (
            [key("A", 1), key("B", 2, status="Inactive")],
            [slot(3, used=6, is_active=False), slot(3, used=5)],
            {"A": 5, "B": 6},
        ),
        ([key("A", 1)], [slot(1, used=5, place="")], {}),  # IAM itself knows more
        ([key("A", 1)], [slot(1)], {"A": None}),
    ],
)
def test_a_slot_of_the_report_speaks_of_a_key_only_where_no_other_is_possible(
    listed: list[dict[str, object]], slots: list[Slot], told: dict[str, int | None]
) -> None:
    expected = {name: None if day is None else MADE + day * DAY for name, day in told.items()}
    assert {name: usage.at for name, usage in told_apart(listed, slots).items()} == expected


def test_a_listing_that_nobody_reads_on_asks_no_further(cloud: Cloud) -> None:
    crowd(cloud, HOME_ACCOUNT, 99)
    listing = Accounts(cloud.aws(), listers=[keys]).discover()
    next(listing)
    listing.close()
    assert cloud.calls["ListAccessKeys"] < 99
    assert len(iam_of(HOME_ACCOUNT).users) == 100
