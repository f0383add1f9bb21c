"""What reviewers decide: alone where they may, in twos where nobody decides alone, undone until it is submitted.

Nobody decides alone about what they answer for, and neither does whoever acts for them, whatever roles they hold. The
database holds the same: two parts of an item are of two people, and nobody stands in both chains.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db.models import F

from access.actors import Actor, ActorKind
from access.rights import Right
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.actions.confirmation import confirm_credentials
from inventory.models import Credential, Owner
from inventory.states import OwnerKind
from lifecycle.actions.findings import LONGEST_REASON, refuse_secrets
from lifecycle.errors import ReasonMissing
from reviews.actions.approvals import bind
from reviews.actions.planting import end_left_alone, tell
from reviews.errors import (
    CampaignNotRunning,
    ChangedMeanwhile,
    DelegateInactive,
    DelegateIsNobody,
    FactsChanged,
    ItemDecided,
    ItemNotVisible,
    NotAlike,
    NotAllowedHere,
    NotAPerson,
    NothingDelegated,
    NothingToSubmit,
    NothingToUndo,
    NotYourItem,
    OwnDelegate,
    OwnItem,
    ReasonNeeded,
    SameChain,
    ScopesMissing,
    TakerMissing,
)
from reviews.models import Campaign, Decision, Delegation, ReviewItem
from reviews.models.subjects import BOUND, Present, at_present
from reviews.states import (
    ALLOWED,
    RUNNING,
    Ending,
    ItemState,
    Passed,
    Reviewed,
    Seat,
    What,
)

MOST = 1_000  # items in one go
PAUSE = timedelta(minutes=30)  # after which nobody was still reading the same item
SERVER_ROLES = ("iam_owner", "platform_owner", "application_owner")
REVIEWS = Actor.system("reviews")


# ── Who may ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Person:
    """Whoever decides: as an actor, and as the owner that they are, if any."""

    actor: Actor
    owner: UUID | None

    @classmethod
    def of(cls, actor: Actor) -> "_Person":
        if actor.kind is not ActorKind.USER:
            raise NotAPerson
        return cls(actor, Owner.objects.being(actor).values_list("pk", flat=True).first())

    def seat_in(self, row: ReviewItem, said: Mapping[str, Decision]) -> Seat:
        """The part that they take in this item. Raises NotYourItem, OwnItem, ItemDecided."""
        if self.owner is not None and self.owner == row.reviewer_id:
            return Seat.FIRST
        if self.owner is not None and self.owner == row.second_id:
            return Seat.SECOND
        if not self.actor.may_everywhere(Right.REVIEW):
            raise NotYourItem
        first, second = said.get(Seat.FIRST), said.get(Seat.SECOND)
        is_first_free = row.reviewer_id is None and (first is None or first.decided_by_key == self.actor.key)
        if is_first_free and self.owner not in row.second_chain and not self._is_of(second):
            return Seat.FIRST
        is_second_free = row.needs_second and row.second_id is None
        if not is_second_free or (second is not None and second.decided_by_key != self.actor.key):
            raise NotYourItem
        if self._is_of(first) or self.owner in row.first_chain or self.owner in row.interested:
            raise OwnItem
        return Seat.SECOND

    def _is_of(self, said: Decision | None) -> bool:
        return said is not None and said.decided_by_key == self.actor.key


# ── Deciding ───────────────────────────────────────────────────────────────────────────────────


@action
def decide(
    items: Collection[UUID],
    what: What,
    *,
    actor: Actor,
    now: datetime,
    reason: str = "",
    to: Owner | None = None,
    detail: Mapping[str, Any] | None = None,
    seen: Mapping[UUID, int] | None = None,
) -> int:
    """Decide about one item, or several that are alike; how many. Nothing comes of it before it is submitted.

    `seen` has by item the version that was looked at. Raises NotYourItem, OwnItem, NotAlike, ReasonNeeded,
    NotAllowedHere, ChangedMeanwhile, FactsChanged, ItemDecided and what a decision lacks.
    """
    reason = _as_said(reason)
    person = _Person.of(actor)
    rows = _locked_items(items, actor)
    _check_alike(rows, what)
    is_against = what != rows[0].recommendation
    if (is_against or (what is What.KEEP and len(rows) > 1)) and not reason:
        raise ReasonNeeded
    if seen is not None and any(seen.get(row.pk) != row.version for row in rows):
        raise ChangedMeanwhile
    present = _still_so(rows, now)
    given = _complete(rows, what, to, dict(detail or {}))
    said = _said_of(rows)
    made: list[Decision] = []
    taken: list[Delegation] = []
    group = uuid4() if len(rows) > 1 else None
    took = _took(rows[0].campaign_id, actor, len(rows), now)
    for row in rows:
        row.interested = _with_new_owners(row, present[row.pk], person)
        seat = person.seat_in(row, said.get(row.pk, {}))
        before = said.get(row.pk, {}).get(seat)
        if before is not None and before.submitted_at is not None and row.state != ItemState.DISPUTED:
            raise ItemDecided
        if seat is Seat.SECOND and person.owner in row.interested:
            raise OwnItem
        _sit(row, seat, person, taken, now)
        if seat is Seat.FIRST and person.owner in row.interested:
            row.needs_second = True
        row.version += 1
        made.append(
            Decision(
                item=row,
                campaign_id=row.campaign_id,
                seat=seat,
                round=row.round,
                what=what,
                reason=reason,
                to_owner=to if what is What.REASSIGN else None,
                detail=given,
                seen_digest=present[row.pk].digest,
                is_against=is_against,
                group=group,
                took=took,
                decided_by=actor.label[:200],
                decided_by_key=actor.key,
                decided_at=now,
            )
        )
    _withdraw(rows, actor, now)
    ReviewItem.with_decoys.bulk_update(
        rows,
        ["interested", "needs_second", "reviewer", "second", "first_chain", "second_chain", "version"],
        batch_size=500,
    )
    Delegation.objects.bulk_create(taken)
    Decision.objects.bulk_create(made)
    for row, decision in zip(rows, made, strict=True):
        detail_said = {"what": what.value, "as": decision.seat, "against": is_against, "reason": reason}
        record(Event.REVIEW_ITEM_DECIDED, actor=actor, subject=row, detail=detail_said)
    return len(rows)


def _as_said(reason: str) -> str:
    reason = reason.strip()
    if len(reason) > LONGEST_REASON:
        raise ReasonMissing
    refuse_secrets(reason)
    return reason


def _locked_items(items: Collection[UUID], actor: Actor, *, may_be_decided: bool = False) -> list[ReviewItem]:
    """Undecided items of one running campaign that this actor sees, in order."""
    wanted = set(items)
    if not wanted or len(wanted) > MOST:
        raise ItemNotVisible
    visible = ReviewItem.with_decoys.visible_to(actor).filter(pk__in=wanted)
    rows = in_order(ReviewItem.with_decoys.select_related("campaign").filter(pk__in=visible.order_by().values("pk")))
    if len(rows) != len(wanted):
        raise ItemNotVisible
    if len({row.campaign_id for row in rows}) != 1:
        raise NotAlike
    if rows[0].campaign.state not in RUNNING:
        raise CampaignNotRunning
    if not may_be_decided and any(not row.is_undecided for row in rows):
        raise ItemDecided
    return rows


def _check_alike(rows: Sequence[ReviewItem], what: What) -> None:
    if len({row.alike for row in rows}) != 1:
        raise NotAlike
    if what not in ALLOWED[rows[0].kind]:
        raise NotAllowedHere


def _complete(rows: Sequence[ReviewItem], what: What, to: Owner | None, detail: dict[str, Any]) -> dict[str, Any]:
    """What else a decision says, checked: who takes over, in which part, and what remains."""
    kind = rows[0].kind
    if what is What.REASSIGN:
        if to is None or not to.is_active:
            raise TakerMissing
        if kind != Reviewed.SERVER:
            return {}
        if detail.get("role") not in SERVER_ROLES:
            raise TakerMissing("Say as which owner they take over: iam_owner, platform_owner or application_owner.")
        return {"role": detail["role"]}
    if what is not What.REDUCE:
        return {}
    remains = {name: sorted(set(detail[name])) for name in ("scopes", "tools") if detail.get(name) is not None}
    if (kind == Reviewed.CREDENTIAL and "scopes" not in remains) or not remains:
        raise ScopesMissing
    for row in rows:
        has = {"scopes": set(row.facts["scopes"]), "tools": set(row.facts.get("granted", ()))}
        if any(not set(left) <= has[name] for name, left in remains.items()):
            raise ScopesMissing
        if all(set(left) == has[name] for name, left in remains.items()):
            raise ScopesMissing
    return remains


def _said_of(rows: Sequence[ReviewItem]) -> dict[UUID, dict[str, Decision]]:
    """By item and part, what is decided in this round."""
    found: dict[UUID, dict[str, Decision]] = {}
    rounds = {row.pk: row.round for row in rows}
    for said in Decision.with_decoys.current().filter(item__in=list(rounds)).exclude(seat=Seat.CLOCK):
        if said.round == rounds[said.item_id]:
            found.setdefault(said.item_id, {})[said.seat] = said
    return found


def _sit(row: ReviewItem, seat: Seat, person: _Person, taken: list[Delegation], now: datetime) -> None:
    """A part that was for any reviewer is theirs from now on."""
    column = "reviewer_id" if seat is Seat.FIRST else "second_id"
    if person.owner is None or getattr(row, column) == person.owner:
        return
    setattr(row, column, person.owner)
    chain = "first_chain" if seat is Seat.FIRST else "second_chain"
    setattr(row, chain, _joined(getattr(row, chain), person.owner))
    taken.append(
        _passed(
            row,
            seat,
            Passed.REASSIGNED,
            before=None,
            after=person.owner,
            actor=person.actor,
            now=now,
            reason="Taken over.",
        )
    )


def _joined(chain: Iterable[UUID], key: UUID) -> list[UUID]:
    return list(dict.fromkeys([*chain, key]))


def _passed(
    row: ReviewItem,
    seat: Seat,
    why: Passed,
    *,
    before: UUID | None,
    after: UUID | None,
    actor: Actor,
    now: datetime,
    reason: str,
) -> Delegation:
    return Delegation(
        item=row,
        seat=seat,
        why=why,
        from_owner_id=before,
        to_owner_id=after,
        reason=reason,
        passed_by=actor.label[:200],
        passed_by_key=actor.key,
        passed_at=now,
    )


def _with_new_owners(row: ReviewItem, present: Present, person: _Person) -> list[UUID]:
    """Those who answer for it, and whoever has come to do so since it was frozen and now decides."""
    if person.owner in present.owners and person.owner not in row.interested:
        if person.owner in row.second_chain:
            raise OwnItem
        return _joined(row.interested, person.owner)
    return row.interested


def _withdraw(rows: Sequence[ReviewItem], actor: Actor, now: datetime) -> None:
    """What the same person had decided about these before, in this round."""
    before = Decision.with_decoys.current().filter(item__in=[row.pk for row in rows], decided_by_key=actor.key)
    before.filter(round=F("item__round")).update(withdrawn_at=now)


def _took(campaign: UUID, actor: Actor, number: int, now: datetime) -> timedelta | None:
    """How long each took, as far as can be told: since the last decision of the same person, unless they had left."""
    last: datetime | None = (
        Decision.with_decoys.filter(campaign=campaign, decided_by_key=actor.key)
        .order_by("-decided_at")
        .values_list("decided_at", flat=True)
        .first()
    )
    if last is None or not timedelta(0) <= now - last < PAUSE:
        return None
    return (now - last) / number


# ── What has changed since ─────────────────────────────────────────────────────────────────────


def _present(rows: Sequence[ReviewItem], now: datetime) -> dict[UUID, Present]:
    found = {row.pk: Present(row.seen_digest, row.facts, frozenset()) for row in rows if row.decoy}
    for kind in {row.kind for row in rows}:
        of_kind = {row.subject_id: row.pk for row in rows if row.kind == kind and not row.decoy}
        for subject, present in at_present(kind, of_kind, now=now).items():
            found[of_kind[subject]] = present
    return found


def _still_so(rows: Sequence[ReviewItem], now: datetime) -> dict[UUID, Present]:
    """What each item is bound to now. Raises FactsChanged where that is not what its reviewers last saw."""
    present = _present(rows, now)
    moved = [row for row in rows if present[row.pk].digest != row.seen_digest]
    if moved:
        what = [name for row in moved for name in _differs(row, present[row.pk]) or ["something"]]
        raise FactsChanged([row.name for row in moved], what)
    return present


def _differs(row: ReviewItem, present: Present) -> dict[str, Any]:
    return {
        name: [row.facts.get(name), present.facts.get(name)]
        for name in BOUND
        if row.facts.get(name) != present.facts.get(name)
    }


@action
def look_again(items: Collection[UUID], *, actor: Actor, now: datetime) -> int:
    """Take note of what has changed since items were frozen, beside what was frozen; of how many.

    What was decided and not submitted about those is withdrawn: it was about something else.
    """
    rows = _locked_items(items, actor)
    return note_drift(rows, actor=actor, now=now)


def note_drift(rows: Sequence[ReviewItem], *, actor: Actor, now: datetime) -> int:
    """Part of an action that holds these items."""
    present = _present(rows, now)
    moved = [row for row in rows if present[row.pk].digest != row.seen_digest]
    for row in moved:
        found = present[row.pk]
        row.drift, row.drift_digest, row.drift_at = _differs(row, found), found.digest, now
        row.version += 1
        detail = {"differs": sorted(row.drift)}
        record(Event.REVIEW_ITEM_LOOKED_AT, actor=actor, subject=row, detail=detail)
    ReviewItem.with_decoys.bulk_update(moved, ["drift", "drift_digest", "drift_at", "version"], batch_size=500)
    Decision.with_decoys.current().filter(item__in=[row.pk for row in moved], submitted_at=None).update(
        withdrawn_at=now
    )
    return len(moved)


# ── Undo, submit ───────────────────────────────────────────────────────────────────────────────


@action
def undo(items: Collection[UUID], *, actor: Actor, now: datetime) -> int:
    """Take back one's own decisions that were not submitted; how many."""
    person = _Person.of(actor)
    rows = {row.pk: row for row in _locked_items(items, actor)}
    mine = Decision.with_decoys.current().filter(
        item__in=list(rows), decided_by_key=person.actor.key, submitted_at=None
    )
    undone = set(mine.values_list("item_id", flat=True))
    if not undone:
        raise NothingToUndo
    mine.update(withdrawn_at=now)
    for key in undone:
        rows[key].version += 1
        record(Event.REVIEW_ITEM_UNDONE, actor=actor, subject=rows[key])
    ReviewItem.with_decoys.bulk_update([rows[key] for key in undone], ["version"], batch_size=500)
    return len(undone)


