"""A credential at a cloud in memory, and a clock that stands until it is moved."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from django.conf import settings

from access.actors import Actor
from inventory.fingerprints import fingerprint
from inventory.models import Connection, Credential, CredentialVersion
from inventory.states import ConnectionKind
from lifecycle.actions.requests import request_revocation, request_rotation
from lifecycle.engine import claims
from lifecycle.engine.runner import advance
from lifecycle.models import Delivery, Operation
from providers import memory
from providers.base import Delivered, Secret
from tests import factories

OPERATOR = Actor.system("an operator")
_numbers = count(1)


@dataclass
class Clock:
    now: datetime = factories.NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, time: timedelta) -> None:
        self.now += time


@dataclass
class Estate:
    """One connection to a cloud in memory, one credential of it, and where its secret goes."""

    clock: Clock = field(default_factory=Clock)
    overlap: timedelta = timedelta(days=1)

    def __post_init__(self) -> None:
        self.name = f"cloud-{next(_numbers)}"
        self.cloud = memory.cloud(self.name)
        self.cloud.clock = self.clock
        self.connection: Connection = factories.connection(
            kind=ConnectionKind.PLUG_IN, name=self.name, settings={"provider": "memory", "cloud": self.name}
        )
        self.slot, self.location = f"svc-{self.name}", f"memory://{self.name}"
        self.credential = self.add(self.slot, self.location)
        self.held_at_first = self.delivered()

    def add(self, slot: str, location: str) -> Credential:
        held = self.cloud.add(slot)
        digest = fingerprint(held.secret, key=settings.FINGERPRINT_KEY)
        credential = factories.credential(
            connection=self.connection,
            name=slot,
            principal=slot,
            external_id=held.external_id,
            fingerprint=digest,
        )
        CredentialVersion.objects.create(
            credential=credential,
            external_id=held.external_id,
            fingerprint=digest,
            issued_at=credential.issued_at,
            first_seen_at=credential.first_seen_at,
        )
        self.cloud.place(location).current = Delivered(secret=Secret(held.secret), external_id=held.external_id)
        Delivery.objects.create(
            credential=credential,
            sink="memory",
            location=location,
            connection=self.connection,
            set_by="somebody",
            set_at=self.clock(),
        )
        return credential

    def rotate(self, **values: Any) -> Operation:
        operation = request_rotation(
            values.pop("credential", self.credential), actor=OPERATOR, now=self.clock(), reason="It is old", **values
        )
        operation.overlap = self.overlap
        operation.save(update_fields=["overlap"])
        return operation

    def revoke(self, **values: Any) -> Operation:
        return request_revocation(
            values.pop("credential", self.credential), actor=OPERATOR, now=self.clock(), reason="It leaked", **values
        )

    def advance(self, operation: Operation, **values: Any) -> Operation:
        advance(operation.pk, clock=self.clock, jitter=lambda: 0.5, **values)
        operation.refresh_from_db()
        return operation

    def go_on(self, operation: Operation, *, most: int = 60, **values: Any) -> Operation:
        """Let time pass to whatever is due next, until the operation ends or waits for a person."""
        operation.refresh_from_db()
        for _ in range(most):
            if operation.closed_at is not None or operation.due_at is None:
                return operation
            until = max(operation.due_at, operation.lease_until or operation.due_at, self.clock())
            load = self.load()
            if load is not None and load.paused_until is not None:
                until = max(until, load.paused_until)
            self.clock.now = until
            self.advance(operation, **values)
        raise AssertionError(f"It does not come to an end: {operation.step}, {operation.error}")

    def load(self) -> Any:
        return claims.ProviderLoad.objects.filter(connection=self.connection).first()

    def delivered(self) -> str:
        """The secret that consumers read."""
        current = self.cloud.place(self.location).current
        return current.secret.reveal() if current is not None else ""

    def usable(self) -> list[str]:
        return [each.secret for each in self.cloud.usable(self.slot)]
