"""From the bytes of a delivery to rows for staging, and to sentences about the rows that are not taken.

Any bytes give rows or refusals. Nothing that was sent stands in a refusal: it may be the very secret that does not
belong here. The delivery is never held as a whole; a line, and what is gathered of lines, are bounded.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from difflib import get_close_matches
from itertools import islice
from typing import Any

from inventory.discovery.listing import FILE, Discovered, fit
from inventory.feeds.checks import NOT_A_SECRET, Check, Refused, holds_known_secret, is_secret_name
from inventory.feeds.shapes import CREDENTIAL, SHAPES, Identity, Shape

LONGEST_LINE = 64 * 1024  # bytes
MOST_ROWS = 5_000_000
AT_ONCE = 2_000  # lines
NDJSON, CSV = "ndjson", "csv"

TOO_LONG = f"This line is longer than {LONGEST_LINE // 1024} KiB."
NOT_UTF8 = "This line is not UTF-8."
NOT_JSON = "This line is no JSON object."
DEFAULTS: Mapping[str, Any] = {
    **{each.name: each.default for each in fields(Discovered)},
    "owner": "",
    "environment": "",
    "is_reference": False,
    "owner_name": "",
    "owner_email": "",
    "owner_external_id": "",
    "owner_kind": "person",
    "owner_is_active": None,
}


class Malformed(Exception):
    """The delivery as a whole cannot be read. The sentence says why and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the row of one line was not taken. `field` is a name of ours or empty."""

    line: int
    field: str
    sentence: str


@dataclass(slots=True)
class Portion:
    """A part of a delivery. `rows` are by kind of row, in the order of `columns_of`."""

    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    read: int = 0
    unreadable: int = 0  # refused for not even being a row

    @property
    def taken(self) -> int:
        return self.read - len(self.refusals)


class Parser:
    """Reads one delivery. `named` is what a place is called that does not say its own name: the feed."""

    def __init__(self, format_: str, identity: Identity, *, named: str, now: datetime) -> None:
        self.format = format_
        self.identity = identity
        self._shapes = {name: _Compiled(shape, named=fit(named, FILE), now=now) for name, shape in SHAPES.items()}

    def columns_of(self, type_: str) -> Sequence[str]:
        return self._shapes[type_].columns

    def portions(self, chunks: Iterable[bytes]) -> Iterator[Portion]:
        """The delivery, part by part. Raises Malformed when it cannot be read as a whole, at whatever point."""
        lines = _lines(chunks)
        if self.format == CSV:
            yield from self._csv(lines)
        else:
            yield from self._ndjson(lines)

    # ── Lines of JSON ──────────────────────────────────────────────────────────────────────────
    def _ndjson(self, lines: "Iterator[tuple[int, str | Refusal]]") -> Iterator[Portion]:
        first = next((each for each in lines), None)
        if first is None:
            raise Malformed("There is no row in it.")
        if isinstance(first[1], str) and first[1].lstrip().startswith("["):
            raise Malformed("This is a JSON array. Send one JSON object a line, without anything around or between.")
        rest: Iterator[tuple[int, str | Refusal]] = iter([first])
        read = unreadable = 0
        for source in (rest, lines):
            while batch := list(islice(source, AT_ONCE)):
                portion = Portion()
                for line, said in batch:
                    if isinstance(said, Refusal):
                        portion.read += 1
                        portion.unreadable += 1
                        portion.refusals.append(said)
                        continue
                    portion.read += 1
                    try:
                        row = json.loads(said)
                    except (ValueError, RecursionError):
                        row = None
                    if not isinstance(row, dict):
                        portion.unreadable += 1
                        portion.refusals.append(Refusal(line, "", NOT_JSON))
                        continue
                    self._take(portion, line, row)
                self._without_secrets(portion)
                read, unreadable = read + portion.read, unreadable + portion.unreadable
                _check_size(read)
                yield portion
        if read == unreadable:
            raise Malformed("None of its lines is a JSON object.")

    # ── CSV ────────────────────────────────────────────────────────────────────────────────────
    def _csv(self, lines: "Iterator[tuple[int, str | Refusal]]") -> Iterator[Portion]:
        source = _CsvLines(lines)
        records = csv.reader(source)
        header = self._header(records)
        read = 0
        while True:
            portion = Portion()
            batch: list[tuple[int, list[str]]] = []
            is_over = False
            while len(batch) < AT_ONCE and len(portion.refusals) < AT_ONCE:
                begins = source.line + 1
                try:
                    record = next(records)
                except StopIteration:
                    is_over = True
                    break
                except csv.Error:
                    portion.refusals.append(Refusal(max(begins, 1), "", "What begins on this line is no CSV."))
                    continue
                if record and any(record):
                    batch.append((source.line, record))
            portion.refusals.extend(source.drain())
            portion.read = portion.unreadable = len(portion.refusals)
            for line, record in batch:
                portion.read += 1
                if len(record) != len(header):
                    sentence = f"The header has {len(header)} cells, this line has another number of them."
                    portion.refusals.append(Refusal(line, "", sentence))
                    continue
                row = {name: cell for name, cell in zip(header, record, strict=True) if cell}
                self._take(portion, line, row)
            self._without_secrets(portion)
            read += portion.read
            _check_size(read)
            if portion.read:
                yield portion
            if is_over:
                return

    def _header(self, records: Iterator[list[str]]) -> list[str]:
        try:
            header = [name.strip() for name in next(records, [])]
        except csv.Error as exc:
            raise Malformed("Its first line is no CSV.") from exc
        if not any(header):
            raise Malformed("There is no header in it: the first line names the columns.")
        known = {"type", *(each.name for shape in SHAPES.values() for each in shape.fields)}
        for number, name in enumerate(header, 1):
            if is_secret_name(name):
                raise Malformed(f"Column {number} of the header is for secrets. {NOT_A_SECRET}")
            if name not in known:
                raise Malformed(f"Column {number} of the header is no field of a row.{_meant(name, known)}")
        if len(set(header)) != len(header):
            raise Malformed("A column stands in the header twice.")
        return header

    # ── Rows ───────────────────────────────────────────────────────────────────────────────────
    def _take(self, portion: Portion, line: int, row: dict[str, Any]) -> None:
        try:
            type_ = row.pop("type", None) or CREDENTIAL.type
            compiled = self._shapes.get(type_) if isinstance(type_, str) else None
            if compiled is None:
                raise Refused(f"This is one of {', '.join(SHAPES)}.", "type")
            values = compiled.row(line, row, self.identity)
        except Refused as exc:
            portion.refusals.append(Refusal(line, exc.field, str(exc)))
        else:
            portion.rows.setdefault(type_, []).append(values)

    def _without_secrets(self, portion: Portion) -> None:
        """Refuse the rows in which a known format stands. Searched for once in all texts: mostly there is none."""
        for type_, rows in portion.rows.items():
            compiled = self._shapes[type_]
            if not holds_known_secret("\n".join(map(compiled.texts, rows))):
                continue
            kept = []
            for row in rows:
                if holds_known_secret(compiled.texts(row)):
                    portion.refusals.append(Refusal(row[0], "", NOT_A_SECRET))
                else:
                    kept.append(row)
            portion.rows[type_] = kept


class _Compiled:
    """A shape ready for one delivery: checks bound to the moment, columns in one order."""

    def __init__(self, shape: Shape, *, named: str, now: datetime) -> None:
        self.shape = shape
        self.checks: dict[str, tuple[str, Check]] = {each.name: (each.column, each.make(now)) for each in shape.fields}
        self.required = [each.name for each in shape.fields if each.is_required]
        self.nested = {each.name.partition(".")[0] for each in shape.fields if "." in each.name}
        columns = dict.fromkeys(column for column, _ in self.checks.values() if not column.startswith("ref."))
        self.columns = ["line", *columns, *(name for name in shape.constants if name not in columns), *_keys_of(shape)]
        # What may be any text; words of a choice, dates and fingerprints cannot be a secret. A row that refers to
        # things keeps what it calls them in its keys alone.
        named_by = _keys_of(shape) if shape.constants.get("is_reference") else []
        free = [column for column in self.columns if column in named_by or column in shape.free]
        self._free = [self.columns.index(column) for column in free]
        self.blank = {name: shape.constants.get(name, DEFAULTS.get(name)) for name in self.columns}
        if "file" in self.blank:
            self.blank["file"] = named

    def row(self, line: int, given: Mapping[str, Any], identity: Identity) -> tuple[Any, ...]:
        values = self.blank.copy()
        values["line"] = line
        checked: dict[str, Any] = {}
        self._fill(given, "", checked, values)
        for name in self.required:
            if not checked.get(name):
                raise Refused("A row needs this.", name)
        values.update(self.shape.keys(identity, checked))
        return tuple(values.values())

    def texts(self, row: tuple[Any, ...]) -> str:
        found = [row[index] for index in self._free]
        return "\n".join([" ".join(each) if isinstance(each, tuple) else each for each in found if each])

    def _fill(self, given: Mapping[str, Any], prefix: str, checked: dict[str, Any], values: dict[str, Any]) -> None:
        known = self.checks
        for name, value in given.items():
            found = known.get(prefix + name if prefix else name)
            if found is None:
                if not prefix and name in self.nested and isinstance(value, dict):
                    self._fill(value, f"{name}.", checked, values)
                    continue
                raise self._unknown(given, name, prefix)
            if value is None or value == "":
                continue
            column, check = found
            try:
                result = check(value)
            except Refused as exc:
                raise Refused(str(exc), prefix + name) from exc
            checked[prefix + name if prefix else name] = result
            if column in values:
                values[column] = result

    def _unknown(self, given: Mapping[str, Any], name: str, prefix: str) -> Refused:
        number = list(given).index(name) + 1
        where = f" of its {prefix.rstrip('.')}" if prefix else ""
        if is_secret_name(name):
            return Refused(f"Field number {number}{where} is for secrets. {NOT_A_SECRET}")
        near = _meant(prefix + name, self.checks)
        return Refused(f"Field number {number}{where} is none of a row of type {self.shape.type}.{near}")


def _keys_of(shape: Shape) -> list[str]:
    return {
        "credential": ["credential_key"],
        "server": ["server_key"],
        "client": ["client_key"],
        "use": ["client_key", "server_key", "credential_key"],
        "exposure": ["credential_key"],
        "owner": [],
    }[shape.type]


def _meant(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name[:60], list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _check_size(read: int) -> None:
    if read > MOST_ROWS:
        raise Malformed(f"It has more than {MOST_ROWS:,} rows. Send it in parts.".replace(",", " "))


# ── Lines ──────────────────────────────────────────────────────────────────────────────────────────
def _lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, str | Refusal]]:
    """Numbered lines that are not blank; what is too long or no text comes as its refusal."""
    number = 0
    for line in _raw_lines(_without_mark(chunks)):
        number += 1
        if line is None:
            yield number, Refusal(number, "", TOO_LONG)
            continue
        try:
            said = line.decode()
        except UnicodeDecodeError:
            yield number, Refusal(number, "", NOT_UTF8)
            continue
        if said and not said.isspace():
            yield number, said


def _without_mark(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes without UTF-8's byte order mark. Raises Malformed for what is no text at all."""
    head, source = b"", iter(chunks)
    for chunk in source:
        head += chunk
        if len(head) >= 4:
            break
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Malformed("This is UTF-16. Send UTF-8.")
    if head.startswith(b"\x1f\x8b"):
        raise Malformed("This is compressed. Say so: Content-Encoding: gzip.")
    yield head.removeprefix(b"\xef\xbb\xbf")
    yield from source


def _raw_lines(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """Lines without their ends; None for one that is too long, of which no more than a piece is ever held."""
    carry, is_skipping = b"", False
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            line = carry + piece
            carry = b""
            if is_skipping:
                is_skipping = False
            elif len(line) > LONGEST_LINE:
                yield None
            else:
                yield line.removesuffix(b"\r")
        if is_skipping:
            continue
        carry += rest
        if len(carry) > LONGEST_LINE:
            yield None
            carry, is_skipping = b"", True
    if carry:
        yield carry.removesuffix(b"\r")


class _CsvLines:
    """What the CSV reader pulls: lines that are text. Those that are none are put aside as refusals."""

    def __init__(self, lines: Iterator[tuple[int, str | Refusal]]) -> None:
        self._lines = lines
        self._refusals: list[Refusal] = []
        self.line = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while True:
            self.line, said = next(self._lines)
            if isinstance(said, str):
                return said + "\n"
            self._refusals.append(said)

    def drain(self) -> list[Refusal]:
        found, self._refusals = self._refusals, []
        return found
