"""Compare the estate with the rules, set-based: open, refresh and resolve findings in a fixed number of statements.

A full evaluation looks at every live subject. An incremental one looks at what became due since the last one, an
index range, and at what the audit entries since then name as changed; their order is the order of commits, so nothing
slips between two runs. What it cannot narrow down it evaluates in full. Where nothing differs nothing is written,
except the mark and the rules' counts after a full evaluation, which say when it was made.
"""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from itertools import islice
from time import perf_counter
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db.backends.utils import CursorWrapper
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Lower

from access.actors import Actor
from audit.actions import action, despite_deadlocks, record
from audit.events import Event
from audit.models import AuditEntry
from inventory.actions.order import alone_with_subjects
from inventory.models import (
    ClientRemoval,
    Connection,
    Credential,
    CredentialVersion,
    Exposure,
    Grant,
    McpClient,
    McpServer,
    Owner,
    PostureCheck,
    SyncRun,
    Tenure,
    Tool,
    Use,
)
from inventory.states import SERVER_PARTS, Admission, ConnectionKind, Part, Registration, Transport, TrustModel
from lifecycle.actions.judging import (
    DUE_AFTER,
    IS_ESCALATED,
    WORSE_AFTER,
    Judged,
    at_full_speed,
    judged,
    never_compiled,
)
from lifecycle.errors import EvaluationUnderWay
from lifecycle.models import EvaluationMark, Finding, Obligation, Operation, RuleState, ScheduledJob
from lifecycle.models.asked import asked_now
from lifecycle.rules import RULES, Subject
from lifecycle.rules.asked import Asked
from lifecycle.rules.facts import (
    DESTROY_WITHIN,
    LATE_AT,
    LONG_MISSED_SYNCS,
    LONG_UNSYNCED,
    MISSED_SYNCS,
    PROBE_WITHIN,
    REASONS,
    REFUSED_BY,
    REVIEW_LONG_AGO,
    REVIEW_WITHIN,
    REVOKE_WITHIN,
    UNPROVEN,
    facts,
)
from lifecycle.rules.jobs import FAILURES
from lifecycle.states import COUNTED, Change, FindingState, Raised

FULL_EVERY = timedelta(days=1)
LARGEST_SCOPE = 5_000  # subjects; from there on one pass over everything is the cheaper way
SMALL_ESTATE = 20_000  # credentials; up to there a full evaluation is as quick and keeps the rules' counts exact
PASSED_ENTRIES = 1_000  # audit entries of no interest after which the mark moves on without an evaluation

# Events after which no rule can say anything else. An event that is neither here nor known to `_changed_by` means
# a full evaluation, so that a new kind of change is never overlooked.
WITHOUT_EFFECT = {
    Event.USER_CREATED,
    Event.USER_SIGNED_IN,
    Event.USER_SIGNED_OUT,
    Event.USER_SIGN_IN_REFUSED,
    Event.USER_SIGN_IN_LINK_ISSUED,
    Event.USER_VIEW_SAVED,
    Event.USER_VIEW_FORGOTTEN,
    Event.TOKEN_ISSUED,
    Event.CONNECTION_CREATED,
    Event.CONNECTION_SYNC_REQUESTED,
    Event.ENVIRONMENT_CREATED,
    # What is asked has a digest of its own, whichever way it was changed; the rest of a policy is words.
    Event.POLICY_CREATED,
    Event.POLICY_CHANGED,
    Event.POLICY_RETIRED,
    Event.RULE_SET,
    # Who sees to an operation, who moved, where secrets go and when: the operation itself says what comes of it.
    Event.OPERATION_ASSIGNED,
    Event.OPERATION_LOOK_REQUESTED,
    Event.OPERATION_ACKNOWLEDGED,
    Event.CREDENTIAL_DELIVERY_SET,
    Event.CREDENTIAL_DELIVERY_REMOVED,
    Event.OPERATION_EXTENDED,
    Event.OPERATION_OVERLAP_ENDED,
    # When and how much may be rotated by itself.
    Event.FREEZE_SET,
    Event.FREEZE_LIFTED,
    Event.WINDOW_SET,
    Event.WINDOW_RETIRED,
    Event.OPERATING_LIMITS_SET,
    Event.SCHEDULE_HALTED,
    Event.SCHEDULE_RESUMED,
    Event.FINDINGS_EVALUATED,
    Event.FINDING_ASSIGNED,
    Event.FINDING_COMMENTED,
    Event.FINDING_LINKED,
    Event.FINDING_UNLINKED,
    Event.WAIVER_REQUESTED,
    Event.WAIVER_DECLINED,
    Event.WAIVER_EXTENDED,
    Event.WAIVER_BEGUN,
    Event.WAIVER_CAP_SET,
    Event.WAIVER_CAP_REMOVED,
    # A batch is a list of what was asked for; what changes a credential is its operation, with entries of its own.
    Event.BATCH_REQUESTED,
    Event.BATCH_APPROVED,
    Event.BATCH_DECLINED,
    Event.BATCH_HALTED,
    Event.BATCH_RESUMED,
    Event.BATCH_CANCELLED,
    Event.BATCH_EXTENDED,
    Event.BATCH_ESCALATED,
    Event.BATCH_REHEARSED,
    Event.BATCH_COMPLETED,
    # What comes of a review has entries of its own: of operations, grants, owners and confirmations.
    Event.CAMPAIGN_CREATED,
    Event.CAMPAIGN_CHANGED,
    Event.CAMPAIGN_STALE_ACCEPTED,
    Event.CAMPAIGN_LAUNCHED,
    Event.CAMPAIGN_DUE_CHANGED,
    Event.CAMPAIGN_REMINDED,
    Event.CAMPAIGN_ESCALATED,
    Event.CAMPAIGN_SUBMITTED,
    Event.CAMPAIGN_ATTESTED,
    Event.CAMPAIGN_CLOSING,
    Event.CAMPAIGN_SIGNED,
    Event.CAMPAIGN_CANCELLED,
    Event.REVIEW_ITEM_DECIDED,
    Event.REVIEW_ITEM_UNDONE,
    Event.REVIEW_ITEM_PASSED_ON,
    Event.REVIEW_ITEM_LOOKED_AT,
    Event.REVIEW_ITEM_UNANSWERED,
    Event.REVIEW_ITEM_BEGUN,
    Event.REVIEW_ITEM_RETURNED,
    Event.REVIEW_ITEM_CLOSED,
    Event.APPROVAL_LAPSED,
    Event.TRIGGER_SET,
    Event.OWNERSHIP_ASKED,
    Event.OWNERSHIP_ACCEPTED,
    Event.OWNERSHIP_PASSED_ON,
    Event.ENDPOINT_ADDED,
    Event.ENDPOINT_CHANGED,
    Event.ENDPOINT_PAUSED,
    Event.ENDPOINT_RESUMED,
    Event.ENDPOINT_REMOVED,
    Event.STREAM_ADDED,
    Event.STREAM_CHANGED,
    Event.STREAM_ENABLED,
    Event.STREAM_PAUSED,
    Event.STREAM_DISABLED,
    Event.STREAM_TESTED,
    Event.STREAM_TOKEN_REFUSED,
    Event.STREAM_REMOVED,
    Event.SIGNAL_KEY_BEGUN,
    Event.NOTICE_TESTED,
    Event.NOTICE_RETRIED,
    Event.PREFERENCES_CHANGED,
    Event.EVIDENCE_PACK_REQUESTED,
    Event.EVIDENCE_PACK_BUILT,
    Event.EVIDENCE_PACK_FAILED,
    Event.CHAIN_HEAD_SIGNED,
}

