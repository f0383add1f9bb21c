"""The facts that rules judge: one flat row per live subject, as SQL. Every evaluation gathers them once.

`scope` limits them to the ids in the parameter of that name; aggregates are limited inside, where it saves the work.
What is many to one subject (uses, checks, tools, grants) is aggregated in one pass each and joined then.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from inventory.states import (
    ENDED,
    Admission,
    CredentialKind,
    CredentialStatus,
    Registration,
    RunState,
    Severity,
    Storage,
    Transport,
    TrustModel,
    Verdict,
)
from lifecycle.rules.asked import Asked
from lifecycle.rules.declaration import Subject
from lifecycle.rules.jobs import LATE_BY, LATE_SHARE, LONG_MISSED_BEATS, LONG_SILENT
from lifecycle.rules.score import NEXT_SQL, SCORE_SQL
from lifecycle.states import OperationKind, OperationState, Proof, Raised, Step

# Times that no policy sets. Each date they imply is a column of the facts, and `evaluation` knows where it comes due.
REVIEW_WITHIN = timedelta(days=7)  # a client that registered itself
REVIEW_LONG_AGO = timedelta(days=30)
PROBE_WITHIN = timedelta(days=30)
DESTROY_WITHIN = timedelta(days=7)  # of suspending it: the usual time to see whether anybody misses it
REVOKE_WITHIN = timedelta(days=1)  # of its owner's leaving
REFUSED_WITHIN, REFUSED_AT_ONCE = timedelta(days=1), timedelta(hours=1)  # of asking for a revocation, an urgent one
DECIDED_WITHIN = timedelta(days=14)  # of proposing an operation
STEP_WITHIN = timedelta(days=1)  # of a step's beginning, beside what it waits for by plan
MOVED_WITHIN = timedelta(days=7)  # of an overlap's end, for consumers to move
MISSED_SYNCS, LONG_MISSED_SYNCS, LONG_UNSYNCED = 2, 10, timedelta(days=7)

# Verdicts that a rule of their own gives already: anonymous access; a client's disuse, a literal secret, a static key
# where consent is offered, one secret for two servers.
_JUDGED_ELSEWHERE = ("MCP-RS-01", "MCP-CL-10", "MCP-CL-11", "MCP-CL-12", "MCP-CL-13")
_LEAST = Severity.MEDIUM.value  # of the checks that a posture rule counts

_TOKENS = (CredentialKind.OAUTH_ACCESS_TOKEN, CredentialKind.OAUTH_REFRESH_TOKEN)
_TO_CLIENTS = (*_TOKENS, CredentialKind.OAUTH_CLIENT_SECRET, CredentialKind.REGISTRATION_TOKEN)
_SCOPED = (*_TOKENS, CredentialKind.PERSONAL_ACCESS_TOKEN)
# What is presented as it is, for ever: a client secret or a password is exchanged for something else.
_STATIC = (CredentialKind.API_KEY, CredentialKind.PERSONAL_ACCESS_TOKEN, CredentialKind.OTHER)
_REMOTE = (Transport.HTTP, Transport.SSE, Transport.WEBSOCKET)
# Scopes that mean everything, alone or of one resource, in the notations that providers use.
_BROAD = r"(^|[:./_-])(\*|all|full[-_]?access|superuser|root)$|^admin([:./]\*|[:._-]?(all|full))?$"
_SHOWN = 20  # scopes in one row's evidence
_LAST = "timestamptz '9999-12-31 23:59:59+00'"

_HOST = r"lower(substring(s.url FROM '^[A-Za-z]+://(?:[^/@]*@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?:[:/?#]|$)'))"
# Names and addresses that only mean something inside an organisation.
_INSIDE = (
    r"^(localhost|[^.:]+|.*\.(local|localhost|internal|intranet|lan|corp|home\.arpa|test)|127\.[0-9.]+|10\.[0-9.]+"
    r"|192\.168\.[0-9.]+|172\.(1[6-9]|2[0-9]|3[01])\.[0-9.]+|\[(::1|f[cd][0-9a-f]*:.*|fe80:.*)\])$"
)


def _listed(values: Iterable[str]) -> str:
    return "({})".format(", ".join(f"'{value}'" for value in values))


def _interval(length: timedelta) -> str:
    return f"interval '{int(length.total_seconds())} s'"


def _after(start: str, length: str) -> str:
    """A date so long after another, or the last there is: a provider may say 9999 of a key that is for ever, and a
    date beyond that could be written and by nothing of ours be read again."""
    return f"CASE WHEN {start} + {length} > {_LAST} THEN {_LAST} ELSE {start} + {length} END"


def _called(condition: str) -> str:
    """Every name by which a token may call an owner."""
    return f"""ARRAY(SELECT lower(o.email) FROM inventory_owner o WHERE {condition} AND o.email <> ''
                            UNION SELECT lower(o.external_id) FROM inventory_owner o
                            WHERE {condition} AND o.external_id <> '')"""


_COUNTED = f"p.severity >= {_LEAST} AND p.check_id NOT IN {_listed(_JUDGED_ELSEWHERE)}"
_VIOLATED = f"p.verdict = '{Verdict.VIOLATED.value}' AND {_COUNTED}"
# What the posture rules read of a subject's checks; `p` is one of them.
_CHECKS = f"""
         count(*) AS checks, count(*) FILTER (WHERE {_VIOLATED}) AS violated,
         max(p.severity) FILTER (WHERE {_VIOLATED}) AS worst,
         array_agg(p.check_id::text ORDER BY p.severity DESC, p.check_id) FILTER (WHERE {_VIOLATED})
           AS violated_checks,
         coalesce(array_agg(p.check_id::text) FILTER (WHERE p.verdict = '{Verdict.UNKNOWN.value}' AND {_COUNTED}),
                  ARRAY[]::text[]) AS unknown_checks"""
# Whether the host of a server `s` is this organisation's; null where nobody can tell.
_IS_OWN_HOST = f"""CASE WHEN h.host ~ '{_INSIDE}' OR EXISTS (
              SELECT 1 FROM unnest(%(own_domains)s::text[]) one
              WHERE h.host = one OR right(h.host, length(one) + 1) = '.' || one) THEN true
            WHEN cardinality(%(own_domains)s::text[]) > 0 AND h.host IS NOT NULL THEN false END"""
_IN_FORCE = "g.withdrawn_at IS NULL AND g.approved_at <= %(now)s AND g.ends_at > %(now)s"
_LIVE = "c.gone_at IS NULL AND c.status NOT IN ({})".format(", ".join(f"'{status.value}'" for status in ENDED))
# What ended in our books and was used all the same has not ended: the rules look at it like at anything else alive.
# Nor has what nobody could see refused, wherever it is no longer listed.
_JUDGED = f"""({_LIVE} OR c.gone_at IS NULL AND c.id IN (SELECT credential_id FROM revived)
       OR c.id IN (SELECT credential_id FROM unproven))"""
# Whether the version `v`, which was destroyed, is the value that its credential `c` has now.
_SAME_VALUE = """CASE WHEN v.fingerprint <> '' AND c.fingerprint <> '' THEN v.fingerprint = c.fingerprint
              ELSE v.external_id <> '' AND v.external_id = c.external_id END
         AND (c.issued_at IS NULL OR c.issued_at <= v.destroyed_at)"""
# Of an open operation `o`: by when the step that it is at should have ended.
LATE_AT = f"""CASE WHEN o.state = '{OperationState.PROPOSED.value}' THEN o.step_at + {_interval(DECIDED_WITHIN)}
            WHEN o.step = '{Step.OVERLAP.value}'
            THEN greatest(o.step_at + o.overlap, o.extended_until) + {_interval(MOVED_WITHIN)}
            WHEN o.step IN {_listed([Step.QUIET, Step.SETTLE])} THEN o.step_at + o.quiet + {_interval(STEP_WITHIN)}
            ELSE o.step_at + {_interval(STEP_WITHIN)} END"""
# Of the same: by when its secret should have been seen refused. Null where nobody decided that it is to be.
REFUSED_BY = f"""CASE WHEN o.kind = '{OperationKind.REVOCATION.value}' AND o.refused_at IS NULL
                 AND o.state <> '{OperationState.PROPOSED.value}'
            THEN o.requested_at + CASE WHEN o.is_urgent THEN {_interval(REFUSED_AT_ONCE)}
                                       ELSE {_interval(REFUSED_WITHIN)} END END"""
UNPROVEN = f"o.proof = '{Proof.UNVERIFIABLE.value}' AND o.verify_by IS NOT NULL"
_REMOVED = f"admission = '{Admission.REMOVED.value}'"

# The policies as rows of the statement, never as rows of the table: they may be changed meanwhile, or not be saved yet.
ASKED = """
  SELECT * FROM jsonb_to_recordset(%(policies)s::jsonb) AS p (
    position integer, id uuid, name text, kinds text[], trust_models text[], environments uuid[], providers text[],
    owners uuid[], tags text[], server_roles text[], max_age interval, max_idle interval, max_lifetime interval,
    overlap interval, review_interval interval, requires_owner boolean, requires_expiry boolean,
    requires_reference boolean, allowed_scopes text[], logging text[])
