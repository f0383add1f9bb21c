"""Campaigns on pages: drafted with a preview, launched, followed, attested, signed and cancelled."""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access.roles import Role
from reviews.actions.decisions import decide, submit
from reviews.models import Attestation, Campaign, StaleApproval
from reviews.states import CampaignState, What
from tests.people import browser, text
from tests.reviews.company import STATES, Company, Somebody, item_of

pytestmark = pytest.mark.django_db
DECIDED = {"decided": "yes"}


def as_(who: Somebody) -> Client:
    client = Client()
    client.force_login(who.owner.user)
    return client


@pytest.fixture
def company() -> Company:
    company = Company(now=timezone.now())
    company.place.last_complete_at = company.now
    company.place.save()
    return company


@pytest.fixture
def draft(company: Company) -> Campaign:
    company.credential(name="deploy")
    return company.draft()


def given(**values: object) -> dict[str, object]:
    due = (timezone.now() + timedelta(days=30)).date().isoformat()
    usual = {"name": "Q4", "reviewed": ["credential"], "due_on": due, "no_answer": "escalate", "lead": "Lea"}
    return {**usual, **values}


def test_an_empty_list_offers_the_first_draft(company):
    assert "Draft a campaign" in text(as_(company.lea).get("/campaigns/"))


def test_a_form_that_is_tried_says_how_large_it_would_be_and_keeps_nothing(company):
    company.credential(name="deploy")
    said = text(as_(company.lea).post("/campaigns/new/", given(**{"try": "yes"})))
    assert "What it would be" in said
    assert "Mira" in said
    assert not Campaign.objects.exists()


def test_a_form_that_is_saved_is_a_draft(company):
    answer = as_(company.lea).post("/campaigns/new/", given())
    made = Campaign.objects.get()
    assert answer["Location"] == f"/campaigns/{made.pk}/"
    assert (made.state, made.lead) == (CampaignState.DRAFT, company.lea.owner)


def test_what_is_wrong_with_a_form_stands_at_its_field(company):
    answer = as_(company.lea).post("/campaigns/new/", given(due_on="2020-01-01"))
    assert answer.status_code == 422
    assert "due after now" in text(answer)


def test_a_draft_is_changed(company, draft):
    as_(company.lea).post(f"/campaigns/{draft.pk}/change/", given(name="Q1", fresh_days="365"))
    draft.refresh_from_db()
    assert draft.name == "Q1"


def test_a_draft_is_launched_by_its_question(company, draft):
    rui = as_(company.rui)
    assert "Launch Spring review" in text(rui.get(f"/campaigns/{draft.pk}/launch/"))
    rui.post(f"/campaigns/{draft.pk}/launch/", DECIDED)
    draft.refresh_from_db()
    assert (draft.state, draft.size) == (CampaignState.OPEN, 1)


def test_over_a_stale_connection_one_signs_and_another_launches(company, draft):
    company.place.last_complete_at = company.now - timedelta(days=400)
    company.place.save()
    lea, rui = as_(company.lea), as_(company.rui)
    assert "another person to launch" in text(lea.get(f"/campaigns/{draft.pk}/"))
    refused = lea.post(f"/campaigns/{draft.pk}/launch/", DECIDED)
    assert refused.status_code == 422
    assert "Not looked at lately" in text(refused)
    lea.post(f"/campaigns/{draft.pk}/accept-stale/", {**DECIDED, "reason": "The cloud is in maintenance."})
    assert StaleApproval.objects.filter(campaign=draft).exists()
    assert lea.post(f"/campaigns/{draft.pk}/launch/", DECIDED).status_code == 422
    assert rui.post(f"/campaigns/{draft.pk}/launch/", DECIDED).status_code == 302


def test_a_running_campaign_shows_progress_completeness_and_for_whom_it_waits(company, draft):
    company.credential(name="other", kind="oauth_client_secret")
    launched = company.launch(kinds=["api_key"])
    said = text(as_(company.lea).get(f"/campaigns/{launched.pk}/"))
    assert "0 of 1 decided" in said
    assert "1 another kind" in said
    assert "It waits for" in said
    assert "Otto" in said


def test_an_owner_sees_the_campaigns_they_review_in_and_no_other(company, draft):
    launched = company.launch()
    assert as_(company.mira).get(f"/campaigns/{launched.pk}/").status_code == 200
    assert as_(company.dana).get(f"/campaigns/{launched.pk}/").status_code == 404


