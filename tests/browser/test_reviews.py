"""Access reviews in the browser: two hundred items from the keyboard, one at a time, and without script."""

from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import BrowserContext, Locator, Page, expect

from access.authentication import one_time_query
from access.models import User
from inventory.models import Credential
from reviews.actions.decisions import decide
from reviews.models import Decision, ReviewItem
from reviews.states import What
from tests import factories
from tests.browser.conftest import Complaints, unfit
from tests.reviews.company import Company, Somebody

KEYS = {What.KEEP: "1", What.ROTATE: "2", What.REVOKE: "3"}
ALL = 200
PATIENCE = 60_000  # milliseconds, on a machine that is busy with other tests


@pytest.fixture
def company(transactional_db: None) -> Company:
    company = Company(now=timezone.now())
    company.place.last_complete_at = company.now
    company.place.save()
    return company


def hold(company: Company, number: int) -> None:
    """So many keys: most are in use and in order, some were never used, some lie open, of some nobody knows the use."""
    used = {"last_used_at": company.now, "issued_at": company.now - timedelta(days=9), "first_seen_at": company.now}
    old = {"last_used_at": company.now - timedelta(days=200), "issued_at": company.now - timedelta(days=300)}
    for n in range(number):
        kind = "oauth_client_secret" if n % 3 == 0 else "api_key"
        held = company.credential(name=f"service-{n:03} key", kind=kind, **(old if n % 5 == 0 else used))
        if n % 10 == 1:
            factories.exposure(held)


def sign_in(page: Page, root: str, who: Somebody) -> Page:
    page.goto(f"{root}/sign-in/?{one_time_query(User.objects.get(pk=who.actor.id))}")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{root}/")
    return page


@pytest.fixture
def mira(page: Page, live_server, company: Company) -> Page:
    return sign_in(page, live_server.url, company.mira)


def cursor(page: Page) -> Locator:
    return page.locator("[data-row].cursor")


def progress(page: Page) -> Locator:
    return page.locator("#sitting-progress")


def sits(page: Page, text: str) -> None:
    """Until the table shows this progress, and listens to keys."""
    expect(progress(page)).to_contain_text(text, timeout=PATIENCE)
    page.wait_for_load_state("load")


def open_queue(page: Page) -> None:
    """From anywhere to the table of the campaign that waits, by keys alone."""
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.get_by_role("heading", level=1)).to_have_text("My reviews")
    page.wait_for_load_state("load")
    page.keyboard.press("j")
    page.keyboard.press("Enter")


def on_this_page(page: Page) -> list[tuple[str, What]]:
    """The items from the cursor down, each with what is recommended."""
    rows = page.locator("[data-row]").evaluate_all(
        "rows => rows.slice(rows.findIndex(row => row.matches('.cursor')))"
        ".map(row => [row.querySelector('.name').textContent, row.querySelector('.advice b').textContent])"
    )
    return [(name, What(said.lower())) for name, said in rows]


def decided() -> dict[str, str]:
    return dict(Decision.objects.current().values_list("item__name", "what"))


@pytest.mark.long
def test_two_hundred_items_are_decided_from_the_keyboard(mira: Page, company: Company, complaints: Complaints):
    hold(company, ALL)
    campaign = company.launch()
    press = mira.keyboard.press
    open_queue(mira)
    sits(mira, "200 to decide")
    expected: dict[str, str] = {}

    # What is recommended takes one key each. Typed faster than the server answers, each still meets its own row.
    press("j")
    for name, what in on_this_page(mira):
        expected[name] = what
        press(KEYS[what])
    sits(mira, "180 to decide")
    expect(mira.locator("[data-row]").first).to_contain_class("cursor")  # of the next page, which came by itself
    assert decided() == expected

    # Another decision is asked why, in a dialog that does not take an empty answer.
    name, what = on_this_page(mira)[0]
    press(KEYS[What.ROTATE if what is not What.ROTATE else What.REVOKE])
    dialog = mira.get_by_role("dialog")
    expect(dialog.get_by_label("Reason")).to_be_focused()
    press("Enter")
    expect(dialog.get_by_role("alert")).to_be_focused()
    assert "422" in complaints.pop()
    press("Tab")
    press("Enter")  # from what is said to be missing to the field
    expect(dialog.get_by_label("Reason")).to_be_focused()
    mira.keyboard.type("It was seen in a chat.")
    press("Enter")
    expect(progress(mira)).to_contain_text("179 to decide")
    expect(dialog).to_have_count(0)

    # The last one is taken back from wherever one is, and decided as recommended.
    press("u")
    expect(progress(mira)).to_contain_text("180 to decide")
    expect(cursor(mira)).to_contain_text(name)
    press(KEYS[what])
    expect(progress(mira)).to_contain_text("179 to decide")
    expected[name] = what
    assert decided() == expected

    # Those that are alike are decided in one go, a page at a time, with one reason.
    while left := ALL - len(expected):
        what = on_this_page(mira)[0][1]
        press("a")
        mira.wait_for_url("**alike=**", wait_until="load")
        press("j")
        alike = dict(on_this_page(mira))
        assert set(alike.values()) == {what}
        press("*")
        press(KEYS[what])
        mira.get_by_label("Reason").wait_for()
        mira.keyboard.type("Seen in the traffic of this week.")
        press("Enter")
        left -= len(alike)
        sits(mira, f"{left} to decide")
        expected |= alike
        assert decided() == expected
        press("j")

    expect(mira.get_by_role("heading", name="Nothing is left for you to decide")).to_be_visible()
    press("S")
    expect(mira.get_by_role("dialog")).to_contain_text("Submit 200 decisions")
    press("Tab")  # the way out has the focus first: what is submitted is not taken back
    press("Enter")
    expect(mira.get_by_text("200 decisions submitted")).to_be_visible(timeout=PATIENCE)
    assert decided() == expected
    assert not Decision.objects.current().filter(campaign=campaign, submitted_at=None).exists()


