"""What the overview says: numbers, their trend, what needs somebody today. A part is one statement, the queue two."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Case, Exists, F, OuterRef, QuerySet, Subquery, When
from django.urls import reverse

from access.actors import Actor
from inventory.models import Credential, Exposure
from inventory.states import ENDED, CredentialKind, CredentialStatus, Severity
from lifecycle.models import EvaluationMark, Finding, Obligation, Operation, RuleState, ScheduledJob, Snapshot
from lifecycle.models.breakdowns import DAYS_AHEAD, age_spans, breakdown
from lifecycle.models.jobs import EVALUATION_TASK
from web.paging import Capped, capped_counts
from web.wording import since, thousands

LIVE = "&".join(f"status={status}" for status in CredentialStatus if status not in ENDED)
OPEN = "state=open&state=acknowledged"  # what counts as risk: waived findings are listed apart
TREND = timedelta(weeks=12)
SOON = timedelta(weeks=1)
LOOKED_AT = 200  # findings from which the worst of each rule are taken
AGES = ("< 1 d", "1–7 d", "7–30 d", "> 30 d")


@dataclass(frozen=True)
class Figure:
    """A headline number with its trend: a link to the list it counts."""

    label: str
    url: str
    value: Capped
    trend: list[int | None]  # day by day; nothing of a day without a snapshot
    note: str
    title: str = ""  # what the note has no room for


def trend_note(trend: Sequence[tuple[date, int]], today: date, value: Capped) -> str:
    """How the number moved within the last week; nothing is claimed where nothing was recorded so long ago."""
    past = [count for day, count in trend if day <= today - timedelta(days=6)]
    if not past or value.more:
        return ""
    change = value.value - past[-1]
    if change == 0:
        return "as a week ago"
    return f"{thousands(abs(change))} {'more' if change > 0 else 'fewer'} than a week ago"


def by_day(snapshots: Sequence[Snapshot], name: str, today: date) -> list[int | None]:
    """The number on each day from the first snapshot up to today."""
    if not snapshots:
        return []
    counted = {snapshot.taken_on: getattr(snapshot, name) for snapshot in snapshots}
    first = snapshots[0].taken_on
    return [counted.get(first + timedelta(days=i)) for i in range((today - first).days + 1)]


def coverage(state: RuleState | None, now: datetime) -> tuple[str, str]:
    """What a rule's number is of, and how much of that nobody could tell; and when that was counted."""
    if state is None:
        return "", ""
    unknown = f", {thousands(state.unknown)} unknown" if state.unknown else ", none unknown"
    words = f"of {thousands(state.population)}{unknown}"
    age = since(state.evaluated_at, now)
    return words, f"{words}; counted {'just now' if age == 'now' else f'{age} ago'}"


def recent(actor: Actor, now: datetime) -> list[Snapshot]:
    """The snapshots of the trend, the oldest first; of the whole estate, so only for those who see all of it."""
    if not actor.sees_everything:
        return []
    newest = Snapshot.objects.exclude(breakdown={}).order_by("-taken_on").values("taken_on")[:1]
    drawn = Case(When(taken_on=Subquery(newest), then=F("breakdown")))  # of one: it is by far the largest column
    taken = Snapshot.objects.filter(taken_on__gte=(now - TREND).date())
    return list(taken.defer("breakdown").annotate(drawn=drawn).order_by("taken_on"))


@dataclass(frozen=True)
class Standing:
    """How many operations stand so: a link to them."""

    label: str
    url: str
    value: Capped
    tone: str
    note: str


def standings(actor: Actor, now: datetime) -> list[tuple[str, str, str, str, QuerySet[Any]]]:
    """What is stalled, waits for an approval, runs, and falls due within a week: label, link, tone, note, rows."""
    seen = Operation.objects.visible_to(actor).open()
    until = now + SOON
    due = Obligation.objects.filter(credential=OuterRef("pk"), rotate_by__lt=until)
    at = reverse("operation_list")
    return [
        ("Stalled", f"{at}?state=stalled", "t-crit", "somebody lets them try again", seen.filter(state="stalled")),
        ("Proposed", f"{at}?state=proposed", "", "somebody approves them", seen.filter(state="proposed")),
        ("Running", f"{at}?state=running", "", "a worker is at them", seen.running(now)),
        (
            "Due this week",
            f"{reverse('credential_list')}?rotate_by_before={until:%Y-%m-%dT%H:%M:%SZ}&{LIVE}",
            "",
            "rotations by policy, late ones too",
            Credential.objects.visible_to(actor).live().filter(Exists(due)),
        ),
    ]


