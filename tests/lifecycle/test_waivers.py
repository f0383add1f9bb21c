"""A waiver takes two people, ends, follows another without a gap, and is one of few."""

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from access.actors import Actor, ActorKind
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from inventory.models import Credential
from inventory.states import Severity, Storage
from lifecycle.actions.waivers import (
    approve_waivers,
    decline_waivers,
    expire_waivers,
    remove_cap,
    request_waivers,
    set_cap,
    withdraw_waiver,
)
from lifecycle.errors import (
    CapRefused,
    FindingNotVisible,
    FindingResolved,
    FindingWaived,
    HoldsSecret,
    LifecycleError,
    WaivedTooLong,
    WaiverByNobody,
    WaiverByRequester,
    WaiverCapReached,
    WaiverDecided,
    WaiverDecisionWithoutReason,
    WaiverEnded,
    WaiverEndsTooLate,
    WaiverEndsTooSoon,
    WaiverWaits,
    WaiverWithoutControl,
    WaiverWithoutReason,
)
from lifecycle.models import Finding, Waiver, WaiverCap
from lifecycle.states import FindingState, WaiverState
from tests import factories
from tests.factories import NOW
from tests.inventory.discovery_samples import github_token
from tests.lifecycle.waived import MIRA, OTTO, approved, requested, waived

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
SYSTEM = Actor.system("test")
ADMINISTRATOR = Actor(ActorKind.USER, "1", "Ada", frozenset({Role.ADMINISTRATOR}))


def a_finding(severity: Severity = Severity.MEDIUM, **values) -> Finding:
    """Made without an evaluation, which these tests are not about."""
    said = {"opened_at": NOW, "refreshed_at": NOW, "due_at": NOW + 30 * DAY, "severity": severity}
    subject = values.pop("credential", None) or factories.credential()
    return Finding.objects.create(credential=subject, **{"rule": "no-owner", **said, **values})


def events(finding: Finding) -> list[str]:
    return list(AuditEntry.objects.about(finding).order_by("seq").values_list("event", flat=True))


def cap(most_active: int = 1, days: int = 180, **values) -> WaiverCap:
    said = {"owner": None, "is_default": True, "reason": "Agreed in May.", "actor": ADMINISTRATOR, "now": NOW}
    return set_cap(most_active=most_active, longest_total=days * DAY, **{**said, **values})


# ── Two people ─────────────────────────────────────────────────────────────────────────────────
def test_a_request_waives_nothing_until_somebody_else_approves(full):
    mine = factories.credential()
    full()
    found = Finding.objects.get(credential=mine, rule="no-owner")
    asked = requested(found)
    found.refresh_from_db()
    assert (found.state, asked.state) == (FindingState.OPEN, WaiverState.REQUESTED)
    approved(asked)
    found.refresh_from_db()
    mine.refresh_from_db()
    assert (found.state, mine.risk, mine.open_findings) == (FindingState.WAIVED, Severity.NONE, 0)
    assert (asked.requested_by, asked.approved_by) == ("Mira Okafor", "Otto Brandt")
    assert events(found) == [Event.WAIVER_REQUESTED, Event.FINDING_WAIVED]


@pytest.mark.parametrize("decide", [approve_waivers, decline_waivers])
def test_nobody_decides_about_what_they_asked_for_themselves(decide):
    asked = requested(a_finding())
    with pytest.raises(WaiverByRequester):
        decide([asked], reason="I know it.", actor=MIRA, now=NOW)
    asked.refresh_from_db()
    assert asked.state == WaiverState.REQUESTED


def test_two_people_of_one_name_are_two():
    namesake = Actor(ActorKind.USER, "70", MIRA.label, frozenset({Role.REVIEWER}))
    assert approved(requested(a_finding()), actor=namesake).state == WaiverState.ACTIVE


@pytest.mark.parametrize(
    "actor",
    [
        SYSTEM,
        Actor(ActorKind.TOKEN, "7", "token ci", frozenset({Role.ADMINISTRATOR})),
        Actor(ActorKind.USER, "9", "Ana", frozenset({Role.OWNER})),
        Actor(ActorKind.USER, "9", "Ana", frozenset({Role.AUDITOR})),
    ],
    ids=["the system", "a token", "an owner", "an auditor"],
)
def test_only_a_reviewer_in_person_decides(actor):
    with pytest.raises(WaiverByNobody):
        approve_waivers([requested(a_finding())], reason="It is fine.", actor=actor, now=NOW)


