"""Decoys: a reviewer cannot tell one before it is submitted, it counts nowhere, and nothing ever comes of it."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from access.roles import Role
from audit.models import AuditEntry
from inventory.models import Credential, Owner
from lifecycle.actions.requests import request_revocation
from lifecycle.models import Operation
from notifications.actions.recipients import keep_recipients
from notifications.models import Notice
from reviews.actions.campaigns import cancel_campaign, change_due, launch
from reviews.actions.decisions import decide, delegate, reassign, submit
from reviews.actions.recurring import draft_due
from reviews.actions.reminding import remind
from reviews.actions.signing import attest, lines_of, sign
from reviews.decoys import hinted, key_between, named
from reviews.errors import CampaignRefused, ItemNotVisible, StillYours
from reviews.measured import ROWS
from reviews.models import Approval, Campaign, Decision, Delegation, ReviewItem
from reviews.models.figures import decoys_of, pace, standing
from reviews.packing.lists import sources
from reviews.running import carry_on
from reviews.states import ITEM_FINAL, Ending, ItemState, NoAnswer, Seat, What
from tests import factories
from tests.api.conftest import Caller
from tests.examples import SHARED_FIXTURE, examples
from tests.factories import NOW
from tests.people import browser, text
from tests.reviews.company import STATES, SYSTEM, Company, Somebody
from tests.reviews.test_every_item_is_accounted_for import World, steps
from tests.reviews.test_views_campaigns import DECIDED, as_

pytestmark = pytest.mark.django_db
LONG_AGO = NOW - timedelta(days=600)


class Planted(Company):
    """Ten credentials that nobody uses, of somebody who left, which Otto handles; they differ by their names alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.left = factories.owner(name="Gone", is_active=False)
        for number in range(10):
            self.unused(f"svc-{number:02} / key")

    def unused(self, name: str, handler: Somebody | None = None) -> Credential:
        handler = handler or self.otto
        return self.credential(
            name=name, owner=self.left, custodian=handler.owner, issued_at=LONG_AGO, last_used_at=None, hint="svc_…7f2c"
        )

    def planted(self, number: int = 2, **values: Any) -> Campaign:
        return self.launch(decoys=number, **values)

    def decide(self, who: Somebody, what: What, *rows: ReviewItem) -> None:
        decide([row.pk for row in rows], what, actor=who.actor, now=self.now, reason="I looked at it")

    def submit(self, who: Somebody, campaign: Campaign) -> Any:
        return submit(campaign, actor=who.actor, now=self.now)


@pytest.fixture
def company() -> Planted:
    return Planted()


def decoys(campaign: Campaign) -> list[ReviewItem]:
    return list(ReviewItem.with_decoys.filter(campaign=campaign, decoy__isnull=False).order_by("pk"))


def real(campaign: Campaign) -> list[ReviewItem]:
    return list(ReviewItem.objects.filter(campaign=campaign).order_by("pk"))


def caller(who: Somebody) -> Caller:
    client = Client()
    client.force_login(who.owner.user)
    return Caller(browser=client)


# ── Planting ───────────────────────────────────────────────────────────────────────────────────


def test_nobody_is_sent_a_decoy_unless_a_campaign_asks_for_it(company: Planted):
    assert decoys(company.launch()) == []


def test_each_reviewer_is_sent_as_many_as_asked_for_and_one_for_five_at_most(company: Planted):
    for number in range(5):
        company.unused(f"etl-{number}", company.dana)
    for number in range(4):
        company.unused(f"api-{number}", company.rui)
    campaign = company.planted(2)
    held = [row.reviewer.name for row in decoys(campaign)]
    assert {name: held.count(name) for name in held} == {"Otto": 2, "Dana": 1}
    assert (campaign.size, campaign.planted) == (19, 3)


def test_a_decoy_has_a_known_answer(company: Planted):
    for row in decoys(company.planted()):
        assert (row.recommendation, row.owner, row.reviewer) == ("revoke", company.left, company.otto.owner)
        assert row.known_since <= NOW - timedelta(days=365)
        assert row.last_used_at is None
        assert row.reasons == ["never_used", "owner_left"]


