"""What streams say of findings and operations: the findings behind an evaluation, and credentials that were ended.

An evaluation writes one audit entry with its instant and the keys around what it wrote, in one transaction with it. So
the entry's place in the chain is that of all its findings, and they are found again by index, however late.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import F
from django.urls import reverse

from audit.events import Event
from audit.models import AuditEntry
from inventory.models import Credential
from inventory.states import CredentialKind, Severity, TrustModel
from lifecycle.models import Finding, FindingChange, Operation
from lifecycle.rules.controls import FRAMEWORKS, framework_of
from lifecycle.states import FindingState, OperationKind, Proof, Trigger
from notifications import ocsf
from notifications.account_signals import credential_change
from notifications.sets import Signal, opaque
from notifications.states import SignalType
from notifications.texts import one_line
from notifications.translating import add, expand, signal, source

# What was seen that should not be: a secret that lies open, one used where another is, one alive after its end.
DETECTIONS = {
    "hard-coded", "kept-as-literal", "reused-across-environments", "reused-across-clients", "reused-across-servers",
    "valid-after-revocation", "tool-definition-changed",
}  # fmt: skip
# What somebody may do and does not need.
ANALYSES = {"stale", "scope-too-broad", "scope-not-granted", "scope-not-allowed", "disabled-everywhere"}
DECIDED = {
    Event.FINDING_ACKNOWLEDGED: FindingState.ACKNOWLEDGED,
    Event.FINDING_REOPENED: FindingState.OPEN,
    Event.FINDING_WAIVED: FindingState.WAIVED,
    Event.WAIVER_WITHDRAWN: None,
    Event.WAIVER_EXPIRED: None,
}
OPENED, CHANGED, RESOLVED, AHEAD = "opened", "changed", "resolved", "ahead"
PHASES = (OPENED, CHANGED, RESOLVED, AHEAD)
ACTIVITIES = {OPENED: ocsf.CREATE, CHANGED: ocsf.UPDATE, RESOLVED: ocsf.CLOSE, AHEAD: ocsf.CLOSE}
FIRST = UUID(int=0)

# As CAEP calls them, or in words of our own where it has none: docs/signals.md lists them.
CREDENTIAL_TYPES = {
    CredentialKind.DATABASE_PASSWORD: "password",
    CredentialKind.OAUTH_ACCESS_TOKEN: "access-token",
    CredentialKind.OAUTH_REFRESH_TOKEN: "refresh-token",
    CredentialKind.OAUTH_CLIENT_SECRET: "client-secret",
}
ANY_KEY = "api-key"
OF_SESSIONS = (CredentialKind.OAUTH_ACCESS_TOKEN, CredentialKind.OAUTH_REFRESH_TOKEN)
INITIATORS = {Trigger.PERSON: "admin", Trigger.REVIEW: "admin", Trigger.KILL_SWITCH: "admin"}


def of_evaluation(entry: AuditEntry, within: str, most: int) -> tuple[list[dict[str, Any]], str]:
    """The findings that an evaluation opened, changed and resolved, behind `within`; how far that is."""
    if "at" not in entry.detail:  # of a release before streams
        return [], ""
    phase, _, last = within.partition(":")
    place, after = (PHASES.index(phase), UUID(last)) if phase in PHASES else (0, FIRST)
    found: list[dict[str, Any]] = []
    for name in PHASES[place:]:
        rows = list(_rows(name, entry, after)[: most - len(found)])
        found += _told(name, rows, entry)
        if len(found) >= most:
            return found, f"{name}:{rows[-1].pk if rows else after}"
        after = FIRST
    return found, ""


def _rows(phase: str, entry: AuditEntry, after: UUID) -> Any:
    at = datetime.fromisoformat(entry.detail["at"])
    first, last = UUID(entry.detail["first"]), UUID(entry.detail["last"])
    within = {"id__gt": max(after, first), "id__lte": last}
    match phase:
        case "opened":
            return Finding.objects.with_subjects().filter(**within).order_by("id")
        case "changed":
            related = [f"finding__{name}" for name in ("credential", "server", "client", "connection", "job")]
            return FindingChange.objects.select_related("finding", *related).filter(**within).order_by("id")
        case "resolved":
            # None that it opened: what a later one said of the same instant.
            ended = Finding.objects.with_subjects().filter(resolved_at=at, id__gt=after)
            return ended.exclude(id__gt=first, id__lte=last).order_by("resolved_at", "id")
    # Opened by a clock that was ahead, and over before that: resolved when they were opened.
    ahead = Finding.objects.with_subjects().filter(resolved_at__gt=at, resolved_at=F("opened_at"), id__gt=after)
    return ahead.order_by("id") if entry.detail.get("clock_was_wrong") else Finding.objects.none()


def _told(phase: str, rows: Sequence[Any], entry: AuditEntry) -> Iterable[dict[str, Any]]:
    at = datetime.fromisoformat(entry.detail["at"])
    activity = ACTIVITIES[phase]
    us = source()
    if phase == CHANGED:
        for row in rows:
            is_over = row.finding.resolved_at is not None
            yield ocsf.of_finding(
                _found(
                    row.finding, entry, at=row.changed_at, activity=activity, part=f"{phase} {row.pk}",
                    severity=row.severity, raised_by=row.raised_by,
                    state=FindingState.OPEN.value if is_over else row.finding.state, detail=row.get_kind_display(),
                ),
                us,
            )  # fmt: skip
        return
    before = _severities_before([row.pk for row in rows]) if phase == OPENED else {}
    for row in rows:
        yield ocsf.of_finding(
            _found(
                row, entry, at=at, activity=activity, part=f"{phase} {row.pk}",
                severity=before.get(row.pk, row.severity), raised_by=row.raised_by,
                state=FindingState.OPEN.value if phase == OPENED else row.state,
                detail="" if phase == OPENED else row.get_resolution_display(),
            ),
            us,
        )  # fmt: skip


def _severities_before(ids: Sequence[UUID]) -> Mapping[UUID, int]:
    """How severe findings were when they opened, where that has changed since."""
    first = FindingChange.objects.filter(finding__in=ids).order_by("finding", "id").distinct("finding")
    return dict(first.values_list("finding", "severity_before"))


def of_decisions(entries: Sequence[AuditEntry]) -> dict[int, list[dict[str, Any]]]:
    """What people decided about findings, beside the entry that says who did."""
    rows = {str(row.pk): row for row in Finding.objects.with_subjects().filter(pk__in=_subjects("finding", entries))}
    us, told = source(), dict[int, list[dict[str, Any]]]()
    for entry in entries:
        if row := rows.get(entry.subject_id):
            state = DECIDED[Event(entry.event)]
            now = row.state if row.resolved_at is None else FindingState.OPEN
            found = _found(
                row, entry, at=entry.at, activity=ocsf.UPDATE, part=f"decided {row.pk}", severity=row.severity,
                raised_by=row.raised_by, state=(state or FindingState(now)).value,
            )  # fmt: skip
            told[entry.seq] = [ocsf.of_finding(found, us)]
    return told


def _found(
    row: Finding,
    entry: AuditEntry,
    *,
    at: datetime,
    activity: int,
    part: str,
    severity: int,
    raised_by: Sequence[str],
    state: str,
    detail: str = "",
) -> ocsf.Found:
    rule, scopes = row.declaration, row.evidence.get("scopes")
    controls: dict[str, list[str]] = {name: [] for name in FRAMEWORKS}
    for each in row.controls:
        controls[framework_of(each)].append(each)
    return ocsf.Found(
        uid=ocsf.uid_of(bytes(entry.hash), part),
        sequence=entry.seq,
        at=at,
        activity=activity,
        finding_id=str(row.pk),
        rule=row.rule,
        name=row.name,
        title=row.title_now(at),
        says=rule.why if rule else "",
        severity=Severity(severity),
        raised_by=raised_by,
        state=state,
        controls={name: ids for name, ids in controls.items() if ids},
        subject_kind=row.subject_kind.value,
        subject_id=str(row.subject_id),
        subject_name=one_line(row.subject, 200),
        owner_id=str(row.owner_id or ""),
        evidence=row.evidence,
        opened_at=row.opened_at,
        due_at=row.due_at,
        path=reverse("finding_detail", args=[row.pk]),
        kind=_class_of(row.rule),
        scopes=[str(scope) for scope in scopes] if isinstance(scopes, list) else (),
        used_at=_instant(row.evidence.get("last_used_at")),
        detail=detail,
    )


def _instant(said: Any) -> datetime | None:
    """A date of the evidence; None for evidence of an older release."""
    try:
        at = datetime.fromisoformat(said)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _class_of(rule: str) -> int:
    if rule in DETECTIONS:
        return ocsf.DETECTION_FINDING
    return ocsf.IAM_FINDING if rule in ANALYSES else ocsf.COMPLIANCE_FINDING


# ── Signals ────────────────────────────────────────────────────────────────────────────────────


def of_operations(entries: Sequence[AuditEntry]) -> dict[int, list[Signal]]:
    """A credential that was seen refused: rotated, revoked, or a consented token, whose session is over with it.

    What nobody has proved is no signal. Should it be proved later, the entry that says so is one.
    """
    rows = Operation.objects.select_related("credential").filter(pk__in=_subjects("operation", entries))
    operations = {str(row.pk): row for row in rows}
    told: dict[int, list[Signal]] = defaultdict(list)
    for entry in entries:
        row = operations.get(entry.subject_id)
        is_proved = entry.event == Event.OPERATION_VERIFIED or entry.detail.get("proof") == Proof.VERIFIED
        if row is not None and is_proved:
            told[entry.seq] = list(_of_operation(row, row.credential, entry))
    return told


def _of_operation(row: Operation, credential: Credential, entry: AuditEntry) -> Iterable[Signal]:
    kind = CredentialKind(credential.kind)
    change = "update" if row.kind == OperationKind.ROTATION else "revoke"
    common: dict[str, Any] = {
        "subject": opaque("credential", credential.pk), "at": row.refused_at or entry.at, "txn": f"operation:{row.pk}",
    }  # fmt: skip
    began = {"initiating_entity": INITIATORS.get(Trigger(row.trigger), "policy")}
    changed = credential_change(
        CREDENTIAL_TYPES.get(kind, ANY_KEY), change, friendly_name=one_line(credential.name, 200)
    )
    yield Signal(type=SignalType.CREDENTIAL_CHANGE, claims={**began, **changed}, **common)
    is_session = kind in OF_SESSIONS and credential.trust_model == TrustModel.USER_CONSENTED
    if is_session and row.kind == OperationKind.REVOCATION:
        yield Signal(type=SignalType.SESSION_REVOKED, claims=began, **common)


def _subjects(kind: str, entries: Sequence[AuditEntry]) -> list[UUID]:
    return [UUID(entry.subject_id) for entry in entries if entry.subject_kind == kind]


def declare() -> None:
    expand(Event.FINDINGS_EVALUATED, of_evaluation)
    add(DECIDED, of_decisions)
    signal((Event.OPERATION_COMPLETED, Event.OPERATION_VERIFIED), of_operations)
