"""Every rule: what it finds violated, met and unknown, and how it says so."""

from datetime import timedelta

import pytest

from inventory.models import Connection, Credential, McpClient, McpServer
from inventory.states import CredentialKind, CredentialStatus, Registration, ServerRole, Severity, Storage, Verdict
from lifecycle.models import Finding, RuleState
from lifecycle.rules import RULES, Subject
from tests import factories
from tests.factories import NOW
from tests.lifecycle.verdicts import finding_of, judged

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def populations(subject: Subject) -> int:
    """How many verdicts there are on subjects of one kind."""
    rules = [rule.slug for rule in RULES.values() if rule.subject is subject]
    return sum(state.population for state in RuleState.objects.filter(rule__in=rules))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_rule_says_why_what_to_do_and_which_controls_it_serves(rule):
    assert rule.why.endswith(".")
    assert rule.remediation.endswith(".")
    assert any(control.partition(".")[0] in {"PR", "ID", "GV"} for control in rule.controls)
    assert any(control.startswith("NHI") for control in rule.controls)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_title_survives_the_evidence_of_an_older_release(rule):
    assert rule.title_of({}, NOW)


def test_no_rule_has_a_finding_on_a_credential_without_blemish(full):
    mine = factories.credential(
        owner=factories.owner(), expires_at=NOW + 30 * DAY, environment=factories.environment("dev")
    )
    factories.use(mine, server=factories.server(environment=factories.environment("dev")))
    full()
    assert not Finding.objects.filter(credential=mine).exists()


# ── Hard-coded ─────────────────────────────────────────────────────────────────────────────────
def test_a_literal_in_a_file_is_hard_coded(full):
    factories.exposure(factories.credential(storage=Storage.LITERAL), file="/home/a/.cursor/mcp.json")
    full()
    found = finding_of("hard-coded")
    assert judged("hard-coded") == Verdict.VIOLATED
    assert found.severity == Severity.HIGH
    assert found.title_now(NOW) == "Literal secret in .cursor/mcp.json"


def test_a_literal_that_others_can_read_is_critical(full):
    mine = factories.credential(storage=Storage.LITERAL)
    factories.exposure(mine, file="/a.json")
    factories.exposure(mine, file="/b.json", is_readable_by_others=True)
    full()
    found = finding_of("hard-coded")
    assert found.severity == Severity.CRITICAL
    assert found.title_now(NOW) == "Literal secret in /a.json and 1 more place, readable by other users"


def test_a_literal_in_production_is_critical(full):
    mine = factories.credential(storage=Storage.LITERAL)
    factories.exposure(mine)
    factories.use(mine, server=factories.server(environment=factories.environment("prod")))
    full()
    assert finding_of("hard-coded").severity == Severity.CRITICAL


def test_a_reference_is_not_hard_coded(full):
    factories.credential(storage=Storage.REFERENCE)
    full()
    assert judged("hard-coded") == Verdict.MET


def test_an_exposure_that_is_gone_is_not_hard_coded(full):
    factories.exposure(factories.credential(), gone_at=NOW, last_seen_at=NOW - DAY)
    full()
    assert judged("hard-coded") == Verdict.MET


# ── Reuse ──────────────────────────────────────────────────────────────────────────────────────
def test_one_secret_in_two_clients_is_reused(full):
    mine = factories.credential()
    server = factories.server()
    factories.use(mine, server=server)
    factories.use(mine, server=server)
    full()
    assert finding_of("reused-across-clients").title_now(NOW) == "One secret serves 2 clients"
    assert judged("reused-across-servers") == Verdict.MET


def test_one_secret_for_two_servers_is_reused(full):
    mine = factories.credential()
    client = factories.client()
    factories.use(mine, client=client)
    factories.use(mine, client=client)
    full()
    assert finding_of("reused-across-servers").title_now(NOW) == "One secret serves 2 servers"
    assert judged("reused-across-clients") == Verdict.MET


