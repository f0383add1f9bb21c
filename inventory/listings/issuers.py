"""One judgement of an authorization server, whoever looked at it: what this look saw, and what is known besides.

An authorization server is met from two sides, by the MCP servers that name it and by a connection of its own. Each
side alone knows a part; judged by its part alone, a server would change its verdicts with every other look.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from inventory.actions.issuers import SeenIssuer
from inventory.actions.posture import latest_documents
from inventory.listings import recorded
from inventory.models import Connection, McpServer
from inventory.posture.authorization_servers import is_external, judge_issuer
from inventory.posture.model import Target
from inventory.states import ConnectionKind
from providers.observations import IssuerObservation

MOST_SERVERS = 10_000  # more of them tell nothing new about those that they rely on
# What an operator says of a server in its own connection: whether it is an identity provider of the organisation.
ROLES = {"": None, "identity_provider": True, "delegated_layer": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at an authorization server, with what it saw of the MCP servers behind."""

    observation: IssuerObservation
    servers: Collection[str] = ()  # their addresses
    newest_version: str = ""
    is_one_of_several: bool = False
    is_keeper: bool = False  # it was asked gently, as one that had kept a client of a check


@dataclass(slots=True)
class _Known:
    servers: set[str] = field(default_factory=set)
    versions: set[str] = field(default_factory=set)
    is_one_of_several: bool = False


def judged(looks: Sequence[Look]) -> list[SeenIssuer]:
    """What the checklist says of each, ready to be recorded. An operator's word beats what follows from addresses."""
    issuers = [look.observation.issuer for look in looks]
    known = _known(issuers)
    answers = recorded.answers(issuers)
    roles = _roles(issuers)
    seen = []
    for look, issuer in zip(looks, issuers, strict=True):
        behind = known[issuer]
        servers = sorted({*behind.servers, *look.servers})
        role = roles.get(issuer)
        outside = _follows(issuer, servers) if role is None else role
        results = judge_issuer(
            look.observation,
            expected_issuer=issuer,
            newest_version=max({*behind.versions, look.newest_version}),
            servers=servers,
            is_external=outside,
            is_one_of_several=look.is_one_of_several or behind.is_one_of_several,
            answers=answers.get(issuer),
        )
        seen.append(
            SeenIssuer(
                issuer=issuer,
                metadata=look.observation.metadata,
                is_external=outside,
                results=recorded.remembering(results, is_keeper=look.is_keeper),
            )
        )
    return seen


def _known(issuers: Iterable[str]) -> dict[str, _Known]:
    """What the inventory holds of the MCP servers behind each issuer."""
    relying = McpServer.objects.present().filter(authorization_server__issuer__in=issuers).order_by("pk")
    rows = list(relying.values_list("authorization_server__issuer", "pk", "url", "protocol_versions")[:MOST_SERVERS])
    published = latest_documents(Target.SERVER, [pk for _, pk, _, _ in rows])
    found: dict[str, _Known] = defaultdict(_Known)
    for issuer, pk, url, versions in rows:
        behind = found[issuer]
        behind.servers.update([url] if url else [])
        behind.versions.update(versions)
        behind.is_one_of_several |= len(published.get(pk, {}).get("authorization_servers") or ()) > 1
    return found


def _roles(issuers: Iterable[str]) -> dict[str, bool | None]:
    told = Connection.objects.filter(kind=ConnectionKind.OAUTH, settings__issuer__in=list(issuers)).order_by("pk")
    said = told.values_list("settings__issuer", "settings__role")
    return {issuer: ROLES[role] for issuer, role in said if role in ROLES and role}


def _follows(issuer: str, servers: Iterable[str]) -> bool | None:
    """One server on its own host is enough: there it is that server's layer, whoever else relies on it."""
    found = {is_external(issuer, url) for url in servers}
    return False if False in found else True if found == {True} else None
