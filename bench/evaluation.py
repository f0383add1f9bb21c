"""Evaluation: every rule over the whole estate, against the same predicates written by hand."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from statistics import median

from django.db import connection

from access.actors import Actor
from bench.measure import Row, timed
from bench.scratch import scratch_database
from lifecycle.actions.evaluation import evaluate

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ACTOR = Actor.system("benchmark")
FULL_BUDGET = 2.0  # times the limit
IDLE_BUDGET = 0.05  # seconds
SMALL = 10_000

# An estate of %(size)s credentials: mixed kinds, ages of up to 400 days, a tenth without an owner, a third whose last
# use nobody knows, every seventh in a file, every fifth used in two places, every eleventh a token with scopes. Every
# second server is live, with twenty checks and ten tools; a third of what clients reach is granted.
ESTATE = """
INSERT INTO inventory_connection (kind, name, settings, interval, is_enabled, created_at, risk, open_findings)
VALUES ('feed', 'bench', '{}', interval '30 d', true, %(now)s, 0, 0);
INSERT INTO inventory_owner (kind, name, email, external_id, is_active)
SELECT 'person', 'Owner ' || n, '', '', n %% 50 > 0 FROM generate_series(1, 1000) n;
INSERT INTO inventory_authorizationserver (issuer, metadata, capabilities, first_seen_at)
SELECT 'https://id-' || n || '.example.org', '{}', '{}', %(now)s
FROM generate_series(1, greatest(%(size)s / 1000, 1)) n;
INSERT INTO inventory_mcpserver (identity_key, connection_id, name, transport, url, launcher, package, package_version,
  command, role, vendor, protocol_versions, authentication, scopes, probe_error, tools_error, probed_at,
  tools_listed_at, authorization_server_id, environment_id, is_pinned, first_seen_at, risk, open_findings)
SELECT 's' || n, c.id, 'server ' || n, CASE WHEN n %% 2 = 0 THEN 'http' ELSE 'stdio' END,
       CASE WHEN n %% 2 = 0 THEN 'https://mcp-' || n || '.example.org/mcp' ELSE '' END, 'npx', 'package-' || n, '', '',
       'unclassified', '', '{}', '', '{}', '', '', CASE WHEN n %% 2 = 0 THEN %(now)s END,
       CASE WHEN n %% 2 = 0 THEN %(now)s END, CASE WHEN n %% 4 = 0 THEN a.ids[1 + n %% cardinality(a.ids)] END,
       (SELECT e.id FROM inventory_environment e ORDER BY e.name LIMIT 1 OFFSET n %% 4), n %% 3 > 0, %(now)s, 0, 0
FROM inventory_connection c, generate_series(1, greatest(%(size)s / 100, 2)) n,
     (SELECT array_agg(id ORDER BY id) AS ids FROM inventory_authorizationserver) a;
INSERT INTO inventory_tool (server_id, name, is_read_only, is_destructive, description, scopes, schema_digest,
  approved_digest, approved_by, first_seen_at)
SELECT s.id, 'tool_' || n, n > 3, n = 1, '', '{}', 'b', CASE WHEN n > 5 THEN CASE n WHEN 9 THEN 'a' ELSE 'b' END
       ELSE '' END, '', %(now)s
FROM inventory_mcpserver s, generate_series(1, 10) n WHERE s.transport = 'http';
INSERT INTO inventory_posturecheck (server_id, authorization_server_id, check_id, verdict, severity, evidence,
  specification, checked_at)
SELECT p.server_id, p.issuer_id, 'MCP-RS-' || lpad(n::text, 2, '0'),
       (ARRAY['met', 'violated', 'unknown', 'not_applicable'])[1 + (n * p.number) %% 4], 2 + n %% 3,
       '{"said": "It said so."}', 'Authorization, section 4', %(now)s
FROM (SELECT s.id AS server_id, NULL::uuid AS issuer_id, row_number() OVER (ORDER BY s.id) AS number
      FROM inventory_mcpserver s WHERE s.transport = 'http'
      UNION ALL SELECT NULL, a.id, row_number() OVER (ORDER BY a.id) FROM inventory_authorizationserver a) p,
     generate_series(1, 20) n;
INSERT INTO inventory_mcpclient (identity_key, connection_id, name, product, host, client_id, registration,
  redirect_uris, grant_types, software_id, application_type, scopes, registration_uri, registration_reference, hygiene,
  hygiene_key, hygiene_reason, admission, admission_reason, first_seen_at, risk, open_findings)
SELECT 'c' || n, c.id, 'client ' || n, '', 'host', '', CASE WHEN n %% 2 = 0 THEN 'dynamic' ELSE 'config_file' END, '{}',
       '{}', '', '', '{}', '', '', (ARRAY['live', 'dead', 'duplicate', 'unknown'])[1 + n %% 4], '', '',
       CASE WHEN n %% 6 = 0 THEN 'quarantined' ELSE 'admitted' END, '',
       %(now)s - (n %% 60) * interval '1 day' - interval '12 h', 0, 0
