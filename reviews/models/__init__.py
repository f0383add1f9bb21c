"""Tables, constraints and querysets of access reviews, controls and evidence."""

from reviews.models.approvals import Approval
from reviews.models.campaigns import Campaign, Exclusion, StaleApproval
from reviews.models.controls import MeasureDay
from reviews.models.evidence import EvidencePack
from reviews.models.items import Attestation, Decision, Delegation, ReviewItem
from reviews.models.triggers import Occurrence, Trigger

__all__ = [
    "Approval",
    "Attestation",
    "Campaign",
    "Decision",
    "Delegation",
    "EvidencePack",
    "Exclusion",
    "MeasureDay",
    "Occurrence",
    "ReviewItem",
    "StaleApproval",
    "Trigger",
]
