"""Sync connections now, with a progress bar."""

import json
import socket
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from access.actors import Actor
from inventory.actions.connections import create_connection, this_machine
from inventory.engine import sync
from inventory.errors import InventoryError
from inventory.models import Connection, SyncRun
from inventory.states import ConnectionKind, RunState

SHOWN = 5  # problems; the connection's page has them all
ACTOR = Actor.system("command line")


class Command(BaseCommand):
    help = "Sync connections by name. Without a name: this machine's own MCP client configuration."

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
            words = TextColumn("Looking at {task.description}"), TextColumn("{task.completed} files read")
            columns = words[0], BarColumn(), words[1]
            with Progress(*columns, console=console, disable=not options["progress"]) as bar:
                task = bar.add_task(connection.name, total=None)
                try:
                    run = sync(
                        connection.pk,
                        clock=timezone.now,
                        actor=ACTOR,
                        progress=lambda done, b=bar, t=task: b.update(t, completed=done),  # type: ignore[misc]
                    )
                except InventoryError as exc:
                    raise CommandError(str(exc), returncode=3) from exc
            if run is None:
                self.stderr.write(f"{connection.name} is being synced by another worker.")
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
                }
                for connection, run in runs
            ]
            self.stdout.write(json.dumps(said))
        else:
            for connection, run in runs:
                self.stdout.write(f"{connection.name}: {sentence(run)}")
                for problem in run.problems[:SHOWN]:
                    line = f", line {problem['line']}" if problem.get("line") else ""
                    self.stdout.write(f"  not read: {problem['file']}{line}: {problem['reason']}")
        if any(run.state == RunState.FAILED for _, run in runs):
            raise SystemExit(3)

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
            return list(Connection.objects.filter(is_enabled=True).order_by("name"))
        if options["connection"]:
            found = list(Connection.objects.filter(name__in=options["connection"]).order_by("name"))
            missing = set(options["connection"]) - {connection.name for connection in found}
            if missing:
                raise CommandError(f"No connection is called {', '.join(sorted(missing))}.", returncode=2)
            return found
        return [this_machine(hostname=socket.gethostname(), actor=ACTOR, now=timezone.now())]


def sentence(run: SyncRun) -> str:
    """What a run brought, for people."""
    if run.state == RunState.FAILED:
        return f"failed. {run.error}"
    changes = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in run.counts.items())
    text = f"read {run.done} files; {changes or 'nothing changed'}."
    return f"{text} {run.error}" if run.error else text
