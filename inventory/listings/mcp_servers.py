"""Looks at live MCP servers: those that the connection names, and those that the inventory knows by their address.

Nothing is changed there, no tool is called, and a server is sent a token only when one was given for it. Each
authorization server that they name is looked at once, however many of them name it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from inventory.actions.issuers import SeenIssuer, record_issuers
from inventory.actions.posture import latest_documents
from inventory.actions.probes import ProbedServer, record_probes
from inventory.discovery.listing import IDENTITY, NAME, Discovered, fit
from inventory.listings import recorded
from inventory.listings.base import Batch, Clock, Place
from inventory.listings.issuers import Look, judged
from inventory.listings.provided import Settings
from inventory.models import McpServer
from inventory.outside import USER_AGENT, guard, references
from inventory.posture.drift import resource_metadata, snapshot, texts
from inventory.posture.model import CheckResult, Target
from inventory.posture.servers import judge_server
from inventory.states import Authentication, Transport, Verdict
from providers.authorization import observe_issuer
from providers.base import Secret
from providers.errors import Permanent, Transient
from providers.fetch import Fetcher, fetch
from providers.mcp import observe_all
from providers.observations import IssuerObservation, ServerObservation

BATCH = 50
MOST_ISSUERS = 500  # a hostile server names as many as it likes
ISSUERS_OF_ONE = 5


@dataclass(frozen=True, slots=True)
class _Asked:
    """The address of a server, and whether the connection names it or the inventory brought it."""

    url: str
    key: str
    is_named: bool


@dataclass(slots=True)
class _Issuers:
    """The authorization servers met so far, with the servers that rely on each."""

    seen: dict[str, IssuerObservation] = field(default_factory=dict)
    relying: dict[str, list[str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    several: set[str] = field(default_factory=set)
    keepers: frozenset[str] = field(default_factory=recorded.keepers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The settings of a connection to live servers, read and judged before anything is asked."""

    urls: tuple[str, ...]
    is_for_known: bool = False
    minimum_version: str = ""
    tokens: tuple[tuple[str, str, str], ...] = ()  # address, reference, the host that it is bound to

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Setup":
        """Raises `Permanent` with what is wrong in a sentence."""
        settings = Settings(given)
        tokens = []
        for entry in settings.entries("tokens"):
            one = Settings(entry if isinstance(entry, Mapping) else {})
            tokens.append((one.text("url"), one.text("reference"), one.text("bound_to")))
            one.end()
        setup = cls(
            urls=tuple(str(url).strip() for url in settings.entries("urls")),
            is_for_known=settings.flag("known", False),
            minimum_version=settings.text("minimum_version"),
            tokens=tuple(tokens),
        )
        settings.end()
        if not setup.urls and not setup.is_for_known:
            raise Permanent("Name the addresses of servers, or let it probe those that the inventory knows.")
        return setup


def look(place: Place) -> Iterator[Batch]:
    setup = Setup.of(place.settings)
    asked, problems = _asked(setup)
    tokens, refused = _tokens(setup)
    yield Batch(problems=[*problems, *refused], expected=len(asked))
    issuers = _Issuers()
    # One loop for all batches. Between two of them it stands still for as long as their rows take to be staged.
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            fetcher = runner.run(stack.enter_async_context(Fetcher(guard(), user_agent=USER_AGENT)))
            found = observe_all(
                [each.url for each in asked.values()], fetcher=fetcher, clock=place.clock, tokens=tokens
            )
            while observed := runner.run(_some(found, fetcher, issuers, place.clock)):
                seen = [(asked[each.url], each) for each in observed]
                yield _batch(place, seen, issuers, setup.minimum_version)
        finally:
            runner.run(stack.aclose())
    if issuers.seen:
        yield Batch(further=[partial(record_issuers, _judged(issuers), now=place.started_at)])


def check(place: Place) -> str:
    """Ask the first server that the connection names one question, and say how it answered. Raises `ProviderError`."""
    setup = Setup.of(place.settings)
    asked, problems = _asked(setup)
    if not asked:
        raise Permanent(problems[0]["reason"] if problems else "The inventory knows no server by its address yet.")
    first = next(iter(asked))
    answer = fetch(guard(), "GET", first, user_agent=USER_AGENT)
    if answer.status is None:
        raise Transient(answer.error)
    return (
        f"{urlsplit(first).netloc} answers. {len(asked)} addresses will be probed."
        if len(asked) > 1
        else (f"{urlsplit(first).netloc} answers.")
    )


async def _some(
    found: AsyncIterator[ServerObservation], fetcher: Fetcher, issuers: _Issuers, clock: Clock
) -> list[ServerObservation]:
    """The next observations, once the authorization servers that they name have been looked at too."""
    observed: list[ServerObservation] = []
    async for each in found:
        observed.append(each)
        if len(observed) >= BATCH:
            break
    new: list[str] = []
    for each in observed:
        named = each.issuers[:ISSUERS_OF_ONE]
        for issuer in named:
            if issuer not in issuers.relying and len(issuers.relying) < MOST_ISSUERS:
                issuers.relying[issuer] = []
                new.append(issuer)
            if issuer in issuers.relying:
                issuers.relying[issuer].append(each.url)
                issuers.versions[issuer] = max(issuers.versions.get(issuer, ""), *each.protocol_versions, "")
                if len(named) > 1:
                    issuers.several.add(issuer)
    looked = await asyncio.gather(
        *(observe_issuer(issuer, fetcher=fetcher, now=clock(), gently=issuer in issuers.keepers) for issuer in new)
    )
    issuers.seen.update(zip(new, looked, strict=True))
    return observed