def figures(actor: Actor, now: datetime, snapshots: Sequence[Snapshot]) -> tuple[list[Figure], Capped, list[Standing]]:
    """The headline numbers, how many findings are past due and how operations stand, counted in one statement."""
    live = Credential.objects.visible_to(actor).live()
    findings = Finding.objects.visible_to(actor).open()
    unrotated = findings.filter(rule="unrotated")
    stale = findings.filter(rule="stale")
    wanted: list[tuple[str, str, str, str, QuerySet[Any]]] = [
        ("Credentials", "not known to have ended", reverse("credential_list") + f"?{LIVE}", "credentials", live),
        ("Open findings", "waived ones not counted", reverse("finding_list") + f"?{OPEN}", "findings", findings),
        (
            "Exposures",
            "literal secrets in files",
            reverse("exposure_list"),
            "exposures",
            Exposure.objects.visible_to(actor).present(),
        ),
        (
            "Orphans",
            "without an active owner",
            reverse("credential_list") + f"?has_owner=false&{LIVE}",
            "orphans",
            live.unowned(),
        ),
        (
            "Unrotated",
            "older than policy allows",
            reverse("credential_list") + "?finding=unrotated",
            "unrotated",
            unrotated,
        ),
        ("Stale", "unused for too long", reverse("credential_list") + "?finding=stale", "stale", stale),
    ]
    asked = standings(actor, now)
    rows = [*(each[-1] for each in wanted), *(each[-1] for each in asked), findings.overdue(now)]
    *every, overdue = capped_counts(rows)
    counts, stand = every[: len(wanted)], every[len(wanted) :]
    states = {state.rule: state for state in RuleState.objects.filter(rule__in=["unrotated", "stale"])}
    if not actor.sees_everything:
        states = {}
    found = []
    for (label, meaning, url, name, _queryset), count in zip(wanted, counts, strict=True):
        trend = [(snapshot.taken_on, getattr(snapshot, name)) for snapshot in snapshots]
        seen, counted = coverage(states.get(name), now)
        note = seen or trend_note(trend, now.date(), count) or meaning
        title = f"{meaning}: {counted}" if seen else ""
        found.append(Figure(label, url, count, by_day(snapshots, name, now.date()), note, title))
    operations = [
        Standing(label, url, count, tone if count else "", note)
        for (label, url, tone, note, _queryset), count in zip(asked, stand, strict=True)
    ]
    return found, overdue, operations


@dataclass(frozen=True)
class Need:
    """An open finding that stands for those of its rule and severity: one line, one thing to do."""

    finding: Finding
    title: str
    others: str  # how many more there are; nothing when it is alone
    url: str  # the list of all of them


def queue(actor: Actor, now: datetime, most: int = 8) -> list[Need]:
    """The worst open findings that nobody has acknowledged, those of one rule and severity in one line.

    A line shows the one that has waited beyond its time, or else whose credential leads the risk order. Looked at are
    the newest of the worst, as their index lists them: of more than `LOOKED_AT` it is not said how many there are.
    """
    unseen = Finding.objects.visible_to(actor).filter(resolved_at=None, state="open")
    worst = unseen.order_by("-severity", "-id").values_list(
        "severity", "rule", "pk", "escalated_at", "due_at", "credential__score"
    )
    lines: dict[tuple[int, str], list[tuple[bool, bool, int, UUID]]] = {}
    looked_at = list(worst[:LOOKED_AT])
    for severity, rule, pk, escalated_at, due_at, score in looked_at:
        line = lines.setdefault((severity, rule), [])
        line.append((escalated_at is not None, due_at < now, score or 0, pk))
    leading = sorted(((severity, max(line)) for (severity, _), line in lines.items()), reverse=True)[:most]
    findings = Finding.objects.with_subjects().in_bulk([lead[-1] for _, lead in leading])
    found = []
    for severity, lead in leading:
        finding = findings[lead[-1]]
        more = len(lines[severity, finding.rule]) - 1
        is_cut = len(looked_at) == LOOKED_AT and severity == looked_at[-1][0]
        others = f"{thousands(more)}{'+' if is_cut else ''} more like it" if more else ""
        url = f"{reverse('finding_list')}?state=open&severity={Severity(severity).name.lower()}&rule={finding.rule}"
        found.append(Need(finding, finding.title_now(now), others, url))
    return found


