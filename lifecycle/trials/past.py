"""What a policy's limits would have opened in the recorded past.

The past is made of what Keyreeve recorded: the versions of a credential with their dates and ends, its own dates, and
the evidence of resolved findings, which holds dates that newer ones have replaced since. A finding is a stretch of time
in which a rule was violated as far as that tells; two stretches that overlap are one. What the past does not tell is
counted as unknown, by reason. Two things are taken as they are today because no history is kept of them: which
credentials the policy binds, and who owns them.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from audit.events import Event
from inventory.states import CredentialStatus, Storage
from lifecycle.errors import PeriodRefused
from lifecycle.models import Policy
from lifecycle.rules import RULES
from lifecycle.rules.wording import exact_length
from lifecycle.trials.rehearsal import as_plain, key, rehearsal
from web.wording import plural, thousands

LONGEST_PERIOD = timedelta(days=3 * 366)
WEEK = timedelta(days=7)
MOST_OWNERS = 10
MOST_EXAMPLES = 10
NOBODY = "Nobody"


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One rule over the period. `already` of what would have been opened was violated when the period began."""

    rule: str
    name: str
    opened: int
    already: int
    ended: int
    owners: int


@dataclass(frozen=True, slots=True)
class Week:
    """Seven days of the period, or what is left of it; without what was violated when it began."""

    begins_on: date
    opened: int


@dataclass(frozen=True, slots=True)
class OwnerTest:
    """An owner of today; without an id those whom nobody owns."""

    id: UUID | None
    name: str
    opened: int


@dataclass(frozen=True, slots=True)
class PastExample:
    credential: UUID
    name: str
    rule: str
    title: str
    opened_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """What the record does not tell of so many credentials."""

    reason: str
    rule: str | None
    credentials: int
    sentence: str


@dataclass(frozen=True, slots=True)
class BackTest:
    """See the module. `credentials` is how many the policy would have bound, those included that are gone by now."""

    since: datetime
    until: datetime
    computed_at: datetime
    sentence: str
    credentials: int
    opened: int
    already: int
    ended: int
    owners: int
    rules: tuple[RuleTest, ...]
    weeks: tuple[Week, ...]
    top_owners: tuple[OwnerTest, ...]
    examples: tuple[PastExample, ...]
    unknown: tuple[Unknown, ...]

    def as_json(self) -> dict[str, Any]:
        """As `PolicyVersion.back_test` keeps it."""
        plain: dict[str, Any] = as_plain(asdict(self))
        return plain


