"""What a sync of an authorization server must not forget: clients it left behind, and what persons said."""

from collections.abc import Iterator

import pytest
from django.utils import timezone
from pytest_django import Settings

from access.actors import Actor
from inventory.actions.answers import ANSWERABLE, answer_check
from inventory.actions.connections import create_connection
from inventory.engine import sync
from inventory.models import AuthorizationServer, Connection, PostureCheck
from inventory.states import ConnectionKind, Verdict
from tests.providers.issuers import Issuer, listening

ACTOR = Actor.system("tests")
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def on_loopback(settings: Settings) -> None:
    settings.ALLOW_LOOPBACK = True


@pytest.fixture
def careless() -> Issuer:
    """It registers whatever anybody sends, and lets nobody take it back."""
    return Issuer(faults=frozenset({"open", "any_redirect", "unmanaged"}))


@pytest.fixture
def connection(careless: Issuer) -> Iterator[Connection]:
    with listening(careless) as address:
        yield create_connection(
            kind=ConnectionKind.OAUTH,
            name="Careless",
            settings={"issuer": address},
            actor=ACTOR,
            now=timezone.now(),
        )


def looked(connection: Connection, check_id: str = "MCP-AS-10") -> PostureCheck:
    assert sync(connection.pk, clock=timezone.now, actor=ACTOR) is not None
    return PostureCheck.objects.get(check_id=check_id)


def test_a_client_that_stayed_behind_is_named_in_the_evidence(careless: Issuer, connection: Connection) -> None:
    check = looked(connection)
    assert check.verdict == Verdict.VIOLATED
    assert [left["client_id"] for left in check.evidence["left_behind"]] == careless.registered


def test_a_server_that_kept_a_client_is_given_no_second_one(careless: Issuer, connection: Connection) -> None:
    first = looked(connection)
    again = looked(connection)
    assert len(careless.registered) == 1
    assert (again.verdict, again.evidence, again.checked_at) == (first.verdict, first.evidence, first.checked_at)


def test_closing_the_door_is_seen_though_nothing_is_tried_any_more(careless: Issuer, connection: Connection) -> None:
    looked(connection)
    careless.faults = frozenset()
    assert looked(connection).verdict == Verdict.MET
    assert len(careless.registered) == 1


def test_what_a_person_said_outlives_the_next_look(careless: Issuer, connection: Connection) -> None:
    looked(connection)
    server = AuthorizationServer.objects.get()
    answer_check(server, ANSWERABLE["KR-DL-01"], is_so=True, reason="Seen the log", actor=ACTOR, now=timezone.now())
    check = looked(connection, "KR-DL-01")
    assert (check.verdict, check.evidence["said_by"]) == (Verdict.MET, ACTOR.label)
