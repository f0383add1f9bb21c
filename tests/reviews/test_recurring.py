"""Campaigns that begin by themselves, approvals that lapse, and who is told when."""

from datetime import timedelta

import pytest

from inventory.models import Connection, Credential, Tool
from notifications.actions.recipients import keep_recipients
from notifications.mail import rendered
from notifications.models import Notice
from reviews.actions.decisions import decide, submit
from reviews.actions.recurring import ask_again, draft_due, launch_drafts
from reviews.actions.reminding import remind
from reviews.models import Approval, Campaign, ReviewItem
from reviews.states import CampaignState, Origin, What
from tests import factories
from tests.factories import NOW
from tests.reviews.company import Company, item_of

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def company() -> Company:
    return Company()


@pytest.fixture
def kept(company: Company) -> Credential:
    """One that Otto has kept as it is, with a client at a server with one tool."""
    credential = company.credential(owner=factories.owner(name="Team", kind="team", manager=company.otto.owner))
    server = factories.server(name="github")
    factories.tool(server, "search")
    factories.use(credential, server=server)
    campaign = company.launch()
    decide([item_of(campaign).pk], What.KEEP, actor=company.otto.actor, now=company.now)
    submit(campaign, actor=company.otto.actor, now=company.now)
    return credential


# ── Approvals ──────────────────────────────────────────────────────────────────────────────────


def test_a_keep_is_bound_to_what_was_kept(kept: Credential):
    approval = Approval.objects.get()
    assert (approval.subject_id, approval.approved_by, approval.ended_at) == (kept.pk, "Otto", None)
    assert {"owner", "environment", "scopes", "consumers", "tools", "authentication"} <= set(approval.bound)


def test_while_nothing_changes_nothing_lapses(company: Company, kept: Credential):
    assert ask_again(now=company.now) == 0
    assert Approval.objects.standing().exists()


@pytest.mark.parametrize("change", ["scopes", "owner", "environment", "tools", "consumers", "authentication"])
def test_an_approval_lapses_when_what_it_is_bound_to_changes(change: str, company: Company, kept: Credential):
    rows = Credential.objects.filter(pk=kept.pk)
    match change:
        case "scopes":
            rows.update(scopes=["admin"])
        case "owner":
            rows.update(owner=company.dana.owner)
        case "environment":
            rows.update(environment=factories.environment("prod"))
        case "tools":
            Tool.objects.update(schema_digest="f" * 64)
        case "consumers":
            factories.use(kept)
        case _:
            factories.use(kept, server=factories.server(authentication="oauth"), client=factories.client())
    assert ask_again(now=company.now) == 1
    approval = Approval.objects.get()
    assert approval.is_lapsed
    assert change in approval.difference


def test_a_small_campaign_asks_again_with_the_difference(company: Company, kept: Credential):
    Credential.objects.filter(pk=kept.pk).update(scopes=["admin"])
    ask_again(now=company.now)
    assert launch_drafts(now=company.now) == 1
    campaign = Campaign.objects.get(origin=Origin.EVENT)
    assert campaign.lead == company.lea.owner
    item = item_of(campaign)
    assert item.changes == {"scopes": [[], ["admin"]]}
    assert item.reviewer == company.otto.owner


def test_what_has_ended_meanwhile_is_not_asked_about(company: Company, kept: Credential):
    Credential.objects.filter(pk=kept.pk).update(scopes=["admin"], status="destroyed")
    assert ask_again(now=company.now) == 1
    assert not Campaign.objects.filter(origin=Origin.EVENT).exists()


def test_the_next_keep_takes_the_place_of_the_last(company: Company, kept: Credential):
    campaign = company.launch(name="Autumn review")
    decide([item_of(campaign).pk], What.KEEP, actor=company.otto.actor, now=company.now)
    submit(campaign, actor=company.otto.actor, now=company.now)
    assert Approval.objects.standing().get().item.campaign == campaign
    assert not Approval.objects.filter(is_lapsed=True).exists()


# ── Campaigns that come back ───────────────────────────────────────────────────────────────────


def test_a_campaign_comes_back_with_the_same_scope(company: Company):
    company.credential()
    first = company.launch(repeats_every=90 * DAY)
    ReviewItem.objects.update(state="cancelled", closed_at=NOW)
    assert draft_due(now=company.pass_by(89 * DAY)) == 0
    assert draft_due(now=company.pass_by(DAY)) == 1
    assert launch_drafts(now=company.now) == 1
    second = Campaign.objects.get(follows=first)
    assert (second.state, second.origin, second.size) == (CampaignState.OPEN, Origin.SCHEDULE, 1)
    assert second.due_at == company.now + 30 * DAY
    assert second.repeat_at == company.now + 90 * DAY
    assert draft_due(now=company.now) == 0


def test_one_that_rests_on_stale_connections_waits_and_says_why(company: Company):
    company.credential()
    company.launch(repeats_every=90 * DAY, fresh_within=3 * DAY)
    ReviewItem.objects.update(state="cancelled", closed_at=NOW)
    draft_due(now=company.pass_by(90 * DAY))
    assert launch_drafts(now=company.now) == 0
    assert company.place.name in Campaign.objects.get(state="draft").launch_error
    Connection.objects.update(last_complete_at=company.now)
    assert launch_drafts(now=company.now) == 1


def test_a_campaign_that_was_cancelled_does_not_come_back(company: Company):
    company.credential()
    first = company.launch(repeats_every=90 * DAY)
    Campaign.objects.filter(pk=first.pk).update(repeat_at=None)
    assert draft_due(now=company.pass_by(91 * DAY)) == 0


# ── Reminders ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def mail_is_on(settings) -> None:
    settings.MAIL_SERVER = object()
    settings.PUBLIC_URL = "https://keyreeve.halden.example"
    settings.DEFAULT_FROM_EMAIL = "keyreeve@halden.example"


def test_reviewers_are_told_at_each_step_once(company: Company, mail_is_on: None):
    company.credential()
    keep_recipients(NOW)
    company.launch(reminders=[7, 1])
    told = [remind(now=company.pass_by(days * DAY)) for days in (0, 1, 22, 1, 5, 1, 1, 1)]
    assert told == [2, 0, 2, 0, 2, 2, 2, 2]
    assert set(Notice.objects.values_list("kind", flat=True)) == {"reviews.to_do"}


def test_what_they_are_told_names_the_campaign_the_date_and_what_follows(company: Company, mail_is_on: None):
    company.credential()
    keep_recipients(NOW)
    company.launch(no_answer="revoke")
    remind(now=company.now)
    message = rendered(Notice.objects.first())
    assert message.subject == "1 item to review: Spring review"
    assert "1 July 2026, 12:00 UTC" in str(message.body)
    assert "What nobody decides by then is revoked." in str(message.body)


def test_who_has_decided_is_not_reminded(company: Company, mail_is_on: None):
    company.credential()
    keep_recipients(NOW)
    campaign = company.launch(reminders=[7])
    remind(now=company.now)
    decide([item_of(campaign).pk], What.KEEP, actor=company.mira.actor, now=company.now)
    submit(campaign, actor=company.mira.actor, now=company.now)
    assert remind(now=company.pass_by(24 * DAY)) == 1
