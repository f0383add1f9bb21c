"""Security event tokens as a real receiver gets them: it verifies each with the keys that are published."""

import json
import logging
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from django.test import Client
from django.utils import timezone

from access.actors import Actor
from access.models import User
from audit.actions import action, record
from audit.events import Event
from audit.models import AuditEntry
from notifications import streaming
from notifications.actions import streams
from notifications.actions.streams import (
    PUBLISHED_AFTER,
    PUBLISHED_BEFORE,
    StreamSetup,
    add_stream,
    begin_signal_key,
    set_stream_status,
)
from notifications.models import EventStream, SignalKey
from notifications.sets import STREAM_UPDATED, URIS, VERIFICATION
from notifications.states import SignalType, StreamKind, StreamStatus
from notifications.tasks import tell_stream_status
from tests.factories import NOW, client
from tests.notifications.signal_receiver import SignalReceiver, documented_receiver, signal_receiver
from tests.people import person

pytestmark = pytest.mark.django_db
ACTOR = Actor.system("test")
ISSUER, AUDIENCE = "https://keyreeve.halden.example", "https://idp.halden.example"


@pytest.fixture(scope="module")
def listening() -> Iterator[SignalReceiver]:
    with signal_receiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(listening: SignalReceiver, settings) -> SignalReceiver:
    listening.forget()
    settings.ALLOW_LOOPBACK = True
    settings.PUBLIC_URL = ISSUER
    listening.verified = lambda token: verified(token, published(), ISSUER, AUDIENCE)
    return listening


verified = documented_receiver()


def published() -> dict[str, Any]:
    """The keys, from where the configuration says that they are."""
    said = Client().get("/.well-known/ssf-configuration").json()
    assert said["issuer"] == ISSUER
    document: dict[str, Any] = Client().get(said["jwks_uri"].removeprefix(ISSUER)).json()
    return document


@pytest.fixture
def keys(tmp_path: Path, settings) -> Path:
    settings.SIGNAL_KEYS_DIR = tmp_path / "keys"
    return settings.SIGNAL_KEYS_DIR


@pytest.fixture
def stream(db, receiver: SignalReceiver, keys: Path, settings) -> EventStream:
    setup = StreamSetup(
        name="IdP", kind=StreamKind.SET_PUSH, url=receiver.url, audience=AUDIENCE, signals=SignalType.values
    )
    return add_stream(setup, actor=ACTOR, now=NOW, keys=keys)


@action
def happen(event: Event, subject: Any, actor: Actor = ACTOR, **detail: Any) -> None:
    record(event, actor=actor, subject=subject, detail=detail)


def run(stream: EventStream, later: timedelta = timedelta(0)) -> EventStream:
    streaming.run_stream(stream.pk, clock=lambda: NOW + later)
    stream.refresh_from_db()
    return stream


def events(receiver: SignalReceiver) -> list[tuple[str, dict[str, Any]]]:
    return [next(iter(claims["events"].items())) for claims in receiver.taken]


# ── What is told ───────────────────────────────────────────────────────────────────────────────


def test_a_receiver_verifies_a_token_with_the_published_keys(stream: EventStream, receiver: SignalReceiver):
    user = person()
    happen(Event.USER_PASSWORD_CHANGED, user, user.as_actor())
    run(stream)
    ((headers, token),) = receiver.asked
    assert headers["content-type"] == "application/secevent+jwt"
    assert headers["accept"] == "application/json"
    assert "authorization" not in headers
    assert jwt.get_unverified_header(token)["typ"] == "secevent+jwt"
    (claims,) = receiver.taken
    entry = AuditEntry.objects.get(event=Event.USER_PASSWORD_CHANGED)
    assert (claims["iss"], claims["aud"], claims["iat"]) == (ISSUER, AUDIENCE, int(NOW.timestamp()))
    assert claims["sub_id"] == {"format": "iss_sub", "iss": ISSUER, "sub": str(user.pk)}
    assert claims["txn"] == f"audit:{entry.seq}"
    assert claims["toe"] == int(entry.at.timestamp())
    assert {"sub", "exp"} & set(claims) == set()
    assert claims["events"] == {
        URIS[SignalType.CREDENTIAL_CHANGE]: {
            "credential_type": "password",
            "change_type": "update",
            "initiating_entity": "user",
            "event_timestamp": int(entry.at.timestamp()),
        }
    }


def of_a_person(event: Event, **detail: Any) -> Callable[[], None]:
    return lambda: happen(event, person(), **detail)


def of_a_client(event: Event) -> Callable[[], None]:
    return lambda: happen(event, client())


