"""`manage.py restore`: a backup into an empty database, seen to be whole before anybody relies on it."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from config.backup import reached, restore
from config.errors import CannotRestore, CannotStart
from config.ownership import grant
from web.wording import plural


class Command(BaseCommand):
    help = "Restore a backup into an empty database, count its rows and verify its audit chain."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="the folder that a backup was made in")

    def handle(self, *args: Any, **options: Any) -> None:
        home, folder = settings.KEYREEVE_HOME, options["folder"]
        try:
            url = settings.MIGRATION_DATABASE_URL or settings.DATABASE_URL
            with reached(url, settings.EMBEDDED_DATA_DIR, home=home, is_alone=True) as conninfo:
                made = restore(conninfo, folder, home=home)
                grant()
                self.stdout.write(f"{plural(made.rows, 'row')} of {plural(len(made.counts), 'table')} are back.")
                try:
                    call_command("verify_audit", stdout=self.stdout, stderr=self.stderr)
                finally:
                    connections.close_all()
        except (CannotRestore, CannotStart) as exc:
            raise CommandError(str(exc), returncode=3) from exc
        kept = f"With its keys: {', '.join(made.keys)}." if made.keys else "It contained no keys: put yours back."
        self.stdout.write(
            f"{kept} Made {made.made_at} by Keyreeve {made.version}; the next start brings it up to date."
        )
