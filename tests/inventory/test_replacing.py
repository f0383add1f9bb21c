"""A hard-coded literal in a client's configuration becomes a reference: seen, written, gone at the next sync."""

import secrets
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from inventory.actions.connections import create_connection
from inventory.discovery.keys import fingerprint_key
from inventory.errors import NotReplaceable
from inventory.models import Connection, Credential, Exposure, SyncRun
from inventory.replacing import preview, replace, spell
from inventory.states import ConnectionKind
from providers.errors import Refused
from tests.people import browser
from tests.syncs import ACTOR, synced

pytestmark = pytest.mark.django_db

TOKEN = f"ghp_{secrets.token_hex(18)}"
CONFIG = """{
  // ours
  "mcpServers": {
    "github": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-github@1.0.0"],
      "env": {"GITHUB_PERSONAL_ACCESS_TOKEN": "SECRET", "MODE": "fast"}},
    "remote": {"url": "https://mcp.example/mcp", "headers": {"Authorization": "Bearer SECRET"}}
  }
}
"""
ENV = "/mcpServers/github/env/GITHUB_PERSONAL_ACCESS_TOKEN"
HEADER = "/mcpServers/remote/headers/Authorization"


@pytest.fixture
def config(tmp_path: Path, settings: Settings) -> Path:
    """A project's configuration for Cursor, in a folder that may be written to."""
    settings.KEYREEVE_HOME, settings.FINGERPRINT_KEY = tmp_path / "home", b"a key of the tests alone"
    settings.DELIVERY_FOLDERS = (tmp_path,)
    path = tmp_path / "project" / ".cursor" / "mcp.json"
    path.parent.mkdir(parents=True)
    path.write_text(CONFIG.replace("SECRET", TOKEN))
    path.chmod(0o640)
    return path


@pytest.fixture
def connection(config: Path) -> Connection:
    made = create_connection(
        kind=ConnectionKind.MCP_CONFIG,
        name="project",
        settings={"paths": [str(config.parent.parent)]},
        actor=ACTOR,
        now=timezone.now(),
    )
    synced(made)
    return made


def exposure(pointer: str) -> Exposure:
    return Exposure.objects.present().select_related("credential", "connection").get(pointer=pointer)


def key(settings: Settings) -> bytes:
    return fingerprint_key(settings.KEYREEVE_HOME, settings.FINGERPRINT_KEY)[0]


def test_the_literal_becomes_a_reference_and_the_exposure_is_gone(
    connection: Connection, config: Path, settings: Settings
) -> None:
    before = config.read_text()
    change = preview(exposure(ENV), reference="GITHUB_TOKEN", key=key(settings))
    assert TOKEN not in "\n".join(change.lines())
    assert change.lines()[-1] == "+${env:GITHUB_TOKEN}"
    assert config.read_text() == before
    replace(
        exposure(ENV),
        reference="GITHUB_TOKEN",
        key=key(settings),
        actor=ACTOR,
        now=timezone.now(),
        digest=change.digest,
    )
    assert config.read_text() == before.replace(f'"{TOKEN}"', '"${env:GITHUB_TOKEN}"')
    assert config.stat().st_mode & 0o777 == 0o640
    synced(connection)
    assert not Exposure.objects.present().filter(pointer=ENV).exists()
    assert exposure(HEADER).pointer == HEADER
    entry = AuditEntry.objects.get(event=Event.EXPOSURE_REPLACED)
    assert entry.detail["reference"] == "${env:GITHUB_TOKEN}"
    assert TOKEN not in repr([*AuditEntry.objects.values(), *Credential.objects.values(), *SyncRun.objects.values()])


def test_what_stands_before_a_secret_stays(connection: Connection, config: Path, settings: Settings) -> None:
    change = replace(exposure(HEADER), reference="${env:MCP_TOKEN}", key=key(settings), actor=ACTOR, now=timezone.now())
    assert '"Authorization": "Bearer ${env:MCP_TOKEN}"' in config.read_text()
    assert change.lines()[-2].startswith("-Bearer ghp_")