TABLES = {
    Subject.CREDENTIAL: Credential._meta.db_table,
    Subject.SERVER: McpServer._meta.db_table,
    Subject.CLIENT: McpClient._meta.db_table,
    Subject.CONNECTION: Connection._meta.db_table,
    Subject.JOB: ScheduledJob._meta.db_table,
}
# The order in which their rows are locked, as a sync takes them too.
LOCKED = (Subject.JOB, Subject.CONNECTION, Subject.CLIENT, Subject.SERVER, Subject.CREDENTIAL)
# What a sync counts when it says that somebody has left, is back, or is new.
OWNERS_MOVED = {"owners_changed", "owners_added"}
CALLED = {"email", "external_id"}  # by what a token may call an owner
# Columns of an obligation, named like the facts that they are.
OBLIGED = ("policy_id", "rotate_by", "stale_at", "expires_at", "review_by", "rescored_at")
# Kinds of connections whose look says something about what another connection listed.
LIVE_KINDS = (ConnectionKind.MCP_SERVER, ConnectionKind.OAUTH)

Keys = Iterable[tuple[Subject, Iterable[UUID]]]


@dataclass(slots=True)
class Evaluation:
    """What one evaluation did."""

    is_full: bool = False
    subjects: int = 0
    opened: int = 0
    refreshed: int = 0
    resolved: int = 0
    rules: dict[str, dict[str, int]] = field(default_factory=dict)
    digest: str = ""

    @property
    def changed(self) -> int:
        return self.opened + self.refreshed + self.resolved


@dataclass(slots=True)
class Scope:
    """Which subjects an incremental evaluation looks at."""

    subjects: dict[Subject, set[UUID]] = field(default_factory=lambda: {subject: set() for subject in Subject})

    def __len__(self) -> int:
        return sum(map(len, self.subjects.values()))

    @property
    def is_of_few_alone(self) -> bool:
        """Of connections and jobs, which are few and about which no rule asks anything of the estate."""
        return len(self) == len(self.subjects[Subject.CONNECTION]) + len(self.subjects[Subject.JOB])

    def ids(self, subject: Subject) -> list[UUID]:
        return sorted(self.subjects[subject])

    def add(self, keys: Keys) -> None:
        """Raises _TooLarge rather than hold more than an incremental evaluation is for."""
        for subject, more in keys:
            known = self.subjects[subject]
            known.update(islice(more, LARGEST_SCOPE + 1))
            if len(known) > LARGEST_SCOPE:
                raise _TooLarge


class _TooLarge(Exception):
    """The scope has outgrown what an incremental evaluation is for."""


