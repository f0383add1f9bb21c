"""Checks of whom an MCP server lets in: nobody without a token, and no token that is not for it."""

from __future__ import annotations

from inventory.posture.model import CheckResult, since
from inventory.posture.server_cases import (
    ANONYMOUS,
    Case,
    is_forbidden,
    is_served,
    judges,
    result,
    without_authorization,
)
from inventory.posture.wording import counted
from inventory.states import Severity
from providers.challenges import for_tokens
from providers.observations import Exchange, SafetyClass
from providers.questions import Question

_SAFE, _CREDENTIALED = SafetyClass.SAFE, SafetyClass.CREDENTIALED


@judges(
    "MCP-RS-01",
    "Anonymous requests are refused",
    level="MUST where authorization is required",
    severity=Severity.CRITICAL,
    section="MCP authorization, “Error Handling”",
    remediation="Answer every request without a valid token with 401, the handshake and tools/list included.",
)
def _anonymous(case: Case) -> CheckResult:
    answer = result(case.seen.exchange(Question.TOOLS))
    if names := _listed_to_anybody(case):
        said = f"It lists {counted(len(names), 'tool')} to anybody, without any credential."
        return case.violated(said, tools=names[:30])
    if answer is not None:
        return case.violated("It answers anybody, without any credential. It lists no tool.", severity=Severity.HIGH)
    answers = {str(q): e for q in ANONYMOUS if (e := case.seen.exchange(q)) is not None}
    statuses = {name: exchange.status for name, exchange in answers.items()}
    handshake = next((q for q in (Question.DISCOVER, Question.INITIALIZE) if result(case.seen.exchange(q))), None)
    refused = case.seen.exchange(Question.TOOLS)
    if handshake is not None and refused is not None and refused.status in (401, 403):
        return case.violated(
            "It answers the handshake of anybody, and refuses only what follows.",
            severity=Severity.HIGH,
            answers=statuses,
        )
    if handshake is not None:
        return case.violated(
            "It answers the handshake of anybody. Whether it lists its tools could not be seen.",
            severity=Severity.HIGH,
            answers=statuses,
        )
    if case.seen.gate is not None:
        return case.met("It answers anonymous requests with 401.", answers=statuses)
    if answers and all(is_forbidden(exchange) for exchange in answers.values()):
        return case.violated(
            "It refuses anonymous requests, but with 403 instead of 401, so clients do not try to authorize.",
            severity=Severity.LOW,
            answers=statuses,
        )
    events = case.seen.exchange(Question.EVENTS)
    if case.seen.observation.transport == "sse" and events is not None and is_served(events):
        return case.violated("It opens its event stream to anybody.", severity=Severity.HIGH, answers=statuses)
    return case.unknown(case.seen.why_not_mcp, answers=statuses)


@judges(
    "MCP-RS-12",
    "A token that is none is refused as invalid",
    level="MUST",
    severity=Severity.HIGH,
    section="RFC 6750 §3.1; MCP authorization, “Error Handling”",
    safety=_SAFE,
    remediation='Answer 401 with `error="invalid_token"`.',
)
def _invalid(case: Case) -> CheckResult:
    exchange = _gated(case, Question.INVALID_TOKEN)
    if isinstance(exchange, CheckResult):
        return exchange
    if is_served(exchange):
        return case.violated("It served a request whose token was no token at all.", status=exchange.status)
    if exchange.status != 401:
        return _other_refusal(case, exchange)
    challenge = for_tokens(exchange.all("www-authenticate"))
    error = challenge.parameters.get("error", "") if challenge else ""
    if error == "invalid_token":
        return case.met("It answers 401 and says invalid_token.")
    said = f"says {error[:60]}" if error else "does not say that the token was invalid"
    return case.violated(
        f"It answers 401, but {said}; clients cannot tell an invalid token from a missing one.", severity=Severity.LOW
    )


@judges(
    "MCP-RS-13",
    "Forged tokens are refused",
    level="MUST",
    severity=Severity.CRITICAL,
    section="MCP authorization, “Token Handling”; RFC 8725 §2.1, §3.2",
    versions=since("2025-06-18"),
    safety=_SAFE,
    remediation="Verify signature, algorithm, issuer and audience of every token before anything else.",
)
def _forged(case: Case) -> CheckResult:
    exchanges = {}
    for question in (Question.UNSIGNED_TOKEN, Question.FORGED_TOKEN):
        exchange = _gated(case, question)
        if isinstance(exchange, CheckResult):
            return exchange
        exchanges[question] = exchange
    names = {
        Question.UNSIGNED_TOKEN: "without a signature",
        Question.FORGED_TOKEN: "signed by a key made up on the spot",
    }
    statuses = {str(question): exchange.status for question, exchange in exchanges.items()}
    if served := [names[q] for q, exchange in exchanges.items() if is_served(exchange)]:
        return case.violated(f"It served a request whose token was {' and one '.join(served)}.", answers=statuses)
    if all(exchange.status == 401 for exchange in exchanges.values()):
        return case.met("It refuses a token without a signature and one signed by a stranger.", answers=statuses)
    return _other_refusal(case, next(e for e in exchanges.values() if e.status != 401))


@judges(
    "MCP-RS-14",
    "An expired token is refused",
    level="MUST",
    severity=Severity.CRITICAL,
    section="MCP authorization, “Token Handling”; OAuth 2.1 §5.2",
    safety=_CREDENTIALED,
    remediation="Compare `exp` with the clock at every request, or introspect.",
)
def _expired(case: Case) -> CheckResult:
    return _refuses(case, Question.EXPIRED_TOKEN, "a token that has expired")


