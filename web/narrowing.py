"""Filters that narrow a list, for pages and the API alike. None of them joins, so none needs DISTINCT."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet, Value
from django.forms.utils import flatatt
from django.utils.safestring import SafeString
from django_filters import FilterSet
from django_filters.fields import ModelChoiceField, ModelChoiceIterator
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field

from web.markup import joined, markup

Choice = tuple[Any, str]
OFFERED = 300  # rows in a menu of a page


# ── Widgets as one text ──
# The stock widgets render a template for each option and another for its attributes: half the time of a whole page,
# for a panel that is closed.


class OneText(forms.widgets.Input):
    """An input that is put together without a template."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        said = self.format_value(value)
        own = {"type": self.input_type, "name": name, **({} if said is None else {"value": said})}
        return markup("<input{}>", flatatt({**own, **self.build_attrs(self.attrs, attrs)}))


class Day(OneText, forms.DateInput):
    """A day as browsers take and give one, whatever the language: in another form their picker comes up empty."""

    input_type = "date"

    def __init__(self, attrs: Any = None) -> None:
        super().__init__(attrs, format="%Y-%m-%d")


class Unseen(OneText, forms.HiddenInput):
    pass


class Menu(forms.Select):
    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        own = {"name": name, **self.build_attrs(self.attrs, attrs), "multiple": self.allow_multiple_selected}
        chosen = self.format_value(value)
        options = joined('<option value="{}"{}>{}</option>', self.offered([str(each) for each in chosen]))
        return markup("<select{}>{}</select>", flatatt(own), options)

    def offered(self, chosen: list[str]) -> Iterator[tuple[Any, SafeString, Any]]:
        """Each option with its value, whether it is chosen, and its words."""
        for value, label in self.choices:
            value = "" if value is None else value  # noqa: PLW2901  as the stock widget has it
            yield value, SELECTED if str(value) in chosen else NOTHING, label


SELECTED, NOTHING = SafeString(" selected"), SafeString("")


class Picks(Menu, forms.SelectMultiple):
    pass


class SearchFilter(django_filters.CharFilter):  # type: ignore[misc]
    """Every word as the beginning of a word; the table's queryset says in which columns (`matching`)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label": "Search", "max_length": 200, **kwargs})

    def filter(self, qs: QuerySet[Any], value: str) -> QuerySet[Any]:
        return qs.matching(value) if value else qs  # type: ignore[attr-defined]


class ChoicesFilter(django_filters.MultipleChoiceFilter):  # type: ignore[misc]
    """Any of the values given. `stands_for` says what a public value is in the column, where that differs."""

    def __init__(
        self, *args: Any, choices: Sequence[Choice], stands_for: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        self.stands_for = stands_for or {}
        allowed = ", ".join(str(value) for value, _ in choices)
        refusal = {"invalid_choice": f"“%(value)s” is none of {allowed}."}
        super().__init__(*args, **{"choices": choices, "error_messages": refusal, "widget": Picks, **kwargs})

    def filter(self, qs: QuerySet[Any], value: Sequence[str]) -> QuerySet[Any]:
        if not value:
            return qs
        return qs.filter(**{f"{self.field_name}__in": [self.stands_for.get(each, each) for each in value]})


class LevelField(forms.MultipleChoiceField):
    """Takes a level's number for its name too, as a link made from a row holds it."""

    def __init__(self, *, names: Mapping[str, str], **kwargs: Any) -> None:
        self.names = names
        super().__init__(**kwargs)

    def to_python(self, value: Any) -> list[str]:
        return [self.names.get(each, each) for each in super().to_python(value)]


class LevelFilter(ChoicesFilter):
    """Any of the levels of an ordered enum, by their lower-case names, the worst first: `severity=critical`."""

    field_class = LevelField

    def __init__(self, levels: Iterable[Any], *args: Any, **kwargs: Any) -> None:
        kept = sorted(levels, reverse=True)
        super().__init__(
            *args,
            **{
                "choices": [(level.name.lower(), level.label) for level in kept],
                "stands_for": {level.name.lower(): level.value for level in kept},
                "names": {str(level.value): level.name.lower() for level in kept},
                **kwargs,
            },
        )


class MomentField(forms.DateTimeField):
    widget = Day
    default_error_messages: ClassVar[Any] = {"invalid": "Give a day (2026-06-30) or an instant (2026-06-30T12:00:00Z)."}


@extend_schema_field({"type": "string", "examples": ["2026-06-30", "2026-06-30T12:00:00Z"]})
class MomentFilter(django_filters.Filter):  # type: ignore[misc]
    """A day, which is its first moment in UTC, or an instant. `…_after` takes it in, `…_before` leaves it out."""

    field_class = MomentField


def after(field_name: str, label: str) -> MomentFilter:
    return MomentFilter(field_name=field_name, lookup_expr="gte", label=label)


def before(field_name: str, label: str) -> MomentFilter:
    return MomentFilter(field_name=field_name, lookup_expr="lt", label=label)


