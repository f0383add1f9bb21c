"""Print the public key that signs chain heads, or begin another one."""

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from access.actors import Actor
from audit.errors import AuditError
from audit.exports import export_due
from audit.heads import rotate_key, sign_head, signing_key
from audit.models import ChainKey
from audit.signing import fingerprint, pem
from audit.tasks import places

ACTOR = Actor.system("command line")


class Command(BaseCommand):
    help = "Print the public key that signs the audit chain's heads, with its fingerprint. --rotate begins another one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--rotate", action="store_true", help="begin a new key, for which the present one vouches")
        what.add_argument(
            "--lost", action="store_true", help="begin a new key for which nothing vouches: the present one is lost"
        )
        parser.add_argument("--reason", default="", help="why; kept in the audit chain")
        parser.add_argument("--format", choices=["text", "json", "pem"], default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        if (options["rotate"] or options["lost"]) and not options["reason"].strip():
            raise CommandError("Say why: --reason TEXT.", returncode=2)
        try:
            if options["rotate"] or options["lost"]:
                rotate_key(
                    settings.CHAIN_KEY,
                    clock=timezone.now,
                    actor=ACTOR,
                    reason=options["reason"].strip(),
                    is_lost=options["lost"],
                )
                now = timezone.now()
                sign_head(signing_key(settings.CHAIN_KEY, now=now, actor=ACTOR), now=now, actor=ACTOR)
                export_due(places(), clock=timezone.now, actor=ACTOR)
            else:
                signing_key(settings.CHAIN_KEY, now=timezone.now(), actor=ACTOR)
        except AuditError as exc:
            raise CommandError(str(exc), returncode=3) from exc
        said = ChainKey.objects.published()
        current = bytes.fromhex(said["current"])
        if options["format"] == "json":
            self.stdout.write(json.dumps(said))
        elif options["format"] == "pem":
            self.stdout.write(pem(current), ending="")
        else:
            self.stdout.write(f"Public key   {current.hex()}")
            self.stdout.write(f"Fingerprint  {fingerprint(current)}")
            key = said["keys"][-1]
            by = "the key before it vouches for it" if key["signer"] != key["public_key"] else "nothing vouches for it"
            self.stdout.write(f"Since        {key['began_at']}, behind entry {key['after']}; {by}")
            if options["lost"]:
                self.stdout.write(
                    "Tell it to every auditor by a way that they trust: what they hold does not lead to it."
                )
