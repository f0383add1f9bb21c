"""The back-test: what limits would have opened in the recorded past, and what the record does not tell."""

import json
from datetime import timedelta
from typing import Any

import pytest

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from inventory.actions.ownership import classify_servers
from inventory.actions.tags import tag_credentials
from inventory.models import Credential, CredentialVersion, McpServer
from inventory.states import CredentialKind, CredentialStatus, ServerRole, Storage
from lifecycle.errors import PeriodRefused, TrialTookTooLong
from lifecycle.models import Finding, Policy
from lifecycle.trials import back_test, dry_run
from lifecycle.trials.rehearsal import rehearsal
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
SINCE = NOW - 90 * DAY


def tried(since=SINCE, until=NOW, **values: Any):
    return back_test(Policy(name="Draft", priority=1, **values), since=since, until=until, now=NOW)


def seen(days: int = 400, **values: Any):
    """A credential that has long been watched."""
    return factories.credential(**{"first_seen_at": NOW - days * DAY, "issued_at": NOW - days * DAY, **values})


def version(of, *, since: int, is_current: bool, **values: Any) -> CredentialVersion:
    """A value of `of` from so many days before NOW on."""
    begun = NOW - since * DAY
    return CredentialVersion.objects.create(
        credential=of, external_id=f"v{since}", issued_at=begun, first_seen_at=begun, is_current=is_current, **values
    )


def reasons(test) -> dict[str, int]:
    return {each.reason: each.credentials for each in test.unknown}


# ── Ages ───────────────────────────────────────────────────────────────────────────────────────
def test_a_value_that_grew_too_old_within_the_period_would_have_been_opened():
    seen(100)
    test = tried(max_age=60 * DAY)
    (example,) = test.examples
    assert (test.opened, test.already, test.ended) == (1, 0, 0)
    assert (example.opened_at, example.ended_at) == (NOW - 40 * DAY, None)
    assert example.title == "100 days old; the policy allows 60"


def test_a_value_that_was_too_old_before_the_period_counts_as_already_there():
    seen(300)
    test = tried(max_age=60 * DAY)
    assert (test.opened, test.already) == (1, 1)
    assert sum(week.opened for week in test.weeks) == 0


def test_a_rotation_ends_what_the_old_value_would_have_opened():
    mine = seen(200, issued_at=NOW - 30 * DAY)
    version(mine, since=200, is_current=False)
    version(mine, since=30, is_current=True)
    test = tried(max_age=100 * DAY)
    (example,) = test.examples
    assert (test.opened, test.ended) == (1, 1)
    assert (example.opened_at, example.ended_at) == (SINCE, NOW - 30 * DAY)


def test_each_late_rotation_is_a_finding_of_its_own():
    mine = seen(90, issued_at=NOW - 10 * DAY)
    for since in (90, 50, 10):
        version(mine, since=since, is_current=since == 10)
    test = tried(max_age=30 * DAY)
    assert (test.opened, test.ended, test.owners) == (2, 2, 0)


def test_a_destroyed_value_ends_what_it_opened():
    mine = seen(200, status=CredentialStatus.DESTROYED)
    version(mine, since=200, is_current=False, destroyed_at=NOW - 50 * DAY)
    test = tried(max_age=30 * DAY)
    assert [each.ended_at for each in test.examples] == [NOW - 50 * DAY]


def test_a_credential_that_is_gone_ended_when_it_went():
    seen(200, gone_at=NOW - 20 * DAY, last_seen_at=NOW - 20 * DAY)
    seen(200, gone_at=NOW - 120 * DAY, last_seen_at=NOW - 120 * DAY)  # before the period
    test = tried(max_age=30 * DAY)
    assert (test.credentials, test.opened, test.ended) == (1, 1, 1)


def test_a_value_is_as_old_as_its_first_sighting_at_least_and_the_rest_is_unknown():
    seen(80, issued_at=None)
    assert tried(max_age=60 * DAY).opened == 1
    test = tried(max_age=85 * DAY)
    assert (test.opened, reasons(test)["issue_unknown"]) == (0, 1)


def test_nothing_opens_before_it_was_first_seen():
    factories.credential(issued_at=NOW - 400 * DAY, first_seen_at=NOW - 5 * DAY)
    test = tried(max_age=60 * DAY)
    assert [each.opened_at for each in test.examples] == [NOW - 5 * DAY]
    assert reasons(test) == {"not_seen": 1}


def test_what_ended_some_time_that_nobody_recorded_is_left_out_and_said():
    seen(400, status=CredentialStatus.DESTROYED)
    test = tried(max_age=60 * DAY)
    assert (test.opened, reasons(test)) == (0, {"end_not_seen": 1})


# ── Uses ───────────────────────────────────────────────────────────────────────────────────────
def test_idle_time_since_the_last_use_would_have_been_opened():
    seen(last_used_at=NOW - 70 * DAY)
    test = tried(max_idle=60 * DAY)
    assert [(each.rule, each.opened_at) for each in test.examples] == [("stale", NOW - 10 * DAY)]


def test_an_earlier_idle_time_is_read_from_a_resolved_finding():
    mine = seen(last_used_at=NOW - DAY)
    Finding.objects.create(
        rule="stale",
        credential=mine,
        severity=2,
        state="resolved",
        resolution="met",
        opened_at=NOW - 40 * DAY,
        refreshed_at=NOW - 40 * DAY,
        due_at=NOW,
        resolved_at=NOW - DAY,
        evidence={"last_used_at": (NOW - 100 * DAY).isoformat()},
    )
    test = tried(max_idle=30 * DAY)
    (example,) = test.examples
    assert (example.opened_at, example.ended_at) == (NOW - 70 * DAY, NOW - DAY)