FROM inventory_connection c, generate_series(1, greatest(%(size)s / 200, 2)) n;
INSERT INTO inventory_credential (identity_key, connection_id, name, kind, issuer, principal, trust_model, subject,
  owner_id, environment_id, storage, reference, scopes, status, external_id, fingerprint, hint, details, issued_at,
  last_used_at, expires_at, first_seen_at, risk, open_findings)
SELECT 'k' || n, c.id, 'credential ' || n, CASE WHEN n %% 11 = 0 THEN 'oauth_access_token' ELSE
       (ARRAY['api_key', 'aws_access_key', 'personal_access_token', 'database_password', 'oauth_client_secret'])
         [1 + n %% 5] END,
       'issuer', '', 'static_service', '',
       CASE WHEN n %% 10 > 0 THEN (SELECT array_agg(o.id ORDER BY o.id) FROM inventory_owner o)[1 + n %% 1000] END,
       (SELECT array_agg(e.id ORDER BY e.name) FROM inventory_environment e)[1 + n %% 4],
       (ARRAY['provider', 'literal', 'reference'])[1 + n %% 3], '',
       CASE WHEN n %% 22 = 0 THEN '{files:read,files:write}' WHEN n %% 11 = 0 THEN '{files:read,admin:*}' ELSE '{}'
       END::varchar[], 'active', '', '', '', '{}',
       CASE WHEN n %% 4 > 0 THEN %(now)s - (n %% 400) * interval '1 day' - interval '12 h' END,
       CASE WHEN n %% 3 > 0 THEN %(now)s - (n %% 90) * interval '1 day' - interval '12 h' END,
       CASE WHEN n %% 6 = 0 THEN %(now)s + (n %% 300 - 20) * interval '1 day' - interval '12 h' END,
       %(now)s - (n %% 200) * interval '1 day' - interval '12 h', 0, 0
FROM inventory_connection c, generate_series(1, %(size)s) n;
INSERT INTO inventory_exposure (credential_id, connection_id, host, file, pointer, is_readable_by_others, first_seen_at)
SELECT r.id, r.connection_id, 'host', '/home/somebody/.config/' || r.n || '.json', '/env/KEY', r.n %% 2 = 0, %(now)s
FROM (SELECT k.id, k.connection_id, row_number() OVER (ORDER BY k.id) AS n FROM inventory_credential k) r
WHERE r.n %% 7 = 0;
WITH s AS (SELECT array_agg(id ORDER BY id) AS ids FROM inventory_mcpserver),
     c AS (SELECT array_agg(id ORDER BY id) AS ids FROM inventory_mcpclient)
INSERT INTO inventory_use (connection_id, client_id, server_id, credential_id, file, pointer, held_as, is_disabled,
  first_seen_at)
SELECT r.connection_id, c.ids[1 + r.n %% cardinality(c.ids)], s.ids[1 + (r.n + again) %% cardinality(s.ids)], r.id,
       'file', '/' || again, 'literal', false, %(now)s
FROM (SELECT k.id, k.connection_id, row_number() OVER (ORDER BY k.id) AS n FROM inventory_credential k) r
CROSS JOIN generate_series(0, 1) again CROSS JOIN s CROSS JOIN c
WHERE again = 0 OR r.n %% 5 = 0;
INSERT INTO inventory_grant (client_id, server_id, tools, scopes, resources, tool_digests, drafted_by, drafted_at,
  approved_by, approved_at, ends_at, reason, withdrawn_by)
SELECT p.client_id, p.server_id, t.names[1:CASE p.number %% 2 WHEN 0 THEN 10 ELSE 8 END], '{files:read,files:write}',
       '{}', '{}', 'Mira', %(now)s, 'Otto', %(now)s - interval '1 day',
       %(now)s + (p.number %% 90 + 1) * interval '12 h', '', ''
FROM (SELECT u.client_id, u.server_id, row_number() OVER (ORDER BY u.client_id, u.server_id) AS number
      FROM inventory_use u GROUP BY u.client_id, u.server_id) p,
     (SELECT array_agg('tool_' || n ORDER BY n) AS names FROM generate_series(1, 10) n) t
WHERE p.number %% 3 = 0;
"""

# The same by hand, in the shortest way: a row for each violation with the keys that a finding has, but without
# evidence, history or population, and each statement joining only what its predicate reads. Who answers and at which
# server it is are written too, for queues are read by them. The risk that lists sort by is written to the same table as
# the product writes it.
BARE_TABLE = """
CREATE TABLE bare (id uuid PRIMARY KEY DEFAULT keyreeve_uuid7(), rule text NOT NULL, subject uuid NOT NULL,
                   owner_id uuid, at_server_id uuid, severity smallint NOT NULL, opened_at timestamptz NOT NULL,
                   due_at timestamptz NOT NULL);
