"""Syncs of authorization servers: the demo one, as it is, as it changes, and as it fails."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.db import connection as database
from django.utils import timezone
from pytest_django import Settings

from audit.models import AuditEntry
from inventory.actions.answers import ANSWERABLE, answer_check
from inventory.actions.connections import create_connection
from inventory.engine import sync
from inventory.fingerprints import fingerprint
from inventory.listings import Place, oauth
from inventory.models import (
    AuthorizationServer,
    Connection,
    Credential,
    McpClient,
    McpServer,
    MetadataSnapshot,
    PostureCheck,
    SyncRun,
    Use,
)
from inventory.states import Admission, ConnectionKind, CredentialKind, RunState, TrustModel, Verdict
from providers.errors import Denied, Permanent, Refused
from tests import factories
from tests.authorization_server import AuthorizationServer as Demo
from tests.authorization_server import running
from tests.syncs import ACTOR, synced

TICKETS = "https://mcp.halden.example/tickets"
TABLES = (
    "authorizationserver",
    "mcpclient",
    "mcpserver",
    "credential",
    "credentialversion",
    "use",
    "posturecheck",
    "metadatasnapshot",
)
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def outside(settings: Settings, authorization_server: Demo) -> None:
    """This machine may be asked, and the demo server's secrets may be read."""
    settings.ALLOW_LOOPBACK = True
    settings.REFERENCE_FOLDERS = (authorization_server.folder,)


def known(server: Demo, **changed: Any) -> dict[str, Any]:
    """The settings of a connection that may ask everything."""
    files, tokens = server.places["files"], server.places["tokens"]
    return {
        "issuer": server.issuer,
        "clients_url": server.places["clients_url"],
        "tokens_url": server.places["tokens_url"],
        "management_token": f"file://{files['management_token']}",
        "client_id": "keyreeve",
        "client_secret": f"file://{files['introspection_secret']}",
        "tokens": [f"file://{tokens[name]}" for name in ("mira-desktop", "nightly-reports", "legacy-export")],
        "refresh_tokens": [f"file://{tokens['mira-desktop-refresh']}"],
        **changed,
    }


def connected(settings: dict[str, Any]) -> Connection:
    name = f"Authorization server {Connection.objects.count()}"
    return create_connection(kind=ConnectionKind.OAUTH, name=name, settings=settings, actor=ACTOR, now=timezone.now())


def versions_of_rows() -> dict[str, list[tuple[str, str]]]:
    """Every row with the transaction that last wrote it."""
    with database.cursor() as cursor:
        found = {}
        for table in TABLES:
            cursor.execute(f"SELECT id::text, ctid::text FROM inventory_{table} ORDER BY id")
            found[table] = cursor.fetchall()
    return found


# ── As it is ───────────────────────────────────────────────────────────────────────────────────


def test_a_sync_knows_every_client(authorization_server: Demo) -> None:
    run = synced(connected(known(authorization_server)))
    assert (run.state, run.error, run.problems) == (RunState.COMPLETE, "", [])
    desktop = McpClient.objects.get(client_id="claude-desktop-managed")
    assert desktop.authorization_server.issuer == authorization_server.issuer
    assert (desktop.registration, desktop.admission) == ("pre_registered", Admission.ADMITTED)
    assert desktop.scopes == ["mcp:tools", "tickets:read", "tickets:write"]
    assert desktop.issued_at < desktop.last_used_at
    cursors = McpClient.objects.filter(name="Cursor")
    assert {client.admission for client in cursors} == {Admission.QUARANTINED}
    assert len({client.redirect_uris[0] for client in cursors}) == 14


def test_a_client_registered_a_moment_ago_is_quarantined(authorization_server: Demo) -> None:
    connection = connected(known(authorization_server))
    synced(connection)
    made = authorization_server.register(client_name="Nobody knows me", scope="repo:write")
    try:
        assert synced(connection).counts["clients_added"] == 1
    finally:
        authorization_server.deregister(made)
    client = McpClient.objects.get(client_id=made["client_id"])
    assert (client.admission, client.registration, client.name) == (
        Admission.QUARANTINED,
        "dynamic",
        "Nobody knows me",
    )


