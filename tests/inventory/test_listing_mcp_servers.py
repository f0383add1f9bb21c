"""Live MCP servers as a connection, against the demo's own: what a sync keeps, and what it leaves alone."""

import os
from typing import Any

import pytest
from django.db import connection as database
from django.utils import timezone
from pytest_django import Settings

from inventory.actions.connections import create_connection
from inventory.models import (
    AuthorizationServer,
    Connection,
    McpServer,
    MetadataSnapshot,
    PostureCheck,
    Tool,
)
from inventory.states import ConnectionKind, RunState, Transport, Verdict
from tests.demo_servers import DemoServers
from tests.factories import NOW, server
from tests.ports import free_ports
from tests.syncs import ACTOR, synced

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def on_loopback(settings: Settings) -> None:
    settings.ALLOW_LOOPBACK = True


def connected(**settings: Any) -> Connection:
    return create_connection(
        kind=ConnectionKind.MCP_SERVER, name="Live servers", settings=settings, actor=ACTOR, now=timezone.now()
    )


def verdict(row: McpServer, check: str) -> str:
    return PostureCheck.objects.get(server=row, check_id=check).verdict


def test_an_anonymous_server_is_seen_with_its_tools_and_its_verdict(demo_servers: DemoServers) -> None:
    run = synced(connected(urls=[demo_servers.url("notes")]))
    assert (run.state, run.done, run.expected) == (RunState.COMPLETE, 1, 1)
    row = McpServer.objects.get(url=demo_servers.url("notes"))
    assert (row.authentication, row.transport, row.tools_error) == ("anonymous", Transport.HTTP, "")
    assert row.protocol_versions
    assert Tool.objects.filter(server=row, is_destructive=True).exists()
    assert verdict(row, "MCP-RS-01") == Verdict.VIOLATED


def test_a_server_behind_oauth_is_tied_to_its_authorization_server(demo_servers: DemoServers) -> None:
    synced(connected(urls=[demo_servers.url("payroll")]))
    row = McpServer.objects.select_related("authorization_server").get(url=demo_servers.url("payroll"))
    assert row.authentication == "oauth"
    assert row.authorization_server is not None
    assert row.authorization_server.issuer == demo_servers.setup.issuer
    assert verdict(row, "MCP-RS-01") == Verdict.MET
    assert row.scopes
    assert not Tool.objects.filter(server=row).exists()
    assert row.tools_error


def test_an_authorization_server_is_judged_and_kept_once_for_all_servers_that_name_it(
    demo_servers: DemoServers,
) -> None:
    synced(connected(urls=[demo_servers.url("payroll"), demo_servers.url("analytics")]))
    issuer = AuthorizationServer.objects.get(issuer=demo_servers.setup.issuer)
    assert "dcr" in issuer.capabilities
    assert PostureCheck.objects.filter(authorization_server=issuer, check_id="MCP-AS-01").get().verdict == Verdict.MET
    assert MetadataSnapshot.objects.filter(authorization_server=issuer).count() == 1


def test_a_token_held_by_reference_lists_the_tools_of_its_server(
    demo_servers: DemoServers, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "DEMO_BILLING_KEY", demo_servers.static_key)
    settings.REFERENCE_VARIABLES = ("DEMO_*",)
    url = demo_servers.url("billing")
    host = url.split("/")[2]
    tokens = [{"url": url, "reference": "env://DEMO_BILLING_KEY", "bound_to": host}]
    synced(connected(urls=[url], tokens=tokens))
    row = McpServer.objects.get(url=url)
    assert (row.authentication, row.tools_error) == ("token", "")
    assert Tool.objects.filter(server=row).exists()


def test_a_token_that_may_not_be_read_is_a_problem_and_the_server_is_probed_all_the_same(
    demo_servers: DemoServers,
) -> None:
    url = demo_servers.url("billing")
    run = synced(connected(urls=[url], tokens=[{"url": url, "reference": "env://HOME", "bound_to": url.split("/")[2]}]))
    assert "could not be read" in run.problems[0]["reason"]
    assert McpServer.objects.get(url=url).authentication == "token"


def test_a_token_is_not_carried_to_another_host_than_it_is_bound_to(
    demo_servers: DemoServers, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "DEMO_BILLING_KEY", demo_servers.static_key)
    settings.REFERENCE_VARIABLES = ("DEMO_*",)
    url = demo_servers.url("billing")
    run = synced(
        connected(urls=[url], tokens=[{"url": url, "reference": "env://DEMO_BILLING_KEY", "bound_to": "mcp.example"}])
    )
    assert "could not be read" in run.problems[0]["reason"]
    assert McpServer.objects.get(url=url).tools_error


