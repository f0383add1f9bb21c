"""One worker's hold on one operation: its rows, its provider and its sink, and what was asked of them meanwhile."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

from inventory.listings.base import Clock
from inventory.models import Credential, CredentialVersion
from lifecycle.engine.claims import LEASE, RENEWED_AFTER, Lease, Load, renew
from lifecycle.engine.presenting import Places
from lifecycle.engine.reach import Reach
from lifecycle.models import Operation, StepAttempt
from lifecycle.states import AttemptOutcome, Step
from providers.base import (
    Capability,
    CredentialRef,
    Delivered,
    DiscoveredVersion,
    Issued,
    Operable,
    Secret,
    SecretSink,
    Seen,
)
from providers.errors import Transient

T = TypeVar("T")
SLOW_AFTER = timedelta(seconds=5)  # a call that takes longer makes its connection a slow one
QUICK_AGAIN = timedelta(seconds=1)


class Asking:
    """Counts what is asked, keeps the lease while it takes long, and knows who failed."""

    def __init__(self, lease: Lease, clock: Clock) -> None:
        self.lease, self.clock = lease, clock
        self.minutes: dict[datetime, list[int]] = {}
        self.longest: timedelta | None = None
        self.place_failed = False
        self.is_fenced = False  # the lease is not kept: it is somebody else's, or the operation has ended

    def provider(self, work: Callable[[], T]) -> T:
        begun = self._still_mine()
        counted = self.minutes.setdefault(begun.replace(second=0, microsecond=0), [0, 0])
        counted[0] += 1
        try:
            answer = work()
        except Transient:
            counted[1] += 1
            self.place_failed = True
            raise
        finally:
            took = self.clock() - begun
            self.longest = took if self.longest is None else max(self.longest, took)
        return answer

    def sink(self, work: Callable[[], T]) -> T:
        self._still_mine()
        return work()

    def confirm(self) -> None:
        """Raises LeaseLost. For what two must not do: a clock ahead of ours takes a lease before it runs out."""
        if not self.is_fenced:
            renew(self.lease, now=self.clock())

    def _still_mine(self) -> datetime:
        now = self.clock()
        if not self.is_fenced and self.lease.until - now < LEASE - RENEWED_AFTER:
            renew(self.lease, now=now)
        return now


class AskedProvider:
    """A provider whose calls are counted. Has the verbs of `Operable`."""

    def __init__(self, asked: Operable, asking: Asking) -> None:
        self._asked, self._asking = asked, asking
        self.capabilities = asked.capabilities

    def versions(self, ref: CredentialRef) -> Sequence[DiscoveredVersion]:
        return self._asking.provider(lambda: self._asked.versions(ref))

    def issue(self, ref: CredentialRef, *, request_key: str) -> Issued:
        return self._asking.provider(lambda: self._asked.issue(ref, request_key=request_key))

    def verify(self, ref: CredentialRef, external_id: str, secret: Secret | None) -> Seen:
        return self._asking.provider(lambda: self._asked.verify(ref, external_id, secret))

    def suspend(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        self._asking.provider(lambda: self._asked.suspend(ref, external_id, secret))

    def resume(self, ref: CredentialRef, external_id: str) -> None:
        self._asking.provider(lambda: self._asked.resume(ref, external_id))

    def destroy(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        self._asking.provider(lambda: self._asked.destroy(ref, external_id, secret))


class AskedSink:
    """A sink at the place of one delivery. Has the verbs of `SecretSink` without their location."""

    def __init__(self, asked: SecretSink, location: str, asking: Asking) -> None:
        self._asked, self.location, self._asking = asked, location, asking

    def store(self, delivered: Delivered, *, request_key: str) -> None:
        self._asking.sink(lambda: self._asked.store(self.location, delivered, request_key=request_key))

    def promote(self, request_key: str) -> None:
        self._asking.sink(lambda: self._asked.promote(self.location, request_key=request_key))

    def read(self, request_key: str = "") -> Delivered | None:
        return self._asking.sink(lambda: self._asked.read(self.location, request_key=request_key))

    def roll_back(self, request_key: str) -> None:
        self._asking.sink(lambda: self._asked.roll_back(self.location, request_key=request_key))

    def settle(self, request_key: str) -> None:
        self._asking.sink(lambda: self._asked.settle(self.location, request_key=request_key))


class Work:
    def __init__(self, lease: Lease, load: Load, *, clock: Clock, reach: Reach) -> None:
        self.lease, self.load, self.clock, self._reach = lease, load, clock, reach
        self.asking = Asking(lease, clock)
        rows = Operation.objects.select_related("credential__connection", "old_version", "new_version")
        self.operation: Operation = rows.get(pk=lease.operation_id)
        if self.operation.connection_id == self.credential.connection_id:
            self.operation.connection = self.credential.connection
        self.just_issued: tuple[str, str] | None = None  # its external id and request key, until that is written
        self.attempts = list(StepAttempt.objects.filter(operation=self.operation).order_by("number"))

    @property
    def credential(self) -> Credential:
        return self.operation.credential

    @cached_property
    def provider(self) -> AskedProvider:
        return AskedProvider(self._reach.operable(self.operation.connection, self.credential.kind), self.asking)

    @cached_property
    def places(self) -> Places:
        return Places(self.credential, self._reach)

    @cached_property
    def sink(self) -> AskedSink:
        sink, delivery = self.places.sink, self.places.delivery
        return AskedSink(sink, delivery.location if delivery is not None else "", self.asking)

    def can(self, capability: Capability) -> bool:
        return capability in self.provider.capabilities

    @property
    def ref(self) -> CredentialRef:
        row = self.credential
        return CredentialRef(
            identity=row.identity_key,
            kind=row.kind,
            principal=row.principal,
            external_id=row.external_id,
            issuer=row.issuer,
            details=row.details,
        )

    @property
    def old_external_id(self) -> str:
        old = self.operation.old_version
        return old.external_id if old is not None else self.credential.external_id

    @property
    def new_external_id(self) -> str:
        new = self.operation.new_version
        return new.external_id if new is not None else ""

    def under_way(self) -> StepAttempt | None:
        """The attempt whose worker died."""
        return next((each for each in self.attempts if each.ended_at is None), None)

    def issuing(self) -> list[StepAttempt]:
        """Attempts that may have issued something: those whose intent was committed."""
        return [each for each in self.attempts if each.step == Step.ISSUE and each.intent]

    @property
    def issued(self) -> Mapping[str, Any]:
        """What was issued and delivered; empty before."""
        done = [each for each in self.issuing() if each.outcome == AttemptOutcome.DONE]
        found: Mapping[str, Any] = done[-1].result if done else {}
        return found

    def secret_of(self, version: CredentialVersion | None) -> Secret | None:
        """The secret of a version, where it is held anywhere that can be read."""
        if version is None or not version.fingerprint:
            return None
        return self.asking.sink(lambda: self.places.present(version))
