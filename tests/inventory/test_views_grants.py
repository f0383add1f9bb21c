"""The pages of grants: the matrix, the list, one pair, and the questions before a decision."""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access.roles import Role
from inventory.models import Grant, McpServer, Tool
from inventory.states import Registration, TrustModel
from tests import factories
from tests.people import HTMX, browser, owners_browser, text

pytestmark = pytest.mark.django_db

SOON = timedelta(days=30)


def used(client=None, server=None, **credential):
    """A client that reaches a server of two tools with a credential."""
    carried = factories.credential(**{"scopes": ["read"], **credential})
    use = factories.use(carried, client=client or factories.client(), server=server or factories.server())
    if not Tool.objects.filter(server=use.server).exists():
        factories.tool(use.server, "search", is_read_only=True)
        factories.tool(use.server, "delete_all", is_destructive=True)
    return use


def granted(use, **values):
    now = timezone.now()
    return factories.grant(
        use.client,
        use.server,
        **{
            "tools": ["search", "delete_all"],
            "scopes": ["read"],
            "approved_at": now - SOON,
            "ends_at": now + SOON,
            **values,
        },
    )


def draft(use, **values):
    return factories.grant(use.client, use.server, **{"is_approved": False, "tools": ["search"], **values})


def pair_of(use) -> str:
    return f"/grants/{use.client_id}/{use.server_id}/"


# ── The matrix ──


def test_the_matrix_says_of_each_pair_what_was_granted_and_links_to_it():
    use = used(factories.client(name="Cursor"), factories.server(name="github-prod"))
    page = text(browser(Role.AUDITOR).get("/grants/"))
    assert "Cursor on github-prod: no grant: 2 tools reachable, 1 of them destructive" in page
    assert pair_of(use) in page


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (granted, "approved"),
        (draft, "draft"),
        (lambda use: granted(use, ends_at=timezone.now() - timedelta(hours=1)), "grant ended"),
        (lambda use: granted(use, tools=["search"]), "exceeds its grant: 1 of 2 tools beyond the grant"),
        (lambda use: granted(use, scopes=[]), "exceeds its grant: carries read"),
    ],
)
def test_each_state_of_a_pair_has_its_words(make, words):
    use = used(factories.client(name="Cursor"), factories.server(name="github-prod"))
    make(use)
    assert f"Cursor on github-prod: {words}" in text(browser(Role.AUDITOR).get("/grants/"))


def test_the_matrix_can_be_narrowed_to_what_exceeds_and_to_one_server():
    fine, exceeding = used(factories.client(name="fine")), used(factories.client(name="exceeding"))
    granted(fine)
    granted(exceeding, tools=[])
    auditor = browser(Role.AUDITOR)
    assert "fine on" not in text(auditor.get("/grants/?reach=exceeds"))
    assert "exceeding on" in text(auditor.get("/grants/?reach=exceeds"))
    one = text(auditor.get(f"/grants/?server={fine.server_id}"))
    assert "fine on" in one
    assert "exceeding on" not in one


def test_hundreds_of_clients_and_servers_come_a_few_at_a_time_for_the_same_price():
    auditor = browser(Role.AUDITOR)
    costs = []
    for number in (3, 60):
        for _ in range(number):
            used()
        with CaptureQueriesContext(database) as queries:
            page = text(auditor.get("/grants/"))
        costs.append(len(queries))
    assert costs[0] == costs[1] <= 12
    assert page.count("<tr data-row>") == 30
    assert page.count('<th scope="col">') == 20
    assert "servers=20" in page
    assert "cursor=" in page


def test_further_servers_can_be_reached_without_script():
    client = factories.client()
    for n in range(20):
        factories.use(None, client=client, server=factories.server(name=f"server {n:02d}"))
    later = text(browser(Role.AUDITOR).get("/grants/?servers=14"))
    assert ">server 19</a>" in later
    assert ">server 00</a>" not in later


