"""The system's Chromium on the live server, and whatever it complains about."""

import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import Group
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from access.actors import Actor
from access.authentication import one_time_query
from access.models import User
from demo.estate import write
from inventory.actions.connections import create_connection
from inventory.engine import sync
from inventory.states import ConnectionKind
from lifecycle.actions.evaluation import evaluate
from tests.embedded import needs

ACTOR = Actor.system("tests")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder meets a real server, so its rows are committed."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.django_db(transaction=True))
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a file: while it lives nothing else in this thread can run an event loop of its own."""
    path = needs("chromium", "chromium-browser", "google-chrome")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright keeps a loop in this thread; Django is used beside it
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


class Complaints(list[str]):
    """What a page said on the console or threw; a test ends only when there is nothing."""

    def watch(self, page: Page) -> Page:
        page.on("console", lambda message: self.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.append(str(error)))
        return page


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    found = Complaints()
    yield found
    assert found == []


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, complaints: Complaints) -> Page:
    return complaints.watch(context.new_page())


@pytest.fixture
def administrator(db: None) -> User:
    user = User.objects.create_user("administrator", "administrator@example.org")
    user.groups.add(Group.objects.get(name="administrator"))
    return user


@pytest.fixture
def estate(tmp_path: Path, transactional_db: None) -> None:
    """The demo company's configuration, discovered and evaluated."""
    write(tmp_path, now=timezone.now())
    connection = create_connection(
        kind=ConnectionKind.MCP_CONFIG,
        name="halden",
        settings={"paths": [str(tmp_path)]},
        actor=ACTOR,
        now=timezone.now(),
    )
    sync(connection.pk, clock=timezone.now, actor=ACTOR)
    evaluate(timezone.now(), actor=ACTOR, full=True)


@pytest.fixture
def newcomer(page: Page, live_server, administrator: User) -> Page:
    """An administrator in a Keyreeve that holds nothing but what the test put there."""
    page.goto(f"{live_server.url}/sign-in/?{one_time_query(administrator)}")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{live_server.url}/")
    return page


@pytest.fixture
def signed_in(estate: None, newcomer: Page) -> Page:
    """The administrator of the demo company."""
    return newcomer


@pytest.fixture(scope="session")
def axe() -> Axe:
    return Axe()


def serious(results) -> list[str]:
    """Violations that stop somebody, each with where it is."""
    return [
        f"{violation['id']}: {violation['help']} at {violation['nodes'][0]['target']}"
        for violation in results.response["violations"]
        if violation["impact"] in {"serious", "critical"}
    ]


WIDTHS = (360, 390, 768, 1440, 2560)
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# Names of rows that stand a few letters a line, because the other columns take all there is.
SQUEEZED = """[...document.querySelectorAll("tbody .name")]
  .filter(it => it.offsetWidth && it.offsetWidth < 60 && it.offsetHeight > 60).map(it => it.textContent)"""
OF_COLOURS = ["color-contrast", "link-in-text-block"]  # the rules of axe that another theme can break


def unfit(page: Page, axe: Axe, *urls: str, at: tuple[int, ...] = (1440,)) -> dict[str, list[str]]:
    """What stops somebody on these pages, by page: in either theme `at` these widths, or at any by scrolling
    sideways or by names that fall apart.

    A page is loaded once: what a style sheet does with another width or theme it does without the server.
    """
    found: dict[str, list[str]] = {}
    for url in urls:
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.goto(url)
        said = []
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate("document.documentElement.scrollWidth") > width:
                said.append(f"scrolls sideways at {width}")
            said += [f"{name!r} falls apart at {width}" for name in page.evaluate(SQUEEZED)]
        for width, theme in product(at, THEMES):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            options = {"runOnly": OF_COLOURS} if theme == "dark" else {"resultTypes": ["violations"]}
            said += [f"{theme} at {width}: {each}" for each in serious(axe.run(page, options=options))]
        if said:
            found[url] = said
    return found
