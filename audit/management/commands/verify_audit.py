"""Walk the audit chain and compare it with the exported heads."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from audit.chain import verify
from audit.heads import HeadUnreadable, exported_heads, first_broken_head
from audit.models import AuditEntry
from web.wording import plural


class Command(BaseCommand):
    help = "Verify the audit chain. Exit 0 when it holds, 1 with the first thing that does not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--heads", type=Path, default=None, help="Folder of exported heads to compare with.")
        parser.add_argument(
            "--public-key", default="", help="Ed25519 public key in hex that the heads must be signed with."
        )
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            trusted = bytes.fromhex(options["public_key"]) if options["public_key"] else None
        except ValueError as exc:
            raise CommandError("A public key is 64 hexadecimal digits.", returncode=2) from exc
        folder = options["heads"] or settings.CHAIN_HEADS_DIR
        result = verify(AuditEntry.objects.links())
        problem = result.broken.reason if result.broken else None
        heads = 0
        if problem is None:
            try:
                problem = first_broken_head(folder, trusted_key=trusted)
                heads = sum(1 for _ in exported_heads(folder))
            except HeadUnreadable as exc:
                problem = str(exc)
        if problem is None and not heads and (options["heads"] or trusted):
            problem = f"there is no exported head in {folder} to compare it with"
        if options["format"] == "json":
            said = {"entries": result.count, "last": result.seq, "hash": result.hash.hex(), "holds": problem is None}
            self.stdout.write(json.dumps({**said, "heads": heads, "problem": problem}))
        elif problem is None:
            self.stdout.write(f"The chain holds: {result.count} entries, last {result.seq}, {result.hash.hex()}.")
            self.stdout.write(compared(heads, has_key=trusted is not None))
        elif result.broken:
            self.stderr.write(f"The chain does not hold: {problem}. {result.count} entries before it do.")
        else:
            self.stderr.write(
                f"The {result.count} entries follow from each other, but not from what was signed: {problem}."
            )
        if problem is not None:
            raise SystemExit(1)


def compared(heads: int, *, has_key: bool) -> str:
    """What the exported heads add, and what nobody checked."""
    if not heads:
        return "No exported head was there to compare it with: that the whole was not written anew is not checked."
    if not has_key:
        return f"It agrees with {plural(heads, 'exported head')}. Whose key signed them is not checked: --public-key."
    return f"It agrees with {plural(heads, 'exported head')} signed by the given key."
