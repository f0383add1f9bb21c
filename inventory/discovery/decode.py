"""Bytes to a tree: JSON with whatever people add to it, TOML, YAML, dotenv; bounded, and never quoting what it read."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import pyjson5
import yaml

MAX_FILE_BYTES = 8 * 1024 * 1024
"""Larger files are not parsed. Client state files grow, but not to this."""
MAX_DOTS = 100  # in one key of a TOML file
MAX_SLOW_BYTES = 1024 * 1024
"""For TOML and YAML, whose parsers are slower and whose files are written by hand."""
MAX_DEPTH = 200
MAX_YAML_NODES = 200_000


class ParseError(Exception):
    """A file that cannot be read as configuration. The reason is our own words, never the file's content."""

    def __init__(self, line: int | None, reason: str) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Decoded:
    format: str
    tree: Any


def to_text(data: bytes) -> str:
    """Text in whichever Unicode form it was written; undecodable bytes become the replacement character."""
    if data.startswith(b"\xef\xbb\xbf"):
        return data[3:].decode("utf-8", "replace")
    if data.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return data.decode("utf-32", "replace")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    head = data[:64]
    if b"\x00" in head:
        # Without a mark the zeros tell: ASCII takes one byte in two or in four.
        if head[:3] == b"\x00\x00\x00" and head[3:4] != b"\x00":
            return data.decode("utf-32-be", "replace")
        if head[1:4] == b"\x00\x00\x00" and head[:1] != b"\x00":
            return data.decode("utf-32-le", "replace")
        if head[:1] == b"\x00" and head[1:2] != b"\x00":
            return data.decode("utf-16-be", "replace")
        if head[1:2] == b"\x00" and head[:1] != b"\x00":
            return data.decode("utf-16-le", "replace")
    return data.decode("utf-8", "replace")


def decode(text: str, format_: str) -> Decoded:
    """The tree of a text in `format_`: `json`, `toml`, `yaml`, or `unknown` to try them in turn."""
    text = text.strip("\ufeff\x00")
    if format_ == "json":
        return Decoded("json", _json(text))
    if format_ == "toml":
        return Decoded("toml", _toml(text))
    if format_ == "yaml":
        return Decoded("yaml", _yaml(text))
    return _by_content(text)


_TOML_LINE = re.compile(
    r"^[ \t]*+(?:\[\[?[^\]\n]{1,500}\]\]?[ \t]*+(?:#.*)?$|[A-Za-z0-9_.\"-]{1,500}+[ \t]*+=\s*+\S)", re.MULTILINE
)


def _by_content(text: str) -> Decoded:
    start = text.lstrip()[:1]
    if start in ("{", "/") or (start == "[" and not re.match(r"\s*\[\[?[A-Za-z_\"'][\w.\"' -]*\]", text)):
        try:
            return Decoded("json", _json(text))
        except ParseError as json_error:
            if start == "{":
                raise
            first: ParseError | None = json_error
    else:
        first = None
    if _TOML_LINE.search(text):
        try:
            return Decoded("toml", _toml(text))
        except ParseError as toml_error:
            first = first or toml_error
    try:
        tree = _yaml(text)
    except ParseError as yaml_error:
        raise first or yaml_error from None
    if not isinstance(tree, dict | list):
        raise first or ParseError(None, "This is neither JSON, TOML nor YAML configuration.")
    return Decoded("yaml", tree)


# --- JSON ------------------------------------------------------------------------------------------------------------


def _json(text: str) -> Any:
    if len(text) > MAX_FILE_BYTES:
        raise ParseError(None, f"The file is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB.")
    if not text.strip():
        raise ParseError(None, "The file is empty.")
    try:
        return json.loads(text, strict=False)
    except RecursionError:
        raise ParseError(None, "The file is nested too deeply.") from None
    except json.JSONDecodeError as error:
        strict_line = error.lineno
    except ValueError:
        raise ParseError(None, "A number in the file is too long.") from None
    try:
        # Comments, trailing commas, single quotes, bare keys. Its exceptions carry what was read so far, secrets
        # included, so none of them may travel further.
        return pyjson5.decode(text, MAX_DEPTH)
    except pyjson5.Json5NestingTooDeep:
        raise ParseError(None, "The file is nested too deeply.") from None
    except pyjson5.Json5Exception as error:
        raise ParseError(_json5_line(error, text) or strict_line, _json5_reason(error)) from None
    except (ValueError, RecursionError, TypeError):
        raise ParseError(strict_line, "The JSON is not well formed.") from None


def _json5_line(error: Exception, text: str) -> int | None:
    match = re.search(r"(?:near|at) (\d+)", str(error.args[0]) if error.args else "")
    return text.count("\n", 0, int(match[1])) + 1 if match else None