def test_uses_that_newer_ones_replaced_are_unknown():
    seen(last_used_at=NOW - DAY)
    seen(last_used_at=None)
    test = tried(max_idle=60 * DAY)
    assert (test.opened, reasons(test)) == (0, {"earlier_uses_unknown": 1, "use_unknown": 1})


# ── Lifetimes and expiries ─────────────────────────────────────────────────────────────────────
def test_a_lifetime_that_was_too_long_counts_from_its_first_sighting():
    seen(10, expires_at=NOW + 80 * DAY)
    test = tried(max_lifetime=30 * DAY)
    assert [(each.rule, each.opened_at) for each in test.examples] == [("lifetime-too-long", NOW - 10 * DAY)]


def test_an_expiry_that_nobody_told_is_unknown_and_one_that_there_is_not_counts():
    seen(400, storage=Storage.PROVIDER)
    seen(400, storage=Storage.LITERAL)
    test = tried(requires_expiry=True)
    assert (test.opened, reasons(test)) == (1, {"expiry_unknown": 1})


# ── Whom ───────────────────────────────────────────────────────────────────────────────────────
def test_what_an_earlier_policy_binds_is_not_counted():
    seen(300, kind=CredentialKind.API_KEY)
    seen(300, kind=CredentialKind.DATABASE_PASSWORD)
    draft = Policy(name="Draft", priority=5_000, max_age=60 * DAY)
    Policy.objects.filter(name="Database passwords").update(priority=9_000)
    assert back_test(draft, since=SINCE, until=NOW, now=NOW).credentials == 1


@pytest.mark.parametrize("selector", ["tags", "providers", "environments", "server_roles", "kinds"])
def test_it_binds_what_an_evaluation_would_bind(selector):
    server = factories.server(role="mixed")
    factories.use(seen(tags=["pci", "legacy"], issuer="GitHub"), server=server)
    seen(issuer="github", environment=factories.environment("prod"))
    seen(kind=CredentialKind.AWS_ACCESS_KEY, owner=factories.owner())
    values = {
        "tags": ["pci"],
        "providers": ["github"],
        "environments": [factories.environment("prod").pk],
        "server_roles": ["mixed", "unclassified"],
        "kinds": ["api_key"],
    }
    draft = Policy(name="Draft", priority=1, max_age=DAY, **{selector: values[selector]})
    bound = dry_run(draft, NOW).bound_after
    assert 0 < bound < 3
    assert back_test(draft, since=SINCE, until=NOW, now=NOW).credentials == bound


def test_who_changed_hands_within_the_period_is_unknown_to_a_policy_by_owner():
    @action
    def hand_over(credential):
        record(Event.CREDENTIAL_OWNER_ASSIGNED, actor=Actor.system("test"), subject=credential)

    mine = seen(owner=factories.owner())
    hand_over(mine)
    assert reasons(tried(owners=[mine.owner.pk], max_age=500 * DAY)) == {"binding_changed": 1}
    assert reasons(tried(max_age=500 * DAY)) == {}


def test_a_tag_or_a_role_that_somebody_changed_within_the_period_is_unknown_to_a_policy_by_it():
    mine = seen()
    place = factories.use(mine).server
    seen()
    classify_servers(McpServer.objects.filter(pk=place.pk), ServerRole.MIXED, actor=Actor.system("test"))
    assert reasons(tried(server_roles=["mixed"], max_age=500 * DAY)) == {"binding_changed": 1}
    tag_credentials(Credential.objects.filter(pk=mine.pk), add=["pci"], remove=[], actor=Actor.system("test"))
    assert reasons(tried(tags=["pci"], max_age=500 * DAY)) == {"binding_changed": 1}


# ── As a whole ─────────────────────────────────────────────────────────────────────────────────
def test_the_result_says_in_a_sentence_what_would_have_been_opened_for_whom():
    team, other = factories.owner(name="Payments"), factories.owner()
    for owner in (team, team, other, None):
        seen(100, owner=owner)
    seen(100, owner=team, gone_at=NOW - 10 * DAY, last_seen_at=NOW - 10 * DAY)
    test = tried(max_age=60 * DAY)
    assert test.sentence == (
        "Max age 60 days would have opened 5 findings for 2 owners from 3 Mar 2026 to 1 Jun 2026; 1 of them had ended "
        "by themselves."
    )
    assert [(each.name, each.opened) for each in test.top_owners] == [
        ("Payments", 3),
        (other.name, 1),
        ("Nobody", 1),
    ]
    assert [week.opened for week in test.weeks] == [0] * 7 + [5] + [0] * 5


def test_a_draft_without_limits_says_so():
    seen()
    test = tried(requires_owner=True)
    assert (test.opened, test.sentence) == (0, "It sets no limit that the past could be held against.")


def test_the_result_is_json_and_leaves_nothing_behind():
    seen(100)
    said = json.loads(json.dumps(tried(max_age=60 * DAY).as_json()))
    assert (said["opened"], said["rules"][0]["rule"], said["since"]) == (1, "unrotated", SINCE.isoformat())
    assert tried(max_age=60 * DAY).opened == 1  # a second time: the tables of the first are gone


@pytest.mark.parametrize(("since", "until"), [(NOW, SINCE), (SINCE, NOW + DAY), (NOW - 1_100 * DAY, NOW)])
def test_a_period_that_is_none_is_refused(since, until):
    with pytest.raises(PeriodRefused):
        tried(since=since, until=until, max_age=DAY)


def test_what_takes_too_long_is_stopped_with_a_sentence():
    with pytest.raises(TrialTookTooLong), rehearsal(timedelta(milliseconds=10)) as cursor:
        cursor.execute("SELECT count(*) FROM generate_series(1, 1000000000)")
    assert Policy.objects.exists()
