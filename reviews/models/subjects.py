"""What a campaign is about, as statements: which things fit its scope and which do not and why, and what is known of
each that fits. One statement for many rows; the same one tells what a single thing is bound to now.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection as database

from inventory.states import ENDED
from reviews.models.campaigns import Campaign
from reviews.states import ITEM_FINAL, LeftOut, Reviewed

IDLE = timedelta(days=90)
NAMED = 50  # of clients and servers; the rest are counted
PATHS = 5
# Of facts, what a keep is bound to. The digest is over keys, so that a new name alone changes nothing.
BOUND = (
    "owner", "owners", "environment", "scopes", "resources", "consumers", "servers", "authentication", "tools", "role",
    "redirect_uris", "grant_types", "registration", "granted",
)  # fmt: skip
# Of facts, what is compared with the last review.
COMPARED = (*BOUND, "custodian", "subject", "status", "storage", "exposures", "admission", "until")

_CANDIDATE = "kind, id, connection_id, name, left_out, owner_id, custodian_id"
_FACT = (
    "kind, id, connection_id, name, owner_id, interested, custodian_id, environment_id, criticality, variety, "
    "trust_model, known_since, last_used_at, exposures, open_findings, reach, risk, score, facts, path, bound, signals"
)

# ── What fits ──────────────────────────────────────────────────────────────────────────────────


def _unfit(selector: str, fits: str, reason: LeftOut, kind: str = "text") -> str:
    return f"WHEN cardinality(%({selector})s::{kind}[]) > 0 AND ({fits}) IS NOT TRUE THEN '{reason.value}'"


def _case(gone: str, ended: str, selectors: Iterable[str], key: str, column: str) -> str:
    return f"""CASE
    WHEN {gone} THEN '{LeftOut.GONE.value}'
    WHEN {ended} THEN '{LeftOut.ENDED.value}'
    {" ".join(selectors)}
    WHEN cardinality(%(ids)s::uuid[]) > 0 AND NOT {key} = ANY (%(ids)s::uuid[]) THEN '{LeftOut.NOT_CHOSEN.value}'
    WHEN {key} = ANY (%(left_out)s::uuid[]) THEN '{LeftOut.LEFT_OUT.value}'
    WHEN {key} IN (SELECT i.{column} FROM reviews_reviewitem i
      WHERE i.{column} IS NOT NULL AND NOT i.state = ANY (%(final)s)) THEN '{LeftOut.ELSEWHERE.value}'
  END"""


_OWNED = "ARRAY[s.iam_owner_id, s.platform_owner_id, s.application_owner_id] && %(owners)s::uuid[]"
_USED_ON = (
    "c.id IN (SELECT u.credential_id FROM inventory_use u JOIN inventory_mcpserver s ON s.id = u.server_id"
    " WHERE u.gone_at IS NULL AND u.credential_id IS NOT NULL AND s.role = ANY (%(server_roles)s::text[]))"
)
_REACHES = (
    "k.id IN (SELECT u.client_id FROM inventory_use u JOIN inventory_mcpserver s ON s.id = u.server_id"
    " WHERE u.gone_at IS NULL AND s.role = ANY (%(server_roles)s::text[]))"
)
_SHARED = "f.rules && ARRAY['reused-across-environments', 'reused-across-clients', 'reused-across-servers']"
_CANDIDATES = {
    Reviewed.CREDENTIAL: f"""
