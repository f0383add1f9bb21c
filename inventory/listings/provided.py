"""From what a provider lists to the batches of a look: rows that fit their columns, problems that make it partial."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from inventory.discovery.listing import FILE, IDENTITY, NAME, SHORT, Discovered, fit
from inventory.feeds.checks import holds_known_secret
from inventory.listings.base import Batch, Clock
from inventory.states import CredentialKind, TrustModel
from inventory.tags import tags_of
from providers.base import DiscoveredCredential, Problem
from providers.errors import Permanent

AT_ONCE = 200
PATIENCE = timedelta(seconds=20)  # a slow provider shows its progress, and keeps its claim, this often
EXTERNAL_ID, SUBJECT, HINT, SCOPE, REASON = 200, 200, 40, 200, 500
MOST_SCOPES, MOST_DETAILS, DEEPEST, LONGEST_DETAIL = 200, 50, 4, 500


def batches(listed: Iterable[DiscoveredCredential | Problem], clock: Clock) -> Iterator[Batch]:
    """A look at a provider. After a problem nothing is taken for gone: what could not be listed may still be there."""
    gathered = _Gathered(clock())
    for found in listed:
        if isinstance(found, Problem):
            gathered.problems.append({"file": fit(found.place, FILE), "reason": fit(found.reason, REASON)})
        else:
            gathered.rows.append(row(found))
        now = clock()
        if len(gathered.rows) >= AT_ONCE or now - gathered.since >= PATIENCE:
            yield gathered.batch()
            gathered = _Gathered(now)
    yield gathered.batch()


@dataclass(slots=True)
class _Gathered:
    since: datetime
    rows: list[Discovered] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)

    def batch(self) -> Batch:
        return Batch(rows=self.rows, done=len(self.rows), problems=self.problems, is_cut_short=bool(self.problems))


def row(found: DiscoveredCredential) -> Discovered:
    """One credential as its provider lists it. Its lengths are the provider's; a column's are ours."""
    return Discovered(
        credential_key=fit(found.identity, IDENTITY),
        credential_name=fit(found.name, NAME),
        kind=found.kind if found.kind in CredentialKind else CredentialKind.OTHER.value,
        issuer=fit(found.issuer, SHORT),
        principal=fit(found.principal, NAME),
        trust_model=found.trust_model if found.trust_model in TrustModel else TrustModel.UNKNOWN.value,
        subject=fit(found.subject, SUBJECT),
        scopes=tuple(fit(scope, SCOPE) for scope in found.scopes[:MOST_SCOPES]),
        storage="provider",
        reference=fit(found.reference, IDENTITY),
        status=found.status.value,
        external_id=fit(found.external_id, EXTERNAL_ID),
        fingerprint=found.fingerprint,
        hint=fit(found.hint, HINT),
        tags=_tags(found),
        details=json.dumps(_bounded(found.details), sort_keys=True, ensure_ascii=False),
        issued_at=found.issued_at,
        last_used_at=found.last_used_at,
        expires_at=found.expires_at,
    )


def _tags(found: DiscoveredCredential) -> tuple[str, ...] | None:
    """Its labels as tags, but for one that somebody has put a secret into."""
    return tags_of(pair for pair in found.labels if not holds_known_secret(" ".join(pair))) or None


def _bounded(detail: Any, depth: int = 0) -> Any:
    """What people may read, of a size that a row takes, and of characters that JSON in the database takes."""
    if detail is None or isinstance(detail, bool | int | float):
        return detail
    if depth < DEEPEST and isinstance(detail, Mapping):
        kept = list(detail.items())[:MOST_DETAILS]
        return {fit(str(name), SHORT): _bounded(value, depth + 1) for name, value in kept}
    if depth < DEEPEST and isinstance(detail, list | tuple):
        return [_bounded(value, depth + 1) for value in detail[:MOST_DETAILS]]
    return fit(str(detail), LONGEST_DETAIL)


# ── Settings of a connection ───────────────────────────────────────────────────────────────────────
class Settings:
    """A connection's settings read with sentences for what is wrong. What nobody asked for is refused: it is a typo."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._asked: set[str] = set()

    def _get(self, name: str, kind: type, wanted: str, default: Any) -> Any:
        self._asked.add(name)
        value = self._given.get(name, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Permanent(f"The setting {name} is {wanted}.")
        return value

    def text(self, name: str, default: str = "") -> str:
        value: str = self._get(name, str, "a text", default)
        return value.strip()

    def number(self, name: str, default: int) -> int:
        value: int = self._get(name, int, "a whole number", default)
        return value

    def flag(self, name: str, default: bool) -> bool:
        value: bool = self._get(name, bool, "true or false", default)
        return value

    def entries(self, name: str, most: int = 1_000) -> Sequence[Any]:
        value: list[Any] = self._get(name, list, "a list", [])
        if len(value) > most:
            raise Permanent(f"The setting {name} takes at most {most} entries.")
        return value

    def end(self) -> None:
        if unknown := sorted(set(self._given) - self._asked):
            raise Permanent(f"There is no setting {fit(unknown[0], 60)} for this kind of connection.")
