"""Put a reference in place of a literal secret in a client's configuration."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from access.actors import Actor
from inventory.discovery.keys import fingerprint_key
from inventory.errors import InventoryError
from inventory.models import Exposure
from inventory.replacing import preview, replace
from inventory.tasks import ring
from providers.errors import ProviderError

FAILURE = 3  # exit code; 2 is a wrong call
ACTOR = Actor.system("command line")


class Command(BaseCommand):
    help = "Replace a literal secret that a sync saw in a file by a reference. Every other byte of the file stays."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="The file, as its exposure names it.")
        parser.add_argument("pointer", help="The place in the file, as its exposure names it.")
        parser.add_argument(
            "--reference", required=True, help="The name of a variable, or a whole reference such as ${env:NAME}."
        )
        parser.add_argument("--deliver-to", default="", help="Put the secret there first: file:///folder/.env#NAME.")
        parser.add_argument("--dry-run", action="store_true", help="Show what would change, and change nothing.")

    def handle(self, *args: Any, **options: Any) -> None:
        seen = Exposure.objects.visible_to(ACTOR).present().select_related("credential", "connection")
        exposure = seen.filter(file=options["file"], pointer=options["pointer"]).first()
        if exposure is None:
            raise CommandError("No literal was seen there: sync the connection that lists the file.", returncode=2)
        key, _ = fingerprint_key(settings.KEYREEVE_HOME, settings.FINGERPRINT_KEY)
        reference = options["reference"]
        try:
            if options["dry_run"]:
                change = preview(exposure, reference=reference, key=key)
            else:
                change = replace(
                    exposure,
                    reference=reference,
                    key=key,
                    actor=ACTOR,
                    now=timezone.now(),
                    deliver_to=options["deliver_to"],
                )
        except (InventoryError, ProviderError) as exc:
            raise CommandError(str(exc), returncode=FAILURE) from exc
        self.stdout.write("\n".join(change.lines()))
        if not options["dry_run"]:
            ring(exposure.connection_id, exposure.connection.kind)
