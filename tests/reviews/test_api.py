"""Campaigns over REST, from the draft to the signature."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access.roles import Role
from inventory.models import Owner
from lifecycle.models import Operation
from reviews.models import Campaign, ReviewItem
from tests import factories
from tests.api.conftest import Caller, bearer, person, problem_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def reviewer() -> Caller:
    return person("rui", Role.REVIEWER)[1]


@pytest.fixture
def otto() -> tuple[Owner, Caller]:
    user, caller = person("otto", Role.OWNER)
    return factories.owner(name="Otto", user=user), caller


def body(**values: Any) -> dict[str, Any]:
    due = timezone.now() + timedelta(days=30)
    return {"name": "Spring review", "reviewed": ["credential"], "due_at": due.isoformat(), **values}


def drafted(caller: Caller, **values: Any) -> dict[str, Any]:
    answer = caller.post("campaigns/", body(**values))
    assert answer.status_code == 201, answer.content
    said: dict[str, Any] = answer.json()
    return said


def launched(caller: Caller, **values: Any) -> dict[str, Any]:
    answer = caller.post(f"campaigns/{drafted(caller, **values)['id']}/launch/")
    assert answer.status_code == 200, answer.content
    said: dict[str, Any] = answer.json()
    return said


def of_a_team(manager: Owner, **values: Any) -> None:
    """Something that its manager may decide about alone."""
    team = factories.owner(name="Platform", kind="team", manager=manager)
    place = factories.connection(last_complete_at=timezone.now())
    now = timezone.now()
    factories.credential(connection=place, owner=team, last_used_at=now, **values)


def test_a_draft_says_what_it_would_be(reviewer: Caller, otto: tuple[Owner, Caller]):
    of_a_team(otto[0])
    said = drafted(reviewer)
    assert (said["state"], said["preview"]["size"]) == ("draft", 1)
    assert said["preview"]["reviewers"]["first"][0]["name"] == "Otto"


def test_it_goes_from_the_launch_to_the_signature(reviewer: Caller, otto: tuple[Owner, Caller]):
    of_a_team(otto[0])
    caller = otto[1]
    said = launched(reviewer)
    (item,) = caller.json(f"review-items/?campaign={said['id']}&mine=true")["results"]
    at = f"review-items/{item['id']}/"
    decided = caller.post(f"{at}decide/", {"what": "keep", "version": item["version"]}).json()
    assert [each["what"] for each in decided["decisions"]] == ["keep"]
    closed = caller.post(f"{at}submit/").json()
    assert (closed["state"], closed["ending"]) == ("closed", "kept")
    campaign = f"campaigns/{said['id']}/"
    problem_of(reviewer.post(f"{campaign}sign/", {"statement": "So it is."}), 409)
    assert caller.post(f"{campaign}attest/", {"statement": "I looked."}).status_code == 200
    signed = reviewer.post(f"{campaign}sign/", {"statement": "So it is."}).json()
    assert signed["state"] == "signed"
    assert len(signed["digest"]) == 64
    assert signed["progress"]["endings"] == {"kept": 1}


def test_the_same_key_launches_once(reviewer: Caller, otto: tuple[Owner, Caller]):
    of_a_team(otto[0])
    path = f"campaigns/{drafted(reviewer)['id']}/launch/"
    first = reviewer.post(path, **{"Idempotency-Key": "one"})
    again = reviewer.post(path, **{"Idempotency-Key": "one"})
    assert (first.status_code, again.content) == (200, first.content)
    assert ReviewItem.objects.count() == 1


def test_many_alike_are_decided_in_one_go_with_a_reason(reviewer: Caller, otto: tuple[Owner, Caller]):
    for name in ("one", "two"):
        of_a_team(otto[0], name=name)
    said = launched(reviewer)
    keys = [each["id"] for each in otto[1].json(f"review-items/?campaign={said['id']}")["results"]]
    path = f"campaigns/{said['id']}/decide/"
    problem_of(otto[1].post(path, {"items": keys, "what": "keep"}), 400)
    assert otto[1].post(path, {"items": keys, "what": "keep", "reason": "Both are needed"}).status_code == 200
    paced = otto[1].post(f"campaigns/{said['id']}/submit/").json()["pace"]
    assert [(each["decisions"], each["in_bulk"], each["longest_run_of_keeps"]) for each in paced] == [(2, 2, 2)]


def test_a_revocation_becomes_an_operation(reviewer: Caller, otto: tuple[Owner, Caller]):
    of_a_team(otto[0])
    said = launched(reviewer)
    item = ReviewItem.objects.get(campaign=said["id"])
    otto[1].post(f"review-items/{item.pk}/decide/", {"what": "revoke", "reason": "It is over"})
    acting = otto[1].post(f"review-items/{item.pk}/submit/").json()
    assert acting["state"] == "acting"
    assert not Operation.objects.exists()


def test_a_part_is_delegated_with_its_trace(reviewer: Caller, otto: tuple[Owner, Caller]):
    of_a_team(otto[0])
    dana = factories.owner(name="Dana", user=person("dana", Role.OWNER)[0])
    item = ReviewItem.objects.get(campaign=launched(reviewer)["id"])
    at = f"review-items/{item.pk}/delegate/"
    answer = otto[1].post(at, {"to": str(dana.pk), "reason": "On leave"})
    assert (answer.status_code, answer.content) == (204, b"")  # it is not Otto's to see any more
    (trace,) = reviewer.json("review-delegations/")["results"]
    assert (trace["from_owner"]["display"], trace["to_owner"]["display"]) == ("Otto", "Dana")


def test_a_part_that_was_given_away_is_answered_the_same_when_it_is_asked_again(
    reviewer: Caller, otto: tuple[Owner, Caller]
):
    of_a_team(otto[0])
    dana = factories.owner(name="Dana", user=person("dana", Role.OWNER)[0])
    item = ReviewItem.objects.get(campaign=launched(reviewer)["id"])
    body = {"to": str(dana.pk), "reason": "On leave"}
    answers = [otto[1].post(f"review-items/{item.pk}/delegate/", body, **{"Idempotency-Key": "away"}) for _ in range(2)]
    assert [each.status_code for each in answers] == [204, 204]
    assert reviewer.json("review-delegations/")["results"][1:] == []


def test_only_who_sees_a_campaign_through_reminds(reviewer: Caller, otto: tuple[Owner, Caller]):
    of_a_team(otto[0])
    said = launched(reviewer)
    problem_of(otto[1].post(f"campaigns/{said['id']}/remind/"), 403)
    assert "mail server" in problem_of(reviewer.post(f"campaigns/{said['id']}/remind/"), 409)["detail"]


def test_a_version_that_is_not_the_newest_is_refused(reviewer: Caller, otto: tuple[Owner, Caller]):
    of_a_team(otto[0])
    item = ReviewItem.objects.get(campaign=launched(reviewer)["id"])
    problem_of(otto[1].post(f"review-items/{item.pk}/decide/", {"what": "keep", "version": item.version + 1}), 409)


def test_a_token_launches_and_decides_nothing(otto: tuple[Owner, Caller]):
    of_a_team(otto[0])
    token = bearer(Role.OPERATOR)
    item = ReviewItem.objects.get(campaign=launched(token)["id"])
    said = problem_of(token.post(f"review-items/{item.pk}/decide/", {"what": "keep"}), 403)
    assert "person" in said["detail"]


@pytest.mark.parametrize("role", [Role.OWNER, Role.AUDITOR, Role.AUTOMATION])
def test_who_is_no_reviewer_drafts_nothing(role: Role):
    problem_of(bearer(role).post("campaigns/", body()), 403)
    assert not Campaign.objects.exists()


def test_an_outsider_finds_neither_campaign_nor_item(reviewer: Caller, otto: tuple[Owner, Caller]):
    of_a_team(otto[0])
    said = launched(reviewer)
    other = person("dana", Role.OWNER)[1]
    problem_of(other.get(f"campaigns/{said['id']}/"), 404)
    assert other.json("review-items/")["results"] == []
    item = ReviewItem.objects.get()
    problem_of(other.post(f"review-items/{item.pk}/decide/", {"what": "keep"}), 404)


def test_a_refused_draft_names_its_fields(reviewer: Caller):
    answer = reviewer.post("campaigns/", body(due_at="2020-01-01T00:00:00Z"))
    assert "after now" in problem_of(answer, 400)["detail"]


def test_a_stale_connection_is_named_in_the_refusal(reviewer: Caller):
    factories.credential(connection=factories.connection(name="laptops"))
    draft = drafted(reviewer)
    said = problem_of(reviewer.post(f"campaigns/{draft['id']}/launch/"), 409)
    assert "laptops" in said["detail"]


@pytest.mark.parametrize("noun", ["campaigns", "review-items", "review-decisions", "approvals"])
def test_a_list_is_read_in_few_statements(noun: str, reviewer: Caller, otto: tuple[Owner, Caller]):
    for _ in range(3):
        of_a_team(otto[0])
    launched(reviewer)
    for caller in (reviewer, otto[1]):
        with CaptureQueriesContext(
            connection,
        ) as seen:
            caller.json(f"{noun}/")
        assert len(seen) <= 12
