"""How people work on findings: acknowledge and assign them, comment, and link what will resolve them."""

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from django.db import IntegrityError, transaction

from access.actors import Actor
from access.rights import Right
from access.roles import Role
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.discovery.listing import seen
from inventory.discovery.prose import holds_secret
from inventory.errors import OwnerInactive
from inventory.models import Owner
from lifecycle.errors import (
    CommentEmpty,
    CommentTooLong,
    FindingNotVisible,
    FindingResolved,
    HoldsSecret,
    LinkExists,
    LinkRefused,
    LinkRemoved,
    ReasonMissing,
)
from lifecycle.models import Finding, FindingComment, FindingLink
from lifecycle.models.work import LONGEST_COMMENT
from lifecycle.states import FindingState, LinkKind

LONGEST_REASON = 1_000


@action
def acknowledge(finding_ids: Iterable[UUID], *, actor: Actor, now: datetime) -> int:
    """Say that somebody has seen these findings and works on them; how many changed.

    All of them or none: FindingNotVisible when the actor may not see one. Waived and resolved ones stay as they are.
    """
    changed = [finding for finding in locked(finding_ids, actor) if finding.state == FindingState.OPEN]
    for finding in changed:
        finding.state = FindingState.ACKNOWLEDGED
        finding.acknowledged_at = now
        finding.acknowledged_by = actor.label[:200]
        record(Event.FINDING_ACKNOWLEDGED, actor=actor, subject=finding, detail=about(finding))
    Finding.objects.bulk_update(changed, ["state", "acknowledged_at", "acknowledged_by"], batch_size=1_000)
    return len(changed)


@action
def assign(finding_ids: Iterable[UUID], owner: Owner | None, *, actor: Actor, reason: str = "") -> int:
    """Say who works on these findings, or that nobody does; how many changed hands. All of them or none.

    The owner of the subject still answers for it. Raises OwnerInactive, and FindingResolved for what is over.
    """
    if owner is not None and not owner.is_active:
        raise OwnerInactive(owner)
    reason = as_seen(reason)
    refuse_secrets(reason)
    moved = [one for one in locked(finding_ids, actor) if one.assigned_to_id != (owner.pk if owner else None)]
    if any(finding.resolved_at is not None for finding in moved):
        raise FindingResolved
    names = dict(Owner.objects.filter(pk__in={one.assigned_to_id for one in moved}).values_list("pk", "name"))
    for finding in moved:
        before = names.get(finding.assigned_to_id) if finding.assigned_to_id else None
        said = {"from": before, "to": str(owner) if owner else None, "reason": reason}
        record(Event.FINDING_ASSIGNED, actor=actor, subject=finding, detail={**about(finding), **said})
        finding.assigned_to = owner
    Finding.objects.bulk_update(moved, ["assigned_to"], batch_size=1_000)
    return len(moved)


@action
def comment(finding_ids: Iterable[UUID], text: str, *, actor: Actor, now: datetime) -> int:
    """Write the same comment at each of these findings, all of them or none; how many.

    Refuses a text in which a secret stands. The audit entry names the comment and its digest: the text itself is
    for those who see the finding.
    """
    text = as_seen(text)
    if not text:
        raise CommentEmpty
    if len(text) > LONGEST_COMMENT:
        raise CommentTooLong
    refuse_secrets(text)
    findings = locked(finding_ids, actor)
    digest = sha256(text.encode()).hexdigest()
    written = FindingComment.objects.bulk_create(
        FindingComment(finding=one, author=actor.label[:200], author_key=actor.key, text=text, written_at=now)
        for one in findings
    )
    for finding, row in zip(findings, written, strict=True):
        detail = {**about(finding), "comment": str(row.pk), "digest": digest}
        record(Event.FINDING_COMMENTED, actor=actor, subject=finding, detail=detail)
    return len(written)


@action
def add_link(
    finding: Finding, *, kind: LinkKind, reference: str, url: str = "", label: str = "", actor: Actor, now: datetime
) -> FindingLink:
    """Name what will resolve a finding: an operation, a review item, a ticket or a change."""
    reference, url, label = reference.strip(), url.strip(), label.strip()
    is_ours = url.startswith("/") and not url.startswith(("//", "/\\"))
    is_printable = all(text.isprintable() for text in (reference, url, label)) and " " not in url
    if not 0 < len(reference) <= 200 or len(label) > 200 or len(url) > 500 or not is_printable:
        raise LinkRefused
    if url and not is_ours and not url.startswith("https://"):
        raise LinkRefused
    refuse_secrets(reference, url, label)
    (found,) = locked([finding.pk], actor)
    link = FindingLink(
        finding=found, kind=kind, reference=reference, url=url, label=label, added_at=now, added_by=actor.label[:200]
    )
    try:
        with transaction.atomic():
            link.save(force_insert=True)
    except IntegrityError as exc:
        if "finding_link_one_per_reference" not in str(exc):
            raise
        raise LinkExists from exc
    detail = {**about(found), "link": str(link.pk), "kind": kind.value, "reference": reference, "url": url}
    record(Event.FINDING_LINKED, actor=actor, subject=found, detail=detail)
    return link


@action
def remove_link(link: FindingLink, *, actor: Actor, now: datetime) -> None:
    """Take a link away; it stays in the history."""
    (finding,) = locked([link.finding_id], actor)
    found = FindingLink.objects.select_for_update(no_key=True).get(pk=link.pk)
    if found.removed_at is not None:
        raise LinkRemoved
    found.removed_at, found.removed_by = now, actor.label[:200]
    found.save(update_fields=["removed_at", "removed_by"])
    detail = {**about(finding), "link": str(found.pk), "kind": found.kind, "reference": found.reference}
    record(Event.FINDING_UNLINKED, actor=actor, subject=finding, detail=detail)


# ── What every decision about findings shares ──────────────────────────────────────────────────
def locked(finding_ids: Iterable[UUID], actor: Actor) -> list[Finding]:
    """The named findings, locked in the order of keys; `actor` may decide about all of them, or FindingNotVisible.

    A reviewer decides about what they see; anybody else about what they answer for, though they may read more.
    """
    wanted = set(finding_ids)
    as_owner = Actor(actor.kind, actor.id, actor.label, frozenset({Role.OWNER}), user_id=actor.user_id)
    decider = actor if actor.may_everywhere(Right.WORK_ON_FINDING) else as_owner
    visible = Finding.objects.visible_to(decider).filter(pk__in=wanted)
    found = in_order(visible)
    if len(found) != len(wanted):
        raise FindingNotVisible
    return found


def about(finding: Finding) -> dict[str, str]:
    return {"rule": finding.rule, finding.subject_kind.value: str(finding.subject_id)}


def as_seen(text: str) -> str:
    """What somebody wrote, as people will read it: an order that turns the direction of writing is marked."""
    return seen(text.strip().replace("\r\n", "\n"))


def why_of(reason: str) -> str:
    """A reason as it is kept. Raises ReasonMissing and HoldsSecret."""
    said = as_seen(reason)
    if not said or len(said) > LONGEST_REASON:
        raise ReasonMissing
    refuse_secrets(said)
    return said


def refuse_secrets(*texts: str) -> None:
    if any(holds_secret(text) for text in texts):
        raise HoldsSecret
