"""One client and one owner: what their pages say."""

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from inventory.actions.asking import sweep
from inventory.actions.removals import announce_removals
from inventory.actions.terms import Terms
from inventory.models import McpServer, OwnershipQuestion
from inventory.states import Storage
from tests import factories
from tests.inventory.test_admission import dynamic, these
from tests.people import browser, owners_browser, text

pytestmark = pytest.mark.django_db


# ── Clients ──


def test_a_client_shows_what_it_reaches_and_its_exposures():
    client, server = factories.client(name="Cursor"), factories.server(name="github-prod")
    credential = factories.credential(name="deploy token", hint="ghp_…9f2c")
    factories.use(credential, client=client, server=server, connection=client.connection, file="/home/a/mcp.json")
    factories.exposure(credential, connection=client.connection, file="/home/a/mcp.json", pointer="/env/TOKEN")
    page = text(browser(Role.AUDITOR).get(f"/clients/{client.pk}/"))
    for words in ("github-prod", "deploy token", "ghp_…9f2c", Storage.LITERAL.label, "1 literal secret", "/env/TOKEN"):
        assert words in page


def test_a_client_shows_exposures_of_its_own_files_only():
    client = factories.client()
    factories.use(None, client=client, connection=client.connection, file="/home/a/mcp.json")
    factories.exposure(factories.credential(), connection=client.connection, file="/home/b/mcp.json")
    assert "/home/b/mcp.json" not in text(browser(Role.AUDITOR).get(f"/clients/{client.pk}/"))


def test_an_owner_reads_of_foreign_credentials_only_that_they_are_foreign():
    own, me = owners_browser()
    client = factories.client(owner=me)
    factories.use(factories.credential(name="foreign-key"), client=client, server=factories.server(name="shared"))
    page = text(own.get(f"/clients/{client.pk}/"))
    assert "foreign-key" not in page
    assert "shared" in page
    assert f"/servers/{McpServer.objects.get(name='shared').pk}/" not in page


def test_a_client_of_somebody_else_does_not_exist_for_an_owner():
    own, _me = owners_browser()
    assert own.get(f"/clients/{factories.client().pk}/").status_code == 404


def test_a_client_page_costs_the_same_for_many_uses():
    client = factories.client()
    auditor = browser(Role.AUDITOR)
    costs = []
    for number in (1, 40):
        for _ in range(number):
            factories.exposure(factories.credential(), connection=client.connection, file="/home/a/mcp.json")
            factories.use(factories.credential(), client=client, connection=client.connection, file="/home/a/mcp.json")
        with CaptureQueriesContext(database) as queries:
            auditor.get(f"/clients/{client.pk}/")
        costs.append(len(queries))
    assert costs[0] == costs[1] <= 12


# ── Owners ──


def test_an_owner_page_names_what_they_answer_for():
    owner = factories.owner(name="Stefan Brandt")
    factories.credential(name="old key", owner=owner)
    factories.server(name="billing", iam_owner=owner, application_owner=owner)
    factories.client(name="Codex", owner=owner)
    page = text(browser(Role.AUDITOR).get(f"/owners/{owner.pk}/"))
    for words in ("old key", "billing", "IAM, application", "Codex"):
        assert words in page


def test_somebody_who_left_with_things_in_their_name_is_a_matter():
    owner = factories.owner(name="Stefan Brandt", is_active=False)
    factories.credential(owner=owner)
    page = text(browser(Role.AUDITOR).get(f"/owners/{owner.pk}/"))
    assert "has left and still answers for 1 credential" in page


def test_an_owner_page_stays_within_its_queries():
    owner, now = factories.owner(), timezone.now()
    for _ in range(12):
        factories.credential(owner=owner)
        factories.server(iam_owner=owner)
        factories.client(owner=owner)
    leaving = dynamic(name="on the way out", owner=owner)
    announce_removals(these(leaving), actor=Actor.system("tests"), now=now, reason="nobody claims it")
    sweep(now=now, terms=Terms())
    reviewer = browser(Role.REVIEWER)
    with CaptureQueriesContext(database) as queries:
        page = text(reviewer.get(f"/owners/{owner.pk}/"))
    assert "on the way out" in page
    assert f"/ownership/{OwnershipQuestion.objects.get().pk}/" in page
    assert ">All 12<" in page
    assert len(queries) <= 12


def test_a_reviewer_says_that_an_owner_has_left():
    owner = factories.owner()
    answer = browser(Role.REVIEWER).post(f"/owners/{owner.pk}/active/", {"is_active": "false"}, follow=True)
    owner.refresh_from_db()
    assert not owner.is_active
    assert "is inactive" in text(answer)
    assert AuditEntry.objects.first().event == Event.OWNER_CHANGED


def test_an_auditor_may_not_say_that_an_owner_has_left():
    owner = factories.owner()
    assert browser(Role.AUDITOR).post(f"/owners/{owner.pk}/active/", {"is_active": "false"}).status_code == 403


def test_an_owner_is_created_with_an_audit_entry():
    form = {"decided": "yes", "kind": "team", "name": "Payments", "email": "pay@halden.example"}
    answer = browser(Role.REVIEWER).post("/owners/new/", form, follow=True)
    assert answer.redirect_chain[0][0].startswith("/owners/")
    assert "Payments" in text(answer)
    assert AuditEntry.objects.first().event == Event.OWNER_CREATED


def test_a_second_owner_with_an_address_is_refused_and_what_was_typed_stays():
    factories.owner(email="pay@halden.example")
    form = {"decided": "yes", "kind": "team", "name": "Payments", "email": "PAY@halden.example"}
    answer = browser(Role.REVIEWER).post("/owners/new/", form)
    assert answer.status_code == 422
    assert "Another owner has this e-mail address." in text(answer)
    assert 'value="Payments"' in text(answer)
