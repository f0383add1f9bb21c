"""Verify an evidence pack offline: python verify.py PACK.zip [--public-key KEY]

Needs Python 3.9 and nothing else. It looks at the seal over every byte, at the digest and size of every file, at the
rows of every list, counts every measure again, draws the sample again, and follows the audit chain. Signatures are
checked against the public key that you give, which you hold from elsewhere than this pack: 64 hexadecimal digits or a
PEM file. That takes the package `cryptography`; without it the command for openssl is printed.

Exit 0 when everything that was checked holds, 1 with the first thing that does not, 2 for a wrong call. It says what
was not checked.
"""

from __future__ import annotations

import argparse
import base64
import csv
import heapq
import io
import json
import re
import shlex
import struct
import sys
import zipfile
from collections import Counter
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMAT = "keyreeve evidence pack 1"
SEAL = FORMAT.encode() + b" sha256 "
DIGITS = 64
BLOCK = 1 << 20
MANIFEST, SIGNATURE, VERIFIER = "manifest.json", "manifest.sig", "verify.py"
COUNTED = ("met", "violated", "unknown")
VERDICTS = {*COUNTED, "not_applicable"}
# What is read at once, and the longest line of what is read by lines. Longer ones are none that a pack has.
LARGEST, LONGEST = 1 << 26, 1 << 25
MOST_PACKED = 250  # bytes out of one; rows with identifiers give less than a tenth of that
MOST_SAMPLED = 10_000
SAID = 400  # signs of a sentence
PATH = re.compile(r"[a-z0-9_-]+(\.[a-z0-9]+)*(/[a-z0-9_-]+(\.[a-z0-9]+)*)*")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
SUSPECT = {" ", *FORMULA_STARTS}
INTERVAL = re.compile(
    r"(?:(?P<years>-?\d+) years? ?)?(?:(?P<mons>-?\d+) mons? ?)?(?:(?P<days>-?\d+) days? ?)?"
    r"(?:(?P<sign>-?)(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d(?:\.\d+)?))?"
)
YEAR, MONTH, DAY = 31_557_600, 2_592_000, 86_400
# Every list of this release. An earlier one wrote fewer.
LISTS = (
    "credentials", "servers", "clients", "authorization-servers", "grants", "exposures", "owners", "connections",
    "sync-runs", "policies", "policy-versions", "findings", "waivers", "operations", "step-attempts", "snapshots",
    "measure-days", "campaigns", "review-items", "decisions", "delegations", "attestations", "approvals", "exclusions",
    "stale-approvals",
)  # fmt: skip
ENDED = ("destroyed", "expired")  # statuses of a credential that nobody can use any more


class Broken(Exception):
    """The first thing that does not hold, as a sentence."""


def expect(holds: object, sentence: str) -> None:
    if not holds:
        raise Broken(sentence)


class Ids:
    """Identifiers in their order, of which each must be met among others that come in the same order."""

    def __init__(self, ids: Iterator[str]) -> None:
        self._ids = ids
        self.next = next(ids, None)

    def has(self, key: str) -> bool:
        if self.next != key:
            return False
        self.next = next(self._ids, None)
        return True