SELECT '{Reviewed.CREDENTIAL}' AS kind, c.id, c.connection_id, c.name, {_case(
        "c.gone_at IS NOT NULL", "c.status = ANY (%(ended)s)",
        (
            _unfit("connections", "c.connection_id = ANY (%(connections)s::uuid[])", LeftOut.OTHER_CONNECTION, "uuid"),
            _unfit("kinds", "c.kind = ANY (%(kinds)s::text[])", LeftOut.OTHER_KIND),
            _unfit("trust_models", "c.trust_model = ANY (%(trust_models)s::text[])", LeftOut.OTHER_TRUST),
            _unfit(
                "environments", "c.environment_id = ANY (%(environments)s::uuid[])", LeftOut.OTHER_ENVIRONMENT, "uuid"
            ),
            _unfit("providers", "lower(c.issuer) = ANY (%(providers)s::text[])", LeftOut.OTHER_PROVIDER),
            _unfit("owners", "c.owner_id = ANY (%(owners)s::uuid[])", LeftOut.OTHER_OWNER, "uuid"),
            _unfit("tags", "c.tags::text[] && %(tags)s::text[]", LeftOut.OTHER_TAG),
            _unfit(
                "server_roles",
                _USED_ON,
                LeftOut.OTHER_ROLE,
            ),
        ),
        "c.id", "credential_id",
    )} AS left_out, c.owner_id, c.custodian_id
FROM inventory_credential c""",
    Reviewed.CLIENT: f"""
SELECT '{Reviewed.CLIENT}', k.id, k.connection_id, k.name, {_case(
        "k.gone_at IS NOT NULL", "k.admission = 'removed'",
        (
            _unfit("connections", "k.connection_id = ANY (%(connections)s::uuid[])", LeftOut.OTHER_CONNECTION, "uuid"),
            _unfit(
                "environments", "p.environment_id = ANY (%(environments)s::uuid[])", LeftOut.OTHER_ENVIRONMENT, "uuid"
            ),
            _unfit("owners", "k.owner_id = ANY (%(owners)s::uuid[])", LeftOut.OTHER_OWNER, "uuid"),
            _unfit(
                "server_roles",
                _REACHES,
                LeftOut.OTHER_ROLE,
            ),
        ),
        "k.id", "client_id",
    )}, k.owner_id, NULL::uuid
FROM inventory_mcpclient k JOIN inventory_connection p ON p.id = k.connection_id
WHERE k.registration <> 'config_file'""",
    Reviewed.GRANT: f"""
SELECT '{Reviewed.GRANT}', g.id, s.connection_id, k.name || ' on ' || s.name, {_case(
        "k.gone_at IS NOT NULL OR s.gone_at IS NOT NULL", "k.admission = 'removed'",
        (
            _unfit("connections", "s.connection_id = ANY (%(connections)s::uuid[])", LeftOut.OTHER_CONNECTION, "uuid"),
            _unfit(
                "environments", "s.environment_id = ANY (%(environments)s::uuid[])", LeftOut.OTHER_ENVIRONMENT, "uuid"
            ),
            _unfit("owners", f"k.owner_id = ANY (%(owners)s::uuid[]) OR {_OWNED}", LeftOut.OTHER_OWNER, "uuid"),
            _unfit("server_roles", "s.role = ANY (%(server_roles)s::text[])", LeftOut.OTHER_ROLE),
        ),
        "g.id", "grant_id",
    )}, coalesce(s.application_owner_id, s.iam_owner_id, s.platform_owner_id), NULL::uuid
FROM inventory_grant g JOIN inventory_mcpclient k ON k.id = g.client_id JOIN inventory_mcpserver s ON s.id = g.server_id
WHERE g.withdrawn_at IS NULL""",
    Reviewed.SERVER: f"""
SELECT '{Reviewed.SERVER}', s.id, s.connection_id, s.name, {_case(
        "s.gone_at IS NOT NULL", "false",
        (
            _unfit("connections", "s.connection_id = ANY (%(connections)s::uuid[])", LeftOut.OTHER_CONNECTION, "uuid"),
            _unfit(
                "environments", "s.environment_id = ANY (%(environments)s::uuid[])", LeftOut.OTHER_ENVIRONMENT, "uuid"
            ),
            _unfit("owners", _OWNED, LeftOut.OTHER_OWNER, "uuid"),
            _unfit("server_roles", "s.role = ANY (%(server_roles)s::text[])", LeftOut.OTHER_ROLE),
        ),
        "s.id", "server_id",
    )}, coalesce(s.iam_owner_id, s.platform_owner_id, s.application_owner_id), NULL::uuid
