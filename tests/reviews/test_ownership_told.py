"""Who is told about ownership, what quarantine does to findings, and what the controls count."""

from datetime import timedelta

import pytest
from django.utils import timezone

from access.actors import Actor
from inventory.actions.asking import measure_ownership
from inventory.models import Owner, OwnershipQuestion
from lifecycle.actions.evaluation import evaluate
from lifecycle.models import Finding
from notifications.actions.recipients import keep_recipients
from notifications.mail import rendered
from notifications.models import Notice
from reviews.actions.controls import measure_controls
from reviews.actions.ownership_notices import tell_of_ownership
from reviews.models import MeasureDay
from reviews.tasks import sweep_ownership
from tests import factories
from tests.factories import NOW
from tests.inventory.line import Line

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def line() -> Line:
    line = Line()
    for owner in (line.mira, line.dana, line.otto):
        Owner.objects.filter(pk=owner.pk).update(email=f"{owner.name.lower()}@halden.example")
    factories.credential(owner=line.mira)
    keep_recipients(NOW)
    return line


@pytest.fixture
def mail_is_on(settings) -> None:
    settings.MAIL_SERVER = object()
    settings.PUBLIC_URL = "https://keyreeve.halden.example"
    settings.DEFAULT_FROM_EMAIL = "keyreeve@halden.example"


def told() -> list[tuple[str, str]]:
    rows = Notice.objects.filter(kind="ownership.asked").order_by("pk")
    return [(str(each.recipient), each.subject) for each in rows]


def test_whoever_is_asked_is_told_once_and_again_before_the_date(line: Line, mail_is_on: None):
    line.sweep()
    assert [tell_of_ownership(now=line.now) for _ in range(2)] == [1, 0]
    assert told() == [("Mira", "Do you answer for 1 thing in your name?")]
    line.pass_by(11 * DAY)
    assert tell_of_ownership(now=line.now) == 1
    line.pass_by(3 * DAY)
    tell_of_ownership(now=line.now)
    assert told()[-1] == ("Dana", "Do you answer for 1 thing in the name of Mira?")
    body = str(rendered(Notice.objects.order_by("pk").last()).body)
    assert "You are asked as deputy" in body
    assert f"https://keyreeve.halden.example/ownership/{OwnershipQuestion.objects.get().pk}/" in body


def test_everybody_in_line_is_told_when_nobody_answered(line: Line, mail_is_on: None):
    line.sweep()
    for days in (14, 7, 7):
        line.pass_by(days * DAY)
    assert tell_of_ownership(now=line.now) == 3
    assert ("Mira", "Nobody answers for 1 thing in your name") in told()


def test_nobody_is_told_where_no_mail_server_is_set_up(line: Line):
    line.sweep()
    assert tell_of_ownership(now=line.now) == 0


def test_what_is_quarantined_becomes_a_finding_by_the_next_evaluation(line: Line):
    actor = Actor.system("a test")
    line.sweep()
    evaluate(line.now, actor=actor, full=True)
    assert not Finding.objects.filter(rule="no-owner").exists()
    for days in (14, 7, 7):
        line.pass_by(days * DAY)
    evaluate(line.now, actor=actor)
    assert Finding.objects.unresolved().filter(rule="no-owner").count() == 1


def test_the_controls_count_who_accepted_and_how_long_it_took(line: Line):
    factories.credential(owner=None, first_seen_at=NOW - 40 * DAY)
    factories.credential(owner=line.otto)
    line.sweep()
    line.accept(OwnershipQuestion.objects.get(owner=line.mira), line.mira)
    measure_controls(line.now)
    found = {row.measure: (row.met, row.violated, row.unknown) for row in MeasureDay.objects.all()}
    assert found["owners-accepted"] == (1, 1, 1)
    assert found["accepted-in-time"] == (1, 1, 0)


def test_the_page_of_controls_says_how_long_things_stand_without_an_accepted_owner(line: Line, admin_client):
    line.sweep()
    measure_ownership(now=timezone.now())
    said = admin_client.get("/controls/").content.decode()
    assert "Without an accepted owner" in said
    assert "Without an accepted owner" in admin_client.get("/controls/GV.RR-02/").content.decode()


def test_without_mail_nobody_is_asked_who_would_never_be_told(line: Line):
    assert sweep_ownership() == {}
    assert not OwnershipQuestion.objects.exists()


def test_where_the_operator_switched_it_off_nobody_is_asked(line: Line, settings):
    settings.OWNERSHIP_IS_ASKED = False
    assert sweep_ownership() == {}
    assert not OwnershipQuestion.objects.exists()
    settings.OWNERSHIP_IS_ASKED = True
    assert sweep_ownership()["asked"] == 1
