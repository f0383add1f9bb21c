"""API tokens, from the command line, the page and the API, and as credentials of the inventory."""

import re
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from access.actors import Actor, ActorKind
from access.authentication import ApiTokenAuthentication
from access.models import ApiToken, User
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from config import tokens
from config.tasks import list_own_tokens
from inventory.models import Credential, SyncRun
from inventory.states import CredentialStatus
from tests import factories
from tests.people import browser, owners_browser, text
from web.models import KeptAnswer

pytestmark = pytest.mark.django_db


def issue(*arguments: str) -> str:
    """What the command prints to be kept."""
    out = StringIO()
    call_command("token", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue().strip()


def present(value: str):
    request = APIRequestFactory().get("/", headers={"Authorization": f"Token {value}"})
    return ApiTokenAuthentication().authenticate(Request(request))


def test_the_printed_token_is_accepted_as_an_actor_of_its_role():
    value = issue("nightly export", "--role", "auditor")
    _, token = present(value)
    actor = token.as_actor()
    assert actor.kind is ActorKind.TOKEN
    assert actor.roles == {Role.AUDITOR}
    assert actor.label == "token nightly export"


def test_only_the_token_is_on_the_output():
    assert len(issue("nightly", "--role", "auditor").split()) == 1


def test_the_value_is_neither_in_the_row_nor_in_the_audit_trail():
    value = issue("nightly", "--role", "auditor")
    token, entry = ApiToken.objects.get(), AuditEntry.objects.get(event=Event.TOKEN_ISSUED)
    assert value not in repr(vars(token))
    assert value not in repr(vars(entry))
    assert value.startswith(entry.detail["prefix"])


def test_a_token_ends_after_its_days_and_stays_to_be_seen():
    value = issue("nightly", "--role", "auditor", "--days", "1")
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    with pytest.raises(AuthenticationFailed):
        present(value)
    assert ApiToken.objects.get().state_at(timezone.now()) == "expired"


def test_two_tokens_of_one_name_share_their_bearer():
    issue("nightly", "--role", "auditor")
    issue("nightly", "--role", "automation")
    assert len(set(ApiToken.objects.values_list("user"))) == 1


def test_the_bearer_cannot_sign_in_to_pages(client):
    issue("nightly", "--role", "administrator")
    bearer = ApiToken.objects.get().user
    assert not bearer.has_usable_password()
    assert bearer.roles == frozenset()


@pytest.mark.parametrize(
    "arguments", [["", "--role", "auditor"], ["x" * 61, "--role", "auditor"], ["n", "--role", "auditor", "--days", "0"]]
)
def test_nonsense_is_refused_as_wrong_usage(arguments):
    with pytest.raises(CommandError) as refused:
        issue(*arguments)
    assert refused.value.returncode == 2


@pytest.mark.parametrize("value", ["\xff", "a\x00b", "kr_" + "a" * 100_000])
def test_what_is_no_text_is_no_token(client, value):
    assert client.get("/api/v1/servers/", headers={"Authorization": f"Token {value}"}).status_code == 401


# ── The page ───────────────────────────────────────────────────────────────────────────────────


def issued_on_page(person: Client, wanted: Role, **values) -> str:
    """The value, as the page that answers shows it; empty where it was refused."""
    answer = person.post("/account/tokens/new/", {"name": "nightly", "role": wanted.value, "days": "30", **values})
    found = re.search(r"kr_[0-9a-f]{64}", text(answer))
    assert answer.status_code == (200 if found else 422)
    return found[0] if found else ""


def test_a_page_shows_the_value_of_a_new_token_once():
    person = browser(Role.OPERATOR)
    value = issued_on_page(person, Role.AUDITOR)
    assert reads(value) == 200
    assert value not in text(person.get("/account/tokens/"))
    assert "nightly" in text(person.get("/account/tokens/"))


def reads(value: str) -> int:
    return Client().get("/api/v1/servers/", headers={"Authorization": f"Token {value}"}).status_code


@pytest.mark.parametrize(
    ("mine", "wanted", "is_given"),
    [
        (Role.ADMINISTRATOR, Role.ADMINISTRATOR, True),
        (Role.ADMINISTRATOR, Role.AUTOMATION, True),
        (Role.OPERATOR, Role.REVIEWER, True),
        (Role.OPERATOR, Role.AUTOMATION, False),
        (Role.REVIEWER, Role.OPERATOR, False),
        (Role.REVIEWER, Role.OWNER, False),
        (Role.OWNER, Role.AUDITOR, False),
    ],
)
def test_nobody_issues_a_token_of_a_role_above_their_own(mine, wanted, is_given):
    assert bool(issued_on_page(browser(mine), wanted)) is is_given
    assert ApiToken.objects.exists() is is_given


@pytest.mark.parametrize(
    "values", [{"days": "0"}, {"days": "99999"}, {"name": ""}, {"name": "a\x07b"}, {"role": "king"}]
)
def test_a_hostile_form_issues_nothing(values):
    assert issued_on_page(browser(Role.ADMINISTRATOR), Role.AUDITOR, **values) == ""


def test_a_revoked_token_is_refused_at_once_and_by_name():
    person = browser(Role.REVIEWER)
    value = issued_on_page(person, Role.AUDITOR)
    token = ApiToken.objects.get()
    assert person.post(f"/account/tokens/{token.pk}/revoke/", {"decided": "yes"}).status_code == 302
    assert reads(value) == 401
    assert AuditEntry.objects.get(event=Event.TOKEN_REVOKED).subject_label == "nightly"
    assert "Revoked by" in text(person.get("/account/tokens/"))


def test_only_its_issuer_and_administrators_revoke_a_token():
    issued_on_page(browser(Role.REVIEWER), Role.AUDITOR)
    at = f"/account/tokens/{ApiToken.objects.get().pk}/revoke/"
    assert browser(Role.OPERATOR).post(at, {"decided": "yes"}).status_code == 404
    assert browser(Role.ADMINISTRATOR).post(at, {"decided": "yes"}).status_code == 302


def test_an_owner_sees_the_tokens_that_they_issued_alone():
    issued_on_page(browser(Role.REVIEWER), Role.AUDITOR, name="somebody elses")
    mine, _ = owners_browser()
    value = issued_on_page(mine, Role.OWNER, name="of mine")
    page = text(mine.get("/account/tokens/"))
    assert "of mine" in page
    assert "somebody elses" not in page
    found = Client(headers={"Authorization": f"Token {value}"}).get("/api/v1/tokens/").json()["results"]
    assert [row["name"] for row in found] == ["of mine"]


def test_a_token_of_the_role_owner_reads_what_its_issuer_answers_for():
    mine, me = owners_browser()
    factories.credential(name="mine", owner=me)
    factories.credential(name="theirs", owner=factories.owner())
    value = issued_on_page(mine, Role.OWNER)
    found = Client(headers={"Authorization": f"Token {value}"}).get("/api/v1/credentials/").json()["results"]
    assert [row["name"] for row in found if row["name"] in {"mine", "theirs"}] == ["mine"]


def test_a_token_dies_with_the_rights_of_who_issued_it():
    person = browser(Role.OPERATOR)
    value = issued_on_page(person, Role.REVIEWER)
    issuer = ApiToken.objects.get().issued_by
    issuer.groups.set(Group.objects.filter(name=Role.AUDITOR))
    assert reads(value) == 401
    issuer.groups.set(Group.objects.filter(name=Role.ADMINISTRATOR))
    assert reads(value) == 200
    User.objects.filter(pk=issuer.pk).update(is_active=False)
    assert reads(value) == 401


def test_the_last_use_is_kept_to_the_minute_and_costs_no_write_in_between(django_assert_max_num_queries):
    value = issue("nightly", "--role", "auditor")
    present(value)
    used = ApiToken.objects.get().last_used_at
    assert used is not None
    with django_assert_max_num_queries(1):
        present(value)
    assert ApiToken.objects.get().last_used_at == used


# ── Over REST ──────────────────────────────────────────────────────────────────────────────────


def program(role: Role, days: int = 10) -> Client:
    actor = Actor.system("test")
    _, value = tokens.issue(f"a {role}", role, life=timedelta(days=days), actor=actor, now=timezone.now())
    return Client(headers={"Authorization": f"Token {value}"})


def asked(client: Client, **values):
    body = {"name": "made over REST", "role": "auditor", "days": 5, **values}
    return client.post("/api/v1/tokens/", body, content_type="application/json", headers={"Idempotency-Key": "once"})


def test_a_token_issues_and_revokes_one_over_rest():
    admin = program(Role.ADMINISTRATOR)
    made = asked(admin)
    assert made.status_code == 201
    assert made.json()["state"] == "active"
    value = made.json()["token"]
    assert reads(value) == 200
    ended = admin.post(f"/api/v1/tokens/{made.json()['id']}/revoke/", {}, content_type="application/json")
    assert ended.json()["state"] == "revoked"
    assert reads(value) == 401


def test_the_value_is_in_no_answer_that_is_kept():
    admin = program(Role.ADMINISTRATOR)
    value = asked(admin).json()["token"]
    again = asked(admin)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "token" not in again.json()
    assert value not in str(list(KeptAnswer.objects.values()))


@pytest.mark.parametrize(
    ("role", "values", "status"),
    [
        (Role.AUTOMATION, {"role": "administrator"}, 403),
        (Role.AUTOMATION, {"days": 11}, 409),
        (Role.AUTOMATION, {}, 201),
        (Role.AUDITOR, {}, 403),
    ],
)
def test_a_token_issues_none_that_may_more_or_lives_longer(role, values, status):
    assert asked(program(role), **values).status_code == status


def test_a_token_revokes_none_of_others():
    program(Role.OPERATOR)
    other = ApiToken.objects.get()
    answer = program(Role.AUTOMATION).post(f"/api/v1/tokens/{other.pk}/revoke/", {}, content_type="application/json")
    assert answer.status_code == 403
    assert ApiToken.objects.get(pk=other.pk).revoked_at is None


# ── In the inventory ───────────────────────────────────────────────────────────────────────────


def test_tokens_of_keyreeve_are_credentials_of_its_inventory():
    person = browser(Role.ADMINISTRATOR)
    me = User.objects.get()
    factories.owner(name="Mira Okafor", email="mira@halden.example", user=me)
    issued_on_page(person, Role.AUTOMATION)
    held = Credential.objects.get()
    token = ApiToken.objects.get()
    assert (held.name, held.issuer, held.scopes) == ("Keyreeve / nightly", "Keyreeve", ["automation"])
    assert held.owner.name == "Mira Okafor"
    assert held.expires_at == token.expiry
    assert held.fingerprint == ""
    assert token.token_key not in repr(vars(held))


def test_what_is_told_already_changes_nothing_and_a_revoked_token_ends_there_too():
    program(Role.AUDITOR)
    assert list_own_tokens() == {"tokens": 1}
    list_own_tokens()
    assert not any(SyncRun.objects.order_by("pk").last().counts.values())
    tokens.revoke(ApiToken.objects.get(), actor=Actor.system("test"), now=timezone.now())
    list_own_tokens()
    assert Credential.objects.get().status == CredentialStatus.DESTROYED
