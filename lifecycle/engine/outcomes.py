"""What can come of one try at a step, as values; the journal writes them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lifecycle.states import OperationState, Step

# Writes rows beside the operation, in the transaction that writes the outcome, and answers with what changes of the
# operation itself. It locks credentials before anything else.
Apply = Callable[[datetime], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The step is done; the next of the plan follows, or `goes_on_at`, or the operation ends."""

    said: str
    result: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    apply: Apply | None = None
    goes_on_at: Step | None = None
    turns_forward: bool = False  # there is no way back after all


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Nothing to do before then. None: until somebody does something."""

    until: datetime | None
    sentence: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """It did not work, and may work later."""

    said: str
    until: datetime
    is_counted: bool = True
    is_the_place: bool = False  # its place failed, not what was asked of it


@dataclass(frozen=True, slots=True, kw_only=True)
class GivesUp:
    """A person must do something first. `resumes_at` is where it goes on then."""

    said: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    resumes_at: Step | None = None


Outcome = Done | Waits | Again | GivesUp

ENDS_AS = {False: OperationState.COMPLETED, True: OperationState.CANCELLED}  # by whether it was rolling back
