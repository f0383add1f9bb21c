"""The order of the steps: pure data. Adapters offer verbs; what may follow what stands here alone."""

from collections.abc import Sequence
from datetime import timedelta

from lifecycle.states import OperationKind, Step

ROTATION = (
    Step.ISSUE,
    Step.VERIFY_NEW,
    Step.PROMOTE,
    Step.OVERLAP,
    Step.SUSPEND_OLD,
    Step.QUIET,
    Step.DESTROY_OLD,
    Step.VERIFY_GONE,
)
REVOCATION = (Step.SNAPSHOT, Step.SUSPEND, Step.VERIFY_REFUSED, Step.SETTLE, Step.DESTROY, Step.VERIFY_GONE)
# The way back of a rotation, from anywhere before its old version was destroyed.
ROLL_BACK = (Step.RESTORE_OLD, Step.DESTROY_NEW, Step.VERIFY_BACK)

PLANS: dict[str, Sequence[Step]] = {OperationKind.ROTATION: ROTATION, OperationKind.REVOCATION: REVOCATION}

# Steps in which only time passes, or people and machines are waited for.
WAITS = frozenset({Step.OVERLAP, Step.QUIET, Step.SETTLE})
# What these do cannot be undone: nobody cancels an operation that began one.
FINAL_STEPS = frozenset({Step.DESTROY_OLD, Step.DESTROY, Step.VERIFY_GONE})

OVERLAP = timedelta(days=1)
QUIET = timedelta(days=7)
# Nobody could tell whether an old version is refused: somebody looks at it within this time.
VERIFY_WITHIN = timedelta(days=7)


def plan_of(kind: str, *, is_rolling_back: bool = False) -> Sequence[Step]:
    return ROLL_BACK if is_rolling_back else PLANS[kind]


def following(step: Step, plan: Sequence[Step]) -> Step | None:
    """The step after this one; None after the last."""
    position = plan.index(step) + 1
    return plan[position] if position < len(plan) else None
