"""What rules said, read from what an evaluation wrote."""

from inventory.states import Verdict
from lifecycle.models import Finding, RuleState


def judged(rule: str) -> Verdict:
    """What the rule said of the only subject, read from its counts."""
    state = RuleState.objects.get(rule=rule)
    assert state.population <= 1
    counts = {Verdict.MET: state.met, Verdict.VIOLATED: state.violated, Verdict.UNKNOWN: state.unknown}
    return next((verdict for verdict, number in counts.items() if number), Verdict.NOT_APPLICABLE)


def finding_of(rule: str) -> Finding:
    return Finding.objects.unresolved().get(rule=rule)