FROM inventory_mcpserver s""",
}  # fmt: skip


def candidates(campaign: Campaign) -> tuple[str, dict[str, Any]]:
    """Everything of the kinds that are reviewed, each with why it is left out, or null; and the values of that."""
    values = {
        **{name: [str(each) for each in getattr(campaign, name)] for name in ("kinds", "trust_models", "tags")},
        **{name: list(getattr(campaign, name)) for name in ("environments", "owners", "connections", "ids")},
        "providers": [each.lower() for each in campaign.providers],
        "server_roles": [str(each) for each in campaign.server_roles],
        "left_out": [UUID(each) for each in campaign.left_out],
        "ended": [each.value for each in ENDED],
        "final": [each.value for each in ITEM_FINAL],
    }
    found = " UNION ALL ".join(_CANDIDATES[Reviewed(kind)] for kind in sorted(set(campaign.reviewed)))
    return f"SELECT * FROM ({found}) n ({_CANDIDATE})", values


# ── What is known ──────────────────────────────────────────────────────────────────────────────
# Each gives the columns of _FACT. `{within}` follows a column and narrows it to what is asked for, before anything is
# joined or counted.


def _flags(**conditions: str) -> str:
    flags = ", ".join(f"CASE WHEN {holds} THEN '{slug}' END" for slug, holds in conditions.items())
    return f"array_remove(ARRAY[{flags}]::text[], NULL)"


def _findings(subject: str) -> str:
    return f"""LEFT JOIN (
  SELECT f.{subject}_id AS id, count(*) AS number, array_agg(f.rule::text) AS rules,
    jsonb_agg(jsonb_build_object('rule', f.rule, 'severity', f.severity) ORDER BY f.severity DESC, f.rule) AS found
  FROM lifecycle_finding f WHERE f.resolved_at IS NULL AND f.{subject}_id {{within}} GROUP BY f.{subject}_id) f"""


_TOOLS = """LEFT JOIN (
  SELECT t.server_id, encode(sha256(convert_to(
    string_agg(t.name || ' ' || t.schema_digest, chr(10) ORDER BY t.name COLLATE "C"), 'UTF8')), 'hex') AS digest
  FROM inventory_tool t WHERE t.gone_at IS NULL AND t.server_id {servers} GROUP BY t.server_id) t"""
_SERVED = "IN (SELECT u.server_id FROM inventory_use u WHERE u.gone_at IS NULL AND u.{key} {{within}})"
_OWNER_SIGNALS = {"owner_left": "o.id IS NOT NULL AND NOT o.is_active", "no_owner": "o.id IS NULL"}
_FACTS = {
    Reviewed.CREDENTIAL: f"""