"""

_CREDENTIALS = f"""
WITH asked AS ({ASKED}),
hosts AS MATERIALIZED (
  -- Once for each server: there are a hundred times as many uses, and the patterns cost more than all else about one.
  SELECT s.id, s.transport, s.authorization_server_id, s.probed_at, s.environment_id, s.role,
         CASE WHEN s.vendor <> '' THEN true WHEN s.url = '' THEN false ELSE NOT {_IS_OWN_HOST} END AS is_third_party
  FROM inventory_mcpserver s CROSS JOIN LATERAL (SELECT {_HOST} AS host) h
  WHERE true {{used_on}}
),
used AS (
  SELECT u.credential_id, count(*) AS uses, count(*) FILTER (WHERE NOT u.is_disabled) AS enabled_uses,
         count(*) FILTER (WHERE e.id IS NULL) AS unplaced_uses, max(e.criticality) AS criticality,
         array_agg(u.client_id) AS clients, array_agg(u.server_id) AS servers,
         array_agg(e.name) FILTER (WHERE e.id IS NOT NULL) AS environments,
         count(*) FILTER (WHERE s.transport IN {_listed(_REMOTE)}) AS remote_uses,
         count(*) FILTER (WHERE s.transport IN {_listed(_REMOTE)} AND s.authorization_server_id IS NOT NULL)
           AS consent_uses,
         count(*) FILTER (WHERE s.transport IN {_listed(_REMOTE)} AND s.authorization_server_id IS NULL
                          AND s.probed_at IS NULL) AS unasked_uses,
         count(*) FILTER (WHERE u.held_as = '{Storage.REFERENCE.value}') AS referenced_uses,
         count(*) FILTER (WHERE u.client_id = ANY (ARRAY(SELECT id FROM inventory_mcpclient WHERE {_REMOVED})))
           AS removed_uses,
         count(*) FILTER (WHERE s.is_third_party) AS third_party_uses,
         count(*) FILTER (WHERE s.is_third_party IS NULL) AS unclear_uses{{roles}}
  FROM inventory_use u
  JOIN hosts s ON s.id = u.server_id
  LEFT JOIN inventory_environment e ON e.id = coalesce(u.environment_id, s.environment_id)
  WHERE u.gone_at IS NULL AND u.credential_id IS NOT NULL {{use}}
  GROUP BY u.credential_id
),
revoked AS (
  -- Versions are destroyed for good. When was the last, and when the one whose value the credential has?
  SELECT v.credential_id, max(v.destroyed_at) AS destroyed_at,
         max(v.destroyed_at) FILTER (WHERE {_SAME_VALUE}) AS same_destroyed_at,
         bool_or(c.last_used_at > v.destroyed_at AND {_SAME_VALUE}) AS is_used_since,
         max(v.destroyed_at) FILTER (WHERE v.revived_at IS NOT NULL) AS old_destroyed_at,
         max(v.external_id) FILTER (WHERE v.revived_at IS NOT NULL) AS old_external_id
  FROM inventory_credentialversion v
  JOIN inventory_credential c ON c.id = v.credential_id
  WHERE v.destroyed_at IS NOT NULL {{version}}
  GROUP BY v.credential_id
),
revived AS (
  SELECT r.credential_id FROM revoked r WHERE r.is_used_since OR r.old_destroyed_at IS NOT NULL
),
unproven AS (
  SELECT o.credential_id, min(o.verify_by) AS verify_by, min(o.requested_at) AS requested_at,
         bool_or(o.kind = '{OperationKind.REVOCATION.value}') AS is_revoked
  FROM lifecycle_operation o WHERE {UNPROVEN} {{operation}}
  GROUP BY o.credential_id
),
operating AS (
  SELECT o.credential_id, o.kind, o.state, o.step, o.step_at, o.requested_at, o.stalled_at, o.error,
         {LATE_AT} AS late_at, {REFUSED_BY} AS refused_by
  FROM lifecycle_operation o WHERE o.closed_at IS NULL {{operation}}
),
paused AS (
  SELECT v.credential_id, v.suspended_at FROM inventory_credentialversion v
  WHERE v.is_current AND v.suspended_at IS NOT NULL {{version}}
),
combined AS (
  -- Few combinations, so policies are tried once for each of them and not once for each credential: it is reduced to
  -- the values that some policy selects on.
  SELECT DISTINCT {{selected}} FROM inventory_credential c {{served_roles}} WHERE {_JUDGED} {{credential}}
),
binding AS (
  SELECT DISTINCT ON ({{keys}}) s.*, p.id AS policy_id, p.name AS policy, p.max_age, p.max_idle, p.max_lifetime,
         p.review_interval, coalesce(p.requires_owner, false) AS requires_owner,
         coalesce(p.requires_expiry, false) AS requires_expiry,
         coalesce(p.requires_reference, false) AS requires_reference,
         CASE WHEN cardinality(p.allowed_scopes) > 0 THEN p.allowed_scopes END AS allowed_scopes
  FROM combined s
  LEFT JOIN asked p ON {{fits}}
  ORDER BY {{keys}}, p.position
),
exposed AS (
  SELECT x.credential_id, count(*) AS exposures, bool_or(x.is_readable_by_others) AS readable_by_others,
         count(*) FILTER (WHERE x.is_readable_by_others IS NULL) AS unclear_exposures,
         min(x.file COLLATE "C") AS exposed_file
  FROM inventory_exposure x WHERE x.gone_at IS NULL {{exposure}}
  GROUP BY x.credential_id
),
allowed AS (
  -- Scopes by the grants in force for the places where it is used. Grants are few, so most uses are passed over.
  SELECT u.credential_id, array_agg(one) AS scopes
  FROM inventory_grant g
  JOIN inventory_use u ON u.client_id = g.client_id AND u.server_id = g.server_id
  CROSS JOIN unnest(g.scopes) one
  WHERE {_IN_FORCE} AND u.gone_at IS NULL AND u.credential_id IS NOT NULL {{use}}
  GROUP BY u.credential_id
),
sweeping AS (
  -- Carries all that a server offers, where that is more than one or two.
  SELECT DISTINCT u.credential_id
  FROM inventory_use u
  JOIN inventory_mcpserver s ON s.id = u.server_id AND cardinality(s.scopes) > 2
  JOIN inventory_credential c ON c.id = u.credential_id AND c.scopes @> s.scopes
  WHERE u.gone_at IS NULL {{use}}
)
SELECT c.id, c.storage, c.status, c.owner_id, w.is_active AS owner_is_active,
       CASE WHEN NOT w.is_active THEN w.name END AS owner_name,
       c.issued_at, c.known_since, c.last_used_at, c.expires_at,
       b.policy_id, b.policy, b.max_age, b.max_idle, b.max_lifetime, b.review_interval, b.requires_owner,
       b.requires_expiry, b.requires_reference, b.allowed_scopes,
       {_after("c.known_since", "b.max_age")} AS rotate_by, {_after("c.known_since", "2 * b.max_age")} AS twice_by,
       {_after("c.last_used_at", "b.max_idle")} AS stale_at,
       {_after("coalesce(c.reviewed_at, c.first_seen_at)", "b.review_interval")} AS review_by, c.reviewed_at,
       c.first_seen_at,
       greatest(e.criticality, u.criticality) AS criticality,
       coalesce(x.exposures, 0) AS exposures, coalesce(x.readable_by_others, false) AS readable_by_others,
       coalesce(x.unclear_exposures, 0) AS unclear_exposures, x.exposed_file,
       coalesce(u.uses, 0) AS uses, u.enabled_uses, u.unplaced_uses,
       CASE WHEN u.uses > 1 THEN (SELECT count(DISTINCT one) FROM unnest(u.clients) one) ELSE u.uses END AS clients,
       CASE WHEN u.uses > 1 THEN (SELECT count(DISTINCT one) FROM unnest(u.servers) one) ELSE u.uses END AS servers,
       CASE WHEN u.uses > 1 THEN (SELECT count(DISTINCT one) FROM unnest(u.environments) one)
            ELSE u.uses - u.unplaced_uses END AS environments,
       CASE WHEN u.uses > 1 THEN (SELECT array_agg(DISTINCT one ORDER BY one) FROM unnest(u.environments) one)
            END AS environment_names,
       c.kind IN {_listed(_STATIC)} AND c.trust_model <> '{TrustModel.USER_CONSENTED.value}' AS is_static,
       c.trust_model = '{TrustModel.USER_CONSENTED.value}' AS is_consented, c.subject <> '' AS has_subject,
       c.kind IN {_listed(_TOKENS)} AS is_token,
       c.kind IN {_listed(_SCOPED)} OR cardinality(c.scopes) > 0 AS is_scoped, cardinality(c.scopes) > 0 AS has_scopes,
       CASE WHEN cardinality(c.scopes) > 0
            THEN (SELECT (array_agg(one ORDER BY one))[1:{_SHOWN}] FROM unnest(c.scopes) one WHERE one ~* '{_BROAD}')
            END AS broad_scopes,
       g.credential_id IS NOT NULL AS is_sweeping,
       CASE WHEN cardinality(c.scopes) > 0 AND u.uses > 0 AND c.kind IN {_listed(_TOKENS)}
            THEN (SELECT (array_agg(one ORDER BY one))[1:{_SHOWN}] FROM unnest(c.scopes) one
                  WHERE a.scopes IS NULL OR one <> ALL (a.scopes))
            END AS ungranted_scopes,
       CASE WHEN b.allowed_scopes IS NOT NULL AND cardinality(c.scopes) > 0
            THEN (SELECT (array_agg(one ORDER BY one))[1:{_SHOWN}] FROM unnest(c.scopes) one
                  WHERE NOT EXISTS (SELECT 1 FROM unnest(b.allowed_scopes) few WHERE one = few
                                    OR right(few, 1) = '*' AND starts_with(one, left(few, -1))))
            END AS disallowed_scopes,
       c.reference <> '' AS has_reference, coalesce(u.referenced_uses, 0) AS referenced_uses,
       r.destroyed_at, r.same_destroyed_at, coalesce(r.is_used_since, false) AS is_used_since,
       r.old_destroyed_at, nullif(r.old_external_id, '') AS old_external_id,
       n.kind AS operation, n.state AS operation_state, n.step AS operation_step, n.step_at AS operation_step_at,
       n.requested_at AS operation_requested_at, n.stalled_at AS operation_stalled_at,
       nullif(n.error, '') AS operation_error, n.late_at AS operation_late_at, n.refused_by,
       m.verify_by, m.requested_at AS unproven_since, m.is_revoked AS is_unproven_revocation,
       CASE c.status WHEN '{CredentialStatus.SUSPENDED.value}' THEN y.suspended_at END AS suspended_at,
       CASE c.status WHEN '{CredentialStatus.SUSPENDED.value}' THEN y.suspended_at END
         + {_interval(DESTROY_WITHIN)} AS suspended_by,
       w.inactive_since AS owner_left_at, w.inactive_since + {_interval(REVOKE_WITHIN)} AS owner_gone_by,
       coalesce(u.removed_uses, 0) AS removed_uses,
       CASE WHEN c.kind IN {_listed(_TO_CLIENTS)} AND c.principal <> '' AND c.issuer <> ''
            THEN c.issuer || ' ' || c.principal = ANY (ARRAY(
              SELECT z.issuer || ' ' || k.client_id FROM inventory_mcpclient k
              JOIN inventory_authorizationserver z ON z.id = k.authorization_server_id
              WHERE k.{_REMOVED} AND k.client_id <> ''))
            ELSE false END AS is_of_removed_client,
       CASE WHEN c.trust_model = '{TrustModel.USER_CONSENTED.value}' AND c.subject <> '' THEN
              CASE WHEN lower(c.subject) = ANY ({_called("NOT o.is_active")}) THEN false
                   WHEN lower(c.subject) = ANY ({_called("o.is_active")}) THEN true END
            END AS subject_is_active,
       c.subject,
       coalesce(u.remote_uses, 0) AS remote_uses, coalesce(u.consent_uses, 0) AS consent_uses,
       coalesce(u.unasked_uses, 0) AS unasked_uses, coalesce(u.third_party_uses, 0) AS third_party_uses,
       coalesce(u.unclear_uses, 0) AS unclear_uses,
       c.environment_id IS NULL AND u.unplaced_uses > 0 AS is_partly_placed,
       CASE WHEN u.uses > 1 THEN (SELECT one FROM unnest(u.servers) one ORDER BY one LIMIT 1) ELSE u.servers[1] END
         AS at_server_id
