"""Who may be a client: deciding about many at once, and who may decide."""

from pathlib import Path

import pytest
from pytest_django import Settings

from access.actors import Actor, ActorKind
from access.models import User
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from inventory.actions import admission, removals
from inventory.errors import NothingChosen, OwnClient, ReferenceMisplaced, RemovalUnderWay
from inventory.models import AuthorizationServer, McpClient, Owner
from inventory.states import Admission, Registration
from providers.errors import Refused
from tests import factories
from tests.factories import NOW
from tests.people import person

pytestmark = pytest.mark.django_db
ISSUER = "https://id.halden.example"
GIVEN = {"now": NOW, "reason": "we know whose it is"}


def actor_of(user: User, *roles: Role) -> Actor:
    return Actor(ActorKind.USER, str(user.pk), user.username, frozenset(roles), user.pk)


def reviewer() -> Actor:
    return actor_of(person(Role.REVIEWER), Role.REVIEWER)


def an_owner(*roles: Role) -> tuple[Actor, Owner]:
    user = person(*(roles or (Role.OWNER,)))
    return actor_of(user, *(roles or (Role.OWNER,))), Owner.objects.create(name="Ana", user=user)


def dynamic(**values: object) -> McpClient:
    issuer, _ = AuthorizationServer.objects.get_or_create(issuer=ISSUER, defaults={"first_seen_at": NOW})
    defaults = {
        "registration": Registration.DYNAMIC,
        "admission": Admission.QUARANTINED,
        "authorization_server": issuer,
        "client_id": "abc",
    }
    return factories.client(**{**defaults, **values})


def these(*clients: McpClient):
    return McpClient.objects.filter(pk__in=[client.pk for client in clients])


def admission_of(client: McpClient) -> str:
    return McpClient.objects.values_list("admission", flat=True).get(pk=client.pk)


def test_a_reviewer_admits_many_at_once_with_an_entry_for_each():
    clients = [dynamic(), dynamic()]
    assert admission.admit(these(*clients), actor=reviewer(), **GIVEN) == 2
    assert {admission_of(client) for client in clients} == {Admission.ADMITTED}
    entries = AuditEntry.objects.filter(event=Event.CLIENT_ADMITTED)
    assert {entry.subject_id for entry in entries} == {str(client.pk) for client in clients}
    assert entries[0].detail == {"from": "quarantined", "to": "admitted", "reason": GIVEN["reason"]}


def test_admitting_again_changes_nothing():
    client = dynamic()
    admission.admit(these(client), actor=reviewer(), **GIVEN)
    assert admission.admit(these(client), actor=reviewer(), **GIVEN) == 0
    assert AuditEntry.objects.filter(event=Event.CLIENT_ADMITTED).count() == 1


def test_a_suspended_client_is_reinstated_and_not_admitted():
    client = dynamic(admission=Admission.SUSPENDED)
    assert admission.admit(these(client), actor=reviewer(), **GIVEN) == 0
    assert admission.reinstate(these(client), actor=reviewer(), **GIVEN) == 1
    assert admission_of(client) == Admission.ADMITTED


def test_an_admitted_client_is_put_back_to_be_looked_at():
    client = dynamic(admission=Admission.ADMITTED)
    assert admission.quarantine(these(client), actor=reviewer(), **GIVEN) == 1
    assert admission_of(client) == Admission.QUARANTINED


def test_a_program_that_only_a_file_names_is_not_decided_about():
    with pytest.raises(NothingChosen):
        admission.suspend(these(factories.client()), actor=reviewer(), **GIVEN)


def test_an_owner_admits_nobody():
    actor, owner = an_owner()
    client = dynamic(owner=owner)
    with pytest.raises(NothingChosen):
        admission.admit(these(client), actor=actor, **GIVEN)
    assert admission_of(client) == Admission.QUARANTINED


def test_an_owner_suspends_their_own():
    actor, owner = an_owner()
    client = dynamic(owner=owner)
    assert admission.suspend(these(client, dynamic()), actor=actor, **GIVEN) == 1
    assert admission_of(client) == Admission.SUSPENDED


def test_an_outsider_suspends_nothing():
    actor, _ = an_owner()
    client = dynamic()
    with pytest.raises(NothingChosen):
        admission.suspend(these(client), actor=actor, **GIVEN)
    assert admission_of(client) == Admission.QUARANTINED


def test_a_reviewer_leaves_their_own_client_to_another_one():
    actor, owner = an_owner(Role.REVIEWER)
    client, other = dynamic(owner=owner), dynamic()
    with pytest.raises(OwnClient):
        admission.admit(these(client, other), actor=actor, **GIVEN)
    assert admission_of(other) == Admission.QUARANTINED


def test_a_client_that_is_being_removed_is_not_let_in():
    client = dynamic()
    removals.announce_removals(these(client), actor=reviewer(), **GIVEN)
    with pytest.raises(RemovalUnderWay):
        admission.admit(these(client), actor=reviewer(), **GIVEN)


def test_a_registration_token_is_referred_to_where_it_may_be_read(settings: Settings, tmp_path: Path):
    settings.REFERENCE_FOLDERS = (tmp_path,)
    (tmp_path / "token").write_text("unread")
    client = dynamic(registration_uri=f"{ISSUER}/register/abc")
    reference = f"file://{tmp_path}/token"
    assert admission.refer_to_registration(client, reference, actor=reviewer(), reason="kept by the platform team")
    assert McpClient.objects.get(pk=client.pk).registration_reference == reference
    entry = AuditEntry.objects.get(event=Event.CLIENT_REGISTRATION_REFERENCED)
    assert entry.detail["to"] == reference


def test_a_reference_elsewhere_is_refused(settings: Settings, tmp_path: Path):
    settings.REFERENCE_FOLDERS = (tmp_path,)
    client = dynamic(registration_uri=f"{ISSUER}/register/abc")
    with pytest.raises(Refused):
        admission.refer_to_registration(client, "file:///etc/passwd", actor=reviewer(), reason="x")
    assert McpClient.objects.get(pk=client.pk).registration_reference == ""


def test_a_registration_managed_at_another_host_takes_no_token(settings: Settings, tmp_path: Path):
    settings.REFERENCE_FOLDERS = (tmp_path,)
    client = dynamic(registration_uri="https://elsewhere.example/register/abc")
    with pytest.raises(ReferenceMisplaced):
        admission.refer_to_registration(client, f"file://{tmp_path}/token", actor=reviewer(), reason="x")
