"""Whatever happens to an estate, an evaluation of what is due or changed leaves what a full one would.

Steps are drawn and made through the actions that people and syncs use; the clock goes on, or back. After each step
everything that an evaluation writes is compared with what a full one of the same state would leave, and at the end with
what one from scratch finds.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from access.actors import Actor, ActorKind
from access.roles import Role
from audit.actions import action, record
from audit.events import Event
from inventory.actions.confirmation import confirm_credentials
from inventory.actions.connections import create_connection
from inventory.actions.dates import record_dates
from inventory.actions.grants import approve_grants, definitions_of, draft_grants, seen, withdraw_grants
from inventory.actions.logged import record_logging
from inventory.actions.ownership import (
    assign_client_owner,
    assign_environment,
    assign_owner,
    assign_server_owner,
    change_owner,
    classify_servers,
    create_owner,
)
from inventory.actions.reconcile import Reconciliation
from inventory.actions.syncs import claim, complete, fail
from inventory.actions.tags import tag_credentials
from inventory.discovery.listing import Discovered
from inventory.errors import NothingChosen
from inventory.models import Connection, Credential, Environment, Grant, McpClient, McpServer, Owner, Use
from inventory.states import ConnectionKind, Logged, OwnerKind, ServerRole, Severity, TrustModel
from lifecycle.actions import evaluation
from lifecycle.actions.evaluation import Evaluation, evaluate
from lifecycle.actions.findings import acknowledge, add_link, assign, comment
from lifecycle.actions.judging import judged
from lifecycle.actions.policies import change_policy, create_policy, retire_policy, set_rule
from lifecycle.actions.requests import request_revocation
from lifecycle.actions.waivers import approve_waivers, decline_waivers, expire_waivers, request_waiver, withdraw_waiver
from lifecycle.errors import NothingWouldChange, OperationAlreadyOpen, WaivedTooLong, WaiverCapReached
from lifecycle.models import EvaluationMark, Finding, FindingLink, Obligation, Operation, Policy, Waiver
from lifecycle.models.asked import asked_now
from lifecycle.rules import RULES, Subject
from lifecycle.states import (
    DUE_WITHIN,
    ESCALATED_AFTER,
    FindingState,
    LinkKind,
    OperationState,
    Proof,
    Raised,
    Step,
)
from tests.factories import NOW

pytestmark = pytest.mark.django_db
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
MIRA = Actor(ActorKind.USER, "7", "Mira Okafor", frozenset({Role.REVIEWER, Role.OPERATOR}), user_id=None)
OTTO = replace(MIRA, id="8", label="Otto Lindqvist")
SERVER_OWNERS = ("iam_owner", "platform_owner", "application_owner")
WHY = "Agreed with the platform team."
SUBJECTS = {Subject.CREDENTIAL: Credential, Subject.SERVER: McpServer, Subject.CLIENT: McpClient}


@dataclass
class World:
    """What steps act on. `drawn` gives them their choices."""

    drawn: Callable[[st.SearchStrategy[Any]], Any]
    now: datetime
    connections: list[Connection]
    owners: list[Owner]

    def one(self, rows: Any) -> Any:
        """One of the rows, or None."""
        found = list(rows.order_by("pk") if hasattr(rows, "order_by") else rows)
        return self.drawn(st.sampled_from(found)) if found else None

    def some(self, rows: Any) -> Any:
        """Some of the rows, as a queryset of them."""
        keys = [row.pk for row in rows.order_by("pk")]
        chosen = self.drawn(st.lists(st.sampled_from(keys), unique=True, max_size=4)) if keys else []
        return rows.model.objects.filter(pk__in=chosen)


# ── Steps ──────────────────────────────────────────────────────────────────────────────────────
SERVERS = {
    "files": {"transport": "stdio", "package": "@example/files"},
    "http": {"transport": "http", "url": "https://mcp.example.org/mcp"},
    "plain": {"transport": "http", "url": "http://mcp.corp/mcp"},
}
CALLED = ("billing@example.org", "search@example.org", "ana@example.org")  # owners, and for whom tokens act
LOGGED = tuple(Logged)[:2]
KINDS = ("api_key", "aws_access_key", "oauth_access_token", "personal_access_token")


def _place(world: World, number: int) -> Discovered:
    draw = world.drawn
    server = draw(st.sampled_from(sorted(SERVERS)))
    secret = draw(st.sampled_from(["a", "b", "c"]))
    days = st.none() | st.integers(-200, 100)
    dates = {name: draw(days) for name in ("issued_at", "last_used_at", "expires_at")}
    held = draw(st.sampled_from(["literal", "provider"]))
    return Discovered(
        file=f"/{number}.json",
        pointer=f"/mcpServers/{server}/env/TOKEN",
        host="laptop",
        client_key=f"config:{number % 2}",
        client_name=f"Client {number % 2}",
        server_key=server,
        server_name=server,
        is_disabled=draw(st.booleans()),
        credential_key=f"fp:{secret}",
        credential_name=secret,
        kind=KINDS[ord(secret) % len(KINDS)],
        issuer=draw(st.sampled_from(["GitHub", "aws", ""])),
        trust_model=draw(st.sampled_from(["static_service", "user_consented"])),
        subject=draw(st.sampled_from(["", *CALLED])),
        scopes=tuple(draw(st.lists(st.sampled_from(["a:read", "admin:*"]), unique=True, max_size=2))),
        status=draw(st.sampled_from(["active", "unknown", "destroyed"])),
        storage=held,
        is_exposed=held == "literal",
        is_readable_by_others=draw(st.sampled_from([None, False, True])),
        **{name: None if said is None else NOW + said * DAY for name, said in dates.items()},
        **SERVERS[server],
    )


def sync(world: World) -> None:
    """A connection is listed anew: a few places, some of them perhaps not readable this time."""
    connection = world.one(world.connections)
    lease = claim(connection.pk, now=world.now, actor=MIRA)
    if lease is None:
        return
    if world.drawn(st.integers(0, 5)) == 0:
        fail(lease, now=world.now, error="It did not answer.", actor=MIRA)
        return
    numbers = world.drawn(st.lists(st.integers(0, 3), unique=True, max_size=3))
    listing = Reconciliation(lease.connection, now=world.now)
    listing.open()
    try:
        listing.stage([_place(world, number) for number in numbers])
        unread = world.drawn(st.sampled_from([[], ["/0.json"]]))
        complete(lease, listing, now=world.now, done=len(numbers), problems=[], unread=unread, actor=MIRA)
    finally:
        listing.close()


def time_passes(world: World) -> None:
    world.now += timedelta(days=world.drawn(st.integers(0, 70)), hours=world.drawn(st.integers(0, 23)))


def clock_jumps_back(world: World) -> None:
    world.now -= timedelta(hours=world.drawn(st.integers(1, 30 * 24)))


def hand_over(world: World) -> None:
    owner = world.one(Owner.objects.filter(is_active=True))
    if owner is not None:
        assign_owner(world.some(Credential.objects.all()), owner, actor=MIRA, reason=WHY)
        role = world.drawn(st.sampled_from(SERVER_OWNERS))
        assign_server_owner(world.some(McpServer.objects.all()), role, owner, actor=MIRA, reason=WHY)


def leave_or_return(world: World) -> None:
    owner = world.one(Owner.objects.all())
    change_owner(owner, actor=MIRA, now=world.now, reason=WHY, is_active=not owner.is_active)


def join_or_be_renamed(world: World) -> None:
    """Somebody comes, or is called otherwise from now on: a token may act for the one or the other."""
    free = set(CALLED) - set(Owner.objects.values_list("email", flat=True))
    if not free:
        return
    called = world.drawn(st.sampled_from(sorted(free)))
    owner = world.one([*Owner.objects.order_by("pk"), None])
    if owner is None:
        create_owner(kind=OwnerKind.PERSON, name=called, email=called, actor=MIRA)
    else:
        change_owner(owner, actor=MIRA, now=world.now, reason=WHY, email=called)


def own_clients(world: World) -> None:
    owner = world.one(Owner.objects.filter(is_active=True))
    if owner is not None:
        assign_client_owner(world.some(McpClient.objects.all()), owner, actor=MIRA, reason=WHY)


def log(world: World) -> None:
    """Somebody looks into the logs of a server, or no longer knows what they saw."""
    server = world.one(McpServer.objects.all())
    if server is not None:
        record_logging(
            server,
            trust_model=world.drawn(st.sampled_from([TrustModel.STATIC_SERVICE, TrustModel.USER_CONSENTED])),
            happening=world.drawn(st.sampled_from(LOGGED)),
            is_logged=world.drawn(st.sampled_from([None, False, True])),
            evidence="The log of Monday.",
            actor=MIRA,
            now=world.now,
        )


def place(world: World) -> None:
    environment = world.one([*Environment.objects.order_by("name"), None])
    assign_environment(world.some(Credential.objects.all()), environment, actor=MIRA)
    assign_environment(world.some(McpServer.objects.all()), environment, actor=MIRA)


def classify(world: World) -> None:
    role = world.drawn(st.sampled_from(ServerRole))
    vendor = world.drawn(st.sampled_from([None, "", "Acme"]))
    classify_servers(world.some(McpServer.objects.all()), role, vendor=vendor, actor=MIRA)


def date(world: World) -> None:
    credential = world.one(Credential.objects.live())
    if credential is not None:
        days = world.drawn(st.tuples(*[st.none() | st.integers(-100, 0)] * 2, st.none() | st.integers(-5, 60)))
        issued, used, expires = (None if said is None else world.now + said * DAY for said in days)
        record_dates(
            credential, issued_at=issued, last_used_at=used, expires_at=expires, actor=MIRA, reason=WHY
        )  # fmt: skip


def tag(world: World) -> None:
    add, remove = (world.drawn(st.sets(st.sampled_from(["pci", "lab"]), max_size=1)) for _ in range(2))
    tag_credentials(world.some(Credential.objects.all()), add=add, remove=remove - add, actor=MIRA)


def confirm(world: World) -> None:
    credential = world.one(Credential.objects.live())
    if credential is not None:
        confirm_credentials([credential.pk], actor=MIRA, now=world.now, reason=WHY)


def grant(world: World) -> None:
    uses = world.some(Use.objects.present())
    if uses:
        draft_grants(uses, actor=MIRA, now=world.now, reason=WHY)
    drafts = Grant.objects.filter(approved_at=None, withdrawn_at=None)
    if drafts.exists():
        shown = seen(drafts, definitions_of(drafts.values_list("server", flat=True)))
        ends = world.now + world.drawn(st.integers(1, 80)) * DAY
        approve_grants(drafts, as_seen=shown, ends_at=ends, actor=OTTO, now=world.now, reason=WHY)


def withdraw(world: World) -> None:
    current = world.some(Grant.objects.filter(withdrawn_at=None))
    if current.exists():
        withdraw_grants(current, actor=MIRA, now=world.now, reason=WHY)


def ask(world: World) -> None:
    """A policy of one's own: a few selectors, limits and overrides."""
    draw = world.drawn
    days = st.none() | st.integers(1, 120).map(lambda number: number * DAY)
    values = {
        "name": f"Policy {Policy.objects.count()}",
        "priority": draw(st.integers(1, 20)),
        "kinds": draw(st.lists(st.sampled_from(KINDS), unique=True, max_size=2)),
        "trust_models": draw(st.sampled_from([[], ["user_consented"]])),
        "providers": draw(st.sampled_from([[], [], ["github"]])),
        "tags": draw(st.sampled_from([[], [], ["pci"]])),
        "server_roles": draw(st.sampled_from([[], [], ["mixed", "tool_endpoint"]])),
        "owners": draw(st.sampled_from([[], [], [world.owners[0].pk]])),
        "environments": draw(st.sampled_from([[], [], [Environment.objects.get(name="prod").pk]])),
        "max_age": draw(days),
        "max_idle": draw(days),
        "review_interval": draw(days),
        "max_lifetime": draw(days),
        "requires_owner": draw(st.booleans()),
        "requires_reference": draw(st.booleans()),
        "allowed_scopes": draw(st.sampled_from([[], [], ["a:*"]])),
        "logging": draw(st.lists(st.sampled_from(LOGGED), unique=True, max_size=2)),
        "requires_expiry": draw(st.booleans()),
        "overrides": draw(
            st.dictionaries(
                st.sampled_from(["no-owner", "hard-coded", "unrotated"]), st.sampled_from(["off", "low", "critical"]),
                max_size=2,
            )
        ),
    }  # fmt: skip
    create_policy(values, actor=MIRA, now=world.now, reason=WHY)


