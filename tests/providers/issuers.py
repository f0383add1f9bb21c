"""A small authorization server on loopback that keeps the rules, and breaks those that a test names."""

import asyncio
import base64
import json
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlsplit

from providers.authorization import ProbeClient, observe_client_document, observe_issuer
from providers.base import Secret
from providers.fetch import Fetcher, Guard, Limits
from providers.observations import ClientObservation, IssuerObservation, SafetyClass
from tests.providers.peers import Asked, Authority, Peer, json_answer, redirecting, response, serving

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
AGENT = "Keyreeve/test"
RESOURCE = "https://mcp.example/mcp"
REDIRECT = "https://app.example/callback"
ALL = frozenset(SafetyClass)
NO_STORE = ("Cache-Control", "no-store")
Answering = bytes | Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def rsa_key(bits: int = 2048, **members: Any) -> dict[str, Any]:
    """What a public RSA key looks like. Nothing here signs with it."""
    modulus = bytes([0x80]) + secrets.token_bytes(bits // 8 - 1)
    return {"kty": "RSA", "kid": secrets.token_hex(4), "e": "AQAB", "n": encoded(modulus), **members}


def jwt(**claims: Any) -> str:
    header = {"alg": "RS256", "typ": "at+jwt"}
    parts = json.dumps(header).encode(), json.dumps(claims).encode(), secrets.token_bytes(32)
    return ".".join(encoded(part) for part in parts)


@dataclass
class Issuer:
    """What it publishes and how it behaves. `faults` names the rules it breaks; `answers` replaces whole paths."""

    metadata: Mapping[str, Any] = field(default_factory=dict)  # None takes a member out
    faults: frozenset[str] = frozenset()
    answers: Mapping[str, Answering] = field(default_factory=dict)
    path: str = ""
    keys: Any = None
    audience: Any = RESOURCE
    token_life: int = 600
    clients: dict[str, dict[str, Any]] = field(default_factory=dict)
    registered: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    handed_out: list[str] = field(default_factory=list)
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    initial_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    refresh: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    used: set[str] = field(default_factory=set)
    base: str = ""

    def has(self, fault: str) -> bool:
        return fault in self.faults

    def document(self) -> dict[str, Any]:
        found = {
            "issuer": self.base + self.path,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "registration_endpoint": f"{self.base}/register",
            "revocation_endpoint": f"{self.base}/revoke",
            "introspection_endpoint": f"{self.base}/introspect",
            "jwks_uri": f"{self.base}/jwks",
            "scopes_supported": ["tools:read", "tools:write"],
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic", "none"],
            "code_challenge_methods_supported": ["S256"],
            "client_id_metadata_document_supported": True,
            "authorization_response_iss_parameter_supported": True,
            "dpop_signing_alg_values_supported": ["ES256"],
        }
        found |= self.metadata
        return {name: value for name, value in found.items() if value is not None}

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        path = urlsplit(asked.path).path
        replaced = self.answers.get(path) or self.answers.get(f"{path.rpartition('/')[0]}/*")
        if callable(replaced):
            await replaced(asked, writer)
            return
        writer.write(replaced if replaced is not None else self.reply(asked, path))

    def reply(self, asked: Asked, path: str) -> bytes:
        if path == f"/.well-known/oauth-authorization-server{self.path}":
            return said(self.document())
        if path == "/jwks":
            return said({"keys": [rsa_key()]} if self.keys is None else self.keys)
        if path.startswith("/register"):
            return self.manage(asked, path) if asked.method == "DELETE" else self.register(asked)
        handler = {
            "/authorize": self.authorize,
            "/token": self.token,
            "/revoke": self.revoke,
            "/introspect": self.introspect,
        }.get(path)
        return handler(asked) if handler else response(404)

    # ── Registration ───────────────────────────────────────────────────────────────────────────

    def register(self, asked: Asked) -> bytes:
        if not self.has("open") and asked.header("authorization") != f"Bearer {self.initial_token}":
            return refused("invalid_token", 401)
        try:
            wanted = json.loads(asked.body)
        except ValueError:
            return refused("invalid_client_metadata")
        if not self.has("any_redirect") and not all(acceptable(address) for address in wanted["redirect_uris"]):
            return refused("invalid_redirect_uri")
        client_id = secrets.token_hex(6)
        access = secrets.token_urlsafe(24)
        self.registered.append(client_id)
        made = {"client_id": client_id, "redirect_uris": wanted["redirect_uris"]}
        if not self.has("unmanaged"):
            host = "http://127.0.0.2:9" if self.has("managed_elsewhere") else self.base
            made |= {"registration_client_uri": f"{host}/register/{client_id}", "registration_access_token": access}
        if wanted.get("token_endpoint_auth_method") != "none" or self.has("secret_for_public"):
            ends = 0 if self.has("endless") else 1_900_000_000
            made |= {"client_secret": secrets.token_urlsafe(24), "client_secret_expires_at": ends}
        self.clients[client_id] = made
        self.handed_out += [access, made.get("client_secret", access)]
        return said(made, 201)

    def manage(self, asked: Asked, path: str) -> bytes:
        client_id = path.rpartition("/")[2]
        client = self.clients.get(client_id)
        if client is None or asked.header("authorization") != f"Bearer {client['registration_access_token']}":
            return refused("invalid_token", 401)
        if self.has("undeletable"):
            return response(405)
        del self.clients[client_id]
        return response(204)

    # ── Authorization ──────────────────────────────────────────────────────────────────────────

    def authorize(self, asked: Asked) -> bytes:
        query = dict(parse_qsl(urlsplit(asked.path).query))
        if self.has("sign_in_first"):
            return redirecting(f"{self.base}/login")
        redirect = query.get("redirect_uri", "")
        by_prefix = self.has("redirect_by_prefix") and redirect.startswith(REDIRECT)
        if query.get("client_id") != "known" or not (redirect == REDIRECT or by_prefix or self.has("any_target")):
            return refused("invalid_request")
        if by_prefix and redirect != REDIRECT:
            return redirecting(f"{redirect}?code={secrets.token_hex(8)}")
        if redirect != REDIRECT:
            return redirecting(f"{redirect}?error=invalid_request")
        if query.get("response_type") != "code":
            return redirecting(f"{redirect}?error=unsupported_response_type")
        if "code_challenge" not in query and not self.has("no_pkce"):
            return redirecting(f"{redirect}?error=invalid_request&state={query['state']}")
        if self.has("instant_code"):
            return redirecting(f"{redirect}?code={self.made()}")
        return redirecting(f"{self.base}/login")

    # ── Tokens ─────────────────────────────────────────────────────────────────────────────────

    def made(self) -> str:
        value = secrets.token_urlsafe(24)
        self.handed_out.append(value)
        return value

    def knows(self, asked: Asked) -> bool:
        scheme, _, pair = (asked.header("authorization") or "").partition(" ")
        if scheme == "Basic":
            name, _, secret = base64.b64decode(pair).decode().partition(":")
            return (unquote_plus(name), unquote_plus(secret)) == ("known", self.client_secret)
        return form(asked).get("client_id") == "known" and self.has("public_client")

    def token(self, asked: Asked) -> bytes:
        wanted = form(asked)
        if not self.knows(asked) and not self.has("any_client"):
            code = "invalid_request" if self.has("odd_error") else "invalid_client"
            return refused(code, 401, *(() if self.has("stored") else (NO_STORE,)))
        if wanted.get("grant_type") == "refresh_token":
            return self.refreshed(wanted["refresh_token"])
        if wanted.get("resource", RESOURCE) != RESOURCE and not self.has("any_resource"):
            return refused("invalid_target")
        return said(self.issued())

    def issued(self, **more: Any) -> dict[str, Any]:
        now = int(NOW.timestamp())
        token = (
            self.made()
            if self.has("opaque")
            else jwt(iss=self.base, aud=self.audience, iat=now, exp=now + self.token_life, sub="private-person")
        )
        self.handed_out.append(token)
        return {"access_token": token, "token_type": "Bearer", "expires_in": self.token_life, **more}

    def refreshed(self, token: str) -> bytes:
        if self.has("endless_refresh"):
            return said(self.issued())
        if token in self.used and not self.has("reusable"):
            if not self.has("family_lives"):
                self.refresh = ""
            return refused("invalid_grant")
        if token not in {self.refresh, *self.used}:
            return refused("invalid_grant")
        self.used.add(token)
        self.refresh = self.made()
        return said(self.issued(refresh_token=self.refresh))

    def revoke(self, asked: Asked) -> bytes:
        if not self.knows(asked) and not self.has("open_revocation"):
            return refused("invalid_client", 401)
        self.revoked.append(form(asked)["token"])
        return response(200)

    def introspect(self, asked: Asked) -> bytes:
        if self.knows(asked):
            return said({"active": True, "aud": self.audience})
        return said({"active": False}) if self.has("open_introspection") else refused("invalid_client", 401)

    # ── Being asked ────────────────────────────────────────────────────────────────────────────

    def client(self, **changes: Any) -> ProbeClient:
        """The client that its owner lends for checks."""
        known = {
            "client_id": "known",
            "redirect_uri": REDIRECT,
            "secret": Secret(self.client_secret),
            "resource": RESOURCE,
            "refresh_token": Secret(self.refresh),
        }
        return ProbeClient(**{**known, **changes})


def form(asked: Asked) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(asked.body.decode()).items()}


