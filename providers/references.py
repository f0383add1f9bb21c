"""Secret references: where a secret is kept, instead of the secret.

`env://NAME`, `file:///folder/file`, `file:///folder/file#key` and `aws-sm://name-or-arn#key`. Whoever may write a
connection may name any place, so the operator lists the folders and variables that may be read; and each reference is
bound to the host that its secret is meant for, so that a changed address does not carry it elsewhere.
"""

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from providers.base import Secret
from providers.bodies import parsed
from providers.errors import Permanent, Refused
from providers.guard import host_of

MAX_REFERENCE = 2048
MAX_SECRET = 64 * 1024

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}\*?")
_AWS_NAME = re.compile(r"[A-Za-z0-9/_+=.@:!-]{1,1024}")
_KEY = re.compile(r"[^\x00-\x1f\x7f#]{1,200}")
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(.*?)\s*")
_BOUND = re.compile(r"(\[[^\]]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
# A pattern opens none of these by accident: they are Keyreeve's own secrets.
_OWN = ("KEYREEVE_", "DATABASE_URL")


class ReferenceKind(StrEnum):
    VARIABLE = "env"
    FILE = "file"
    AWS_SECRET = "aws-sm"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a secret is kept. `str()` gives its text, in one spelling."""

    kind: ReferenceKind
    place: str  # the name of a variable, an absolute path, the name or ARN of a secret
    key: str = ""  # which value, where the place holds several

    def __str__(self) -> str:
        place = quote(self.place) if self.kind is ReferenceKind.FILE else self.place
        return f"{self.kind}://{place}" + (f"#{self.key}" if self.key else "")


def parse_reference(text: str) -> Reference:
    """Read a reference without looking anything up. Raises `Permanent`.

    The sentence never repeats the text: people paste secrets where references belong.
    """
    kind, separator, rest = text.strip().partition("://")
    place, has_key, key = rest.partition("#")
    if not separator or kind not in set(ReferenceKind) or len(text) > MAX_REFERENCE:
        raise Permanent("A reference begins with env://, file:/// or aws-sm:// and says where a secret is kept.")
    if has_key and not _KEY.fullmatch(key):
        raise Permanent("What follows # in a reference is the name of one value.")
    match ReferenceKind(kind):
        case ReferenceKind.VARIABLE:
            if not _VARIABLE.fullmatch(place) or key:
                raise Permanent("A reference to a variable is env:// and its name, such as env://MCP_TOKEN.")
        case ReferenceKind.FILE:
            place = unquote(place)
            parts = place.split("/")
            if not place.startswith("/") or place.endswith("/") or not place.isprintable() or {".", ".."} & {*parts}:
                raise Permanent("A reference to a file is file:// and its whole path, without . or .. in it.")
        case ReferenceKind.AWS_SECRET:
            if not _AWS_NAME.fullmatch(place):
                raise Permanent("A reference to AWS Secrets Manager is aws-sm:// and the secret's name or ARN.")
    return Reference(ReferenceKind(kind), place, key)


class References:
    """Reads secrets by reference, from what the operator listed.

    `folders` are absolute paths; `variables` are names, or beginnings with a `*`: `MCP_*`. `aws` reads one secret of
    AWS Secrets Manager by its name or ARN. Raises `Permanent` for an entry that would open everything or nothing.
    """

    def __init__(
        self,
        folders: Sequence[Path] = (),
        variables: Sequence[str] = (),
        aws: Callable[[str], Secret] | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        for folder in folders:
            if not folder.is_absolute() or len(folder.parts) < 2:
                raise Permanent(f"{str(folder)!r} is not the whole path of a folder of secrets.")
        for name in variables:
            if not _PATTERN.fullmatch(name):
                raise Permanent(f"{name!r} is neither the name of a variable nor the beginning of names, as MCP_* is.")
        self._folders = tuple(folders)
        self._names = frozenset(name for name in variables if not name.endswith("*"))
        self._prefixes = tuple(name[:-1] for name in variables if name.endswith("*"))
        self._aws = aws
        self._environ = environ

    def check(self, text: str) -> Reference:
        """The reference in a text that may be read here, without reading it. Raises `Refused` or `Permanent`."""
        reference = parse_reference(text)
        match reference.kind:
            case ReferenceKind.VARIABLE if not self._lists(reference.place):
                raise Refused(f"The variable {reference.place} is not among KEYREEVE_REFERENCE_VARIABLES.")
            case ReferenceKind.FILE:
                self._folder_of(reference)
            case ReferenceKind.AWS_SECRET if not self._aws:
                raise Refused("References to AWS Secrets Manager cannot be read here.")
        return reference

    def resolve(self, reference: str, *, bound_to: str, host: str) -> Secret:
        """The secret that a reference leads to, for sending it to `host`.

        `bound_to` is the host that the secret is meant for, with a port if it is meant for that one alone. Raises
        `Refused` for another host and for a place that is not listed, `Permanent` where no secret is found.
        """
        if not is_bound(host, bound_to):
            raise Refused("This secret is bound to another host than the one it was to be sent to.")
        found = self.check(reference)
        match found.kind:
            case ReferenceKind.VARIABLE:
                held = self._environ.get(found.place, "")
            case ReferenceKind.FILE:
                held = self._read(found)
            case ReferenceKind.AWS_SECRET:
                held = self._aws(found.place).reveal() if self._aws else ""
        value = _value(held, found.key).strip() if found.key else held.strip()
        if not value:
            raise Permanent(f"{found} holds no secret.")
        if len(value) > MAX_SECRET:
            raise Permanent(f"{found} holds more than a secret: over {MAX_SECRET} characters.")
        return Secret(value)

    def _lists(self, variable: str) -> bool:
        if variable in self._names:
            return True
        return variable.startswith(self._prefixes) and not variable.startswith(_OWN)

    def _folder_of(self, reference: Reference) -> tuple[Path, Path]:
        """The listed folder that really holds the file, and the file's path from there, free of symbolic links."""
        with _said(reference):
            real = Path(reference.place).resolve()
            for folder in self._folders:
                opened = folder.resolve()
                if real != opened and real.is_relative_to(opened):
                    return opened, real.relative_to(opened)
        raise Refused(f"{reference.place} lies in no folder of KEYREEVE_REFERENCE_FOLDERS.")

    def _read(self, reference: Reference) -> str:
        folder, path = self._folder_of(reference)
        with _said(reference), _opened(folder, path) as descriptor:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Permanent(f"{reference.place} is not a file.")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(MAX_SECRET + 1)
        if len(content) > MAX_SECRET:
            raise Permanent(f"{reference.place} is larger than {MAX_SECRET} bytes.")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            # Without the cause: it holds the content.
            raise Permanent(f"{reference.place} is not text.") from None


def is_bound(host: str, bound_to: str) -> bool:
    """Whether a secret that is bound to one host may be sent to this one. Both may carry a port."""
    asked, bound = _BOUND.fullmatch(host), _BOUND.fullmatch(bound_to)
    if not asked or not bound:
        return False
    try:
        is_same = host_of(asked[1]) == host_of(bound[1])
    except Refused:
        return False
    return is_same and (bound[2] is None or bound[2] == asked[2])


@contextlib.contextmanager
def _said(reference: Reference) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as exc:  # a circle of links is a RuntimeError
        reason = exc.strerror.lower() if isinstance(exc, OSError) and exc.strerror else "its links lead nowhere"
        raise Permanent(f"{reference.place} cannot be read: {reason}.") from exc


@contextlib.contextmanager
def _opened(folder: Path, path: Path) -> Iterator[int]:
    """The file under the folder, opened step by step and never through a link.

    The path was free of links a moment ago; whoever may write there could have put one in since. Opening does not
    wait for the other end of a pipe.
    """
    with contextlib.ExitStack() as stack:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, directory)
        for part in path.parts[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            directory = os.open(part, flags, dir_fd=directory)
            stack.callback(os.close, directory)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path.name, flags, dir_fd=directory)
        stack.callback(os.close, descriptor)
        yield descriptor


def _value(held: str, key: str) -> str:
    """One value of a JSON object or of an environment file; empty when there is none."""
    if held.lstrip().startswith("{"):
        document: Any = parsed(held.encode())
        value = document.get(key) if isinstance(document, dict) else None
        return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    for line in reversed(held.splitlines()):
        found = _ASSIGNMENT.fullmatch(line)
        if found and found[1] == key:
            value = found[2]
            is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            return value[1:-1] if is_quoted else value
    return ""
