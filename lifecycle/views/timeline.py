"""What happened to a subject, from every table that knows: newest first, one line each."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from django.db.models import Model

from audit.models import AuditEntry
from audit.sentences import detail_line
from history.changes import changes_of
from inventory.models import Credential, Exposure, McpServer, Use
from lifecycle.models import Finding
from web.wording import short_path

LENGTH = 60
# What an audit entry says about its subject, in words for people.
VERBS = {
    "user.created": "created the account",
    "user.signed_in": "signed in",
    "user.signed_out": "signed out",
    "user.sign_in_refused": "was refused at sign-in",
    "user.sign_in_link_issued": "issued a one-time link for",
    "user.view_saved": "saved a view",
    "user.view_forgotten": "forgot a view",
    "token.issued": "issued an API token",
    "connection.created": "added the connection",
    "connection.changed": "changed the connection",
    "connection.sync_requested": "asked for a sync",
    "owner.created": "created the owner",
    "owner.changed": "changed the owner",
    "environment.created": "created the environment",
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
    "operation.requested": "asked for it",
    "operation.proposed": "proposed it",
    "operation.approved": "approved it",
    "operation.declined": "declined it",
    "operation.stalled": "gave up; it waits for a person",
    "operation.resumed": "let it try again",
    "operation.assigned": "handed it over",
    "operation.extended": "extended the overlap",
    "operation.overlap_ended": "ended the overlap",
    "operation.rolled_back": "turned it back",
    "operation.cancelled": "cancelled it",
    "operation.superseded": "asked for a revocation in its place",
    "operation.completed": "ended it",
    "operation.look_requested": "had its provider asked once more",
    "operation.verified": "saw it refused",
    "operation.acknowledged": "recorded that a consumer has moved",
    "batch.requested": "asked for a revocation of many",
    "batch.approved": "approved a revocation of many",
    "batch.declined": "declined a revocation of many",
    "batch.halted": "halted a revocation of many",
    "batch.resumed": "let a revocation of many go on",
    "batch.cancelled": "cancelled the rest of a revocation",
    "batch.extended": "added what had appeared meanwhile",
    "batch.escalated": "escalated what nobody decided",
    "batch.rehearsed": "rehearsed a revocation of many",
    "batch.completed": "ended a revocation of many",
    "client.succeeded": "registered the client anew",
    "grant.carried_over": "carried the grant over to the new registration",
    "credential.absorbed": "recognised it as a version of another credential",
    "exposure.replaced": "replaced the secret in a file by a reference",
    "credential.delivery_set": "set where new secrets go",
    "credential.delivery_removed": "forgot where new secrets go",
}
SELF = ("user.signed_in", "user.signed_out", "user.sign_in_refused", "user.view_saved", "user.view_forgotten")


@dataclass(frozen=True)
class Happening:
    at: datetime
    who: str
    what: str
    detail: str = ""
    url: str = ""
    title: str = ""  # what `detail` cuts short


def _detail(entry: AuditEntry) -> str:
    said = {name: entry.detail[name] for name in ("as", "from", "to", "reason") if name in entry.detail}
    return detail_line(said, entry.event)


def from_audit(entries: list[AuditEntry], *, with_subject: bool = False) -> Iterator[Happening]:
    """`with_subject` where entries about many things stand together; on the page of one it goes without saying."""
    for entry in entries:
        words = VERBS.get(entry.event, entry.event.replace(".", " ").replace("_", " "))
        detail = _detail(entry)
        if with_subject and entry.subject_label and entry.event not in SELF:
            detail = f"{entry.subject_label}: {detail}" if detail else entry.subject_label
        yield Happening(entry.at, entry.actor_label, words, detail, f"/audit/{entry.seq}/")


def from_findings(findings: list[Finding], now: datetime) -> Iterator[Happening]:
    for finding in findings:
        url = f"/findings/{finding.pk}/"
        yield Happening(finding.opened_at, "Finding opened", finding.title_now(now), url=url)
        if finding.resolved_at:
            said = finding.get_resolution_display()
            yield Happening(finding.resolved_at, "Finding resolved", finding.name, said[:1].lower() + said[1:], url)


def from_exposures(exposures: list[Exposure]) -> Iterator[Happening]:
    for exposure in exposures:
        file, whole = short_path(exposure.file), f"{exposure.file} {exposure.pointer}"
        yield Happening(exposure.first_seen_at, "Discovery", f"saw this secret in {file}", title=whole)
        if exposure.gone_at:
            yield Happening(exposure.gone_at, "Discovery", f"no longer saw it in {file}", title=whole)


def from_uses(uses: list[Use]) -> Iterator[Happening]:
    for use in uses:
        if use.gone_at:
            yield Happening(
                use.gone_at, "Discovery", f"{use.client} no longer names it for {use.server}", short_path(use.file)
            )


def from_changes(row: Model, entries: list[AuditEntry]) -> Iterator[Happening]:
    """What changed about it that no entry tells of: what a sync brought, what somebody wrote by hand."""
    for change in changes_of(row, [(entry.at, entry.detail) for entry in entries], most=LENGTH):
        yield Happening(change.at, "It changed", change.what)


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
            *from_changes(credential, entries),
            *from_findings(findings, now),
            *from_exposures(exposures),
            *from_uses(uses),
        ]
    )


def of_server(server: McpServer, *, findings: list[Finding], uses: list[Use], now: datetime) -> list[Happening]:
    entries = list(AuditEntry.objects.about(server)[:LENGTH])
    seen = Happening(server.first_seen_at, "Discovery", "saw this server first")
    return newest(
        [
            seen,
            *from_audit(entries),
            *from_changes(server, entries),
            *from_findings(findings, now),
            *from_uses(uses),
        ]
    )
