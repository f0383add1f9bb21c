"""Each check of a client: its document as a real server serves it, and what the inventory knows of it."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from inventory.posture.clients import CHECKS, ClientRecord, RecordedUse, judge_client
from inventory.posture.model import CheckResult
from inventory.states import Severity, Verdict
from providers.authorization import observe_client_document
from providers.fetch import Fetcher, Guard
from tests.providers.issuers import AGENT, NOW, encoded, observed_document, rsa_key, said
from tests.providers.peers import Authority, json_answer, redirecting, response

MET, VIOLATED, UNKNOWN, NOT_APPLICABLE = Verdict.MET, Verdict.VIOLATED, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE
NEWEST = "2026-07-28"
DAY = timedelta(days=1)
Serving = bytes | Callable[[str], bytes]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


def document(address: str, /, **changes: Any) -> bytes:
    whole = {
        "client_id": address,
        "client_name": "Notebook",
        "redirect_uris": ["https://notebook.example/callback", "http://127.0.0.1/callback"],
        "token_endpoint_auth_method": "none",
    }
    return said({name: value for name, value in (whole | changes).items() if value is not None})


def with_(**changes: Any) -> Callable[[str], bytes]:
    return lambda address: document(address, **changes)


def use(server: str = "https://one.example/mcp", **changes: Any) -> RecordedUse:
    known = {
        "transport": "http",
        "held_as": "reference",
        "kind": "api_key",
        "trust_model": "static_service",
        "fingerprint": "f1",
        "offers_oauth": False,
    }
    return RecordedUse(server=server, **(known | changes))


def record(*uses: RecordedUse, **changes: Any) -> ClientRecord:
    known: dict[str, Any] = {
        "client_id": "c-1",
        "issuer": "https://as.example",
        "registration": "dynamic",
        "redirect_uris": ("https://app.example/callback",),
        "application_type": "web",
        "is_metadata_known": True,
        "registered_at": NOW - 10 * DAY,
        "has_secret": True,
        "is_secret_endless": False,
        "last_used_at": NOW - DAY,
        "is_use_known": True,
        "uses": uses,
    }
    return ClientRecord(**(known | changes))


@dataclass(frozen=True)
class Scene:
    """A client as it is seen: the document at its address, its record, or both."""

    serves: Serving | None = None
    path: str = "/client.json"
    before: Serving | None = None
    record: ClientRecord | None = None
    judged: dict[str, Any] = field(default_factory=dict)


def results(scene: Scene, authority: Authority) -> dict[str, CheckResult]:
    observation = previous = None
    if scene.serves is not None:
        observation = observed_document(scene.serves, scene.path, authority=authority)
    if scene.before is not None and observation is not None:
        earlier = observed_document(scene.before, scene.path, authority=authority)
        previous = replace(earlier, client_id=observation.client_id)
    judged = {"newest_version": NEWEST, **scene.judged}
    found = judge_client(now=NOW, observation=observation, previous=previous, record=scene.record, **judged)
    return {result.check.id: result for result in found}


GONE = Scene(response(503))
NO_CLIENT = Scene(record=None)
ISSUED = use(kind="oauth_access_token", issuer="https://as.example")
OLD = {"newest_version": "2025-06-18"}
FILLER = "x" * 6000

SCENES: dict[str, dict[Verdict, Scene]] = {
    "MCP-CL-01": {
        MET: Scene(with_()),
        VIOLATED: Scene(with_(), path="/a/../client.json"),
        UNKNOWN: Scene(record=record(client_id="https://app.example/client.json")),
        NOT_APPLICABLE: Scene(record=record()),
    },
    "MCP-CL-02": {
        MET: Scene(with_()),
        VIOLATED: Scene(redirecting("https://elsewhere.example/client.json")),
        UNKNOWN: GONE,
        NOT_APPLICABLE: Scene(with_(), judged=OLD),
    },
    "MCP-CL-03": {
        MET: Scene(with_()),
        VIOLATED: Scene(with_(client_id="https://other.example/client.json")),
        UNKNOWN: GONE,
    },
    "MCP-CL-04": {MET: Scene(with_()), VIOLATED: Scene(with_(client_name=None)), UNKNOWN: GONE},
    "MCP-CL-05": {
        MET: Scene(with_()),
        VIOLATED: Scene(with_(client_secret=encoded(b"a secret for everybody"))),
        UNKNOWN: GONE,
    },
    "MCP-CL-06": {
        MET: Scene(with_()),
        VIOLATED: Scene(with_(redirect_uris=["http://app.example/callback"])),
        UNKNOWN: GONE,
        NOT_APPLICABLE: Scene(record=record(redirect_uris=())),
    },
    "MCP-CL-07": {
        MET: Scene(with_(), before=with_()),
        VIOLATED: Scene(with_(), before=with_(redirect_uris=["https://before.example/callback"])),
        UNKNOWN: Scene(with_()),
    },
    "MCP-CL-08": {
        MET: Scene(record=record(ISSUED)),
        VIOLATED: Scene(record=record(ISSUED, replace(ISSUED, issuer="https://other.example"))),
        UNKNOWN: Scene(record=record(replace(ISSUED, issuer=""))),
        NOT_APPLICABLE: Scene(record=record(use())),
    },
    "MCP-CL-09": {
        MET: Scene(record=record()),
        VIOLATED: Scene(record=record(application_type=None)),
        UNKNOWN: Scene(record=record(application_type=None, is_metadata_known=False)),
        NOT_APPLICABLE: Scene(record=record(registration="pre_registered")),
    },
    "MCP-CL-10": {
        MET: Scene(record=record()),
        VIOLATED: Scene(record=record(last_used_at=NOW - 200 * DAY)),
        UNKNOWN: Scene(record=record(last_used_at=None, is_use_known=False)),
        NOT_APPLICABLE: Scene(record=record(registration="cimd")),
    },
    "MCP-CL-11": {
        MET: Scene(record=record(use("npx files", transport="stdio"))),
        VIOLATED: Scene(record=record(use("npx files", transport="stdio", held_as="literal"))),
        UNKNOWN: Scene(record=record(use("npx files", transport="stdio", held_as=""))),
        NOT_APPLICABLE: Scene(record=record(use(held_as="literal"))),
    },
    "MCP-CL-12": {
        MET: Scene(record=record(use(offers_oauth=False))),
        VIOLATED: Scene(record=record(use(offers_oauth=True))),
        UNKNOWN: Scene(record=record(use(offers_oauth=None))),
    },
    "MCP-CL-13": {
        MET: Scene(record=record(use(), use("https://two.example/mcp", fingerprint="f2"))),
        VIOLATED: Scene(record=record(use(), use("https://two.example/mcp"))),
        UNKNOWN: Scene(record=record(use(), use("https://two.example/mcp", fingerprint=""))),
        NOT_APPLICABLE: Scene(record=record(use()), judged={"newest_version": "2025-03-26"}),
    },
}


def test_every_check_is_tried_in_every_way():
    assert set(SCENES) == {check.id for check in CHECKS}
    assert all({MET, VIOLATED, UNKNOWN} <= set(scenes) for scenes in SCENES.values())


@pytest.mark.parametrize(
    ("check_id", "verdict"), [(check_id, verdict) for check_id, scenes in SCENES.items() for verdict in scenes]
)
def test_a_client_gets_the_verdict_that_it_is_built_for(check_id, verdict, authority):
    result = results(SCENES[check_id][verdict], authority)[check_id]
    assert result.verdict is verdict, result.evidence
    assert str(result.evidence["said"]).endswith(".")
    assert (result.severity is Severity.NONE) == (verdict in (MET, NOT_APPLICABLE))


@pytest.mark.parametrize(
    ("serves", "verdict"),
    [
        (with_(filler=FILLER), VIOLATED),
        (json_answer(b"[1, 2]"), VIOLATED),
        (response(200, (("Content-Type", "text/html"),), b"<html>"), VIOLATED),
        (response(404), VIOLATED),
        (response(429), UNKNOWN),
        # It promises more than it sends: a broken connection is no oversized document.
        (response(200, (("Content-Type", "application/json"), ("Content-Length", "400")), b"{"), UNKNOWN),
    ],
    ids=["too large", "no object", "no json", "missing", "overloaded", "cut off"],
)
def test_a_document_that_cannot_be_used_is_told_from_one_that_could_not_be_fetched(serves, verdict, authority):
    assert results(Scene(serves), authority)["MCP-CL-02"].verdict is verdict


@pytest.mark.parametrize(
    ("client_id", "verdict"),
    [
        ("https://app.example", VIOLATED),
        ("https://app.example/", VIOLATED),
        ("http://app.example/client.json", VIOLATED),
        ("https://user@app.example/client.json", VIOLATED),
        ("https://app.example/client.json#a", VIOLATED),
        ("https://app.example/a/%2e%2e/client.json", VIOLATED),
        ("https://[::1/client.json", VIOLATED),
        ("https://app.example:99999/client.json", VIOLATED),
        ("https://app.example/client.json?a=b", VIOLATED),
    ],
)
def test_an_address_that_no_document_may_have_is_named(client_id, verdict):
    async def scenario():
        async with Fetcher(Guard(), user_agent=AGENT, resolver=_nowhere) as fetcher:
            return await observe_client_document(client_id, fetcher=fetcher, now=NOW)

    observation = asyncio.run(scenario())
    found = {result.check.id: result for result in judge_client(now=NOW, observation=observation)}
    assert found["MCP-CL-01"].verdict is verdict
    assert found["MCP-CL-02"].verdict is UNKNOWN


async def _nowhere(host: str, port: int) -> list[Any]:
    return []


@pytest.mark.parametrize(
    ("addresses", "severity"),
    [
        (["javascript:alert(1)"], Severity.HIGH),
        (["https://*.app.example/callback"], Severity.HIGH),
        (["notebook://callback"], Severity.MEDIUM),
        (["http://localhost:3000/callback", "http://[::1]/callback"], Severity.LOW),
        (["http://127.0.0.1/callback", "https://app.example/callback", "http://app.example/"], Severity.HIGH),
    ],
)
def test_the_worst_redirect_address_decides(addresses, severity, authority):
    result = results(Scene(with_(redirect_uris=addresses)), authority)["MCP-CL-06"]
    assert (result.verdict, result.severity) == (VIOLATED, severity)


def test_a_client_that_authenticates_by_key_has_to_publish_one(authority):
    by_key = {"token_endpoint_auth_method": "private_key_jwt"}
    keyless = results(Scene(with_(**by_key), before=with_(**by_key)), authority)["MCP-CL-07"]
    keys = {"keys": [rsa_key()]}
    with_key = results(Scene(with_(jwks=keys, **by_key), before=with_(jwks=keys, **by_key)), authority)["MCP-CL-07"]
    assert (keyless.verdict, with_key.verdict) == (VIOLATED, MET)


def test_a_secret_in_a_document_is_seen_and_not_kept(authority):
    secret = encoded(b"known to everybody who looks")
    observation = observed_document(with_(client_secret=secret), authority=authority)
    found = judge_client(now=NOW, observation=observation)
    assert secret not in repr(observation)
    assert secret not in json.dumps([dict(result.evidence) for result in found])
    assert {result.check.id: result.verdict for result in found}["MCP-CL-05"] is VIOLATED


def test_a_private_key_in_a_document_is_seen_and_not_kept(authority):
    keys = {"keys": [rsa_key(d="the-half-that-signs")]}
    observation = observed_document(with_(jwks=keys), authority=authority)
    assert "the-half-that-signs" not in repr(observation)
    found = {result.check.id: result for result in judge_client(now=NOW, observation=observation)}
    assert found["MCP-CL-05"].verdict is VIOLATED
    assert found["MCP-CL-05"].evidence["said"] == "A key in jwks is private."


def test_an_endless_secret_may_be_young_but_not_old():
    young = judge_client(now=NOW, record=record(is_secret_endless=True))
    old = judge_client(now=NOW, record=record(is_secret_endless=True, registered_at=NOW - 400 * DAY))
    verdicts = [{result.check.id: result.verdict for result in found}["MCP-CL-10"] for found in (young, old)]
    assert verdicts == [MET, VIOLATED]


def test_nothing_known_is_unknown_or_not_applicable_and_never_met():
    found = judge_client(now=NOW)
    assert {result.verdict for result in found} <= {UNKNOWN, NOT_APPLICABLE}


def test_a_value_at_two_servers_is_wrong_whatever_version_is_spoken():
    found = judge_client(now=NOW, record=record(use(), use("https://two.example/mcp"), application_type=None))
    by_id = {result.check.id: result for result in found}
    assert (by_id["MCP-CL-13"].verdict, by_id["MCP-CL-13"].severity) == (VIOLATED, Severity.CRITICAL)
    assert by_id["MCP-CL-09"].verdict is UNKNOWN
    assert by_id["MCP-CL-13"].evidence["servers"] == ["https://one.example/mcp", "https://two.example/mcp"]
