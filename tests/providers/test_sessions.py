"""Sessions of the MCP SDK, and of whatever else speaks httpx, through the guard."""

import asyncio
import contextlib
import gzip
import secrets
import socket
from collections.abc import AsyncIterator

import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer

from providers.base import Secret
from providers.errors import Refused
from providers.fetch import Guard, Limits, client
from tests.providers.peers import Answer, Asked, Peer, json_answer, redirecting, response, saying, serving

AGENT = "Keyreeve/test"
LOOPBACK = Guard(allow_loopback=True)


def ask(
    answer: Answer, *, method: str = "GET", limits: Limits | None = None, **options
) -> tuple[httpx2.Response, Peer]:
    async def scenario() -> tuple[httpx2.Response, Peer]:
        async with serving(answer) as peer, client(LOOPBACK, user_agent=AGENT, limits=limits) as session:
            return await session.request(method, peer.url("/mcp"), **options), peer

    return asyncio.run(scenario())


@contextlib.asynccontextmanager
async def mcp_server(*, is_older: bool = False) -> AsyncIterator[str]:
    """A server of the SDK with one tool, and its address."""
    server = MCPServer("sample")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    app = server.sse_app() if is_older else server.streamable_http_app()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        runner = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1))
        task = asyncio.create_task(runner.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/{'sse' if is_older else 'mcp'}"
        finally:
            runner.should_exit = True
            await task


def test_the_sdk_lists_tools_through_the_guard():
    async def scenario() -> list[str]:
        async with (
            mcp_server() as url,
            client(LOOPBACK, user_agent=AGENT) as guarded,
            Client(streamable_http_client(url, http_client=guarded)) as session,
        ):
            return [tool.name for tool in (await session.list_tools()).tools]

    assert asyncio.run(scenario()) == ["add"]


def test_the_sdk_lists_tools_over_the_older_transport():
    async def scenario() -> list[str]:
        async with mcp_server(is_older=True) as url:
            older = sse_client(url, httpx_client_factory=lambda **_: client(LOOPBACK, user_agent=AGENT))
            async with Client(older) as session:
                return [tool.name for tool in (await session.list_tools()).tools]

    assert asyncio.run(scenario()) == ["add"]


def test_a_session_reaches_no_internal_address():
    async def scenario() -> Peer:
        async with serving(saying(response())) as peer, client(Guard(), user_agent=AGENT) as session:
            with pytest.raises(httpx2.ConnectError, match="is not a public address"):
                await session.get(peer.url())
        return peer

    assert asyncio.run(scenario()).connections == 0


def test_a_session_says_who_asks_and_sends_no_cookies():
    async def scenario() -> Peer:
        setting = saying(response(200, (("Set-Cookie", "a=b"),)))
        async with serving(setting) as peer, client(LOOPBACK, user_agent=AGENT) as session:
            for _ in range(2):
                await session.get(peer.url())
        return peer

    peer = asyncio.run(scenario())
    assert [asked.header("cookie") for asked in peer.asked] == [None, None]
    assert [asked.header("user-agent") for asked in peer.asked] == [AGENT, AGENT]
    assert peer.connections == 1


def test_headers_go_to_the_origin_that_they_are_bound_to_and_to_no_other():
    token = secrets.token_urlsafe()

    async def scenario() -> tuple[Peer, Peer]:
        async with (
            serving(saying(response())) as bound,
            serving(saying(response())) as other,
            client(
                LOOPBACK,
                user_agent=AGENT,
                bound_to=bound.url("/mcp"),
                headers=[("Authorization", Secret(f"Bearer {token}"))],
            ) as session,
        ):
            await session.get(bound.url("/other"))
            await session.get(other.url("/mcp"))
        return bound, other

    bound, other = asyncio.run(scenario())
    assert bound.asked[0].header("authorization") == f"Bearer {token}"
    assert token not in repr(other.asked)


@pytest.mark.parametrize(("bound_to", "error"), [("", ValueError), ("https://a b/", Refused)])
def test_headers_that_are_bound_to_nothing_are_refused(bound_to, error):
    with pytest.raises(error):
        client(LOOPBACK, user_agent=AGENT, bound_to=bound_to, headers=[("Authorization", "x")])


def test_a_session_follows_no_redirect():
    answered, peer = ask(saying(redirecting("/other")))
    assert answered.status_code == 302
    assert len(peer.asked) == 1


def test_a_compressed_answer_is_read():
    answered, _ = ask(saying(json_answer(gzip.compress(b'{"a": 1}'), ("Content-Encoding", "gzip"))))
    assert answered.json() == {"a": 1}


def test_a_compression_bomb_ends_at_the_limit():
    bomb = saying(response(200, (("Content-Encoding", "gzip"),), gzip.compress(b"0" * 50_000_000)))
    with pytest.raises(httpx2.ReadError, match="larger than 1 MiB"):
        ask(bomb)


def dripping(content_type: str) -> Answer:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n".encode())
        while not writer.is_closing():
            writer.write(b": x\n\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    return answer


def test_a_drip_ends_with_the_time():
    with pytest.raises(httpx2.ReadTimeout):
        ask(dripping("text/event-stream"), method="POST", limits=Limits(seconds=0.3))


def test_a_standing_event_stream_may_last_while_something_comes():
    async def scenario() -> int:
        async with (
            serving(dripping("text/event-stream")) as peer,
            client(LOOPBACK, user_agent=AGENT, limits=Limits(seconds=0.2)) as session,
            session.stream("GET", peer.url()) as answered,
        ):
            count = 0
            async for _ in answered.aiter_bytes():
                count += 1
                if count == 30:
                    break
            return count

    assert asyncio.run(scenario()) == 30


def test_a_server_that_answers_nothing_ends_with_the_time():
    async def silence(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    with pytest.raises(httpx2.ReadTimeout):
        ask(silence, limits=Limits(seconds=0.2))


def test_what_is_no_http_is_an_error_that_the_sdk_knows():
    with pytest.raises(httpx2.RemoteProtocolError):
        ask(saying(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"))


def test_a_session_that_ends_closes_what_is_still_open():
    ended = asyncio.Event()

    async def until_closed(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        try:
            while True:
                writer.write(b": x\n\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            ended.set()
            raise

    async def scenario() -> None:
        async with serving(until_closed) as peer:
            async with client(LOOPBACK, user_agent=AGENT) as session:
                await session.send(session.build_request("GET", peer.url()), stream=True)
            await asyncio.wait_for(ended.wait(), 5)

    asyncio.run(scenario())
    assert ended.is_set()
