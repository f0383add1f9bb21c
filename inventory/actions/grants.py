"""What clients may use on servers: drafted from what is observed, changed, approved for a time, withdrawn.

A grant is about one client and one server: which tools by name, which scopes, which resources. A tool's definition is
the server's matter and is approved for all clients at once. So approving a grant also approves the definitions that
nobody has approved before, and never one that changed after its approval: that would wave a changed tool through as
a side effect. Such a grant is refused until the new definition was looked at (`approve_tools`).

Whoever answers for a server may approve what it is used for, and so may a reviewer. Nobody approves what they drafted
themselves for a client of their own.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db.models import QuerySet

from access.actors import Actor
from access.rights import Right
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.errors import (
    ChangedMeanwhile,
    DefinitionsChanged,
    EndsTooLate,
    NothingChosen,
    NotOffered,
    OwnDraft,
)
from inventory.models import Grant, McpServer, Owner, Tool, Use
from inventory.signals import grant_changed, grants_approved
from inventory.states import ENDED, Admission

LONGEST = timedelta(days=366)
USUAL = timedelta(days=180)
MOST_AT_ONCE = 5_000  # grants drafted by one act: each has its entry in the audit chain
Definitions = Mapping[UUID, Mapping[str, str]]

_DRAFT = """
INSERT INTO inventory_grant (client_id, server_id, tools, scopes, resources, tool_digests, drafted_by, drafted_at,
  approved_by, reason, withdrawn_by)
SELECT p.client_id, p.server_id, coalesce(t.names, '{{}}'), coalesce(c.scopes, '{{}}'),
  CASE WHEN s.url = '' THEN '{{}}' ELSE ARRAY[s.url] END, '{{}}'::jsonb, %s, %s, '', %s, ''
FROM ({pairs}) p
JOIN inventory_mcpclient k ON k.id = p.client_id AND k.gone_at IS NULL AND k.admission <> %s
JOIN inventory_mcpserver s ON s.id = p.server_id AND s.gone_at IS NULL
LEFT JOIN LATERAL (
  SELECT array_agg(t.name ORDER BY t.name COLLATE "C") AS names FROM inventory_tool t
  WHERE t.server_id = p.server_id AND t.gone_at IS NULL) t ON true
LEFT JOIN LATERAL (
  SELECT array_agg(DISTINCT carried.scope ORDER BY carried.scope) AS scopes
  FROM inventory_use u JOIN inventory_credential c ON c.id = u.credential_id
  CROSS JOIN LATERAL unnest(c.scopes) AS carried (scope)
  WHERE u.client_id = p.client_id AND u.server_id = p.server_id AND u.gone_at IS NULL AND c.gone_at IS NULL
    AND NOT c.status = ANY (%s)) c ON true
WHERE NOT EXISTS (SELECT 1 FROM inventory_grant g
  WHERE g.client_id = p.client_id AND g.server_id = p.server_id AND g.withdrawn_at IS NULL)
