"""Approvals are bound to what was approved, lapse when that changes, and are then asked for anew."""

from collections.abc import Sequence
from datetime import datetime

from access.actors import Actor
from audit.actions import action, in_order, record
from audit.events import Event
from reviews.models import Approval, ReviewItem
from reviews.models.approvals import changed_since
from reviews.models.subjects import BOUND
from reviews.states import Reviewed


def bind(rows: Sequence[ReviewItem], *, now: datetime) -> None:
    """Part of an action that keeps these items: an approval of each as it was last looked at."""
    for kind in {row.kind for row in rows}:
        subjects = [row.subject_id for row in rows if row.kind == kind]
        Approval.objects.standing().filter(kind=kind, subject_id__in=subjects).update(ended_at=now)
    Approval.objects.bulk_create(
        [
            Approval(
                item=row,
                kind=row.kind,
                subject_id=row.subject_id,
                name=row.name,
                digest=row.seen_digest,
                bound=_as_seen(row),
                approved_by=row.deciders,
                approved_at=now,
            )
            for row in rows
        ],
        batch_size=1_000,
    )


def _as_seen(row: ReviewItem) -> dict[str, object]:
    seen = row.seen_facts
    return {name: seen[name] for name in BOUND if name in seen}


@action
def lapse(kind: Reviewed, *, actor: Actor, now: datetime) -> list[Approval]:
    """End the approvals of what is no longer as it was approved; which."""
    found = {key: said for key, _, said in changed_since(kind, now=now)}
    rows = [row for row in in_order(Approval.objects.filter(pk__in=list(found))) if row.ended_at is None]
    for row in rows:
        row.ended_at, row.is_lapsed, row.difference = now, True, found[row.pk]
        record(Event.APPROVAL_LAPSED, actor=actor, subject=row, detail={"differs": sorted(row.difference)})
    Approval.objects.bulk_update(rows, ["ended_at", "is_lapsed", "difference"], batch_size=500)
    return rows