def _json5_reason(error: Exception) -> str:
    if isinstance(error, pyjson5.Json5EOF):
        return "The JSON ends before it is complete."
    if isinstance(error, pyjson5.Json5ExtraData):
        return "There is more text after the end of the JSON."
    return "The JSON is not well formed."


# --- TOML ------------------------------------------------------------------------------------------------------------


# A key may stand anywhere in a line: behind a quoted part, or in an inline table. What is escaped opens no string.
_TOML_PART = r"(?:\"(?:[^\"\\]|\\.)*+\"|'[^']*+'|[A-Za-z0-9_-]++)"
_TOML_CHAIN = re.compile(
    rf"(?P<deep>{_TOML_PART}(?:[ \t]*+\.[ \t]*+{_TOML_PART}){{{MAX_DOTS + 1}}})"
    rf"|{_TOML_PART}(?:[ \t]*+\.[ \t]*+{_TOML_PART})*+|\\."
)


def _toml(text: str) -> Any:
    if len(text) > MAX_SLOW_BYTES:
        raise ParseError(None, f"A TOML file larger than {MAX_SLOW_BYTES // 1024 // 1024} MiB is not read.")
    for number, line in enumerate(text.split("\n"), 1):
        # Every part of a dotted key is a table of its own, and tomllib walks all of them for each part.
        if line.count(".") > MAX_DOTS and any(chain["deep"] for chain in _TOML_CHAIN.finditer(line)):
            raise ParseError(number, "The TOML is nested too deeply.")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ParseError(None, "The file is nested too deeply.") from None
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"at line (\d+)", str(error))
        raise ParseError(int(match[1]) if match else None, "The TOML is not well formed.") from None
    except (ValueError, OverflowError):
        raise ParseError(None, "A number or date in the TOML is out of range.") from None


# --- YAML ------------------------------------------------------------------------------------------------------------


class _Loader(yaml.CSafeLoader):
    """Scalars only as strings, numbers, booleans and null: dates stay text, so that nothing fails to convert."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Keys are text, as in JSON and TOML, whatever else YAML allows there."""
        mapping = super().construct_mapping(node, deep)
        if all(isinstance(key, str) for key in mapping):
            return mapping
        return {"" if key is None else str(key): value for key, value in mapping.items()}


_Loader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if not tag.endswith((":timestamp", ":value"))]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _yaml(text: str) -> Any:
    if len(text) > MAX_SLOW_BYTES:
        raise ParseError(None, f"A YAML file larger than {MAX_SLOW_BYTES // 1024 // 1024} MiB is not read.")
    text = re.sub(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
    try:
        _refuse_bombs(text)
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ParseError(mark.line + 1 if mark else None, "The YAML is not well formed.") from None
    except yaml.YAMLError:
        raise ParseError(None, "The YAML is not well formed.") from None
    except RecursionError:
        raise ParseError(None, "The file is nested too deeply.") from None
    except (ValueError, TypeError, OverflowError, KeyError):
        raise ParseError(None, "The YAML holds a value that cannot be read.") from None


def _line(event: yaml.Event) -> int | None:
    return event.start_mark.line + 1 if event.start_mark is not None else None


def _refuse_bombs(text: str) -> None:
    """Measure the document as it would be with every alias written out, before anything is built from it."""
    sizes: dict[str, int] = {}
    stack: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            stack.append((event.anchor, total))
            total += 1
            if len(stack) > MAX_DEPTH:
                raise ParseError(_line(event), "The file is nested too deeply.")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            anchor, before = stack.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ParseError(_line(event), "An alias refers to something that is not complete.")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.DocumentEndEvent):
            return
        if total > MAX_YAML_NODES:
            raise ParseError(_line(event), "The YAML is larger than it looks: its aliases multiply.")


# --- dotenv ----------------------------------------------------------------------------------------------------------

_DOTENV = re.compile(
    r"^[ \t]*(?:export[ \t]+|set[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,200})[ \t]*[=:][ \t]*"
    r"(?P<value>\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\n]*)",
    re.MULTILINE,
)


def dotenv(text: str) -> list[tuple[str, str, int]]:
    """(name, value, line) of each assignment of a dotenv file."""
    found = []
    line, position = 1, 0
    for match in _DOTENV.finditer(text):
        line += text.count("\n", position, match.start())
        position = match.start()
        value = match["value"].strip()
        if value[:1] in "\"'" and len(value) > 1 and value[-1] == value[0]:
            value = value[1:-1]
        else:
            value = re.split(r"\s#", value, maxsplit=1)[0].rstrip()
        found.append((match["name"], value, line))
    return found
