"""What a launch freezes: the scope, the facts, the reviewers, and that it is complete and fresh."""

from datetime import timedelta

import pytest
from django.db import connection as database

from access.actors import Actor, ActorKind
from access.roles import Role
from audit.models import AuditEntry
from inventory.models import Connection, Credential
from reviews.actions.campaigns import (
    MANY,
    accept_stale,
    cancel_campaign,
    change_campaign,
    change_due,
    digest_of,
    launch,
    leave_out,
)
from reviews.actions.signing import digest_of as digest_of_campaign
from reviews.errors import (
    CampaignRefused,
    DueRefused,
    NotADraft,
    NotAReviewer,
    NothingStale,
    NothingToReview,
    StaleByLauncher,
    StaleConnections,
)
from reviews.models import Exclusion, ReviewItem
from reviews.models.preview import preview
from reviews.states import CampaignState, ItemState, LeftOut
from tests import factories
from tests.factories import NOW
from tests.reviews.company import Company, item_of, items

pytestmark = pytest.mark.django_db
EVERYTHING = ["credential", "client", "grant", "server"]


@pytest.fixture
def company() -> Company:
    return Company()


def test_an_item_has_the_facts_that_matter(company: Company):
    credential = company.credential(name="deploy", scopes=["write", "read"], environment=factories.environment("prod"))
    program, server = factories.client(name="Cursor", owner=company.mira.owner), factories.server(name="github")
    factories.use(credential, client=program, server=server)
    factories.tool(server, "search")
    factories.exposure(credential)
    row = item_of(company.launch())
    said = {name: row.facts[name] for name in ("owner", "environment", "scopes", "consumers", "servers", "exposures")}
    assert said == {
        "owner": "Mira", "environment": "prod", "scopes": ["read", "write"], "consumers": ["Cursor"],
        "servers": ["github"], "exposures": 1,
    }  # fmt: skip
    assert (row.criticality, row.exposures, row.reach) == (3, 1, 2)
    assert row.path == [
        {"person": "Mira", "client": "Cursor", "server": "github", "credential": "deploy", "scopes": ["write", "read"]}
    ]
    assert (row.recommendation, row.reasons) == ("rotate", ["exposed"])


def test_every_kind_of_thing_can_be_reviewed(company: Company):
    program = factories.client(connection=company.place, registration="dynamic", owner=company.dana.owner)
    server = factories.server(connection=company.place, iam_owner=company.mira.owner)
    factories.grant(program, server)
    company.credential()
    campaign = company.launch(reviewed=EVERYTHING)
    assert {row.kind for row in items(campaign)} == set(EVERYTHING)


def test_a_grant_is_reviewed_by_who_answers_for_the_server(company: Company):
    program = factories.client(owner=company.dana.owner)
    factories.grant(program, factories.server(connection=company.place, application_owner=company.mira.owner))
    row = item_of(company.launch(reviewed=["grant"]))
    assert (row.reviewer, row.needs_second, row.interested) == (company.mira.owner, False, [company.dana.owner.pk])


def test_what_changed_since_the_last_review_is_shown(company: Company):
    credential = company.credential(scopes=["read"])
    first = item_of(company.launch())
    ReviewItem.objects.filter(pk=first.pk).update(
        state="closed", closed_at=NOW, ending="kept", proof="x", by_clock=True
    )
    Credential.objects.filter(pk=credential.pk).update(scopes=["read", "write"])
    second = item_of(company.launch(name="Autumn review"))
    assert second.changes == {"scopes": [["read"], ["read", "write"]]}
    assert second.last_item == first
    assert "changed" in second.reasons


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"kinds": ["aws_access_key"]}, LeftOut.OTHER_KIND),
        ({"trust_models": ["user_consented"]}, LeftOut.OTHER_TRUST),
        ({"tags": ["pci"]}, LeftOut.OTHER_TAG),
        ({"providers": ["GitHub"]}, LeftOut.OTHER_PROVIDER),
        ({"server_roles": ["mixed"]}, LeftOut.OTHER_ROLE),
    ],
)
def test_a_scope_is_selected_as_policies_select(chosen: dict, reason: LeftOut, company: Company):
    company.credential(name="other")
    inside = company.credential(
        name="inside", kind="aws_access_key", trust_model="user_consented", tags=["pci"], issuer="github"
    )
    factories.use(inside, server=factories.server(role="mixed"))
    campaign = company.launch(**chosen)
    assert item_of(campaign).name == "inside"
    assert campaign.completeness[0]["left_out"] == {reason: 1}


