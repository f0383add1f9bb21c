"""Two alternating logins on a real PostgreSQL: rotated, suspended and ended by a role that is no superuser."""

import secrets
from collections.abc import Iterator
from itertools import count

import psycopg
import pytest
from psycopg import sql

from providers.base import Basis, CredentialRef, DiscoveredCredential, Liveness, Secret, Status
from providers.errors import Denied, NoRoom, Permanent, Transient
from providers.postgres import Roles
from providers.postgres_logins import Logins
from tests.clusters import PASSWORD, Cluster, started

NUMBERS = count(1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with started() as made:
        made.role("operator", "CREATEROLE", groups=("pg_signal_backend", "pg_read_all_stats"))
        yield made


def lend(cluster: Cluster, name: str, operator: str = "operator") -> None:
    grant = "GRANT {} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
    cluster.admin.execute(sql.SQL(grant).format(sql.Identifier(name), sql.Identifier(operator)))


@pytest.fixture
def orders(cluster: Cluster) -> str:
    """A pair of its own: consumers sign in as the login whose name is given."""
    stem = f"orders{next(NUMBERS)}"
    cluster.admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(stem)))
    for letter in "ab":
        cluster.role(f"{stem}_{letter}", groups=(stem,))
        lend(cluster, f"{stem}_{letter}")
    return f"{stem}_a"


@pytest.fixture
def logins(cluster: Cluster) -> Logins:
    return Logins(cluster.target("operator"))


def ref(name: str) -> CredentialRef:
    return CredentialRef(identity=f"postgres:77:{name}", kind="database_password", principal=name, external_id=name)


def twin_of(name: str) -> str:
    return name[:-1] + "b"


def status_of(logins: Logins, name: str) -> dict[str, Status]:
    return {version.external_id: version.status for version in logins.versions(ref(name))}


def test_the_idle_login_is_given_a_password_that_works(cluster: Cluster, logins: Logins, orders: str) -> None:
    issued = logins.issue(ref(orders), request_key="op:1")
    assert (issued.external_id, issued.identity) == (twin_of(orders), f"postgres:77:{twin_of(orders)}")
    seen = logins.verify(ref(orders), issued.external_id, issued.secret)
    assert (seen.liveness, seen.basis) == (Liveness.ALIVE, Basis.PRESENTED)
    old = logins.verify(ref(orders), orders, Secret(PASSWORD))
    assert old.liveness is Liveness.ALIVE


def test_what_the_new_login_makes_belongs_to_the_owner_role(cluster: Cluster, logins: Logins, orders: str) -> None:
    issued = logins.issue(ref(orders), request_key="op:1")
    target = cluster.target(issued.external_id, password=issued.secret)
    with psycopg.connect(**target.parameters()) as session:
        assert session.execute("SELECT current_user").fetchone() == (orders.removesuffix("_a"),)


def test_the_server_is_sent_a_verifier_and_never_the_password(cluster: Cluster, logins: Logins, orders: str) -> None:
    cluster.admin.execute("ALTER SYSTEM SET log_statement = 'all'")
    cluster._reload()
    issued = logins.issue(ref(orders), request_key="op:1")
    cluster.admin.execute("ALTER SYSTEM RESET log_statement")
    cluster._reload()
    logged = "".join(path.read_text() for path in cluster.postgres.folder.rglob("*log*") if path.is_file())
    assert "SCRAM-SHA-256$4096:" in logged
    assert issued.secret.reveal() not in logged


def test_a_repeated_request_gives_another_password_and_one_login(logins: Logins, orders: str) -> None:
    first, second = (logins.issue(ref(orders), request_key="op:1") for _ in "12")
    assert first.external_id == second.external_id
    assert logins.verify(ref(orders), first.external_id, first.secret).liveness is Liveness.REFUSED
    assert logins.verify(ref(orders), first.external_id, second.secret).liveness is Liveness.ALIVE


def test_a_version_carries_the_key_that_it_was_asked_for_with(cluster: Cluster, logins: Logins, orders: str) -> None:
    twin = twin_of(orders)
    cluster.admin.execute(sql.SQL("COMMENT ON ROLE {} IS 'Of the orders team.'").format(sql.Identifier(twin)))
    logins.issue(ref(orders), request_key="op 1/ü")
    marks = {version.external_id: version.mark for version in logins.versions(ref(orders))}
    assert marks == {orders: "", twin: "op 1/ü"}
    (comment,) = cluster.admin.execute(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [twin]
    ).fetchall()[0]
    assert comment.startswith("Of the orders team.")


