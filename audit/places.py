"""Where chain heads are exported to: a folder here, an object store beside it. Nothing there is ever overwritten."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from audit.errors import PlaceInvalid, PlaceRefuses

MODES = ("COMPLIANCE", "GOVERNANCE")
DAYS = 400  # a year's audit and some weeks to make it
MOST_DAYS = 36_500
KNOWN = ("region", "mode", "days", "endpoint")
# Imported on use: the SDK takes a third of a second that a folder does not need.
BY_SCHEME = {"s3": "audit.object_lock"}


class Place(Protocol):
    """Takes small documents under names and gives them back. Every verb is safe to repeat."""

    @property
    def address(self) -> str:
        """How people call it; without credentials."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Keep a document. The same again is fine; another one under the name raises PlaceRefuses."""
        ...

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """Every document by its name, as it was first put there. Raises PlaceRefuses."""
        ...

    def warnings(self) -> list[str]:
        """What somebody tried to do to the documents, as `documents` came across it."""
        ...


def place_at(address: str, *, key: str = "") -> Place:
    """The place of an address: a folder's path, or `s3://bucket/prefix`. Raises PlaceInvalid."""
    scheme, colon, _ = address.partition("://")
    if not colon:
        return Folder(Path(address))
    if scheme not in BY_SCHEME:
        raise PlaceInvalid("Chain heads go to a folder or to s3://bucket/prefix.")
    place: Place = import_module(BY_SCHEME[scheme]).opened(address, key=key)
    return place


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder, best on other storage than the database."""

    path: Path

    @property
    def address(self) -> str:
        return str(self.path)

    def put(self, name: str, content: bytes) -> None:
        target, draft = self.path / name, self.path / f".{name}.{os.getpid()}"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, target)  # whole, or not at all, and never over another one
            except FileExistsError:
                if target.read_bytes() != content:
                    raise PlaceRefuses(f"{name} is there with another content; it was left as it is.") from None
            finally:
                draft.unlink(missing_ok=True)
        except OSError as exc:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise PlaceRefuses(f"The folder cannot be written to ({exc.strerror}).") from exc

    def documents(self) -> Iterator[tuple[str, bytes]]:
        try:
            for path in sorted(self.path.glob("[!.]*.json")):
                yield path.name, path.read_bytes()
        except OSError as exc:
            raise PlaceRefuses(f"The folder cannot be read ({exc.strerror}).") from exc

    def warnings(self) -> list[str]:
        return []


@dataclass(frozen=True, slots=True)
class Address:
    """`s3://bucket/prefix?region=…&mode=compliance&days=400&endpoint=…`."""

    bucket: str
    prefix: str
    region: str
    mode: str
    days: int
    endpoint: str

    @classmethod
    def read(cls, address: str) -> "Address":
        parts = urlsplit(address)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := sorted(set(options).difference(KNOWN)):
            raise PlaceInvalid(f"An s3:// address has no {unknown[0]!r}; it takes {', '.join(KNOWN)}.")
        if not parts.netloc or not all(char.isalnum() or char in ".-" for char in parts.netloc):
            raise PlaceInvalid("An s3:// address names a bucket: s3://bucket/prefix.")
        mode, days = options.get("mode", MODES[0]).upper(), options.get("days", str(DAYS))
        if mode not in MODES:
            raise PlaceInvalid("The mode of an Object Lock is compliance or governance.")
        if not days.isdecimal() or not 1 <= int(days) <= MOST_DAYS:
            raise PlaceInvalid(f"The days of an Object Lock are a whole number from 1 to {MOST_DAYS}.")
        prefix = parts.path.strip("/")
        endpoint = options.get("endpoint", "")
        if endpoint and not _is_permitted(endpoint):
            raise PlaceInvalid("The endpoint is an https address; http only on this machine itself.")
        return cls(parts.netloc, f"{prefix}/" if prefix else "", options.get("region", ""), mode, int(days), endpoint)


def _is_permitted(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    try:
        is_here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_here = False
    return bool(host) and not parts.username and (parts.scheme == "https" or (parts.scheme == "http" and is_here))
