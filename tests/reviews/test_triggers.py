"""Small reviews that begin when something occurs: gathered, one at a time for each occasion, and never twice."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from access.roles import Role
from audit.models import AuditEntry
from inventory.actions.ownership import assign_server_owner
from inventory.models import McpClient, McpServer, Owner
from inventory.states import Admission, Registration
from reviews.actions.campaigns import cancel_campaign
from reviews.actions.recurring import launch_drafts
from reviews.actions.triggers import gather, set_trigger
from reviews.errors import NotAReviewer, TriggerRefused
from reviews.models import Campaign, Occurrence, ReviewItem, Trigger
from reviews.states import CampaignState, Occasion, Origin
from reviews.tasks import begin_campaigns
from tests import factories
from tests.api.conftest import bearer, problem_of
from tests.people import text
from tests.reviews.company import Company

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def company() -> Company:
    """It is now: entries of the audit chain know no other time."""
    return Company(now=timezone.now())


def switch_on(company: Company, occasion: Occasion, **values: object) -> Trigger:
    said = {"is_on": True, "lead": company.lea.owner, "actor": company.lea.actor, "now": company.now, **values}
    return set_trigger(occasion, **said)  # type: ignore[arg-type]


def leave(owner: Owner, company: Company) -> None:
    Owner.objects.filter(pk=owner.pk).update(is_active=False, inactive_since=company.now)


def begun(company: Company) -> list[Campaign]:
    gather(now=company.now)
    launch_drafts(now=company.now)
    return list(Campaign.objects.filter(origin=Origin.EVENT).order_by("pk"))


def reviewed(campaign: Campaign) -> set[str]:
    return set(ReviewItem.objects.filter(campaign=campaign).values_list("name", flat=True))


def test_everything_somebody_answered_for_is_reviewed_when_they_leave(company: Company):
    switch_on(company, Occasion.OWNER_LEFT)
    company.credential(name="deploy")
    company.credential(name="ended", status="destroyed")
    factories.server(name="github", connection=company.place, platform_owner=company.mira.owner)
    factories.client(name="ide", connection=company.place, owner=company.mira.owner, registration=Registration.DYNAMIC)
    company.pass_by(HOUR)
    leave(company.mira.owner, company)
    company.pass_by(HOUR)
    (campaign,) = begun(company)
    assert (campaign.state, campaign.lead) == (CampaignState.OPEN, company.lea.owner)
    assert campaign.due_at == company.now + 14 * DAY
    assert reviewed(campaign) == {"deploy", "github", "ide"}


def test_a_credential_that_was_found_in_the_open_is_reviewed(company: Company):
    switch_on(company, Occasion.EXPOSURE_FOUND)
    exposed = company.credential(name="deploy")
    company.credential(name="safe")
    company.pass_by(HOUR)
    for _ in range(2):
        factories.exposure(exposed, first_seen_at=company.now)
    company.pass_by(HOUR)
    (campaign,) = begun(company)
    assert reviewed(campaign) == {"deploy"}


def test_a_client_that_registered_itself_is_reviewed(company: Company):
    switch_on(company, Occasion.CLIENT_REGISTERED)
    company.pass_by(HOUR)
    for registration in Registration:
        factories.client(
            name=registration, connection=company.place, registration=registration, first_seen_at=company.now
        )
    removed = factories.client(connection=company.place, registration=Registration.DYNAMIC, first_seen_at=company.now)
    McpClient.objects.filter(pk=removed.pk).update(admission=Admission.REMOVED)
    company.pass_by(HOUR)
    (campaign,) = begun(company)
    assert reviewed(campaign) == {"dynamic"}


def test_a_server_that_changes_hands_is_reviewed_and_one_that_is_assigned_first_is_not(company: Company):
    company.now -= HOUR
    switch_on(company, Occasion.SERVER_OWNER_CHANGED)
    company.pass_by(2 * HOUR)
    owned = factories.server(name="github", connection=company.place, iam_owner=company.mira.owner)
    new = factories.server(name="jira", connection=company.place)
    rows = McpServer.objects.filter(pk__in=[owned.pk, new.pk])
    assign_server_owner(rows, "iam_owner", company.otto.owner, actor=company.lea.actor, reason="It is his")
    (campaign,) = begun(company)
    assert reviewed(campaign) == {"github"}


def test_what_occurred_is_taken_once_however_often_it_is_looked_for(company: Company):
    switch_on(company, Occasion.OWNER_LEFT)
    company.credential(name="deploy")
    company.pass_by(HOUR)
    leave(company.mira.owner, company)
    company.pass_by(HOUR)
    first = gather(now=company.now)
    assert first == {"occurred": 1, "drafted": 1}
    assert [gather(now=company.pass_by(HOUR)) for _ in range(3)] == [{"occurred": 0, "drafted": 0}] * 3
    assert Campaign.objects.count() == 1


def test_what_occurs_while_one_is_under_way_gathers_for_the_next(company: Company):
    switch_on(company, Occasion.OWNER_LEFT)
    for somebody in (company.mira, company.otto, company.dana):
        company.credential(name=somebody.owner.name, owner=somebody.owner)
    company.pass_by(HOUR)
    for somebody in (company.mira, company.otto, company.dana):
        leave(somebody.owner, company)
        company.pass_by(HOUR)
        begun(company)
    (first,) = Campaign.objects.all()
    assert reviewed(first) == {"Mira"}
    assert Occurrence.objects.waiting().count() == 2
    cancel_campaign(first, actor=company.lea.actor, now=company.now, reason="Done elsewhere")
    assert reviewed(begun(company)[-1]) == {"Otto", "Dana"}


def test_what_has_gathered_for_a_week_waits_no_longer(company: Company):
    switch_on(company, Occasion.OWNER_LEFT)
    for somebody in (company.mira, company.otto):
        company.credential(name=somebody.owner.name, owner=somebody.owner)
    company.pass_by(HOUR)
    for somebody in (company.mira, company.otto):
        leave(somebody.owner, company)
        company.pass_by(HOUR)
        begun(company)
    company.pass_by(7 * DAY)
    assert [reviewed(each) for each in begun(company)] == [{"Mira"}, {"Otto"}]


def test_what_is_open_in_another_campaign_is_not_asked_about_twice(company: Company):
    switch_on(company, Occasion.OWNER_LEFT)
    company.credential(name="deploy")
    company.launch()
    company.pass_by(HOUR)
    leave(company.mira.owner, company)
    company.pass_by(HOUR)
    assert begun(company) == []
    assert Occurrence.objects.get().settled_at == company.now


def test_what_occurred_before_it_was_switched_on_or_while_it_was_off_is_not_reviewed(company: Company):
    company.credential(name="deploy")
    leave(company.mira.owner, company)
    company.pass_by(HOUR)
    switch_on(company, Occasion.OWNER_LEFT)
    assert begun(company) == []
    switch_on(company, Occasion.OWNER_LEFT, is_on=False)
    company.credential(name="other", owner=company.otto.owner)
    leave(company.otto.owner, company)
    company.pass_by(HOUR)
    assert begun(company) == []
    switch_on(company, Occasion.OWNER_LEFT)
    assert begun(company) == []


def test_nothing_begins_by_itself_unless_it_is_switched_on(company: Company):
    company.credential(name="deploy")
    leave(company.mira.owner, company)
    assert begin_campaigns()["occurred"] == 0


def test_switching_one_on_is_audited_and_for_reviewers(company: Company):
    with pytest.raises(NotAReviewer):
        switch_on(company, Occasion.OWNER_LEFT, actor=company.mira.actor)
    with pytest.raises(TriggerRefused):
        switch_on(company, Occasion.OWNER_LEFT, answer_within=HOUR)
    switch_on(company, Occasion.OWNER_LEFT)
    entry = AuditEntry.objects.get(event="trigger.set")
    assert entry.detail == {"on": True, "lead": "Lea", "no_answer": "escalate", "days": 14}


def test_a_reviewer_switches_one_on_from_the_list_of_campaigns(company: Company):
    client = Client()
    client.force_login(company.lea.owner.user)
    assert "Begin by themselves" in text(client.get("/campaigns/"))
    at = "/campaigns/by-itself/exposure_found/"
    assert "Exposure found" in text(client.get(at))
    client.post(at, {"decided": "yes", "is_on": "on", "lead": "Lea", "no_answer": "suspend", "days": "7"})
    row = Trigger.objects.get()
    assert (row.occasion, row.is_on, row.no_answer, row.answer_within) == ("exposure_found", True, "suspend", 7 * DAY)
    client.post(at, {"decided": "yes", "no_answer": "suspend", "days": "7"})
    row.refresh_from_db()
    assert not row.is_on
    assert client.get("/campaigns/by-itself/something_else/").status_code == 404


def test_one_is_switched_on_over_rest():
    reviewer = bearer(Role.REVIEWER)
    made = reviewer.post("review-triggers/", {"occasion": "client_registered", "is_on": True})
    assert made.status_code == 201
    assert made.json()["answer_within"] == 14 * 86_400
    problem_of(bearer(Role.AUDITOR).post("review-triggers/", {"occasion": "owner_left", "is_on": True}), 403)
    assert [each["occasion"] for each in reviewer.json("review-triggers/?is_on=true")["results"]] == [
        "client_registered"
    ]