@dataclass(slots=True)
class Submitted:
    """What came of a submission: how many, and the items whose facts changed meanwhile, which wait for another look."""

    decisions: int = 0
    kept: int = 0
    disputed: int = 0
    begun: int = 0
    waiting: int = 0
    decoys: int = 0
    found: int = 0
    changed: list[UUID] = field(default_factory=list)


@action
def submit(campaign: Campaign, *, actor: Actor, now: datetime, items: Collection[UUID] | None = None) -> Submitted:
    """Stand by one's decisions in a campaign, MOST at a time. What is kept closes; the rest is carried out."""
    _Person.of(actor)
    own = Decision.with_decoys.current().filter(
        campaign=campaign, decided_by_key=actor.key, submitted_at=None, seat__in=[Seat.FIRST, Seat.SECOND]
    )
    if items is not None:
        own = own.filter(item__in=list(items))
    keys = list(own.order_by("item_id").values_list("item_id", flat=True)[:MOST])
    if not keys:
        raise NothingToSubmit
    rows = [row for row in _locked_items(keys, actor, may_be_decided=True) if row.is_undecided]
    present = _present(rows, now)
    said = {each.item_id: each for each in own.filter(item__in=[row.pk for row in rows])}
    done = Submitted()
    done.changed = [row.pk for row in rows if row.pk in said and said[row.pk].seen_digest != present[row.pk].digest]
    note_drift([row for row in rows if row.pk in done.changed], actor=actor, now=now)
    standing = [row for row in rows if row.pk in said and row.pk not in done.changed]
    Decision.with_decoys.filter(pk__in=[said[row.pk].pk for row in standing]).update(submitted_at=now)
    decoys, standing = [row for row in standing if row.decoy], [row for row in standing if not row.decoy]
    done.decisions, done.decoys, done.found = len(standing), len(decoys), tell(decoys, said, now=now)
    settle(standing, now=now, done=done)
    counts = {name: getattr(done, name) for name in ("decisions", "kept", "disputed", "begun", "waiting")}
    if decoys:
        counts |= {"decoys": done.decoys, "found": done.found}
    record(Event.CAMPAIGN_SUBMITTED, actor=actor, subject=campaign, detail={**counts, "changed": len(done.changed)})
    return done


