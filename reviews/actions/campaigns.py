"""Campaigns from a draft to the launch, which freezes their scope: every item in one statement, with its reviewers.

The launch is refused over what was not looked at lately, unless another person signs for that by name. What became an
item and what did not, and why, adds up to what each connection holds, and is kept with a digest.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db import transaction

from access.actors import Actor, ActorKind
from access.rights import Right
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.models import Connection, Environment, Owner
from inventory.states import CredentialKind, ServerRole, TrustModel
from lifecycle.actions.findings import refuse_secrets
from lifecycle.actions.requests import say_why
from reviews.actions.planting import end_decoys, open_decoys, plant
from reviews.errors import (
    CampaignNotRunning,
    CampaignRefused,
    DueRefused,
    Incomplete,
    NotADraft,
    NotAPerson,
    NotAReviewer,
    NothingStale,
    NothingToReview,
    StaleByLauncher,
    StaleConnections,
    TooMuchToReview,
)
from reviews.models import Campaign, ReviewItem, StaleApproval
from reviews.models.campaigns import CHOSEN
from reviews.models.preview import Counts, completeness
from reviews.models.seating import FIRST, IN_LINE, able
from reviews.models.subjects import COMPARED, IDLE, candidates, difference, digest, facts_of
from reviews.recommendations import recommend
from reviews.states import (
    CAMPAIGN_FINAL,
    DECOYS_AT_MOST,
    NAMED_EXCLUSIONS,
    RUNNING,
    CampaignState,
    ItemState,
    NoAnswer,
    Origin,
    Reviewed,
)

MOST = 500_000
MANY = 1_000  # items of a launch, after which the table is tidied up at once
LONGEST = timedelta(days=731)
FAR_REACH = 5  # clients and servers; from here on what reaches further than 99 of 100 others stands out


def may_run(actor: Actor) -> None:
    if not actor.may(Right.RUN_CAMPAIGN):
        raise NotAReviewer


# ── Drafts ─────────────────────────────────────────────────────────────────────────────────────


@action
def create_campaign(*, actor: Actor, now: datetime, origin: Origin = Origin.PERSON, **values: Any) -> Campaign:
    """A draft. `values` are those of CHOSEN, `lead` and `due_at`. Raises CampaignRefused."""
    may_run(actor)
    campaign = Campaign(
        origin=origin, created_by=actor.label[:200], created_by_key=actor.key, created_at=now, **_checked(values, now)
    )
    campaign.save(force_insert=True)
    record(Event.CAMPAIGN_CREATED, actor=actor, subject=campaign, detail=_said(campaign))
    return campaign


@action
def change_campaign(campaign: Campaign, *, actor: Actor, now: datetime, **values: Any) -> Campaign:
    """Change a draft. Raises NotADraft, CampaignRefused."""
    may_run(actor)
    row = _draft(campaign)
    before = {name: getattr(row, name) for name in (*CHOSEN, "lead", "due_at")}
    for name, value in _checked({**before, **values}, now).items():
        setattr(row, name, value)
    row.save()
    changed = sorted(name for name in values if getattr(row, name) != before[name])
    record(Event.CAMPAIGN_CHANGED, actor=actor, subject=row, detail={"fields": changed})
    return row


def _draft(campaign: Campaign) -> Campaign:
    row = locked(campaign)
    if row.state != CampaignState.DRAFT:
        raise NotADraft
    return row


def locked(campaign: Campaign) -> Campaign:
    (row,) = in_order(Campaign.objects.filter(pk=campaign.pk))
    return row


def running(campaign: Campaign) -> Campaign:
    row = locked(campaign)
    if row.state not in RUNNING:
        raise CampaignNotRunning
    return row


def _checked(values: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    problems = {}
    for name, known in (
        ("reviewed", Reviewed),
        ("kinds", CredentialKind),
        ("trust_models", TrustModel),
        ("server_roles", ServerRole),
    ):
        strange = sorted(set(values.get(name) or ()) - set(known.values))
        if strange:
            problems[name] = f"There is no {', '.join(map(repr, strange))} among {name.replace('_', ' ')}."
    if not (values.get("name") or "").strip() or len(values["name"]) > 120:
        problems["name"] = "Give it a name of at most 120 characters."
    if not values.get("reviewed"):
        problems["reviewed"] = "Say what is reviewed."
    due_at = values.get("due_at")
    if due_at is None or not now < due_at <= now + LONGEST:
        problems["due_at"] = "A campaign is due after now, and within two years."
    if values.get("no_answer", NoAnswer.ESCALATE) not in NoAnswer.values:
        problems["no_answer"] = "Where nobody answers, escalate, suspend or revoke."
    for name, model in (("environments", Environment), ("owners", Owner), ("connections", Connection)):
        asked = set(values.get(name) or ())
        rows: Any = model._default_manager
        if asked and rows.filter(pk__in=asked).count() != len(asked):
            problems[name] = f"Some of these {name} do not exist."
    if any(not str(why).strip() for why in (values.get("left_out") or {}).values()):
        problems["left_out"] = "Give a reason for each thing that is left out."
    if any(not 0 < days <= 365 for days in values.get("reminders") or ()):
        problems["reminders"] = "Remind between 1 and 365 days before the date."
    if not 0 <= (values.get("decoys") or 0) <= DECOYS_AT_MOST:
        problems["decoys"] = f"Plant between none and {DECOYS_AT_MOST} decoys for each reviewer."
    lead = values.get("lead")
    if lead is not None and not lead.is_active:
        problems["lead"] = "Whoever leads it is active."
    for name in ("repeats_every", "escalate_after", "fresh_within"):
        length = values.get(name)
        least = timedelta(days=1) if name == "repeats_every" else timedelta(minutes=1)
        if length is not None and not least <= length <= LONGEST:
            problems[name] = "Choose a length of time between a day and two years."
    if problems:
        raise CampaignRefused(problems)
    for text in (values["name"], values.get("description") or "", *(values.get("left_out") or {}).values()):
        refuse_secrets(str(text))
    return dict(values)


def _said(campaign: Campaign) -> dict[str, Any]:
    return {
        "reviewed": sorted(campaign.reviewed),
        "due_at": campaign.due_at.isoformat(),
        "no_answer": str(campaign.no_answer),
        "lead": str(campaign.lead) if campaign.lead else None,
    }


# ── What is not fresh ──────────────────────────────────────────────────────────────────────────


@action
def accept_stale(campaign: Campaign, *, actor: Actor, now: datetime, reason: str) -> int:
    """Sign for what the stale connections of a draft last said, as they are now; for how many. Another launches it."""
    say_why(reason)
    may_run(actor)
    if actor.kind is not ActorKind.USER:
        raise NotAPerson
    row = _draft(campaign)
    stale = [place for place in completeness(counted(row), row, now=now) if place["is_stale"]]
    if not stale:
        raise NothingStale
    StaleApproval.objects.filter(campaign=row, connection__in=[place["id"] for place in stale]).delete()
    StaleApproval.objects.bulk_create(
        [
            StaleApproval(
                campaign=row,
                connection_id=place["id"],
                looked_at=place["looked_at"] and datetime.fromisoformat(place["looked_at"]),
                approved_by=actor.label[:200],
                approved_by_key=actor.key,
                approved_at=now,
                reason=reason,
            )
            for place in stale
        ]
    )
    detail = {"connections": [place["name"] for place in stale], "reason": reason}
    record(Event.CAMPAIGN_STALE_ACCEPTED, actor=actor, subject=row, detail=detail)
    return len(stale)


def counted(campaign: Campaign) -> Counts:
    statement, values = candidates(campaign)
    places: Counts = {}
    with database.cursor() as cursor:
        cursor.execute(
            f"SELECT n.connection_id, n.kind, n.left_out, count(*) FROM ({statement}) n GROUP BY 1, 2, 3", values
        )
        for key, kind, reason, number in cursor.fetchall():
            places.setdefault(key, {})[kind, reason] = number
    return places


def _sign_for_stale(row: Campaign, held: list[dict[str, Any]], actor: Actor) -> None:
    """Raises StaleConnections and StaleByLauncher; notes who signed with each connection that is not fresh."""
    signed = {str(each.connection_id): each for each in StaleApproval.objects.filter(campaign=row)}
    missing = []
    for place in held:
        if not place["is_stale"]:
            continue
        said = signed.get(place["id"])
        if said is None or (said.looked_at and said.looked_at.isoformat()) != place["looked_at"]:
            missing.append(place["name"])
        elif said.approved_by_key == actor.key:
            raise StaleByLauncher
        else:
            place["signed_for"] = {"by": said.approved_by, "at": said.approved_at.isoformat(), "reason": said.reason}
    if missing:
        raise StaleConnections(missing)


# ── The launch ─────────────────────────────────────────────────────────────────────────────────

# Everything known of what fits, compared with how it was when it was last reviewed.
_STAGED = """
CREATE TEMP TABLE review_staged ON COMMIT DROP AS
SELECT n.*, {digest} AS bound_digest, p.id AS last_item, p.changes,
  CASE WHEN p.changes <> '{{}}' THEN n.signals || 'changed'::text ELSE n.signals END AS held
