"""What clients can do on servers, held against what was granted, and how the three scopes of a path differ."""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from inventory.models import McpClient, McpServer
from inventory.models.reach import FINDABLE, Cell, cells, has_cell
from inventory.scopes import Granted, Offered, of_scopes, of_tools
from inventory.states import CredentialStatus, GrantState, Mismatch, Reach
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db


def used(**credential):
    """A client, and a server of one tool that it reaches with a credential."""
    use = factories.use(factories.credential(**{"scopes": ["read"], **credential}))
    factories.tool(use.server, "search")
    return use


def granted(use, **values):
    return factories.grant(use.client, use.server, **{"tools": ["search"], "scopes": ["read"], **values})


def the_cell(use) -> Cell:
    (cell,) = cells(NOW, clients=[use.client_id], servers=[use.server_id])
    return cell


# ── Cells ──


def test_a_pair_that_nobody_granted_anything_has_no_grant():
    use = used()
    assert the_cell(use).state is Reach.NONE
    assert the_cell(use).ungranted == 1


def test_a_draft_is_said_to_be_one():
    use = used()
    factories.grant(use.client, use.server, is_approved=False)
    assert the_cell(use).state is Reach.DRAFT


def test_a_grant_that_ended_while_the_client_still_reaches_is_named():
    use = used()
    granted(use, ends_at=NOW - timedelta(hours=1))
    assert the_cell(use).state is Reach.ENDED


def test_an_approved_pair_within_its_grant_is_approved():
    use = used()
    granted(use)
    assert the_cell(use).state is Reach.APPROVED


def test_a_tool_beyond_the_grant_exceeds_it():
    use = used()
    granted(use)
    factories.tool(use.server, "delete", is_destructive=True)
    cell = the_cell(use)
    assert cell.state is Reach.EXCEEDS
    assert (cell.tools, cell.ungranted, cell.destructive) == (2, 1, 1)


def test_a_tool_that_is_gone_exceeds_nothing():
    use = used()
    granted(use)
    factories.tool(use.server, "delete", gone_at=NOW)
    assert the_cell(use).state is Reach.APPROVED


def test_a_granted_tool_that_changed_after_approval_exceeds_its_grant():
    use = factories.use(None)
    factories.tool(use.server, "search", approved_digest="0" * 64)
    granted(use)
    assert (the_cell(use).state, the_cell(use).changed) == (Reach.EXCEEDS, 1)


def test_a_scope_that_nobody_granted_exceeds():
    use = used(scopes=["read", "admin"])
    granted(use)
    assert the_cell(use).state is Reach.EXCEEDS
    assert the_cell(use).scopes_beyond == ["admin"]


def test_what_a_destroyed_credential_carried_counts_no_more():
    use = used(scopes=["admin"], status=CredentialStatus.DESTROYED)
    granted(use)
    assert the_cell(use).state is Reach.APPROVED


@pytest.mark.parametrize("facts", [{"tools_listed_at": None}, {"tools_error": "It refused."}])
def test_an_approved_pair_whose_tools_could_not_be_listed_is_unknown(facts):
    use = used()
    granted(use)
    McpServer.objects.filter(pk=use.server_id).update(**facts)
    assert the_cell(use).state is Reach.UNKNOWN
    assert not the_cell(use).are_tools_known


def test_a_grant_for_what_nobody_configures_is_unused():
    grant = factories.grant(factories.client(), factories.server())
    (cell,) = cells(NOW, clients=[grant.client_id])
    assert (cell.state, cell.is_used) == (Reach.UNUSED, False)


def test_a_withdrawn_grant_of_an_unused_pair_leaves_no_cell():
    grant = factories.grant(factories.client(), factories.server(), withdrawn_at=NOW, withdrawn_by="Otto")
    assert cells(NOW, clients=[grant.client_id]) == []


def test_one_statement_gives_the_cells_of_many_clients():
    uses = [used() for _ in range(5)]
    with CaptureQueriesContext(database) as queries:
        found = cells(NOW, clients=[use.client_id for use in uses])
    assert len(found) == 5
    assert len(queries) == 1