def test_a_suspended_login_is_refused_and_its_sessions_end(cluster: Cluster, logins: Logins, orders: str) -> None:
    with psycopg.connect(**cluster.target(orders).parameters()) as session:
        session.execute("SELECT 1")
        logins.suspend(ref(orders), orders)
        logins.suspend(ref(orders), orders)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    seen = logins.verify(ref(orders), orders, Secret(PASSWORD))
    assert seen.liveness is Liveness.REFUSED
    assert status_of(logins, orders)[orders] is Status.SUSPENDED


def test_a_suspension_can_be_ended(cluster: Cluster, logins: Logins, orders: str) -> None:
    logins.suspend(ref(orders), orders)
    logins.resume(ref(orders), orders)
    logins.resume(ref(orders), orders)
    assert logins.verify(ref(orders), orders, Secret(PASSWORD)).liveness is Liveness.ALIVE
    assert status_of(logins, orders)[orders] is Status.ACTIVE


def test_a_destroyed_login_keeps_its_role_without_a_password(cluster: Cluster, logins: Logins, orders: str) -> None:
    logins.suspend(ref(orders), orders)
    logins.destroy(ref(orders), orders)
    logins.destroy(ref(orders), orders)
    kept = cluster.admin.execute("SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = %s", [orders])
    assert kept.fetchone() == (False, None)
    seen = logins.verify(ref(orders), orders, Secret(PASSWORD))
    assert (seen.liveness, seen.basis) == (Liveness.REFUSED, Basis.PRESENTED)
    assert logins.verify(ref(orders), orders, None).basis is Basis.RECORD
    assert orders not in status_of(logins, orders)
    with pytest.raises(Permanent, match="has ended"):
        logins.resume(ref(orders), orders)


def test_the_next_rotation_goes_back_to_the_first_login(logins: Logins, orders: str) -> None:
    for turn in range(3):
        issued = logins.issue(ref(orders), request_key=f"op:{turn}")
        assert issued.external_id != orders
        logins.suspend(ref(orders), orders)
        logins.destroy(ref(orders), orders)
        orders = issued.external_id
    assert logins.verify(ref(orders), orders, issued.secret).liveness is Liveness.ALIVE
    assert status_of(logins, orders) == {orders: Status.ACTIVE}


def test_a_listing_names_a_suspended_login_and_no_ended_one(cluster: Cluster, logins: Logins, orders: str) -> None:
    twin = twin_of(orders)
    logins.suspend(ref(orders), orders)
    logins.destroy(ref(orders), twin)
    listed = [each for each in Roles(cluster.target("operator")).discover() if isinstance(each, DiscoveredCredential)]
    found = {each.principal: each.status for each in listed if each.principal in {orders, twin}}
    assert found == {orders: Status.SUSPENDED}


def test_a_login_that_somebody_uses_is_not_issued_to(cluster: Cluster, logins: Logins, orders: str) -> None:
    with cluster.signed_in(twin_of(orders)), pytest.raises(NoRoom, match="in use as well"):
        logins.issue(ref(orders), request_key="op:1")
    assert logins.verify(ref(orders), twin_of(orders), Secret(PASSWORD)).liveness is Liveness.ALIVE


def test_a_role_without_a_twin_can_be_revoked_only(cluster: Cluster, logins: Logins) -> None:
    cluster.role("lonely")
    lend(cluster, "lonely")
    with pytest.raises(Permanent, match="no twin"):
        logins.issue(ref("lonely"), request_key="op:1")
    logins.suspend(ref("lonely"), "lonely")
    logins.destroy(ref("lonely"), "lonely")
    assert logins.verify(ref("lonely"), "lonely", Secret(PASSWORD)).liveness is Liveness.REFUSED


def test_a_twin_that_is_not_there_or_has_less_is_named(cluster: Cluster, logins: Logins, orders: str) -> None:
    twin, stem = twin_of(orders), orders.removesuffix("_a")
    cluster.admin.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(stem), sql.Identifier(twin)))
    with pytest.raises(Permanent, match=f"GRANT {stem} TO {twin}"):
        logins.issue(ref(orders), request_key="op:1")
    cluster.drop(twin)
    with pytest.raises(Permanent, match=f"CREATE ROLE {twin}"):
        logins.issue(ref(orders), request_key="op:1")


def test_an_expired_twin_is_given_the_time_of_the_login_in_use(cluster: Cluster, logins: Logins, orders: str) -> None:
    for name, ends in ((orders, "2031-03-01 00:00+00"), (twin_of(orders), "2024-03-01 00:00+00")):
        cluster.admin.execute(sql.SQL("ALTER ROLE {} VALID UNTIL {}").format(sql.Identifier(name), ends))
    issued = logins.issue(ref(orders), request_key="op:1")
    assert issued.expires_at is not None
    assert issued.expires_at.year == 2031
    assert logins.verify(ref(orders), issued.external_id, issued.secret).liveness is Liveness.ALIVE


