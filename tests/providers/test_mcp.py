"""A probe against real servers: what it sees, what it sends, and what it never does."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from demo import servers as demo
from providers.base import Secret
from providers.errors import Refused
from providers.guard import Guard, parse_target
from providers.mcp import Budget, TestCredentials, observe, observe_all, observe_launched
from providers.mcp_requests import legacy, modern
from providers.mcp_tools import PAGES
from providers.observations import SafetyClass, ServerObservation
from providers.questions import Question
from tests.ports import free_ports
from tests.providers.mcp_peers import (
    ADD,
    BOTH,
    ISSUER,
    METADATA_AT_PATH,
    MODERN,
    NOW,
    QUICK,
    USER_AGENT,
    McpPeer,
    look,
    observed,
    reaching,
)
from tests.providers.peers import Asked, json_answer, redirecting, response, saying, serving

CREDENTIALED = frozenset({SafetyClass.CREDENTIALED})
GATED: dict[str, Any] = {"tokens": {"good": 200}}


# ── What it sees ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25", MODERN])
def test_a_server_of_any_era_is_recognised(version: str) -> None:
    seen = look(McpPeer(versions=(version,)))
    assert (seen.era, seen.protocol_versions, seen.stopped) == (version, (version,), "")


def test_a_server_of_two_eras_is_known_by_both() -> None:
    seen = look(McpPeer(versions=BOTH))
    assert (seen.era, seen.protocol_versions) == (MODERN, BOTH)
    assert (seen.server_name, seen.server_version) == ("Notes", "1.0")


def test_a_refusal_says_nothing_of_the_era() -> None:
    seen = look(McpPeer(**GATED))
    assert (seen.era, seen.protocol_versions) == ("", ())


def test_the_versions_that_a_refusal_names_count_as_spoken() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"x","data":{"supported":["2027-01-01"]}}}'
    seen = look_at(saying(json_answer(body, status=400)))
    assert seen.protocol_versions == ("2027-01-01",)


@pytest.mark.parametrize(("status", "code"), [(400, -32020), (400, -32021), (400, -32022), (404, -32601)])
def test_an_error_that_only_the_newest_version_knows_tells_the_era(status: int, code: int) -> None:
    seen = look_at(
        saying(json_answer(b'{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":"x"}}' % code, status=status))
    )
    assert seen.protocol_versions == (MODERN,)


@pytest.mark.parametrize(("status", "code"), [(400, -32601), (404, -32001), (200, -32601)])
def test_an_error_of_any_version_tells_no_era(status: int, code: int) -> None:
    seen = look_at(
        saying(json_answer(b'{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":"x"}}' % code, status=status))
    )
    assert seen.protocol_versions == ()


def test_the_issuers_come_from_the_metadata_that_the_challenge_names() -> None:
    seen = look(McpPeer(**GATED))
    assert seen.issuers == (ISSUER,)
    assert seen.exchanges[Question.METADATA_NAMED].status == 200
    assert Question.METADATA_AT_PATH not in seen.exchanges


def test_metadata_is_found_where_a_redirect_leads_and_no_credential_follows() -> None:
    document = json_answer(b'{"resource":"https://h/mcp","authorization_servers":["https://id.example"]}')
    asked: list[Asked] = []

    async def scenario() -> ServerObservation:
        async def server(question: Asked, writer: asyncio.StreamWriter) -> None:
            asked.append(question)
            if question.path == METADATA_AT_PATH:
                writer.write(redirecting("/elsewhere", 308))
            elif question.path == "/elsewhere":
                writer.write(document)
            else:
                writer.write(response(401, (("WWW-Authenticate", "Bearer"),)))

        async with serving(server) as peer, reaching() as fetcher:
            return await observe(peer.url("/mcp"), fetcher=fetcher, now=NOW, budget=QUICK, token=Secret("good"))

    assert asyncio.run(scenario()).issuers == ("https://id.example",)
    assert {each.path for each in asked if each.header("authorization")} == {"/mcp"}


def test_without_metadata_the_host_itself_may_be_the_issuer() -> None:
    server = McpPeer(**GATED, metadata=None, is_own_issuer=True)
    seen = look(server)
    assert seen.issuers == (server.base,)


def test_tools_are_seen_with_their_annotations_and_a_digest() -> None:
    (tool,) = look(McpPeer()).tools or ()
    assert (tool.name, tool.description, tool.is_read_only, tool.is_destructive) == ("add", "Add.", True, None)
    assert len(tool.schema_digest) == 64


@pytest.mark.parametrize("part", ["description", "inputSchema", "outputSchema", "annotations"])
def test_the_digest_covers_every_part_of_a_definition(part: str) -> None:
    values = {"description": "Other.", "annotations": {"readOnlyHint": False}}
    changed = {**ADD, part: values.get(part, {"type": "object", "properties": {"x": {"type": "string"}}})}
    (before,) = look(McpPeer()).tools or ()
    (after,) = look(McpPeer(tools=(changed,))).tools or ()
    assert before.schema_digest != after.schema_digest


def test_tools_behind_a_gate_are_listed_with_the_credential_given_for_it() -> None:
    seen = look(McpPeer(**GATED), token=Secret("good"))
    assert [tool.name for tool in seen.tools or ()] == ["add"]
    assert (seen.is_listed_anonymously, seen.protocol_versions) == (False, BOTH)


def test_without_a_credential_the_reason_stands_in_place_of_tools() -> None:
    seen = look(McpPeer(**GATED))
    assert seen.tools is None
    assert seen.tools_error == "Its tools are listed only to who has a credential, and none was given."


def test_a_server_that_refuses_with_403_gets_the_credential_given_for_it_too() -> None:
    seen = look(McpPeer(**GATED, refusal=403), token=Secret("good"))
    assert [tool.name for tool in seen.tools or ()] == ["add"]


def test_a_version_that_is_none_is_not_taken_for_one() -> None:
    seen = look(McpPeer(versions=("2025-11-25",), spoken="~newest~"))
    assert (seen.era, seen.protocol_versions) == ("", ())


def test_what_is_kept_of_a_long_answer_is_short() -> None:
    tools = tuple({**ADD, "name": f"add{number}", "description": "x" * 5000} for number in range(50))
    seen = look(McpPeer(tools=tools))
    assert len(seen.tools or ()) == 50
    assert len(repr(seen.exchanges[Question.TOOLS])) < 20_000


def test_a_credential_that_is_not_accepted_is_said_to_be_so() -> None:
    seen = look(McpPeer(**GATED), token=Secret("bad"))
    assert (seen.tools, seen.tools_error) == (None, "The credential was not accepted.")


def test_an_endless_list_of_tools_is_cut_off_and_said_to_be() -> None:
    class Endless(McpPeer):
        pages = 0

        def _answered(self, asked: Asked, message: dict[str, Any]) -> bytes:
            if message["method"] != "tools/list":
                return super()._answered(asked, message)
            self.pages += 1
            tool = {**ADD, "name": f"add{self.pages}"}
            return self._result(message, {"tools": [tool], "nextCursor": str(self.pages), **self._page()})

    seen = look(Endless())
    assert len(seen.tools or ()) == PAGES
    assert seen.tools_error == f"Only the first {PAGES} pages of tools were listed."


def test_a_listing_that_goes_in_circles_is_left() -> None:
    class Circular(McpPeer):
        def _answered(self, asked: Asked, message: dict[str, Any]) -> bytes:
            if message["method"] != "tools/list":
                return super()._answered(asked, message)
            return self._result(message, {"tools": [ADD], "nextCursor": "again", **self._page()})

    assert look(Circular()).tools_error == "The listing repeats itself; only what came before was taken."


def test_a_list_that_is_no_list_of_tools_is_said_to_be_none() -> None:
    seen = look(McpPeer(tools=({"name": 7},)))
    assert (seen.tools, seen.tools_error) == (
        None,
        "The server answered with something that is no list of tools.",
    )


# ── What it sends, and what it never does ──────────────────────────────────────────────────────

EVERYTHING: dict[str, Any] = {
    "token": Secret("good"),
    "opted_in": CREDENTIALED,
    "credentials": TestCredentials(expired=Secret("expired"), other_audience=Secret("other"), low_scope=Secret("low")),
}


@pytest.mark.parametrize("server", [McpPeer(), McpPeer(**GATED), McpPeer(versions=("2025-03-26",))])
def test_a_probe_only_shakes_hands_and_lists(server: McpPeer) -> None:
    look(server, **EVERYTHING)
    assert set(server.methods()) <= {"server/discover", "initialize", "notifications/initialized", "tools/list"}


@pytest.mark.parametrize("build", [modern, lambda method: legacy(method, "2025-11-25", "")])
def test_a_request_that_would_do_something_cannot_be_built(build: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match="does not send tools/call"):
        build("tools/call")


def test_lending_a_token_for_a_method_that_does_something_is_refused() -> None:
    with pytest.raises(ValueError, match="only list"):
        TestCredentials(low_scope_method="tools/call")


@pytest.mark.parametrize("server", [McpPeer(), McpPeer(**GATED, gated=("tools/list",)), McpPeer(**GATED)])
def test_every_session_that_a_probe_opened_is_ended(server: McpPeer) -> None:
    look(server, **EVERYTHING)
    assert server.live_sessions == {}
    assert next(server.sessions_opened) > 0


def test_a_probe_that_is_cut_short_ends_its_sessions_too() -> None:
    server = McpPeer(versions=("2025-11-25",), silent=("tools/list",))
    seen = look(server, budget=Budget(request=0.5, stream=0.2, whole=5))
    assert "took longer" in seen.stopped
    assert server.live_sessions == {}


def test_every_request_says_who_asks() -> None:
    server = McpPeer(**GATED)
    look(server, **EVERYTHING)
    assert {asked.header("user-agent") for asked in server.peer.asked} == {USER_AGENT}


def test_without_a_credential_none_but_made_up_ones_is_sent() -> None:
    server = McpPeer(**GATED)
    look(server, opted_in=CREDENTIALED)
    sent = {asked.header("authorization") for asked in server.peer.asked if asked.header("authorization")}
    assert len(sent) == 3  # no token at all, one without a signature, one signed by a stranger
    assert sum(value.count(".") == 2 for value in sent if value) == 2


def test_a_credential_is_not_sent_to_a_server_that_asks_for_none() -> None:
    server = McpPeer()
    look(server, token=Secret("good"), opted_in=CREDENTIALED)
    assert not any("good" in repr(asked) for asked in server.peer.asked)


def test_a_credential_stays_out_of_the_query_string_unless_that_is_opted_in() -> None:
    server = McpPeer(**GATED)
    look(server, token=Secret("good"))
    assert not any("access_token" in asked.path for asked in server.peer.asked)


def test_a_credential_is_sent_nowhere_but_to_its_own_server() -> None:
    async def scenario() -> tuple[list[Asked], list[Asked]]:
        async with serving(saying(json_answer(b'{"resource":"x"}'))) as elsewhere:
            challenge = f'Bearer resource_metadata="{elsewhere.url("/metadata")}"'
            server = McpPeer(**GATED, challenge=challenge)
            await observed(server, **EVERYTHING)
            return server.peer.asked, elsewhere.asked

    own, others = asyncio.run(scenario())
    assert any(asked.header("authorization") == "Bearer good" for asked in own)
    assert others
    assert not any(asked.header("authorization") for asked in others)


def test_a_credential_does_not_follow_a_redirect() -> None:
    async def scenario() -> list[Asked]:
        async with serving(saying(response(200))) as elsewhere:

            class Leading(McpPeer):
                def _answered(self, asked: Asked, message: dict[str, Any]) -> bytes:
                    return response(307, (("Location", elsewhere.url("/mcp")),))

            await observed(Leading(**GATED), **EVERYTHING)
            return elsewhere.asked

    assert asyncio.run(scenario()) == []


def test_an_observation_does_not_hold_the_credential() -> None:
    seen = look(McpPeer(**GATED, takes_query=True), **EVERYTHING)
    assert seen.exchanges[Question.QUERY_TOKEN].status == 200
    assert "good" not in repr(seen).replace("Secret", "")


# ── Hosts that do not answer as they should ────────────────────────────────────────────────────


def test_a_dead_host_is_asked_once() -> None:
    server = McpPeer(silent=("server/discover",))
    seen = look(server, budget=Budget(request=0.3, whole=10))
    assert len(server.peer.asked) == 1
    assert seen.stopped == f"127.0.0.1:{server.peer.port} took longer than 0.3 s."


def test_a_server_that_asks_for_quiet_is_left_alone() -> None:
    server = McpPeer(broken={"initialize": 429})
    seen = look(server)
    assert server.methods() == ["server/discover", "initialize"]
    assert seen.stopped == "The server asked to be asked less often (429)."


def test_a_probe_as_a_whole_takes_a_bounded_time() -> None:
    async def scenario() -> ServerObservation:
        async def slow(asked: Asked, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.3)
            writer.write(response(404))

        async with serving(slow) as peer, reaching() as fetcher:
            budget = Budget(request=2, whole=1)
            return await observe(peer.url("/mcp"), fetcher=fetcher, now=NOW, budget=budget)

    assert asyncio.run(scenario()).stopped == "The probe was ended after 1 s."


@pytest.mark.parametrize(
    "answer",
    [
        json_answer(b"[" * 10_000),
        json_answer(b'{"result":{"supportedVersions":7,"protocolVersion":[]},"jsonrpc":"2.0"}'),
        json_answer(b"null"),
        response(200, (("Content-Type", "text/event-stream"),), b"data: {broken\n\n"),
        response(200, (("Content-Type", "text/html"), ("Mcp-Session-Id", "x" * 5000)), b"<html>"),
        response(401, (("WWW-Authenticate", 'Bearer resource_metadata="://"'),)),
        response(401, (("WWW-Authenticate", 'Bearer resource_metadata="http://[x"'),)),
        response(401, (("WWW-Authenticate", 'Bearer resource_metadata="file:///etc/passwd"'),)),
        response(401, (("WWW-Authenticate", 'Bearer resource_metadata="http://169.254.169.254/latest"'),)),
        response(302, (("Location", "http://169.254.169.254/"),)),
        b"not http at all\r\n\r\n",
    ],
)
def test_a_hostile_answer_is_observed_and_nothing_is_raised(answer: bytes) -> None:
    seen = look_at(saying(answer))
    assert Question.DISCOVER in seen.exchanges
    assert seen.tools is None


@pytest.mark.parametrize("url", ["", "mcp", "ftp://127.0.0.1/", "http://[::1", "http://169.254.169.254/mcp"])
def test_what_is_no_address_of_a_server_is_refused_with_a_sentence(url: str) -> None:
    async def scenario() -> ServerObservation:
        async with reaching() as fetcher:
            return await observe(url, fetcher=fetcher, now=NOW, budget=QUICK)

    assert asyncio.run(scenario()).stopped.endswith(".")


def test_a_dead_host_among_many_slows_nobody() -> None:
    async def scenario() -> list[str]:
        others_are_done = asyncio.Event()

        async def dead(asked: Asked, writer: asyncio.StreamWriter) -> None:
            await others_are_done.wait()
            writer.write(response(404))

        async with contextlib.AsyncExitStack() as stack:
            fetcher = await stack.enter_async_context(reaching())
            urls = [(await stack.enter_async_context(serving(dead))).url("/mcp")]
            servers = [McpPeer(versions=(MODERN,)) for _ in range(12)]
            for server in servers:
                server.peer = await stack.enter_async_context(serving(server))
                urls.append(server.url)
            seen = []
            async for found in observe_all(urls, fetcher=fetcher, clock=lambda: NOW, at_once=4, budget=QUICK):
                seen.append(found.url)
                if len(seen) == len(servers):
                    others_are_done.set()
            return seen if seen[-1] == urls[0] else []

    assert len(asyncio.run(scenario())) == 13


def test_among_many_servers_a_credential_goes_to_the_one_it_was_given_for() -> None:
    async def scenario() -> list[set[str | None]]:
        async with contextlib.AsyncExitStack() as stack:
            fetcher = await stack.enter_async_context(reaching())
            servers = [McpPeer(**GATED) for _ in range(3)]
            for server in servers:
                server.peer = await stack.enter_async_context(serving(server))
            tokens = {servers[1].url: Secret("good")}
            urls = [server.url for server in servers]
            found = observe_all(urls, fetcher=fetcher, clock=lambda: NOW, tokens=tokens, budget=QUICK)
            assert [seen.tools is not None async for seen in found].count(True) == 1
            return [{asked.header("authorization") for asked in server.peer.asked} for server in servers]

    first, second, third = asyncio.run(scenario())
    assert "Bearer good" in second
    assert "Bearer good" not in first | third


def test_asking_over_plain_http_opens_plain_http_alone() -> None:
    public, internal = ip_address("93.184.215.14"), ip_address("10.0.0.1")
    open_guard = Guard(allow_plain_http=True)
    open_guard.check(parse_target("http://a.example/"), [public])
    with pytest.raises(Refused):
        Guard().check(parse_target("http://a.example/"), [public])
    with pytest.raises(Refused):
        open_guard.check(parse_target("http://a.example/"), [internal])


def test_leaving_a_run_early_leaves_no_probe_behind() -> None:
    async def scenario() -> int:
        server = McpPeer()
        async with serving(server) as peer, reaching() as fetcher:
            server.peer = peer
            found = observe_all([server.url] * 50, fetcher=fetcher, clock=lambda: NOW, at_once=5, budget=QUICK)
            async for _ in found:
                break
            await found.aclose()  # type: ignore[attr-defined]
            before = len(peer.asked)
            await asyncio.sleep(0)
            return len(peer.asked) - before

    assert asyncio.run(scenario()) == 0


# ── The SDK's own servers ──────────────────────────────────────────────────────────────────────


class Recorder:
    """Passes requests on to an application and remembers what they were."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.bodies = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def remembering() -> Any:
            message = await receive()
            self.bodies += message.get("body", b"")
            return message

        if scope["type"] == "http":
            headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
            self.asked.append((scope["method"], scope["path"], headers))
        await self.app(scope, remembering, send)


