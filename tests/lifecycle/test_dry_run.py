"""The dry run: it says what saving and then evaluating does, and leaves nothing behind."""

import json
import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from access.actors import Actor
from inventory.models import Credential, LoggingRecord
from inventory.states import CredentialKind, Severity, Storage
from lifecycle.actions.policies import change_policy, create_policy, draft, retire_policy, set_rule
from lifecycle.errors import RuleUnknown
from lifecycle.models import Finding, Obligation, Policy
from lifecycle.rules import RULES
from lifecycle.states import FindingState
from lifecycle.trials import dry_run, dry_run_of_retirement, dry_run_of_setting
from lifecycle.trials.estate import _ASKED_BY
from tests import factories
from tests.examples import SHARED_FIXTURE, examples
from tests.factories import NOW

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
ACTOR = Actor.system("test")
VALUES = {"name": "Draft", "priority": 1, "kinds": ["api_key"]}


def tried(**values: Any):
    return dry_run(draft({**VALUES, **values}), NOW)


def test_a_draft_says_whom_it_would_bind_and_from_where(full):
    mine = factories.credential()
    factories.credential(kind=CredentialKind.DATABASE_PASSWORD)
    full()
    found = tried(kinds=["api_key"], environments=[])
    assert (found.bound_before, found.bound_after) == (0, 1)
    assert [(each.name, each.credentials) for each in found.newly_bound] == [("API keys", 1)]
    assert [(each.id, each.name) for each in found.bound_examples] == [(mine.pk, mine.name)]
    assert found.sentence == "It would bind 1 credential, 1 of them newly, and change no finding."


def test_a_draft_says_what_it_would_open_with_the_title_it_would_have(full):
    mine = factories.credential(issued_at=NOW - 10 * DAY, owner=factories.owner())
    full()
    found = tried(max_age=7 * DAY)
    (example,) = found.opened_examples
    assert (found.opened, found.closed, found.owners) == (1, 0, 1)
    assert (example.id, example.rule, example.title) == (mine.pk, "unrotated", "10 days old; the policy allows 7")


def test_a_waived_finding_that_would_close_counts_and_is_named(full):
    factories.credential(issued_at=NOW - 200 * DAY, owner=factories.owner())
    full()
    Finding.objects.filter(rule="unrotated").update(state=FindingState.WAIVED)
    found = tried(max_age=365 * DAY, review_interval=180 * DAY)
    assert (found.closed, found.closed_waived) == (1, 1)
    assert [each.rule for each in found.closed_examples] == ["unrotated"]
    assert "close 1 finding" in found.sentence
    assert "waived" in found.sentence


def test_a_finding_of_what_nobody_can_tell_stays_open(full):
    mine = factories.credential(last_used_at=NOW - 100 * DAY, reviewed_at=NOW)
    full()
    Credential.objects.filter(pk=mine.pk).update(last_used_at=None)
    found = tried(max_idle=30 * DAY)
    (stale,) = (each for each in found.rules if each.rule == "stale")
    assert (found.closed, stale.unknown_before, stale.unknown_after) == (0, 1, 1)


def test_what_time_alone_opens_is_not_the_drafts_doing(full):
    factories.credential(issued_at=NOW - 179 * DAY)
    full()
    later = NOW + 5 * DAY
    assert dry_run(draft({**VALUES, "max_age": 180 * DAY}), later).opened == 0


def test_a_retirement_says_where_its_credentials_would_fall(full):
    factories.credential(issued_at=NOW - 10 * DAY)
    policy = create_policy({**VALUES, "max_age": 7 * DAY}, actor=ACTOR, now=NOW, reason="Test")
    full()
    found = dry_run_of_retirement(policy, NOW)
    assert (found.bound_before, found.bound_after, found.closed) == (1, 0, 1)
    assert [(each.name, each.credentials) for each in found.released] == [("API keys", 1)]


