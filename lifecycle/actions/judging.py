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
from lifecycle.rules.asked import Asked
from lifecycle.rules.facts import facts, parameters

# What those who read the tables need, whatever the rules read.
_ALWAYS = {
    Subject.CREDENTIAL: {"id", "policy_id", "rotate_by", "stale_at", "expires_at", "review_by"},
}
_FACT = re.compile(r"\bv\.([a-z_]+)")


class Judged:
    """One subject as it was judged: the temporary tables are there for as long as the context of `judged` is.

    `subject_facts` has a row for each live subject, `violations` one (rule, id, severity, evidence) for each rule that
    one violates. `execute` runs a statement that may name them and the parameters `now` and `scope`.
    """

    def __init__(
        self, cursor: CursorWrapper, subject: Subject, rules: Sequence[Rule], values: dict[str, Any], *, is_full: bool
    ) -> None:
        self.cursor = cursor
        self.subject = subject
        self.rules = rules
        self.column = f"{subject.value}_id"
        self.is_full = is_full
        self.values = values

    def execute(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        self.cursor.execute(statement, {**self.values, **values})
        return self.cursor.fetchall() if self.cursor.description else []

    def count(self) -> int:
        """How many subjects were judged."""
        number: int = self.execute("SELECT count(*) FROM subject_facts")[0][0]
        return number

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
    rules: Sequence[str] | None = None,
) -> Iterator[Judged]:
    """Gather the facts of `subject` and what violates the rules under `asked` at `now`; see `Judged`.

    `ids` limits it to those subjects. `rules` names the only ones to judge, and then only the facts that they read
    are gathered, which takes a fraction of the time; beside these there are always the id and, of credentials,
    `policy_id` (null where none binds) and the dates of an obligation.

    Needs a transaction, holds no lock, and writes nothing that outlives the context. One subject at a time. Over a
    whole estate call it within `at_full_speed`.
    """
    chosen = [rule for rule in RULES.values() if rule.subject is subject and (rules is None or rule.slug in rules)]
    values = {"now": now, "scope": None if ids is None else list(ids), **parameters(asked)}
    found = Judged(cursor, subject, chosen, values, is_full=ids is None)
    select = facts(subject, asked, within_scope=ids is not None)
    if rules is not None:
        select = f"SELECT {', '.join(sorted(_read_by(subject, chosen)))} FROM ({select}) f"
    found.gather("subject_facts", select, keys="id")
    found.gather("violations", _violations(chosen), keys="id, rule")
    yield found
    # After an error the transaction is over, and the tables with it.
    found.execute("DROP TABLE violations, subject_facts")


@contextmanager
def at_full_speed(cursor: CursorWrapper) -> Iterator[None]:
    """Plan for whole tables: estimates over many conditions are guesses, and a wrong one costs minutes in a loop."""
    cursor.execute("SET LOCAL enable_nestloop = off")
    cursor.execute("SET LOCAL work_mem = '128MB'")
    yield
    cursor.execute("SET LOCAL enable_nestloop = on")
    cursor.execute("SET LOCAL work_mem TO DEFAULT")


def _read_by(subject: Subject, rules: Sequence[Rule]) -> set[str]:
    """The facts that these rules read."""
    text = " ".join(
        " ".join(
            (rule.violated, rule.unknown, rule.applies, rule.raised, rule.graded, rule.kept, *rule.evidence.values())
        )
        for rule in rules
    )
    return {*_FACT.findall(text), *_ALWAYS.get(subject, {"id"})}


def _violations(rules: Sequence[Rule]) -> str:
    if not rules:
        return (
            "SELECT NULL::text AS rule, NULL::uuid AS id, NULL::smallint AS severity, NULL::jsonb AS evidence LIMIT 0"
        )
    return " UNION ALL ".join(
        f"SELECT '{rule.slug}' AS rule, v.id, {_severity(rule)} AS severity, {_evidence(rule)} AS evidence"
        f" FROM subject_facts v WHERE ({rule.applies}) AND ({rule.violated})"
        for rule in rules
    )


def _severity(rule: Rule) -> str:
    base = f"({rule.graded})" if rule.graded else str(rule.severity.value)
    return f"least({base} + (CASE WHEN {rule.raised} THEN 1 ELSE 0 END), {Severity.CRITICAL.value})::smallint"


def _evidence(rule: Rule) -> str:
    pairs = ", ".join(f"'{name}', {expression}" for name, expression in rule.evidence.items())
    return f"jsonb_strip_nulls(jsonb_build_object({pairs}))"