FROM inventory_credential c
LEFT JOIN used u ON u.credential_id = c.id
JOIN binding b ON {{bound}}
LEFT JOIN inventory_owner w ON w.id = c.owner_id
LEFT JOIN inventory_environment e ON e.id = c.environment_id
LEFT JOIN exposed x ON x.credential_id = c.id
LEFT JOIN allowed a ON a.credential_id = c.id
LEFT JOIN sweeping g ON g.credential_id = c.id
LEFT JOIN revoked r ON r.credential_id = c.id
LEFT JOIN paused y ON y.credential_id = c.id
LEFT JOIN operating n ON n.credential_id = c.id
LEFT JOIN unproven m ON m.credential_id = c.id
WHERE {_JUDGED} {{credential}}
ORDER BY c.id  -- rows that follow from these are then written in the order of their indexes
"""

_SERVERS = f"""
WITH asked AS ({ASKED}),
taken AS (
  -- Whose authority the live credentials carry that a server takes, and which policy asks that it be logged.
  SELECT DISTINCT u.server_id, c.trust_model, o.policy_id
  FROM lifecycle_obligation o
  JOIN inventory_credential c ON c.id = o.credential_id
  JOIN inventory_use u ON u.credential_id = c.id
  WHERE o.policy_id = ANY (ARRAY(SELECT id FROM asked WHERE cardinality(logging) > 0)) AND u.gone_at IS NULL {{served}}
),
wanted AS (
  SELECT DISTINCT t.server_id, t.trust_model, unnest(p.logging) AS happening
  FROM taken t JOIN asked p ON p.id = t.policy_id
),
logged AS (
  SELECT w.server_id, count(*) AS happenings,
         array_agg(n.said ORDER BY n.said) FILTER (WHERE l.is_logged IS FALSE) AS unlogged,
         array_agg(n.said ORDER BY n.said) FILTER (WHERE l.id IS NULL) AS unrecorded
  FROM wanted w
  CROSS JOIN LATERAL (SELECT w.happening || ' (' || replace(w.trust_model, '_', ' ') || ')' AS said) n
  LEFT JOIN inventory_loggingrecord l
    ON l.server_id = w.server_id AND l.trust_model = w.trust_model AND l.happening = w.happening
  GROUP BY w.server_id
),
checked AS (
  -- Of servers and of the authorization servers before them in one pass: every check has one subject.
  SELECT coalesce(p.server_id, p.authorization_server_id) AS subject_id,{_CHECKS},
         max(p.verdict) FILTER (WHERE p.check_id = 'MCP-RS-01') AS anonymous,
         max(p.severity) FILTER (WHERE p.check_id = 'MCP-RS-01' AND p.verdict = '{Verdict.VIOLATED.value}')
           AS anonymous_severity
  FROM inventory_posturecheck p
  WHERE p.client_id IS NULL {{checked}}
  GROUP BY 1
),
offered AS (
  SELECT t.server_id, count(*) AS tools, array_agg(t.name::text) AS names,
         array_agg(t.name::text ORDER BY t.name) FILTER (WHERE t.is_destructive) AS destructive,
         array_agg(t.name::text) FILTER (WHERE t.is_destructive IS NULL AND t.is_read_only IS NOT TRUE) AS unmarked,
         count(*) FILTER (WHERE t.approved_digest <> '') AS approved_tools,
         count(*) FILTER (WHERE t.approved_digest NOT IN ('', t.schema_digest)) AS changed_tools,
         min(t.name) FILTER (WHERE t.approved_digest NOT IN ('', t.schema_digest)) AS changed_tool
  FROM inventory_tool t WHERE t.gone_at IS NULL {{tool}}
  GROUP BY t.server_id
),
granted AS (
  SELECT g.server_id, g.client_id, g.tools::text[] AS tools FROM inventory_grant g WHERE {_IN_FORCE} {{grant}}
),
reached AS (
  SELECT DISTINCT u.server_id, u.client_id
  FROM inventory_use u WHERE u.gone_at IS NULL AND NOT u.is_disabled {{served}}
),
surface AS (
  SELECT r.server_id, count(*) AS clients,
         count(*) FILTER (WHERE (g.tools @> o.names) IS NOT TRUE AND o.names IS NOT NULL) AS ungranted_clients,
         count(*) FILTER (WHERE (g.tools @> o.destructive) IS NOT TRUE AND o.destructive IS NOT NULL)
           AS destructive_clients,
         count(*) FILTER (WHERE (g.tools @> o.unmarked) IS NOT TRUE AND o.unmarked IS NOT NULL) AS unmarked_clients
  FROM reached r
  LEFT JOIN offered o ON o.server_id = r.server_id
  LEFT JOIN granted g ON g.server_id = r.server_id AND g.client_id = r.client_id
  GROUP BY r.server_id
),
sent AS (
  SELECT n.server_id, count(*) AS static_credentials
  FROM (SELECT DISTINCT u.server_id, c.id
        FROM inventory_use u
        JOIN inventory_mcpserver s ON s.id = u.server_id AND (s.vendor <> '' OR s.url <> '')
        JOIN inventory_credential c ON c.id = u.credential_id
        WHERE u.gone_at IS NULL AND {_LIVE} AND c.trust_model <> '{TrustModel.USER_CONSENTED.value}' {{served}}) n
  GROUP BY n.server_id
),
laid_open AS (
  SELECT DISTINCT u.server_id
  FROM inventory_exposure x
  JOIN inventory_credential c ON c.id = x.credential_id AND {_LIVE}
  JOIN inventory_use u ON u.credential_id = x.credential_id AND u.gone_at IS NULL {{served}}
  WHERE x.gone_at IS NULL
)
SELECT s.id, coalesce(s.iam_owner_id, s.platform_owner_id, s.application_owner_id) AS owner_id, s.id AS at_server_id,
       s.role, s.transport, s.url, s.package, s.package_version, s.is_pinned, s.vendor, e.criticality,
       array_remove(ARRAY[CASE WHEN i.is_active IS NOT TRUE THEN 'IAM' END,
                          CASE WHEN p.is_active IS NOT TRUE THEN 'platform' END,
                          CASE WHEN a.is_active IS NOT TRUE THEN 'application' END], NULL) AS owners_missing,
       s.first_seen_at, s.probed_at, s.probe_error,
       coalesce(s.probed_at, s.first_seen_at) + {_interval(PROBE_WITHIN)} AS probe_by,
       k.checks, k.violated, k.worst, k.violated_checks, k.unknown_checks, k.anonymous, k.anonymous_severity,
       z.issuer, y.checks AS issuer_checks, y.violated AS issuer_violated, y.worst AS issuer_worst,
       y.violated_checks AS issuer_violated_checks, y.unknown_checks AS issuer_unknown_checks,
       s.tools_listed_at, s.tools_error, coalesce(o.tools, 0) AS tools, cardinality(o.destructive) AS destructive_tools,
       o.destructive[1] AS destructive_tool, coalesce(o.approved_tools, 0) AS approved_tools, o.changed_tools,
       o.changed_tool, coalesce(f.clients, 0) AS clients, f.ungranted_clients, f.destructive_clients,
       f.unmarked_clients,
       h.host, coalesce(d.static_credentials, 0) AS static_credentials, x.server_id IS NOT NULL AS is_exposed,
       {_IS_OWN_HOST} AS is_own_host,
       coalesce(j.happenings, 0) AS happenings, j.unlogged, coalesce(cardinality(j.unrecorded), 0) AS unrecorded
