"""Who may decide what, alone or in twos, and what is undone, refused and disputed."""

from datetime import timedelta

import pytest

from access.actors import Actor, ActorKind
from access.roles import Role
from audit.models import AuditEntry
from inventory.models import Credential
from reviews.actions.decisions import decide, delegate, look_again, reassign, submit, undo
from reviews.errors import (
    ChangedMeanwhile,
    DelegateInactive,
    FactsChanged,
    ItemDecided,
    ItemNotVisible,
    NotAlike,
    NotAllowedHere,
    NotAPerson,
    NothingDelegated,
    NothingToUndo,
    NotYourItem,
    OwnDelegate,
    OwnItem,
    ReasonNeeded,
    SameChain,
    ScopesMissing,
    TakerMissing,
)
from reviews.models import Campaign, Decision, Delegation, ReviewItem
from reviews.states import ItemState, Seat, What
from tests import factories
from tests.reviews.company import Company, Somebody, item_of, items, somebody

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Company:
    return Company()


@pytest.fixture
def campaign(company: Company) -> Campaign:
    company.credential(name="deploy")
    return company.launch()


def says(company: Company, who: Somebody, row: ReviewItem, what: What = What.KEEP, **values: object) -> ReviewItem:
    decide([row.pk], what, actor=who.actor, now=company.now, **values)
    submit(row.campaign, actor=who.actor, now=company.now)
    row.refresh_from_db()
    return row


def test_who_answers_for_it_and_their_manager_decide_together(company: Company, campaign: Campaign):
    row = item_of(campaign)
    assert (row.reviewer, row.second, row.needs_second) == (company.mira.owner, company.otto.owner, True)
    assert says(company, company.mira, row).state == ItemState.OPEN
    closed = says(company, company.otto, row)
    assert (closed.state, closed.ending) == (ItemState.CLOSED, "kept")
    assert Credential.objects.get().reviewed_by == "reviews"


def test_who_does_not_answer_for_it_decides_alone(company: Company):
    company.credential(owner=factories.owner(name="Platform", kind="team", manager=company.otto.owner))
    row = item_of(company.launch())
    assert (row.reviewer, row.needs_second) == (company.otto.owner, False)
    assert says(company, company.otto, row).ending == "kept"


def test_what_stands_out_takes_two_where_the_campaign_says_so(company: Company):
    company.credential(owner=factories.owner(kind="team", manager=company.otto.owner), risk=4)
    row = item_of(company.launch(second_on_outliers=True))
    assert (row.is_outlier, row.needs_second, row.second) == (True, True, company.lea.owner)


@pytest.mark.parametrize("role", list(Role))
def test_nobody_decides_alone_about_what_they_answer_for_whatever_their_role(role: Role, company: Company):
    mighty = somebody("Mighty", role, Role.OWNER)
    company.credential(owner=mighty.owner)
    row = item_of(company.launch(lead=None))
    assert says(company, mighty, row).state == ItemState.OPEN
    assert row.needs_second
    with pytest.raises(ItemDecided):
        decide([row.pk], What.KEEP, actor=mighty.actor, now=company.now)


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.OPERATOR, Role.ADMINISTRATOR])
def test_who_answers_for_it_is_not_its_second_reviewer_either(role: Role, company: Company):
    owner, other = somebody("Owner", role), somebody("Other", Role.REVIEWER)
    company.credential(owner=owner.owner)
    row = item_of(company.launch(lead=None))
    with pytest.raises(OwnDelegate):
        reassign([row.pk], Seat.SECOND, owner.owner, actor=other.actor, now=company.now, reason="Busy")


def test_who_came_to_answer_for_it_meanwhile_does_not_decide_alone(company: Company):
    company.credential(owner=factories.owner(kind="team", manager=company.otto.owner))
    row = item_of(company.launch())
    Credential.objects.update(owner=company.otto.owner)
    look_again([row.pk], actor=company.otto.actor, now=company.now)
    assert says(company, company.otto, row).state == ItemState.OPEN
    assert row.needs_second


def test_a_delegate_of_who_answers_for_it_does_not_decide_alone(company: Company, campaign: Campaign):
    row = item_of(campaign)
    delegate([row.pk], company.dana.owner, actor=company.mira.actor, now=company.now, reason="On leave")
    assert says(company, company.dana, row).state == ItemState.OPEN
    assert company.dana.owner.pk in ReviewItem.objects.get(pk=row.pk).interested


def test_nobody_decides_beside_their_own_delegate(company: Company, campaign: Campaign):
    row = item_of(campaign)
    delegate([row.pk], company.rui.owner, actor=company.otto.actor, now=company.now, reason="On leave")
    for to in (company.otto, company.rui):
        with pytest.raises(SameChain):
            delegate([row.pk], to.owner, actor=company.mira.actor, now=company.now, reason="You do it")
    with pytest.raises(ItemNotVisible):
        decide([row.pk], What.KEEP, actor=company.otto.actor, now=company.now)


