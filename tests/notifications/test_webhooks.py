"""Webhooks as a real receiver gets them: it checks each signature as the documentation says."""

import json
import logging
import secrets
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test.utils import override_settings

from audit.events import Event
from audit.models import AuditEntry
from notifications import sending, webhooks
from notifications.actions.endpoints import resume_endpoint
from notifications.actions.outbox import MOST_FAILURES, PATIENCE, Message, post, tidy, try_again
from notifications.models import Delivery, Endpoint
from notifications.states import DeliveryState
from providers.fetch import Limits
from tests.factories import NOW
from tests.notifications.receivers import Receiver, documented_check

pytestmark = pytest.mark.django_db
verified = documented_check()


def posted(endpoint: Endpoint, **data: Any) -> Delivery:
    message = Message(
        kind="test", key=secrets.token_hex(8), subject="A test", data=data or {"asked_by": "Mira"}, endpoint=endpoint
    )
    (delivery,) = post([message], now=NOW)
    return delivery


def sent(delivery: Delivery, later: timedelta = timedelta(0)) -> Delivery:
    sending.send_to_endpoint(delivery.endpoint_id, clock=lambda: NOW + later)
    delivery.refresh_from_db()
    if delivery.endpoint:
        delivery.endpoint.refresh_from_db()
    return delivery


def test_a_receiver_can_verify_what_it_is_sent(endpoint, receiver: Receiver, secret_file):
    delivery = posted(endpoint, asked_by="Mira – 日本")
    assert sent(delivery).state == DeliveryState.DELIVERED
    ((headers, body),) = receiver.asked
    value = Path(endpoint.secret.removeprefix("file://")).read_text()
    payload = verified(headers, body, [value], NOW.timestamp())
    assert payload == {
        "type": "test",
        "version": 1,
        "id": str(delivery.notice_id),
        "timestamp": "2026-06-01T12:00:00Z",
        "data": {"asked_by": "Mira – 日本"},
    }
    assert headers["webhook-id"] == str(delivery.notice_id)
    assert headers["content-type"] == "application/json"


def test_a_try_after_a_failure_has_the_same_id_and_body_and_its_own_time(endpoint, receiver: Receiver):
    receiver.answers.append((500, {}))
    delivery = sent(posted(endpoint))
    assert (delivery.state, delivery.error, delivery.attempts) == (DeliveryState.WAITING, "It answers 500.", 1)
    assert sent(delivery, timedelta(minutes=1)).state == DeliveryState.DELIVERED
    (first, body), (second, again) = receiver.asked
    assert first["webhook-id"] == second["webhook-id"]
    assert body == again
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 60
    assert first["webhook-signature"] != second["webhook-signature"]
    assert delivery.endpoint.failures == 0


def test_a_receiver_that_says_when_is_left_in_quiet_until_then(endpoint, receiver: Receiver):
    receiver.answers.append((429, {"Retry-After": "7200"}))
    first, second = posted(endpoint), posted(endpoint)
    sent(first)
    assert first.due_at == NOW + timedelta(hours=2)
    assert sending.due_endpoints(NOW + timedelta(minutes=119)) == []
    assert sent(second, timedelta(minutes=119)).attempts == 0
    assert sent(second, timedelta(hours=2)).state == DeliveryState.DELIVERED


def test_no_redirect_is_followed(endpoint, receiver: Receiver):
    receiver.answers.append((307, {"Location": receiver.url}))
    assert sent(posted(endpoint)).error == "It answers 307, and no redirect is followed."
    assert len(receiver.asked) == 1


def test_an_address_that_is_not_open_is_never_connected_to(endpoint, receiver: Receiver):
    with override_settings(ALLOW_LOOPBACK=False):
        delivery = sent(posted(endpoint))
    assert delivery.state == DeliveryState.WAITING
    assert "127.0.0.1" in delivery.error
    assert receiver.asked == []


def test_a_receiver_that_hangs_is_left_after_its_time(endpoint, receiver: Receiver, monkeypatch):
    monkeypatch.setattr(webhooks, "LIMITS", Limits(seconds=0.2, body=1024, redirects=0))
    receiver.hangs = threading.Event()
    delivery = sent(posted(endpoint))
    receiver.hangs.set()
    assert "took longer than 0.2 s" in delivery.error


def test_a_receiver_that_is_gone_is_sent_nothing_more(endpoint, receiver: Receiver):
    receiver.answers.append((410, {}))
    delivery = sent(posted(endpoint))
    assert delivery.state == DeliveryState.WAITING
    assert delivery.endpoint.paused_because == "It answers 410: it wants nothing more."
    assert sent(delivery, timedelta(days=1)).attempts == 1


