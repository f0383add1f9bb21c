"""The timetable's work done by a real Celery worker, over each broker that Keyreeve can use."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings
from django.db import connection as database
from django.utils import timezone

from access.actors import Actor
from config.broker import waiting
from config.celery import BEATS
from demo.estate import write
from inventory.actions.connections import create_connection
from inventory.models import Connection, Credential, SyncRun
from inventory.states import ConnectionKind, RunState
from lifecycle.models import Finding, JobHour, JobRun, Operation, ScheduledJob
from lifecycle.states import OperationState, RunOutcome
from tests.embedded import needs
from tests.lifecycle.operations import Estate
from tests.ports import free_port

ACTOR = Actor.system("tests")
PATIENCE = 60  # seconds
pytestmark = pytest.mark.django_db(transaction=True)


def until(holds: Callable[[], bool], what: str, *, patience: int = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, f"not within {patience} s: {what}"
        time.sleep(0.1)


def answers(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def process(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a group of its own, ended with everything it started."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            command,
            cwd=settings.BASE_DIR,
            env={**os.environ, **environment},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


@contextmanager
def database_queue(folder: Path) -> Iterator[str]:
    yield ""


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    port = free_port()
    command = [needs("redis-server"), "--port", str(port), "--save", "", "--dir", str(folder)]
    with process(command, folder / "redis.log"):
        until(lambda: answers(port), "Redis answers")
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def rabbitmq(folder: Path) -> Iterator[str]:
    needs("rabbitmq-server")
    port = free_port()
    environment = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"krt{uuid4().hex[:8]}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "ERL_EPMD_PORT": str(free_port()),
        "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
    }
    (folder / "plugins").write_text("[].")
    program = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # the one in PATH would change the user
    with process([program], folder / "rabbitmq.log", **environment):
        until(lambda: answers(port), "RabbitMQ answers")
        yield f"amqp://guest:guest@127.0.0.1:{port}//"


BROKERS = {"the database": database_queue, "Redis": redis, "RabbitMQ": rabbitmq}


@contextmanager
def worker(
    folder: Path, broker: str, queues: str = "default,files,sync,evaluate,operate"
) -> Iterator[subprocess.Popen[bytes]]:
    known = database.settings_dict
    environment = {
        "DATABASE_URL": f"postgresql://keyreeve_app@/{known['NAME']}?host={known['HOST']}",
        "KEYREEVE_BROKER_URL": broker,
        "KEYREEVE_SCANNER_CACHE": str(settings.SCANNER_CACHE_DIR),
    }
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", "-Q", queues]
    options = ["-c", "1", "--without-gossip", "--without-mingle", "-n", f"w{uuid4().hex[:8]}@tests", "-l", "WARNING"]
    with process([*command, *options], folder / f"worker-{uuid4().hex[:8]}.log", **environment) as child:
        yield child


def ring(broker: str) -> None:
    """Send the sweep's message as beat does, from a process with that broker's settings."""
    known = database.settings_dict
    code = (
        "import django; django.setup(); from inventory.tasks import sweep_due_connections as t; t.delay();"
        "from lifecycle.tasks import sweep_due_operations as t; t.delay()"
    )
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://keyreeve_app@/{known['NAME']}?host={known['HOST']}",
        "KEYREEVE_BROKER_URL": broker,
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    subprocess.run([sys.executable, "-c", code], cwd=settings.BASE_DIR, env=environment, check=True, timeout=PATIENCE)


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    estate = tmp_path / "estate"
    write(estate, now=timezone.now())
    return create_connection(
        kind=ConnectionKind.MCP_CONFIG,
        name="halden",
        settings={"paths": [str(estate)]},
        actor=ACTOR,
        now=timezone.now(),
    )


@pytest.mark.parametrize("name", BROKERS)
def test_what_is_due_is_synced_evaluated_and_operated_over(name: str, connection: Connection, tmp_path: Path) -> None:
    ended = Estate().revoke(is_urgent=True)  # in the worker's memory there is no such key: gone, says its provider
    with BROKERS[name](tmp_path) as broker, worker(tmp_path, broker):
        ring(broker)
        until(lambda: SyncRun.objects.exclude(finished_at=None).exists(), "the sync ends")
        until(Finding.objects.exists, "the findings are there")
        until(
            JobRun.objects.filter(job__name="evaluation of findings", outcome=RunOutcome.ENDED).exists,
            "the ledger has the run",
        )
        until(Operation.objects.filter(pk=ended.pk, state=OperationState.COMPLETED).exists, "the revocation ends")
    assert SyncRun.objects.get().state == RunState.PARTIAL  # one file of the estate is broken on purpose
    assert Credential.objects.count() > 10


@pytest.mark.parametrize("name", ["Redis", "RabbitMQ"])
def test_what_waits_in_a_broker_is_counted(name: str, settings, tmp_path: Path) -> None:
    with BROKERS[name](tmp_path) as settings.BROKER_URL:
        ring(settings.BROKER_URL)
        until(lambda: {each.queue: each.count for each in waiting()}.get("default") == 2, "two messages wait")


@pytest.mark.long
def test_the_work_of_a_killed_worker_is_taken_over(connection: Connection, tmp_path: Path) -> None:
    abandoned = timezone.now() - timedelta(minutes=10)
    Connection.objects.update(lease_token=uuid4(), lease_until=abandoned + timedelta(minutes=5))
    SyncRun(connection=connection, started_at=abandoned, requested_by="a worker that was killed").save(
        force_insert=True
    )
    with worker(tmp_path, ""):
        ring("")
        until(lambda: SyncRun.objects.filter(finished_at=None).count() == 0, "the abandoned run is ended")
        until(lambda: SyncRun.objects.filter(state=RunState.PARTIAL).exists(), "a fresh run has read the estate")
    assert SyncRun.objects.filter(state=RunState.FAILED).count() == 1


def test_a_run_whose_worker_is_killed_is_begun_and_never_ended(connection: Connection, tmp_path: Path) -> None:
    known = database.settings_dict
    conninfo = psycopg.conninfo.make_conninfo(host=known["HOST"], dbname=known["NAME"], user=known["USER"])
    with worker(tmp_path, "", "default") as child, psycopg.connect(conninfo) as other:
        other.execute("LOCK TABLE inventory_connection IN ACCESS EXCLUSIVE MODE")
        ring("")
        until(JobRun.objects.exists, "the run has begun")
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    lost = JobRun.objects.get()
    assert (lost.job.name, lost.outcome, lost.ended_at) == ("connections that are due", RunOutcome.BEGUN, None)
    assert JobHour.objects.get().unended == 1


@pytest.mark.long
def test_a_beat_declares_the_timetable_when_it_starts(tmp_path: Path) -> None:
    known = database.settings_dict
    environment = {"DATABASE_URL": f"postgresql://keyreeve_app@/{known['NAME']}?host={known['HOST']}"}
    command = [sys.executable, "-m", "celery", "-A", "config", "beat", "--pidfile=", "-s", str(tmp_path / "beat")]
    with process(command, tmp_path / "beat.log", **environment):
        until(lambda: ScheduledJob.objects.count() == len(BEATS), "the timetable is declared")
