"""On what terms ownership is asked for: how long it holds, and how long each in line has to answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings

from inventory.states import Stage


@dataclass(frozen=True, slots=True)
class Terms:
    holds_for: timedelta = timedelta(days=180)
    answer_within: Mapping[Stage, timedelta] = field(
        default_factory=lambda: {
            Stage.OWNER: timedelta(days=14),
            Stage.DEPUTY: timedelta(days=7),
            Stage.MANAGER: timedelta(days=7),
        }
    )
    quarantines_clients: bool = False


def terms() -> Terms:
    """As the operator set them."""
    within = (settings.OWNERSHIP_OWNER_ANSWERS, settings.OWNERSHIP_DEPUTY_ANSWERS, settings.OWNERSHIP_MANAGER_ANSWERS)
    return Terms(
        settings.OWNERSHIP_HOLDS_FOR, dict(zip(Stage, within, strict=True)), settings.OWNERSHIP_QUARANTINES_CLIENTS
    )
