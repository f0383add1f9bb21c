"""Make the inventory say what a connection listed: stage by COPY, then a fixed number of set-based statements.

New rows are inserted, rows that differ are updated, rows that are the same are not touched, and what a complete
listing no longer names is marked gone. What could not be read marks nothing.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from operator import attrgetter
from typing import Any

from django.db import connection as database
from django.db.backends.utils import CursorWrapper
from psycopg.types.array import ListDumper

from inventory.discovery.listing import COLUMNS, FILE, Discovered
from inventory.models import Connection

WHOLE = FILE - 20  # characters of a path that are certainly kept as they are
VALUES = attrgetter(*COLUMNS)  # what dataclasses.astuple gives, without its deep copy
TYPES = {
    "is_pinned": "boolean",
    "is_disabled": "boolean",
    "is_exposed": "boolean",
    "is_readable_by_others": "boolean",
    "issued_at": "timestamptz",
    "last_used_at": "timestamptz",
    "expires_at": "timestamptz",
    "client_issued_at": "timestamptz",
    "client_last_used_at": "timestamptz",
    "secret_expires_at": "timestamptz",
    "redirect_uris": "text[]",
    "grant_types": "varchar[]",
    "client_scopes": "varchar[]",
    "scopes": "varchar[]",
    "details": "jsonb",
}

# Table, identity column in the staging table, described columns (inventory name → staging column, or expression over
# its row `s`). A column in NULLABLE or KEPT keeps what is known when the listing does not say; a date in LATEST never
# moves back.
CLIENT = (
    "inventory_mcpclient",
    "client_key",
    {
        "name": "client_name",
        "product": "client_product",
        "host": "host",
        "client_id": "client_id",
        "registration": "registration",
        "redirect_uris": "redirect_uris",
        "grant_types": "grant_types",
        "software_id": "software_id",
        "application_type": "application_type",
        "scopes": "client_scopes",
        "issued_at": "client_issued_at",
        "last_used_at": "client_last_used_at",
        "secret_expires_at": "secret_expires_at",
        "registration_uri": "registration_uri",
        "authorization_server_id": (
            "(SELECT a.id FROM inventory_authorizationserver a WHERE a.issuer = s.authorization_server)"
        ),
    },
)
SERVER = (
    "inventory_mcpserver",
    "server_key",
    {
        "name": "server_name",
        "transport": "transport",
        "url": "url",
        "launcher": "launcher",
        "package": "package",
        "package_version": "package_version",
        "is_pinned": "is_pinned",
        "command": "command",
    },
)
CREDENTIAL = (
    "inventory_credential",
    "credential_key",
    {
        "name": "credential_name",
        "kind": "kind",
        "issuer": "issuer",
        "principal": "principal",
        "trust_model": "trust_model",
        "subject": "subject",
        "scopes": "scopes",
        "details": "details",
        "storage": "storage",
        "reference": "reference",
        "external_id": "external_id",
        "fingerprint": "fingerprint",
        "hint": "hint",
        "status": "status",
        "issued_at": "issued_at",
        "last_used_at": "last_used_at",
        "expires_at": "expires_at",
    },
)
NULLABLE = {"issued_at", "expires_at", "is_pinned", "secret_expires_at", "authorization_server_id"}
KEPT = {"fingerprint", "hint", "external_id"}  # a provider lists a key without its secret, a file has the secret
LATEST = {"last_used_at"}
# Columns that the tables require and the listing does not know, with the value of a new row.
NEW_ROW = {
    "inventory_mcpclient": {
        # Nobody decided about a client that registered itself, so it waits for somebody to do so.
        "admission": "CASE WHEN s.registration = 'dynamic' THEN 'quarantined' ELSE 'admitted' END",
        "admission_reason": "''",
        "registration_reference": "''",
        "hygiene": "'unknown'",
        "hygiene_key": "''",
        "hygiene_reason": "''",
        "risk": "0",
        "open_findings": "0",
    },
    "inventory_mcpserver": {
        "role": "'unclassified'",
        "vendor": "''",
        "protocol_versions": "'{}'",
        "authentication": "''",
        "scopes": "'{}'",
        "probe_error": "''",
        "tools_error": "''",
        "risk": "0",
        "open_findings": "0",
        "environment_id": "%(environment)s::uuid",
    },
    "inventory_credential": {
        "risk": "0",
        "open_findings": "0",
        "environment_id": "%(environment)s::uuid",
    },
}
# When a row passes to the connection that lists it now: what a provider says of its own beats what a file let guess.
TAKES_OVER = {
    "inventory_mcpclient": "false",
    "inventory_mcpserver": "false",
    "inventory_credential": "s.storage = 'provider' AND t.storage <> 'provider'",
}


def _listed(column: str, staged: str) -> str:
    """The value that the listing's row `s` gives for a column of the row `t`."""
    value = staged if "(" in staged else f"s.{staged}"
    if column in LATEST:
        return f"greatest({value}, t.{column})"
    if column in KEPT:
        return f"coalesce(nullif({value}, ''), t.{column})"
    return f"coalesce({value}, t.{column})" if column in NULLABLE else value