def settle(rows: Sequence[ReviewItem], *, now: datetime, done: Submitted) -> None:
    """Part of an action that holds these items, none of them a decoy: what follows from what was submitted."""
    said = _said_of(rows)
    kept: list[ReviewItem] = []
    for row in rows:
        row.version += 1
        found = {seat: each for seat, each in said.get(row.pk, {}).items() if each.submitted_at is not None}
        first, second = found.get(Seat.FIRST), found.get(Seat.SECOND)
        parts = [first, second] if row.needs_second else [first]
        if any(each is None for each in parts):
            done.waiting += 1
            continue
        made = [each for each in parts if each is not None]
        if len({(each.what, each.to_owner_id, str(sorted(each.detail.items()))) for each in made}) > 1:
            row.state = ItemState.DISPUTED
            done.disputed += 1
            continue
        row.what, row.decided_at, row.state, row.acted_at = made[0].what, now, ItemState.ACTING, None
        row.first_by, row.first_by_key = made[0].decided_by, made[0].decided_by_key
        if len(made) > 1:
            row.second_by, row.second_by_key = made[1].decided_by, made[1].decided_by_key
        if row.what == What.KEEP:
            kept.append(row)
            done.kept += 1
        else:
            done.begun += 1
    _keep(kept, now=now)
    ReviewItem.objects.bulk_update(
        rows,
        [
            "version", "state", "what", "decided_at", "acted_at", "first_by", "first_by_key", "second_by",
            "second_by_key", "ending", "proof", "closed_at",
        ],
        batch_size=500,
    )  # fmt: skip
    for row in kept:
        detail = {"ending": row.ending, "by": row.deciders}
        record(Event.REVIEW_ITEM_CLOSED, actor=REVIEWS, subject=row, detail=detail)


