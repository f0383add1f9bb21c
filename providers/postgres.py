"""PostgreSQL as a place that issues credentials: its login roles, in one read-only look.

Any role may look: names, rights and "valid until" are open to all. Whether a role was seen in a session needs
membership in `pg_read_all_stats`; whether it has a password at all needs more than a reader should hold. What may not
be read is unknown, with the reason. A password's verifier never leaves the server.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from providers.base import DiscoveredCredential, Problem, Secret, Status
from providers.errors import Denied, Permanent, ProviderError, Refused, Transient

ISSUER = "PostgreSQL"
NOWHERE = "/dev/null/none"  # a file that cannot be: libpq would else look for a password in the user's home
ROWS_AT_ONCE = 500
MOST_MEMBERSHIPS, LONGEST_COMMENT = 50, 2_000
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
SSL_MODES = {"disable", "prefer", "require", "verify-ca", "verify-full"}
DATE_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
# What a role's comment says while Keyreeve has it suspended: it is listed still, unlike other roles without a login.
SUSPENDED = "keyreeve=suspended"
HOST = re.compile(r"/[^\x00,]{1,200}|[A-Za-z0-9_.:-]{1,253}")
BUSY = ("starting up", "shutting down", "recovery mode", "too many", "connection slots", "not accepting connections")

ROLES = """
    SELECT r.rolname AS name, r.rolsuper AS superuser, r.rolreplication AS replication, r.rolbypassrls AS bypassrls,
      r.rolcanlogin AS may_sign_in, r.rolcreaterole AS create_role, r.rolcreatedb AS create_database,
      r.rolconnlimit AS connection_limit,
      r.rolvaliduntil IS NOT NULL AND r.rolvaliduntil <= now() AS is_expired,
      -- Beyond what a calendar holds: 'infinity' is no end at all, '-infinity' one that is long past.
      CASE WHEN r.rolvaliduntil < '1970-01-01' THEN '1970-01-01'::timestamptz
           WHEN r.rolvaliduntil < '9999-12-31' THEN r.rolvaliduntil END AS valid_until,
      CASE WHEN r.oid = me.usesysid THEN date_trunc('day', now())
           WHEN s.started IS NOT NULL THEN greatest(s.started, date_trunc('day', now())) END AS seen,
      left(shobj_description(r.oid, 'pg_authid'), {longest}) AS comment,
      ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
            WHERE m.member = r.oid ORDER BY 1 LIMIT {most}) AS member_of,
      {password} AS password
    FROM pg_roles r
    CROSS JOIN (SELECT usesysid FROM pg_stat_activity WHERE pid = pg_backend_pid()) me
    LEFT JOIN (SELECT usesysid, max(backend_start) AS started FROM pg_stat_activity
               WHERE backend_type IN ('client backend', 'walsender') GROUP BY usesysid) s ON s.usesysid = r.oid
    WHERE r.rolcanlogin OR shobj_description(r.oid, 'pg_authid') ~ {suspended}
    ORDER BY r.rolname
"""
# Decided on the server: neither hash nor verifier is ever selected.
PASSWORD = """(SELECT CASE WHEN a.rolpassword IS NULL THEN 'none' WHEN a.rolpassword LIKE 'SCRAM-SHA-256$%'
    THEN 'scram-sha-256' WHEN a.rolpassword LIKE 'md5%' THEN 'md5' ELSE 'other' END
    FROM pg_authid a WHERE a.oid = r.oid)"""
RIGHTS = """
    SELECT has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT')
       AND has_column_privilege('pg_catalog.pg_authid', 'oid', 'SELECT') AS sees_passwords,
      pg_has_role('pg_read_all_stats', 'USAGE') AS sees_activity,
      has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AS may_identify
