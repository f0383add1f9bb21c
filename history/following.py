"""Make the database follow what `history.kept` declares: after every migration, and without effect where it does.

Of a table that begins to keep its past, the rows as they stand are the first version. A column that a migration adds
is added to the versions too, with what the row has now. One that it removes stays with the versions that had it.
"""

from typing import Any

from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper

from history.kept import APPENDED, KEPT, Appended, Kept

OWN = ("history_since", "history_until")

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated <> ''
FROM pg_attribute a WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_INDEXES = """
SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_am m ON m.oid = c.relam
WHERE i.indrelid = %s::regclass AND NOT i.indisunique AND m.amname IN ('btree', 'gin') AND c.relname <> %s
ORDER BY c.relname
"""


def suspend(using: str) -> None:
    """Before migrations: a column cannot be changed while a view shows it."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT viewname FROM pg_views WHERE schemaname = 'past'")
        for (view,) in cursor.fetchall():
            cursor.execute(f"DROP VIEW past.{view}")


def follow(using: str) -> None:
    """After migrations."""
    with transaction.atomic(using), connections[using].cursor() as cursor:
        for it in KEPT.values():
            _follow(cursor, it)
        for each in APPENDED.values():
            _show_appended(cursor, each)


def _follow(cursor: CursorWrapper, it: Kept) -> None:
    table = it.table
    key = it.key
    cursor.execute(
        f"ALTER TABLE public.{table} ADD COLUMN IF NOT EXISTS history_since timestamptz NOT NULL DEFAULT now()"
    )
    columns = {name: facts for name, *facts in _columns(cursor, f"public.{table}") if name not in OWN}
    held = {name: facts for name, *facts in _columns(cursor, f"history.{table}")}
    if not held:
        said = ", ".join(f"{name} {kind}" for name, (kind, *_) in columns.items())
        cursor.execute(
            f"CREATE TABLE history.{table} ({said}, history_since timestamptz NOT NULL,"
            " history_until timestamptz NOT NULL CHECK (history_until > history_since))"
        )
        cursor.execute(f"CREATE INDEX ON history.{table} ({key}, history_since)")
        cursor.execute(f"CREATE INDEX ON history.{table} (history_until)")
        cursor.execute(f"CREATE INDEX {table}_since ON public.{table} (history_since)")
        cursor.execute("INSERT INTO history_beginning VALUES (%s, now()) ON CONFLICT DO NOTHING", [table])
    for name, (kind, *_) in columns.items():
        if held and name not in held:
            cursor.execute(f"ALTER TABLE history.{table} ADD COLUMN {name} {kind}")
            cursor.execute(
                f"UPDATE history.{table} h SET {name} = t.{name} FROM public.{table} t WHERE t.{key} = h.{key}"
            )
        elif held and held[name][0] != kind:
            cursor.execute(f"ALTER TABLE history.{table} ALTER COLUMN {name} TYPE {kind} USING {name}::{kind}")
    _index(cursor, table)
    _watch(cursor, it, key, [name for name, (_, _, is_generated) in columns.items() if is_generated])
    _show(cursor, it, columns)


def _columns(cursor: CursorWrapper, table: str) -> list[tuple[Any, ...]]:
    cursor.execute(_COLUMNS, [table])
    return list(cursor.fetchall())


def _index(cursor: CursorWrapper, table: str) -> None:
    """By the names and in the orders in which the rows themselves are listed, so that a page of the past is read off as
    one of today. Each ends in the times: versions of another instant are passed over within the index. Those by words
    and tags hold no times: without them whoever searches the past would take every version apart.
    """
    cursor.execute(_INDEXES, [f"public.{table}", f"{table}_since"])
    for name, definition in cursor.fetchall():
        keys, where, condition = definition.partition(" USING ")[2].partition(" WHERE ")
        if keys.startswith("btree"):
            keys = f"{keys.removesuffix(')')}, history_since, history_until)"
        cursor.execute(f'CREATE INDEX IF NOT EXISTS "{name}" ON history.{table} USING {keys}{where}{condition}')


def _watch(cursor: CursorWrapper, it: Kept, key: str, generated: list[str]) -> None:
    """Before each changed row: whether a version begins. After each statement: the versions that ended by it."""
    table = it.table
    passed_over = "".join(f"  seen.{name} := OLD.{name};\n" for name in ("history_since", *generated, *it.ignored))
    same_day = "".join(
        f"  IF date_trunc('day', seen.{name}, 'UTC') IS NOT DISTINCT FROM date_trunc('day', OLD.{name}, 'UTC') THEN"
        f" seen.{name} := OLD.{name}; END IF;\n"
        for name in it.by_day
    )
    cursor.execute(f"""
        CREATE OR REPLACE FUNCTION history.begin_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE seen public.{table} := NEW;
        BEGIN
        {passed_over}{same_day}
          IF seen *= OLD OR OLD.history_since = now() THEN
            NEW.history_since := OLD.history_since;
          ELSE  -- a transaction that began before the last change was committed comes after it all the same
            NEW.history_since := greatest(now(), OLD.history_since + interval '1 microsecond');
          END IF;
          RETURN NEW;
        END $$;
        CREATE OR REPLACE TRIGGER history_begin BEFORE UPDATE ON public.{table}
          FOR EACH ROW EXECUTE FUNCTION history.begin_{table}();
        CREATE OR REPLACE TRIGGER history_keep_changed AFTER UPDATE ON public.{table}
          REFERENCING OLD TABLE AS was NEW TABLE AS became
          FOR EACH STATEMENT EXECUTE FUNCTION history.keep('{key}');
        CREATE OR REPLACE TRIGGER history_keep_removed AFTER DELETE ON public.{table}
          REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION history.keep('{key}');
        CREATE OR REPLACE TRIGGER history_keep_emptied BEFORE TRUNCATE ON public.{table}
          FOR EACH STATEMENT EXECUTE FUNCTION history.keep('{key}');
    """)


def _show(cursor: CursorWrapper, it: Kept, columns: dict[str, Any]) -> None:
    shown = []
    for name, (kind, is_required, _) in columns.items():
        if name in it.by_day:
            shown.append(f"history.by_day({name}, history.instant()) AS {name}")
        elif name in it.ignored and not is_required:
            shown.append(f"NULL::{kind} AS {name}")
        else:
            shown.append(name)
    # A half without a condition of its own is a part of one table to the planner, and read by its own indexes; one with
    # a condition is read first and sorted. Which of the two runs is decided by `history.past` for each instant.
    held = ", ".join([*columns, "history_since"])
    halves = []
    for table, until in ((f"public.{it.table}", "'infinity'::timestamptz"), (f"history.{it.table}", "history_until")):
        rows = f"{held}, {until} AS history_until"
        walks = f"history.walks(' {table} ')"
        valid = f"history_since <= history.instant() AND {until} > history.instant()"
        halves.append(f"SELECT {rows}, {walks} AS is_read FROM {table}")
        halves.append(f"SELECT {rows}, true AS is_read FROM {table} WHERE NOT {walks} AND {valid}")
    _view(
        cursor,
        it.table,
        f"""
        SELECT {", ".join(shown)} FROM ({" UNION ALL ".join(halves)}) versions
        WHERE is_read AND history_since <= history.instant() AND history_until > history.instant()
        """,
    )


def _show_appended(cursor: CursorWrapper, it: Appended) -> None:
    names = ", ".join(name for name, *_ in _columns(cursor, f"public.{it.table}"))
    _view(cursor, it.table, f"SELECT {names} FROM public.{it.table} WHERE {it.at} <= history.instant()")


def _view(cursor: CursorWrapper, table: str, select: str) -> None:
    cursor.execute(f"DROP VIEW IF EXISTS past.{table}")
    cursor.execute(f"CREATE VIEW past.{table} AS {select}")
