"""Which function looks at which kind of connection."""

from inventory.listings import mcp_config
from inventory.listings.base import Batch, Clock, Listing, Place
from inventory.states import ConnectionKind

LISTINGS: dict[str, Listing] = {
    ConnectionKind.MCP_CONFIG: mcp_config.look,
}

__all__ = ["LISTINGS", "Batch", "Clock", "Listing", "Place"]