@action
def evaluate(now: datetime, *, actor: Actor, full: bool = False, clock_was_wrong: bool = False) -> Evaluation:
    """Bring findings, obligations and risk up to `now`. Raises EvaluationUnderWay rather than wait for another one.

    Time never runs back: what was judged later is judged at that instant again, so that a clock which jumps back closes
    nothing and opens nothing twice. Only `clock_was_wrong` starts again from `now`, in full.
    """
    clock = now
    with database.cursor() as cursor:
        # The last entry is read before anything else: what is committed later has a higher number and is looked at next
        # time.
        cursor.execute(
            """
            SELECT pg_try_advisory_xact_lock(hashtextextended('keyreeve evaluation', 0)),
                   (SELECT coalesce(max(seq), 0) FROM audit_auditentry)
            """
        )
        is_alone, seq = cursor.fetchone()
        if not is_alone:
            raise EvaluationUnderWay
        mark = EvaluationMark.objects.first()
        asked = asked_now()  # once, so that a policy changed meanwhile is seen whole next time
        digest = sha256(f"{_declared()} {asked.digest}".encode()).hexdigest()
        if mark is not None and not clock_was_wrong:
            now = max(now, mark.evaluated_at)
        is_whole = full or clock_was_wrong
        scope = None if is_whole else _scope(mark, seq=seq, digest=digest, now=now, clock=clock)
        result = Evaluation(is_full=scope is None)
        if scope is not None and not scope:
            if mark is not None and seq - mark.seq > PASSED_ENTRIES:
                _move_mark(mark, now=now, seq=seq, digest=digest)
            return result
        began = perf_counter()
        first = _new_key(cursor)
        _evaluate_scope(cursor, scope, asked=asked, now=now, result=result)
        took = timedelta(seconds=perf_counter() - began)
        _move_mark(mark, now=now, seq=seq, digest=digest, full=(clock, took) if result.is_full else None)
        last = _new_key(cursor)
    if result.changed:
        record(
            Event.FINDINGS_EVALUATED,
            actor=actor,
            # With what finds the rows again that it wrote: its instant, and keys around theirs.
            detail={
                "at": now.isoformat(),
                "first": first,
                "last": last,
                **({"clock_was_wrong": True} if clock_was_wrong else {}),
                "full": result.is_full,
                "subjects": result.subjects,
                "opened": result.opened,
                "refreshed": result.refreshed,
                "resolved": result.resolved,
                "rules": result.rules,
                "digest": result.digest,
            },
        )
    return result


def _new_key(cursor: CursorWrapper) -> str:
    cursor.execute("SELECT keyreeve_uuid7()")
    return str(cursor.fetchone()[0])


# ── What to look at ────────────────────────────────────────────────────────────────────────────
@cache
def _declared() -> str:
    """What the release asks: its rules, and the facts that they are about."""
    asked = [
        (rule.slug, rule.severity, rule.graded, rule.contexts, rule.raised, rule.violated, rule.unknown, rule.kept,
         rule.applies, dict(rule.evidence))
        for rule in RULES.values()
    ]  # fmt: skip
    gathered = [facts(subject, Asked(), within_scope=False) for subject in Subject]
    return sha256(repr((asked, gathered)).encode()).hexdigest()


def _scope(mark: EvaluationMark | None, *, seq: int, digest: str, now: datetime, clock: datetime) -> Scope | None:
    """What may have changed since `mark`; None when only a full evaluation will tell."""
    # By the clock alone, either way: one that has jumped back brings one full evaluation, and then one a day.
    if mark is None or mark.digest != digest or abs(clock - mark.full_at) >= FULL_EVERY:
        return None
    scope = Scope()
    try:
        scope.add(_became_due(mark.evaluated_at, now))
        scope.add(_changed_since(mark.seq, seq))
    except _TooLarge:
        return None
    # Every sync names its connection, which is no reason to look at a small estate anew, and neither is a job. Else a
    # list of at most that many keys; `count` would read every row of a large estate.
    if scope.is_of_few_alone:
        return scope
    if len(Credential.objects.order_by().values_list("pk")[: SMALL_ESTATE + 1]) <= SMALL_ESTATE:
        return None
    return scope


def _keys(rows: QuerySet[Any], column: str = "pk") -> Iterable[Any]:
    return rows.order_by().values_list(column, flat=True).distinct()[: LARGEST_SCOPE + 1]


def _became_due(since: datetime, now: datetime) -> Keys:
    """Subjects for which a date of a rule lies between the two instants: ranges of indexes, connections apart."""

    def passed(date: str, after: timedelta = timedelta(0)) -> Q:
        return Q(**{f"{date}__gt": since - after, f"{date}__lte": now - after})

    dates = Q()
    for date in ("rotate_by", "stale_at", "expires_at", "review_by", "rescored_at"):
        dates |= passed(date)
    yield Subject.CREDENTIAL, Obligation.objects.filter(dates).values_list("pk", flat=True)[: LARGEST_SCOPE + 1]
    quarantined = McpClient.objects.filter(admission=Admission.QUARANTINED).annotate(
        quarantined_at=Coalesce("admission_changed_at", "first_seen_at")
    )
    yield (
        Subject.CLIENT,
        _keys(quarantined.filter(passed("quarantined_at", REVIEW_WITHIN) | passed("quarantined_at", REVIEW_LONG_AGO))),
    )
    answered = McpServer.objects.filter(transport__in=[Transport.HTTP, Transport.SSE]).annotate(
        answered_at=Coalesce("probed_at", "first_seen_at")
    )
    yield Subject.SERVER, _keys(answered.filter(passed("answered_at", PROBE_WITHIN)))
    paused = CredentialVersion.objects.filter(passed("suspended_at", DESTROY_WITHIN), is_current=True)
    orphaned = Credential.objects.filter(owner__in=Owner.objects.filter(passed("inactive_since", REVOKE_WITHIN)))
    keys = paused.order_by().values_list("credential", flat=True)
    others = (each.order_by().values_list("pk", flat=True) for each in (orphaned, _operations_became_due(since, now)))
    yield Subject.CREDENTIAL, keys.union(*others)[: LARGEST_SCOPE + 1]
    yield Subject.CONNECTION, _syncs_became_due(since, now)
    yield Subject.JOB, _jobs_out_of_step(now)
    yield from _subjects_of(Finding.objects.unresolved().filter(passed("escalates_at")))
    ended = list(Grant.objects.current().filter(passed("ends_at")).values_list("pk", flat=True)[: LARGEST_SCOPE + 1])
    if ended:
        yield from _under_grants(Grant.objects.filter(pk__in=ended))