def said(document: Any, status: int = 200) -> bytes:
    return json_answer(json.dumps(document).encode(), status=status)


def refused(code: str, status: int = 400, *headers: tuple[str, str]) -> bytes:
    return json_answer(json.dumps({"error": code}).encode(), *headers, status=status)


def acceptable(address: str) -> bool:
    if any(character in address for character in "*# "):
        return False
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost"))


def observed(
    issuer: Issuer,
    *,
    opted_in: frozenset[SafetyClass] = frozenset(),
    client: ProbeClient | None = None,
    registration_token: str = "",
    gently: bool = False,
    seconds: float | None = None,
    limits: Limits | None = None,
) -> tuple[IssuerObservation, Peer]:
    """Let an authorization server be asked. Returns what was seen, and what it was asked."""

    async def scenario() -> tuple[IssuerObservation, Peer]:
        async with (
            serving(issuer.answer) as peer,
            Fetcher(Guard(allow_loopback=True), user_agent=AGENT, limits=limits) as fetcher,
        ):
            issuer.base = peer.url("")
            observation = await observe_issuer(
                issuer.base + issuer.path,
                fetcher=fetcher,
                now=NOW,
                opted_in=opted_in,
                test_client=client,
                registration_token=Secret(registration_token) if registration_token else None,
                gently=gently,
                seconds=seconds,
            )
        return observation, peer

    return asyncio.run(scenario())


