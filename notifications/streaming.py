"""Takes streams along the audit chain: claim one, hand its receiver what comes next, write down that it was taken.

Nothing is composed ahead. What a receiver has not taken is read from the chain again, with the same ids; a worker that
dies between the answer and writing that down sends it twice, never not at all.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid4, uuid5

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from django.conf import settings

from access.actors import Actor
from inventory.outside import references
from notifications import ndjson, sets, signal_keys, translating, webhooks
from notifications.actions.streams import (
    StreamLease,
    claim_stream,
    last_seq,
    stream_failed,
    stream_released,
    stream_taken,
    token_refused,
)
from notifications.errors import LeaseLost, SignalKeyMissing, TokenRefused, Undelivered
from notifications.models import EventStream, SignalKey
from notifications.ndjson import Written
from notifications.sets import jti_of
from notifications.states import StreamKind, StreamStatus
from notifications.translating import Taken, Token
from providers.errors import ProviderError
from providers.guard import parse_target
from providers.observations import Exchange

Clock = Callable[[], datetime]

SENDER = Actor.system("streams")
OF_A_REQUEST = 200  # events
OF_A_WRITE = 2_000
AT_ONCE = 20  # batches by one task; the sweep rings again for the rest
TOKENS_AT_ONCE = 500
REFUSED = "invalid_request"  # of a token itself; the other errors of RFC 8935 are of the setup, and may be mended
ERRORS = {
    "invalid_key", "invalid_issuer", "invalid_audience", "authentication_failed", "access_denied", REFUSED,
}  # fmt: skip


def due_streams(now: datetime) -> list[UUID]:
    """Enabled streams for which there is something."""
    behind = EventStream.objects.due(now).filter(seq__lt=last_seq())
    return list(behind.order_by("pk").values_list("pk", flat=True))


def run_stream(stream_id: UUID, *, clock: Clock) -> int:
    """Hand a receiver what comes next until there is nothing more or one try fails; how many events it took."""
    lease = claim_stream(stream_id, now=clock())
    if lease is None:
        return 0
    try:
        number = _tokens(lease, clock) if lease.stream.kind == StreamKind.SET_PUSH else _ocsf(lease, clock)
    except LeaseLost:
        return 0  # another worker goes on, or somebody removed the stream
    except Undelivered as exc:
        stream_failed(lease, exc, actor=SENDER, now=clock())
        return 0
    except Exception as exc:
        # A mistake of ours. It must not be tried without a pause, and somebody has to see it.
        stream_failed(lease, Undelivered(f"{type(exc).__name__} while sending."), actor=SENDER, now=clock())
        raise
    stream_released(lease)
    return number


def send_test(stream: EventStream, *, asked_by: str, clock: Clock) -> str:
    """One test to the receiver now, whatever the stream's status; what is wrong in a sentence, or nothing."""
    now = clock()
    try:
        if stream.kind == StreamKind.SET_PUSH:
            verify(stream, state=uuid4().hex, now=now)
        elif stream.kind == StreamKind.OCSF_WEBHOOK:
            body = _body("test", {"asked_by": asked_by[:200]}, uuid4(), now)
            webhooks.deliver(body, message_id=json.loads(body)["id"], to=stream, now=now)
        else:
            ndjson.check(settings.STREAMS_DIR, stream.file)
    except (Undelivered, TokenRefused) as exc:
        return str(exc)
    return ""


# ── OCSF ───────────────────────────────────────────────────────────────────────────────────────


def _ocsf(lease: StreamLease, clock: Clock) -> int:
    stream, number = lease.stream, 0
    is_file = stream.kind == StreamKind.OCSF_FILE
    for _ in range(AT_ONCE):
        taken = translating.next_events(stream, OF_A_WRITE if is_file else OF_A_REQUEST)
        if taken is None:
            return number
        written = None
        if is_file:
            written = _into_file(stream, taken, clock())
        else:
            _by_webhook(stream, taken, clock())
        stream_taken(
            lease, seq=taken.seq, within=taken.within, number=len(taken.events), now=clock(), written=written
        )  # fmt: skip
        number += len(taken.events)
    return number


def _by_webhook(stream: EventStream, taken: Taken, now: datetime) -> None:
    """One request for the batch. Its id is that of what it holds, so a repetition has the same one."""
    first, last = taken.events[0]["metadata"]["uid"], taken.events[-1]["metadata"]["uid"]
    message_id = uuid5(stream.pk, f"{first} {last} {len(taken.events)}")
    body = _body("events.ocsf", {"events": taken.events}, message_id, now)
    webhooks.deliver(body, message_id=str(message_id), to=stream, now=now)


