"""The rules about what was decided and not done: reference-only storage, scopes, reviews, ends that are none, logs."""

from datetime import timedelta

import pytest

from audit.actions import action
from audit.events import Event
from inventory.actions.admission import move
from inventory.actions.ownership import assign_environment, change_owner
from inventory.models import ClientRemoval, Credential, CredentialVersion, LoggingRecord
from inventory.states import (
    Admission,
    CredentialKind,
    CredentialStatus,
    Logged,
    Registration,
    RemovalStage,
    Severity,
    Storage,
    TrustModel,
    Verdict,
)
from lifecycle.models import Finding, Obligation, Policy
from tests import factories
from tests.factories import NOW
from tests.feeds import deliver, feed
from tests.lifecycle.verdicts import finding_of, judged

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def large(monkeypatch) -> None:
    """An estate in which only what changed is looked at."""
    monkeypatch.setattr("lifecycle.actions.evaluation.SMALL_ESTATE", 0)


def policy(**asked) -> Policy:
    """The only one in force."""
    Policy.objects.update(retired_at=NOW)
    return Policy.objects.create(name="Strict", priority=1, **asked)


# ── Kept as a literal ──────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("storage", "reference", "held_as", "said"),
    [
        (Storage.LITERAL, "", None, Verdict.VIOLATED),
        (Storage.REFERENCE, "env://KEY", None, Verdict.MET),
        (Storage.TOKEN_STORE, "", None, Verdict.NOT_APPLICABLE),
        (Storage.PROVIDER, "", None, Verdict.UNKNOWN),
        (Storage.PROVIDER, "aws-sm://app", None, Verdict.MET),
        (Storage.PROVIDER, "", Storage.REFERENCE, Verdict.MET),
    ],
)
def test_where_a_policy_wants_references_a_literal_violates_it(full, storage, reference, held_as, said):
    policy(requires_reference=True)
    mine = factories.credential(storage=storage, reference=reference)
    if held_as:
        factories.use(mine, held_as=held_as)
    full()
    assert judged("kept-as-literal") == said


def test_a_literal_that_was_seen_violates_whatever_else_is_known(full):
    policy(requires_reference=True)
    factories.exposure(factories.credential(storage=Storage.TOKEN_STORE))
    full()
    said = finding_of("kept-as-literal").title_now(NOW)
    assert said == "Written down in 1 file; the policy wants a reference"


def test_without_such_a_policy_nobody_asks_for_references(full):
    policy()
    factories.credential(storage=Storage.LITERAL)
    full()
    assert judged("kept-as-literal") == Verdict.NOT_APPLICABLE


# ── Scope not allowed ──────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("scopes", "said"),
    [
        (["read"], Verdict.MET),
        (["repo:status", "read"], Verdict.MET),
        (["repo"], Verdict.VIOLATED),
        (["re*d"], Verdict.VIOLATED),
        ([], Verdict.UNKNOWN),
    ],
)
def test_a_scope_is_allowed_by_its_name_or_by_how_it_begins(full, scopes, said):
    policy(allowed_scopes=["read", "repo:*"])
    factories.credential(kind=CredentialKind.OAUTH_ACCESS_TOKEN, scopes=scopes)
    full()
    assert judged("scope-not-allowed") == said


def test_scopes_that_are_not_allowed_are_named(full):
    policy(allowed_scopes=["read"])
    factories.credential(scopes=["write", "admin", "read", "delete"])
    full()
    said = finding_of("scope-not-allowed").title_now(NOW)
    assert said == "Carries admin, delete and 1 more, which the policy does not allow"


@pytest.mark.parametrize("allowed", [[], ["read"]])
def test_what_has_no_scopes_or_no_such_policy_is_not_asked_for_them(full, allowed):
    policy(allowed_scopes=allowed)
    factories.credential(scopes=[] if allowed else ["write"])
    full()
    assert judged("scope-not-allowed") == Verdict.NOT_APPLICABLE


# ── Review overdue ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("reviewed", "seen", "said"),
    [
        (None, 100 * DAY, Verdict.VIOLATED),
        (None, 10 * DAY, Verdict.UNKNOWN),
        (10 * DAY, 100 * DAY, Verdict.MET),
        (90 * DAY, 100 * DAY, Verdict.VIOLATED),
    ],
)
def test_a_review_is_overdue_when_nobody_confirmed_it_within_the_interval(full, reviewed, seen, said):
    policy(review_interval=90 * DAY)
    factories.credential(reviewed_at=reviewed and NOW - reviewed, first_seen_at=NOW - seen)
    full()
    assert judged("review-overdue") == said


