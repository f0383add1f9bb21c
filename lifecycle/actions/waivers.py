"""Accepting a finding's risk takes two people: one asks, another approves. Caps bound how much is accepted.

Every action locks findings first, in the order of keys, then their waivers, then the default cap.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection as database
from django.db.models import Q

from access.actors import Actor, ActorKind
from access.rights import Right
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.models import Owner
from lifecycle.actions.evaluation import LOCKED, recount
from lifecycle.actions.findings import about, as_seen, locked, refuse_secrets
from lifecycle.errors import (
    CapRefused,
    FindingResolved,
    FindingWaived,
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
from lifecycle.models.waivers import MOST_ACTIVE, WaiverQuerySet, total_of
from lifecycle.states import WAITING, FindingState, WaiverState

LONGEST_TOTAL = timedelta(days=3_650)
COMES_BACK_WITHIN = timedelta(days=365)  # of its end a finding that opens anew is the same risk
TIME_WAS_UP = "its time was up"


# ── Asking ─────────────────────────────────────────────────────────────────────────────────────
@action
def request_waiver(
    finding: Finding,
    *,
    reason: str,
    compensating_control: str,
    ends_at: datetime,
    actor: Actor,
    now: datetime,
    extends: Waiver | None = None,
) -> Waiver:
    """Ask that a finding's risk be accepted until `ends_at`. Nothing is waived before somebody else approves.

    `extends` names the active waiver that it is to follow; it then begins when that one ends.
    """
    reason, compensating_control = as_seen(reason), as_seen(compensating_control)
    (found,) = locked([finding.pk], actor)
    if found.resolved_at is not None:
        raise FindingResolved
    if not reason:
        raise WaiverWithoutReason
    if not compensating_control:
        raise WaiverWithoutControl
    refuse_secrets(reason, compensating_control)
    unfinished = list(_unfinished([found]))
    if any(waiver.state in WAITING for waiver in unfinished):
        raise WaiverWaits
    active = next(iter(unfinished), None)
    if extends is None and active is not None:
        raise FindingWaived
    if extends is not None and (active is None or active.pk != extends.pk):
        raise WaiverEnded
    begins_at = active.ends_at if active is not None else now
    if ends_at <= max(begins_at, now):
        raise WaiverEndsTooSoon
    if ends_at > begins_at + Waiver.longest(found.severity):
        raise WaiverEndsTooLate
    _within_total(found, ends_at - begins_at, now)
    waiver = Waiver(
        finding=found,
        state=WaiverState.REQUESTED,
        extends=active,
        reason=reason,
        compensating_control=compensating_control,
        severity=found.severity,
        requested_by=actor.label[:200],
        requested_by_key=actor.key,
        requested_at=now,
        ends_at=ends_at,
    )
    waiver.save(force_insert=True)
    said = {"reason": reason, "compensating_control": compensating_control, "ends_at": ends_at.isoformat()}
    followed = {"extends": str(active.pk)} if active is not None else {}
    record(Event.WAIVER_REQUESTED, actor=actor, subject=found, detail={**_of(waiver, found), **followed, **said})
    return waiver


@action
def request_waivers(
    findings: Iterable[Finding],
    *,
    reason: str,
    compensating_control: str,
    ends_at: datetime,
    actor: Actor,
    now: datetime,
) -> int:
    """Ask for several findings at once, all of them or none; how many. What is waived already is asked to go on."""
    wanted = sorted(findings, key=lambda finding: finding.pk)
    locked([finding.pk for finding in wanted], actor)
    active = {waiver.finding_id: waiver for waiver in Waiver.objects.active().filter(finding__in=wanted)}
    for finding in wanted:
        request_waiver(
            finding,
            reason=reason,
            compensating_control=compensating_control,
            ends_at=ends_at,
            actor=actor,
            now=now,
            extends=active.get(finding.pk),
        )
    return len(wanted)


# ── Deciding ───────────────────────────────────────────────────────────────────────────────────
@action
def approve_waivers(waivers: Iterable[Waiver], *, reason: str, actor: Actor, now: datetime) -> int:
    """Accept the risks that somebody else asked to accept, all of them or none; how many.

    Only now are their findings waived. An extension begins when the waiver that it names ends. Caps are looked at
    under a lock, so two approvals at once cannot pass them together.
    """
    reason = as_seen(reason)
    decided = _to_decide(waivers, reason, actor)
    if not decided:
        return 0
    in_order(WaiverCap.objects.filter(is_default=True))
    begun = []
    for finding, waiver in decided:
        if finding.resolved_at is not None:
            raise FindingResolved
        active = Waiver.objects.active().filter(finding=finding).first()
        # Also where that end has passed and nobody has looked yet: its finding is waived until somebody does.
        begins_at = active.ends_at if active is not None else now
        if waiver.ends_at <= max(begins_at, now):
            raise WaiverEndsTooSoon
        if waiver.ends_at > begins_at + Waiver.longest(finding.severity):
            raise WaiverEndsTooLate
        _within_total(finding, waiver.ends_at - begins_at, now)
        _within_count(finding)
        waiver.state = WaiverState.SCHEDULED if active is not None else WaiverState.ACTIVE
        waiver.severity = finding.severity
        waiver.approved_by, waiver.approved_by_key = actor.label[:200], actor.key
        waiver.granted_at, waiver.begins_at, waiver.decision = now, begins_at, reason
        waiver.save()
        if active is None:
            begun.append(finding)
        detail = {
            **_of(waiver, finding),
            "reason": reason,
            "begins_at": begins_at.isoformat(),
            "ends_at": waiver.ends_at.isoformat(),
            "requested_by": waiver.requested_by,
        }
        event = Event.FINDING_WAIVED if active is None else Event.WAIVER_EXTENDED
        record(event, actor=actor, subject=finding, detail=detail)
    _move(begun, FindingState.WAIVED)
    return len(decided)


@action
def decline_waivers(waivers: Iterable[Waiver], *, reason: str, actor: Actor, now: datetime) -> int:
    """Refuse what somebody else asked for, all of it or nothing; how many."""
    reason = as_seen(reason)
    decided = _to_decide(waivers, reason, actor)
    for finding, waiver in decided:
        waiver.state = WaiverState.DECLINED
        waiver.declined_by, waiver.declined_by_key = actor.label[:200], actor.key
        waiver.declined_at, waiver.decision = now, reason
        waiver.save()
        detail = {**_of(waiver, finding), "reason": reason, "requested_by": waiver.requested_by}
        record(Event.WAIVER_DECLINED, actor=actor, subject=finding, detail=detail)
    return len(decided)


def _to_decide(waivers: Iterable[Waiver], reason: str, actor: Actor) -> list[tuple[Finding, Waiver]]:
    """The requests with their findings, locked; the actor is a reviewer and asked for none of them."""
    if actor.kind is not ActorKind.USER or not actor.may(Right.DECIDE_WAIVER):
        raise WaiverByNobody
    if not reason:
        raise WaiverDecisionWithoutReason
    refuse_secrets(reason)
    wanted = {waiver.pk: waiver.finding_id for waiver in waivers}
    findings = {finding.pk: finding for finding in locked(wanted.values(), actor)}
    rows = in_order(Waiver.objects.filter(pk__in=wanted))
    if any(row.state != WaiverState.REQUESTED for row in rows) or len(rows) != len(wanted):
        raise WaiverDecided
    if any(row.requested_by_key == actor.key for row in rows):
        raise WaiverByRequester
    return [(findings[row.finding_id], row) for row in rows]


# ── Ending ─────────────────────────────────────────────────────────────────────────────────────
@action
def withdraw_waiver(waiver: Waiver, *, actor: Actor, now: datetime, reason: str = "") -> None:
    """Take back a request, or end a waiver before its time with what was to follow it.

    Its finding is open again unless it was resolved meanwhile.
    """
    reason = as_seen(reason)
    refuse_secrets(reason)
    (finding,) = locked([waiver.finding_id], actor)
    unfinished = {row.pk: row for row in in_order(_unfinished([finding]))}
    if waiver.pk not in unfinished:
        raise WaiverEnded
    was_active = unfinished[waiver.pk].state == WaiverState.ACTIVE
    for row in unfinished.values() if was_active else [unfinished[waiver.pk]]:
        row.state, row.withdrawn_at, row.withdrawn_by = WaiverState.WITHDRAWN, now, actor.label[:200]
        row.save(update_fields=["state", "withdrawn_at", "withdrawn_by"])
        detail = {**_of(row, finding), "reason": reason}
        record(Event.WAIVER_WITHDRAWN, actor=actor, subject=finding, detail=detail)
    if was_active:
        _reopen([finding])


@action
def expire_waivers(now: datetime, *, actor: Actor, most: int = 1_000) -> int:
    """End up to `most` waivers and requests that have run out or whose finding is resolved; how many ended.

    Where an approved extension follows it begins in the same transaction, so the finding is never open in between.
    What nothing follows is open again.
    """
    unfinished = Q(state__in=[WaiverState.ACTIVE, *WAITING])
    is_due = Q(state__in=[WaiverState.ACTIVE, WaiverState.REQUESTED], ends_at__lte=now)
    due = Waiver.objects.filter(unfinished & (is_due | Q(finding__resolved_at__isnull=False)))
    # Findings are locked before their waivers, as everywhere, and in the order of keys.
    keys = set(due.order_by("ends_at").values_list("finding_id", flat=True)[:most])
    findings = in_order(Finding.objects.filter(pk__in=keys))
    rows = in_order(_unfinished(findings))
    ended, reopened = 0, []
    for finding in findings:
        # By the order in which they hold: the active one, what follows it, what is only asked for.
        own = sorted((row for row in rows if row.finding_id == finding.pk), key=_order)
        was_waived = any(row.state == WaiverState.ACTIVE for row in own)
        for row in own:
            if finding.resolved_at is not None:
                _expire(row, finding, "its finding was resolved", actor=actor, now=now)
            elif row.state == WaiverState.REQUESTED and row.ends_at <= now:
                _expire(row, finding, "nobody decided in time", actor=actor, now=now)
            elif row.state == WaiverState.ACTIVE and row.ends_at <= now:
                _expire(row, finding, TIME_WAS_UP, actor=actor, now=now)
            elif row.state == WaiverState.SCHEDULED and not any(one.state == WaiverState.ACTIVE for one in own):
                row.state = WaiverState.ACTIVE
                row.save(update_fields=["state"])
                detail = {**_of(row, finding), "ends_at": row.ends_at.isoformat()}
                record(Event.WAIVER_BEGUN, actor=actor, subject=finding, detail=detail)
                if row.ends_at <= now:  # nobody looked for so long that it is over too
                    _expire(row, finding, TIME_WAS_UP, actor=actor, now=now)
            ended += row.expired_at is not None
        if was_waived and not any(row.state == WaiverState.ACTIVE for row in own):
            reopened.append(finding)
    _reopen(reopened)
    return ended


def _order(waiver: Waiver) -> int:
    return [WaiverState.ACTIVE, WaiverState.SCHEDULED, WaiverState.REQUESTED].index(WaiverState(waiver.state))


def _expire(waiver: Waiver, finding: Finding, why: str, *, actor: Actor, now: datetime) -> None:
    waiver.state, waiver.expired_at = WaiverState.EXPIRED, now
    waiver.save(update_fields=["state", "expired_at"])
    detail = {**_of(waiver, finding), "because": why, "ends_at": waiver.ends_at.isoformat()}
    record(Event.WAIVER_EXPIRED, actor=actor, subject=finding, detail=detail)


# ── Caps ───────────────────────────────────────────────────────────────────────────────────────
@action
def set_cap(
    *,
    owner: Owner | None,
    is_default: bool,
    most_active: int,
    longest_total: timedelta,
    reason: str,
    actor: Actor,
    now: datetime,
) -> WaiverCap:
    """Say how many waivers a team may have and how long a finding may be waived; every team's without its own.

    Without an owner and not the default it is for what nobody answers for. What was granted stays.
    """
    reason = as_seen(reason)
    is_sane = 0 <= most_active <= MOST_ACTIVE and timedelta(0) <= longest_total <= LONGEST_TOTAL
    if not actor.may(Right.CAP_WAIVERS) or not is_sane or not reason or (is_default and owner is not None):
        raise CapRefused
    refuse_secrets(reason)
    in_order(WaiverCap.objects.filter(is_default=True))
    cap = WaiverCap.objects.filter(is_default=is_default, owner=owner).first()
    before = {} if cap is None else {"from": _said(cap)}
    cap = cap or WaiverCap(is_default=is_default, owner=owner)
    cap.most_active, cap.longest_total, cap.reason = most_active, longest_total, reason
    cap.changed_by, cap.changed_at = actor.label[:200], now
    cap.save()
    detail = {**before, "to": _said(cap), "reason": cap.reason}
    record(Event.WAIVER_CAP_SET, actor=actor, subject=cap, detail=detail)
    return cap


@action
def remove_cap(cap: WaiverCap, *, reason: str, actor: Actor) -> None:
    """Take a team's own cap away; the default holds for it again."""
    reason = as_seen(reason)
    if not actor.may(Right.CAP_WAIVERS) or not reason or cap.is_default:
        raise CapRefused
    refuse_secrets(reason)
    in_order(WaiverCap.objects.filter(is_default=True))
    detail = {"from": _said(cap), "to": "the default", "reason": reason}
    record(Event.WAIVER_CAP_REMOVED, actor=actor, subject=cap, detail=detail)
    WaiverCap.objects.filter(pk=cap.pk).delete()


