"""Drafting, changing, approving and withdrawing grants: who may, what is kept, and what is refused."""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from access.actors import Actor
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from inventory.actions.grants import (
    LONGEST,
    approve_grants,
    approve_tools,
    change_grant,
    definitions_of,
    draft_grants,
    seen,
    seen_tools,
    withdraw_grants,
)
from inventory.errors import (
    ChangedMeanwhile,
    DefinitionsChanged,
    EndsTooLate,
    NothingChosen,
    NotOffered,
    OwnDraft,
)
from inventory.models import Grant, Owner, Tool, Use
from inventory.states import Admission, CredentialStatus, GrantState
from tests import factories
from tests.factories import NOW
from tests.people import person

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("tests")
UNTIL = NOW + timedelta(days=90)


def reviewer() -> Actor:
    return person(Role.REVIEWER).as_actor()


def somebody_who_owns() -> tuple[Actor, Owner]:
    user = person(Role.OWNER)
    return user.as_actor(), factories.owner(user=user)


def draft(**values) -> Grant:
    return factories.grant(factories.client(), factories.server(), is_approved=False, **values)


def chosen(*grants: Grant):
    return Grant.objects.filter(pk__in=[grant.pk for grant in grants])


def as_seen(*grants: Grant) -> str:
    return seen(grants, definitions_of({grant.server_id for grant in grants}))


def approve(*grants: Grant, actor: Actor | None = None, **more) -> int:
    given = {"as_seen": as_seen(*grants), "ends_at": UNTIL, "now": NOW, "reason": "needed for releases", **more}
    return approve_grants(chosen(*grants), actor=actor or reviewer(), **given)


def observed(**credential):
    """A client that reaches a server with a credential, and the server's two tools."""
    use = factories.use(factories.credential(**{"scopes": ["repo", "read"], **credential}))
    factories.tool(use.server, "merge", is_destructive=True)
    factories.tool(use.server, "search", is_read_only=True)
    return use


# ── Drafting ──


def test_a_draft_holds_the_tools_that_are_listed_and_the_scopes_that_are_carried():
    use = observed()
    assert draft_grants(Use.objects.present(), actor=SYSTEM, now=NOW) == 1
    grant = Grant.objects.get()
    assert (grant.client_id, grant.server_id) == (use.client_id, use.server_id)
    assert (grant.tools, grant.scopes) == (["merge", "search"], ["read", "repo"])
    assert grant.state_at(NOW) is GrantState.DRAFT


def test_a_draft_for_a_remote_server_names_its_address_as_the_resource():
    factories.use(None, server=factories.server(url="https://mcp.example.org/mcp", transport="http"))
    draft_grants(Use.objects.present(), actor=SYSTEM, now=NOW)
    assert Grant.objects.get().resources == ["https://mcp.example.org/mcp"]


def test_drafting_twice_drafts_once():
    observed()
    draft_grants(Use.objects.present(), actor=SYSTEM, now=NOW)
    assert draft_grants(Use.objects.present(), actor=SYSTEM, now=NOW) == 0
    assert AuditEntry.objects.filter(event=Event.GRANT_DRAFTED).count() == 1


def test_what_is_gone_removed_or_ended_is_not_drafted():
    factories.use(None, gone_at=NOW, last_seen_at=NOW)
    factories.use(None, client=factories.client(admission=Admission.REMOVED))
    observed(status=CredentialStatus.DESTROYED)
    draft_grants(Use.objects.present(), actor=SYSTEM, now=NOW)
    assert [grant.scopes for grant in Grant.objects.all()] == [[]]


def test_a_pair_whose_grant_was_withdrawn_is_drafted_anew():
    use = observed()
    factories.grant(use.client, use.server, withdrawn_at=NOW, withdrawn_by="Otto")
    assert draft_grants(Use.objects.present(), actor=SYSTEM, now=NOW) == 1


def test_drafting_costs_the_same_number_of_statements_for_many_pairs():
    costs = []
    for number in (1, 30):
        for _ in range(number):
            observed()
        with CaptureQueriesContext(database) as queries:
            draft_grants(Use.objects.present(), actor=SYSTEM, now=NOW)
        costs.append(len(queries))
    assert costs[0] == costs[1]


# ── Approving ──