def ask_otherwise(world: World) -> None:
    policy = world.one(Policy.objects.in_force())
    if policy is not None:
        values = {
            "max_age": world.drawn(st.sampled_from([30, 300])) * DAY,
            "logging": world.drawn(st.lists(st.sampled_from(LOGGED), unique=True, max_size=2)),
            "kinds": world.drawn(st.lists(st.sampled_from(KINDS), unique=True, max_size=2)),
            "overlap": None,
        }
        with suppress(NothingWouldChange):
            change_policy(policy, values, expected_version=policy.version, actor=MIRA, now=world.now, reason=WHY)


def retire(world: World) -> None:
    policy = world.one(Policy.objects.in_force())
    if policy is not None:
        retire_policy(policy, actor=MIRA, now=world.now, reason=WHY)


def switch(world: World) -> None:
    slug = world.drawn(st.sampled_from(["no-owner", "hard-coded", "server-owner-missing", "stale"]))
    severity = world.drawn(st.sampled_from([None, Severity.LOW, Severity.CRITICAL]))
    try:
        set_rule(slug, is_on=world.drawn(st.booleans()), severity=severity, actor=MIRA, now=world.now, reason=WHY)
    except NothingWouldChange:
        return


def decide(world: World) -> None:
    """Somebody acknowledges a finding, accepts its risk for a while, or takes that back."""
    finding = world.one(Finding.objects.open())
    waiver = world.one(Waiver.objects.active())
    choice = world.drawn(st.sampled_from(["acknowledge", "waive", "withdraw", "expire"]))
    if choice == "acknowledge" and finding is not None:
        acknowledge([finding.pk], actor=MIRA, now=world.now)
    if choice == "waive" and finding is not None:
        ends = world.now + world.drawn(st.integers(1, 25)) * DAY
        waiver = request_waiver(
            finding, reason=WHY, compensating_control="Watched.", ends_at=ends, actor=MIRA, now=world.now
        )
        approve_waivers([waiver], reason=WHY, actor=OTTO, now=world.now)
    if choice == "withdraw" and waiver is not None:
        withdraw_waiver(waiver, actor=MIRA, now=world.now, reason=WHY)
    if choice == "expire":
        expire_waivers(world.now, actor=MIRA)


