"""A directory provisions people: they join, move and leave."""

import json

import pytest
from django.test import Client
from django.utils import timezone

from access.actors import Actor
from access.models import User
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from config import scim
from inventory.models import Owner
from lifecycle.actions.leavers import leavers, open_leaver
from lifecycle.states import BatchState
from tests import factories
from tests.access.estates import token_browser
from tests.people import person

pytestmark = pytest.mark.django_db

USERS = "/scim/v2/Users"
MIRA = {
    "schemas": [scim.USER, scim.ENTERPRISE], "userName": "mira@halden.example", "externalId": "E-7",
    "name": {"givenName": "Mira", "familyName": "Okafor"}, "active": True, "title": "Engineer",
    "emails": [{"value": "other@halden.example"}, {"value": "mira@halden.example", "primary": True}],
}  # fmt: skip


@pytest.fixture
def directory() -> Client:
    client = token_browser(Role.AUTOMATION)
    client.defaults["HTTP_AUTHORIZATION"] = client.defaults["HTTP_AUTHORIZATION"].replace("Token", "Bearer")
    return client


def sent(client: Client, verb: str, path: str, body: object):
    return client.generic(verb, path, json.dumps(body), "application/scim+json")


@pytest.fixture
def mira(directory) -> dict:
    made = sent(directory, "POST", USERS, MIRA)
    assert made.status_code == 201, made.content
    return made.json()


def patch(client: Client, user: dict, *operations: dict):
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": list(operations)}
    return sent(client, "PATCH", f"{USERS}/{user['id']}", body)


# ── Joining ────────────────────────────────────────────────────────────────────────────────────


def test_who_joins_is_an_owner_with_an_account_that_has_no_role_and_no_password(mira):
    owner = Owner.objects.get()
    assert (owner.name, owner.email, owner.external_id) == ("Mira Okafor", "mira@halden.example", "E-7")
    assert owner.user.roles == frozenset()
    assert not owner.user.has_usable_password()
    assert mira["meta"]["location"].endswith(f"{USERS}/{owner.pk}")
    assert {Event.USER_CREATED, Event.OWNER_CREATED} <= set(AuditEntry.objects.values_list("event", flat=True))


def test_an_owner_whom_the_inventory_knew_is_the_one_who_joins(directory):
    known = factories.owner(name="M. Okafor", email="Mira@halden.example")
    assert sent(directory, "POST", USERS, MIRA).json()["id"] == str(known.pk)
    assert Owner.objects.get().name == "Mira Okafor"


def test_nobody_joins_twice(directory, mira):
    again = sent(directory, "POST", USERS, {**MIRA, "externalId": "E-8"})
    assert again.status_code == 409
    assert again.json()["scimType"] == "uniqueness"
    assert again.headers["Content-Type"].startswith("application/scim+json")
    assert Owner.objects.count() == 1


@pytest.mark.parametrize(
    "query", ['userName eq "MIRA@halden.example"', 'externalId eq "E-7"', 'emails.value eq "mira@halden.example"']
)
def test_a_directory_finds_whom_it_knows(directory, mira, query):
    answer = directory.get(USERS, {"filter": query}).json()
    assert (answer["totalResults"], answer["Resources"][0]["id"]) == (1, mira["id"])


def test_a_list_has_pages(directory):
    for n in range(3):
        sent(directory, "POST", USERS, {"userName": f"person{n}"})
    answer = directory.get(USERS, {"startIndex": 2, "count": 1}).json()
    assert (answer["totalResults"], answer["itemsPerPage"], answer["startIndex"]) == (3, 1, 2)
    assert directory.get(USERS, {"filter": 'userName eq "nobody"'}).json()["Resources"] == []


# ── Moving ─────────────────────────────────────────────────────────────────────────────────────


def test_who_moves_has_a_new_name_and_manager(directory, mira):
    boss = sent(directory, "POST", USERS, {"userName": "otto", "displayName": "Otto Brandt"}).json()
    body = {**MIRA, "displayName": "Mira Brandt", scim.ENTERPRISE: {"manager": {"value": boss["id"]}}}
    moved = sent(directory, "PUT", f"{USERS}/{mira['id']}", body).json()
    assert moved["displayName"] == "Mira Brandt"
    assert moved[scim.ENTERPRISE]["manager"]["displayName"] == "Otto Brandt"


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "active", "value": False},
        {"op": "Replace", "value": {"active": "False"}},
        {"op": "replace", "path": f"{scim.USER}:active", "value": "false"},
    ],
)
def test_who_is_not_active_has_left_however_a_directory_says_it(directory, mira, operation):
    assert patch(directory, mira, operation).json()["active"] is False
    owner = Owner.objects.get()
    assert owner.inactive_since is not None
    assert owner.user.is_active is False