def test_what_each_connection_holds_adds_up(company: Company):
    company.credential()
    company.credential(status="destroyed")
    company.credential(gone_at=NOW, last_seen_at=NOW)
    elsewhere = factories.credential(connection=factories.connection(name="Other", last_complete_at=NOW))
    campaign = company.launch(connections=[company.place.pk])
    by_name = {place["name"]: place for place in campaign.completeness}
    assert by_name[company.place.name] | {"looked_at": None} == {
        "id": str(company.place.pk), "name": company.place.name, "kind": "mcp_config", "total": 3,
        "items": {"credential": 1}, "in_campaign": 1, "left_out": {"gone": 1, "ended": 1}, "looked_at": None,
        "is_stale": False,
    }  # fmt: skip
    assert by_name["Other"]["left_out"] == {"other_connection": 1}
    assert elsewhere.pk not in ReviewItem.objects.values_list("credential", flat=True)
    assert campaign.completeness_digest == digest_of(campaign.completeness)


def test_what_is_left_out_by_name_or_reviewed_elsewhere_is_kept_with_the_reason(company: Company):
    spare, busy = company.credential(name="spare"), company.credential(name="busy")
    company.credential(name="third")
    company.launch(name="First", ids=[busy.pk])
    draft = leave_out(company.draft(), [spare.pk], actor=company.lea.actor, now=NOW, reason="A fixture of tests")
    campaign = launch(draft, actor=company.lea.actor, now=NOW)
    assert item_of(campaign).name == "third"
    kept = {each.name: (each.reason, each.said) for each in Exclusion.objects.filter(campaign=campaign)}
    assert kept == {"spare": ("left_out", "A fixture of tests"), "busy": ("elsewhere", "")}


def test_it_is_refused_over_a_connection_that_nobody_looked_at_lately(company: Company):
    company.credential()
    Connection.objects.update(last_complete_at=NOW - timedelta(days=9))
    with pytest.raises(StaleConnections, match=company.place.name):
        company.launch(fresh_within=timedelta(days=3))


def test_another_person_signs_for_what_is_stale(company: Company):
    company.credential()
    Connection.objects.update(last_complete_at=NOW - timedelta(days=9))
    draft = company.draft(fresh_within=timedelta(days=3))
    accept_stale(draft, actor=company.rui.actor, now=NOW, reason="The site is offline until June")
    with pytest.raises(StaleByLauncher):
        launch(draft, actor=company.rui.actor, now=NOW)
    campaign = launch(draft, actor=company.lea.actor, now=NOW)
    assert campaign.completeness[0]["signed_for"]["by"] == "Rui"


def test_a_signature_holds_for_what_was_last_seen_then(company: Company):
    company.credential()
    Connection.objects.update(last_complete_at=NOW - timedelta(days=9))
    draft = company.draft(fresh_within=timedelta(days=3))
    accept_stale(draft, actor=company.rui.actor, now=NOW, reason="The site is offline until June")
    Connection.objects.update(last_complete_at=NOW - timedelta(days=8))
    with pytest.raises(StaleConnections):
        launch(draft, actor=company.lea.actor, now=NOW)


def test_there_is_nothing_to_sign_for_where_all_is_fresh(company: Company):
    company.credential()
    with pytest.raises(NothingStale):
        accept_stale(company.draft(), actor=company.rui.actor, now=NOW, reason="To be sure")


def test_a_feed_that_sends_parts_is_never_fresh(company: Company):
    company.credential(connection=factories.connection(kind="feed", last_complete_at=NOW))
    with pytest.raises(StaleConnections):
        company.launch()


