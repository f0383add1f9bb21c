"""Counting the measures of the controls over an estate, and telling of it on pages and over REST."""

from datetime import timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection as database
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from audit.actions import action, record
from audit.events import Event
from audit.heads import sign_head
from audit.models import AuditEntry
from inventory.states import Severity
from lifecycle.actions.evaluation import evaluate
from lifecycle.models import Finding, Operation, RuleState, Waiver
from lifecycle.states import FindingState, OperationKind, OperationState, Proof, Step, WaiverState
from reviews.actions.controls import measure_controls
from reviews.controls import CONTROLS, WINDOW
from reviews.measured import ROWS
from reviews.models import MeasureDay
from tests.factories import NOW, credential, owner
from tests.people import browser, owners_browser, text

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("test")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def counted(measure: str, now=NOW) -> tuple[int, int, int]:
    measure_controls(now)
    row = MeasureDay.objects.get(measure=measure, taken_on=now.date())
    return row.met, row.violated, row.unknown


def operation(kind: OperationKind, **values) -> Operation:
    held = credential()
    return Operation.objects.create(
        **{
            "kind": kind, "credential": held, "connection": held.connection, "step": Step.VERIFY_GONE,
            "reason": "It is due.", "requested_by": "Otto", "requested_by_key": "user:1", "requested_at": NOW - 2 * DAY,
            "overlap": DAY, "quiet": DAY, "step_at": NOW, **values,
        }
    )  # fmt: skip


def ended(kind: OperationKind, proof: Proof, **values) -> Operation:
    said = {"state": OperationState.COMPLETED, "closed_at": NOW - DAY, "proof": proof, "proof_reason": "It said so."}
    return operation(kind, **{**said, **values})


def stalled(kind: OperationKind) -> Operation:
    return operation(kind, state=OperationState.STALLED, stalled_at=NOW)


def test_what_a_rule_counted_is_what_its_measure_says():
    credential(owner=owner())
    credential()
    evaluate(NOW, actor=SYSTEM, full=True)
    assert counted("no-owner") == (1, 1, 0)


def test_a_count_of_a_rule_stands_under_the_day_on_which_it_was_made():
    RuleState.objects.create(rule="no-owner", evaluated_at=NOW - DAY, met=1, violated=0, unknown=0)
    measure_controls(NOW)
    assert MeasureDay.objects.get(measure="no-owner").taken_on == (NOW - DAY).date()


def test_waived_is_counted_beside_the_violated():
    credential()
    evaluate(NOW, actor=SYSTEM, full=True)
    Finding.objects.filter(rule="no-owner").update(state=FindingState.WAIVED)
    assert counted("no-owner") == (0, 1, 0)
    assert MeasureDay.objects.get(measure="no-owner").waived == 1


def test_what_no_evaluation_has_looked_at_may_be_under_a_policy_or_not():
    credential()
    assert counted("under-policy") == (0, 0, 1)
    evaluate(NOW, actor=SYSTEM, full=True)
    assert counted("under-policy") == (1, 0, 0)


def test_a_rotation_that_nobody_saw_end_is_unknown_and_a_stalled_one_violated():
    ended(OperationKind.ROTATION, Proof.VERIFIED)
    ended(OperationKind.ROTATION, Proof.UNVERIFIABLE)
    ended(OperationKind.ROTATION, Proof.VERIFIED, closed_at=NOW - WINDOW - DAY)
    stalled(OperationKind.ROTATION)
    assert counted("rotations-verified") == (1, 1, 1)
    assert counted("revocations-verified") == (0, 0, 0)


def test_a_revocation_is_in_time_when_it_was_seen_refused_within_a_day():
    ended(OperationKind.REVOCATION, Proof.VERIFIED, refused_at=NOW - DAY)
    ended(OperationKind.REVOCATION, Proof.VERIFIED, refused_at=NOW - HOUR)
    ended(OperationKind.REVOCATION, Proof.UNVERIFIABLE)
    operation(OperationKind.REVOCATION, state=OperationState.PENDING, due_at=NOW, requested_at=NOW - HOUR)
    operation(OperationKind.REVOCATION, state=OperationState.PENDING, due_at=NOW)
    assert counted("revoked-in-time") == (1, 2, 1)


def test_an_urgent_one_has_an_hour():
    ended(
        OperationKind.REVOCATION, Proof.VERIFIED, is_urgent=True, requested_at=NOW - DAY,
        refused_at=NOW - DAY + 2 * HOUR,
    )  # fmt: skip
    assert counted("revoked-in-time") == (0, 1, 0)


def finding(**values) -> Finding:
    said = {"rule": "stale", "severity": Severity.LOW, "opened_at": NOW, "refreshed_at": NOW, "due_at": NOW + DAY}
    return Finding.objects.create(**{"credential": credential(), **said, **values})


def test_a_finding_is_in_time_until_its_due_date_and_a_waived_one_is_not_asked():
    finding()
    finding(due_at=NOW - DAY)
    finding(due_at=NOW - DAY, state=FindingState.WAIVED)
    finding(due_at=NOW - DAY, state=FindingState.RESOLVED, resolved_at=NOW - 2 * DAY, resolution="met")
    assert counted("findings-in-time") == (2, 1, 0)


