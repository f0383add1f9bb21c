"""Ownership runs out: who is asked when, what they answer, and what becomes of what nobody accepts."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from access.actors import Actor
from access.roles import Role
from audit.models import AuditEntry
from inventory.actions import answering
from inventory.actions.asking import ask, follow, measure_ownership
from inventory.actions.terms import Terms
from inventory.errors import AlreadyAnswered, AnswerNeedsReason, HandOverRefused, NotAsked, NothingLeft, OwnerInactive
from inventory.models import Credential, McpClient, McpServer, Owner, OwnershipDay, OwnershipQuestion, Tenure
from inventory.states import Admission, Part, QuestionState, Registration, Stage
from tests import factories
from tests.factories import NOW
from tests.inventory.line import Line
from tests.people import person

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
SYSTEM = Actor.system("a test")


@pytest.fixture
def line() -> Line:
    return Line()


def the_question() -> OwnershipQuestion:
    return OwnershipQuestion.objects.get()


def tenure_of(thing: Any) -> Tenure:
    return Tenure.objects.open().get(subject_id=thing.pk)


def test_an_owner_is_asked_once_about_everything_in_their_name(line: Line):
    for _ in range(3):
        factories.credential(owner=line.mira)
    factories.client(owner=line.mira)
    factories.server(iam_owner=line.mira, platform_owner=line.otto)
    line.sweep()
    asked = {row.owner: (row.asked, row.size, row.answer_by) for row in OwnershipQuestion.objects.all()}
    assert asked == {
        line.mira: (line.mira, 5, NOW + 14 * DAY),
        line.otto: (line.otto, 1, NOW + 14 * DAY),
    }


def test_a_sweep_that_runs_again_asks_nobody_again(line: Line):
    factories.credential(owner=line.mira)
    line.sweep()
    entries = AuditEntry.objects.count()
    assert line.sweep() == {"moved": 0, "settled": 0, "asked": 0, "passed_on": 0, "quarantined": 0}
    assert (OwnershipQuestion.objects.count(), AuditEntry.objects.count()) == (1, entries)


def test_what_comes_within_a_day_is_part_of_the_question(line: Line):
    factories.credential(owner=line.mira)
    line.sweep()
    factories.credential(owner=line.mira)
    line.pass_by(timedelta(hours=23))
    assert the_question().size == 2
    factories.credential(owner=line.mira)
    line.pass_by(timedelta(hours=2))
    assert sorted(OwnershipQuestion.objects.values_list("size", flat=True)) == [1, 2]


def test_who_accepts_is_asked_again_when_that_has_run_out(line: Line):
    credential = factories.credential(owner=line.mira)
    line.sweep()
    assert line.accept(the_question(), line.mira) == 1
    assert tenure_of(credential).accepted_at == NOW
    assert line.pass_by(179 * DAY)["asked"] == 0
    assert line.pass_by(DAY)["asked"] == 1
    again = OwnershipQuestion.objects.open().get()
    assert (again.is_again, again.size) == (True, 1)


def test_what_was_accepted_later_is_asked_again_with_the_rest(line: Line):
    factories.credential(owner=line.mira)
    line.sweep()
    line.accept(the_question(), line.mira)
    factories.credential(owner=line.mira)
    line.pass_by(100 * DAY)
    line.accept(OwnershipQuestion.objects.open().get(), line.mira)
    line.pass_by(80 * DAY)
    assert OwnershipQuestion.objects.open().get().size == 2


def test_a_question_nobody_answers_goes_to_the_deputy_then_to_the_manager_then_into_quarantine(line: Line):
    credential = factories.credential(owner=line.mira)
    server = factories.server(iam_owner=line.mira)
    client = factories.client(owner=line.mira)
    line.sweep()
    asked = [the_question().asked.name]
    for days in (14, 7):
        line.pass_by(days * DAY)
        asked.append(the_question().asked.name)
    line.pass_by(7 * DAY)
    question = the_question()
    assert asked == ["Mira", "Dana", "Otto"]
    assert (question.state, question.ended_at) == (QuestionState.QUARANTINED, NOW + 28 * DAY)
    assert [each["why"] for each in question.passes] == ["Nobody answered by the date."] * 3
    for row in (credential, server, client):
        row.refresh_from_db()
    assert (credential.owner, server.iam_owner, client.owner) == (None, None, None)
    assert list(
        AuditEntry.objects.filter(event__startswith="ownership").order_by("seq").values_list("event", flat=True)
    ) == [
        "ownership.asked",
        "ownership.passed_on",
        "ownership.passed_on",
        "ownership.quarantined",
    ]
    said = AuditEntry.objects.get(event="ownership.quarantined").detail
    assert (said["from"], said["things"]) == ("Mira", {"client": 1, "credential": 1, "iam_owner": 1})


def test_whoever_accepts_for_the_owner_takes_it_over(line: Line):
    credential = factories.credential(owner=line.mira)
    server = factories.server(platform_owner=line.mira)
    client = factories.client(owner=line.mira)
    line.sweep()
    line.pass_by(14 * DAY)
    line.accept(the_question(), line.dana)
    for row in (credential, server, client):
        row.refresh_from_db()
    assert (credential.owner, server.platform_owner, client.owner) == (line.dana, line.dana, line.dana)
    assert tenure_of(credential).accepted_at == line.now
    assert AuditEntry.objects.filter(event="credential.owner_assigned", detail__to="Dana").count() == 1
    assert line.pass_by(DAY)["moved"] == 0


def test_who_is_not_there_is_passed_over_with_the_reason(line: Line):
    factories.credential(owner=line.mira)
    Owner.objects.filter(pk=line.mira.pk).update(deputy=None)
    line.leave(line.otto)
    line.sweep()
    line.pass_by(14 * DAY)
    question = the_question()
    assert question.state == QuestionState.QUARANTINED
    assert [(each["stage"], each["why"]) for each in question.passes] == [
        ("owner", "Nobody answered by the date."),
        ("deputy", "There is none."),
        ("manager", "They have left."),
    ]


def test_a_deputy_who_is_the_manager_too_is_asked_once(line: Line):
    factories.credential(owner=line.mira)
    Owner.objects.filter(pk=line.mira.pk).update(manager=line.dana)
    line.sweep()
    line.pass_by(14 * DAY)
    line.pass_by(7 * DAY)
    assert the_question().passes[-1]["why"] == "They were asked already."
    assert the_question().state == QuestionState.QUARANTINED


def test_when_an_owner_leaves_their_deputy_is_asked_at_once(line: Line):
    credential = factories.credential(owner=line.mira)
    line.sweep()
    line.accept(the_question(), line.mira)
    line.now += 10 * DAY
    line.leave(line.mira)
    line.now += timedelta(hours=1)
    line.sweep()
    question = OwnershipQuestion.objects.open().get()
    assert (question.asked, question.stage) == (line.dana, Stage.DEPUTY)
    assert question.passes[0]["why"] == "They have left."
    assert tenure_of(credential).gap_since == line.mira.inactive_since


def test_who_leaves_while_they_are_asked_is_passed_before_the_date(line: Line):
    factories.credential(owner=line.mira)
    line.sweep()
    line.leave(line.mira)
    line.pass_by(DAY)
    assert (the_question().asked, the_question().passes[0]["why"]) == (line.dana, "They have left.")


def test_what_is_in_the_name_of_somebody_who_left_stays_there_as_a_finding_and_is_asked_about_when_they_are_back(
    line: Line,
):
    credential = factories.credential(owner=line.otto)
    line.leave(line.otto)
    line.sweep()
    credential.refresh_from_db()
    assert (the_question().state, credential.owner) == (QuestionState.QUARANTINED, line.otto)
    assert line.pass_by(DAY)["asked"] == 0
    assert measure_ownership(now=line.now).quarantined == 1
    Owner.objects.filter(pk=line.otto.pk).update(is_active=True, inactive_since=None)
    assert line.pass_by(DAY)["asked"] == 1


def test_who_declines_hands_it_to_the_next_in_line_at_once(line: Line):
    factories.credential(owner=line.mira)
    line.sweep()
    assert line.decline(the_question(), line.mira) == "passed_on"
    assert (the_question().asked, the_question().answer_by) == (line.dana, NOW + 7 * DAY)
    line.decline(the_question(), line.dana)
    assert line.decline(the_question(), line.otto) == "quarantined"


def test_what_is_handed_over_is_in_the_name_of_who_is_asked_then(line: Line):
    credential = factories.credential(owner=line.mira)
    line.sweep()
    lea = line.somebody("Lea")
    made = line.hand_over(the_question(), line.mira, lea)
    credential.refresh_from_db()
    assert (credential.owner, made.asked, made.size) == (lea, lea, 1)
    assert made.follows is not None
    assert made.follows.state == QuestionState.HANDED_OVER
    assert tenure_of(credential).accepted_at is None
    assert line.sweep()["moved"] == 0


def test_nothing_is_handed_round_for_ever(line: Line):
    factories.credential(owner=line.mira)
    line.sweep()
    question = the_question()
    for giver, taker in ((line.mira, line.dana), (line.dana, line.mira), (line.mira, line.dana)):
        question = line.hand_over(question, giver, taker)
    with pytest.raises(HandOverRefused):
        line.hand_over(question, line.dana, line.mira)


def test_a_question_is_not_handed_to_who_is_asked_or_to_who_left(line: Line):
    factories.credential(owner=line.mira)
    line.sweep()
    with pytest.raises(HandOverRefused):
        line.hand_over(the_question(), line.mira, line.mira)
    line.leave(line.otto)
    with pytest.raises(OwnerInactive):
        line.hand_over(the_question(), line.mira, line.otto)


def test_only_who_is_asked_answers(line: Line):
    factories.credential(owner=line.mira)
    line.sweep()
    for owner in (line.dana, line.otto):
        with pytest.raises(NotAsked):
            line.accept(the_question(), owner)


def test_a_reviewer_records_what_a_team_says_with_the_reason(line: Line):
    team = factories.owner(name="Platform", kind="team")
    factories.credential(owner=team)
    line.sweep()
    reviewer = person(Role.REVIEWER).as_actor()
    said: dict[str, Any] = {"actor": reviewer, "now": line.now, "terms": line.terms}
    with pytest.raises(AnswerNeedsReason):
        answering.accept(the_question(), **said)
    answering.accept(the_question(), reason="Their lead said so on the phone", **said)
    entry = AuditEntry.objects.get(event="ownership.accepted")
    assert (entry.actor_id, entry.detail["by"]) == (reviewer.id, "Platform")


def test_a_reviewer_records_nothing_for_somebody_who_signs_in(line: Line):
    factories.credential(owner=line.mira)
    line.sweep()
    reviewer = person(Role.REVIEWER).as_actor()
    with pytest.raises(NotAsked):
        answering.accept(the_question(), actor=reviewer, now=line.now, terms=line.terms, reason="They said so")


def test_a_question_is_answered_once(line: Line):
    factories.credential(owner=line.mira)
    line.sweep()
    line.accept(the_question(), line.mira)
    with pytest.raises(AlreadyAnswered):
        line.accept(the_question(), line.mira)


def quarantined(line: Line) -> OwnershipQuestion:
    line.sweep()
    for days in (14, 7, 7):
        line.pass_by(days * DAY)
    return the_question()


def test_whoever_is_in_line_takes_back_what_is_quarantined(line: Line):
    credential = factories.credential(owner=line.mira)
    question = quarantined(line)
    line.now += 2 * DAY
    line.accept(question, line.mira)
    credential.refresh_from_db()
    assert (credential.owner, tenure_of(credential).accepted_at) == (line.mira, line.now)


def test_what_somebody_else_was_given_meanwhile_is_not_taken_back(line: Line):
    lea = line.somebody("Lea")
    credential = factories.credential(owner=line.mira)
    question = quarantined(line)
    Credential.objects.filter(pk=credential.pk).update(owner=lea)
    line.pass_by(DAY)
    with pytest.raises(NothingLeft):
        line.accept(question, line.mira)


def test_clients_are_held_back_only_where_the_operator_asks_for_it(line: Line):
    admitted = {"registration": Registration.DYNAMIC, "admission": Admission.ADMITTED}
    client = factories.client(owner=line.mira, **admitted)
    quarantined(line)
    client.refresh_from_db()
    assert client.admission == Admission.ADMITTED
    line.terms = Terms(quarantines_clients=True)
    other = factories.client(owner=line.otto, **admitted)
    line.sweep()
    line.pass_by(14 * DAY)
    other.refresh_from_db()
    assert (other.owner, other.admission) == (None, Admission.QUARANTINED)
    assert AuditEntry.objects.filter(event="client.quarantined").count() == 1


def test_a_question_of_which_nothing_is_left_is_settled(line: Line):
    credential = factories.credential(owner=line.mira)
    line.sweep()
    Credential.objects.filter(pk=credential.pk).update(owner=line.dana)
    line.pass_by(DAY)
    assert OwnershipQuestion.objects.get(owner=line.mira).state == QuestionState.SETTLED
    assert OwnershipQuestion.objects.get(owner=line.dana).is_open


def test_what_ended_is_asked_about_no_more(line: Line):
    factories.credential(owner=line.mira, status="destroyed")
    McpServer.objects.filter(pk=factories.server(iam_owner=line.mira).pk).update(gone_at=NOW, last_seen_at=NOW)
    factories.client(owner=line.mira, admission=Admission.REMOVED, registration=Registration.DYNAMIC)
    assert line.sweep()["asked"] == 0


def test_of_two_sweeps_at_a_time_the_other_has_nothing_to_do(line: Line):
    factories.credential(owner=line.mira)
    follow(now=line.now)
    assert ask(now=line.now, terms=line.terms) == (1, 1)
    assert ask(now=line.now, terms=line.terms) == (0, 0)


# ── How long ───────────────────────────────────────────────────────────────────────────────────


def test_an_interval_without_an_accepted_owner_goes_on_from_owner_to_owner(line: Line):
    credential = factories.credential(owner=None, first_seen_at=NOW - 3 * DAY)
    line.sweep()
    Credential.objects.filter(pk=credential.pk).update(owner=line.mira)
    line.pass_by(2 * DAY)
    Credential.objects.filter(pk=credential.pk).update(owner=line.dana)
    line.pass_by(DAY)
    line.accept(OwnershipQuestion.objects.open().get(), line.dana)
    found = tenure_of(credential)
    assert found.accepted_at is not None
    assert found.accepted_at - found.gap_since == 6 * DAY


def test_the_figures_of_a_day_say_what_is_accepted_and_how_long_the_rest_has_waited(line: Line):
    for days in (1, 2, 3):
        factories.credential(owner=line.mira, first_seen_at=NOW - days * DAY)
    factories.credential(owner=line.otto, first_seen_at=NOW - 4 * DAY)
    factories.credential(owner=None, first_seen_at=NOW - 10 * DAY)
    line.sweep()
    line.accept(OwnershipQuestion.objects.get(owner=line.mira), line.mira)
    measure_ownership(now=NOW)
    day = OwnershipDay.objects.get()
    assert (day.accepted, day.asked, day.ownerless, day.quarantined) == (3, 1, 1, 0)
    assert (day.open_median, day.closed, day.closed_median) == (7 * DAY, 3, 2 * DAY)


def test_figures_taken_twice_a_day_are_of_the_later_moment(line: Line):
    measure_ownership(now=NOW)
    factories.credential(owner=None)
    line.sweep()
    measure_ownership(now=NOW + timedelta(hours=1))
    assert OwnershipDay.objects.get().ownerless == 1


def test_a_part_of_a_server_is_asked_about_by_itself(line: Line):
    server = factories.server(iam_owner=line.mira, application_owner=line.mira)
    line.sweep()
    line.accept(the_question(), line.mira)
    McpServer.objects.filter(pk=server.pk).update(application_owner=line.otto)
    line.pass_by(DAY)
    parts = dict(Tenure.objects.open().filter(subject_id=server.pk).values_list("part", "accepted_at"))
    assert parts == {Part.IAM_OWNER: NOW, Part.PLATFORM_OWNER: None, Part.APPLICATION_OWNER: None}
    assert OwnershipQuestion.objects.open().get().asked == line.otto


def test_clients_of_a_team_without_anybody_in_line_are_quarantined_and_nothing_is_lost(line: Line):
    team = factories.owner(name="Platform", kind="team")
    client = factories.client(owner=team)
    line.sweep()
    line.pass_by(14 * DAY)
    client = McpClient.objects.get(pk=client.pk)
    assert client.owner is None
    assert the_question().owner == team


def test_many_owners_are_asked_passed_and_quarantined_in_as_many_statements_as_one(line: Line):
    taken = []
    for number in (1, 6):
        for n in range(number):
            factories.credential(owner=factories.owner(deputy=line.dana if n % 2 else None))
        for days in (0, 14, 7, 7):
            with CaptureQueriesContext(database) as asked:
                line.pass_by(days * DAY)
            taken.append(len(asked))
    assert OwnershipQuestion.objects.filter(state=QuestionState.QUARANTINED).count() == 7
    assert max(taken[4:]) <= max(taken[:4]) + 6  # what is passed on to a deputy beside what is quarantined


def test_each_of_many_quarantined_together_has_an_entry_of_its_own(line: Line):
    for name in ("Ana", "Bo"):
        owner = factories.owner(name=name)
        for _ in range(2):
            factories.credential(owner=owner)
    line.sweep()
    line.pass_by(14 * DAY)
    said = AuditEntry.objects.filter(event="ownership.quarantined").order_by("seq").values_list("detail", flat=True)
    assert sorted((each["from"], each["things"]["credential"]) for each in said) == [("Ana", 2), ("Bo", 2)]
    assert len({each["digests"]["credential"] for each in said}) == 2