def test_where_nobody_has_left_nobody_answers_for_a_decoy(company: Planted):
    Credential.objects.update(owner=None)
    company.left.delete()
    assert {(row.owner, *row.reasons) for row in decoys(company.planted())} == {(None, "never_used", "no_owner")}


def test_a_decoy_bears_a_name_that_nothing_has(company: Planted):
    names = {row.name for row in decoys(company.planted())}
    assert len(names) == 2
    assert not Credential.objects.filter(name__in=names).exists()


def test_a_decoy_stands_where_its_risk_and_name_put_it(company: Planted):
    campaign = company.planted()
    rows = list(ReviewItem.with_decoys.filter(campaign=campaign).order_by("pk"))
    assert rows == sorted(rows, key=lambda row: (-row.risk, -row.score, row.name))
    assert {row.pk.version for row in rows} == {7}


def test_what_a_decoy_is_bound_to_is_digested_as_that_of_others(company: Planted):
    for row in decoys(company.planted()):
        with connection.cursor() as cursor:
            cursor.execute("SELECT bound::text FROM reviews_reviewitem WHERE id = %s", [row.pk])
            (bound,) = cursor.fetchone()
        assert row.bound_digest == sha256(bound.encode()).hexdigest()


def test_the_launch_says_in_the_chain_which_they_are_without_naming_them(company: Planted):
    campaign = company.planted()
    said = AuditEntry.objects.get(event="campaign.launched").detail
    lines = "\n".join(f"{row.pk} {row.name}" for row in decoys(campaign))
    assert said["decoys"] == {"planted": 2, "digest": sha256(lines.encode()).hexdigest()}
    assert said["items"] == 10


@pytest.mark.parametrize("number", [-1, 11])
def test_more_than_ten_for_one_reviewer_are_refused(number: int, company: Planted):
    with pytest.raises(CampaignRefused) as refused:
        company.draft(decoys=number)
    assert list(refused.value.problems) == ["decoys"]


@given(
    seed=st.integers(0, 10_000), beside=st.lists(st.text("abc-/ 09", min_size=1, max_size=12), min_size=1, max_size=4)
)
def test_a_name_is_always_found_and_never_one_that_is_taken(seed: int, beside: list[str]):
    made = named(beside[0], beside, set(beside), Random(seed))
    assert made
    assert made not in beside


@given(first=st.integers(0, 2**120), gap=st.integers(1, 2**90), seed=st.integers(0, 10_000))
def test_a_key_is_made_between_two_keys(first: int, gap: int, seed: int):
    before, after = (
        UUID(int=number & ~(0xF << 76) & ~(3 << 62) | 7 << 76 | 2 << 62) for number in (first, first + gap)
    )
    made = key_between(before, after, Random(seed))
    assert made.version == 7
    assert made > before
    assert made < after or after <= before or after.int - before.int < 2


def test_a_hint_keeps_its_beginning_and_its_kinds_of_letters():
    assert re.fullmatch(r"AKIA…\d[A-Z]\d[A-Z]", hinted("AKIA…3F2K", Random(1)))


# ── It cannot be told from the rest ────────────────────────────────────────────────────────────


def plain(html: str, row: ReviewItem) -> str:
    """A page without what differs between any two items: keys, names, times and how long ago they were."""
    html = html.replace(str(row.pk), "ID").replace(row.name, "NAME").replace(row.facts["hint"], "HINT")
    html = re.sub(r"<time.*?</time>", "TIME", html)
    return re.sub(r'name="csrf\w+" value="\w+"|nonce="[^"]+"', "", html)


def row_of(page: str, row: ReviewItem) -> str:
    (found,) = [each for each in re.findall(r"<tr data-row.*?</tr>", page, re.DOTALL) if str(row.pk) in each]
    return plain(found, row)


