"""How much one caller may ask in a minute, what the headers say of it, and that it costs next to nothing."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection as database
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from access.roles import Role
from tests.api.conftest import Caller, bearer, person, problem_of
from web.budgets import FORGOTTEN_AFTER, WINDOW, address_of, spend

POLICY = re.compile(r'"(token|person|address)";q=(\d+);w=60')
LEFT = re.compile(r'"(token|person|address)";r=(\d+);t=(\d+)')


@pytest.fixture(autouse=True)
def in_the_middle_of_a_minute(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    """So that no test runs over its end, and nobody has asked before."""
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM web_budget")
    monkeypatch.setattr("web.budgets.time", lambda: 1_790_000_040.0)


@pytest.fixture
def small(settings) -> None:
    settings.API_BUDGETS = {"token": 3, "person": 3, "address": 3}


def callers() -> list[str]:
    with database.cursor() as cursor:
        cursor.execute("SELECT caller FROM web_budget ORDER BY caller")
        return [caller for (caller,) in cursor.fetchall()]


def test_every_answer_says_what_is_left_of_the_budget(auditor: Caller, small: None):
    for left, path in ((2, "credentials/"), (1, "credentials/?knd=1"), (0, "export/owners.csv")):
        answer = auditor.get(path)
        assert POLICY.fullmatch(answer.headers["RateLimit-Policy"]).groups() == ("token", "3")
        assert LEFT.fullmatch(answer.headers["RateLimit"]).groups() == ("token", str(left), "60")


def test_an_answer_without_content_says_it_too(auditor: Caller):
    etag = auditor.get("rules/").headers["ETag"]
    answer = auditor.get("rules/", **{"If-None-Match": etag})
    assert answer.status_code == 304
    assert LEFT.fullmatch(answer.headers["RateLimit"])


def test_whoever_asks_too_much_is_told_when_to_go_on(auditor: Caller, small: None):
    for _ in range(3):
        assert auditor.get("owners/").status_code == 200
    answer = auditor.get("owners/")
    said = problem_of(answer, 429)
    assert said["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert said["violated-policies"] == ["token"]
    assert "3 requests a minute" in said["detail"]
    assert answer.headers["Retry-After"] == "60"
    assert answer.headers["RateLimit"] == '"token";r=0;t=60'


def test_the_next_minute_has_a_whole_budget(auditor: Caller, small: None, monkeypatch: pytest.MonkeyPatch):
    for _ in range(4):
        auditor.get("owners/")
    monkeypatch.setattr("web.budgets.time", lambda: 1_790_000_040.0 + WINDOW)
    assert auditor.get("owners/").status_code == 200


def test_a_clock_that_is_behind_counts_into_the_minute_that_another_began(db: None):
    for now in (600.0, 599.0, 600.0):
        spent = spend("token:1", "token", 10, now=now)
    assert spent.left == 7


def test_one_token_does_not_use_up_what_another_has(auditor: Caller, small: None):
    for _ in range(4):
        auditor.get("owners/")
    assert bearer(Role.AUDITOR).get("owners/").status_code == 200


def test_a_person_has_one_budget_in_all_their_browsers(small: None, db: None):
    user, caller = person("mira", Role.AUDITOR)
    other = Caller(browser=Client())
    other.browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    for _ in range(3):
        caller.get("owners/")
    assert problem_of(other.get("owners/"), 429)["violated-policies"] == ["person"]


def test_a_token_that_proves_nothing_costs_the_address_its_budget(anonymous: Caller, small: None, db: None):
    for n in range(3):
        problem_of(anonymous.get("owners/", Authorization=f"Token kr_{n}"), 401)
    assert problem_of(anonymous.get("owners/"), 429)["violated-policies"] == ["address"]
    assert callers() == ["address:127.0.0.1"]
    assert bearer(Role.AUDITOR).get("owners/").status_code == 200


@pytest.mark.parametrize("path", ["schema/", "nothing/", "credentials/"])
def test_whatever_the_unknown_ask_for_is_counted(path: str, anonymous: Caller, small: None, db: None):
    for _ in range(3):
        anonymous.get(path)
    problem_of(anonymous.get(path), 429)


def test_who_may_not_read_is_counted_as_well(outsider: Caller, small: None):
    for _ in range(3):
        problem_of(outsider.get("owners/"), 403)
    problem_of(outsider.get("owners/"), 429)


def test_a_directory_is_told_in_its_own_shape(small: None, db: None):
    token = bearer(Role.AUTOMATION).headers["Authorization"].removeprefix("Token ")
    directory = Client(headers={"Authorization": f"Bearer {token}"})
    for _ in range(3):
        assert directory.get("/scim/v2/Users").status_code == 200
    answer = directory.get("/scim/v2/Users")
    assert (answer.status_code, answer.json()["status"]) == (429, "429")
    assert answer.headers["Retry-After"] == "60"


def test_a_budget_of_nought_is_none(settings, auditor: Caller):
    settings.API_BUDGETS = {**settings.API_BUDGETS, "token": 0}
    answer = auditor.get("owners/")
    assert answer.status_code == 200
    assert "RateLimit" not in answer.headers
    assert callers() == []


def test_pages_have_no_such_budget(small: None, db: None):
    _, caller = person("ada", Role.AUDITOR)
    for _ in range(5):
        answer = caller.browser.get("/owners/")
    assert answer.status_code == 200
    assert "RateLimit" not in answer.headers


def test_counting_is_one_statement_and_forgets_the_old_once_a_minute(auditor: Caller):
    auditor.get("owners/")
    with CaptureQueriesContext(database) as asked:
        auditor.get("owners/")
    assert sum("web_budget" in each["sql"] for each in asked) == 1


def test_callers_that_stayed_away_are_forgotten(db: None):
    spend("address:192.0.2.1", "address", 10, now=600.0)
    spend("address:192.0.2.2", "address", 10, now=600.0 + WINDOW * FORGOTTEN_AFTER)
    assert len(callers()) == 2
    spend("address:192.0.2.3", "address", 10, now=600.0 + WINDOW * (FORGOTTEN_AFTER + 1))
    assert callers() == ["address:192.0.2.2", "address:192.0.2.3"]


@pytest.mark.django_db(transaction=True)
def test_no_request_is_lost_where_several_processes_count():
    def one(_: int) -> int:
        try:
            return spend("token:1", "token", 100, now=600.0).left
        finally:
            database.close()

    with ThreadPoolExecutor(4) as processes:
        left = list(processes.map(one, range(40)))
    assert sorted(left) == list(range(60, 100))


@pytest.mark.parametrize(
    ("remote", "forwarded", "proxies", "address"),
    [
        ("192.0.2.7", "", 0, "192.0.2.7"),
        ("192.0.2.7", "198.51.100.1", 0, "192.0.2.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", 1, "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", 2, "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", 2, "10.0.0.1"),
        ("10.0.0.1", "no address", 1, "unknown"),
        ("2001:db8:1:2:3:4:5:6", "", 0, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "", 0, "192.0.2.7"),
        ("", "", 0, "unknown"),
    ],
)
def test_an_address_is_what_trusted_proxies_say(settings, remote: str, forwarded: str, proxies: int, address: str):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = proxies
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert address_of(RequestFactory().get("/", REMOTE_ADDR=remote, headers=headers)) == address
