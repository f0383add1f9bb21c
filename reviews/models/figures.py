"""How a campaign goes: what stands how, and how reviewers decide. Reads, each one statement."""

from typing import Any
from uuid import UUID

from django.db import connection as database

from reviews.states import QUICK, UNDECIDED

_UNDECIDED = ", ".join(f"'{state.value}'" for state in UNDECIDED)


# One look at every item: what stands how, and of whom which of it waits. An item waits for each part in which nothing
# of this round is submitted.
_STANDING = f"""
WITH said AS (
  SELECT d.item_id, d.round, bool_or(d.seat = 'first') AS is_first, bool_or(d.seat = 'second') AS is_second
  FROM reviews_decision d
  WHERE d.campaign_id = %(campaign)s AND d.withdrawn_at IS NULL AND d.submitted_at IS NOT NULL GROUP BY 1, 2
), stands AS MATERIALIZED (
  SELECT i.state, i.ending, i.what <> i.recommendation AND i.what <> '' AS is_against, i.reviewer_id, i.second_id,
    i.needs_second, s.is_first, s.is_second, count(*) AS number, min(i.due_at) AS due_at
  FROM reviews_reviewitem i LEFT JOIN said s ON s.item_id = i.id AND s.round = i.round
  WHERE i.campaign_id = %(campaign)s AND i.decoy IS NULL GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
), asked AS (
  SELECT reviewer_id AS holder, number, due_at FROM stands WHERE state IN ({_UNDECIDED}) AND is_first IS NOT TRUE
  UNION ALL
  SELECT second_id, number, due_at FROM stands
  WHERE state IN ({_UNDECIDED}) AND is_second IS NOT TRUE AND needs_second
)
(SELECT state, ending, sum(number)::bigint, coalesce(sum(number) FILTER (WHERE is_against), 0)::bigint,
  NULL::uuid, NULL, NULL::timestamptz
FROM stands GROUP BY 1, 2)
UNION ALL
(SELECT NULL, NULL, sum(a.number)::bigint, NULL, w.id, w.name::text, min(a.due_at) FROM asked a
LEFT JOIN inventory_owner w ON w.id = a.holder GROUP BY w.id, w.name ORDER BY 3 DESC, 6 LIMIT %(most)s)
"""


def standing(campaign: UUID, *, most: int = 100) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How many items stand how, how they ended, and how many decisions go against the recommendation; and of whom the
    campaign waits, most items first, where null is whoever is a reviewer."""
    said: dict[str, Any] = {"states": {}, "endings": {}, "against_recommendation": 0}
    waiting = []
    with database.cursor() as cursor:
        cursor.execute(_STANDING, {"campaign": campaign, "most": most})
        for state, ending, number, against, key, name, due_at in cursor.fetchall():
            if state is None:
                waiting.append({"id": key and str(key), "name": name, "items": number, "due_at": due_at.isoformat()})
                continue
            said["states"][state] = said["states"].get(state, 0) + number
            said["against_recommendation"] += against
            if ending:
                said["endings"][ending] = said["endings"].get(ending, 0) + number
    return said, waiting


# For each person: how many, how fast, how many at once, how many keeps in a row at most; beside that their decoys.
_PACE = """
WITH decoy AS (
  SELECT d.decided_by_key, max(d.decided_by) AS decided_by, count(*) AS number,
    count(*) FILTER (WHERE d.what <> 'keep') AS found
  FROM reviews_reviewitem i JOIN reviews_decision d ON d.item_id = i.id AND d.withdrawn_at IS NULL
  WHERE i.campaign_id = %(campaign)s AND i.decoy IS NOT NULL AND d.submitted_at IS NOT NULL GROUP BY 1
), d AS (
  SELECT d.decided_by_key, d.decided_by, d.what, d.took, d."group", d.is_against, d.submitted_at, d.decided_at, d.id,
    row_number() OVER (PARTITION BY d.decided_by_key ORDER BY d.decided_at, d.id)
      - row_number() OVER (PARTITION BY d.decided_by_key, d.what = 'keep' ORDER BY d.decided_at, d.id) AS run
  FROM reviews_decision d WHERE d.campaign_id = %(campaign)s AND d.withdrawn_at IS NULL AND d.seat <> 'clock'
    AND NOT EXISTS (SELECT 1 FROM reviews_reviewitem i WHERE i.id = d.item_id AND i.decoy IS NOT NULL)
), streaks AS (
  SELECT decided_by_key, max(number) AS longest FROM (
    SELECT decided_by_key, count(*) AS number FROM d WHERE what = 'keep' GROUP BY decided_by_key, run) r GROUP BY 1
)
SELECT coalesce(max(d.decided_by), max(x.decided_by)), count(d.id), count(d.submitted_at),
  count(*) FILTER (WHERE d.what = 'keep'),
  count(*) FILTER (WHERE d."group" IS NOT NULL), count(*) FILTER (WHERE d.took < %(quick)s::interval), count(d.took),
  extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY d.took)), coalesce(max(s.longest), 0),
  count(*) FILTER (WHERE d.is_against), coalesce(max(x.number), 0), coalesce(max(x.found), 0)
FROM d LEFT JOIN streaks s USING (decided_by_key) FULL JOIN decoy x USING (decided_by_key)
GROUP BY decided_by_key ORDER BY 2 DESC, 1 LIMIT 100
"""


def pace(campaign: UUID) -> list[dict[str, Any]]:
    """By reviewer, the busiest first: whether decisions look read. `median_seconds` is null where nobody can tell."""
    with database.cursor() as cursor:
        cursor.execute(_PACE, {"campaign": campaign, "quick": f"{QUICK.total_seconds()} s"})
        return [
            {
                "reviewer": name,
                "decisions": number,
                "submitted": submitted,
                "keeps": keeps,
                "in_bulk": in_bulk,
                "within_3_seconds": quick,
                "timed": timed,
                "median_seconds": None if seconds is None else round(float(seconds), 1),
                "longest_run_of_keeps": run,
                "against_recommendation": against,
                "decoys_decided": decoys,
                "decoys_found": found,
            }
            for (
                name, number, submitted, keeps, in_bulk, quick, timed, seconds, run, against, decoys, found
            ) in cursor.fetchall()
        ]  # fmt: skip


def decoys_of(campaign: UUID) -> dict[str, int]:
    """Of the decoys of a campaign: how many were planted, decided and submitted, and found."""
    with database.cursor() as cursor:
        cursor.execute(
            """
            SELECT count(*), count(*) FILTER (WHERE i.what <> ''), count(*) FILTER (WHERE i.what NOT IN ('', 'keep'))
            FROM reviews_reviewitem i WHERE i.campaign_id = %s AND i.decoy IS NOT NULL""",
            [campaign],
        )
        planted, decided, found = cursor.fetchone()
    return {"planted": planted, "decided": decided, "found": found}