FROM ({facts}) n
LEFT JOIN LATERAL (
  SELECT i.id, {difference} AS changes FROM reviews_reviewitem i
  WHERE i.{{column}} = n.id AND i.state = 'closed' ORDER BY i.id DESC LIMIT 1) p ON true
"""
_INSERT = f"""
INSERT INTO reviews_reviewitem (campaign_id, kind, credential_id, client_id, grant_id, server_id, name, connection_id,
  owner_id, environment_id, criticality, variety, trust_model, known_since, last_used_at, exposures, open_findings,
  reach, risk, score, facts, path, bound, bound_digest, changes, last_item_id, recommendation, reasons, is_outlier,
  alike, frozen_at, state, version, round, due_at, reviewer_id, second_id, needs_second, interested, first_chain,
  second_chain, escalations, drift, drift_digest, returned_reason, what, first_by, first_by_key, second_by,
  second_by_key, by_clock, ending, proof)
SELECT %(campaign)s, w.kind, CASE w.kind WHEN 'credential' THEN w.id END, CASE w.kind WHEN 'client' THEN w.id END,
  CASE w.kind WHEN 'grant' THEN w.id END, CASE w.kind WHEN 'server' THEN w.id END, left(w.name, 620), w.connection_id,
  w.owner_id, w.environment_id, w.criticality, w.variety, w.trust_model, w.known_since, w.last_used_at, w.exposures,
  w.open_findings, w.reach, w.risk, w.score, w.facts, w.path, w.bound, w.bound_digest, coalesce(w.changes, '{{}}'),
  w.last_item, w.recommendation, w.reasons, w.is_outlier,
  concat_ws('|', w.kind, w.variety, w.trust_model, w.criticality, w.recommendation, w.is_outlier), %(now)s,
  %(open)s, 1, 1, %(due_at)s, w.first, z.second, w.needs_second, w.parties,
  array_remove(ARRAY[w.first], NULL), array_remove(ARRAY[z.second], NULL), 0, '{{}}', '', '', '', '', '', '', '', false,
  '', ''
