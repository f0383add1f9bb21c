"""What changed about one row, and when, read from its versions: also what nobody recorded an audit entry for."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import connection
from django.db.models import Field, ForeignKey, JSONField, Model
from django.utils.dateparse import parse_datetime
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


@dataclass(frozen=True)
class Step:
    """From one version to the next: its values before and after, by the columns of the row."""

    at: datetime
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    def changed(self, *columns: str) -> bool:
        return any(self.before[column] != self.after[column] for column in columns)


Known = Callable[[Step], Set[str]]


def changes_of(row: Model, details: Iterable[tuple[datetime, Any]] = (), *, most: int = MOST) -> list[Change]:
    """Newest first; of the past, up to the instant that is looked at.

    `details` are those of the row's audit entries, with their instants: what an entry of the same transaction tells is
    not told again. Nor is what no person sets, such as the risk, which findings tell of.
    """
    return [change for _, change in told(row, steps_of(row, most=most), known_by(details))]


def steps_of(row: Model, *, most: int = MOST, before: datetime | None = None) -> list[Step]:
    """Newest first; of the past, up to the instant that is looked at, and of those alone that lie before `before`."""
    fields = _fields(row)
    columns = [str(field.column) for field in fields]
    versions = [
        (since, {field.column: _as_kept(field, value) for field, value in zip(fields, values, strict=True)})
        for since, *values in _versions(row, columns, most, before)
    ]
    return [Step(since, was, became) for (since, became), (_, was) in pairwise(versions)]


def known_by(details: Iterable[tuple[datetime, Any]]) -> Known:
    """What is told of a step by what was recorded in the same transaction: names of fields, or values."""
    said = [(at, set(_leaves(detail))) for at, detail in details]
    return lambda step: {leaf for at, leaves in said if step.at <= at <= step.at + ONE_TRANSACTION for leaf in leaves}


def told(row: Model, steps: Sequence[Step], known: Known) -> Iterator[tuple[Step, Change]]:
    """The steps of which something is to be told that is not known already."""
    it = KEPT[type(row)]
    fields = [field for field in _fields(row) if field.editable and field.name not in it.untold]
    names = _names(fields, steps)
    for step in steps:
        known_here, said = known(step), []
        for field in fields:
            old, new = step.before[field.column], step.after[field.column]
            if old == new or field.name in known_here:
                continue
            said += [
                (name, was, became)
                for name, was, became in _differences(field, old, new, names)
                if not ({was, became, str(old), str(new)} - {NOTHING, "", "None"}) & known_here
            ]
        if said:
            yield step, Change(step.at, said)


def _fields(row: Model) -> list[Any]:
    it = KEPT[type(row)]
    return [
        field
        for field in row._meta.concrete_fields
        if not field.primary_key and not field.generated and field.name not in {*it.by_day, *it.ignored}
    ]


def _as_kept(field: Any, value: Any) -> Any:
    """What a cursor gives for a field, as its model would: JSON comes as a text."""
    return json.loads(value) if isinstance(field, JSONField) and isinstance(value, str) else value


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


def _versions(row: Model, columns: Sequence[str], most: int, before: datetime | None) -> list[tuple[Any, ...]]:
    """The newest, and one more: what the last of them came from."""
    table, key = row._meta.db_table, KEPT[type(row)].key
    values = {
        "pk": row.pk,
        "until": instant() or datetime.max.replace(tzinfo=UTC),
        "before": before or datetime.max.replace(tzinfo=UTC),
        "most": most + 1,
    }
    which = f"{key} = %(pk)s AND history_since <= %(until)s AND history_since < %(before)s"
    picked = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT history_since, {picked} FROM public.{table} WHERE {which}"
            f" UNION ALL (SELECT history_since, {picked} FROM history.{table} WHERE {which}"
            " ORDER BY history_since DESC LIMIT %(most)s) ORDER BY 1 DESC LIMIT %(most)s",
            values,
        )
        return list(cursor.fetchall())


def _names(fields: Sequence[Any], steps: Sequence[Step]) -> dict[Any, str]:
    """How the rows are called that foreign keys name, one query for each table."""
    wanted: dict[type[Model], set[Any]] = {}
    for field in fields:
        if isinstance(field, ForeignKey):
            keys = {
                key
                for step in steps
                if step.changed(str(field.column))
                for key in (step.before[field.column], step.after[field.column])
            }
            wanted.setdefault(field.related_model, set()).update(keys - {None})  # type: ignore[arg-type]
    return {
        row.pk: str(row) for model, keys in wanted.items() if keys for row in model._default_manager.filter(pk__in=keys)
    }


def _differences(
    field: "Field[Any, Any]", old: Any, new: Any, names: Mapping[Any, str]
) -> Iterator[tuple[str, str, str]]:
    """What it was and what it became; of what holds many values by name, each that differs."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            if old.get(key) != new.get(key):
                yield str(key).replace("_", " "), in_words(old.get(key)), in_words(new.get(key))
        return
    yield str(field.verbose_name), _said(field, old, names), _said(field, new, names)


def _said(field: "Field[Any, Any]", value: Any, names: Mapping[Any, str]) -> str:
    if isinstance(field, ForeignKey):
        return names.get(value, "somebody else" if value else NOTHING)
    of_each = field.base_field if isinstance(field, ArrayField) else field
    if of_each.choices and value not in (None, "", []):
        labels = dict(of_each.flatchoices)
        return ", ".join(
            str(labels.get(each, each)).lower() for each in (value if isinstance(value, list) else [value])
        )
    return in_words(value)


def in_words(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    moment = _moment(value) if isinstance(value, str) else value
    if isinstance(moment, datetime):
        return date_format(moment.astimezone(UTC), "j F Y H:i")
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"


def _moment(text: str) -> datetime | None:
    """The instant that a text is, as JSON holds one; somebody else's text may be anything."""
    try:
        found = parse_datetime(text)
    except ValueError:  # well formed, but no such day
        return None
    return found if found is not None and found.tzinfo is not None else None
