"""Small reviews that begin when something occurs: somebody left, a secret lies open, a client registered itself, or a
server changed hands.

What occurred is written down once, by one statement for each occasion, whoever looks how often. One campaign for each
occasion is under way at a time; what occurs meanwhile gathers, and begins the next one when that has ended, or a week
later at the latest.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection as database

from access.actors import Actor
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.models import Owner
from inventory.states import ENDED, Admission, Registration
from reviews.actions.campaigns import LONGEST, counted, create_campaign, may_run
from reviews.errors import TriggerRefused
from reviews.models import Campaign, Occurrence, Trigger
from reviews.states import NoAnswer, Occasion, Origin, Reviewed

ACTOR = Actor.system("reviews")
LOOKS_BACK = timedelta(days=1)  # before the last look: what was committed late is found by the next one
WAITS = timedelta(days=7)
MOST = 5_000  # things of one campaign; the rest gathers on

_ENDED = ", ".join(f"'{status.value}'" for status in ENDED)
# What occurred since, by thing: `kind, subject_id, happened_at`. A thing that is gone needs no review.
_OCCURRED: dict[Occasion, str] = {
    Occasion.OWNER_LEFT: f"""
SELECT '{Reviewed.CREDENTIAL.value}' AS kind, c.id AS subject_id, o.inactive_since AS happened_at
FROM inventory_owner o JOIN inventory_credential c ON c.owner_id = o.id
WHERE o.inactive_since > %(since)s AND c.gone_at IS NULL AND c.status NOT IN ({_ENDED})
UNION ALL
SELECT '{Reviewed.CLIENT.value}', k.id, o.inactive_since
FROM inventory_owner o JOIN inventory_mcpclient k ON k.owner_id = o.id
WHERE o.inactive_since > %(since)s AND k.gone_at IS NULL AND k.registration <> '{Registration.CONFIG_FILE.value}'
UNION ALL
SELECT '{Reviewed.SERVER.value}', s.id, max(o.inactive_since)
FROM inventory_owner o
JOIN inventory_mcpserver s ON o.id IN (s.iam_owner_id, s.platform_owner_id, s.application_owner_id)
WHERE o.inactive_since > %(since)s AND s.gone_at IS NULL GROUP BY s.id""",
    Occasion.EXPOSURE_FOUND: f"""
SELECT DISTINCT '{Reviewed.CREDENTIAL.value}', x.credential_id, x.first_seen_at
FROM inventory_exposure x JOIN inventory_credential c ON c.id = x.credential_id
WHERE x.first_seen_at > %(since)s AND x.gone_at IS NULL AND c.gone_at IS NULL AND c.status NOT IN ({_ENDED})""",
    Occasion.CLIENT_REGISTERED: f"""
SELECT '{Reviewed.CLIENT.value}', k.id, k.first_seen_at FROM inventory_mcpclient k
WHERE k.first_seen_at > %(since)s AND k.gone_at IS NULL AND k.registration = '{Registration.DYNAMIC.value}'
  AND k.admission <> '{Admission.REMOVED.value}'""",
    Occasion.SERVER_OWNER_CHANGED: f"""
