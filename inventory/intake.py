"""Takes one delivery to a feed: checks it row by row, stages what is good, applies it at once.

**Staged whole, applied at once.** A delivery changes nothing until its last byte is here and checked; then one
transaction applies it and ends its run. The other way, to apply parts and keep a cursor, was not taken: whoever sends
again sends the whole body again anyway, so a cursor would save no byte on the wire but leave half a feed standing in
the inventory meanwhile, and "what is not listed is gone" can only be told from the whole. Staging is the cheap part,
and a staging table dies with its session. So a delivery that is killed half-way has done nothing that could be done
twice, and sending the same again under the same key begins the same run anew and carries it to its end.

A delivery holds an advisory lock of its database session. A killed worker's session ends with it and so does the lock:
whoever gets it knows that no other delivery to this feed is alive and may take its lease over without waiting. Whoever
does not get it waits for the lease to run out: a sender that fell silent without hanging up blocks a feed no longer
than that, and is fenced off when it speaks again.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db import connection as database

from access.actors import Actor
from inventory.actions.reconcile import Reconciliation
from inventory.actions.syncs import KEPT_PROBLEMS, Lease, claim, complete, fail, renew
from inventory.errors import Disabled, KeyReused, LeaseLost, NotAFeed, NothingTaken, UnderWay
from inventory.feeds.bodies import CutShort
from inventory.feeds.rows import Malformed, Parser, Refusal
from inventory.feeds.shapes import OWNER_ROW, identity_of
from inventory.models import Connection, SyncRun
from inventory.signals import synced
from inventory.states import ConnectionKind, RunState

Clock = Callable[[], datetime]
Progress = Callable[[int], None]
BETWEEN_SIGNS = timedelta(seconds=2)  # how often a delivery shows how far it is
LOCKS = 7_260_551  # advisory locks of deliveries, beside any others


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of a delivery. `is_replay` when it had been taken before and nothing was written now."""

    run: SyncRun
    is_replay: bool = False


def unseen(_done: int) -> None:
    """Progress that nobody watches."""


def take(
    feed: Connection,
    pieces: Iterable[bytes],
    *,
    format_: str,
    clock: Clock,
    actor: Actor,
    key: str = "",
    progress: Progress = unseen,
) -> Receipt:
    """Take a delivery. The body is read to its end, piece by piece, and never held as a whole.

    `key` makes it repeatable: the same key with the same body answers with the first run and writes nothing. Raises
    Malformed or CutShort when the body cannot be read as a whole, NothingTaken when no row of it is good, BadSettings,
    NotAFeed, Disabled, UnderWay, LeaseLost and KeyReused; none of them has changed the inventory.
    """
    if feed.kind != ConnectionKind.FEED:
        raise NotAFeed(feed)
    if not feed.is_enabled:
        raise Disabled(feed)
    identity = identity_of(str(feed.pk), feed.settings)
    with _living(feed.pk) as is_alone:
        known = SyncRun.objects.filter(connection=feed, idempotency_key=key).first() if key else None
        if known is not None and known.state in (RunState.COMPLETE, RunState.PARTIAL):
            return _replayed(known, pieces, format_)
        lease = claim(feed.pk, now=clock(), actor=actor, take_over=is_alone, idempotency_key=key)
        if lease is None:
            raise UnderWay
        parser = Parser(format_, identity, named=feed.name, now=lease.run.started_at)
        run = _Delivery(lease, parser, clock=clock, actor=actor, progress=progress).take(pieces)
    synced.send(sender=SyncRun, run=run)
    return Receipt(run)


@contextmanager
def _living(feed: UUID) -> Iterator[bool]:
    """Be known as alive. Gives whether no other delivery to the feed is."""
    place = [LOCKS, int.from_bytes(feed.bytes[-4:], "big", signed=True)]
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", place)
        (is_alone,) = cursor.fetchone()
    try:
        yield is_alone
    finally:
        if is_alone:
            with database.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", place)


def _replayed(known: SyncRun, pieces: Iterable[bytes], format_: str) -> Receipt:
    digest = sha256(format_.encode())
    for piece in pieces:
        digest.update(piece)
    if digest.hexdigest() != known.body_digest:
        raise KeyReused
    return Receipt(known, is_replay=True)


class _Delivery:
    """One delivery under way."""

    def __init__(self, lease: Lease, parser: Parser, *, clock: Clock, actor: Actor, progress: Progress) -> None:
        self.lease = lease
        self.parser = parser
        self.clock = clock
        self.actor = actor
        self.progress = progress
        self.listing = Reconciliation(lease.connection, now=lease.run.started_at, last_wins=True)
        self.digest = sha256(parser.format.encode())
        self.read = self.refused = 0
        self.problems: list[dict[str, Any]] = []

    def take(self, pieces: Iterable[bytes]) -> SyncRun:
        try:
            self.listing.open()
            self._stage(pieces)
            if self.read and self.read == self.refused:
                raise NothingTaken(self.lease.run, self.refused, self.problems)
            return self._applied()
        except NothingTaken as exc:
            self._fail(str(exc))
            raise
        except (Malformed, CutShort) as exc:
            self._fail(str(exc))
            raise
        except LeaseLost:
            raise  # whoever has it now has ended this run
        except BaseException as exc:
            self._fail(f"{type(exc).__name__} while it was taken.")
            raise
        finally:
            self.listing.close()

    def _fail(self, error: str) -> None:
        fail(self.lease, now=self.clock(), error=error, actor=self.actor, problems=self.problems)

    def _stage(self, pieces: Iterable[bytes]) -> None:
        shown_at = self.clock()
        for portion in self.parser.portions(self._digested(pieces)):
            for type_, rows in portion.rows.items():
                table = "staging_owners" if type_ == OWNER_ROW.type else "staging"
                self.listing.stage_values(self.parser.columns_of(type_), rows, table=table)
            self.read += portion.read
            self.refused += len(portion.refusals)
            self.problems.extend(map(_problem, portion.refusals[: KEPT_PROBLEMS - len(self.problems)]))
            now = self.clock()
            if now - shown_at >= BETWEEN_SIGNS:
                shown_at = now
                renew(self.lease, now=now, done=self.read)
            self.progress(self.read)

    def _digested(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.digest.update(piece)
            yield piece

    def _applied(self) -> SyncRun:
        is_whole = bool(self.lease.connection.settings.get("complete"))
        # A row that was refused may stand for something that is still there.
        return complete(
            self.lease,
            self.listing,
            now=self.clock(),
            done=self.read,
            problems=self.problems,
            unread=None if self.refused else [],
            error=_refused_in_words(self.refused),
            is_part=not is_whole,
            received={"read": self.read, "taken": self.read - self.refused, "refused": self.refused},
            body_digest=self.digest.hexdigest(),
            actor=self.actor,
        )


def _problem(refusal: Refusal) -> dict[str, Any]:
    return {"line": refusal.line, "pointer": refusal.field, "reason": refusal.sentence}


def _refused_in_words(refused: int) -> str:
    if not refused:
        return ""
    return "One row was refused." if refused == 1 else f"{refused} rows were refused."
