"""What is asked of the estate at one moment: the policies in force, the settings of rules, one's own domains. Pure.

An evaluation reads it once and compiles it into its statements, so a policy that is changed or retired meanwhile is
never half seen; and what nobody has saved yet can be judged in the same way (`lifecycle.actions.judging`).
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from hashlib import sha256
from typing import Any, Self
from uuid import UUID

from inventory.states import Severity

UNSAVED = UUID(int=2**128 - 1)  # of a policy without a row: like every new one behind those of the same priority
OFF = "off"  # in the overrides of a policy, beside the names of severities
GRADES = {severity.name.lower(): severity for severity in Severity if severity}


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedPolicy:
    """One policy as it is tried: selectors that are empty fit everything, limits that are empty are not asked."""

    id: UUID
    name: str
    priority: int = 100
    kinds: tuple[str, ...] = ()
    trust_models: tuple[str, ...] = ()
    environments: tuple[UUID, ...] = ()
    providers: tuple[str, ...] = ()
    owners: tuple[UUID, ...] = ()
    tags: tuple[str, ...] = ()
    server_roles: tuple[str, ...] = ()
    max_age: timedelta | None = None
    max_idle: timedelta | None = None
    max_lifetime: timedelta | None = None
    overlap: timedelta | None = None
    review_interval: timedelta | None = None
    requires_owner: bool = False
    requires_expiry: bool = False
    requires_reference: bool = False
    allowed_scopes: tuple[str, ...] = ()
    logging: tuple[str, ...] = ()
    overrides: tuple[tuple[str, str], ...] = ()  # by rule `off` or the name of a severity, in the order of rules

    def override(self, rule: str) -> str | None:
        """`off`, a severity's name, or None; what is no such word is not asked."""
        said = dict(self.overrides).get(rule)
        return said if said == OFF or severity_named(said) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRule:
    """A rule as the whole estate wants it; one that nobody has set is as its declaration says."""

    rule: str
    is_on: bool = True
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Policies in the order in which they are tried, and the rules that somebody has set."""

    policies: tuple[AskedPolicy, ...] = ()
    rules: tuple[AskedRule, ...] = ()
    own_domains: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, policies: Iterable[AskedPolicy], rules: Iterable[AskedRule] = (), own_domains: Iterable[str] = ()
    ) -> Self:
        in_order = sorted(policies, key=lambda policy: (policy.priority, policy.id))
        return cls(tuple(in_order), tuple(sorted(rules, key=lambda rule: rule.rule)), tuple(own_domains))

    def with_policy(self, policy: AskedPolicy) -> Self:
        """With this policy in place of the one of the same id, or beside the others."""
        return replace(self, policies=self.of([*self.without_policy(policy.id).policies, policy]).policies)

    def without_policy(self, policy_id: UUID) -> Self:
        return replace(self, policies=tuple(policy for policy in self.policies if policy.id != policy_id))

    def with_setting(self, rule: str, *, is_on: bool = True, severity: Severity | None = None) -> Self:
        others = (each for each in self.rules if each.rule != rule)
        return replace(self, rules=self.of((), [*others, AskedRule(rule=rule, is_on=is_on, severity=severity)]).rules)

    def setting(self, rule: str) -> AskedRule:
        return next((each for each in self.rules if each.rule == rule), AskedRule(rule=rule))

    def named(self, selector: str) -> list[Any]:
        """Every value that some policy selects on, each once and in order."""
        return sorted({value for policy in self.policies for value in getattr(policy, selector)})

    @property
    def digest(self) -> str:
        """Changes when what is asked does, whoever changed it."""
        return sha256(repr((self.policies, self.rules, self.own_domains)).encode()).hexdigest()

    def as_rows(self) -> list[dict[str, Any]]:
        """The policies as JSON that the database reads as rows; `position` is the order in which they are tried."""
        return [
            {field: _plain(value) for field, value in asdict(policy).items()} | {"position": position}
            for position, policy in enumerate(self.policies)
        ]


def severity_named(name: str | None) -> Severity | None:
    """`high` and the like; None for what is no severity of a finding."""
    return GRADES.get(name or "")


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        # Days apart from the rest, as the database itself keeps a length of time.
        return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
