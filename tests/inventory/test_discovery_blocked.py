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


def swept(folder: Path) -> list[FoundFile]:
    return list(scanning.scan([folder], key=b"k" * 32, home=folder, system="Linux", environ={}, cache_dir=None))


def test_a_blocked_folder_says_whose_it_is_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".cursor").mkdir()
    forbid(monkeypatch, tmp_path / ".cursor")
    (blocked,) = [file for file in machine(tmp_path) if file.error]
    assert (blocked.client, blocked.format) == ("cursor", None)
    assert "Permission denied" in str(blocked.error)


def test_a_remembered_project_that_cannot_be_entered_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "work" / "app"
    write(tmp_path / ".claude.json", {"projects": {str(project): {"mcpServers": SERVER}}})
    write(project / ".mcp.json", {"mcpServers": SERVER})
    forbid(monkeypatch, project)
    assert str(project) in {file.path for file in machine(tmp_path) if file.error}


def test_folders_deeper_than_are_looked_into_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_MAX_SWEEP_DEPTH", 1)
    write(tmp_path / "a" / "b" / ".mcp.json", {"mcpServers": SERVER})
    assert [file.path for file in swept(tmp_path) if file.error] == [str(tmp_path / "a" / "b")]


def test_a_swept_folder_that_cannot_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "closed" / ".mcp.json", {"mcpServers": SERVER})
    write(tmp_path / "open" / ".mcp.json", {"mcpServers": SERVER})
    forbid(monkeypatch, tmp_path / "closed")
    found = swept(tmp_path)
    assert [file.path for file in found if file.error] == [str(tmp_path / "closed")]
    assert [file.path for file in found if file.servers] == [str(tmp_path / "open" / ".mcp.json")]


def test_a_client_s_tree_deeper_than_is_looked_into_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "_MAX_GLOB_DEPTH", 1)
    deep = tmp_path / ".claude" / "plugins" / "cache"
    write(deep / "a" / "b" / "c" / ".mcp.json", {"mcpServers": SERVER})
    errors = [file for file in machine(tmp_path) if file.error]
    assert errors
    assert all(file.path.startswith(str(deep)) for file in errors)


@pytest.mark.parametrize("name", [".vscode/settings.json", ".zed/settings.json"])
def test_a_settings_file_cut_off_before_it_speaks_of_mcp_is_reported(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, {"editor.fontSize": 12, "mcp": {"servers": SERVER}, "mcpServers": SERVER})
    (tmp_path / name).write_text((tmp_path / name).read_text()[:14])
    assert [(file.path, bool(file.error)) for file in swept(tmp_path)] == [(str(tmp_path / name), True)]


def test_a_settings_file_that_ends_in_a_comment_and_has_nothing_of_mcp_is_no_news(tmp_path: Path) -> None:
    settings = tmp_path / ".vscode" / "settings.json"
    write(settings, {"editor.fontSize": 12})
    settings.write_text(settings.read_text() + "\n// the end\n")
    assert swept(tmp_path) == []


def test_a_path_below_a_folder_that_cannot_be_entered_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def no_stat(path: object, **more: object) -> os.stat_result:
        if str(path).startswith(str(tmp_path / "closed")):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", no_stat)
    (found,) = swept(tmp_path / "closed" / "app")
    assert found.error


def test_a_broken_file_that_names_projects_leaves_every_place_unread(tmp_path: Path) -> None:
    project = tmp_path / "src" / "planner"
    write(project / ".mcp.json", {"mcpServers": SERVER})
    state = tmp_path / ".claude.json"
    write(state, {"mcpServers": {}, "projects": {str(project): {}}})
    assert str(project / ".mcp.json") in {file.path for file in machine(tmp_path)}
    state.write_text(state.read_text()[:-1])
    assert {file.path for file in machine(tmp_path) if file.error} == {str(state), "/"}
