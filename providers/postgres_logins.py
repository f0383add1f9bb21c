"""Two alternating logins of one owner role: how a PostgreSQL password is rotated without an outage.

A role has one password, so a new one would end the old at once. `orders_a` and `orders_b` are two logins with the
same memberships: while consumers sign in as the one, the other is given a new password, and they move over. What
reaches the server is a verifier (RFC 5802, RFC 7677), never the password: no log of statements can hold it.

What Keyreeve did to a role stands in its comment as `keyreeve=…`, beside whatever people wrote there: the request key
while the password that it issued is in force, `suspended`, or `ended`.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote

import psycopg
from psycopg import sql
from psycopg.rows import DictRow

from providers.base import (
    Basis,
    Capability,
    CredentialRef,
    DiscoveredVersion,
    Issued,
    Liveness,
    Secret,
    Seen,
    Status,
)
from providers.errors import Denied, NoRoom, Permanent, Refused
from providers.postgres import SUSPENDED, Target, as_provider_error, connected, date_in, dated_by

MARK = re.compile(r"\s*\bkeyreeve=(\S+)")
SUFFIX = re.compile(r"[A-Za-z0-9_-]{1,20}")
ENDED = "keyreeve=ended"
# What must be equal, or consumers that move to the other login find less, or more, than they had.
ALIKE = ("superuser", "replication", "bypassrls", "create_role", "create_database")

LOGINS = """
    SELECT r.rolname AS name, r.rolcanlogin AS may_sign_in, r.rolsuper AS superuser, r.rolreplication AS replication,
      r.rolbypassrls AS bypassrls, r.rolcreaterole AS create_role, r.rolcreatedb AS create_database,
      r.rolvaliduntil IS NOT NULL AND r.rolvaliduntil <= now() AS is_expired,
      r.rolvaliduntil::text AS valid_until,
      CASE WHEN r.rolvaliduntil > now() AND r.rolvaliduntil < '9999-12-31' THEN r.rolvaliduntil END AS expires_at,
      shobj_description(r.oid, 'pg_authid') AS comment,
      -- Whose session it is may be seen by all; since when, only by some.
      (SELECT count(*) FROM pg_stat_activity s WHERE s.usesysid = r.oid) AS sessions,
      (SELECT max(s.backend_start) FROM pg_stat_activity s WHERE s.usesysid = r.oid) AS seen,
      ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
            WHERE m.member = r.oid ORDER BY 1) AS member_of,
      (SELECT substr(c, 6) FROM unnest(r.rolconfig) c WHERE c LIKE 'role=%%') AS acts_as,
      r.oid = 10 AS is_first, r.rolname = session_user AS is_ours, now() AS now
    FROM pg_roles r
    WHERE r.rolname = ANY(%s)
