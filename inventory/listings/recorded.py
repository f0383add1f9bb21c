"""What earlier looks at authorization servers recorded, and a later one must not forget."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from inventory.models import PostureCheck
from inventory.posture.authorization_servers import LEFT_BEHIND, Answer
from inventory.posture.model import CheckResult
from inventory.states import Verdict

REGISTRATION = "MCP-AS-10"


def answers(issuers: Iterable[str]) -> dict[str, dict[str, Answer]]:
    """What persons said of these authorization servers, by issuer and check id. One query for all of them."""
    said: dict[str, dict[str, Answer]] = {}
    for check in PostureCheck.objects.filter(
        authorization_server__issuer__in=list(issuers), evidence__has_key="said_by"
    ).select_related("authorization_server"):
        if check.authorization_server is not None:
            said.setdefault(check.authorization_server.issuer, {})[check.check_id] = Answer(
                is_so=check.verdict == Verdict.MET,
                said_by=str(check.evidence["said_by"]),
                said_at=datetime.fromisoformat(str(check.evidence["said_at"])),
            )
    return said


def keepers() -> frozenset[str]:
    """The issuers that kept a client which a check made. They are asked gently, or each look would leave another."""
    kept = PostureCheck.objects.filter(check_id=REGISTRATION, evidence__has_key=LEFT_BEHIND)
    return frozenset(kept.values_list("authorization_server__issuer", flat=True))


def remembering(results: Sequence[CheckResult], *, is_keeper: bool) -> list[CheckResult]:
    """The results to record: what names a client to remove stays until registration is seen to be guarded."""
    return [
        result
        for result in results
        if not is_keeper or result.check.id != REGISTRATION or result.verdict is Verdict.MET
    ]
