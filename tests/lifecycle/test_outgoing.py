"""What streams say of findings and operations, through the product's own evaluation and engine."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from access.actors import Actor
from audit.events import Event
from audit.models import AuditEntry
from inventory.models import Credential
from inventory.states import CredentialKind, TrustModel
from lifecycle.actions.evaluation import evaluate
from lifecycle.actions.findings import acknowledge
from lifecycle.actions.waivers import approve_waivers
from lifecycle.models import Finding, FindingChange, Operation
from lifecycle.states import Proof
from notifications import ocsf, translating
from notifications.models import EventStream
from notifications.states import SignalType, StreamKind
from tests import factories
from tests.factories import NOW
from tests.lifecycle.operations import Estate
from tests.lifecycle.waived import requested
from tests.ocsf_schema import faults

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(days=1)


def stream(**values: Any) -> EventStream:
    return EventStream(name="SIEM", kind=StreamKind.OCSF_FILE, file="events", created_at=NOW, **values)


def told(of: EventStream | None = None, most: int = 1_000) -> list[dict[str, Any]]:
    """All that a stream is sent from the beginning, in steps of `most`; moves it."""
    of = of or stream()
    found: list[dict[str, Any]] = []
    while taken := translating.next_events(of, most):
        assert (taken.seq, taken.within) != (of.seq, of.within)
        found += taken.events
        of.seq, of.within = taken.seq, taken.within
    return found


def findings(events: list[dict[str, Any]], rule: str = "") -> list[tuple[int, str]]:
    """Activity and subject of each event about a finding."""
    return [
        (each["activity_id"], each["resources"][0]["name"])
        for each in events
        if each["category_uid"] == 2 and rule in ("", each["finding_info"]["types"][0])
    ]


def test_an_evaluation_stands_for_everything_that_it_opened_changed_and_resolved(full):
    one, two = factories.credential(name="one", owner=None), factories.credential(name="two", owner=None)
    full(NOW)
    Credential.objects.filter(pk=one.pk).update(owner=factories.owner())
    full(LATER)
    events = told()
    assert sorted(findings(events, "no-owner")) == [(ocsf.CREATE, "one"), (ocsf.CREATE, "two"), (ocsf.CLOSE, "one")]
    assert {str(each) for each in Finding.objects.values_list("pk", flat=True)} == {
        each["finding_info"]["uid"] for each in events if each["category_uid"] == 2
    }
    assert [fault for each in events for fault in faults(each)] == []
    assert len({each["metadata"]["uid"] for each in events}) == len(events)
    assert two.pk != one.pk


def test_findings_come_before_their_evaluation_and_with_its_number(full):
    factories.credential(owner=None)
    full()
    *some, last = told()
    assert last["metadata"]["event_code"] == Event.FINDINGS_EVALUATED
    assert {each["metadata"]["sequence"] for each in some} == {last["metadata"]["sequence"]}


@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_a_stream_goes_on_in_the_middle_of_an_evaluation(full, most: int):
    for name in ("a", "b", "c"):
        factories.credential(name=name, owner=None)
    full(NOW)
    Finding.objects.update(escalates_at=NOW)
    Credential.objects.filter(name="a").update(owner=factories.owner())
    full(NOW + timedelta(days=200))
    assert FindingChange.objects.exists()
    at_once, in_steps = told(), told(most=most)
    assert in_steps == at_once


def test_a_finding_is_told_as_severe_as_it_was(full):
    factories.credential(owner=None)
    full(NOW)
    before = {str(row.pk): row.severity for row in Finding.objects.all()}
    full(NOW + timedelta(days=400))
    assert FindingChange.objects.filter(severity__gt=0).exists()
    opened = [each for each in told() if each["category_uid"] == 2 and each["activity_id"] == ocsf.CREATE]
    first = {each["finding_info"]["uid"]: each["severity_id"] for each in opened}
    assert {pk: first[pk] for pk in before} == {pk: ocsf.SEVERITIES[level] for pk, level in before.items()}


def test_what_a_clock_that_was_ahead_opened_is_resolved_in_a_stream_too(db):
    one = factories.credential(name="one", owner=None)
    evaluate(LATER, actor=Actor.system("test"), full=True)
    Credential.objects.filter(pk=one.pk).update(owner=factories.owner())
    evaluate(NOW, actor=Actor.system("test"), clock_was_wrong=True)
    assert findings(told(), "no-owner") == [(ocsf.CREATE, "one"), (ocsf.CLOSE, "one")]


def test_what_people_decide_stands_beside_who_decided(full, operator):
    row = factories.credential(name="one", owner=None)
    full(NOW)
    finding = Finding.objects.get(rule="no-owner", credential=row)
    acknowledge([finding.pk], actor=operator, now=NOW)
    before, decided = [each for each in told() if each["metadata"]["sequence"] == AuditEntry.objects.count()]
    assert (before["class_uid"], before["actor"]["user"]["name"]) == (ocsf.ENTITY_MANAGEMENT, "Mira Okafor")
    assert (decided["activity_id"], decided["status_id"]) == (ocsf.UPDATE, ocsf.IN_PROGRESS)
    assert faults(decided) == []


def test_a_waived_finding_is_suppressed(full, operator):
    row = factories.credential(name="one", owner=None)
    full(NOW)
    waiver = requested(Finding.objects.get(rule="no-owner", credential=row))
    approve_waivers([waiver], actor=replace(operator, id="8"), now=NOW, reason="So be it.")
    assert told()[-1]["status_id"] == ocsf.SUPPRESSED


def test_reading_many_findings_takes_as_many_statements_as_reading_few(full, django_assert_max_num_queries):
    for number in range(30):
        factories.credential(name=str(number), owner=None)
    full()
    with django_assert_max_num_queries(8):
        assert len(translating.next_events(stream(), 1_000).events) > 30


# ── Signals ────────────────────────────────────────────────────────────────────────────────────


def signals(*types: SignalType) -> list[translating.Token]:
    of = stream(signals=list(types or SignalType.values))
    tokens, _ = translating.next_tokens(of) or ([], 0)
    return tokens


def test_a_credential_that_was_rotated_and_seen_refused_is_a_change(db):
    estate = Estate()
    operation = estate.go_on(estate.rotate())
    assert operation.proof == Proof.VERIFIED
    (token,) = signals()
    assert token.signal.subject == {"format": "opaque", "id": f"credential:{estate.credential.pk}"}
    assert token.signal.txn == f"operation:{operation.pk}"
    assert token.signal.claims == {
        "credential_type": "api-key", "change_type": "update", "friendly_name": estate.slot,
        "initiating_entity": "admin",
    }  # fmt: skip


def test_a_credential_that_was_revoked_and_seen_refused_is_revoked(db):
    estate = Estate()
    estate.go_on(estate.revoke())
    (token,) = signals()
    assert token.signal.claims["change_type"] == "revoke"


def test_a_consented_token_that_was_revoked_ends_its_session(db):
    estate = Estate()
    Credential.objects.update(kind=CredentialKind.OAUTH_ACCESS_TOKEN, trust_model=TrustModel.USER_CONSENTED)
    estate.go_on(estate.revoke())
    assert [each.signal.type for each in signals()] == [SignalType.CREDENTIAL_CHANGE, SignalType.SESSION_REVOKED]


def test_what_nobody_has_proved_is_no_signal(db):
    estate = Estate()
    operation = estate.go_on(estate.revoke())
    entry = AuditEntry.objects.get(event=Event.OPERATION_COMPLETED)
    entry.detail["proof"] = Proof.UNVERIFIABLE.value
    Operation.objects.filter(pk=operation.pk).update(proof=Proof.UNVERIFIABLE)
    assert translating.SIGNALS[Event.OPERATION_COMPLETED]([entry]) == {}


def test_no_signal_holds_a_secret(db):
    estate = Estate()
    estate.go_on(estate.rotate())
    said = repr(signals()) + repr(told())
    assert estate.held_at_first not in said
    assert estate.delivered() not in said


def test_signals_are_told_apart_and_recognised(db, tmp_path: Path):
    estate = Estate()
    Credential.objects.update(kind=CredentialKind.OAUTH_ACCESS_TOKEN, trust_model=TrustModel.USER_CONSENTED)
    estate.go_on(estate.revoke())
    first, again = ([str(each) for each in signals()] for _ in range(2))
    assert first == again
    assert len(set(first)) == 2
