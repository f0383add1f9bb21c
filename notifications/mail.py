"""Notices as mails, and the one way by which they leave: a plain text with a simple HTML beside it.

Nothing in them is fetched from anywhere and nothing tells who read them. What a mail server says is repeated only as
the number of its answer: its words could hold what it was sent.
"""

import re
import smtplib
from email.utils import format_datetime, parseaddr
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend
from django.core.validators import validate_email
from django.template.loader import render_to_string

from notifications.errors import MailServerAway, NoLongerWanted, Undelivered
from notifications.kinds import KINDS
from notifications.models import Notice

PREFERENCES = "/account/notifications/"
_SPACED = re.compile(r"\n{3,}")  # what a template leaves where it says nothing


def is_on() -> bool:
    """Whether a mail server is set up."""
    return settings.MAIL_SERVER is not None


def address_of(notice: Notice) -> str:
    """Where a notice goes. Raises NoLongerWanted where there is no such place any more."""
    address = notice.recipient.address if notice.recipient else ""
    if not address:
        raise NoLongerWanted("Its receiver has no address, or is not active any more.")
    try:
        validate_email(address)
        address.encode("ascii")
    except (ValidationError, UnicodeEncodeError) as exc:
        raise NoLongerWanted("The address of its receiver is none that mail can be sent to.") from exc
    return address


def rendered(notice: Notice) -> EmailMultiAlternatives:
    """The mail that tells a notice. Raises NoLongerWanted."""
    kind = KINDS.get(notice.kind)
    if kind is None or not kind.template:
        raise NoLongerWanted("This release knows no such mail.")
    context: dict[str, Any] = {
        **notice.data,
        "subject": notice.subject,
        "base": settings.PUBLIC_URL,
        "preferences_url": f"{settings.PUBLIC_URL}{PREFERENCES}",
        "estate_name": settings.ESTATE_NAME,
    }
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]
    mail = EmailMultiAlternatives(
        subject=notice.subject,
        body=_SPACED.sub("\n\n", render_to_string(f"{kind.template}.txt", context)).strip() + "\n",
        to=[address_of(notice)],
        headers={
            "Message-ID": f"<{notice.pk}@{domain}>",  # the same at every try
            "Date": format_datetime(notice.created_at),
            "List-Id": f"<notices.{urlsplit(settings.PUBLIC_URL).hostname or domain}>",
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
        },
    )
    mail.attach_alternative(render_to_string(f"{kind.template}.html", context), "text/html")
    return mail


class Mailer:
    """One session with the mail server. Opening and sending raise `Undelivered`."""

    def __init__(self) -> None:
        self._backend = EmailBackend()

    def __enter__(self) -> Self:
        try:
            self._backend.open()
        except (smtplib.SMTPException, OSError, ValueError) as exc:
            raise MailServerAway(_said(exc)) from exc
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._backend.close()

    def send(self, notice: Notice) -> None:
        """Raises NoLongerWanted, `Undelivered` for this mail alone and MailServerAway for all."""
        mail = rendered(notice)
        try:
            self._backend.send_messages([mail])
        except smtplib.SMTPRecipientsRefused as exc:
            code = max((code for code, _ in exc.recipients.values()), default=0)
            raise Undelivered(f"The mail server refuses the receiver ({code}).", is_final=code >= 500) from exc
        except smtplib.SMTPResponseException as exc:
            if exc.smtp_code == 421:
                raise MailServerAway(_said(exc)) from exc
            is_final = exc.smtp_code >= 500 and not isinstance(exc, smtplib.SMTPSenderRefused)
            raise Undelivered(_said(exc), is_final=is_final) from exc
        except (smtplib.SMTPException, OSError) as exc:
            raise MailServerAway(_said(exc)) from exc


def _said(exc: BaseException) -> str:
    """What went wrong, in our words: those of a server may repeat what it was sent."""
    match exc:
        case smtplib.SMTPAuthenticationError():
            return f"The mail server refuses the user or the password ({exc.smtp_code})."
        case smtplib.SMTPSenderRefused():
            return f"The mail server refuses KEYREEVE_MAIL_FROM ({exc.smtp_code})."
        case smtplib.SMTPResponseException():
            return f"The mail server answers {exc.smtp_code}."
        case smtplib.SMTPNotSupportedError():
            return "The mail server does not offer what KEYREEVE_MAIL_URL asks for: STARTTLS or signing in."
        case smtplib.SMTPServerDisconnected():
            return "The mail server broke the connection."
        case TimeoutError():
            return f"The mail server did not answer within {settings.EMAIL_TIMEOUT} s."
        case OSError() if exc.strerror:
            return f"The mail server cannot be reached: {exc.strerror.lower()}."
        case _:
            return f"The mail server cannot be used: {type(exc).__name__}."
