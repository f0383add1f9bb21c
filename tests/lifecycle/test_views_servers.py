"""A server's own page: how it answered the checklist, what it asks for, and what is said where nobody asked."""

import pytest

from access.roles import Role
from inventory.models import AuthorizationServer, McpServer, MetadataSnapshot, PostureCheck
from inventory.states import Severity, Transport, Verdict
from tests import factories
from tests.factories import NOW
from tests.people import browser, text

pytestmark = pytest.mark.django_db


def remote(**values: object) -> McpServer:
    return factories.server(transport=Transport.HTTP, url="https://mcp.example/mcp", **values)


def page(server: McpServer, *roles: Role) -> str:
    return text(browser(*(roles or (Role.AUDITOR,))).get(f"/servers/{server.pk}/"))


def test_the_checklist_says_what_was_seen_and_where_the_specification_asks_it():
    server = remote(probed_at=NOW, authentication="anonymous")
    PostureCheck.objects.create(
        server=server,
        check_id="MCP-RS-01",
        verdict=Verdict.VIOLATED,
        severity=Severity.CRITICAL,
        evidence={"said": "Anybody may list its 3 tools."},
        checked_at=NOW,
    )
    shown = page(server)
    assert "Anybody may list its 3 tools." in shown
    assert "MCP-RS-01" in shown
    assert "nothing: anonymous" in shown


def test_a_server_nobody_asked_says_so_and_how_to_ask_it():
    shown = page(remote(), Role.OPERATOR)
    assert "Nobody has asked the live server yet." in shown
    assert "/connections/new/" in shown


def test_a_silent_server_shows_what_was_seen_before_as_such():
    server = remote(probed_at=NOW, probe_error="Nothing answered within 10 s.")
    PostureCheck.objects.create(server=server, check_id="MCP-RS-01", verdict=Verdict.MET, checked_at=NOW)
    shown = page(server)
    assert "Nothing answered within 10 s." in shown
    assert "What follows was seen before." in shown


def test_a_launched_server_has_no_posture_to_show():
    assert 'id="posture"' not in page(factories.server(transport=Transport.STDIO))


def test_what_a_server_published_anew_is_said_in_words():
    server = remote(probed_at=NOW)
    MetadataSnapshot.objects.create(
        server=server, digest="a", document={}, differences=["The definition of look_up changed."], first_seen_at=NOW
    )
    assert "The definition of look_up changed." in page(server)


def test_the_authorization_server_in_front_of_it_is_a_link():
    issuer = AuthorizationServer.objects.create(issuer="https://login.example", first_seen_at=NOW)
    assert f"/authorization-servers/{issuer.pk}/" in page(remote(authorization_server=issuer, probed_at=NOW))
