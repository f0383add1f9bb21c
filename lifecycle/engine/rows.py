"""What outcomes write beside the operation: versions, and what a credential has copied of the current one.

Each runs within the journal's transaction and locks credentials before anything else, but for clients, which go first.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from access.actors import Actor
from audit.actions import in_order
from inventory.actions import succession, versions
from inventory.actions.versions import NewVersion, record_issued
from inventory.discovery.listing import IDENTITY, fit
from inventory.models import Credential, CredentialVersion, Use
from inventory.states import ENDED, CredentialKind, CredentialStatus

ACTOR = Actor.system("operations")
EXTERNAL_ID, HINT = 200, 40
MOST_NAMED = 200


def locked(credential: Credential) -> None:
    in_order(Credential.objects.filter(pk=credential.pk))


def add_version(credential: Credential, issued: Mapping[str, Any], now: datetime) -> CredentialVersion:
    """What was issued and delivered, not current yet. A sync knows it from now on."""
    new = NewVersion(
        external_id=fit(issued["external_id"], EXTERNAL_ID),
        fingerprint=issued["fingerprint"],
        hint=fit(issued["hint"], HINT),
        identity=fit(issued.get("identity") or "", IDENTITY),
        issued_at=_at(issued, "issued_at"),
        expires_at=_at(issued, "expires_at"),
    )
    version = record_issued(credential, new, now=now, actor=ACTOR)
    if version.credential.status not in ENDED:  # as it was read when it was locked
        Credential.objects.filter(pk=credential.pk).update(status=CredentialStatus.ROTATING)
    return version


def make_current(credential: Credential, version: CredentialVersion, now: datetime) -> None:
    """Consumers read this version from now on; the credential shows it, and nobody has seen its use."""
    _become(credential, versions.make_current(version, now=now, actor=ACTOR, last_used_at=None))


def client_succeeded(credential: Credential, version: CredentialVersion, now: datetime) -> None:
    """A client was registered in the place of another, for its secret. Before credentials are locked."""
    if credential.kind == CredentialKind.OAUTH_CLIENT_SECRET:
        succession.record_succession(credential, version.external_id, now=now, actor=ACTOR)


def clients_deleted(credential: Credential, external_ids: list[str], now: datetime, *, proof: str) -> None:
    """With a client secret its registration was deleted. Before credentials are locked."""
    if credential.kind == CredentialKind.OAUTH_CLIENT_SECRET:
        for each in sorted(filter(None, external_ids)):
            succession.record_deletion(credential, each, now=now, actor=ACTOR, proof=proof)


def make_current_again(credential: Credential, old: CredentialVersion | None, now: datetime) -> None:
    """The way back: consumers read the old version again."""
    locked(credential)
    if old is None:
        CredentialVersion.objects.filter(credential=credential, is_current=True).update(is_current=False)
        return
    _become(credential, versions.make_current(old, now=now, actor=ACTOR))
    CredentialVersion.objects.filter(pk=old.pk).update(suspended_at=None)


def _become(credential: Credential, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(credential, name, value)


def suspended(credential: Credential, external_ids: list[str], now: datetime) -> None:
    _operated(credential, now)
    ended = CredentialVersion.objects.filter(credential=credential, external_id__in=external_ids)
    ended.filter(suspended_at=None, destroyed_at=None).update(suspended_at=now)


def destroyed(credential: Credential, external_ids: list[str], now: datetime) -> None:
    _operated(credential, now)
    ended = CredentialVersion.objects.filter(credential=credential, external_id__in=external_ids)
    ended.filter(destroyed_at=None).update(destroyed_at=now, is_current=False)


def become(credential: Credential, status: CredentialStatus, now: datetime) -> None:
    _operated(credential, now, status=status)


def _operated(credential: Credential, now: datetime, **values: Any) -> None:
    """Locks the credential, and what was listed before does not take it back."""
    Credential.objects.filter(pk=credential.pk).update(operated_at=now, **values)


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
