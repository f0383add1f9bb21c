"""A test of a connection: a sentence within a few seconds, whatever the place does."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from django.utils import timezone
from pytest_django import Settings

from inventory.checks import AT_ONCE, Said, check
from inventory.connection_forms import FORMS
from inventory.listings import CHECKS, LISTINGS

NOWHERE = {"host": "127.0.0.1", "port": 1, "user": "reader"}


@pytest.fixture(autouse=True)
def on_loopback(settings: Settings) -> None:
    settings.ALLOW_LOOPBACK = True


@pytest.fixture
def silent() -> Iterator[dict[str, object]]:
    """Settings of a server that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield {"host": "127.0.0.1", "port": listener.getsockname()[1], "user": "reader", "sslmode": "disable"}


def said(settings: dict[str, object], patience: float = 10) -> Said:
    return check("postgres", settings, clock=timezone.now, patience=patience)


def test_every_kind_that_is_listed_can_be_tested_and_has_a_form() -> None:
    assert set(CHECKS) == set(LISTINGS)
    assert set(LISTINGS) <= set(FORMS)


def test_what_is_wrong_is_said_and_not_raised() -> None:
    answer = said(NOWHERE)
    assert not answer.is_good
    assert answer.sentence.endswith(".")


def test_settings_that_no_listing_understands_are_said() -> None:
    assert said({"nonsense": 1}).sentence == "Name the host and the user to connect as."


def test_a_place_that_never_answers_holds_a_person_up_for_as_long_as_was_said(silent: dict[str, object]) -> None:
    began = time.monotonic()
    answer = said(silent, patience=0.3)
    assert answer.sentence.startswith("It gave no answer within 0.3 seconds.")
    assert time.monotonic() - began < 10


def test_places_that_never_answer_leave_room_for_the_pages(silent: dict[str, object]) -> None:
    """Whoever comes when all places are taken is told so, and holds no thread of the web server."""
    answers = [said(silent, patience=0.2).sentence for _ in range(AT_ONCE + 1)]
    assert answers[-1].startswith("Other tests are still waiting")


@pytest.mark.parametrize(
    ("kind", "settings_of_it"),
    [
        ("postgres", {"host": "127.0.0.1", "port": 1, "user": "reader"}),
        ("postgres", {"host": "localhost", "port": 1, "user": "reader"}),
        ("postgres", {"host": "/run/postgresql", "user": "reader"}),
        ("postgres", {"host": "10.1.2.3", "user": "reader"}),
        ("postgres", {"host": "169.254.169.254", "user": "reader"}),
        ("postgres", {"host": "2130706433", "user": "reader"}),
        ("aws", {"use_machine_identity": True, "endpoint": "http://127.0.0.1:1"}),
        ("aws", {"use_machine_identity": True, "endpoint": "https://10.1.2.3"}),
        ("aws", {"use_machine_identity": True, "endpoint": "https://[::ffff:169.254.169.254]"}),
        ("mcp_server", {"urls": ["http://127.0.0.1:1/mcp"]}),
        ("oauth", {"issuer": "https://10.1.2.3"}),
    ],
)
def test_no_test_tells_a_closed_internal_address_from_another(
    settings: Settings, kind: str, settings_of_it: dict[str, object]
) -> None:
    """Whoever may test a connection would else learn what listens behind this machine's walls."""
    settings.ALLOW_LOOPBACK = False
    answer = check(kind, settings_of_it, clock=timezone.now)
    assert not answer.is_good
    assert any(word in answer.sentence for word in ("not a public", "not open", "another form", "plain http")), answer


def test_a_database_on_a_network_that_is_opened_is_asked(settings: Settings) -> None:
    settings.ALLOW_LOOPBACK = False
    settings.ALLOW_NETWORKS = ("127.0.0.1",)
    assert said(NOWHERE).sentence == "The server does not answer."
