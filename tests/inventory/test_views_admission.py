"""The pages around a client's admission: the queue, decisions, hygiene, removals, the registration burn-down."""

import secrets
from datetime import timedelta
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from inventory.actions import removals
from inventory.actions.hygiene import score_clients
from inventory.models import AuthorizationServer, ClientRemoval, McpClient
from inventory.posture.issuer_metadata import REGISTRATION_ENDS_ON
from inventory.states import Admission, Registration, RemovalStage
from tests import factories
from tests.inventory.test_admission import ISSUER, dynamic, these
from tests.people import HTMX, browser, owners_browser, text

pytestmark = pytest.mark.django_db
ACTOR = Actor.system("tests")
DAY = timedelta(days=1)
LISTS = ["/clients/admission/", "/clients/hygiene/", "/clients/removals/", "/clients/registration/"]
LETTING_IN = ["/clients/admit/", "/clients/reinstate/"]
NARROWING = ["/clients/suspend/", "/clients/quarantine/", "/clients/remove/"]
GIVEN = {"decided": "yes", "reason": "we know whose it is", "notice_days": "7", "quiet_days": "14"}


def announced(client: McpClient, **values: object) -> ClientRemoval:
    given = {"actor": ACTOR, "now": timezone.now(), "reason": "nobody claims it", **values}
    removals.announce_removals(these(client), **given)
    return ClientRemoval.objects.get(client=client)


def admission_of(client: McpClient) -> str:
    return McpClient.objects.values_list("admission", flat=True).get(pk=client.pk)


@pytest.mark.parametrize("path", LISTS)
def test_an_empty_page_says_what_fills_it(path: str):
    page = text(browser(Role.ADMINISTRATOR).get(path))
    assert "authorization server" in page or "A removal begins" in page


@pytest.mark.parametrize("path", LISTS)
def test_nobody_reads_without_signing_in(path: str):
    assert "/login/" in Client().get(path).headers["Location"]


@pytest.mark.parametrize("path", LISTS)
def test_an_owner_sees_nothing_of_others(path: str):
    client = dynamic(name="Of somebody else", hygiene="dead", hygiene_key="[]")
    announced(client)
    page = text(owners_browser()[0].get(path))
    assert "Of somebody else" not in page


@pytest.mark.parametrize("path", LETTING_IN + NARROWING)
def test_an_auditor_decides_nothing(path: str):
    client = dynamic()
    assert browser(Role.AUDITOR).post(path, {"id": client.pk, **GIVEN}).status_code == 403


@pytest.mark.parametrize("path", LETTING_IN)
def test_an_owner_lets_nobody_in(path: str):
    who, owner = owners_browser()
    assert who.post(path, {"id": dynamic(owner=owner).pk, **GIVEN}).status_code == 403


@pytest.mark.parametrize("path", NARROWING)
def test_an_owner_decides_nothing_about_clients_of_others(path: str):
    assert owners_browser()[0].post(path, {"id": dynamic().pk, **GIVEN}).status_code == 404


def test_the_queue_tells_what_is_known_of_a_client():
    dynamic(name="Helper", redirect_uris=["https://pdf.example/cb"], scopes=["repo:write"])
    page = text(browser(Role.REVIEWER).get("/clients/admission/"))
    assert all(words in page for words in ("Helper", "pdf.example", "repo:write", "id.halden.example", "Admit…"))


def test_the_queue_holds_only_what_waits():
    dynamic(name="Decided", admission=Admission.ADMITTED)
    assert "Nobody waits" in text(browser(Role.REVIEWER).get("/clients/admission/"))


def test_the_queue_takes_no_query_per_client(django_assert_max_num_queries):
    connection = dynamic().connection
    for n in range(30):
        dynamic(connection=connection, client_id=f"c{n}")
    who = browser(Role.REVIEWER)
    with django_assert_max_num_queries(16):
        who.get("/clients/admission/")


def test_the_navigation_counts_who_waits():
    dynamic()
    groups = browser(Role.REVIEWER).get("/clients/admission/").context["nav"]
    entries = {entry["label"]: entry for group in groups for entry in group["entries"]}
    assert entries["Admission"]["count"] == "1"
    assert [label for label, entry in entries.items() if entry["current"]] == ["Admission"]


def test_picked_clients_are_admitted_after_a_question():
    clients = [dynamic(), dynamic()]
    who = browser(Role.REVIEWER)
    ids = [str(client.pk) for client in clients]
    assert "Admit 2 clients" in text(who.post("/clients/admit/", {"id": ids}))
    page = text(who.post("/clients/admit/", {"id": ids, **GIVEN}, follow=True))
    assert "2 clients admitted" in page
    assert {admission_of(client) for client in clients} == {Admission.ADMITTED}


