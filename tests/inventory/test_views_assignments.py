"""The questions behind “Assign owner…”, “Set environment…” and “Classify…”."""

from uuid import uuid4

import pytest
from django.test import Client

from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from inventory.models import Owner
from inventory.states import ServerRole
from tests import factories
from tests.people import HTMX, browser, owners_browser, person, text

pytestmark = pytest.mark.django_db

OWNER_QUESTIONS = ["/credentials/assign-owner/", "/clients/assign-owner/", "/servers/assign-owner/"]
QUESTIONS = [
    *OWNER_QUESTIONS,
    "/credentials/assign-environment/",
    "/servers/assign-environment/",
    "/servers/classify/",
]
MAKE = {"credentials": factories.credential, "clients": factories.client, "servers": factories.server}


def subject_of(path: str, **values: object):
    return MAKE[path.split("/")[1]](**values)


def answer(path: str, who: Client, row, **given: str):
    form = {"decided": "yes", "id": str(row.pk), "reason": "he moved to Brokerage", "role": "platform_owner", **given}
    return who.post(path, form, follow=True)


@pytest.mark.parametrize("path", QUESTIONS)
def test_nobody_is_asked_without_signing_in(path):
    assert "/login/" in Client().get(path).headers["Location"]


@pytest.mark.parametrize("path", QUESTIONS)
def test_an_auditor_may_only_read(path):
    row = subject_of(path)
    assert answer(path, browser(Role.AUDITOR), row).status_code == 403


@pytest.mark.parametrize("path", QUESTIONS)
def test_picked_rows_lead_to_a_question_that_names_them(path):
    rows = [subject_of(path, name=f"row number {n}") for n in (1, 2, 3, 4)]
    response = browser(Role.ADMINISTRATOR).post(path, {"id": [str(row.pk) for row in rows]})
    page = text(response)
    assert response.status_code == 200
    assert "row number 1, row number 2, row number 3 and 1 more" in page
    assert all(f'name="id" value="{row.pk}"' in page for row in rows)


@pytest.mark.parametrize("path", QUESTIONS)
def test_htmx_gets_the_question_as_a_dialog(path):
    row = subject_of(path)
    response = browser(Role.ADMINISTRATOR).get(path, {"id": str(row.pk)}, headers=HTMX)
    assert text(response).startswith('<dialog id="question"')
    assert "HX-Request" in response.headers["Vary"]


@pytest.mark.parametrize("path", QUESTIONS)
@pytest.mark.parametrize("given", ["no-uuid", "01a20000-0000-7000-8000-000000000000"])
def test_what_does_not_exist_cannot_be_changed(path, given):
    assert browser(Role.ADMINISTRATOR).post(path, {"id": given}).status_code == 404


@pytest.mark.parametrize("path", QUESTIONS)
def test_without_a_pick_the_list_says_so(path):
    response = browser(Role.ADMINISTRATOR).post(path, follow=True)
    assert "were picked." in text(response)


@pytest.mark.parametrize("path", OWNER_QUESTIONS)
def test_assigning_an_owner_changes_hands_and_is_recorded(path):
    row, owner = subject_of(path), factories.owner(name="Mira Okafor")
    response = answer(path, browser(Role.REVIEWER), row, owner="mira okafor")
    row.refresh_from_db()
    assert (row.platform_owner if "servers" in path else row.owner) == owner
    assert "Mira Okafor now answers for 1 " in text(response)
    entry = AuditEntry.objects.first()
    assert entry.event.endswith(".owner_assigned")
    assert entry.subject_id == str(row.pk)
    assert entry.detail["to"] == "Mira Okafor"
    assert entry.detail["reason"] == "he moved to Brokerage"


def test_one_entry_is_recorded_for_each_credential():
    rows = [factories.credential() for _ in range(3)]
    factories.owner(name="Routing")
    form = {"decided": "yes", "id": [str(row.pk) for row in rows], "owner": "Routing", "reason": "they use it"}
    response = browser(Role.REVIEWER).post("/credentials/assign-owner/", form, follow=True)
    assert "Routing now answers for 3 credentials." in text(response)
    assert AuditEntry.objects.filter(event=Event.CREDENTIAL_OWNER_ASSIGNED).count() == 3


