"""What the tests of notices share: somebody to tell, and the servers by which they are told."""

import base64
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from access.actors import Actor, ActorKind
from access.roles import Role
from config.mail import MailServer
from inventory.models import Owner
from inventory.states import Severity
from notifications.models import Endpoint, Recipient
from tests import factories
from tests.factories import NOW
from tests.notifications.receivers import Mailbox, Receiver, http_receiver, smtp_server


@pytest.fixture(scope="session")
def smtp() -> Iterator[Mailbox]:
    with smtp_server() as box:
        yield box


@pytest.fixture
def mailbox(smtp: Mailbox, settings) -> Mailbox:
    """A mail server that is set up, and has got nothing yet."""
    smtp.forget()
    settings.MAIL_SERVER = MailServer("127.0.0.1", smtp.port, "", "", starts_tls=False, is_tls=False)
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", smtp.port, 5
    settings.PUBLIC_URL = "https://keyreeve.halden.example"
    settings.DEFAULT_FROM_EMAIL = "Keyreeve <keyreeve@halden.example>"
    return smtp


@pytest.fixture(scope="session")
def http() -> Iterator[Receiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(http: Receiver, settings) -> Receiver:
    """A program that takes webhooks, on this machine, which is open."""
    http.forget()
    settings.ALLOW_LOOPBACK = True
    return http


@pytest.fixture
def secret_file(tmp_path: Path, settings) -> Callable[[str], tuple[str, str]]:
    """A new secret in a file that may be read by reference: the reference, and the secret."""
    settings.REFERENCE_FOLDERS = (tmp_path,)

    def write(name: str) -> tuple[str, str]:
        value = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        (tmp_path / name).write_text(value)
        return f"file://{tmp_path}/{name}", value

    return write


@pytest.fixture
def endpoint(db, receiver: Receiver, secret_file) -> Endpoint:
    reference, _ = secret_file("one")
    return Endpoint.objects.create(
        name="SIEM",
        url=receiver.url,
        kinds=["findings.severe", "estate.figures"],
        least_severity=Severity.CRITICAL,
        secret=reference,
        bound_to=receiver.url.split("/")[2],
        listens_since=NOW,
        created_at=NOW,
    )


@pytest.fixture
def ana(db) -> Owner:
    return factories.owner(name="Ana Duarte", email="ana@halden.example")


@pytest.fixture
def told(ana: Owner) -> Recipient:
    """Ana, as somebody who gets notices."""
    return Recipient.objects.create(owner=ana, digest_due_at=NOW)


@pytest.fixture
def operator() -> Actor:
    return Actor(ActorKind.USER, "7", "Mira Okafor", frozenset({Role.OPERATOR}), user_id=None)
