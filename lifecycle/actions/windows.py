"""Freezes, maintenance windows, limits, and letting a halted schedule go on."""

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from access.actors import Actor
from access.rights import Right
from audit.actions import action, record
from audit.events import Event
from inventory.models import Environment
from lifecycle.actions.findings import why_of
from lifecycle.errors import (
    FreezeLifted,
    FreezeRefused,
    HaltResumed,
    LimitsRefused,
    NotAnAdministrator,
    NotAnOperator,
    NothingWouldChange,
    WindowRefused,
    WindowRetired,
)
from lifecycle.models import ChangeFreeze, MaintenanceWindow, OperatingLimits, ScheduleHalt
from lifecycle.models.windows import LONGEST_WINDOW

MOST = 100_000


@action
def set_freeze(
    *,
    environment: Environment | None,
    begins_at: datetime,
    ends_at: datetime | None,
    reason: str,
    actor: Actor,
    now: datetime,
) -> ChangeFreeze:
    """Have the schedule begin nothing, in one environment or everywhere. Revocations and what was begun go on."""
    _operator(actor)
    reason = why_of(reason)
    if ends_at is not None and ends_at <= max(begins_at, now):
        raise FreezeRefused
    freeze = ChangeFreeze(
        environment=environment, begins_at=begins_at, ends_at=ends_at, reason=reason, set_by=actor.label[:200]
    )
    freeze.save(force_insert=True)
    detail = {
        "environment": environment.name if environment else "every environment",
        "begins_at": begins_at.isoformat(),
        "ends_at": ends_at.isoformat() if ends_at else None,
        "reason": reason,
    }
    record(Event.FREEZE_SET, actor=actor, subject=freeze, detail=detail)
    return freeze


@action
def lift_freeze(freeze: ChangeFreeze, *, actor: Actor, now: datetime, reason: str = "") -> None:
    _operator(actor)
    reason = why_of(reason) if reason.strip() else ""
    row = ChangeFreeze.objects.select_for_update(no_key=True, of=("self",)).get(pk=freeze.pk)
    if row.lifted_at is not None or (row.ends_at is not None and row.ends_at <= now):
        raise FreezeLifted
    ChangeFreeze.objects.filter(pk=row.pk).update(lifted_at=now, lifted_by=actor.label[:200])
    record(Event.FREEZE_LIFTED, actor=actor, subject=row, detail={"reason": reason})


@action
def set_window(
    *,
    environment: Environment | None,
    weekdays: Iterable[int],
    begins: time,
    length: timedelta,
    timezone: str,
    actor: Actor,
) -> MaintenanceWindow:
    """Have the schedule begin rotations only then: in one environment, or in all that have no window of their own."""
    _operator(actor)
    days = sorted(set(weekdays))
    if not timedelta(0) < length <= LONGEST_WINDOW or any(not 1 <= day <= 7 for day in days):
        raise WindowRefused
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise WindowRefused from exc
    window = MaintenanceWindow(
        environment=environment,
        weekdays=days,
        begins=begins,
        length=length,
        timezone=timezone,
        set_by=actor.label[:200],
    )
    window.save(force_insert=True)
    detail = {
        "environment": environment.name if environment else "every environment",
        "weekdays": days,
        "begins": f"{begins:%H:%M}",
        "minutes": int(length.total_seconds() // 60),
        "timezone": timezone,
    }
    record(Event.WINDOW_SET, actor=actor, subject=window, detail=detail)
    return window


@action
def retire_window(window: MaintenanceWindow, *, actor: Actor, now: datetime) -> None:
    _operator(actor)
    row = MaintenanceWindow.objects.select_for_update(no_key=True, of=("self",)).get(pk=window.pk)
    if row.retired_at is not None:
        raise WindowRetired
    MaintenanceWindow.objects.filter(pk=row.pk).update(retired_at=now)
    record(Event.WINDOW_RETIRED, actor=actor, subject=row)


@action
def set_limits(
    *,
    begun_a_day: int,
    open_at_once: int,
    halted_after: int,
    second_person_from: int | None,
    second_person_in_production: bool,
    reason: str,
    actor: Actor,
    now: datetime,
) -> OperatingLimits:
    """Say how much may be rotated by itself, what halts it, and from how many on a second person approves."""
    if not actor.may(Right.LIMIT_OPERATIONS):
        raise NotAnAdministrator
    reason = why_of(reason)
    given = {
        "begun_a_day": begun_a_day,
        "open_at_once": open_at_once,
        "halted_after": halted_after,
        "second_person_from": second_person_from,
        "second_person_in_production": second_person_in_production,
    }
    if any(number is not None and not 0 <= number <= MOST for number in given.values()):
        raise LimitsRefused
    if halted_after < 1 or second_person_from == 0:
        raise LimitsRefused
    OperatingLimits.objects.get_or_create(id=True)
    row = OperatingLimits.objects.select_for_update(no_key=True).get(id=True)
    changed = {name: value for name, value in given.items() if getattr(row, name) != value}
    if not changed:
        raise NothingWouldChange
    before = {name: getattr(row, name) for name in changed}
    OperatingLimits.objects.filter(id=True).update(**changed, changed_by=actor.label[:200], changed_at=now)
    detail = {"before": before, "changed": changed, "reason": reason}
    record(Event.OPERATING_LIMITS_SET, actor=actor, subject=row, detail=detail)
    return OperatingLimits.current()


@action
def resume_schedule(halt: ScheduleHalt, *, actor: Actor, now: datetime, reason: str) -> None:
    """Let the schedule go on where it stopped itself. What had stalled by now is not counted again."""
    _operator(actor)
    reason = why_of(reason)
    row = ScheduleHalt.objects.select_for_update(no_key=True, of=("self",)).get(pk=halt.pk)
    if row.resumed_at is not None:
        raise HaltResumed
    ScheduleHalt.objects.filter(pk=row.pk).update(resumed_at=now, resumed_by=actor.label[:200], resumed_reason=reason)
    record(Event.SCHEDULE_RESUMED, actor=actor, subject=row, detail={"reason": reason})


def _operator(actor: Actor) -> None:
    if not actor.may(Right.STEER_SCHEDULE):
        raise NotAnOperator
