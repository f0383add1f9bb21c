"""What a policy binds and asks, in plain words. Pure: names of environments and owners are given."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from inventory.states import CredentialKind, Logged, ServerRole, TrustModel
from lifecycle.rules import RULES
from lifecycle.rules.asked import OFF
from lifecycle.rules.wording import exact_length
from lifecycle.states import Automation
from web.wording import plural

SAID = 6  # of one list; a sentence over more is a table
NAMELESS = "one that is gone"  # an environment or an owner

_PLACES = {
    ServerRole.UNCLASSIFIED: "unclassified servers",
    ServerRole.TOOL_ENDPOINT: "tool endpoints",
    ServerRole.DELEGATED_LAYER: "delegated authorization layers",
    ServerRole.MIXED: "mixed servers",
}
_AUTOMATION = {
    Automation.PROPOSE: "Keyreeve proposes the rotation",
    Automation.AUTOMATIC: "Keyreeve rotates by itself",
}


class Asking(Protocol):
    """What words are made of: a policy, saved or drafted."""

    kinds: Any
    trust_models: Any
    environments: Any
    providers: Any
    owners: Any
    tags: Any
    server_roles: Any
    max_age: Any
    max_idle: Any
    max_lifetime: Any
    overlap: Any
    review_interval: Any
    requires_owner: Any
    requires_expiry: Any
    requires_reference: Any
    allowed_scopes: Any
    logging: Any
    automation: Any
    overrides: Any


Names = Mapping[UUID, str]


def binds(policy: Asking, names: Names) -> str:
    """Whom it binds: `Static service API keys in prod or staging, tagged pci`."""
    trust = list(policy.trust_models)
    kinds = _either([_kind(each) for each in policy.kinds])
    nouns = kinds or "credentials"
    if len(trust) == 1 and trust[0] != TrustModel.UNKNOWN:
        nouns = f"{_lower(str(TrustModel(trust[0]).label))} {nouns}"
        trust = []
    where = [
        words
        for words in (
            _clause("of trust model", [_lower(str(TrustModel(each).label)) for each in trust]),
            _clause("in", [names.get(each, NAMELESS) for each in policy.environments]),
            _clause("issued by", policy.providers),
            _clause("owned by", [names.get(each, NAMELESS) for each in policy.owners]),
            _clause("tagged", policy.tags),
            _clause("used on", [_PLACES[ServerRole(each)] for each in policy.server_roles]),
        )
        if words
    ]
    if nouns == "credentials" and not where:
        return "Every credential"
    return _upper(f"{nouns} {', '.join(where)}".strip())


def asks(policy: Asking) -> str:
    """What it asks of them, without its first capital: `rotate within 90 days, retire after 60 days without use`."""
    first = [
        words
        for words, is_asked in (
            (f"rotate within {_time(policy.max_age)}", policy.max_age),
            (f"keep the old version working for {_time(policy.overlap)} after a rotation", policy.overlap),
            (f"retire after {_time(policy.max_idle)} without use", policy.max_idle),
            (f"live at most {_time(policy.max_lifetime)}", policy.max_lifetime),
            ("have an expiry", policy.requires_expiry),
            ("have an owner", policy.requires_owner),
            (f"be reviewed every {_time(policy.review_interval)}", policy.review_interval),
            ("be kept by reference only", policy.requires_reference),
            (f"carry no scope but {_listed(policy.allowed_scopes, 'and')}", policy.allowed_scopes),
        )
        if is_asked
    ]
    parts = [
        ", ".join(first),
        f"their servers log {_listed([_logged(each) for each in policy.logging], 'and')}" if policy.logging else "",
        _AUTOMATION.get(policy.automation, ""),
        _overridden(policy.overrides),
    ]
    return "; ".join(part for part in parts if part) or "nothing is asked"


def sentence(policy: Asking, names: Names) -> str:
    return f"{binds(policy, names)}: {asks(policy)}."


def _overridden(overrides: Mapping[str, str]) -> str:
    said = [
        f"“{RULES[slug].name if slug in RULES else slug}” {'is off' if wanted == OFF else f'counts as {wanted}'}"
        for slug, wanted in sorted(overrides.items())
    ]
    return f"for them {_listed(said, 'and')}" if said else ""


def _clause(word: str, values: Iterable[str]) -> str:
    words = _either(list(values))
    return f"{word} {words}" if words else ""


def _either(values: Sequence[str]) -> str:
    return _listed(values, "or")


def _listed(values: Sequence[str], word: str) -> str:
    """`a, b or c`; of a long list its beginning and how many more there are."""
    shown = list(values)
    if len(shown) > SAID:
        shown = [*shown[: SAID - 1], plural(len(shown) - SAID + 1, "other")]
    if len(shown) <= 1:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} {word} {shown[-1]}"


def _kind(kind: str) -> str:
    return "other credentials" if kind == CredentialKind.OTHER else f"{_lower(str(CredentialKind(kind).label))}s"


def _logged(event: str) -> str:
    return str(Logged(event).label).lower()


def _time(time: timedelta | None) -> str:
    return exact_length(time) if time is not None else ""


def _lower(words: str) -> str:
    """`API keys` and `AWS access keys` keep their capitals."""
    return words if words[:2].isupper() else f"{words[:1].lower()}{words[1:]}"


def _upper(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"
