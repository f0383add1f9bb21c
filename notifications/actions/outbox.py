"""The outbox: what is to be told is written in the transaction of what it tells, and sent afterwards.

A delivery is claimed by one conditional update and sent with no transaction open; every later write repeats the claim's
token. A worker that dies between sending and writing that down leaves a lease that runs out, and the next one sends
again: at least once, under the same id.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import connection as database
from django.db.models import F, Q

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from notifications.errors import LeaseLost, Undelivered
from notifications.models import Delivery, Endpoint, Notice, Recipient
from notifications.models.outbox import MOST_ATTEMPTS, DeliveryQuerySet
from notifications.rhythms import pause
from notifications.states import Channel, DeliveryState
from notifications.texts import LONGEST_ERROR, one_line

LEASE = timedelta(minutes=5)
MOST_FAILURES = 10  # of an endpoint in a row, until it is paused
PATIENCE = timedelta(days=7)  # with an endpoint that is paused
KEPT = timedelta(days=90)
FORGOTTEN_AT_ONCE = 5_000
CANDIDATES = 10
BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What to tell one receiver: a recipient by mail or an endpoint by webhook. A `key` is told once, ever."""

    kind: str
    key: str
    subject: str
    data: dict[str, Any] = field(default_factory=dict)
    recipient: Recipient | None = None
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's time-limited claim on a delivery."""

    delivery: Delivery
    token: UUID


@action
def post(messages: Iterable[Message], *, now: datetime) -> list[Delivery]:
    """Put messages into the outbox, due at once; those whose key is there already are left out."""
    given = list(messages)
    posted: list[Delivery] = []
    for start in range(0, len(given), BATCH):
        posted += _posted(given[start : start + BATCH], now)
    return posted


def _posted(messages: Sequence[Message], now: datetime) -> list[Delivery]:
    ids = _new_ids(len(messages))
    by_id = dict(zip(ids, messages, strict=True))
    Notice.objects.bulk_create(
        [
            Notice(
                id=pk,
                kind=message.kind,
                key=message.key,
                recipient=message.recipient,
                subject=one_line(message.subject),
                data=message.data,
                created_at=now,
            )
            for pk, message in by_id.items()
        ],
        ignore_conflicts=True,  # of keys: what was told is not told again
    )
    new = list(Notice.objects.filter(pk__in=ids).order_by("pk").values_list("pk", flat=True))
    return Delivery.objects.bulk_create(
        [
            Delivery(
                id=delivery_id,
                notice_id=pk,
                channel=Channel.WEBHOOK if by_id[pk].endpoint else Channel.EMAIL,
                endpoint=by_id[pk].endpoint,
                created_at=now,
                due_at=now,
            )
            for delivery_id, pk in zip(_new_ids(len(new)), new, strict=True)
        ]
    )


def _new_ids(number: int) -> list[UUID]:
    """Keys as the database makes them; a bulk insert would not say which it made."""
    with database.cursor() as cursor:
        cursor.execute("SELECT keyreeve_uuid7() FROM generate_series(1, %s)", [number])
        return [row[0] for row in cursor.fetchall()]


def claim_next(deliveries: DeliveryQuerySet, *, now: datetime) -> Lease | None:
    """Claim the one of `deliveries` that is due longest; None when there is none."""
    for pk in deliveries.due(now).order_by("due_at", "pk").values_list("pk", flat=True)[:CANDIDATES]:
        if lease := claim(pk, now=now):
            return lease
    return None


def claim(delivery_id: UUID, *, now: datetime) -> Lease | None:
    """Claim one delivery that waits, whether or not it is due; None when another worker has it or it has ended."""
    token = uuid4()
    free = Q(lease_until=None) | Q(lease_until__lte=now)
    waiting = Delivery.objects.waiting().filter(free, pk=delivery_id, attempts__lt=MOST_ATTEMPTS)
    # The try counts from here on, so that one which kills its worker is not tried for ever.
    if not waiting.update(lease_token=token, lease_until=now + LEASE, attempts=F("attempts") + 1):
        return None
    related = ("notice__recipient__owner__user", "notice__recipient__user", "endpoint")
    return Lease(Delivery.objects.select_related(*related).get(pk=delivery_id), token)


