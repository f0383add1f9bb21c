"""Checks of an authorization server that only its tokens answer. An observation holds what they say, never them."""

from collections.abc import Mapping
from typing import Any

from inventory.posture.issuer_cases import (
    Case,
    answer_to,
    document,
    error_code,
    issuer_check,
    judges,
    listed,
    may_answer_later,
    seen,
    shown,
    text,
    texts,
)
from inventory.posture.model import Check, CheckResult, Target, since
from inventory.states import Severity, Verdict
from providers.observations import Exchange, SafetyClass
from providers.questions import IssuerQuestion as Question

_NOT_ASKED = "It was not asked: this takes a test client of the owner."


def _has_token(exchange: Exchange) -> bool:
    return exchange.status == 200 and document(exchange).get("access_token") is not None


def _claims(exchange: Exchange) -> Mapping[str, Any]:
    """What the access token says of itself; empty for one that only its issuer can read."""
    token = document(exchange).get("access_token")
    claims = token.get("claims") if isinstance(token, Mapping) else None
    return claims if isinstance(claims, Mapping) else {}


def _introspected(case: Case) -> Mapping[str, Any]:
    """What introspection says of an active token, when it speaks of an audience at all: it need not."""
    exchange = case.exchange(Question.INTROSPECTION)
    said = document(exchange) if exchange is not None and exchange.status == 200 else {}
    return said if said.get("active") is True and "aud" in said else {}


def _refusal(exchange: Exchange) -> str:
    return f"no token was issued ({exchange.status} {error_code(exchange) or 'without an error code'})"


@judges(
    issuer_check(
        "20",
        "No token is issued for a resource that nobody registered",
        level="RFC 8707",
        safety=SafetyClass.CREDENTIALED,
        severity=Severity.MEDIUM,
        section="RFC 8707 §2",
        versions=since("2025-06-18"),
        remediation="Refuse an unknown resource with invalid_target.",
    )
)
def resources_are_known(check: Check, case: Case) -> CheckResult:
    exchange = answer_to(check, case, Question.TOKEN_UNREGISTERED_RESOURCE, not_asked=_NOT_ASKED)
    if isinstance(exchange, CheckResult):
        return exchange
    if _has_token(exchange):
        return check.violated(
            case.subject,
            "It issued a token for a resource that does not exist, or ignored the parameter.",
            **seen(exchange),
        )
    if error_code(exchange) == "invalid_target":
        return check.met(case.subject, "It refused with invalid_target.", **seen(exchange))
    return check.unknown(
        case.subject, f"Whether the resource was the reason is open: {_refusal(exchange)}.", **seen(exchange)
    )


@judges(
    issuer_check(
        "21",
        "A token is good for the server it was asked for and for nothing else",
        level="MUST",
        safety=SafetyClass.CREDENTIALED,
        severity=Severity.HIGH,
        section="MCP Authorization, Token Audience Binding and Validation; RFC 8707 §2; RFC 9068 §2.2",
        versions=since("2025-06-18"),
        remediation="Put the requested resource into aud, and only that.",
    )
)
def audience_is_bound(check: Check, case: Case) -> CheckResult:
    exchange = answer_to(check, case, Question.TOKEN, not_asked=_NOT_ASKED)
    if isinstance(exchange, CheckResult):
        return exchange
    if not _has_token(exchange):
        return check.unknown(case.subject, f"There is nothing to look at: {_refusal(exchange)}.", **seen(exchange))
    wanted = text(document(exchange).get("requested_resource"))
    if not wanted:
        return check.unknown(case.subject, "It was not asked for a certain server.", **seen(exchange))
    claims = _claims(exchange) or _introspected(case)
    if not claims:
        return check.unknown(
            case.subject, "The token does not say what it is for, and introspection does not either.", **seen(exchange)
        )
    audience = claims.get("aud")
    named = (audience,) if isinstance(audience, str) else texts(audience) or ()
    told = {"audience": listed(named), "resource": shown(wanted), **seen(exchange)}
    if not named:
        return check.violated(case.subject, "The token names no audience, so every server may take it.", **told)
    if wanted not in named:
        return check.violated(case.subject, f"The token is for {listed(named)} instead of {shown(wanted)}.", **told)
    if len(named) > 1:
        others = [name for name in named if name != wanted]
        return check.violated(case.subject, f"The token is also for {listed(others)}.", **told)
    return check.met(case.subject, f"The token is for {shown(wanted)} alone.", **told)