def test_who_answers_for_it_does_not_choose_the_second_reviewer(company: Company):
    chief = somebody("Chief", Role.ADMINISTRATOR)
    company.credential(owner=chief.owner)
    row = item_of(company.launch())
    with pytest.raises(OwnItem):
        reassign([row.pk], Seat.SECOND, company.dana.owner, actor=chief.actor, now=company.now, reason="A friend")


def test_a_delegation_leaves_its_trace(company: Company, campaign: Campaign):
    row = item_of(campaign)
    delegate([row.pk], company.dana.owner, actor=company.mira.actor, now=company.now, reason="On leave")
    trace = Delegation.objects.get()
    assert (trace.from_owner, trace.to_owner, trace.reason) == (company.mira.owner, company.dana.owner, "On leave")
    assert AuditEntry.objects.filter(event="review_item.passed_on", subject_id=str(row.pk)).exists()
    with pytest.raises(NothingDelegated):
        delegate([row.pk], company.dana.owner, actor=company.lea.actor, now=company.now, reason="Not mine")


def test_nothing_is_delegated_to_who_has_left(company: Company, campaign: Campaign):
    gone = factories.owner(is_active=False)
    with pytest.raises(DelegateInactive):
        delegate([item_of(campaign).pk], gone, actor=company.mira.actor, now=company.now, reason="On leave")


def test_an_outsider_neither_sees_nor_decides_an_item(company: Company, campaign: Campaign):
    row = item_of(campaign)
    assert not ReviewItem.objects.visible_to(company.dana.actor).exists()
    with pytest.raises(ItemNotVisible):
        decide([row.pk], What.KEEP, actor=company.dana.actor, now=company.now)
    assert not Campaign.objects.visible_to(company.dana.actor).exists()
    assert Campaign.objects.visible_to(company.mira.actor).exists()


def test_a_reviewer_leaves_alone_what_others_review(company: Company, campaign: Campaign):
    with pytest.raises(NotYourItem):
        decide([item_of(campaign).pk], What.KEEP, actor=company.rui.actor, now=company.now)


def test_a_token_decides_nothing(company: Company, campaign: Campaign):
    token = Actor(ActorKind.TOKEN, "kr_1", "token of the test", frozenset({Role.ADMINISTRATOR}))
    with pytest.raises(NotAPerson):
        decide([item_of(campaign).pk], What.KEEP, actor=token, now=company.now)


def test_an_item_of_nobody_is_taken_by_whoever_reviews(company: Company):
    company.credential(owner=None)
    row = item_of(company.launch(lead=None))
    assert row.reviewer is None
    assert says(company, company.rui, row, What.KEEP, reason="The build needs it").ending == "kept"
    assert row.reviewer == company.rui.owner


# ── Reasons and groups ─────────────────────────────────────────────────────────────────────────


def test_a_decision_against_the_recommendation_says_why(company: Company, campaign: Campaign):
    row = item_of(campaign)
    assert row.recommendation == What.KEEP
    with pytest.raises(ReasonNeeded):
        decide([row.pk], What.REVOKE, actor=company.mira.actor, now=company.now)
    decide([row.pk], What.REVOKE, actor=company.mira.actor, now=company.now, reason="The project is over")
    assert Decision.objects.get().is_against


def test_keeping_several_at_once_says_why(company: Company):
    for name in ("one", "two"):
        company.credential(name=name)
    keys = [row.pk for row in items(company.launch())]
    with pytest.raises(ReasonNeeded):
        decide(keys, What.KEEP, actor=company.mira.actor, now=company.now)
    decide(keys, What.KEEP, actor=company.mira.actor, now=company.now, reason="Both serve the nightly build")
    assert len(set(Decision.objects.values_list("group", flat=True))) == 1


@pytest.mark.parametrize("other", [{"kind": "aws_access_key"}, {"last_used_at": None}, {"environment": "prod"}])
def test_only_what_is_alike_is_decided_in_one_go(other: dict, company: Company):
    if "environment" in other:
        other = {"environment": factories.environment("prod")}
    company.credential()
    company.credential(**other)
    keys = [row.pk for row in items(company.launch())]
    with pytest.raises(NotAlike):
        decide(keys, What.KEEP, actor=company.mira.actor, now=company.now, reason="All fine")


def test_what_cannot_be_done_to_a_thing_is_not_decided_about_it(company: Company):
    factories.server(connection=company.place, iam_owner=company.mira.owner)
    row = item_of(company.launch(reviewed=["server"]))
    with pytest.raises(NotAllowedHere):
        decide([row.pk], What.REVOKE, actor=company.mira.actor, now=company.now, reason="Old")


