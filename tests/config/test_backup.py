"""What was backed up comes back whole, or the restore says why it does not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings
from django.db import connection as database
from psycopg.conninfo import make_conninfo

from access.actors import Actor
from config.backup import DUMP, MANIFEST, counted, restore
from config.errors import CannotRestore
from inventory.actions.ownership import create_owner
from inventory.states import OwnerKind
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def here(name: str) -> str:
    known = database.settings_dict
    return make_conninfo(host=known["HOST"], dbname=name, user=known["USER"])


def run(command: str, folder: Path, *more: str, name: str, home: Path) -> subprocess.CompletedProcess[str]:
    known = database.settings_dict
    url = f"postgresql://postgres@/{name}?host={known['HOST']}"
    return subprocess.run(
        [sys.executable, "manage.py", command, str(folder), *more],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATABASE_URL": url, "KEYREEVE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def empty() -> Iterator[str]:
    """The name of a database in which nothing is."""
    name = f"restored_{uuid4().hex[:8]}"
    with psycopg.connect(here("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        yield name
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.long
def test_a_backup_comes_back_with_every_row_and_a_chain_that_holds(empty: str, tmp_path: Path) -> None:
    create_owner(kind=OwnerKind.PERSON, name="Ada", email="ada@example.org", actor=Actor.system("tests"))
    factories.credential()
    old, new, folder = tmp_path / "old", tmp_path / "new", tmp_path / "backup"
    old.mkdir()
    new.mkdir()
    (old / "fingerprint.key").write_text("made at the first start")
    done = run("backup", folder, "--with-keys", name=str(database.settings_dict["NAME"]), home=old)
    assert done.returncode == 0, done.stderr
    assert "It contains secrets: fingerprint.key." in done.stdout
    assert "It does not contain chain.key" in done.stdout
    assert {path.stat().st_mode & 0o077 for path in folder.rglob("*.key")} == {0}

    done = run("restore", folder, name=empty, home=new)
    assert done.returncode == 0, done.stderr
    assert "The chain holds: 1 entry" in done.stdout
    assert (new / "fingerprint.key").read_text() == "made at the first start"
    with psycopg.connect(here(empty)) as restored, psycopg.connect(here(str(database.settings_dict["NAME"]))) as first:
        assert counted(restored) == counted(first)
        assert restored.execute("SELECT name FROM inventory_owner").fetchall() == [("Ada",)]
        with pytest.raises(psycopg.Error):  # what protects the trail is back too
            restored.execute("DELETE FROM audit_auditentry")

    again = run("restore", folder, name=empty, home=new)
    assert again.returncode == 3
    assert "The database is not empty" in again.stderr

    said = json.loads((folder / MANIFEST).read_text())
    (folder / DUMP).write_bytes((folder / DUMP).read_bytes()[:-1])
    with pytest.raises(CannotRestore, match="lost or changed"):
        restore(here(empty), folder, home=new)
    assert said["keys"] == ["fingerprint.key"]


def test_a_folder_without_a_finished_backup_is_none(tmp_path: Path) -> None:
    with pytest.raises(CannotRestore, match="no backup that was finished"):
        restore(here("postgres"), tmp_path, home=tmp_path)
