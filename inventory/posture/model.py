"""What a check is and what it says; the versions of the specification that it can be limited to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from inventory.states import Severity, Verdict
from providers.observations import SafetyClass

# Every version of the MCP specification that has something to say of authorization, oldest first. They sort as text.
VERSIONS = ("2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")


def since(version: str) -> tuple[str, ...]:
    """The versions from one on."""
    return VERSIONS[VERSIONS.index(version) :]


class Target(StrEnum):
    """What a check is about; also the name of the posture row's foreign key."""

    SERVER = "server"
    AUTHORIZATION_SERVER = "authorization_server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the checklist, as data: its id, what it expects and where the specification says so."""

    id: str
    target: Target
    title: str  # what is expected, as a sentence: "Anonymous requests are refused"
    level: str  # MUST, SHOULD, MAY, policy …
    safety: SafetyClass
    severity: Severity  # when violated, unless the result says otherwise
    section: str  # the specification and its section
    versions: tuple[str, ...] = ()  # protocol versions it applies to; empty for all
    remediation: str = ""

    def met(self, subject: str, said: str, **seen: Any) -> "CheckResult":
        return self._result(subject, Verdict.MET, Severity.NONE, said, seen)

    def violated(self, subject: str, said: str, *, severity: Severity | None = None, **seen: Any) -> "CheckResult":
        severity = self.severity if severity is None else severity
        return self._result(subject, Verdict.VIOLATED, severity, said, seen)

    def unknown(self, subject: str, said: str, **seen: Any) -> "CheckResult":
        """Not observed. The severity says what is at stake, so that the unknown can be sorted by it too."""
        return self._result(subject, Verdict.UNKNOWN, self.severity, said, seen)

    def not_applicable(self, subject: str, said: str, **seen: Any) -> "CheckResult":
        return self._result(subject, Verdict.NOT_APPLICABLE, Severity.NONE, said, seen)

    def _result(
        self, subject: str, verdict: Verdict, severity: Severity, said: str, seen: Mapping[str, Any]
    ) -> "CheckResult":
        return CheckResult(
            check=self, subject=subject, verdict=verdict, severity=severity, evidence={"said": said, **seen}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check said of one subject. `evidence` is JSON that a reviewer understands: `said` is a sentence.

    It holds neither a secret nor the raw body of an answer.
    """

    check: Check
    subject: str  # the address or id that was judged
    verdict: Verdict
    severity: Severity
    evidence: Mapping[str, Any] = field(default_factory=dict)