class FlagField(forms.TypedChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        choices = [("", "Either"), ("true", "Yes"), ("false", "No")]
        refusal = {"invalid_choice": "Say true or false."}
        said = {"coerce": lambda value: value == "true", "empty_value": None, "error_messages": refusal, "widget": Menu}
        super().__init__(**{**said, **kwargs}, choices=choices)


@extend_schema_field(OpenApiTypes.BOOL)
class FlagFilter(django_filters.Filter):  # type: ignore[misc]
    """Yes, no or either. What is neither `true` nor `false` is refused; the stock filter would let all through."""

    field_class = FlagField


class SetFilter(FlagFilter):
    """Whether a column has a value."""

    def filter(self, qs: QuerySet[Any], value: bool | None) -> QuerySet[Any]:
        return qs if value is None else qs.filter(**{f"{self.field_name}__isnull": not value})


@lru_cache(maxsize=1_000)
def only(filterset: type[FilterSet], names: frozenset[str]) -> type[FilterSet]:
    """The same filter set with these filters alone. Each filter is copied and made a field for every use of a set, so
    that a set of thirty costs as much as the rows of a page; what is not asked for narrows nothing.
    """
    fewer: Any = type(filterset.__name__, (filterset,), {})
    fewer.base_filters = {name: each for name, each in filterset.base_filters.items() if name in names}
    narrowed: type[FilterSet] = fewer
    return narrowed


def once(request: Any, key: Hashable, look: Callable[[], Any]) -> Any:
    """What `look` finds, once for a request: a page applies one filter to the list, to its tabs and to its chips."""
    if request is None:
        return look()
    known = request.__dict__.setdefault("looked_up_by_filters", {})
    if key not in known:
        known[key] = look()
    return known[key]


def rows_of(model: type[Model]) -> Callable[[Any], QuerySet[Any]]:
    """What may be named in a filter: what the asker may see."""

    def visible(request: Any) -> QuerySet[Any]:
        rows = model._default_manager.all()
        actor = getattr(request, "actor", None)
        return rows.visible_to(actor) if actor is not None and hasattr(rows, "visible_to") else rows

    return visible


class FirstRows(ModelChoiceIterator):  # type: ignore[misc]
    """As many choices as a person can look through, by the name that their table is sorted by."""

    def __iter__(self) -> Iterator[Any]:
        if self.field.empty_label is not None:
            yield "", self.field.empty_label
        if self.field.first_rows is not None:
            yield from self.field.first_rows
            return
        yield from self.queryset.order_by("name", "pk").values_list("pk", "name")[:OFFERED]


class RowSelect(Menu):
    """Offers what is chosen too, if it is not among the first rows; the form would else lose it."""

    def offered(self, chosen: list[str]) -> Iterator[tuple[Any, SafeString, Any]]:
        is_found = not any(chosen)
        for option in super().offered(chosen):
            is_found = is_found or option[1] is SELECTED
            yield option
        if not is_found and (row := self._row(chosen[0])) is not None:
            yield row.pk, SELECTED, row

    def _row(self, key: Any) -> Any:
        try:
            return self.choices.field.to_python(key)  # type: ignore[attr-defined]
        except ValidationError:  # no key at all, or nobody's; the form says so
            return None


class RowField(ModelChoiceField):  # type: ignore[misc]
    iterator = FirstRows
    request: Any = None
    first_rows: list[Choice] | None = None  # once they have been read with those of the form's other menus

    def to_python(self, value: Any) -> Any:
        key = (self.queryset.model, str(value))
        return once(self.request, key, lambda: super(RowField, self).to_python(value))


def fill_menus(form: forms.Form) -> None:
    """Read what the menus of a form offer, all of them in one statement."""
    menus = [each for each in form.fields.values() if isinstance(each, RowField) and isinstance(each.widget, RowSelect)]
    if len(menus) < 2 or menus[0].first_rows is not None:
        return
    first, *others = (
        menu.queryset.order_by("name", "pk").values_list(Value(i), "pk", "name")[:OFFERED]
        for i, menu in enumerate(menus)
    )
    for menu in menus:
        menu.first_rows = []
    for i, key, name in first.union(*others, all=True).order_by():
        menus[i].first_rows.append((key, name))


@extend_schema_field(OpenApiTypes.UUID)
class RowFilter(django_filters.ModelChoiceFilter):  # type: ignore[misc]
    """One row by its id. An id that the asker may not see does not exist.

    Pages offer the first rows of a table that is small enough (`offered`, it has a name); any other is narrowed by
    through links, and its field is hidden.
    """

    field_class = RowField

    def __init__(self, model: type[Model], *args: Any, offered: bool = False, **kwargs: Any) -> None:
        refusal = {"invalid_choice": f"There is no {model._meta.verbose_name} with this id."}
        super().__init__(
            *args,
            **{
                "queryset": rows_of(model),
                "empty_label": "Any",
                "error_messages": refusal,
                "widget": RowSelect if offered else Unseen,
                **kwargs,
            },
        )

    @property
    def field(self) -> Any:
        found = super().field
        found.request = self.get_request()
        return found
