"""Pages: what was told, endpoints, and what people choose."""

import secrets

import pytest

from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from notifications.actions.outbox import Message, post
from notifications.actions.recipients import recipient_of
from notifications.kinds import TEST, Kind, declare
from notifications.models import Delivery, Endpoint, Recipient
from notifications.states import DeliveryState
from tests import factories
from tests.factories import NOW
from tests.people import browser, owners_browser, person, text

pytestmark = pytest.mark.django_db


def events() -> list[str]:
    return list(AuditEntry.objects.order_by("seq").values_list("event", flat=True))


@pytest.fixture
def given(receiver, secret_file) -> dict[str, object]:
    return {
        "name": "SIEM", "url": receiver.url, "kinds": ["findings.severe"], "least_severity": "4",
        "secret": secret_file("one")[0], "previous_secret": "",
    }  # fmt: skip


def test_the_page_says_that_mail_is_off_and_how_to_switch_it_on():
    page = text(browser(Role.AUDITOR).get("/notifications/"))
    for words in ("Nobody is told by mail", "KEYREEVE_MAIL_URL", "No program is told", "Nobody was told anything yet"):
        assert words in page
    assert "Add an endpoint" not in page


def test_the_page_says_by_which_server_mail_goes_and_no_password(mailbox, settings):
    settings.EMAIL_HOST_PASSWORD = secrets.token_urlsafe(12)
    page = text(browser(Role.OPERATOR).get("/notifications/"))
    assert f"127.0.0.1:{mailbox.port}" in page
    assert "keyreeve@halden.example" in page
    assert settings.EMAIL_HOST_PASSWORD not in page


def test_an_endpoint_is_added_tried_changed_paused_and_removed(given, receiver):
    mira = browser(Role.OPERATOR)
    assert mira.post("/notifications/endpoints/new/", given).status_code == 302
    endpoint = Endpoint.objects.get()
    assert endpoint.bound_to == receiver.url.split("/")[2]
    at = f"/notifications/endpoints/{endpoint.pk}"
    assert "SIEM took the test." in text(mira.post(f"{at}/test/", follow=True))
    assert mira.post(f"{at}/edit/", {**given, "name": "SOC"}).status_code == 302
    assert "SOC is paused." in text(mira.post(f"{at}/pause/", {"is_paused": "true"}, follow=True))
    assert "Paused by a person." in text(mira.get("/notifications/"))
    assert "is told again" in text(mira.post(f"{at}/pause/", {"is_paused": "false"}, follow=True))
    assert "SOC is removed" in text(mira.post(f"{at}/remove/", {"decided": "yes"}, follow=True))
    assert Endpoint.objects.count() == 0
    assert [event for event in events() if event.startswith(("endpoint", "notice"))] == [
        "endpoint.added",
        "notice.tested",
        "endpoint.changed",
        "endpoint.paused",
        "endpoint.resumed",
        "endpoint.removed",
    ]


def test_a_test_that_is_refused_says_why(given, receiver):
    mira = browser(Role.OPERATOR)
    mira.post("/notifications/endpoints/new/", given)
    receiver.answers.append((403, {}))
    page = text(mira.post(f"/notifications/endpoints/{Endpoint.objects.get().pk}/test/", follow=True))
    assert "SIEM did not take the test. It answers 403." in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "ftp://siem.example/"}, "must begin with https://"),
        ({"url": "https://robot:hunter2@siem.example/"}, "looks like a secret"),
        ({"secret": "whsec_" + "Zm9vYmFy" * 5}, "This is no reference"),
        ({"secret": "env://NOT_LISTED"}, "KEYREEVE_REFERENCE_VARIABLES"),
        ({"secret": ""}, "Say where the secret lies."),
        ({"kinds": []}, "Choose at least one."),
        ({"kinds": ["digest"]}, "Choose among these."),
        ({"least_severity": "1"}, "Choose one of these."),
    ],
)
def test_what_cannot_be_an_endpoint_is_refused_with_a_sentence(given, change, said):
    answer = browser(Role.OPERATOR).post("/notifications/endpoints/new/", {**given, **change})
    assert answer.status_code == 422
    assert said in text(answer)
    for sent in ("hunter2", "Zm9vYmFy"):
        assert sent not in text(answer)
    assert Endpoint.objects.count() == 0


