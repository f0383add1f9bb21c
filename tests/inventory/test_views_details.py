"""One client, one owner, one connection: what their pages say."""

from datetime import timedelta
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from kombu.exceptions import OperationalError

from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from config.celery import app
from inventory.models import Connection, McpServer, SyncRun
from inventory.states import RunState, Storage
from inventory.tasks import sync_connection
from tests import factories
from tests.factories import NOW
from tests.people import HTMX, browser, owners_browser, text

pytestmark = pytest.mark.django_db
_runs = count(1)


@pytest.fixture
def working_at_once():
    """Tasks run where they are asked for."""
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


# ── Clients ──


def test_a_client_shows_what_it_reaches_and_its_exposures():
    client, server = factories.client(name="Cursor"), factories.server(name="github-prod")
    credential = factories.credential(name="deploy token", hint="ghp_…9f2c")
    factories.use(credential, client=client, server=server, connection=client.connection, file="/home/a/mcp.json")
    factories.exposure(credential, connection=client.connection, file="/home/a/mcp.json", pointer="/env/TOKEN")
    page = text(browser(Role.AUDITOR).get(f"/clients/{client.pk}/"))
    for words in ("github-prod", "deploy token", "ghp_…9f2c", Storage.LITERAL.label, "1 literal secret", "/env/TOKEN"):
        assert words in page


def test_a_client_shows_exposures_of_its_own_files_only():
    client = factories.client()
    factories.use(None, client=client, connection=client.connection, file="/home/a/mcp.json")
    factories.exposure(factories.credential(), connection=client.connection, file="/home/b/mcp.json")
    assert "/home/b/mcp.json" not in text(browser(Role.AUDITOR).get(f"/clients/{client.pk}/"))


def test_an_owner_reads_of_foreign_credentials_only_that_they_are_foreign():
    own, me = owners_browser()
    client = factories.client(owner=me)
    factories.use(factories.credential(name="foreign-key"), client=client, server=factories.server(name="shared"))
    page = text(own.get(f"/clients/{client.pk}/"))
    assert "foreign-key" not in page
    assert "shared" in page
    assert f"/servers/{McpServer.objects.get(name='shared').pk}/" not in page


def test_a_client_of_somebody_else_does_not_exist_for_an_owner():
    own, _me = owners_browser()
    assert own.get(f"/clients/{factories.client().pk}/").status_code == 404


def test_a_client_page_costs_the_same_for_many_uses():
    client = factories.client()
    auditor = browser(Role.AUDITOR)
    costs = []
    for number in (1, 40):
        for _ in range(number):
            factories.exposure(factories.credential(), connection=client.connection, file="/home/a/mcp.json")
            factories.use(factories.credential(), client=client, connection=client.connection, file="/home/a/mcp.json")
        with CaptureQueriesContext(database) as queries:
            auditor.get(f"/clients/{client.pk}/")
        costs.append(len(queries))
    assert costs[0] == costs[1] <= 12


# ── Owners ──


def test_an_owner_page_names_what_they_answer_for():
    owner = factories.owner(name="Stefan Brandt")
    factories.credential(name="old key", owner=owner)
    factories.server(name="billing", iam_owner=owner, application_owner=owner)
    factories.client(name="Codex", owner=owner)
    page = text(browser(Role.AUDITOR).get(f"/owners/{owner.pk}/"))
    for words in ("old key", "billing", "IAM, application", "Codex"):
        assert words in page


def test_somebody_who_left_with_things_in_their_name_is_a_matter():
    owner = factories.owner(name="Stefan Brandt", is_active=False)
    factories.credential(owner=owner)
    page = text(browser(Role.AUDITOR).get(f"/owners/{owner.pk}/"))
    assert "has left and still answers for 1 credential" in page


def test_an_owner_page_stays_within_its_queries():
    owner = factories.owner()
    for _ in range(12):
        factories.credential(owner=owner)
        factories.server(iam_owner=owner)
        factories.client(owner=owner)
    reviewer = browser(Role.REVIEWER)
    with CaptureQueriesContext(database) as queries:
        reviewer.get(f"/owners/{owner.pk}/")
    assert len(queries) <= 12


