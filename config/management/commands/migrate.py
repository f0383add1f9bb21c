"""`manage.py migrate`: Django's, by the role that owns the tables; then the application's role may use the new ones."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate

from config.errors import CannotStart
from config.ownership import as_owner, grant


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        with as_owner():
            super().handle(*args, **options)
        if options["plan"]:
            return
        try:
            grant()
        except CannotStart as exc:
            raise CommandError(str(exc), returncode=3) from exc