SELECT '{Reviewed.CREDENTIAL}' AS kind, c.id, c.connection_id, c.name, c.owner_id,
  array_remove(ARRAY[c.owner_id], NULL) AS interested, c.custodian_id, c.environment_id,
  coalesce(e.criticality, 1) AS criticality, c.kind AS variety, c.trust_model, c.known_since, c.last_used_at,
  coalesce(x.places, 0) AS exposures, coalesce(f.number, 0) AS open_findings,
  coalesce(cardinality(u.clients), 0) + coalesce(cardinality(u.servers), 0) AS reach, c.risk, c.score,
  jsonb_build_object('owner', o.name, 'custodian', q.name, 'environment', e.name, 'connection', p.name,
    'status', c.status, 'subject', c.subject, 'issuer', c.issuer, 'principal', c.principal, 'storage', c.storage,
    'hint', c.hint, 'scopes', coalesce(w.scopes, '{{{{}}}}'), 'tags', c.tags, 'known_since', c.known_since,
    'last_used_at', c.last_used_at, 'expires_at', c.expires_at, 'exposures', coalesce(x.places, 0),
    'findings', coalesce(f.found, '[]'), 'consumers', coalesce(u.client_names[1:{NAMED}], '{{{{}}}}'),
    'consumers_in_all', coalesce(cardinality(u.clients), 0), 'servers', coalesce(u.server_names[1:{NAMED}], '{{{{}}}}'),
    'servers_in_all', coalesce(cardinality(u.servers), 0), 'authentication', coalesce(u.authentication, '{{{{}}}}'),
    'tools', coalesce(u.tools, '{{{{}}}}'), 'reviewed_at', c.reviewed_at, 'reviewed_by', c.reviewed_by) AS facts,
  coalesce(to_jsonb(u.paths[1:{PATHS}]), '[]') AS path,
  jsonb_build_object('owner', c.owner_id, 'environment', c.environment_id, 'scopes', coalesce(w.scopes, '{{{{}}}}'),
    'consumers', coalesce(u.clients, '{{{{}}}}'), 'authentication', coalesce(u.authentication, '{{{{}}}}'),
    'tools', coalesce(u.tool_keys, '{{{{}}}}')) AS bound,
  {_flags(
        never_used="c.last_used_at IS NULL AND c.known_since < %(idle_since)s AND u.credential_id IS NULL",
        idle="c.last_used_at < %(idle_since)s",
        disabled="u.is_disabled OR 'disabled-everywhere' = ANY (f.rules)",
        expired_active="'expired-still-active' = ANY (f.rules) OR 'valid-after-revocation' = ANY (f.rules)",
        exposed="x.places > 0",
        shared=_SHARED,
        unrotated="'unrotated' = ANY (f.rules)",
        lifetime="f.rules && ARRAY['lifetime-too-long', 'no-expiry']",
        **_OWNER_SIGNALS,
        scope="f.rules && ARRAY['scope-too-broad', 'scope-not-granted', 'scope-not-allowed']",
        use_unknown="c.last_used_at IS NULL AND (c.known_since >= %(idle_since)s OR u.credential_id IS NOT NULL)",
        severe="c.risk = 4",
    )} AS signals
FROM inventory_credential c
JOIN inventory_connection p ON p.id = c.connection_id
LEFT JOIN inventory_owner o ON o.id = c.owner_id
LEFT JOIN inventory_owner q ON q.id = c.custodian_id
LEFT JOIN inventory_environment e ON e.id = c.environment_id
LEFT JOIN LATERAL (SELECT array_agg(DISTINCT one.scope::text ORDER BY one.scope::text) AS scopes
  FROM unnest(c.scopes) AS one (scope)) w ON cardinality(c.scopes) > 0
LEFT JOIN (SELECT x.credential_id, count(*) AS places FROM inventory_exposure x
  WHERE x.gone_at IS NULL AND x.credential_id {{within}} GROUP BY x.credential_id) x ON x.credential_id = c.id
{_findings("credential")} ON f.id = c.id
LEFT JOIN (
  SELECT u.credential_id, array_agg(DISTINCT u.client_id) AS clients, array_agg(DISTINCT u.server_id) AS servers,
    array_agg(DISTINCT k.name::text) AS client_names, array_agg(DISTINCT s.name::text) AS server_names,
    array_agg(DISTINCT s.authentication::text) AS authentication, bool_and(u.is_disabled) AS is_disabled,
    jsonb_object_agg(s.name, coalesce(t.digest, '')) AS tools,
    jsonb_object_agg(s.id, coalesce(t.digest, '')) AS tool_keys,
    array_agg(jsonb_build_object('person', coalesce(nullif(c.subject, ''), o.name, ''), 'client', k.name,
      'server', s.name, 'credential', c.name, 'scopes', c.scopes) ORDER BY k.name, s.name) AS paths
  FROM inventory_use u JOIN inventory_credential c ON c.id = u.credential_id
  JOIN inventory_mcpclient k ON k.id = u.client_id JOIN inventory_mcpserver s ON s.id = u.server_id
  LEFT JOIN inventory_owner o ON o.id = k.owner_id
  {_TOOLS.format(servers=_SERVED.format(key="credential_id"))} ON t.server_id = s.id
  WHERE u.gone_at IS NULL AND u.credential_id {{within}} GROUP BY u.credential_id) u ON u.credential_id = c.id
