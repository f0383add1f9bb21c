"""Evaluate the rules now, and say what is open: for people, and with exit codes for scripts."""

import json
import signal
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.db.models import Count
from django.utils import timezone

from access.actors import Actor
from lifecycle.actions.evaluation import Evaluation, evaluate
from lifecycle.errors import EvaluationUnderWay
from lifecycle.models import EvaluationMark, Finding, RuleState
from lifecycle.rules import RULES
from lifecycle.rules.asked import GRADES
from web.wording import plural, thousands

FOUND, FAILURE = 1, 3  # exit codes; 2 is a wrong call
# The first words of PostgreSQL's states for a wrong schema: an undefined table or column.
OTHER_SCHEMA = ("42P01", "42703")


class Command(BaseCommand):
    help = (
        "Compare the estate with the rules: open, refresh and resolve findings. Exit code 0: done; 1: done, and a "
        "finding is open at or above --fail-on; 2: a wrong call; 3: it could not be done, and nothing was changed."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--full", action="store_true", help="Look at everything.")
        parser.add_argument("--format", choices=["text", "json"], default="text")
        parser.add_argument(
            "--fail-on",
            choices=list(GRADES),
            help="Exit with 1 when a finding of this severity or worse is open. Without it no finding does that.",
        )
        parser.add_argument(
            "--clock-was-wrong",
            action="store_true",
            help="Judge everything at this machine's present time, even where it was judged at a later one before.",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        began = time.monotonic()
        try:
            with _ended_by_a_signal():
                now = timezone.now()
                result = evaluate(
                    now,
                    actor=Actor.system("command line"),
                    full=options["full"],
                    clock_was_wrong=options["clock_was_wrong"],
                )
                said = {
                    **asdict(result),
                    "seconds": round(time.monotonic() - began, 3),
                    "judged_at": _judged_at(now, clock_was_wrong=options["clock_was_wrong"]).isoformat(),
                    **_posture(options["fail_on"]),
                }
        except EvaluationUnderWay as exc:
            raise CommandError(str(exc), returncode=FAILURE) from exc
        except KeyboardInterrupt as exc:
            raise CommandError("It was ended before it was done; nothing was changed.", returncode=FAILURE) from exc
        except DatabaseError as exc:
            raise CommandError(_why(exc), returncode=FAILURE) from exc
        if options["format"] == "json":
            self.stdout.write(json.dumps(said))
        else:
            self._tell(result, said)
        if said["at_or_above"]:
            raise SystemExit(FOUND)

    def _tell(self, result: Evaluation, said: dict[str, Any]) -> None:
        looked = "everything" if result.is_full else "what was due or had changed"
        self.stdout.write(
            f"Looked at {looked}: {plural(result.subjects, 'subject')} in {said['seconds']:.1f} s. "
            f"{plural(result.opened, 'finding')} opened, {result.refreshed} refreshed, {result.resolved} resolved."
        )
        by_severity = ", ".join(f"{thousands(count)} {name}" for name, count in said["open"]["by_severity"].items())
        self.stdout.write(f"Open: {by_severity}.")
        if said["fail_on"]:
            self.stdout.write(f"{plural(said['at_or_above'], 'finding')} of severity {said['fail_on']} or worse.")


@contextmanager
def _ended_by_a_signal() -> Iterator[None]:
    """A request to end is an interruption here, so that the transaction is rolled back and the exit code is ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _judged_at(now: datetime, *, clock_was_wrong: bool) -> datetime:
    """Time never runs back in an evaluation, unless it was told that the clock was wrong."""
    mark = EvaluationMark.objects.values_list("evaluated_at", flat=True).first()
    return now if mark is None or clock_was_wrong else max(now, mark)


def _posture(fail_on: str | None) -> dict[str, Any]:
    """What is open and what is unknown, by rule. Waived findings are not open: somebody answers for them by name."""
    opened = Finding.objects.open().order_by()
    by_severity = dict(opened.values_list("severity").annotate(Count("pk")))
    by_rule = dict(opened.values_list("rule").annotate(Count("pk")))
    states = {state.rule: state for state in RuleState.objects.all()}
    worst = GRADES[fail_on] if fail_on else None
    return {
        "open": {
            "total": sum(by_severity.values()),
            "by_severity": {name: by_severity.get(level, 0) for name, level in reversed(GRADES.items())},
            "by_rule": {rule: by_rule.get(rule, 0) for rule in sorted({*RULES, *by_rule})},
        },
        "waived": Finding.objects.waived().count(),
        "counted": {
            rule: {
                "met": state.met,
                "violated": state.violated,
                "unknown": state.unknown,
                "at": state.evaluated_at.isoformat(),
            }
            for rule, state in sorted(states.items())
        },
        "unknown": {rule: state.unknown for rule, state in sorted(states.items()) if state.unknown},
        "fail_on": fail_on,
        "at_or_above": sum(n for level, n in by_severity.items() if level >= worst) if worst is not None else 0,
    }


def _why(exc: DatabaseError) -> str:
    """What the database's refusal means to whoever called; its own words may hold an address."""
    state = str(getattr(exc.__cause__, "sqlstate", None) or "")
    if state in OTHER_SCHEMA:
        return "The database is of another release. Bring it up to date first: manage.py migrate"
    if state:
        return f"The database refused ({state}); nothing was changed. Its log says more."
    return "The database does not answer, or went away meanwhile; nothing was changed."
