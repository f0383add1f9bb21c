"""Whole syncs of a real PostgreSQL's login roles: what a look adds, changes, leaves alone and takes for gone."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from inventory.actions.connections import create_connection
from inventory.listings.postgres import connect, operable
from inventory.models import Connection, Credential, SyncRun
from inventory.states import ConnectionKind, CredentialStatus, RunState
from providers.base import CredentialRef
from providers.errors import Denied, Permanent, Refused
from tests.clusters import PASSWORD, Cluster, started
from tests.syncs import ACTOR, synced

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with started() as made:
        made.role("reader", groups=("pg_read_all_stats",))
        yield made


@pytest.fixture(autouse=True)
def lent(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setenv("ESTATE_DB", PASSWORD)
    settings.REFERENCE_VARIABLES = ("ESTATE_*",)
    settings.ALLOW_LOOPBACK = True


def known(cluster: Cluster, **more: Any) -> dict[str, Any]:
    here = {"host": cluster.host, "user": "reader", "database": "keyreeve"}
    return {**here, "password": "env://ESTATE_DB", "bound_to": "localhost", **more}


def connected(cluster: Cluster) -> Connection:
    return create_connection(
        kind=ConnectionKind.POSTGRES, name="billing", settings=known(cluster), actor=ACTOR, now=timezone.now()
    )


@pytest.fixture
def app(cluster: Cluster) -> Iterator[str]:
    """A role that a test may change and drop."""
    cluster.role("app")
    yield "app"
    cluster.admin.execute("DROP ROLE IF EXISTS app")


def credential(role: str) -> Credential:
    return Credential.objects.get(principal=role)


def test_a_first_look_adds_the_roles_with_their_expiry_and_their_rights(cluster: Cluster, app: str) -> None:
    cluster.admin.execute("ALTER ROLE app SUPERUSER VALID UNTIL '2031-03-01 00:00+00'")
    run = synced(connected(cluster))
    found = credential(app)
    assert (run.state, run.counts["credentials_added"]) == (RunState.COMPLETE, 3)
    assert found.expires_at == datetime(2031, 3, 1, tzinfo=UTC)
    assert found.details["superuser"] is True
    assert (found.issued_at, found.last_used_at) == (None, None)
    assert found.identity_key.startswith("postgres:")
    assert found.name == "billing / app"


def test_a_second_look_at_the_same_writes_nothing(cluster: Cluster, app: str) -> None:
    connection = connected(cluster)
    with cluster.signed_in(app):
        synced(connection)
        before = sorted(Credential.objects.values_list(), key=str)
        run = synced(connection)
    assert (run.state, run.counts) == (RunState.COMPLETE, {})
    assert sorted(Credential.objects.values_list(), key=str) == before


def test_a_dropped_role_is_destroyed_and_gone(cluster: Cluster, app: str) -> None:
    connection = connected(cluster)
    synced(connection)
    cluster.drop(app)
    assert synced(connection).state == RunState.COMPLETE
    assert credential(app).status == CredentialStatus.DESTROYED
    assert credential(app).gone_at is not None


def test_a_role_whose_time_is_over_is_expired(cluster: Cluster, app: str) -> None:
    connection = connected(cluster)
    synced(connection)
    cluster.admin.execute("ALTER ROLE app VALID UNTIL '2024-01-01 00:00+00'")
    assert synced(connection).counts == {"credentials_changed": 1}
    assert credential(app).status == CredentialStatus.EXPIRED


def test_a_sighting_is_kept_when_the_role_is_seen_no_more(cluster: Cluster, app: str) -> None:
    connection = connected(cluster)
    with cluster.signed_in(app):
        synced(connection)
    seen = credential(app).last_used_at
    synced(connection)
    assert seen is not None
    assert credential(app).last_used_at == seen


def test_an_older_session_that_is_still_open_moves_no_date_back(cluster: Cluster, app: str) -> None:
    connection = connected(cluster)
    with cluster.signed_in(app):
        synced(connection)
        later = timezone.now()
        Credential.objects.filter(principal=app).update(last_used_at=later)
        synced(connection)
    assert credential(app).last_used_at == later


def test_a_server_that_is_away_leaves_everything_as_it_was(cluster: Cluster, app: str) -> None:
    connection = connected(cluster)
    synced(connection)
    Connection.objects.filter(pk=connection.pk).update(settings=known(cluster, port=1))
    run = synced(connection)
    assert (run.state, run.error) == (RunState.FAILED, "The server does not answer.")
    assert credential(app).gone_at is None


def test_the_password_is_kept_nowhere(cluster: Cluster) -> None:
    synced(connected(cluster))
    rows = [*Credential.objects.values(), *Connection.objects.values(), *SyncRun.objects.values()]
    assert PASSWORD not in repr(rows)


def test_a_password_is_sent_to_no_other_host(cluster: Cluster) -> None:
    with pytest.raises(Refused, match="bound to another host"):
        connect(known(cluster, host="elsewhere.example", bound_to="db.example"))


def test_a_password_instead_of_a_reference_is_refused_and_not_repeated(cluster: Cluster) -> None:
    with pytest.raises(Permanent) as refused:
        connect(known(cluster, password=PASSWORD))
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dsn": "postgresql://a:b@c/d"}, "no setting dsn"),
        ({"host": ""}, "Name the host"),
        ({"user": ""}, "Name the host and the user"),
        ({"port": "5432"}, "port is a whole number"),
        ({"port": True}, "port is a whole number"),
        ({"port": 70_000}, "port is a number"),
        ({"sslmode": "allow"}, "sslmode is one of"),
        ({"password_date": "x.*"}, "letters and digits"),
        ({"bound_to": ""}, "Say as bound_to"),
        ({"pair": "_a"}, "The setting pair"),
    ],
)
def test_a_setting_that_is_wrong_is_named(cluster: Cluster, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(Permanent, match=said):
        connect(known(cluster, **wrong))


def test_a_check_says_who_we_are_there(cluster: Cluster) -> None:
    assert "as reader;" in connect(known(cluster)).check()


# ── Rotation and revocation ────────────────────────────────────────────────────────────────────────
def test_a_password_is_rotated_by_the_operator_that_the_settings_name(cluster: Cluster) -> None:
    cluster.role("operator", "CREATEROLE", groups=("pg_signal_backend",))
    for name in ("pay_1", "pay_2"):
        cluster.role(name)
        cluster.admin.execute(f"GRANT {name} TO operator WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
    ref = CredentialRef(identity="postgres:7:pay_1", kind="database_password", external_id="pay_1")
    named = {"operator": "operator", "operator_password": "env://ESTATE_DB", "pair": "_1,_2"}
    issued = operable(known(cluster, **named)).issue(ref, request_key="op:1")
    assert issued.external_id == "pay_2"
    with pytest.raises(Denied):
        operable(known(cluster, pair="_1,_2")).issue(ref, request_key="op:1")


def test_after_a_rotation_a_look_lists_the_login_in_use_alone(cluster: Cluster) -> None:
    connection = connected(cluster)
    cluster.role("operator2", "SUPERUSER")
    for name in ("shop_a", "shop_b"):
        cluster.role(name)
    logins = operable(known(cluster, operator="operator2", operator_password="env://ESTATE_DB"))
    ref = CredentialRef(identity="postgres:7:shop_a", kind="database_password", external_id="shop_a")
    logins.issue(ref, request_key="op:1")
    logins.suspend(ref, "shop_a")
    synced(connection)
    assert credential("shop_a").status == CredentialStatus.SUSPENDED
    logins.destroy(ref, "shop_a")
    synced(connection)
    assert credential("shop_a").gone_at is not None
    assert credential("shop_b").status == CredentialStatus.ACTIVE
