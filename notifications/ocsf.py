"""Audit entries and findings as events of OCSF 1.8, pure: plain dictionaries, checked against the schema in the tests.

The same thing always has the same `metadata.uid`, however often it is sent. Of people an event says what the audit
entry says, and nothing more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from inventory.states import Severity

VERSION = "1.8.0"
VENDOR, PRODUCT = "Keyreeve", "Keyreeve"
NAMES = UUID("6f1c3c34-2f0e-5d2b-9d0a-5a6f2f6d7c11")  # of the uids of our events
Event = dict[str, Any]

CATEGORIES = {2: "Findings", 3: "Identity & Access Management", 6: "Application Activity"}
COMPLIANCE_FINDING, DETECTION_FINDING, IAM_FINDING = 2003, 2004, 2008
ACCOUNT_CHANGE, AUTHENTICATION, ENTITY_MANAGEMENT, USER_ACCESS, API_ACTIVITY = 3001, 3002, 3004, 3005, 6003
CLASSES = {
    COMPLIANCE_FINDING: "Compliance Finding",
    DETECTION_FINDING: "Detection Finding",
    IAM_FINDING: "IAM Analysis Finding",
    ACCOUNT_CHANGE: "Account Change",
    AUTHENTICATION: "Authentication",
    ENTITY_MANAGEMENT: "Entity Management",
    USER_ACCESS: "User Access Management",
    API_ACTIVITY: "API Activity",
}
OTHER = 99
CREATE, UPDATE, CLOSE = 1, 2, 3  # of findings
INFORMATIONAL = 1
SEVERITIES = {Severity.LOW: 2, Severity.MEDIUM: 3, Severity.HIGH: 4, Severity.CRITICAL: 5}
NEW, IN_PROGRESS, SUPPRESSED, RESOLVED = 1, 2, 3, 4
STATUSES = {"open": NEW, "acknowledged": IN_PROGRESS, "waived": SUPPRESSED, "resolved": RESOLVED}
SUCCESS, FAILURE = 1, 2
PASS, FAIL = 1, 3
USER, SYSTEM, SERVICE = 1, 3, 4  # kinds of users
ACTORS = {"user": USER, "system": SYSTEM, "token": SERVICE}

# What happened to a person's or a program's account, and how they signed in: class, activity, and how it went.
SIGN_INS = {
    "user.signed_in": (1, SUCCESS),
    "user.signed_out": (2, SUCCESS),
    "user.sign_in_refused": (1, FAILURE),
    "user.second_factor_refused": (1, FAILURE),
}
ACCOUNTS = {
    "user.created": 1,
    "user.password_changed": 3,
    "user.second_factor_added": 10,
    "user.second_factor_removed": 11,
}
PRIVILEGES = {"grant.approved": 1, "grant.carried_over": 1, "grant.withdrawn": 2}
# Of everything else that has a subject, what its verb says; any other is a change of it.
VERBS = {
    "created": 1, "added": 1, "issued": 1, "requested": 1, "proposed": 1, "drafted": 1, "set": 1, "declared": 1,
    "removed": 4, "revoked": 4, "retired": 4, "deleted": 4, "withdrawn": 4, "absorbed": 4,
    "suspended": 12, "quarantined": 12, "paused": 12, "halted": 12,
    "reinstated": 13, "resumed": 13, "admitted": 10, "launched": 10,
}  # fmt: skip
CHANGED = 3
# Entries that somebody should look at, and which are no finding of their own.
GRAVE = {
    "chain.found_broken": 5, "chain_key.lost": 4, "chain_export.failed": 4, "job.failed": 3, "operation.stalled": 3,
    "user.sign_in_refused": 2, "user.second_factor_refused": 2,
}  # fmt: skip


def uid_of(digest: bytes, part: str = "") -> UUID:
    """The id of what one link of the audit chain gives rise to. The link's hash tells two histories apart."""
    return uuid5(NAMES, f"{digest.hex()} {part}")


