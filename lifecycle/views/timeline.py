"""What happened to a subject, from every table that knows: newest first, one line each."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from audit.models import AuditEntry
from inventory.models import Credential, Exposure, McpServer, Use
from lifecycle.models import Finding

LENGTH = 60
# What an audit entry says about its subject, in words for people.
VERBS = {
    "credential.owner_assigned": "assigned the owner",
    "credential.environment_assigned": "assigned the environment",
    "credential.dates_recorded": "recorded dates",
    "server.owner_assigned": "assigned the owner",
    "server.environment_assigned": "assigned the environment",
    "server.role_assigned": "classified the server",
    "client.owner_assigned": "assigned the owner",
    "finding.acknowledged": "acknowledged the finding",
    "finding.reopened": "reopened the finding",
    "finding.waived": "waived the finding",
    "waiver.withdrawn": "withdrew the waiver",
    "waiver.expired": "ended the waiver: its time was up",
}


@dataclass(frozen=True)
class Happening:
    at: datetime
    who: str
    what: str
    detail: str = ""
    url: str = ""


def _detail(entry: AuditEntry) -> str:
    known = entry.detail
    parts = []
    if known.get("as"):
        parts.append(str(known["as"]).replace("_", " "))
    if known.get("to"):
        parts.append(f"{known.get('from') or 'nobody'} → {known['to']}")
    if known.get("reason"):
        parts.append(f"“{known['reason']}”")
    return ", ".join(parts)


def from_audit(entries: list[AuditEntry]) -> Iterator[Happening]:
    for entry in entries:
        words = VERBS.get(entry.event, entry.event.replace(".", " ").replace("_", " "))
        yield Happening(entry.at, entry.actor_label, words, _detail(entry), f"/audit/{entry.seq}/")


def from_findings(findings: list[Finding], now: datetime) -> Iterator[Happening]:
    for finding in findings:
        url = f"/findings/{finding.pk}/"
        yield Happening(finding.opened_at, "Finding opened", finding.title_now(now), url=url)
        if finding.resolved_at:
            said = finding.get_resolution_display()
            yield Happening(finding.resolved_at, "Finding resolved", finding.name, said, url)


def from_exposures(exposures: list[Exposure]) -> Iterator[Happening]:
    for exposure in exposures:
        yield Happening(exposure.first_seen_at, "Discovery", f"saw this secret in {exposure.file}", exposure.pointer)
        if exposure.gone_at:
            yield Happening(exposure.gone_at, "Discovery", f"no longer saw it in {exposure.file}", exposure.pointer)


def from_uses(uses: list[Use]) -> Iterator[Happening]:
    for use in uses:
        if use.gone_at:
            yield Happening(use.gone_at, "Discovery", f"{use.client} no longer names it for {use.server}", use.file)


def newest(happenings: list[Happening]) -> list[Happening]:
    return sorted(happenings, key=attrgetter("at"), reverse=True)[:LENGTH]


def of_credential(
    credential: Credential, *, findings: list[Finding], exposures: list[Exposure], uses: list[Use], now: datetime
) -> list[Happening]:
    entries = list(AuditEntry.objects.about(credential)[:LENGTH])
    seen = Happening(credential.first_seen_at, "Discovery", "saw this credential first")
    return newest(
        [
            seen,
            *from_audit(entries),
            *from_findings(findings, now),
            *from_exposures(exposures),
            *from_uses(uses),
        ]
    )


def of_server(server: McpServer, *, findings: list[Finding], uses: list[Use], now: datetime) -> list[Happening]:
    entries = list(AuditEntry.objects.about(server)[:LENGTH])
    seen = Happening(server.first_seen_at, "Discovery", "saw this server first")
    return newest([seen, *from_audit(entries), *from_findings(findings, now), *from_uses(uses)])
