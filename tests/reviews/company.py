"""A small company with people who sign in, and campaigns over what they answer for."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from access.actors import Actor
from access.roles import Role
from inventory.models import Connection, Credential, Owner
from lifecycle.models import Operation
from reviews.actions import campaigns
from reviews.models import Campaign, ReviewItem
from tests import factories
from tests.factories import NOW
from tests.people import person

STATES = "I looked at each of them."
SYSTEM = Actor.system("a test")


@dataclass
class Somebody:
    owner: Owner
    actor: Actor


def somebody(name: str, *roles: Role, **values: Any) -> Somebody:
    user = person(*roles)
    user.first_name = name
    user.save(update_fields=["first_name"])
    return Somebody(factories.owner(name=name, user=user, email=user.email, **values), user.as_actor())


@dataclass
class Company:
    """Mira answers for things, Otto is her manager, Lea leads the campaign, Rui is a reviewer like her."""

    now: datetime = NOW
    place: Connection = field(default_factory=lambda: factories.connection(last_complete_at=NOW))

    def __post_init__(self) -> None:
        self.lea = somebody("Lea", Role.REVIEWER)
        self.rui = somebody("Rui", Role.REVIEWER)
        self.otto = somebody("Otto", Role.OWNER)
        self.dana = somebody("Dana", Role.OWNER)
        self.mira = somebody("Mira", Role.OWNER, manager=self.otto.owner)

    def pass_by(self, time: timedelta) -> datetime:
        self.now += time
        return self.now

    def credential(self, **values: Any) -> Credential:
        return factories.credential(**{"connection": self.place, "owner": self.mira.owner, **values})

    def draft(self, **values: Any) -> Campaign:
        chosen = {
            "name": "Spring review",
            "reviewed": ["credential"],
            "due_at": self.now + timedelta(days=30),
            "lead": self.lea.owner,
            "fresh_within": timedelta(days=365),
        }
        return campaigns.create_campaign(actor=self.lea.actor, now=self.now, **{**chosen, **values})

    def launch(self, **values: Any) -> Campaign:
        return campaigns.launch(self.draft(**values), actor=self.lea.actor, now=self.now)


def items(campaign: Campaign) -> list[ReviewItem]:
    return list(ReviewItem.objects.filter(campaign=campaign).order_by("name"))


def item_of(campaign: Campaign) -> ReviewItem:
    return ReviewItem.objects.get(campaign=campaign)


def seen_refused(operation: Operation) -> None:
    """As the engine leaves one that ended well."""
    Operation.objects.filter(pk=operation.pk).update(
        state="completed", proof="verified", proof_reason="Introspection says inactive.", closed_at=NOW, due_at=None,
        refused_at=NOW, stalled_at=None,
    )  # fmt: skip
