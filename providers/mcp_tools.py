"""List the tools of an MCP server through the SDK's sessions: over the guarded client, or over pipes we made.

Nothing here calls a tool. What an SDK session raises becomes a sentence; what a server sends is counted and bounded.
"""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import hashlib
import json
import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import get_default_environment
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types import Implementation, Tool, jsonrpc_message_adapter
from pydantic import ValidationError

from providers.errors import ProviderError
from providers.mcp_requests import CLIENT, MODERN
from providers.observations import ObservedTool

PAGES = 50
TOOLS = 5_000
LISTING_SECONDS = 20.0
LONGEST_NAME = 300
LINE_BYTES = 4 << 20
GRACE_SECONDS = 2.0

# The SDK logs hostile answers as they are. The listing says in its own words what was wrong.
logging.getLogger("mcp.client").setLevel(logging.CRITICAL)

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_EXPECTED = (
    MCPError,
    ProviderError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.SSEError,
    httpx2.StreamError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    OSError,
    ValidationError,
    ValueError,
    RuntimeError,
    RecursionError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The tools, or why there are none; both when the listing was cut short. Versions and name as the session says."""

    tools: tuple[ObservedTool, ...] | None = None
    error: str = ""
    version: str = ""
    server_name: str = ""
    server_version: str = ""


async def list_over_http(
    url: str, client: httpx2.AsyncClient, *, is_modern: bool, seconds: float = LISTING_SECONDS
) -> Listing:
    """Over Streamable HTTP, without a negotiation where the server is known to need none."""
    return await _list(streamable_http_client(url, http_client=client), MODERN if is_modern else "legacy", seconds)


async def list_over_events(url: str, client: httpx2.AsyncClient, *, seconds: float = LISTING_SECONDS) -> Listing:
    """Over HTTP+SSE, the transport of 2024-11-05. The client is entered, and closed, by the session."""

    def given(
        headers: dict[str, str] | None = None, timeout: httpx2.Timeout | None = None, auth: httpx2.Auth | None = None
    ) -> httpx2.AsyncClient:
        return client

    return await _list(sse_client(url, httpx_client_factory=given), "legacy", seconds)


async def list_launched(command: Sequence[str], *, seconds: float = LISTING_SECONDS) -> Listing:
    """Launch a server, list its tools over its pipes, end it and whatever it started."""
    return await _list(launched(command), "auto", seconds)


@dataclass(slots=True)
class _Found:
    """What a session has said so far; worth having when the next page does not come."""

    version: str = ""
    info: Implementation | None = None
    tools: list[ObservedTool] = field(default_factory=list)
    has_a_page: bool = False
    is_done: bool = False
    error: str = ""


async def _list(transport: Any, mode: str, seconds: float) -> Listing:
    found = _Found()
    error = ""
    try:
        with anyio.fail_after(seconds):
            client = Client(
                transport,
                mode=mode,
                client_info=Implementation.model_validate(CLIENT),
                read_timeout_seconds=seconds,
                cache=None,
            )
            async with client as session:
                found.version, found.info = session.protocol_version, session.server_info
                await _collect(session, found)
    except* TimeoutError:
        error = f"Listing the tools took longer than {seconds:g} s."
    except* _EXPECTED as group:
        error = explained(group)
    return Listing(
        tools=tuple(found.tools) if found.has_a_page else None,
        # What goes wrong after the last page, in taking leave, takes nothing from the listing.
        error=found.error if found.is_done else error,
        version=found.version[:60],
        server_name=found.info.name[:300] if found.info else "",
        server_version=found.info.version[:200] if found.info else "",
    )


async def _collect(session: Client, found: _Found) -> None:
    """Page by page, until the end or a bound."""
    cursors: set[str] = set()
    cursor: str | None = None
    names: set[str] = set()
    for _ in range(PAGES):
        page = await session.list_tools(cursor=cursor)
        found.has_a_page = True
        for tool in page.tools:
            if len(found.tools) == TOOLS:
                found.error, found.is_done = f"Only the first {TOOLS} tools were listed.", True
                return
            if tool.name in names:
                # Clients differ in which one they take, so an approval of one would approve neither.
                found.error = "It lists two tools under one name, so which of them a client would call is unknown."
                continue
            names.add(tool.name)
            found.tools.append(observed(tool))
        cursor = page.next_cursor
        if not cursor:
            found.is_done = True
            return
        if cursor in cursors:
            found.error, found.is_done = "The listing repeats itself; only what came before was taken.", True
            return
        cursors.add(cursor)
    found.error, found.is_done = f"Only the first {PAGES} pages of tools were listed.", True


def observed(tool: Tool) -> ObservedTool:
    """A tool in our words. The digest covers what a person would have to approve again when it changes."""
    definition = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    covered = {
        key: definition.get(key) for key in ("name", "description", "inputSchema", "outputSchema", "annotations")
    }
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"))
    hints = tool.annotations
    return ObservedTool(
        name=_name(tool.name),
        description=(tool.description or "")[:4000],
        is_read_only=hints.read_only_hint if hints else None,
        is_destructive=hints.destructive_hint if hints else None,
        is_open_world=hints.open_world_hint if hints else None,
        scopes=_scopes(tool),
        schema_digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def _name(name: str) -> str:
    """A name as people can read and compare it.

    What turns the direction of writing, acts on a terminal or comes after hundreds of characters could make two tools
    look like one; those keep a digest of what they are called.
    """
    seen = _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", name)
    if seen == name and len(name) <= LONGEST_NAME:
        return name
    return f"{seen[: LONGEST_NAME - 17]}…{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:16]}"


def _scopes(tool: Tool) -> tuple[str, ...]:
    """The scopes that a tool says it needs (`_meta.securitySchemes`, as some servers have it)."""
    schemes = (tool.meta or {}).get("securitySchemes")
    found: list[str] = []
    for scheme in schemes if isinstance(schemes, list) else []:
        scopes = scheme.get("scopes") if isinstance(scheme, dict) else None
        found += [scope[:300] for scope in scopes if isinstance(scope, str)] if isinstance(scopes, list) else []
    return tuple(dict.fromkeys(found))[:100]


def explained(error: BaseException) -> str:
    """The first thing that went wrong, in a sentence that holds nothing of what was received."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ProviderError):
        return str(error)
    if isinstance(error, httpx2.HTTPStatusError):
        return f"The server answered {error.response.status_code}."
    if isinstance(error, MCPError):
        return f"The server answered with the error {error.code}."
    if isinstance(error, httpx2.TimeoutException):
        return "The server did not answer in time."
    if isinstance(error, httpx2.TransportError):
        return "The connection to the server broke."
    if isinstance(error, ValidationError | RecursionError):
        return "The server answered with something that is no list of tools."
    if isinstance(error, FileNotFoundError | PermissionError):
        return "The command could not be started: it is not there, or may not be run."
    return "The session with the server broke."


# ── Servers on pipes ───────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def launched(command: Sequence[str]) -> AsyncIterator[Any]:
    """The pipes of a server that is launched here, as an SDK transport.

    Not the SDK's own: that one reads lines of any length, and leaves alone what a server started when the server itself
    ends by itself. The process gets an environment of names and paths only, nothing of ours that could be a secret.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=get_default_environment(),
        limit=LINE_BYTES,
        start_new_session=True,
    )
    try:
        into, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        write, outof = anyio.create_memory_object_stream[SessionMessage](0)
        async with into, read, write, outof, anyio.create_task_group() as tasks:
            tasks.start_soon(_read_lines, process, into)
            tasks.start_soon(_write_lines, process, outof)
            yield read, write
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _read_lines(process: asyncio.subprocess.Process, into: Any) -> None:
    if process.stdout is None:
        raise RuntimeError("the process was started with pipes")
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async with into:
            # A line over the limit is a ValueError, which ends the session: there is no telling where the next begins.
            while line := await process.stdout.readline():
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValidationError:
                    continue  # servers print banners where only messages belong; clients have learned to look past them
                await into.send(SessionMessage(message))


async def _write_lines(process: asyncio.subprocess.Process, outof: Any) -> None:
    if process.stdin is None:
        raise RuntimeError("the process was started with pipes")
    with suppress(ConnectionError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for item in outof:
            process.stdin.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await process.stdin.drain()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close its input, which well-made servers take for the end; then end the whole group that was started with it."""
    if process.stdin is not None:
        process.stdin.close()
    with anyio.move_on_after(GRACE_SECONDS):
        await process.wait()
    for order in (signal.SIGTERM, signal.SIGKILL):
        if not _is_group_there(process.pid):
            break
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, order)
        await _group_is_gone(process)
    with anyio.move_on_after(GRACE_SECONDS):
        if process.stdout is not None:
            await process.stdout.read()  # what a pipe still holds keeps it open, and the loop would outlive it
        await process.wait()


async def _group_is_gone(process: asyncio.subprocess.Process) -> None:
    with anyio.move_on_after(GRACE_SECONDS):
        while _is_group_there(process.pid):
            await anyio.sleep(0.02)


def _is_group_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
