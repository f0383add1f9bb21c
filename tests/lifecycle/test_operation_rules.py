"""What rules say of rotations and revocations that do not end, or whose end nobody has seen."""

from datetime import timedelta
from typing import Any

import pytest

from access.actors import Actor
from inventory.models import Credential, CredentialVersion
from inventory.states import CredentialStatus, Storage, Verdict
from lifecycle.actions.evaluation import evaluate
from lifecycle.models import Finding, Operation
from lifecycle.states import OperationKind, OperationState, Proof, Step, Trigger
from tests import factories
from tests.factories import NOW
from tests.lifecycle.verdicts import finding_of
from tests.lifecycle.verdicts import judged as counted

ACTOR = Actor.system("tests")
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
pytestmark = pytest.mark.django_db


def judged(rule: str) -> Verdict:
    evaluate(NOW, actor=ACTOR, full=True)
    return counted(rule)


def operated(kind: str = OperationKind.ROTATION, *, of: Credential | None = None, **values: Any) -> Operation:
    credential = of or factories.credential(owner=factories.owner(), storage=Storage.PROVIDER, status="active")
    defaults = {
        "credential": credential,
        "connection": credential.connection,
        "state": OperationState.PENDING,
        "step": Step.ISSUE if kind == OperationKind.ROTATION else Step.SUSPEND,
        "trigger": Trigger.PERSON,
        "reason": "It is due.",
        "requested_by": "Mira",
        "requested_by_key": "user:7",
        "requested_at": NOW - HOUR / 2,
        "step_at": NOW - HOUR / 2,
        "overlap": DAY,
        "quiet": 7 * DAY,
    }
    row = {**defaults, **values}
    if row["state"] == OperationState.PENDING:
        row.setdefault("due_at", NOW)
    return Operation.objects.create(kind=kind, **row)


@pytest.mark.parametrize(
    ("values", "said", "title"),
    [
        ({}, Verdict.MET, ""),
        ({"state": "stalled", "stalled_at": NOW - 2 * DAY}, Verdict.VIOLATED, "Its rotation has waited for somebody"),
        ({"state": "proposed", "step_at": NOW - 13 * DAY}, Verdict.MET, ""),
        ({"state": "proposed", "step_at": NOW - 15 * DAY}, Verdict.VIOLATED, "Its rotation was proposed 15 days ago"),
        ({"step_at": NOW - 2 * DAY}, Verdict.VIOLATED, "Its rotation has been at “Issue and deliver” for 2 days"),
        ({"state": "waiting", "step": "overlap", "step_at": NOW - 7 * DAY}, Verdict.MET, ""),
        ({"state": "waiting", "step": "overlap", "step_at": NOW - 9 * DAY}, Verdict.VIOLATED, "Its rotation has been"),
        (
            {"state": "waiting", "step": "overlap", "step_at": NOW - 9 * DAY, "extended_until": NOW - DAY},
            Verdict.MET,
            "",
        ),
        ({"state": "waiting", "step": "quiet", "step_at": NOW - 7 * DAY}, Verdict.MET, ""),
    ],
)
def test_an_operation_that_does_not_end_is_found(values: dict[str, Any], said: Verdict, title: str) -> None:
    operated(**values)
    assert judged("operation-not-ended") == said
    if said is Verdict.VIOLATED:
        assert finding_of("operation-not-ended").title_now(NOW).startswith(title)


def test_one_that_was_closed_is_no_longer_judged() -> None:
    operated(state=OperationState.CANCELLED, closed_at=NOW, step_at=NOW - 9 * DAY)
    assert judged("operation-not-ended") == Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"requested_at": NOW - 23 * HOUR}, Verdict.MET),
        ({"requested_at": NOW - 25 * HOUR}, Verdict.VIOLATED),
        ({"requested_at": NOW - 2 * HOUR, "is_urgent": True}, Verdict.VIOLATED),
        ({"requested_at": NOW - 25 * HOUR, "refused_at": NOW - 24 * HOUR}, Verdict.NOT_APPLICABLE),
        ({"requested_at": NOW - 25 * HOUR, "state": OperationState.PROPOSED}, Verdict.NOT_APPLICABLE),
    ],
)
def test_a_revocation_that_nobody_saw_refused_is_overdue(values: dict[str, Any], said: Verdict) -> None:
    operated(OperationKind.REVOCATION, **values)
    assert judged("revocation-overdue") == said


def test_what_nobody_could_see_refused_ages_by_itself_until_somebody_says_what_they_saw() -> None:
    ended = factories.credential(owner=factories.owner(), status=CredentialStatus.DESTROYED, gone_at=NOW,
                                 last_seen_at=NOW)  # fmt: skip
    done = operated(
        OperationKind.REVOCATION,
        of=ended,
        state=OperationState.COMPLETED,
        closed_at=NOW,
        proof=Proof.UNVERIFIABLE,
        proof_reason="Nobody has its value any more.",
        verify_by=NOW + 7 * DAY,
    )
    assert judged("revocation-unverified") == Verdict.VIOLATED
    found = finding_of("revocation-unverified")
    assert (found.get_severity_display(), found.due_at) == ("High", NOW + 7 * DAY)
    assert found.title_now(NOW) == "Nobody could tell whether it is refused"
    evaluate(NOW + 8 * DAY, actor=ACTOR)
    found.refresh_from_db()
    assert found.get_severity_display() == "Critical"
    assert "somebody was to look" in found.title_now(NOW + 8 * DAY)
    Operation.objects.filter(pk=done.pk).update(proof=Proof.VERIFIED, verify_by=None)
    evaluate(NOW + 9 * DAY, actor=ACTOR, full=True)
    assert not Finding.objects.unresolved().exists()


def test_an_earlier_version_that_is_alive_again_is_found_although_the_one_in_use_is_another() -> None:
    credential = factories.credential(owner=factories.owner(), storage=Storage.PROVIDER, external_id="A2")
    CredentialVersion.objects.create(credential=credential, external_id="A2", first_seen_at=NOW)
    CredentialVersion.objects.create(
        credential=credential, external_id="A1", identity_key="aws:A1", first_seen_at=NOW - 9 * DAY,
        destroyed_at=NOW - 3 * DAY, is_current=False,
    )  # fmt: skip
    assert judged("valid-after-revocation") == Verdict.MET
    CredentialVersion.objects.filter(external_id="A1").update(revived_at=NOW)
    assert judged("valid-after-revocation") == Verdict.VIOLATED
    said = finding_of("valid-after-revocation").title_now(NOW)
    assert said == "Its earlier version A1, destroyed 3 days ago, is alive again"
