"""What kills a worker while it works for an operation, at every boundary between it and its provider."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Lock
from uuid import UUID

import psutil
import psycopg
from django.conf import settings
from django.db import connection as database
from django.db.models import F
from django.utils import timezone

from lifecycle.engine.steps import SEEN_WITHIN
from lifecycle.models import Operation, ProviderLoad, StepAttempt
from lifecycle.states import OperationState
from tests.journeys.test_workers import until, worker

Boundary = tuple[str, str, str]  # step, call, before or after


class Killer:
    """Kills whoever works for the worker, once at each boundary."""

    def __init__(self) -> None:
        known = database.settings_dict
        self._conninfo = psycopg.conninfo.make_conninfo(host=known["HOST"], dbname=known["NAME"], user=known["USER"])
        self.worker: psutil.Process | None = None
        self.killed: list[Boundary] = []
        self.dead: set[UUID] = set()  # leases of those who died
        self._killing = Lock()

    def held(self) -> tuple[str, UUID]:
        """The step that somebody is at, and their lease."""
        with psycopg.connect(self._conninfo, autocommit=True) as session:
            row = session.execute(
                "SELECT step, lease_token FROM lifecycle_operation WHERE lease_token IS NOT NULL"
            ).fetchone()
        assert row is not None, "nobody is asked anything without a lease"
        return row[0], row[1]

    def kills(self, boundary: Boundary, lease: UUID) -> bool:
        with self._killing:
            if boundary in self.killed or self.worker is None:
                return False
            self.killed.append(boundary)
            self.dead.add(lease)
            for child in self.worker.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.send_signal(signal.SIGKILL)
            return True


@contextlib.contextmanager
def ringing(broker: str) -> Iterator[subprocess.Popen[str]]:
    """A process that rings for every operation whose id is written to it."""
    known = database.settings_dict
    code = (
        "import sys, django; django.setup()\n"
        "from lifecycle.tasks import advance_operation\n"
        "for line in sys.stdin: advance_operation.delay(line.strip())\n"
    )
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://keyreeve_app@/{known['NAME']}?host={known['HOST']}",
        "KEYREEVE_BROKER_URL": broker,
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=settings.BASE_DIR,
        env=environment,
        stdin=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        if child.stdin is not None:
            child.stdin.close()
        child.wait(20)


def carried_through(operation: Operation, killer: Killer, folder: Path, *, broker: str = "") -> Operation:
    """The operation once it has ended, however often its worker died on the way.

    A dead worker's lease, the pause after a failure and the time until a provider lists what a dead worker issued need
    patience, which a test has not: it lets them be over.
    """
    with worker(folder, broker) as child, ringing(broker) as bell:
        killer.worker = psutil.Process(child.pid)

        def has_ended() -> bool:
            ago = timezone.now() - timedelta(seconds=1)
            mine = Operation.objects.filter(pk=operation.pk)
            mine.filter(lease_token__in=killer.dead).update(lease_until=ago)
            mine.filter(due_at__gt=ago, lease_until=None).update(due_at=ago)
            ProviderLoad.objects.update(paused_until=None)
            lost = StepAttempt.objects.filter(operation=operation, ended_at__gt=ago - SEEN_WITHIN)
            lost.update(begun_at=F("begun_at") - SEEN_WITHIN, ended_at=F("ended_at") - SEEN_WITHIN)
            assert bell.stdin is not None
            bell.stdin.write(f"{operation.pk}\n")
            bell.stdin.flush()
            operation.refresh_from_db()
            assert operation.state != OperationState.STALLED, operation.error
            return operation.closed_at is not None

        until(has_ended, "the operation ends", patience=300)
        killer.worker = None
    return operation


def whole_database() -> str:
    """Every row of every table that an operation writes, as text."""
    with database.cursor() as cursor:
        tables = [table for table in database.introspection.table_names(cursor) if "_" in table]
        said = []
        for table in tables:
            cursor.execute(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM \"{table}\" t")
            said.append(cursor.fetchone()[0])
    return "\n".join(said)
