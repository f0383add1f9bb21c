"""What operations write about a credential's versions: issued, current, suspended, destroyed.

Each marks the credential as operated at that time, so that what was listed before does not take it back. They record no
entry of their own where the operation's says it; they belong inside its action.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from access.actors import Actor
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.models import Credential, CredentialVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """A version that was just issued. `identity` is what listings call the credential with it, where that changes."""

    external_id: str
    fingerprint: str = ""
    hint: str = ""
    identity: str = ""
    issued_at: datetime | None = None
    expires_at: datetime | None = None


@action
def record_issued(credential: Credential, new: NewVersion, *, now: datetime, actor: Actor) -> CredentialVersion:
    """Add a version beside the current one. What listings took for a credential of its own belongs to this one now."""
    row = _locked(credential.pk, new.identity)
    version = CredentialVersion(
        credential=row,
        external_id=new.external_id,
        fingerprint=new.fingerprint,
        hint=new.hint,
        issued_at=new.issued_at or now,
        expires_at=new.expires_at,
        first_seen_at=now,
        is_current=False,
    )
    if new.identity and new.identity != row.identity_key:
        version.identity_key = new.identity
        # From now on it matters what the one before is called: the credential will be called otherwise.
        before = CredentialVersion.objects.filter(credential=row, is_current=True)
        before.filter(identity_key="").update(identity_key=row.identity_key)
        _absorb(new.identity, by=row, now=now, actor=actor)
    # What the credential knows of the current version alone is kept with it, for the way back.
    CredentialVersion.objects.filter(credential=row, is_current=True).update(expires_at=row.expires_at)
    version.save(force_insert=True)
    Credential.objects.filter(pk=row.pk).update(operated_at=now)
    return version


@action
def make_current(version: CredentialVersion, *, now: datetime, actor: Actor, **changes: Any) -> Mapping[str, Any]:
    """The credential is this version from now on, for listings too. Also the way back to the one before.

    The answer is what of the credential is otherwise now, `changes` with it.
    """
    held = CredentialVersion.objects.get(pk=version.pk)
    row = _locked(held.credential_id, held.identity_key)
    CredentialVersion.objects.filter(credential=row, is_current=True).exclude(pk=held.pk).update(is_current=False)
    CredentialVersion.objects.filter(pk=held.pk).update(is_current=True)
    values: dict[str, Any] = {
        "external_id": held.external_id,
        "fingerprint": held.fingerprint,
        "hint": held.hint,
        "issued_at": held.issued_at,
        "expires_at": held.expires_at,
        "operated_at": now,
        **changes,
    }
    if held.identity_key and held.identity_key != row.identity_key:
        values["identity_key"] = held.identity_key
    try:
        with transaction.atomic(savepoint="identity_key" in values):
            Credential.objects.filter(pk=row.pk).update(**values)
    except IntegrityError as exc:
        if "credential_identity_is_unique" not in str(exc):
            raise
        # A sync that looked before the version was recorded has made a credential of it.
        _absorb(held.identity_key, by=row, now=now, actor=actor)
        Credential.objects.filter(pk=row.pk).update(**values)
    return values


def _locked(pk: UUID, identity: str) -> Credential:
    """The credential, locked together with what listings may have made of its version, in the order of keys."""
    wanted = Q(pk=pk) | Q(identity_key=identity) if identity else Q(pk=pk)
    return next(row for row in in_order(Credential.objects.filter(wanted)) if row.pk == pk)


def _absorb(identity: str, *, by: Credential, now: datetime, actor: Actor) -> None:
    """Whatever credential listings made of this identity is a version of `by`; its owner stays in the audit trail."""
    for held in in_order(Credential.objects.select_related("owner").filter(Q(identity_key=identity) & ~Q(pk=by.pk))):
        for table in ("inventory_use", "inventory_exposure"):
            _move(table, held, by)
        owner = str(held.owner) if held.owner else None
        Credential.objects.filter(pk=held.pk).update(
            identity_key=f"{identity}#absorbed:{held.pk}",
            external_id="",
            gone_at=now,
            last_seen_at=max(held.first_seen_at, now),
            details={**held.details, "absorbed": f"A version of {by.name} since {now:%Y-%m-%d %H:%M} UTC"},
            operated_at=now,
        )
        detail = {"by": by.name, "credential": str(by.pk), "owner": owner, "identity": identity}
        record(Event.CREDENTIAL_ABSORBED, actor=actor, subject=held, detail=detail)


# Where a thing is, without which credential it is.
_PLACE = {
    "inventory_use": ("connection_id", "file", "pointer", "client_id", "server_id"),
    "inventory_exposure": ("connection_id", "file", "pointer"),
}


def _move(table: str, held: Credential, by: Credential) -> None:
    """Where it is used or lies open, the other one does now; a place that has both keeps both until it is listed."""
    same = " AND ".join(f"x.{column} = t.{column}" for column in _PLACE[table])
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE {table} t SET credential_id = %(by)s
            WHERE t.credential_id = %(held)s AND t.gone_at IS NULL AND NOT EXISTS (
              SELECT 1 FROM {table} x WHERE x.credential_id = %(by)s AND x.gone_at IS NULL AND {same})
            """,
            {"held": held.pk, "by": by.pk},
        )
