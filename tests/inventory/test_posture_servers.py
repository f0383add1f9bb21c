"""Every check of an MCP server says met, violated or unknown of a server that deserves it, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.posture.drift import digest, snapshot
from inventory.posture.model import VERSIONS, CheckResult
from inventory.posture.servers import SERVER_CHECKS, judge_server
from inventory.posture.sessions import weakness
from inventory.states import Severity, Verdict
from providers.base import Secret
from providers.mcp import Revocable, TestCredentials, observe
from providers.observations import Exchange, SafetyClass, ServerObservation
from providers.questions import Question
from tests.examples import examples
from tests.providers.mcp_peers import ADD, METADATA_AT_ROOT, MODERN, NOW, QUICK, McpPeer, look, reaching
from tests.providers.peers import Authority, redirecting, response, saying, serving

MET, VIOLATED, UNKNOWN, NOT_APPLICABLE = Verdict.MET, Verdict.VIOLATED, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE
GOOD, LOW_SCOPE, EXPIRED, OTHER, REVOCABLE = "good", "low", "expired", "other", "revocable"
TOKENS = {GOOD: 200, LOW_SCOPE: 403, EXPIRED: 401, OTHER: 401, REVOCABLE: 200}
LENDING = {"token": Secret(GOOD), "opted_in": frozenset({SafetyClass.CREDENTIALED})}


def gated(**faults: Any) -> dict[str, Any]:
    return {"tokens": dict(TOKENS), **faults}


@dataclass(frozen=True)
class Example:
    """A server, how it is probed, and what one check then says. Without a server nothing listens there."""

    id: str
    verdict: Verdict
    server: Mapping[str, Any] | None
    lent: Mapping[str, Any] = field(default_factory=dict)
    judged: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity | None = None
    said: str = ""

    def __str__(self) -> str:
        return f"{self.id}-{self.verdict}-{self.said.replace(' ', '_')[:40]}"


def lent(**credentials: Any) -> dict[str, Any]:
    return {**LENDING, "credentials": TestCredentials(**{name: Secret(value) for name, value in credentials.items()})}


OLD = {"versions": ("2025-11-25",)}
NEW = {"versions": (MODERN,)}
SCOPED = 'Bearer resource_metadata="{base}/.well-known/oauth-protected-resource/mcp", scope="%s"'

EXAMPLES = [
    Example("MCP-RS-01", MET, gated()),
    Example("MCP-RS-01", VIOLATED, {}, severity=Severity.CRITICAL, said="It lists 1 tool"),
    Example("MCP-RS-01", VIOLATED, {"tools": ()}, severity=Severity.HIGH, said="It lists no tool"),
    Example("MCP-RS-01", VIOLATED, gated(gated=("tools/list",)), severity=Severity.HIGH, said="the handshake"),
    Example("MCP-RS-01", VIOLATED, gated(refusal=403), severity=Severity.LOW, said="403 instead of 401"),
    Example(
        "MCP-RS-01",
        VIOLATED,
        {"events_at": "/mcp", "broken": {"server/discover": 405, "initialize": 405, "tools/list": 405}},
        {"budget": replace(QUICK, request=1)},  # it answers nothing that is asked over its stream
        severity=Severity.HIGH,
        said="event stream",
    ),
    Example("MCP-RS-01", UNKNOWN, {"broken": {"/mcp": 404}}, said="Nothing at this address"),
    Example("MCP-RS-02", MET, gated(), said="Bearer"),
    Example("MCP-RS-02", MET, gated(challenge='DPoP algs="ES256"'), said="Dpop"),
    Example("MCP-RS-02", VIOLATED, gated(challenge=None), said="no WWW-Authenticate"),
    Example("MCP-RS-02", VIOLATED, gated(challenge='Basic realm="x"'), said="another scheme"),
    Example("MCP-RS-02", UNKNOWN, gated(refusal=403), said="No request was refused with 401"),
    Example("MCP-RS-02", NOT_APPLICABLE, {}),
    Example("MCP-RS-03", MET, gated()),
    Example("MCP-RS-03", VIOLATED, gated(challenge="Bearer"), severity=Severity.LOW, said="well-known"),
    Example("MCP-RS-03", VIOLATED, gated(challenge="Bearer", metadata=None), severity=Severity.HIGH),
    Example(
        "MCP-RS-03", VIOLATED, gated(challenge="Bearer", versions=("2025-06-18",)), lent=LENDING, severity=Severity.HIGH
    ),
    Example("MCP-RS-03", UNKNOWN, gated(refusal=403)),
    Example("MCP-RS-03", UNKNOWN, gated(challenge="Bearer", metadata_status=503), said="one of two ways"),
    Example("MCP-RS-03", UNKNOWN, gated(challenge="Bearer", metadata=None, is_own_issuer=True), said="2025-03-26"),
    Example("MCP-RS-03", NOT_APPLICABLE, gated(versions=("2025-03-26",)), lent=LENDING, said="It speaks 2025-03-26"),
    Example("MCP-RS-04", MET, gated()),
    Example("MCP-RS-04", MET, gated(challenge="Bearer", metadata_place=METADATA_AT_ROOT)),
    Example("MCP-RS-04", VIOLATED, gated(metadata=None), severity=Severity.HIGH),
    Example("MCP-RS-04", VIOLATED, gated(metadata_type="text/plain"), severity=Severity.MEDIUM, said="text/plain"),
    Example("MCP-RS-04", UNKNOWN, gated(metadata_status=503), said="503"),
    Example("MCP-RS-04", UNKNOWN, gated(metadata=None, is_own_issuer=True), said="2025-03-26 allows"),
    Example("MCP-RS-05", MET, gated()),
    Example(
        "MCP-RS-05",
        MET,
        gated(challenge="Bearer", metadata_place=METADATA_AT_ROOT, metadata={"resource": "{base}"}),
        said="whole host",
    ),
    Example(
        "MCP-RS-05",
        VIOLATED,
        gated(
            challenge='Bearer resource_metadata="{base}/.well-known/oauth-protected-resource"',
            metadata_place=METADATA_AT_ROOT,
            metadata={"resource": "{base}"},
        ),
        severity=Severity.MEDIUM,
    ),
    Example("MCP-RS-05", VIOLATED, gated(metadata={"resource": "{base}/mcp/"}), severity=Severity.LOW),
    Example("MCP-RS-05", VIOLATED, gated(metadata={"resource": "{base}/other"}), severity=Severity.MEDIUM),
    Example("MCP-RS-05", VIOLATED, gated(metadata={"resource": "https://a.example/mcp"}), severity=Severity.HIGH),
    Example("MCP-RS-05", VIOLATED, gated(metadata={"resource": ...}), severity=Severity.HIGH, said="names no"),
    Example("MCP-RS-05", UNKNOWN, gated(metadata=None)),
    Example("MCP-RS-06", MET, gated(metadata={"authorization_servers": ["https://id.example/o"]})),
    Example("MCP-RS-06", VIOLATED, gated(metadata={"authorization_servers": []}), said="missing, empty"),
    Example("MCP-RS-06", VIOLATED, gated(metadata={"authorization_servers": "https://id.example"})),
    Example("MCP-RS-06", VIOLATED, gated(metadata={"authorization_servers": ["http://id.example"]}), said="no https"),
    Example("MCP-RS-06", VIOLATED, gated(metadata={"authorization_servers": ["https://id.example?x=y"]}), said="query"),
    Example("MCP-RS-06", UNKNOWN, gated(metadata=None)),
    Example("MCP-RS-07", MET, gated()),
    Example("MCP-RS-07", VIOLATED, gated(challenge='Bearer resource_metadata="https://a.example/m"'), said="origin"),
    Example("MCP-RS-07", VIOLATED, gated(challenge='Bearer resource_metadata="http://a.example/m"'), said="https"),
    Example("MCP-RS-07", UNKNOWN, gated(refusal=403)),
    Example("MCP-RS-07", NOT_APPLICABLE, gated(challenge="Bearer")),
    Example("MCP-RS-08", MET, gated()),
    Example("MCP-RS-08", VIOLATED, gated(challenge="Bearer"), severity=Severity.LOW),
    Example("MCP-RS-08", UNKNOWN, gated(refusal=403)),
    Example("MCP-RS-09", MET, gated()),
    Example("MCP-RS-09", VIOLATED, gated(challenge=SCOPED % "notes:read admin:*"), said="admin:*"),
    Example("MCP-RS-09", VIOLATED, gated(metadata={"scopes_supported": ["full-access"]}), said="full-access"),
    Example("MCP-RS-09", VIOLATED, gated(metadata={"scopes_supported": list("abcdefghijklmnop")}), said="17 scopes"),
    Example("MCP-RS-09", UNKNOWN, gated(challenge="Bearer", metadata={"scopes_supported": ...})),
    Example("MCP-RS-10", MET, gated()),
    Example("MCP-RS-10", VIOLATED, gated(metadata={"scopes_supported": ["offline_access"]}), lent=LENDING),
    Example("MCP-RS-10", UNKNOWN, gated(metadata={"scopes_supported": ["offline_access"]}), said="was not seen"),
    Example("MCP-RS-10", NOT_APPLICABLE, gated(**OLD), lent=LENDING),
    Example("MCP-RS-11", MET, gated(metadata={"bearer_methods_supported": ["header"]})),
    Example("MCP-RS-11", UNKNOWN, gated(), said="says nothing"),
    Example("MCP-RS-11", VIOLATED, gated(metadata={"bearer_methods_supported": ["header", "query"]}), said="query"),
    Example("MCP-RS-11", UNKNOWN, gated(metadata=None)),
    Example("MCP-RS-12", MET, gated()),
    Example("MCP-RS-12", VIOLATED, gated(takes_any_token=True), severity=Severity.HIGH),
    Example("MCP-RS-12", VIOLATED, gated(says_invalid=False), severity=Severity.LOW),
    Example("MCP-RS-12", VIOLATED, gated(tokens={"keyreeve-probe-no-token": 403}), severity=Severity.LOW, said="403"),
    Example("MCP-RS-12", UNKNOWN, gated(tokens={"keyreeve-probe-no-token": 503}), said="503"),
    Example("MCP-RS-13", MET, gated()),
    Example("MCP-RS-13", VIOLATED, gated(takes_unsigned=True), severity=Severity.CRITICAL, said="signed by a key"),
    Example("MCP-RS-13", UNKNOWN, gated(refusal=403)),
    # An old server lets the token in and then does not know server/discover: that refuses nothing.
    Example("MCP-RS-12", VIOLATED, gated(takes_any_token=True, **OLD), severity=Severity.HIGH),
    Example("MCP-RS-13", VIOLATED, gated(takes_unsigned=True, **OLD), severity=Severity.CRITICAL),
    Example("MCP-RS-14", MET, gated(), lent=lent(expired=EXPIRED)),
    Example("MCP-RS-14", VIOLATED, gated(tokens={EXPIRED: 200}), lent=lent(expired=EXPIRED)),
    Example("MCP-RS-14", VIOLATED, gated(tokens={EXPIRED: 200}, **OLD), lent=lent(expired=EXPIRED)),
    Example("MCP-RS-14", UNKNOWN, gated(), said="needs a test credential, and none was given"),
    Example("MCP-RS-15", MET, gated(), lent=lent(other_audience=OTHER)),
    Example("MCP-RS-15", VIOLATED, gated(tokens={OTHER: 200}), lent=lent(other_audience=OTHER)),
    Example(
        "MCP-RS-15",
        UNKNOWN,
        gated(),
        lent={"credentials": TestCredentials(other_audience=Secret(OTHER))},
        said="not opted in",
    ),
    Example("MCP-RS-16", MET, gated(), lent=LENDING),
    Example("MCP-RS-16", VIOLATED, gated(takes_query=True), lent=LENDING),
    Example("MCP-RS-16", VIOLATED, gated(takes_query=True, **OLD), lent=LENDING),
    Example("MCP-RS-16", UNKNOWN, gated(), lent={"token": Secret(GOOD)}, said="not opted in"),
    Example("MCP-RS-17", MET, gated(), lent=lent(low_scope=LOW_SCOPE)),
    Example("MCP-RS-17", VIOLATED, gated(tokens={LOW_SCOPE: 200}), lent=lent(low_scope=LOW_SCOPE)),
    Example(
        "MCP-RS-17",
        VIOLATED,
        gated(says_insufficient='Bearer error="insufficient_scope"'),
        lent=lent(low_scope=LOW_SCOPE),
        severity=Severity.LOW,
        said="without scope and resource_metadata",
    ),
    Example("MCP-RS-17", UNKNOWN, gated()),
    Example("MCP-RS-19", MET, {}),
    Example("MCP-RS-19", VIOLATED, {"foreign_origin": None}, severity=Severity.HIGH),
    Example("MCP-RS-19", VIOLATED, {"foreign_origin": 400}, severity=Severity.LOW, said="400 instead of 403"),
    Example("MCP-RS-19", MET, {"foreign_origin": 400, "versions": ("2025-06-18",)}),
    Example("MCP-RS-19", VIOLATED, gated(foreign_origin=None), lent=LENDING),
    Example("MCP-RS-19", UNKNOWN, gated(), said="needs a test credential"),
    Example("MCP-RS-19", UNKNOWN, gated(refusal=403, foreign_origin=None), said="without a foreign Origin, too"),
    Example("MCP-RS-20", MET, gated(), lent=LENDING),
    Example("MCP-RS-20", MET, gated(gated=("tools/list",)), said="refused with 401"),
    Example("MCP-RS-20", VIOLATED, gated(session_is_enough=True), lent=LENDING),
    Example("MCP-RS-20", NOT_APPLICABLE, gated(session_is_enough=True, gated=("tools/list",)), said="to anybody"),
    Example("MCP-RS-20", UNKNOWN, gated()),
    Example("MCP-RS-20", NOT_APPLICABLE, gated(session=None), lent=LENDING, said="opens no session"),
    Example("MCP-RS-21", MET, {}),
    Example("MCP-RS-21", VIOLATED, {"session": lambda number: f"{'a' * 40}{number:08}"}, said="follow"),
    Example("MCP-RS-21", VIOLATED, {"session": lambda number: f"{number:08x}"}, said="bits"),
    Example("MCP-RS-21", UNKNOWN, gated(), said="No session"),
    Example("MCP-RS-21", UNKNOWN, gated(), lent={"token": Secret(GOOD)}, said="Only 1 of 3"),
    Example("MCP-RS-22", MET, NEW),
    Example("MCP-RS-22", VIOLATED, {**NEW, "session_in_discovery": True}, said="hands out"),
    Example("MCP-RS-22", VIOLATED, {**NEW, "get_status": 200, "delete_status": 200}, said="GET with 200"),
    Example("MCP-RS-22", UNKNOWN, gated(**NEW), said="was not seen"),
    Example("MCP-RS-22", UNKNOWN, {**NEW, "get_status": 502}, said="502, which may pass"),
    Example("MCP-RS-22", NOT_APPLICABLE, {}),
    Example("MCP-RS-23", MET, {}),
    Example("MCP-RS-23", VIOLATED, {"checks_mismatch": False, "checks_unheard": False}, severity=Severity.MEDIUM),
    Example("MCP-RS-23", UNKNOWN, gated()),
    Example("MCP-RS-23", NOT_APPLICABLE, OLD),
    Example("MCP-RS-24", MET, {}, said="-32022"),
    Example("MCP-RS-24", MET, OLD, said="with 400"),
    Example("MCP-RS-24", VIOLATED, {**OLD, "checks_unheard": False}),
    Example("MCP-RS-24", VIOLATED, {"says_supported": False}, said="does not say which"),
    Example("MCP-RS-24", UNKNOWN, gated()),
    Example("MCP-RS-25", NOT_APPLICABLE, {}),
    Example("MCP-RS-26", MET, {}),
    Example("MCP-RS-26", VIOLATED, {"events_at": "/sse"}, said="HTTP+SSE"),
    Example("MCP-RS-26", UNKNOWN, gated(get_status=401)),
    Example("MCP-RS-27", MET, {}, judged={"minimum": "2025-11-25"}),
    Example("MCP-RS-27", VIOLATED, {"versions": ("2025-03-26",)}, judged={"minimum": "2025-06-18"}),
    Example("MCP-RS-27", UNKNOWN, gated(), judged={"minimum": "2025-06-18"}),
    Example("MCP-RS-27", NOT_APPLICABLE, {}),
    Example("MCP-RS-28", MET, {"extensions": ("io.modelcontextprotocol/oauth-client-credentials",)}),
    Example("MCP-RS-28", VIOLATED, {}, severity=Severity.NONE),
    Example("MCP-RS-28", UNKNOWN, gated()),
    Example("MCP-RS-29", MET, gated(), judged={"previous": {"scopes": ["notes:read", "notes:write"]}}),
    Example("MCP-RS-29", VIOLATED, gated(), judged={"previous": {"scopes": ["notes:read"]}}, said="gained notes:write"),
    Example("MCP-RS-29", UNKNOWN, gated(), judged={"previous": {"tools": {"add": "x"}}}, said="tools could not be"),
    Example("MCP-RS-29", NOT_APPLICABLE, {}),
    *(
        Example(id_, UNKNOWN, None, judged={"minimum": MODERN, "previous": {"scopes": []}}, said="connected to")
        for id_ in SERVER_CHECKS
        if id_ != "MCP-RS-25"
    ),
]
# These need a second server, a certificate or a clock of their own; each has its tests below.
APART = {(id_, verdict) for id_ in ("MCP-RS-18", "MCP-RS-25") for verdict in (MET, VIOLATED, UNKNOWN)}


def judged(results: list[CheckResult], id_: str) -> CheckResult:
    return next(result for result in results if result.check.id == id_)


async def _nowhere(**asked: Any) -> list[CheckResult]:
    async with reaching() as fetcher:
        return judge_server(await observe("http://127.0.0.1:1/mcp", fetcher=fetcher, now=NOW, budget=QUICK), **asked)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_a_check_says_what_the_server_shows(example: Example) -> None:
    if example.server is None:
        results = asyncio.run(_nowhere(**example.judged))
    else:
        results = judge_server(look(McpPeer(**example.server), **example.lent), **example.judged)
    result = judged(results, example.id)
    assert (result.verdict, result.evidence["said"]) == (example.verdict, result.evidence["said"])
    assert example.said in result.evidence["said"]
    if example.severity is not None:
        assert result.severity == example.severity


def test_every_check_is_tried_in_every_verdict() -> None:
    tried = {(example.id, example.verdict) for example in EXAMPLES} | APART
    assert {(id_, verdict) for id_ in SERVER_CHECKS for verdict in (MET, VIOLATED, UNKNOWN)} <= tried


def test_the_checklist_is_whole() -> None:
    assert list(SERVER_CHECKS) == [f"MCP-RS-{number:02}" for number in range(1, 30)]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "It answers 403 with a web page"),
        (404, "Nothing at this address answered"),
        (429, "It answered 429, which may pass."),
        (502, "It answered 502, which may pass."),
    ],
)
def test_a_page_of_something_before_the_server_says_nothing_of_the_server(status: int, said: str) -> None:
    page = response(status, (("Content-Type", "text/html; charset=utf-8"), ("Retry-After", "60")), b"<html>No.</html>")

    async def scenario() -> list[CheckResult]:
        async with serving(saying(page)) as peer, reaching() as fetcher:
            return judge_server(await observe(peer.url("/mcp"), fetcher=fetcher, now=NOW, budget=QUICK))

    results = asyncio.run(scenario())
    assert {result.verdict for result in results} <= {UNKNOWN, NOT_APPLICABLE}
    assert judged(results, "MCP-RS-01").evidence["said"].startswith(said)


# ── Revocation ─────────────────────────────────────────────────────────────────────────────────


def revocable(base: str) -> TestCredentials:
    return TestCredentials(
        revocable=Revocable(
            token=Secret(REVOCABLE), endpoint=f"{base}/revoke", client_id="probe", client_secret=Secret("of the probe")
        )
    )


def test_a_revoked_token_that_is_refused_is_in_time() -> None:
    result = judged(judge_server(look(McpPeer(**gated()), **{**LENDING, "credentials": revocable})), "MCP-RS-18")
    assert result.verdict == MET
    assert result.evidence["seconds"] < 5


def test_a_token_of_an_old_server_is_seen_to_work_before_it_is_revoked() -> None:
    server = McpPeer(**gated(**OLD))
    lending = {"opted_in": LENDING["opted_in"], "credentials": revocable}
    assert judged(judge_server(look(server, **lending)), "MCP-RS-18").verdict == MET


def test_a_revoked_token_that_still_works_is_a_violation() -> None:
    server = McpPeer(**gated(forgets_revocation=True))
    result = judged(judge_server(look(server, **{**LENDING, "credentials": revocable})), "MCP-RS-18")
    assert result.verdict == VIOLATED


def test_a_token_that_never_worked_shows_nothing_of_its_revocation() -> None:
    server = McpPeer(**gated(tokens={GOOD: 200}))
    result = judged(judge_server(look(server, **{**LENDING, "credentials": revocable})), "MCP-RS-18")
    assert (result.verdict, result.evidence["said"]) == (UNKNOWN, "The token to revoke did not work to begin with.")


# ── TLS ────────────────────────────────────────────────────────────────────────────────────────


def test_a_valid_certificate_and_no_plain_http_is_what_tls_is_for(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    seen = look(McpPeer(), tls=authority.serve("127.0.0.1"), trusted=authority.trust())
    result = judged(judge_server(seen), "MCP-RS-25")
    assert (result.verdict, result.evidence["said"]) == (MET, "TLS is valid, and plain http is closed.")
    assert result.evidence["tls"] in ("TLSv1.2", "TLSv1.3")


def test_a_certificate_that_nobody_vouches_for_is_critical(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    (tmp_path / "other").mkdir()
    stranger = Authority.make(tmp_path / "other")
    seen = look(McpPeer(), tls=stranger.serve("127.0.0.1"), trusted=authority.trust())
    result = judged(judge_server(seen), "MCP-RS-25")
    assert (result.verdict, result.severity) == (VIOLATED, Severity.CRITICAL)
    assert "certificate" in result.evidence["said"]


def test_an_expired_certificate_is_critical(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    seen = look(McpPeer(), tls=authority.serve("127.0.0.1", days=-1), trusted=authority.trust())
    result = judged(judge_server(seen), "MCP-RS-25")
    assert (result.verdict, result.severity) == (VIOLATED, Severity.CRITICAL)


@pytest.mark.parametrize(
    ("plain", "verdict", "said"),
    [
        (Exchange(method="GET", url="http://h/", status=200), VIOLATED, "answers over plain http too"),
        (Exchange(method="GET", url="http://h/", status=401), VIOLATED, "answers over plain http too"),
        (
            Exchange(method="GET", url="http://h/", status=301, headers=(("location", "https://h/mcp"),)),
            MET,
            "leads to https",
        ),
        (
            Exchange(method="GET", url="http://h/", status=302, headers=(("location", "http://h/mcp"),)),
            VIOLATED,
            "not https",
        ),
        (Exchange(method="GET", url="http://h/", status=400), MET, "refused with 400"),
        (None, UNKNOWN, "did not come to ask"),
    ],
)
def test_plain_http_beside_tls_is_judged_by_where_it_leads(plain: Exchange | None, verdict: Verdict, said: str) -> None:
    seen = look(McpPeer())
    exchanges = {**seen.exchanges, **({Question.PLAIN_HTTP: plain} if plain else {})}
    result = judged(judge_server(replace(seen, url="https://h/mcp", exchanges=exchanges, skipped={})), "MCP-RS-25")
    assert (result.verdict, said in result.evidence["said"]) == (verdict, True)


def test_nobody_knows_the_tls_of_a_host_that_does_not_answer() -> None:
    async def scenario() -> list[CheckResult]:
        async with reaching() as fetcher:
            return judge_server(await observe("https://127.0.0.1:1/mcp", fetcher=fetcher, now=NOW, budget=QUICK))

    result = judged(asyncio.run(scenario()), "MCP-RS-25")
    assert (result.verdict, result.evidence["said"]) == (
        UNKNOWN,
        "127.0.0.1:1 could not be connected to: connection refused.",
    )


# ── Drift ──────────────────────────────────────────────────────────────────────────────────────


def test_the_same_server_seen_twice_has_the_same_digest() -> None:
    first, second = (snapshot(look(McpPeer())) for _ in range(2))
    assert digest(first) == digest(second)


def test_tools_in_another_order_are_the_same_tools() -> None:
    other = {**ADD, "name": "subtract"}
    first = snapshot(look(McpPeer(tools=(ADD, other))))
    second = snapshot(look(McpPeer(tools=(other, ADD))))
    assert digest(first) == digest(second)


def test_a_tool_that_says_something_else_has_changed() -> None:
    before = snapshot(look(McpPeer()))
    changed = look(McpPeer(tools=({**ADD, "description": "Add, and tell somebody."},)))
    result = judged(judge_server(changed, previous=before), "MCP-RS-29")
    assert (result.verdict, result.evidence["said"]) == (VIOLATED, "The definition of add changed.")


def test_a_tool_that_is_gone_and_one_that_is_new_are_both_named() -> None:
    before = snapshot(look(McpPeer()))
    changed = look(McpPeer(tools=({**ADD, "name": "subtract"},)))
    said = judged(judge_server(changed, previous=before), "MCP-RS-29").evidence["said"]
    assert said == "Its list of tools changed: gained subtract, lost add."


def test_another_authorization_server_is_drift() -> None:
    before = snapshot(look(McpPeer(**gated())))
    changed = look(McpPeer(**gated(metadata={"authorization_servers": ["https://id.example"]})))
    result = judged(judge_server(changed, previous=before), "MCP-RS-29")
    assert result.verdict == VIOLATED
    assert "authorization servers changed" in result.evidence["said"]


# ── Sessions ───────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.uuids(version=4), min_size=3, max_size=3, unique=True), st.booleans())
def test_random_uuids_are_good_session_ids(ids: list[Any], has_dashes: bool) -> None:
    first, second, third = (str(each) if has_dashes else each.hex for each in ids)
    # What hypothesis likes to make, all zeros and the like, is not random and may be told.
    said = weakness([first, second, third])
    assert said == "" or len({first[:20], second[:20], third[:20]}) < 3 or said.startswith(("Of a", "Session"))


@given(st.integers(0, 2**100), st.integers(1, 1000))
def test_ids_that_are_counted_up_are_found(start: int, step: int) -> None:
    assert "follow" in weakness([f"{'f' * 10}{start + number * step:032x}" for number in range(3)])


@given(st.lists(st.text(alphabet="0123456789abcdef", min_size=1, max_size=31), min_size=1, max_size=3, unique=True))
def test_short_ids_are_found_from_one_sample_on(ids: list[str]) -> None:
    assert "less than 128" in weakness(ids)


def test_the_same_id_twice_is_found() -> None:
    assert weakness(["a" * 40, "a" * 40]) == "Two sessions got the same id."


NAMES = ["result", "error", "code", "data", "supported", "tools", "resource", "scopes_supported", "capabilities"]


# ── What a verdict holds ───────────────────────────────────────────────────────────────────────


def test_no_evidence_repeats_a_credential() -> None:
    secret = "a-token-of-the-owner"
    server = McpPeer(**gated(tokens={secret: 200}))
    results = judge_server(look(server, token=Secret(secret), opted_in=frozenset({SafetyClass.CREDENTIALED})))
    assert secret not in repr(results)


def test_hostile_metadata_is_judged_without_complaint() -> None:
    faults = {name: {"x": [1, None, {}]} for name in ("resource", "authorization_servers", "scopes_supported")}
    results = judge_server(look(McpPeer(**gated(metadata={**faults, "bearer_methods_supported": 7}))))
    assert judged(results, "MCP-RS-06").verdict == VIOLATED


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=6), inner),
    max_leaves=12,
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["www-authenticate", "content-type", "mcp-session-id", "location"]),
        st.text(max_size=40) | st.sampled_from(['Bearer scope="*"', "application/json", "text/event-stream"]),
    ),
    max_size=4,
).map(tuple)
EXCHANGES = st.builds(
    Exchange,
    method=st.just("POST"),
    url=st.sampled_from(["https://h/mcp", "http://127.0.0.1/mcp", "", "::"]),
    status=st.none() | st.sampled_from([200, 202, 301, 400, 401, 403, 404, 405, 429, 500]),
    headers=HEADERS,
    body=st.binary(max_size=20),
    document=JSON,
    error=st.text(min_size=1, max_size=10),
)
SEEN = st.builds(
    ServerObservation,
    url=st.sampled_from(["https://h/mcp", "http://127.0.0.1/mcp", "http://h/", "", "::"]),
    observed_at=st.just(NOW),
    transport=st.sampled_from(["http", "sse", "stdio"]),
    protocol_versions=st.lists(st.sampled_from([*VERSIONS, "2024-11-05", "2031-01-01"]), max_size=3).map(tuple),
    exchanges=st.dictionaries(st.sampled_from(list(Question)), EXCHANGES),
)


@hypothesis.settings(deadline=None, max_examples=examples(200))
@given(SEEN, st.dictionaries(st.sampled_from(["scopes", "tools", "jwks_uris", "authorization_servers"]), st.just({})))
def test_whatever_was_seen_every_check_has_one_verdict_and_a_sentence(
    seen: ServerObservation, previous: dict[str, Any]
) -> None:
    results = judge_server(seen, previous=previous, minimum="2025-06-18")
    assert [result.check.id for result in results] == list(SERVER_CHECKS)
    assert all(result.evidence["said"] for result in results)
    assert json.dumps([dict(result.evidence) for result in results])


def test_an_address_that_redirects_says_where_to() -> None:
    async def scenario() -> list[CheckResult]:
        async with serving(saying(redirecting("https://mcp.example/mcp/", 308))) as peer, reaching() as fetcher:
            return judge_server(await observe(peer.url("/mcp"), fetcher=fetcher, now=NOW, budget=QUICK))

    result = judged(asyncio.run(scenario()), "MCP-RS-01")
    assert (result.verdict, result.evidence["said"]) == (
        UNKNOWN,
        "It redirects to https://mcp.example/mcp/; probe that address instead.",
    )


def test_a_version_after_the_newest_known_is_judged_as_the_newest() -> None:
    seen = replace(look(McpPeer(versions=(MODERN,))), protocol_versions=("2031-01-01",), era="2031-01-01")
    assert judged(judge_server(seen), "MCP-RS-23").verdict == MET


def test_a_launched_server_is_not_judged_by_what_is_asked_of_a_network() -> None:
    launched = replace(look(McpPeer()), transport="stdio", url="stdio:server")
    verdicts = {result.check.id: result.verdict for result in judge_server(launched, minimum="2025-06-18")}
    assert {id_ for id_, verdict in verdicts.items() if verdict != NOT_APPLICABLE} == {"MCP-RS-27"}
