"""Reviewers are told when a campaign begins, before it is due, and each day after that while something waits.

Whoever sees a campaign through may remind them in between, once a day.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.urls import reverse

from access.actors import Actor
from access.rights import Right
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.models import Owner
from notifications.actions.outbox import Message, post
from notifications.mail import is_on
from notifications.models import Recipient
from notifications.states import Timing
from reviews.errors import CampaignNotRunning, MailIsOff, NobodyToRemind, NotTheLead, RemindedToday
from reviews.kinds import TO_DO
from reviews.models import Campaign
from reviews.models.figures import standing
from reviews.states import NoAnswer
from web.wording import plural

ACTOR = Actor.system("reviews")
BEGUN, LATE = 0, 400  # no reminder is longer ahead than a year
LATEST = 30_000
BY_HAND_EVERY = timedelta(days=1)
CONSEQUENCES = {
    NoAnswer.ESCALATE: "What nobody decides by then goes to the next in line.",
    NoAnswer.SUSPEND: "What nobody decides by then is suspended.",
    NoAnswer.REVOKE: "What nobody decides by then is revoked.",
}


@action
def remind(*, now: datetime) -> int:
    """Tell whom campaigns wait for, once for each step towards their date; how many were told."""
    due = [row for row in Campaign.objects.running() if row.reminded != step_of(row, now)]
    told = 0
    for row in in_order(Campaign.objects.running().filter(pk__in=[each.pk for each in due])):
        step = step_of(row, now)
        number = len(post(_messages(row, str(step), now), now=now)) if is_on() else 0
        Campaign.objects.filter(pk=row.pk).update(reminded=step)
        if number:
            record(Event.CAMPAIGN_REMINDED, actor=ACTOR, subject=row, detail={"step": step, "reviewers": number})
        told += number
    return told


@action
def remind_by_hand(campaign: Campaign, *, actor: Actor, now: datetime) -> int:
    """Tell whom a campaign waits for, because its lead or a reviewer asks; how many were told.

    Raises NotTheLead, CampaignNotRunning, RemindedToday, MailIsOff and NobodyToRemind.
    """
    (row,) = in_order(Campaign.objects.filter(pk=campaign.pk))
    leads = row.lead_id is not None and Owner.objects.being(actor).filter(pk=row.lead_id).exists()
    if not leads and not actor.may_everywhere(Right.RUN_CAMPAIGN):
        raise NotTheLead
    if not row.is_running:
        raise CampaignNotRunning
    if row.reminded_at is not None and now < row.reminded_at + BY_HAND_EVERY:
        raise RemindedToday(row.reminded_at)
    if not is_on():
        raise MailIsOff
    told = len(post(_messages(row, f"by hand {now.isoformat()}", now, asked_by=actor.label), now=now))
    if not told:
        raise NobodyToRemind
    Campaign.objects.filter(pk=row.pk).update(reminded_at=now)
    record(Event.CAMPAIGN_REMINDED, actor=actor, subject=row, detail={"reviewers": told})
    return told


def step_of(campaign: Campaign, now: datetime) -> int:
    """How near the date is: a number that changes whenever reviewers are to be told again, each day once it is late."""
    if now >= campaign.due_at:
        return min(LATE + (now - campaign.due_at).days, LATEST)
    near = [days for days in campaign.reminders if campaign.due_at - timedelta(days=days) <= now]
    return min(near, default=BEGUN)


def _messages(campaign: Campaign, step: str, now: datetime, *, asked_by: str = "") -> Iterator[Message]:
    _, waiting = standing(campaign.pk, most=10_000)
    waits = {each["id"]: each for each in waiting if each["id"] is not None}
    for recipient in Recipient.objects.with_people().filter(owner__in=list(waits)):
        if not recipient.address or recipient.wants(TO_DO.slug) != Timing.IMMEDIATELY:
            continue
        each = waits[str(recipient.owner_id)]
        items = plural(each["items"], "item")
        due = datetime.fromisoformat(each["due_at"])
        yield Message(
            kind=TO_DO.slug,
            key=f"{TO_DO.slug} {campaign.pk} {recipient.pk} {campaign.due_at:%Y-%m-%dT%H:%M} {step}",
            subject=f"{items} to review: {campaign.name}",
            data={
                "opening": f"{items} {'waits' if each['items'] == 1 else 'wait'} for your decision",
                "asked_by": asked_by,
                "campaign": campaign.name,
                "items": items,
                "due": f"{due.day} {due:%B %Y, %H:%M} UTC",
                "is_late": due <= now,
                "consequence": CONSEQUENCES[NoAnswer(campaign.no_answer)],
                "path": f"{reverse('review_sitting', args=[campaign.pk])}?mine=true",
            },
            recipient=recipient,
        )
