"""The doorbells: they ring the actions, and a sync rings them."""

import pytest
from django.utils import timezone
from kombu.exceptions import OperationalError
from psycopg.errors import DuplicateObject

from inventory.signals import synced
from lifecycle import tasks
from lifecycle.models import EvaluationMark, Snapshot
from tests import factories

pytestmark = pytest.mark.django_db


def test_the_timetable_evaluates():
    factories.credential()
    tasks.evaluate_findings()
    assert EvaluationMark.objects.exists()


def test_the_timetable_expires_waivers_and_takes_the_posture():
    tasks.expire_waivers()
    tasks.take_snapshot()
    assert Snapshot.objects.get().taken_on == timezone.now().date()


def test_a_sync_rings_for_an_evaluation_once_it_is_committed(monkeypatch, django_capture_on_commit_callbacks):
    rung: list[bool] = []
    monkeypatch.setattr(tasks.evaluate_findings, "delay", lambda: rung.append(True))
    with django_capture_on_commit_callbacks() as waiting:
        synced.send(sender=None, run=None)
        assert not rung
    for ring in waiting:
        ring()
    assert rung == [True]


@pytest.mark.parametrize("refusal", [OperationalError("no broker"), DuplicateObject("the trigger is there already")])
def test_a_sync_does_not_fail_when_the_broker_takes_nothing(
    monkeypatch, django_capture_on_commit_callbacks, caplog, refusal
):
    def refuse() -> None:
        raise refusal

    monkeypatch.setattr(tasks.evaluate_findings, "delay", refuse)
    with django_capture_on_commit_callbacks(execute=True):
        synced.send(sender=None, run=None)
    assert "broker cannot be reached" in caplog.text