def _write(lease: Lease, **values: Any) -> None:
    """Let go of a delivery, with what became of it."""
    held = Delivery.objects.filter(pk=lease.delivery.pk, lease_token=lease.token)
    if not held.update(lease_token=None, lease_until=None, **values):
        raise LeaseLost


@action
def delivered(lease: Lease, *, now: datetime) -> None:
    _write(lease, state=DeliveryState.DELIVERED, ended_at=now, error="")
    if endpoint := lease.delivery.endpoint:
        Endpoint.objects.filter(pk=endpoint.pk).update(failures=0, quiet_until=None, delivered_at=now)


@action
def dropped(lease: Lease, *, reason: str, now: datetime) -> None:
    """Nobody is left to tell."""
    _write(lease, state=DeliveryState.DROPPED, ended_at=now, error=one_line(reason, LONGEST_ERROR))


@action
def failed(lease: Lease, said: Undelivered, *, actor: Actor, now: datetime) -> None:
    """Write down a try that failed: to be tried later, or given up. An endpoint is left in quiet, or paused."""
    delivery = lease.delivery
    wait = pause(delivery.attempts, said.retry_after)
    is_over = said.is_final or delivery.attempts >= MOST_ATTEMPTS
    error = one_line(said, LONGEST_ERROR)
    if is_over:
        _write(lease, state=DeliveryState.GIVEN_UP, ended_at=now, error=error)
    else:
        _write(lease, due_at=now + wait, error=error)
    if delivery.endpoint:
        _endpoint_failed(delivery.endpoint, said, actor=actor, now=now)


def _endpoint_failed(endpoint: Endpoint, said: Undelivered, *, actor: Actor, now: datetime) -> None:
    held = Endpoint.objects.select_for_update().get(pk=endpoint.pk)
    held.failures += 1
    held.quiet_until = now + pause(held.failures, said.retry_after)
    reason = ""
    if said.ends_endpoint:
        reason = one_line(said, LONGEST_ERROR)
    elif held.failures >= MOST_FAILURES:
        reason = one_line(f"{held.failures} tries in a row failed. {said}", LONGEST_ERROR)
    if reason and not held.is_paused:
        held.paused_at, held.paused_because = now, reason
        record(Event.ENDPOINT_PAUSED, actor=actor, subject=held, detail={"reason": reason})
    held.save(update_fields=["failures", "quiet_until", "paused_at", "paused_because"])


@action
def tidy(now: datetime) -> None:
    """End what can never be sent, and forget what was ended long ago."""
    Delivery.objects.exhausted(now).update(
        state=DeliveryState.GIVEN_UP, ended_at=now, lease_token=None, lease_until=None,
        error="The worker died at the last try.",
    )  # fmt: skip
    Delivery.objects.outdated(now, PATIENCE).filter(Q(lease_until=None) | Q(lease_until__lte=now)).update(
        state=DeliveryState.GIVEN_UP, ended_at=now, lease_token=None, lease_until=None,
        error=f"It waited for {PATIENCE.days} days.",
    )  # fmt: skip
    old = Notice.objects.filter(created_at__lt=now - KEPT).order_by("created_at")
    Notice.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE])).delete()


@action
def try_again(deliveries: DeliveryQuerySet, *, actor: Actor, now: datetime) -> int:
    """Send again what was given up, under the same id; how many. Its tries are counted anew."""
    chosen = deliveries.filter(state=DeliveryState.GIVEN_UP).order_by("pk").select_for_update(of=("self",))
    again = list(chosen.select_related("notice", "endpoint", "notice__recipient__owner", "notice__recipient__user"))
    Delivery.objects.filter(pk__in=[delivery.pk for delivery in again]).update(
        state=DeliveryState.WAITING, ended_at=None, attempts=0, due_at=now, created_at=now, error=""
    )
    for delivery in again:
        told = delivery.endpoint or delivery.notice.recipient
        detail = {"kind": delivery.notice.kind, "told": str(told)}
        record(Event.NOTICE_RETRIED, actor=actor, subject=delivery.notice, detail=detail)
    return len(again)