def test_a_client_that_was_taken_back_is_gone(authorization_server: Demo) -> None:
    connection = connected(known(authorization_server))
    made = authorization_server.register(client_name="Short lived")
    synced(connection)
    authorization_server.deregister(made)
    assert synced(connection).counts["clients_gone"] == 1
    assert McpClient.objects.get(client_id=made["client_id"]).gone_at is not None


def test_a_client_without_a_name_is_named_by_its_id(authorization_server: Demo) -> None:
    synced(connected(known(authorization_server)))
    assert McpClient.objects.filter(name__startswith="Unnamed client ").count() == 1


def test_the_same_again_writes_nothing(authorization_server: Demo) -> None:
    connection = connected(known(authorization_server))
    first = synced(connection)
    before = versions_of_rows()
    second = synced(connection)
    after = versions_of_rows()
    assert second.counts == {}
    assert first.counts["clients_added"] > 50
    # The one exception is the note of when the server was last looked at.
    assert {table: rows for table, rows in after.items() if table != "authorizationserver"} == {
        table: rows for table, rows in before.items() if table != "authorizationserver"
    }


def test_a_token_held_by_reference_is_known_with_its_person(authorization_server: Demo) -> None:
    synced(connected(known(authorization_server)))
    token = Credential.objects.get(reference__endswith="/token_mira-desktop")
    assert (token.kind, token.trust_model, token.subject) == (
        CredentialKind.OAUTH_ACCESS_TOKEN,
        TrustModel.USER_CONSENTED,
        "mira",
    )
    assert token.principal == "claude-desktop-managed"
    assert token.scopes == ["mcp:tools", "tickets:read"]
    assert token.last_used_at is not None  # which only the listing of tokens says


def test_a_refresh_token_held_by_reference_is_told_apart(authorization_server: Demo) -> None:
    synced(connected(known(authorization_server)))
    token = Credential.objects.get(reference__endswith="/token_mira-desktop-refresh")
    assert (token.kind, token.status) == (CredentialKind.OAUTH_REFRESH_TOKEN, "active")


def test_a_secret_pasted_as_a_reference_is_shown_nowhere(authorization_server: Demo) -> None:
    pasted = authorization_server.token("ci-runner")
    run = synced(connected(known(authorization_server, management_token=pasted)))
    assert pasted not in json.dumps([run.problems, run.error])


def test_a_held_token_is_not_listed_a_second_time(authorization_server: Demo) -> None:
    synced(connected(known(authorization_server)))
    of_mira = Credential.objects.filter(
        principal="claude-desktop-managed", subject="mira", kind=CredentialKind.OAUTH_ACCESS_TOKEN
    )
    held = Credential.objects.get(reference__endswith="/token_mira-desktop")
    assert of_mira.filter(external_id=held.external_id).count() == 1


def test_a_held_token_is_the_one_that_a_file_holds(
    authorization_server: Demo, tmp_path: Path, settings: Settings
) -> None:
    value = authorization_server.token("nightly-reports")
    entry = {
        "type": "http",
        "url": "https://mcp.halden.example/billing",
        "headers": {"Authorization": f"Bearer {value}"},
    }
    (tmp_path / ".mcp.json").write_text(json.dumps({"mcpServers": {"billing": entry}}))
    files = create_connection(
        kind=ConnectionKind.MCP_CONFIG,
        name="Files",
        settings={"paths": [str(tmp_path)]},
        actor=ACTOR,
        now=timezone.now(),
    )
    sync(files.pk, clock=timezone.now, actor=ACTOR)
    synced(connected(known(authorization_server)))
    token = Credential.objects.get(fingerprint=fingerprint(value, key=settings.FINGERPRINT_KEY))
    assert (token.storage, token.principal) == ("provider", "nightly-reports")
    assert Use.objects.present().filter(credential=token).count() == 2  # in the file, and as its server says


def test_an_inactive_token_says_why_it_is_unknown(authorization_server: Demo) -> None:
    synced(connected(known(authorization_server)))
    token = Credential.objects.get(reference__endswith="/token_legacy-export")
    assert token.status == "unknown"
    assert "revoked" in token.details["reason"]


