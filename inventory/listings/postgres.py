"""Lists the login roles of a PostgreSQL cluster."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from inventory.listings.base import Batch, Place
from inventory.listings.provided import Settings, batches
from inventory.outside import database_addresses, references
from providers.base import Provider, Secret
from providers.errors import Permanent
from providers.postgres import Roles, Target

HERE = "localhost"


def look(place: Place) -> Iterator[Batch]:
    return batches(connect(place.settings, label=place.connection.name).discover(), place.clock)


def connect(given: Mapping[str, Any], *, label: str = "") -> Provider:
    """The provider that a connection's settings describe. Raises `ProviderError` with what is wrong in them.

    `label` is what people call the cluster: its roles are named after it.
    """
    settings = Settings(given)
    host, user, password = (settings.text(name) for name in ("host", "user", "password"))
    if not host or not user:
        raise Permanent("Name the host and the user to connect as.")
    bound_to, date_key = settings.text("bound_to"), settings.text("password_date")
    target = Target(
        host=host,
        port=settings.number("port", 5432),
        database=settings.text("database", "postgres"),
        user=user,
        password=_password(password, bound_to=bound_to, host=HERE if host.startswith("/") else host),
        sslmode=settings.text("sslmode"),
        sslrootcert=settings.text("sslrootcert"),
    )
    settings.end()
    reachable = replace(target, addresses=database_addresses(target.host, target.port))
    return Roles(reachable, label=label, date_key=date_key)


def _password(reference: str, *, bound_to: str, host: str) -> Secret | None:
    if not reference:
        return None
    if not bound_to:
        raise Permanent("Say as bound_to which host the password is meant for; localhost for a socket.")
    return references().resolve(reference, bound_to=bound_to, host=host)
