"""Tables, constraints and querysets of the lifecycle."""

from lifecycle.models.evaluations import EvaluationMark, RuleDay, RuleState, Snapshot
from lifecycle.models.findings import Finding, FindingChange, Waiver
from lifecycle.models.jobs import JobHour, JobRun, ScheduledJob
from lifecycle.models.policies import Obligation, Policy, PolicyVersion, RuleSetting

__all__ = [
    "EvaluationMark",
    "Finding",
    "FindingChange",
    "JobHour",
    "JobRun",
    "Obligation",
    "Policy",
    "PolicyVersion",
    "RuleDay",
    "RuleSetting",
    "RuleState",
    "ScheduledJob",
    "Snapshot",
    "Waiver",
]
