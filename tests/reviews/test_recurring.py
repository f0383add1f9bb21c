"""Campaigns that begin by themselves, approvals that lapse, and who is told when."""

import csv
import io
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.models import AuditEntry
from inventory.actions.admission import admit
from inventory.actions.grants import approve_grants, change_grant, definitions_of, seen
from inventory.models import Connection, Credential, Grant, McpClient, McpServer, Tool
from notifications.actions.recipients import keep_recipients
from notifications.mail import rendered
from notifications.models import Notice
from reviews import verifying
from reviews.actions.controls import measure_controls
from reviews.actions.decisions import decide, submit
from reviews.actions.recurring import ask_again, draft_due, launch_drafts
from reviews.actions.reminding import remind, remind_by_hand
from reviews.errors import NobodyToRemind, NotTheLead, RemindedToday
from reviews.models import Approval, Campaign, MeasureDay, ReviewItem
from reviews.packing.copying import json_lines
from reviews.packing.lists import sources
from reviews.states import CampaignState, Origin, What
from tests import factories
from tests.factories import NOW
from tests.reviews.company import Company, item_of
from tests.reviews.packed import inputs, member, member_json, packed

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


# ── Approvals as evidence ───────────────────────────────────────────────────────────────────────


def lapsed(kept: Credential, company: Company) -> None:
    Credential.objects.filter(pk=kept.pk).update(scopes=["everything"])
    assert ask_again(now=company.now) == 1


def measured(now: datetime) -> tuple[int, int, int]:
    """Of approvals: met, violated, unknown."""
    measure_controls(now)
    row = MeasureDay.objects.get(measure="approvals-stand", taken_on=now.date())
    return row.met, row.violated, row.unknown


def in_pack(**values: Any) -> list[dict[str, Any]]:
    pack = packed(inputs(**values))
    as_rows = csv.DictReader(io.StringIO(member(pack, "lists/approvals.csv").decode(), newline=""))
    listed: list[dict[str, Any]] = member_json(pack, "lists/approvals.json")
    assert [row["digest"] for row in as_rows] == [each["digest"] for each in listed]
    return listed


def test_a_pack_says_what_an_approval_is_bound_to(company: Company, kept: Credential):
    (said,) = in_pack(taken_at=company.now)
    approval = Approval.objects.get()
    assert (said["subject_id"], said["kind"]) == (str(kept.pk), "credential")
    assert (said["digest"], said["bound"]) == (approval.digest, approval.bound)
    assert (said["approved_by"], said["ended_at"], said["is_lapsed"]) == ("Otto", None, False)
    assert said["item"]["id"] == str(approval.item_id)


def test_a_pack_says_when_an_approval_lapsed_and_what_differed(company: Company, kept: Credential):
    lapsed(kept, company)
    (said,) = in_pack(taken_at=company.now, begins_at=company.now - DAY)
    assert said["ended_at"] is not None
    assert (said["is_lapsed"], list(said["difference"])) == (True, ["scopes"])


def test_a_pack_has_what_was_granted_and_admitted(company: Company, granted: Grant):
    (said,) = in_pack(taken_at=company.now)
    assert (said["kind"], said["item"], said["approved_by"]) == ("grant", None, company.rui.actor.label)


def test_what_ended_before_its_period_is_not_in_a_pack(company: Company, kept: Credential):
    lapsed(kept, company)
    assert in_pack(taken_at=company.now, begins_at=company.now + DAY) == []


def test_a_pack_of_a_review_and_its_approvals_holds_and_keeps_to_oscal(
    company: Company, kept: Credential, granted: Grant, tmp_path: Path, oscal
):
    lapsed(kept, company)
    draft_due(now=company.now)
    place = tmp_path / "pack.zip"
    place.write_bytes(packed(inputs(taken_at=company.now, begins_at=company.now - DAY)))
    checked = verifying.Pack(place)
    checked.check()
    assert not [each for each in checked.unchecked if "lists that are not" in each]
    for document in ("assessment-results", "poam"):
        if f"oscal/{document}.json" in checked.stated:
            assert oscal.is_valid(member_json(place.read_bytes(), f"oscal/{document}.json"))
    rows = {name: checked.stated[f"lists/{name}.json"]["rows"] for name in verifying.LISTS}
    assert all(rows[name] for name in ("approvals", "campaigns", "review-items", "decisions", "grants")), rows


