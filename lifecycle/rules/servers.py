"""Rules about MCP servers. `v` is a row of SERVER_FACTS: present servers only."""

from inventory.states import Severity
from lifecycle.rules.declaration import Evidence, Rule, Subject


def _owners(e: Evidence) -> str:
    missing = list(e.values["missing"])
    said = missing[0] if len(missing) == 1 else f"{', '.join(missing[:-1])} or {missing[-1]}"
    return f"No active {said} owner"


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
)
