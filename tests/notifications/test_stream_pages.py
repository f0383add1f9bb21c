"""Streams on the page and over REST."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from config.metrics import lines
from notifications import streaming
from notifications.models import EventStream, SignalKey
from notifications.states import SignalType, StreamKind, StreamStatus
from tests.access.estates import token_browser
from tests.factories import NOW
from tests.notifications.receivers import Receiver
from tests.people import browser, text

pytestmark = pytest.mark.django_db
ROOT = "/api/v1/event-streams/"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, settings) -> None:
    settings.STREAMS_DIR, settings.SIGNAL_KEYS_DIR = tmp_path / "streams", tmp_path / "keys"
    settings.PUBLIC_URL = "https://keyreeve.halden.example"


@pytest.fixture
def administrator() -> Client:
    return browser(Role.ADMINISTRATOR)


@pytest.fixture
def stream(db) -> EventStream:
    return EventStream.objects.create(name="Collector", kind=StreamKind.OCSF_FILE, file="events", created_at=NOW)


def post(program: Client, path: str, **body: Any) -> Any:
    return program.post(f"{ROOT}{path}", json.dumps(body), content_type="application/json")


def test_a_stream_into_a_file_is_set_up_tried_and_paused_on_the_page(administrator: Client):
    answer = administrator.post("/notifications/streams/new/file/", {"name": "Collector", "file": "events"})
    stream = EventStream.objects.get()
    assert answer.headers["Location"] == f"/notifications/streams/{stream.pk}/edit/"
    assert (stream.kind, stream.file, stream.seq) == (StreamKind.OCSF_FILE, "events", AuditEntry.objects.count() - 1)
    tried = administrator.post(f"/notifications/streams/{stream.pk}/test/", follow=True)
    assert "The file of Collector can be written." in text(tried)
    paused = administrator.post(f"/notifications/streams/{stream.pk}/status/", {"status": "paused"}, follow=True)
    assert "Collector is paused" in text(paused)
    stream.refresh_from_db()
    assert stream.status == StreamStatus.PAUSED


def test_a_stream_of_tokens_begins_a_key_and_says_what_a_receiver_needs(administrator: Client):
    asked = {"name": "IdP", "url": "https://idp.example/events", "audience": "https://idp.example"}
    administrator.post("/notifications/streams/new/push/", {**asked, "signals": ["session-revoked"]})
    stream, key = EventStream.objects.get(), SignalKey.objects.get()
    assert stream.signals == ["session-revoked"]
    said = text(administrator.get(f"/notifications/streams/{stream.pk}/edit/"))
    assert "https://keyreeve.halden.example/.well-known/ssf-configuration" in said
    assert key.kid in said


def test_a_webhook_says_what_came_of_its_test(administrator: Client, receiver: Receiver, secret_file):
    reference, _ = secret_file("siem")
    asked = {"name": "SIEM", "url": receiver.url, "secret": reference}
    administrator.post("/notifications/streams/new/webhook/", asked)
    stream = EventStream.objects.get()
    assert stream.bound_to == receiver.url.split("/")[2]
    receiver.answers.append((500, {}))
    for said in ("SIEM did not take the test. It answers 500.", "SIEM took the test."):
        assert said in text(administrator.post(f"/notifications/streams/{stream.pk}/test/", follow=True))


@pytest.mark.parametrize("kind", ["webhook", "file", "push"])
def test_what_is_wrong_is_said_at_its_field_and_no_secret_comes_back(administrator: Client, kind: str):
    pasted = "ghp_" + "x1Y2z3W4v5U6t7S8r9Q0p1O2n3M4l5K6j7I8"
    names = ("name", "url", "file", "audience", "secret", "previous_secret")
    answer = administrator.post(f"/notifications/streams/new/{kind}/", dict.fromkeys(names, pasted))
    assert answer.status_code == 422
    assert pasted not in text(answer)
    assert not EventStream.objects.exists()


def test_a_file_name_leads_nowhere_else(administrator: Client):
    for name in ("../events", "/etc/events", "a.b", "a\n", ""):
        answer = administrator.post("/notifications/streams/new/file/", {"name": "Collector", "file": name})
        assert answer.status_code == 422


def test_a_taken_name_is_said(administrator: Client, stream: EventStream):
    answer = administrator.post("/notifications/streams/new/file/", {"name": "Other", "file": "events"})
    assert "Another stream has this name or writes this file: events." in text(answer)


def test_the_list_says_how_far_each_stream_is_behind(stream: EventStream):
    auditor = browser(Role.AUDITOR)
    said = text(auditor.get("/notifications/"))
    assert "Collector" in said
    assert f"{AuditEntry.objects.count()}, <span" in said
    streaming.run_stream(stream.pk, clock=lambda: NOW)
    assert '<span class="muted">nothing</span>' in text(auditor.get("/notifications/"))


def test_the_metrics_say_it_too(stream: EventStream, administrator: Client):
    administrator.post("/notifications/streams/key/", {"decided": "1"})
    said = list(lines())
    behind = AuditEntry.objects.count()
    assert f'keyreeve_stream_behind_entries{{stream="Collector",status="enabled"}} {behind}' in said
    assert 'keyreeve_stream_failing_seconds{stream="Collector"} 0' in said


def test_a_stream_is_removed_after_a_question(administrator: Client, stream: EventStream):
    page = f"/notifications/streams/{stream.pk}/remove/"
    assert "Remove Collector" in text(administrator.get(page))
    administrator.post(page, {"decided": "1"})
    assert not EventStream.objects.exists()
    assert AuditEntry.objects.filter(event=Event.STREAM_REMOVED, subject_label="Collector").exists()


# ── Over REST ──────────────────────────────────────────────────────────────────────────────────


def test_a_program_of_an_administrator_sets_streams_up(db):
    program = token_browser(Role.ADMINISTRATOR)
    answer = post(program, "", kind="set_push", name="IdP", url="https://idp.example/events", audience="idp")
    assert answer.status_code == 201
    said = answer.json()
    assert (said["status"], sorted(said["signals"])) == ("enabled", sorted(SignalType.values))
    changed = post(
        program, f"{said['id']}/change/", name="IdP", url="https://idp.example/set", audience="idp",
        signals=["session-revoked"],
    )  # fmt: skip
    assert (changed.json()["target"], changed.json()["signals"]) == ("https://idp.example/set", ["session-revoked"])
    paused = post(program, f"{said['id']}/status/", status="paused", reason="They move house.")
    assert (paused.json()["status"], paused.json()["status_reason"]) == ("paused", "They move house.")
    assert post(program, f"{said['id']}/test/").status_code == 200
    assert post(program, f"{said['id']}/remove/").status_code == 204
    assert not EventStream.objects.exists()


def test_over_rest_a_secret_is_refused_and_not_repeated(db):
    pasted = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
    answer = post(
        token_browser(Role.ADMINISTRATOR),
        "",
        kind="ocsf_webhook",
        name="SIEM",
        url="https://siem.example/",
        secret=pasted,
    )
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == {"secret"}
    assert pasted not in answer.content.decode()


def test_over_rest_a_kind_refuses_what_it_has_not(db):
    answer = post(token_browser(Role.ADMINISTRATOR), "", kind="ocsf_file", name="C", file="c", audience="x")
    assert answer.json()["errors"] == {"audience": ["A stream of the kind ocsf_file has none."]}


def test_over_rest_a_taken_name_is_a_conflict(stream: EventStream):
    answer = post(token_browser(Role.ADMINISTRATOR), "", kind="ocsf_file", name="Other", file="events")
    assert answer.status_code == 409
