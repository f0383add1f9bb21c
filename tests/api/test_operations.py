"""Operations over REST: asked for, followed and decided about by those whose role allows it."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from access.models import User
from access.roles import Role
from audit.models import AuditEntry
from inventory.models import Connection, Credential
from inventory.states import ConnectionKind
from lifecycle import tasks
from lifecycle.models import Delivery, Operation
from lifecycle.states import OperationState
from tests.api.conftest import ROOT, Caller, Estate, bearer, person, problem_of
from tests.factories import connection, credential
from tests.lifecycle.rotating import in_overlap
from web.models import KeptAnswer
from web.writes import KEPT_FOR

NOBODY = "019a0000-0000-7000-8000-000000000000"


@pytest.fixture
def place(db: None) -> Connection:
    return connection(kind=ConnectionKind.AWS, name="halden")


@pytest.fixture
def key(place: Connection) -> Credential:
    made = credential(name="deploy / AKIA", connection=place)
    Delivery.objects.create(
        credential=made, sink="aws_secrets", location="aws-sm://prod/deploy", set_by="Otto", set_at=timezone.now()
    )
    return made


@pytest.fixture
def robot(db: None) -> Caller:
    return bearer(Role.AUTOMATION)


@pytest.fixture
def operator(db: None) -> Caller:
    return person("otto", Role.OPERATOR)[1]


def asked(key: Credential, **values: Any) -> dict[str, Any]:
    return {"kind": "rotation", "credential": str(key.pk), "reason": "It is due.", **values}


def begun(caller: Caller, key: Credential, **values: Any) -> dict[str, Any]:
    answer = caller.post("operations/", asked(key, **values))
    assert answer.status_code == 201, answer.content
    said: dict[str, Any] = answer.json()
    return said


def test_a_rotation_is_asked_for_and_answered_with_the_operation(robot: Caller, key: Credential):
    answer = robot.post("operations/", asked(key))
    said = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == said["url"] == f"{ROOT}operations/{said['id']}/"
    assert (said["kind"], said["state"], said["step"], said["proof"]) == ("rotation", "pending", "issue", "none")
    assert said["credential"]["id"] == str(key.pk)
    assert said["display"] == "Rotation of deploy / AKIA"
    assert [each["state"] for each in said["steps"]][:2] == ["waits", "to_come"]
    assert said["journal"] == []
    assert robot.json(f"operations/{said['id']}/") == said
    assert AuditEntry.objects.filter(event="operation.requested", subject_id=said["id"]).exists()


def test_a_revocation_may_be_urgent_and_takes_the_place_of_a_rotation(robot: Caller, key: Credential):
    first = begun(robot, key)
    said = begun(robot, key, kind="revocation", urgent=True, reason="It leaked.")
    assert (said["is_urgent"], said["step"], said["supersedes"]["id"]) == (True, "snapshot", first["id"])
    assert robot.json(first["url"])["state"] == "superseded"


def test_running_is_read_from_a_live_lease(robot: Caller, key: Credential):
    said = begun(robot, key)
    Operation.objects.update(lease_token=NOBODY, lease_until=timezone.now() + timedelta(minutes=1))
    assert robot.json(said["url"])["state"] == "running"
    assert [each["id"] for each in robot.json("operations/?state=running")["results"]] == [said["id"]]
    assert robot.json("operations/?state=pending")["results"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "deletion"}, "kind"),
        ({"credential": "one"}, "credential"),
        ({"credential": NOBODY}, "credential"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 1_001}, "reason"),
        ({"urgent": True}, "urgent"),
        ({"urgnet": True}, "urgnet"),
    ],
)
def test_what_is_not_understood_names_its_field(body: dict[str, Any], field: str, robot: Caller, key: Credential):
    said = problem_of(robot.post("operations/", {**asked(key), **body}), 400)
    assert set(said["errors"]) == {field}
    assert not Operation.objects.exists()


@pytest.mark.parametrize(("body", "status"), [("[]", 400), ("{", 400), ('"x"', 400), ('{"kind": "\\u0000"}', 400)])
def test_a_body_that_is_no_object_is_refused(body: str, status: int, robot: Caller):
    answer = robot.browser.post(
        "/api/v1/operations/", data=body, content_type="application/json", headers=robot.headers
    )
    problem_of(answer, status)


def test_a_body_of_another_type_is_refused(robot: Caller):
    problem_of(robot.browser.post("/api/v1/operations/", data={"kind": "rotation"}, headers=robot.headers), 415)


def test_what_stands_against_it_is_a_conflict(robot: Caller, place: Connection, key: Credential):
    begun(robot, key)
    assert "still open" in problem_of(robot.post("operations/", asked(key)), 409)["detail"]
    nowhere = credential(name="nowhere", connection=place)
    assert "place of delivery" in problem_of(robot.post("operations/", asked(nowhere)), 409)["detail"]
    by_hand = credential(name="by hand")
    problem_of(robot.post("operations/", asked(by_hand)), 409)
    assert begun(robot, by_hand, kind="revocation")["by_hand"] is True


def test_one_key_asks_once(robot: Caller, key: Credential):
    named = {"Idempotency-Key": "june-1"}
    first = robot.post("operations/", asked(key), **named)
    second = robot.post("operations/", asked(key), **named)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Idempotency-Replayed"] == "true"
    assert Operation.objects.count() == 1


def test_the_spelling_of_a_body_does_not_matter_to_its_key(robot: Caller, key: Credential):
    robot.post("operations/", asked(key), **{"Idempotency-Key": "a"})
    turned = json.dumps(dict(reversed(asked(key).items())), indent=2)
    answer = robot.browser.post(
        "/api/v1/operations/", data=turned, content_type="application/json",
        headers={**robot.headers, "Idempotency-Key": "a"},
    )  # fmt: skip
    assert answer.status_code == 201


def test_a_key_is_not_used_for_anything_else(robot: Caller, key: Credential):
    named = {"Idempotency-Key": "june-1"}
    one = robot.post("operations/", asked(key), **named).json()
    problem_of(robot.post("operations/", asked(key, reason="Another."), **named), 422)
    problem_of(robot.post(f"operations/{one['id']}/cancel/", {"reason": "No."}, **named), 422)


def test_a_key_belongs_to_whoever_used_it(robot: Caller, operator: Caller, key: Credential):
    named = {"Idempotency-Key": "1"}
    robot.post("operations/", asked(key), **named)
    problem_of(operator.post("operations/", asked(key), **named), 409)


def test_a_refusal_is_not_kept(robot: Caller, key: Credential):
    named = {"Idempotency-Key": "1"}
    first = begun(robot, key)
    problem_of(robot.post("operations/", asked(key), **named), 409)
    assert not KeptAnswer.objects.exists()
    robot.post(f"operations/{first['id']}/cancel/", {"reason": "Not now."})
    assert robot.post("operations/", asked(key), **named).status_code == 201


def test_a_key_is_forgotten_after_a_week(robot: Caller, key: Credential):
    named = {"Idempotency-Key": "1"}
    robot.post("operations/", asked(key), **named)
    KeptAnswer.objects.update(kept_at=timezone.now() - KEPT_FOR - timedelta(seconds=1))
    problem_of(robot.post("operations/", asked(key), **named), 409)


@pytest.mark.parametrize("text", ["x" * 201, "ü"])
def test_a_key_that_cannot_be_one_is_refused(text: str, robot: Caller, key: Credential):
    answer = robot.post("operations/", asked(key), **{"Idempotency-Key": text})
    assert set(problem_of(answer, 400)["errors"]) == {"Idempotency-Key"}


def test_only_those_who_operate_write(key: Credential):
    for role in (Role.AUDITOR, Role.REVIEWER):
        problem_of(bearer(role).post("operations/", asked(key)), 403)
    for role in (Role.AUTOMATION, Role.OPERATOR):
        answer = bearer(role).post("operations/", asked(key, kind="revocation"))
        assert answer.status_code in {201, 409}, answer.content


def test_an_owner_operates_what_is_theirs_alone(estate: Estate):
    Operation.objects.all().delete()
    assert estate.caller.post("operations/", asked(estate.mine, kind="revocation")).status_code == 201
    problem_of(estate.caller.post("operations/", asked(estate.foreign, kind="revocation")), 400)


def test_a_session_writes_with_its_token_only(db: None, key: Credential):
    user = User.objects.create(username="otto", email="otto@example.org")
    careful = Caller(browser=Client(enforce_csrf_checks=True))
    careful.browser.force_login(user)
    assert "X-CSRFToken" in problem_of(careful.post("operations/", asked(key)), 403)["detail"]


def test_somebody_else_approves_what_was_proposed(robot: Caller, operator: Caller, key: Credential):
    said = begun(robot, key)
    Operation.objects.update(state=OperationState.PROPOSED, due_at=None)
    problem_of(robot.post(f"operations/{said['id']}/approve/"), 403)
    approved = operator.post(f"operations/{said['id']}/approve/", {"reason": "Fine."})
    assert (approved.status_code, approved.json()["state"]) == (200, "pending")
    problem_of(operator.post(f"operations/{said['id']}/approve/"), 409)


def test_a_proposal_is_declined_with_a_reason(robot: Caller, operator: Caller, key: Credential):
    said = begun(robot, key)
    Operation.objects.update(state=OperationState.PROPOSED, due_at=None)
    problem_of(operator.post(f"operations/{said['id']}/decline/"), 400)
    declined = operator.post(f"operations/{said['id']}/decline/", {"reason": "Not today."}).json()
    assert (declined["state"], declined["closed_reason"]) == ("cancelled", "Declined: Not today.")


def test_a_stalled_operation_is_resumed_and_handed_over(robot: Caller, operator: Caller, estate: Estate):
    said = begun(robot, estate.foreign, kind="revocation")
    one = Operation.objects.filter(pk=said["id"])
    problem_of(robot.post(f"{said['url']}resume/", {"reason": "Again."}), 409)
    one.update(state=OperationState.STALLED, due_at=None, stalled_at=timezone.now())
    assert robot.post(f"{said['url']}resume/", {"reason": "Again."}).json()["state"] == "pending"
    problem_of(operator.post(f"{said['url']}hand-over/", {"to": NOBODY}), 400)
    assert operator.post(f"{said['url']}hand-over/", {"to": str(estate.mira.pk)}).json()["assigned_to"]["id"] == str(
        estate.mira.pk
    )
    assert operator.post(f"{said['url']}urgent/", {"reason": "It leaked."}).json()["is_urgent"] is True


def test_an_operation_is_cancelled_before_it_did_anything(robot: Caller, key: Credential):
    said = begun(robot, key)
    ended = robot.post(f"{said['url']}cancel/", {"reason": "Not now."}).json()
    assert (ended["state"], ended["closed_reason"]) == ("cancelled", "Not now.")
    problem_of(robot.post(f"{said['url']}cancel/", {"reason": "Again."}), 409)
    problem_of(robot.post(f"operations/{NOBODY}/cancel/", {"reason": "x"}), 404)


def test_operators_say_where_secrets_go(operator: Caller, robot: Caller, place: Connection):
    one = credential(name="one", connection=place)
    body = {
        "credential": str(one.pk),
        "sink": "aws_secrets",
        "location": "aws-sm://prod/one",
        "connection": str(place.pk),
    }
    problem_of(robot.post("deliveries/", body), 403)
    said = operator.post("deliveries/", body).json()
    assert (said["location"], said["connection"]["display"]) == ("aws-sm://prod/one", "halden")
    again = operator.post("deliveries/", {**body, "location": "aws-sm://prod/two", "quiet": 3_600}).json()
    assert (again["id"], again["location"], again["quiet"]) == (said["id"], "aws-sm://prod/two", 3_600)
    assert operator.post(f"deliveries/{said['id']}/remove/").status_code == 204
    assert not Delivery.objects.exists()
    assert AuditEntry.objects.filter(event__startswith="credential.delivery").count() == 3


def test_where_secrets_go_stays_while_a_rotation_has_one_there(operator: Caller, key: Credential):
    said = begun(operator, key)
    Operation.objects.filter(pk=said["id"]).update(step="overlap")
    delivery = Delivery.objects.get(credential=key)
    problem_of(operator.post(f"deliveries/{delivery.pk}/remove/"), 409)


@pytest.fixture
def overlapping(key: Credential) -> str:
    """The address of a rotation in its overlap."""
    return f"operations/{in_overlap(key, promoted=timezone.now()).pk}/"


def test_a_consumer_says_that_it_uses_the_new_version(robot: Caller, overlapping: str):
    said = robot.post(f"{overlapping}acknowledgements/", {"consumer": "billing"}).json()
    assert [(each["consumer"], each["how"]) for each in said["acknowledgements"]] == [("billing", "api")]
    problem_of(robot.post(f"{overlapping}acknowledgements/", {}), 400)


def test_an_overlap_is_extended(operator: Caller, overlapping: str):
    until = timezone.now() + timedelta(days=3)
    body = {"until": until.isoformat(), "reason": "The release is on Friday."}
    assert operator.post(f"{overlapping}extend/", body).status_code == 200
    assert Operation.objects.get().extended_until == until
    problem_of(operator.post(f"{overlapping}extend/", {**body, "until": "2001-01-01T00:00:00Z"}), 409)


def test_the_old_version_is_retired_though_somebody_has_not_moved(robot: Caller, operator: Caller, overlapping: str):
    problem_of(robot.post(f"{overlapping}retire/", {"reason": "It leaked."}), 403)
    said = operator.post(f"{overlapping}retire/", {"reason": "It leaked."}).json()
    assert (said["state"], said["step"]) == ("pending", "suspend_old")


def test_what_was_done_by_hand_is_said_and_stays_unverifiable(robot: Caller, key: Credential):
    said = begun(robot, credential(name="by hand"), kind="revocation")
    done = robot.post(f"{said['url']}done/", {"reason": "Deleted in the console."}).json()
    assert (done["state"], done["proof"], done["verify_by"] is not None) == ("completed", "unverifiable", True)
    problem_of(robot.post(f"{begun(robot, key)['url']}done/", {"reason": "No."}), 409)
    problem_of(robot.post(f"{said['url']}verify/"), 409)


def test_a_provider_is_asked_once_more_about_what_nobody_could_tell_of(
    robot: Caller, key: Credential, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
):
    said = begun(robot, key, kind="revocation")
    problem_of(robot.post(f"{said['url']}verify/"), 409)
    Operation.objects.update(
        state=OperationState.COMPLETED, proof="unverifiable", proof_reason="It did not say.", due_at=None,
        closed_at=timezone.now(), verify_by=timezone.now(),
    )  # fmt: skip
    rung: list[Any] = []
    monkeypatch.setattr(tasks.look_at_operation, "apply_async", lambda args, **_queue: rung.append(args))
    with django_capture_on_commit_callbacks(execute=True):
        asked_again = robot.post(f"{said['url']}verify/", {"reason": "The console shows it gone."})
    assert (asked_again.status_code, asked_again.json()["look_at"] is not None) == (200, True)
    assert rung == [(said["id"],)]
