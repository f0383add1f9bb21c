"""The scanner library, asked about what our own table does not know."""

import pytest
from django.conf import settings

from inventory.discovery.catalogue import Catalogue
from inventory.discovery.classify import Judge, Where
from inventory.discovery.model import Kind
from tests.inventory.discovery_samples import hexadecimal, noise

KEY = b"k" * 32


BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def dynatrace():
    """Of a vendor that our own table leaves to the library."""
    return f"dt0c01.{noise(24, BASE32)}.{noise(64, BASE32)}"


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue(settings.SCANNER_CACHE_DIR)


def judged(catalogue, value, name):
    judge = Judge(KEY, catalogue)
    return judge.settle(judge.value(value, name, f"/env/{name}", Where.ENV))


def test_a_format_that_only_the_library_knows_is_recognised_under_any_name(catalogue):
    (found,) = judged(
        catalogue,
        dynatrace(),
        "SETTING",
    )
    assert (found.issuer, found.kind) == ("Dynatrace", Kind.API_KEY)


@pytest.mark.parametrize(
    "value", [noise(40), hexadecimal(40), noise(32), hexadecimal(32)], ids=["40", "40 hex", "32", "32 hex"]
)
def test_noise_that_the_library_does_not_know_is_dropped_under_a_silent_name(catalogue, value):
    assert judged(catalogue, value, "SETTING") == []


@pytest.mark.parametrize("size", [32, 40, 64])
def test_the_library_does_not_name_an_issuer_for_mere_length(catalogue, size):
    (found,) = judged(catalogue, noise(size), "INTERNAL_API_KEY")
    assert (found.issuer, found.kind) == (None, Kind.API_KEY)


def test_answers_go_to_the_values_they_are_about(catalogue):
    known = dynatrace()
    answers = catalogue.recognise([("A", noise(32)), ("B", known), ("C", f"two\nlines {noise(30)}"), ("D", known)])
    assert [a.issuer if a else None for a in answers] == [None, "Dynatrace", None, "Dynatrace"]
