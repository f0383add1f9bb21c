"""What is recommended about an item, and why: pure, from signals that the database found.

A signal is a fact that speaks for something. The database says which hold for each of many items; what follows from a
set of them is decided here, once for each different set. What nobody can tell is no reason to keep.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from reviews.states import ALLOWED, What


@dataclass(frozen=True, slots=True)
class Signal:
    """`speaks_for` None: it makes keeping something that a person argues for, without speaking for anything else."""

    slug: str
    speaks_for: What | None
    words: str


# In the order of their weight: of several the first decides, and all are named.
SIGNALS = (
    Signal("never_used", What.REVOKE, "It was never seen in use, and is older than 90 days."),
    Signal("idle", What.REVOKE, "It was not used for 90 days."),
    Signal("disabled", What.REVOKE, "Every place that names it is switched off."),
    Signal("expired_active", What.REVOKE, "It should have ended, and still works."),
    Signal("unused_grant", What.REVOKE, "The client is not configured to reach this server."),
    Signal("suspended_client", What.REVOKE, "The client is suspended."),
    Signal("dead", What.REVOKE, "Nobody seems to need the registration."),
    Signal("duplicate", What.REVOKE, "Another registration does the same."),
    Signal("exposed", What.ROTATE, "Its secret lies open."),
    Signal("shared", What.ROTATE, "One secret is used in several places that should have one each."),
    Signal("unrotated", What.ROTATE, "It is older than its policy allows."),
    Signal("lifetime", What.ROTATE, "It lives longer than its policy allows, or does not end."),
    Signal("owner_left", What.REASSIGN, "Whoever answered for it has left."),
    Signal("no_owner", What.REASSIGN, "Nobody answers for it."),
    Signal("scope", What.REDUCE, "It may do more than was granted, or than its policy allows."),
    Signal("grant_ended", What.REDUCE, "The grant has run out, or was never approved."),
    Signal("grant_exceeds", What.REDUCE, "More is granted than the server offers."),
    Signal("use_unknown", None, "Nobody knows when it was last used."),
    Signal("severe", None, "A finding of it is critical."),
    Signal("changed", None, "It changed since it was last reviewed."),
)
BY_SLUG = {signal.slug: signal for signal in SIGNALS}


@dataclass(frozen=True, slots=True)
class Recommendation:
    """`what` None: nothing can be recommended, so that a keep says why."""

    what: What | None
    reasons: tuple[str, ...]


def recommend(kind: str, signals: Collection[str]) -> Recommendation:
    held = [signal for signal in SIGNALS if signal.slug in signals]
    reasons = tuple(signal.slug for signal in held)
    for signal in held:
        if signal.speaks_for is not None and signal.speaks_for in ALLOWED[kind]:
            return Recommendation(signal.speaks_for, reasons)
    return Recommendation(None if held else What.KEEP, reasons)


def in_words(reasons: Iterable[str]) -> list[str]:
    """The reasons as sentences; one that no release knows any more is left as it is called."""
    return [BY_SLUG[slug].words if slug in BY_SLUG else slug for slug in reasons]
