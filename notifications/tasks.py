"""Doorbells of notices and streams: a sweep finds what is due and rings, once for mails, once for each receiver."""

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
from celery import shared_task
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from notifications import sending, streaming
from notifications.actions.outbox import tidy
from notifications.errors import TokenRefused, Undelivered
from notifications.models import EventStream
from notifications.states import StreamKind

logger = logging.getLogger(__name__)


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


@shared_task(ignore_result=True)
def sweep_due_streams() -> dict[str, int]:
    streams = streaming.due_streams(timezone.now())
    for stream_id in streams:
        run_stream.delay(str(stream_id))
    return {"rung": len(streams)}


@shared_task(acks_late=True, ignore_result=True)
def run_stream(stream_id: str) -> None:
    streaming.run_stream(UUID(stream_id), clock=timezone.now)


@shared_task(ignore_result=True)
def send_stream_test(stream_id: str, asked_by: str) -> None:
    stream = EventStream.objects.filter(pk=stream_id).first()
    if stream is not None and (fault := streaming.send_test(stream, asked_by=asked_by, clock=timezone.now)):
        logger.warning("the stream %s did not take a test: %s", stream_id, fault)


@shared_task(ignore_result=True)
def tell_stream_status(stream_id: str) -> None:
    """Once: whoever misses it sees by what comes, or does not, that the stream was enabled or paused."""
    stream = EventStream.objects.filter(pk=stream_id, kind=StreamKind.SET_PUSH).first()
    if stream is None:
        return
    try:
        streaming.say_status(stream, reason=stream.status_reason, now=timezone.now())
    except (Undelivered, TokenRefused) as exc:
        logger.warning("the stream %s was not told its status: %s", stream_id, exc)


def ring(task: Any, *arguments: str) -> None:
    """Ring once what is under way is committed."""
    transaction.on_commit(lambda: _rung(lambda: task.delay(*arguments)))


def _rung(bell: Callable[[], Any]) -> None:
    try:
        bell()
    except (OperationalError, psycopg.Error):
        logger.warning("the broker cannot be reached or takes nothing; nobody is told")
