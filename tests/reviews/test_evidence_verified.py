"""The verifier, as an auditor runs it: a clean Python, a pack, and a key from elsewhere."""

import io
import json
import random
import shlex
import shutil
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from reviews import verifying
from reviews.packing.archive import Archive
from tests.reviews.packed import KEY, member, member_json

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