def test_the_database_refuses_one_person_in_both_parts():
    asked = requested(a_finding())
    said = {"state": "active", "approved_by": "M", "granted_at": NOW, "begins_at": NOW}
    with pytest.raises(IntegrityError, match="waiver_requester_is_not_approver"), transaction.atomic():
        Waiver.objects.filter(pk=asked.pk).update(approved_by_key=asked.requested_by_key, **said)


def test_the_database_refuses_a_decline_by_who_asked():
    asked = requested(a_finding())
    said = {"state": "declined", "declined_by": "M", "declined_at": NOW, "decision": "No."}
    with pytest.raises(IntegrityError, match="waiver_is_declined_by_another"), transaction.atomic():
        Waiver.objects.filter(pk=asked.pk).update(declined_by_key=asked.requested_by_key, **said)


def test_a_declined_request_says_why_and_leaves_the_finding_open():
    found = a_finding()
    asked = requested(found)
    with pytest.raises(WaiverDecisionWithoutReason):
        decline_waivers([asked], reason=" ", actor=OTTO, now=NOW)
    decline_waivers([asked], reason="The network is not closed.", actor=OTTO, now=NOW)
    asked.refresh_from_db()
    found.refresh_from_db()
    assert (asked.state, asked.decision, found.state) == ("declined", "The network is not closed.", "open")
    with pytest.raises(WaiverDecided):
        approved(asked)


def test_a_decision_about_many_is_made_for_all_or_for_none():
    one, other = requested(a_finding()), requested(a_finding(), actor=OTTO)
    with pytest.raises(WaiverByRequester):
        approve_waivers([one, other], reason="Both.", actor=OTTO, now=NOW)
    assert Waiver.objects.requested().count() == 2


def test_an_owner_asks_for_what_is_theirs_and_for_nothing_else(outsider):
    mine, other = a_finding(), a_finding()
    Credential.objects.filter(pk=mine.credential_id).update(owner=factories.owner(user_id=outsider.user_id))
    assert requested(mine, actor=outsider).state == WaiverState.REQUESTED
    with pytest.raises(FindingNotVisible):
        requested(other, actor=outsider)


def test_asking_for_many_is_for_all_or_for_none(outsider):
    mine, resolved = a_finding(), a_finding(state="resolved", resolved_at=NOW, resolution="met")
    said = {"reason": "Moves in July.", "compensating_control": "Closed network.", "ends_at": NOW + 9 * DAY}
    with pytest.raises(FindingResolved):
        request_waivers([mine, resolved], actor=MIRA, now=NOW, **said)
    assert not Waiver.objects.exists()
    assert request_waivers([mine], actor=MIRA, now=NOW, **said) == 1


# ── What a waiver must be ──────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"reason": "  "}, WaiverWithoutReason),
        ({"compensating_control": "  "}, WaiverWithoutControl),
        ({"ends_at": NOW}, WaiverEndsTooSoon),
        ({"ends_at": NOW + 91 * DAY}, WaiverEndsTooLate),
    ],
    ids=["no reason", "no control", "no time", "too long"],
)
def test_a_waiver_that_may_not_be_asked_for_says_why(values, error: type[LifecycleError]):
    with pytest.raises(error) as refused:
        requested(a_finding(), **values)
    assert str(refused.value) == error.__doc__
    assert not Waiver.objects.exists()


def test_a_waiver_repeats_no_secret():
    with pytest.raises(HoldsSecret):
        requested(a_finding(), compensating_control=f"Only {github_token()} opens it.")


def test_a_critical_finding_is_waived_for_a_month_at_most():
    found = a_finding(Severity.CRITICAL)
    with pytest.raises(WaiverEndsTooLate):
        requested(found, ends_at=NOW + 31 * DAY)
    assert waived(found, ends_at=NOW + 30 * DAY).state == WaiverState.ACTIVE


