import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.db.models import Value
from django.db.models.functions import Coalesce
from hypothesis import given, settings
from hypothesis import strategies as st

from access.models import User
from tests.examples import SHARED_FIXTURE, examples
from tests.web.rows import people
from web.paging import FAR_FUTURE, FAR_PAST, BadCursor, Ordering, capped_count, capped_counts, page

START = datetime(2026, 1, 1, 12, 0, 0, 123_456, tzinfo=UTC)
ORDERINGS = [
    Ordering("pk", ()),
    Ordering("name", ("first_name",)),
    Ordering("used", (Coalesce("last_login", Value(FAR_PAST)),)),
    Ordering("expires", (Coalesce("last_login", Value(FAR_FUTURE)), "first_name")),
    Ordering("active", ("is_active", "last_name")),
]
names = st.sampled_from(["", "a", "B", "b", "ä", "zz", "it's", '"q"', "a\\b"])
things = st.lists(
    st.fixed_dictionaries(
        {
            "first_name": names,
            "last_name": names,
            "is_active": st.booleans(),
            "last_login": st.none() | st.integers(0, 3).map(lambda hours: START + timedelta(hours=hours)),
        }
    ),
    max_size=14,
)
orderings = st.builds(
    lambda ordering, descending: ordering.directed(descending=descending), st.sampled_from(ORDERINGS), st.booleans()
)
everywhere = settings(max_examples=examples(60), deadline=None, suppress_health_check=SHARED_FIXTURE)


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def walk(ordering: Ordering, size: int) -> list[list[int]]:
    """Every page from the first to the last."""
    pages, cursor = [], None
    while True:
        found = page(User.objects.all(), ordering, cursor, size)
        pages.append([row.pk for row in found.rows])
        if found.next is None:
            return pages
        cursor = found.next


@pytest.mark.django_db
@everywhere
@given(things, orderings, st.integers(1, 5))
def test_the_pages_one_after_another_are_the_ordered_list(rows, ordering, size):
    with undone():
        people(*rows)
        whole = [row.pk for row in ordering.apply(User.objects.all())]
        pages = walk(ordering, size)
        assert [pk for each in pages for pk in each] == whole
        assert all(len(each) == size for each in pages[:-1])


@pytest.mark.django_db
@everywhere
@given(things, orderings, st.integers(1, 5))
def test_going_back_shows_the_pages_that_were_left(rows, ordering, size):
    with undone():
        people(*rows)
        seen, cursor = [], None
        while (found := page(User.objects.all(), ordering, cursor, size)).next:
            seen.append([row.pk for row in found.rows])
            cursor = found.next
        for expected in reversed(seen):
            found = page(User.objects.all(), ordering, found.previous, size)
            assert [row.pk for row in found.rows] == expected
            assert found.next is not None
        assert found.previous is None


@pytest.mark.django_db
@everywhere
@given(things, things, orderings, st.integers(1, 4))
def test_rows_that_arrive_meanwhile_move_no_other_row(rows, arriving, ordering, size):
    with undone():
        people(*rows)
        whole = [row.pk for row in ordering.apply(User.objects.all())]
        first = page(User.objects.all(), ordering, None, size)
        for i, row in enumerate(arriving):
            User.objects.create(username=f"late{i}", email=f"late{i}@example.test", **row)
        seen, cursor = [row.pk for row in first.rows], first.next
        while cursor:
            found = page(User.objects.all(), ordering, cursor, size)
            seen += [row.pk for row in found.rows]
            cursor = found.next
        assert [pk for pk in seen if pk in set(whole)] == whole


@pytest.mark.django_db
def test_a_row_that_the_cursor_named_may_be_gone():
    people(*[{"first_name": name} for name in "abcdef"])
    ordering = ORDERINGS[1]
    first = page(User.objects.all(), ordering, None, 2)
    first.rows[-1].delete()
    assert [row.first_name for row in page(User.objects.all(), ordering, first.next, 2).rows] == ["c", "d"]


@pytest.mark.django_db
def test_a_page_whose_rows_are_all_gone_is_empty():
    people(*[{"first_name": name} for name in "abc"])
    first = page(User.objects.all(), ORDERINGS[1], None, 2)
    User.objects.filter(first_name="c").delete()
    found = page(User.objects.all(), ORDERINGS[1], first.next, 2)
    assert (found.rows, found.next, found.previous) == ([], None, None)


