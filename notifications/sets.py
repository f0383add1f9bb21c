"""Security event tokens (RFC 8417) of the Shared Signals Framework, pure: what they claim, and their signature.

A token is signed with RS256 by a key that `jwks_uri` publishes. Its `jti` is the same however often it is sent.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid5

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from notifications.states import SignalType

ALGORITHM = "RS256"  # what the interoperability profile of CAEP asks for
MEDIA_TYPE = "application/secevent+jwt"
PUSH = "urn:ietf:rfc:8935"
KEY_SIZE = 3072
NAMES = UUID("2a0d8a53-96a5-5a1e-8f8e-0d6f9b1f4c02")  # of the ids of our tokens

_SCHEMA = "https://schemas.openid.net/secevent"
URIS: dict[SignalType, str] = {
    SignalType.CREDENTIAL_CHANGE: f"{_SCHEMA}/caep/event-type/credential-change",
    SignalType.SESSION_REVOKED: f"{_SCHEMA}/caep/event-type/session-revoked",
    SignalType.ACCOUNT_DISABLED: f"{_SCHEMA}/risc/event-type/account-disabled",
    SignalType.ACCOUNT_ENABLED: f"{_SCHEMA}/risc/event-type/account-enabled",
    SignalType.ACCOUNT_PURGED: f"{_SCHEMA}/risc/event-type/account-purged",
}
VERIFICATION = f"{_SCHEMA}/ssf/event-type/verification"
STREAM_UPDATED = f"{_SCHEMA}/ssf/event-type/stream-updated"
PURGED, ENABLED, DISABLED = SignalType.ACCOUNT_PURGED, SignalType.ACCOUNT_ENABLED, SignalType.ACCOUNT_DISABLED


def opaque(kind: str, pk: object) -> dict[str, str]:
    """A subject of ours (RFC 9493), by the id that the REST API has for it."""
    return {"format": "opaque", "id": f"{kind}:{pk}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One thing that happened to one subject, before it is signed for a receiver.

    `part` tells apart what one audit entry gives rise to. `txn` is the same for everything with one cause.
    """

    type: SignalType
    subject: Mapping[str, Any]
    at: datetime
    claims: Mapping[str, Any] = field(default_factory=dict)
    part: str = ""
    txn: str = ""


def jti_of(digest: bytes, signal: Signal) -> UUID:
    """By the link of the audit chain that says it happened."""
    return uuid5(NAMES, f"{digest.hex()} {signal.type.value} {signal.part}")


def payload(signal: Signal, *, jti: UUID, issuer: str, audience: str, now: datetime) -> dict[str, Any]:
    """Exactly one event, and neither `sub` nor `exp`, as SSF has it."""
    event = {"event_timestamp": int(signal.at.timestamp()), **signal.claims}
    claims = {
        "iss": issuer,
        "aud": audience,
        "iat": int(now.timestamp()),
        "jti": str(jti),
        "toe": int(signal.at.timestamp()),
        "sub_id": dict(signal.subject),
        "events": {URIS[signal.type]: event},
    }
    return claims | ({"txn": signal.txn} if signal.txn else {})


def about_the_stream(
    uri: str, event: Mapping[str, Any], *, stream: UUID, jti: UUID, issuer: str, audience: str, now: datetime
) -> dict[str, Any]:
    """A token that says something of the stream itself: `verification` and `stream-updated`."""
    return {
        "iss": issuer,
        "aud": audience,
        "iat": int(now.timestamp()),
        "jti": str(jti),
        "sub_id": {"format": "opaque", "id": str(stream)},
        "events": {uri: dict(event)},
    }


def signed(claims: Mapping[str, Any], key: RSAPrivateKey, kid: str) -> str:
    return jwt.encode(dict(claims), key, algorithm=ALGORITHM, headers={"typ": "secevent+jwt", "kid": kid})


def jwk_of(key: RSAPublicKey) -> dict[str, str]:
    """The public key as `jwks_uri` gives it; its `kid` is its thumbprint (RFC 7638)."""
    numbers = key.public_numbers()
    shape = {"e": _number(numbers.e), "kty": "RSA", "n": _number(numbers.n)}
    text = json.dumps(shape, separators=(",", ":"))  # these members alone, in this order
    kid = base64.urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()
    return {**shape, "kid": kid, "use": "sig", "alg": ALGORITHM}


def _number(value: int) -> str:
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def configuration(issuer: str, jwks_uri: str) -> dict[str, Any]:
    """What a receiver reads at `/.well-known/ssf-configuration`. Streams are set up by people, so no endpoint does."""
    return {
        "spec_version": "1_0",
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "delivery_methods_supported": [PUSH],
        "default_subjects": "ALL",
        "critical_subject_members": [],
    }
