"""Runs one sync of one connection: claim, list, stage, apply. Whatever happens, the run ends in a row that says so."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from access.actors import Actor
from inventory.actions.reconcile import Reconciliation
from inventory.actions.syncs import Lease, claim, complete, fail, renew
from inventory.errors import NoFingerprintKey, Told
from inventory.listings import LISTINGS, Clock, Place
from inventory.listings.base import Write
from inventory.models import Connection, SyncRun
from inventory.signals import synced
from inventory.states import ConnectionKind
from providers.errors import ProviderError

# How many are done, and how many there are in all where that is known.
Progress = Callable[[int, int | None], None]


class NoSuchListing(Exception):
    """Connections of this kind cannot be listed."""


def unseen(_done: int, _expected: int | None) -> None:
    """Progress that nobody watches."""


def sync(
    connection_id: UUID, *, clock: Clock, actor: Actor, due_only: bool = False, progress: Progress = unseen
) -> SyncRun | None:
    """Sync a connection now. None when another worker has it, or when it is not due after all. Raises Told for a feed.

    What fails outside ends in the run that is returned, failed or partial; anything else also raises.
    """
    if feed := Connection.objects.filter(pk=connection_id, kind=ConnectionKind.FEED).first():
        raise Told(feed)
    lease = claim(connection_id, now=clock(), actor=actor, due_only=due_only)
    if lease is None:
        return None
    listing = Reconciliation(lease.connection, now=lease.run.started_at)
    try:
        listing.open()
        run = _listed(lease, listing, clock=clock, actor=actor, progress=progress)
    except ProviderError as exc:
        run = fail(lease, now=clock(), error=str(exc), actor=actor)
    except NoFingerprintKey as exc:
        fail(lease, now=clock(), error=str(exc), actor=actor)
        raise
    except BaseException as exc:
        fail(lease, now=clock(), error=f"{type(exc).__name__} while listing.", actor=actor)
        raise
    finally:
        listing.close()
    synced.send(sender=SyncRun, run=run)
    return run


def _listed(lease: Lease, listing: Reconciliation, *, clock: Clock, actor: Actor, progress: Progress) -> SyncRun:
    look = LISTINGS.get(lease.connection.kind)
    if look is None:
        raise NoSuchListing(NoSuchListing.__doc__)
    place = Place(connection=lease.connection, started_at=lease.run.started_at, clock=clock)
    problems: list[Any] = []
    unread: list[str] | None = []
    further: list[Write] = []
    done, error = 0, ""
    expected: int | None = None
    try:
        for batch in look(place):
            listing.stage(batch.rows)
            problems.extend(batch.problems)
            further.extend(batch.further)
            unread = None if batch.is_cut_short or unread is None else [*unread, *batch.unread]
            done += batch.done
            expected = expected if batch.expected is None else batch.expected  # said once is enough
            renew(lease, now=clock(), done=done, expected=expected)
            progress(done, expected)
    except ProviderError as exc:
        if not done:
            raise
        unread, error = None, str(exc)  # what was listed before is as true as ever
    return complete(
        lease,
        listing,
        now=clock(),
        done=done,
        problems=problems,
        unread=unread,
        error=error,
        further=further,
        actor=actor,
    )
