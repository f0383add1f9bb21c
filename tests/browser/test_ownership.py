"""Ownership in the browser: asked, looked at in both themes and at every width, and accepted."""

from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page, expect

from access.models import User
from inventory.actions.asking import measure_ownership, sweep
from inventory.actions.terms import Terms
from inventory.models import Credential, McpClient, McpServer, OwnershipQuestion
from inventory.states import QuestionState
from tests import factories
from tests.browser.conftest import unfit

DAY = timedelta(days=1)


@pytest.mark.long
def test_an_owner_accepts_what_is_in_their_name(signed_in: Page, administrator: User, live_server, axe: Axe):
    otto = factories.owner(name="Otto Brandt", email="otto@halden.example")
    mira = factories.owner(
        name="Mira Okafor", email="mira@halden.example", user=administrator, deputy=otto, manager=otto
    )
    left = factories.owner(name="Leo Haas", is_active=False, inactive_since=timezone.now() - 3 * DAY, deputy=mira)
    keys = list(Credential.objects.order_by("pk").values_list("pk", flat=True))
    Credential.objects.filter(pk__in=keys[:6]).update(owner=mira)
    Credential.objects.filter(pk__in=keys[6:9]).update(owner=otto)
    Credential.objects.filter(pk__in=keys[9:11]).update(owner=left)
    McpServer.objects.update(platform_owner=mira)
    McpClient.objects.filter(pk__in=McpClient.objects.order_by("pk").values("pk")[:2]).update(owner=mira)
    for now in (timezone.now() - 15 * DAY, timezone.now()):
        sweep(now=now, terms=Terms())
    measure_ownership(now=timezone.now())
    OwnershipQuestion.objects.filter(owner=mira).update(asked=mira, stage="owner")
    mine = OwnershipQuestion.objects.get(owner=mira)
    gone = OwnershipQuestion.objects.get(owner=otto)
    paths = (
        "/ownership/", f"/ownership/{mine.pk}/", f"/ownership/{gone.pk}/", f"/owners/{mira.pk}/", "/controls/",
        "/campaigns/", f"/credentials/{keys[0]}/",
        *(f"/ownership/{mine.pk}/{how}/" for how in ("accept", "hand-over", "decline")),
    )  # fmt: skip
    assert unfit(signed_in, axe, *(live_server.url + path for path in paths), at=(390, 1440)) == {}
    signed_in.goto(f"{live_server.url}/ownership/{mine.pk}/")
    signed_in.get_by_role("link", name="Accept…").click()
    signed_in.get_by_role("dialog").get_by_role("button", name="Accept").click()
    expect(signed_in.get_by_text("Nothing is left under this question.")).to_be_visible()
    mine.refresh_from_db()
    assert mine.state == QuestionState.ACCEPTED
