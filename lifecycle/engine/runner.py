"""Takes an operation as far as it goes: claim, intend, ask, write, and on to the next step until it waits or ends."""

import os
import random
import socket
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from access.actors import Actor
from inventory.errors import InventoryError
from inventory.listings.base import Clock
from lifecycle.engine import claims, journal
from lifecycle.engine.claims import LeaseLost
from lifecycle.engine.outcomes import Again, Done, GivesUp, Outcome
from lifecycle.engine.reach import REACH, Reach
from lifecycle.engine.steps import INTENDED, STEPS, take_back
from lifecycle.engine.work import Work
from lifecycle.models import StepAttempt
from lifecycle.plans import WAITS
from lifecycle.states import Step
from providers.errors import NoRoom, ProviderError, Transient

ENGINE = Actor.system("operations")
MOST_ATTEMPTS = 8
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=10)
LONGEST_PATIENCE = timedelta(days=1)  # with a step whose place does not answer

# Called where a worker can die: the name of the boundary and the step. A test ends the worker there.
Boundary = Callable[[str, str], None]


def unwatched(boundary: str, step: str) -> None:
    pass


def advance(
    operation_id: UUID,
    *,
    clock: Clock,
    actor: Actor = ENGINE,
    reach: Reach = REACH,
    jitter: Callable[[], float] = random.random,
    at: Boundary = unwatched,
) -> bool:
    """Go on with an operation that is due; whether there was anything to do.

    Raises whatever nobody foresaw, once it is written down: such an attempt is tried again as if its place had failed.
    """
    claimed = claims.claim(operation_id, now=clock())
    if claimed is None:
        return False
    work = Work(*claimed, clock=clock, reach=reach)
    try:
        _Run(work, clock, actor, jitter, at).go_on()
    except LeaseLost:
        # Whoever has it now looks at what was done, and goes on. What only this worker knows of it takes back.
        work.asking.is_fenced = True
        take_back(work)
        return False
    return True


class _Run:
    def __init__(self, work: Work, clock: Clock, actor: Actor, jitter: Callable[[], float], at: Boundary) -> None:
        self.work, self.clock, self.actor, self.jitter, self.at = work, clock, actor, jitter, at
        self.worker = f"{socket.gethostname()}:{os.getpid()}"[:200]
        self.lost = work.under_way()
        self.opened: StepAttempt | None = None

    def go_on(self) -> None:
        while True:
            step = Step(self.work.operation.step)
            unforeseen: Exception | None = None
            try:
                outcome = self._try(step)
            except LeaseLost:
                raise
            except (ProviderError, InventoryError) as exc:
                outcome = self._failed(step, exc)
            except Exception as exc:  # noqa: BLE001  written down, then raised
                unforeseen = exc
                # Its text may hold anything, so only its name is kept.
                said = f"Keyreeve met an error that nobody foresaw ({type(exc).__name__})."
                outcome = self._again(step, said)
            self._close(step, outcome)
            if unforeseen is not None:
                raise unforeseen
            if not isinstance(outcome, Done) or self.work.operation.closed_at is not None:
                return

    def _try(self, step: Step) -> Outcome:
        work, definition = self.work, STEPS[step]
        if self.lost is not None:
            STEPS[Step(self.lost.step)].recover(work, self.lost)
        if definition.intent is not None and self.opened is None and not work.operation.by_hand:
            intent = definition.intent(work)
            self.at("before intent", step)
            self.opened = journal.open_attempt(work, intent, lost=self.lost, worker=self.worker, now=self.clock())
            self.lost = None
            self.at("after intent", step)
        return definition.run(work, self.opened)

    def _close(self, step: Step, outcome: Outcome) -> None:
        self.at("before outcome", step)
        self.opened = journal.close(
            self.work,
            outcome,
            attempt=self.opened,
            lost=self.lost,
            goes_on=True,
            intend={} if self.work.operation.by_hand else INTENDED,
            actor=self.actor,
            worker=self.worker,
            now=self.clock(),
        )
        self.lost = self.work.just_issued = None
        self.at("after outcome", step)

    def _failed(self, step: Step, exc: Exception) -> Outcome:
        if isinstance(exc, NoRoom):
            return GivesUp(said=f"{exc} Revoke or destroy one of them, then resume.")
        if not isinstance(exc, Transient):
            return GivesUp(said=str(exc))
        return self._again(step, str(exc), retry_after=exc.retry_after, is_the_place=self.work.asking.place_failed)

    def _again(
        self, step: Step, said: str, *, retry_after: timedelta | None = None, is_the_place: bool = False
    ) -> Outcome:
        operation, now = self.work.operation, self.clock()
        is_down = is_the_place and (retry_after is not None or self.work.load.failures + 1 >= journal.PAUSED_AFTER)
        tried = operation.attempts + (self.opened is None)
        if not is_down and tried >= MOST_ATTEMPTS:
            return GivesUp(said=f"Tried {tried} times. {said}")
        if step not in WAITS and now - operation.step_at > LONGEST_PATIENCE:
            return GivesUp(said=f"Tried for a day. {said}")
        pause = min(FIRST_PAUSE * 2 ** min(tried - 1, 16), LONGEST_PAUSE) * (0.5 + self.jitter() / 2)
        return Again(
            said=said,
            until=now + max(pause, retry_after or timedelta(0)),
            is_counted=not is_down,
            is_the_place=is_the_place,
        )
