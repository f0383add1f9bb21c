"""Events of OCSF, each checked against the official schema."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from audit.events import Event
from inventory.states import Severity
from notifications import ocsf
from notifications.ocsf import Entry, Found, Source
from tests.factories import NOW
from tests.ocsf_schema import faults

US = Source("1.2.3", "Halden", "https://keyreeve.halden.example")


def entry(event: str, **values: Any) -> Entry:
    kind = event.partition(".")[0]
    defaults: dict[str, Any] = {
        "seq": 7, "at": NOW, "digest": b"\x01" * 32, "actor_kind": "user", "actor_id": "3", "actor_label": "Mira",
        "subject_kind": kind, "subject_id": "9", "subject_label": f"the {kind}", "detail": {"reason": "it was time"},
        "said": "What happened",
    }  # fmt: skip
    return Entry(event=event, **{**defaults, **values})


def found(**values: Any) -> Found:
    defaults: dict[str, Any] = {
        "uid": UUID(int=1), "sequence": 7, "at": NOW, "activity": ocsf.CREATE, "finding_id": "f-1", "rule": "unrotated",
        "name": "Unrotated", "title": "131 days old; the policy allows 60", "says": "Old secrets are known to many.",
        "severity": Severity.HIGH, "raised_by": ["production"], "state": "open",
        "controls": {"NIST CSF 2.0": ["PR.AA-01"]}, "subject_kind": "credential", "subject_id": "c-1",
        "subject_name": "deploy", "owner_id": "", "evidence": {"max_age": 60}, "opened_at": NOW,
        "due_at": NOW + timedelta(days=7), "path": "/findings/f-1/", "kind": ocsf.COMPLIANCE_FINDING,
    }  # fmt: skip
    return Found(**{**defaults, **values})


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("subject", [{}, {"subject_kind": "", "subject_id": "", "subject_label": ""}])
def test_every_audit_entry_is_an_event_that_the_schema_allows(event: Event, subject: dict[str, str]):
    assert faults(ocsf.of_entry(entry(event.value, **subject), US)) == []


@pytest.mark.parametrize("actor", ["user", "token", "system"])
def test_whoever_acts_is_a_user_of_their_kind(actor: str):
    event = ocsf.of_entry(entry("policy.changed", actor_kind=actor, actor_id="", actor_label=""), US)
    assert faults(event) == []
    assert event["actor"]["user"]["type_id"] == ocsf.ACTORS[actor]


@pytest.mark.parametrize(
    ("event", "kind", "activity"),
    [
        ("user.signed_in", ocsf.AUTHENTICATION, 1),
        ("user.signed_out", ocsf.AUTHENTICATION, 2),
        ("user.password_changed", ocsf.ACCOUNT_CHANGE, 3),
        ("user.second_factor_added", ocsf.ACCOUNT_CHANGE, 10),
        ("token.issued", ocsf.ENTITY_MANAGEMENT, 1),
        ("token.revoked", ocsf.ENTITY_MANAGEMENT, 4),
        ("client.suspended", ocsf.ENTITY_MANAGEMENT, 12),
        ("grant.approved", ocsf.USER_ACCESS, 1),
        ("grant.withdrawn", ocsf.USER_ACCESS, 2),
        ("operation.completed", ocsf.ENTITY_MANAGEMENT, 3),
    ],
)
def test_an_entry_has_the_class_that_fits_it(event: str, kind: int, activity: int):
    said = ocsf.of_entry(entry(event), US)
    assert (said["class_uid"], said["activity_id"]) == (kind, activity)


@pytest.mark.parametrize(("is_active", "activity"), [(True, 2), (False, 5), (None, ocsf.OTHER)])
def test_who_leaves_or_comes_back_is_disabled_or_enabled(is_active: bool | None, activity: int):
    changed = {} if is_active is None else {"is_active": is_active}
    said = ocsf.of_entry(entry("user.changed", detail={"changed": changed}), US)
    assert said["activity_id"] == activity


def test_a_refused_sign_in_is_a_failure_of_nobody_known():
    said = ocsf.of_entry(entry("user.sign_in_refused", subject_kind="", subject_id="", subject_label=""), US)
    assert (said["status_id"], said["user"]["name"]) == (ocsf.FAILURE, "unknown")


def test_an_entry_is_recognised_by_the_link_that_it_is():
    first, again = (ocsf.of_entry(entry("policy.changed"), US) for _ in range(2))
    other = ocsf.of_entry(entry("policy.changed", digest=b"\x02" * 32), US)
    assert first == again
    assert first["metadata"]["uid"] != other["metadata"]["uid"]
    assert first["metadata"]["sequence"] == 7


@pytest.mark.parametrize("activity", [ocsf.CREATE, ocsf.UPDATE, ocsf.CLOSE])
@pytest.mark.parametrize(
    "of_class",
    [
        {"kind": ocsf.COMPLIANCE_FINDING},
        {"kind": ocsf.COMPLIANCE_FINDING, "controls": {}},
        {"kind": ocsf.DETECTION_FINDING},
        {"kind": ocsf.IAM_FINDING, "used_at": NOW},
        {"kind": ocsf.IAM_FINDING, "used_at": None},
        {"kind": ocsf.IAM_FINDING, "scopes": ["repo", "admin:org"]},
    ],
)
def test_a_finding_is_an_event_that_the_schema_allows(activity: int, of_class: dict[str, Any]):
    assert faults(ocsf.of_finding(found(activity=activity, **of_class), US)) == []


@pytest.mark.parametrize("state", ocsf.STATUSES)
def test_a_finding_says_how_far_people_are_with_it(state: str):
    event = ocsf.of_finding(found(activity=ocsf.UPDATE, state=state), US)
    assert faults(event) == []
    assert event["status_id"] == ocsf.STATUSES[state]


def test_a_resolved_finding_is_a_check_that_is_passed():
    event = ocsf.of_finding(found(activity=ocsf.CLOSE, state="resolved"), US)
    assert (event["status_id"], event["compliance"]["status_id"]) == (ocsf.RESOLVED, ocsf.PASS)


def test_the_check_against_the_schema_can_fail():
    assert faults(ocsf.of_finding(found(), US) | {"no_such_attribute": 1})
    assert faults({**ocsf.of_finding(found(), US), "severity_id": "high"})