def test_the_row_of_a_decoy_is_the_row_of_a_real_item(company: Planted):
    campaign = company.planted()
    page = text(as_(company.otto).get(f"/reviews/{campaign.pk}/?mine=true"))
    assert "12 to decide" in page
    assert {row_of(page, row) for row in decoys(campaign)} == {row_of(page, row) for row in real(campaign)}


def test_the_page_of_a_decoy_is_the_page_of_a_real_item(company: Planted):
    campaign = company.planted()
    otto = as_(company.otto)

    def shown(row: ReviewItem) -> str:
        page = text(otto.get(f"/reviews/items/{row.pk}/"))
        return plain(page[page.index('<section class="item"') :], row)

    some = real(campaign)[3:6]
    neighbours = re.compile(r'<div class="actions">.*?</div>', re.DOTALL)
    said = {neighbours.sub("", shown(row)) for row in (*decoys(campaign), *some)}
    assert len(said) == 1
    assert "Where it can be cut" in said.pop()


def test_over_rest_a_decoy_has_the_shape_of_a_real_item(company: Planted):
    campaign = company.planted()
    otto = caller(company.otto)
    listed = {each["id"]: each for each in otto.json(f"review-items/?campaign={campaign.pk}")["results"]}
    assert len(listed) == 12
    one, other = decoys(campaign)[0], real(campaign)[4]

    def told(row: ReviewItem) -> dict[str, Any]:
        said = otto.json(f"review-items/{row.pk}/")
        assert {name: said[name] for name in listed[str(row.pk)]} == listed[str(row.pk)]
        mere = (
            json.dumps(said, ensure_ascii=False)
            .replace(str(row.pk), "ID")
            .replace(row.name, "NAME")
            .replace(row.facts["hint"], "HINT")
        )
        found: dict[str, Any] = json.loads(mere)
        for name in ("known_since", "bound_digest"):
            assert found.pop(name)
        assert found["facts"].pop("known_since")
        return found

    assert told(one) == told(other)


def test_while_it_is_undecided_no_item_beside_decoys_leads_to_its_thing(company: Planted):
    campaign = company.planted()
    row, otto = real(campaign)[0], caller(company.otto)
    assert otto.json(f"review-items/{row.pk}/")["credential"] is None
    assert "Open the credential" not in text(as_(company.otto).get(f"/reviews/items/{row.pk}/"))
    company.decide(company.otto, What.REVOKE, row)
    company.submit(company.otto, campaign)
    assert otto.json(f"review-items/{row.pk}/")["credential"]["id"] == str(row.credential_id)
    assert "Open the credential" in text(as_(company.otto).get(f"/reviews/items/{row.pk}/"))


def test_a_decision_about_a_decoy_is_listed_as_any_other_of_ones_own(company: Planted):
    campaign = company.planted()
    one, other = decoys(campaign)[0], real(campaign)[0]
    for row in (one, other):
        company.decide(company.otto, What.REVOKE, row)
    said = caller(company.otto).json("review-decisions/")["results"]
    assert {each["item"]["id"] for each in said} == {str(one.pk), str(other.pk)}
    narrowed = caller(company.otto).json(f"review-decisions/?item={one.pk}")["results"]
    assert [each["item"]["display"] for each in narrowed] == [one.name]
    assert AuditEntry.objects.filter(event="review_item.decided", subject_id__in=[one.pk, other.pk]).count() == 2


def test_reviewers_are_told_in_advance_that_there_are_decoys_and_not_which(company: Planted):
    campaign = company.planted()
    for address in (f"/reviews/{campaign.pk}/", f"/campaigns/{campaign.pk}/"):
        assert "Some items may be decoys" in text(as_(company.otto).get(address))
    assert "decoy" not in text(as_(company.otto).get(f"/reviews/items/{decoys(campaign)[0].pk}/"))


