"""Deciding on pages: the queue, the table of a sitting, one item, and what a decision must say."""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access.roles import Role
from reviews.actions.decisions import decide, submit
from reviews.models import Campaign, Decision, Delegation, ReviewItem
from reviews.states import ItemState, What
from tests import factories
from tests.people import HTMX, browser, text
from tests.reviews.company import Company, item_of, items
from tests.reviews.test_views_campaigns import DECIDED, as_

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Company:
    company = Company(now=timezone.now())
    company.place.last_complete_at = company.now
    company.place.save()
    return company


@pytest.fixture
def used(company: Company) -> dict[str, object]:
    """What nothing speaks against."""
    return {"last_used_at": company.now, "issued_at": company.now - timedelta(days=9), "first_seen_at": company.now}


@pytest.fixture
def campaign(company: Company, used: dict[str, object]) -> Campaign:
    company.credential(name="deploy", **used)
    return company.launch()


@pytest.fixture
def mira(company: Company) -> Client:
    return as_(company.mira)


def one(row: ReviewItem) -> str:
    return f"{row.pk}:{row.version}"


def test_an_empty_queue_says_so(mira):
    assert "Nothing waits for you" in text(mira.get("/reviews/"))


def test_the_queue_names_what_waits_for_whom(company, campaign, mira):
    assert "Spring review" in text(mira.get("/reviews/"))
    assert "Nothing waits for you" in text(as_(company.dana).get("/reviews/"))


def test_the_table_shows_what_waits_with_its_recommendation(campaign, mira):
    said = text(mira.get(f"/reviews/{campaign.pk}/?mine=true"))
    assert "deploy" in said
    assert "1 to decide" in said
    assert "Keep: deploy" in said


def test_a_decision_as_recommended_takes_one_request_and_is_undone_by_another(company, campaign, mira):
    row = item_of(campaign)
    mira.post(f"/reviews/decide/?what={row.recommendation}", {"one": one(row)})
    assert Decision.objects.current().get(item=row).what == row.recommendation
    assert "decided, not submitted" in text(mira.get(f"/reviews/{campaign.pk}/?mine=true"))
    mira.post("/reviews/undo/", {"one": str(row.pk)})
    assert not Decision.objects.current().filter(item=row).exists()


def test_a_decision_against_the_recommendation_asks_for_a_reason(campaign, mira):
    row = item_of(campaign)
    asked = mira.post("/reviews/decide/?what=revoke", {"one": one(row)})
    assert "This is not what is recommended" in text(asked)
    assert not Decision.objects.exists()
    refused = mira.post("/reviews/decide/", {**DECIDED, "what": "revoke", "one": one(row)})
    assert refused.status_code == 422
    mira.post("/reviews/decide/", {**DECIDED, "what": "revoke", "one": one(row), "reason": "The project ended."})
    made = Decision.objects.get()
    assert (made.what, made.reason, made.is_against) == (What.REVOKE, "The project ended.", True)


def test_several_alike_are_kept_with_one_reason(company, used):
    for name in ("a", "b"):
        company.credential(name=name, **used)
    campaign = company.launch()
    keys = [str(row.pk) for row in items(campaign)]
    mira = as_(company.mira)
    assert "Many are kept at once" in text(mira.post("/reviews/decide/?what=keep", {"id": keys}))
    assert mira.post("/reviews/decide/", {**DECIDED, "what": "keep", "id": keys}).status_code == 422
    mira.post("/reviews/decide/", {**DECIDED, "what": "keep", "id": keys, "reason": "All of the build."})
    assert Decision.objects.exclude(group=None).count() == 2


def test_what_is_not_alike_is_not_decided_in_one_go(company, used):
    company.credential(name="a", **used)
    company.credential(name="b", kind="oauth_client_secret", **used)
    keys = [str(row.pk) for row in items(company.launch())]
    sent = {**DECIDED, "what": "keep", "id": keys, "reason": "All of it."}
    refused = as_(company.mira).post("/reviews/decide/", sent)
    assert "not alike" in text(refused)


