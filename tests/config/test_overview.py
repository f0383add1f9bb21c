"""The overview: the same numbers counted at once or taken from the day's snapshot."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from access.actors import Actor
from access.models import User
from access.roles import Role
from config import heartbeats, overview
from inventory.models import Credential
from lifecycle.actions.evaluation import evaluate
from lifecycle.actions.snapshots import take_snapshot
from lifecycle.models import Finding
from tests import factories
from tests.lifecycle.rotating import due, in_overlap, policy
from tests.people import browser, text

ACTOR = Actor.system("tests")
pytestmark = pytest.mark.django_db


@pytest.fixture
def estate() -> None:
    now = timezone.now()
    for i in range(4):
        credential = factories.credential(kind="api_key", issued_at=now - timedelta(days=50 * i))
        factories.exposure(credential)
    Credential.objects.filter(issued_at__gt=now - timedelta(days=1)).update(expires_at=now + timedelta(days=2))
    evaluate(now, actor=ACTOR, full=True)


def test_a_snapshot_says_what_a_count_says(estate: None) -> None:
    now = timezone.now()
    counted, at = overview.facts(ACTOR, now, is_large=False)
    assert at is None
    take_snapshot(now)
    kept, at = overview.facts(ACTOR, now, is_large=True)
    assert at == now
    assert overview.heat(kept["findings_by_age"], now) == overview.heat(counted["findings_by_age"], now)
    assert overview.upcoming(kept["due_by_day"], now) == overview.upcoming(counted["due_by_day"], now)
    assert overview.rotations(kept["rotation_by_kind"]) == overview.rotations(counted["rotation_by_kind"])


def test_unrotated_and_unknown_are_not_in_policy(estate: None) -> None:
    factories.credential(kind="api_key", issued_at=None, first_seen_at=timezone.now())
    evaluate(timezone.now(), actor=ACTOR, full=True)
    facts, _ = overview.facts(ACTOR, timezone.now(), is_large=False)
    (keys,) = overview.rotations(facts["rotation_by_kind"])
    assert (keys.total, keys.late, keys.unknown, keys.in_policy) == (5, 2, 1, 2)


def test_what_falls_due_stands_on_its_day(estate: None) -> None:
    now = timezone.now()
    facts, _ = overview.facts(ACTOR, now, is_large=False)
    days = {day["on"]: day["counts"] for day in overview.upcoming(facts["due_by_day"], now)}
    assert days[(now + timedelta(days=2)).date()] == {"expiry": 1}


def test_an_owner_never_sees_the_whole_estate_s_snapshot(estate: None) -> None:
    take_snapshot(timezone.now())
    user = User.objects.create_user("ana", "ana@example.org")
    user.groups.add(Group.objects.get(name="owner"))
    facts, at = overview.facts(user.as_actor(), timezone.now(), is_large=True)
    assert (facts["findings_by_age"], facts["rotation_by_kind"], at) == ({}, [], None)
    client = Client()
    client.force_login(user)
    assert client.get("/").status_code == 200


def test_a_day_leads_to_what_rotates_or_expires_on_it(estate: None) -> None:
    now = timezone.now()
    facts, _ = overview.facts(ACTOR, now, is_large=False)
    (day,) = [day for day in overview.upcoming(facts["due_by_day"], now) if day["counts"].get("expiry")]
    expiring = Credential.objects.get(expires_at__isnull=False)
    shown = text(browser(Role.AUDITOR).get(day["url"]))
    assert shown.count("data-row") == 1
    assert f"/credentials/{expiring.pk}/" in shown


def test_each_number_of_credentials_leads_to_as_many_rows(estate: None) -> None:
    factories.credential(kind="api_key", status="expired")
    auditor = browser(Role.AUDITOR)
    for figure in overview.figures(ACTOR, timezone.now(), [])[0]:
        if figure.url.startswith("/credentials/"):
            assert text(auditor.get(figure.url)).count("data-row") == figure.value.value, figure.label


def test_a_number_names_what_it_is_of_and_how_much_of_that_nobody_could_tell(estate: None) -> None:
    factories.credential(kind="api_key", issued_at=None, first_seen_at=timezone.now())
    evaluate(timezone.now(), actor=ACTOR, full=True)
    notes = {figure.label: figure.note for figure in overview.figures(ACTOR, timezone.now(), [])[0]}
    assert notes["Unrotated"] == "of 5, 1 unknown"


def test_a_day_without_a_snapshot_is_a_gap_in_the_trend(estate: None) -> None:
    now = timezone.now()
    for days in (4, 3, 1):
        take_snapshot(now - timedelta(days=days))
    (credentials, *_), _overdue, _operations = overview.figures(ACTOR, now, overview.recent(ACTOR, now))
    assert credentials.trend == [4, 4, None, 4, None]


def test_what_is_not_all_of_them_is_not_a_hundred_percent() -> None:
    row = {"kind": "api_key", "total": 1_000, "late": 0, "unknown": 1}
    assert overview.rotations([row])[0].percent == "99 %"


def test_the_overview_says_how_many_under_policy_are_unknown(estate: None) -> None:
    factories.credential(kind="api_key", issued_at=None, first_seen_at=timezone.now())
    evaluate(timezone.now(), actor=ACTOR, full=True)
    take_snapshot(timezone.now())
    assert "are unknown; counted" in text(browser(Role.AUDITOR).get("/"))


def test_what_needs_somebody_has_one_line_for_a_rule_and_severity_which_leads_to_them_all(estate: None) -> None:
    needs = overview.queue(ACTOR, timezone.now())
    kinds = [(need.finding.severity, need.finding.rule) for need in needs]
    assert len(set(kinds)) == len(kinds)
    assert kinds == sorted(kinds, key=lambda kind: -kind[0])
    (exposed,) = [need for need in needs if need.finding.rule == "hard-coded"]
    assert exposed.others == "3 more like it"
    assert text(browser(Role.AUDITOR).get(exposed.url)).count("data-row") == 4


def test_a_line_of_what_needs_somebody_shows_what_is_late_before_what_scores_more(estate: None) -> None:
    late = Finding.objects.filter(rule="hard-coded").earliest("pk")
    Credential.objects.exclude(pk=late.credential_id).update(score=90)
    Finding.objects.filter(pk=late.pk).update(due_at=timezone.now() - timedelta(days=1))
    (exposed,) = [need for need in overview.queue(ACTOR, timezone.now()) if need.finding.rule == "hard-coded"]
    assert exposed.finding.pk == late.pk


def test_the_overview_takes_a_fixed_number_of_statements(estate: None, django_assert_max_num_queries: Any) -> None:
    heartbeats.declare()
    take_snapshot(timezone.now())
    auditor = browser(Role.AUDITOR)
    with django_assert_max_num_queries(15):  # of a large estate three fewer: its last snapshot has them
        assert auditor.get("/").status_code == 200


def test_the_pictures_of_a_large_estate_are_those_of_its_newest_snapshot(
    estate: None, django_assert_num_queries: Any
) -> None:
    now = timezone.now()
    take_snapshot(now - timedelta(days=1))
    take_snapshot(now)
    snapshots = overview.recent(ACTOR, now)
    with django_assert_num_queries(0):
        facts, at = overview.facts(ACTOR, now, is_large=True, snapshots=snapshots)
    assert at == now
    assert facts["findings_by_age"]


def test_operations_stand_on_the_overview_with_the_lists_they_count(estate: None) -> None:
    now = timezone.now()
    in_overlap(state="stalled", due_at=None, stalled_at=now)
    in_overlap(lease_token=uuid4(), lease_until=now + timedelta(minutes=5))
    due(factories.credential(), policy(), now + timedelta(days=3))
    auditor = browser(Role.AUDITOR)
    standing = {each.label: each for each in overview.figures(ACTOR, now, [])[-1]}
    assert [standing[label].value.value for label in ("Stalled", "Proposed", "Running")] == [1, 0, 1]
    assert standing["Due this week"].value.value >= 1
    for each in standing.values():
        assert text(auditor.get(each.url)).count("data-row") == each.value.value, each.label
    assert "h-ops" in text(auditor.get("/"))
