"""A run of a connection as the workers make it, here and now."""

from django.utils import timezone

from access.actors import Actor
from inventory.engine import sync
from inventory.models import Connection, SyncRun

ACTOR = Actor.system("tests")


def synced(connection: Connection) -> SyncRun:
    """The run that came of it, as its row says."""
    run = sync(connection.pk, clock=timezone.now, actor=ACTOR)
    assert run is not None
    run.refresh_from_db()
    return run
