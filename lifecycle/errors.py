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
    """The finding is waived already; extend that waiver or withdraw it."""


class HoldsSecret(LifecycleError):
    """A secret stands in this text. Take it out, and say where it is kept instead; what was typed is not stored."""


class CommentEmpty(LifecycleError):
    """A comment says something."""


class CommentTooLong(LifecycleError):
    """A comment has at most 4 000 characters."""


class LinkRefused(LifecycleError):
    """A link names what it leads to, and its address begins with https:// or with the / of a page of Keyreeve."""


class LinkExists(LifecycleError):
    """The finding has this link already."""


class LinkRemoved(LifecycleError):
    """The link was removed already."""


class WaiverWithoutReason(LifecycleError):
    """A waiver needs a reason: say why the risk is acceptable until then."""


class WaiverWithoutControl(LifecycleError):
    """A waiver names a compensating control: what limits the risk until it ends."""


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


class WaiverWaits(LifecycleError):
    """A request or an approved extension waits for this finding already; decide it or withdraw it first."""


class WaiverDecided(LifecycleError):
    """The request was decided or withdrawn meanwhile."""


class WaiverByRequester(LifecycleError):
    """You asked for this waiver, so somebody else decides about it."""


class WaiverByNobody(LifecycleError):
    """A person with the role reviewer decides about a waiver; a token or a scheduled job does not."""


class WaiverDecisionWithoutReason(LifecycleError):
    """Say why: the reason is kept with the decision."""


class WaiverCapReached(LifecycleError):
    def __init__(self, team: str, most: int) -> None:
        super().__init__(
            f"{team} may have {most} active waivers at most. "
            "Resolve or withdraw one of them, or an administrator raises the cap with a reason."
        )


class WaivedTooLong(LifecycleError):
    def __init__(self, days: int, left: int) -> None:
        rest = f"{left} days are left for this one. Choose an earlier end" if left > 0 else "This one has had them all"
        super().__init__(
            f"A finding is waived for {days} days altogether at most, extensions counted. {rest}, "
            "or an administrator raises the cap with a reason."
        )


class CapRefused(LifecycleError):
    """A cap is 0 to 1 000 waivers and 0 to 3 650 days, set by an administrator with a reason."""


class NotAnOperator(LifecycleError):
    """Operations on this credential are for operators, and for whoever owns it; ask one of them."""


class CredentialEnded(LifecycleError):
    """This credential has ended already; there is nothing left to rotate or revoke."""


class OperationAlreadyOpen(LifecycleError):
    """Another operation on this credential is still open; wait for it or cancel it."""


class OperationClosed(LifecycleError):
    """This operation has ended already."""


class OperationRunning(LifecycleError):
    """A worker is taking a step of this operation at this moment; try again in a few seconds."""


class OperationNotProposed(LifecycleError):
    """This operation was decided already."""


class OperationNotStalled(LifecycleError):
    """This operation goes on by itself; only a stalled one is resumed."""


class PastTheWayBack(LifecycleError):
    """What this operation has begun cannot be undone any more; it goes on to its end."""


class NoDelivery(LifecycleError):
    """Say first where the new secret goes: set a place of delivery for this credential."""


class NothingOperable(LifecycleError):
    """No provider can be asked about this credential; it can only be rotated or revoked by hand."""


class ProposedByRequester(LifecycleError):
    """You asked for this, so somebody else approves it."""


class NothingToAcknowledge(LifecycleError):
    """Consumers cannot read the new version yet, so nobody can have moved to it."""


class ConsumerUnknown(LifecycleError):
    """Say who uses the new version: a name of at most 300 characters."""


class OverlapEnded(LifecycleError):
    """This operation is not in its overlap, so there are no consumers to wait for."""


class ExtendedTooFar(LifecycleError):
    """An overlap is extended to a moment to come, 90 days ahead at most; choose another one."""


class NothingBehind(LifecycleError):
    """Nothing that is still alive lies behind this; there is nothing to revoke."""


class BatchTooLarge(LifecycleError):
    """More than 50 000 credentials lie behind this, too many for one decision. Choose a narrower scope."""


class BatchNotWaiting(LifecycleError):
    """This was decided or has begun already."""


class BatchByRequester(LifecycleError):
    """You asked for this, so somebody else approves or declines it. You can cancel it."""


class BatchEnded(LifecycleError):
    """This has ended already."""


class BatchNotHalted(LifecycleError):
    """It goes on by itself; only what was halted is resumed."""


class BatchNotRunning(LifecycleError):
    """It is not running; there is nothing to halt or to add to."""


class LateNeedsAnother(LifecycleError):
    """With what appeared meanwhile a second person approves. Ask for it in a kill switch of its own."""


class KeyOfAnotherRequest(LifecycleError):
    """This idempotency key came with another request before. Use a new key."""


class NobodyTakesOver(LifecycleError):
    """Say who takes this over; nobody is suggested for some of it."""


class NotDecidable(LifecycleError):
    """Only a credential is revoked. A server or a client of somebody who left is handed over."""


class NotAnOperatorOfDeliveries(LifecycleError):
    """Where secrets are delivered is set by operators; ask one of them."""


class DeliveryRefused(LifecycleError):
    """A place of delivery is a reference of at most 2 000 printable characters."""


class DeliveryInUse(LifecycleError):
    """A rotation of this credential has delivered its secret there already; wait for its end, or roll it back."""


class NotAnAdministrator(LifecycleError):
    """The limits of operations are an administrator's to set; ask one."""


class FreezeRefused(LifecycleError):
    """A freeze ends after it begins, and after now."""


class FreezeLifted(LifecycleError):
    """This freeze was lifted already, or is over."""


class WindowRefused(LifecycleError):
    """A window has a time zone, weekdays from 1 (Monday) to 7, and lasts at most a week."""


class WindowRetired(LifecycleError):
    """This window was retired already."""


class LimitsRefused(LifecycleError):
    """Limits are whole numbers up to 100 000; what halts the schedule and what takes a second person are 1 or more."""


class HaltResumed(LifecycleError):
    """The schedule goes on there already."""


class NotByHand(LifecycleError):
    """Keyreeve does the steps of this operation itself; a person reports what it gave up on, or cannot do."""


class NotAPerson(LifecycleError):
    """A person says this by name; a token or a scheduled job does not."""


class NothingUnverified(LifecycleError):
    """Only what has ended and was not seen refused can still be seen to be refused."""
