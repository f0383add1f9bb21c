"""Batches over REST: what they are made of, and how operators steer them."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from inventory.actions.ownership import change_owner
from inventory.models import Connection, Credential
from inventory.states import ConnectionKind
from lifecycle import batching
from lifecycle.models import Batch, OperatingLimits, Operation
from lifecycle.states import OperationState
from tests.api.conftest import Caller, bearer, person, problem_of
from tests.factories import connection, credential, owner

pytestmark = pytest.mark.django_db


@pytest.fixture
def cloud() -> Connection:
    return connection(kind=ConnectionKind.AWS, name="cloud")


@pytest.fixture
def operator() -> Caller:
    return person("otto", Role.OPERATOR)[1]


def asked(caller: Caller, *rows: Credential) -> dict[str, Any]:
    answer = caller.post("batches/", {"ids": [str(row.pk) for row in rows], "reason": "It leaked."})
    assert answer.status_code == 201, answer.content
    said: dict[str, Any] = answer.json()
    return said


def test_a_second_person_declines_a_batch_with_a_reason_and_nothing_of_it_begins(operator: Caller, cloud: Connection):
    OperatingLimits.objects.create(second_person_from=1)
    said = asked(bearer(Role.AUTOMATION), credential(connection=cloud))
    problem_of(operator.post(f"batches/{said['id']}/decline/"), 400)
    declined = operator.post(f"batches/{said['id']}/decline/", {"reason": "A false alarm."}).json()
    assert (declined["state"], declined["counts"]) == ("declined", {"cancelled": 1})
    assert not Operation.objects.exists()
    problem_of(operator.post(f"batches/{said['id']}/decline/", {"reason": "Again."}), 409)


def test_what_appears_behind_the_scope_meanwhile_is_taken_in_on_request(operator: Caller, cloud: Connection):
    credential(connection=cloud, name="first")
    body = {"scope": "connection", "id": str(cloud.pk), "reason": "It leaked."}
    said = operator.post("batches/", body).json()
    credential(connection=cloud, name="second")
    grown = operator.post(f"batches/{said['id']}/include-late/").json()
    assert grown["size"] == 2
    items = operator.json(f"batch-items/?batch={said['id']}")["results"]
    assert {(each["display"], each["is_late"]) for each in items} == {("first", False), ("second", True)}


def test_each_credential_of_a_batch_says_how_long_it_took_to_be_refused(operator: Caller, cloud: Connection):
    said = asked(operator, credential(connection=cloud), credential(connection=cloud))
    batching.carry_on(Batch.objects.get(), clock=timezone.now, ring=list)
    begun = Batch.objects.get().begun_at
    assert begun is not None
    one = Operation.objects.order_by("pk")[0]
    Operation.objects.filter(pk=one.pk).update(refused_at=begun + timedelta(seconds=41))
    items = operator.json(f"batch-items/?batch={said['id']}")["results"]
    assert {each["operation"]["id"]: each["seconds_to_refused"] for each in items}[str(one.pk)] == 41
    assert sorted(str(each["seconds_to_refused"]) for each in items) == ["41", "None"]


def test_what_a_leaver_answered_for_is_decided_item_by_item(operator: Caller, cloud: Connection):
    ana, noor = owner(name="Ana Duarte"), owner(name="Noor Haddad")
    key = credential(connection=cloud, owner=ana)
    change_owner(ana, actor=Actor.system("tests"), now=timezone.now(), is_active=False)
    batching.open_leavers(clock=timezone.now)
    leaving = Batch.objects.get()
    (item,) = operator.json(f"batch-items/?batch={leaving.pk}&state=to_decide")["results"]
    body = {"items": [item["id"]], "what": "transfer", "reason": "She takes over."}
    assert "Say who" in problem_of(operator.post(f"batches/{leaving.pk}/decide/", body), 409)["detail"]
    told = operator.post(f"batches/{leaving.pk}/decide/", {**body, "to": str(noor.pk)})
    assert told.status_code == 200, told.content
    key.refresh_from_db()
    assert key.owner == noor
    (item,) = operator.json(f"batch-items/?batch={leaving.pk}")["results"]
    assert (item["state"], item["said"]) == ("transferred", "Handed over to Noor Haddad: She takes over.")


def test_a_reason_that_holds_a_secret_is_refused_and_kept_nowhere(operator: Caller, cloud: Connection):
    secret = f"ghp_{'x7Qa' * 9}"
    body = {"ids": [str(credential(connection=cloud).pk)], "reason": f"This one leaked: {secret}"}
    said = problem_of(operator.post("batches/", body), 400)
    assert "A secret stands in this text" in said["detail"]
    assert secret not in str(said)
    assert not Batch.objects.exists()


def test_an_operation_takes_no_secret_for_a_reason_either(operator: Caller, cloud: Connection):
    body = {
        "kind": "revocation",
        "credential": str(credential(connection=cloud).pk),
        "reason": "password=tR4!vv0lumeZ9",
    }
    problem_of(operator.post("operations/", body), 400)
    one = operator.post("operations/", {**body, "reason": "It leaked."}).json()
    Operation.objects.update(state=OperationState.STALLED, due_at=None, stalled_at=timezone.now())
    problem_of(operator.post(f"operations/{one['id']}/hand-over/", {"to": None, "reason": body["reason"]}), 400)
