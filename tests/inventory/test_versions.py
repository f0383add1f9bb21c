"""A rotation gives one credential another value, which its provider calls otherwise; a sync knows both for one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from access.actors import Actor
from audit.models import AuditEntry
from inventory.actions.connections import create_connection
from inventory.actions.reconcile import Reconciliation
from inventory.actions.syncs import claim, complete
from inventory.actions.versions import NewVersion, make_current, record_issued
from inventory.discovery.listing import Discovered
from inventory.models import Connection, Credential, CredentialVersion, Exposure, Use
from inventory.states import ConnectionKind, CredentialStatus
from lifecycle.engine import rows
from tests import factories
from tests.examples import SHARED_FIXTURE, examples

ACTOR = Actor.system("tests")
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
pytestmark = pytest.mark.django_db


def key(number: str, status: str = "active", **more: Any) -> Discovered:
    """An access key as its account lists it."""
    values: dict[str, Any] = {
        "credential_key": f"aws:{number}",
        "credential_name": "deploy / access key",
        "kind": "aws_access_key",
        "principal": "deploy",
        "external_id": number,
        "storage": "provider",
        "status": status,
        **more,
    }
    return Discovered(**values)


def held(number: str, file: str = "/a.json") -> Discovered:
    """A client's configuration that holds the key."""
    return Discovered(
        file=file,
        pointer="/mcpServers/s3/env/KEY",
        client_key="config:c",
        client_name="Cursor",
        server_key="local:s3",
        server_name="s3",
        transport="stdio",
        credential_key=f"aws:{number}",
        credential_name="s3 / KEY",
        kind="aws_access_key",
        external_id=number,
        storage="literal",
        is_exposed=True,
    )


@pytest.fixture
def account() -> Connection:
    return create_connection(kind=ConnectionKind.AWS, name="account", settings={}, actor=ACTOR, now=NOW)


@pytest.fixture
def laptop() -> Connection:
    return create_connection(kind=ConnectionKind.MCP_CONFIG, name="laptop", settings={}, actor=ACTOR, now=NOW)


def sync(
    connection: Connection, *rows: Discovered, at: datetime, until: datetime | None = None, is_partial: bool = False
) -> dict[str, int]:
    """A look that began at `at`, applied now."""
    lease = claim(connection.pk, now=at, actor=ACTOR)
    assert lease is not None
    listing = Reconciliation(lease.connection, now=at)
    listing.open()
    listing.stage(rows)
    unread = None if is_partial else []
    complete(lease, listing, now=until or at, done=len(rows), problems=[], unread=unread, actor=ACTOR)
    listing.close()
    return listing.counts


def issue(credential: Credential, number: str, *, at: datetime) -> CredentialVersion:
    new = NewVersion(external_id=number, identity=f"aws:{number}", issued_at=at)
    return record_issued(credential, new, now=at, actor=ACTOR)


def suspend(old: CredentialVersion, *, at: datetime) -> None:
    rows.suspended(old.credential, [old.external_id], at)


def destroy(old: CredentialVersion, *, at: datetime) -> None:
    """As a rotation ends an old version, or a revocation the credential with its last one."""
    was_current = CredentialVersion.objects.filter(pk=old.pk, is_current=True).exists()
    rows.destroyed(old.credential, [old.external_id], at)
    if was_current:
        rows.become(old.credential, CredentialStatus.DESTROYED, at)


def rotated(account: Connection) -> Credential:
    """A credential whose key A1 was listed at nine, and replaced by A2 from five past on; A1 is suspended since."""
    sync(account, key("A1"), at=NOW)
    credential = Credential.objects.get()
    old = CredentialVersion.objects.get()
    make_current(issue(credential, "A2", at=NOW + 5 * MINUTE), now=NOW + 6 * MINUTE, actor=ACTOR)
    suspend(old, at=NOW + 7 * MINUTE)
    return Credential.objects.get()


def versions() -> dict[str, CredentialVersion]:
    return {each.external_id: each for each in CredentialVersion.objects.all()}


