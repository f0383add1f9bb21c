"""The vocabulary of the lifecycle: what a finding can be, how it ends, and the times severities allow."""

from datetime import timedelta

from django.db.models import TextChoices

from inventory.states import Severity


class FindingState(TextChoices):
    OPEN = "open", "Open"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    WAIVED = "waived", "Waived"
    RESOLVED = "resolved", "Resolved"


# Never left again: what is violated once more opens a new finding.
FINAL = (FindingState.RESOLVED,)
# What counts as risk. A waived finding is still shown, but somebody answers for it by name.
COUNTED = (FindingState.OPEN, FindingState.ACKNOWLEDGED)


class Raised(TextChoices):
    """Why a finding is more severe than its rule alone says."""

    PRODUCTION = "production", "It serves production"
    THIRD_PARTY = "third_party", "A third party holds or receives it"
    EXPOSED = "exposed", "Its secret lies open"
    PRIVILEGED = "privileged", "It carries a privileged scope"
    RULE = "rule", "The rule says so of what it found"
    POLICY = "policy", "A policy grades the rule"
    PAST_DUE = "past_due", "Nobody resolved it in twice the time it was given"


# What is so about a subject whatever the rule; together they raise a severity by one step at most.
CONTEXTS = (Raised.PRODUCTION, Raised.THIRD_PARTY, Raised.EXPOSED, Raised.PRIVILEGED)


class Change(TextChoices):
    """What an evaluation changed about a finding while it was unresolved."""

    RAISED = "raised", "More severe"
    LOWERED = "lowered", "Less severe"
    ESCALATED = "escalated", "Escalated by age"
    HANDED_OVER = "handed_over", "Another owner answers"


class Automation(TextChoices):
    """What happens when a credential falls due for rotation."""

    OFF = "off", "Nothing by itself"
    PROPOSE = "propose", "Propose, a person approves"
    AUTOMATIC = "automatic", "Rotate by itself"


class RunOutcome(TextChoices):
    """How a run of a scheduled job ended."""

    BEGUN = "begun", "Not ended"
    ENDED = "ended", "Ended"
    FAILED = "failed", "Failed"


class Resolution(TextChoices):
    """Why a finding is resolved. That something is unknown is never a reason."""

    MET = "met", "Seen to be met"
    GONE = "gone", "The subject is gone"
    NOT_APPLICABLE = "not_applicable", "The rule no longer applies to the subject"
    SWITCHED_OFF = "switched_off", "A policy switched the rule off"


# From opening a finding to its due date.
DUE_WITHIN: dict[Severity, timedelta] = {
    Severity.CRITICAL: timedelta(days=1),
    Severity.HIGH: timedelta(days=7),
    Severity.MEDIUM: timedelta(days=30),
    Severity.LOW: timedelta(days=90),
}

# A finding that nobody has resolved by twice the time it was given is one step more severe from then on.
ESCALATED_AFTER = 2


class WaiverState(TextChoices):
    """From the request on. What is scheduled was approved and begins when the waiver that it extends ends."""

    REQUESTED = "requested", "Requested"
    SCHEDULED = "scheduled", "Approved, begins later"
    ACTIVE = "active", "Active"
    DECLINED = "declined", "Declined"
    WITHDRAWN = "withdrawn", "Withdrawn"
    EXPIRED = "expired", "Expired"


# A finding has at most one of these beside its active waiver.
WAITING = (WaiverState.REQUESTED, WaiverState.SCHEDULED)
WAIVER_FINAL = (WaiverState.DECLINED, WaiverState.WITHDRAWN, WaiverState.EXPIRED)

ENDS_SOON = timedelta(days=14)
LONGEST_WAIVER = timedelta(days=90)
LONGEST_WAIVER_OF_CRITICAL = timedelta(days=30)


class LinkKind(TextChoices):
    """What will resolve a finding."""

    OPERATION = "operation", "Operation"
    REVIEW_ITEM = "review_item", "Review item"
    TICKET = "ticket", "Ticket"
    CHANGE = "change", "Change"
