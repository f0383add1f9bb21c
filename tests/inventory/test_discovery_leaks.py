"""Secrets in places where nobody expects one: they are found, or at least not shown."""

import json
import secrets
import string
from pathlib import Path
from typing import Any

import pytest

from inventory.discovery.listing import rows
from inventory.discovery.model import Class, FoundFile
from inventory.discovery.scan import scan

KEY = b"k" * 32
ALPHABET = string.ascii_letters + string.digits


@pytest.fixture
def secret() -> str:
    return "aB3" + "".join(secrets.choice(ALPHABET) for _ in range(40))


def found(folder: Path, body: dict[str, Any]) -> FoundFile:
    (folder / ".mcp.json").write_text(json.dumps({"mcpServers": {"one": body}}))
    (file,) = scan([folder], key=KEY, home=folder, system="Linux", environ={}, cache_dir=None)
    return file


def said(file: FoundFile) -> str:
    return repr(file) + repr(list(rows(file, scope="c", host="h")))


def literals(file: FoundFile) -> list[str]:
    return [each.pointer for each in file.servers[0].credentials if each.class_ is Class.LITERAL]


@pytest.mark.parametrize(
    "value",
    [
        "secret:{}",
        "vault:{}",
        "pass:{}",
        "env:{}",
        "${{{}}}",
        "{{{{ {} }}}}",
        "{{{{'{}'}}}}",
        "${{input:{}}}",
        "{{secret:{}}}",
    ],
)
def test_a_secret_where_the_name_of_one_belongs_is_a_literal(tmp_path: Path, secret: str, value: str) -> None:
    file = found(tmp_path, {"command": "x", "env": {"API_KEY": value.format(secret)}})
    assert secret not in said(file)
    assert literals(file) == ["/env/API_KEY"]


def test_a_secret_in_place_of_its_variable_s_name_is_a_literal(tmp_path: Path, secret: str) -> None:
    file = found(tmp_path, {"url": "https://mcp.example/mcp", "bearer_token_env_var": secret})
    assert secret not in said(file)
    assert literals(file) == ["/bearer_token_env_var"]


def test_a_known_token_in_place_of_its_variable_s_name_is_a_literal(tmp_path: Path) -> None:
    token = "ghp_" + "".join(secrets.choice(ALPHABET) for _ in range(36))
    file = found(tmp_path, {"url": "https://mcp.example/mcp", "bearer_token_env_var": token})
    assert token not in said(file)
    assert literals(file) == ["/bearer_token_env_var"]


@pytest.mark.parametrize(
    "url",
    [
        "mcp.example/mcp?token={}",
        "localhost:8000/mcp?api_key={}",
        "robot:{}@mcp.example/mcp",
        "https:/robot:{}@mcp.example/mcp",
        "https:\\\\robot:{}@mcp.example\\mcp",
        "https://mcp.example/x;token={}/mcp",
    ],
)
def test_a_secret_in_an_address_that_is_not_well_formed_is_a_literal(tmp_path: Path, secret: str, url: str) -> None:
    file = found(tmp_path, {"url": url.format(secret)})
    assert secret not in said(file)
    assert literals(file) == ["/url"]


@pytest.mark.parametrize(
    "url", ["https://mcp.example/mcp?config={}", "https://mcp.example/mcp?{}", "mcp.example/m?c={}"]
)
def test_noise_in_a_query_is_not_shown(tmp_path: Path, secret: str, url: str) -> None:
    assert secret not in said(found(tmp_path, {"url": url.format(secret)}))


@pytest.mark.parametrize(
    "reference",
    [
        "op://a2c4e6g7h5i3j1k9l8m0n2o4p6/q1r3s5t7u9v2w4x6y8z0a1b3c5/password",
        "bws:1f0b7c52-6a7e-4d6e-9d63-3f9ac8a1e0b7",
        "vault:secret/data/prod/github#token",
        "${AZURE_OPENAI_API_KEY_2}",
        "${input:perplexityApiKeyForResearch2024}",
        "{{ secrets.PERSONAL_ACCESS_TOKEN_2 }}",
    ],
)
def test_the_name_of_a_secret_stays_a_reference(tmp_path: Path, reference: str) -> None:
    file = found(tmp_path, {"command": "x", "env": {"API_KEY": reference}})
    assert [each.class_ for each in file.servers[0].credentials] == [Class.REFERENCE]


@pytest.mark.parametrize(
    "url",
    [
        "https://mcp.example/mcp?team=4b8a1c9d7e6f5a3b2c1d0e9f8a7b6c5d",
        "https://mcp.example/mcp?project=1f0b7c52-6a7e-4d6e-9d63-3f9ac8a1e0b7",
        "localhost:8000/mcp",
        "C:\\servers\\mcp",
    ],
)
def test_an_id_in_an_address_is_shown(tmp_path: Path, url: str) -> None:
    assert found(tmp_path, {"url": url}).servers[0].url == url


@pytest.mark.parametrize(
    "body",
    [
        {"command": "docker", "args": ["run", "--odd", "{}", "image"]},
        {"command": "node", "args": ["--odd", "{}", "s.js"]},
    ],
    ids=["docker", "node"],
)
def test_the_value_of_an_unknown_option_is_no_package(tmp_path: Path, secret: str, body: dict[str, Any]) -> None:
    filled = {**body, "args": [arg.format(secret) for arg in body["args"]]}
    assert secret not in said(found(tmp_path, filled))


@pytest.mark.parametrize("url", ["http://[x", "http://\u2100/mcp", "https://[zz]/mcp"])
def test_an_address_that_is_none_becomes_rows_all_the_same(tmp_path: Path, url: str) -> None:
    assert [row.url for row in rows(found(tmp_path, {"url": url}), scope="c", host="h")] == [url]
