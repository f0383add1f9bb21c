"""Runs the demo estate and Keyreeve over it, under one supervisor. Started by `python -m demo`, which sets it up."""

import json
import sys
import time
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command

django.setup()

from django.conf import settings  # noqa: E402  models are there only from here on
from django.utils import timezone  # noqa: E402

from audit.heads import sign_head, signing_key  # noqa: E402
from config.errors import CannotStart  # noqa: E402
from config.management.commands import up  # noqa: E402
from config.supervisor import Part, Supervisor  # noqa: E402
from demo import cloud, company, database, ownership, reviews, weeks  # noqa: E402
from demo.estate import Live, write  # noqa: E402
from demo.places import HEADS_KEY, Places, places  # noqa: E402
from demo.servers import HOST, NAMES  # noqa: E402
from inventory.actions.asking import measure_ownership  # noqa: E402
from inventory.actions.connections import create_connection, this_machine  # noqa: E402
from inventory.engine import sync  # noqa: E402
from inventory.feeds.rows import NDJSON  # noqa: E402
from inventory.intake import take  # noqa: E402
from inventory.models import Connection, SyncRun  # noqa: E402
from inventory.states import ConnectionKind, RunState  # noqa: E402
from reviews.actions.controls import measure_controls  # noqa: E402

PATIENCE = 60  # seconds until the estate's own parts must answer
FOUNDED = "founded"
LIVE = "Live MCP servers"
ACCOUNTS = "AWS accounts"


class Command(up.Command):
    """`manage.py up` with an estate beside it."""

    help = "Start the demo estate and Keyreeve over it. Ctrl-C ends all of it."

    def handle(self, *args: Any, **options: Any) -> None:
        self.estate = places(settings.KEYREEVE_HOME)
        super().handle(*args, **options)

    def parts(self, port: int) -> list[Part]:
        estate = self.estate
        python = [sys.executable, "-m"]
        tokens = [part for name in ("payroll", "analytics", "operations") for part in ("--resource", url(estate, name))]
        issuer = ["--data", str(estate.authorization_server), "--port", str(estate.issuer_port), *tokens]
        servers = ["--port-base", str(estate.server_port), "--issuer", estate.issuer, "--change", str(estate.change)]
        secret = str(estate.authorization_server / "secrets" / "client_secret_keyreeve")
        servers += ["--introspection-id", "keyreeve", "--introspection-secret", secret]
        servers += ["--static-key", str(estate.secret("billing-key"))]
        heads = ["--heads-key", str(estate.secret(HEADS_KEY))]
        receiver = ["--port", str(estate.receiver_port), "--secret", str(estate.secret("security-desk"))]
        return [
            *super().parts(port),
            Part("demo authorization server", [*python, "demo.authorization_server", *issuer]),
            Part("demo servers", [*python, "demo.servers", *servers]),
            Part("demo cloud", [*python, "demo.cloud", "--endpoint", estate.cloud, *heads]),
            Part("demo database", [*python, "demo.database", "--folder", str(estate.database)]),
            Part("demo receiver", [*python, "demo.receiver", *receiver]),
        ]

    def look_first(self, supervisor: Supervisor) -> None:
        """Found the company, once: its files, its connections, what its people decided so far."""
        founded = self.estate.home / FOUNDED
        if founded.exists():
            return
        self.say("Founding the demo company…")
        self.wait_for_estate(supervisor)
        with weeks.alone():
            self.found()
        founded.touch()

    def found(self) -> None:
        issuer = issuer_places()
        write(self.estate.machine, now=timezone.now(), live=live(self.estate, issuer))
        company.people()
        for connection in connections(self.estate, issuer):
            if connection.kind == ConnectionKind.FEED:
                sent = company.export(timezone.now())
                run: SyncRun | None = take(
                    connection, sent, format_=NDJSON, clock=timezone.now, actor=company.ACTOR
                ).run
            else:
                run = sync(connection.pk, clock=timezone.now, actor=company.ACTOR)
            if run is not None:
                how = "" if run.state == RunState.COMPLETE else f" ({run.state}: {run.error})"
                self.say(f"  {connection.name}: {run.done} looked at{how}")
        company.hold_registrations(Path(issuer["registrations"]))
        company.populate_live(timezone.now())
        self.estate.change.touch()  # a definition changes behind its approval
        sync(Connection.objects.get(name=LIVE).pk, clock=timezone.now, actor=company.ACTOR)
        self.say("  ten weeks before today, as demo data")
        receiver = f"http://{HOST}:{self.estate.receiver_port}/keyreeve"
        company.tell(receiver, self.estate.secret("security-desk"), timezone.now())
        company.populate(*ownership.over_the_weeks(), *reviews.over_the_weeks())
        company.leave_to_schedule(
            Connection.objects.get(name=ACCOUNTS),
            user=cloud.EXPORTER,
            location=cloud.exporter_location(),
            now=timezone.now(),
        )
        size = reviews.begin(Connection.objects.get(name=ACCOUNTS), timezone.now())
        self.say(
            f"  {size} AWS keys in production are under review: python -m demo sign_in_link mira lets a reviewer in"
        )
        measure_ownership(now=timezone.now())
        measure_controls(timezone.now())
        # A worker signs a head every hour; this one is exported within five minutes.
        by = {"now": timezone.now(), "actor": company.ACTOR}
        sign_head(signing_key(settings.CHAIN_KEY, **by), **by)
        reviews.ask_for_evidence(timezone.now())
        self.say("  the AWS key of the invoice export is past its date: the schedule rotates it within five minutes")

    def wait_for_estate(self, supervisor: Supervisor) -> None:
        end = time.monotonic() + PATIENCE
        for address in (
            f"{self.estate.issuer}/.well-known/oauth-authorization-server",
            self.estate.cloud,
            *(url(self.estate, name) for name in NAMES),
        ):
            while not answers(address):
                supervisor.tend()
                if time.monotonic() > end:
                    raise CannotStart(f"{address} of the demo estate does not answer. Its log is in {supervisor.logs}.")
                time.sleep(0.2)
        while not (self.estate.database / ".s.PGSQL.5432").exists():
            supervisor.tend()
            time.sleep(0.2)