@pytest.mark.parametrize("name", ["lea", "rui", "mira", "dana"])
def test_nobody_but_its_reviewer_sees_a_decoy_whatever_else_they_see(name: str, company: Planted):
    campaign = company.planted()
    row = decoys(campaign)[0]
    company.decide(company.otto, What.KEEP, row)
    who = getattr(company, name)
    assert as_(who).get(f"/reviews/items/{row.pk}/").status_code == 404
    assert caller(who).get(f"review-items/{row.pk}/").status_code == 404
    assert row.name not in text(as_(who).get(f"/campaigns/{campaign.pk}/"))
    assert caller(who).json("review-decisions/")["results"] == []
    with pytest.raises(ItemNotVisible):
        company.decide(who, What.KEEP, row)


def test_a_lead_who_reviews_sees_their_own_decoys_as_anybody_does(company: Planted):
    for number in range(5):
        company.unused(f"etl-{number}", company.lea)
    campaign = company.planted(1)
    (own,) = [row for row in decoys(campaign) if row.reviewer == company.lea.owner]
    listed = caller(company.lea).json(f"review-items/?campaign={campaign.pk}")["results"]
    assert len(listed) == 16
    assert "decoy" not in text(as_(company.lea).get(f"/reviews/items/{own.pk}/"))
    assert own.name not in text(as_(company.lea).get(f"/campaigns/{campaign.pk}/"))


# ── Once it is submitted ───────────────────────────────────────────────────────────────────────


def test_who_found_one_is_told_once_they_have_submitted(company: Planted):
    campaign = company.planted()
    row = decoys(campaign)[0]
    company.decide(company.otto, What.REVOKE, row)
    answer = as_(company.otto).post(f"/reviews/{campaign.pk}/submit/", DECIDED, follow=True)
    assert "1 item was a decoy, and you found it. Nothing comes of it." in text(answer)
    assert "It was a decoy." in text(as_(company.otto).get(f"/reviews/items/{row.pk}/"))


def test_who_kept_one_is_told_so_in_one_sentence(company: Planted):
    campaign = company.planted()
    company.decide(company.otto, What.KEEP, *decoys(campaign))
    done = company.submit(company.otto, campaign)
    assert (done.decisions, done.kept, done.decoys, done.found) == (0, 0, 2, 0)
    row = decoys(campaign)[0]
    assert (row.state, row.ending) == (ItemState.CLOSED, Ending.DECOY)
    assert row.proof == "It was planted to see whether items are read, and it was kept. Nothing comes of it."


def test_the_lead_is_told_how_many_each_found_and_which_once_they_are_submitted(company: Planted):
    campaign = company.planted()
    first, second = decoys(campaign)
    company.decide(company.otto, What.KEEP, first)
    company.submit(company.otto, campaign)
    company.decide(company.otto, What.REVOKE, second)
    said = text(as_(company.lea).get(f"/campaigns/{campaign.pk}/"))
    assert "0 of 1" in said
    assert first.name in said
    assert second.name not in said
    (paced,) = pace(campaign.pk)
    assert (paced["decisions"], paced["decoys_decided"], paced["decoys_found"]) == (0, 1, 0)


@pytest.mark.parametrize("what", [What.KEEP, What.REVOKE, What.ROTATE, What.REASSIGN])
def test_nothing_comes_of_what_is_decided_about_a_decoy(what: What, company: Planted):
    campaign = company.planted(1)
    (row,) = decoys(campaign)
    before = list(Credential.objects.order_by("pk").values("pk", "owner", "reviewed_at", "status"))
    to = company.dana.owner if what is What.REASSIGN else None
    decide([row.pk], what, actor=company.otto.actor, now=NOW, reason="So it is", to=to)
    company.submit(company.otto, campaign)
    carry_on(clock=lambda: NOW, ring=lambda _: None)
    assert not Operation.objects.exists()
    assert not Approval.objects.exists()
    assert not Notice.objects.exists()
    assert list(Credential.objects.order_by("pk").values("pk", "owner", "reviewed_at", "status")) == before
    assert AuditEntry.objects.latest("seq").event == "campaign.submitted"


