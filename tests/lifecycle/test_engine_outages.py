"""What happens to an operation when its own database fails it: no room to write, sessions ended under it."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import psycopg
import pytest
from django.db import DatabaseError, InterfaceError, connection

from audit.chain import verify
from audit.models import AuditEntry
from lifecycle.models import StepAttempt
from lifecycle.plans import REVOCATION, ROTATION
from lifecycle.states import OperationState, Proof
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
