"""Files and environment files as a sink: where a rotation leaves a new secret for consumers that read a file.

A location is `file:///folder/file` for the whole content, `file:///folder/file#KEY` for one assignment of an
environment file (`KEY=value`) or one member of a JSON object, and `file:///folder/file#KEY,ID_KEY` where consumers
read the public id beside it. Everything else in the file stays, byte for byte.

Beside the file, in names that begin with `.keyreeve-` and that only Keyreeve's user may read, lie the version that is
pending and the one that consumers read before. Both are gone when a rotation is settled.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from providers.base import Delivered, Secret
from providers.errors import Permanent
from providers.folders import PREFIX, Content, Folders, Place

MOST = 1024 * 1024
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,199}")
_LINE = (
    r"^[ \t]*(?:export[ \t]+)?{key}[ \t]*=[ \t]*"
    r"(?P<value>\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\r\n]*?)(?:[ \t]+\#[^\r\n]*)?[ \t]*(?:\r?\n|\Z)"
)
_PLAIN = re.compile(r"[A-Za-z0-9_./+=:@%,~-]*")


@dataclass(frozen=True, slots=True)
class Location:
    path: str
    key: str = ""
    id_key: str = ""


def parse_location(text: str) -> Location:
    """Read a location without looking anything up. Raises `Permanent`."""
    scheme, separator, rest = text.strip().partition("://")
    place, has_key, keys = rest.partition("#")
    path = unquote(place)
    parts = path.split("/")
    if scheme != "file" or not separator or not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise Permanent(
            "A place in a file is file:// and the whole path of the file, such as file:///run/app/.env#KEY."
        )
    if {".", ".."} & {*parts} or parts[-1].startswith(PREFIX):
        raise Permanent("A place in a file is named by its whole path, without . or .. in it.")
    key, _, id_key = keys.partition(",")
    if has_key and not all(KEY.fullmatch(each) for each in (key, *([id_key] if "," in keys else []))):
        raise Permanent("What follows # is the name of one value, or two with a comma between: #KEY,ID_KEY.")
    if id_key == key and key:
        raise Permanent("The secret and the id that goes with it have names of their own.")
    return Location(path, key, id_key)


class FileSink:
    """A `SecretSink` on files within folders that the operator listed."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def check(self, location: str) -> str:
        where = parse_location(location)
        with self._folders.opened(where.path) as place:
            found = place.read(MOST)
            if where.key and found is not None:
                _with(found.data, where, Delivered(secret=Secret("x"), external_id="x"))
            place.probe()
        what = f"the value {where.key} of {where.path}" if where.key else where.path
        open_to = found is not None and found.mode & 0o007
        others = " Others on this machine may read it; after the next delivery they may not." if open_to else ""
        return f"New secrets are written to {what}.{others}"

    def store(self, location: str, delivered: Delivered, *, request_key: str) -> None:
        where = parse_location(location)
        if not delivered.secret.reveal() or "\x00" in delivered.secret.reveal():
            raise Permanent("An empty secret is not delivered.")
        with self._folders.opened(where.path) as place:
            found = place.read(MOST)
            _with(found.data if found else b"", where, delivered)  # it can be promoted, or nothing is stored
            _Beside(place, where, "pending").write(_Kept(request_key, delivered))

    def promote(self, location: str, *, request_key: str) -> None:
        where = parse_location(location)
        with self._folders.opened(where.path) as place:
            pending = _Beside(place, where, "pending")
            before = _Beside(place, where, "before")
            kept, past = pending.read(), before.read()
            if kept is None or kept.request_key != request_key:
                if past is not None and past.request_key == request_key:
                    return  # promoted already
                raise Permanent(f"Nothing is pending under this request at {where.path}.")
            found = place.read(MOST)
            if past is None or past.request_key != request_key:
                # First, for the way back: a promotion that dies after this is begun again and keeps what is kept.
                before.write(_Kept(request_key, _current(found, where), existed=found is not None))
            place.write(_with(found.data if found else b"", where, kept.delivered or _nothing()), like=found)
            pending.remove()

    def read(self, location: str, *, request_key: str = "") -> Delivered | None:
        where = parse_location(location)
        with self._folders.opened(where.path) as place:
            if request_key:
                kept = _Beside(place, where, "pending").read()
                if kept is not None and kept.request_key == request_key:
                    return kept.delivered
                past = _Beside(place, where, "before").read()
                if past is None or past.request_key != request_key:
                    return None
            return _current(place.read(MOST), where)

    def roll_back(self, location: str, *, request_key: str) -> None:
        where = parse_location(location)
        with self._folders.opened(where.path) as place:
            pending, before = _Beside(place, where, "pending"), _Beside(place, where, "before")
            past, kept = before.read(), pending.read()
            if past is not None and past.request_key == request_key:
                found = place.read(MOST)
                if past.delivered is not None:
                    place.write(_with(found.data if found else b"", where, past.delivered), like=found)
                elif not past.existed and not where.key:
                    place.remove()
                elif found is not None:
                    place.write(_without(found.data, where), like=found)
                before.remove()
            if kept is not None and kept.request_key == request_key:
                pending.remove()

    def settle(self, location: str, *, request_key: str) -> None:
        where = parse_location(location)
        with self._folders.opened(where.path) as place:
            for name in ("before", "pending"):
                beside = _Beside(place, where, name)
                kept = beside.read()
                if kept is not None and kept.request_key == request_key:
                    beside.remove()


