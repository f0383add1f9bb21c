"""Walk the audit chain and compare it with the exported heads."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from audit.chain import verify
from audit.heads import HeadUnreadable, first_broken_head
from audit.models import AuditEntry


class Command(BaseCommand):
    help = "Verify the audit chain. Exit 0 when it holds, 1 with the first thing that does not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--heads", type=Path, default=None, help="Folder of exported heads to compare with.")
        parser.add_argument(
            "--public-key", default="", help="Ed25519 public key in hex that the heads must be signed with."
        )
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        result = verify(AuditEntry.objects.links())
        problem = result.broken.reason if result.broken else None
        folder = options["heads"] or settings.CHAIN_HEADS_DIR
        if problem is None:
            try:
                trusted = bytes.fromhex(options["public_key"]) if options["public_key"] else None
                problem = first_broken_head(folder, trusted_key=trusted)
            except HeadUnreadable as exc:
                problem = str(exc)
        if options["format"] == "json":
            said = {"entries": result.count, "last": result.seq, "hash": result.hash.hex(), "holds": problem is None}
            self.stdout.write(json.dumps({**said, "problem": problem}))
        elif problem is None:
            self.stdout.write(f"The chain holds: {result.count} entries, last {result.seq}, {result.hash.hex()}.")
        else:
            self.stderr.write(f"The chain does not hold: {problem}. {result.count} entries before it do.")
        if problem is not None:
            raise SystemExit(1)
