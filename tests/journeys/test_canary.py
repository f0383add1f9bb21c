"""Secrets are planted at every door and searched at every exit. None may come out."""

import base64
import json
import logging
import os
import secrets
import string
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connection as database
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from access.actors import Actor
from access.models import ApiToken, User
from access.roles import Role
from audit.models import AuditEntry
from config.actions import issue_token
from inventory.actions.connections import create_connection
from inventory.connection_forms import FORMS
from inventory.engine import sync
from inventory.models import Connection, Credential, Exposure, McpClient, McpServer, Owner
from inventory.states import ConnectionKind
from inventory.tasks import sync_connection
from lifecycle.actions.evaluation import evaluate
from lifecycle.models import Finding
from lifecycle.rules import RULES

ACTOR = Actor.system("tests")
ALPHABET = string.ascii_letters + string.digits
pytestmark = pytest.mark.django_db(transaction=True)


def random_text(length: int, alphabet: str = ALPHABET) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


class Canaries:
    """Fresh secrets by door; `found_in` says which of them, or of their encodings, stand in a text."""

    def __init__(self) -> None:
        self.planted: dict[str, str] = {}

    def plant(self, door: str, value: str) -> str:
        self.planted[door] = value
        return value

    def found_in(self, text: str) -> list[str]:
        found = []
        for door, value in self.planted.items():
            shapes = {value, value[4:-4], base64.b64encode(value.encode()).decode().rstrip("="), value[::-1]}
            if any(shape in text for shape in shapes):
                found.append(door)
        return found


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture
def estate(tmp_path: Path, canaries: Canaries) -> Path:
    """Configuration of several clients with a secret behind every door that is known."""
    plant = canaries.plant
    basic = base64.b64encode(f"robot:{plant('basic', random_text(24))}".encode()).decode()
    servers = {
        "env": {
            "command": "npx",
            "args": ["-y", "@example/github@1.2.3"],
            "env": {
                "GITHUB_TOKEN": plant("env", "ghp_" + random_text(36)),
                "UNKNOWN_API_KEY": plant("env of an unknown format", random_text(44)),
                "DATABASE_URL": f"postgresql://app:{plant('connection string', random_text(28))}@db.example/app",
                "EXTRA_HEADERS": json.dumps({"X-Api-Key": plant("inline JSON", random_text(40))}),
                "FALLBACK_TOKEN": "${TOKEN:-" + plant("default of a reference", random_text(40)) + "}",
            },
        },
        "args": {
            "command": "node",
            "args": [
                "server.js",
                "--api-key",
                plant("argument", random_text(40)),
                f"--token={plant('joined argument', random_text(40))}",
            ],
        },
        "bridge": {
            "command": "npx",
            "args": [
                "mcp-remote",
                "https://mcp.example/sse",
                "--header",
                f"Authorization: Bearer {plant('header argument', random_text(40))}",
            ],
        },
        "docker": {
            "command": "docker",
            "args": ["run", "-i", "-e", f"SLACK_TOKEN={plant('docker', 'xoxb-' + random_text(40))}", "example/slack"],
        },
        "headers": {
            "type": "http",
            "url": "https://mcp.example/mcp",
            "headers": {"Authorization": f"Bearer {plant('header', random_text(48))}", "X-Basic": f"Basic {basic}"},
        },
        "query": {"url": f"https://mcp.example/mcp?api_key={plant('query', random_text(40))}&team=a"},
        "userinfo": {"url": f"https://robot:{plant('userinfo', random_text(30))}@mcp.example/mcp"},
        "oauth": {
            "url": "https://mcp.example/oauth",
            "oauth": {"clientId": "abc", "clientSecret": plant("client secret", random_text(40))},
        },
        "envfile": {"command": "uvx", "args": ["example"], "envFile": "${workspaceFolder}/.env"},
    }
    repo = tmp_path / "repo"
    (repo / ".cursor").mkdir(parents=True)
    (repo / ".vscode").mkdir()
    (repo / ".codex").mkdir()
    (repo / ".mcp.json").write_text(json.dumps({"mcpServers": servers}))
    (repo / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": {"env": servers["env"]}}))
    (repo / ".vscode" / "mcp.json").write_text(
        '{ // a comment\n "servers": {"x": {"command": "x", "env": {"TOKEN": "'
        + plant("file that does not parse", "ghp_" + random_text(36))
        + '"}}, \n broken'
    )
    (repo / ".env").write_text(f"OPENAI_API_KEY={plant('env file', 'sk-proj-' + random_text(60))}\n")
    (repo / ".codex" / "config.toml").write_text(
        f'[mcp_servers.toml]\ncommand = "x"\nenv = {{ API_TOKEN = "{plant("TOML", random_text(40))}" }}\n'
    )
    (repo / "librechat.yaml").write_text(
        "mcpServers:\n  yaml:\n    url: https://mcp.example/y\n    headers:\n"
        f"      X-API-Key: {plant('YAML', random_text(40))}\n"
    )
    (repo / ".mcp.json.example").write_text(
        json.dumps({"mcpServers": {"t": {"command": "x", "env": {"KEY": plant("template", "ghp_" + random_text(36))}}}})
    )
    return repo


@pytest.fixture
def synced(estate: Path) -> Connection:
    connection = create_connection(
        kind=ConnectionKind.MCP_CONFIG, name="repo", settings={"paths": [str(estate)]}, actor=ACTOR, now=timezone.now()
    )
    sync(connection.pk, clock=timezone.now, actor=ACTOR)
    evaluate(timezone.now(), actor=ACTOR, full=True)
    return connection


def whole_database() -> Iterator[tuple[str, str]]:
    """Every row of every table as text: ours, Celery's queues, sessions."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT t::text FROM {table} t")
            for (row,) in cursor.fetchall():
                yield table, row


def test_the_doors_are_really_found(synced: Connection, canaries: Canaries) -> None:
    """Without this the other tests could pass on an empty estate."""
    assert Credential.objects.filter(storage="literal").count() >= len(canaries.planted) - 3
    assert Exposure.objects.filter(file__endswith=".vscode/mcp.json").exists()


def test_no_secret_is_in_the_database_or_in_a_queue(synced: Connection, canaries: Canaries) -> None:
    sync_connection.delay(str(synced.pk))
    leaks = {(table, door) for table, row in whole_database() for door in canaries.found_in(row)}
    assert leaks == set()


def urls(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from urls(pattern.url_patterns, prefix + str(pattern.pattern))
        else:
            yield "/" + prefix + str(pattern.pattern)


def subjects() -> dict[str, list[str]]:
    """Keys of everything that has pages, by what it is."""
    found: dict[str, list[str]] = {
        model.__name__: [str(pk) for pk in model.objects.values_list("pk", flat=True)]
        for model in (Credential, McpServer, McpClient, Owner, Connection, Exposure)
    }
    # One of each rule: what a finding shows of its subject stands on that one's pages too.
    found["Finding"] = [str(row.pk) for row in Finding.objects.order_by("rule", "pk").distinct("rule")]
    return {kind: keys for kind, keys in found.items() if keys}


def asked_for(browser: Client, url: str, found: dict[str, list[str]]) -> Iterator[str]:
    """The addresses of a page for everything that it shows: it knows some of a kind, or none of that kind."""
    part = url[url.index("<") : url.index(">") + 1]
    for keys in found.values():
        tried = [url.replace(part, key) for key in {keys[0], keys[-1]}]
        if any(browser.get(each).status_code not in {404, 405} for each in tried):
            yield from (url.replace(part, key) for key in keys)
        else:
            yield tried[0]


def test_no_secret_is_on_a_page_in_the_api_or_in_an_export(synced: Connection, canaries: Canaries) -> None:
    user = User.objects.create_user("auditor", "auditor@example.org", random_text(20))
    user.groups.add(Group.objects.get(name="administrator"))
    browser = Client(raise_request_exception=False)
    browser.force_login(user)
    asked, shown, leaks = 0, 0, set()
    found = subjects()
    seqs = list(AuditEntry.objects.values_list("seq", flat=True))
    for url in urls(get_resolver().url_patterns):
        if "logout" in url or ("^" in url and "\\." in url and "format" in url):
            continue
        if "<uuid:" in url or "<pk>" in url:
            wanted = list(asked_for(browser, url, found))
        elif "<int:" in url:
            part = url[url.index("<") : url.index(">") + 1]
            wanted = [url.replace(part, str(seq)) for seq in seqs]
        elif "<slug:" in url:
            part = url[url.index("<") : url.index(">") + 1]
            wanted = [url.replace(part, slug) for slug in (*RULES, *FORMS)]
        elif "<" in url:
            continue
        else:
            wanted = [url, f"{url}?format=csv", f"{url}?q=env"]
        for each in wanted:
            response = browser.get(each.replace("^", "").replace("$", "").replace("\\Z", ""))
            assert response.status_code < 500, each
            content = b"".join(response.streaming_content) if response.streaming else response.content
            asked += 1
            shown += response.status_code == 200
            leaks |= {(each, door) for door in canaries.found_in(content.decode(errors="replace"))}
            leaks |= {(each, door) for door in canaries.found_in(str(response.headers))}
    assert asked > 500
    assert shown > 500
    assert leaks == set()


@pytest.fixture
def operator() -> Client:
    user = User.objects.create_user("operator", "operator@example.org", random_text(20))
    user.groups.add(Group.objects.get(name="operator"))
    browser = Client()
    browser.force_login(user)
    return browser


PASTED = {
    "a token": lambda: "ghp_" + random_text(36),
    "noise": lambda: random_text(64),
    "an address with a password": lambda: f"https://robot:{random_text(30)}@mcp.example/mcp",
    "a token behind env://": lambda: "env://ghp_" + random_text(36),
}


@pytest.mark.parametrize("kind", FORMS)
def test_secrets_pasted_into_every_field_of_a_connection_come_out_nowhere(
    operator: Client, canaries: Canaries, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    existing = create_connection(
        kind=ConnectionKind(kind), name="existing", settings={}, actor=ACTOR, now=timezone.now()
    )
    said = ""
    with caplog.at_level(logging.DEBUG):
        for address in (f"/connections/new/{kind}/", f"/connections/{existing.pk}/edit/"):
            for door, make in PASTED.items():
                form = {name: make() for name in [*FORMS[kind].base_fields, "next", "kind"]}
                for name, value in form.items():
                    canaries.plant(f"{door} as {name} at {address}", value.partition("://ghp_")[2] or value)
                for asked in ({}, {"test": "yes"}):
                    answer = operator.post(address, {**form, **asked})
                    assert answer.status_code == 422
                    said += answer.content.decode() + str(answer.headers)
    assert canaries.found_in(said) == []
    assert canaries.found_in(caplog.text) == []
    assert {(table, door) for table, row in whole_database() for door in canaries.found_in(row)} == set()


def test_no_secret_is_in_the_log(estate: Path, canaries: Canaries, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        connection = create_connection(
            kind=ConnectionKind.MCP_CONFIG, name="r", settings={"paths": [str(estate)]}, actor=ACTOR, now=timezone.now()
        )
        sync(connection.pk, clock=timezone.now, actor=ACTOR)
    assert caplog.text
    assert canaries.found_in(caplog.text) == []


@pytest.mark.parametrize("arguments", [["--format", "text"], ["--format", "json", "-v", "3"]])
def test_no_secret_is_printed_by_the_command_line(estate: Path, canaries: Canaries, arguments: list[str]) -> None:
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "discover", str(estate), *arguments]
    said = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert "env" in said.stdout
    assert canaries.found_in(said.stdout + said.stderr) == []


def test_an_api_token_is_kept_only_as_a_digest() -> None:
    user = User.objects.create_user("robot", "robot@example.org")
    _row, token = ApiToken.objects.create(user=user, name="canary", role="auditor")
    assert [table for table, row in whole_database() if token in row or token[8:-4] in row] == []


def test_no_secret_that_is_sent_to_a_feed_is_kept_said_or_logged(
    canaries: Canaries, caplog: pytest.LogCaptureFixture
) -> None:
    create_connection(kind=ConnectionKind.FEED, name="CMDB", settings={}, actor=ACTOR, now=timezone.now())
    token = issue_token("robot", Role.AUTOMATION, life=timedelta(days=1), actor=ACTOR)
    plant = canaries.plant
    rows = [
        {"name": "good", "external_id": "1"},
        {"name": "a", "external_id": "2", "secret": plant("field for secrets", random_text(40))},
        {"name": "a", "external_id": "3", plant("name of a field", random_text(40)): "x"},
        {"name": plant("name", "ghp_" + random_text(36)), "external_id": "4"},
        {"name": "a", "external_id": "5", "details": {"password": plant("details", random_text(40))}},
        {"name": "a", "external_id": "6", "status": plant("choice", random_text(40))},
        {"name": "a", "external_id": "7", "issued_at": plant("date", random_text(40))},
        {"name": "a", "external_id": "8", "fingerprint": plant("fingerprint", random_text(40))},
        {"name": "a", "external_id": "9", "reference": plant("reference", random_text(40))},
        {"type": plant("type", random_text(40)), "name": "a"},
        {"type": "server", "name": "a", "url": f"https://u:{plant('address', random_text(30))}@mcp.example/"},
        {"type": "use", "client": {"name": plant("what a row refers to", "sk-proj-" + random_text(60))}},
    ]
    body = "\n".join([*map(json.dumps, rows), '{"name": "' + plant("broken line", random_text(40))]).encode()
    head = {"Authorization": f"Token {token}"}
    client, said = Client(), []
    with caplog.at_level(logging.DEBUG):
        for sent, media_type in (
            (body, "application/x-ndjson"),
            (f"name,{plant('header', random_text(40))}\na,b\n".encode(), "text/csv"),
            (plant("no body at all", "ghp_" + random_text(36)).encode(), "application/x-ndjson"),
        ):
            answer = client.post("/api/v1/intake/?connection=CMDB", sent, content_type=media_type, headers=head)
            said.append(answer.content.decode())
    assert Credential.objects.get().name == "good"
    assert json.loads(said[0])["rows"]["refused"] == len(rows)
    assert canaries.found_in("".join(said)) == []
    assert canaries.found_in(caplog.text) == []
    assert {(table, door) for table, row in whole_database() for door in canaries.found_in(row)} == set()
