"""Versions that ended long ago are forgotten, and nothing is claimed of that time any more."""

import pytest
from django.utils import timezone

from history import forgetting
from history.forgetting import forget
from history.past import NoSuchPast, instant_of, looking_at
from inventory.models import Owner
from tests.factories import owner
from tests.history.passing import DAY, time_passes, versions


def an_owner_of_three_names() -> None:
    row = owner(name="first")
    for name in ("second", "third"):
        time_passes(10 * DAY)
        Owner.objects.filter(pk=row.pk).update(name=name)
    time_passes(10 * DAY)


def test_what_ended_before_is_forgotten_and_what_ended_later_is_kept(db: None):
    an_owner_of_three_names()
    assert forget(timezone.now() - 15 * DAY) == 1
    assert versions(Owner) == 1
    with looking_at(timezone.now() - 12 * DAY):
        assert Owner.objects.get().name == "second"


def test_of_the_forgotten_time_nothing_can_be_asked(db: None):
    an_owner_of_three_names()
    asked = (timezone.now() - 25 * DAY).isoformat()
    assert instant_of(asked, now=timezone.now())
    forget(timezone.now() - 15 * DAY)
    with pytest.raises(NoSuchPast, match="does not reach back"):
        instant_of(asked, now=timezone.now())


def test_more_than_one_statement_removes_are_all_forgotten(db: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forgetting, "AT_ONCE", 2)
    rows = [owner() for _ in range(5)]
    time_passes(10 * DAY)
    Owner.objects.filter(pk__in=[row.pk for row in rows]).update(name="renamed")
    time_passes(10 * DAY)
    assert forget(timezone.now() - 5 * DAY) == 5