def work(world: World) -> None:
    """Somebody is given a finding, writes at it, and names what will resolve it: nothing that a rule looks at."""
    finding = world.one(Finding.objects.unresolved())
    if finding is not None:
        assign([finding.pk], world.one([*Owner.objects.filter(is_active=True), None]), actor=MIRA, reason=WHY)
        comment([finding.pk], "It moves in July.", actor=MIRA, now=world.now)
        number = str(FindingLink.objects.count())
        add_link(finding, kind=LinkKind.TICKET, reference=number, actor=MIRA, now=world.now)


def extend(world: World) -> None:
    """A waiver is to be followed by another; somebody else agrees or not."""
    active = world.one(Waiver.objects.active().exclude(finding__in=Waiver.objects.scheduled().values("finding")))
    if active is not None and active.ends_at > world.now:
        asked = request_waiver(
            active.finding,
            reason=WHY,
            compensating_control="Watched.",
            ends_at=active.ends_at + world.drawn(st.integers(1, 25)) * DAY,
            actor=MIRA,
            now=world.now,
            extends=active,
        )
        settle = world.drawn(st.sampled_from([approve_waivers, decline_waivers]))
        settle([asked], reason=WHY, actor=OTTO, now=world.now)


@action
def _operated(operation: Operation, event: Event, **values: Any) -> None:
    """What a worker writes of an operation, with its entry."""
    Operation.objects.filter(pk=operation.pk).update(**values)
    record(event, actor=MIRA, subject=operation)


