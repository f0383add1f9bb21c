"""Checks of the transport of an MCP server: origins, sessions, protocol versions, TLS; and what changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inventory.posture.drift import differences, snapshot, texts, unseen
from inventory.posture.model import CheckResult, since
from inventory.posture.server_cases import (
    ANONYMOUS,
    HANDSHAKES,
    MODERN,
    Case,
    error_code,
    is_refused,
    is_served,
    judges,
    result,
)
from inventory.posture.sessions import SAMPLES, weakness
from inventory.states import Severity
from providers.addresses import is_loopback, split
from providers.observations import Exchange, SafetyClass
from providers.questions import Question

LEGACY = ("2025-03-26", "2025-06-18", "2025-11-25")
HEADER_MISMATCH, UNSUPPORTED_VERSION = -32020, -32022
_SAFE = SafetyClass.SAFE
_SESSIONS = (
    Question.INITIALIZE,
    Question.AUTHORIZED_INITIALIZE,
    Question.ANOTHER_SESSION,
    Question.THIRD_SESSION,
)
_AUTHORIZATION_EXTENSIONS = ("io.modelcontextprotocol/oauth-", "io.modelcontextprotocol/enterprise-managed-auth")


@judges(
    "MCP-RS-19",
    "Requests of a foreign web page are refused",
    level="MUST",
    severity=Severity.HIGH,
    section="MCP transports, “Security Warning”",
    safety=_SAFE,
    remediation="Compare the Origin header with a list of your own and answer 403 to any other.",
)
def _origin(case: Case) -> CheckResult:
    exchange = case.seen.exchange(Question.FOREIGN_ORIGIN)
    if exchange is None:
        return case.unseen(Question.FOREIGN_ORIGIN)
    if exchange.status == 403:
        if case.seen.gate is None and not _anybody_was_served(case):
            return case.unknown("It answers 403 to requests without a foreign Origin, too.")
        return case.met("It answers a foreign Origin with 403.")
    if is_served(exchange):
        return case.violated("It served a request whose Origin is a foreign web page.", status=exchange.status)
    if exchange.status == 401:
        return case.unknown("It asks for a token before it looks at the Origin; that needs a test credential.")
    if not is_refused(exchange) or not _handshake_was_served(case):
        return case.unknown(f"It answered {exchange.status}, which does not say whether the Origin was the reason.")
    if case.seen.claims(since("2025-11-25")):
        return case.violated(
            f"It refuses a foreign Origin, but with {exchange.status} instead of 403.", severity=Severity.LOW
        )
    return case.met(f"It refuses a foreign Origin with {exchange.status}.")


@judges(
    "MCP-RS-20",
    "A session does not stand for a credential",
    level="MUST",
    severity=Severity.CRITICAL,
    section="MCP security best practices, “Session Hijacking”",
    versions=LEGACY,
    safety=_SAFE,
    remediation="Check the token of every request; bind sessions to the user that opened them.",
)
def _session_alone(case: Case) -> CheckResult:
    if case.seen.offers_authorization is False:
        return case.not_applicable("It asks nobody for authorization; MCP-RS-01 says so.")
    opened = next((q for q in (Question.INITIALIZE, Question.AUTHORIZED_INITIALIZE) if _session(case, q)), None)
    if opened is None:
        answered = [q for q in (Question.INITIALIZE, Question.AUTHORIZED_INITIALIZE) if result(case.seen.exchange(q))]
        if answered:
            return case.not_applicable("It opens no session.")
        return case.unknown("No session was opened; that needs a test credential.")
    # An anonymous session was used for tools/list as it is; one that a token opened was tried again without it.
    question = Question.TOOLS if opened is Question.INITIALIZE else Question.SESSION_ALONE
    exchange = case.seen.exchange(question)
    if exchange is None:
        return case.unseen(question)
    if exchange.status == 401:
        return case.met("A session without a token is refused with 401.")
    if is_served(exchange) and opened is Question.INITIALIZE:
        return case.not_applicable("It opens sessions to anybody; MCP-RS-01 says so.")
    if is_served(exchange):
        return case.violated("It served a session that came without the token which opened it.", status=exchange.status)
    return case.unknown(f"It answered {exchange.status}, which does not say whether the token was missed.")


@judges(
    "MCP-RS-21",
    "Session ids cannot be guessed",
    level="SHOULD",
    severity=Severity.HIGH,
    section="MCP transports, “Session Management”",
    versions=LEGACY,
    safety=_SAFE,
    remediation="Make session ids of at least 128 bits from a cryptographic random source.",
)
def _session_ids(case: Case) -> CheckResult:
    if case.seen.observation.transport == "sse":
        return case.unknown("The sessions of HTTP+SSE are part of an address; they were not compared.")
    ids = [found for question in _SESSIONS if (found := _session(case, question))]
    if not ids:
        if any(result(case.seen.exchange(q)) for q in (Question.INITIALIZE, Question.AUTHORIZED_INITIALIZE)):
            return case.not_applicable("It opens no session.")
        return case.unknown("No session was opened; that needs a test credential.")
    if found := weakness(ids):
        return case.violated(found, samples=len(ids), lengths=[len(each) for each in ids])
    if len(ids) < SAMPLES:
        return case.unknown(f"Only {len(ids)} of {SAMPLES} sessions were opened, too few to compare.")
    return case.met(f"{len(ids)} session ids are long and have nothing in common.", lengths=[len(i) for i in ids])


@judges(
    "MCP-RS-22",
    "A server without sessions has no trace of them",
    level="SHOULD",
    severity=Severity.LOW,
    section="MCP 2026-07-28 transports, “Streamable HTTP”",
    versions=MODERN,
    safety=_SAFE,
    remediation="Answer GET and DELETE with 405, and never send an Mcp-Session-Id.",
)
def _stateless(case: Case) -> CheckResult:
    if case.seen.claims((*LEGACY, "2024-11-05")):
        return case.not_applicable("It speaks versions with sessions too.")
    if not case.seen.versions:
        return case.unknown("Which versions it speaks was not seen.")
    if any(exchange.header("mcp-session-id") for exchange in case.seen.observation.exchanges.values()):
        return case.violated("It hands out an Mcp-Session-Id, which 2026-07-28 has done away with.")
    statuses = {}
    for question, method in ((Question.EVENTS, "GET"), (Question.DELETE, "DELETE")):
        exchange = case.seen.exchange(question)
        if exchange is None:
            return case.unseen(question)
        statuses[method] = exchange.status
    if later := [status for status in statuses.values() if status in (408, 429) or (status or 0) >= 500]:
        return case.unknown(f"It answered {later[0]}, which may pass.", answers=statuses)
    if wrong := [method for method, status in statuses.items() if status not in (401, 403, 405)]:
        return case.violated(
            f"It answers {' and '.join(f'{m} with {statuses[m]}' for m in wrong)} instead of 405.", answers=statuses
        )
    if set(statuses.values()) == {405}:
        return case.met("GET and DELETE are answered with 405, and no session id is handed out.")
    return case.unknown("It asks for a token before it looks at the method.", answers=statuses)


@judges(
    "MCP-RS-23",
    "The version of header and body must agree",
    level="MUST",
    severity=Severity.MEDIUM,
    section="MCP 2026-07-28 transports, “Protocol Version Header”",
    versions=MODERN,
    safety=_SAFE,
    remediation="Answer 400 with JSON-RPC error -32020 when they differ, before anything else is done.",
)
def _mismatch(case: Case) -> CheckResult:
    exchange = _behind_the_gate(case, Question.VERSION_MISMATCH)
    if isinstance(exchange, CheckResult):
        return exchange
    code = error_code(exchange)
    if is_served(exchange) and code is None:
        return case.violated(
            "It served a request whose header and body name different versions.", status=exchange.status
        )
    if exchange.status == 400 and code == HEADER_MISMATCH:
        return case.met("It answers 400 and -32020.")
    return case.violated(
        f"It refuses with {exchange.status} and {code if code is not None else 'no JSON-RPC error'} instead of 400 and "
        "-32020.",
        severity=Severity.LOW,
    )


@judges(
    "MCP-RS-24",
    "A version that never was is refused",
    level="MUST",
    severity=Severity.LOW,
    section="MCP transports, “Protocol Version Header”; MCP 2026-07-28, “Versioning”",
    versions=since("2025-06-18"),
    safety=_SAFE,
    remediation="Answer 400, and in 2026-07-28 error -32022 with the versions that are supported.",
)
def _unheard(case: Case) -> CheckResult:
    if case.seen.observation.transport == "sse":
        return case.not_applicable("HTTP+SSE has no header for a version.")
    exchange = _behind_the_gate(case, Question.VERSION_UNHEARD)
    if isinstance(exchange, CheckResult):
        return exchange
    code = error_code(exchange)
    if is_served(exchange) and code is None:
        return case.violated("It served a request of the version 1900-01-01.", status=exchange.status)
    if exchange.status != 400:
        return case.violated(f"It answers the version 1900-01-01 with {exchange.status} instead of 400.")
    if not case.seen.claims(MODERN):
        return case.met("It answers the version 1900-01-01 with 400.")
    if code != UNSUPPORTED_VERSION:
        return case.violated("It answers 400, but without the error -32022 that tells clients what to do.")
    error = exchange.document["error"]
    supported = error.get("data", {}).get("supported") if isinstance(error.get("data"), Mapping) else None
    if not texts(supported):
        return case.violated("It answers 400 and -32022, but does not say which versions are supported.")
    return case.met("It answers 400 and -32022, and says which versions it supports.", supported=texts(supported)[:20])


@judges(
    "MCP-RS-25",
    "It is reached over TLS alone",
    level="SHOULD",
    severity=Severity.HIGH,
    section="MCP authorization, “Communication Security”; OAuth 2.1 §1.5; RFC 9325 §3.1.1",
    needs_answer=False,
    remediation="Serve TLS 1.2 or later with a valid certificate, and redirect or close plain http.",
)
def _tls(case: Case) -> CheckResult:
    parts = split(case.seen.url)
    if parts is None:
        return case.unknown("This is no http address.")
    first = next((e for q in HANDSHAKES if (e := case.seen.observation.exchanges.get(q)) is not None), None)
    if first is None:
        return case.unseen(Question.DISCOVER)
    if parts.scheme == "http":
        if is_loopback(case.seen.url):
            return case.not_applicable("It is reached on this machine only, where nothing crosses a network.")
        if not first.is_answered:
            return case.unknown(first.error)
        return case.violated("It is served over plain http: whoever is on the way reads every token.")
    if not first.is_answered:
        if _is_about_tls(first.error):
            return case.violated(first.error, severity=Severity.CRITICAL)
        return case.unknown(first.error)
    if first.tls_version in ("SSLv3", "TLSv1", "TLSv1.1"):
        return case.violated(f"It agrees on {first.tls_version}, which is broken.", tls=first.tls_version)
    plain = case.seen.observation.exchanges.get(Question.PLAIN_HTTP)
    if plain is None:
        return case.unseen(Question.PLAIN_HTTP)
    facts: dict[str, Any] = {"tls": first.tls_version, "plain_http": plain.status}
    if not plain.is_answered:
        if case.seen.observation.skipped.get(Question.PLAIN_HTTP):
            return case.unseen(Question.PLAIN_HTTP)
        return case.met("TLS is valid, and plain http is closed.", **facts)
    if plain.status in (301, 302, 303, 307, 308):
        if plain.header("location").lower().startswith("https://"):
            return case.met("TLS is valid, and plain http leads to https.", **facts)
        return case.violated("Plain http leads to something that is not https.", **facts)
    if is_served(plain) or plain.status == 401:
        return case.violated("It answers over plain http too.", **facts)
    return case.met(f"TLS is valid, and plain http is refused with {plain.status}.", **facts)


@judges(
    "MCP-RS-26",
    "The old HTTP+SSE transport is gone",
    level="SHOULD NOT",
    severity=Severity.LOW,
    section="MCP deprecated features; MCP transports, “Backwards Compatibility”",
    remediation="Move clients to Streamable HTTP and close the SSE endpoint.",
)
def _sse(case: Case) -> CheckResult:
    places = (Question.EVENTS, Question.AUTHORIZED_EVENTS, Question.EVENTS_BESIDE)
    asked = [question for question in places if case.seen.exchange(question) is not None]
    for question in asked:
        exchange = case.seen.exchange(question)
        if exchange is not None and exchange.announces_endpoint:
            return case.violated("It still serves HTTP+SSE.", address=exchange.url)
    if not asked:
        return case.unseen(Question.EVENTS)
    gated = [e for q in asked if (e := case.seen.exchange(q)) is not None and e.status in (401, 403, 429)]
    # The same gate stands before the transports of today, so a refusal tells only where GET means nothing else.
    if gated and case.seen.claims(since("2025-03-26")) is None:
        return case.unknown(f"{gated[0].url} answers {gated[0].status}; what is behind it needs a token.")
    return case.met("No HTTP+SSE endpoint was found.", looked_at=[str(q) for q in asked])


@judges(
    "MCP-RS-27",
    "It speaks a version that policy allows",
    level="policy",
    severity=Severity.LOW,
    section="MCP, “Versioning”",
    is_for_launched=True,
    remediation="Update the server's MCP library.",
)
def _minimum(case: Case) -> CheckResult:
    if not case.seen.minimum:
        return case.not_applicable("No policy names a least version.")
    if not case.seen.versions:
        return case.unknown("Which versions it speaks could not be seen without a token.")
    newest = max(case.seen.versions)
    if newest < case.seen.minimum:
        return case.violated(f"The newest version it speaks is {newest}; policy wants {case.seen.minimum}.")
    return case.met(f"It speaks {newest}.", versions=list(case.seen.versions))


@judges(
    "MCP-RS-28",
    "Its authorization extensions are known",
    level="information",
    severity=Severity.NONE,
    section="MCP 2026-07-28, “server/discover”; MCP authorization extensions",
    versions=MODERN,
    remediation="Nothing needs to be done: extensions are optional.",
)
def _extensions(case: Case) -> CheckResult:
    found = result(case.seen.exchange(Question.AUTHORIZED_DISCOVER)) or result(case.seen.exchange(Question.DISCOVER))
    if found is None:
        return case.unseen(Question.AUTHORIZED_DISCOVER) if case.seen.gate else case.unseen(Question.DISCOVER)
    capabilities = found.get("capabilities")
    extensions = capabilities.get("extensions") if isinstance(capabilities, Mapping) else None
    names = sorted(str(name)[:200] for name in extensions) if isinstance(extensions, Mapping) else []
    about = [name for name in names if name.startswith(_AUTHORIZATION_EXTENSIONS)]
    if about:
        return case.met(f"It offers {', '.join(about[:10])}.", extensions=names[:30])
    return case.violated("It offers no authorization extension, which is only worth knowing.", extensions=names[:30])


@judges(
    "MCP-RS-29",
    "Nothing changed unnoticed",
    level="MUST for clients of 2026-07-28: they register anew where the authorization server changed",
    severity=Severity.MEDIUM,
    section="MCP 2026-07-28 authorization, “Client Registration”; OWASP MCP03:2025",
    is_for_launched=True,
    remediation="Find out who changed it and why, then approve the tools again.",
)
def _drift(case: Case) -> CheckResult:
    if not case.seen.previous:
        return case.not_applicable("It was not probed before, so there is nothing to compare with.")
    current = snapshot(case.seen.observation, case.seen.issuers)
    if said := differences(case.seen.previous, current):
        return case.violated(" ".join(said), changes=said)
    if missing := unseen(case.seen.previous, current):
        return case.unknown(f"What was seen is unchanged; its {', '.join(missing)} could not be seen this time.")
    return case.met("Authorization servers, key sets, scopes and tools are as they were.")


def _session(case: Case, question: Question) -> str:
    exchange = case.seen.exchange(question)
    return exchange.header("mcp-session-id") if exchange is not None else ""


def _handshake_was_served(case: Case, questions: Sequence[Question] = (*ANONYMOUS, *HANDSHAKES)) -> bool:
    stream = case.seen.exchange(Question.EVENTS)
    if case.seen.observation.transport == "sse" and stream is not None:
        return is_served(stream)
    return any(result(case.seen.exchange(question)) is not None for question in questions)


def _anybody_was_served(case: Case) -> bool:
    return _handshake_was_served(case, ANONYMOUS)


def _behind_the_gate(case: Case, question: Question) -> Exchange | CheckResult:
    """The answer to a request that only a server which serves us can misjudge."""
    exchange = case.seen.exchange(question)
    if exchange is None:
        return case.unseen(question)
    if exchange.status in (401, 403):
        return case.unknown("It asks for a token before it looks at the version; that needs a test credential.")
    if exchange.status in (408, 429) or (exchange.status or 0) >= 500:
        return case.unknown(f"It answered {exchange.status}, which does not say what it makes of the version.")
    return exchange


def _is_about_tls(error: str) -> bool:
    return "TLS" in error or error.startswith("The certificate")
