"""The picture of what a credential or a server ties together, drawn from `Use` rows, with the same as a list."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from django.urls import reverse

from inventory.models import McpServer, Use
from web.lanes import Edge, Lanes, Node, place
from web.wording import short_path

MOST = 12  # boxes in one lane; the list beside the picture has them all
LANES = ("Client", "MCP server", "Credential")


@dataclass(frozen=True)
class Ties:
    picture: Lanes
    lines: list[str]
    left_out: int


def reach_of(server: McpServer) -> str:
    """How the server is reached, in the words under its name: what tells two of one name apart."""
    if not server.package:
        return server.get_transport_display()
    name = server.package.rpartition("/")[2]
    return f"{name}@{server.package_version}" if server.package_version else name


def _held(use: Use) -> str:
    return {"literal": "literal", "reference": "reference", "token_store": "token store"}.get(use.held_as, "")


def of_uses(uses: Iterable[Use], *, about: str) -> Ties:
    """`uses` with client, server and credential loaded; the subject's own boxes are inked by the caller's choice."""
    nodes: dict[str, Node] = {}
    edges: dict[tuple[str, str], Edge] = {}
    lines: list[str] = []
    per_lane = [0, 0, 0]
    left_out: set[str] = set()

    def add(node: Node) -> str | None:
        if node.key not in nodes:
            if per_lane[node.lane] >= MOST:
                left_out.add(node.key)
                return None
            per_lane[node.lane] += 1
            nodes[node.key] = node
        return node.key

    for use in uses:
        client, server, credential = use.client, use.server, use.credential
        literal = use.held_as == "literal"
        tone = "bad" if literal else "on"
        ends = [
            add(
                Node(
                    f"c{client.pk}", 0, client.name, short_path(use.file, 2), reverse("client_detail", args=[client.pk])
                )
            ),
            add(Node(f"s{server.pk}", 1, server.name, reach_of(server), reverse("server_detail", args=[server.pk]))),
        ]
        if credential is not None:
            url = reverse("credential_detail", args=[credential.pk])
            kept = credential.hint or credential.reference
            ends.append(add(Node(f"k{credential.pk}", 2, credential.name, kept, url, tone)))
        for start, end in itertools.pairwise(ends):
            if start and end and (edges.get((start, end)) is None or literal):
                edges[start, end] = Edge(start, end, tone if credential is not None else "")
        held = f", by {_held(use)} in {use.file}" if credential is not None else f", named in {use.file}"
        name = f" with {credential.name}" if credential is not None else ""
        lines.append(f"{client.name} → {server.name}{name}{held}")
    count = [sum(node.lane == lane for node in nodes.values()) for lane in range(3)]
    description = f"{count[0]} clients, {count[1]} servers and {count[2]} credentials are tied together here."
    lanes = LANES if count[2] else LANES[:2]
    picture = place(lanes, list(nodes.values()), list(edges.values()), title=about, description=description)
    return Ties(picture, list(dict.fromkeys(lines)), len(left_out))