def test_what_became_critical_since_it_was_asked_for_has_the_shorter_limit():
    found = a_finding()
    asked = requested(found, ends_at=NOW + 60 * DAY)
    Finding.objects.filter(pk=found.pk).update(severity=Severity.CRITICAL)
    with pytest.raises(WaiverEndsTooLate):
        approved(asked)


def test_a_waived_finding_is_extended_rather_than_waived_twice():
    found = a_finding()
    waived(found)
    with pytest.raises(FindingWaived):
        requested(found)


def test_a_finding_has_one_request_at_a_time():
    found = a_finding()
    requested(found)
    with pytest.raises(WaiverWaits):
        requested(found)


def test_a_finding_resolved_meanwhile_is_not_waived():
    found = a_finding()
    asked = requested(found)
    Finding.objects.filter(pk=found.pk).update(state="resolved", resolved_at=NOW, resolution="met")
    with pytest.raises(FindingResolved):
        approved(asked)


def test_the_database_refuses_a_waiver_without_an_end_in_sight():
    active = waived(a_finding())
    with pytest.raises(IntegrityError, match="waiver_lasts_at_most_90_days"), transaction.atomic():
        Waiver.objects.filter(pk=active.pk).update(ends_at=NOW + 91 * DAY)


# ── Ending ─────────────────────────────────────────────────────────────────────────────────────
def test_a_waived_finding_stays_waived_while_it_is_violated(full):
    factories.credential()
    full()
    found = Finding.objects.get(rule="no-owner")
    waived(found)
    full(NOW + DAY)
    found.refresh_from_db()
    assert found.state == FindingState.WAIVED


def test_a_waived_finding_is_open_again_when_its_waiver_ends(full):
    mine = factories.credential()
    full()
    found = Finding.objects.get(rule="no-owner")
    waived(found)
    assert expire_waivers(NOW + 29 * DAY, actor=SYSTEM) == 0
    assert expire_waivers(NOW + 30 * DAY, actor=SYSTEM) == 1
    assert expire_waivers(NOW + 31 * DAY, actor=SYSTEM) == 0
    found.refresh_from_db()
    mine.refresh_from_db()
    assert (found.state, mine.risk) == (FindingState.OPEN, Severity.MEDIUM)
    assert events(found)[-1] == Event.WAIVER_EXPIRED


def test_a_request_that_nobody_decided_ends_at_the_day_it_asked_for():
    found = a_finding()
    asked = requested(found)
    assert expire_waivers(NOW + 30 * DAY, actor=SYSTEM) == 1
    asked.refresh_from_db()
    assert (asked.state, asked.granted_at) == (WaiverState.EXPIRED, None)


def test_a_waiver_ends_with_its_finding_which_stays_resolved():
    found = a_finding()
    active = waived(found)
    Finding.objects.filter(pk=found.pk).update(state="resolved", resolved_at=NOW, resolution="met")
    expire_waivers(NOW + DAY, actor=SYSTEM)
    active.refresh_from_db()
    found.refresh_from_db()
    assert (active.state, found.state, active.lasted) == (WaiverState.EXPIRED, FindingState.RESOLVED, DAY)


def test_a_withdrawn_waiver_opens_its_finding_and_takes_its_extension_along():
    found = a_finding()
    active = waived(found)
    after = approved(requested(found, extends=active, ends_at=NOW + 60 * DAY))
    withdraw_waiver(active, actor=OTTO, now=NOW + DAY, reason="It moved.")
    found.refresh_from_db()
    states = set(Waiver.objects.filter(pk__in=[active.pk, after.pk]).values_list("state", "withdrawn_by"))
    assert (found.state, states) == (FindingState.OPEN, {("withdrawn", "Otto Brandt")})
    with pytest.raises(WaiverEnded):
        withdraw_waiver(active, actor=OTTO, now=NOW + DAY)


def test_who_asked_takes_the_request_back():
    found = a_finding()
    withdraw_waiver(requested(found), actor=MIRA, now=NOW)
    assert requested(found).state == WaiverState.REQUESTED


