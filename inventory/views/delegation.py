"""The delegation picture: on whose behalf a client reaches a server, who vouches for it, and what it opens there.

user → client → server → authorization server → resource, drawn from uses, with the same as a list. A static service
key goes round the user and the authorization server; that is a way of its own in the picture, in words.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django.db.models import Count, QuerySet
from django.urls import reverse

from access.actors import Actor
from inventory.models import Credential, McpClient, McpServer, Use
from inventory.states import Storage, Transport, TrustModel
from web.lanes import Edge, Lanes, Node, place
from web.wording import plural, thousands

LANES = ("User", "Client", "MCP server", "Authorization server", "Resource")
USER, CLIENT, SERVER, AUTHORIZATION, RESOURCE = range(len(LANES))
PATHS = 2_000  # different paths that are looked at
LISTED = 300  # of them in the list beside the picture

# How a path is trusted: its class in the picture, its words in the legend, on its way, and under its user.
CONSENTED, STATIC, LITERAL, UNKNOWN, OPEN = "consented", "static", "bad", "unknown", "open"
WORDS = {
    CONSENTED: "on behalf of a user who consented",
    STATIC: "static service key, nobody consents",
    LITERAL: "static service key, literal in a file",
    UNKNOWN: "credential of unknown trust",
    OPEN: "no credential",
}
ON_ITS_WAY = {STATIC: "static key", LITERAL: "literal static key", UNKNOWN: "trust unknown", OPEN: "no credential"}
FIELDS = (
    "client_id", "client__name", "client__host", "client__product",
    "server_id", "server__name", "server__package", "server__package_version", "server__transport",
    "server__authorization_server_id", "server__authorization_server__issuer",
    "credential_id", "credential__name", "credential__hint", "credential__reference", "credential__issuer",
    "credential__trust_model", "credential__subject", "held_as",
)  # fmt: skip


@dataclass(frozen=True)
class Trust:
    """One way of trusting, for the legend: its class, its words and how many paths there are."""

    tone: str
    words: str
    count: int


@dataclass(frozen=True)
class Delegation:
    picture: Lanes
    legend: list[Trust]
    lines: list[str]
    more: int  # paths that the list leaves out
    is_cut: bool  # whether there are more paths than were looked at


@dataclass(frozen=True)
class _Known:
    """What the actor may open. An owner reads names next to what is theirs, and of foreign credentials nothing."""

    all: bool
    keys: frozenset[UUID] = frozenset()

    def has(self, key: UUID | None) -> bool:
        return key is not None and (self.all or key in self.keys)


def delegation(uses: QuerySet[Use], actor: Actor, *, about: str, subject: UUID) -> Delegation | None:
    """The picture of `uses`, with the row `subject` inked; None where there are none."""
    found = list(uses.present().order_by().values(*FIELDS).annotate(places=Count("pk"))[: PATHS + 1])  # type: ignore[attr-defined]
    paths = [_Path(row) for row in found[:PATHS]]
    if not paths:
        return None
    paths.sort(key=lambda path: (path.server, path.client, path.row["credential__name"] or ""))
    drawing = _Drawing(_known(actor, paths), subject)
    for path in paths:
        drawing.add(path)
    counts = Counter(path.trust for path in paths)
    picture = place(
        LANES,
        list(drawing.nodes.values()),
        list(drawing.edges),
        title=about,
        description=_described(drawing, counts),
        merge=_merging(subject, paths),
    )
    return Delegation(
        picture=picture,
        legend=[Trust(tone, words, counts[tone]) for tone, words in WORDS.items() if counts[tone]],
        lines=list(drawing.lines)[:LISTED],
        more=max(len(drawing.lines) - LISTED, 0),
        is_cut=len(found) > PATHS,
    )


class _Path:
    """One way from a client to what it opens."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.row = row
        self.client: str = row["client__name"]
        self.server: str = row["server__name"]
        self.trust = self._trust()

    def _trust(self) -> str:
        if self.row["credential_id"] is None:
            return OPEN
        model = self.row["credential__trust_model"]
        if model == TrustModel.USER_CONSENTED:
            return CONSENTED
        if model != TrustModel.STATIC_SERVICE:
            return UNKNOWN
        return LITERAL if self.row["held_as"] == Storage.LITERAL else STATIC