def test_a_use_that_is_gone_does_not_count(full):
    mine = factories.credential()
    factories.use(mine)
    factories.use(mine, gone_at=NOW, last_seen_at=NOW - DAY)
    full()
    assert judged("reused-across-clients") == Verdict.MET


def test_reuse_does_not_apply_to_what_nobody_uses(full):
    factories.credential()
    full()
    assert judged("reused-across-clients") == Verdict.NOT_APPLICABLE


def test_one_secret_in_two_environments_is_reused_across_environments(full):
    mine = factories.credential()
    factories.use(mine, server=factories.server(environment=factories.environment("dev")))
    factories.use(mine, server=factories.server(), environment=factories.environment("staging"))
    full()
    assert finding_of("reused-across-environments").title_now(NOW) == "One secret serves dev, staging"


def test_an_environment_of_the_use_replaces_that_of_its_server(full):
    mine = factories.credential()
    dev = factories.environment("dev")
    factories.use(mine, server=factories.server(environment=dev))
    factories.use(mine, server=factories.server(environment=factories.environment("prod")), environment=dev)
    full()
    assert judged("reused-across-environments") == Verdict.MET


def test_uses_in_environments_nobody_named_are_unknown(full):
    mine = factories.credential()
    factories.use(mine, server=factories.server(environment=factories.environment("dev")))
    factories.use(mine)
    full()
    assert judged("reused-across-environments") == Verdict.UNKNOWN


def test_a_single_use_is_in_one_environment_whatever_it_is(full):
    factories.use(factories.credential())
    full()
    assert judged("reused-across-environments") == Verdict.MET


# ── Owners ─────────────────────────────────────────────────────────────────────────────────────
def test_nobody_answers_for_a_credential_without_owner(full):
    factories.credential()
    full()
    assert finding_of("no-owner").severity == Severity.MEDIUM
    assert judged("owner-inactive") == Verdict.NOT_APPLICABLE


def test_an_owner_who_left_is_a_finding_of_its_own(full):
    factories.credential(owner=factories.owner(name="Ana Duarte", is_active=False))
    full()
    assert judged("no-owner") == Verdict.MET
    assert finding_of("owner-inactive").title_now(NOW) == "Its owner Ana Duarte is no longer active"


def test_an_active_owner_meets_both_rules(full):
    factories.credential(owner=factories.owner())
    full()
    assert (judged("no-owner"), judged("owner-inactive")) == (Verdict.MET, Verdict.MET)


# ── Age, idleness, expiry ──────────────────────────────────────────────────────────────────────
def test_a_key_older_than_its_policy_allows_is_unrotated(full):
    factories.credential(kind=CredentialKind.AWS_ACCESS_KEY, issued_at=NOW - 131 * DAY)
    full()
    assert finding_of("unrotated").title_now(NOW) == "131 days old; the policy allows 90"


def test_a_title_counts_the_days_as_they_pass(full):
    factories.credential(kind=CredentialKind.AWS_ACCESS_KEY, issued_at=NOW - 131 * DAY)
    full()
    assert finding_of("unrotated").title_now(NOW + 9 * DAY) == "140 days old; the policy allows 90"


def test_a_young_key_is_rotated(full):
    factories.credential(issued_at=NOW - 10 * DAY)
    full()
    assert judged("unrotated") == Verdict.MET


def test_the_age_of_a_key_that_nobody_dated_is_unknown_while_it_was_seen_for_less_than_the_limit(full):
    factories.credential(issued_at=None, first_seen_at=NOW - 10 * DAY)
    full()
    assert judged("unrotated") == Verdict.UNKNOWN


def test_a_key_seen_for_longer_than_the_limit_is_unrotated_whenever_it_was_issued(full):
    factories.credential(kind=CredentialKind.AWS_ACCESS_KEY, issued_at=None, first_seen_at=NOW - 100 * DAY)
    full()
    assert finding_of("unrotated").title_now(NOW) == "At least 100 days old; the policy allows 90"


def test_a_key_unused_for_longer_than_allowed_is_stale(full):
    factories.credential(last_used_at=NOW - 93 * DAY, issued_at=NOW - 100 * DAY)
    full()
    assert finding_of("stale").title_now(NOW) == "Unused for 93 days; the policy allows 60"