# ── Going on ───────────────────────────────────────────────────────────────────────────────────
def test_an_approved_extension_begins_when_the_old_one_ends_without_a_gap(full):
    mine = factories.credential()
    full()
    found = Finding.objects.get(rule="no-owner")
    first = waived(found)
    after = approved(requested(found, extends=first, ends_at=NOW + 60 * DAY, now=NOW + 20 * DAY), now=NOW + 21 * DAY)
    assert (after.state, after.begins_at, after.extends) == (WaiverState.SCHEDULED, first.ends_at, first)
    assert expire_waivers(NOW + 30 * DAY, actor=SYSTEM) == 1
    after.refresh_from_db()
    found.refresh_from_db()
    mine.refresh_from_db()
    assert (after.state, found.state, mine.risk) == (WaiverState.ACTIVE, FindingState.WAIVED, Severity.NONE)
    assert events(found)[-2:] == [Event.WAIVER_EXPIRED, Event.WAIVER_BEGUN]
    expire_waivers(NOW + 60 * DAY, actor=SYSTEM)
    found.refresh_from_db()
    assert found.state == FindingState.OPEN


def test_an_extension_that_nobody_approved_extends_nothing():
    found = a_finding()
    requested(found, extends=waived(found), ends_at=NOW + 60 * DAY)
    expire_waivers(NOW + 30 * DAY, actor=SYSTEM)
    found.refresh_from_db()
    assert found.state == FindingState.OPEN
    assert Waiver.objects.requested().exists()


def test_an_extension_that_ended_while_nobody_looked_is_over_too():
    found = a_finding()
    approved(requested(found, extends=waived(found), ends_at=NOW + 60 * DAY))
    assert expire_waivers(NOW + 70 * DAY, actor=SYSTEM) == 2
    found.refresh_from_db()
    assert found.state == FindingState.OPEN


def test_an_extension_names_the_waiver_that_is_in_force():
    found, other = a_finding(), waived(a_finding())
    waived(found)
    with pytest.raises(WaiverEnded):
        requested(found, extends=other, ends_at=NOW + 60 * DAY)


def test_a_waiver_that_ends_soon_is_told_unless_something_follows_it():
    found = a_finding()
    active = waived(found)
    assert Waiver.objects.ending_before(NOW + 31 * DAY).get() == active
    assert not Waiver.objects.ending_before(NOW + 29 * DAY).exists()
    approved(requested(found, extends=active, ends_at=NOW + 60 * DAY))
    assert not Waiver.objects.ending_before(NOW + 31 * DAY).exists()


def test_a_waiver_holds_when_its_finding_gets_more_severe_and_is_flagged():
    found = a_finding()
    active = waived(found)
    assert not Waiver.objects.outgrown().exists()
    Finding.objects.filter(pk=found.pk).update(severity=Severity.HIGH)
    assert Waiver.objects.outgrown().get() == active
    assert expire_waivers(NOW + DAY, actor=SYSTEM) == 0


# ── Caps ───────────────────────────────────────────────────────────────────────────────────────
def test_a_team_has_as_many_active_waivers_as_its_cap_allows():
    payments, data = factories.owner(name="Payments"), factories.owner()
    cap(1)
    waived(a_finding(owner=payments))
    one_more = requested(a_finding(owner=payments))
    with pytest.raises(WaiverCapReached, match="Payments may have 1"):
        approved(one_more)
    waived(a_finding(owner=data))
    waived(a_finding())
    with pytest.raises(WaiverCapReached, match="What nobody answers for"):
        waived(a_finding())
    cap(2, owner=payments, is_default=False)
    assert approved(one_more).state == WaiverState.ACTIVE


def test_an_extension_takes_the_place_of_what_it_follows_in_the_cap():
    cap(1)
    found = a_finding()
    assert approved(requested(found, extends=waived(found), ends_at=NOW + 60 * DAY)).state == WaiverState.SCHEDULED


def test_a_finding_is_waived_so_long_altogether_whether_or_not_days_lie_between():
    cap(9, days=50)
    found = a_finding()
    withdraw_waiver(waived(found), actor=OTTO, now=NOW + 10 * DAY)
    again = {"actor": MIRA, "now": NOW + 15 * DAY}
    with pytest.raises(WaivedTooLong, match="40 days are left"):
        requested(found, **again, ends_at=NOW + 56 * DAY)
    active = waived(found, **again, ends_at=NOW + 45 * DAY)
    with pytest.raises(WaivedTooLong, match="10 days are left"):
        requested(found, extends=active, ends_at=NOW + 56 * DAY)


