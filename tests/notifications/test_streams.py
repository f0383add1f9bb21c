"""Streams of events: everything that happens reaches its receiver in order, whoever dies in between."""

import json
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from audit.models import AuditEntry
from notifications import ndjson, streaming
from notifications.actions import streams
from notifications.actions.streams import StreamSetup, add_stream, change_stream, remove_stream, set_stream_status
from notifications.errors import StreamNameTaken
from notifications.models import EventStream
from notifications.states import StreamKind, StreamStatus
from tests.factories import NOW
from tests.notifications.receivers import Receiver, documented_check
from tests.ocsf_schema import faults

pytestmark = pytest.mark.django_db
ACTOR = Actor.system("test")
verified = documented_check()


@action
def happen(*names: str) -> None:
    """Something happens that the audit trail keeps."""
    for name in names or ("one",):
        record(Event.POLICY_CHANGED, actor=ACTOR, detail={"name": name})


@pytest.fixture
def folder(tmp_path: Path, settings) -> Path:
    settings.STREAMS_DIR = tmp_path / "streams"
    settings.SIGNAL_KEYS_DIR = tmp_path / "keys"
    return settings.STREAMS_DIR


@pytest.fixture
def into_file(db, folder: Path) -> EventStream:
    setup = StreamSetup(name="Collector", kind=StreamKind.OCSF_FILE, file="events")
    return add_stream(setup, actor=ACTOR, now=NOW, keys=folder)


@pytest.fixture
def by_webhook(db, folder: Path, receiver: Receiver, secret_file) -> EventStream:
    reference, _ = secret_file("siem")
    setup = StreamSetup(
        name="SIEM", kind=StreamKind.OCSF_WEBHOOK, url=receiver.url, secret=reference,
        bound_to=receiver.url.split("/")[2],
    )  # fmt: skip
    return add_stream(setup, actor=ACTOR, now=NOW, keys=folder)


def run(stream: EventStream, later: timedelta = timedelta(0)) -> EventStream:
    streaming.run_stream(stream.pk, clock=lambda: NOW + later)
    stream.refresh_from_db()
    return stream


def lines(folder: Path, name: str = "events.ndjson") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_bytes().splitlines()]


def names(events: list[dict[str, Any]]) -> list[str]:
    """What happened, without what setting up the stream recorded."""
    return [each["unmapped"]["detail"]["name"] for each in events if each["metadata"]["event_code"] == "policy.changed"]


# ── Into a file ────────────────────────────────────────────────────────────────────────────────


def test_a_file_holds_everything_that_happened_since_in_order(into_file: EventStream, folder: Path):
    happen("one", "two")
    stream = run(into_file)
    events = lines(folder)
    assert names(events) == ["one", "two"]
    assert [faults(each) for each in events] == [[], [], []]
    assert [each["metadata"]["sequence"] for each in events] == [stream.seq - 2, stream.seq - 1, stream.seq]
    assert (stream.sent, stream.sent_at, stream.error) == (3, NOW, "")


def test_a_file_is_readable_by_us_alone(into_file: EventStream, folder: Path):
    run(into_file)
    assert stat.S_IMODE((folder / "events.ndjson").stat().st_mode) == 0o600


def test_what_comes_later_is_appended(into_file: EventStream, folder: Path):
    run(into_file)
    happen("two")
    run(into_file)
    run(into_file)
    assert names(lines(folder)) == ["two"]
    assert len(lines(folder)) == 2


def test_a_worker_that_dies_after_writing_does_not_write_again(into_file: EventStream, folder: Path, monkeypatch):
    happen("one")
    with monkeypatch.context() as patch:
        patch.setattr(streaming, "stream_taken", _die)
        with pytest.raises(SystemExit):
            streaming.run_stream(into_file.pk, clock=lambda: NOW)
    assert names(lines(folder)) == ["one"]
    happen("two")
    run(into_file, streams.LEASE)
    assert names(lines(folder)) == ["one", "two"]
    assert len(lines(folder)) == 3


def test_a_line_that_was_torn_is_written_anew(into_file: EventStream, folder: Path):
    run(into_file)
    with (folder / "events.ndjson").open("ab") as file:
        file.write(b'{"metadata":{"uid":"half')
    happen("one")
    run(into_file)
    assert names(lines(folder)) == ["one"]


