"""Policies and rule settings as reviewers change them: versions, refusals, and what the audit trail says."""

from datetime import timedelta
from uuid import uuid4

import pytest

from access.actors import Actor, ActorKind
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from inventory.states import Severity
from lifecycle.actions.policies import change_policy, create_policy, draft, retire_policy, set_rule, unset_rule
from lifecycle.errors import (
    HoldsSecret,
    NotAReviewer,
    NothingWouldChange,
    PolicyChangedMeanwhile,
    PolicyRefused,
    PolicyRetired,
    ReasonMissing,
    RuleUnknown,
    SeverityUnknown,
)
from lifecycle.models import Obligation, Policy, PolicyVersion, RuleSetting
from tests import factories
from tests.factories import NOW
from tests.inventory.discovery_samples import github_token

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
VALUES = {"name": "Keys in prod", "priority": 10, "kinds": ["api_key"], "max_age": 90 * DAY}


@pytest.fixture
def reviewer() -> Actor:
    return Actor(ActorKind.USER, "8", "Rosa Lindt", frozenset({Role.REVIEWER}))


@pytest.fixture
def policy(reviewer) -> Policy:
    return create_policy(VALUES, actor=reviewer, now=NOW, reason="Audit finding 12")


def test_a_new_policy_is_its_first_version(policy):
    version = PolicyVersion.objects.get(policy=policy)
    assert (version.number, version.changed_by, version.changed_at) == (1, "Rosa Lindt", NOW)
    assert (version.reason, version.sentence) == ("Audit finding 12", "API keys: rotate within 90 days.")
    assert version.asked["max_age"] == 90 * 86_400


def test_a_change_is_the_next_version_and_keeps_what_was_known_beforehand(policy, operator):
    changed = change_policy(
        policy,
        {"max_age": 60 * DAY},
        expected_version=1,
        actor=operator,
        now=NOW + DAY,
        reason="Shorter",
        dry_run={"opened": 3},
        back_test={"opened": 5},
    )
    latest = PolicyVersion.objects.of(policy).first()
    assert (changed.version, latest.number, latest.changed_by) == (2, 2, operator.label)
    assert (latest.dry_run, latest.back_test) == ({"opened": 3}, {"opened": 5})
    assert Policy.objects.get(pk=policy.pk).max_age == 60 * DAY


def test_the_audit_entry_of_a_change_says_the_changed_fields_alone(policy, reviewer):
    prod = factories.environment("prod")
    values = {**VALUES, "max_age": 60 * DAY, "environments": [prod.pk]}
    change_policy(policy, values, expected_version=1, actor=reviewer, now=NOW, reason="Shorter")
    entry = AuditEntry.objects.get(event=Event.POLICY_CHANGED)
    assert entry.detail == {
        "version": 2,
        "changed": {
            "environments": {"from": [], "to": ["prod"]},
            "max_age": {"from": "90 days", "to": "60 days"},
        },
        "reason": "Shorter",
    }


def test_a_change_of_what_somebody_else_changed_meanwhile_says_who_and_when(policy, reviewer, operator):
    change_policy(policy, {"max_age": 60 * DAY}, expected_version=1, actor=operator, now=NOW, reason="First")
    with pytest.raises(PolicyChangedMeanwhile, match=r"Mira Okafor changed this policy at 2026-06-01 12:00:00 UTC"):
        change_policy(policy, {"max_age": 30 * DAY}, expected_version=1, actor=reviewer, now=NOW, reason="Second")
    assert Policy.objects.get(pk=policy.pk).max_age == 60 * DAY


def test_a_change_that_changes_nothing_makes_no_version(policy, reviewer):
    with pytest.raises(NothingWouldChange):
        change_policy(policy, VALUES, expected_version=1, actor=reviewer, now=NOW, reason="Again")
    assert PolicyVersion.objects.filter(policy=policy).count() == 1


def test_a_retired_policy_stays_with_its_versions_and_frees_its_name(policy, reviewer):
    retire_policy(policy, actor=reviewer, now=NOW, reason="No longer asked")
    create_policy(VALUES, actor=reviewer, now=NOW, reason="Asked again")
    kept = Policy.objects.get(pk=policy.pk)
    assert (kept.retired_at, kept.version) == (NOW, 2)
    assert PolicyVersion.objects.of(policy).first().is_retirement


def test_a_retired_policy_is_not_changed(policy, reviewer):
    retire_policy(policy, actor=reviewer, now=NOW, reason="No longer asked")
    with pytest.raises(PolicyRetired):
        change_policy(policy, {"max_age": DAY}, expected_version=2, actor=reviewer, now=NOW, reason="Back")


def test_what_a_retired_policy_bound_falls_to_the_next(policy, reviewer, full):
    mine = factories.credential()
    full()
    retire_policy(policy, actor=reviewer, now=NOW, reason="No longer asked")
    full(NOW + DAY)
    assert Obligation.objects.get(pk=mine.pk).policy.name == "API keys"


