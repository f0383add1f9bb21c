"""What must be so before Keyreeve starts here; each refusal is a sentence that says what to do."""

import socket
import sys

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from kombu import Connection as BrokerConnection
from kombu.exceptions import OperationalError as BrokerError

from config.errors import CannotStart

OLDEST_PYTHON = (3, 11)


def check_python() -> None:
    if sys.version_info < OLDEST_PYTHON:
        wanted, found = (".".join(map(str, version[:2])) for version in (OLDEST_PYTHON, sys.version_info))
        raise CannotStart(f"Keyreeve needs Python {wanted} or newer, and this is {found}: make PYTHON=python{wanted}")


def check_port(port: int) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.BIND, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except PermissionError as exc:
        raise CannotStart(f"Port {port} is kept for root. Choose one above 1023: KEYREEVE_PORT=8000.") from exc
    except OSError as exc:
        raise CannotStart(
            f"Port {port} on {settings.BIND} cannot be used ({exc.strerror or exc}). "
            f"End the program that has it, or choose another port: KEYREEVE_PORT={port % 65535 + 1}."
        ) from exc


def check_broker() -> None:
    """See that a broker of one's own answers; the default one is the database."""
    if not settings.BROKER_URL:
        return
    with BrokerConnection(settings.BROKER_URL, connect_timeout=3) as broker:
        refusals: tuple[type[BaseException], ...] = (
            BrokerError,
            OSError,
            *broker.connection_errors,
            *broker.channel_errors,
        )
        try:
            broker.ensure_connection(max_retries=1, timeout=5)
        except refusals as exc:
            raise CannotStart(
                f"The broker {broker.as_uri()} does not answer. Start it, or unset KEYREEVE_BROKER_URL: "
                "the database can do its work."
            ) from exc


def is_up_to_date() -> bool:
    """Whether every migration is applied. Refuses a database that has one this version does not know."""
    executor = MigrationExecutor(connection)
    loader = executor.loader
    known = set(loader.disk_migrations)
    known.update(replaced for migration in loader.disk_migrations.values() for replaced in migration.replaces)
    labels = {label for label, _ in known}
    unknown = sorted(key for key in loader.applied_migrations if key[0] in labels and key not in known)
    if unknown:
        raise CannotStart(
            f"This data was written by a newer Keyreeve: this one does not know {'.'.join(unknown[-1])}. "
            "Start that version again, or restore a backup into an empty KEYREEVE_HOME."
        )
    return not executor.migration_plan(loader.graph.leaf_nodes())
