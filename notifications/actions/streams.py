"""Set up streams of events, move them along the audit chain, and begin the keys that sign their tokens."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, connection, transaction
from django.db.models import F, Max, Q

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from audit.models import AuditEntry
from notifications import signal_keys
from notifications.errors import LeaseLost, StreamNameTaken, Undelivered
from notifications.models import EventStream, SignalKey
from notifications.rhythms import pause
from notifications.states import StreamKind, StreamStatus
from notifications.texts import LONGEST_ERROR, one_line

LEASE = timedelta(minutes=5)
PUBLISHED_BEFORE = timedelta(hours=1)  # a key signs: receivers keep what `jwks_uri` said for a while
PUBLISHED_AFTER = timedelta(days=7)  # another one signs
STATUS_EVENTS = {
    StreamStatus.ENABLED: Event.STREAM_ENABLED,
    StreamStatus.PAUSED: Event.STREAM_PAUSED,
    StreamStatus.DISABLED: Event.STREAM_DISABLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSetup:
    """What an administrator says of a stream. The secrets are references, bound to `bound_to`."""

    name: str
    kind: StreamKind
    url: str = ""
    file: str = ""
    secret: str = ""
    previous_secret: str = ""
    bound_to: str = ""
    audience: str = ""
    signals: Sequence[str] = ()

    def values(self) -> dict[str, Any]:
        return {**asdict(self), "kind": self.kind.value, "signals": sorted(self.signals)}


@dataclass(frozen=True, slots=True)
class StreamLease:
    """A worker's time-limited claim on a stream."""

    stream: EventStream
    token: UUID


def last_seq() -> int:
    return AuditEntry.objects.aggregate(last=Max("seq"))["last"] or 0


@action
def add_stream(setup: StreamSetup, *, actor: Actor, now: datetime, keys: Path) -> EventStream:
    """Send a receiver everything from now on. Raises StreamNameTaken. The first that needs a key begins one."""
    given = setup.values()
    stream = EventStream(**given, created_at=now, seq=last_seq())
    _save(stream, force_insert=True)
    if setup.kind == StreamKind.SET_PUSH and not SignalKey.objects.published(now).exists():
        _begin_key(keys, actor=actor, now=now, signs_from=now, reason="the first stream")
    record(Event.STREAM_ADDED, actor=actor, subject=stream, detail={"settings": _said(given), "after": stream.seq})
    return stream


def _said(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value}


@action
def change_stream(stream: EventStream, setup: StreamSetup, *, actor: Actor) -> bool:
    """Change where and what is sent; whether anything changed. What kind it is stays: its position is of that kind."""
    held = EventStream.objects.select_for_update().get(pk=stream.pk)
    changed = {name: value for name, value in setup.values().items() if getattr(held, name) != value and name != "kind"}
    if not changed:
        return False
    before = {name: getattr(held, name) for name in changed}
    for name, value in changed.items():
        setattr(held, name, value)
    if {"url", "file", "secret", "previous_secret", "audience"} & changed.keys():
        held.quiet_until = None  # what failed before may work now
    if "file" in changed:
        held.written = {}
    _save(held, update_fields=[*changed, "quiet_until", "written"])
    detail = {"changed": {name: {"from": before[name], "to": value} for name, value in changed.items()}}
    record(Event.STREAM_CHANGED, actor=actor, subject=held, detail=detail)
    return True


def _save(stream: EventStream, **options: Any) -> None:
    try:
        with transaction.atomic():
            stream.save(**options)
    except IntegrityError as exc:
        same = Q(name=stream.name) | Q(file=stream.file) & ~Q(file="")
        if not EventStream.objects.filter(same).exclude(pk=stream.pk).exists():
            raise
        raise StreamNameTaken(stream.file or stream.name) from exc


@action
def set_stream_status(stream: EventStream, status: StreamStatus, *, actor: Actor, reason: str) -> bool:
    """Send it nothing, or everything again; whether that is new.

    What a paused stream is to be sent waits for it. A disabled one misses what happens until it is enabled.
    """
    held = EventStream.objects.select_for_update().get(pk=stream.pk)
    if held.status == status:
        return False
    if held.status == StreamStatus.DISABLED:
        held.seq, held.within = last_seq(), ""
    held.status, held.status_reason = status, one_line(reason, LONGEST_ERROR)
    held.failures, held.failing_since, held.error, held.quiet_until = 0, None, "", None
    held.save(
        update_fields=[
            "status", "status_reason", "failures", "failing_since", "error", "quiet_until", "seq", "within",
        ]
    )  # fmt: skip
    record(STATUS_EVENTS[status], actor=actor, subject=held, detail={"reason": held.status_reason, "after": held.seq})
    return True


