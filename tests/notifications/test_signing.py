"""Signatures of webhooks, against the documented check and against the convention's own example."""

import base64
import secrets

import pytest

from notifications.signing import key_of, signed
from providers.base import Secret
from providers.errors import Permanent
from tests.notifications.receivers import documented_check

verified = documented_check()
BODY = b'{"version":1}'
AT = 1_750_000_000


def test_the_example_of_the_convention_has_the_signature_that_it_prints():
    """From the test data of the Standard Webhooks libraries."""
    secret = Secret("whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = dict(
        signed(
            b'{"test": 2432232314}', message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, secrets=[secret]
        )
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("shape", ["whsec_", ""])
def test_the_documented_check_takes_what_is_signed_while_a_secret_is_replaced(shape):
    old, new = (shape + base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2))
    headers = dict(signed(BODY, message_id="one", timestamp=AT, secrets=[Secret(new), Secret(old)]))
    assert verified(headers, BODY, [old], AT) == {"version": 1}
    assert verified(headers, BODY, [new], AT + 300) == {"version": 1}


@pytest.mark.parametrize(
    ("change", "body", "now"),
    [
        ({}, b'{"version":2}', AT),
        ({"webhook-id": "two"}, BODY, AT),
        ({"webhook-timestamp": str(AT + 60)}, BODY, AT),
        ({}, BODY, AT + 301),
        ({}, BODY, AT - 301),
        ({"webhook-timestamp": "-1"}, BODY, AT),
    ],
)
def test_the_documented_check_refuses_what_was_changed_or_is_old(change, body, now):
    secret = secrets.token_urlsafe(32)
    headers = dict(signed(BODY, message_id="one", timestamp=AT, secrets=[Secret(secret)]))
    with pytest.raises(ValueError):
        verified({**headers, **change}, body, [secret], now)


@pytest.mark.parametrize("text", ["whsec_not base64!", "whsec_", "short", "x" * 513])
def test_what_is_no_key_is_refused_without_being_repeated(text):
    with pytest.raises(Permanent) as caught:
        key_of(Secret(text))
    assert text not in str(caught.value).replace("whsec_ ", "")
    assert caught.value.__cause__ is None