def _operations_became_due(since: datetime, now: datetime) -> QuerySet[Credential]:
    """Credentials whose operation is at a step for too long by now, or that somebody should have seen refused.

    Open operations are few beside the estate, and their dates are made of several columns.
    """
    late = RawSQL(  # nosec B611  # noqa: S611 - the text is ours
        f"""
        SELECT o.credential_id FROM lifecycle_operation o
        CROSS JOIN LATERAL (SELECT {LATE_AT} AS late_at, {REFUSED_BY} AS refused_by) d
        WHERE o.closed_at IS NULL AND (d.late_at > %s AND d.late_at <= %s OR d.refused_by > %s AND d.refused_by <= %s)
        UNION
        SELECT o.credential_id FROM lifecycle_operation o WHERE {UNPROVEN} AND o.verify_by > %s AND o.verify_by <= %s
        """,
        [since, now] * 3,
    )
    return Credential.objects.filter(pk__in=late)


def _syncs_became_due(since: datetime, now: datetime) -> Iterator[UUID]:
    """Connections that have missed their syncs since then. They are few, and their dates are made of two columns."""
    planned = Connection.objects.filter(is_enabled=True)
    for pk, complete, created, interval in planned.values_list("pk", "last_complete_at", "created_at", "interval"):
        if interval is None:
            continue
        begun = complete or created
        limits = (MISSED_SYNCS * interval, max(LONG_MISSED_SYNCS * interval, LONG_UNSYNCED))
        if any(since < begun + limit <= now for limit in limits):
            yield pk


def _jobs_out_of_step(now: datetime) -> Iterator[UUID]:
    """Jobs that miss beats or fail, and those with a finding, which may have recovered. A beat leaves no entry."""
    found = Exists(Finding.objects.unresolved().filter(job=OuterRef("pk")))
    for job in ScheduledJob.objects.annotate(is_found=found):
        is_failing = job.retired_at is None and job.failures >= FAILURES
        if job.is_found or is_failing or job.is_missed(now):  # type: ignore[attr-defined]
            yield job.pk


def _under_grants(grants: QuerySet[Grant]) -> Keys:
    """What the rules say differently once these grants begin or end."""
    of_pair = Exists(grants.filter(client=OuterRef("client"), server=OuterRef("server")))
    yield Subject.SERVER, _keys(grants, "server")
    yield Subject.CREDENTIAL, _keys(Use.objects.filter(of_pair, credential__isnull=False), "credential")


def _changed_since(after: int, until: int) -> Keys:
    """Subjects that the audit entries in between may have changed."""
    entries = AuditEntry.objects.filter(seq__gt=after, seq__lte=until).exclude(event__in=WITHOUT_EFFECT)
    named: dict[str, set[str]] = {}
    looks: dict[str, bool] = {}  # sync runs, and whether each changed something
    columns = ("event", "subject_kind", "subject_id", "detail__changes", "detail__run", "detail__changed")
    for event, kind, subject_id, changes, run, changed in entries.order_by("seq").values_list(*columns).iterator():
        if event == Event.CONNECTION_SYNCED.value:
            if changes and OWNERS_MOVED & changes.keys():
                raise _TooLarge  # what they own or consented to may be listed by any connection
            if run:
                looks[run] = bool(changes)
            kind = "synced connection" if changes else "connection"  # noqa: PLW2901  narrower than its model
        if event == Event.OWNER_CHANGED.value and CALLED & (changed or {}).keys():
            raise _TooLarge  # no entry says how they were called before, and so who is not theirs any more
        named.setdefault(kind, set()).add(subject_id)
        if len(named[kind]) > LARGEST_SCOPE or len(looks) > LARGEST_SCOPE:
            raise _TooLarge
    for kind, ids in named.items():
        yield from _changed_by(kind, {UUID(one) for one in ids})
    if looks:
        yield from _seen_live(looks)


def _changed_by(kind: str, ids: set[UUID]) -> Keys:
    match kind:
        case "credential":
            yield Subject.CREDENTIAL, ids
        case "operation":
            operated = Operation.objects.filter(pk__in=ids)
            yield Subject.CREDENTIAL, _keys(operated, "credential")
            # What ended by it is no longer sent there.
            in_use = Use.objects.present().filter(credential__in=operated.values("credential"))
            yield Subject.SERVER, _keys(in_use, "server")
        case "exposure":
            places = Exposure.objects.filter(pk__in=ids).values("credential")
            yield Subject.CREDENTIAL, _keys(Exposure.objects.filter(pk__in=ids), "credential")
            yield Subject.SERVER, _keys(Use.objects.present().filter(credential__in=places), "server")
        case "mcpserver":
            yield Subject.SERVER, ids
            yield from _used_on(ids)
        case "mcpclient":
            yield Subject.CLIENT, ids
            yield from _held_by(ids)
            yield Subject.SERVER, _keys(Use.objects.present().filter(client__in=ids), "server")
        case "clientremoval":
            yield Subject.CLIENT, _keys(ClientRemoval.objects.filter(pk__in=ids), "client")
        case "tool":
            yield Subject.SERVER, _keys(Tool.objects.filter(pk__in=ids), "server")
        case "grant":
            yield from _under_grants(Grant.objects.filter(pk__in=ids))
        case "authorizationserver":
            yield from _behind(ids)
        case "finding":
            yield from _subjects_of(Finding.objects.filter(pk__in=ids))
        case "owner":
            owners = Q(iam_owner__in=ids) | Q(platform_owner__in=ids) | Q(application_owner__in=ids)
            yield Subject.CREDENTIAL, _keys(Credential.objects.filter(owner__in=ids))
            yield Subject.CREDENTIAL, _keys(_consented_by(Owner.objects.filter(pk__in=ids)))
            yield Subject.SERVER, _keys(McpServer.objects.filter(owners))
            yield Subject.CLIENT, _keys(McpClient.objects.filter(owner__in=ids))
        case "ownershipquestion":
            yield from _quarantined(ids)
        case "scheduledjob":
            yield Subject.JOB, ids
        case "connection":
            yield Subject.CONNECTION, ids
            yield Subject.CLIENT, _keys(_registered().filter(connection__in=ids))  # its environment is theirs
        case "synced connection":
            yield Subject.CONNECTION, ids
            yield from _listed_by(ids)
        case _:
            raise _TooLarge


