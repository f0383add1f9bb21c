"""`manage.py backup`: everything that Keyreeve keeps, in a folder, while it goes on."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from config.backup import KEY_FILES, back_up, reached
from config.errors import CannotBackUp, CannotStart
from web.wording import plural


class Command(BaseCommand):
    help = "Back the database up, and with --with-keys the keys beside it, into a new folder."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="a folder that is new or empty")
        parser.add_argument(
            "--with-keys", action="store_true", help="copy the key files too; whoever has the backup has them then"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        home, folder = settings.KEYREEVE_HOME, options["folder"]
        try:
            url = settings.MIGRATION_DATABASE_URL or settings.DATABASE_URL
            with reached(url, settings.EMBEDDED_DATA_DIR, home=home, is_alone=False) as conninfo:
                made = back_up(
                    conninfo,
                    folder,
                    home=home,
                    version=settings.VERSION,
                    now=timezone.now(),
                    with_keys=options["with_keys"],
                )
        except (CannotBackUp, CannotStart) as exc:
            raise CommandError(str(exc), returncode=3) from exc
        self.stdout.write(f"{plural(made.rows, 'row')} of {plural(len(made.counts), 'table')} are in {folder}.")
        if made.keys:
            self.stdout.write(f"It contains secrets: {', '.join(made.keys)}. Keep it as you keep them.")
        left = [name for name in KEY_FILES if name not in made.keys]
        for name in left:
            self.stdout.write(f"It does not contain {name}: keep that elsewhere, or {KEY_FILES[name]}.")
        self.stdout.write(f"Exported chain heads are not part of it; they are in {settings.CHAIN_HEADS_DIR}.")