# ── What to ask ────────────────────────────────────────────────────────────────────────────────
def _asked(setup: Setup) -> tuple[dict[str, _Asked], list[dict[str, Any]]]:
    """By address, each once: as the connection names them, then as the inventory knows them."""
    known: Iterator[tuple[str, str]] = iter(())
    if setup.is_for_known:
        remote = McpServer.objects.present().filter(transport__in=[Transport.HTTP, Transport.SSE])
        known = remote.order_by("pk").values_list("url", "identity_key").iterator()
    asked: dict[str, _Asked] = {}
    problems = []
    for url, key in chain(((url, "") for url in setup.urls), known):
        if url in asked:
            continue
        if fault := _fault(url):
            problems.append({"file": url, "reason": fault})
            continue
        asked[url] = _Asked(url, key or fit(f"url:{url}", IDENTITY), is_named=not key)
    return asked, problems


def _fault(url: str) -> str:
    """Why an address cannot be asked as it stands; empty when it can."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "This is no address."
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "Only http and https addresses can be probed."
    if any(mark in url for mark in "<>{}$…"):
        return "Its configuration fills in a part of this address, so it cannot be asked as it stands."
    return ""


def _tokens(setup: Setup) -> tuple[dict[str, Secret], list[dict[str, Any]]]:
    """The tokens given for single servers, each resolved for the host of its server and no other."""
    tokens: dict[str, Secret] = {}
    problems = []
    for url, reference, bound_to in setup.tokens:
        try:
            tokens[url] = references().resolve(reference, bound_to=bound_to, host=urlsplit(url).netloc)
        except (Permanent, ValueError) as exc:
            problems.append({"file": url, "reason": f"Its token could not be read. {exc}"})
    return tokens, problems


# ── What came of it ────────────────────────────────────────────────────────────────────────────
def _batch(
    place: Place,
    observed: Sequence[tuple[_Asked, ServerObservation]],
    issuers: _Issuers,
    minimum: str,
) -> Batch:
    keys = [each.key for each, _ in observed]
    rows = dict(McpServer.objects.filter(identity_key__in=keys).values_list("identity_key", "pk"))
    before = latest_documents(Target.SERVER, rows.values())
    probed = []
    problems = []
    for asked, observation in observed:
        behind = [issuers.seen[issuer] for issuer in observation.issuers if issuer in issuers.seen]
        # A first look is what later ones are compared with, itself included: the second finds nothing to write.
        previous = before.get(rows[asked.key]) if asked.key in rows else None
        results = judge_server(
            observation, previous=previous or snapshot(observation, behind), issuers=behind, minimum=minimum
        )
        seen = _probed(asked, observation, behind, results)
        probed.append(seen)
        if seen.error:
            problems.append({"file": asked.url, "reason": seen.error})
    return Batch(
        rows=[_row(asked) for asked, _ in observed if asked.is_named],
        done=len(observed),
        problems=problems,
        unread=[problem["file"] for problem in problems],
        further=[partial(record_probes, probed, now=place.started_at)],
    )


def _row(asked: _Asked) -> Discovered:
    parts = urlsplit(asked.url)
    return Discovered(
        file=fit(asked.url, IDENTITY),
        host=fit(parts.hostname or "", 100),
        server_key=asked.key,
        server_name=fit(f"{parts.netloc}{parts.path}".rstrip("/"), NAME),
        transport=Transport.SSE if parts.path.rstrip("/").endswith("/sse") else Transport.HTTP,
        url=fit(asked.url, 2_000),
    )


def _probed(
    asked: _Asked,
    observation: ServerObservation,
    behind: Sequence[IssuerObservation],
    results: Sequence[CheckResult],
) -> ProbedServer:
    if observation.stopped and not any(exchange.is_answered for exchange in observation.exchanges.values()):
        return ProbedServer(identity_key=asked.key, error=observation.stopped)
    metadata = resource_metadata(observation)
    return ProbedServer(
        identity_key=asked.key,
        protocol_versions=observation.protocol_versions,
        authentication=_authentication(observation, results),
        scopes=sorted(texts(metadata[1].get("scopes_supported"))) if metadata else (),
        issuers=observation.issuers[:ISSUERS_OF_ONE],
        tools=observation.tools if not observation.tools_error else None,
        tools_error=observation.tools_error,
        snapshot=snapshot(observation, behind),
        results=results,
    )


def _authentication(observation: ServerObservation, results: Sequence[CheckResult]) -> str:
    """How the server authenticates whoever asks: anonymous, oauth or token; empty when nothing told."""
    verdicts = {result.check.id: result.verdict for result in results}
    if verdicts.get("MCP-RS-01") is Verdict.VIOLATED:
        return Authentication.ANONYMOUS
    if observation.issuers or verdicts.get("MCP-RS-04") is Verdict.MET:
        return Authentication.OAUTH
    return Authentication.TOKEN if verdicts.get("MCP-RS-01") is Verdict.MET else ""


def _judged(issuers: _Issuers) -> list[SeenIssuer]:
    return judged(
        [
            Look(
                observation=observation,
                servers=issuers.relying[issuer],
                newest_version=issuers.versions.get(issuer, ""),
                is_one_of_several=issuer in issuers.several,
                is_keeper=issuer in issuers.keepers,
            )
            for issuer, observation in issuers.seen.items()
        ]
    )