class Reconciliation:
    """One listing on its way into the inventory. Use one instance per run, on one database connection.

    `stage` may be called many times outside a transaction; `apply` belongs inside the action that ends the run.
    """

    def __init__(self, connection: Connection, *, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self.counts: dict[str, int] = {}
        self._digest = sha256()

    def open(self) -> None:
        columns = ", ".join(f"{name} {TYPES.get(name, 'text')}" for name in COLUMNS)
        with database.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS pg_temp.staging")
            cursor.execute(f"CREATE TEMP TABLE staging (n bigint GENERATED ALWAYS AS IDENTITY, {columns})")

    def stage(self, rows: Iterable[Discovered]) -> None:
        with database.cursor() as cursor:
            cursor.adapters.register_dumper(tuple, ListDumper)  # of this cursor alone: a tuple is an array
            with cursor.copy(f"COPY pg_temp.staging ({', '.join(COLUMNS)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(VALUES(row))

    def close(self) -> None:
        with database.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS pg_temp.staging")

    @property
    def digest(self) -> str:
        """Changes when anything was changed; equal for two runs that changed nothing."""
        return self._digest.hexdigest()

    @property
    def changed(self) -> int:
        return sum(self.counts.values())

    def note(self, counts: Mapping[str, int]) -> None:
        """Count what was written beside the reconciliation, in the same transaction."""
        for name, count in counts.items():
            if count:
                self.counts[name] = self.counts.get(name, 0) + count
                self._digest.update(f"{name} {count}\n".encode())

    def apply(self, *, unread: Iterable[str] | None) -> None:
        """Reconcile. `unread` are files and folders that could not be read; None when the listing was cut short."""
        with database.cursor() as cursor:
            cursor.execute("SET LOCAL enable_nestloop = off")
            cursor.execute("ANALYZE pg_temp.staging")
            self._issuers(cursor)
            for noun, (table, key, columns) in {
                "clients": CLIENT,
                "servers": SERVER,
                "credentials": CREDENTIAL,
            }.items():
                self._upsert(cursor, noun, table, key, columns)
            self._versions(cursor)
            self._uses(cursor)
            self._exposures(cursor)
            if unread is not None:
                self._gone(cursor, list(unread))

    # ── One statement each ─────────────────────────────────────────────────────────────────────
    def _run(self, cursor: CursorWrapper, name: str, statement: str, **more: Any) -> None:
        """Run a writing statement that returns ids; count them and add them to the digest."""
        cursor.execute(
            f"WITH changed AS ({statement}) SELECT count(*),"
            " encode(sha256(convert_to(coalesce(string_agg(id::text, '' ORDER BY id), ''), 'UTF8')), 'hex')"
            " FROM changed",
            {
                "connection": self.connection.pk,
                "environment": self.connection.environment_id,
                "now": self.now,
                "seen": self.connection.last_complete_at or self.now,
                **more,
            },
        )
        count, digest = cursor.fetchone()
        if count:
            self.counts[name] = self.counts.get(name, 0) + count
            self._digest.update(f"{name} {digest}\n".encode())

    def _upsert(self, cursor: CursorWrapper, noun: str, table: str, key: str, columns: dict[str, str]) -> None:
        rows = f"SELECT DISTINCT ON ({key}) * FROM pg_temp.staging WHERE {key} IS NOT NULL"
        listed = f"{rows} ORDER BY {key}, file, pointer, n"
        extra = NEW_ROW[table]
        self._run(
            cursor,
            f"{noun}_added",
            f"""
            INSERT INTO {table} (identity_key, connection_id, first_seen_at, {", ".join([*columns, *extra])})
            SELECT s.{key}, %(connection)s, %(now)s,
              {", ".join([*(c if "(" in c else f"s.{c}" for c in columns.values()), *extra.values()])}
            FROM ({listed}) s LEFT JOIN {table} t ON t.identity_key = s.{key}
            WHERE t.id IS NULL
            ON CONFLICT (identity_key) DO NOTHING  -- another connection listed it first, a moment ago
            RETURNING id
            """,
        )
        values = {column: _listed(column, staged) for column, staged in columns.items()}
        taken = TAKES_OVER[table]
        # Only the connection that a row belongs to describes it; any connection that names it makes it present.
        described = {
            column: f"CASE WHEN t.connection_id = %(connection)s OR {taken} THEN {value} ELSE t.{column} END"
            for column, value in {**values, "connection_id": "%(connection)s"}.items()
        }
        self._run(
            cursor,
            f"{noun}_changed",
            f"""
            UPDATE {table} t SET gone_at = NULL, last_seen_at = NULL,
              {", ".join(f"{c} = {v}" for c, v in described.items())}
            FROM ({listed}) s
            WHERE t.identity_key = s.{key} AND (t.gone_at IS NOT NULL OR {taken} OR t.connection_id = %(connection)s
              AND ({", ".join(f"t.{c}" for c in columns)}) IS DISTINCT FROM ({", ".join(values.values())}))
            RETURNING t.id
            """,
        )

    def _issuers(self, cursor: CursorWrapper) -> None:
        self._run(
            cursor,
            "authorization_servers_added",
            """
            INSERT INTO inventory_authorizationserver (issuer, metadata, capabilities, first_seen_at)
            SELECT DISTINCT s.authorization_server, '{}'::jsonb, '{}'::varchar[], %(now)s::timestamptz
            FROM pg_temp.staging s WHERE s.authorization_server <> ''
            ON CONFLICT (issuer) DO NOTHING
            RETURNING id
            """,
        )

    def _versions(self, cursor: CursorWrapper) -> None:
        """A value that changed in its slot ends the old version and begins a new one."""
        differs = "(v.fingerprint, v.external_id) IS DISTINCT FROM (c.fingerprint, c.external_id)"
        cursor.execute(
            f"""
            UPDATE inventory_credentialversion v SET is_current = false
            FROM inventory_credential c JOIN pg_temp.staging s ON s.credential_key = c.identity_key
            WHERE v.credential_id = c.id AND v.is_current AND (c.fingerprint <> '' OR c.external_id <> '') AND {differs}
            """
        )
        self._run(
            cursor,
            "versions_added",
            """
            INSERT INTO inventory_credentialversion
              (credential_id, external_id, fingerprint, hint, issued_at, first_seen_at, is_current)
            SELECT DISTINCT ON (c.id) c.id, c.external_id, c.fingerprint, c.hint, c.issued_at, %(now)s, true
            FROM inventory_credential c JOIN pg_temp.staging s ON s.credential_key = c.identity_key
            LEFT JOIN inventory_credentialversion v ON v.credential_id = c.id AND v.is_current
            WHERE v.id IS NULL AND (c.fingerprint <> '' OR c.external_id <> '')
            RETURNING id
            """,
        )

    PLACES = """
        SELECT DISTINCT ON (s.file, s.pointer, k.id, m.id, c.id)
          s.file, s.pointer, k.id AS client_id, m.id AS server_id, c.id AS credential_id, s.is_disabled,
          CASE WHEN c.id IS NULL THEN '' ELSE s.storage END AS held_as
        FROM pg_temp.staging s
        JOIN inventory_mcpclient k ON k.identity_key = s.client_key
        JOIN inventory_mcpserver m ON m.identity_key = s.server_key
        LEFT JOIN inventory_credential c ON c.identity_key = s.credential_key
        ORDER BY s.file, s.pointer, k.id, m.id, c.id, s.n
    """
    SAME_USE = """x.connection_id = %(connection)s AND x.gone_at IS NULL AND x.file = p.file AND x.pointer = p.pointer
        AND x.client_id = p.client_id AND x.server_id = p.server_id
        AND x.credential_id IS NOT DISTINCT FROM p.credential_id"""

    def _uses(self, cursor: CursorWrapper) -> None:
        self._run(
            cursor,
            "uses_added",
            f"""
            INSERT INTO inventory_use (connection_id, client_id, server_id, credential_id, file, pointer, held_as,
              is_disabled, first_seen_at)
            SELECT %(connection)s, p.client_id, p.server_id, p.credential_id, p.file, p.pointer, p.held_as,
              p.is_disabled, %(now)s
            FROM ({self.PLACES}) p LEFT JOIN inventory_use x ON {self.SAME_USE}
            WHERE x.id IS NULL
            RETURNING id
            """,
        )
        self._run(
            cursor,
            "uses_changed",
            f"""
            UPDATE inventory_use x SET is_disabled = p.is_disabled, held_as = p.held_as FROM ({self.PLACES}) p
            WHERE {self.SAME_USE} AND (x.is_disabled, x.held_as) IS DISTINCT FROM (p.is_disabled, p.held_as)
            RETURNING x.id
            """,
        )

    EXPOSED = """
        SELECT DISTINCT ON (s.file, s.pointer, c.id)
          s.host, s.file, s.pointer, s.is_readable_by_others, c.id AS credential_id
        FROM pg_temp.staging s JOIN inventory_credential c ON c.identity_key = s.credential_key
        WHERE s.is_exposed
        ORDER BY s.file, s.pointer, c.id, s.n
    """
    SAME_EXPOSURE = """x.connection_id = %(connection)s AND x.gone_at IS NULL AND x.file = p.file
        AND x.pointer = p.pointer AND x.credential_id = p.credential_id"""

    def _exposures(self, cursor: CursorWrapper) -> None:
        self._run(
            cursor,
            "exposures_added",
            f"""
            INSERT INTO inventory_exposure (credential_id, connection_id, host, file, pointer, is_readable_by_others,
              first_seen_at)
            SELECT p.credential_id, %(connection)s, p.host, p.file, p.pointer, p.is_readable_by_others, %(now)s
            FROM ({self.EXPOSED}) p LEFT JOIN inventory_exposure x ON {self.SAME_EXPOSURE}
            WHERE x.id IS NULL
            RETURNING id
            """,
        )
        self._run(
            cursor,
            "exposures_changed",
            f"""
            UPDATE inventory_exposure x SET is_readable_by_others = p.is_readable_by_others FROM ({self.EXPOSED}) p
            WHERE {self.SAME_EXPOSURE} AND x.is_readable_by_others IS DISTINCT FROM p.is_readable_by_others
            RETURNING x.id
            """,
        )

    def _gone(self, cursor: CursorWrapper, unread: list[str]) -> None:
        """What is no longer listed, except where it could not be looked for.

        Of a very long path only the beginning is kept, so a folder is compared by no more than that.
        """
        read = """NOT EXISTS (SELECT 1 FROM unnest(%(unread)s::text[]) AS missed(path)
            WHERE x.file = missed.path OR starts_with(x.file, left(rtrim(missed.path, '/') || '/', %(whole)s)))"""
        ended = "gone_at = %(now)s, last_seen_at = greatest(first_seen_at, %(seen)s)"
        self._run(
            cursor,
            "uses_gone",
            f"""
            UPDATE inventory_use x SET {ended}
            WHERE x.connection_id = %(connection)s AND x.gone_at IS NULL AND {read}
              AND NOT EXISTS (SELECT 1 FROM ({self.PLACES}) p WHERE {self.SAME_USE})
            RETURNING x.id
            """,
            unread=unread,
            whole=WHOLE,
        )
        self._run(
            cursor,
            "exposures_gone",
            f"""
            UPDATE inventory_exposure x SET {ended}
            WHERE x.connection_id = %(connection)s AND x.gone_at IS NULL AND {read}
              AND NOT EXISTS (SELECT 1 FROM ({self.EXPOSED}) p WHERE {self.SAME_EXPOSURE})
            RETURNING x.id
            """,
            unread=unread,
            whole=WHOLE,
        )
        # A file may go on holding a key that its provider no longer knows: it is there, and nobody can use it.
        self._run(
            cursor,
            "credentials_destroyed",
            """
            UPDATE inventory_credential t SET status = 'destroyed'
            WHERE t.connection_id = %(connection)s AND t.gone_at IS NULL AND t.storage = 'provider'
              AND t.status NOT IN ('destroyed', 'expired')
              AND NOT EXISTS (SELECT 1 FROM pg_temp.staging s WHERE s.credential_key = t.identity_key)
            RETURNING t.id
            """,
        )
        # A thing is gone when nothing names it any more: neither this listing nor a place that is still there.
        touched = """(t.connection_id = %(connection)s OR EXISTS (SELECT 1 FROM inventory_use u
            WHERE u.{column} = t.id AND u.connection_id = %(connection)s AND u.gone_at = %(now)s))"""
        for noun, (table, key, _columns), column in (
            ("credentials", CREDENTIAL, "credential_id"),
            ("servers", SERVER, "server_id"),
            ("clients", CLIENT, "client_id"),
        ):
            exposed = (
                "AND NOT EXISTS (SELECT 1 FROM inventory_exposure e WHERE e.credential_id = t.id AND e.gone_at IS NULL)"
                if noun == "credentials"
                else ""
            )
            self._run(
                cursor,
                f"{noun}_gone",
                f"""
                UPDATE {table} t SET {ended}
                WHERE t.gone_at IS NULL AND {touched.format(column=column)}
                  AND NOT EXISTS (SELECT 1 FROM pg_temp.staging s WHERE s.{key} = t.identity_key)
                  AND NOT EXISTS (SELECT 1 FROM inventory_use u WHERE u.{column} = t.id AND u.gone_at IS NULL)
                  {exposed}
                RETURNING t.id
                """,
            )
