"""Asks once more about what has ended and nobody could tell of. It looks at the provider, and changes nothing there.

Somebody asked for it, by `look_again`; a worker that dies at it leaves `look_at`, and the next one takes it up.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db.models import OuterRef, Subquery

from access.actors import Actor
from inventory.errors import InventoryError
from inventory.listings.base import Clock
from inventory.models import CredentialVersion
from inventory.states import CredentialStatus
from lifecycle.engine import journal, rows
from lifecycle.engine.claims import LEASE, Due, Lease, LeaseLost, Load
from lifecycle.engine.outcomes import Again, Done, Outcome, Waits
from lifecycle.engine.reach import REACH, Reach
from lifecycle.engine.runner import ENGINE
from lifecycle.engine.steps import see_old, see_revoked, targets, verified
from lifecycle.engine.work import Work
from lifecycle.models import Operation, ProviderLoad
from lifecycle.states import OperationKind
from providers.base import Capability, Liveness, Seen
from providers.errors import ProviderError, Transient

MOST_LOOKS = 5  # at a place that does not answer
PAUSE = timedelta(seconds=30)
AT_ONCE = 50


def due(now: datetime) -> Sequence[Due]:
    """What is to be looked at once more, and no worker is at it."""
    load = ProviderLoad.objects.filter(connection=OuterRef("connection"))
    found = Operation.objects.to_look_at(now).order_by("look_at")
    return [Due(*row) for row in found.values_list("pk", Subquery(load.values("is_slow")[:1]))[:AT_ONCE]]


def look(operation_id: UUID, *, clock: Clock, actor: Actor = ENGINE, reach: Reach = REACH) -> bool:
    """Look once more; whether there was anything to look at. Raises whatever nobody foresaw, once it is written."""
    now = clock()
    lease = Lease(operation_id, uuid4(), now + LEASE)
    free = Operation.objects.to_look_at(now).filter(pk=operation_id)
    if not free.update(lease_token=lease.token, lease_until=lease.until):
        return False
    work = Work(lease, Load(0, is_slow=False), clock=clock, reach=reach)
    work.asking.is_fenced = True
    unforeseen: Exception | None = None
    try:
        outcome = _looked(work)
    except Transient as exc:
        outcome = _later(work, exc)
    except (ProviderError, InventoryError) as exc:
        outcome = Waits(until=None, sentence=str(exc))
    except Exception as exc:  # noqa: BLE001  written down, then raised
        unforeseen = exc
        outcome = Waits(until=None, sentence=f"Keyreeve met an error that nobody foresaw ({type(exc).__name__}).")
    try:
        worker = f"{socket.gethostname()}:{os.getpid()}"[:200]
        journal.close_look(work, outcome, actor=actor, worker=worker, now=clock())
    except LeaseLost:
        return False
    if unforeseen is not None:
        raise unforeseen
    return True


def _later(work: Work, exc: Transient) -> Outcome:
    looks = work.operation.attempts
    if looks + 1 >= MOST_LOOKS:
        return Waits(until=None, sentence=f"Asked {looks + 1} times: {exc}")
    pause = max(PAUSE * 2**looks, exc.retry_after or timedelta(0))
    return Again(said=str(exc), until=work.clock() + pause)


def _looked(work: Work) -> Outcome:
    if work.operation.kind == OperationKind.REVOCATION:
        return _revoked(work)
    if work.old_external_id == work.new_external_id and work.secret_of(work.operation.old_version) is None:
        return _still_unknown("Issuing replaced the old secret, and nobody holds it any more to show it.")
    seen = [see_old(work)]
    if (not_refused := _not_refused(seen)) is not None:
        return not_refused
    proof = verified(work, seen)

    def apply(now: datetime) -> Mapping[str, Any]:
        old = work.operation.old_version
        if old is not None:
            rows.locked(work.credential)
            CredentialVersion.objects.filter(pk=old.pk).update(destroyed_at=now, is_current=False)
        return {}

    return Done(said=proof["proof_reason"], changes=proof, apply=apply)


def _revoked(work: Work) -> Outcome:
    versions = work.operation.blast_radius.get("versions", [])
    if further := sorted(set(targets(work)) - {*versions, ""}):
        return _still_unknown(f"A further version has come to light: {further[0]}. Revoke the credential again.")
    seen = see_revoked(work)
    if (not_refused := _not_refused(seen)) is not None:
        return not_refused
    proof = verified(work, seen)
    is_destroyed = work.can(Capability.DESTROY)

    def apply(now: datetime) -> Mapping[str, Any]:
        if is_destroyed:
            rows.destroyed(work.credential, versions, now)
            rows.become(work.credential, CredentialStatus.DESTROYED, now)
        return {}

    return Done(said=proof["proof_reason"], changes=proof, apply=apply)


def _not_refused(seen: Sequence[Seen]) -> Outcome | None:
    for each in seen:
        if each.liveness is Liveness.ALIVE:
            return _still_unknown(f"It is still taken: {each.sentence} End it at its provider, then look again.")
    for each in seen:
        if each.liveness is Liveness.UNKNOWN:
            return _still_unknown(f"Nobody can tell whether it is refused: {each.sentence}")
    return None


def _still_unknown(sentence: str) -> Waits:
    return Waits(until=None, sentence=sentence, changes={"proof_reason": sentence})
