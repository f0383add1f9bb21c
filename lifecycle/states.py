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


class Resolution(TextChoices):
    """Why a finding is resolved. That something is unknown is never a reason."""

    MET = "met", "Seen to be met"
    GONE = "gone", "The subject is gone"
    NOT_APPLICABLE = "not_applicable", "The rule no longer applies to the subject"


# From opening a finding to its due date.
DUE_WITHIN: dict[Severity, timedelta] = {
    Severity.CRITICAL: timedelta(days=1),
    Severity.HIGH: timedelta(days=7),
    Severity.MEDIUM: timedelta(days=30),
    Severity.LOW: timedelta(days=90),
}

LONGEST_WAIVER = timedelta(days=90)
LONGEST_WAIVER_OF_CRITICAL = timedelta(days=30)
