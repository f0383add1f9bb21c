"""The risk order: what a credential's score is made of. Declared once, compiled to SQL for a million, run here for one.

Six parts, each a short list of steps; the first step whose condition holds gives the part's points, and the points
add up to 0 to 100. Everything is read from the facts of `lifecycle.rules.facts`, nothing from findings, waivers or
policies' severities, so anybody can reckon it again. What is unknown has a step of its own that never gives none.
`docs/risk.md` says why the points are what they are.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inventory.states import Storage
from lifecycle.rules.wording import length
from web.wording import plural, short_path, some

Facts = Mapping[str, Any]
MANY = 5  # clients or servers that share one secret


# ── Conditions ─────────────────────────────────────────────────────────────────────────────────
# Of a fact that is not known none of them holds, in SQL as in Python, but `Unknown`. There is no `not`: it would make
# something hold because nobody knew.
class Condition(ABC):
    @abstractmethod
    def sql(self) -> str:
        """Over one row `v` of the facts, at the parameter `now`."""

    @abstractmethod
    def holds(self, facts: Facts, now: datetime) -> bool:
        """The same over a mapping."""

    @abstractmethod
    def reads(self) -> Iterator[tuple[str, bool]]:
        """The facts it reads, and of each whether it is a date after which it says something else."""


@dataclass(frozen=True, slots=True)
class Always(Condition):
    def reads(self) -> Iterator[tuple[str, bool]]:
        yield from ()

    def sql(self) -> str:
        return "true"

    def holds(self, facts: Facts, now: datetime) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class _About(Condition):
    """Of one fact."""

    fact: str

    def reads(self) -> Iterator[tuple[str, bool]]:
        yield self.fact, False


class Unknown(_About):
    def sql(self) -> str:
        return f"v.{self.fact} IS NULL"

    def holds(self, facts: Facts, now: datetime) -> bool:
        return facts[self.fact] is None


class Known(_About):
    def sql(self) -> str:
        return f"v.{self.fact} IS NOT NULL"

    def holds(self, facts: Facts, now: datetime) -> bool:
        return facts[self.fact] is not None


@dataclass(frozen=True, slots=True)
class So(_About):
    """Known, and as the second says: true or false."""

    value: bool = True

    def sql(self) -> str:
        return f"v.{self.fact} IS {str(self.value).upper()}"

    def holds(self, facts: Facts, now: datetime) -> bool:
        return facts[self.fact] is self.value


@dataclass(frozen=True, slots=True)
class AtLeast(_About):
    number: int

    def sql(self) -> str:
        return f"v.{self.fact} >= {self.number}"

    def holds(self, facts: Facts, now: datetime) -> bool:
        value = facts[self.fact]
        return value is not None and value >= self.number


@dataclass(frozen=True, slots=True)
class Exactly(_About):
    value: int | str

    def sql(self) -> str:
        return f"v.{self.fact} = {self.value}" if isinstance(self.value, int) else f"v.{self.fact} = '{self.value}'"

    def holds(self, facts: Facts, now: datetime) -> bool:
        return bool(facts[self.fact] == self.value)


class Past(_About):
    def sql(self) -> str:
        return f"v.{self.fact} <= %(now)s"

    def holds(self, facts: Facts, now: datetime) -> bool:
        value = facts[self.fact]
        return value is not None and value <= now

    def reads(self) -> Iterator[tuple[str, bool]]:
        yield self.fact, True


@dataclass(frozen=True, slots=True, init=False)
class _Of(Condition):
    parts: tuple[Condition, ...]

    def __init__(self, *parts: Condition) -> None:
        object.__setattr__(self, "parts", parts)

    def reads(self) -> Iterator[tuple[str, bool]]:
        for part in self.parts:
            yield from part.reads()


class Each(_Of):
    def sql(self) -> str:
        return "({})".format(" AND ".join(part.sql() for part in self.parts))

    def holds(self, facts: Facts, now: datetime) -> bool:
        return all(part.holds(facts, now) for part in self.parts)


class Either(_Of):
    def sql(self) -> str:
        return "({})".format(" OR ".join(part.sql() for part in self.parts))

    def holds(self, facts: Facts, now: datetime) -> bool:
        return any(part.holds(facts, now) for part in self.parts)


# ── Steps and parts ────────────────────────────────────────────────────────────────────────────
def _nothing(facts: Facts, now: datetime) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`words` name it, `fact` says what of this credential gave the points, `lower` what would lower them."""

    points: int
    words: str
    when: Condition
    lower: str = ""
    fact: Callable[[Facts, datetime], str] = _nothing


