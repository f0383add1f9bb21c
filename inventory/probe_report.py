"""What a probe found, as JSON and as tables for people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from inventory.posture.authorization_servers import capabilities
from inventory.posture.drift import digest, snapshot
from inventory.posture.model import CheckResult
from inventory.probing import Looked
from inventory.states import Severity, Verdict
from providers.observations import ObservedTool

_STYLES = {Severity.CRITICAL: "bold red", Severity.HIGH: "red", Severity.NONE: "dim"}
# Orders to a terminal, marks that turn the direction of writing, and halves of characters.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# ── JSON ───────────────────────────────────────────────────────────────────────────────────────


def document(looked: Looked) -> dict[str, Any]:
    """One server as `probe --format json` prints it."""
    server = looked.server
    taken = snapshot(server, looked.issuers)
    return {
        "server": {
            "url": server.url,
            "transport": server.transport,
            "reached": looked.is_reached,
            "protocol_versions": list(server.protocol_versions),
            "era": server.era,
            "name": server.server_name,
            "version": server.server_version,
            "observed_at": server.observed_at.isoformat(),
            "stopped": server.stopped,
            "snapshot": taken,
            "digest": digest(taken),
        },
        "authorization_servers": [
            {
                "issuer": issuer.issuer,
                "metadata_url": issuer.metadata_url,
                "capabilities": list(capabilities(issuer.metadata)),
                "leftovers": [
                    {"client_id": left.client_id, "registration_uri": left.registration_uri, "reason": left.reason}
                    for left in issuer.leftovers
                ],
            }
            for issuer in looked.issuers
        ],
        "checks": [_check(result) for result in looked.results],
        "tools": None if server.tools is None else [_tool(tool) for tool in server.tools],
        "tools_error": server.tools_error,
    }


def _check(result: CheckResult) -> dict[str, Any]:
    return {
        "id": result.check.id,
        "subject": result.subject,
        "verdict": str(result.verdict),
        "severity": Severity(result.severity).label.lower(),
        "evidence": dict(result.evidence),
        "title": result.check.title,
        "level": result.check.level,
        "section": result.check.section,
        "remediation": result.check.remediation,
    }


def _tool(tool: ObservedTool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "read_only": tool.is_read_only,
        "destructive": tool.is_destructive,
        "open_world": tool.is_open_world,
        "scopes": list(tool.scopes),
        "digest": tool.schema_digest,
    }


# ── For people ─────────────────────────────────────────────────────────────────────────────────


def plain(text: str) -> str:
    """A text from outside for a terminal: no mark-up, and nothing that acts instead of being seen."""
    return escape(_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text))


def show(looked: Looked, out: Console) -> None:
    """What matters first: violations by severity, then what could not be seen and why. The rest is counted."""
    server = looked.server
    named = " ".join(part for part in (server.server_name, server.server_version) if part)
    spoken = ", ".join(server.protocol_versions) or "unknown version"
    out.print(f"[bold]{plain(server.url)}[/]  {plain(named)}  [dim]{server.transport}, {plain(spoken)}[/]")
    if server.stopped:
        out.print(f"  [yellow]{plain(server.stopped)}[/]")
    for issuer in looked.issuers:
        found = "" if issuer.metadata is not None else "  [yellow]no metadata found[/]"
        out.print(f"  tokens from {plain(issuer.issuer)}{found}")
        for left in issuer.leftovers:
            out.print(f"  [red]The client {plain(left.client_id)} could not be removed: {plain(left.reason)}[/]")
    _show_violations([result for result in looked.results if result.verdict == Verdict.VIOLATED], out)
    _show_unknown([result for result in looked.results if result.verdict == Verdict.UNKNOWN], out)
    if server.tools is not None:
        _show_tools(server.tools, out)
    if server.tools_error:
        out.print(f"  [yellow]{plain(server.tools_error)}[/]")
    counts = ", ".join(
        f"{sum(result.verdict == verdict for result in looked.results)} {verdict.label.lower()}" for verdict in Verdict
    )
    out.print(f"  {counts}.\n")


def _show_violations(results: Iterable[CheckResult], out: Console) -> None:
    worst_first = sorted(results, key=lambda each: (-each.severity, each.check.id))
    if not worst_first:
        return
    table = Table(box=None, pad_edge=True, show_header=True, header_style="dim")
    for heading in ("violated", "severity", "what was seen"):
        table.add_column(heading, overflow="fold")
    for result in worst_first:
        severity = Severity(result.severity).label.lower() if result.severity else "information"
        style = _STYLES.get(result.severity, "")
        table.add_row(result.check.id, severity, plain(str(result.evidence.get("said", ""))), style=style)
    out.print(table)


def _show_unknown(results: Iterable[CheckResult], out: Console) -> None:
    """Reason by reason: one cause, such as a missing credential, keeps many checks from being made."""
    reasons: dict[str, list[str]] = {}
    for result in results:
        reasons.setdefault(str(result.evidence.get("said", "")), []).append(result.check.id)
    if not reasons:
        return
    table = Table(box=None, pad_edge=True, show_header=True, header_style="dim")
    for heading in ("unknown", "why"):
        table.add_column(heading, overflow="fold")
    for reason, ids in reasons.items():
        table.add_row(", ".join(ids), plain(reason), style="yellow")
    out.print(table)


def _show_tools(tools: Iterable[ObservedTool], out: Console) -> None:
    table = Table(box=None, pad_edge=True, show_header=True, header_style="dim")
    for heading in ("tool", "says of itself", "definition"):
        table.add_column(heading, overflow="fold")
    for tool in tools:
        hints = (
            ("reads only", tool.is_read_only),
            ("destroys", tool.is_destructive),
            ("reaches out", tool.is_open_world),
        )
        said = ", ".join(hint for hint, is_so in hints if is_so) or "[dim]nothing[/]"
        table.add_row(plain(tool.name), said, tool.schema_digest[:12])
    out.print(table)
