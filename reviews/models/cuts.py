"""Where the way from a person to a scope can be cut, and what stops working then. Reads, each one statement.

A way is one client that reaches one server. A credential that is revoked ends a way only where the client holds no
other one for the same server; whatever else is cut ends all ways through it. A person is whom a credential acts for,
else whoever answers for the client, as the path has it; theirs are the ways through clients in their name, and those
by credentials that act for them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import connection as database

from inventory.states import Registration
from reviews.models.items import ReviewItem
from reviews.states import Reviewed, What

HOPS = 5  # of each kind that an item tells; more are what the kill switch is for
NAMED = 5


class At(StrEnum):
    """In the order in which a person reaches a scope."""

    PERSON = "person"
    CLIENT = "client"
    GRANT = "grant"
    SERVER = "server"
    CREDENTIAL = "credential"
    SCOPE = "scope"


@dataclass(frozen=True, slots=True)
class Effect:
    """What stops: ways in all, those that go on by another credential, by name who and what is met, for whom.

    `beside` are ways of others that end along where the credentials of these are revoked, because they share them.
    """

    ways: int = 0
    going_on: int = 0
    beside: int = 0
    clients: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    people: tuple[str, ...] = ()

    @property
    def ending(self) -> int:
        return self.ways - self.going_on


@dataclass(frozen=True, slots=True)
class Cut:
    """One hop, what is cut there, and what follows. `what` is the decision about the item itself that does it.

    A person without an `id` is nobody: ways for which no person is known. `can_suspend`: clients are registered there.
    """

    at: At
    id: str
    name: str
    effect: Effect
    what: str = ""
    can_suspend: bool = False

    def as_json(self) -> dict[str, Any]:
        effect = self.effect
        return {
            "at": self.at.value,
            "id": self.id or None,
            "name": self.name,
            "decision": self.what or None,
            "ways": effect.ways,
            "ways_that_go_on": effect.going_on,
            "ways_of_others": effect.beside,
            "clients": list(effect.clients),
            "servers": list(effect.servers),
            "people": list(effect.people),
        }


# One row for each different way: by whom, to what, for whom, and whether the same client has another credential there.
_TOLD = f"""
  count(DISTINCT (w.client_id, w.server_id)) FILTER (WHERE NOT w.is_beside),
  count(DISTINCT (w.client_id, w.server_id)) FILTER (WHERE w.goes_on),
  count(DISTINCT (w.client_id, w.server_id)) FILTER (WHERE w.is_beside),
  (array_agg(DISTINCT k.name::text) FILTER (WHERE NOT w.is_beside))[1:{NAMED}],
  (array_agg(DISTINCT s.name::text) FILTER (WHERE NOT w.is_beside))[1:{NAMED}],
  (array_agg(DISTINCT coalesce(nullif(c.subject, ''), o.name)::text)
    FILTER (WHERE coalesce(nullif(c.subject, ''), o.name) IS NOT NULL))[1:{NAMED}]
FROM {{ways}} w
JOIN inventory_mcpclient k ON k.id = w.client_id JOIN inventory_mcpserver s ON s.id = w.server_id
LEFT JOIN inventory_credential c ON c.id = w.credential_id LEFT JOIN inventory_owner o ON o.id = k.owner_id
"""
_GOES_ON = """EXISTS (SELECT 1 FROM inventory_use x WHERE x.client_id = u.client_id AND x.server_id = u.server_id
  AND x.gone_at IS NULL AND x.credential_id <> u.credential_id)"""


def _ways(key: str, goes_on: str = "false") -> str:
    return f"""(SELECT u.client_id, u.server_id, u.credential_id, {goes_on} AS goes_on, false AS is_beside
  FROM inventory_use u WHERE u.gone_at IS NULL AND u.{key})"""


# Ways of a person, and of others those that no credential is left for where all of this person's are revoked.
_OF_PERSON = """(
  WITH theirs AS MATERIALIZED (
    SELECT u.client_id, u.server_id, u.credential_id FROM inventory_use u
    WHERE u.gone_at IS NULL AND u.client_id IN (
      SELECT y.id FROM inventory_mcpclient y WHERE y.owner_id = h.owner_id AND y.gone_at IS NULL)
    UNION
    SELECT u.client_id, u.server_id, u.credential_id FROM inventory_use u
    WHERE u.gone_at IS NULL AND u.credential_id IN (
      SELECT y.id FROM inventory_credential y WHERE y.subject <> '' AND lower(y.subject) = ANY (h.names))
    UNION
    SELECT own.client_id, own.server_id, own.credential_id FROM own
    JOIN inventory_mcpclient y ON y.id = own.client_id LEFT JOIN inventory_credential z ON z.id = own.credential_id
    WHERE h.id IS NULL AND y.owner_id IS NULL AND coalesce(z.subject, '') = ''
  )
  SELECT t.client_id, t.server_id, t.credential_id, false AS goes_on, false AS is_beside FROM theirs t
  UNION ALL
  SELECT u.client_id, u.server_id, u.credential_id, false, true FROM inventory_use u
  WHERE h.id IS NOT NULL AND u.gone_at IS NULL
    AND u.credential_id IN (SELECT t.credential_id FROM theirs t WHERE t.credential_id IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM theirs t WHERE t.client_id = u.client_id AND t.server_id = u.server_id)
    AND NOT EXISTS (SELECT 1 FROM inventory_use x
      WHERE x.client_id = u.client_id AND x.server_id = u.server_id AND x.gone_at IS NULL
        AND x.credential_id IS NOT NULL
        AND x.credential_id NOT IN (SELECT t.credential_id FROM theirs t WHERE t.credential_id IS NOT NULL)))"""
# Who a subject is: tokens call an owner by their address, or by what their directory calls them.
_RECORDED = """
  SELECT y.id FROM inventory_owner y WHERE y.email <> '' AND lower(y.email) = lower(p.subject)
  UNION ALL
  SELECT y.id FROM inventory_owner y WHERE y.external_id <> '' AND y.external_id IN (p.subject, lower(p.subject))
  LIMIT 1"""
_PEOPLE = f"""
SELECT DISTINCT coalesce(o.id::text, p.subject) AS id, coalesce(o.name, p.subject, '') AS name, o.id AS owner_id,
  array_remove(ARRAY[lower(nullif(o.email, '')), lower(nullif(o.external_id, '')),
    CASE WHEN o.id IS NULL THEN lower(p.subject) END], NULL) AS names
