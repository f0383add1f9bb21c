"""Reviewers attest what they decided; whoever leads a campaign signs it, over every item and decision."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection as database

from access.actors import Actor, ActorKind
from access.models import User
from access.rights import Right
from audit.actions import action, record
from audit.events import Event
from inventory.models import Owner
from lifecycle.actions.findings import refuse_secrets
from reviews.actions.campaigns import locked, running
from reviews.actions.planting import end_decoys, open_decoys
from reviews.errors import (
    AttestationsMissing,
    CampaignNotRunning,
    NotAPerson,
    NotAReviewer,
    NothingToAttest,
    StatementMissing,
    StillOpen,
    StillYours,
)
from reviews.models import Attestation, Campaign, Decision, ReviewItem
from reviews.models.figures import decoys_of
from reviews.states import RUNNING, CampaignState, Seat

LONGEST_STATEMENT = 2_000
# One line for each: what it is about, what was known, how it ended and how that is known; what was said about it.
_ITEM_LINES = """
SELECT concat_ws(' ', i.id, i.kind, coalesce(i.credential_id, i.client_id, i.grant_id, i.server_id), i.bound_digest,
  encode(sha256(convert_to(i.facts::text, 'UTF8')), 'hex'), i.recommendation, i.state, i.what, i.ending,
  i.first_by_key, i.second_by_key, i.operation_id, encode(sha256(convert_to(i.proof, 'UTF8')), 'hex'))
FROM reviews_reviewitem i WHERE i.campaign_id = %(campaign)s AND i.decoy IS NULL ORDER BY i.id
"""
_DECISION_LINES = """
SELECT concat_ws(' ', d.id, d.item_id, d.seat, d.round, d.what, d.to_owner_id, d.decided_by_key,
  to_char(d.decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
  to_char(d.submitted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), d.seen_digest,
  encode(sha256(convert_to(d.reason, 'UTF8')), 'hex'), encode(sha256(convert_to(d.detail::text, 'UTF8')), 'hex'))
FROM reviews_decision d WHERE d.campaign_id = %(campaign)s AND d.submitted_at IS NOT NULL {own}
  AND NOT EXISTS (SELECT 1 FROM reviews_reviewitem i WHERE i.id = d.item_id AND i.decoy IS NOT NULL) ORDER BY d.id
"""


def lines_of(campaign: Campaign) -> Iterator[str]:
    """What a campaign's digest is over: its completeness and scope, every item, every submitted decision."""
    yield campaign.completeness_digest
    yield campaign.scope_digest
    yield from _lines(_ITEM_LINES, campaign)
    yield from _lines(_DECISION_LINES.format(own=""), campaign)


def digest_of(campaign: Campaign) -> str:
    return _digest(lines_of(campaign))


def _digest(lines: Iterator[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _lines(statement: str, campaign: Campaign, **values: Any) -> Iterator[str]:
    with database.cursor() as cursor:
        cursor.execute(statement, {"campaign": campaign.pk, **values})
        while rows := cursor.fetchmany(5_000):
            for (line,) in rows:
                yield line


def _state(statement: str) -> None:
    if not statement.strip() or len(statement) > LONGEST_STATEMENT:
        raise StatementMissing
    refuse_secrets(statement)


@action
def attest(campaign: Campaign, *, actor: Actor, now: datetime, statement: str) -> Attestation:
    """Sign for everything that one decided in a campaign, once nothing waits for oneself. What comes later is attested
    again. Raises StillYours, NothingToAttest."""
    _state(statement)
    if actor.kind is not ActorKind.USER:
        raise NotAPerson
    row = running(campaign)
    waiting = ReviewItem.objects.filter(campaign=row).waiting_for(actor).count()
    waiting += Decision.with_decoys.current().filter(campaign=row, decided_by_key=actor.key, submitted_at=None).count()
    if waiting:
        raise StillYours(waiting)
    number = Decision.objects.filter(campaign=row, decided_by_key=actor.key, submitted_at__isnull=False).count()
    digest = _own_digest(row, actor.key)
    if not number or Attestation.objects.filter(campaign=row, signed_by_key=actor.key, digest=digest).exists():
        raise NothingToAttest
    end_decoys(open_decoys(campaign=row, reviewer__in=Owner.objects.being(actor).values("pk")), now=now)
    made = Attestation.objects.create(
        campaign=row,
        statement=statement,
        decisions=number,
        digest=digest,
        signed_by=actor.label[:200],
        signed_by_key=actor.key,
        signed_at=now,
    )
    detail = {"decisions": number, "digest": digest, "statement": statement}
    record(Event.CAMPAIGN_ATTESTED, actor=actor, subject=row, detail=detail)
    return made


def _own_digest(campaign: Campaign, key: str) -> str:
    own = _DECISION_LINES.format(own="AND d.decided_by_key = %(key)s")
    return _digest(_lines(own, campaign, key=key))


def unattested(campaign: Campaign) -> list[str]:
    """Who decided something that they have not attested. Who can sign in no more is not waited for."""
    made = (
        Decision.objects.filter(campaign=campaign, submitted_at__isnull=False)
        .exclude(seat=Seat.CLOCK)
        .order_by("decided_by_key", "decided_by")
        .values_list("decided_by_key", "decided_by")
        .distinct()
    )
    people = dict(made)
    numbers = {key: int(key.partition(":")[2]) for key in people if key.partition(":")[2].isdecimal()}
    there = set(User.objects.filter(pk__in=numbers.values(), is_active=True).values_list("pk", flat=True))
    there -= set(Owner.objects.filter(user__in=there, is_active=False).values_list("user", flat=True))
    attested: dict[str, set[str]] = {}
    for key, digest in Attestation.objects.filter(campaign=campaign).values_list("signed_by_key", "digest"):
        attested.setdefault(key, set()).add(digest)
    return sorted(
        name
        for key, name in people.items()
        if numbers.get(key) in there and _own_digest(campaign, key) not in attested.get(key, ())
    )


@action
def sign(campaign: Campaign, *, actor: Actor, now: datetime, statement: str) -> Campaign:
    """Sign a campaign whose every item is closed and attested: its digest goes into the audit chain.

    The lead signs, or a reviewer where there is none. Raises StillOpen, AttestationsMissing.
    """
    _state(statement)
    if actor.kind is not ActorKind.USER:
        raise NotAPerson
    row = locked(campaign)
    if row.state not in RUNNING:
        raise CampaignNotRunning
    is_lead = row.lead_id is not None and Owner.objects.being(actor).filter(pk=row.lead_id).exists()
    if not is_lead and not actor.may_everywhere(Right.REVIEW):
        raise NotAReviewer
    still = ReviewItem.objects.filter(campaign=row).open().count()
    if still:
        raise StillOpen(still)
    missing = unattested(row)
    if missing:
        raise AttestationsMissing(missing)
    end_decoys(open_decoys(campaign=row), now=now)
    row.state, row.ended_at, row.statement = CampaignState.SIGNED, now, statement
    row.signed_by, row.signed_by_key = actor.label[:200], actor.key
    row.digest = digest_of(row)
    row.save(update_fields=["state", "ended_at", "statement", "signed_by", "signed_by_key", "digest"])
    detail = {"items": row.size, "digest": row.digest, "statement": statement}
    if row.planted:
        detail["decoys"] = decoys_of(row.pk)
    record(Event.CAMPAIGN_SIGNED, actor=actor, subject=row, detail=detail)
    return row
