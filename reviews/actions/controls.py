"""Count how the estate answers the measures of the controls, once for each day."""

from datetime import datetime

from django.db import connection as database

from audit.actions import action
from lifecycle.states import FindingState
from reviews.controls import WINDOW
from reviews.measured import ROWS

_KEEP = """
ON CONFLICT (measure, taken_on) DO UPDATE
SET counted_at = excluded.counted_at, met = excluded.met, violated = excluded.violated, unknown = excluded.unknown,
    waived = excluded.waived
WHERE reviews_measureday.counted_at <= excluded.counted_at
"""
# What a rule counts was counted by the last full evaluation; counting it here again could say something else.
_OF_RULES = f"""
INSERT INTO reviews_measureday (measure, taken_on, counted_at, met, violated, unknown, waived)
SELECT s.rule, (s.evaluated_at AT TIME ZONE 'UTC')::date, s.evaluated_at, s.met, s.violated, s.unknown,
       least(coalesce(w.number, 0), s.violated)
FROM lifecycle_rulestate s
LEFT JOIN (
  SELECT f.rule, count(*) AS number FROM lifecycle_finding f
  WHERE f.resolved_at IS NULL AND f.state = '{FindingState.WAIVED.value}' GROUP BY f.rule
) w ON w.rule = s.rule
{_KEEP}
"""
_OWN = """
INSERT INTO reviews_measureday (measure, taken_on, counted_at, met, violated, unknown, waived)
{}
{}
""".format(
    " UNION ALL ".join(
        f"SELECT '{slug}', (%(now)s::timestamptz AT TIME ZONE 'UTC')::date, %(now)s::timestamptz,"
        " count(*) FILTER (WHERE r.verdict = 'met'), count(*) FILTER (WHERE r.verdict = 'violated'),"
        f" count(*) FILTER (WHERE r.verdict = 'unknown'), 0 FROM ({rows}) r"
        for slug, rows in ROWS.items()
    ),
    _KEEP,
)


@action
def measure_controls(now: datetime) -> int:
    """Bring the counts of today up to `now`, set-based. Counts of what is recorded elsewhere; no entry of their own."""
    with database.cursor() as cursor:
        cursor.execute(_OF_RULES)
        written: int = cursor.rowcount
        cursor.execute(_OWN, {"now": now, "since": now - WINDOW})
        written += cursor.rowcount
    return written
