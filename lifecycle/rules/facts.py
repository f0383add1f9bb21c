"""The facts that rules judge: one flat row per live subject, as SQL. Every evaluation gathers them once.

`scope` limits them to the ids in the parameter of that name; aggregates are limited inside, where it saves the work.
"""

from inventory.states import ENDED
from lifecycle.rules.declaration import Subject

_LIVE = "c.gone_at IS NULL AND c.status NOT IN ({})".format(", ".join(f"'{status.value}'" for status in ENDED))

_CREDENTIALS = f"""
WITH binding AS (
  -- Few combinations, so policies are tried once for each of them and not once for each credential.
  SELECT DISTINCT ON (s.kind, s.trust_model, s.environment_id) s.kind, s.trust_model, s.environment_id,
         p.id AS policy_id, p.name AS policy, p.max_age, p.max_idle, p.max_lifetime,
         coalesce(p.requires_expiry, false) AS requires_expiry
  FROM (SELECT DISTINCT c.kind, c.trust_model, c.environment_id
        FROM inventory_credential c WHERE {_LIVE} {{credential}}) s
  LEFT JOIN lifecycle_policy p
    ON (cardinality(p.kinds) = 0 OR s.kind = ANY (p.kinds))
   AND p.trust_model IN ('', s.trust_model)
   AND (p.environment_id IS NULL OR p.environment_id = s.environment_id)
  ORDER BY s.kind, s.trust_model, s.environment_id, p.priority, p.id
),
used AS (
  SELECT u.credential_id, count(*) AS uses, count(*) FILTER (WHERE NOT u.is_disabled) AS enabled_uses,
         count(*) FILTER (WHERE e.id IS NULL) AS unplaced_uses, max(e.criticality) AS criticality,
         array_agg(u.client_id) AS clients, array_agg(u.server_id) AS servers,
         array_agg(e.name) FILTER (WHERE e.id IS NOT NULL) AS environments
  FROM inventory_use u
  JOIN inventory_mcpserver s ON s.id = u.server_id
  LEFT JOIN inventory_environment e ON e.id = coalesce(u.environment_id, s.environment_id)
  WHERE u.gone_at IS NULL AND u.credential_id IS NOT NULL {{use}}
  GROUP BY u.credential_id
),
exposed AS (
  SELECT x.credential_id, count(*) AS exposures, bool_or(x.is_readable_by_others) AS readable_by_others,
         min(x.file COLLATE "C") AS exposed_file
  FROM inventory_exposure x WHERE x.gone_at IS NULL {{exposure}}
  GROUP BY x.credential_id
)
SELECT c.id, c.storage, c.status, c.owner_id, w.is_active AS owner_is_active,
       CASE WHEN NOT w.is_active THEN w.name END AS owner_name,
       c.issued_at, c.known_since, c.last_used_at, c.expires_at,
       b.policy_id, b.policy, b.max_age, b.max_idle, b.max_lifetime, b.requires_expiry,
       c.known_since + b.max_age AS rotate_by, c.last_used_at + b.max_idle AS stale_at,
       greatest(e.criticality, u.criticality) AS criticality,
       coalesce(x.exposures, 0) AS exposures, coalesce(x.readable_by_others, false) AS readable_by_others,
       x.exposed_file,
       coalesce(u.uses, 0) AS uses, u.enabled_uses, u.unplaced_uses,
       CASE WHEN u.uses > 1 THEN (SELECT count(DISTINCT one) FROM unnest(u.clients) one) ELSE u.uses END AS clients,
       CASE WHEN u.uses > 1 THEN (SELECT count(DISTINCT one) FROM unnest(u.servers) one) ELSE u.uses END AS servers,
       CASE WHEN u.uses > 1 THEN (SELECT count(DISTINCT one) FROM unnest(u.environments) one)
            ELSE u.uses - u.unplaced_uses END AS environments,
       CASE WHEN u.uses > 1 THEN (SELECT array_agg(DISTINCT one ORDER BY one) FROM unnest(u.environments) one)
            END AS environment_names
FROM inventory_credential c
JOIN binding b ON b.kind = c.kind AND b.trust_model = c.trust_model
              AND b.environment_id IS NOT DISTINCT FROM c.environment_id
LEFT JOIN inventory_owner w ON w.id = c.owner_id
LEFT JOIN inventory_environment e ON e.id = c.environment_id
LEFT JOIN used u ON u.credential_id = c.id
LEFT JOIN exposed x ON x.credential_id = c.id
WHERE {_LIVE} {{credential}}
ORDER BY c.id  -- rows that follow from these are then written in the order of their indexes
"""

_SERVERS = """
SELECT s.id, s.role, s.url, s.package, s.package_version, s.is_pinned, e.criticality,
       array_remove(ARRAY[CASE WHEN i.is_active IS NOT TRUE THEN 'IAM' END,
                          CASE WHEN p.is_active IS NOT TRUE THEN 'platform' END,
                          CASE WHEN a.is_active IS NOT TRUE THEN 'application' END], NULL) AS owners_missing
FROM inventory_mcpserver s
LEFT JOIN inventory_environment e ON e.id = s.environment_id
LEFT JOIN inventory_owner i ON i.id = s.iam_owner_id
LEFT JOIN inventory_owner p ON p.id = s.platform_owner_id
LEFT JOIN inventory_owner a ON a.id = s.application_owner_id
WHERE s.gone_at IS NULL {server}
"""

_COLUMNS = {"credential": "c.id", "use": "u.credential_id", "exposure": "x.credential_id", "server": "s.id"}


def facts(subject: Subject, *, within_scope: bool) -> str:
    """The SELECT of one subject's facts, of every live one or of those in the parameter `scope`."""
    limits = {name: f"AND {column} = ANY (%(scope)s)" if within_scope else "" for name, column in _COLUMNS.items()}
    return (_CREDENTIALS if subject is Subject.CREDENTIAL else _SERVERS).format(**limits)
