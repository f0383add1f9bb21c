"""Lists: what a page and an API page cost at ten thousand credentials, at a hundred thousand and at a million.

Each is held against hand-written SQL that reads the same rows with the names they show, measured in the same run, and
against itself at the smallest size: the cost of a page may not grow with the estate. The addresses are a sample, one of
each way a list is read: every order, a deep page, each kind of filter, what is rare, what matches nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext
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
from lifecycle.actions.snapshots import take_snapshot
from web.api import ARRIVAL
from web.paging import Keys, Ordering

MOST, MOST_OF_OVERVIEW = 60.0, 100.0  # milliseconds of server time, p95
GROWTH = 1.5  # p95 against p95 at the smallest size
QUERIES = 12
REPEATS, WARM = 20, 3
SMALL = 10_000
HOST = "localhost"

# By hand: the rows as they stand and the names beside them, one table a key.
BARE: Mapping[str, str] = {
    "credential": """SELECT r.*, o.name, e.name FROM inventory_credential r LEFT JOIN inventory_owner o
      ON o.id = r.owner_id LEFT JOIN inventory_environment e ON e.id = r.environment_id""",
    "server": """SELECT r.*, o.name, e.name FROM inventory_mcpserver r LEFT JOIN inventory_owner o
      ON o.id = r.iam_owner_id LEFT JOIN inventory_environment e ON e.id = r.environment_id""",
    "client": "SELECT r.*, o.name FROM inventory_mcpclient r LEFT JOIN inventory_owner o ON o.id = r.owner_id",
    "exposure": """SELECT r.*, c.name FROM inventory_exposure r
      JOIN inventory_credential c ON c.id = r.credential_id""",
    "owner": "SELECT r.* FROM inventory_owner r",
    "use": """SELECT r.*, k.name, s.name, c.name FROM inventory_use r JOIN inventory_mcpclient k ON k.id = r.client_id
      JOIN inventory_mcpserver s ON s.id = r.server_id LEFT JOIN inventory_credential c ON c.id = r.credential_id""",
    "finding": """SELECT r.*, c.name, o.name FROM lifecycle_finding r LEFT JOIN inventory_credential c
      ON c.id = r.credential_id LEFT JOIN inventory_owner o ON o.id = c.owner_id""",
    "audit": "SELECT r.* FROM audit_auditentry r",
    "waiver": """SELECT r.*, c.name, o.name FROM lifecycle_waiver r JOIN lifecycle_finding f ON f.id = r.finding_id
      LEFT JOIN inventory_credential c ON c.id = f.credential_id LEFT JOIN inventory_owner o ON o.id = f.owner_id""",
    "rule": "SELECT r.* FROM lifecycle_rulestate r",
    "policy": "SELECT r.* FROM lifecycle_policy r",
    "job": "SELECT r.* FROM lifecycle_scheduledjob r",
}
# As the indexes of the queue have them, which put what nobody answers for last.
BY_OWNER, BY_SERVER = (
    f"COALESCE(r.{column}, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)" for column in ("owner_id", "at_server_id")
)
WAIVED = """r.id IN (SELECT w.finding_id FROM lifecycle_waiver w JOIN lifecycle_finding f ON f.id = w.finding_id
  WHERE w.state = 'active' AND f.severity > w.severity)"""
OPEN = "r.resolved_at IS NULL AND r.state IN ('open', 'acknowledged')"
RISK = "r.risk DESC, r.score DESC, r.id DESC"
WORDS = """to_tsvector('simple'::regconfig, coalesce(r.name, '') || ' ' || coalesce(r.issuer, '') || ' '
  || coalesce(r.hint, '')) @@ to_tsquery('simple', 'token:* & 4711:*')"""


@dataclass(frozen=True)
class Question:
    """An address, a page's by the name of its view, and what the hand-written statement must find for it."""

    address: str
    query: str
    table: str
    order: str
    where: str = "true"
    role: Role = Role.AUDITOR  # of whoever looks at the page

    @property
    def is_page(self) -> bool:
        return not self.address.endswith("/")

    @property
    def name(self) -> str:
        return f"{'page' if self.is_page else 'API'} {self.address}{'?' if self.query else ''}{self.query}"

    @property
    def most(self) -> float:
        return MOST_OF_OVERVIEW if self.address == "overview" else MOST

    @property
    def bare(self) -> str:
        rows = 51 if self.is_page else 101
        return f"{BARE[self.table]} WHERE {self.where} ORDER BY {self.order} LIMIT {rows}"