# ── What is kept beside ────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class _Kept:
    request_key: str
    delivered: Delivered | None
    existed: bool = True


class _Beside:
    """A file of Keyreeve's own beside the one that consumers read."""

    def __init__(self, place: Place, where: Location, role: str) -> None:
        name = hashlib.sha256(f"{place.name}#{where.key}".encode()).hexdigest()[:16]
        self._place = place.beside(f"{PREFIX}{name}.{role}")

    def write(self, kept: _Kept) -> None:
        held: dict[str, Any] = {"request_key": kept.request_key, "existed": kept.existed}
        if kept.delivered is not None:
            held |= {"secret": kept.delivered.secret.reveal(), "external_id": kept.delivered.external_id}
        self._place.write(json.dumps(held).encode())

    def read(self) -> _Kept | None:
        found = self._place.read(MOST)
        if found is None:
            return None
        try:
            held = json.loads(found.data)
            secret = held.get("secret")
            delivered = None if secret is None else Delivered(secret=Secret(secret), external_id=held["external_id"])
            return _Kept(held["request_key"], delivered, held["existed"])
        except (ValueError, KeyError, TypeError, AttributeError):
            # Without the cause: it holds the content.
            raise Permanent(f"What is kept beside {self._place.path} is damaged: remove {self._place.name}.") from None

    def remove(self) -> None:
        self._place.remove()


def _nothing() -> Delivered:
    raise Permanent("What is pending holds no secret.")


# ── Inside the file ────────────────────────────────────────────────────────────────────────────────
def _current(found: Content | None, where: Location) -> Delivered | None:
    if found is None:
        return None
    text = _text(found.data, where)
    if not where.key:
        value = text.removesuffix("\n").removesuffix("\r")
        return Delivered(secret=Secret(value)) if value else None
    held = _values(text, where)
    secret = held.get(where.key)
    return Delivered(secret=Secret(secret), external_id=held.get(where.id_key, "")) if secret else None


def _with(data: bytes, where: Location, delivered: Delivered) -> bytes:
    """The content with the secret in its place, and all else as it was. Raises `Permanent` where it has none."""
    secret = delivered.secret.reveal()
    if not where.key:
        return secret.encode() + (b"\n" if data.endswith(b"\n") else b"")
    wanted = {where.key: secret}
    if where.id_key:
        wanted[where.id_key] = delivered.external_id
    text = _text(data, where)
    for key, value in wanted.items():
        text = _member_set(text, key, value, where) if _is_object(text, where) else _assigned(text, key, value, where)
    now = _values(text, where)
    if any(now.get(key, "") != value for key, value in wanted.items()):
        raise Permanent(f"{where.path} does not read back what would be written to it; it was left as it was.")
    return _bytes(text, data)


def _without(data: bytes, where: Location) -> bytes:
    """The content without the values that were not there before."""
    text = _text(data, where)
    for key in (where.key, where.id_key):
        if not key:
            continue
        text = _member_cut(text, key) if _is_object(text, where) else _assignment(key).sub("", text)
    return _bytes(text, data) if where.key else b""


def _text(data: bytes, where: Location) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Permanent(f"{where.path} is not text in UTF-8.") from None


def _bytes(text: str, before: bytes) -> bytes:
    return (b"\xef\xbb\xbf" if before.startswith(b"\xef\xbb\xbf") else b"") + text.encode()


