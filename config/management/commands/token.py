"""`manage.py token NAME --role ROLE`: an API token for a program, printed once."""

from datetime import timedelta
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from config.tokens import LONGEST_NAME, MOST_DAYS, issue, tell_inventory

DAYS = 90


class Command(BaseCommand):
    help = "Print a new API token. It is shown this once; only its digest is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what the token is for, as the audit trail will show it")
        parser.add_argument("--role", required=True, choices=[role.value for role in Role])
        parser.add_argument("--days", type=int, default=DAYS, help=f"how long it lives (default {DAYS})")

    def handle(self, *args: Any, **options: Any) -> None:
        name, days = options["name"].strip(), options["days"]
        if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
            raise CommandError(f"The name must have 1 to {LONGEST_NAME} printable characters.", returncode=2)
        if not 0 < days <= MOST_DAYS:
            raise CommandError(f"A token lives from 1 to {MOST_DAYS} days.", returncode=2)
        role = Role(options["role"])
        actor = Actor.system("command line")
        _, value = issue(name, role, life=timedelta(days=days), actor=actor, now=timezone.now())
        tell_inventory(clock=timezone.now)
        self.stderr.write(f"Token {name} with the role {role.value}, for {days} days. It is not shown again:")
        self.stdout.write(value)
