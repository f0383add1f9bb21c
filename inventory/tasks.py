"""Doorbells of the inventory: ids in, counts for the ledger of runs out. The sweep rings again for what was lost."""

from uuid import UUID

from celery import shared_task
from django.db.models import Q
from django.utils import timezone

from access.actors import Actor
from inventory import removing
from inventory.engine import sync
from inventory.listings import LISTINGS
from inventory.models import Connection
from inventory.states import ConnectionKind

ACTOR = Actor.system("scheduled sync")
REMOVER = Actor.system("client removal")
FILES, SYNC = "files", "sync"  # queues
AT_ONCE = 100  # of those that are due for a queue; the next sweep finds the others


@shared_task(acks_late=True, ignore_result=True)
def sync_connection(connection_id: str) -> None:
    sync(UUID(connection_id), clock=timezone.now, actor=ACTOR, due_only=True)


def ring(connection_id: UUID, kind: str) -> None:
    """Ask a worker for a sync. Files are read where they lie; whatever waits for another machine has its own queue."""
    queue = FILES if kind == ConnectionKind.MCP_CONFIG else SYNC
    sync_connection.apply_async((str(connection_id),), queue=queue)


@shared_task(ignore_result=True)
def sweep_due_connections() -> dict[str, int]:
    due = Connection.objects.due(timezone.now()).filter(kind__in=LISTINGS).order_by("due_at", "pk")
    files = Q(kind=ConnectionKind.MCP_CONFIG)
    # Of each queue by itself: a hundred places that hang would else be all that is ever rung for.
    rung = 0
    for rows in (due.filter(files), due.exclude(files)):
        for pk, kind in rows.values_list("pk", "kind")[:AT_ONCE]:
            ring(pk, kind)
            rung += 1
    return {"connections": rung}


@shared_task(acks_late=True, ignore_result=True)
def advance_removal(removal_id: str) -> None:
    removing.advance(UUID(removal_id), clock=timezone.now, actor=REMOVER)


@shared_task(ignore_result=True)
def sweep_due_removals() -> dict[str, int]:
    due = removing.due(timezone.now(), AT_ONCE)
    for pk in due:
        advance_removal.delay(str(pk))
    return {"removals": len(due)}
