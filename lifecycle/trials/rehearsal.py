"""What trials share: a transaction whose writes never last and which ends in time, and results as JSON."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import OperationalError, transaction
from django.db import connection as database
from django.db.backends.utils import CursorWrapper
from psycopg.errors import QueryCanceled

from lifecycle.actions.judging import never_compiled
from lifecycle.errors import TrialTookTooLong

LONGEST = timedelta(seconds=60)  # of one statement


@contextmanager
def rehearsal(longest: timedelta = LONGEST) -> Iterator[CursorWrapper]:
    """A cursor for statements that make temporary tables; everything is rolled back. Raises TrialTookTooLong.

    PostgreSQL has a read-only transaction make no table, not even a temporary one, so nothing is committed instead.
    """
    try:
        with transaction.atomic(), database.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {longest // timedelta(milliseconds=1)}")
            never_compiled(cursor)
            yield cursor
            transaction.set_rollback(True)
    except OperationalError as exc:
        if not isinstance(exc.__cause__, QueryCanceled):
            raise
        raise TrialTookTooLong from exc


def key(value: object) -> UUID | None:
    """The key of a row; none of what is not saved yet."""
    return value if isinstance(value, UUID) else None


def as_plain(value: Any) -> Any:
    """JSON's own types: instants and days as ISO 8601 has them, keys as text."""
    if isinstance(value, Mapping):
        return {str(name): as_plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(each) for each in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    return value
