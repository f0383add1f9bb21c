"""The pages of the kill switch: look first, confirm with the number, watch it; and a leaked value stays nowhere."""

import io
import json
import logging
import secrets
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.test import Client

from access.actors import Actor
from access.roles import Role
from config.actions import issue_token
from inventory.fingerprints import fingerprint
from inventory.states import ConnectionKind
from lifecycle.models import Batch, OperatingLimits, Operation
from lifecycle.states import BatchState
from lifecycle.tasks import sweep_batches
from tests import factories
from tests.people import HTMX, browser, owners_browser, text

pytestmark = pytest.mark.django_db
KEY = b"only-for-tests, and long enough"


@pytest.fixture
def cloud() -> Any:
    return factories.connection(kind=ConnectionKind.AWS, name="cloud")


@pytest.fixture
def mira() -> Client:
    return browser(Role.OPERATOR)


def everything_stored() -> str:
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT quote_ident(table_name) FROM information_schema.tables "
            "WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        )
        names = [name for (name,) in cursor.fetchall()]
        rows = []
        for name in names:
            cursor.execute(f"SELECT t::text FROM {name} t")
            rows += [row for (row,) in cursor.fetchall()]
    return "\n".join(rows)


def test_it_is_chosen_looked_at_confirmed_with_its_number_and_watched(mira: Client, cloud: Any) -> None:
    server = factories.server(name="tickets")
    for _ in range(3):
        factories.use(factories.credential(connection=cloud), server=server)
    assert f"?kind=server&amp;id={server.pk}" in text(mira.get("/batches/new/?q=tickets"))
    looked = text(mira.get(f"/batches/new/?kind=server&id={server.pk}"))
    assert "Revoke 3 credentials…" in looked
    assert not Batch.objects.exists()
    asked = {"kind": "server", "id": str(server.pk)}
    assert "Revoke 3 credentials</button>" in text(mira.post("/batches/revoke/", asked, headers=HTMX))
    refused = mira.post("/batches/revoke/", {**asked, "decided": "yes", "is_urgent": "on"})
    assert refused.status_code == 422
    mira.post("/batches/revoke/", {**asked, "decided": "yes", "is_urgent": "on", "reason": "leaked on a forum"})
    batch = Batch.objects.get()
    sweep_batches()
    assert Operation.objects.filter(batch=batch, is_urgent=True).count() == 3
    page = text(mira.get(f"/batches/{batch.pk}/"))
    assert "0 of 3 done" in page
    assert 'hx-trigger="every 3s"' in page
    part = text(mira.get(f"/batches/{batch.pk}/", headers=HTMX))
    assert part.lstrip().startswith('<div id="batch-progress"')
    assert text(mira.get(f"/batches/{batch.pk}/?format=csv")).count("\n") == 4
    assert "tickets" in text(mira.get("/batches/"))


@pytest.mark.parametrize("recorded", [True, False])
def test_a_person_is_cut_off_on_pages_and_over_rest(mira: Client, cloud: Any, recorded: bool) -> None:
    ana = factories.owner(name="Ana", email="ana@halden.example")
    factories.credential(connection=cloud, name="their token", subject="ana@halden.example" if recorded else "guest")
    person = str(ana.pk) if recorded else "guest"
    assert f"?kind=person&amp;id={ana.pk}" in text(mira.get("/batches/new/?q=Ana"))
    looked = text(mira.get("/batches/new/", {"kind": "person", "id": person}))
    assert "Revoke 1 credential…" in looked
    assert "their token" in looked
    token = issue_token("pager", Role.AUTOMATION, life=None, actor=Actor.system("tests"))
    rest = Client(headers={"Authorization": f"Token {token}", "Idempotency-Key": "one"})
    asked = {"scope": "person", "id": person, "reason": "the laptop was stolen"}
    answer = rest.post("/api/v1/batches/", asked, content_type="application/json")
    assert (answer.status_code, answer.json()["preview"]["credentials"]) == (201, 1)
    assert Batch.objects.get().scope["label"] == f"what {'Ana' if recorded else 'guest'} reaches"