def contents() -> list[Any]:
    tables = (Credential, CredentialVersion, Use, Exposure)
    return [sorted(table.objects.values_list(), key=str) for table in tables]


def test_both_keys_are_one_credential_and_a_second_look_writes_nothing(account: Connection) -> None:
    credential = rotated(account)
    sync(account, key("A1", "suspended"), key("A2"), at=NOW + 10 * MINUTE)
    (seen,) = Credential.objects.all()
    assert (seen.pk, seen.identity_key, seen.external_id, seen.status) == (credential.pk, "aws:A2", "A2", "active")
    before = contents()
    assert sync(account, key("A1", "suspended"), key("A2"), at=NOW + 20 * MINUTE) == {}
    assert contents() == before


def test_the_old_key_is_known_to_be_gone_when_nobody_lists_it_any_more(account: Connection) -> None:
    rotated(account)
    assert sync(account, key("A2"), at=NOW + 10 * MINUTE) == {"versions_gone": 1}
    assert versions()["A1"].destroyed_at == NOW + 10 * MINUTE
    assert Credential.objects.live().count() == 1


def test_half_a_listing_says_of_no_version_that_it_is_gone(account: Connection) -> None:
    rotated(account)
    assert sync(account, key("A2"), at=NOW + 10 * MINUTE, is_partial=True) == {}


def test_somebody_who_resumes_the_old_key_is_seen(account: Connection) -> None:
    rotated(account)
    used = NOW + 9 * MINUTE
    sync(account, key("A1", last_used_at=used), key("A2"), at=NOW + 10 * MINUTE)
    old = versions()["A1"]
    assert (old.suspended_at, old.last_used_at, old.is_current) == (None, used, False)
    assert Credential.objects.get().last_used_at is None


def test_a_destroyed_key_that_is_listed_alive_is_marked_until_it_is_dead(account: Connection) -> None:
    rotated(account)
    destroy(versions()["A1"], at=NOW + 8 * MINUTE)
    sync(account, key("A1"), key("A2"), at=NOW + 10 * MINUTE)
    assert versions()["A1"].revived_at == NOW + 10 * MINUTE
    sync(account, key("A1"), key("A2"), at=NOW + 20 * MINUTE)
    assert versions()["A1"].revived_at == NOW + 10 * MINUTE
    sync(account, key("A2"), at=NOW + 30 * MINUTE)
    old = versions()["A1"]
    assert (old.revived_at, old.destroyed_at) == (None, NOW + 8 * MINUTE)


def test_a_credential_that_is_gone_is_shown_again_when_an_old_key_of_it_is_alive(account: Connection) -> None:
    rotated(account)
    destroy(versions()["A1"], at=NOW + 8 * MINUTE)
    destroy(versions()["A2"], at=NOW + 9 * MINUTE)
    sync(account, at=NOW + 10 * MINUTE)
    assert Credential.objects.get().gone_at == NOW + 10 * MINUTE
    sync(account, key("A1"), at=NOW + 20 * MINUTE)
    credential = Credential.objects.get()
    assert (credential.gone_at, credential.status) == (None, "destroyed")


def test_a_key_in_use_that_vanished_ends_its_credential_although_the_old_one_is_listed(account: Connection) -> None:
    rotated(account)
    sync(account, key("A1", "suspended"), at=NOW + 10 * MINUTE)
    credential = Credential.objects.get()
    assert (credential.status, credential.gone_at) == ("destroyed", None)


# ── What was listed before an operation changed it ─────────────────────────────────────────────
def test_a_look_from_before_the_new_key_takes_nothing_back(account: Connection) -> None:
    rotated(account)
    before = contents()
    assert sync(account, key("A1"), at=NOW + 4 * MINUTE, until=NOW + 10 * MINUTE) == {}
    assert contents() == before


def test_a_look_from_before_a_revocation_does_not_revive_what_it_listed(account: Connection) -> None:
    sync(account, key("A1"), at=NOW)
    destroy(versions()["A1"], at=NOW + 5 * MINUTE)
    before = contents()
    assert sync(account, key("A1", last_used_at=NOW), at=NOW + 4 * MINUTE, until=NOW + 6 * MINUTE) == {}
    assert contents() == before
    sync(account, at=NOW + 10 * MINUTE)
    assert Credential.objects.get().gone_at is not None


