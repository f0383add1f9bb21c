"""Policies say in words what they ask, and the shipped ones bind everything."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from inventory.states import CredentialKind
from lifecycle.models import Obligation, Policy
from lifecycle.rules.wording import length
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("kind", CredentialKind)
def test_a_shipped_policy_binds_every_kind_of_credential(full, kind):
    mine = factories.credential(kind=kind)
    full()
    assert Obligation.objects.get(pk=mine.pk).policy.is_shipped


def test_every_shipped_policy_says_where_its_limits_come_from():
    assert all(policy.description.endswith(".") for policy in Policy.objects.filter(is_shipped=True))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "Asks nothing."),
        ({"max_age": timedelta(days=90)}, "Rotate within 90 days."),
        (
            {"max_age": timedelta(days=90), "max_idle": timedelta(days=60)},
            "Rotate within 90 days and retire after 60 days without use.",
        ),
        (
            {"max_idle": timedelta(days=60), "max_lifetime": timedelta(hours=24), "requires_expiry": True},
            "Retire after 60 days without use, live at most 24 hours and have an expiry.",
        ),
    ],
)
def test_a_policy_says_what_it_asks_in_a_sentence(values, sentence):
    assert Policy(name="one", **values).sentence == sentence


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (timedelta(days=1), "24 hours"),
        (timedelta(days=2), "2 days"),
        (timedelta(hours=1), "60 minutes"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(0), "0 minutes"),
        (None, "0 minutes"),
        (timedelta(days=1_200), "1\u202f200 days"),
    ],
)
def test_a_length_is_said_in_its_largest_unit(time, words):
    assert length(time) == words


def test_the_database_refuses_a_limit_of_no_time():
    with pytest.raises(IntegrityError, match="policy_max_age_is_positive"), transaction.atomic():
        Policy.objects.create(name="one", max_age=timedelta(0))


def test_the_database_refuses_a_kind_nobody_knows():
    with pytest.raises(IntegrityError, match="policy_kinds_are_known"), transaction.atomic():
        Policy.objects.create(name="one", kinds=["house_key"])
