"""`manage.py intake`: the same deliveries from a file or a pipe."""

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inventory.models import Connection, Credential, SyncRun
from tests.factories import connection
from tests.feeds import feed, key_of, lines

pytestmark = pytest.mark.django_db


@pytest.fixture
def cmdb() -> Connection:
    return feed()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "rows.ndjson"
    found.write_bytes(lines(key_of(1), key_of(2)))
    return found


def said(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    call_command("intake", *map(str, arguments))
    return capsys.readouterr().out


def test_a_file_is_taken_into_the_only_feed(cmdb: Connection, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, file) == (
        "CMDB: 2 rows read, 0 refused, 0 described again; 2 credentials added, 2 versions added.\n"
    )


def test_json_says_it_for_programs(cmdb: Connection, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(said(capsys, file, "--format", "json"))
    assert told["rows"]["taken"] == 2
    assert told["run"] == str(SyncRun.objects.get().pk)


def test_csv_and_packed_files_are_known_by_their_names(cmdb: Connection, tmp_path: Path) -> None:
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(b"name,external_id\na,1\n"))
    call_command("intake", str(packed))
    assert Credential.objects.get().external_id == "1"


def test_standard_input_is_read(cmdb: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"name\na\n")))
    call_command("intake", "-", "--csv")
    assert Credential.objects.get().name == "a"


def test_bad_rows_are_listed_and_the_exit_says_so(
    cmdb: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows"
    file.write_bytes(lines(key_of(1), {"name": "x", "status": "fine"}))
    with pytest.raises(SystemExit) as raised:
        call_command("intake", str(file))
    assert raised.value.code == 1
    assert "  line 2, status: This is one of active" in capsys.readouterr().out


def test_a_file_of_which_nothing_is_good_says_why(
    cmdb: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows"
    file.write_bytes(lines({"name": 1.5}))
    with pytest.raises(CommandError, match="No row could be taken") as raised:
        call_command("intake", str(file))
    assert raised.value.returncode == 3
    assert "line 1, name" in capsys.readouterr().out


def test_the_same_key_is_taken_once(cmdb: Connection, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, file, "--key", "monday")
    assert "was taken before" in said(capsys, file, "--key", "monday")
    assert SyncRun.objects.count() == 1


@pytest.mark.parametrize("arguments", [["/nowhere/at/all"], ["FILE", "--connection", "nobody"]])
def test_what_is_not_there_is_a_mistake_of_the_caller(cmdb: Connection, file: Path, arguments: list[str]) -> None:
    with pytest.raises(CommandError) as raised:
        call_command("intake", *[str(file) if each == "FILE" else each for each in arguments])
    assert raised.value.returncode == 2


def test_where_there_are_two_feeds_one_has_to_be_named(cmdb: Connection, file: Path) -> None:
    connection(kind="feed", name="HR")
    with pytest.raises(CommandError, match="CMDB, HR") as raised:
        call_command("intake", str(file))
    assert raised.value.returncode == 2
