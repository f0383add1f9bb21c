"""What can go wrong in the inventory, in sentences that are safe to show."""

from collections.abc import Sequence
from typing import Any

from inventory.tags import MOST
from web.wording import some


class InventoryError(Exception):
    """Base of the inventory's named errors."""


class OwnerInactive(InventoryError):
    """This owner has left. Choose an active one."""

    def __init__(self, owner: object) -> None:
        super().__init__(f"{owner} has left. Choose an active owner.")


class NameTaken(InventoryError):
    """Another connection has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a connection called “{name}” already.")


class HasHistory(InventoryError):
    """A connection that listed something is part of the record."""

    def __init__(self) -> None:
        super().__init__(
            "This connection has listed something, so it stays as part of the record. Switch it off instead."
        )


class NothingChosen(InventoryError):
    """Nothing that you may change was chosen."""

    def __init__(self) -> None:
        super().__init__(NothingChosen.__doc__)


class TooManyTags(InventoryError):
    """A credential has at most so many tags."""

    def __init__(self, credential: object) -> None:
        super().__init__(f"{credential} would have more than {MOST} tags. Take some away first.")


class TagDecides(InventoryError):
    """An owner would choose by it what is asked of what they answer for."""

    def __init__(self, tag: str) -> None:
        super().__init__(f"Policies select by “{tag}”, so only reviewers give it or take it away. Ask one of them.")


class HasEnded(InventoryError):
    """What has ended is not needed any more."""

    def __init__(self, credential: object) -> None:
        super().__init__(f"{credential} has ended or is gone, so there is nothing to confirm. Leave it out.")


class EvidenceMissing(InventoryError):
    """What is logged can be seen somewhere."""

    def __init__(self) -> None:
        super().__init__("Say where it can be seen: a link, a query or an entry.")


class SecretInEvidence(InventoryError):
    """Evidence is shown to everybody who reads the server's page."""

    def __init__(self) -> None:
        super().__init__("A secret stands in it. Say where it can be seen without one, and replace that secret.")


class LeaseLost(InventoryError):
    """Another worker has taken this sync over."""

    def __init__(self) -> None:
        super().__init__(LeaseLost.__doc__)


class Told(InventoryError):
    """A feed is sent what it holds; there is nothing to look at."""

    def __init__(self, feed: object) -> None:
        super().__init__(f"{feed} is a feed: it is sent what it holds, so there is nothing to look at.")


class UnderWay(InventoryError):
    """Another delivery to this feed is being taken; send this one again when it has ended."""

    def __init__(self) -> None:
        super().__init__(UnderWay.__doc__)


class NotAFeed(InventoryError):
    """Rows can only be sent to a connection of the kind feed."""

    def __init__(self, connection: object) -> None:
        super().__init__(f"{connection} is no feed. Rows can only be sent to a connection of that kind.")


class Disabled(InventoryError):
    """A feed that is switched off takes nothing."""

    def __init__(self, feed: object) -> None:
        super().__init__(f"{feed} is switched off and takes nothing.")


class NothingTaken(InventoryError):
    """Every row of a delivery was refused."""

    def __init__(self, run: object, refused: int, problems: Sequence[dict[str, Any]]) -> None:
        self.run = run
        self.refused = refused
        self.problems = problems
        super().__init__(
            "No row could be taken: " + ("the only one was" if refused == 1 else f"all {refused} were") + " refused."
        )


class KeyReused(InventoryError):
    """This Idempotency-Key came with another body before. A new body needs a new key."""

    def __init__(self) -> None:
        super().__init__(KeyReused.__doc__)


class NoFingerprintKey(InventoryError):
    """A sync without a lasting key would take every secret for a new one."""

    def __init__(self) -> None:
        super().__init__(
            "There is no fingerprint key here, so no secret would be recognised again. Start Keyreeve once with this "
            "KEYREEVE_HOME, or give every worker the same KEYREEVE_FINGERPRINT_KEY."
        )


class OwnDraft(InventoryError):
    """You drafted this for a client of your own; somebody else has to approve it."""

    def __init__(self, grant: object) -> None:
        super().__init__(f"{grant}: you drafted it and you answer for the client. Somebody else has to approve it.")


class ChangedMeanwhile(InventoryError):
    """What was to be approved changed while you were looking at it. Look again, then decide."""

    def __init__(self) -> None:
        super().__init__(ChangedMeanwhile.__doc__)


class DefinitionsChanged(InventoryError):
    """A grant names tools that are no longer defined as they were approved."""

    def __init__(self, grant: object, tools: Sequence[str]) -> None:
        super().__init__(
            f"{grant} names {some(tools, 3)}, whose definition changed after it was approved. "
            "Approve the new definition on the server's page first, or leave the tool out."
        )


class EndsTooLate(InventoryError):
    """A grant ends within its longest time."""

    def __init__(self, longest_days: int) -> None:
        super().__init__(f"A grant ends within {longest_days} days from now, and not before tomorrow.")


class NotOffered(InventoryError):
    """A grant can name only tools that the server lists or that it named before."""

    def __init__(self, tools: Sequence[str]) -> None:
        super().__init__(f"The server lists no tool called {', '.join(tools[:3])}.")


class OwnClient(InventoryError):
    """You answer for this client; somebody else has to let it in."""

    def __init__(self, client: object) -> None:
        super().__init__(f"You answer for {client} yourself. Somebody else has to let it in.")


class RemovalUnderWay(InventoryError):
    """A client that is being removed is let in by withdrawing its removal first."""

    def __init__(self, client: object) -> None:
        super().__init__(f"{client} is being removed. Withdraw its removal first.")


class DeletionUnderWay(InventoryError):
    """A deletion that has been asked for cannot be taken back."""

    def __init__(self, client: object) -> None:
        super().__init__(f"The registration of {client} is being deleted this moment. It cannot be taken back.")


class NeedsReviewer(InventoryError):
    """Only a reviewer may do this."""

    def __init__(self) -> None:
        super().__init__("Only a reviewer may remove a client although it is used.")


class ReferenceMisplaced(InventoryError):
    """A reference to a registration token belongs to a registration that its issuer manages."""


class NotReplaceable(InventoryError):
    """This literal cannot be replaced by a reference here; the sentence says why."""


class NotAsked(InventoryError):
    """Whoever is asked answers, by signing in; where nobody signs in as them, a reviewer records what they said."""


class AlreadyAnswered(InventoryError):
    """This was answered or settled meanwhile. Nothing changed."""


class NothingLeft(InventoryError):
    """Nothing of this is left to accept: it ended, or somebody else answers for it now."""


class HandOverRefused(InventoryError):
    """Hand it over to an active owner other than the one who is asked; three times at most, then accept or decline."""


class AnswerNeedsReason(InventoryError):
    """Say why, in a few words."""
