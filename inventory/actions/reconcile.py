"""Make the inventory say what a connection listed: stage by COPY, then a fixed number of set-based statements.

New rows are inserted, rows that differ are updated, rows that are the same are not touched, and what a complete
listing no longer names is marked gone. What could not be read marks nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from hashlib import sha256
from operator import attrgetter
from typing import Any

from django.db import connection as database
from django.db.backends.utils import CursorWrapper
from psycopg.types.array import ListDumper

from inventory.discovery.listing import COLUMNS, FILE, Discovered
from inventory.models import Connection
from inventory.states import ConnectionKind
from inventory.tags import MOST

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
    "tags": "varchar[]",
    "details": "jsonb",
}
# What a row that somebody sent says beyond a listed one. A reference names things that other rows describe.
SENT = {
    "line": "integer",
    "is_reference": "boolean NOT NULL DEFAULT false",
    "owner": "text NOT NULL DEFAULT ''",
    "environment": "text NOT NULL DEFAULT ''",
}
# What a row is found to be before anything is written: of a version beside a credential's current one.
FOUND = {"version_id": "uuid", "is_older": "boolean NOT NULL DEFAULT false"}
KEYS = ("client_key", "server_key", "credential_key")
OWNERS = {
    "line": "integer",
    "owner_name": "text",
    "owner_email": "text",
    "owner_external_id": "text",
    "owner_kind": "text",
    "owner_is_active": "boolean",
}
MOST_PROBLEMS = 200
# What the planner has to know of the staged rows. All fifty columns would cost more than they tell.
ANALYZED = (*KEYS, "file", "pointer", "is_exposed", "authorization_server", "owner", "environment")

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
# A provider lists a key without its secret, a file has the secret; where a registration is managed, its owner may know.
KEPT = {"fingerprint", "hint", "external_id", "registration_uri"}
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
    },
    "inventory_credential": {
        "risk": "0",
        "open_findings": "0",
    },
}
# What a sender may say of whom a new row belongs to. On a row that is there it fills what is empty, and no more.
ASSIGNED = {
    "inventory_mcpclient": {"owner_id": "s.owner_id"},
    "inventory_mcpserver": {"environment_id": "s.environment_id"},
    "inventory_credential": {"owner_id": "s.owner_id", "environment_id": "s.environment_id"},
}
# When a row passes to the connection that lists it now: what a provider says of its own beats what a file let guess,
# and what somebody sent. Whoever may send rows could else keep a key for themselves by naming it first.
TAKES_OVER = {
    "inventory_mcpclient": "false",
    "inventory_mcpserver": "false",
    "inventory_credential": """s.storage = 'provider' AND (t.storage <> 'provider'
        OR %(is_asked)s AND t.connection_id IN (SELECT id FROM inventory_connection WHERE kind = 'feed'))""",
}


def _listed(column: str, staged: str) -> str:
    """The value that the listing's row `s` gives for a column of the row `t`."""
    value = staged if "(" in staged else f"s.{staged}"
    if column == "status":
        # Only an operation knows that it is at it, and it says when it no longer is.
        return "CASE WHEN t.status = 'rotating' AND s.status IN ('active', 'unknown') THEN t.status ELSE s.status END"
    if column in LATEST:
        return f"greatest({value}, t.{column})"
    if column in KEPT:
        return f"coalesce(nullif({value}, ''), t.{column})"
    return f"coalesce({value}, t.{column})" if column in NULLABLE else value


# One row for each place, of rows that say the same place the first.
PLACES = """SELECT DISTINCT ON (s.file, s.pointer, k.id, m.id, c.id)
      s.file, s.pointer, k.id AS client_id, m.id AS server_id, c.id AS credential_id, s.is_disabled,
      CASE WHEN c.id IS NULL THEN '' ELSE s.storage END AS held_as
    FROM pg_temp.staging s
    JOIN inventory_mcpclient k ON k.identity_key = s.client_key AND k.gone_at IS NULL
    JOIN inventory_mcpserver m ON m.identity_key = s.server_key AND m.gone_at IS NULL
    LEFT JOIN inventory_credential c ON c.identity_key = s.credential_key AND c.gone_at IS NULL
    WHERE s.credential_key IS NULL OR c.id IS NOT NULL
    ORDER BY s.file, s.pointer, k.id, m.id, c.id, s.n"""
