"""What a sync makes of a listing: nothing twice, nothing lost, nothing gone that was not looked for."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection as database
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from access.actors import Actor
from audit.models import AuditEntry
from inventory.actions.connections import create_connection
from inventory.actions.reconcile import Reconciliation
from inventory.actions.syncs import claim, complete, fail, renew
from inventory.discovery.listing import Discovered, rows
from inventory.discovery.model import Class, FoundCredential, FoundFile, FoundServer, Kind
from inventory.errors import LeaseLost
from inventory.models import Connection, Credential, CredentialVersion, Exposure, McpClient, McpServer, SyncRun, Use
from inventory.states import ConnectionKind, RunState
from tests.examples import SHARED_FIXTURE, examples

ACTOR = Actor.system("tests")
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LATER = timedelta(hours=1)
pytestmark = pytest.mark.django_db

TABLES = (Credential, CredentialVersion, Exposure, McpClient, McpServer, Use)


def place(file: str, server: str = "github", secret: str | None = "s1", *, held: str = "literal", **more) -> Discovered:
    """A file of one client that names a server, with a credential or without."""
    row = Discovered(
        file=file,
        pointer=f"/mcpServers/{server}" + ("/env/TOKEN" if secret else ""),
        host="laptop",
        client_key="config:c:cursor",
        client_name="Cursor",
        client_product="cursor",
        server_key=f"local:{server}",
        server_name=server,
        transport="stdio",
        package=f"@example/{server}",
    )
    if secret:
        row = replace(
            row,
            credential_key=f"fp:{secret}",
            credential_name=f"{server} / TOKEN",
            kind="api_key",
            fingerprint=f"kf1:{secret}",
            hint="…" + secret[-4:],
            storage=held,
            is_exposed=held == "literal",
        )
    return replace(row, **more)


@pytest.fixture
def connection() -> Connection:
    return create_connection(kind=ConnectionKind.MCP_CONFIG, name="laptop", settings={}, actor=ACTOR, now=NOW)


def sync(
    connection: Connection, rows: list[Discovered], *, at: datetime = NOW, unread: tuple[str, ...] = ()
) -> SyncRun:
    lease = claim(connection.pk, now=at, actor=ACTOR)
    assert lease is not None
    listing = Reconciliation(lease.connection, now=at)
    listing.open()
    listing.stage(rows)
    run = complete(lease, listing, now=at, done=len(rows), problems=[], unread=list(unread), actor=ACTOR)
    listing.close()
    return run


def contents() -> dict[str, list[tuple]]:
    return {table.__name__: sorted(table.objects.values_list(), key=str) for table in TABLES}


def test_a_listing_becomes_clients_servers_credentials_uses_and_exposures(connection: Connection) -> None:
    run = sync(connection, [place("/a.json"), place("/b.json"), place("/a.json", "files", None)])
    assert run.counts == {
        "clients_added": 1,
        "servers_added": 2,
        "credentials_added": 1,
        "versions_added": 1,
        "uses_added": 3,
        "exposures_added": 2,
    }


def test_the_same_listing_twice_writes_nothing(connection: Connection) -> None:
    rows = [place("/a.json"), place("/b.json", "slack", "s2"), place("/c.json", "files", None)]
    sync(connection, rows)
    before = contents()
    run = sync(connection, rows, at=NOW + LATER)
    assert run.counts == {}
    assert contents() == before


def test_a_run_records_one_audit_entry_and_no_more(connection: Connection) -> None:
    before = AuditEntry.objects.count()
    sync(connection, [place("/a.json"), place("/b.json")])
    assert AuditEntry.objects.count() == before + 1


def test_the_digest_is_equal_for_runs_that_changed_nothing(connection: Connection) -> None:
    first = sync(connection, [place("/a.json")])
    second = sync(connection, [place("/a.json")], at=NOW + LATER)
    third = sync(connection, [place("/a.json")], at=NOW + 2 * LATER)
    assert first.digest != second.digest == third.digest


def test_a_cleaned_literal_is_gone_while_its_other_place_keeps_the_credential(connection: Connection) -> None:
    sync(connection, [place("/a.json"), place("/b.json")])
    sync(connection, [place("/b.json")], at=NOW + LATER)
    assert Exposure.objects.get(file="/a.json").gone_at == NOW + LATER
    assert Exposure.objects.get(file="/b.json").gone_at is None
    assert Credential.objects.get().gone_at is None


def test_what_is_gone_was_last_seen_by_the_complete_run_before(connection: Connection) -> None:
    sync(connection, [place("/a.json")])
    sync(connection, [], at=NOW + LATER)
    assert Credential.objects.get().last_seen_at == NOW


def test_a_removed_server_takes_its_client_along_when_nothing_else_is_left(connection: Connection) -> None:
    sync(connection, [place("/a.json")])
    sync(connection, [], at=NOW + LATER)
    assert McpServer.objects.get().gone_at == McpClient.objects.get().gone_at == NOW + LATER


def test_what_comes_back_is_the_same_row(connection: Connection) -> None:
    sync(connection, [place("/a.json")])
    known = Credential.objects.get().pk
    sync(connection, [], at=NOW + LATER)
    sync(connection, [place("/a.json")], at=NOW + 2 * LATER)
    credential = Credential.objects.get()
    assert (credential.pk, credential.gone_at, credential.first_seen_at) == (known, None, NOW)


@pytest.mark.parametrize("unread", ["/home/a.json", "/home", "/home/"])
def test_what_could_not_be_read_is_not_gone(connection: Connection, unread: str) -> None:
    sync(connection, [place("/home/a.json"), place("/srv/b.json", "slack", "s2")])
    run = sync(connection, [], at=NOW + LATER, unread=(unread,))
    assert run.state == RunState.PARTIAL
    assert Exposure.objects.get(file="/home/a.json").gone_at is None
    assert Credential.objects.get(fingerprint="kf1:s1").gone_at is None
    assert Credential.objects.get(fingerprint="kf1:s2").gone_at == NOW + LATER


def test_a_partial_run_is_no_later_sight_of_anything(connection: Connection) -> None:
    sync(connection, [place("/home/a.json")])
    sync(connection, [], at=NOW + LATER, unread=("/home/a.json",))
    connection.refresh_from_db()
    assert connection.last_complete_at == NOW


def test_when_no_place_could_be_looked_at_nothing_is_gone(connection: Connection) -> None:
    sync(connection, [place("/home/a.json"), place("/srv/b.json", "slack", "s2")])
    run = sync(connection, [], at=NOW + LATER, unread=("/",))
    assert run.counts == {}


def test_a_folder_whose_name_only_begins_alike_was_read(connection: Connection) -> None:
    sync(connection, [place("/home2/a.json")])
    sync(connection, [], at=NOW + LATER, unread=("/home",))
    assert Exposure.objects.get().gone_at == NOW + LATER


def test_a_failed_run_changes_nothing(connection: Connection) -> None:
    sync(connection, [place("/a.json")])
    before = contents()
    lease = claim(connection.pk, now=NOW + LATER, actor=ACTOR)
    assert lease is not None
    run = fail(lease, now=NOW + LATER, error="the disk went away", actor=ACTOR)
    assert run.state == RunState.FAILED
    assert contents() == before


def test_a_literal_that_became_a_reference_is_a_credential_without_exposure(connection: Connection) -> None:
    sync(connection, [place("/a.json")])
    kept = place("/a.json", held="reference", credential_key="ref:env:TOKEN", fingerprint="", reference="env:TOKEN")
    sync(connection, [kept], at=NOW + LATER)
    assert Exposure.objects.present().count() == 0
    assert Credential.objects.get(reference="env:TOKEN").gone_at is None
    assert Credential.objects.get(fingerprint="kf1:s1").gone_at == NOW + LATER


def test_a_new_package_version_updates_the_server_in_place(connection: Connection) -> None:
    sync(connection, [place("/a.json", package_version="1.0", is_pinned=True)])
    run = sync(connection, [place("/a.json", package_version="2.0", is_pinned=True)], at=NOW + LATER)
    assert run.counts == {"servers_changed": 1}
    assert McpServer.objects.get().package_version == "2.0"


def test_people_s_decisions_survive_a_sync(connection: Connection) -> None:
    sync(connection, [place("/a.json")])
    McpServer.objects.update(role="tool_endpoint")
    sync(connection, [place("/a.json", package_version="2.0")], at=NOW + LATER)
    assert McpServer.objects.get().role == "tool_endpoint"


def test_one_secret_in_two_connections_is_one_credential_described_by_the_first(connection: Connection) -> None:
    other = create_connection(kind=ConnectionKind.MCP_CONFIG, name="build host", settings={}, actor=ACTOR, now=NOW)
    sync(connection, [place("/a.json")])
    run = sync(other, [place("/b.json", credential_name="another name")])
    assert "credentials_changed" not in run.counts
    assert Credential.objects.get().name == "github / TOKEN"
    assert Exposure.objects.count() == 2


def test_a_shared_credential_is_gone_only_when_the_last_connection_lost_it(connection: Connection) -> None:
    other = create_connection(kind=ConnectionKind.MCP_CONFIG, name="build host", settings={}, actor=ACTOR, now=NOW)
    sync(connection, [place("/a.json")])
    sync(other, [place("/b.json")])
    sync(connection, [], at=NOW + LATER)
    assert Credential.objects.get().gone_at is None
    sync(other, [], at=NOW + LATER)
    assert Credential.objects.get().gone_at == NOW + LATER


def test_an_issue_date_once_known_is_kept_when_a_listing_does_not_say(connection: Connection) -> None:
    sync(connection, [place("/a.json", issued_at=NOW - timedelta(days=90))])
    sync(connection, [place("/a.json")], at=NOW + LATER)
    assert Credential.objects.get().issued_at == NOW - timedelta(days=90)


def test_a_changed_value_in_its_slot_begins_a_new_version(connection: Connection) -> None:
    sync(connection, [place("/a.json", credential_key="aws:AKIAX", external_id="AKIAX")])
    sync(
        connection, [place("/a.json", "github", "s2", credential_key="aws:AKIAX", external_id="AKIAX")], at=NOW + LATER
    )
    versions = CredentialVersion.objects.order_by("id").values_list("fingerprint", "is_current")
    assert list(versions) == [("kf1:s1", False), ("kf1:s2", True)]


def test_two_workers_never_hold_one_connection(connection: Connection) -> None:
    assert claim(connection.pk, now=NOW, actor=ACTOR) is not None
    assert claim(connection.pk, now=NOW, actor=ACTOR) is None


def test_a_dead_worker_is_taken_over_and_fenced_off(connection: Connection) -> None:
    dead = claim(connection.pk, now=NOW, actor=ACTOR)
    assert dead is not None
    living = claim(connection.pk, now=NOW + LATER, actor=ACTOR)
    assert living is not None
    assert SyncRun.objects.get(pk=dead.run.pk).state == RunState.FAILED
    with pytest.raises(LeaseLost):
        renew(dead, now=NOW + LATER, done=1)
    listing = Reconciliation(dead.connection, now=NOW)
    listing.open()
    with pytest.raises(LeaseLost):
        complete(dead, listing, now=NOW + LATER, done=0, problems=[], unread=[], actor=ACTOR)
    listing.close()


@pytest.mark.parametrize("ending", ["complete", "fail"])
def test_runs_are_forgotten_after_more_than_a_year_and_those_of_others_are_not(
    connection: Connection, ending: str
) -> None:
    other = create_connection(kind=ConnectionKind.MCP_CONFIG, name="server", settings={}, actor=ACTOR, now=NOW)

    def ran(where: Connection, days: int) -> UUID:
        """A run whose key begins with the time of its making, as all of them do."""
        then = NOW - timedelta(days=days)
        key = UUID(int=int(then.timestamp() * 1_000) << 80 | days)
        values = {"state": RunState.COMPLETE, "requested_by": "test", "started_at": then, "finished_at": then}
        return SyncRun.objects.create(pk=key, connection=where, **values).pk

    old, young, elsewhere = ran(connection, 401), ran(connection, 399), ran(other, 402)
    if ending == "complete":
        sync(connection, [])
    else:
        lease = claim(connection.pk, now=NOW, actor=ACTOR)
        assert lease is not None
        fail(lease, now=NOW, error="It is away.", actor=ACTOR)
    kept = set(SyncRun.objects.values_list("pk", flat=True))
    assert {young, elsewhere} <= kept
    assert old not in kept
    assert len(kept) == 3


def test_a_connection_that_is_not_due_is_left_alone_by_the_timetable(connection: Connection) -> None:
    sync(connection, [])
    assert claim(connection.pk, now=NOW, actor=ACTOR, due_only=True) is None
    assert claim(connection.pk, now=NOW + timedelta(hours=2), actor=ACTOR, due_only=True) is not None


rows_of_an_estate = st.lists(
    st.builds(
        place,
        st.sampled_from(["/a.json", "/b.json", "/c/d.json"]),
        st.sampled_from(["github", "slack"]),
        st.sampled_from(["s1", "s2", None]),
        held=st.sampled_from(["literal", "reference"]),
    ),
    max_size=6,
)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=SHARED_FIXTURE)
@given(st.lists(rows_of_an_estate, min_size=1, max_size=4))
def test_whatever_was_listed_before_the_last_listing_alone_decides_what_is_present(listings) -> None:
    connection = create_connection(
        kind=ConnectionKind.MCP_CONFIG, name=f"host {uuid4()}", settings={}, actor=ACTOR, now=NOW
    )
    scope = str(uuid4())
    listings = [
        [
            replace(
                row,
                client_key=scope + str(row.client_key),
                server_key=scope + str(row.server_key),
                credential_key=scope + row.credential_key if row.credential_key else None,
            )
            for row in listing
        ]
        for listing in listings
    ]
    for i, listing in enumerate(listings):
        sync(connection, listing, at=NOW + i * LATER)
    last = listings[-1]
    present = {"connection": connection, "gone_at": None}
    assert McpServer.objects.filter(**present).count() == len({row.server_key for row in last})
    assert Credential.objects.filter(**present).count() == len({row.credential_key for row in last} - {None})
    exposed = {(row.file, row.pointer, row.credential_key) for row in last if row.is_exposed}
    assert Exposure.objects.filter(**present).count() == len(exposed)
    assert sync(connection, last, at=NOW + 9 * LATER).counts == {}


def test_names_that_no_column_takes_are_cut_and_stay_distinct(connection: Connection) -> None:
    def server(name: str) -> FoundServer:
        found = FoundCredential("/env/T\x00" + "x" * 9_000, Class.LITERAL, Kind.API_KEY, "T\ud800", fingerprint="kf1:a")
        return FoundServer(
            name, "stdio", "/f", "/mcpServers/" + name, "cursor", package="p" * 9_000, credentials=(found,)
        )

    file = FoundFile("/" + "ø" * 5_000, "cursor", "json", servers=(server("a" * 9_000), server("a" * 9_001)))
    sync(connection, list(rows(file, scope="c", host="h" * 900)))
    assert McpServer.objects.count() == 2
    assert Exposure.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_connections_that_find_the_same_at_the_same_time_both_succeed() -> None:
    places = [
        create_connection(kind=ConnectionKind.MCP_CONFIG, name=name, settings={}, actor=ACTOR, now=NOW)
        for name in ("one", "other")
    ]
    has_written, may_commit = threading.Event(), threading.Event()
    runs: list[SyncRun] = []

    def first() -> None:
        with transaction.atomic():
            runs.append(sync(places[0], [place("/a.json")]))
            has_written.set()
            may_commit.wait(10)
        database.close()

    def second() -> None:
        runs.append(sync(places[1], [place("/b.json")]))
        database.close()

    writers = [threading.Thread(target=first), threading.Thread(target=second)]
    writers[0].start()
    assert has_written.wait(10)
    writers[1].start()
    writers[1].join(0.5)  # by then it waits for the first, which has written the same keys
    may_commit.set()
    for writer in writers:
        writer.join(10)
    assert [run.state for run in runs] == [RunState.COMPLETE] * 2
    assert (McpServer.objects.count(), Credential.objects.count(), Use.objects.count()) == (1, 1, 2)


def test_a_key_that_somebody_sent_first_is_its_providers_all_the_same() -> None:
    """Whoever may send rows could else name every key first, and be the only one to say how old it is."""
    feed, account = (
        create_connection(kind=kind, name=kind.label, settings={}, actor=ACTOR, now=NOW)
        for kind in (ConnectionKind.FEED, ConnectionKind.AWS)
    )
    row = Discovered(credential_key="aws:AKIAIOSFODNN7EXAMPLE", credential_name="k", storage="provider")
    sent, listed = replace(row, status="destroyed", external_id="1"), replace(row, status="active", external_id="1")

    def told(row: Discovered) -> None:
        listing = Reconciliation(feed, now=NOW)
        listing.open()
        listing.stage([row])
        with transaction.atomic():
            listing.apply(unread=None)
        listing.close()

    told(sent)
    sync(account, [listed])
    told(sent)
    kept = Credential.objects.get()
    assert (kept.connection, kept.status) == (account, "active")
    assert sync(account, [listed], at=NOW + LATER).counts == {}
