"""The audit chain on pages."""

from pathlib import Path
from uuid import uuid4

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from audit.actions import action, record
from audit.errors import NotExported
from audit.events import Event
from audit.exports import compare, export_due, note_verification
from audit.heads import sign_head, signing_key
from audit.models import AuditEntry
from audit.places import Folder
from audit.sentences import detail_line
from tests import factories
from tests.people import browser, owners_browser, person, text

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("test")


@action
def write(subject=None, actor: Actor = SYSTEM, event: Event = Event.OWNER_CHANGED, **detail: object) -> None:
    record(event, actor=actor, subject=subject, detail=detail)


def test_an_entry_shows_what_is_sealed_and_that_it_verifies():
    owner = factories.owner(name="Mira Okafor")
    write(owner)
    write(owner, **{"from": "Stefan Brandt", "to": "Mira Okafor", "reason": "he moved"})
    entry = AuditEntry.objects.get(seq=2)
    before = AuditEntry.objects.get(seq=1)
    page = text(browser(Role.AUDITOR).get("/audit/2/"))
    assert bytes(entry.hash).hex() in page
    assert bytes(before.hash).hex() in page
    assert "Verified just now." in page
    assert "Stefan Brandt → Mira Okafor, “he moved”" in page
    assert f"/owners/{owner.pk}/" in page


def test_the_first_entry_follows_from_nothing():
    write()
    page = text(browser(Role.AUDITOR).get("/audit/1/"))
    assert "0" * 64 in page
    assert "Verified just now." in page


@pytest.mark.parametrize(
    ("tampering", "complaint"),
    [
        ("UPDATE audit_auditentry SET actor_label = 'nobody' WHERE seq = 2", "actor_label differs"),
        ("UPDATE audit_auditentry SET text = replace(text, 'test', 'best') WHERE seq = 2", "does not follow"),
        ("DELETE FROM audit_auditentry WHERE seq = 1", "Entry 1 is missing"),
    ],
)
def test_an_entry_that_was_tampered_with_is_said_to_be(tampering, complaint):
    write()
    write()
    with database.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(tampering)
        cursor.execute("SET LOCAL session_replication_role = origin")
    page = text(browser(Role.AUDITOR).get("/audit/2/"))
    assert "This entry does not verify." in page
    assert complaint in page


def signs(folder: Path) -> None:
    key = signing_key(folder / "key", now=timezone.now(), actor=SYSTEM)
    sign_head(key, now=timezone.now(), actor=SYSTEM)


def test_heads_are_listed_with_where_they_are_and_that_they_were_verified(tmp_path):
    write()
    signs(tmp_path)
    place = Folder(tmp_path / "heads")
    auditor = browser(Role.AUDITOR)
    assert "not yet" in text(auditor.get("/audit/heads/"))
    export_due([place], clock=timezone.now, actor=SYSTEM)
    note_verification(compare(place), place.address, actor=SYSTEM)
    page = text(auditor.get("/audit/heads/"))
    assert place.address in page
    assert "complete <time" in page
    assert "4 entries, 1 head" in page
    assert "Verified" in text(auditor.get("/audit/"))
    assert place.address in auditor.get("/audit/heads/?format=csv").getvalue().decode()


def test_a_place_that_refuses_heads_is_said_on_the_audit_page(tmp_path):
    write()
    signs(tmp_path)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NotExported):
        export_due([Folder(tmp_path / "file")], clock=timezone.now, actor=SYSTEM)
    for address in ("/audit/", "/audit/heads/"):
        page = text(browser(Role.AUDITOR).get(address))
        assert "Chain heads are not exported" in page
        assert "cannot be written to" in page


def test_a_chain_that_was_found_broken_is_said_on_the_audit_page(tmp_path):
    write()
    write()
    with database.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE audit_auditentry SET actor_label = 'nobody' WHERE seq = 2")
        cursor.execute("SET LOCAL session_replication_role = origin")
    place = Folder(tmp_path / "heads")
    note_verification(compare(place), place.address, actor=SYSTEM)
    page = text(browser(Role.AUDITOR).get("/audit/"))
    assert "The audit chain does not hold." in page
    assert "Entry 2: actor_label differs" in page