def test_the_copy_beside_the_file_holds_no_secret_of_it(
    connection: Connection, config: Path, settings: Settings
) -> None:
    config.write_text(config.read_text().replace(f"Bearer {TOKEN}", "Bearer ${env:X}"))
    replace(exposure(ENV), reference="A", key=key(settings), actor=ACTOR, now=timezone.now())
    (copy,) = [path for path in config.parent.iterdir() if path.name != config.name]
    assert TOKEN not in copy.read_text()
    assert "<removed " in copy.read_text()
    assert copy.stat().st_mode & 0o777 == 0o600


def test_the_secret_goes_where_the_reference_leads(
    connection: Connection, config: Path, tmp_path: Path, settings: Settings
) -> None:
    replace(
        exposure(ENV),
        reference="GITHUB_TOKEN",
        key=key(settings),
        actor=ACTOR,
        now=timezone.now(),
        deliver_to=f"file://{tmp_path}/app.env#GITHUB_TOKEN",
    )
    assert (tmp_path / "app.env").read_text() == f"GITHUB_TOKEN={TOKEN}\n"
    assert (tmp_path / "app.env").stat().st_mode & 0o777 == 0o600


def test_a_file_that_changed_meanwhile_is_left_alone(connection: Connection, config: Path, settings: Settings) -> None:
    seen = preview(exposure(ENV), reference="A", key=key(settings))
    changed = config.read_text().replace("fast", "slow")
    config.write_text(changed)
    with pytest.raises(NotReplaceable, match="changed since"):
        replace(exposure(ENV), reference="A", key=key(settings), actor=ACTOR, now=timezone.now(), digest=seen.digest)
    config.write_text(changed.replace(TOKEN, "another-secret-of-somebody"))
    with pytest.raises(NotReplaceable, match="does not hold this secret"):
        preview(exposure(ENV), reference="A", key=key(settings))
    assert not AuditEntry.objects.filter(event=Event.EXPOSURE_REPLACED).exists()


def test_outside_of_the_operators_folders_nothing_is_written(
    connection: Connection, config: Path, settings: Settings
) -> None:
    settings.DELIVERY_FOLDERS = ()
    with pytest.raises(Refused, match="KEYREEVE_DELIVERY_FOLDERS"):
        preview(exposure(ENV), reference="A", key=key(settings))


@pytest.mark.parametrize("wrong", ["a secret", "${env:A}${env:B}", "x${env:A}", "${A:-fallback-value}", "ghp_x-y z"])
def test_only_a_reference_takes_a_literals_place(connection: Connection, wrong: str) -> None:
    with pytest.raises(NotReplaceable, match="A reference is"):
        spell(exposure(ENV), wrong)


def test_a_client_that_reads_no_variables_is_named(connection: Connection) -> None:
    row = exposure(ENV)
    row.credential_id = row.pk  # nobody's, so no client is known
    with pytest.raises(NotReplaceable, match="not known to read variables"):
        spell(row, "GITHUB_TOKEN")
    assert spell(row, "op://vault/item/field") == "op://vault/item/field"


def test_on_the_page_it_is_seen_and_then_done(connection: Connection, config: Path) -> None:
    operator = browser(Role.OPERATOR)
    url = f"/exposures/{exposure(ENV).pk}/replace/"
    page = operator.get(url, {"reference": "GITHUB_TOKEN"})
    shown = page.content.decode()
    assert "${env:GITHUB_TOKEN}" in shown
    assert TOKEN not in shown
    digest = page.context["change"].digest
    answer = operator.post(url, {"reference": "GITHUB_TOKEN", "digest": "0" * 64})
    assert answer.status_code == 422
    answer = operator.post(url, {"reference": "GITHUB_TOKEN", "digest": digest})
    assert answer.status_code == 302
    assert "${env:GITHUB_TOKEN}" in config.read_text()


def test_the_command_shows_first_and_then_does_it(
    connection: Connection, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("replace_literal", str(config), ENV, reference="A", dry_run=True)
    assert "+${env:A}" in capsys.readouterr().out
    assert "${env:A}" not in config.read_text()
    call_command("replace_literal", str(config), ENV, reference="A")
    assert "${env:A}" in config.read_text()
    with pytest.raises(CommandError, match="No literal was seen"):
        call_command("replace_literal", str(config), "/nowhere", reference="A")
