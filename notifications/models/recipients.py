"""Who gets notices by mail, and when they want them."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from access.actors import Actor
from access.models import User
from access.roles import Role
from inventory.models import Owner
from inventory.models.base import Row
from inventory.states import Severity
from notifications.kinds import KINDS
from notifications.states import Rhythm, Timing

MORNING = 7  # UTC
NOWHERE = ".invalid"  # RFC 2606: the first administrator and the bearers of tokens have such an address


class RecipientQuerySet(models.QuerySet["Recipient"]):
    def being(self, actor: Actor) -> Self:
        """The recipient that this person is: their owner, else themselves."""
        return self.filter(Q(owner__user_id=actor.user_id) | Q(user_id=actor.user_id)) if actor.user_id else self.none()

    def with_people(self) -> Self:
        return self.select_related("owner__user", "user")

    def due(self, now: datetime) -> Self:
        """Whose digest is to be composed."""
        return self.filter(digest_due_at__lte=now)


class Recipient(Row):
    """One owner, or one person who answers for nothing but decides about others. Holds what they chose."""

    owner = models.OneToOneField(Owner, models.CASCADE, null=True, blank=True, related_name="+")
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+")
    choices = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    least_severity = models.PositiveSmallIntegerField(
        choices=Severity, default=Severity.LOW, db_default=Severity.LOW.value
    )
    rhythm = models.CharField(max_length=10, choices=Rhythm, default=Rhythm.DAILY, db_default=Rhythm.DAILY.value)
    hour = models.PositiveSmallIntegerField(default=MORNING, db_default=MORNING)
    digest_due_at = models.DateTimeField(null=True, blank=True)
    digested_at = models.DateTimeField(null=True, blank=True, help_text="When a digest was last composed, or none was.")

    objects = RecipientQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(owner__isnull=False, user=None) | Q(owner=None, user__isnull=False),
                name="recipient_is_an_owner_or_a_person",
            ),
            models.CheckConstraint(condition=Q(hour__lte=23), name="recipient_hour_is_of_a_day"),
            models.CheckConstraint(condition=Q(rhythm__in=Rhythm.values), name="recipient_rhythm_is_known"),
            models.CheckConstraint(
                condition=~Q(rhythm=Rhythm.OFF) | Q(digest_due_at=None), name="recipient_without_digest_is_never_due"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["digest_due_at"], condition=~Q(digest_due_at=None), name="recipient_digest_due"),
        ]

    def __str__(self) -> str:
        return str(self.owner or self.user)

    @property
    def person(self) -> User | None:
        """Who signs in as this recipient; nobody for a team."""
        return self.owner.user if self.owner else self.user

    @property
    def address(self) -> str:
        """Where their mail goes; empty where they have no address or are not there any more."""
        person = self.person
        if (self.owner and not self.owner.is_active) or (person and not person.is_active):
            return ""
        found = (self.owner.email if self.owner else "") or (person.email if person else "")
        return "" if found.lower().endswith(NOWHERE) else found

    def wants(self, kind: str) -> Timing:
        """When they are told of a kind: as they chose, else as is usual."""
        declared = KINDS[kind]
        chosen = self.choices.get(kind)
        return next((timing for timing in declared.timings if timing == chosen), declared.timings[0])


def roles_of(user_ids: Sequence[int]) -> dict[int, frozenset[Role]]:
    """The roles of many people in one statement, however many there are."""
    found: dict[int, set[Role]] = defaultdict(set)
    people = User.objects.filter(pk__in=user_ids, is_active=True)
    for pk, is_superuser, name in people.values_list("pk", "is_superuser", "groups__name"):
        found[pk].update(role for role in Role if role == name)
        if is_superuser:
            found[pk].add(Role.ADMINISTRATOR)
    return {pk: frozenset(roles) for pk, roles in found.items()}