def _is_object(text: str, where: Location) -> bool:
    return text.lstrip().startswith("{") or (not text.strip() and where.path.endswith(".json"))


def _values(text: str, where: Location) -> Mapping[str, str]:
    if not _is_object(text, where):
        return {key: found for key in (where.key, where.id_key) if key and (found := _assigned_value(text, key)) != ""}
    document = _document(text, where)
    return {key: value for key, value in document.items() if isinstance(value, str)}


# ── Environment files ──────────────────────────────────────────────────────────────────────────────
def _assignment(key: str) -> re.Pattern[str]:
    return re.compile(_LINE.format(key=re.escape(key)), re.MULTILINE)


def _assigned_value(text: str, key: str) -> str:
    """The last assignment wins, as in a shell."""
    found = list(_assignment(key).finditer(text))
    if not found:
        return ""
    value = found[-1]["value"]
    if value[:1] == "'" and value[-1:] == "'" and len(value) > 1:
        return value[1:-1]
    if value[:1] == '"' and value[-1:] == '"' and len(value) > 1:
        return re.sub(r"\\([\"\\$`])", r"\1", value[1:-1])
    return value


def _assigned(text: str, key: str, value: str, where: Location) -> str:
    if "\n" in value or "\r" in value:
        raise Permanent(f"A secret of several lines does not fit an assignment of {where.path}.")
    found = list(_assignment(key).finditer(text))
    if not found:
        line_end = "\r\n" if "\r\n" in text else "\n"
        between = "" if not text or text.endswith("\n") else line_end
        return f"{text}{between}{key}={_quoted(value, '')}{line_end}"
    last = found[-1]
    return text[: last.start("value")] + _quoted(value, last["value"][:1]) + text[last.end("value") :]


def _quoted(value: str, quote_before: str) -> str:
    """As it was quoted before where that can hold the value; else so that a shell and a reader of dotenv agree."""
    if quote_before == '"' or (not _PLAIN.fullmatch(value) and "'" in value):
        return '"' + re.sub(r"([\"\\$`])", r"\\\1", value) + '"'
    if quote_before == "'" or not _PLAIN.fullmatch(value):
        return "'" + value + "'"
    return value


# ── JSON objects ───────────────────────────────────────────────────────────────────────────────────
_SPACE = re.compile(r"[ \t\r\n]*")


def _document(text: str, where: Location) -> dict[str, Any]:
    try:
        document = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        raise Permanent(f"{where.path} is not well-formed JSON.") from None
    if not isinstance(document, dict):
        raise Permanent(f"{where.path} holds no JSON object.")
    return document


def _member_set(text: str, key: str, value: str, where: Location) -> str:
    document = _document(text, where)
    written = json.dumps(value)
    if not text.strip():
        return "{" + f"{json.dumps(key)}: {written}" + "}\n"
    if key not in document:
        end = text.rindex("}")
        inside = text[:end].rstrip()
        indent = re.search(r"\{(\r?\n[ \t]+)", text)
        comma = "" if inside.endswith("{") else ","
        between = indent[1] if indent else (" " if comma else "")
        return f"{inside}{comma}{between}{json.dumps(key)}: {written}{text[len(inside) :]}"
    if not isinstance(document[key], str):
        raise Permanent(f"{key} of {where.path} is no text.")
    _, start, end = [span for name, span in _members(text) if name == key][-1]
    return text[:start] + written + text[end:]


def _member_cut(text: str, key: str) -> str:
    """Without a member, and without the comma that would be left over."""
    for begins, _, end in [span for name, span in _members(text) if name == key][::-1]:
        ahead, after = text[:begins].rstrip(), _skip(text, end)
        if ahead.endswith(","):
            text = ahead[:-1] + text[end:]
        else:
            text = text[:begins] + text[_skip(text, after + 1) if text[after] == "," else end :]
    return text


def _members(text: str) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """The members of the outermost object: name, where the member begins, where its value begins and ends."""
    decoder = json.JSONDecoder()
    position = text.index("{") + 1
    while True:
        position = _skip(text, position)
        if text[position] == "}":
            return
        if text[position] == ",":
            position += 1
            continue
        begins = position
        name, position = decoder.raw_decode(text, position)
        position = _skip(text, _skip(text, position) + 1)
        start = position
        _, position = decoder.raw_decode(text, position)
        yield name, (begins, start, position)


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position
