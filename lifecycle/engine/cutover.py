"""Whether consumers have moved to the new version of a rotation, so that the old one may be suspended.

Time alone never says so. Either every known consumer has moved, or the provider's own record says that nobody has used
the old version for the whole overlap. Where neither is known, a person has to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from lifecycle.actions.consumers import note_seen
from lifecycle.models import Operation, StepAttempt
from lifecycle.models.consumers import Consumer, consumers_of, promoted_at
from lifecycle.states import Acknowledged
from providers.base import DiscoveredVersion, Status
from web.wording import some, span

# After so many times the overlap, and so long at most, a person is asked.
PATIENCE = 7
LONGEST_PATIENCE = timedelta(days=30)
# The record is looked at so often while it is waited for.
LOOKS_WITHIN_OVERLAP = 12
SOONEST_LOOK = timedelta(seconds=5)
LATEST_LOOK = timedelta(hours=1)
# How far a provider's clock and ours may differ before a use counts as one since the promotion.
CLOCKS_DIFFER_BY = timedelta(minutes=5)

REFUSED = frozenset({Status.SUSPENDED, Status.DESTROYED, Status.EXPIRED})
MOST_NAMES = 4
WHAT_TO_DO = "Extend the overlap, roll back, or retire the old version all the same."


@dataclass(frozen=True, slots=True)
class CutOver:
    """What is known of the consumers: whether the old version may go, why, and when it is worth looking again.

    `look_again_at` is None where nothing is waited for: it is ready, or a person has to decide (`is_escalated`).
    """

    is_ready: bool
    sentence: str
    look_again_at: datetime | None = None
    is_escalated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All that the judgement is made from.

    `tells_use` is whether the provider's record says when the old version was last used; without a `used_at` it was
    never used then. `new_used_at` is what the same record says of the new one.
    """

    promoted_at: datetime
    overlap: timedelta
    consumers: Sequence[Consumer] = ()
    tells_use: bool = False
    used_at: datetime | None = None
    new_used_at: datetime | None = None
    extended_until: datetime | None = None
    has_old: bool = True
    is_refused: bool = False
    is_gone: bool = False
    """The provider lists the new version and not the old one: it was removed by hand, say."""


def judge(
    operation: Operation,
    *,
    versions: Sequence[DiscoveredVersion],
    now: datetime,
    tells_use: bool = False,
    attempts: Sequence[StepAttempt] | None = None,
) -> CutOver:
    """Whether the old version of a rotation may be suspended.

    `versions` are as the provider lists them at this moment, and `tells_use` whether it keeps a record of their use
    (LAST_USED): an absent date means never used then, and unknown without it. Who was seen to have moved is written
    down, so that it stays known whatever their configuration says later. `attempts` are all of the operation, where
    they are at hand.
    """
    standing = standing_of(operation, versions=versions, now=now, tells_use=tells_use, attempts=attempts)
    note_seen(operation, standing.consumers, now=now)
    return decide(standing, now)


def standing_of(
    operation: Operation,
    *,
    versions: Sequence[DiscoveredVersion],
    now: datetime,
    tells_use: bool = False,
    attempts: Sequence[StepAttempt] | None = None,
) -> Standing:
    old, new = operation.old_version, operation.new_version
    listed = {version.external_id: version for version in versions}
    of_old = listed.get(old.external_id) if old is not None else None
    of_new = listed.get(new.external_id) if new is not None else None
    tells = of_old is not None and (tells_use or of_old.last_used_at is not None)
    standing = Standing(
        promoted_at=promoted_at(operation, attempts) or operation.step_at,
        overlap=operation.overlap,
        consumers=consumers_of(operation, attempts),
        tells_use=tells,
        used_at=of_old.last_used_at if of_old is not None else None,
        new_used_at=of_new.last_used_at if of_new is not None else None,
        extended_until=operation.extended_until,
        has_old=old is not None,
        is_refused=of_old is not None and of_old.status in REFUSED,
        is_gone=old is not None and old.external_id != "" and of_old is None and of_new is not None,
    )
    return _with_the_only_one(standing, now)


def decide(standing: Standing, now: datetime) -> CutOver:
    """The judgement itself. Pure."""
    if not standing.has_old:
        return CutOver(True, "There is no old version to wait for.")
    if standing.is_refused:
        return CutOver(True, "The provider lists the old version as refused already: nobody can use it.")
    if standing.is_gone:
        return CutOver(True, "The provider lists the new version and no longer the old one: nobody can use it.")
    known = [each for each in standing.consumers if each.is_known]
    missing = [each.name for each in known if not each.has_moved]
    late_use = _use_after_all_moved(standing, known, missing)
    if known and not missing and late_use is None:
        return CutOver(True, _all_moved(known))
    silent_since = _silent_since(standing)
    if silent_since is not None and now - silent_since >= standing.overlap and not _is_extended(standing, now):
        return CutOver(True, _silent(standing, now))
    if not known and not standing.tells_use and _somebody_said_so(standing):
        return CutOver(True, "Nobody is known to use the old version, and a person said that everybody has moved.")
    why = _waits_for(standing, known, missing, late_use, now)
    asked_at = escalated_at(standing)
    if now >= asked_at:
        passed = span(now - standing.promoted_at) or "a moment"
        return CutOver(False, f"{passed} after consumers could read the new version: {why} {WHAT_TO_DO}", None, True)
    return CutOver(False, why, _look_again_at(standing, silent_since, asked_at, now))


