"""A backup of everything that Keyreeve keeps, in a folder of its own, and the way back from it into an empty database.

The database is dumped by PostgreSQL's own tools from one snapshot, in which its rows are counted too. Messages of the
queue are left out: what is due stands in rows. The keys are not in the database; a backup says whether it has them.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from config.embedded import BIN, EmbeddedPostgres
from config.errors import CannotBackUp, CannotRestore
from config.home import ensure_home, sole_use
from config.roles import OWNER, divide

FORMAT = 1
MANIFEST, DUMP, KEYS = "manifest.json", "database.dump", "keys"
QUEUE = "pgmq"
# What the folder of a Keyreeve holds beside the database, and what is lost with each.
KEY_FILES: Mapping[str, str] = {
    "fingerprint.key": "known secrets would look new",
    "secret.key": "everybody is signed out",
    "chain.key": "no chain head can be signed until another key is begun, which auditors have to be told",
}
# How libpq is told of a server: in the environment, so that a password is in no list of processes.
VARIABLES = {
    "host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
}  # fmt: skip
SERVER = re.compile(r"^(\d+)")


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup says of itself."""

    made_at: str
    version: str
    server: int
    counts: Mapping[str, int]
    digest: str
    keys: Sequence[str]

    @property
    def rows(self) -> int:
        return sum(self.counts.values())


def back_up(conninfo: str, folder: Path, *, home: Path, version: str, now: datetime, with_keys: bool) -> Backup:
    """Write a backup into a new folder. Keyreeve may go on meanwhile. Raises CannotBackUp."""
    if folder.exists() and any(folder.iterdir()):
        raise CannotBackUp(f"{folder} is not empty. Name a folder that is new.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    dump = folder / DUMP
    with psycopg.connect(conninfo) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        server = connection.info.server_version // 10_000
        (snapshot,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
        options = ["--format=custom", f"--snapshot={snapshot}", f"--exclude-schema={QUEUE}", f"--file={dump}"]
        _run("pg_dump", conninfo, server, [*options, "--no-owner", "--no-privileges"], CannotBackUp)
        counts = counted(connection)
    dump.chmod(0o600)
    keys = [name for name in KEY_FILES if with_keys and (home / name).is_file()]
    if keys:
        (folder / KEYS).mkdir(mode=0o700)
    for name in keys:
        _copy(home / name, folder / KEYS / name)
    made = Backup(now.isoformat(), version, server, counts, _digest(dump), keys)
    said: dict[str, Any] = {
        "format": FORMAT,
        "made_at": made.made_at,
        "version": made.version,
        "server": made.server,
        "sha256": made.digest,
        "keys": list(keys),
        "counts": dict(counts),
    }
    # Last, so that a folder without one is no backup.
    (folder / MANIFEST).write_text(json.dumps(said, indent=1) + "\n")
    return made


def read(folder: Path) -> Backup:
    """What the backup in this folder says of itself, once its dump is seen to be whole. Raises CannotRestore."""
    try:
        said = json.loads((folder / MANIFEST).read_text())
        made = Backup(said["made_at"], said["version"], said["server"], said["counts"], said["sha256"], said["keys"])
        number = said["format"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise CannotRestore(f"{folder} holds no backup that was finished.") from exc
    if number != FORMAT:
        raise CannotRestore("The backup is of another format. Restore it with the Keyreeve that made it.")
    if _digest(folder / DUMP) != made.digest:
        raise CannotRestore("The dump is not the one that the backup was made with: part of it was lost or changed.")
    return made


def restore(conninfo: str, folder: Path, *, home: Path) -> Backup:
    """Bring a backup into an empty database, and its keys into a home that has none. Raises CannotRestore.

    Either everything is there afterwards or nothing; the rows are counted, and must be as many as were backed up.
    Whoever restores owns everything; what other roles may do is in no backup.
    """
    made = read(folder)
    held = [name for name in made.keys if _differs(folder / KEYS / name, home / name)]
    if held:
        raise CannotRestore(f"{home} has another {held[0]} than the backup. Restore into an empty KEYREEVE_HOME.")
    with psycopg.connect(conninfo) as connection:
        server = connection.info.server_version // 10_000
        if counted(connection):
            raise CannotRestore("The database is not empty. Name one in which nothing is.")
    options = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"]
    database = conninfo_to_dict(conninfo).get("dbname", "")
    _run("pg_restore", conninfo, server, [*options, f"--dbname={database}", str(folder / DUMP)], CannotRestore)
    with psycopg.connect(conninfo) as connection:
        missing = {name for name, count in made.counts.items() if counted(connection).get(name) != count}
    if missing:
        raise CannotRestore(f"Not every row came back: {', '.join(sorted(missing)[:3])}.")
    for name in made.keys:
        _copy(folder / KEYS / name, home / name)
    return made


@contextmanager
def reached(database_url: str, data: Path, *, home: Path, is_alone: bool) -> Iterator[str]:
    """Keyreeve's database by one who may read all of it: as it was given, or the embedded one, started for this.

    `is_alone` is for who must not share the embedded one with a Keyreeve that is running. Raises CannotStart.
    """
    if database_url:
        yield database_url
        return
    embedded = EmbeddedPostgres(data)
    if not is_alone and embedded.is_running():
        yield embedded.conninfo()
        return
    ensure_home(home)
    with sole_use(home):
        embedded.start()
        try:
            divide(embedded.conninfo())
            yield embedded.conninfo(user=OWNER)
        finally:
            embedded.stop()


def counted(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Rows by table, of what is Keyreeve's own: those of the present by their bare names."""
    tables = connection.execute(
        "SELECT relnamespace::regnamespace::text, relname FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('public', 'history') ORDER BY 1, 2"
    ).fetchall()
    counts = {}
    for schema, name in tables:
        statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, name))
        (count,) = connection.execute(statement).fetchone() or (0,)
        counts[name if schema == "public" else f"{schema}.{name}"] = count
    return counts


def tool(name: str, server: int) -> Path:
    """The program for a server of this release: that of the same release where it is installed, else what we bring.

    A newer one reads every older server; what it writes for one to run, an older server may not know.
    """
    installed = [Path(f"/usr/lib/postgresql/{server}/bin/{name}"), Path(f"/usr/pgsql-{server}/bin/{name}")]
    if found := shutil.which(name):
        installed.append(Path(found))
    for program in installed:
        if program.is_file() and _release(program) == server:
            return program
    return BIN / name


def _release(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = SERVER.match(said.rpartition(") ")[2])
    return int(found[1]) if found else 0


def _run(
    name: str, conninfo: str, server: int, options: Sequence[str], error: type[CannotBackUp | CannotRestore]
) -> None:
    given = conninfo_to_dict(conninfo)
    environment = {VARIABLES[key]: str(value) for key, value in given.items() if key in VARIABLES}
    done = subprocess.run(
        [tool(name, server), *options],
        env={"PATH": os.defpath, "LC_ALL": "C", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        # Its first line alone: what follows may quote rows.
        said = next(iter(done.stderr.strip().splitlines()), "it gave no reason")
        raise error(f"{name} failed: {said.removeprefix(f'{name}: ')}")


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _copy(source: Path, target: Path) -> None:
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(source.read_bytes())


def _differs(one: Path, other: Path) -> bool:
    return other.exists() and one.read_bytes() != other.read_bytes()
