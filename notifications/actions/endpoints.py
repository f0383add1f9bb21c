"""Add, change, pause and remove the endpoints of webhooks, and say that a test is wanted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.db import IntegrityError, transaction

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from notifications.actions.outbox import Message, post
from notifications.errors import NameTaken
from notifications.kinds import TEST
from notifications.models import Delivery, Endpoint, Recipient

BY_HAND = "Paused by a person."


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What an operator says of an endpoint. The secrets are references, bound to `bound_to`."""

    name: str
    url: str
    kinds: Sequence[str]
    least_severity: int
    secret: str
    previous_secret: str
    bound_to: str


@action
def add_endpoint(setup: Setup, *, actor: Actor, now: datetime) -> Endpoint:
    """Tell an address from now on. Raises NameTaken."""
    given = asdict(setup)
    endpoint = Endpoint(**given, created_at=now, listens_since=now)
    _save(endpoint, force_insert=True)
    record(Event.ENDPOINT_ADDED, actor=actor, subject=endpoint, detail={"settings": given})
    return endpoint


@action
def change_endpoint(endpoint: Endpoint, setup: Setup, *, actor: Actor, now: datetime) -> bool:
    """Change where and what is told; whether anything changed. Of what it asks for anew it is told what happens now."""
    held = Endpoint.objects.select_for_update().get(pk=endpoint.pk)
    changed = {name: value for name, value in asdict(setup).items() if getattr(held, name) != value}
    if not changed:
        return False
    before = {name: getattr(held, name) for name in changed}
    for name, value in changed.items():
        setattr(held, name, value)
    if {"kinds", "least_severity"} & changed.keys():
        held.listens_since = now
    if {"url", "secret", "previous_secret"} & changed.keys():
        held.quiet_until = None  # what failed before may work now
    _save(held)
    detail = {"changed": {name: {"from": before[name], "to": value} for name, value in changed.items()}}
    record(Event.ENDPOINT_CHANGED, actor=actor, subject=held, detail=detail)
    return True


def _save(endpoint: Endpoint, **options: Any) -> None:
    try:
        with transaction.atomic():
            endpoint.save(**options)
    except IntegrityError as exc:
        if not Endpoint.objects.filter(name=endpoint.name).exclude(pk=endpoint.pk).exists():
            raise
        raise NameTaken(endpoint.name) from exc


@action
def pause_endpoint(endpoint: Endpoint, *, actor: Actor, now: datetime) -> None:
    """Send it nothing for now. What it is to be told waits for it, for a week."""
    if Endpoint.objects.filter(pk=endpoint.pk, paused_at=None).update(paused_at=now, paused_because=BY_HAND):
        record(Event.ENDPOINT_PAUSED, actor=actor, subject=endpoint, detail={"reason": BY_HAND})


@action
def resume_endpoint(endpoint: Endpoint, *, actor: Actor) -> None:
    """Send it what waits, at once."""
    paused = Endpoint.objects.filter(pk=endpoint.pk, paused_at__isnull=False)
    if paused.update(paused_at=None, paused_because="", failures=0, quiet_until=None):
        record(Event.ENDPOINT_RESUMED, actor=actor, subject=endpoint)


@action
def remove_endpoint(endpoint: Endpoint, *, actor: Actor) -> None:
    """Forget an endpoint and what it was told. The audit trail keeps that it was there."""
    record(Event.ENDPOINT_REMOVED, actor=actor, subject=endpoint, detail={"url": endpoint.url})
    endpoint.delete()


@action
def post_test(
    *, endpoint: Endpoint | None = None, recipient: Recipient | None = None, actor: Actor, now: datetime
) -> Delivery:
    """A notice that says only that the way works."""
    message = Message(
        kind=TEST.slug,
        key=f"test:{uuid4()}",
        subject="Keyreeve: a test",
        data={"asked_by": actor.label[:200]},
        endpoint=endpoint,
        recipient=recipient,
    )
    record(Event.NOTICE_TESTED, actor=actor, subject=endpoint or recipient)
    (delivery,) = post([message], now=now)
    return delivery