def _quarantined(questions: set[UUID]) -> Keys:
    """What nobody stands for any more."""
    things = Tenure.objects.filter(question__in=questions)
    yield Subject.CREDENTIAL, _keys(things.filter(part=Part.CREDENTIAL), "subject_id")
    yield Subject.CLIENT, _keys(things.filter(part=Part.CLIENT), "subject_id")
    yield Subject.SERVER, _keys(things.filter(part__in=SERVER_PARTS), "subject_id")


def _subjects_of(findings: QuerySet[Finding]) -> Keys:
    rows = list(findings.order_by().values_list(*(f"{subject.value}_id" for subject in Subject))[: LARGEST_SCOPE + 1])
    for subject, keys in zip(Subject, zip(*rows, strict=True), strict=False):
        yield subject, {key for key in keys if key is not None}


def _listed_by(connections: set[UUID]) -> Keys:
    """What they list. A credential of several connections belongs to the first, its uses and exposures do not."""
    uses = Use.objects.filter(connection__in=connections)
    yield Subject.CREDENTIAL, _keys(Credential.objects.filter(connection__in=connections))
    yield Subject.CREDENTIAL, _keys(uses.filter(credential__isnull=False), "credential")
    yield Subject.CREDENTIAL, _keys(Exposure.objects.filter(connection__in=connections), "credential")
    yield Subject.SERVER, _keys(McpServer.objects.filter(connection__in=connections))
    yield Subject.SERVER, _keys(uses, "server")
    # Where a credential of theirs is used that another connection found: it may have ended now, or lie open.
    exposed = Exposure.objects.filter(connection__in=connections).values("credential")
    yield Subject.SERVER, _keys(Use.objects.present().filter(credential__connection__in=connections), "server")
    yield Subject.SERVER, _keys(Use.objects.present().filter(credential__in=exposed), "server")
    # And what another connection found to be used on a server of theirs, which may be somebody else's now.
    elsewhere = Use.objects.present().filter(server__connection__in=connections, credential__isnull=False)
    yield Subject.CREDENTIAL, _keys(elsewhere, "credential")
    yield Subject.CLIENT, _keys(_registered().filter(connection__in=connections))
    yield Subject.CLIENT, _keys(uses.exclude(client__registration=Registration.CONFIG_FILE), "client")


def _held_by(clients: set[UUID]) -> Keys:
    """Credentials that are judged otherwise once these clients are removed or are no longer."""
    uses = Use.objects.present().filter(client__in=clients, credential__isnull=False)
    yield Subject.CREDENTIAL, _keys(uses, "credential")
    registered = set(_keys(_registered().filter(pk__in=clients).exclude(client_id=""), "client_id"))
    issued = Credential.objects.filter(principal__in=registered).exclude(principal="")  # as the index has it
    yield Subject.CREDENTIAL, _keys(issued)


def _consented_by(owners: QuerySet[Owner]) -> QuerySet[Credential]:
    """Credentials that act for one of them."""
    names = {name.lower() for pair in owners.values_list("email", "external_id") for name in pair if name}
    consented = Credential.objects.filter(trust_model=TrustModel.USER_CONSENTED).alias(named=Lower("subject"))
    return consented.filter(named__in=names)


def _registered() -> QuerySet[McpClient]:
    return McpClient.objects.exclude(registration=Registration.CONFIG_FILE)


def _used_on(servers: Iterable[UUID]) -> Keys:
    uses = Use.objects.filter(server__in=servers)
    yield Subject.CREDENTIAL, _keys(uses.filter(credential__isnull=False), "credential")
    yield Subject.CLIENT, _keys(uses.exclude(client__registration=Registration.CONFIG_FILE), "client")


def _behind(issuers: Iterable[UUID]) -> Keys:
    servers = list(_keys(McpServer.objects.filter(authorization_server__in=issuers)))
    yield Subject.SERVER, servers
    yield from _used_on(servers)


