"""A newcomer's first hour in a real browser, and that everybody can use the pages."""

import re

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from access.actors import Actor
from access.authentication import one_time_query
from access.models import User
from audit.models import AuditEntry
from inventory.actions.ownership import create_owner
from inventory.models import Connection, Credential, McpClient, McpServer
from inventory.states import OwnerKind
from lifecycle.actions.evaluation import evaluate
from lifecycle.models import Finding
from tests.browser.conftest import ACTOR, unfit

PAGES = [
    "/",
    "/servers/",
    "/clients/",
    "/credentials/",
    "/exposures/",
    "/owners/",
    "/findings/",
    "/findings/?group=severity",
    "/policies/",
    "/rules/",
    "/rules/hard-coded/",
    "/waivers/",
    "/credentials/risk-order/",
    "/schedule/",
    "/notifications/",
    "/account/notifications/",
    "/audit/",
    "/connections/",
    "/search/?q=github",
]


def detail_pages() -> list[str]:
    credential = Credential.objects.filter(name__startswith="github-prod").first()
    finding = Finding.objects.filter(credential=credential, rule="hard-coded").first()
    assert credential is not None
    assert finding is not None
    return [
        f"/credentials/{credential.pk}/",
        f"/credentials/{credential.pk}/dates/",
        f"/credentials/assign-owner/?id={credential.pk}",
        f"/servers/{McpServer.objects.first().pk}/",  # type: ignore[union-attr]
        f"/clients/{McpClient.objects.first().pk}/",  # type: ignore[union-attr]
        f"/connections/{Connection.objects.first().pk}/",  # type: ignore[union-attr]
        f"/findings/{finding.pk}/",
        f"/findings/waive/?id={finding.pk}",
        f"/audit/{AuditEntry.objects.first().seq}/",  # type: ignore[union-attr]
    ]


def test_the_one_time_link_signs_in_once(
    page: Page, live_server, administrator: User, estate: None, complaints: list[str]
) -> None:
    link = f"{live_server.url}/sign-in/?{one_time_query(administrator)}"
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page).to_have_url(f"{live_server.url}/")
    page.context.clear_cookies()
    response = page.goto(link)
    assert response is not None
    assert response.status == 410
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert [complaint for complaint in complaints if "410" not in complaint] == []
    complaints.clear()


def test_from_the_overview_to_a_resolved_finding(signed_in: Page, live_server) -> None:
    create_owner(kind=OwnerKind.PERSON, name="Mira Okafor", email="mira@halden.example", actor=ACTOR)
    page = signed_in
    page.get_by_role("link", name="All findings").click()
    page.get_by_role("link", name="Nobody answers for it").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Nobody answers for it")
    finding = Finding.objects.get(pk=page.url.rstrip("/").rsplit("/", 1)[-1])
    page.get_by_role("link", name=re.compile("Assign owner")).click()
    page.locator("[name=owner]").fill("Mira Okafor")
    page.locator("[name=reason]").fill("She runs the integration.")
    page.get_by_role("button", name=re.compile("Assign")).last.click()
    expect(page.locator(".toasts")).to_contain_text("Mira Okafor")
    evaluate(timezone.now(), actor=Actor.system("tests"))
    page.goto(f"{live_server.url}/findings/{finding.pk}/")
    expect(page.get_by_text("Resolved")).not_to_have_count(0)
    finding.refresh_from_db()
    assert finding.resolved_at is not None
    assert AuditEntry.objects.filter(event="credential.owner_assigned", actor_label="administrator").exists()


def test_the_palette_opens_by_its_button_and_by_its_key_and_finds_a_credential_by_name(
    signed_in: Page, live_server
) -> None:
    palette = signed_in.locator("#palette")
    signed_in.get_by_role("link", name="Find or do").click()
    expect(palette).to_be_visible()
    signed_in.keyboard.press("Escape")
    expect(palette).to_be_hidden()
    signed_in.keyboard.press("/")
    expect(palette).to_be_visible()
    signed_in.keyboard.type("github")
    expect(palette.get_by_role("option", name=re.compile("github-prod")).first).to_be_visible()
    signed_in.get_by_role("option").filter(has_text="github-prod / GITHUB").first.wait_for()
    signed_in.keyboard.press("Enter")
    signed_in.wait_for_url(re.compile("/credentials/|/servers/"))


@pytest.mark.long
def test_every_page_is_accessible_in_both_themes_and_never_scrolls_sideways(signed_in: Page, live_server, axe) -> None:
    assert unfit(signed_in, axe, *(live_server.url + path for path in [*PAGES, *detail_pages()])) == {}


def test_pages_can_be_read_and_decided_on_without_script(
    chromium: Browser, live_server, administrator: User, estate: None
) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{live_server.url}/sign-in/?{one_time_query(administrator)}")
    page.get_by_role("button", name="Sign in").click()
    for path in [*PAGES, *detail_pages()]:
        response = page.goto(live_server.url + path)
        assert response is not None
        assert response.ok, path
        assert page.locator("h1").inner_text()
    finding = Finding.objects.filter(rule="hard-coded").first()
    assert finding is not None
    page.goto(f"{live_server.url}/findings/{finding.pk}/")
    page.get_by_role("button", name="Acknowledge").click()
    finding.refresh_from_db()
    assert finding.state == "acknowledged"
    context.close()


def test_keys_move_pick_and_open(signed_in: Page, live_server) -> None:
    page = signed_in
    page.goto(f"{live_server.url}/credentials/")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator(".pick:checked")).to_have_count(2)
    expect(page.locator(".bulk")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".pick:checked")).to_have_count(0)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/credentials/[0-9a-f-]{36}/"))


def test_sorting_swaps_the_list_and_keeps_the_address(signed_in: Page, live_server) -> None:
    page = signed_in
    page.goto(f"{live_server.url}/credentials/")
    page.get_by_role("link", name="Credential", exact=True).click()
    page.wait_for_url(re.compile("sort=name"))
    names = page.locator("tbody .name").all_inner_texts()
    assert names == sorted(names)
    page.go_back()
    page.wait_for_url(re.compile(r"/credentials/$"))
    page.wait_for_load_state("networkidle")  # what the way back asks for is answered while there is a database
