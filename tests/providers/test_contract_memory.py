"""What the provider and the sink in memory promise, as each kind of place that they can be."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from providers import memory
from providers.base import Capability, CredentialRef, Delivered, Secret
from providers.contract import RETRY_AFTER, Outage, ProviderContract, ProviderPlace, SinkContract, SinkPlace
from providers.errors import Denied, ProviderError, Transient

ERRORS: dict[Outage, Callable[[], ProviderError]] = {
    Outage.UNAVAILABLE: lambda: Transient("The place does not answer."),
    Outage.THROTTLED: lambda: Transient("The place asks to come back later.", retry_after=RETRY_AFTER),
    Outage.DENIED: lambda: Denied("The place refuses us."),
}


class Refusing(memory.NoFaults):
    def __init__(self, outage: Outage) -> None:
        self.outage = outage

    def before(self, call: memory.Call) -> None:
        raise ERRORS[self.outage]()


@pytest.fixture
def cloud() -> Iterator[memory.Cloud]:
    name = f"contract-{uuid4().hex}"
    yield memory.cloud(name)
    memory.forget(name)


def failing(cloud: memory.Cloud):
    @contextmanager
    def fail(outage: Outage) -> Iterator[None]:
        cloud.faults = Refusing(outage)
        yield
        cloud.faults = memory.NoFaults()

    return fail


class TestMemory(ProviderContract):
    capabilities = memory.EVERYTHING
    room: int | None = None

    @pytest.fixture
    def place(self, cloud: memory.Cloud) -> ProviderPlace:
        cloud.capabilities = self.capabilities
        cloud.room = 0 if self.room is None else self.room + 1
        standing = cloud.add("app")
        return ProviderPlace(
            provider=memory.MemoryProvider(cloud),
            ref=CredentialRef(identity="memory:app", kind="api_key", principal="app"),
            external_id=standing.external_id,
            secret=Secret(standing.secret),
            usable=lambda: {each.external_id for each in cloud.usable("app")},
            again=lambda: memory.MemoryProvider(cloud),
            room=self.room,
            failing=failing(cloud),
        )


class TestMemoryWithRoomForTwo(TestMemory):
    room = 1


class TestMemoryThatReplaces(TestMemory):
    capabilities = frozenset({Capability.ISSUE, Capability.PRESENTS, Capability.REPLACES, Capability.DESTROY})


class TestMemoryOfTokens(TestMemory):
    capabilities = frozenset({Capability.SUSPEND, Capability.DESTROY, Capability.PRESENTS, Capability.NEEDS_VALUE})


class TestMemoryWhoseCallerChooses(TestMemory):
    capabilities = memory.EVERYTHING | {Capability.CALLER_CHOOSES_SECRET}


class TestMemorySink(SinkContract):
    @pytest.fixture
    def place(self, cloud: memory.Cloud) -> SinkPlace:
        before = Delivered(secret=Secret("before-4711"), external_id="app-1")
        cloud.place("memory://app").current = before
        return SinkPlace(
            sink=memory.MemorySink(cloud),
            location="memory://app",
            reading=lambda: cloud.place("memory://app").current,
            before=before,
            again=lambda: memory.MemorySink(cloud),
            keeps_external_id=True,
            failing=failing(cloud),
        )
