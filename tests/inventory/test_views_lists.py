"""The lists of the inventory: who sees what, what a row says, and what it costs."""

import csv
from datetime import timedelta
from io import StringIO
from uuid import UUID

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from access.roles import Role
from inventory.models import McpServer, PostureCheck, SyncRun
from inventory.states import RunState, Severity
from tests import factories
from tests.factories import NOW
from tests.people import HTMX, browser, owners_browser, text

pytestmark = pytest.mark.django_db

LISTS = ["/servers/", "/clients/", "/exposures/", "/owners/", "/connections/", "/audit/"]
MOST_QUERIES = 12


def estate(rows: int) -> None:
    """As many of every noun, each with owner, environment, use and exposure."""
    place = factories.connection()
    for _ in range(rows):
        holder = factories.owner()
        credential = factories.credential(connection=place, owner=holder, environment=factories.environment())
        server = factories.server(
            connection=place, iam_owner=holder, environment=factories.environment(), risk=Severity.HIGH, open_findings=2
        )
        client = factories.client(connection=place, owner=holder)
        factories.use(credential, server=server, client=client)
        factories.exposure(credential)
        factories.connection()


@pytest.mark.parametrize("path", LISTS)
def test_the_unknown_are_sent_to_sign_in(path):
    answer = Client().get(path)
    assert answer.status_code == 302
    assert "/login/" in answer.headers["Location"]


@pytest.mark.parametrize("path", LISTS)
def test_a_person_without_a_role_is_refused(path):
    assert browser().get(path).status_code == 403


@pytest.mark.parametrize("path", [path for path in LISTS if path != "/audit/"])
def test_an_empty_list_says_why_and_what_to_do(path):
    page = text(browser(Role.ADMINISTRATOR).get(path))
    assert 'class="empty"' in page
    assert "btn primary" in page


@pytest.mark.parametrize("path", ["/servers/", "/clients/", "/connections/"])
def test_an_empty_list_leads_nobody_to_what_they_may_not_do(path):
    own, _me = owners_browser()
    for reader in (own, browser(Role.AUDITOR)):
        page = text(reader.get(path))
        assert 'class="empty"' in page
        assert "/connections/new/" not in page


@pytest.mark.parametrize("path", LISTS)
def test_a_list_answers_htmx_with_its_table_only(path):
    fragment = text(browser(Role.AUDITOR).get(path, headers=HTMX))
    assert fragment.startswith('<div class="list"')


@pytest.mark.parametrize("path", LISTS)
def test_a_list_costs_the_same_for_many_rows_and_stays_within_its_queries(path):
    estate(2)
    few = browser(Role.ADMINISTRATOR)
    with CaptureQueriesContext(database) as for_few:
        assert few.get(path).status_code == 200
    estate(60)
    with CaptureQueriesContext(database) as for_many:
        assert few.get(path).status_code == 200
    assert len(for_many) <= len(for_few) + 1  # the place of the next page
    assert len(for_many) <= MOST_QUERIES


@pytest.mark.parametrize("path", LISTS)
def test_a_list_can_be_had_as_csv(path):
    estate(1)
    answer = browser(Role.AUDITOR).get(path, {"format": "csv"})
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert list(csv.DictReader(StringIO(text(answer)))) or path == "/audit/"


def test_a_server_row_names_what_runs_and_who_is_missing():
    owner = factories.owner(name="Mira Okafor")
    factories.server(name="github", package="@acme/server", is_pinned=False, iam_owner=owner, platform_owner=owner)
    page = text(browser(Role.AUDITOR).get("/servers/"))
    assert "floating" in page
    assert "IAM owner Mira Okafor" in page
    assert "Application owner nobody" in page


def test_a_server_row_counts_the_clients_that_use_it_now():
    server, client = factories.server(), factories.client()
    factories.use(None, server=server, client=client)
    factories.use(factories.credential(), server=server, client=client)
    factories.use(None, server=server, gone_at=NOW, last_seen_at=NOW)
    rows = list(csv.DictReader(StringIO(text(browser(Role.AUDITOR).get("/servers/?format=csv")))))
    assert {row["id"]: row["clients"] for row in rows}[str(server.pk)] == "1"


@pytest.mark.parametrize(("path", "make"), [("/servers/", factories.server), ("/clients/", factories.client)])
def test_what_is_gone_is_out_of_the_way_and_struck_through_when_asked_for(path, make):
    make(name="here-now")
    make(name="left-long-ago", gone_at=NOW, last_seen_at=NOW)
    auditor = browser(Role.AUDITOR)
    assert "left-long-ago" not in text(auditor.get(path))
    page = text(auditor.get(path, {"gone": "true"}))
    assert "left-long-ago" in page
    assert 'class="ended"' in page
    assert "here-now" not in page


def test_the_page_of_exposures_begins_with_those_still_present():
    credential = factories.credential()
    factories.exposure(credential, file="/home/a/present.json")
    factories.exposure(credential, file="/home/a/mended.json", gone_at=NOW, last_seen_at=NOW)
    auditor = browser(Role.AUDITOR)
    assert "mended.json" not in text(auditor.get("/exposures/"))
    assert "mended.json" in text(auditor.get("/exposures/?gone=true"))


