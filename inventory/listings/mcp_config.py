"""Lists MCP client configuration: files of this machine, or of the folders that the connection names."""

import errno
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from inventory.actions.client_posture import judge_configured
from inventory.actions.manifests import record_manifests
from inventory.discovery.listing import FILE, POINTER, Discovered, fit, rows
from inventory.discovery.model import FoundFile, FoundManifest
from inventory.discovery.scan import scan
from inventory.listings.base import Batch, Place
from providers.errors import Permanent

BATCH = 200


def look(place: Place) -> Iterator[Batch]:
    known = place.settings
    paths = None if known.get("this_machine") else [Path(path) for path in known.get("paths", [])]
    files = scan(
        paths,
        key=place.fingerprint_key(),
        home=settings.MACHINE_HOME,
        system=platform.system(),
        environ=settings.MACHINE_ENVIRONMENT,
        cache_dir=settings.SCANNER_CACHE_DIR,
    )
    manifests: dict[str, FoundManifest] = {}
    unread: list[str] = []
    for batch in _batches(files):
        missed = [fit(file.path, FILE) for file in batch if file.error]  # as its rows name it
        yield Batch(
            rows=[row for file in batch for row in _rows(file, place)],
            done=len(batch),
            problems=[problem for file in batch for problem in _problems(file)],
            unread=missed,
        )
        unread += missed
        manifests.update((fit(file.path, FILE), file.manifest) for file in batch if file.manifest)
    # Only now is it known which are no longer there.
    yield Batch(
        further=[
            lambda: record_manifests(place.connection, manifests, unread=unread, now=place.started_at),
            lambda: judge_configured(place.connection.pk, now=place.started_at),
        ]
    )


def check(place: Place) -> str:
    """Say that what the connection names is there and may be read."""
    if place.settings.get("this_machine"):
        return f"Reads the client configuration under {settings.MACHINE_HOME}."
    paths = [Path(path) for path in place.settings.get("paths", [])]
    if not paths:
        raise Permanent("No path is named.")
    for path in paths:
        try:
            path.stat()
            if not os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as exc:
            raise Permanent(f"{path} cannot be read: {(exc.strerror or 'unknown reason').lower()}.") from exc
    return f"{paths[0]} can be read." if len(paths) == 1 else f"All {len(paths)} paths can be read."


def _rows(file: FoundFile, place: Place) -> Iterator[Discovered]:
    host = str(place.settings.get("host", place.connection.name))
    return rows(file, scope=str(place.connection.pk), host=host)


def _problems(file: FoundFile) -> Iterator[dict[str, Any]]:
    """What could not be read. Paths and pointers come from outside: a column takes neither every length nor NUL."""
    path = fit(file.path, FILE)
    if file.error:
        yield {"file": path, "line": file.error_line, "reason": file.error}
    for entry in file.entry_errors:
        yield {"file": path, "pointer": fit(entry.pointer, POINTER), "reason": entry.reason}


def _batches(files: Iterator[FoundFile]) -> Iterator[list[FoundFile]]:
    batch: list[FoundFile] = []
    for file in files:
        batch.append(file)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
