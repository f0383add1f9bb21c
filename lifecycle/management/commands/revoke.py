"""Ask for revocations from the command line, and follow them until they were seen refused."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from access.actors import Actor
from inventory.models import Credential
from lifecycle.actions.requests import request_revocation
from lifecycle.management.commands._operate import OperateCommand
from lifecycle.models import Operation


class Command(OperateCommand):
    help = (
        "Revoke credentials: they are refused from the first step on, and destroyed. Exit code 0: asked for, with "
        "--wait ended; 1: one was refused, stalled or not ended in time; 2: a wrong call; 3: it could not be done."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--urgent", action="store_true", help="Skip every wait.")

    def ask(self, credential: Credential, *, actor: Actor, reason: str, options: dict[str, Any]) -> Operation:
        now = timezone.now()
        return request_revocation(credential, actor=actor, now=now, reason=reason, is_urgent=options["urgent"])