def test_while_a_secret_is_replaced_both_verify(endpoint, receiver: Receiver, secret_file):
    (new, new_value), (old, old_value) = secret_file("new"), secret_file("old")
    Endpoint.objects.filter(pk=endpoint.pk).update(secret=new, previous_secret=old)
    sent(posted(endpoint))
    ((headers, body),) = receiver.asked
    for value in (new_value, old_value):
        assert verified(headers, body, [value], NOW.timestamp())["type"] == "test"
    with pytest.raises(ValueError, match="no signature of ours"):
        verified(headers, body, [secret_file("another")[1]], NOW.timestamp())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bound_to": "other.example"}, "bound to another host"),
        ({"secret": "env://NOT_LISTED"}, "KEYREEVE_REFERENCE_VARIABLES"),
        ({"secret": "file:///etc/hostname"}, "KEYREEVE_REFERENCE_FOLDERS"),
    ],
)
def test_a_secret_that_may_not_be_used_signs_nothing(endpoint, receiver: Receiver, change, said):
    Endpoint.objects.filter(pk=endpoint.pk).update(**change)
    assert said in sent(posted(endpoint)).error
    assert receiver.asked == []


def test_an_endpoint_that_keeps_failing_is_paused_and_resumed_by_a_person(endpoint, receiver: Receiver, operator):
    receiver.answers += [(503, {})] * 2
    Endpoint.objects.update(failures=MOST_FAILURES - 2)
    delivery = posted(endpoint)
    assert not sent(delivery).endpoint.is_paused
    assert sent(delivery, timedelta(hours=7)).attempts == 2
    assert delivery.endpoint.is_paused
    assert "10 tries in a row failed" in delivery.endpoint.paused_because
    assert AuditEntry.objects.filter(event=Event.ENDPOINT_PAUSED.value).count() == 1
    waiting = posted(endpoint)
    assert sent(waiting, timedelta(days=5)).attempts == 0
    resume_endpoint(delivery.endpoint, actor=operator)
    assert sent(waiting, timedelta(days=5)).state == DeliveryState.DELIVERED


def test_what_waits_longer_than_a_week_is_given_up(endpoint):
    delivery = posted(endpoint)
    Endpoint.objects.update(paused_at=NOW, paused_because="By hand.")
    tidy(NOW + PATIENCE - timedelta(seconds=1))
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.WAITING
    tidy(NOW + PATIENCE)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.error) == (DeliveryState.GIVEN_UP, "It waited for 7 days.")


def test_a_test_is_tried_once_and_says_what_came_of_it(endpoint, receiver: Receiver):
    receiver.answers.append((500, {}))
    done = sending.send_now(posted(endpoint).pk, clock=lambda: NOW)
    assert (done.state, done.error) == (DeliveryState.GIVEN_UP, "It answers 500.")


def test_what_was_given_up_goes_again_under_its_id(endpoint, receiver: Receiver, operator):
    receiver.answers.append((500, {}))
    done = sending.send_now(posted(endpoint).pk, clock=lambda: NOW)
    later = NOW + timedelta(days=1)
    assert try_again(Delivery.objects.all(), actor=operator, now=later) == 1
    assert sent(done, timedelta(days=1)).state == DeliveryState.DELIVERED
    assert len({headers["webhook-id"] for headers, _ in receiver.asked}) == 1
    assert AuditEntry.objects.filter(event=Event.NOTICE_RETRIED.value).count() == 1
    assert try_again(Delivery.objects.all(), actor=operator, now=later) == 0


def test_no_secret_stands_in_a_row_a_payload_an_error_or_a_log(endpoint, receiver: Receiver, secret_file, caplog):
    caplog.set_level(logging.DEBUG)
    reference, value = secret_file("canary")
    for held in (value, "whsec_" + "!" + value, value[:20]):
        Path(reference.removeprefix("file://")).write_text(held)
        Endpoint.objects.update(secret=reference, quiet_until=None)
        sent(posted(endpoint))
    tables = (Delivery.objects.values(), Endpoint.objects.values(), AuditEntry.objects.values("detail"))
    rows = json.dumps([list(table) for table in tables], default=str)
    bodies = "".join(f"{headers}{body!r}" for headers, body in receiver.asked)
    for part in (value, value[6:26], value[-20:]):
        assert part not in rows + bodies + caplog.text
    assert len(receiver.asked) == 1
