"""Authorization servers as people meet them: read at every width, decided on from the keyboard."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from inventory.actions.issuers import record_issuers
from inventory.listings.issuers import Look, judged
from inventory.models import AuthorizationServer, PostureCheck
from inventory.states import Admission, ConnectionKind, Registration, Verdict
from providers.observations import IssuerObservation
from tests import factories
from tests.browser.conftest import unfit

ISSUER = "https://login.halden.example/realms/a-rather-long-name-of-a-realm-that-somebody-chose"
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "registration_endpoint": f"{ISSUER}/register",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "scopes_supported": ["tickets:read"],
    "code_challenge_methods_supported": ["S256", "plain"],
}


@pytest.fixture
def layer(transactional_db: None) -> AuthorizationServer:
    """A delegated layer that was seen twice, with clients and servers."""
    factories.connection(kind=ConnectionKind.OAUTH, settings={"issuer": ISSUER, "role": "delegated_layer"})
    now = timezone.now()
    for days, more in ((3, {}), (1, {"grant_types_supported": ["implicit", "password"]})):
        at = now - timedelta(days=days)
        observation = IssuerObservation(issuer=ISSUER, observed_at=at, metadata={**METADATA, **more})
        record_issuers(judged([Look(observation=observation)]), now=at)
    server = AuthorizationServer.objects.get()
    factories.server(authorization_server=server, url=f"{ISSUER}/mcp", name="tickets-prod", risk=3)
    for registration in Registration:
        factories.client(
            authorization_server=server, registration=registration, admission=Admission.QUARANTINED, name="Desk"
        )
    return server


@pytest.mark.long
def test_its_pages_are_accessible_in_both_themes_and_never_scroll_sideways(
    newcomer: Page, live_server, axe, layer: AuthorizationServer
) -> None:
    paths = ("", f"{layer.pk}/", f"{layer.pk}/answer/KR-DL-01/")
    assert unfit(newcomer, axe, *(f"{live_server.url}/authorization-servers/{path}" for path in paths)) == {}


def test_the_document_can_be_opened(newcomer: Page, live_server, layer: AuthorizationServer) -> None:
    newcomer.goto(f"{live_server.url}/authorization-servers/{layer.pk}/")
    newcomer.get_by_text("The document as it is now").click()
    expect(newcomer.locator("pre.document")).to_contain_text("registration_endpoint")


def test_an_answer_is_given_in_a_dialog(newcomer: Page, live_server, layer: AuthorizationServer) -> None:
    newcomer.goto(f"{live_server.url}/authorization-servers/{layer.pk}/")
    newcomer.locator("#KR-DL-01").get_by_role("link", name="Answer it yourself…").click()
    dialog = newcomer.get_by_role("dialog")
    dialog.get_by_label("not so").check()
    dialog.get_by_label("How do you know?").fill("Its log has no such lines.")
    dialog.get_by_role("button", name="Record the answer").click()
    expect(newcomer.locator("#KR-DL-01")).to_contain_text("it is not so")
    assert PostureCheck.objects.get(check_id="KR-DL-01").verdict == Verdict.VIOLATED


def test_the_palette_finds_a_server_by_part_of_its_issuer(newcomer: Page, layer: AuthorizationServer) -> None:
    newcomer.keyboard.press("/")
    newcomer.keyboard.type("halden.example/realms")
    newcomer.get_by_role("option").filter(has_text="login.halden.example").first.wait_for()
    newcomer.keyboard.press("Enter")
    newcomer.wait_for_url(f"**/authorization-servers/{layer.pk}/")