@contextmanager
def listening(issuer: Issuer) -> Iterator[str]:
    """The authorization server in a thread of its own, for what runs an event loop itself. Its issuer."""
    started: Future[asyncio.AbstractEventLoop] = Future()
    ended = asyncio.Event()

    async def listen() -> None:
        async with serving(issuer.answer) as peer:
            issuer.base = peer.url("")
            started.set_result(asyncio.get_running_loop())
            await ended.wait()

    thread = Thread(target=asyncio.run, args=[listen()])
    thread.start()
    loop = started.result()
    try:
        yield issuer.base + issuer.path
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


def observed_document(
    answering: bytes | Callable[[str], bytes], path: str = "/client.json", *, authority: Authority
) -> ClientObservation:
    """Let a client's document be fetched from a server that answers so; a function of the client's id makes bytes."""

    async def scenario() -> ClientObservation:
        async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
            if isinstance(answering, bytes):
                writer.write(answering)
            else:
                writer.write(answering(peer.url(path)))

        async with (
            serving(answer, tls=authority.serve("127.0.0.1")) as peer,
            Fetcher(
                Guard(allow_loopback=True), user_agent=AGENT, limits=Limits(seconds=1), tls=authority.trust()
            ) as fetcher,
        ):
            return await observe_client_document(peer.url(path), fetcher=fetcher, now=NOW)

    return asyncio.run(scenario())
