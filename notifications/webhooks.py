"""Notices as signed webhooks, through the guarded fetcher: no redirect is followed and answers are bounded.

Only a signature made with the secret leaves, never the secret.
"""

import asyncio
import json
from datetime import datetime
from http import HTTPStatus
from typing import Protocol

from django.conf import settings

from inventory.outside import guard, references
from notifications.errors import Undelivered
from notifications.models import Endpoint, Notice
from notifications.rhythms import retry_after
from notifications.signing import signed
from providers.errors import ProviderError
from providers.fetch import Fetcher, Limits
from providers.guard import parse_target
from providers.observations import Exchange

VERSION = 1  # of the payload
USER_AGENT = f"Keyreeve/{settings.VERSION} (+notices)"
LIMITS = Limits(seconds=10, body=64 * 1024, redirects=0)


class Receiver(Protocol):
    """Where signed requests go. The secrets are references, bound to a host."""

    @property
    def url(self) -> str: ...
    @property
    def secret(self) -> str: ...
    @property
    def previous_secret(self) -> str: ...
    @property
    def bound_to(self) -> str: ...


def payload(notice: Notice) -> bytes:
    """What is sent, as JSON: always the same bytes for the same notice."""
    document = {
        "type": notice.kind,
        "version": VERSION,
        "id": str(notice.pk),
        "timestamp": notice.created_at.isoformat().replace("+00:00", "Z"),
        "data": notice.data,
    }
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def send(notice: Notice, endpoint: Endpoint, *, now: datetime) -> None:
    """Sign and send one notice. Raises `Undelivered` for whatever is no answer of success."""
    deliver(payload(notice), message_id=str(notice.pk), to=endpoint, now=now)


def deliver(body: bytes, *, message_id: str, to: Receiver, now: datetime) -> None:
    """Sign a body with the receiver's secrets and send it. Raises `Undelivered`."""
    try:
        host = parse_target(to.url).authority
        known = [reference for reference in (to.secret, to.previous_secret) if reference]
        secrets = [references().resolve(each, bound_to=to.bound_to, host=host) for each in known]
        headers = signed(body, message_id=message_id, timestamp=int(now.timestamp()), secrets=secrets)
    except ProviderError as exc:
        raise Undelivered(str(exc)) from exc
    judge(asyncio.run(posted(to.url, [("Content-Type", "application/json"), *headers], body)), now)


async def posted(url: str, headers: list[tuple[str, str]], body: bytes) -> Exchange:
    async with Fetcher(guard(), user_agent=USER_AGENT, limits=LIMITS) as fetcher:
        return await fetcher.request("POST", url, headers=headers, content=body)


def judge(exchange: Exchange, now: datetime) -> None:
    status = exchange.status
    if status is None:
        raise Undelivered(exchange.error or "It gave no answer.")
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if status == HTTPStatus.GONE:
        raise Undelivered("It answers 410: it wants nothing more.", ends_endpoint=True)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise Undelivered(f"It answers {status}, and no redirect is followed.")
    raise Undelivered(f"It answers {status}.", retry_after=retry_after(exchange.header("retry-after"), now))