def operate(world: World) -> None:
    """A revocation is asked for, by hand or proposed; one that is open gives up, ends unseen, or is seen refused."""
    credential = world.one(Credential.objects.live())
    if credential is not None:
        with suppress(OperationAlreadyOpen):
            request_revocation(
                credential,
                actor=MIRA,
                now=world.now,
                reason=WHY,
                is_urgent=world.drawn(st.booleans()),
                is_proposal=world.drawn(st.booleans()),
            )
    operation = world.one(Operation.objects.all())
    if operation is None:
        return
    unseen = {"proof": Proof.UNVERIFIABLE, "proof_reason": WHY, "verify_by": world.now + 7 * DAY}
    ended = {"state": OperationState.COMPLETED, "closed_at": world.now, "due_at": None, "stalled_at": None}
    match world.drawn(st.integers(0, 3)) if operation.is_open else 4:
        case 0:
            stalled = {"state": OperationState.STALLED, "stalled_at": world.now, "due_at": None}
            _operated(operation, Event.OPERATION_STALLED, **stalled)
        case 1:
            Credential.objects.filter(pk=operation.credential_id).update(status="destroyed")
            _operated(operation, Event.OPERATION_COMPLETED, **ended, **unseen)
        case 2:
            _operated(operation, Event.OPERATION_STEP_ENDED, step=Step.SETTLE, step_at=world.now, refused_at=world.now)
        case 4 if operation.verify_by is not None:
            _operated(operation, Event.OPERATION_VERIFIED, proof=Proof.VERIFIED, verify_by=None)


