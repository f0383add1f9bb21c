"""`manage.py up`: Keyreeve on this machine, from an empty folder to a page that answers, until Ctrl-C."""

import http.client
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any, cast

import psycopg
from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper
from django.utils import timezone
from rich.console import Console
from rich.markup import escape

from access.actors import Actor
from access.models import User
from access.roles import Role
from config import checks, embedded, heartbeats, navigation, roles
from config.actions import ensure_administrator, issue_sign_in_link
from config.addresses import base_url, host_name, link_life
from config.errors import CannotStart
from config.home import ensure_home, ensure_secret_key, sole_use
from config.ownership import grant
from config.queues import install_queues
from config.statics import ensure_collected
from config.supervisor import Part, StopRequest, Supervisor, end_leftovers
from inventory.discovery.keys import create_fingerprint_key
from inventory.models import SyncRun
from inventory.states import RunState
from lifecycle.actions.evaluation import evaluate
from lifecycle.errors import EvaluationUnderWay

PATIENCE = 60  # seconds until the web server must have answered
WEB_ENDS, WORK_ENDS = 10, 20  # seconds in which a request, or a task, that is under way may end
BETWEEN_LOOKS = 5  # seconds between two looks whether the database lives
CANNOT_START = 3  # exit code
SYSTEM = Actor.system("start")


