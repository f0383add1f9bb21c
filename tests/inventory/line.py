"""An owner, their deputy and their manager, and the clock by which they are asked."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from access.actors import Actor
from access.roles import Role
from inventory.actions import answering
from inventory.actions.asking import sweep
from inventory.actions.terms import Terms
from inventory.models import Owner, OwnershipQuestion
from tests import factories
from tests.factories import NOW
from tests.people import person


@dataclass
class Line:
    """Mira, her deputy Dana and her manager Otto, all of whom sign in, and the clock."""

    now: datetime = NOW
    terms: Terms = field(default_factory=Terms)

    def __post_init__(self) -> None:
        self.otto = self.somebody("Otto")
        self.dana = self.somebody("Dana")
        self.mira = self.somebody("Mira", deputy=self.dana, manager=self.otto)

    def somebody(self, name: str, **values: Any) -> Owner:
        return factories.owner(name=name, user=person(Role.OWNER), **values)

    def actor(self, owner: Owner) -> Actor:
        assert owner.user is not None
        return owner.user.as_actor()

    def pass_by(self, time: timedelta) -> dict[str, int]:
        self.now += time
        return self.sweep()

    def sweep(self) -> dict[str, int]:
        return sweep(now=self.now, terms=self.terms)

    def accept(self, question: OwnershipQuestion, owner: Owner, **values: Any) -> int:
        return answering.accept(question, actor=self.actor(owner), now=self.now, terms=self.terms, **values)

    def decline(self, question: OwnershipQuestion, owner: Owner) -> str:
        said = {"actor": self.actor(owner), "now": self.now, "terms": self.terms}
        return answering.decline(question, reason="Not mine", **said)

    def hand_over(self, question: OwnershipQuestion, owner: Owner, to: Owner) -> OwnershipQuestion:
        said = {"actor": self.actor(owner), "now": self.now, "terms": self.terms}
        return answering.hand_over(question, to, reason="Dana runs it", **said)

    def leave(self, owner: Owner) -> None:
        Owner.objects.filter(pk=owner.pk).update(is_active=False, inactive_since=self.now)
        owner.refresh_from_db()
