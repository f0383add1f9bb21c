"""What a person did where no provider can be asked, or where one did not do it."""

from datetime import datetime

from access.actors import Actor
from audit.actions import action, in_order, record
from audit.events import Event
from lifecycle import plans
from lifecycle.actions.requests import may_operate, say_why
from lifecycle.errors import NotAnOperator, NotByHand, OperationClosed, OperationNotProposed
from lifecycle.models import Operation
from lifecycle.states import OperationState, Proof


@action
def done_by_hand(operation: Operation, *, actor: Actor, now: datetime, reason: str) -> None:
    """Somebody ended the credential where it was issued, and says so. A word is no proof: somebody looks at it again.

    Raises NotByHand for what Keyreeve does itself, as long as it has not given up.
    """
    say_why(reason)
    (row,) = in_order(Operation.objects.select_related("credential").filter(pk=operation.pk))
    if row.closed_at is not None:
        raise OperationClosed
    if not may_operate(row.credential, actor):
        raise NotAnOperator
    if not row.may_be_done_by_hand:
        raise NotByHand
    if row.state == OperationState.PROPOSED:
        raise OperationNotProposed("Approve this operation first.")
    why = "No provider can be asked." if row.by_hand else "Its provider did not do it."
    said = f"{why} {actor.label} says that it was ended: {reason}"
    Operation.objects.filter(pk=row.pk).update(
        state=OperationState.COMPLETED,
        step=plans.REVOCATION[-1],
        proof=Proof.UNVERIFIABLE,
        proof_reason=said,
        verify_by=now + plans.VERIFY_WITHIN,
        due_at=None,
        stalled_at=None,
        waits_for="",
        error="",
        closed_at=now,
        lease_token=None,
        lease_until=None,
    )
    detail = {"proof": Proof.UNVERIFIABLE.value, "by_hand": True, "reason": reason}
    record(Event.OPERATION_COMPLETED, actor=actor, subject=row, detail=detail)
