"""What happens by the clock: parts of people who left or did not answer go to the next in line, and what nobody
decided by its date is suspended or revoked where the campaign says so. Nothing is kept because nobody answered.

All of it is set-based: a campaign of a hundred thousand items is moved on by a few statements.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection as database

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from reviews.actions.planting import end_decoys, open_decoys
from reviews.models import Campaign
from reviews.models.seating import able
from reviews.states import RUNNING, UNDECIDED, NoAnswer, Passed, Reviewed, Seat, What

ACTOR = Actor.system("reviews")

_ANSWERED = """EXISTS (SELECT 1 FROM reviews_decision d WHERE d.item_id = i.id AND d.round = i.round
  AND d.seat = '{seat}' AND d.withdrawn_at IS NULL AND d.submitted_at IS NOT NULL)"""
# Which parts of items are passed on, from whom and to whom. Those that are in the other chain are passed over, and of
# the second part whoever answers for the item or acts for who does. Where nobody is left it is for any reviewer.
_MOVES = """
CREATE TEMP TABLE review_moves ON COMMIT DROP AS
SELECT i.id AS item, i.{part}_id AS before, x.id AS after, x.is_deputy AND h.id = ANY (i.interested) AS acts_for
FROM reviews_reviewitem i
JOIN reviews_campaign p ON p.id = i.campaign_id
LEFT JOIN inventory_owner h ON h.id = i.{part}_id
LEFT JOIN inventory_owner a ON a.id = i.owner_id
LEFT JOIN inventory_credential c ON c.id = i.credential_id
LEFT JOIN LATERAL (
  SELECT y.id, z.place = 1 AS is_deputy
  FROM (VALUES (1, h.deputy_id), (2, {handler}), (3, h.manager_id), (4, a.manager_id), (5, p.lead_id)) AS z (place, id)
  JOIN inventory_owner y ON y.id = z.id AND {able}
  WHERE NOT y.id = ANY (i.first_chain || i.second_chain) {apart}
  ORDER BY z.place LIMIT 1) x ON true
WHERE p.state = ANY (%(running)s) AND i.state = ANY (%(undecided)s) AND i.{part}_id IS NOT NULL AND {because}
  AND NOT {answered}
"""
_PARTS = (
    (Seat.FIRST, "reviewer", "first_chain", "c.custodian_id", ""),
    (Seat.SECOND, "second", "second_chain", "NULL::uuid", "AND NOT y.id = ANY (i.interested)"),
)
_LEFT = "NOT h.is_active"
_OVERDUE = """i.due_at <= %(now)s AND i.state <> 'disputed'
  AND (p.no_answer = 'escalate' OR i.kind = 'server')"""


@action
def pass_on_departed(*, now: datetime) -> int:
    """Parts of people who have left go to who stands in for them, to their manager or to the lead; how many."""
    return _pass_on(_LEFT, Passed.DEPARTED, "They have left.", now=now, is_late=False)


@action
def escalate_unanswered(*, now: datetime) -> int:
    """Parts that nobody answered by the date go to the next in line, who gets time of their own; how many."""
    moved = _pass_on(_OVERDUE, Passed.ESCALATED, "Nobody answered by the date.", now=now, is_late=True)
    return moved + _extend(now)


def _pass_on(because: str, why: Passed, reason: str, *, now: datetime, is_late: bool) -> int:
    moved = 0
    values = _values(now)
    with database.cursor() as cursor:
        for seat, part, chain, handler, apart in _PARTS:
            cursor.execute("DROP TABLE IF EXISTS review_moves")
            answered = _ANSWERED.format(seat=seat.value)
            cursor.execute(
                _MOVES.format(
                    part=part, handler=handler, able=able("y"), apart=apart, because=because, answered=answered
                ),
                values,
            )
            if not cursor.rowcount:
                continue
            # Locked in the order in which everybody locks items.
            cursor.execute(
                "SELECT 1 FROM reviews_reviewitem i WHERE i.id IN (SELECT m.item FROM review_moves m)"
                " ORDER BY i.id FOR NO KEY UPDATE"
            )
            cursor.execute(
                f"""
                UPDATE reviews_reviewitem i SET {part}_id = m.after, version = i.version + 1,
                  {chain} = CASE WHEN m.after IS NULL THEN i.{chain} ELSE array_append(i.{chain}, m.after) END,
                  interested = CASE WHEN m.acts_for THEN array_append(i.interested, m.after) ELSE i.interested END,
                  needs_second = i.needs_second OR m.after = ANY (i.interested) IS TRUE
                FROM review_moves m WHERE i.id = m.item AND i.{part}_id = m.before"""
            )
            moved += cursor.rowcount
            cursor.execute(
                """
                INSERT INTO reviews_delegation (item_id, seat, why, from_owner_id, to_owner_id, reason, passed_by,
                  passed_by_key, passed_at)
                SELECT m.item, %(seat)s, %(why)s, m.before, m.after, %(reason)s, %(by)s, %(key)s, %(now)s
                FROM review_moves m""",
                {
                    **values,
                    "seat": seat.value,
                    "why": why.value,
                    "reason": reason,
                    "by": ACTOR.label,
                    "key": ACTOR.key,
                },
            )
            cursor.execute(
                """
                UPDATE reviews_decision d SET withdrawn_at = %(now)s FROM review_moves m
                WHERE d.item_id = m.item AND d.seat = %(seat)s AND d.submitted_at IS NULL AND d.withdrawn_at IS NULL""",
                {"now": now, "seat": seat.value},
            )
            _record_by_campaign(cursor, why, seat)
        cursor.execute("DROP TABLE IF EXISTS review_moves")
    return moved


def _values(now: datetime) -> dict[str, Any]:
    return {
        "now": now,
        "running": [each.value for each in RUNNING],
        "undecided": [each.value for each in UNDECIDED],
    }


def _record_by_campaign(cursor: Any, why: Passed, seat: Seat) -> None:
    cursor.execute(
        """
        SELECT i.campaign_id, count(*), encode(sha256(convert_to(string_agg(concat_ws(' ', m.item, m.before, m.after),
          chr(10) ORDER BY m.item), 'UTF8')), 'hex')
        FROM review_moves m JOIN reviews_reviewitem i ON i.id = m.item AND i.decoy IS NULL GROUP BY 1 ORDER BY 1"""
    )
    found = cursor.fetchall()
    campaigns = Campaign.objects.in_bulk([key for key, _, _ in found])
    for key, number, digest in found:
        detail = {"why": why.value, "as": seat.value, "items": number, "digest": digest}
        record(Event.CAMPAIGN_ESCALATED, actor=ACTOR, subject=campaigns[key], detail=detail)


def _extend(now: datetime) -> int:
    """What is overdue and escalates gets another date, also where nobody was left to ask."""
    with database.cursor() as cursor:
        cursor.execute(
            """
            UPDATE reviews_reviewitem i SET due_at = %(now)s + p.escalate_after, escalations = i.escalations + 1,
              version = i.version + 1
            FROM reviews_campaign p
            WHERE p.id = i.campaign_id AND p.state = ANY (%(running)s) AND i.state = ANY (%(undecided)s)
              AND i.due_at <= %(now)s
              AND (p.no_answer = 'escalate' OR i.kind = 'server' OR i.state = 'disputed')""",
            _values(now),
        )
        number: int = cursor.rowcount
        return number


# ── What nobody decided ────────────────────────────────────────────────────────────────────────

_UNANSWERED = """
UPDATE reviews_reviewitem i SET what = %(what)s, by_clock = true, state = 'acting', decided_at = %(now)s,
  acted_at = NULL, first_by = '', first_by_key = '', second_by = '', second_by_key = '', version = i.version + 1
