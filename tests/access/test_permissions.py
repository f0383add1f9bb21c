"""Default deny."""

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.test import RequestFactory

from access.middleware import ActorMiddleware, RightsMiddleware
from access.models import User
from access.permissions import requires
from access.rights import TABLE, Reach, Right, reach
from access.roles import Role

pytestmark = pytest.mark.django_db


def person(*roles: Role) -> User:
    user = User.objects.create_user("mira", "mira@halden.example")
    for role in roles:
        user.groups.add(Group.objects.get(name=role))
    return user


def ask(right, user):
    """What a page that takes `right` answers to `user`."""
    request = RequestFactory().get("/somewhere/?page=2")
    request.user = user
    view = requires(right)(lambda _: HttpResponse("in"))
    asking = RightsMiddleware(view)
    return ActorMiddleware(lambda given: asking.process_view(given, view, (), {}) or view(given))(request)


def test_the_unknown_are_sent_to_sign_in_and_back():
    answer = ask(Right.READ, AnonymousUser())
    assert answer.status_code == 302
    assert answer.headers["Location"].endswith("?next=/somewhere/%3Fpage%3D2")


@pytest.mark.parametrize("right", sorted(set(Right) - {Right.ANYBODY, Right.SIGNED_IN}))
def test_a_person_without_a_role_gets_nowhere(right):
    with pytest.raises(PermissionDenied):
        ask(right, person())


def test_a_person_without_a_role_may_still_sign_out():
    assert ask(Right.SIGNED_IN, person()).status_code == 200


def test_every_right_says_what_it_is_and_is_held_by_somebody():
    assert set(TABLE) == set(Right)
    assert all(reach(right, set(Role)) for right in set(Right) - {Right.ANYBODY, Right.SIGNED_IN})
    assert len({held.says for held in TABLE.values()}) == len(TABLE)


def test_a_role_opens_what_takes_it_or_what_it_implies():
    assert ask(Right.READ, person(Role.OPERATOR)).status_code == 200


def test_a_role_does_not_open_what_takes_a_wider_one():
    with pytest.raises(PermissionDenied, match="administrator or operator"):
        ask(Right.CONNECT, person(Role.REVIEWER))


def test_an_owner_has_for_their_own_what_a_reviewer_has_everywhere():
    assert reach(Right.GRANT, {Role.OWNER}) is Reach.OWN
    assert reach(Right.GRANT, {Role.REVIEWER}) is Reach.EVERYWHERE
    assert reach(Right.GRANT, {Role.OWNER, Role.REVIEWER}) is Reach.EVERYWHERE
    assert reach(Right.GRANT, {Role.AUDITOR}) is None


def test_somebody_switched_off_counts_as_nobody():
    user = person(Role.ADMINISTRATOR)
    user.is_active = False
    with pytest.raises(PermissionDenied):
        ask(Right.READ, user)
