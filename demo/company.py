"""The people of the demo company, and what they have decided so far: owners, environments, dates, a waiver."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from django.db.models import Q
from django.utils import timezone

from access.actors import Actor
from demo.decisions import MINUTES, OPERATOR, PARTNERS, create_rotating_policy, over_the_weeks, work_on_findings
from demo.weeks import Decision, live_through
from inventory.actions.admission import admit, refer_to_registration, suspend
from inventory.actions.dates import record_dates
from inventory.actions.grants import approve_grants, definitions_of, draft_grants, seen
from inventory.actions.ownership import (
    assign_client_owner,
    assign_environment,
    assign_owner,
    assign_server_owner,
    change_owner,
    classify_servers,
    create_owner,
)
from inventory.actions.removals import announce_removals
from inventory.errors import NothingChosen
from inventory.models import Connection, Credential, Environment, Grant, McpClient, McpServer, Owner, Use
from inventory.states import Admission, CredentialKind, Hygiene, OwnerKind, Registration, ServerRole, Severity, Storage
from lifecycle.actions.deliveries import set_delivery
from lifecycle.actions.evaluation import evaluate
from lifecycle.actions.snapshots import take_snapshot
from lifecycle.models import Policy
from notifications.actions.endpoints import Setup, add_endpoint, post_test
from notifications.models import Endpoint

ACTOR = Actor.system("demo")
PEOPLE = [
    (OwnerKind.PERSON, "Mira Okafor", "mira@halden.example"),
    (OwnerKind.PERSON, "Ana Duarte", "ana@halden.example"),
    (OwnerKind.TEAM, "Payments", "payments@halden.example"),
    (OwnerKind.TEAM, "Platform", "platform@halden.example"),
    (OwnerKind.TEAM, "Workplace IT", "it@halden.example"),
    (OwnerKind.TEAM, "Routing", "routing@halden.example"),
    (OwnerKind.TEAM, "Data", "data@halden.example"),
    (OwnerKind.TEAM, "Customs", "customs@halden.example"),
    (OwnerKind.PERSON, "Jonas Weber", "jonas@halden.example"),
    (OwnerKind.PERSON, "Priya Raman", "priya@halden.example"),
]
# Who stands in for whom, and whose manager is who: they are asked where an owner does not answer.
LINES = {
    "Payments": ("Mira Okafor", "Priya Raman"),
    "Routing": ("Mira Okafor", "Priya Raman"),
    "Data": ("Platform", "Priya Raman"),
    "Workplace IT": ("Ana Duarte", "Priya Raman"),
    "Mira Okafor": ("Ana Duarte", "Priya Raman"),
    "Ana Duarte": ("Mira Okafor", "Priya Raman"),
}
OWNED = {
    "github-prod": "Mira Okafor",
    "billing-db": "Payments",
    "slack-bridge": "Workplace IT",
    "jira-cloud": "Ana Duarte",
}
PLACED = {
    "github-prod": "prod",
    "billing-db": "prod",
    "stripe-live": "prod",
    "slack-bridge": "prod",
    "maps-tiles": "staging",
}
# Days since issued and since last used, as the people say.
AGES = {
    "github-prod": (131, 0),
    "stripe-live": (212, 1),
    "aws-ops": (164, 6),
    "notion": (40, 75),
    "slack-bridge": (77, 0),
}


# The live estate: who answers for which system, for which server, and where accounts run. Much is still nobody's.
SYSTEMS = {
    "billing": "Payments",
    "invoices": "Payments",
    "routing": "Routing",
    "fleet": "Routing",
    "maps": "Routing",
    "telemetry": "Data",
    "warehouse": "Data",
    "customs": "Customs",
    "partner_portal": "Jonas Weber",
    "search": "Platform",
}
LEFT = "Jonas Weber"
FIRST_OWNED = ("billing", "customs", "partner_portal")  # the others found their owners in the weeks after
SERVERS = {
    "notes": ("Workplace IT", "dev"),
    "billing": ("Payments", "prod"),
    "payroll": ("Mira Okafor", "prod"),
    "analytics": ("Data", "prod"),
    "operations": ("Platform", "prod"),
    "search": ("Platform", "staging"),
}
VENDORS = {"linear": "Linear", "jira-cloud": "Atlassian", "customs-api": "Customs Exchange", "hf": "Hugging Face"}
ACCOUNTS = {"417230985611": "prod", "528341096722": "staging", "639452107833": "dev"}
CLIENTS = {"Cursor": "Priya Raman", "Claude Code": "Ana Duarte", "CI runner": "Platform", "Nightly reports": "Data"}
GRANTED = ("Cursor", "Claude Code", "Gemini CLI", "CI runner")


def export(now: datetime) -> Iterator[bytes]:
    """What the partner desk's own register sends: keys at carriers and customs brokers, whom nothing else can ask."""
    chance = Random(7)  # nosec B311  # noqa: S311 - nothing here is a secret
    desks = ["customs@halden.example", "payments@halden.example", "routing@halden.example", ""]
    for number, partner in enumerate(PARTNERS):
        for purpose in ("booking", "tracking", "invoicing"):
            age = chance.randint(5, 900)
            row = {
                "name": f"{partner} / {purpose} key",
                "issuer": partner,
                "external_id": f"{number:02d}-{purpose}",
                "kind": "api_key",
                "status": "active",
                "trust_model": "static_service",
                "issued_at": (now - timedelta(days=age)).date().isoformat(),
                "last_used_at": (now - timedelta(days=chance.randint(0, min(age, 120)))).date().isoformat(),
                "owner": chance.choice(desks),
                "environment": "prod",
            }
            yield json.dumps({name: value for name, value in row.items() if value}).encode() + b"\n"


