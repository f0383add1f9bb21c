"""Where the way from a person to a scope can be cut, and what is foretold of it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from access.roles import Role
from inventory.models import McpClient, McpServer
from reviews.models import ReviewItem
from reviews.models.cuts import At, Cut, cuts_of, effect_of_revoking
from reviews.states import What
from tests import factories
from tests.people import browser, text
from tests.reviews.company import Company, item_of
from tests.reviews.test_views_campaigns import DECIDED, as_

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Company:
    company = Company(now=timezone.now())
    company.place.last_complete_at = company.now
    company.place.save()
    return company


@pytest.fixture
def item(company: Company) -> ReviewItem:
    """A key by which a desk and a pipeline reach a server; the desk has another key for it."""
    used = {"last_used_at": company.now, "issued_at": company.now - timedelta(days=9), "first_seen_at": company.now}
    held = company.credential(name="deploy", scopes=["read", "write"], **used)
    server, elsewhere = factories.server(name="tiles"), factories.server(name="search")
    desk = factories.client(name="desk", owner=company.dana.owner)
    pipeline = factories.client(name="pipeline")
    factories.grant(pipeline, server)
    for client in (desk, pipeline):
        factories.use(held, connection=company.place, client=client, server=server)
    other = factories.credential(name="spare", connection=company.place, owner=company.rui.owner)
    factories.use(other, connection=company.place, client=desk, server=server)
    factories.use(other, connection=company.place, client=desk, server=elsewhere)
    return item_of(company.launch(ids=[held.pk]))


def test_each_hop_says_what_stops_and_what_goes_on_by_another_credential(item: ReviewItem):
    told = {(cut.at, cut.name): (cut.effect.ending, cut.effect.going_on, cut.what) for cut in cuts_of(item)}
    assert told == {
        (At.PERSON, "Dana"): (2, 0, ""),
        (At.PERSON, ""): (1, 0, ""),
        (At.CLIENT, "desk"): (2, 0, ""),
        (At.CLIENT, "pipeline"): (1, 0, ""),
        (At.GRANT, "pipeline on tiles"): (1, 0, ""),
        (At.SERVER, "tiles"): (2, 0, ""),
        (At.CREDENTIAL, "deploy"): (1, 1, What.REVOKE),
        (At.SCOPE, "read, write"): (0, 2, What.REDUCE),
    }


def test_it_names_whom_a_cut_meets(item: ReviewItem):
    (cut,) = [cut for cut in cuts_of(item) if cut.at is At.CREDENTIAL]
    assert (cut.effect.people, cut.effect.clients) == (("Dana",), ("desk", "pipeline"))


def test_several_revoked_together_leave_no_way_by_one_another(company: Company, item: ReviewItem):
    assert effect_of_revoking([item.pk]).going_on == 1
    spare = ReviewItem.objects.get(campaign=company.launch(name="Other", connections=[company.place.pk]))
    effect = effect_of_revoking([item.pk, spare.pk])
    assert (effect.ways, effect.going_on) == (3, 0)


def test_what_nobody_is_seen_to_use_can_be_cut_too(company: Company):
    company.credential(name="lone")
    (cut,) = cuts_of(item_of(company.launch()))
    assert (cut.at, cut.what, cut.effect.ways) == (At.CREDENTIAL, What.REVOKE, 0)


def test_the_page_cuts_at_the_item_and_leads_to_where_the_rest_is_cut(company: Company, item: ReviewItem):
    said = text(as_(company.mira).get(f"/reviews/items/{item.pk}/"))
    assert "Where it can be cut" in said
    assert "1 goes on by another credential" in said
    assert "/clients/suspend/" not in said  # neither is hers
    assert "/batches/new/" not in said


def test_a_client_is_suspended_where_it_is_registered_and_else_what_it_uses_is_revoked(
    company: Company, item: ReviewItem
):
    McpClient.objects.filter(name="desk").update(registration="dynamic")
    desk, pipeline = McpClient.objects.get(name="desk"), McpClient.objects.get(name="pipeline")
    said = text(browser(Role.OPERATOR, Role.REVIEWER).get(f"/reviews/items/{item.pk}/"))
    assert f"/clients/suspend/?id={desk.pk}" in said
    assert f"/clients/suspend/?id={pipeline.pk}" not in said
    assert f"/batches/new/?kind=client&amp;id={pipeline.pk}" in said


def test_a_revocation_says_what_stops_before_it_is_decided_and_submitted(company: Company, item: ReviewItem):
    mira = as_(company.mira)
    asked = text(mira.post("/reviews/decide/?what=revoke", {"one": f"{item.pk}:{item.version}"}))
    assert "2 ways: desk, pipeline to tiles; 1 of them goes on by another credential" in asked
    sent = {**DECIDED, "what": "revoke", "one": f"{item.pk}:{item.version}", "reason": "The project ended."}
    mira.post("/reviews/decide/", sent)
    assert "2 ways: desk, pipeline to tiles" in text(mira.get(f"/reviews/{item.campaign_id}/submit/"))


# ── At the person ──────────────────────────────────────────────────────────────────────────────


def at_person(item: ReviewItem, name: str) -> Cut:
    (cut,) = [cut for cut in cuts_of(item) if cut.at is At.PERSON and cut.name == name]
    return cut


def test_a_person_is_cut_off_with_every_way_of_theirs_and_told_what_others_lose_with_them(item: ReviewItem):
    cut = at_person(item, "Dana")
    assert (cut.effect.ways, cut.effect.servers) == (2, ("search", "tiles"))
    assert (cut.effect.clients, cut.effect.beside) == (("desk",), 1)  # the pipeline has no other key


def test_others_who_hold_another_credential_lose_nothing_with_a_person(company: Company, item: ReviewItem):
    pipeline, tiles = McpClient.objects.get(name="pipeline"), McpServer.objects.get(name="tiles")
    factories.use(factories.credential(), connection=company.place, client=pipeline, server=tiles)
    assert at_person(item, "Dana").effect.beside == 0


def test_ways_that_are_in_nobodys_name_are_said(item: ReviewItem):
    cut = at_person(item, "")
    assert (cut.id, cut.effect.ways, cut.effect.clients) == ("", 1, ("pipeline",))
    assert cut.as_json()["id"] is None


def test_a_token_is_the_way_of_whom_it_acts_for_and_not_of_who_answers_for_the_client(company: Company):
    token = company.credential(name="token", subject=company.rui.owner.email.upper())
    shared = factories.client(name="shared desk", owner=company.dana.owner)
    factories.use(token, connection=company.place, client=shared, server=factories.server(name="mail"))
    of_rui = factories.client(name="laptop", owner=company.rui.owner)
    factories.use(None, connection=company.place, client=of_rui, server=factories.server(name="wiki"))
    found = [cut for cut in cuts_of(item_of(company.launch())) if cut.at is At.PERSON]
    assert [(cut.id, cut.name) for cut in found] == [(str(company.rui.owner.pk), "Rui")]
    assert found[0].effect.clients == ("laptop", "shared desk")


def test_whom_nobody_recorded_is_named_as_their_tokens_name_them(company: Company):
    token = company.credential(name="token", subject="guest@elsewhere.example")
    factories.use(token, connection=company.place, client=factories.client(owner=company.dana.owner))
    cut = at_person(item_of(company.launch()), "guest@elsewhere.example")
    assert (cut.id, cut.effect.ways) == ("guest@elsewhere.example", 1)


@pytest.mark.parametrize("kind", ["client", "grant", "server"])
def test_the_person_is_a_hop_of_every_kind_of_item(company: Company, kind: str):
    desk = factories.client(name="desk", owner=company.dana.owner, connection=company.place, registration="dynamic")
    server = factories.server(connection=company.place)
    factories.grant(desk, server)
    factories.use(None, connection=company.place, client=desk, server=server)
    assert at_person(item_of(company.launch(reviewed=[kind])), "Dana").effect.ways == 1


def test_whoever_may_is_led_to_cut_a_person_off(company: Company, item: ReviewItem):
    McpClient.objects.filter(name="desk").update(registration="dynamic")
    dana = company.dana.owner.pk
    said = text(as_(company.rui).get(f"/reviews/items/{item.pk}/"))
    assert f"/clients/suspend/?owner={dana}" in said
    assert "nobody named" in said
    assert "and 1 way of others" in said
    operator = browser(Role.OPERATOR, Role.REVIEWER)
    assert f"/batches/new/?kind=person&amp;id={dana}" in text(operator.get(f"/reviews/items/{item.pk}/"))
    assert "/clients/suspend/?owner=" not in text(as_(company.mira).get(f"/reviews/items/{item.pk}/"))