FROM inventory_mcpserver s
CROSS JOIN LATERAL (SELECT {_HOST} AS host) h
LEFT JOIN inventory_environment e ON e.id = s.environment_id
LEFT JOIN inventory_owner i ON i.id = s.iam_owner_id
LEFT JOIN inventory_owner p ON p.id = s.platform_owner_id
LEFT JOIN inventory_owner a ON a.id = s.application_owner_id
LEFT JOIN inventory_authorizationserver z ON z.id = s.authorization_server_id
LEFT JOIN checked k ON k.subject_id = s.id
LEFT JOIN checked y ON y.subject_id = s.authorization_server_id
LEFT JOIN offered o ON o.server_id = s.id
LEFT JOIN surface f ON f.server_id = s.id
LEFT JOIN sent d ON d.server_id = s.id
LEFT JOIN laid_open x ON x.server_id = s.id
LEFT JOIN logged j ON j.server_id = s.id
WHERE s.gone_at IS NULL {{server}}
"""

_CLIENTS = f"""
WITH checked AS (
  SELECT p.client_id,{_CHECKS}
  FROM inventory_posturecheck p WHERE p.client_id IS NOT NULL {{client_checked}}
  GROUP BY p.client_id
),
used AS (
  -- Programs that only a configuration file names are left out: no rule looks at where they are used.
  SELECT u.client_id, max(e.criticality) AS criticality
  FROM inventory_use u
  JOIN inventory_mcpclient k ON k.id = u.client_id AND k.registration <> '{Registration.CONFIG_FILE.value}'
  JOIN inventory_mcpserver s ON s.id = u.server_id
  JOIN inventory_environment e ON e.id = coalesce(u.environment_id, s.environment_id)
  WHERE u.gone_at IS NULL {{client_use}}
  GROUP BY u.client_id
)
SELECT k.id, k.owner_id, NULL::uuid AS at_server_id, k.registration, k.admission,
       k.hygiene, nullif(k.hygiene_reason, '') AS hygiene_reason, k.last_used_at,
       w.is_active AS owner_is_active, CASE WHEN NOT w.is_active THEN w.name END AS owner_name,
       q.quarantined_at, q.quarantined_at + {_interval(REVIEW_WITHIN)} AS review_by,
       q.quarantined_at + {_interval(REVIEW_LONG_AGO)} AS long_unreviewed_at,
       greatest(e.criticality, u.criticality) AS criticality,
       p.checks, p.violated, p.worst, p.violated_checks, p.unknown_checks,
       m.stage AS removal_stage, m.stage_at AS removal_stage_at, nullif(m.error, '') AS removal_error
