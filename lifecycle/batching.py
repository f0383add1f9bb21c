"""Carries batches on: items become operations, what has ended is closed, and a drill is rehearsed.

A drill asks each place who we are there, which is all that is asked of it, and keeps what was found.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from access.actors import Actor
from inventory.checks import can_check, check
from inventory.discovery.keys import fingerprint_key
from inventory.errors import NoFingerprintKey
from inventory.fingerprints import fingerprint
from inventory.models import Connection
from lifecycle.actions.batches import conclude_drill, open_next, settle
from lifecycle.actions.leavers import leavers, look_after, open_leaver
from lifecycle.models import Batch
from lifecycle.models.scopes import Scope
from lifecycle.states import BatchState, ScopeKind
from providers.base import Secret

ACTOR = Actor.system("kill switch")
PLACES = 20  # asked in one drill; of the others it says that nobody asked


def scope_of_value(value: Secret) -> Scope:
    """The scope of a value that leaked. Only its keyed fingerprint is kept of it, and that without any part of it."""
    key, is_kept = fingerprint_key(settings.KEYREEVE_HOME, settings.FINGERPRINT_KEY)
    if not is_kept:
        raise NoFingerprintKey
    return Scope(ScopeKind.FINGERPRINT, fingerprint(value.reveal().strip(), key=key), "a leaked value")


def rehearse(batch: Batch, *, clock: Callable[[], datetime], actor: Actor) -> None:
    """Look at the places of a drill and keep the report. Reads only, so it may be done again after a crash."""
    asked = dict.fromkeys(hop["connection"] for hop in batch.preview["hops"] if hop["can_be_asked"])
    looks: dict[str, dict[str, Any]] = {}
    places = Connection.objects.in_bulk(list(asked)[:PLACES])
    for key, place in places.items():
        if can_check(place.kind):
            said = check(place.kind, place.settings, clock=clock)
            looks[str(key)] = {"answered": said.is_good, "answer": said.sentence}
        else:
            looks[str(key)] = {"answered": None, "answer": "Nobody asked: this kind is not asked without an effect."}
    for key in asked:
        looks.setdefault(key, {"answered": None, "answer": "Nobody asked: a drill asks 20 places at most."})
    conclude_drill(batch, looks, actor=actor, now=clock())


def carry_on(batch: Batch, *, clock: Callable[[], datetime], ring: Callable[[Sequence[UUID]], None]) -> int:
    """Take a batch as far as it goes now; how many operations were opened. Whoever comes second finds them opened."""
    batch = Batch.objects.get(pk=batch.pk)  # as it stands by now
    if batch.ended_at is not None or batch.state == BatchState.REQUESTED:
        return 0
    if batch.is_drill:
        rehearse(batch, clock=clock, actor=ACTOR)
        return 0
    if batch.state == BatchState.DECIDING:
        look_after(batch, actor=ACTOR, now=clock())
    opened = 0
    while (keys := open_next(batch, actor=ACTOR, now=clock())) is not None:
        ring(keys)
        opened += len(keys)
    settle(batch, actor=ACTOR, now=clock())
    return opened


def open_leavers(*, clock: Callable[[], datetime]) -> int:
    """Open a batch for everybody who left and still answers for something; how many."""
    made = [open_leaver(owner, actor=Actor.system("leavers"), now=clock()) for owner in leavers()]
    return sum(batch is not None for batch in made)
