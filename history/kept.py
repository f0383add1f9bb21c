"""Which tables keep their past, and which of their columns change too often to begin a version each time.

A model says so where it is declared:

    @kept(by_day=("last_used_at",))
    class Credential(Row): ...

Nothing else is to be done for a new table or a new column: `history.following` makes the database follow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.db.models import Model

M = TypeVar("M", bound=type[Model])


@dataclass(frozen=True, slots=True)
class Kept:
    """A table whose rows keep every version.

    `by_day`: times that move at every look; a version begins when one reaches another day (UTC), so that of a past
    instant they are known to the day. `ignored`: what says nothing of the estate, such as leases; of the past it is
    empty. `untold`: what says how far Keyreeve is with a row; it is kept, and no timeline tells of it.
    """

    model: type[Model]
    by_day: Sequence[str]
    ignored: Sequence[str]
    untold: Sequence[str]

    @property
    def table(self) -> str:
        return self.model._meta.db_table

    @property
    def key(self) -> str:
        return str(self.model._meta.pk.column)


@dataclass(frozen=True, slots=True)
class Appended:
    """A table whose rows are never changed: of a past instant, those that were there by then."""

    model: type[Model]
    at: str

    @property
    def table(self) -> str:
        return self.model._meta.db_table


KEPT: dict[type[Model], Kept] = {}
APPENDED: dict[type[Model], Appended] = {}


def kept(*, by_day: Sequence[str] = (), ignored: Sequence[str] = (), untold: Sequence[str] = ()) -> Callable[[M], M]:
    def declare(model: M) -> M:
        KEPT[model] = Kept(model, by_day, ignored, untold)
        return model

    return declare


def appended(at: str) -> Callable[[M], M]:
    """`at` names the column that says when a row was added."""

    def declare(model: M) -> M:
        APPENDED[model] = Appended(model, at)
        return model

    return declare


def has_past(model: type[Model]) -> bool:
    return model in KEPT or model in APPENDED


def tables() -> list[str]:
    """Every table that is read otherwise in the past."""
    return [model._meta.db_table for model in (*KEPT, *APPENDED)]
