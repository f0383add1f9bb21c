"""Whether a credential can be rotated when it falls due, and what stands in the way: known before the date.

Set-based: the facts of a page of credentials are one statement; freezes, windows and halts are one each.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from inventory.states import Verdict
from lifecycle.models.upcoming import KNOWN_CONSUMER, REACH
from lifecycle.models.windows import Openness, ScheduleHalt
from lifecycle.states import OPERABLE, Automation, OperationKind, OperationState

# How far ahead an opening is looked for where no date is set.
LOOKS_AHEAD = timedelta(days=90)
FAILED = (OperationState.STALLED, OperationState.CANCELLED, OperationState.SUPERSEDED)


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that must be so for a rotation to go through, and whether it is."""

    check: str
    verdict: Verdict
    words: str


@dataclass(frozen=True, slots=True)
class Readiness:
    credential: UUID
    facts: tuple[Fact, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of its facts."""
        found = {fact.verdict for fact in self.facts}
        return next(each for each in (Verdict.VIOLATED, Verdict.UNKNOWN, Verdict.MET) if each in found)

    @property
    def wanting(self) -> tuple[Fact, ...]:
        """What stands in the way, or is not known."""
        order = [Verdict.VIOLATED, Verdict.UNKNOWN]
        return tuple(sorted((f for f in self.facts if f.verdict in order), key=lambda f: order.index(f.verdict)))

    @property
    def words(self) -> str:
        return self.wanting[0].words if self.wanting else "Ready."


FACTS = f"""
SELECT c.id, k.id, k.name, k.kind = ANY (%(operable)s), k.is_enabled, coalesce(c.environment_id, k.environment_id),
       o.rotate_by, p.automation, w.id IS NOT NULL, coalesce(w.is_active, false), d.id IS NOT NULL, {KNOWN_CONSUMER},
       x.state, x.closed_at, x.requested_at, x.is_rolling_back
FROM inventory_credential c
JOIN inventory_connection k ON k.id = c.connection_id
LEFT JOIN lifecycle_obligation o ON o.credential_id = c.id
LEFT JOIN lifecycle_policy p ON p.id = o.policy_id
LEFT JOIN inventory_owner w ON w.id = c.owner_id
LEFT JOIN lifecycle_delivery d ON d.credential_id = c.id
LEFT JOIN LATERAL (
  SELECT y.state, y.closed_at, y.requested_at, y.is_rolling_back FROM lifecycle_operation y
  WHERE y.credential_id = c.id AND y.kind = %(rotation)s ORDER BY y.id DESC LIMIT 1
) x ON true
WHERE c.id = ANY (%(ids)s::uuid[])
"""


def standing_halts() -> dict[UUID | None, str]:
    """Why the schedule stopped, by connection; None stands for everything."""
    return dict(ScheduleHalt.objects.standing().values_list("connection", "reason"))


def readiness(
    credentials: Collection[UUID],
    now: datetime,
    *,
    openness: Openness | None = None,
    halts: dict[UUID | None, str] | None = None,
) -> dict[UUID, Readiness]:
    """What is known of each of these credentials. Four statements, however many; one where the rest is given."""
    if not credentials:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            FACTS,
            {
                "ids": [str(key) for key in credentials],
                "operable": [kind.value for kind in OPERABLE],
                "rotation": OperationKind.ROTATION.value,
            },
        )
        rows = cursor.fetchall()
    openness = Openness.at(now) if openness is None else openness
    halts = standing_halts() if halts is None else halts
    return {row[0]: Readiness(row[0], tuple(_facts(row, openness, halts, now))) for row in rows}


def _facts(row: Any, openness: Openness, halts: dict[UUID | None, str], now: datetime) -> list[Fact]:
    (_, connection_id, place, is_operable, is_enabled, environment, rotate_by, automation) = row[:8]
    has_owner, is_owner_active, has_delivery, is_used, state, closed_at, requested_at, went_back = row[8:]
    facts = [_provider(place, is_operable, is_enabled)]
    facts.append(
        Fact("delivery", Verdict.MET, "Its place of delivery is set.")
        if has_delivery
        else Fact("delivery", Verdict.VIOLATED, "No place of delivery is set: say where the new secret goes.")
    )
    if not has_owner:
        facts.append(Fact("owner", Verdict.VIOLATED, "Nobody answers for it: assign an owner."))
    elif not is_owner_active:
        facts.append(Fact("owner", Verdict.VIOLATED, "Its owner has left: assign another one."))
    else:
        facts.append(Fact("owner", Verdict.MET, "It has an owner."))
    facts.append(
        Fact("consumers", Verdict.MET, "Its consumers are known.")
        if is_used
        else Fact("consumers", Verdict.UNKNOWN, "Nobody is known to use it, so its rotation is only proposed.")
    )
    facts.append(_last_time(state, closed_at, requested_at, went_back))
    if automation == Automation.OFF or automation is None:
        facts.append(Fact("automation", Verdict.UNKNOWN, "No policy rotates it by itself: a person asks for it."))
    halt = halts.get(None) or halts.get(connection_id)
    if halt is not None:
        facts.append(Fact("halt", Verdict.VIOLATED, f"{halt} A person resumes it."))
    facts.append(_opening(openness, environment, rotate_by, now))
    return facts


def _provider(place: str, is_operable: bool, is_enabled: bool) -> Fact:
    if not is_operable:
        return Fact("provider", Verdict.VIOLATED, f"{place} cannot be asked to issue and destroy: rotate it by hand.")
    if not is_enabled:
        return Fact("provider", Verdict.VIOLATED, f"{place} is switched off: enable the connection.")
    return Fact("provider", Verdict.MET, f"{place} can be asked.")


def _last_time(state: str | None, closed_at: datetime | None, requested_at: datetime, went_back: bool) -> Fact:
    if state is None:
        return Fact("last_time", Verdict.UNKNOWN, "It was never rotated by Keyreeve.")
    if state == OperationState.COMPLETED and not went_back and closed_at is not None:
        return Fact("last_time", Verdict.MET, f"Its last rotation completed on {_day(closed_at)}.")
    if state in FAILED or went_back:
        how = "was rolled back" if went_back else OperationState(state).label.lower()
        how = "has stalled" if state == OperationState.STALLED else how if went_back else f"was {how}"
        return Fact("last_time", Verdict.VIOLATED, f"Its last rotation, asked for on {_day(requested_at)}, {how}.")
    return Fact("last_time", Verdict.MET, f"A rotation is under way since {_day(requested_at)}.")


def _opening(openness: Openness, environment: UUID | None, rotate_by: datetime | None, now: datetime) -> Fact:
    """Whether there is a moment at which it may begin: within reach of its date, and before it."""
    until = rotate_by if rotate_by is not None and rotate_by > now else now + REACH
    if rotate_by is None:
        until = now + LOOKS_AHEAD
    since = max(now, until - REACH)
    at = openness.next_opening(environment, since, until)
    if at is not None:
        if openness.windows_of(environment):
            return Fact("opening", Verdict.MET, f"It can begin in the window of {_moment(at)}.")
        return Fact("opening", Verdict.MET, f"It can begin on {_day(at)}." if at > now else "It can begin at any time.")
    freeze = openness.frozen_by(environment, since)
    if freeze is not None:
        return Fact("opening", Verdict.VIOLATED, f"A change freeze holds it back until it is due: {freeze.reason}")
    return Fact("opening", Verdict.VIOLATED, "No maintenance window opens before it is due.")


def _day(at: datetime) -> str:
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b %Y}"


def _moment(at: datetime) -> str:
    return f"{_day(at)} {at.astimezone(UTC):%H:%M} UTC"