@pytest.mark.parametrize(
    "values",
    [
        {"credential": "some"},
        {"operation": "some"},
        {"state": ItemState.ACTING, "first_by_key": "user:1"},
        {"state": ItemState.RETURNED},
        {"by_clock": True},
        {"state": ItemState.CLOSED, "ending": Ending.REVOKED, "proof": "x", "closed_at": NOW, "first_by_key": "user:1"},
        {"kind": "grant"},
    ],
)
def test_the_database_refuses_a_decoy_that_is_about_something_or_acts(values: dict[str, Any], company: Planted):
    campaign = company.planted(1)
    credential = Credential.objects.earliest("pk")
    operation = request_revocation(credential, actor=SYSTEM, now=NOW, reason="It is over")
    rows: dict[str, Any] = {"credential": credential, "operation": operation}
    given_values = {name: rows[name] if value == "some" else value for name, value in values.items()}
    row = ReviewItem.with_decoys.filter(pk=decoys(campaign)[0].pk)
    with pytest.raises(IntegrityError, match="review_item_decoy_is_about_nothing"), transaction.atomic():
        row.update(**given_values)


def test_the_database_refuses_an_item_that_is_about_nothing_and_no_decoy(company: Planted):
    row = ReviewItem.objects.filter(pk=real(company.launch())[0].pk)
    with pytest.raises(IntegrityError, match="review_item_is_of_one_thing"), transaction.atomic():
        row.update(credential=None)


# ── It counts nowhere ──────────────────────────────────────────────────────────────────────────


def test_many_kept_in_one_go_count_without_the_decoy_among_them(company: Planted):
    campaign = company.planted()
    alike = [*real(campaign), *decoys(campaign)]
    assert len({row.alike for row in alike}) == 1
    company.decide(company.otto, What.KEEP, *alike)
    done = company.submit(company.otto, campaign)
    assert (done.decisions, done.kept, done.decoys) == (10, 10, 2)
    (paced,) = pace(campaign.pk)
    said = [paced[name] for name in ("decisions", "submitted", "keeps", "in_bulk", "longest_run_of_keeps")]
    assert said == [10, 10, 10, 10, 10]
    assert standing(campaign.pk)[0]["endings"] == {"kept": 10}
    assert Approval.objects.count() == 10


def test_the_numbers_of_a_campaign_leave_decoys_out(company: Planted):
    campaign = company.planted()
    assert sum(place["in_campaign"] for place in campaign.completeness) == campaign.size == 10
    assert standing(campaign.pk)[0]["states"] == {"open": 10}
    assert [(each["name"], each["items"]) for each in standing(campaign.pk)[1]] == [("Otto", 10)]
    listed = caller(company.rui).json(f"review-items/?campaign={campaign.pk}")["results"]
    assert {each["id"] for each in listed} == {str(row.pk) for row in real(campaign)}


def test_no_measure_and_no_list_of_a_pack_has_a_decoy(company: Planted):
    campaign = company.planted()
    rows = decoys(campaign)
    company.decide(company.otto, What.REVOKE, rows[0])
    delegate([rows[1].pk], company.dana.owner, actor=company.otto.actor, now=NOW, reason="On leave")
    company.submit(company.otto, campaign)
    later = NOW + timedelta(days=40)
    for slug in ("reviews-in-time", "decisions-carried-out", "decisions-read"):
        with connection.cursor() as cursor:
            cursor.execute(ROWS[slug], {"now": later, "since": NOW - timedelta(days=1)})
            assert not {name for _, name, _ in cursor.fetchall()} & {row.name for row in rows}
    lists = sources(NOW - timedelta(days=1))
    for name in ("review-items", "decisions", "delegations"):
        statement, values = lists[name].objects()
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            packed = " ".join(str(line) for (line,) in cursor.fetchall())
        assert not [row for row in rows if str(row.pk) in packed]
    assert "decoy" not in lists["review-items"].heads()
    assert "planted" in lists["campaigns"].heads()