def test_the_secret_of_a_confidential_client_is_a_credential_as_old_as_its_registration(
    authorization_server: Demo,
) -> None:
    synced(connected(known(authorization_server, tokens_url="", tokens=[], refresh_tokens=[])))
    secret = Credential.objects.get(kind=CredentialKind.OAUTH_CLIENT_SECRET, external_id="nightly-reports")
    client = McpClient.objects.get(client_id="nightly-reports")
    assert secret.identity_key == f"oauth:{authorization_server.issuer}:client:nightly-reports:secret"
    assert (secret.principal, secret.issued_at, secret.expires_at) == (client.client_id, client.issued_at, None)
    assert (secret.storage, secret.status, secret.trust_model) == ("provider", "active", TrustModel.STATIC_SERVICE)
    public = Credential.objects.filter(kind=CredentialKind.OAUTH_CLIENT_SECRET, principal="claude-desktop-managed")
    assert not public.exists()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"manage_tokens": True, "tokens_url": ""}, "The setting manage_tokens is about a listing"),
        ({"revoke_as": [{"client_secret": "file:///a/b"}]}, "Each entry of revoke_as names a client_id"),
        ({"registrations": "env://FOLDER"}, "The setting registrations names a folder"),
    ],
)
def test_what_operations_may_do_is_judged_before_anything_is_asked(
    authorization_server: Demo, wrong: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Permanent, match=sentence):
        oauth.operable(known(authorization_server, **wrong), label="Sign-in")


def test_a_token_ties_its_client_to_the_server_that_it_is_for(authorization_server: Demo) -> None:
    server = factories.server(identity_key=f"url:{TICKETS}/", url=f"{TICKETS}/", transport="http", name="tickets")
    synced(connected(known(authorization_server)))
    use = Use.objects.get(server=server, credential__reference__endswith="/token_mira-desktop")
    assert use.client.client_id == "claude-desktop-managed"
    server.refresh_from_db()
    assert server.name == "tickets"  # another connection describes it


def test_an_audience_that_is_no_known_server_makes_none(authorization_server: Demo) -> None:
    synced(connected(known(authorization_server)))
    assert not McpServer.objects.exists()
    assert Credential.objects.filter(details__audiences=[TICKETS]).exists()


def test_no_secret_is_kept(authorization_server: Demo) -> None:
    synced(connected(known(authorization_server)))
    shown = json.dumps([list(Credential.objects.values()), list(AuditEntry.objects.values("detail"))], default=str)
    shown += json.dumps([list(SyncRun.objects.values()), list(PostureCheck.objects.values())], default=str)
    secrets = [path.read_text() for path in (authorization_server.folder / "secrets").rglob("*") if path.is_file()]
    assert not any(secret in shown for secret in secrets)


# ── What it publishes ──────────────────────────────────────────────────────────────────────────


def test_its_metadata_and_abilities_are_recorded(authorization_server: Demo) -> None:
    synced(connected(known(authorization_server)))
    server = AuthorizationServer.objects.get()
    assert server.metadata["issuer"] == authorization_server.issuer
    assert {"pkce", "dcr", "cimd", "revocation", "introspection", "device_flow"} <= set(server.capabilities)
    assert MetadataSnapshot.objects.get(authorization_server=server).differences == []
    assert server.changed_at is None


def test_it_is_judged(authorization_server: Demo) -> None:
    synced(connected(known(authorization_server)))
    verdicts = dict(PostureCheck.objects.values_list("check_id", "verdict"))
    assert verdicts["MCP-AS-01"] == verdicts["MCP-AS-02"] == verdicts["MCP-AS-04"] == Verdict.MET
    assert verdicts["MCP-AS-10"] == Verdict.VIOLATED  # anybody may register there
    assert verdicts["KR-DL-01"] == Verdict.UNKNOWN


def test_a_delegated_layer_is_asked_what_only_it_must_answer(authorization_server: Demo) -> None:
    synced(connected(known(authorization_server, role="delegated_layer")))
    verdicts = dict(PostureCheck.objects.filter(check_id__startswith="KR-DL").values_list("check_id", "verdict"))
    assert verdicts == {
        "KR-DL-01": Verdict.UNKNOWN,
        "KR-DL-02": Verdict.MET,
        "KR-DL-03": Verdict.MET,
        "KR-DL-04": Verdict.MET,
    }
    assert AuthorizationServer.objects.get().is_external is False


def test_an_identity_provider_of_its_own_is_no_delegated_layer(authorization_server: Demo) -> None:
    synced(connected(known(authorization_server, role="identity_provider")))
    verdicts = PostureCheck.objects.filter(check_id__startswith="KR-DL").values_list("verdict", flat=True)
    assert set(verdicts) == {Verdict.NOT_APPLICABLE}


