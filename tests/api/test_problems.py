"""What the API says when it cannot answer."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404
from django.utils import timezone
from rest_framework.exceptions import Throttled, UnsupportedMediaType

from access.models import ApiToken, User
from access.roles import Role
from tests.api.conftest import Caller, bearer, person, problem_of
from web.problems import problem_handler


@pytest.mark.parametrize("path", ["nothing/", "credentials/a/b/", "export/credentials.xml/", "a%0Ab/"])
def test_an_unknown_path_is_a_problem_too(path: str, anonymous: Caller, db: None):
    said = problem_of(anonymous.get(path), 404)
    assert said["type"] == "urn:keyreeve:problem:not-found"


def test_a_path_without_its_last_slash_leads_to_the_one_with_it(auditor: Caller):
    answer = auditor.get("credentials?kind=api_key")
    assert (answer.status_code, answer.headers["Location"]) == (301, "/api/v1/credentials/?kind=api_key")


def test_what_is_not_offered_is_not_acceptable(auditor: Caller):
    problem_of(auditor.get("credentials/", Accept="text/html"), 406)
    problem_of(auditor.get("export/credentials.csv", Accept="application/json"), 406)


def test_a_person_who_is_signed_in_may_read_in_the_browser(db: None):
    _, caller = person("ada", Role.AUDITOR)
    assert caller.get("credentials/").status_code == 200


@pytest.mark.parametrize("header", ["Token", "Token kr_no_such_token", "Token a b", "Token kr_\x7f", "Bearer x"])
def test_a_token_that_is_none_is_refused(header: str, db: None):
    answer = Caller({"Authorization": header}).get("credentials/")
    problem_of(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Token"


def test_an_expired_token_is_refused(db: None):
    caller = bearer(Role.AUDITOR)
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    problem_of(caller.get("credentials/"), 401)


def test_a_token_of_somebody_who_was_deactivated_is_refused(db: None):
    caller = bearer(Role.AUDITOR)
    User.objects.update(is_active=False)
    problem_of(caller.get("credentials/"), 401)


def test_writing_without_a_way_in_is_first_of_all_unauthenticated(anonymous: Caller, db: None):
    problem_of(anonymous.ask("POST", "credentials/"), 401)


def test_too_many_parameters_are_a_problem_of_the_request(auditor: Caller):
    problem_of(auditor.get("credentials/?" + "&".join(f"a{n}=1" for n in range(3_000))), 400)


@pytest.mark.parametrize(
    ("exception", "status"),
    [
        (Http404("Credential 7 of somebody else"), 404),
        (PermissionDenied("because of policy x"), 403),
        (SuspiciousOperation("internals"), 400),
        (UnsupportedMediaType("text/plain"), 415),
        (Throttled(wait=30), 429),
    ],
)
def test_every_refusal_has_one_shape_and_tells_no_internals(exception: Exception, status: int):
    answer = problem_handler(exception, {})
    assert (answer.status_code, answer.data["status"]) == (status, status)
    assert not {"somebody", "internals", "policy"} & set(answer.data["detail"].split())


def test_whoever_is_throttled_learns_for_how_long():
    assert problem_handler(Throttled(wait=30), {}).headers["Retry-After"] == "30"


def test_an_unexpected_failure_is_logged_and_answered_by_a_reference(caplog: pytest.LogCaptureFixture):
    answer = problem_handler(RuntimeError("password=hunter2"), {})
    assert answer.status_code == 500
    assert answer.data["reference"] in caplog.text
    assert "hunter2" not in str(answer.data)


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 100_000])
def test_a_body_that_is_nested_too_deeply_is_refused(body: str, db: None):
    caller = bearer(Role.OPERATOR)
    answer = caller.browser.post("/api/v1/operations/", body, content_type="application/json", headers=caller.headers)
    assert "nested" in problem_of(answer, 400)["detail"]
