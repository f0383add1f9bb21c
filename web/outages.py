"""Which errors say that the database is away, and not that a statement was wrong."""

from django.db import InterfaceError, OperationalError

# Classes of SQLSTATE: connections, the server's resources, and its shutdown.
AWAY = ("08", "53", "57P")


def database_is_away(error: BaseException | None) -> bool:
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    state = getattr(error.__cause__, "sqlstate", None)
    return state is None or state.startswith(AWAY)
