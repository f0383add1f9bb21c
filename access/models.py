"""People who sign in, and the API tokens they hand out."""

from datetime import datetime
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.utils import timezone
from knox.models import AbstractAuthToken, AuthTokenManager

from access.actors import Actor, ActorKind
from access.rights import Right
from access.roles import Role, held


class User(AbstractUser):  # type: ignore[django-manager-missing]  # knox names the manager of its tokens
    """A person, or the bearer behind API tokens. Roles are groups of the same name, so that sign-in can map to them."""

    email = models.EmailField("e-mail", unique=True)

    REQUIRED_FIELDS: ClassVar[list[str]] = ["email"]

    def __str__(self) -> str:
        return self.get_full_name() or self.username

    @property
    def roles(self) -> frozenset[Role]:
        names = set(self.groups.values_list("name", flat=True))
        if self.is_superuser:
            names.add(Role.ADMINISTRATOR)
        return frozenset(role for role in Role if role in names)

    def as_actor(self) -> Actor:
        return Actor(ActorKind.USER, str(self.pk), str(self), self.roles, user_id=self.pk)


class SavedView(models.Model):
    """A list as one person likes to see it: a name for a query string, shown as a tab of that list."""

    user = models.ForeignKey(User, models.CASCADE, related_name="saved_views")
    path = models.CharField(max_length=100)
    label = models.CharField(max_length=40)
    query = models.CharField(max_length=1_000)

    class Meta:
        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "path", "label"], name="saved_view_label_is_unique_per_list"),
            models.CheckConstraint(condition=~models.Q(label=""), name="saved_view_has_a_label"),
        ]

    def __str__(self) -> str:
        return self.label


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def visible_to(self, actor: Actor) -> Self:
        """Everything for those who may read the estate; others see what they issued."""
        return self if actor.sees_everything else self.filter(issued_by=actor.user_id, issued_by__isnull=False)

    def revocable_by(self, actor: Actor) -> Self:
        """An administrator ends every token, others those that they issued."""
        if actor.may_everywhere(Right.ISSUE_TOKEN):
            return self
        return self.filter(issued_by=actor.user_id, issued_by__isnull=False)

    def live(self, now: datetime) -> Self:
        return self.filter(models.Q(expiry=None) | models.Q(expiry__gt=now), revoked_at=None)

    def ended(self, now: datetime) -> Self:
        return self.filter(models.Q(expiry__lte=now) | models.Q(revoked_at__isnull=False))


class ApiToken(AbstractAuthToken):  # type: ignore[misc]  # knox has no types
    """A bearer of one role for programs. Only a digest is kept; the value is shown once."""

    id = models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)
    digest = models.CharField(max_length=128, unique=True)
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=20, choices=[(role.value, role.value) for role in Role])
    issued_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+",
        help_text="Null: from the command line. A token holds no more than this person does today.",
    )  # fmt: skip
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="To the minute.")
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=200, blank=True)

    objects = AuthTokenManager.from_queryset(ApiTokenQuerySet)()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(role__in=[role.value for role in Role]), name="api_token_role_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(revoked_at=None, revoked_by="")
                | models.Q(revoked_at__isnull=False) & ~models.Q(revoked_by=""),
                name="api_token_revoked_by_somebody",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_expired(self) -> bool:
        return self.expiry is not None and self.expiry <= timezone.now()

    @property
    def is_backed(self) -> bool:
        """Whether its bearer is, and who issued it still holds its role; nobody's tokens outlive their own rights."""
        person = self.issued_by
        is_issued = person is None or (person.is_active and Role(self.role) in held(person.roles))
        return bool(self.user.is_active and is_issued)

    def state_at(self, now: datetime) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expiry is not None and self.expiry <= now else "active"

    def as_actor(self) -> Actor:
        """A token of the role owner reads what the person answers for who issued it."""
        own = self.issued_by_id if self.role == Role.OWNER else None
        return Actor(ActorKind.TOKEN, self.token_key, f"token {self.name}", frozenset({Role(self.role)}), user_id=own)
