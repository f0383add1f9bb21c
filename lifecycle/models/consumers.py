"""Who uses a credential, and which of them were seen to have moved to the new version of a rotation."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection as database

from inventory.models import CredentialVersion
from inventory.states import Admission
from lifecycle.models.operations import Acknowledgement, Operation, StepAttempt
from lifecycle.states import Acknowledged, AttemptOutcome, OperationKind, Step

NAMES_IT = "Its configuration names the new version."
LEFT_IT = "Its configuration names the old version no longer."


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """One that uses a credential, and how it is known that it uses the new version: not at all where `how` is None.

    Without a `client_id` it is nobody whom the inventory knows: it called itself so, or somebody did.
    """

    name: str
    client_id: UUID | None = None
    how: Acknowledged | None = None
    at: datetime | None = None
    said_by: str = ""
    evidence: str = ""

    @property
    def has_moved(self) -> bool:
        return self.how is not None

    @property
    def is_known(self) -> bool:
        return self.client_id is not None


def promoted_at(operation: Operation, attempts: Iterable[StepAttempt] | None = None) -> datetime | None:
    """Since when consumers can read the new version; None while they cannot. Asks for its attempts unless given all."""
    if operation.kind != OperationKind.ROTATION:
        return None
    if attempts is not None:
        done = [each for each in attempts if (each.step, each.outcome) == (Step.PROMOTE, AttemptOutcome.DONE)]
        at = max(done, key=lambda each: each.number).ended_at if done else None
    else:
        rows = StepAttempt.objects.filter(operation=operation, step=Step.PROMOTE, outcome=AttemptOutcome.DONE)
        at = rows.order_by("-number").values_list("ended_at", flat=True).first()
    return at or (operation.step_at if operation.step == Step.OVERLAP else None)


def consumers_of(operation: Operation, attempts: Iterable[StepAttempt] | None = None) -> tuple[Consumer, ...]:
    """Everybody known to use the credential, by name, then those who only called themselves so. Four queries at most,
    two where its versions were read with the operation and all its attempts are given.

    A client was seen to have moved when its configuration was looked at after the promotion and holds the old version
    nowhere any more. That it names a reference shows nothing: it named it before, and may not have read it again.
    """
    since = promoted_at(operation, attempts)
    said = list(Acknowledgement.objects.filter(operation=operation).order_by("id"))
    by_client = {each.client_id: each for each in said if each.client_id is not None}
    old, new = _versions(operation)
    known: list[Consumer] = []
    for client_id, (name, uses) in _uses(operation, old=old, since=since).items():
        row = by_client.pop(client_id, None)
        if row is not None:
            known.append(_acknowledged(row, name))
        else:
            known.append(_seen(client_id, name, uses, old=old, new=new, since=since))
    known.sort(key=lambda each: (each.name.casefold(), str(each.client_id)))
    others = [
        _acknowledged(each, each.consumer) for each in said if each.client_id is None or each.client_id in by_client
    ]
    return (*known, *others)


@dataclass(frozen=True, slots=True)
class _Held:
    """One place where a client names a credential."""

    is_the_credential: bool
    fingerprint: str
    external_id: str
    first_seen_at: datetime
    gone_at: datetime | None

    def names(self, version: CredentialVersion | None) -> bool:
        if version is None:
            return False
        return bool(
            (version.fingerprint and version.fingerprint == self.fingerprint)
            or (version.external_id and version.external_id == self.external_id)
        )


def _versions(operation: Operation) -> tuple[CredentialVersion | None, CredentialVersion | None]:
    if {"old_version", "new_version"} <= operation._state.fields_cache.keys():
        return operation.old_version, operation.new_version
    keys = [key for key in (operation.old_version_id, operation.new_version_id) if key is not None]
    found = CredentialVersion.objects.in_bulk(keys) if keys else {}
    return (
        found.get(operation.old_version_id) if operation.old_version_id else None,
        found.get(operation.new_version_id) if operation.new_version_id else None,
    )


def _uses(
    operation: Operation, *, old: CredentialVersion | None, since: datetime | None
) -> dict[UUID, tuple[str, list[_Held]]]:
    """By client, its name and where it holds a credential: of those in service that hold this one somewhere.

    A listing may know the old version, or the place it is delivered to, as a credential of its own: a configuration
    file is read without the provider. Who names those uses this credential too.
    """
    held: dict[UUID, tuple[str, list[_Held]]] = {}
    with database.cursor() as cursor:
        cursor.execute(
            """
            WITH place AS (SELECT 'ref:' || location AS identity FROM lifecycle_delivery WHERE credential_id = %(it)s),
            same AS (
              SELECT id FROM inventory_credential WHERE id = %(it)s
              UNION SELECT id FROM inventory_credential WHERE %(fingerprint)s <> '' AND fingerprint = %(fingerprint)s
              UNION SELECT id FROM inventory_credential WHERE %(external_id)s <> '' AND external_id = %(external_id)s
              UNION SELECT id FROM inventory_credential WHERE identity_key IN (SELECT identity FROM place)
            ),
            open_then AS NOT MATERIALIZED (
              SELECT * FROM inventory_use
              WHERE NOT is_disabled AND (gone_at IS NULL OR gone_at > %(since)s::timestamptz)
            )
            SELECT l.id, l.name, c.id = %(it)s OR c.identity_key IN (SELECT identity FROM place),
                   c.fingerprint, c.external_id, u.first_seen_at, u.gone_at
            FROM inventory_mcpclient l
            JOIN open_then u ON u.client_id = l.id
            JOIN inventory_credential c ON c.id = u.credential_id
            WHERE l.gone_at IS NULL AND l.admission <> %(removed)s
              AND l.id IN (SELECT client_id FROM open_then WHERE credential_id IN (SELECT id FROM same))
            """,
            {
                "it": operation.credential_id,
                "fingerprint": old.fingerprint if old is not None else "",
                "external_id": old.external_id if old is not None else "",
                "since": since,
                "removed": Admission.REMOVED.value,
            },
        )
        for client_id, name, *place in cursor.fetchall():
            held.setdefault(client_id, (name, []))[1].append(_Held(*place))
    return held


def _acknowledged(row: Acknowledgement, name: str) -> Consumer:
    return Consumer(
        name=name,
        client_id=row.client_id,
        how=Acknowledged(row.how),
        at=row.acknowledged_at,
        said_by=row.said_by,
        evidence=row.said_by if row.how == Acknowledged.SEEN else "",
    )


def _seen(
    client_id: UUID,
    name: str,
    uses: list[_Held],
    *,
    old: CredentialVersion | None,
    new: CredentialVersion | None,
    since: datetime | None,
) -> Consumer:
    still = Consumer(name=name, client_id=client_id)
    if since is None:
        return still
    present = [each for each in uses if each.gone_at is None]
    for each in present:
        # What stands there since before the promotion is the old version, whatever the row is called by now.
        if (each.names(old) and not each.names(new)) or (each.is_the_credential and each.first_seen_at <= since):
            return still
    named = [each.first_seen_at for each in present if each.names(new) and each.first_seen_at > since]
    if named:
        return Consumer(
            name=name, client_id=client_id, how=Acknowledged.SEEN, at=max(named), said_by=NAMES_IT, evidence=NAMES_IT
        )
    left = [each.gone_at for each in uses if each.gone_at is not None and (each.is_the_credential or each.names(old))]
    if not left:
        return still
    return Consumer(
        name=name, client_id=client_id, how=Acknowledged.SEEN, at=max(left), said_by=LEFT_IT, evidence=LEFT_IT
    )
