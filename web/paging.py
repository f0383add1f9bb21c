"""Keyset paging, for pages and the API alike: a page costs the same wherever in the list it lies.

A cursor names the last row's values of the ordering. The next page is `(a, b, id) > (x, y, z)` as one row
comparison, which PostgreSQL answers as a range of an index over `(a, b, id)`. So all keys of an ordering run in one
direction, the primary key is the last of them, and a key that may be NULL is wrapped in `Coalesce` (with
`FAR_PAST`, `FAR_FUTURE`, …), in the index as well.
"""

import base64
import binascii
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, NoReturn, Self, TypeVar
from uuid import UUID

from django.core.exceptions import EmptyResultSet, FieldError, ValidationError
from django.db import connections, models
from django.db.models import BooleanField, Expression, F, Func, Model, QuerySet, Value
from django.utils.duration import duration_iso_string

from web.wording import thousands

M = TypeVar("M", bound=Model)
T = TypeVar("T")

FAR_PAST = datetime(1, 1, 2, tzinfo=UTC)
FAR_FUTURE = datetime(9999, 12, 30, tzinfo=UTC)
CURSOR_LIMIT = 4_000
COUNT_LIMIT = 10_000


class BadCursor(ValueError):
    """The cursor was not made by this list in this order; begin again at the first page."""


@dataclass(frozen=True)
class Ordering:
    """A way to sort a list: public name, keys (field names or expressions), direction, and how a person calls it."""

    name: str
    keys: tuple[str | Expression | F, ...]
    descending: bool = False
    ascending_words: str = ""
    descending_words: str = ""

    @property
    def words(self) -> str:
        return self.descending_words if self.descending else self.ascending_words

    @property
    def parameter(self) -> str:
        """As it stands in a query string: `age`, `-age`."""
        return f"-{self.name}" if self.descending else self.name

    def directed(self, *, descending: bool) -> "Ordering":
        return replace(self, descending=descending)

    def apply(self, queryset: QuerySet[M]) -> QuerySet[M]:
        """The whole queryset in this order, for exports."""
        return Keys(queryset, self).sorted(backwards=False)


@dataclass(frozen=True)
class Page(Generic[T]):
    rows: list[T]
    next: str | None
    previous: str | None


class RowComparison(Func):
    """`(a, b) > (x, y)`: a row comparison is lexicographic, and one index condition."""

    conditional = True

    def __init__(self, keys: Sequence[Any], values: Sequence[Any], operator: str) -> None:
        super().__init__(*keys, *values, output_field=BooleanField())
        self.operator = operator

    def as_sql(  # type: ignore[override]
        self,
        compiler: Any,
        connection: Any,
        **_: Any,
    ) -> tuple[str, list[Any]]:
        compiled = [compiler.compile(expression) for expression in self.get_source_expressions()]
        half = len(compiled) // 2
        left, right = (", ".join(sql for sql, _ in part) for part in (compiled[:half], compiled[half:]))
        return f"({left}) {self.operator} ({right})", [value for _, params in compiled for value in params]


class Keys:
    """The keys of an ordering over one queryset. Each is selected with the row, so a cursor says what SQL compared."""

    def __init__(self, queryset: QuerySet[Any], ordering: Ordering) -> None:
        self.ordering = ordering
        expressions = [F(key) if isinstance(key, str) else key for key in ordering.keys]
        expressions.append(F("pk"))
        self.names = [f"_key_{i}" for i in range(len(expressions))]
        self.queryset = queryset.annotate(**dict(zip(self.names, expressions, strict=True)))
        annotations = self.queryset.query.annotations
        self.fields: list[models.Field[Any, Any]] = [annotations[name].output_field for name in self.names]

    def sorted(self, *, backwards: bool) -> QuerySet[Any]:
        sign = "-" if self.ordering.descending != backwards else ""
        rows: QuerySet[Any] = self.queryset.order_by(*(sign + name for name in self.names))
        return rows

    def beyond(self, values: Sequence[Any], *, backwards: bool) -> QuerySet[Any]:
        operator = "<" if self.ordering.descending != backwards else ">"
        edges = [Value(value, output_field=field) for value, field in zip(values, self.fields, strict=True)]
        beyond_edge: Any = RowComparison([F(name) for name in self.names], edges, operator)
        return self.sorted(backwards=backwards).filter(beyond_edge)

    def cursor(self, row: Any, *, backwards: bool) -> str:
        return _encoded(self.ordering, [_plain(getattr(row, name)) for name in self.names], backwards=backwards)

    def read(self, cursor: str) -> tuple[list[Any], bool]:
        """The values and the direction, or `BadCursor`."""
        values, backwards = _decoded(cursor, self.ordering, len(self.fields))
        return [_typed(value, field) for value, field in zip(values, self.fields, strict=True)], backwards


def page(queryset: QuerySet[M], ordering: Ordering, cursor: str | None = None, size: int = 50) -> Page[M]:
    """One page. Rows that come and go meanwhile move no other row to another page."""
    keys = Keys(queryset, ordering)
    if not cursor:
        rows = list(keys.sorted(backwards=False)[: size + 1])
        has_more = len(rows) > size
        rows = rows[:size]
        return Page(rows, keys.cursor(rows[-1], backwards=False) if has_more else None, None)
    values, backwards = keys.read(cursor)
    rows = list(keys.beyond(values, backwards=backwards)[: size + 1])
    has_more = len(rows) > size
    rows = rows[:size]
    if not rows:  # what lay on this side is gone meanwhile
        return Page([], None, None)
    if backwards:
        rows.reverse()
    first, last = keys.cursor(rows[0], backwards=True), keys.cursor(rows[-1], backwards=False)
    return Page(rows, last if backwards or has_more else None, first if not backwards or has_more else None)