"""
NO_ACTIVITY = "unknown: sessions of others are hidden from this role; grant it pg_read_all_stats"
NO_PASSWORDS = "unknown: pg_authid may not be read, and a reader should not"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to connect and as whom. The password comes from a reference; there is no other way to give one."""

    host: str
    user: str
    port: int = 5432
    database: str = "postgres"
    password: Secret | None = None
    sslmode: str = ""
    sslrootcert: str = ""
    patience: int = 10  # seconds until a connection stands
    addresses: tuple[str, ...] = ()  # what the host was found to be; its name is then not looked up again

    def __post_init__(self) -> None:
        if not HOST.fullmatch(self.host):
            raise Refused("The host is one name, one address, or the folder of a socket.")
        if self.sslmode and self.sslmode not in SSL_MODES:
            raise Permanent(f"sslmode is one of {', '.join(sorted(SSL_MODES))}.")
        if not 0 < self.port < 65_536:
            raise Permanent("The port is a number from 1 to 65535.")

    @property
    def is_local(self) -> bool:
        return self.host.startswith("/") or self.host in LOOPBACK

    def parameters(self) -> dict[str, Any]:
        """What libpq is told. All that it would else take from the environment or the home folder is said here."""
        mode = self.sslmode or ("prefer" if self.is_local else "verify-full")
        known: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password.reveal() if self.password else "",
            "passfile": NOWHERE,
            "sslmode": mode,
            "application_name": "keyreeve",
            "connect_timeout": self.patience,
            "tcp_user_timeout": 30_000,
            "client_encoding": "utf8",
        }
        if self.addresses:
            # Both are lists of one length. The name still says whose certificate it must be.
            known["host"] = ",".join([self.host] * len(self.addresses))
            known["hostaddr"] = ",".join(self.addresses)
        if mode.startswith("verify"):
            known["sslrootcert"] = self.sslrootcert or "system"
        else:
            # Only a server whose certificate was checked is told a password in the clear.
            known["require_auth"] = "!password"
        return known


class Roles:
    """A `Provider` over the login roles of one cluster.

    `label` is what people call the cluster; without one its roles are named after the host. `date_key` names the
    operator's own convention, if there is one: with "rotated", a role's comment that holds `rotated=2026-06-01` says
    when its password was set. PostgreSQL itself keeps no such date.
    """

    def __init__(self, target: Target, *, label: str = "", date_key: str = "") -> None:
        if date_key and not DATE_KEY.fullmatch(date_key):
            raise Permanent("The word before a date in a comment is letters and digits, such as rotated.")
        self._target = target
        self._label = label or ("local" if target.host.startswith("/") else target.host)
        self._date = dated_by(date_key)

    def check(self) -> str:
        with self._connected() as connection:
            row = connection.execute(
                "SELECT current_user AS role, count(*) AS roles FROM pg_roles WHERE rolcanlogin"
            ).fetchone() or {"role": "", "roles": 0}
            version = connection.info.parameter_status("server_version") or "of an unknown version"
            rights = _rights(connection)
        hidden = "" if rights["sees_activity"] else " Sessions are hidden from it: grant it pg_read_all_stats."
        return f"Signed in to PostgreSQL {version} as {row['role']}; {row['roles']} login roles are visible.{hidden}"

    def discover(self) -> Iterator[DiscoveredCredential | Problem]:
        with self._connected() as connection:
            rights = _rights(connection)
            if not rights["may_identify"]:
                raise Denied(
                    "The role may not tell this cluster from others. "
                    f"GRANT EXECUTE ON FUNCTION pg_control_system() TO {self._target.user}."
                )
            (cluster,) = connection.execute("SELECT system_identifier AS id FROM pg_control_system()").fetchall()
            statement = sql.SQL(ROLES).format(
                longest=LONGEST_COMMENT,
                suspended=rf"\m{SUSPENDED}\M",
                most=MOST_MEMBERSHIPS,
                password=sql.SQL(PASSWORD if rights["sees_passwords"] else "NULL::text"),
            )
            with connection.cursor(name="roles") as cursor:
                cursor.itersize = ROWS_AT_ONCE
                cursor.execute(statement)
                for row in cursor:
                    yield self._described(row, cluster["id"], rights)

    def _described(self, row: DictRow, cluster: int, rights: DictRow) -> DiscoveredCredential:
        password = row["password"] or NO_PASSWORDS
        details: dict[str, Any] = {
            right: True
            for right in ("superuser", "replication", "bypassrls", "create_role", "create_database")
            if row[right]
        }
        if row["connection_limit"] >= 0:
            details["connection_limit"] = row["connection_limit"]
        if row["member_of"]:
            details["member_of"] = row["member_of"]
        if not rights["sees_activity"] and row["seen"] is None:
            details["last_seen"] = NO_ACTIVITY
        return DiscoveredCredential(
            identity=f"postgres:{cluster}:{row['name']}",
            name=f"{self._label} / {row['name']}",
            # A role without a password signs in with a certificate, a ticket or its operating-system user.
            kind="other" if password == "none" else "database_password",
            principal=row["name"],
            external_id=row["name"],
            issuer=ISSUER,
            status=_status(row),
            issued_at=date_in(row["comment"], self._date),
            last_used_at=row["seen"],
            expires_at=row["valid_until"],
            details={**details, "password": password},
        )

    def _connected(self) -> AbstractContextManager[psycopg.Connection[DictRow]]:
        return connected(self._target)