def test_rotating_stays_until_the_operation_says_otherwise(account: Connection) -> None:
    sync(account, key("A1"), at=NOW)
    credential = Credential.objects.get()
    rows.become(credential, CredentialStatus.ROTATING, NOW + MINUTE)
    assert sync(account, key("A1"), at=NOW + 10 * MINUTE) == {}
    assert Credential.objects.get().status == "rotating"
    sync(account, key("A1", "suspended"), at=NOW + 20 * MINUTE)  # by somebody else
    assert Credential.objects.get().status == "suspended"


def test_the_way_back_is_known_to_listings_too(account: Connection) -> None:
    credential = rotated(account)
    rows.make_current_again(credential, versions()["A1"], NOW + 8 * MINUTE)
    destroy(versions()["A2"], at=NOW + 9 * MINUTE)
    assert sync(account, key("A1"), at=NOW + 10 * MINUTE) == {}
    credential.refresh_from_db()
    assert (credential.identity_key, credential.external_id, credential.status) == ("aws:A1", "A1", "active")


# ── Strays, and logins that had a credential of their own ──────────────────────────────────────
def test_a_stray_is_a_credential_until_it_is_destroyed(account: Connection) -> None:
    sync(account, key("A1"), at=NOW)
    sync(account, key("A1"), key("A9"), at=NOW + MINUTE)
    assert Credential.objects.live().count() == 2
    sync(account, key("A1"), at=NOW + 2 * MINUTE)
    assert [each.external_id for each in Credential.objects.live()] == ["A1"]


@pytest.mark.parametrize("is_listed", ["before it is recorded", "before it is current"])
def test_what_was_listed_too_early_is_absorbed(account: Connection, laptop: Connection, is_listed: str) -> None:
    sync(account, key("A1"), at=NOW)
    first = Credential.objects.get()
    if is_listed == "before it is current":
        version = issue(first, "A2", at=NOW + 5 * MINUTE)
        early = factories.credential(identity_key="aws:A2", connection=account, external_id="A2")  # beside it
    else:
        sync(account, key("A1"), key("A2"), at=NOW + MINUTE)
        early = Credential.objects.get(identity_key="aws:A2")
    Credential.objects.filter(pk=early.pk).update(owner=factories.owner(name="Ada"))
    sync(laptop, held("A2"), at=NOW + 2 * MINUTE)
    if is_listed == "before it is recorded":
        version = issue(first, "A2", at=NOW + 5 * MINUTE)
    make_current(version, now=NOW + 6 * MINUTE, actor=ACTOR)
    early.refresh_from_db()
    assert early.gone_at is not None
    assert "A version of" in early.details["absorbed"]
    entry = AuditEntry.objects.get(event="credential.absorbed")
    assert (entry.detail["owner"], entry.detail["by"]) == ("Ada", first.name)
    assert {*Use.objects.values_list("credential", flat=True)} == {first.pk}
    assert {*Exposure.objects.values_list("credential", flat=True)} == {first.pk}
    assert sync(account, key("A1"), key("A2"), at=NOW + 10 * MINUTE) == {}
    assert sync(laptop, held("A2"), at=NOW + 10 * MINUTE) == {}


def test_two_logins_that_take_turns_stay_one_credential(account: Connection) -> None:
    sync(account, key("app_a"), key("app_b"), at=NOW)
    credential = Credential.objects.get(external_id="app_a")
    for turn, (login, other) in enumerate([("app_b", "app_a"), ("app_a", "app_b"), ("app_b", "app_a")], 1):
        at = NOW + 60 * turn * MINUTE
        old = CredentialVersion.objects.get(credential=credential, is_current=True)
        make_current(issue(credential, login, at=at), now=at + MINUTE, actor=ACTOR)
        destroy(old, at=at + 2 * MINUTE)
        assert sync(account, key(login), at=at + 3 * MINUTE) == {}
        # Asleep, the other one is no login; as long as it is listed, it is known for what it is.
        sync(account, key(login), key(other, "suspended"), at=at + 4 * MINUTE)
        (alive,) = Credential.objects.live()
        assert (alive.pk, alive.external_id) == (credential.pk, login)
    assert not CredentialVersion.objects.filter(revived_at__isnull=False).exists()