def test_a_review_becomes_due_as_time_passes(full, changed, large):
    policy(review_interval=90 * DAY)
    factories.credential(reviewed_at=NOW - 90 * DAY + HOUR, reviewed_by="Mira")
    full()
    assert Obligation.objects.get().review_by == NOW + HOUR
    assert not changed(NOW + HOUR).is_full
    said = finding_of("review-overdue").title_now(NOW + HOUR)
    assert said == "Confirmed 90 days ago; the policy asks for it every 90 days"


# ── Valid after revocation ─────────────────────────────────────────────────────────────────────
def destroyed(of, *, at=NOW - 10 * DAY, **values) -> CredentialVersion:
    said = {"external_id": of.external_id, "fingerprint": of.fingerprint, "first_seen_at": NOW - 50 * DAY, **values}
    return CredentialVersion.objects.create(credential=of, is_current=False, destroyed_at=at, **said)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"status": CredentialStatus.ACTIVE}, Verdict.VIOLATED),
        ({"status": CredentialStatus.SUSPENDED}, Verdict.UNKNOWN),
        ({"status": CredentialStatus.UNKNOWN, "storage": Storage.LITERAL}, Verdict.UNKNOWN),
        ({"status": CredentialStatus.UNKNOWN, "last_used_at": NOW - 9 * DAY}, Verdict.VIOLATED),
        ({"status": CredentialStatus.DESTROYED, "last_used_at": NOW - 9 * DAY}, Verdict.VIOLATED),
        ({"status": CredentialStatus.DESTROYED, "last_used_at": NOW - 11 * DAY}, Verdict.NOT_APPLICABLE),
    ],
)
def test_a_value_that_was_destroyed_is_valid_when_it_is_listed_alive_or_used(full, values, said):
    issued = {"issued_at": NOW - 50 * DAY, "external_id": "id-1", "last_used_at": NOW - 20 * DAY}
    destroyed(factories.credential(**{**issued, **values}))
    full()
    assert judged("valid-after-revocation") == said


@pytest.mark.parametrize(
    "other",
    [
        {"fingerprint": "kf1:00"},
        {"external_id": "id-0", "fingerprint": ""},
        {"at": NOW - 60 * DAY},  # what is there now was issued later, under the same id
    ],
)
def test_another_value_in_the_slot_of_a_destroyed_one_is_no_sign_of_it(full, other):
    mine = factories.credential(external_id="id-1", fingerprint="kf1:11", issued_at=NOW - 50 * DAY)
    destroyed(mine, **other)
    full()
    assert judged("valid-after-revocation") == Verdict.MET


def test_what_was_used_after_its_end_is_judged_by_every_rule(full):
    mine = factories.credential(
        external_id="id-1", issued_at=NOW - 50 * DAY, status=CredentialStatus.DESTROYED, last_used_at=NOW - 2 * DAY
    )
    destroyed(mine)
    full()
    assert set(Finding.objects.values_list("rule", flat=True)) >= {"valid-after-revocation", "no-owner"}
    assert finding_of("valid-after-revocation").title_now(NOW) == "Destroyed 10 days ago, and used after that"


# ── Revocation overdue ─────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("since", "said"), [(7 * DAY, Verdict.VIOLATED), (6 * DAY, Verdict.MET)])
def test_what_is_suspended_is_destroyed_within_a_week(full, since, said):
    mine = factories.credential(status=CredentialStatus.SUSPENDED)
    CredentialVersion.objects.create(credential=mine, first_seen_at=NOW - 50 * DAY, suspended_at=NOW - since)
    full()
    assert judged("revocation-overdue") == said


@pytest.mark.parametrize(
    ("left", "said"),
    [(NOW - DAY, Verdict.VIOLATED), (NOW - DAY / 2, Verdict.MET), (None, Verdict.UNKNOWN)],
)
def test_what_belongs_to_somebody_who_left_is_revoked_within_a_day(full, left, said):
    factories.credential(owner=factories.owner(is_active=False, inactive_since=left))
    full()
    assert judged("revocation-overdue") == said


