"""Messages are doorbells: lost, doubled or out of order, and taken by workers whose clocks differ by hours, they change
how long an operation takes and nothing else."""

from datetime import timedelta
from itertools import cycle
from uuid import UUID

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.chain import verify
from audit.models import AuditEntry
from lifecycle.engine import claims
from lifecycle.engine.runner import advance
from lifecycle.models import Operation, StepAttempt
from lifecycle.states import AttemptOutcome, OperationState, Proof
from tests.examples import SHARED_FIXTURE, examples
from tests.lifecycle.operations import Clock, Estate

pytestmark = pytest.mark.django_db

SKEWS = (timedelta(0), timedelta(hours=1), timedelta(hours=-1))
MOST_SWEEPS = 400


class Broker:
    """Holds the numbers of operations, and is as careless with them as a test wants it to be."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.messages: list[UUID] = []

    def sweep(self, skew: timedelta) -> None:
        self.messages += [each.operation_id for each in claims.due(self.clock() + skew)]

    def deliver(self, place: int, skew: timedelta, *, keeps: bool = False) -> None:
        if self.messages:
            place %= len(self.messages)
            number = self.messages[place] if keeps else self.messages.pop(place)
            advance(number, clock=lambda: self.clock() + skew, jitter=lambda: 0.5)

    def lose(self, place: int) -> None:
        if self.messages:
            del self.messages[place % len(self.messages)]


happenings = st.tuples(
    st.sampled_from(("sweep", "deliver", "deliver twice", "lose", "lose all", "time")),
    st.integers(0, 20),
    st.sampled_from(SKEWS),
)


def happens(broker: Broker, what: str, place: int, skew: timedelta) -> None:
    if what == "sweep":
        broker.sweep(skew)
    elif what == "deliver":
        broker.deliver(place, skew)
    elif what == "deliver twice":
        broker.deliver(place, skew, keeps=True)
        broker.deliver(place, skew)
    elif what == "lose":
        broker.lose(place)
    elif what == "lose all":
        broker.messages.clear()
    else:
        broker.clock.pass_by(timedelta(minutes=10 * place))


@settings(max_examples=examples(25), suppress_health_check=SHARED_FIXTURE)
@given(st.lists(happenings, max_size=40))
def test_whatever_happens_to_messages_every_operation_comes_to_its_end(said: list[tuple[str, int, timedelta]]) -> None:
    with transaction.atomic():
        clock = Clock()
        rotated, revoked = [Estate(clock) for _ in range(2)], Estate(clock)
        for each in rotated:
            each.rotate()
        revoked.revoke()
        broker = Broker(clock)
        for what, place, skew in said:
            happens(broker, what, place, skew)
        skews = cycle(SKEWS)
        for _ in range(MOST_SWEEPS):
            if not Operation.objects.open().exists():
                break
            clock.pass_by(timedelta(minutes=30))
            broker.sweep(next(skews))
            while broker.messages:
                broker.deliver(0, next(skews))

        ends = set(Operation.objects.values_list("state", "proof"))
        assert ends == {(OperationState.COMPLETED.value, Proof.VERIFIED.value)}
        for each in rotated:
            assert each.usable() == [each.delivered()] != [each.held_at_first]
        assert revoked.usable() == []
        assert not StepAttempt.objects.exclude(outcome__in=(AttemptOutcome.DONE, AttemptOutcome.WAITS)).exists()
        assert verify(AuditEntry.objects.links()).broken is None
        transaction.set_rollback(True)


def test_a_message_for_what_is_not_due_does_nothing() -> None:
    estate = Estate()
    operation = estate.advance(estate.rotate())
    before = StepAttempt.objects.count()
    assert operation.due_at is not None
    assert operation.due_at > estate.clock()
    for _ in range(3):
        estate.advance(operation)
    assert StepAttempt.objects.count() == before


def test_a_message_for_what_was_never_there_does_nothing() -> None:
    assert not advance(UUID(int=7), clock=Clock())
