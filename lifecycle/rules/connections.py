"""Rules about connections. `v` is a row of the connections' facts: all of them, those switched off included."""

from inventory.states import RunState, Severity
from lifecycle.rules.declaration import Evidence, Rule, Subject


def _not_synced(e: Evidence) -> str:
    if e.has("last_complete_at"):
        return f"Last read completely {e.since('last_complete_at')} ago; planned every {e.limit('interval', beside='')}"
    return f"Never read completely, {e.since('created_at')} after it was added"


def _partial(e: Evidence) -> str:
    return f"The last sync could not read {e.count('problems', 'place')}" if e.has("problems") else "Read in part only"


CONNECTION_RULES = (
    Rule(
        slug="connection-not-synced",
        name="Connection not synced",
        subject=Subject.CONNECTION,
        severity=Severity.MEDIUM,
        controls=("ID.AM-02", "PR.AA-01", "DE.CM-09", "NHI1:2025", "MCP08:2025", "ASI03"),
        why="What is issued, used or revoked there since then is not known here, and every other answer is as old.",
        remediation="See why its syncs fail, correct its settings or references, and sync it again.",
        applies="v.is_enabled AND v.interval IS NOT NULL",
        violated="v.overdue_at <= %(now)s OR v.failures >= 3",
        graded=f"CASE WHEN v.long_overdue_at <= %(now)s THEN {Severity.HIGH.value} ELSE {Severity.MEDIUM.value} END",
        evidence={
            "last_complete_at": "v.last_complete_at",
            "created_at": "CASE WHEN v.last_complete_at IS NULL THEN v.created_at END",
            "interval": "extract(epoch FROM v.interval)::bigint",
            "last_runs_failed": "nullif(v.failures, 0)",
        },
        title=_not_synced,
    ),
    Rule(
        slug="connection-partial",
        name="Connection read in part",
        subject=Subject.CONNECTION,
        severity=Severity.LOW,
        controls=("ID.AM-02", "PR.AA-01", "NHI1:2025", "MCP08:2025", "ASI03"),
        why="A part of it could not be read, and until it can nothing there is known to be gone.",
        remediation="Open the last run, and let Keyreeve read what it names or take it out of the connection.",
        applies="v.is_enabled AND v.last_state IS NOT NULL",
        violated=f"v.last_state = '{RunState.PARTIAL.value}'",
        unknown=f"v.last_state = '{RunState.FAILED.value}'",  # nobody knows what it would have left out
        contexts=(),
        evidence={"problems": "nullif(v.problems, 0)"},
        title=_partial,
    ),
)
