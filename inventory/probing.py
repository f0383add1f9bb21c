"""Look at MCP servers and at the authorization servers that they name, and judge both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from inventory.posture.authorization_servers import judge_issuer
from inventory.posture.model import CheckResult
from inventory.posture.servers import judge_server
from providers.authorization import ProbeClient, observe_issuer
from providers.base import Secret
from providers.fetch import Fetcher
from providers.mcp import AT_ONCE, TestCredentials, observe, observe_all, observe_launched
from providers.observations import IssuerObservation, SafetyClass, ServerObservation

ISSUERS_AT_ONCE = 20
ISSUER_SECONDS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """Credentials for one server and for one authorization server, each for that one alone."""

    token: Secret | None = None
    credentials: TestCredentials = field(default_factory=TestCredentials)
    issuer: str = ""
    client: ProbeClient | None = None
    registration_token: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One server, the authorization servers that it names, and what every check says of them."""

    server: ServerObservation
    issuers: tuple[IssuerObservation, ...]
    results: tuple[CheckResult, ...]

    @property
    def is_reached(self) -> bool:
        """Whether anything answered: an HTTP status, or tools over a pipe."""
        answered = any(exchange.is_answered for exchange in self.server.exchanges.values())
        return answered or self.server.tools is not None


async def look(
    urls: Sequence[str],
    *,
    fetcher: Fetcher,
    clock: Callable[[], datetime],
    commands: Sequence[Sequence[str]] = (),
    lent: Lent | None = None,
    opted_in: frozenset[SafetyClass] = frozenset(),
    previous: Mapping[str, Mapping[str, Any]] | None = None,
    minimum: str = "",
    progress: Callable[[str], None] = lambda _address: None,
) -> list[Looked]:
    """Look at every server, then at every authorization server once, and judge them. In the order of `urls`.

    What is `lent` is for the only URL; with several, nothing can be. `previous` are snapshots by address.
    """
    lent = lent or Lent()
    seen: dict[str, ServerObservation] = {}
    if len(urls) == 1:
        (url,) = urls
        seen[url] = await observe(
            url, fetcher=fetcher, now=clock(), token=lent.token, credentials=lent.credentials, opted_in=opted_in
        )
        progress(url)
    else:
        async for observation in observe_all(dict.fromkeys(urls), fetcher=fetcher, clock=clock, at_once=AT_ONCE):
            seen[observation.url] = observation
            progress(observation.url)
    servers = [seen[url] for url in dict.fromkeys(urls)]
    for command in commands:
        servers.append(await observe_launched(command, now=clock()))
        progress(servers[-1].url)
    issuers = await _issuers(servers, fetcher=fetcher, clock=clock, lent=lent, opted_in=opted_in, progress=progress)
    return [_judged(server, servers, issuers, previous=previous or {}, minimum=minimum) for server in servers]


async def _issuers(
    servers: Iterable[ServerObservation],
    *,
    fetcher: Fetcher,
    clock: Callable[[], datetime],
    lent: Lent,
    opted_in: frozenset[SafetyClass],
    progress: Callable[[str], None],
) -> dict[str, IssuerObservation]:
    """Each authorization server once, however many servers name it; one that takes too long has nothing to say."""
    places = asyncio.Semaphore(ISSUERS_AT_ONCE)
    found: dict[str, IssuerObservation] = {}

    async def one(issuer: str) -> None:
        # What is lent for one authorization server is not for whichever one a server happens to name.
        is_meant = issuer == lent.issuer
        async with places:
            found[issuer] = await observe_issuer(
                issuer,
                fetcher=fetcher,
                now=clock(),
                opted_in=opted_in,
                test_client=lent.client if is_meant else None,
                registration_token=lent.registration_token if is_meant else None,
                seconds=ISSUER_SECONDS,
            )
        progress(issuer)

    async with asyncio.TaskGroup() as tasks:
        for issuer in dict.fromkeys(issuer for server in servers for issuer in server.issuers):
            tasks.create_task(one(issuer))
    return found


def _judged(
    server: ServerObservation,
    servers: Iterable[ServerObservation],
    issuers: Mapping[str, IssuerObservation],
    *,
    previous: Mapping[str, Mapping[str, Any]],
    minimum: str,
) -> Looked:
    named = [issuers[issuer] for issuer in server.issuers]
    results = judge_server(server, previous=previous.get(server.url), issuers=named, minimum=minimum)
    for issuer in named:
        relying = [other for other in servers if issuer.issuer in other.issuers]
        results += judge_issuer(
            issuer,
            expected_issuer=issuer.issuer,
            newest_version=max((other.era for other in relying), default=""),
            servers=[other.url for other in relying],
            is_one_of_several=any(len(other.issuers) > 1 for other in relying),
        )
    return Looked(server=server, issuers=tuple(named), results=tuple(results))