def test_two_endpoints_have_no_name_in_common(given, endpoint):
    answer = browser(Role.OPERATOR).post("/notifications/endpoints/new/", given)
    assert (answer.status_code, "Another endpoint is called SIEM." in text(answer)) == (422, True)


def test_what_was_given_up_is_seen_and_tried_again(told):
    (delivery,) = post([Message(kind="test", key="x", subject="A test", recipient=told)], now=NOW)
    Delivery.objects.update(state=DeliveryState.GIVEN_UP, ended_at=NOW, error="The mail server answers 452.")
    mira = browser(Role.OPERATOR)
    page = text(mira.get("/notifications/?state=given_up"))
    assert "The mail server answers 452." in page
    assert "1 notice will be sent again" in text(mira.post("/notifications/again/", {"id": delivery.pk}, follow=True))
    assert "None of the picked" in text(mira.post("/notifications/again/", {"id": delivery.pk}, follow=True))
    assert events()[-1] == Event.NOTICE_RETRIED.value


def test_an_owner_sees_what_they_were_told_and_nothing_else(told, endpoint):
    mine, me = owners_browser()
    own = Recipient.objects.create(owner=me)
    post([
        Message(kind="test", key="1", subject="for me", recipient=own),
        Message(kind="test", key="2", subject="for ana", recipient=told),
        Message(kind="test", key="3", subject="for siem", endpoint=endpoint),
    ], now=NOW)  # fmt: skip
    page = text(mine.get("/notifications/"))
    assert "for me" in page
    for foreign in ("for ana", "for siem", "Ana Duarte", "SIEM", endpoint.url):
        assert foreign not in page


def test_a_person_is_mailed_a_test_and_told_what_came_of_it(mailbox):
    mira = browser(Role.OPERATOR)
    assert "took the test." in text(mira.post("/notifications/mail/test/", follow=True))
    assert len(mailbox.mails) == 1
    mailbox.refusals.append("550 no")
    assert "did not take the test. The mail server refuses" in text(mira.post("/notifications/mail/test/", follow=True))


def test_a_person_chooses_what_they_are_told():
    mine, me = owners_browser()
    page = text(mine.get("/account/notifications/"))
    assert "Critical findings" in page
    assert "Connections not synced" not in page
    given = {
        "kind_findings_severe": "digest", "kind_findings_open": "off", "kind_waivers_ending": "digest",
        "kind_reviews_to_do": "off", "kind_ownership_asked": "off", "least_severity": "3",
        "rhythm": "weekly", "hour": "15",
    }  # fmt: skip
    assert "What you are told is changed." in text(mine.post("/account/notifications/", given, follow=True))
    chosen = Recipient.objects.get(owner=me)
    assert (chosen.choices["findings.severe"], chosen.least_severity, chosen.rhythm, chosen.hour) == (
        "digest", 3, "weekly", 15,
    )  # fmt: skip
    assert (chosen.digest_due_at.weekday(), chosen.digest_due_at.hour) == (0, 15)
    assert "changed." not in text(mine.post("/account/notifications/", given, follow=True))
    assert events().count(Event.PREFERENCES_CHANGED.value) == 1


def test_a_choice_that_is_not_offered_is_refused():
    mine, _ = owners_browser()
    answer = mine.post(
        "/account/notifications/", {"kind_findings_open": "immediately", "rhythm": "hourly", "hour": "24"}
    )
    assert answer.status_code == 422
    assert "Choose one of these." in text(answer)


def test_an_operator_is_asked_about_what_operators_decide():
    page = text(browser(Role.OPERATOR).get("/account/notifications/"))
    for words in ("Connections not synced", "Mail is off."):
        assert words in page


def test_who_is_no_person_is_no_recipient():
    assert recipient_of(person(Role.OWNER).as_actor(), now=NOW) is not None
    factories.owner()
    assert Recipient.objects.count() == 1


def test_a_kind_is_declared_once():
    declare(TEST)
    with pytest.raises(ValueError, match="declared twice"):
        declare(Kind(slug="test", name="Another"))
    with pytest.raises(ValueError, match="no plain name"):
        Kind(slug="Not Plain", name="x")