LIMIT %s
ON CONFLICT DO NOTHING  -- somebody else drafted it a moment ago
RETURNING id
"""


def definitions_of(servers: Iterable[UUID]) -> dict[UUID, dict[str, str]]:
    """By server and name, the digest of each tool that is listed now."""
    found: dict[UUID, dict[str, str]] = {}
    listed = Tool.objects.present().filter(server__in=set(servers))
    for server, name, digest in listed.values_list("server", "name", "schema_digest"):
        found.setdefault(server, {})[name] = digest
    return found


def seen(grants: Iterable[Grant], definitions: Definitions) -> str:
    """One digest over what a person sees of grants before they approve: the grants, and the definitions they name."""
    said = [
        [
            str(grant.pk),
            sorted(grant.tools),
            sorted(grant.scopes),
            sorted(grant.resources),
            sorted(named(grant, definitions).items()),
        ]
        for grant in sorted(grants, key=lambda grant: grant.pk)
    ]
    return sha256(json.dumps(said).encode()).hexdigest()


def named(grant: Grant, definitions: Definitions) -> dict[str, str]:
    """The definitions that a grant names, as far as the server lists them."""
    listed = definitions.get(grant.server_id, {})
    return {name: listed[name] for name in grant.tools if name in listed}


@action
def draft_grants(uses: QuerySet[Use], *, actor: Actor, now: datetime, reason: str = "") -> int:
    """Draft a grant for every client and server of `uses` that has none: what is listed and what is carried today.

    How many were drafted, MOST_AT_ONCE at most. Once all are, there is nothing left to draft.
    """
    pairs, values = uses.order_by().values("client_id", "server_id").distinct().query.sql_with_params()
    with database.cursor() as cursor:
        cursor.execute(
            _DRAFT.format(pairs=pairs),
            [actor.label[:200], now, reason, *values, Admission.REMOVED.value, list(ENDED), MOST_AT_ONCE],
        )
        drafted = [row[0] for row in cursor.fetchall()]
    for grant in Grant.objects.filter(pk__in=drafted).select_related("client", "server").order_by("pk"):
        record(Event.GRANT_DRAFTED, actor=actor, subject=grant, detail={**_content(grant), "reason": reason})
    return len(drafted)


@action
def change_grant(
    grant: Grant,
    *,
    tools: Iterable[str],
    scopes: Iterable[str],
    resources: Iterable[str],
    actor: Actor,
    now: datetime,
    reason: str,
) -> bool:
    """Say what else the client may use; whether that was a change.

    To take something away keeps the approval, for nothing is allowed that was not approved. To add something makes it
    a draft again, which allows nothing until somebody approves it.
    """
    held = _chosen(Grant.objects.filter(pk=grant.pk).changeable_by(actor))[0]
    listed = Tool.objects.present().filter(server=held.server_id).values_list("name", flat=True)
    wanted = {"tools": sorted(set(tools)), "scopes": sorted(set(scopes)), "resources": sorted(set(resources))}
    strange = sorted(set(wanted["tools"]) - set(held.tools) - set(listed))
    if strange:
        raise NotOffered(strange)
    before = {name: sorted(getattr(held, name)) for name in wanted}
    if wanted == before:
        return False
    is_wider = any(set(wanted[name]) - set(before[name]) for name in wanted)
    for name, values in wanted.items():
        setattr(held, name, values)
    if is_wider:
        held.drafted_by, held.drafted_at = actor.label[:200], now
        held.approved_by, held.approved_at, held.ends_at, held.tool_digests = "", None, None, {}
    else:
        held.tool_digests = {name: digest for name, digest in held.tool_digests.items() if name in wanted["tools"]}
    held.reason = reason
    held.save()
    changes = {
        f"{name} {verb}": sorted(difference)
        for name in wanted
        for verb, difference in (
            ("added", set(wanted[name]) - set(before[name])),
            ("removed", set(before[name]) - set(wanted[name])),
        )
        if difference
    }
    record(
        Event.GRANT_CHANGED,
        actor=actor,
        subject=held,
        detail={"changed": changes, "needs_approval": held.approved_at is None, "reason": reason},
    )
    grant_changed.send(Grant, grant=held, is_wider=is_wider, actor=actor, now=now)
    return True


@action
def approve_grants(
    grants: QuerySet[Grant], *, as_seen: str, ends_at: datetime, actor: Actor, now: datetime, reason: str
) -> int:
    """Let clients use what `grants` name, until `ends_at`; how many were approved. All of them, or none.

    `as_seen` is what `seen` said when the person looked: a grant or a definition that changed since is not what they
    decided about. Definitions that nobody approved before are approved with it.
    """
    if not now < ends_at <= now + LONGEST:
        raise EndsTooLate(LONGEST.days)
    chosen = _chosen(grants.approvable_by(actor))  # type: ignore[attr-defined]
    own = set(Owner.objects.being(actor).values_list("pk", flat=True))
    tools = _locked_tools(Tool.objects.present().filter(server__in={grant.server_id for grant in chosen}))
    definitions: dict[UUID, dict[str, str]] = {}
    changed: dict[UUID, set[str]] = {}
    for tool in tools:
        definitions.setdefault(tool.server_id, {})[tool.name] = tool.schema_digest
        if tool.is_changed:
            changed.setdefault(tool.server_id, set()).add(tool.name)
    if seen(chosen, definitions) != as_seen:
        raise ChangedMeanwhile
    for grant in chosen:
        if grant.drafted_by == actor.label[:200] and grant.client.owner_id in own:
            raise OwnDraft(grant)
        moved = sorted(changed.get(grant.server_id, set()) & set(grant.tools))
        if moved:
            raise DefinitionsChanged(grant, moved)
    granted: dict[UUID, set[str]] = {}
    for grant in chosen:
        grant.tool_digests = named(grant, definitions)
        grant.approved_by, grant.approved_at, grant.ends_at = actor.label[:200], now, ends_at
        grant.reason = reason
        granted.setdefault(grant.server_id, set()).update(grant.tools)
    Grant.objects.bulk_update(
        chosen, ["tool_digests", "approved_by", "approved_at", "ends_at", "reason"], batch_size=1_000
    )
    first_time = [tool for tool in tools if not tool.approved_digest and tool.name in granted.get(tool.server_id, ())]
    _approve(first_time, actor=actor, now=now)
    for grant in chosen:
        detail = {**_content(grant), "until": ends_at.isoformat(), "as_seen": as_seen, "reason": reason}
        record(Event.GRANT_APPROVED, actor=actor, subject=grant, detail=detail)
    grants_approved.send(Grant, grants=chosen, actor=actor, now=now)
    return len(chosen)


@action
def withdraw_grants(grants: QuerySet[Grant], *, actor: Actor, now: datetime, reason: str) -> int:
    """End grants before their time; how many. What their clients reach from now on, they reach without a grant."""
    chosen = _chosen(grants.changeable_by(actor))  # type: ignore[attr-defined]
    Grant.objects.filter(pk__in=[grant.pk for grant in chosen]).update(
        withdrawn_at=now, withdrawn_by=actor.label[:200], reason=reason
    )
    for grant in chosen:
        record(
            Event.GRANT_WITHDRAWN,
            actor=actor,
            subject=grant,
            detail={"was": str(grant.state_at(now).value), "reason": reason},
        )
    return len(chosen)


@action
def approve_tools(
    server: McpServer, names: Sequence[str], *, as_seen: str, actor: Actor, now: datetime, reason: str
) -> int:
    """Take the present definitions of a server's tools for good; how many were not approved so before.

    `as_seen` is what `seen_tools` said when the person looked.
    """
    if (
        not actor.may_everywhere(Right.GRANT)
        and not McpServer.objects.answered_for_by(actor).filter(pk=server.pk).exists()
    ):
        raise NothingChosen
    tools = _locked_tools(Tool.objects.present().filter(server=server, name__in=names))
    if seen_tools(tools) != as_seen:
        raise ChangedMeanwhile
    moved = [tool for tool in tools if tool.approved_digest != tool.schema_digest]
    if not moved:
        return 0
    detail = {
        "tools": [tool.name for tool in moved],
        "changed": [tool.name for tool in moved if tool.is_changed],
        "as_seen": as_seen,
        "reason": reason,
    }
    _approve(moved, actor=actor, now=now)
    record(Event.SERVER_TOOLS_APPROVED, actor=actor, subject=server, detail=detail)
    return len(moved)


def seen_tools(tools: Iterable[Tool]) -> str:
    """One digest over the definitions that a person looks at before they approve them."""
    said = sorted((tool.name, tool.schema_digest) for tool in tools)
    return sha256(json.dumps(said).encode()).hexdigest()


def _approve(tools: Sequence[Tool], *, actor: Actor, now: datetime) -> None:
    for tool in tools:
        tool.approved_digest, tool.approved_definition = tool.schema_digest, tool.definition
        tool.approved_by, tool.approved_at = actor.label[:200], now
    fields = ["approved_digest", "approved_definition", "approved_by", "approved_at"]
    Tool.objects.bulk_update(tools, fields, batch_size=1_000)


def _locked_tools(tools: QuerySet[Tool]) -> list[Tool]:
    """Tools that no listing changes until this action ends, locked in one order."""
    return in_order(tools)


def _chosen(grants: QuerySet[Grant]) -> list[Grant]:
    """Current grants, locked in one order. Raises NothingChosen when there is none."""
    current = grants.filter(withdrawn_at=None).select_related("client", "server")
    chosen = in_order(current)
    if not chosen:
        raise NothingChosen
    return chosen


def _content(grant: Grant) -> dict[str, Any]:
    return {"tools": grant.tools, "scopes": grant.scopes, "resources": grant.resources}
