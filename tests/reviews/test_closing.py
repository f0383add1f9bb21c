"""From decisions to proof: what was decided is carried out, and nothing closes before its end was seen."""

from datetime import timedelta

import pytest

from audit.events import Event
from audit.models import AuditEntry
from inventory.models import ClientRemoval, Credential, Grant, McpClient, McpServer, Owner
from lifecycle.actions.requests import request_revocation
from lifecycle.models import Delivery, Operation
from reviews.actions.closing import begin_closing, carry_out, close_what_is_gone, follow, to_carry_out
from reviews.actions.decisions import decide, submit
from reviews.actions.escalation import act_on_unanswered, escalate_unanswered, pass_on_departed
from reviews.actions.signing import attest, digest_of, sign
from reviews.errors import AttestationsMissing, NotAReviewer, NothingToAttest, StillOpen, StillYours
from reviews.models import Campaign, Decision, Delegation, ReviewItem
from reviews.states import CampaignState, ItemState, What
from tests import factories
from tests.factories import NOW
from tests.reviews.company import STATES, SYSTEM, Company, Somebody, item_of, seen_refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Company:
    return Company()


def decided(company: Company, campaign: Campaign, what: What, **values: object) -> ReviewItem:
    """As everybody who has a part in it decides, and then begun."""
    row = item_of(campaign)
    for who in (company.mira, company.otto):
        if who.owner.pk in {row.reviewer_id, row.second_id}:
            decide([row.pk], what, actor=who.actor, now=company.now, reason="It is time", **values)
            submit(campaign, actor=who.actor, now=company.now)
    return begun(company, row)


def begun(company: Company, row: ReviewItem) -> ReviewItem:
    for key in to_carry_out():
        carry_out(key, now=company.now)
    row.refresh_from_db()
    return row


def delivered(credential: Credential) -> None:
    Delivery.objects.create(credential=credential, sink="file", location="/run/secrets/one", set_by="x", set_at=NOW)


# ── One thing at a time ────────────────────────────────────────────────────────────────────────


def test_a_revocation_closes_its_item_only_once_it_was_seen_refused(company: Company):
    company.credential()
    row = decided(company, company.launch(), What.REVOKE)
    assert (row.state, row.operation.kind, row.operation.trigger) == (ItemState.ACTING, "revocation", "review")
    follow(now=company.now)
    row.refresh_from_db()
    assert row.state == ItemState.ACTING
    seen_refused(row.operation)
    follow(now=company.now)
    row.refresh_from_db()
    assert (row.state, row.ending, row.proof) == (ItemState.CLOSED, "revoked", "Introspection says inactive.")


def test_what_nobody_can_tell_closes_nothing(company: Company):
    company.credential()
    row = decided(company, company.launch(), What.REVOKE)
    seen_refused(row.operation)
    Operation.objects.update(proof="unverifiable", proof_reason="Nobody can present it.")
    follow(now=company.now)
    row.refresh_from_db()
    assert row.state == ItemState.ACTING


@pytest.mark.parametrize("state", ["stalled", "cancelled"])
def test_what_failed_returns_to_its_reviewers(state: str, company: Company):
    company.credential()
    row = decided(company, company.launch(), What.REVOKE)
    values = {"stalled_at": NOW} if state == "stalled" else {"closed_at": NOW}
    Operation.objects.update(state=state, due_at=None, error="It does not answer", **values)
    follow(now=company.now)
    row.refresh_from_db()
    assert (row.state, row.round, row.what) == (ItemState.RETURNED, 2, "")
    assert row.returned_reason.startswith("The operation")


def test_a_stalled_operation_is_resumed_by_the_same_decision(company: Company):
    company.credential()
    campaign = company.launch()
    row = decided(company, campaign, What.REVOKE)
    Operation.objects.update(state="stalled", due_at=None, stalled_at=NOW)
    follow(now=company.now)
    again = decided(company, campaign, What.REVOKE)
    assert again.operation_id == row.operation_id
    assert again.operation.state == "pending"


def test_a_rotation_nobody_can_deliver_returns_at_once(company: Company):
    company.credential(connection=factories.connection(kind="aws", last_complete_at=NOW))
    row = decided(company, company.launch(), What.ROTATE)
    assert row.state == ItemState.RETURNED
    assert "place of delivery" in row.returned_reason


def test_a_rotation_closes_its_item(company: Company):
    delivered(company.credential(connection=factories.connection(kind="aws", last_complete_at=NOW)))
    row = decided(company, company.launch(), What.ROTATE)
    seen_refused(row.operation)
    follow(now=company.now)
    row.refresh_from_db()
    assert row.ending == "rotated"


