"""The rows behind the measures that no rule counts: `id, name, verdict` each, as SQL over one instant. Pure.

Their parameters are `now` and `since`, the beginning of the time that is looked back on.
"""

from inventory.states import ENDED, Part, QuestionState
from lifecycle.rules.facts import REFUSED_AT_ONCE, REFUSED_WITHIN
from lifecycle.states import COUNTED, OperationKind, OperationState, Proof, WaiverState
from reviews.states import ACCEPTED_WITHIN, APPROVED_AGAIN_WITHIN, QUICK, Ending, ItemState, Reviewed, Seat, What


def _ended(kind: OperationKind) -> str:
    return f"""
        SELECT o.id::text AS id, c.name,
               CASE WHEN o.state = '{OperationState.STALLED.value}' THEN 'violated'
                    WHEN o.proof = '{Proof.VERIFIED.value}' THEN 'met' ELSE 'unknown' END AS verdict
        FROM lifecycle_operation o JOIN inventory_credential c ON c.id = o.credential_id
        WHERE o.kind = '{kind.value}'
          AND (o.state = '{OperationState.STALLED.value}'
               OR o.state = '{OperationState.COMPLETED.value}' AND o.closed_at > %(since)s AND o.closed_at <= %(now)s)
    """


_NOT_ENDED = ", ".join(f"'{status.value}'" for status in ENDED)
_RISK = ", ".join(f"'{state.value}'" for state in COUNTED)
_DROPPED = ", ".join(
    f"'{state.value}'" for state in (OperationState.PROPOSED, OperationState.CANCELLED, OperationState.SUPERSEDED)
)
_SECONDS, _SECONDS_AT_ONCE = (int(length.total_seconds()) for length in (REFUSED_WITHIN, REFUSED_AT_ONCE))

_AGAIN_WITHIN = int(APPROVED_AGAIN_WITHIN.total_seconds())
_DECIDED = " OR ".join(
    f"a.kind = '{kind.value}' AND EXISTS (SELECT 1 FROM reviews_reviewitem i WHERE i.{kind.value}_id = a.subject_id"
    " AND i.decided_at > a.ended_at AND i.decided_at <= %(now)s)"
    for kind in Reviewed
)
_ACCEPTED_WITHIN = int(ACCEPTED_WITHIN.total_seconds())
_STOOD = "t.begun_at <= %(now)s AND (t.ended_at IS NULL OR t.ended_at > %(now)s)"
_THING = "coalesce(c.name, k.name, s.name)"
_OF_TENURES = f"""
        LEFT JOIN inventory_credential c ON t.part = '{Part.CREDENTIAL.value}' AND c.id = t.subject_id
        LEFT JOIN inventory_mcpclient k ON t.part = '{Part.CLIENT.value}' AND k.id = t.subject_id
        LEFT JOIN inventory_mcpserver s ON t.part NOT IN ('{Part.CREDENTIAL.value}', '{Part.CLIENT.value}')
          AND s.id = t.subject_id"""

