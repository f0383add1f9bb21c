"""A provider and a sink that live in this process: for tests, benchmarks and whoever writes an adapter of their own.

It is complete: every verb of `providers.base`, with everything that goes wrong in real places on demand.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any, Protocol

from providers.base import (
    Basis,
    Capability,
    CredentialRef,
    Delivered,
    DiscoveredVersion,
    Issued,
    Liveness,
    Secret,
    Seen,
    Status,
)
from providers.errors import NoRoom, Permanent

EVERYTHING = frozenset(
    {
        Capability.ISSUE,
        Capability.SUSPEND,
        Capability.DESTROY,
        Capability.LISTS_VERSIONS,
        Capability.PRESENTS,
        Capability.LAST_USED,
    }
)
ENDED = (Status.DESTROYED, Status.EXPIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is asked of a cloud: the verb, and whom it is about."""

    verb: str
    about: str
    of_sink: bool = False


class Faults(Protocol):
    """Asked before a call has its effect and after it; raises what the caller is to see."""

    def before(self, call: Call) -> None: ...

    def after(self, call: Call) -> None: ...


class NoFaults:
    def before(self, call: Call) -> None:
        pass

    def after(self, call: Call) -> None:
        pass


@dataclass(slots=True, kw_only=True)
class Held:
    """One version as the cloud itself knows it, its secret included."""

    external_id: str
    secret: str
    request_key: str = ""
    status: Status = Status.ACTIVE
    issued_at: datetime
    last_used_at: datetime | None = None
    changed_at: datetime  # what listings and logins see of it lags behind this
    before: Status | None = None  # None: there was nothing

    def as_seen(self, now: datetime, lag: timedelta) -> Status | None:
        return self.status if now - self.changed_at >= lag else self.before

    def become(self, status: Status, now: datetime) -> None:
        if status != self.status:
            self.before, self.status, self.changed_at = self.status, status, now