def test_an_owner_sees_heads_and_keys_and_not_where_they_are(tmp_path):
    own, _ = owners_browser()
    signs(tmp_path)
    export_due([Folder(tmp_path / "heads")], clock=timezone.now, actor=SYSTEM)
    page = text(own.get("/audit/heads/"))
    assert "Last signed" in page
    assert "Exported to</dt>" not in page


def test_a_signed_head_that_covers_an_entry_is_named(tmp_path):
    write()
    signs(tmp_path)
    assert "covers it" in text(browser(Role.AUDITOR).get("/audit/1/"))
    assert "Head signed" in text(browser(Role.AUDITOR).get("/audit/"))


@pytest.mark.parametrize("seq", ["0", "77", "9" * 30])
def test_an_entry_that_does_not_exist_is_not_found(seq):
    assert browser(Role.AUDITOR).get(f"/audit/{seq}/").status_code == 404


def test_an_owner_reads_what_they_did_and_nothing_else():
    own, me = owners_browser()
    write(factories.owner(name="Somebody Else"))
    write(me, actor=me.user.as_actor())
    entries = {entry.actor_label: entry.seq for entry in AuditEntry.objects.filter(event=Event.OWNER_CHANGED)}
    page = text(own.get("/audit/"))
    assert "Somebody Else" not in page
    assert own.get(f"/audit/{entries['test']}/").status_code == 404
    assert own.get(f"/audit/{entries[str(me.user)]}/").status_code == 200


def test_the_list_says_each_entry_in_a_line_and_links_its_subject():
    server = factories.server(name="github-prod")
    write(server, event=Event.SERVER_OWNER_ASSIGNED, **{"as": "iam_owner", "from": None, "to": "Mira Okafor"})
    page = text(browser(Role.AUDITOR).get("/audit/"))
    assert "Server owner assigned" in page
    assert "IAM owner: nobody → Mira Okafor" in page
    assert f"/servers/{server.pk}/" in page


def test_the_list_is_narrowed_by_event_and_searched():
    write(factories.owner(name="Mira Okafor"))
    write(factories.owner(name="Stefan Brandt"), event=Event.OWNER_CREATED)
    auditor = browser(Role.AUDITOR)
    assert "Mira Okafor" not in text(auditor.get("/audit/", {"event": Event.OWNER_CREATED.value}))
    assert "Stefan Brandt" not in text(auditor.get("/audit/", {"q": "okaf"}))


def test_an_entry_costs_few_queries():
    write(factories.owner())
    auditor = browser(Role.AUDITOR)
    with CaptureQueriesContext(database) as queries:
        auditor.get("/audit/1/")
    assert len(queries) <= 12


def test_pages_of_the_chain_need_a_role():
    write()
    nobody = Client()
    nobody.force_login(person())
    assert nobody.get("/audit/1/").status_code == 403
    assert Client().get("/audit/1/").status_code == 302


@pytest.mark.parametrize(
    ("detail", "line"),
    [
        ({}, ""),
        ({"from": None, "to": "Mira", "reason": ""}, "nobody → Mira"),
        ({"changed": {"is_active": "False"}, "reason": "left"}, "not active, “left”"),
        ({"changes": {"uses_added": 3}, "read": 42, "unread": 0}, "uses added 3, read 42, unread 0"),
        ({"is_enabled": False}, "not enabled"),
        ({"digest": "a" * 64}, "digest aaaaaaaaaaaa…"),
        ({"rule": "stale", "server": "01a20ae9-8615-77e7-9e4e-ee7130a4e826"}, "rule stale"),
        ({"dates": {"issued_at": "2026-09-08T00:16:54.356135+00:00"}}, "issued at 8 Sep 2026 00:16"),
        ({"ends_at": "2026-12-04T00:00:00+00:00"}, "ends at 4 Dec 2026"),
    ],
)
def test_a_detail_reads_as_one_line(detail, line):
    assert detail_line(detail) == line


