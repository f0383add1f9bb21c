"""Columns in time stand on one scale from nought; a day that nobody counted is a gap and no nought."""

import pytest

from web.pictures import Slot, stacks


def test_the_tallest_column_reaches_the_top_and_the_others_are_to_scale():
    picture = stacks([Slot("", [("crit", 10)]), Slot("", [("crit", 5)])])
    assert picture is not None
    tall, half = picture.columns
    assert tall.height == pytest.approx(2 * half.height, abs=0.2)
    assert tall.y + tall.height == half.y + half.height == picture.base


def test_parts_of_one_day_stand_on_each_other():
    picture = stacks([Slot("", [("crit", 3), ("none", 1)])])
    assert picture is not None
    violated, unknown = picture.columns
    assert (violated.css, unknown.css) == ("c-crit", "c-none")
    assert unknown.y + unknown.height == pytest.approx(violated.y, abs=0.2)


def test_a_day_without_parts_draws_nothing_and_keeps_its_place():
    picture = stacks([Slot("1 Nov", [("crit", 1)]), Slot("", []), Slot("3 Nov", [("crit", 1)])])
    assert picture is not None
    assert len(picture.columns) == 2
    assert picture.columns[1].x - picture.columns[0].x > 2 * picture.columns[0].width
    assert [words for _, words in picture.ticks] == ["1 Nov", "3 Nov"]


def test_where_there_is_nothing_to_see_nothing_is_drawn():
    assert stacks([Slot("", [("crit", 0)]), Slot("", [])]) is None
    assert stacks([]) is None
