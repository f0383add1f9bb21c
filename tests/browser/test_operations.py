"""Operations in the browser: progress that comes by itself, and questions that stand before anything is done."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import Group
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, expect

from access.actors import Actor, ActorKind
from access.authentication import one_time_query
from access.models import User
from access.roles import Role
from inventory.states import ConnectionKind
from lifecycle import batching
from lifecycle.actions import batches
from lifecycle.models import Operation, ProviderMinute
from lifecycle.models.scopes import Scope
from lifecycle.states import OperationKind, OperationState, ScopeKind, Step
from tests import factories
from tests.browser.conftest import serious
from tests.lifecycle.rotating import due, policy
from tests.lifecycle.test_views_operations import key, operation

PICTURES = os.environ.get("KEYREEVE_TEST_PICTURES")


@pytest.fixture
def stalled(transactional_db: None) -> Operation:
    row = operation(
        key("billing-db / app login"), state=OperationState.STALLED,
        error="The sink's role may not call PutSecretValue on prod/billing-db.",
    )  # fmt: skip
    operation(key("pagerduty / events key"), step=Step.OVERLAP, state=OperationState.WAITING)
    operation(key("github / deploy token"), state=OperationState.PROPOSED, step=Step.ISSUE)
    by_hand = factories.credential(name="legacy / key", connection=factories.connection(kind=ConnectionKind.AWS))
    operation(by_hand, kind=OperationKind.REVOCATION, step=Step.SUSPEND, is_urgent=True)
    ProviderMinute.objects.create(connection=row.connection, minute=timezone.now(), calls=12, failed=2)
    return row


@pytest.fixture
def at_work(page: Page, live_server, administrator: User, stalled: Operation) -> Page:
    page.goto(f"{live_server.url}/sign-in/?{one_time_query(administrator)}")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{live_server.url}/")
    return page


def test_a_stalled_one_is_resumed_in_a_dialog_and_its_progress_comes_by_itself(at_work: Page, live_server, stalled):
    at_work.goto(f"{live_server.url}/operations/{stalled.pk}/")
    at_work.get_by_role("link", name="Try again…").click()
    dialog = at_work.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("The right was given.")
    dialog.get_by_role("button", name="Try again").click()
    expect(at_work.get_by_role("heading", level=1)).to_contain_text("Rotating 2/8")
    Operation.objects.filter(pk=stalled.pk).update(step=Step.PROMOTE)
    expect(at_work.get_by_role("heading", level=1)).to_contain_text("Rotating 3/8")


def test_a_key_opens_the_question_and_does_nothing(at_work: Page, live_server, stalled):
    at_work.goto(f"{live_server.url}/credentials/{stalled.credential_id}/")
    at_work.keyboard.press("v")
    expect(at_work.get_by_role("dialog")).to_contain_text("Blast radius")
    assert Operation.objects.filter(credential=stalled.credential).count() == 1


@pytest.fixture
def elsewhere(stalled: Operation, administrator: User) -> dict[str, str]:
    """The pages beside those of one operation: the kill switch, what falls due, a reference in place of a secret."""
    administrator.groups.add(Group.objects.get(name="operator"))
    now = timezone.now()
    otto = Actor(ActorKind.USER, "8", "Otto", frozenset({Role.OPERATOR}))
    server = factories.server(name="tickets", environment=factories.environment("prod"))
    for n in range(2):
        held = factories.credential(name=f"service-{n} access key", kind="aws_access_key")
        factories.use(held, server=server, client=factories.client(name=f"desk-{n}"))
    lying = factories.exposure(held)
    due(held, policy(name="Quarterly"), now + timedelta(days=3))
    over = batches.request_batch(Scope.around(ScopeKind.SERVER, server), actor=otto, now=now, reason="It leaked.")
    batching.carry_on(over, clock=lambda: now, ring=list)
    return {
        "kill switch": f"/batches/new/?kind=server&id={server.pk}",
        "nothing found": "/batches/new/?q=zzz",
        "batch": f"/batches/{over.pk}/",
        "batches": "/batches/",
        "upcoming": "/upcoming-rotations/",
        "replace": f"/exposures/{lying.pk}/replace/",
    }


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_pages_are_accessible_and_never_scroll_sideways(at_work: Page, stalled, elsewhere, axe: Axe, scheme):
    root = at_work.url.rstrip("/")
    at_work.emulate_media(color_scheme=scheme)
    for name, path in {
        "board": "/operations/?is_open=true",
        "stalled": f"/operations/{stalled.pk}/",
        "question": f"/credentials/revoke/?id={stalled.credential_id}",
        "delivery": f"/credentials/{stalled.credential_id}/delivery/",
        **elsewhere,
    }.items():
        at_work.set_viewport_size({"width": 390, "height": 900})
        at_work.goto(f"{root}{path}")
        assert serious(axe.run(at_work)) == [], name
        for width in (390, 1440):
            at_work.set_viewport_size({"width": width, "height": 900})
            assert at_work.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
            if PICTURES:
                at_work.screenshot(path=str(Path(PICTURES) / f"{name}-{width}-{scheme}.png"))


def test_what_is_asked_for_less_often_stands_under_a_menu_without_script(
    at_work: Page, context: BrowserContext, stalled
):
    assert context.browser is not None
    plain = context.browser.new_context(java_script_enabled=False, storage_state=context.storage_state())
    page = plain.new_page()
    page.goto(f"{at_work.url.rstrip('/')}/operations/{stalled.pk}/")
    expect(page.get_by_role("link", name="Try again…")).to_be_visible()
    expect(page.get_by_role("link", name="Cancel…")).to_be_hidden()
    page.get_by_label("More actions").click()
    page.get_by_role("link", name="Cancel…").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Cancel")
    plain.close()
