"""Every check of the authorization checklist by its id: of MCP servers, of authorization servers and of clients."""

from collections.abc import Mapping

from inventory.posture import authorization_servers, clients
from inventory.posture.model import Check, Target
from inventory.posture.servers import SERVER_CHECKS

AUTHORIZATION_SERVER_CHECKS: Mapping[str, Check] = {check.id: check for check in authorization_servers.CHECKS}
CLIENT_CHECKS: Mapping[str, Check] = {check.id: check for check in clients.CHECKS}
CHECKS: Mapping[str, Check] = {**SERVER_CHECKS, **AUTHORIZATION_SERVER_CHECKS, **CLIENT_CHECKS}


def about(target: Target) -> list[Check]:
    """The checks of one kind of subject, in the order of the checklist."""
    return [check for check in CHECKS.values() if check.target is target]