def reach_of(package: str, version: str, transport: str) -> str:
    """How a server is reached, in the words under its name: what tells two of one name apart."""
    if not package:
        return str(dict(Transport.choices).get(transport, transport))
    name = package.rpartition("/")[2]
    return f"{name}@{version}" if version else name


def _known(actor: Actor, paths: Sequence[_Path]) -> _Known:
    if actor.sees_everything:
        return _Known(True)
    found: set[UUID] = set()
    for model, column in ((McpClient, "client_id"), (McpServer, "server_id"), (Credential, "credential_id")):
        ids = {path.row[column] for path in paths if path.row[column]}
        found.update(model._default_manager.visible_to(actor).filter(pk__in=ids).values_list("pk", flat=True))  # type: ignore[attr-defined]
    return _Known(False, frozenset(found))


class _Drawing:
    """Gathers nodes, edges and lines from paths."""

    def __init__(self, known: _Known, subject: UUID) -> None:
        self.known = known
        self.subject = subject
        self.nodes: dict[str, Node] = {}
        self.edges: dict[Edge, None] = {}
        self.lines: dict[str, None] = {}

    def add(self, path: _Path) -> None:
        stops = [
            self._user(path),
            self._client(path),
            self._server(path),
            self._authorization(path),
            self._resource(path),
        ]
        kept = [self.nodes.setdefault(node.key, node) for node in stops if node is not None]
        for start, end in pairwise(kept):
            self.edges[Edge(start.key, end.key, path.trust)] = None
        places = f", in {plural(path.row['places'], 'place')}" if path.row["places"] > 1 else ""
        said = " → ".join(_said(node) for node in kept)
        self.lines[f"{said}: {WORDS[path.trust]}{places}"] = None

    def _inked(self, key: UUID, tone: str = "") -> dict[str, Any]:
        is_subject = key == self.subject
        return {"tone": "on" if is_subject else tone, "is_kept": is_subject}

    def _url(self, name: str, key: UUID) -> str:
        return reverse(name, args=[key]) if self.known.has(key) else ""

    def _user(self, path: _Path) -> Node:
        if path.trust == CONSENTED:
            subject = path.row["credential__subject"] if self.known.has(path.row["credential_id"]) else ""
            if subject:
                return Node(f"u:{subject}", USER, subject, "consented", group="People")
            return Node("u:", USER, "A user", "not named", title="A user whose name nobody told", tone="open")
        if path.trust == UNKNOWN:
            return Node(
                "u?", USER, "Unknown", "nobody told whose it is", tone="open", title="On whose behalf is unknown"
            )
        if path.trust == OPEN:
            return Node("u-open", USER, "Nobody", "no credential")
        return Node("u-none", USER, "No user", "static service")

    def _client(self, path: _Path) -> Node:
        row = path.row
        return Node(
            f"c{row['client_id']}",
            CLIENT,
            path.client,
            row["client__host"],
            self._url("client_detail", row["client_id"]),
            group=path.client,
            title=f"{path.client} on {row['client__host']}" if row["client__host"] else path.client,
            **self._inked(row["client_id"]),
        )

    def _server(self, path: _Path) -> Node:
        row = path.row
        reach = reach_of(row["server__package"], row["server__package_version"], row["server__transport"])
        return Node(
            f"s{row['server_id']}",
            SERVER,
            path.server,
            reach,
            self._url("server_detail", row["server_id"]),
            group=path.server,
            title=f"{path.server}, {reach}",
            **self._inked(row["server_id"]),
        )

    def _authorization(self, path: _Path) -> Node | None:
        row = path.row
        if path.trust == OPEN:
            return None
        if path.trust != CONSENTED:
            words = ON_ITS_WAY[path.trust]
            return Node(
                f"w{path.trust}{row['server_id']}",
                AUTHORIZATION,
                words,
                tone=path.trust,
                group=words,
                title=WORDS[path.trust],
                is_way=True,
            )
        issuer = row["server__authorization_server__issuer"]
        if issuer is None:
            return Node("a?", AUTHORIZATION, "Not known", "nobody has asked", tone="open")
        if not self.known.has(row["server_id"]):
            return Node("a-foreign", AUTHORIZATION, "Another owner's")
        host = urlsplit(issuer).netloc or issuer
        return Node(f"a{row['server__authorization_server_id']}", AUTHORIZATION, host, title=issuer)

    def _resource(self, path: _Path) -> Node | None:
        row = path.row
        key = row["credential_id"]
        if key is None:
            return None
        if not self.known.has(key):
            return Node("k-foreign", RESOURCE, "Another owner's", "credential", title="Another owner's credential")
        issuer = row["credential__issuer"]
        kept = row["credential__hint"] or row["credential__reference"]
        return Node(
            f"k{key}",
            RESOURCE,
            issuer or row["credential__name"],
            kept or (row["credential__name"] if issuer else "resource unknown"),
            self._url("credential_detail", key),
            title=f"{issuer or 'A resource nobody named'}, with {row['credential__name']}",
            group=issuer or "Resource unknown",
            **self._inked(key, "bad" if path.trust == LITERAL else ""),
        )


