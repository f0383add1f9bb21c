"""How the estate answered each measure of the controls, day by day."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import ClassVar, Self

from django.db import models
from django.db.models import QuerySet

from access.actors import Actor
from inventory.states import Verdict
from lifecycle.models.evaluations import Verdicts
from reviews.controls import Control, Standing, Tally, standing

LATEST_WITHIN = timedelta(days=30)  # a count that is older is none


class MeasureDayQuerySet(models.QuerySet["MeasureDay"]):
    def visible_to(self, actor: Actor) -> Self:
        """Counts of the whole estate: for those who see all of it."""
        return self if actor.sees_everything else self.none()

    def newest(self, today: date) -> Self:
        """The newest count of each measure."""
        recent = self.filter(taken_on__gt=today - LATEST_WITHIN)
        return recent.order_by("measure", "-taken_on").distinct("measure")


class MeasureDay(Verdicts):
    """How many subjects met, violated or were unknown to a measure on one day (UTC). No row: nobody counted."""

    id = models.BigAutoField(primary_key=True)
    measure = models.SlugField(max_length=60, db_index=False)
    taken_on = models.DateField()
    counted_at = models.DateTimeField()
    waived = models.PositiveIntegerField(default=0, help_text="Of the violated, those whose risk somebody accepted.")

    objects = MeasureDayQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["measure", "taken_on"], name="measure_day_one_per_measure_and_day"),
        ]
        indexes: ClassVar = [models.Index(fields=["taken_on"], name="measure_day_by_day")]

    def __str__(self) -> str:
        return f"{self.measure} on {self.taken_on:%Y-%m-%d}"

    @property
    def tally(self) -> Tally:
        return Tally(self.met, self.violated, self.unknown, self.waived, self.counted_at)


def tallies_of(rows: QuerySet[MeasureDay]) -> dict[str, Tally]:
    return {row.measure: row.tally for row in rows}


Days = Mapping[date, Mapping[str, Tally]]


def days_of(days: int, *, today: date, slugs: list[str] | None = None) -> dict[date, dict[str, Tally]]:
    """What was counted on each of the last days, by day and measure, in one query."""
    rows = MeasureDay.objects.filter(taken_on__gt=today - timedelta(days=days), taken_on__lte=today)
    if slugs is not None:
        rows = rows.filter(measure__in=slugs)
    found: dict[date, dict[str, Tally]] = {}
    for row in rows:
        found.setdefault(row.taken_on, {})[row.measure] = row.tally
    return found


def control_series(control: Control, counted: Days, days: int, *, today: date) -> list[float | None]:
    """The share of its measures that were met on each day, oldest first. None where none of them was counted."""
    return [_share(standing(control, counted[on])) if on in counted else None for on in days_back(days, today)]


def measure_series(slug: str, counted: Days, days: int, *, today: date) -> list[Tally | None]:
    return [counted.get(on, {}).get(slug) for on in days_back(days, today)]


def days_back(days: int, today: date) -> list[date]:
    return [today - timedelta(days=days - 1 - i) for i in range(days)]


def _share(found: Standing) -> float | None:
    counted = [each for each in found.applicable if each.tally is not None]
    return sum(each.verdict is Verdict.MET for each in counted) / len(counted) if counted else None
