"""Who gets notices: kept in step with owners and people, set-based; and what each of them chooses."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection as database

from access.actors import Actor
from access.roles import Role
from audit.actions import action, record
from audit.events import Event
from inventory.models import Owner
from inventory.states import Severity
from notifications.models import Notice, Recipient
from notifications.models.recipients import MORNING
from notifications.rhythms import next_digest
from notifications.states import Rhythm

# Who decides about what is not their own; an owner is told as such.
DECIDING = (Role.ADMINISTRATOR, Role.OPERATOR, Role.REVIEWER)

_OWNERS = """
INSERT INTO notifications_recipient (owner_id, digest_due_at)
SELECT o.id, %(due)s FROM inventory_owner o
WHERE o.is_active AND NOT EXISTS (SELECT 1 FROM notifications_recipient r WHERE r.owner_id = o.id)
ON CONFLICT DO NOTHING
"""
_PEOPLE = """
INSERT INTO notifications_recipient (user_id, digest_due_at)
SELECT u.id, %(due)s FROM access_user u
WHERE u.is_active
  AND (u.is_superuser OR EXISTS (SELECT 1 FROM access_user_groups m JOIN auth_group g ON g.id = m.group_id
                                 WHERE m.user_id = u.id AND g.name = ANY (%(roles)s)))
  AND NOT EXISTS (SELECT 1 FROM inventory_owner o WHERE o.user_id = u.id)
  AND NOT EXISTS (SELECT 1 FROM notifications_recipient r WHERE r.user_id = u.id)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a person wants: a timing for each kind, how severe, and when their digest comes."""

    choices: Mapping[str, str]
    least_severity: Severity
    rhythm: Rhythm
    hour: int


@action
def keep_recipients(now: datetime) -> None:
    """See that every active owner, and everybody who decides, can be told. No audit entry: it says nothing new."""
    for recipient in Recipient.objects.filter(user__in=Owner.objects.exclude(user=None).values("user")):
        _become_owner(recipient)
    values = {"due": next_digest(Rhythm.DAILY, MORNING, now), "roles": [role.value for role in DECIDING]}
    with database.cursor() as cursor:
        cursor.execute(_OWNERS, values)
        cursor.execute(_PEOPLE, values)


def _become_owner(recipient: Recipient) -> None:
    """A person who now answers for things is told once, as that owner, with what they had chosen."""
    owner = Owner.objects.get(user=recipient.user)
    if other := Recipient.objects.filter(owner=owner).first():
        Notice.objects.filter(recipient=recipient).update(recipient=other)
        recipient.delete()
        return
    recipient.owner, recipient.user = owner, None
    recipient.save(update_fields=["owner", "user"])


@action
def recipient_of(actor: Actor, *, now: datetime) -> Recipient | None:
    """The recipient that a signed-in person is, made where there was none; None for who is no person."""
    if actor.user_id is None:
        return None
    found = Recipient.objects.being(actor).order_by("owner").with_people().first()
    if found is not None:
        return found
    owner = Owner.objects.filter(user_id=actor.user_id).first()
    who = {"owner": owner} if owner else {"user_id": actor.user_id}
    made, _ = Recipient.objects.get_or_create(
        **who, defaults={"digest_due_at": next_digest(Rhythm.DAILY, MORNING, now)}
    )
    return Recipient.objects.with_people().get(pk=made.pk)


@action
def choose(recipient: Recipient, chosen: Chosen, *, actor: Actor, now: datetime) -> bool:
    """Keep what a person wants to be told; whether it is anything new."""
    held = Recipient.objects.select_for_update(of=("self",)).get(pk=recipient.pk)
    before = Chosen(
        choices=held.choices, least_severity=Severity(held.least_severity), rhythm=Rhythm(held.rhythm), hour=held.hour
    )
    if before == chosen:
        return False
    held.choices = dict(chosen.choices)
    held.least_severity, held.rhythm, held.hour = chosen.least_severity, chosen.rhythm, chosen.hour
    if (before.rhythm, before.hour) != (chosen.rhythm, chosen.hour):
        held.digest_due_at = next_digest(chosen.rhythm, chosen.hour, now)
    held.save(update_fields=["choices", "least_severity", "rhythm", "hour", "digest_due_at"])
    record(
        Event.PREFERENCES_CHANGED,
        actor=actor,
        subject=held,
        detail={
            "choices": held.choices,
            "least_severity": chosen.least_severity.label,
            "rhythm": chosen.rhythm.value,
            "hour": chosen.hour,
        },
    )
    return True