def facts(
    actor: Actor, now: datetime, *, is_large: bool, snapshots: Sequence[Snapshot] = ()
) -> tuple[dict[str, Any], datetime | None]:
    """What the pictures draw; of a large estate as the last snapshot has it, with the time of that snapshot.

    `snapshots` are the recent ones, where they have been read; an older one is looked for.
    """
    if is_large and actor.sees_everything:
        for each in snapshots:
            if each.drawn:  # type: ignore[attr-defined]
                return each.drawn, each.taken_at  # type: ignore[attr-defined]
        snapshot = Snapshot.objects.exclude(breakdown={}).first()
        if snapshot is not None:
            return snapshot.breakdown, snapshot.taken_at
    return breakdown(actor, now), None


def heat(counted: dict[str, list[list[int]]], now: datetime) -> list[dict[str, Any]]:
    """Open findings by severity and age, each with the list it counts."""
    url = reverse("finding_list")
    nothing = [[0, 0]] * len(AGES)
    return [
        {
            "severity": severity,
            "cells": [
                {
                    "count": count,
                    "is_late": late > 0,
                    "url": f"{url}?{OPEN}&severity={severity.name.lower()}" + opened_between(start, end),
                }
                for (count, late), (start, end) in zip(
                    counted.get(str(severity.value), nothing), age_spans(now), strict=True
                )
            ],
        }
        for severity in (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW)
    ]


def opened_between(start: datetime | None, end: datetime | None) -> str:
    parts = [("opened_after", start), ("opened_before", end)]
    return "".join(f"&{name}={at:%Y-%m-%dT%H:%M:%SZ}" for name, at in parts if at is not None)


def upcoming(counted: dict[str, dict[str, int]], now: datetime) -> list[dict[str, Any]]:
    """What falls due in the coming days: rotations, expiries, and waivers that end."""
    url, waivers = reverse("credential_list"), reverse("finding_list")
    days = [now.date() + timedelta(days=i) for i in range(DAYS_AHEAD)]
    return [
        {
            "on": day,
            "url": f"{waivers}?state=waived" if set(counts) == {"waiver"} else f"{url}?due_on={day}",
            "counts": counts,
        }
        for day in days
        for counts in [counted.get(day.isoformat(), {})]
    ]


def due_in_all(days: Iterable[dict[str, Any]]) -> dict[str, int]:
    """How many of each kind fall due in these days; empty when nothing does."""
    total: dict[str, int] = {}
    for day in days:
        for kind, count in day["counts"].items():
            total[kind] = total.get(kind, 0) + count
    return total


@dataclass(frozen=True)
class Rotation:
    """How one kind of credential stands against its limit. What is of unknown age is not in policy."""

    kind: str
    label: str
    total: int
    late: int
    unknown: int

    @property
    def in_policy(self) -> int:
        return self.total - self.late - self.unknown

    @property
    def share(self) -> float:
        return self.in_policy / self.total

    @property
    def percent(self) -> str:
        """Rounded down: what is not all of them is not 100 %."""
        return f"{int(100 * self.share)} %"


def rotations(rows: list[dict[str, Any]]) -> list[Rotation]:
    labels = dict(CredentialKind.choices)
    return [Rotation(row["kind"], str(labels[row["kind"]]), row["total"], row["late"], row["unknown"]) for row in rows]


def evaluation() -> tuple[ScheduledJob | None, datetime | None]:
    """The scheduled evaluation, and when findings were last brought up to date: with nothing to do it moves no mark."""
    marked = EvaluationMark.objects.values("evaluated_at")[:1]
    job = ScheduledJob.objects.current().filter(task=EVALUATION_TASK).annotate(marked_at=Subquery(marked)).first()
    if job is None:
        return None, EvaluationMark.objects.values_list("evaluated_at", flat=True).first()
    at = [at for at in (job.ended_at, job.marked_at) if at is not None]  # type: ignore[attr-defined]
    return job, max(at, default=None)


def lede(heat_rows: Iterable[dict[str, Any]], overdue: Capped) -> str:
    """The first sentence of the day: what is open, the worst first."""
    totals = {row["severity"]: sum(cell["count"] for cell in row["cells"]) for row in heat_rows}
    if not any(totals.values()):
        return "Nothing needs you today. What is unknown stays listed under Policies."
    parts = [f"{thousands(count)} {severity.label.lower()}" for severity, count in totals.items() if count]
    words = (
        f"{parts[0]} findings are open"
        if len(parts) == 1
        else f"{', '.join(parts[:-1])} and {parts[-1]} findings are open"
    )
    return f"{words}; {overdue} past due." if overdue else f"{words}; none is past due."


def has_estate() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM inventory_mcpserver) OR EXISTS (SELECT 1 FROM inventory_credential)"
        )
        return bool(cursor.fetchone()[0])
