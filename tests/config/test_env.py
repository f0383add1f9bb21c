"""The typed readers of environment variables."""

from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env
from providers.guard import Guard


@pytest.mark.parametrize(
    ("value", "meant"), [("1", True), (" Yes ", True), ("on", True), ("0", False), ("FALSE", False)]
)
def test_a_flag_is_read_in_the_usual_spellings(value, meant):
    assert env.flag("X", environ={"X": value}) is meant


def test_an_empty_variable_counts_as_unset():
    assert env.flag("X", default=True, environ={"X": "  "}) is True
    assert env.number("X", 7, environ={"X": ""}) == 7


@pytest.mark.parametrize("value", ["maybe", "2", "ja"])
def test_a_flag_that_is_neither_stops_the_start_and_names_the_variable(value):
    with pytest.raises(ImproperlyConfigured, match="KEYREEVE_X"):
        env.flag("KEYREEVE_X", environ={"KEYREEVE_X": value})


@pytest.mark.parametrize("value", ["-1", "1.5", "70000", "eight", "0x10"])
def test_a_number_outside_its_bounds_is_refused(value):
    with pytest.raises(ImproperlyConfigured, match="from 1 to 65535"):
        env.number("X", 8000, least=1, most=65535, environ={"X": value})


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("90s", timedelta(seconds=90)),
        ("15 m", timedelta(minutes=15)),
        ("6h", timedelta(hours=6)),
        ("30d", timedelta(30)),
    ],
)
def test_a_duration_is_a_number_with_a_unit(value, meant):
    assert env.duration("X", timedelta(), environ={"X": value}) == meant


@pytest.mark.parametrize("value", ["90", "1w", "1h30m", "h"])
def test_a_duration_without_a_known_unit_is_refused(value):
    with pytest.raises(ImproperlyConfigured):
        env.duration("X", timedelta(), environ={"X": value})


def test_a_list_is_split_at_commas_and_its_blanks_dropped():
    assert env.names("X", environ={"X": "a, b,,c "}) == ("a", "b", "c")


def test_a_secret_is_read_from_the_file_that_is_named(tmp_path):
    (tmp_path / "key").write_text("plainly-fake\n")
    assert env.secret("X", environ={"X_FILE": str(tmp_path / "key")}) == "plainly-fake"


def test_a_secret_given_twice_is_refused(tmp_path):
    with pytest.raises(ImproperlyConfigured, match="Keep one"):
        env.secret("X", environ={"X": "plainly-fake", "X_FILE": str(tmp_path)})


def test_an_unreadable_secret_file_is_named_without_a_value(tmp_path):
    with pytest.raises(ImproperlyConfigured, match="X_FILE names a file"):
        env.secret("X", environ={"X_FILE": str(tmp_path / "missing")})


def test_a_value_that_cannot_be_put_to_its_use_stops_the_start_and_names_the_variable():
    with pytest.raises(ImproperlyConfigured, match=r"KEYREEVE_X: '10\.0\.0\.1/8' is not a network"):
        env.accept("KEYREEVE_X", lambda: Guard(networks=("10.0.0.1/8",)))