def test_an_owner_sees_only_what_they_answer_for():
    own, me = owners_browser()
    mine = factories.credential(name="my-own", owner=me)
    other = factories.credential(name="somebody-elses", owner=factories.owner())
    for credential in (mine, other):
        factories.exposure(credential, file=f"/home/{credential.name}.json")
    factories.server(name="my-server", platform_owner=me)
    factories.server(name="foreign-server")
    factories.client(name="my-client", owner=me)
    factories.client(name="foreign-client")
    seen = "".join(text(own.get(path)) for path in LISTS)
    assert all(name in seen for name in ("my-own", "my-server", "my-client"))
    assert not any(name in seen for name in ("somebody-elses", "foreign-server", "foreign-client"))


def test_rows_of_large_tables_are_never_offered_in_a_menu():
    factories.client(name="a-client-among-a-million")
    page = text(browser(Role.AUDITOR).get("/servers/"))
    assert "a-client-among-a-million" not in page


def test_a_list_is_narrowed_by_a_row_through_its_link():
    client, server = factories.client(name="planner"), factories.server(name="reached")
    factories.server(name="not-reached")
    factories.use(None, client=client, server=server)
    page = text(browser(Role.AUDITOR).get("/servers/", {"client": str(client.pk)}))
    assert "planner" in page  # as the chip
    assert "not-reached" not in page


def test_a_connection_row_says_how_the_last_run_went():
    place = factories.connection(name="hal-0221")
    for number, (state, days) in enumerate([(RunState.COMPLETE, 2), (RunState.PARTIAL, 1)]):
        SyncRun.objects.create(
            id=UUID(int=number),  # keys of one millisecond come in any order
            connection=place,
            state=state,
            requested_by="test",
            started_at=NOW - timedelta(days=days),
            finished_at=NOW - timedelta(days=days),
            counts={"credentials_added": 3, "servers_gone": 1},
            problems=[{"file": "/x", "line": 4, "reason": "A comma is missing."}],
        )
    page = text(browser(Role.AUDITOR).get("/connections/?col=name&col=state&col=changes&col=problems"))
    assert "Partial" in page
    assert "3 credentials added, 1 server gone" in page


def test_names_are_shown_and_never_run():
    factories.client(name="<script>alert(1)</script> 客户端", host="ﷺ" * 60)
    page = text(browser(Role.AUDITOR).get("/clients/"))
    assert "<script>alert" not in page
    assert "客户端" in page


def test_only_those_who_may_act_are_offered_to():
    factories.server()
    assert "assign-owner" not in text(browser(Role.AUDITOR).get("/servers/"))
    assert "assign-owner" in text(browser(Role.REVIEWER).get("/servers/"))
    assert "classify" not in text(browser(Role.REVIEWER).get("/servers/"))
    assert "classify" in text(browser(Role.OPERATOR).get("/servers/"))


@pytest.mark.parametrize("key", ["zz", "%00", "9" * 50])
@pytest.mark.parametrize("path", ["/servers/", "/clients/", "/credentials/", "/exposures/"])
def test_a_list_asked_for_by_what_is_no_key_says_so(path, key):
    answer = browser(Role.AUDITOR).get(f"{path}?owner={key}")
    assert answer.status_code == 400
    assert "Start at the first page" in text(answer)


def judged(server: McpServer, **verdicts: str) -> None:
    for number, verdict in verdicts.items():
        severity = Severity.HIGH if verdict == "violated" else Severity.NONE
        PostureCheck.objects.create(
            server=server, check_id=f"MCP-RS-{number}", verdict=verdict, severity=severity, checked_at=NOW
        )


def test_a_server_shows_its_posture_at_a_glance():
    judged(factories.server(url="https://mcp.example/mcp"), a="violated", b="violated", c="unknown", d="met")
    page = text(browser(Role.AUDITOR).get("/servers/"))
    assert "2 violated, 1 unknown, 1 met" in page


def test_a_server_that_was_never_asked_says_so():
    factories.server(url="https://mcp.example/mcp")
    assert "not probed" in text(browser(Role.AUDITOR).get("/servers/"))


@pytest.mark.parametrize(("asked", "found"), [("violated", "bad"), ("met", "good"), ("unjudged", "unseen")])
def test_servers_are_found_by_what_a_check_said(asked: str, found: str):
    judged(factories.server(name="bad"), a="violated")
    judged(factories.server(name="good"), a="met")
    factories.server(name="unseen")
    page = text(browser(Role.AUDITOR).get(f"/servers/?posture={asked}"))
    assert [name for name in ("bad", "good", "unseen") if f">{name}</a>" in page] == [found]


def test_anonymous_servers_have_a_tab():
    factories.server(name="open to all", authentication="anonymous")
    factories.server(name="behind a door", authentication="oauth")
    page = text(browser(Role.AUDITOR).get("/servers/?authentication=anonymous"))
    assert "open to all" in page
    assert "behind a door" not in page
