"""What the overview says: numbers, their trend, and what needs somebody today. Each part is one statement."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import TruncDate
from django.urls import reverse

from access.actors import Actor
from inventory.models import Credential, Exposure
from inventory.states import ENDED, CredentialKind, Severity
from lifecycle.models import Finding, Obligation, Snapshot, Waiver
from web.paging import Capped, capped_counts
from web.wording import thousands

DAYS_AHEAD = 14
OPEN = "state=open&state=acknowledged"  # what counts as risk: waived findings are listed apart
TREND = timedelta(weeks=12)
AGES = ((timedelta(days=1), "< 1 d"), (timedelta(days=7), "1–7 d"), (timedelta(days=30), "7–30 d"), (None, "> 30 d"))


@dataclass(frozen=True)
class Figure:
    """A headline number with its trend: a link to the list it counts."""

    label: str
    url: str
    value: Capped
    trend: list[int]
    note: str


def trend_note(trend: Sequence[tuple[date, int]], today: date, value: Capped) -> str:
    """How the number moved within the last week; nothing is claimed where nothing was recorded so long ago."""
    past = [count for day, count in trend if day <= today - timedelta(days=6)]
    if not past or value.more:
        return ""
    change = value.value - past[-1]
    if change == 0:
        return "as a week ago"
    return f"{thousands(abs(change))} {'more' if change > 0 else 'fewer'} than a week ago"


def figures(actor: Actor, now: datetime) -> list[Figure]:
    live = Credential.objects.visible_to(actor).live()
    findings = Finding.objects.visible_to(actor).open()
    unrotated = findings.filter(rule="unrotated")
    stale = findings.filter(rule="stale")
    wanted: list[tuple[str, str, str, str, QuerySet[Any]]] = [
        ("Credentials", "in use or seen in a file", reverse("credential_list"), "credentials", live),
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
            reverse("credential_list") + "?has_owner=false",
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
    counts = capped_counts([queryset for *_rest, queryset in wanted])
    snapshots = list(Snapshot.objects.filter(taken_on__gte=(now - TREND).date()).order_by("taken_on"))
    if not actor.sees_everything:
        snapshots = []
    found = []
    for (label, meaning, url, name, _queryset), count in zip(wanted, counts, strict=True):
        trend = [(snapshot.taken_on, getattr(snapshot, name)) for snapshot in snapshots]
        note = trend_note(trend, now.date(), count) or meaning
        found.append(Figure(label, url, count, [value for _, value in trend], note))
    return found


def queue(actor: Actor, now: datetime, most: int = 8) -> list[tuple[Finding, str]]:
    """The worst open findings that nobody has acknowledged, oldest first among equals."""
    owners = ("credential__owner", "server__iam_owner", "server__platform_owner", "server__application_owner")
    rows = (
        Finding.objects.visible_to(actor)
        .filter(resolved_at=None, state="open")
        .select_related(*owners)
        .order_by("-severity", "-id")[:most]
    )
    return [(finding, finding.title_now(now)) for finding in rows]


def heat(actor: Actor, now: datetime) -> list[dict[str, Any]]:
    """Open findings by severity and age."""
    edges = [now - age for age, _ in AGES if age is not None]
    spans = [(edges[0], None), (edges[1], edges[0]), (edges[2], edges[1]), (None, edges[2])]
    counted = {}
    for i, (start, end) in enumerate(spans):
        within = Q()
        if start is not None:
            within &= Q(opened_at__gt=start)
        if end is not None:
            within &= Q(opened_at__lte=end)
        counted[f"a{i}"] = Count("pk", filter=within)
        counted[f"late{i}"] = Count("pk", filter=within & Q(due_at__lt=now))
    rows: dict[int, dict[str, Any]] = {
        row["severity"]: dict(row)
        for row in Finding.objects.visible_to(actor).open().order_by().values("severity").annotate(**counted)
    }
    url = reverse("finding_list")
    return [
        {
            "severity": severity,
            "cells": [
                {
                    "count": rows.get(severity, {}).get(f"a{i}", 0),
                    "is_late": rows.get(severity, {}).get(f"late{i}", 0) > 0,
                    "url": f"{url}?{OPEN}&severity={severity.name.lower()}" + opened_between(start, end),
                }
                for i, (start, end) in enumerate(spans)
            ],
        }
        for severity in (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW)
    ]


def opened_between(start: datetime | None, end: datetime | None) -> str:
    parts = [("opened_after", start), ("opened_before", end)]
    return "".join(f"&{name}={at:%Y-%m-%dT%H:%M:%SZ}" for name, at in parts if at is not None)


def upcoming(actor: Actor, now: datetime) -> list[dict[str, Any]]:
    """What falls due in the coming days: rotations, expiries, and waivers that end."""
    last = now + timedelta(days=DAYS_AHEAD)
    days: dict[date, dict[str, int]] = {now.date() + timedelta(days=i): {} for i in range(DAYS_AHEAD)}
    visible = Credential.objects.visible_to(actor).live()
    obligations = Obligation.objects.filter(rotate_by__gte=now, rotate_by__lt=last)
    if not actor.sees_everything:
        obligations = obligations.filter(credential__in=visible.values("pk"))
    sources: list[tuple[str, QuerySet[Any], str]] = [
        ("rotation", obligations, "rotate_by"),
        ("expiry", visible.filter(expires_at__gte=now, expires_at__lt=last), "expires_at"),
        ("waiver", Waiver.objects.visible_to(actor).active().filter(ends_at__gte=now, ends_at__lt=last), "ends_at"),
    ]
    for kind, queryset, field in sources:
        by_day = queryset.order_by().annotate(on=TruncDate(field)).values("on").annotate(count=Count("pk"))
        for row in by_day:
            if row["on"] in days:
                days[row["on"]][kind] = row["count"]
    url = reverse("credential_list")
    return [
        {"on": day, "url": f"{url}?rotate_by_after={day}&rotate_by_before={day + timedelta(days=1)}", "counts": counts}
        for day, counts in days.items()
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
        return f"{100 * self.share:.0f} %"


def rotation_by_kind(actor: Actor, now: datetime) -> list[Rotation]:
    bound = Obligation.objects.filter(rotate_by__isnull=False).exclude(credential__status__in=ENDED)
    bound = bound.filter(credential__gone_at=None)
    if not actor.sees_everything:
        bound = bound.filter(credential__in=Credential.objects.visible_to(actor).values("pk"))
    rows = (
        bound.order_by()
        .values(kind=F("credential__kind"))
        .annotate(
            total=Count("pk"),
            late=Count("pk", filter=Q(rotate_by__lt=now)),
            unknown=Count("pk", filter=Q(rotate_by__gte=now, credential__issued_at=None)),
        )
        .order_by("-late", "-total")
    )
    labels = dict(CredentialKind.choices)
    return [Rotation(row["kind"], str(labels[row["kind"]]), row["total"], row["late"], row["unknown"]) for row in rows]


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