def test_with_script_the_one_cell_and_the_progress_come_back(campaign, mira):
    row = item_of(campaign)
    answer = mira.post(f"/reviews/decide/?what={row.recommendation}", {"one": one(row), "cell": "yes"}, headers=HTMX)
    assert answer["HX-Retarget"] == f"#decision-{row.pk}"
    said = text(answer)
    assert "Undo" in said
    assert 'id="sitting-progress" hx-swap-oob' in said


def test_with_script_what_must_be_said_is_asked_in_a_dialog(campaign, mira):
    row = item_of(campaign)
    answer = mira.post("/reviews/decide/?what=rotate", {"one": one(row), "cell": "yes"}, headers=HTMX)
    assert answer["HX-Retarget"] == "#dialog-slot"
    assert "<dialog" in text(answer)


def test_a_reassignment_names_who_takes_over(company, campaign, mira):
    row = item_of(campaign)
    sent = {**DECIDED, "what": "reassign", "one": one(row), "reason": "She left the team.", "to": "Dana"}
    mira.post("/reviews/decide/", sent)
    assert Decision.objects.get().to_owner == company.dana.owner


def test_a_reduction_names_what_remains(company, used):
    company.credential(name="wide", scopes=["read", "write"], **used)
    row = item_of(company.launch())
    mira = as_(company.mira)
    assert "Scopes that remain" in text(mira.post("/reviews/decide/?what=reduce", {"one": one(row)}))
    sent = {**DECIDED, "what": "reduce", "one": one(row), "reason": "It only reads.", "scopes": ["read"]}
    mira.post("/reviews/decide/", sent)
    assert Decision.objects.get().detail == {"scopes": ["read"]}


def test_somebody_who_decided_over_an_older_look_is_told(campaign, mira):
    row = item_of(campaign)
    ReviewItem.objects.update(version=row.version + 1)
    refused = mira.post("/reviews/decide/?what=keep", {"one": one(row)})
    assert "Look at it again" in text(refused)


def test_an_item_is_shown_with_its_facts_path_and_reasons(company, used):
    held = company.credential(name="deploy", **used)
    factories.use(
        held, connection=company.place, client=factories.client(name="ops-bot"), server=factories.server(name="tiles")
    )
    row = item_of(company.launch())
    said = text(as_(company.mira).get(f"/reviews/items/{row.pk}/"))
    for words in ("ops-bot", "tiles", "Recommended: keep", "never reviewed before", "1 server"):
        assert words in said


def test_an_item_decided_on_its_page_leads_to_the_next_one(company, used):
    for name in ("a", "b"):
        company.credential(name=name, **used)
    campaign = company.launch()
    first, second = ReviewItem.objects.filter(campaign=campaign).order_by("pk")
    mira = as_(company.mira)
    answer = mira.post("/reviews/decide/", {"one": one(first), "what": first.recommendation, "on": "yes"})
    assert answer["Location"] == f"/reviews/items/{second.pk}/"
    answer = mira.post("/reviews/decide/", {"one": one(second), "what": second.recommendation, "on": "yes"})
    assert answer["Location"] == f"/reviews/{campaign.pk}/?mine=true&drafted=false"


def test_what_changed_since_it_was_frozen_is_shown_and_noted(company, campaign, mira):
    row = item_of(campaign)
    held = row.credential
    held.scopes = ["admin"]
    held.save()
    assert "It has changed since its facts were frozen" in text(mira.get(f"/reviews/items/{row.pk}/"))
    refused = mira.post(f"/reviews/decide/?what={row.recommendation}", {"one": one(row)})
    assert "this changed" in text(refused)
    mira.post(f"/reviews/items/{row.pk}/look-again/")
    said = text(mira.get(f"/reviews/items/{row.pk}/"))
    assert "Noted" in said
    assert "It has changed since" not in said


