"""The vocabulary of the lifecycle: what a finding can be, how it ends, and the times severities allow."""

from datetime import timedelta

from django.db.models import TextChoices

from inventory.states import ConnectionKind, Severity


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


# ── Operations ─────────────────────────────────────────────────────────────────────────────────


# Kinds of connections that can be asked to issue, suspend and destroy; of the others a person does the steps.
OPERABLE = (ConnectionKind.AWS, ConnectionKind.OAUTH, ConnectionKind.POSTGRES, ConnectionKind.PLUG_IN)


class OperationKind(TextChoices):
    ROTATION = "rotation", "Rotation"
    REVOCATION = "revocation", "Revocation"


class OperationState(TextChoices):
    """Running is none of them: it is a lease that has not run out, so no crash leaves a row that lies."""

    PROPOSED = "proposed", "Proposed"
    PENDING = "pending", "Pending"
    WAITING = "waiting", "Waiting"
    STALLED = "stalled", "Stalled"
    COMPLETED = "completed", "Completed"
    CANCELLED = "cancelled", "Cancelled"
    SUPERSEDED = "superseded", "Superseded"


# Never left again.
CLOSED = (OperationState.COMPLETED, OperationState.CANCELLED, OperationState.SUPERSEDED)
# A worker goes on with these by itself once they are due.
TIMED = (OperationState.PENDING, OperationState.WAITING)


class Step(TextChoices):
    """What an operation is at. `lifecycle.plans` has their order."""

    ISSUE = "issue", "Issue and deliver"
    VERIFY_NEW = "verify_new", "See the new version work"
    PROMOTE = "promote", "Let consumers read it"
    OVERLAP = "overlap", "Overlap"
    SUSPEND_OLD = "suspend_old", "Suspend the old version"
    QUIET = "quiet", "Quiet period"
    DESTROY_OLD = "destroy_old", "Destroy the old version"
    VERIFY_GONE = "verify_gone", "See the old version gone"
    SNAPSHOT = "snapshot", "Look at what it reaches"
    SUSPEND = "suspend", "Suspend"
    VERIFY_REFUSED = "verify_refused", "See it refused"
    SETTLE = "settle", "Settling time"
    DESTROY = "destroy", "Destroy"
    RESTORE_OLD = "restore_old", "Let consumers read the old version"
    DESTROY_NEW = "destroy_new", "Destroy the new version"
    VERIFY_BACK = "verify_back", "See the new version gone"


class Proof(TextChoices):
    """How it is known that an old secret is refused. A provider's word alone is `executed`."""

    NONE = "none", "Nothing yet"
    EXECUTED = "executed", "The provider says it did"
    VERIFIED = "verified", "Seen refused"
    UNVERIFIABLE = "unverifiable", "Nobody can tell"


class Trigger(TextChoices):
    """What asked for an operation."""

    PERSON = "person", "A person"
    SCHEDULE = "schedule", "The schedule"
    KILL_SWITCH = "kill_switch", "The kill switch"
    LEAVER = "leaver", "An owner left"
    REVIEW = "review", "A review"


class AttemptOutcome(TextChoices):
    """What came of one try at a step. Without one, nobody knows: its worker died, or is at it."""

    DONE = "done", "Done"
    WAITS = "waits", "Waits"
    RETRIES = "retries", "Tries again"
    STALLED = "stalled", "Gave up"
    LOST = "lost", "Its worker died"


class Acknowledged(TextChoices):
    """How it is known that a consumer uses the new version."""

    API = "api", "It said so"
    SEEN = "seen", "Seen using it"
    PERSON = "person", "Somebody said so"


class BatchKind(TextChoices):
    BULK = "bulk", "Chosen by hand"
    KILL_SWITCH = "kill_switch", "Kill switch"
    LEAVER = "leaver", "An owner left"


class BatchState(TextChoices):
    REQUESTED = "requested", "Waits for a second person"
    DECIDING = "deciding", "Waits for decisions"
    RUNNING = "running", "Running"
    HALTED = "halted", "Halted"
    COMPLETED = "completed", "Completed"
    DECLINED = "declined", "Declined"
    CANCELLED = "cancelled", "Cancelled"


BATCH_CLOSED = (BatchState.COMPLETED, BatchState.DECLINED, BatchState.CANCELLED)


class ScopeKind(TextChoices):
    """Behind what a kill switch looks for credentials."""

    SERVER = "server", "Server"
    CLIENT = "client", "Client"
    OWNER = "owner", "Owner"
    PERSON = "person", "What a person reaches"
    CONNECTION = "connection", "Connection"
    FINGERPRINT = "fingerprint", "Leaked value"
    CREDENTIALS = "credentials", "Chosen credentials"


class ItemState(TextChoices):
    """How one thing in a batch stands. What became of its operation stands with the operation."""

    TO_DECIDE = "to_decide", "To decide"
    WAITING = "waiting", "Not begun"
    OPENED = "opened", "Operation opened"
    ASKED = "asked", "Revocation asked for"
    TRANSFERRED = "transferred", "Handed over"
    SKIPPED = "skipped", "Nothing to do"
    CANCELLED = "cancelled", "Cancelled"


ITEM_OPEN = (ItemState.TO_DECIDE, ItemState.WAITING)


class Suggestion(TextChoices):
    """What is proposed for something that a leaver answered for."""

    TRANSFER = "transfer", "Hand over"
    REVOKE = "revoke", "Revoke"
