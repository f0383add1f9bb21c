"""Checks of an authorization server that its endpoints answer: registration, authorization, revocation and the rest."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

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
    sentence,
    shown,
    split,
    text,
    texts,
)
from inventory.posture.model import Check, CheckResult
from inventory.states import Severity, Verdict
from providers.observations import Exchange, SafetyClass
from providers.questions import IssuerQuestion as Question

# What an endpoint says that looked at the body before it asked who is calling.
_LOOKED = frozenset({"invalid_redirect_uri", "invalid_client_metadata"})
# What it says to somebody it would have to trust first.
_WANTS_TRUST = frozenset({"invalid_software_statement", "unapproved_software_statement", "access_denied"})
_REGISTERED = (200, 201)
_REFUSED = (401, 403)

LEFT_BEHIND = "left_behind"  # in the evidence: clients that a check made and could not remove
_NOT_ASKED = "It was not asked: this registers clients, which an operator has to opt into."

BAD_REDIRECTS = {
    Question.REGISTRATION_JAVASCRIPT: "a javascript: address",
    Question.REGISTRATION_PLAIN_HTTP: "plain HTTP to another machine",
    Question.REGISTRATION_WILDCARD: "a wildcard",
    Question.REGISTRATION_FRAGMENT: "a fragment",
}


def _asked(check: Check, case: Case, question: Question, endpoint: str) -> Exchange | CheckResult:
    address = case.metadata.get(endpoint)
    why = "" if isinstance(address, str) else f": {endpoint} is {shown(address)}"
    return answer_to(check, case, question, not_asked=f"It was not asked{why}.")


def _with_leftovers(result: CheckResult, case: Case) -> CheckResult:
    """The result, naming the clients that could not be removed: somebody has to do it by hand."""
    left = [
        {
            "client_id": shown(leftover.client_id),
            "registration_uri": shown(leftover.registration_uri),
            "reason": shown(leftover.reason),
        }
        for leftover in case.observation.leftovers
    ]
    return replace(result, evidence={**result.evidence, LEFT_BEHIND: left}) if left else result


def _left_over(case: Case, exchange: Exchange) -> str:
    client_id = text(document(exchange).get("client_id"))
    stayed = any(leftover.client_id == client_id for leftover in case.observation.leftovers)
    return "it could not be removed again" if stayed or not client_id else "it was removed again"


@judges(
    issuer_check(
        "10",
        "Nobody registers a client without being known",
        level="policy",
        safety=SafetyClass.SAFE,
        severity=Severity.MEDIUM,
        section="RFC 7591 §3 and §5",
        remediation="Ask for an initial access token at the registration endpoint, or close it.",
    )
)
def registration_is_guarded(check: Check, case: Case) -> CheckResult:
    return _with_leftovers(_is_guarded(check, case), case)


def _is_guarded(check: Check, case: Case) -> CheckResult:
    if case.metadata.get("registration_endpoint") is None:
        return check.met(case.subject, "It advertises no registration endpoint.")
    exchange = _asked(check, case, Question.REGISTRATION_INVALID, "registration_endpoint")
    if isinstance(exchange, CheckResult):
        return exchange
    code = error_code(exchange)
    if exchange.status in _REFUSED or code in _WANTS_TRUST:
        return check.met(case.subject, f"A stranger's request was refused with {exchange.status}.", **seen(exchange))
    if exchange.status in _REGISTERED:
        return check.violated(
            case.subject,
            "A request with an impossible redirect address, from nobody in particular, made a client; "
            f"{_left_over(case, exchange)}.",
            severity=Severity.HIGH,
            **seen(exchange),
        )
    if exchange.status == 400 and code in _LOOKED:
        lax = redirects_are_checked(case).verdict is Verdict.VIOLATED
        return check.violated(
            case.subject,
            f"It looked into a stranger's request and refused only its contents ({code})."
            + (" It takes dangerous redirect addresses, too." if lax else ""),
            severity=Severity.HIGH if lax else None,
            **seen(exchange),
        )
    return check.unknown(
        case.subject,
        f"It answered {exchange.status}, which does not tell whether strangers may register.",
        **seen(exchange),
    )


@judges(
    issuer_check(
        "11",
        "Registration refuses redirect addresses that an attacker could use",
        level="MUST",
        safety=SafetyClass.MODIFYING,
        severity=Severity.HIGH,
        section="MCP Authorization, Communication Security; RFC 9700 §2.1 and §4.1",
        remediation="Accept https and loopback redirect addresses only, without wildcards and fragments.",
    )
)
def redirects_are_checked(check: Check, case: Case) -> CheckResult:
    return _with_leftovers(_checks_redirects(check, case), case)


def _checks_redirects(check: Check, case: Case) -> CheckResult:
    if case.metadata.get("registration_endpoint") is None:
        return check.not_applicable(case.subject, "It advertises no registration endpoint.")
    asked = {question: exchange for question in BAD_REDIRECTS if (exchange := case.exchange(question)) is not None}
    if not asked:
        return check.unknown(case.subject, _NOT_ASKED)
    taken = [BAD_REDIRECTS[question] for question, exchange in asked.items() if exchange.status in _REGISTERED]
    told: dict[str, Any] = {
        "requests": {BAD_REDIRECTS[question]: seen(exchange) for question, exchange in asked.items()}
    }
    if taken:
        kept = [exchange for exchange in asked.values() if exchange.status in _REGISTERED]
        stayed = any("not" in _left_over(case, exchange) for exchange in kept)
        after = "not all of these clients could be removed again" if stayed else "these clients were removed again"
        return check.violated(case.subject, f"It registered {listed(taken)}; {after}.", **told)
    unclear = [exchange for exchange in asked.values() if exchange.status != 400]
    if unclear or len(asked) < len(BAD_REDIRECTS):
        why = _answer(unclear[0]) if unclear else "not every kind was asked"
        return check.unknown(case.subject, f"Which addresses it takes could not be seen: {why}.", **told)
    if not _takes_clients(case) and any(error_code(exchange) != "invalid_redirect_uri" for exchange in asked.values()):
        return check.unknown(
            case.subject, "It refuses a well-formed registration too, so its refusal says nothing.", **told
        )
    return check.met(case.subject, f"It refused {listed(BAD_REDIRECTS.values())}.", **told)


def _takes_clients(case: Case) -> bool:
    """Whether a client that was registered as it should be was taken."""
    asked = (Question.REGISTRATION_CONFIDENTIAL, Question.REGISTRATION_PUBLIC)
    return any((exchange := case.exchange(name)) is not None and exchange.status in _REGISTERED for name in asked)


def _answer(exchange: Exchange) -> str:
    if exchange.error:
        return shown(exchange.error).rstrip(".")
    if exchange.status in _REFUSED:
        return f"it refused to register anything ({exchange.status})"
    return f"it answered {exchange.status}"


@judges(
    issuer_check(
        "12",
        "A registration has an end, and its owner can manage it",
        level="RFC 7591 and 7592",
        safety=SafetyClass.MODIFYING,
        severity=Severity.MEDIUM,
        section="RFC 7591 §3.2.1; RFC 7592 §3",
        remediation="Let registered secrets expire, give public clients none, and return a way to manage them.",
    )
)
def registrations_are_managed(check: Check, case: Case) -> CheckResult:
    return _with_leftovers(_is_managed(check, case), case)


def _is_managed(check: Check, case: Case) -> CheckResult:
    if case.metadata.get("registration_endpoint") is None:
        return check.not_applicable(case.subject, "It advertises no registration endpoint.")
    confidential, public = (
        case.exchange(Question.REGISTRATION_CONFIDENTIAL),
        case.exchange(Question.REGISTRATION_PUBLIC),
    )
    asked = [exchange for exchange in (confidential, public) if exchange is not None]
    if not asked:
        return check.unknown(case.subject, _NOT_ASKED)
    made = [exchange for exchange in asked if exchange.status in _REGISTERED]
    told: dict[str, Any] = {"requests": [seen(exchange) for exchange in asked]}
    if not made:
        return check.unknown(case.subject, f"No client could be registered: {_answer(asked[0])}.", **told)
    faults = []
    if confidential in made:
        faults += _secret_faults(document(confidential))
    if public in made and document(public).get("client_secret") is not None:
        faults.append("a public client was given a secret")
    if any(not _is_manageable(document(exchange)) for exchange in made):
        faults.append("no management address and token came with a registration")
    if faults:
        return check.violated(case.subject, sentence(faults), **told)
    if len(made) < 2:
        return check.unknown(
            case.subject, f"Only one kind of client could be registered: {_unmade(asked, made)}.", **told
        )
    return check.met(case.subject, "Secrets end, public clients have none, and registrations can be managed.", **told)


def _unmade(asked: Iterable[Exchange], made: list[Exchange]) -> str:
    return next((_answer(exchange) for exchange in asked if exchange not in made), "the other was not asked for")


def _secret_faults(registered: Any) -> list[str]:
    if registered.get("client_secret") is None:
        return []
    ends = registered.get("client_secret_expires_at")
    if isinstance(ends, bool) or not isinstance(ends, int | float):
        return ["a secret came without client_secret_expires_at"]
    return ["a secret never expires"] if ends <= 0 else []


def _is_manageable(registered: Any) -> bool:
    return bool(registered.get("registration_client_uri")) and registered.get("registration_access_token") is not None


def _redirect_of(exchange: Exchange) -> str:
    """Where an answer sends the browser; empty when it sends it nowhere."""
    return exchange.header("location") if exchange.status in (301, 302, 303, 307, 308) else ""


def _same_address(one: str, other: str) -> bool:
    a, b = split(one), split(other)
    return a is not None and b is not None and (a.scheme, a.netloc, a.path) == (b.scheme, b.netloc, b.path)


def _asked_redirect(exchange: Exchange) -> str:
    return next((value for name, value in _query(exchange.url) if name == "redirect_uri"), "")


def _query(url: str) -> list[tuple[str, str]]:
    parts = split(url)
    return parse_qsl(parts.query, keep_blank_values=True) if parts else []


def _authorized(check: Check, case: Case, question: Question) -> Exchange | CheckResult:
    if case.metadata.get("authorization_endpoint") is None:
        return check.not_applicable(case.subject, "It advertises no authorization endpoint.")
    return answer_to(check, case, question, not_asked="It was not asked: this needs a client that is registered there.")


@judges(
    issuer_check(
        "14",
        "Nobody is sent to a redirect address that the client did not register",
        level="MUST",
        safety=SafetyClass.SAFE,
        severity=Severity.CRITICAL,
        section="MCP Authorization, Open Redirection; OAuth 2.1 §2.3.1 and §7.12.2; RFC 9700 §2.1",
        remediation="Compare redirect addresses exactly, and show an error page where they differ.",
    )
)
def redirects_are_exact(check: Check, case: Case) -> CheckResult:
    asked = [
        exchange
        for name in (Question.AUTHORIZE_OTHER_HOST, Question.AUTHORIZE_OTHER_PATH)
        if (exchange := case.exchange(name)) is not None
    ]
    for exchange in asked:
        if _same_address(_redirect_of(exchange), _asked_redirect(exchange)):
            return check.violated(
                case.subject,
                f"It sends the browser to {shown(_asked_redirect(exchange))}, which the client never registered.",
                **seen(exchange),
            )
    first = _authorized(check, case, Question.AUTHORIZE_OTHER_HOST)
    if isinstance(first, CheckResult):
        return first
    if _is_refusal_of_everything(case):
        return check.unknown(
            case.subject,
            "It refuses a well-formed request of this client too, so its refusal says nothing.",
            **seen(first),
        )
    unclear = [exchange for exchange in asked if not _is_refusal(exchange)]
    if unclear:
        return check.unknown(
            case.subject,
            f"It neither refused the request nor followed it: {_shows(unclear[0])}. A sign-in may come first.",
            **seen(unclear[0]),
        )
    return check.met(case.subject, f"It refused with {first.status} and sent nobody anywhere.", **seen(first))


def _is_refusal(exchange: Exchange) -> bool:
    return exchange.status is not None and 400 <= exchange.status < 500 and not may_answer_later(exchange)


def _shows(exchange: Exchange) -> str:
    if exchange.error:
        return shown(exchange.error).rstrip(".")
    if goes := _redirect_of(exchange):
        parts = split(goes)
        return f"it redirects to {shown(parts.netloc or parts.path)}" if parts else "it redirects"
    return f"it answered {exchange.status}"


@judges(
    issuer_check(
        "15",
        "An authorization request without PKCE is refused",
        level="MUST",
        safety=SafetyClass.SAFE,
        severity=Severity.HIGH,
        section="MCP Authorization, Authorization Code Protection; OAuth 2.1 §4.1.1 and §7.5.2",
        remediation="Require code_challenge for every client.",
    )
)
def pkce_is_required(check: Check, case: Case) -> CheckResult:
    exchange = _authorized(check, case, Question.AUTHORIZE_WITHOUT_CHALLENGE)
    if isinstance(exchange, CheckResult):
        return exchange
    goes = _redirect_of(exchange)
    answer = dict(_query(goes)) if _same_address(goes, _asked_redirect(exchange)) else {}
    if "code" in answer:
        return check.violated(
            case.subject, "It issued an authorization code without a code_challenge.", **seen(exchange)
        )
    if answer.get("error") == "invalid_request" or (_is_refusal(exchange) and not _is_refusal_of_everything(case)):
        return check.met(case.subject, "It refused the request.", **seen(exchange))
    control = case.exchange(Question.AUTHORIZE_UNKNOWN_TYPE)
    if control is not None and _is_refused_early(control) and not answer and not _is_refusal(exchange):
        return check.violated(
            case.subject,
            "It refuses a request with an unknown response type at once, and goes on with one that has no "
            f"code_challenge: {_shows(exchange)}.",
            **seen(exchange),
        )
    said = shown(answer["error"]) if "error" in answer else _shows(exchange)
    return check.unknown(
        case.subject, f"Whether it insists on PKCE could not be seen before a sign-in: {said}.", **seen(exchange)
    )


def _is_refusal_of_everything(case: Case) -> bool:
    """A well-formed request is refused the same way, so a refusal says nothing of PKCE."""
    well_formed = case.exchange(Question.AUTHORIZE_WELL_FORMED)
    return well_formed is None or _is_refusal(well_formed)


def _is_refused_early(control: Exchange) -> bool:
    if _is_refusal(control):
        return True
    goes = _redirect_of(control)
    return _same_address(goes, _asked_redirect(control)) and "error" in dict(_query(goes))


@judges(
    issuer_check(
        "17",
        "Tokens can be revoked, by their own client alone",
        level="governance",
        safety=SafetyClass.SAFE,
        severity=Severity.MEDIUM,
        section="RFC 7009 §2.1",
        remediation="Offer a revocation endpoint that authenticates the client, as the token endpoint does.",
    )
)
def revocation_is_guarded(check: Check, case: Case) -> CheckResult:
    if case.metadata.get("revocation_endpoint") is None:
        return check.violated(
            case.subject, "It advertises no revocation endpoint: a token ends when it expires and not before."
        )
    exchange = _asked(check, case, Question.REVOCATION_ANONYMOUS, "revocation_endpoint")
    if isinstance(exchange, CheckResult):
        return exchange
    if exchange.status in _REFUSED or exchange.status == 400:
        return check.met(
            case.subject, f"A request without a client was refused with {exchange.status}.", **seen(exchange)
        )
    if exchange.status == 200:
        methods = texts(case.metadata.get("revocation_endpoint_auth_methods_supported")) or ()
        return check.violated(
            case.subject,
            "It accepted a request that named no client.",
            severity=Severity.LOW if "none" in methods else None,
            **seen(exchange),
        )
    return check.unknown(case.subject, f"It answered {exchange.status}, which tells nothing.", **seen(exchange))


@judges(
    issuer_check(
        "18",
        "Introspection answers nobody who does not authenticate",
        level="MUST",
        safety=SafetyClass.SAFE,
        severity=Severity.HIGH,
        section="RFC 7662 §2.1 and §2.3",
        remediation="Authenticate the caller of the introspection endpoint: it can be used to try tokens out.",
    )
)
def introspection_is_guarded(check: Check, case: Case) -> CheckResult:
    if case.metadata.get("introspection_endpoint") is None:
        return check.not_applicable(case.subject, "It advertises no introspection endpoint.")
    exchange = _asked(check, case, Question.INTROSPECTION_ANONYMOUS, "introspection_endpoint")
    if isinstance(exchange, CheckResult):
        return exchange
    if exchange.status in _REFUSED or (exchange.status == 400 and error_code(exchange) == "invalid_client"):
        return check.met(case.subject, f"A stranger was refused with {exchange.status}.", **seen(exchange))
    if exchange.status == 200 and "active" in document(exchange):
        return check.violated(case.subject, "It told a stranger whether a token is active.", **seen(exchange))
    return check.unknown(case.subject, f"It answered {exchange.status}, which tells nothing.", **seen(exchange))


@judges(
    issuer_check(
        "24",
        "The token endpoint refuses an unknown client in the way clients understand",
        level="MUST",
        safety=SafetyClass.SAFE,
        severity=Severity.LOW,
        section="RFC 6749 §5.1 and §5.2",
        remediation="Answer 401 or 400 with invalid_client, and Cache-Control: no-store.",
    )
)
def unknown_clients_are_refused(check: Check, case: Case) -> CheckResult:
    if case.metadata.get("token_endpoint") is None:
        return check.not_applicable(case.subject, "It advertises no token endpoint.")
    exchange = _asked(check, case, Question.TOKEN_UNKNOWN_CLIENT, "token_endpoint")
    if isinstance(exchange, CheckResult):
        return exchange
    if exchange.status == 200 and "access_token" in document(exchange):
        return check.violated(
            case.subject,
            "It issued a token to a client that does not exist.",
            severity=Severity.CRITICAL,
            **seen(exchange),
        )
    if exchange.status not in (400, 401) or not error_code(exchange):
        return check.unknown(
            case.subject,
            f"It answered {exchange.status} without an error code: this may be no token endpoint.",
            **seen(exchange),
        )
    # RFC 6749 leaves open what is looked at first, the client or the grant.
    if error_code(exchange) == "unsupported_grant_type":
        return check.unknown(
            case.subject,
            "It refused the grant before it looked at the client: unsupported_grant_type.",
            **seen(exchange),
        )
    faults = []
    if (code := error_code(exchange)) != "invalid_client":
        faults.append(f"the error is {code} instead of invalid_client")
    if "no-store" not in ",".join(exchange.all("cache-control")).lower():
        faults.append("the answer may be stored, as Cache-Control lacks no-store")
    if faults:
        return check.violated(case.subject, sentence(faults), **seen(exchange))
    return check.met(
        case.subject, f"Refused with {exchange.status} invalid_client, not to be stored.", **seen(exchange)
    )
