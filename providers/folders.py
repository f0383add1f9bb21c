"""Small files in folders that the operator listed: read and replaced as a whole, never through a link.

A replacement is written beside the file, flushed, and renamed over it; the folder is flushed after it. Whoever reads
finds the old content or the new, whatever happens in between.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from providers.errors import Permanent, ProviderError, Refused, Transient

PRIVATE = 0o600
# Consumers that read a folder pass over names that begin with a dot.
PREFIX = ".keyreeve-"

_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EAGAIN, errno.EBUSY, errno.ENFILE, errno.EMFILE, errno.ESTALE}
_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the folder is read-only",
    errno.EFBIG: "the file would be larger than may be written",
    errno.ENOENT: "the folder or the file is not there",
    errno.ENOTDIR: "its folder is a file or a link",
    errno.ELOOP: "it is a link, and links are not followed",
    errno.EACCES: "Keyreeve lacks the right",
    errno.EPERM: "Keyreeve lacks the right",
}


@dataclass(frozen=True, slots=True)
class Content:
    """What a file held, and whose it was: what a replacement keeps. It holds secrets, so nothing shows its data."""

    data: bytes = field(repr=False)
    mode: int
    owner: int
    group: int


class Folders:
    """The folders that may be written to. `setting` is what the operator lists them in."""

    def __init__(self, folders: Sequence[Path] = (), *, setting: str = "KEYREEVE_DELIVERY_FOLDERS") -> None:
        for folder in folders:
            if not folder.is_absolute() or len(folder.parts) < 2:
                raise Permanent(f"{str(folder)!r} is not the whole path of a folder.")
        self._folders = tuple(folders)
        self._setting = setting

    def __bool__(self) -> bool:
        return bool(self._folders)

    def holds(self, path: str) -> bool:
        return self._place(path) is not None

    @contextlib.contextmanager
    def opened(self, path: str) -> Iterator["Place"]:
        """The place of a file, held open while it is read or written. Raises `Refused` outside of the folders."""
        found = self._place(path)
        if found is None:
            raise Refused(f"{path} lies in no folder of {self._setting}, where the operator lets Keyreeve write.")
        folder, inner = found
        with said(path), contextlib.ExitStack() as stack:
            directory = os.open(folder.resolve(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, directory)
            for part in inner.parts[:-1]:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                directory = os.open(part, flags, dir_fd=directory)
                stack.callback(os.close, directory)
            yield Place(directory, inner.name, path)

    def _place(self, path: str) -> tuple[Path, Path] | None:
        """By its spelling: what is a link on the way is refused when it is opened."""
        asked = Path(path)
        if not asked.is_absolute() or ".." in asked.parts or "\x00" in path:
            return None
        for folder in self._folders:
            for spelled in (folder, folder.resolve()):
                if asked != spelled and asked.is_relative_to(spelled):
                    return folder, asked.relative_to(spelled)
        return None


@dataclass(frozen=True, slots=True)
class Place:
    """One name in one open folder."""

    directory: int
    name: str
    path: str

    def beside(self, name: str) -> "Place":
        return Place(self.directory, name, self.path)

    def read(self, most: int) -> Content | None:
        """None where there is no such file."""
        with said(self.path):
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(self.name, flags, dir_fd=self.directory)
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise Permanent(f"{self.path} is not a file.")
                data = file.read(most + 1)
        if len(data) > most:
            raise Permanent(f"{self.path} is larger than {most // 1024} KiB.")
        return Content(data, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)

    def write(self, data: bytes, *, mode: int = PRIVATE, like: Content | None = None) -> None:
        """Replace the file as a whole, or make it. `like` is whose owner and mode it keeps, but for what others may."""
        with said(self.path):
            # A name at random: whoever may write here could have put something at one that can be guessed.
            beside = f"{PREFIX}{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(beside, flags, PRIVATE, dir_fd=self.directory)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    if like is not None and (like.owner, like.group) != (os.geteuid(), os.fstat(descriptor).st_gid):
                        os.fchown(descriptor, like.owner, like.group)
                    file.write(data)
                    file.flush()
                    os.fchmod(descriptor, like.mode & ~0o007 if like is not None else mode)
                    os.fsync(descriptor)
                self._refuse_links()
                os.replace(beside, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(beside, dir_fd=self.directory)
                raise
            os.fsync(self.directory)

    def remove(self) -> None:
        with said(self.path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.name, dir_fd=self.directory)
            os.fsync(self.directory)

    def probe(self) -> None:
        """Write and remove a file, as a delivery would."""
        trial = self.beside(f"{PREFIX}{secrets.token_hex(8)}.check")
        trial.write(b"\n")
        trial.remove()

    def _refuse_links(self) -> None:
        """A rename would replace a link by a file: what it led to would keep the old content."""
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.ELOOP, "")


@contextlib.contextmanager
def said(path: str) -> Iterator[None]:
    """An error of the system in our words: of those that pass, and of those that somebody must mend."""
    try:
        yield
    except OSError as exc:
        raise _as_error(path, exc) from exc


def _as_error(path: str, exc: OSError) -> ProviderError:
    reason = _WORDS.get(exc.errno or 0) or (exc.strerror or "the system refuses it").lower()
    sentence = f"{path} cannot be used: {reason}."
    return Transient(sentence) if exc.errno in _PASSING else Permanent(sentence)
