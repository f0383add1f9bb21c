"""Which module looks at which kind of connection, and tries one without looking.

A module is imported when it is first asked for: the SDKs behind them take longer to load than all else of a command,
and most processes ask for none of them.
"""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TypeVar

from inventory.listings.base import Batch, Clock, Listing, Place
from inventory.states import ConnectionKind

T = TypeVar("T")

MODULES: Mapping[str, str] = {
    ConnectionKind.AWS: "inventory.listings.aws",
    ConnectionKind.MCP_CONFIG: "inventory.listings.mcp_config",
    ConnectionKind.MCP_SERVER: "inventory.listings.mcp_servers",
    ConnectionKind.OAUTH: "inventory.listings.oauth",
    ConnectionKind.PLUG_IN: "inventory.listings.plug_in",
    ConnectionKind.POSTGRES: "inventory.listings.postgres",
}


class OnUse(Mapping[str, T]):
    """What modules offer under one name, by the kind of connection."""

    def __init__(self, name: str, modules: Mapping[str, str]) -> None:
        self._name, self._modules = name, modules

    def __getitem__(self, kind: str) -> T:
        found: T = getattr(import_module(self._modules[kind]), self._name)
        return found

    def __contains__(self, kind: object) -> bool:
        return kind in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


LISTINGS: Mapping[str, Listing] = OnUse("look", MODULES)

# The cheapest call that proves the identity, answered with a sentence. Raises `providers.errors.ProviderError`. It is
# given a connection that need not be saved, and writes nothing.
CHECKS: Mapping[str, Callable[[Place], str]] = OnUse("check", MODULES)

__all__ = ["CHECKS", "LISTINGS", "MODULES", "Batch", "Clock", "Listing", "OnUse", "Place"]
