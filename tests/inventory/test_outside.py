"""What the operator's settings open of the outside world."""

import secrets
from ipaddress import ip_address
from pathlib import Path

import pytest

from inventory.outside import guard, references
from providers.errors import Refused
from providers.guard import parse_target


def test_nothing_internal_is_open_by_default(settings):
    with pytest.raises(Refused):
        guard().check(parse_target("https://mcp.corp.example/"), [ip_address("10.0.0.1")])


def test_a_listed_network_is_open(settings):
    settings.ALLOW_NETWORKS = ("10.0.0.0/8",)
    guard().check(parse_target("http://mcp.corp.example/"), [ip_address("10.0.0.1")])
    with pytest.raises(Refused):
        guard().check(parse_target("https://mcp.corp.example/"), [ip_address("192.168.0.1")])


def test_a_listed_folder_is_read(settings, tmp_path: Path):
    secret = secrets.token_urlsafe()
    (tmp_path / "token").write_text(secret)
    settings.REFERENCE_FOLDERS = (tmp_path,)
    found = references().resolve(f"file://{tmp_path}/token", bound_to="mcp.example", host="mcp.example")
    assert found.reveal() == secret
