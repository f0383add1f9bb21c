"""The checks against django-oauth-toolkit as it comes, once set up with care and once without."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from inventory.posture.authorization_servers import capabilities, judge_issuer
from inventory.states import Severity, Verdict
from providers.authorization import ProbeClient, observe_issuer
from providers.base import Secret
from providers.fetch import Fetcher, Guard
from providers.observations import IssuerObservation
from tests.authorization_server import AuthorizationServer, running
from tests.providers.issuers import AGENT, ALL, NOW

MET, VIOLATED, UNKNOWN = Verdict.MET, Verdict.VIOLATED, Verdict.UNKNOWN


@pytest.fixture(scope="module")
def used_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    """One of our own: the checks of tokens use up what others would need."""
    with running(tmp_path_factory.mktemp("used-up")) as server:
        yield server


def observe(server: AuthorizationServer, **options: Any) -> IssuerObservation:
    async def scenario() -> IssuerObservation:
        async with Fetcher(Guard(allow_loopback=True), user_agent=AGENT) as fetcher:
            return await observe_issuer(server.issuer, fetcher=fetcher, now=NOW, **options)

    return asyncio.run(scenario())


def verdicts(server: AuthorizationServer, observation: IssuerObservation) -> dict[str, tuple[Verdict, Severity]]:
    results = judge_issuer(
        observation, expected_issuer=server.issuer, newest_version="2026-07-28", servers=["https://mcp.example/mcp"]
    )
    return {result.check.id: (result.verdict, result.severity) for result in results}


def names(server: AuthorizationServer) -> list[str]:
    bearer = {"Authorization": f"Bearer {server.secret('management_token')}"}
    listed = httpx2.get(server.places["clients_url"], headers=bearer).json()
    rows = listed if isinstance(listed, list) else next(value for value in listed.values() if isinstance(value, list))
    return [row.get("client_name", "") for row in rows]


def test_a_careful_server_meets_what_it_can(authorization_server):
    observation = observe(authorization_server)
    found = verdicts(authorization_server, observation)
    met = {check_id for check_id, (verdict, _) in found.items() if verdict is MET}
    assert {"01", "02", "04", "05", "06", "07", "08", "13", "17", "18", "19", "24"} <= {name[-2:] for name in met}
    assert found["MCP-AS-10"] == (VIOLATED, Severity.MEDIUM)
    assert found["MCP-AS-03"] == (VIOLATED, Severity.LOW)  # plain http, and only on this machine
    assert "cimd" in capabilities(observation.metadata)


def test_a_lax_server_violates_what_it_was_built_to(lax_authorization_server):
    observation = observe(lax_authorization_server, opted_in=ALL)
    found = verdicts(lax_authorization_server, observation)
    assert found["MCP-AS-06"] == (VIOLATED, Severity.MEDIUM)
    assert {found[f"MCP-AS-{number}"][0] for number in ("05", "07", "08", "11", "12", "13")} == {VIOLATED}
    assert found["MCP-AS-10"] == (VIOLATED, Severity.HIGH)
    assert not observation.leftovers
    assert "Keyreeve posture check" not in names(lax_authorization_server)


def test_registering_by_consent_leaves_the_server_as_it_was(authorization_server):
    before = sorted(names(authorization_server))
    observation = observe(authorization_server, opted_in=ALL)
    found = verdicts(authorization_server, observation)
    assert found["MCP-AS-11"][0] is MET
    assert found["MCP-AS-12"][0] is VIOLATED  # its secrets never expire
    assert before
    assert sorted(names(authorization_server)) == before
    assert not observation.leftovers


def test_a_sign_in_before_everything_else_hides_what_comes_after(authorization_server):
    client = ProbeClient(client_id="claude-desktop-managed", redirect_uri="http://127.0.0.1/oauth/callback")
    found = verdicts(authorization_server, observe(authorization_server, test_client=client))
    assert (found["MCP-AS-14"][0], found["MCP-AS-15"][0]) == (UNKNOWN, UNKNOWN)


def test_tokens_of_a_lent_client_are_looked_at(used_up):
    secret = Path(used_up.places["client_secrets"]["nightly-reports"]).read_text()
    client = ProbeClient(
        client_id="nightly-reports", secret=Secret(secret), scope="billing:read", resource="https://mcp.example/mcp"
    )
    observation = observe(used_up, opted_in=ALL, test_client=client)
    found = verdicts(used_up, observation)
    assert found["MCP-AS-22"][0] is MET
    assert found["MCP-AS-20"][0] is VIOLATED  # it takes any resource
    assert found["MCP-AS-21"][0] is UNKNOWN  # this client may not introspect
    assert secret not in repr(observation)


def test_refresh_tokens_of_a_public_client_rotate(used_up):
    client = ProbeClient(
        client_id="claude-desktop-managed", refresh_token=Secret(used_up.token("mira-desktop-refresh"))
    )
    assert verdicts(used_up, observe(used_up, opted_in=ALL, test_client=client))["MCP-AS-23"][0] is MET
