"""Somebody says that a credential is still needed."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from access.actors import Actor
from access.roles import Role
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.errors import HasEnded, NothingChosen
from inventory.models import Credential


@action
def confirm_credentials(ids: Collection[UUID], *, actor: Actor, now: datetime, reason: str) -> int:
    """Keep that `actor` confirmed that each of them is still needed; how many. One entry for each, all or none.

    A reviewer may confirm any, an owner what they answer for; the entry says in which of the two parts. Raises
    NothingChosen when one of them is not the actor's to confirm, HasEnded when one of them has ended or is gone.
    """
    wanted = set(ids)
    confirmable = Credential.objects.confirmable_by(actor).filter(pk__in=wanted)
    rows = in_order(confirmable.select_related("owner"))
    if not rows or len(rows) != len(wanted):
        raise NothingChosen
    for row in rows:
        if not row.is_live:
            raise HasEnded(row)
    Credential.objects.filter(pk__in=wanted).update(reviewed_at=now, reviewed_by=actor.label[:200])
    for row in rows:
        is_owner = row.owner is not None and row.owner.user_id is not None and row.owner.user_id == actor.user_id
        part = Role.OWNER if is_owner else Role.REVIEWER
        before = row.reviewed_at.isoformat() if row.reviewed_at else None
        record(
            Event.CREDENTIAL_CONFIRMED,
            actor=actor,
            subject=row,
            detail={"confirmed_as": part.value, "last_confirmed_at": before, "reason": reason},
        )
    return len(rows)
