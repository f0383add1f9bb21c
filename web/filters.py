"""Filters that lists share."""

from typing import Any

import django_filters
from django import forms


class YesNoFilter(django_filters.BooleanFilter):  # type: ignore[misc]
    """A boolean that says yes, no or either; the stock one says `unknown` for either and leaves it in the address."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        choices = [("", "Either"), ("true", "Yes"), ("false", "No")]
        super().__init__(*args, **{"widget": forms.Select(choices=choices), **kwargs})


class DayFilter(django_filters.DateFilter):  # type: ignore[misc]
    """A day with the browser's own picker. Two of them (`…_after`, `…_before`) make a range, each with its label."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"widget": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"), **kwargs})


class AnyOfFilter(django_filters.MultipleChoiceFilter):  # type: ignore[misc]
    """Several values of one field, any of which will do. The stock filter adds DISTINCT, which sorts the whole list."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"distinct": False, "widget": forms.CheckboxSelectMultiple, **kwargs})

    def filter(self, qs: Any, value: Any) -> Any:
        return qs.filter(**{f"{self.field_name}__in": value}) if value else qs
