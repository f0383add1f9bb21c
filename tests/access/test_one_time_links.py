"""One-time sign-in links."""

import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from access.actors import Actor
from access.models import User
from config.actions import ensure_administrator, issue_sign_in_link

pytestmark = pytest.mark.django_db


@pytest.fixture
def administrator() -> User:
    return ensure_administrator(actor=Actor.system("test"))


@pytest.fixture
def link(administrator: User) -> str:
    return issue_sign_in_link(administrator, base="", actor=Actor.system("test"))


def press(client: Client, link: str):
    """What the page's button sends."""
    page = client.get(link)
    fields = dict(re.findall(r'<input type="hidden" name="(user|key)" value="([^"]+)"', page.content.decode()))
    return client.post("/sign-in/", fields)


def test_pressing_the_button_signs_in_and_leads_to_the_overview(client, link, administrator):
    answer = press(client, link)
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/"
    assert client.session["_auth_user_id"] == str(administrator.pk)


def test_who_came_by_a_link_is_offered_a_password_there(client, link):
    press(client, link)
    assert "/account/password/set/" in client.get("/").content.decode()


def test_opening_the_link_signs_nobody_in_and_does_not_use_it_up(client, link):
    for _ in range(2):
        assert client.get(link).status_code == 200
    assert "_auth_user_id" not in client.session


def test_a_link_works_once(client, link):
    press(client, link)
    again = Client()
    assert again.get(link).status_code == 410
    assert "_auth_user_id" not in again.session


def test_a_second_press_on_a_page_opened_before_the_first_is_refused(client, link):
    page = dict(re.findall(r'name="(user|key)" value="([^"]+)"', client.get(link).content.decode()))
    first, second = Client(), Client()
    assert first.post("/sign-in/", page).status_code == 302
    assert second.post("/sign-in/", page).status_code == 410


def test_a_link_dies_of_age(client, link, monkeypatch):
    late = timezone.now() + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT + 5)
    monkeypatch.setattr("django.contrib.auth.tokens.default_token_generator._now", lambda: late.replace(tzinfo=None))
    assert client.get(link).status_code == 410


@pytest.mark.parametrize("query", ["", "?user=1", "?user=x&key=y", "?user=" + "9" * 400 + "&key=" + "k" * 4000])
def test_a_mangled_link_says_what_to_do(client, query):
    page = client.get("/sign-in/" + query)
    assert page.status_code == 410
    assert "sign_in_link" in page.content.decode()


def test_a_link_of_somebody_switched_off_is_refused(client, link, administrator):
    User.objects.filter(pk=administrator.pk).update(is_active=False)
    assert client.get(link).status_code == 410


def test_the_page_is_neither_cached_nor_named_to_others(client, link):
    headers = client.get(link).headers
    assert "no-store" in headers["Cache-Control"]
    assert headers["Referrer-Policy"] == "strict-origin"


def test_the_button_needs_the_token_of_its_page(link):
    assert Client(enforce_csrf_checks=True).post("/sign-in/", {"user": "1", "key": "x"}).status_code == 403
