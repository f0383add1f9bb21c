"""Writes down what will be done before it is done, and what came of it with what follows; each in one transaction.

Every write repeats the token of the lease. Where it no longer fits nothing is written: `LeaseLost`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, cast

from django.db import connection as database
from django.db.models import F, Field, Model

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from lifecycle import plans
from lifecycle.engine.claims import LEASE, LeaseLost
from lifecycle.engine.outcomes import ENDS_AS, Again, Done, GivesUp, Outcome, Waits
from lifecycle.engine.work import QUICK_AGAIN, SLOW_AFTER, Work
from lifecycle.models import Operation, ProviderLoad, StepAttempt
from lifecycle.states import AttemptOutcome, OperationState, Proof, Step

PAUSED_AFTER = 5  # transient failures of a connection in a row
FIRST_PEACE = timedelta(seconds=30)
LONGEST_PEACE = timedelta(minutes=10)
LONGEST_RETRY_AFTER = timedelta(hours=1)
LONGEST_SAID = 1_000
OF_AN_ATTEMPT = (
    "step",
    "number",
    "lease_token",
    "worker",
    "intent",
    "begun_at",
    "ended_at",
    "outcome",
    "said",
    "result",
)
RELEASED: Mapping[str, Any] = {"lease_token": None, "lease_until": None}


@action
def open_attempt(
    work: Work, intent: Mapping[str, Any], *, lost: StepAttempt | None, worker: str, now: datetime
) -> StepAttempt:
    """Commit what the step at hand is about to do. What a dead worker left under way ends here."""
    _change(work, {"attempts": work.operation.attempts + 1, "lease_until": now + LEASE})
    begun = {"step": Step(work.operation.step), "intent": intent, "begun_at": now}
    (opened,) = _write(work, ["attempts", "lease_until"], over=lost, came=_lost(lost, now), new=[begun], worker=worker)
    return opened


@action
def close(
    work: Work,
    outcome: Outcome,
    *,
    attempt: StepAttempt | None,
    lost: StepAttempt | None = None,
    goes_on: bool,
    intend: Mapping[Step, Any],
    actor: Actor,
    worker: str,
    now: datetime,
) -> StepAttempt | None:
    """Commit what came of a step, what follows and when, with its audit entry.

    Where the next step leaves a mark outside and this worker goes on with it, its intent is part of the same commit:
    the attempt that was opened so is the answer.
    """
    operation = work.operation
    step = Step(operation.step)
    following = _following(operation, outcome)
    moves = isinstance(outcome, Done) and goes_on and following is not None
    if not moves:
        _bear(work, outcome, now)
    changes: dict[str, Any] = {}
    if isinstance(outcome, Done):
        changes |= outcome.changes
        if outcome.apply is not None:
            changes |= outcome.apply(now)
    changes |= _next(operation, outcome, following, now)
    if isinstance(outcome, Again):
        changes["attempts"] = max(0, operation.attempts + (attempt is None) - (not outcome.is_counted))
    opened_step = following if moves and following in intend else None
    if opened_step is not None:
        changes["attempts"] = 1
    changes |= {"lease_until": now + LEASE} if moves else RELEASED
    _change(work, changes)
    came, new = _lost(lost, now), []
    if attempt is not None:
        came = _ended(outcome, now)
    elif not _waits_as_it_did(work, step, outcome):
        # A step that only looks leaves no mark, so what it was about to do need not be known beforehand.
        new.append({"step": step, "begun_at": now, **_ended(outcome, now)})
    if opened_step is not None:
        new.append({"step": opened_step, "intent": intend[opened_step](work), "begun_at": now})
    written = _write(work, changes, over=attempt or lost, came=came, new=new, worker=worker)
    _tell(work, step, outcome, following, actor)
    if not moves:
        _count(work)
    return written[-1] if opened_step is not None else None


@action
def close_look(work: Work, outcome: Outcome, *, actor: Actor, worker: str, now: datetime) -> None:
    """Commit what came of looking once more at what has ended: seen refused, not yet, or still nobody can tell."""
    operation = work.operation
    changes: dict[str, Any] = {**RELEASED, "attempts": operation.attempts + 1, "look_at": None}
    match outcome:
        case Done():
            changes |= outcome.changes
            if outcome.apply is not None:
                changes |= outcome.apply(now)
        case Waits():
            changes |= outcome.changes
        case Again():
            changes["look_at"] = outcome.until
    _change(work, changes)
    step = Step(operation.step)
    new = [] if _waits_as_it_did(work, step, outcome) else [{"step": step, "begun_at": now, **_ended(outcome, now)}]
    # Not where a person has said meanwhile what they saw.
    _write(work, changes, new=new, worker=worker, among=f"proof = '{Proof.UNVERIFIABLE}'")
    if isinstance(outcome, Done):
        record(Event.OPERATION_VERIFIED, actor=actor, subject=operation, detail={"said": outcome.said})
    _count(work)


def _following(operation: Operation, outcome: Outcome) -> Step | None:
    if not isinstance(outcome, Done):
        return Step(operation.step)
    if outcome.goes_on_at is not None:
        return outcome.goes_on_at
    plan = plans.plan_of(operation.kind, is_rolling_back=operation.is_rolling_back)
    return plans.following(Step(operation.step), plan)


def _next(operation: Operation, outcome: Outcome, following: Step | None, now: datetime) -> dict[str, Any]:
    match outcome:
        case Done() if following is None:
            return {
                "state": ENDS_AS[operation.is_rolling_back],
                "closed_at": now,
                "due_at": None,
                "waits_for": "",
                "error": "",
                "closed_reason": operation.closed_reason or outcome.said,
            }
        case Done():
            changes = {
                "state": OperationState.PENDING,
                "step": following,
                "step_at": now,
                "due_at": now,
                "attempts": 0,
                "waits_for": "",
                "error": "",
            }
            return changes | ({"is_rolling_back": False, "closed_reason": ""} if outcome.turns_forward else {})
        case Waits():
            return {
                **outcome.changes,
                "state": OperationState.WAITING,
                "due_at": outcome.until,
                "waits_for": outcome.sentence,
                "attempts": 0,
                "error": "",
            }
        case Again():
            return {
                "state": OperationState.WAITING,
                "due_at": outcome.until,
                "waits_for": "It tries again by itself.",
                "error": outcome.said[:LONGEST_SAID],
            }
        case GivesUp():
            back = {"step": outcome.resumes_at, "step_at": now} if outcome.resumes_at is not None else {}
            return {
                **outcome.changes,
                **back,
                "state": OperationState.STALLED,
                "stalled_at": now,
                "due_at": None,
                "waits_for": "Somebody resumes it, or ends it.",
                "error": outcome.said[:LONGEST_SAID],
            }


def _change(work: Work, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        setattr(work.operation, name, value)


def _lost(lost: StepAttempt | None, now: datetime) -> Mapping[str, Any]:
    if lost is None:
        return {}
    said = "Its worker died; what it had done was looked for."
    return {"ended_at": now, "outcome": AttemptOutcome.LOST, "said": said, "result": {}}


def _ended(outcome: Outcome, now: datetime) -> Mapping[str, Any]:
    match outcome:
        case Done():
            came, said, result = AttemptOutcome.DONE, outcome.said, outcome.result
        case Again():
            came, said, result = AttemptOutcome.RETRIES, outcome.said, {"again_at": outcome.until.isoformat()}
        case GivesUp():
            came, said, result = AttemptOutcome.STALLED, outcome.said, {}
        case Waits():
            came, said, result = AttemptOutcome.WAITS, outcome.sentence, {}
    return {"ended_at": now, "outcome": came, "said": said[:LONGEST_SAID], "result": dict(result)}


def _waits_as_it_did(work: Work, step: Step, outcome: Outcome) -> bool:
    last = work.attempts[-1] if work.attempts else None
    return isinstance(outcome, Waits) and last is not None and (last.step, last.said) == (step, outcome.sentence)


def _write(
    work: Work,
    changed: Iterable[str],
    *,
    over: StepAttempt | None = None,
    came: Mapping[str, Any] = MappingProxyType({}),
    new: Sequence[Mapping[str, Any]] = (),
    worker: str,
    among: str = "closed_at IS NULL",
) -> list[StepAttempt]:
    """One statement for what changed of the operation, what came of the attempt under way, and the next attempts.

    By hand, since a worker does little else. Where the lease is somebody else's, nothing of it is written: LeaseLost.
    """
    operation = work.operation
    names, values = _columns(Operation, {name: getattr(operation, name) for name in changed})
    mine = f"UPDATE lifecycle_operation SET {', '.join(f'{name} = %s' for name in names)}"
    parts = [f"mine AS ({mine} WHERE id = %s AND lease_token = %s AND {among} RETURNING id)"]
    values += [operation.pk, work.lease.token]
    source = "mine"
    if over is not None:
        names, ends = _columns(StepAttempt, came)
        parts.append(
            f"over AS (UPDATE lifecycle_stepattempt SET {', '.join(f'{name} = %s' for name in names)}"
            " FROM mine WHERE operation_id = mine.id AND ended_at IS NULL RETURNING operation_id)"
        )
        values += ends
        source = "mine LEFT JOIN over ON true"  # one ends before the next is opened: there is one under way at most
    attempts = []
    for number, begun in enumerate(new, start=work.attempts[-1].number + 1 if work.attempts else 1):
        attempt = StepAttempt(operation=operation, number=number, lease_token=work.lease.token, worker=worker, **begun)
        names, begins = _columns(StepAttempt, {name: getattr(attempt, name) for name in OF_AN_ATTEMPT})
        parts.append(
            f"new_{number} AS (INSERT INTO lifecycle_stepattempt (operation_id, {', '.join(names)})"
            f" SELECT mine.id, {', '.join(['%s'] * len(names))} FROM {source} RETURNING id)"
        )
        values += begins
        attempts.append(attempt)
    keys = "".join(f", (SELECT id FROM new_{attempt.number})" for attempt in attempts)
    with database.cursor() as cursor:
        cursor.execute(f"WITH {', '.join(parts)} SELECT id{keys} FROM mine", values)
        found = cursor.fetchone()
    if found is None:
        raise LeaseLost
    for attempt, key in zip(attempts, found[1:], strict=True):
        attempt.pk = key
    for name, value in came.items():
        setattr(over, name, value)
    if operation.lease_until is not None:
        work.lease.until = operation.lease_until
    work.attempts += attempts
    return attempts


def _columns(model: type[Model], values: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    names, prepared = [], []
    for name, value in values.items():
        field = cast("Field[Any, Any]", model._meta.get_field(name))
        names.append(str(field.column))
        prepared.append(field.get_db_prep_save(value.pk if isinstance(value, Model) else value, database))
    return names, prepared


def _tell(work: Work, step: Step, outcome: Outcome, following: Step | None, actor: Actor) -> None:
    operation = work.operation
    detail: dict[str, Any] = {"step": step.value, "credential": operation.credential.name}
    if isinstance(outcome, GivesUp):
        record(Event.OPERATION_STALLED, actor=actor, subject=operation, detail=detail | {"reason": outcome.said})
    if not isinstance(outcome, Done):
        return
    if following is not None:
        record(Event.OPERATION_STEP_ENDED, actor=actor, subject=operation, detail=detail | {"said": outcome.said})
    elif operation.is_rolling_back:
        detail |= {"reason": operation.closed_reason, "said": outcome.said}
        record(Event.OPERATION_CANCELLED, actor=actor, subject=operation, detail=detail)
    else:
        detail |= {"kind": operation.kind, "proof": operation.proof, "said": operation.proof_reason}
        record(Event.OPERATION_COMPLETED, actor=actor, subject=operation, detail=detail)


def _bear(work: Work, outcome: Outcome, now: datetime) -> None:
    """What the connection bears from now on. Locked before the operation, as the claim locks it."""
    load, asking = work.load, work.asking
    row = ProviderLoad.objects.filter(connection=work.operation.connection_id)
    if isinstance(outcome, Again) and outcome.is_the_place:
        failures = load.failures + 1
        changes: dict[str, Any] = {"failures": F("failures") + 1, "error": outcome.said[:LONGEST_SAID]}
        if failures >= PAUSED_AFTER or not outcome.is_counted:
            peace = min(FIRST_PEACE * 2 ** min(max(failures - PAUSED_AFTER, 0), 16), LONGEST_PEACE)
            changes["paused_until"] = max(now + peace, min(outcome.until, now + LONGEST_RETRY_AFTER))
        row.update(**changes)
        return
    if load.failures and asking.longest is not None and not asking.place_failed:
        row.update(failures=0, paused_until=None, error="")
    if asking.longest is not None and not load.is_slow and asking.longest > SLOW_AFTER:
        row.update(is_slow=True)
    elif asking.longest is not None and load.is_slow and asking.longest < QUICK_AGAIN:
        row.update(is_slow=False)


def _count(work: Work) -> None:
    """Add what was asked to the minutes in which it was. After all other rows: everybody writes to the same ones."""
    minutes, work.asking.minutes = work.asking.minutes, {}
    if not minutes:
        return
    with database.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO lifecycle_providerminute AS m (connection_id, minute, calls, failed) VALUES (%s, %s, %s, %s)
            ON CONFLICT (connection_id, minute) DO UPDATE
            SET calls = m.calls + excluded.calls, failed = m.failed + excluded.failed
            """,
            [(work.operation.connection_id, minute, *counted) for minute, counted in sorted(minutes.items())],
        )
