"""What saving a change would do to the estate as it stands, before it is saved.

The estate is judged twice at one instant: under what is asked now, and under what would be asked. What differs is what
the next evaluation does because of the change, however long ago the last one was. A finding that is open stays so
while nobody can tell, as in an evaluation.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.backends.utils import CursorWrapper

from inventory.states import Severity
from lifecycle.actions.evaluation import TABLES
from lifecycle.actions.judging import FACT, IS_ESCALATED, Judged, at_full_speed, bind, judged
from lifecycle.errors import RuleUnknown
from lifecycle.models import EvaluationMark, Policy
from lifecycle.models.asked import as_asked, asked_now
from lifecycle.rules import RULES, Rule, Subject
from lifecycle.rules.asked import Asked, AskedPolicy
from lifecycle.states import FindingState
from lifecycle.trials.rehearsal import as_plain, rehearsal
from web.wording import plural

MOST_EXAMPLES = 10  # of each kind
NARROW = 5_000  # credentials up to which only those are judged that the policy binds, before or after
NO_POLICY = "no policy"

# Facts that come from the policy that binds a credential.
_OF_POLICY = (
    "policy_id", "policy", "max_age", "max_idle", "max_lifetime", "review_interval", "requires_owner",
    "requires_expiry", "requires_reference", "allowed_scopes", "rotate_by", "stale_at", "review_by",
)  # fmt: skip

# Rules that apply only where the policy asks for this.
_ASKED_BY = {
    "unrotated": "max_age",
    "stale": "max_idle",
    "lifetime-too-long": "max_lifetime",
    "review-overdue": "review_interval",
    "no-expiry": "requires_expiry",
    "kept-as-literal": "requires_reference",
    "scope-not-allowed": "allowed_scopes",
}

# Facts of a server that come from the policies that bind the credentials used on it.
_OF_LOGGING = ("happenings", "unlogged", "unrecorded")

Pair = tuple[AskedPolicy | None, AskedPolicy | None]  # what binds a credential before and after


@dataclass(frozen=True, slots=True)
class Moved:
    """Credentials that come from another policy or go to it; without an id those that none binds."""

    policy: UUID | None
    name: str
    credentials: int


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One rule. `unknown` counts those of whom nobody can tell: among what the policy binds before or after, and of
    everything where a rule is set."""

    rule: str
    name: str
    opened: int = 0
    closed: int = 0
    closed_waived: int = 0
    raised: int = 0
    lowered: int = 0
    unknown_before: int = 0
    unknown_after: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """One subject; of a finding its rule and the sentence that would stand in its title."""

    subject: str
    id: UUID
    name: str
    rule: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class DryRun:
    """See the module. `closed_waived` of what would close is waived; `owners` answer for what would change."""

    kind: str  # policy, retirement, setting
    computed_at: datetime
    mark: int | None  # the audit entry up to which the last evaluation looked; none before the first
    evaluated_at: datetime | None
    sentence: str
    bound_before: int
    bound_after: int
    newly_bound: tuple[Moved, ...]
    released: tuple[Moved, ...]
    opened: int
    closed: int
    closed_waived: int
    raised: int
    lowered: int
    owners: int
    unknown_before: int
    unknown_after: int
    rules: tuple[RuleChange, ...]
    ties: tuple[str, ...]  # names of other policies of the same priority
    opened_examples: tuple[Example, ...]
    closed_examples: tuple[Example, ...]
    changed_examples: tuple[Example, ...]
    bound_examples: tuple[Example, ...]
    released_examples: tuple[Example, ...]

    @property
    def changes(self) -> int:
        """Findings that would not stay as they are."""
        return self.opened + self.closed + self.raised + self.lowered

    def as_json(self) -> dict[str, Any]:
        """As `PolicyVersion.dry_run` keeps it."""
        plain: dict[str, Any] = as_plain(asdict(self))
        return plain


def dry_run(draft: Policy, now: datetime) -> DryRun:
    """What saving `draft`, a new policy or the next version of one, would do. Raises TrialTookTooLong."""
    before = asked_now()
    asked = as_asked(draft)
    ties = Policy.objects.tied_with(draft).values_list("name", flat=True)
    return _of_policy("policy", before, before.with_policy(asked), asked.id, now, ties=tuple(ties))


def dry_run_of_retirement(policy: Policy, now: datetime) -> DryRun:
    """What retiring `policy` would do. Raises TrialTookTooLong."""
    before = asked_now()
    return _of_policy("retirement", before, before.without_policy(policy.pk), policy.pk, now)


