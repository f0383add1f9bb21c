"""A secret is recognised by a keyed digest and shown as a hint; neither leads back to it."""

from __future__ import annotations

import hmac

SCHEME = "kf1"
MINIMUM_KEY_BYTES = 12

# A shorter value, or one made of few different characters, gives too much away with its last four.
_HINT_MINIMUM_LENGTH = 16
_HINT_MINIMUM_VARIETY = 8
_HINT_PREFIX_LIMIT = 8
ELLIPSIS = "…"


def fingerprint(value: str, *, key: bytes) -> str:
    """The first 128 bits of HMAC-SHA256 under `key`: enough never to collide by chance, useless without the key.

    The scheme in front ("kf1:") lets a later scheme live beside this one.
    """
    if len(key) < MINIMUM_KEY_BYTES:
        raise ValueError(f"A fingerprint key has at least {MINIMUM_KEY_BYTES} bytes.")
    digest = hmac.digest(key, value.encode("utf-8", "surrogatepass"), "sha256")
    return f"{SCHEME}:{digest[:16].hex()}"


def public_hint(value: str, prefix: str | None) -> str:
    """What a person may see of a secret: the fixed prefix of its *format* and its last four characters.

    `prefix` must be a public constant of the format ("ghp_"), never a piece of the value. What is left of a short,
    repetitive or many-line value would help guessing it, so of those nothing is shown.
    """
    shown = prefix[:_HINT_PREFIX_LIMIT] if prefix and value.startswith(prefix) else ""
    body = value[len(shown) :]
    if len(body) < _HINT_MINIMUM_LENGTH or len(set(body)) < _HINT_MINIMUM_VARIETY or "\n" in body or " " in body:
        return f"{shown}{ELLIPSIS}"
    return f"{shown}{ELLIPSIS}{body[-4:]}"
