"""How severe a finding is, why, and what is kept of its changes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from access.actors import Actor
from inventory.models import Credential, Exposure, McpServer
from inventory.states import Severity, Storage
from lifecycle.actions import evaluation
from lifecycle.actions.waivers import approve_waivers, request_waiver, withdraw_waiver
from lifecycle.models import EvaluationMark, Finding, FindingChange, Policy, RuleSetting, RuleState
from lifecycle.states import FindingState, Resolution
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
ANYBODY = Actor.system("test")


def of(rule: str) -> Finding:
    return Finding.objects.unresolved().get(rule=rule)


def setting(rule: str, *, number: int = 1, **values: object) -> None:
    RuleSetting.objects.create(rule=rule, number=number, reason="Agreed.", changed_by="Mira", changed_at=NOW, **values)


def policy(**overrides: str) -> Policy:
    named = {rule.replace("_", "-"): said for rule, said in overrides.items()}
    return Policy.objects.create(name="Graded", priority=1, overrides=named)


# ── Context ────────────────────────────────────────────────────────────────────────────────────
def _in_production(mine):
    Credential.objects.filter(pk=mine.pk).update(environment=factories.environment("prod"))


def _at_a_vendor(mine):
    factories.use(mine, server=factories.server(vendor="Acme"))


def _at_another_host(mine):
    factories.use(mine, server=factories.server(url="https://mcp.example.org/mcp"))


def _lying_open(mine):
    factories.exposure(mine)


def _with_all_scopes(mine):
    Credential.objects.filter(pk=mine.pk).update(scopes=["admin:*"])


CONTEXTS = {
    "production": _in_production,
    "third_party": _at_a_vendor,
    "exposed": _lying_open,
    "privileged": _with_all_scopes,
}


@pytest.mark.parametrize("context", CONTEXTS)
def test_each_context_raises_a_credentials_finding_by_one_step_and_says_so(full, context):
    mine = factories.credential()
    CONTEXTS[context](mine)
    full()
    assert (of("no-owner").severity, of("no-owner").raised_by) == (Severity.HIGH, [context])


def test_all_contexts_together_raise_by_one_step_and_are_all_named(full):
    mine = factories.credential()
    for so in CONTEXTS.values():
        so(mine)
    full()
    assert (of("no-owner").severity, of("no-owner").raised_by) == (Severity.HIGH, list(CONTEXTS))


@pytest.mark.parametrize(
    ("domains", "severity"),
    [((), Severity.MEDIUM), (("example.org",), Severity.MEDIUM), (("example.net",), Severity.HIGH)],
)
def test_a_host_is_a_third_partys_only_where_that_is_known(full, settings, domains, severity):
    settings.OWN_DOMAINS = domains
    _at_another_host(factories.credential())
    full()
    assert of("no-owner").severity == severity


def test_a_rule_is_not_raised_by_what_it_is_about_itself(full):
    mine = factories.credential(owner=factories.owner())
    factories.exposure(mine, is_readable_by_others=True)
    full()
    assert (of("hard-coded").severity, of("hard-coded").raised_by) == (Severity.CRITICAL, ["rule"])


def test_a_server_is_raised_by_its_vendor_and_by_a_live_credential_of_it_that_lies_open(full):
    server = factories.server(vendor="Acme", iam_owner=factories.owner())
    for status in ("active", "destroyed"):
        mine = factories.credential(status=status)
        factories.use(mine, server=server)
        factories.exposure(mine)
    other = factories.server()
    dead = factories.credential(status="destroyed")
    factories.use(dead, server=other)
    factories.exposure(dead)
    full()
    said = dict(Finding.objects.filter(rule="server-owner-missing").values_list("server", "raised_by"))
    assert said == {server.pk: ["third_party", "exposed"], other.pk: []}


def test_what_nothing_makes_worse_stays_as_it_is(full):
    mine = factories.credential()
    for so in (_in_production, _lying_open, _with_all_scopes):
        so(mine)
    factories.use(mine, is_disabled=True)
    full()
    assert (of("disabled-everywhere").severity, of("disabled-everywhere").raised_by) == (Severity.LOW, [])


# ── Rules as somebody set them ─────────────────────────────────────────────────────────────────
def test_a_rule_that_is_switched_off_resolves_its_findings_and_switched_on_opens_new_ones(full):
    factories.credential()
    full()
    setting("no-owner", is_on=False)
    full(NOW + DAY)
    assert Finding.objects.get(rule="no-owner").resolution == Resolution.SWITCHED_OFF
    assert RuleState.objects.get(rule="no-owner").population == 0
    setting("no-owner", number=2, is_on=True)
    full(NOW + 2 * DAY)
    assert of("no-owner").opened_at == NOW + 2 * DAY


def test_a_policy_switches_a_rule_off_for_what_it_binds_alone(full):
    bound = factories.credential(tags=["lab"])
    other = factories.credential()
    Policy.objects.filter(pk=policy(no_owner="off").pk).update(tags=["lab"])
    full()
    assert of("no-owner").credential == other
    assert not Finding.objects.filter(credential=bound).exists()


def test_a_policy_comes_before_the_setting_of_the_estate(full):
    factories.credential(tags=["lab"])
    factories.credential()
    setting("no-owner", is_on=False, severity=Severity.LOW)
    Policy.objects.filter(pk=policy(no_owner="critical").pk).update(tags=["lab"])
    full()
    assert (of("no-owner").severity, of("no-owner").raised_by) == (Severity.CRITICAL, ["policy"])


@pytest.mark.parametrize(
    ("graded", "expected"),
    [("low", (Severity.MEDIUM, ["production"])), ("high", (Severity.CRITICAL, ["production", "policy"]))],
)
def test_context_raises_what_a_setting_graded(full, graded, expected):
    _in_production(factories.credential())
    setting("no-owner", severity=Severity[graded.upper()])
    full()
    assert (of("no-owner").severity, of("no-owner").raised_by) == expected


def test_a_word_that_is_no_severity_changes_nothing(full):
    factories.credential()
    policy(no_owner="dreadful", of_no_release="off")
    full()
    assert (of("no-owner").severity, of("no-owner").raised_by) == (Severity.MEDIUM, [])


# ── Age ────────────────────────────────────────────────────────────────────────────────────────
def test_a_finding_is_more_severe_after_twice_the_time_it_was_given_and_stays_due_as_it_was(full, changed, monkeypatch):
    monkeypatch.setattr(evaluation, "SMALL_ESTATE", 0)
    factories.credential()
    full()
    assert of("no-owner").escalates_at == NOW + 60 * DAY
    full(NOW + 60 * DAY - timedelta(hours=1))
    result = changed(NOW + 60 * DAY)
    found = of("no-owner")
    assert (result.is_full, found.severity, found.raised_by) == (False, Severity.HIGH, ["past_due"])
    assert (found.due_at, found.escalates_at, found.escalated_at) == (NOW + 30 * DAY, None, NOW + 60 * DAY)
    (change,) = FindingChange.objects.filter(finding=found)
    assert (change.kind, change.severity_before, change.severity) == ("escalated", Severity.MEDIUM, Severity.HIGH)


def test_a_waived_finding_grows_worse_only_once_its_waiver_has_ended(full, changed, operator, monkeypatch):
    monkeypatch.setattr(evaluation, "SMALL_ESTATE", 0)
    factories.credential()
    full()
    waiver = request_waiver(
        of("no-owner"),
        reason="Known.",
        compensating_control="Watched.",
        ends_at=NOW + 80 * DAY,
        actor=operator,
        now=NOW,
    )
    approve_waivers([waiver], reason="Agreed.", actor=replace(operator, id="8", label="Otto Lindqvist"), now=NOW)
    full(NOW + 60 * DAY)
    assert (of("no-owner").severity, of("no-owner").state) == (Severity.MEDIUM, FindingState.WAIVED)
    withdraw_waiver(waiver, actor=operator, now=NOW + 60 * DAY, reason="Over.")
    assert not changed(NOW + 60 * DAY + timedelta(minutes=5)).is_full
    assert of("no-owner").severity == Severity.HIGH


def test_a_critical_finding_has_nothing_worse_to_become(full):
    factories.exposure(factories.credential(), is_readable_by_others=True)
    full()
    full(NOW + 400 * DAY)
    found = of("hard-coded")
    assert (found.severity, found.escalates_at, found.escalated_at) == (Severity.CRITICAL, None, None)


# ── What is kept of its changes ────────────────────────────────────────────────────────────────
def test_what_raises_lowers_and_hands_over_a_finding_is_noted_and_nothing_else_is(full):
    one, two = factories.owner(), factories.owner()
    mine = factories.credential(owner=one, storage=Storage.LITERAL)
    seen = factories.exposure(mine)
    full()
    Exposure.objects.filter(pk=seen.pk).update(is_readable_by_others=True)
    full(NOW + timedelta(hours=1))
    Exposure.objects.filter(pk=seen.pk).update(is_readable_by_others=False)
    Credential.objects.filter(pk=mine.pk).update(owner=two)
    full(NOW + timedelta(hours=2))
    full(NOW + timedelta(hours=3))
    kept = FindingChange.objects.filter(finding=of("hard-coded")).order_by("changed_at", "kind")
    assert list(kept.values_list("kind", "severity_before", "severity", "raised_by")) == [
        ("raised", Severity.HIGH, Severity.CRITICAL, ["rule"]),
        ("handed_over", Severity.CRITICAL, Severity.HIGH, []),
        ("lowered", Severity.CRITICAL, Severity.HIGH, []),
    ]
    assert of("hard-coded").owner == two


def test_a_finding_knows_who_answers_and_where(full):
    owner = factories.owner()
    first, second = sorted((factories.server(application_owner=owner), factories.server()), key=lambda one: one.pk)
    mine = factories.credential(owner=owner)
    factories.exposure(mine)
    for server in (second, first):
        factories.use(mine, server=server)
    full()
    assert (of("hard-coded").owner, of("hard-coded").at_server) == (owner, first)
    owned = Finding.objects.get(rule="server-unclassified", server=McpServer.objects.get(application_owner=owner))
    assert (owned.owner, owned.at_server) == (owner, owned.server)


# ── Clocks ─────────────────────────────────────────────────────────────────────────────────────
def test_a_clock_that_jumps_back_closes_nothing_and_opens_nothing_twice(full, changed):
    mine = factories.credential(kind="aws_access_key", issued_at=NOW - 89 * DAY)
    full(NOW + 2 * DAY)
    assert of("unrotated").credential == mine
    back = full(NOW)
    assert (back.changed, EvaluationMark.objects.get().evaluated_at) == (0, NOW + 2 * DAY)
    assert changed(NOW + timedelta(hours=1)).changed == 0


@pytest.mark.parametrize("jump", [-400 * DAY, 400 * DAY])
def test_a_jump_of_the_clock_brings_one_full_evaluation_and_then_one_a_day(full, changed, monkeypatch, jump):
    monkeypatch.setattr(evaluation, "SMALL_ESTATE", 0)
    factories.credential()
    full()
    assert changed(NOW + jump).is_full
    assert not changed(NOW + jump + timedelta(hours=23)).is_full
    assert changed(NOW + jump + DAY).is_full
    assert changed(NOW).is_full
    assert not changed(NOW + timedelta(minutes=5)).is_full


def test_whoever_says_that_the_clock_was_wrong_starts_again_from_now(full):
    mine = factories.credential(kind="aws_access_key", issued_at=NOW - 80 * DAY)
    full(NOW + 400 * DAY)
    assert of("unrotated").credential == mine
    evaluation.evaluate(NOW, actor=ANYBODY, clock_was_wrong=True)
    found = Finding.objects.get(rule="unrotated")
    assert (found.resolution, found.resolved_at) == (Resolution.MET, found.opened_at)
    assert EvaluationMark.objects.get().evaluated_at == NOW
