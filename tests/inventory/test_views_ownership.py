"""Ownership on pages and over REST: who is asked sees it and answers, others see no more than is theirs."""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access.roles import Role
from inventory.models import Credential, Owner, OwnershipQuestion
from inventory.states import QuestionState
from tests import factories
from tests.api.conftest import Caller, problem_of
from tests.api.conftest import person as caller_of
from tests.inventory.line import Line
from tests.people import browser, text

pytestmark = pytest.mark.django_db
DECIDED = {"decided": "yes"}
DAY = timedelta(days=1)


@pytest.fixture
def line() -> Line:
    line = Line(now=timezone.now())
    factories.credential(name="deploy", owner=line.mira)
    line.sweep()
    return line


@pytest.fixture
def question(line: Line) -> OwnershipQuestion:
    return OwnershipQuestion.objects.get()


def as_(owner: Owner) -> Client:
    client = Client()
    client.force_login(owner.user)
    return client


def test_an_owner_finds_what_they_are_asked_on_their_page_and_answers_it(line: Line, question: OwnershipQuestion):
    mira = as_(line.mira)
    at = f"/ownership/{question.pk}/"
    assert at in text(mira.get(f"/owners/{line.mira.pk}/"))
    assert at in text(mira.get("/ownership/?mine=true"))
    said = text(mira.get(at))
    assert "You are asked" in said
    assert "deploy" in said
    assert "1 thing accepted" in text(mira.post(f"{at}accept/", DECIDED, follow=True))
    question.refresh_from_db()
    assert question.state == QuestionState.ACCEPTED


def test_what_is_handed_over_is_asked_of_somebody_else(line: Line, question: OwnershipQuestion):
    given = {**DECIDED, "to": "Dana", "reason": "Dana runs it"}
    as_(line.mira).post(f"/ownership/{question.pk}/hand-over/", given)
    made = OwnershipQuestion.objects.open().get()
    assert (made.asked, Credential.objects.get().owner) == (line.dana, line.dana)
    assert "You are asked" in text(as_(line.dana).get(f"/ownership/{made.pk}/"))


def test_who_declines_says_why(line: Line, question: OwnershipQuestion):
    at = f"/ownership/{question.pk}/decline/"
    assert as_(line.mira).post(at, DECIDED).status_code == 422
    as_(line.mira).post(at, {**DECIDED, "reason": "Not mine"})
    question.refresh_from_db()
    assert (question.asked, question.passes[0]["why"]) == (line.dana, "Declined: Not mine")


def test_an_outsider_finds_no_question(line: Line, question: OwnershipQuestion):
    other = as_(line.somebody("Lea"))
    assert other.get(f"/ownership/{question.pk}/").status_code == 404
    assert other.post(f"/ownership/{question.pk}/accept/", DECIDED).status_code == 404
    assert "What is in" not in text(other.get("/ownership/"))


def test_a_reviewer_sees_it_and_may_not_answer_for_somebody_who_signs_in(line: Line, question: OwnershipQuestion):
    rui = browser(Role.REVIEWER)
    assert "Accept…" not in text(rui.get(f"/ownership/{question.pk}/"))
    assert rui.post(f"/ownership/{question.pk}/accept/", {**DECIDED, "reason": "They said so"}).status_code == 422


def test_a_reviewer_who_records_what_a_team_says_gives_the_reason(line: Line):
    factories.credential(owner=factories.owner(name="Platform", kind="team"))
    line.sweep()
    asked = OwnershipQuestion.objects.get(owner__name="Platform")
    rui = browser(Role.REVIEWER)
    assert "record what Platform says" in text(rui.get(f"/ownership/{asked.pk}/"))
    assert rui.post(f"/ownership/{asked.pk}/accept/", DECIDED).status_code == 422
    rui.post(f"/ownership/{asked.pk}/accept/", {**DECIDED, "reason": "Their lead said so"})
    asked.refresh_from_db()
    assert asked.state == QuestionState.ACCEPTED


def test_what_is_quarantined_says_so_and_is_taken_back(line: Line, question: OwnershipQuestion):
    for days in (14, 7, 7):
        line.pass_by(days * DAY)
    dana = as_(line.dana)
    Owner.objects.filter(pk=line.mira.pk).update(deputy=line.dana)
    OwnershipQuestion.objects.update(asked=line.dana)
    assert "Nobody accepted it" in text(dana.get(f"/ownership/{question.pk}/"))
    dana.post(f"/ownership/{question.pk}/accept/", DECIDED)
    assert Credential.objects.get().owner == line.dana


