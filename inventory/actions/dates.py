"""What a person knows about a credential's dates where no provider can be asked."""

from datetime import datetime

from django.db.models import Q

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from inventory.models import Credential, CredentialVersion


@action
def record_dates(
    credential: Credential,
    *,
    issued_at: datetime | None,
    last_used_at: datetime | None,
    expires_at: datetime | None,
    actor: Actor,
    reason: str,
) -> bool:
    """Keep the dates somebody vouches for; None leaves what is known. Whether anything changed."""
    given = {"issued_at": issued_at, "last_used_at": last_used_at, "expires_at": expires_at}
    changed = {name: at for name, at in given.items() if at is not None and getattr(credential, name) != at}
    if not changed:
        return False
    for name, at in changed.items():
        setattr(credential, name, at)
    credential.save(update_fields=list(changed))
    if "issued_at" in changed:
        CredentialVersion.objects.filter(Q(credential=credential, is_current=True)).update(issued_at=issued_at)
    record(
        Event.CREDENTIAL_DATES_RECORDED,
        actor=actor,
        subject=credential,
        detail={"dates": {name: at.isoformat() for name, at in changed.items()}, "reason": reason},
    )
    return True