def populate_live(now: datetime) -> None:
    """What the people decided about what a look at the live estate brought, before `populate`."""
    owners = people()
    environments = {row.name: row for row in Environment.objects.all()}
    provided = Credential.objects.filter(storage=Storage.PROVIDER)
    for system in FIRST_OWNED:
        hand_over(system, now)
    for account, name in ACCOUNTS.items():
        of_account = Q(external_id__isnull=False, details__account=account)
        decided(assign_environment, provided.filter(of_account), environments[name])
    decided(assign_environment, provided.filter(kind=CredentialKind.DATABASE_PASSWORD), environments["prod"])
    for server, (owner, name) in SERVERS.items():
        rows = McpServer.objects.filter(name=server, url__gt="")
        for role in ("iam_owner", "application_owner"):
            decided(assign_server_owner, rows, role, owners[owner], reason="They run it.")
        decided(assign_server_owner, rows, "platform_owner", owners["Platform"], reason="They host it.")
        decided(classify_servers, rows, ServerRole.TOOL_ENDPOINT)
        decided(assign_environment, rows, environments[name])
    tickets = McpServer.objects.filter(name="tickets", url__gt="")
    decided(classify_servers, tickets, ServerRole.DELEGATED_LAYER)
    for server, vendor in VENDORS.items():
        decided(classify_servers, McpServer.objects.filter(name=server), ServerRole.TOOL_ENDPOINT, vendor=vendor)
    for client, owner in CLIENTS.items():
        decided(assign_client_owner, McpClient.objects.filter(name=client), owners[owner], reason="They use it.")
    decide_about_clients(now)
    draft_grants(Use.objects.present(), actor=ACTOR, now=now, reason="What is reached today.")
    drafts = Grant.objects.current().filter(client__name__in=GRANTED, server__url__gt="")
    shown = seen(drafts, definitions_of(drafts.values_list("server", flat=True)))
    approve_grants(
        drafts, as_seen=shown, ends_at=now + timedelta(days=80), actor=ACTOR, now=now, reason="Needed for the work."
    )
    change_owner(owners[LEFT], is_active=False, actor=ACTOR, now=now, reason="Left the company.")


def decide_about_clients(now: datetime) -> None:
    """Of the clients that registered themselves some are let in, some are on their way out, and most still wait."""
    waiting = McpClient.objects.filter(admission=Admission.QUARANTINED)
    live = waiting.filter(hygiene=Hygiene.LIVE, name__in=("Claude Code", "Cursor"))
    decided(admit, live, now=now, reason="Installed by Workplace IT, and used this month.")
    stranger = waiting.filter(name="Free PDF helper")
    decided(suspend, stranger, now=now, reason="Nobody knows who runs it, and it asked for refunds.")
    dead = waiting.filter(hygiene=Hygiene.DEAD, name="MCP Inspector")
    decided(announce_removals, dead, now=now, reason="Left over from trials; nobody used it for months.")


def hold_registrations(folder: Path) -> None:
    """Keep for each client where its registration token lies, as far as the company kept it (RFC 7592)."""
    for client in McpClient.objects.filter(registration=Registration.DYNAMIC).exclude(registration_uri=""):
        if (folder / client.client_id).exists():
            reference = f"file://{folder / client.client_id}"
            refer_to_registration(client, reference, actor=ACTOR, reason="Kept since it registered.")


