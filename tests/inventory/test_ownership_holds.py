"""Whatever people answer and the clock does: everything has an accepted owner, an open question, or is quarantined."""

from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory.errors import InventoryError
from inventory.models import Credential, McpServer, Owner, OwnershipQuestion, Tenure
from inventory.states import QuestionState
from tests import factories
from tests.examples import SHARED_FIXTURE, examples
from tests.inventory.line import Line

pytestmark = pytest.mark.django_db
who = st.sampled_from(("mira", "dana", "otto"))
which = st.integers(0, 2)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), which, who),
        st.tuples(st.just("decline"), which, who),
        st.tuples(st.just("hand_over"), which, who, who),
        st.tuples(st.just("leave"), who),
        st.tuples(st.just("return"), who),
        st.tuples(st.just("wait"), st.integers(1, 200)),
        st.tuples(st.just("assign"), which, who),
        st.tuples(st.just("end"), which),
    ),
    max_size=12,
)


class World:
    def __init__(self) -> None:
        self.line = Line()
        self.credentials = [factories.credential(owner=self.line.mira) for _ in range(2)]
        self.credentials.append(factories.credential(owner=self.line.dana))
        factories.server(iam_owner=self.line.mira, platform_owner=self.line.otto)
        self.line.sweep()

    def do(self, step: tuple) -> None:
        try:
            with transaction.atomic():
                getattr(self, f"_{step[0]}")(*step[1:])
        except InventoryError:
            pass  # refused, as it should be; nothing changed
        self.line.pass_by(timedelta(minutes=15))
        self.holds()

    def _question(self, place: int) -> OwnershipQuestion:
        rows = list(OwnershipQuestion.objects.filter(state__in=["open", "quarantined"]).order_by("pk"))
        return rows[place % len(rows)] if rows else OwnershipQuestion.objects.earliest("pk")

    def _accept(self, place: int, name: str) -> None:
        self.line.accept(self._question(place), getattr(self.line, name))

    def _decline(self, place: int, name: str) -> None:
        self.line.decline(self._question(place), getattr(self.line, name))

    def _hand_over(self, place: int, name: str, to: str) -> None:
        self.line.hand_over(self._question(place), getattr(self.line, name), getattr(self.line, to))

    def _leave(self, name: str) -> None:
        self.line.leave(getattr(self.line, name))

    def _return(self, name: str) -> None:
        owner = getattr(self.line, name)
        Owner.objects.filter(pk=owner.pk).update(is_active=True, inactive_since=None)
        owner.refresh_from_db()

    def _wait(self, days: int) -> None:
        self.line.now += timedelta(days=days)

    def _assign(self, place: int, name: str) -> None:
        Credential.objects.filter(pk=self.credentials[place].pk).update(owner=getattr(self.line, name))

    def _end(self, place: int) -> None:
        Credential.objects.filter(pk=self.credentials[place].pk).update(status="destroyed")

    def holds(self) -> None:
        tenures = list(Tenure.objects.open().select_related("owner", "question"))
        alive = list(Credential.objects.live())
        assert len(tenures) == len(alive) + 3 * McpServer.objects.count()
        for row in tenures:
            if row.owner is None:  # taken by the clock, or never anybody's
                assert row.question is None or row.question.state == QuestionState.QUARANTINED
            elif row.accepted_at is not None:
                assert row.owner.is_active
                assert row.question is not None or row.ask_at > self.line.now
            else:
                assert row.question is not None
                assert row.question.is_open or row.question.state == QuestionState.QUARANTINED
                assert not row.question.is_open or row.question.answer_by > self.line.now
                assert row.question.is_open or not row.owner.is_active
            assert row.gap_since <= self.line.now
        stands = {row.subject_id: row.owner_id for row in tenures if row.part == "credential"}
        assert stands == {each.pk: each.owner_id for each in alive}


@settings(max_examples=examples(50), suppress_health_check=SHARED_FIXTURE)
@given(done=steps)
def test_everything_has_an_accepted_owner_an_open_question_or_is_quarantined(db: None, done: list[tuple]):
    with transaction.atomic():
        world = World()
        for step in done:
            world.do(step)
        # Nobody answers any more: whatever is not accepted ends in quarantine, and stays there.
        for _ in range(4):
            world.do(("wait", 200))
        assert not OwnershipQuestion.objects.open().filter(answer_by__lte=world.line.now).exists()
        assert not Tenure.objects.open().filter(question__state=QuestionState.OPEN).exists()
        transaction.set_rollback(True)
