"""How the mail server, the sender and the public address are set."""

import secrets

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.mail import mail_from, mail_server, public_url


@pytest.mark.parametrize(
    ("url", "port", "starts_tls", "is_tls"),
    [
        ("smtps://robot:{}@mail.example.org", 465, False, True),
        ("smtp://robot:{}@mail.example.org", 587, True, False),
        ("smtp://mail.example.org:25?starttls=no", 25, False, False),
        ("smtp://robot:{}@localhost:2525", 2525, False, False),
        ("smtp://127.0.0.1?starttls=yes", 587, True, False),
    ],
)
def test_a_mail_server_is_reached_by_tls_unless_it_is_here_or_gets_no_password(url, port, starts_tls, is_tls):
    server = mail_server(url.format("p%40ss"))
    assert server is not None
    assert (server.port, server.starts_tls, server.is_tls) == (port, starts_tls, is_tls)
    assert server.password in {"", "p@ss"}


@pytest.mark.parametrize(
    "url",
    [
        "smtp://robot:{}@mail.example.org?starttls=no",
        "smtp://robot:{}@mail.example.org:port",
        "http://robot:{}@mail.example.org",
        "smtp://robot:{}@mail.example.org/path",
        "smtp://robot:{}@mail.example.org?tls=no",
        "smtps://robot:{}@mail.example.org?starttls=no",
        "smtp://:{}@mail.example.org",
        "smtp://robot:{}@",
        "{}",
    ],
)
def test_a_bad_mail_server_stops_the_start_with_a_sentence_that_holds_no_password(url):
    password = secrets.token_urlsafe(16)
    with pytest.raises(ImproperlyConfigured, match="KEYREEVE_MAIL_URL") as caught:
        mail_server(url.format(password))
    assert password not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_password_shows_in_no_representation_of_the_server():
    password = secrets.token_urlsafe(16)
    assert password not in repr(mail_server(f"smtps://robot:{password}@mail.example.org"))
    assert mail_server("") is None


@pytest.mark.parametrize("text", ["Keyreeve <keyreeve@halden.example>", "keyreeve@halden.example"])
def test_a_sender_is_an_address_with_or_without_a_name(text):
    assert mail_from(text) == text


@pytest.mark.parametrize(
    "text", ["Keyreeve", "a@b@c", "x@y.example\r\nBcc: z@y.example", "a@b.example, c@d.example", ""]
)
def test_what_is_no_single_sender_is_refused(text):
    with pytest.raises(ImproperlyConfigured, match="KEYREEVE_MAIL_FROM"):
        mail_from(text)


@pytest.mark.parametrize(
    "text", ["https://keyreeve.halden.example/", "http://127.0.0.1:8000", "https://one.example/reeve"]
)
def test_a_public_address_has_no_slash_at_its_end(text):
    assert public_url(text) == text.rstrip("/")


@pytest.mark.parametrize(
    "text", ["keyreeve.example", "ftp://x.example", "https://u:p@x.example", "https://x.example/?a=1", "https://x:0"]
)
def test_what_is_no_public_address_is_refused(text):
    with pytest.raises(ImproperlyConfigured, match="KEYREEVE_URL"):
        public_url(text)