def test_a_second_person_approves_on_the_page_and_the_first_cannot(mira: Client, cloud: Any) -> None:
    OperatingLimits.objects.create(second_person_from=1)
    factories.credential(connection=cloud)
    mira.post("/batches/revoke/", {"kind": "connection", "id": cloud.pk, "decided": "yes", "reason": "leak"})
    batch = Batch.objects.get()
    assert batch.state == BatchState.REQUESTED
    page = text(mira.get(f"/batches/{batch.pk}/"))
    assert "It waits for a second person" in page
    assert "Approve…" not in page
    decided = {"decided": "yes", "reason": "seen"}
    assert mira.post(f"/batches/{batch.pk}/approve/", decided).status_code == 422
    otto = browser(Role.OPERATOR)
    assert "Approve…" in text(otto.get(f"/batches/{batch.pk}/"))
    assert otto.post(f"/batches/{batch.pk}/approve/", decided).status_code == 302
    batch.refresh_from_db()
    assert batch.state == BatchState.RUNNING


def test_a_leaked_value_becomes_a_fingerprint_and_is_found_nowhere(
    mira: Client, cloud: Any, caplog: pytest.LogCaptureFixture
) -> None:
    value = "sk-" + secrets.token_urlsafe(32)
    known = factories.credential(connection=cloud, name="leaked one", fingerprint=fingerprint(value, key=KEY))
    said = []
    with caplog.at_level(logging.DEBUG):
        answer = mira.post("/batches/value/", {"value": f"  {value}\n"})
        said += [text(answer), str(answer.headers)]
        page = mira.get(answer.headers["Location"])
        said.append(text(page))
        assert "leaked one" in said[-1]
        scope = {"kind": "fingerprint", "id": known.fingerprint}
        done = mira.post("/batches/revoke/", {**scope, "decided": "yes", "reason": "seen in a paste"})
        said += [text(mira.get(done.headers["Location"])), text(mira.get("/batches/"))]
        unknown = "sk-" + secrets.token_urlsafe(32)
        said.append(text(mira.post("/batches/value/", {"value": unknown}, follow=True)))
        short = mira.post("/batches/value/", {"value": "secret7"}, follow=True)
        said.append(text(short))
    assert "The inventory does not know the value" in said[-2]
    assert Batch.objects.get().scope["label"] == "a leaked value"
    for place in (*said, caplog.text, everything_stored()):
        assert value not in place
        assert value[4:-4] not in place
        assert unknown not in place
        assert "secret7" not in place


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.AUDITOR])
def test_who_may_not_pull_it_finds_no_lever(role: Role, cloud: Any) -> None:
    factories.credential(connection=cloud)
    reader = browser(role)
    asked = {"kind": "connection", "id": str(cloud.pk), "decided": "yes", "reason": "x"}
    assert reader.post("/batches/revoke/", asked).status_code == 403
    assert "Choose what to revoke" not in text(reader.get("/batches/"))
    assert not Batch.objects.exists()


def test_an_owner_revokes_what_is_theirs_and_sees_no_batch_of_others(mira: Client, cloud: Any) -> None:
    browser_, me = owners_browser()
    mine, theirs = factories.credential(owner=me, connection=cloud), factories.credential(connection=cloud)
    decided = {"decided": "yes", "reason": "not needed"}
    assert browser_.post("/batches/revoke/", {"id": [mine.pk, theirs.pk], **decided}).status_code == 404
    browser_.post("/batches/revoke/", {"kind": "owner", "id": str(me.pk), **decided})
    assert not Batch.objects.exists()
    assert browser_.post("/batches/revoke/", {"id": str(mine.pk), **decided}).status_code == 302
    own = Batch.objects.get()
    mira.post("/batches/revoke/", {"id": str(theirs.pk), **decided})
    other = Batch.objects.exclude(pk=own.pk).get()
    assert browser_.get(f"/batches/{own.pk}/").status_code == 200
    assert browser_.get(f"/batches/{other.pk}/").status_code == 404