@contextlib.asynccontextmanager
async def company(*, tokens: dict[str, dict[str, Any]] | None = None, **setup: Any) -> AsyncIterator[demo.Setup]:
    """An issuer that knows these tokens, and ports for the demo's servers."""

    async def introspect(asked: Asked, writer: asyncio.StreamWriter) -> None:
        token = dict(httpx2.QueryParams(asked.body.decode())).get("token", "")
        known = (tokens or {}).get(token)
        body = httpx2.Response(200, json={"active": True, "client_id": "c", **known} if known else {"active": False})
        writer.write(json_answer(body.content))

    async with serving(introspect) as issuer:
        yield demo.Setup(port_base=free_ports(len(demo.NAMES)), issuer=issuer.url("/o"), **setup)


async def probing(setup: demo.Setup, name: str, **asked: Any) -> tuple[ServerObservation, Recorder]:
    recorder = Recorder(demo.applications(setup)[name])
    port = setup.port_base + demo.NAMES.index(name)
    async with demo.serving(recorder, port), reaching() as fetcher:
        return await observe(setup.url(name), fetcher=fetcher, now=NOW, **{"budget": QUICK, **asked}), recorder


def probe_demo(name: str, **asked: Any) -> tuple[ServerObservation, Recorder]:
    async def scenario() -> tuple[ServerObservation, Recorder]:
        async with company(static_key="a-static-key") as setup:
            return await probing(setup, name, **asked)

    return asyncio.run(scenario())


