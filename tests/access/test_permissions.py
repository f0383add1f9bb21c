"""Default deny."""

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.test import RequestFactory

from access.middleware import ActorMiddleware
from access.models import User
from access.permissions import requires, requires_reader
from access.roles import Role

pytestmark = pytest.mark.django_db


def person(*roles: Role) -> User:
    user = User.objects.create_user("mira", "mira@halden.example")
    for role in roles:
        user.groups.add(Group.objects.get(name=role))
    return user


def ask(guard, user):
    """What a view behind `guard` answers to `user`."""
    request = RequestFactory().get("/somewhere/?page=2")
    request.user = user
    return ActorMiddleware(guard(lambda _: HttpResponse("in")))(request)


def test_the_unknown_are_sent_to_sign_in_and_back():
    answer = ask(requires_reader, AnonymousUser())
    assert answer.status_code == 302
    assert answer.headers["Location"].endswith("?next=/somewhere/%3Fpage%3D2")


@pytest.mark.parametrize("guard", [requires_reader, *(requires(role) for role in Role)])
def test_a_person_without_a_role_gets_nowhere(guard):
    with pytest.raises(PermissionDenied):
        ask(guard, person())


def test_a_role_opens_what_requires_it_or_what_it_implies():
    assert ask(requires(Role.AUDITOR), person(Role.OPERATOR)).status_code == 200


def test_a_role_does_not_open_what_requires_a_wider_one():
    with pytest.raises(PermissionDenied):
        ask(requires(Role.OPERATOR), person(Role.REVIEWER))


def test_an_administrator_who_is_no_owner_does_not_pass_for_one():
    with pytest.raises(PermissionDenied):
        ask(requires(Role.OWNER), person(Role.ADMINISTRATOR))


def test_somebody_switched_off_counts_as_nobody():
    user = person(Role.ADMINISTRATOR)
    user.is_active = False
    with pytest.raises(PermissionDenied):
        ask(requires_reader, user)