def millis(at: datetime) -> int:
    return int(at.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Source:
    """Which Keyreeve speaks."""

    version: str
    estate: str = ""
    url: str = ""

    def event(self, kind: int, activity: int, *, uid: UUID, sequence: int, at: datetime, severity: int) -> Event:
        """What every event has."""
        metadata = {
            "version": VERSION,
            "uid": str(uid),
            "sequence": sequence,
            "log_name": "audit",
            "product": {"name": PRODUCT, "vendor_name": VENDOR, "version": self.version},
            "original_time": at.isoformat().replace("+00:00", "Z"),
        }
        if self.estate:
            metadata["tenant_uid"] = self.estate
        return {
            "category_uid": kind // 1000,
            "category_name": CATEGORIES[kind // 1000],
            "class_uid": kind,
            "class_name": CLASSES[kind],
            "activity_id": activity,
            "type_uid": kind * 100 + activity,
            "severity_id": severity,
            "time": millis(at),
            "metadata": metadata,
        }

    def page(self, path: str) -> dict[str, str]:
        return {"src_url": f"{self.url}{path}"} if self.url and path else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One link of the audit chain, as an event tells it."""

    seq: int
    at: datetime
    event: str
    digest: bytes
    actor_kind: str
    actor_id: str
    actor_label: str
    subject_kind: str
    subject_id: str
    subject_label: str
    detail: Mapping[str, Any]
    said: str  # in words


def of_entry(entry: Entry, source: Source) -> Event:
    """The event of an audit entry, whatever it is: none is left out."""
    kind, activity, extra = _class_of(entry)
    event = source.event(
        kind, activity, uid=uid_of(entry.digest), sequence=entry.seq, at=entry.at,
        severity=GRAVE.get(entry.event, INFORMATIONAL),
    )  # fmt: skip
    event |= {
        "actor": {"user": _actor(entry), "app_name": PRODUCT},
        "message": entry.said,
        "metadata": event["metadata"] | {"event_code": entry.event},
        "unmapped": {"detail": dict(entry.detail), "hash": entry.digest.hex()},
        **extra,
    }
    return event


def _class_of(entry: Entry) -> tuple[int, int, Event]:
    name, verb = entry.event.split(".", 1)
    if entry.event in SIGN_INS:
        activity, status = SIGN_INS[entry.event]
        return AUTHENTICATION, activity, {
            "user": _user(entry), "service": {"name": PRODUCT}, "status_id": status,
        }  # fmt: skip
    if name == "user" and entry.subject_kind == "user":
        return ACCOUNT_CHANGE, _account_activity(entry), {"user": _user(entry), "status_id": SUCCESS}
    if entry.event in PRIVILEGES:
        return USER_ACCESS, PRIVILEGES[entry.event], {
            "user": {"name": entry.subject_label or entry.subject_id, "uid": entry.subject_id, "type_id": SERVICE},
            "privileges": _privileges(entry.detail),
            "status_id": SUCCESS,
        }  # fmt: skip
    if entry.subject_kind:
        entity = {
            "name": entry.subject_label or entry.subject_id,
            "uid": entry.subject_id,
            "type_id": OTHER,
            "type": entry.subject_kind,
        }
        activity = VERBS.get(verb.rpartition("_")[2], CHANGED)
        return ENTITY_MANAGEMENT, activity, {"entity": entity, "status_id": _status(entry)}
    return API_ACTIVITY, OTHER, {
        "activity_name": entry.event,
        "api": {"operation": entry.event, "service": {"name": PRODUCT}},
        "src_endpoint": {"svc_name": PRODUCT},
        "status_id": _status(entry),
    }  # fmt: skip


def _account_activity(entry: Entry) -> int:
    """A directory says with `is_active` that somebody has left, or is back."""
    if entry.event in ACCOUNTS:
        return ACCOUNTS[entry.event]
    is_active = active_now(entry.detail)
    return OTHER if is_active is None else 2 if is_active else 5


def active_now(detail: Mapping[str, Any]) -> bool | None:
    """What a change of a person says of whether they may still sign in; None where it says nothing of it."""
    changed = detail.get("changed", detail)
    said = changed.get("is_active") if isinstance(changed, Mapping) else None
    if isinstance(said, Mapping):
        said = said.get("to")
    elif isinstance(said, list) and said:
        said = said[-1]
    return said if isinstance(said, bool) else None


def _status(entry: Entry) -> int:
    return FAILURE if entry.event.endswith((".failed", ".refused", ".stalled", ".found_broken")) else SUCCESS


def _actor(entry: Entry) -> Event:
    return {
        "name": entry.actor_label or entry.actor_kind,
        "uid": entry.actor_id or entry.actor_kind,
        "type_id": ACTORS.get(entry.actor_kind, 0),
    }


def _user(entry: Entry) -> Event:
    if not entry.subject_id:
        return {"name": "unknown", "type_id": 0}
    return {"name": entry.subject_label or entry.subject_id, "uid": entry.subject_id, "type_id": USER}


def _privileges(detail: Mapping[str, Any]) -> list[str]:
    found = [str(each) for name in ("tools", "scopes", "resources") for each in _listed(detail.get(name))]
    return found or ["grant"]


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A finding as it was when something happened to it."""

    uid: UUID  # of the event
    sequence: int
    at: datetime
    activity: int
    finding_id: str
    rule: str
    name: str
    title: str
    says: str
    severity: Severity
    raised_by: Sequence[str]
    state: str
    controls: Mapping[str, Sequence[str]]  # by the standard that they are of
    subject_kind: str
    subject_id: str
    subject_name: str
    owner_id: str
    evidence: Mapping[str, Any]
    opened_at: datetime
    due_at: datetime
    path: str
    kind: int  # its class
    scopes: Sequence[str] = ()  # of an IAM analysis: too many of them, or none where it is about use
    used_at: datetime | None = None
    detail: str = ""


def of_finding(found: Found, source: Source) -> Event:
    """As the class that fits its rule: a check of a control, an analysis of access, or something that was detected."""
    event = source.event(
        found.kind, found.activity, uid=found.uid, sequence=found.sequence, at=found.at,
        severity=SEVERITIES[found.severity],
    )  # fmt: skip
    is_over = found.activity == CLOSE
    controls = [each for ids in found.controls.values() for each in ids]
    event |= {
        "message": f"{found.subject_name}: {found.title}",
        "status_id": RESOLVED if is_over else STATUSES[found.state],
        "finding_info": {
            "uid": found.finding_id,
            "title": found.name,
            "desc": found.title,
            "types": [found.rule],
            "created_time": millis(found.opened_at),
            "modified_time": millis(found.at),
            "product_uid": PRODUCT.lower(),
            "analytic": {"type_id": 1, "type": "Rule", "uid": found.rule, "name": found.name, "desc": found.says},
            **source.page(found.path),
        },
        "resources": [{"uid": found.subject_id, "name": found.subject_name, "type": found.subject_kind}],
        "unmapped": {
            "evidence": dict(found.evidence),
            "raised_by": list(found.raised_by),
            "due_at": found.due_at.isoformat().replace("+00:00", "Z"),
            "owner_id": found.owner_id,
            "controls": controls,
        },
    }
    if found.detail:
        event["status_detail"] = found.detail
    return event | _of_class(found, controls, is_over=is_over)


def _of_class(found: Found, controls: Sequence[str], *, is_over: bool) -> Event:
    if found.kind == DETECTION_FINDING:
        return {"is_alert": found.activity == CREATE}
    if found.kind == IAM_FINDING:
        about = {"user": {"uid": found.subject_id, "name": found.subject_name, "type_id": SERVICE}}
        if found.scopes:
            return about | {"permission_analysis_results": [{"granted_privileges": list(found.scopes)}]}
        return about | {"identity_activity_metrics": {"last_seen_time": millis(found.used_at)} if found.used_at else {}}
    return {
        "compliance": {
            "standards": list(found.controls),
            "requirements": list(controls),
            "control": controls[0] if controls else found.rule,
            "status_id": PASS if is_over else FAIL,
            "desc": found.says,
        }
    }
