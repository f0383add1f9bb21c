"""People who sign in, and the API tokens they hand out."""

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from knox.models import AbstractAuthToken

from access.actors import Actor, ActorKind
from access.roles import Role


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


class ApiToken(AbstractAuthToken):  # type: ignore[misc]  # knox has no types
    """A bearer of one role for programs. Only a digest is kept; the value is shown once."""

    name = models.CharField(max_length=100)
    role = models.CharField(max_length=20, choices=[(role.value, role.value) for role in Role])

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(role__in=[role.value for role in Role]), name="api_token_role_is_known"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_expired(self) -> bool:
        return self.expiry is not None and self.expiry <= timezone.now()

    def as_actor(self) -> Actor:
        return Actor(ActorKind.TOKEN, self.token_key, f"token {self.name}", frozenset({Role(self.role)}))
