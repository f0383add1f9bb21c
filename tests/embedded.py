"""A pytest plugin: one embedded PostgreSQL for the whole run, ready before Django reads its settings.

Under xdist the controller starts it and the workers inherit its address. Databases of tests are made from its empty
`keyreeve` database, so that they have the collation and the queues' schema of a real one.
"""

import atexit
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from config.embedded import SERVER_USER, EmbeddedPostgres
from config.home import is_root
from config.queues import install_queues
from config.roles import APPLICATION, divide

PREFIX = "krt-"
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
ENVIRONMENT = {
    "KEYREEVE_SECRET_KEY": "only-for-tests",
    "KEYREEVE_FINGERPRINT_KEY": "only-for-tests, and long enough",
    "KEYREEVE_DB_POOL": "0",
    "KEYREEVE_TEST_TEMPLATE": "migrated",
}
ROOT = Path(__file__).parents[1]
# What the tables and the rows in them come from: another content of these is migrated anew.
SOURCES = (
    "*/migrations/*.py", "lifecycle/rules/*.py", "inventory/models/base.py", "config/queues.py", "config/roles.py",
)  # fmt: skip
PINNED = ROOT / "requirements" / "dev.txt"
TEMPLATE_LOCK = 7_260_551_444
STRICT = os.environ.get("KEYREEVE_STRICT") == "1"


class Installed(EmbeddedPostgres):
    """A server of another release, as the system's packages bring it, over a data folder of ours."""

    def __init__(self, folder: Path, release: int) -> None:
        super().__init__(folder, extra=FAST)
        self.bin = Path(f"/usr/lib/postgresql/{release}/bin")
        if not self.bin.is_dir():
            raise pytest.UsageError(f"PostgreSQL {release} is not installed in {self.bin}")

    def _check_version(self) -> None:
        """It is whatever was asked for."""

    def _initialise(self) -> None:
        identity: dict[str, Any] = {}
        self.folder.mkdir(mode=0o700)
        if is_root():
            if subprocess.run(["id", SERVER_USER], capture_output=True, check=False).returncode:
                subprocess.run(["useradd", "--system", SERVER_USER], check=True)
            shutil.chown(self.folder, SERVER_USER, SERVER_USER)
            entry = pwd.getpwnam(SERVER_USER)
            identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        command = [self.bin / "initdb", "-D", self.folder, "-U", "postgres", "-A", "peer", "-E", "UTF8", "--no-sync"]
        environment = {"PATH": os.defpath, "LC_ALL": "C"}
        subprocess.run(command, cwd="/", env=environment, check=True, capture_output=True, **identity)
        self._configure()

    def _create_database(self) -> None:
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(
                "CREATE DATABASE keyreeve TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
            )


def server(folder: Path) -> EmbeddedPostgres:
    """The embedded server, or an installed one of the release that KEYREEVE_TEST_POSTGRES names."""
    release = os.environ.get("KEYREEVE_TEST_POSTGRES", "")
    return Installed(folder, int(release)) if release else EmbeddedPostgres(folder, extra=FAST)


def needs(*names: str) -> str:
    """The path of the first of these programs that is there. Without one the test is skipped; a strict run fails."""
    for name in names:
        if found := shutil.which(name):
            return found
    message = f"{' or '.join(names)} is not installed"
    if STRICT:
        pytest.fail(message)
    pytest.skip(message)


def short_folder() -> Path:
    """A new folder whose path leaves room for a socket, and which the database's own user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/tmp"))
    folder.chmod(0o711 if is_root() else 0o700)
    return folder


def sweep() -> None:
    """End what test runs that were killed have left behind."""
    for folder in Path("/tmp").glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)) and folder.stat().st_uid == os.geteuid():
            end(EmbeddedPostgres(folder / "pg"))


def end(postgres: EmbeddedPostgres) -> None:
    postgres.stop()
    shutil.rmtree(postgres.folder.parent, ignore_errors=True)


def dump() -> Path:
    """Where the migrated database of these sources is kept between runs."""
    digest = hashlib.sha256(PINNED.read_bytes())
    for path in sorted(path for source in SOURCES for path in ROOT.glob(source)):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return ROOT / ".pytest_cache" / "migrated" / digest.hexdigest()[:32]


def migrated_template() -> None:
    """Make the database that those of tests are copied from: migrating takes long, and once is enough for all.

    A copy of it is migrated again, which does nothing unless this one should lack something.
    """
    postgres = server(Path(os.environ["KEYREEVE_HOME"]) / "pg")
    with psycopg.connect(postgres.conninfo("postgres"), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [TEMPLATE_LOCK])
        if connection.execute("SELECT FROM pg_database WHERE datname = 'migrated'").fetchone() is not None:
            return
        connection.execute("CREATE DATABASE filling TEMPLATE keyreeve")
        kept = dump()
        if isinstance(postgres, Installed):
            migrate(postgres)
        elif kept.exists():
            with psycopg.connect(postgres.conninfo("filling")) as filling:
                filling.execute("DROP SCHEMA pgmq CASCADE")  # it is in the dump too
            tool = [postgres.bin / "pg_restore", "--exit-on-error", "-d", postgres.conninfo("filling"), kept]
            subprocess.run(tool, check=True)
        else:
            migrate(postgres)
            shutil.rmtree(kept.parent, ignore_errors=True)
            kept.parent.mkdir(parents=True)
            draft = kept.with_suffix(".new")
            subprocess.run([postgres.bin / "pg_dump", "-Fc", "-f", draft, postgres.conninfo("filling")], check=True)
            draft.replace(kept)
        connection.execute("ALTER DATABASE filling RENAME TO migrated")


def migrate(postgres: EmbeddedPostgres) -> None:
    """In a process of its own: the history of every model is gone from memory with it."""
    urls = {
        "KEYREEVE_MIGRATION_DATABASE_URL": f"postgresql://postgres@/filling?host={postgres.folder}",
        "DATABASE_URL": f"postgresql://{APPLICATION}@/filling?host={postgres.folder}",
    }
    environment = {**os.environ, **urls}
    command = [sys.executable, "manage.py", "migrate", "--no-input", "-v", "0"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Iterator[None]:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        sweep()
        home = short_folder()
        postgres = server(home / "pg")
        atexit.register(end, postgres)  # also where pytest gives up before the first test
        postgres.start()
        divide(postgres.conninfo())
        install_queues(postgres.conninfo())
        os.environ.update(ENVIRONMENT)
        (home / "static").mkdir()
        os.environ["KEYREEVE_HOME"] = str(home)
        os.environ["KEYREEVE_STATIC_ROOT"] = str(home / "static")
        os.environ["DATABASE_URL"] = f"postgresql://postgres@/keyreeve?host={postgres.folder}"
    return (yield)
