"""Decoys: planted among the credentials of each reviewer when a campaign is launched, told once they were decided.

Each is modelled on a real item beside it, and differs in what makes its answer known: whoever answered for it has left,
or nobody does, and it was not used for a year. It is about nothing, so nothing can come of it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db.models import Exists, OuterRef, QuerySet

from access.actors import Actor
from audit.actions import record
from audit.events import Event
from inventory.models import Credential, Owner
from inventory.states import Severity
from lifecycle.rules import RULES
from reviews.decoys import BETWEEN, hinted, key_between, named
from reviews.models import Campaign, Decision, ReviewItem
from reviews.models.subjects import digest
from reviews.recommendations import recommend
from reviews.states import Ending, ItemState, Reviewed, What

REVIEWS = Actor.system("reviews")
ONE_FOR = 5  # real credentials of the same reviewer: who has fewer is not sent one
UNUSED = (370, 900)  # days; longer than anything is kept without use
YOUNGEST = 30  # days that it was in use, where it ever was
OLDER = 400  # days at most that one is older than that
DEPARTED, BESIDE = 100, 40
ENDED = "It was a decoy that nobody had to decide."

# Which real items decoys are modelled on: of each reviewer some by chance, as many as are to be planted among theirs.
_MODELS = """
SELECT i.id FROM (
  SELECT i.id, count(*) OVER (PARTITION BY i.reviewer_id) AS number,
    row_number() OVER (PARTITION BY i.reviewer_id ORDER BY md5(i.id::text || %(seed)s)) AS place
  FROM reviews_reviewitem i
  WHERE i.campaign_id = %(campaign)s AND i.kind = %(kind)s AND i.reviewer_id IS NOT NULL AND i.decoy IS NULL) i
WHERE i.place <= least(%(each)s, i.number / %(one_for)s) ORDER BY i.id
"""
# What stands beside: names of each variety and place, how risky things are that have as severe findings, and whose
# they are.
_BESIDE = """
SELECT i.variety, i.connection_id, i.name, i.risk, i.score, i.owner_id FROM (
  SELECT i.*, row_number() OVER (PARTITION BY i.variety, i.connection_id ORDER BY md5(i.id::text || %(seed)s)) AS place
  FROM (SELECT i.id, i.variety, i.connection_id, i.name, i.risk, i.score, i.owner_id FROM reviews_reviewitem i
    WHERE i.campaign_id = %(campaign)s AND i.kind = %(kind)s AND i.decoy IS NULL) i) i
WHERE i.place <= %(beside)s ORDER BY i.id
"""
# Between which two real items each stands in the order in which a launch gives them their keys.
_PLACES = """
SELECT p.before, p.after FROM (
  SELECT n.place, max(n.id) OVER (ORDER BY n.risk DESC, n.score DESC, n.name, n.place) AS before,
    min(n.id) OVER (ORDER BY n.risk, n.score, n.name DESC, n.place DESC) AS after
  FROM (
    SELECT 0 AS place, i.id::text COLLATE "C" AS id, i.risk, i.score, i.name FROM reviews_reviewitem i
    WHERE i.campaign_id = %(campaign)s AND i.decoy IS NULL
    UNION ALL
    SELECT d.place, NULL, d.risk, d.score, d.name
    FROM unnest(%(risks)s::int[], %(scores)s::int[], %(names)s::text[]) WITH ORDINALITY d (risk, score, name, place)
  ) n
) p WHERE p.place > 0 ORDER BY p.place
"""
# As the facts of real items are written, by the database; and what says later which they were.
_WRITTEN = f"""
UPDATE reviews_reviewitem i SET bound_digest = {digest("i.bound")}, facts = i.facts
  || jsonb_build_object('known_since', i.known_since, 'last_used_at', i.last_used_at)