def test_whether_it_is_external_follows_from_the_servers_behind_it(authorization_server: Demo) -> None:
    connection = connected(known(authorization_server))
    synced(connection)
    server = AuthorizationServer.objects.get()
    factories.server(authorization_server=server, url="https://mcp.halden.example/tickets", transport="http")
    synced(connection)
    server.refresh_from_db()
    assert server.is_external is True


def test_what_a_person_said_stands_through_later_syncs(authorization_server: Demo) -> None:
    connection = connected(known(authorization_server, role="delegated_layer"))
    synced(connection)
    server, check = AuthorizationServer.objects.get(), ANSWERABLE["KR-DL-01"]
    answer_check(server, check, is_so=True, reason="Seen in its log.", actor=ACTOR, now=timezone.now())
    assert synced(connection).counts == {}
    row = PostureCheck.objects.get(check_id="KR-DL-01")
    assert (row.verdict, row.evidence["said_by"]) == (Verdict.MET, ACTOR.label)


def test_what_changed_is_kept_and_said_in_words(tmp_path: Path, settings: Settings) -> None:
    settings.REFERENCE_FOLDERS = (tmp_path,)
    with running(tmp_path) as server:
        connection = connected(known(server))
        port = str(server.places["port"])
        synced(connection)
    with running(tmp_path, "--lax", "--port", port):
        counts = synced(connection).counts
    assert counts["authorization_servers_changed"] == 1
    latest = MetadataSnapshot.objects.order_by("-id").first()
    assert "grant_types_supported gained implicit, password." in latest.differences
    assert "code_challenge_methods_supported gained plain." in latest.differences
    changed = PostureCheck.objects.get(check_id="MCP-AS-06")
    assert changed.verdict == Verdict.VIOLATED
    assert changed.changed_at == changed.checked_at


def test_a_token_is_called_after_its_client(authorization_server: Demo) -> None:
    synced(connected(known(authorization_server)))
    assert Credential.objects.filter(name__startswith="Claude Desktop (managed) / ").exists()
    assert not Credential.objects.filter(name__startswith="claude-desktop-managed").exists()


# ── As it fails ────────────────────────────────────────────────────────────────────────────────


def test_a_listing_that_is_refused_marks_nothing_gone(authorization_server: Demo, tmp_path: Path) -> None:
    connection = connected(known(authorization_server))
    synced(connection)
    wrong = authorization_server.folder / "wrong"
    wrong.write_text("guessed")
    connection.settings = known(authorization_server, management_token=f"file://{wrong}")
    connection.save()
    run = synced(connection)
    assert run.state == RunState.PARTIAL
    assert run.counts == {}
    assert any("refuses the credential" in problem["reason"] for problem in run.problems)


def test_a_token_that_can_no_longer_be_read_is_not_gone(authorization_server: Demo) -> None:
    connection = connected(known(authorization_server))
    synced(connection)
    connection.settings = known(authorization_server, tokens=[f"file://{authorization_server.folder}/nothing-here"])
    connection.save()
    run = synced(connection)
    assert run.state == RunState.PARTIAL
    assert not Credential.objects.exclude(gone_at=None).exists()


@contextmanager
def half_way(fails_at: Callable[[str], int]) -> Iterator[str]:
    """A server of two pages of clients. `fails_at` says with what status a path is answered."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, host = fails_at(self.path), f"http://{self.headers['Host']}"
            documents: dict[str, Any] = {
                "/clients": {"clients": [{"client_id": "one"}], "next": f"{host}/clients?2"},
                "/clients?2": {"clients": [{"client_id": "two"}], "next": None},
            }
            document = documents.get(self.path, {"issuer": host})
            body = json.dumps(document if status == 200 else {}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """A test's output is for its failures."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def listing_only(issuer: str, token: str) -> dict[str, str]:
    return {"issuer": issuer, "clients_url": f"{issuer}/clients", "management_token": f"file://{token}"}