def _seen_live(looks: dict[str, bool]) -> Keys:
    """Subjects that looks at live places said something new about, whichever connection listed them."""
    kept = SyncRun.objects.filter(pk__in=looks).values_list("pk", "started_at", "connection__kind")
    begun = {run: started for run, started, kind in kept if kind in LIVE_KINDS}
    if len(kept) < len(looks):
        raise _TooLarge  # nobody can say any more when one of them looked
    if not begun:
        return
    said_the_same = [started for run, started in begun.items() if not looks[str(run)]]
    if said_the_same:
        unprobed = Finding.objects.unresolved().filter(rule="server-not-probed")
        yield Subject.SERVER, _keys(unprobed.filter(server__probed_at__gte=min(said_the_same)), "server")
    changed = [started for run, started in begun.items() if looks[str(run)]]
    if not changed:
        return
    since = min(changed)
    checks = PostureCheck.objects.filter(checked_at__gte=since)
    tools = Q(first_seen_at__gte=since) | Q(changed_at__gte=since) | Q(gone_at__gte=since)
    servers = {
        *_keys(McpServer.objects.filter(Q(probed_at__gte=since) | Q(tools_listed_at__gte=since))),
        *_keys(checks.filter(server__isnull=False), "server"),
        *_keys(Tool.objects.filter(tools), "server"),
    }
    if len(servers) > LARGEST_SCOPE:
        raise _TooLarge
    yield Subject.SERVER, servers
    yield from _used_on(servers)
    yield from _behind(list(_keys(checks.filter(authorization_server__isnull=False), "authorization_server")))
    yield Subject.CLIENT, _keys(checks.filter(client__isnull=False), "client")


# ── Look at it ─────────────────────────────────────────────────────────────────────────────────
def _evaluate_scope(
    cursor: CursorWrapper, scope: Scope | None, *, asked: Asked, now: datetime, result: Evaluation
) -> None:
    """Judge every subject, then write: what people decide about is locked at the end, in the order of keys."""
    changes = sha256()

    def note(verb: str, written: list[tuple[Any, ...]]) -> None:
        for rule, number, digest in written:
            setattr(result, verb, getattr(result, verb) + number)
            said = result.rules.setdefault(rule, {})
            said[verb] = said.get(verb, 0) + number
            changes.update(f"{rule} {verb} {number} {digest}\n".encode())

    subjects = [subject for subject in Subject if any(rule.subject is subject for rule in RULES.values())]
    counts: list[RuleState] = []
    never_compiled(cursor)
    with at_full_speed(cursor) if scope is None else nullcontext():
        cursor.execute(_FOUND)
        for subject in subjects:
            ids = None if scope is None else scope.ids(subject)
            if ids is not None and not ids:
                continue
            with judged(cursor, subject, asked, now, ids=ids) as found:
                result.subjects += found.count()
                if subject is Subject.CREDENTIAL:
                    if scope is not None:
                        scope.subjects[Subject.SERVER].update(_serving_rebound(found))
                    _bind(found)
                    found.gather("scores", "SELECT id, score FROM subject_facts", keys="id")
                _compare(found)
                note("opened", _open(found))
                if scope is None:
                    counts += _tally(found, now)
        # From here on others wait, so everything that takes long is behind us.
        alone_with_subjects(cursor)
        _lock_found(cursor)
        note("refreshed", _refresh(cursor, now))
        note("resolved", _resolve(cursor, now))
        for subject in LOCKED:
            ids = None if scope is None else scope.ids(subject)
            if subject in subjects and (ids is None or ids):
                _recount(cursor, subject, ids)
        cursor.execute("DROP TABLE IF EXISTS differences, ends, scores")
    if scope is None:
        RuleState.objects.exclude(rule__in=RULES).delete()
        RuleState.objects.bulk_create(
            counts,
            update_conflicts=True,
            unique_fields=["rule"],
            update_fields=["evaluated_at", "met", "violated", "unknown"],
        )
    result.digest = changes.hexdigest()


def _move_mark(
    mark: EvaluationMark | None,
    *,
    now: datetime,
    seq: int,
    digest: str,
    full: tuple[datetime, timedelta] | None = None,
) -> None:
    """`full` is what the clock said of a full evaluation, and how long it took."""
    moved = mark or EvaluationMark(id=1)
    moved.evaluated_at, moved.seq, moved.digest = now, seq, digest
    if full is not None:
        moved.full_at, moved.duration = full
    moved.save()


def _write(
    cursor: CursorWrapper, statement: str, values: dict[str, Any], also: str = "SELECT"
) -> list[tuple[Any, ...]]:
    """Run a statement that returns ids and rules: by rule the number and one digest over the ids in order.

    `also` is written in the same statement, and may read `changed`.
    """
    cursor.execute(
        f"""
        WITH changed AS ({statement}), noted AS ({also})
        SELECT rule, count(*), encode(sha256(string_agg(uuid_send(id), '' ORDER BY id)), 'hex')
        FROM changed GROUP BY rule ORDER BY rule
        """,
        values,
    )
    counts: list[tuple[Any, ...]] = cursor.fetchall()
    return counts


def _serving_rebound(found: Judged) -> Iterator[UUID]:
    """Servers that credentials are used on which another policy binds from now on: it may ask them to log more or less.

    Servers come after credentials in the order of subjects, so they are looked at in the same run.
    """
    rows = found.execute(
        """
        SELECT DISTINCT u.server_id
        FROM unnest(%(scope)s::uuid[]) one
        LEFT JOIN subject_facts v ON v.id = one
        LEFT JOIN lifecycle_obligation o ON o.credential_id = one
        JOIN inventory_use u ON u.credential_id = one AND u.gone_at IS NULL
        WHERE v.policy_id IS DISTINCT FROM o.policy_id
        """
    )
    return (server for (server,) in rows)


