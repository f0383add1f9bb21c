"""Looking at the past: inside `looking_at(instant)` every read of this thread answers as it would have then.

Tables that keep their past are read through views of the same names, so querysets, filters, shapes and statements
written by hand need not know. Nothing can be written there. Who may see a row is still decided by what is theirs now:
`by_present_rights` is for the querysets that decide it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import cache, wraps
from typing import Any, TypeVar

from django.db import connection, transaction
from django.db.models import Max, QuerySet, Subquery
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format

from history.kept import KEPT, tables
from history.models import Beginning

T = TypeVar("T")
Q = TypeVar("Q", bound=QuerySet[Any])

PARAMETER = "as_of"
FEW = 2_000  # rows that are quicker sorted than found one by one in the order of an index
_INSTANT: ContextVar[datetime | None] = ContextVar("instant", default=None)


class NoSuchPast(ValueError):
    """Nothing can be said of that instant; the message is safe to show and says what to do."""


def instant() -> datetime | None:
    """The past instant that is looked at, or None for the present."""
    return _INSTANT.get()


def now() -> datetime:
    """The clock for reads: of the past, the instant that is looked at."""
    return _INSTANT.get() or timezone.now()


def instant_of(text: str, *, now: datetime, is_zone_needed: bool = True) -> datetime:
    """The instant that was asked for; `now` is the clock's. Raises NoSuchPast for one of which nothing is known.

    A person's form names no zone; it says that it means UTC.
    """
    example = "2026-06-30T00:00:00Z"
    try:
        found = parse_datetime(text)
    except ValueError:  # well formed, but no such day
        found = None
    if found is not None and found.tzinfo is None and not is_zone_needed:
        found = found.replace(tzinfo=UTC)
    if found is None or found.tzinfo is None:
        raise NoSuchPast(f"Give an instant with its zone, such as {example}.")
    try:
        found = found.astimezone(UTC)
    except OverflowError as exc:
        raise NoSuchPast(f"Give an instant with its zone, such as {example}.") from exc
    check(found, now=now)
    return found


def check(moment: datetime, *, now: datetime) -> None:
    """Raises NoSuchPast where nothing is known of that instant."""
    if moment > now:
        raise NoSuchPast("That instant has not come yet. Nothing is known of it.")
    begun = beginning()
    if begun is None or moment < begun:
        since = "It has not begun." if begun is None else f"It begins at {_words(begun)}."
        raise NoSuchPast(f"History does not reach back so far, so nothing is known of that instant. {since}")


def beginning() -> datetime | None:
    """Since when everything that keeps its past has done so."""
    found: datetime | None = Beginning.objects.aggregate(at=Max("at"))["at"]
    return found


def _words(moment: datetime) -> str:
    """To the second after it, so that what is told can be asked."""
    return f"{date_format((moment + timedelta(seconds=1)).astimezone(UTC), 'j F Y H:i:s')} UTC"


# The places that hold many versions of an instant. Each look is bounded: of versions that have ended, those of the
# instant are the first to end after it.
_MANY_STAND = "SELECT 'public.{0}' AS place WHERE EXISTS (SELECT FROM public.{0} WHERE history_since <= {1} OFFSET {2})"
_MANY_ENDED = """SELECT 'history.{0}' WHERE {2} < (SELECT count(*) FILTER (WHERE history_since <= {1}) FROM (
  SELECT history_since FROM history.{0} WHERE history_until > {1} ORDER BY history_until LIMIT 2 * {2}) ended)"""


@cache
def _places() -> str:
    instant = "%(at)s::timestamptz"
    parts = [part.format(it.table, instant, FEW) for it in KEPT.values() for part in (_MANY_STAND, _MANY_ENDED)]
    return f"SELECT coalesce(string_agg(place, ' '), '') FROM ({' UNION ALL '.join(parts)}) places"


@contextmanager
def looking_at(moment: datetime, *, is_gathering: bool = False) -> Iterator[None]:
    """Inside, this thread's reads are of `moment`, and writes are refused by the database.

    Who gathers what is read in temporary tables says so; then only views stand in the way of a write.
    """
    before = _INSTANT.get()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('transaction_read_only', %(read_only)s, true),"
                " set_config('keyreeve.as_of', %(at)s, true),"
                f" set_config('keyreeve.walked', ' ' || ({_places()}) || ' ', true),"
                " set_config('search_path', 'past, public', true)",
                {"at": moment.isoformat(), "read_only": "off" if is_gathering else "on"},
            )
        _INSTANT.set(moment)
        try:
            yield
        finally:
            _INSTANT.set(before)
        # Nothing was written. Taking back a savepoint also takes back what was set above, keeping it would not.
        transaction.set_rollback(True)


def read_at(moment: datetime, rows: Iterable[T]) -> Iterator[T]:
    """What is streamed after the view has returned, read at `moment` nevertheless."""
    with looking_at(moment):
        yield from rows


# ── Who may see ────────────────────────────────────────────────────────────────────────────────


@cache
def _shadowed() -> re.Pattern[str]:
    return re.compile(rf'(?<!public\.)"({"|".join(sorted(tables()))})"')


class InPresent(Subquery):
    """A subquery that reads the tables as they are now, also inside a look at the past."""

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **kwargs: Any) -> tuple[str, Any]:  # type: ignore[override]
        sql, params = super().as_sql(compiler, connection, *args, **kwargs)
        return _shadowed().sub(r'public."\1"', sql), params


def by_present_rights(visible_to: Callable[[Q, Any], Q]) -> Callable[[Q, Any], Q]:
    """Of the past too, an actor sees what is theirs now: a right that has ended does not come back with a date."""

    @wraps(visible_to)
    def decided(rows: Q, actor: Any) -> Q:
        if instant() is None or actor.sees_everything:
            return visible_to(rows, actor)
        present = visible_to(rows.model._default_manager.all(), actor)  # type: ignore[arg-type]
        return rows.filter(pk__in=InPresent(present.order_by().values("pk")))

    return decided
