"""What a check is and what it says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from inventory.states import Severity, Verdict
from providers.observations import SafetyClass


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
