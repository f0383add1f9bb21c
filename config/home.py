"""The folder that belongs to one Keyreeve: its keys, its embedded database, the lock of the process that runs it."""

import fcntl
import os
import pwd
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.errors import CannotStart

LEAST_FREE = 256 * 2**20  # bytes; a fresh database with its write-ahead log takes about a third of it


def is_root() -> bool:
    return os.geteuid() == 0


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"number {uid}"


def ensure_home(home: Path, *, least_free: int = LEAST_FREE) -> None:
    """Make the folder where it is missing, and see that there is room to write in it.

    Nobody else may look inside. Under root the database runs as a user of its own, which must be able to pass through.
    """
    try:
        if not home.is_dir():
            home.mkdir(parents=True)
            home.chmod(0o711 if is_root() else 0o700)
        probe = home / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
        free = shutil.disk_usage(home).free
    except OSError as exc:
        raise CannotStart(
            f"The folder {home} cannot be written to ({exc.strerror}). Set KEYREEVE_HOME to one that can."
        ) from exc
    for file in (home / "up.lock", home / "secret.key"):
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            owner = user_name(file.stat().st_uid)
            raise CannotStart(f"{home} is in use by {owner}. Start as {owner}, or set KEYREEVE_HOME to another folder.")
    if free < least_free:
        raise CannotStart(
            f"Only {free // 2**20} MB are free under {home}, and Keyreeve needs {least_free // 2**20} MB. "
            "Make room, or set KEYREEVE_HOME to a folder on another disk."
        )


def ensure_secret_key(home: Path) -> str:
    """The key that signs sessions and links: made at the first start, complete or not at all, readable by us alone."""
    path = home / "secret.key"
    if not path.exists():
        draft = home / "secret.key.new"
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    return path.read_text().strip()


@contextmanager
def sole_use(home: Path) -> Iterator[bool]:
    """Hold the folder for this process. Gives whether the process that held it before ended without tidying up."""
    with (home / "up.lock").open("a+") as file:
        file.seek(0)
        previous = file.read().strip()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise CannotStart(
                f"Keyreeve is already running from {home} (process {previous or 'unknown'}). "
                "Stop that one first, or set KEYREEVE_HOME to another folder."
            ) from exc
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield bool(previous)
        finally:
            file.truncate(0)
