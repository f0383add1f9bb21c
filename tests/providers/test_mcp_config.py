"""Secrets delivered into client configuration: one value replaced, every other byte as it was."""

import secrets
from pathlib import Path

import pytest

from providers.base import Delivered, Secret
from providers.errors import Permanent, Refused
from providers.folders import Folders
from providers.literals import document, find, parts, replaced, secret_part
from providers.mcp_config import ConfigSink

OLD, NEW = f"sk-{secrets.token_urlsafe(24)}", f"sk-{secrets.token_urlsafe(24)}"

JSONC = """\ufeff{
  // the old one was OLD
  "servers": {
    "a": {"env": {"TOKEN": "OLD", "OTHER": "kept",}, /* why */ "args": ["--api-key=OLD"]},
    'b': {url: "https://me:OLD@db.example/x", "headers": {"Authorization": "Bearer OLD"}},
  }
}
"""
TOML = '# OLD\n[mcp_servers.a]\ncommand = "npx"   # kept\nenv = { TOKEN = "OLD", B = \'OLD\' }\n'
YAML = 'extensions:\n  a:  # OLD\n    envs:\n      TOKEN: OLD\n      B: \'OLD\'\n    args: ["-e", "KEY=OLD"]\n'


@pytest.fixture
def sink(tmp_path: Path) -> ConfigSink:
    return ConfigSink(Folders([tmp_path]))


@pytest.mark.parametrize(
    ("place", "text", "changed"),
    [
        ("mcp.json#/servers/a/env/TOKEN", JSONC, '{"TOKEN": "OLD"'),
        ("mcp.json#/servers/a/args/0", JSONC, '"--api-key=OLD"'),
        ("mcp.json#/servers/b/url", JSONC, "me:OLD@"),
        ("mcp.json#/servers/b/headers/Authorization", JSONC, "Bearer OLD"),
        ("config.toml#/mcp_servers/a/env/TOKEN", TOML, 'TOKEN = "OLD"'),
        ("config.toml#/mcp_servers/a/env/B", TOML, "B = 'OLD'"),
        ("config.yaml#/extensions/a/envs/TOKEN", YAML, "TOKEN: OLD"),
        ("config.yaml#/extensions/a/envs/B", YAML, "B: 'OLD'"),
        ("config.yaml#/extensions/a/args/1", YAML, "KEY=OLD"),
    ],
)
def test_the_one_value_is_replaced_and_nothing_else(
    sink: ConfigSink, tmp_path: Path, place: str, text: str, changed: str
) -> None:
    name, _, pointer = place.partition("#")
    path = tmp_path / name
    path.write_bytes(text.replace("OLD", OLD).encode())
    path.chmod(0o640)
    location = f"file://{path}#{pointer}"
    assert pointer in sink.check(location)
    sink.store(location, Delivered(secret=Secret(NEW)), request_key="op:1")
    assert path.read_bytes() == text.replace("OLD", OLD).encode()
    sink.promote(location, request_key="op:1")
    sink.promote(location, request_key="op:1")
    wanted = text.replace(changed, changed.replace("OLD", NEW)).replace("OLD", OLD)
    assert path.read_bytes() == wanted.encode()
    assert path.stat().st_mode & 0o777 == 0o640
    for found in (sink.read(location), sink.read(location, request_key="op:1")):
        assert found is not None
        assert found.secret.reveal() == NEW
    sink.roll_back(location, request_key="op:1")
    assert path.read_bytes() == text.replace("OLD", OLD).encode()
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_settled_nothing_is_left_beside(sink: ConfigSink, tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(JSONC.replace("OLD", OLD))
    location = f"file://{path}#/servers/a/env/TOKEN"
    sink.store(location, Delivered(secret=Secret(NEW)), request_key="op:1")
    assert sink.read(location, request_key="op:2") is None
    sink.promote(location, request_key="op:1")
    sink.settle(location, request_key="op:1")
    assert [each.name for each in tmp_path.iterdir()] == ["mcp.json"]
    assert path.read_text().count(NEW) == 1


@pytest.mark.parametrize(
    ("text", "pointer", "said"),
    [
        ('{"a": "${env:TOKEN}"}', "/a", "holds a reference"),
        ('{"a": "Bearer ${TOKEN}"}', "/a", "holds a reference"),
        ('{"a": 7}', "/a", "no text at"),
        ('{"a": "x"}', "/b", "no text at"),
        ('{"a": ', "/a", "cannot be read"),
    ],
)
def test_what_cannot_be_replaced_is_named(sink: ConfigSink, tmp_path: Path, text: str, pointer: str, said: str) -> None:
    (tmp_path / "mcp.json").write_text(text)
    with pytest.raises(Permanent, match=said):
        sink.check(f"file://{tmp_path}/mcp.json#{pointer}")
    assert (tmp_path / "mcp.json").read_text() == text


def test_an_alias_is_not_replaced_with_what_it_stands_for(sink: ConfigSink, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"a: &token {OLD}\nb: *token\n")
    with pytest.raises(Permanent, match="without changing something else"):
        sink.check(f"file://{path}#/a")


def test_only_listed_folders_are_written_to(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="KEYREEVE_DELIVERY_FOLDERS"):
        ConfigSink(Folders()).check(f"file://{tmp_path}/mcp.json#/a")


@pytest.mark.parametrize("location", ["", "file:///a", "file:///a#b", "file:///a/../b#/c", "env://A#/b"])
def test_a_location_is_a_file_and_a_pointer(sink: ConfigSink, location: str) -> None:
    with pytest.raises(Permanent):
        sink.check(location)


@pytest.mark.parametrize(
    "value",
    ["S", "Bearer S", "token S", "--api-key=S", "NAME=S", "Authorization: Bearer S", "X-API-Key: S", "p://u:S@h/d"],
)
def test_the_secret_part_of_a_value_is_known_by_what_stands_around_it(value: str) -> None:
    assert secret_part(value.replace("S", OLD)) == OLD
    assert OLD in parts(value.replace("S", OLD))


def test_escaped_spellings_are_found() -> None:
    read = document(rb'{"a": "\u0078\/y\"z\u00e9-long"}', "mcp.json")
    found = find(read, "/a")
    assert found is not None
    assert found.value == 'x/y"z\u00e9-long'
    with pytest.raises(Permanent, match="change it by hand"):
        replaced(read, found, found.value, "${env:A}")  # each part is spelled in a way of its own
    read = document(rb'{"a": "x\/y"}', "mcp.json")
    found = find(read, "/a")
    assert found is not None
    assert replaced(read, found, "x/y", "${env:A}") == '{"a": "${env:A}"}'