@contextmanager
def connected(target: Target, *, may_write: bool = False) -> Iterator[psycopg.Connection[DictRow]]:
    """One transaction that can only read unless it says otherwise, for a bounded time, with one name for one thing."""
    with translated():
        connection = psycopg.connect(**target.parameters(), row_factory=dict_row, prepare_threshold=None)
        with connection:
            connection.read_only = not may_write
            # In the transaction, not at the start: a pooler before the server refuses options at the start.
            for setting, value in (
                ("search_path", "pg_catalog"),
                ("statement_timeout", "15s" if may_write else "30s"),
                ("lock_timeout", "5s"),
                ("idle_in_transaction_session_timeout", "30s" if may_write else "120s"),
                ("TimeZone", "UTC"),
                ("DateStyle", "ISO"),
            ):
                connection.execute("SELECT set_config(%s, %s, true)", [setting, value])
            yield connection


def _status(row: DictRow) -> Status:
    if not row["may_sign_in"]:
        return Status.SUSPENDED  # of the others that may not sign in none is listed
    return Status.EXPIRED if row["is_expired"] else Status.ACTIVE


def dated_by(date_key: str) -> re.Pattern[str] | None:
    """How comments name the date of a password, by the operator's own convention if there is one."""
    return re.compile(rf"\b{re.escape(date_key)}[=:] ?(\d{{4}}-\d\d-\d\d)\b") if date_key else None


def date_in(comment: str | None, convention: re.Pattern[str] | None) -> datetime | None:
    found = convention.search(comment or "") if convention else None
    if found is None:
        return None
    try:
        return datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    except ValueError:  # the thirtieth of February
        return None


def _rights(connection: psycopg.Connection[DictRow]) -> DictRow:
    return connection.execute(RIGHTS).fetchone() or {}


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as exc:
        raise as_provider_error(exc) from exc
    except UnicodeError as exc:
        raise Permanent("The server names a role in an encoding that is not its own.") from exc


def as_provider_error(exc: psycopg.Error) -> ProviderError:
    """Our word for an error of the server or of libpq. Their own words are not kept: a server may say anything."""
    if exc.sqlstate is not None:
        return _of_state(exc.sqlstate)
    said, asked = str(exc), exc.pgconn
    if isinstance(exc, psycopg.errors.ConnectionTimeout):
        return Transient("The server does not answer.")
    if asked is None:
        return Transient("The server's name is not known here.")
    if any(busy in said for busy in BUSY):
        return Transient("The server takes no more connections at the moment.")
    if "certificate" in said or "SSL" in said:
        return Permanent("No connection over TLS as the settings ask for it: see sslmode and sslrootcert.")
    if "authentication method requirement" in said:
        return Refused("The server wants the password in the clear, and its certificate is not checked: see sslmode.")
    if asked.used_password or asked.needs_password or "FATAL" in said:
        return Denied("The server refuses the sign-in: look at role, password, database and pg_hba.conf.")
    return Transient("The server does not answer.")


def _of_state(state: str) -> ProviderError:
    if state in {"42501", "28000", "28P01"}:
        return Denied(f"The server refuses what was asked (SQLSTATE {state}).")
    if state[:2] in {"08", "53", "57", "40", "55"}:
        return Transient(f"The server gave up on what was asked (SQLSTATE {state}).")
    return Permanent(f"The server does not answer what was asked (SQLSTATE {state}).")
