"""How pages narrow the filters they share with the API."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from access.actors import Actor
from access.roles import Role
from web.lists import Empty, ListPage


class PresentUnlessAsked:
    """What is gone stays in the inventory and out of the way: a page shows it when asked for, the API always."""

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        found: Any = super().filter_queryset(queryset)  # type: ignore[misc]
        given = self.form.cleaned_data  # type: ignore[attr-defined]
        is_asked = given.get("gone") is not None
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
    found: datetime | None = row.last_seen_at or row.connection.last_whole_look_at or row.first_seen_at
    return found