def test_a_decision_without_a_reason_is_asked_again():
    client = dynamic()
    response = browser(Role.REVIEWER).post("/clients/suspend/", {"id": client.pk, "decided": "yes"})
    assert (response.status_code, admission_of(client)) == (422, Admission.QUARANTINED)


def test_all_clients_in_somebodys_name_are_suspended_at_once():
    ana = factories.owner(name="Ana")
    theirs = [dynamic(owner=ana, admission=Admission.ADMITTED), dynamic(owner=ana)]
    factories.client(owner=ana)  # only a file names it
    others = dynamic()
    who = browser(Role.REVIEWER)
    asked = text(who.get(f"/clients/suspend/?owner={ana.pk}"))
    assert "Suspend 2 clients" in asked
    assert "1 client that only a file names" in asked
    assert "2 clients suspended here" in text(who.post("/clients/suspend/", {"owner": ana.pk, **GIVEN}, follow=True))
    assert [admission_of(client) for client in theirs] == [Admission.SUSPENDED] * 2
    assert admission_of(others) == Admission.QUARANTINED
    assert "can be suspended" in text(who.get(f"/clients/suspend/?owner={ana.pk}", follow=True))


def test_an_owner_does_not_suspend_what_is_in_anothers_name():
    client = dynamic(owner=factories.owner())
    who, _ = owners_browser()
    for owner in (client.owner_id, "nobody"):
        assert who.post("/clients/suspend/", {"owner": owner, **GIVEN}).status_code == 404
    assert admission_of(client) == Admission.QUARANTINED


def test_a_suspension_says_that_the_client_is_still_accepted_there():
    client = dynamic()
    who = browser(Role.REVIEWER)
    assert "goes on accepting" in text(who.get(f"/clients/suspend/?id={client.pk}", headers=HTMX))
    who.post("/clients/suspend/", {"id": client.pk, **GIVEN})
    page = text(who.get(f"/clients/{client.pk}/"))
    assert f"Still accepted there.</b> It is suspended in Keyreeve; {ISSUER}" in page


def test_a_removal_begins_with_its_days():
    client = dynamic()
    browser(Role.REVIEWER).post("/clients/remove/", {"id": client.pk, **GIVEN})
    removal = ClientRemoval.objects.get()
    assert (removal.stage, removal.quiet) == (RemovalStage.ANNOUNCED, 14 * DAY)


def test_the_owner_reads_of_it_on_their_own_page():
    who, owner = owners_browser()
    announced(dynamic(name="Old cursor", owner=owner))
    page = text(who.get(f"/owners/{owner.pk}/"))
    assert "Clients being removed" in page
    assert "Old cursor" in page


def test_the_owner_withdraws_it_on_the_clients_page():
    who, owner = owners_browser()
    client = dynamic(owner=owner)
    removal = announced(client)
    assert "Withdraw…" in text(who.get(f"/clients/{client.pk}/"))
    who.post("/clients/removals/withdraw/", {"id": removal.pk, "decided": "yes", "reason": "I use it"})
    removal.refresh_from_db()
    assert removal.stage == RemovalStage.WITHDRAWN


def test_the_dead_of_a_group_are_removed_at_once_and_the_live_are_not():
    live = dynamic(name="Cursor", issued_at=timezone.now() - 200 * DAY, last_used_at=timezone.now())
    dead = [dynamic(name="Cursor", client_id=f"d{n}", issued_at=timezone.now() - 200 * DAY) for n in range(3)]
    score_clients(ISSUER, now=timezone.now())
    live.refresh_from_db()
    who = browser(Role.REVIEWER)
    page = text(who.get("/clients/hygiene/"))
    assert "Remove the dead…" in page
    address = "/clients/remove/?" + urlencode({"group": live.hygiene_key, "hygiene": "dead"})
    assert "Remove 3 clients" in text(who.get(address, headers=HTMX))
    who.post("/clients/remove/", {"group": live.hygiene_key, "hygiene": "dead", **GIVEN})
    assert set(ClientRemoval.objects.values_list("client", flat=True)) == {client.pk for client in dead}


def test_groups_are_paged_forth_and_back():
    connection = dynamic().connection
    for n in range(60):
        key = f'["{ISSUER}","name {n:03}",[]]'
        dynamic(connection=connection, name=f"name {n:03}", client_id=f"c{n}", hygiene="dead", hygiene_key=key)
    who = browser(Role.REVIEWER)
    first = who.get("/clients/hygiene/")
    second = who.get("/clients/hygiene/" + first.context["later"])
    back = who.get("/clients/hygiene/" + second.context["earlier"])
    assert [group.name for group in second.context["groups"]][:1] == ["name 025"]
    assert [group.key for group in back.context["groups"]] == [group.key for group in first.context["groups"]]


