"""Send a file of rows to a feed, as `POST /api/v1/intake/` does."""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from access.actors import Actor
from inventory.errors import InventoryError, NothingTaken
from inventory.feeds.bodies import GZIP, IDENTITY, CutShort, pieces
from inventory.feeds.rows import CSV, NDJSON, Malformed
from inventory.feeds.shapes import BadSettings
from inventory.intake import Receipt, take
from inventory.models import Connection
from inventory.states import ConnectionKind, RunState

ACTOR = Actor.system("command line")
SHOWN = 20  # refusals; the connection's page has more
STDIN = "-"


class Command(BaseCommand):
    help = (
        "Take a file of rows, NDJSON or CSV, into a feed. Exit 1 when a row was refused, 3 when nothing could be taken."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="A file, also packed with gzip (.gz); - reads standard input.")
        parser.add_argument("--connection", help="Name of the feed. Not needed where there is only one.")
        parser.add_argument("--csv", action="store_true", help="CSV, whatever the file is called.")
        parser.add_argument("--key", default="", help="The same key with the same file is taken once.")
        parser.add_argument("--progress", action="store_true", help="Show how far it is on stderr.")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        feed = self.chosen(options["connection"])
        name = options["file"]
        format_ = CSV if options["csv"] or name.removesuffix(".gz").lower().endswith(".csv") else NDJSON
        encoding = GZIP if name.endswith(".gz") else IDENTITY
        try:
            if name == STDIN:
                receipt = self.take(feed, sys.stdin.buffer, format_, encoding, options)
            else:
                with Path(name).expanduser().open("rb") as source:
                    receipt = self.take(feed, source, format_, encoding, options)
        except OSError as exc:
            raise CommandError(f"The file could not be read: {exc.strerror}.", returncode=2) from exc
        except NothingTaken as exc:
            self.list_refused(exc.problems)
            raise CommandError(str(exc), returncode=3) from exc
        except (Malformed, CutShort, BadSettings, InventoryError) as exc:
            raise CommandError(str(exc), returncode=3) from exc
        self.tell(feed, receipt, options["format"])
        if receipt.run.state != RunState.COMPLETE:
            raise SystemExit(1)

    def chosen(self, name: str | None) -> Connection:
        feeds = Connection.objects.filter(kind=ConnectionKind.FEED).order_by("name")
        if name is not None:
            found = Connection.objects.filter(name=name).first()
            if found is None:
                raise CommandError(f"No connection is called {name}.", returncode=2)
            return found
        if len(feeds) != 1:
            there = ", ".join(feed.name for feed in feeds[:20]) or "none yet"
            raise CommandError(f"Say which feed, with --connection. There are: {there}.", returncode=2)
        return feeds[0]

    def take(self, feed: Connection, source: BinaryIO, format_: str, encoding: str, options: dict[str, Any]) -> Receipt:
        columns = SpinnerColumn(), TextColumn("{task.completed} rows read")
        with Progress(*columns, console=Console(stderr=True), disable=not options["progress"]) as bar:
            task = bar.add_task(feed.name, total=None)
            return take(
                feed,
                pieces(source.read, length=None, encoding=encoding),
                format_=format_,
                clock=timezone.now,
                actor=ACTOR,
                key=options["key"],
                progress=lambda read: bar.update(task, completed=read),
            )

    def tell(self, feed: Connection, receipt: Receipt, format_: str) -> None:
        run = receipt.run
        if format_ == "json":
            said = {
                "connection": feed.name,
                "run": str(run.pk),
                "state": run.state,
                "replayed": receipt.is_replay,
                "rows": run.received,
                "changes": run.counts,
                "errors": run.problems,
            }
            self.stdout.write(json.dumps(said))
            return
        counts = run.received
        changes = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in run.counts.items())
        before = "was taken before: " if receipt.is_replay else ""
        self.stdout.write(
            f"{feed.name}: {before}{counts['read']} rows read, {counts['refused']} refused, "
            f"{counts['repeated']} described again; {changes or 'nothing changed'}."
        )
        self.list_refused(run.problems)

    def list_refused(self, problems: Any) -> None:
        for problem in problems[:SHOWN]:
            field = f", {problem['pointer']}" if problem["pointer"] else ""
            self.stdout.write(f"  line {problem['line']}{field}: {problem['reason']}")
        if len(problems) > SHOWN:
            self.stdout.write(f"  and {len(problems) - SHOWN} more that are listed on the feed's page")
