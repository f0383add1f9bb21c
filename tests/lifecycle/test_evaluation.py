"""The evaluation: it opens, refreshes and resolves, writes nothing twice and overlooks nothing."""

from datetime import timedelta

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from audit.models import AuditEntry
from inventory.models import Credential, Exposure, Use
from inventory.states import CredentialKind, CredentialStatus, ServerRole, Severity, Storage
from lifecycle.actions import evaluation
from lifecycle.actions.evaluation import evaluate
from lifecycle.actions.judging import judged
from lifecycle.errors import EvaluationUnderWay
from lifecycle.models import EvaluationMark, Finding, Obligation, Policy, RuleState
from lifecycle.models.asked import as_asked, asked_now
from lifecycle.rules import RULES, Subject
from lifecycle.rules.asked import UNSAVED
from lifecycle.states import FindingState, Resolution
from tests import factories
from tests.examples import SHARED_FIXTURE, examples
from tests.factories import NOW

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
TABLES = (
    "lifecycle_finding",
    "lifecycle_obligation",
    "inventory_credential",
    "inventory_mcpserver",
    "inventory_mcpclient",
    "inventory_connection",
)


def places() -> dict[str, list[str]]:
    """Where every row lies. An update moves its row, also one that changes nothing."""
    with connection.cursor() as cursor:
        found = {}
        for table in TABLES:
            cursor.execute(f"SELECT ctid::text FROM {table} ORDER BY 1")
            found[table] = [place for (place,) in cursor.fetchall()]
        return found


def entries() -> int:
    return AuditEntry.objects.filter(event=Event.FINDINGS_EVALUATED).count()


@action
def touch(*subjects: object, event: Event, **detail: object) -> None:
    """An audit entry as an action of the inventory leaves it."""
    for subject in subjects:
        record(event, actor=Actor.system("test"), subject=subject, detail=detail)  # type: ignore[arg-type]


@pytest.fixture
def large_estate(monkeypatch):
    """Where incremental evaluations pay: in a small estate every one of them is full."""
    monkeypatch.setattr(evaluation, "SMALL_ESTATE", 0)


# ── Opening, refreshing, resolving ─────────────────────────────────────────────────────────────
def test_a_second_evaluation_writes_no_row(full):
    mine = factories.credential(storage=Storage.LITERAL, issued_at=NOW - 400 * DAY)
    factories.exposure(mine)
    factories.use(mine, is_disabled=True)
    full()
    before, audited = places(), entries()
    again = full(NOW + timedelta(hours=1))
    assert (again.changed, places(), entries()) == (0, before, audited)


def test_an_evaluation_that_changes_something_leaves_one_entry_with_counts_and_a_digest(full):
    factories.credential()
    full()
    (entry,) = AuditEntry.objects.filter(event=Event.FINDINGS_EVALUATED)
    assert entry.detail["opened"] == Finding.objects.count()
    assert entry.detail["rules"]["no-owner"] == {"opened": 1}
    assert len(entry.detail["digest"]) == 64


def test_a_finding_is_due_by_its_severity(full):
    mine = factories.credential(storage=Storage.LITERAL, owner=factories.owner())
    factories.exposure(mine)
    full()
    assert Finding.objects.get(rule="hard-coded").due_at == NOW + 7 * DAY


def test_a_finding_that_gets_worse_is_due_sooner(full):
    mine = factories.credential(owner=factories.owner())
    seen = factories.exposure(mine)
    full()
    Exposure.objects.filter(pk=seen.pk).update(is_readable_by_others=True)
    result = full(NOW + timedelta(hours=6))
    found = Finding.objects.get(rule="hard-coded")
    assert result.refreshed == 1
    assert (found.severity, found.due_at) == (Severity.CRITICAL, NOW + DAY)
    assert (found.opened_at, found.refreshed_at) == (NOW, NOW + timedelta(hours=6))


def test_what_is_met_resolves_its_finding(full):
    mine = factories.credential()
    full()
    Credential.objects.filter(pk=mine.pk).update(owner=factories.owner())
    full(NOW + DAY)
    found = Finding.objects.get(rule="no-owner")
    assert (found.state, found.resolved_at) == (FindingState.RESOLVED, NOW + DAY)
    assert found.resolution == Resolution.MET


