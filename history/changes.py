"""What changed about one row, and when, read from its versions: also what nobody recorded an audit entry for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db import connection
from django.db.models import Field, ForeignKey, Model
from django.utils.formats import date_format

from history.kept import KEPT
from history.past import instant

MOST = 60
SHORT = 80
NOTHING = "nothing"
# An action's entry is written at the end of its transaction, a version has the instant of its beginning.
ONE_TRANSACTION = timedelta(seconds=10)


@dataclass(frozen=True)
class Change:
    at: datetime
    fields: Sequence[tuple[str, str, str]]  # each with what it was and what it became

    @property
    def what(self) -> str:
        return "; ".join(f"{name}: {before} → {after}" for name, before, after in self.fields)


def changes_of(row: Model, details: Iterable[tuple[datetime, Any]] = (), *, most: int = MOST) -> list[Change]:
    """Newest first; of the past, up to the instant that is looked at.

    `details` are those of the row's audit entries, with their instants: what an entry of the same transaction tells is
    not told again. Nor is what no person sets, such as the risk, which findings tell of.
    """
    it = KEPT[type(row)]
    fields = [
        field
        for field in row._meta.concrete_fields
        if field.editable
        and not field.primary_key
        and not field.generated
        and field.name not in {*it.by_day, *it.ignored}
    ]
    versions = _versions(row, [str(field.column) for field in fields], most)
    names = _names(fields, versions)
    said = [(at, set(_leaves(detail))) for at, detail in details]
    return list(_told(fields, versions, names, said))


def _told(
    fields: Sequence[Any],
    versions: Sequence[tuple[Any, ...]],
    names: Mapping[Any, str],
    said: Sequence[tuple[datetime, set[str]]],
) -> Iterator[Change]:
    for (since, *after), (_, *before) in pairwise(versions):
        known = {leaf for at, leaves in said if since <= at <= since + ONE_TRANSACTION for leaf in leaves}
        told = []
        for field, old, new in zip(fields, before, after, strict=True):
            was, became = _said(field, old, names), _said(field, new, names)
            if old != new and not ({field.name, was, became, str(old), str(new)} - {NOTHING, "", "None"}) & known:
                told.append((str(field.verbose_name), was, became))
        if told:
            yield Change(since, told)


def _leaves(detail: Any) -> Iterator[str]:
    if isinstance(detail, Mapping):
        for name, value in detail.items():
            yield str(name)
            yield from _leaves(value)
    elif isinstance(detail, list):
        for value in detail:
            yield from _leaves(value)
    else:
        yield str(detail)


def _versions(row: Model, columns: Sequence[str], most: int) -> list[tuple[Any, ...]]:
    table, key = row._meta.db_table, KEPT[type(row)].key
    until = instant() or datetime.max.replace(tzinfo=UTC)
    picked = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT history_since, {picked} FROM public.{table} WHERE {key} = %s AND history_since <= %s"
            f" UNION ALL (SELECT history_since, {picked} FROM history.{table} WHERE {key} = %s AND history_since <= %s"
            " ORDER BY history_since DESC LIMIT %s) ORDER BY 1 DESC",
            [row.pk, until, row.pk, until, most + 1],
        )
        return list(cursor.fetchall())


def _names(fields: Sequence[Any], versions: Sequence[tuple[Any, ...]]) -> dict[Any, str]:
    """How the rows are called that foreign keys name, one query for each table."""
    wanted: dict[type[Model], set[Any]] = {}
    for place, field in enumerate(fields, start=1):
        if isinstance(field, ForeignKey):
            wanted.setdefault(field.related_model, set()).update(version[place] for version in versions)  # type: ignore[arg-type]
    return {
        row.pk: str(row)
        for model, keys in wanted.items()
        if len(keys) > 1  # it changed
        for row in model._default_manager.filter(pk__in=keys - {None})
    }


def _said(field: "Field[Any, Any]", value: Any, names: Mapping[Any, str]) -> str:
    if isinstance(field, ForeignKey):
        return names.get(value, "somebody else" if value else NOTHING)
    if value is None or value in ("", []):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field.choices:
        return str(dict(field.flatchoices).get(value, value)).lower()
    if isinstance(value, datetime):
        return date_format(value.astimezone(UTC), "j F Y H:i")
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"
