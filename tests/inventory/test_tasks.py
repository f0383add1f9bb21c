"""What the timetable rings for, and on which queue."""

from datetime import timedelta

import pytest
from django.utils import timezone

from inventory import tasks
from inventory.models import Connection
from inventory.states import ConnectionKind
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The queue and the connection of every message."""
    found: list[tuple[str, str]] = []

    def keep(given: tuple[str], queue: str) -> None:
        found.append((queue, Connection.objects.get(pk=given[0]).name))

    monkeypatch.setattr(tasks.sync_connection, "apply_async", keep)
    return found


def due(name: str, kind: ConnectionKind, minutes: int = 1) -> Connection:
    return factories.connection(name=name, kind=kind, due_at=timezone.now() - timedelta(minutes=minutes))


def test_files_are_read_by_one_queue_and_other_machines_by_another(rung: list[tuple[str, str]]) -> None:
    due("checkouts", ConnectionKind.MCP_CONFIG)
    due("account", ConnectionKind.AWS)
    due("cluster", ConnectionKind.POSTGRES)
    tasks.sweep_due_connections()
    assert sorted(rung) == [("files", "checkouts"), ("sync", "account"), ("sync", "cluster")]


def test_places_that_hang_do_not_keep_the_sweep_from_files(
    rung: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "AT_ONCE", 3)
    for number in range(5):
        due(f"account {number}", ConnectionKind.AWS, minutes=60)
    due("checkouts", ConnectionKind.MCP_CONFIG)
    tasks.sweep_due_connections()
    assert ("files", "checkouts") in rung
    assert len(rung) == 4


def test_what_waited_longest_is_rung_for_first(rung: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AT_ONCE", 1)
    due("later", ConnectionKind.AWS, minutes=1)
    due("earlier", ConnectionKind.AWS, minutes=9)
    tasks.sweep_due_connections()
    assert rung == [("sync", "earlier")]


def test_what_is_off_held_or_sent_here_is_not_rung_for(rung: list[tuple[str, str]]) -> None:
    Connection.objects.filter(pk=due("off", ConnectionKind.AWS).pk).update(is_enabled=False)
    held = due("held", ConnectionKind.AWS)
    Connection.objects.filter(pk=held.pk).update(lease_token=held.pk, lease_until=timezone.now() + timedelta(minutes=5))
    due("sent", ConnectionKind.FEED)
    tasks.sweep_due_connections()
    assert rung == []