def test_a_reviewer_approves_and_what_exactly_is_kept():
    use = observed()
    draft_grants(Use.objects.present(), actor=SYSTEM, now=NOW)
    assert approve(Grant.objects.get()) == 1
    grant = Grant.objects.get()
    assert grant.state_at(NOW) is GrantState.APPROVED
    assert grant.state_at(UNTIL) is GrantState.ENDED
    digests = dict(Tool.objects.filter(server=use.server).values_list("name", "schema_digest"))
    assert grant.tool_digests == digests
    entry = AuditEntry.objects.get(event=Event.GRANT_APPROVED)
    assert entry.detail["tools"] == ["merge", "search"]
    assert entry.detail["reason"] == "needed for releases"


def test_approving_a_grant_approves_definitions_that_nobody_approved_before():
    use = observed()
    approve(factories.grant(use.client, use.server, is_approved=False, tools=["merge"]))
    merge, search = Tool.objects.order_by("name")
    assert merge.approved_digest == merge.schema_digest
    assert merge.approved_definition["is_destructive"] is True
    assert search.approved_digest == ""


def test_a_changed_definition_is_never_approved_along_with_a_grant():
    use = observed()
    Tool.objects.filter(name="merge").update(approved_digest="0" * 64)
    grant = factories.grant(use.client, use.server, is_approved=False, tools=["merge"])
    with pytest.raises(DefinitionsChanged, match="merge"):
        approve(grant)
    assert chosen(grant).get().approved_at is None


@pytest.mark.parametrize("change", ["tool", "grant"])
def test_what_changed_while_somebody_looked_is_not_approved(change):
    use = observed()
    grant = factories.grant(use.client, use.server, is_approved=False, tools=["merge"])
    looked_at = as_seen(grant)
    if change == "tool":
        Tool.objects.filter(name="merge").update(schema_digest="f" * 64)
    else:
        chosen(grant).update(scopes=["admin"])
    with pytest.raises(ChangedMeanwhile):
        approve(grant, as_seen=looked_at)


@pytest.mark.parametrize("ends_at", [NOW, NOW - timedelta(days=1), NOW + LONGEST + timedelta(seconds=1)])
def test_a_grant_always_ends_and_not_too_late(ends_at):
    with pytest.raises(EndsTooLate):
        approve(draft(), ends_at=ends_at)


@pytest.mark.parametrize("role", ["iam_owner", "platform_owner", "application_owner"])
def test_each_owner_of_the_server_may_approve(role):
    actor, owner = somebody_who_owns()
    grant = factories.grant(factories.client(), factories.server(**{role: owner}), is_approved=False)
    assert approve(grant, actor=actor) == 1


def test_the_owner_of_the_client_alone_may_not_approve():
    actor, owner = somebody_who_owns()
    grant = factories.grant(factories.client(owner=owner), factories.server(), is_approved=False)
    with pytest.raises(NothingChosen):
        approve(grant, actor=actor)


def test_to_read_everything_is_not_to_answer_for_it():
    user = person(Role.OWNER, Role.AUDITOR)
    with pytest.raises(NothingChosen):
        approve(draft(), actor=user.as_actor())


def test_nobody_approves_what_they_drafted_for_their_own_client():
    actor, owner = somebody_who_owns()
    client, server = factories.client(owner=owner), factories.server(iam_owner=owner)
    own = factories.grant(client, server, is_approved=False, drafted_by=actor.label)
    with pytest.raises(OwnDraft):
        approve(own, actor=actor)
    assert approve(own) == 1


def test_a_reviewer_may_approve_what_they_drafted_for_somebody_else():
    actor = reviewer()
    assert approve(draft(drafted_by=actor.label), actor=actor) == 1


def test_of_many_grants_all_are_approved_or_none():
    use = observed()
    Tool.objects.filter(name="merge").update(approved_digest="0" * 64)
    refused = factories.grant(use.client, use.server, is_approved=False, tools=["merge"])
    fine = draft()
    with pytest.raises(DefinitionsChanged):
        approve(fine, refused)
    assert not Grant.objects.exclude(approved_at=None).exists()


def test_a_grant_that_ended_can_be_approved_again():
    grant = factories.grant(factories.client(), factories.server(), ends_at=NOW - timedelta(hours=1))
    approve(grant)
    assert chosen(grant).get().ends_at == UNTIL


# ── Changing ──


def change(grant: Grant, *, actor: Actor | None = None, **values) -> bool:
    content = {name: values.get(name, getattr(grant, name)) for name in ("tools", "scopes", "resources")}
    return change_grant(grant, **content, actor=actor or reviewer(), now=NOW, reason="less is enough")


