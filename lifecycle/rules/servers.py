"""Rules about MCP servers. `v` is a row of SERVER_FACTS: present servers only."""

from inventory.states import Severity, Verdict
from lifecycle.rules.declaration import Evidence, Rule, Subject, beside
from lifecycle.states import Raised
from web.wording import plural

_ANSWERS_HTTP = "v.transport IN ('http', 'sse')"


def _owners(e: Evidence) -> str:
    missing = list(e.values["missing"])
    said = missing[0] if len(missing) == 1 else f"{', '.join(missing[:-1])} or {missing[-1]}"
    return f"No active {said} owner"


def _checks(e: Evidence) -> str:
    return f"{e.count('count', 'check')} violated: {e.some('checks', 'count')}"


def _issuer_checks(e: Evidence) -> str:
    return f"Its authorization server violates {e.count('count', 'check')}: {e.some('checks', 'count')}"


def _changed_tools(e: Evidence) -> str:
    more = int(e.values["count"]) - 1
    others = f" and {plural(more, 'more tool')} are" if more else " is"
    return f"{e.text('tool')}{others} no longer defined as approved"


def _ungranted(e: Evidence) -> str:
    verb = "reaches" if e.values["clients"] == 1 else "reach"
    return f"{e.count('clients', 'client')} {verb} tools that no grant in force covers"


def _unlogged(e: Evidence) -> str:
    return f"Does not log {e.some('missing')}"


def _not_probed(e: Evidence) -> str:
    if e.has("probed_at"):
        return f"Last answered a probe {e.since('probed_at')} ago"
    return f"Never probed in the {e.since('first_seen_at')} that it is known"