EXPOSED = """SELECT DISTINCT ON (s.file, s.pointer, c.id)
      s.host, s.file, s.pointer, s.is_readable_by_others, c.id AS credential_id
    FROM pg_temp.staging s
    JOIN inventory_credential c ON c.identity_key = s.credential_key AND c.gone_at IS NULL
    WHERE s.is_exposed
    ORDER BY s.file, s.pointer, c.id, s.n"""
NOUNS = ("clients", "servers", "credentials")
# Which staged rows describe a thing. One of a version beside the current one says nothing of the credential itself, nor
# does one that was listed before an operation changed the credential.
DESCRIBES = {
    "client_key": "client_key IS NOT NULL AND NOT is_reference",
    "server_key": "server_key IS NOT NULL AND NOT is_reference",
    "credential_key": "credential_key IS NOT NULL AND NOT is_reference AND version_id IS NULL AND NOT is_older",
}
# Of a credential `t`: an operation changed it after this look began, so what the look leaves out may well be there.
OPERATED_SINCE = "t.operated_at > %(now)s"
# How many ids, and a mark of which: the order in which they come does not matter, so nothing is sorted for it.
TALLY = "count(*), coalesce(bit_xor(uuid_hash_extended(id, 0)), 0)"
# The staged rows with the owner and the environment that they name. Nobody who has left becomes an owner.
NAMED = """SELECT s.*, coalesce(e.id, x.id) AS owner_id, v.id AS environment_id FROM ({listed}) s
    LEFT JOIN inventory_owner e ON e.is_active AND s.owner <> '' AND lower(e.email) = lower(s.owner)
    LEFT JOIN inventory_owner x ON x.is_active AND s.owner <> '' AND x.external_id = s.owner
    LEFT JOIN inventory_environment v ON s.environment <> '' AND v.name = s.environment"""


