"""What was decided is carried out, and an item closes only once its end was seen: the loop from decision to proof.

Items are carried out one at a time, each in a transaction of its own. What has come to an end is closed in bulk by what
operations, removals and listings say; what failed goes back to its reviewers, with the reason.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection as database

from access.actors import Actor
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.actions import admission, grants, ownership, removals
from inventory.errors import InventoryError
from inventory.models import Credential, Grant, McpClient, McpServer
from inventory.states import ENDED
from lifecycle.actions.requests import request_revocation, request_rotation, resume
from lifecycle.errors import LifecycleError, OperationAlreadyOpen
from lifecycle.models import Operation
from lifecycle.states import OperationKind, OperationState, Trigger
from reviews.models import Campaign, Decision, ReviewItem
from reviews.states import (
    ENDINGS,
    RUNNING,
    SUSPENDED_FOR,
    UNDECIDED,
    CampaignState,
    Ending,
    ItemState,
    Reviewed,
    Seat,
    What,
)

ACTOR = Actor.system("reviews")
AT_ONCE = 200  # items that one run carries out
CLOSED_AT_ONCE = 1_000  # items that one run closes, each with its entry in the audit chain
REDUCED_WITHIN = timedelta(days=30)  # by hand, at the provider; then it is asked again


# ── Carrying out ───────────────────────────────────────────────────────────────────────────────


def to_carry_out() -> list[UUID]:
    """Items of which nobody has begun what was decided, oldest first."""
    waiting = ReviewItem.objects.filter(state=ItemState.ACTING, acted_at=None, campaign__state__in=RUNNING)
    return list(waiting.order_by("id").values_list("pk", flat=True)[:AT_ONCE])


@action
def carry_out(item: UUID, *, now: datetime) -> Operation | None:
    """Begin what was decided about one item; the operation to ring for, if there is one. Done already is done."""
    (row,) = in_order(ReviewItem.objects.select_related("campaign").filter(pk=item))
    if row.state != ItemState.ACTING or row.acted_at is not None or row.campaign.state not in RUNNING:
        return None
    said = _agreed(row)
    row.acted_at = now
    try:
        done = _Act(row, said, now).do()
    except (LifecycleError, InventoryError) as exc:
        _return(row, str(exc), now=now)
        return None
    if isinstance(done, Operation):
        row.operation = done
    elif done is not None:
        row.state, row.closed_at, (row.ending, row.proof) = ItemState.CLOSED, now, done
    row.version += 1
    row.save(update_fields=["acted_at", "operation", "state", "closed_at", "ending", "proof", "version"])
    if row.state == ItemState.CLOSED:
        record(Event.REVIEW_ITEM_CLOSED, actor=ACTOR, subject=row, detail={"ending": row.ending, "said": row.proof})
    else:
        record(Event.REVIEW_ITEM_BEGUN, actor=ACTOR, subject=row, detail={"what": row.what})
    return row.operation


def _agreed(row: ReviewItem) -> Decision:
    seat = Seat.CLOCK if row.by_clock else Seat.FIRST
    said: Decision = Decision.objects.current().select_related("to_owner").get(item=row, round=row.round, seat=seat)
    return said


class _Act:
    """One decision about one thing. Gives an operation, an end that is known at once, or None where others do it."""

    def __init__(self, row: ReviewItem, said: Decision, now: datetime) -> None:
        self.row, self.said, self.now = row, said, now
        reason = f"Review “{row.campaign.name}”, {row.deciders or 'nobody answered'}"
        self.reason = (f"{reason}: {said.reason}" if said.reason else reason)[:1_000]
        self.asked: dict[str, Any] = {"actor": ACTOR, "now": now, "reason": self.reason}

    def do(self) -> Operation | tuple[Ending, str] | None:
        match self.row.kind:
            case Reviewed.CREDENTIAL:
                return self._credential()
            case Reviewed.CLIENT:
                return self._client()
            case Reviewed.GRANT:
                return self._grant()
            case _:
                return self._server()

    def _taken_over(self) -> tuple[Ending, str]:
        return Ending.REASSIGNED, f"{self.said.to_owner} answers for it since then."

    def _credential(self) -> Operation | tuple[Ending, str] | None:
        credential = Credential.objects.get(pk=self.row.subject_id)
        if not credential.is_live:
            return Ending.GONE, "It had ended before."
        match self.row.what:
            case What.REASSIGN:
                rows = Credential.objects.filter(pk=credential.pk)
                ownership.assign_owner(rows, self._taker(), actor=ACTOR, reason=self.reason)
                return self._taken_over()
            case What.REDUCE:
                return None
        open_one = Operation.objects.open().filter(credential=credential).first()
        is_rotation = self.row.what == What.ROTATE
        wanted = OperationKind.ROTATION if is_rotation else OperationKind.REVOCATION
        if open_one is not None and open_one.kind == wanted:
            if open_one.state == OperationState.STALLED:
                resume(open_one, **self.asked)
            return open_one
        if is_rotation:
            if open_one is not None:
                raise OperationAlreadyOpen("A revocation of it is under way, so it cannot be rotated. Decide again.")
            return request_rotation(credential, trigger=Trigger.REVIEW, **self.asked)
        quiet = SUSPENDED_FOR if self.row.what == What.SUSPEND else None
        return request_revocation(credential, trigger=Trigger.REVIEW, quiet=quiet, **self.asked)

    def _client(self) -> tuple[Ending, str] | None:
        rows = McpClient.objects.filter(pk=self.row.subject_id)
        if not rows.present().exists():
            return Ending.GONE, "It was no longer there."
        match self.row.what:
            case What.REASSIGN:
                ownership.assign_client_owner(rows, self._taker(), actor=ACTOR, reason=self.reason)
                return self._taken_over()
            case What.SUSPEND:
                admission.suspend(rows, **self.asked)
                return Ending.SUSPENDED, "It is recorded as suspended."
        removals.announce_removals(rows, is_despite_use=True, **self.asked)
        return None

    def _grant(self) -> tuple[Ending, str]:
        rows = Grant.objects.filter(pk=self.row.subject_id)
        grant = rows.get()
        if grant.withdrawn_at is not None:
            return Ending.GONE, "It was withdrawn before."
        if self.row.what == What.REDUCE:
            left = {"tools": grant.tools, "scopes": grant.scopes, **self.said.detail}
            left = {name: [one for one in values if one in getattr(grant, name)] for name, values in left.items()}
            grants.change_grant(grant, resources=grant.resources, **left, **self.asked)
            return Ending.REDUCED, "The grant names no more than was decided."
        grants.withdraw_grants(rows, **self.asked)
        return ENDINGS[self.row.what], "The grant is withdrawn."

    def _server(self) -> tuple[Ending, str]:
        rows = McpServer.objects.filter(pk=self.row.subject_id)
        ownership.assign_server_owner(rows, self.said.detail["role"], self._taker(), actor=ACTOR, reason=self.reason)
        return self._taken_over()

    def _taker(self) -> Any:
        return self.said.to_owner


def _return(row: ReviewItem, why: str, *, now: datetime) -> None:
    """Part of an action that holds the item: its reviewers decide anew, in another round."""
    row.state, row.returned_reason, row.round = ItemState.RETURNED, why[:2_000], row.round + 1
    row.what = row.first_by = row.first_by_key = row.second_by = row.second_by_key = ""
    row.by_clock, row.decided_at, row.acted_at = False, None, None
    row.due_at = now + row.campaign.escalate_after
    row.version += 1
    row.save(
        update_fields=[
            "state", "returned_reason", "round", "what", "first_by", "first_by_key", "second_by", "second_by_key",
            "by_clock", "decided_at", "acted_at", "due_at", "version",
        ]
    )  # fmt: skip
    record(Event.REVIEW_ITEM_RETURNED, actor=ACTOR, subject=row, detail={"reason": row.returned_reason})


# ── What came of it ────────────────────────────────────────────────────────────────────────────

# What has been seen to be so, with how it is known: of what is carried out or came back, which is little, and of what
# nobody has decided.
_BEGUN = "(i.state = 'acting' AND i.acted_at IS NOT NULL OR i.state = 'returned')"
_UNDECIDED = "i.state = ANY (%(undecided)s)"
_ENDED = """
SELECT i.id, x.ending, x.proof FROM reviews_reviewitem i
JOIN reviews_campaign p ON p.id = i.campaign_id AND p.state = ANY (%(running)s)
LEFT JOIN lifecycle_operation o ON o.id = i.operation_id
LEFT JOIN inventory_credential c ON c.id = i.credential_id
LEFT JOIN inventory_mcpclient k ON k.id = i.client_id
LEFT JOIN inventory_grant g ON g.id = i.grant_id
LEFT JOIN inventory_mcpserver s ON s.id = i.server_id
LEFT JOIN reviews_decision d ON d.item_id = i.id AND d.round = i.round AND d.seat = 'first' AND d.withdrawn_at IS NULL
  AND i.what = 'reduce'