def test_what_only_removed_clients_use_is_overdue(full):
    mine = factories.credential()
    factories.use(mine, client=factories.client(admission=Admission.REMOVED))
    full()
    assert finding_of("revocation-overdue").title_now(NOW).startswith("The client it was issued to was removed")
    factories.use(mine)
    full()
    assert judged("revocation-overdue") == Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(("principal", "said"), [("one", Verdict.VIOLATED), ("two", Verdict.NOT_APPLICABLE)])
def test_what_was_issued_to_a_removed_client_is_overdue(full, principal, said):
    issuer = factories.authorization_server()
    factories.client(authorization_server=issuer, client_id="one", admission=Admission.REMOVED)
    factories.credential(kind=CredentialKind.OAUTH_REFRESH_TOKEN, issuer=issuer.issuer, principal=principal)
    full()
    assert judged("revocation-overdue") == said


def test_a_suspension_and_an_owners_leaving_become_due_as_time_passes(full, changed, large):
    mine = factories.credential(status=CredentialStatus.SUSPENDED)
    CredentialVersion.objects.create(credential=mine, first_seen_at=NOW - 50 * DAY, suspended_at=NOW - 7 * DAY + HOUR)
    factories.credential(owner=factories.owner(is_active=False, inactive_since=NOW - DAY + HOUR))
    full()
    assert not Finding.objects.filter(rule="revocation-overdue").exists()
    assert not changed(NOW + HOUR).is_full
    assert Finding.objects.filter(rule="revocation-overdue").count() == 2


# ── Its user has left ──────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("Left@example.org", Verdict.VIOLATED),
        ("E-7", Verdict.VIOLATED),
        ("here@example.org", Verdict.MET),
        ("nobody", Verdict.UNKNOWN),
        ("", Verdict.UNKNOWN),
    ],
)
def test_a_token_of_a_user_who_left_is_found_by_address_or_id(full, subject, said):
    factories.owner(email="left@example.org", external_id="E-7", is_active=False)
    factories.owner(email="here@example.org")
    factories.credential(trust_model=TrustModel.USER_CONSENTED, subject=subject)
    full()
    assert judged("subject-inactive") == said


def test_what_no_user_consented_to_has_no_user_who_could_leave(full):
    factories.credential(subject="left@example.org")
    full()
    assert judged("subject-inactive") == Verdict.NOT_APPLICABLE


# ── Stalled operation ──────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("stage", "said"), [(RemovalStage.STALLED, Verdict.VIOLATED), (RemovalStage.WAITING, Verdict.MET)]
)
def test_a_removal_that_gave_up_waits_for_somebody(full, stage, said):
    leaving = factories.client(registration=Registration.DYNAMIC, owner=factories.owner())
    ClientRemoval.objects.create(
        client=leaving, stage=stage, stage_at=NOW - 2 * DAY, announced_at=NOW - 9 * DAY, quiet=7 * DAY, reason="dead",
        requested_by="Mira", error="It answered 403.",
    )  # fmt: skip
    full()
    assert judged("stalled-operation") == said
    if said == Verdict.VIOLATED:
        assert finding_of("stalled-operation").title_now(NOW) == "Its removal has waited for somebody for 2 days"


def test_a_client_that_is_not_being_removed_cannot_stall(full):
    factories.client()
    full()
    assert judged("stalled-operation") == Verdict.NOT_APPLICABLE


# ── Logging missing ────────────────────────────────────────────────────────────────────────────
def recorded(server, happening, is_logged=True, trust_model=TrustModel.STATIC_SERVICE) -> LoggingRecord:
    return LoggingRecord.objects.create(
        server=server, trust_model=trust_model, happening=happening, is_logged=is_logged,
        evidence="index=mcp" if is_logged else "", recorded_by="Mira", recorded_at=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("issuance", "revocation", "said"),
    [
        (True, True, Verdict.MET),
        (True, False, Verdict.VIOLATED),
        (None, False, Verdict.VIOLATED),
        (True, None, Verdict.UNKNOWN),
        (None, None, Verdict.UNKNOWN),
    ],
)
def test_a_server_logs_what_the_policies_of_its_credentials_ask(full, issuance, revocation, said):
    policy(logging=["issuance", "revocation"])
    server = factories.server()
    factories.use(factories.credential(), server=server)
    for happening, is_logged in ((Logged.ISSUANCE, issuance), (Logged.REVOCATION, revocation)):
        if is_logged is not None:
            recorded(server, happening, is_logged)
    full()
    assert judged("logging-missing") == said


