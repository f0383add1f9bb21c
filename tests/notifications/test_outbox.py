"""The outbox: what is told once, who claims it, and what a crash between sending and writing leaves."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from access.roles import Role
from notifications import sending
from notifications.actions import outbox
from notifications.actions.outbox import KEPT, LEASE, Message, claim, claim_next, delivered, post, tidy
from notifications.actions.recipients import keep_recipients, recipient_of
from notifications.errors import LeaseLost
from notifications.models import Delivery, Notice, Recipient
from notifications.models.outbox import MOST_ATTEMPTS
from notifications.models.recipients import roles_of
from notifications.states import DeliveryState
from tests import factories
from tests.factories import NOW
from tests.people import person

pytestmark = pytest.mark.django_db


def message(told: Recipient, key: str = "one") -> Message:
    return Message(kind="test", key=key, subject="A test", data={"asked_by": "Mira"}, recipient=told)


def test_the_same_thing_is_never_told_twice(told):
    assert len(post([message(told), message(told), message(told, "two")], now=NOW)) == 2
    assert post([message(told)], now=NOW + timedelta(days=1)) == []
    assert Delivery.objects.count() == 2


def test_what_is_told_goes_with_the_transaction_that_tells_it(told):
    with transaction.atomic():
        post([message(told)], now=NOW)
        transaction.set_rollback(True)
    assert Notice.objects.count() == 0


def test_of_two_workers_one_claims_a_delivery(told):
    (delivery,) = post([message(told)], now=NOW)
    assert claim(delivery.pk, now=NOW) is not None
    assert claim(delivery.pk, now=NOW) is None
    assert claim_next(Delivery.objects.all(), now=NOW + LEASE - timedelta(seconds=1)) is None


def test_a_worker_whose_lease_has_run_out_writes_nothing_any_more(told):
    (delivery,) = post([message(told)], now=NOW)
    first = claim(delivery.pk, now=NOW)
    second = claim(delivery.pk, now=NOW + LEASE)
    with pytest.raises(LeaseLost):
        delivered(first, now=NOW + LEASE)
    delivered(second, now=NOW + LEASE)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 2)


def test_a_crash_between_sending_and_writing_sends_again_under_the_same_id(told, mailbox, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_args, **_named):
        raise Killed

    post([message(told)], now=NOW)
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "delivered", killed)
        with pytest.raises(Killed):
            sending.send_mail(clock=lambda: NOW)
    assert sending.send_mail(clock=lambda: NOW) == 0
    assert sending.send_mail(clock=lambda: NOW + LEASE) == 1
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 1
    assert len(mailbox.mails) == 2
    assert Delivery.objects.get().state == DeliveryState.DELIVERED


def test_a_try_that_kills_its_worker_every_time_ends(told):
    (delivery,) = post([message(told)], now=NOW)
    at = NOW
    for _ in range(MOST_ATTEMPTS):
        assert claim_next(Delivery.objects.all(), now=at) is not None
        at += LEASE
    assert claim_next(Delivery.objects.all(), now=at) is None
    tidy(at)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.error) == (DeliveryState.GIVEN_UP, "The worker died at the last try.")


def test_a_mistake_of_ours_is_written_down_and_holds_up_no_other(told, mailbox):
    broken, sound = post([message(told), message(told, "two")], now=NOW)
    Notice.objects.filter(pk=broken.notice_id).update(data=["no mapping"])
    with pytest.raises(TypeError):
        sending.send_mail(clock=lambda: NOW)
    broken.refresh_from_db()
    assert (broken.state, broken.error) == (DeliveryState.WAITING, "TypeError while sending.")
    sending.send_mail(clock=lambda: NOW)
    sound.refresh_from_db()
    assert sound.state == DeliveryState.DELIVERED


def test_notices_are_forgotten_after_their_time(told):
    post([message(told)], now=NOW)
    tidy(NOW + KEPT)
    assert Notice.objects.count() == 1
    tidy(NOW + KEPT + timedelta(seconds=1))
    assert Notice.objects.count() == 0


@pytest.mark.parametrize("subject", ["", "two\nlines"])
def test_the_database_refuses_a_subject_that_is_no_line(told, subject):
    with pytest.raises(IntegrityError):
        Notice.objects.create(kind="test", key="x", subject=subject, recipient=told, created_at=NOW)


def test_active_owners_and_who_decides_can_be_told_once_each():
    reviewer, _reader, both = (person(role) for role in (Role.REVIEWER, Role.AUDITOR, Role.OPERATOR))
    factories.owner(user=both)
    factories.owner(is_active=False)
    for _ in range(2):
        keep_recipients(NOW)
    people = {(each.person.pk, each.owner is not None) for each in Recipient.objects.with_people()}
    assert people == {(reviewer.pk, False), (both.pk, True)}
    assert roles_of([both.pk]) == {both.pk: frozenset({Role.OPERATOR})}


def test_a_person_who_comes_to_answer_for_things_keeps_what_they_chose_and_is_told_once():
    somebody = person(Role.REVIEWER)
    before = recipient_of(somebody.as_actor(), now=NOW)
    Recipient.objects.filter(pk=before.pk).update(hour=15)
    owner = factories.owner(user=somebody)
    keep_recipients(NOW)
    after = recipient_of(somebody.as_actor(), now=NOW)
    assert (after.pk, after.owner, after.hour) == (before.pk, owner, 15)
    assert Recipient.objects.count() == 1