FROM inventory_mcpclient k
CROSS JOIN LATERAL (SELECT coalesce(k.admission_changed_at, k.first_seen_at) AS quarantined_at) q
JOIN inventory_connection c ON c.id = k.connection_id
LEFT JOIN inventory_environment e ON e.id = c.environment_id
LEFT JOIN inventory_owner w ON w.id = k.owner_id
LEFT JOIN used u ON u.client_id = k.id
LEFT JOIN checked p ON p.client_id = k.id
LEFT JOIN inventory_clientremoval m ON m.client_id = k.id AND m.ended_at IS NULL
WHERE k.gone_at IS NULL AND k.admission <> '{Admission.REMOVED.value}' {{client}}
"""

_CONNECTIONS = f"""
SELECT c.id, NULL::uuid AS owner_id, NULL::uuid AS at_server_id, c.is_enabled, c.interval,
       c.last_complete_at, c.created_at, e.criticality,
       q.since + {MISSED_SYNCS} * c.interval AS overdue_at,
       q.since + greatest({LONG_MISSED_SYNCS} * c.interval, {_interval(LONG_UNSYNCED)}) AS long_overdue_at,
       r.states[1] AS last_state, r.problems[1] AS problems,
       coalesce(cardinality(array_positions(r.states, '{RunState.FAILED.value}')), 0) AS failures
