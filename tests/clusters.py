"""A PostgreSQL of a test's own, where roles sign in with a password: roles belong to a cluster, never to a test."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from config.embedded import EmbeddedPostgres
from providers.base import Secret
from providers.postgres import Target
from tests.embedded import FAST, end, short_folder

PASSWORD = secrets.token_urlsafe(18)


class Cluster:
    """A PostgreSQL of its own, whose roles sign in with a password."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres
        self.admin = psycopg.connect(postgres.conninfo(), autocommit=True)
        rules = postgres.folder / "pg_hba.conf"
        rules.write_text("local all +signed_in scram-sha-256\n" + rules.read_text())
        self.admin.execute("CREATE ROLE signed_in")
        self._reload()

    def _reload(self) -> None:
        """Have the rules read again, and see that they were: a new session's process began after its parent did."""
        loaded = self.admin.execute("SELECT pg_conf_load_time()").fetchone()
        self.admin.execute("SELECT pg_reload_conf()")
        while self.admin.execute("SELECT pg_conf_load_time(), pg_sleep(0.01)::text <> 'x'").fetchone()[:1] == loaded:
            pass

    def role(self, name: str, options: str = "", *, groups: tuple[str, ...] = ()) -> None:
        self.admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} " + options).format(sql.Identifier(name), PASSWORD)
        )
        for group in ("signed_in", *groups):
            self.admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(name)))

    def drop(self, name: str) -> None:
        self.admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))

    @property
    def host(self) -> str:
        return str(self.postgres.folder.resolve())

    def target(self, user: str, **more: Any) -> Target:
        known = {"host": self.host, "database": "keyreeve", "password": Secret(PASSWORD)}
        return Target(user=user, **{**known, **more})

    @contextmanager
    def signed_in(self, user: str) -> Iterator[psycopg.Connection]:
        with psycopg.connect(**self.target(user).parameters()) as connection:
            yield connection


@contextmanager
def started() -> Iterator[Cluster]:
    postgres = EmbeddedPostgres(short_folder() / "pg", extra=FAST)
    try:
        postgres.start()
        cluster = Cluster(postgres)
        yield cluster
        cluster.admin.close()
    finally:
        end(postgres)
