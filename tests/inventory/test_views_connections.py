"""Connections: choosing a kind, saying where to look, trying it, watching a run, and what the runs brought."""

from collections.abc import Iterator
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
from inventory.connection_forms import FORMS
from inventory.connection_kinds import changes
from inventory.models import Connection, McpServer, SyncRun
from inventory.states import ConnectionKind, RunState
from inventory.tasks import sync_connection
from tests import factories
from tests.factories import NOW
from tests.people import HTMX, browser, owners_browser, text

pytestmark = pytest.mark.django_db
_runs = count(1)
REPOSITORY = '{"mcpServers": {"found-by-test": {"command": "npx", "args": ["-y", "one"]}}}'


@pytest.fixture
def working_at_once() -> Iterator[None]:
    """Tasks run where they are asked for."""
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


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
    for words in ("/srv/checkouts", "/srv/x.json", "14", "A comma is missing.", "The last run is partial."):
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
    assert 'hx-trigger="every 2s"' in fragment
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
    form = {"paths": str(folder), "host": "build-07", "interval": "3600"}
    answer = browser(Role.OPERATOR).post("/connections/new/mcp_config/", form, follow=True)
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
    form = {"paths": path, "host": "build-07", "interval": "3600"}
    answer = browser(Role.OPERATOR).post("/connections/new/mcp_config/", form)
    assert answer.status_code == 422
    assert reason in text(answer)
    assert not Connection.objects.exists()


def test_a_path_is_added_once(tmp_path: Path):
    factories.connection(name="first", settings={"paths": [str(tmp_path)]})
    form = {"paths": str(tmp_path), "host": "build-07", "interval": "3600"}
    answer = browser(Role.OPERATOR).post("/connections/new/mcp_config/", form)
    assert answer.status_code == 422
    assert "reads this path already" in text(answer)


def test_a_reviewer_adds_no_connection():
    assert browser(Role.REVIEWER).get("/connections/new/").status_code == 403


def test_asking_for_a_sync_makes_the_connection_due(monkeypatch):
    place = factories.connection(due_at=timezone.now() + timedelta(hours=1))
    rung = []
    monkeypatch.setattr(sync_connection, "apply_async", lambda given, queue: rung.append((given, queue)))
    answer = browser(Role.OPERATOR).post(f"/connections/{place.pk}/sync/", follow=True)
    place.refresh_from_db()
    assert place.due_at <= timezone.now()
    assert rung == [((str(place.pk),), "files")]
    assert "is read now" in text(answer)


def test_a_sync_can_be_asked_for_while_the_queue_is_away(monkeypatch):
    def refuse(_given: tuple[str], queue: str) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(sync_connection, "apply_async", refuse)
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


# ── Choosing, making, changing, trying ──


def test_each_kind_that_can_be_looked_at_is_offered_with_its_form():
    page = text(browser(Role.OPERATOR).get("/connections/new/"))
    for kind in FORMS.keys() - {"plug_in"}:
        assert f'href="/connections/new/{kind}/"' in page
    assert "/connections/new/plug_in/" not in page  # none is installed


@pytest.mark.parametrize("kind", FORMS)
def test_the_form_of_a_kind_opens(kind):
    answer = browser(Role.OPERATOR).get(f"/connections/new/{kind}/")
    assert answer.status_code == 200
    assert "Name and schedule" in text(answer)


@pytest.mark.parametrize("kind", ["nonsense", "MCP_CONFIG"])
def test_what_has_no_form_is_not_found(kind):
    assert browser(Role.OPERATOR).get(f"/connections/new/{kind}/").status_code == 404


def test_a_form_says_where_references_may_lead(settings):
    settings.REFERENCE_FOLDERS, settings.REFERENCE_VARIABLES = (Path("/run/secrets"),), ("MCP_*",)
    page = text(browser(Role.OPERATOR).get("/connections/new/postgres/"))
    assert "files under /run/secrets" in page
    assert "the variables MCP_*" in page


def test_a_form_says_which_setting_opens_references_where_none_does(settings):
    settings.REFERENCE_FOLDERS, settings.REFERENCE_VARIABLES = (), ()
    page = text(browser(Role.OPERATOR).get("/connections/new/aws/"))
    assert "KEYREEVE_REFERENCE_FOLDERS" in page
    assert "KEYREEVE_REFERENCE_VARIABLES" in page