def url(estate: Places, name: str) -> str:
    return estate.servers.url(name)


def answers(address: str) -> bool:
    """Whether anything answers there, whatever it says."""
    try:
        with urllib.request.urlopen(address, timeout=2):  # nosec B310  # noqa: S310  an address of ours
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def issuer_places() -> dict[str, Any]:
    """The addresses and files that the authorization server said when it started."""
    log = (settings.KEYREEVE_HOME / "log" / "demo-authorization-server.log").read_text()
    said = [line for line in log.splitlines() if line.startswith("{")]
    found: dict[str, Any] = json.loads(said[-1])
    return found


def live(estate: Places, issuer: dict[str, Any]) -> Live:
    return Live(
        urls={name: url(estate, name) for name in NAMES},
        static_key=estate.secret("billing-key").read_text(),
        tokens={name: Path(path).read_text().strip() for name, path in issuer["tokens"].items()},
        exporter=cloud.exporter_location(),
    )


def connections(estate: Places, issuer: dict[str, Any]) -> list[Connection]:
    """The places that the company lets Keyreeve look at, in the order in which it was allowed."""
    key_id, key = cloud.identity()
    address = issuer["issuer"].partition("://")[2]
    billing = url(estate, "billing")
    operator = estate.secret("billing-db-operator", database.password_of(database.OPERATOR))
    wanted: list[tuple[ConnectionKind, str, dict[str, Any]]] = [
        (ConnectionKind.MCP_CONFIG, "Repositories", {"paths": [str(estate.machine / "src")], "host": "repositories"}),
        (
            ConnectionKind.MCP_SERVER,
            LIVE,
            {
                "urls": [url(estate, name) for name in NAMES],
                "tokens": [
                    {
                        "url": billing,
                        "reference": f"file://{estate.secret('billing-key')}",
                        "bound_to": billing.split("/")[2],
                    }
                ],
            },
        ),
        (
            ConnectionKind.OAUTH,
            "Company sign-in",
            {
                "issuer": issuer["issuer"],
                "role": "identity_provider",
                "clients_url": issuer["clients_url"],
                "tokens_url": issuer["tokens_url"],
                "management_token": f"file://{issuer['files']['management_token']}",
                "client_id": issuer["introspection_client_id"],
                "client_secret": f"file://{issuer['files']['introspection_secret']}",
                "tokens": [f"file://{path}" for name, path in issuer["tokens"].items() if "refresh" not in name],
                "refresh_tokens": [f"file://{path}" for name, path in issuer["tokens"].items() if "refresh" in name],
                # Which lets tokens be revoked as their own clients, and what nobody can present by its address.
                "revoke_as": [
                    {"client_id": name, "client_secret": f"file://{path}"}
                    for name, path in issuer["client_secrets"].items()
                    if name != issuer["introspection_client_id"]
                ],
                "manage_tokens": True,
                "manage_clients": True,
                "bound_to": address,
            },
        ),
        (
            ConnectionKind.AWS,
            ACCOUNTS,
            {
                "access_key_id": key_id,
                "secret_access_key": f"file://{estate.secret('aws-reader', key)}",
                "roles": cloud.roles(),
                "regions": list(cloud.REGIONS),
                "endpoint": estate.cloud,
                "bound_to": estate.cloud.partition("://")[2],
            },
        ),
        (
            ConnectionKind.POSTGRES,
            "Billing database",
            {
                "host": str(estate.database.resolve()),
                "database": database.DATABASE,
                "user": database.READER,
                "password": f"file://{estate.secret('billing-db-reader', database.password_of(database.READER))}",
                "operator": database.OPERATOR,
                "operator_password": f"file://{operator}",
                "bound_to": "localhost",
                "password_date": "rotated",
            },
        ),
        (ConnectionKind.FEED, "Partner desk register", {"identity": ["issuer", "external_id"]}),
    ]
    now = timezone.now()
    found = [this_machine(hostname="workstations", actor=company.ACTOR, now=now)]
    for kind, name, given in wanted:
        known = Connection.objects.filter(name=name).first()
        found.append(
            known
            or create_connection(
                kind=kind, name=name, settings=given, actor=company.ACTOR, now=now, interval=timedelta(hours=1)
            )
        )
    return found


if __name__ == "__main__":
    call_command(Command(), *sys.argv[1:])
