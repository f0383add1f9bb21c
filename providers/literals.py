"""One text inside a configuration file, replaced where it stands: every other byte stays, comments too.

No position is computed. Wherever the old value is written it is replaced for a try, and the try is taken whose
document differs from the file's in exactly this value; so nothing else can have changed.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyjson5
import yaml

from providers.errors import Permanent

MOST = 2 * 1024 * 1024
MOST_TRIES = 60
MOST_ALIASES = 20
DEEPEST = 100
REFERS = re.compile(r"\$\{|\{(?:env|file|input):|\$[A-Z_]{2}|%[A-Z_]{2,}%|\A[a-z0-9+-]+://[^@\s]*\Z")
_SCHEME = re.compile(r"(?:bearer|basic|token|apikey|api-key|bot|key)\s+", re.IGNORECASE)
_ASSIGNED = re.compile(r"-{0,2}[A-Za-z][A-Za-z0-9_-]{0,80}=|[A-Za-z][A-Za-z0-9_-]{0,80}:\s+")
_USERINFO = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:(?P<secret>[^/\s@]+)@")


@dataclass(frozen=True, slots=True)
class Found:
    """A text in a document, as a pointer leads to it."""

    pointer: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration file as text and as tree."""

    text: str = field(repr=False)
    format: str
    tree: Any = field(repr=False)


def document(data: bytes, path: str) -> Document:
    """Raises `Permanent` for what cannot be read; the sentence quotes nothing of it."""
    if len(data) > MOST:
        raise Permanent(f"{path} is larger than {MOST // 1024} KiB.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Permanent(f"{path} is not text in UTF-8.") from None
    lowered = path.lower()
    format_ = "toml" if lowered.endswith(".toml") else "yaml" if lowered.endswith((".yaml", ".yml")) else "json"
    tree = _tree(text, format_)
    if tree is None:
        raise Permanent(f"{path} cannot be read as {format_.upper()}; it was left as it is.")
    return Document(text, format_, tree)


def _tree(text: str, format_: str) -> Any:
    """None where it is not well formed. Errors of the parsers carry what they read, so none of them leaves here."""
    bare = text.removeprefix("\ufeff")
    try:
        if format_ == "toml":
            return tomllib.loads(bare)
        if format_ == "yaml":
            events = yaml.parse(bare, Loader=yaml.CSafeLoader)
            if sum(isinstance(event, yaml.AliasEvent) for event in events) > MOST_ALIASES:
                return None
            return yaml.load(bare, Loader=yaml.CBaseLoader)  # nosec B506  # noqa: S506  it makes texts alone
        try:
            return json.loads(bare, strict=False)
        except ValueError:
            return pyjson5.decode(bare, DEEPEST)
    except (ValueError, RecursionError, TypeError, yaml.YAMLError, pyjson5.Json5Exception):
        return None


def find(read: Document, pointer: str) -> Found | None:
    """The text that a pointer leads to, or the one that it leads into: what follows names a part of that text."""
    tree, taken = read.tree, ""
    for part in pointer.split("/")[1:]:
        if isinstance(tree, str):
            break
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(tree, dict) and key in tree:
            tree = tree[key]
        elif isinstance(tree, list) and key.isdigit() and int(key) < len(tree):
            tree = tree[int(key)]
        else:
            return None
        taken += f"/{part}"
    return Found(taken, tree) if isinstance(tree, str) else None


def replaced(read: Document, found: Found, old: str, new: str) -> str:
    """The file's text with `new` for `old` within one value. Raises `Permanent` where that cannot be done alone."""
    if not old or found.value.count(old) != 1:
        raise Permanent("The value does not stand there once, so it is not known which part to replace.")
    wanted = _put(read.tree, found.pointer.split("/")[1:], found.value.replace(old, new))
    tries = 0
    for start, end in _spots(read.text, old):
        for spelled in dict.fromkeys((new, json.dumps(new)[1:-1], json.dumps(new))):
            tries += 1
            if tries > MOST_TRIES:
                break
            text = read.text[:start] + spelled + read.text[end:]
            if _tree(text, read.format) == wanted:
                return text
    raise Permanent("The value cannot be replaced without changing something else in the file; change it by hand.")


def _spots(text: str, old: str) -> Iterator[tuple[int, int]]:
    escaped = json.dumps(old)[1:-1]
    plain = json.dumps(old, ensure_ascii=False)[1:-1]
    spellings = (old, escaped, plain, escaped.replace("/", "\\/"), old.replace("'", "''"))
    for spelled in dict.fromkeys(spellings):
        for match in re.finditer(re.escape(spelled), text):
            yield match.span()


def _put(tree: Any, path: list[str], value: str) -> Any:
    if not path:
        return value
    key = path[0].replace("~1", "/").replace("~0", "~")
    if isinstance(tree, dict):
        return {name: _put(held, path[1:], value) if name == key else held for name, held in tree.items()}
    return [_put(held, path[1:], value) if str(n) == key else held for n, held in enumerate(tree)]


def secret_part(value: str) -> str:
    """The part of a value that is its secret: behind a scheme, a flag or a name, or a password in an address."""
    if inside := _USERINFO.search(value):
        return inside["secret"]
    rest = value
    for _ in range(2):
        for lead in (_ASSIGNED, _SCHEME):
            if (match := lead.match(rest)) and match.end() < len(rest):
                rest = rest[match.end() :]
    return rest.strip()


def parts(value: str) -> Iterator[str]:
    """Whatever in a value may be its secret, the likeliest first."""
    yield secret_part(value)
    yield value
    yield value.strip()
    for match in re.finditer(r"[^\s\"'<>`]+", value):
        yield match[0]
    for match in re.finditer(r"[^\s\"'&?;,=@/:{}]+", value):
        yield match[0]
    for match in re.finditer(r"(?<=[=:])[^\s\"'&;,]+", value):
        yield match[0]


def line_of(text: str, other: str) -> int:
    """The first line in which two texts differ."""
    for number, (one, two) in enumerate(zip(text.split("\n"), other.split("\n"), strict=False), 1):
        if one != two:
            return number
    return 1
