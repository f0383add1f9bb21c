"""Signatures of webhooks, by the Standard Webhooks convention: pure.

`webhook-id` is the same however often a message is sent, `webhook-timestamp` is that of the try, and
`webhook-signature` holds `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, one for each secret in force.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from hashlib import sha256

from providers.base import Secret
from providers.errors import Permanent

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 512  # bytes of a key


def key_of(secret: Secret) -> bytes:
    """The key in a secret: what `whsec_` is followed by in base64, else its bytes as they are. Raises `Permanent`."""
    text = secret.reveal()
    if text.startswith(PREFIX):
        try:
            key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            # Without the cause, beside which a debugger would show the secret.
            raise Permanent("The secret begins with whsec_, and what follows is not base64.") from None
    else:
        key = text.encode()
    if not SHORTEST <= len(key) <= LONGEST:
        raise Permanent(f"The secret is a key of {len(key)} bytes; {SHORTEST} to {LONGEST} are needed.")
    return key


def signed(body: bytes, *, message_id: str, timestamp: int, secrets: Sequence[Secret]) -> list[tuple[str, str]]:
    """The three headers that go with `body`. Raises `Permanent` for a secret that is no key."""
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key_of(secret), content, sha256)).decode() for secret in secrets)
    return [
        ("webhook-id", message_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", " ".join(f"v1,{signature}" for signature in signatures)),
    ]
