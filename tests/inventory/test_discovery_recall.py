"""A literal that a file holds is found again by its fingerprint, and only where the connection looks."""

import json
from pathlib import Path
from secrets import token_urlsafe

import pytest

from inventory.discovery.recall import literal
from inventory.fingerprints import fingerprint

KEY = b"a key of tests, made for them"


@pytest.fixture
def token() -> str:
    return f"at-{token_urlsafe(32)}"


def written(folder: Path, token: str, name: str = ".mcp.json") -> Path:
    entry = {"type": "http", "url": "https://mcp.example/mcp", "headers": {"Authorization": f"Bearer {token}"}}
    path = folder / name
    path.write_text(json.dumps({"mcpServers": {"one": entry}}))
    return path


def found(path: Path, place: Path, token: str) -> str | None:
    secret = literal(str(path), places=[str(place)], wanted=fingerprint(token, key=KEY), key=KEY)
    return secret.reveal() if secret else None


def test_a_literal_is_found_in_its_file(tmp_path: Path, token: str) -> None:
    path = written(tmp_path, token)
    assert found(path, tmp_path, token) == token
    assert found(path, path, token) == token  # the connection may name the file itself


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.toml", '[mcp_servers.one]\nurl = "https://mcp.example"\nbearer_token = "{token}"\n'),
        (".env", "export MCP_TOKEN={token}\n"),
    ],
)
def test_a_literal_is_found_in_every_format(tmp_path: Path, token: str, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content.replace("{token}", token))
    assert found(path, tmp_path, token) == token


def test_another_value_at_its_place_is_not_taken_for_it(tmp_path: Path, token: str) -> None:
    assert found(written(tmp_path, token_urlsafe(32)), tmp_path, token) is None


def test_a_file_elsewhere_is_not_read(tmp_path: Path, token: str) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    path = written(tmp_path / "there", token)
    assert found(path, tmp_path / "here", token) is None
    link = tmp_path / "here" / ".mcp.json"
    link.symlink_to(path)
    assert found(link, tmp_path / "here", token) is None


def test_a_file_that_is_gone_holds_nothing(tmp_path: Path, token: str) -> None:
    assert found(tmp_path / "none.json", tmp_path, token) is None
