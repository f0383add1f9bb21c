"""How far an operation is, in words: pure, from its plan and its state."""

from collections.abc import Sequence
from dataclasses import dataclass

from lifecycle import plans
from lifecycle.states import CLOSED, OperationKind, OperationState, Step

RUNNING = "running"
VERBS = {OperationKind.ROTATION: "Rotating", OperationKind.REVOCATION: "Revoking"}
# What a step is about, for people who have not seen one.
MEANING = {
    Step.ISSUE: "The provider issues a second version beside the one in use. Its secret goes straight to the sink.",
    Step.VERIFY_NEW: "The new version is presented, and must be taken.",
    Step.PROMOTE: "From here on consumers read the new version.",
    Step.OVERLAP: "Both versions work until every known consumer uses the new one, or the old one has been silent.",
    Step.SUSPEND_OLD: "The old version is refused. This can still be undone.",
    Step.QUIET: "The old version stays suspended, so that it can be brought back should something miss it.",
    Step.DESTROY_OLD: "Cannot be undone.",
    Step.VERIFY_GONE: "The provider must be seen refusing it.",
    Step.SNAPSHOT: "Which clients and servers use it is written down, for those who are to be told.",
    Step.SUSPEND: "The provider refuses it from here on. This can still be undone.",
    Step.VERIFY_REFUSED: "The provider must be seen refusing it.",
    Step.SETTLE: "It stays suspended, so that it can be brought back should something miss it.",
    Step.DESTROY: "Cannot be undone.",
    Step.RESTORE_OLD: "Consumers read the old version again.",
    Step.DESTROY_NEW: "The new version is destroyed.",
    Step.VERIFY_BACK: "The provider must be seen refusing the new version.",
}


@dataclass(frozen=True)
class Part:
    """One step of an operation, and how it stands: done, running, waits, stalled, skipped or to_come."""

    step: Step
    number: int
    standing: str

    @property
    def title(self) -> str:
        return str(self.step.label)

    @property
    def meaning(self) -> str:
        return MEANING[self.step]


def number_of(kind: str, step: str, *, is_rolling_back: bool) -> tuple[int, int]:
    """Which step of how many."""
    plan = plans.plan_of(kind, is_rolling_back=is_rolling_back)
    return (plan.index(Step(step)) + 1 if step in plan else len(plan)), len(plan)


def parts(kind: str, step: str, state: str, *, is_rolling_back: bool) -> Sequence[Part]:
    """Every step in its order. `state` is one of the operation's, or `running`."""
    plan = plans.plan_of(kind, is_rolling_back=is_rolling_back)
    here, _ = number_of(kind, step, is_rolling_back=is_rolling_back)
    found = []
    for number, each in enumerate(plan, 1):
        if state == OperationState.COMPLETED or (number < here and state != OperationState.PROPOSED):
            standing = "done"
        elif state in CLOSED:
            standing = "skipped"
        elif number > here or state == OperationState.PROPOSED:
            standing = "to_come"
        else:
            standing = {RUNNING: "running", OperationState.STALLED: "stalled"}.get(state, "waits")
        found.append(Part(each, number, standing))
    return found


def words(kind: str, step: str, state: str, *, is_rolling_back: bool) -> str:
    """`Rotating 3/8`, `Waiting 4/8`, `Stalled 2/8`; what has not begun or has ended is its state alone."""
    if state in CLOSED or state == OperationState.PROPOSED:
        if state == OperationState.CANCELLED and is_rolling_back:
            return "Rolled back"
        return str(OperationState(state).label)
    here, count = number_of(kind, step, is_rolling_back=is_rolling_back)
    if state == OperationState.STALLED:
        verb = "Stalled"
    elif state == OperationState.WAITING:
        verb = "Waiting"
    else:
        verb = "Going back" if is_rolling_back else VERBS[OperationKind(kind)]
    return f"{verb} {here}/{count}"
