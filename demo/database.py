"""A PostgreSQL as a mid-sized company has one: applications, people, replicas, and roles that nobody remembers.

    python -m demo.database --folder FOLDER

starts one over FOLDER, signs some of its roles in, prints "ready" with the socket's folder, and ends both when it is
ended. Roles and passwords are the same each time; times of expiry count from the start.
"""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from config.embedded import EmbeddedPostgres
from demo.cloud import SYSTEMS
from demo.estate import Forge

READER = "keyreeve_reader"
OPERATOR = "keyreeve_operator"  # may change the applications' logins, and nobody else's
EVERYBODY = "estate"
DATABASE = "keyreeve"  # the one that an embedded server begins with
PAIR = ("_app_a", "_app_b")
LENT = "GRANT {login} TO {operator} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
# What was rotated or revoked stays so over a start.
CHANGED = "SELECT rolname FROM pg_roles WHERE shobj_description(oid, 'pg_authid') LIKE '%keyreeve=%'"
SMALL = {"shared_buffers": "16MB", "max_connections": "40", "cluster_name": "billing-db"}


@dataclass(frozen=True, slots=True)
class DemoRole:
    name: str
    options: str = ""
    ends: timedelta | None = None
    groups: tuple[str, ...] = ()
    comment: str = ""
    is_seen: bool = False


def password_of(role: str, seed: int = 7) -> str:
    """The password of a role: its own, and the same each time."""
    return Forge(seed * 1_000_003 + sum(ord(letter) * 31**n for n, letter in enumerate(role))).text(26)


def company(now: datetime, seed: int = 7) -> list[DemoRole]:
    """The login roles, besides the one that looks at them."""
    forge = Forge(seed + 4)
    roles = [
        DemoRole("dba_mira", "SUPERUSER CREATEROLE CREATEDB", is_seen=True),
        DemoRole("dba_former", "SUPERUSER", comment="Left in spring."),
        DemoRole("standby_1", "REPLICATION CONNECTION LIMIT 2"),
        DemoRole("backup_nightly", "REPLICATION BYPASSRLS"),
        DemoRole("legacy_etl", "SUPERUSER", comment="Do not touch."),
        DemoRole("migration_2024", "CREATEROLE", ends=timedelta(days=-410)),
        DemoRole("auditor_external", "CONNECTION LIMIT 1", ends=timedelta(days=12), groups=("pg_read_all_data",)),
    ]
    for system in SYSTEMS:
        name = system.replace("-", "_")
        rotated = (now - timedelta(days=forge.random.randint(3, 700))).date()
        for letter in "ab":
            comment = f"rotated={rotated}" if forge.random.random() < 0.6 else ""
            seen = letter == "a" and forge.random.random() < 0.7
            roles.append(DemoRole(f"{name}_app_{letter}", groups=(f"{name}_owner",), comment=comment, is_seen=seen))
        if forge.random.random() < 0.6:
            ends = timedelta(days=forge.random.randint(-120, 300))
            roles.append(DemoRole(f"{name}_report", "CONNECTION LIMIT 3", ends=ends, groups=("pg_read_all_data",)))
    return roles


def fill(admin: psycopg.Connection, *, now: datetime, seed: int = 7) -> list[str]:
    """Make the company's roles, and bring those that are there already to the same. The names of those to sign in."""
    reader = DemoRole(READER, "CONNECTION LIMIT 3", groups=("pg_read_all_stats",))
    operator = DemoRole(OPERATOR, "CREATEROLE CONNECTION LIMIT 3", groups=("pg_signal_backend",))
    changed = {name for (name,) in admin.execute(CHANGED).fetchall()}
    roles = [role for role in (reader, operator, *company(now, seed)) if role.name not in changed]
    groups = {group for role in roles for group in role.groups if not group.startswith("pg_")} | {EVERYBODY}
    there = {name for (name,) in admin.execute("SELECT rolname FROM pg_roles").fetchall()}
    for group in sorted(groups - there):
        admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(group)))
    for role in roles:
        verb = "ALTER" if role.name in there else "CREATE"
        ends = (now + role.ends).isoformat() if role.ends is not None else "infinity"
        admin.execute(
            sql.SQL(f"{verb} ROLE {{}} LOGIN PASSWORD {{}} VALID UNTIL {{}} {role.options}").format(
                sql.Identifier(role.name), password_of(role.name, seed), ends
            )
        )
        for group in (EVERYBODY, *role.groups):
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(role.name)))
        admin.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role.name), role.comment))
        if role.name.endswith(PAIR):
            named = {"login": sql.Identifier(role.name), "owner": sql.Identifier(role.groups[0])}
            admin.execute(sql.SQL("ALTER ROLE {login} SET role = {owner}").format(**named))
            admin.execute(sql.SQL(LENT).format(**named, operator=sql.Identifier(OPERATOR)))
    return [role.name for role in roles if role.is_seen]


@contextmanager
def running(folder: Path, *, now: datetime, seed: int = 7) -> Iterator[Path]:
    """The company's PostgreSQL, its applications signed in, until the block ends. Gives the folder of its socket."""
    postgres = EmbeddedPostgres(folder, extra=SMALL)
    postgres.start()
    try:
        with ExitStack() as sessions:
            admin = sessions.enter_context(psycopg.connect(postgres.conninfo(), autocommit=True))
            seen = fill(admin, now=now, seed=seed)
            _let_in(admin, folder)
            for role in seen:
                sessions.enter_context(
                    psycopg.connect(
                        host=str(folder.resolve()), dbname=DATABASE, user=role, password=password_of(role, seed)
                    )
                )
            yield folder.resolve()
    finally:
        postgres.stop()


def _let_in(admin: psycopg.Connection, folder: Path) -> None:
    """Ask the company's roles for their password. A new session is let in by what the server has read by then."""
    rules = folder / "pg_hba.conf"
    rule = f"local all +{EVERYBODY} scram-sha-256\n"
    if rule not in rules.read_text():
        rules.write_text(rule + rules.read_text())
    loaded = admin.execute("SELECT pg_conf_load_time()").fetchone()
    admin.execute("SELECT pg_reload_conf()")
    while admin.execute("SELECT pg_conf_load_time() FROM pg_sleep(0.01)").fetchone() == loaded:
        pass


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.database", description="Runs the demo company's PostgreSQL.")
    parser.add_argument("--folder", type=Path, required=True, help="Where its data are kept.")
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with running(chosen.folder.absolute(), now=datetime.now(tz=UTC), seed=chosen.seed) as host:
        sys.stdout.write(f"ready {host}\n")
        sys.stdout.flush()
        try:
            signal.pause()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
