"""The verifier, as an auditor runs it: a clean Python, a pack, and a key from elsewhere."""

import csv
import io
import json
import random
import shlex
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inventory.states import ENDED
from reviews import verifying
from reviews.packing.archive import Archive
from reviews.packing.lists import sources
from tests.factories import NOW
from tests.reviews.packed import KEY, member, member_json

pytestmark = pytest.mark.django_db  # the pack is made of a database
PUBLIC = KEY.public_key().public_bytes_raw()
SCRIPT = Path(verifying.__file__)


def run(*arguments: object, isolated: tuple[str, ...] = ("-I", "-S")) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *isolated, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def found(path: Path, *keys: bytes) -> str:
    """The first thing that does not hold, by the same script; nothing where all does."""
    try:
        verifying.Pack(path, *keys).check()
    except verifying.Broken as exc:
        return str(exc)
    return ""


@pytest.fixture
def path(shared_pack: bytes, tmp_path: Path) -> Path:
    place = tmp_path / "pack.zip"
    place.write_bytes(shared_pack)
    return place


def forged(pack: bytes, changes: dict[str, bytes | None], key: Ed25519PrivateKey = KEY, **said: object) -> bytes:
    """The pack with other files, and everything that is derived from them made anew: only the signature tells."""
    with zipfile.ZipFile(io.BytesIO(pack)) as old:
        files = {name: old.read(name) for name in old.namelist()}
    manifest = json.loads(files.pop("manifest.json"))
    files.pop("manifest.sig")
    rows = {entry["path"]: entry.get("rows") for entry in manifest["files"]}
    files |= {name: content for name, content in changes.items() if content is not None}
    out = io.BytesIO()
    archive = Archive(out)
    for name, content in files.items():
        if name in changes and changes[name] is None:
            continue
        with archive.member(name) as made:
            made.write(content)
            made.rows = rows.get(name)
    manifest |= {"files": [entry.said() for entry in archive.entries], **said}
    text = json.dumps(manifest).encode()
    archive.add("manifest.json", text)
    archive.add("manifest.sig", key.sign(text))
    archive.seal()
    return out.getvalue()


