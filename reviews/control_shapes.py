"""Shapes and filters of controls and measures in the REST API."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import F, TextField, Value
from django.db.models.functions import Coalesce
from django_filters import FilterSet
from rest_framework import serializers

from inventory.states import Verdict
from reviews.controls import CONTROLS, FUNCTIONS, MEASURES, Answer, Control, Measure, Standing, Tally, measured_by
from reviews.models import MeasureDay
from web.narrowing import ChoicesFilter, after, before
from web.shapes import Joined, JsonObject, Link, LinkSerializer, Shape, Sql, Text, TextFromMap, Url, address

NAMES = {slug: measure.name for slug, measure in MEASURES.items()}
VERDICTS = Verdict.choices


class CountsSerializer(serializers.Serializer[Any]):
    """What was counted last; nulls where nothing was."""

    share = serializers.FloatField(allow_null=True, help_text="Of the population, unknown included; null of none.")
    met = serializers.IntegerField(allow_null=True)
    violated = serializers.IntegerField(allow_null=True)
    unknown = serializers.IntegerField(allow_null=True)
    waived = serializers.IntegerField(allow_null=True, help_text="Of the violated.")
    counted_at = serializers.DateTimeField(allow_null=True)


class AnswerSerializer(CountsSerializer):
    """How the estate answers one measure of a control."""

    measure = LinkSerializer()
    verdict = serializers.ChoiceField(VERDICTS)
    threshold = serializers.FloatField(help_text="The share of its population that must have been seen to meet it.")

    class Meta:
        ref_name = "Answer"

    @staticmethod
    def of(answer: Answer, root: str) -> dict[str, Any]:
        measure = answer.measure
        link = {"id": measure.slug, "url": f"{root}measures/{measure.slug}/", "display": measure.name}
        return {
            "measure": link,
            "verdict": answer.verdict.value,
            "threshold": measure.threshold,
            **counts_of(answer.tally),
        }


def counts_of(tally: Tally | None) -> dict[str, Any]:
    return {
        "share": tally and tally.share,
        "met": tally and tally.met,
        "violated": tally and tally.violated,
        "unknown": tally and tally.unknown,
        "waived": tally and tally.waived,
        "counted_at": _instant(tally.counted_at if tally else None),
    }


def _instant(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


class ControlSerializer(Shape):
    """A control is declared in the release; the database only knows what was counted."""

    noun = "controls"
    id = serializers.CharField()
    url = Url()
    display = serializers.CharField()
    framework = serializers.CharField()
    function = serializers.ChoiceField(list(FUNCTIONS.items()))
    title = serializers.CharField()
    asks = serializers.CharField()
    verdict = serializers.ChoiceField(VERDICTS, allow_null=True, help_text="The worst of its measures.")
    measures_met = serializers.IntegerField(allow_null=True)
    measures_applicable = serializers.IntegerField(allow_null=True)
    exceptions = serializers.IntegerField(allow_null=True, help_text="Subjects that violate one of its measures.")
    waived = serializers.IntegerField(allow_null=True, help_text="Of these, whose risk somebody accepted.")
    not_measured = serializers.CharField(help_text="What it asks and nothing here measures.")
    sp800_53 = serializers.ListField(child=serializers.CharField(), help_text="NIST SP 800-53 revision 5.")
    replaces = serializers.ListField(child=serializers.CharField(), help_text="Subcategories of NIST CSF 1.1.")
    owasp = serializers.ListField(child=serializers.CharField(), help_text="Entries of the OWASP lists.")
    counted_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        model = MeasureDay
        fields = (
            "id", "url", "display", "framework", "function", "title", "asks", "verdict", "measures_met",
            "measures_applicable", "exceptions", "waived", "not_measured", "sp800_53", "replaces", "owasp",
            "counted_at",
        )  # fmt: skip

    @classmethod
    def of(cls, control: Control, found: Standing | None, root: str) -> dict[str, Any]:
        """`found` is None for those who are not told the counts of the whole estate."""
        return {
            "id": control.id,
            "url": f"{root}controls/{control.id}/",
            "display": f"{control.id} {control.title}",
            "framework": "NIST CSF 2.0",
            "function": control.function,
            "title": control.title,
            "asks": control.asks,
            "verdict": found and found.verdict.value,
            "measures_met": found and found.met,
            "measures_applicable": found and len(found.applicable),
            "exceptions": found and found.exceptions,
            "waived": found and found.waived,
            "not_measured": control.gap,
            "sp800_53": list(control.sp800_53),
            "replaces": list(control.replaces),
            "owasp": list(control.owasp),
            "counted_at": _instant(found.counted_at if found else None),
        }


class ControlObjectSerializer(ControlSerializer):
    """One control, with how each of its measures is answered."""

    measures = AnswerSerializer(many=True)

    class Meta(ControlSerializer.Meta):
        fields = (*ControlSerializer.Meta.fields, "measures")  # type: ignore[assignment]


class MeasureSerializer(CountsSerializer, Shape):
    """A measure is declared in the release, with what was counted last."""

    noun = "measures"
    id = serializers.SlugField()
    url = Url()
    display = serializers.CharField()
    name = serializers.CharField()
    subject = serializers.CharField(help_text="What is counted.")
    rule = LinkSerializer(allow_null=True, help_text="The rule that it counts, where it counts one.")
    controls = serializers.ListField(child=serializers.CharField())
    population = serializers.CharField()
    violated_when = serializers.CharField()
    unknown_when = serializers.CharField()
    formula = serializers.CharField()
    threshold = serializers.FloatField(help_text="The share of its population that must have been seen to meet it.")
    verdict = serializers.ChoiceField(VERDICTS, allow_null=True)

    class Meta:
        model = MeasureDay
        fields = (
            "id", "url", "display", "name", "subject", "rule", "controls", "population", "violated_when",
            "unknown_when", "formula", "threshold", "verdict", "share", "met", "violated", "unknown", "waived",
            "counted_at",
        )  # fmt: skip

    @classmethod
    def of(cls, measure: Measure, tally: Tally | None, verdict: Verdict | None, root: str) -> Mapping[str, Any]:
        rule = {"id": measure.rule, "url": f"{root}rules/{measure.rule}/", "display": measure.name}
        return {
            "id": measure.slug,
            "url": f"{root}measures/{measure.slug}/",
            "display": measure.name,
            "name": measure.name,
            "subject": measure.subject,
            "rule": rule if measure.rule else None,
            "controls": [control.id for control in measured_by(measure.slug)],
            "population": measure.population,
            "violated_when": measure.violated,
            "unknown_when": measure.unknown,
            "formula": measure.formula,
            "threshold": measure.threshold,
            "verdict": verdict and verdict.value,
            **counts_of(tally),
        }


class MeasureLink(Link):
    """A measure as `{"id", "url", "display"}`."""

    def __init__(self) -> None:
        serializers.Field.__init__(self, read_only=True)

    def sql(self, root: str, noun: str) -> Sql:
        name, key = self.parts()
        return JsonObject(("id", key), ("url", address(root, "measures", "measure")), ("display", name))

    def parts(self) -> tuple[Sql, Sql]:
        return Coalesce(TextFromMap(F("measure"), NAMES), F("measure"), output_field=TextField()), F("measure")


class MeasureDaySerializer(Shape):
    noun = "measure-days"
    url = Url()
    display = Text(Joined(F("measure"), Value(" "), F("taken_on")))
    measure = MeasureLink()

    class Meta:
        model = MeasureDay
        fields = ("id", "url", "display", "measure", "taken_on", "counted_at", "met", "violated", "unknown", "waived")


class ControlFilter(FilterSet):  # type: ignore[misc]
    """Of what a release declares, so it narrows no table; the view reads its values."""

    function = ChoicesFilter(choices=list(FUNCTIONS.items()), label="Function")
    verdict = ChoicesFilter(choices=VERDICTS, label="Verdict")
    replaces = ChoicesFilter(
        choices=[(old, old) for old in sorted({old for control in CONTROLS.values() for old in control.replaces})],
        label="CSF 1.1",
    )


class MeasureFilter(FilterSet):  # type: ignore[misc]
    control = ChoicesFilter(choices=[(key, key) for key in CONTROLS], label="Control")
    verdict = ChoicesFilter(choices=VERDICTS, label="Verdict")


class MeasureDayFilter(FilterSet):  # type: ignore[misc]
    measure = ChoicesFilter(choices=sorted(NAMES.items()), label="Measure")
    counted_after = after("counted_at", "Counted from")
    counted_before = before("counted_at", "Counted before")


def chosen_of(said: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: said[name] for name in names}
