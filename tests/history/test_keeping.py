"""Every version of a row is kept, whoever wrote it, and an instant gives exactly what was seen then."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection, transaction
from django.db.utils import InternalError
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from history import following
from history.kept import KEPT
from history.past import looking_at
from inventory.models import Credential, Owner
from tests.examples import SHARED_FIXTURE, examples
from tests.factories import credential, owner
from tests.history.passing import DAY, time_passes, versions

IDS = [uuid4() for _ in range(3)]
State = dict[UUID, tuple[str, str]]


def seen() -> State:
    return {row.pk: (row.name, row.external_id) for row in Owner.objects.all()}


def sql(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def settle() -> None:
    """What a transaction checks at its end, now: a table with checks that wait can neither be altered nor emptied."""
    sql("SET CONSTRAINTS ALL IMMEDIATE")


# ── Writers ────────────────────────────────────────────────────────────────────────────────────


def save(keys: list[UUID], name: str) -> None:
    for key in keys:
        row, _ = Owner.objects.get_or_create(pk=key, defaults={"name": name})
        row.name = name
        row.save()


def update(keys: list[UUID], name: str) -> None:
    Owner.objects.filter(pk__in=keys).update(name=name)


def raw(keys: list[UUID], name: str) -> None:
    sql("UPDATE inventory_owner SET name = %s WHERE id = ANY (%s)", name, keys)


def copied(keys: list[UUID], name: str) -> None:
    """As the intake does it: a staging table filled by COPY, and one statement that inserts and updates."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE sent (id uuid, name text) ON COMMIT DROP")
        with cursor.copy("COPY sent FROM STDIN") as copy:
            for key in keys:
                copy.write_row((key, name))
        cursor.execute(
            "INSERT INTO inventory_owner (id, kind, name, email, external_id, is_active)"
            " SELECT id, 'person', name, '', '', true FROM sent"
            " ON CONFLICT (id) DO UPDATE SET name = excluded.name"
            " WHERE inventory_owner.name IS DISTINCT FROM excluded.name"
        )
        cursor.execute("DROP TABLE sent")


def bulk(keys: list[UUID], name: str) -> None:
    rows = list(Owner.objects.filter(pk__in=keys))
    for row in rows:
        row.name = name
    Owner.objects.bulk_update(rows, ["name"])


def twice(keys: list[UUID], name: str) -> None:
    update(keys, f"{name}, at first")
    raw(keys, name)


def remove(keys: list[UUID], name: str) -> None:
    Owner.objects.filter(pk__in=keys).delete()


def remove_raw(keys: list[UUID], name: str) -> None:
    sql("DELETE FROM inventory_owner WHERE id = ANY (%s)", keys)


def replace(keys: list[UUID], name: str) -> None:
    """Gone and there again within one transaction."""
    remove_raw(keys, name)
    copied(keys, name)


