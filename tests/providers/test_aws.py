"""Who calls AWS and where, and how its errors read: over the wire, against a cloud that checks signatures."""

import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from demo.cloud import ACCOUNTS, HOME_ACCOUNT, fill, iam_of, roles
from providers.aws import Accounts, Aws, Key, Role, permitted_endpoint
from providers.base import Secret
from providers.errors import Denied, Permanent, Refused, Transient
from tests.clouds import MADE, Cloud, served, strict


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with served() as cloud:
        yield cloud


def test_a_check_names_the_account_and_who_we_are_there(cloud: Cloud) -> None:
    said = Accounts(cloud.aws(), listers=[]).check()
    assert said.startswith(f"Signed in to AWS account {HOME_ACCOUNT} as arn:aws:")


def test_a_check_tries_the_roles(cloud: Cloud) -> None:
    chosen = [Role(arn=arn) for arn in roles()]
    assert "3 of 3 roles were tried" in Accounts(cloud.aws(), listers=[], roles=chosen).check()
    cloud.fail("AssumeRole", 403, "AccessDenied")
    with pytest.raises(Denied, match=roles()[0]):
        Accounts(cloud.aws(), listers=[], roles=chosen).check()


def test_a_wrong_secret_is_denied_and_shown_nowhere(cloud: Cloud) -> None:
    wrong = secrets.token_urlsafe(30)
    with strict(), pytest.raises(Denied, match="SignatureDoesNotMatch") as refused:
        cloud.aws(secret=wrong).caller()
    assert wrong not in str(refused.value)


def test_an_unknown_key_is_denied(cloud: Cloud) -> None:
    key = Key(access_key_id="AKIA" + "B" * 16, secret_access_key=Secret(secrets.token_urlsafe(30)))
    with strict(), pytest.raises(Denied, match="InvalidClientTokenId"):
        Aws(key, endpoint=cloud.url).caller()


def test_a_role_sees_its_own_account(cloud: Cloud) -> None:
    account = next(iter(ACCOUNTS))
    assumed = cloud.aws().assume(Role(arn=f"arn:aws:iam::{account}:role/reader", external_id="x-1"))
    assert assumed.caller().account == account


def test_an_external_id_goes_along(cloud: Cloud) -> None:
    asked: list[dict[str, str]] = []
    answer = cloud.answer
    cloud.answer = lambda action, said, environ: asked.append(said) or answer(action, said, environ)  # type: ignore
    cloud.aws().assume(Role(arn=roles()[0], external_id="ours-17"))
    assert asked[0]["ExternalId"] == "ours-17"


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (429, "TooManyRequests", Transient),
        (400, "Throttling", Transient),
        (503, "ServiceUnavailable", Transient),
        (403, "AccessDenied", Denied),
        (400, "ExpiredToken", Denied),
        (400, "ValidationError", Permanent),
    ],
)
def test_an_error_of_aws_becomes_ours_and_keeps_its_code(
    cloud: Cloud, status: int, code: str, error: type[Exception]
) -> None:
    cloud.fail("GetCallerIdentity", status, code)
    with pytest.raises(error, match=code) as raised:
        cloud.aws(attempts=1).caller()
    assert type(raised.value) is error


def test_the_time_to_stay_away_is_bounded(cloud: Cloud) -> None:
    cloud.fail("GetCallerIdentity", 503, "ServiceUnavailable", headers=(("retry-after", "999999999"),))
    with pytest.raises(Transient) as raised:
        cloud.aws(attempts=1).caller()
    assert raised.value.retry_after == timedelta(hours=1)


@pytest.mark.parametrize("code", ["<script>", "x" * 400, "", "a b"])
def test_a_code_that_is_none_is_not_repeated(cloud: Cloud, code: str) -> None:
    body = f"<ErrorResponse><Error><Code><![CDATA[{code}]]></Code></Error></ErrorResponse>".encode()
    cloud.fail("GetCallerIdentity", 400, "", body=body)
    with pytest.raises(Permanent, match="no known code"):
        cloud.aws(attempts=1).caller()


@pytest.mark.parametrize("body", [b"", b"<a/>", b"not a document", b"<GetCallerIdentityResponse/>"])
def test_an_answer_of_another_shape_is_not_taken(cloud: Cloud, body: bytes) -> None:
    cloud.fail("GetCallerIdentity", 200, "", body=body)
    with pytest.raises((Permanent, Transient), match="not one that AWS gives"):
        cloud.aws(attempts=1).caller()


def test_a_place_that_does_not_answer_may_come_back() -> None:
    key = Key(access_key_id="AKIA" + "B" * 16, secret_access_key=Secret(secrets.token_urlsafe(30)))
    with pytest.raises(Transient, match="no answer"):
        Aws(key, endpoint="http://127.0.0.1:1", attempts=1).caller()


def test_nothing_of_this_machine_is_taken_for_a_key_of_our_own(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[profile other]\nregion = us-west-2\nendpoint_url = http://127.0.0.1:1\n")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "one-that-is-not-there")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA" + "C" * 16)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-another")
    with strict():
        assert cloud.aws().caller().account == HOME_ACCOUNT


def test_the_identity_this_machine_is_lent_is_used_only_where_no_key_is_given(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", cloud.key.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", cloud.key.secret_access_key)
    with strict():
        assert Aws(None, endpoint=cloud.url).caller().account == HOME_ACCOUNT


def test_a_machine_that_is_lent_nothing_is_told_so(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Denied, match="lent no whole AWS identity"):
        Aws(None, endpoint=cloud.url).caller()


@pytest.mark.parametrize(
    "url",
    [
        "http://aws.example",
        "ftp://aws.example",
        "https://",
        "https://user:x@aws.example",
        "https://aws.example/?a=b",
        "https://aws.example/#a",
        "https://aws.example:99999",
        "http://169.254.169.254",
        "127.0.0.1:5000",
    ],
)
def test_an_endpoint_is_called_over_tls_or_on_this_machine(url: str) -> None:
    with pytest.raises(Refused):
        permitted_endpoint(url)


@pytest.mark.parametrize("url", ["", "https://aws.example:8443/x", "http://127.0.0.1:5005", "http://[::1]:5005"])
def test_other_endpoints_are_taken_as_they_are(url: str) -> None:
    assert permitted_endpoint(url) == url


@pytest.mark.parametrize("region", ["", "eu-central-1.evil.example/", "EU-CENTRAL-1", "eu central 1", "x" * 99])
def test_a_region_is_a_region_and_no_part_of_another_address(region: str) -> None:
    with pytest.raises(Permanent):
        Aws(None, region=region)


@pytest.mark.parametrize(
    "arn", ["", "reader", "arn:aws:iam::1:role/reader", f"arn:aws:iam::{HOME_ACCOUNT}:user/reader"]
)
def test_a_role_is_named_by_its_arn(arn: str) -> None:
    with pytest.raises(Permanent):
        Role(arn=arn)


def test_a_secret_is_shown_by_no_representation_of_its_key() -> None:
    secret = secrets.token_urlsafe(30)
    assert secret not in repr(Key(access_key_id="AKIA", secret_access_key=Secret(secret)))


def test_the_demo_company_has_the_same_keys_whenever_it_is_made(cloud: Cloud) -> None:
    fill(cloud, now=MADE)
    first = known_keys()
    with served() as again:
        fill(again, now=MADE + timedelta(days=1))
        assert known_keys() == first
    assert len(first) > 250


def known_keys() -> set[str]:
    return {key for account in ACCOUNTS for key in iam_of(account).access_keys}