# ── Files that still hold the old one ──────────────────────────────────────────────────────────
def test_a_file_that_holds_the_old_key_is_a_place_of_the_credential(account: Connection, laptop: Connection) -> None:
    sync(account, key("A1"), at=NOW)
    sync(laptop, held("A1"), at=NOW + MINUTE)
    credential = rotated_from(Credential.objects.get())
    assert sync(laptop, held("A1"), at=NOW + 10 * MINUTE) == {}
    assert sync(laptop, held("A1"), held("A2", "/b.json"), at=NOW + 11 * MINUTE) == {
        "uses_added": 1,
        "exposures_added": 1,
    }
    assert set(Use.objects.values_list("credential", flat=True)) == {credential.pk}
    assert Credential.objects.count() == 1


def rotated_from(credential: Credential) -> Credential:
    make_current(issue(credential, "A2", at=NOW + 5 * MINUTE), now=NOW + 6 * MINUTE, actor=ACTOR)
    return credential


def test_a_feed_that_names_the_old_key_describes_no_new_credential(account: Connection) -> None:
    rotated(account)
    feed = create_connection(kind=ConnectionKind.FEED, name="feed", settings={}, actor=ACTOR, now=NOW)
    sync(feed, key("A1", credential_name="by hand", tags=("pci",)), at=NOW + 10 * MINUTE)
    (credential,) = Credential.objects.all()
    assert (credential.name, credential.tags) == ("deploy / access key", [])


# ── Whatever happens in whatever order ─────────────────────────────────────────────────────────
STEPS = st.lists(st.sampled_from(["issue", "promote", "suspend", "destroy", "look", "apply"]), max_size=14)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=SHARED_FIXTURE)
@given(STEPS)
def test_whenever_a_look_begins_and_ends_a_key_is_one_credential(account: Connection, steps: list[str]) -> None:
    """A world of keys at the provider, an operation that changes it and the books, and one look under way at a time."""
    Use.objects.all().delete()
    CredentialVersion.objects.all().delete()
    Credential.objects.all().delete()
    now = NOW
    sync(account, key("K0"), at=now)
    credential = Credential.objects.get()
    world, looked, retiring, new = {"K0": "active"}, None, None, None
    for number, step in enumerate(steps, 1):
        now += MINUTE
        if step == "issue" and new is None and retiring is None:
            world[f"K{number}"] = "active"
            new = issue(credential, f"K{number}", at=now)
        elif step == "promote" and new is not None:
            retiring = CredentialVersion.objects.get(credential=credential, is_current=True)
            make_current(new, now=now, actor=ACTOR)
            new = None
        elif step == "suspend" and retiring is not None:
            world[retiring.external_id] = "suspended"
            suspend(retiring, at=now)
        elif step == "destroy" and retiring is not None:
            del world[retiring.external_id]
            destroy(retiring, at=now)
            retiring = None
        elif step == "look":
            looked = (now, dict(world))
        elif step == "apply" and looked is not None:
            at, listed = looked
            sync(account, *(key(name, status) for name, status in listed.items()), at=at, until=now)
            looked = None
        credential.refresh_from_db()
        assert Credential.objects.count() == 1
        assert credential.is_live
        current = CredentialVersion.objects.get(credential=credential, is_current=True)
        assert (credential.external_id, credential.identity_key) == (
            current.external_id,
            f"aws:{current.external_id}",
        )
    now += MINUTE
    sync(account, *(key(name, status) for name, status in world.items()), at=now)
    for version in CredentialVersion.objects.all():
        is_there = version.external_id in world
        assert (version.destroyed_at is None) == is_there
        assert (version.suspended_at is not None) >= (world.get(version.external_id) == "suspended")
        assert version.revived_at is None
    assert sync(account, *(key(name, status) for name, status in world.items()), at=now + MINUTE) == {}
