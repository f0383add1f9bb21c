"""A policy in the browser: filled in, tried, saved, and the evaluation does what the dry run said."""

from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import Group
from django.utils import timezone
from playwright.sync_api import Page, expect

from access.authentication import one_time_query
from access.models import User
from inventory.models import Credential
from lifecycle.actions.evaluation import evaluate
from lifecycle.models import Finding, Policy
from tests import factories
from tests.browser.conftest import ACTOR, serious, unfit


@pytest.fixture
def aged(transactional_db: None) -> list[Credential]:
    """API keys of one owner: two of them older than sixty days."""
    now = timezone.now()
    owner = factories.owner(name="Payments", kind="team")

    def key(days: int) -> Credential:
        since = now - timedelta(days=days)
        return factories.credential(owner=owner, issued_at=since, first_seen_at=since, last_used_at=now)

    keys = [key(days) for days in (10, 70, 80)]
    evaluate(now, actor=ACTOR, full=True)
    return keys


@pytest.fixture
def at_work(page: Page, live_server, aged: list[Credential]) -> Page:
    user = User.objects.create_user("reviewer", "reviewer@example.org")
    user.groups.add(Group.objects.get(name="reviewer"))
    page.goto(f"{live_server.url}/sign-in/?{one_time_query(user)}")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{live_server.url}/")
    return page


@pytest.mark.long
def test_a_policy_is_tried_saved_and_does_what_it_showed(at_work: Page, live_server, aged: list[Credential], axe: Axe):
    at_work.goto(f"{live_server.url}/policies/")
    at_work.get_by_role("link", name="New policy").click()
    at_work.get_by_label("Name", exact=True).fill("Keys of Payments")
    at_work.get_by_label("Priority").fill("5")
    at_work.get_by_label("API key").check()
    at_work.get_by_label("Add an owner by name or e-mail").fill("payments")
    at_work.get_by_label("Maximum age: how many").fill("60")
    at_work.get_by_role("button", name="Try it").click()
    shown = at_work.get_by_role("region", name="Trial")
    expect(shown.get_by_text("It would bind 3 credentials, 3 of them newly, and open 2 findings.")).to_be_visible(
        timeout=20_000
    )
    expect(at_work.get_by_role("checkbox", name="Payments")).to_be_checked()
    for scheme in ("light", "dark"):
        for width in (390, 1440):
            at_work.emulate_media(color_scheme=scheme)
            at_work.set_viewport_size({"width": width, "height": 900})
            assert serious(axe.run(at_work)) == [], (scheme, width)
            assert at_work.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
                scheme,
                width,
            )
    shown.get_by_label("Reason").fill("The contract of May")
    shown.get_by_role("button", name="Save version 1").click()
    expect(at_work.get_by_role("heading", name="Keys of Payments")).to_be_visible(timeout=20_000)

    evaluate(timezone.now(), actor=ACTOR)
    found = Finding.objects.unresolved().filter(rule="unrotated")
    assert set(found.values_list("credential", flat=True)) == {key.pk for key in aged[1:]}
    at_work.reload()
    expect(at_work.get_by_role("img", name="Unrotated: 2 violated, 0 unknown, 1 met")).to_be_visible()
    at_work.get_by_role("link", name="Unrotated").first.click()
    expect(at_work.get_by_role("heading", name="How the estate answers")).to_be_visible()

    policy = Policy.objects.get(name="Keys of Payments")
    mine, rule = f"/policies/{policy.pk}/", "/rules/unrotated/"
    paths = ("/policies/", mine, f"{mine}retire/", "/rules/", rule, f"{rule}set/")
    assert unfit(at_work, axe, *(live_server.url + path for path in paths), at=(390, 1440)) == {}
