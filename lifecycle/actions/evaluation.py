"""Compare the estate with the rules, set-based: open, refresh and resolve findings in a fixed number of statements.

A full evaluation looks at every live subject. An incremental one looks at what became due since the last one, an
index range, and at what the audit entries since then name as changed; their order is the order of commits, so nothing
slips between two runs. What it cannot narrow down it evaluates in full. Where nothing differs nothing is written,
except the mark and the rules' counts after a full evaluation, which say when it was made.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import islice
from time import perf_counter
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db.backends.utils import CursorWrapper
from django.db.models import Q, QuerySet

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from audit.models import AuditEntry
from inventory.models import Credential, Exposure, McpServer, Use
from inventory.states import Severity
from lifecycle.errors import EvaluationUnderWay
from lifecycle.models import EvaluationMark, Finding, Obligation, Policy, RuleState
from lifecycle.rules import RULES, Rule, Subject
from lifecycle.rules.facts import facts
from lifecycle.states import COUNTED, DUE_WITHIN, FindingState, Resolution

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
    Event.TOKEN_ISSUED,
    Event.CONNECTION_CREATED,
    Event.CONNECTION_CHANGED,
    Event.CONNECTION_SYNC_REQUESTED,
    Event.OWNER_CREATED,
    Event.ENVIRONMENT_CREATED,
    Event.CLIENT_OWNER_ASSIGNED,
    Event.FINDINGS_EVALUATED,
    Event.CHAIN_HEAD_SIGNED,
}

TABLES = {Subject.CREDENTIAL: "inventory_credential", Subject.SERVER: "inventory_mcpserver"}


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

    credentials: set[UUID] = field(default_factory=set)
    servers: set[UUID] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.credentials) + len(self.servers)

    def ids(self, subject: Subject) -> list[UUID]:
        return sorted(self.credentials if subject is Subject.CREDENTIAL else self.servers)


class _TooLarge(Exception):
    """The scope has outgrown what an incremental evaluation is for."""


@action
def evaluate(now: datetime, *, actor: Actor, full: bool = False) -> Evaluation:
    """Bring findings, obligations and risk up to `now`. Raises EvaluationUnderWay rather than wait for another one."""
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('keyreeve evaluation', 0))")
        if not cursor.fetchone()[0]:
            raise EvaluationUnderWay
        # Read before anything else: what is committed later has a higher number and is looked at next time.
        seq = AuditEntry.objects.order_by("-seq").values_list("seq", flat=True).first() or 0
        mark = EvaluationMark.objects.first()
        digest = _digest_of_what_is_asked()
        scope = None if full else _scope(mark, seq=seq, digest=digest, now=now)
        result = Evaluation(is_full=scope is None)
        if scope is not None and not scope:
            if mark is not None and seq - mark.seq > PASSED_ENTRIES:
                _move_mark(mark, now=now, seq=seq, digest=digest, is_full=False)
            return result
        _evaluate_scope(cursor, scope, now=now, result=result)
        _move_mark(mark, now=now, seq=seq, digest=digest, is_full=result.is_full)
    if result.changed:
        record(
            Event.FINDINGS_EVALUATED,
            actor=actor,
            detail={
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


# ── What to look at ────────────────────────────────────────────────────────────────────────────
def _digest_of_what_is_asked() -> str:
    """Changes when a rule or a policy does, whoever changed it."""
    asked = [(rule.slug, rule.severity, rule.violated, rule.unknown, rule.applies, rule.raised, dict(rule.evidence))
             for rule in RULES.values()]  # fmt: skip
    policies = list(
        Policy.objects.order_by("id").values_list(
            "id", "name", "priority", "kinds", "trust_model", "environment_id",
            "max_age", "max_idle", "max_lifetime", "requires_expiry",
        )
    )  # fmt: skip
    gathered = [facts(subject, within_scope=False) for subject in Subject]
    return sha256(repr((asked, policies, gathered)).encode()).hexdigest()


def _scope(mark: EvaluationMark | None, *, seq: int, digest: str, now: datetime) -> Scope | None:
    """What may have changed since `mark`; None when only a full evaluation will tell."""
    if mark is None or mark.digest != digest or now - mark.full_at >= FULL_EVERY:
        return None
    scope = Scope()
    try:
        _add(scope.credentials, _became_due(mark.evaluated_at, now))
        for credentials, servers in _changed_since(mark.seq, seq):
            _add(scope.credentials, credentials)
            _add(scope.servers, servers)
    except _TooLarge:
        return None
    # A list of at most that many keys; `count` would read every row of a large estate.
    if scope and len(Credential.objects.order_by().values_list("pk")[: SMALL_ESTATE + 1]) <= SMALL_ESTATE:
        return None
    return scope


def _add(known: set[UUID], more: Iterable[UUID]) -> None:
    known.update(islice(more, LARGEST_SCOPE + 1))
    if len(known) > LARGEST_SCOPE:
        raise _TooLarge


def _became_due(since: datetime, now: datetime) -> Iterable[UUID]:
    passed = Q()
    for date in ("rotate_by", "stale_at", "expires_at"):
        passed |= Q(**{f"{date}__gt": since, f"{date}__lte": now})
    return Obligation.objects.filter(passed).values_list("pk", flat=True)[: LARGEST_SCOPE + 1]


def _changed_since(after: int, until: int) -> Iterator[tuple[Iterable[UUID], Iterable[UUID]]]:
    """Credentials and servers that the audit entries in between may have changed."""
    entries = AuditEntry.objects.filter(seq__gt=after, seq__lte=until).exclude(event__in=WITHOUT_EFFECT)
    facts_of_each = entries.order_by("seq").values_list("event", "subject_kind", "subject_id", "detail__changes")
    named: dict[str, set[str]] = {}
    for event, kind, subject_id, changes in facts_of_each.iterator():
        if event == Event.CONNECTION_SYNCED.value and not changes:
            continue
        named.setdefault(kind, set()).add(subject_id)
        if len(named[kind]) > LARGEST_SCOPE:
            raise _TooLarge
    for kind, ids in named.items():
        yield _changed_by(kind, ids)


def _changed_by(kind: str, ids: set[str]) -> tuple[Iterable[UUID], Iterable[UUID]]:
    most = LARGEST_SCOPE + 1

    def keys(rows: QuerySet[Any], column: str = "pk") -> Iterable[UUID]:
        return rows.order_by().values_list(column, flat=True).distinct()[:most]

    match kind:
        case "credential":
            return [UUID(one) for one in ids], ()
        case "mcpserver":
            return keys(Use.objects.filter(server__in=ids, credential__isnull=False), "credential"), map(UUID, ids)
        case "finding":
            of = Finding.objects.filter(pk__in=ids)
            return (
                keys(of.filter(credential__isnull=False), "credential"),
                keys(of.filter(server__isnull=False), "server"),
            )
        case "owner":
            owners = Q(iam_owner__in=ids) | Q(platform_owner__in=ids) | Q(application_owner__in=ids)
            return keys(Credential.objects.filter(owner__in=ids)), keys(McpServer.objects.filter(owners))
        case "connection":
            # A credential that several connections list belongs to the first of them, its uses and exposures do not.
            uses = Use.objects.filter(connection__in=ids)
            credentials: set[UUID] = set()
            _add(credentials, keys(Credential.objects.filter(connection__in=ids)))
            _add(credentials, keys(uses.filter(credential__isnull=False), "credential"))
            _add(credentials, keys(Exposure.objects.filter(connection__in=ids), "credential"))
            servers: set[UUID] = set()
            _add(servers, keys(McpServer.objects.filter(connection__in=ids)))
            _add(servers, keys(uses, "server"))
            return credentials, servers
        case _:
            raise _TooLarge


# ── Look at it ─────────────────────────────────────────────────────────────────────────────────
def _evaluate_scope(cursor: CursorWrapper, scope: Scope | None, *, now: datetime, result: Evaluation) -> None:
    if scope is None:
        # Estimates over many conditions are guesses, and a wrong one costs minutes in a nested loop.
        cursor.execute("SET LOCAL enable_nestloop = off")
    changes = sha256()
    for subject in Subject:
        ids = None if scope is None else scope.ids(subject)
        if ids is not None and not ids:
            continue
        with _gathered(cursor, subject, ids) as judge:
            result.subjects += judge.count()
            if subject is Subject.CREDENTIAL:
                judge.bind()
            for rule in RULES.values():
                if rule.subject is subject:
                    _apply(judge, rule, now=now, result=result, changes=changes)
            gone = judge.resolve_gone(now)
            _count(result, "", changes, resolved=gone)
        recount(subject, ids, cursor=cursor)
    if scope is None:
        _count(result, "", changes, resolved=_resolve_undeclared(cursor, now))
        RuleState.objects.exclude(rule__in=RULES).delete()
        cursor.execute("SET LOCAL enable_nestloop = on")
    result.digest = changes.hexdigest()


def _apply(judge: "_Judge", rule: Rule, *, now: datetime, result: Evaluation, changes: Any) -> None:
    began = perf_counter()
    _count(
        result,
        rule.slug,
        changes,
        opened=judge.open(rule, now),
        refreshed=judge.refresh(rule, now),
        resolved=judge.resolve(rule, now),
    )
    if result.is_full:
        met, violated, unknown = judge.tally(rule, now)
        RuleState(
            rule=rule.slug,
            evaluated_at=now,
            met=met,
            violated=violated,
            unknown=unknown,
            duration=timedelta(seconds=perf_counter() - began),
        ).save()


def _count(result: Evaluation, rule: str, changes: Any, **done: tuple[int, str]) -> None:
    for verb, (number, digest) in done.items():
        if number:
            setattr(result, verb, getattr(result, verb) + number)
            of_rule = result.rules.setdefault(rule or "gone", {})
            of_rule[verb] = of_rule.get(verb, 0) + number
            changes.update(f"{rule} {verb} {digest}\n".encode())


def _move_mark(mark: EvaluationMark | None, *, now: datetime, seq: int, digest: str, is_full: bool) -> None:
    moved = mark or EvaluationMark(id=1)
    # Never back: a worker whose clock is behind must not make time pass twice.
    moved.evaluated_at = max(now, mark.evaluated_at) if mark and not is_full else now
    moved.full_at = now if is_full else moved.full_at
    moved.seq, moved.digest = seq, digest
    moved.save()


_SEVERITIES_DUE = "CASE {} {} END".format(
    "{severity}",
    " ".join(
        f"WHEN {severity.value} THEN interval '{int(time.total_seconds())} s'" for severity, time in DUE_WITHIN.items()
    ),
)
# What a writing statement returns is never read row by row: one count, and one digest over the ids in order.
_SUMMARY = (
    "SELECT count(*), encode(sha256(coalesce(string_agg(uuid_send(id), '' ORDER BY id), '')), 'hex') FROM changed"
)


class _Judge:
    """The statements of one subject over the facts that were gathered for this run."""

    def __init__(self, cursor: CursorWrapper, subject: Subject, ids: list[UUID] | None) -> None:
        self.cursor = cursor
        self.ids = ids
        self.facts = f"{subject.value}_facts"
        self.column = f"{subject.value}_id"
        self.within = f"AND f.{self.column} = ANY (%(scope)s)" if ids is not None else ""

    def _write(self, statement: str, **values: Any) -> tuple[int, str]:
        self.cursor.execute(f"WITH changed AS ({statement}) {_SUMMARY}", {"scope": self.ids, **values})
        number, digest = self.cursor.fetchone()
        return number, digest

    def count(self) -> int:
        self.cursor.execute(f"SELECT count(*) FROM {self.facts}")
        return int(self.cursor.fetchone()[0])

    def bind(self) -> None:
        """Obligations as the facts imply them. Rows that would stay the same are not touched."""
        values = {"scope": self.ids}
        within = "AND o.credential_id = ANY (%(scope)s)" if self.ids is not None else ""
        self.cursor.execute(
            f"DELETE FROM lifecycle_obligation o WHERE NOT EXISTS"
            f" (SELECT 1 FROM {self.facts} v WHERE v.id = o.credential_id) {within}",
            values,
        )
        self.cursor.execute(
            f"""
            UPDATE lifecycle_obligation o
            SET policy_id = v.policy_id, rotate_by = v.rotate_by, stale_at = v.stale_at, expires_at = v.expires_at
            FROM {self.facts} v
            WHERE v.id = o.credential_id {within}
              AND (o.policy_id, o.rotate_by, o.stale_at, o.expires_at)
                  IS DISTINCT FROM (v.policy_id, v.rotate_by, v.stale_at, v.expires_at)
            """,
            values,
        )
        self.cursor.execute(
            f"""
            INSERT INTO lifecycle_obligation (credential_id, policy_id, rotate_by, stale_at, expires_at)
            SELECT v.id, v.policy_id, v.rotate_by, v.stale_at, v.expires_at FROM {self.facts} v
            WHERE NOT EXISTS (SELECT 1 FROM lifecycle_obligation o WHERE o.credential_id = v.id)
            """,
            values,
        )

    def open(self, rule: Rule, now: datetime) -> tuple[int, str]:
        return self._write(
            f"""
            INSERT INTO lifecycle_finding (rule, {self.column}, severity, state, evidence, opened_at, refreshed_at,
                                           due_at, acknowledged_by, resolution)
            SELECT %(rule)s, v.id, {_severity(rule)}, '{FindingState.OPEN.value}', {_evidence(rule)}, %(now)s, %(now)s,
                   %(now)s + {_due(_severity(rule))}, '', ''
            FROM {self.facts} v
            WHERE ({rule.applies}) AND ({rule.violated}) AND NOT EXISTS (
              SELECT 1 FROM lifecycle_finding f
              WHERE f.{self.column} = v.id AND f.rule = %(rule)s AND f.resolved_at IS NULL)
            RETURNING id
            """,
            rule=rule.slug,
            now=now,
        )

    def refresh(self, rule: Rule, now: datetime) -> tuple[int, str]:
        return self._write(
            f"""
            UPDATE lifecycle_finding f
            SET severity = {_severity(rule)}, evidence = {_evidence(rule)}, refreshed_at = %(now)s,
                due_at = f.opened_at + {_due(_severity(rule))}
            FROM {self.facts} v
            WHERE f.rule = %(rule)s AND f.resolved_at IS NULL AND f.{self.column} = v.id {self.within}
              AND ({rule.applies}) AND ({rule.violated})
              AND (f.severity, f.evidence) IS DISTINCT FROM ({_severity(rule)}, {_evidence(rule)})
            RETURNING f.id
            """,
            rule=rule.slug,
            now=now,
        )

    def resolve(self, rule: Rule, now: datetime) -> tuple[int, str]:
        """Resolve what is met, or what the rule no longer applies to. An unknown verdict resolves nothing."""
        return self._write(
            f"""
            UPDATE lifecycle_finding f
            SET state = '{FindingState.RESOLVED.value}', resolved_at = %(now)s,
                resolution = CASE WHEN ({rule.applies}) THEN '{Resolution.MET.value}'
                                  ELSE '{Resolution.NOT_APPLICABLE.value}' END
            FROM {self.facts} v
            WHERE f.rule = %(rule)s AND f.resolved_at IS NULL AND f.{self.column} = v.id {self.within}
              AND (({rule.applies}) IS NOT TRUE OR ({rule.violated}) IS NOT TRUE AND ({rule.unknown}) IS NOT TRUE)
            RETURNING f.id
            """,
            rule=rule.slug,
            now=now,
        )

    def resolve_gone(self, now: datetime) -> tuple[int, str]:
        return self._write(
            f"""
            UPDATE lifecycle_finding f
            SET state = '{FindingState.RESOLVED.value}', resolved_at = %(now)s, resolution = '{Resolution.GONE.value}'
            WHERE f.resolved_at IS NULL AND f.{self.column} IS NOT NULL {self.within}
              AND NOT EXISTS (SELECT 1 FROM {self.facts} v WHERE v.id = f.{self.column})
            RETURNING f.id
            """,
            now=now,
        )

    def tally(self, rule: Rule, now: datetime) -> tuple[int, int, int]:
        """How many subjects meet the rule, violate it, or are unknown to it."""
        self.cursor.execute(
            f"""
            SELECT count(*) FILTER (WHERE ({rule.violated}) IS NOT TRUE AND ({rule.unknown}) IS NOT TRUE),
                   count(*) FILTER (WHERE {rule.violated}),
                   count(*) FILTER (WHERE ({rule.violated}) IS NOT TRUE AND ({rule.unknown}))
            FROM {self.facts} v WHERE {rule.applies}
            """,
            {"now": now},
        )
        met, violated, unknown = self.cursor.fetchone()
        return met, violated, unknown


@contextmanager
def _gathered(cursor: CursorWrapper, subject: Subject, ids: list[UUID] | None) -> Iterator[_Judge]:
    """The facts of this run in a temporary table, so that each rule reads narrow rows and joins nothing."""
    judge = _Judge(cursor, subject, ids)
    cursor.execute(
        f"CREATE TEMPORARY TABLE {judge.facts} ON COMMIT DROP AS {facts(subject, within_scope=ids is not None)}",
        {"scope": ids} if ids is not None else None,
    )
    cursor.execute(f"ANALYZE {judge.facts}")
    yield judge
    cursor.execute(f"DROP TABLE {judge.facts}")


def _severity(rule: Rule) -> str:
    most, base = Severity.CRITICAL.value, rule.severity.value
    return f"(CASE WHEN {rule.raised} THEN {min(base + 1, most)} ELSE {base} END)"


def _evidence(rule: Rule) -> str:
    pairs = ", ".join(f"'{name}', {expression}" for name, expression in rule.evidence.items())
    return f"jsonb_strip_nulls(jsonb_build_object({pairs}))"


def _due(severity: str) -> str:
    return _SEVERITIES_DUE.format(severity=severity)


def _resolve_undeclared(cursor: CursorWrapper, now: datetime) -> tuple[int, str]:
    """Findings of rules that this release no longer has."""
    cursor.execute(
        f"""
        WITH changed AS (
          UPDATE lifecycle_finding
          SET state = '{FindingState.RESOLVED.value}', resolved_at = %(now)s,
              resolution = '{Resolution.NOT_APPLICABLE.value}'
          WHERE resolved_at IS NULL AND rule <> ALL (%(rules)s)
          RETURNING id
        ) {_SUMMARY}
        """,
        {"now": now, "rules": list(RULES)},
    )
    number, digest = cursor.fetchone()
    return number, digest


def recount(subject: Subject, ids: list[UUID] | None, *, cursor: CursorWrapper) -> None:
    """Risk and open findings of the subjects, as their findings say; of all of them without `ids`."""
    table, column = TABLES[subject], f"{subject.value}_id"
    counted = ", ".join(f"'{state.value}'" for state in COUNTED)
    within, within_findings = ("AND s.id = ANY (%(scope)s)", f"AND f.{column} = ANY (%(scope)s)") if ids else ("", "")
    cursor.execute(
        f"""
        UPDATE {table} s SET risk = coalesce(n.risk, 0), open_findings = coalesce(n.number, 0)
        FROM {table} t LEFT JOIN (
          SELECT f.{column} AS id, max(f.severity) AS risk, count(*) AS number FROM lifecycle_finding f
          WHERE f.resolved_at IS NULL AND f.state IN ({counted}) AND f.{column} IS NOT NULL {within_findings}
          GROUP BY f.{column}
        ) n ON n.id = t.id
        WHERE t.id = s.id {within}
          AND (s.risk, s.open_findings) IS DISTINCT FROM (coalesce(n.risk, 0), coalesce(n.number, 0))
        """,
        {"scope": ids},
    )
