"""Keep what authorization servers publish: their metadata, how it changed, what they can do and how they are judged."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from inventory.actions.posture import latest_documents, record_checks, record_documents
from inventory.models import AuthorizationServer
from inventory.posture.authorization_servers import capabilities
from inventory.posture.model import CheckResult, Target
from inventory.posture.published import differences


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenIssuer:
    """An authorization server as one look found it. Without `metadata` it published none, or did not answer."""

    issuer: str
    metadata: Mapping[str, Any] | None
    is_external: bool | None = None
    results: Sequence[CheckResult] = ()


def ensure_issuers(issuers: Iterable[str], *, now: datetime) -> dict[str, UUID]:
    """The row of each issuer, made where there is none."""
    wanted = sorted(set(issuers))
    AuthorizationServer.objects.bulk_create(
        [AuthorizationServer(issuer=issuer, first_seen_at=now) for issuer in wanted], ignore_conflicts=True
    )
    return dict(AuthorizationServer.objects.filter(issuer__in=wanted).values_list("issuer", "pk"))


def record_issuers(seen: Sequence[SeenIssuer], *, now: datetime) -> dict[str, int]:
    """Keep what was seen of authorization servers.

    One that did not answer keeps the metadata it published last; its verdicts say that it is unknown now.
    """
    keys = ensure_issuers((each.issuer for each in seen), now=now)
    rows = AuthorizationServer.objects.in_bulk(list(keys.values()))
    published = {keys[each.issuer]: each.metadata for each in seen if each.metadata is not None}
    said = {pk: differences(rows[pk].metadata, found) for pk, found in published.items() if rows[pk].metadata}
    changed = record_documents(Target.AUTHORIZATION_SERVER, published, differences=said, now=now)
    kept = latest_documents(Target.AUTHORIZATION_SERVER, published)  # what a column takes of what came over the wire
    different = {pk: rows[pk] for pk, document in kept.items() if rows[pk].metadata != document}
    for pk, row in different.items():
        row.changed_at = now if row.metadata else None
        row.metadata = kept[pk]
        row.capabilities = list(capabilities(row.metadata))
    for each in seen:
        row = rows[keys[each.issuer]]
        if each.is_external is not None and row.is_external is not each.is_external:
            row.is_external = each.is_external
            different[row.pk] = row
    AuthorizationServer.objects.bulk_update(
        different.values(), ["metadata", "capabilities", "changed_at", "is_external"], batch_size=500
    )
    AuthorizationServer.objects.filter(pk__in=published).update(checked_at=now)
    judged = [(keys[each.issuer], result) for each in seen for result in each.results]
    return {
        "authorization_servers_changed": changed,
        "verdicts_changed": record_checks(Target.AUTHORIZATION_SERVER, judged, now=now),
    }
