"""The company's clients, users and tokens: what years of dynamic registration leave behind. Secrets are made anew."""

import random
import secrets
import string
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.contrib.auth.models import User
from django.db import transaction
from oauth2_provider.models import AccessToken, Application, RefreshToken, set_token_value
from oauth2_provider.settings import oauth2_settings

from demo.authorization_server.models import Registration, TokenUse
from demo.authorization_server.secret_files import write

PEOPLE = ["mira", "ana", "jonas", "priya", "tomas", "lena", "omar", "sofia"]
MANUAL = Application.RegistrationSource.MANUAL
DCR = Application.RegistrationSource.DCR
CIMD = Application.RegistrationSource.CIMD
LETTERS = string.ascii_letters + string.digits
CODE = Application.GRANT_AUTHORIZATION_CODE
MACHINE = Application.GRANT_CLIENT_CREDENTIALS
DEVICE = Application.GRANT_DEVICE_CODE


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One client as it will be registered: how long ago, and when it was last used, in days."""

    name: str
    client_id: str
    source: str = DCR
    grant: str = CODE
    redirects: tuple[str, ...] = ()
    is_public: bool = True
    age: float
    idle: float | None
    software_id: str = ""
    software_version: str = ""
    uri: str = ""
    scope: str = "mcp:tools"
    may_introspect: bool = False
    is_resource_server: bool = False


def planned(chance: random.Random) -> Iterator[Planned]:
    """The same clients every time, whatever the day."""

    def made_up() -> str:
        return "".join(chance.choice(LETTERS) for _ in range(40))

    pre = {"source": MANUAL, "grant": MACHINE, "is_public": False}
    yield Planned(name="Keyreeve", client_id="keyreeve", age=210, idle=0, may_introspect=True, **pre)
    for name, age in (("github", 400), ("billing", 380), ("tickets", 190)):
        yield Planned(
            name=f"MCP server {name}",
            client_id=f"mcp-{name}",
            age=age,
            idle=0,
            may_introspect=True,
            is_resource_server=True,
            **pre,
        )
    yield Planned(name="CI runner", client_id="ci-runner", age=520, idle=0, scope="repo:read repo:write", **pre)
    yield Planned(name="Nightly reports", client_id="nightly-reports", age=610, idle=1, scope="billing:read", **pre)
    yield Planned(name="Release bot", client_id="release-bot", age=300, idle=12, scope="repo:write", **pre)
    yield Planned(name="Legacy export", client_id="legacy-export", age=1100, idle=260, scope="billing:read", **pre)
    yield Planned(
        name="Claude Desktop (managed)",
        client_id="claude-desktop-managed",
        source=MANUAL,
        redirects=("http://127.0.0.1/oauth/callback",),
        age=150,
        idle=0,
        software_id="com.anthropic.claude-desktop",
        scope="mcp:tools tickets:read tickets:write",
    )
    yield Planned(
        name="Board tablet",
        client_id="board-tablet",
        source=MANUAL,
        grant=DEVICE,
        age=95,
        idle=30,
        scope="tickets:read",
    )
    for name, host, age, idle in (
        ("Desk assistant", "desk.example", 60, 0),
        ("Visual Studio Code", "editor.example", 44, 2),
        ("Field notes", "notes.example", 31, None),
    ):
        yield Planned(
            name=name,
            client_id=f"https://{host}/oauth/client.json",
            source=CIMD,
            redirects=(f"https://{host}/oauth/callback",),
            uri=f"https://{host}",
            age=age,
            idle=idle,
        )
    # A desktop client registers anew whenever its old registration is out of reach: one port, one registration.
    for n in range(14):
        port, age = chance.randint(30000, 61000), 210 - n * 14 + chance.random() * 8
        yield Planned(
            name="Cursor",
            client_id=made_up(),
            redirects=(f"http://127.0.0.1:{port}/oauth/callback",),
            age=age,
            idle=0.2 if n == 13 else None if n % 3 else age - 2,
            software_id="com.cursor.desktop",
            software_version=f"1.{n}.0",
        )
    for n in range(9):
        port, age = chance.randint(30000, 61000), 120 - n * 13 + chance.random() * 5
        yield Planned(
            name="Claude Code",
            client_id=made_up(),
            redirects=(f"http://localhost:{port}/callback",),
            age=age,
            idle=0.1 if n == 8 else age - 1 if n % 2 else None,
            scope="mcp:tools repo:read repo:write",
        )
    for n in range(6):
        yield Planned(
            name="Visual Studio Code",
            client_id=made_up(),
            redirects=(f"http://127.0.0.1:{33418 + n}/", "https://vscode.dev/redirect"),
            age=170 - n * 25,
            idle=1.5 if n == 5 else 170 - n * 25 - 4,
            software_id="com.microsoft.vscode",
        )
    for n in range(5):
        yield Planned(
            name="MCP Inspector",
            client_id=made_up(),
            redirects=("http://localhost:6274/oauth/callback",),
            age=240 - n * 11,
            idle=None,
            uri="https://github.com/modelcontextprotocol/inspector",
        )
    for n, name in enumerate(("n8n", "Zapier MCP", "Workflow relay")):
        yield Planned(
            name=name,
            client_id=made_up(),
            redirects=(f"https://automation-{n + 1}.example/rest/oauth2-credential/callback",),
            is_public=False,
            age=88 - n * 20,
            idle=n,
            scope="mcp:tools tickets:read billing:refund",
        )
    yield Planned(
        name="Free PDF helper",
        client_id=made_up(),
        redirects=("https://pdf-helper-free.example/cb",),
        age=2,
        idle=1,
        scope="mcp:tools repo:read repo:write billing:read billing:refund",
    )
    yield Planned(name="", client_id=made_up(), redirects=("http://127.0.0.1:49152/cb",), age=0.6, idle=None, scope="")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A token whose value is kept in a file, because somebody in the company keeps it somewhere too."""

    name: str
    client: str
    person: str = ""
    scope: str
    age: float
    lasts: float
    resource: int
    has_refresh: bool = False


