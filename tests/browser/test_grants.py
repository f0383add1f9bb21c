"""Grants in the browser: what is drafted is looked at, approved in a dialog, and readable to everybody."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import Group
from playwright.sync_api import Page, expect

from access.authentication import one_time_query
from access.models import User
from inventory.models import Grant
from inventory.states import TrustModel
from tests import factories
from tests.browser.conftest import unfit


@pytest.fixture
def reviewer(transactional_db: None) -> User:
    user = User.objects.create_user("reviewer", "reviewer@example.org")
    user.groups.add(Group.objects.get(name="reviewer"))
    return user


@pytest.fixture
def drafted(reviewer: User) -> Grant:
    """A client with a consented token and a static key on one server, and the draft of what it may do there."""
    server = factories.server(name="github-prod", url="https://github.example.org/mcp", transport="http")
    factories.tool(server, "search", is_read_only=True, description="Finds code.")
    factories.tool(server, "delete_branch", is_destructive=True, approved_digest="0" * 64)
    client = factories.client(name="Cursor", host="laptop-1")
    token = factories.credential(trust_model=TrustModel.USER_CONSENTED, subject="Mira", scopes=["read", "admin"])
    factories.use(token, client=client, server=server, held_as="token_store")
    factories.use(factories.credential(issuer="github"), client=client, server=server)
    factories.use(factories.credential(), client=factories.client(name="VS Code"), server=server)
    return factories.grant(client, server, is_approved=False, tools=["search"], scopes=["read"])


@pytest.fixture
def at_work(page: Page, live_server, reviewer: User, drafted: Grant) -> Page:
    page.goto(f"{live_server.url}/sign-in/?{one_time_query(reviewer)}")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{live_server.url}/")
    return page


def test_a_draft_is_found_in_the_matrix_and_approved_in_a_dialog(at_work: Page, live_server, drafted: Grant):
    at_work.goto(f"{live_server.url}/grants/")
    at_work.get_by_role("link", name="Cursor on github-prod: draft").click()
    at_work.get_by_role("link", name="Approve…").click()
    dialog = at_work.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("needed for releases")
    dialog.get_by_role("button", name="Approve 1 grant").click()
    expect(at_work.get_by_text("1 grant approved until")).to_be_visible()
    expect(at_work.get_by_text("The session carries admin, which nobody granted.")).to_be_visible()
    drafted.refresh_from_db()
    assert drafted.approved_by == str(User.objects.get(username="reviewer"))


@pytest.mark.long
def test_its_pages_are_accessible_in_both_themes_and_never_scroll_sideways(at_work: Page, drafted: Grant, axe: Axe):
    client, server = drafted.client_id, drafted.server_id
    paths = ("/grants/", "/grants/list/", f"/grants/{client}/{server}/", f"/servers/{server}/", f"/clients/{client}/")
    root = at_work.url.rstrip("/")
    assert unfit(at_work, axe, *(root + path for path in paths), at=(390, 1440)) == {}
