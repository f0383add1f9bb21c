"""Checks of ours for a delegated layer: a server that issues tokens of its own after somebody signed in elsewhere.

Such a layer stands between the identity provider, which everybody watches, and the tools. What it issues appears in no
log but its own, and ends only where it ends it.
"""

from typing import Any
from urllib.parse import parse_qsl

from inventory.posture.issuer_cases import Case, Judge, judges, listed, shown, split, texts
from inventory.posture.issuer_endpoints import introspection_is_guarded, revocation_is_guarded
from inventory.posture.model import Check, CheckResult, Target
from inventory.posture.wording import counted
from inventory.states import Severity, Verdict
from providers.observations import IssuerObservation, SafetyClass
from providers.questions import IssuerQuestion as Question

# A scope that says "whatever there is".
_BOUNDLESS = frozenset({"*", "all", "full-access", "full_access", "admin:*", "root"})


def _check(number: str, title: str, *, safety: SafetyClass, severity: Severity, remediation: str) -> Check:
    return Check(
        id=f"KR-DL-{number}",
        target=Target.AUTHORIZATION_SERVER,
        title=title,
        level="governance",
        safety=safety,
        severity=severity,
        section="Delegated authorization layers",
        remediation=remediation,
    )


def upstream(observation: IssuerObservation) -> str:
    """The host where a person signs in, when a client's authorization request was sent on to another one."""
    exchange = observation.exchanges.get(Question.AUTHORIZE_WELL_FORMED)
    issuer, goes = split(observation.issuer), split(exchange.header("location") if exchange is not None else "")
    if issuer is None or goes is None or exchange is None or goes.scheme not in ("http", "https"):
        return ""
    is_answer = {"code", "error"} & {name for name, _ in parse_qsl(goes.query)}
    return "" if is_answer or goes.netloc == issuer.netloc else goes.hostname or ""


def _other(check: Check, case: Case) -> CheckResult | None:
    if case.is_external is True:
        return check.not_applicable(case.subject, "It is an identity provider of its own, not a layer of a server.")
    if case.is_external is None:
        return check.unknown(case.subject, "Whether it is a layer of its server or an identity provider is not known.")
    return None


def _answered(check: Check, case: Case) -> CheckResult | None:
    """What a person said stands: who answers for a layer knows that it is one."""
    answer = case.answers.get(check.id)
    if answer is None:
        return None
    told: dict[str, Any] = {"said_by": answer.said_by, "said_at": answer.said_at.isoformat()}
    said = f"{answer.said_by} says {'so' if answer.is_so else 'it is not so'}."
    return check.met(case.subject, said, **told) if answer.is_so else check.violated(case.subject, said, **told)


@judges(
    _check(
        "01",
        "Every token it issues is logged, with the person behind it",
        safety=SafetyClass.PASSIVE,
        severity=Severity.HIGH,
        remediation="Log each issuance with person, client, scopes and upstream session, and say here that it is done.",
    ),
    needs_metadata=False,
)
def issuance_is_logged(check: Check, case: Case) -> CheckResult:
    return (
        _answered(check, case)
        or _other(check, case)
        or check.unknown(
            case.subject,
            "No request can tell whether issuance is logged, and nobody has said so.",
            **_signs_in_at(case),
        )
    )


def _signs_in_at(case: Case) -> dict[str, Any]:
    host = upstream(case.observation)
    return {"upstream": shown(host)} if host else {}


@judges(
    _check(
        "02",
        "Its tokens can be limited to scopes",
        safety=SafetyClass.PASSIVE,
        severity=Severity.MEDIUM,
        remediation="Define scopes for what the tools do, advertise them, and issue only what was asked for.",
    )
)
def scopes_are_controlled(check: Check, case: Case) -> CheckResult:
    if decided := _answered(check, case) or _other(check, case):
        return decided
    scopes = texts(case.metadata.get("scopes_supported"))
    if scopes is None:
        return check.unknown(case.subject, "It does not list its scopes, so nothing shows that a token can be limited.")
    boundless = [scope for scope in scopes if scope.lower() in _BOUNDLESS]
    if boundless:
        return check.violated(case.subject, f"It offers {listed(boundless)}, which limits nothing.")
    if not scopes:
        return check.violated(case.subject, "Its list of scopes is empty: every token is good for everything.")
    return check.met(case.subject, f"It lists {counted(len(scopes), 'scope')}: {listed(scopes)}.")


@judges(
    _check(
        "03",
        "Its tokens can be revoked",
        safety=SafetyClass.SAFE,
        severity=Severity.HIGH,
        remediation="Offer revocation (RFC 7009): ending the upstream session does not end the tokens of this layer.",
    )
)
def tokens_can_be_revoked(check: Check, case: Case) -> CheckResult:
    return _offered(check, case, "revocation_endpoint", revocation_is_guarded)


@judges(
    _check(
        "04",
        "Its tokens can be looked up",
        safety=SafetyClass.SAFE,
        severity=Severity.MEDIUM,
        remediation="Offer introspection (RFC 7662) to resource servers, so that a revoked token is seen to be one.",
    )
)
def tokens_can_be_looked_up(check: Check, case: Case) -> CheckResult:
    return _offered(check, case, "introspection_endpoint", introspection_is_guarded)


def _offered(check: Check, case: Case, endpoint: str, judge: Judge) -> CheckResult:
    """Offered and guarded is met; the checklist's own question is only whether it is guarded.

    A word counts where nothing is offered, and against nothing that was seen.
    """
    if case.metadata.get(endpoint) is None:
        return (
            _answered(check, case)
            or _other(check, case)
            or check.violated(case.subject, f"It advertises no {endpoint}.")
        )
    if decided := _other(check, case):
        return decided
    guarded = judge(case)
    told = {key: value for key, value in guarded.evidence.items() if key != "said"}
    said = str(guarded.evidence["said"])
    if guarded.verdict is Verdict.MET:
        return check.met(case.subject, said, **told)
    if guarded.verdict is Verdict.VIOLATED:
        return check.violated(case.subject, said, severity=guarded.severity, **told)
    return check.unknown(case.subject, said, **told)