def dry_run_of_setting(slug: str, is_on: bool, severity: Severity | None, now: datetime) -> DryRun:
    """What setting a rule so would do. Raises RuleUnknown and TrialTookTooLong."""
    if slug not in RULES:
        raise RuleUnknown
    before = asked_now()
    after = before.with_setting(slug, is_on=is_on, severity=severity)
    with rehearsal() as cursor, at_full_speed(cursor):
        trial = _Trial(cursor, before, after, now)
        is_regraded = before.setting(slug).severity != severity
        trial.judge(RULES[slug].subject, [RULES[slug]], regraded={slug} if is_regraded else set())
        return trial.result("setting")


def _of_policy(
    kind: str, before: Asked, after: Asked, policy_id: UUID, now: datetime, *, ties: tuple[str, ...] = ()
) -> DryRun:
    with rehearsal() as cursor, at_full_speed(cursor):
        trial = _Trial(cursor, before, after, now)
        pairs = trial.bind(policy_id)
        regraded = {rule for was, would in pairs for rule in _said_otherwise(was, would)}
        trial.judge(Subject.CREDENTIAL, _rules_under_policies(before, after, pairs, regraded), regraded=regraded)
        if any(policy.logging for asked in (before, after) for policy in asked.policies):
            differs = any((was.logging if was else ()) != (would.logging if would else ()) for was, would in pairs)
            trial.judge(Subject.SERVER, [rule for rule in RULES.values() if _reads(rule, _OF_LOGGING)], differs=differs)
        return replace(trial.result(kind), ties=ties)


def _said_otherwise(was: AskedPolicy | None, would: AskedPolicy | None) -> set[str]:
    """Rules that the one policy overrides in another way than the other."""
    both = [policy for policy in (was, would) if policy]
    slugs = {slug for policy in both for slug, _ in policy.overrides}
    return {
        slug for slug in slugs if (was.override(slug) if was else None) != (would.override(slug) if would else None)
    }


def _rules_under_policies(before: Asked, after: Asked, pairs: Sequence[Pair], regraded: Collection[str]) -> list[Rule]:
    """Rules about credentials that may say something else of those that go from one policy to the other, or of whom
    nobody can tell."""
    overridden = {slug for each in (before, after) for policy in each.policies for slug, _ in policy.overrides}
    bound = [policy for pair in pairs for policy in pair if policy]

    def counts(rule: Rule) -> bool:
        if (field := _ASKED_BY.get(rule.slug)) and not any(getattr(policy, field) for policy in bound):
            return False  # none of them asks it, so it applies to nothing, before or after
        if rule.slug in regraded or _conditions_read(rule, _OF_POLICY):
            return True
        # It says the same of them before and after, which is still worth telling of whom nobody can tell.
        return rule.unknown != "false" and (rule.slug in overridden or _reads(rule, _OF_POLICY))

    return [rule for rule in RULES.values() if rule.subject is Subject.CREDENTIAL and counts(rule)]


def _conditions_read(rule: Rule, facts: Sequence[str]) -> bool:
    conditions = (rule.applies, rule.violated, rule.unknown, rule.raised, rule.graded, rule.kept)
    return any(fact in facts for fact in FACT.findall(" ".join(conditions)))


def _reads(rule: Rule, facts: Sequence[str]) -> bool:
    return _conditions_read(rule, facts) or any(
        fact in facts for fact in FACT.findall(" ".join(rule.evidence.values()))
    )


# ── Twice ──────────────────────────────────────────────────────────────────────────────────────
# Who answers for one, as its row `s` has it; nobody for the others.
_OWNERS = {
    Subject.CREDENTIAL: "s.owner_id",
    Subject.SERVER: "coalesce(s.iam_owner_id, s.platform_owner_id, s.application_owner_id)",
    Subject.CLIENT: "s.owner_id",
}
_KINDS = ("opened", "closed", "raised", "lowered")