def page_of_few(rows: Mapping[str, T], ordering: Ordering, cursor: str | None, size: int) -> Page[T]:
    """A page of what is no table: few rows in memory, by the texts that they are sorted by."""
    names = sorted(rows, reverse=ordering.descending)
    begin, end = 0, size
    if cursor:
        (edge,), backwards = _decoded(cursor, ordering, 1)
        if not isinstance(edge, str):
            raise BadCursor("This link to a page is damaged.")
        before = [name for name in names if (name > edge if ordering.descending else name < edge)]
        begin = max(0, len(before) - size) if backwards else len(before) + (edge in rows)
        end = len(before) if backwards else begin + size
    shown = names[begin:end]
    return Page(
        [rows[name] for name in shown],
        _encoded(ordering, [shown[-1]], backwards=False) if shown and end < len(names) else None,
        _encoded(ordering, [shown[0]], backwards=True) if shown and begin > 0 else None,
    )


def _plain(value: Any) -> Any:
    if value is None:
        raise FieldError("A key of an ordering was NULL; wrap it in Coalesce.")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return duration_iso_string(value)
    if isinstance(value, UUID | Decimal):
        return str(value)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value")


def _encoded(ordering: Ordering, values: Sequence[Any], *, backwards: bool) -> str:
    text = json.dumps([ordering.parameter, "<" if backwards else ">", values], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(cursor: str, ordering: Ordering, count: int) -> tuple[list[Any], bool]:
    """So many values, and whether the page lies before them."""
    try:
        if len(cursor) > CURSOR_LIMIT:
            raise ValueError("too long")
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        parameter, arrow, values = json.loads(raw.decode(), parse_constant=_refuse_constant)
    except (ValueError, TypeError, binascii.Error, RecursionError) as exc:
        raise BadCursor("This link to a page is damaged.") from exc
    if parameter != ordering.parameter or arrow not in {"<", ">"}:
        raise BadCursor("This link belongs to another order of the list.")
    if not isinstance(values, list) or len(values) != count:
        raise BadCursor("This link to a page is damaged.")
    return values, arrow == "<"


def _typed(value: Any, field: "models.Field[Any, Any]") -> Any:
    """The value as its column has it. A cursor comes from outside, so nothing is believed."""
    try:
        if value is None or isinstance(value, list | dict):
            raise ValueError("not a value")
        if isinstance(value, str):
            value.encode()  # a lone surrogate is no text
            if "\x00" in value:
                raise ValueError("NUL")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("not finite")
        typed = field.to_python(value)
        if isinstance(typed, datetime) and typed.tzinfo is None:
            raise ValueError("no time zone")
        if isinstance(field, models.IntegerField):
            field.run_validators(typed)
    except (ValueError, TypeError, OverflowError, ArithmeticError, ValidationError) as exc:
        raise BadCursor("This link to a page is damaged.") from exc
    return typed


# ── Counting ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Capped:
    """A count that stopped at its limit: `more` says that there are more than `value`."""

    value: int
    more: bool = False

    @classmethod
    def of(cls, count: int, limit: int = COUNT_LIMIT) -> Self:
        """Of a count that was made up to one more than `limit`."""
        return cls(min(count, limit), count > limit)

    def __str__(self) -> str:
        return thousands(self.value) + ("+" if self.more else "")

    def __bool__(self) -> bool:
        return self.value > 0


def capped_count(queryset: QuerySet[Any], limit: int = COUNT_LIMIT) -> Capped:
    """How many rows, looked at up to `limit`: the same cost at ten thousand and at ten million."""
    return capped_counts([queryset], limit)[0]


def _together(querysets: Sequence[QuerySet[Any]], part: str) -> list[Any]:
    """One value of each, in one statement; None for what is known to have no row. `part` is the SQL around its rows."""
    parts: list[str] = []
    params: list[Any] = []
    places: list[int | None] = []
    alias = "default"
    for queryset in querysets:
        alias = queryset.db
        try:
            sql, values = queryset.query.get_compiler(alias).as_sql()
        except EmptyResultSet:
            places.append(None)
            continue
        places.append(len(parts))
        parts.append(part.format(sql))
        params += values
    found: Sequence[Any] = ()
    if parts:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT " + ", ".join(parts), params)
            found = cursor.fetchone()
    return [None if place is None else found[place] for place in places]


def rows_together(**querysets: QuerySet[Any]) -> dict[str, list[dict[str, Any]]]:
    """The rows of several `values()` in one statement, by name: as JSON has them, so that keys are texts."""
    part = "(SELECT coalesce(json_agg(row_to_json(part)), '[]') FROM ({}) part)"
    answers = _together(list(querysets.values()), part)
    rows = (json.loads(answer) if isinstance(answer, str) else answer or [] for answer in answers)
    return dict(zip(querysets, rows, strict=True))


def capped_counts(querysets: Iterable[QuerySet[Any]], *limits: int) -> list[Capped]:
    """Several counts in one statement, as the tabs of a list need them. The last limit holds for all that follow."""
    rows_of = list(querysets)
    limits = limits or (COUNT_LIMIT,)
    bounds = [limits[min(i, len(limits) - 1)] for i in range(len(rows_of))]
    rows = [queryset.order_by().values_list("pk")[: limit + 1] for queryset, limit in zip(rows_of, bounds, strict=True)]
    counts = [count or 0 for count in _together(rows, "(SELECT count(*) FROM ({}) counted)")]
    return [Capped(min(count, limit), count > limit) for count, limit in zip(counts, bounds, strict=True)]
