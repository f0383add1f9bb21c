"""Signing in with a password and a second factor, how long a session lasts, and what of it is recorded."""

import re
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.utils import timezone

from access.actors import Actor
from access.models import User
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from config.actions import issue_sign_in_link
from tests.people import browser, text

pytestmark = pytest.mark.django_db

PASSWORD = "quiet harbour 71 lanterns"
LOGIN = "/account/login/"


@pytest.fixture(autouse=True)
def no_tries_yet():
    cache.clear()


@pytest.fixture
def mira() -> User:
    user = User.objects.create_user("mira", "mira@halden.example", PASSWORD)
    user.groups.add(Group.objects.get(name=Role.OPERATOR))
    return user


def sign_in(client: Client, password: str = PASSWORD, name: str = "mira"):
    return client.post(LOGIN, {"login": name, "password": password})


def is_in(client: Client) -> bool:
    return client.get("/").status_code == 200


def confirm(client: Client) -> None:
    """Whoever changes what they sign in with says their password once more."""
    assert client.post("/account/reauthenticate/", {"password": PASSWORD}).status_code == 302


def events(*only: Event) -> list[str]:
    return list(
        AuditEntry.objects.filter(event__in=only or list(Event)).order_by("seq").values_list("event", flat=True)
    )


# ── Passwords ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "password",
    ["short", "password1234", "abababababababab", "keyreeve2026", "This estate 1", "miramiramira", "x1" * 200],
)
def test_a_password_that_is_easy_to_guess_is_refused(settings, mira, password):
    with pytest.raises(ValidationError):
        validate_password(password, mira)


@pytest.mark.parametrize("password", [PASSWORD, "keyreeve and forty horses", "pälzisch-grün-Ofen"])
def test_a_long_password_of_ones_own_is_taken(mira, password):
    validate_password(password, mira)


def test_a_password_opens_the_overview_and_is_recorded_as_the_way_in(client, mira):
    assert sign_in(client).status_code == 302
    assert is_in(client)
    assert AuditEntry.objects.get(event=Event.USER_SIGNED_IN).detail == {"by": ["password"]}


def test_the_sixth_wrong_password_in_a_row_is_not_even_looked_at(client, mira):
    for _ in range(5):
        assert sign_in(client, "wrong").status_code == 200
    page = text(sign_in(client))
    assert not is_in(client)
    assert "Too many" in page
    assert len(events(Event.USER_SIGN_IN_REFUSED)) >= 5


def test_tries_are_counted_for_all_processes_together(client, mira):
    sign_in(client, "wrong")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), coalesce(string_agg(value, ''), '') FROM access_tries")
        count, kept = cursor.fetchone()
    assert count
    assert "wrong" not in kept


def test_a_refused_sign_in_does_not_tell_whether_there_is_such_an_account(client, mira):
    pages = [re.sub(r'value="[^"]*"', "", text(sign_in(client, "wrong", name))) for name in ("mira", "nobody")]
    assert pages[0] == pages[1]


# ── Second factors ─────────────────────────────────────────────────────────────────────────────


def code_of(secret: str) -> str:
    """Of this moment: the one before it, which is taken too, may be over when it is read."""
    _, present, _ = yield_hotp_counters_from_time()
    return format_hotp_value(hotp_value(secret, present))


@pytest.fixture
def secret(mira, django_capture_on_commit_callbacks) -> str:
    """Of an authenticator app that Mira has set up, by the page."""
    client = Client()
    sign_in(client)
    assert client.get("/account/second-factor/totp/activate/").status_code == 302
    confirm(client)
    page = text(client.get("/account/second-factor/totp/activate/"))
    (found,) = re.findall(r'<code class="break">([A-Z2-7]+)</code>', page)
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post("/account/second-factor/totp/activate/", {"code": code_of(found)}).status_code == 302
    cache.clear()
    return found


def test_an_account_with_an_app_asks_for_its_code(client, secret):
    assert "second-factor/authenticate" in sign_in(client).headers["Location"]
    assert not is_in(client)
    assert client.post("/account/second-factor/authenticate/", {"code": "000000"}).status_code == 200
    assert not is_in(client)
    assert client.post("/account/second-factor/authenticate/", {"code": code_of(secret)}).status_code == 302
    assert is_in(client)
    assert AuditEntry.objects.filter(event=Event.USER_SIGNED_IN).latest("seq").detail == {"by": ["password", "totp"]}


def test_a_code_works_once(client, secret):
    code = code_of(secret)
    for browser_, status in ((client, 302), (Client(), 200)):
        sign_in(browser_)
        assert browser_.post("/account/second-factor/authenticate/", {"code": code}).status_code == status


def test_the_secret_of_an_app_is_nowhere_in_the_database(secret):
    kept = Authenticator.objects.get(type=Authenticator.Type.TOTP)
    assert secret not in str(kept.data)
    assert secret not in str(list(AuditEntry.objects.values()))
    assert events(Event.USER_SECOND_FACTOR_ADDED)