def test_taking_something_away_keeps_the_approval():
    use = observed()
    grant = factories.grant(
        use.client, use.server, tools=["merge", "search"], tool_digests={"merge": "a", "search": "b"}
    )
    assert change(grant, tools=["search"])
    after = chosen(grant).get()
    assert after.state_at(NOW) is GrantState.APPROVED
    assert (after.tools, after.tool_digests) == (["search"], {"search": "b"})


def test_adding_something_makes_it_a_draft_of_whoever_added_it():
    use = observed()
    grant = factories.grant(use.client, use.server, tools=["search"])
    actor = reviewer()
    assert change(grant, tools=["merge", "search"], actor=actor)
    after = chosen(grant).get()
    assert after.state_at(NOW) is GrantState.DRAFT
    assert after.drafted_by == actor.label
    assert AuditEntry.objects.get(event=Event.GRANT_CHANGED).detail["changed"] == {"tools added": ["merge"]}


def test_a_change_to_the_same_changes_nothing():
    grant = draft(scopes=["a", "b"])
    assert not change(grant, scopes=["b", "a", "a"])
    assert not AuditEntry.objects.filter(event=Event.GRANT_CHANGED).exists()


def test_a_tool_that_nobody_lists_cannot_be_granted():
    with pytest.raises(NotOffered, match="rm_rf"):
        change(draft(), tools=["rm_rf"])


def test_the_owner_of_the_client_may_change_and_withdraw_and_a_stranger_may_not():
    actor, owner = somebody_who_owns()
    grant = factories.grant(factories.client(owner=owner), factories.server(), scopes=["a"])
    stranger, _ = somebody_who_owns()
    with pytest.raises(NothingChosen):
        change(grant, scopes=[], actor=stranger)
    assert change(grant, scopes=[], actor=actor)
    assert withdraw_grants(chosen(grant), actor=actor, now=NOW, reason="not needed") == 1


# ── Withdrawing ──


def test_a_withdrawn_grant_is_kept_with_who_and_why_and_allows_nothing():
    grant = factories.grant(factories.client(), factories.server())
    actor = reviewer()
    withdraw_grants(chosen(grant), actor=actor, now=NOW, reason="the pilot is over")
    after = chosen(grant).get()
    assert (after.withdrawn_by, after.reason) == (actor.label, "the pilot is over")
    assert not Grant.objects.in_force(NOW).exists()
    assert AuditEntry.objects.get(event=Event.GRANT_WITHDRAWN).detail["was"] == "approved"


def test_a_grant_is_withdrawn_once():
    grant = factories.grant(factories.client(), factories.server())
    withdraw_grants(chosen(grant), actor=reviewer(), now=NOW, reason="over")
    with pytest.raises(NothingChosen):
        withdraw_grants(chosen(grant), actor=reviewer(), now=NOW, reason="over")


# ── Definitions ──


def tools_approved(server, actor: Actor, **more) -> int:
    tools = Tool.objects.filter(server=server)
    given = {"as_seen": seen_tools(tools), "now": NOW, "reason": "compared", **more}
    return approve_tools(server, [tool.name for tool in tools], actor=actor, **given)


def test_new_definitions_are_approved_with_what_a_person_can_compare_later():
    server = factories.server()
    factories.tool(server, "merge", approved_digest="0" * 64, description="Merges.", is_destructive=True)
    assert tools_approved(server, reviewer()) == 1
    tool = Tool.objects.get()
    assert not tool.is_changed
    assert tool.approved_definition["description"] == "Merges."
    assert AuditEntry.objects.get(event=Event.SERVER_TOOLS_APPROVED).detail["changed"] == ["merge"]


def test_approving_the_same_definitions_again_records_nothing():
    server = factories.server()
    factories.tool(server)
    tools_approved(server, reviewer())
    assert tools_approved(server, reviewer()) == 0
    assert AuditEntry.objects.filter(event=Event.SERVER_TOOLS_APPROVED).count() == 1


def test_a_definition_that_changed_while_somebody_looked_is_not_approved():
    server = factories.server()
    factories.tool(server)
    with pytest.raises(ChangedMeanwhile):
        tools_approved(server, reviewer(), as_seen="something else")


def test_definitions_are_for_the_owners_of_the_server_and_reviewers():
    actor, owner = somebody_who_owns()
    mine, other = factories.server(platform_owner=owner), factories.server()
    factories.tool(mine)
    factories.tool(other)
    assert tools_approved(mine, actor) == 1
    with pytest.raises(NothingChosen):
        tools_approved(other, actor)
