"""What people decide about findings, and what they may not."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from access.actors import Actor
from audit.events import Event
from audit.models import AuditEntry
from inventory.models import Credential
from inventory.states import Severity, Storage
from lifecycle.actions.findings import acknowledge, expire_waivers, waive, withdraw_waiver
from lifecycle.errors import (
    FindingNotVisible,
    FindingResolved,
    FindingWaived,
    LifecycleError,
    WaiverEnded,
    WaiverEndsTooLate,
    WaiverEndsTooSoon,
    WaiverWithoutReason,
)
from lifecycle.models import Finding, Waiver
from lifecycle.states import FindingState
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
SYSTEM = Actor.system("test")


def a_finding(full, **values) -> Finding:
    mine = factories.credential(**values)
    full()
    return Finding.objects.get(credential=mine, rule="no-owner")


def events(finding: Finding) -> list[str]:
    return list(AuditEntry.objects.about(finding).order_by("seq").values_list("event", flat=True))


# ── Acknowledging ──────────────────────────────────────────────────────────────────────────────
def test_a_finding_is_acknowledged_by_name(full, operator):
    found = a_finding(full)
    assert acknowledge([found.pk], actor=operator, now=NOW) == 1
    found.refresh_from_db()
    assert (found.state, found.acknowledged_by) == (FindingState.ACKNOWLEDGED, "Mira Okafor")
    assert events(found) == [Event.FINDING_ACKNOWLEDGED]


def test_acknowledging_twice_changes_nothing(full, operator):
    found = a_finding(full)
    acknowledge([found.pk], actor=operator, now=NOW)
    assert acknowledge([found.pk], actor=operator, now=NOW + DAY) == 0
    assert events(found) == [Event.FINDING_ACKNOWLEDGED]


def test_a_bulk_acknowledgement_leaves_an_entry_for_each_finding(full, operator):
    factories.credential(), factories.credential()
    full()
    ids = list(Finding.objects.filter(rule="no-owner").values_list("pk", flat=True))
    assert acknowledge(ids, actor=operator, now=NOW) == 2
    assert AuditEntry.objects.filter(event=Event.FINDING_ACKNOWLEDGED).count() == 2


def test_an_outsider_acknowledges_nothing_when_one_of_many_is_not_theirs(full, outsider):
    theirs = factories.credential(owner=factories.owner(user_id=outsider.user_id), issued_at=NOW - 400 * DAY)
    not_theirs = a_finding(full)
    their_finding = Finding.objects.get(credential=theirs)
    with pytest.raises(FindingNotVisible):
        acknowledge([their_finding.pk, not_theirs.pk], actor=outsider, now=NOW)
    assert not Finding.objects.filter(state=FindingState.ACKNOWLEDGED).exists()


def test_an_owner_acknowledges_what_is_theirs(full, outsider):
    theirs = factories.credential(owner=factories.owner(user_id=outsider.user_id), issued_at=NOW - 400 * DAY)
    full()
    assert acknowledge([Finding.objects.get(credential=theirs).pk], actor=outsider, now=NOW) == 1


def test_an_acknowledged_finding_stays_so_when_it_is_evaluated_again(full, operator):
    found = a_finding(full)
    acknowledge([found.pk], actor=operator, now=NOW)
    full(NOW + DAY)
    found.refresh_from_db()
    assert found.state == FindingState.ACKNOWLEDGED


# ── Reading ────────────────────────────────────────────────────────────────────────────────────
def test_an_owner_sees_the_findings_of_their_credentials_and_servers(full, outsider):
    me = factories.owner(user_id=outsider.user_id)
    mine = factories.credential(custodian=me)
    server = factories.server(platform_owner=me)
    factories.credential(), factories.server()
    full()
    seen = Finding.objects.visible_to(outsider)
    assert {one.subject for one in seen} == {mine, server}


def test_findings_are_found_by_their_subject_and_by_their_rule(full):
    factories.credential(name="deploy token")
    factories.server(name="github-prod")
    full()
    assert {one.subject.name for one in Finding.objects.matching("dep")} == {"deploy token"}
    assert {one.subject.name for one in Finding.objects.matching("github")} == {"github-prod"}
    assert {one.rule for one in Finding.objects.matching("unclass")} == {"server-unclassified"}
    assert not Finding.objects.matching("  ").exists()


def test_a_finding_past_its_due_date_is_overdue_unless_somebody_waived_it(full, operator):
    found = a_finding(full)
    later = found.due_at + DAY
    assert Finding.objects.overdue(later).get() == found
    assert found.is_overdue(later)
    waive(found, reason="Moves in July.", ends_at=NOW + 80 * DAY, actor=operator, now=NOW)
    assert not Finding.objects.overdue(later).exists()


# ── Waiving ────────────────────────────────────────────────────────────────────────────────────
def test_a_waived_finding_is_no_risk_but_is_still_there(full, operator):
    found = a_finding(full)
    waive(found, reason="Moves in July.", ends_at=NOW + 30 * DAY, actor=operator, now=NOW)
    mine = Credential.objects.get(pk=found.credential_id)
    assert (mine.risk, mine.open_findings) == (Severity.NONE, 0)
    assert Finding.objects.unresolved().get().state == FindingState.WAIVED
    assert events(found) == [Event.FINDING_WAIVED]


def test_a_waived_finding_stays_waived_while_it_is_violated(full, operator):
    found = a_finding(full)
    waive(found, reason="Moves in July.", ends_at=NOW + 30 * DAY, actor=operator, now=NOW)
    full(NOW + DAY)
    mine = Credential.objects.get(pk=found.credential_id)
    assert Finding.objects.get().state == FindingState.WAIVED
    assert mine.risk == Severity.NONE


def test_a_waived_finding_is_open_again_when_its_waiver_ends(full, operator):
    found = a_finding(full)
    waive(found, reason="Moves in July.", ends_at=NOW + 30 * DAY, actor=operator, now=NOW)
    assert expire_waivers(NOW + 29 * DAY, actor=SYSTEM) == 0
    assert expire_waivers(NOW + 30 * DAY, actor=SYSTEM) == 1
    found.refresh_from_db()
    mine = Credential.objects.get(pk=found.credential_id)
    assert (found.state, mine.risk) == (FindingState.OPEN, Severity.MEDIUM)
    assert events(found) == [Event.FINDING_WAIVED, Event.WAIVER_EXPIRED]


def test_a_waiver_ends_once(full, operator):
    waive(a_finding(full), reason="Moves in July.", ends_at=NOW + DAY, actor=operator, now=NOW)
    expire_waivers(NOW + DAY, actor=SYSTEM)
    assert expire_waivers(NOW + 2 * DAY, actor=SYSTEM) == 0


def test_a_finding_resolved_under_a_waiver_stays_resolved_when_the_waiver_ends(full, operator):
    found = a_finding(full)
    waive(found, reason="Moves in July.", ends_at=NOW + 5 * DAY, actor=operator, now=NOW)
    Credential.objects.update(owner=factories.owner())
    full(NOW + DAY)
    expire_waivers(NOW + 5 * DAY, actor=SYSTEM)
    found.refresh_from_db()
    assert found.state == FindingState.RESOLVED
    assert not Waiver.objects.active().exists()


def test_a_withdrawn_waiver_opens_its_finding(full, operator):
    found = a_finding(full)
    waiver = waive(found, reason="Moves in July.", ends_at=NOW + 30 * DAY, actor=operator, now=NOW)
    withdraw_waiver(waiver, actor=operator, now=NOW + DAY, reason="It moved.")
    found.refresh_from_db()
    waiver.refresh_from_db()
    assert (found.state, waiver.withdrawn_by) == (FindingState.OPEN, "Mira Okafor")
    with pytest.raises(WaiverEnded):
        withdraw_waiver(waiver, actor=operator, now=NOW + DAY)


def test_a_finding_may_be_waived_again_after_its_waiver_ended(full, operator):
    found = a_finding(full)
    waiver = waive(found, reason="Moves in July.", ends_at=NOW + 30 * DAY, actor=operator, now=NOW)
    withdraw_waiver(waiver, actor=operator, now=NOW + DAY)
    assert waive(found, reason="Moves in August.", ends_at=NOW + 60 * DAY, actor=operator, now=NOW + DAY)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"reason": "  "}, WaiverWithoutReason),
        ({"ends_at": NOW}, WaiverEndsTooSoon),
        ({"ends_at": NOW + 91 * DAY}, WaiverEndsTooLate),
    ],
    ids=["no reason", "no time", "too long"],
)
def test_a_waiver_that_may_not_be_granted_says_why(full, operator, values, error: type[LifecycleError]):
    found = a_finding(full)
    wanted = {"reason": "Moves in July.", "ends_at": NOW + DAY, **values}
    with pytest.raises(error) as refused:
        waive(found, actor=operator, now=NOW, **wanted)
    assert str(refused.value) == error.__doc__
    assert not Waiver.objects.exists()


def test_a_critical_finding_is_waived_for_a_month_at_most(full, operator):
    mine = factories.credential(storage=Storage.LITERAL)
    factories.exposure(mine, is_readable_by_others=True)
    full()
    found = Finding.objects.get(rule="hard-coded")
    with pytest.raises(WaiverEndsTooLate):
        waive(found, reason="Moves in July.", ends_at=NOW + 31 * DAY, actor=operator, now=NOW)
    assert waive(found, reason="Moves in June.", ends_at=NOW + 30 * DAY, actor=operator, now=NOW)


def test_a_waived_finding_is_not_waived_twice(full, operator):
    found = a_finding(full)
    waive(found, reason="Moves in July.", ends_at=NOW + DAY, actor=operator, now=NOW)
    with pytest.raises(FindingWaived):
        waive(found, reason="Moves in July.", ends_at=NOW + DAY, actor=operator, now=NOW)


def test_a_resolved_finding_is_not_waived(full, operator):
    found = a_finding(full)
    Credential.objects.update(owner=factories.owner())
    full(NOW + DAY)
    with pytest.raises(FindingResolved):
        waive(found, reason="Moves in July.", ends_at=NOW + 5 * DAY, actor=operator, now=NOW + DAY)


def test_an_outsider_waives_nothing(full, outsider):
    found = a_finding(full)
    with pytest.raises(FindingNotVisible):
        waive(found, reason="Moves in July.", ends_at=NOW + DAY, actor=outsider, now=NOW)


def test_the_database_refuses_a_waiver_without_an_end_in_sight(full, operator):
    found = a_finding(full)
    with pytest.raises(IntegrityError, match="waiver_lasts_at_most_90_days"), transaction.atomic():
        Waiver.objects.create(
            finding=found,
            reason="For ever.",
            severity=found.severity,
            requested_by="m",
            approved_by="m",
            granted_at=NOW,
            ends_at=NOW + 91 * DAY,
        )