def test_one_item_after_the_other_is_decided_on_its_own_page(mira: Page, live_server, company: Company):
    hold(company, 3)
    campaign = company.launch()
    first, second, third = ReviewItem.objects.filter(campaign=campaign).order_by("pk")
    press = mira.keyboard.press

    def at(row: ReviewItem) -> None:
        mira.wait_for_url(f"**/reviews/items/{row.pk}/", wait_until="load")

    mira.goto(f"{live_server.url}/reviews/items/{first.pk}/")
    press("j")
    at(second)
    press("k")
    at(first)
    press("Enter")  # as recommended
    at(second)
    press("n")
    mira.keyboard.type("It leaked.")
    press("Escape")  # out of the field
    press("2" if second.recommendation != What.ROTATE else "3")
    at(third)
    press("3" if third.recommendation != What.REVOKE else "2")  # against the recommendation, and without a word
    mira.get_by_label("Reason").wait_for()
    mira.keyboard.type("Nobody knows it.")
    press("Enter")
    expect(mira.get_by_role("heading", name="Nothing is left for you to decide")).to_be_visible()
    said = Decision.objects.current().order_by("item").values_list("item", "reason")
    assert list(said) == [(first.pk, ""), (second.pk, "It leaked."), (third.pk, "Nobody knows it.")]


def test_the_same_table_is_worked_without_script(mira: Page, live_server, context: BrowserContext, company: Company):
    hold(company, 3)
    campaign = company.launch()
    first, second, _ = ReviewItem.objects.filter(campaign=campaign).order_by("pk")
    assert context.browser is not None
    plain = context.browser.new_context(java_script_enabled=False, storage_state=context.storage_state())
    page = plain.new_page()
    page.goto(f"{live_server.url}/reviews/")
    page.get_by_role("link", name="Spring review").click()

    page.get_by_role("button", name=f"{What(first.recommendation).label}: {first}").click()
    expect(progress(page)).to_contain_text("2 to decide")
    page.get_by_role("row").filter(has_text=second.name).get_by_label("Decide otherwise").click()
    other = What.ROTATE if second.recommendation != What.ROTATE else What.REVOKE
    page.get_by_role("row").filter(has_text=second.name).get_by_role("button", name=other.label).last.click()
    page.get_by_label("Reason").fill("It leaked.")
    page.get_by_role("button", name=f"{other.label} it").click()
    expect(progress(page)).to_contain_text("1 to decide")

    page.get_by_role("link", name="Decided, not submitted").click()
    page.get_by_role("button", name=f"Take back: {second}").click()
    expect(progress(page)).to_contain_text("2 to decide")
    page.get_by_role("link", name="Submit…").click()
    page.get_by_role("button", name="Submit 1 decision").click()
    expect(page.get_by_text("1 decision submitted")).to_be_visible()
    assert Decision.objects.current().get().item == first
    plain.close()


@pytest.mark.long
def test_its_pages_are_accessible_in_both_themes_and_never_scroll_sideways(
    mira: Page, live_server, company: Company, axe: Axe
):
    hold(company, 12)
    held = Credential.objects.order_by("pk")[0]
    factories.use(held, connection=company.place, client=factories.client(name="desk"), server=factories.server())
    campaign = company.launch()
    draft = company.draft(name="Next quarter")
    of = ReviewItem.objects.filter(campaign=campaign).order_by("pk")
    one, item = of[0], of.get(credential=held)
    decide([one.pk], What(one.recommendation), actor=company.mira.actor, now=company.now)
    paths = (
        "/reviews/", f"/reviews/{campaign.pk}/?mine=true", f"/reviews/{campaign.pk}/?what=revoke",
        f"/reviews/items/{item.pk}/", f"/reviews/{campaign.pk}/submit/", f"/reviews/decide/?what=revoke&id={item.pk}",
        f"/reviews/hand-on/?id={item.pk}",
    )  # fmt: skip
    assert unfit(mira, axe, *(live_server.url + path for path in paths), at=(390, 1440)) == {}
    mira.context.clear_cookies()
    sign_in(mira, live_server.url, company.lea)
    paths = (
        "/reviews/", "/campaigns/", f"/campaigns/{campaign.pk}/", f"/campaigns/{draft.pk}/", "/campaigns/new/",
        f"/campaigns/{draft.pk}/launch/", f"/campaigns/{campaign.pk}/cancel/", f"/campaigns/{campaign.pk}/attest/",
        "/campaigns/by-itself/owner_left/", f"/campaigns/{campaign.pk}/due/", f"/campaigns/{campaign.pk}/remind/",
        f"/reviews/{campaign.pk}/?has_reviewer=false",
    )  # fmt: skip
    assert unfit(mira, axe, *(live_server.url + path for path in paths), at=(390, 1440)) == {}
