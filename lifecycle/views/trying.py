"""Trying a change before it is saved: what was shown travels with the form, signed, until it is saved or out of date.

Nothing is kept on the server, so it does not matter which process answers next, or how many drafts somebody has open.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.core import signing

from access.actors import Actor
from audit.events import Event
from audit.models import AuditEntry
from lifecycle.actions.evaluation import WITHOUT_EFFECT
from lifecycle.models import Policy
from lifecycle.models.policies import asked_of

FRESH_FOR = timedelta(minutes=10)  # time alone makes things due
LONGEST_TOKEN = 400_000
HAS_CHANGED = (
    "The estate has changed since you tried this, so it was tried again, and the numbers differ. Save again to keep it."
)
_WORDS = ("name", "description")  # of a policy: no verdict depends on them
# Of a dry run: when it was made, and names that stand for a number.
_TIMELESS = ("computed_at", "mark", "evaluated_at")
# What an evaluation may pass over, and a dry run too; not what changes the question itself.
_HARMLESS = WITHOUT_EFFECT - {
    Event.POLICY_CREATED,
    Event.POLICY_CHANGED,
    Event.POLICY_RETIRED,
    Event.RULE_SET,
    Event.FINDINGS_EVALUATED,
}


@dataclass(frozen=True)
class Trial:
    """What a change would do, as it was shown: of which draft, when, and after which audit entry."""

    draft: str
    at: datetime
    seq: int
    dry_run: dict[str, Any]
    back_test: dict[str, Any] | None = None
    window: int = 90

    def is_of(self, draft: str) -> bool:
        return self.draft == draft

    def is_current(self, now: datetime) -> bool:
        """Whether the estate is as it was then, as far as anybody wrote down."""
        return now - self.at < FRESH_FOR and self.seq == newest_change()

    def says_the_same(self, other: "Trial") -> bool:
        return _numbers(self.dry_run) == _numbers(other.dry_run)

    def token(self, actor: Actor) -> str:
        """For a hidden field. Only the same person brings it back, and nobody can write one."""
        held = {
            "draft": self.draft,
            "at": self.at.isoformat(),
            "seq": self.seq,
            "dry_run": self.dry_run,
            "back_test": self.back_test,
            "window": self.window,
        }
        return signing.dumps(held, salt=_salt(actor), compress=True)


def brought_back(token: str, actor: Actor) -> Trial | None:
    """The trial that a form carried; None where there is none, or none that can be believed."""
    if not token or len(token) > LONGEST_TOKEN:
        return None
    try:
        held = signing.loads(token, salt=_salt(actor), max_age=timedelta(hours=12))
    except signing.BadSignature:
        return None
    return Trial(**{**held, "at": datetime.fromisoformat(held["at"])})


def newest_change() -> int:
    """The last audit entry after which a rule may say something else, or something else is asked."""
    entries = AuditEntry.objects.exclude(event__in=_HARMLESS).order_by("-seq").values_list("seq", flat=True)
    return entries.first() or 0


def trial(
    draft: str,
    now: datetime,
    dry_run: Callable[[], Any],
    back_test: Callable[[], Any] | None = None,
    window: int = 90,
) -> Trial:
    """Try it now. The number of the entry is read first: what is committed meanwhile makes the trial an old one."""
    seq = newest_change()
    return Trial(draft, now, seq, dry_run().as_json(), back_test().as_json() if back_test is not None else None, window)


def digest_of(policy: Policy) -> str:
    """What a dry run depends on: which policy it is, so that one is not kept with another, and what it asks."""
    which = str(policy.pk) if isinstance(policy.pk, UUID) else "new"
    return _digest({"policy": which} | {name: said for name, said in asked_of(policy).items() if name not in _WORDS})


def digest_of_setting(rule: str, *, is_on: bool, severity: int | None) -> str:
    return _digest({"rule": rule, "is_on": is_on, "severity": severity})


def _digest(asked: Mapping[str, Any]) -> str:
    return sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _numbers(run: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in run.items() if name not in _TIMELESS and not name.endswith("_examples")}


def _salt(actor: Actor) -> str:
    return f"lifecycle.trial.{actor.kind}.{actor.id}"
