"""Revoke everything behind something, or rehearse it: for people in a hurry, and with exit codes for scripts."""

import json
import sys
import time
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone

from access.actors import Actor
from inventory.errors import InventoryError
from inventory.models import Credential
from lifecycle import batching
from lifecycle.actions import batches
from lifecycle.errors import LifecycleError
from lifecycle.models import Batch
from lifecycle.models.reports import progress, report_of
from lifecycle.models.scopes import ROWS, Scope, preview
from lifecycle.states import BatchState, ScopeKind
from lifecycle.tasks import ring_operations
from providers.base import Secret
from web.wording import plural

UNFINISHED, USAGE, FAILURE = 1, 2, 3
KINDS = {
    "server": ScopeKind.SERVER,
    "client": ScopeKind.CLIENT,
    "owner": ScopeKind.OWNER,
    "person": ScopeKind.PERSON,
    "connection": ScopeKind.CONNECTION,
    "fingerprint": ScopeKind.FINGERPRINT,
    "credential": ScopeKind.CREDENTIALS,
}
LOOK_EVERY = 1.0


class Command(BaseCommand):
    help = (
        "Revoke everything behind a server, client, owner, person, connection, credentials, or a leaked value read "
        "from standard input. Without --yes it only says what would happen. Exit code 0: done, or begun, or said; 1: "
        "it waits for a second person, or has not ended well; 2: a wrong call; 3: it could not be done."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", choices=list(KINDS))
        parser.add_argument(
            "what", nargs="*", help="Name or id. For a fingerprint nothing: the value comes from standard input."
        )
        parser.add_argument("--reason", default="")
        parser.add_argument("--drill", action="store_true", help="Rehearse it without any effect.")
        parser.add_argument("--yes", action="store_true", help="Do it. Without this nothing is changed.")
        parser.add_argument("--wait", action="store_true", help="Wait until it has ended.")
        parser.add_argument("--wait-for", type=int, default=600, help="Seconds to wait at most.")
        parser.add_argument("--not-urgent", action="store_true", help="The least critical environment first.")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *_args: Any, **options: Any) -> None:
        actor = Actor.system("command line")
        try:
            scope = self._scope(KINDS[options["kind"]], options["what"])
            if not (options["yes"] or options["drill"]):
                self._say_first(scope, actor, options)
                return
            if not options["reason"].strip():
                raise CommandError("Say why: --reason.", returncode=USAGE)
            batch = self._begin(scope, actor, options)
        except (LifecycleError, InventoryError) as exc:
            raise CommandError(str(exc), returncode=FAILURE) from exc
        if options["wait"] and not batch.is_drill and batch.state == BatchState.RUNNING:
            batch = self._waited(batch, options["wait_for"])
        self._tell(batch, options)
        if batch.state == BatchState.REQUESTED or (options["wait"] and not _ended_well(batch)):
            raise SystemExit(UNFINISHED)

    def _scope(self, kind: ScopeKind, what: list[str]) -> Scope:
        if kind is ScopeKind.FINGERPRINT:
            if what:
                raise CommandError("Never give a value as an argument; it is read from standard input.", returncode=2)
            value = Secret(sys.stdin.readline().strip())
            if len(value.reveal()) < 8:
                raise CommandError("Give the whole value on standard input.", returncode=USAGE)
            return batching.scope_of_value(value)
        if not what:
            raise CommandError("Name it, by name or id.", returncode=USAGE)
        if kind is ScopeKind.CREDENTIALS:
            rows = [self._row(Credential, each) for each in what]
            label = rows[0].name if len(rows) == 1 else f"{len(rows)} chosen credentials"
            return Scope(kind, "", label[:200], tuple(str(row.pk) for row in rows))
        text = " ".join(what)
        if kind is ScopeKind.PERSON and not _called(ROWS[kind], text):
            return Scope.called(text)
        return Scope.around(kind, self._row(ROWS[kind], text))

    def _row(self, model: Any, text: str) -> Any:
        found = _called(model, text)
        if len(found) != 1:
            many = "Several are" if found else "Nothing is"
            raise CommandError(f"{many} called “{text}” there. Give the id.", returncode=USAGE)
        return found[0]

    def _say_first(self, scope: Scope, actor: Actor, options: dict[str, Any]) -> None:
        keys = batches.reachable(scope, actor)
        seen = preview(keys, now=timezone.now())
        if options["format"] == "json":
            self.stdout.write(json.dumps({"would": seen, "done": False}))
            return
        clients, servers = seen["clients"]["number"], seen["servers"]["number"]
        self.stdout.write(
            f"{plural(seen['credentials'], 'credential')} behind {scope.label}, {seen['in_production']} in production; "
            f"{plural(clients, 'client')} at {plural(servers, 'server')} stop working."
        )
        for hop in seen["hops"]:
            soon = f"{hop['last_refused_in']} s" if hop["last_refused_in"] is not None else "unknown"
            self.stdout.write(
                f"  {hop['name']}, {hop['kind']}: {hop['credentials']}, refused by {soon} ({hop['basis']})"
            )
        self.stdout.write("Nothing was changed. Say --yes to revoke them, --drill to rehearse it.")

    def _begin(self, scope: Scope, actor: Actor, options: dict[str, Any]) -> Batch:
        asked = {"actor": actor, "now": timezone.now(), "reason": options["reason"]}
        if options["drill"]:
            batch = batches.request_drill(scope, **asked)
        else:
            batch = batches.request_batch(scope, is_urgent=not options["not_urgent"], **asked)
        batching.carry_on(batch, clock=timezone.now, ring=ring_operations)
        batch.refresh_from_db()
        return batch

    def _waited(self, batch: Batch, seconds: int) -> Batch:
        until = timezone.now() + timedelta(seconds=seconds)
        while batch.ended_at is None and timezone.now() < until:
            time.sleep(LOOK_EVERY)
            batching.carry_on(batch, clock=timezone.now, ring=ring_operations)
            batch.refresh_from_db()
        return batch

    def _tell(self, batch: Batch, options: dict[str, Any]) -> None:
        if options["format"] == "json":
            report = batch.report or report_of(batch, now=timezone.now())
            said = {"id": str(batch.pk), "state": batch.state, "size": batch.size, "is_drill": batch.is_drill}
            self.stdout.write(json.dumps({**said, "approval": batch.approval_reason, "report": report}))
            return
        if batch.is_drill:
            self.stdout.write(f"Rehearsed over {plural(batch.size, 'credential')}. Gaps:")
            for gap in batch.report.get("gaps", []) or ["none"]:
                self.stdout.write(f"  {gap}")
        elif batch.state == BatchState.REQUESTED:
            self.stdout.write(f"It waits for a second person. {batch.approval_reason} /batches/{batch.pk}/")
        else:
            stands = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in progress(batch).items())
            self.stdout.write(f"{batch.get_state_display()}: {stands}. /batches/{batch.pk}/")


def _called(model: Any, text: str) -> list[Any]:
    """What has this id or this name, two of them at most."""
    try:
        wanted = Q(pk=UUID(text))
    except ValueError:
        wanted = Q(name=text)
    return list(model._default_manager.filter(wanted)[:2])


def _ended_well(batch: Batch) -> bool:
    return batch.is_drill or (
        batch.state == BatchState.COMPLETED and set(progress(batch)) <= {"verified", "done", "skipped"}
    )
