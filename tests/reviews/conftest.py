"""What tests of evidence share: one pack, made once and only read."""

import pytest
from django.db import transaction
from pytest_django.plugin import DjangoDbBlocker

from tests.reviews.packed import an_estate, packed


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
