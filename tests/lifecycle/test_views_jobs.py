"""The schedule's pages, and what other pages say when the evaluation stands still."""

import csv
import io
from datetime import timedelta

import pytest
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from lifecycle.actions import jobs
from lifecycle.actions.jobs import Beat
from lifecycle.models import JobHour, ScheduledJob
from lifecycle.views.jobs import hour_state, strips
from tests import factories
from tests.factories import NOW
from tests.people import browser, owners_browser, text

SYSTEM = Actor.system("timetable")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
EVALUATION = Beat("findings", "lifecycle.tasks.evaluate_findings", 5 * MINUTE)
TOP = NOW.replace(minute=0, second=0, microsecond=0)


def job(**values: object) -> ScheduledJob:
    return ScheduledJob(**{"name": "one", "cadence": 5 * MINUTE, "declared_at": TOP - 100 * HOUR, **values})


def row(**values: object) -> JobHour:
    return JobHour(**{"hour": TOP, "begun": 12, "ended": 12, **values})


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        (row(longest_gap=5 * MINUTE), "ran"),
        (row(longest_gap=40 * MINUTE), "late"),
        (row(failed=1, begun=13), "failed"),
        (row(begun=13), "lost"),
        (None, "missed"),
    ],
)
def test_an_hour_says_how_its_runs_went(counted, said):
    assert hour_state(job(), TOP, counted, TOP - MINUTE, TOP + 9 * HOUR) == said


def test_an_hour_before_a_job_was_planned_is_unknown():
    assert hour_state(job(declared_at=TOP + 2 * HOUR), TOP, None, None, TOP + 9 * HOUR) == "unknown"


def test_a_job_that_is_not_due_every_hour_misses_none_of_those_between():
    daily = job(cadence=timedelta(days=1))
    assert hour_state(daily, TOP, None, TOP - 30 * HOUR, TOP + 9 * HOUR) == "quiet"
    assert hour_state(daily, TOP, None, TOP - 37 * HOUR, TOP + 9 * HOUR) == "missed"


def test_the_present_hour_is_judged_up_to_now():
    assert hour_state(job(), TOP, None, TOP - MINUTE, TOP + 5 * MINUTE) == "quiet"


@pytest.mark.django_db
class TestPages:
    def declared(self, ago: timedelta) -> ScheduledJob:
        """The evaluation as it last ended so long ago."""
        then = timezone.now() - ago
        jobs.declare([EVALUATION], now=then - HOUR, actor=SYSTEM)
        run = jobs.begin(EVALUATION.task, worker="evaluate@test", now=then)
        assert run is not None
        jobs.end(run, {"opened": 3}, now=then, actor=SYSTEM)
        return ScheduledJob.objects.get()

    def test_hours_before_the_picture_tell_whether_its_first_one_was_missed(self):
        one = self.declared(timedelta(days=3))
        assert {hour.state for hour in strips([one], timezone.now())[one.pk]} == {"missed"}

    def test_the_schedule_names_what_misses_its_beats(self):
        self.declared(3 * HOUR)
        said = text(browser(Role.AUDITOR).get("/schedule/"))
        assert "1 miss their beats or fail: findings" in said
        assert "Beats missed" in said

    def test_a_job_shows_its_runs_and_gives_its_ledger(self):
        one = self.declared(MINUTE)
        auditor = browser(Role.AUDITOR)
        assert "opened 3" in text(auditor.get(f"/schedule/{one.pk}/?hours=damaged"))
        answer = auditor.get(f"/schedule/{one.pk}/?format=csv")
        (line,) = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode()))
        assert (line["begun"], line["ended"], line["work"]) == ("1", "1", "opened 3")

    def test_the_schedule_is_not_an_owner_s(self):
        one = self.declared(MINUTE)
        mine, _ = owners_browser()
        assert "every 5 minutes" not in text(mine.get("/schedule/"))
        assert mine.get(f"/schedule/{one.pk}/").status_code == 404

    def test_an_empty_schedule_says_how_it_fills(self):
        assert "Nothing is planned yet" in text(browser(Role.AUDITOR).get("/schedule/"))

    @pytest.mark.parametrize("path", ["/", "/findings/", "/policies/", "/rules/stale/"])
    def test_a_page_says_at_reading_time_that_the_evaluation_stands_still(self, path):
        factories.credential()
        self.declared(3 * HOUR)
        said = text(browser(Role.AUDITOR).get(path, follow=True))
        assert "last ran" in said
        assert "planned every 5 minutes" in said

    def test_a_page_says_nothing_while_the_evaluation_keeps_its_beat(self):
        self.declared(MINUTE)
        assert "kept up to date" not in text(browser(Role.AUDITOR).get("/findings/", follow=True))
