"""Login roles as a real PostgreSQL lists them, to roles that may see much and to roles that may see little."""

import contextlib
import secrets
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from providers.base import DiscoveredCredential, Secret, Status
from providers.errors import Denied, Permanent, Refused, Transient
from providers.postgres import Roles, Target
from tests.clusters import PASSWORD, Cluster, started


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with started() as made:
        made.role("onlooker")
        made.role("reader", groups=("pg_read_all_stats",))
        made.role("app", "CONNECTION LIMIT 7 VALID UNTIL '2031-03-01 00:00+00'", groups=("pg_read_all_data",))
        made.role("ops", "SUPERUSER REPLICATION BYPASSRLS")
        made.role("former", "VALID UNTIL '2024-05-01 00:00+00'")
        made.role("eternal", "VALID UNTIL 'infinity'")
        made.role("buried", "VALID UNTIL '-infinity'")
        made.admin.execute("CREATE ROLE certified LOGIN")
        made.admin.execute("CREATE ROLE a_group NOLOGIN")
        yield made


def listed(target: Target, **more: Any) -> dict[str, DiscoveredCredential]:
    found = list(Roles(target, **more).discover())
    assert all(isinstance(role, DiscoveredCredential) for role in found)
    return {role.principal: role for role in found if isinstance(role, DiscoveredCredential)}