class Pack:
    """One pack while it is looked at: what holds so far, and what nobody looked at."""

    def __init__(self, path: str | Path, *public_keys: bytes) -> None:
        self.path = Path(path)
        self.keys = {sha256(key).hexdigest(): key for key in public_keys}
        self.held: list[str] = []
        self.unchecked: list[str] = []
        self.commands: list[str] = []
        self.read: set[str] = set()

    def check(self) -> None:
        """Look at everything. Raises Broken with the first thing that does not hold."""
        self._seal()
        usual = csv.field_size_limit(LONGEST)  # of the process
        try:
            with zipfile.ZipFile(self.path) as self.zip:
                self._manifest()
                self._files()
                self._sampled()
                self._lists()
                self._measures()
                self._oscal()
                self._plan()
                self._sample()
                self._chain()
                self._verifier()
                self._signatures()
                self._tell()
        except Broken:
            raise
        except Exception as exc:  # whatever a forged file makes a parser stumble over, it is not what was written
            raise Broken(f"the pack cannot be read: {type(exc).__name__}: {exc}") from exc
        finally:
            csv.field_size_limit(usual)

    def _tell(self) -> None:
        """What nobody looked at, and what nobody can see in a file."""
        later = self.manifest.get("as_it_stands")
        if later:
            self.unchecked.append(
                f"how it was at {self.manifest['inputs']['taken_at']} in lists that keep no past, and have what had "
                f"begun by then as it stood when the pack was built: {', '.join(later)}"
            )
        absent = [name for name in LISTS if f"lists/{name}.json" not in self.stated]
        if absent:
            self.unchecked.append(f"lists that are not in this pack: {', '.join(absent)}")
        unread = sorted(set(self.stated) - self.read)
        if unread:
            more = f" and {len(unread) - 5} more" if len(unread) > 5 else ""
            self.unchecked.append(f"what stands in {', '.join(unread[:5])}{more}, but for size and digest")
        self.unchecked.append("whether metrics.json names the controls, measures and thresholds that you expect")
        self.unchecked.append("whether what the lists say of the estate is true: see where each connection looked")

    # ── The file as a whole ──

    def _seal(self) -> None:
        try:
            size = self.path.stat().st_size
            with self.path.open("rb") as file:
                file.seek(max(size - DIGITS - len(SEAL), 0))
                end = file.read()
                expect(
                    len(end) == DIGITS + len(SEAL) and end.startswith(SEAL), "this is no evidence pack, or it is cut"
                )
                file.seek(0)
                digest, left = sha256(), size - DIGITS
                while left:
                    block = file.read(min(BLOCK, left))
                    digest.update(block)
                    left -= len(block)
        except OSError as exc:
            raise Broken(f"{self.path} cannot be read: {exc.strerror}") from exc
        expect(digest.hexdigest().encode() == end[-DIGITS:], "a byte of the pack differs from what was sealed")
        self.held.append("the seal over every byte of the file")

    def _manifest(self) -> None:
        found = self.zip.namelist()
        expect(len(found) == len(set(found)), "two files of the pack have one name")
        self._layout()
        self.manifest_bytes = self._whole(MANIFEST)
        self.manifest = as_json(self.manifest_bytes)
        expect(self.manifest["format"] == FORMAT, f"the manifest is not of the format {FORMAT}")
        listed = [entry["path"] for entry in self.manifest["files"]]
        expect(len(listed) == len(set(listed)), "the manifest names a file twice")
        missing = sorted({*listed, MANIFEST, SIGNATURE} - set(found))
        expect(not missing, f"{next(iter(missing), None)} is missing")
        more = sorted(set(found) - {*listed, MANIFEST, SIGNATURE})
        expect(not more, f"{next(iter(more), None)} is in the pack and not in its manifest")
        self.stated = {entry["path"]: entry for entry in self.manifest["files"]}

    def _layout(self) -> None:
        """Every byte of the ZIP belongs to a file that it lists, under a plain name and packed as we pack."""
        end = 0
        with self.path.open("rb") as file:
            for info in sorted(self.zip.infolist(), key=lambda each: each.header_offset):
                name = info.filename
                expect(PATH.fullmatch(name), f"{name} is no name of a file in a pack")
                is_ours = info.compress_type == zipfile.ZIP_DEFLATED and not info.flag_bits & 0x9
                expect(is_ours, f"{name} is packed in another way than a pack is")
                most = MOST_PACKED * info.compress_size + BLOCK
                expect(info.file_size <= most, f"{name} unpacks to {info.file_size} bytes out of {info.compress_size}")
                expect(info.header_offset == end, f"there are bytes before {name} that belong to no file")
                file.seek(end)
                end += 30 + sum(struct.unpack("<26xHH", file.read(30))) + info.compress_size
        expect(end == self.zip.start_dir, "there are bytes after the files that belong to none")

    def _files(self) -> None:
        for path, entry in self.stated.items():
            size = self.zip.getinfo(path).file_size
            expect(size == entry["bytes"], f"{path} has {size} bytes instead of {entry['bytes']}")
            digest, size = sha256(), 0
            with self.zip.open(path) as file:
                for block in iter(lambda: file.read(BLOCK), b""):
                    digest.update(block)
                    size += len(block)
            expect(size == entry["bytes"], f"{path} has {size} bytes instead of {entry['bytes']}")
            expect(digest.hexdigest() == entry["sha256"], f"{path} differs from its digest")
        self.held.append(f"digest and size of {len(self.stated)} files")

    # ── Reading ──

    def _whole(self, path: str) -> bytes:
        """What is small, at once."""
        size = self.zip.getinfo(path).file_size
        expect(size <= LARGEST, f"{path} has {size} bytes, more than any pack has there")
        self.read.add(path)
        return self.zip.read(path)

    def _lines(self, path: str, newline: str) -> Iterator[str]:
        self.read.add(path)
        with self.zip.open(path) as file:
            lines = io.TextIOWrapper(file, "utf-8", newline=newline)
            while line := lines.readline(LONGEST):
                expect(len(line) < LONGEST, f"{path} has a line that is longer than any of a pack")
                yield line

    def _table(self, path: str) -> Iterator[list[str]]:
        """The rows of a CSV, the head first."""
        return csv.reader(self._lines(path, ""))

    def _ids(self, path: str) -> Ids:
        """The first column of a CSV."""
        table = self._table(path)
        next(table)
        return Ids(row[0] for row in table)

    def _objects(self, path: str) -> Iterator[Any]:
        """The objects of a JSON list, one a line."""
        lines = self._lines(path, "\n")
        expect(next(lines, "") == "[\n", f"{path} is no list")
        for line in lines:
            if line == "]\n":
                expect(next(lines, "") == "", f"{path} goes on after its end")
                return
            yield json.loads(line.rstrip("\n").rstrip(","))
        raise Broken(f"{path} has no end")

    # ── Rows ──

    def _lists(self) -> None:
        self.open: Counter[tuple[str, bool]] = Counter()  # findings by rule, and whether they are waived
        self.waived: Counter[str] = Counter()
        self.sampled_rows: dict[str, Any] = {}
        names = sorted({path[6:].rpartition(".")[0] for path in self.stated if path.startswith("lists/")})
        rows = sum(self._list(name) for name in names)
        self.held.append(f"{rows} rows of {len(names)} lists, with the same in every cell of CSV and JSON")

    def _list(self, name: str) -> int:
        as_objects, as_cells = f"lists/{name}.json", f"lists/{name}.csv"
        for path in (as_objects, as_cells):
            expect(path in self.stated, f"{path} is not there, and the same list in the other form is")
        table = self._table(as_cells)
        head = next(table)
        place = head.index("id")
        measured = self._ids(f"measures/{name}.csv") if f"measures/{name}.csv" in self.stated else None
        population = self._ids("sample/population.csv") if name == "credentials" and self.sample else None
        plan: list[tuple[int, str, str]] = []
        number, before = 0, None
        for each, row in zip_longest(self._objects(as_objects), table):
            expect(each is not None and row is not None, f"{as_cells} has other rows than the same list as JSON")
            key = each["id"]
            expect(row[place] == str(key), f"{as_cells} has other rows than the same list as JSON")
            expect(before is None or before < key, f"{as_objects} has {key} twice, or out of order")
            before, number = key, number + 1
            plan = plan or columns(head, each, as_cells)
            expect(len(row) == len(head), f"{as_cells}: {key} has {len(row)} cells instead of {len(head)}")
            for at, field, part in plan:
                value, cell = each[field], row[at]
                if part:
                    value = value[part] if value else None
                if (value != cell or (value and value[0] in SUSPECT)) and not same(value, cell):
                    raise Broken(f"{as_cells}: {key} has another {head[at]} than in the same list as JSON")
            if measured and not measured.has(key):
                expect(not is_live(name, each), f"{key} is live, and measures/{name}.csv leaves it out")
            if population and population.has(key) and key in self.sampled:
                self.sampled_rows[key] = each
            if name == "findings":
                self._count(each)
        for path in (as_objects, as_cells):
            stated = self.stated[path].get("rows")
            expect(number == stated, f"{path} has {number} rows instead of {stated}")
        for ids, path in ((measured, f"measures/{name}.csv"), (population, "sample/population.csv")):
            expect(ids is None or ids.next is None, f"{path} has {ids and ids.next}, which is not in {as_objects}")
        return 2 * number

    def _count(self, finding: dict[str, Any]) -> None:
        rule, is_waived = finding["rule"]["id"], finding["state"] == "waived"
        self.waived[rule] += is_waived
        if finding["resolved_at"] is None:
            self.open[(rule, is_waived)] += 1

    def _measures(self) -> None:
        self.metrics = as_json(self._whole("metrics.json"))
        measures = {measure["id"]: measure for measure in self.metrics["measures"]}
        expect(len(measures) == len(self.metrics["measures"]), "metrics.json has a measure twice")
        counts: dict[tuple[str, str], Counter[str]] = {}
        for path in sorted(path for path in self.stated if path.startswith("measures/")):
            table = self._table(path)
            head = next(table)
            rows: Counter[tuple[str, ...]] = Counter()  # how often each row of verdicts stands there: few are different
            number = 0
            for number, row in enumerate(table, 1):  # noqa: B007
                expect(len(row) == len(head), f"{path}: {row[0]} has {len(row)} cells instead of {len(head)}")
                said = tuple(row[2:])
                if said not in rows:
                    expect(VERDICTS.issuperset(said), f"{path}: {row[0]} has a verdict that is none")
                rows[said] += 1
            expect(number == self.stated[path].get("rows"), f"{path} has {number} rows, and another number is stated")
            for at, column in enumerate(head[2:]):
                counter: Counter[str] = Counter()
                for said, times in rows.items():
                    counter[said[at]] += times
                counts[(path, column)] = counter
        for measure in measures.values():
            place = (measure["list"], measure["column"])
            expect(place in counts, f"measure {measure['id']}: it has no column in {measure['list']}")
            self._measure(measure, counts[place])
        more = sorted(set(counts) - {(measure["list"], measure["column"]) for measure in measures.values()})
        expect(not more, f"{more and more[0][0]} has a column {more and more[0][1]} that no measure states")
        for control in self.metrics["controls"]:
            verdicts = [measures[each]["verdict"] for each in control["measures"]]
            expect(control["verdict"] == worst(verdicts), f"control {control['id']} is not as its worst measure")
            met = verdicts.count("met")
            expect(control["measures_met"] == met, f"control {control['id']} has {met} measures that are met")
        self.held.append(f"{len(measures)} measures counted again, and {len(self.metrics['controls'])} controls")

    def _measure(self, measure: dict[str, Any], counter: Counter[str]) -> None:
        name = measure["id"]
        for each in COUNTED:
            expect(
                counter[each] == measure[each],
                f"measure {name}: {counter[each]} are {each} in {measure['list']}, and {measure[each]} are stated",
            )
        expect(0 < measure["threshold"] <= 1, f"measure {name}: its threshold is no share")
        population = sum(counter[each] for each in COUNTED)
        share = counter["met"] / population if population else None
        expect(measure["share"] == share, f"measure {name}: its share is {share}")
        expect(measure["verdict"] == verdict(counter, measure["threshold"]), f"measure {name}: its verdict is another")
        accepted = min(self.waived[measure["rule"]], counter["violated"]) if measure["rule"] else 0
        expect(measure["waived"] == accepted, f"measure {name}: {accepted} are waived in lists/findings.json")

    def _oscal(self) -> None:
        document = as_json(self._whole("oscal/assessment-results.json"))["assessment-results"]
        expect(len(document["results"]) == 1, "OSCAL has another number of results than one")
        results = document["results"][0]
        stated = {props["id"]: props for props in map(props_of, results["observations"])}
        more = sorted(set(stated) - {measure["id"] for measure in self.metrics["measures"]})
        expect(not more, f"OSCAL observes {more and more[0]}, which metrics.json does not")
        for measure in self.metrics["measures"]:
            props = stated.get(measure["id"], {})
            same = all(props.get(each) == str(measure[each]) for each in (*COUNTED, "waived", "verdict", "threshold"))
            expect(same, f"OSCAL says something else of the measure {measure['id']} than metrics.json")
        found = {each["target"]["target-id"]: each for each in results["findings"]}
        for control in self.metrics["controls"]:
            finding = found.pop(f"{control['id']}_statement", None)
            wanted = "satisfied" if control["verdict"] == "met" else "not-satisfied"
            same = (
                finding is not None
                and finding["target"]["status"]["state"] == wanted
                and props_of(finding)["verdict"] == control["verdict"]
            )
            expect(same, f"OSCAL says something else of the control {control['id']} than metrics.json")
        expect(not found, f"OSCAL has a finding about {next(iter(found), None)}, which metrics.json has not")
        self.held.append("measures and controls in the OSCAL assessment results")

    def _plan(self) -> None:
        """Its lines are as many as there are rules and owners, so they are read one by one."""
        path = "oscal/poam.json"
        expect(
            (path in self.stated) == self.manifest["has_plan"], "the manifest says otherwise whether there is a plan"
        )
        expect(self.manifest["has_plan"] == bool(self.open), "there is a plan exactly where something is open")
        if not self.open:
            return
        lines = self._lines(path, "\n")
        expect(next(lines, "").endswith(',"risks":[\n'), f"{path} is not written as a plan is")
        for end in ('],"poam-items":[', "]}}"):
            counted: Counter[tuple[str, bool]] = Counter()
            for line in lines:
                is_last = line.endswith(end + "\n")
                each = json.loads(line[: -len(end) - 1] if is_last else line.rstrip("\n").rstrip(","))
                props = props_of(each)
                counted[(props["rule"], each.get("status") == "deviation-approved")] += int(props["number"])
                if is_last:
                    break
            is_items = end == "]}}"
            wanted = self.open if not is_items else by_rule(self.open)
            expect(
                (by_rule(counted) if is_items else counted) == wanted, f"{path} plans for other findings than are open"
            )
        expect(next(lines, "") == "", f"{path} goes on after its end")
        self.held.append(f"the OSCAL plan: {sum(self.open.values())} open findings by rule, and which are accepted")

    def _sampled(self) -> None:
        """What the sample names. It is drawn again, and held against the lists, further below."""
        asked = self.manifest["inputs"]["sample"]
        self.sample = as_json(self._whole("sample/sample.json")) if asked else None
        named = {each["bundle"] for each in self.sample["items"]} if self.sample else set()
        known = {*named, "sample/sample.json", "sample/population.csv"} if self.sample else set()
        more = sorted(path for path in self.stated if path.startswith("sample/") and path not in known)
        expect(not more, f"{more and more[0]} belongs to no sample")
        self.sampled = {each["id"] for each in self.sample["items"]} if self.sample else set()

    def _sample(self) -> None:
        said = self.sample
        if not said:
            return
        for each in ("size", "seed", "filter"):
            expect(
                said[each] == self.manifest["inputs"]["sample"][each],
                f"the sample has another {each} than the manifest",
            )
        expect(said["size"] <= MOST_SAMPLED, f"a sample of {said['size']} is larger than any")
        table = self._table("sample/population.csv")
        next(table)
        keys = [0]

        def lots() -> Iterator[tuple[str, str]]:
            for row in table:
                keys[0] += 1
                yield sha256(f"{said['seed']}:{row[0]}".encode()).hexdigest(), row[0]

        drawn = heapq.nsmallest(said["size"], lots())
        expect(keys[0] == said["population"], f"the population of the sample has {keys[0]} members")
        expect([(each["lot"], each["id"]) for each in said["items"]] == drawn, "the sample was not drawn by its seed")
        for each in said["items"]:
            bundle = as_json(self._whole(each["bundle"]))
            expect(bundle["credential"]["id"] == each["id"], f"{each['bundle']} is about something else")
            row = self.sampled_rows.get(each["id"])
            expect(
                bundle["credential"] == row, f"{each['bundle']} shows another credential than lists/credentials.json"
            )
        self.held.append(f"the sample: {len(drawn)} of {keys[0]}, drawn again by its seed")
        self.unchecked.append("whether the population of the sample is all that its filter leaves")

    def _verifier(self) -> None:
        """Whether this script is the one in the pack. One that is may have been made to say what it says."""
        try:
            own = Path(__file__).read_bytes()
        except OSError:
            return
        if VERIFIER in self.stated and sha256(own).hexdigest() == self.stated[VERIFIER]["sha256"]:
            self.read.add(VERIFIER)

    # ── The audit chain ──

    def _chain(self) -> None:
        said = self.manifest["audit"]
        self.heads = as_json(self._whole("audit/heads.json"))
        wanted: dict[int, list[str]] = {}
        for head in self.heads:
            wanted.setdefault(head["seq"], []).append(head["hash"])
        latest, number, expected = bytes.fromhex(said["previous_hash"]), 0, said["first"]
        if expected == 1:
            expect(latest == bytes(32), "the first entry does not begin the chain")
        for line in self._lines("audit/entries.ndjson", "\n"):
            entry = json.loads(line)
            seq = entry["seq"]
            expect(seq == expected, f"audit entry {expected} is missing")
            latest = sha256(latest + entry["text"].encode()).digest()
            expect(latest.hex() == entry["hash"], f"audit entry {seq} does not follow from the one before")
            expect(json.loads(entry["text"])["seq"] == seq, f"audit entry {seq} was sealed as another")
            for digest in wanted.pop(seq, ()):
                expect(digest == entry["hash"], f"audit entry {seq} is not the one that was signed as a head")
            number, expected = number + 1, seq + 1
        expect(not wanted, f"a head was signed over audit entry {min(wanted, default=0)}, which is not there")
        expect(number == said["entries"], f"there are {number} audit entries instead of {said['entries']}")
        expect(
            said["last"] == (expected - 1 if number else None), "the last audit entry has another number than stated"
        )
        expect(latest.hex() == said["last_hash"], "the last audit entry is another than the manifest says")
        self.held.append(f"the chain of {number} audit entries, and {len(self.heads)} heads over it")
        if said["first"] and said["first"] > 1:
            self.unchecked.append(f"audit entries before {said['first']}, which are not in this pack")

    def _signatures(self) -> None:
        if not self.keys:
            self.unchecked.append("who signed it: give --public-key, with a key that you hold from elsewhere")
            return
        named = self.manifest["key_sha256"]
        expect(named in self.keys, "the pack is signed by another key than the one that was given")
        others = [head for head in self.heads if head["key_sha256"] not in self.keys]
        if others:
            self.unchecked.append(f"{len(others)} heads that name a key which was not given: {others[0]['key_sha256']}")
        try:
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        except ImportError:
            self.unchecked.append("signatures: the package cryptography is not installed; openssl can, see below")
            self.commands = openssl(self.path, self.keys[named])
            return
        signed = [(named, self._whole(SIGNATURE), self.manifest_bytes, "the manifest")]
        for head in self.heads:
            if head not in others:
                text = f"keyreeve chain head 1\n{head['seq']}\n{head['hash']}\n{head['signed_at']}\n"
                signature = bytes.fromhex(head["signature"])
                signed.append((head["key_sha256"], signature, text.encode(), f"the chain head {head['seq']}"))
        for key, signature, message, what in signed:
            try:
                Ed25519PublicKey.from_public_bytes(self.keys[key]).verify(signature, message)
            except InvalidSignature:
                raise Broken(f"the signature of {what} does not hold") from None
        self.held.append(f"{len(signed)} signatures by the given key")