def test_an_item_follows_its_rotation_into_the_revocation_that_took_its_place(company: Company):
    credential = company.credential(connection=factories.connection(kind="aws", last_complete_at=NOW))
    delivered(credential)
    row = decided(company, company.launch(), What.ROTATE)
    other = request_revocation(credential, actor=SYSTEM, now=NOW, reason="It leaked")
    follow(now=company.now)
    before = row.operation
    row.refresh_from_db()
    assert row.operation == other
    entry = AuditEntry.objects.about(row).filter(event=Event.REVIEW_ITEM_BEGUN).latest("seq")
    assert entry.detail == {"what": "rotate", "instead_of": str(before.pk)}
    seen_refused(other)
    follow(now=company.now)
    row.refresh_from_db()
    assert row.ending == "revoked"


def test_a_revocation_that_somebody_began_is_taken_along(company: Company):
    credential = company.credential()
    campaign = company.launch()
    other = request_revocation(credential, actor=SYSTEM, now=NOW, reason="It leaked")
    assert decided(company, campaign, What.REVOKE).operation == other


def test_a_reassignment_changes_who_answers_for_it(company: Company):
    credential = company.credential()
    row = decided(company, company.launch(), What.REASSIGN, to=company.dana.owner)
    credential.refresh_from_db()
    assert (credential.owner, row.ending) == (company.dana.owner, "reassigned")


def test_a_smaller_scope_closes_its_item_once_the_provider_lists_it(company: Company):
    credential = company.credential(scopes=["read", "write"])
    row = decided(company, company.launch(), What.REDUCE, detail={"scopes": ["read"]})
    follow(now=company.now)
    row.refresh_from_db()
    assert row.state == ItemState.ACTING
    Credential.objects.filter(pk=credential.pk).update(scopes=["read"])
    follow(now=company.now)
    row.refresh_from_db()
    assert row.ending == "reduced"


def test_a_scope_that_nobody_reduced_comes_back(company: Company):
    company.credential(scopes=["read", "write"])
    row = decided(company, company.launch(), What.REDUCE, detail={"scopes": ["read"]})
    follow(now=company.pass_by(timedelta(days=31)))
    row.refresh_from_db()
    assert row.state == ItemState.RETURNED


def granted(company: Company) -> Grant:
    server = factories.server(connection=company.place, application_owner=company.mira.owner)
    for name in ("search", "drop"):
        factories.tool(server, name)
    return factories.grant(factories.client(owner=company.dana.owner), server, tools=["drop", "search"])


def test_a_grant_is_withdrawn(company: Company):
    grant = granted(company)
    row = decided(company, company.launch(reviewed=["grant"]), What.REVOKE)
    grant.refresh_from_db()
    assert grant.withdrawn_at is not None
    assert row.ending == "revoked"


def test_a_grant_is_reduced_and_stays_approved(company: Company):
    grant = granted(company)
    row = decided(company, company.launch(reviewed=["grant"]), What.REDUCE, detail={"tools": ["search"]})
    grant.refresh_from_db()
    assert (grant.tools, bool(grant.approved_at), row.ending) == (["search"], True, "reduced")


def test_a_client_is_removed_in_its_own_stages(company: Company):
    program = factories.client(connection=company.place, registration="dynamic", owner=company.mira.owner)
    row = decided(company, company.launch(reviewed=["client"]), What.REVOKE)
    assert ClientRemoval.objects.get().client == program
    follow(now=company.now)
    row.refresh_from_db()
    assert row.state == ItemState.ACTING
    McpClient.objects.filter(pk=program.pk).update(admission="removed")
    follow(now=company.now)
    row.refresh_from_db()
    assert row.ending == "revoked"


def test_the_ownership_of_a_server_changes_hands(company: Company):
    server = factories.server(connection=company.place, iam_owner=company.mira.owner)
    campaign = company.launch(reviewed=["server"])
    row = decided(company, campaign, What.REASSIGN, to=company.dana.owner, detail={"role": "platform_owner"})
    assert McpServer.objects.get(pk=server.pk).platform_owner == company.dana.owner
    assert row.ending == "reassigned"


def test_what_ends_by_itself_is_closed_as_such(company: Company):
    company.credential()
    campaign = company.launch()
    Credential.objects.update(status="destroyed")
    assert close_what_is_gone(now=company.now) == 1
    assert item_of(campaign).ending == "gone"


# ── By the clock ───────────────────────────────────────────────────────────────────────────────


def test_what_nobody_answers_goes_up_the_line_and_is_never_kept(company: Company):
    company.credential()
    campaign = company.launch()
    asked = []
    for _ in range(4):
        escalate_unanswered(now=company.pass_by(timedelta(days=31)))
        row = item_of(campaign)
        asked.append((row.reviewer and row.reviewer.name, row.second and row.second.name))
    assert asked[0] == ("Lea", None)
    assert asked[-1] == (None, None)
    assert (row.state, row.escalations) == (ItemState.OPEN, 4)
    assert {each.why for each in Delegation.objects.all()} == {"escalated"}


