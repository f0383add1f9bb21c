"""`POST /api/v1/intake/`: who may send, what is understood, what is answered."""

import gzip
import io
import json
from typing import Any

import jsonschema
import pytest

from access.roles import Role
from config.api import document
from inventory.models import Connection, Credential, SyncRun
from tests.api.conftest import Caller, bearer, person, problem_of
from tests.feeds import feed, key_of, lines

pytestmark = pytest.mark.django_db
NDJSON = "application/x-ndjson"


@pytest.fixture
def cmdb() -> Connection:
    return feed()


@pytest.fixture
def robot(db: None) -> Caller:
    return bearer(Role.AUTOMATION)


def send(caller: Caller, body: bytes, *, to: str = "CMDB", content_type: str = NDJSON, **headers: str) -> Any:
    return caller.browser.post(
        f"/api/v1/intake/?connection={to}", body, content_type=content_type, headers={**caller.headers, **headers}
    )


def test_rows_are_taken_and_the_answer_says_what_became_of_them(robot: Caller, cmdb: Connection) -> None:
    answer = send(robot, lines(key_of(1), {"name": "x", "status": "fine"}))
    assert answer.status_code == 200
    said = answer.json()
    assert (said["state"], said["replayed"]) == ("partial", False)
    assert said["rows"] == {"read": 2, "taken": 1, "refused": 1, "repeated": 0, "unresolved": 0}
    assert said["changes"] == {"credentials_added": 1, "versions_added": 1}
    assert [(each["line"], each["field"]) for each in said["errors"]] == [(2, "status")]


def test_the_run_it_names_is_an_object_of_the_api(robot: Caller, cmdb: Connection) -> None:
    said = send(robot, lines(key_of(1))).json()
    assert robot.json(said["run"])["id"] == str(SyncRun.objects.get().pk)
    assert robot.json(said["connection"])["id"] == str(cmdb.pk)


def test_the_answer_is_as_the_openapi_document_says(robot: Caller, cmdb: Connection) -> None:
    operation = json.loads(document())["paths"]["/api/v1/intake/"]["post"]
    said = operation["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(said).validate(send(robot, lines(key_of(1), {"name": 1.5})).json())
    assert set(operation["requestBody"]["content"]) >= {NDJSON, "text/csv"}


def test_csv_is_taken_by_its_content_type(robot: Caller, cmdb: Connection) -> None:
    body = b"name,external_id\none,1\ntwo,2\n"
    assert send(robot, body, content_type="text/csv; charset=UTF-8").json()["rows"]["taken"] == 2


def test_a_packed_body_is_unpacked(robot: Caller, cmdb: Connection) -> None:
    answer = send(robot, gzip.compress(lines(key_of(1))), content_encoding="gzip")
    assert answer.json()["rows"]["taken"] == 1


def test_a_feed_may_be_named_by_its_id(robot: Caller, cmdb: Connection) -> None:
    assert send(robot, lines(key_of(1)), to=str(cmdb.pk)).status_code == 200


@pytest.mark.parametrize("role", [Role.AUTOMATION, Role.OPERATOR, Role.ADMINISTRATOR])
def test_these_roles_may_send(role: Role, cmdb: Connection) -> None:
    assert send(bearer(role), lines(key_of(1))).status_code == 200


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.REVIEWER, Role.OWNER])
def test_other_roles_may_not(role: Role, cmdb: Connection) -> None:
    problem_of(send(bearer(role), lines(key_of(1))), 403)
    assert not Credential.objects.exists()


def test_nobody_may_send_without_a_token(anonymous: Caller, cmdb: Connection) -> None:
    problem_of(send(anonymous, lines(key_of(1))), 401)


def test_a_page_of_somebody_else_cannot_send_in_a_person_s_name(cmdb: Connection) -> None:
    caller = person("olaf", Role.OPERATOR)[1]
    caller.browser.handler.enforce_csrf_checks = True
    problem_of(send(caller, lines(key_of(1)), content_type="text/csv"), 403)


def test_reading_is_not_offered(robot: Caller) -> None:
    problem_of(robot.get("intake/"), 405)


def test_anybody_may_read_the_schema_of_a_row(anonymous: Caller) -> None:
    jsonschema.Draft202012Validator.check_schema(anonymous.json("intake/schema/"))


