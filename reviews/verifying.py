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
import sys
import zipfile
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = "keyreeve evidence pack 1"
SEAL = FORMAT.encode() + b" sha256 "
DIGITS = 64
BLOCK = 1 << 20
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
COUNTED = ("met", "violated", "unknown")
LARGEST_FIELD = 1 << 30


class Broken(Exception):
    """The first thing that does not hold, as a sentence."""


def expect(holds: object, sentence: str) -> None:
    if not holds:
        raise Broken(sentence)


class Pack:
    """One pack while it is looked at: what holds so far, and what nobody looked at."""

    def __init__(self, path: str | Path, *public_keys: bytes) -> None:
        self.path = Path(path)
        self.keys = {sha256(key).hexdigest(): key for key in public_keys}
        self.held: list[str] = []
        self.unchecked: list[str] = []
        self.commands: list[str] = []

    def check(self) -> None:
        """Look at everything. Raises Broken with the first thing that does not hold."""
        csv.field_size_limit(LARGEST_FIELD)
        self._seal()
        try:
            with zipfile.ZipFile(self.path) as self.zip:
                self._manifest()
                self._files()
                self._lists()
                self._measures()
                self._oscal()
                self._sample()
                self._chain()
                self._signatures()
        except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, EOFError, OSError) as exc:
            raise Broken(f"the pack cannot be read: {type(exc).__name__}: {exc}") from exc
        later = self.manifest.get("as_it_stands")
        if later:
            self.unchecked.append(
                f"how it was at {self.manifest['inputs']['taken_at']} in lists that keep no past, and have what had "
                f"begun by then as it stood when the pack was built: {', '.join(later)}"
            )
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
        self.manifest_bytes = self.zip.read(MANIFEST)
        self.manifest = json.loads(self.manifest_bytes)
        expect(self.manifest["format"] == FORMAT, f"the manifest is not of the format {FORMAT}")
        listed = [entry["path"] for entry in self.manifest["files"]]
        found = self.zip.namelist()
        expect(len(found) == len(set(found)), "two files of the pack have one name")
        missing = sorted({*listed, MANIFEST, SIGNATURE} - set(found))
        expect(not missing, f"{next(iter(missing), None)} is missing")
        more = sorted(set(found) - {*listed, MANIFEST, SIGNATURE})
        expect(not more, f"{next(iter(more), None)} is in the pack and not in its manifest")

    def _files(self) -> None:
        for entry in self.manifest["files"]:
            digest, size = sha256(), 0
            with self.zip.open(entry["path"]) as file:
                for block in iter(lambda: file.read(BLOCK), b""):
                    digest.update(block)
                    size += len(block)
            expect(size == entry["bytes"], f"{entry['path']} has {size} bytes instead of {entry['bytes']}")
            expect(digest.hexdigest() == entry["sha256"], f"{entry['path']} differs from its digest")
        self.held.append(f"digest and size of {len(self.manifest['files'])} files")

    # ── Rows ──

    def _table(self, path: str) -> Iterator[list[str]]:
        """The rows of a CSV, the head first."""
        with self.zip.open(path) as file:
            yield from csv.reader(io.TextIOWrapper(file, "utf-8", newline=""))

    def _objects(self, path: str) -> Iterator[Any]:
        """The objects of a JSON list, one a line."""
        with self.zip.open(path) as file:
            lines = io.TextIOWrapper(file, "utf-8", newline="\n")
            expect(next(lines, "") == "[\n", f"{path} is no list")
            for line in lines:
                if line == "]\n":
                    return
                yield json.loads(line.rstrip("\n").rstrip(","))
        raise Broken(f"{path} has no end")

    def _lists(self) -> None:
        rows, first = 0, ""
        for entry in self.manifest["files"]:
            path, ids = entry["path"], sha256()
            if "rows" not in entry or not path.startswith("lists/"):
                continue
            number = 0
            if path.endswith(".json"):
                for number, each in enumerate(self._objects(path), 1):  # noqa: B007
                    ids.update(f"{each['id']}\n".encode())
                first = ids.hexdigest()
            else:
                table = self._table(path)
                place = next(table).index("id")
                for number, row in enumerate(table, 1):  # noqa: B007
                    ids.update(f"{row[place]}\n".encode())
                expect(ids.hexdigest() == first, f"{path} has other rows than the same list as JSON")
            expect(number == entry["rows"], f"{path} has {number} rows instead of {entry['rows']}")
            rows += number
        self.held.append(f"{rows} rows of lists, the same in CSV and JSON")

    def _measures(self) -> None:
        self.metrics = json.loads(self.zip.read("metrics.json"))
        measures = {measure["id"]: measure for measure in self.metrics["measures"]}
        stated = {entry["path"]: entry.get("rows") for entry in self.manifest["files"]}
        counts: dict[tuple[str, str], Counter[str]] = {}
        for path in sorted({measure["list"] for measure in measures.values()}):
            table = self._table(path)
            head = next(table)
            counters: list[Counter[str]] = [Counter() for _ in head]
            number = 0
            for number, row in enumerate(table, 1):  # noqa: B007  the last one is their number
                for counter, said in zip(counters[2:], row[2:]):  # noqa: B905  Python 3.9 has no strict
                    counter[said] += 1
            expect(number == stated[path], f"{path} has {number} rows instead of {stated[path]}")
            for column, counter in list(zip(head, counters))[2:]:  # noqa: B905
                counts[(path, column)] = counter
        waived = Counter(
            each["rule"]["id"] for each in self._objects("lists/findings.json") if each["state"] == "waived"
        )
        for measure in measures.values():
            self._measure(measure, counts[(measure["list"], measure["column"])], waived)
        for control in self.metrics["controls"]:
            verdicts = [measures[each]["verdict"] for each in control["measures"]]
            expect(control["verdict"] == worst(verdicts), f"control {control['id']} is not as its worst measure")
            met = verdicts.count("met")
            expect(control["measures_met"] == met, f"control {control['id']} has {met} measures that are met")
        self.held.append(f"{len(measures)} measures counted again, and {len(self.metrics['controls'])} controls")

    def _measure(self, measure: dict[str, Any], counter: Counter[str], waived: Counter[str]) -> None:
        name = measure["id"]
        for each in COUNTED:
            expect(
                counter[each] == measure[each],
                f"measure {name}: {counter[each]} are {each} in {measure['list']}, and {measure[each]} are stated",
            )
        population = sum(counter[each] for each in COUNTED)
        share = counter["met"] / population if population else None
        expect(measure["share"] == share, f"measure {name}: its share is {share}")
        expect(measure["verdict"] == verdict(counter, measure["threshold"]), f"measure {name}: its verdict is another")
        accepted = min(waived[measure["rule"]], counter["violated"]) if measure["rule"] else 0
        expect(measure["waived"] == accepted, f"measure {name}: {accepted} are waived in lists/findings.json")

    def _oscal(self) -> None:
        results = json.loads(self.zip.read("oscal/assessment-results.json"))["assessment-results"]["results"]
        stated = {}
        for observation in results[0]["observations"]:
            props = {prop["name"]: prop["value"] for prop in observation["props"]}
            stated[props["id"]] = props
        for measure in self.metrics["measures"]:
            props = stated.get(measure["id"], {})
            same = all(props.get(each) == str(measure[each]) for each in (*COUNTED, "waived", "verdict"))
            expect(same, f"OSCAL says something else of the measure {measure['id']} than metrics.json")
        self.held.append("the figures in the OSCAL assessment results")

    def _sample(self) -> None:
        asked = self.manifest["inputs"]["sample"]
        if not asked:
            return
        said = json.loads(self.zip.read("sample/sample.json"))
        for each in ("size", "seed", "filter"):
            expect(said[each] == asked[each], f"the sample has another {each} than the manifest")
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
            bundle = json.loads(self.zip.read(each["bundle"]))
            expect(bundle["credential"]["id"] == each["id"], f"{each['bundle']} is about something else")
        self.held.append(f"the sample: {len(drawn)} of {keys[0]}, drawn again by its seed")

    # ── The audit chain ──

    def _chain(self) -> None:
        said = self.manifest["audit"]
        self.heads = json.loads(self.zip.read("audit/heads.json"))
        wanted = {head["seq"]: head for head in self.heads}
        latest, number, expected = bytes.fromhex(said["previous_hash"]), 0, said["first"]
        if expected == 1:
            expect(latest == bytes(32), "the first entry does not begin the chain")
        with self.zip.open("audit/entries.ndjson") as file:
            for line in io.TextIOWrapper(file, "utf-8", newline="\n"):
                entry = json.loads(line)
                seq = entry["seq"]
                expect(seq == expected, f"audit entry {expected} is missing")
                latest = sha256(latest + entry["text"].encode()).digest()
                expect(latest.hex() == entry["hash"], f"audit entry {seq} does not follow from the one before")
                expect(json.loads(entry["text"])["seq"] == seq, f"audit entry {seq} was sealed as another")
                head = wanted.pop(seq, None)
                if head is not None:
                    expect(head["hash"] == entry["hash"], f"audit entry {seq} is not the one that was signed as a head")
                number, expected = number + 1, seq + 1
        expect(not wanted, f"a head was signed over audit entry {min(wanted, default=0)}, which is not there")
        expect(number == said["entries"], f"there are {number} audit entries instead of {said['entries']}")
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
        signed = [(named, self.zip.read(SIGNATURE), self.manifest_bytes, "the manifest")]
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


def openssl(path: Path, public_key: bytes) -> list[str]:
    """The commands that check the signature of the manifest, with the key as a PEM file."""
    encoded = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + public_key).decode()
    return [
        f"printf '%s\\n' '-----BEGIN PUBLIC KEY-----' '{encoded}' '-----END PUBLIC KEY-----' > key.pem",
        f"unzip -p '{path}' {MANIFEST} > {MANIFEST} && unzip -p '{path}' {SIGNATURE} > {SIGNATURE}",
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
        sys.stderr.write(f"Does not hold: {exc}.\n")
        return 1
    if not options.quiet:
        lines = [f"Holds: {each}." for each in pack.held] + [f"Not checked: {each}." for each in pack.unchecked]
        sys.stdout.write("\n".join([*lines, *pack.commands]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