# `{…}` is filled in from the rows made below, and is a parameter of the statement.
QUESTIONS: Sequence[Question] = (
    # What a person looks at.
    Question("credential_list", "", "credential", RISK, "r.gone_at IS NULL"),
    Question(
        "credential_list", "cursor={deep_risk}", "credential", RISK,
        "r.gone_at IS NULL AND (r.risk, r.score, r.id) < (%(risk)s, %(score)s, %(credential)s)",
    ),
    Question(
        "credential_list", "has_owner=false", "credential", RISK,
        "r.gone_at IS NULL AND (r.owner_id IS NULL OR NOT o.is_active)",
    ),
    Question("credential_list", "sort=age", "credential", "r.known_since, r.id", "r.gone_at IS NULL"),
    Question("credential_list", "owner={owner}", "credential", RISK, "r.gone_at IS NULL AND r.owner_id = %(owner)s"),
    Question("credential_list", "q=token 4711", "credential", RISK, f"r.gone_at IS NULL AND {WORDS}"),
    Question(
        "credential_list", "score_min=100", "credential", RISK, "r.gone_at IS NULL AND r.score >= 100",
    ),
    Question("server_list", "", "server", "r.risk DESC, r.id DESC", "r.gone_at IS NULL"),
    Question("client_list", "", "client", "r.risk DESC, r.id DESC", "r.gone_at IS NULL"),
    Question("exposure_list", "", "exposure", "r.id DESC", "r.gone_at IS NULL"),
    Question("owner_list", "", "owner", "r.name, r.id"),
    Question("finding_list", "unresolved=true", "finding", "r.severity DESC, r.id DESC", "r.resolved_at IS NULL"),
    Question("finding_list", "overdue=true", "finding", "r.severity DESC, r.id DESC", f"{OPEN} AND r.due_at < now()"),
    Question("finding_list", "owner={owner}", "finding", "r.severity DESC, r.id DESC", "c.owner_id = %(owner)s"),
    Question(
        "finding_list", "state=open&state=acknowledged&group=owner", "finding", f"{BY_OWNER}, r.due_at, r.id", OPEN,
    ),
    Question(
        "finding_list", "state=open&state=acknowledged&owner={owner}", "finding", "r.due_at, r.id",
        f"{OPEN} AND {BY_OWNER} = %(owner)s",
    ),
    Question(
        "finding_list", "state=open&state=acknowledged&group=server", "finding", f"{BY_SERVER}, r.due_at, r.id", OPEN,
    ),
    Question(
        "finding_list", "state=open&state=acknowledged&at_server={server}", "finding", "r.due_at, r.id",
        f"{OPEN} AND {BY_SERVER} = %(server)s",
    ),
    Question(
        "finding_list", "state=open&state=acknowledged&mine=true", "finding", "r.due_at, r.id",
        f"{OPEN} AND {BY_OWNER} = %(mine)s", role=Role.OWNER,
    ),
    Question("finding_list", "waiver=outgrown", "finding", "r.due_at, r.id", WAIVED),
    Question("waiver_list", "is_active=true", "waiver", "r.id DESC", "r.state = 'active'"),
    Question("rule_list", "", "rule", "r.rule"),
    Question("policy_list", "", "policy", "r.priority, r.id", "r.retired_at IS NULL"),
    Question("job_list", "", "job", "r.name"),
    Question("audit_list", "", "audit", "r.seq DESC"),
    Question("overview", "", "finding", "r.severity DESC, r.due_at", f"{OPEN} AND r.severity = 4"),
    # What a program asks for.
    Question("credentials/", "", "credential", "r.id"),
    Question("credentials/", "cursor={deep}", "credential", "r.id", "r.id > %(credential)s"),
    Question("credentials/", "ordering=name", "credential", "r.name, r.id"),
    Question(
        "credentials/", "kind=aws_access_key&status=active", "credential", "r.id",
        "r.kind = 'aws_access_key' AND r.status = 'active'",
    ),
    Question("credentials/", "status=destroyed", "credential", "r.id", "r.status = 'destroyed'"),
    Question("credentials/", "risk=critical&ordering=-risk", "credential", RISK, "r.risk = 4"),
    Question(
        "credentials/", "environment={environment}&storage=literal", "credential", "r.id",
        "r.environment_id = %(environment)s AND r.storage = 'literal'",
    ),
    Question(
        "credentials/", "server={server}", "credential", "r.id",
        "r.id IN (SELECT u.credential_id FROM inventory_use u WHERE u.server_id = %(server)s AND u.gone_at IS NULL)",
    ),
    Question("credentials/", "issued_before={long_ago}", "credential", "r.id", "r.issued_at < %(long_ago)s"),
    Question("credentials/", "expires_before={now}", "credential", "r.id", "r.expires_at < %(now)s"),
    Question("credentials/", "q=token 4711", "credential", "r.id", WORDS),
    Question(
        "credentials/", "finding=unrotated", "credential", "r.id",
        """r.id IN (SELECT f.credential_id FROM lifecycle_finding f
                    WHERE f.resolved_at IS NULL AND f.rule = 'unrotated')""",
    ),
    Question("uses/", "server={server}", "use", "r.id", "r.server_id = %(server)s"),
    Question(
        "findings/", "severity=critical&unresolved=true&ordering=-severity", "finding",
        "r.severity DESC, r.id DESC", "r.severity = 4 AND r.resolved_at IS NULL",
    ),
    Question("findings/", "overdue=true&ordering=due_at", "finding", "r.due_at, r.id", f"{OPEN} AND r.due_at < now()"),
    Question("findings/", "rule=no-owner", "finding", "r.id", "r.rule = 'no-owner'"),
    Question(
        "audit-entries/", "subject_kind=credential&subject_id={credential}", "audit", "r.seq DESC",
        "r.subject_kind = 'credential' AND r.subject_id = %(credential)s::text",
    ),
)  # fmt: skip

