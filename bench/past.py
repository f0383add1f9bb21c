"""The past: what the questions of `bench.lists` cost as of an instant since when every row has changed.

Every credential has two earlier versions and every finding, server, client and use one, so that of most rows the
answer lies in a version that ended. Held against the same question about the present in the same run.
"""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from django.db import connection, transaction
from django.urls import resolve
from django.utils import timezone

from bench.lists import SMALL, Asked, fill, requests
from bench.measure import Row, percentile, timed
from bench.scratch import scratch_database
from config.api import NOUNS
from config.statics import ensure_collected
from history.kept import has_past

MOST = 250.0  # milliseconds of server time, p95
REPEATS, WARM = 10, 2

# A change of every row as an evaluation or a sync makes it: one statement.
FIRST = ("UPDATE inventory_credential SET score = (score + 7) %% 91, risk = (risk + 1) %% 5",)
SECOND = (
    "UPDATE inventory_credential SET risk = (risk + 2) %% 5, name = name || ', moved', owner_id = NULL",
    "UPDATE inventory_mcpserver SET risk = (risk + 1) %% 5, name = name || ', moved'",
    "UPDATE inventory_mcpclient SET risk = (risk + 1) %% 5, name = name || ', moved'",
    "UPDATE inventory_use SET is_disabled = NOT is_disabled",
    "UPDATE inventory_owner SET name = name || ', moved'",
    "UPDATE lifecycle_finding SET severity = 1 + severity %% 4, due_at = due_at + interval '9 days'",
)


def run(size: int = 1_000_000) -> list[Row]:
    ensure_collected()
    with scratch_database():
        fill(0, SMALL)  # so that the planner knows the tables when most of it is made
        fill(SMALL, size)
        changed = [change(FIRST)]
        moment = timezone.now()
        changed += [change(SECOND)]
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        rows = [
            Row(
                name=f"a change of every row, {words}",
                size=size,
                value=round(seconds, 1),
                unit="s",
                limit=None,
                ratio=None,
                budget="none",
                ok=True,
            )
            for seconds, words in zip(changed, ("credentials", "all tables"), strict=True)
        ]
        then = quote(moment.isoformat())
        for asked in requests():
            if _knows_past(asked):
                was = replace(asked, url=f"{asked.url}{'&' if '?' in asked.url else '?'}as_of={then}")
                rows.append(_row(asked, *_measured(was), size=size, now=_measured(asked)[0]))
        return rows


def change(statements: Sequence[str]) -> float:
    """The seconds that it takes to change every row."""
    with timed() as watch, transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, [])
    return watch.seconds


def _knows_past(asked: Asked) -> bool:
    path = asked.url.partition("?")[0]
    if not path.startswith("/api/"):
        return getattr(resolve(path).func, "answers_past", False)
    noun = next(part for part in path.split("/")[3:] if part and part != "export")
    return has_past(NOUNS[noun].queryset.model)


def _measured(asked: Asked) -> tuple[float, int]:
    for _ in range(WARM):
        asked.milliseconds()
    return percentile([asked.milliseconds() for _ in range(REPEATS)], 0.95), asked.queries()


def _row(asked: Asked, value: float, queries: int, *, size: int, now: float) -> Row:
    return Row(
        name=f"{asked.name}, as of then",
        size=size,
        value=round(value, 1),
        unit="ms",
        limit=round(now, 1),
        ratio=round(value / now, 1),
        budget=f"≤ {MOST:.0f} ms, {queries} queries",
        ok=value <= MOST,
    )