def test_a_page_of_a_question_costs_the_same_however_much_it_is_about(line: Line, question: OwnershipQuestion):
    for _ in range(60):
        factories.credential(owner=line.mira)
    line.pass_by(timedelta(hours=1))
    mira = as_(line.mira)
    with CaptureQueriesContext(database) as asked:
        said = text(mira.get(f"/ownership/{question.pk}/"))
    assert "Later" in said
    assert len(asked) <= 12


def test_who_is_in_line_is_set_on_the_page_of_an_owner(line: Line):
    rui = browser(Role.REVIEWER)
    lea = factories.owner(name="Lea")
    at = f"/owners/{line.mira.pk}/change/"
    assert 'value="Dana' in text(rui.get(at)) or str(line.dana.pk) in text(rui.get(at))
    given = {**DECIDED, "kind": "person", "name": "Mira", "email": "", "external_id": ""}
    rui.post(at, {**given, "deputy": "Lea", "manager": ""})
    line.mira.refresh_from_db()
    assert (line.mira.deputy, line.mira.manager) == (lea, None)
    assert "Lea" in text(rui.get(f"/owners/{line.mira.pk}/"))


def test_nobody_is_in_line_for_themselves(line: Line):
    given = {**DECIDED, "kind": "person", "name": "Mira", "deputy": "Mira"}
    answer = browser(Role.REVIEWER).post(f"/owners/{line.mira.pk}/change/", given)
    assert answer.status_code == 422
    assert "nobody is in line for themselves" in text(answer)


# ── Over REST ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def mira() -> tuple[Owner, Caller]:
    user, caller = caller_of("mira", Role.OWNER)
    return factories.owner(name="Mira", user=user), caller


def asked_of(owner: Owner) -> str:
    line = Line(now=timezone.now())
    factories.credential(owner=owner)
    line.sweep()
    return f"ownership-questions/{OwnershipQuestion.objects.get(owner=owner).pk}/"


def test_an_owner_accepts_over_rest(mira: tuple[Owner, Caller]):
    at = asked_of(mira[0])
    assert [each["state"] for each in mira[1].json("ownership-questions/?mine=true")["results"]] == ["open"]
    assert mira[1].post(f"{at}accept/", {}).json()["state"] == "accepted"
    (tenure,) = mira[1].json("tenures/?accepted=true")["results"]
    assert tenure["owner"]["display"] == "Mira"
    assert tenure["subject_url"].endswith(f"/credentials/{tenure['subject_id']}/")
    problem_of(mira[1].post(f"{at}accept/", {}), 409)


def test_what_is_handed_over_over_rest_is_seen_by_who_gave_it(mira: tuple[Owner, Caller]):
    at = asked_of(mira[0])
    lea = factories.owner(name="Lea")
    problem_of(mira[1].post(f"{at}hand-over/", {"to": str(lea.pk)}), 400)
    said = mira[1].post(f"{at}hand-over/", {"to": str(lea.pk), "reason": "Lea runs it"})
    assert said.json()["state"] == "handed_over"


def test_an_outsider_answers_nothing_over_rest(mira: tuple[Owner, Caller]):
    at = asked_of(mira[0])
    other = caller_of("lea", Role.OWNER)[1]
    problem_of(other.post(f"{at}decline/", {"reason": "Not mine"}), 404)
    reviewer = caller_of("rui", Role.REVIEWER)[1]
    problem_of(reviewer.post(f"{at}decline/", {"reason": "Not theirs"}), 403)


def test_the_page_of_a_thing_says_whether_its_owner_accepted_it(line: Line, question: OwnershipQuestion):
    credential = Credential.objects.get()
    server = factories.server(name="github", iam_owner=line.mira)
    line.sweep()
    mira = as_(line.mira)
    assert "Mira is asked" in text(mira.get(f"/credentials/{credential.pk}/"))
    assert "Mira is asked" in text(mira.get(f"/servers/{server.pk}/"))
    for days in (14, 7, 7):
        line.pass_by(days * DAY)
    said = text(browser(Role.REVIEWER).get(f"/credentials/{credential.pk}/"))
    assert "Quarantined: nobody accepted it after Mira" in said