def test_a_recovery_code_opens_once(client, mira, secret):
    sign_in(client)
    client.post("/account/second-factor/authenticate/", {"code": code_of(secret)})
    confirm(client)
    page = text(client.post("/account/second-factor/recovery-codes/generate/", follow=True))
    codes = re.findall(r"<li><code>([^<]+)</code></li>", page)
    assert len(codes) == 10
    for status in (302, 200):
        cache.clear()
        other = Client()
        sign_in(other)
        assert other.post("/account/second-factor/authenticate/", {"code": codes[0]}).status_code == status


def test_the_pages_of_second_factors_show_what_there_is(client, mira):
    sign_in(client)
    confirm(client)
    for path in ("", "webauthn/", "webauthn/add/", "totp/activate/"):
        assert client.get(f"/account/second-factor/{path}").status_code == 200, path
    assert "navigator" not in text(client.get("/account/second-factor/webauthn/add/"))  # scripts are files of ours
    assert (
        "challenge"
        in Client()
        .get("/account/second-factor/webauthn/login/", headers={"X-Requested-With": "XMLHttpRequest"})
        .json()["request_options"]["publicKey"]
    )
    assert client.get("/account/sessions/").status_code == 200


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMINISTRATOR])
def test_where_it_is_required_an_operator_gets_nowhere_without_a_second_factor(settings, role):
    settings.REQUIRE_SECOND_FACTOR = True
    person = browser(role)
    assert person.get("/").headers["Location"] == "/account/second-factor/"
    assert person.get("/account/second-factor/").status_code == 200
    assert person.get("/api/v1/servers/").status_code == 403
    assert person.post("/account/logout/").status_code == 302


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.AUDITOR, Role.OWNER, Role.AUTOMATION])
def test_nobody_else_needs_one(settings, role):
    settings.REQUIRE_SECOND_FACTOR = True
    assert browser(role).get("/").status_code == 200


def test_where_it_is_required_an_operator_who_has_one_goes_on(settings, client, secret):
    settings.REQUIRE_SECOND_FACTOR = True
    sign_in(client)
    client.post("/account/second-factor/authenticate/", {"code": code_of(secret)})
    assert is_in(client)
    assert client.get("/api/v1/servers/").status_code == 200


def test_recovery_codes_alone_are_no_second_factor(settings, client, mira):
    settings.REQUIRE_SECOND_FACTOR = True
    Authenticator.objects.create(user=mira, type=Authenticator.Type.RECOVERY_CODES, data={})
    client.force_login(mira)
    assert client.get("/").status_code == 302


# ── Sessions ───────────────────────────────────────────────────────────────────────────────────


def aged(client: Client, by: timedelta, what: str = "seen_at") -> None:
    session = client.session
    session[what] = int((timezone.now() - by).timestamp())
    session.save()


def test_a_session_in_which_nothing_was_asked_for_too_long_is_over(client, mira, settings):
    sign_in(client)
    aged(client, timedelta(seconds=settings.SESSION_IDLE_SECONDS - 90))
    assert is_in(client)
    aged(client, timedelta(seconds=settings.SESSION_IDLE_SECONDS + 1))
    assert not is_in(client)
    assert Event.USER_SIGNED_OUT in events()


def test_a_session_that_is_used_all_the_time_ends_by_its_age(client, mira, settings):
    sign_in(client)
    aged(client, timedelta(seconds=settings.SESSION_COOKIE_AGE - 90), "began_at")
    aged(client, timedelta(minutes=2))
    assert is_in(client)  # and its cookie began anew
    aged(client, timedelta(seconds=settings.SESSION_COOKIE_AGE + 1), "began_at")
    assert not is_in(client)


def test_a_session_is_written_once_a_minute_at_most(client, mira):
    sign_in(client)
    before = client.session["seen_at"]
    client.get("/")
    assert client.session["seen_at"] == before


def test_a_person_signs_out_everywhere_else(client, mira):
    other = Client()
    sign_in(other)
    sign_in(client)
    assert "Sign out everywhere else" in text(client.get("/account/sessions/"))
    client.post("/account/sessions/")
    assert is_in(client)
    assert not is_in(other)


def test_a_new_password_is_recorded_and_ends_other_sessions(client, mira):
    other = Client()
    sign_in(other)
    sign_in(client)
    new = "another harbour 72 lamps"
    answer = client.post("/account/password/change/", {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert answer.status_code == 302
    assert events(Event.USER_PASSWORD_CHANGED)
    assert not is_in(other)


def test_a_one_time_link_is_the_way_in_for_whoever_lost_the_device(client, mira, secret):
    mira.refresh_from_db()  # a link ends with the next sign-in
    link = issue_sign_in_link(mira, base="", actor=Actor.system("test"))
    fields = dict(re.findall(r'name="(user|key)" value="([^"]+)"', text(client.get(link))))
    assert client.post("/sign-in/", fields).status_code == 302
    assert is_in(client)
    assert "This one" in text(client.get("/account/sessions/"))
