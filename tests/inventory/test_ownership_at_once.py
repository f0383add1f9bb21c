"""Sweeps of ownership at once, killed in the middle, and people who answer meanwhile: nothing twice, nothing lost."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection, transaction

from audit.chain import verify
from audit.models import AuditEntry
from inventory.actions.asking import sweep
from inventory.models import Credential, OwnershipQuestion, Tenure
from inventory.states import QuestionState
from tests import factories
from tests.inventory.line import Line
from tests.lifecycle.test_evaluation_concurrency import address, held, until, waits_for

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)
KILLED = """
import django; django.setup()
from datetime import datetime
from inventory.actions.asking import sweep
from inventory.actions.terms import Terms
sweep(now=datetime.fromisoformat({now!r}), terms=Terms())
"""


def beside(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    said: list[Any] = []

    def run() -> None:
        try:
            said.append(work())
        finally:
            connection.close()

    other = threading.Thread(target=run)
    other.start()
    return other, said


def test_two_sweeps_at_once_ask_and_take_everything_once():
    line = Line()
    for _ in range(3):
        factories.credential(owner=line.mira)
        factories.credential(owner=line.otto)
    for days in (0, 14, 7, 7):
        line.now += days * DAY
        sweeps = [beside(line.sweep) for _ in range(3)]
        for other, _ in sweeps:
            other.join()
        assert all(said for _, said in sweeps)
        line.sweep()
    questions = OwnershipQuestion.objects.all()
    assert [(each.state, each.size) for each in questions] == [(QuestionState.QUARANTINED, 3)] * 2
    assert not Credential.objects.filter(owner__isnull=False).exists()
    assert Tenure.objects.open().count() == 6
    assert AuditEntry.objects.filter(event="ownership.quarantined").count() == 2


def test_a_question_that_somebody_is_answering_is_left_to_them():
    line = Line()
    factories.credential(owner=line.mira)
    line.sweep()
    question = OwnershipQuestion.objects.get()
    line.now += 14 * DAY
    with transaction.atomic():
        line.accept(question, line.mira)
        other, said = beside(line.sweep)
        other.join()
    assert said[0]["passed_on"] == 0
    assert line.sweep()["passed_on"] == 0
    assert OwnershipQuestion.objects.get().state == QuestionState.ACCEPTED


def test_a_sweep_that_is_killed_in_the_middle_leaves_nothing_half_and_the_next_one_goes_on():
    line = Line()
    for owner in (line.mira, line.otto):
        factories.credential(owner=owner)
    line.sweep()
    for days in (14, 7):
        line.pass_by(days * DAY)
    line.now += 7 * DAY
    database = connection.settings_dict
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": f"postgresql://postgres@/{database['NAME']}?host={database['HOST']}",
    }
    with held("audit_auditentry") as other:
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", KILLED.format(now=line.now.isoformat())],
            cwd=settings.BASE_DIR, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: waits_for(other, "audit_auditentry"), "the other process has taken what nobody accepted")
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
    locks = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory')"
    with psycopg.connect(address(), autocommit=True) as looking:
        until(lambda: not looking.execute(locks).fetchone()[0], "the database has noticed")
    before = Credential.objects.filter(owner__isnull=False).count()
    assert before == 1  # Otto has nobody in line and his was taken before
    sweep(now=line.now, terms=line.terms)
    assert OwnershipQuestion.objects.filter(state=QuestionState.QUARANTINED).count() == 2
    assert not Credential.objects.filter(owner__isnull=False).exists()
    assert Tenure.objects.open().count() == 2
    assert verify(AuditEntry.objects.links()).broken is None
