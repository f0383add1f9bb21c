"""An MCP server on loopback whose virtues and faults are switched on one by one, and how to probe it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from providers.fetch import Fetcher, Guard
from providers.mcp import Budget, observe
from providers.observations import ServerObservation
from tests.providers.peers import Asked, Peer, json_answer, response, serving

HOST = "127.0.0.1"
USER_AGENT = "Keyreeve/test (+posture probe)"
NOW = datetime(2026, 11, 27, tzinfo=UTC)
LEGACY = ("2025-03-26", "2025-06-18", "2025-11-25")
MODERN = "2026-07-28"
BOTH = ("2025-11-25", MODERN)
METADATA_AT_PATH = "/.well-known/oauth-protected-resource/mcp"
METADATA_AT_ROOT = "/.well-known/oauth-protected-resource"
ISSUER = "https://id.halden.example"
ADD = {"name": "add", "description": "Add.", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}
# Generous where an answer comes, for machines with much to do; what waits for nothing has budgets of its own.
QUICK = Budget(request=10, stream=3, whole=60, listing=20, revocation=0, pause=0.01)


@dataclass(kw_only=True)
class McpPeer:
    """Does everything as the specification asks, until told otherwise. `{base}` in texts is its own address.

    `tokens` says what it makes of a token: 200 served, 401 or 403 refused; a token that is not named is refused, and
    with `tokens` None nobody needs one. `gated` names what needs one at all.
    """

    versions: tuple[str, ...] = BOTH
    spoken: str = ""  # what its handshake says instead
    tokens: dict[str, int] | None = None
    takes_any_token: bool = False
    takes_unsigned: bool = False
    takes_query: bool = False
    gated: tuple[str, ...] = ("server/discover", "initialize", "tools/list")
    refusal: int = 401
    challenge: str | None = 'Bearer resource_metadata="{base}' + METADATA_AT_PATH + '", scope="notes:read"'
    says_invalid: bool = True
    says_insufficient: str = 'Bearer error="insufficient_scope", scope="notes:write", resource_metadata="{base}/m"'
    metadata: dict[str, Any] | None = field(default_factory=dict)
    metadata_place: str = METADATA_AT_PATH
    metadata_type: str = "application/json"
    metadata_status: int = 200
    is_own_issuer: bool = False
    foreign_origin: int | None = 403
    session: Callable[[int], str] | None = lambda _number: uuid4().hex
    session_is_enough: bool = False
    session_in_discovery: bool = False
    get_status: int = 405
    delete_status: int = 405
    checks_mismatch: bool = True
    checks_unheard: bool = True
    says_supported: bool = True
    events_at: str = ""
    extensions: tuple[str, ...] = ()
    tools: tuple[dict[str, Any], ...] = (ADD,)
    forgets_revocation: bool = False
    broken: dict[str, int] = field(default_factory=dict)  # method or path → status
    silent: tuple[str, ...] = ()  # methods that are never answered
    revoked: set[str] = field(default_factory=set)
    live_sessions: dict[str, str] = field(default_factory=dict)
    sessions_opened: count[int] = field(default_factory=count)
    peer: Peer = field(default_factory=Peer)

    @property
    def base(self) -> str:
        return f"{self.peer.scheme}://127.0.0.1:{self.peer.port}"

    @property
    def url(self) -> str:
        return f"{self.base}/mcp"

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        answered = await self.answer(asked)
        if answered is None:
            await asyncio.Event().wait()
        else:
            writer.write(answered)

    async def answer(self, asked: Asked) -> bytes | None:
        path = urlsplit(asked.path).path
        if path in self.broken:
            return response(self.broken[path])
        if path == self.events_at and asked.method == "GET":
            if self.foreign_origin and asked.header("origin"):
                return response(self.foreign_origin)
            return response(
                200, (("Content-Type", "text/event-stream"), ("Content-Length", "60")), b"event: endpoint\ndata: /m\n\n"
            )
        if path == self.metadata_place and self.metadata is not None and self.tokens is not None:
            document = {
                "resource": self.url,
                "authorization_servers": [ISSUER],
                "scopes_supported": ["notes:read", "notes:write"],
                **self.metadata,
            }
            body = json.dumps({name: value for name, value in document.items() if value is not ...}).encode()
            return response(self.metadata_status, (("Content-Type", self.metadata_type),), self._filled(body))
        if path == "/.well-known/oauth-authorization-server" and self.is_own_issuer:
            return json_answer(json.dumps({"issuer": self.base}).encode())
        if path == "/revoke":
            if not self.forgets_revocation:
                self.revoked.add(parse_qs(asked.body.decode())["token"][0])
            return response(200)
        if path != "/mcp":
            return response(404)
        return self._mcp(asked)

    def _filled(self, text: bytes) -> bytes:
        return text.replace(b"{base}", self.base.encode())

    def _mcp(self, asked: Asked) -> bytes | None:
        if asked.method == "GET":
            return response(self.get_status)
        if asked.method == "DELETE":
            ended = self.live_sessions.pop(asked.header("mcp-session-id") or "", None)
            return response(204 if ended else self.delete_status)
        message = json.loads(asked.body)
        method = message["method"]
        if method in self.silent:
            return None
        if method in self.broken:
            return response(self.broken[method])
        refused = self._refused(asked, method)
        if refused:
            return refused
        if self.foreign_origin and asked.header("origin"):
            return response(self.foreign_origin)
        return self._answered(asked, message)

    def _refused(self, asked: Asked, method: str) -> bytes | None:
        if self.tokens is None or method not in self.gated:
            return None
        token = (asked.header("authorization") or "").removeprefix("Bearer ")
        if self.takes_query:
            token = token or parse_qs(urlsplit(asked.path).query).get("access_token", [""])[0]
        if self.session_is_enough and asked.header("mcp-session-id") in self.live_sessions:
            return None
        said = 401 if token in self.revoked else self.tokens.get(token, self.refusal)
        is_forged = token.count(".") == 2
        if said == 200 or (token and self.takes_any_token) or (is_forged and self.takes_unsigned):
            return None
        challenge = self.challenge
        if said == 403 and token in self.tokens:
            challenge = self.says_insufficient
        elif challenge and token and self.says_invalid:
            challenge = f'{challenge}, error="invalid_token"'
        headers = [("WWW-Authenticate", self._filled(challenge.encode()).decode())] if challenge else []
        return response(said, tuple(headers))

    def _answered(self, asked: Asked, message: dict[str, Any]) -> bytes:
        method, header = message["method"], asked.header("mcp-protocol-version")
        meta = message.get("params", {}).get("_meta", {})
        body_version = meta.get("io.modelcontextprotocol/protocolVersion")
        if body_version or method == "server/discover":
            return self._modern(message, header, body_version)
        if not set(self.versions) & set(LEGACY):
            return self._error(message, 400, -32022, {"supported": [MODERN]} if self.says_supported else None)
        if method == "initialize":
            headers = []
            if self.session:
                session_id = self.session(next(self.sessions_opened))
                self.live_sessions[session_id] = asked.header("authorization") or ""
                headers.append(("Mcp-Session-Id", session_id))
            spoken = self.spoken or max(version for version in self.versions if version in LEGACY)
            result = {"protocolVersion": spoken, "capabilities": {"tools": {}}, "serverInfo": self._info()}
            return self._result(message, result, *headers)
        if method == "notifications/initialized":
            return response(202)
        if header and header not in self.versions and self.checks_unheard:
            return response(400)
        return self._result(message, {"tools": list(self.tools)})

    def _modern(self, message: dict[str, Any], header: str | None, body_version: str | None) -> bytes:
        if MODERN not in self.versions:
            return self._error(message, 400, -32601, None)
        if header != body_version and self.checks_mismatch:
            return self._error(message, 400, -32020, None)
        if header != MODERN and self.checks_unheard:
            data = {"supported": list(self.versions), "requested": header} if self.says_supported else None
            return self._error(message, 400, -32022, data)
        if message["method"] == "tools/list":
            return self._result(message, {"tools": list(self.tools), **self._page()})
        headers = [("Mcp-Session-Id", uuid4().hex)] if self.session_in_discovery else []
        capabilities = {"tools": {}, "extensions": {name: {} for name in self.extensions}}
        result = {
            "supportedVersions": [MODERN],
            "capabilities": capabilities,
            "_meta": {"io.modelcontextprotocol/serverInfo": self._info()},
            **self._page(),
        }
        return self._result(message, result, *headers)

    @staticmethod
    def _page() -> dict[str, Any]:
        """What every answer of 2026-07-28 says besides."""
        return {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}

    @staticmethod
    def _info() -> dict[str, str]:
        return {"name": "Notes", "version": "1.0"}

    @staticmethod
    def _result(message: dict[str, Any], result: dict[str, Any], *headers: tuple[str, str]) -> bytes:
        body = {"jsonrpc": "2.0", "id": message.get("id"), "result": result}
        return json_answer(json.dumps(body).encode(), *headers)

    @staticmethod
    def _error(message: dict[str, Any], status: int, code: int, data: Any) -> bytes:
        error = {"code": code, "message": "no"} | ({"data": data} if data else {})
        body = {"jsonrpc": "2.0", "id": message.get("id"), "error": error}
        return json_answer(json.dumps(body).encode(), status=status)

    def methods(self) -> list[str]:
        """Every JSON-RPC method that it was asked."""
        return [json.loads(asked.body)["method"] for asked in self.peer.asked if asked.method == "POST" and asked.body]


async def observed(
    server: McpPeer, *, tls: ssl.SSLContext | None = None, trusted: ssl.SSLContext | None = None, **asked: Any
) -> ServerObservation:
    """Serve for as long as a probe takes. Credentials that name the server's own address are a function of it."""
    async with serving(server, tls=tls) as peer, reaching(trusted) as fetcher:
        server.peer = peer
        if callable(asked.get("credentials")):
            asked["credentials"] = asked["credentials"](server.base)
        return await observe(server.url, fetcher=fetcher, now=NOW, **{"budget": QUICK, **asked})


def reaching(trusted: ssl.SSLContext | None = None) -> Fetcher:
    return Fetcher(Guard(allow_loopback=True), user_agent=USER_AGENT, tls=trusted)


def look(server: McpPeer, **asked: Any) -> ServerObservation:
    return asyncio.run(observed(server, **asked))
