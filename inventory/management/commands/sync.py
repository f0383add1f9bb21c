"""Sync connections now, with a progress bar."""

import json
import socket
from argparse import ArgumentParser
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from access.actors import Actor
from inventory.actions.connections import create_connection, this_machine
from inventory.connection_kinds import KINDS, changes
from inventory.engine import sync
from inventory.errors import InventoryError
from inventory.listings import LISTINGS
from inventory.models import Connection, SyncRun
from inventory.states import ConnectionKind, RunState
from web.wording import plural

SHOWN = 5  # problems; the connection's page has them all
FAILURE = 3  # exit code; 2 is a wrong call
ACTOR = Actor.system("command line")


class Command(BaseCommand):
    help = "Look at connections of any kind by name, now. Without a name: this machine's own MCP client configuration."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("connection", nargs="*", help="Names of connections.")
        parser.add_argument("--all", action="store_true", help="Every enabled connection.")
        parser.add_argument(
            "--add", type=Path, metavar="PATH", help="Add a folder or file as a connection and sync it."
        )
        parser.add_argument("--hours", type=int, default=1, help="With --add: hours between two syncs.")
        parser.add_argument("--progress", action="store_true", help="Show a progress bar on stderr.")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(stderr=True)
        runs = []
        for connection in self.chosen(options):
            if connection.kind not in LISTINGS:
                self.stderr.write(f"{connection.name} is sent what it holds; there is nothing to look at.")
                continue
            many = plural(0, KINDS[connection.kind].noun).removeprefix("0 ")
            words = TextColumn("Looking at {task.description}"), TextColumn(f"{{task.completed}} {many} read")
            columns = words[0], BarColumn(), words[1]
            with Progress(*columns, console=console, disable=not (options["progress"] or console.is_terminal)) as bar:
                task = bar.add_task(escape(connection.name), total=None)
                try:
                    run = sync(
                        connection.pk,
                        clock=timezone.now,
                        actor=ACTOR,
                        progress=partial(show, bar, task),
                    )
                except InventoryError as exc:
                    raise CommandError(str(exc), returncode=FAILURE) from exc
            if run is None:
                self.stderr.write(f"{connection.name} is being synced by another worker; its page shows how far it is.")
                continue
            runs.append((connection, run))
        if options["format"] == "json":
            said = [
                {
                    "connection": connection.name,
                    "state": run.state,
                    "read": run.done,
                    "changes": run.counts,
                    "problems": run.problems,
                    "error": run.error,
                }
                for connection, run in runs
            ]
            self.stdout.write(json.dumps(said))
        else:
            for connection, run in runs:
                self.stdout.write(f"{connection.name}: {sentence(run, KINDS[connection.kind].noun)}")
                for problem in run.problems[:SHOWN]:
                    self.stdout.write(f"  not read: {where(problem)}: {problem.get('reason', 'unknown')}")
                if len(run.problems) > SHOWN:
                    self.stdout.write(f"  and {len(run.problems) - SHOWN} more, on the connection's page")
        if any(run.state == RunState.FAILED for _, run in runs):
            raise SystemExit(FAILURE)

    def chosen(self, options: dict[str, Any]) -> list[Connection]:
        if options["add"]:
            path = options["add"].expanduser().absolute()
            if not path.exists():
                raise CommandError(f"{path} does not exist.", returncode=2)
            if Connection.objects.filter(name=str(path)).exists():
                return list(Connection.objects.filter(name=str(path)))
            return [
                create_connection(
                    kind=ConnectionKind.MCP_CONFIG,
                    name=str(path),
                    settings={"paths": [str(path)], "host": socket.gethostname()},
                    actor=ACTOR,
                    now=timezone.now(),
                    interval=timedelta(hours=options["hours"]),
                )
            ]
        if options["all"]:
            return list(Connection.objects.filter(is_enabled=True).exclude(kind=ConnectionKind.FEED).order_by("name"))
        if options["connection"]:
            found = list(Connection.objects.filter(name__in=options["connection"]).order_by("name"))
            missing = set(options["connection"]) - {connection.name for connection in found}
            if missing:
                raise CommandError(f"No connection is called {', '.join(sorted(missing))}.", returncode=2)
            return found
        return [this_machine(hostname=socket.gethostname(), actor=ACTOR, now=timezone.now())]


def show(bar: Progress, task: TaskID, done: int, expected: int | None) -> None:
    bar.update(task, completed=done, total=expected)


def where(problem: dict[str, Any]) -> str:
    place = str(problem.get("file", "unknown place"))
    if problem.get("line"):
        return f"{place}, line {problem['line']}"
    return f"{place} {problem['pointer']}" if problem.get("pointer") else place


def sentence(run: SyncRun, noun: str) -> str:
    """What a run brought, for people."""
    if run.state == RunState.FAILED:
        return f"failed. {run.error} Nothing was marked gone."
    text = f"read {plural(run.done, noun)}; {changes(run.counts) or 'nothing changed'}."
    if run.state == RunState.PARTIAL:
        return f"partial. {text} {run.error} What could not be read is unknown, and nothing of it was marked gone."
    return text
