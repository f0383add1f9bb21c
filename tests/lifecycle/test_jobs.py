"""The timetable: what is declared, the ledger of its runs, and beats that are missed."""

from datetime import timedelta

import pytest

from access.actors import Actor
from audit.models import AuditEntry
from inventory.states import Severity
from lifecycle.actions import jobs
from lifecycle.actions.jobs import Beat
from lifecycle.models import Finding, JobHour, JobRun, RuleState, ScheduledJob
from lifecycle.rules import RULES
from lifecycle.states import Resolution, RunOutcome
from tests.factories import NOW

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("timetable")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SWEEP, FINDINGS = Beat("the sweep", "x.sweep", MINUTE), Beat("findings", "x.evaluate", 5 * MINUTE)


def declare(*beats: Beat, now=NOW) -> None:
    jobs.declare(beats, now=now, actor=SYSTEM)


def run(task: str, at=NOW, took=timedelta(seconds=2), **work: int) -> None:
    begun = jobs.begin(task, worker="evaluate@test", now=at)
    assert begun is not None
    jobs.end(begun, work, now=at + took, actor=SYSTEM)


def failed(task: str, at=NOW) -> None:
    begun = jobs.begin(task, worker="evaluate@test", now=at)
    assert begun is not None
    jobs.fail(begun, "OperationalError (57P01); the worker's log says more.", now=at + MINUTE, actor=SYSTEM)


def said() -> list[str]:
    return list(AuditEntry.objects.filter(event__startswith="job.").order_by("seq").values_list("event", flat=True))


def missed() -> list[tuple[str, int]]:
    found = Finding.objects.unresolved().filter(rule="heartbeat-missed")
    return list(found.order_by("job__name").values_list("job__name", "severity"))


def test_what_is_declared_is_written_once():
    declare(SWEEP, FINDINGS)
    declare(SWEEP, FINDINGS, now=NOW + DAY)
    assert set(ScheduledJob.objects.values_list("name", "cadence", "declared_at")) == {
        ("the sweep", MINUTE, NOW),
        ("findings", 5 * MINUTE, NOW),
    }
    assert said() == ["job.declared", "job.declared"]


def test_a_changed_cadence_is_declared_anew_and_what_is_no_longer_planned_is_retired():
    declare(SWEEP, FINDINGS)
    declare(SWEEP._replace(cadence=HOUR), now=NOW + DAY)
    sweep, findings = ScheduledJob.objects.order_by("-name")
    assert (sweep.cadence, sweep.declared_at, sweep.retired_at) == (HOUR, NOW + DAY, None)
    assert findings.retired_at == NOW + DAY
    assert said()[2:] == ["job.declared", "job.retired"]


def test_what_nobody_declared_is_not_recorded():
    assert jobs.begin("x.unplanned", worker="", now=NOW) is None


def test_a_run_with_nothing_to_do_is_counted_in_its_hour_alone():
    declare(SWEEP)
    for i in range(3):
        run("x.sweep", NOW + i * MINUTE, connections=0)
    hour = JobHour.objects.get()
    assert (hour.begun, hour.ended, hour.failed, hour.unended, hour.seconds) == (3, 3, 0, 0, 6)
    assert hour.longest_gap == MINUTE
    assert not JobRun.objects.exists()
    assert said() == ["job.declared"]


def test_a_run_that_did_something_is_kept_with_what_it_did():
    declare(SWEEP)
    run("x.sweep", connections=2, others=0)
    run("x.sweep", connections=1)
    assert [one.work for one in JobRun.objects.all()] == [{"connections": 1}, {"connections": 2}]
    assert JobHour.objects.get().work == {"connections": 3}


def test_the_first_failure_and_the_recovery_leave_entries():
    declare(SWEEP)
    failed("x.sweep")
    failed("x.sweep", NOW + 2 * MINUTE)
    job = ScheduledJob.objects.get()
    assert (job.failures, job.ended_at, job.failed_at) == (2, None, NOW + 3 * MINUTE)
    run("x.sweep", NOW + 4 * MINUTE)
    job.refresh_from_db()
    assert (job.failures, job.error, job.ended_at) == (0, "", NOW + 4 * MINUTE + timedelta(seconds=2))
    assert said()[1:] == ["job.failed", "job.recovered"]
    assert JobRun.objects.filter(outcome=RunOutcome.FAILED).count() == 2


def test_a_run_that_never_ended_says_so():
    declare(SWEEP)
    jobs.begin("x.sweep", worker="killed", now=NOW)
    lost = JobRun.objects.get()
    assert (lost.is_lost(NOW + MINUTE), lost.is_lost(NOW + 2 * HOUR)) == (False, True)
    run("x.sweep", NOW + MINUTE)
    assert JobHour.objects.get().unended == 1


def test_giving_way_to_another_run_is_no_beat():
    declare(FINDINGS)
    begun = jobs.begin("x.evaluate", worker="", now=NOW)
    jobs.end(begun, None, now=NOW, actor=SYSTEM)
    assert (JobHour.objects.get().passed, ScheduledJob.objects.get().ended_at) == (1, None)
    assert not JobRun.objects.exists()


