"""Create and change connections, and ask for a sync."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from inventory.models import Connection, Environment
from inventory.states import ConnectionKind

EVERY = timedelta(hours=1)


@action
def create_connection(
    *,
    kind: ConnectionKind,
    name: str,
    settings: dict[str, Any],
    actor: Actor,
    now: datetime,
    environment: Environment | None = None,
    interval: timedelta = EVERY,
) -> Connection:
    """Add a place to look. It is due at once."""
    connection = Connection(
        kind=kind, name=name, settings=settings, environment=environment, interval=interval, due_at=now
    )
    connection.save(force_insert=True)
    record(Event.CONNECTION_CREATED, actor=actor, subject=connection, detail={"kind": kind, "settings": settings})
    return connection


def this_machine(*, hostname: str, actor: Actor, now: datetime) -> Connection:
    """The connection for this machine's own client configuration; made when there is none yet."""
    with transaction.atomic():
        found = Connection.objects.filter(kind=ConnectionKind.MCP_CONFIG, settings__this_machine=True).first()
        return found or create_connection(
            kind=ConnectionKind.MCP_CONFIG,
            name=hostname,
            settings={"this_machine": True, "host": hostname},
            actor=actor,
            now=now,
        )


@action
def request_sync(connection: Connection, *, actor: Actor, now: datetime) -> None:
    """Make a connection due now."""
    Connection.objects.filter(pk=connection.pk).update(due_at=now)
    record(Event.CONNECTION_SYNC_REQUESTED, actor=actor, subject=connection)


@action
def set_enabled(connection: Connection, is_enabled: bool, *, actor: Actor, now: datetime) -> None:
    """Stop or resume scheduled syncs. Nothing that was listed is lost."""
    connection.is_enabled = is_enabled
    connection.due_at = now if is_enabled else connection.due_at
    connection.save(update_fields=["is_enabled", "due_at"])
    record(Event.CONNECTION_CHANGED, actor=actor, subject=connection, detail={"is_enabled": is_enabled})
