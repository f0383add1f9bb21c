"""What happened to one finding, out of every table that knows, newest first and a bounded part at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from operator import attrgetter

from django.db.models import QuerySet
from django.utils.formats import date_format

from access.actors import Actor
from audit.events import Event
from audit.models import AuditEntry
from lifecycle.models import Finding, FindingChange, FindingComment
from lifecycle.states import Change, Raised
from lifecycle.views.timeline import Happening

LENGTH = 30
EVALUATION = "Evaluation"
# What an entry says about its finding, in words for people: after the name of who did it.
SAID: dict[str, str] = {
    Event.FINDING_ACKNOWLEDGED: "acknowledged it",
    Event.FINDING_REOPENED: "reopened it",
    Event.FINDING_ASSIGNED: "assigned it",
    Event.FINDING_LINKED: "linked what will resolve it",
    Event.FINDING_UNLINKED: "removed a link",
    Event.FINDING_WAIVED: "approved the waiver",
    Event.WAIVER_REQUESTED: "asked for a waiver",
    Event.WAIVER_DECLINED: "declined the waiver",
    Event.WAIVER_EXTENDED: "approved the extension of the waiver",
    Event.WAIVER_BEGUN: "began the approved extension",
    Event.WAIVER_WITHDRAWN: "withdrew the waiver",
    Event.WAIVER_EXPIRED: "ended the waiver",
}


@dataclass(frozen=True)
class History:
    happenings: list[Happening]
    earlier: str = ""  # what to ask for to see what lies before


def history_of(finding: Finding, actor: Actor, *, now: datetime, before: datetime | None = None) -> History:
    """The newest happenings before an instant. What falls on the instant of the last one is shown with it."""
    entries = AuditEntry.objects.about(finding).exclude(event=Event.FINDING_COMMENTED.value).order_by("-seq")
    changes = FindingChange.objects.filter(finding=finding).order_by("-changed_at", "-id")
    comments = FindingComment.objects.filter(finding=finding).order_by("-written_at", "-id")
    found = [
        *_entries(_some(entries, "at", before), actor),
        *_changes(_some(changes, "changed_at", before)),
        *_comments(_some(comments, "written_at", before)),
        *(it for it in _ends(finding, now) if before is None or it.at < before),
    ]
    found.sort(key=attrgetter("at"), reverse=True)
    if len(found) <= LENGTH:
        return History(found)
    last = found[LENGTH - 1].at
    shown = list(takewhile(lambda it: it.at >= last, found))
    return History(shown, last.isoformat() if len(shown) < len(found) else "")


def _some(rows: QuerySet, column: str, before: datetime | None) -> QuerySet:  # type: ignore[type-arg]
    """One more than are shown, so that it is seen whether there is anything before."""
    return (rows if before is None else rows.filter(**{f"{column}__lt": before}))[: LENGTH + 1]


def _entries(entries: Iterable[AuditEntry], actor: Actor) -> Iterator[Happening]:
    for entry in entries:
        words = SAID.get(entry.event, entry.event.replace(".", " ").replace("_", " "))
        url = f"/audit/{entry.seq}/" if actor.sees_everything else ""  # others have no such page
        yield Happening(entry.at, entry.actor_label, words, _detail(entry), url)


def _detail(entry: AuditEntry) -> str:
    """What a person wants to read of an entry: from whom to whom, until when, and why."""
    detail, parts = entry.detail, []
    if entry.event == Event.FINDING_ASSIGNED:
        parts.append(f"{detail.get('from') or 'nobody'} → {detail.get('to') or 'nobody'}")
    if entry.event in {Event.FINDING_LINKED, Event.FINDING_UNLINKED}:
        parts.append(str(detail.get("reference", "")))
    if entry.event in {Event.WAIVER_REQUESTED, Event.FINDING_WAIVED, Event.WAIVER_EXTENDED, Event.WAIVER_BEGUN}:
        parts.append(_until(str(detail.get("ends_at", ""))))
    if because := detail.get("because"):
        parts.append(str(because))
    if reason := detail.get("reason"):
        parts.append(f"“{reason}”")
    if control := detail.get("compensating_control"):
        parts.append(f"meanwhile: “{control}”")
    return ", ".join(part for part in parts if part)


def _until(text: str) -> str:
    try:
        return f"until {date_format(datetime.fromisoformat(text), 'j F Y')}"
    except ValueError:
        return ""


def _changes(changes: Iterable[FindingChange]) -> Iterator[Happening]:
    for change in changes:
        was, is_now = change.get_severity_before_display().lower(), change.get_severity_display().lower()
        because = reasons(change.raised_by)
        if change.kind == Change.HANDED_OVER:
            yield Happening(change.changed_at, EVALUATION, "saw that another owner answers for it")
        elif change.kind == Change.ESCALATED:
            yield Happening(change.changed_at, EVALUATION, f"escalated it from {was} to {is_now}", because)
        elif change.kind == Change.LOWERED:
            yield Happening(change.changed_at, EVALUATION, f"found it less severe: {was} → {is_now}", because)
        else:
            yield Happening(change.changed_at, EVALUATION, f"found it more severe: {was} → {is_now}", because)


def _comments(comments: Iterable[FindingComment]) -> Iterator[Happening]:
    for row in comments:
        yield Happening(row.written_at, row.author, "wrote:", row.text)


def _ends(finding: Finding, now: datetime) -> Iterator[Happening]:
    yield Happening(finding.opened_at, EVALUATION, "opened it", finding.title_now(now))
    if finding.resolved_at is not None:
        said = finding.get_resolution_display()
        yield Happening(finding.resolved_at, EVALUATION, "resolved it", said[:1].lower() + said[1:])


def reasons(raised_by: Iterable[str]) -> str:
    """Why something is more severe than its rule alone says, in words; a reason of a later release as it is."""
    known = {reason.value: reason.label for reason in Raised}
    said = [str(known.get(each, each.replace("_", " "))) for each in raised_by]
    return ". ".join(said)