def test_a_clock_set_back_makes_no_time_pass():
    declare(SWEEP)
    run("x.sweep", NOW + HOUR)
    run("x.sweep", NOW, took=-MINUTE)
    early = JobHour.objects.get(hour=NOW.replace(minute=0, second=0, microsecond=0))
    assert (early.seconds, early.longest_gap) == (0, timedelta(0))


def test_the_ledger_keeps_its_newest_runs_and_every_hour(monkeypatch):
    monkeypatch.setattr(jobs, "KEPT_RUNS", 2)
    declare(SWEEP)
    for i in range(4):
        run("x.sweep", NOW + i * HOUR, connections=1)
    assert JobHour.objects.count() == 4
    assert set(JobRun.objects.values_list("begun_at", flat=True)) == {NOW + 2 * HOUR, NOW + 3 * HOUR}
    run("x.sweep", NOW + 200 * DAY, connections=1)
    assert JobRun.objects.count() == 1


def test_a_job_is_unknown_until_it_was_planned_long_enough_to_tell(full):
    declare(SWEEP, FINDINGS)
    run("x.sweep")
    full(NOW + MINUTE)
    state = RuleState.objects.get(rule="heartbeat-missed")
    assert (state.met, state.violated, state.unknown) == (1, 0, 1)


def test_a_missed_beat_opens_a_finding_and_the_next_beat_resolves_it(full, changed):
    declare(SWEEP)
    run("x.sweep")
    full(NOW + MINUTE)
    changed(NOW + 5 * MINUTE)
    assert missed() == []
    changed(NOW + 7 * MINUTE)
    assert missed() == [("the sweep", Severity.MEDIUM)]
    assert changed(NOW + 9 * MINUTE).changed == 0
    run("x.sweep", NOW + 10 * MINUTE)
    assert changed(NOW + 11 * MINUTE).resolved == 1
    assert Finding.objects.get(rule="heartbeat-missed").resolution == Resolution.MET


def test_a_beat_that_is_missed_for_long_is_severe(full, changed):
    declare(SWEEP)
    full()
    changed(NOW + HOUR)
    changed(NOW + 2 * DAY)
    assert missed() == [("the sweep", Severity.HIGH)]


def test_the_evaluation_puts_its_own_gap_on_record(full, changed):
    declare(FINDINGS)
    run("x.evaluate")
    full()
    back = NOW + 3 * HOUR
    begun = jobs.begin("x.evaluate", worker="", now=back)
    changed(back)
    jobs.end(begun, {}, now=back, actor=SYSTEM)
    gap = Finding.objects.get(rule="heartbeat-missed")
    assert gap.title_now(back) == "Last ended 2 hours ago; planned every 5 minutes"
    changed(back + 5 * MINUTE)
    gap.refresh_from_db()
    assert (gap.opened_at, gap.resolved_at) == (back, back + 5 * MINUTE)


def test_three_failures_in_a_row_are_a_finding_although_the_beat_is_not_yet_missed(full, changed):
    declare(Beat("the head", "x.head", HOUR))
    full()
    for i in range(2):
        failed("x.head", NOW + i * MINUTE)
    changed(NOW + 3 * MINUTE)
    assert not Finding.objects.filter(rule="heartbeat-missed").exists()
    failed("x.head", NOW + 4 * MINUTE)
    changed(NOW + 5 * MINUTE)
    (finding,) = Finding.objects.filter(rule="heartbeat-missed")
    assert finding.title_now(NOW).startswith("Its last 3 runs failed: OperationalError (57P01)")


def test_one_failure_is_enough_of_a_job_that_runs_but_a_few_times_a_day(full, changed):
    declare(Beat("the verification", "x.verify", timedelta(hours=6)))
    full()
    failed("x.verify", NOW)
    changed(NOW + MINUTE)
    (finding,) = Finding.objects.filter(rule="heartbeat-missed")
    assert finding.title_now(NOW).startswith("Its last run failed: OperationalError (57P01)")
    run("x.verify", NOW + 2 * MINUTE)
    changed(NOW + 4 * MINUTE)
    finding.refresh_from_db()
    assert finding.resolved_at is not None


def test_a_job_that_is_retired_is_waited_for_no_more(full, changed):
    declare(SWEEP, FINDINGS)
    full(NOW + HOUR)
    assert len(missed()) == 2
    declare(FINDINGS, now=NOW + HOUR)
    changed(NOW + 2 * HOUR)
    assert [name for name, _ in missed()] == ["findings"]
    assert Finding.objects.get(job__name="the sweep").resolution == Resolution.GONE


def test_an_end_in_the_future_is_unknown_and_not_fine(full):
    declare(SWEEP)
    run("x.sweep", NOW + 300 * DAY)
    full(NOW + MINUTE)
    state = RuleState.objects.get(rule="heartbeat-missed")
    assert (state.met, state.unknown) == (0, 1)


def test_the_page_and_the_rule_agree_when_a_beat_is_missed(full):
    declare(SWEEP)
    job = ScheduledJob.objects.get()
    full(job.missed_at - timedelta(seconds=1))
    assert missed() == []
    full(job.missed_at)
    assert missed()
    assert job.is_missed(job.missed_at)


def test_the_rule_serves_controls_over_monitoring():
    assert {"DE.CM-09", "PR.PS-04", "MCP08:2025"} <= set(RULES["heartbeat-missed"].controls)