def estate_of_every_state() -> None:
    """Clients with one pair each, in every state that a pair can have."""
    used()
    factories.grant(*of(used()), is_approved=False)
    granted(used(), ends_at=NOW - timedelta(hours=1))
    granted(used())
    granted(used(scopes=["admin"]))
    granted(used(), tools=[])
    granted(used(status=CredentialStatus.DESTROYED, scopes=["admin"]))
    factories.grant(factories.client(), factories.server())
    changed = factories.use(None)
    factories.tool(changed.server, "search", approved_digest="0" * 64)
    granted(changed)
    listed_otherwise = used()
    factories.tool(listed_otherwise.server, "Zoom")
    granted(listed_otherwise, tools=["search", "Zoom"])


def of(use):
    return use.client, use.server


@pytest.mark.parametrize("state", FINDABLE)
def test_clients_are_found_by_the_state_that_their_pairs_have(state):
    estate_of_every_state()
    expected = {cell.client_id for cell in cells(NOW) if cell.state is state}
    found = McpClient.objects.filter(has_cell([state], NOW)).values_list("pk", flat=True)
    assert set(found) == expected != set()


def test_several_states_find_the_clients_of_any():
    estate_of_every_state()
    both = {cell.client_id for cell in cells(NOW) if cell.state in {Reach.NONE, Reach.DRAFT}}
    found = McpClient.objects.filter(has_cell([Reach.NONE, Reach.DRAFT], NOW)).values_list("pk", flat=True)
    assert set(found) == both


# ── The three scopes of one path ──

IN_FORCE = Granted(state=GrantState.APPROVED, tools=frozenset({"search"}), scopes=frozenset({"read"}))


def kinds(found) -> set[Mismatch]:
    return {each.kind for each in found}


def scopes(*names: str) -> frozenset[str]:
    return frozenset(names)


def test_equal_scopes_have_no_mismatch():
    same = scopes("read")
    assert kinds(of_scopes(IN_FORCE, asked=same, carried=same, registered=same)) == set()


@pytest.mark.parametrize(
    ("given", "kind", "what"),
    [
        ({"carried": scopes("read", "admin"), "registered": None}, Mismatch.SCOPE_NOT_GRANTED, "admin"),
        ({"registered": scopes()}, Mismatch.SCOPE_NOT_REGISTERED, "read"),
        ({"carried": scopes()}, Mismatch.SCOPE_NOT_CARRIED, "read"),
        ({"asked": scopes("read", "write")}, Mismatch.SERVER_ASKS_MORE, "write"),
    ],
)
def test_each_difference_of_scopes_is_named_with_the_scope(given, kind, what):
    same = scopes("read")
    (found,) = of_scopes(IN_FORCE, **{"asked": same, "carried": same, "registered": same, **given})
    assert (found.kind, found.what) == (kind, (what,))
    assert what in found.sentence


def test_unknown_scopes_are_said_to_be_unknown_and_never_taken_for_none():
    found = list(of_scopes(IN_FORCE, asked=None, carried=None, registered=None))
    assert kinds(found) == {Mismatch.SCOPES_UNKNOWN}
    assert found[0].is_unknown


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (None, Mismatch.NO_GRANT),
        (GrantState.DRAFT, Mismatch.NO_GRANT),
        (GrantState.ENDED, Mismatch.GRANT_ENDED),
    ],
)
def test_without_a_grant_in_force_nothing_is_allowed(state, kind):
    grant = Granted(state=state, tools=scopes("delete"))
    found = kinds(of_tools(grant, [Offered("delete", is_destructive=True)]))
    assert found == {kind, Mismatch.DESTRUCTIVE_UNGRANTED}


def test_tools_beyond_the_grant_changed_and_no_longer_offered_are_named():
    grant = Granted(state=GrantState.APPROVED, tools=scopes("search", "old"))
    found = kinds(of_tools(grant, [Offered("search", is_changed=True), Offered("new")]))
    assert found == {Mismatch.TOOLS_UNGRANTED, Mismatch.TOOL_CHANGED, Mismatch.TOOL_NOT_OFFERED}


def test_tools_that_could_not_be_listed_are_unknown_with_the_reason():
    (found,) = of_tools(IN_FORCE, None, why_unknown="It refused the token.")
    assert found.kind is Mismatch.TOOLS_UNKNOWN
    assert "It refused the token." in found.sentence


def test_a_long_list_is_cut_and_counted():
    offered = [Offered(f"tool_{n}") for n in range(9)]
    found = next(each for each in of_tools(IN_FORCE, offered) if each.kind is Mismatch.TOOLS_UNGRANTED)
    assert "and 5 more" in found.sentence
    assert len(found.what) == 9