CROSS JOIN LATERAL (SELECT
  CASE
    WHEN o.state = 'completed' AND o.proof = 'verified' THEN
      CASE WHEN o.kind = 'rotation' THEN 'rotated' WHEN i.what = 'suspend' THEN 'suspended' ELSE 'revoked' END
    WHEN i.what = 'suspend' AND o.kind = 'revocation' AND o.refused_at IS NOT NULL THEN 'suspended'
    WHEN i.what = 'revoke' AND k.admission = 'removed' THEN 'revoked'
    WHEN i.what = 'reduce' AND c.id IS NOT NULL AND d.detail ? 'scopes'
      AND to_jsonb(c.scopes) <@ (d.detail -> 'scopes') THEN 'reduced'
    WHEN i.operation_id IS NOT NULL THEN NULL
    WHEN c.status = ANY (%(ended)s) OR c.gone_at IS NOT NULL THEN 'gone'
    WHEN k.gone_at IS NOT NULL OR k.admission = 'removed' THEN 'gone'
    WHEN g.withdrawn_at IS NOT NULL THEN 'gone'
    WHEN s.gone_at IS NOT NULL THEN 'gone'
  END AS ending,
  CASE
    WHEN o.state = 'completed' AND o.proof = 'verified' THEN coalesce(nullif(o.proof_reason, ''), 'Seen refused.')
    WHEN i.what = 'suspend' AND o.refused_at IS NOT NULL THEN 'It was seen refused.'
    WHEN i.what = 'revoke' AND k.admission = 'removed' THEN 'Its registration was removed.'
    WHEN i.what = 'reduce' THEN 'Its provider lists no more scopes than were decided.'
    ELSE 'It came to its end by itself, or by somebody else.'
  END AS proof) x
