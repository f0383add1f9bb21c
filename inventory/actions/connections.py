"""Create and change connections, and ask for a sync."""

from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from inventory.errors import HasHistory, NameTaken, Told
from inventory.models import Connection, Environment, SyncRun
from inventory.states import ConnectionKind, RunState

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
    interval: timedelta | None = EVERY,
) -> Connection:
    """Add a place to look. It is due at once; without an interval it is due again only when somebody asks.

    A feed is never due: its interval says how often something should arrive.
    """
    connection = Connection(
        kind=kind,
        name=name,
        settings=settings,
        environment=environment,
        interval=interval,
        due_at=None if kind == ConnectionKind.FEED else now,
    )
    _save(connection, force_insert=True)
    record(Event.CONNECTION_CREATED, actor=actor, subject=connection, detail={"kind": kind, "settings": settings})
    return connection


def _save(connection: Connection, **options: Any) -> None:
    """Raises NameTaken when somebody else was faster with the name."""
    if Connection.objects.filter(name=connection.name).exclude(pk=connection.pk).exists():
        raise NameTaken(connection.name)
    try:
        with transaction.atomic():
            connection.save(**options)
    except IntegrityError as exc:
        if not Connection.objects.filter(name=connection.name).exclude(pk=connection.pk).exists():
            raise
        raise NameTaken(connection.name) from exc


@action
def change_connection(
    connection: Connection,
    *,
    name: str,
    settings: dict[str, Any],
    environment: Environment | None,
    interval: timedelta | None,
    actor: Actor,
    now: datetime,
) -> bool:
    """Change what is looked at, and how often. Due at once where the settings changed. Says whether anything did."""
    held = (
        Connection.objects.select_for_update(of=("self",), no_key=True)
        .select_related("environment")
        .get(pk=connection.pk)
    )
    before: dict[str, Any] = {
        "name": held.name,
        "settings": held.settings,
        "environment": str(held.environment or ""),
        "interval": _seconds(held.interval),
    }
    after: dict[str, Any] = {
        "name": name,
        "settings": settings,
        "environment": str(environment or ""),
        "interval": _seconds(interval),
    }
    changed = [fact for fact in after if after[fact] != before[fact]]
    if not changed:
        return False
    held.name, held.settings, held.environment = name, settings, environment
    is_asked = held.kind != ConnectionKind.FEED
    if "interval" in changed:
        held.interval = interval
        held.due_at = now + interval if interval and is_asked else None
    if "settings" in changed and held.is_enabled and is_asked:
        held.due_at = now
    _save(held, update_fields=["name", "settings", "environment", "interval", "due_at"])
    record(
        Event.CONNECTION_CHANGED,
        actor=actor,
        subject=held,
        detail={"changed": {fact: {"from": before[fact], "to": after[fact]} for fact in changed}},
    )
    connection.refresh_from_db()
    return True


def _seconds(interval: timedelta | None) -> int | None:
    return int(interval.total_seconds()) if interval else None


def has_history(connection: Connection) -> bool:
    """Whether it is under way or ever listed anything."""
    return SyncRun.objects.filter(connection=connection).exclude(state=RunState.FAILED).exists()


@action
def remove_connection(connection: Connection, *, actor: Actor) -> None:
    """Remove a connection that never listed anything. Raises HasHistory for any other: it is switched off instead."""
    held = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
    if has_history(held):
        raise HasHistory
    record(Event.CONNECTION_REMOVED, actor=actor, subject=held, detail={"kind": held.kind, "settings": held.settings})
    try:
        with transaction.atomic():
            held.delete()
    except ProtectedError as exc:  # rows that reached the inventory by another way than a run
        raise HasHistory from exc


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
    """Make a connection due now. Raises Told for a feed."""
    if connection.kind == ConnectionKind.FEED:
        raise Told(connection)
    Connection.objects.filter(pk=connection.pk).update(due_at=now)
    record(Event.CONNECTION_SYNC_REQUESTED, actor=actor, subject=connection)


@action
def set_enabled(connection: Connection, is_enabled: bool, *, actor: Actor, now: datetime) -> None:
    """Stop or resume scheduled syncs. Nothing that was listed is lost."""
    connection.is_enabled = is_enabled
    connection.due_at = now if is_enabled and connection.kind != ConnectionKind.FEED else connection.due_at
    connection.save(update_fields=["is_enabled", "due_at"])
    record(Event.CONNECTION_CHANGED, actor=actor, subject=connection, detail={"is_enabled": is_enabled})