def test_the_date_of_a_password_is_written_where_the_operator_keeps_it(cluster: Cluster, orders: str) -> None:
    logins = Logins(cluster.target("operator"), date_key="rotated")
    issued = logins.issue(ref(orders), request_key="op:1")
    assert issued.issued_at is not None
    dates = {version.external_id: version.issued_at for version in logins.versions(ref(orders))}
    assert dates[issued.external_id] == issued.issued_at.replace(hour=0, minute=0, second=0, microsecond=0)


def test_an_operator_without_rights_over_the_role_is_denied(cluster: Cluster, logins: Logins) -> None:
    for name in ("foreign_a", "foreign_b"):
        cluster.role(name)
    with pytest.raises(Denied):
        logins.issue(ref("foreign_a"), request_key="op:1")
    with pytest.raises(Denied):
        logins.suspend(ref("foreign_a"), "foreign_a")
    assert logins.verify(ref("foreign_a"), "foreign_a", Secret(PASSWORD)).liveness is Liveness.ALIVE


def test_sessions_that_may_not_be_ended_are_named_and_count_as_alive(cluster: Cluster, orders: str) -> None:
    cluster.role("timid", "CREATEROLE")
    lend(cluster, orders, "timid")
    logins = Logins(cluster.target("timid"))
    with cluster.signed_in(orders):
        with pytest.raises(Denied, match="pg_signal_backend"):
            logins.suspend(ref(orders), orders)
        seen = logins.verify(ref(orders), orders, Secret(PASSWORD))
    assert (seen.liveness, seen.basis) == (Liveness.ALIVE, Basis.RECORD)
    assert "1 open session" in seen.sentence


def test_keyreeve_ends_neither_its_own_login_nor_the_first_superuser(cluster: Cluster, logins: Logins) -> None:
    with pytest.raises(Permanent, match="itself signs in"):
        logins.suspend(ref("operator"), "operator")
    with pytest.raises(Permanent, match="first superuser"):
        logins.destroy(ref("postgres"), "postgres")


def test_a_login_of_another_pair_is_left_alone(logins: Logins, orders: str) -> None:
    with pytest.raises(Permanent, match="is not a login of"):
        logins.destroy(ref(orders), "operator")


def test_names_are_quoted(cluster: Cluster, logins: Logins) -> None:
    for letter in "ab":
        cluster.role(f'we"ird; x_{letter}')
        lend(cluster, f'we"ird; x_{letter}')
    issued = logins.issue(ref('we"ird; x_a'), request_key="op:1")
    assert logins.verify(ref('we"ird; x_a'), issued.external_id, issued.secret).liveness is Liveness.ALIVE


def test_a_dropped_role_is_gone_and_ending_it_is_no_error(logins: Logins) -> None:
    logins.suspend(ref("never_a"), "never_a")
    logins.destroy(ref("never_a"), "never_a")
    seen = logins.verify(ref("never_a"), "never_a", Secret(secrets.token_urlsafe()))
    assert seen.liveness is Liveness.REFUSED
    assert logins.versions(ref("never_a")) == []


def test_a_server_that_lets_everybody_in_proves_nothing(cluster: Cluster, logins: Logins) -> None:
    # The first superuser of the test's server signs in as the user of the operating system.
    seen = logins._present("postgres", Secret(secrets.token_urlsafe()))
    assert (seen.liveness, seen.basis) == (Liveness.UNKNOWN, Basis.NOTHING)
    assert "pg_hba.conf" in seen.sentence


def test_another_reason_than_the_password_is_told_apart(cluster: Cluster, logins: Logins, orders: str) -> None:
    cluster.admin.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(sql.Identifier(orders)))
    with cluster.signed_in(orders), pytest.raises(Transient, match="no more connections"):
        logins.verify(ref(orders), orders, Secret(PASSWORD))
    away = Logins(cluster.target("operator", database="nowhere"))
    with pytest.raises(Denied):
        away.issue(ref(orders), request_key="op:1")


def test_a_server_that_is_away_may_come_back(cluster: Cluster) -> None:
    away = Logins(cluster.target("operator", port=1))
    with pytest.raises(Transient):
        away.issue(ref("orders_a"), request_key="op:1")
    with pytest.raises(Transient):
        away.verify(ref("orders_a"), "orders_a", Secret(PASSWORD))


@pytest.mark.parametrize("suffixes", [("", "_b"), ("_a", "_a"), ("a", "_a"), ("_a", "b c")])
def test_the_ends_of_a_pair_differ(cluster: Cluster, suffixes: tuple[str, str]) -> None:
    with pytest.raises(Permanent, match="end differently"):
        Logins(cluster.target("operator"), suffixes=suffixes)
