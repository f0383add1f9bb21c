"""What happened to one finding, out of every table that knows, newest first and a bounded part at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from operator import attrgetter

from django.db.models import QuerySet
from django.utils.formats import date_format

from access.actors import Actor
from audit.events import Event
from audit.models import AuditEntry
from history.changes import ONE_TRANSACTION, Step, in_words, known_by, steps_of, told
from lifecycle.models import Finding, FindingChange, FindingComment
from lifecycle.states import Change, Raised
from lifecycle.views import evidence_words
from lifecycle.views.timeline import Happening

LENGTH = 30
STEPS = 100  # versions that are looked through for one part
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
# Which of its columns an entry tells of.
_MOVED: dict[str, tuple[str, ...]] = {
    Event.FINDING_ACKNOWLEDGED: ("state", "acknowledged_by"),
    Event.FINDING_REOPENED: ("state", "acknowledged_by"),
    Event.FINDING_ASSIGNED: ("assigned_to",),
    Event.FINDING_WAIVED: ("state",),
    Event.WAIVER_WITHDRAWN: ("state",),
    Event.WAIVER_EXPIRED: ("state",),
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
    shown_entries = list(_some(entries, "at", before))
    # An entry of the part before this one may tell of the first version of this one.
    ahead = list(entries.filter(at__gte=before, at__lte=before + ONE_TRANSACTION)[:LENGTH]) if before else []
    steps = steps_of(finding, most=STEPS, before=before)
    found = [
        *_entries(shown_entries, actor),
        *_changes(_some(changes, "changed_at", before)),
        *_comments(_some(comments, "written_at", before)),
        *(it for it in _ends(finding, now) if before is None or it.at < before),
        *_steps(finding, steps, [*ahead, *shown_entries]),
    ]
    found.sort(key=attrgetter("at"), reverse=True)
    # Before the oldest version that was looked at there may be others, so nothing is said of that time yet.
    looked_to = steps[-1].at if len(steps) == STEPS else None
    known = found if looked_to is None else [it for it in found if it.at >= looked_to]
    if len(known) <= LENGTH:
        return History(known, looked_to.isoformat() if looked_to else "")
    last = known[LENGTH - 1].at
    shown = list(takewhile(lambda it: it.at >= last, known))
    return History(shown, last.isoformat() if len(shown) < len(found) or looked_to else "")


def _steps(finding: Finding, steps: Sequence[Step], entries: Iterable[AuditEntry]) -> Iterator[Happening]:
    """What its versions say that no record tells: what an evaluation saw anew, what somebody wrote by hand."""
    refreshed = {step.after["refreshed_at"] for step in steps}
    noted = set(
        FindingChange.objects.filter(finding=finding, changed_at__in=refreshed).values_list("changed_at", flat=True)
    )
    of_entries = known_by([(entry.at, [entry.detail, *_MOVED.get(entry.event, ())]) for entry in entries])

    def known(step: Step) -> set[str]:
        found = {"evidence", *of_entries(step)}  # the evidence is said in words of its own
        if step.changed("resolved_at"):
            found |= {"state", "resolution"}
        if step.changed("refreshed_at") and step.after["refreshed_at"] in noted:
            found |= {"severity", "raised_by", "owner"}
        return found

    said = {step.at: change.what for step, change in told(finding, steps, known)}
    for step in steps:
        what = "; ".join(each for each in (said.get(step.at, ""), _otherwise(step)) if each)
        if what and step.changed("refreshed_at"):
            yield Happening(step.at, EVALUATION, "saw it otherwise", what)
        elif what:
            yield Happening(step.at, "It changed", what)


def _otherwise(step: Step) -> str:
    before, after = (
        dict(evidence_words.shown(step.before["evidence"])),
        dict(evidence_words.shown(step.after["evidence"])),
    )
    return "; ".join(
        f"{name.replace('_', ' ')}: {in_words(before.get(name))} → {in_words(after.get(name))}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    )


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