@pytest.mark.parametrize(
    ("happening", "types"),
    [
        (of_a_person(Event.USER_SIGNED_OUT), ["session-revoked"]),
        (of_a_person(Event.USER_CHANGED, changed={"is_active": False}), ["account-disabled", "session-revoked"]),
        (of_a_person(Event.USER_CHANGED, changed={"is_active": True}), ["account-enabled"]),
        (of_a_person(Event.USER_CHANGED, changed={"email": "other@halden.example"}), []),
        (of_a_person(Event.USER_SECOND_FACTOR_ADDED, kind="webauthn"), ["credential-change"]),
        (of_a_person(Event.USER_SECOND_FACTOR_REMOVED, kind="totp"), ["credential-change"]),
        (of_a_person(Event.USER_SECOND_FACTOR_ADDED, kind="recovery_codes"), []),
        (of_a_person(Event.USER_SIGNED_IN), []),
        (of_a_client(Event.CLIENT_SUSPENDED), ["account-disabled"]),
        (of_a_client(Event.CLIENT_REINSTATED), ["account-enabled"]),
        (of_a_client(Event.CLIENT_REMOVED), ["account-purged"]),
    ],
)
def test_what_happens_to_people_and_clients_is_told(
    stream: EventStream, receiver: SignalReceiver, happening: Callable[[], None], types: list[str]
):
    happening()
    assert run(stream).seq == AuditEntry.objects.count()
    assert [uri.rpartition("/")[2] for uri, _ in events(receiver)] == types


def test_neither_name_nor_address_of_a_person_leaves(stream: EventStream, receiver: SignalReceiver):
    user = User.objects.create_user("mira.okafor", "mira.okafor@halden.example")
    happen(Event.USER_CHANGED, user, changed={"is_active": False})
    run(stream)
    said = json.dumps(receiver.taken)
    assert "mira" not in said.lower()


def test_a_stream_is_sent_only_what_it_subscribed_to(stream: EventStream, receiver: SignalReceiver):
    EventStream.objects.update(signals=["session-revoked"])
    happen(Event.USER_CHANGED, person(), changed={"is_active": False})
    run(stream)
    assert [uri for uri, _ in events(receiver)] == [URIS[SignalType.SESSION_REVOKED]]


# ── Whether it arrives ─────────────────────────────────────────────────────────────────────────


def test_a_receiver_that_is_down_misses_nothing(stream: EventStream, receiver: SignalReceiver):
    receiver.answers += [(503, {}), (None, {})]
    happen(Event.USER_CHANGED, person(), changed={"is_active": False})
    assert run(stream).error == "It answers 503."
    assert run(stream, timedelta(days=1)).failures == 2
    happen(Event.CLIENT_SUSPENDED, client())
    run(stream, timedelta(days=2))
    types = [uri.rpartition("/")[2] for uri, _ in events(receiver)]
    assert types == ["account-disabled", "session-revoked", "account-disabled"]


def test_a_try_after_a_failure_has_the_same_id(stream: EventStream, receiver: SignalReceiver):
    receiver.answers.append((500, {}))
    happen(Event.CLIENT_SUSPENDED, client())
    run(stream)
    run(stream, timedelta(hours=1))
    first, second = (jwt.decode(token, options={"verify_signature": False}) for _, token in receiver.asked)
    assert first["jti"] == second["jti"]
    assert second["iat"] - first["iat"] == 3600


def test_a_worker_that_dies_between_two_tokens_of_one_cause_sends_the_first_again_at_most(
    stream: EventStream, receiver: SignalReceiver, monkeypatch
):
    happen(Event.USER_CHANGED, person(), changed={"is_active": False})
    taken = streams.stream_taken
    with monkeypatch.context() as patch:
        calls: list[int] = []

        def dies_the_second_time(*args: Any, **kwargs: Any) -> None:
            calls.append(1)
            if len(calls) == 2:
                raise SystemExit
            taken(*args, **kwargs)

        patch.setattr(streaming, "stream_taken", dies_the_second_time)
        with pytest.raises(SystemExit):
            streaming.run_stream(stream.pk, clock=lambda: NOW)
    run(stream, streams.LEASE)
    assert [uri.rpartition("/")[2] for uri, _ in events(receiver)] == [
        "account-disabled", "session-revoked", "session-revoked",
    ]  # fmt: skip
    assert len({claims["jti"] for claims in receiver.taken}) == 2


@pytest.mark.parametrize(
    "code", ["invalid_key", "invalid_issuer", "invalid_audience", "authentication_failed", "access_denied"]
)
def test_an_error_of_the_setup_is_waited_for(stream: EventStream, receiver: SignalReceiver, code: str):
    receiver.answers.append((400, {"err": code, "description": "not to be repeated"}))
    happen(Event.CLIENT_SUSPENDED, client())
    assert run(stream).error == f"It answers 400, {code}."
    run(stream, timedelta(hours=1))
    assert len(receiver.taken) == 1


def test_a_token_that_is_refused_for_good_is_left_behind_and_named(stream: EventStream, receiver: SignalReceiver):
    receiver.answers.append((400, {"err": "invalid_request", "description": "no"}))
    happen(Event.CLIENT_SUSPENDED, client())
    happen(Event.CLIENT_REINSTATED, client())
    assert run(stream).refused == 1
    assert [uri for uri, _ in events(receiver)] == [URIS[SignalType.ACCOUNT_ENABLED]]
    entry = AuditEntry.objects.get(event=Event.STREAM_TOKEN_REFUSED)
    refused = jwt.decode(receiver.asked[0][1], options={"verify_signature": False})
    assert entry.detail["jti"] == refused["jti"]
    assert entry.detail["entry"] == AuditEntry.objects.get(event=Event.CLIENT_SUSPENDED).seq


