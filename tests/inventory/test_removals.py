"""Removing clients in stages, at the real demo authorization server: deleted, interrupted, refused, kept after all."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from django.utils import timezone
from pytest_django import Settings

from access.actors import Actor
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from inventory import removing
from inventory.actions import admission, removals
from inventory.actions.connections import create_connection
from inventory.engine import sync
from inventory.errors import DeletionUnderWay, NeedsReviewer, NothingChosen
from inventory.models import ClientRemoval, Connection, McpClient
from inventory.states import Admission, ConnectionKind, RemovalStage
from tests.authorization_server import AuthorizationServer as Demo
from tests.inventory.test_admission import an_owner, dynamic, reviewer, these
from tests.people import browser, text

ACTOR = Actor.system("tests")
DAY = timedelta(days=1)
pytestmark = pytest.mark.django_db


class Watch:
    """A clock that tests move: it stands still."""

    def __init__(self) -> None:
        self.now = timezone.now()

    def __call__(self) -> datetime:
        return self.now

    def passes(self, time: timedelta) -> None:
        self.now += time


class Crash(BaseException):
    """The worker dies."""


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture(autouse=True)
def outside(settings: Settings, authorization_server: Demo, tmp_path: Path) -> None:
    settings.ALLOW_LOOPBACK = True
    settings.REFERENCE_FOLDERS = (authorization_server.folder, tmp_path)


@pytest.fixture
def registered(authorization_server: Demo) -> Iterator[dict[str, Any]]:
    """A client that registered itself a moment ago, taken back afterwards where the test did not."""
    made = authorization_server.register(client_name="Passing by")
    yield made
    bearer = {"Authorization": f"Bearer {made['registration_access_token']}"}
    httpx2.delete(made["registration_client_uri"], headers=bearer)


@pytest.fixture
def connection(authorization_server: Demo) -> Connection:
    places = authorization_server.places
    settings = {
        "issuer": authorization_server.issuer,
        "clients_url": places["clients_url"],
        "management_token": f"file://{places['files']['management_token']}",
    }
    now = timezone.now()
    return create_connection(kind=ConnectionKind.OAUTH, name="Id", settings=settings, actor=ACTOR, now=now)


@pytest.fixture
def client(connection: Connection, registered: dict[str, Any], tmp_path: Path) -> McpClient:
    """That client as a sync found it, with its registration token held by reference."""
    look(connection)
    found = McpClient.objects.get(client_id=registered["client_id"])
    assert found.registration_uri == registered["registration_client_uri"]
    (tmp_path / "token").write_text(registered["registration_access_token"])
    admission.refer_to_registration(found, f"file://{tmp_path}/token", actor=ACTOR, reason="ours")
    found.refresh_from_db()
    return found


def look(connection: Connection) -> None:
    run = sync(connection.pk, clock=timezone.now, actor=ACTOR)
    assert run is not None
    assert run.error == ""


def announce(client: McpClient, watch: Watch, **given: Any) -> ClientRemoval:
    values = {"actor": reviewer(), "now": watch(), "reason": "nobody claims it", **given}
    assert removals.announce_removals(these(client), **values) == 1
    return ClientRemoval.objects.get(client=client, ended_at=None)


def until(stage: RemovalStage, removal: ClientRemoval, watch: Watch) -> None:
    """Let time pass and workers work until the removal stands there."""
    for _ in range(6):
        removal.refresh_from_db()
        if removal.stage == stage:
            return
        if removal.next_at is not None:
            watch.now = max(watch.now, removal.next_at)
        step(removal.pk, watch)
    removal.refresh_from_db()
    assert (removal.stage, removal.error) == (stage, removal.error)


def step(pk: UUID, watch: Watch) -> bool:
    return removing.advance(pk, clock=watch, actor=ACTOR)


def is_there(registered: dict[str, Any]) -> bool:
    bearer = {"Authorization": f"Bearer {registered['registration_access_token']}"}
    return httpx2.get(registered["registration_client_uri"], headers=bearer).status_code == 200


def admission_of(client: McpClient) -> str:
    return McpClient.objects.values_list("admission", flat=True).get(pk=client.pk)


def test_a_client_that_registered_itself_a_moment_ago_waits_in_the_queue(
    connection: Connection, registered: dict[str, Any]
) -> None:
    who = browser(Role.REVIEWER)
    assert "Passing by" not in text(who.get("/clients/admission/"))
    look(connection)
    assert "Passing by" in text(who.get("/clients/admission/"))


# ── The way out ────────────────────────────────────────────────────────────────────────────────


def test_telling_the_owner_changes_nothing_yet(client: McpClient, watch: Watch, registered: dict[str, Any]) -> None:
    removal = announce(client, watch)
    assert not step(removal.pk, watch)
    assert admission_of(client) == Admission.QUARANTINED
    assert is_there(registered)


def test_a_client_is_suspended_when_its_owner_had_time(client: McpClient, watch: Watch) -> None:
    removal = announce(client, watch, notice=7 * DAY, quiet=14 * DAY)
    watch.passes(7 * DAY)
    assert step(removal.pk, watch)
    removal.refresh_from_db()
    assert (removal.stage, removal.next_at) == (RemovalStage.SUSPENDED, watch() + 14 * DAY)
    assert admission_of(client) == Admission.SUSPENDED


def test_its_registration_is_really_deleted_at_the_end(
    client: McpClient, watch: Watch, registered: dict[str, Any]
) -> None:
    removal = announce(client, watch)
    until(RemovalStage.REMOVED, removal, watch)
    assert not is_there(registered)
    client.refresh_from_db()
    assert (client.admission, client.gone_at) == (Admission.REMOVED, watch())
    assert removal.ended_reason == "Its authorization server deleted the registration."


def test_a_removed_client_stays_removed_through_the_next_sync(
    client: McpClient, watch: Watch, connection: Connection
) -> None:
    until(RemovalStage.REMOVED, announce(client, watch), watch)
    look(connection)
    assert admission_of(client) == Admission.REMOVED


def test_every_stage_has_its_entry(client: McpClient, watch: Watch) -> None:
    until(RemovalStage.REMOVED, announce(client, watch), watch)
    entries = AuditEntry.objects.about(client).order_by("seq").values_list("event", flat=True)
    assert list(entries)[-4:] == [
        Event.CLIENT_REMOVAL_ANNOUNCED,
        Event.CLIENT_SUSPENDED,
        Event.CLIENT_DELETION_BEGUN,
        Event.CLIENT_REMOVED,
    ]


def test_what_nobody_holds_a_token_for_waits_for_the_sync_that_misses_it(
    client: McpClient, watch: Watch, connection: Connection, authorization_server: Demo, registered: dict[str, Any]
) -> None:
    admission.refer_to_registration(client, "", actor=ACTOR, reason="lost")
    removal = announce(client, watch)
    until(RemovalStage.WAITING, removal, watch)
    assert f"Delete the client {client.client_id} at {authorization_server.issuer}" in removal.error
    look(connection)
    removal.refresh_from_db()
    assert removal.stage == RemovalStage.WAITING
    authorization_server.deregister(registered)
    look(connection)
    removal.refresh_from_db()
    assert (removal.stage, removal.ended_reason) == (
        RemovalStage.REMOVED,
        "Its authorization server no longer lists it.",
    )
    assert admission_of(client) == Admission.REMOVED


def test_no_token_stands_in_any_row_of_a_removal(client: McpClient, watch: Watch, registered: dict[str, Any]) -> None:
    until(RemovalStage.REMOVED, announce(client, watch), watch)
    kept = [str(list(ClientRemoval.objects.values())), str(list(AuditEntry.objects.values("detail")))]
    assert not any(registered["registration_access_token"] in text for text in kept)


# ── Interrupted ────────────────────────────────────────────────────────────────────────────────


def test_a_worker_that_dies_after_the_deletion_leaves_it_to_the_next_one(
    client: McpClient, watch: Watch, connection: Connection, registered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    removal = announce(client, watch)
    until(RemovalStage.SUSPENDED, removal, watch)
    watch.passes(14 * DAY)

    def dies(*_: object, **__: object) -> bool:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(removals, "finish", dies)
        with pytest.raises(Crash):
            step(removal.pk, watch)
    assert not is_there(registered)
    removal.refresh_from_db()
    assert (removal.stage, removal.attempts) == (RemovalStage.DELETING, 1)
    assert not step(removal.pk, watch)  # the dead worker's claim still stands
    watch.passes(removals.LEASE + DAY)
    assert step(removal.pk, watch)
    removal.refresh_from_db()
    # The server says 401 now, as it would of a wrong token; the listing tells which it is.
    assert removal.stage == RemovalStage.WAITING
    look(connection)
    removal.refresh_from_db()
    assert (removal.stage, admission_of(client)) == (RemovalStage.REMOVED, Admission.REMOVED)


def test_a_worker_that_dies_before_the_deletion_leaves_it_to_the_next_one(
    client: McpClient, watch: Watch, registered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    removal = announce(client, watch)
    until(RemovalStage.SUSPENDED, removal, watch)
    watch.passes(14 * DAY)

    def dies(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(removing, "_asked", dies)
        with pytest.raises(Crash):
            step(removal.pk, watch)
    assert is_there(registered)
    watch.passes(removals.LEASE)
    until(RemovalStage.REMOVED, removal, watch)
    assert not is_there(registered)


def test_a_worker_that_was_taken_over_writes_nothing_more(client: McpClient, watch: Watch) -> None:
    removal = announce(client, watch, notice=timedelta())
    first = removals.claim(removal.pk, now=watch())
    assert first is not None
    watch.passes(removals.LEASE)
    second = removals.claim(removal.pk, now=watch())
    assert second is not None
    assert not removals.suspend_client(first, actor=ACTOR, now=watch())
    assert removals.suspend_client(second, actor=ACTOR, now=watch())
    assert AuditEntry.objects.filter(event=Event.CLIENT_SUSPENDED).count() == 1


def test_only_one_of_two_workers_gets_a_step(client: McpClient, watch: Watch) -> None:
    removal = announce(client, watch, notice=timedelta())
    assert removals.claim(removal.pk, now=watch()) is not None
    assert removals.claim(removal.pk, now=watch()) is None


def test_a_server_that_does_not_answer_is_asked_again_later(
    client: McpClient, watch: Watch, connection: Connection, registered: dict[str, Any]
) -> None:
    uri = registered["registration_client_uri"]
    Connection.objects.filter(pk=connection.pk).update(
        settings={**connection.settings, "issuer": "http://127.0.0.1:9", "bound_to": "127.0.0.1:9"}
    )
    McpClient.objects.filter(pk=client.pk).update(registration_uri="http://127.0.0.1:9/register/x")
    removal = announce(client, watch)
    until(RemovalStage.DELETING, removal, watch)
    assert removal.next_at > watch()
    assert "could not be reached" in removal.error
    Connection.objects.filter(pk=connection.pk).update(settings=connection.settings)
    McpClient.objects.filter(pk=client.pk).update(registration_uri=uri)
    until(RemovalStage.REMOVED, removal, watch)
    assert not is_there(registered)


def test_a_refused_token_stops_the_removal_with_the_reason(
    client: McpClient, watch: Watch, registered: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("guessed")
    removal = announce(client, watch)
    until(RemovalStage.STALLED, removal, watch)
    assert "refuses the credential that it was shown (401)" in removal.error
    assert is_there(registered)


def test_a_refusal_while_the_client_is_still_listed_stalls_the_removal(
    client: McpClient, watch: Watch, connection: Connection, registered: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("guessed")
    removal = announce(client, watch)
    until(RemovalStage.STALLED, removal, watch)
    removals.resume_removals(ClientRemoval.objects.all(), actor=reviewer(), now=watch(), reason="again")
    watch.now = timezone.now()
    ClientRemoval.objects.update(next_at=watch())
    until(RemovalStage.WAITING, removal, watch)
    look(connection)
    removal.refresh_from_db()
    assert (removal.stage, admission_of(client)) == (RemovalStage.STALLED, Admission.SUSPENDED)
    (tmp_path / "token").write_text(registered["registration_access_token"])
    removals.resume_removals(ClientRemoval.objects.all(), actor=reviewer(), now=watch(), reason="right token")
    until(RemovalStage.REMOVED, removal, watch)
    assert not is_there(registered)


# ── Kept after all ─────────────────────────────────────────────────────────────────────────────


def test_a_client_that_is_used_again_is_kept(client: McpClient, watch: Watch, registered: dict[str, Any]) -> None:
    removal = announce(client, watch)
    until(RemovalStage.SUSPENDED, removal, watch)
    McpClient.objects.filter(pk=client.pk).update(last_used_at=watch())
    watch.passes(14 * DAY)
    assert step(removal.pk, watch)
    removal.refresh_from_db()
    assert removal.stage == RemovalStage.STOPPED
    assert "so somebody needs it" in removal.ended_reason
    assert admission_of(client) == Admission.QUARANTINED
    assert is_there(registered)


def test_the_sync_that_sees_a_use_stops_the_removal(client: McpClient, watch: Watch, connection: Connection) -> None:
    removal = announce(client, watch)
    McpClient.objects.filter(pk=client.pk).update(last_used_at=watch())
    look(connection)
    removal.refresh_from_db()
    assert removal.stage == RemovalStage.STOPPED


def test_a_client_that_nobody_trusts_is_removed_although_it_is_used(client: McpClient, watch: Watch) -> None:
    removal = announce(client, watch, is_despite_use=True)
    McpClient.objects.filter(pk=client.pk).update(last_used_at=watch())
    until(RemovalStage.REMOVED, removal, watch)


def test_a_withdrawn_removal_gives_back_what_was_before(
    client: McpClient, watch: Watch, registered: dict[str, Any]
) -> None:
    admission.admit(these(client), actor=reviewer(), now=watch(), reason="ours")
    removal = announce(client, watch)
    until(RemovalStage.SUSPENDED, removal, watch)
    removals.withdraw_removals(ClientRemoval.objects.all(), actor=reviewer(), now=watch(), reason="we need it")
    removal.refresh_from_db()
    assert (removal.stage, admission_of(client)) == (RemovalStage.WITHDRAWN, Admission.ADMITTED)
    watch.passes(30 * DAY)
    assert not step(removal.pk, watch)
    assert is_there(registered)


def test_what_somebody_else_suspended_stays_suspended(client: McpClient, watch: Watch) -> None:
    admission.suspend(these(client), actor=reviewer(), now=watch(), reason="odd")
    until(RemovalStage.SUSPENDED, announce(client, watch), watch)
    removals.withdraw_removals(ClientRemoval.objects.all(), actor=reviewer(), now=watch(), reason="wait")
    assert admission_of(client) == Admission.SUSPENDED


def test_a_deletion_under_way_is_not_taken_back(client: McpClient, watch: Watch) -> None:
    removal = announce(client, watch)
    until(RemovalStage.SUSPENDED, removal, watch)
    watch.passes(14 * DAY)
    lease = removals.claim(removal.pk, now=watch())
    assert lease is not None
    removals.begin_deletion(lease, actor=ACTOR, now=watch())
    with pytest.raises(DeletionUnderWay):
        removals.withdraw_removals(ClientRemoval.objects.all(), actor=reviewer(), now=watch(), reason="stop")


def test_a_removed_client_that_is_listed_again_waits_to_be_looked_at(
    client: McpClient, watch: Watch, connection: Connection
) -> None:
    McpClient.objects.filter(pk=client.pk).update(
        admission=Admission.REMOVED, admission_changed_at=timezone.now() - DAY
    )
    look(connection)
    client.refresh_from_db()
    assert (client.admission, client.admission_reason) == (
        Admission.QUARANTINED,
        "Listed again after it was removed.",
    )


# ── Who may ────────────────────────────────────────────────────────────────────────────────────


def test_an_owner_keeps_what_is_theirs(watch: Watch) -> None:
    actor, owner = an_owner()
    client = dynamic(owner=owner)
    removal = announce(client, watch)
    removals.withdraw_removals(ClientRemoval.objects.all(), actor=actor, now=watch(), reason="I use it")
    removal.refresh_from_db()
    assert (removal.stage, removal.ended_reason) == (RemovalStage.WITHDRAWN, "I use it")


def test_an_owner_does_not_keep_what_a_reviewer_wants_gone_in_any_case(watch: Watch) -> None:
    actor, owner = an_owner()
    announce(dynamic(owner=owner), watch, is_despite_use=True)
    with pytest.raises(NothingChosen):
        removals.withdraw_removals(ClientRemoval.objects.all(), actor=actor, now=watch(), reason="mine")


def test_an_outsider_removes_nothing(watch: Watch) -> None:
    actor, _ = an_owner()
    with pytest.raises(NothingChosen):
        removals.announce_removals(these(dynamic()), actor=actor, now=watch(), reason="away")
    assert not ClientRemoval.objects.exists()


def test_an_owner_does_not_say_that_use_does_not_matter(watch: Watch) -> None:
    actor, owner = an_owner()
    with pytest.raises(NeedsReviewer):
        removals.announce_removals(
            these(dynamic(owner=owner)), is_despite_use=True, actor=actor, now=watch(), reason="away"
        )


def test_a_second_announcement_begins_nothing(watch: Watch) -> None:
    client = dynamic()
    announce(client, watch)
    again = removals.announce_removals(these(client), actor=reviewer(), now=watch(), reason="twice")
    assert again == 0
    assert ClientRemoval.objects.count() == 1


def test_many_removals_take_no_query_each(watch: Watch, django_assert_max_num_queries: Any) -> None:
    connection = dynamic().connection
    many = [dynamic(connection=connection, client_id=f"c{n}") for n in range(200)]
    actor = reviewer()
    with django_assert_max_num_queries(14):
        assert removals.announce_removals(these(*many), actor=actor, now=watch(), reason="all of them") == 200