def test_an_owner_sees_the_pairs_of_their_own_servers_and_clients_only():
    own, me = owners_browser()
    mine = used(server=factories.server(name="mine", iam_owner=me), client=factories.client(name="their client"))
    used(client=mine.client, server=factories.server(name="foreign"))
    used(factories.client(name="stranger"))
    page = text(own.get("/grants/"))
    assert "their client on mine" in page
    assert "foreign" not in page
    assert "stranger" not in page


def test_an_empty_matrix_says_what_a_grant_is():
    assert "Nobody reaches anything yet" in text(browser(Role.AUDITOR).get("/grants/"))


@pytest.mark.parametrize("query", ["server=no-id", "servers=x", "servers=99999", "reach=nothing"])
def test_a_strange_query_is_no_error_of_ours(query):
    used()
    assert browser(Role.AUDITOR).get(f"/grants/?{query}").status_code in {200, 400}


# ── The list ──


def test_the_list_has_tabs_for_drafts_and_shows_what_is_not_in_a_grant():
    granted(used(factories.client(name="Cursor"), factories.server(name="one")), tools=["search"])
    draft(used(factories.client(name="VS Code"), factories.server(name="two")))
    page = text(browser(Role.AUDITOR).get("/grants/list/?state=draft"))
    assert "VS Code on two" in page
    assert "Cursor on one" not in page


def test_what_was_withdrawn_is_listed_only_when_asked_for():
    grant = granted(used(factories.client(name="Cursor")), withdrawn_at=timezone.now(), withdrawn_by="Otto")
    auditor = browser(Role.AUDITOR)
    assert str(grant.pk) not in text(auditor.get("/grants/list/"))
    assert "Cursor on" in text(auditor.get("/grants/list/?state=withdrawn"))


def test_the_list_costs_the_same_for_many_grants():
    auditor = browser(Role.AUDITOR)
    costs = []
    for number in (2, 30):
        for _ in range(number):
            draft(used())
        with CaptureQueriesContext(database) as queries:
            auditor.get("/grants/list/")
        costs.append(len(queries))
    assert costs[0] == costs[1] <= 12


# ── One pair ──


def test_a_pair_shows_the_three_scopes_side_by_side_and_names_the_mismatch():
    use = used(scopes=["read", "admin"], name="deploy token")
    McpServer.objects.filter(pk=use.server_id).update(scopes=["read", "write"])
    granted(use)
    page = text(browser(Role.AUDITOR).get(pair_of(use)))
    for words in (
        "deploy token",
        "The session carries admin, which nobody granted.",
        "The server asks for write, which nobody granted.",
    ):
        assert words in page


def test_what_is_unknown_of_a_pair_is_said_to_be():
    use = factories.use(factories.credential(trust_model=TrustModel.UNKNOWN))
    page = text(browser(Role.AUDITOR).get(pair_of(use)))
    assert "Which tools the server offers is unknown. Nobody has asked the live server." in page
    assert "What this credential carries is unknown" in page


def test_scopes_for_which_the_client_is_not_registered_are_named():
    use = used(factories.client(registration=Registration.DYNAMIC, scopes=["other"]))
    assert "for which the client is not registered" in text(browser(Role.AUDITOR).get(pair_of(use)))


def test_a_changed_tool_says_what_changed_as_far_as_known():
    use = used()
    Tool.objects.filter(name="search").update(
        approved_digest="0" * 64,
        approved_definition={"description": "Finds things.", "is_read_only": None, "scopes": []},
        description="Finds things and sends them away.",
    )
    granted(use)
    page = text(browser(Role.AUDITOR).get(pair_of(use)))
    assert "Its description was: “Finds things.”" in page
    assert "now it says it is read-only" in page


def test_a_pair_that_is_neither_used_nor_granted_does_not_exist():
    client, server = factories.client(), factories.server()
    assert browser(Role.AUDITOR).get(f"/grants/{client.pk}/{server.pk}/").status_code == 404


def test_a_pair_of_others_does_not_exist_for_an_owner():
    own, _ = owners_browser()
    assert own.get(pair_of(used())).status_code == 404


