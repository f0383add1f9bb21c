"""Tables, constraints and querysets of the lifecycle."""

from lifecycle.models.evaluations import EvaluationMark, RuleState, Snapshot
from lifecycle.models.findings import Finding, Waiver
from lifecycle.models.policies import Obligation, Policy

__all__ = ["EvaluationMark", "Finding", "Obligation", "Policy", "RuleState", "Snapshot", "Waiver"]
