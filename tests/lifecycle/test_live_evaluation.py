"""The incremental evaluation over the live estate: what comes due by itself, and what events name."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from inventory.actions.ownership import change_owner, create_owner
from inventory.models import (
    AuthorizationServer,
    Connection,
    Credential,
    Grant,
    McpClient,
    McpServer,
    PostureCheck,
    Tool,
)
from inventory.states import (
    Admission,
    ConnectionKind,
    Hygiene,
    OwnerKind,
    Registration,
    RunState,
    Severity,
    Transport,
    TrustModel,
    Verdict,
)
from lifecycle.actions import evaluation
from lifecycle.models import EvaluationMark, Finding, Obligation
from tests import factories
from tests.examples import SHARED_FIXTURE, examples
from tests.factories import NOW

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SOMEBODY = Actor.system("test")
LATER = NOW + timedelta(minutes=5)


@action
def touch(subject: object, *, event: Event, **detail: object) -> None:
    """An audit entry as an action of the inventory leaves it."""
    record(event, actor=Actor.system("test"), subject=subject, detail=detail)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def large_estate(monkeypatch):
    """Where incremental evaluations pay: in a small estate every one of them is full."""
    monkeypatch.setattr(evaluation, "SMALL_ESTATE", 0)
    Credential.objects.filter(pk=factories.credential().pk).update(owner=factories.owner())


def unresolved() -> set[str]:
    return set(Finding.objects.unresolved().values_list("rule", flat=True))


def remote(**values) -> McpServer:
    return factories.server(**{"transport": Transport.HTTP, "url": "https://mcp.example.org/mcp", **values})


# ── Time alone ─────────────────────────────────────────────────────────────────────────────────
def test_time_alone_makes_a_quarantine_too_long_and_then_worse(full, changed):
    client = factories.client(
        registration=Registration.DYNAMIC, admission=Admission.QUARANTINED, first_seen_at=NOW - 7 * DAY + HOUR
    )
    full()
    result = changed(NOW + HOUR)
    assert (result.is_full, result.subjects) == (False, 1)
    assert Finding.objects.get(rule="dynamic-client-unreviewed").client == client
    EvaluationMark.objects.update(full_at=NOW + 23 * DAY, evaluated_at=NOW + 23 * DAY)
    changed(NOW + 23 * DAY + HOUR)
    found = Finding.objects.get(rule="dynamic-client-unreviewed")
    # High by then, which allows seven days; and it has been open for more than twice that.
    assert (found.severity, found.raised_by) == (Severity.CRITICAL, ["past_due"])


def test_time_alone_ends_a_grant_for_the_server_and_the_tokens_used_there(full, changed):
    token = factories.credential(kind="oauth_access_token", scopes=["a:read"], expires_at=NOW + 90 * DAY)
    use = factories.use(token, server=remote())
    factories.tool(use.server, "look", is_read_only=True)
    factories.grant(use.client, use.server, tools=["look"], scopes=["a:read"], ends_at=NOW + HOUR)
    full()
    assert not {"tool-surface-ungranted", "scope-not-granted"} & unresolved()
    result = changed(NOW + HOUR)
    assert (result.is_full, result.subjects) == (False, 2)
    assert {"tool-surface-ungranted", "scope-not-granted"} <= unresolved()


def test_time_alone_makes_a_probe_too_old(full, changed):
    server = remote(probed_at=NOW - 30 * DAY + HOUR)
    full()
    assert changed(NOW + HOUR).subjects == 1
    assert Finding.objects.get(rule="server-not-probed").server == server


def test_time_alone_makes_a_connection_miss_its_syncs(full, changed):
    mine = factories.connection(last_complete_at=NOW - HOUR)
    full()
    result = changed(NOW + HOUR)
    assert (result.is_full, result.subjects) == (False, 1)
    assert Finding.objects.get(rule="connection-not-synced").connection == mine


# ── Events ─────────────────────────────────────────────────────────────────────────────────────
def test_a_sync_that_succeeds_resolves_what_it_was_late_for(full, changed):
    mine = factories.connection(last_complete_at=NOW - DAY)
    full()
    Connection.objects.filter(pk=mine.pk).update(last_complete_at=NOW)
    touch(mine, event=Event.CONNECTION_SYNCED, run=str(factories.run(mine, RunState.COMPLETE).pk), changes={})
    assert not changed(LATER).is_full
    assert "connection-not-synced" not in unresolved()


def test_a_connection_that_is_switched_off_is_no_longer_late(full, changed):
    mine = factories.connection(last_complete_at=NOW - DAY)
    full()
    Connection.objects.filter(pk=mine.pk).update(is_enabled=False)
    touch(mine, event=Event.CONNECTION_CHANGED)
    assert changed(LATER).subjects == 1
    assert "connection-not-synced" not in unresolved()


def test_a_client_that_is_admitted_is_no_longer_unreviewed(full, changed):
    client = factories.client(registration=Registration.DYNAMIC, admission=Admission.QUARANTINED)
    full()
    McpClient.objects.filter(pk=client.pk).update(admission=Admission.ADMITTED, owner=factories.owner())
    touch(client, event=Event.CLIENT_OWNER_ASSIGNED)
    assert changed(LATER).subjects == 1
    assert not {"dynamic-client-unreviewed", "client-owner-missing"} & unresolved()


def test_an_owner_who_left_is_missed_on_their_clients(full, changed):
    leaver = factories.owner()
    factories.client(registration=Registration.DYNAMIC, owner=leaver)
    full()
    leaver.is_active = False
    leaver.save()
    touch(leaver, event=Event.OWNER_CHANGED)
    assert changed(LATER).subjects == 1
    assert "client-owner-missing" in unresolved()


def test_a_grant_that_is_approved_covers_at_once(full, changed):
    use = factories.use(None, server=remote())
    factories.tool(use.server, "look", is_read_only=True)
    full()
    grant = factories.grant(use.client, use.server, tools=["look"])
    touch(grant, event=Event.GRANT_APPROVED)
    assert changed(LATER).subjects == 1
    assert "tool-surface-ungranted" not in unresolved()


def test_an_answer_about_an_authorization_server_is_looked_at_on_the_servers_behind_it(full, changed):
    issuer = factories.authorization_server()
    remote(authorization_server=issuer)
    full()
    factories.check(issuer, "MCP-AS-04", Verdict.VIOLATED, Severity.HIGH)
    touch(issuer, event=Event.AUTHORIZATION_SERVER_CHECK_ANSWERED)
    assert changed(LATER).subjects == 1
    assert "issuer-posture-violations" in unresolved()


def test_a_probe_by_one_connection_is_looked_at_on_servers_that_another_one_listed(full, changed):
    server, issuer = remote(), factories.authorization_server()
    behind, client = remote(authorization_server=issuer), factories.client(registration=Registration.CIMD)
    full()
    prober = factories.connection(kind=ConnectionKind.MCP_SERVER)
    run = factories.run(prober, RunState.COMPLETE, started_at=NOW, finished_at=NOW + HOUR)
    for subject, check in ((server, "MCP-RS-05"), (issuer, "MCP-AS-04"), (client, "MCP-CL-06")):
        factories.check(subject, check, Verdict.VIOLATED, Severity.HIGH, checked_at=NOW + HOUR)
    touch(prober, event=Event.CONNECTION_SYNCED, run=str(run.pk), changes={"checks_changed": 3})
    result = changed(NOW + HOUR)
    assert not result.is_full
    assert set(Finding.objects.filter(rule__endswith="posture-violations").values_list("server", "client")) == {
        (server.pk, None),
        (behind.pk, None),
        (None, client.pk),
    }


def test_a_probe_that_says_the_same_resolves_that_nobody_probed(full, changed):
    server = remote(probed_at=NOW - 31 * DAY)
    full()
    prober = factories.connection(kind=ConnectionKind.MCP_SERVER)
    McpServer.objects.filter(pk=server.pk).update(probed_at=NOW)
    touch(prober, event=Event.CONNECTION_SYNCED, run=str(factories.run(prober, RunState.COMPLETE).pk), changes={})
    assert not changed(LATER).is_full
    assert "server-not-probed" not in unresolved()


# ── Whatever happens ───────────────────────────────────────────────────────────────────────────
def _admit(client, _server, _prober) -> None:
    McpClient.objects.filter(pk=client.pk).update(admission=Admission.ADMITTED, hygiene=Hygiene.DEAD)
    touch(client, event=Event.CLIENT_OWNER_ASSIGNED)


def _grant(client, server, _prober) -> None:
    Grant.objects.filter(client=client, server=server).update(withdrawn_at=NOW, withdrawn_by="Mira")
    names = list(Tool.objects.filter(server=server).values_list("name", flat=True)[:1])
    touch(factories.grant(client, server, tools=names, scopes=["a:read"]), event=Event.GRANT_APPROVED)


def _probe(_client, server, prober) -> None:
    run = factories.run(prober, RunState.COMPLETE, started_at=NOW, finished_at=LATER)
    McpServer.objects.filter(pk=server.pk).update(probed_at=LATER, authorization_server=_issuer())
    PostureCheck.objects.filter(server=server).update(verdict=Verdict.MET, checked_at=LATER)
    factories.check(_issuer(), f"MCP-AS-{run.pk}"[:40], Verdict.VIOLATED, Severity.HIGH, checked_at=LATER)
    Tool.objects.filter(server=server).update(schema_digest="e" * 64, changed_at=LATER)
    touch(prober, event=Event.CONNECTION_SYNCED, run=str(run.pk), changes={"checks_changed": 1})


def _fail(_client, _server, prober) -> None:
    runs = [factories.run(prober, RunState.FAILED) for _ in range(3)]
    touch(prober, event=Event.CONNECTION_SYNCED, run=str(runs[-1].pk))


def _issuer() -> AuthorizationServer:
    return AuthorizationServer.objects.get()


@settings(max_examples=examples(15), deadline=None, suppress_health_check=SHARED_FIXTURE)
@given(
    ages=st.tuples(st.integers(0, 40), st.none() | st.integers(0, 40), st.integers(1, 400), st.integers(0, 30)),
    events=st.lists(st.sampled_from([_admit, _grant, _probe, _fail]), max_size=3, unique=True),
    minutes=st.integers(5, 1_400),
)
def test_whatever_happens_the_incremental_evaluation_overlooks_nothing(full, changed, ages, events, minutes):
    quarantined, probed, granted, synced = ages  # days, days, hours until it ends, hours
    with transaction.atomic():
        issuer = factories.authorization_server()
        prober = factories.connection(kind=ConnectionKind.MCP_SERVER, last_complete_at=NOW - synced * HOUR)
        client = factories.client(
            registration=Registration.DYNAMIC,
            admission=Admission.QUARANTINED,
            first_seen_at=NOW - quarantined * DAY + HOUR,
        )
        server = remote(
            probed_at=None if probed is None else NOW - probed * DAY + HOUR,
            authorization_server=issuer if granted % 2 else None,
            first_seen_at=NOW - 30 * DAY + HOUR,
        )
        key = factories.credential(expires_at=NOW + 90 * DAY)
        token = factories.credential(
            kind="oauth_access_token", scopes=["a:read", "a:write"], expires_at=NOW + timedelta(hours=granted)
        )
        for credential in (key, token):
            factories.use(credential, client=client, server=server)
        factories.tool(server, "look", is_read_only=True, approved_digest="d" * 64, schema_digest="d" * 64)
        factories.tool(server, "drop", is_destructive=True)
        factories.check(server, "MCP-RS-05", Verdict.VIOLATED, Severity.HIGH, checked_at=NOW - DAY)
        factories.grant(client, server, tools=["drop", "look"], ends_at=NOW + timedelta(hours=granted))
        full()
        for happen in events:
            happen(client, server, prober)
        later = NOW + timedelta(minutes=minutes)
        assert not changed(later).is_full
        assert full(later).changed == 0
        transaction.set_rollback(True)


# ── Who a token acts for ───────────────────────────────────────────────────────────────────────
def _acts_for(email: str) -> Credential:
    return factories.credential(trust_model=TrustModel.USER_CONSENTED, subject=email)


def test_whoever_is_called_otherwise_is_no_longer_who_a_token_acts_for(full, changed):
    _acts_for("old@example.org")
    left = factories.owner(email="old@example.org", is_active=False)
    full()
    assert "subject-inactive" in unresolved()
    change_owner(left, actor=SOMEBODY, now=LATER, reason="Married.", email="new@example.org")
    create_owner(kind=OwnerKind.PERSON, name="Old", email="old@example.org", actor=SOMEBODY)
    changed(LATER)
    assert "subject-inactive" not in unresolved()


def test_a_new_owner_may_be_who_a_token_acts_for(full, changed):
    _acts_for("old@example.org")
    left = factories.owner(email="old@example.org", is_active=False)
    full()
    left.email = ""
    left.save()
    changed(LATER)
    assert "subject-inactive" in unresolved()  # nobody can tell
    create_owner(kind=OwnerKind.PERSON, name="Old", email="old@example.org", actor=SOMEBODY)
    changed(LATER)
    assert "subject-inactive" not in unresolved()


def test_a_date_beyond_the_last_is_the_last(full):
    """Nothing of ours could read what the database can reckon."""
    ever = datetime(9999, 12, 31, tzinfo=UTC)
    made = factories.credential(issued_at=ever, last_used_at=ever)
    full()
    obligation = Obligation.objects.get(credential=made)
    assert obligation.rotate_by.year == obligation.stale_at.year == 9999
