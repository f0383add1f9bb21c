"""Rows out of the database in the form in which they are kept, by COPY: no row becomes an object on the way.

COPY says one row after the other and waits for whoever reads, so memory stays as it is, whatever there is to read.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import EmptyResultSet
from django.db import connection as database
from django.db.models import (
    BooleanField,
    CharField,
    DateTimeField,
    DurationField,
    Field,
    Func,
    JSONField,
    QuerySet,
    TextField,
    UUIDField,
)

from web.csvfiles import FORMULA_STARTS

BLOCK = 1 << 18
Params = Sequence[Any] | Mapping[str, Any]
_STARTS = ", ".join(str(ord(each)) for each in FORMULA_STARTS)


def statement_of(rows: QuerySet[Any]) -> tuple[str, Sequence[Any]]:
    """What asks the database for these rows."""
    try:
        select, params = rows.query.sql_with_params()
    except EmptyResultSet:  # the filters leave nothing, whatever there is
        return "SELECT WHERE false", ()
    return select, params


def rows_of(select: str, params: Params, *, form: str = "text") -> Iterator[bytes]:
    """Each row by itself, with the end of its line."""
    with database.cursor() as cursor:
        # What takes rows in the order of a key need not sort them, each with its texts, outside of memory.
        cursor.execute("SET LOCAL enable_sort = off")
        with cursor.cursor.copy(f"COPY ({select}) TO STDOUT (FORMAT {form})", params) as copied:
            for row in copied:
                yield bytes(row)
        cursor.execute("SET LOCAL enable_sort TO DEFAULT")


def json_lines(select: str, params: Params) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines and how many they are: each line is a JSON text, which is the one column of `select`."""
    for block, number in _blocks(rows_of(select, params)):
        # No JSON text has a byte that COPY writes in another way, but for the backslash, which it doubles.
        yield block.replace(b"\\\\", b"\\"), number


def csv_lines(select: str, params: Params) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole rows and how many they are."""
    yield from _blocks(rows_of(select, params, form="csv"))


def _blocks(rows: Iterator[bytes]) -> Iterator[tuple[bytes, int]]:
    kept, number = bytearray(), 0
    for row in rows:
        kept += row
        number += 1
        if len(kept) >= BLOCK:
            yield bytes(kept), number
            kept.clear()
            number = 0
    if number:
        yield bytes(kept), number


class Cell(Func):
    """What `web.csvfiles.cell` says of a value, as text by the database: nothing in it is run by a spreadsheet.

    `is_ours`: the words are of this program, so none begins as a formula does.
    """

    output_field = TextField()

    def __init__(self, value: Any, *, is_ours: bool = False) -> None:
        super().__init__(value)
        self.is_ours = is_ours

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        (source,) = self.get_source_expressions()
        sql, params = compiler.compile(source)
        kind = source.output_field
        text = said_of(sql, kind)
        if self.is_ours or not _is_free(kind):
            return text, list(params)
        return guarded(text), [*params, *params, *params]


def said_of(sql: str, kind: "Field[Any, Any]") -> str:
    if isinstance(kind, BooleanField):
        return f"(CASE {sql} WHEN true THEN 'yes' WHEN false THEN 'no' END)"
    if isinstance(kind, DateTimeField):
        return f"btrim(to_json({sql})::text, '\"')"
    if isinstance(kind, ArrayField):
        return f"array_to_string({sql}, '; ')"
    if isinstance(kind, DurationField):
        return f"extract(epoch FROM {sql})::text"
    return f"({sql})::text"


def guarded(text: str) -> str:
    """A text that a spreadsheet would take for a formula gets an apostrophe in front."""
    return f"(CASE WHEN ascii(ltrim({text})) IN ({_STARTS}) THEN '''' || {text} ELSE {text} END)"


def _is_free(kind: "Field[Any, Any]") -> bool:
    """Whether somebody else's words may stand in it."""
    if isinstance(kind, UUIDField | JSONField) or kind.choices:
        return False
    return isinstance(kind, CharField | TextField | ArrayField)
