"""Pages of authorization servers, over what syncs of the demo one brought."""

import csv
from io import StringIO
from pathlib import Path

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from access.actors import Actor
from access.roles import Role
from audit.models import AuditEntry
from inventory.actions.connections import create_connection
from inventory.engine import sync
from inventory.models import AuthorizationServer, Connection, PostureCheck
from inventory.states import ConnectionKind, Verdict
from tests import factories
from tests.authorization_server import AuthorizationServer as Demo
from tests.authorization_server import running
from tests.people import HTMX, browser, owners_browser, text

ACTOR = Actor.system("tests")
LIST = "/authorization-servers/"
MOST_QUERIES = 12
pytestmark = pytest.mark.django_db


def read(demo: Demo, settings: Settings, **changed: str) -> AuthorizationServer:
    """The demo server after one sync of its metadata and clients."""
    settings.ALLOW_LOOPBACK = True
    settings.REFERENCE_FOLDERS = (demo.folder,)
    given = {
        "issuer": demo.issuer,
        "clients_url": demo.places["clients_url"],
        "management_token": f"file://{demo.places['files']['management_token']}",
        **changed,
    }
    connection = Connection.objects.filter(name="Halden sign-in").first() or create_connection(
        kind=ConnectionKind.OAUTH, name="Halden sign-in", settings=given, actor=ACTOR, now=timezone.now()
    )
    sync(connection.pk, clock=timezone.now, actor=ACTOR)
    return AuthorizationServer.objects.get(issuer=demo.issuer)


@pytest.fixture
def layer(authorization_server: Demo, settings: Settings) -> AuthorizationServer:
    return read(authorization_server, settings, role="delegated_layer")


def page_of(server: AuthorizationServer, *roles: Role) -> str:
    return text(browser(*(roles or (Role.AUDITOR,))).get(f"{LIST}{server.pk}/"))


# ── The list ───────────────────────────────────────────────────────────────────────────────────


def test_the_unknown_are_sent_to_sign_in() -> None:
    assert Client().get(LIST).status_code == 302


def test_a_person_without_a_role_is_refused() -> None:
    assert browser().get(LIST).status_code == 403


def test_an_empty_list_says_where_they_come_from() -> None:
    page = text(browser(Role.OPERATOR).get(LIST))
    assert "No authorization servers yet" in page
    assert "/connections/new/" in page


def test_a_row_says_what_a_server_can_do_and_who_waits(layer: AuthorizationServer) -> None:
    page = text(browser(Role.AUDITOR).get(LIST, headers=HTMX))
    assert layer.issuer in page
    assert "Delegated layer" in page
    assert "PKCE, revocation, introspection, CIMD, DCR, device flow" in page
    assert f"/clients/?authorization_server={layer.pk}&amp;admission=quarantined" in page


def test_a_server_that_nobody_asked_is_unknown_and_not_fine() -> None:
    AuthorizationServer.objects.create(issuer="https://login.example", first_seen_at=timezone.now())
    page = text(browser(Role.AUDITOR).get(LIST, headers=HTMX))
    assert page.count("verdict unknown") == 2  # what it can do, and how it is judged


def test_the_list_is_narrowed_by_part_of_the_issuer_and_by_role(layer: AuthorizationServer) -> None:
    AuthorizationServer.objects.create(
        issuer="https://login.example", first_seen_at=timezone.now(), is_external=True, capabilities=["dcr"]
    )
    reader = browser(Role.AUDITOR)
    assert layer.issuer not in text(reader.get(LIST, {"q": "LOGIN"}, headers=HTMX))
    assert "login.example" not in text(reader.get(LIST, {"is_external": "false"}, headers=HTMX))
    assert "login.example" in text(reader.get(LIST, {"capability": "dcr"}, headers=HTMX))


def test_the_csv_holds_a_row_a_server(layer: AuthorizationServer) -> None:
    rows = list(csv.DictReader(StringIO(text(browser(Role.AUDITOR).get(LIST, {"format": "csv"})))))
    (row,) = rows
    assert (row["issuer"], row["is_external"]) == (layer.issuer, "no")
    assert int(row["quarantined_clients"]) >= 39


def test_a_list_costs_the_same_however_long_it_is(layer: AuthorizationServer) -> None:
    reader = browser(Role.AUDITOR)
    reader.get(LIST)
    with CaptureQueriesContext(
        database,
    ) as few:
        reader.get(LIST)
    for n in range(20):
        AuthorizationServer.objects.create(issuer=f"https://{n}.example", first_seen_at=timezone.now())
    with CaptureQueriesContext(database) as many:
        reader.get(LIST)
    assert len(many) == len(few) <= MOST_QUERIES


# ── One of them ────────────────────────────────────────────────────────────────────────────────


def test_a_page_costs_no_more_than_twelve_queries(layer: AuthorizationServer) -> None:
    factories.server(authorization_server=layer, url="https://mcp.example")
    reader = browser(Role.AUDITOR)
    reader.get(LIST)
    with CaptureQueriesContext(database) as queries:
        reader.get(f"{LIST}{layer.pk}/")
    assert len(queries) <= MOST_QUERIES


def test_a_page_shows_what_it_can_do_and_what_not(layer: AuthorizationServer) -> None:
    page = page_of(layer)
    assert "Client ID metadata documents" in page
    layer.capabilities = ["pkce"]
    layer.save()
    assert "no revocation" in page_of(layer)