KEPT = [
    Kept(name="ci-runner", client="ci-runner", scope="repo:read repo:write", age=20, lasts=90, resource=0),
    Kept(name="nightly-reports", client="nightly-reports", scope="billing:read", age=2, lasts=30, resource=1),
    Kept(
        name="mira-desktop",
        client="claude-desktop-managed",
        person="mira",
        scope="mcp:tools tickets:read",
        age=0.02,
        lasts=0.5,
        resource=2,
        has_refresh=True,
    ),
    Kept(
        name="ana-desktop",
        client="claude-desktop-managed",
        person="ana",
        scope="mcp:tools tickets:write",
        age=40,
        lasts=360,
        resource=2,
    ),
    Kept(
        name="omar-laptop",
        client="claude-desktop-managed",
        person="omar",
        scope="mcp:tools tickets:read",
        age=6,
        lasts=90,
        resource=2,
    ),
    Kept(
        name="lena-laptop",
        client="claude-desktop-managed",
        person="lena",
        scope="mcp:tools tickets:read",
        age=0.01,
        lasts=0.5,
        resource=2,
        has_refresh=True,
    ),
    Kept(name="legacy-export", client="legacy-export", scope="billing:read", age=400, lasts=365, resource=1),
]


@transaction.atomic
def seed(folder: Path, *, resources: list[str], now: datetime, number: int = 7) -> None:
    """Fill the empty tables. Clients and dates come from `number` and `now`; every secret is made by chance."""
    chance = random.Random(number)  # nosec B311  # noqa: S311 - nothing here is a secret
    password = secrets.token_urlsafe(12)
    write(folder, "user_password", password)
    people = {name: User.objects.create_user(name, f"{name}@halden.example", password) for name in PEOPLE}
    applications: dict[str, Application] = {}
    for plan in planned(chance):
        application = register(plan, folder, now)
        applications[plan.client_id] = application
        if plan.idle is not None:
            consume(plan, application, chance.sample(list(people.values()), 2), chance.choice(resources), now)
    for token in KEPT:
        values = {token.name: f"at-{secrets.token_urlsafe(32)}"}
        if token.has_refresh:
            values[f"{token.name}-refresh"] = f"rt-{secrets.token_urlsafe(32)}"
        for name, value in values.items():
            write(folder, f"token_{name}", value)
        issue(
            applications[token.client],
            people.get(token.person),
            values=list(values.values()),
            scope=token.scope,
            resource=resources[token.resource % len(resources)],
            issued_at=now - timedelta(days=token.age),
            lasts=timedelta(days=token.lasts),
            last_used_at=now - timedelta(days=max(token.age / 2, token.age - token.lasts)),
        )


