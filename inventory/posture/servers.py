"""The checklist of MCP servers, MCP-RS-01 to MCP-RS-29, and its verdicts on an observation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Importing these is what registers their checks.
from inventory.posture import server_access, server_metadata, server_transport
from inventory.posture.model import Check, CheckResult
from inventory.posture.server_cases import REGISTRY, Case, Judged, Seen
from providers.observations import IssuerObservation, ServerObservation
from providers.questions import Question

__all__ = ["SERVER_CHECKS", "judge_server", "server_access", "server_metadata", "server_transport"]

SERVER_CHECKS: Mapping[str, Check] = {id_: REGISTRY[id_].check for id_ in sorted(REGISTRY)}


def judge_server(
    observation: ServerObservation,
    *,
    previous: Mapping[str, Any] | None = None,
    issuers: Sequence[IssuerObservation] = (),
    minimum: str = "",
    scope_limit: int = 15,
) -> list[CheckResult]:
    """What every check says of one server, in the order of their ids.

    `previous` is the `drift.snapshot` of the probe before, `issuers` what was seen at the authorization servers that
    the server names, `minimum` the oldest protocol version that policy still allows.
    """
    seen = Seen(observation, previous=previous, issuers=issuers, minimum=minimum, scope_limit=scope_limit)
    return [_verdict(REGISTRY[id_], seen) for id_ in SERVER_CHECKS]


def _verdict(judged: Judged, seen: Seen) -> CheckResult:
    case = Case(judged.check, seen)
    if seen.observation.transport == "stdio" and not judged.is_for_launched:
        return case.not_applicable("It is launched and spoken to over its own pipes: no network, no authorization.")
    if not seen.is_reached and judged.needs_answer and not _needs_no_probe(judged, seen):
        first = next((q for q in (Question.DISCOVER, Question.INITIALIZE) if q in seen.observation.exchanges), None)
        return case.unknown(seen.why_unseen(first or Question.DISCOVER))
    if not seen.is_mcp and judged.needs_answer and not _needs_no_probe(judged, seen):
        return case.unknown(seen.why_not_mcp)
    versions = judged.check.versions
    if versions and seen.claims(versions) is False:
        spoken = ", ".join(seen.versions)
        return case.not_applicable(
            f"It speaks {spoken}; this is asked of {versions[0]} and later."
            if versions[-1] == "2026-07-28"
            else f"It speaks {spoken}; this is asked of versions up to {versions[-1]}."
        )
    return judged.judge(case)


def _needs_no_probe(judged: Judged, seen: Seen) -> bool:
    """Whether a check is out of place whatever the probe would have seen: there is no policy, or no probe before."""
    return (judged.check.id == "MCP-RS-27" and not seen.minimum) or (
        judged.check.id == "MCP-RS-29" and not seen.previous
    )