def test_a_page_of_many_asks_the_database_no_more_often(
    mira: Client, cloud: Any, django_assert_max_num_queries: Any
) -> None:
    for _ in range(30):
        factories.use(factories.credential(connection=cloud))
    with django_assert_max_num_queries(12):
        mira.get(f"/batches/new/?kind=connection&id={cloud.pk}")
    mira.post("/batches/revoke/", {"kind": "connection", "id": cloud.pk, "decided": "yes", "reason": "leak"})
    batch = Batch.objects.get()
    with django_assert_max_num_queries(12):
        mira.get(f"/batches/{batch.pk}/")
    with django_assert_max_num_queries(8):
        mira.get(f"/batches/{batch.pk}/", headers=HTMX)


# ── REST and the command line ──────────────────────────────────────────────────────────────────


def test_over_rest_it_is_asked_for_once_a_key_and_approved_by_no_token(
    cloud: Any, caplog: pytest.LogCaptureFixture
) -> None:
    OperatingLimits.objects.create(second_person_from=1)
    value = "sk-" + secrets.token_urlsafe(32)
    factories.credential(connection=cloud, fingerprint=fingerprint(value, key=KEY))
    token = issue_token("robot", Role.AUTOMATION, life=None, actor=Actor.system("tests"))
    robot = Client(headers={"Authorization": f"Token {token}", "Idempotency-Key": "one"})

    def post(path: str, **body: Any) -> Any:
        return robot.post(f"/api/v1/batches/{path}", body, content_type="application/json")

    with caplog.at_level(logging.DEBUG):
        first = post("", value=value, reason="leaked")
        again = post("", value=value, reason="leaked")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json()["id"] == again.json()["id"]
    assert first.json()["state"] == "requested"
    one = f"{first.json()['id']}/"
    robot.defaults.pop("HTTP_IDEMPOTENCY_KEY", None)
    assert post(f"{one}approve/", reason="me").status_code in {403, 422}
    told = robot.get(f"/api/v1/batches/{one}").json()
    assert told["counts"] == {"waiting": 1}
    assert told["preview"]["credentials"] == 1
    for place in (text(first), caplog.text, everything_stored()):
        assert value not in place


def test_the_command_line_says_first_and_does_with_yes(cloud: Any, capsys: Any, monkeypatch: Any) -> None:
    value = "sk-" + secrets.token_urlsafe(32)
    factories.credential(connection=cloud, fingerprint=fingerprint(value, key=KEY))
    call_command("kill", "connection", "cloud")
    assert "Nothing was changed" in capsys.readouterr().out
    with pytest.raises(CommandError, match="standard input"):
        call_command("kill", "fingerprint", value, "--yes", "--reason", "x")
    call_command("kill", "connection", "cloud", "--drill", "--reason", "quarterly", "--format", "json")
    assert json.loads(capsys.readouterr().out)["is_drill"] is True
    assert not Operation.objects.exists()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{value}\n"))
    call_command("kill", "fingerprint", "--yes", "--reason", "leaked", "--format", "json")
    said = capsys.readouterr().out
    assert (json.loads(said)["state"], json.loads(said)["size"]) == ("running", 1)
    assert value not in said + everything_stored()
    assert Operation.objects.get().is_urgent


@pytest.mark.parametrize("person", ["Ana", "guest@elsewhere.example"])
def test_the_command_line_takes_a_person_by_name_or_as_their_tokens_call_them(cloud: Any, capsys: Any, person: str):
    factories.owner(name="Ana", email="ana@halden.example")
    for subject in ("ana@halden.example", "guest@elsewhere.example", "guest@elsewhere.example"):
        factories.credential(connection=cloud, subject=subject)
    call_command("kill", "person", person, "--format", "json")
    assert json.loads(capsys.readouterr().out)["would"]["credentials"] == (1 if person == "Ana" else 2)


def test_every_page_of_something_leads_there(mira: Client, cloud: Any) -> None:
    key = factories.credential(connection=cloud)
    use = factories.use(key)
    owner = factories.owner()
    for path, kind, row in (
        ("servers", "server", use.server), ("clients", "client", use.client), ("owners", "owner", owner),
        ("connections", "connection", cloud), ("credentials", "credentials", key),
    ):  # fmt: skip
        assert f"/batches/new/?kind={kind}&amp;id={row.pk}" in text(mira.get(f"/{path}/{row.pk}/")), path
    auditor = browser(Role.AUDITOR)
    assert "/batches/new/" not in text(auditor.get(f"/servers/{use.server_id}/"))