def test_a_key_used_yesterday_is_not_stale(full):
    factories.credential(last_used_at=NOW - DAY)
    full()
    assert judged("stale") == Verdict.MET


def test_whether_a_key_is_stale_is_unknown_when_nobody_saw_its_use(full):
    factories.credential(last_used_at=None)
    full()
    assert judged("stale") == Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("storage", "verdict"), [(Storage.PROVIDER, Verdict.VIOLATED), (Storage.LITERAL, Verdict.UNKNOWN)]
)
def test_only_the_provider_can_say_that_a_token_never_expires(full, storage, verdict):
    factories.credential(kind=CredentialKind.PERSONAL_ACCESS_TOKEN, storage=storage, expires_at=None)
    full()
    assert judged("no-expiry") == verdict


def test_a_token_that_expires_has_an_expiry(full):
    factories.credential(kind=CredentialKind.PERSONAL_ACCESS_TOKEN, expires_at=NOW + DAY)
    full()
    assert judged("no-expiry") == Verdict.MET


def test_an_expiry_is_not_asked_where_the_policy_does_not(full):
    factories.credential(kind=CredentialKind.API_KEY, expires_at=None)
    full()
    assert judged("no-expiry") == Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("issued", "first_seen", "expires", "verdict"),
    [
        (NOW, NOW, NOW + timedelta(hours=8), Verdict.MET),
        (NOW, NOW, NOW + 30 * DAY, Verdict.VIOLATED),
        (None, NOW, NOW + timedelta(hours=8), Verdict.UNKNOWN),
        (None, NOW, NOW + 30 * DAY, Verdict.VIOLATED),
        (NOW, NOW, None, Verdict.UNKNOWN),
    ],
    ids=["short", "long", "short as far as it was seen", "long as far as it was seen", "without end"],
)
def test_the_lifetime_of_an_access_token_is_judged_by_what_is_known(full, issued, first_seen, expires, verdict):
    factories.credential(
        kind=CredentialKind.OAUTH_ACCESS_TOKEN, issued_at=issued, first_seen_at=first_seen, expires_at=expires
    )
    full()
    assert judged("lifetime-too-long") == verdict


def test_a_long_lifetime_says_both_lengths(full):
    factories.credential(kind=CredentialKind.OAUTH_ACCESS_TOKEN, issued_at=NOW, expires_at=NOW + 30 * DAY)
    full()
    assert finding_of("lifetime-too-long").title_now(NOW) == "Lives 30 days; the policy allows 24 hours"


def test_what_has_expired_and_is_still_there_is_a_finding(full):
    factories.credential(expires_at=NOW - 9 * DAY, status=CredentialStatus.UNKNOWN)
    full()
    found = finding_of("expired-still-active")
    assert found.severity == Severity.MEDIUM
    assert found.title_now(NOW) == "Expired 9 days ago and still there"


def test_what_has_expired_and_is_still_accepted_is_worse(full):
    factories.credential(expires_at=NOW - 9 * DAY, status=CredentialStatus.ACTIVE)
    full()
    assert finding_of("expired-still-active").severity == Severity.HIGH


def test_what_expires_later_has_not_expired(full):
    factories.credential(expires_at=NOW + DAY)
    full()
    assert judged("expired-still-active") == Verdict.MET


def test_a_credential_whose_every_entry_is_switched_off_is_found(full):
    mine = factories.credential()
    factories.use(mine, is_disabled=True)
    full()
    assert finding_of("disabled-everywhere").severity == Severity.LOW


def test_a_credential_with_an_enabled_entry_is_in_use(full):
    mine = factories.credential()
    factories.use(mine, is_disabled=True)
    factories.use(mine)
    full()
    assert judged("disabled-everywhere") == Verdict.MET


@pytest.mark.parametrize("status", [CredentialStatus.DESTROYED, CredentialStatus.EXPIRED])
def test_what_has_ended_is_not_judged(full, status):
    factories.credential(status=status)
    full()
    assert populations(Subject.CREDENTIAL) == 0