# What the benchmark does not care about is empty, whatever columns a release adds.
EMPTY_UNLESS_SAID = """
DO $$
DECLARE c record;
BEGIN
  FOR c IN
    SELECT n.table_name, n.column_name, n.udt_name FROM information_schema.columns n
    WHERE n.table_schema = 'public' AND n.table_name ~ '^(inventory|lifecycle|audit)_' AND n.is_nullable = 'NO'
      AND n.column_default IS NULL AND n.is_generated = 'NEVER' AND n.is_identity = 'NO'
  LOOP
    IF c.udt_name IN ('text', 'varchar') THEN
      EXECUTE format('ALTER TABLE %I ALTER %I SET DEFAULT %L', c.table_name, c.column_name, '');
    ELSIF c.udt_name IN ('int2', 'int4', 'int8') THEN
      EXECUTE format('ALTER TABLE %I ALTER %I SET DEFAULT 0', c.table_name, c.column_name);
    ELSIF c.udt_name = 'bool' THEN
      EXECUTE format('ALTER TABLE %I ALTER %I SET DEFAULT false', c.table_name, c.column_name);
    ELSIF c.udt_name = 'jsonb' OR c.udt_name LIKE '\\_%' THEN
      EXECUTE format('ALTER TABLE %I ALTER %I SET DEFAULT %L', c.table_name, c.column_name, '{}');
    END IF;
  END LOOP;
END $$
"""

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
      redirect_uris, grant_types, software_id, owner_id, hygiene, admission, first_seen_at)
    SELECT 'c' || n, connections[1 + n %% 20], 'client-' || n, 'cursor', 'host-' || n, '', 'config_file', '{}', '{}',
      '', owner.id, 'unknown', CASE n %% 9 WHEN 0 THEN 'quarantined' ELSE 'admitted' END,
      now() - n %% 400 * interval '1 day'
    FROM place, generate_series(%(first)s / 100 + 1, %(last)s / 100) n
    JOIN owner ON i = n %% (SELECT owners FROM place)""",
    """INSERT INTO inventory_credential (identity_key, connection_id, name, kind, issuer, trust_model, subject,
      owner_id, environment_id, storage, reference, scopes, status, external_id, fingerprint, hint, issued_at,
      last_used_at, expires_at, first_seen_at, last_seen_at, gone_at, risk, score, open_findings)
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
      CASE n %% 100 WHEN 0 THEN 4 WHEN 1 THEN 3 WHEN 2 THEN 3 ELSE n %% 3 END, n::bigint * 7919 %% 91, n %% 3
    FROM place, generate_series(%(first)s + 1, %(last)s) n
    LEFT JOIN owner ON n %% 10 <> 0 AND i = (n / 10) %% (SELECT owners FROM place)""",
    """CREATE TEMP TABLE made AS SELECT id, owner_id, substr(identity_key, 2)::int AS n FROM inventory_credential
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
    """INSERT INTO lifecycle_finding (rule, credential_id, owner_id, at_server_id, severity, state, evidence, opened_at,
      refreshed_at, due_at, acknowledged_by, resolved_at, resolution)
    SELECT rule, made.id, owner_id, server.id, 1 + n::bigint * 7919 %% 4,
      CASE n %% 10 WHEN 9 THEN 'resolved' ELSE 'open' END, '{}',
      now() - n %% 90 * interval '1 day', now(), now() + (n * 3 %% 120 - 40) * interval '1 day', '',
      CASE n %% 10 WHEN 9 THEN now() END, CASE n %% 10 WHEN 9 THEN 'met' ELSE '' END
    FROM made CROSS JOIN unnest(CASE n %% 2 WHEN 0 THEN ARRAY['no-owner', 'unrotated'] ELSE ARRAY['stale'] END) rule
    LEFT JOIN server ON server.i = n %% (SELECT servers FROM ends) AND n %% 3 <> 0""",
    # Of a million findings that no plan knows of, one is looked up in all of them, again and again.
    "ANALYZE made, lifecycle_finding",
    """INSERT INTO lifecycle_waiver (finding_id, state, reason, compensating_control, severity, requested_by,
      requested_by_key, requested_at, approved_by, approved_by_key, granted_at, begins_at, ends_at)
    SELECT f.id, 'active', 'Until the move.', 'Reachable from one network.', 1 + n %% 3, 'Mira Aksoy', 'user:1', now(),
      'Otto Brandt', 'user:2', now(), now(), now() + (1 + n %% 29) * interval '1 day'
    FROM made JOIN lifecycle_finding f ON f.credential_id = made.id AND f.rule = 'stale' AND f.resolved_at IS NULL
    WHERE n %% 20 = 1""",
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
    """One request as it is repeated, with the statement that it is held against."""

    question: Question
    url: str
    client: Client
    headers: dict[str, str]
    named: dict[str, Any]

    @property
    def name(self) -> str:
        return self.question.name

    def milliseconds(self) -> float:
        with timed() as watch:
            answer = self.client.get(self.url, headers=self.headers)
            content = answer.content
        if answer.status_code != 200:
            raise AssertionError(f"{self.url} answered {answer.status_code}: {content[:300]!r}")
        return watch.seconds * 1_000

    def milliseconds_by_hand(self) -> float:
        with timed() as watch, connection.cursor() as cursor:
            cursor.execute(self.question.bare, self.named)
            cursor.fetchall()
        return watch.seconds * 1_000

    def queries(self) -> int:
        with CaptureQueriesContext(connection) as asked:
            self.milliseconds()
        return len(asked)


