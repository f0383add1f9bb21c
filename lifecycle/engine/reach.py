"""From a connection to the provider behind it, from a delivery to its sink."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from inventory import outside
from inventory.listings import MODULES, OnUse
from inventory.models import Connection
from inventory.states import ConnectionKind
from lifecycle.models import Delivery
from lifecycle.states import OPERABLE
from providers import memory
from providers.base import Operable, SecretSink
from providers.errors import Permanent

MEMORY = "memory"
# How to operate what is listed, and how to leave secrets there: in the modules that list it.
OPERABLES: Mapping[str, Callable[..., Operable]] = OnUse("operable", {kind: MODULES[kind] for kind in OPERABLE})
SINKS_THERE: Mapping[str, Callable[..., SecretSink]] = OnUse(
    "sink", {kind: MODULES[kind] for kind in (ConnectionKind.AWS, ConnectionKind.PLUG_IN)}
)
# Which function makes a sink that needs no connection.
SINKS: Mapping[str, str] = {"file": "file_sink", "mcp_config": "mcp_config_sink"}


@dataclass(frozen=True, slots=True)
class Reach:
    """How the engine gets at providers and sinks."""

    operable: Callable[[Connection, str], Operable]
    sink: Callable[[Delivery], SecretSink]


def operable(connection: Connection, kind: str) -> Operable:
    """What can be asked there of credentials of this kind. Raises `ProviderError` where nobody can be asked."""
    if connection.kind == ConnectionKind.PLUG_IN and connection.settings.get("provider") == MEMORY:
        return memory.provider(connection.settings, label=connection.name)
    make = OPERABLES.get(connection.kind)
    if make is None:
        raise Permanent(f"Nothing of {connection.name} can be rotated or revoked by Keyreeve; it is done by hand.")
    if connection.kind == ConnectionKind.OAUTH:  # where tokens and client secrets are different things
        return make(connection.settings, label=connection.name, kind=kind)
    return make(connection.settings, label=connection.name)


def sink(delivery: Delivery) -> SecretSink:
    """Raises `ProviderError` where there is no such sink, or it lacks what it needs."""
    if delivery.sink in SINKS:
        alone: Callable[[], SecretSink] | None = getattr(outside, SINKS[delivery.sink], None)
        if alone is not None:
            return alone()
    elif delivery.connection is None:
        raise Permanent(f"The sink {delivery.sink} needs a connection by whose rights it is written.")
    elif delivery.sink == MEMORY:
        return memory.sink(delivery.connection.settings)
    elif delivery.connection.kind == ConnectionKind.PLUG_IN:
        return SINKS_THERE[ConnectionKind.PLUG_IN](delivery.sink, delivery.connection.settings)
    elif delivery.connection.kind == ConnectionKind.AWS:
        return SINKS_THERE[ConnectionKind.AWS](delivery.connection.settings)
    raise Permanent(f"There is no sink {delivery.sink} in this installation.")


REACH = Reach(operable, sink)