def test_a_finding_that_comes_back_within_a_year_is_the_same_risk():
    cap(9, days=50)
    found = a_finding()
    waived(found)
    Finding.objects.filter(pk=found.pk).update(state="resolved", resolved_at=NOW + 30 * DAY, resolution="met")
    expire_waivers(NOW + 30 * DAY, actor=Actor.system("test"))
    again = a_finding(credential=found.credential)
    with pytest.raises(WaivedTooLong, match="20 days are left"):
        requested(again, now=NOW + 31 * DAY, ends_at=NOW + 60 * DAY)
    assert requested(again, now=NOW + 396 * DAY, ends_at=NOW + 440 * DAY).state == WaiverState.REQUESTED


def test_a_cap_is_looked_at_again_when_a_request_is_approved():
    asked = requested(a_finding())
    cap(9, days=20)
    with pytest.raises(WaivedTooLong):
        approved(asked)


def test_waivers_of_resolved_findings_use_up_no_cap():
    cap(1)
    done = a_finding()
    waived(done)
    Finding.objects.filter(pk=done.pk).update(state="resolved", resolved_at=NOW, resolution="met")
    assert waived(a_finding()).state == WaiverState.ACTIVE


@pytest.mark.parametrize(
    "values",
    [{"actor": OTTO}, {"reason": " "}, {"most_active": 1_001}, {"days": 3_651}, {"days": -1}],
    ids=["no administrator", "no reason", "too many", "too long", "negative"],
)
def test_a_cap_is_changed_by_an_administrator_with_a_reason(values):
    with pytest.raises(CapRefused):
        cap(**values)


def test_a_cap_says_what_it_was_and_a_teams_own_can_be_taken_away():
    payments = factories.owner(name="Payments")
    own = cap(3, days=90, owner=payments, is_default=False)
    assert WaiverCap.objects.of(payments.pk) == own
    remove_cap(own, reason="No more need.", actor=ADMINISTRATOR)
    assert WaiverCap.objects.of(payments.pk).is_default
    details = AuditEntry.objects.filter(event__startswith="waiver_cap").order_by("seq").values_list("detail", flat=True)
    assert [detail["to"] for detail in details] == ["3 waivers, 90 days", "the default"]


@pytest.mark.django_db(transaction=True)
def test_two_approvals_at_once_do_not_pass_the_cap_together():
    cap(1)
    asked = [requested(a_finding()), requested(a_finding())]
    outcomes: list[str] = []

    def approve_the_other() -> None:
        try:
            approved(asked[1])
        except WaiverCapReached:
            outcomes.append("refused")
        finally:
            connection.close()

    somebody_else = threading.Thread(target=approve_the_other)
    with transaction.atomic():
        approved(asked[0])
        somebody_else.start()
        somebody_else.join(0.3)  # by then it waits for the cap, which is not told of the first one yet
    somebody_else.join(20)
    assert outcomes == ["refused"]
    assert Waiver.objects.active().count() == 1


# ── What was granted before ────────────────────────────────────────────────────────────────────
def test_a_waiver_of_one_person_is_kept_where_it_is_marked_as_such():
    said = {
        "state": "active", "reason": "Old.", "severity": 2, "requested_by": "Mira", "approved_by": "Mira",
        "requested_at": NOW, "granted_at": NOW, "begins_at": NOW, "ends_at": NOW + 9 * DAY,
    }  # fmt: skip
    assert Waiver.objects.create(finding=a_finding(), is_single_handed=True, **said)
    with pytest.raises(IntegrityError, match="waiver_requester_is_not_approver"), transaction.atomic():
        Waiver.objects.create(finding=a_finding(), compensating_control="None.", **said)


def test_findings_of_exposed_secrets_are_waived_like_others(full):
    mine = factories.credential(storage=Storage.LITERAL)
    factories.exposure(mine, is_readable_by_others=True)
    full()
    assert waived(Finding.objects.get(rule="hard-coded"), ends_at=NOW + 30 * DAY).severity == Severity.CRITICAL