def test_a_page_shows_every_check_violated_first(layer: AuthorizationServer) -> None:
    page = page_of(layer)
    checks = PostureCheck.objects.filter(authorization_server=layer)
    assert all(f'id="{check.check_id}"' in page for check in checks)
    met, violated = page.index('id="MCP-AS-02"'), page.index('id="MCP-AS-10"')
    assert violated < met


def test_a_delegated_layer_shows_what_only_it_must_answer(layer: AuthorizationServer) -> None:
    page = page_of(layer)
    assert "As a delegated layer" in page
    assert "Every token it issues is logged" in page


def test_clients_are_counted_by_registration(layer: AuthorizationServer) -> None:
    page = page_of(layer)
    for registration in ("pre_registered", "cimd", "dynamic"):
        assert f"registration={registration}" in page
    assert f"authorization_server={layer.pk}&amp;registration=dynamic&amp;admission=quarantined" in page


def test_a_page_names_the_servers_it_stands_before(layer: AuthorizationServer) -> None:
    server = factories.server(authorization_server=layer, url="https://mcp.example", name="tickets-prod")
    page = page_of(layer)
    assert f"/servers/{server.pk}/" in page
    assert "1 server behind it" in page


def test_a_page_leads_to_the_connection_that_reads_it(layer: AuthorizationServer) -> None:
    assert f"/connections/{Connection.objects.get().pk}/" in page_of(layer)


def test_what_changed_is_said_in_words(tmp_path: Path, settings: Settings) -> None:
    with running(tmp_path) as demo:
        read(demo, settings)
        port = str(demo.places["port"])
    with running(tmp_path, "--lax", "--port", port):
        server = read(demo, settings)
    page = page_of(server)
    assert "grant_types_supported gained implicit, password." in page
    assert "First seen" in page
    assert "2 documents" in page


def test_a_server_that_was_never_asked_says_so_in_every_part() -> None:
    server = AuthorizationServer.objects.create(issuer="https://login.example", first_seen_at=timezone.now())
    page = page_of(server)
    assert "What it publishes is not known." in page
    assert "Nobody has asked it yet." in page
    assert "None is known to rely on it." in page


def test_hostile_metadata_is_shown_as_text() -> None:
    server = AuthorizationServer.objects.create(
        issuer="https://login.example",
        first_seen_at=timezone.now(),
        metadata={"issuer": "<script>alert(1)</script>", "authorization_endpoint": "javascript:alert(1)"},
    )
    page = page_of(server)
    assert "<script>alert(1)" not in page
    assert 'href="javascript:' not in page


def test_an_owner_sees_what_stands_before_a_server_of_theirs_and_nothing_else(layer: AuthorizationServer) -> None:
    reader, me = owners_browser()
    assert reader.get(f"{LIST}{layer.pk}/").status_code == 404
    factories.server(authorization_server=layer, iam_owner=me, name="mine")
    factories.server(authorization_server=layer, name="anothers")
    page = text(reader.get(f"{LIST}{layer.pk}/"))
    assert "mine" in page
    assert "anothers" not in page
    assert "in quarantine" not in page  # clients of other owners


# ── A person's word ────────────────────────────────────────────────────────────────────────────


def answer(server: AuthorizationServer, check: str, *roles: Role, **given: str) -> int:
    posted = {"decided": "1", "is_so": "yes", "reason": "Read its log.", **given}
    return browser(*roles).post(f"{LIST}{server.pk}/answer/{check}/", posted).status_code


def test_an_operator_says_what_no_request_can_tell(layer: AuthorizationServer) -> None:
    assert answer(layer, "KR-DL-01", Role.OPERATOR) == 302
    check = PostureCheck.objects.get(authorization_server=layer, check_id="KR-DL-01")
    assert check.verdict == Verdict.MET
    entry = AuditEntry.objects.get(event="authorization_server.check_answered")
    assert entry.detail == {"check": "KR-DL-01", "is_so": True, "reason": "Read its log."}
    assert "Read its log." in page_of(layer)


def test_a_no_is_a_violation(layer: AuthorizationServer) -> None:
    answer(layer, "KR-DL-01", Role.OPERATOR, is_so="no")
    assert PostureCheck.objects.get(check_id="KR-DL-01").verdict == Verdict.VIOLATED


def test_an_answer_needs_its_reason(layer: AuthorizationServer) -> None:
    assert answer(layer, "KR-DL-01", Role.OPERATOR, reason=" ") == 422
    assert PostureCheck.objects.get(check_id="KR-DL-01").verdict == Verdict.UNKNOWN


def test_nobody_answers_where_something_was_seen(layer: AuthorizationServer) -> None:
    assert answer(layer, "KR-DL-03", Role.OPERATOR) == 404
    assert answer(layer, "MCP-AS-04", Role.OPERATOR) == 404


def test_only_operators_answer(layer: AuthorizationServer) -> None:
    assert answer(layer, "KR-DL-01", Role.REVIEWER) == 403
    assert "/answer/" not in page_of(layer, Role.REVIEWER)
    assert f"{LIST}{layer.pk}/answer/KR-DL-01/" in page_of(layer, Role.OPERATOR)


def test_an_identity_provider_is_not_asked_about_a_layer(authorization_server: Demo, settings: Settings) -> None:
    server = read(authorization_server, settings, role="identity_provider")
    assert answer(server, "KR-DL-01", Role.OPERATOR) == 404
    assert "/answer/" not in page_of(server, Role.OPERATOR)