@pytest.mark.parametrize("to", ["", "nobody", "%00", "01a2b3c4-0000-7000-8000-000000000000"])
def test_a_feed_that_is_not_there_is_a_problem_of_that_parameter(to: str, robot: Caller, cmdb: Connection) -> None:
    assert "connection" in problem_of(send(robot, lines(key_of(1)), to=to), 400)["errors"]


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        ("application/json", {}),
        ("text/csv; charset=latin-1", {}),
        ("", {}),
        (NDJSON, {"content_encoding": "br"}),
        ("multipart/form-data; boundary=x", {}),
    ],
)
def test_other_types_and_encodings_are_not_understood(
    content_type: str, headers: dict[str, str], robot: Caller, cmdb: Connection
) -> None:
    problem_of(send(robot, lines(key_of(1)), content_type=content_type, **headers), 415)
    assert not SyncRun.objects.exists()


def test_a_body_of_unknown_length_is_refused_before_it_is_read(robot: Caller, cmdb: Connection) -> None:
    answer = robot.browser.post(
        "/api/v1/intake/?connection=CMDB", b"{}", content_type=NDJSON, headers=robot.headers, CONTENT_LENGTH=""
    )
    problem_of(answer, 411)


def test_a_body_shorter_than_announced_is_a_problem_and_changes_nothing(robot: Caller, cmdb: Connection) -> None:
    body = lines(key_of(1))
    answer = robot.browser.post(
        "/api/v1/intake/?connection=CMDB",
        content_type=NDJSON,
        headers=robot.headers,
        CONTENT_LENGTH=str(len(body) + 1),
        **{"wsgi.input": io.BytesIO(body)},
    )
    problem_of(answer, 400)
    assert not Credential.objects.exists()


def test_a_body_that_is_no_feed_is_one_clear_problem(robot: Caller, cmdb: Connection) -> None:
    said = problem_of(send(robot, b"[" + json.dumps(key_of(1)).encode() + b"]"), 400)
    assert said["detail"].startswith("This is a JSON array.")


def test_a_body_without_one_good_row_is_a_problem_that_lists_its_rows(robot: Caller, cmdb: Connection) -> None:
    said = problem_of(send(robot, lines({"name": 1.5}, {"name": "a", "password": "Zq7Xw"})), 422)
    assert [each["line"] for each in said["row_errors"]] == [1, 2]
    assert "Zq7Xw" not in json.dumps(said)


def test_the_same_key_and_body_is_answered_alike_and_written_once(robot: Caller, cmdb: Connection) -> None:
    first = send(robot, lines(key_of(1)), idempotency_key="monday").json()
    again = send(robot, lines(key_of(1)), idempotency_key="monday").json()
    assert again == {**first, "replayed": True}
    assert SyncRun.objects.count() == 1


def test_the_same_key_with_another_body_is_a_problem(robot: Caller, cmdb: Connection) -> None:
    send(robot, lines(key_of(1)), idempotency_key="monday")
    problem_of(send(robot, lines(key_of(2)), idempotency_key="monday"), 422)
    assert Credential.objects.count() == 1


@pytest.mark.parametrize("key", ["x" * 201, "schlüssel"])
def test_a_key_that_is_too_long_or_strange_is_a_problem(key: str, robot: Caller, cmdb: Connection) -> None:
    assert "Idempotency-Key" in problem_of(send(robot, lines(key_of(1)), idempotency_key=key), 400)["errors"]


def test_a_feed_that_is_switched_off_is_a_conflict(robot: Caller, cmdb: Connection) -> None:
    Connection.objects.update(is_enabled=False)
    problem_of(send(robot, lines(key_of(1))), 409)


def test_a_connection_that_is_no_feed_is_a_problem(robot: Caller, cmdb: Connection) -> None:
    Connection.objects.update(kind="mcp_config")
    problem_of(send(robot, lines(key_of(1))), 400)


def test_a_feed_whose_settings_are_not_understood_is_a_conflict(robot: Caller, cmdb: Connection) -> None:
    Connection.objects.update(settings={"identity": "everything"})
    assert "identity rule" in problem_of(send(robot, lines(key_of(1))), 409)["detail"]