def _said(cap: WaiverCap) -> str:
    return f"{cap.most_active} waivers, {cap.longest_total.days} days"


def _within_count(finding: Finding) -> None:
    """Refuse one active waiver too many for the team; an extension takes the place of what it follows."""
    cap = WaiverCap.objects.of(finding.owner_id)
    of_team = Q(finding__owner=finding.owner_id) if finding.owner_id else Q(finding__owner=None)
    others = Waiver.objects.active().filter(of_team, finding__resolved_at=None).exclude(finding=finding)
    if others.count() >= cap.most_active:
        team = str(finding.owner) if finding.owner_id else "What nobody answers for"
        raise WaiverCapReached(team, cap.most_active)


def _within_total(finding: Finding, length: timedelta, now: datetime) -> None:
    """Refuse what would waive the finding for longer than its cap, whether or not days lie between its waivers.

    What was found and resolved before of the same subject by the same rule is counted too, or a tag that is taken away
    for an hour would begin the time anew.
    """
    cap = WaiverCap.objects.of(finding.owner_id)
    subject = {f"finding__{finding.subject_kind.value}": finding.subject_id, "finding__rule": finding.rule}
    is_recent = Q(finding=finding) | Q(finding__resolved_at__gte=now - COMES_BACK_WITHIN)
    so_far = total_of(Waiver.objects.filter(is_recent, granted_at__isnull=False, **subject))
    if so_far + length > cap.longest_total:
        raise WaivedTooLong(cap.longest_total.days, (cap.longest_total - so_far).days)


# ── Shared ─────────────────────────────────────────────────────────────────────────────────────
def _unfinished(findings: Sequence[Finding]) -> WaiverQuerySet:
    return Waiver.objects.filter(finding__in=findings, state__in=[WaiverState.ACTIVE, *WAITING]).order_by("pk")


def _of(waiver: Waiver, finding: Finding) -> dict[str, str]:
    return {**about(finding), "waiver": str(waiver.pk)}


def _reopen(findings: Sequence[Finding]) -> None:
    _move([finding for finding in findings if finding.state == FindingState.WAIVED], FindingState.OPEN)


def _move(findings: Sequence[Finding], state: FindingState) -> None:
    """Change their state, and what their subjects say of their risk."""
    for finding in findings:
        finding.state = state
    Finding.objects.bulk_update(findings, ["state"], batch_size=1_000)
    with database.cursor() as cursor:
        for kind in LOCKED:
            ids: list[UUID] = [finding.subject_id for finding in findings if finding.subject_kind is kind]
            if ids:
                recount(kind, ids, cursor=cursor)
