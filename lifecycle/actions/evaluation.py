"""Compare the estate with the rules, set-based: open, refresh and resolve findings in a fixed number of statements.

A full evaluation looks at every live subject. An incremental one looks at what became due since the last one, an
index range, and at what the audit entries since then name as changed; their order is the order of commits, so nothing
slips between two runs. What it cannot narrow down it evaluates in full. Where nothing differs nothing is written,
except the mark and the rules' counts after a full evaluation, which say when it was made.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import islice
from time import perf_counter
from typing import Any, Self
from uuid import UUID

from django.db import connection as database
from django.db.backends.utils import CursorWrapper
from django.db.models import Exists, OuterRef, Q, QuerySet

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from audit.models import AuditEntry
from inventory.models import Credential, Exposure, Grant, McpServer, Use
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
    Event.USER_VIEW_SAVED,
    Event.USER_VIEW_FORGOTTEN,
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

TABLES = {Subject.CREDENTIAL: Credential._meta.db_table, Subject.SERVER: McpServer._meta.db_table}


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
                _move_mark(mark, now=now, seq=seq, digest=digest)
            return result
        began = perf_counter()
        _evaluate_scope(cursor, scope, now=now, result=result)
        took = timedelta(seconds=perf_counter() - began) if result.is_full else None
        _move_mark(mark, now=now, seq=seq, digest=digest, full_in=took)
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


def _changed_by(kind: str, subject_ids: set[str]) -> tuple[Iterable[UUID], Iterable[UUID]]:
    most = LARGEST_SCOPE + 1

    def keys(rows: QuerySet[Any], column: str = "pk") -> Iterable[UUID]:
        return rows.order_by().values_list(column, flat=True).distinct()[:most]

    if kind not in {"credential", "mcpserver", "finding", "owner", "connection", "grant"}:
        raise _TooLarge
    ids = {UUID(one) for one in subject_ids}
    match kind:
        case "credential":
            return ids, ()
        case "mcpserver":
            return keys(Use.objects.filter(server__in=ids, credential__isnull=False), "credential"), ids
        case "finding":
            of = Finding.objects.filter(pk__in=ids)
            return (
                keys(of.filter(credential__isnull=False), "credential"),
                keys(of.filter(server__isnull=False), "server"),
            )
        case "grant":
            # What one client may do on a server is judged with the server and with what it carries there.
            grants = Grant.objects.filter(pk__in=ids)
            of_pair = Exists(grants.filter(client=OuterRef("client"), server=OuterRef("server")))
            return keys(Use.objects.filter(of_pair, credential__isnull=False), "credential"), keys(grants, "server")
        case "owner":
            owners = Q(iam_owner__in=ids) | Q(platform_owner__in=ids) | Q(application_owner__in=ids)
            return keys(Credential.objects.filter(owner__in=ids)), keys(McpServer.objects.filter(owners))
        case _:
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


# ── Look at it ─────────────────────────────────────────────────────────────────────────────────
def _evaluate_scope(cursor: CursorWrapper, scope: Scope | None, *, now: datetime, result: Evaluation) -> None:
    if scope is None:
        # Estimates over many conditions are guesses, and a wrong one costs minutes in a nested loop.
        cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute("SET LOCAL work_mem = '128MB'")
    changes = sha256()
    for subject in Subject:
        ids = None if scope is None else scope.ids(subject)
        if ids is not None and not ids:
            continue
        rules = [rule for rule in RULES.values() if rule.subject is subject]
        with _Judge(cursor, subject, rules, ids, now) as judge:
            result.subjects += judge.subjects
            if subject is Subject.CREDENTIAL:
                judge.bind()
            for verb, statement in (("opened", judge.open), ("refreshed", judge.refresh), ("resolved", judge.resolve)):
                for rule, number, digest in statement():
                    setattr(result, verb, getattr(result, verb) + number)
                    result.rules.setdefault(rule, {})[verb] = number
                    changes.update(f"{rule} {verb} {number} {digest}\n".encode())
            if scope is None:
                judge.tally()
        recount(subject, ids, cursor=cursor)
    if scope is None:
        RuleState.objects.exclude(rule__in=RULES).delete()
        cursor.execute("SET LOCAL enable_nestloop = on")
        cursor.execute("SET LOCAL work_mem TO DEFAULT")
    result.digest = changes.hexdigest()


def _move_mark(
    mark: EvaluationMark | None, *, now: datetime, seq: int, digest: str, full_in: timedelta | None = None
) -> None:
    moved = mark or EvaluationMark(id=1)
    # Not back, unless for a full evaluation: a worker whose clock is behind must not make time pass twice.
    moved.evaluated_at = max(now, mark.evaluated_at) if mark and full_in is None else now
    if full_in is not None:
        moved.full_at, moved.duration = now, full_in
    moved.seq, moved.digest = seq, digest
    moved.save()


class _Judge:
    """The statements of one subject. The facts and what violates a rule are gathered once, in temporary tables."""

    def __init__(
        self, cursor: CursorWrapper, subject: Subject, rules: list[Rule], ids: list[UUID] | None, now: datetime
    ) -> None:
        self.cursor = cursor
        self.subject = subject
        self.rules = rules
        self.column = f"{subject.value}_id"
        self.now = now
        self.values = {"now": now, "scope": ids}
        self.is_full = ids is None
        self.subjects = 0

    def within(self, column: str) -> str:
        return "" if self.is_full else f"AND {column} = ANY (%(scope)s)"

    def __enter__(self) -> Self:
        self._gather("subject_facts", facts(self.subject, within_scope=not self.is_full))
        self.subjects = self._execute("SELECT count(*) FROM subject_facts")[0][0]
        self._gather(
            "violations",
            " UNION ALL ".join(
                f"SELECT '{rule.slug}' AS rule, v.id, {_severity(rule)} AS severity, {_evidence(rule)} AS evidence"
                f" FROM subject_facts v WHERE ({rule.applies}) AND ({rule.violated})"
                for rule in self.rules
            ),
        )
        return self

    def __exit__(self, raised: type[BaseException] | None, *_: object) -> None:
        if raised is None:  # else the transaction is over, and the tables with it
            self._execute("DROP TABLE violations, subject_facts")

    def _execute(self, statement: str) -> list[tuple[Any, ...]]:
        self.cursor.execute(statement, self.values)
        return self.cursor.fetchall() if self.cursor.description else []

    def _gather(self, name: str, select: str) -> None:
        self._execute(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {select}")
        self._execute(f"ANALYZE {name}")

    def _write(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement that returns ids and rules: by rule the number and one digest over the ids in order."""
        return self._execute(
            f"""
            WITH changed AS ({statement})
            SELECT rule, count(*), encode(sha256(string_agg(uuid_send(id), '' ORDER BY id)), 'hex')
            FROM changed GROUP BY rule ORDER BY rule
            """
        )

    def bind(self) -> None:
        """Obligations as the facts imply them. Rows that would stay the same are not touched."""
        self._execute(
            f"""
            DELETE FROM lifecycle_obligation o
            WHERE NOT EXISTS (SELECT 1 FROM subject_facts v WHERE v.id = o.credential_id)
              {self.within("o.credential_id")}
            """
        )
        self._execute(
            f"""
            UPDATE lifecycle_obligation o
            SET policy_id = v.policy_id, rotate_by = v.rotate_by, stale_at = v.stale_at, expires_at = v.expires_at
            FROM subject_facts v
            WHERE v.id = o.credential_id {self.within("o.credential_id")}
              AND (o.policy_id, o.rotate_by, o.stale_at, o.expires_at)
                  IS DISTINCT FROM (v.policy_id, v.rotate_by, v.stale_at, v.expires_at)
            """
        )
        self._execute(
            """
            INSERT INTO lifecycle_obligation (credential_id, policy_id, rotate_by, stale_at, expires_at)
            SELECT v.id, v.policy_id, v.rotate_by, v.stale_at, v.expires_at FROM subject_facts v
            WHERE NOT EXISTS (SELECT 1 FROM lifecycle_obligation o WHERE o.credential_id = v.id)
            """
        )

    def open(self) -> list[tuple[Any, ...]]:
        within = self.within(f"f.{self.column}")
        return self._write(
            f"""
            INSERT INTO lifecycle_finding (rule, {self.column}, severity, state, evidence, opened_at, refreshed_at,
                                           due_at, acknowledged_by, resolution)
            SELECT j.rule, j.id, j.severity, '{FindingState.OPEN.value}', j.evidence, %(now)s, %(now)s,
                   %(now)s + {_DUE}, '', ''
            FROM violations j
            WHERE NOT EXISTS (
              SELECT 1 FROM lifecycle_finding f
              WHERE f.{self.column} = j.id AND f.rule = j.rule AND f.resolved_at IS NULL {within})
            RETURNING id, rule
            """
        )

    def refresh(self) -> list[tuple[Any, ...]]:
        within = self.within(f"f.{self.column}")
        return self._write(
            f"""
            UPDATE lifecycle_finding f
            SET severity = j.severity, evidence = j.evidence, refreshed_at = %(now)s, due_at = f.opened_at + {_DUE}
            FROM violations j
            WHERE f.{self.column} = j.id AND f.rule = j.rule AND f.resolved_at IS NULL {within}
              AND (f.severity, f.evidence) IS DISTINCT FROM (j.severity, j.evidence)
            RETURNING f.id, f.rule
            """
        )

    def resolve(self) -> list[tuple[Any, ...]]:
        """Resolve what is met, what is gone and what the rule does not apply to. What is unknown stays as it is."""
        within = self.within(f"o.{self.column}")
        unknown, applies = (
            " ".join(f"WHEN '{rule.slug}' THEN ({getattr(rule, condition)}) IS TRUE" for rule in self.rules)
            for condition in ("unknown", "applies")
        )
        return self._write(
            f"""
            UPDATE lifecycle_finding f
            SET state = '{FindingState.RESOLVED.value}', resolved_at = %(now)s, resolution = r.resolution
            FROM (
              SELECT o.id,
                     CASE WHEN v.id IS NULL THEN '{Resolution.GONE.value}'
                          WHEN NOT (CASE o.rule {applies} ELSE false END) THEN '{Resolution.NOT_APPLICABLE.value}'
                          WHEN NOT (CASE o.rule {unknown} ELSE false END) THEN '{Resolution.MET.value}'
                     END AS resolution
              FROM lifecycle_finding o
              LEFT JOIN violations j ON j.id = o.{self.column} AND j.rule = o.rule
              LEFT JOIN subject_facts v ON v.id = o.{self.column}
              WHERE o.resolved_at IS NULL AND o.{self.column} IS NOT NULL AND j.id IS NULL {within}
            ) r
            WHERE f.id = r.id AND f.resolved_at IS NULL AND r.resolution IS NOT NULL
            RETURNING f.id, f.rule
            """
        )

    def tally(self) -> None:
        """Count for every rule how many subjects meet it, violate it or are unknown to it, in one pass."""
        columns = ", ".join(
            f"count(*) FILTER (WHERE ({rule.applies})),"
            f"count(*) FILTER (WHERE ({rule.applies}) AND ({rule.violated})),"
            f"count(*) FILTER (WHERE ({rule.applies}) AND ({rule.violated}) IS NOT TRUE AND ({rule.unknown}))"
            for rule in self.rules
        )
        (numbers,) = self._execute(f"SELECT {columns} FROM subject_facts v")
        for rule, population, violated, unknown in zip(
            self.rules, numbers[0::3], numbers[1::3], numbers[2::3], strict=True
        ):
            RuleState(
                rule=rule.slug,
                evaluated_at=self.now,
                met=population - violated - unknown,
                violated=violated,
                unknown=unknown,
            ).save()


_DUE = "(CASE j.severity {} END)".format(
    " ".join(
        f"WHEN {severity.value} THEN interval '{int(time.total_seconds())} s'" for severity, time in DUE_WITHIN.items()
    )
)


def _severity(rule: Rule) -> str:
    most, base = Severity.CRITICAL.value, rule.severity.value
    return f"(CASE WHEN {rule.raised} THEN {min(base + 1, most)} ELSE {base} END)::smallint"


def _evidence(rule: Rule) -> str:
    pairs = ", ".join(f"'{name}', {expression}" for name, expression in rule.evidence.items())
    return f"jsonb_strip_nulls(jsonb_build_object({pairs}))"


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