def test_an_anonymous_server_of_the_sdk_is_seen_whole() -> None:
    seen, recorder = probe_demo("notes")
    assert [(tool.name, tool.is_read_only, tool.is_destructive) for tool in seen.tools or ()] == [
        ("search_notes", True, None),
        ("write_note", None, None),
        ("delete_all_notes", False, True),
    ]
    assert (seen.protocol_versions, seen.is_listed_anonymously) == (("2025-11-25", MODERN), True)
    assert b"tools/call" not in recorder.bodies
    assert {headers["user-agent"] for _, _, headers in recorder.asked} == {USER_AGENT}


def test_a_server_with_a_static_key_lists_its_tools_to_who_holds_it() -> None:
    seen, _ = probe_demo("billing", token=Secret("a-static-key"))
    assert [tool.name for tool in seen.tools or ()] == ["list_invoices"]


def test_a_server_with_oauth_lists_its_tools_for_a_token_that_is_meant_for_it() -> None:
    async def scenario() -> ServerObservation:
        tokens: dict[str, dict[str, Any]] = {}
        async with company(tokens=tokens) as setup:
            tokens["meant"] = {"scope": "mcp:tools", "aud": [setup.url("payroll")]}
            tokens["other"] = {"scope": "mcp:tools", "aud": ["https://other.example"]}
            lent = TestCredentials(other_audience=Secret("other"))
            seen, _ = await probing(setup, "payroll", token=Secret("meant"), credentials=lent, opted_in=CREDENTIALED)
            return seen

    seen = asyncio.run(scenario())
    assert [tool.name for tool in seen.tools or ()] == ["list_payslips"]
    assert seen.exchanges[Question.OTHER_AUDIENCE].status == 401
    assert seen.exchanges[Question.FOREIGN_ORIGIN].status == 403


