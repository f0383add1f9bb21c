"""The default connection as the role that owns the tables, for as long as something is to be changed about them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from django.conf import settings
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper

from config import roles


@contextmanager
def as_owner() -> Iterator[None]:
    """Without effect where one role is given for everything."""
    if settings.OWNER_DATABASE is None:
        yield
        return
    default = cast(DatabaseWrapper, connections["default"])
    was = dict(default.settings_dict)
    _leave(default)
    default.settings_dict.update(settings.OWNER_DATABASE)
    try:
        yield
    finally:
        _leave(default)
        default.settings_dict.update(was)


def grant() -> None:
    """Let the application's role use what the owner has now."""
    if settings.OWNER_CONNINFO:
        roles.grant(settings.OWNER_CONNINFO, str(settings.DATABASES["default"]["USER"]))


def _leave(default: DatabaseWrapper) -> None:
    default.close()
    default.close_pool()