FROM (
  SELECT v.*, v.first = ANY (v.parties) IS TRUE OR v.is_outlier AND %(second_on_outliers)s AS needs_second
  FROM (
    SELECT n.*, r.recommendation, r.reasons, {FIRST} AS first, m.id AS manager,
      n.risk = 4 OR n.reach >= greatest(%(far)s, n.usual_reach * 2) AS is_outlier,
      -- Who stands in for an owner acts for them.
      CASE WHEN NOT coalesce({able("o")}, false) AND NOT coalesce({able("q")}, false) AND coalesce({able("d")}, false)
        AND o.id = ANY (n.interested) THEN array_append(n.interested, d.id) ELSE n.interested END AS parties
    FROM (SELECT s.*, percentile_reach.far AS usual_reach FROM review_staged s CROSS JOIN (
      SELECT coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY reach), 0) AS far FROM review_staged
    ) percentile_reach) n
    JOIN review_recommended r ON r.kind = n.kind AND r.held = n.held
    {IN_LINE}
  ) v
) w
LEFT JOIN inventory_owner f ON f.id = w.first
LEFT JOIN LATERAL (
  SELECT y.id AS second FROM (VALUES (1, f.manager_id), (2, w.manager), (3, %(lead)s::uuid)) AS c (place, id)
  JOIN inventory_owner y ON y.id = c.id AND {able("y")} AND y.id <> w.first AND NOT y.id = ANY (w.parties)
  WHERE w.needs_second ORDER BY c.place LIMIT 1) z ON true
