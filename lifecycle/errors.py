"""What the lifecycle refuses, with a message that is safe to show and says what to do."""

from collections.abc import Mapping
from datetime import datetime

from web.wording import instant


class LifecycleError(Exception):
    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class EvaluationUnderWay(LifecycleError):
    """Another evaluation is under way; its result will be there in a moment."""


class FindingNotVisible(LifecycleError):
    """A finding that was named does not exist, or somebody else answers for its subject."""


class FindingResolved(LifecycleError):
    """The finding is resolved; there is nothing left to decide."""


class FindingWaived(LifecycleError):
    """The finding is waived already; withdraw that waiver first."""


class WaiverWithoutReason(LifecycleError):
    """A waiver needs a reason: say what limits the risk meanwhile."""


class WaiverEndsTooSoon(LifecycleError):
    """A waiver ends in the future; choose a later day."""


class WaiverEndsTooLate(LifecycleError):
    """A waiver lasts at most 90 days, and 30 for a critical finding; choose an earlier day."""


class WaiverEnded(LifecycleError):
    """The waiver has ended already."""


class NotAReviewer(LifecycleError):
    """What is asked of credentials is changed by reviewers and operators; ask one of them."""


class ReasonMissing(LifecycleError):
    """Say why: whoever looks at this later wants to know the reason. At most 1 000 characters."""


class PolicyRefused(LifecycleError):
    """What a policy was to ask cannot be asked. `problems` has one sentence for each field."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = dict(problems)


class PolicyChangedMeanwhile(LifecycleError):
    """Somebody else has changed this policy meanwhile."""

    def __init__(self, *, by: str, at: datetime | None) -> None:
        when = f" at {instant(at)}" if at is not None else ""
        super().__init__(f"{by or 'Somebody'} changed this policy{when}. Look at that version, then change it again.")
        self.by, self.at = by, at


class PolicyRetired(LifecycleError):
    """This policy is retired and binds nothing any more. Create another one."""


class NothingWouldChange(LifecycleError):
    """That is how it stands already; there is nothing to change."""


class RuleUnknown(LifecycleError):
    """There is no such rule in this release."""


class SeverityUnknown(LifecycleError):
    """A rule is low, medium, high or critical."""


class RuleSetMeanwhile(LifecycleError):
    """Somebody else set this rule a moment ago. Look at it again."""


class TrialTookTooLong(LifecycleError):
    """Trying this took longer than a minute and was stopped; nothing was changed. Try again when less is going on."""


class PeriodRefused(LifecycleError):
    """The past that is looked at begins before it ends, ends by now, and is three years at most."""