def test_what_is_violated_again_opens_a_new_finding(full):
    mine = factories.credential()
    full()
    Credential.objects.filter(pk=mine.pk).update(owner=factories.owner())
    full(NOW + DAY)
    Credential.objects.filter(pk=mine.pk).update(owner=None)
    full(NOW + 2 * DAY)
    assert Finding.objects.filter(rule="no-owner").count() == 2
    assert Finding.objects.unresolved().filter(rule="no-owner").count() == 1


def test_what_is_unknown_resolves_nothing(full):
    mine = factories.credential(last_used_at=NOW - 90 * DAY)
    full()
    Credential.objects.filter(pk=mine.pk).update(last_used_at=None)
    full(NOW + DAY)
    assert Finding.objects.unresolved().filter(rule="stale").exists()


def test_a_finding_whose_subject_is_gone_is_resolved_and_says_so(full):
    mine = factories.credential()
    full()
    Credential.objects.filter(pk=mine.pk).update(gone_at=NOW, last_seen_at=NOW)
    full(NOW + DAY)
    assert set(Finding.objects.values_list("resolution", flat=True)) == {Resolution.GONE}
    assert not Obligation.objects.exists()


def test_a_finding_of_a_rule_that_no_longer_applies_is_resolved_and_says_so(full):
    mine = factories.credential(owner=factories.owner(is_active=False))
    full()
    Credential.objects.filter(pk=mine.pk).update(owner=None)
    full(NOW + DAY)
    assert Finding.objects.get(rule="owner-inactive").resolution == Resolution.NOT_APPLICABLE


def test_a_finding_of_a_rule_that_is_no_longer_shipped_is_resolved(full):
    mine = factories.credential()
    gone = Finding.objects.create(
        rule="of-an-older-release", credential=mine, severity=2, opened_at=NOW, refreshed_at=NOW, due_at=NOW
    )
    full()
    gone.refresh_from_db()
    assert gone.state == FindingState.RESOLVED
    assert gone.title_now(NOW) == "of-an-older-release"


def test_the_database_refuses_a_second_unresolved_finding_of_a_rule_and_credential(full):
    mine = factories.credential()
    full()
    with pytest.raises(IntegrityError, match="finding_one_unresolved_per_credential_and_rule"), transaction.atomic():
        Finding.objects.create(
            rule="no-owner", credential=mine, severity=2, opened_at=NOW, refreshed_at=NOW, due_at=NOW
        )


# ── Risk ───────────────────────────────────────────────────────────────────────────────────────
def test_a_credential_carries_the_risk_of_its_worst_finding(full):
    mine = factories.credential(issued_at=NOW - 400 * DAY)
    factories.exposure(mine)
    full()
    mine.refresh_from_db()
    assert (mine.risk, mine.open_findings) == (Severity.HIGH, 3)


def test_a_server_carries_the_risk_of_its_worst_finding(full):
    server = factories.server(url="http://mcp.example.org")
    full()
    server.refresh_from_db()
    assert (server.risk, server.open_findings) == (Severity.HIGH, 3)


def test_the_risk_of_what_is_gone_is_none(full):
    mine = factories.credential()
    full()
    Credential.objects.filter(pk=mine.pk).update(gone_at=NOW, last_seen_at=NOW)
    full(NOW + DAY)
    mine.refresh_from_db()
    assert (mine.risk, mine.open_findings) == (Severity.NONE, 0)


# ── Policies and obligations ───────────────────────────────────────────────────────────────────
def test_the_policy_with_the_lowest_number_binds(full):
    mine = factories.credential(kind=CredentialKind.API_KEY, issued_at=NOW - 10 * DAY)
    strict = Policy.objects.create(name="Strict", priority=1, kinds=[CredentialKind.API_KEY], max_age=7 * DAY)
    full()
    obligation = Obligation.objects.get(pk=mine.pk)
    assert (obligation.policy, obligation.rotate_by) == (strict, NOW - 3 * DAY)


@pytest.mark.parametrize("selector", [{"trust_models": ["user_consented"]}, {"kinds": ["aws_access_key"]}])
def test_a_policy_for_others_does_not_bind(full, selector):
    mine = factories.credential(kind=CredentialKind.API_KEY)
    Policy.objects.create(name="For others", priority=1, max_age=DAY, **selector)
    full()
    assert Obligation.objects.get(pk=mine.pk).policy.name == "API keys"


def test_a_policy_for_one_environment_binds_there_alone(full):
    prod = factories.credential(environment=factories.environment("prod"))
    nowhere = factories.credential()
    Policy.objects.create(name="Production", priority=1, environments=[factories.environment("prod").pk], max_age=DAY)
    full()
    names = dict(Obligation.objects.values_list("pk", "policy__name"))
    assert names == {prod.pk: "Production", nowhere.pk: "API keys"}