def test_whoever_runs_no_campaign_cannot_draft_one(company):
    assert as_(company.mira).get("/campaigns/new/").status_code == 403
    assert browser(Role.AUDITOR).get("/campaigns/new/").status_code == 403


def test_it_is_attested_and_signed_once_every_item_is_closed(company):
    company.credential(name="deploy", owner=company.dana.owner, last_used_at=company.now)
    campaign = company.launch()
    row = item_of(campaign)
    for who in (company.dana, company.lea):
        decide([row.pk], What.KEEP, actor=who.actor, now=company.now, reason="It is needed.")
        submit(campaign, actor=who.actor, now=company.now)
    lea, page = as_(company.lea), f"/campaigns/{campaign.pk}/"
    refused = lea.post(f"{page}sign/", {**DECIDED, "statement": STATES})
    assert "Not attested yet" in text(refused)
    for who in (company.dana, company.lea):
        as_(who).post(f"{page}attest/", {**DECIDED, "statement": STATES})
    assert Attestation.objects.count() == 2
    lea.post(f"{page}sign/", {**DECIDED, "statement": STATES})
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.SIGNED
    said = text(lea.get(page))
    assert "Signed by" in said
    assert campaign.digest in said


def test_the_date_is_moved_with_a_reason(company, draft):
    launched = company.launch()
    due_on = (timezone.now() + timedelta(days=60)).date()
    as_(company.lea).post(
        f"/campaigns/{launched.pk}/due/", {**DECIDED, "due_on": due_on.isoformat(), "reason": "Holidays."}
    )
    launched.refresh_from_db()
    assert launched.due_at.date() == due_on


def test_a_cancelled_campaign_says_why(company, draft):
    launched = company.launch()
    lea = as_(company.lea)
    lea.post(f"/campaigns/{launched.pk}/cancel/", {**DECIDED, "reason": "The wrong scope."})
    said = text(lea.get(f"/campaigns/{launched.pk}/"))
    assert "It ended unsigned" in said
    assert "The wrong scope." in said


def test_no_page_of_campaigns_asks_more_than_twelve_times(company, draft):
    launched = company.launch()
    lea = as_(company.lea)
    for address in ("/campaigns/", f"/campaigns/{launched.pk}/", f"/campaigns/{draft.pk}/", "/reviews/"):
        lea.get(address)
        with CaptureQueriesContext(
            database,
        ) as asked:
            assert lea.get(address).status_code == 200
        assert len(asked) <= 12, (address, [each["sql"][:120] for each in asked])


def test_the_page_offers_to_remind_while_something_waits_and_says_why_it_did_not(company):
    company.credential(name="deploy")
    campaign = company.launch()
    lea = as_(company.lea)
    assert f"/campaigns/{campaign.pk}/remind/" in lea.get(f"/campaigns/{campaign.pk}/").content.decode()
    answer = lea.post(f"/campaigns/{campaign.pk}/remind/", DECIDED)
    assert answer.status_code == 422
    assert "No mail server is set up" in text(answer)


def test_how_reviewers_decide_is_for_the_lead_and_not_for_whoever_is_reviewed_by_them(company):
    company.credential(name="deploy")
    campaign = company.launch()
    decide([item_of(campaign).pk], What.KEEP, actor=company.mira.actor, now=company.now, reason="It is used.")
    assert "How they decide" in text(as_(company.lea).get(f"/campaigns/{campaign.pk}/"))
    assert "How they decide" not in text(as_(company.mira).get(f"/campaigns/{campaign.pk}/"))


def test_how_they_decide_in_a_large_campaign_is_counted_when_somebody_asks(company):
    company.credential(name="deploy")
    campaign = company.launch()
    decide([item_of(campaign).pk], What.KEEP, actor=company.mira.actor, now=company.now, reason="It is used.")
    Campaign.objects.update(size=20_000)
    lea = as_(company.lea)
    assert "Keeps in a row" not in text(lea.get(f"/campaigns/{campaign.pk}/"))
    assert "Keeps in a row" in text(lea.get(f"/campaigns/{campaign.pk}/?pace=yes"))


def test_the_day_that_a_campaign_is_due_stands_in_its_forms_as_browsers_read_it(company: Company):
    company.credential()
    due = f'value="{company.now + timedelta(days=30):%Y-%m-%d}"'
    draft, campaign = company.draft(name="Next quarter"), company.launch()
    lea = as_(company.lea)
    assert due in text(lea.get(f"/campaigns/{draft.pk}/change/"))
    assert due in text(lea.get(f"/campaigns/{campaign.pk}/due/"))
