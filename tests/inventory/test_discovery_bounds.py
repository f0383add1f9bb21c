"""A small hostile file costs no more than a large honest one."""

import json
import time
from pathlib import Path

import pytest

from inventory.discovery import launchers, names
from inventory.discovery.scan import scan

BOUND = 15.0  # seconds of computing; each takes a fraction of one, and minutes where it looks again and again


def server(**entry: object) -> str:
    return json.dumps({"mcpServers": {"x": {"command": "npx", **entry}}})


HOSTILE = {
    "an open interpolation": (".mcp.json", server(env={"TOKEN": "${" + "a-" * 25_000})),
    "blanks after two braces": (".mcp.json", server(env={"TOKEN": "{{" + " " * 20_000})),
    "blanks after a workflow's braces": (".mcp.json", server(env={"TOKEN": "${{" + " " * 20_000})),
    "a file of newlines": ("config", "\n" * 60_000),
    "links that begin and begin": ("README.md", "cursor://" * 20_000),
    "keys that begin and begin": (".mcp.json", server(env={"KEY": "-----BEGIN RSA PRIVATE KEY-----" * 6_000})),
    "a command of one long word": (".mcp.json", server(command="x " + "a" * 400_000)),
    "a key of many parts": ("config.toml", "a." * 20_000 + "a=1\n"),
    "a word of no word": (".mcp.json", server(env={"SOME_NAME": ("a" * 30 + "AA-") * 2_000})),
    "a name of no word": (".mcp.json", json.dumps({"mcpServers": {"a" * 40 + "AAq7": {"command": "x"}}})),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_small_hostile_file_is_read_in_time(case: str, tmp_path: Path) -> None:
    name, content = HOSTILE[case]
    (tmp_path / name).write_text(content)
    begun = time.process_time()
    list(scan([tmp_path / name], key=b"k" * 32, home=tmp_path, system="Linux", environ={}, cache_dir=None))
    assert time.process_time() - begun < BOUND


@pytest.mark.parametrize(
    "content", ["?", "1: 2", "~: {}", "true: [x]", "? [a, b]\n: c", "mcpServers: {1: {command: x}}"]
)
def test_a_yaml_key_that_is_no_text_is_survived(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(content)
    (found,) = scan(
        [tmp_path / "config.yaml"], key=b"k" * 32, home=tmp_path, system="Linux", environ={}, cache_dir=None
    )
    assert found.path.endswith("config.yaml")


def test_a_name_is_remembered_by_its_beginning() -> None:
    before = names._sense_of.cache_info().currsize
    for end in "xyz":
        names.sense_of("q7" * 100_000 + end)
    assert names._sense_of.cache_info().currsize <= before + 1


def test_a_program_is_remembered_by_its_end() -> None:
    before = launchers._basename.cache_info().currsize
    for start in "xyz":
        assert launchers.basename(start + "q/" * 100_000 + "tool.exe") == "tool"
    assert launchers._basename.cache_info().currsize <= before + 1
