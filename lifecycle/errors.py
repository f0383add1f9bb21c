"""What the lifecycle refuses, with a message that is safe to show and says what to do."""


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
