"""Tables, constraints and querysets of the lifecycle."""

from lifecycle.models.evaluations import EvaluationMark, RuleDay, RuleState, Snapshot
from lifecycle.models.findings import Finding, FindingChange
from lifecycle.models.jobs import JobHour, JobRun, ScheduledJob
from lifecycle.models.policies import Obligation, Policy, PolicyVersion, RuleSetting
from lifecycle.models.waivers import Waiver, WaiverCap
from lifecycle.models.work import FindingComment, FindingLink

__all__ = [
    "EvaluationMark",
    "Finding",
    "FindingChange",
    "FindingComment",
    "FindingLink",
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
    "WaiverCap",
]