def verdict(counter: Counter[str], threshold: float) -> str:
    """What a count says: the unknown stands against it."""
    population = sum(counter[each] for each in COUNTED)
    if not population:
        return "not_applicable"
    if counter["met"] >= threshold * population:
        return "met"
    return "violated" if counter["met"] + counter["unknown"] < threshold * population else "unknown"


def worst(verdicts: list[str]) -> str:
    """A control is as its worst measure; one that nothing measures is unknown."""
    if "violated" in verdicts:
        return "violated"
    if not verdicts or "unknown" in verdicts:
        return "unknown"
    return "met" if "met" in verdicts else "not_applicable"


def as_json(content: bytes) -> Any:
    """JSON in which nothing is named twice: another reader might take the other of the two."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        expect(len(made) == len(pairs), "a JSON object names something twice")
        return made

    return json.loads(content, object_pairs_hook=once)


def columns(head: Sequence[str], each: dict[str, Any], path: str) -> list[tuple[int, str, str]]:
    """Where each cell stands in the same object as JSON: its place, the member, and of a linked object which part."""
    found = []
    for at, name in enumerate(head):
        link = name[: -len("_id")] if name.endswith("_id") and name not in each else ""
        part = "id" if link else "display" if f"{name}_id" in head and f"{name}_id" not in each else ""
        found.append((at, link or name, part))
    expect({field for _, field, _ in found} == set(each), f"{path} has other columns than the same list as JSON")
    return found


def same(value: Any, cell: str) -> bool:
    """Whether a cell says what stands in the JSON, in the words of the CSV."""
    if value is None:
        return cell == ""
    if isinstance(value, bool):
        return cell == ("yes" if value else "no")
    if isinstance(value, str):
        if value.lstrip(" ").startswith(FORMULA_STARTS):
            return cell == f"'{value}" or (length(value) is not None and length(value) == number(cell))
        return cell == value or (length(value) is not None and length(value) == number(cell))
    if isinstance(value, (int, float)):
        return number(cell) == value
    if isinstance(value, list):
        joined = "; ".join(map(str, (each for each in value if each is not None)))
        if cell in (joined, f"'{joined}"):
            return True
    return bool(cell) and json.loads(cell) == value


def number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def length(text: str) -> float | None:
    """The seconds of a length of time as the database writes it, such as `14 days 02:00:00`."""
    found = INTERVAL.fullmatch(text)
    if not found or not text:
        return None
    years, mons, days, sign, hours, minutes, seconds = found.groups()
    within = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + float(seconds or 0)
    whole = int(years or 0) * YEAR + int(mons or 0) * MONTH + int(days or 0) * DAY
    return whole + (-within if sign else within)


def is_live(name: str, each: dict[str, Any]) -> bool:
    """Whether a measure of such subjects has to count it."""
    if name == "credentials":
        return each["gone_at"] is None and each["status"] not in ENDED
    if name == "clients":
        return each["gone_at"] is None and each["admission"] != "removed"
    return name == "servers" and each["gone_at"] is None


def props_of(each: dict[str, Any]) -> dict[str, str]:
    return {prop["name"]: prop["value"] for prop in each["props"]}


def by_rule(counted: Counter[tuple[str, bool]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (rule, _), times in counted.items():
        found[rule] += times
    return found


def printable(text: str) -> str:
    """What a pack says, so that nothing of it moves the cursor or fills the screen."""
    said = "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
    return said if len(said) <= SAID else f"{said[:SAID]}…"


def openssl(path: Path, public_key: bytes) -> list[str]:
    """The commands that check the signature of the manifest, with the key as a PEM file."""
    quoted = shlex.quote(str(path))
    encoded = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + public_key).decode()
    return [
        f"printf '%s\\n' '-----BEGIN PUBLIC KEY-----' '{encoded}' '-----END PUBLIC KEY-----' > key.pem",
        f"unzip -p {quoted} {MANIFEST} > {MANIFEST} && unzip -p {quoted} {SIGNATURE} > {SIGNATURE}",
        f"openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in {MANIFEST} -sigfile {SIGNATURE}",
    ]


def key_from(text: str) -> bytes:
    """32 bytes from 64 hexadecimal digits, or from a file that has them or is PEM."""
    try:
        return exactly(bytes.fromhex(text))
    except ValueError:
        pass
    try:
        content = Path(text).read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise ValueError("a public key is 64 hexadecimal digits, or a file that holds them or is PEM") from None
    if content.startswith("-----"):
        return exactly(base64.b64decode("".join(content.splitlines()[1:-1]))[-32:])
    return exactly(bytes.fromhex(content))


def exactly(key: bytes) -> bytes:
    if len(key) != 32:
        raise ValueError("a public key of Ed25519 has 32 bytes")
    return key


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Verify an evidence pack offline.")
    parser.add_argument("pack", help="The ZIP.")
    parser.add_argument(
        "--public-key",
        action="append",
        default=[],
        help="64 hexadecimal digits, or a file with them or in PEM. More than once where keys have changed.",
    )
    parser.add_argument("--quiet", action="store_true", help="Say only what does not hold.")
    options = parser.parse_args(arguments)
    try:
        keys = [key_from(each) for each in options.public_key]
    except ValueError as exc:
        parser.error(str(exc))
    pack = Pack(options.pack, *keys)
    try:
        pack.check()
    except Broken as exc:
        sys.stderr.write(f"Does not hold: {printable(str(exc))}.\n")
        return 1
    if not options.quiet:
        lines = [f"Holds: {printable(each)}." for each in pack.held]
        lines += [f"Not checked: {printable(each)}." for each in pack.unchecked]
        sys.stdout.write("\n".join([*lines, *pack.commands]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
