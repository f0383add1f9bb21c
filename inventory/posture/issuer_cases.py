"""What is judged of an authorization server, and how a check is tied to the function that judges it."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import SplitResult, urlsplit

from inventory.posture.model import VERSIONS, Check, CheckResult, Target
from inventory.posture.wording import some
from inventory.states import Severity, Verdict
from providers.observations import Exchange, IssuerObservation, SafetyClass
from providers.questions import IssuerQuestion as Question

METADATA = (Question.METADATA_OAUTH, Question.METADATA_OPENID_INSERTED, Question.METADATA_OPENID)

_MOST_NAMED = 10
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MOST_READ = 500
_MOST_SHOWN = 200
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_ERROR_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,59}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person recorded where no request can tell: whether it is so, who says it, and since when."""

    is_so: bool
    said_by: str
    said_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One authorization server before the judges: what was seen, and what is known of who uses it."""

    observation: IssuerObservation
    expected_issuer: str
    newest_version: str
    servers: tuple[str, ...] = ()
    is_external: bool | None = None
    is_one_of_several: bool = False
    longest_token: timedelta = timedelta(hours=1)
    answers: Mapping[str, Answer] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        return self.observation.issuer

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.observation.metadata or {}

    def exchange(self, question: Question) -> Exchange | None:
        return self.observation.exchanges.get(question)


Judge = Callable[[Case], CheckResult]
JUDGES: dict[Check, Judge] = {}


def issuer_check(
    number: str,
    title: str,
    *,
    level: str,
    severity: Severity,
    section: str,
    remediation: str,
    safety: SafetyClass = SafetyClass.PASSIVE,
    versions: tuple[str, ...] = (),
) -> Check:
    """A check of the authorization checklist that is about an authorization server."""
    return Check(
        id=f"MCP-AS-{number}",
        target=Target.AUTHORIZATION_SERVER,
        title=title,
        level=level,
        safety=safety,
        severity=severity,
        section=section,
        versions=versions,
        remediation=remediation,
    )


def judges(check: Check, *, needs_metadata: bool = True) -> Callable[[Callable[[Check, Case], CheckResult]], Judge]:
    """Declare a check with the function that judges it.

    Around that function stand the two rules that hold for all: without metadata nothing is known, and a check of one
    version does not bind a server that speaks an older one. Where nothing could tell the version, what would violate
    a check of some versions only is unknown.
    """

    def declare(function: Callable[[Check, Case], CheckResult]) -> Judge:
        def judge(case: Case) -> CheckResult:
            if check.versions and case.newest_version and case.newest_version not in check.versions:
                return check.not_applicable(
                    case.subject,
                    f"Asked for since {check.versions[0]}; the newest version spoken here is {case.newest_version}.",
                )
            if needs_metadata and case.observation.metadata is None:
                return check.unknown(case.subject, "Its metadata could not be read.")
            result = function(check, case)
            if result.verdict is Verdict.VIOLATED and check.versions and not case.newest_version:
                return check.unknown(
                    case.subject,
                    f"{result.evidence['said']} This counts since {check.versions[0]}, and which version is spoken "
                    "here could not be observed.",
                )
            return result

        JUDGES[check] = judge
        return judge

    return declare


def effective(version: str) -> str:
    """The newest version we know that is not newer than this one; empty for what is no version."""
    if not _VERSION.match(version):
        return ""
    return next((known for known in reversed(VERSIONS) if known <= version), version)


def texts(value: Any) -> tuple[str, ...] | None:
    """The texts of a JSON array; None where there is no array."""
    if not isinstance(value, list):
        return None
    return tuple(item for item in value[:_MOST_READ] if isinstance(item, str))


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def shown(value: Any) -> str:
    """A value of the other side, short and on one line, for a sentence."""
    written = value if isinstance(value, str) else f"a JSON {_json_type(value)}"
    written = "".join(character if character.isprintable() else "�" for character in written[: _MOST_SHOWN + 1])
    return written if len(written) <= _MOST_SHOWN else f"{written[:_MOST_SHOWN]}…"


def listed(values: Iterable[Any]) -> str:
    """Values in a sentence, the first few of them."""
    return some(list(values), _MOST_NAMED, shown)


def sentence(faults: Iterable[str]) -> str:
    """Several faults as one sentence."""
    joined = "; ".join(faults)
    return f"{joined[:1].upper()}{joined[1:]}."


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case list():
            return "array"
        case _:
            return "object"


def document(exchange: Exchange | None) -> Mapping[str, Any]:
    """The JSON object of an answer; empty when it was none."""
    found = exchange.document if exchange is not None else None
    return found if isinstance(found, Mapping) else {}


def error_code(exchange: Exchange) -> str:
    """The OAuth error code of an answer, when it has one that looks like one."""
    code = text(document(exchange).get("error"))
    return code if _ERROR_CODE.match(code) else ""


def seen(exchange: Exchange) -> dict[str, Any]:
    """What was asked and answered, for the evidence. Without the query, which holds what is drawn by lot each time."""
    address = exchange.url.partition("?")[0]
    told: dict[str, Any] = {"request": f"{exchange.method} {shown(address)}", "status": exchange.status}
    if code := error_code(exchange):
        told["error"] = code
    return told


def answer_to(check: Check, case: Case, question: Question, *, not_asked: str) -> Exchange | CheckResult:
    """The answer to one question, to be judged; the result itself where there is none."""
    exchange = case.exchange(question)
    if exchange is None:
        return check.unknown(case.subject, not_asked)
    if exchange.error or not exchange.is_answered:
        return check.unknown(
            case.subject, f"No answer: {shown(exchange.error) or 'nothing came back.'}", **seen(exchange)
        )
    if may_answer_later(exchange):
        return check.unknown(case.subject, f"It answered {exchange.status}, which may pass.", **seen(exchange))
    return exchange


def may_answer_later(exchange: Exchange) -> bool:
    """It is overloaded, out of order or asks for patience: nothing is known of what it would say."""
    return exchange.status is not None and (exchange.status in (408, 425, 429) or exchange.status >= 500)


def split(url: Any) -> SplitResult | None:
    """A URL in its parts; None when it cannot be taken apart."""
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname  # both are read late and raise late
    except ValueError:
        return None
    return parts


def is_private(key: Mapping[str, Any]) -> bool:
    """A key (RFC 7517) that is published with the half that signs, or that has no other half."""
    return key.get("kty") == "oct" or any(key.get(member) is not None for member in _PRIVATE_MEMBERS)
