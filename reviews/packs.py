"""What an evidence pack is, apart from the database and from files: its states, its words, its refusals. Pure."""

from datetime import timedelta

from django.db.models import TextChoices

from reviews.errors import ReviewError

FORMAT = "keyreeve evidence pack 1"
LEASE = timedelta(minutes=5)
TRIES = 3
LONGEST_PERIOD = timedelta(days=1_100)
USUAL_PERIOD = timedelta(days=90)
LARGEST_SAMPLE = 500
USUAL_SAMPLE = 25
EVERYTHING_PRESENT = "gone=false"


class PackState(TextChoices):
    REQUESTED = "requested", "Requested"
    BUILDING = "building", "Being built"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"
    REMOVED = "removed", "File removed"


PACK_OPEN = (PackState.REQUESTED, PackState.BUILDING)
PACK_BUILT = (PackState.READY, PackState.REMOVED)


class NotABuilder(ReviewError):
    """Evidence packs are built by reviewers, operators and automation; ask one of them. Anybody may download them."""


class PackRefused(ReviewError):
    """What the pack was to hold cannot be. `problems` has one sentence for each field."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = problems


class PackLost(ReviewError):
    """Another worker builds this pack now; what this one wrote is dropped."""


class PackNotReady(ReviewError):
    """This pack is not ready. Its page says how far it is."""


class PackRemoved(ReviewError):
    """The file of this pack was removed, being old. Its digest is kept, so a copy of yours is still known by it."""


class PackMissing(ReviewError):
    """The file of this pack is not where it was kept. Build it again."""