def run(sizes: tuple[int, ...] | int = (SMALL, 100_000, 1_000_000)) -> list[Row]:
    """Every question at each size. One size is held against the smallest too."""
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
                value, by_hand, queries = measured(asked)
                growth = value / least.setdefault(asked.name, value)
                rows.append(_row(asked.question, value, by_hand, size=size, growth=growth, queries=queries))
    return rows


def measured(asked: Asked) -> tuple[float, float, int]:
    """p95 in milliseconds of the page and of its rows by hand, with warm caches, and the page's queries."""
    for _ in range(WARM):
        asked.milliseconds()
        asked.milliseconds_by_hand()
    # One after the other, so that a busy moment of the machine falls on both.
    pairs = [(asked.milliseconds(), asked.milliseconds_by_hand()) for _ in range(REPEATS)]
    pages, by_hand = zip(*pairs, strict=True)
    return percentile(list(pages), 0.95), percentile(list(by_hand), 0.95), asked.queries()


def _row(question: Question, value: float, by_hand: float, *, size: int, growth: float, queries: int) -> Row:
    growth_said = f"{growth:.2f} of ≤ {GROWTH} × the smallest size"
    return Row(
        name=question.name,
        size=size,
        value=round(value, 1),
        unit="ms",
        limit=round(by_hand, 1),
        ratio=round(value / by_hand, 1),
        budget=f"≤ {question.most:.0f} ms, {growth_said}, {queries} of ≤ {QUERIES} queries",
        ok=value <= question.most and growth <= GROWTH and queries <= QUERIES,
    )