def _bind(found: Judged) -> None:
    """Obligations as the facts imply them. Rows that would stay the same are not touched."""
    found.execute(
        f"""
        DELETE FROM lifecycle_obligation o
        WHERE NOT EXISTS (SELECT 1 FROM subject_facts v WHERE v.id = o.credential_id)
          {found.within("o.credential_id")}
        """
    )
    found.execute(
        f"""
        UPDATE lifecycle_obligation o
        SET {", ".join(f"{column} = v.{column}" for column in OBLIGED)}
        FROM subject_facts v
        WHERE v.id = o.credential_id {found.within("o.credential_id")}
          AND ({", ".join(f"o.{column}" for column in OBLIGED)})
              IS DISTINCT FROM ({", ".join(f"v.{column}" for column in OBLIGED)})
        """
    )
    found.execute(
        f"""
        INSERT INTO lifecycle_obligation (credential_id, {", ".join(OBLIGED)})
        SELECT v.id, {", ".join(f"v.{column}" for column in OBLIGED)} FROM subject_facts v
        WHERE NOT EXISTS (SELECT 1 FROM lifecycle_obligation o WHERE o.credential_id = v.id)
        """
    )


def _open(found: Judged) -> list[tuple[Any, ...]]:
    within = found.within(f"f.{found.column}")
    return _write(
        found.cursor,
        f"""
        INSERT INTO lifecycle_finding (rule, {found.column}, owner_id, at_server_id, severity, raised_by, state,
                                       evidence, opened_at, refreshed_at, due_at, escalates_at, acknowledged_by,
                                       resolution)
        SELECT j.rule, j.id, j.owner_id, j.at_server_id, j.severity, r.raised_by, '{FindingState.OPEN.value}',
               j.evidence, %(now)s, %(now)s, %(now)s + {DUE_AFTER}, %(now)s + {WORSE_AFTER}, '', ''
        FROM violations j
        JOIN {_REASONS} ON r.reasons = j.reasons
        WHERE NOT EXISTS (
          SELECT 1 FROM lifecycle_finding f
          WHERE f.{found.column} = j.id AND f.rule = j.rule AND f.resolved_at IS NULL {within})
        RETURNING id, rule
        """,
        found.values,
    )


# What differs from the findings that there are, of all subjects together.
_FOUND = """
CREATE TEMPORARY TABLE differences (id uuid, severity_before smallint, owner_before uuid, evidence jsonb, owner_id uuid,
    at_server_id uuid, raised_by varchar[], due_at timestamptz, severity smallint, escalates_at timestamptz,
    is_escalated boolean, is_escalated_now boolean) ON COMMIT DROP;
CREATE TEMPORARY TABLE ends (id uuid, rule text, resolution text) ON COMMIT DROP
"""


def _compare(found: Judged) -> None:
    """Keep how findings differ from what was seen and which are over, before new ones are opened.

    What is over is met, gone or switched off, or the rule does not apply to it; what is unknown stays as it is.
    """
    found.execute(
        f"""
        INSERT INTO differences
        SELECT f.id, f.severity, f.owner_id, j.evidence, j.owner_id, j.at_server_id,
               r.raised_by, d.due_at, a.severity, a.escalates_at, a.is_escalated,
               a.is_escalated AND f.escalated_at IS NULL
        FROM lifecycle_finding f
        JOIN violations j ON f.{found.column} = j.id AND f.rule = j.rule AND f.resolved_at IS NULL
        CROSS JOIN LATERAL (
          SELECT f.opened_at + {DUE_AFTER} AS due_at, f.opened_at + {WORSE_AFTER} AS escalates_at,
                 {IS_ESCALATED} AS is_escalated
        ) d
        CROSS JOIN LATERAL (
          SELECT d.is_escalated, j.severity + d.is_escalated::integer AS severity,
                 CASE WHEN NOT d.is_escalated THEN d.escalates_at END AS escalates_at
        ) a
        JOIN {_REASONS} ON r.reasons = j.reasons + a.is_escalated::integer * {REASONS[Raised.PAST_DUE]}
        WHERE (f.severity, f.raised_by, f.owner_id, f.at_server_id, f.escalates_at, f.evidence)
              IS DISTINCT FROM (a.severity, r.raised_by, j.owner_id, j.at_server_id, a.escalates_at, j.evidence)
          {found.within(f"f.{found.column}")}
        """
    )
    found.execute(f"INSERT INTO ends {found.ends}")


def _lock_found(cursor: CursorWrapper) -> None:
    """Lock what will be written of the findings. People lock them in the same order."""
    cursor.execute("ANALYZE differences (id), ends (id)")
    _lock(cursor, Finding._meta.db_table, "SELECT id FROM differences UNION ALL SELECT id FROM ends")


def _lock(cursor: CursorWrapper, table: str, keys: str) -> None:
    """Lock the rows whose keys the SELECT gives, in the order of keys. Nothing is fetched."""
    cursor.execute(
        f"""
        SELECT count(*) FROM (
          SELECT id FROM {table} WHERE id = ANY (ARRAY({keys})) ORDER BY id FOR NO KEY UPDATE
        ) locked
        """
    )


def _refresh(cursor: CursorWrapper, now: datetime) -> list[tuple[Any, ...]]:
    """Bring unresolved findings up to what was seen, and note what that changed about the answer and the answerer.

    Looked for first and written then, because `RETURNING` does not know what was there before.
    """
    columns = ("severity", "raised_by", "owner_id", "at_server_id", "escalates_at", "evidence")
    return _write(
        cursor,
        f"""
        UPDATE lifecycle_finding f
        SET {", ".join(f"{column} = d.{column}" for column in columns)}, refreshed_at = %(now)s, due_at = d.due_at,
            escalated_at = CASE WHEN d.is_escalated THEN coalesce(f.escalated_at, %(now)s) END
        FROM differences d
        WHERE f.id = d.id AND f.resolved_at IS NULL
        RETURNING f.id, f.rule
        """,
        {"now": now},
        f"""
        INSERT INTO lifecycle_findingchange (finding_id, kind, changed_at, severity_before, severity, raised_by)
        SELECT d.id, k.kind, %(now)s, d.severity_before, d.severity, d.raised_by
        FROM differences d
        JOIN changed ON changed.id = d.id
        CROSS JOIN LATERAL (
          SELECT CASE WHEN d.is_escalated_now THEN '{Change.ESCALATED.value}'
                      WHEN d.severity > d.severity_before THEN '{Change.RAISED.value}'
                      WHEN d.severity < d.severity_before THEN '{Change.LOWERED.value}' END AS kind
          UNION ALL
          SELECT '{Change.HANDED_OVER.value}' WHERE d.owner_id IS DISTINCT FROM d.owner_before
        ) k
        WHERE k.kind IS NOT NULL
        """,
    )


