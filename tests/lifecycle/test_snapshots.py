"""The posture of the day."""

from datetime import timedelta

import pytest

from lifecycle.actions.snapshots import LIMITS, take_snapshot
from lifecycle.models import Finding, RuleDay, RuleState, Snapshot
from lifecycle.models.evaluations import rule_series
from tests import factories
from tests.factories import NOW
from tests.lifecycle.waived import waived

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def test_a_snapshot_counts_what_is_there(full):
    mine = factories.credential(issued_at=NOW - 400 * DAY, last_used_at=NOW - 90 * DAY)
    factories.exposure(mine)
    kept = factories.credential(owner=factories.owner())
    factories.use(kept)
    factories.credential(gone_at=NOW, last_seen_at=NOW)
    full()
    accepted = Finding.objects.get(rule="no-owner", credential=mine)
    waived(accepted, ends_at=NOW + DAY)
    snapshot = take_snapshot(NOW + 10 * DAY)
    assert (snapshot.credentials, snapshot.servers, snapshot.clients, snapshot.exposures) == (2, 1, 1, 1)
    assert (snapshot.orphans, snapshot.unrotated, snapshot.stale, snapshot.in_policy) == (1, 1, 1, 1)
    # One secret lies open, which raises its other findings too.
    assert (snapshot.critical, snapshot.high, snapshot.medium, snapshot.low) == (0, 3, 1, 1)
    assert (snapshot.overdue, snapshot.waived, snapshot.findings) == (3, 1, 5)
    assert (snapshot.out_of_policy, snapshot.policy_unknown, snapshot.in_policy_share) == (1, 0, 0.5)


def test_a_day_has_one_snapshot_that_follows_it(full):
    take_snapshot(NOW)
    factories.credential()
    take_snapshot(NOW + timedelta(hours=1))
    assert Snapshot.objects.get().credentials == 1


def test_the_next_day_has_its_own():
    take_snapshot(NOW)
    take_snapshot(NOW + DAY)
    assert Snapshot.objects.count() == 2


def test_an_empty_estate_has_no_share():
    assert take_snapshot(NOW).in_policy_share is None


def test_what_is_of_unknown_age_is_neither_in_policy_nor_out_of_it(full):
    factories.credential(issued_at=None, first_seen_at=NOW - DAY)  # young as far as it was seen
    factories.credential(issued_at=None, first_seen_at=NOW - 400 * DAY)  # older than that in any case
    factories.credential()
    full()
    snapshot = take_snapshot(NOW)
    assert (snapshot.in_policy, snapshot.out_of_policy, snapshot.policy_unknown) == (1, 1, 1)
    assert (snapshot.under_policy, snapshot.in_policy_share) == (3, 1 / 3)


def test_what_no_evaluation_has_bound_yet_is_unknown(db):
    factories.credential()
    snapshot = take_snapshot(NOW)
    assert (snapshot.in_policy, snapshot.policy_unknown) == (0, 1)


def test_the_limits_say_in_a_snapshot_what_they_say_in_an_evaluation(full):
    for age in (1, 10, 100, 400):
        for storage in ("provider", "literal"):
            issued = NOW - age * DAY
            factories.credential(issued_at=issued, storage=storage, last_used_at=None if age == 10 else issued)
            factories.credential(issued_at=None, storage=storage, first_seen_at=issued, expires_at=NOW + age * DAY)
    full()
    violating = Finding.objects.filter(rule__in=LIMITS).values("credential").distinct().count()
    assert take_snapshot(NOW).out_of_policy == violating > 0


def test_each_day_keeps_what_its_last_evaluation_counted_and_a_day_without_one_is_a_gap(full):
    factories.credential()
    full(NOW - 3 * DAY)
    take_snapshot(NOW - 2 * DAY)  # the next day: what was counted belongs to the day of the count
    factories.credential()
    full(NOW)
    take_snapshot(NOW)
    series = rule_series("no-owner", 5, today=NOW.date())
    assert [(day - NOW.date()).days for day, _ in series] == [-4, -3, -2, -1, 0]
    assert [row and row.violated for _, row in series] == [None, 1, None, None, 2]


def test_an_older_count_never_replaces_a_newer_one_of_its_day(full):
    factories.credential()
    full()
    take_snapshot(NOW)
    RuleState.objects.update(evaluated_at=NOW - timedelta(minutes=1), violated=7)
    take_snapshot(NOW)
    assert RuleDay.objects.get(rule="no-owner").violated == 1


def test_the_share_seen_leaves_out_what_is_unknown():
    day = RuleDay(met=6, violated=2, unknown=2)
    assert (day.population, day.seen_share, day.met_share) == (10, 0.8, 0.6)
    assert RuleDay(met=0, violated=0, unknown=0).seen_share is None