def test_only_an_owner_can_be_nobody():
    assert detail_line({"from": None, "to": "prod"}, Event.SERVER_ENVIRONMENT_ASSIGNED) == "none → prod"
    assert detail_line({"from": "Mira", "to": None}, Event.CLIENT_OWNER_ASSIGNED) == "Mira → nobody"


@pytest.mark.parametrize(
    ("event", "detail", "line"),
    [
        (
            Event.OPERATION_REQUESTED,
            {"kind": "rotation", "credential": "deploy", "trigger": "kill_switch", "reason": "It leaked"},
            "by the kill switch, “It leaked”",
        ),
        (
            Event.OPERATION_STEP_ENDED,
            {"step": "quiet", "credential": "deploy", "said": "The quiet period has passed."},
            "The quiet period has passed.",
        ),
        (
            Event.OPERATION_COMPLETED,
            {
                "step": "verify_gone",
                "credential": "x",
                "kind": "rotation",
                "proof": "verified",
                "said": "It is refused.",
            },
            "verified, It is refused.",
        ),
        (Event.OPERATION_VERIFIED, {"said": "Mira saw it refused: a call"}, "Mira saw it refused: a call"),
        (Event.OPERATION_ACKNOWLEDGED, {"consumer": "billing", "how": "api"}, "billing, known because it said so"),
        (Event.OPERATION_ASSIGNED, {"from": None, "to": "Mira", "reason": ""}, "nobody → Mira"),
        (
            Event.BATCH_REQUESTED,
            {"credentials": 3, "kind": "revocation", "urgent": False, "reason": "It leaked"},
            "credentials 3, revocation, “It leaked”",
        ),
        (
            Event.FREEZE_SET,
            {"environment": "every environment", "begins_at": "2026-12-20T00:00:00+00:00", "ends_at": None},
            "every environment, from 20 Dec 2026",
        ),
        (
            Event.WINDOW_SET,
            {"environment": "prod", "weekdays": [1, 3], "begins": "22:00", "minutes": 90, "timezone": "Europe/Oslo"},
            "prod, on Mon, Wed, from 22:00, for 90 minutes, Europe/Oslo",
        ),
        (
            Event.CLIENT_SUCCEEDED,
            {"from": "mcp_old1", "to": "mcp_new2", "owner": "Platform", "admission": "admitted", "grants": 2},
            "mcp_old1 → mcp_new2, owner Platform, admitted, grants carried over: 2",
        ),
        (
            Event.GRANT_CARRIED_OVER,
            {"client": "mcp_new2", "server": "billing", "tools": ["read_invoice"], "scopes": ["billing:read"]},
            "to mcp_new2, at billing, tools read_invoice, scopes billing:read",
        ),
        (
            Event.CREDENTIAL_ABSORBED,
            {"by": "deploy key", "credential": str(uuid4()), "owner": "Platform", "identity": "aws:AKIA"},
            "as a version of deploy key, its owner was Platform",
        ),
        (
            Event.EXPOSURE_REPLACED,
            {
                "file": "/home/ana/my_repo/.mcp.json",
                "pointer": "/mcpServers/one/env/API_KEY",
                "line": 7,
                "reference": "${env:API_KEY}",
                "delivered_to": "",
                "replaced_at": "2026-11-28T06:00:00+00:00",
            },
            "/home/ana/my_repo/.mcp.json, at /mcpServers/one/env/API_KEY, line 7, by ${env:API_KEY}",
        ),
    ],
)
def test_what_happens_to_operations_reads_as_one_line(event, detail, line):
    assert detail_line(detail, event) == line


def test_a_long_detail_is_cut():
    assert len(detail_line({"reason": "x" * 5_000})) == 240