@judges(
    "MCP-RS-15",
    "A token for another resource is refused",
    level="MUST",
    severity=Severity.CRITICAL,
    section="MCP authorization, “Access Token Privilege Restriction”; RFC 8707 §2",
    versions=since("2025-06-18"),
    safety=_CREDENTIALED,
    remediation="Accept only tokens whose audience is this server's own address.",
)
def _audience(case: Case) -> CheckResult:
    return _refuses(case, Question.OTHER_AUDIENCE, "a token that was issued for another resource")


@judges(
    "MCP-RS-16",
    "A token in the query string is refused",
    level="MUST NOT",
    severity=Severity.HIGH,
    section="MCP authorization, “Token Requirements”; OAuth 2.1 §5.1",
    safety=_CREDENTIALED,
    remediation="Do not read `access_token` from the query string.",
)
def _query(case: Case) -> CheckResult:
    return _refuses(case, Question.QUERY_TOKEN, "a token in the query string", also=(400,))


@judges(
    "MCP-RS-17",
    "Too little scope is said to be too little",
    level="SHOULD",
    severity=Severity.MEDIUM,
    section="MCP authorization, “Scope Challenge Handling”; RFC 6750 §3.1",
    versions=since("2025-11-25"),
    safety=_CREDENTIALED,
    remediation='Answer 403 with `error="insufficient_scope"`, `scope` and `resource_metadata`.',
)
def _low_scope(case: Case) -> CheckResult:
    exchange = _tested(case, Question.LOW_SCOPE)
    if isinstance(exchange, CheckResult):
        return exchange
    if is_served(exchange):
        return case.violated("It served a request that the token's scope does not cover.", status=exchange.status)
    if exchange.status not in (401, 403):
        return case.unknown(f"It answered {exchange.status}, which says nothing about the scope.")
    challenge = for_tokens(exchange.all("www-authenticate"))
    told = challenge.parameters if challenge else {}
    if exchange.status == 403 and told.get("error") == "insufficient_scope":
        missing = [name for name in ("scope", "resource_metadata") if not told.get(name)]
        if not missing:
            return case.met("It answers 403, says insufficient_scope and which scope it wants.")
        return case.violated(
            f"It answers 403 and insufficient_scope, without {' and '.join(missing)}.", severity=Severity.LOW
        )
    return case.violated(f"It answers {exchange.status} without saying that the scope was insufficient.")


@judges(
    "MCP-RS-18",
    "A revoked token stops working in time",
    level="policy",
    severity=Severity.MEDIUM,
    section="RFC 7009 §2.1; RFC 7662 §4",
    versions=since("2025-06-18"),
    safety=_CREDENTIALED,
    remediation="Introspect tokens, or keep their lifetime below the time that policy allows.",
)
def _revoked(case: Case) -> CheckResult:
    exchange = _tested(case, Question.REVOKED_TOKEN)
    if isinstance(exchange, CheckResult):
        return exchange
    seconds = round(exchange.seconds, 1)
    if is_served(exchange):
        return case.violated(f"It still served a revoked token after {seconds:g} s.", seconds=seconds)
    if exchange.status == 401:
        return case.met(f"It refused the token {seconds:g} s after it was revoked.", seconds=seconds)
    return case.unknown(f"It answered {exchange.status}, which does not say whether the token still works.")


def _listed_to_anybody(case: Case) -> list[str]:
    """The names of the tools that were listed without a credential: the whole listing where there is one."""
    if case.seen.observation.is_listed_anonymously:
        return [tool.name for tool in case.seen.observation.tools or ()]
    answer = result(case.seen.exchange(Question.TOOLS)) or {}
    listed = answer.get("tools")
    return [str(t.get("name", ""))[:300] for t in listed if isinstance(t, dict)] if isinstance(listed, list) else []


def _gated(case: Case, question: Question) -> Exchange | CheckResult:
    """The answer to a made-up token; a verdict where there is none or where it shows nothing."""
    if decided := without_authorization(case):
        return decided
    if case.seen.gate is None:
        return case.unknown("No anonymous request was refused, so a made-up token could not show a difference.")
    exchange = case.seen.exchange(question)
    if exchange is None:
        return case.unseen(question)
    if (exchange.status or 0) >= 500 or exchange.status in (408, 429) or 300 <= (exchange.status or 0) < 400:
        return case.unknown(f"It answered {exchange.status}, which does not say whether the token was refused.")
    return exchange


def _tested(case: Case, question: Question) -> Exchange | CheckResult:
    if case.seen.offers_authorization is False:
        return case.not_applicable("It asks nobody for authorization; MCP-RS-01 says so.")
    exchange = case.seen.exchange(question)
    return exchange if exchange is not None else case.unseen(question)


def _refuses(case: Case, question: Question, what: str, also: tuple[int, ...] = ()) -> CheckResult:
    exchange = _tested(case, question)
    if isinstance(exchange, CheckResult):
        return exchange
    if is_served(exchange):
        return case.violated(f"It served {what}.", status=exchange.status)
    if exchange.status == 401 or exchange.status in also:
        return case.met(f"It answers {what} with {exchange.status}.")
    if exchange.status == 403:
        return _other_refusal(case, exchange)
    return case.unknown(f"It answered {exchange.status}, which does not say whether the token was refused.")


def _other_refusal(case: Case, exchange: Exchange) -> CheckResult:
    return case.violated(
        f"It refuses the token, but with {exchange.status} instead of 401, so clients do not get a new one.",
        severity=Severity.LOW,
        status=exchange.status,
    )
