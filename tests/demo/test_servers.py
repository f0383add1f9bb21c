"""The demo's MCP servers together with its authorization server: each probe says what the server was built to be."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from demo import servers as demo
from inventory.probing import Lent, Looked, look
from inventory.states import Verdict
from providers.base import Secret
from providers.mcp import TestCredentials
from providers.observations import SafetyClass
from tests.authorization_server import ROOT, AuthorizationServer
from tests.ports import free_ports
from tests.providers.mcp_peers import NOW, reaching

CREDENTIALED = frozenset({SafetyClass.CREDENTIALED})


@contextmanager
def running(server: AuthorizationServer, folder: Path) -> Iterator[demo.Setup]:
    """All of them in a process of their own, as `make demo` starts them."""
    (folder / "static-key").write_text("a-key-of-the-demo")
    setup = demo.Setup(port_base=free_ports(len(demo.NAMES)), issuer=server.issuer, change=folder / "change")
    options = {
        "--port-base": str(setup.port_base),
        "--issuer": server.issuer,
        "--introspection-id": server.places["introspection_client_id"],
        "--introspection-secret": server.places["files"]["introspection_secret"],
        "--static-key": str(folder / "static-key"),
        "--change": str(setup.change),
    }
    command = [sys.executable, "-m", "demo.servers", *(part for option in options.items() for part in option)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            started = {process.stdout.readline().split()[0] for _ in demo.NAMES}
            assert started == set(demo.NAMES)
            yield setup
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def setup(authorization_server: AuthorizationServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[demo.Setup]:
    with running(authorization_server, tmp_path_factory.mktemp("servers")) as setup:
        yield setup


def token_for(server: AuthorizationServer, resource: str) -> Secret:
    """A token that the authorization server really issues for one MCP server."""
    client_id = "ci-runner"
    answer = httpx2.post(
        f"{server.issuer}/token/",
        data={"grant_type": "client_credentials", "scope": "mcp:tools", "resource": resource},
        auth=(client_id, Path(server.places["client_secrets"][client_id]).read_text()),
    )
    assert answer.status_code == 200, answer.text
    return Secret(answer.json()["access_token"])


def looked_at(url: str, lent: Lent | None = None) -> Looked:
    async def scenario() -> Looked:
        async with reaching() as fetcher:
            opted_in = CREDENTIALED if lent else frozenset()
            (looked,) = await look([url], fetcher=fetcher, clock=lambda: NOW, lent=lent, opted_in=opted_in)
            return looked

    return asyncio.run(scenario())


def violations(looked: Looked) -> set[str]:
    found = {result.check.id for result in looked.results if result.verdict == Verdict.VIOLATED}
    return {id_ for id_ in found if id_.startswith("MCP-RS")} - {"MCP-RS-28"}


def test_the_anonymous_server_lists_its_tools_to_anybody(setup: demo.Setup) -> None:
    assert violations(looked_at(setup.url("notes"))) == {"MCP-RS-01"}


def test_the_server_with_a_static_key_tells_clients_nothing(setup: demo.Setup) -> None:
    looked = looked_at(setup.url("billing"), Lent(token=Secret("a-key-of-the-demo")))
    assert [tool.name for tool in looked.server.tools or ()] == ["list_invoices"]
    assert {"MCP-RS-02", "MCP-RS-03", "MCP-RS-04"} <= violations(looked)


def test_the_server_with_oauth_done_right_violates_nothing_but_naming_its_scope(
    setup: demo.Setup, authorization_server: AuthorizationServer
) -> None:
    url = setup.url("payroll")
    lent = Lent(
        token=token_for(authorization_server, url),
        credentials=TestCredentials(other_audience=token_for(authorization_server, setup.url("analytics"))),
    )
    looked = looked_at(url, lent)
    assert [tool.name for tool in looked.server.tools or ()] == ["list_payslips"]
    assert violations(looked) == {"MCP-RS-08"}
    assert [issuer.metadata is not None for issuer in looked.issuers] == [True]


def test_the_server_that_takes_any_token_of_its_issuer_takes_one_for_another(
    setup: demo.Setup, authorization_server: AuthorizationServer
) -> None:
    lent = Lent(credentials=TestCredentials(other_audience=token_for(authorization_server, setup.url("payroll"))))
    assert "MCP-RS-15" in violations(looked_at(setup.url("analytics"), lent))


def test_the_server_with_broad_scopes_is_told_so(setup: demo.Setup) -> None:
    assert "MCP-RS-09" in violations(looked_at(setup.url("operations")))


def test_the_changed_tool_is_drift(setup: demo.Setup) -> None:
    before = looked_at(setup.url("search"))
    assert setup.change is not None
    setup.change.touch()
    after = looked_at(setup.url("search"))
    setup.change.unlink()
    digests = [looked.server.tools[0].schema_digest for looked in (before, after) if looked.server.tools]
    assert len(set(digests)) == 2


def test_the_old_transport_is_told_to_go(setup: demo.Setup) -> None:
    assert {"MCP-RS-01", "MCP-RS-26"} <= violations(looked_at(setup.url("archive")))


def test_the_server_of_spring_2025_has_guessable_sessions_and_an_open_handshake(setup: demo.Setup) -> None:
    looked = looked_at(setup.url("tickets"))
    assert {"MCP-RS-01", "MCP-RS-19", "MCP-RS-21"} <= violations(looked)
    assert [issuer.issuer for issuer in looked.issuers] == [setup.url("tickets").removesuffix("/mcp")]
    assert "MCP-AS-04" in {result.check.id for result in looked.results if result.verdict == Verdict.VIOLATED}
