"""Ask for rotations from the command line, and follow them."""

from typing import Any

from django.utils import timezone

from access.actors import Actor
from inventory.models import Credential
from lifecycle.actions.requests import request_rotation
from lifecycle.management.commands._operate import OperateCommand
from lifecycle.models import Operation


class Command(OperateCommand):
    help = (
        "Rotate credentials: a new version is issued and delivered, the old one retired once its consumers have moved. "
        "Exit code 0: asked for, with --wait ended; 1: one was refused, stalled or not ended in time; 2: a wrong call; "
        "3: it could not be done."
    )

    def ask(self, credential: Credential, *, actor: Actor, reason: str, options: dict[str, Any]) -> Operation:
        return request_rotation(credential, actor=actor, now=timezone.now(), reason=reason)
