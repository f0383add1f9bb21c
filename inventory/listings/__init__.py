"""Which function looks at which kind of connection."""

from inventory.listings import aws, mcp_config, mcp_servers, oauth, postgres
from inventory.listings.base import Batch, Clock, Listing, Place
from inventory.states import ConnectionKind

LISTINGS: dict[str, Listing] = {
    ConnectionKind.AWS: aws.look,
    ConnectionKind.MCP_CONFIG: mcp_config.look,
    ConnectionKind.MCP_SERVER: mcp_servers.look,
    ConnectionKind.OAUTH: oauth.look,
    ConnectionKind.POSTGRES: postgres.look,
}

__all__ = ["LISTINGS", "Batch", "Clock", "Listing", "Place"]