FROM inventory_connection c
CROSS JOIN LATERAL (SELECT coalesce(c.last_complete_at, c.created_at) AS since) q
LEFT JOIN inventory_environment e ON e.id = c.environment_id
CROSS JOIN LATERAL (
  SELECT array_agg(l.state::text ORDER BY l.id DESC) AS states,
         array_agg(jsonb_array_length(l.problems) ORDER BY l.id DESC) AS problems
  FROM (SELECT n.id, n.state, n.problems FROM inventory_syncrun n
        WHERE n.connection_id = c.id AND n.finished_at IS NOT NULL ORDER BY n.id DESC LIMIT 3) l
) r
WHERE true {{connection}}
"""

_JOBS = f"""
SELECT j.id, NULL::uuid AS owner_id, NULL::uuid AS at_server_id, j.name, j.cadence, j.declared_at, j.ended_at,
       j.failures, nullif(j.error, '') AS error,
       q.since + {LATE_SHARE} * j.cadence + {_interval(LATE_BY)} AS missed_at,
       q.since + greatest({LONG_MISSED_BEATS} * j.cadence, {_interval(LONG_SILENT)}) AS long_missed_at
FROM lifecycle_scheduledjob j
CROSS JOIN LATERAL (SELECT greatest(j.ended_at, j.declared_at) AS since) q
WHERE j.retired_at IS NULL {{job}}
"""

_FACTS = {
    Subject.CREDENTIAL: f"SELECT v.*, {SCORE_SQL} AS score, {NEXT_SQL} AS rescored_at FROM ({_CREDENTIALS}) v",
    Subject.SERVER: _SERVERS,
    Subject.CLIENT: _CLIENTS,
    Subject.CONNECTION: _CONNECTIONS,
    Subject.JOB: _JOBS,
}
# When a context of `lifecycle.states.CONTEXTS` holds; one that is not named never does. `context` has a bit for each.
_CONTEXTS = {
    Subject.CREDENTIAL: {
        Raised.PRODUCTION: "v.criticality >= 3",
        Raised.THIRD_PARTY: "v.third_party_uses > 0",
        Raised.EXPOSED: "v.exposures > 0",
        Raised.PRIVILEGED: "v.broad_scopes IS NOT NULL OR v.is_sweeping",
    },
    Subject.SERVER: {
        Raised.PRODUCTION: "v.criticality >= 3",
        Raised.THIRD_PARTY: "v.vendor <> '' OR v.is_own_host IS FALSE",
        Raised.EXPOSED: "v.is_exposed",
    },
    Subject.CLIENT: {Raised.PRODUCTION: "v.criticality >= 3"},
    Subject.CONNECTION: {Raised.PRODUCTION: "v.criticality >= 3"},
    Subject.JOB: {},
}
REASONS = {reason: 1 << place for place, reason in enumerate(Raised)}
_WITHIN = {
    "credential": "c.id",
    "use": "u.credential_id",
    "exposure": "x.credential_id",
    "version": "v.credential_id",
    "operation": "o.credential_id",
    "server": "s.id",
    "served": "u.server_id",
    "tool": "t.server_id",
    "grant": "g.server_id",
    "client": "k.id",
    "client_use": "u.client_id",
    "client_checked": "p.client_id",
    "connection": "c.id",
    "job": "j.id",
}
_CHECKED = """AND (p.server_id = ANY (%(scope)s) OR p.authorization_server_id IN (
      SELECT s.authorization_server_id FROM inventory_mcpserver s WHERE s.id = ANY (%(scope)s)))"""

_USED_ON = "AND s.id IN (SELECT u.server_id FROM inventory_use u WHERE u.credential_id = ANY (%(scope)s))"


@dataclass(frozen=True, slots=True)
class _Selector:
    """How a credential is reduced to what policies select on: an expression that is never null, and what fits it."""

    name: str
    key: str
    fits: str
    is_always_read: bool = False  # so cheap that it is part of every combination


_NOWHERE = "'00000000-0000-0000-0000-000000000000'::uuid"
_ANY_PROVIDER = "ARRAY(SELECT lower(one) FROM unnest(%(selected_providers)s::text[]) one)"
_SELECTORS = (
    _Selector("kinds", "c.kind::text", "s.kinds = ANY (p.kinds)", is_always_read=True),
    _Selector("trust_models", "c.trust_model::text", "s.trust_models = ANY (p.trust_models)", is_always_read=True),
    _Selector(
        "environments",
        f"CASE WHEN c.environment_id = ANY (%(selected_environments)s::uuid[])"
        f" THEN c.environment_id ELSE {_NOWHERE} END",
        "s.environments = ANY (p.environments)",
    ),
    _Selector(
        "providers",
        f"CASE WHEN lower(c.issuer) = ANY ({_ANY_PROVIDER}) THEN lower(c.issuer) ELSE '' END",
        "s.providers = ANY (SELECT lower(one) FROM unnest(p.providers) one)",
    ),
    _Selector(
        "owners",
        f"CASE WHEN c.owner_id = ANY (%(selected_owners)s::uuid[]) THEN c.owner_id ELSE {_NOWHERE} END",
        "s.owners = ANY (p.owners)",
    ),
    _Selector(
        "tags",
        """CASE WHEN c.tags && %(selected_tags)s::varchar[]
                THEN ARRAY(SELECT one::text FROM unnest(c.tags) one WHERE one = ANY (%(selected_tags)s::text[])
                           GROUP BY one ORDER BY one)
                ELSE ARRAY[]::text[] END""",
        "s.tags && p.tags",
    ),
    _Selector("server_roles", "coalesce(u.roles, ARRAY[]::text[])", "s.server_roles && p.server_roles"),
)
_ROLES = """,
         array_agg(DISTINCT s.role::text ORDER BY s.role::text)
           FILTER (WHERE s.role = ANY (%(selected_server_roles)s::text[])) AS roles"""


def facts(subject: Subject, asked: Asked, *, within_scope: bool, listed_in: str = "") -> str:
    """The SELECT of one subject's facts, of every live one or of those in the parameter `scope`, or of those whose `id`
    the table `listed_in` has: many are joined and not compared.

    Its other parameters are those of `parameters` for the same `asked`, and `now`.
    """
    scope = f"IN (SELECT listed.id FROM {listed_in} listed)" if listed_in else "= ANY (%(scope)s)"
    is_limited = within_scope or bool(listed_in)
    limits = {name: f"AND {column} {scope}" if is_limited else "" for name, column in _WITHIN.items()}
    limits["checked"] = _CHECKED if within_scope else ""
    limits["used_on"] = _USED_ON if within_scope else ""
    if subject is Subject.CREDENTIAL:
        limits |= _binding(asked)
    holding = _CONTEXTS[subject].items()
    context = " + ".join(f"CASE WHEN {holds} THEN {REASONS[reason]} ELSE 0 END" for reason, holds in holding)
    return f"SELECT v.*, ({context or 0})::smallint AS context FROM ({_FACTS[subject].format(**limits)}) v"


def parameters(asked: Asked) -> dict[str, Any]:
    """What the facts under `asked` are gathered with."""
    return {
        "policies": Jsonb(asked.as_rows()),
        "own_domains": list(asked.own_domains),
        **{f"selected_{selector.name}": asked.named(selector.name) for selector in _SELECTORS},
    }


def _binding(asked: Asked) -> dict[str, str]:
    """The parts of the credentials' statement that join what binds them."""
    read = [selector for selector in _SELECTORS if selector.is_always_read or asked.named(selector.name)]
    reads_roles = any(selector.name == "server_roles" for selector in read)
    return {
        "selected": ", ".join(f"{selector.key} AS {selector.name}" for selector in read),
        "keys": ", ".join(f"s.{selector.name}" for selector in read),
        "fits": " AND ".join(f"(cardinality(p.{selector.name}) = 0 OR {selector.fits})" for selector in read),
        "bound": " AND ".join(f"b.{selector.name} = {selector.key}" for selector in read),
        "served_roles": "LEFT JOIN used u ON u.credential_id = c.id" if reads_roles else "",
        "roles": _ROLES if reads_roles else "",
    }
