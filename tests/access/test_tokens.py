"""API tokens from the command line."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from access.actors import ActorKind
from access.authentication import ApiTokenAuthentication
from access.models import ApiToken
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry

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


def test_a_token_ends_after_its_days():
    value = issue("nightly", "--role", "auditor", "--days", "1")
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    with pytest.raises(AuthenticationFailed):
        present(value)


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