class _FullDisk:
    """A disk on which so many more bytes fit."""

    def __init__(self, left: int) -> None:
        self.left = left
        self._write = os.write

    def write(self, file: int, content: Any) -> int:
        fits = min(self.left, len(content))
        if not fits:
            raise OSError(28, "No space left on device")
        self.left -= fits
        return self._write(file, content[:fits])


def test_a_full_disk_loses_nothing_and_says_so(into_file: EventStream, folder: Path, monkeypatch):
    run(into_file)
    before = (folder / "events.ndjson").read_bytes()
    happen("one", "two")
    with monkeypatch.context() as patch:
        patch.setattr(ndjson.os, "write", _FullDisk(700).write)
        stream = run(into_file)
    assert (folder / "events.ndjson").read_bytes() == before
    assert stream.error == f"{folder}/events.ndjson cannot be written: no space left on device."
    assert stream.failures == 1
    stream = run(into_file, timedelta(hours=1))
    assert names(lines(folder)) == ["one", "two"]
    assert (stream.failures, stream.failing_since, stream.error) == (0, None, "")


def test_a_large_file_is_put_aside_and_old_ones_go(into_file: EventStream, folder: Path, settings):
    settings.STREAM_FILE_SIZE, settings.STREAM_FILES_KEPT = 1, 2
    for day in range(4):
        happen(f"day {day}")
        run(into_file, timedelta(days=day))
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == ["events-2026-06-03T120000.000000Z.ndjson", "events-2026-06-04T120000.000000Z.ndjson"]
    assert names(lines(folder, kept[1])) == ["day 3"]
    settings.STREAM_FILE_SIZE = 1_000_000
    happen("day 4")
    run(into_file, timedelta(days=4))
    assert names(lines(folder)) == ["day 4"]


def test_a_worker_that_dies_after_a_file_was_put_aside_repeats_at_most_what_it_had_written(
    into_file: EventStream, folder: Path, settings, monkeypatch
):
    settings.STREAM_FILE_SIZE = 1
    happen("one")
    with monkeypatch.context() as patch:
        patch.setattr(streaming, "stream_taken", _die)
        with pytest.raises(SystemExit):
            streaming.run_stream(into_file.pk, clock=lambda: NOW)
    happen("two")
    run(into_file, streams.LEASE)
    events = [each for path in sorted(folder.iterdir()) for each in lines(folder, path.name)]
    assert len({each["metadata"]["uid"] for each in events}) == 3
    assert set(names(events)) == {"one", "two"}


def test_no_link_is_followed(into_file: EventStream, folder: Path, tmp_path: Path):
    folder.mkdir()
    (folder / "events.ndjson").symlink_to(tmp_path / "elsewhere")
    stream = run(into_file)
    assert "cannot be written" in stream.error
    assert not (tmp_path / "elsewhere").exists()


def _die(*args: Any, **kwargs: Any) -> None:
    raise SystemExit


# ── By webhook ─────────────────────────────────────────────────────────────────────────────────


def test_a_receiver_of_webhooks_gets_signed_batches(by_webhook: EventStream, receiver: Receiver):
    happen("one", "two")
    stream = run(by_webhook)
    ((headers, body),) = receiver.asked
    secret = Path(by_webhook.secret.removeprefix("file://")).read_text()
    said = verified(headers, body, [secret], NOW.timestamp())
    assert said["type"] == "events.ocsf"
    assert names(said["data"]["events"]) == ["one", "two"]
    assert [faults(each) for each in said["data"]["events"]] == [[], [], []]
    assert stream.seq == AuditEntry.objects.count()


def test_many_events_come_in_several_requests(by_webhook: EventStream, receiver: Receiver):
    happen(*map(str, range(2 * streaming.OF_A_REQUEST)))
    run(by_webhook)
    told = [each for _, body in receiver.asked for each in json.loads(body)["data"]["events"]]
    assert len(receiver.asked) == 3
    assert names(told) == [str(number) for number in range(2 * streaming.OF_A_REQUEST)]


def test_a_receiver_that_is_down_for_a_week_misses_nothing(by_webhook: EventStream, receiver: Receiver):
    for day in range(7):
        receiver.answers.append((503, {}))
        happen(f"day {day}")
        stream = run(by_webhook, timedelta(days=day))
    assert (stream.failures, stream.failing_since, stream.error) == (7, NOW, "It answers 503.")
    stream = run(by_webhook, timedelta(days=8))
    last = json.loads(receiver.asked[-1][1])
    assert names(last["data"]["events"]) == [f"day {day}" for day in range(7)]
    assert (stream.failures, stream.error) == (0, "")