def test_a_clean_python_without_packages_verifies_it(path: Path, shared_pack: bytes, tmp_path: Path):
    script = tmp_path / "verify.py"
    script.write_bytes(member(shared_pack, "verify.py"))
    done = run(script, path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the seal over every byte" in done.stdout
    assert "Not checked: who signed it" in done.stdout
    assert "Not checked: whether what the lists say" in done.stdout


def test_without_cryptography_it_prints_what_openssl_does(path: Path, tmp_path: Path):
    done = run(SCRIPT, path, "--public-key", PUBLIC.hex())
    assert done.returncode == 0
    assert "Not checked: signatures" in done.stdout
    commands = done.stdout[done.stdout.index("printf") :]
    if not (shutil.which("openssl") and shutil.which("unzip")):
        pytest.fail("this test needs openssl and unzip")
    ran = subprocess.run(["sh", "-e", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Signature Verified Successfully" in ran.stdout, ran.stderr


def test_with_cryptography_it_checks_the_signatures_of_manifest_and_heads(path: Path):
    done = run(SCRIPT, path, "--public-key", PUBLIC.hex(), isolated=("-I",))
    assert done.returncode == 0
    assert "Holds: 2 signatures by the given key" in done.stdout


def test_a_key_may_be_a_file_in_pem(path: Path, tmp_path: Path):
    from cryptography.hazmat.primitives import serialization

    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    assert verifying.key_from(str(tmp_path / "key.pem")) == PUBLIC


def test_another_key_does_not_fit(path: Path):
    done = run(SCRIPT, path, "--public-key", Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex())
    assert done.returncode == 1
    assert "signed by another key" in done.stderr


def test_a_wrong_call_is_no_verdict(path: Path):
    assert run(SCRIPT, path, "--public-key", "zz").returncode == 2
    assert run(SCRIPT).returncode == 2


def test_any_changed_byte_is_found(shared_pack: bytes, tmp_path: Path):
    """Every part of the file: heads, compressed content, the ZIP's directory, the seal itself."""
    chosen = random.Random(7)
    size = len(shared_pack)
    places = {0, 10, size - 1, size - 64, size - 65, size - 120, *chosen.sample(range(size), 150)}
    broken = bytearray(shared_pack)
    place = tmp_path / "broken.zip"
    missed = []
    for at in sorted(places):
        broken[at] ^= 1 << chosen.randrange(8)
        place.write_bytes(broken)
        if not found(place):
            missed.append(at)
        broken[at] = shared_pack[at]
    assert missed == []


def test_a_changed_byte_ends_the_script_with_1_and_a_sentence(shared_pack: bytes, tmp_path: Path):
    broken = bytearray(shared_pack)
    broken[len(broken) // 2] ^= 1
    (tmp_path / "broken.zip").write_bytes(broken)
    done = run(SCRIPT, tmp_path / "broken.zip")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Does not hold: a byte of the pack differs from what was sealed.\n"


@pytest.mark.parametrize("cut", [0, 1, 40, 1_000])
def test_a_pack_that_is_cut_or_lengthened_does_not_hold(shared_pack: bytes, tmp_path: Path, cut: int):
    place = tmp_path / "cut.zip"
    place.write_bytes(shared_pack[: len(shared_pack) - cut] if cut else shared_pack + b"x")
    assert "cut" in found(place) or "sealed" in found(place)


def test_what_is_no_pack_and_what_is_not_there_are_said_to_be_so(tmp_path: Path):
    (tmp_path / "x.zip").write_bytes(b"PK")
    assert "no evidence pack" in found(tmp_path / "x.zip")
    assert "cannot be read" in found(tmp_path / "nowhere.zip")


def edited(pack: bytes, path: str, old: str, new: str) -> dict[str, bytes]:
    text = member(pack, path).decode()
    assert old in text
    return {path: text.replace(old, new, 1).encode()}


def broken_by(pack: bytes, tmp_path: Path, changes: dict[str, bytes | None], **said: object) -> str:
    place = tmp_path / "forged.zip"
    place.write_bytes(forged(pack, changes, **said))
    return found(place)


def test_a_pack_that_is_sealed_anew_without_change_holds(shared_pack: bytes, tmp_path: Path):
    assert broken_by(shared_pack, tmp_path, {}) == ""


def test_a_verdict_that_was_changed_does_not_add_up(shared_pack: bytes, tmp_path: Path):
    said = broken_by(shared_pack, tmp_path, edited(shared_pack, "measures/credentials.csv", "violated", "met"))
    assert said.startswith("measure ")


def test_a_figure_that_was_changed_does_not_add_up(shared_pack: bytes, tmp_path: Path):
    said = broken_by(shared_pack, tmp_path, edited(shared_pack, "metrics.json", '"unknown": 0', '"unknown": 1'))
    assert "are unknown in" in said


def test_a_row_that_was_taken_out_is_missed(shared_pack: bytes, tmp_path: Path):
    lines = member(shared_pack, "lists/credentials.csv").decode().splitlines(keepends=True)
    said = broken_by(shared_pack, tmp_path, {"lists/credentials.csv": "".join([lines[0], *lines[2:]]).encode()})
    assert "other rows than the same list as JSON" in said


def test_a_list_that_says_less_than_the_manifest_is_found(shared_pack: bytes, tmp_path: Path):
    empty = {"lists/credentials.json": b"[\n]\n", "lists/credentials.csv": b"id\r\n"}
    assert "rows instead of" in broken_by(shared_pack, tmp_path, empty)


def test_an_audit_entry_that_was_rewritten_breaks_the_chain(shared_pack: bytes, tmp_path: Path):
    said = broken_by(shared_pack, tmp_path, edited(shared_pack, "audit/entries.ndjson", "It is hers.", "It is his. "))
    assert "does not follow from the one before" in said


def test_an_audit_entry_that_was_taken_out_is_missed(shared_pack: bytes, tmp_path: Path):
    lines = member(shared_pack, "audit/entries.ndjson").splitlines(keepends=True)
    said = broken_by(shared_pack, tmp_path, {"audit/entries.ndjson": b"".join([lines[0], *lines[2:]])})
    assert "audit entry" in said
    assert "is missing" in said


def test_a_chain_that_was_cut_at_its_end_is_found(shared_pack: bytes, tmp_path: Path):
    lines = member(shared_pack, "audit/entries.ndjson").splitlines(keepends=True)
    said = broken_by(shared_pack, tmp_path, {"audit/entries.ndjson": b"".join(lines[:-1])})
    assert "audit entries instead of" in said


def test_a_chain_that_does_not_hold_what_was_signed_is_found(shared_pack: bytes, tmp_path: Path):
    (head,) = member_json(shared_pack, "audit/heads.json")
    other = json.dumps([{**head, "hash": "00" * 32}]).encode()
    assert "signed as a head" in broken_by(shared_pack, tmp_path, {"audit/heads.json": other})


def test_a_sample_of_ones_own_choice_is_found(shared_pack: bytes, tmp_path: Path):
    said = member_json(shared_pack, "sample/sample.json")
    said["items"].reverse()
    other = {"sample/sample.json": json.dumps(said).encode()}
    assert "not drawn by its seed" in broken_by(shared_pack, tmp_path, other)


def test_oscal_that_says_something_else_is_found(shared_pack: bytes, tmp_path: Path):
    old = '"name": "violated",\n        "ns": "urn:keyreeve:oscal",\n        "value": "'
    changed = edited(shared_pack, "oscal/assessment-results.json", old, f"{old}9")
    assert "OSCAL says something else" in broken_by(shared_pack, tmp_path, changed)


def test_a_file_that_its_manifest_names_and_that_is_not_there_is_missed(shared_pack: bytes, tmp_path: Path):
    files = member_json(shared_pack, "manifest.json")["files"]
    said = broken_by(shared_pack, tmp_path, {"summary.html": None}, files=files)
    assert said == "summary.html is missing"


def test_a_file_that_no_manifest_names_is_found(shared_pack: bytes, tmp_path: Path):
    files = [each for each in member_json(shared_pack, "manifest.json")["files"] if each["path"] != "summary.html"]
    assert "not in its manifest" in broken_by(shared_pack, tmp_path, {}, files=files)


def test_a_head_of_a_key_that_was_not_given_is_said_not_to_be_checked(shared_pack: bytes, tmp_path: Path):
    other = Ed25519PrivateKey.generate()
    place = tmp_path / "signed.zip"
    key_sha256 = sha256(other.public_key().public_bytes_raw()).hexdigest()
    place.write_bytes(forged(shared_pack, {}, other, key_sha256=key_sha256))
    pack = verifying.Pack(place, other.public_key().public_bytes_raw())
    pack.check()
    assert any("1 heads that name a key" in each for each in pack.unchecked)
    assert found(place, other.public_key().public_bytes_raw(), PUBLIC) == ""


def test_a_forger_with_another_key_is_told_by_the_signature_alone(shared_pack: bytes, tmp_path: Path):
    place = tmp_path / "forged.zip"
    place.write_bytes(forged(shared_pack, {"summary.html": b"All is well."}, Ed25519PrivateKey.generate()))
    assert found(place) == ""
    assert "signature of the manifest does not hold" in found(place, PUBLIC)


def test_no_command_is_made_of_what_a_pack_says(path: Path):
    assert all(shlex.split(command) for command in verifying.openssl(path, PUBLIC))


# ── As a forger would: everything that is derived made anew, and nothing but the content gives it away ──


def with_lines(pack: bytes, tmp_path: Path, path: str, change: Callable[[list[bytes]], list[bytes]]) -> str:
    """What is found where the lines of one file are others."""
    lines = member(pack, path).splitlines(keepends=True)
    return broken_by(pack, tmp_path, {path: b"".join(change(lines))})


def checked(content: bytes, tmp_path: Path) -> verifying.Pack:
    """A pack that holds, looked at."""
    place = tmp_path / "other.zip"
    place.write_bytes(content)
    pack = verifying.Pack(place)
    pack.check()
    return pack


def test_a_cell_that_says_something_else_than_the_json_is_found(shared_pack: bytes, tmp_path: Path):
    changed = edited(shared_pack, "lists/credentials.csv", ",active,", ",destroyed,")
    assert "another status than in the same list as JSON" in broken_by(shared_pack, tmp_path, changed)


def test_a_name_without_its_guard_against_spreadsheets_is_found(shared_pack: bytes, tmp_path: Path):
    changed = edited(shared_pack, "lists/credentials.csv", "'=1+1", "=1+1")
    assert "than in the same list as JSON" in broken_by(shared_pack, tmp_path, changed)


def test_a_column_that_was_left_out_is_missed(shared_pack: bytes, tmp_path: Path):
    rows = csv.reader(io.StringIO(member(shared_pack, "lists/owners.csv").decode(), newline=""))
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(row[:-1] for row in rows)
    said = broken_by(shared_pack, tmp_path, {"lists/owners.csv": out.getvalue().encode()})
    assert "other columns than the same list as JSON" in said


def test_a_list_in_one_form_alone_is_found(shared_pack: bytes, tmp_path: Path):
    said = broken_by(shared_pack, tmp_path, {"lists/waivers.csv": None})
    assert said == "lists/waivers.csv is not there, and the same list in the other form is"


def test_a_list_that_is_left_out_is_said_to_be(shared_pack: bytes, tmp_path: Path):
    less = forged(shared_pack, {"lists/approvals.csv": None, "lists/approvals.json": None})
    assert "lists that are not in this pack: approvals" in checked(less, tmp_path).unchecked


def test_a_list_whose_number_of_rows_is_not_stated_is_found(shared_pack: bytes, tmp_path: Path):
    files = member_json(shared_pack, "manifest.json")["files"]
    for entry in files:
        if entry["path"] == "lists/owners.json":
            del entry["rows"]
    assert "rows instead of None" in broken_by(shared_pack, tmp_path, {}, files=files)


def test_a_credential_that_no_measure_counts_is_found(shared_pack: bytes, tmp_path: Path):
    path = "measures/credentials.csv"
    said = with_lines(shared_pack, tmp_path, path, lambda lines: [*lines[:2], *lines[3:]])
    assert f"is live, and {path} leaves it out" in said


def test_a_subject_of_a_measure_that_stands_in_no_list_is_found(shared_pack: bytes, tmp_path: Path):
    path = "measures/credentials.csv"
    said = with_lines(shared_pack, tmp_path, path, lambda lines: [*lines, b"ffffffff" + lines[1][8:]])
    assert "which is not in lists/credentials.json" in said


def test_a_measure_that_is_not_stated_is_missed(shared_pack: bytes, tmp_path: Path):
    metrics = member_json(shared_pack, "metrics.json")
    metrics["measures"] = [each for each in metrics["measures"] if each["id"] != "no-owner"]
    said = broken_by(shared_pack, tmp_path, {"metrics.json": json.dumps(metrics).encode()})
    assert said == "measures/credentials.csv has a column no-owner that no measure states"


@pytest.mark.parametrize("threshold", [0, -1, 2])
def test_a_threshold_that_is_no_share_is_found(shared_pack: bytes, tmp_path: Path, threshold: float):
    metrics = member_json(shared_pack, "metrics.json")
    metrics["measures"][0]["threshold"] = threshold
    said = broken_by(shared_pack, tmp_path, {"metrics.json": json.dumps(metrics).encode()})
    assert "its threshold is no share" in said


def test_a_figure_that_is_named_twice_is_found(shared_pack: bytes, tmp_path: Path):
    changed = edited(shared_pack, "metrics.json", '"threshold":', '"threshold": 0.1, "threshold":')
    assert "names something twice" in broken_by(shared_pack, tmp_path, changed)


def test_a_control_that_oscal_finds_satisfied_is_held_against_its_verdict(shared_pack: bytes, tmp_path: Path):
    path = "oscal/assessment-results.json"
    changed = edited(shared_pack, path, '"state": "not-satisfied"', '"state": "satisfied"')
    assert "OSCAL says something else of the control" in broken_by(shared_pack, tmp_path, changed)


def test_a_plan_that_leaves_something_out_is_found(shared_pack: bytes, tmp_path: Path):
    said = with_lines(shared_pack, tmp_path, "oscal/poam.json", lambda lines: [lines[0], *lines[2:]])
    assert "plans for other findings than are open" in said


def test_a_plan_that_accepts_what_nobody_accepted_is_found(shared_pack: bytes, tmp_path: Path):
    changed = edited(shared_pack, "oscal/poam.json", '"status": "open"', '"status": "deviation-approved"')
    assert "plans for other findings than are open" in broken_by(shared_pack, tmp_path, changed)


def test_a_pack_without_its_plan_is_found(shared_pack: bytes, tmp_path: Path):
    said = broken_by(shared_pack, tmp_path, {"oscal/poam.json": None}, has_plan=False)
    assert "there is a plan exactly where something is open" in said


def test_audit_entries_in_another_order_are_found(shared_pack: bytes, tmp_path: Path):
    path = "audit/entries.ndjson"
    said = with_lines(shared_pack, tmp_path, path, lambda lines: [lines[1], lines[0], *lines[2:]])
    assert "is missing" in said


def test_a_second_head_over_one_entry_does_not_hide_the_first(shared_pack: bytes, tmp_path: Path):
    (head,) = member_json(shared_pack, "audit/heads.json")
    heads = json.dumps([{**head, "hash": "00" * 32}, head]).encode()
    assert "signed as a head" in broken_by(shared_pack, tmp_path, {"audit/heads.json": heads})


def test_a_segment_that_claims_to_go_further_is_found(shared_pack: bytes, tmp_path: Path):
    audit = {**member_json(shared_pack, "manifest.json")["audit"], "last": 10**9}
    assert "has another number than stated" in broken_by(shared_pack, tmp_path, {}, audit=audit)


def test_evidence_about_another_credential_than_the_list_has_is_found(shared_pack: bytes, tmp_path: Path):
    path = member_json(shared_pack, "sample/sample.json")["items"][0]["bundle"]
    changed = edited(shared_pack, path, '"status": "active"', '"status": "destroyed"')
    assert "another credential than lists/credentials.json" in broken_by(shared_pack, tmp_path, changed)


def test_a_population_of_others_than_are_listed_is_found(shared_pack: bytes, tmp_path: Path):
    made, path = b"00000000-0000-7000-8000-000000000000\n", "sample/population.csv"
    said = with_lines(shared_pack, tmp_path, path, lambda lines: [lines[0], made, *lines[1:]])
    assert "which is not in lists/credentials.json" in said


def test_evidence_that_belongs_to_no_sample_is_found(shared_pack: bytes, tmp_path: Path):
    assert broken_by(shared_pack, tmp_path, {"sample/9999-x.json": b"{}"}) == "sample/9999-x.json belongs to no sample"


def test_what_is_not_looked_into_is_said_not_to_be(shared_pack: bytes, tmp_path: Path):
    more = forged(shared_pack, {"readme.txt": b"All is well."})
    assert "what stands in readme.txt, summary.html, but for size and digest" in checked(more, tmp_path).unchecked


def test_another_verifier_in_the_pack_is_said_not_to_be_checked(shared_pack: bytes, tmp_path: Path):
    other = forged(shared_pack, {"verify.py": b"print('Holds.')"})
    assert any("verify.py" in each for each in checked(other, tmp_path).unchecked)


# ── As a ZIP that is none of ours ──


def rewritten(pack: bytes, write: Callable[[zipfile.ZipFile, str, bytes], None]) -> bytes:
    """The same files in a ZIP that is written otherwise, and sealed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(pack)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            write(new, name, old.read(name))
        new.comment = verifying.SEAL + b"0" * 64
    return sealed(out.getvalue())


def sealed(content: bytes) -> bytes:
    return content[:-64] + sha256(content[:-64]).hexdigest().encode()


def found_in(content: bytes, tmp_path: Path) -> str:
    place = tmp_path / "other.zip"
    place.write_bytes(content)
    return found(place)


def after_summary(name: str, content: bytes) -> Callable[[zipfile.ZipFile, str, bytes], None]:
    """Writes every file as it is, and one more."""

    def write(new: zipfile.ZipFile, each: str, kept: bytes) -> None:
        new.writestr(each, kept)
        if each == "summary.html":
            new.writestr(name, content)

    return write


def test_files_that_are_written_again_hold(shared_pack: bytes, tmp_path: Path):
    assert found_in(rewritten(shared_pack, lambda new, name, kept: new.writestr(name, kept)), tmp_path) == ""


def test_two_files_of_one_name_are_found(shared_pack: bytes, tmp_path: Path):
    with warnings.catch_warnings(action="ignore"):
        content = rewritten(shared_pack, after_summary("summary.html", b"All is well."))
    assert found_in(content, tmp_path) == "two files of the pack have one name"


@pytest.mark.parametrize("name", ["../../verify.py", "/etc/x", "a//b", "lists/./x.csv", "SUMMARY.html", "c:x", "ü"])
def test_a_name_that_leads_elsewhere_is_none_of_a_pack(shared_pack: bytes, tmp_path: Path, name: str):
    content = rewritten(shared_pack, after_summary(name, b"x"))
    assert "is no name of a file in a pack" in found_in(content, tmp_path)


def test_a_bomb_is_not_unpacked(shared_pack: bytes, tmp_path: Path):
    content = rewritten(shared_pack, after_summary("zeros", bytes(1 << 25)))
    assert found_in(content, tmp_path).startswith(f"zeros unpacks to {1 << 25} bytes out of ")


def test_another_way_of_packing_is_none_of_a_pack(shared_pack: bytes, tmp_path: Path):
    content = rewritten(shared_pack, lambda new, name, kept: new.writestr(name, kept, zipfile.ZIP_LZMA))
    assert "packed in another way" in found_in(content, tmp_path)


def test_bytes_that_belong_to_no_file_are_found(shared_pack: bytes, tmp_path: Path):
    assert "belong to no file" in found_in(sealed(b"#!/bin/sh\n" + shared_pack), tmp_path)


def test_a_line_without_end_is_not_read_into_memory(shared_pack: bytes, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(verifying, "LONGEST", 1 << 16)
    long = f'[\n{{"id": "{"x" * (1 << 17)}"}}\n]\n'.encode()
    assert "a line that is longer than any" in broken_by(shared_pack, tmp_path, {"lists/owners.json": long})


@pytest.mark.parametrize(
    "content",
    [
        b"[\n\xff\xfe\n]\n",
        b"[\n" + b"[" * 200_000 + b"\n]\n",
        b"[\n" + b"9" * 9_999 + b"\n]\n",
        b"[\nnull\n]\n",
        b"[\n{}\n]\n",
        b"[\n",
        b"",
        b"{}",
        b'[\n{"id": 1e999}\n]\n',
    ],
    ids=["not UTF-8", "deep", "a huge number", "null", "no id", "no end", "empty", "no list", "infinite"],
)
def test_what_no_parser_likes_is_a_sentence_and_no_traceback(shared_pack: bytes, tmp_path: Path, content: bytes):
    assert broken_by(shared_pack, tmp_path, {"lists/owners.json": content})


def test_what_a_pack_says_does_not_move_the_cursor():
    said = verifying.printable("a\x1b[2Jb\nc" + "x" * 9_999)
    assert said.startswith("a\ufffd[2Jb\ufffdc")
    assert len(said) < 500


def test_the_name_of_the_file_is_no_command(tmp_path: Path):
    place = tmp_path / "x'; touch done; '.zip"
    (_, unpacked, _) = verifying.openssl(place, PUBLIC)
    assert str(place) in shlex.split(unpacked)


def test_every_list_of_a_pack_is_one_that_the_verifier_knows():
    assert set(verifying.LISTS) == set(sources(NOW))


def test_what_the_verifier_counts_as_live_is_what_rules_are_held_against():
    assert {status.value for status in ENDED} == set(verifying.ENDED)


@pytest.mark.parametrize(
    ("value", "cell", "is_same"),
    [
        (None, "", True),
        (None, "x", False),
        (True, "yes", True),
        (False, "yes", False),
        (-3, "-3", True),
        (0.5, "0.5", True),
        (["a", "b"], "a; b", True),
        (["=a"], "'=a", True),
        ([], "", True),
        ({"a": 1}, '{"a": 1}', True),
        ({"a": 1}, '{"a": 2}', False),
        ("=1", "'=1", True),
        ("=1", "=1", False),
        ("14 days", "1209600.000000", True),
        ("1 day 02:00:00", "93600", True),
        ("-00:00:05.5", "-5.5", True),
        ("14 days", "1", False),
        ([{"a": 1}], '[{"a": 1}]', True),
    ],
)
def test_a_cell_is_compared_in_the_words_of_the_csv(value: object, cell: str, is_same: bool):
    assert verifying.same(value, cell) is is_same