def escalated_at(standing: Standing) -> datetime:
    """When a person is asked: at the end of an extension, else after a multiple of the overlap."""
    patience = max(standing.overlap, min(PATIENCE * standing.overlap, LONGEST_PATIENCE))
    usual = standing.promoted_at + patience
    if standing.extended_until is None:
        return usual
    return max(standing.extended_until, standing.promoted_at + standing.overlap)


# ── What is known ──────────────────────────────────────────────────────────────────────────────


def _silent_since(standing: Standing) -> datetime | None:
    """Since when the provider's record knows of no use of the old version; None where it keeps none.

    The record may lag behind, by hours even. Whoever uses the version more often than once in an overlap is seen
    within it all the same.
    """
    if not standing.tells_use:
        return None
    return max(standing.promoted_at, standing.used_at) if standing.used_at is not None else standing.promoted_at


def _is_extended(standing: Standing, now: datetime) -> bool:
    return standing.extended_until is not None and now < standing.extended_until


def _use_after_all_moved(standing: Standing, known: Sequence[Consumer], missing: Sequence[str]) -> datetime | None:
    """A use of the old version after the last known consumer had moved: somebody uses it whom nobody knows."""
    if not known or missing or standing.used_at is None:
        return None
    last = max((each.at for each in known if each.at is not None), default=standing.promoted_at)
    return standing.used_at if standing.used_at > last + CLOCKS_DIFFER_BY else None


def _somebody_said_so(standing: Standing) -> bool:
    return any(each.how == Acknowledged.PERSON for each in standing.consumers)


def _with_the_only_one(standing: Standing, now: datetime) -> Standing:
    """A single consumer is seen in the provider's record: the new version was used, and the old one not since then."""
    known = [each for each in standing.consumers if each.is_known]
    used = standing.new_used_at
    if len(known) != 1 or known[0].has_moved or used is None or not standing.tells_use:
        return standing
    # Keyreeve itself used the new version before it was promoted, to see it work.
    if used <= standing.promoted_at + CLOCKS_DIFFER_BY or used > now + CLOCKS_DIFFER_BY:
        return standing
    if standing.used_at is not None and standing.used_at > standing.promoted_at:
        return standing
    words = "The provider's record has it use the new version."
    seen = Consumer(
        name=known[0].name,
        client_id=known[0].client_id,
        how=Acknowledged.SEEN,
        at=used,
        said_by=words,
        evidence=words,
    )
    return replace(standing, consumers=tuple(seen if each is known[0] else each for each in standing.consumers))


def _look_again_at(standing: Standing, silent_since: datetime | None, asked_at: datetime, now: datetime) -> datetime:
    pace = min(max(standing.overlap / LOOKS_WITHIN_OVERLAP, SOONEST_LOOK), LATEST_LOOK)
    moments = [now + pace, asked_at]
    if silent_since is not None:
        moments.append(max(silent_since + standing.overlap, standing.extended_until or silent_since))
    return min(moment for moment in moments if moment > now)


# ── Words ──────────────────────────────────────────────────────────────────────────────────────


def _all_moved(known: Sequence[Consumer]) -> str:
    if len(known) == 1:
        return f"{known[0].name}, the only known consumer, uses the new version."
    return f"All {len(known)} known consumers use the new version."


def _silent(standing: Standing, now: datetime) -> str:
    if standing.used_at is None:
        return "The provider's record knows no use of the old version."
    words = span(now - standing.used_at) or "moments"
    return f"By the provider's record the old version was last used {words} ago, on {_moment(standing.used_at)}."


def _waits_for(
    standing: Standing, known: Sequence[Consumer], missing: Sequence[str], late_use: datetime | None, now: datetime
) -> str:
    """What is waited for, in one or two sentences."""
    parts = []
    if missing:
        verb = "has" if len(missing) == 1 else "have"
        parts.append(
            f"{some(missing, MOST_NAMES)} {verb} not moved; {len(known) - len(missing)} of {len(known)} moved."
        )
    elif late_use is not None:
        parts.append(
            f"Every known consumer has moved, and yet the old version was used on {_moment(late_use)}: "
            "somebody uses it whom nobody knows."
        )
    elif not known and not standing.tells_use:
        parts.append(
            "Nobody is known to use the old version, and the provider keeps no record of its use: "
            "a person has to say that everybody has moved."
        )
    elif not known:
        parts.append("Nobody is known to use the old version, so only silence in the provider's record counts.")
    silent_since = _silent_since(standing)
    if _is_extended(standing, now) and standing.extended_until is not None:
        parts.append(f"The overlap was extended until {_moment(standing.extended_until)}.")
    elif silent_since is not None:
        used = (
            "is not known to be used" if standing.used_at is None else f"was last used on {_moment(standing.used_at)}"
        )
        until = _moment(silent_since + standing.overlap)
        parts.append(f"The old version {used}; if it stays so until {until}, it is suspended.")
    elif known:
        parts.append("The provider keeps no record of use, so each of them has to say so, or be seen.")
    return " ".join(parts)


def _moment(at: datetime) -> str:
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b %Y %H:%M} UTC"