def test_a_batch_that_is_sent_again_has_the_same_ids(by_webhook: EventStream, receiver: Receiver, monkeypatch):
    happen("one")
    with monkeypatch.context() as patch:
        patch.setattr(streaming, "stream_taken", _die)
        with pytest.raises(SystemExit):
            streaming.run_stream(by_webhook.pk, clock=lambda: NOW)
    run(by_webhook, streams.LEASE)
    (first, body), (second, again) = receiver.asked
    assert first["webhook-id"] == second["webhook-id"]
    assert json.loads(body)["data"] == json.loads(again)["data"]


def test_a_receiver_says_when_it_is_asked_again(by_webhook: EventStream, receiver: Receiver):
    receiver.answers.append((429, {"Retry-After": "7200"}))
    assert run(by_webhook).quiet_until == NOW + timedelta(hours=2)
    assert streaming.due_streams(NOW + timedelta(minutes=119)) == []
    assert streaming.due_streams(NOW + timedelta(hours=2)) == [by_webhook.pk]


def test_a_receiver_that_wants_nothing_more_is_paused(by_webhook: EventStream, receiver: Receiver):
    receiver.answers.append((410, {}))
    stream = run(by_webhook)
    assert (stream.status, stream.status_reason) == (StreamStatus.PAUSED, "It answers 410: it wants nothing more.")
    assert AuditEntry.objects.filter(event=Event.STREAM_PAUSED).count() == 1


# ── Whoever goes on ────────────────────────────────────────────────────────────────────────────


def test_only_one_worker_has_a_stream(into_file: EventStream):
    first = streams.claim_stream(into_file.pk, now=NOW)
    assert first is not None
    assert streams.claim_stream(into_file.pk, now=NOW) is None
    second = streams.claim_stream(into_file.pk, now=NOW + streams.LEASE)
    assert second is not None
    with pytest.raises(streams.LeaseLost):
        streams.stream_taken(first, seq=1, within="", number=1, now=NOW)


def test_nothing_is_rung_for_a_stream_that_has_everything(into_file: EventStream):
    assert streaming.due_streams(NOW) == [into_file.pk]
    run(into_file)
    assert streaming.due_streams(NOW) == []


def test_a_paused_stream_is_sent_later_what_happens_meanwhile(into_file: EventStream, folder: Path):
    set_stream_status(into_file, StreamStatus.PAUSED, actor=ACTOR, reason="maintenance")
    happen("one")
    assert run(into_file).sent == 0
    set_stream_status(into_file, StreamStatus.ENABLED, actor=ACTOR, reason="done")
    run(into_file)
    assert names(lines(folder)) == ["one"]


def test_a_disabled_stream_misses_what_happens_meanwhile(into_file: EventStream, folder: Path):
    set_stream_status(into_file, StreamStatus.DISABLED, actor=ACTOR, reason="moved")
    happen("one")
    set_stream_status(into_file, StreamStatus.ENABLED, actor=ACTOR, reason="back")
    happen("two")
    run(into_file)
    assert names(lines(folder)) == ["two"]


def test_what_is_done_to_a_stream_is_in_the_audit_trail(into_file: EventStream):
    setup = StreamSetup(name="Renamed", kind=StreamKind.OCSF_FILE, file="events")
    assert change_stream(into_file, setup, actor=ACTOR)
    assert not change_stream(into_file, setup, actor=ACTOR)
    remove_stream(EventStream.objects.get(), actor=ACTOR)
    events = AuditEntry.objects.order_by("seq").values_list("event", flat=True)
    assert list(events) == ["stream.added", "stream.changed", "stream.removed"]


def test_two_streams_never_write_one_file(into_file: EventStream, folder: Path):
    with pytest.raises(StreamNameTaken):
        add_stream(
            StreamSetup(name="Other", kind=StreamKind.OCSF_FILE, file="events"), actor=ACTOR, now=NOW, keys=folder
        )


def test_a_mistake_of_ours_is_seen_and_not_tried_at_once(into_file: EventStream, monkeypatch):
    def broken(*args: Any) -> Callable[..., Any]:
        raise KeyError("nothing of what it held")

    monkeypatch.setattr(streaming.translating, "next_events", broken)
    with pytest.raises(KeyError):
        streaming.run_stream(into_file.pk, clock=lambda: NOW)
    into_file.refresh_from_db()
    assert (into_file.error, into_file.failures) == ("KeyError while sending.", 1)
    assert streaming.due_streams(NOW) == []