def register(plan: Planned, folder: Path, now: datetime) -> Application:
    secret = "" if plan.is_public else secrets.token_urlsafe(48)
    application = Application.objects.create(
        client_id=plan.client_id,
        name=plan.name,
        registration_source=plan.source,
        authorization_grant_type=plan.grant,
        client_type=Application.CLIENT_PUBLIC if plan.is_public else Application.CLIENT_CONFIDENTIAL,
        redirect_uris=" ".join(plan.redirects),
        client_secret=secret,
    )
    registered_at = now - timedelta(days=plan.age)
    Application.objects.filter(pk=application.pk).update(created=registered_at, updated=registered_at)
    Registration.objects.create(
        application=application,
        software_id=plan.software_id,
        software_version=plan.software_version,
        client_uri=plan.uri,
        scope=plan.scope,
        application_type="native" if plan.software_id else "",
        last_used_at=None if plan.idle is None else now - timedelta(days=plan.idle),
        may_introspect=plan.may_introspect,
        is_resource_server=plan.is_resource_server,
    )
    if plan.source == MANUAL and secret:
        write(folder, f"client_secret_{plan.client_id}", secret)
    if plan.source == DCR:
        token = secrets.token_urlsafe(32)
        row = AccessToken(
            application=application,
            scope=oauth2_settings.DCR_REGISTRATION_SCOPE,
            expires=now + timedelta(days=36_500),
        )
        set_token_value(row, token)
        row.save()
        write(folder, f"registrations/{plan.client_id}", token)
    return application


def consume(plan: Planned, application: Application, people: list[User], resource: str, now: datetime) -> None:
    """The tokens that the client of that plan still has, without anybody here knowing their values."""
    used = now - timedelta(days=plan.idle or 0)
    for person in [None] if plan.grant == MACHINE else people:
        issue(
            application,
            person,
            values=[secrets.token_urlsafe(32) for _ in range(1 if person is None else 2)],
            scope=plan.scope,
            resource=resource,
            issued_at=used - timedelta(minutes=20),
            lasts=timedelta(hours=1),
            last_used_at=used,
        )


def issue(
    application: Application,
    person: User | None,
    *,
    values: list[str],
    scope: str,
    resource: str,
    issued_at: datetime,
    lasts: timedelta,
    last_used_at: datetime,
) -> None:
    """Keep an access token, and a refresh token where there is a second value: as checksums, never as values."""
    access = AccessToken(
        application=application, user=person, scope=scope, resource=[resource], expires=issued_at + lasts
    )
    set_token_value(access, values[0])
    access.save()
    AccessToken.objects.filter(pk=access.pk).update(created=issued_at, updated=issued_at)
    TokenUse.objects.create(token=access, last_used_at=last_used_at)
    if len(values) > 1:
        refresh = RefreshToken(
            application=application,
            user=person,
            access_token=access,
            resource=[resource],
            token_family=uuid.uuid4(),
        )
        set_token_value(refresh, values[1])
        refresh.save()
        RefreshToken.objects.filter(pk=refresh.pk).update(created=issued_at, updated=issued_at)
