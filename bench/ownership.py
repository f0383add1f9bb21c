"""Ownership: what a sweep costs, the first over an estate, one that finds nothing, and one that takes everything."""

from collections.abc import Iterator
from datetime import timedelta

from django.db import connection

from bench.evaluation import ESTATE, NOW
from bench.measure import Row, timed
from bench.scratch import scratch_database
from inventory.actions.asking import follow, measure_ownership, pass_on_all, sweep
from inventory.actions.terms import Terms

# Half of the credentials belong to a thousand owners, who hold very many each; the other half to owners of ten each.
SMALL_OWNERS = """
INSERT INTO inventory_owner (kind, name, email, external_id, is_active)
SELECT 'person', 'Small owner ' || n, '', '', true FROM generate_series(1, %(number)s) n;
UPDATE inventory_credential c SET owner_id = o.id
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM inventory_credential WHERE owner_id IS NOT NULL) x
JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM inventory_owner WHERE name LIKE 'Small owner %%') o
  ON o.n = 1 + x.n / 2 %% %(number)s
WHERE x.id = c.id AND x.n %% 2 = 0
"""
# By hand, in the shortest way: who stands for what, held against what was written down.
BARE = """
SELECT count(*) FROM (SELECT id, owner_id FROM inventory_credential WHERE gone_at IS NULL) c
FULL JOIN (SELECT subject_id, owner_id FROM inventory_tenure WHERE ended_at IS NULL AND part = 'credential') t
  ON t.subject_id = c.id
WHERE t.owner_id IS DISTINCT FROM c.owner_id
"""


def run(size: int = 100_000) -> list[Row]:
    return list(_run(size))


def _run(size: int) -> Iterator[Row]:
    terms = Terms()
    with scratch_database():
        with connection.cursor() as cursor:
            cursor.execute(ESTATE, {"size": size, "now": NOW})
            cursor.execute("ANALYZE")
            for statement in SMALL_OWNERS.split(";\n"):
                cursor.execute(statement, {"number": size // 20})
            cursor.execute("ANALYZE")
        with timed() as watch:
            sweep(now=NOW, terms=terms)
        yield _row("ownership: first sweep", size, watch.seconds, 30.0)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
            cursor.execute(BARE)
            with timed() as limit:
                cursor.execute(BARE)
        with timed() as watch:
            follow(now=NOW)
        yield _row("ownership: compare, nothing changed", size, watch.seconds, 1.0, limit.seconds)
        with timed() as watch:
            sweep(now=NOW, terms=terms)
        yield _row("ownership: sweep with nothing to do", size, watch.seconds, 1.0)
        with timed() as watch:
            measure_ownership(now=NOW)
        yield _row("ownership: figures of a day", size, watch.seconds, 1.0)
        with timed() as watch:
            done = pass_on_all(now=NOW + timedelta(days=14), terms=terms)
        yield _row(f"ownership: quarantine all, {done['quarantined']} owners", size, watch.seconds, 60.0)


def _row(name: str, size: int, seconds: float, most: float, limit: float | None = None) -> Row:
    return {
        "name": name,
        "size": size,
        "value": round(seconds, 3),
        "unit": "s",
        "limit": round(limit, 3) if limit else None,
        "ratio": round(seconds / limit, 2) if limit else None,
        "budget": f"at most {most:g} s for 100 000 credentials",
        "ok": seconds <= most * max(1, size / 100_000),
    }