@pytest.mark.django_db
@pytest.mark.parametrize("descending", [False, True])
def test_a_page_is_a_range_of_an_index(descending):
    people(*[{"first_name": f"n{i:04}"} for i in range(60)])
    ordering = ORDERINGS[1].directed(descending=descending)
    cursor = page(User.objects.all(), ordering, None, 20).next
    with connection.cursor() as sql:
        sql.execute("CREATE INDEX paging_probe ON access_user (first_name, id)")
        sql.execute("SET LOCAL enable_seqscan = off")
        sql.execute("SET LOCAL enable_bitmapscan = off")
        sql.execute("SET LOCAL enable_sort = off")
    explained: list[str] = []

    def explain(execute, query, params, many, context):
        with connection.connection.cursor() as raw:
            raw.execute(f"EXPLAIN {query}", params)
            explained.extend(line for (line,) in raw.fetchall())
        return execute(query, params, many, context)

    with connection.execute_wrapper(explain):
        page(User.objects.all(), ordering, cursor, 20)
    plan = "\n".join(explained)
    assert "paging_probe" in plan
    assert "Index Cond: (ROW(" in plan
    assert "Sort" not in plan


def forged(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "cursor",
    [
        "!",
        "x",
        "ZZZZ",
        "ä",
        forged(),
        forged("used", ">"),
        forged("name", ">", ["2026-01-01T00:00:00+00:00", 1]),
        forged("used", "=", ["2026-01-01T00:00:00+00:00", 1]),
        forged("used", ">", ["2026-01-01T00:00:00+00:00"]),
        forged("used", ">", ["2026-01-01T00:00:00", 1]),
        forged("used", ">", ["yesterday", 1]),
        forged("used", ">", [None, 1]),
        forged("used", ">", [["2026-01-01T00:00:00+00:00"], 1]),
        forged("used", ">", ["2026-01-01T00:00:00+00:00", 10**30]),
        forged("used", ">", ["2026-01-01T00:00:00+00:00", "1; DROP TABLE x"]),
        base64.urlsafe_b64encode(b'["used",">",["2026-01-01T00:00:00+00:00",1e999]]').decode(),
        base64.urlsafe_b64encode(b'["used",">",["2026-01-01T00:00:00+00:00",NaN]]').decode(),
        base64.urlsafe_b64encode(b"[" * 2_900).decode(),
        "A" * 5_000,
    ],
)
def test_a_cursor_that_this_list_did_not_make_is_refused(cursor):
    with pytest.raises(BadCursor):
        page(User.objects.all(), ORDERINGS[2], cursor, 5)


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["\x00", "\ud800"])
def test_a_cursor_holding_what_the_database_cannot_is_refused(text):
    with pytest.raises(BadCursor):
        page(User.objects.all(), ORDERINGS[1], forged("name", ">", [text, 1]), 5)


@pytest.mark.django_db
@given(st.text(max_size=80))
@everywhere
def test_no_text_as_cursor_does_anything_but_be_refused(text):
    if text:
        with pytest.raises(BadCursor):
            page(User.objects.all(), ORDERINGS[2], text, 5)


@pytest.mark.django_db
def test_a_cursor_of_another_order_is_refused():
    people(*[{"first_name": name} for name in "abc"])
    cursor = page(User.objects.all(), ORDERINGS[1], None, 1).next
    with pytest.raises(BadCursor):
        page(User.objects.all(), ORDERINGS[1].directed(descending=True), cursor, 1)


@pytest.mark.django_db
def test_a_count_stops_at_its_limit():
    people(*[{} for _ in range(6)])
    assert str(capped_count(User.objects.all(), 5)) == "5+"
    assert str(capped_count(User.objects.all(), 6)) == "6"
    assert str(capped_count(User.objects.none(), 5)) == "0"


@pytest.mark.django_db
def test_several_counts_are_one_statement(django_assert_num_queries):
    people({"is_active": True}, {"is_active": False}, {"is_active": False})
    everyone = User.objects.all()
    asked_for = [everyone, everyone.none(), everyone.filter(is_active=False).order_by("username")]
    with django_assert_num_queries(1):
        counts = capped_counts(asked_for)
    assert [count.value for count in counts] == [3, 0, 2]


@pytest.mark.django_db
def test_distinct_rows_are_counted_as_rows():
    people({}, {})
    assert capped_count(User.objects.distinct(), 5).value == 2
