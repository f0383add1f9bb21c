"""Time that passes within one test, whose writes all have the instant of its one transaction."""

from datetime import timedelta

from django.db import connection
from django.db.models import Model

from history.kept import APPENDED, KEPT

DAY = timedelta(days=1)


def time_passes(*models: type[Model] | timedelta) -> None:
    """What was written so far, into these tables or into all, was written a day earlier, or as long as is given."""
    lengths = [each for each in models if isinstance(each, timedelta)]
    length = lengths[0] if lengths else DAY
    named = [each for each in models if not isinstance(each, timedelta)]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # no version begins by that
        for it in (KEPT[model] for model in named or KEPT):
            cursor.execute(f"UPDATE public.{it.table} SET history_since = history_since - %s", [length])
            cursor.execute(
                f"UPDATE history.{it.table} SET history_since = history_since - %s, history_until = history_until - %s",
                [length, length],
            )
        for each in APPENDED.values() if not named else ():
            cursor.execute(f"UPDATE public.{each.table} SET {each.at} = {each.at} - %s", [length])
        cursor.execute("UPDATE history_beginning SET at = at - %s", [length])
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")


def versions(model: type[Model]) -> int:
    """How many earlier versions are kept."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM history.{KEPT[model].table}")
        return int(cursor.fetchone()[0])