def _keep(rows: Sequence[ReviewItem], *, now: datetime) -> None:
    """Kept: it is confirmed as needed, and the approval is bound to what was approved."""
    if not rows:
        return
    credentials = {row.credential_id: row for row in rows if row.credential_id is not None}
    live = set(Credential.objects.live().filter(pk__in=list(credentials)).values_list("pk", flat=True))
    for row in rows:
        is_ended = row.credential_id is not None and row.credential_id not in live
        row.state, row.closed_at = ItemState.CLOSED, now
        row.ending = Ending.GONE if is_ended else Ending.KEPT
        row.proof = "It had ended before." if is_ended else f"Kept by {row.deciders}, as it was found to be."
    by_people: dict[str, list[UUID]] = {}
    for key in live:
        by_people.setdefault(credentials[key].deciders, []).append(key)
    name = rows[0].campaign.name
    for people, keys in by_people.items():
        confirm_credentials(keys, actor=REVIEWS, now=now, reason=f"Kept in {name} by {people}"[:LONGEST_REASON])
    bind([row for row in rows if row.ending == Ending.KEPT], now=now)


# ── Passing on ─────────────────────────────────────────────────────────────────────────────────


@action
def delegate(items: Collection[UUID], to: Owner, *, actor: Actor, now: datetime, reason: str) -> int:
    """Hand one's own part of items to somebody else, who acts for oneself from then on; how many."""
    person = _Person.of(actor)
    reason = _as_said(reason)
    if not reason:
        raise ReasonNeeded
    rows = _locked_items(items, actor)
    seats = {}
    for row in rows:
        if person.owner is None or person.owner not in {row.reviewer_id, row.second_id}:
            raise NothingDelegated
        seats[row.pk] = Seat.FIRST if person.owner == row.reviewer_id else Seat.SECOND
    return _pass_on(rows, seats, to, Passed.DELEGATED, actor=actor, now=now, reason=reason)