WHERE c.id {{within}}""",
    Reviewed.CLIENT: f"""
SELECT '{Reviewed.CLIENT}', k.id, k.connection_id, k.name, k.owner_id, array_remove(ARRAY[k.owner_id], NULL),
  NULL::uuid, p.environment_id, coalesce(e.criticality, 1), k.registration, '', coalesce(k.issued_at, k.first_seen_at),
  k.last_used_at, 0, coalesce(f.number, 0), coalesce(cardinality(u.servers), 0), k.risk, 0,
  jsonb_build_object('owner', o.name, 'environment', e.name, 'connection', p.name, 'registration', k.registration,
    'admission', k.admission, 'grant_types', k.grant_types, 'redirect_uris', k.redirect_uris, 'scopes', k.scopes,
    'client_id', k.client_id, 'software_id', k.software_id, 'hygiene', k.hygiene, 'hygiene_reason', k.hygiene_reason,
    'known_since', coalesce(k.issued_at, k.first_seen_at), 'last_used_at', k.last_used_at,
    'expires_at', k.secret_expires_at, 'findings', coalesce(f.found, '[]'),
    'servers', coalesce(u.server_names[1:{NAMED}], '{{{{}}}}'), 'servers_in_all', coalesce(cardinality(u.servers), 0),
    'tools', coalesce(u.tools, '{{{{}}}}')),
  coalesce(to_jsonb(u.paths[1:{PATHS}]), '[]'),
  jsonb_build_object('owner', k.owner_id, 'environment', p.environment_id, 'registration', k.registration,
    'grant_types', k.grant_types, 'redirect_uris', k.redirect_uris, 'scopes', k.scopes,
    'tools', coalesce(u.tool_keys, '{{{{}}}}')),
  {_flags(
        never_used="k.last_used_at IS NULL AND coalesce(k.issued_at, k.first_seen_at) < %(idle_since)s"
        " AND u.client_id IS NULL",
        idle="k.last_used_at < %(idle_since)s",
        suspended_client="k.admission = 'suspended'",
        dead="k.hygiene = 'dead'",
        duplicate="k.hygiene = 'duplicate'",
        **_OWNER_SIGNALS,
        use_unknown="k.last_used_at IS NULL AND (coalesce(k.issued_at, k.first_seen_at) >= %(idle_since)s"
        " OR u.client_id IS NOT NULL)",
        severe="k.risk = 4",
    )}
FROM inventory_mcpclient k
JOIN inventory_connection p ON p.id = k.connection_id
LEFT JOIN inventory_owner o ON o.id = k.owner_id
LEFT JOIN inventory_environment e ON e.id = p.environment_id
{_findings("client")} ON f.id = k.id
LEFT JOIN (
  SELECT u.client_id, array_agg(DISTINCT u.server_id) AS servers, array_agg(DISTINCT s.name::text) AS server_names,
    jsonb_object_agg(s.name, coalesce(t.digest, '')) AS tools,
    jsonb_object_agg(s.id, coalesce(t.digest, '')) AS tool_keys,
    array_agg(jsonb_build_object('person', coalesce(nullif(c.subject, ''), o.name, ''), 'client', k.name,
      'server', s.name, 'credential', coalesce(c.name, ''), 'scopes', coalesce(c.scopes, '{{{{}}}}'))
      ORDER BY s.name) AS paths
  FROM inventory_use u JOIN inventory_mcpclient k ON k.id = u.client_id JOIN inventory_mcpserver s ON s.id = u.server_id
  LEFT JOIN inventory_credential c ON c.id = u.credential_id LEFT JOIN inventory_owner o ON o.id = k.owner_id
  {_TOOLS.format(servers=_SERVED.format(key="client_id"))} ON t.server_id = s.id
  WHERE u.gone_at IS NULL AND u.client_id {{within}} GROUP BY u.client_id) u ON u.client_id = k.id
