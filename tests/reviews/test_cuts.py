"""Where the way from a person to a scope can be cut, and what is foretold of it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from reviews.models import ReviewItem
from reviews.models.cuts import At, cuts_of, effect_of_revoking
from reviews.states import What
from tests import factories
from tests.people import text
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
    assert "/clients/suspend/" in said  # an owner narrows clients too
    assert "/batches/new/" not in said


def test_a_revocation_says_what_stops_before_it_is_decided_and_submitted(company: Company, item: ReviewItem):
    mira = as_(company.mira)
    asked = text(mira.post("/reviews/decide/?what=revoke", {"one": f"{item.pk}:{item.version}"}))
    assert "2 ways: desk, pipeline to tiles; 1 of them goes on by another credential" in asked
    sent = {**DECIDED, "what": "revoke", "one": f"{item.pk}:{item.version}", "reason": "The project ended."}
    mira.post("/reviews/decide/", sent)
    assert "2 ways: desk, pipeline to tiles" in text(mira.get(f"/reviews/{item.campaign_id}/submit/"))
