"""A person's word where no request can tell: whether a delegated layer does what nobody outside can see."""

from datetime import datetime

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from inventory.actions.posture import record_checks
from inventory.models import AuthorizationServer
from inventory.posture.authorization_servers import CHECKS
from inventory.posture.model import Check, Target

ANSWERABLE: dict[str, Check] = {check.id: check for check in CHECKS if check.id.startswith("KR-DL-")}


def answerable(server: AuthorizationServer) -> set[str]:
    """The checks that a person's word decides. Where something was seen, nobody's word stands against it."""
    if not server.metadata:
        return {"KR-DL-01"}
    endpoints = {"KR-DL-03": "revocation_endpoint", "KR-DL-04": "introspection_endpoint"}
    return {check for check in ANSWERABLE if server.metadata.get(endpoints.get(check, "")) is None}


@action
def answer_check(
    server: AuthorizationServer, check: Check, *, is_so: bool, reason: str, actor: Actor, now: datetime
) -> None:
    """Record a person's word. It stands through every later look, until somebody says otherwise."""
    judge = check.met if is_so else check.violated
    said = f"{actor.label} says {'so' if is_so else 'it is not so'}."
    result = judge(server.issuer, said, said_by=actor.label, said_at=now.isoformat())
    record_checks(Target.AUTHORIZATION_SERVER, [(server.pk, result)], now=now)
    record(
        Event.AUTHORIZATION_SERVER_CHECK_ANSWERED,
        actor=actor,
        subject=server,
        detail={"check": check.id, "is_so": is_so, "reason": reason},
    )
