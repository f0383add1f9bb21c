"""Judge the estate under what is asked, without writing anything but temporary tables."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.backends.utils import CursorWrapper

from inventory.states import Severity
from lifecycle.rules import RULES, Rule, Subject
from lifecycle.rules.asked import OFF, Asked, severity_named
from lifecycle.rules.facts import REASONS, facts, parameters
from lifecycle.states import DUE_WITHIN, ESCALATED_AFTER, FindingState, Raised, Resolution

FACT = re.compile(r"\bv\.([a-z_]+)")  # in a condition over a row `v` of the facts
# What those who read the tables need of a credential's facts, whatever the rules read.
_ALWAYS = {Subject.CREDENTIAL: {"policy_id", "rotate_by", "stale_at", "expires_at", "review_by"}}
_CRITICAL = Severity.CRITICAL.value


def _after(times: int) -> str:
    """So many times what the severity of `j` allows; null where nothing is more severe."""
    allowed = (
        f"WHEN {severity.value} THEN interval '{times * int(time.total_seconds())} s'"
        for severity, time in DUE_WITHIN.items()
        if times == 1 or severity is not Severity.CRITICAL
    )
    return f"(CASE j.severity {' '.join(allowed)} END)"


# Of a violation `j`: how long after it was opened its finding is due, and grows worse by age.
DUE_AFTER = _after(1)
WORSE_AFTER = _after(ESCALATED_AFTER)
# Of its finding `f`. What is waived does not grow worse meanwhile; what had before stays so.
IS_ESCALATED = f"""(f.opened_at + {WORSE_AFTER} <= %(now)s
    AND (f.state <> '{FindingState.WAIVED.value}' OR f.escalated_at IS NOT NULL)) IS TRUE"""


class Judged:
    """One subject as it was judged: the temporary tables are there for as long as the context of `judged` is.

    - `subject_facts` has a row `id, …` for each live subject: the columns of `lifecycle.rules.facts`.
    - `violations` has a row `rule, id, owner_id, at_server_id, severity, reasons, evidence` for each rule that is
      switched on and that one violates. `severity` is before age, `reasons` a sum of `REASONS`.
    - `ends` is a SELECT `id, rule, resolution` of the unresolved findings that would be resolved: those of `violations`
      stay, and so do those of which nobody could tell. What would be opened is each row of `violations` without an
      unresolved finding of its rule and subject.

    `execute` runs a statement that may name all these and the parameters `now` and `scope`.
    """

    def __init__(
        self,
        cursor: CursorWrapper,
        subject: Subject,
        rules: Sequence[Rule],
        asked: Asked,
        values: dict[str, Any],
        *,
        is_full: bool,
        listed_in: str = "",
    ) -> None:
        self.cursor = cursor
        self.subject = subject
        self.rules = rules
        self.asked = asked
        self.column = f"{subject.value}_id"
        self.is_full = is_full
        self.listed_in = listed_in
        self.values = values

    def execute(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        self.cursor.execute(statement, {**self.values, **values})
        return self.cursor.fetchall() if self.cursor.description else []

    def count(self) -> int:
        """How many subjects were judged."""
        number: int = self.execute("SELECT count(*) FROM subject_facts")[0][0]
        return number

    def within(self, column: str) -> str:
        if self.listed_in:
            return f"AND {column} IN (SELECT listed.id FROM {self.listed_in} listed)"
        return "" if self.is_full else f"AND {column} = ANY (%(scope)s)"

    def applies(self, rule: Rule) -> str:
        """The condition that a subject is one that the rule is about and is switched on for."""
        is_on = _is_on(rule, self.asked)
        return f"({rule.applies})" if is_on == "true" else f"({is_on}) AND ({rule.applies})"

    def unknown(self, rule: Rule) -> str:
        """The condition that nobody can tell whether such a subject violates it."""
        return f"{self.applies(rule)} AND ({rule.violated}) IS NOT TRUE AND ({rule.unknown})"

    def _of_findings(self) -> tuple[str, str, str]:
        """Of a finding `o` and its subject `v`: that its rule is on, that it applies, and that nobody can tell."""
        switched = [(rule, on) for rule in self.rules if (on := _is_on(rule, self.asked)) != "true"]
        applies = [(rule, rule.applies) for rule in self.rules]
        kept = [(rule, rule.kept or rule.unknown) for rule in self.rules]
        return _by_rule(switched, others="true"), _by_rule(applies, others="false"), _by_rule(kept, others="false")

    @property
    def ends(self) -> str:
        is_on, applies, kept = self._of_findings()
        chosen = "" if self.is_of_all_rules else f"AND o.rule IN ({self.slugs})"
        return f"""
            SELECT e.id, e.rule, e.resolution FROM (
              SELECT o.id, o.rule,
                     CASE WHEN v.id IS NULL THEN '{Resolution.GONE.value}'
                          WHEN NOT {is_on} THEN '{Resolution.SWITCHED_OFF.value}'
                          WHEN NOT {applies} THEN '{Resolution.NOT_APPLICABLE.value}'
                          WHEN NOT {kept} THEN '{Resolution.MET.value}'
                     END AS resolution
              FROM lifecycle_finding o
              LEFT JOIN violations j ON j.id = o.{self.column} AND j.rule = o.rule
              LEFT JOIN subject_facts v ON v.id = o.{self.column}
              WHERE o.resolved_at IS NULL AND o.{self.column} IS NOT NULL AND j.id IS NULL
                {self.within(f"o.{self.column}")} {chosen}
            ) e WHERE e.resolution IS NOT NULL
        """

    @property
    def kept(self) -> str:
        """A SELECT of the unresolved findings that stay although nobody can tell: `id` is that of the subject."""
        is_on, applies, kept = self._of_findings()
        return f"""
            SELECT o.rule, v.id, o.severity, o.evidence, o.state
            FROM lifecycle_finding o
            JOIN subject_facts v ON v.id = o.{self.column}
            LEFT JOIN violations j ON j.id = o.{self.column} AND j.rule = o.rule
            WHERE o.resolved_at IS NULL AND j.id IS NULL AND o.rule IN ({self.slugs})
              AND {is_on} AND {applies} AND {kept} {self.within(f"o.{self.column}")}
        """

    @property
    def slugs(self) -> str:
        return ", ".join(f"'{rule.slug}'" for rule in self.rules)

    @property
    def is_of_all_rules(self) -> bool:
        return len(self.rules) == sum(rule.subject is self.subject for rule in RULES.values())

    def gather(self, name: str, select: str, *, keys: str) -> None:
        self.execute(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {select}")
        # What joins read; statistics of wide evidence cost more than they tell.
        self.execute(f"ANALYZE {name} ({keys})")


@contextmanager
def judged(
    cursor: CursorWrapper,
    subject: Subject,
    asked: Asked,
    now: datetime,
    *,
    ids: Sequence[UUID] | None = None,
    listed_in: str = "",
    rules: Sequence[str] | None = None,
    is_graded: bool = True,
) -> Iterator[Judged]:
    """Gather the facts of `subject` and what violates the rules under `asked` at `now`; see `Judged`.

    `ids` limits it to those subjects; where they are many credentials, `listed_in` to those whose `id` that table has.
    `rules` names the only ones to judge, and then only the facts that they read are gathered, which takes a fraction of
    the time; beside these there are always the id and, of credentials, `policy_id` (null where none binds) and the
    dates of an obligation. What grades findings reads nearly everything: without `is_graded`, `violations` has but
    `rule, id, evidence`.

    Needs a transaction, holds no lock, and writes nothing that outlives the context. One subject at a time. Over a
    whole estate call it within `at_full_speed`.
    """
    chosen = [rule for rule in RULES.values() if rule.subject is subject and (rules is None or rule.slug in rules)]
    values = {"now": now, "scope": None if ids is None else list(ids), **parameters(asked)}
    found = Judged(cursor, subject, chosen, asked, values, is_full=ids is None, listed_in=listed_in)
    select = facts(subject, asked, within_scope=ids is not None, listed_in=listed_in)
    violations = [_violations(rule, asked, is_graded=is_graded) for rule in chosen if _is_on(rule, asked) != "false"]
    violated = " UNION ALL ".join(violations) or _nothing(is_graded=is_graded)
    if rules is not None:
        ends = " ".join(f"{rule.violated} {rule.unknown} {rule.applies} {rule.kept}" for rule in chosen)
        read = {"id", *_ALWAYS.get(subject, ()), *FACT.findall(f"{violated} {ends}")}
        select = f"SELECT {', '.join(sorted(read))} FROM ({select}) f"
    found.gather("subject_facts", select, keys="id")
    found.gather("violations", violated, keys="id, rule")
    yield found
    # After an error the transaction is over, and the tables with it.
    found.execute("DROP TABLE violations, subject_facts")


def bind(cursor: CursorWrapper, asked: Asked, now: datetime, *, into: str) -> None:
    """Make a temporary table `id, policy_id` of what binds each live credential under `asked`, null where none does.

    Needs a transaction. Nothing else about them is gathered.
    """
    select = facts(Subject.CREDENTIAL, asked, within_scope=False)
    cursor.execute(
        f"CREATE TEMPORARY TABLE {into} ON COMMIT DROP AS SELECT f.id, f.policy_id FROM ({select}) f",
        {"now": now, **parameters(asked)},
    )
    cursor.execute(f"ANALYZE {into}")


def never_compiled(cursor: CursorWrapper) -> None:
    """Statements of this size look expensive enough to be compiled, which costs more than it ever saves here."""
    cursor.execute("SET LOCAL jit = off")


@contextmanager
def at_full_speed(cursor: CursorWrapper) -> Iterator[None]:
    """Plan for whole tables: estimates over many conditions are guesses, and a wrong one costs minutes in a loop."""
    cursor.execute("SET LOCAL enable_nestloop = off")
    cursor.execute("SET LOCAL work_mem = '128MB'")
    yield
    cursor.execute("SET LOCAL enable_nestloop = on")
    cursor.execute("SET LOCAL work_mem TO DEFAULT")


def _violations(rule: Rule, asked: Asked, *, is_graded: bool) -> str:
    condition = f"({rule.applies}) AND ({rule.violated})"
    is_on = _is_on(rule, asked)
    if is_on != "true":
        condition = f"({is_on}) AND {condition}"
    graded = ""
    if is_graded:
        severity, reasons = _severity(rule, asked)
        graded = f"v.owner_id, v.at_server_id, ({severity})::smallint AS severity, ({reasons})::smallint AS reasons,"
    return (
        f"SELECT '{rule.slug}' AS rule, v.id, {graded} {_evidence(rule)} AS evidence"
        f" FROM subject_facts v WHERE {condition}"
    )


def _by_rule(conditions: Sequence[tuple[Rule, str]], *, others: str) -> str:
    """Of a finding `o` and the facts `v` of its subject: what the condition of its rule says."""
    if not conditions:
        return others
    cases = " ".join(f"WHEN '{rule.slug}' THEN ({condition}) IS TRUE" for rule, condition in conditions)
    return f"(CASE o.rule {cases} ELSE {others} END)"


def _nothing(*, is_graded: bool) -> str:
    graded = "NULL::uuid AS owner_id, NULL::uuid AS at_server_id, 0::smallint AS severity, 0::smallint AS reasons,"
    return f"SELECT ''::text AS rule, NULL::uuid AS id, {graded if is_graded else ''} '{{}}'::jsonb AS evidence LIMIT 0"


def _is_on(rule: Rule, asked: Asked) -> str:
    """Whether the rule is switched on for a row `v`: what its policy says, else what the estate wants."""
    is_on = asked.setting(rule.slug).is_on
    said = {policy.id: policy.override(rule.slug) for policy in asked.policies if rule.subject is Subject.CREDENTIAL}
    others = [key for key, word in said.items() if word is not None and (word == OFF) is is_on]
    if not others:
        return "true" if is_on else "false"
    return f"(v.policy_id = ANY ({_keys(others)})) IS {'NOT ' if is_on else ''}TRUE"


def _severity(rule: Rule, asked: Asked) -> tuple[str, str]:
    """The severity of a row `v` before age, and the sum of what raised it."""
    declared = f"({rule.graded})" if rule.graded else str(rule.severity.value)
    wanted = asked.setting(rule.slug).severity
    base = str(wanted.value) if wanted else declared
    if rule.subject is Subject.CREDENTIAL:
        graded = {policy.id: severity_named(policy.override(rule.slug)) for policy in asked.policies}
        by_policy = " ".join(f"WHEN {_key(key)} THEN {level.value}" for key, level in graded.items() if level)
        base = f"(CASE v.policy_id {by_policy} ELSE {base} END)" if by_policy else base
    mask = sum(REASONS[context] for context in rule.contexts)
    context = f"(v.context & {mask})" if mask else "0"
    if rule.raised:
        context = f"({context} | CASE WHEN {rule.raised} THEN {REASONS[Raised.RULE]} ELSE 0 END)"
    if base.isdigit():
        context = "0" if int(base) >= _CRITICAL else context
    else:  # what is critical by itself is raised by nothing
        context = f"(CASE WHEN {base} >= {_CRITICAL} THEN 0 ELSE {context} END)"
    severity = base if context == "0" else f"{base} + CASE WHEN {context} > 0 THEN 1 ELSE 0 END"
    if base == declared:
        return severity, context
    return severity, f"{context} | CASE WHEN {base} > {declared} THEN {REASONS[Raised.POLICY]} ELSE 0 END"


def _key(key: UUID) -> str:
    return f"'{key}'::uuid"


def _keys(keys: Sequence[UUID]) -> str:
    return f"ARRAY[{', '.join(map(_key, keys))}]"


def _evidence(rule: Rule) -> str:
    pairs = ", ".join(f"'{name}', {expression}" for name, expression in rule.evidence.items())
    return f"jsonb_strip_nulls(jsonb_build_object({pairs}))"
