"""Tables, constraints and querysets of the inventory."""

from inventory.models.clients import Grant, McpClient, Use
from inventory.models.connections import Connection, SyncRun
from inventory.models.credentials import Credential, CredentialVersion, Exposure
from inventory.models.owners import Environment, Owner
from inventory.models.servers import AuthorizationServer, McpServer, PostureCheck, Tool

__all__ = [
    "AuthorizationServer",
    "Connection",
    "Credential",
    "CredentialVersion",
    "Environment",
    "Exposure",
    "Grant",
    "McpClient",
    "McpServer",
    "Owner",
    "PostureCheck",
    "SyncRun",
    "Tool",
    "Use",
]
