"""Where the way from a person to a scope can be cut, and what stops working then. Reads, each one statement.

A way is one client that reaches one server. A credential that is revoked ends a way only where the client holds no
other one for the same server; whatever else is cut ends all ways through it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import connection as database

from reviews.models.items import ReviewItem
from reviews.states import Reviewed, What

HOPS = 5  # of each kind that an item tells; more are what the kill switch is for
NAMED = 5


class At(StrEnum):
    """In the order in which a person reaches a scope."""

    CLIENT = "client"
    GRANT = "grant"
    SERVER = "server"
    CREDENTIAL = "credential"
    SCOPE = "scope"


@dataclass(frozen=True, slots=True)
class Effect:
    """What stops: ways in all, those that go on by another credential, by name who and what is met, for whom."""

    ways: int = 0
    going_on: int = 0
    clients: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    people: tuple[str, ...] = ()

    @property
    def ending(self) -> int:
        return self.ways - self.going_on


@dataclass(frozen=True, slots=True)
class Cut:
    """One hop, what is cut there, and what follows. `what` is the decision about the item itself that does it."""

    at: At
    id: str
    name: str
    effect: Effect
    what: str = ""

    def as_json(self) -> dict[str, Any]:
        effect = self.effect
        return {
            "at": self.at.value,
            "id": self.id,
            "name": self.name,
            "decision": self.what or None,
            "ways": effect.ways,
            "ways_that_go_on": effect.going_on,
            "clients": list(effect.clients),
            "servers": list(effect.servers),
            "people": list(effect.people),
        }


# One row for each different way: by whom, to what, for whom, and whether the same client has another credential there.
_TOLD = f"""
  count(DISTINCT (w.client_id, w.server_id)), count(DISTINCT (w.client_id, w.server_id)) FILTER (WHERE w.goes_on),
  (array_agg(DISTINCT k.name::text))[1:{NAMED}], (array_agg(DISTINCT s.name::text))[1:{NAMED}],
  (array_remove(array_agg(DISTINCT coalesce(nullif(c.subject, ''), o.name)::text), NULL))[1:{NAMED}]
FROM {{ways}} w
JOIN inventory_mcpclient k ON k.id = w.client_id JOIN inventory_mcpserver s ON s.id = w.server_id
LEFT JOIN inventory_credential c ON c.id = w.credential_id LEFT JOIN inventory_owner o ON o.id = k.owner_id
"""
_GOES_ON = """EXISTS (SELECT 1 FROM inventory_use x WHERE x.client_id = u.client_id AND x.server_id = u.server_id
  AND x.gone_at IS NULL AND x.credential_id <> u.credential_id)"""


def _ways(key: str, goes_on: str = "false") -> str:
    return f"""(SELECT u.client_id, u.server_id, u.credential_id, {goes_on} AS goes_on FROM inventory_use u
  WHERE u.gone_at IS NULL AND u.{key})"""


# Of an item: its own present uses; then each hop of those with everything that runs through it.
_HOPS = f"""
WITH own AS MATERIALIZED (
  SELECT DISTINCT u.client_id, u.server_id, u.credential_id FROM inventory_use u WHERE u.gone_at IS NULL AND {{of_item}}
)
SELECT '{At.CLIENT}', h.client_id::text, n.name::text, e.* FROM (
  SELECT DISTINCT client_id FROM own ORDER BY 1 LIMIT {HOPS}) h
JOIN inventory_mcpclient n ON n.id = h.client_id
CROSS JOIN LATERAL (SELECT {_TOLD.format(ways=_ways("client_id = h.client_id"))}) e
UNION ALL
SELECT '{At.GRANT}', g.id::text, kn.name || ' on ' || sn.name, e.* FROM (
  SELECT DISTINCT client_id, server_id FROM own ORDER BY 1, 2 LIMIT {HOPS}) h
JOIN inventory_grant g ON g.client_id = h.client_id AND g.server_id = h.server_id AND g.withdrawn_at IS NULL
JOIN inventory_mcpclient kn ON kn.id = h.client_id JOIN inventory_mcpserver sn ON sn.id = h.server_id
CROSS JOIN LATERAL (SELECT {_TOLD.format(ways=_ways("client_id = h.client_id AND u.server_id = h.server_id"))}) e
UNION ALL
SELECT '{At.SERVER}', h.server_id::text, n.name::text, e.* FROM (
  SELECT DISTINCT server_id FROM own ORDER BY 1 LIMIT {HOPS}) h
