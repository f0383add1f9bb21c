"""Doorbells of the inventory: ids in, nothing out. The sweep rings again for what was lost."""

from uuid import UUID

from celery import shared_task
from django.utils import timezone

from access.actors import Actor
from inventory.engine import sync
from inventory.models import Connection
from inventory.states import ConnectionKind

ACTOR = Actor.system("scheduled sync")
FILES, SYNC = "files", "sync"  # queues
AT_ONCE = 100  # of those that are due; the next sweep finds the others


@shared_task(acks_late=True, ignore_result=True)
def sync_connection(connection_id: str) -> None:
    sync(UUID(connection_id), clock=timezone.now, actor=ACTOR, due_only=True)


def ring(connection_id: UUID, kind: str) -> None:
    """Ask a worker for a sync. Files are read where they lie; whatever waits for another machine has its own queue."""
    queue = FILES if kind == ConnectionKind.MCP_CONFIG else SYNC
    sync_connection.apply_async((str(connection_id),), queue=queue)


@shared_task(ignore_result=True)
def sweep_due_connections() -> None:
    due = Connection.objects.due(timezone.now()).order_by("due_at", "pk")
    for pk, kind in due.values_list("pk", "kind")[:AT_ONCE]:
        ring(pk, kind)