def test_an_error_half_way_keeps_what_was_listed_and_marks_nothing_gone(authorization_server: Demo) -> None:
    token = authorization_server.places["files"]["management_token"]
    broken: set[str] = set()
    with half_way(lambda path: 500 if path in broken else 200) as issuer:
        connection = connected(listing_only(issuer, token))
        assert synced(connection).state == RunState.COMPLETE
        broken.add("/clients?2")
        run = synced(connection)
    assert (run.state, run.counts) == (RunState.PARTIAL, {})
    assert set(McpClient.objects.present().values_list("client_id", flat=True)) == {"one", "two"}


def test_an_answer_that_stands_for_all_tokens_is_not_asked_for_again(authorization_server: Demo) -> None:
    secrets = authorization_server.places["tokens"]
    with half_way(lambda _path: 200) as issuer:  # which takes no POST
        run = synced(
            connected(
                {
                    "issuer": issuer,
                    "client_id": "keyreeve",
                    "client_secret": f"file://{authorization_server.places['files']['introspection_secret']}",
                    "introspection_endpoint": f"{issuer}/introspect",
                    "tokens": [f"file://{secrets['mira-desktop']}", f"file://{secrets['ci-runner']}"],
                }
            )
        )
    assert run.state == RunState.PARTIAL
    first, second = [problem["reason"] for problem in run.problems]
    assert first == "The introspection endpoint answers 501 for now."
    assert second == "It was not asked about, after an answer that stands for all."


def test_a_client_of_whom_nobody_says_how_it_came_waits_for_a_decision(authorization_server: Demo) -> None:
    token = authorization_server.places["files"]["management_token"]
    with half_way(lambda _path: 200) as issuer:
        synced(connected(listing_only(issuer, token)))
    assert set(McpClient.objects.values_list("admission", flat=True)) == {Admission.QUARANTINED}


def test_metadata_that_cannot_be_read_makes_the_run_partial_and_the_checks_unknown(authorization_server: Demo) -> None:
    with half_way(lambda path: 404 if "well-known" in path else 200) as issuer:
        run = synced(connected({"issuer": issuer}))
    assert run.state == RunState.PARTIAL
    assert PostureCheck.objects.get(check_id="MCP-AS-04").verdict == Verdict.UNKNOWN


def test_a_server_that_does_not_answer_fails_the_run(free_tcp_port: int) -> None:
    run = synced(connected({"issuer": f"http://127.0.0.1:{free_tcp_port}"}))
    assert run.state == RunState.FAILED
    assert "does not answer" in run.error


def test_a_closed_network_fails_the_run(authorization_server: Demo, settings: Settings) -> None:
    settings.ALLOW_LOOPBACK = False
    assert synced(connected(known(authorization_server))).state == RunState.FAILED


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": ""},
        {"issuer": "not an address"},
        {"role": "perhaps"},
        {"clients_url": "ftp://files.example"},
        {"client_id": ""},
        {"client_secret": ""},
        {"client_auth": "tls_client_auth"},
        {"tokens": "all"},
        {"tokens": [7]},
        {"tokens": ["env://T"] * 600},
        {"token": "a typo"},
    ],
)
def test_settings_that_say_nothing_clear_fail_the_run_in_a_sentence(authorization_server: Demo, changed) -> None:
    run = synced(connected(known(authorization_server, **changed)))
    assert run.state == RunState.FAILED
    assert run.error.endswith(".")


def test_a_secret_that_is_bound_elsewhere_is_not_sent(authorization_server: Demo) -> None:
    run = synced(connected(known(authorization_server, bound_to="login.other.example")))
    assert any("bound to another host" in problem["reason"] for problem in run.problems)
    assert not McpClient.objects.exists()


def placed(settings: dict[str, Any]) -> Place:
    return Place(connection=connected(settings), started_at=timezone.now(), clock=timezone.now)


def test_a_check_says_what_the_connection_may_ask(authorization_server: Demo) -> None:
    assert "its clients can be listed" in oauth.check(placed(known(authorization_server)))


def test_a_check_says_why_it_may_not(authorization_server: Demo, settings: Settings) -> None:
    settings.REFERENCE_FOLDERS = ()
    with pytest.raises(Refused):
        oauth.check(placed(known(authorization_server)))
    wrong = authorization_server.folder / "wrong"
    wrong.write_text("guessed")
    settings.REFERENCE_FOLDERS = (authorization_server.folder,)
    with pytest.raises(Denied):
        oauth.check(placed(known(authorization_server, management_token=f"file://{wrong}")))
