"""`manage.py sign_in_link [USER]`: a way in for somebody without a password, or who has lost it."""

from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser

from access.actors import Actor
from access.models import User
from config.actions import FIRST_ADMINISTRATOR, ensure_administrator, issue_sign_in_link
from config.addresses import base_url, link_life


class Command(BaseCommand):
    help = "Print a link that signs a person in once. Give it to nobody else."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", nargs="?", default=FIRST_ADMINISTRATOR, help="user name or e-mail address")
        parser.add_argument("--port", type=int, default=settings.PORT, help="default: KEYREEVE_PORT or 8000")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["user"]
        user = User.objects.filter(username=name).first() or User.objects.filter(email__iexact=name).first()
        if user is None and name == FIRST_ADMINISTRATOR:
            user = ensure_administrator(actor=Actor.system("command line"))
        if user is None or not user.is_active:
            raise CommandError(f"There is no active user {name}.", returncode=2)
        link = issue_sign_in_link(user, base=base_url(options["port"]), actor=Actor.system("command line"))
        self.stderr.write(f"Signs in {user.username} once, within {link_life()}:")
        self.stdout.write(link)