def test_a_setting_says_what_it_would_close(full):
    factories.credential()
    full()
    found = dry_run_of_setting("no-owner", False, None, NOW)
    assert (found.kind, found.closed, found.opened) == ("setting", 1, 0)
    assert found.sentence == "It would close 1 finding."


def test_a_setting_of_a_rule_about_servers_names_them(full):
    server = factories.server()
    full()
    found = dry_run_of_setting("server-unclassified", True, Severity.HIGH, NOW)
    assert [(each.subject, each.id) for each in found.changed_examples] == [("server", server.pk)]
    assert found.raised == 1


def test_a_rule_of_no_release_cannot_be_tried():
    with pytest.raises(RuleUnknown):
        dry_run_of_setting("of-an-older-release", False, None, NOW)


def test_policies_of_the_same_priority_are_named():
    assert tried(priority=Policy.objects.get(name="API keys").priority).ties == ("API keys",)


def test_a_dry_run_is_json_and_leaves_nothing_behind(full):
    factories.credential(issued_at=NOW - 10 * DAY)
    full()
    before = [*Finding.objects.values(), *Obligation.objects.values(), *Policy.objects.values()]
    said = json.loads(json.dumps(tried(max_age=7 * DAY).as_json()))
    assert (said["opened"], said["rules"][0]["rule"]) == (1, "unrotated")
    assert [*Finding.objects.values(), *Obligation.objects.values(), *Policy.objects.values()] == before
    assert tried(max_age=7 * DAY).opened == 1


def test_a_policy_over_everything_is_tried_as_one_over_a_few(full, monkeypatch):
    for days in (5, 50, 500):
        factories.credential(issued_at=NOW - days * DAY)
        factories.credential(issued_at=NOW - days * DAY, kind=CredentialKind.DATABASE_PASSWORD)
    full()
    narrow = tried(max_age=20 * DAY, max_idle=DAY / 2)
    monkeypatch.setattr("lifecycle.trials.estate.NARROW", 0)
    assert tried(max_age=20 * DAY, max_idle=DAY / 2) == narrow


@pytest.mark.parametrize(("slug", "field"), sorted(_ASKED_BY.items()))
def test_what_is_left_out_where_no_policy_asks_it_applies_to_nothing_then(slug, field):
    conditions = RULES[slug].applies.split(" AND ")
    assert conditions[0] in (f"v.{field}", f"v.{field} IS NOT NULL")
    assert " OR " not in re.sub(r"\([^()]*\)", "", RULES[slug].applies)


# ── Whatever the estate ────────────────────────────────────────────────────────────────────────
DATES = st.one_of(st.none(), st.integers(-400, 400).map(lambda days: NOW + days * DAY))
LIMITS = st.one_of(st.none(), st.integers(1, 400).map(lambda days: days * DAY))
OVERRIDES = st.dictionaries(
    st.sampled_from(["unrotated", "stale", "no-owner", "hard-coded"]), st.sampled_from(["off", "low", "critical"])
)
ASKED = st.fixed_dictionaries(
    {
        "priority": st.sampled_from([1, 20_000]),
        "kinds": st.lists(st.sampled_from(["api_key", "database_password"]), unique=True),
        "trust_models": st.lists(st.sampled_from(["static_service", "unknown"]), unique=True),
        "max_age": LIMITS,
        "max_idle": LIMITS,
        "max_lifetime": LIMITS,
        "requires_expiry": st.booleans(),
        "overrides": OVERRIDES,
    }
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["api_key", "database_password"]),
        st.sampled_from(["static_service", "unknown"]),
        st.sampled_from(Storage),
        DATES,
        DATES,
        DATES,
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


def state() -> dict[tuple[Any, str], int]:
    return {
        (subject, rule): severity
        for subject, rule, severity in Finding.objects.unresolved().values_list("credential", "rule", "severity")
    }