@pytest.fixture
def various(db):
    """One credential that the selectors below single out, and one beside it that they do not."""
    team, place = factories.owner(), factories.environment("prod")
    mine = factories.credential(
        owner=team, environment=place, issuer="GitHub", tags=["billing", "eu"], trust_model="user_consented",
        kind=CredentialKind.PERSONAL_ACCESS_TOKEN,
    )  # fmt: skip
    factories.use(mine, server=factories.server(role=ServerRole.MIXED))
    other = factories.credential(owner=factories.owner(), issuer="aws", tags=["us"])
    factories.use(other, server=factories.server(role=ServerRole.TOOL_ENDPOINT))
    gone = factories.use(other, server=factories.server(role=ServerRole.MIXED))
    Use.objects.filter(pk=gone.pk).update(gone_at=NOW, last_seen_at=NOW)
    return mine, {"owner": team.pk, "place": place.pk}


@pytest.mark.parametrize(
    "selector",
    [
        {"kinds": ["personal_access_token", "api_key"], "trust_models": ["user_consented"]},
        {"environments": ["place"]},
        {"providers": ["gitHUB"]},
        {"owners": ["owner"]},
        {"tags": ["eu", "nowhere"]},
        {"server_roles": ["mixed"]},
        {"providers": ["github"], "tags": ["billing"], "owners": ["owner"], "server_roles": ["mixed", "unclassified"]},
    ],
    ids="+".join,
)
def test_a_policy_binds_what_all_its_selectors_fit_and_nothing_else(full, various, selector):
    mine, keys = various
    values = {name: [keys.get(value, value) for value in chosen] for name, chosen in selector.items()}
    Policy.objects.create(name="Selected", priority=1, max_age=DAY, **values)
    Policy.objects.create(name="Beside it", priority=2, tags=["elsewhere"], owners=[factories.owner().pk])
    full()
    assert [bound.pk for bound in Obligation.objects.filter(policy__name="Selected")] == [mine.pk]


def test_a_retired_policy_binds_nothing_and_the_next_one_does(full):
    mine = factories.credential(kind=CredentialKind.API_KEY)
    strict = Policy.objects.create(name="Strict", priority=1, max_age=DAY)
    full()
    Policy.objects.filter(pk=strict.pk).update(retired_at=NOW)
    full(NOW + timedelta(hours=1))
    assert Obligation.objects.get(pk=mine.pk).policy.name == "API keys"


def test_a_review_falls_due_from_the_last_one_and_else_from_the_first_sighting(full):
    never = factories.credential(issued_at=NOW - 40 * DAY)
    once = factories.credential(reviewed_at=NOW - 3 * DAY)
    Policy.objects.create(name="Reviewed", priority=1, review_interval=30 * DAY)
    full()
    assert dict(Obligation.objects.values_list("pk", "review_by")) == {
        never.pk: NOW + 25 * DAY,
        once.pk: NOW + 27 * DAY,
    }


def test_a_policy_that_nobody_saved_is_judged_without_a_trace(full):
    mine = factories.credential(kind=CredentialKind.API_KEY, issued_at=NOW - 10 * DAY, owner=factories.owner())
    full()
    before = places()
    draft = as_asked(Policy(name="Draft", priority=1, max_age=7 * DAY))
    with transaction.atomic(), connection.cursor() as cursor:
        asked = asked_now().with_policy(draft)
        with judged(cursor, Subject.CREDENTIAL, asked, NOW, rules=["unrotated"]) as found:
            said = found.execute("SELECT rule, id FROM violations")
            bound = found.execute("SELECT policy_id FROM subject_facts")
            assert found.count() == 1
        with judged(cursor, Subject.CREDENTIAL, asked.without_policy(draft.id), NOW, rules=["unrotated"]) as found:
            assert found.execute("SELECT 1 FROM violations") == []
    assert (said, bound) == ([("unrotated", mine.pk)], [(UNSAVED,)])
    assert places() == before


def test_a_credential_that_no_policy_fits_is_judged_by_the_other_rules(full):
    Policy.objects.update(retired_at=NOW)
    mine = factories.credential(issued_at=NOW - 4_000 * DAY)
    full()
    assert Obligation.objects.get(pk=mine.pk).policy is None
    assert set(Finding.objects.values_list("rule", flat=True)) == {"no-owner"}


