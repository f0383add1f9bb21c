"""The controls: what each asks, how it is measured, how the estate answers today and how it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import dropwhile
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from access.actors import Actor
from access.permissions import requires_reader
from inventory.models import OwnershipDay
from inventory.states import Verdict
from lifecycle.models import Waiver
from lifecycle.views.rules import percent
from reviews.controls import CONTROLS, FUNCTIONS, Answer, Control, Standing, Tally, crosswalk, standing
from reviews.models import MeasureDay
from reviews.models.controls import control_series, days_of, measure_series, tallies_of
from web.wording import plural

DAYS = 90
WAIVERS = 20  # of a control, those that end first
CROSSWALK = crosswalk()
OF_OWNERSHIP = {"owners-accepted", "accepted-in-time"}
ORDER = (Verdict.VIOLATED, Verdict.UNKNOWN, Verdict.MET, Verdict.NOT_APPLICABLE)


@dataclass(frozen=True)
class _Row:
    standing: Standing
    points: list[float | None]

    @property
    def control(self) -> Control:
        return self.standing.control

    @property
    def parts(self) -> list[tuple[str, int, str]]:
        return parts_of(self.standing)

    @property
    def said(self) -> str:
        return said_of(self.standing)

    @property
    def trend(self) -> list[float | None]:
        return since_counted(self.points)


@dataclass(frozen=True)
class _AnswerRow:
    answer: Answer
    points: list[float | None]

    @property
    def share(self) -> str:
        return percent(self.answer.tally.share) if self.answer.tally else ""

    @property
    def threshold(self) -> str:
        return percent(self.answer.measure.threshold)

    @property
    def parts(self) -> list[tuple[str, int, str]]:
        tally = self.answer.tally
        if tally is None or not tally.population:
            return []
        return [("crit", tally.violated, "Violated"), ("none", tally.unknown, "Unknown"), ("ok", tally.met, "Met")]

    @property
    def trend(self) -> list[float | None]:
        return since_counted(self.points)


def since_counted(points: Sequence[float | None]) -> list[float | None]:
    """From the first day on which anybody counted; nothing while that was one day alone."""
    shown = list(dropwhile(lambda point: point is None, points))
    return shown if sum(point is not None for point in shown) > 1 else []


def parts_of(found: Standing) -> list[tuple[str, int, str]]:
    """Its measures by what they say, worst first."""
    number = {verdict: sum(each.verdict is verdict for each in found.answers) for verdict in Verdict}
    return [
        ("crit", number[Verdict.VIOLATED], "Violated"),
        ("none", number[Verdict.UNKNOWN], "Unknown"),
        ("ok", number[Verdict.MET], "Met"),
    ]


def said_of(found: Standing) -> str:
    """How it stands, in a few words."""
    if not found.answers:
        return "Nothing here measures it"
    if not found.applicable:
        return "Nothing here that it could be asked of"
    return f"{found.met} of {plural(len(found.applicable), 'measure')} met"


@require_GET
@requires_reader
def control_list(request: HttpRequest) -> HttpResponse:
    """All of them on one page, by function."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    counted = days_of(DAYS, today=now.date()) if actor.sees_everything else {}
    latest = tallies_of(MeasureDay.objects.visible_to(actor).newest(now.date()))
    rows = [
        _Row(standing(control, latest, now=now), control_series(control, counted, DAYS, today=now.date()))
        for control in CONTROLS.values()
    ]
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(FUNCTIONS[row.control.function], []).append(row)
    verdicts = {verdict.value: sum(row.standing.verdict is verdict for row in rows) for verdict in Verdict}
    return render(
        request,
        "reviews/control_list.html",
        {
            "groups": groups.items(),
            "verdicts": verdicts,
            "count": len(rows),
            "crosswalk": CROSSWALK.items(),
            "sees_everything": actor.sees_everything,
            "owned": OwnershipDay.objects.visible_to(actor).order_by("-taken_on").first(),
            "counted_at": max((tally.counted_at for tally in latest.values() if tally.counted_at), default=None),
            "now": now,
        },
    )


@require_GET
@requires_reader
def control_detail(request: HttpRequest, pk: str) -> HttpResponse:
    """One control, with what each of its measures asks, who is in it, and how it was answered."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    control = CONTROLS.get(pk)
    if control is None:
        raise Http404
    now = timezone.now()
    slugs = [measure.slug for measure in control.measures]
    latest = tallies_of(MeasureDay.objects.visible_to(actor).filter(measure__in=slugs).newest(now.date()))
    found = standing(control, latest, now=now)
    counted = days_of(DAYS, today=now.date(), slugs=slugs) if actor.sees_everything else {}
    rules = [measure.rule for measure in control.measures if measure.rule]
    waivers = Waiver.objects.visible_to(actor).active().filter(finding__rule__in=rules)
    row = _Row(found, control_series(control, counted, DAYS, today=now.date()))
    owned = None
    if set(slugs) & OF_OWNERSHIP:
        owned = OwnershipDay.objects.visible_to(actor).order_by("-taken_on").first()
    return render(
        request,
        "reviews/control_detail.html",
        {
            "owned": owned,
            "row": row,
            "control": control,
            "standing": found,
            "answers": [_AnswerRow(each, _shares(each, counted, now.date())) for each in _worst_first(found)],
            "waivers": list(waivers.select_related("finding").order_by("ends_at", "pk")[:WAIVERS]),
            "sees_everything": actor.sees_everything,
            "now": now,
        },
    )


def _worst_first(found: Standing) -> list[Answer]:
    return sorted(found.answers, key=lambda each: ORDER.index(each.verdict))


def _shares(answer: Answer, counted: Any, today: date) -> list[float | None]:
    series: Sequence[Tally | None] = measure_series(answer.measure.slug, counted, DAYS, today=today)
    return [tally.share if tally is not None else None for tally in series]
