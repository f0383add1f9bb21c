"""Evaluations at once, killed in the middle, and policies that end while one runs: nothing twice, nothing lost."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from access.actors import Actor, ActorKind
from access.roles import Role
from audit.chain import verify
from audit.events import Event
from audit.models import AuditEntry
from lifecycle.actions.evaluation import Evaluation, evaluate
from lifecycle.actions.policies import create_policy, retire_policy
from lifecycle.errors import EvaluationUnderWay
from lifecycle.models import EvaluationMark, Finding, Obligation, Policy, PolicyVersion
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 60.0  # seconds, for what a slow machine is given and a fast one never takes
ACTOR = Actor.system("test")
MIRA = Actor(ActorKind.USER, "7", "Mira Okafor", frozenset({Role.REVIEWER}), user_id=None)
DAY = timedelta(days=1)


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"waited in vain until {what}"
        threading.Event().wait(0.02)


def address() -> str:
    database = connection.settings_dict
    return psycopg.conninfo.make_conninfo(host=database["HOST"], dbname=database["NAME"], user=database["USER"])


@contextmanager
def held(table: str) -> Iterator[psycopg.Connection]:
    """Whoever reads or writes `table` meanwhile waits."""
    with psycopg.connect(address()) as other:
        other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield other
        other.rollback()


def waits_for(other: psycopg.Connection, table: str) -> bool:
    asked = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = %s::regclass)"
    return bool(other.execute(asked, [table]).fetchone()[0])


@contextmanager
def evaluating() -> Iterator[list[Evaluation]]:
    """A full evaluation by another worker; what it did is there at the end."""
    done: list[Evaluation] = []

    def run() -> None:
        try:
            done.append(evaluate(NOW, actor=ACTOR, full=True))
        finally:
            connection.close()

    worker = threading.Thread(target=run)
    worker.start()
    try:
        yield done
    finally:
        worker.join(PATIENCE)
    assert not worker.is_alive()


def is_whole() -> bool:
    """Whether the audit entries make one unbroken chain."""
    return verify(AuditEntry.objects.links()).broken is None


def pairs() -> list[tuple[str, object]]:
    return sorted(Finding.objects.unresolved().values_list("rule", "credential"))


def test_of_evaluations_at_once_one_runs_and_the_others_are_told():
    for _ in range(3):
        factories.credential()
    refused: list[EvaluationUnderWay] = []
    with held("inventory_use") as other, evaluating() as done:
        until(lambda: waits_for(other, "inventory_use"), "the first one waits")
        with pytest.raises(EvaluationUnderWay) as told:
            evaluate(NOW, actor=ACTOR, full=True)
        refused.append(told.value)
        other.rollback()
    assert (len(done), len(refused), Finding.objects.count(), done[0].opened) == (1, 1, 3, 3)
    assert evaluate(NOW, actor=ACTOR, full=True).changed == 0
    assert AuditEntry.objects.filter(event=Event.FINDINGS_EVALUATED).count() == 1
    assert is_whole()


def test_an_evaluation_that_is_killed_in_the_middle_leaves_nothing_and_the_next_one_finds_everything():
    for _ in range(3):
        factories.credential()
    environment = {**os.environ, "DATABASE_URL": f"postgresql://postgres@/{connection.settings_dict['NAME']}"
                                                 f"?host={connection.settings_dict['HOST']}"}  # fmt: skip
    with held("lifecycle_rulestate") as other:  # counted once findings are written
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "manage.py", "evaluate", "--full"],
            cwd=settings.BASE_DIR, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: waits_for(other, "lifecycle_rulestate"), "the other process is in the middle")
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
    locks = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory')"
    with psycopg.connect(address(), autocommit=True) as looking:
        until(lambda: not looking.execute(locks).fetchone()[0], "the database has noticed")
    assert (Finding.objects.count(), EvaluationMark.objects.count(), Obligation.objects.count()) == (0, 0, 0)
    assert evaluate(NOW, actor=ACTOR).opened == 3
    assert len(pairs()) == len(set(pairs())) == 3
    assert is_whole()


def test_a_policy_that_ends_while_an_evaluation_runs_is_seen_whole_by_it_and_gone_by_the_next():
    PolicyVersion.objects.all().delete()
    Policy.objects.all().delete()
    strict, lenient = (
        create_policy(
            {"name": name, "priority": priority, "max_age": days * DAY}, actor=MIRA, now=NOW, reason="Agreed."
        )
        for name, priority, days in (("Strict", 1, 5), ("Lenient", 2, 50))
    )
    for _ in range(3):
        factories.credential(owner=factories.owner(), issued_at=NOW - 10 * DAY)
    with held("inventory_use") as other, evaluating():
        until(lambda: waits_for(other, "inventory_use"), "it has read what is asked")
        retire_policy(strict, actor=MIRA, now=NOW, reason="Agreed.")
        other.rollback()
    assert set(Obligation.objects.values_list("policy", flat=True)) == {strict.pk}
    assert [rule for rule, _ in pairs()] == ["unrotated"] * 3
    after = evaluate(NOW + timedelta(minutes=5), actor=ACTOR)
    assert (after.is_full, after.resolved) == (True, 3)
    assert set(Obligation.objects.values_list("policy", flat=True)) == {lenient.pk}
    assert (pairs(), Finding.objects.count(), is_whole()) == ([], 3, True)
