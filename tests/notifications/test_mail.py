"""Mails as a real SMTP server takes and refuses them."""

import secrets
from datetime import timedelta
from typing import Any

import pytest
from django.core.mail import BadHeaderError

from config.mail import MailServer
from notifications import sending
from notifications.actions.outbox import Message, post
from notifications.mail import rendered
from notifications.models import Delivery, Notice, Recipient
from notifications.models.outbox import MOST_ATTEMPTS
from notifications.states import DeliveryState
from tests import factories
from tests.factories import NOW
from tests.people import person
from tests.ports import free_port

pytestmark = pytest.mark.django_db


def clock() -> Any:
    return NOW


def posted(to: Recipient, *, subject: str = "A test", **data: Any) -> Delivery:
    message = Message(
        kind="test", key=secrets.token_hex(8), subject=subject, data={"asked_by": "Mira", **data}, recipient=to
    )
    (delivery,) = post([message], now=NOW)
    return delivery


def sent(delivery: Delivery, at: Any = clock) -> Delivery:
    sending.send_mail(clock=at)
    delivery.refresh_from_db()
    return delivery


def test_a_notice_arrives_as_text_and_html_with_the_headers_of_a_machine(told, mailbox):
    delivery = posted(told, asked_by="Mira <Okafor>")
    assert sent(delivery).state == DeliveryState.DELIVERED
    (mail,) = mailbox.mails
    assert mailbox.envelopes[0].rcpt_tos == ["ana@halden.example"]
    assert mail["Subject"] == "A test"
    assert mail["From"] == "Keyreeve <keyreeve@halden.example>"
    assert mail["Message-ID"] == f"<{delivery.notice_id}@halden.example>"
    assert mail["List-Id"] == "<notices.keyreeve.halden.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert "Mira <Okafor> asked for it." in text
    assert "Mira &lt;Okafor&gt; asked for it." in html
    for shape in (text, html):
        assert "https://keyreeve.halden.example/account/notifications/" in shape
    assert not any(sign in html for sign in ("<img", "<script", "<link", "url(", "src="))


def test_a_team_is_told_at_its_address_and_a_person_at_that_of_their_account(mailbox):
    somebody = person()
    team = factories.owner(name="Payments", kind="team", email="payments@halden.example")
    alone = factories.owner(name="Otto", user=somebody)
    for owner in (team, alone):
        posted(Recipient.objects.create(owner=owner))
    posted(Recipient.objects.create(user=person()))
    sending.send_mail(clock=clock)
    assert [mail["To"] for mail in mailbox.mails][:2] == ["payments@halden.example", somebody.email]
    assert mailbox.sessions == 1


@pytest.mark.parametrize(
    "values",
    [
        {"email": ""},
        {"email": "root@keyreeve.invalid"},
        {"email": "a@halden.example", "is_active": False},
        {"email": "a@halden.example\nBcc: b@halden.example"},
        {"email": "not an address"},
        {"email": "ünï@halden.example"},
    ],
)
def test_nobody_is_told_who_has_left_or_has_no_address(mailbox, values):
    delivery = sent(posted(Recipient.objects.create(owner=factories.owner(**values))))
    assert delivery.state == DeliveryState.DROPPED
    assert delivery.error
    assert mailbox.mails == []


@pytest.mark.parametrize("hostile", ["One\r\nBcc: evil@evil.example", "One\nX: y", "One\x00\x1b[31m", "One\u202etwo"])
def test_no_name_of_others_reaches_another_header(told, mailbox, hostile):
    sent(posted(told, subject=f"Critical: {hostile}"))
    (mail,) = mailbox.mails
    assert mail["Bcc"] is None
    assert mail["X"] is None
    assert mail["Subject"].startswith("Critical: One")
    assert mail["Subject"].isprintable()
    assert mailbox.envelopes[0].rcpt_tos == ["ana@halden.example"]


def test_a_subject_that_came_by_another_way_is_refused_by_the_mail_itself(told, mailbox):
    notice = Notice(kind="test", key="x", subject="One\nBcc: evil@evil.example", recipient=told, created_at=NOW)
    with pytest.raises(BadHeaderError):
        rendered(notice).message()


def test_a_receiver_that_is_refused_for_good_is_given_up_and_the_next_mail_goes_on(told, mailbox):
    mailbox.refusals.append("550 5.1.1 no such user secret-echo")
    first, second = posted(told), posted(told)
    sending.send_mail(clock=clock)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, first.error) == (DeliveryState.GIVEN_UP, "The mail server refuses the receiver (550).")
    assert second.state == DeliveryState.DELIVERED


def test_a_receiver_that_is_refused_for_now_is_tried_later(told, mailbox):
    mailbox.refusals.append("451 greylisted")
    delivery = sent(posted(told))
    assert delivery.state == DeliveryState.WAITING
    assert NOW + timedelta(seconds=30) <= delivery.due_at <= NOW + timedelta(minutes=1)
    assert sent(delivery, lambda: NOW + timedelta(minutes=1)).state == DeliveryState.DELIVERED
    assert delivery.attempts == 2


def test_an_outage_of_the_mail_server_uses_up_one_try_and_leaves_the_rest(told, mailbox, settings):
    settings.EMAIL_PORT = free_port()
    first, second = posted(told), posted(told)
    assert sending.send_mail(clock=clock) == 1
    first.refresh_from_db()
    second.refresh_from_db()
    assert [first.attempts, second.attempts] == [1, 0]
    assert first.error == "The mail server cannot be reached: connection refused."


def test_a_wrong_password_is_said_without_it_and_waits_for_the_right_one(told, mailbox, settings):
    wrong, right = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    mailbox.passwords["robot"] = right
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "robot", wrong
    delivery = sent(posted(told))
    assert (delivery.state, delivery.error) == (
        DeliveryState.WAITING, "The mail server refuses the user or the password (535).",
    )  # fmt: skip
    settings.EMAIL_HOST_PASSWORD = right
    assert sent(delivery, lambda: NOW + timedelta(hours=1)).state == DeliveryState.DELIVERED


def test_a_server_without_starttls_gets_nothing_where_it_is_asked_for(told, mailbox, settings):
    settings.EMAIL_USE_TLS = True
    delivery = sent(posted(told))
    assert "does not offer" in delivery.error
    assert mailbox.mails == []


def test_the_last_try_gives_up(told, mailbox):
    mailbox.data += ["452 full"] * 2
    delivery = posted(told)
    Delivery.objects.update(attempts=MOST_ATTEMPTS - 2)
    assert sent(delivery).state == DeliveryState.WAITING
    assert timedelta(hours=3) <= delivery.due_at - NOW <= timedelta(hours=6)
    sent(delivery, lambda: NOW + timedelta(hours=6))
    assert (delivery.state, delivery.attempts, delivery.error) == (
        DeliveryState.GIVEN_UP, MOST_ATTEMPTS, "The mail server answers 452.",
    )  # fmt: skip


def test_without_a_mail_server_nothing_is_due(told, mailbox, settings):
    posted(told)
    assert sending.mail_is_due(NOW)
    settings.MAIL_SERVER = None
    assert not sending.mail_is_due(NOW)


def test_the_server_of_the_settings_shows_no_password():
    assert "hunter" not in repr(MailServer("mail", 25, "robot", "hunter-2", starts_tls=True, is_tls=False))