@action
def remove_stream(stream: EventStream, *, actor: Actor) -> None:
    """Forget a stream and where it had got to. A file that it wrote stays."""
    record(Event.STREAM_REMOVED, actor=actor, subject=stream, detail={"target": stream.target, "after": stream.seq})
    stream.delete()


@action
def note_test(stream: EventStream, *, actor: Actor) -> None:
    record(Event.STREAM_TESTED, actor=actor, subject=stream)


# ── Along the chain ────────────────────────────────────────────────────────────────────────────


def claim_stream(stream_id: UUID, *, now: datetime) -> StreamLease | None:
    """Claim a stream that is due; None when another worker has it, or it is not to be sent anything now."""
    token = uuid4()
    due = EventStream.objects.due(now).filter(pk=stream_id)
    if not due.update(lease_token=token, lease_until=now + LEASE):
        return None
    return StreamLease(EventStream.objects.get(pk=stream_id), token)


def _write(lease: StreamLease, **values: Any) -> None:
    """Every later write of a worker repeats its claim's token."""
    held = EventStream.objects.filter(pk=lease.stream.pk, lease_token=lease.token)
    if not held.update(**values):
        raise LeaseLost
    for name, value in values.items():
        if not hasattr(value, "resolve_expression"):
            setattr(lease.stream, name, value)


@action
def stream_taken(
    lease: StreamLease, *, seq: int, within: str, number: int, now: datetime, written: dict[str, int] | None = None
) -> None:
    """The receiver has everything up to here. The worker keeps the stream for what follows."""
    values: dict[str, Any] = {"seq": seq, "within": within, "lease_until": now + LEASE}
    if number:
        values |= {"sent": F("sent") + number, "sent_at": now, "failures": 0, "failing_since": None, "error": ""}
    if written is not None:
        values["written"] = written
    _write(lease, **values)


@action
def stream_released(lease: StreamLease) -> None:
    _write(lease, lease_token=None, lease_until=None)


@action
def stream_failed(lease: StreamLease, said: Undelivered, *, actor: Actor, now: datetime) -> None:
    """Leave it in quiet for a while; it is tried again for as long as it takes, or until a person or it says no.

    A receiver that wants nothing more is paused, so that nothing is lost should somebody think better of it.
    """
    held = EventStream.objects.select_for_update().filter(pk=lease.stream.pk, lease_token=lease.token).first()
    if held is None:
        raise LeaseLost
    held.failures += 1
    held.failing_since = held.failing_since or now
    held.error = one_line(said, LONGEST_ERROR)
    held.quiet_until = now + pause(held.failures, said.retry_after)
    held.lease_token = held.lease_until = None
    if said.ends_endpoint and held.status == StreamStatus.ENABLED:
        held.status, held.status_reason = StreamStatus.PAUSED, held.error
        record(Event.STREAM_PAUSED, actor=actor, subject=held, detail={"reason": held.error, "after": held.seq})
    held.save(
        update_fields=[
            "failures", "failing_since", "error", "quiet_until", "lease_token", "lease_until", "status", "status_reason"
        ]
    )  # fmt: skip


@action
def token_refused(lease: StreamLease, *, seq: int, jti: UUID, why: str, actor: Actor) -> None:
    """Go on behind a token that the receiver will never take; the audit trail says which."""
    _write(lease, seq=seq, within=str(jti), refused=F("refused") + 1)
    detail = {"jti": str(jti), "entry": seq + 1, "reason": one_line(why, LONGEST_ERROR)}
    record(Event.STREAM_TOKEN_REFUSED, actor=actor, subject=lease.stream, detail=detail)


# ── Keys ───────────────────────────────────────────────────────────────────────────────────────


@action
def begin_signal_key(folder: Path, *, actor: Actor, now: datetime, reason: str) -> SignalKey:
    """Another key signs, an hour from now; the one before is published for a week longer."""
    with connection.cursor() as cursor:  # one at a time
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('keyreeve signal keys', 0))")
    return _begin_key(folder, actor=actor, now=now, signs_from=_signs_from(folder, now), reason=reason)


def _signs_from(folder: Path, now: datetime) -> datetime:
    """At once where no key could sign until then."""
    current = SignalKey.objects.signing(now)
    return now + PUBLISHED_BEFORE if current and signal_keys.is_there(folder, current.kid) else now


def _begin_key(folder: Path, *, actor: Actor, now: datetime, signs_from: datetime, reason: str) -> SignalKey:
    jwk = signal_keys.make(folder)
    SignalKey.objects.filter(retired_at=None).update(retired_at=signs_from + PUBLISHED_AFTER)
    row = SignalKey(kid=jwk["kid"], jwk=jwk, created_at=now, signs_from=signs_from)
    row.save(force_insert=True)
    detail = {"kid": row.kid, "signs_from": signs_from.isoformat(), "reason": reason}
    record(Event.SIGNAL_KEY_BEGUN, actor=actor, subject=row, detail=detail)
    return row