@pytest.mark.parametrize("path", OWNER_QUESTIONS)
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"owner": "Nobody Such"}, "Nobody is called “Nobody Such”."),
        ({"owner": ""}, "Choose who answers from now on."),
        ({"owner": "Stefan Brandt"}, "Stefan Brandt has left. Choose an active owner."),
        ({"owner": "Ana Duarte"}, "Several owners are called “Ana Duarte”."),
        ({"owner": "Mira Okafor", "reason": ""}, "Say why they answer for it."),
        ({"owner": "Mira Okafor", "new_name": "Somebody Else"}, "not both"),
        ({"owner": "", "new_email": "new@halden.example"}, "A new owner needs a name."),
        ({"owner": "", "new_name": "Twin", "new_email": "mira@halden.example"}, "Another owner has this e-mail"),
    ],
)
def test_a_refused_answer_says_why_and_keeps_what_was_typed(path, given, complaint):
    row = subject_of(path)
    factories.owner(name="Mira Okafor", email="mira@halden.example")
    factories.owner(name="Stefan Brandt", is_active=False)
    factories.owner(name="Ana Duarte", email="a@halden.example")
    factories.owner(name="Ana Duarte", email="b@halden.example")
    response = answer(path, browser(Role.REVIEWER), row, **given)
    assert response.status_code == 422
    page = text(response)
    assert complaint in page.replace("&#x27;", "'")
    assert all(f'value="{value}"' in page for value in given.values() if value)
    assert not AuditEntry.objects.filter(event__endswith="owner_assigned").exists()


@pytest.mark.parametrize("named", ["{email}", "{name} <{email}>", "{pk}"])
def test_an_owner_is_found_by_address_and_by_id(named):
    row = factories.credential()
    factories.owner(name="Ana Duarte", email="a@halden.example")
    meant = factories.owner(name="Ana Duarte", email="b@halden.example")
    answer(
        "/credentials/assign-owner/",
        browser(Role.REVIEWER),
        row,
        owner=named.format(name=meant.name, email=meant.email, pk=meant.pk),
    )
    row.refresh_from_db()
    assert row.owner == meant


def test_a_new_owner_is_made_on_the_way():
    row = factories.credential()
    given = {"owner": "", "new_name": "Payments", "new_kind": "team"}
    answer("/credentials/assign-owner/", browser(Role.REVIEWER), row, **given)
    row.refresh_from_db()
    assert row.owner == Owner.objects.get(name="Payments", kind="team")


def test_assigning_the_same_owner_changes_nothing_and_says_so():
    owner = factories.owner(name="Mira Okafor")
    row = factories.credential(owner=owner)
    response = answer("/credentials/assign-owner/", browser(Role.REVIEWER), row, owner="Mira Okafor")
    assert "Nothing changed" in text(response)
    assert not AuditEntry.objects.filter(event=Event.CREDENTIAL_OWNER_ASSIGNED).exists()


# ── An owner hands over ──


@pytest.mark.parametrize("path", OWNER_QUESTIONS)
def test_an_owner_hands_over_what_is_theirs(path):
    own, me = owners_browser()
    row = subject_of(path, **({"platform_owner": me} if "servers" in path else {"owner": me}))
    factories.owner(name="Mira Okafor")
    assert answer(path, own, row, owner="Mira Okafor").status_code in {200, 404}  # gone from their sight afterwards
    row.refresh_from_db()
    assert str(row.platform_owner if "servers" in path else row.owner) == "Mira Okafor"


@pytest.mark.parametrize("path", OWNER_QUESTIONS)
def test_an_owner_cannot_hand_over_what_is_somebody_elses(path):
    own, _me = owners_browser()
    row = subject_of(path)
    factories.owner(name="Mira Okafor")
    assert answer(path, own, row, owner="Mira Okafor").status_code == 404


def test_a_custodian_cannot_hand_over_what_they_only_look_after():
    own, me = owners_browser()
    row = factories.credential(custodian=me, owner=factories.owner())
    factories.owner(name="Mira Okafor")
    assert answer("/credentials/assign-owner/", own, row, owner="Mira Okafor").status_code == 404


def test_a_platform_owner_cannot_give_away_the_application():
    own, me = owners_browser()
    row = factories.server(platform_owner=me)
    factories.owner(name="Mira Okafor")
    response = answer("/servers/assign-owner/", own, row, owner="Mira Okafor", role="application_owner")
    assert response.status_code == 404
    row.refresh_from_db()
    assert row.application_owner is None


def test_an_owner_makes_no_new_owners():
    own, me = owners_browser()
    row = factories.credential(owner=me)
    given = {"owner": "", "new_name": "Straw Man"}
    assert answer("/credentials/assign-owner/", own, row, **given).status_code == 422
    assert not Owner.objects.filter(name="Straw Man").exists()


# ── Environment and role ──