def test_a_reviewer_says_that_an_owner_has_left():
    owner = factories.owner()
    answer = browser(Role.REVIEWER).post(f"/owners/{owner.pk}/active/", {"is_active": "false"}, follow=True)
    owner.refresh_from_db()
    assert not owner.is_active
    assert "is inactive" in text(answer)
    assert AuditEntry.objects.first().event == Event.OWNER_CHANGED


def test_an_auditor_may_not_say_that_an_owner_has_left():
    owner = factories.owner()
    assert browser(Role.AUDITOR).post(f"/owners/{owner.pk}/active/", {"is_active": "false"}).status_code == 403


def test_an_owner_is_created_with_an_audit_entry():
    form = {"decided": "yes", "kind": "team", "name": "Payments", "email": "pay@halden.example"}
    answer = browser(Role.REVIEWER).post("/owners/new/", form, follow=True)
    assert answer.redirect_chain[0][0].startswith("/owners/")
    assert "Payments" in text(answer)
    assert AuditEntry.objects.first().event == Event.OWNER_CREATED


def test_a_second_owner_with_an_address_is_refused_and_what_was_typed_stays():
    factories.owner(email="pay@halden.example")
    form = {"decided": "yes", "kind": "team", "name": "Payments", "email": "PAY@halden.example"}
    answer = browser(Role.REVIEWER).post("/owners/new/", form)
    assert answer.status_code == 422
    assert "Another owner has this e-mail address." in text(answer)
    assert 'value="Payments"' in text(answer)


# ── Connections ──


def run_of(place: Connection, state: RunState, **values: object) -> SyncRun:
    finished = None if state is RunState.RUNNING else NOW
    # Two keys of one millisecond come in any order; these are in the order of the calls.
    defaults = {
        "id": UUID(int=next(_runs)),
        "requested_by": "test",
        "started_at": NOW - timedelta(seconds=40),
        "finished_at": finished,
    }
    return SyncRun.objects.create(connection=place, state=state, **{**defaults, **values})


def watched(place: Connection) -> str:
    """What the page asks for while a sync is under way."""
    return text(browser(Role.AUDITOR).get(f"/connections/{place.pk}/", headers=HTMX))


def test_a_connection_shows_what_could_not_be_read():
    place = factories.connection(settings={"paths": ["/srv/checkouts"]})
    run_of(place, RunState.PARTIAL, problems=[{"file": "/srv/x.json", "line": 14, "reason": "A comma is missing."}])
    page = text(browser(Role.AUDITOR).get(f"/connections/{place.pk}/"))
    for words in ("/srv/checkouts", "/srv/x.json", "14", "A comma is missing.", "1 problem in the last run"):
        assert words in page


def test_settings_that_a_page_does_not_know_are_named_without_their_value():
    place = factories.connection(settings={"host": "build-07", "secret_reference": "file:///run/keys/one"})
    page = text(browser(Role.AUDITOR).get(f"/connections/{place.pk}/"))
    assert "secret reference" in page
    assert "/run/keys/one" not in page


def test_a_running_sync_is_watched_against_what_was_read_before():
    place = factories.connection(lease_token=uuid4(), lease_until=timezone.now() + timedelta(minutes=5))
    run_of(place, RunState.COMPLETE, done=400)
    run_of(place, RunState.RUNNING, done=120)
    fragment = watched(place)
    assert 'hx-trigger="every 1s"' in fragment
    assert '<progress max="400" value="120"' in fragment
    assert "120 files so far" in fragment


def test_a_run_whose_worker_died_is_said_to_be_lost():
    place = factories.connection(lease_token=uuid4(), lease_until=timezone.now() - timedelta(minutes=5))
    run_of(place, RunState.RUNNING)
    assert "The worker that read it is gone." in watched(place)


def test_watching_ends_with_the_sync():
    place = factories.connection(due_at=timezone.now() + timedelta(hours=1))
    run_of(place, RunState.COMPLETE, counts={"uses_added": 1})
    fragment = watched(place)
    assert "hx-trigger" not in fragment
    assert "1 use added" in fragment