def people() -> dict[str, Owner]:
    """Everybody by name, made where nobody is there yet."""
    known = {row.name: row for row in Owner.objects.all()}
    if known:
        return known
    made = {name: create_owner(kind=kind, name=name, email=mail, actor=ACTOR) for kind, name, mail in PEOPLE}
    for name, (deputy, manager) in LINES.items():
        in_line = {"deputy": made[deputy], "manager": made[manager]}
        change_owner(made[name], actor=ACTOR, now=timezone.now(), reason="Who stands in for whom.", **in_line)
    return made


def hand_over(system: str, _now: datetime) -> None:
    """Make those who run a system answer for the credentials of its name that nobody has yet."""
    known = Q(name__contains=system) | Q(name__contains=system.replace("-", "_"))
    unowned = Credential.objects.filter(storage=Storage.PROVIDER).filter(known, owner=None)
    decided(assign_owner, unowned, Owner.objects.get(name=SYSTEMS[system]), reason="It is their system.")


def handed_over() -> Iterator[tuple[int, Decision]]:
    """Every few days somebody said who answers for a system."""
    for number, system in enumerate(system for system in SYSTEMS if system not in FIRST_OWNED):
        yield 13 - 2 * number, partial(hand_over, system)


def tell(url: str, secret: Path, now: datetime) -> None:
    """Tell the demo's receiver of what is high or worse. Mail is off: there is no mail server here."""
    name = "Security desk"
    if not Endpoint.objects.filter(name=name).exists():
        setup = Setup(
            name=name,
            url=url,
            kinds=["findings.severe", "estate.figures"],
            least_severity=Severity.HIGH,
            secret=f"file://{secret}",
            previous_secret="",
            bound_to=url.split("/")[2],
        )
        post_test(endpoint=add_endpoint(setup, actor=ACTOR, now=now), actor=ACTOR, now=now)


def leave_to_schedule(accounts: Connection, *, user: str, location: str, now: datetime) -> None:
    """Let a key that is past its date be rotated by itself: the next run of the schedule begins it."""
    key = Credential.objects.live().filter(connection=accounts, details__user=user)
    decided(assign_owner, key, Owner.objects.get(name="Payments"), reason="It is their export.")
    create_rotating_policy(key, now)
    evaluate(now, actor=ACTOR, full=True)
    set_delivery(
        key.get(),
        sink="aws_secrets",
        location=location,
        connection=accounts,
        quiet=MINUTES,
        actor=OPERATOR,
        now=now,
        reason="The export reads its key there at each start.",
    )


def decided(action: Callable[..., int], *args: Any, **kwargs: Any) -> None:
    """Decide about rows where there are any."""
    with suppress(NothingChosen):
        action(*args, actor=ACTOR, **kwargs)


def populate(*more: tuple[int, Decision]) -> None:
    """Decide what a company decides in its first weeks, while nobody else evaluates. For a fresh `demo.estate`."""
    now = timezone.now()
    owners = people()
    for server, owner in OWNED.items():
        credentials = Credential.objects.filter(name__startswith=f"{server} /")
        assign_owner(credentials, owners[owner], actor=ACTOR, reason="They run it.")
        servers = McpServer.objects.filter(name=server)
        assign_server_owner(servers, "iam_owner", owners[owner], actor=ACTOR, reason="They run it.")
        assign_server_owner(servers, "platform_owner", owners["Platform"], actor=ACTOR, reason="They host it.")
        classify_servers(servers, ServerRole.TOOL_ENDPOINT, actor=ACTOR)
    for server, name in PLACED.items():
        environment = Environment.objects.get(name=name)
        assign_environment(McpServer.objects.filter(name=server), environment, actor=ACTOR)
        assign_environment(Credential.objects.filter(name__startswith=f"{server} /"), environment, actor=ACTOR)
    for server, (issued, used) in AGES.items():
        for credential in Credential.objects.filter(name__startswith=f"{server} /"):
            record_dates(
                credential,
                issued_at=now - timedelta(days=issued),
                last_used_at=now - timedelta(days=used),
                expires_at=None,
                actor=ACTOR,
                reason="The provider's own page says so.",
            )
    if not Policy.objects.filter(is_shipped=False).exists():
        live_through(now, [*handed_over(), *over_the_weeks(), *more], actor=ACTOR)
    evaluate(now, actor=ACTOR, full=True)
    work_on_findings(timezone.now())
    take_snapshot(now)