def test_a_setting_nobody_asked_for_fails_the_run_with_its_name() -> None:
    run = synced(connected(urls=["https://mcp.example/mcp"], ulrs=[]))
    assert (run.state, "ulrs" in run.error) == (RunState.FAILED, True)


def test_a_connection_that_names_nothing_says_so() -> None:
    assert synced(connected()).error.startswith("Name the addresses of servers")


def test_a_second_identical_look_changes_nothing(demo_servers: DemoServers) -> None:
    connection = connected(urls=[demo_servers.url("notes"), demo_servers.url("payroll")])
    synced(connection)
    assert synced(connection).counts == {}


def test_a_changed_tool_is_marked_and_said(demo_servers: DemoServers) -> None:
    connection = connected(urls=[demo_servers.url("search")])
    synced(connection)
    row = McpServer.objects.get(url=demo_servers.url("search"))
    Tool.objects.filter(server=row).update(approved_digest=Tool.objects.get(server=row).schema_digest)
    demo_servers.change.touch()
    try:
        synced(connection)
    finally:
        demo_servers.change.unlink()
    assert Tool.objects.get(server=row).is_changed
    newest = MetadataSnapshot.objects.filter(server=row).first()
    assert newest is not None
    assert newest.differences == ["The definition of look_up changed."]
    assert verdict(row, "MCP-RS-29") == Verdict.VIOLATED


def test_a_server_known_from_a_configuration_is_probed_in_place(demo_servers: DemoServers) -> None:
    url = demo_servers.url("notes")
    known = server(identity_key=f"url:{url}", url=url, transport=Transport.HTTP, name="notes of the team")
    server(transport=Transport.STDIO)
    run = synced(connected(known=True))
    assert run.done == 1
    known.refresh_from_db()
    assert (known.authentication, known.name) == ("anonymous", "notes of the team")


def test_an_address_with_a_part_to_be_filled_in_is_named_and_not_asked() -> None:
    url = "https://mcp.example/${input:tenant}"
    server(identity_key=f"url:{url}", url=url, transport=Transport.HTTP)
    run = synced(connected(known=True))
    assert run.done == 0
    assert "cannot be asked" in run.problems[0]["reason"]


def test_a_server_that_falls_silent_keeps_what_was_seen_of_it(demo_servers: DemoServers) -> None:
    silent = f"http://127.0.0.1:{free_ports(1)}/mcp"
    row = server(
        identity_key=f"url:{silent}", url=silent, transport=Transport.HTTP, authentication="oauth", probed_at=NOW
    )
    PostureCheck.objects.create(server=row, check_id="MCP-RS-01", verdict=Verdict.MET, checked_at=NOW)
    run = synced(connected(known=True))
    row.refresh_from_db()
    assert run.state == RunState.PARTIAL
    assert row.probe_error
    assert (row.authentication, row.probed_at, verdict(row, "MCP-RS-01")) == ("oauth", NOW, Verdict.MET)


def test_a_silent_server_is_not_taken_for_gone(demo_servers: DemoServers) -> None:
    silent = f"http://127.0.0.1:{free_ports(1)}/mcp"
    connection = connected(urls=[demo_servers.url("notes"), silent])
    synced(connection)
    run = synced(connection)
    assert run.state == RunState.PARTIAL
    assert not McpServer.objects.exclude(gone_at=None).exists()


def test_loopback_is_closed_unless_the_operator_opens_it(demo_servers: DemoServers, settings: Settings) -> None:
    settings.ALLOW_LOOPBACK = False
    run = synced(connected(urls=[demo_servers.url("notes")]))
    assert run.state == RunState.PARTIAL
    assert McpServer.objects.get().authentication == ""
    assert not PostureCheck.objects.exists()


def written() -> dict[str, int]:
    """Rows that this transaction has written so far, by table of the inventory."""
    with database.cursor() as cursor:
        cursor.execute(
            """SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables
            WHERE schemaname = 'public' AND relname LIKE 'inventory_%'"""
        )
        return dict(cursor.fetchall())


def test_a_second_identical_look_writes_that_it_looked_and_nothing_else(demo_servers: DemoServers) -> None:
    urls = [demo_servers.url(name) for name in ("notes", "payroll", "search")]
    connection = connected(urls=urls)
    synced(connection)
    before = written()
    synced(connection)
    rows = {table: count - before.get(table, 0) for table, count in written().items()}
    assert {table for table, count in rows.items() if count} == {
        "inventory_connection",  # the claim, its renewal and its end
        "inventory_syncrun",
        "inventory_mcpserver",
        "inventory_authorizationserver",
    }
    assert rows["inventory_mcpserver"] == len(urls)
    assert rows["inventory_authorizationserver"] == AuthorizationServer.objects.count()
