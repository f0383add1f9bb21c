"""The posture of the day."""

from datetime import timedelta

import pytest

from lifecycle.actions.findings import waive
from lifecycle.actions.snapshots import take_snapshot
from lifecycle.models import Finding, Snapshot
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def test_a_snapshot_counts_what_is_there(full, operator):
    mine = factories.credential(issued_at=NOW - 400 * DAY, last_used_at=NOW - 90 * DAY)
    factories.exposure(mine)
    kept = factories.credential(owner=factories.owner())
    factories.use(kept)
    factories.credential(gone_at=NOW, last_seen_at=NOW)
    full()
    waived = Finding.objects.get(rule="no-owner", credential=mine)
    waive(waived, reason="Moves in July.", ends_at=NOW + DAY, actor=operator, now=NOW)
    snapshot = take_snapshot(NOW + 10 * DAY)
    assert (snapshot.credentials, snapshot.servers, snapshot.clients, snapshot.exposures) == (2, 1, 1, 1)
    assert (snapshot.orphans, snapshot.unrotated, snapshot.stale, snapshot.in_policy) == (1, 1, 1, 1)
    assert (snapshot.critical, snapshot.high, snapshot.medium, snapshot.low) == (0, 1, 3, 1)
    assert (snapshot.overdue, snapshot.waived, snapshot.findings) == (1, 1, 5)
    assert snapshot.in_policy_share == 0.5


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
