"""How people and programs get in."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from access.actors import Actor
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
