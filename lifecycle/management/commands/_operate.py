"""What `rotate` and `revoke` share: naming credentials, asking, following, and exit codes for scripts."""

import json
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone
from rich.console import Console
from rich.live import Live
from rich.table import Table

from access.actors import Actor
from inventory.models import Credential
from lifecycle import progress, tasks
from lifecycle.errors import LifecycleError
from lifecycle.models import Operation
from lifecycle.states import CLOSED, OperationState

REFUSED, USAGE, FAILURE = 1, 2, 3
EVERY = 1.0  # seconds between two looks
UNTAKEN = 20.0  # seconds after which it is said that no worker takes anything


class OperateCommand(BaseCommand):
    requires_system_checks = ()
    verb = ""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("credentials", nargs="+", metavar="CREDENTIAL", help="An id, an identity or a unique name.")
        parser.add_argument("--reason", required=True, help="Why; kept in the audit log.")
        parser.add_argument("--wait", action="store_true", help="Follow them to where they end, stall or wait.")
        parser.add_argument("--timeout", type=float, default=0, metavar="SECONDS", help="Follow no longer than this.")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def ask(self, credential: Credential, *, actor: Actor, reason: str, options: dict[str, Any]) -> Operation:
        raise NotImplementedError

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            found = [named(text) for text in options["credentials"]]
            actor, asked, refused = Actor.system("command line"), [], []
            for credential in found:
                try:
                    row = self.ask(credential, actor=actor, reason=options["reason"], options=options)
                except LifecycleError as exc:
                    refused.append((credential, str(exc)))
                else:
                    tasks.ring(row)
                    asked.append(row.pk)
            rows = self.follow(asked, options) if options["wait"] and asked else read(asked)
        except DatabaseError as exc:
            raise CommandError("The database does not answer, or refused.", returncode=FAILURE) from exc
        self.tell(rows, refused, options)
        bad = [row for row in rows if row.state in {OperationState.STALLED, OperationState.CANCELLED}]
        is_unfinished = options["wait"] and any(row.closed_at is None for row in rows)
        if refused or bad or is_unfinished:
            raise SystemExit(REFUSED)

    def follow(self, keys: Sequence[UUID], options: dict[str, Any]) -> list[Operation]:
        """Until each ended or stalled, or waits for people or for longer than anybody looks on."""
        began, taken, warned = time.monotonic(), False, False
        console = Console(stderr=True)
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            while True:
                rows, now = read(keys), timezone.now()
                live.update(table(rows, now))
                taken = taken or any(row.attempts or row.state != OperationState.PENDING for row in rows)
                spent = time.monotonic() - began
                if all(is_over(row) for row in rows) or (options["timeout"] and spent >= options["timeout"]):
                    return rows
                if not taken and not warned and spent > UNTAKEN:
                    console.print("No worker takes it. It goes on once one runs: manage.py up")
                    warned = True
                time.sleep(EVERY)

    def tell(self, rows: Sequence[Operation], refused: Sequence[tuple[Credential, str]], options: Any) -> None:
        now = timezone.now()
        if options["format"] == "json":
            said = [as_json(row, now) for row in rows]
            left = [{"credential": str(row.pk), "name": row.name, "detail": why} for row, why in refused]
            self.stdout.write(json.dumps({"operations": said, "refused": left}))
            return
        for row in rows:
            word = word_of(row, now)
            why = row.error or row.waits_for or row.proof_reason or row.closed_reason
            self.stdout.write(f"{row}: {word}{f'. {why}' if why else ''} ({row.pk})")
        for credential, why in refused:
            self.stderr.write(f"{credential.name}: {why}")


def named(text: str) -> Credential:
    """By id, by identity, or by a name that only one live credential has."""
    rows = Credential.objects.select_related("connection")
    try:
        found = rows.filter(pk=UUID(text)).first()
    except ValueError:
        found = rows.filter(identity_key=text).first()
        if found is None:
            alike = list(rows.live().filter(name=text)[:2])
            if len(alike) > 1:
                raise CommandError(
                    f"More than one credential is called {text}. Give its id.", returncode=USAGE
                ) from None
            found = alike[0] if alike else None
    if found is None:
        raise CommandError(f"There is no credential {text}.", returncode=USAGE)
    return found


def read(keys: Sequence[UUID]) -> list[Operation]:
    return list(Operation.objects.filter(pk__in=keys).select_related("credential").order_by("id"))


def is_over(row: Operation) -> bool:
    """Nothing happens to it by itself any more. A wait of hours is left to the pages."""
    return row.state in {*CLOSED, OperationState.STALLED, OperationState.PROPOSED} or (
        row.state == OperationState.WAITING and row.due_at is None
    )


def word_of(row: Operation, now: Any) -> str:
    return progress.words(row.kind, row.step, row.state_at(now), is_rolling_back=row.is_rolling_back)


def table(rows: Sequence[Operation], now: Any) -> Table:
    shown = Table(box=None, show_header=False)
    for row in rows:
        shown.add_row(str(row), word_of(row, now), row.error or row.waits_for)
    return shown


def as_json(row: Operation, now: Any) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "kind": row.kind,
        "credential": {"id": str(row.credential_id), "name": row.credential.name},
        "state": row.state_at(now),
        "step": row.step,
        "proof": row.proof,
        "proof_reason": row.proof_reason,
        "waits_for": row.waits_for,
        "error": row.error,
        "closed_at": row.closed_at.isoformat() if row.closed_at else None,
    }
