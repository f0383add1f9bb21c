"""Probing a thousand MCP servers at once, some of them dead, against bare GETs of the same number."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2

from bench.measure import Row, timed
from inventory.posture.servers import judge_server
from providers.fetch import Fetcher, Guard
from providers.mcp import AT_ONCE, observe_all
from providers.observations import ServerObservation

BUDGET_SECONDS = 60
MOST_MEMORY = 128  # MiB that a run may add, whatever its size
DEAD_ONE_IN = 100
HOST = "127.0.0.1"
TOOLS = [
    {"name": f"tool_{number}", "description": "Does one thing.", "inputSchema": {"type": "object"}}
    for number in range(8)
]


def run(size: int = 1_000) -> list[Row]:
    """Seconds for all of them from one event loop; every hundredth accepts connections and never says a word."""
    with _servers(size) as ports:
        before = _memory()
        with timed() as watch:
            seen = asyncio.run(_probe([f"http://{HOST}:{port}/mcp" for port in ports]))
        grown = _memory() - before
        asked = sum(len(observation.exchanges) for observation in seen)
        dead = [observation for observation in seen if observation.stopped]
        if len(seen) != size or len(dead) != len(range(0, size, DEAD_ONE_IN)):
            raise AssertionError(f"{len(seen)} of {size} servers were seen, {len(dead)} of them silent")
        limit = asyncio.run(_bare([port for at, port in enumerate(ports) if at % DEAD_ONE_IN], asked))
    return [
        Row(
            name="probe of MCP servers, one in a hundred dead",
            size=size,
            value=round(watch.seconds, 2),
            unit="s",
            limit=round(limit, 2),
            ratio=round(watch.seconds / limit, 2),
            budget=f"≤ {BUDGET_SECONDS} s for 1,000; the limit is {asked:,} bare GETs",
            ok=watch.seconds <= BUDGET_SECONDS * max(1, size / 1_000),
        ),
        Row(
            name="memory that a run of probes adds",
            size=size,
            value=round(grown, 1),
            unit="MiB",
            limit=None,
            ratio=None,
            budget=f"≤ {MOST_MEMORY} MiB at any size",
            ok=grown <= MOST_MEMORY,
        ),
    ]


async def _probe(urls: list[str]) -> list[ServerObservation]:
    seen = []
    async with Fetcher(Guard(allow_loopback=True), user_agent="Keyreeve/bench (+posture probe)") as fetcher:
        async for observation in observe_all(urls, fetcher=fetcher, clock=lambda: datetime.now(UTC)):
            judge_server(observation)
            seen.append(observation)
    return seen


async def _bare(ports: list[int], number: int) -> float:
    """As many GETs as the probes made requests, over one client with as many at once."""
    waiting = iter(range(number))
    async with httpx2.AsyncClient(trust_env=False, limits=httpx2.Limits(max_connections=AT_ONCE)) as client:

        async def work() -> None:
            for each in waiting:
                await client.get(f"http://{HOST}:{ports[each % len(ports)]}/")

        with timed() as watch:
            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return watch.seconds


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# ── The servers, in a process of their own ─────────────────────────────────────────────────────


@contextmanager
def _servers(size: int) -> Iterator[list[int]]:
    """Ports on which as many servers listen: anonymous, behind a token, of either era, and dead ones."""
    command = [sys.executable, "-m", "bench.probe", str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("the process was started with pipes")
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(timeout=10)


class _Server(asyncio.Protocol):
    """One connection to a server that answers as its number says."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, received: bytes) -> None:
        if not self.number % DEAD_ONE_IN:
            return
        self.buffer += received
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode("latin-1")
            headers = dict(line.lower().partition(": ")[::2] for line in head.split("\r\n")[1:])
            length = int(headers.get("content-length", "0"))
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            method, path, _ = head.split("\r\n")[0].split(" ")
            self.transport.write(self._answer(method, path, headers, body))  # type: ignore[attr-defined]

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        is_gated = self.number % 2
        base = "http://{}:{}".format(*self.transport.get_extra_info("sockname"))
        if path.startswith("/.well-known/oauth-protected-resource") and is_gated:
            return _json({"resource": f"{base}/mcp", "authorization_servers": [base], "scopes_supported": ["read"]})
        if path != "/mcp":
            return _response(404)
        if method != "POST":
            return _response(405)
        if is_gated:
            named = f'resource_metadata="{base}/.well-known/oauth-protected-resource/mcp"'
            return _response(401, f"WWW-Authenticate: Bearer {named}")
        if "origin" in headers:
            return _response(403)
        asked = json.loads(body)
        is_modern = "params" in asked and "_meta" in asked["params"]
        return self._modern(asked, headers) if is_modern else self._legacy(asked, headers)

    def _modern(self, asked: dict[str, Any], headers: dict[str, str]) -> bytes:
        named = asked["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"]
        common = {"resultType": "complete", "ttlMs": 0, "cacheScope": "public"}
        if self.number % 4:
            return _error(asked, -32601, 404)
        if headers.get("mcp-protocol-version") != named:
            return _error(asked, -32020, 400)
        if named != "2026-07-28":
            return _error(asked, -32022, 400)
        if asked["method"] == "tools/list":
            return _result(asked, {"tools": TOOLS, **common})
        return _result(asked, {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, **common})

    def _legacy(self, asked: dict[str, Any], headers: dict[str, str]) -> bytes:
        if not self.number % 4:
            return _error(asked, -32022, 400)
        if asked["method"] == "initialize":
            info = {"name": "bench", "version": "1"}
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
            return _result(asked, result, f"Mcp-Session-Id: {uuid4().hex}")
        if asked["method"] == "notifications/initialized":
            return _response(202)
        if headers.get("mcp-protocol-version") == "1900-01-01":
            return _response(400)
        return _result(asked, {"tools": TOOLS})


def _result(asked: dict[str, Any], result: dict[str, Any], *headers: str) -> bytes:
    return _json({"jsonrpc": "2.0", "id": asked.get("id"), "result": result}, *headers)


def _error(asked: dict[str, Any], code: int, status: int) -> bytes:
    return _json({"jsonrpc": "2.0", "id": asked.get("id"), "error": {"code": code, "message": ""}}, status=status)


def _json(document: dict[str, Any], *headers: str, status: int = 200) -> bytes:
    return _response(status, "Content-Type: application/json", *headers, body=json.dumps(document).encode())


def _response(status: int, *headers: str, body: bytes = b"") -> bytes:
    lines = (f"HTTP/1.1 {status} -", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _serve(size: int) -> None:
    loop = asyncio.get_running_loop()
    ports = []
    for number in range(size):
        server = await loop.create_server(lambda number=number: _Server(number), HOST, 0)  # type: ignore[misc]
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until whoever started this closes the pipe


def _open_files(number: int) -> None:
    """Every server listens on a socket of its own, and the usual limit on open files is lower than that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, hard) if hard > 0 else number, hard))


if __name__ == "__main__":
    _open_files(2 * int(sys.argv[1]) + 1_000)
    asyncio.run(_serve(int(sys.argv[1])))
