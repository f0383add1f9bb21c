"""Doorbells of the notices: the sweep finds what is due and rings, once for mails and once for each endpoint."""

from uuid import UUID

from celery import shared_task
from django.utils import timezone

from notifications import sending
from notifications.actions.outbox import tidy


@shared_task(ignore_result=True)
def sweep_due_notices() -> dict[str, int]:
    now = timezone.now()
    tidy(now)
    is_due, endpoints = sending.mail_is_due(now), sending.due_endpoints(now)
    if is_due:
        send_mail.delay()
    for endpoint_id in endpoints:
        send_to_endpoint.delay(str(endpoint_id))
    return {"rung": is_due + len(endpoints)}


@shared_task(acks_late=True, ignore_result=True)
def send_mail() -> None:
    sending.send_mail(clock=timezone.now)


@shared_task(acks_late=True, ignore_result=True)
def send_to_endpoint(endpoint_id: str) -> None:
    sending.send_to_endpoint(UUID(endpoint_id), clock=timezone.now)
