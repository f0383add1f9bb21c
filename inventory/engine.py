"""Runs one sync of one connection: claim, list, stage, apply. Whatever happens, the run ends in a row that says so."""

import platform
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from access.actors import Actor
from inventory.actions.reconcile import Reconciliation
from inventory.actions.syncs import Lease, claim, complete, fail, renew
from inventory.discovery.keys import fingerprint_key
from inventory.discovery.listing import FILE, POINTER, Discovered, fit, rows
from inventory.discovery.model import FoundFile
from inventory.discovery.scan import scan
from inventory.errors import NoFingerprintKey
from inventory.models import SyncRun
from inventory.signals import synced
from inventory.states import ConnectionKind

BATCH = 200
Clock = Callable[[], datetime]
Progress = Callable[[int], None]


class NoSuchListing(Exception):
    """Connections of this kind cannot be listed."""


def unseen(_done: int) -> None:
    """Progress that nobody watches."""


def sync(
    connection_id: UUID, *, clock: Clock, actor: Actor, due_only: bool = False, progress: Progress = unseen
) -> SyncRun | None:
    """Sync a connection now. None when another worker has it, or when it is not due after all."""
    lease = claim(connection_id, now=clock(), actor=actor, due_only=due_only)
    if lease is None:
        return None
    listing = Reconciliation(lease.connection, now=lease.run.started_at)
    try:
        listing.open()
        run = _listed(lease, listing, clock=clock, actor=actor, progress=progress)
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
    if lease.connection.kind != ConnectionKind.MCP_CONFIG:
        raise NoSuchListing(NoSuchListing.__doc__)
    known: dict[str, Any] = lease.connection.settings
    paths = None if known.get("this_machine") else [Path(path) for path in known.get("paths", [])]
    key, is_kept = fingerprint_key(settings.KEYREEVE_HOME, settings.FINGERPRINT_KEY)
    if not is_kept:
        raise NoFingerprintKey
    files = scan(
        paths,
        key=key,
        home=settings.MACHINE_HOME,
        system=platform.system(),
        environ=settings.MACHINE_ENVIRONMENT,
        cache_dir=settings.SCANNER_CACHE_DIR,
    )
    problems: list[dict[str, Any]] = []
    unread: list[str] = []
    done = 0
    for batch in batches(files):
        listing.stage(row for file in batch for row in _rows(file, lease))
        for file in batch:
            if file.error:
                unread.append(fit(file.path, FILE))  # as its rows name it
            problems.extend(_problems(file))
        done += len(batch)
        renew(lease, now=clock(), done=done)
        progress(done)
    return complete(lease, listing, now=clock(), done=done, problems=problems, unread=unread, actor=actor)


def _rows(file: FoundFile, lease: Lease) -> Iterator[Discovered]:
    host = str(lease.connection.settings.get("host", lease.connection.name))
    return rows(file, scope=str(lease.connection.pk), host=host)


def _problems(file: FoundFile) -> Iterator[dict[str, Any]]:
    """What could not be read. Paths and pointers come from outside: a column takes neither every length nor NUL."""
    path = fit(file.path, FILE)
    if file.error:
        yield {"file": path, "line": file.error_line, "reason": file.error}
    for entry in file.entry_errors:
        yield {"file": path, "pointer": fit(entry.pointer, POINTER), "reason": entry.reason}


def batches(files: Iterator[FoundFile]) -> Iterator[list[FoundFile]]:
    batch: list[FoundFile] = []
    for file in files:
        batch.append(file)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
