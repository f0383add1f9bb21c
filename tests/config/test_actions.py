"""How people and programs get in."""

from io import StringIO
from urllib.parse import parse_qs

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from access.actors import Actor
from access.authentication import one_time_query
from access.models import User
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from config.actions import ensure_administrator

pytestmark = pytest.mark.django_db
START = Actor.system("start")


def test_the_first_administrator_is_made_once_without_a_password_and_recorded():
    first = ensure_administrator(actor=START)
    assert ensure_administrator(actor=START) == first
    assert first.roles == {Role.ADMINISTRATOR}
    assert not first.has_usable_password()
    assert [entry.subject_id for entry in AuditEntry.objects.filter(event=Event.USER_CREATED)] == [str(first.pk)]


def test_where_there_is_an_administrator_none_is_made():
    known = User.objects.create_user("mira", "mira@halden.example")
    known.groups.set(ensure_administrator(actor=START).groups.all())
    User.objects.exclude(pk=known.pk).delete()
    assert ensure_administrator(actor=START) == known


def test_a_link_is_printed_alone_and_its_making_recorded():
    user = ensure_administrator(actor=START)
    out = StringIO()
    call_command("sign_in_link", stdout=out, stderr=StringIO())
    assert out.getvalue().startswith("http://127.0.0.1:8000/sign-in/?user=")
    entry = AuditEntry.objects.get(event=Event.USER_SIGN_IN_LINK_ISSUED)
    assert entry.subject_id == str(user.pk)
    assert "key" not in str(entry.detail)


def test_a_link_can_be_asked_for_by_e_mail_address():
    User.objects.create_user("mira", "mira@halden.example")
    call_command("sign_in_link", "Mira@Halden.example", stdout=StringIO(), stderr=StringIO())


@pytest.mark.parametrize("name", ["nobody-here", "gone"])
def test_nobody_unknown_or_switched_off_gets_a_link(name):
    User.objects.create_user("gone", "gone@halden.example", is_active=False)
    with pytest.raises(CommandError) as refused:
        call_command("sign_in_link", name, stdout=StringIO(), stderr=StringIO())
    assert refused.value.returncode == 2


def signed_in(user: User) -> Client:
    client, query = Client(), parse_qs(one_time_query(user))
    assert client.post("/sign-in/", {name: value[0] for name, value in query.items()}).status_code == 302
    return client


def is_in(client: Client) -> bool:
    return client.get("/account/sessions/").status_code == 200


def test_a_person_is_signed_out_wherever_they_are_and_nobody_else_is():
    mira, noor = (User.objects.create_user(name, f"{name}@halden.example") for name in ("mira", "noor"))
    here, other = signed_in(mira), signed_in(noor)
    out = StringIO()
    call_command("sign_out", "Mira@Halden.example", stdout=out)
    assert out.getvalue() == "1 session of 1 person ended.\n"
    assert (is_in(here), is_in(other)) == (False, True)
    entry = AuditEntry.objects.filter(event=Event.USER_SIGNED_OUT).latest("seq")
    assert (entry.subject_id, entry.detail) == (str(mira.pk), {"sessions": 1})

    call_command("sign_out", everybody=True, stdout=StringIO())
    assert not is_in(other)


@pytest.mark.parametrize("names", [[], ["nobody-here"]])
def test_it_is_said_who_is_to_be_signed_out(names):
    with pytest.raises(CommandError) as refused:
        call_command("sign_out", *names, stdout=StringIO())
    assert refused.value.returncode == 2