def _body(kind: str, data: Mapping[str, Any], message_id: UUID, now: datetime) -> bytes:
    document = {
        "type": kind,
        "version": webhooks.VERSION,
        "id": str(message_id),
        "timestamp": now.isoformat().replace("+00:00", "Z"),
        "data": data,
    }
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _into_file(stream: EventStream, taken: Taken, now: datetime) -> dict[str, int]:
    done = ndjson.append(
        settings.STREAMS_DIR,
        stream.file,
        taken.events,
        before=Written.of(stream.written),
        most=settings.STREAM_FILE_SIZE,
        keep=settings.STREAM_FILES_KEPT,
        now=now,
    )
    return done.kept()


# ── Tokens ─────────────────────────────────────────────────────────────────────────────────────


def _tokens(lease: StreamLease, clock: Clock) -> int:
    """One token a request, as RFC 8935 has it, each written down before the next leaves."""
    stream, number = lease.stream, 0
    while number < TOKENS_AT_ONCE:
        found = translating.next_tokens(stream)
        if found is None:
            return number
        tokens, last = found
        key, kid = signing_key(clock()) if tokens else (None, "")
        for token in _behind(tokens, stream.within):
            assert key is not None  # noqa: S101  there are tokens
            jti = jti_of(token.digest, token.signal)
            claims = sets.payload(
                token.signal, jti=jti, issuer=settings.PUBLIC_URL, audience=stream.audience, now=clock()
            )
            try:
                _push(stream, sets.signed(claims, key, kid), clock())
            except TokenRefused as exc:
                token_refused(lease, seq=token.seq - 1, jti=jti, why=str(exc), actor=SENDER)
            else:
                stream_taken(lease, seq=token.seq - 1, within=str(jti), number=1, now=clock())
            number += 1
        stream_taken(lease, seq=last, within="", number=0, now=clock())
    return number


def _behind(tokens: Sequence[Token], within: str) -> Sequence[Token]:
    """Those that the receiver has not answered yet."""
    for place, token in enumerate(tokens):
        if within and str(jti_of(token.digest, token.signal)) == within:
            return tokens[place + 1 :]
    return tokens


def signing_key(now: datetime) -> tuple[RSAPrivateKey, str]:
    """Raises `Undelivered` where there is no address to sign for, or no key on this host."""
    if not settings.PUBLIC_URL:
        raise Undelivered("KEYREEVE_URL is not set, so tokens have no issuer.")
    row = SignalKey.objects.signing(now)
    if row is None:
        raise Undelivered("No key signs tokens. Begin one.")
    try:
        return signal_keys.read(settings.SIGNAL_KEYS_DIR, row.kid), row.kid
    except SignalKeyMissing as exc:
        raise Undelivered(str(exc)) from exc


def verify(stream: EventStream, *, state: str, now: datetime) -> None:
    """Send a receiver `verification` with a state that it can recognise. Raises `Undelivered` and TokenRefused."""
    _about(stream, sets.VERIFICATION, {"state": state} if state else {}, now)


def say_status(stream: EventStream, *, reason: str, now: datetime) -> None:
    """Tell a receiver of tokens that its stream was paused, disabled or enabled. Raises `Undelivered`, TokenRefused."""
    said = {"status": StreamStatus(stream.status).value, **({"reason": reason} if reason else {})}
    _about(stream, sets.STREAM_UPDATED, said, now)


def _about(stream: EventStream, uri: str, event: Mapping[str, Any], now: datetime) -> None:
    key, kid = signing_key(now)
    claims = sets.about_the_stream(
        uri, event, stream=stream.pk, jti=uuid4(), issuer=settings.PUBLIC_URL, audience=stream.audience, now=now
    )
    _push(stream, sets.signed(claims, key, kid), now)


def _push(stream: EventStream, token: str, now: datetime) -> None:
    headers = [("Content-Type", sets.MEDIA_TYPE), ("Accept", "application/json")]
    if stream.secret:
        try:
            host = parse_target(stream.url).authority
            secret = references().resolve(stream.secret, bound_to=stream.bound_to, host=host)
        except ProviderError as exc:
            raise Undelivered(str(exc)) from exc
        headers.append(("Authorization", f"Bearer {secret.reveal()}"))
    _judge(asyncio.run(webhooks.posted(stream.url, headers, token.encode())), now)


def _judge(exchange: Exchange, now: datetime) -> None:
    """What the receiver says, by RFC 8935. A 400 names what is wrong: the token itself, or how the stream is set up."""
    if exchange.status == HTTPStatus.BAD_REQUEST and (code := error_code(exchange)):
        if code == REFUSED:
            raise TokenRefused(f"It answers 400, {code}.")
        raise Undelivered(f"It answers 400, {code}.")
    webhooks.judge(exchange, now)


def error_code(exchange: Exchange) -> str:
    """The `err` of an answer, where it is one that the standard knows: nothing else of it is repeated."""
    said = exchange.document
    code = said.get("err") if isinstance(said, dict) else None
    return code if isinstance(code, str) and code in ERRORS else ""
