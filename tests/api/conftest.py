"""Who asks the API, and a small estate in which every noun has an object."""

from dataclasses import dataclass, field
from datetime import time, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from rest_framework.response import Response

from access.actors import Actor
from access.models import User
from access.roles import Role
from audit.actions import action, record
from audit.events import Event
from audit.models import ChainHead
from config.actions import issue_token
from inventory.models import (
    AuthorizationServer,
    ClientRemoval,
    Credential,
    Grant,
    LoggingRecord,
    MetadataSnapshot,
    Owner,
    OwnershipDay,
    OwnershipQuestion,
    PostureCheck,
    SyncRun,
    Tenure,
    Tool,
)
from inventory.states import RunState, Severity, Verdict
from lifecycle.models import (
    Batch,
    BatchItem,
    ChangeFreeze,
    Delivery,
    Finding,
    FindingChange,
    FindingComment,
    FindingLink,
    JobHour,
    JobRun,
    MaintenanceWindow,
    Operation,
    RuleDay,
    ScheduledJob,
    Snapshot,
    StepAttempt,
    Waiver,
)
from lifecycle.states import FindingState, OperationKind, OperationState, RunOutcome, Step, WaiverState
from notifications.models import EventStream
from reviews.models import (
    Approval,
    Attestation,
    Campaign,
    Decision,
    Delegation,
    EvidencePack,
    Exclusion,
    MeasureDay,
    Occurrence,
    ReviewItem,
    Trigger,
)
from tests.factories import NOW, client, connection, credential, environment, exposure, manifest, owner, server, use

POSTURE = (
    "credentials", "servers", "clients", "exposures", "orphans", "unrotated", "stale", "critical", "high", "medium",
    "low", "overdue", "waived",
)  # fmt: skip
ROOT = "http://testserver/api/v1/"
SYSTEM = Actor.system("test")


