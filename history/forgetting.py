"""Versions that ended long ago are forgotten, and how far back the past reaches is said before they are."""

from datetime import datetime

from django.db import connection
from django.db.models import Value
from django.db.models.functions import Greatest

from history.kept import KEPT
from history.models import Beginning

AT_ONCE = 10_000  # rows of one statement, and so of one transaction


def forget(before: datetime) -> int:
    """Remove the versions that ended before then, so that no question can be asked about that time; how many."""
    Beginning.objects.update(at=Greatest("at", Value(before)))
    return sum(_forget(it.table, before) for it in KEPT.values())


def _forget(table: str, before: datetime) -> int:
    count, gone = 0, AT_ONCE
    with connection.cursor() as cursor:
        while gone == AT_ONCE:
            cursor.execute(
                f"DELETE FROM history.{table} WHERE ctid = ANY (ARRAY("
                f"SELECT ctid FROM history.{table} WHERE history_until <= %s LIMIT %s))",
                [before, AT_ONCE],
            )
            gone = cursor.rowcount
            count += gone
    return count