def test_an_owner_reads_nothing_of_a_foreign_credential_on_a_pair_of_theirs():
    own, me = owners_browser()
    use = used(server=factories.server(iam_owner=me), name="foreign-key", scopes=["secret-scope"])
    page = text(own.get(pair_of(use)))
    assert "Another owner's credential" in page
    assert "foreign-key" not in page
    assert "secret-scope" not in page


def test_a_pair_costs_the_same_for_many_credentials_and_tools():
    auditor = browser(Role.AUDITOR)
    use = used()
    granted(use)
    costs = []
    for number in (1, 30):
        for _ in range(number):
            used(use.client, use.server)
            factories.tool(use.server)
        with CaptureQueriesContext(database) as queries:
            auditor.get(pair_of(use))
        costs.append(len(queries))
    assert costs[0] == costs[1] <= 16


# ── Decisions ──


def question(who: Client, path: str, ids, **given):
    """Look at the question, then answer it with what it showed."""
    shown = who.get(path, {"id": ids})
    form = shown.context["form"]
    answer = {
        "decided": "yes",
        "id": ids,
        "reason": "for the releases",
        "as_seen": form.initial.get("as_seen", ""),
        "ends_on": f"{timezone.now() + SOON:%Y-%m-%d}",
        **given,
    }
    return who.post(path, answer, follow=True)


def test_a_reviewer_approves_what_they_looked_at():
    grant = draft(used())
    response = question(browser(Role.REVIEWER), "/grants/approve/", [str(grant.pk)])
    assert "1 grant approved until" in text(response)
    grant.refresh_from_db()
    assert grant.approved_by


def test_several_picked_grants_are_approved_at_once():
    grants = [draft(used()) for _ in range(3)]
    response = question(browser(Role.REVIEWER), "/grants/approve/", [str(grant.pk) for grant in grants])
    assert "3 grants approved until" in text(response)
    assert Grant.objects.exclude(approved_at=None).count() == 3


def test_what_changed_since_it_was_looked_at_is_shown_again_instead_of_approved():
    grant = draft(used())
    response = question(browser(Role.REVIEWER), "/grants/approve/", [str(grant.pk)], as_seen="0" * 64)
    assert response.status_code == 422
    assert "changed while you were looking" in text(response)
    again = response.context["form"]["as_seen"].value()
    assert "1 grant approved" in text(
        question(browser(Role.REVIEWER), "/grants/approve/", [str(grant.pk)], as_seen=again)
    )


def test_an_end_that_is_too_late_is_refused_with_the_rule():
    grant = draft(used())
    response = question(browser(Role.REVIEWER), "/grants/approve/", [str(grant.pk)], ends_on="2999-01-01")
    assert response.status_code == 422
    assert "A grant ends within 366 days" in text(response)


def test_the_question_names_destructive_tools_and_what_is_unknown():
    use = used()
    picked = [
        draft(use, tools=["delete_all"]),
        factories.grant(factories.client(), factories.server(), is_approved=False),
    ]
    page = text(browser(Role.REVIEWER).get("/grants/approve/", {"id": [str(grant.pk) for grant in picked]}))
    assert "Destructive" in page
    assert "so none is granted" in page


@pytest.mark.parametrize("path", ["/grants/approve/", "/grants/change/", "/grants/withdraw/"])
def test_a_grant_of_others_cannot_be_decided_by_an_owner(path):
    own, _ = owners_browser()
    assert own.get(path, {"id": str(draft(used()).pk)}).status_code == 404


@pytest.mark.parametrize("path", ["/grants/approve/", "/grants/change/", "/grants/withdraw/", "/grants/draft/"])
def test_an_auditor_decides_nothing(path):
    assert browser(Role.AUDITOR).get(path, {"id": str(draft(used()).pk)}).status_code == 403


@pytest.mark.parametrize("path", ["/grants/approve/", "/grants/change/", "/grants/withdraw/"])
def test_htmx_gets_the_question_as_a_dialog(path):
    response = browser(Role.REVIEWER).get(path, {"id": str(draft(used()).pk)}, headers=HTMX)
    assert text(response).startswith('<dialog id="question"')


