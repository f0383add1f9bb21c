"""Controls and their measures over REST: declared in the release, counted once a day, read by whoever sees it all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from django.utils import timezone

from access.actors import Actor
from reviews import control_shapes as shapes
from reviews.controls import CONTROLS, MEASURES, Standing, Tally, standings
from reviews.models import MeasureDay
from reviews.models.controls import tallies_of
from web.api import ARRIVAL, DeclaredViewSet, ReadOnlyViewSet, as_body, cleaned
from web.paging import Ordering

Said = dict[str, Any]


class Declared(DeclaredViewSet):
    """What a release declares, with the counts beside it."""

    queryset = MeasureDay.objects.all()
    known: ClassVar[Iterable[str]]

    def one(self, pk: str, names: Sequence[str]) -> str | None:
        if pk not in self.known:
            return None
        return next(as_body(shapes.chosen_of(each, names)).decode() for each in self.said() if each["id"] == pk)

    def kept(self, names: Sequence[str]) -> Mapping[str, str]:
        chosen = cleaned(self.filterset_class(self.request.query_params, queryset=self.queryset.none()))
        return {
            str(each["id"]): as_body(shapes.chosen_of(each, names)).decode()
            for each in self.said()
            if self.fits(each, chosen)
        }

    def said(self) -> Iterator[Said]:
        raise NotImplementedError

    def fits(self, said: Said, chosen: Mapping[str, Any]) -> bool:
        raise NotImplementedError

    def counts(self) -> dict[str, Tally] | None:
        """The newest, or None for those who are not told them."""
        actor: Actor = self.request.actor  # type: ignore[attr-defined]
        return tallies_of(self.queryset.newest(timezone.now().date())) if actor.sees_everything else None


class ControlViewSet(Declared):
    serializer_class = shapes.ControlSerializer
    object_class = shapes.ControlObjectSerializer
    filterset_class = shapes.ControlFilter
    lookup_value_converter = "str"
    known = CONTROLS

    def said(self) -> Iterator[Said]:
        counts = self.counts()
        for found in standings(counts or {}, now=timezone.now()):
            told: Standing | None = found if counts is not None else None
            answers = [shapes.AnswerSerializer.of(each, self.root) for each in told.answers] if told else []
            yield {**shapes.ControlSerializer.of(found.control, told, self.root), "measures": answers}

    def fits(self, said: Said, chosen: Mapping[str, Any]) -> bool:
        return (
            (not chosen["function"] or said["function"] in chosen["function"])
            and (not chosen["verdict"] or said["verdict"] in chosen["verdict"])
            and (not chosen["replaces"] or bool(set(said["replaces"]) & set(chosen["replaces"])))
        )


class MeasureViewSet(Declared):
    serializer_class = shapes.MeasureSerializer
    filterset_class = shapes.MeasureFilter
    lookup_value_converter = "slug"
    known = MEASURES

    def said(self) -> Iterator[Said]:
        counts, now = self.counts(), timezone.now()
        for measure in MEASURES.values():
            tally = (counts or {}).get(measure.slug)
            verdict = None if counts is None else measure.verdict(tally, now=now)
            yield dict(shapes.MeasureSerializer.of(measure, tally, verdict, self.root))

    def fits(self, said: Said, chosen: Mapping[str, Any]) -> bool:
        return (not chosen["verdict"] or said["verdict"] in chosen["verdict"]) and (
            not chosen["control"] or bool(set(said["controls"]) & set(chosen["control"]))
        )


class MeasureDayViewSet(ReadOnlyViewSet):
    """How a measure was answered on a day. A day without one was not counted."""

    queryset = MeasureDay.objects.all()
    serializer_class = shapes.MeasureDaySerializer
    filterset_class = shapes.MeasureDayFilter
    orderings = (ARRIVAL, Ordering("taken_on", ("taken_on",)))
    lookup_value_converter = "int"


VIEWSETS: tuple[type[ReadOnlyViewSet], ...] = (ControlViewSet, MeasureViewSet, MeasureDayViewSet)
