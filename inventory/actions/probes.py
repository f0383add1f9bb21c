"""Keep what a probe saw of MCP servers: how each authenticates, its tools, its verdicts, and what is new about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, F, When

from inventory.actions.issuers import ensure_issuers
from inventory.actions.posture import latest_documents, record_checks, record_documents, record_tools
from inventory.discovery.listing import fit
from inventory.models import McpServer
from inventory.posture.drift import differences
from inventory.posture.model import CheckResult, Target
from providers.observations import ObservedTool

REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedServer:
    """One server as one probe found it, without anything that it sent as it is.

    With an `error` nothing was seen, and what was known before stays. `tools` is None when they could not be listed,
    and `tools_error` says why. `snapshot` is what must not change unnoticed.
    """

    identity_key: str
    error: str = ""
    protocol_versions: Sequence[str] = ()
    authentication: str = ""
    scopes: Sequence[str] = ()
    issuers: Sequence[str] = ()
    tools: Sequence[ObservedTool] | None = None
    tools_error: str = ""
    snapshot: Mapping[str, Any] | None = None
    results: Sequence[CheckResult] = ()


def record_probes(probed: Sequence[ProbedServer], *, now: datetime) -> dict[str, int]:
    """Keep what was seen of these servers; what changed, counted.

    That a server answered now is written each time, in one statement for all, and is no change.
    """
    by_key = {each.identity_key: each for each in probed}
    servers = {row.identity_key: row for row in McpServer.objects.filter(identity_key__in=by_key)}
    answered = {key: each for key, each in by_key.items() if key in servers and not each.error}
    issuers = ensure_issuers((issuer for each in answered.values() for issuer in each.issuers), now=now)
    changed = []
    for key, row in servers.items():
        each = by_key[key]
        before = _described(row)
        row.probe_error = fit(each.error, REASON)
        if not each.error:
            row.protocol_versions = [fit(version, 20) for version in each.protocol_versions]
            row.authentication = each.authentication
            row.scopes = [fit(scope, 200) for scope in each.scopes]
            row.authorization_server_id = issuers[each.issuers[0]] if each.issuers else None
            row.tools_error = fit(each.tools_error, REASON)
        if _described(row) != before:
            changed.append(row)
    McpServer.objects.bulk_update(
        changed,
        ["probe_error", "protocol_versions", "authentication", "scopes", "authorization_server", "tools_error"],
        batch_size=500,
    )
    listing = [servers[key].pk for key, each in answered.items() if each.tools is not None]
    McpServer.objects.filter(pk__in=[servers[key].pk for key in answered]).update(
        probed_at=now, tools_listed_at=Case(When(pk__in=listing, then=now), default=F("tools_listed_at"))
    )
    judged = [(servers[key].pk, result) for key, each in answered.items() for result in each.results]
    listed = {servers[key].pk: each.tools for key, each in answered.items() if each.tools is not None}
    return {
        "servers_changed": len(changed),
        "verdicts_changed": record_checks(Target.SERVER, judged, now=now),
        **record_tools(listed, now=now),
        "servers_published_anew": _record_snapshots(servers, answered, now=now),
    }


def _described(row: McpServer) -> tuple[Any, ...]:
    return (
        row.probe_error,
        row.protocol_versions,
        row.authentication,
        row.scopes,
        row.authorization_server_id,
        row.tools_error,
    )


def _record_snapshots(servers: Mapping[str, McpServer], answered: Mapping[str, ProbedServer], *, now: datetime) -> int:
    """What this probe could not see is taken from the one before, so that a silence is no change."""
    seen = {servers[key].pk: each.snapshot for key, each in answered.items() if each.snapshot is not None}
    before = latest_documents(Target.SERVER, seen)
    whole: dict[UUID, dict[str, Any]] = {
        pk: {
            **snapshot,
            **{part: known for part, known in before.get(pk, {}).items() if snapshot.get(part) is None},
        }
        for pk, snapshot in seen.items()
    }
    said = {pk: differences(before[pk], snapshot) for pk, snapshot in whole.items() if pk in before}
    return record_documents(Target.SERVER, whole, differences=said, now=now)
