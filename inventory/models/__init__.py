"""Tables, constraints and querysets of the inventory."""

from inventory.models.clients import ClientRemoval, Grant, McpClient, Use
from inventory.models.connections import Connection, SyncRun
from inventory.models.credentials import Credential, CredentialVersion, Exposure
from inventory.models.logged import LoggingRecord
from inventory.models.owners import Environment, Owner
from inventory.models.ownership import OwnershipDay, OwnershipQuestion, Tenure
from inventory.models.posture import Manifest, MetadataSnapshot, PostureCheck
from inventory.models.servers import AuthorizationServer, McpServer, Tool

__all__ = [
    "AuthorizationServer",
    "ClientRemoval",
    "Connection",
    "Credential",
    "CredentialVersion",
    "Environment",
    "Exposure",
    "Grant",
    "LoggingRecord",
    "Manifest",
    "McpClient",
    "McpServer",
    "MetadataSnapshot",
    "Owner",
    "OwnershipDay",
    "OwnershipQuestion",
    "PostureCheck",
    "SyncRun",
    "Tenure",
    "Tool",
    "Use",
]