SERVER_RULES = (
    Rule(
        slug="server-unclassified",
        name="Server unclassified",
        subject=Subject.SERVER,
        severity=Severity.LOW,
        controls=("ID.AM-02", "ID.AM-05", "NHI3:2025", "MCP09:2025", "ASI04"),
        why="A server that hands out access for others is governed differently from one that only offers tools.",
        remediation="Say what the server is: tool endpoint, delegated authorization layer or both.",
        violated="v.role = 'unclassified'",
        title=lambda _: "Nobody has said what role it plays",
    ),
    Rule(
        slug="server-owner-missing",
        name="Server owner missing",
        subject=Subject.SERVER,
        severity=Severity.MEDIUM,
        controls=("GV.RR-02", "ID.AM-08", "NHI1:2025", "MCP09:2025", "ASI03"),
        why="Identity, platform and application each have decisions to make about it, and one of them has nobody to.",
        remediation="Assign the missing owners.",
        violated="cardinality(v.owners_missing) > 0",
        evidence={"missing": "v.owners_missing"},
        title=_owners,
    ),
    Rule(
        slug="floating-version",
        name="Floating package version",
        subject=Subject.SERVER,
        severity=Severity.MEDIUM,
        controls=("GV.SC-07", "PR.PS-01", "NHI3:2025", "MCP04:2025", "ASI04"),
        why="Whatever is published next under that name runs with the credentials configured here.",
        remediation="Pin the package to a version that was reviewed.",
        applies="v.package <> ''",
        violated="NOT v.is_pinned",
        unknown="v.is_pinned IS NULL",
        evidence={"package": "v.package", "version": "nullif(v.package_version, '')"},
        title=lambda e: f"Starts whatever version of {e.text('package')} is published last",
    ),
    Rule(
        slug="plaintext-url",
        name="Plaintext URL",
        subject=Subject.SERVER,
        severity=Severity.HIGH,
        controls=("PR.DS-02", "PR.AA-03", "NHI4:2025", "MCP07:2025", "ASI07"),
        why="Everybody on the way can read the credential and change the answer.",
        remediation="Serve it over https and rotate every credential that was sent to it.",
        applies="v.url <> ''",
        violated=(
            "v.url ~* '^(http|ws)://' AND v.url !~* "
            r"'^[a-z]+://([^/@]*@)?(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]*)?([/?#]|$)'"
        ),
        unknown="v.url !~* '^(https?|wss?)://'",  # filled in elsewhere, or half an address: it may be anything
        evidence={"scheme": "split_part(v.url, ':', 1)"},
        title=lambda _: "Reached without encryption",
    ),
    Rule(
        slug="anonymous-server",
        name="Anonymous server",
        subject=Subject.SERVER,
        severity=Severity.HIGH,
        controls=("PR.AA-03", "PR.AA-05", "NHI4:2025", "MCP07:2025", "ASI03", "ASI07"),
        why="Whoever reaches its address can use it, and nobody can say who did.",
        remediation="Let it answer 401 to every request without a valid token, and name its authorization server.",
        applies=_ANSWERS_HTTP,
        violated=f"v.anonymous = '{Verdict.VIOLATED.value}'",
        unknown=f"v.anonymous IS NULL OR v.anonymous = '{Verdict.UNKNOWN.value}'",
        raised=f"v.anonymous_severity >= {Severity.CRITICAL.value}",
        evidence={"lists_tools": f"nullif(v.anonymous_severity >= {Severity.CRITICAL.value}, false)"},
        title=lambda e: f"Answers anybody{', and lists its tools' if e.has('lists_tools') else ''}",
    ),
    Rule(
        slug="posture-violations",
        name="Posture violations",
        subject=Subject.SERVER,
        severity=Severity.MEDIUM,
        controls=("PR.AA-03", "PR.AA-04", "PR.PS-01", "NHI4:2025", "MCP07:2025", "ASI03"),
        why="Each check guards against a known way to obtain, replay or widen the access of somebody else.",
        remediation="Correct what the checks name; each says what it expects and where the specification says so.",
        applies=_ANSWERS_HTTP,
        violated="v.violated > 0",
        unknown="v.checks IS NULL OR cardinality(v.unknown_checks) > 0",
        # Some checks need a test credential that nobody may ever give: they alone keep no finding open.
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
        slug="issuer-posture-violations",
        name="Authorization server posture violations",
        subject=Subject.SERVER,
        severity=Severity.MEDIUM,
        controls=("PR.AA-03", "PR.AA-04", "GV.SC-07", "NHI4:2025", "MCP07:2025", "ASI03"),
        why="A server trusts every token of its authorization server, so it is no better guarded than that one.",
        remediation="Correct what the checks name at the authorization server, or put another one in front.",
        applies="v.issuer IS NOT NULL",
        violated="v.issuer_violated > 0",
        unknown="v.issuer_checks IS NULL OR cardinality(v.issuer_unknown_checks) > 0",
        kept="v.issuer_checks IS NULL OR jsonb_exists_any(o.evidence -> 'checks', v.issuer_unknown_checks)",
        graded="v.issuer_worst",
        evidence={
            "count": "v.issuer_violated",
            "checks": "to_jsonb(v.issuer_violated_checks)",
            "unknown": "nullif(cardinality(v.issuer_unknown_checks), 0)",
            "issuer": "v.issuer",
        },
        title=_issuer_checks,
    ),
    Rule(
        slug="tool-definition-changed",
        name="Tool definition changed",
        subject=Subject.SERVER,
        severity=Severity.HIGH,
        controls=("PR.PS-01", "ID.RA-07", "GV.SC-07", "NHI3:2025", "MCP03:2025", "ASI04"),
        why="A tool that was harmless when it was approved may do or ask for something else now.",
        remediation="Compare the definitions, then approve the new one or withdraw the grants of that tool.",
        applies="v.approved_tools > 0",
        violated="v.changed_tools > 0",
        unknown="v.tools_error <> ''",
        evidence={"count": "v.changed_tools", "tool": "v.changed_tool"},
        title=_changed_tools,
    ),
    Rule(
        slug="destructive-tool-ungranted",
        name="Destructive tool ungranted",
        subject=Subject.SERVER,
        severity=Severity.HIGH,
        controls=("PR.AA-05", "NHI5:2025", "MCP02:2025", "ASI02", "ASI03"),
        why="A client can delete or overwrite through it, and nobody has ever said that it may.",
        remediation="Approve a grant that names the tool, or take the server out of the client's configuration.",
        applies="v.clients > 0",
        violated="v.destructive_clients > 0",
        # A tool that says neither that it only reads nor whether it destroys may do so.
        unknown="v.tools_listed_at IS NULL OR v.tools_error <> '' OR v.unmarked_clients > 0",
        evidence={
            "clients": "v.destructive_clients",
            "tools": "v.destructive_tools",
            "tool": "v.destructive_tool",
        },
        title=lambda e: f"{e.count('clients', 'client')} may destroy through {e.text('tool')} without a grant",
    ),
    Rule(
        slug="tool-surface-ungranted",
        name="Tool surface ungranted",
        subject=Subject.SERVER,
        severity=Severity.MEDIUM,
        controls=("PR.AA-05", "NHI5:2025", "MCP02:2025", "ASI02", "ASI03"),
        why="What a client can reach and nobody has granted is access that no review will ever take away.",
        remediation="Draft a grant from what the client reaches, leave out what it can spare, and have it approved.",
        applies="v.clients > 0",
        violated="v.ungranted_clients > 0",
        unknown="v.tools_listed_at IS NULL OR v.tools_error <> ''",
        evidence={"clients": "v.ungranted_clients", "tools": "v.tools"},
        title=_ungranted,
    ),
    Rule(
        slug="third-party-exposure",
        name="Third-party exposure",
        subject=Subject.SERVER,
        severity=Severity.MEDIUM,
        controls=("GV.SC-07", "ID.AM-04", "NHI3:2025", "MCP04:2025", "ASI04"),
        why="A static credential lies in the hands of another organisation for as long as nobody rotates it.",
        remediation="Use OAuth consent where it is offered; else issue narrow credentials for it alone, and rotate.",
        applies="v.vendor <> '' OR v.url <> ''",
        violated="v.static_credentials > 0 AND (v.vendor <> '' OR v.is_own_host IS FALSE)",
        unknown="v.static_credentials > 0 AND v.vendor = '' AND v.is_own_host IS NULL",
        contexts=beside(Raised.THIRD_PARTY),
        evidence={"static_credentials": "v.static_credentials", "vendor": "nullif(v.vendor, '')", "host": "v.host"},
        title=lambda e: (
            f"{e.text('vendor') or e.text('host')} holds {e.count('static_credentials', 'static credential')}"
        ),
    ),
    Rule(
        slug="server-not-probed",
        name="Server not probed",
        subject=Subject.SERVER,
        severity=Severity.LOW,
        controls=("ID.AM-02", "DE.CM-09", "NHI4:2025", "MCP09:2025", "ASI04"),
        why="What it asks for and offers today is not known, and every verdict about it is as old as its last answer.",
        remediation="Add a connection that probes it, or see why it does not answer.",
        applies=_ANSWERS_HTTP,
        violated="v.probe_by <= %(now)s",
        contexts=(),
        evidence={
            "probed_at": "v.probed_at",
            "first_seen_at": "CASE WHEN v.probed_at IS NULL THEN v.first_seen_at END",
            "error": "left(nullif(v.probe_error, ''), 300)",
        },
        title=_not_probed,
    ),
    Rule(
        slug="logging-missing",
        name="Logging missing",
        subject=Subject.SERVER,
        severity=Severity.MEDIUM,
        controls=("PR.PS-04", "DE.CM-03", "DE.CM-09", "NHI10:2025", "MCP08:2025", "ASI03"),
        why="What is not logged can neither be noticed while it happens nor be reconstructed afterwards.",
        remediation="Let the server or its authorization server log it, and record where that can be seen.",
        applies="v.happenings > 0",
        violated="cardinality(v.unlogged) > 0",
        unknown="v.unrecorded > 0",
        evidence={"missing": "to_jsonb(v.unlogged)", "unrecorded": "nullif(v.unrecorded, 0)"},
        title=_unlogged,
    ),
)