SELECT '{Reviewed.SERVER.value}', s.id, max(e.at) FROM audit_auditentry e
JOIN inventory_mcpserver s ON s.id = e.subject_id::uuid
WHERE e.at > %(since)s AND e.event = '{Event.SERVER_OWNER_ASSIGNED.value}' AND e.detail ->> 'from' IS NOT NULL
  AND s.gone_at IS NULL GROUP BY s.id""",
}
_GATHER = """
INSERT INTO reviews_occurrence (trigger_id, kind, subject_id, happened_at, seen_at)
SELECT %(trigger)s, n.kind, n.subject_id, n.happened_at, %(now)s
FROM ({occurred}) n (kind, subject_id, happened_at) ON CONFLICT DO NOTHING
"""


@action
def set_trigger(
    occasion: Occasion,
    *,
    is_on: bool,
    lead: Owner | None = None,
    no_answer: NoAnswer = NoAnswer.ESCALATE,
    answer_within: timedelta | None = None,
    actor: Actor,
    now: datetime,
) -> Trigger:
    """Say whether what occurs is reviewed by itself, who leads that, and by when. Raises TriggerRefused."""
    may_run(actor)
    if lead is not None and not lead.is_active:
        raise TriggerRefused("Whoever leads it is active.")
    length = answer_within or timedelta(days=14)
    if not timedelta(days=1) <= length <= timedelta(days=365):
        raise TriggerRefused("Give between a day and a year to answer.")
    rows = in_order(Trigger.objects.filter(occasion=occasion))
    row = rows[0] if rows else Trigger(occasion=occasion, is_on=False, begins_at=now, looked_at=now)
    if is_on and not row.is_on:
        row.begins_at = row.looked_at = now
    row.is_on, row.lead, row.no_answer, row.answer_within = is_on, lead, no_answer, length
    row.set_by = actor.label[:200]
    row.save()
    detail = {
        "on": is_on,
        "lead": lead.name if lead else None,
        "no_answer": no_answer.value,
        "days": length.days,
    }
    record(Event.TRIGGER_SET, actor=actor, subject=row, detail=detail)
    return row


@action
def gather(*, now: datetime) -> dict[str, int]:
    """Write down what occurred, and draft the reviews that it begins: how much was new, and how many drafts."""
    found = drafted = 0
    for row in in_order(Trigger.objects.on()):
        found += _look(row, now)
        drafted += _draft(row, now)
    return {"occurred": found, "drafted": drafted}


def _look(row: Trigger, now: datetime) -> int:
    since = max(row.begins_at, row.looked_at - LOOKS_BACK)
    with database.cursor() as cursor:
        cursor.execute(
            _GATHER.format(occurred=_OCCURRED[Occasion(row.occasion)]), {"trigger": row.pk, "since": since, "now": now}
        )
        found: int = cursor.rowcount
    Trigger.objects.filter(pk=row.pk).update(looked_at=now)
    return found


def _draft(row: Trigger, now: datetime) -> int:
    waiting = Occurrence.objects.waiting().filter(trigger=row).order_by("id")
    first = waiting.first()
    if first is None:
        return 0
    if first.seen_at > now - WAITS and Occurrence.objects.under_way().filter(trigger=row).exists():
        return 0
    taken = list(waiting[:MOST])
    values: dict[str, Any] = {
        "name": f"{row.get_occasion_display()}, {now.day} {now:%B %Y}",
        "description": WHY[Occasion(row.occasion)],
        "reviewed": sorted({each.kind for each in taken}),
        "ids": list(dict.fromkeys(each.subject_id for each in taken)),
        "no_answer": NoAnswer(row.no_answer),
        "due_at": now + row.answer_within,
        "fresh_within": LONGEST,  # that something occurred was just seen
    }
    rows = Occurrence.objects.filter(pk__in=[each.pk for each in taken])
    places = counted(Campaign(**values))
    if not any(reason is None for counts in places.values() for _, reason in counts):
        rows.update(settled_at=now)
        return 0
    lead = row.lead if row.lead is not None and row.lead.is_active else None
    rows.update(campaign=create_campaign(actor=ACTOR, now=now, origin=Origin.EVENT, lead=lead, **values))
    return 1


WHY = {
    Occasion.OWNER_LEFT: "Somebody left who answered for it. Say whether it is needed, and who answers for it now.",
    Occasion.EXPOSURE_FOUND: "A secret of it was seen in the open. Say whether it is needed, and rotate or revoke it.",
    Occasion.CLIENT_REGISTERED: "It registered itself. Say whether it is needed, and who answers for it.",
    Occasion.SERVER_OWNER_CHANGED: "Who answers for the server changed. Say whether that is right.",
}
