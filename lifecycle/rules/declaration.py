"""What a rule is: conditions the database can run over a million rows, and the words that go with them. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from inventory.states import Severity
from lifecycle.rules.wording import length
from lifecycle.states import CONTEXTS, Raised
from web.wording import plural, some

NAMED = 2  # of a list, in a title


class Subject(StrEnum):
    """What rules are about; also the name of the finding's foreign key."""

    CREDENTIAL = "credential"
    SERVER = "server"
    CLIENT = "client"
    CONNECTION = "connection"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A finding's evidence as its title reads it: dates and limits become words at `now`."""

    values: Mapping[str, Any]
    now: datetime

    def has(self, name: str) -> bool:
        return bool(self.values.get(name))

    def text(self, name: str) -> str:
        return str(self.values.get(name, ""))

    def count(self, name: str, word: str) -> str:
        return plural(int(self.values.get(name, 0)), word)

    def some(self, name: str, number: str = "") -> str:
        """The first names of a list; `number` is the evidence that says how many there are, where the list is cut."""
        names = self.values[name]
        return some(names, NAMED, self.values[number] if number else None)

    def since(self, name: str) -> str:
        """How long ago a date of the evidence is."""
        then = datetime.fromisoformat(self.values[name])
        return length(self.now - (then if then.tzinfo else then.replace(tzinfo=UTC)))

    def limit(self, name: str, beside: str) -> str:
        """A length of the evidence; without its unit where the words beside it have the same."""
        said = length(timedelta(seconds=int(self.values[name])))
        unit = said.partition(" ")[2]
        return said.removesuffix(f" {unit}") if beside.endswith(f" {unit}") else said


def beside(*about: Raised) -> tuple[Raised, ...]:
    """Every context but those that the rule itself is about."""
    return tuple(context for context in CONTEXTS if context not in about)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. Every condition is SQL over one row `v` of its subject's facts (`lifecycle.rules.facts`).

    A subject the rule does not apply to is not counted. Else it is violated, else unknown, else met; a condition
    that is null is not true. `graded` is the severity where it depends on the subject, from low to critical; without it
    `severity` is.

    Any of the `contexts` (`lifecycle.rules.facts` says when each holds) and the rule's own condition `raised` lift the
    severity by one step together, to critical at most, and each that holds is kept as a reason. A context that the rule
    itself is about is left out (`beside`), and a rule that nothing makes worse names none.

    An open finding stays open while its subject is unknown. A rule over many checks, some of which nobody can ever
    tell, says in `kept` what leaves *this* finding open instead: there `o` is the finding with its evidence.
    """

    slug: str
    name: str
    subject: Subject
    severity: Severity
    controls: tuple[str, ...]
    why: str
    remediation: str
    title: Callable[[Evidence], str]
    violated: str
    unknown: str = "false"
    applies: str = "true"
    contexts: tuple[Raised, ...] = CONTEXTS
    raised: str = ""
    graded: str = ""
    kept: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z]+(-[a-z]+)*", self.slug) or not self.controls or self.severity is Severity.NONE:
            raise ValueError(f"{self.slug}: a rule has a plain slug, a severity and controls")
        if not set(self.contexts) <= set(CONTEXTS) or self.raised == "false" or "v.criticality" in self.raised:
            raise ValueError(f"{self.slug}: production is a context, and what nothing raises names no contexts")

    def title_of(self, evidence: Mapping[str, Any], now: datetime) -> str:
        """The finding's sentence about the world at `now`; the rule's name for evidence of an older release."""
        try:
            return self.title(Evidence(evidence, now))
        except (KeyError, TypeError, ValueError):
            return self.name
