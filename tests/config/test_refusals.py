"""Every error that a person or a program can meet says what happened and what to do next."""

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from access.roles import Role
from config.refusals import LONGEST_ADDRESS
from tests.people import person

pytestmark = pytest.mark.django_db


def client_of(*roles: Role, **more: Any) -> Client:
    client = Client(SERVER_NAME="localhost", raise_request_exception=False, **more)
    if roles:
        client.force_login(person(*roles))
    return client


@pytest.fixture
def client() -> Client:
    return client_of(Role.ADMINISTRATOR)


def get(path: str, *roles: Role, **more: Any) -> HttpResponse:
    return client_of(*roles).get(path, **more)


def post(path: str, *roles: Role, **more: Any) -> HttpResponse:
    return client_of(*roles).post(path, **more)


def tried_too_often() -> HttpResponse:
    client, user = client_of(), person(Role.OPERATOR)
    user.set_password(secrets.token_urlsafe(16))
    user.save()
    client.force_login(user)
    for _ in range(40):
        answer = client.post(reverse("account_reauthenticate"), {"password": "wrong"})
        if answer.status_code == 429:
            break
    return answer


ALL = Role.ADMINISTRATOR
LONG = "x" * LONGEST_ADDRESS
UNKNOWN = {"SERVER_NAME": "elsewhere.example"}
PAGES: dict[str, tuple[int, Callable[[], HttpResponse]]] = {
    "an unknown host": (400, lambda: get("/search/", ALL, **UNKNOWN)),
    "a form that was changed": (400, lambda: post("/views/save/", ALL, data="x", content_type="multipart/form-data")),
    "a role that does not reach": (403, lambda: get(reverse("credential_rotate"), Role.AUDITOR)),
    "a form that is out of date": (403, lambda: client_of(ALL, enforce_csrf_checks=True).post("/views/save/")),
    "nothing": (404, lambda: get("/nothing/", ALL)),
    "a row that is not there": (404, lambda: get("/credentials/019512ab-0000-7000-8000-000000000000/", ALL)),
    "a button's address": (405, lambda: get("/views/save/", ALL)),
    "a one-time link that is too old": (410, lambda: get("/sign-in/?user=1&key=x")),
    "a form that is too large": (413, lambda: post("/views/save/", ALL, data={"label": "x" * 3_000_000})),
    "too many fields": (413, lambda: post("/views/save/", ALL, data={f"f{n}": "1" for n in range(2_100)})),
    "an address that is too long": (414, lambda: get(f"/credentials/?q={LONG}", ALL)),
    "too many tries": (429, tried_too_often),
    "a sign-in that was ended at the directory": (200, lambda: get("/account/directory/login/cancelled/")),
    "a directory that does not sign in": (401, lambda: get("/account/directory/login/error/")),
    "an account that is switched off": (200, lambda: get("/account/inactive/")),
}


def is_designed(answer: HttpResponse, status: int) -> None:
    said = answer.content.decode()
    assert answer.status_code == status, said[:200]
    assert answer["Content-Type"].startswith("text/html")
    assert 'class="brand"' in said
    assert "<h1>" in said
    assert "btn primary" in said  # what to do next
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "Traceback" not in said


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_happened_and_what_to_do_next(name: str) -> None:
    status, ask = PAGES[name]
    is_designed(ask(), status)


def test_an_address_that_takes_another_method_names_it(client: Client) -> None:
    assert client.get("/views/save/")["Allow"] == "POST"


@pytest.fixture
def database_away(transactional_db: None) -> Iterator[None]:
    """From here on nobody can connect."""
    host = connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["HOST"] = "/nowhere"
    yield
    connection.close()
    connection.settings_dict["HOST"] = host


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/", "/credentials/"])
def test_without_the_database_a_page_says_so_and_when_to_come_back(client: Client, request: Any, path: str) -> None:
    request.getfixturevalue("database_away")
    answer = client.get(path)
    is_designed(answer, 503)
    assert answer["Retry-After"] == "10"


JSON = {"content_type": "application/json", "headers": {"Idempotency-Key": "one"}}
PROBLEMS: dict[str, tuple[int, Callable[[], HttpResponse]]] = {
    "an unknown host": (400, lambda: get("/api/v1/credentials/", ALL, **UNKNOWN)),
    "no way in": (401, lambda: get("/api/v1/credentials/")),
    "a role that does not reach": (403, lambda: post("/api/v1/operations/", Role.AUDITOR, data="{}", **JSON)),
    "nothing": (404, lambda: get("/api/v1/nothing/", ALL)),
    "another method": (405, lambda: client_of(ALL).delete("/api/v1/credentials/")),
    "a body that is too large": (
        413,
        lambda: post("/api/v1/operations/", ALL, data=json.dumps({"reason": "x" * 3_000_000}), **JSON),
    ),
    "an address that is too long": (414, lambda: get(f"/api/v1/credentials/?q={LONG}", ALL)),
    "another media type": (
        415,
        lambda: post("/api/v1/operations/", ALL, data="<a/>", **{**JSON, "content_type": "text/xml"}),
    ),
}


def is_a_problem(answer: HttpResponse, status: int) -> None:
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json"), answer.content[:200]
    said = json.loads(answer.content)
    assert said["status"] == status
    assert {"type", "title", "detail"} <= said.keys()
    assert said["detail"]


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_api_answers_with_a_problem(name: str) -> None:
    status, ask = PROBLEMS[name]
    is_a_problem(ask(), status)


@pytest.mark.django_db(transaction=True)
def test_without_the_database_the_api_answers_with_a_problem_and_when_to_come_back(
    client: Client, request: Any
) -> None:
    request.getfixturevalue("database_away")
    answer = client.get("/api/v1/credentials/")
    is_a_problem(answer, 503)
    assert answer["Retry-After"] == "10"


def test_a_directory_is_refused_in_its_own_shape() -> None:
    answer = Client(SERVER_NAME="localhost").get("/scim/v2/Users?filter=" + "x" * LONGEST_ADDRESS)
    assert (answer.status_code, answer["Content-Type"]) == (414, "application/scim+json")
    assert json.loads(answer.content)["status"] == "414"
