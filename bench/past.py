"""The past: what the questions of `bench.lists` cost as of an instant since when every row has changed.

Every credential has two earlier versions and every finding, server, client and use one, so that of most rows the
answer lies in a version that ended. Held against the same question about the present in the same run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from django.db import connection, transaction
from django.urls import resolve, reverse
from django.utils import timezone

from bench.lists import SMALL, Asked, fill, requests
from bench.measure import Row, percentile, timed
from bench.scratch import scratch_database
from config.api import NOUNS
from config.statics import ensure_collected
from history.kept import has_past
from inventory.models import Credential, Grant, McpClient, McpServer, Owner
from lifecycle.models import Finding, Policy
from lifecycle.views.findings import OPEN

MOST, MOST_OF_API = 250.0, 150.0  # milliseconds of server time, p95; of programs for the seven kinds below
REPEATS, WARM = 10, 2
KINDS: Mapping[str, Any] = {
    "servers": McpServer, "clients": McpClient, "credentials": Credential, "owners": Owner, "grants": Grant,
    "findings": Finding, "policies": Policy,
}  # fmt: skip

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
        pair = _granted()
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
        known = [asked for asked in requests() if _knows_past(asked)]
        of_kinds = list(_kinds(pair, known))
        most = {asked.name: MOST if asked.question.is_page else MOST_OF_API for asked in of_kinds}
        for asked in {asked.name: asked for asked in [*known, *of_kinds]}.values():
            was = replace(asked, url=f"{asked.url}{'&' if '?' in asked.url else '?'}as_of={then}")
            found = _measured(was)
            rows.append(_row(asked, *found, size=size, now=_measured(asked)[0], most=most.get(asked.name, MOST)))
        return rows


def _granted() -> Grant:
    client, server = (model.objects.order_by("pk")[model.objects.count() // 2] for model in (McpClient, McpServer))
    now = timezone.now()
    return Grant.objects.create(client=client, server=server, drafted_by="benchmark", drafted_at=now)


def _kinds(pair: Grant, known: Sequence[Asked]) -> Iterator[Asked]:
    """List and object of everything that a person asks the past about, as a page and over REST."""
    page, program = (next(it for it in known if it.question.is_page is is_page) for is_page in (True, False))
    for noun, model in KINDS.items():
        kind = "policy" if model is Policy else noun.removesuffix("s")
        key = pair.pk if model is Grant else model.objects.order_by("pk")[model.objects.count() // 2].pk
        view, keys = ("grant_pair", [pair.client_id, pair.server_id]) if model is Grant else (f"{kind}_detail", [key])
        query = OPEN if model is Finding else ""  # which the bare address leads to
        for name, url in ((f"{kind}_list", f"{reverse(f'{kind}_list')}?{query}"), (view, reverse(view, args=keys))):
            yield replace(page, question=replace(page.question, address=name, query=""), url=url)
        for name, url in ((f"{noun}/", f"/api/v1/{noun}/"), (f"{noun}/ID/", f"/api/v1/{noun}/{key}/")):
            yield replace(program, question=replace(program.question, address=name, query=""), url=url)


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


def _row(asked: Asked, value: float, queries: int, *, size: int, now: float, most: float) -> Row:
    return Row(
        name=f"{asked.name}, as of then",
        size=size,
        value=round(value, 1),
        unit="ms",
        limit=round(now, 1),
        ratio=round(value / now, 1),
        budget=f"≤ {most:.0f} ms, {queries} queries",
        ok=value <= most,
    )
