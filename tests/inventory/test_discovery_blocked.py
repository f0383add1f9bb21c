"""What cannot be looked at is said, so that a sync does not take it for gone."""

import json
import os
from pathlib import Path

import pytest

from inventory.discovery import scan as scanning
from inventory.discovery.model import FoundFile

SERVER = {"github": {"command": "npx", "args": ["-y", "@example/github"]}}


def machine(home: Path) -> list[FoundFile]:
    found = scanning.scan(
        None, key=b"k" * 32, home=home, system="Linux", environ={}, cache_dir=None, root=home / "root"
    )
    return list(found)


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """What `chmod 000` does to everybody but root, who runs these tests on some machines."""
    scandir, lstat = os.scandir, os.lstat

    def closed(path: object) -> bool:
        return str(path).startswith(f"{folder}/")

    def no_scandir(path: object = ".") -> object:
        if str(path) == str(folder) or closed(path):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)  # type: ignore[call-overload]

    def no_lstat(path: object, **more: object) -> os.stat_result:
        if closed(path):
            raise PermissionError(13, "Permission denied", str(path))
        return lstat(path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "scandir", no_scandir)
    monkeypatch.setattr(os, "lstat", no_lstat)


def test_a_client_s_folder_that_cannot_be_entered_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / ".cursor" / "mcp.json", {"mcpServers": SERVER})
    assert [file.error for file in machine(tmp_path)] == [None]
    forbid(monkeypatch, tmp_path / ".cursor")
    blocked = [file for file in machine(tmp_path) if file.error]
    assert {file.path for file in blocked} == {str(tmp_path / ".cursor")}
    assert len(blocked) == 1


def test_a_folder_that_is_not_there_is_no_news(tmp_path: Path) -> None:
    assert machine(tmp_path) == []


def test_more_files_than_are_looked_at_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_MAX_GLOB_HITS", 2)
    for i in range(4):
        write(tmp_path / ".kiro" / "agents" / f"a{i}.json", {"mcpServers": SERVER})
    errors = [file for file in machine(tmp_path) if file.error]
    assert [file.path for file in errors] == [str(tmp_path / ".kiro" / "agents")]


def test_a_broken_settings_file_that_speaks_of_mcp_is_reported(tmp_path: Path) -> None:
    settings = tmp_path / "repo" / ".vscode" / "settings.json"
    write(settings, {"mcp": {"servers": SERVER}})
    settings.write_text(settings.read_text()[:-1])
    (found,) = scanning.scan(
        [tmp_path / "repo"], key=b"k" * 32, home=tmp_path, system="Linux", environ={}, cache_dir=None
    )
    assert found.path == str(settings)
    assert found.error