def test_a_test_before_saving_saves_nothing_and_keeps_what_was_typed(tmp_path: Path):
    form = {"paths": str(tmp_path), "host": "build-07", "name": "Checkouts", "interval": "3600", "test": "yes"}
    page = text(browser(Role.OPERATOR).post("/connections/new/mcp_config/", form))
    assert f"{tmp_path} can be read." in page
    assert 'value="Checkouts"' in page
    assert not Connection.objects.exists()


def test_a_test_says_what_is_wrong(settings):
    settings.REFERENCE_VARIABLES = ("KR_TEST_NOWHERE",)
    form = {
        "host": "localhost",
        "port": "1",
        "database": "postgres",
        "user": "reader",
        "password": "env://KR_TEST_NOWHERE",
        "interval": "3600",
        "test": "yes",
    }
    page = text(browser(Role.OPERATOR).post("/connections/new/postgres/", form))
    assert "It does not work yet." in page
    assert "env://KR_TEST_NOWHERE holds no secret." in page


def test_a_saved_connection_is_tested_on_its_page(tmp_path: Path):
    place = factories.connection(settings={"paths": [str(tmp_path)]})
    operator = browser(Role.OPERATOR)
    fragment = text(operator.post(f"/connections/{place.pk}/test/", headers=HTMX))
    assert fragment.startswith('<div id="connection-said"')
    assert "can be read" in fragment
    page = text(operator.post(f"/connections/{place.pk}/test/"))
    assert "can be read" in page
    assert "<h1" in page


def test_an_auditor_tests_and_changes_nothing(tmp_path: Path):
    auditor, place = browser(Role.AUDITOR), factories.connection(settings={"paths": [str(tmp_path)]})
    assert auditor.post(f"/connections/{place.pk}/test/").status_code == 403
    assert auditor.get(f"/connections/{place.pk}/edit/").status_code == 403
    assert auditor.post(f"/connections/{place.pk}/remove/", {"decided": "yes"}).status_code == 403
    assert "Sync now" not in text(auditor.get(f"/connections/{place.pk}/"))


def test_what_is_changed_is_recorded_and_looked_at_anew(tmp_path: Path):
    later = timezone.now() + timedelta(hours=1)
    place = factories.connection(settings={"paths": ["/gone"], "host": "a", "from_elsewhere": 7}, due_at=later)
    form = {"paths": str(tmp_path), "host": "build-07", "name": place.name, "interval": "900"}
    browser(Role.OPERATOR).post(f"/connections/{place.pk}/edit/", form)
    place.refresh_from_db()
    assert place.settings == {"paths": [str(tmp_path)], "host": "build-07", "from_elsewhere": 7}
    assert place.interval == timedelta(minutes=15)
    assert place.due_at <= timezone.now()
    entry = AuditEntry.objects.get(event=Event.CONNECTION_CHANGED)
    assert set(entry.detail["changed"]) == {"settings", "interval"}


def test_saving_what_nobody_changed_records_nothing(tmp_path: Path):
    later = timezone.now() + timedelta(hours=1)
    place = factories.connection(settings={"paths": [str(tmp_path)], "host": "a"}, due_at=later)
    form = {"paths": str(tmp_path), "host": "a", "name": place.name, "interval": "3600"}
    browser(Role.OPERATOR).post(f"/connections/{place.pk}/edit/", form)
    place.refresh_from_db()
    assert place.due_at == later
    assert not AuditEntry.objects.filter(event=Event.CONNECTION_CHANGED).exists()


def test_a_schedule_that_is_none_looks_only_when_asked(tmp_path: Path):
    place = factories.connection(settings={"paths": [str(tmp_path)], "host": "a"}, due_at=timezone.now())
    operator = browser(Role.OPERATOR)
    operator.post(
        f"/connections/{place.pk}/edit/",
        {"paths": str(tmp_path), "host": "a", "name": place.name, "interval": "0"},
    )
    place.refresh_from_db()
    assert place.interval is None
    assert place.due_at is None
    assert "only when asked" in text(operator.get(f"/connections/{place.pk}/"))


