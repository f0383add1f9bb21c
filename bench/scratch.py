"""A database for one benchmark: made empty beside the configured one, migrated, and dropped afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection, connections

NAME = "keyreeve_bench"


@contextmanager
def scratch_database() -> Iterator[None]:
    """Inside, Django's default connection is a fresh, migrated database; afterwards it is the configured one again."""
    was = settings.DATABASES["default"]["NAME"]
    connection.settings_dict["TEST"]["NAME"] = NAME
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connections.close_all()
        connection.creation.destroy_test_db(was, verbosity=0)