@pytest.mark.parametrize(("answer", "ending"), [("revoke", "revoked"), ("suspend", "suspended")])
def test_what_nobody_answers_is_ended_where_the_campaign_says_so(answer: str, ending: str, company: Company):
    company.credential()
    campaign = company.launch(no_answer=answer)
    assert act_on_unanswered(now=company.now) == 0
    assert act_on_unanswered(now=company.pass_by(timedelta(days=31))) == 1
    row = begun(company, item_of(campaign))
    assert row.by_clock
    seen_refused(row.operation)
    follow(now=company.now)
    row.refresh_from_db()
    assert row.ending == ending


def test_what_was_suspended_is_destroyed_a_month_later(company: Company):
    company.credential()
    campaign = company.launch(no_answer="suspend")
    act_on_unanswered(now=company.pass_by(timedelta(days=31)))
    row = begun(company, item_of(campaign))
    assert row.operation.quiet == timedelta(days=30)
    Operation.objects.update(refused_at=NOW)
    follow(now=company.now)
    row.refresh_from_db()
    assert row.ending == "suspended"


def test_an_ownership_that_nobody_answers_for_escalates_whatever_the_campaign_says(company: Company):
    factories.server(connection=company.place, iam_owner=company.mira.owner)
    campaign = company.launch(reviewed=["server"], no_answer="revoke")
    company.pass_by(timedelta(days=31))
    assert act_on_unanswered(now=company.now) == 0
    assert escalate_unanswered(now=company.now)
    assert item_of(campaign).reviewer == company.lea.owner


def test_when_a_reviewer_leaves_their_deputy_takes_over_and_nothing_is_lost(company: Company):
    Owner.objects.filter(pk=company.mira.owner.pk).update(deputy=company.dana.owner)
    company.credential()
    campaign = company.launch()
    decide([item_of(campaign).pk], What.KEEP, actor=company.mira.actor, now=company.now)
    Owner.objects.filter(pk=company.mira.owner.pk).update(is_active=False)
    assert pass_on_departed(now=company.now) == 1
    row = item_of(campaign)
    assert row.reviewer == company.dana.owner
    assert company.dana.owner.pk in row.interested
    assert not Decision.objects.current().exists()
    assert Delegation.objects.get().why == "departed"


def test_what_somebody_submitted_before_they_left_stands(company: Company):
    company.credential()
    campaign = company.launch()
    decide([item_of(campaign).pk], What.KEEP, actor=company.mira.actor, now=company.now)
    submit(campaign, actor=company.mira.actor, now=company.now)
    Owner.objects.filter(pk=company.mira.owner.pk).update(is_active=False)
    assert pass_on_departed(now=company.now) == 0
    decide([item_of(campaign).pk], What.KEEP, actor=company.otto.actor, now=company.now)
    submit(campaign, actor=company.otto.actor, now=company.now)
    assert item_of(campaign).ending == "kept"


# ── Signing ────────────────────────────────────────────────────────────────────────────────────


def attested(company: Company, campaign: Campaign, *people: Somebody) -> None:
    for who in people:
        attest(campaign, actor=who.actor, now=company.now, statement=STATES)


def test_a_campaign_is_signed_once_everything_is_closed_and_attested(company: Company):
    company.credential()
    campaign = company.launch()
    with pytest.raises(StillOpen):
        sign(campaign, actor=company.lea.actor, now=company.now, statement=STATES)
    with pytest.raises(StillYours):
        attested(company, campaign, company.mira)
    decided(company, campaign, What.KEEP)
    assert begin_closing(now=company.now) == 1
    with pytest.raises(AttestationsMissing, match=r"Mira, Otto|Otto, Mira"):
        sign(campaign, actor=company.lea.actor, now=company.now, statement=STATES)
    attested(company, campaign, company.mira, company.otto)
    signed = sign(campaign, actor=company.lea.actor, now=company.now, statement=STATES)
    assert signed.state == CampaignState.SIGNED
    assert signed.digest == digest_of(signed)
    assert AuditEntry.objects.get(event="campaign.signed").detail["digest"] == signed.digest


def test_nobody_attests_what_they_did_not_decide(company: Company):
    company.credential()
    campaign = company.launch()
    with pytest.raises(NothingToAttest):
        attested(company, campaign, company.rui)


def test_who_has_left_is_not_waited_for(company: Company):
    company.credential()
    campaign = company.launch()
    decided(company, campaign, What.KEEP)
    attested(company, campaign, company.otto)
    Owner.objects.filter(pk=company.mira.owner.pk).update(is_active=False)
    assert sign(campaign, actor=company.lea.actor, now=company.now, statement=STATES).signed_by == "Lea"


def test_who_neither_leads_nor_reviews_signs_nothing(company: Company):
    company.credential()
    campaign = company.launch()
    with pytest.raises(NotAReviewer):
        sign(campaign, actor=company.dana.actor, now=company.now, statement=STATES)