def test_no_decoy_is_part_of_what_is_signed(company: Planted):
    campaign = company.planted()
    for row in (*real(campaign), *decoys(campaign)):
        company.decide(company.otto, What.KEEP, row)
    before = list(lines_of(campaign))
    company.submit(company.otto, campaign)
    made = attest(campaign, actor=company.otto.actor, now=NOW, statement=STATES)
    assert made.decisions == 10
    signed = sign(campaign, actor=company.lea.actor, now=NOW, statement=STATES)
    lines = list(lines_of(signed))
    assert len(before) == 2 + 10
    assert len(lines) == 2 + 10 + 10
    assert not [line for line in lines for row in decoys(campaign) if str(row.pk) in line]
    said = AuditEntry.objects.get(event="campaign.signed").detail
    assert said["decoys"] == {"planted": 2, "decided": 2, "found": 0}


def test_a_campaign_is_signed_whether_or_not_its_decoys_were_decided(company: Planted):
    campaign = company.planted()
    company.decide(company.otto, What.KEEP, *real(campaign))
    company.submit(company.otto, campaign)
    carry_on(clock=lambda: NOW, ring=lambda _: None)
    attest(campaign, actor=company.otto.actor, now=NOW, statement=STATES)
    assert {row.state for row in decoys(campaign)} == {ItemState.CANCELLED}
    signed = sign(campaign, actor=company.lea.actor, now=NOW, statement=STATES)
    assert signed.state == "signed"
    assert decoys_of(campaign.pk) == {"planted": 2, "decided": 0, "found": 0}


def test_who_decided_a_decoy_submits_that_before_they_attest(company: Planted):
    campaign = company.planted()
    company.decide(company.otto, What.KEEP, *real(campaign))
    company.submit(company.otto, campaign)
    company.decide(company.otto, What.REVOKE, decoys(campaign)[0])
    with pytest.raises(StillYours):
        attest(campaign, actor=company.otto.actor, now=NOW, statement=STATES)


# ── Other hands, other ends ────────────────────────────────────────────────────────────────────


def test_a_decoy_is_handed_on_as_any_item_and_its_new_reviewer_is_told(company: Planted):
    campaign = company.planted(1)
    (row,) = decoys(campaign)
    delegate([row.pk], company.dana.owner, actor=company.otto.actor, now=NOW, reason="On leave")
    assert Delegation.with_decoys.get(item=row).to_owner == company.dana.owner
    assert not Delegation.objects.exists()
    assert caller(company.dana).json("review-delegations/")["results"][0]["item"]["display"] == row.name
    company.decide(company.dana, What.REVOKE, row)
    company.submit(company.dana, campaign)
    assert [(each["reviewer"], each["decoys_found"]) for each in pace(campaign.pk)] == [("Dana", 1)]


def test_decoys_end_where_the_lead_gave_away_all_that_they_stood_among(company: Planted):
    campaign = company.planted(1)
    keys = [row.pk for row in real(campaign)]
    asked = {"actor": company.lea.actor, "now": NOW, "reason": "Otto is away"}
    reassign(keys[:9], Seat.FIRST, company.dana.owner, **asked)
    assert decoys(campaign)[0].state == ItemState.OPEN
    reassign(keys[9:], Seat.FIRST, company.dana.owner, **asked)
    assert decoys(campaign)[0].state == ItemState.CANCELLED


def test_decoys_go_with_the_rest_when_a_reviewer_leaves(company: Planted):
    campaign = company.planted(1)
    Owner.objects.filter(pk=company.otto.owner.pk).update(is_active=False, deputy=company.dana.owner)
    carry_on(clock=lambda: NOW, ring=lambda _: None)
    assert {row.reviewer for row in (*real(campaign), *decoys(campaign))} == {company.dana.owner}
    entry = AuditEntry.objects.get(event="campaign.escalated")
    assert entry.detail["items"] == 10


def test_decoys_go_with_the_rest_when_nobody_answers(company: Planted):
    campaign = company.planted(1)
    later = company.pass_by(timedelta(days=31))
    carry_on(clock=lambda: later, ring=lambda _: None)
    rows = [*real(campaign), *decoys(campaign)]
    assert {(row.reviewer, row.due_at) for row in rows} == {(company.lea.owner, later + campaign.escalate_after)}


