"""The old version of a rotation goes when consumers have moved or nobody uses it: never because time has passed."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from access.actors import Actor, ActorKind
from access.models import User
from access.roles import Role
from audit.models import AuditEntry
from inventory.models import McpClient, Use
from inventory.states import Admission, Storage
from lifecycle.actions.consumers import acknowledge, extend, retire_anyway
from lifecycle.actions.requests import cancel
from lifecycle.engine.cutover import LONGEST_PATIENCE, PATIENCE, CutOver, Standing, decide, judge
from lifecycle.errors import (
    ConsumerUnknown,
    ExtendedTooFar,
    HoldsSecret,
    NotAnOperator,
    NothingToAcknowledge,
    OperationClosed,
    OverlapEnded,
    ReasonMissing,
)
from lifecycle.models import Acknowledgement, Delivery, Operation, StepAttempt
from lifecycle.models.consumers import Consumer, consumers_of
from lifecycle.states import Acknowledged, OperationState, Step
from providers.base import DiscoveredVersion, Status
from tests import factories
from tests.factories import NOW
from tests.lifecycle.rotating import DAY, deliverable, in_overlap

HOUR = timedelta(hours=1)
KNOWN = "00000000-0000-7000-8000-00000000000"


def listed(operation: Operation, used: datetime | None = None, **values: object) -> list[DiscoveredVersion]:
    """What the provider says: when the old version was last used, and of the new one nothing."""
    assert operation.old_version is not None
    assert operation.new_version is not None
    old = {"external_id": operation.old_version.external_id, "status": Status.ACTIVE, "last_used_at": used, **values}
    return [DiscoveredVersion(**old), DiscoveredVersion(external_id=operation.new_version.external_id)]  # type: ignore[arg-type]


def used_by(operation: Operation, name: str, **values: object) -> McpClient:
    client = factories.client(name=name)
    factories.use(operation.credential, client=client, **values)
    return client


# ── The judgement ──────────────────────────────────────────────────────────────────────────────


@st.composite
def standings(draw: st.DrawFn) -> tuple[Standing, datetime]:
    moments = st.integers(-60 * 24, 60 * 24 * 40).map(lambda minutes: NOW + timedelta(minutes=minutes))
    how = st.sampled_from([None, *Acknowledged])
    consumers = tuple(
        Consumer(
            name=f"client {n}",
            client_id=f"{KNOWN}{n}" if draw(st.booleans()) else None,  # type: ignore[arg-type]
            how=known,
            at=draw(moments) if known is not None else None,
        )
        for n, known in enumerate(draw(st.lists(how, max_size=4)))
    )
    tells = draw(st.booleans())
    standing = Standing(
        promoted_at=NOW,
        overlap=draw(st.timedeltas(timedelta(seconds=1), timedelta(days=60))),
        consumers=consumers,
        tells_use=tells,
        used_at=draw(st.none() | moments) if tells else None,
        new_used_at=draw(st.none() | moments),
        extended_until=draw(st.none() | moments),
    )
    return standing, draw(moments)


@given(standings())
def test_time_alone_never_retires_an_old_version(drawn: tuple[Standing, datetime]) -> None:
    standing, now = drawn
    known = [each for each in standing.consumers if each.is_known]
    said = decide(standing, now)
    everybody = bool(known) and all(each.has_moved for each in known)
    silent = standing.tells_use and now >= NOW + standing.overlap
    silent = silent and (standing.used_at is None or now - standing.used_at >= standing.overlap)
    a_person = not known and any(each.how == Acknowledged.PERSON for each in standing.consumers)
    assert not said.is_ready or everybody or silent or a_person
    if not everybody and not standing.tells_use and not a_person:
        assert not decide(standing, datetime.max.replace(tzinfo=NOW.tzinfo) - timedelta(days=400)).is_ready


@given(standings())
def test_a_judgement_says_when_to_look_again_or_asks_a_person(drawn: tuple[Standing, datetime]) -> None:
    standing, now = drawn
    said = decide(standing, now)
    assert said.sentence
    assert sum([said.is_ready, said.is_escalated, said.look_again_at is not None]) == 1
    if said.look_again_at is not None:
        assert now < said.look_again_at <= now + HOUR


@given(standings())
def test_somebody_is_asked_within_a_bounded_time(drawn: tuple[Standing, datetime]) -> None:
    standing, _ = drawn
    late = NOW + max(standing.overlap, min(PATIENCE * standing.overlap, LONGEST_PATIENCE))
    late = max(late, standing.extended_until or late)
    said = decide(standing, late)
    assert said.is_ready or said.is_escalated


def test_a_use_after_everybody_known_has_moved_holds_the_old_version_back() -> None:
    moved = Consumer(name="cursor", client_id=f"{KNOWN}1", how=Acknowledged.API, at=NOW + HOUR)  # type: ignore[arg-type]
    standing = Standing(
        promoted_at=NOW, overlap=DAY, consumers=(moved,), tells_use=True, used_at=NOW + timedelta(hours=3)
    )
    said = decide(standing, NOW + timedelta(hours=4))
    assert not said.is_ready
    assert "somebody uses it whom nobody knows" in said.sentence
    assert decide(standing, NOW + timedelta(hours=28)).is_ready


# ── From rows ──────────────────────────────────────────────────────────────────────────────────
pytestmark = pytest.mark.django_db


def ready(operation: Operation, versions: Sequence[DiscoveredVersion], now: datetime, **values: bool) -> CutOver:
    operation.refresh_from_db()
    return judge(operation, versions=versions, now=now, **values)


def test_every_known_consumer_is_waited_for_by_name(operator: Actor) -> None:
    operation = in_overlap()
    cursor, claude = used_by(operation, "cursor"), used_by(operation, "claude")
    used_by(operation, "switched off", is_disabled=True)
    McpClient.objects.filter(pk=used_by(operation, "taken out").pk).update(admission=Admission.REMOVED)
    acknowledge(operation, cursor, how=Acknowledged.API, actor=operator, now=NOW + HOUR)
    waits = ready(operation, listed(operation), NOW + 5 * DAY)
    assert not waits.is_ready
    assert waits.sentence.startswith("claude has not moved; 1 of 2 moved.")
    acknowledge(operation, claude, actor=operator, now=NOW + 5 * DAY)
    assert ready(operation, listed(operation), NOW + 5 * DAY) == CutOver(
        True, "All 2 known consumers use the new version."
    )


def test_silence_by_the_providers_record_counts_for_the_whole_overlap() -> None:
    operation = in_overlap()
    used_by(operation, "cursor")
    used = NOW + 2 * HOUR
    assert not ready(operation, listed(operation, used), used + DAY - timedelta(seconds=1)).is_ready
    assert ready(operation, listed(operation, used), used + DAY).is_ready
    assert not ready(operation, listed(operation, used + HOUR), used + DAY).is_ready
    early = ready(operation, listed(operation, NOW - DAY), NOW + HOUR)
    assert not early.is_ready
    assert early.look_again_at == NOW + 2 * HOUR


def test_no_date_means_never_used_only_where_the_provider_keeps_a_record() -> None:
    operation = in_overlap()
    assert ready(operation, listed(operation), NOW + DAY, tells_use=True).is_ready
    unknown = ready(operation, listed(operation), NOW + DAY)
    assert not unknown.is_ready
    assert "a person has to say that everybody has moved" in unknown.sentence
    assert not ready(operation, [], NOW + 6 * DAY, tells_use=True).is_ready, "a listing without it says nothing"


def test_a_person_says_it_where_nobody_is_known_and_a_program_does_not(operator: Actor) -> None:
    operation = in_overlap()
    acknowledge(operation, "billing", how=Acknowledged.API, actor=operator, now=NOW)
    assert not ready(operation, listed(operation), NOW + HOUR).is_ready
    acknowledge(operation, "everybody", how=Acknowledged.PERSON, actor=operator, now=NOW)
    assert ready(operation, listed(operation), NOW + HOUR).is_ready
    used = listed(operation, NOW + HOUR)
    assert not ready(operation, used, NOW + 2 * HOUR).is_ready, "and the provider's record goes before what is said"


def test_what_the_provider_refuses_already_needs_nobodys_word() -> None:
    operation = in_overlap()
    used_by(operation, "cursor")
    assert ready(operation, listed(operation, status=Status.SUSPENDED), NOW).is_ready
    assert ready(in_overlap(old_version=None), [], NOW).is_ready


def test_what_somebody_has_removed_at_the_provider_needs_nobodys_word() -> None:
    operation = in_overlap()
    used_by(operation, "cursor")
    _, new = listed(operation)
    assert "no longer the old one" in ready(operation, [new], NOW).sentence
    assert ready(operation, [new], NOW).is_ready
    assert not ready(operation, [], NOW).is_ready, "an empty listing says nothing"


def test_an_old_version_that_the_provider_never_named_is_not_taken_for_removed() -> None:
    operation = in_overlap()
    assert operation.old_version is not None
    _, new = listed(operation)
    type(operation.old_version).objects.filter(pk=operation.old_version_id).update(external_id="")
    assert not ready(operation, [new], NOW).is_ready


def test_a_client_is_seen_when_its_configuration_names_the_new_version_and_the_old_one_nowhere() -> None:
    operation = in_overlap()
    client = used_by(operation, "cursor")
    twin = factories.credential(fingerprint=operation.new_version.fingerprint, storage=Storage.LITERAL)
    factories.use(twin, client=client, first_seen_at=NOW + HOUR)
    assert not ready(operation, [], NOW + 2 * HOUR).is_ready, "one of its files names the old one still"
    Use.objects.filter(credential=operation.credential).update(gone_at=NOW + 2 * HOUR)
    assert ready(operation, [], NOW + 2 * HOUR).is_ready
    said = Acknowledgement.objects.get(operation=operation)
    assert (said.how, said.client, said.said_by) == ("seen", client, "Its configuration names the new version.")
    assert AuditEntry.objects.filter(event="operation.acknowledged").count() == 1
    assert ready(operation, [], NOW + 3 * HOUR).is_ready
    assert AuditEntry.objects.filter(event="operation.acknowledged").count() == 1, "written down once"


def test_the_old_version_under_another_row_is_still_the_old_version() -> None:
    operation = in_overlap()
    client = used_by(operation, "cursor")
    Use.objects.filter(client=client).update(gone_at=NOW + HOUR)
    twin = factories.credential(external_id=operation.old_version.external_id)
    factories.use(twin, client=client, first_seen_at=NOW + HOUR)
    assert not ready(operation, [], NOW + 2 * HOUR).is_ready
    Use.objects.filter(credential=twin).update(gone_at=NOW + 3 * HOUR)
    assert ready(operation, [], NOW + 3 * HOUR).is_ready


def test_who_names_the_place_of_delivery_is_known_and_naming_it_shows_nothing() -> None:
    operation = in_overlap()
    Delivery.objects.filter(credential=operation.credential).update(location="aws-sm://one")
    reading = factories.credential(identity_key="ref:aws-sm://one", storage=Storage.REFERENCE)
    factories.use(reading, client=factories.client(name="worker"), held_as=Storage.REFERENCE)
    said = ready(operation, [], NOW + 3 * DAY)
    assert not said.is_ready
    assert "worker has not moved" in said.sentence


def test_a_single_consumer_is_seen_in_the_providers_record() -> None:
    operation = in_overlap()
    used_by(operation, "cursor")
    old, new = listed(operation, NOW - HOUR)
    fresh = DiscoveredVersion(external_id=new.external_id, last_used_at=NOW + HOUR)
    just = DiscoveredVersion(external_id=new.external_id, last_used_at=NOW + timedelta(minutes=1))
    assert not ready(operation, [old, just], NOW + 2 * HOUR).is_ready, "that was Keyreeve, to see it work"
    both = [*listed(operation, NOW + HOUR)[:1], fresh]
    assert not ready(operation, both, NOW + 2 * HOUR).is_ready, "it uses both"
    assert ready(operation, [old, fresh], NOW + 2 * HOUR).is_ready
    used_by(operation, "claude")
    two = in_overlap()
    used_by(two, "one")
    used_by(two, "other")
    assert not ready(two, [listed(two, NOW - HOUR)[0], fresh], NOW + 2 * HOUR).is_ready, "which of two nobody knows"


def test_after_a_multiple_of_the_overlap_a_person_is_asked_with_names() -> None:
    operation = in_overlap()
    used_by(operation, "cursor")
    assert not ready(operation, [], NOW + 7 * DAY - HOUR).is_escalated
    said = ready(operation, [], NOW + 7 * DAY)
    assert said.is_escalated
    assert said.look_again_at is None
    assert said.sentence.startswith("7 d after consumers could read the new version: cursor has not moved")
    assert "roll back" in said.sentence


def test_an_extension_holds_silence_back_and_asks_again_at_its_end(operator: Actor) -> None:
    operation = in_overlap(state=OperationState.STALLED, due_at=None, stalled_at=NOW + 7 * DAY)
    used_by(operation, "cursor")
    now, until = NOW + 7 * DAY, NOW + 9 * DAY
    extend(operation, until, actor=operator, now=now, reason="The team is away")
    operation.refresh_from_db()
    assert (operation.state, operation.due_at, operation.stalled_at) == ("pending", now, None)
    said = ready(operation, listed(operation, NOW - DAY), now)
    assert not said.is_ready
    assert not said.is_escalated
    assert "extended until" in said.sentence
    assert ready(operation, [], until).is_escalated
    assert ready(operation, listed(operation, NOW - DAY), until).is_ready
    with pytest.raises(ExtendedTooFar):
        extend(operation, now, actor=operator, now=now, reason="Back in time")
    with pytest.raises(ExtendedTooFar):
        extend(operation, now + 91 * DAY, actor=operator, now=now, reason="For ever")
    with pytest.raises(ReasonMissing):
        extend(operation, until, actor=operator, now=now, reason=" ")


def test_an_operator_retires_it_all_the_same_and_answers_for_it(operator: Actor) -> None:
    operation = in_overlap()
    used_by(operation, "cursor")
    automation = Actor(ActorKind.TOKEN, "1", "ci", frozenset({Role.AUTOMATION}))
    with pytest.raises(NotAnOperator):
        retire_anyway(operation, actor=automation, now=NOW, reason="Be done with it")
    with pytest.raises(ReasonMissing):
        retire_anyway(operation, actor=operator, now=NOW, reason="")
    retire_anyway(operation, actor=operator, now=NOW + HOUR, reason="cursor was taken out of use")
    operation.refresh_from_db()
    assert (operation.step, operation.state, operation.due_at) == (Step.SUSPEND_OLD, "pending", NOW + HOUR)
    entry = AuditEntry.objects.get(event="operation.overlap_ended")
    assert entry.detail == {"not_moved": ["cursor"], "reason": "cursor was taken out of use"}
    with pytest.raises(OverlapEnded):
        retire_anyway(operation, actor=operator, now=NOW + HOUR, reason="Again")


def test_a_rotation_in_its_overlap_still_goes_the_way_back(operator: Actor) -> None:
    operation = in_overlap()
    cancel(operation, actor=operator, now=NOW, reason="The consumer cannot move")
    operation.refresh_from_db()
    assert operation.is_rolling_back
    with pytest.raises(NothingToAcknowledge):
        acknowledge(operation, "cursor", actor=operator, now=NOW)
    with pytest.raises(OverlapEnded):
        extend(operation, NOW + DAY, actor=operator, now=NOW, reason="More time")


# ── Acknowledging ──────────────────────────────────────────────────────────────────────────────


def test_an_acknowledgement_is_said_once_and_has_the_worker_look_again(operator: Actor) -> None:
    operation = in_overlap()
    client = used_by(operation, "Cursor")
    first = acknowledge(operation, "cursor", how=Acknowledged.API, actor=operator, now=NOW + HOUR)
    again = acknowledge(operation, client, actor=operator, now=NOW + 2 * HOUR)
    assert first == again
    assert (first.client, first.consumer, first.said_by) == (client, "Cursor", "Mira Okafor")
    operation.refresh_from_db()
    assert operation.due_at == NOW + HOUR
    assert AuditEntry.objects.filter(event="operation.acknowledged").count() == 1
    assert [each.has_moved for each in consumers_of(operation)] == [True]


def test_a_stalled_overlap_goes_on_with_the_last_acknowledgement_and_not_before(operator: Actor) -> None:
    operation = in_overlap(state=OperationState.STALLED, due_at=None, stalled_at=NOW + 7 * DAY)
    first, last = used_by(operation, "one"), used_by(operation, "two")
    acknowledge(operation, first, actor=operator, now=NOW + 8 * DAY)
    operation.refresh_from_db()
    assert operation.state == OperationState.STALLED
    acknowledge(operation, last, actor=operator, now=NOW + 8 * DAY)
    operation.refresh_from_db()
    assert operation.state == OperationState.PENDING
    assert ready(operation, [], NOW + 8 * DAY).is_ready


def test_the_owner_of_a_client_speaks_for_it_and_for_no_other(outsider: Actor) -> None:
    operation = in_overlap()
    mine, theirs = used_by(operation, "mine"), used_by(operation, "theirs")
    mine.owner = factories.owner(user=User.objects.get(pk=outsider.user_id))
    mine.save()
    acknowledge(operation, mine, actor=outsider, now=NOW)
    with pytest.raises(NotAnOperator):
        acknowledge(operation, theirs, actor=outsider, now=NOW)
    with pytest.raises(NotAnOperator):
        acknowledge(operation, "somebody", actor=outsider, now=NOW)


def test_what_cannot_be_acknowledged_is_refused_with_a_reason(operator: Actor) -> None:
    early = in_overlap(step=Step.VERIFY_NEW)
    StepAttempt.objects.filter(operation=early).delete()
    with pytest.raises(NothingToAcknowledge):
        acknowledge(early, "cursor", actor=operator, now=NOW)
    with pytest.raises(ConsumerUnknown):
        acknowledge(in_overlap(), "  ", actor=operator, now=NOW)
    with pytest.raises(HoldsSecret):
        acknowledge(in_overlap(), "ghp_" + "a1B2" * 9, actor=operator, now=NOW)
    ended = in_overlap(state=OperationState.CANCELLED, due_at=None, closed_at=NOW)
    with pytest.raises(OperationClosed):
        acknowledge(ended, "cursor", actor=operator, now=NOW)


def test_consumers_cost_the_same_queries_however_many_there_are() -> None:
    operation = in_overlap(deliverable())
    for n in range(12):
        used_by(operation, f"client {n}")
    with CaptureQueriesContext(database) as asked:
        assert len(consumers_of(operation)) == 12
    assert len(asked) <= 7
