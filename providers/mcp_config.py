"""MCP client configuration as a sink: for clients that take no reference and have to hold the value itself.

A location is `file:///folder/mcp.json#/mcpServers/NAME/env/TOKEN`: a file, and an RFC 6901 pointer to a text in it.
Only the secret in that text is replaced: what stands before and after it (`Bearer `, `--api-key=`) stays, and so does
every other byte of the file.
"""

import hashlib
import json
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import unquote

from providers.base import Delivered, Secret
from providers.errors import Permanent
from providers.folders import PREFIX, Content, Folders, Place
from providers.literals import MOST, REFERS, Document, Found, document, find, replaced, secret_part


class ConfigSink:
    """A `SecretSink` on configuration files within folders that the operator listed."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def check(self, location: str) -> str:
        path, pointer = parse_location(location)
        with self._folders.opened(path) as place:
            read, found = _literal(place, pointer)
            replaced(read, found, secret_part(found.value), "trial-of-a-new-value")
            place.probe()
        return f"New secrets are written to {pointer} of {path}, in place of the one that is there."

    def store(self, location: str, delivered: Delivered, *, request_key: str) -> None:
        secret = delivered.secret.reveal()
        if not secret or not secret.isprintable():
            raise Permanent("A secret that is empty or of several lines is not written into a configuration file.")
        path, pointer = parse_location(location)
        with self._folders.opened(path) as place:
            is_ours = _kept(_beside(place, pointer, "before"), request_key) is not None
            read, found = _value(place, pointer)[1:] if is_ours else _literal(place, pointer)
            replaced(read, found, secret_part(found.value), secret)
            kept = {"request_key": request_key, "secret": secret, "external_id": delivered.external_id}
            _beside(place, pointer, "pending").write(json.dumps(kept).encode())

    def promote(self, location: str, *, request_key: str) -> None:
        path, pointer = parse_location(location)
        with self._folders.opened(path) as place:
            pending, before = _beside(place, pointer, "pending"), _beside(place, pointer, "before")
            kept, past = _kept(pending, request_key), _kept(before, request_key)
            if kept is None:
                if past is not None:
                    return  # promoted already
                raise Permanent(f"Nothing is pending under this request at {path}.")
            content, read, found = _value(place, pointer)
            old = secret_part(found.value)
            if past is None:
                # First, for the way back: a promotion that dies after this keeps what is kept.
                held = {"request_key": request_key, "secret": old, "external_id": ""}
                before.write(json.dumps(held).encode())
            if old != kept["secret"]:
                place.write(replaced(read, found, old, kept["secret"]).encode(), like=content)
            pending.remove()

    def read(self, location: str, *, request_key: str = "") -> Delivered | None:
        path, pointer = parse_location(location)
        with self._folders.opened(path) as place:
            if request_key:
                kept = _kept(_beside(place, pointer, "pending"), request_key)
                if kept is not None:
                    return Delivered(secret=Secret(kept["secret"]), external_id=kept["external_id"])
                if _kept(_beside(place, pointer, "before"), request_key) is None:
                    return None
            _, _, found = _value(place, pointer)
        return Delivered(secret=Secret(secret_part(found.value)))

    def roll_back(self, location: str, *, request_key: str) -> None:
        path, pointer = parse_location(location)
        with self._folders.opened(path) as place:
            pending, before = _beside(place, pointer, "pending"), _beside(place, pointer, "before")
            past = _kept(before, request_key)
            if past is not None:
                content, read, found = _value(place, pointer)
                now = secret_part(found.value)
                if now != past["secret"]:
                    place.write(replaced(read, found, now, past["secret"]).encode(), like=content)
                before.remove()
            if _kept(pending, request_key) is not None:
                pending.remove()

    def settle(self, location: str, *, request_key: str) -> None:
        path, pointer = parse_location(location)
        with self._folders.opened(path) as place:
            for role in ("before", "pending"):
                beside = _beside(place, pointer, role)
                if _kept(beside, request_key) is not None:
                    beside.remove()

    def opened(self, path: str) -> AbstractContextManager[Place]:
        return self._folders.opened(path)


def parse_location(text: str) -> tuple[str, str]:
    """A path and a pointer. Raises `Permanent`."""
    scheme, _, rest = text.strip().partition("://")
    place, _, pointer = rest.partition("#")
    path = unquote(place)
    if scheme != "file" or not path.startswith("/") or not path.isprintable() or {".", ".."} & {*path.split("/")}:
        raise Permanent("A place in a configuration file is file:// and its whole path, # and a pointer.")
    if not pointer.startswith("/") or path.rpartition("/")[2].startswith(PREFIX):
        raise Permanent("What follows # is the pointer to one value, such as #/mcpServers/NAME/env/TOKEN.")
    return path, pointer


def _value(place: Place, pointer: str) -> tuple[Content, Document, Found]:
    content = place.read(MOST)
    if content is None:
        raise Permanent(f"{place.path} is not there.")
    read = document(content.data, place.path)
    found = find(read, pointer)
    if found is None:
        raise Permanent(f"{place.path} has no text at {pointer}.")
    return content, read, found


def _literal(place: Place, pointer: str) -> tuple[Document, Found]:
    """What is there to be replaced, if it is a literal."""
    _, read, found = _value(place, pointer)
    if REFERS.search(secret_part(found.value)):
        raise Permanent(f"{pointer} of {place.path} holds a reference: deliver to where it leads.")
    return read, found


def _beside(place: Place, pointer: str, role: str) -> Place:
    name = hashlib.sha256(f"{place.name}#{pointer}".encode()).hexdigest()[:16]
    return place.beside(f"{PREFIX}{name}.{role}")


def _kept(beside: Place, request_key: str) -> dict[str, Any] | None:
    content = beside.read(MOST)
    if content is None:
        return None
    try:
        held: dict[str, Any] = json.loads(content.data)
        return held if held["request_key"] == request_key and {"secret", "external_id"} <= held.keys() else None
    except (ValueError, KeyError, TypeError):
        # Without the cause: it holds the content.
        raise Permanent(f"What is kept beside {beside.path} is damaged: remove {beside.name}.") from None