WHERE k.id {{within}}""",
    # Whoever answers for the server says who may use it; whoever answers for the client gains by it.
    Reviewed.GRANT: f"""
SELECT '{Reviewed.GRANT}', g.id, s.connection_id, k.name || ' on ' || s.name,
  coalesce(s.application_owner_id, s.iam_owner_id, s.platform_owner_id), array_remove(ARRAY[k.owner_id], NULL),
  NULL::uuid, s.environment_id, coalesce(e.criticality, 1), CASE WHEN g.approved_at IS NULL THEN 'draft'
    WHEN g.ends_at <= %(now)s THEN 'ended' ELSE 'approved' END, '', coalesce(g.approved_at, g.drafted_at),
  NULL::timestamptz, 0, coalesce(f.number, 0), 2, greatest(k.risk, s.risk), 0,
  jsonb_build_object('client', k.name, 'server', s.name, 'owner', o.name, 'environment', e.name, 'connection', p.name,
    'scopes', g.scopes, 'resources', g.resources, 'tools', coalesce(t.tools, '{{{{}}}}'), 'granted', g.tools,
    'authentication', s.authentication, 'until', g.ends_at, 'approved_by', g.approved_by,
    'known_since', coalesce(g.approved_at, g.drafted_at), 'is_used', u.is_used, 'findings', coalesce(f.found, '[]')),
  jsonb_build_array(jsonb_build_object('person', coalesce(b.name, ''), 'client', k.name, 'server', s.name,
    'credential', '', 'scopes', g.scopes)),
  jsonb_build_object('owner', o.id, 'environment', s.environment_id, 'scopes', g.scopes, 'resources', g.resources,
    'tools', coalesce(t.tools, '{{{{}}}}'), 'granted', g.tools, 'authentication', s.authentication),
  {_flags(
        unused_grant="NOT u.is_used",
        suspended_client="k.admission = 'suspended'",
        grant_ended="g.approved_at IS NULL OR g.ends_at <= %(now)s",
        grant_exceeds="s.tools_listed_at IS NOT NULL AND cardinality(g.tools) > coalesce(t.number, 0)",
        severe="greatest(k.risk, s.risk) = 4",
    )}
FROM inventory_grant g
JOIN inventory_mcpclient k ON k.id = g.client_id
JOIN inventory_mcpserver s ON s.id = g.server_id
JOIN inventory_connection p ON p.id = s.connection_id
LEFT JOIN inventory_owner o ON o.id = coalesce(s.application_owner_id, s.iam_owner_id, s.platform_owner_id)
LEFT JOIN inventory_owner b ON b.id = k.owner_id
LEFT JOIN inventory_environment e ON e.id = s.environment_id
LEFT JOIN LATERAL (SELECT count(*) AS number, jsonb_object_agg(t.name, t.schema_digest) AS tools FROM inventory_tool t
  WHERE t.server_id = g.server_id AND t.gone_at IS NULL AND t.name = ANY (g.tools)) t ON true
LEFT JOIN LATERAL (SELECT count(*) AS number,
    jsonb_agg(jsonb_build_object('rule', f.rule, 'severity', f.severity) ORDER BY f.severity DESC, f.rule) AS found
  FROM lifecycle_finding f WHERE f.resolved_at IS NULL AND f.server_id = g.server_id) f ON true
CROSS JOIN LATERAL (SELECT EXISTS (SELECT 1 FROM inventory_use u WHERE u.client_id = g.client_id
  AND u.server_id = g.server_id AND u.gone_at IS NULL) AS is_used) u
WHERE g.id {{within}}""",
    Reviewed.SERVER: f"""
