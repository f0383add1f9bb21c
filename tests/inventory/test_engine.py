"""Whole syncs over files that somebody wrote to break them: they are reported, and stop nothing else."""

import os
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from inventory.actions.connections import create_connection
from inventory.engine import sync
from inventory.errors import NoFingerprintKey
from inventory.models import Connection, McpServer, SyncRun, Use
from inventory.states import ConnectionKind, RunState
from tests.syncs import ACTOR, synced

GOOD = '{"mcpServers": {"good": {"command": "npx", "args": ["@example/good"]}}}'
pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / ".mcp.json").write_text(GOOD)
    return tmp_path


def connected(folder: Path) -> Connection:
    return create_connection(
        kind=ConnectionKind.MCP_CONFIG,
        name=str(folder)[:200],
        settings={"paths": [str(folder)]},
        actor=ACTOR,
        now=timezone.now(),
    )


@pytest.mark.parametrize("name", [r"nul \u0000", r"half a pair \ud800", "long " * 100_000], ids=["nul", "half", "long"])
def test_an_entry_that_is_no_server_is_reported_whatever_it_is_called(folder: Path, name: str) -> None:
    (folder / ".mcp.json").write_text(f'{{"mcpServers": {{"{name}": 5}}}}')
    run = synced(connected(folder))
    assert run.state == RunState.COMPLETE
    (problem,) = run.problems
    assert problem["pointer"].startswith("/mcpServers/")
    assert len(problem["pointer"]) <= 200
    assert McpServer.objects.filter(name="good").exists()


def test_a_folder_whose_name_is_no_text_is_reported(folder: Path) -> None:
    odd = os.path.join(os.fsencode(folder), b"\xff\xfe")  # noqa: PTH118  a name that `Path` would not take
    os.mkdir(odd)  # noqa: PTH102
    Path(os.fsdecode(odd), ".mcp.json").write_text("{ broken")
    run = synced(connected(folder))
    assert run.state == RunState.PARTIAL
    assert run.problems[0]["file"].endswith("/.mcp.json")
    assert McpServer.objects.filter(name="good").exists()


def test_a_file_with_a_very_long_path_that_cannot_be_read_is_not_gone(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 150) / ("e" * 150) / ("f" * 150)
    deep.mkdir(parents=True)
    (deep / ".mcp.json").write_text(GOOD)
    connection = connected(tmp_path)
    synced(connection)
    (deep / ".mcp.json").write_text("{ broken")
    assert synced(connection).counts == {}
    assert Use.objects.get().gone_at is None


def test_a_sync_without_a_lasting_key_says_so_and_touches_nothing(folder: Path, settings: Settings) -> None:
    connection = connected(folder)
    synced(connection)
    settings.FINGERPRINT_KEY = None
    with pytest.raises(NoFingerprintKey):
        sync(connection.pk, clock=timezone.now, actor=ACTOR)
    run = SyncRun.objects.latest("id")
    assert run.state == RunState.FAILED
    assert "no fingerprint key" in run.error
    assert not Use.objects.exclude(gone_at=None).exists()


def test_the_command_says_that_a_key_is_missing(folder: Path, settings: Settings) -> None:
    settings.FINGERPRINT_KEY = None
    with pytest.raises(CommandError, match="no fingerprint key") as refused:
        call_command("sync", add=folder)
    assert refused.value.returncode == 3