def test_a_connection_that_is_due_waits_visibly():
    assert "Waiting for a worker." in watched(factories.connection(due_at=timezone.now() - timedelta(seconds=5)))


def test_connections_do_not_exist_for_an_owner():
    own, _me = owners_browser()
    assert own.get(f"/connections/{factories.connection().pk}/").status_code == 404


def test_a_folder_is_added_and_read_at_once(tmp_path: Path, working_at_once):
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / ".mcp.json").write_text('{"mcpServers": {"found-by-test": {"command": "npx", "args": ["-y", "one"]}}}')
    form = {"decided": "yes", "path": str(folder), "host": "build-07", "interval": "3600"}
    answer = browser(Role.OPERATOR).post("/connections/new/", form, follow=True)
    assert "is read now" in text(answer)
    assert McpServer.objects.get().name == "found-by-test"
    assert set(AuditEntry.objects.values_list("event", flat=True)) >= {
        Event.CONNECTION_CREATED,
        Event.CONNECTION_SYNCED,
    }


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("relative/path", "Give the whole path"),
        ("/no/such/place/anywhere", "There is nothing at this path"),
        ("/" + "x" * 900, "There is nothing at this path"),
    ],
)
def test_a_path_that_cannot_be_read_is_refused(path, reason):
    form = {"decided": "yes", "path": path, "host": "build-07", "interval": "3600"}
    answer = browser(Role.OPERATOR).post("/connections/new/", form)
    assert answer.status_code == 422
    assert reason in text(answer)
    assert not Connection.objects.exists()


def test_a_path_is_added_once(tmp_path: Path):
    factories.connection(name="first", settings={"paths": [str(tmp_path)]})
    form = {"decided": "yes", "path": str(tmp_path), "host": "build-07", "interval": "3600"}
    answer = browser(Role.OPERATOR).post("/connections/new/", form)
    assert answer.status_code == 422
    assert "reads this path already" in text(answer)


def test_a_reviewer_adds_no_connection():
    assert browser(Role.REVIEWER).get("/connections/new/").status_code == 403


def test_asking_for_a_sync_makes_the_connection_due(monkeypatch):
    place = factories.connection(due_at=timezone.now() + timedelta(hours=1))
    rung = []
    monkeypatch.setattr(sync_connection, "delay", rung.append)
    answer = browser(Role.OPERATOR).post(f"/connections/{place.pk}/sync/", follow=True)
    place.refresh_from_db()
    assert place.due_at <= timezone.now()
    assert rung == [str(place.pk)]
    assert "is read now" in text(answer)


def test_a_sync_can_be_asked_for_while_the_queue_is_away(monkeypatch):
    def refuse(_pk: str) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(sync_connection, "delay", refuse)
    place = factories.connection()
    answer = browser(Role.OPERATOR).post(f"/connections/{place.pk}/sync/", follow=True)
    place.refresh_from_db()
    assert place.due_at <= timezone.now()
    assert "will start within 30 seconds" in text(answer)


def test_a_connection_that_is_switched_off_is_not_read():
    place = factories.connection(is_enabled=False)
    answer = browser(Role.OPERATOR).post(f"/connections/{place.pk}/sync/", follow=True)
    assert "is switched off" in text(answer)
    assert not AuditEntry.objects.filter(event=Event.CONNECTION_SYNC_REQUESTED).exists()


def test_a_connection_is_switched_off():
    place = factories.connection()
    browser(Role.OPERATOR).post(f"/connections/{place.pk}/enabled/", {"is_enabled": "false"})
    place.refresh_from_db()
    assert not place.is_enabled
    assert AuditEntry.objects.first().event == Event.CONNECTION_CHANGED


def test_an_auditor_switches_nothing():
    auditor, place = browser(Role.AUDITOR), factories.connection()
    assert auditor.post(f"/connections/{place.pk}/enabled/", {"is_enabled": "false"}).status_code == 403
    assert auditor.post(f"/connections/{place.pk}/sync/").status_code == 403
