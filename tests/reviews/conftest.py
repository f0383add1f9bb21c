"""What tests of evidence share: one pack, made once and only read, and the official schema of OSCAL."""

import jsonschema_rs
import pytest
from django.db import transaction
from pytest_django.plugin import DjangoDbBlocker

from tests.reviews.packed import an_estate, official_oscal, packed


@pytest.fixture(scope="session")
def oscal() -> jsonschema_rs.Draft7Validator:
    return official_oscal()


class _Enough(Exception):
    pass


@pytest.fixture(scope="session")
def shared_pack(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> bytes:
    """A pack of a small estate, which is gone again when it is read."""
    made = []
    with django_db_blocker.unblock():
        try:
            with transaction.atomic():
                an_estate()
                made.append(packed())
                raise _Enough
        except _Enough:
            pass
    return made[0]


@pytest.fixture
def mail_is_on(settings) -> None:
    settings.MAIL_SERVER = object()
    settings.PUBLIC_URL = "https://keyreeve.halden.example"
    settings.DEFAULT_FROM_EMAIL = "keyreeve@halden.example"
