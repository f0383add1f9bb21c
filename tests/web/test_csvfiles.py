from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.csvfiles import FORMULA_STARTS, cell, csv_response, lines


@given(st.text())
def test_no_text_begins_as_a_formula(text):
    assert not cell(text).lstrip(" ").startswith(FORMULA_STARTS)


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "＝1"])
def test_a_formula_is_shown_as_text(text):
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (-3, "-3"),
        (True, "yes"),
        (["a", "b"], "a; b"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    ],
)
def test_a_value_is_written_as_a_program_reads_it(value, text):
    assert cell(value) == text


def test_rows_are_written_one_by_one():
    taken = []

    def rows():
        for i in range(1_000_000):
            taken.append(i)
            yield i

    stream = lines(rows(), [("number", lambda row: row)])
    assert [next(stream), next(stream), next(stream)] == ["number\r\n", "0\r\n", "1\r\n"]
    assert len(taken) == 2


def test_a_download_is_never_kept_by_a_cache():
    response = csv_response([], [("a", str)], "things.csv")
    assert response["Cache-Control"] == "no-store"
    assert response["Content-Disposition"] == 'attachment; filename="things.csv"'