def test_a_server_that_takes_any_token_of_its_issuer_is_found_out() -> None:
    async def scenario() -> ServerObservation:
        tokens: dict[str, dict[str, Any]] = {}
        async with company(tokens=tokens) as setup:
            tokens["other"] = {"scope": "mcp:tools", "aud": ["https://other.example"]}
            lent = TestCredentials(other_audience=Secret("other"))
            seen, _ = await probing(setup, "analytics", credentials=lent, opted_in=CREDENTIALED)
            return seen

    assert asyncio.run(scenario()).exchanges[Question.OTHER_AUDIENCE].status == 200


def test_a_server_of_the_transport_before_is_listed_too() -> None:
    seen, recorder = probe_demo("archive")
    assert (seen.transport, [tool.name for tool in seen.tools or ()]) == ("sse", ["read_file"])
    assert {headers["user-agent"] for _, _, headers in recorder.asked} == {USER_AGENT}


def test_the_transport_before_is_listed_behind_a_key_too() -> None:
    async def scenario() -> ServerObservation:
        app = demo.StaticKey(demo.archive().sse_app(), "a-static-key")
        async with company() as setup, demo.serving(app, setup.port_base), reaching() as fetcher:
            url = f"http://{demo.HOST}:{setup.port_base}/sse"
            return await observe(url, fetcher=fetcher, now=NOW, token=Secret("a-static-key"), budget=QUICK)

    seen = asyncio.run(scenario())
    assert (seen.transport, [tool.name for tool in seen.tools or ()]) == ("sse", ["read_file"])
    assert not seen.is_listed_anonymously


