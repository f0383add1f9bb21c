"""Doorbells of the inventory: ids in, nothing out. The sweep rings again for what was lost."""

from uuid import UUID

from celery import shared_task
from django.utils import timezone

from access.actors import Actor
from inventory.engine import sync
from inventory.models import Connection

ACTOR = Actor.system("scheduled sync")


@shared_task(acks_late=True, ignore_result=True)
def sync_connection(connection_id: str) -> None:
    sync(UUID(connection_id), clock=timezone.now, actor=ACTOR, due_only=True)


@shared_task(ignore_result=True)
def sweep_due_connections() -> None:
    for pk in Connection.objects.due(timezone.now()).values_list("pk", flat=True)[:100]:
        sync_connection.delay(str(pk))
