"""A kill switch: what it reaches, who may pull it, and that it ends whatever happens in between."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from access.actors import Actor, ActorKind
from access.roles import Role
from audit.models import AuditEntry
from inventory.models import Credential, CredentialVersion
from inventory.states import ConnectionKind, CredentialStatus
from lifecycle import batching
from lifecycle.actions import batches
from lifecycle.errors import (
    BatchByRequester,
    BatchTooLarge,
    KeyOfAnotherRequest,
    LateNeedsAnother,
    NotAnOperator,
    NothingBehind,
)
from lifecycle.models import Batch, BatchItem, OperatingLimits, Operation, StepAttempt
from lifecycle.models.reports import progress, report_of, standing_out
from lifecycle.models.scopes import Scope, behind
from lifecycle.states import (
    AttemptOutcome,
    BatchState,
    ItemState,
    OperationKind,
    OperationState,
    Proof,
    ScopeKind,
    Step,
)
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


@pytest.fixture
def colleague() -> Actor:
    return Actor(ActorKind.USER, "8", "Otto Lang", frozenset({Role.OPERATOR}), user_id=None)


@pytest.fixture
def cloud() -> Any:
    return factories.connection(kind=ConnectionKind.AWS, name="cloud")


def clock() -> Any:
    return NOW


def carried(batch: Batch) -> Batch:
    batching.carry_on(batch, clock=clock, ring=list)
    batch.refresh_from_db()
    return batch


def keys(number: int, **values: Any) -> list[Credential]:
    return [factories.credential(**values) for _ in range(number)]


def ended(operation: Operation, *, after: int = 5, proof: Proof = Proof.VERIFIED) -> None:
    at = NOW + after * SECOND
    Operation.objects.filter(pk=operation.pk).update(
        state=OperationState.COMPLETED, step=Step.VERIFY_GONE, proof=proof, proof_reason="It was refused.",
        refused_at=at if proof == Proof.VERIFIED else None, closed_at=at, due_at=None,
        verify_by=NOW + timedelta(days=7) if proof == Proof.UNVERIFIABLE else None,
    )  # fmt: skip


def of(kind: ScopeKind, row: Any) -> Scope:
    return Scope.around(kind, row)


# ── What it reaches ────────────────────────────────────────────────────────────────────────────


def test_behind_each_scope_lies_what_is_alive_there(operator: Actor, cloud: Any) -> None:
    server, client, owner = factories.server(), factories.client(), factories.owner(email="ana@halden.example")
    used = factories.credential(connection=cloud)
    factories.use(used, client=client, server=server)
    mine = factories.credential(owner=owner)
    kept = factories.credential(custodian=owner)
    consented = factories.credential(trust_model="user_consented", subject="Ana@halden.example")
    factories.use(factories.credential(status=CredentialStatus.DESTROYED), client=client, server=server)
    factories.use(factories.credential(), client=client, server=server, gone_at=NOW, last_seen_at=NOW)
    assert behind(of(ScopeKind.SERVER, server), operator) == [used.pk]
    assert behind(of(ScopeKind.CLIENT, client), operator) == [used.pk]
    assert behind(of(ScopeKind.CONNECTION, cloud), operator) == [used.pk]
    assert behind(of(ScopeKind.OWNER, owner), operator) == sorted([mine.pk, kept.pk, consented.pk])


def test_behind_a_person_lies_what_their_clients_use_and_what_acts_for_them(operator: Actor) -> None:
    ana = factories.owner(name="Ana", email="ana@halden.example")
    issuer = factories.connection(kind=ConnectionKind.OAUTH)
    desk = factories.client(owner=ana, connection=issuer, client_id="app-1", registration="dynamic")
    registered = factories.credential(connection=issuer, principal="app-1")
    used = factories.credential()
    factories.use(used, client=desk)
    token = factories.credential(subject="ANA@halden.example")
    factories.credential(owner=ana)  # answered for, and used by nobody
    factories.use(factories.credential(), client=factories.client(owner=ana, gone_at=NOW, last_seen_at=NOW))
    assert behind(of(ScopeKind.PERSON, ana), operator) == sorted([registered.pk, used.pk, token.pk])


def test_behind_somebody_whom_nobody_recorded_lies_what_acts_for_them(operator: Actor) -> None:
    token = factories.credential(subject="Guest@elsewhere.example")
    factories.credential(subject="another@elsewhere.example")
    assert behind(Scope.called("guest@elsewhere.example"), operator) == [token.pk]


def test_one_secret_that_is_known_twice_is_reached_by_both_its_names(operator: Actor, cloud: Any) -> None:
    leaked = "kf1:" + "a" * 32
    at_provider = factories.credential(connection=cloud, fingerprint=leaked)
    in_a_file = factories.credential(fingerprint=leaked)
    both = sorted([at_provider.pk, in_a_file.pk])
    assert behind(of(ScopeKind.CONNECTION, cloud), operator) == both
    assert behind(Scope(ScopeKind.FINGERPRINT, leaked, "a leaked value"), operator) == both


def test_a_registered_client_is_followed_to_its_secret_at_the_issuer(operator: Actor) -> None:
    issuer = factories.connection(kind=ConnectionKind.OAUTH)
    client = factories.client(connection=issuer, client_id="app-1", registration="dynamic")
    secret = factories.credential(connection=issuer, principal="app-1")
    factories.credential(principal="app-1")  # of that name elsewhere
    assert behind(of(ScopeKind.CLIENT, client), operator) == [secret.pk]


def test_the_preview_says_who_loses_what_and_how_soon_it_would_be_known(operator: Actor, cloud: Any) -> None:
    owner, client = factories.owner(), factories.client(name="desk")
    prod = factories.environment("prod")
    server = factories.server(name="tickets", environment=prod)
    asked = keys(3, connection=cloud, kind="aws_access_key", owner=owner)
    by_hand = factories.credential()
    for each in (*asked, by_hand):
        factories.use(each, client=client, server=server)
    past = factories.credential(connection=cloud, kind="aws_access_key", status=CredentialStatus.DESTROYED)
    Operation.objects.create(
        kind=OperationKind.REVOCATION, credential=past, connection=cloud, state=OperationState.COMPLETED,
        step=Step.VERIFY_GONE, proof=Proof.VERIFIED, proof_reason="Refused.", is_urgent=True, reason="leak",
        requested_by="Mira", requested_by_key="user:7", requested_at=NOW - timedelta(days=1), step_at=NOW,
        refused_at=NOW - timedelta(days=1) + 8 * SECOND, closed_at=NOW, overlap=timedelta(0), quiet=timedelta(0),
    )  # fmt: skip
    seen = batches.request_batch(of(ScopeKind.SERVER, server), actor=operator, now=NOW, reason="leak").preview
    assert (seen["credentials"], seen["in_production"], seen["can_be_asked"], seen["by_hand"]) == (4, 4, 3, 1)
    assert seen["owners"]["first"] == [{"id": str(owner.pk), "name": owner.name, "number": 3}]
    assert seen["without_owner"] == 1
    assert [each["name"] for each in seen["clients"]["first"]] == ["desk"]
    assert seen["paths"][0]["server"] == "tickets"
    hops = {hop["name"]: hop for hop in seen["hops"]}
    assert (hops["cloud"]["first_refused_in"], hops["cloud"]["last_refused_in"]) == (8, 16)  # two at once
    assert hops["cloud"]["basis"] == "median of 1 revocations there in the last 180 days"
    assert hops[by_hand.connection.name]["first_refused_in"] is None


# ── Who may ──────────────────────────────────────────────────────────────────────────────────


def test_an_owner_asks_for_chosen_credentials_of_theirs_and_for_nothing_else(outsider: Actor) -> None:
    me = factories.owner(user_id=outsider.user_id)
    mine, theirs, kept = factories.credential(owner=me), factories.credential(), factories.credential(custodian=me)
    chosen = Scope(ScopeKind.CREDENTIALS, ids=(str(mine.pk),))
    assert batches.request_batch(chosen, actor=outsider, now=NOW, reason="leak").size == 1
    with pytest.raises(NothingBehind):
        batches.request_batch(Scope(ScopeKind.CREDENTIALS, ids=(str(theirs.pk),)), actor=outsider, now=NOW, reason="x")
    for scope in (Scope(ScopeKind.CREDENTIALS, ids=(str(mine.pk), str(kept.pk))), of(ScopeKind.OWNER, me)):
        with pytest.raises(NotAnOperator):
            batches.request_batch(scope, actor=outsider, now=NOW, reason="leak")
    assert Batch.objects.count() == 1


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.AUDITOR])
def test_who_only_reads_pulls_no_kill_switch(role: Role, cloud: Any) -> None:
    factories.credential(connection=cloud)
    reader = Actor(ActorKind.USER, "9", "Reader", frozenset({role}), user_id=None)
    with pytest.raises(NotAnOperator):
        batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=reader, now=NOW, reason="leak")


def test_many_credentials_take_two_people(operator: Actor, colleague: Actor, cloud: Any) -> None:
    keys(25, connection=cloud)
    batch = batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak")
    assert batch.state == BatchState.REQUESTED
    assert carried(batch).begun_at is None
    assert not Operation.objects.exists()
    token = Actor(ActorKind.TOKEN, "abc", "token robot", frozenset({Role.OPERATOR}))
    with pytest.raises(BatchByRequester):
        batches.approve_batch(batch, actor=operator, now=NOW)
    for nobody in (token, Actor.system("sweeper")):
        with pytest.raises(NotAnOperator):
            batches.approve_batch(batch, actor=nobody, now=NOW)
    batches.approve_batch(batch, actor=colleague, now=NOW, reason="seen")
    assert carried(batch).decided_by == "Otto Lang"
    assert Operation.objects.filter(batch=batch).count() == 25


def test_the_database_itself_wants_two_people(operator: Actor, cloud: Any) -> None:
    keys(25, connection=cloud)
    batch = batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak")
    rows = Batch.objects.filter(pk=batch.pk)
    for wrong in ({"decided_by_key": batch.requested_by_key}, {"begun_at": NOW}):
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.update(**wrong)


def test_a_scope_that_was_halved_still_takes_two_people(operator: Actor, cloud: Any) -> None:
    made = [str(each.pk) for each in keys(26, connection=cloud)]
    first = Scope(ScopeKind.CREDENTIALS, ids=tuple(made[:13]))
    rest = Scope(ScopeKind.CREDENTIALS, ids=tuple(made[13:]))
    assert not batches.request_batch(first, actor=operator, now=NOW, reason="leak").needs_approval
    assert batches.request_batch(rest, actor=operator, now=NOW, reason="leak").needs_approval


def test_production_takes_two_people_where_the_limits_say_so(operator: Actor, cloud: Any) -> None:
    factories.credential(connection=cloud, environment=factories.environment("prod"))
    OperatingLimits.objects.create(second_person_from=None, second_person_in_production=True)
    batch = batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak")
    assert batch.approval_reason == "1 of them serve production."


# ── Running ────────────────────────────────────────────────────────────────────────────────────


def test_it_opens_one_urgent_revocation_each_with_one_entry_each(operator: Actor, cloud: Any) -> None:
    keys(3, connection=cloud)
    by_hand = factories.connection()
    other = factories.credential(connection=by_hand, fingerprint="kf1:" + "b" * 32)
    Credential.objects.filter(connection=cloud).update(fingerprint="kf1:" + "b" * 32)
    batch = carried(batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak"))
    opened = Operation.objects.filter(batch=batch)
    assert opened.count() == 4
    assert {(each.is_urgent, each.state, each.trigger) for each in opened} == {(True, "pending", "kill_switch")}
    assert [each.credential for each in opened if each.by_hand] == [other]
    entries = AuditEntry.objects.filter(event="operation.requested")
    assert {entry.subject_id for entry in entries} == {str(each.pk) for each in opened}


def test_it_takes_the_place_of_a_rotation_and_joins_a_revocation(operator: Actor, cloud: Any) -> None:
    rotating, revoking, stalled = keys(3, connection=cloud)

    def opened(credential: Credential, kind: OperationKind, state: OperationState, **values: Any) -> Operation:
        return Operation.objects.create(
            kind=kind, credential=credential, connection=cloud, state=state, step=Step.SUSPEND, reason="before",
            requested_by="Otto", requested_by_key="user:8", requested_at=NOW, step_at=NOW, overlap=timedelta(0),
            quiet=timedelta(hours=1), **values,
        )  # fmt: skip

    rotation = opened(rotating, OperationKind.ROTATION, OperationState.PENDING, due_at=NOW)
    slow = opened(
        revoking, OperationKind.REVOCATION, OperationState.WAITING, due_at=NOW + timedelta(hours=1), waits_for="time"
    )
    given_up = opened(stalled, OperationKind.REVOCATION, OperationState.STALLED, stalled_at=NOW, attempts=8)
    batch = carried(batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak"))
    for each in (rotation, slow, given_up):
        each.refresh_from_db()
    assert rotation.state == OperationState.SUPERSEDED
    assert Operation.objects.get(batch=batch).supersedes == rotation
    assert (slow.is_urgent, slow.due_at, slow.quiet) == (True, NOW, timedelta(0))
    assert (given_up.state, given_up.attempts) == (OperationState.PENDING, 0)
    assert set(BatchItem.objects.values_list("state", flat=True)) == {ItemState.OPENED}


def test_what_a_superseded_rotation_had_under_way_is_ended_with_it(operator: Actor, cloud: Any) -> None:
    (credential,) = keys(1, connection=cloud)
    rotation = Operation.objects.create(
        kind=OperationKind.ROTATION, credential=credential, connection=cloud, state=OperationState.PENDING,
        step=Step.ISSUE, reason="before", requested_by="Otto", requested_by_key="user:8", requested_at=NOW, step_at=NOW,
        overlap=timedelta(0), quiet=timedelta(0), due_at=NOW,
    )  # fmt: skip
    attempt = StepAttempt.objects.create(
        operation=rotation, step=Step.ISSUE, number=1, lease_token=uuid4(), intent={"known_versions": []}, begun_at=NOW
    )
    carried(batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak"))
    attempt.refresh_from_db()
    assert (attempt.ended_at, attempt.outcome) == (NOW, AttemptOutcome.LOST)


def test_a_crash_in_the_middle_leaves_nothing_twice_and_nothing_forgotten(
    operator: Actor, cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "AT_ONCE", 4)
    keys(10, connection=cloud)
    batch = batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak")
    rung: list[Any] = []

    class Killed(Exception):
        pass

    def dies(chunk: Any) -> None:
        rung.extend(chunk)
        raise Killed

    with pytest.raises(Killed):
        batching.carry_on(batch, clock=clock, ring=dies)
    assert progress(batch) == {"waiting": 6, "open": 4}
    real = batches._set_opened

    def half(pairs: Any) -> None:
        raise Killed  # the operations are made, and the worker dies before the commit

    monkeypatch.setattr(batches, "_set_opened", half)
    with pytest.raises(Killed):
        batches.open_next(batch, actor=operator, now=NOW)
    monkeypatch.setattr(batches, "_set_opened", real)
    assert Operation.objects.count() == 4
    carried(batch)
    carried(batch)
    assert Operation.objects.filter(batch=batch).values("credential").distinct().count() == 10
    assert Operation.objects.count() == 10


def test_it_ends_with_its_last_operation_and_keeps_the_report(operator: Actor, cloud: Any) -> None:
    keys(3, connection=cloud)
    batch = carried(batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak"))
    first, second, third = Operation.objects.order_by("pk")
    ended(first, after=3)
    ended(second, after=40)
    assert carried(batch).state == BatchState.RUNNING
    ended(third, proof=Proof.UNVERIFIABLE)
    still = factories.exposure(first.credential)
    assert carried(batch).state == BatchState.COMPLETED
    report = batch.report
    assert report["counts"] == {"verified": 2, "unverifiable": 1}
    assert report["seconds_to_refused"] == {"seen": 2, "median": 40.0, "longest": 40.0}
    assert [each["name"] for each in report["unverifiable"]] == [third.credential.name]
    assert [each["file"] for each in report["still_in_files"]] == [still.file]
    assert batch.digest == batches.digest_of(report)
    assert AuditEntry.objects.get(event="batch.completed").detail["digest"] == batch.digest


def test_what_took_longest_and_what_nobody_can_tell_stand_out_in_their_order(operator: Actor, cloud: Any) -> None:
    for name in ("quick", "slow", "unknown", "stuck"):
        factories.credential(connection=cloud, name=name)
    batch = carried(batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak"))
    by_name = {row.credential.name: row for row in Operation.objects.filter(batch=batch).select_related("credential")}
    ended(by_name["quick"], after=5)
    ended(by_name["slow"], after=40)
    ended(by_name["unknown"], proof=Proof.UNVERIFIABLE)
    Operation.objects.filter(pk=by_name["stuck"].pk).update(
        state=OperationState.STALLED, stalled_at=NOW, due_at=None, error="It refused."
    )
    slow, troubled = standing_out(batch)
    assert [str(row) for row in slow] == ["slow", "quick"]
    assert [str(row) for row in troubled] == ["unknown", "stuck"]


def test_one_that_gives_up_does_not_stop_a_kill_switch(
    operator: Actor, cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "AT_ONCE", 4)
    keys(8, connection=cloud)
    batch = batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak")
    batches.open_next(batch, actor=operator, now=NOW)
    Operation.objects.update(state=OperationState.STALLED, stalled_at=NOW, due_at=None)
    assert carried(batch).state == BatchState.RUNNING
    assert progress(batch) == {"open": 4, "stalled": 4}


def test_three_that_give_up_halt_what_is_not_urgent(
    operator: Actor, cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "WAVE", 4)
    low = keys(4, connection=cloud, environment=factories.environment("dev"))
    keys(4, connection=cloud, environment=factories.environment("prod"))
    scope = of(ScopeKind.CONNECTION, cloud)
    batch = carried(batches.request_batch(scope, actor=operator, now=NOW, reason="tidy", is_urgent=False))
    assert {each.credential_id for each in Operation.objects.all()} == {each.pk for each in low}
    Operation.objects.update(state=OperationState.STALLED, stalled_at=NOW, due_at=None)
    assert carried(batch).state == BatchState.HALTED
    assert "3 are enough" in batch.halted_reason
    batches.resume_batch(batch, actor=operator, now=NOW, reason="repaired")
    assert carried(batch).state == BatchState.RUNNING
    for each in Operation.objects.all():
        ended(each)
    carried(batch)
    assert Operation.objects.count() == 8


def test_what_has_not_begun_is_cancelled_and_what_has_begun_goes_on(operator: Actor, cloud: Any) -> None:
    keys(3, connection=cloud)
    batch = carried(batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak"))
    begun = Operation.objects.earliest("pk")
    Operation.objects.filter(pk=begun.pk).update(attempts=1, step=Step.VERIFY_REFUSED)
    assert batches.cancel_rest(batch, actor=operator, now=NOW, reason="wrong server") == 2
    assert progress(batch) == {"open": 1, "ended_otherwise": 2}
    ended(begun)
    assert carried(batch).state == BatchState.COMPLETED


def test_what_appears_meanwhile_is_offered_and_not_passed_over(operator: Actor, colleague: Actor, cloud: Any) -> None:
    keys(2, connection=cloud)
    batch = carried(batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak"))
    appeared = factories.credential(connection=cloud)
    assert batches.late(batch, operator) == [appeared.pk]
    assert batches.include_late(batch, actor=operator, now=NOW) == 1
    carried(batch)
    assert BatchItem.objects.get(credential=appeared).is_late
    keys(23, connection=cloud)
    with pytest.raises(LateNeedsAnother):
        batches.include_late(batch, actor=colleague, now=NOW)


def test_a_rotation_of_many_says_which_cannot_be_rotated(operator: Actor, cloud: Any) -> None:
    keys(1, connection=cloud)
    scope = of(ScopeKind.CONNECTION, cloud)
    batch = batches.request_batch(scope, actor=operator, now=NOW, reason="age", operation_kind=OperationKind.ROTATION)
    assert carried(batch).state == BatchState.COMPLETED
    assert BatchItem.objects.get().said == "Nobody has said where its new secret goes."


def test_the_same_key_gives_the_same_batch_and_another_scope_is_refused(operator: Actor, cloud: Any) -> None:
    keys(1, connection=cloud)
    asked = {"actor": operator, "now": NOW, "reason": "leak", "idempotency_key": "k1"}
    first = batches.request_batch(of(ScopeKind.CONNECTION, cloud), **asked)
    assert batches.request_batch(of(ScopeKind.CONNECTION, cloud), **asked) == first
    with pytest.raises(KeyOfAnotherRequest):
        batches.request_batch(of(ScopeKind.SERVER, factories.server()), **asked)


def test_a_scope_of_everything_is_refused(operator: Actor, cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keys(3, connection=cloud)
    monkeypatch.setattr("lifecycle.models.scopes.MOST", 2)
    monkeypatch.setattr(batches, "MOST", 2)
    with pytest.raises(BatchTooLarge):
        batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak")


def test_what_ended_before_its_turn_is_said_to_have_ended(operator: Actor, cloud: Any) -> None:
    (one,) = keys(1, connection=cloud)
    CredentialVersion.objects.create(credential=one, first_seen_at=NOW)
    batch = batches.request_batch(of(ScopeKind.CONNECTION, cloud), actor=operator, now=NOW, reason="leak")
    Credential.objects.update(status=CredentialStatus.DESTROYED)
    assert carried(batch).state == BatchState.COMPLETED
    assert report_of(batch, now=NOW)["lines"][0]["why_not"] == "It had ended before its turn came."
