"""Lists the login roles of a PostgreSQL cluster."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from inventory.listings.base import Batch, Place
from inventory.listings.provided import Settings, batches
from inventory.outside import database_addresses, references
from providers.base import Operable, Provider, Secret
from providers.errors import Permanent
from providers.postgres import Roles, Target
from providers.postgres_logins import Logins

HERE = "localhost"
PAIR = "_a,_b"


def look(place: Place) -> Iterator[Batch]:
    return batches(connect(place.settings, label=place.connection.name).discover(), place.clock)


def check(place: Place) -> str:
    return connect(place.settings).check()


def connect(given: Mapping[str, Any], *, label: str = "") -> Provider:
    """The provider that a connection's settings describe. Raises `ProviderError` with what is wrong in them.

    `label` is what people call the cluster: its roles are named after it.
    """
    known = _Known(given)
    return Roles(known.reachable(known.reader()), label=label, date_key=known.date_key)


def operable(given: Mapping[str, Any], *, label: str = "") -> Operable:
    """What rotates and revokes there: as the operator that the settings name, else as the one who reads."""
    known = _Known(given)
    return Logins(known.reachable(known.operator()), suffixes=known.suffixes, date_key=known.date_key)


class _Known:
    """A connection's settings, read."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        settings = Settings(given)
        self._host, self._user, self._password = (settings.text(name) for name in ("host", "user", "password"))
        if not self._host or not self._user:
            raise Permanent("Name the host and the user to connect as.")
        self._operator, self._operator_password = settings.text("operator"), settings.text("operator_password")
        self._bound_to, self.date_key = settings.text("bound_to"), settings.text("password_date")
        one, comma, other = (settings.text("pair") or PAIR).partition(",")
        if not comma:
            raise Permanent(f"The setting pair is how the names of two alternating logins end, such as {PAIR}.")
        self.suffixes = (one.strip(), other.strip())
        self._port, self._database = settings.number("port", 5432), settings.text("database", "postgres")
        self._sslmode, self._sslrootcert = settings.text("sslmode"), settings.text("sslrootcert")
        settings.end()

    def reader(self) -> Target:
        return self._target(self._user, self._password)

    def operator(self) -> Target:
        if not self._operator:
            return self.reader()
        return self._target(self._operator, self._operator_password)

    def reachable(self, target: Target) -> Target:
        return replace(target, addresses=database_addresses(target.host, target.port))

    def _target(self, user: str, password: str) -> Target:
        local = HERE if self._host.startswith("/") else self._host
        return Target(
            host=self._host,
            port=self._port,
            database=self._database,
            user=user,
            password=_password(password, bound_to=self._bound_to, host=local),
            sslmode=self._sslmode,
            sslrootcert=self._sslrootcert,
        )


def _password(reference: str, *, bound_to: str, host: str) -> Secret | None:
    if not reference:
        return None
    if not bound_to:
        raise Permanent("Say as bound_to which host the password is meant for; localhost for a socket.")
    return references().resolve(reference, bound_to=bound_to, host=host)
