"""Rows that the database writes into a pack by itself: they say what the lists of pages and exports say."""

import csv
import io
import json

import pytest
from django.db import connection
from django.db.models import BooleanField, IntegerField, TextField, Value

from inventory.models import Owner
from reviews.packing.copying import Cell, csv_lines, json_lines, statement_of
from tests.factories import owner
from web.csvfiles import cell

pytestmark = pytest.mark.django_db

TEXTS = (
    "plain", "", "=1+1", "  =1+1", "+49", "-1", "@sum", "\tx", "\nx", "\rx", "a=b", ' "x", \\',
    "＝1", "＋1", "－1", "＠a",
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_stands_in_a_cell_as_in_every_other_list(text: str):
    owner()
    rows = Owner.objects.annotate(said=Cell(Value(text, TextField()))).values_list("said")
    ((block, number),) = csv_lines(*statement_of(rows))
    assert list(csv.reader(io.StringIO(block.decode(), newline=""))) == [[cell(text)]]
    assert number == 1


@pytest.mark.parametrize("value", [True, False])
def test_a_condition_is_a_word(value: bool):
    owner()
    said = Owner.objects.annotate(said=Cell(Value(value, BooleanField()))).values_list("said", flat=True)
    assert said[0] == cell(value)


def test_a_negative_number_stays_one():
    owner()
    assert Owner.objects.annotate(said=Cell(Value(-3, IntegerField()))).values_list("said", flat=True)[0] == "-3"


def test_a_json_text_comes_out_as_the_database_made_it():
    said = {"path": 'C:\\new\\table "x"', "lines": "a\nb\tc\\n"}
    ((block, number),) = json_lines("SELECT %s::jsonb::text FROM generate_series(1, 3)", [json.dumps(said)])
    assert [json.loads(line) for line in block.splitlines()] == [said] * 3
    assert number == 3


def test_rows_come_in_blocks_of_whole_lines():
    blocks = list(json_lines("SELECT to_json(repeat('x', 1000))::text FROM generate_series(1, 1000)", []))
    assert len(blocks) > 1
    assert all(block.endswith(b'x"\n') for block, _ in blocks)
    assert sum(number for _, number in blocks) == 1000


def test_where_the_filters_leave_nothing_there_are_no_rows():
    assert list(csv_lines(*statement_of(Owner.objects.none()))) == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")  # the connection is usable afterwards