@dataclass(slots=True)
class Place:
    """One location of the sink: what consumers read, what waits, and what there is a way back to."""

    current: Delivered | None = None
    current_key: str = ""
    pending: dict[str, Delivered] = field(default_factory=dict)
    previous: dict[str, tuple[Delivered | None, str]] = field(default_factory=dict)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Cloud:
    """One account. Change its fields to make it a different kind of place."""

    name: str
    capabilities: frozenset[Capability] = EVERYTHING
    room: int = 0  # versions that one credential may have; 0: as many as one likes
    lag: timedelta = timedelta(0)  # eventual consistency, of listings and of logins
    ahead: timedelta = timedelta(0)  # its clock, of ours
    identity_follows_version: bool = False
    marks: bool = True  # whether its record says which request a version was issued with
    clock: Callable[[], datetime] = utc_now
    faults: Faults = field(default_factory=NoFaults)
    held: dict[str, list[Held]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    keeps_calls: bool = False
    lock: RLock = field(default_factory=RLock)

    def now(self) -> datetime:
        return self.clock() + self.ahead

    def add(self, slot: str, *, external_id: str = "", secret: str = "", issued_at: datetime | None = None) -> Held:
        """A version that is simply there, seen by everybody."""
        now = self.now()
        held = Held(
            external_id=external_id or f"mem-{secrets.token_hex(8)}",
            secret=secret or secrets.token_urlsafe(24),
            issued_at=issued_at or now,
            changed_at=now - timedelta(days=1),
        )
        with self.lock:
            self.held.setdefault(slot, []).append(held)
        return held

    def versions(self, slot: str) -> list[Held]:
        return self.held.get(slot, [])

    def usable(self, slot: str) -> list[Held]:
        """What the cloud takes, whatever others see of it yet."""
        return [each for each in self.versions(slot) if each.status is Status.ACTIVE]

    def use(self, slot: str, secret: str) -> bool:
        """Sign in as a consumer does."""
        for each in self.usable(slot):
            if each.secret == secret:
                each.last_used_at = self.now()
                return True
        return False

    def place(self, location: str) -> Place:
        return self.places.setdefault(location, Place())


CLOUDS: dict[str, Cloud] = {}


def cloud(name: str) -> Cloud:
    """The cloud of this name; a new one where there is none."""
    return CLOUDS.setdefault(name, Cloud(name))


def forget(name: str) -> None:
    CLOUDS.pop(name, None)


def slot_of(ref: CredentialRef) -> str:
    """What all versions of a credential have in common; its identity may follow the version."""
    return ref.principal or ref.identity


class _Asking:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def _ask(self, call: Call, work: Callable[[], Any]) -> Any:
        if self.cloud.keeps_calls:
            self.cloud.calls.append(call)
        self.cloud.faults.before(call)
        with self.cloud.lock:
            answer = work()
        self.cloud.faults.after(call)
        return answer


class MemoryProvider(_Asking):
    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.capabilities = cloud.capabilities

    def versions(self, ref: CredentialRef) -> Sequence[DiscoveredVersion]:
        if Capability.LISTS_VERSIONS not in self.capabilities:
            return ()

        def listed() -> list[DiscoveredVersion]:
            now, lag = self.cloud.now(), self.cloud.lag
            seen = ((each, each.as_seen(now, lag)) for each in self.cloud.versions(slot_of(ref)))
            return [
                DiscoveredVersion(
                    external_id=each.external_id,
                    status=status,
                    issued_at=each.issued_at,
                    last_used_at=each.last_used_at if Capability.LAST_USED in self.capabilities else None,
                    mark=each.request_key if self.cloud.marks else "",
                )
                for each, status in seen
                if status is not None and status not in ENDED
            ]

        found: list[DiscoveredVersion] = self._ask(Call(verb="versions", about=slot_of(ref)), listed)
        return found

    def issue(self, ref: CredentialRef, *, request_key: str) -> Issued:
        self._declared(Capability.ISSUE)
        slot = slot_of(ref)

        def issued() -> Issued:
            now = self.cloud.now()
            there = [each for each in self.cloud.versions(slot) if each.status not in ENDED]
            if Capability.CALLER_CHOOSES_SECRET in self.capabilities:
                for each in there:
                    if each.request_key == request_key:
                        return self._as_issued(each)
            if Capability.REPLACES in self.capabilities:
                for each in there:
                    each.become(Status.DESTROYED, now)
            elif self.cloud.room and len(there) >= self.cloud.room:
                raise NoRoom(f"There are {len(there)} versions of {slot} already, which is as many as may be.")
            held = Held(
                external_id=f"mem-{secrets.token_hex(8)}",
                secret=secrets.token_urlsafe(24),
                request_key=request_key,
                issued_at=now,
                changed_at=now,
            )
            self.cloud.held.setdefault(slot, []).append(held)
            return self._as_issued(held)

        answer: Issued = self._ask(Call(verb="issue", about=slot), issued)
        return answer

    def _as_issued(self, held: Held) -> Issued:
        return Issued(
            external_id=held.external_id,
            secret=Secret(held.secret),
            identity=f"memory:{held.external_id}" if self.cloud.identity_follows_version else "",
            issued_at=held.issued_at,
        )

    def verify(self, ref: CredentialRef, external_id: str, secret: Secret | None) -> Seen:
        def seen() -> Seen:
            now, lag = self.cloud.now(), self.cloud.lag
            versions = self.cloud.versions(slot_of(ref))
            if secret is not None and Capability.PRESENTS in self.capabilities:
                for each in versions:
                    if each.secret == secret.reveal() and each.as_seen(now, lag) is Status.ACTIVE:
                        return Seen(liveness=Liveness.ALIVE, basis=Basis.PRESENTED, sentence="A sign-in is taken.")
                return Seen(liveness=Liveness.REFUSED, basis=Basis.PRESENTED, sentence="A sign-in is refused.")
            if Capability.LISTS_VERSIONS not in self.capabilities:
                return Seen(
                    liveness=Liveness.UNKNOWN,
                    basis=Basis.NOTHING,
                    sentence="Nobody can present it, and its provider keeps no record.",
                )
            status = next((v.as_seen(now, lag) for v in versions if v.external_id == external_id), None)
            if status is Status.ACTIVE:
                return Seen(liveness=Liveness.ALIVE, basis=Basis.RECORD, sentence=f"{external_id} is listed as active.")
            words = "suspended" if status is Status.SUSPENDED else "not there"
            return Seen(liveness=Liveness.REFUSED, basis=Basis.RECORD, sentence=f"{external_id} is {words}.")

        answer: Seen = self._ask(Call(verb="verify", about=external_id), seen)
        return answer

    def suspend(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        self._declared(Capability.SUSPEND)
        self._become("suspend", ref, external_id, Status.SUSPENDED, secret)

    def resume(self, ref: CredentialRef, external_id: str) -> None:
        self._declared(Capability.SUSPEND)
        self._become("resume", ref, external_id, Status.ACTIVE, None)

    def destroy(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        self._declared(Capability.DESTROY)
        self._become("destroy", ref, external_id, Status.DESTROYED, secret)

    def _become(self, verb: str, ref: CredentialRef, external_id: str, status: Status, secret: Secret | None) -> None:
        if Capability.NEEDS_VALUE in self.capabilities and verb != "resume" and secret is None:
            raise Permanent("A version is ended here by showing its secret, and nobody has shown it.")

        def become() -> None:
            now = self.cloud.now()
            for each in self.cloud.versions(slot_of(ref)):
                if each.external_id == external_id and each.status not in ENDED:
                    each.become(status, now)
                    return
            if status is Status.ACTIVE:
                raise Permanent(f"There is no version {external_id} of {slot_of(ref)}.")

        self._ask(Call(verb=verb, about=external_id), become)

    def _declared(self, capability: Capability) -> None:
        if capability not in self.capabilities:
            raise Permanent(f"This place does not offer to {capability.value}.")


class MemorySink(_Asking):
    def check(self, location: str) -> str:
        self._ask(Call(verb="check", about=location, of_sink=True), lambda: self.cloud.place(location))
        return f"Secrets go to {location} in the memory of this process."

    def store(self, location: str, delivered: Delivered, *, request_key: str) -> None:
        def stored() -> None:
            place = self.cloud.place(location)
            if place.current_key == request_key:
                return
            place.pending[request_key] = replace(delivered)

        self._ask(Call(verb="store", about=location, of_sink=True), stored)

    def promote(self, location: str, *, request_key: str) -> None:
        def promoted() -> None:
            place = self.cloud.place(location)
            if place.current_key == request_key:
                return
            if request_key not in place.pending:
                raise Permanent(f"Nothing is stored at {location} for this request.")
            place.previous[request_key] = (place.current, place.current_key)
            place.current, place.current_key = place.pending.pop(request_key), request_key

        self._ask(Call(verb="promote", about=location, of_sink=True), promoted)

    def read(self, location: str, *, request_key: str = "") -> Delivered | None:
        def found() -> Delivered | None:
            place = self.cloud.place(location)
            if not request_key or place.current_key == request_key:
                return place.current
            return place.pending.get(request_key)

        answer: Delivered | None = self._ask(Call(verb="read", about=location, of_sink=True), found)
        return answer

    def roll_back(self, location: str, *, request_key: str) -> None:
        def back() -> None:
            place = self.cloud.place(location)
            place.pending.pop(request_key, None)
            if place.current_key == request_key and request_key in place.previous:
                place.current, place.current_key = place.previous.pop(request_key)

        self._ask(Call(verb="roll_back", about=location, of_sink=True), back)

    def settle(self, location: str, *, request_key: str) -> None:
        self._ask(
            Call(verb="settle", about=location, of_sink=True),
            lambda: self.cloud.place(location).previous.pop(request_key, None),
        )


def provider(settings: Mapping[str, Any], *, label: str = "") -> MemoryProvider:
    """The provider of the cloud that the settings name."""
    return MemoryProvider(cloud(_cloud_of(settings)))


def sink(settings: Mapping[str, Any]) -> MemorySink:
    return MemorySink(cloud(_cloud_of(settings)))


def connect(settings: Mapping[str, Any], *, resolve: object) -> MemoryProvider:
    """As a plug-in is connected; there is no reference to resolve."""
    return provider(settings)


def connect_sink(settings: Mapping[str, Any], *, resolve: object) -> MemorySink:
    return sink(settings)


def _cloud_of(settings: Mapping[str, Any]) -> str:
    name = settings.get("cloud", "")
    if not isinstance(name, str) or not name:
        raise Permanent("The setting cloud is the name of a cloud in the memory of this process.")
    return name
