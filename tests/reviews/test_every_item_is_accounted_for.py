"""Whatever reviewers, dates, departures and operations do: no item is lost, kept silently or decided by one alone."""

from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory.errors import InventoryError
from inventory.models import Owner
from lifecycle.errors import LifecycleError
from lifecycle.models import Operation
from reviews.actions.campaigns import change_due
from reviews.actions.closing import close_what_is_gone
from reviews.actions.decisions import decide, delegate, look_again, reassign, submit, undo
from reviews.errors import ReviewError
from reviews.models import Decision, ReviewItem
from reviews.running import carry_on
from reviews.states import ITEM_FINAL, Ending, ItemState, NoAnswer, Seat, What
from tests import factories
from tests.examples import SHARED_FIXTURE, examples
from tests.factories import NOW
from tests.reviews.company import Company, seen_refused

pytestmark = pytest.mark.django_db
PEOPLE = ("mira", "otto", "lea", "rui", "dana")
REFUSED = (ReviewError, LifecycleError, InventoryError)
who = st.sampled_from(PEOPLE)
which = st.integers(0, 2)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("decide"), who, which, st.sampled_from([What.KEEP, What.REVOKE, What.REASSIGN])),
        st.tuples(st.just("undo"), who, which),
        st.tuples(st.just("submit"), who),
        st.tuples(st.just("delegate"), who, which, who),
        st.tuples(st.just("reassign"), who, which, st.sampled_from([Seat.FIRST, Seat.SECOND]), who),
        st.tuples(st.just("wait"), st.integers(1, 40)),
        st.tuples(st.just("move"), st.integers(1, 90)),
        st.tuples(st.just("leave"), who),
        st.tuples(st.just("end"), st.sampled_from(["verified", "stalled", "cancelled", "unverifiable"])),
        st.tuples(st.just("change"), which),
    ),
    min_size=3,
    max_size=12,
)


class World:
    def __init__(self, answer: NoAnswer) -> None:
        self.company = Company()
        team = factories.owner(name="Team", kind="team", manager=self.company.otto.owner)
        self.credentials = [
            self.company.credential(name="mine"),
            self.company.credential(name="team's", owner=team),
            self.company.credential(name="nobody's", owner=None),
        ]
        self.campaign = self.company.launch(no_answer=answer)
        self.keys = [ReviewItem.objects.get(credential=each).pk for each in self.credentials]

    def do(self, step: tuple) -> None:
        try:
            getattr(self, f"_{step[0]}")(*step[1:])
        except REFUSED:
            return
        finally:
            carry_on(clock=lambda: self.company.now, ring=lambda _: None)
            self.holds()

    def _person(self, name: str):
        return getattr(self.company, name)

    def _decide(self, name: str, item: int, what: What) -> None:
        to = self.company.dana.owner if what is What.REASSIGN else None
        decide([self.keys[item]], what, actor=self._person(name).actor, now=self.company.now, reason="It is so", to=to)

    def _undo(self, name: str, item: int) -> None:
        undo([self.keys[item]], actor=self._person(name).actor, now=self.company.now)

    def _submit(self, name: str) -> None:
        submit(self.campaign, actor=self._person(name).actor, now=self.company.now)

    def _delegate(self, name: str, item: int, to: str) -> None:
        delegate(
            [self.keys[item]], self._person(to).owner, actor=self._person(name).actor, now=self.company.now, reason="x"
        )

    def _reassign(self, name: str, item: int, seat: Seat, to: str) -> None:
        actor = self._person(name).actor
        reassign([self.keys[item]], seat, self._person(to).owner, actor=actor, now=self.company.now, reason="x")

    def _wait(self, days: int) -> None:
        self.company.pass_by(timedelta(days=days))

    def _move(self, days: int) -> None:
        due = self.company.now + timedelta(days=days)
        change_due(self.campaign, due, actor=self.company.lea.actor, now=self.company.now, reason="x")

    def _leave(self, name: str) -> None:
        owner = self._person(name).owner
        Owner.objects.filter(pk=owner.pk).update(is_active=False)
        owner.refresh_from_db()

    def _end(self, how: str) -> None:
        for operation in Operation.objects.open():
            if how == "stalled":
                Operation.objects.filter(pk=operation.pk).update(state="stalled", due_at=None, stalled_at=NOW)
            elif how == "cancelled":
                Operation.objects.filter(pk=operation.pk).update(
                    state="cancelled", due_at=None, stalled_at=None, closed_at=NOW
                )
            else:
                seen_refused(operation)
                Operation.objects.filter(pk=operation.pk).update(proof=how)

    def _change(self, item: int) -> None:
        credential = self.credentials[item]
        type(credential).objects.filter(pk=credential.pk).update(scopes=[str(self.company.now)])
        look_again([self.keys[item]], actor=self.company.lea.actor, now=self.company.now)

    def holds(self) -> None:
        rows = list(ReviewItem.objects.filter(campaign=self.campaign))
        assert sorted(row.pk for row in rows) == sorted(self.keys)
        for row in rows:
            submitted = Decision.objects.filter(item=row, submitted_at__isnull=False, withdrawn_at=None)
            if row.ending == Ending.KEPT:
                # Somebody said so, and somebody who does not answer for it.
                keys = {row.first_by_key, row.second_by_key} - {""}
                assert keys <= set(submitted.filter(what="keep").values_list("decided_by_key", flat=True))
                mine = {self.company.mira.actor.key} if row.name == "mine" else set()
                assert keys - mine
                assert not row.by_clock
            if row.ending in {Ending.REVOKED, Ending.ROTATED}:
                assert row.operation.proof == "verified"
            if row.needs_second and row.state in {ItemState.ACTING, ItemState.CLOSED} and not row.by_clock:
                assert row.ending == Ending.GONE or row.first_by_key != row.second_by_key
            if row.state in ITEM_FINAL:
                assert row.proof
            assert not set(row.first_chain) & set(row.second_chain)

    def bring_to_an_end(self) -> None:
        """Operations end well, and nobody answers any more: what still waits, waits for whoever is a reviewer."""
        for _ in range(4):
            self._wait(60)
            self._end("verified")
            carry_on(clock=lambda: self.company.now, ring=lambda _: None)
            close_what_is_gone(now=self.company.now)
            self.holds()


@settings(max_examples=examples(25), suppress_health_check=SHARED_FIXTURE)
@given(answer=st.sampled_from(list(NoAnswer)), done=steps)
def test_every_item_is_accounted_for(db: None, answer: NoAnswer, done: list[tuple]):
    with transaction.atomic():
        world = World(answer)
        for step in done:
            world.do(step)
        world.bring_to_an_end()
        for row in ReviewItem.objects.filter(campaign=world.campaign):
            unproven = row.operation_id is not None and row.operation.proof == "unverifiable"
            waits_for_people = row.is_undecided and (answer is NoAnswer.ESCALATE or row.state == ItemState.DISPUTED)
            assert row.state in ITEM_FINAL or waits_for_people or (row.state == ItemState.ACTING and unproven)
        transaction.set_rollback(True)
