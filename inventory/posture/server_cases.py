"""What the checks of MCP servers share: the facts that follow from an observation, and how a check is declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from inventory.posture.drift import resource_metadata, texts
from inventory.posture.model import VERSIONS, Check, CheckResult, Target
from inventory.states import Severity
from providers.challenges import Challenge, for_tokens
from providers.observations import Exchange, IssuerObservation, SafetyClass, ServerObservation
from providers.questions import Question

HANDSHAKES = (
    Question.DISCOVER,
    Question.INITIALIZE,
    Question.AUTHORIZED_DISCOVER,
    Question.AUTHORIZED_INITIALIZE,
)
ANONYMOUS = (Question.DISCOVER, Question.INITIALIZE, Question.TOOLS)
MODERN = ("2026-07-28",)


class Seen:
    """An observation and what follows from it, worked out once for all checks."""

    def __init__(
        self,
        observation: ServerObservation,
        *,
        previous: Mapping[str, Any] | None = None,
        issuers: Sequence[IssuerObservation] = (),
        minimum: str = "",
        scope_limit: int = 15,
    ) -> None:
        self.observation = observation
        self.url = observation.url
        self.previous = previous
        self.issuers = issuers
        self.minimum = minimum
        self.scope_limit = scope_limit

    def exchange(self, question: Question) -> Exchange | None:
        """The exchange, when there was an answer."""
        exchange = self.observation.exchanges.get(question)
        return exchange if exchange is not None and exchange.is_answered else None

    def why_unseen(self, question: Question) -> str:
        """Why there is no answer to a question, in a sentence."""
        exchange = self.observation.exchanges.get(question)
        if exchange is not None and exchange.error:
            return exchange.error
        return (
            self.observation.skipped.get(question) or self.observation.stopped or "The probe did not come to ask this."
        )

    @cached_property
    def is_reached(self) -> bool:
        return any(self.exchange(question) for question in HANDSHAKES) or self.observation.transport == "stdio"

    @cached_property
    def is_mcp(self) -> bool:
        """Whether what answered shows itself as an MCP server, or refuses as one may. A web page does neither."""
        if self.versions or self.gate or self.metadata is not None or self.observation.transport != "http":
            return True
        answers = [exchange for question in ANONYMOUS if (exchange := self.exchange(question)) is not None]
        return any(is_forbidden(exchange) or result(exchange) is not None for exchange in answers)

    @cached_property
    def why_not_mcp(self) -> str:
        """What to say of an address that does not answer as an MCP server."""
        answer = self.exchange(Question.DISCOVER)
        if answer is not None and 300 <= (answer.status or 0) < 400 and answer.header("location"):
            return f"It redirects to {answer.header('location')[:500]}; probe that address instead."
        if answer is not None and (answer.status in (408, 425, 429) or (answer.status or 0) >= 500):
            return f"It answered {answer.status}, which may pass."
        if answer is not None and answer.status == 403:
            return "It answers 403 with a web page, as something before a server does that keeps the probe out."
        return "Nothing at this address answered as an MCP server does."

    @cached_property
    def versions(self) -> tuple[str, ...]:
        return self.observation.protocol_versions

    def claims(self, versions: Sequence[str]) -> bool | None:
        """Whether the server speaks one of these versions; None when it let nobody see what it speaks.

        What is asked of the newest version that is known here is asked of those after it, too.
        """
        spoken = {min(version, VERSIONS[-1]) for version in self.versions}
        return bool(set(versions) & spoken) if spoken else None

    @cached_property
    def gate(self) -> tuple[Question, Exchange] | None:
        """The first anonymous request that was refused with 401."""
        for question in ANONYMOUS:
            exchange = self.exchange(question)
            if exchange is not None and exchange.status == 401:
                return question, exchange
        return None

    @cached_property
    def challenge(self) -> Challenge | None:
        return for_tokens(self.gate[1].all("www-authenticate")) if self.gate else None

    @cached_property
    def metadata(self) -> Mapping[str, Any] | None:
        found = resource_metadata(self.observation)
        return found[1] if found else None

    @cached_property
    def metadata_exchange(self) -> Exchange | None:
        found = resource_metadata(self.observation)
        return found[0] if found else None

    @cached_property
    def offers_authorization(self) -> bool | None:
        """Whether it asks for authorization anywhere; None when no answer tells."""
        if self.gate or self.metadata is not None:
            return True
        if self.observation.is_listed_anonymously:
            return False
        if any(result(self.exchange(question)) is not None for question in ANONYMOUS):
            return False
        return None

    @cached_property
    def scopes(self) -> list[str]:
        """Every scope that the challenge or the metadata names, in order and once."""
        named = (self.challenge.parameters.get("scope", "").split() if self.challenge else []) + texts(
            (self.metadata or {}).get("scopes_supported")
        )
        return list(dict.fromkeys(named))


def result(exchange: Exchange | None) -> Mapping[str, Any] | None:
    """The result of a JSON-RPC answer; None for an error, another answer or none."""
    if exchange is None or exchange.status != 200 or not isinstance(exchange.document, Mapping):
        return None
    found = exchange.document.get("result")
    return found if isinstance(found, Mapping) else None


def error_code(exchange: Exchange | None) -> int | None:
    """The code of a JSON-RPC error, whatever the HTTP status."""
    if exchange is None or not isinstance(exchange.document, Mapping):
        return None
    error = exchange.document.get("error")
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, int) else None


def is_served(exchange: Exchange) -> bool:
    return exchange.status is not None and 200 <= exchange.status < 300


def is_forbidden(exchange: Exchange) -> bool:
    """A 403 that a server may have given. A web page comes from something before it, which keeps the probe out."""
    return exchange.status == 403 and not exchange.header("content-type").lower().startswith("text/html")


def is_refused(exchange: Exchange) -> bool:
    return exchange.status is not None and 400 <= exchange.status < 500 and exchange.status not in (408, 429)


@dataclass(frozen=True, slots=True)
class Case:
    """One check of one server: what was seen, and the words to say what follows."""

    check: Check
    seen: Seen

    def met(self, said: str, **facts: Any) -> CheckResult:
        return self.check.met(self.seen.url, said, **facts)

    def violated(self, said: str, *, severity: Severity | None = None, **facts: Any) -> CheckResult:
        return self.check.violated(self.seen.url, said, severity=severity, **facts)

    def unknown(self, said: str, **facts: Any) -> CheckResult:
        return self.check.unknown(self.seen.url, said, **facts)

    def not_applicable(self, said: str, **facts: Any) -> CheckResult:
        return self.check.not_applicable(self.seen.url, said, **facts)

    def unseen(self, question: Question) -> CheckResult:
        return self.unknown(self.seen.why_unseen(question))


Judge = Callable[[Case], CheckResult]


@dataclass(frozen=True, slots=True)
class Judged:
    """A check with its judge. Some are judged without an answer, and some of a launched server too."""

    check: Check
    judge: Judge
    needs_answer: bool
    is_for_launched: bool


REGISTRY: dict[str, Judged] = {}


def judges(
    id: str,  # noqa: A002  # the field's name
    title: str,
    *,
    level: str,
    severity: Severity,
    section: str,
    remediation: str,
    safety: SafetyClass = SafetyClass.PASSIVE,
    versions: tuple[str, ...] = (),
    needs_answer: bool = True,
    is_for_launched: bool = False,
) -> Callable[[Judge], Judge]:
    """Declare a check and the function that judges it."""
    check = Check(
        id=id,
        target=Target.SERVER,
        title=title,
        level=level,
        safety=safety,
        severity=severity,
        section=section,
        versions=versions,
        remediation=remediation,
    )

    def register(judge: Judge) -> Judge:
        REGISTRY[id] = Judged(check, judge, needs_answer, is_for_launched)
        return judge

    return register


def without_authorization(case: Case) -> CheckResult | None:
    """The verdict of a check about authorization where none is offered, or where that could not be seen."""
    if case.seen.offers_authorization is False:
        return case.not_applicable("It asks nobody for authorization; MCP-RS-01 says so.")
    if case.seen.offers_authorization is None:
        answered = [e.status for q in ANONYMOUS if (e := case.seen.exchange(q)) is not None]
        said = f" Its answers were {', '.join(map(str, answered))}." if answered else ""
        return case.unknown(f"No answer tells whether it asks for authorization.{said}")
    return None
