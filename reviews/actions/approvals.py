"""Approvals are bound to what was approved, lapse when that changes, and are then asked for anew."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from access.actors import Actor
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.models import Grant, McpClient
from reviews.models import Approval, ReviewItem
from reviews.models.approvals import changed_since
from reviews.models.subjects import BOUND, at_present
from reviews.states import Reviewed

NARROWED = {"granted", "scopes", "resources", "tools"}  # of what a grant is bound to, what it allows


def bind(rows: Sequence[ReviewItem], *, now: datetime) -> None:
    """Part of an action that keeps these items: an approval of each as it was last looked at."""
    made = [
        Approval(
            item=row,
            kind=row.kind,
            subject_id=row.subject_id,
            name=row.name,
            digest=row.seen_digest,
            bound=_bound(row.seen_facts),
            approved_by=row.deciders,
            approved_at=now,
        )
        for row in rows
    ]
    for kind in {row.kind for row in rows}:
        _take_place([each for each in made if each.kind == kind], Reviewed(kind), now)


def _bound(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in BOUND if name in facts}


def _take_place(made: Sequence[Approval], kind: Reviewed, now: datetime) -> None:
    subjects = [each.subject_id for each in made]
    Approval.objects.standing().filter(kind=kind, subject_id__in=subjects).update(ended_at=now)
    Approval.objects.bulk_create(made, batch_size=1_000)


def bind_admitted(*, clients: Collection[McpClient], actor: Actor, now: datetime, **kwargs: Any) -> None:
    """Part of the action that admits these clients."""
    _bind_present(Reviewed.CLIENT, clients, actor, now)


def bind_granted(*, grants: Collection[Grant], actor: Actor, now: datetime, **kwargs: Any) -> None:
    """Part of the action that approves these grants."""
    _bind_present(Reviewed.GRANT, grants, actor, now)


def follow_change(*, grant: Grant, is_wider: bool, actor: Actor, now: datetime, **kwargs: Any) -> None:
    """Part of the action that changes this grant: one that allows more is a draft again, and what allows less needs no
    new look, unless something else has changed since."""
    standing = Approval.objects.standing().filter(kind=Reviewed.GRANT, subject_id=grant.pk).first()
    if standing is None:
        return
    if is_wider:
        Approval.objects.filter(pk=standing.pk).update(ended_at=now)
        return
    facts = at_present(Reviewed.GRANT, [grant.pk], now=now)[grant.pk].facts
    if all(value == facts.get(name) for name, value in standing.bound.items() if name not in NARROWED):
        _bind_present(Reviewed.GRANT, [grant], actor, now)


def _bind_present(kind: Reviewed, rows: Collection[McpClient] | Collection[Grant], actor: Actor, now: datetime) -> None:
    present = at_present(kind, [row.pk for row in rows], now=now) if rows else {}
    made = [
        Approval(
            kind=kind,
            subject_id=row.pk,
            name=str(row)[:620],
            digest=present[row.pk].digest,
            bound=_bound(present[row.pk].facts),
            approved_by=actor.label[:200],
            approved_at=now,
        )
        for row in rows
    ]
    _take_place(made, kind, now)


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