def test_a_grant_is_narrowed_by_its_form():
    grant = granted(used())
    response = question(
        browser(Role.REVIEWER), "/grants/change/", [str(grant.pk)], tools=["search"], scopes="read\n", resources=""
    )
    assert "its approval stands" in text(response)
    grant.refresh_from_db()
    assert (grant.tools, grant.scopes) == (["search"], ["read"])


def test_a_scope_that_is_too_long_is_refused():
    grant = granted(used())
    response = question(browser(Role.REVIEWER), "/grants/change/", [str(grant.pk)], scopes="x" * 201)
    assert response.status_code == 422


def test_withdrawing_says_that_nothing_is_switched_off():
    grant = granted(used())
    reviewer = browser(Role.REVIEWER)
    assert "1 pair of client and server" in text(reviewer.get("/grants/withdraw/", {"id": str(grant.pk)}))
    assert "1 grant withdrawn" in text(question(reviewer, "/grants/withdraw/", [str(grant.pk)]))


def test_drafting_from_what_is_observed_drafts_what_has_none():
    used()
    granted(used())
    reviewer = browser(Role.REVIEWER)
    assert "1 pair of client and server" in text(reviewer.get("/grants/draft/"))
    response = reviewer.post("/grants/draft/", {"decided": "yes"}, follow=True)
    assert "1 grant drafted" in text(response)


def test_one_pair_is_drafted_alone():
    use, _other = used(), used()
    form = {"decided": "yes", "client": str(use.client_id), "server": str(use.server_id)}
    browser(Role.REVIEWER).post("/grants/draft/", form)
    assert Grant.objects.get().client_id == use.client_id


def test_an_owner_drafts_only_for_what_they_answer_for():
    own, me = owners_browser()
    mine, foreign = used(factories.client(owner=me)), used()
    own.post("/grants/draft/", {"decided": "yes"})
    assert [grant.client_id for grant in Grant.objects.all()] == [mine.client_id]
    given = {"client": str(foreign.client_id), "server": str(foreign.server_id)}
    assert own.get("/grants/draft/", given).status_code == 404


# ── Tools of a server ──


def test_a_server_shows_its_tools_with_quiet_annotations_and_what_changed():
    use = used()
    Tool.objects.filter(name="search").update(approved_digest="0" * 64)
    page = text(browser(Role.AUDITOR).get(f"/servers/{use.server_id}/"))
    for words in ("search", "read-only", "destructive", "changed since approval", "not approved"):
        assert words in page


def test_tools_that_nobody_listed_are_unknown():
    server = factories.server()
    assert "Unknown: nobody has listed its tools." in text(browser(Role.AUDITOR).get(f"/servers/{server.pk}/"))


def test_definitions_are_approved_from_the_page_of_the_server():
    server = used().server
    reviewer = browser(Role.REVIEWER)
    path = f"/servers/{server.pk}/tools/approve/"
    as_seen = reviewer.get(path).context["form"].initial["as_seen"]
    response = reviewer.post(path, {"decided": "yes", "reason": "read them", "as_seen": as_seen}, follow=True)
    assert "2 definitions of" in text(response)
    assert not Tool.objects.filter(approved_digest="").exists()


def test_a_definition_that_moved_meanwhile_is_asked_about_again():
    server = used().server
    response = browser(Role.REVIEWER).post(
        f"/servers/{server.pk}/tools/approve/", {"decided": "yes", "reason": "read them", "as_seen": "old"}
    )
    assert response.status_code == 422
    assert "changed while you were looking" in text(response)


def test_an_owner_of_another_server_may_not_approve_its_tools():
    own, _ = owners_browser()
    assert own.get(f"/servers/{used().server_id}/tools/approve/").status_code == 404


def test_a_grant_that_no_configuration_uses_is_found_by_its_state():
    factories.grant(
        factories.client(name="idle"),
        factories.server(name="unused"),
        approved_at=timezone.now() - SOON,
        ends_at=timezone.now() + SOON,
    )
    assert "idle on unused: granted, not configured" in text(browser(Role.AUDITOR).get("/grants/?reach=unused"))