def parts(port: int) -> list[Part]:
    """Everything that runs beside the supervisor.

    A sync of another machine mostly waits, sometimes for minutes on one that hangs, so such syncs share a worker that
    nothing else depends on, several at a time; so do operations on a provider that answers slowly. Reading files and
    evaluating keep a core busy and take turns.
    """
    python = [sys.executable, "-m"]
    celery = [*python, "celery", "-q", "-A", "config"]
    worker = [*celery, "worker", "--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
    beat = [*celery, "beat", "--loglevel", "WARNING", "--pidfile=", "-s", str(settings.KEYREEVE_HOME / "beat")]
    return [
        Part("web", web_command(port), grace=WEB_ENDS),
        Part(
            "worker operate",
            [*worker, "-n", "operate@keyreeve", "-Q", "operate,default", "-c", "3"],
            grace=WORK_ENDS,
        ),
        Part("worker slow", [*worker, "-n", "slow@keyreeve", "-Q", "operate_slow", "-c", "2"], grace=WORK_ENDS),
        Part(
            "worker evaluate",
            [*worker, "-n", "evaluate@keyreeve", "-Q", "evaluate,files", "-c", "1"],
            grace=WORK_ENDS,
        ),
        Part("worker sync", [*worker, "-n", "sync@keyreeve", "-Q", "sync", "-c", "3"], grace=WORK_ENDS),
        Part("beat", beat),
    ]


def web_command(port: int) -> list[str]:
    """The web server, by which the load benchmark asks too."""
    web = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", settings.BIND, "--port", str(port)]
    web += ["--no-ws", "--workers", "1", "--blocking-threads", "4", "--log-level", "warning", "--no-access-log"]
    return [*web, "config.wsgi:application"]


def web_answers(port: int) -> bool:
    same = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # nosec B104  # noqa: S104  compared, not bound
    host = same.get(settings.BIND, settings.BIND)
    client = http.client.HTTPConnection(host, port, timeout=5)
    try:
        client.request("GET", "/healthz", headers={"Host": host_name()})
        return client.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        client.close()


def leave_database() -> None:
    """Hold no session of our own while the parts run."""
    default = cast(DatabaseWrapper, connections["default"])
    default.close()
    default.close_pool()


def nobody_can_sign_in() -> bool:
    """Whether no administrator has a password yet."""
    administrators = User.objects.filter(groups__name=Role.ADMINISTRATOR, is_active=True)
    return not any(user.has_usable_password() for user in administrators)


class Command(BaseCommand):
    help = "Start Keyreeve here: database, web, workers and the first discovery. Ctrl-C ends all of it."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=settings.PORT, help="default: KEYREEVE_PORT or 8000")
        parser.add_argument("--no-discovery", action="store_true", help="look for no MCP clients at the first start")

    def handle(self, *args: Any, **options: Any) -> None:
        self.console = Console(highlight=False)
        self.stop_request = StopRequest()
        with self.stop_request.heard():
            try:
                self.run(options["port"], discovery=not options["no_discovery"])
            except KeyboardInterrupt:
                self.say("Everything has ended.")
            except CannotStart as exc:
                errors = Console(stderr=True, highlight=False)
                errors.print(f"[bold]Keyreeve cannot start.[/] {escape(str(exc))}", soft_wrap=True)
                sys.exit(CANNOT_START)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def run(self, port: int, *, discovery: bool) -> None:
        with ExitStack() as ending:
            try:
                supervisor, database = self.start(port, ending, discovery=discovery)
                looked = 0.0
                while True:
                    supervisor.tend()
                    if database is not None and time.monotonic() - looked > BETWEEN_LOOKS:
                        looked = time.monotonic()
                        self.tend_database(database)
                    time.sleep(0.5)
            except KeyboardInterrupt:
                self.say("Ending; work that is under way gets a few seconds…")
                raise
            finally:
                self.stop_request.ending = True  # from here on a signal only hurries

    def start(
        self, port: int, ending: ExitStack, *, discovery: bool
    ) -> tuple[Supervisor, embedded.EmbeddedPostgres | None]:
        home = settings.KEYREEVE_HOME
        checks.check_python()
        ensure_home(home)
        if ending.enter_context(sole_use(home)):
            end_leftovers(home)
            self.say("The last run did not end properly; what it left running has been tidied up.")
        settings.DRAIN_FILE.unlink(missing_ok=True)
        checks.check_port(port)
        checks.check_broker()
        if not settings.SECRET_KEY_GIVEN:
            settings.SECRET_KEY = ensure_secret_key(home)  # the sign-in link below is signed with it
        if settings.FINGERPRINT_KEY is None:
            create_fingerprint_key(home)
        with ThreadPoolExecutor(1) as aside:
            statics = aside.submit(ensure_collected)
            database = self.start_database(ending)
            if not checks.is_up_to_date():
                call_command("migrate", interactive=False, verbosity=0)
            heartbeats.declare()
            administrator = ensure_administrator(actor=SYSTEM)
            statics.result()
        supervisor = Supervisor(home, settings.BASE_DIR, self.parts(port), say=self.say, stop=self.stop_request)
        ending.callback(supervisor.stop)
        ending.callback(self.drain)
        supervisor.start()
        if discovery:
            self.look_first(supervisor)
        self.wait_for_web(supervisor, port)
        self.welcome(administrator, port)
        leave_database()
        return supervisor, database

    def start_database(self, ending: ExitStack) -> embedded.EmbeddedPostgres | None:
        """The embedded server, or None where DATABASE_URL names one."""
        database = None
        if settings.DATABASE_URL:
            embedded.check_server(settings.DATABASE_URL)
            conninfo = settings.MIGRATION_DATABASE_URL or settings.DATABASE_URL
        else:
            database = embedded.EmbeddedPostgres(settings.EMBEDDED_DATA_DIR)
            conninfo = settings.OWNER_CONNINFO
            ending.callback(database.stop)
            if database.start():
                self.say("Its database was still running and is used again.")
            roles.divide(database.conninfo())
        ending.callback(leave_database)
        if not settings.BROKER_URL:
            install_queues(conninfo)
        grant()
        return database

    def drain(self) -> None:
        """Say at /readyz that nobody should be sent here, and go on for as long as that takes to be noticed."""
        settings.DRAIN_FILE.touch()
        end = time.monotonic() + settings.DRAIN_FOR.total_seconds()
        while time.monotonic() < end and not self.stop_request.in_a_hurry:
            time.sleep(0.1)

    def tend_database(self, database: embedded.EmbeddedPostgres) -> None:
        if database.is_running():
            return
        try:
            database.start()
        except (CannotStart, psycopg.Error) as exc:
            self.say(f"{exc} Trying again in {BETWEEN_LOOKS} s.")
        else:
            self.say("The embedded database had ended and has been started again.")

    def parts(self, port: int) -> list[Part]:
        """What runs beside the supervisor."""
        return parts(port)

    def look_first(self, supervisor: Supervisor) -> None:
        """Fill an inventory that nothing has been brought to yet."""
        if SyncRun.objects.filter(state__in=[RunState.COMPLETE, RunState.PARTIAL]).exists():
            return
        self.say("Looking for MCP clients on this machine…")
        try:
            call_command("sync", progress=True)
        except CommandError as exc:
            self.say(f"The first discovery did not finish: {exc} Try again with: manage.py sync")
        except SystemExit:  # it has said why
            self.say("The first discovery did not finish. Try again with: manage.py sync")
        with suppress(EvaluationUnderWay):  # a worker was quicker
            evaluate(timezone.now(), actor=SYSTEM)

    def wait_for_web(self, supervisor: Supervisor, port: int) -> None:
        web = supervisor.parts[0]
        end = time.monotonic() + PATIENCE
        while not web_answers(port):
            supervisor.tend()
            if web.failures > 1 or time.monotonic() > end:
                log = supervisor.log_of(web)
                raise CannotStart(f"The web server does not answer on port {port}. Its log says why: {log}")
            time.sleep(0.1)

    def welcome(self, administrator: User, port: int) -> None:
        url = base_url(port)
        headline = f"\n[bold]Keyreeve[/] {settings.VERSION} is running at [bold]{escape(url)}[/]"
        self.console.print(headline, soft_wrap=True)
        counted = [each for each in navigation.counts(SYSTEM).items() if each[0] not in navigation.QUEUES]
        self.say(", ".join(f"{count} {noun.removesuffix('s') if count == '1' else noun}" for noun, count in counted))
        if nobody_can_sign_in():
            link = issue_sign_in_link(administrator, base=url, actor=SYSTEM)
            self.say(f"\nSign in once as {administrator.username}, within {link_life()}:\n{link}")
        self.say("\nCtrl-C ends it.")
