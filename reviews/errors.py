"""What access reviews refuse, with a message that is safe to show and says what to do."""

from collections.abc import Iterable
from datetime import datetime


class ReviewError(Exception):
    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class NotAReviewer(ReviewError):
    """Campaigns are run by reviewers and operators; ask one of them."""


class NotAPerson(ReviewError):
    """A person decides and signs by name; a token or a scheduled job does not."""


class CampaignRefused(ReviewError):
    """What the campaign was to be cannot be. `problems` has one sentence for each field."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = problems


class NotADraft(ReviewError):
    """The campaign was launched or cancelled already; its scope stands."""


class CampaignNotRunning(ReviewError):
    """The campaign is not under way; there is nothing to decide in it now."""


class NothingToReview(ReviewError):
    """Nothing that is alive is in this scope. Choose a wider one."""


class TooMuchToReview(ReviewError):
    """More than 500 000 items are too many for one campaign. Choose a narrower scope."""


class StaleConnections(ReviewError):
    def __init__(self, names: Iterable[str]) -> None:
        named = list(names)
        more = f" and {len(named) - 5} more" if len(named) > 5 else ""
        super().__init__(
            f"Not looked at lately: {', '.join(named[:5])}{more}. Sync them first, or have another person sign for "
            "what they last said."
        )
        self.names = named


class StaleByLauncher(ReviewError):
    """You signed for what is not fresh, so somebody else launches the campaign."""


class NothingStale(ReviewError):
    """Every connection of this scope was looked at lately; there is nothing to sign for."""


class Incomplete(ReviewError):
    """The items do not add up to what the connections hold; nothing was launched. Try again."""


class ItemNotVisible(ReviewError):
    """An item that was named does not exist, or is somebody else's to review."""


class ItemDecided(ReviewError):
    """An item that was named is decided already. What was submitted is not undone."""


class NotYourItem(ReviewError):
    """Another person reviews this item. They or the lead of the campaign can hand it to you."""


class OwnItem(ReviewError):
    """You answer for this, or act for who does, so somebody else decides about it."""


class SameChain(ReviewError):
    """They review this item in the other part already, or act for who does. Two different people decide."""


class OwnDelegate(ReviewError):
    """They answer for this item, so they cannot be the second reviewer of it."""


class ChangedMeanwhile(ReviewError):
    """Somebody else did something to an item meanwhile. Look at it again."""


class FactsChanged(ReviewError):
    def __init__(self, names: Iterable[str], what: Iterable[str]) -> None:
        said = ", ".join(sorted(set(what)))
        super().__init__(
            f"Since the campaign began this changed: {said} of {', '.join(list(names)[:5])}. Look at it again, then "
            "decide."
        )


class NotAlike(ReviewError):
    """These items are not alike, so they are not decided in one go: choose those of one kind and one recommendation."""


class NotAllowedHere(ReviewError):
    """This cannot be decided about that kind of item."""


class ReasonNeeded(ReviewError):
    """Say why: this is against the recommendation, or keeps many at once."""


class TakerMissing(ReviewError):
    """Say who takes it over: an active owner."""


class ScopesMissing(ReviewError):
    """Say which scopes or tools remain: fewer than there are, and none that is not there."""


class NothingToUndo(ReviewError):
    """There is no decision of yours here that was not submitted."""


class NothingToSubmit(ReviewError):
    """There is no decision of yours to submit."""


class NothingDelegated(ReviewError):
    """None of these items is yours to hand on."""


class DelegateInactive(ReviewError):
    """They have left; choose somebody who is active."""


class DelegateIsNobody(ReviewError):
    """A team decides nothing; choose a person."""


class StillOpen(ReviewError):
    def __init__(self, number: int) -> None:
        noun = "item is" if number == 1 else "items are"
        super().__init__(f"{number} {noun} not closed yet. Each closes once what was decided was seen to be so.")


class StillYours(ReviewError):
    def __init__(self, number: int) -> None:
        noun = "item waits" if number == 1 else "items wait"
        super().__init__(f"{number} {noun} for your decision. Decide and submit them, then attest.")


class NothingToAttest(ReviewError):
    """You decided nothing in this campaign, or attested already."""


class AttestationsMissing(ReviewError):
    def __init__(self, names: Iterable[str]) -> None:
        named = list(names)
        more = f" and {len(named) - 5} more" if len(named) > 5 else ""
        super().__init__(f"Not attested yet: {', '.join(named[:5])}{more}.")


class StatementMissing(ReviewError):
    """Say what you attest, in at most 2 000 characters."""


class DueRefused(ReviewError):
    """A campaign is due after now, and within two years."""


class NotTheLead(ReviewError):
    """Whoever leads a campaign reminds its reviewers, or a reviewer does."""


class RemindedToday(ReviewError):
    def __init__(self, at: datetime) -> None:
        super().__init__(f"They were reminded at {at:%H:%M} UTC on {at.day} {at:%B}. Once a day is enough.")


class MailIsOff(ReviewError):
    """No mail server is set up, so nobody can be told."""


class NobodyToRemind(ReviewError):
    """Nobody it waits for gets mails about reviews: they have no address, or chose to get none."""


class TriggerRefused(ReviewError):
    """What was said of a review that begins by itself does not hold together."""
