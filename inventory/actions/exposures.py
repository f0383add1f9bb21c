"""What people did about literal secrets in files."""

from datetime import datetime

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from inventory.models import Exposure


@action
def record_replaced(
    exposure: Exposure, *, reference: str, line: int, delivered_to: str, actor: Actor, now: datetime
) -> None:
    """That a reference stands in the literal's place. The next sync sees that the exposure is gone."""
    record(
        Event.EXPOSURE_REPLACED,
        actor=actor,
        subject=exposure.credential,
        detail={
            "file": exposure.file,
            "pointer": exposure.pointer,
            "line": line,
            "reference": reference,
            "delivered_to": delivered_to,
            "replaced_at": now.isoformat(),
        },
    )