def test_who_is_back_is_active_again(directory, mira):
    patch(directory, mira, {"op": "replace", "path": "active", "value": False})
    patch(directory, mira, {"op": "replace", "path": "active", "value": True})
    assert Owner.objects.get().is_active
    assert User.objects.get(username="mira@halden.example").is_active


# ── Leaving ────────────────────────────────────────────────────────────────────────────────────


def test_what_a_leaver_answered_for_waits_for_decisions_and_their_session_is_over(directory, mira):
    owner = Owner.objects.get()
    factories.credential(owner=owner)
    session = Client()
    session.force_login(owner.user)
    assert directory.delete(f"{USERS}/{mira['id']}").status_code == 204
    owner.refresh_from_db()
    assert leavers() == [owner]
    batch = open_leaver(owner, actor=Actor.system("test"), now=timezone.now())
    assert (batch.state, batch.size) == (BatchState.DECIDING, 1)
    assert session.get("/account/second-factor/").status_code == 302
    assert directory.get(f"{USERS}/{mira['id']}").status_code == 404
    assert directory.get(USERS).json()["totalResults"] == 0


def test_who_left_and_joins_again_is_the_same_owner(directory, mira):
    directory.delete(f"{USERS}/{mira['id']}")
    again = sent(directory, "POST", USERS, MIRA)
    assert (again.status_code, again.json()["id"], again.json()["active"]) == (201, mira["id"], True)


# ── Outsiders and hostile input ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.AUTOMATION, Role.ADMINISTRATOR}))
def test_only_a_token_of_the_role_automation_provisions(role):
    client = token_browser(role)
    client.defaults["HTTP_AUTHORIZATION"] = client.defaults["HTTP_AUTHORIZATION"].replace("Token", "Bearer")
    assert client.get(USERS).status_code == 403
    assert sent(client, "POST", USERS, MIRA).status_code == 403


def test_a_stranger_and_a_session_of_a_browser_are_asked_for_a_token():
    signed_in = Client()
    signed_in.force_login(person(Role.ADMINISTRATOR))
    for client in (Client(), signed_in):
        answer = client.get(USERS)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer.json()["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]


def test_a_directory_renames_nobody_who_may_more_than_itself(directory, mira):
    owner = Owner.objects.get()
    owner.user.groups.set(person(Role.ADMINISTRATOR).groups.all())
    taken = patch(directory, mira, {"op": "replace", "path": "userName", "value": "mallory@evil.example"})
    assert taken.status_code == 403
    assert patch(directory, mira, {"op": "replace", "path": "active", "value": False}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        [], "x", {}, {"userName": ""}, {"userName": 7}, {"userName": "a\x00b"}, {"userName": "x" * 151},
        {"userName": "token:robot"}, {"userName": "a", "active": "perhaps"}, {"userName": "a", "emails": "x"},
        {"userName": "a", "emails": [{"value": "no address"}]}, {"userName": "a", "name": []},
        {"userName": "a", "displayName": "\u202eevil"},
    ],
)  # fmt: skip
def test_a_body_that_is_not_understood_writes_nothing(directory, body):
    answer = sent(directory, "POST", USERS, body)
    assert answer.status_code in {400, 409}, answer.content
    assert answer.json()["status"] == str(answer.status_code)
    assert not Owner.objects.exists()


@pytest.mark.parametrize(
    "operations",
    [
        [], [7], [{"op": "delete", "path": "active"}], [{"op": "remove"}],
        [{"op": "replace", "path": "a(", "value": 1}],
        [{"op": "replace", "path": "userName", "value": ""}], [{"op": "replace", "value": 1}], [{}] * 101,
    ],
)  # fmt: skip
def test_a_patch_that_is_not_understood_changes_nothing(directory, mira, operations):
    assert patch(directory, mira, *operations).status_code == 400
    assert directory.get(f"{USERS}/{mira['id']}").json() == mira


@pytest.mark.parametrize(
    "query", ['userName sw "m"', 'password eq "x"', "x" * 5_000, 'userName eq "a" or active eq "b"']
)
def test_a_filter_that_is_not_understood_is_refused(directory, query):
    answer = directory.get(USERS, {"filter": query})
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidFilter")


def test_what_is_offered_can_be_read(directory):
    assert directory.get("/scim/v2/ServiceProviderConfig").json()["patch"]["supported"] is True
    assert directory.get("/scim/v2/ResourceTypes").json()["Resources"][0]["endpoint"] == "/Users"