def test_what_is_logged_of_one_trust_model_says_nothing_of_another(full):
    policy(logging=["issuance"])
    server = factories.server()
    for trust_model in (TrustModel.STATIC_SERVICE, TrustModel.USER_CONSENTED):
        factories.use(factories.credential(trust_model=trust_model), server=server)
    recorded(server, Logged.ISSUANCE)
    full()
    assert judged("logging-missing") == Verdict.UNKNOWN
    recorded(server, Logged.ISSUANCE, is_logged=False, trust_model=TrustModel.USER_CONSENTED)
    full()
    found = finding_of("logging-missing")
    assert found.title_now(NOW) == "Does not log issuance (user consented)"
    assert found.severity == Severity.MEDIUM


@pytest.mark.parametrize("is_used", [True, False])
def test_a_server_is_asked_for_no_log_without_such_a_policy_or_without_credentials(full, is_used):
    policy(logging=[] if is_used else ["issuance"])
    server = factories.server()
    if is_used:
        factories.use(factories.credential(), server=server)
    full()
    assert judged("logging-missing") == Verdict.NOT_APPLICABLE


# ── What is looked at again ────────────────────────────────────────────────────────────────────
def test_a_server_is_looked_at_again_when_another_policy_binds_a_credential_used_on_it(full, changed, large, operator):
    prod = factories.environment("prod")
    policy(logging=["issuance"], environments=[prod.pk])
    server, mine = factories.server(), factories.credential()
    factories.use(mine, server=server)
    recorded(server, Logged.ISSUANCE, is_logged=False)
    full()
    assert judged("logging-missing") == Verdict.NOT_APPLICABLE
    assign_environment(Credential.objects.filter(pk=mine.pk), prod, actor=operator)
    assert not changed(NOW + HOUR).is_full
    assert finding_of("logging-missing").server == server
    assign_environment(Credential.objects.filter(pk=mine.pk), None, actor=operator)
    changed(NOW + 2 * HOUR)
    assert not Finding.objects.unresolved().filter(rule="logging-missing").exists()


def test_what_a_client_was_issued_is_looked_at_again_when_it_is_removed(full, changed, large, operator):
    issuer = factories.authorization_server()
    client = factories.client(
        authorization_server=issuer, client_id="one", registration=Registration.DYNAMIC, admission=Admission.SUSPENDED
    )
    issued = factories.credential(kind=CredentialKind.OAUTH_REFRESH_TOKEN, issuer=issuer.issuer, principal="one")
    used = factories.credential()
    factories.use(used, client=client)
    full()
    assert not Finding.objects.filter(rule="revocation-overdue").exists()

    @action
    def remove() -> None:
        move([client], Admission.REMOVED, Event.CLIENT_REMOVED, actor=operator, now=NOW, reason="dead")

    remove()
    assert not changed(NOW + HOUR).is_full
    found = Finding.objects.filter(rule="revocation-overdue").values_list("credential", flat=True)
    assert set(found) == {issued.pk, used.pk}


def test_the_tokens_of_a_user_are_looked_at_again_when_they_leave(full, changed, large, operator):
    user = factories.owner(email="mira@example.org")
    factories.credential(trust_model=TrustModel.USER_CONSENTED, subject="Mira@example.org")
    full()
    change_owner(user, actor=operator, now=NOW, is_active=False)
    assert not changed(NOW + HOUR).is_full
    assert finding_of("subject-inactive").title_now(NOW) == "Acts for Mira@example.org, who has left"


def test_a_feed_that_says_who_left_has_everything_looked_at(full, changed, large):
    factories.owner(email="mira@example.org", external_id="E-7")
    factories.credential(trust_model=TrustModel.USER_CONSENTED, subject="e-7")
    to = feed()
    full()
    deliver(to, {"type": "owner", "name": "Mira", "external_id": "E-7", "is_active": False})
    assert changed(NOW + HOUR).is_full
    assert finding_of("subject-inactive").severity == Severity.HIGH