def fill(first: int, last: int) -> None:
    """Make the rows between two sizes with set-based SQL, and let the planner know of them."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(EMPTY_UNLESS_SAID)
        for statement in FILL:
            cursor.execute(statement, {"first": first, "last": last})
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    take_snapshot(timezone.now())


def requests() -> Iterator[Asked]:
    """Programs with an auditor's token, people with a session: an auditor's, or an owner's."""
    named = _named()
    browsers = {role: browser(role) for role in (Role.AUDITOR, Role.OWNER)}
    user = User.objects.get(username=_name(Role.OWNER))
    Owner.objects.filter(pk=named["mine"]).update(user=user)
    token = issue_token("benchmark", Role.AUDITOR, life=timedelta(days=1), actor=Actor.system("benchmark"))
    program = Client(SERVER_NAME=HOST)
    for question in QUESTIONS:
        query = question.query.format(**named)
        if question.is_page:
            url = f"{reverse(question.address)}?{query}"
            yield Asked(question, url, browsers[question.role], {}, named)
        else:
            url = f"/api/v1/{question.address}?{query}"
            yield Asked(question, url, program, {"Authorization": f"Token {token}"}, named)


def browser(role: Role) -> Client:
    name = _name(role)
    user, _ = User.objects.get_or_create(username=name, email=f"{name}@keyreeve.invalid")
    user.groups.set(Group.objects.filter(name=role))
    browser = Client(SERVER_NAME=HOST)
    browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return browser


def _name(role: Role) -> str:
    return f"benchmark-{role}"


def _named() -> dict[str, Any]:
    """Rows that the requests name, from the middle of what there is."""
    credential = Credential.objects.order_by("id")[Credential.objects.count() // 2]
    by_risk = Ordering("risk", ("risk", "score"), descending=True)
    return {
        "owner": Owner.objects.filter(is_active=True).order_by("id")[4].pk,
        "mine": Owner.objects.filter(is_active=True).order_by("id")[5].pk,
        "environment": Environment.objects.order_by("id")[0].pk,
        "server": McpServer.objects.order_by("id")[McpServer.objects.count() // 2].pk,
        "credential": credential.pk,
        "risk": credential.risk,
        "score": credential.score,
        "deep": _cursor(Credential.objects.filter(pk=credential.pk), ARRIVAL),
        "deep_risk": _cursor(Credential.objects.filter(pk=credential.pk), by_risk),
        "now": f"{timezone.now():%Y-%m-%d}",
        "long_ago": f"{timezone.now() - timedelta(days=890):%Y-%m-%d}",
    }


def _cursor(one: QuerySet[Any], ordering: Ordering) -> str:
    keys = Keys(one, ordering)
    return keys.cursor(keys.sorted(backwards=False)[0], backwards=False)
