"""Secrets delivered to files: whole ones, assignments of environment files, members of JSON objects."""

import contextlib
import json
import os
import resource
import secrets
import subprocess
from pathlib import Path

import pytest

from providers.base import Delivered, Secret
from providers.errors import Permanent, ProviderError, Refused, Transient
from providers.files import FileSink
from providers.folders import Folders

OLD, NEW = secrets.token_urlsafe(24), secrets.token_urlsafe(24)


@pytest.fixture
def sink(tmp_path: Path) -> FileSink:
    return FileSink(Folders([tmp_path]))


def delivered(secret: str = NEW, external_id: str = "") -> Delivered:
    return Delivered(secret=Secret(secret), external_id=external_id)


def shown(found: Delivered | None) -> tuple[str, str] | None:
    return None if found is None else (found.secret.reveal(), found.external_id)


def rotate(sink: FileSink, location: str, key: str = "op:1", what: Delivered | None = None) -> None:
    sink.store(location, what or delivered(), request_key=key)
    sink.promote(location, request_key=key)


def test_what_is_pending_no_consumer_reads(sink: FileSink, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(OLD)
    location = f"file://{tmp_path}/token"
    sink.store(location, delivered(), request_key="op:1")
    assert (tmp_path / "token").read_text() == OLD
    assert shown(sink.read(location)) == (OLD, "")
    assert shown(sink.read(location, request_key="op:1")) == (NEW, "")
    assert sink.read(location, request_key="op:2") is None
    beside = [path for path in tmp_path.iterdir() if path.name != "token"]
    assert [(path.name[0], path.stat().st_mode & 0o777) for path in beside] == [(".", 0o600)]


def test_promoted_it_is_read_and_settled_nothing_is_left_beside(sink: FileSink, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{OLD}\n")
    location = f"file://{tmp_path}/token"
    rotate(sink, location)
    sink.promote(location, request_key="op:1")
    assert (tmp_path / "token").read_text() == f"{NEW}\n"
    assert shown(sink.read(location, request_key="op:1")) == (NEW, "")
    sink.settle(location, request_key="op:1")
    sink.settle(location, request_key="op:1")
    assert [path.name for path in tmp_path.iterdir()] == ["token"]
    assert shown(sink.read(location)) == (NEW, "")


def test_a_new_file_is_readable_by_keyreeve_alone(sink: FileSink, tmp_path: Path) -> None:
    rotate(sink, f"file://{tmp_path}/token")
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_an_existing_file_keeps_its_owner_and_group_and_is_closed_to_others(sink: FileSink, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"TOKEN={OLD}\n")
    (tmp_path / ".env").chmod(0o644)
    if os.geteuid() == 0:
        os.chown(tmp_path / ".env", 4242, 4243)
    before = (tmp_path / ".env").stat()
    assert "may read it" in sink.check(f"file://{tmp_path}/.env#TOKEN")
    rotate(sink, f"file://{tmp_path}/.env#TOKEN")
    after = (tmp_path / ".env").stat()
    assert (after.st_uid, after.st_gid, after.st_mode & 0o777) == (before.st_uid, before.st_gid, 0o640)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# ours\nA=1\nTOKEN={}\nB=2 # two\n", "# ours\nA=1\nTOKEN={}\nB=2 # two\n"),
        ("export TOKEN='{}'  # kept\r\nB=2", "export TOKEN='{}'  # kept\r\nB=2"),
        ('  TOKEN = "{}"\n\n\n', '  TOKEN = "{}"\n\n\n'),
        ("TOKEN=first\nTOKEN={}\n", "TOKEN=first\nTOKEN={}\n"),
        ("MY_TOKEN=x\nA=1", "MY_TOKEN=x\nA=1\nTOKEN={}\n"),
        ("", "TOKEN={}\n"),
        ("\ufeffTOKEN={}\n", "\ufeffTOKEN={}\n"),
    ],
)
def test_all_else_in_an_environment_file_stays(sink: FileSink, tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "app.env"
    path.write_bytes(before.format(OLD).encode())
    rotate(sink, f"file://{path}#TOKEN")
    assert path.read_bytes() == after.format(NEW).encode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{{"a": [1,  2], "TOKEN":"{}" , "z": null}}', '{{"a": [1,  2], "TOKEN":"{}" , "z": null}}'),
        ('{{\n  "a": {{"TOKEN": "inner"}}\n}}\n', '{{\n  "a": {{"TOKEN": "inner"}},\n  "TOKEN": "{}"\n}}\n'),
        ("{{}}", '{{"TOKEN": "{}"}}'),
    ],
)
def test_all_else_in_a_json_object_stays(sink: FileSink, tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "app.json"
    path.write_text(before.format(OLD))
    rotate(sink, f"file://{path}#TOKEN")
    assert path.read_text() == after.format(NEW)


@pytest.mark.parametrize("name", ["app.env", "app.json"])
def test_the_id_goes_beside_the_secret(sink: FileSink, tmp_path: Path, name: str) -> None:
    location = f"file://{tmp_path}/{name}#SECRET,ID"
    rotate(sink, location, what=delivered(external_id="AKIA1"))
    assert shown(sink.read(location)) == (NEW, "AKIA1")
    rotate(sink, location, "op:2", delivered(OLD, "AKIA2"))
    assert shown(sink.read(location)) == (OLD, "AKIA2")
    sink.roll_back(location, request_key="op:2")
    assert shown(sink.read(location)) == (NEW, "AKIA1")


@pytest.mark.parametrize(
    ("name", "content"),
    [("app.env", "A=1\n"), ("app.json", '{\n  "A": "1"\n}\n'), ("one.json", "{}"), ("token", None), ("token", "x\n")],
)
def test_the_way_back_leaves_the_file_as_it_was(sink: FileSink, tmp_path: Path, name: str, content: str | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    location = f"file://{path}" + ("" if name == "token" else "#TOKEN")
    rotate(sink, location)
    assert shown(sink.read(location)) == (NEW, "")
    sink.roll_back(location, request_key="op:1")
    sink.roll_back(location, request_key="op:1")
    assert (path.read_text() if path.exists() else None) == content
    assert [each.name for each in tmp_path.iterdir()] == ([] if content is None else [name])


def test_a_pending_version_is_dropped_by_the_way_back(sink: FileSink, tmp_path: Path) -> None:
    location = f"file://{tmp_path}/token"
    sink.store(location, delivered(), request_key="op:1")
    sink.roll_back(location, request_key="op:1")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Permanent, match="Nothing is pending"):
        sink.promote(location, request_key="op:1")


def test_another_request_touches_nothing_of_this_one(sink: FileSink, tmp_path: Path) -> None:
    location = f"file://{tmp_path}/token"
    sink.store(location, delivered(), request_key="op:1")
    sink.roll_back(location, request_key="op:2")
    sink.settle(location, request_key="op:2")
    assert shown(sink.read(location, request_key="op:1")) == (NEW, "")


@pytest.mark.parametrize("secret", ["plain", "two words", "it's", 'a"b$c`d\\e', "a#b", " lead", "pässwörd"])
@pytest.mark.parametrize("before", ["", "TOKEN=x\n", "TOKEN='x'\n", 'TOKEN="x"\n'])
def test_a_shell_reads_from_an_environment_file_what_was_delivered(
    sink: FileSink, tmp_path: Path, secret: str, before: str
) -> None:
    path = tmp_path / "app.env"
    path.write_text(before)
    rotate(sink, f"file://{path}#TOKEN", what=delivered(secret))
    assert shown(sink.read(f"file://{path}#TOKEN")) == (secret, "")
    script = f'. {path}; printf %s "$TOKEN"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout.decode() == secret


def test_several_lines_go_into_a_whole_file_only(sink: FileSink, tmp_path: Path) -> None:
    rotate(sink, f"file://{tmp_path}/key.pem", what=delivered("-----\nabc\n-----"))
    with pytest.raises(Permanent, match="several lines"):
        sink.store(f"file://{tmp_path}/app.env#KEY", delivered("a\nb"), request_key="op:1")


# ── Where nothing is written ───────────────────────────────────────────────────────────────────────
def test_only_listed_folders_are_written_to(sink: FileSink, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for ask in (sink.check, sink.read):
        with pytest.raises(Refused, match="KEYREEVE_DELIVERY_FOLDERS"):
            ask(f"file://{elsewhere}/token")
    with pytest.raises(Refused):
        FileSink(Folders()).check(f"file://{elsewhere}/token")


@pytest.mark.parametrize("what", ["file", "folder"])
def test_no_link_is_followed(
    sink: FileSink, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, what: str
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "token").write_text(OLD)
    if what == "file":
        (tmp_path / "token").symlink_to(elsewhere / "token")
        location = f"file://{tmp_path}/token"
    else:
        (tmp_path / "inner").symlink_to(elsewhere)
        location = f"file://{tmp_path}/inner/token"
    for ask in (lambda: sink.check(location), lambda: rotate(sink, location), lambda: sink.read(location)):
        with pytest.raises(Permanent, match="link"):
            ask()
    assert (elsewhere / "token").read_text() == OLD
    assert [path.name for path in elsewhere.iterdir()] == ["token"]


@pytest.mark.parametrize(
    "location",
    [
        *("", "token", "file://relative", "file:///a/../b", "file:///a/", "env://X", "file:///a/.keyreeve-x"),
        *("file:///a#", "file:///a#A,A", "file:///a#A,", "file:///a#a b"),
    ],
)
def test_a_location_names_a_file_and_perhaps_values(sink: FileSink, location: str) -> None:
    with pytest.raises(Permanent):
        sink.check(location)


@pytest.mark.parametrize(
    ("content", "key"),
    [(b"\xff\xfe\x00", "#T"), (b"{broken", "#T"), (b'{"T": 7}', "#T"), (b"[1]\n{", "#T"), (b"x" * 2_000_000, "")],
)
def test_a_file_of_another_kind_is_left_as_it_is(sink: FileSink, tmp_path: Path, content: bytes, key: str) -> None:
    path = tmp_path / "app.json"
    path.write_bytes(content)
    if content == b"[1]\n{":
        rotate(sink, f"file://{path}{key}")  # no object, so it is lines
        assert path.read_bytes().startswith(content)
        return
    with pytest.raises(Permanent):
        rotate(sink, f"file://{path}{key}")
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["app.json"]


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "big.env").write_text("A=" + "x" * 5_000 + f"\nTOKEN={OLD}\n")
    sink, location = FileSink(Folders([tmp_path])), f"file://{tmp_path}/big.env#TOKEN"
    sink.store(location, delivered(), request_key="op:1")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    try:
        with pytest.raises(ProviderError, match="larger than may be written"):
            sink.promote(location, request_key="op:1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert shown(sink.read(location)) == (OLD, "")
    sink.promote(location, request_key="op:1")
    assert shown(sink.read(location)) == (NEW, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root mounts a file system.")
@pytest.mark.parametrize(
    ("options", "said", "error"),
    [("size=16k", "the disk is full", Transient), ("size=64k,ro", "read-only", Permanent)],
)
def test_a_file_system_that_takes_nothing_is_named(
    tmp_path: Path, options: str, said: str, error: type[Exception]
) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", tmp_path]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("No file system may be mounted here.")
    try:
        if "ro" not in options:
            with contextlib.suppress(OSError), (tmp_path / "fill").open("wb", buffering=0) as fill:
                while fill.write(b"x" * 4096):
                    pass
        with pytest.raises(error, match=said):
            FileSink(Folders([tmp_path])).store(f"file://{tmp_path}/token", delivered(), request_key="op:1")
        assert [path.name for path in tmp_path.iterdir() if path.name != "fill"] == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    sink = FileSink(Folders([tmp_path / "inner"]))
    (tmp_path / "inner").rmdir()
    with pytest.raises(Permanent, match="not there"):
        sink.check(f"file://{tmp_path}/inner/token")


def test_what_is_damaged_beside_the_file_is_named_and_not_quoted(sink: FileSink, tmp_path: Path) -> None:
    location = f"file://{tmp_path}/token"
    sink.store(location, delivered(), request_key="op:1")
    (beside,) = tmp_path.iterdir()
    beside.write_text(json.dumps({"secret": NEW}))
    with pytest.raises(Permanent, match="damaged") as refused:
        sink.promote(location, request_key="op:1")
    assert NEW not in repr(refused.value)
