"""What happens to an operation when its own database fails it: no room to write, sessions ended, a server that dies."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import psutil
import psycopg
import pytest
from django.db import DatabaseError, InterfaceError, connection

from audit.chain import verify
from audit.models import AuditEntry
from config.embedded import EmbeddedPostgres
from lifecycle.models import StepAttempt
from lifecycle.plans import REVOCATION, ROTATION
from lifecycle.states import OperationState, Proof
from tests.embedded import end, server, short_folder
from tests.lifecycle.operations import Estate

pytestmark = pytest.mark.django_db(transaction=True)

NO_ROOM = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON lifecycle_stepattempt FOR EACH ROW EXECUTE FUNCTION no_room();
"""
BOUNDARIES = ("before intent", "after intent", "before outcome", "after outcome")


PLANS = {"rotation": ROTATION, "revocation": REVOCATION}


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def end_session() -> None:
    """As an administrator, or a server that restarts, ends it; what is asked of it next fails."""
    known = connection.settings_dict
    pid = connection.connection.info.backend_pid
    with psycopg.connect(host=known["HOST"], dbname="postgres", user=known["USER"], autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def carried_through(kind: str, step: str, boundaries: Sequence[str], fail: Callable[[], None]) -> Estate:
    """An operation whose database fails once at each of these boundaries of a step; it must end all the same."""
    estate = Estate()
    operation = estate.rotate() if kind == "rotation" else estate.revoke()
    waiting = list(boundaries)

    def at(boundary: str, now: str) -> None:
        if now == step and boundary in waiting:
            waiting.remove(boundary)
            fail()

    for _ in boundaries:
        with suppress(DatabaseError, InterfaceError):
            estate.go_on(operation, at=at)
        connection.close()
        run("DROP FUNCTION IF EXISTS no_room CASCADE")
    operation = estate.go_on(operation)

    assert (operation.state, operation.proof) == (OperationState.COMPLETED, Proof.VERIFIED)
    assert estate.usable() == ([estate.delivered()] if kind == "rotation" else [])
    assert not StepAttempt.objects.filter(operation=operation, ended_at=None).exists()
    assert verify(AuditEntry.objects.links()).broken is None
    return estate


@pytest.mark.parametrize("kind", PLANS)
def test_every_step_survives_a_full_disk_while_journaling(kind: str) -> None:
    for step in PLANS[kind]:
        carried_through(kind, step, ["before intent", "before outcome"], lambda: run(NO_ROOM))


@pytest.mark.parametrize("kind", PLANS)
def test_every_step_survives_a_database_that_ends_its_sessions(kind: str) -> None:
    for step in PLANS[kind]:
        carried_through(kind, step, BOUNDARIES, end_session)


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that may die, with a copy of the test's database, in place of the one that every test shares."""
    shared = connection.settings_dict
    postgres = server(short_folder() / "pg")
    postgres.start()
    of_shared = psycopg.conninfo.make_conninfo(host=shared["HOST"], dbname=shared["NAME"], user=shared["USER"])
    with psycopg.connect(postgres.conninfo(), autocommit=True) as fresh:
        fresh.execute("ALTER DATABASE keyreeve SET synchronous_commit = on")  # what is committed is not lost, as usual
        fresh.execute("DROP SCHEMA IF EXISTS pgmq CASCADE")  # it is in the copy too
    dumped = subprocess.run(
        [postgres.bin / "pg_dump", "-Fc", "--no-privileges", of_shared], check=True, capture_output=True
    )
    restore = [postgres.bin / "pg_restore", "--exit-on-error", "-d", postgres.conninfo()]
    subprocess.run(restore, input=dumped.stdout, check=True)
    connection.close()
    connection.settings_dict = {**shared, "HOST": str(postgres.folder), "NAME": "keyreeve"}
    yield postgres
    connection.close()
    connection.settings_dict = shared
    end(postgres)


@pytest.mark.long
@pytest.mark.parametrize("kind", PLANS)
def test_every_step_survives_a_database_that_dies_and_is_started_again(kind: str, own_server: EmbeddedPostgres) -> None:
    def die() -> None:
        postmaster = int((own_server.folder / "postmaster.pid").read_text().partition("\n")[0])
        os.kill(postmaster, signal.SIGQUIT)  # without a word to anybody, and without a checkpoint
        psutil.wait_procs([psutil.Process(postmaster)] if psutil.pid_exists(postmaster) else [])
        own_server.start()

    for number, step in enumerate(PLANS[kind]):
        carried_through(kind, step, [BOUNDARIES[number % len(BOUNDARIES)]], die)