def test_a_tool_that_changes_between_two_probes_has_another_digest(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        change = tmp_path / "changed"
        digests = []
        async with company(change=change) as setup:
            for _ in range(2):
                seen, _ = await probing(setup, "search")
                digests += [tool.schema_digest for tool in seen.tools or ()]
                change.touch()
        return digests

    before, after = asyncio.run(scenario())
    assert before != after


def test_a_server_written_by_hand_in_spring_2025_is_understood() -> None:
    seen, _ = probe_demo("tickets")
    assert (seen.protocol_versions, len(seen.issuers)) == (("2025-03-26",), 1)
    assert seen.exchanges[Question.TOOLS].status == 401


# ── Servers on pipes ───────────────────────────────────────────────────────────────────────────

PIPED = """
import os, subprocess, sys
from mcp.server import MCPServer
child = subprocess.Popen(["sleep", "600"])
server = MCPServer("Piped", version="1", log_level="CRITICAL")
@server.tool()
def environment() -> str:
    "x"
    return ""
server._lowlevel_server.name = ",".join(sorted(os.environ)) + f"|{child.pid}"
print("a banner where only messages belong", flush=True)
server.run("stdio")
"""


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def launch(tmp_path: Path, script: str, **asked: Any) -> ServerObservation:
    path = tmp_path / "server.py"
    path.write_text(script)
    return asyncio.run(observe_launched([sys.executable, str(path)], now=NOW, **asked))


def test_a_launched_server_lists_its_tools_and_is_gone_with_all_it_started(tmp_path: Path) -> None:
    seen = launch(tmp_path, PIPED)
    assert [tool.name for tool in seen.tools or ()] == ["environment"]
    assert not is_running(int(seen.server_name.partition("|")[2]))


def test_a_launched_server_sees_no_secret_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYREEVE_SECRET_KEY", "made up for this test")
    names = launch(tmp_path, PIPED).server_name.partition("|")[0].split(",")
    assert set(names) <= {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LC_CTYPE"}


def test_a_launched_program_that_says_nothing_is_ended_in_time(tmp_path: Path) -> None:
    begun = time.monotonic()
    seen = launch(tmp_path, "import time\ntime.sleep(600)", seconds=1)
    assert (seen.tools, seen.tools_error) == (None, "Listing the tools took longer than 1 s.")
    assert time.monotonic() - begun < 120


def test_a_launched_program_that_floods_its_pipe_is_ended(tmp_path: Path) -> None:
    seen = launch(tmp_path, "import sys\nwhile True: sys.stdout.write('x' * 65536)", seconds=10)
    assert seen.tools is None


def test_a_command_that_is_not_there_is_said_not_to_be() -> None:
    seen = asyncio.run(observe_launched(["/nowhere/server", "--key=x"], now=NOW))
    assert seen.tools_error == "The command could not be started: it is not there, or may not be run."
    assert (seen.url, seen.transport) == ("stdio:server", "stdio")


# ── Helpers ────────────────────────────────────────────────────────────────────────────────────


def look_at(answer: Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]) -> ServerObservation:
    async def scenario() -> ServerObservation:
        async with serving(answer) as peer, reaching() as fetcher:
            return await observe(peer.url("/mcp"), fetcher=fetcher, now=NOW, budget=QUICK)

    return asyncio.run(scenario())
