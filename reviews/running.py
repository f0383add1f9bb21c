"""Carries campaigns on: parts that pass to others, what nobody answered, what was decided, and what came of it.

Each step is a transaction of its own, so whoever goes on after a crash finds what is left.
"""

from collections.abc import Callable
from datetime import datetime

from access.actors import Actor
from lifecycle.models import Operation
from reviews.actions.closing import begin_closing, carry_out, follow, to_carry_out
from reviews.actions.escalation import act_on_unanswered, escalate_unanswered, pass_on_departed
from reviews.models import Campaign

ACTOR = Actor.system("reviews")


def carry_on(*, clock: Callable[[], datetime], ring: Callable[[Operation], None]) -> dict[str, int]:
    """One round over every campaign under way; how many of what."""
    done = begin_decided(clock=clock, ring=ring)
    if not Campaign.objects.running().exists():
        return {"begun": done}
    now = clock()
    passed = pass_on_departed(now=now)
    unanswered = act_on_unanswered(now=now)
    passed += escalate_unanswered(now=now)
    done += begin_decided(clock=clock, ring=ring)
    came = follow(now=clock())
    begin_closing(now=clock())
    return {
        "begun": done,
        "passed_on": passed,
        "unanswered": unanswered,
        "closed": came["closed"],
        "returned": came["returned"],
    }


def begin_decided(*, clock: Callable[[], datetime], ring: Callable[[Operation], None]) -> int:
    """Begin what was decided, as many as one run does; how many. The operations are rung for."""
    keys = to_carry_out()
    for key in keys:
        operation = carry_out(key, now=clock())
        if operation is not None:
            ring(operation)
    return len(keys)