# ── Incremental ────────────────────────────────────────────────────────────────────────────────
def test_time_alone_opens_unrotated(full, changed, large_estate):
    mine = factories.credential(kind=CredentialKind.AWS_ACCESS_KEY, issued_at=NOW - 89 * DAY, reviewed_at=NOW)
    factories.credential(kind=CredentialKind.AWS_ACCESS_KEY, issued_at=NOW - 10 * DAY)
    full()
    assert changed(NOW + timedelta(hours=23)).subjects == 0
    EvaluationMark.objects.update(full_at=NOW + DAY)  # else the daily full evaluation would come first
    result = changed(NOW + DAY)
    assert (result.is_full, result.subjects, result.opened) == (False, 1, 1)
    assert Finding.objects.get(rule="unrotated").credential == mine


def test_nothing_is_looked_at_when_nothing_is_due_or_changed(full, changed, django_assert_max_num_queries):
    factories.credential()
    full()
    before = list(EvaluationMark.objects.values())
    with django_assert_max_num_queries(15):
        result = changed(NOW + timedelta(minutes=5))
    assert (result.subjects, result.is_full) == (0, False)
    assert list(EvaluationMark.objects.values()) == before


def test_a_credential_that_somebody_changed_is_looked_at_alone(full, changed, large_estate):
    mine, other = factories.credential(), factories.credential()
    full()
    Credential.objects.update(owner=factories.owner())
    touch(mine, event=Event.CREDENTIAL_OWNER_ASSIGNED)
    result = changed(NOW + timedelta(minutes=5))
    assert (result.is_full, result.subjects, result.resolved) == (False, 1, 1)
    assert Finding.objects.unresolved().filter(rule="no-owner").get().credential == other


def test_a_server_that_somebody_changed_is_looked_at_with_the_credentials_used_on_it(full, changed, large_estate):
    server = factories.server()
    mine = factories.credential()
    factories.use(mine, server=server)
    factories.credential()
    full()
    server.environment = factories.environment("prod")
    server.save()
    touch(server, event=Event.SERVER_ENVIRONMENT_ASSIGNED)
    result = changed(NOW + timedelta(minutes=5))
    assert (result.is_full, result.subjects) == (False, 2)
    assert Finding.objects.get(rule="no-owner", credential=mine).severity == Severity.HIGH


def test_an_owner_who_left_is_found_on_all_they_own(full, changed, large_estate):
    leaver = factories.owner()
    mine = factories.credential(owner=leaver)
    factories.credential(owner=factories.owner())
    factories.server(iam_owner=leaver)
    full()
    leaver.is_active = False
    leaver.save()
    touch(leaver, event=Event.OWNER_CHANGED)
    result = changed(NOW + timedelta(minutes=5))
    assert (result.is_full, result.subjects) == (False, 2)
    assert Finding.objects.get(rule="owner-inactive").credential == mine


def test_a_sync_that_changed_something_has_its_connection_looked_at(full, changed, large_estate):
    mine = factories.credential()
    elsewhere = factories.credential()
    factories.credential()
    full()
    factories.exposure(mine)
    # Seen by this connection too, but listed by another one first.
    Use.objects.create(
        connection=mine.connection,
        client=factories.client(),
        server=factories.server(),
        credential=elsewhere,
        file="f",
        pointer="/p",
        first_seen_at=NOW,
    )
    touch(mine.connection, event=Event.CONNECTION_SYNCED, changes={"exposures.inserted": 1})
    result = changed(NOW + timedelta(minutes=5))
    assert (result.is_full, result.subjects) == (False, 4)  # the connection, two credentials and the server
    assert Finding.objects.get(rule="hard-coded").credential == mine


def test_a_sync_that_changed_nothing_has_its_connection_alone_looked_at(full, changed):
    mine = factories.credential()
    full()
    touch(mine.connection, event=Event.CONNECTION_SYNCED, changes={})
    result = changed(NOW + timedelta(minutes=5))
    assert (result.is_full, result.subjects, result.changed) == (False, 1, 0)


def test_what_leaves_between_two_evaluations_is_resolved_by_the_incremental_one(full, changed, large_estate):
    mine = factories.credential()
    factories.credential()
    full()
    Credential.objects.filter(pk=mine.pk).update(gone_at=NOW, last_seen_at=NOW)
    touch(mine.connection, event=Event.CONNECTION_SYNCED, changes={"credentials.gone": 1})
    assert not changed(NOW + timedelta(minutes=5)).is_full
    assert Finding.objects.get(rule="no-owner", credential=mine).resolution == Resolution.GONE
    assert not Obligation.objects.filter(pk=mine.pk).exists()


