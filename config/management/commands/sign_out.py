"""`manage.py sign_out USER…`: end every session of a person, or with --everybody of all."""

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from access.actors import Actor
from access.models import User
from config.actions import end_sessions
from web.wording import plural

ACTOR = Actor.system("command line")


class Command(BaseCommand):
    help = "Sign people out wherever they are. Their API tokens go on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", nargs="*", help="user names or e-mail addresses")
        parser.add_argument("--everybody", action="store_true", help="all people")

    def handle(self, *args: Any, **options: Any) -> None:
        names = options["user"]
        if bool(names) == options["everybody"]:
            raise CommandError("Name people, or say --everybody.", returncode=2)
        people = list(User.objects.order_by("pk")) if options["everybody"] else [self.found(name) for name in names]
        ended = sum(end_sessions(user, actor=ACTOR) for user in people)
        self.stdout.write(f"{plural(ended, 'session')} of {plural(len(people), 'person,people')} ended.")

    def found(self, name: str) -> User:
        user = User.objects.filter(username=name).first() or User.objects.filter(email__iexact=name).first()
        if user is None:
            raise CommandError(f"There is no user {name}.", returncode=2)
        return user