FROM reviews_campaign p
WHERE p.id = i.campaign_id AND p.state = ANY (%(running)s) AND p.no_answer = %(answer)s AND i.due_at <= %(now)s
  AND i.state = ANY (%(undecided)s) AND i.state <> 'disputed' AND i.kind <> %(server)s AND i.decoy IS NULL
RETURNING i.id, i.campaign_id
"""
_BY_CLOCK = """
WITH late AS ({unanswered}), taken_back AS (
  UPDATE reviews_decision d SET withdrawn_at = %(now)s FROM late
  WHERE d.item_id = late.id AND d.submitted_at IS NULL AND d.withdrawn_at IS NULL
), said AS (
  INSERT INTO reviews_decision (item_id, campaign_id, seat, round, what, reason, detail, seen_digest, is_against,
    decided_by, decided_by_key, decided_at, submitted_at)
  SELECT i.id, i.campaign_id, 'clock', i.round, %(what)s, %(reason)s, '{{}}',
    coalesce(nullif(i.drift_digest, ''), i.bound_digest), i.recommendation <> %(what)s, %(by)s, %(key)s,
    %(now)s, %(now)s
  FROM reviews_reviewitem i JOIN late ON late.id = i.id AND i.decoy IS NULL
)
SELECT late.campaign_id, count(*), encode(sha256(convert_to(
  string_agg(late.id::text, chr(10) ORDER BY late.id), 'UTF8')), 'hex') FROM late GROUP BY 1 ORDER BY 1
"""
_DOES: Mapping[NoAnswer, What] = {NoAnswer.SUSPEND: What.SUSPEND, NoAnswer.REVOKE: What.REVOKE}


@action
def act_on_unanswered(*, now: datetime) -> int:
    """Decide what nobody decided by the date, as each campaign said it would; how many. Decoys beside it just end."""
    acted = 0
    end_decoys(open_decoys(due_at__lte=now, campaign__no_answer__in=_DOES, campaign__state__in=RUNNING), now=now)
    for answer, what in _DOES.items():
        with database.cursor() as cursor:
            cursor.execute(
                _BY_CLOCK.format(unanswered=_UNANSWERED),
                {
                    **_values(now),
                    "what": what.value,
                    "answer": answer.value,
                    "server": Reviewed.SERVER.value,
                    "reason": "Nobody answered by the date.",
                    "by": ACTOR.label,
                    "key": ACTOR.key,
                },
            )
            found = cursor.fetchall()
        campaigns = Campaign.objects.in_bulk([key for key, _, _ in found])
        for key, number, digest in found:
            acted += number
            detail = {"what": what.value, "items": number, "digest": digest}
            record(Event.REVIEW_ITEM_UNANSWERED, actor=ACTOR, subject=campaigns[key], detail=detail)
    return acted
