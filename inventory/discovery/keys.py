"""Which key fingerprints are made with."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from inventory.fingerprints import MINIMUM_KEY_BYTES

KEY_FILE = "fingerprint.key"
_KEY_BYTES = 32


def fingerprint_key(home: Path, configured: bytes | None) -> tuple[bytes, bool]:
    """The key, and whether it lasts: the configured one, the one kept under `home`, else one for this run only."""
    if configured:
        return configured, True
    try:
        kept = (home / KEY_FILE).read_bytes().strip()
    except OSError:
        kept = b""
    if len(kept) >= MINIMUM_KEY_BYTES:
        return kept, True
    return secrets.token_bytes(_KEY_BYTES), False


def create_fingerprint_key(home: Path) -> bytes:
    """Make the key under `home` unless there is one, and return the one that is there.

    Two processes that start together end with the same key: the file appears whole, under its name, or not at all.
    """
    target = home / KEY_FILE
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = home / f".{KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            # Text, so that its content can be handed over in a variable and still be the same key.
            handle.write(secrets.token_hex(_KEY_BYTES).encode())
            handle.flush()
            os.fsync(handle.fileno())
        with suppress(FileExistsError):
            os.link(fresh, target)
    finally:
        fresh.unlink(missing_ok=True)
    return target.read_bytes().strip()
