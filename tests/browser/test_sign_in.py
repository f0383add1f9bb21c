"""Ways in, as a person takes them: a passkey, a security key and an authenticator app in a real browser."""

import secrets

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from axe_playwright_python.sync_playwright import Axe
from django.core.cache import cache
from playwright.sync_api import CDPSession, Page, expect

from access.models import User
from audit.models import AuditEntry
from tests.browser.conftest import unfit

PASSWORD = f"{secrets.token_urlsafe(15)}-Aa1"
ENTRANCE = "/account/login/"


@pytest.fixture(autouse=True)
def no_tries_yet(db: None) -> None:
    cache.clear()


@pytest.fixture
def mira(administrator: User) -> User:
    administrator.set_password(PASSWORD)
    administrator.save()
    return administrator


@pytest.fixture
def device(page: Page) -> CDPSession:
    """An authenticator in this browser that recognises its owner, as one in a telephone does."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session


def enter(page: Page, at: str, name: str = "administrator") -> None:
    page.goto(f"{at}{ENTRANCE}")
    page.get_by_label("E-mail or user name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def leave(page: Page, at: str) -> None:
    page.goto(f"{at}/account/logout/")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{at}{ENTRANCE}**")


def confirmed(page: Page, url: str) -> None:
    """Go where the password is asked for once more first."""
    page.goto(url)
    expect(page.get_by_role("heading", name="Confirm it is you")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url(url)


def add_key(page: Page, at: str, *, is_passkey: bool) -> None:
    confirmed(page, f"{at}/account/second-factor/webauthn/add/")
    page.get_by_label("Name").fill("Telephone")
    page.get_by_label("A passkey, which needs no password").set_checked(is_passkey)
    page.get_by_role("button", name="Add it").click()
    page.wait_for_url("**/recovery-codes/**")


def last_way_in() -> str:
    entry = AuditEntry.objects.filter(event="user.signed_in").order_by("-seq").first()
    assert entry is not None
    return str(entry.detail)


def test_a_passkey_is_added_and_signs_in_without_a_password(page: Page, live_server, mira: User, device) -> None:
    enter(page, live_server.url)
    page.wait_for_url(f"{live_server.url}/")
    add_key(page, live_server.url, is_passkey=True)
    leave(page, live_server.url)

    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(f"{live_server.url}/")
    assert "webauthn" in last_way_in()


def test_a_passkey_that_is_not_known_here_is_told_on_the_page(page: Page, live_server, mira: User, device) -> None:
    page.goto(f"{live_server.url}{ENTRANCE}")
    expect(page.get_by_role("alert")).to_be_hidden()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("Try again, or take another way")


def test_a_security_key_is_asked_for_after_the_password(page: Page, live_server, mira: User, device) -> None:
    enter(page, live_server.url)
    page.wait_for_url(f"{live_server.url}/")
    add_key(page, live_server.url, is_passkey=False)
    leave(page, live_server.url)

    enter(page, live_server.url)
    expect(page.get_by_role("heading", name="One more thing")).to_be_visible()
    page.goto(f"{live_server.url}/credentials/")  # a password alone opens nothing
    expect(page.get_by_role("heading", name="One more thing")).to_be_visible()
    page.get_by_role("button", name="Use a passkey or security key").click()
    page.wait_for_url(f"{live_server.url}/")


def code(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, list(yield_hotp_counters_from_time())[1])))


def test_an_authenticator_app_is_set_up_and_asked_for(page: Page, live_server, mira: User) -> None:
    enter(page, live_server.url)
    page.wait_for_url(f"{live_server.url}/")
    confirmed(page, f"{live_server.url}/account/second-factor/totp/activate/")
    secret = page.locator("code.break").inner_text()
    page.get_by_label("Six digits").fill(code(secret))
    page.get_by_role("button", name="Set it up").click()
    page.wait_for_url("**/recovery-codes/**")
    leave(page, live_server.url)
    cache.clear()  # that code is used up, and the next one is half a minute away

    enter(page, live_server.url)
    page.get_by_label("Code of your authenticator app").fill(code(secret))
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"{live_server.url}/")


def test_who_tries_too_often_reads_how_long_to_wait(page: Page, live_server, mira: User) -> None:
    page.goto(f"{live_server.url}{ENTRANCE}")
    for _ in range(6):
        page.get_by_label("E-mail or user name").fill("administrator")
        page.get_by_label("Password").fill("wrong, every time")
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_load_state()
    expect(page.get_by_role("alert")).to_contain_text("15 minutes")


def test_the_pages_of_signing_in_fit_and_can_be_read(page: Page, live_server, newcomer: Page, axe: Axe) -> None:
    base = live_server.url
    inside = ["second-factor/", "second-factor/webauthn/", "sessions/", "tokens/", "tokens/new/", "password/set/"]
    assert unfit(page, axe, *(f"{base}/account/{each}" for each in inside)) == {}
    leave(page, base)
    outside = [ENTRANCE, "/account/inactive/", "/account/directory/login/cancelled/"]
    assert unfit(page, axe, *(f"{base}{each}" for each in outside)) == {}