def _default(value: Any) -> str:
    """A literal for the default of a staging column. Every default is a constant of ours."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case tuple():
            return "'{}'"
    return f"'{value}'"


STAGING = ", ".join(
    [
        "n bigint GENERATED ALWAYS AS IDENTITY",
        *(
            f"{each.name} {TYPES.get(each.name, 'text')} DEFAULT {_default(each.default)}"
            for each in fields(Discovered)
        ),
        *(f"{name} {kind}" for name, kind in (SENT | FOUND).items()),
    ]
)


class Reconciliation:
    """One listing on its way into the inventory. Use one instance per run, on one database connection.

    `stage` may be called many times outside a transaction; `apply` belongs inside the action that ends the run. Of rows
    that describe the same thing the first place counts, in the order of files; of what somebody sent, the last row.
    """

    def __init__(self, connection: Connection, *, now: datetime, last_wins: bool = False) -> None:
        self.connection = connection
        self.now = now
        self.counts: dict[str, int] = {}
        self.repeated = 0
        self.problems: list[dict[str, Any]] = []
        self.unresolved = 0
        self._order = "n DESC" if last_wins else "file, pointer, n"
        self._places, self._exposed = (f"{each} DESC" if last_wins else each for each in (PLACES, EXPOSED))
        self._digest = sha256()
        self._staged: dict[str, int] = {}
        self._has_versions = False

    def open(self) -> None:
        with database.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS pg_temp.staging")
            cursor.execute(f"CREATE TEMP TABLE staging ({STAGING})")
            owners = ", ".join(f"{name} {kind}" for name, kind in OWNERS.items())
            cursor.execute("DROP TABLE IF EXISTS pg_temp.staging_owners")
            cursor.execute(f"CREATE TEMP TABLE staging_owners (n bigint GENERATED ALWAYS AS IDENTITY, {owners})")

    def stage(self, rows: Iterable[Discovered]) -> None:
        self.stage_values(COLUMNS, map(VALUES, rows))

    def stage_values(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, table: str = "staging") -> None:
        """Stage rows of which only some columns are said; the others are as in a `Discovered` without them.

        Owners have a table of their own, `staging_owners`.
        """
        with database.cursor() as cursor:
            cursor.adapters.register_dumper(tuple, ListDumper)  # of this cursor alone: a tuple is an array
            with cursor.copy(f"COPY pg_temp.{table} ({', '.join(columns)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)

    def close(self) -> None:
        with database.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS pg_temp.staging, pg_temp.staging_owners")

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
            self._count(name, count)

    def apply(self, *, unread: Iterable[str] | None) -> None:
        """Reconcile. `unread` are files and folders that could not be read; None when the listing was cut short.

        After an error it can be called again, in a transaction or from a savepoint in which nothing of it is left.
        """
        self.counts, self.problems = {}, []
        self.repeated = self.unresolved = 0
        self._digest = sha256()
        with database.cursor() as cursor:
            cursor.execute(f"ANALYZE pg_temp.staging ({', '.join(ANALYZED)})")
            self._attach(cursor)
            cursor.execute("SET LOCAL enable_nestloop = off")
            self._survey(cursor)
            if self._staged["owners"]:
                self._owners(cursor)
            if self._staged["issuers"]:
                self._issuers(cursor)
            for noun, (table, key, columns) in {
                "clients": CLIENT,
                "servers": SERVER,
                "credentials": CREDENTIAL,
            }.items():
                if self._staged[noun]:
                    self._upsert(cursor, noun, table, key, columns)
            if self._staged["versions"]:
                self._beside(cursor)
            if self._staged["uses"]:
                self._uses(cursor)
            if self._staged["exposures"]:
                self._exposures(cursor)
            if self._staged["assigned"] or self._staged["references"]:
                self._resolve(cursor)
            # A row that names something unknown was not taken, and what it stood for may well be there.
            if unread is not None and not self.unresolved:
                self._gone(cursor, list(unread))

    def _survey(self, cursor: CursorWrapper) -> None:
        """How much of each there is, so that no statement runs for what nobody listed."""
        described = {noun: DESCRIBES[key] for noun, key in zip(NOUNS, KEYS, strict=True)}
        wanted = {
            **described,
            "uses": "client_key IS NOT NULL AND server_key IS NOT NULL",
            "exposures": "is_exposed",
            "issuers": "authorization_server <> ''",
            "assigned": "owner <> '' OR environment <> ''",
            "references": "is_reference",
            "tagged": "tags IS NOT NULL AND NOT is_reference",
            "suspended": f"status = 'suspended' AND {DESCRIBES['credential_key']}",
            "destroyed": f"status = 'destroyed' AND {DESCRIBES['credential_key']}",
            "versions": "version_id IS NOT NULL AND NOT is_reference AND NOT is_older",
        }
        counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in wanted.values())
        owners = "(SELECT count(*) FROM pg_temp.staging_owners)"
        cursor.execute(f"SELECT {counts}, {owners} FROM pg_temp.staging")
        self._staged = dict(zip([*wanted, "owners"], cursor.fetchone(), strict=True))

    def _attach(self, cursor: CursorWrapper) -> None:
        """Find which rows are of versions that listings call otherwise than their credential now, and which are older
        than what an operation did to it.

        From here on such a row stands for the credential where something is used or lies open, and for the version in
        what it says of it. Most estates have none, and then nothing is compared.
        """
        cursor.execute(
            """
            SELECT EXISTS (SELECT 1 FROM inventory_credentialversion WHERE identity_key <> ''),
                   EXISTS (SELECT 1 FROM inventory_credential WHERE operated_at > %(now)s)
            """,
            self._parameters(),
        )
        self._has_versions, has_operated = cursor.fetchone()
        if self._has_versions:
            cursor.execute(
                """
                UPDATE pg_temp.staging s SET version_id = v.id, credential_key = v.called_now
                FROM (
                  SELECT DISTINCT ON (v.identity_key) v.id, v.identity_key, c.identity_key AS called_now
                  FROM inventory_credentialversion v JOIN inventory_credential c ON c.id = v.credential_id
                  WHERE v.identity_key <> ''
                    AND NOT EXISTS (SELECT 1 FROM inventory_credential x WHERE x.identity_key = v.identity_key)
                  ORDER BY v.identity_key, v.id DESC
                ) v
                WHERE s.credential_key = v.identity_key
                """
            )
        if has_operated:
            cursor.execute(
                """
                UPDATE pg_temp.staging s SET is_older = true FROM inventory_credential t
                WHERE t.identity_key = s.credential_key AND t.operated_at > %(now)s
                """,
                self._parameters(),
            )

    # ── One statement each ─────────────────────────────────────────────────────────────────────
    def _parameters(self, **more: Any) -> dict[str, Any]:
        return {
            "connection": self.connection.pk,
            "environment": self.connection.environment_id,
            "is_asked": self.connection.kind != ConnectionKind.FEED,
            "now": self.now,
            "seen": self.connection.last_complete_at or self.now,
            **more,
        }

    def _count(self, name: str, count: int, mark: object = "") -> None:
        if count:
            self.counts[name] = self.counts.get(name, 0) + count
            self._digest.update(f"{name} {count} {mark}\n".encode())

    def _run(self, cursor: CursorWrapper, name: str, statement: str, **more: Any) -> int:
        """Run a writing statement that returns ids; count them and add them to the digest."""
        cursor.execute(f"WITH changed AS ({statement}) SELECT {TALLY} FROM changed", self._parameters(**more))
        count, mark = cursor.fetchone()
        self._count(name, count, mark)
        return int(count)

    def _rows(self, cursor: CursorWrapper, key: str, staged: int) -> tuple[str, int]:
        """The staged rows that describe something, one for each thing, and how many things that are.

        Sorting a million wide rows to find repetitions costs more than counting the keys first, and mostly there is
        no repetition to find.
        """
        described = f"FROM pg_temp.staging WHERE {DESCRIBES[key]}"
        cursor.execute(f"SELECT count(*) FROM (SELECT 1 {described} GROUP BY {key}) things")
        (things,) = cursor.fetchone()
        if things == staged:
            return f"SELECT * {described}", things
        return f"SELECT DISTINCT ON ({key}) * {described} ORDER BY {key}, {self._order}", things

    def _upsert(self, cursor: CursorWrapper, noun: str, table: str, key: str, columns: dict[str, str]) -> None:
        listed, things = self._rows(cursor, key, self._staged[noun])
        self.repeated += self._staged[noun] - things
        if self._staged["assigned"]:
            listed = NAMED.format(listed=listed)
            new = {**NEW_ROW[table], **ASSIGNED[table]}
        else:
            new = {**NEW_ROW[table], **dict.fromkeys(ASSIGNED[table], "NULL::uuid")}
        if table == "inventory_credential" and self._staged["tagged"]:
            new["tags"] = "coalesce(s.tags, '{}')"
        if "environment_id" in new:
            new["environment_id"] = f"coalesce({new['environment_id']}, %(environment)s::uuid)"
        insert = f"""
            INSERT INTO {table} (identity_key, connection_id, first_seen_at, {", ".join([*columns, *new])})
            SELECT s.{key}, %(connection)s, %(now)s,
              {", ".join([*(c if "(" in c else f"s.{c}" for c in columns.values()), *new.values()])}
            FROM ({listed}) s LEFT JOIN {table} t ON t.identity_key = s.{key}
            WHERE t.id IS NULL
            ON CONFLICT (identity_key) DO NOTHING  -- another connection listed it first, a moment ago
            """
        if table == "inventory_credential":
            added = self._add_credentials(cursor, insert)
        else:
            added = self._run(cursor, f"{noun}_added", f"{insert} RETURNING id")
        if added == things:
            return  # nothing was there that could differ
        values = {column: _listed(column, staged) for column, staged in columns.items()}
        taken = TAKES_OVER[table]
        # Only the connection that a row belongs to describes it; any connection that names it makes it present.
        described = {
            column: f"CASE WHEN t.connection_id = %(connection)s OR ({taken}) THEN {value} ELSE t.{column} END"
            for column, value in {**values, "connection_id": "%(connection)s"}.items()
        }
        self._run(
            cursor,
            f"{noun}_changed",
            f"""
            UPDATE {table} t SET gone_at = NULL, last_seen_at = NULL,
              {", ".join(f"{c} = {v}" for c, v in described.items())}
            FROM ({listed}) s
            WHERE t.identity_key = s.{key} AND (t.gone_at IS NOT NULL OR ({taken}) OR t.connection_id = %(connection)s
              AND ({", ".join(f"t.{c}" for c in columns)}) IS DISTINCT FROM ({", ".join(values.values())}))
            RETURNING t.id
            """,
        )
        if table == "inventory_credential":
            self._versions(cursor)
            if self._staged["tagged"]:
                self._tag(cursor, listed)
        if self._staged["assigned"]:
            self._assign(cursor, noun, table, key, listed)

    def _add_credentials(self, cursor: CursorWrapper, insert: str) -> int:
        """New credentials with their first versions, in one pass over what is new."""
        cursor.execute(
            f"""
            WITH new AS ({insert} RETURNING id, external_id, fingerprint, hint, issued_at, status),
            versions AS (
              INSERT INTO inventory_credentialversion
                (credential_id, external_id, fingerprint, hint, issued_at, first_seen_at, is_current, suspended_at,
                 destroyed_at)
              SELECT id, external_id, fingerprint, hint, issued_at, %(now)s, status <> 'destroyed',
                CASE status WHEN 'suspended' THEN %(now)s::timestamptz END,
                CASE status WHEN 'destroyed' THEN %(now)s::timestamptz END
              FROM new WHERE fingerprint <> '' OR external_id <> ''
              RETURNING id)
            SELECT * FROM (SELECT {TALLY} FROM new) a, (SELECT {TALLY} FROM versions) b
            """,
            self._parameters(),
        )
        added, mark, versions, versions_mark = cursor.fetchone()
        self._count("credentials_added", added, mark)
        self._count("versions_added", versions, versions_mark)
        return int(added)

    def _assign(self, cursor: CursorWrapper, noun: str, table: str, key: str, listed: str) -> None:
        """Fill in an owner or an environment that nobody has given yet."""
        filled = {column: f"coalesce(t.{column}, {value})" for column, value in ASSIGNED[table].items()}
        empty = " OR ".join(f"t.{column} IS NULL AND {value} IS NOT NULL" for column, value in ASSIGNED[table].items())
        self._run(
            cursor,
            f"{noun}_assigned",
            f"""
            UPDATE {table} t SET {", ".join(f"{c} = {v}" for c, v in filled.items())}
            FROM ({listed}) s WHERE t.identity_key = s.{key} AND ({empty})
            RETURNING t.id
            """,
        )

    def _tag(self, cursor: CursorWrapper, listed: str) -> None:
        """Add the tags that are said and not there yet, as many as a credential may have. None is taken away."""
        self._run(
            cursor,
            "credentials_tagged",
            f"""
            UPDATE inventory_credential t SET tags = (
              SELECT array_agg(one ORDER BY one) FROM (
                SELECT unnest(t.tags) AS one
                UNION ALL
                (SELECT one FROM unnest(s.tags) one WHERE one <> ALL (t.tags)
                 ORDER BY one LIMIT {MOST} - cardinality(t.tags))
              ) held)
            FROM ({listed}) s
            WHERE t.identity_key = s.credential_key AND t.connection_id = %(connection)s
              AND s.tags IS NOT NULL AND NOT t.tags @> s.tags AND cardinality(t.tags) < {MOST}
            RETURNING t.id
            """,
        )

    def _owners(self, cursor: CursorWrapper) -> None:
        """Add whom nobody knew. Of whom is known, take over whether they are active; what people entered stays."""
        key = "coalesce(nullif(owner_external_id, ''), lower(owner_email))"
        listed = f"SELECT DISTINCT ON ({key}) * FROM pg_temp.staging_owners ORDER BY {key}, n DESC"
        cursor.execute(f"SELECT count(*) - count(DISTINCT {key}) FROM pg_temp.staging_owners")
        self.repeated += cursor.fetchone()[0]
        by_id = "s.owner_external_id <> '' AND o.external_id = s.owner_external_id"
        by_email = "s.owner_email <> '' AND lower(o.email) = lower(s.owner_email)"
        self._run(
            cursor,
            "owners_changed",
            f"""
            UPDATE inventory_owner t SET is_active = coalesce(m.owner_is_active, t.is_active),
              inactive_since = CASE WHEN coalesce(m.owner_is_active, t.is_active) THEN NULL
                                    WHEN t.is_active THEN %(now)s ELSE t.inactive_since END,
              external_id = CASE WHEN t.external_id = '' THEN m.owner_external_id ELSE t.external_id END
            FROM (
              SELECT DISTINCT ON (id) * FROM (
                SELECT o.id, s.* FROM ({listed}) s JOIN inventory_owner o ON {by_id}
                UNION ALL
                SELECT o.id, s.* FROM ({listed}) s JOIN inventory_owner o ON {by_email}
                WHERE (s.owner_external_id = '' OR o.external_id = '')
                  AND NOT EXISTS (SELECT 1 FROM inventory_owner o WHERE {by_id})
              ) matched ORDER BY id, n DESC
            ) m
            WHERE m.id = t.id AND (m.owner_is_active IS DISTINCT FROM t.is_active AND m.owner_is_active IS NOT NULL
              OR t.external_id = '' AND m.owner_external_id <> '')
            RETURNING t.id
            """,
        )
        self._run(
            cursor,
            "owners_added",
            f"""
            INSERT INTO inventory_owner (kind, name, email, external_id, is_active, inactive_since)
            SELECT s.owner_kind, s.owner_name, s.owner_email, s.owner_external_id, coalesce(s.owner_is_active, true),
              CASE WHEN NOT s.owner_is_active THEN %(now)s::timestamptz END
            FROM ({listed}) s
            WHERE NOT EXISTS (SELECT 1 FROM inventory_owner o WHERE {by_id})
              AND NOT EXISTS (SELECT 1 FROM inventory_owner o WHERE {by_email})
            ON CONFLICT DO NOTHING  -- two rows of one e-mail address, or somebody was faster by a moment
            RETURNING id
            """,
        )

    def _resolve(self, cursor: CursorWrapper) -> None:
        """Find what rows name and the inventory does not have: something referred to, an owner, an environment."""
        things = " OR ".join(
            f"s.{key} IS NOT NULL AND NOT EXISTS"
            f" (SELECT 1 FROM {table} t WHERE t.identity_key = s.{key} AND t.gone_at IS NULL)"
            for table, key, _ in (CLIENT, SERVER, CREDENTIAL)
        )
        owner = """NOT EXISTS (SELECT 1 FROM inventory_owner o WHERE o.is_active AND lower(o.email) = lower(s.owner))
            AND NOT EXISTS (SELECT 1 FROM inventory_owner o WHERE o.is_active AND o.external_id = s.owner)"""
        environment = "NOT EXISTS (SELECT 1 FROM inventory_environment v WHERE v.name = s.environment)"
        for condition, field, sentence in (
            (
                f"s.is_reference AND ({things})",
                "",
                "It names something that the inventory does not have any more, or yet.",
            ),
            (f"s.owner <> '' AND {owner}", "owner", "Nobody who is active has this e-mail address or external id."),
            (f"s.environment <> '' AND {environment}", "environment", "There is no environment of this name."),
        ):
            cursor.execute(
                f"SELECT line, count(*) OVER () FROM pg_temp.staging s WHERE {condition} ORDER BY line LIMIT %s",
                [MOST_PROBLEMS],
            )
            found = cursor.fetchall()
            self.problems.extend({"line": line, "pointer": field, "reason": sentence} for line, _ in found)
            if found and not field:
                self.unresolved = found[0][1]

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
        """A value that changed in its slot ends the old version and begins a new one.

        One that is listed as destroyed is a version's end too: listed as anything else later on, it begins another one,
        so that both sides of a value that came back are kept. Suspended is one since it was first listed so.
        """
        differs = "(v.fingerprint, v.external_id) IS DISTINCT FROM (c.fingerprint, c.external_id)"
        cursor.execute(
            f"""
            UPDATE inventory_credentialversion v SET is_current = false
            FROM inventory_credential c JOIN pg_temp.staging s ON s.credential_key = c.identity_key
            WHERE v.credential_id = c.id AND v.is_current AND (c.fingerprint <> '' OR c.external_id <> '') AND {differs}
            """
        )
        listed = """inventory_credential c JOIN pg_temp.staging s ON s.credential_key = c.identity_key
            AND NOT s.is_reference"""
        if self._staged["destroyed"]:
            self._run(
                cursor,
                "versions_destroyed",
                f"""
                UPDATE inventory_credentialversion v SET is_current = false, destroyed_at = %(now)s FROM {listed}
                WHERE v.credential_id = c.id AND v.is_current AND c.status = 'destroyed'
                RETURNING v.id
                """,
            )
        if self._staged["suspended"] or self._has_suspended(cursor):
            self._run(
                cursor,
                "versions_suspended",
                f"""
                UPDATE inventory_credentialversion v
                SET suspended_at = CASE c.status WHEN 'suspended' THEN %(now)s::timestamptz END FROM {listed}
                WHERE v.credential_id = c.id AND v.is_current
                  AND (c.status = 'suspended') <> (v.suspended_at IS NOT NULL)
                RETURNING v.id
                """,
            )
        self._run(
            cursor,
            "versions_added",
            """
            INSERT INTO inventory_credentialversion
              (credential_id, external_id, fingerprint, hint, issued_at, first_seen_at, is_current, suspended_at)
            SELECT DISTINCT ON (c.id) c.id, c.external_id, c.fingerprint, c.hint, c.issued_at, %(now)s, true,
              CASE c.status WHEN 'suspended' THEN %(now)s::timestamptz END
            FROM inventory_credential c JOIN pg_temp.staging s ON s.credential_key = c.identity_key
            LEFT JOIN inventory_credentialversion v ON v.credential_id = c.id AND v.is_current
            WHERE v.id IS NULL AND c.status <> 'destroyed' AND (c.fingerprint <> '' OR c.external_id <> '')
            RETURNING id
            """,
        )

    # Of what a provider lists of its own: of a version `v`, its credential `t` and the staged row `s`.
    OWN_VERSION = "t.id = v.credential_id AND t.connection_id = %(connection)s AND NOT v.is_current"

    def _beside(self, cursor: CursorWrapper) -> None:
        """What the listing says of versions beside the current ones. None of it touches their credentials."""
        values = {
            "suspended_at": """CASE s.status WHEN 'suspended' THEN coalesce(v.suspended_at, %(now)s)
                WHEN 'active' THEN NULL ELSE v.suspended_at END""",
            "destroyed_at": """CASE s.status WHEN 'destroyed' THEN coalesce(v.destroyed_at, %(now)s)
                ELSE v.destroyed_at END""",
            "revived_at": """CASE WHEN v.destroyed_at IS NOT NULL AND s.status = 'active'
                THEN coalesce(v.revived_at, %(now)s) END""",
            "last_used_at": "greatest(v.last_used_at, s.last_used_at)",
        }
        changed = self._run(
            cursor,
            "versions_changed",
            f"""
            UPDATE inventory_credentialversion v
            SET {", ".join(f"{column} = {value}" for column, value in values.items())}
            FROM inventory_credential t, (
              SELECT DISTINCT ON (version_id) * FROM pg_temp.staging
              WHERE version_id IS NOT NULL AND NOT is_reference AND NOT is_older ORDER BY version_id, {self._order}) s
            WHERE s.version_id = v.id AND {self.OWN_VERSION}
              AND ({", ".join(f"v.{column}" for column in values)}) IS DISTINCT FROM ({", ".join(values.values())})
            RETURNING v.id
            """,
        )
        if changed:
            # What was destroyed and is alive again is somebody's to look at, although all of the credential is gone.
            self._run(
                cursor,
                "credentials_changed",
                """
                UPDATE inventory_credential t SET gone_at = NULL, last_seen_at = NULL
                FROM inventory_credentialversion v
                WHERE v.credential_id = t.id AND v.revived_at = %(now)s AND t.gone_at IS NOT NULL
                  AND t.connection_id = %(connection)s
                RETURNING t.id
                """,
            )

    def _has_suspended(self, cursor: CursorWrapper) -> bool:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM inventory_credentialversion WHERE is_current AND suspended_at IS NOT NULL)"
        )
        return bool(cursor.fetchone()[0])

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
            FROM ({self._places}) p LEFT JOIN inventory_use x ON {self.SAME_USE}
            WHERE x.id IS NULL
            RETURNING id
            """,
        )
        self._run(
            cursor,
            "uses_changed",
            f"""
            UPDATE inventory_use x SET is_disabled = p.is_disabled, held_as = p.held_as FROM ({self._places}) p
            WHERE {self.SAME_USE} AND (x.is_disabled, x.held_as) IS DISTINCT FROM (p.is_disabled, p.held_as)
            RETURNING x.id
            """,
        )

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
            FROM ({self._exposed}) p LEFT JOIN inventory_exposure x ON {self.SAME_EXPOSURE}
            WHERE x.id IS NULL
            RETURNING id
            """,
        )
        self._run(
            cursor,
            "exposures_changed",
            f"""
            UPDATE inventory_exposure x SET is_readable_by_others = p.is_readable_by_others FROM ({self._exposed}) p
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
              AND NOT EXISTS (SELECT 1 FROM ({self._places}) p WHERE {self.SAME_USE})
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
              AND NOT EXISTS (SELECT 1 FROM ({self._exposed}) p WHERE {self.SAME_EXPOSURE})
            RETURNING x.id
            """,
            unread=unread,
            whole=WHOLE,
        )
        # A file may go on holding a key that its provider no longer knows: it is there, and nobody can use it.
        self._run(
            cursor,
            "credentials_destroyed",
            f"""
            UPDATE inventory_credential t SET status = 'destroyed'
            WHERE t.connection_id = %(connection)s AND t.gone_at IS NULL AND t.storage = 'provider'
              AND t.status NOT IN ('destroyed', 'expired') AND ({OPERATED_SINCE}) IS NOT TRUE
              AND NOT EXISTS (SELECT 1 FROM pg_temp.staging s
                              WHERE s.credential_key = t.identity_key AND s.version_id IS NULL)
            RETURNING t.id
            """,
        )
        if self._has_versions:
            self._run(
                cursor,
                "versions_gone",
                f"""
                UPDATE inventory_credentialversion v
                SET destroyed_at = coalesce(v.destroyed_at, %(now)s), revived_at = NULL
                FROM inventory_credential t
                WHERE {self.OWN_VERSION} AND t.storage = 'provider' AND v.identity_key <> ''
                  AND (v.revived_at IS NOT NULL OR v.destroyed_at IS NULL AND v.identity_key <> t.identity_key)
                  AND ({OPERATED_SINCE}) IS NOT TRUE
                  AND NOT EXISTS (SELECT 1 FROM pg_temp.staging s WHERE s.version_id = v.id)
                RETURNING v.id
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
                f"""AND NOT EXISTS (
                  SELECT 1 FROM inventory_exposure e WHERE e.credential_id = t.id AND e.gone_at IS NULL)
                AND ({OPERATED_SINCE}) IS NOT TRUE"""
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
