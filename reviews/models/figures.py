"""How a campaign goes: what stands how, and how reviewers decide. Reads, each one statement."""

from typing import Any
from uuid import UUID

from django.db import connection as database

from reviews.states import QUICK


def progress(campaign: UUID) -> dict[str, Any]:
    """How many items stand how, how they ended, and how many decisions go against the recommendation."""
    with database.cursor() as cursor:
        cursor.execute(
            """
            SELECT i.state, i.ending, count(*), count(*) FILTER (WHERE i.what <> i.recommendation AND i.what <> '')
            FROM reviews_reviewitem i WHERE i.campaign_id = %s GROUP BY 1, 2""",
            [campaign],
        )
        rows = cursor.fetchall()
    said: dict[str, Any] = {"states": {}, "endings": {}, "against_recommendation": 0}
    for state, ending, number, against in rows:
        said["states"][state] = said["states"].get(state, 0) + number
        said["against_recommendation"] += against
        if ending:
            said["endings"][ending] = number
    return said


# For each person: how many, how fast, how many at once, how many keeps in a row at most.
_PACE = """
WITH d AS (
  SELECT d.decided_by_key, d.decided_by, d.what, d.took, d."group", d.is_against, d.submitted_at, d.decided_at, d.id,
    row_number() OVER (PARTITION BY d.decided_by_key ORDER BY d.decided_at, d.id)
      - row_number() OVER (PARTITION BY d.decided_by_key, d.what = 'keep' ORDER BY d.decided_at, d.id) AS run
  FROM reviews_decision d WHERE d.campaign_id = %(campaign)s AND d.withdrawn_at IS NULL AND d.seat <> 'clock'
), streaks AS (
  SELECT decided_by_key, max(number) AS longest FROM (
    SELECT decided_by_key, count(*) AS number FROM d WHERE what = 'keep' GROUP BY decided_by_key, run) r GROUP BY 1
)
SELECT max(d.decided_by), count(*), count(d.submitted_at), count(*) FILTER (WHERE d.what = 'keep'),
  count(*) FILTER (WHERE d."group" IS NOT NULL), count(*) FILTER (WHERE d.took < %(quick)s::interval), count(d.took),
  extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY d.took)), coalesce(max(s.longest), 0),
  count(*) FILTER (WHERE d.is_against)
FROM d LEFT JOIN streaks s USING (decided_by_key) GROUP BY d.decided_by_key ORDER BY 2 DESC, 1 LIMIT 100
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
            }
            for name, number, submitted, keeps, in_bulk, quick, timed, seconds, run, against in cursor.fetchall()
        ]


def waiting_on(campaign: UUID, *, most: int = 100) -> list[dict[str, Any]]:
    """Of whom the campaign waits, most items first; null is whoever is a reviewer."""
    with database.cursor() as cursor:
        cursor.execute(
            """
            WITH said AS (
              SELECT d.item_id, d.round, d.seat FROM reviews_decision d
              WHERE d.campaign_id = %(campaign)s AND d.withdrawn_at IS NULL AND d.submitted_at IS NOT NULL
            ), asked AS (
              SELECT i.reviewer_id AS holder, count(*) AS number, min(i.due_at) AS due_at FROM reviews_reviewitem i
              WHERE i.campaign_id = %(campaign)s AND i.state IN ('open', 'disputed', 'returned') AND NOT EXISTS (
                SELECT 1 FROM said WHERE said.item_id = i.id AND said.round = i.round AND said.seat = 'first')
              GROUP BY 1
              UNION ALL
              SELECT i.second_id, count(*), min(i.due_at) FROM reviews_reviewitem i
              WHERE i.campaign_id = %(campaign)s AND i.state IN ('open', 'disputed', 'returned') AND i.needs_second
                AND NOT EXISTS (
                  SELECT 1 FROM said WHERE said.item_id = i.id AND said.round = i.round AND said.seat = 'second')
              GROUP BY 1
            )
            SELECT w.id, w.name, sum(a.number)::bigint, min(a.due_at) FROM asked a
            LEFT JOIN inventory_owner w ON w.id = a.holder
            GROUP BY w.id, w.name ORDER BY 3 DESC, 2 LIMIT %(most)s""",
            {"campaign": campaign, "most": most},
        )
        return [
            {"id": key and str(key), "name": name, "items": number, "due_at": due_at.isoformat()}
            for key, name, number, due_at in cursor.fetchall()
        ]
