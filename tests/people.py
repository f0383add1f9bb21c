"""People with a browser, for tests of pages."""

from itertools import count

from django.contrib.auth.models import Group
from django.test import Client

from access.models import User
from access.roles import Role
from inventory.models import Owner

_numbers = count(1)
HTMX = {"HX-Request": "true"}


def person(*roles: Role) -> User:
    n = next(_numbers)
    user = User.objects.create_user(f"person-{n}", f"person-{n}@halden.example")
    user.groups.set(Group.objects.filter(name__in=roles))
    return user


def browser(*roles: Role) -> Client:
    """A browser in which somebody with these roles has signed in."""
    client = Client()
    client.force_login(person(*roles))
    return client


def owners_browser() -> tuple[Client, Owner]:
    """A browser of somebody who only sees what they answer for, and the owner they are."""
    user = person(Role.OWNER)
    client = Client()
    client.force_login(user)
    return client, Owner.objects.create(name=f"Owner {user.pk}", user=user)


def text(response: object) -> str:
    streamed = getattr(response, "streaming_content", None)
    return b"".join(streamed).decode() if streamed is not None else response.content.decode()  # type: ignore[attr-defined]