def test_a_preview_says_how_much_and_by_whom(company: Company):
    company.credential()
    company.credential(owner=None, risk=4)
    company.credential(status="expired")
    said = preview(company.draft(lead=None), now=NOW)
    assert (said["size"], said["for_any_reviewer"], said["left_out"]) == (2, 1, {"ended": 1})
    assert [(each["name"], each["items"]) for each in said["reviewers"]["first"]] == [("Mira", 1)]
    assert not ReviewItem.objects.exists()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": " "}, "name"),
        ({"reviewed": []}, "reviewed"),
        ({"reviewed": ["people"]}, "reviewed"),
        ({"due_at": NOW}, "due_at"),
        ({"no_answer": "keep"}, "no_answer"),
        ({"reminders": [0]}, "reminders"),
        ({"left_out": {"019a0000-0000-7000-8000-000000000000": ""}}, "left_out"),
    ],
)
def test_what_a_campaign_cannot_be_is_refused_by_field(values: dict, field: str, company: Company):
    with pytest.raises(CampaignRefused) as refused:
        company.draft(**values)
    assert list(refused.value.problems) == [field]


def test_nothing_alive_is_no_campaign(company: Company):
    company.credential(status="destroyed")
    with pytest.raises(NothingToReview):
        company.launch()


def test_a_scope_stands_once_it_is_launched(company: Company):
    company.credential()
    campaign = company.launch()
    with pytest.raises(NotADraft):
        change_campaign(campaign, actor=company.lea.actor, now=NOW, kinds=["api_key"])
    with pytest.raises(NotADraft):
        launch(campaign, actor=company.lea.actor, now=NOW)


@pytest.mark.parametrize("role", [Role.OWNER, Role.AUDITOR, Role.AUTOMATION])
def test_who_is_no_reviewer_runs_no_campaign(role: Role, company: Company):
    actor = Actor(ActorKind.USER, "9", "Nobody", frozenset({role}))
    with pytest.raises(NotAReviewer):
        launch(company.draft(), actor=actor, now=NOW)


def test_the_launch_is_one_entry_with_digests(company: Company):
    company.credential()
    campaign = company.launch()
    entry = AuditEntry.objects.get(event="campaign.launched")
    assert entry.detail["digest"] == campaign.scope_digest
    assert entry.detail["items"] == 1


def test_moving_the_date_moves_what_is_open(company: Company):
    company.credential()
    campaign = company.launch()
    later = NOW + timedelta(days=60)
    change_due(campaign, later, actor=company.lea.actor, now=NOW, reason="Half the team is away")
    assert item_of(campaign).due_at == later
    with pytest.raises(DueRefused):
        change_due(campaign, NOW, actor=company.lea.actor, now=NOW, reason="Hurry")


def test_a_campaign_that_is_cancelled_accounts_for_every_item(company: Company):
    company.credential()
    campaign = company.launch()
    cancel_campaign(campaign, actor=company.lea.actor, now=NOW, reason="Begun by mistake")
    campaign.refresh_from_db()
    assert campaign.state == CampaignState.CANCELLED
    assert item_of(campaign).state == ItemState.CANCELLED


def test_the_digest_of_a_campaign_tells_one_changed_word(company: Company):
    company.credential()
    campaign = company.launch()
    before = digest_of_campaign(campaign)
    assert digest_of_campaign(campaign) == before
    ReviewItem.objects.update(facts={"owner": "Somebody else"})
    assert digest_of_campaign(campaign) != before


@pytest.mark.django_db(transaction=True)
def test_figures_of_many_items_are_read_from_an_index_at_once(company: Company):
    one = company.credential()
    with database.cursor() as cursor:
        cursor.execute("SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attrelid = %s::regclass"
                       " AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
                       " AND attname NOT IN ('id', 'identity_key')", ["inventory_credential"])  # fmt: skip
        (columns,) = cursor.fetchone()
        cursor.execute(
            f"INSERT INTO inventory_credential (identity_key, {columns})"
            f" SELECT identity_key || n, {columns} FROM inventory_credential, generate_series(1, %s) n WHERE id = %s",
            [MANY, one.pk],
        )
        cursor.execute("SET synchronous_commit = on")  # only what is on disk counts as seen by everybody
        company.launch()
        cursor.execute("RESET synchronous_commit")
        cursor.execute("SELECT relallvisible > 0 FROM pg_class WHERE relname = 'reviews_reviewitem'")
        assert cursor.fetchone() == (True,)