@action
def reassign(items: Collection[UUID], seat: Seat, to: Owner, *, actor: Actor, now: datetime, reason: str) -> int:
    """Give one part of items to somebody else; for the lead and for reviewers, who leave alone what they answer for."""
    person = _Person.of(actor)
    reason = _as_said(reason)
    if not reason:
        raise ReasonNeeded
    rows = _locked_items(items, actor)
    if not actor.may_everywhere(Right.REVIEW) and (person.owner is None or person.owner != rows[0].campaign.lead_id):
        raise NotYourItem
    for row in rows:
        # Whoever answers for something does not choose who looks at it beside them.
        if person.owner is not None and person.owner in {*row.interested, *row.first_chain} and seat is Seat.SECOND:
            raise OwnItem
        if person.owner is not None and person.owner in row.second_chain and seat is Seat.FIRST:
            raise OwnItem
    seats = dict.fromkeys((row.pk for row in rows), seat)
    return _pass_on(rows, seats, to, Passed.REASSIGNED, actor=actor, now=now, reason=reason)


def _pass_on(
    rows: Sequence[ReviewItem],
    seats: Mapping[UUID, Seat],
    to: Owner,
    why: Passed,
    *,
    actor: Actor,
    now: datetime,
    reason: str,
) -> int:
    if not to.is_active:
        raise DelegateInactive
    if to.kind != OwnerKind.PERSON and to.user_id is None:
        raise DelegateIsNobody
    said = _said_of(rows)
    passed = []
    for row in rows:
        seat = seats[row.pk]
        column, chain, other = (
            ("reviewer_id", "first_chain", row.second_chain)
            if seat is Seat.FIRST
            else ("second_id", "second_chain", [*row.first_chain])
        )
        before: UUID | None = getattr(row, column)
        made = said.get(row.pk, {}).get(seat)
        if made is not None and made.submitted_at is not None and row.state != ItemState.DISPUTED:
            raise ItemDecided
        if seat is Seat.SECOND and to.pk in row.interested:
            raise OwnDelegate
        if to.pk in other:
            raise SameChain
        if before == to.pk:
            continue
        setattr(row, column, to.pk)
        setattr(row, chain, _joined(getattr(row, chain), to.pk))
        if seat is Seat.FIRST and why is Passed.DELEGATED and before in row.interested:
            row.interested = _joined(row.interested, to.pk)
        if seat is Seat.FIRST and to.pk in row.interested:
            row.needs_second = True
        if seat is Seat.SECOND:
            row.needs_second = True
        row.version += 1
        passed.append(_passed(row, seat, why, before=before, after=to.pk, actor=actor, now=now, reason=reason))
    if not passed:
        raise NothingDelegated
    for seat in (Seat.FIRST, Seat.SECOND):
        keys = [each.item_id for each in passed if each.seat == seat]
        Decision.with_decoys.current().filter(item__in=keys, seat=seat, submitted_at=None).update(withdrawn_at=now)
    by_key = {row.pk: row for row in rows}
    _reopen_disputed([by_key[each.item_id] for each in passed], seats, now)
    ReviewItem.with_decoys.bulk_update(
        rows,
        ["reviewer", "second", "first_chain", "second_chain", "interested", "needs_second", "version", "state"],
        batch_size=500,
    )
    Delegation.objects.bulk_create(passed)
    for each in passed:
        detail = {"to": to.name, "as": each.seat, "why": why.value, "reason": reason}
        record(Event.REVIEW_ITEM_PASSED_ON, actor=actor, subject=by_key[each.item_id], detail=detail)
    if why is Passed.REASSIGNED:  # by somebody who does not see what stands beside these
        end_left_alone(rows[0].campaign_id, {each.from_owner_id for each in passed if each.seat == Seat.FIRST}, now=now)
    return len(passed)


def _reopen_disputed(rows: Sequence[ReviewItem], seats: Mapping[UUID, Seat], now: datetime) -> None:
    """Where reviewers disagree and one of them is replaced, the other's word stands and that part is open."""
    disputed = [row for row in rows if row.state == ItemState.DISPUTED]
    for row in disputed:
        row.state = ItemState.OPEN
    for seat in {seats[row.pk] for row in disputed}:
        of_seat = Decision.with_decoys.current().filter(item__in=[row.pk for row in disputed if seats[row.pk] is seat])
        of_seat.filter(seat=seat, round=F("item__round")).update(withdrawn_at=now)
