"""Who is asking, as a value that every write and every visibility question takes."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from access.rights import Reach, Right, may, reach
from access.roles import Role, held


class ActorKind(StrEnum):
    USER = "user"
    TOKEN = "token"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """A user, an API token or a part of Keyreeve itself. `label` is safe to show and to keep."""

    kind: ActorKind
    id: str
    label: str
    roles: frozenset[Role]
    user_id: int | None = None

    @classmethod
    def system(cls, name: str) -> Self:
        return cls(ActorKind.SYSTEM, name, name, frozenset({Role.ADMINISTRATOR}))

    def reading(self) -> Self:
        """The same person, who sees the same and may change nothing."""
        return replace(self, roles=frozenset({Role.AUDITOR}) if self.sees_everything else frozenset())

    @property
    def key(self) -> str:
        """Who they are, whatever they are called."""
        return f"{self.kind.value}:{self.id}"

    def has(self, role: Role) -> bool:
        return role in held(self.roles)

    def may(self, right: Right) -> bool:
        """Whether they hold `right`, be it for their own alone; to what it extends is the queryset's to say."""
        return may(right, self.roles)

    def may_everywhere(self, right: Right) -> bool:
        """Whether they hold `right` over the whole estate."""
        return reach(right, self.roles) is Reach.EVERYWHERE

    @property
    def sees_everything(self) -> bool:
        """Whether reads are unlimited; an owner reads what they answer for, and nobody without a role reads at all."""
        return self.may_everywhere(Right.READ)