@dataclass(frozen=True, slots=True)
class Part:
    key: str
    name: str
    why: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        *others, last = self.steps
        if not isinstance(last.when, Always) or any(isinstance(step.when, Always) for step in others):
            raise ValueError(f"{self.key}: the last step, and it alone, is for all that is left")
        if any(bool(step.points) != bool(step.lower) for step in self.steps):
            raise ValueError(f"{self.key}: a step says what lowers it, unless it gives no points")

    @property
    def most(self) -> int:
        return max(step.points for step in self.steps)

    def sql(self) -> str:
        *others, last = self.steps
        cases = " ".join(f"WHEN {step.when.sql()} THEN {step.points}" for step in others)
        return f"(CASE {cases} ELSE {last.points} END)"

    def step(self, facts: Facts, now: datetime) -> Step:
        return next(step for step in self.steps if step.when.holds(facts, now))


@dataclass(frozen=True, slots=True)
class PartScore:
    """One part as one credential has it."""

    part: Part
    step: Step
    fact: str

    @property
    def points(self) -> int:
        return self.step.points

    @property
    def most(self) -> int:
        return self.part.most

    def __str__(self) -> str:
        return f"{self.step.words}: {self.fact}" if self.fact else self.step.words


@dataclass(frozen=True, slots=True)
class Score:
    parts: tuple[PartScore, ...]

    @property
    def total(self) -> int:
        return sum(part.points for part in self.parts)


# ── The facts in words ─────────────────────────────────────────────────────────────────────────
def _places(facts: Facts, now: datetime) -> str:
    return f"{plural(facts['exposures'], 'place')}, first {short_path(facts['exposed_file'], 2)}"


def _broad(facts: Facts, now: datetime) -> str:
    return some(facts["broad_scopes"], 3) if facts["broad_scopes"] else "all that a server offers"


def _age(facts: Facts, now: datetime) -> str:
    known = "" if facts["issued_at"] else "at least "
    limit = f"; the policy allows {length(facts['max_age'])}" if facts["max_age"] else ""
    return f"{known}{length(now - facts['known_since'])} old{limit}"


def _idle(facts: Facts, now: datetime) -> str:
    limit = f"; the policy allows {length(facts['max_idle'])}" if facts["max_idle"] else ""
    return f"last used {length(now - facts['last_used_at'])} ago{limit}"


def _shared(facts: Facts, now: datetime) -> str:
    return f"{plural(facts['clients'], 'client')}, {plural(facts['servers'], 'server')}"


def _third_party(facts: Facts, now: datetime) -> str:
    return f"{_shared(facts, now)}; {plural(facts['third_party_uses'], 'use')} at a third party"


def _unclear(facts: Facts, now: datetime) -> str:
    return f"{plural(facts['unclear_uses'], 'use')} at a host that nobody claimed"


def _unplaced(facts: Facts, now: datetime) -> str:
    return f"{plural(facts['unplaced_uses'], 'use')} in an environment that nobody named"


