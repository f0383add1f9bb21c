"""How pages narrow the filters they share with the API."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.forms.models import ModelChoiceIterator

from access.actors import Actor
from access.roles import Role
from inventory.models import Environment, Owner
from web.lists import Empty, ListPage

OFFERED = 300
OFFERED_ROWS = (Environment, Owner)


class FirstRows(ModelChoiceIterator):  # type: ignore[type-arg]
    """As many choices as a person can look through."""

    def __iter__(self) -> Iterator[Any]:
        if self.field.empty_label is not None:
            yield "", self.field.empty_label
        for row in self.queryset.order_by("name", "pk")[:OFFERED]:
            yield self.choice(row)


class OnPage:
    """For a FilterSet of a page: rows of large tables are narrowed by through links, never offered in a menu."""

    @property
    def form(self) -> Any:
        form: Any = super().form  # type: ignore[misc]
        for field in form.fields.values():
            if not isinstance(field, forms.ModelChoiceField) or isinstance(field.iterator, FirstRows):
                continue
            if field.queryset is not None and field.queryset.model in OFFERED_ROWS:
                field.iterator = FirstRows
                field.widget.choices = field.choices  # type: ignore[attr-defined]
            else:
                field.widget = forms.HiddenInput()
        return form


class PresentUnlessAsked(OnPage):
    """What is gone stays in the inventory and out of the way: a page shows it when asked for, the API always."""

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        found: Any = super().filter_queryset(queryset)  # type: ignore[misc]
        is_asked = self.form.cleaned_data.get("gone") is not None
        shown: QuerySet[Any] = found if is_asked else found.present()
        return shown


def suited(page: ListPage, actor: Actor, role: Role) -> ListPage:
    """The list as declared for who holds `role`; others, when it is empty, are not led to what they may not do."""
    if actor.has(role):
        return page
    if not actor.sees_everything:
        return replace(page, empty=Empty("Nothing that you answer for", "What is assigned to you appears here."))
    return replace(page, empty=replace(page.empty, url="", label=""))


def seen_at(row: Any) -> datetime | None:
    """When it was last seen. What is still there was seen when its connection was last read completely."""
    found: datetime | None = row.last_seen_at or row.connection.last_complete_at or row.first_seen_at
    return found
