"""A ZIP of which the same content always gives the same bytes, and of which no byte can change unseen.

Every member has the same date, rights and compression, they stand in the order in which they are written, and the
comment at the very end holds the digest of all bytes before it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import IO, Any, Self
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from reviews.packs import FORMAT

DATE = (1980, 1, 1, 0, 0, 0)
RIGHTS = 0o100644 << 16
UNIX = 3
LEVEL = 6
SEAL = f"{FORMAT} sha256 ".encode()
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the pack. `rows` is of tables: how many there are beneath the head."""

    path: str
    bytes: int
    sha256: str
    rows: int | None = None

    def said(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


class Member:
    """A file of the pack while it is written."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = sha256()
        self._kept = bytearray()  # rows are small, and each write to the ZIP has its price
        self.size = 0
        self.rows: int | None = None

    def write(self, text: str | bytes) -> None:
        self._kept += text.encode() if isinstance(text, str) else text
        if len(self._kept) >= BLOCK:
            self.flush()

    def flush(self) -> None:
        self._stream.write(self._kept)
        self._digest.update(self._kept)
        self.size += len(self._kept)
        self._kept.clear()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class Archive:
    """The pack while it is written, to a file that can be read and sought in."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._zip = ZipFile(file, "w", ZIP_DEFLATED, compresslevel=LEVEL)
        self.entries: list[Entry] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        """What was given up is closed; what was sealed is closed already."""
        self._zip.close()

    @contextmanager
    def member(self, path: str) -> Iterator[Member]:
        info = ZipInfo(path, DATE)
        info.external_attr, info.create_system, info.compress_type = RIGHTS, UNIX, ZIP_DEFLATED
        with self._zip.open(info, "w", force_zip64=True) as stream:
            member = Member(stream)
            yield member
            member.flush()
        self.entries.append(Entry(path, member.size, member.sha256, member.rows))

    def add(self, path: str, content: str | bytes) -> Entry:
        with self.member(path) as member:
            member.write(content)
        return self.entries[-1]

    def seal(self) -> None:
        """Close it. The digest in the comment is over everything before it, the ZIP's own directory included."""
        self._zip.comment = SEAL + b"0" * 64
        self._zip.close()
        self._file.seek(0, 2)
        end = self._file.tell() - 64
        self._file.seek(0)
        digest, left = sha256(), end
        while left:
            block = self._file.read(min(BLOCK, left))
            digest.update(block)
            left -= len(block)
        self._file.seek(end)
        self._file.write(digest.hexdigest().encode())
        self._file.flush()