def back_test(draft: Policy, *, since: datetime, until: datetime, now: datetime) -> BackTest:
    """What `draft`, saved or not, would have opened from `since` until `until`.

    Raises PeriodRefused, and TrialTookTooLong where the record is too large. Nothing is written.
    """
    if not since < until <= now or until - since > LONGEST_PERIOD:
        raise PeriodRefused
    values: dict[str, Any] = {"since": since, "until": until, **_limits(draft)}
    with rehearsal() as cursor:

        def rows(statement: str, **more: Any) -> list[tuple[Any, ...]]:
            cursor.execute(statement, {**values, **more})
            return cursor.fetchall() if cursor.description else []

        binding = _Binding(draft)
        asked = [spans for limit, spans in _SPANS.items() if getattr(draft, limit)]
        rows(_HELD.format(bound=binding.bound), **binding.values)
        for statement in _TABLES:
            rows(statement.format(spans=" UNION ALL ".join(asked) or _NO_SPANS))
        ((credentials,),) = rows("SELECT count(DISTINCT id) FROM past_values")
        ((opened, already, ended, owners),) = rows(f"SELECT {_COUNTS} FROM past_findings f")
        by_rule = rows(f"SELECT f.rule, {_COUNTS} FROM past_findings f GROUP BY f.rule ORDER BY 2 DESC, 1")
        by_week = dict(rows(_WEEKS))
        by_owner = rows(_OWNERS)
        examples = rows(_EXAMPLES)
        unknown = [*_unknown(draft, rows), *binding.unknown(rows)]
    return BackTest(
        since=since,
        until=until,
        computed_at=now,
        sentence=_sentence(draft, since, until, opened=opened, ended=ended, owners=owners),
        credentials=credentials,
        opened=opened,
        already=already,
        ended=ended,
        owners=owners,
        rules=tuple(RuleTest(rule, RULES[rule].name, *counts) for rule, *counts in by_rule),
        weeks=tuple(
            Week((since + number * WEEK).date(), by_week.get(number, 0)) for number in range(-((since - until) // WEEK))
        ),
        top_owners=tuple(OwnerTest(owner, name or NOBODY, number) for owner, name, number in by_owner),
        examples=tuple(
            PastExample(
                credential,
                name,
                rule,
                RULES[rule].title_of(json.loads(evidence), ended_at or until),
                opened_at,
                ended_at,
            )
            for credential, name, rule, opened_at, ended_at, evidence in examples
        ),
        unknown=tuple(unknown),
    )


# ── In words ───────────────────────────────────────────────────────────────────────────────────
def _limits(draft: Policy) -> dict[str, timedelta | None]:
    return {limit: getattr(draft, limit) for limit in ("max_age", "max_idle", "max_lifetime")}


def _sentence(draft: Policy, since: datetime, until: datetime, *, opened: int, ended: int, owners: int) -> str:
    asked = [
        *(
            f"{words} {exact_length(limit)}"
            for words, limit in zip(("max age", "max idle time", "max lifetime"), _limits(draft).values(), strict=True)
            if limit
        ),
        *(["an expiry"] if draft.requires_expiry else []),
    ]
    if not asked:
        return "It sets no limit that the past could be held against."
    when = f"from {_day(since)} to {_day(until)}"
    words = " and ".join(filter(None, (", ".join(asked[:-1]), asked[-1])))
    said = f"{words[0].upper()}{words[1:]} would have opened"
    if not opened:
        return f"{said} nothing {when}, as far as the record tells."
    for_whom = f" for {plural(owners, 'owner')}" if owners else ""
    end = f"; {thousands(ended)} of them had ended by themselves" if ended else ""
    return f"{said} {plural(opened, 'finding')}{for_whom} {when}{end}."


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b %Y}"


# ── What was recorded ──────────────────────────────────────────────────────────────────────────
_ENDED = f"""CASE c.status WHEN '{CredentialStatus.EXPIRED.value}' THEN coalesce(c.expires_at, 'infinity')
                      WHEN '{CredentialStatus.DESTROYED.value}' THEN 'infinity' END"""

# One row for each value that a credential had: when it was seen first, how old it certainly was, when it ended. Where
# nobody recorded an end, though there was one, `has_ended_unseen`.
_HELD = f"""
CREATE TEMPORARY TABLE past_values ON COMMIT DROP AS
WITH bound AS (
  SELECT c.* FROM inventory_credential c
  WHERE c.first_seen_at < %(until)s AND (c.gone_at IS NULL OR c.gone_at > %(since)s) AND ({{bound}})
),
versions AS (
  SELECT v.credential_id, v.issued_at, v.first_seen_at, v.destroyed_at,
         lead(v.first_seen_at) OVER in_order AS replaced_at,
         lead(v.id) OVER in_order IS NULL AS is_newest,
         row_number() OVER in_order AS number
  FROM inventory_credentialversion v WHERE v.credential_id IN (SELECT b.id FROM bound b)
  WINDOW in_order AS (PARTITION BY v.credential_id ORDER BY v.first_seen_at, v.id)
),
held AS (
  SELECT c.id, c.name, c.owner_id, c.storage, c.last_used_at, c.first_seen_at, coalesce(v.is_newest, true) AS is_newest,
         coalesce(v.number, 1) AS number,
         CASE WHEN coalesce(v.is_newest, true) THEN c.issued_at ELSE v.issued_at END AS issued_at,
         CASE WHEN coalesce(v.number, 1) = 1 THEN c.first_seen_at ELSE v.first_seen_at END AS seen_at,
         CASE WHEN coalesce(v.is_newest, true) THEN c.expires_at END AS expires_at,
         least(v.destroyed_at, v.replaced_at, c.gone_at) AS end_seen_at,
         CASE WHEN coalesce(v.is_newest, true) THEN {_ENDED} END AS end_said_at
  FROM bound c LEFT JOIN versions v ON v.credential_id = c.id
)
SELECT h.*, coalesce(h.issued_at, h.seen_at) AS known_since,
       coalesce(h.end_seen_at, nullif(h.end_said_at, 'infinity'), 'infinity') AS ended_at,
       h.end_seen_at IS NULL AND h.end_said_at IS NOT DISTINCT FROM 'infinity' AS has_ended_unseen
FROM held h
"""

_KNOWN = "NOT p.has_ended_unseen"
# By what is asked: rule, credential, from when to when it was violated, and the evidence of that.
_SPANS = {
    "max_age": f"""
      SELECT 'unrotated' AS rule, p.id, greatest(p.known_since + %(max_age)s, p.seen_at) AS since, p.ended_at AS until,
             jsonb_build_object('known_since', p.known_since, 'issued_before', p.issued_at IS NULL,
                                'max_age', extract(epoch FROM %(max_age)s::interval)::bigint) AS evidence
      FROM past_values p WHERE {_KNOWN}""",
    "max_idle": f"""
      SELECT 'stale' AS rule, p.id, greatest(p.last_used_at + %(max_idle)s, p.first_seen_at) AS since,
             p.ended_at AS until,
             jsonb_build_object('last_used_at', p.last_used_at,
                                'max_idle', extract(epoch FROM %(max_idle)s::interval)::bigint) AS evidence
      FROM past_values p WHERE p.is_newest AND p.last_used_at IS NOT NULL AND {_KNOWN}
      UNION ALL
      -- Uses that newer ones have replaced since: nobody used it between this one and the finding's end.
      SELECT 'stale', p.id, greatest((f.evidence ->> 'last_used_at')::timestamptz + %(max_idle)s, p.first_seen_at),
             f.resolved_at,
             jsonb_build_object('last_used_at', f.evidence ->> 'last_used_at',
                                'max_idle', extract(epoch FROM %(max_idle)s::interval)::bigint)
      FROM lifecycle_finding f JOIN past_values p ON p.id = f.credential_id AND p.is_newest
      WHERE f.rule = 'stale' AND f.resolved_at > %(since)s AND f.evidence ? 'last_used_at'""",
    "max_lifetime": f"""
      SELECT 'lifetime-too-long' AS rule, p.id, p.seen_at AS since, p.ended_at AS until,
             jsonb_build_object('lifetime', extract(epoch FROM p.expires_at - p.known_since)::bigint,
                                'max_lifetime', extract(epoch FROM %(max_lifetime)s::interval)::bigint) AS evidence
      FROM past_values p WHERE p.expires_at - p.known_since > %(max_lifetime)s AND {_KNOWN}
      UNION ALL
      SELECT 'lifetime-too-long', p.id, f.opened_at, f.resolved_at,
             jsonb_build_object('lifetime', f.evidence -> 'lifetime',
                                'max_lifetime', extract(epoch FROM %(max_lifetime)s::interval)::bigint)
      FROM lifecycle_finding f JOIN past_values p ON p.id = f.credential_id AND p.is_newest
      WHERE f.rule = 'lifetime-too-long' AND f.resolved_at > %(since)s
        AND (f.evidence ->> 'lifetime')::bigint > extract(epoch FROM %(max_lifetime)s::interval)""",
    "requires_expiry": f"""
      SELECT 'no-expiry' AS rule, p.id, p.seen_at AS since, p.ended_at AS until, '{{}}'::jsonb AS evidence
      FROM past_values p
      WHERE p.is_newest AND p.expires_at IS NULL AND p.storage = '{Storage.PROVIDER.value}' AND {_KNOWN}
      UNION ALL
      SELECT 'no-expiry', p.id, f.opened_at, f.resolved_at, '{{}}'::jsonb
      FROM lifecycle_finding f JOIN past_values p ON p.id = f.credential_id AND p.is_newest
      WHERE f.rule = 'no-expiry' AND f.resolved_at > %(since)s""",
}
_NO_SPANS = """SELECT NULL::text AS rule, NULL::uuid AS id, NULL::timestamptz AS since, NULL::timestamptz AS until,
                      NULL::jsonb AS evidence LIMIT 0"""
_FINDINGS = """
CREATE TEMPORARY TABLE past_findings ON COMMIT DROP AS
WITH merged AS (
  SELECT s.rule, s.id, unnest(range_agg(tstzrange(s.since, s.until))) AS span FROM past_spans s GROUP BY s.rule, s.id
)
SELECT m.rule, m.id, p.owner_id, p.name, greatest(lower(m.span), %(since)s) AS opened_at,
       lower(m.span) <= %(since)s AS is_already,
       CASE WHEN upper(m.span) <= %(until)s THEN upper(m.span) END AS ended_at
FROM merged m JOIN past_values p ON p.id = m.id AND p.is_newest
"""
_TABLES = (
    "ANALYZE past_values (id)",
    """
    CREATE TEMPORARY TABLE past_spans ON COMMIT DROP AS
    SELECT * FROM ({spans}) s WHERE s.since < s.until AND s.since < %(until)s AND s.until > %(since)s
    """,
    "ANALYZE past_spans (id, rule)",
    _FINDINGS,
)

# ── Counted ────────────────────────────────────────────────────────────────────────────────────
_COUNTS = """count(*), count(*) FILTER (WHERE f.is_already), count(f.ended_at), count(DISTINCT f.owner_id)"""
_WEEKS = """
SELECT floor(extract(epoch FROM f.opened_at - %(since)s) / 604800)::integer, count(*)
FROM past_findings f WHERE NOT f.is_already GROUP BY 1
"""
_OWNERS = f"""
SELECT f.owner_id, max(o.name), count(*) FROM past_findings f LEFT JOIN inventory_owner o ON o.id = f.owner_id
GROUP BY f.owner_id ORDER BY 3 DESC, 2, 1 LIMIT {MOST_OWNERS}
"""
_EXAMPLES = f"""
SELECT f.id, f.name, f.rule, f.opened_at, f.ended_at, s.evidence
FROM (SELECT f.*, row_number() OVER (PARTITION BY f.rule ORDER BY f.opened_at, f.id) AS place
      FROM past_findings f ORDER BY place, f.rule LIMIT {MOST_EXAMPLES}) f
JOIN LATERAL (SELECT s.evidence FROM past_spans s WHERE s.id = f.id AND s.rule = f.rule
              AND s.until > f.opened_at AND s.since < coalesce(f.ended_at, 'infinity')
              ORDER BY s.since DESC LIMIT 1) s ON true
ORDER BY f.place, f.rule
"""

Rows = Callable[..., list[tuple[Any, ...]]]

# By what is asked (always where that is None): a reason, its rule, of which values it holds, and how it is said.
_UNTOLD: tuple[tuple[str | None, str, str | None, str, str], ...] = (
    (
        None,
        "not_seen",
        None,
        "p.number = 1 AND p.first_seen_at > %(since)s AND (p.issued_at IS NULL OR p.issued_at <= %(since)s)",
        "{n} first seen within the period: what there was before that is not recorded.",
    ),
    (None, "end_not_seen", None, "p.has_ended_unseen", "{n} ended some time that nobody recorded: left out."),
    (
        "max_age",
        "issue_unknown",
        "unrotated",
        """p.issued_at IS NULL AND p.seen_at < %(until)s AND p.ended_at > %(since)s
           AND p.known_since + %(max_age)s >= least(p.ended_at, %(until)s)""",
        "{n} of unknown issue date may be older than seen.",
    ),
    (
        "max_idle",
        "use_unknown",
        "stale",
        "p.is_newest AND p.last_used_at IS NULL",
        "{n} without a recorded use: nobody can say how long they were idle.",
    ),
    (
        "max_idle",
        "earlier_uses_unknown",
        "stale",
        """p.is_newest AND p.last_used_at > %(since)s
           AND (p.issued_at IS NULL OR p.issued_at + %(max_idle)s < p.last_used_at)""",
        "{n} whose earlier uses newer ones have replaced: they may have been idle in between.",
    ),
    (
        "max_lifetime",
        "lifetime_unknown",
        "lifetime-too-long",
        """p.is_newest AND (p.expires_at IS NULL OR p.issued_at IS NULL)
           AND (p.expires_at - p.known_since > %(max_lifetime)s) IS NOT TRUE""",
        "{n} whose issue or expiry is not known.",
    ),
    (
        "max_lifetime",
        "earlier_expiries_unknown",
        "lifetime-too-long",
        "NOT p.is_newest AND p.ended_at > %(since)s",
        "{n} with earlier values, whose expiries are not recorded.",
    ),
    (
        "requires_expiry",
        "expiry_unknown",
        "no-expiry",
        f"p.is_newest AND p.expires_at IS NULL AND p.storage <> '{Storage.PROVIDER.value}'",
        "{n} found where no expiry is told.",
    ),
)


def _unknown(draft: Policy, rows: Rows) -> Iterator[Unknown]:
    asked = [each for each in _UNTOLD if each[0] is None or getattr(draft, each[0])]
    if not any(getattr(draft, limit) for limit in _SPANS):
        return
    columns = ", ".join(f"count(DISTINCT p.id) FILTER (WHERE {holds})" for *_, holds, _ in asked)
    (counts,) = rows(f"SELECT {columns} FROM past_values p")
    for (_, reason, rule, _, said), number in zip(asked, counts, strict=True):
        if number:
            yield Unknown(reason, rule, number, said.format(n=plural(number, "credential")))


# ── Whom it would have bound ───────────────────────────────────────────────────────────────────
# What no history is kept of, and the events that say that somebody changed it.
_CHANGEABLE = {
    "environments": Event.CREDENTIAL_ENVIRONMENT_ASSIGNED,
    "owners": Event.CREDENTIAL_OWNER_ASSIGNED,
    "tags": Event.CREDENTIAL_TAGS_CHANGED,
    "server_roles": Event.SERVER_ROLE_ASSIGNED,  # of a server that it is used on
}
_FITS = {
    "kinds": "c.kind = ANY (%({0})s)",
    "trust_models": "c.trust_model = ANY (%({0})s)",
    "environments": "c.environment_id = ANY (%({0})s)",
    "providers": "lower(c.issuer) = ANY (%({0})s)",
    "owners": "c.owner_id = ANY (%({0})s)",
    "tags": "c.tags && %({0})s::varchar[]",
    # Of what is gone by now, where it was used.
    "server_roles": """EXISTS (SELECT 1 FROM inventory_use u JOIN inventory_mcpserver s ON s.id = u.server_id
      WHERE u.credential_id = c.id AND (u.gone_at IS NULL OR c.gone_at IS NOT NULL) AND s.role = ANY (%({0})s))""",
}
_STEADY = ("kinds", "trust_models", "providers")


class _Binding:
    """The condition under which a policy binds a credential `c`: it fits, and none before it does.

    An evaluation binds what is live; this is about what is gone too.
    """

    def __init__(self, draft: Policy) -> None:
        self.draft = draft
        self.values: dict[str, Any] = {}
        last = key(draft.pk)
        others = [each for each in Policy.objects.in_order() if each.pk != last]
        self.before = [
            each for each in others if (each.priority, each.pk) < (draft.priority, last or UUID(int=2**128 - 1))
        ]
        fits = self._fits("draft", draft, _FITS)
        earlier = [self._fits(f"before_{number}", each, _FITS) for number, each in enumerate(self.before)]
        self.bound = " AND ".join([fits, *(f"NOT ({each})" for each in earlier)])

    def _fits(self, prefix: str, policy: Policy, selectors: Iterable[str]) -> str:
        conditions = []
        for selector in selectors:
            chosen = getattr(policy, selector)
            if chosen:
                name = f"{prefix}_{selector}"
                self.values[name] = [each.lower() for each in chosen] if selector == "providers" else list(chosen)
                conditions.append(f"coalesce({_FITS[selector].format(name)}, false)")
        return " AND ".join(conditions) or "true"

    def unknown(self, rows: Rows) -> Iterator[Unknown]:
        """Credentials of which it is known that somebody changed what binds them since the period began."""
        read = [
            event.value
            for selector, event in _CHANGEABLE.items()
            if any(getattr(each, selector) for each in (self.draft, *self.before))
        ]
        if not read:
            return
        steady = self._fits("draft", self.draft, _STEADY)
        ((number,),) = rows(
            f"""
            SELECT count(*) FROM inventory_credential c
            WHERE {steady} AND (c.gone_at IS NULL OR c.gone_at > %(since)s) AND c.id IN (
              WITH changed AS (
                SELECT a.subject_kind, a.subject_id::uuid AS id FROM audit_auditentry a
                WHERE a.event = ANY (%(events)s) AND a.subject_kind IN ('credential', 'mcpserver')
                  AND a.at >= %(since)s)
              SELECT id FROM changed WHERE subject_kind = 'credential'
              UNION ALL
              SELECT u.credential_id FROM changed JOIN inventory_use u ON u.server_id = changed.id
              WHERE subject_kind = 'mcpserver' AND u.credential_id IS NOT NULL)
            """,
            events=read,
            **self.values,
        )
        if number:
            yield Unknown(
                "binding_changed",
                None,
                number,
                f"{plural(number, 'credential')} whose owner, environment, tags or server's role somebody changed"
                " since: another policy may have bound them then.",
            )