WRITERS = (save, update, raw, copied, bulk, twice, remove, remove_raw, replace)
writes = st.lists(
    st.tuples(
        st.sampled_from(WRITERS),
        st.lists(st.sampled_from(IDS), min_size=1, unique=True),
        st.sampled_from(["Ada", "Ben", "Cy"]),
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=examples(100), suppress_health_check=SHARED_FIXTURE)
@given(steps=writes)
def test_every_instant_gives_what_was_seen_then(db: None, steps: list[Any]):
    with transaction.atomic():
        expected = [seen()]
        time_passes(Owner)
        for write, keys, name in steps:
            write(keys, name)
            expected.append(seen())
            time_passes(Owner)
        now = timezone.now()
        for age, state in enumerate(reversed(expected), start=1):
            with looking_at(now - age * DAY + DAY / 2):
                assert seen() == state
        transaction.set_rollback(True)


# ── What begins a version ──────────────────────────────────────────────────────────────────────


def test_a_new_row_leaves_no_earlier_version(db: None):
    owner(name="Ada")
    assert versions(Owner) == 0


def test_writing_what_is_there_already_begins_no_version(db: None):
    row = owner(name="Ada")
    time_passes(Owner)
    row.save()
    sql("UPDATE inventory_owner SET name = 'Ada'")
    assert versions(Owner) == 0


def test_what_came_and_went_within_one_transaction_was_never_seen(db: None):
    owner(name="Ada").delete()
    assert versions(Owner) == 0


def test_use_on_the_same_day_begins_no_version_and_on_another_day_one(db: None):
    noon = datetime(2026, 3, 3, 12, tzinfo=UTC)
    row = credential(last_used_at=noon)
    time_passes(Credential)
    for hours in (1, 2, 11):
        Credential.objects.filter(pk=row.pk).update(last_used_at=noon + timedelta(hours=hours))
    assert versions(Credential) == 0
    Credential.objects.filter(pk=row.pk).update(last_used_at=noon + timedelta(hours=12))
    assert versions(Credential) == 1


def test_use_later_on_the_day_of_an_instant_is_told_as_the_day(db: None):
    """The row says half past eleven, which nobody could know at ten."""
    row = credential(last_used_at=timezone.now() - timedelta(days=10))
    time_passes(Credential)
    today = timezone.now() - 5 * DAY
    used = today.replace(hour=23, minute=30)
    Credential.objects.filter(pk=row.pk).update(last_used_at=used)
    time_passes(Credential, 10 * DAY)  # the version began before
    with looking_at(used.replace(hour=10)):
        assert Credential.objects.get().last_used_at == used.replace(hour=0, minute=0, second=0, microsecond=0)
    with looking_at(used + timedelta(minutes=1)):
        assert Credential.objects.get().last_used_at == used


def test_emptying_a_table_leaves_its_past(db: None):
    row = owner(name="Ada")
    time_passes(Owner)
    settle()
    sql("TRUNCATE inventory_owner CASCADE")
    with looking_at(timezone.now() - DAY / 2):
        assert seen() == {row.pk: ("Ada", "")}
    assert seen() == {}


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_began_earlier_and_wrote_later_comes_later():
    row = owner(name="Ada")
    parameters = connection.get_connection_params()
    for name in ("context", "cursor_factory", "prepare_threshold"):
        parameters.pop(name, None)
    with psycopg.connect(**parameters) as early:
        early.execute("SELECT now()")
        Owner.objects.filter(pk=row.pk).update(name="Ben")
        early.execute("UPDATE inventory_owner SET name = 'Cy' WHERE id = %s", [row.pk])
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM history.inventory_owner ORDER BY history_since")
        assert cursor.fetchall() == [("Ada",), ("Ben",)]
        cursor.execute("SELECT count(*) FROM history.inventory_owner WHERE history_until <= history_since")
        assert cursor.fetchone() == (0,)
    assert Owner.objects.get().name == "Cy"


# ── Looking ────────────────────────────────────────────────────────────────────────────────────


def test_nothing_can_be_written_while_the_past_is_looked_at(db: None):
    row = owner(name="Ada")
    with looking_at(timezone.now()), pytest.raises(InternalError, match="read-only"), transaction.atomic():
        sql("UPDATE public.inventory_owner SET name = 'Ben'")
    row.refresh_from_db()
    assert row.name == "Ada"


def test_after_a_look_the_present_is_there_again(db: None):
    owner(name="Ada")
    with looking_at(timezone.now() - DAY):
        assert seen() == {}
    assert len(seen()) == 1


def test_a_look_that_fails_leaves_the_present(db: None):
    owner(name="Ada")
    with pytest.raises(ZeroDivisionError), looking_at(timezone.now() - DAY):
        raise ZeroDivisionError
    assert len(seen()) == 1


# ── Following the tables ───────────────────────────────────────────────────────────────────────


def columns(table: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            [table],
        )
        return {name for (name,) in cursor.fetchall()}


@pytest.mark.parametrize("it", KEPT.values(), ids=lambda it: it.table)
def test_every_column_of_a_table_that_keeps_its_past_is_kept(db: None, it):
    modelled = {field.column for field in it.model._meta.concrete_fields}
    assert columns(f"history.{it.table}") >= modelled
    assert columns(f"past.{it.table}") == modelled


def test_a_column_that_a_migration_adds_is_followed(db: None):
    row = owner(name="Ada")
    time_passes(Owner)
    Owner.objects.update(name="Ben")
    settle()
    following.suspend("default")
    sql("ALTER TABLE inventory_owner ADD COLUMN desk text NOT NULL DEFAULT 'unknown'")
    following.follow("default")
    time_passes(Owner)
    sql("UPDATE inventory_owner SET desk = 'by the window'")
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, desk FROM history.inventory_owner WHERE id = %s ORDER BY history_since", [row.pk])
        assert cursor.fetchall() == [("Ada", "unknown"), ("Ben", "unknown")]


def test_a_column_that_a_migration_removes_stays_with_the_versions_that_had_it(db: None):
    owner(name="Ada", external_id="7")
    time_passes(Owner)
    Owner.objects.update(name="Ben")
    settle()
    following.suspend("default")
    sql("ALTER TABLE inventory_owner DROP COLUMN external_id CASCADE")
    following.follow("default")
    assert "external_id" not in columns("past.inventory_owner")
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, external_id FROM history.inventory_owner")
        assert cursor.fetchall() == [("Ada", "7")]


def test_between_the_steps_of_a_migration_rows_can_be_written(db: None):
    owner(name="Ada")
    time_passes(Owner)
    settle()
    following.suspend("default")
    sql("ALTER TABLE inventory_owner DROP COLUMN external_id CASCADE")
    sql("ALTER TABLE inventory_owner ALTER COLUMN name TYPE text")
    sql("UPDATE inventory_owner SET name = 'Ben'")
    settle()
    following.follow("default")
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM history.inventory_owner")
        assert cursor.fetchall() == [("Ada",)]


def test_versions_are_found_by_words_as_rows_are(db: None):
    with connection.cursor() as cursor:
        cursor.execute("SELECT schemaname, indexdef FROM pg_indexes WHERE indexname = 'credential_by_words'")
        found = {schema: definition.partition(" USING ")[2] for schema, definition in cursor.fetchall()}
    assert found["history"] == found["public"]
    assert found["history"].startswith("gin")


def test_following_again_changes_nothing(db: None):
    def shape() -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE n.nspname = 'history' OR c.relname LIKE '%history_since%' ORDER BY 1"
            )
            return list(cursor.fetchall())

    before = shape()
    following.follow("default")
    assert shape() == before


def test_what_is_changed_at_once_is_kept_in_time_that_grows_with_it(db: None):
    """No plan that was made for one row is used for many: twenty thousand would take minutes by nested loops."""
    names = "\n".join(f"{uuid4()}\tperson\tOwner {n}\t\t\ttrue" for n in range(20_000))
    with connection.cursor() as cursor:
        with cursor.copy("COPY inventory_owner (id, kind, name, email, external_id, is_active) FROM STDIN") as copy:
            copy.write(names)
        time_passes(Owner)
        for n in range(7):  # a statement that was run a few times is one whose plan is kept
            cursor.execute("UPDATE inventory_owner SET name = 'x' WHERE name = %s", [f"Owner {n}"])
        cursor.execute("SET LOCAL statement_timeout = '30s'")
        cursor.execute("UPDATE inventory_owner SET kind = 'team'")
    assert versions(Owner) == 20_000