def test_a_reassignment_names_somebody_active(company: Company, campaign: Campaign):
    gone = factories.owner(is_active=False)
    for to in (None, gone):
        with pytest.raises(TakerMissing):
            decide([item_of(campaign).pk], What.REASSIGN, actor=company.mira.actor, now=company.now, reason="x", to=to)


@pytest.mark.parametrize("left", [["read", "write"], ["read", "admin"], None])
def test_a_smaller_scope_is_smaller(left: list[str] | None, company: Company):
    company.credential(scopes=["read", "write"])
    row = item_of(company.launch())
    with pytest.raises(ScopesMissing):
        decide(
            [row.pk], What.REDUCE, actor=company.mira.actor, now=company.now, reason="Too wide", detail={"scopes": left}
        )


# ── Undo, versions, disputes ───────────────────────────────────────────────────────────────────


def test_a_decision_is_undone_until_it_is_submitted(company: Company, campaign: Campaign):
    row = item_of(campaign)
    decide([row.pk], What.KEEP, actor=company.mira.actor, now=company.now)
    assert undo([row.pk], actor=company.mira.actor, now=company.now) == 1
    assert not Decision.objects.current().exists()
    decide([row.pk], What.KEEP, actor=company.mira.actor, now=company.now)
    submit(campaign, actor=company.mira.actor, now=company.now)
    with pytest.raises(NothingToUndo):
        undo([row.pk], actor=company.mira.actor, now=company.now)


def test_a_second_thought_replaces_the_first(company: Company, campaign: Campaign):
    row = item_of(campaign)
    decide([row.pk], What.KEEP, actor=company.mira.actor, now=company.now)
    decide([row.pk], What.REVOKE, actor=company.mira.actor, now=company.now, reason="On reflection")
    assert [each.what for each in Decision.objects.current()] == [What.REVOKE]


def test_who_looked_at_an_older_version_looks_again(company: Company, campaign: Campaign):
    row = item_of(campaign)
    decide([row.pk], What.KEEP, actor=company.mira.actor, now=company.now)
    with pytest.raises(ChangedMeanwhile):
        decide([row.pk], What.KEEP, actor=company.otto.actor, now=company.now, seen={row.pk: row.version})


def test_what_changed_since_it_was_frozen_is_looked_at_before_it_is_decided(company: Company, campaign: Campaign):
    row = item_of(campaign)
    Credential.objects.update(scopes=["admin"])
    with pytest.raises(FactsChanged, match="scopes"):
        decide([row.pk], What.KEEP, actor=company.mira.actor, now=company.now)
    look_again([row.pk], actor=company.mira.actor, now=company.now)
    row.refresh_from_db()
    assert row.drift == {"scopes": [[], ["admin"]]}
    assert row.facts["scopes"] == []
    decide([row.pk], What.KEEP, actor=company.mira.actor, now=company.now)


def test_what_changed_before_it_was_submitted_is_not_submitted(company: Company, campaign: Campaign):
    row = item_of(campaign)
    decide([row.pk], What.KEEP, actor=company.mira.actor, now=company.now)
    Credential.objects.update(scopes=["admin"])
    done = submit(campaign, actor=company.mira.actor, now=company.now)
    assert (done.decisions, done.changed) == (0, [row.pk])
    assert not Decision.objects.current().exists()


def test_two_who_disagree_are_shown_until_they_agree(company: Company, campaign: Campaign):
    row = item_of(campaign)
    says(company, company.mira, row)
    assert says(company, company.otto, row, What.REVOKE, reason="Nobody needs it").state == ItemState.DISPUTED
    assert says(company, company.mira, row, What.REVOKE, reason="Granted").state == ItemState.ACTING


def test_where_two_disagree_the_lead_gives_one_part_to_somebody_else(company: Company, campaign: Campaign):
    row = item_of(campaign)
    says(company, company.mira, row)
    says(company, company.otto, row, What.REVOKE, reason="Nobody needs it")
    reassign([row.pk], Seat.SECOND, company.rui.owner, actor=company.lea.actor, now=company.now, reason="A third view")
    assert says(company, company.rui, row).ending == "kept"


def test_how_long_each_decision_took_is_kept(company: Company):
    for name in ("one", "two"):
        company.credential(name=name)
    first, second = items(company.launch())
    decide([first.pk], What.KEEP, actor=company.mira.actor, now=company.now)
    company.pass_by(timedelta(seconds=2))
    decide([second.pk], What.KEEP, actor=company.mira.actor, now=company.now)
    assert sorted(Decision.objects.values_list("took", flat=True), key=str) == [timedelta(seconds=2), None]
