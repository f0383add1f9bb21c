"""`manage.py probe`: its document, its tables, its exit codes, and whom it gives a credential."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from inventory.management.commands.probe import Command
from tests.providers.mcp_peers import ADD, BOTH, MODERN, McpPeer
from tests.providers.peers import json_answer, response, saying, serving

GATED: dict[str, Any] = {"tokens": {"good": 200}}


Done = subprocess.CompletedProcess[str]


def by_itself(*arguments: str, **environ: str) -> Done:
    """The command as people run it: a process of its own, which has no database to ask."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KEYREEVE_", "DATABASE_"))}
    return subprocess.run(
        [sys.executable, "manage.py", "probe", *arguments],
        cwd=settings.BASE_DIR,
        env={**kept, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "COLUMNS": "160", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def probe(*arguments: str, **environ: str) -> Done:
    """The command in this process, from the words of its line to its exit code. No database is open to these tests."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in {"COLUMNS": "160", **environ}.items():
            patch.setenv(name, value)
        with override_settings(ALLOW_LOOPBACK=True):
            try:
                Command(stdout=out, stderr=err).run_from_argv(["manage.py", "probe", *arguments])
            except SystemExit as ended:
                code = int(ended.code or 0)
    return Done(["probe", *arguments], code, out.getvalue(), err.getvalue())


def probed(
    *servers: McpPeer, arguments: tuple[str, ...] = (), how: Callable[..., Done] = probe, **environ: str
) -> Done:
    """The command over servers that live for as long as it takes."""

    async def scenario(left: list[McpPeer]) -> Done:
        if left:
            async with serving(left[0]) as peer:
                left[0].peer = peer
                return await scenario(left[1:])
        given = [server.url for server in servers]
        return await asyncio.to_thread(how, *given, *arguments, **environ)

    return asyncio.run(scenario(list(servers)))


def test_one_url_gives_one_document() -> None:
    server = McpPeer()
    line = ("--format", "json", "--fail-on", "critical")
    done = probed(server, arguments=line, how=by_itself, KEYREEVE_ALLOW_LOOPBACK="1")
    document = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert set(document) == {"server", "authorization_servers", "checks", "tools", "tools_error"}
    assert (document["server"]["url"], document["server"]["protocol_versions"]) == (server.url, list(BOTH))
    anonymous = next(check for check in document["checks"] if check["id"] == "MCP-RS-01")
    assert (anonymous["subject"], anonymous["verdict"], anonymous["severity"]) == (server.url, "violated", "critical")
    assert anonymous["evidence"]["said"] == "It lists 1 tool to anybody, without any credential."
    (tool,) = document["tools"]
    assert (tool["name"], tool["read_only"], len(tool["digest"])) == ("add", True, 64)


def test_several_urls_give_a_list_in_their_order() -> None:
    servers = [McpPeer(), McpPeer(versions=(MODERN,)), McpPeer(**GATED)]
    documents = json.loads(probed(*servers, arguments=("--format", "json")).stdout)
    assert [document["server"]["url"] for document in documents] == [server.url for server in servers]


def test_the_authorization_servers_that_a_server_names_are_looked_at_too() -> None:
    async def scenario() -> tuple[McpPeer, Done]:
        async def issuer(asked: Any, writer: asyncio.StreamWriter) -> None:
            base = f"http://127.0.0.1:{place.port}"
            metadata = {"issuer": base, "authorization_endpoint": f"{base}/a", "token_endpoint": f"{base}/t"}
            is_metadata = asked.path == "/.well-known/oauth-authorization-server"
            writer.write(json_answer(json.dumps(metadata).encode()) if is_metadata else response(404))

        async with serving(issuer) as place:
            server = McpPeer(**GATED, metadata={"authorization_servers": [f"http://127.0.0.1:{place.port}"]})
            async with serving(server) as peer:
                server.peer = peer
                return server, await asyncio.to_thread(probe, server.url, "--format", "json")

    _, done = asyncio.run(scenario())
    document = json.loads(done.stdout)
    (issuer,) = document["authorization_servers"]
    verdicts = {check["id"]: check["verdict"] for check in document["checks"] if check["subject"] == issuer["issuer"]}
    assert verdicts["MCP-AS-01"] == "met"
    assert verdicts["MCP-AS-04"] == "violated"


def test_people_get_the_worst_first_and_a_count_of_the_rest() -> None:
    done = probed(McpPeer(foreign_origin=None))
    assert done.stdout.index("MCP-RS-01") < done.stdout.index("MCP-RS-19")
    assert "2 violated" not in done.stdout.splitlines()[0]
    assert "not applicable." in done.stdout


def test_what_a_server_calls_itself_gives_the_terminal_no_orders() -> None:
    class Rude(McpPeer):
        @staticmethod
        def _info() -> dict[str, str]:
            return {"name": "\x1b[31m[red]Notes\u202e", "version": "1"}

    done = probed(Rude())
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "[red]Notes" in done.stdout


@pytest.mark.parametrize(("level", "code"), [("critical", 1), ("none", 0)])
def test_the_exit_code_says_whether_something_bad_enough_is_violated(level: str, code: int) -> None:
    assert probed(McpPeer(), arguments=("--fail-on", level)).returncode == code


def test_what_is_less_bad_than_asked_fails_nothing() -> None:
    server = McpPeer(**GATED, challenge='Bearer resource_metadata="{base}/.well-known/oauth-protected-resource/mcp"')
    assert probed(server, arguments=("--fail-on", "high")).returncode == 0
    assert probed(server, arguments=("--fail-on", "low")).returncode == 1


def test_a_server_that_is_not_reached_is_a_failure() -> None:
    done = probe("http://127.0.0.1:1/mcp")
    assert (done.returncode, "connection refused" in done.stdout) == (3, True)


def test_this_machine_is_closed_unless_it_was_opened() -> None:
    server = McpPeer()
    done = probed(server, how=by_itself, KEYREEVE_ALLOW_LOOPBACK="0")
    assert done.returncode == 3
    assert server.peer.asked == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name at least one URL"),
        (("ftp://a.example",), "no http or https address"),
        (("https://a.example", "--opt-in", "X"), "--opt-in takes C, M"),
        (("https://a.example", "https://b.example", "--token", "env://T"), "for one server"),
        (("https://a.example", "--token", "sk-pasted-by-mistake"), "A reference begins with env://"),
        (("https://a.example", "--token", "env://KEYREEVE_NOT_THERE"), "holds no secret"),
        (("https://a.example", "--client-id", "c"), "--client-issuer"),
        (("https://a.example", "--revocable-token", "env://T"), "--revocation-endpoint"),
        (("https://a.example", "--previous", "/nowhere.json"), "cannot be read"),
        (("https://a.example", "--fail-on", "dreadful"), "invalid choice"),
        (("https://a.example", "--low-scope-method", "tools/call"), "invalid choice"),
    ],
)
def test_a_wrong_command_line_gets_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    done = probe(*arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
    assert "sk-pasted-by-mistake" not in done.stdout + done.stderr


def test_a_credential_is_read_by_reference_and_shown_nowhere(tmp_path: Path) -> None:
    token = token_urlsafe()
    (tmp_path / "token").write_text(f"{token}\n")
    server = McpPeer(tokens={token: 200})
    done = probed(server, arguments=("--token", f"file://{tmp_path}/token", "--format", "json"))
    assert [tool["name"] for tool in json.loads(done.stdout)["tools"]] == ["add"]
    assert any(asked.header("authorization") == f"Bearer {token}" for asked in server.peer.asked)
    assert token not in done.stdout + done.stderr


def test_test_credentials_are_used_only_when_opted_in() -> None:
    environ = {"OLD": "expired-a-year-ago", "GOOD": "good"}
    given = ("--token", "env://GOOD", "--expired-token", "env://OLD", "--format", "json")
    server = McpPeer(**GATED)
    probed(server, arguments=given, **environ)
    assert not any("expired" in (asked.header("authorization") or "") for asked in server.peer.asked)
    document = json.loads(probed(server, arguments=(*given, "--opt-in", "C"), **environ).stdout)
    assert next(check["verdict"] for check in document["checks"] if check["id"] == "MCP-RS-14") == "met"


def test_what_was_printed_before_is_what_drift_is_measured_against(tmp_path: Path) -> None:
    server = McpPeer()
    before = tmp_path / "before.json"

    async def scenario() -> list[dict[str, Any]]:
        async with serving(server) as peer:
            server.peer = peer
            first = await asyncio.to_thread(probe, server.url, "--format", "json")
            before.write_text(first.stdout)
            server.tools = ({**ADD, "description": "Add, and tell somebody."},)
            given = (server.url, "--previous", str(before), "--format", "json")
            second = await asyncio.to_thread(probe, *given)
            return [json.loads(first.stdout), json.loads(second.stdout)]

    first, second = asyncio.run(scenario())
    assert first["server"]["digest"] != second["server"]["digest"]
    (drift,) = [check for check in second["checks"] if check["id"] == "MCP-RS-29"]
    assert (drift["verdict"], drift["evidence"]["said"]) == ("violated", "The definition of add changed.")


def test_a_server_on_pipes_is_launched_only_by_its_command(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(
        "from mcp.server import MCPServer\n"
        "server = MCPServer('Piped', version='1', log_level='CRITICAL')\n"
        "@server.tool()\n"
        "def add(a: int) -> int: return a\n"
        "server.run('stdio')\n"
    )
    done = probe("--format", "json", "--launch", sys.executable, str(script))
    document = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (document["server"]["transport"], [tool["name"] for tool in document["tools"]]) == ("stdio", ["add"])
    assert str(script) not in done.stdout


def test_a_page_that_is_no_server_is_unknown_and_not_fine() -> None:
    async def scenario() -> Done:
        async with serving(saying(response(200, (("Content-Type", "text/html"),), b"<html>hello</html>"))) as peer:
            return await asyncio.to_thread(probe, peer.url("/"), "--format", "json")

    document = json.loads(asyncio.run(scenario()).stdout)
    assert {check["verdict"] for check in document["checks"]} == {"unknown", "not_applicable"}