def test_an_interval_of_the_command_line_survives_an_edit(tmp_path: Path):
    place = factories.connection(settings={"paths": [str(tmp_path)], "host": "a"}, interval=timedelta(hours=3))
    operator = browser(Role.OPERATOR)
    assert 'value="10800" selected' in text(operator.get(f"/connections/{place.pk}/edit/"))
    form = {"paths": str(tmp_path), "host": "b", "name": place.name, "interval": "10800"}
    operator.post(f"/connections/{place.pk}/edit/", form)
    place.refresh_from_db()
    assert place.interval == timedelta(hours=3)


def test_two_connections_cannot_have_one_name(tmp_path: Path):
    factories.connection(name="Checkouts")
    form = {"paths": str(tmp_path), "host": "a", "name": "Checkouts", "interval": "3600"}
    answer = browser(Role.OPERATOR).post("/connections/new/mcp_config/", form)
    assert answer.status_code == 422
    assert "There is a connection called “Checkouts” already." in text(answer)


# ── Removing ──


def test_a_connection_that_never_listed_anything_is_removed():
    place = factories.connection()
    run_of(place, RunState.FAILED)
    operator = browser(Role.OPERATOR)
    assert "Remove…" in text(operator.get(f"/connections/{place.pk}/"))
    operator.post(f"/connections/{place.pk}/remove/", {"decided": "yes"})
    assert not Connection.objects.exists()
    assert AuditEntry.objects.first().event == Event.CONNECTION_REMOVED


@pytest.mark.parametrize("state", [RunState.COMPLETE, RunState.PARTIAL, RunState.RUNNING])
def test_a_connection_that_listed_something_stays(state):
    place = factories.connection()
    run_of(place, state)
    operator = browser(Role.OPERATOR)
    assert "Remove…" not in text(operator.get(f"/connections/{place.pk}/"))
    answer = operator.post(f"/connections/{place.pk}/remove/", {"decided": "yes"}, follow=True)
    assert "Switch it off instead." in text(answer)
    assert Connection.objects.exists()


def test_a_connection_with_rows_that_no_run_listed_stays():
    place = factories.connection()
    factories.server(connection=place)
    answer = browser(Role.OPERATOR).post(f"/connections/{place.pk}/remove/", {"decided": "yes"}, follow=True)
    assert "Switch it off instead." in text(answer)
    assert Connection.objects.exists()
    assert not AuditEntry.objects.filter(event=Event.CONNECTION_REMOVED).exists()


# ── Runs ──


def test_a_listing_that_knows_how_many_there_are_is_measured_against_that():
    place = factories.connection(lease_token=uuid4(), lease_until=timezone.now() + timedelta(minutes=5))
    run_of(place, RunState.COMPLETE, done=400)
    run_of(place, RunState.RUNNING, done=30, expected=50)
    fragment = watched(place)
    assert '<progress max="50" value="30"' in fragment
    assert "30 of 50 files" in fragment


def test_the_last_look_at_a_run_brings_fresh_facts_along():
    place = factories.connection(due_at=timezone.now() + timedelta(hours=1), last_complete_at=NOW)
    run_of(place, RunState.COMPLETE)
    fragment = watched(place)
    for part in ("connection-lede", "connection-facts", "connection-history"):
        assert f'id="{part}"' in fragment
    assert fragment.count("hx-swap-oob") == 3
    place.due_at = timezone.now() - timedelta(seconds=1)
    place.save()
    assert "hx-swap-oob" not in watched(place)


def test_a_failed_run_says_why_and_what_to_do_next():
    place = factories.connection(due_at=timezone.now() + timedelta(hours=1))
    run_of(place, RunState.FAILED, error="AWS refuses sts:GetCallerIdentity (InvalidClientTokenId).")
    page = text(browser(Role.OPERATOR).get(f"/connections/{place.pk}/"))
    assert "AWS refuses sts:GetCallerIdentity" in page
    assert "Test it, edit what is wrong, then sync again" in page
    assert "the next try by itself is at" in page