def test_a_waiver_does_not_cover_what_has_grown_more_severe():
    for severity in (Severity.LOW, Severity.HIGH):
        Waiver.objects.create(
            finding=finding(severity=severity, state=FindingState.WAIVED), state=WaiverState.ACTIVE, reason="Later.",
            compensating_control="A wall.",
            severity=Severity.LOW, requested_by="Mira", requested_by_key="user:1", requested_at=NOW,
            approved_by="Otto", approved_by_key="user:2", granted_at=NOW, begins_at=NOW, ends_at=NOW + DAY,
        )  # fmt: skip
    assert counted("waivers-in-force") == (1, 1, 0)


@action
def something(subject) -> None:
    record(Event.OWNER_CREATED, actor=SYSTEM, subject=subject)


def test_a_day_is_signed_when_a_head_covers_what_was_written_on_it():
    something(owner())
    now = AuditEntry.objects.get().at
    assert counted("days-signed", now) == (0, 0, 0)
    assert counted("days-signed", now + DAY) == (0, 1, 0)
    sign_head(Ed25519PrivateKey.generate(), now=now, actor=SYSTEM)
    assert counted("days-signed", now + DAY) == (1, 0, 0)


def test_counting_again_brings_the_day_up_and_adds_none():
    assert counted("under-policy") == (0, 0, 0)
    credential()
    assert counted("under-policy", NOW + HOUR) == (0, 0, 1)
    assert MeasureDay.objects.filter(measure="under-policy").count() == 1


@pytest.mark.parametrize("slug", ROWS)
def test_each_row_of_a_measure_has_an_id_a_name_and_a_verdict(slug: str):
    credential()
    evaluate(NOW, actor=SYSTEM, full=True)
    with database.cursor() as cursor:
        cursor.execute(ROWS[slug], {"now": NOW, "since": NOW - WINDOW})
        assert [column.name for column in cursor.description] == ["id", "name", "verdict"]


@pytest.fixture
def estate() -> None:
    credential(owner=owner())
    credential()
    now = timezone.now()
    evaluate(now, actor=SYSTEM, full=True)
    measure_controls(now)
    for days in (1, 2):
        MeasureDay.objects.create(
            measure="no-owner", taken_on=now.date() - days * DAY, counted_at=now - days * DAY, met=1, violated=0,
            unknown=0,
        )  # fmt: skip


def test_the_page_tells_each_control_its_verdict_and_where_csf_1_1_went(estate):
    said = text(browser(Role.AUDITOR).get("/controls/"))
    assert "PR.AA-01" in said
    assert "Violated" in said
    assert "PR.AC-1" in said
    assert "Nothing here measures it" in said


def test_a_control_leads_to_the_findings_that_are_its_exceptions(estate):
    said = text(browser(Role.AUDITOR).get("/controls/PR.AA-01/"))
    assert "/findings/?unresolved=true&amp;rule=no-owner" in said
    assert "met ÷ (met + violated + unknown) ≥ 98" in said
    assert 'class="spark"' in said


def test_there_is_no_page_of_a_control_that_nobody_declared():
    assert browser(Role.AUDITOR).get("/controls/PR.AC-1/").status_code == 404


def test_an_owner_reads_what_is_asked_and_no_counts(estate):
    mine, _ = owners_browser()
    for path in ("/controls/", "/controls/PR.AA-01/"):
        said = text(mine.get(path))
        assert "not told" in said
        assert "Violated</span>" not in said.split('id="h-formula"')[0]
    assert mine.get("/api/v1/controls/PR.AA-01/").json()["verdict"] is None
    assert mine.get("/api/v1/measure-days/").json()["results"] == []


def test_every_control_is_an_object_over_rest_with_its_measures(estate):
    reader = browser(Role.AUDITOR)
    listed = reader.get("/api/v1/controls/").json()["results"]
    assert [each["id"] for each in listed] == sorted(CONTROLS)
    one = reader.get("/api/v1/controls/PR.AA-01/").json()
    (owned,) = [each for each in one["measures"] if each["measure"]["id"] == "no-owner"]
    assert (owned["met"], owned["violated"], owned["share"], owned["threshold"]) == (1, 1, 0.5, 0.98)
    assert owned["verdict"] == one["verdict"] == "violated"


def test_controls_are_found_by_what_they_were_in_csf_1_1(estate):
    found = browser(Role.AUDITOR).get("/api/v1/controls/?replaces=PR.AC-1").json()["results"]
    assert [each["id"] for each in found] == ["PR.AA-01", "PR.AA-05"]


def test_a_control_is_read_in_few_questions(estate, django_assert_max_num_queries):
    reader = browser(Role.AUDITOR)
    for path in ("/controls/", "/controls/PR.AA-01/"):
        with django_assert_max_num_queries(12):
            reader.get(path)


def test_nothing_is_there_under_a_made_up_measure():
    assert browser(Role.AUDITOR).get(f"/api/v1/measures/{uuid4().hex}/").status_code == 404
