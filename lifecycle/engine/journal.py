"""Writes down what will be done before it is done, and what came of it with what follows; each in one transaction.

Every write repeats the token of the lease. Where it no longer fits nothing is written: `LeaseLost`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection as database
from django.db.models import F

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
RELEASED: Mapping[str, Any] = {"lease_token": None, "lease_until": None}


@action
def open_attempt(
    work: Work, intent: Mapping[str, Any], *, lost: StepAttempt | None, worker: str, now: datetime
) -> StepAttempt:
    """Commit what the step at hand is about to do. What a dead worker left under way ends here."""
    _fenced(work, {"attempts": work.operation.attempts + 1, "lease_until": now + LEASE})
    if lost is not None:
        _end(lost, AttemptOutcome.LOST, "Its worker died; what it had done was looked for.", {}, now)
    return _open(work, Step(work.operation.step), intent, worker=worker, now=now)


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
        changes |= {"attempts": 1}
    changes |= {"lease_until": now + LEASE} if moves else RELEASED
    _fenced(work, changes)
    if lost is not None:
        _end(lost, AttemptOutcome.LOST, "Its worker died; what it had done was looked for.", {}, now)
    _write_attempt(work, step, outcome, attempt, worker=worker, now=now)
    _tell(work, step, outcome, following, actor)
    opened = None
    if opened_step is not None:
        opened = _open(work, opened_step, intend[opened_step](work), worker=worker, now=now)
    if not moves:
        _count(work)
    return opened


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
    mine = Operation.objects.filter(pk=operation.pk, lease_token=work.lease.token, proof=Proof.UNVERIFIABLE)
    if not mine.update(**changes):
        raise LeaseLost  # a person has said meanwhile what they saw
    _write_attempt(work, Step(operation.step), outcome, None, worker=worker, now=now)
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


def _fenced(work: Work, changes: Mapping[str, Any]) -> None:
    mine = Operation.objects.open().filter(pk=work.operation.pk, lease_token=work.lease.token)
    if not mine.update(**changes):
        raise LeaseLost
    for name, value in changes.items():
        setattr(work.operation, name, value)
    if changes.get("lease_until"):
        work.lease.until = changes["lease_until"]


def _open(work: Work, step: Step, intent: Mapping[str, Any], *, worker: str, now: datetime) -> StepAttempt:
    attempt = StepAttempt(
        operation=work.operation,
        step=step,
        number=_number(work),
        lease_token=work.lease.token,
        worker=worker,
        intent=dict(intent),
        begun_at=now,
    )
    attempt.save(force_insert=True)
    work.attempts.append(attempt)
    return attempt


def _number(work: Work) -> int:
    return work.attempts[-1].number + 1 if work.attempts else 1


def _end(attempt: StepAttempt, came: AttemptOutcome, said: str, result: Mapping[str, Any], now: datetime) -> None:
    attempt.ended_at, attempt.outcome, attempt.said, attempt.result = now, came, said[:LONGEST_SAID], dict(result)
    StepAttempt.objects.filter(pk=attempt.pk, ended_at=None).update(
        ended_at=now, outcome=came, said=attempt.said, result=attempt.result
    )


def _write_attempt(
    work: Work, step: Step, outcome: Outcome, attempt: StepAttempt | None, *, worker: str, now: datetime
) -> None:
    match outcome:
        case Done():
            came, said, result = AttemptOutcome.DONE, outcome.said, outcome.result
        case Again():
            came, said, result = AttemptOutcome.RETRIES, outcome.said, {"again_at": outcome.until.isoformat()}
        case GivesUp():
            came, said, result = AttemptOutcome.STALLED, outcome.said, {}
        case Waits():
            came, said, result = AttemptOutcome.WAITS, outcome.sentence, {}
            last = work.attempts[-1] if work.attempts else None
            if attempt is None and last is not None and (last.step, last.said) == (step, said):
                return  # it waits as it did
    if attempt is not None:
        _end(attempt, came, said, result, now)
        return
    # A step that only looks leaves no mark, so what it was about to do need not be known beforehand.
    made = StepAttempt(
        operation=work.operation,
        step=step,
        number=_number(work),
        lease_token=work.lease.token,
        worker=worker,
        begun_at=now,
        ended_at=now,
        outcome=came,
        said=said[:LONGEST_SAID],
        result=dict(result),
    )
    made.save(force_insert=True)
    work.attempts.append(made)


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
