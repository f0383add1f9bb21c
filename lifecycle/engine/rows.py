"""What outcomes write beside the operation: versions, and what a credential has copied of the current one.

Each runs within the journal's transaction and locks credentials before anything else.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q

from audit.actions import in_order
from inventory.discovery.listing import fit
from inventory.models import Credential, CredentialVersion, Use
from inventory.states import ENDED, CredentialStatus

EXTERNAL_ID, HINT = 200, 40
MOST_NAMED = 200


def locked(credential: Credential, identity: str = "") -> list[Credential]:
    """The credential, with whichever a sync took for one of its own although it is a version of this one."""
    wanted = Q(pk=credential.pk)
    if identity:
        wanted |= Q(identity_key=identity)
    return in_order(Credential.objects.filter(wanted))


def add_version(credential: Credential, issued: Mapping[str, Any], now: datetime) -> CredentialVersion:
    """What was issued and delivered, not current yet."""
    locked(credential)
    Credential.objects.filter(pk=credential.pk).exclude(status__in=ENDED).update(status=CredentialStatus.ROTATING)
    return CredentialVersion.objects.create(
        credential=credential,
        external_id=fit(issued["external_id"], EXTERNAL_ID),
        fingerprint=issued["fingerprint"],
        hint=fit(issued["hint"], HINT),
        issued_at=_at(issued, "issued_at") or now,
        first_seen_at=now,
        is_current=False,
    )


def make_current(credential: Credential, version: CredentialVersion, issued: Mapping[str, Any], now: datetime) -> None:
    """Consumers read this version from now on; the credential shows it."""
    identity = issued.get("identity") or ""
    for row in locked(credential, identity):
        if row.pk != credential.pk:
            # A sync was between the issue and this, and took the new version for a credential of its own.
            row.identity_key, row.gone_at = f"{row.identity_key} (version of {credential.pk})", now
            row.last_seen_at = row.last_seen_at or now
            row.save(update_fields=["identity_key", "gone_at", "last_seen_at"])
    CredentialVersion.objects.filter(credential=credential, is_current=True).exclude(pk=version.pk).update(
        is_current=False
    )
    CredentialVersion.objects.filter(pk=version.pk).update(is_current=True)
    copied = {
        "external_id": version.external_id,
        "fingerprint": version.fingerprint,
        "hint": version.hint,
        "issued_at": version.issued_at,
        "expires_at": _at(issued, "expires_at"),
        "last_used_at": None,
    }
    if identity:
        copied["identity_key"] = identity
    _copy(credential, copied)


def make_current_again(credential: Credential, old: CredentialVersion | None, before: Mapping[str, Any]) -> None:
    """The way back: consumers read the old version again."""
    locked(credential)
    CredentialVersion.objects.filter(credential=credential, is_current=True).update(is_current=False)
    if old is None:
        return
    CredentialVersion.objects.filter(pk=old.pk).update(is_current=True, suspended_at=None)
    copied: dict[str, Any] = {
        "external_id": old.external_id,
        "fingerprint": old.fingerprint,
        "hint": old.hint,
        "issued_at": old.issued_at,
    }
    if before:
        copied |= {"expires_at": _at(before, "expires_at"), "identity_key": before["identity"]}
    _copy(credential, copied)


def _copy(credential: Credential, copied: Mapping[str, Any]) -> None:
    Credential.objects.filter(pk=credential.pk).update(**copied)
    for name, value in copied.items():
        setattr(credential, name, value)


def suspended(credential: Credential, external_ids: list[str], now: datetime) -> None:
    locked(credential)
    versions = CredentialVersion.objects.filter(credential=credential, external_id__in=external_ids)
    versions.filter(suspended_at=None, destroyed_at=None).update(suspended_at=now)


def destroyed(credential: Credential, external_ids: list[str], now: datetime) -> None:
    locked(credential)
    versions = CredentialVersion.objects.filter(credential=credential, external_id__in=external_ids)
    versions.filter(destroyed_at=None).update(destroyed_at=now, is_current=False)


def become(credential: Credential, status: CredentialStatus) -> None:
    locked(credential)
    Credential.objects.filter(pk=credential.pk).update(status=status)


def blast_radius(credential: Credential) -> dict[str, Any]:
    """Which clients and servers are known to use it now."""
    uses = Use.objects.present().filter(credential=credential).order_by("pk")
    pairs = list(uses.values_list("client_id", "client__name", "server_id", "server__name")[:MOST_NAMED])
    clients = {str(pk): name for pk, name, _, _ in pairs}
    servers = {str(pk): name for _, _, pk, name in pairs}
    return {
        "clients": [{"id": pk, "name": name} for pk, name in clients.items()],
        "servers": [{"id": pk, "name": name} for pk, name in servers.items()],
    }


def _at(values: Mapping[str, Any], name: str) -> datetime | None:
    return datetime.fromisoformat(values[name]) if values.get(name) else None