STEPS = (
    sync, sync, time_passes, time_passes, clock_jumps_back, hand_over, leave_or_return, join_or_be_renamed,
    own_clients, log, place, classify, date, tag, confirm, grant, withdraw, ask, ask_otherwise, retire, switch,
    decide, decide, extend, work, operate,
)  # fmt: skip


# ── What is compared ───────────────────────────────────────────────────────────────────────────
def written() -> dict[str, list[Any]]:
    """Everything that an evaluation writes, but for the mark, the counts of rules and when a row was last refreshed."""
    ages = ("refreshed_at", "resolved_at", "escalated_at")
    columns = [field.attname for field in Finding._meta.concrete_fields if field.attname not in ages]
    kept: dict[str, list[Any]] = {
        "findings": list(Finding.objects.order_by("pk").values(*columns)),
        "obligations": list(Obligation.objects.order_by("pk").values()),
    }
    for subject, model in SUBJECTS.items():
        columns = ["pk", "risk", "open_findings", *(["score"] if subject is Subject.CREDENTIAL else [])]
        kept[subject.value] = list(model.objects.order_by("pk").values_list(*columns))
    return kept


def full_of_the_same(world: World) -> tuple[Evaluation, dict[str, list[Any]]]:
    """What a full evaluation of this state says and leaves; it is taken back."""
    with transaction.atomic():
        result = evaluate(world.now, actor=MIRA, full=True)
        left = written()
        transaction.set_rollback(True)
    return result, left


def said(findings: Any) -> dict[Any, Any]:
    """By rule and subject what a finding says, apart from what its age adds."""
    return {
        (finding.rule, finding.subject_id): (
            finding.severity - (Raised.PAST_DUE in finding.raised_by),
            [reason for reason in finding.raised_by if reason != Raised.PAST_DUE],
            finding.evidence,
            finding.owner_id,
            finding.at_server_id,
        )
        for finding in findings
    }