@pytest.mark.parametrize("answer", [NoAnswer.REVOKE, NoAnswer.SUSPEND])
def test_a_decoy_just_ends_where_the_clock_decides_about_the_rest(answer: NoAnswer, company: Planted):
    campaign = company.planted(1, no_answer=answer)
    later = company.pass_by(timedelta(days=31))
    carry_on(clock=lambda: later, ring=lambda _: None)
    assert {row.what for row in real(campaign)} == {answer}
    (row,) = decoys(campaign)
    assert (row.state, row.what, row.by_clock) == (ItemState.CANCELLED, "", False)
    assert not Decision.with_decoys.filter(item=row).exists()


def test_decoys_end_with_a_campaign_that_is_cancelled(company: Planted):
    campaign = company.planted()
    company.decide(company.otto, What.KEEP, decoys(campaign)[0])
    cancel_campaign(campaign, actor=company.lea.actor, now=NOW, reason="Begun by mistake")
    assert {row.state for row in decoys(campaign)} == {ItemState.CANCELLED}
    assert not Decision.with_decoys.current().exists()
    assert AuditEntry.objects.get(event="campaign.cancelled").detail["items"] == 10


def test_the_date_of_decoys_moves_with_that_of_the_rest(company: Planted):
    campaign = company.planted()
    later = NOW + timedelta(days=60)
    change_due(campaign, later, actor=company.lea.actor, now=NOW, reason="Half the team is away")
    assert {row.due_at for row in (*real(campaign), *decoys(campaign))} == {later}
    assert AuditEntry.objects.get(event="campaign.due_changed").detail["items"] == 10


def test_nobody_is_mailed_about_a_decoy(company: Planted, mail_is_on: None):
    keep_recipients(NOW)
    campaign = company.planted(reminders=[7])
    assert remind(now=NOW) == 1
    assert Notice.objects.get().subject.startswith("10 items to review")
    company.decide(company.otto, What.KEEP, *real(campaign))
    company.submit(company.otto, campaign)
    assert remind(now=NOW + timedelta(days=24)) == 0
    assert standing(campaign.pk)[1] == []


def test_a_campaign_that_comes_back_plants_as_many_and_shows_the_last_review_alike(company: Planted):
    campaign = company.planted(repeats_every=timedelta(days=90))
    company.decide(company.otto, What.KEEP, *real(campaign))
    company.submit(company.otto, campaign)
    later = company.pass_by(timedelta(days=91))
    assert draft_due(now=later) == 1
    again = launch(Campaign.objects.get(follows=campaign), actor=company.lea.actor, now=later)
    assert (again.decoys, again.planted) == (2, 2)
    assert None not in {row.last_item_id for row in decoys(again)}
    assert "Nothing has changed." in text(as_(company.otto).get(f"/reviews/items/{decoys(again)[0].pk}/"))


# ── From outside ───────────────────────────────────────────────────────────────────────────────


def test_the_command_plants_and_counts_them(company: Planted, capsys: pytest.CaptureFixture[str]):
    company.place.last_complete_at = None
    Company.launch(company, name="By hand", decoys=1)
    with pytest.raises(SystemExit):
        call_command("campaign", "status", "By hand")
    assert "1 decoys: 0 found of 0 decided" in capsys.readouterr().out


def test_a_draft_asks_for_decoys_on_its_page(company: Planted):
    due_on = (timezone.now() + timedelta(days=30)).date()
    sent = {"name": "Spring", "reviewed": "credential", "due_on": due_on, "no_answer": "escalate", "decoys": "3"}
    as_(company.lea).post("/campaigns/new/", sent)
    campaign = Campaign.objects.get()
    assert campaign.decoys == 3
    assert "3 at most for each reviewer" in text(as_(company.lea).get(f"/campaigns/{campaign.pk}/"))


def test_an_auditor_reads_how_many_were_planted_and_not_which(company: Planted):
    campaign = company.planted()
    said = text(browser(Role.AUDITOR).get(f"/campaigns/{campaign.pk}/"))
    assert "Beside these items 2 decoys were planted" in said
    assert not [row for row in decoys(campaign) if row.name in said]


