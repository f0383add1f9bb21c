"""Rules about the jobs of the timetable. `v` is a row of the jobs' facts: those that a release still declares."""

from datetime import timedelta

from inventory.states import Severity
from lifecycle.rules.declaration import Evidence, Rule, Subject

# A beat may come late by half its cadence, and by five minutes in any case: a worker was busy or has just begun.
LATE_BY = timedelta(minutes=5)
LATE_SHARE = 1.5
LONG_MISSED_BEATS, LONG_SILENT = 10, timedelta(days=1)
FAILURES = 3  # in a row
RARE = timedelta(hours=6)  # a job of this cadence would take most of a day to fail so often, so one failure is enough
ENOUGH = f"(CASE WHEN v.cadence >= interval '{int(RARE.total_seconds())} s' THEN 1 ELSE {FAILURES} END)"


def late_after(cadence: timedelta) -> timedelta:
    """How long after a good end the next one is missed."""
    return LATE_SHARE * cadence + LATE_BY


def _missed(e: Evidence) -> str:
    if e.has("last_runs_failed"):
        count = e.text("last_runs_failed")
        return f"Its last {'run' if count == '1' else f'{count} runs'} failed: {e.text('error')}"
    if e.has("ended_at"):
        return f"Last ended {e.since('ended_at')} ago; planned every {e.limit('cadence', beside='')}"
    return f"Never ended, {e.since('declared_at')} after it was planned every {e.limit('cadence', beside='')}"


JOB_RULES = (
    Rule(
        slug="heartbeat-missed",
        name="Heartbeat missed",
        subject=Subject.JOB,
        severity=Severity.MEDIUM,
        controls=("DE.CM-09", "PR.PS-04", "GV.OV-03", "NHI1:2025", "MCP08:2025"),
        why="A control that did not run has found nothing, which looks like an estate in which nothing is wrong.",
        remediation="Start the workers and the beat, and read in the worker's log why it fails.",
        violated=f"v.missed_at <= %(now)s OR v.failures >= {ENOUGH}",
        # Not planned long enough to tell; or its last end lies in the future, because a clock was wrong.
        unknown=f"v.ended_at IS NULL OR v.ended_at > %(now)s + interval '{int(LATE_BY.total_seconds())} s'",
        contexts=(),
        graded=f"CASE WHEN v.long_missed_at <= %(now)s THEN {Severity.HIGH.value} ELSE {Severity.MEDIUM.value} END",
        evidence={
            "ended_at": "v.ended_at",
            "declared_at": "CASE WHEN v.ended_at IS NULL THEN v.declared_at END",
            "cadence": "extract(epoch FROM v.cadence)::bigint",
            "last_runs_failed": f"CASE WHEN v.failures >= {ENOUGH} THEN {ENOUGH} END",
            "error": f"CASE WHEN v.failures >= {ENOUGH} THEN v.error END",
        },
        title=_missed,
    ),
)