def test_of_the_past_a_pack_has_an_approval_as_it_stood(company: Company, kept: Credential):
    Approval.objects.update(approved_at=company.now - 9 * DAY)
    lapsed(kept, company)
    then = company.now - 5 * DAY
    said = Approval.objects.as_at(then).get()
    assert (said.ended_then, said.lapsed_then, said.difference_then) == (None, False, {})
    assert not Approval.objects.as_at(company.now - 10 * DAY).exists()
    listed = sources(then - 90 * DAY, then)["approvals"]
    assert listed.keeps_past
    ((block, _),) = json_lines(*listed.objects())
    assert json.loads(block)["ended_at"] is None


def test_an_approval_that_stands_is_met(company: Company, kept: Credential):
    assert measured(company.now) == (1, 0, 0)


def test_one_that_lapsed_is_unknown_while_it_is_asked_about_and_then_violated(company: Company, kept: Credential):
    lapsed(kept, company)
    assert measured(company.now) == (0, 0, 1)
    assert measured(company.now + 31 * DAY) == (0, 1, 0)


def test_one_that_lapsed_is_met_once_somebody_decided_anew(company: Company, kept: Credential):
    Approval.objects.update(approved_at=company.now - 9 * DAY)
    lapsed(kept, company)
    Approval.objects.update(ended_at=company.now - DAY)
    campaign = company.launch(name="Once more")
    decide([item_of(campaign).pk], What.REVOKE, actor=company.otto.actor, now=company.now, reason="It is not needed.")
    submit(campaign, actor=company.otto.actor, now=company.now)
    assert measured(company.now) == (1, 0, 0)


def test_one_that_lapsed_of_what_is_gone_is_not_counted(company: Company, kept: Credential):
    lapsed(kept, company)
    Credential.objects.filter(pk=kept.pk).update(last_seen_at=company.now, gone_at=company.now)
    assert measured(company.now) == (0, 0, 0)


# ── Approvals of grants and admissions ─────────────────────────────────────────────────────────


@pytest.fixture
def granted(company: Company) -> Grant:
    """Approved for a client at a server with two tools."""
    server = factories.server(name="github", iam_owner=company.otto.owner, connection=company.place)
    factories.tool(server, "search")
    factories.tool(server, "delete")
    grant = factories.grant(
        factories.client(name="cursor"), server, tools=["search"], scopes=["repo"], is_approved=False
    )
    approve(grant, company)
    return grant


def approve(grant: Grant, company: Company) -> None:
    rows = Grant.objects.filter(pk=grant.pk)
    as_seen = seen(rows, definitions_of([grant.server_id]))
    ends_at = company.now + 30 * DAY
    approve_grants(rows, as_seen=as_seen, ends_at=ends_at, actor=company.rui.actor, now=company.now, reason="asked")


def change(grant: Grant, tools: list[str], company: Company) -> None:
    grant.refresh_from_db()
    change_grant(
        grant, tools=tools, scopes=grant.scopes, resources=[], actor=company.rui.actor, now=company.now, reason="so"
    )


def test_an_approved_grant_is_bound_to_what_was_approved(company: Company, granted: Grant):
    approval = Approval.objects.get()
    assert (approval.kind, approval.subject_id, approval.item) == ("grant", granted.pk, None)
    assert approval.approved_by == company.rui.actor.label
    assert {"owner", "environment", "scopes", "tools", "granted", "authentication"} <= set(approval.bound)
    assert ask_again(now=company.now) == 0