# ── Whatever happens ───────────────────────────────────────────────────────────────────────────


class DecoyWorld(World):
    """The same, with decoys for Otto among what his team has; the first three of what is done are done to any of it."""

    def __init__(self, answer: NoAnswer) -> None:
        self.company = Company()
        team = factories.owner(name="Team", kind="team", manager=self.company.otto.owner)
        factories.owner(name="Gone", is_active=False)
        self.credentials = [self.company.credential(name=f"key-{number}", owner=team) for number in range(5)]
        self.campaign = self.company.launch(no_answer=answer, decoys=1)
        self.counted = sorted(row.pk for row in real(self.campaign))
        (self.decoy,) = decoys(self.campaign)
        self.keys = [self.counted[0], self.decoy.pk, self.counted[1]]

    def holds(self) -> None:
        rows = real(self.campaign)
        assert sorted(row.pk for row in rows) == self.counted
        said, waiting = standing(self.campaign.pk)
        assert sum(said["states"].values()) == self.campaign.size == 5
        assert sum(said["endings"].values()) == len([row for row in rows if row.state == ItemState.CLOSED])
        waits = sum(each["items"] for each in waiting)
        assert waits <= 2 * len([row for row in rows if row.is_undecided])
        made = Decision.objects.current().exclude(seat=Seat.CLOCK).filter(item__in=self.counted)
        assert sum(each["decisions"] for each in pace(self.campaign.pk)) == made.count()
        (row,) = decoys(self.campaign)
        assert row.state in {ItemState.OPEN, *ITEM_FINAL}
        assert (row.operation, row.by_clock) == (None, False)
        assert not Approval.objects.filter(item=row).exists()
        assert not [line for line in lines_of(self.campaign) if str(row.pk) in line]
        told = sum(each["decoys_decided"] for each in pace(self.campaign.pk))
        assert told == (row.ending == Ending.DECOY) == decoys_of(self.campaign.pk)["decided"]


@settings(max_examples=examples(4), suppress_health_check=SHARED_FIXTURE)
@given(answer=st.sampled_from(list(NoAnswer)), done=steps)
def test_whatever_is_done_the_numbers_hold_without_the_decoy(db: None, answer: NoAnswer, done: list[tuple[Any, ...]]):
    with transaction.atomic():
        world = DecoyWorld(answer)
        for step in done:
            world.do(step)
        transaction.set_rollback(True)


# Statements by hand that need not say what becomes of decoys, by module: how many there are, and why that is right.
SILENT = {
    "reviews/measured.py": (1, "whether something was decided anew, asked by what that is"),
    "reviews/models/subjects.py": (1, "it asks for items by what they are about"),
    "reviews/models/cuts.py": (1, "it starts from what items are about"),
    "reviews/actions/campaigns.py": (3, "what is launched, its last review by what that was about, and tidying up"),
    "reviews/actions/closing.py": (2, "what came of a subject, and a decoy has none"),
    "reviews/actions/escalation.py": (7, "parts go to others with all that stands beside them"),
}
TABLES = ("reviews_reviewitem", "reviews_decision", "reviews_delegation")


def statements() -> Iterator[tuple[str, str]]:
    """Every text in the code of reviews that names a table of items, or of what was said about them."""
    for path in sorted(Path("reviews").rglob("*.py")):
        lines = path.read_text().splitlines()
        tree = ast.parse("\n".join(lines)) if "migrations" not in path.parts else ast.Module([], [])
        joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        pieces = {id(piece) for node in joined for piece in ast.walk(node) if piece is not node}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr | ast.Constant) and id(node) not in pieces:
                said = "\n".join(lines[node.lineno - 1 : node.end_lineno])
                if any(f" {table}" in said for table in TABLES):
                    yield str(path), said


def test_every_statement_by_hand_says_what_becomes_of_decoys():
    silent = Counter(path for path, said in statements() if "decoy" not in said)
    assert silent == {path: number for path, (number, _) in SILENT.items()}
