"""What people decide about findings: acknowledge them, accept their risk until a day, take that back."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import connection as database

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from lifecycle.actions.evaluation import recount
from lifecycle.errors import (
    FindingNotVisible,
    FindingResolved,
    FindingWaived,
    WaiverEnded,
    WaiverEndsTooLate,
    WaiverEndsTooSoon,
    WaiverWithoutReason,
)
from lifecycle.models import Finding, Waiver
from lifecycle.states import FindingState


@action
def acknowledge(finding_ids: Iterable[UUID], *, actor: Actor, now: datetime) -> int:
    """Say that somebody has seen these findings and works on them; how many changed.

    All of them or none: FindingNotVisible when the actor may not see one. Waived and resolved ones stay as they are.
    """
    changed = [finding for finding in _locked(finding_ids, actor) if finding.state == FindingState.OPEN]
    for finding in changed:
        finding.state = FindingState.ACKNOWLEDGED
        finding.acknowledged_at = now
        finding.acknowledged_by = actor.label[:200]
        record(Event.FINDING_ACKNOWLEDGED, actor=actor, subject=finding, detail=_about(finding))
    Finding.objects.bulk_update(changed, ["state", "acknowledged_at", "acknowledged_by"], batch_size=1_000)
    return len(changed)


@action
def waive(
    finding: Finding, *, reason: str, ends_at: datetime, actor: Actor, now: datetime, requested_by: str = ""
) -> Waiver:
    """Accept a finding's risk by name until `ends_at`; from then on it is open again if it is still violated."""
    (locked,) = _locked([finding.pk], actor)
    reason = reason.strip()
    if locked.resolved_at is not None:
        raise FindingResolved
    if locked.state == FindingState.WAIVED:
        raise FindingWaived
    if not reason:
        raise WaiverWithoutReason
    if ends_at <= now:
        raise WaiverEndsTooSoon
    if ends_at > now + Waiver.longest(locked.severity):
        raise WaiverEndsTooLate
    waiver = Waiver(
        finding=locked,
        reason=reason,
        severity=locked.severity,
        requested_by=(requested_by or actor.label)[:200],
        approved_by=actor.label[:200],
        granted_at=now,
        ends_at=ends_at,
    )
    waiver.save(force_insert=True)
    _move(locked, FindingState.WAIVED)
    record(
        Event.FINDING_WAIVED,
        actor=actor,
        subject=locked,
        detail={
            **_about(locked),
            "waiver": str(waiver.pk),
            "reason": reason,
            "ends_at": ends_at.isoformat(),
            "requested_by": waiver.requested_by,
        },
    )
    return waiver


@action
def waive_all(findings: Iterable[Finding], *, reason: str, ends_at: datetime, actor: Actor, now: datetime) -> int:
    """Waive several findings for one reason, all of them or none; how many."""
    ordered = sorted(findings, key=lambda finding: finding.pk)
    for finding in ordered:
        waive(finding, reason=reason, ends_at=ends_at, actor=actor, now=now)
    return len(ordered)


@action
def withdraw_waiver(waiver: Waiver, *, actor: Actor, now: datetime, reason: str = "") -> None:
    """End a waiver before its time; its finding is open again unless it was resolved meanwhile."""
    (finding,) = _locked([waiver.finding_id], actor)
    locked = Waiver.objects.select_for_update().get(pk=waiver.pk)
    if locked.withdrawn_at is not None or locked.expired_at is not None:
        raise WaiverEnded
    locked.withdrawn_at = now
    locked.withdrawn_by = actor.label[:200]
    locked.save(update_fields=["withdrawn_at", "withdrawn_by"])
    _reopen(finding)
    record(
        Event.WAIVER_WITHDRAWN,
        actor=actor,
        subject=finding,
        detail={**_about(finding), "waiver": str(locked.pk), "reason": reason.strip()},
    )


@action
def expire_waivers(now: datetime, *, actor: Actor, most: int = 1_000) -> int:
    """End up to `most` waivers that have run out; what they covered is open again. How many ended."""
    due = Waiver.objects.ended(now).order_by("ends_at").values_list("finding_id", flat=True)[:most]
    # Findings are locked before their waivers, as everywhere, and in the order of keys.
    findings = {one.pk: one for one in Finding.objects.filter(pk__in=list(due)).order_by("pk").select_for_update()}
    ended = list(Waiver.objects.ended(now).filter(finding__in=findings).order_by("pk").select_for_update())
    for waiver in ended:
        finding = findings[waiver.finding_id]
        waiver.expired_at = now
        waiver.save(update_fields=["expired_at"])
        _reopen(finding)
        record(
            Event.WAIVER_EXPIRED,
            actor=actor,
            subject=finding,
            detail={**_about(finding), "waiver": str(waiver.pk), "ends_at": waiver.ends_at.isoformat()},
        )
    return len(ended)


def _locked(finding_ids: Iterable[UUID], actor: Actor) -> list[Finding]:
    """The named findings, locked in the order of keys; all of them are visible to `actor`."""
    wanted = set(finding_ids)
    visible = Finding.objects.visible_to(actor).filter(pk__in=wanted)
    found = list(visible.order_by("pk").select_for_update(of=("self",)))
    if len(found) != len(wanted):
        raise FindingNotVisible
    return found


def _about(finding: Finding) -> dict[str, str]:
    return {"rule": finding.rule, finding.subject_kind.value: str(finding.subject_id)}


def _reopen(finding: Finding) -> None:
    if finding.state == FindingState.WAIVED:
        _move(finding, FindingState.OPEN)


def _move(finding: Finding, state: FindingState) -> None:
    finding.state = state
    finding.save(update_fields=["state"])
    with database.cursor() as cursor:
        recount(finding.subject_kind, [finding.subject_id], cursor=cursor)