"""


class Logins:
    """An `Operable` over the login roles of one cluster, for a role that may alter them.

    `suffixes` are how the two names of a pair end. A role without a twin can be revoked, but not rotated.
    """

    # Not CALLER_CHOOSES_SECRET: nothing is kept from which one password could be made twice.
    capabilities = frozenset(
        {
            Capability.ISSUE,
            Capability.SUSPEND,
            Capability.DESTROY,
            Capability.LISTS_VERSIONS,
            Capability.PRESENTS,
            Capability.LAST_USED,
        }
    )

    def __init__(self, target: Target, *, suffixes: tuple[str, str] = ("_a", "_b"), date_key: str = "") -> None:
        one, other = suffixes
        if not SUFFIX.fullmatch(one) or not SUFFIX.fullmatch(other) or one.endswith(other) or other.endswith(one):
            raise Permanent("The names of two alternating logins end differently, such as in _a and _b.")
        self._target = target
        self._suffixes = suffixes
        self._date_key = date_key
        self._date = dated_by(date_key)

    # ── What there is ──────────────────────────────────────────────────────────────────────────────
    def versions(self, ref: CredentialRef) -> Sequence[DiscoveredVersion]:
        """Of the pair those that are in force or could be again: an ended login is only a name to issue to."""
        with connected(self._target) as connection:
            found = _logins(connection, self._pair(ref))
        return [
            DiscoveredVersion(
                external_id=name,
                status=_status(row),
                issued_at=date_in(row["comment"], self._date),
                last_used_at=row["seen"],
                mark=_mark(row),
            )
            for name, row in sorted(found.items())
            if _status(row) is not Status.DESTROYED
        ]

    def verify(self, ref: CredentialRef, external_id: str, secret: Secret | None) -> Seen:
        presented = self._present(external_id, secret) if secret is not None else None
        if presented is not None and presented.liveness is Liveness.ALIVE:
            return presented
        with connected(self._target) as connection:
            row = self._login(connection, ref, external_id)
        if row is not None and row["sessions"]:
            still = f"{external_id} has {row['sessions']} open sessions, which go on until they are ended."
            return Seen(liveness=Liveness.ALIVE, basis=Basis.RECORD, sentence=still)
        if presented is not None and presented.liveness is Liveness.REFUSED:
            return presented
        recorded = _recorded(external_id, row)
        if presented is not None and recorded.liveness is Liveness.ALIVE:
            return presented  # the record knows that it may sign in, not with which password
        return recorded

    def _present(self, name: str, secret: Secret) -> Seen:
        """Sign in with the secret, and only where the server asks for it."""
        said = self._sign_in(name, secret)
        if said is None:
            return Seen(
                liveness=Liveness.ALIVE,
                basis=Basis.PRESENTED,
                sentence=f"The server took the password of {name} and opened a session.",
            )
        if "authentication method requirement" in said:
            return Seen(
                liveness=Liveness.UNKNOWN,
                basis=Basis.NOTHING,
                sentence=f"The server does not ask {name} for a password as the settings demand it: see pg_hba.conf.",
            )
        # libpq gives no SQLSTATE for a sign-in that failed, and servers speak in many languages. Whoever shows a
        # password that cannot be right is told what is said of a wrong one.
        wrong = "password authentication failed"
        if wrong in said or said == self._sign_in(name, Secret(secrets.token_urlsafe(32))):
            return Seen(
                liveness=Liveness.REFUSED,
                basis=Basis.PRESENTED,
                sentence=f"The server refused the sign-in of {name} with this password (28P01).",
            )
        return Seen(
            liveness=Liveness.UNKNOWN,
            basis=Basis.NOTHING,
            sentence=f"The sign-in of {name} failed for another reason than its password.",
        )

    def _sign_in(self, name: str, secret: Secret) -> str | None:
        """None once a session stood, else what was said. Raises what is no answer to the password."""
        known = replace(self._target, user=name, password=secret).parameters()
        methods = "scram-sha-256,md5"
        known["require_auth"] = f"{methods},password" if known["sslmode"].startswith("verify") else methods
        try:
            psycopg.connect(**known).close()
        except psycopg.Error as exc:
            error = as_provider_error(exc)
            if isinstance(error, Denied | Refused):
                return str(exc)
            raise error from exc
        return None

    # ── What is done ───────────────────────────────────────────────────────────────────────────────
    def issue(self, ref: CredentialRef, *, request_key: str) -> Issued:
        """A new password for the login of the pair that nobody uses. Raises NoRoom where somebody does."""
        known, twin = ref.external_id, self._twin(ref.external_id)
        with connected(self._target, may_write=True) as connection:
            found = _logins(connection, [known, twin])
            statuses = {name: _status(row) for name, row in found.items()}
            if statuses.get(known) is Status.DESTROYED and statuses.get(twin) in {Status.ACTIVE, Status.EXPIRED}:
                known, twin = twin, known  # consumers have moved since the credential was last looked at
            idle = _rotatable(known, twin, found)
            used = found[known]
            password = secrets.token_urlsafe(32)
            verifier = connection.pgconn.encrypt_password(password.encode(), twin.encode(), b"scram-sha-256").decode()
            clauses = [sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(twin), verifier)]
            expires_at = idle["expires_at"]
            if idle["is_expired"]:
                expires_at = used["expires_at"]
                ends = used["valid_until"] if expires_at else "infinity"
                clauses.append(sql.SQL("VALID UNTIL {}").format(ends))
            connection.execute(sql.SQL(" ").join(clauses))
            if owner := self._owner(used, idle):
                connection.execute(
                    sql.SQL("ALTER ROLE {} SET role = {}").format(sql.Identifier(twin), sql.Identifier(owner))
                )
            comment = _marked(idle, f"keyreeve={quote(request_key, safe=':')}")
            if self._date:
                comment = f"{self._date.sub('', comment).strip()} {self._date_key}={idle['now']:%Y-%m-%d}"
            _comment(connection, twin, comment)
        return Issued(
            external_id=twin,
            secret=Secret(password),
            identity=_identity(ref, twin),
            issued_at=idle["now"],
            expires_at=expires_at,
        )

    def suspend(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        self._end(ref, external_id, "ALTER ROLE {} NOLOGIN", SUSPENDED)

    def destroy(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        """The role stays, without login and password: it is what the next rotation issues to."""
        self._end(ref, external_id, "ALTER ROLE {} NOLOGIN PASSWORD NULL", ENDED)

    def _end(self, ref: CredentialRef, name: str, statement: str, mark: str) -> None:
        with connected(self._target, may_write=True) as connection:
            row = self._login(connection, ref, name)
            if row is None:
                return
            _refuse_protected(row)
            if mark == ENDED or row["may_sign_in"]:
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
                _comment(connection, name, _marked(row, mark))
        self._end_sessions(name)

    def _end_sessions(self, name: str) -> None:
        """After the login is closed for good, so that no session begins in between."""
        mine = "SELECT {} FROM pg_stat_activity WHERE usename = %s"
        with connected(self._target, may_write=True) as connection:
            if not connection.execute(mine.format("pid") + " LIMIT 1", [name]).fetchone():
                return
            try:
                connection.execute(mine.format("pg_terminate_backend(pid)"), [name])
                # They end on their own time; a few are waited for, and what is left is seen by `verify`.
                connection.execute(mine.format("pg_terminate_backend(pid, 1000)") + " LIMIT 3", [name])
            except psycopg.errors.InsufficientPrivilege as exc:
                raise Denied(
                    f"{name} can sign in no more, but its open sessions go on: "
                    f"GRANT pg_signal_backend TO {self._target.user}."
                ) from exc

    def resume(self, ref: CredentialRef, external_id: str) -> None:
        with connected(self._target, may_write=True) as connection:
            row = self._login(connection, ref, external_id)
            if row is None or _marked_as(row, ENDED):
                raise Permanent(f"{external_id} has ended: its password is gone, so its login would be of no use.")
            if not row["may_sign_in"]:
                connection.execute(sql.SQL("ALTER ROLE {} LOGIN").format(sql.Identifier(external_id)))
                _comment(connection, external_id, _marked(row, ""))

    # ── Pairs ──────────────────────────────────────────────────────────────────────────────────────
    def _pair(self, ref: CredentialRef) -> list[str]:
        name = ref.external_id
        for one, other in (self._suffixes, self._suffixes[::-1]):
            if name.endswith(one) and len(name) > len(one):
                return [name, name.removesuffix(one) + other]
        return [name]

    def _twin(self, name: str) -> str:
        pair = self._pair(CredentialRef(identity="", kind="", external_id=name))
        if len(pair) == 1:
            raise Permanent(
                f"{name} has no twin: a login that ends in {self._suffixes[0]} alternates with one that ends in "
                f"{self._suffixes[1]}. A single role can be revoked; its password is changed by hand, at once."
            )
        return pair[1]

    def _login(self, connection: psycopg.Connection[DictRow], ref: CredentialRef, name: str) -> DictRow | None:
        row = _logins(connection, [name]).get(name)
        if row is not None and name not in self._pair(ref):
            raise Permanent(f"{name} is not a login of {ref.external_id}.")
        return row

    def _owner(self, used: DictRow, idle: DictRow) -> str:
        """The role that both act as, so that what either makes belongs to it."""
        both = {*used["member_of"]} & {*idle["member_of"]}
        stem = next((used["name"].removesuffix(end) for end in self._suffixes if used["name"].endswith(end)), "")
        owner = used["acts_as"] or (stem if stem in both else "")
        return owner if owner and owner != idle["acts_as"] else ""


def _logins(connection: psycopg.Connection[DictRow], names: Sequence[str]) -> dict[str, DictRow]:
    return {row["name"]: row for row in connection.execute(LOGINS, [list(names)])}


def _rotatable(used: str, idle: str, found: Mapping[str, DictRow]) -> DictRow:
    """The login that can be issued to, once it is known that consumers find with it what they have."""
    if used not in found:
        raise Permanent(f"There is no role {used} any more.")
    if idle not in found:
        raise Permanent(
            f"{used} has no twin yet: CREATE ROLE {idle} with the memberships of {used}. Until then it can be revoked, "
            "and its password is changed by hand, at once."
        )
    one, other = found[used], found[idle]
    _refuse_protected(other)
    if missing := sorted({*one["member_of"]} - {*other["member_of"]}):
        raise Permanent(f"{idle} is no member of {missing[0]}, as {used} is: GRANT {missing[0]} TO {idle} first.")
    if differs := [right for right in ALIKE if one[right] != other[right]]:
        raise Permanent(f"{used} and {idle} differ in {differs[0].replace('_', ' ')}: make them alike first.")
    if other["sessions"]:
        raise NoRoom(
            f"{idle} has {other['sessions']} open sessions, so it is in use as well. "
            f"Move its consumers to {used} and end the sessions, then rotate."
        )
    return other


def _refuse_protected(row: DictRow) -> None:
    if row["is_ours"]:
        raise Permanent(f"Keyreeve itself signs in as {row['name']}: let another role do this.")
    if row["is_first"]:
        raise Permanent(f"{row['name']} is the cluster's first superuser, which is not ended from outside.")


def _status(row: DictRow) -> Status:
    if row["may_sign_in"]:
        return Status.EXPIRED if row["is_expired"] else Status.ACTIVE
    return Status.SUSPENDED if _marked_as(row, SUSPENDED) else Status.DESTROYED


def _recorded(name: str, row: DictRow | None) -> Seen:
    if row is None:
        said, liveness = f"There is no role {name}.", Liveness.REFUSED
    elif not row["may_sign_in"]:
        said, liveness = f"The server lists {name} as a role that may not sign in.", Liveness.REFUSED
    elif row["is_expired"]:
        said, liveness = f"The server lists the password of {name} as expired.", Liveness.REFUSED
    else:
        said, liveness = f"The server lists {name} as a role that may sign in.", Liveness.ALIVE
    return Seen(liveness=liveness, basis=Basis.RECORD, sentence=said)


def _identity(ref: CredentialRef, name: str) -> str:
    """What the listing will call it: its cluster, then its name."""
    cluster = ref.identity.removesuffix(f":{ref.external_id}")
    return f"{cluster}:{name}" if cluster != ref.identity else ""


# ── Comments ───────────────────────────────────────────────────────────────────────────────────────
def _mark(row: DictRow) -> str:
    found = MARK.search(row["comment"] or "")
    return unquote(found[1]) if found and f"keyreeve={found[1]}" not in {SUSPENDED, ENDED} else ""


def _marked_as(row: DictRow, mark: str) -> bool:
    found = MARK.search(row["comment"] or "")
    return found is not None and f"keyreeve={found[1]}" == mark


def _marked(row: DictRow, mark: str) -> str:
    """The comment with this mark in place of the one it has."""
    return f"{MARK.sub('', row['comment'] or '')} {mark}".strip()


def _comment(connection: psycopg.Connection[Any], name: str, comment: str) -> None:
    text = sql.Literal(comment) if comment else sql.SQL("NULL")
    connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(name), text))