def test_the_approval_of_a_grant_lapses_when_its_server_changes(company: Company, granted: Grant):
    McpServer.objects.update(authentication="oauth")
    assert ask_again(now=company.now) == 1
    assert set(Approval.objects.get().difference) == {"authentication"}
    assert launch_drafts(now=company.now) == 1
    assert item_of(Campaign.objects.get()).grant == granted


def test_a_grant_that_is_narrowed_stays_approved(company: Company, granted: Grant):
    change(granted, [], company)
    assert ask_again(now=company.now) == 0
    assert Approval.objects.standing().get().bound["granted"] == []


def test_narrowing_a_grant_hides_no_other_change(company: Company, granted: Grant):
    McpServer.objects.update(authentication="oauth")
    change(granted, [], company)
    assert ask_again(now=company.now) == 1


def test_a_grant_that_is_widened_is_a_draft_and_stands_for_nothing(company: Company, granted: Grant):
    change(granted, ["delete", "search"], company)
    assert not Approval.objects.standing().exists()
    assert not Approval.objects.filter(is_lapsed=True).exists()


def test_a_client_that_is_admitted_is_bound_to_its_registration(company: Company):
    client = factories.client(registration="dynamic", admission="quarantined", redirect_uris=["https://a.example/cb"])
    admit(McpClient.objects.all(), actor=company.rui.actor, now=company.now, reason="known")
    assert Approval.objects.get().subject_id == client.pk
    McpClient.objects.update(redirect_uris=["https://b.example/cb"])
    assert ask_again(now=company.now) == 1
    assert Approval.objects.get().difference == {"redirect_uris": [["https://a.example/cb"], ["https://b.example/cb"]]}


def test_what_was_granted_is_seen_by_whoever_sees_the_grant(company: Company, granted: Grant):
    assert Approval.objects.visible_to(company.otto.actor).exists()
    assert not Approval.objects.visible_to(company.dana.actor).exists()


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


def test_what_they_are_told_leads_to_what_is_theirs_in_that_campaign(company: Company, mail_is_on: None):
    company.credential()
    keep_recipients(NOW)
    campaign = company.launch()
    remind(now=company.now)
    mail = rendered(Notice.objects.first())
    address = f"https://keyreeve.halden.example/reviews/{campaign.pk}/?mine=true"
    assert address in str(mail.body)
    assert f'href="{address}"' in str(mail.alternatives[0][0])


def test_its_lead_reminds_once_a_day_whom_it_waits_for(company: Company, mail_is_on: None):
    company.credential()
    keep_recipients(NOW)
    campaign = company.launch()
    remind(now=company.now)
    told = remind_by_hand(campaign, actor=company.lea.actor, now=company.pass_by(DAY))
    assert told == 2
    assert "Lea reminds you" in str(rendered(Notice.objects.order_by("pk").last()).body)
    with pytest.raises(RemindedToday, match=r"12:00 UTC on 2 June"):
        remind_by_hand(campaign, actor=company.rui.actor, now=company.pass_by(DAY - timedelta(minutes=1)))
    assert remind_by_hand(campaign, actor=company.rui.actor, now=company.pass_by(timedelta(minutes=1))) == 2
    entries = AuditEntry.objects.filter(event="campaign.reminded", actor_kind="user")
    assert [each.detail for each in entries] == [{"reviewers": 2}] * 2


def test_a_reviewer_of_its_items_reminds_nobody(company: Company, mail_is_on: None):
    company.credential()
    campaign = company.launch()
    with pytest.raises(NotTheLead):
        remind_by_hand(campaign, actor=company.mira.actor, now=company.now)


def test_where_nobody_gets_mails_the_reminder_is_refused(company: Company, mail_is_on: None):
    company.credential()
    campaign = company.launch()
    with pytest.raises(NobodyToRemind):
        remind_by_hand(campaign, actor=company.lea.actor, now=company.now)
    campaign.refresh_from_db()
    assert campaign.reminded_at is None
