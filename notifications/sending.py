"""Sends what is due: claim one, send it with no transaction open, write down what came of it, claim the next."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from uuid import UUID

from access.actors import Actor
from notifications import webhooks
from notifications.actions import outbox
from notifications.actions.outbox import Lease
from notifications.errors import MailServerAway, NoLongerWanted, Undelivered
from notifications.mail import Mailer, is_on
from notifications.models import Delivery
from notifications.states import Channel

Clock = Callable[[], datetime]

AT_ONCE = 50  # by one task; the sweep rings again for the rest
SENDER = Actor.system("notices")


def mail_is_due(now: datetime) -> bool:
    return is_on() and Delivery.objects.due(now).filter(channel=Channel.EMAIL).exists()


def due_endpoints(now: datetime) -> list[UUID]:
    """The endpoints for which something is due."""
    waiting = Delivery.objects.due(now).filter(channel=Channel.WEBHOOK)
    return list(waiting.order_by().values_list("endpoint", flat=True).distinct())


def send_mail(*, clock: Clock, most: int = AT_ONCE) -> int:
    """Send mails that are due over one session with the server; how many were tried.

    When the server is away the rest waits untried, so that an outage uses up nobody's tries.
    """
    mails = Delivery.objects.filter(channel=Channel.EMAIL)
    with ExitStack() as session:
        mailer: Mailer | None = None
        for tried in range(most):
            lease = outbox.claim_next(mails, now=clock())
            if lease is None:
                return tried
            try:
                if mailer is None:
                    mailer = session.enter_context(Mailer())
                _settle(lease, mailer, clock)
            except MailServerAway as exc:
                outbox.failed(lease, exc, actor=SENDER, now=clock())
                return tried + 1
    return most


def send_to_endpoint(endpoint_id: UUID, *, clock: Clock, most: int = AT_ONCE) -> int:
    """Send an endpoint what is due for it, until one try fails; how many were tried."""
    for tried in range(most):
        lease = outbox.claim_next(Delivery.objects.filter(endpoint=endpoint_id), now=clock())
        if lease is None:
            return tried
        _settle(lease, None, clock)
    return most


def send_now(delivery_id: UUID, *, clock: Clock) -> Delivery | None:
    """Try one delivery that somebody waits for, and only once; None when another worker was quicker."""
    lease = outbox.claim(delivery_id, now=clock())
    if lease is None:
        return None
    try:
        if lease.delivery.channel == Channel.EMAIL:
            with Mailer() as mailer:
                _settle(lease, mailer, clock, only_once=True)
        else:
            _settle(lease, None, clock, only_once=True)
    except MailServerAway as exc:
        exc.is_final = True
        outbox.failed(lease, exc, actor=SENDER, now=clock())
    return Delivery.objects.select_related("endpoint").get(pk=delivery_id)


def _settle(lease: Lease, mailer: Mailer | None, clock: Clock, *, only_once: bool = False) -> None:
    """Send what is claimed and write down what came of it. Raises MailServerAway, which is not written down yet."""
    delivery = lease.delivery
    try:
        if delivery.endpoint is not None:
            webhooks.send(delivery.notice, delivery.endpoint, now=clock())
        elif mailer is not None:
            mailer.send(delivery.notice)
    except MailServerAway:
        raise
    except NoLongerWanted as exc:
        outbox.dropped(lease, reason=str(exc), now=clock())
    except Undelivered as exc:
        exc.is_final = exc.is_final or only_once
        outbox.failed(lease, exc, actor=SENDER, now=clock())
    except Exception as exc:
        # A mistake of ours, in a template for instance. It must not be tried for ever, nor hold up the others.
        outbox.failed(lease, Undelivered(f"{type(exc).__name__} while sending."), actor=SENDER, now=clock())
        raise
    else:
        outbox.delivered(lease, now=clock())
