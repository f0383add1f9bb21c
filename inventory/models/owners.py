"""Who answers for things, and where things run."""

from typing import ClassVar, Self

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Lower

from access.actors import Actor
from history.kept import kept
from history.past import by_present_rights
from inventory.models.base import Row, prefix_query, words
from inventory.states import OwnerKind


class OwnerQuerySet(models.QuerySet["Owner"]):
    @by_present_rights
    def visible_to(self, actor: Actor) -> Self:
        return self if actor.sees_everything else self.filter(user_id=actor.user_id, user__isnull=False)

    def being(self, actor: Actor) -> Self:
        """The owners that this person is, whatever else they may see."""
        return self.filter(user_id=actor.user_id, user__isnull=False)

    def matching(self, text: str) -> Self:
        query = prefix_query(text)
        return self.annotate(_words=words("name", "email")).filter(_words=query) if query else self.none()


@kept()
class Owner(Row):
    """The person or team accountable for credentials and servers."""

    kind = models.CharField(max_length=10, choices=OwnerKind, default=OwnerKind.PERSON)
    name = models.CharField(max_length=200)
    email = models.EmailField("e-mail", blank=True)
    external_id = models.CharField(max_length=200, blank=True)
    manager = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="+")
    deputy = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="+", help_text="Who stands in for them."
    )
    is_active = models.BooleanField(default=True)
    inactive_since = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Since when they are known to have left."
    )
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")

    objects = OwnerQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("email"),
                condition=~models.Q(email=""),
                name="owner_email_is_unique",
                violation_error_message="Another owner has this e-mail address.",
            ),
            models.UniqueConstraint(
                fields=["external_id"], condition=~models.Q(external_id=""), name="owner_external_id_is_unique"
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="owner_has_a_name"),
            models.CheckConstraint(
                condition=models.Q(is_active=False) | models.Q(inactive_since=None), name="owner_active_has_not_left"
            ),
            models.CheckConstraint(condition=models.Q(kind__in=OwnerKind.values), name="owner_kind_is_known"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["name", "id"], name="owner_by_name"),
            models.Index(
                fields=["inactive_since"],
                condition=models.Q(inactive_since__isnull=False),
                name="owner_by_inactive_since",
            ),
            GinIndex(words("name", "email"), name="owner_by_words"),
        ]

    def __str__(self) -> str:
        return self.name


@kept()
class Environment(Row):
    """Where something runs. `criticality` raises severities: 0 personal, 1 development, 2 staging, 3 production."""

    name = models.CharField(max_length=50, unique=True)
    criticality = models.PositiveSmallIntegerField(default=1)

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(criticality__lte=3), name="environment_criticality_is_0_to_3"),
        ]

    def __str__(self) -> str:
        return self.name
