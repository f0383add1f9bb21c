"""What the pages of findings show of each kind of subject, and answer to addresses and forms that make no sense."""

import uuid
from datetime import timedelta
from typing import Any

import pytest

from access.roles import Role
from inventory.models import Connection, McpClient
from inventory.states import Hygiene, Registration
from lifecycle.models import Finding
from lifecycle.views import credentials
from tests import factories
from tests.factories import NOW
from tests.people import browser, owners_browser, text

pytestmark = pytest.mark.django_db


def client(**values: Any) -> McpClient:
    return factories.client(**{"registration": Registration.DYNAMIC, "hygiene": Hygiene.LIVE, **values})


def late_connection(**values: Any) -> Connection:
    return factories.connection(created_at=NOW - timedelta(days=9), **values)


def test_acknowledging_what_is_no_finding_leads_back_to_the_list() -> None:
    answer = browser(Role.REVIEWER).post("/findings/acknowledge/", {"id": "x", "from": "detail"})
    assert answer.status_code == 302
    assert answer["Location"] == "/findings/"


def test_a_finding_of_a_client_leads_to_the_client_and_its_owner_is_assigned_there(full: Any) -> None:
    mine = client()
    full()
    page = text(browser(Role.REVIEWER).get(f"/findings/{Finding.objects.get(client=mine).pk}/"))
    assert f'href="/clients/{mine.pk}/"' in page
    assert f"/clients/assign-owner/?id={mine.pk}" in page


def test_a_finding_of_a_connection_leads_to_the_connection_and_names_no_owner(full: Any) -> None:
    mine = late_connection()
    full()
    page = text(browser(Role.AUDITOR).get(f"/findings/{Finding.objects.get(connection=mine).pk}/"))
    assert f'href="/connections/{mine.pk}/"' in page
    assert "Open the connection" in page


def test_a_client_shows_its_open_findings(full: Any) -> None:
    mine = client()
    full()
    page = text(browser(Role.AUDITOR).get(f"/clients/{mine.pk}/"))
    assert f"/findings/{Finding.objects.get(client=mine).pk}/" in page


def test_a_connection_asks_for_its_findings_and_leads_to_them_without_script(full: Any) -> None:
    mine = late_connection()
    full()
    auditor = browser(Role.AUDITOR)
    address = f"/findings/about/connection/{mine.pk}/"
    assert address in text(auditor.get(f"/connections/{mine.pk}/"))
    assert "Connection not synced" in text(auditor.get(address, headers={"HX-Request": "true"}))
    assert auditor.get(address)["Location"] == f"/findings/?unresolved=true&connection={mine.pk}"


@pytest.mark.parametrize("kind", ["rule", "resolved", "subject"])
def test_findings_are_about_the_four_kinds_of_subjects_alone(kind: str) -> None:
    address = f"/findings/about/{kind}/{uuid.uuid4()}/"
    assert browser(Role.AUDITOR).get(address, headers={"HX-Request": "true"}).status_code == 404


@pytest.mark.parametrize("subject", ["client", "connection"])
def test_the_list_narrows_to_a_kind_of_subject_and_to_one(full: Any, subject: str) -> None:
    late = late_connection(name="The late one")
    mine = client(name="The ownerless one", connection=late)
    full()
    wanted = {"client": mine, "connection": late}
    other = ({"client", "connection"} - {subject}).pop()
    auditor = browser(Role.AUDITOR)
    for narrowed in (f"subject={subject}", f"{subject}={wanted[subject].pk}"):
        page = text(auditor.get(f"/findings/?unresolved=true&{narrowed}"))
        assert wanted[subject].name in page
        assert wanted[other].name not in page


def test_an_owner_sees_the_findings_of_their_clients_and_of_no_connection(full: Any) -> None:
    person, owner = owners_browser()
    late_connection(name="The late one")
    client(name="Mine", owner=owner, hygiene=Hygiene.DEAD)
    client(name="Another's")
    full()
    page = text(person.get("/findings/?unresolved=true"))
    assert "Mine" in page
    assert "The late one" not in page
    assert "Another's" not in page


def test_the_list_of_an_owner_holds_what_they_answer_for_of_every_kind(full: Any) -> None:
    owner = factories.owner()
    client(name="The dead one", owner=owner, hygiene=Hygiene.DEAD)
    client(name="Another's", hygiene=Hygiene.DEAD)
    full()
    Finding.objects.filter(client__owner=owner).update(owner=owner)
    page = text(browser(Role.AUDITOR).get(f"/findings/?unresolved=true&owner={owner.pk}"))
    assert "The dead one" in page
    assert "Another's" not in page


def test_the_interface_names_the_subject_of_each_finding(full: Any) -> None:
    mine = client()
    full()
    (said,) = browser(Role.AUDITOR).get(f"/api/v1/findings/?client={mine.pk}").json()["results"]
    assert said["client"]["id"] == str(mine.pk)
    assert (said["credential"], said["server"], said["connection"]) == (None, None, None)


def test_a_finding_about_ungranted_tools_leads_to_the_grants_of_its_server(full: Any) -> None:
    server = factories.server(transport="http", url="https://mcp.example/mcp", tools_listed_at=NOW, probed_at=NOW)
    factories.tool(server, "search")
    factories.use(None, client=factories.client(), server=server)
    full()
    found = Finding.objects.get(server=server, rule="tool-surface-ungranted")
    page = text(browser(Role.REVIEWER).get(f"/findings/{found.pk}/"))
    assert f"/grants/?server={server.pk}" in page
    assert "See its grants" in page


def test_what_was_resolved_long_ago_hides_nothing_that_is_open(full: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "MOST", 1)
    server = factories.server()
    full()
    kept, *others = Finding.objects.filter(server=server)
    Finding.objects.filter(pk__in=[other.pk for other in others]).update(
        state="resolved", resolved_at=NOW, resolution="met"
    )
    page = text(browser(Role.AUDITOR).get(f"/servers/{server.pk}/"))
    assert 'Findings <span class="count">1</span>' in page
    assert f"/findings/{kept.pk}/" in page