@pytest.mark.parametrize("role", [Role.OWNER, Role.AUDITOR, Role.AUTOMATION])
def test_who_is_no_reviewer_changes_nothing(role):
    outsider = Actor(ActorKind.USER, "9", "Ana Duarte", frozenset({role}))
    with pytest.raises(NotAReviewer):
        create_policy(VALUES, actor=outsider, now=NOW, reason="Because")
    with pytest.raises(NotAReviewer):
        set_rule("stale", is_on=False, severity=None, actor=outsider, now=NOW, reason="Because")
    assert not PolicyVersion.objects.filter(changed_by="Ana Duarte").exists()


@pytest.mark.parametrize("reason", ["", "  ", "a" * 1_001])
def test_a_change_needs_a_reason(reviewer, reason):
    with pytest.raises(ReasonMissing):
        create_policy(VALUES, actor=reviewer, now=NOW, reason=reason)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", " ", "needs a name"),
        ("name", "a" * 101, "At most 100 characters"),
        ("name", "API keys", "in force already"),
        ("name", "a\nb", "one line"),
        ("name", "a\u200bb", "one line"),
        pytest.param("description", f"As agreed: password={github_token()}", "secret", id="description-secret"),
        ("priority", 0, "whole number from 1"),
        ("kinds", ["house_key"], "house_key"),
        ("kinds", "api_key", "a list"),
        ("environments", [uuid4()], "does not exist any more"),
        ("owners", ["somebody"], "offered"),
        ("providers", ["a\nb"], "one line"),
        ("tags", ["Not One"], "lower-case letters"),
        ("tags", [str(n) for n in range(101)], "At most 100 values"),
        ("max_age", timedelta(0), "above nothing"),
        ("max_age", timedelta(days=3_651), "650 days"),
        ("max_idle", timedelta(seconds=90), "whole minutes"),
        ("review_interval", timedelta(hours=2), "once a day"),
        ("overlap", 90 * DAY, "shorter than the maximum age"),
        ("requires_owner", "yes", "yes or no"),
        ("allowed_scopes", ["read write"], "a space in it"),
        ("allowed_scopes", ["*:read"], "A star stands at the end"),
        ("allowed_scopes", ["*"], "leave the list empty"),
        ("logging", ["breakfast"], "breakfast"),
        ("automation", "sometimes", "offered"),
        ("overrides", {"anonymous-server": "off"}, "no rule about credentials"),
        ("overrides", {"stale": "dire"}, "off, low, medium"),
        ("colour", "red", "nothing of that name"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_field(field, value, said):
    with pytest.raises(PolicyRefused) as refused:
        draft({**VALUES, field: value})
    assert said in refused.value.problems[field]


def test_a_reason_repeats_no_secret(reviewer):
    with pytest.raises(HoldsSecret):
        create_policy(VALUES, actor=reviewer, now=NOW, reason=f"The key is {github_token()}.")


def test_automation_without_a_maximum_age_is_refused():
    with pytest.raises(PolicyRefused) as refused:
        draft({"name": "one", "automation": "propose"})
    assert list(refused.value.problems) == ["automation"]


def test_a_draft_writes_nothing(policy):
    drafted = draft({"max_age": DAY}, of=policy)
    assert (drafted.pk, drafted.max_age) == (policy.pk, DAY)
    assert Policy.objects.get(pk=policy.pk).max_age == 90 * DAY


def test_policies_of_one_priority_know_of_each_other(policy, reviewer):
    other = create_policy({"name": "Beside it", "priority": 10}, actor=reviewer, now=NOW, reason="Why not")
    assert list(Policy.objects.tied_with(policy)) == [other]


def test_a_rule_is_switched_graded_and_set_back_by_numbers(reviewer):
    set_rule("stale", is_on=False, severity=None, actor=reviewer, now=NOW, reason="Noise")
    set_rule("stale", is_on=True, severity=Severity.HIGH, actor=reviewer, now=NOW, reason="Not noise")
    unset_rule("stale", actor=reviewer, now=NOW, reason="As declared")
    assert list(RuleSetting.objects.order_by("number").values_list("number", "is_on", "severity")) == [
        (1, False, None),
        (2, True, Severity.HIGH),
        (3, True, None),
    ]
    said = [entry.detail for entry in AuditEntry.objects.filter(event=Event.RULE_SET).order_by("seq")]
    assert [(each["from"], each["to"]) for each in said] == [
        ("as declared", "off"),
        ("off", "high"),
        ("high", "as declared"),
    ]


@pytest.mark.parametrize(
    ("slug", "severity", "error"),
    [
        ("of-an-older-release", None, RuleUnknown),
        ("stale", Severity.NONE, SeverityUnknown),
        ("stale", None, NothingWouldChange),
        ("stale", Severity.MEDIUM, NothingWouldChange),  # as declared
    ],
)
def test_what_a_rule_cannot_be_set_to_is_refused(reviewer, slug, severity, error):
    with pytest.raises(error):
        set_rule(slug, is_on=True, severity=severity, actor=reviewer, now=NOW, reason="Because")
    assert not RuleSetting.objects.exists()