def test_hygiene_takes_no_query_per_group(django_assert_max_num_queries):
    connection = dynamic().connection
    for n in range(25):
        dynamic(connection=connection, client_id=f"c{n}", hygiene="dead", hygiene_key=f"[{n}]")
    who = browser(Role.REVIEWER)
    with django_assert_max_num_queries(12):
        who.get("/clients/hygiene/")


def test_the_burn_down_says_how_many_days_are_left():
    dynamic()
    days = (REGISTRATION_ENDS_ON - timezone.now().date()).days
    page = text(browser(Role.REVIEWER).get("/clients/registration/"))
    assert f"{days} days</b> from now" in page
    assert "28 July 2027" in page


def test_a_client_is_ready_where_its_server_takes_documents_and_its_name_has_one():
    client = dynamic(name="Desk assistant")
    dynamic(name="Desk assistant", client_id="https://desk.example/c.json", registration=Registration.CIMD)
    issuer = AuthorizationServer.objects.filter(pk=client.authorization_server_id)
    who = browser(Role.REVIEWER)
    assert who.get("/clients/registration/").context["dependents"][0].readiness == "unknown"
    issuer.update(metadata={"issuer": ISSUER}, capabilities=["dcr"])
    assert who.get("/clients/registration/").context["dependents"][0].readiness == "server"
    issuer.update(capabilities=["dcr", "cimd"])
    assert who.get("/clients/registration/").context["dependents"][0].readiness == "ready"


def test_months_before_anybody_looked_say_at_least():
    now = timezone.now()
    dynamic(issued_at=now - 200 * DAY, first_seen_at=now - 10 * DAY)
    months = browser(Role.REVIEWER).get("/clients/registration/").context["months"]
    assert (months[-1].is_known, months[-1].leaving) == (False, 1)
    assert months[0].is_known


def test_an_operator_says_where_a_registration_token_is(settings, tmp_path):
    settings.REFERENCE_FOLDERS = (tmp_path,)
    client = dynamic(registration_uri=f"{ISSUER}/register/abc")
    path = f"/clients/{client.pk}/registration-token/"
    given = {"decided": "yes", "reason": "ours", "uri": client.registration_uri}
    who = browser(Role.OPERATOR)
    assert who.post(path, {**given, "reference": "file:///etc/shadow"}).status_code == 422
    assert who.post(path, {**given, "reference": "ghp_pasted"}).status_code == 422
    who.post(path, {**given, "reference": f"file://{tmp_path}/token"})
    assert McpClient.objects.get(pk=client.pk).registration_reference == f"file://{tmp_path}/token"


def test_a_token_pasted_in_place_of_its_reference_is_not_shown_again():
    client, pasted = dynamic(registration_uri=f"{ISSUER}/register/abc"), secrets.token_urlsafe(24)
    given = {"decided": "yes", "reason": "ours", "uri": client.registration_uri, "reference": pasted}
    answer = browser(Role.OPERATOR).post(f"/clients/{client.pk}/registration-token/", given)
    assert (answer.status_code, pasted in answer.content.decode()) == (422, False)
    assert "it was taken out and is kept nowhere" in text(answer)
    assert McpClient.objects.get(pk=client.pk).registration_reference == ""


def test_a_reviewer_does_not_say_where_tokens_are():
    assert browser(Role.REVIEWER).get(f"/clients/{dynamic().pk}/registration-token/").status_code == 403


def test_a_client_that_is_nothing_is_not_found():
    assert browser(Role.REVIEWER).post("/clients/admit/", {"id": uuid4(), **GIVEN}).status_code == 404


def test_a_program_that_only_a_file_names_is_not_decided_about():
    client = factories.client()
    assert "Suspend…" not in text(browser(Role.REVIEWER).get(f"/clients/{client.pk}/"))


def test_removals_are_read_over_rest():
    removal = announced(dynamic(name="Old cursor"))
    found = browser(Role.AUDITOR).get("/api/v1/client-removals/?ended=false").json()["results"]
    assert [(row["id"], row["stage"], row["client"]["display"]) for row in found] == [
        (str(removal.pk), "announced", "Old cursor")
    ]


def test_clients_are_filtered_by_hygiene_and_admission_over_rest():
    dead = dynamic(hygiene="dead")
    dynamic(client_id="other")
    found = browser(Role.AUDITOR).get("/api/v1/clients/?hygiene=dead&admission=quarantined").json()["results"]
    assert [row["id"] for row in found] == [str(dead.pk)]