SELECT '{Reviewed.SERVER}', s.id, s.connection_id, s.name,
  coalesce(s.iam_owner_id, s.platform_owner_id, s.application_owner_id),
  ARRAY(SELECT DISTINCT one FROM unnest(ARRAY[s.iam_owner_id, s.platform_owner_id, s.application_owner_id]) one
    WHERE one IS NOT NULL), NULL::uuid, s.environment_id, coalesce(e.criticality, 1), s.role, '', s.first_seen_at,
  NULL::timestamptz, 0, coalesce(f.number, 0), coalesce(u.clients, 0), s.risk, 0,
  jsonb_build_object('owners', jsonb_build_object('iam_owner', i.name, 'platform_owner', l.name,
      'application_owner', a.name), 'environment', e.name, 'connection', p.name, 'role', s.role, 'vendor', s.vendor,
    'authentication', s.authentication, 'tools', coalesce(t.digest, ''), 'transport', s.transport, 'url', s.url,
    'known_since', s.first_seen_at, 'consumers_in_all', coalesce(u.clients, 0), 'findings', coalesce(f.found, '[]')),
  '[]'::jsonb,
  jsonb_build_object('owners', jsonb_build_array(s.iam_owner_id, s.platform_owner_id, s.application_owner_id),
    'environment', s.environment_id, 'role', s.role, 'authentication', s.authentication,
    'tools', coalesce(t.digest, '')),
  {_flags(
        owner_left="NOT i.is_active OR NOT l.is_active OR NOT a.is_active",
        no_owner="i.id IS NULL OR l.id IS NULL OR a.id IS NULL",
        severe="s.risk = 4",
    )}
FROM inventory_mcpserver s
JOIN inventory_connection p ON p.id = s.connection_id
LEFT JOIN inventory_owner i ON i.id = s.iam_owner_id
LEFT JOIN inventory_owner l ON l.id = s.platform_owner_id
LEFT JOIN inventory_owner a ON a.id = s.application_owner_id
LEFT JOIN inventory_environment e ON e.id = s.environment_id
{_findings("server")} ON f.id = s.id
{_TOOLS.format(servers="{within}")} ON t.server_id = s.id
LEFT JOIN (SELECT u.server_id, count(DISTINCT u.client_id) AS clients FROM inventory_use u
  WHERE u.gone_at IS NULL AND u.server_id {{within}} GROUP BY u.server_id) u ON u.server_id = s.id
WHERE s.id {{within}}""",
}  # fmt: skip


def facts_of(kind: str, within: str) -> str:
    """The SELECT of what is known of things of one kind; `within` is a condition on a column that stands before it."""
    return f"SELECT * FROM ({_FACTS[Reviewed(kind)].format(within=within)}) n ({_FACT})"


def digest(bound: str) -> str:
    return f"encode(sha256(convert_to(({bound})::text, 'UTF8')), 'hex')"


def difference(before: str, after: str, names: Iterable[str]) -> str:
    """What differs between two objects in the database, as `{name: [before, after]}`."""
    listed = ", ".join(f"'{name}'" for name in names)
    was, now = f"{before} -> fact.name", f"{after} -> fact.name"
    return f"""coalesce((SELECT jsonb_object_agg(fact.name, jsonb_build_array({was}, {now}))
      FROM unnest(ARRAY[{listed}]) AS fact (name) WHERE {was} IS DISTINCT FROM {now}), '{{}}')"""


@dataclass(frozen=True, slots=True)
class Present:
    """What one thing is bound to at this moment."""

    digest: str
    facts: Mapping[str, Any]
    owners: frozenset[UUID]


def at_present(kind: str, ids: Collection[UUID], *, now: datetime) -> dict[UUID, Present]:
    """By id, what each of a few things is bound to now."""
    with database.cursor() as cursor:
        cursor.execute(
            f"SELECT n.id, {digest('n.bound')}, n.facts, n.interested FROM ({facts_of(kind, '= ANY (%(ids)s)')}) n",
            {"ids": list(ids), "now": now, "idle_since": now - IDLE},
        )
        rows = cursor.fetchall()
    return {key: Present(said, _loaded(known), frozenset(owners)) for key, said, known, owners in rows}


def _loaded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
