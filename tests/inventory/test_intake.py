"""What a delivery to a feed makes of the inventory, and what it leaves alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from django.db import connection as database

from audit.models import AuditEntry
from inventory.actions.connections import create_connection, request_sync, set_enabled
from inventory.actions.syncs import claim
from inventory.engine import sync
from inventory.errors import Disabled, KeyReused, LeaseLost, NotAFeed, NothingTaken, Told, UnderWay
from inventory.feeds.bodies import CutShort
from inventory.feeds.rows import CSV, Malformed
from inventory.feeds.shapes import BadSettings
from inventory.intake import take
from inventory.models import (
    Connection,
    Credential,
    CredentialVersion,
    Exposure,
    McpClient,
    McpServer,
    Owner,
    SyncRun,
    Use,
)
from inventory.states import ConnectionKind, RunState
from inventory.views.presence import seen_at
from tests.factories import connection, credential, environment, owner
from tests.feeds import ACTOR, NOW, deliver, feed, in_pieces, key_of, lines

LATER = NOW + timedelta(hours=1)
pytestmark = pytest.mark.django_db

CLIENT = {"type": "client", "name": "Desk assistant", "client_id": "desk"}
SERVER = {"type": "server", "name": "tickets", "url": "https://mcp.example/tickets", "transport": "http"}
USE = {
    "type": "use",
    "client": {"client_id": "desk"},
    "server": {"url": "https://mcp.example/tickets"},
    "credential": {"issuer": "Example", "external_id": "id-1"},
}


def test_rows_become_credentials_with_their_versions() -> None:
    receipt = deliver(feed(), key_of(1, issued_at="2026-01-01"), key_of(2))
    assert receipt.run.counts == {"credentials_added": 2, "versions_added": 2}
    assert receipt.run.received == {"read": 2, "taken": 2, "refused": 0, "repeated": 0, "unresolved": 0}
    assert CredentialVersion.objects.filter(credential__external_id="id-1", is_current=True).count() == 1


def test_the_same_delivery_again_writes_nothing() -> None:
    to = feed()
    rows = [key_of(1), key_of(2), CLIENT, SERVER, USE]
    deliver(to, *rows)
    before = list(Credential.objects.order_by("pk").values_list())
    assert deliver(to, *rows, at=LATER).run.counts == {}
    assert list(Credential.objects.order_by("pk").values_list()) == before


def test_one_audit_entry_says_what_a_delivery_brought() -> None:
    to = feed()
    before = AuditEntry.objects.count()
    deliver(to, key_of(1), {"name": 5.5})
    assert AuditEntry.objects.count() == before + 1
    assert AuditEntry.objects.order_by("-seq")[0].detail["received"]["refused"] == 1


def test_good_rows_are_taken_and_bad_ones_are_listed_by_line() -> None:
    receipt = deliver(feed(), key_of(1), {"name": "x", "status": "fine"}, "{broken", key_of(2))
    assert Credential.objects.count() == 2
    assert receipt.run.state == RunState.PARTIAL
    assert [(each["line"], each["pointer"]) for each in receipt.run.problems] == [(2, "status"), (3, "")]


def test_of_rows_that_describe_the_same_thing_the_last_counts() -> None:
    receipt = deliver(feed(), key_of(1, name="first"), key_of(2), key_of(1, name="last"))
    assert Credential.objects.get(external_id="id-1").name == "last"
    assert receipt.run.received["repeated"] == 1


def test_the_list_of_bad_rows_is_bounded_and_their_number_exact() -> None:
    receipt = deliver(feed(), key_of(1), *({"name": n} for n in [1.5] * 700))
    assert receipt.run.received["refused"] == 700
    assert len(receipt.run.problems) == 200


def test_without_a_rule_the_issuer_and_the_external_id_make_a_credential() -> None:
    deliver(feed(), key_of(1), key_of(1, issuer="Other"))
    assert Credential.objects.count() == 2


def test_an_identity_rule_says_which_fields_make_two_rows_the_same() -> None:
    to = feed(identity=["principal"])
    deliver(to, key_of(1, principal="arn:robot"))
    deliver(to, key_of(2, principal="arn:robot"), at=LATER)
    assert Credential.objects.get().external_id == "id-2"
    assert CredentialVersion.objects.count() == 2


def test_a_row_without_a_field_of_the_identity_rule_is_refused() -> None:
    receipt = deliver(feed(identity=["principal"]), key_of(1, principal="arn:robot"), key_of(2))
    assert [(each["line"], each["pointer"]) for each in receipt.run.problems] == [(2, "principal")]


def test_a_rule_that_nobody_understands_takes_nothing() -> None:
    with pytest.raises(BadSettings, match="identity rule"):
        deliver(feed(identity=["favourite_colour"]), key_of(1))
    assert not SyncRun.objects.exists()


def test_an_aws_key_is_the_same_credential_that_aws_lists() -> None:
    known = credential(identity_key="aws:AKIAQ4J7XKEXAMPLEAAA", external_id="AKIAQ4J7XKEXAMPLEAAA")
    deliver(feed(), {"name": "robot", "kind": "aws_access_key", "external_id": "AKIAQ4J7XKEXAMPLEAAA"})
    assert Credential.objects.get().pk == known.pk


def test_what_a_part_leaves_out_is_not_gone() -> None:
    to = feed()
    deliver(to, key_of(1), key_of(2))
    deliver(to, key_of(1), at=LATER)
    assert Credential.objects.filter(gone_at=None).count() == 2


def test_what_a_complete_feed_leaves_out_is_gone() -> None:
    to = feed(complete=True)
    deliver(to, key_of(1), key_of(2))
    deliver(to, key_of(1), at=LATER)
    assert Credential.objects.get(external_id="id-2").gone_at == LATER
    assert Credential.objects.get(external_id="id-2").last_seen_at == NOW


def test_a_refused_row_takes_nothing_of_a_complete_feed_for_gone() -> None:
    to = feed(complete=True)
    deliver(to, key_of(1), key_of(2))
    deliver(to, key_of(1), {"name": "x", "status": "fine"}, at=LATER)
    assert Credential.objects.filter(gone_at=None).count() == 2


def test_a_reference_to_nothing_takes_nothing_of_a_complete_feed_for_gone() -> None:
    to = feed(complete=True)
    deliver(to, key_of(1), key_of(2), CLIENT, SERVER)
    run = deliver(to, key_of(1), CLIENT, SERVER, {**USE, "server": {"name": "nobody"}}, at=LATER).run
    assert (run.state, run.received["unresolved"]) == (RunState.PARTIAL, 1)
    assert [each["line"] for each in run.problems] == [4]
    assert Credential.objects.filter(gone_at=None).count() == 2


def test_an_empty_body_says_nothing_and_takes_nothing_for_gone() -> None:
    to = feed(complete=True)
    deliver(to, key_of(1))
    with pytest.raises(Malformed, match="no row"):
        deliver(to, b"\n  \n", at=LATER)
    assert Credential.objects.get().gone_at is None


def test_a_header_without_rows_says_that_nothing_is_left() -> None:
    to = feed(complete=True)
    deliver(to, key_of(1))
    deliver(to, b"name,external_id\n", at=LATER, format_=CSV)
    assert Credential.objects.get().gone_at == LATER


def test_uses_tie_clients_servers_and_credentials_of_the_same_delivery() -> None:
    deliver(feed(), USE, key_of(1), CLIENT, SERVER)
    use = Use.objects.get()
    assert (use.client.name, use.server.name, use.credential.name) == ("Desk assistant", "tickets", "service 1")
    assert use.file == "CMDB"


def test_a_row_that_only_names_a_thing_describes_nothing() -> None:
    to = feed()
    deliver(to, key_of(1), CLIENT, SERVER)
    assert deliver(to, USE, at=LATER).run.counts == {"uses_added": 1}
    assert Credential.objects.get().name == "service 1"
    assert McpServer.objects.get().name == "tickets"
    assert McpClient.objects.get().name == "Desk assistant"


def test_an_exposure_names_its_place() -> None:
    deliver(
        feed(),
        key_of(1),
        {
            "type": "exposure",
            "credential": {"issuer": "Example", "external_id": "id-1"},
            "file": "/srv/app/.env",
            "pointer": "/API_KEY",
            "host": "build-7",
            "is_readable_by_others": True,
        },
    )
    exposure = Exposure.objects.get()
    assert (exposure.file, exposure.host, exposure.is_readable_by_others) == ("/srv/app/.env", "build-7", True)


@pytest.mark.parametrize("named", ["MIRA@example.org", "E-17"])
def test_an_owner_is_found_by_address_or_id(named: str) -> None:
    mira = owner(name="Mira", email="mira@example.org", external_id="E-17")
    deliver(feed(), key_of(1, owner=named, environment="prod"))
    assert Credential.objects.get().owner == mira
    assert Credential.objects.get().environment == environment("prod")


def test_a_feed_fills_in_an_owner_where_nobody_is_one() -> None:
    to, mira = feed(), owner(email="mira@example.org")
    deliver(to, key_of(1))
    assert deliver(to, key_of(1, owner="mira@example.org"), at=LATER).run.counts == {"credentials_assigned": 1}
    assert Credential.objects.get().owner == mira


def test_a_feed_never_replaces_what_a_person_assigned() -> None:
    to, otto = feed(), owner()
    owner(email="mira@example.org")
    deliver(to, key_of(1))
    Credential.objects.update(owner=otto, environment=environment("dev"))
    assert deliver(to, key_of(1, owner="mira@example.org", environment="prod"), at=LATER).run.counts == {}
    assert Credential.objects.get().owner == otto
    assert Credential.objects.get().environment == environment("dev")


def test_an_owner_nobody_knows_leaves_the_row_without_one_and_is_listed() -> None:
    receipt = deliver(feed(), key_of(1), key_of(2, owner="nobody@example.org"))
    assert [(each["line"], each["pointer"]) for each in receipt.run.problems] == [(2, "owner")]
    assert Credential.objects.filter(owner=None).count() == 2
    assert receipt.run.state == RunState.COMPLETE


def test_an_owner_who_has_left_gets_nothing() -> None:
    owner(email="mira@example.org", is_active=False)
    deliver(feed(), key_of(1, owner="mira@example.org"))
    assert Credential.objects.get().owner is None


def test_owners_of_a_delivery_own_what_is_in_it() -> None:
    deliver(
        feed(),
        key_of(1, owner="mira@example.org"),
        {"type": "owner", "name": "Mira", "email": "mira@example.org", "external_id": "E-17"},
    )
    assert Credential.objects.get().owner.external_id == "E-17"


def test_who_left_according_to_a_feed_has_left_and_keeps_their_name() -> None:
    mira = owner(name="Mira Okafor", email="mira@example.org")
    row = {"type": "owner", "name": "M. O.", "email": "Mira@example.org", "external_id": "E-17", "is_active": False}
    assert deliver(feed(), row).run.counts == {"owners_changed": 1}
    mira.refresh_from_db()
    assert (mira.name, mira.external_id, mira.is_active) == ("Mira Okafor", "E-17", False)


def test_two_new_owners_of_one_address_are_one() -> None:
    row = {"type": "owner", "name": "Mira", "email": "mira@example.org"}
    deliver(feed(), {**row, "external_id": "E-17"}, {**row, "external_id": "E-18"})
    assert Owner.objects.count() == 1


def test_the_environment_of_the_feed_is_that_of_what_it_brings() -> None:
    to = feed()
    Connection.objects.update(environment=environment("staging"))
    deliver(to, key_of(1), key_of(2, environment="prod"))
    assert Credential.objects.get(external_id="id-1").environment == environment("staging")
    assert Credential.objects.get(external_id="id-2").environment == environment("prod")


# ── Whole deliveries ───────────────────────────────────────────────────────────────────────────────
def test_a_delivery_of_which_nothing_is_good_changes_nothing_and_says_why() -> None:
    to = feed(complete=True)
    deliver(to, key_of(1))
    with pytest.raises(NothingTaken) as raised:
        deliver(to, {"name": "x", "status": "fine"}, at=LATER)
    assert raised.value.refused == 1
    assert Credential.objects.get().gone_at is None
    assert SyncRun.objects.order_by("-id")[0].state == RunState.FAILED


def test_a_delivery_that_breaks_off_changes_nothing() -> None:
    def broken():
        yield lines(key_of(1))
        raise CutShort

    with pytest.raises(CutShort):
        take(feed(), broken(), format_="ndjson", clock=lambda: NOW, actor=ACTOR)
    assert not Credential.objects.exists()
    assert SyncRun.objects.get().state == RunState.FAILED


def test_the_same_key_and_body_is_answered_with_the_first_run_and_writes_nothing() -> None:
    to = feed()
    first = deliver(to, key_of(1), key="monday")
    Credential.objects.update(name="changed since")
    again = deliver(to, key_of(1), key="monday", at=LATER)
    assert (again.run, again.is_replay) == (first.run, True)
    assert Credential.objects.get().name == "changed since"
    assert SyncRun.objects.count() == 1


def test_the_same_key_with_another_body_is_refused() -> None:
    to = feed()
    deliver(to, key_of(1), key="monday")
    with pytest.raises(KeyReused):
        deliver(to, key_of(2), key="monday", at=LATER)
    assert Credential.objects.count() == 1


def test_a_delivery_that_failed_is_begun_again_as_the_same_run() -> None:
    to = feed()
    with pytest.raises(Malformed):
        deliver(to, b"[]", key="monday")
    failed = SyncRun.objects.get()
    again = deliver(to, key_of(1), key="monday", at=LATER)
    assert (again.run, again.is_replay) == (failed, False)
    assert SyncRun.objects.get().state == RunState.COMPLETE


def test_the_lease_of_a_dead_delivery_is_taken_over_at_once() -> None:
    to = feed()
    assert claim(to.pk, now=NOW, actor=ACTOR, idempotency_key="monday") is not None
    run = deliver(to, key_of(1), key="monday").run
    assert run.state == RunState.COMPLETE
    assert SyncRun.objects.count() == 1


@contextmanager
def another_delivery(to: Connection, *, at: datetime) -> Iterator[None]:
    """A delivery that began at a time and is still alive in a session of its own."""
    assert claim(to.pk, now=at, actor=ACTOR) is not None
    other = database.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(7260551, %s)", [int.from_bytes(to.pk.bytes[-4:], "big", signed=True)])
        yield
        cursor.execute("SELECT pg_advisory_unlock_all()")  # at once; a session that is closed takes a moment to end
    other.close()


@pytest.mark.django_db(transaction=True)
def test_two_deliveries_to_one_feed_are_never_under_way_at_once() -> None:
    to = feed()
    with another_delivery(to, at=NOW), pytest.raises(UnderWay):
        deliver(to, key_of(1))
    assert deliver(to, key_of(1)).run.state == RunState.COMPLETE


@pytest.mark.django_db(transaction=True)
def test_a_sender_that_fell_silent_blocks_a_feed_no_longer_than_its_lease() -> None:
    to = feed()
    with another_delivery(to, at=NOW):
        assert deliver(to, key_of(1), at=LATER).run.state == RunState.COMPLETE


def test_a_delivery_that_was_taken_over_changes_nothing() -> None:
    to = feed()

    def interrupted() -> Iterator[bytes]:
        yield lines(key_of(1))
        assert claim(to.pk, now=LATER, actor=ACTOR) is not None

    with pytest.raises(LeaseLost):
        take(to, interrupted(), format_="ndjson", clock=lambda: NOW, actor=ACTOR)
    assert not Credential.objects.exists()


# ── The feed as a connection ───────────────────────────────────────────────────────────────────────
def test_a_feed_is_told_and_not_asked() -> None:
    to = feed()
    assert to.due_at is None
    for ask in (
        lambda: sync(to.pk, clock=lambda: NOW, actor=ACTOR),
        lambda: request_sync(to, actor=ACTOR, now=NOW),
    ):
        with pytest.raises(Told):
            ask()
    assert not SyncRun.objects.exists()


def test_a_feed_is_never_due() -> None:
    to = feed()
    deliver(to, key_of(1))
    set_enabled(to, True, actor=ACTOR, now=LATER)
    Connection.objects.update(due_at=NOW)
    assert not Connection.objects.due(LATER + timedelta(days=9)).exists()


def test_what_arrived_is_when_a_feed_was_last_complete() -> None:
    to = feed()
    deliver(to, key_of(1), at=LATER)
    to.refresh_from_db()
    assert to.last_complete_at == LATER


def test_a_part_is_no_later_sight_of_what_it_leaves_out() -> None:
    to = feed()
    deliver(to, key_of(1))
    deliver(to, key_of(2), at=LATER)
    assert seen_at(Credential.objects.get(external_id="id-1")) == NOW


def test_a_feed_that_is_switched_off_takes_nothing() -> None:
    to = feed()
    set_enabled(to, False, actor=ACTOR, now=NOW)
    with pytest.raises(Disabled):
        deliver(to, key_of(1))


def test_rows_go_to_feeds_alone() -> None:
    laptop = create_connection(kind=ConnectionKind.MCP_CONFIG, name="laptop", settings={}, actor=ACTOR, now=NOW)
    with pytest.raises(NotAFeed):
        take(laptop, in_pieces(lines(key_of(1))), format_="ndjson", clock=lambda: NOW, actor=ACTOR)


def test_a_feed_does_not_describe_what_another_connection_brought() -> None:
    elsewhere = connection(name="elsewhere")
    credential(identity_key="fp:kf1:" + "0" * 32, connection=elsewhere, name="theirs")
    deliver(feed(), {"name": "ours", "fingerprint": "kf1:" + "0" * 32})
    assert Credential.objects.get().name == "theirs"


def test_a_feed_adds_tags_and_takes_none_away() -> None:
    to = feed()
    deliver(to, key_of(1, tags=["pci", "team:a"]), key_of(2))
    Credential.objects.filter(external_id="id-1").update(tags=["by-hand"])
    assert deliver(to, key_of(1, tags="team:b pci"), key_of(2), at=LATER).run.counts == {"credentials_tagged": 1}
    assert Credential.objects.get(external_id="id-1").tags == ["by-hand", "pci", "team:b"]
    assert deliver(to, key_of(1, tags="team:b pci"), key_of(2), at=LATER).run.counts == {}
    assert Credential.objects.get(external_id="id-2").tags == []


def test_a_feed_adds_no_more_tags_than_a_credential_may_have() -> None:
    to = feed()
    deliver(to, key_of(1, tags=[f"t{n:02}" for n in range(20)]))
    Credential.objects.update(tags=[f"h{n:02}" for n in range(19)])
    assert deliver(to, key_of(1, tags=["a", "b"]), at=LATER).run.counts == {"credentials_tagged": 1}
    assert len(Credential.objects.get().tags) == 20
    assert deliver(to, key_of(1, tags=["a", "b"]), at=LATER).run.counts == {}


@pytest.mark.parametrize("given", [["Ünicode"], ["x" * 61], [f"t{n}" for n in range(21)], 5])
def test_a_row_with_what_is_no_tag_is_refused(given: object) -> None:
    assert deliver(feed(), key_of(1, tags=given), key_of(2)).run.received["refused"] == 1


def test_what_is_listed_as_destroyed_and_comes_back_keeps_both_ends() -> None:
    to = feed()
    for status, hours in (("active", 0), ("destroyed", 1), ("destroyed", 2), ("active", 3)):
        deliver(to, key_of(1, status=status), at=NOW + timedelta(hours=hours))
    versions = CredentialVersion.objects.order_by("id").values_list("external_id", "is_current", "destroyed_at")
    assert list(versions) == [("id-1", False, NOW + timedelta(hours=1)), ("id-1", True, None)]


def test_a_version_is_suspended_since_it_was_first_listed_so_and_until_it_no_longer_is() -> None:
    to = feed()
    seen = []
    for status, hours in (("suspended", 0), ("suspended", 1), ("active", 2)):
        deliver(to, key_of(1, status=status), at=NOW + timedelta(hours=hours))
        seen.append(CredentialVersion.objects.get().suspended_at)
    assert seen == [NOW, NOW, None]


def test_who_left_has_left_since_a_feed_first_said_so() -> None:
    to, left = feed(), {"type": "owner", "name": "Stefan", "email": "stefan@example.org", "is_active": False}
    deliver(to, left)
    deliver(to, left, at=LATER)
    assert Owner.objects.get().inactive_since == NOW
    deliver(to, {**left, "is_active": True}, at=LATER)
    assert Owner.objects.get().inactive_since is None