class _Trial:
    """The statements of one dry run; its temporary tables end with the rehearsal."""

    def __init__(self, cursor: CursorWrapper, before: Asked, after: Asked, now: datetime) -> None:
        self.cursor = cursor
        self.asked = {"before": before, "after": after}
        self.now = now
        self.rules: list[Rule] = []
        self.unknown: dict[str, list[int]] = {"before": [], "after": []}
        self.is_of_policy = False
        self._rows(
            """
            CREATE TEMPORARY TABLE trial_changes (subject text, rule text, id uuid, name text, owner_id uuid, kind text,
                                                  evidence jsonb, was_waived boolean) ON COMMIT DROP
            """
        )

    def _rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        self.cursor.execute(statement, values)
        return self.cursor.fetchall() if self.cursor.description else []

    def bind(self, policy_id: UUID) -> list[Pair]:
        """Find out what the policy binds before and after: nothing else can change. Returns from which policy to which
        they go, each pair once."""
        self.is_of_policy = True
        for when, asked in self.asked.items():
            bind(self.cursor, asked, self.now, into=f"bound_{when}")
        self._rows(
            """
            CREATE TEMPORARY TABLE trial_bound ON COMMIT DROP AS
            SELECT b.id, b.policy_id AS from_id, a.policy_id AS to_id,
                   coalesce(b.policy_id = %(policy)s, false) AS was, coalesce(a.policy_id = %(policy)s, false) AS would
            FROM bound_before b JOIN bound_after a ON a.id = b.id
            WHERE b.policy_id = %(policy)s OR a.policy_id = %(policy)s
            """,
            policy=policy_id,
        )
        self._rows("ANALYZE trial_bound")
        was, would = ({policy.id: policy for policy in asked.policies} for asked in self.asked.values())
        pairs = self._rows("SELECT DISTINCT t.from_id, t.to_id FROM trial_bound t ORDER BY 1, 2")
        return [(was.get(old), would.get(new)) for old, new in pairs]

    def judge(
        self, subject: Subject, rules: Sequence[Rule], *, regraded: Collection[str] = (), differs: bool = True
    ) -> None:
        """Judge the subject by these rules before and after, and keep what differs. Where nothing can, only those are
        counted of whom nobody can tell.

        What opens and closes shows without grading it, which reads nearly everything about a subject. So only those
        are graded whose severity may differ: of the `regraded` rules, and where a finding is only kept on one side.
        """
        if not rules:
            return
        self.rules += rules
        if not differs:
            with self._judged("after", subject, rules, None, "", is_graded=False) as found:
                unknown = self._unknown(found)
            self.unknown = {when: [*counts, *unknown] for when, counts in self.unknown.items()}
            return
        is_limited = self.is_of_policy and subject is Subject.CREDENTIAL
        self._judge_twice(subject, rules, "trial_bound" if is_limited else "", is_graded=False)
        self._keep(subject, "a.id IS NULL OR b.id IS NULL")
        self._rows(
            """
            CREATE TEMPORARY TABLE trial_regraded ON COMMIT DROP AS
            SELECT a.id, a.rule FROM trial_before b JOIN trial_after a ON a.rule = b.rule AND a.id = b.id
            WHERE a.is_kept <> b.is_kept OR a.rule = ANY (%(regraded)s)
            """,
            regraded=sorted(regraded),
        )
        self._rows("DROP TABLE trial_before, trial_after")
        self._rows("ANALYZE trial_regraded")
        slugs = {slug for (slug,) in self._rows("SELECT DISTINCT t.rule FROM trial_regraded t")}
        if slugs:
            again = [rule for rule in rules if rule.slug in slugs]
            self._judge_twice(subject, again, "trial_regraded", is_graded=True)
            self._keep(subject, "a.severity <> b.severity")
            self._rows("DROP TABLE trial_before, trial_after")
        self._rows("DROP TABLE trial_regraded")

    def _judge_twice(self, subject: Subject, rules: Sequence[Rule], listed_in: str, *, is_graded: bool) -> None:
        """Make `trial_before` and `trial_after` of what is left unresolved; of the table's subjects, or of all."""
        ids = self._few(listed_in) if listed_in else None
        for when in self.asked:
            with self._judged(when, subject, rules, ids, listed_in, is_graded=is_graded) as found:
                found.gather(f"trial_{when}", self._unresolved(found, is_graded=is_graded), keys="id, rule")
                if not is_graded:
                    self.unknown[when] += self._unknown(found)

    @contextmanager
    def _judged(
        self,
        when: str,
        subject: Subject,
        rules: Sequence[Rule],
        ids: Sequence[UUID] | None,
        listed_in: str,
        *,
        is_graded: bool,
    ) -> Iterator[Judged]:
        reads_bound = self.is_of_policy and subject is Subject.SERVER
        if reads_bound:
            # Servers are judged by what binds the credentials used on them, which an evaluation has written by then. A
            # temporary table comes before the table of its name.
            self._rows(
                f"""
                CREATE TEMPORARY TABLE lifecycle_obligation ON COMMIT DROP AS
                SELECT b.id AS credential_id, b.policy_id FROM bound_{when} b
                """
            )
            self._rows("ANALYZE pg_temp.lifecycle_obligation (credential_id, policy_id)")
        with judged(
            self.cursor,
            subject,
            self.asked[when],
            self.now,
            ids=ids,
            # The facts of other subjects are limited by nothing but a few ids.
            listed_in=listed_in if ids is None and subject is Subject.CREDENTIAL else "",
            rules=[rule.slug for rule in rules],
            is_graded=is_graded,
        ) as found:
            yield found
        if reads_bound:
            self._rows("DROP TABLE pg_temp.lifecycle_obligation")

    def _few(self, table: str) -> list[UUID] | None:
        """The ids of a table, or None where they are too many to be looked up one by one."""
        ids = [key for (key,) in self._rows(f"SELECT DISTINCT t.id FROM {table} t LIMIT {NARROW + 1}")]
        return ids if len(ids) <= NARROW else None

    def _keep(self, subject: Subject, condition: str) -> None:
        """Keep what differs in this way."""
        table, owner = TABLES[subject], _OWNERS.get(subject, "NULL::uuid")
        self._rows(
            f"""
            INSERT INTO trial_changes
            SELECT %(subject)s, coalesce(a.rule, b.rule), coalesce(a.id, b.id), s.name, {owner},
                   CASE WHEN b.id IS NULL THEN 'opened' WHEN a.id IS NULL THEN 'closed'
                        WHEN a.severity > b.severity THEN 'raised' ELSE 'lowered' END,
                   coalesce(a.evidence, b.evidence),
                   coalesce(a.id IS NULL AND b.state = '{FindingState.WAIVED.value}', false)
            FROM trial_before b FULL JOIN trial_after a ON a.rule = b.rule AND a.id = b.id
            JOIN {table} s ON s.id = coalesce(a.id, b.id)
            WHERE {condition}
            """,
            subject=subject.value,
        )

    def _unresolved(self, found: Judged, *, is_graded: bool) -> str:
        """The findings that an evaluation leaves unresolved: what is violated, and what was and nobody can tell now."""
        severity = f"j.severity + ({IS_ESCALATED})::integer" if is_graded else "NULL::integer"
        return f"""
            SELECT j.rule, j.id, {severity} AS severity, j.evidence, f.state, false AS is_kept
            FROM violations j
            LEFT JOIN lifecycle_finding f
              ON f.{found.column} = j.id AND f.rule = j.rule AND f.resolved_at IS NULL AND f.rule IN ({found.slugs})
            UNION ALL
            SELECT k.rule, k.id, {"k.severity" if is_graded else "NULL"}, k.evidence, k.state, true
            FROM ({found.kept}) k
        """

    def _unknown(self, found: Judged) -> list[int]:
        if not found.rules:
            return []
        counts = ", ".join(f"count(*) FILTER (WHERE {found.unknown(rule)})" for rule in found.rules)
        return list(found.execute(f"SELECT {counts} FROM subject_facts v")[0])

    # ── What differs ───────────────────────────────────────────────────────────────────────────
    def result(self, kind: str) -> DryRun:
        columns = ", ".join(f"count(*) FILTER (WHERE c.kind = '{each}')" for each in _KINDS)
        counted = f"{columns}, count(*) FILTER (WHERE c.was_waived)"
        ((*totals, waived, owners),) = self._rows(f"SELECT {counted}, count(DISTINCT c.owner_id) FROM trial_changes c")
        opened, closed, raised, lowered = totals
        by_rule = {
            rule: counts for rule, *counts in self._rows(f"SELECT c.rule, {counted} FROM trial_changes c GROUP BY 1")
        }
        unknown = dict(zip((rule.slug for rule in self.rules), zip(*self.unknown.values(), strict=True), strict=True))
        rules = [self._rule(rule, by_rule.get(rule.slug, [0] * 5), unknown[rule.slug]) for rule in self.rules]
        mark = EvaluationMark.objects.first()
        was, would = (
            self._rows("SELECT count(*) FILTER (WHERE t.was), count(*) FILTER (WHERE t.would) FROM trial_bound t")[0]
            if self.is_of_policy
            else (0, 0)
        )
        newly, released = (self._moved("would", "was", "from_id"), self._moved("was", "would", "to_id"))
        return DryRun(
            kind=kind,
            computed_at=self.now,
            mark=mark.seq if mark else None,
            evaluated_at=mark.evaluated_at if mark else None,
            sentence=_sentence(
                kind,
                bound=would if kind == "policy" else was,
                new=sum(each.credentials for each in newly),
                opened=opened,
                closed=closed,
                waived=waived,
                changed=raised + lowered,
            ),
            bound_before=was,
            bound_after=would,
            newly_bound=newly,
            released=released,
            opened=opened,
            closed=closed,
            closed_waived=waived,
            raised=raised,
            lowered=lowered,
            owners=owners,
            unknown_before=sum(self.unknown["before"]),
            unknown_after=sum(self.unknown["after"]),
            rules=tuple(sorted((each for each in rules if _says_something(each)), key=_most_first)),
            ties=(),
            opened_examples=self._examples("c.kind = 'opened'"),
            closed_examples=self._examples("c.kind = 'closed'"),
            changed_examples=self._examples("c.kind IN ('raised', 'lowered')"),
            bound_examples=self._bound_examples("would", "was"),
            released_examples=self._bound_examples("was", "would"),
        )

    def _rule(self, rule: Rule, counts: Sequence[int], unknown: tuple[int, int]) -> RuleChange:
        opened, closed, raised, lowered, waived = counts
        before, after = unknown
        return RuleChange(rule.slug, rule.name, opened, closed, waived, raised, lowered, before, after)

    def _moved(self, is_so: str, is_not: str, other: str) -> tuple[Moved, ...]:
        if not self.is_of_policy:
            return ()
        names = {policy.id: policy.name for asked in self.asked.values() for policy in asked.policies}
        moved = self._rows(
            f"""
            SELECT t.{other}, count(*) FROM trial_bound t WHERE t.{is_so} AND NOT t.{is_not}
            GROUP BY 1 ORDER BY 2 DESC, 1
            """
        )
        return tuple(Moved(key, names.get(key, NO_POLICY), number) for key, number in moved)

    def _examples(self, condition: str) -> tuple[Example, ...]:
        """Some of each rule, those of the worst names first for want of a better order that stays the same."""
        rows = self._rows(
            f"""
            SELECT e.subject, e.id, e.name, e.rule, e.evidence FROM (
              SELECT c.*, row_number() OVER (PARTITION BY c.rule ORDER BY c.name, c.id) AS place
              FROM trial_changes c WHERE {condition}) e
            ORDER BY e.place, e.rule, e.id LIMIT {MOST_EXAMPLES}
            """
        )
        return tuple(
            Example(subject, key, name, rule, RULES[rule].title_of(json.loads(evidence), self.now))
            for subject, key, name, rule, evidence in rows
        )

    def _bound_examples(self, is_so: str, is_not: str) -> tuple[Example, ...]:
        if not self.is_of_policy:
            return ()
        rows = self._rows(
            f"""
            SELECT t.id, c.name FROM trial_bound t JOIN inventory_credential c ON c.id = t.id
            WHERE t.{is_so} AND NOT t.{is_not} ORDER BY c.name, c.id LIMIT {MOST_EXAMPLES}
            """
        )
        return tuple(Example(Subject.CREDENTIAL.value, key, name) for key, name in rows)


def _says_something(rule: RuleChange) -> bool:
    return any((rule.opened, rule.closed, rule.raised, rule.lowered, rule.unknown_before, rule.unknown_after))


def _most_first(rule: RuleChange) -> tuple[int, str]:
    return -(rule.opened + rule.closed + rule.raised + rule.lowered), rule.name


def _sentence(kind: str, *, bound: int, new: int, opened: int, closed: int, waived: int, changed: int) -> str:
    done = [
        words
        for words, number in (
            (f"open {plural(opened, 'finding')}", opened),
            (f"close {plural(closed, 'finding')}" + (f", {waived} of them waived," if waived else ""), closed),
            (f"change the severity of {plural(changed, 'finding')}", changed),
        )
        if number
    ]
    effect = f"{', '.join(done[:-1])} and {done[-1]}" if len(done) > 1 else "".join(done) or "change no finding"
    effect = effect.rstrip(",").replace(",,", ",")
    if kind == "policy":
        newly = f", {new} of them newly" if new else ""
        return f"It would bind {plural(bound, 'credential')}{newly}, and {effect}."
    if kind == "retirement":
        return f"{plural(bound, 'credential')} would fall to other policies, which would {effect}."
    return f"It would {effect}."