def from_scratch() -> dict[Any, Any]:
    """What an evaluation at the instant of the mark finds in the same estate without any finding; it is taken back."""
    at = EvaluationMark.objects.get().evaluated_at
    with transaction.atomic():
        Waiver.objects.all().delete()
        Finding.objects.all().delete()
        evaluate(at, actor=MIRA, full=True)
        found = said(Finding.objects.all())
        transaction.set_rollback(True)
    return found


def is_unknown(finding: Finding) -> bool:
    """Whether nobody can tell today if its subject violates the rule, which is about it."""
    rule = RULES[finding.rule]
    at = EvaluationMark.objects.get().evaluated_at
    with database.cursor() as cursor, judged(cursor, rule.subject, asked_now(), at, ids=[finding.subject_id]) as found:
        condition = f"({found.applies(rule)}) AND ({rule.violated}) IS NOT TRUE AND ({rule.kept or rule.unknown})"
        rows = found.execute(
            f"SELECT ({condition}) IS TRUE FROM subject_facts v, lifecycle_finding o WHERE o.id = %(finding)s",
            finding=finding.pk,
        )
    return rows == [(True,)]


def check_age(finding: Finding, now: datetime) -> None:
    """Due and escalated as its severity says, reckoned here once more."""
    is_past = Raised.PAST_DUE in finding.raised_by
    severity = Severity(finding.severity - is_past)
    assert finding.due_at == finding.opened_at + DUE_WITHIN[severity]
    escalates = finding.opened_at + ESCALATED_AFTER * DUE_WITHIN[severity]
    if severity is Severity.CRITICAL:
        assert (is_past, finding.escalates_at, finding.escalated_at) == (False, None, None)
    elif is_past:
        assert (finding.escalates_at, finding.escalated_at is None) == (None, False)
        assert escalates <= now
    else:
        assert (finding.escalates_at, finding.escalated_at) == (escalates, None)
        assert escalates > now or finding.state == FindingState.WAIVED


# A tenth of the profile's: one example is a handful of evaluations.
@settings(
    max_examples=max(5, settings.default.max_examples // 10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_what_is_due_or_changed_is_evaluated_to_what_a_full_evaluation_leaves(monkeypatch, data):
    monkeypatch.setattr(evaluation, "SMALL_ESTATE", 0)
    with transaction.atomic():
        connections = [
            create_connection(kind=ConnectionKind.MCP_CONFIG, name=name, settings={}, actor=MIRA, now=NOW)
            for name in ("laptop", "desk")
        ]
        owners = [
            create_owner(kind=OwnerKind.TEAM, name=name, email=f"{name}@example.org", actor=MIRA)
            for name in ("billing", "search")
        ]
        world = World(data.draw, NOW, connections, owners)
        sync(world)
        evaluate(world.now, actor=MIRA, full=True)
        seen_full = 0
        for step in data.draw(st.lists(st.sampled_from(STEPS), min_size=2, max_size=8), label="steps"):
            # Whoever chose nothing, or asks for more than the cap, is told so, and nothing has changed.
            with suppress(NothingChosen, WaivedTooLong, WaiverCapReached), transaction.atomic():
                step(world)
            world.now += MINUTE
            seen_full += evaluate(world.now, actor=MIRA).is_full
            mine = written()
            result, theirs = full_of_the_same(world)
            assert mine == theirs
            assert result.changed == 0
        judged_at = max(world.now, EvaluationMark.objects.get().evaluated_at)
        unresolved = list(Finding.objects.unresolved().order_by("pk"))
        for finding in unresolved:
            check_age(finding, judged_at)
        EvaluationMark.objects.update(evaluated_at=judged_at)
        found, kept = from_scratch(), said(unresolved)
        assert len(kept) == len(unresolved)
        assert found == {pair: kept[pair] for pair in found}
        assert all(is_unknown(one) for one in unresolved if (one.rule, one.subject_id) not in found)
        transaction.set_rollback(True)