WHERE {which} AND x.ending IS NOT NULL
ORDER BY i.id LIMIT %(most)s
"""
# What failed, with why.
_FAILED = """
SELECT i.id, x.why FROM reviews_reviewitem i
JOIN reviews_campaign p ON p.id = i.campaign_id AND p.state = ANY (%(running)s)
LEFT JOIN lifecycle_operation o ON o.id = i.operation_id
LEFT JOIN LATERAL (SELECT r.stage, r.ended_reason, r.error FROM inventory_clientremoval r
  WHERE r.client_id = i.client_id AND r.announced_at >= i.acted_at ORDER BY r.id DESC LIMIT 1) r
  ON i.client_id IS NOT NULL
CROSS JOIN LATERAL (SELECT CASE
  WHEN o.state = 'cancelled' THEN 'The operation was cancelled: ' || o.closed_reason
  WHEN o.state = 'stalled' THEN 'The operation gave up: ' || coalesce(nullif(o.error, ''), 'nobody knows why')
  WHEN r.stage IN ('withdrawn', 'stopped') THEN 'The removal ended: ' || r.ended_reason
  WHEN r.stage = 'stalled' THEN 'The removal gave up: ' || r.error
  WHEN i.what = 'reduce' AND i.credential_id IS NOT NULL AND i.acted_at < %(patience)s
    THEN 'Its provider still lists more scopes than were decided.'
END AS why) x
WHERE i.state = 'acting' AND i.acted_at IS NOT NULL AND x.why IS NOT NULL
ORDER BY i.id LIMIT %(most)s
"""


def follow(*, now: datetime) -> dict[str, int]:
    """Close what has ended, return what failed, and follow operations into what took their place."""
    moved = _follow_superseding()
    closed = _close_ended(_BEGUN, now=now)
    with database.cursor() as cursor:
        cursor.execute(_FAILED, {**_known(), "patience": now - REDUCED_WITHIN})
        failed = dict(cursor.fetchall())
    returned = give_back(failed, now=now) if failed else 0
    return {"closed": closed, "returned": returned, "followed": moved}


def close_what_is_gone(*, now: datetime) -> int:
    """Close undecided items whose subject came to its end by itself; how many. Looks at every one of them."""
    return _close_ended(_UNDECIDED, now=now)


def _known() -> dict[str, Any]:
    return {
        "running": [each.value for each in RUNNING],
        "undecided": [each.value for each in UNDECIDED],
        "ended": [each.value for each in ENDED],
        "most": CLOSED_AT_ONCE,
    }


def _close_ended(which: str, *, now: datetime) -> int:
    with database.cursor() as cursor:
        cursor.execute(_ENDED.format(which=which), _known())
        ended = cursor.fetchall()
    return close({key: (Ending(ending), proof) for key, ending, proof in ended}, now=now) if ended else 0


@action
def _follow_superseding() -> int:
    """A revocation that took the place of what was asked for ends the credential too: the item goes with it."""
    behind = {"state__in": [ItemState.ACTING, ItemState.RETURNED], "operation__state": OperationState.SUPERSEDED}
    rows = in_order(ReviewItem.objects.filter(**behind))
    followers = Operation.objects.filter(supersedes__in=[row.operation_id for row in rows])
    instead = {each.supersedes_id: each for each in followers}
    moved = [row for row in rows if row.operation_id in instead]
    for row in moved:
        detail = {"what": row.what, "instead_of": str(row.operation_id)}
        row.operation = instead[row.operation_id]
        row.version += 1
        record(Event.REVIEW_ITEM_BEGUN, actor=ACTOR, subject=row, detail=detail)
    ReviewItem.objects.bulk_update(moved, ["operation", "version"], batch_size=500)
    return len(moved)


@action
def close(ended: dict[UUID, tuple[Ending, str]], *, now: datetime) -> int:
    rows = [row for row in in_order(ReviewItem.objects.filter(pk__in=list(ended))) if row.closed_at is None]
    for row in rows:
        row.state, row.closed_at = ItemState.CLOSED, now
        row.ending, row.proof = ended[row.pk]
        row.version += 1
        if row.ending != Ending.GONE and not (row.first_by_key or row.second_by_key or row.by_clock):
            row.ending = Ending.GONE  # it had come back to its reviewers, and ended before they decided anew
        record(Event.REVIEW_ITEM_CLOSED, actor=ACTOR, subject=row, detail={"ending": row.ending, "said": row.proof})
    ReviewItem.objects.bulk_update(rows, ["state", "closed_at", "ending", "proof", "version"], batch_size=500)
    return len(rows)


@action
def give_back(failed: dict[UUID, str], *, now: datetime) -> int:
    rows = in_order(ReviewItem.objects.select_related("campaign").filter(pk__in=list(failed), state=ItemState.ACTING))
    for row in rows:
        _return(row, failed[row.pk], now=now)
    return len(rows)


@action
def begin_closing(*, now: datetime) -> int:
    """Campaigns in which nothing is left to decide; how many are closing from now on."""
    undecided = ReviewItem.objects.undecided().order_by().values("campaign")
    rows: Sequence[Campaign] = in_order(Campaign.objects.filter(state=CampaignState.OPEN).exclude(pk__in=undecided))
    Campaign.objects.filter(pk__in=[row.pk for row in rows]).update(state=CampaignState.CLOSING)
    for row in rows:
        record(Event.CAMPAIGN_CLOSING, actor=ACTOR, subject=row)
    return len(rows)