def test_reviewers_who_disagree_see_what_the_other_said(company, campaign, mira):
    row = item_of(campaign)
    for who, what in ((company.mira, What.KEEP), (company.otto, What.REVOKE)):
        decide([row.pk], what, actor=who.actor, now=company.now, reason="I think so.")
        submit(campaign, actor=who.actor, now=company.now)
    row.refresh_from_db()
    assert row.state == ItemState.DISPUTED
    said = text(mira.get(f"/reviews/items/{row.pk}/"))
    assert "Reviewers disagree" in said
    assert "says revoke" in said
    assert "says revoke" in text(mira.get(f"/reviews/{campaign.pk}/?state=disputed"))


def test_decisions_are_submitted_by_their_question(campaign, mira):
    row = item_of(campaign)
    mira.post("/reviews/decide/?what=keep", {"one": one(row), "what": row.recommendation})
    assert "Submit 1 decision" in text(mira.get(f"/reviews/{campaign.pk}/submit/"))
    mira.post(f"/reviews/{campaign.pk}/submit/", DECIDED)
    assert Decision.objects.get().submitted_at is not None
    assert "There is no decision of yours to submit" in text(mira.post(f"/reviews/{campaign.pk}/submit/", DECIDED))


def test_a_part_is_handed_on(company, campaign, mira):
    row = item_of(campaign)
    mira.post("/reviews/hand-on/", {**DECIDED, "id": str(row.pk), "to": "Dana", "reason": "On holiday."})
    assert Delegation.objects.get().to_owner == company.dana.owner


def test_whoever_runs_campaigns_gives_either_part(company, campaign):
    row = item_of(campaign)
    sent = {**DECIDED, "id": str(row.pk), "seat": "second", "to": "Dana", "reason": "Otto is away."}
    as_(company.lea).post("/reviews/hand-on/", sent)
    row.refresh_from_db()
    assert row.second == company.dana.owner


def test_nobody_decides_about_what_they_do_not_see(company, campaign):
    row = item_of(campaign)
    dana = as_(company.dana)
    assert dana.get(f"/reviews/items/{row.pk}/").status_code == 404
    assert dana.post("/reviews/decide/?what=keep", {"one": one(row)}).status_code == 404


def test_an_auditor_reads_and_decides_nothing(campaign):
    row = item_of(campaign)
    auditor = browser(Role.AUDITOR)
    said = text(auditor.get(f"/reviews/items/{row.pk}/"))
    assert 'class="decide"' not in said
    assert auditor.post("/reviews/decide/?what=keep", {"one": one(row)}).status_code == 403


@pytest.mark.parametrize("sent", [{"one": "x"}, {"one": "x:y"}, {"id": ["1"]}])
def test_a_request_that_names_nothing_is_not_found(mira, sent):
    assert mira.post("/reviews/decide/?what=keep", sent).status_code == 404


def test_no_page_of_a_review_asks_more_than_twelve_times(company, used):
    for n in range(5):
        company.credential(name=f"key {n}", **used)
    campaign = company.launch()
    row = items(campaign)[0]
    for who in (company.mira, company.lea):
        client = as_(who)
        for address in (f"/reviews/{campaign.pk}/?mine=true", f"/reviews/items/{row.pk}/", "/reviews/"):
            client.get(address)
            with CaptureQueriesContext(database) as asked:
                assert client.get(address).status_code == 200
            assert len(asked) <= 12, (address, [each["sql"][:120] for each in asked])


def test_items_that_are_alike_are_named_in_words_and_not_as_the_database_has_them(company: Company):
    company.credential()
    campaign = company.launch()
    item = item_of(campaign)
    page = text(browser(Role.REVIEWER).get(f"/reviews/{campaign.pk}/", {"alike": item.alike}))
    assert f">{item.alike}<" not in page
    assert "recommended" in page.partition('class="chip"')[2].partition("</a>")[0]