def _resolve(cursor: CursorWrapper, now: datetime) -> list[tuple[Any, ...]]:
    return _write(
        cursor,
        f"""
        UPDATE lifecycle_finding f
        -- Not before it was opened, where a clock had been ahead.
        SET state = '{FindingState.RESOLVED.value}', resolved_at = greatest(%(now)s, f.opened_at),
            resolution = e.resolution
        FROM ends e
        WHERE f.id = e.id AND f.resolved_at IS NULL
        RETURNING f.id, f.rule
        """,
        {"now": now},
    )


def _tally(found: Judged, now: datetime) -> list[RuleState]:
    """Count for every rule how many subjects meet it, violate it or are unknown to it, in one pass."""
    columns = ", ".join(
        f"count(*) FILTER (WHERE {found.applies(rule)}),"
        f"count(*) FILTER (WHERE {found.applies(rule)} AND ({rule.violated})),"
        f"count(*) FILTER (WHERE {found.unknown(rule)})"
        for rule in found.rules
    )
    (numbers,) = found.execute(f"SELECT {columns} FROM subject_facts v")
    return [
        RuleState(
            rule=rule.slug,
            evaluated_at=now,
            met=population - violated - unknown,
            violated=violated,
            unknown=unknown,
        )
        for rule, population, violated, unknown in zip(
            found.rules, numbers[0::3], numbers[1::3], numbers[2::3], strict=True
        )
    ]


# What a sum of reasons says, as the findings keep it.
_REASONS = "(VALUES {}) AS r (reasons, raised_by)".format(
    ", ".join(
        f"({mask}, '{{{','.join(reason.value for reason, bit in REASONS.items() if mask & bit)}}}'::varchar[])"
        for mask in range(1 << len(REASONS))
    )
)


def recount(subject: Subject, ids: list[UUID], *, cursor: CursorWrapper) -> None:
    """Risk and open findings of these subjects, as their findings say this moment.

    Counted under their locks, so that of two who decide about one subject the later one counts what the earlier wrote.
    """
    table = TABLES[subject]
    lock = f"SELECT id FROM {table} WHERE id = ANY (%s) ORDER BY id FOR NO KEY UPDATE"
    despite_deadlocks(lambda: cursor.execute(lock, [ids]))
    select, columns = _counted(subject, is_within=True)
    values = ", ".join(f"{name} = r.{name}" for name in columns)
    cursor.execute(f"UPDATE {table} s SET {values} FROM ({select}) r WHERE r.id = s.id", {"scope": ids})


def _recount(cursor: CursorWrapper, subject: Subject, ids: list[UUID] | None) -> None:
    """The same of those that were judged, of all without `ids`: found without a lock, then written by key."""
    table = TABLES[subject]
    select, columns = _counted(subject, is_within=ids is not None, is_scored=subject is Subject.CREDENTIAL)
    cursor.execute(f"CREATE TEMPORARY TABLE recounted ON COMMIT DROP AS {select}", {"scope": ids})
    if cursor.rowcount:
        cursor.execute("ANALYZE recounted (id)")
        _lock(cursor, table, "SELECT r.id FROM recounted r")
        values = ", ".join(f"{name} = r.{name}" for name in columns)
        cursor.execute(f"UPDATE {table} s SET {values} FROM recounted r WHERE r.id = s.id")
    cursor.execute("DROP TABLE recounted")


def _counted(subject: Subject, *, is_within: bool, is_scored: bool = False) -> tuple[str, list[str]]:
    """A SELECT of the subjects whose risk or number of open findings differs from what their findings say, with both.

    `is_scored`: with the score of the facts at hand, nought for what has ended.
    """
    column = f"{subject.value}_id"
    counted = ", ".join(f"'{state.value}'" for state in COUNTED)
    within, within_findings = (
        ("AND t.id = ANY (%(scope)s)", f"AND f.{column} = ANY (%(scope)s)") if is_within else ("", "")
    )
    columns = {"risk": "coalesce(n.risk, 0)", "open_findings": "coalesce(n.number, 0)"}
    scored = ""
    if is_scored:
        columns["score"] = "coalesce(v.score, 0)"
        scored = "LEFT JOIN scores v ON v.id = t.id"
    select = f"""
        SELECT t.id, {", ".join(f"{value} AS {name}" for name, value in columns.items())}
        FROM {TABLES[subject]} t LEFT JOIN (
          SELECT f.{column} AS id, max(f.severity) AS risk, count(*) AS number FROM lifecycle_finding f
          WHERE f.resolved_at IS NULL AND f.state IN ({counted}) AND f.{column} IS NOT NULL {within_findings}
          GROUP BY f.{column}
        ) n ON n.id = t.id {scored}
        WHERE ({", ".join(f"t.{name}" for name in columns)}) IS DISTINCT FROM ({", ".join(columns.values())}) {within}
        """
    return select, list(columns)
