"""The requests of a probe, and the tokens it makes up: plain values, nothing is sent from here."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from providers.base import Secret

MODERN = "2026-07-28"
NEWEST_LEGACY = "2025-11-25"
UNHEARD = "1900-01-01"
CLIENT = {"name": "keyreeve", "version": "1"}
FOREIGN_ORIGIN = "https://attacker.invalid"
NO_TOKEN = "keyreeve-probe-no-token"

# What only lists or describes. A request for anything else does something, and a probe does nothing.
LISTING_METHODS = frozenset(
    {
        "server/discover",
        "initialize",
        "ping",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it will be sent, so that the same can be sent again with one thing changed."""

    method: str = "POST"
    headers: tuple[tuple[str, str | Secret], ...] = ()
    content: bytes = b""

    def having(self, *headers: tuple[str, str | Secret]) -> Request:
        """The same request with these headers, in place of any of the same names."""
        names = {name.lower() for name, _ in headers}
        kept = tuple(header for header in self.headers if header[0].lower() not in names)
        return replace(self, headers=(*kept, *headers))


def bearer(token: Secret | str) -> tuple[str, Secret]:
    return "Authorization", Secret(f"Bearer {token.reveal() if isinstance(token, Secret) else token}")


def modern(method: str, *, header: str = MODERN, body: str = MODERN) -> Request:
    """A request of 2026-07-28. `header` and `body` are the versions that the two name."""
    if method not in LISTING_METHODS:
        raise ValueError(f"A probe does not send {method}.")
    meta = {
        "io.modelcontextprotocol/protocolVersion": body,
        "io.modelcontextprotocol/clientInfo": CLIENT,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return _rpc(
        {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": meta}},
        ("MCP-Protocol-Version", header),
        ("Mcp-Method", method),
    )


def initialize() -> Request:
    """The handshake before 2026-07-28. No version header: it is negotiated here, and old servers refuse new ones."""
    params = {"protocolVersion": NEWEST_LEGACY, "capabilities": {}, "clientInfo": CLIENT}
    return _rpc({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})


def initialized(version: str, session_id: str) -> Request:
    """What a client says when the handshake is done; some servers answer nothing before they heard it."""
    return _rpc({"jsonrpc": "2.0", "method": "notifications/initialized"}, *_session(version, session_id))


def legacy(method: str, version: str, session_id: str) -> Request:
    if method not in LISTING_METHODS:
        raise ValueError(f"A probe does not send {method}.")
    body = {"jsonrpc": "2.0", "id": 2, "method": method, "params": {}}
    return _rpc(body, *_session(version, session_id))


def ending(version: str, session_id: str) -> Request:
    return Request(method="DELETE", headers=tuple(_session(version, session_id)))


def events() -> Request:
    return Request(method="GET", headers=(("Accept", "text/event-stream"),))


def document() -> Request:
    return Request(method="GET", headers=(("Accept", "application/json"),))


def _session(version: str, session_id: str) -> list[tuple[str, str]]:
    headers = [("MCP-Protocol-Version", version)] if version else []
    return [*headers, ("Mcp-Session-Id", session_id)] if session_id else headers


def _rpc(body: Mapping[str, Any], *headers: tuple[str, str]) -> Request:
    common = (("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream"))
    return Request(headers=(*common, *headers), content=json.dumps(body, separators=(",", ":")).encode())


def forged_tokens(issuer: str, audience: str, scopes: Iterable[str], *, now: datetime) -> tuple[str, str]:
    """Two tokens that say all the right things: one without a signature, one signed by a key made up here."""
    issued = int(now.timestamp())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": "keyreeve-probe",
        "client_id": "keyreeve-probe",
        "scope": " ".join(scopes),
        "iat": issued,
        "nbf": issued,
        "exp": issued + 300,
        "jti": str(uuid4()),
    }
    body = _part(claims)
    unsigned = f"{_part({'alg': 'none', 'typ': 'at+jwt'})}.{body}."
    signed = f"{_part({'alg': 'ES256', 'typ': 'at+jwt', 'kid': 'keyreeve-probe'})}.{body}"
    signature = ec.generate_private_key(ec.SECP256R1()).sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(signature)
    return unsigned, f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _part(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