def test_an_incremental_evaluation_says_what_a_full_one_would(full, changed, large_estate):
    mine = factories.credential(issued_at=NOW - 400 * DAY)
    full()
    factories.exposure(mine)
    factories.use(mine)
    touch(mine, event=Event.CREDENTIAL_DATES_RECORDED)
    changed(NOW + timedelta(minutes=5))
    assert full(NOW + timedelta(minutes=6)).rules.keys() <= {"server-unclassified", "server-owner-missing"}


def test_a_changed_policy_has_everything_looked_at(full, changed):
    mine = factories.credential(issued_at=NOW - 10 * DAY)
    full()
    Policy.objects.filter(name="API keys").update(max_age=7 * DAY)
    assert changed(NOW + timedelta(minutes=5)).is_full
    assert Finding.objects.unresolved().get(rule="unrotated").credential == mine


def test_an_entry_of_an_unknown_kind_has_everything_looked_at(full, changed, large_estate):
    factories.credential()
    full()
    touch(Policy.objects.first(), event=Event.CREDENTIAL_DATES_RECORDED)
    assert changed(NOW + timedelta(minutes=5)).is_full


def test_everything_is_looked_at_once_a_day(full, changed):
    factories.credential()
    full()
    assert changed(NOW + DAY).is_full


def test_more_changes_than_a_scope_holds_have_everything_looked_at(full, changed, large_estate, monkeypatch):
    made = [factories.credential() for _ in range(3)]
    full()
    monkeypatch.setattr(evaluation, "LARGEST_SCOPE", 2)
    touch(*made, event=Event.CREDENTIAL_OWNER_ASSIGNED)
    assert changed(NOW + timedelta(minutes=5)).is_full


def test_the_first_evaluation_is_full(changed):
    factories.credential()
    assert changed().is_full


def test_sign_ins_alone_move_the_mark_only_now_and_then(full, changed, monkeypatch):
    full()
    monkeypatch.setattr(evaluation, "PASSED_ENTRIES", 3)
    touch(*[None] * 2, event=Event.USER_SIGNED_IN)
    changed(NOW + timedelta(minutes=5))
    before = EvaluationMark.objects.get().seq
    touch(*[None] * 3, event=Event.USER_SIGNED_IN)
    changed(NOW + timedelta(minutes=10))
    assert EvaluationMark.objects.get().seq > before


# ── One at a time ──────────────────────────────────────────────────────────────────────────────
def test_two_evaluations_never_run_at_once():
    database = connection.settings_dict
    with psycopg.connect(host=database["HOST"], dbname=database["NAME"], user=database["USER"]) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended('keyreeve evaluation', 0))")
        with pytest.raises(EvaluationUnderWay):
            evaluate(NOW, actor=Actor.system("test"))


# ── Whatever the estate ────────────────────────────────────────────────────────────────────────
DATES = st.one_of(st.none(), st.integers(-400, 400).map(lambda days: NOW + days * DAY))


@settings(max_examples=examples(25), deadline=None, suppress_health_check=SHARED_FIXTURE)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(CredentialKind), st.sampled_from(CredentialStatus), st.sampled_from(Storage),
            DATES, DATES, DATES, st.booleans(), st.booleans(),
        ),
        min_size=1, max_size=6,
    ),
    days=st.integers(0, 500),
)  # fmt: skip
def test_whatever_the_estate_counts_add_up_and_nothing_is_written_twice(full, rows, days):
    with transaction.atomic():
        for kind, status, storage, issued, used, expires, is_owned, is_exposed in rows:
            mine = factories.credential(
                kind=kind,
                status=status,
                storage=storage,
                issued_at=issued,
                last_used_at=used,
                expires_at=expires,
                owner=factories.owner() if is_owned else None,
            )
            if is_exposed:
                factories.exposure(mine)
        full()
        later = NOW + days * DAY
        full(later)
        live = Credential.objects.live().count()
        of_credentials = [rule.slug for rule in RULES.values() if rule.subject is Subject.CREDENTIAL]
        for state in RuleState.objects.filter(rule__in=of_credentials):
            assert state.population <= max(live, 0)
            assert state.violated <= Finding.objects.unresolved().filter(rule=state.rule).count()
        assert Obligation.objects.count() == live
        before = places()
        assert full(later).changed == 0
        assert places() == before
        for found in Finding.objects.all():
            assert found.title_now(later)
        transaction.set_rollback(True)
