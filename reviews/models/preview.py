"""How large a campaign would be, who would review it, and what it would rest on: reads only."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection as database

from inventory.models import Connection
from reviews.models.campaigns import Campaign
from reviews.models.seating import FIRST, IN_LINE
from reviews.models.subjects import candidates
from reviews.states import LeftOut, Reviewed

NAMED = 20  # reviewers in a preview; the rest are counted
Counts = dict[UUID, dict[tuple[str, str | None], int]]


def preview(campaign: Campaign, *, now: datetime) -> dict[str, Any]:
    """As JSON: items by kind, reviewers with how many each, what is left out by reason, and what is not fresh."""
    statement, values = candidates(campaign)
    with database.cursor() as cursor:
        cursor.execute(
            f"""
            WITH n AS MATERIALIZED ({statement}),
            asked AS (SELECT n.kind, n.owner_id, {FIRST} AS reviewer FROM n {IN_LINE} WHERE n.left_out IS NULL)
            SELECT 'place', n.connection_id, n.kind, n.left_out, count(*), 0 FROM n GROUP BY 2, 3, 4
            UNION ALL
            SELECT 'person', a.reviewer, a.kind, w.name, count(*),
              count(*) FILTER (WHERE a.reviewer = a.owner_id AND a.kind <> '{Reviewed.GRANT.value}')
            FROM asked a LEFT JOIN inventory_owner w ON w.id = a.reviewer GROUP BY 2, 3, 4""",
            {**values, "lead": campaign.lead_id},
        )
        rows = cursor.fetchall()
    places: Counts = {}
    people: dict[UUID | None, dict[str, Any]] = {}
    for what, key, kind, name, number, two in rows:
        if what == "place":
            places.setdefault(key, {})[kind, name] = number
            continue
        said = people.setdefault(key, {"id": key and str(key), "name": name, "items": 0, "with_a_second": 0})
        said["items"] += number
        said["with_a_second"] += two
    unassigned = people.pop(None, {"items": 0})["items"]
    named = sorted(people.values(), key=lambda each: (-each["items"], each["name"]))
    held = completeness(places, campaign, now=now)
    items: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for counts in places.values():
        for (kind, reason), number in counts.items():
            if reason is None:
                items[kind] += number
            else:
                left_out[reason] += number
    return {
        "size": sum(items.values()),
        "items": dict(sorted(items.items())),
        "reviewers": {"number": len(named), "first": named[:NAMED]},
        "for_any_reviewer": unassigned,
        "left_out": dict(sorted(left_out.items())),
        "stale": [place["name"] for place in held if place["is_stale"]],
        "connections": held,
    }


def completeness(places: Counts, campaign: Campaign, *, now: datetime) -> list[dict[str, Any]]:
    """By connection, in the order of names: what it holds, what became an item, what did not and why, how fresh it is.

    What is there adds up: `total` is `items` and everything that is left out.
    """
    said = []
    for place in in_name_order(places):
        counts = places[place.pk]
        left_out: Counter[str] = Counter()
        items: Counter[str] = Counter()
        for (kind, reason), number in counts.items():
            if reason is None:
                items[kind] += number
            else:
                left_out[reason] += number
        looked_at = place.last_whole_look_at
        number = sum(items.values())
        said.append(
            {
                "id": str(place.pk),
                "name": place.name,
                "kind": place.kind,
                "total": number + sum(left_out.values()),
                "items": dict(sorted(items.items())),
                "in_campaign": number,
                "left_out": {reason.value: left_out[reason.value] for reason in LeftOut if left_out[reason.value]},
                "looked_at": looked_at.isoformat() if looked_at else None,
                "is_stale": bool(number) and (looked_at is None or now - looked_at > campaign.fresh_within),
            }
        )
    return said


def in_name_order(keys: Iterable[UUID]) -> list[Connection]:
    return list(Connection.objects.filter(pk__in=list(keys)).order_by("name", "pk"))
