"""The live estate in the browser: real servers asked through a form, what they answered read, and a grant decided."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import Group
from django.db import connections
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django import Settings

from access.actors import Actor
from access.authentication import one_time_query
from access.models import User
from inventory.engine import sync
from inventory.models import Connection, Grant, McpServer
from lifecycle.actions.evaluation import evaluate
from tests import factories
from tests.browser.conftest import unfit
from tests.demo_servers import DemoServers

WORKER = Actor.system("worker")


@pytest.fixture
def at_work(page: Page, live_server, settings: Settings, transactional_db: None) -> Page:
    """Somebody who runs connections and reviews grants, on a Keyreeve that may reach this machine."""
    settings.ALLOW_LOOPBACK = True
    user = User.objects.create_user("operator", "operator@example.org")
    user.groups.set(Group.objects.filter(name__in=["operator", "reviewer"]))
    page.goto(f"{live_server.url}/sign-in/?{one_time_query(user)}")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{live_server.url}/")
    return page


def asked(page: Page, root: str, *addresses: str) -> Connection:
    """A connection to these addresses, made by the form and looked at once, as a worker does."""
    page.goto(f"{root}/connections/new/mcp_server/")
    page.get_by_label("Addresses").fill("\n".join(addresses))
    page.get_by_label("Name", exact=True).fill("Live servers")
    page.get_by_role("button", name="Add and look").click()
    expect(page.get_by_text("Waiting for a worker.")).to_be_visible()
    connection = Connection.objects.get(name="Live servers")
    with ThreadPoolExecutor(1) as worker:  # Playwright keeps a loop in this thread, and a sync runs one of its own
        worker.submit(work, connection.pk).result()
    return connection


def work(pk: UUID) -> None:
    try:
        sync(pk, clock=timezone.now, actor=WORKER)
        evaluate(timezone.now(), actor=WORKER, full=True)
    finally:
        connections.close_all()


@pytest.mark.long
def test_servers_are_asked_by_a_form_judged_and_their_tools_granted(
    at_work: Page, live_server, demo_servers: DemoServers
) -> None:
    asked(at_work, live_server.url, demo_servers.url("notes"), demo_servers.url("payroll"))
    expect(at_work.get_by_text("Complete", exact=True).first).to_be_visible()  # without a reload

    at_work.goto(f"{live_server.url}/servers/")
    at_work.get_by_role("row").filter(has_text="anonymous").get_by_role("link").first.click()
    expect(at_work.locator("#findings")).to_contain_text("Answers anybody, and lists its tools")
    expect(at_work.locator("#MCP-RS-01")).to_contain_text("Violated")
    expect(at_work.locator("#tools")).to_contain_text("delete_all_notes")
    at_work.get_by_role("navigation", name="On this page").get_by_role("link", name="Tools").press("Enter")
    assert at_work.url.endswith("#tools")

    server = McpServer.objects.get(authentication="anonymous")
    client = factories.client(name="Cursor", host="laptop-1")
    factories.use(None, client=client, server=server)
    at_work.goto(f"{live_server.url}/grants/?server={server.pk}")
    at_work.get_by_role("link", name="Draft from what is observed…").click()
    at_work.get_by_role("dialog").get_by_role("button", name="Draft").click()
    expect(at_work.get_by_text("1 grant drafted.")).to_be_visible()
    at_work.goto(f"{live_server.url}/grants/{client.pk}/{server.pk}/")
    at_work.get_by_role("link", name="Approve…").click()
    dialog = at_work.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("They take notes.")
    dialog.get_by_role("button", name="Approve 1 grant").click()
    expect(at_work.get_by_text("1 grant approved until")).to_be_visible()
    assert Grant.objects.get().tools == ["delete_all_notes", "search_notes", "write_note"]


@pytest.mark.long
def test_its_pages_are_accessible_in_both_themes_and_never_scroll_sideways(
    at_work: Page, live_server, demo_servers: DemoServers, axe: Axe
) -> None:
    connection = asked(at_work, live_server.url, demo_servers.url("notes"), demo_servers.url("payroll"))
    issuer = McpServer.objects.exclude(authorization_server=None).get().authorization_server_id
    factories.client(name="Cursor", host="", client_id="a" * 60, admission="quarantined", registration="dynamic")
    paths = [
        "/",
        "/servers/",
        *(f"/servers/{pk}/" for pk in McpServer.objects.values_list("pk", flat=True)),
        "/authorization-servers/",
        f"/authorization-servers/{issuer}/",
        "/clients/",
        "/clients/admission/",
        "/clients/hygiene/",
        "/clients/registration/",
        f"/connections/{connection.pk}/",
        "/search/?q=notes",
    ]
    assert unfit(at_work, axe, *(live_server.url + path for path in paths)) == {}


def test_a_page_that_fills_itself_takes_the_focus_from_nobody(
    at_work: Page, live_server, demo_servers: DemoServers
) -> None:
    connection = asked(at_work, live_server.url, demo_servers.url("notes"))
    at_work.goto(f"{live_server.url}/connections/{connection.pk}/")
    expect(at_work.get_by_text("No open finding.")).to_be_visible()
    assert at_work.evaluate("document.activeElement === document.body")
