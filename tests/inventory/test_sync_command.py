"""`manage.py sync`: connections of every kind by name, in words and in exit codes."""

import json
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from inventory.models import Connection, SyncRun
from inventory.states import ConnectionKind, RunState
from tests import factories

GOOD = '{"mcpServers": {"good": {"command": "npx", "args": ["@example/good"]}}}'
pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("good", GOOD), ("broken", "{ broken")):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".mcp.json").write_text(text)
    return tmp_path


def unreachable(name: str = "billing-db") -> Connection:
    settings = {"host": "127.0.0.1", "port": 1, "user": "reader"}
    return factories.connection(kind=ConnectionKind.POSTGRES, name=name, settings=settings)


def test_a_partial_run_says_what_was_not_read_and_is_no_failure(folder: Path, capsys: pytest.CaptureFixture[str]):
    call_command("sync", add=folder)
    said = capsys.readouterr().out
    assert "partial. read 2 files;" in said
    assert (
        "One of them could not be read. What could not be read is unknown, and nothing of it was marked gone." in said
    )
    assert f"not read: {folder}/broken/.mcp.json, line 1: " in said


def test_a_failed_run_says_why_and_exits_with_three(capsys: pytest.CaptureFixture[str]):
    connection = unreachable()
    with pytest.raises(SystemExit) as ended:
        call_command("sync", connection.name)
    said = capsys.readouterr().out
    assert ended.value.code == 3
    assert said.startswith("billing-db: failed. ")
    assert said.endswith("Nothing was marked gone.\n")
    assert SyncRun.objects.get().state == RunState.FAILED


def test_a_failure_stops_no_other_connection(folder: Path, capsys: pytest.CaptureFixture[str]):
    unreachable("a-database")
    factories.connection(name="files", settings={"paths": [str(folder / "good")]})
    with pytest.raises(SystemExit):
        call_command("sync", all=True)
    assert "files: read 1 file; " in capsys.readouterr().out


def test_what_scripts_read_holds_the_error(capsys: pytest.CaptureFixture[str]):
    connection = unreachable()
    with pytest.raises(SystemExit):
        call_command("sync", connection.name, format="json")
    (said,) = json.loads(capsys.readouterr().out)
    assert (said["connection"], said["state"], said["read"]) == ("billing-db", "failed", 0)
    assert said["error"]


def test_a_name_that_no_connection_has_is_a_wrong_call():
    with pytest.raises(CommandError, match="No connection is called nobody") as refused:
        call_command("sync", "nobody")
    assert refused.value.returncode == 2


def test_a_connection_that_another_worker_holds_is_left_to_it(folder: Path, capsys: pytest.CaptureFixture[str]):
    until = timezone.now() + timedelta(minutes=5)
    factories.connection(name="files", settings={"paths": [str(folder)]}, lease_token=uuid4(), lease_until=until)
    call_command("sync", "files")
    assert "another worker" in capsys.readouterr().err
    assert not SyncRun.objects.exists()


def test_a_feed_is_not_looked_at(capsys: pytest.CaptureFixture[str]):
    factories.connection(name="nightly", kind=ConnectionKind.FEED)
    call_command("sync", "nightly")
    assert "is sent what it holds" in capsys.readouterr().err


def test_a_name_with_brackets_is_shown_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]):
    factories.connection(name="[/bold] files", settings={"paths": [str(folder / "good")]})
    call_command("sync", "[/bold] files", progress=True)
    assert "[/bold] files: read 1 file" in capsys.readouterr().out