def test_a_receiver_that_asks_for_a_bearer_token_gets_it_and_no_log_does(
    stream: EventStream, receiver: SignalReceiver, secret_file, caplog: pytest.LogCaptureFixture
):
    reference, value = secret_file("bearer")
    EventStream.objects.update(secret=reference, bound_to=receiver.url.split("/")[2])
    happen(Event.CLIENT_SUSPENDED, client())
    with caplog.at_level(logging.DEBUG):
        run(stream)
    ((headers, _),) = receiver.asked
    assert headers["authorization"] == f"Bearer {value}"
    assert value not in caplog.text


# ── The stream itself ──────────────────────────────────────────────────────────────────────────


def test_a_test_is_a_verification_with_a_state(stream: EventStream, receiver: SignalReceiver):
    assert streaming.send_test(stream, asked_by="Mira", clock=lambda: NOW) == ""
    ((uri, event),) = events(receiver)
    assert uri == VERIFICATION
    assert len(event["state"]) == 32
    assert receiver.taken[0]["sub_id"] == {"format": "opaque", "id": str(stream.pk)}


def test_a_test_says_what_the_receiver_has_against_it(stream: EventStream, receiver: SignalReceiver):
    receiver.answers.append((400, {"err": "invalid_audience"}))
    assert streaming.send_test(stream, asked_by="Mira", clock=lambda: NOW) == "It answers 400, invalid_audience."


def test_a_receiver_is_told_when_its_stream_is_paused(stream: EventStream, receiver: SignalReceiver):
    set_stream_status(stream, StreamStatus.PAUSED, actor=ACTOR, reason="maintenance")
    tell_stream_status(str(stream.pk))
    assert events(receiver) == [(STREAM_UPDATED, {"status": "paused", "reason": "maintenance"})]


# ── Keys ───────────────────────────────────────────────────────────────────────────────────────


def test_the_private_key_is_a_file_that_we_alone_can_read(stream: EventStream, keys: Path):
    (path,) = keys.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stem == SignalKey.objects.get().kid
    said = json.dumps(published())
    assert set(published()["keys"][0]) == {"kty", "n", "e", "kid", "use", "alg"}
    assert "PRIVATE" not in said


def test_another_key_is_published_before_it_signs_and_the_old_one_after(
    stream: EventStream, receiver: SignalReceiver, keys: Path
):
    # The page that publishes them has a clock of its own.
    now, old = timezone.now() - timedelta(hours=2), SignalKey.objects.get()
    new = begin_signal_key(keys, actor=ACTOR, now=now, reason="a year is over")
    assert {key["kid"] for key in published()["keys"]} == {old.kid, new.kid}
    for later in (timedelta(0), PUBLISHED_BEFORE):
        happen(Event.CLIENT_SUSPENDED, client())
        run(stream, now + later - NOW)
    kids = [jwt.get_unverified_header(token)["kid"] for _, token in receiver.asked]
    assert kids == [old.kid, new.kid]
    assert len(receiver.taken) == 2
    after = now + PUBLISHED_BEFORE + PUBLISHED_AFTER
    assert [key.kid for key in SignalKey.objects.published(after)] == [new.kid]


def test_a_host_without_the_key_says_so_and_loses_nothing(stream: EventStream, receiver: SignalReceiver, keys: Path):
    (path,) = keys.iterdir()
    held = path.read_bytes()
    path.unlink()
    happen(Event.CLIENT_SUSPENDED, client())
    assert "is not the key that signs tokens" in run(stream).error
    path.write_bytes(held)
    run(stream, timedelta(hours=1))
    assert len(receiver.taken) == 1


def test_a_key_that_is_lost_is_followed_by_one_that_signs_at_once(
    stream: EventStream, receiver: SignalReceiver, keys: Path
):
    (path,) = keys.iterdir()
    path.unlink()
    new = begin_signal_key(keys, actor=ACTOR, now=NOW, reason="the disk died")
    happen(Event.CLIENT_SUSPENDED, client())
    run(stream)
    assert [jwt.get_unverified_header(token)["kid"] for _, token in receiver.asked] == [new.kid]


def test_without_an_address_nobody_signs(settings, stream: EventStream, receiver: SignalReceiver):
    settings.PUBLIC_URL = ""
    assert Client().get("/.well-known/ssf-configuration").status_code == 404
    happen(Event.CLIENT_SUSPENDED, client())
    assert run(stream).error == "KEYREEVE_URL is not set, so tokens have no issuer."


def test_the_receiver_of_these_tests_refuses_what_is_not_ours(stream: EventStream, receiver: SignalReceiver):
    happen(Event.CLIENT_SUSPENDED, client())
    run(stream)
    ((_, token),) = receiver.asked
    head, claims, signature = token.split(".")
    forged = f"{head}.{claims}.{signature[:-8]}{'A' * 8}"
    with pytest.raises(jwt.InvalidTokenError):
        verified(forged, published(), ISSUER, AUDIENCE)
    with pytest.raises(jwt.InvalidTokenError):
        verified(token, published(), ISSUER, "https://another.example")