def midnight() -> datetime:
    return datetime.now(tz=UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def test_every_login_role_is_listed_and_no_group(cluster: Cluster) -> None:
    roles = listed(cluster.target("reader"))
    assert {"app", "ops", "former", "eternal", "buried", "certified", "reader", "postgres"} <= set(roles)
    assert not {"a_group", "signed_in", "pg_read_all_stats"} & set(roles)


def test_a_role_is_identified_by_its_cluster_and_its_name(cluster: Cluster) -> None:
    (number,) = cluster.admin.execute("SELECT system_identifier FROM pg_control_system()").fetchall()[0]
    assert listed(cluster.target("reader"))["app"].identity == f"postgres:{number}:app"


def test_a_role_is_named_after_what_people_call_the_cluster(cluster: Cluster) -> None:
    assert listed(cluster.target("reader"), label="billing-db")["app"].name == "billing-db / app"
    assert listed(cluster.target("reader"))["app"].name == "local / app"


def test_rights_and_memberships_are_told(cluster: Cluster) -> None:
    roles = listed(cluster.target("reader"))
    ops, app = roles["ops"].details, roles["app"].details
    assert (ops["superuser"], ops["replication"], ops["bypassrls"]) == (True, True, True)
    assert (app["connection_limit"], app["member_of"]) == (7, ["pg_read_all_data", "signed_in"])
    assert "superuser" not in app


@pytest.mark.parametrize(
    ("role", "expires", "status"),
    [
        ("app", datetime(2031, 3, 1, tzinfo=UTC), Status.ACTIVE),
        ("former", datetime(2024, 5, 1, tzinfo=UTC), Status.EXPIRED),
        ("eternal", None, Status.ACTIVE),
        ("buried", datetime(1970, 1, 1, tzinfo=UTC), Status.EXPIRED),
        ("ops", None, Status.ACTIVE),
    ],
)
def test_valid_until_is_the_expiry(cluster: Cluster, role: str, expires: datetime | None, status: Status) -> None:
    found = listed(cluster.target("reader"))[role]
    assert (found.expires_at, found.status) == (expires, status)


def test_a_role_in_a_session_was_seen_when_it_signed_in(cluster: Cluster) -> None:
    before = datetime.now(tz=UTC)
    with cluster.signed_in("app"):
        seen = listed(cluster.target("reader"))["app"].last_used_at
    assert seen is not None
    assert max(midnight(), before) <= seen <= datetime.now(tz=UTC)


def test_a_role_in_no_session_has_an_unknown_last_use(cluster: Cluster) -> None:
    assert listed(cluster.target("reader"))["former"].last_used_at is None


def test_looking_itself_is_dated_to_the_day_so_that_a_second_look_finds_the_same(cluster: Cluster) -> None:
    assert listed(cluster.target("reader"))["reader"].last_used_at == midnight()


def test_where_sessions_are_hidden_the_last_use_is_unknown_and_the_reason_told(cluster: Cluster) -> None:
    with cluster.signed_in("app"):
        found = listed(cluster.target("onlooker"))["app"]
    assert found.last_used_at is None
    assert "pg_read_all_stats" in found.details["last_seen"]


def test_a_reader_learns_nothing_of_passwords(cluster: Cluster) -> None:
    assert listed(cluster.target("reader"))["app"].details["password"].startswith("unknown")


def test_whoever_may_read_it_learns_the_method_of_a_password_and_never_its_verifier(cluster: Cluster) -> None:
    roles = listed(cluster.target("ops"))
    assert (roles["app"].details["password"], roles["certified"].details["password"]) == ("scram-sha-256", "none")
    assert (roles["app"].kind, roles["certified"].kind) == ("database_password", "other")
    assert "SCRAM-SHA-256$" not in repr(roles)


def test_a_password_is_as_old_as_the_operators_convention_says(cluster: Cluster) -> None:
    cluster.admin.execute("COMMENT ON ROLE app IS 'Billing. rotated=2026-06-01, by hand'")
    cluster.admin.execute("COMMENT ON ROLE former IS 'rotated=2026-02-30'")
    roles = listed(cluster.target("reader"), date_key="rotated")
    assert roles["app"].issued_at == datetime(2026, 6, 1, tzinfo=UTC)
    assert roles["former"].issued_at is None


def test_without_a_convention_the_age_of_a_password_is_unknown(cluster: Cluster) -> None:
    cluster.admin.execute("COMMENT ON ROLE app IS 'rotated=2026-06-01'")
    assert listed(cluster.target("reader"))["app"].issued_at is None


def test_thousands_of_roles_come_in_order_and_complete(cluster: Cluster) -> None:
    cluster.admin.execute(
        "DO $$ BEGIN FOR i IN 1..1500 LOOP EXECUTE format('CREATE ROLE many_%s LOGIN', i); END LOOP; END $$"
    )
    try:
        names = [name for name in listed(cluster.target("reader")) if name.startswith("many_")]
    finally:
        cluster.admin.execute(
            "DO $$ BEGIN FOR i IN 1..1500 LOOP EXECUTE format('DROP ROLE many_%s', i); END LOOP; END $$"
        )
    assert len(names) == 1500
    assert names == sorted(names)


def test_the_session_cannot_write(cluster: Cluster) -> None:
    with pytest.raises(Permanent, match="25006"), Roles(cluster.target("ops"))._connected() as connection:
        connection.execute("CREATE TABLE public.never ()")


def test_a_statement_that_takes_too_long_is_ended(cluster: Cluster) -> None:
    slow = "SELECT set_config('statement_timeout', '20ms', true); SELECT pg_sleep(20)"
    with pytest.raises(Transient, match="57014"), Roles(cluster.target("reader"))._connected() as connection:
        connection.execute(slow)


def test_a_check_says_who_we_are_there(cluster: Cluster) -> None:
    said = Roles(cluster.target("reader")).check()
    assert said.startswith("Signed in to PostgreSQL 18")
    assert "as reader; " in said
    assert "grant" not in said


def test_a_check_says_what_the_role_lacks(cluster: Cluster) -> None:
    assert "grant it pg_read_all_stats" in Roles(cluster.target("onlooker")).check()


def test_a_wrong_password_is_denied_and_shown_nowhere(cluster: Cluster) -> None:
    wrong = secrets.token_urlsafe(18)
    with pytest.raises(Denied) as refused:
        Roles(cluster.target("reader", password=Secret(wrong))).check()
    assert wrong not in str(refused.value)


def test_an_unknown_database_is_denied(cluster: Cluster) -> None:
    with pytest.raises(Denied, match="database"):
        Roles(cluster.target("reader", database="nowhere")).check()


@pytest.mark.parametrize("lent", ["environment", "file"])
def test_no_password_of_this_machine_is_used(
    cluster: Cluster, lent: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if lent == "environment":
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
    else:
        (tmp_path / "pgpass").write_text(f"*:*:*:*:{PASSWORD}\n")
        (tmp_path / "pgpass").chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    with pytest.raises(Denied):
        Roles(cluster.target("reader", password=None)).check()


def test_a_server_that_is_not_there_may_come_back(cluster: Cluster) -> None:
    with pytest.raises(Transient):
        Roles(cluster.target("reader", port=1)).check()


def test_a_name_that_is_not_known_may_come_back() -> None:
    with pytest.raises(Transient, match="name"):
        Roles(Target(host="nowhere.invalid", user="reader")).check()


@pytest.mark.parametrize("host", ["", "a,b", "a b", "a'b", "/tmp,/run", "x" * 300])
def test_a_host_is_one_host(host: str) -> None:
    with pytest.raises(Refused):
        Target(host=host, user="reader")


def test_a_certificate_is_checked_unless_the_operator_says_otherwise() -> None:
    remote = Target(host="db.example", user="reader")
    assert remote.parameters()["sslmode"] == "verify-full"
    assert replace(remote, sslmode="require").parameters()["require_auth"] == "!password"


def test_a_password_is_shown_by_no_representation_of_its_target() -> None:
    assert PASSWORD not in repr(Target(host="db.example", user="reader", password=Secret(PASSWORD)))


# ── Servers that are none, or that ask for too much ────────────────────────────────────────────────
class Impostor:
    """A listener that speaks as much of the protocol as it is told, and keeps what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.heard = b""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.thread = Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed by the test
            while True:
                peer, _ = self.socket.accept()
                with peer:
                    peer.settimeout(10)
                    for answer in self.answers:
                        self.heard += peer.recv(4096)
                        peer.sendall(answer)
                    self.heard += peer.recv(4096)

    def target(self, **more: Any) -> Target:
        known = {"host": "127.0.0.1", "port": self.socket.getsockname()[1], "user": "app", "patience": 2}
        return Target(**{**known, "password": Secret(PASSWORD), **more})

    def __enter__(self) -> "Impostor":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # not every system ends a listener this way; closing it then does
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(12)


NO_TLS = b"N"
PASSWORD_IN_THE_CLEAR = b"R" + (8).to_bytes(4, "big") + (3).to_bytes(4, "big")


def test_a_password_is_not_given_in_the_clear_to_a_server_that_nobody_vouches_for() -> None:
    with Impostor(NO_TLS, PASSWORD_IN_THE_CLEAR) as impostor, pytest.raises(Refused, match="in the clear"):
        Roles(impostor.target()).check()
    assert impostor.heard
    assert PASSWORD.encode() not in impostor.heard


def test_a_server_without_tls_is_not_spoken_to_where_a_certificate_is_asked_for() -> None:
    with Impostor(NO_TLS) as impostor, pytest.raises(Permanent, match="TLS"):
        Roles(impostor.target(sslmode="verify-full")).check()
    assert b"app" not in impostor.heard


def test_a_server_that_says_nothing_is_left_after_a_while() -> None:
    with Impostor() as impostor, pytest.raises(Transient, match="does not answer"):
        Roles(impostor.target()).check()


def test_a_server_that_speaks_another_protocol_is_no_crash() -> None:
    with Impostor(b"HTTP/1.1 400 Bad Request\r\n\r\n") as impostor, pytest.raises((Permanent, Transient)):
        Roles(impostor.target()).check()