# ── The declaration ────────────────────────────────────────────────────────────────────────────
_SEEN = AtLeast("exposures", 1)
_SHARED = Either(AtLeast("clients", 2), AtLeast("servers", 2))
_REFER = "Rotate the secret, then refer to it instead of writing it down."
_NARROW = "Issue it with the few scopes that its work needs."
_ROTATE = "Rotate it."
_ISOLATE = "Issue one credential per client and server."
_PLACE = "Name the environment of the credential and of the servers it is used on."

PARTS: tuple[Part, ...] = (
    Part(
        "exposure",
        "Exposure",
        "Whoever reads the file has the secret; nothing else about the credential has to go wrong. So it has "
        "the most points of all, and a file that others can read has all of them. A literal whose readers "
        "nobody could tell lies nearer to the worst than to the best.",
        (
            Step(
                points=25,
                words="Literal in a file that other users can read",
                when=Each(_SEEN, So("readable_by_others")),
                lower=_REFER,
                fact=_places,
            ),
            Step(
                points=20,
                words="Literal in a file, and nobody could tell who can read it",
                when=Each(_SEEN, AtLeast("unclear_exposures", 1)),
                lower=_REFER,
                fact=_places,
            ),
            Step(
                points=15,
                words="Literal in a file that its owner alone can read",
                when=_SEEN,
                lower=_REFER,
                fact=_places,
            ),
            Step(
                points=20,
                words="Held as a literal, and nobody named the place",
                when=Exactly("storage", Storage.LITERAL.value),
                lower=_REFER,
            ),
            Step(
                points=8,
                words="Where it is kept is unknown",
                when=Each(Exactly("storage", Storage.PROVIDER.value), Exactly("uses", 0)),
                lower="Sync the places where its clients are configured.",
            ),
            Step(points=0, words="No literal was seen", when=Always()),
        ),
    ),
    Part(
        "privilege",
        "Privilege",
        "What a thief can do. A scope that means everything leaves nothing to guess. Most keys tell no scope "
        "at all; those may do anything or little, so they get more than half.",
        (
            Step(
                points=20,
                words="Broad: a scope that means everything, or all that a server offers",
                when=Either(Known("broad_scopes"), So("is_sweeping")),
                lower=_NARROW,
                fact=_broad,
            ),
            Step(
                points=12,
                words="What it may do is unknown",
                when=So("has_scopes", False),
                lower="Have its provider tell its scopes, or issue one that has some.",
            ),
            Step(points=0, words="Known scopes, none of them broad", when=Always()),
        ),
    ),
    Part(
        "age",
        "Age",
        "Every day is another day to have been copied, and a secret that nobody rotates has outlived the "
        "people who knew it. Measured against the binding policy, as kinds differ too much for one length. An "
        "issue date that is not known is no proof of youth.",
        (
            Step(points=15, words="More than twice as old as allowed", when=Past("twice_by"), lower=_ROTATE, fact=_age),
            Step(points=10, words="Older than allowed", when=Past("rotate_by"), lower=_ROTATE, fact=_age),
            Step(
                points=6,
                words="Its issue date is unknown",
                when=Unknown("issued_at"),
                lower="Record its issue date, or rotate it.",
                fact=_age,
            ),
            Step(
                points=3,
                words="No policy limits its age",
                when=Unknown("rotate_by"),
                lower="Let a policy say how old it may be.",
                fact=_age,
            ),
            Step(points=0, words="Within its limit", when=Always(), fact=_age),
        ),
    ),
    Part(
        "use",
        "Use",
        "A forgotten credential works for a thief as it did for its owner, and nobody notices. Fewest points: "
        "disuse makes the others worse, and harms nobody by itself.",
        (
            Step(
                points=10,
                words="Unused for longer than allowed",
                when=Past("stale_at"),
                lower="Revoke it if nobody needs it.",
                fact=_idle,
            ),
            Step(
                points=6,
                words="Nobody saw its last use",
                when=Unknown("last_used_at"),
                lower="Record its last use, or sync where that is known.",
            ),
            Step(
                points=3,
                words="No policy limits how long it may lie idle",
                when=Unknown("stale_at"),
                lower="Let a policy say how long it may lie idle.",
                fact=_idle,
            ),
            Step(points=0, words="Used lately", when=Always(), fact=_idle),
        ),
    ),
    Part(
        "reach",
        "Reach",
        "Each holder is another place to leak from, and one misused copy cannot be told from another. A third "
        "party keeps it where nobody here can look.",
        (
            Step(
                points=15,
                words=f"Shared by {MANY} clients or servers or more",
                when=Either(AtLeast("clients", MANY), AtLeast("servers", MANY)),
                lower=_ISOLATE,
                fact=_shared,
            ),
            Step(
                points=15,
                words="Shared, and a third party receives it",
                when=Each(_SHARED, AtLeast("third_party_uses", 1)),
                lower=_ISOLATE,
                fact=_third_party,
            ),
            Step(points=10, words="Shared", when=_SHARED, lower=_ISOLATE, fact=_shared),
            Step(
                points=10,
                words="A third party receives it",
                when=AtLeast("third_party_uses", 1),
                lower="Let a user consent instead of handing over a key.",
                fact=_third_party,
            ),
            Step(
                points=6,
                words="Where it is used is unknown",
                when=Exactly("uses", 0),
                lower="Sync the places where its clients are configured.",
            ),
            Step(
                points=6,
                words="Whose server receives it is unknown",
                when=AtLeast("unclear_uses", 1),
                lower="Name the server's vendor, or the domains that are yours.",
                fact=_unclear,
            ),
            Step(points=0, words="One client, one server of your own", when=Always()),
        ),
    ),
    Part(
        "environment",
        "Environment",
        "What is behind it. Production has as much weight as reach; an environment that nobody named gets "
        "more than staging, since it may be production.",
        (
            Step(
                points=15,
                words="Production",
                when=AtLeast("criticality", 3),
                lower="Use it outside production alone, and issue another for production.",
            ),
            Step(points=10, words="Its environment is unknown", when=Unknown("criticality"), lower=_PLACE),
            Step(
                points=10,
                words="The environment of a use is unknown",
                when=So("is_partly_placed"),
                lower=_PLACE,
                fact=_unplaced,
            ),
            Step(
                points=8,
                words="Staging",
                when=AtLeast("criticality", 2),
                lower="Use it for development alone.",
            ),
            Step(
                points=4, words="Development", when=AtLeast("criticality", 1), lower="Retire it when it is not needed."
            ),
            Step(points=0, words="Personal", when=Always()),
        ),
    ),
)
MOST = sum(part.most for part in PARTS)
_FACTS = {fact for part in PARTS for step in part.steps for fact in step.when.reads()}
# Facts that are dates: nothing else about a score changes by itself.
DATES: tuple[str, ...] = tuple(sorted(name for name, is_date in _FACTS if is_date))
_IN_WORDS = {"exposed_file", "known_since", "max_age", "max_idle", "unplaced_uses"}
READ: tuple[str, ...] = tuple(sorted({name for name, _ in _FACTS} | _IN_WORDS))

SCORE_SQL = "({})::smallint".format(" + ".join(part.sql() for part in PARTS))
NEXT_SQL = "least({})".format(", ".join(f"CASE WHEN v.{date} > %(now)s THEN v.{date} END" for date in DATES))


def score(facts: Facts, now: datetime) -> Score:
    """What SCORE_SQL adds up, with its parts."""
    steps = ((part, part.step(facts, now)) for part in PARTS)
    return Score(tuple(PartScore(part, step, step.fact(facts, now)) for part, step in steps))


def rescored_at(facts: Facts, now: datetime) -> datetime | None:
    """What NEXT_SQL finds: when time alone will next change the score."""
    coming = (facts[date] for date in DATES if facts[date] is not None and facts[date] > now)
    return min(coming, default=None)
