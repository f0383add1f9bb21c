"""How mail leaves: pure, from what the operator set. Each refusal is a sentence that holds no password."""

import re
from dataclasses import dataclass
from email.utils import getaddresses
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

PORTS = {"smtp": 587, "smtps": 465}
_ADDRESS = re.compile(r"[^\s@<>,;:\"\\]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")


@dataclass(frozen=True, slots=True)
class MailServer:
    """An SMTP server. Its password shows in no representation."""

    host: str
    port: int
    user: str
    password: str
    starts_tls: bool  # by STARTTLS, which it must offer
    is_tls: bool  # from the first byte

    def __repr__(self) -> str:
        return f"MailServer({self.host}:{self.port})"


def mail_server(url: str) -> MailServer | None:
    """The server of `smtp://user:password@host:port` or `smtps://…`; None when none is set.

    `smtp` turns to TLS by STARTTLS. On this machine it need not, and elsewhere `?starttls=no` leaves it out, with no
    password then: it would be read on the way.
    """
    if not url:
        return None
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        # Without the cause: it holds the address and its password.
        raise ImproperlyConfigured("KEYREEVE_MAIL_URL is no address of a mail server.") from None
    if scheme not in PORTS or not _HOST.fullmatch(host):
        raise ImproperlyConfigured(
            "KEYREEVE_MAIL_URL must be smtp://host or smtps://host, with user and port if needed."
        )
    if parts.path.strip("/") or parts.fragment or options.keys() - {"starttls"}:
        raise ImproperlyConfigured("KEYREEVE_MAIL_URL holds more than user, host, port and starttls.")
    if options.get("starttls", "yes") not in {"yes", "no"} or (options and scheme == "smtps"):
        raise ImproperlyConfigured("KEYREEVE_MAIL_URL: starttls is yes or no, and only for smtp://.")
    is_here = host == "localhost" or _is_loopback(host)
    starts_tls = scheme == "smtp" and options.get("starttls", "no" if is_here else "yes") == "yes"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise ImproperlyConfigured("KEYREEVE_MAIL_URL names a user without a password, or a password without a user.")
    if password and not (starts_tls or scheme == "smtps" or is_here):
        raise ImproperlyConfigured(
            "KEYREEVE_MAIL_URL would send a password in clear. Use smtps:// or leave out starttls=no."
        )
    return MailServer(host, port or PORTS[scheme], user, password, starts_tls, scheme == "smtps")


def mail_from(text: str) -> str:
    """`Keyreeve <keyreeve@example.org>` or the address alone."""
    found = getaddresses([text])
    name, address = found[0] if len(found) == 1 else ("", "")
    if not _ADDRESS.fullmatch(address) or not text.isprintable() or len(text) > 300 or "@" in name:
        raise ImproperlyConfigured("KEYREEVE_MAIL_FROM must be an address such as Keyreeve <keyreeve@example.org>.")
    return text


def public_url(text: str) -> str:
    """Where people reach Keyreeve, without a slash at the end; empty when nothing is set."""
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        is_sound = parts.scheme in {"http", "https"} and bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0
    except ValueError:
        is_sound = False
    if not is_sound or not text.isprintable() or any(sign in text for sign in "@?#<>\"' ") or len(text) > 300:
        raise ImproperlyConfigured("KEYREEVE_URL must be the address people use, such as https://keyreeve.example.org.")
    return text.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