ROWS: dict[str, str] = {
    "under-policy": f"""
        SELECT c.id::text AS id, c.name,
               CASE WHEN o.credential_id IS NULL THEN 'unknown'
                    WHEN o.policy_id IS NULL THEN 'violated' ELSE 'met' END AS verdict
        FROM inventory_credential c LEFT JOIN lifecycle_obligation o ON o.credential_id = c.id
        WHERE c.gone_at IS NULL AND c.status NOT IN ({_NOT_ENDED})
    """,
    "rotations-verified": _ended(OperationKind.ROTATION),
    "revocations-verified": _ended(OperationKind.REVOCATION),
    "revoked-in-time": f"""
        SELECT r.id::text AS id, r.name,
               CASE WHEN r.refused_at <= r.refused_by THEN 'met'
                    WHEN r.refused_at IS NULL AND r.proof = '{Proof.UNVERIFIABLE.value}' THEN 'unknown'
                    ELSE 'violated' END AS verdict
        FROM (
          SELECT o.id, c.name, o.refused_at, o.proof,
                 o.requested_at + CASE WHEN o.is_urgent THEN interval '{_SECONDS_AT_ONCE} s'
                                       ELSE interval '{_SECONDS} s' END AS refused_by
          FROM lifecycle_operation o JOIN inventory_credential c ON c.id = o.credential_id
          WHERE o.kind = '{OperationKind.REVOCATION.value}' AND o.state NOT IN ({_DROPPED})
            AND o.requested_at > %(since)s
        ) r
        WHERE r.refused_at IS NOT NULL OR r.refused_by <= %(now)s OR r.proof = '{Proof.UNVERIFIABLE.value}'
    """,
    "findings-in-time": f"""
        SELECT f.id::text AS id, f.rule AS name,
               CASE WHEN coalesce(f.resolved_at, %(now)s) <= f.due_at THEN 'met' ELSE 'violated' END AS verdict
        FROM lifecycle_finding f
        WHERE f.resolved_at IS NULL AND f.state IN ({_RISK}) OR f.resolved_at > %(since)s
    """,
    "waivers-in-force": f"""
        SELECT w.id::text AS id, f.rule AS name,
               CASE WHEN w.ends_at <= %(now)s OR f.severity > w.severity THEN 'violated' ELSE 'met' END AS verdict
        FROM lifecycle_waiver w JOIN lifecycle_finding f ON f.id = w.finding_id
        WHERE w.state = '{WaiverState.ACTIVE.value}'
    """,
    # Asked and not answered yet is neither: their time runs.
    "owners-accepted": f"""
        SELECT t.id::text AS id, {_THING} AS name,
               CASE WHEN t.accepted_at <= %(now)s THEN 'met'
                    WHEN t.owner_id IS NULL
                      OR q.state = '{QuestionState.QUARANTINED.value}' AND q.ended_at <= %(now)s THEN 'violated'
                    ELSE 'unknown' END AS verdict
        FROM inventory_tenure t LEFT JOIN inventory_ownershipquestion q ON q.id = t.question_id {_OF_TENURES}
        WHERE {_STOOD}
    """,
    "accepted-in-time": f"""
        SELECT t.id::text AS id, {_THING} AS name,
               CASE WHEN least(t.accepted_at, %(now)s) <= t.gap_since + interval '{_ACCEPTED_WITHIN} s'
                    THEN 'met' ELSE 'violated' END AS verdict
        FROM inventory_tenure t {_OF_TENURES}
        WHERE t.accepted_at > %(since)s AND t.accepted_at <= %(now)s
           OR {_STOOD} AND (t.accepted_at IS NULL OR t.accepted_at > %(now)s)
              AND t.gap_since <= %(now)s - interval '{_ACCEPTED_WITHIN} s'
    """,
    "policies-current": """
        SELECT p.id::text AS id, p.name,
               CASE WHEN max(v.changed_at) > %(now)s - interval '365 days' THEN 'met' ELSE 'violated' END AS verdict
        FROM lifecycle_policy p LEFT JOIN lifecycle_policyversion v ON v.policy_id = p.id
        WHERE p.retired_at IS NULL GROUP BY p.id, p.name
    """,
    "reviews-in-time": f"""
        SELECT i.id::text AS id, i.name,
               CASE WHEN i.decided_at <= i.due_at AND NOT i.by_clock THEN 'met' ELSE 'violated' END AS verdict
        FROM reviews_reviewitem i JOIN reviews_campaign c ON c.id = i.campaign_id
        WHERE c.launched_at IS NOT NULL AND i.decoy IS NULL AND i.state <> '{ItemState.CANCELLED.value}'
          AND i.ending <> '{Ending.GONE.value}' AND i.due_at > %(since)s AND i.due_at <= %(now)s
    """,
    "decisions-carried-out": f"""
        SELECT i.id::text AS id, i.name,
               CASE WHEN i.state = '{ItemState.CLOSED.value}' THEN 'met' ELSE 'violated' END AS verdict
        FROM reviews_reviewitem i
        WHERE i.decoy IS NULL
          AND i.what <> '' AND i.what <> '{What.KEEP.value}' AND i.state <> '{ItemState.CANCELLED.value}'
          AND i.decided_at > %(since)s AND i.decided_at <= %(now)s - interval '7 days'
    """,
    "decisions-read": f"""
        SELECT d.id::text AS id, i.name,
               CASE WHEN d.took IS NULL THEN 'unknown'
                    WHEN d.took < interval '{QUICK.total_seconds()} s' THEN 'violated' ELSE 'met' END AS verdict
        FROM reviews_decision d JOIN reviews_reviewitem i ON i.id = d.item_id
        WHERE i.decoy IS NULL AND d.withdrawn_at IS NULL AND d.seat <> '{Seat.CLOCK.value}'
          AND d.submitted_at > %(since)s AND d.submitted_at <= %(now)s
    """,
    "approvals-stand": f"""
        SELECT a.id::text AS id, a.name,
               CASE WHEN a.ended_at IS NULL OR a.ended_at > %(now)s THEN 'met'
                    WHEN EXISTS (SELECT 1 FROM reviews_approval n
                                 WHERE n.kind = a.kind AND n.subject_id = a.subject_id
                                   AND n.approved_at > a.ended_at AND n.approved_at <= %(now)s)
                         OR {_DECIDED} THEN 'met'
                    WHEN a.ended_at > %(now)s - interval '{_AGAIN_WITHIN} s' THEN 'unknown'
                    ELSE 'violated' END AS verdict
        FROM reviews_approval a
        LEFT JOIN inventory_credential c
          ON a.kind = '{Reviewed.CREDENTIAL.value}' AND c.id = a.subject_id AND c.gone_at IS NULL
        LEFT JOIN inventory_mcpclient k
          ON a.kind = '{Reviewed.CLIENT.value}' AND k.id = a.subject_id AND k.gone_at IS NULL
        LEFT JOIN inventory_grant g
          ON a.kind = '{Reviewed.GRANT.value}' AND g.id = a.subject_id AND g.withdrawn_at IS NULL
        LEFT JOIN inventory_mcpserver s
          ON a.kind = '{Reviewed.SERVER.value}' AND s.id = a.subject_id AND s.gone_at IS NULL
        WHERE a.approved_at <= %(now)s AND coalesce(c.id, k.id, g.id, s.id) IS NOT NULL
          AND (a.ended_at IS NULL OR a.ended_at > %(now)s OR a.is_lapsed AND a.ended_at > %(since)s)
    """,
    # The entry about a signature is not signed for its own sake: it would never end.
    "days-signed": """
        SELECT to_char(d.day AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS id,
               to_char(d.day AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS name,
               CASE WHEN EXISTS (SELECT 1 FROM audit_chainhead h
                                 WHERE h.seq >= l.seq AND h.signed_at < d.day + interval '2 days')
                    THEN 'met' ELSE 'violated' END AS verdict
        FROM generate_series(
          date_trunc('day', %(since)s::timestamptz, 'UTC'),
          date_trunc('day', %(now)s::timestamptz, 'UTC') - interval '1 day', interval '1 day') d (day)
        CROSS JOIN LATERAL (
          SELECT e.seq FROM audit_auditentry e
          WHERE e.at >= d.day AND e.at < d.day + interval '1 day' AND e.event <> 'chain_head.signed'
          ORDER BY e.at DESC LIMIT 1
        ) l
    """,
}