ORDER BY w.risk DESC, w.score DESC, w.name
"""
_EXCLUSIONS = """
INSERT INTO reviews_exclusion (campaign_id, kind, subject_id, name, connection_id, reason, said)
SELECT %(campaign)s, n.kind, n.id, left(n.name, 300), n.connection_id, n.left_out,
  coalesce(%(why)s::jsonb ->> n.id::text, '')
FROM review_candidate n WHERE n.left_out = ANY (%(named)s)
"""
# One line for each item: what it is about, what was known, what was recommended, who reviews it.
_SCOPE_DIGEST = """
SELECT count(*), encode(sha256(convert_to(coalesce(string_agg(concat_ws(' ', i.id, i.kind,
  coalesce(i.credential_id, i.client_id, i.grant_id, i.server_id), i.bound_digest,
  encode(sha256(convert_to(i.facts::text, 'UTF8')), 'hex'), i.recommendation, i.reviewer_id, i.second_id),
  chr(10) ORDER BY i.id), ''), 'UTF8')), 'hex')
FROM reviews_reviewitem i WHERE i.campaign_id = %(campaign)s AND i.decoy IS NULL
"""


@action
def launch(campaign: Campaign, *, actor: Actor, now: datetime) -> Campaign:
    """Freeze the scope of a draft as items and open it; one audit entry with counts and digests.

    Raises StaleConnections over what was not looked at lately, StaleByLauncher, NothingToReview, TooMuchToReview.
    """
    may_run(actor)
    row = _draft(campaign)
    if row.due_at <= now:
        raise DueRefused
    statement, values = candidates(row)
    with database.cursor() as cursor:
        # A plan with nested loops is right for ten rows and takes minutes for a hundred thousand.
        cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute("DROP TABLE IF EXISTS review_candidate, review_staged, review_recommended")
        cursor.execute(f"CREATE TEMP TABLE review_candidate ON COMMIT DROP AS {statement}", values)
        cursor.execute("ANALYZE review_candidate")
        places = _places(cursor)
        held = completeness(places, row, now=now)
        size = sum(place["in_campaign"] for place in held)
        if not size:
            raise NothingToReview
        if size > MOST:
            raise TooMuchToReview
        _sign_for_stale(row, held, actor)
        _stage(cursor, row, now)
        _recommend(cursor)
        cursor.execute(
            _INSERT,
            {
                "campaign": row.pk,
                "now": now,
                "due_at": row.due_at,
                "lead": row.lead_id,
                "open": ItemState.OPEN.value,
                "far": FAR_REACH,
                "second_on_outliers": row.second_on_outliers,
            },
        )
        inserted = cursor.rowcount
        why = json.dumps(row.left_out)
        named = [each.value for each in NAMED_EXCLUSIONS]
        cursor.execute(_EXCLUSIONS, {"campaign": row.pk, "why": why, "named": named})
        left_out = cursor.rowcount
        cursor.execute(_SCOPE_DIGEST, {"campaign": row.pk})
        number, scope_digest = cursor.fetchone()
        cursor.execute("SET LOCAL enable_nestloop = on")
        cursor.execute("DROP TABLE IF EXISTS review_candidate, review_staged, review_recommended")
    expected = sum(place["left_out"].get(reason, 0) for place in held for reason in named)
    if not inserted == number == size or left_out != expected:
        raise Incomplete
    decoys = plant(row, now=now, chance=SystemRandom())
    row.state, row.launched_at, row.size, row.planted = CampaignState.OPEN, now, size, decoys["planted"]
    row.launched_by, row.launched_by_key, row.launch_error = actor.label[:200], actor.key, ""
    row.completeness, row.scope_digest = held, scope_digest
    row.completeness_digest = digest_of(held)
    row.repeat_at = now + row.repeats_every if row.repeats_every else None
    row.save()
    detail = {
        "items": size,
        "left_out": left_out,
        "stale": [place["name"] for place in held if place["is_stale"]],
        "completeness": row.completeness_digest,
        "digest": scope_digest,
        **({"decoys": decoys} if row.planted else {}),
    }
    record(Event.CAMPAIGN_LAUNCHED, actor=actor, subject=row, detail=detail)
    if size >= MANY:
        transaction.on_commit(_tidy_up, robust=True)
    return row


def _tidy_up() -> None:
    """Have the database note that everybody sees the new items. Until it does, by itself within some minutes, the
    figures of a campaign read each of them from the table instead of from an index alone, which takes four times as
    long. Where the application's role may not, the database passes over it with a warning."""
    with database.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE, SKIP_LOCKED, INDEX_CLEANUP OFF, TRUNCATE OFF) reviews_reviewitem")