@pytest.mark.parametrize("noun", ["credentials", "servers"])
def test_an_operator_says_where_things_run(noun):
    row = MAKE[noun]()
    prod = factories.environment("prod")
    response = answer(f"/{noun}/assign-environment/", browser(Role.OPERATOR), row, environment=str(prod.pk))
    row.refresh_from_db()
    assert row.environment == prod
    assert "now in prod" in text(response)
    assert AuditEntry.objects.first().event.endswith(".environment_assigned")


def test_an_operator_takes_an_environment_back():
    row = factories.credential(environment=factories.environment("prod"))
    answer("/credentials/assign-environment/", browser(Role.OPERATOR), row, environment="")
    row.refresh_from_db()
    assert row.environment is None


def test_an_environment_that_does_not_exist_is_refused():
    row = factories.credential()
    response = answer("/credentials/assign-environment/", browser(Role.OPERATOR), row, environment=str(uuid4()))
    assert response.status_code == 422


@pytest.mark.parametrize("path", ["/credentials/assign-environment/", "/servers/classify/"])
def test_a_reviewer_decides_neither_environment_nor_role(path):
    assert answer(path, browser(Role.REVIEWER), subject_of(path)).status_code == 403


def test_an_operator_classifies_servers():
    row = factories.server()
    response = answer("/servers/classify/", browser(Role.OPERATOR), row, role="delegated_layer")
    row.refresh_from_db()
    assert row.role == ServerRole.DELEGATED_LAYER
    assert "1 server now counted as delegated authorization layer." in text(response)
    assert AuditEntry.objects.first().event == Event.SERVER_ROLE_ASSIGNED


def test_whose_server_it_is_is_said_with_what_it_is_for():
    row = factories.server()
    answer("/servers/classify/", browser(Role.OPERATOR), row, role="tool_endpoint", vendor="Linear")
    row.refresh_from_db()
    assert (row.role, row.vendor) == (ServerRole.TOOL_ENDPOINT, "Linear")
    assert AuditEntry.objects.first().detail["vendor_to"] == "Linear"


def test_an_empty_vendor_for_servers_of_several_vendors_leaves_each_as_it_was():
    one, other = factories.server(vendor="Linear"), factories.server(vendor="Notion")
    ids = [str(one.pk), str(other.pk)]
    decided = {"id": ids, "role": "tool_endpoint", "vendor": "", "decided": "yes"}
    browser(Role.OPERATOR).post("/servers/classify/", decided)
    one.refresh_from_db()
    other.refresh_from_db()
    assert (one.role, one.vendor, other.vendor) == (ServerRole.TOOL_ENDPOINT, "Linear", "Notion")


def test_an_owner_who_also_audits_hands_over_only_what_they_answer_for():
    user = person(Role.OWNER, Role.AUDITOR)
    Owner.objects.create(name="Mira Okafor", user=user)
    somebody = factories.owner(name="Somebody else")
    theirs = factories.credential(owner=somebody)
    visitor = Client()
    visitor.force_login(user)
    answer("/credentials/assign-owner/", visitor, theirs, owner="Mira Okafor")
    theirs.refresh_from_db()
    assert theirs.owner == somebody


# ── The way back ──


def test_the_answer_leads_back_to_the_page_it_was_asked_from():
    row = factories.client()
    factories.owner(name="Mira Okafor")
    reviewer = browser(Role.REVIEWER)
    page = reviewer.get(
        "/clients/assign-owner/", {"id": str(row.pk)}, headers={"Referer": "http://testserver/clients/?admission=x"}
    )
    assert 'name="next" value="/clients/?admission=x"' in text(page)
    response = answer("/clients/assign-owner/", reviewer, row, owner="Mira Okafor", next=f"/clients/{row.pk}/")
    assert response.redirect_chain == [(f"/clients/{row.pk}/", 302)]


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_the_answer_never_leads_elsewhere(elsewhere):
    row = factories.client()
    factories.owner(name="Mira Okafor")
    response = answer("/clients/assign-owner/", browser(Role.REVIEWER), row, owner="Mira Okafor", next=elsewhere)
    assert response.redirect_chain == [("/clients/", 302)]


def test_htmx_is_sent_to_the_page_that_follows():
    row = factories.client()
    factories.owner(name="Mira Okafor")
    form = {"decided": "yes", "id": str(row.pk), "owner": "Mira Okafor", "reason": "uses it"}
    response = browser(Role.REVIEWER).post("/clients/assign-owner/", form, headers=HTMX)
    assert response.headers["HX-Redirect"] == "/clients/"


def test_a_form_from_elsewhere_is_refused():
    who = Client(enforce_csrf_checks=True)
    who.force_login(person(Role.REVIEWER))
    assert who.post("/clients/assign-owner/", {"id": str(factories.client().pk)}).status_code == 403
