"""Rules about MCP clients. `v` is a row of the clients' facts: present ones that were not removed.

A client that is only named by a configuration file is a program on somebody's machine; nobody registered it, so the
rules about registrations are not about it.
"""

from inventory.states import Admission, Hygiene, Registration, RemovalStage, Severity
from lifecycle.rules.declaration import Evidence, Rule, Subject

_IS_REGISTERED = f"v.registration <> '{Registration.CONFIG_FILE.value}'"


def _unreviewed(e: Evidence) -> str:
    return f"Registered itself, and has waited {e.since('quarantined_at')} for a review"


def _needless(e: Evidence) -> str:
    if e.text("hygiene") == Hygiene.DUPLICATE.value:
        return "Looks like another registration that is in use"
    return f"Unused for {e.since('last_used_at')}, and still registered" if e.has("last_used_at") else "Nobody uses it"


def _owner(e: Evidence) -> str:
    return f"Its owner {e.text('owner')} is no longer active" if e.has("owner") else "Nobody answers for it"


def _checks(e: Evidence) -> str:
    return f"{e.count('count', 'check')} of its registration violated: {e.some('checks', 'count')}"


CLIENT_RULES = (
    Rule(
        slug="dynamic-client-unreviewed",
        name="Self-registered client unreviewed",
        subject=Subject.CLIENT,
        severity=Severity.MEDIUM,
        controls=("ID.AM-08", "PR.AA-05", "GV.SC-07", "NHI3:2025", "MCP09:2025", "ASI04"),
        why="Anybody may have registered it under any name, and it can already ask people for their consent.",
        remediation="Find out whose it is, then admit it or remove its registration.",
        applies=f"v.registration IN ('{Registration.DYNAMIC.value}', '{Registration.CIMD.value}')",
        violated=f"v.admission = '{Admission.QUARANTINED.value}' AND v.review_by <= %(now)s",
        graded=f"CASE WHEN v.long_unreviewed_at <= %(now)s THEN {Severity.HIGH.value} ELSE {Severity.MEDIUM.value} END",
        evidence={"quarantined_at": "v.quarantined_at", "review_by": "v.review_by", "registration": "v.registration"},
        title=_unreviewed,
    ),
    Rule(
        slug="duplicate-or-dead-client",
        name="Duplicate or dead client",
        subject=Subject.CLIENT,
        severity=Severity.LOW,
        controls=("PR.AA-01", "ID.AM-08", "NHI1:2025", "MCP09:2025", "ASI03"),
        why="A registration that nobody needs can still be used by whoever finds its credentials.",
        remediation="Begin its removal: its owner is told, it is suspended, and it is deleted after a quiet time.",
        applies=_IS_REGISTERED,
        violated=f"v.hygiene IN ('{Hygiene.DUPLICATE.value}', '{Hygiene.DEAD.value}')",
        unknown=f"v.hygiene = '{Hygiene.UNKNOWN.value}'",
        graded=f"CASE v.hygiene WHEN '{Hygiene.DEAD.value}' THEN {Severity.MEDIUM.value} ELSE {Severity.LOW.value} END",
        evidence={"hygiene": "v.hygiene", "reason": "v.hygiene_reason", "last_used_at": "v.last_used_at"},
        title=_needless,
    ),
    Rule(
        slug="client-owner-missing",
        name="Client owner missing",
        subject=Subject.CLIENT,
        severity=Severity.MEDIUM,
        controls=("GV.RR-02", "PR.AA-01", "NHI1:2025", "MCP02:2025", "ASI03"),
        why="Nobody decides what it may reach, and nobody is told before it is removed.",
        remediation="Assign an owner, or remove what nobody claims.",
        applies=_IS_REGISTERED,
        violated="v.owner_is_active IS NOT TRUE",
        evidence={"owner": "v.owner_name"},
        title=_owner,
    ),
    Rule(
        slug="client-posture-violations",
        name="Client posture violations",
        subject=Subject.CLIENT,
        severity=Severity.MEDIUM,
        controls=("PR.AA-03", "PR.AA-04", "NHI4:2025", "MCP07:2025", "ASI03"),
        why="How a client is registered decides whether somebody else can receive the codes and tokens meant for it.",
        remediation="Correct the registration, or the document that the client publishes, as the checks say.",
        applies=f"{_IS_REGISTERED} OR v.checks > 0",
        violated="v.violated > 0",
        unknown="v.checks IS NULL OR cardinality(v.unknown_checks) > 0",
        kept="v.checks IS NULL OR jsonb_exists_any(o.evidence -> 'checks', v.unknown_checks)",
        graded="v.worst",
        evidence={
            "count": "v.violated",
            "checks": "to_jsonb(v.violated_checks)",
            "unknown": "nullif(cardinality(v.unknown_checks), 0)",
        },
        title=_checks,
    ),
    Rule(
        slug="stalled-operation",
        name="Stalled operation",
        subject=Subject.CLIENT,
        severity=Severity.MEDIUM,
        controls=("PR.AA-01", "RS.MI-01", "NHI1:2025", "MCP01:2025", "ASI10"),
        why="Everybody takes it for done or under way, and it is neither until somebody looks.",
        remediation="See what stopped its removal, then let it try again or withdraw it.",
        applies="v.removal_stage IS NOT NULL",
        violated=f"v.removal_stage = '{RemovalStage.STALLED.value}'",
        evidence={"stalled_at": "v.removal_stage_at", "error": "left(v.removal_error, 300)"},
        title=lambda e: f"Its removal has waited for somebody for {e.since('stalled_at')}",
    ),
)
