"""The people of the demo company, and what they have decided so far: owners, environments, dates, a waiver."""

from datetime import timedelta

from django.utils import timezone

from access.actors import Actor
from inventory.actions.dates import record_dates
from inventory.actions.ownership import (
    assign_environment,
    assign_owner,
    assign_server_owner,
    assign_server_role,
    create_owner,
)
from inventory.models import Credential, Environment, McpServer
from inventory.states import OwnerKind, ServerRole
from lifecycle.actions.evaluation import evaluate
from lifecycle.actions.findings import acknowledge, waive
from lifecycle.actions.snapshots import take_snapshot
from lifecycle.models import Finding

ACTOR = Actor.system("demo")
PEOPLE = [
    (OwnerKind.PERSON, "Mira Okafor", "mira@halden.example"),
    (OwnerKind.PERSON, "Ana Duarte", "ana@halden.example"),
    (OwnerKind.TEAM, "Payments", "payments@halden.example"),
    (OwnerKind.TEAM, "Platform", "platform@halden.example"),
    (OwnerKind.TEAM, "Workplace IT", "it@halden.example"),
]
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


def populate() -> None:
    """Decide what a company decides in its first weeks. Meant for a fresh estate of `demo.estate`."""
    now = timezone.now()
    owners = {name: create_owner(kind=kind, name=name, email=email, actor=ACTOR) for kind, name, email in PEOPLE}
    for server, owner in OWNED.items():
        credentials = Credential.objects.filter(name__startswith=f"{server} /")
        assign_owner(credentials, owners[owner], actor=ACTOR, reason="They run it.")
        servers = McpServer.objects.filter(name=server)
        assign_server_owner(servers, "iam_owner", owners[owner], actor=ACTOR, reason="They run it.")
        assign_server_owner(servers, "platform_owner", owners["Platform"], actor=ACTOR, reason="They host it.")
        assign_server_role(servers, ServerRole.TOOL_ENDPOINT, actor=ACTOR)
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
    evaluate(now, actor=ACTOR, full=True)
    floating = Finding.objects.filter(rule="floating-version").order_by("pk").first()
    if floating is not None:
        reason = "Reached only from the office network until the gateway moves."
        waive(floating, reason=reason, ends_at=now + timedelta(days=10), actor=ACTOR, now=now)
    unclassified = Finding.objects.filter(rule="server-unclassified").values_list("pk", flat=True)[:2]
    acknowledge(list(unclassified), actor=ACTOR, now=now)
    take_snapshot(now)
