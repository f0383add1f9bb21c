"""A policy in the words of its page: whom it fits, what it asks, and what changed from one version to the next."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from access.actors import Actor
from inventory.models import Environment, Owner
from inventory.states import CredentialKind, Logged, ServerRole, TrustModel
from lifecycle.models import Policy
from lifecycle.models.policies import ASKED
from lifecycle.rules import RULES
from lifecycle.rules.asking import NAMELESS
from lifecycle.rules.wording import exact_length
from lifecycle.states import Automation

LABELS: dict[str, str] = {
    "name": "Name",
    "description": "Where its limits come from",
    "priority": "Priority",
    "kinds": "Kinds",
    "trust_models": "Trust models",
    "environments": "Environments",
    "providers": "Providers",
    "owners": "Owners",
    "tags": "Tags",
    "server_roles": "Server roles",
    "max_age": "Maximum age",
    "max_idle": "Maximum time without use",
    "max_lifetime": "Maximum lifetime",
    "overlap": "Overlap",
    "review_interval": "Review every",
    "requires_owner": "An owner",
    "requires_expiry": "An expiry",
    "requires_reference": "Kept by reference only",
    "allowed_scopes": "Allowed scopes",
    "logging": "Servers must log",
    "automation": "When rotation falls due",
    "overrides": "Rules otherwise",
}
CHOICES: dict[str, dict[str, str]] = {
    "kinds": {value: str(label) for value, label in CredentialKind.choices},
    "trust_models": {value: str(label) for value, label in TrustModel.choices},
    "server_roles": {value: str(label) for value, label in ServerRole.choices},
    "logging": {value: str(label) for value, label in Logged.choices},
}
LENGTHS = ("max_age", "max_idle", "max_lifetime", "overlap", "review_interval")
REQUIRED = ("requires_owner", "requires_expiry", "requires_reference")


@dataclass(frozen=True)
class Names:
    """What environments and owners are called, looked up once for a whole page.

    Whoever does not see everything reads no owner's name but their own.
    """

    known: Mapping[UUID, str] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: Iterable[Mapping[str, Any]], actor: Actor) -> "Names":
        """Of every key that stands in one of these selectors."""
        environments: set[UUID] = set()
        owners: set[UUID] = set()
        for each in asked:
            environments.update(keys(each.get("environments", [])))
            owners.update(keys(each.get("owners", [])))
        places = Environment.objects.filter(pk__in=environments).values_list("pk", "name") if environments else ()
        people = Owner.objects.filter(pk__in=owners) if owners else Owner.objects.none()
        mine = people if actor.sees_everything else people.visible_to(actor)
        hidden = {} if actor.sees_everything else dict.fromkeys(people.values_list("pk", flat=True), "another owner")
        return cls({**dict(places), **hidden, **dict(mine.values_list("pk", "name"))})

    def said(self, name: str, value: Any) -> str:
        if name in {"environments", "owners"}:
            return next((self.known.get(key, NAMELESS) for key in keys([value])), NAMELESS)
        return CHOICES.get(name, {}).get(str(value), str(value))


def name(policies: Iterable[Policy], names: Names) -> None:
    """Let the policies say themselves with these names."""
    for policy in policies:
        policy.names = names.known


def named(rows: Iterable[Policy], actor: Actor) -> list[Policy]:
    """The rows, each with the names that this actor may read: no query for each of them."""
    policies = list(rows)
    name(policies, Names.of([{"environments": p.environments, "owners": p.owners} for p in policies], actor))
    return policies


def keys(values: Iterable[Any]) -> list[UUID]:
    """Those of the values that are keys; a version of long ago may hold anything."""
    found = []
    for value in values:
        try:
            found.append(value if isinstance(value, UUID) else UUID(str(value)))
        except ValueError:
            continue
    return found


def selector(asked: Mapping[str, Any], names: Names) -> list[tuple[str, list[str]]]:
    """Each selector that is not empty, with its values."""
    return [
        (LABELS[name], [names.said(name, each) for each in asked[name]])
        for name in ("kinds", "trust_models", "environments", "providers", "owners", "tags", "server_roles")
        if asked.get(name)
    ]


def limits(asked: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(LABELS[name], said(name, asked[name])) for name in LENGTHS if asked.get(name)]


def requirements(asked: Mapping[str, Any]) -> list[str]:
    return [LABELS[name] for name in REQUIRED if asked.get(name)]


def overrides(asked: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rules that the policy wants otherwise: slug, name, and `off` or the severity's word."""
    found = [(slug, rule_name(slug), str(wanted)) for slug, wanted in asked.get("overrides", {}).items()]
    return sorted(found, key=lambda each: each[1])


def rule_name(slug: str) -> str:
    return RULES[slug].name if slug in RULES else slug


def said(name: str, value: Any, names: Names | None = None) -> str:
    """One field's value as a version holds it, in words."""
    if value in (None, "", [], {}):
        return "nothing asked" if name in LENGTHS else "any" if name in _SELECTORS else "none"
    if name in LENGTHS:
        return exact_length(value if isinstance(value, timedelta) else timedelta(seconds=float(value)))
    if isinstance(value, bool):
        return "required" if value else "not required"
    if name == "automation":
        return str(dict(Automation.choices).get(value, value))
    if name == "overrides":
        return ", ".join(f"{rule_name(slug)}: {wanted}" for slug, wanted in sorted(value.items()))
    if isinstance(value, list):
        return ", ".join((names or Names()).said(name, each) for each in value)
    return str(value)


def forgone(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What the one asks of a credential and the other no longer would, each in words."""
    lost = [
        f"{LABELS[name].lower()} {said(name, before[name])}"
        for name in LENGTHS
        if before.get(name) and not after.get(name)
    ]
    lost += [LABELS[name].lower() for name in REQUIRED if before.get(name) and not after.get(name)]
    if before.get("allowed_scopes") and not after.get("allowed_scopes"):
        lost.append(LABELS["allowed_scopes"].lower())
    if logged := [each for each in before.get("logging", ()) if each not in after.get("logging", ())]:
        lost.append(f"{LABELS['logging'].lower()} {said('logging', logged).lower()}")
    return lost


_SELECTORS = ("kinds", "trust_models", "environments", "providers", "owners", "tags", "server_roles")


@dataclass(frozen=True)
class Difference:
    label: str
    before: str
    after: str


def differences(before: Mapping[str, Any] | None, after: Mapping[str, Any], names: Names) -> list[Difference]:
    """The fields that changed from one version to the next; nothing for the first."""
    if before is None:
        return []
    return [
        Difference(LABELS[name], said(name, before.get(name), names), said(name, after.get(name), names))
        for name in ASKED
        if before.get(name) != after.get(name)
    ]
