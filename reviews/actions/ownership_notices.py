"""Whoever is asked whether they answer for things is told so, again before their time is over, and when it was in vain.

The question is the row; this only tells of it. What was told is not told again, whoever runs it how often.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q
from django.urls import reverse

from inventory.actions.asking import in_line
from inventory.models import OwnershipQuestion
from inventory.states import QuestionState, Stage
from notifications.actions.outbox import Message, post
from notifications.mail import is_on
from notifications.models import Recipient
from notifications.states import Timing
from reviews.kinds import OWNERSHIP
from web.wording import plural

LOOKED_BACK = timedelta(days=2)
SOON = timedelta(days=3)
AT_ONCE = 2_000


def tell_of_ownership(*, now: datetime) -> int:
    """Tell of what was asked lately, is due soon, or was quarantined lately; how many mails there are to send."""
    if not is_on():
        return 0
    asked = Q(state=QuestionState.OPEN) & (Q(asked_at__gt=now - LOOKED_BACK) | Q(answer_by__range=(now, now + SOON)))
    taken = Q(state=QuestionState.QUARANTINED, ended_at__gt=now - LOOKED_BACK)
    rows = OwnershipQuestion.objects.filter(asked | taken).select_related("owner__deputy", "owner__manager", "asked")
    return len(post(_messages(list(rows.order_by("pk")[:AT_ONCE]), now), now=now))


def _messages(questions: list[OwnershipQuestion], now: datetime) -> Iterator[Message]:
    told = [(question, person) for question in questions for person in _told(question)]
    recipients = Recipient.objects.with_people().filter(owner__in={person for _, person in told})
    found = {each.owner_id: each for each in recipients}
    for question, person in told:
        recipient = found.get(person)
        if recipient and recipient.address and recipient.wants(OWNERSHIP.slug) == Timing.IMMEDIATELY:
            yield _message(question, recipient, now)


def _told(question: OwnershipQuestion) -> list[UUID]:
    if question.is_open:
        return [question.asked_id]
    people = (in_line(question.owner, stage) for stage in Stage)
    return list(dict.fromkeys(each.pk for each in people if each is not None))


def _message(question: OwnershipQuestion, recipient: Recipient, now: datetime) -> Message:
    things, name = plural(question.size, "thing"), question.owner.name
    is_theirs = recipient.owner_id == question.owner_id
    whose = "in your name" if is_theirs else f"in the name of {name}"
    if question.state == QuestionState.QUARANTINED:
        step, subject = "quarantined", f"Nobody answers for {things} {whose}"
    else:
        step = "soon" if question.answer_by <= now + SOON else "asked"
        subject = f"Do you answer for {things} {whose}?"
    due = question.answer_by
    return Message(
        kind=OWNERSHIP.slug,
        key=f"{OWNERSHIP.slug} {question.pk} {recipient.pk} {question.stage} {step}",
        subject=subject,
        data={
            "things": things,
            "whose": whose,
            "is_quarantined": step == "quarantined",
            "stands_in_as": "" if is_theirs else question.stage,
            "is_again": question.is_again,
            "due": f"{due.day} {due:%B %Y, %H:%M} UTC",
            "path": reverse("ownership_detail", args=[question.pk]),
        },
        recipient=recipient,
    )
