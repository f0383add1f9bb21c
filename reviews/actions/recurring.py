"""Campaigns that begin by themselves: those that come back, and those about approvals that have lapsed.

One that cannot be launched, because a connection is stale, stays a draft that says why, and is tried again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from access.actors import Actor
from audit.actions import action, in_order
from reviews.actions.approvals import lapse
from reviews.actions.campaigns import LONGEST, counted, create_campaign, launch
from reviews.errors import ReviewError
from reviews.models import Approval, Campaign
from reviews.models.campaigns import CHOSEN
from reviews.states import CampaignState, NoAnswer, Origin, Reviewed

ACTOR = Actor.system("reviews")
ANSWER_WITHIN = timedelta(days=14)  # what lapsed
AT_ONCE = 20


@action
def draft_due(*, now: datetime) -> int:
    """Draft the next one of each campaign that comes back and is due; how many."""
    due = Campaign.objects.filter(repeat_at__lte=now).order_by("repeat_at")[:AT_ONCE]
    rows = in_order(Campaign.objects.filter(pk__in=list(due.values_list("pk", flat=True)), repeat_at__lte=now))
    for row in rows:
        begun = row.launched_at or row.created_at
        values = {name: getattr(row, name) for name in CHOSEN}
        lead = row.lead if row.lead is not None and row.lead.is_active else None
        made = create_campaign(
            actor=ACTOR, now=now, origin=Origin.SCHEDULE, lead=lead, due_at=now + (row.due_at - begun), **values
        )
        Campaign.objects.filter(pk=made.pk).update(follows=row)
        Campaign.objects.filter(pk=row.pk).update(repeat_at=None)
    return len(rows)


def launch_drafts(*, now: datetime) -> int:
    """Launch what begins by itself; how many began. Of the others it is kept why not."""
    begun = 0
    waiting = Campaign.objects.filter(state=CampaignState.DRAFT, origin__in=[Origin.SCHEDULE, Origin.EVENT])
    for row in waiting.order_by("id")[:AT_ONCE]:
        try:
            launch(row, actor=ACTOR, now=now)
            begun += 1
        except ReviewError as exc:
            Campaign.objects.filter(pk=row.pk, state=CampaignState.DRAFT).update(launch_error=str(exc))
    return begun


@action
def ask_again(*, now: datetime) -> int:
    """End the approvals of what is no longer as it was approved, and draft campaigns that ask again; of how many."""
    lapsed: list[Approval] = []
    for kind in Reviewed:
        lapsed += lapse(kind, actor=ACTOR, now=now)
    by_terms: dict[tuple[Any, str], list[Approval]] = {}
    terms = Approval.objects.filter(pk__in=[each.pk for each in lapsed]).values_list(
        "pk", "item__campaign__lead", "item__campaign__no_answer"
    )
    known = {pk: (lead, answer) for pk, lead, answer in terms}
    for each in lapsed:
        by_terms.setdefault(known[each.pk], []).append(each)
    for (lead, answer), approvals in sorted(by_terms.items(), key=str):
        _draft(approvals, lead, NoAnswer(answer or NoAnswer.ESCALATE), now)
    return len(lapsed)


def _draft(approvals: Sequence[Approval], lead: Any, answer: NoAnswer, now: datetime) -> None:
    values: dict[str, Any] = {
        "name": f"Changed after approval, {now.day} {now:%B %Y}",
        "description": "What was approved is not as it was then. Each item says what differs.",
        "reviewed": sorted({each.kind for each in approvals}),
        "ids": [each.subject_id for each in approvals],
        "no_answer": answer,
        "due_at": now + ANSWER_WITHIN,
        "fresh_within": LONGEST,  # that something changed was just seen
    }
    places = counted(Campaign(**values))
    if any(reason is None for counts in places.values() for _, reason in counts):
        made = create_campaign(actor=ACTOR, now=now, origin=Origin.EVENT, **values)
        Campaign.objects.filter(pk=made.pk, lead=None).update(lead=lead)
