"""Nobody's decision fails because an evaluation or a sync writes: rows are locked in one order, or let go again."""

import threading
from collections.abc import Callable

import psycopg
import pytest
from django.db import connection
from psycopg import sql

from access.actors import Actor, ActorKind
from access.roles import Role
from inventory.actions.ownership import assign_environment
from inventory.models import Credential, Environment, McpServer
from lifecycle.actions.evaluation import evaluate
from lifecycle.models import Finding
from tests import factories
from tests.factories import NOW
from tests.lifecycle.test_evaluation_concurrency import ACTOR, PATIENCE, address, evaluating, until

pytestmark = pytest.mark.django_db(transaction=True)
MIRA = Actor(ActorKind.USER, "7", "Mira Okafor", frozenset({Role.REVIEWER}), user_id=None)
# As people lock them: findings before their subjects.
ORDER = ["lifecycle_finding", "inventory_mcpserver", "inventory_credential"]
SYNCS = "SELECT pg_advisory_xact_lock_shared(hashtextextended('keyreeve subjects', 0))"


def is_waiting(other: psycopg.Connection, *, number: int = 1) -> bool:
    asked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    return bool(other.execute(asked).fetchone()[0] >= number)


def lock(other: psycopg.Connection, table: str, ids: list[object]) -> int:
    statement = "SELECT id FROM {} WHERE id = ANY (%s) ORDER BY id FOR UPDATE"
    return other.execute(sql.SQL(statement).format(sql.Identifier(table)), [ids]).rowcount


def rows(table: str) -> list[object]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM {table} ORDER BY id")
        return [key for (key,) in cursor.fetchall()]


@pytest.fixture
def differing() -> None:
    """Findings of two kinds to refresh and to resolve; the first row of each table stands last on its pages."""
    for number in range(3):
        factories.exposure(factories.credential(name=f"key {number}"))
        factories.server(name=f"server {number}")
    evaluate(NOW, actor=ACTOR, full=True)
    ana = factories.owner()
    McpServer.objects.update(iam_owner=ana, platform_owner=ana, application_owner=ana)
    Credential.objects.update(owner=ana)
    for model in (Finding, McpServer, Credential):
        first = model.objects.order_by("pk").first()
        assert first is not None
        first.save()


@pytest.mark.parametrize("place", [None, 0, 1, 2], ids=["a sync", *ORDER])
def test_while_an_evaluation_waits_for_a_row_all_that_comes_after_is_free(differing, place):
    with psycopg.connect(address()) as other, psycopg.connect(address(), autocommit=True) as looking:
        other.execute("SET lock_timeout = '500ms'")  # less than a deadlock takes to be seen
        after = [(table, rows(table)) for table in ORDER[place or 0 :]]
        if place == 0:  # the first that is of a server, so that what is written of credentials comes before it
            servers = Finding.objects.filter(server__isnull=False).order_by("pk").values_list("pk", flat=True)
            after[0] = (ORDER[0], [key for key in after[0][1] if key >= servers[0]])
        if place is None:
            other.execute(SYNCS)
        else:
            lock(other, ORDER[place], after[0][1][:1])
        with evaluating() as done:
            until(lambda: is_waiting(looking), "the evaluation waits")
            taken = [lock(other, table, ids) for table, ids in after]
            other.rollback()
    assert taken == [len(ids) for _, ids in after]
    assert (len(done), done[0].refreshed > 0, done[0].resolved > 0) == (1, True, True)
    assert set(Credential.objects.values_list("open_findings", flat=True)) == {1}


def test_who_decides_about_many_goes_on_after_meeting_somebody_who_locks_them_the_other_way_round():
    low, middle, high = sorted((factories.credential().pk for _ in range(3)), key=str)
    environment = Environment.objects.first()
    moved: list[int] = []

    def decide() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET deadlock_timeout = '10ms'")
            moved.append(assign_environment(Credential.objects.all(), environment, actor=MIRA))
        finally:
            connection.close()

    with (
        psycopg.connect(address()) as between,
        psycopg.connect(address()) as backwards,
        psycopg.connect(address(), autocommit=True) as looking,
    ):
        backwards.execute("SET deadlock_timeout = '60s'")  # so it is never the one that gives up
        lock(backwards, "inventory_credential", [high])
        lock(between, "inventory_credential", [middle])
        deciding = started(decide)
        until(lambda: is_waiting(looking), "the first is locked, and the second waited for")
        going_back = started(lambda: lock(backwards, "inventory_credential", [low]))
        until(lambda: is_waiting(looking, number=2), "the other one waits for the first")
        between.rollback()
        going_back.join(PATIENCE)  # it got it, so it was let go
        assert not going_back.is_alive()
        backwards.rollback()
        deciding.join(PATIENCE)
    assert moved == [3]
    assert set(Credential.objects.values_list("environment", flat=True)) == {environment.pk}


def started(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread
