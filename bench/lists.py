"""Lists: what a page and an API page cost at ten thousand credentials and at a million. They should cost the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.db.models import QuerySet
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from access.actors import Actor
from access.models import User
from access.roles import Role
from bench.measure import Row, percentile, timed
from bench.scratch import scratch_database
from config.actions import issue_token
from config.statics import ensure_collected
from inventory.models import Credential, Environment, McpServer, Owner
from web.api import ARRIVAL
from web.paging import Keys, Ordering

MOST = 60.0  # milliseconds of server time, p95
GROWTH = 1.5  # p95 at the largest size against p95 at the smallest
REPEATS = 40
SMALL = 10_000
HOST = "localhost"

# What a person looks at. `{…}` is filled in from the rows made below.
PAGES: Sequence[tuple[str, str]] = (
    ("credential_list", ""),
    ("credential_list", "gone=false"),
    ("credential_list", "gone=false&has_owner=false"),
    ("credential_list", "sort=age"),
    ("credential_list", "kind=aws_access_key&status=active"),
    ("credential_list", "owner={owner}"),
    ("credential_list", "q=token 4711"),
    ("credential_list", "cursor={deep_risk}"),
    ("server_list", ""),
    ("server_list", "sort=name"),
    ("client_list", ""),
    ("exposure_list", ""),
    ("owner_list", ""),
    ("finding_list", "unresolved=true"),
    ("finding_list", "overdue=true"),
    ("finding_list", "unresolved=true&severity=critical"),
    ("finding_list", "owner={owner}"),
    ("audit_list", ""),
    ("overview", ""),
)
# What a program asks for.
API: Sequence[str] = (
    "credentials/",
    "credentials/?cursor={deep}",
    "credentials/?ordering=-risk",
    "credentials/?ordering=name",
    "credentials/?ordering=known_since",
    "credentials/?kind=aws_access_key&status=active",
    "credentials/?status=destroyed",
    "credentials/?risk=critical&ordering=-risk",
    "credentials/?owner={owner}",
    "credentials/?has_owner=false",
    "credentials/?environment={environment}&storage=literal",
    "credentials/?server={server}",
    "credentials/?exposed=true",
    "credentials/?gone=true",
    "credentials/?issued_before={long_ago}",
    "credentials/?expires_before={now}",
    "credentials/?q=token 4711",
    "credentials/?finding=unrotated",
    "credentials/?fingerprint=kf1:00000000000000000000000000001267",
    "servers/?ordering=-risk",
    "servers/?owner={owner}",
    "clients/",
    "uses/?server={server}",
    "exposures/?gone=false",
    "findings/",
    "findings/?severity=critical&unresolved=true&ordering=-severity",
    "findings/?state=open&ordering=due_at",
    "findings/?state=resolved",
    "findings/?overdue=true&ordering=due_at",
    "findings/?owner={owner}",
    "findings/?rule=no-owner",
    "audit-entries/?event=credential.owner_assigned",
    "audit-entries/?subject_kind=credential&subject_id={credential}",
)

# Rows first+1 to last; a share of everything is in each state, and the numbers follow from the row's own.
FILL: Sequence[str] = (
    """INSERT INTO inventory_owner (kind, name, email, external_id, is_active)
    SELECT 'person', 'Owner ' || n, 'owner' || n || '@example.org', '', n %% 20 <> 0
    FROM generate_series(%(first)s / 1000 + 1, %(last)s / 1000) n""",
    """INSERT INTO inventory_connection (kind, name, settings, interval, is_enabled, created_at)
    SELECT 'mcp_config', 'Connection ' || n, '{}', '1 hour', true, now()
    FROM generate_series(1, 20) n ON CONFLICT DO NOTHING""",
    "CREATE TEMP TABLE owner AS SELECT id, row_number() OVER (ORDER BY id) - 1 AS i FROM inventory_owner",
    """CREATE TEMP TABLE place AS SELECT (SELECT count(*) FROM owner) AS owners,
      (SELECT array_agg(id ORDER BY id) FROM inventory_connection) AS connections,
      (SELECT array_agg(id ORDER BY id) FROM inventory_environment) AS environments""",
    """INSERT INTO inventory_mcpserver (identity_key, connection_id, name, transport, url, launcher, package,
      package_version, command, environment_id, role, iam_owner_id, vendor, protocol_versions, authentication,
      first_seen_at, risk, open_findings)
    SELECT 's' || n, connections[1 + n %% 20], 'server-' || n, 'stdio', '', 'npx', 'package-' || n %% 300, '', '',
      environments[1 + n %% cardinality(environments)],
      CASE n %% 3 WHEN 0 THEN 'unclassified' ELSE 'tool_endpoint' END, owner.id, '', '{}', '',
      now() - n %% 400 * interval '1 day', n::bigint * 7919 %% 5, n %% 3
    FROM place, generate_series(%(first)s / 20 + 1, %(last)s / 20) n
    JOIN owner ON i = n %% (SELECT owners FROM place)""",
    """INSERT INTO inventory_mcpclient (identity_key, connection_id, name, product, host, client_id, registration,
      redirect_uris, grant_types, software_id, owner_id, admission, first_seen_at)
    SELECT 'c' || n, connections[1 + n %% 20], 'client-' || n, 'cursor', 'host-' || n, '', 'config_file', '{}', '{}',
      '', owner.id, CASE n %% 9 WHEN 0 THEN 'quarantined' ELSE 'admitted' END, now() - n %% 400 * interval '1 day'
    FROM place, generate_series(%(first)s / 100 + 1, %(last)s / 100) n
    JOIN owner ON i = n %% (SELECT owners FROM place)""",
    """INSERT INTO inventory_credential (identity_key, connection_id, name, kind, issuer, trust_model, subject,
      owner_id, environment_id, storage, reference, scopes, status, external_id, fingerprint, hint, issued_at,
      last_used_at, expires_at, first_seen_at, last_seen_at, gone_at, risk, open_findings)
    SELECT 'k' || n, connections[1 + n %% 20], 'service-' || n %% 5000 || ' / token ' || n,
      (ARRAY['api_key', 'aws_access_key', 'database_password', 'personal_access_token', 'other'])[1 + n %% 5],
      'issuer-' || n %% 40, CASE n %% 4 WHEN 0 THEN 'user_consented' ELSE 'static_service' END, '',
      owner.id,
      environments[1 + n %% cardinality(environments)],
      (ARRAY['literal', 'reference', 'provider'])[1 + n %% 3], '', '{}',
      CASE WHEN n %% 500 = 0 THEN 'destroyed' WHEN n %% 7 = 0 THEN 'unknown' ELSE 'active' END,
      '', 'kf1:' || lpad(to_hex(n), 32, '0'), '…' || n %% 10000,
      CASE WHEN n %% 3 <> 0 THEN now() - n::bigint * 13 %% 900 * interval '1 day' END,
      now() - n %% 200 * interval '1 day',
      CASE WHEN n %% 4 = 0 THEN now() + (n::bigint * 17 %% 900 - 200) * interval '1 day' END,
      now() - n %% 500 * interval '1 day', CASE WHEN n %% 50 = 0 THEN now() END, CASE WHEN n %% 50 = 0 THEN now() END,
      CASE n %% 100 WHEN 0 THEN 4 WHEN 1 THEN 3 WHEN 2 THEN 3 ELSE n %% 3 END, n %% 3
    FROM place, generate_series(%(first)s + 1, %(last)s) n
    LEFT JOIN owner ON n %% 10 <> 0 AND i = (n / 10) %% (SELECT owners FROM place)""",
    """CREATE TEMP TABLE made AS SELECT id, substr(identity_key, 2)::int AS n FROM inventory_credential
    WHERE substr(identity_key, 2)::int > %(first)s""",
    "CREATE TEMP TABLE server AS SELECT id, row_number() OVER (ORDER BY id) - 1 AS i FROM inventory_mcpserver",
    "CREATE TEMP TABLE client AS SELECT id, row_number() OVER (ORDER BY id) - 1 AS i FROM inventory_mcpclient",
    """CREATE TEMP TABLE ends AS
    SELECT (SELECT count(*) FROM server) AS servers, (SELECT count(*) FROM client) AS clients""",
    """INSERT INTO inventory_use (connection_id, client_id, server_id, credential_id, file, pointer, held_as,
      is_disabled, first_seen_at)
    SELECT connections[1 + n %% 20], client.id, server.id, made.id,
      '/home/u' || n %% 900 || '/.config/' || n || '.json', '/env/TOKEN', 'literal', false, now()
    FROM place, made
    JOIN client ON client.i = n %% (SELECT clients FROM ends)
    JOIN server ON server.i = n %% (SELECT servers FROM ends)""",
    """INSERT INTO inventory_exposure (credential_id, connection_id, host, file, pointer, first_seen_at)
    SELECT id, connections[1 + n %% 20], 'host-' || n %% 900, '/home/u' || n %% 900 || '/.config/' || n || '.json',
      '/env/TOKEN', now()
    FROM made, place WHERE n %% 3 = 0""",
    """INSERT INTO lifecycle_finding (rule, credential_id, severity, state, evidence, opened_at, refreshed_at, due_at,
      acknowledged_by, resolved_at, resolution)
    SELECT rule, id, 1 + n::bigint * 7919 %% 4, CASE n %% 10 WHEN 9 THEN 'resolved' ELSE 'open' END, '{}',
      now() - n %% 90 * interval '1 day', now(), now() + (n * 3 %% 120 - 40) * interval '1 day', '',
      CASE n %% 10 WHEN 9 THEN now() END, CASE n %% 10 WHEN 9 THEN 'met' ELSE '' END
    FROM made, unnest(CASE n %% 2 WHEN 0 THEN ARRAY['no-owner', 'unrotated'] ELSE ARRAY['stale'] END) rule""",
    """INSERT INTO lifecycle_obligation (credential_id, policy_id, rotate_by, stale_at)
    SELECT id, (SELECT id FROM lifecycle_policy ORDER BY priority, id LIMIT 1),
      now() + (n %% 300 - 100) * interval '1 day', NULL
    FROM made""",
    """INSERT INTO audit_auditentry (event, actor_kind, actor_id, actor_label, subject_kind, subject_id, subject_label,
      detail)
    SELECT 'credential.owner_assigned', 'user', (n %% 50)::text, 'Person ' || n %% 50, 'credential', id::text,
      'token ' || n, '{}'
    FROM made WHERE n %% 5 = 0""",
    "DROP TABLE place, owner, made, server, client, ends",
)


@dataclass(frozen=True)
class Asked:
    """One request as it is repeated."""

    name: str
    url: str
    client: Client
    headers: dict[str, str]

    def milliseconds(self) -> float:
        with timed() as watch:
            answer = self.client.get(self.url, headers=self.headers)
            content = answer.content
        if answer.status_code != 200:
            raise AssertionError(f"{self.url} answered {answer.status_code}: {content[:300]!r}")
        return watch.seconds * 1_000


def run(sizes: tuple[int, ...] | int = (SMALL, 1_000_000)) -> list[Row]:
    """p95 of every request at each size; the smallest size is the limit of the others."""
    sizes = sizes if isinstance(sizes, tuple) else tuple({min(sizes, SMALL), sizes})
    ensure_collected()
    rows: list[Row] = []
    with scratch_database():
        least: dict[str, float] = {}
        filled = 0
        for size in sorted(sizes):
            fill(filled, size)
            filled = size
            for asked in requests():
                value = measured(asked)
                limit = least.setdefault(asked.name, value)
                rows.append(_row(asked.name, size, value, limit if size > min(sizes) else None))
    return rows


def measured(asked: Asked) -> float:
    """p95 in milliseconds, with warm caches."""
    for _ in range(3):
        asked.milliseconds()
    return percentile([asked.milliseconds() for _ in range(REPEATS)], 0.95)


def _row(name: str, size: int, value: float, limit: float | None) -> Row:
    ratio = None if limit is None else value / limit
    return Row(
        name=name,
        size=size,
        value=round(value, 1),
        unit="ms",
        limit=None if limit is None else round(limit, 1),
        ratio=None if ratio is None else round(ratio, 2),
        budget=f"≤ {MOST:.0f} ms and ≤ {GROWTH} × the smallest size",
        ok=value <= MOST and (ratio is None or ratio <= GROWTH),
    )


def fill(first: int, last: int) -> None:
    """Make the rows between two sizes with set-based SQL, and let the planner know of them."""
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in FILL:
            cursor.execute(statement, {"first": first, "last": last})
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def requests() -> Iterator[Asked]:
    """As an auditor: programs with a token, people with a session."""
    named = _named()
    browser = Client(SERVER_NAME=HOST)
    browser.force_login(_auditor(), backend="django.contrib.auth.backends.ModelBackend")
    token = issue_token("benchmark", Role.AUDITOR, life=timedelta(days=1), actor=Actor.system("benchmark"))
    for query in API:
        yield Asked(
            f"API {query}",
            f"/api/v1/{query.format(**named)}",
            Client(SERVER_NAME=HOST),
            {"Authorization": f"Token {token}"},
        )
    for name, query in PAGES:
        url = reverse(name)
        yield Asked(f"page {name}{'?' if query else ''}{query}", f"{url}?{query.format(**named)}", browser, {})


def _auditor() -> User:
    user, _ = User.objects.get_or_create(username="benchmark", email="benchmark@keyreeve.invalid")
    user.groups.set(Group.objects.filter(name=Role.AUDITOR))
    return user


def _named() -> dict[str, Any]:
    """Rows that the requests name, from the middle of what there is."""
    credential = Credential.objects.order_by("id")[Credential.objects.count() // 2]
    return {
        "owner": Owner.objects.filter(is_active=True).order_by("id")[4].pk,
        "environment": Environment.objects.order_by("id")[0].pk,
        "server": McpServer.objects.order_by("id")[McpServer.objects.count() // 2].pk,
        "credential": credential.pk,
        "deep": _cursor(Credential.objects.filter(pk=credential.pk), ARRIVAL),
        "deep_risk": _cursor(Credential.objects.filter(pk=credential.pk), Ordering("risk", ("risk",), descending=True)),
        "now": f"{timezone.now():%Y-%m-%d}",
        "long_ago": f"{timezone.now() - timedelta(days=890):%Y-%m-%d}",
    }


def _cursor(one: QuerySet[Any], ordering: Ordering) -> str:
    keys = Keys(one, ordering)
    return keys.cursor(keys.sorted(backwards=False)[0], backwards=False)