def digest_of(said: Any) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _places(cursor: Any) -> Counts:
    cursor.execute("SELECT connection_id, kind, left_out, count(*) FROM review_candidate GROUP BY 1, 2, 3")
    places: Counts = {}
    for key, kind, reason, number in cursor.fetchall():
        places.setdefault(key, {})[kind, reason] = number
    return places


def _stage(cursor: Any, row: Campaign, now: datetime) -> None:
    for place, kind in enumerate(sorted(set(row.reviewed))):
        facts = facts_of(
            kind,
            f"IN (SELECT n.id FROM review_candidate n WHERE n.left_out IS NULL AND n.kind = '{Reviewed(kind).value}')",
        )
        made = _STAGED.format(
            digest=digest("n.bound"), facts=facts, difference=difference("i.facts", "n.facts", COMPARED)
        ).replace("{column}", f"{kind}_id")
        if place:
            made = made.replace("CREATE TEMP TABLE review_staged ON COMMIT DROP AS", "INSERT INTO review_staged")
        cursor.execute(made, {"now": now, "idle_since": now - IDLE})
    cursor.execute("ANALYZE review_staged")


def _recommend(cursor: Any) -> None:
    """What follows from each different set of signals: decided once, and joined."""
    cursor.execute("SELECT DISTINCT kind, held FROM review_staged")
    found = [(kind, held, recommend(kind, held)) for kind, held in cursor.fetchall()]
    cursor.execute(
        "CREATE TEMP TABLE review_recommended (kind text, held text[], recommendation text, reasons text[]) "
        "ON COMMIT DROP"
    )
    cursor.executemany(
        "INSERT INTO review_recommended VALUES (%s, %s, %s, %s)",
        [(kind, held, said.what.value if said.what else "", list(said.reasons)) for kind, held, said in found],
    )


# ── While it runs ──────────────────────────────────────────────────────────────────────────────


@action
def change_due(campaign: Campaign, due_at: datetime, *, actor: Actor, now: datetime, reason: str) -> None:
    """Move the date. Items that nobody decided and that were not escalated move with it; reminders begin anew."""
    say_why(reason)
    may_run(actor)
    row = running(campaign)
    if not now < due_at <= now + LONGEST:
        raise DueRefused
    moved = ReviewItem.objects.filter(campaign=row, due_at=row.due_at).undecided().update(due_at=due_at)
    open_decoys(campaign=row, due_at=row.due_at).update(due_at=due_at)
    detail = {"from": row.due_at.isoformat(), "to": due_at.isoformat(), "items": moved, "reason": reason}
    Campaign.objects.filter(pk=row.pk).update(due_at=due_at, reminded=None)
    record(Event.CAMPAIGN_DUE_CHANGED, actor=actor, subject=row, detail=detail)


@action
def cancel_campaign(campaign: Campaign, *, actor: Actor, now: datetime, reason: str) -> None:
    """End a campaign unsigned. Operations that came of it go on to their ends; what is open is cancelled."""
    say_why(reason)
    may_run(actor)
    row = locked(campaign)
    if row.state in CAMPAIGN_FINAL:
        raise CampaignNotRunning
    cancelled = (
        ReviewItem.objects.filter(campaign=row)
        .open()
        .update(state=ItemState.CANCELLED, closed_at=now, proof=f"The campaign was cancelled: {reason}")
    )
    end_decoys(open_decoys(campaign=row), now=now)
    Campaign.objects.filter(pk=row.pk).update(
        state=CampaignState.CANCELLED, ended_at=now, ended_reason=reason, repeat_at=None
    )
    record(Event.CAMPAIGN_CANCELLED, actor=actor, subject=row, detail={"items": cancelled, "reason": reason})


def leave_out(campaign: Campaign, ids: Collection[UUID], *, actor: Actor, now: datetime, reason: str) -> Campaign:
    """Leave things out of a draft by name, each with this reason."""
    say_why(reason)
    chosen = {**campaign.left_out, **{str(each): reason for each in ids}}
    return change_campaign(campaign, actor=actor, now=now, left_out=chosen)
