"""Evaluate the rules now."""

import json
import time
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from access.actors import Actor
from lifecycle.actions.evaluation import evaluate
from lifecycle.errors import EvaluationUnderWay


class Command(BaseCommand):
    help = "Compare the estate with the rules: open, refresh and resolve findings."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--full", action="store_true", help="Look at everything.")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *_args: Any, **options: Any) -> None:
        began = time.monotonic()
        try:
            result = evaluate(timezone.now(), actor=Actor.system("command line"), full=options["full"])
        except EvaluationUnderWay as exc:
            self.stderr.write(str(exc))
            raise SystemExit(3) from exc
        seconds = round(time.monotonic() - began, 3)
        if options["format"] == "json":
            self.stdout.write(json.dumps({**asdict(result), "seconds": seconds}))
            return
        looked = "everything" if result.is_full else "what was due or had changed"
        self.stdout.write(
            f"Looked at {looked}: {result.subjects} subjects in {seconds:.1f} s. "
            f"{result.opened} findings opened, {result.refreshed} refreshed, {result.resolved} resolved."
        )