@judges(
    issuer_check(
        "22",
        "Access tokens are short-lived",
        level="SHOULD",
        safety=SafetyClass.CREDENTIALED,
        severity=Severity.MEDIUM,
        section="MCP Authorization, Token Theft",
        remediation="Issue access tokens for an hour at most, and refresh them.",
    )
)
def tokens_are_short(check: Check, case: Case) -> CheckResult:
    exchange = answer_to(check, case, Question.TOKEN, not_asked=_NOT_ASKED)
    if isinstance(exchange, CheckResult):
        return exchange
    if not _has_token(exchange):
        return check.unknown(case.subject, f"There is nothing to look at: {_refusal(exchange)}.", **seen(exchange))
    seconds = _lifetime(exchange)
    longest = int(case.longest_token.total_seconds())
    if seconds is None or seconds <= 0:
        return check.unknown(case.subject, "The answer does not say how long the token lives.", **seen(exchange))
    if seconds > longest:
        return check.violated(
            case.subject,
            f"A token lives {seconds:g} s, where {longest} s are the most.",
            seconds=seconds,
            **seen(exchange),
        )
    return check.met(case.subject, f"A token lives {seconds:g} s.", seconds=seconds, **seen(exchange))


def _lifetime(exchange: Exchange) -> float | None:
    claims = _claims(exchange)
    ends, begins = _number(claims.get("exp")), _number(claims.get("iat"))
    if ends is not None and begins is not None:
        return ends - begins  # what resource servers go by, whatever the answer says beside it
    return _number(document(exchange).get("expires_in"))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e15 < value < 1e15:
        return None
    return value


@judges(
    issuer_check(
        "23",
        "A refresh token works once, and its reuse ends what came of it",
        level="MUST for public clients",
        safety=SafetyClass.CREDENTIALED,
        severity=Severity.HIGH,
        section="MCP Authorization, Token Theft; OAuth 2.1 §4.3.1; RFC 9700 §4.14.2",
        versions=since("2025-06-18"),
        remediation="Rotate refresh tokens, and revoke the whole family when an old one comes back.",
    )
)
def refresh_tokens_rotate(check: Check, case: Case) -> CheckResult:
    first = answer_to(check, case, Question.REFRESH, not_asked="It was not asked: this takes a refresh token.")
    if isinstance(first, CheckResult):
        return first
    if not _has_token(first):
        return check.unknown(case.subject, f"There is nothing to look at: {_refusal(first)}.", **seen(first))
    softer = Severity.LOW if document(first).get("is_confidential") is True else None
    if document(first).get("refresh_token") is None or document(first).get("is_same_refresh_token") is True:
        return check.violated(
            case.subject, "The refresh token stays the same after use.", severity=softer, **seen(first)
        )
    again, newest = case.exchange(Question.REFRESH_AGAIN), case.exchange(Question.REFRESH_NEWEST)
    if again is None or again.error or may_answer_later(again):
        return check.unknown(
            case.subject, "Whether the old refresh token still works could not be seen.", **seen(first)
        )
    if _has_token(again):
        return check.violated(
            case.subject, "A refresh token that was used already works again.", severity=softer, **seen(again)
        )
    if error_code(again) != "invalid_grant":
        return check.unknown(case.subject, f"Why the old one was refused is open: {_refusal(again)}.", **seen(again))
    if newest is None or newest.error or may_answer_later(newest):
        return check.unknown(
            case.subject,
            "The old refresh token is refused; whether its family was ended could not be seen.",
            **seen(again),
        )
    if _has_token(newest):
        return check.violated(
            case.subject,
            "The old refresh token is refused, but what came of it stays valid after the reuse.",
            severity=Severity.LOW if softer else Severity.MEDIUM,
            **seen(newest),
        )
    return check.met(case.subject, "The old refresh token is refused, and its reuse ended the family.", **seen(again))


@judges(
    Check(
        id="MCP-AS-26",
        target=Target.AUTHORIZATION_SERVER,
        title="A token for one server cannot be used at another",
        level="derived",
        safety=SafetyClass.CREDENTIALED,
        severity=Severity.HIGH,
        section="MCP Authorization, Access Token Privilege Restriction; RFC 8707 §3",
        versions=since("2025-06-18"),
        remediation="Bind tokens to one audience before several servers rely on this issuer.",
    )
)
def servers_are_kept_apart(check: Check, case: Case) -> CheckResult:
    if len(set(case.servers)) < 2:
        return check.not_applicable(case.subject, "No second server is known that relies on it.")
    told: dict[str, Any] = {"servers": [shown(server) for server in sorted(set(case.servers))[:20]]}
    verdicts = {result.verdict for result in (resources_are_known(case), audience_is_bound(case))}
    many = f"{len(set(case.servers))} servers rely on it"
    if Verdict.VIOLATED in verdicts:
        return check.violated(case.subject, f"{many}, and its tokens are not bound to one of them.", **told)
    if verdicts == {Verdict.MET}:
        return check.met(case.subject, f"{many}, and its tokens are bound to the one they were asked for.", **told)
    return check.unknown(case.subject, f"{many}; whether its tokens are bound to one of them was not seen.", **told)