WHERE i.campaign_id = %(campaign)s AND i.decoy IS NOT NULL
"""
_DIGEST = """
SELECT encode(sha256(convert_to(coalesce(string_agg(i.id || ' ' || i.name, chr(10) ORDER BY i.id), ''), 'UTF8')), 'hex')
FROM reviews_reviewitem i WHERE i.campaign_id = %(campaign)s AND i.decoy IS NOT NULL
"""


def plant(campaign: Campaign, *, now: datetime, chance: Random) -> dict[str, Any]:
    """Part of the launch, when its items are there: how many decoys were planted, and a digest that says which."""
    if not campaign.decoys:
        return {"planted": 0, "digest": ""}
    asked: dict[str, Any] = {
        "campaign": campaign.pk,
        "kind": Reviewed.CREDENTIAL.value,
        "each": campaign.decoys,
        "one_for": ONE_FOR,
        "beside": BESIDE,
        "seed": str(chance.getrandbits(64)),
    }
    with database.cursor() as cursor:
        cursor.execute(_MODELS, asked)
        models = [key for (key,) in cursor.fetchall()]
        cursor.execute(_BESIDE, asked)
        bed = _Bed(campaign, now, chance, cursor.fetchall())
    like = list(ReviewItem.objects.select_related("reviewer").filter(pk__in=models).order_by("pk"))
    made = [bed.modelled_on(row) for row in like]
    bed.name(made, like)
    with database.cursor() as cursor:
        cursor.execute(
            _PLACES,
            {
                "campaign": campaign.pk,
                "risks": [row.risk for row in made],
                "scores": [row.score for row in made],
                "names": [row.name for row in made],
            },
        )
        for row, (before, after) in zip(made, cursor.fetchall(), strict=True):
            row.id = key_between(before and UUID(before), after and UUID(after), chance)
        ReviewItem.with_decoys.bulk_create(made, batch_size=500)
        cursor.execute(_WRITTEN, asked)
        cursor.execute(_DIGEST, asked)
        (said,) = cursor.fetchone()
    return {"planted": len(made), "digest": said}


class _Bed:
    """What decoys stand among: names by variety and place, scores by how severe the findings are, and who has left."""

    def __init__(self, campaign: Campaign, now: datetime, chance: Random, beside: Collection[tuple[Any, ...]]) -> None:
        self.campaign, self.now, self.chance = campaign, now, chance
        self.names: dict[tuple[str, UUID], list[str]] = {}
        self.scores: dict[int, list[int]] = {}
        owners = set()
        for variety, place, name, risk, score, owner in beside:
            owners.add(owner)
            self.names.setdefault((variety, place), []).append(name)
            self.scores.setdefault(risk, []).append(score)
        self.has_findings = any(risk for risk in self.scores)
        # Whose decoys are: of people who left and of nobody as far as real things beside them are, else they stand out.
        left = list(Owner.objects.filter(is_active=False, kind="person").order_by("inactive_since", "id")[:DEPARTED])
        self.owners: list[Owner | None] = [owner for owner in left if owner.pk in owners]
        if None in owners or not left:
            self.owners.append(None)
        self.owners = self.owners or list(left)

    def modelled_on(self, like: ReviewItem) -> ReviewItem:
        """A decoy that is like this item, but for its name and key, and for what makes its answer known."""
        chance, reviewer = self.chance, like.reviewer
        owner = chance.choice(self.owners)
        custodian = None if owner is None and like.reviewer_id == self.campaign.lead_id else reviewer
        unused = chance.randint(*UNUSED)
        was_used = like.last_used_at is not None and chance.random() < 0.5
        known_for = unused + (YOUNGEST + chance.randint(0, OLDER) if was_used else 0)
        advice = recommend(
            Reviewed.CREDENTIAL, ["idle" if was_used else "never_used", "owner_left" if owner else "no_owner"]
        )
        rules = [RULES["stale"], RULES["owner-inactive" if owner else "no-owner"]] if self.has_findings else []
        rules.sort(key=lambda rule: (-rule.severity, rule.slug))
        risk = max((rule.severity for rule in rules), default=Severity.NONE)
        nobody: dict[str, Any] = {"consumers": [], "authentication": [], "tools": {}}
        facts = {
            **like.facts,
            **nobody,
            "servers": [],
            "consumers_in_all": 0,
            "servers_in_all": 0,
            "owner": owner.name if owner else None,
            "custodian": custodian.name if custodian else None,
            "exposures": 0,
            "findings": [{"rule": rule.slug, "severity": int(rule.severity)} for rule in rules],
            "hint": hinted(like.facts.get("hint") or "", chance),
        }
        recommended = advice.what.value if advice.what else ""
        among = [like.kind, like.variety, like.trust_model, str(like.criticality), recommended, "f"]
        return ReviewItem(
            campaign=self.campaign,
            kind=Reviewed.CREDENTIAL,
            decoy=key_between(None, like.subject_id, chance),
            name=like.name,
            connection_id=like.connection_id,
            owner=owner,
            environment_id=like.environment_id,
            criticality=like.criticality,
            variety=like.variety,
            trust_model=like.trust_model,
            known_since=self._ago(like.known_since, known_for),
            last_used_at=self._ago(like.last_used_at, unused) if was_used else None,
            open_findings=len(rules),
            risk=risk,
            score=chance.choice(self.scores.get(risk) or [like.score]),
            facts=facts,
            bound={**like.bound, **nobody, "owner": str(owner.pk) if owner else None},
            last_item_id=like.last_item_id,
            recommendation=recommended,
            reasons=list(advice.reasons),
            alike="|".join(among),
            frozen_at=self.now,
            due_at=self.campaign.due_at,
            reviewer=reviewer,
            first_chain=[like.reviewer_id],
            interested=[owner.pk] if owner else [],
        )

    def _ago(self, at: datetime | None, days: int) -> datetime:
        """The same time of day, so many days before now at least: what a provider says to the second stays so."""
        at = at or self.now
        return at - timedelta(days=max(0, days - (self.now - at).days))

    def name(self, made: Sequence[ReviewItem], like: Sequence[ReviewItem]) -> None:
        """Names that nothing has, with the hint and the principal that stand in them."""
        taken = {name for names in self.names.values() for name in names}
        pairs, is_first = list(zip(made, like, strict=True)), True
        while pairs:
            for row, model in pairs:
                old, new = (each.facts.get("hint") or "" for each in (model, row))
                keeps_end = bool(model.facts.get("subject")) or bool(old and old in model.name)
                # Where so much is there that what was made up exists, the next name is one that hardly does.
                beside = self.names[model.variety, model.connection_id] if is_first else []
                name = named(model.name, beside, taken, self.chance, keeps_end=keeps_end)
                row.name = name.replace(old, new) if old else name
                row.facts["principal"] = _principal(model, row.name, self.chance)
                taken.add(row.name)
            held = Credential.objects.filter(name__in=[row.name for row, _ in pairs])
            found = set(held.values_list("name", flat=True))
            pairs, is_first = [(row, model) for row, model in pairs if row.name in found], False


def _principal(model: ReviewItem, name: str, chance: Random) -> str:
    """The provider's own name of it, where that says its name or a part of it."""
    principal: str = model.facts.get("principal") or ""
    if model.name in principal:
        made = principal.replace(model.name, name)
        return made if made.endswith(name) else hinted(made, chance)
    (place, _, end), (new_place, _, new_end) = model.name.rpartition(BETWEEN), name.rpartition(BETWEEN)
    for old, new in ((end, new_end), (place, new_place)):
        if old and old in principal:
            return principal.replace(old, new)
    return principal


