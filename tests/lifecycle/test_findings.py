"""What people decide about findings, and what they may not."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from access.actors import Actor, ActorKind
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from inventory.errors import OwnerInactive
from lifecycle.actions.findings import acknowledge, add_link, assign, comment, remove_link
from lifecycle.errors import (
    CommentEmpty,
    CommentTooLong,
    FindingNotVisible,
    FindingResolved,
    HoldsSecret,
    LifecycleError,
    LinkExists,
    LinkRefused,
    LinkRemoved,
)
from lifecycle.models import Finding, FindingComment, FindingLink
from lifecycle.models.work import CommentIsFinal
from lifecycle.states import FindingState, LinkKind
from tests import factories
from tests.factories import NOW
from tests.inventory.discovery_samples import github_token, noise
from tests.lifecycle.waived import waived

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


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


def test_a_finding_past_its_due_date_is_overdue_unless_somebody_waived_it(full):
    found = a_finding(full)
    later = found.due_at + DAY
    assert Finding.objects.overdue(later).get() == found
    assert found.is_overdue(later)
    waived(found, ends_at=NOW + 80 * DAY)
    assert not Finding.objects.overdue(later).exists()


# ── Assigning ──────────────────────────────────────────────────────────────────────────────────
def test_a_finding_is_assigned_to_somebody_and_to_nobody_again(full, operator):
    found, ana = a_finding(full), factories.owner(name="Ana")
    assert assign([found.pk], ana, actor=operator, reason="She has the key.") == 1
    assert assign([found.pk], ana, actor=operator) == 0
    assert assign([found.pk], None, actor=operator) == 1
    said = AuditEntry.objects.about(found).order_by("seq").values_list("detail__from", "detail__to")
    assert list(said) == [(None, "Ana"), ("Ana", None)]


def test_who_has_left_is_given_no_work(full, operator):
    found = a_finding(full)
    with pytest.raises(OwnerInactive):
        assign([found.pk], factories.owner(is_active=False), actor=operator)


def test_a_bulk_assignment_with_one_that_is_resolved_assigns_none(full, operator):
    found, other = a_finding(full), a_finding(full)
    Finding.objects.filter(pk=other.pk).update(state="resolved", resolved_at=NOW, resolution="met")
    with pytest.raises(FindingResolved):
        assign([found.pk, other.pk], factories.owner(), actor=operator)
    assert not Finding.objects.filter(assigned_to__isnull=False).exists()


def test_whoever_is_assigned_sees_the_finding(full, operator, outsider):
    found, me = a_finding(full), factories.owner(user_id=outsider.user_id)
    assert not Finding.objects.visible_to(outsider).exists()
    assign([found.pk], me, actor=operator)
    assert Finding.objects.visible_to(outsider).get() == Finding.objects.mine(outsider).get() == found


# ── Commenting ─────────────────────────────────────────────────────────────────────────────────
def test_a_comment_is_audited_by_its_digest_and_not_by_its_text(full, operator):
    found = a_finding(full)
    assert comment([found.pk], "  Waits for the vendor. ", actor=operator, now=NOW) == 1
    assert FindingComment.objects.get().text == "Waits for the vendor."
    detail = AuditEntry.objects.about(found).get().detail
    assert "vendor" not in str(detail)
    assert len(detail["digest"]) == 64


def test_an_order_that_turns_the_direction_of_writing_is_marked(full, operator):
    comment([a_finding(full).pk], "Owned by \u202eabc\u202c.\r\nReally.", actor=operator, now=NOW)
    assert FindingComment.objects.get().text == "Owned by \ufffdabc\ufffd.\nReally."


@pytest.mark.parametrize(
    ("text", "error"), [(" ", CommentEmpty), ("x" * 4_001, CommentTooLong)], ids=["empty", "too long"]
)
def test_a_comment_has_a_length(full, operator, text, error: type[LifecycleError]):
    with pytest.raises(error):
        comment([a_finding(full).pk], text, actor=operator, now=NOW)


def test_a_comment_that_holds_a_secret_is_refused_and_kept_nowhere(full, operator):
    secret = github_token()
    found = a_finding(full)
    with pytest.raises(HoldsSecret) as refused:
        comment([found.pk], f"The key is {secret}.", actor=operator, now=NOW)
    assert secret not in str(refused.value)
    assert not FindingComment.objects.exists()
    assert events(found) == []


def test_a_comment_is_written_at_all_findings_or_at_none(full, outsider):
    theirs = factories.credential(owner=factories.owner(user_id=outsider.user_id), issued_at=NOW - 400 * DAY)
    other = a_finding(full)
    mine = Finding.objects.get(credential=theirs)
    with pytest.raises(FindingNotVisible):
        comment([mine.pk, other.pk], "Mine.", actor=outsider, now=NOW)
    assert comment([mine.pk], "Mine.", actor=outsider, now=NOW) == 1
    assert FindingComment.objects.visible_to(outsider).count() == 1


def test_the_database_refuses_to_change_a_comment(full, operator):
    comment([a_finding(full).pk], "As it was.", actor=operator, now=NOW)
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        FindingComment.objects.get().save()
    with pytest.raises(CommentIsFinal):
        FindingComment.objects.update(text="As it never was.")


def test_who_only_reads_decides_nothing(full):
    auditor = Actor(ActorKind.USER, "9", "Otto", frozenset({Role.AUDITOR}))
    found = a_finding(full)
    for decide in (
        lambda: acknowledge([found.pk], actor=auditor, now=NOW),
        lambda: assign([found.pk], None, actor=auditor),
    ):
        with pytest.raises(FindingNotVisible):
            decide()


# ── Linking ────────────────────────────────────────────────────────────────────────────────────
def test_a_link_names_what_will_resolve_a_finding_until_somebody_removes_it(full, operator):
    found = a_finding(full)
    link = add_link(found, kind=LinkKind.TICKET, reference="SEC-1", url="https://t.example/1", actor=operator, now=NOW)
    with pytest.raises(LinkExists):
        add_link(found, kind=LinkKind.TICKET, reference="SEC-1", actor=operator, now=NOW)
    remove_link(link, actor=operator, now=NOW + DAY)
    with pytest.raises(LinkRemoved):
        remove_link(link, actor=operator, now=NOW + DAY)
    assert not FindingLink.objects.present().exists()
    assert events(found) == [Event.FINDING_LINKED, Event.FINDING_UNLINKED]


@pytest.mark.parametrize(
    "values",
    [
        {"reference": " "},
        {"url": "http://t.example/1"},
        {"url": "javascript:alert(1)"},
        {"url": "//evil.example/"},
        {"url": "/\\evil.example/"},
        {"label": "x" * 201},
    ],
    ids=["no name", "in the clear", "script", "another host", "another host, backwards", "too long"],
)
def test_a_link_that_leads_astray_is_refused(full, operator, values):
    wanted = {"kind": LinkKind.CHANGE, "reference": "CHG-1", **values}
    with pytest.raises(LinkRefused):
        add_link(a_finding(full), actor=operator, now=NOW, **wanted)


def test_a_link_with_a_token_in_its_address_is_refused(full, operator):
    url = f"https://t.example/?api_key={noise(32)}"
    with pytest.raises(HoldsSecret):
        add_link(a_finding(full), kind=LinkKind.TICKET, reference="SEC-1", url=url, actor=operator, now=NOW)


@pytest.mark.parametrize("url", ["http://t.example/", "//evil.example/", "javascript:alert(1)"])
def test_the_database_refuses_a_link_that_leads_astray(full, url):
    values = {"kind": "ticket", "reference": "SEC-1", "added_at": NOW, "added_by": "m", "url": url}
    with pytest.raises(IntegrityError, match="finding_link_leads_to"), transaction.atomic():
        FindingLink.objects.create(finding=a_finding(full), **values)
