"""What is typed about a policy becomes the values of its columns, and nothing that was typed is lost on the way."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.http import QueryDict

from lifecycle.policy_forms import ChosenField, LengthField, LengthWidget, PolicyForm
from tests import factories


@pytest.mark.parametrize(
    ("typed", "length"),
    [
        (["90", "days"], timedelta(days=90)),
        (["24", "hours"], timedelta(hours=24)),
        (["15", "minutes"], timedelta(minutes=15)),
        (["", "days"], None),
        ([], None),
    ],
)
def test_a_length_is_a_number_and_its_unit(typed, length):
    assert LengthField(label="Maximum age").clean(typed) == length


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (timedelta(days=90), [90, "days"]),
        (timedelta(hours=24), [24, "hours"]),
        (timedelta(hours=60), [60, "hours"]),
        (timedelta(minutes=90), [90, "minutes"]),
        (None, [None, "days"]),
    ],
)
def test_a_length_is_shown_as_it_is_said(length, shown):
    assert LengthWidget("Maximum age").decompress(length) == shown


@pytest.mark.parametrize(
    "typed", [["0", "days"], ["-3", "days"], ["1.5", "days"], ["ninety", "days"], ["99999", "days"]]
)
def test_a_length_that_asks_nothing_sensible_is_refused(typed):
    with pytest.raises(ValidationError):
        LengthField(label="Maximum age").clean(typed)


def test_what_is_typed_beside_what_is_chosen_is_added_once():
    field = ChosenField(adding="Add a tag", longest=60)
    sent = QueryDict("tags=pci&tags=eu&tags_add=pci,+payroll")
    assert field.clean(field.widget.value_from_datadict(sent, {}, "tags")) == ["pci", "eu", "payroll"]


def test_a_value_that_is_too_long_stays_where_it_was_typed():
    field = ChosenField(adding="Add a tag", longest=60)
    chosen, left = field.prepare_value(["pci", "x" * 61])
    assert chosen == [("pci", "pci")]
    assert left == "x" * 61


def test_chosen_values_are_shown_as_text_and_never_as_markup():
    field = ChosenField(adding="Add a tag", longest=60)
    shown = field.widget.render("tags", field.prepare_value(["<script>"]), {"id": "id_tags"})
    assert "<script>" not in shown


@pytest.mark.django_db
def test_an_owner_is_chosen_by_name_and_kept_by_key():
    mira = factories.owner(name="Mira Okafor")
    form = PolicyForm(QueryDict("name=One&priority=5&automation=off&owners_add=mira+okafor"))
    assert form.is_valid(), form.errors
    assert form.values["owners"] == [mira.pk]


@pytest.mark.django_db
def test_an_owner_whom_nobody_knows_is_named_in_the_refusal():
    form = PolicyForm(QueryDict("name=One&priority=5&automation=off&owners_add=Nobody+Known"))
    assert "Nobody Known" in str(form.errors["owners"])
    assert "Nobody Known" in str(form["owners"])