@dataclass
class Caller:
    """Somebody with a way in, or without."""

    headers: dict[str, str] = field(default_factory=dict)
    browser: Client = field(default_factory=Client)

    def get(self, path: str, **headers: str) -> Any:
        """`path` is under the root, or an address that the API gave."""
        return self.browser.get(path if "://" in path else f"/api/v1/{path}", headers={**self.headers, **headers})

    def ask(self, method: str, path: str) -> Any:
        return self.browser.generic(method, f"/api/v1/{path}", headers=self.headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.browser.post(
            path if "://" in path else f"/api/v1/{path}",
            data=body if body is not None else {},
            content_type="application/json",
            headers={**self.headers, **headers},
        )

    def json(self, path: str) -> Any:
        answer = self.get(path)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def names(self, path: str) -> list[str]:
        return [each["display"] for each in self.json(path)["results"]]


def bearer(role: Role, life: timedelta = timedelta(days=1)) -> Caller:
    token = issue_token(f"{role.value} of the test", role, life=life, actor=SYSTEM)
    return Caller({"Authorization": f"Token {token}"})


@pytest.fixture
def auditor(db: None) -> Caller:
    return bearer(Role.AUDITOR)


@pytest.fixture
def anonymous() -> Caller:
    return Caller()


def person(name: str, *roles: Role) -> tuple[User, Caller]:
    user = User.objects.create(username=name, email=f"{name}@example.org")
    user.groups.set(Group.objects.filter(name__in=roles))
    caller = Caller()
    caller.browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return user, caller


@pytest.fixture
def outsider(db: None) -> Caller:
    """Signed in, and without any role."""
    return person("outsider")[1]


@dataclass
class Estate:
    """One object of every noun, all of them Mira's but the credential, server and finding of somebody else."""

    mira: Owner
    caller: Caller
    mine: Credential
    foreign: Credential
    foreign_finding: Finding


def finding(subject: Credential, **values: Any) -> Finding:
    defaults = {
        "rule": "unrotated",
        "severity": Severity.HIGH,
        "opened_at": NOW,
        "refreshed_at": NOW,
        "due_at": NOW + timedelta(days=7),
        "evidence": {"known_since": NOW.isoformat(), "max_age": 86_400},
    }
    return Finding.objects.create(credential=subject, **{**defaults, **values})


def waiver(of: Finding) -> Waiver:
    Finding.objects.filter(pk=of.pk).update(state=FindingState.WAIVED)
    return Waiver.objects.create(
        finding=of,
        state=WaiverState.ACTIVE,
        reason="The peer cannot rotate before June.",
        compensating_control="The peer's address alone is let in.",
        severity=of.severity,
        requested_by="Mira",
        requested_by_key="user:1",
        requested_at=NOW,
        approved_by="Otto",
        approved_by_key="user:2",
        granted_at=NOW,
        begins_at=NOW,
        ends_at=NOW + timedelta(days=10),
    )


def worked_on(of: Finding) -> Finding:
    """With a comment, a link and a change."""
    FindingComment.objects.create(finding=of, author="Mira", author_key="user:1", text="Asked.", written_at=NOW)
    FindingLink.objects.create(finding=of, kind="ticket", reference="SEC-1", added_at=NOW, added_by="Mira")
    FindingChange.objects.create(
        finding=of, kind="raised", changed_at=NOW, severity_before=Severity.MEDIUM, severity=Severity.HIGH
    )
    return of


def operated(on: Credential) -> Operation:
    """A rotation that waits for its consumers, with where its secret goes and one line of its journal."""
    Delivery.objects.create(credential=on, sink="file", location="/run/secrets/one", set_by="Otto", set_at=NOW)
    row = Operation.objects.create(
        kind=OperationKind.ROTATION,
        credential=on,
        connection=on.connection,
        state=OperationState.WAITING,
        step=Step.OVERLAP,
        reason="It is due.",
        requested_by="Otto",
        requested_by_key="user:2",
        requested_at=NOW,
        overlap=timedelta(days=1),
        quiet=timedelta(days=7),
        step_at=NOW,
        due_at=NOW + timedelta(hours=1),
    )
    batch = Batch.objects.create(
        kind="kill_switch", state="requested", scope={"kind": "credentials", "id": "", "label": "one chosen"},
        reason="It leaked.", requested_by="Otto", requested_by_key="user:2", requested_at=NOW, size=0,
    )  # fmt: skip
    BatchItem.objects.create(batch=batch, credential=row.credential)
    StepAttempt.objects.create(
        operation=row, step=Step.ISSUE, number=1, lease_token=uuid4(), begun_at=NOW, ended_at=NOW, outcome="done",
        said="It issued a second version.",
    )  # fmt: skip
    return row


def reviewed(row: Credential) -> None:
    """A campaign over it that was kept and signed for, with something that was left out of it."""
    campaign = Campaign.objects.create(
        name="Spring", reviewed=["credential"], state="open", due_at=NOW + timedelta(days=30), created_by="Otto",
        created_by_key="user:2", created_at=NOW, launched_at=NOW, size=1,
    )  # fmt: skip
    item = ReviewItem.objects.create(
        campaign=campaign, kind="credential", credential=row, name=row.name, connection=row.connection,
        owner=row.owner, reviewer=row.owner, bound_digest="0", alike="x", frozen_at=NOW, due_at=campaign.due_at,
        recommendation="keep",
    )  # fmt: skip
    said = {"decided_by": "Mira", "decided_by_key": "user:1", "decided_at": NOW}
    Decision.objects.create(item=item, campaign=campaign, seat="first", what="keep", seen_digest="0", **said)
    Delegation.objects.create(
        item=item, seat="first", why="reassigned", to_owner=row.owner, passed_by="Otto", passed_by_key="user:2",
        passed_at=NOW,
    )  # fmt: skip
    Attestation.objects.create(
        campaign=campaign, statement="So it is.", decisions=1, digest="0", signed_by="Mira", signed_by_key="user:1",
        signed_at=NOW,
    )  # fmt: skip
    Exclusion.objects.create(
        campaign=campaign, kind="credential", subject_id=uuid4(), name="other", connection=row.connection,
        reason="left_out", said="A fixture",
    )  # fmt: skip
    Approval.objects.create(
        item=item, kind="credential", subject_id=row.pk, name=row.name, digest="0", bound={}, approved_by="Mira",
        approved_at=NOW,
    )  # fmt: skip


@action
def an_entry(subject: Credential) -> None:
    record(Event.CREDENTIAL_OWNER_ASSIGNED, actor=SYSTEM, subject=subject, detail={"to": "Mira"})


@pytest.fixture
def estate(db: None) -> Estate:
    user, caller = person("mira", Role.OWNER)
    mira = owner(name="Mira Okafor", email="mira@example.org", user=user, manager=owner(name="Otto"))
    place = connection(name="laptops", environment=environment("prod"))
    SyncRun.objects.create(
        connection=place, state=RunState.COMPLETE, requested_by="test", started_at=NOW, finished_at=NOW
    )
    issuer = AuthorizationServer.objects.create(
        issuer="https://login.example.org", capabilities=["pkce"], metadata={"issuer": "x"}, first_seen_at=NOW
    )
    one = server(name="github", connection=place, iam_owner=mira, authorization_server=issuer, risk=Severity.HIGH)
    Tool.objects.create(server=one, name="search", schema_digest="a", approved_digest="b", first_seen_at=NOW)
    MetadataSnapshot.objects.create(
        server=one, digest="d", differences=["Scopes: repo is new."], document={"resource": "x"}, first_seen_at=NOW
    )
    LoggingRecord.objects.create(
        server=one,
        trust_model="static_service",
        happening="revocation",
        is_logged=False,
        recorded_by="Otto",
        recorded_at=NOW,
    )
    PostureCheck.objects.create(server=one, check_id="MCP-01", verdict=Verdict.MET, checked_at=NOW)
    program = client(name="Cursor", connection=place, owner=mira)
    leaving = {"reason": "unused", "requested_by": "Otto", "announced_at": NOW, "next_at": NOW + timedelta(days=7)}
    ClientRemoval.objects.create(client=program, **leaving)
    Grant.objects.create(client=program, server=one, tools=["search"], drafted_by="Mira", drafted_at=NOW)
    manifest(connection=place, packages=["npm:@halden/one"])
    mine = credential(
        name="github / token", connection=place, owner=mira, environment=environment("prod"), hint="ghp_…9f2c",
        fingerprint="kf1:00ff", scopes=["repo"], risk=Severity.HIGH, issued_at=None,
    )  # fmt: skip
    use(mine, connection=place, client=program, server=one)
    exposure(mine, host="laptop")
    waiver(worked_on(finding(mine)))
    foreign = credential(name="billing / login", connection=place, risk=Severity.CRITICAL)
    foreign_finding = finding(foreign, rule="no-owner", severity=Severity.CRITICAL)
    an_entry(mine)
    ChainHead.objects.create(seq=1, hash=b"1", signed_at=NOW, signature=b"2", public_key=b"3")
    operated(mine)
    ChangeFreeze.objects.create(
        environment=mine.environment, begins_at=NOW, ends_at=NOW + timedelta(days=3), reason="Peak", set_by="Otto"
    )
    MaintenanceWindow.objects.create(weekdays=[2, 4], begins=time(22), length=timedelta(hours=4), set_by="Otto")
    EvidencePack.objects.create(
        purpose="The half-year", begins_at=NOW, requested_by="Otto", requested_by_key="user:2", requested_at=NOW
    )
    EventStream.objects.create(name="Collector", kind="ocsf_file", file="events", created_at=NOW)
    job = ScheduledJob.objects.create(name="findings", task="x", cadence=timedelta(minutes=5), declared_at=NOW)
    JobRun.objects.create(job=job, begun_at=NOW, ended_at=NOW, outcome=RunOutcome.ENDED, work={"opened": 1})
    reviewed(mine)
    trigger = Trigger.objects.create(occasion="owner_left", begins_at=NOW, looked_at=NOW, set_by="Otto")
    campaign = Campaign.objects.latest("pk")
    values = {"trigger": trigger, "kind": "credential", "happened_at": NOW, "seen_at": NOW}
    Occurrence.objects.create(subject_id=mine.pk, campaign=campaign, **values)
    Occurrence.objects.create(subject_id=foreign.pk, **values)
    asked = OwnershipQuestion.objects.create(owner=mira, asked=mira, opened_at=NOW, asked_at=NOW, answer_by=NOW)
    for key, name, question in ((mine.pk, mira, asked), (foreign.pk, None, None)):
        values = {"begun_at": NOW, "gap_since": NOW, "ask_at": NOW}
        Tenure.objects.create(part="credential", subject_id=key, owner=name, question=question, **values)
    for days in (0, 1):
        at = NOW + timedelta(days=days)
        JobHour.objects.create(job=job, hour=at, begun=1, ended=1, longest_gap=timedelta(minutes=5))
        RuleDay.objects.create(rule="no-owner", taken_on=at.date(), counted_at=at, met=1, violated=2, unknown=3)
        OwnershipDay.objects.create(
            taken_on=at.date(), counted_at=at, accepted=1, asked=2, ownerless=3, quarantined=1, closed=0
        )
        MeasureDay.objects.create(measure="no-owner", taken_on=at.date(), counted_at=at, met=1, violated=2, unknown=3)
        Snapshot.objects.create(taken_on=at.date(), taken_at=at, **dict.fromkeys(POSTURE, 1))
    return Estate(mira, caller, mine, foreign, foreign_finding)


def problem_of(answer: Response, status: int) -> dict[str, Any]:
    """The answer as the problem it must be."""
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    said: dict[str, Any] = answer.json()
    assert set(said) >= {"type", "title", "status", "detail"}
    assert said["status"] == status
    return said