def test_older_runs_are_pages_away_and_newer_ones_come_back():
    place = factories.connection(due_at=timezone.now() + timedelta(hours=1))
    for number in range(25):
        run_of(place, RunState.COMPLETE, counts={"uses_added": number + 100})
    auditor = browser(Role.AUDITOR)
    seen: list[int] = []
    address = f"/connections/{place.pk}/"
    for _ in range(3):
        answer = auditor.get(address)
        seen += [int(run.counts["uses_added"]) for run, _ in answer.context["runs"]]
        address = f"/connections/{place.pk}/?runs={answer.context['page'].next}"
    assert seen == list(range(124, 99, -1))
    assert answer.context["page"].next is None
    assert "Later" in text(answer)


def test_a_damaged_link_to_older_runs_shows_the_newest():
    place = factories.connection()
    run_of(place, RunState.COMPLETE, counts={"uses_added": 7})
    assert "7 uses added" in text(browser(Role.AUDITOR).get(f"/connections/{place.pk}/?runs=nonsense&run=nonsense"))


def test_the_problems_of_an_older_run_can_be_read():
    place = factories.connection()
    older = run_of(place, RunState.PARTIAL, problems=[{"file": "/srv/old.json", "reason": "It was cut off."}])
    run_of(place, RunState.COMPLETE)
    auditor = browser(Role.AUDITOR)
    assert "/srv/old.json" not in text(auditor.get(f"/connections/{place.pk}/"))
    assert "/srv/old.json" in text(auditor.get(f"/connections/{place.pk}/?run={older.pk}"))


def test_problems_of_another_connections_run_are_not_shown():
    place, other = factories.connection(), factories.connection()
    foreign = run_of(other, RunState.PARTIAL, problems=[{"file": "/srv/foreign.json", "reason": "It was cut off."}])
    page = text(browser(Role.AUDITOR).get(f"/connections/{place.pk}/?run={foreign.pk}"))
    assert "/srv/foreign.json" not in page


def test_a_connection_page_costs_the_same_for_many_runs():
    place = factories.connection(due_at=timezone.now() + timedelta(hours=1))
    auditor = browser(Role.AUDITOR)
    costs = []
    for number in (1, 30):
        for _ in range(number):
            run_of(place, RunState.PARTIAL, problems=[{"file": "/a", "reason": "No."}])
        with CaptureQueriesContext(database) as queries:
            auditor.get(f"/connections/{place.pk}/")
        costs.append(len(queries))
    assert costs[0] == costs[1] <= 12


def test_a_connection_that_is_sent_its_rows_offers_no_look():
    place = factories.connection(kind=ConnectionKind.FEED, due_at=timezone.now())
    page = text(browser(Role.OPERATOR).get(f"/connections/{place.pk}/"))
    assert "Sync now" not in page
    assert "Waiting for a worker" not in page


def test_a_feed_is_made_and_says_how_it_is_sent_rows():
    form = {"name": "CMDB", "identity": ["issuer", "external_id"], "complete": "on", "interval": "86400"}
    page = text(browser(Role.OPERATOR).post("/connections/new/feed/", form, follow=True))
    feed = Connection.objects.get()
    assert feed.settings == {"identity": ["issuer", "external_id"], "complete": True}
    assert feed.due_at is None
    assert "CMDB takes what it is sent." in page
    assert "POST /api/v1/intake/?connection=CMDB" in page


def test_a_feed_has_a_name_that_its_sender_can_say():
    answer = browser(Role.OPERATOR).post("/connections/new/feed/", {"interval": "86400"})
    assert answer.status_code == 422
    assert not Connection.objects.exists()


def test_a_feed_that_is_switched_on_again_is_not_looked_at():
    feed = factories.connection(kind=ConnectionKind.FEED, is_enabled=False)
    page = text(browser(Role.OPERATOR).post(f"/connections/{feed.pk}/enabled/", {"is_enabled": "true"}, follow=True))
    feed.refresh_from_db()
    assert feed.due_at is None
    assert "takes what it is sent" in page


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"servers_published_anew": 1}, "1 server published anew"),
        ({"authorization_servers_changed": 1, "uses_added": 2}, "1 authorization server changed, 2 uses added"),
        (None, ""),
    ],
)
def test_one_is_said_in_the_singular(counts: dict[str, int] | None, words: str) -> None:
    assert changes(counts) == words
