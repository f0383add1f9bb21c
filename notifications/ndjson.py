"""Events appended to a file, one JSON object a line: what is written whole stays, what was torn is taken back.

The file is `name.ndjson` in the folder of streams, readable by us alone. Beyond `most` bytes it is renamed to
`name-2026-06-01T120000Z.ndjson`, which no writer opens again. Who tails it sees whole lines only, and never one that
changes: a line that a full disk cut off is taken back to its beginning before anything else is written.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from notifications.errors import Undelivered

SUFFIX = ".ndjson"
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Written:
    """Which file it was, and how much of it had been written down as sent."""

    inode: int = 0
    size: int = 0

    @classmethod
    def of(cls, kept: dict[str, Any]) -> "Written":
        return cls(int(kept.get("inode", 0)), int(kept.get("size", 0)))

    def kept(self) -> dict[str, int]:
        return {"inode": self.inode, "size": self.size}


def line(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def append(
    folder: Path, name: str, events: Sequence[dict[str, Any]], *, before: Written, most: int, keep: int, now: datetime
) -> Written:
    """Write events that the file does not hold yet; on the disk when this returns. Raises `Undelivered`.

    What a worker wrote that died before it could say so lies behind `before`: those events are not written again.
    """
    path = folder / f"{name}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _opened(path) as file:
            there = os.fstat(file)
            begin = before.size if there.st_ino == before.inode and before.size <= there.st_size else 0
            known = set(_uids(file, begin))
            _append(file, [event for event in events if event["metadata"]["uid"] not in known])
            done = os.fstat(file)
        if done.st_size >= most:
            _rotate(folder, name, keep=keep, now=now)
            return Written()
    except OSError as exc:
        raise _unwritable(path, exc) from exc
    return Written(done.st_ino, done.st_size)


def check(folder: Path, name: str) -> None:
    """See that the file can be written. Raises `Undelivered`."""
    path = folder / f"{name}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _opened(path):
            pass
    except OSError as exc:
        raise _unwritable(path, exc) from exc


def _unwritable(path: Path, exc: OSError) -> Undelivered:
    return Undelivered(f"{path} cannot be written: {(exc.strerror or type(exc).__name__).lower()}.")


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A file of ours, never one that a link leads to."""
    is_new = not path.exists()
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if is_new:
            _sync_folder(path.parent)
        yield file
    finally:
        os.close(file)


def _uids(file: int, begin: int) -> Iterator[str]:
    """The ids of the events behind `begin`. A line without its end is cut off."""
    at, rest = begin, b""
    while block := os.pread(file, BLOCK, at):
        at += len(block)
        *lines, rest = (rest + block).split(b"\n")
        for each in lines:
            yield _uid(each)
    if rest:
        os.ftruncate(file, at - len(rest))


def _uid(text: bytes) -> str:
    try:
        return str(json.loads(text)["metadata"]["uid"])
    except (ValueError, KeyError, TypeError):
        return ""  # no event of ours; somebody else wrote it


def _append(file: int, events: Iterable[dict[str, Any]]) -> None:
    """All of them or none: what a full disk leaves half done is taken back."""
    content = memoryview(b"".join(map(line, events)))
    begin = os.fstat(file).st_size
    try:
        while content:
            content = content[os.write(file, content) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, begin)
        raise


def _rotate(folder: Path, name: str, *, keep: int, now: datetime) -> None:
    """A new file begins with the next event. The oldest files go where more than `keep` are there."""
    stamp = f"{now.astimezone(UTC):%Y-%m-%dT%H%M%S.%fZ}"
    (folder / f"{name}{SUFFIX}").rename(folder / f"{name}-{stamp}{SUFFIX}")
    _sync_folder(folder)
    for path in sorted(folder.glob(f"{name}-????-??-??T*Z{SUFFIX}"))[:-keep]:
        path.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
