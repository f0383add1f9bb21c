"""Evidence packs: asked for, claimed by one worker at a time, built, or given up with the reason."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.db.models import F

from access.actors import Actor
from access.rights import Right
from audit.actions import action, record
from audit.events import Event
from history import past
from reviews.models import EvidencePack
from reviews.packs import (
    EVERYTHING_PRESENT,
    LARGEST_SAMPLE,
    LEASE,
    LONGEST_PERIOD,
    PACK_OPEN,
    TRIES,
    USUAL_PERIOD,
    NotABuilder,
    PackLost,
    PackRefused,
    PackState,
)


@action
def request_pack(
    *,
    purpose: str,
    actor: Actor,
    now: datetime,
    begins_at: datetime | None = None,
    ends_at: datetime | None = None,
    sample_size: int = 0,
    sample_seed: str = "",
    sample_filter: str = EVERYTHING_PRESENT,
) -> EvidencePack:
    """Ask for a pack of what happened since `begins_at`: as it all stood at `ends_at`, or stands when it is built."""
    if not actor.may(Right.BUILD_EVIDENCE):
        raise NotABuilder
    begins = begins_at or (ends_at or now) - USUAL_PERIOD
    problems = {}
    if ends_at is not None:
        try:
            past.check(ends_at, now=now)
        except past.NoSuchPast as exc:
            problems["ends_at"] = str(exc)
        if "ends_at" not in problems and begins >= ends_at:
            problems["ends_at"] = "It ends after it begins."
    if not purpose.strip():
        problems["purpose"] = "Say what it is for."
    if not now - LONGEST_PERIOD <= begins < now:
        problems["begins_at"] = f"It begins before now, and within {LONGEST_PERIOD.days} days."
    if sample_size > LARGEST_SAMPLE:
        problems["sample_size"] = f"A sample has at most {LARGEST_SAMPLE} items."
    if sample_size and not sample_seed.strip():
        problems["sample_seed"] = "A sample needs a seed: with the same one it is drawn the same way again."
    if problems:
        raise PackRefused(problems)
    pack = EvidencePack(
        purpose=purpose.strip()[:200],
        begins_at=begins,
        ends_at=ends_at,
        sample_size=sample_size,
        sample_seed=sample_seed.strip(),
        sample_filter=sample_filter,
        requested_by=actor.label,
        requested_by_key=actor.key,
        requested_at=now,
    )
    pack.save(force_insert=True)
    detail = {"begins_at": begins.isoformat(), "ends_at": ends_at and ends_at.isoformat(), "sample": sample_size}
    record(Event.EVIDENCE_PACK_REQUESTED, actor=actor, subject=pack, detail=detail)
    return pack


@action
def claim(pk: UUID, now: datetime, *, actor: Actor) -> UUID | None:
    """A lease on a pack that is due. None where another worker has it, or too many have died over it."""
    token = uuid4()
    due = EvidencePack.objects.due(now).filter(pk=pk)
    if due.filter(attempts__lt=TRIES).update(
        state=PackState.BUILDING,
        lease_token=token,
        lease_until=now + LEASE,
        attempts=F("attempts") + 1,
        done=0,
        step="",
    ):
        return token
    said = f"{TRIES} workers began it and none of them came to its end."
    if due.update(state=PackState.FAILED, error=said, lease_token=None, lease_until=None):
        pack = EvidencePack.objects.get(pk=pk)
        record(Event.EVIDENCE_PACK_FAILED, actor=actor, subject=pack, detail={"said": said})
    return None


@action
def finish(pk: UUID, token: UUID, built: Mapping[str, Any], *, actor: Actor, now: datetime) -> None:
    """What was built is the pack. Raises PackLost where another worker has taken it over."""
    held = EvidencePack.objects.filter(pk=pk, lease_token=token, state=PackState.BUILDING)
    if not held.update(
        state=PackState.READY, built_at=now, lease_token=None, lease_until=None, step="", done=F("total"), error="",
        **built,
    ):  # fmt: skip
        raise PackLost
    pack = EvidencePack.objects.get(pk=pk)
    detail = {"sha256": pack.sha256, "manifest_sha256": pack.manifest_sha256, "bytes": pack.size}
    record(Event.EVIDENCE_PACK_BUILT, actor=actor, subject=pack, detail=detail)


@action
def fail(pk: UUID, token: UUID, said: str, *, actor: Actor) -> None:
    """It cannot be built; whoever asked for it reads why."""
    held = EvidencePack.objects.filter(pk=pk, lease_token=token, state__in=PACK_OPEN)
    if held.update(state=PackState.FAILED, error=said, lease_token=None, lease_until=None):
        pack = EvidencePack.objects.get(pk=pk)
        record(Event.EVIDENCE_PACK_FAILED, actor=actor, subject=pack, detail={"said": said})


@action
def remove(pk: UUID, *, actor: Actor, now: datetime) -> bool:
    """Its file is gone, being old; what it was and by which digest it is known stays. Whether it was there till now."""
    if not EvidencePack.objects.filter(pk=pk, state=PackState.READY).update(state=PackState.REMOVED, removed_at=now):
        return False
    pack = EvidencePack.objects.get(pk=pk)
    detail = {"sha256": pack.sha256, "bytes": pack.size, "built_at": pack.built_at and pack.built_at.isoformat()}
    record(Event.EVIDENCE_PACK_REMOVED, actor=actor, subject=pack, detail=detail)
    return True