def test_production_raises_a_severity_by_one(full):
    factories.credential(environment=factories.environment("prod"))
    full()
    assert finding_of("no-owner").severity == Severity.HIGH


# ── Servers ────────────────────────────────────────────────────────────────────────────────────
def test_a_server_without_a_role_is_unclassified(full):
    factories.server()
    full()
    assert finding_of("server-unclassified").severity == Severity.LOW


def test_a_server_with_a_role_is_classified(full):
    factories.server(role=ServerRole.TOOL_ENDPOINT)
    full()
    assert judged("server-unclassified") == Verdict.MET


def test_a_server_names_the_owners_it_lacks(full):
    factories.server(iam_owner=factories.owner(), platform_owner=factories.owner(is_active=False))
    full()
    assert finding_of("server-owner-missing").title_now(NOW) == "No active platform or application owner"


def test_a_server_with_three_active_owners_has_them_all(full):
    factories.server(iam_owner=factories.owner(), platform_owner=factories.owner(), application_owner=factories.owner())
    full()
    assert judged("server-owner-missing") == Verdict.MET


@pytest.mark.parametrize(
    ("package", "is_pinned", "verdict"),
    [
        ("@scope/server", False, Verdict.VIOLATED),
        ("@scope/server", True, Verdict.MET),
        ("@scope/server", None, Verdict.UNKNOWN),
        ("", None, Verdict.NOT_APPLICABLE),
    ],
    ids=["floating", "pinned", "nobody can tell", "no package"],
)
def test_a_package_is_judged_by_its_version(full, package, is_pinned, verdict):
    factories.server(package=package, is_pinned=is_pinned)
    full()
    assert judged("floating-version") == verdict


@pytest.mark.parametrize(
    ("url", "verdict"),
    [
        ("http://mcp.example.org/sse", Verdict.VIOLATED),
        ("HTTP://mcp.example.org", Verdict.VIOLATED),
        ("ws://mcp.example.org", Verdict.VIOLATED),
        ("http://localhost.example.org/", Verdict.VIOLATED),
        ("http://127.0.0.1.example.org/", Verdict.VIOLATED),
        ("http://localhost@mcp.example.org/", Verdict.VIOLATED),
        ("https://mcp.example.org", Verdict.MET),
        ("http://localhost:8000/mcp", Verdict.MET),
        ("http://127.0.0.1/mcp", Verdict.MET),
        ("http://[::1]:8000/mcp", Verdict.MET),
        ("${BASE}/mcp", Verdict.UNKNOWN),
        ("http:/mcp.example.org", Verdict.UNKNOWN),
        ("mcp.example.org/mcp", Verdict.UNKNOWN),
        ("", Verdict.NOT_APPLICABLE),
    ],
)
def test_a_url_that_leaves_the_machine_is_encrypted(full, url, verdict):
    factories.server(url=url)
    full()
    assert judged("plaintext-url") == verdict


def test_a_server_that_is_gone_is_not_judged(full):
    factories.server(gone_at=NOW, last_seen_at=NOW - DAY)
    full()
    assert populations(Subject.SERVER) == 0


def test_a_finding_is_about_a_subject_of_the_kind_that_its_rule_says(full):
    overdue = factories.connection(created_at=NOW - 9 * DAY)
    client = factories.client(registration=Registration.DYNAMIC, connection=overdue)
    factories.use(factories.credential(storage=Storage.LITERAL), client=client)
    full()
    models = {
        Subject.CREDENTIAL: Credential,
        Subject.SERVER: McpServer,
        Subject.CLIENT: McpClient,
        Subject.CONNECTION: Connection,
    }
    found = list(Finding.objects.all())
    assert {type(one.subject) for one in found} == set(models.values())
    assert all(isinstance(one.subject, models[RULES[one.rule].subject]) for one in found)


def test_the_manual_explains_every_rule(settings):
    manual = (settings.BASE_DIR / "docs" / "rules.md").read_text()
    assert [slug for slug in RULES if f"| `{slug}` |" not in manual] == []
