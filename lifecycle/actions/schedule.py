"""Rotations that fall due become operations: proposed, or begun by themselves, within what people allow.

A run is many short transactions: one that dies half-way has begun what it has begun, and the next goes on. Whoever
calls this rings the worker afterwards; the sweeper finds what was not rung for.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db.models import Count, Max

from access.actors import Actor
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.models import Connection, Credential, Environment
from lifecycle.actions.requests import request_rotation
from lifecycle.errors import LifecycleError
from lifecycle.models import OperatingLimits, Operation, Policy, ScheduleHalt
from lifecycle.models.upcoming import Candidate, candidates, left, unproven
from lifecycle.models.windows import Openness
from lifecycle.states import OperationKind, OperationState, Trigger

ACTOR = Actor.system("schedule")
DAY = timedelta(days=1)
AT_ONCE = 20  # begun in one transaction
MOST = 200  # begun or proposed in one run


@dataclass(slots=True)
class Run:
    """What a run of the schedule did, and why it left the rest."""

    begun: list[UUID] = field(default_factory=list)
    proposed: int = 0
    halted: int = 0
    left: Counter[str] = field(default_factory=Counter)

    def counts(self) -> dict[str, int]:
        return {
            "begun": len(self.begun),
            "proposed": self.proposed,
            "halts": self.halted,
            **{f"left: {why}": number for why, number in sorted(self.left.items())},
        }


def begin_due(now: datetime, *, actor: Actor = ACTOR) -> Run | None:
    """Begin or propose what is within reach. None where another run is at it."""
    run = Run()
    done = 0
    while done < MOST:
        chunk = _begin_some(now, run, min(AT_ONCE, MOST - done), actor=actor)
        if chunk is None:
            return None if not done else run
        if not chunk:
            break
        done += chunk
    _say_what_is_left(now, run)
    return run


@action
def _begin_some(now: datetime, run: Run, most: int, *, actor: Actor) -> int | None:
    """One transaction's worth: how many it looked at. Halts, windows and limits are read anew, under a lock."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('keyreeve scheduled rotations', 0))")
        if not cursor.fetchone()[0]:
            return None
    limits = OperatingLimits.current()
    run.halted += _halt_where_many_stalled(limits, now, actor=actor)
    halts = list(ScheduleHalt.objects.standing().values_list("connection", flat=True))
    if None in halts:
        return 0
    to_begin, to_propose = _room(limits, now)
    where: dict[str, Any] = {
        "closed": closed_environments(now),
        "halted": [key for key in halts if key is not None],
        "waiting": unproven(now),
    }
    taken: list[Candidate] = []
    for begins, room in ((True, to_begin), (False, to_propose)):
        wanted = min(room, most - len(taken))
        if wanted > 0:
            taken += candidates(now, **where, begins=begins, most=wanted)
    if taken:
        _request(taken, run, now, actor=actor)
    return len(taken)


def _request(taken: Sequence[Candidate], run: Run, now: datetime, *, actor: Actor) -> None:
    keys = [each.credential for each in taken]
    rows = {row.pk: row for row in in_order(Credential.objects.filter(pk__in=keys))}
    policies = Policy.objects.in_bulk({each.policy for each in taken})
    for each in taken:
        is_proposal = not (each.is_automatic and each.has_known_consumers)
        why = f"Due for rotation on {each.rotate_by:%Y-%m-%d} under “{policies[each.policy].name}”"
        if each.is_automatic and is_proposal:
            why = f"{why}; nobody is known to use it, so a person looks first"
        try:
            operation = request_rotation(
                rows[each.credential],
                actor=actor,
                now=now,
                reason=f"{why}.",
                trigger=Trigger.SCHEDULE,
                is_proposal=is_proposal,
                policy=policies[each.policy],
                idempotency_key=each.idempotency_key,
            )
        except LifecycleError as exc:  # it ended, or somebody asked first, since it was chosen
            run.left[type(exc).__name__] += 1
            continue
        if is_proposal:
            run.proposed += 1
        else:
            run.begun.append(operation.pk)


def closed_environments(now: datetime) -> set[UUID | None]:
    """Where nothing may begin at this moment; None stands for what is in no known environment."""
    openness = Openness.at(now)
    if not openness.freezes and not openness.windows:
        return set()
    keys: list[UUID | None] = [None, *Environment.objects.values_list("pk", flat=True)]
    return {key for key in keys if not openness.may_begin(key, now)}


def _room(limits: OperatingLimits, now: datetime) -> tuple[int, int]:
    """How many more may begin, and how many more may be proposed."""
    scheduled = Operation.objects.filter(trigger=Trigger.SCHEDULE, kind=OperationKind.ROTATION)
    today = scheduled.filter(requested_at__gt=now - DAY)
    waiting = today.filter(state=OperationState.PROPOSED).count()
    begun = today.count() - waiting
    at_once = scheduled.open().exclude(state=OperationState.PROPOSED).count()
    return min(limits.begun_a_day - begun, limits.open_at_once - at_once), limits.begun_a_day - waiting


# ── The circuit breaker ────────────────────────────────────────────────────────────────────────


def _halt_where_many_stalled(limits: OperatingLimits, now: datetime, *, actor: Actor) -> int:
    """Stop for a connection whose rotations stall, and altogether where they stall in many places. A person resumes."""
    standing = set(ScheduleHalt.objects.standing().values_list("connection", flat=True))
    if None in standing:
        return 0
    resumed = dict(
        ScheduleHalt.objects.filter(resumed_at__isnull=False).values_list("connection").annotate(at=Max("resumed_at"))
    )
    altogether = resumed.get(None)
    stalled: Counter[UUID] = Counter()
    elsewhere = 0
    open_ones = Operation.objects.filter(
        state=OperationState.STALLED, trigger=Trigger.SCHEDULE, kind=OperationKind.ROTATION
    )
    for key, at, number in open_ones.values_list("connection", "stalled_at").annotate(number=Count("pk")):
        looked_at = [moment for moment in (resumed.get(key), altogether) if moment is not None]
        if key in standing or at is None or any(at <= moment for moment in looked_at):
            continue
        stalled[key] += number
    made = 0
    for key, number in sorted(stalled.items(), key=lambda each: str(each[0])):
        if number >= limits.halted_after:
            _halt(key, number, now, actor=actor)
            made += 1
        else:
            elsewhere += number
    if elsewhere >= limits.halted_after:
        _halt(None, elsewhere, now, actor=actor)
        made += 1
    return made


def _halt(connection_id: UUID | None, stalled: int, now: datetime, *, actor: Actor) -> None:
    of = Connection.objects.get(pk=connection_id) if connection_id is not None else None
    where = f"of {of.name}" if of is not None else "of several connections"
    reason = f"{stalled} scheduled rotations {where} have stalled, so no further one begins there by itself."
    if of is None:
        reason = f"{stalled} scheduled rotations {where} have stalled, so none begins by itself any more."
    halt = ScheduleHalt(connection=of, stalled=stalled, reason=reason, halted_at=now)
    halt.save(force_insert=True)
    record(Event.SCHEDULE_HALTED, actor=actor, subject=halt, detail={"stalled": stalled, "reason": reason})


def _say_what_is_left(now: datetime, run: Run) -> None:
    halts = list(ScheduleHalt.objects.standing().values_list("connection", flat=True))
    run.left.update(
        left(
            now,
            closed=closed_environments(now),
            halted=[key for key in halts if key is not None],
            waiting=unproven(now),
        )
    )