JOIN inventory_mcpserver n ON n.id = h.server_id
CROSS JOIN LATERAL (SELECT {_TOLD.format(ways=_ways("server_id = h.server_id"))}) e
UNION ALL
SELECT '{At.CREDENTIAL}', h.credential_id::text, n.name::text, e.* FROM (
  SELECT DISTINCT credential_id FROM own WHERE credential_id IS NOT NULL ORDER BY 1 LIMIT {HOPS}) h
JOIN inventory_credential n ON n.id = h.credential_id
CROSS JOIN LATERAL (SELECT {_TOLD.format(ways=_ways("credential_id = h.credential_id", _GOES_ON))}) e
"""
_OF_ITEM = {
    Reviewed.CREDENTIAL: "u.credential_id = %(id)s",
    Reviewed.CLIENT: "u.client_id = %(id)s",
    Reviewed.SERVER: "u.server_id = %(id)s",
    Reviewed.GRANT: "(u.client_id, u.server_id) IN (SELECT g.client_id, g.server_id FROM inventory_grant g"
    " WHERE g.id = %(id)s)",
}
# Which decision about the item itself cuts there, if any.
_DECISION = {Reviewed.CREDENTIAL: At.CREDENTIAL, Reviewed.CLIENT: At.CLIENT, Reviewed.GRANT: At.GRANT}


def cuts_of(item: ReviewItem) -> list[Cut]:
    """Each hop of the ways that an item is part of now, from the person's client to the scopes."""
    with database.cursor() as cursor:
        cursor.execute(_HOPS.format(of_item=_OF_ITEM[Reviewed(item.kind)]), {"id": item.subject_id})
        rows = cursor.fetchall()
    own = _DECISION.get(Reviewed(item.kind))
    subject = str(item.subject_id)
    found = [
        Cut(At(at), key, name, _effect(told), What.REVOKE if at == own and key == subject else "")
        for at, key, name, *told in rows
    ]
    if own is not None and not any(each.what for each in found):  # in use nowhere, and to be ended all the same
        found.append(Cut(own, subject, item.name, Effect(), What.REVOKE))
    if item.facts.get("scopes") and item.kind in {Reviewed.CREDENTIAL, Reviewed.GRANT}:
        whole = next((each.effect for each in found if each.what), Effect())
        narrowed = Effect(whole.ways, whole.ways, whole.clients, whole.servers, whole.people)
        found.append(Cut(At.SCOPE, subject, ", ".join(item.facts["scopes"]), narrowed, What.REDUCE))
    places = list(At)
    return sorted(found, key=lambda each: (places.index(each.at), each.name))


def _effect(told: Sequence[Any]) -> Effect:
    ways, going_on, clients, servers, people = told
    return Effect(ways, going_on, tuple(clients or ()), tuple(servers or ()), tuple(people or ()))


def effect_of_revoking(items: Collection[UUID]) -> Effect:
    """What stops working where all of these are revoked. A way goes on where the client keeps another credential."""
    with database.cursor() as cursor:
        cursor.execute(
            f"""
            WITH i AS (SELECT credential_id, client_id, grant_id FROM reviews_reviewitem WHERE id = ANY (%(items)s)),
            ended AS (
              SELECT u.client_id, u.server_id, u.credential_id, true AS by_credential FROM inventory_use u
              WHERE u.gone_at IS NULL AND u.credential_id IN (SELECT credential_id FROM i)
              UNION ALL
              SELECT u.client_id, u.server_id, u.credential_id, false FROM inventory_use u
              WHERE u.gone_at IS NULL AND u.client_id IN (SELECT client_id FROM i)
              UNION ALL
              SELECT u.client_id, u.server_id, u.credential_id, false FROM inventory_grant g
              JOIN inventory_use u ON u.client_id = g.client_id AND u.server_id = g.server_id AND u.gone_at IS NULL
              WHERE g.id IN (SELECT grant_id FROM i)
            ), way AS (
              SELECT e.client_id, e.server_id, e.credential_id, bool_and(e.by_credential) OVER (
                PARTITION BY e.client_id, e.server_id) AND EXISTS (SELECT 1 FROM inventory_use x
                WHERE x.client_id = e.client_id AND x.server_id = e.server_id AND x.gone_at IS NULL
                  AND x.credential_id IS NOT NULL AND x.credential_id NOT IN (
                    SELECT credential_id FROM i WHERE credential_id IS NOT NULL)) AS goes_on
              FROM ended e
            )
            SELECT {_TOLD.format(ways="way")}""",
            {"items": list(items)},
        )
        return _effect(cursor.fetchone())