CREATE UNIQUE INDEX ON bare (subject, rule);
CREATE INDEX ON bare (owner_id, due_at, id);
CREATE INDEX ON bare (at_server_id, due_at, id);
CREATE INDEX ON bare (severity, id);
CREATE INDEX ON bare (due_at, id);
CREATE INDEX ON bare (rule, id);
"""
OWNER = "JOIN inventory_owner o ON o.id = c.owner_id"
POLICY = "JOIN lifecycle_policy p ON p.kinds = ARRAY[c.kind]::varchar[] AND p.trust_models = '{}'"
PLACED_TWICE = """c.id IN (SELECT u.credential_id FROM inventory_use u JOIN inventory_mcpserver s ON s.id = u.server_id
                           WHERE u.gone_at IS NULL GROUP BY 1 HAVING count(DISTINCT s.environment_id) > 1)"""
USED_TWICE = """c.id IN (SELECT u.credential_id FROM inventory_use u WHERE u.gone_at IS NULL
                         GROUP BY 1 HAVING count(DISTINCT u.server_id) > 1)"""
KEY_BEFORE_CONSENT = """c.kind IN ('api_key', 'personal_access_token') AND c.id IN (
    SELECT u.credential_id FROM inventory_use u JOIN inventory_mcpserver s ON s.id = u.server_id
    WHERE u.gone_at IS NULL AND s.transport = 'http' AND s.authorization_server_id IS NOT NULL)"""
IN_FORCE = "g.withdrawn_at IS NULL AND g.approved_at <= %(now)s AND g.ends_at > %(now)s"
SCOPES_GRANTED = f"""
    SELECT 1 FROM inventory_use u JOIN inventory_grant g ON g.client_id = u.client_id AND g.server_id = u.server_id
    WHERE u.credential_id = c.id AND u.gone_at IS NULL AND {IN_FORCE} AND g.scopes @> c.scopes"""
VIOLATED = "FROM inventory_posturecheck p WHERE p.verdict = 'violated' AND p.severity >= 2"
TOOLS = "FROM inventory_tool t WHERE t.gone_at IS NULL"
UNGRANTED = f"""FROM (SELECT DISTINCT client_id, server_id FROM inventory_use WHERE gone_at IS NULL) u
    JOIN inventory_tool t ON t.server_id = u.server_id AND t.gone_at IS NULL
    LEFT JOIN inventory_grant g ON g.client_id = u.client_id AND g.server_id = u.server_id AND {IN_FORCE}
    WHERE (t.name = ANY (g.tools)) IS NOT TRUE"""
EXPOSED = "c.id IN (SELECT x.credential_id FROM inventory_exposure x WHERE x.gone_at IS NULL)"
PREDICATES = [
    ("hard-coded", 3, "", EXPOSED),
    ("reused-across-servers", 2, "", USED_TWICE),
    ("reused-across-environments", 3, "", PLACED_TWICE),
    ("no-owner", 2, "", "c.owner_id IS NULL"),
    ("owner-inactive", 3, OWNER, "NOT o.is_active"),
    ("unrotated", 2, POLICY, "c.known_since + p.max_age <= %(now)s"),
    ("stale", 2, POLICY, "c.last_used_at + p.max_idle <= %(now)s"),
    ("no-expiry", 2, POLICY, "p.requires_expiry AND c.expires_at IS NULL AND c.storage = 'provider'"),
    ("expired-still-active", 3, "", "c.expires_at <= %(now)s"),
    ("static-key-where-consent-expected", 2, "", KEY_BEFORE_CONSENT),
    ("scope-too-broad", 2, "", "c.scopes && '{*,admin:*}'"),
    ("scope-not-granted", 2, "", f"c.kind = 'oauth_access_token' AND NOT EXISTS ({SCOPES_GRANTED})"),
]
SERVER_PREDICATES = [
    ("anonymous-server", 3, f"c.id IN (SELECT p.server_id {VIOLATED} AND p.check_id = 'MCP-RS-01')"),
    ("posture-violations", 2, f"c.id IN (SELECT p.server_id {VIOLATED} AND p.check_id <> 'MCP-RS-01')"),
    ("issuer-posture-violations", 2, f"c.authorization_server_id IN (SELECT p.authorization_server_id {VIOLATED})"),
    ("tool-definition-changed", 3, f"c.id IN (SELECT t.server_id {TOOLS} AND t.approved_digest NOT IN ('', 'b'))"),
    ("destructive-tool-ungranted", 3, f"c.id IN (SELECT u.server_id {UNGRANTED} AND t.is_destructive)"),
    ("tool-surface-ungranted", 2, f"c.id IN (SELECT u.server_id {UNGRANTED})"),
]
BARE_PLACES = """
CREATE TEMPORARY TABLE placed AS
SELECT DISTINCT ON (u.credential_id) u.credential_id, u.server_id FROM inventory_use u
WHERE u.gone_at IS NULL AND u.credential_id IS NOT NULL ORDER BY u.credential_id, u.server_id;
ANALYZE placed;
"""
BARE = """
INSERT INTO bare (rule, subject, owner_id, at_server_id, severity, opened_at, due_at)
SELECT '{rule}', c.id, {owner}, {place}, {severity} + (e.criticality = 3)::int, %(now)s, %(now)s + interval '30 d'
FROM {table} c JOIN inventory_environment e ON e.id = c.environment_id {join}
WHERE c.gone_at IS NULL AND {predicate}
"""
PLACED = {
    "inventory_credential": ("c.owner_id", "n.server_id", "LEFT JOIN placed n ON n.credential_id = c.id"),
    "inventory_mcpserver": ("coalesce(c.iam_owner_id, c.platform_owner_id, c.application_owner_id)", "c.id", ""),
}
BARE_RISK = """
UPDATE inventory_credential c SET risk = 4 - n.risk, open_findings = n.number -- another value, so that it is written
FROM (SELECT subject, max(severity) AS risk, count(*) AS number FROM bare GROUP BY 1) n WHERE n.subject = c.id
"""


def run(sizes: tuple[int, ...] | int = (SMALL, 1_000_000)) -> list[Row]:
    return [row for size in ((sizes,) if isinstance(sizes, int) else sizes) for row in _run(size)]


def _run(size: int) -> Iterator[Row]:
    with scratch_database():
        _fill(size)
        with timed() as first:
            opened = evaluate(NOW, actor=ACTOR, full=True)
        _vacuum()
        with timed() as second:
            again = evaluate(NOW, actor=ACTOR, full=True)
        idle = []
        for minute in range(1, 22):
            with timed() as watch:
                evaluate(NOW + timedelta(minutes=minute), actor=ACTOR)
            idle.append(watch.seconds)
        with timed() as due:
            tomorrow = evaluate(NOW + timedelta(hours=13), actor=ACTOR)
        _vacuum()
        bare, risk, found = _bare()
        if opened.opened < found or again.changed:
            raise AssertionError(f"{opened.opened} findings of at least {found} opened, then {again.changed} changed")
    yield _against("evaluation: everything is new", size, first.seconds, bare + risk)
    yield _against("evaluation: full, nothing has changed", size, second.seconds, bare)
    yield Row(
        name="evaluation: nothing is due",
        size=size,
        value=round(median(idle) * 1_000, 1),
        unit="ms",
        limit=None,
        ratio=None,
        budget=f"≤ {IDLE_BUDGET * 1_000:.0f} ms",
        ok=median(idle) <= IDLE_BUDGET,
    )
    yield Row(
        name=f"evaluation: a day's due dates ({tomorrow.subjects} subjects{', in full' if tomorrow.is_full else ''})",
        size=size,
        value=round(due.seconds, 3),
        unit="s",
        limit=None,
        ratio=None,
        budget="none",
        ok=True,
    )


def _against(name: str, size: int, seconds: float, limit: float) -> Row:
    return Row(
        name=name,
        size=size,
        value=round(seconds, 3),
        unit="s",
        limit=round(limit, 3),
        ratio=round(seconds / limit, 2),
        budget=f"≤ {FULL_BUDGET:.0f} × the limit",
        ok=seconds <= FULL_BUDGET * limit,
    )


def _fill(size: int) -> None:
    with connection.cursor() as cursor:
        for statement in ESTATE.split(";\n"):
            if statement.strip():
                cursor.execute(statement, {"size": size, "now": NOW})
    _vacuum()


def _vacuum() -> None:
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def _bare() -> tuple[float, float, int]:
    """How long the shortest way takes to find, how long to write the risk, and how many violations there are."""
    with connection.cursor() as cursor:
        cursor.execute(BARE_TABLE)
        found = 0
        with timed() as finding:
            cursor.execute(BARE_PLACES)
            of_servers = [(rule, severity, "", predicate) for rule, severity, predicate in SERVER_PREDICATES]
            for table, predicates in (("inventory_credential", PREDICATES), ("inventory_mcpserver", of_servers)):
                owner, place, placed = PLACED[table]
                for rule, severity, join, predicate in predicates:
                    named = {"table": table, "rule": rule, "severity": severity, "predicate": predicate}
                    statement = BARE.format(**named, owner=owner, place=place, join=f"{join} {placed}")
                    cursor.execute(statement, {"now": NOW})
                    found += cursor.rowcount
        with timed() as writing:
            cursor.execute(BARE_RISK)
    return finding.seconds, writing.seconds, found