def changes(before: dict[Any, int], after: dict[Any, int]) -> Counter[str]:
    """What happened to findings between two moments, counted as a dry run counts it."""
    both = before.keys() & after.keys()
    return Counter(
        {
            "opened": len(after.keys() - before.keys()),
            "closed": len(before.keys() - after.keys()),
            "raised": sum(after[each] > before[each] for each in both),
            "lowered": sum(after[each] < before[each] for each in both),
        }
    )


def saved() -> Policy:
    return Policy.objects.get(name="Draft")


def set_to(is_on: bool, severity: Severity | None) -> tuple[Any, Any]:
    return (
        lambda _, now: dry_run_of_setting("stale", is_on, severity, now),
        lambda _, said: set_rule("stale", is_on=is_on, severity=severity, **said),
    )


# How each change is tried, and how it is made.
CHANGES = {
    "create": (
        lambda asked, now: dry_run(draft({"name": "Another", **asked}), now),
        lambda asked, said: create_policy({"name": "Another", **asked}, **said),
    ),
    "change": (
        lambda asked, now: dry_run(draft({**asked, "description": "Next"}, of=saved()), now),
        lambda asked, said: change_policy(saved(), {**asked, "description": "Next"}, expected_version=1, **said),
    ),
    "retire": (
        lambda _, now: dry_run_of_retirement(saved(), now),
        lambda _, said: retire_policy(saved(), **said),
    ),
    "switch off": set_to(False, None),
    "grade": set_to(True, Severity.CRITICAL),
}


@settings(max_examples=examples(10), deadline=None, suppress_health_check=SHARED_FIXTURE)
@given(rows=ROWS, asked=st.tuples(ASKED, ASKED), days=st.integers(0, 200), change=st.sampled_from(sorted(CHANGES)))
def test_whatever_the_estate_a_dry_run_says_what_saving_then_does(full, rows, asked, days, change):
    first, second = asked
    with transaction.atomic():
        for kind, trust, storage, issued, used, expires, is_owned, is_exposed in rows:
            mine = factories.credential(
                kind=kind,
                trust_model=trust,
                storage=storage,
                issued_at=issued,
                last_used_at=used,
                expires_at=expires,
                owner=factories.owner() if is_owned else None,
            )
            if is_exposed:
                factories.exposure(mine)
        said = {"actor": ACTOR, "reason": "Test"}
        create_policy({"name": "Draft", **first}, now=NOW, **said)
        full()
        now = NOW + days * DAY  # findings are old by then, so that some have escalated
        full(now)
        try_it, make_it = CHANGES[change]
        found = try_it(second, now)
        before, bound = state(), bound_by("Draft")
        make_it(second, {"now": now, **said})
        full(now)
        assert {each: getattr(found, each) for each in changes({}, {})} == changes(before, state())
        if change in ("change", "retire"):
            assert (found.bound_before, found.bound_after) == (bound, bound_by("Draft"))
        if change == "create":
            assert (found.bound_before, found.bound_after) == (0, bound_by("Another"))
        transaction.set_rollback(True)


def bound_by(name: str) -> int:
    return Obligation.objects.filter(policy__name=name).count()


def test_what_servers_would_have_to_log_is_part_of_it(full):
    server = factories.server()
    factories.use(factories.credential(), server=server)
    LoggingRecord.objects.create(
        server=server,
        trust_model="static_service",
        happening="revocation",
        is_logged=False,
        recorded_by="Mira",
        recorded_at=NOW,
    )
    Policy.objects.filter(name="API keys").update(logging=[])
    full()
    found = tried(logging=["revocation"])
    assert [(each.subject, each.id, each.rule) for each in found.opened_examples] == [
        ("server", server.pk, "logging-missing")
    ]
    create_policy({**VALUES, "logging": ["revocation"]}, actor=ACTOR, now=NOW, reason="Test")
    full()
    assert Finding.objects.unresolved().filter(rule="logging-missing").count() == found.opened == 1
