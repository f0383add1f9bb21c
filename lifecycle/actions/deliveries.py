"""Where the new secret of a credential goes. Said before its first rotation, by an operator."""

from datetime import datetime, timedelta

from access.actors import Actor
from access.rights import Right
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.models import Connection, Credential
from lifecycle.errors import CredentialEnded, DeliveryInUse, DeliveryRefused, NotAnOperatorOfDeliveries
from lifecycle.models import Delivery, Operation
from lifecycle.states import OperationKind

LONGEST_LOCATION = 2_000


@action
def set_delivery(
    credential: Credential,
    *,
    sink: str,
    location: str,
    connection: Connection | None,
    quiet: timedelta | None,
    actor: Actor,
    now: datetime,
    reason: str = "",
) -> Delivery:
    """Say where the next new secret goes. An operation that has stored one already keeps to where it did."""
    _may(actor)
    location = location.strip()
    if not location or len(location) > LONGEST_LOCATION or not location.isprintable():
        raise DeliveryRefused
    (row,) = in_order(Credential.objects.filter(pk=credential.pk))
    if not row.is_live:
        raise CredentialEnded
    _not_under_way(row)
    before = Delivery.objects.filter(credential=row).first()
    values = {"sink": sink, "location": location, "connection": connection, "quiet": quiet}
    delivery, _ = Delivery.objects.update_or_create(
        credential=row, defaults={**values, "set_by": actor.label[:200], "set_at": now}
    )
    detail = {
        "from": f"{before.sink}: {before.location}" if before is not None else None,
        "to": f"{sink}: {location}",
        "connection": str(connection) if connection is not None else None,
        "reason": reason,
    }
    record(Event.CREDENTIAL_DELIVERY_SET, actor=actor, subject=row, detail=detail)
    return delivery


@action
def remove_delivery(delivery: Delivery, *, actor: Actor, reason: str = "") -> None:
    """It is rotated no more, until somebody says again where its secret goes."""
    _may(actor)
    (row,) = in_order(Credential.objects.filter(pk=delivery.credential_id))
    _not_under_way(row)
    detail = {"from": f"{delivery.sink}: {delivery.location}", "to": None, "reason": reason}
    Delivery.objects.filter(pk=delivery.pk).delete()
    record(Event.CREDENTIAL_DELIVERY_REMOVED, actor=actor, subject=row, detail=detail)


def _may(actor: Actor) -> None:
    if not actor.may(Right.DELIVER):
        raise NotAnOperatorOfDeliveries


def _not_under_way(row: Credential) -> None:
    """The way back of a rotation leads through the same place."""
    if Operation.objects.open().filter(credential=row, kind=OperationKind.ROTATION).exclude(step="issue").exists():
        raise DeliveryInUse
