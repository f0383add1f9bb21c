"""Which function looks at which kind of connection, and which one tries it without looking."""

from collections.abc import Callable

from inventory.listings import aws, mcp_config, mcp_servers, oauth, plug_in, postgres
from inventory.listings.base import Batch, Clock, Listing, Place
from inventory.states import ConnectionKind

LISTINGS: dict[str, Listing] = {
    ConnectionKind.AWS: aws.look,
    ConnectionKind.MCP_CONFIG: mcp_config.look,
    ConnectionKind.MCP_SERVER: mcp_servers.look,
    ConnectionKind.OAUTH: oauth.look,
    ConnectionKind.PLUG_IN: plug_in.look,
    ConnectionKind.POSTGRES: postgres.look,
}

# The cheapest call that proves the identity, answered with a sentence. Raises `providers.errors.ProviderError`. It is
# given a connection that need not be saved, and writes nothing.
CHECKS: dict[str, Callable[[Place], str]] = {
    ConnectionKind.AWS: lambda place: aws.connect(place.settings).check(),
    ConnectionKind.MCP_CONFIG: mcp_config.check,
    ConnectionKind.MCP_SERVER: mcp_servers.check,
    ConnectionKind.OAUTH: oauth.check,
    ConnectionKind.PLUG_IN: plug_in.check,
    ConnectionKind.POSTGRES: lambda place: postgres.connect(place.settings).check(),
}

__all__ = ["CHECKS", "LISTINGS", "Batch", "Clock", "Listing", "Place"]
