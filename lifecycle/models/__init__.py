"""Tables, constraints and querysets of the lifecycle."""

from lifecycle.models.batches import Batch, BatchItem
from lifecycle.models.evaluations import EvaluationMark, RuleDay, RuleState, Snapshot
from lifecycle.models.findings import Finding, FindingChange
from lifecycle.models.jobs import JobHour, JobRun, ScheduledJob
from lifecycle.models.operations import (
    Acknowledgement,
    Delivery,
    Operation,
    ProviderLoad,
    ProviderMinute,
    StepAttempt,
)
from lifecycle.models.policies import Obligation, Policy, PolicyVersion, RuleSetting
from lifecycle.models.waivers import Waiver, WaiverCap
from lifecycle.models.windows import ChangeFreeze, MaintenanceWindow, OperatingLimits, ScheduleHalt
from lifecycle.models.work import FindingComment, FindingLink

__all__ = [
    "Acknowledgement",
    "Batch",
    "BatchItem",
    "ChangeFreeze",
    "Delivery",
    "EvaluationMark",
    "Finding",
    "FindingChange",
    "FindingComment",
    "FindingLink",
    "JobHour",
    "JobRun",
    "MaintenanceWindow",
    "Obligation",
    "OperatingLimits",
    "Operation",
    "Policy",
    "PolicyVersion",
    "ProviderLoad",
    "ProviderMinute",
    "RuleDay",
    "RuleSetting",
    "RuleState",
    "ScheduleHalt",
    "ScheduledJob",
    "Snapshot",
    "StepAttempt",
    "Waiver",
    "WaiverCap",
]