# ── What becomes of one ────────────────────────────────────────────────────────────────────────


def tell(rows: Sequence[ReviewItem], said: Mapping[UUID, Decision], *, now: datetime) -> int:
    """Part of a submission that holds these decoys: each ends, and says what it was. How many were found."""
    found = 0
    for row in rows:
        decision = said[row.pk]
        is_found = decision.what != What.KEEP
        found += is_found
        row.version += 1
        row.what, row.decided_at, row.closed_at = decision.what, now, now
        row.first_by, row.first_by_key = decision.decided_by, decision.decided_by_key
        row.state, row.ending = ItemState.CLOSED, Ending.DECOY
        row.proof = (
            "It was planted to see whether items are read, and it was found. Nothing comes of it."
            if is_found
            else "It was planted to see whether items are read, and it was kept. Nothing comes of it."
        )
        detail = {"was": "a decoy", "found": is_found, "what": decision.what}
        record(Event.REVIEW_ITEM_TOLD, actor=REVIEWS, subject=row, detail=detail)
    ReviewItem.with_decoys.bulk_update(
        rows,
        ["version", "what", "decided_at", "closed_at", "first_by", "first_by_key", "state", "ending", "proof"],
        batch_size=500,
    )
    return found


def open_decoys(**of: Any) -> QuerySet[ReviewItem]:
    return ReviewItem.with_decoys.filter(decoy__isnull=False, state=ItemState.OPEN, **of)


def end_decoys(rows: QuerySet[ReviewItem], *, now: datetime) -> int:
    """Part of an action: undecided decoys end, and what was decided about them and not submitted with them."""
    drafted = Decision.with_decoys.current().filter(item__in=rows.order_by().values("pk"), submitted_at=None)
    drafted.update(withdrawn_at=now)
    return rows.update(state=ItemState.CANCELLED, closed_at=now, proof=ENDED)


def end_left_alone(campaign: UUID, reviewers: Collection[UUID | None], *, now: datetime) -> int:
    """Part of an action that gave items of these people to others: decoys that nothing is left beside end."""
    beside = ReviewItem.objects.undecided().filter(campaign=campaign, reviewer=OuterRef("reviewer"))
    alone = open_decoys(campaign=campaign, reviewer__in=[each for each in reviewers if each])
    return end_decoys(alone.filter(~Exists(beside)), now=now)
