"""What the demo company asked of its credentials and decided about findings, each with its day and its reason."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import QuerySet

from access.actors import Actor, ActorKind
from access.roles import Role
from demo.weeks import Decision
from inventory.actions.confirmation import confirm_credentials
from inventory.actions.logged import record_logging
from inventory.actions.tags import tag_credentials
from inventory.models import Credential, Environment, McpServer, Owner
from inventory.states import CredentialKind, Logged, Severity, TrustModel
from lifecycle.actions.findings import acknowledge, add_link, assign, comment
from lifecycle.actions.policies import change_policy, create_policy, draft, retire_policy, set_rule
from lifecycle.actions.waivers import approve_waivers, decline_waivers, request_waiver
from lifecycle.models import Finding, Policy, Waiver
from lifecycle.states import Automation, LinkKind
from lifecycle.trials.estate import dry_run, dry_run_of_retirement
from lifecycle.trials.past import back_test

# They decided in the past and have no account here. A waiver takes two people.
MIRA = Actor(ActorKind.USER, "demo:mira", "Mira Okafor", frozenset({Role.REVIEWER}))
PRIYA = Actor(ActorKind.USER, "demo:priya", "Priya Raman", frozenset({Role.REVIEWER}))
OPERATOR = Actor(ActorKind.USER, "demo:tomas", "Tomas Lind", frozenset({Role.OPERATOR}))

DAY = timedelta(days=1)
MINUTES = timedelta(minutes=2)  # in which a rotation can be watched; days anywhere else
PARTNERS = ("Northwind Lines", "Baltic Brokers", "Fjord Ferries", "Customs Exchange", "Rhine Rail", "Apex Air")
PRODUCTION, PARTNER, CONSENTED, TRIAL = (
    "Payments keys in production",
    "Keys at carriers and brokers",
    "What people consented to",
    "Trial: keys in development",
)
ROTATED = "Keys that the schedule rotates"
BY_SCHEDULE = "rotated-by-schedule"
TAGS = {"Payments": ["pci", "customer-data"], "Customs": ["customer-data"], "Routing": ["fleet"]}
KEYS = (CredentialKind.API_KEY, CredentialKind.AWS_ACCESS_KEY, CredentialKind.DATABASE_PASSWORD)
EVERYTHING_LOGGED = list(Logged.values)
# Of a server: for whom, what, whether it is logged, and where that was seen. What is not named nobody looked at.
LOGGED = (
    ("payroll", TrustModel.USER_CONSENTED, Logged.ISSUANCE, True, "The sign-in's audit log, kept for a year."),
    ("payroll", TrustModel.USER_CONSENTED, Logged.VALIDATION, True, "Index mcp-payroll in the log search."),
    ("billing", TrustModel.STATIC_SERVICE, Logged.ISSUANCE, True, "Each key has a ticket of its own."),
    ("billing", TrustModel.STATIC_SERVICE, Logged.VALIDATION, False, "Only failed requests leave a line."),
    ("billing", TrustModel.STATIC_SERVICE, Logged.REVOCATION, False, "Keys are taken out of the file, nothing more."),
)


def over_the_weeks() -> Iterator[tuple[int, Decision]]:
    """Each decision with how many days ago it was made."""
    yield 63, tag
    yield 56, partial(_create, PARTNER, _partner, "Carriers rotate once a year by contract.", PRIYA)
    yield 49, partial(_create, PRODUCTION, _production, "What the card scheme's assessor asked for.", MIRA)
    yield 42, confirm
    yield 35, partial(_create, TRIAL, _trial, "Nothing of worth runs there: a place to try short lives.", PRIYA)
    yield 28, partial(_change, TRIAL, {"max_age": 30 * DAY}, "Two weeks broke the nightly tests twice.", PRIYA)
    yield 28, partial(_change, PRODUCTION, {"max_age": 90 * DAY}, "Rotation by script works since March.", MIRA)
    yield 21, unpin_is_serious
    yield 20, partial(_create, CONSENTED, _consented, "Tokens were found with scopes that no tool of ours needs.", MIRA)
    yield 18, log
    yield 11, waive
    yield 10, partial(_retire, TRIAL, "It ended: the shipped limit for AWS keys is enough.", PRIYA)
    yield 4, partial(_change, PRODUCTION, {"max_age": 60 * DAY}, "Agreed after the incident of 12 October.", MIRA)
    yield 3, ask_again


# ── What is asked ──────────────────────────────────────────────────────────────────────────────────
def _production() -> dict[str, Any]:
    return {
        "description": "Keys that reach card data. Payments rotates them by script.",
        "priority": 100,
        "kinds": list(KEYS),
        "environments": [Environment.objects.get(name="prod").pk],
        "owners": [Owner.objects.get(name="Payments").pk],
        "tags": ["pci"],
        "max_age": 120 * DAY,
        "max_idle": 45 * DAY,
        "overlap": 7 * DAY,
        "review_interval": 60 * DAY,
        "requires_owner": True,
        "requires_reference": True,
        "logging": [Logged.ISSUANCE, Logged.VALIDATION, Logged.REVOCATION],
        "overrides": {"unrotated": "high"},
    }


def _partner() -> dict[str, Any]:
    return {
        "description": "Issued by partners, who replace them once a year. So an unused one says little.",
        "priority": 110,
        "providers": list(PARTNERS),
        "max_age": 365 * DAY,
        "max_idle": 90 * DAY,
        "review_interval": 50 * DAY,
        "requires_owner": True,
        "overrides": {"stale": "low", "unrotated": "high"},
    }


def _consented() -> dict[str, Any]:
    return {
        "description": "Tokens of the company's sign-in: what the tools of a desk need, and no refunds.",
        "priority": 120,
        "trust_models": [TrustModel.USER_CONSENTED],
        "kinds": [CredentialKind.OAUTH_ACCESS_TOKEN, CredentialKind.OAUTH_REFRESH_TOKEN],
        "allowed_scopes": ["mcp:tools", "tickets:*", "repo:read", "billing:read"],
        "max_lifetime": 30 * DAY,
        "requires_expiry": True,
        "logging": EVERYTHING_LOGGED,
        "overrides": {"scope-not-allowed": "high"},
    }


def _trial() -> dict[str, Any]:
    return {
        "description": "How short may a key live before work suffers?",
        "priority": 130,
        "kinds": [CredentialKind.AWS_ACCESS_KEY],
        "environments": [Environment.objects.get(name="dev").pk],
        "max_age": 14 * DAY,
    }


def _rotated() -> dict[str, Any]:
    return {
        "description": (
            "Consumers read them from Secrets Manager, so that nobody has to carry them. Overlap and quiet period are "
            "two minutes here so that a rotation can be watched; outside a demo they are days."
        ),
        "priority": 90,
        "kinds": [CredentialKind.AWS_ACCESS_KEY],
        "tags": [BY_SCHEDULE],
        "max_age": 90 * DAY,
        "overlap": MINUTES,
        "requires_owner": True,
        "automation": Automation.AUTOMATIC,
    }


def create_rotating_policy(keys: QuerySet[Credential], now: datetime) -> None:
    tag_credentials(keys, add=[BY_SCHEDULE], remove=[], actor=MIRA)
    _create(ROTATED, _rotated, "The last quarter's rotations went through by hand, and late.", PRIYA, now)


def _create(name: str, values: Any, reason: str, actor: Actor, now: datetime) -> None:
    asked = {"name": name, **values()}
    create_policy(asked, actor=actor, now=now, reason=reason, **_shown(draft(asked), now))


def _change(name: str, values: dict[str, Any], reason: str, actor: Actor, now: datetime) -> None:
    policy = Policy.objects.get(name=name)
    shown = _shown(draft(values, of=policy), now)
    change_policy(policy, values, expected_version=policy.version, actor=actor, now=now, reason=reason, **shown)


def _shown(drafted: Policy, now: datetime) -> dict[str, Any]:
    """What the editor shows before it saves, and keeps with the version."""
    tested = back_test(drafted, since=now - 90 * DAY, until=now, now=now)
    return {"dry_run": dry_run(drafted, now).as_json(), "back_test": tested.as_json()}


def _retire(name: str, reason: str, actor: Actor, now: datetime) -> None:
    policy = Policy.objects.get(name=name)
    shown = dry_run_of_retirement(policy, now).as_json()
    retire_policy(policy, actor=actor, now=now, reason=reason, dry_run=shown)


def unpin_is_serious(now: datetime) -> None:
    reason = "Two of last year's incidents began with a package that changed under its name."
    set_rule("floating-version", is_on=True, severity=Severity.HIGH, actor=PRIYA, now=now, reason=reason)


# ── What is known of credentials and servers ───────────────────────────────────────────────────────
def tag(_now: datetime) -> None:
    for owner, tags in TAGS.items():
        tag_credentials(Credential.objects.live().filter(owner__name=owner), add=tags, remove=[], actor=MIRA)


def confirm(now: datetime) -> None:
    """The partner desk went through half of its list."""
    keys = list(Credential.objects.live().filter(issuer__in=PARTNERS).order_by("name").values_list("pk", flat=True))
    confirm_credentials(keys[::2], actor=PRIYA, now=now, reason="The partner desk uses it every week.")


def log(now: datetime) -> None:
    for name, trust, happening, is_logged, evidence in LOGGED:
        server = McpServer.objects.present().filter(name=name, url__gt="").first()
        if server is not None:
            record_logging(
                server,
                trust_model=trust,
                happening=happening,
                is_logged=is_logged,
                evidence=evidence,
                actor=PRIYA,
                now=now,
            )


# ── What is done about findings ────────────────────────────────────────────────────────────────────
def _of(rule: str, number: int, *, worst: Severity = Severity.HIGH) -> list[Finding]:
    """The longest open ones of a rule, critical ones where those are wanted: nobody waives them for long."""
    unresolved = Finding.objects.filter(rule=rule, resolved_at=None, severity__lte=worst)
    return list(unresolved.order_by("opened_at", "pk")[:number])


def _ask(finding: Finding, *, days: int, now: datetime, reason: str, extends: Waiver | None = None) -> Waiver:
    return request_waiver(
        finding,
        reason=reason,
        compensating_control="Reached only from the office network, where each start is logged.",
        ends_at=(extends.ends_at if extends else now) + days * DAY,
        actor=MIRA,
        now=now,
        extends=extends,
    )


def waive(now: datetime) -> None:
    """One that ends soon, one that lasts, and one that was refused."""
    reason = "Its replacement comes when the gateway moves."
    chosen = [*_of("floating-version", 2), *_of("unrotated", 2)]
    for finding, days in zip(chosen, (20, 60), strict=False):
        asked = _ask(finding, days=days, now=now, reason=reason)
        approve_waivers([asked], reason="The network is closed, as seen on Monday.", actor=PRIYA, now=now + DAY / 4)
    for finding in _of("hard-coded", 1, worst=Severity.CRITICAL):
        asked = _ask(finding, days=14, now=now, reason="The vault is not there yet.")
        decline_waivers([asked], reason="Moving it takes an hour, so move it.", actor=PRIYA, now=now + DAY / 3)


def ask_again(now: datetime) -> None:
    """What lasts longest is to last longer, which is granted; another request waits for its decision."""
    longest = Waiver.objects.active().select_related("finding").order_by("-ends_at").first()
    if longest is not None:
        asked = _ask(longest.finding, days=30, now=now, reason="The gateway moves a month later.", extends=longest)
        approve_waivers([asked], reason="Once more, and not again.", actor=PRIYA, now=now + DAY / 4)
    for finding in _of("plaintext-url", 1, worst=Severity.CRITICAL):
        _ask(finding, days=20, now=now, reason="The certificate is ordered.")


def work_on_findings(now: datetime) -> None:
    """One that somebody works on, with what will resolve it; and some that were seen."""
    mira = Owner.objects.get(name="Mira Okafor")
    exposed = (
        Finding.objects.filter(rule="hard-coded", resolved_at=None).order_by("-severity", "opened_at", "pk").first()
    )
    if exposed is not None:
        assign([exposed.pk], mira, actor=PRIYA, reason="She runs the integration.")
        ticket = {
            "reference": "SEC-4711",
            "label": "Move it to the vault",
            "url": "https://tickets.halden.example/SEC-4711",
        }
        add_link(exposed, kind=LinkKind.TICKET, **ticket, actor=MIRA, now=now)
        comment([exposed.pk], "The new reference is tested; the old value goes on Thursday.", actor=MIRA, now=now)
        comment([exposed.pk], "Then revoke it too: it was in a file for months.", actor=PRIYA, now=now)
    acknowledge([finding.pk for finding in _of("server-unclassified", 2)], actor=MIRA, now=now)