FROM (
  SELECT DISTINCT nullif(c.subject, '') AS subject,
    CASE WHEN coalesce(c.subject, '') = '' THEN k.owner_id END AS owner_id
  FROM own JOIN inventory_mcpclient k ON k.id = own.client_id
  LEFT JOIN inventory_credential c ON c.id = own.credential_id
  ORDER BY 2 NULLS FIRST, 1 NULLS FIRST LIMIT {HOPS + 1}) p
LEFT JOIN inventory_owner o ON o.id = coalesce(p.owner_id, ({_RECORDED}))"""

# Of an item: its own present uses; then each hop of those with everything that runs through it.
_HOPS = f"""
WITH own AS MATERIALIZED (
  SELECT DISTINCT u.client_id, u.server_id, u.credential_id FROM inventory_use u WHERE u.gone_at IS NULL AND {{of_item}}
)
SELECT '{At.PERSON}', coalesce(h.id, ''), h.name::text, EXISTS (
  SELECT 1 FROM inventory_mcpclient y WHERE y.owner_id = h.owner_id AND y.gone_at IS NULL
    AND y.registration <> '{Registration.CONFIG_FILE}'), e.* FROM ({_PEOPLE}) h
CROSS JOIN LATERAL (SELECT {_TOLD.format(ways=_OF_PERSON)}) e
UNION ALL
SELECT '{At.CLIENT}', h.client_id::text, n.name::text, n.registration <> '{Registration.CONFIG_FILE}', e.* FROM (
  SELECT DISTINCT client_id FROM own ORDER BY 1 LIMIT {HOPS}) h
JOIN inventory_mcpclient n ON n.id = h.client_id
CROSS JOIN LATERAL (SELECT {_TOLD.format(ways=_ways("client_id = h.client_id"))}) e
UNION ALL
SELECT '{At.GRANT}', g.id::text, kn.name || ' on ' || sn.name, false, e.* FROM (
  SELECT DISTINCT client_id, server_id FROM own ORDER BY 1, 2 LIMIT {HOPS}) h
JOIN inventory_grant g ON g.client_id = h.client_id AND g.server_id = h.server_id AND g.withdrawn_at IS NULL
JOIN inventory_mcpclient kn ON kn.id = h.client_id JOIN inventory_mcpserver sn ON sn.id = h.server_id
CROSS JOIN LATERAL (SELECT {_TOLD.format(ways=_ways("client_id = h.client_id AND u.server_id = h.server_id"))}) e
UNION ALL
SELECT '{At.SERVER}', h.server_id::text, n.name::text, false, e.* FROM (
  SELECT DISTINCT server_id FROM own ORDER BY 1 LIMIT {HOPS}) h
JOIN inventory_mcpserver n ON n.id = h.server_id
CROSS JOIN LATERAL (SELECT {_TOLD.format(ways=_ways("server_id = h.server_id"))}) e
UNION ALL
SELECT '{At.CREDENTIAL}', h.credential_id::text, n.name::text, false, e.* FROM (
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
    """Each hop of the ways that an item is part of now, from the person to the scopes."""
    with database.cursor() as cursor:
        cursor.execute(_HOPS.format(of_item=_OF_ITEM[Reviewed(item.kind)]), {"id": item.subject_id})
        rows = cursor.fetchall()
    own = _DECISION.get(Reviewed(item.kind))
    subject = str(item.subject_id)
    found = [
        Cut(At(at), key, name, _effect(told), What.REVOKE if at == own and key == subject else "", can_suspend)
        for at, key, name, can_suspend, *told in rows
    ]
    if own is not None and not any(each.what for each in found):  # in use nowhere, and to be ended all the same
        found.append(Cut(own, subject, item.name, Effect(), What.REVOKE))
    if item.facts.get("scopes") and item.kind in {Reviewed.CREDENTIAL, Reviewed.GRANT}:
        whole = next((each.effect for each in found if each.what), Effect())
        narrowed = replace(whole, going_on=whole.ways)
        found.append(Cut(At.SCOPE, subject, ", ".join(item.facts["scopes"]), narrowed, What.REDUCE))
    places = list(At)
    return sorted(found, key=lambda each: (places.index(each.at), not each.id, each.name))


def _effect(told: Sequence[Any]) -> Effect:
    ways, going_on, beside, clients, servers, people = told
    return Effect(ways, going_on, beside, tuple(clients or ()), tuple(servers or ()), tuple(people or ()))


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
                    SELECT credential_id FROM i WHERE credential_id IS NOT NULL)) AS goes_on, false AS is_beside
              FROM ended e
            )
            SELECT {_TOLD.format(ways="way")}""",
            {"items": list(items)},
        )
        return _effect(cursor.fetchone())
