"""The vocabulary of access reviews: what is reviewed, how far a campaign and an item are, what can be decided."""

from datetime import timedelta

from django.db.models import TextChoices


class Reviewed(TextChoices):
    """What one review item is about."""

    CREDENTIAL = "credential", "Credential"
    CLIENT = "client", "Client"
    GRANT = "grant", "Grant"
    SERVER = "server", "Ownership of a server"


class CampaignState(TextChoices):
    DRAFT = "draft", "Draft"
    OPEN = "open", "Open"
    CLOSING = "closing", "Closing"
    SIGNED = "signed", "Signed"
    CANCELLED = "cancelled", "Cancelled"


# Decisions are taken in these, and what was decided is carried out.
RUNNING = (CampaignState.OPEN, CampaignState.CLOSING)
# Never left again.
CAMPAIGN_FINAL = (CampaignState.SIGNED, CampaignState.CANCELLED)


class Origin(TextChoices):
    """What a campaign came from."""

    PERSON = "person", "A person"
    SCHEDULE = "schedule", "The schedule"
    EVENT = "event", "Something changed"


class Occasion(TextChoices):
    """What a small review may begin with by itself."""

    OWNER_LEFT = "owner_left", "Owner left"
    EXPOSURE_FOUND = "exposure_found", "Exposure found"
    CLIENT_REGISTERED = "client_registered", "New dynamic client"
    SERVER_OWNER_CHANGED = "server_owner_changed", "Server changed hands"


class NoAnswer(TextChoices):
    """What becomes of an item that nobody decided by its date. To keep it is no choice."""

    ESCALATE = "escalate", "Ask the next in line"
    SUSPEND = "suspend", "Suspend"
    REVOKE = "revoke", "Revoke"


class ItemState(TextChoices):
    OPEN = "open", "To decide"
    DISPUTED = "disputed", "Reviewers disagree"
    RETURNED = "returned", "Back with the reviewer"
    ACTING = "acting", "Being carried out"
    CLOSED = "closed", "Closed"
    CANCELLED = "cancelled", "Cancelled"


# A person has to do something.
UNDECIDED = (ItemState.OPEN, ItemState.DISPUTED, ItemState.RETURNED)
ITEM_FINAL = (ItemState.CLOSED, ItemState.CANCELLED)


class What(TextChoices):
    """What can be decided about an item, and what is recommended."""

    KEEP = "keep", "Keep"
    REVOKE = "revoke", "Revoke"
    ROTATE = "rotate", "Rotate"
    REASSIGN = "reassign", "Reassign"
    REDUCE = "reduce", "Reduce scope"
    SUSPEND = "suspend", "Suspend"


# Nobody chooses to suspend; it is what a campaign does where nobody answers.
CHOICES = (What.KEEP, What.REVOKE, What.ROTATE, What.REASSIGN, What.REDUCE)
ALLOWED: dict[str, tuple[What, ...]] = {
    Reviewed.CREDENTIAL: CHOICES,
    Reviewed.CLIENT: (What.KEEP, What.REVOKE, What.REASSIGN),
    Reviewed.GRANT: (What.KEEP, What.REVOKE, What.REDUCE),
    Reviewed.SERVER: (What.KEEP, What.REASSIGN),
}


class Ending(TextChoices):
    """How an item came to its end. Each was seen to be so when the item closed."""

    KEPT = "kept", "Kept"
    REVOKED = "revoked", "Revoked"
    ROTATED = "rotated", "Rotated"
    REASSIGNED = "reassigned", "Reassigned"
    REDUCED = "reduced", "Scope reduced"
    SUSPENDED = "suspended", "Suspended"
    GONE = "gone", "Ended by itself"
    DECOY = "decoy", "Decoy"  # of those alone


ENDINGS: dict[str, Ending] = {
    What.KEEP: Ending.KEPT,
    What.REVOKE: Ending.REVOKED,
    What.ROTATE: Ending.ROTATED,
    What.REASSIGN: Ending.REASSIGNED,
    What.REDUCE: Ending.REDUCED,
    What.SUSPEND: Ending.SUSPENDED,
}


class Seat(TextChoices):
    """In which part somebody decides about an item."""

    FIRST = "first", "Reviewer"
    SECOND = "second", "Second reviewer"
    CLOCK = "clock", "Nobody answered"


class Passed(TextChoices):
    """Why a seat went from one person to another."""

    DELEGATED = "delegated", "Delegated"
    REASSIGNED = "reassigned", "Reassigned"
    ESCALATED = "escalated", "Escalated"
    DEPARTED = "departed", "Its reviewer left"


class LeftOut(TextChoices):
    """Why something that a connection holds is no item of a campaign."""

    GONE = "gone", "No longer seen"
    ENDED = "ended", "Ended"
    OTHER_CONNECTION = "other_connection", "Another connection"
    OTHER_KIND = "other_kind", "Another kind"
    OTHER_TRUST = "other_trust", "Another trust model"
    OTHER_ENVIRONMENT = "other_environment", "Another environment"
    OTHER_PROVIDER = "other_provider", "Another provider"
    OTHER_OWNER = "other_owner", "Another owner"
    OTHER_TAG = "other_tag", "Another tag"
    OTHER_ROLE = "other_role", "Another server role"
    NOT_CHOSEN = "not_chosen", "Not among what was chosen"
    LEFT_OUT = "left_out", "Left out by name"
    ELSEWHERE = "elsewhere", "Open in another campaign"


# Of these each one is kept with its reason; the others are counted, as they are not what the campaign is about.
NAMED_EXCLUSIONS = (LeftOut.LEFT_OUT, LeftOut.ELSEWHERE)

FRESH_WITHIN = timedelta(days=3)
ESCALATE_AFTER = timedelta(days=7)
REMINDERS = (7, 3, 1)  # days before the date
SUSPENDED_FOR = timedelta(days=30)  # before what was suspended for want of an answer is destroyed
ACCEPTED_WITHIN = timedelta(days=30)  # of standing without an owner who had accepted it
APPROVED_AGAIN_WITHIN = timedelta(days=30)  # or decided otherwise, since what was approved changed
DECOYS_AT_MOST = 10  # for one reviewer
QUICK = timedelta(seconds=3)  # a decision faster than this was hardly read
