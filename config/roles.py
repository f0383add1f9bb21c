"""Who may do what in the database: one role owns it and migrates, another one serves people and works.

What the application's role may do follows from rules over the tables that there are, so a table that a migration adds
needs nothing said about it. What only ever grows is named here.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from config.errors import CannotStart

OWNER = "keyreeve_owner"
APPLICATION = "keyreeve_app"
SCHEMAS = ("public", "history", "past", "pgmq")
ROLES_LOCK = 7_260_551_445

READ = frozenset({"SELECT"})
APPEND = READ | {"INSERT"}
WRITE = APPEND | {"UPDATE", "DELETE"}
# What the database keeps of the past: written by triggers, forgotten after its time, never changed.
KEEP = APPEND | {"DELETE"}
COUNT = frozenset({"SELECT", "USAGE"})
# What the application tidies up itself after it wrote very much at once. Before PostgreSQL 17 only an owner may, and
# the database does it within some minutes.
TIDIED = frozenset({("public", "reviews_reviewitem")})
MAINTAIN_SINCE = 170_000

BY_TABLE = {
    ("public", "audit_auditentry"): APPEND,
    ("public", "audit_chainhead"): APPEND,
    ("public", "audit_chainkey"): APPEND,
    # Written by migrations alone.
    ("public", "django_migrations"): READ,
    ("public", "django_content_type"): READ,
    ("public", "auth_permission"): READ,
    ("public", "auth_group"): READ,
    ("public", "auth_group_permissions"): READ,
}
BY_SCHEMA = {"public": WRITE, "history": KEEP, "past": READ, "pgmq": WRITE}

_HELD = """
SELECT n.nspname, c.relname, c.relkind = 'S',
  ARRAY(SELECT a.privilege_type FROM aclexplode(c.relacl) a WHERE a.grantee = to_regrole(%(role)s))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'S') ORDER BY 1, 2
"""
# Whatever of ours somebody else owns: in a database of a release that had one role, everything.
_FOREIGN = """
SELECT format('ALTER SCHEMA %%I OWNER TO %%I', nspname, %(owner)s::text) FROM pg_namespace
WHERE nspname = ANY(%(schemas)s) AND nspname <> 'public' AND nspowner <> to_regrole(%(owner)s)
UNION ALL
SELECT format('ALTER %%s %%I.%%I OWNER TO %%I',
  CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'c' THEN 'TYPE'
  ELSE 'TABLE' END, n.nspname, c.relname, %(owner)s::text)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'c')
  AND c.relowner <> to_regrole(%(owner)s)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
    AND (d.deptype = 'e' OR c.relkind = 'S' AND d.deptype IN ('a', 'i')))
UNION ALL
SELECT format('ALTER ROUTINE %%s OWNER TO %%I', p.oid::regprocedure, %(owner)s::text)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = ANY(%(schemas)s) AND p.proowner <> to_regrole(%(owner)s)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT format('ALTER TYPE %%s OWNER TO %%I', t.oid::regtype, %(owner)s::text)
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = ANY(%(schemas)s) AND t.typtype IN ('e', 'd') AND t.typowner <> to_regrole(%(owner)s)
"""


def divide(conninfo: str) -> None:
    """In the embedded database, by its superuser: make the two roles, and give everything to the one that owns.

    A database that was made before there were two is divided the same way.
    """
    with psycopg.connect(conninfo) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [ROLES_LOCK])
        for role in (OWNER, APPLICATION):
            if not _exists(connection, role):
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        (database, is_ours) = connection.execute(
            "SELECT datname, datdba = to_regrole(%s) FROM pg_database WHERE datname = current_database()", [OWNER]
        ).fetchone() or ("", True)
        if not is_ours:
            connection.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), sql.Identifier(OWNER))
            )
        found = connection.execute(_FOREIGN, {"schemas": list(SCHEMAS), "owner": OWNER}).fetchall()
        for (statement,) in found:
            connection.execute(statement)


def grant(conninfo: str, application: str) -> None:
    """By the owner: let the application's role do what it needs with what there is now, and nothing else.

    Nothing is written where it is so already. Raises CannotStart where there is no such role.
    """
    with psycopg.connect(conninfo) as connection:
        if connection.info.user == application:
            return  # one role for everything
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [ROLES_LOCK])
        if not _exists(connection, application):
            raise CannotStart(
                f"The database has no role {application}, which DATABASE_URL names. "
                "Make it as docs/deployment.md says, or name another one."
            )
        role = sql.Identifier(application)
        for schema in _schemas_without_usage(connection, application):
            connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), role))
        held = connection.execute(_HELD, {"schemas": list(SCHEMAS), "role": application}).fetchall()
        for schema, name, is_sequence, privileges in held:
            wanted = may(schema, name, is_sequence=is_sequence)
            if (schema, name) in TIDIED and connection.info.server_version >= MAINTAIN_SINCE:
                wanted |= {"MAINTAIN"}
            if wanted == set(privileges):
                continue
            what = sql.SQL("{} {}").format(
                sql.SQL("SEQUENCE" if is_sequence else "TABLE"), sql.Identifier(schema, name)
            )
            connection.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(what, role))
            listed = sql.SQL(", ").join(map(sql.SQL, sorted(wanted)))
            connection.execute(sql.SQL("GRANT {} ON {} TO {}").format(listed, what, role))


def may(schema: str, name: str, *, is_sequence: bool = False) -> frozenset[str]:
    """What the application's role may do with it."""
    return COUNT if is_sequence else BY_TABLE.get((schema, name), BY_SCHEMA[schema])


def _schemas_without_usage(connection: psycopg.Connection[Any], role: str) -> Iterator[str]:
    found = connection.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s) AND NOT has_schema_privilege(%s, oid, 'USAGE')",
        [list(SCHEMAS), role],
    ).fetchall()
    return (name for (name,) in found)


def _exists(connection: psycopg.Connection[Any], role: str) -> bool:
    return connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None
