"""Rows for tests, made as an inventory would have them: every function takes what matters and fills in the rest."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from inventory.models import (
    AuthorizationServer,
    Connection,
    Credential,
    Environment,
    Exposure,
    Grant,
    Manifest,
    McpClient,
    McpServer,
    Owner,
    PostureCheck,
    SyncRun,
    Tool,
    Use,
)
from inventory.states import (
    ConnectionKind,
    CredentialKind,
    CredentialStatus,
    RunState,
    Severity,
    Storage,
    Transport,
    TrustModel,
    Verdict,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ADDED = NOW + timedelta(days=4_000)  # connections: after all that tests look at, so that none has missed a sync
_numbers = count(1)


def owner(**values: Any) -> Owner:
    return Owner.objects.create(**{"name": f"Owner {next(_numbers)}", **values})


def environment(name: str = "prod") -> Environment:
    """One of the environments every estate begins with: prod, staging, dev, personal."""
    return Environment.objects.get(name=name)


def connection(**values: Any) -> Connection:
    defaults = {
        "kind": ConnectionKind.MCP_CONFIG,
        "name": f"Connection {next(_numbers)}",
        "interval": timedelta(hours=1),
    }
    created_at = values.pop("created_at", ADDED)
    made = Connection.objects.create(**{**defaults, **values})
    Connection.objects.filter(pk=made.pk).update(created_at=created_at)  # the field itself takes the clock's
    return made


def _connection_of(values: dict[str, Any]) -> Connection:
    return values.pop("connection", None) or connection()


def server(**values: Any) -> McpServer:
    n = next(_numbers)
    defaults = {
        "identity_key": f"server:{n}",
        "connection": _connection_of(values),
        "name": f"server-{n}",
        "transport": Transport.STDIO,
        "first_seen_at": NOW - timedelta(days=30),
    }
    return McpServer.objects.create(**{**defaults, **values})


def client(**values: Any) -> McpClient:
    n = next(_numbers)
    defaults = {
        "identity_key": f"client:{n}",
        "connection": _connection_of(values),
        "name": f"client-{n}",
        "first_seen_at": NOW - timedelta(days=30),
    }
    return McpClient.objects.create(**{**defaults, **values})


def credential(**values: Any) -> Credential:
    """A live credential known from its provider, issued ten days ago, used yesterday, without owner or expiry."""
    n = next(_numbers)
    defaults = {
        "identity_key": f"credential:{n}",
        "connection": _connection_of(values),
        "name": f"credential-{n}",
        "kind": CredentialKind.API_KEY,
        "trust_model": TrustModel.STATIC_SERVICE,
        "storage": Storage.PROVIDER,
        "status": CredentialStatus.ACTIVE,
        "issued_at": NOW - timedelta(days=10),
        "last_used_at": NOW - timedelta(days=1),
        "first_seen_at": NOW - timedelta(days=5),
    }
    made = Credential.objects.create(**{**defaults, **values})
    made.refresh_from_db(fields=["known_since"])
    return made


def exposure(of: Credential, **values: Any) -> Exposure:
    defaults = {
        "connection": of.connection,
        "file": f"/home/somebody/.config/{next(_numbers)}.json",
        "pointer": "/mcpServers/one/env/KEY",
        "is_readable_by_others": False,
        "first_seen_at": NOW - timedelta(days=5),
    }
    return Exposure.objects.create(credential=of, **{**defaults, **values})


def use(of: Credential | None, **values: Any) -> Use:
    """`of` is used by a client on a server; both are made unless they are given."""
    defaults = {
        "connection": values.get("connection") or (of.connection if of is not None else connection()),
        "client": values.pop("client", None) or client(),
        "server": values.pop("server", None) or server(),
        "file": f"/home/somebody/.config/{next(_numbers)}.json",
        "pointer": "/mcpServers/one",
        "held_as": Storage.LITERAL,
        "first_seen_at": NOW - timedelta(days=5),
    }
    return Use.objects.create(credential=of, **{**defaults, **values})


def tool(of: McpServer, name: str = "", **values: Any) -> Tool:
    """A tool that `of` lists, which nobody has approved."""
    n = next(_numbers)
    McpServer.objects.filter(pk=of.pk, tools_listed_at=None).update(tools_listed_at=NOW)
    defaults = {"name": name or f"tool_{n}", "schema_digest": f"{n:064x}", "first_seen_at": NOW - timedelta(days=5)}
    return Tool.objects.create(server=of, **{**defaults, **values})


def grant(of: McpClient, on: McpServer, *, is_approved: bool = True, **values: Any) -> Grant:
    """`of` may use nothing on `on` but what is given; approved a day before NOW for ninety days, or a draft."""
    approval = {
        "approved_by": "Otto",
        "approved_at": NOW - timedelta(days=1),
        "ends_at": NOW + timedelta(days=89),
    }
    defaults = {"drafted_by": "Mira", "drafted_at": NOW - timedelta(days=2), **(approval if is_approved else {})}
    return Grant.objects.create(client=of, server=on, **{**defaults, **values})


def manifest(**values: Any) -> Manifest:
    n = next(_numbers)
    defaults = {
        "connection": _connection_of(values),
        "file": f"/src/server-{n}/server.json",
        "name": f"com.example/server-{n}",
        "first_seen_at": NOW - timedelta(days=5),
    }
    return Manifest.objects.create(**{**defaults, **values})


def authorization_server(**values: Any) -> AuthorizationServer:
    defaults = {"issuer": f"https://issuer-{next(_numbers)}.example.org", "first_seen_at": NOW - timedelta(days=30)}
    return AuthorizationServer.objects.create(**{**defaults, **values})


def check(
    of: McpServer | AuthorizationServer | McpClient,
    check_id: str,
    verdict: Verdict,
    severity: Severity = Severity.NONE,
    **values: Any,
) -> PostureCheck:
    """What a check of the checklist said of a server, an authorization server or a client."""
    subject = {McpServer: "server", AuthorizationServer: "authorization_server", McpClient: "client"}[type(of)]
    said = {"check_id": check_id, "verdict": verdict, "severity": severity, "checked_at": NOW, subject: of}
    return PostureCheck.objects.create(**{**said, **values})


def run(of: Connection, state: RunState, **values: Any) -> SyncRun:
    """A sync of `of` that has ended so."""
    said = {"state": state, "started_at": NOW - timedelta(minutes=1), "finished_at": NOW, "requested_by": "sweeper"}
    # Keys of one millisecond have no order; real runs are further apart.
    return SyncRun.objects.create(id=UUID(int=next(_numbers)), connection=of, **{**said, **values})
