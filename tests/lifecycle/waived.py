"""Waivers that two people agreed on, for tests about something else."""

from datetime import datetime, timedelta
from typing import Any

from access.actors import Actor, ActorKind
from access.roles import Role
from lifecycle.actions.waivers import approve_waivers, request_waiver
from lifecycle.models import Finding, Waiver
from tests.factories import NOW

MIRA = Actor(ActorKind.USER, "7", "Mira Okafor", frozenset({Role.OPERATOR}))
OTTO = Actor(ActorKind.USER, "8", "Otto Brandt", frozenset({Role.REVIEWER}))


def requested(finding: Finding, **values: Any) -> Waiver:
    """Asked for by Mira at NOW, for thirty days."""
    asked = {
        "reason": "Moves in July.",
        "compensating_control": "Reached only from the office network.",
        "ends_at": NOW + timedelta(days=30),
        "actor": MIRA,
        "now": NOW,
        **values,
    }
    return request_waiver(finding, **asked)


def approved(waiver: Waiver, *, actor: Actor = OTTO, now: datetime = NOW) -> Waiver:
    approve_waivers([waiver], reason="The control holds.", actor=actor, now=now)
    waiver.refresh_from_db()
    return waiver


def waived(finding: Finding, **values: Any) -> Waiver:
    """Asked for by Mira and approved by Otto."""
    return approved(requested(finding, **values), now=values.get("now", NOW))