def _said(node: Node) -> str:
    if node.lane == RESOURCE:
        return node.title
    if node.lane == AUTHORIZATION and node.is_way:
        return "round the authorization server"
    if node.lane == AUTHORIZATION and not node.title:
        return f"authorization server {node.text.lower()}"
    return node.title or node.text


def _described(drawing: _Drawing, counts: Counter[str]) -> str:
    of = Counter(node.lane for node in drawing.nodes.values() if not node.is_way)
    parts = [f"{thousands(counts[tone])} {words}" for tone, words in WORDS.items() if counts[tone]]
    return (
        f"{plural(of[CLIENT], 'client')}, {plural(of[SERVER], 'server')} and {plural(of[RESOURCE], 'credential')}. "
        f"Paths: {'; '.join(parts)}."
    )


def _merging(subject: UUID, paths: Iterable[_Path]) -> Any:
    """Words and link for boxes that stand for several: the list of them, narrowed by what the page is about."""
    ids: dict[str, set[Any]] = defaultdict(set)
    for path in paths:
        for column in ("client_id", "server_id", "credential_id"):
            ids[column].add(path.row[column])
    about = next((name for name in ("client", "server", "credential") if ids[f"{name}_id"] == {subject}), "")
    nouns = {USER: "user", CLIENT: "client", SERVER: "server", AUTHORIZATION: "authorization server"}
    lists = {CLIENT: "client_list", SERVER: "server_list", RESOURCE: "credential_list"}

    def merge(lane: int, group: str, nodes: Sequence[Node]) -> Node:
        noun = nouns.get(lane, "credential")
        number = plural(len(nodes), noun)
        is_way = all(node.is_way for node in nodes)
        tones = {node.tone for node in nodes}
        narrowed = {"q": group} if group and lane != RESOURCE else {}
        query = urlencode({**({about: str(subject)} if about else {}), **narrowed})
        has_list = lane in lists and any(node.url for node in nodes)
        tone = tones.pop() if len(tones) == 1 else "bad" if LITERAL in tones and not is_way else ""
        return Node(
            f"{lane}+{group}",
            lane,
            (group if is_way and group else "several ways" if is_way else group or f"{thousands(len(nodes))} more"),
            "" if is_way else number if group else f"{noun}s, not drawn singly",
            f"{reverse(lists[lane])}?{query}" if has_list else "",
            tone,
            title=f"{group}: {number}" if group else number,
            is_way=is_way,
        )

    return merge
