"""Declared against observed: what a server's manifest says it needs, and what configurations really hold."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Q

from inventory.discovery.identities import REGISTRIES, address_key, package_key
from inventory.discovery.manifests import ARGUMENT, ENVIRONMENT, HEADER
from inventory.models import Manifest, McpServer, Use
from inventory.states import Storage
from web.wording import plural

USES = 5_000  # places of one server that are compared
PLACES = {
    "env": ENVIRONMENT, "environment": ENVIRONMENT, "envs": ENVIRONMENT, "env_vars": ENVIRONMENT,
    "env_keys": ENVIRONMENT, "environmentVariables": ENVIRONMENT,
    "headers": HEADER, "http_headers": HEADER, "httpHeaders": HEADER, "env_http_headers": HEADER,
    "requestOptions": HEADER, "oauth_headers": HEADER,
    "args": ARGUMENT, "arguments": ARGUMENT, "cmd_args": ARGUMENT,
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """One thing in which declared and observed differ, or agree: its tone and its words."""

    tone: str  # bad, unknown, good
    words: str


@dataclass(frozen=True)
class Line:
    name: str
    place: str
    is_secret: bool
    is_required: bool
    is_declared: bool
    said: list[Said]


@dataclass(frozen=True)
class Comparison:
    manifest: Manifest
    lines: list[Line]
    others: int  # manifests that fit the server too
    clients: int
    is_cut: bool


@dataclass
class _Observed:
    """What configurations hold under one name."""

    clients: set[UUID] = field(default_factory=set)
    literal: set[UUID] = field(default_factory=set)
    by_credential: dict[UUID, set[UUID]] = field(default_factory=lambda: defaultdict(set))


def comparison(server: McpServer) -> Comparison | None:
    """The manifest that declares `server` against the places that configure it; None where none was found."""
    manifests = list(_fitting(server)[:20])
    if not manifests:
        return None
    # Of several that fit: the one of the version in use, else the one that was seen last.
    manifest = next((each for each in manifests if each.version == server.package_version), manifests[0])
    columns = ("client_id", "pointer", "held_as", "credential_id", "credential__name")
    uses = list(Use.objects.present().filter(server=server).values(*columns).order_by("pk")[: USES + 1])
    observed: dict[tuple[str, str], _Observed] = defaultdict(_Observed)
    # Who signed in needs none of the secrets that a manifest asks for instead.
    signed_in = {use["client_id"] for use in uses if use["held_as"] == Storage.TOKEN_STORE}
    clients = {use["client_id"] for use in uses} - signed_in
    for use in uses[:USES]:
        if use["credential_id"] is not None and use["client_id"] in clients:
            place, name = _input(use)
            seen = observed[place, name]
            seen.clients.add(use["client_id"])
            seen.by_credential[use["credential_id"]].add(use["client_id"])
            if use["held_as"] == Storage.LITERAL:
                seen.literal.add(use["client_id"])
    return Comparison(
        manifest=manifest,
        lines=list(_lines(manifest, observed, len(clients))),
        others=len(manifests) - 1,
        clients=len(clients),
        is_cut=len(uses) > USES,
    )


def _fitting(server: McpServer) -> Any:
    fits = Q(pk__in=())
    if server.url:
        fits |= Q(urls__contains=[address_key(server.url)])
    registry = REGISTRIES.get(server.launcher)
    if server.package and registry:
        fits |= Q(packages__contains=[package_key(registry, server.package)])
    return Manifest.objects.present().filter(fits).select_related("connection").order_by("-id")


def _input(use: dict[str, Any]) -> tuple[str, str]:
    """Where in its entry a credential stands, and under which name: as a manifest would call it."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in use["pointer"].split("/")]
    place = next((PLACES[part] for part in reversed(parts) if part in PLACES), "elsewhere")
    name = parts[-1]
    if name.isdecimal() or place in {
        ARGUMENT,
        "elsewhere",
    }:  # a place in a list: what stands there has a name of its own
        name = use["credential__name"].rpartition(" / ")[2]
    return place, _folded(place, name)


def _folded(place: str, name: str) -> str:
    """Headers are the same in capitals and without."""
    return name.lower() if place == HEADER else name


def _lines(manifest: Manifest, observed: dict[tuple[str, str], _Observed], clients: int) -> Iterable[Line]:
    declared: set[tuple[str, str]] = set()
    for each in manifest.inputs:
        key = each["place"], _folded(each["place"], each["name"])
        declared.add(key)
        seen = observed.get(key)
        yield Line(
            each["name"], each["place"], each["is_secret"], each["is_required"], True, list(_said(each, seen, clients))
        )
    for (place, name), seen in sorted(observed.items()):
        if (place, name) not in declared:
            extra = Said("bad", f"Held by {plural(len(seen.clients), 'client')}, and the manifest does not ask for it.")
            yield Line(name, place, True, False, False, [extra, *_held(seen)])


def _said(declared: dict[str, Any], seen: _Observed | None, clients: int) -> Iterable[Said]:
    if seen is None and not declared["is_secret"]:
        yield Said("unknown", "No secret, so whether it is given was not recorded.")
        return
    missing = clients - len(seen.clients if seen else ())
    if missing and clients:
        said = f"Missing in {missing} of {plural(clients, 'client')}." if seen else "In none of the configurations."
        tone = "bad" if declared["is_required"] else "unknown"
        yield Said(tone, f"{said} It may come from the environment that starts the client.")
    elif not clients:
        yield Said("unknown", "No configuration names the server without signing in to it.")
    if seen is not None:
        held = list(_held(seen))
        if not held and not missing:
            yield Said("good", f"Given by reference in {plural(len(seen.clients), 'client')}.")
        yield from held


def _held(seen: _Observed) -> Iterable[Said]:
    if seen.literal:
        yield Said("bad", f"Literal instead of a reference in {plural(len(seen.literal), 'client')}.")
    shared = max((len(clients) for clients in seen.by_credential.values()), default=0)
    if shared > 1:
        yield Said("bad", f"One value is shared by {plural(shared, 'client')}.")
